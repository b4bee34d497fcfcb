"""Every error fxscope raises: what failed and where, got against expected, the user's own line, and the next step."""

from __future__ import annotations

__all__ = [
    "AliasingWrite",
    "FxscopeError",
    "HookedModel",
    "IllConditioned",
    "ImageError",
    "ImagesMix",
    "LawBroken",
    "NoLinearPath",
    "NonFinite",
    "NotConverged",
    "NotFloating",
    "NotLocal",
    "OtherInterpretation",
    "PlaceError",
    "PlaceIndexError",
    "PolicyError",
    "SavedFileDiffers",
    "ShapeError",
    "StaleInterpreter",
    "TraceFailure",
    "UnknownRank",
    "UnsupportedOperator",
    "WeightsError",
]


class FxscopeError(Exception):
    """Base of every error that fxscope raises on purpose; catching it catches them all."""


class TraceFailure(FxscopeError, RuntimeError):
    """The model cannot be traced symbolically: its Python code branches on a value, or calls what torch.fx cannot record.

    Give `example_inputs=(x0, ...)`: the model then goes through torch.export. Or tap around the branch with `inputs=` and `outputs=`.
    """


class HookedModel(FxscopeError, RuntimeError):
    """The model carries hooks, which a traced graph would lose; remove them, or use parametrizations for weight and spectral norm.

    The message names the modules that carry them.
    """


class UnsupportedOperator(FxscopeError, NotImplementedError):
    """Operators on the path of the probe that no rule covers; the message lists all of them at once.

    Add a rule with `fxscope.register_rule`, or tap around the operators with `inputs=` and `outputs=`. `.operators` has their names.
    """

    def __init__(self, message: str, operators: tuple[str, ...] = ()):
        super().__init__(message)
        self.operators = operators


class NoLinearPath(FxscopeError, ValueError):
    """No output depends linearly on the probe, so F would be zero everywhere (a final softmax or argmax, say).

    Ask for a place before it: `outputs=` takes any name of `fxscope.places(model)`.
    """


class UnknownRank(FxscopeError, ValueError):
    """The number of dimensions of a tensor matters here and the graph alone does not tell it; example inputs do.

    Give `example_inputs=(x0, ...)`.
    """


class AliasingWrite(FxscopeError, RuntimeError):
    """An in-place write whose effect on other names of the same memory cannot be expressed in a functional graph.

    Write out of place at the line that the message names, `x = x + y` for `x += y` on a view.
    """


class PolicyError(FxscopeError, ValueError):
    """A policy names a rule, place or variant that does not exist.

    The message lists the presets or variants there are; `fxscope.summary(scope)` shows which rule and variant stand where.
    """


class PlaceError(FxscopeError, ValueError):
    """`inputs=` or `outputs=` names a place that the model does not have.

    `fxscope.places(model)` lists all of them, and the message the nearest.
    """


class NotFloating(FxscopeError, TypeError):
    """The probe would enter where values are integers, booleans or complex numbers, and F is linear in real floating ones.

    Name a place behind the cast with `inputs=`; a cast that several parts of the network make is made once, before them.
    """


class LawBroken(FxscopeError, AssertionError):
    """The traced graph does not compute what the untouched model computes; both numbers are in the message.

    Both sides are run on the same random numbers. It is a mistake of fxscope, or of a rule of your own: `fxscope.testing.check_rule` tells.
    """


class SavedFileDiffers(FxscopeError, AssertionError):
    """A saved file does not give what the graph in memory gives; the file is left in place for inspection.

    A model in float64, or another format, tells whether rounding or the exporter is at fault.
    """


class PlaceIndexError(FxscopeError, IndexError):
    """An index does not lie in the output or input that it names.

    The message has the shape: an index is that of one image, without the batch.
    """


class ShapeError(FxscopeError, ValueError):
    """A probe or cotangent has not the shape, dtype or device that the operator asks for.

    The message has what was got and what was expected. Probes are (K*B, ...), probe-major, and in the stacked form (K, B, ...).
    """


class NonFinite(FxscopeError, ArithmeticError):
    """A recorded state, or the output, holds NaN or infinite values; the first place where they appear is named.

    Look at the layer that is named; a wider dtype helps where squares overflow.
    """


class StaleInterpreter(FxscopeError, RuntimeError):
    """Something that a linear interpreter was made from has changed since: a weight was trained on, loaded, cast or replaced, or a recorded value written over.

    The message names it. Call `fxscope.interpret(model, x0)` again, or interpret a copy of the model (`copy.deepcopy(model)`) that nobody trains.
    """


class NotLocal(FxscopeError, ValueError):
    """F is not local (a global pooling or a dense layer is on the way), so that it has no sparse form worth its passes.

    `lin.F.to_scipy()` is the operator itself, `lin.F.to_dense()` the matrix; a tap before the global layer is local again.
    """


class OtherInterpretation(FxscopeError, ValueError):
    """Records of several versions of the interpretation are compared, or one of another version is gone on from.

    Some F are others by now; the page on versions of the interpretation says which. Reading an older record is fine; to compare it or to go
    on, compute it again.
    """


class NotConverged(UserWarning):
    """A decomposition stopped at its limit of passes: it holds what was found, marked, with the true errors. A warning, no error.

    Give more `max_passes`, a larger `tol`, or go on from what there is with `start=`.
    """


class ImagesMix(UserWarning):
    """An output of one image depends on other images of the batch, so that a row is the sum over them all. A warning, no error.

    Use eval mode, where batch norm has its running statistics, or interpret the images one at a time.
    """


class IllConditioned(FxscopeError, ArithmeticError):
    """A scaling whose divisor cancels so far that the result would be rounding; the message has the number.

    Use `reading="weighted"`, which divides by nothing that cancels, or raise `condition=` knowingly.
    """


class WeightsError(FxscopeError, ValueError):
    """A weights file does not fit the network; the message lists missing and unexpected keys.

    Files are FILE.safetensors, or the state_dict of a model in a .pt or .pth file; code in a file is never run.
    """


class ImageError(FxscopeError, ValueError):
    """A file is not an image that can be read, or the image does not suit the network.

    The message has the size that is needed, or the memory that would be and the `--size` that fits.
    """
