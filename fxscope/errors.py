"""Every error that fxscope raises.

A message says what failed and where, what was given and what was expected, the user's own line, and the next
step.
"""

from __future__ import annotations

__all__ = [
    "AliasingWrite",
    "BrokenInvariant",
    "FxscopeError",
    "HookedModel",
    "IllConditioned",
    "ImageError",
    "ImagesMix",
    "LawBroken",
    "MapError",
    "ModelFails",
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
    "StudyError",
    "TraceFailure",
    "UnknownNetwork",
    "UnknownRank",
    "UnsupportedOperator",
    "WeightsError",
    "WrongArgument",
    "WrongInput",
]


class FxscopeError(Exception):
    """Base of every error that fxscope raises on purpose; catching it catches them all."""


class WrongArgument(FxscopeError, TypeError):
    """An argument of a public function is none of the kinds that it takes.

    The message has what was expected, and what was given.
    """


class TraceFailure(FxscopeError, RuntimeError):
    """The model cannot be traced: its Python code branches on a value, or calls what torch.fx cannot record.

    Give `example_inputs=(x0, ...)`: the model then goes through torch.export. Or tap around the branch with
    `inputs=` and `outputs=`.
    """


class HookedModel(FxscopeError, RuntimeError):
    """The model carries hooks, which a traced graph would lose.

    Remove the hooks, or use parametrizations for weight and spectral norm. The message names the modules that
    carry them.
    """


class ModelFails(FxscopeError, RuntimeError):
    """The model itself fails on the arguments that it was given.

    The message has its own error, what it was given, and the dtype and device of its weights. Call the model
    with what it takes, and pass the same to fxscope. `.__cause__` is the model's error.
    """


class UnsupportedOperator(FxscopeError, NotImplementedError):
    """No rule covers some operators on the path of the probe; the message lists all of them.

    Add a rule with `fxscope.register_rule`, or tap around the operators with `inputs=` and `outputs=`.
    `.operators` has their names.
    """

    def __init__(self, message: str, operators: tuple[str, ...] = ()):
        super().__init__(message)
        self.operators = operators
        self.exported: tuple[str, ...] = ()
        self.derived: frozenset[str] = frozenset()


class NoLinearPath(FxscopeError, ValueError):
    """No output depends linearly on the probe, so F would be zero everywhere.

    The cause is a final softmax or argmax, for example.
    Ask for a place before it: `outputs=` takes any name of `fxscope.places(model)`.
    """


class UnknownRank(FxscopeError, ValueError):
    """The number of dimensions of a tensor, or of tensors in an output, is not told by the graph alone.

    Give `example_inputs=(x0, ...)`.
    """


class AliasingWrite(FxscopeError, RuntimeError):
    """An in-place write changes other names of the same memory, which a functional graph cannot express.

    Write out of place at the line that the message names, `x = x + y` for `x += y` on a view.
    """


class PolicyError(FxscopeError, ValueError):
    """A policy names a rule, place or variant that does not exist.

    The message lists the presets or variants that exist; `fxscope.summary(scope)` shows the rule and variant
    of every operation.
    """


class PlaceError(FxscopeError, ValueError):
    """`inputs=` or `outputs=` names a place that the model does not have.

    `fxscope.places(model)` lists all of them, and the message lists the nearest.
    """


class NotFloating(FxscopeError, TypeError):
    """The probe would enter where values are integers, booleans or complex numbers.

    F is linear in real floating values alone. Name a place behind the cast with `inputs=`. If several parts
    of the network make the cast, make it once, before them.
    """


class LawBroken(FxscopeError, AssertionError):
    """The traced graph does not compute what the untouched model computes; the message has both numbers.

    Both sides are run on the same random numbers. It is a mistake of fxscope, or of a rule of your own:
    `fxscope.testing.check_rule` tells which.
    """


class SavedFileDiffers(FxscopeError, AssertionError):
    """A saved file does not give what the graph in memory gives; the file is left in place for inspection.

    Save a model in float64, or in another format: this tells whether rounding or the exporter is the cause.
    """


class BrokenInvariant(FxscopeError, AssertionError):
    """A graph between two passes is not what the next pass relies on.

    It is a mistake of fxscope, or of a pass or rule of your own; the message names the node and the
    invariant. It is checked only where the environment variable FXSCOPE_CHECK_IR is set.
    """


class PlaceIndexError(FxscopeError, IndexError):
    """An index does not lie in the output or input that it names.

    The message has the shape: an index is that of one image, without the batch.
    """


class ShapeError(FxscopeError, ValueError):
    """An input, a probe or a cotangent does not have the shape, dtype or device that is asked for.

    The message has what was given and what was expected. Probes are (K*B, ...), probe-major, and (K, B, ...)
    in the stacked form.
    """


class WrongInput(ShapeError, AssertionError):
    """An emitted graph was called with an input that it does not take.

    The message has what was expected, and what was given. Where the graph runs without fxscope (scripted,
    exported, saved or pickled), its own assertions say the same, as an ``AssertionError``.
    """


class NonFinite(FxscopeError, ArithmeticError):
    """A recorded state, or the output, holds NaN or infinite values; the message names the first such place.

    Look at the layer that is named; a wider dtype helps where squares overflow.
    """


class StaleInterpreter(FxscopeError, RuntimeError):
    """Something that a linear interpreter was made from has changed since.

    A weight was trained, loaded, cast or replaced, or a recorded value was overwritten; the message names it.
    Call `fxscope.interpret(model, x0)` again, or interpret a copy of the model (`copy.deepcopy(model)`) that
    nobody trains.
    """


class NotLocal(FxscopeError, ValueError):
    """F is not local (a global pooling or a dense layer is on the way): its sparse form would save nothing.

    `lin.F.to_scipy()` is the operator itself, `lin.F.to_dense()` the matrix; a tap before the global layer is
    local again.
    """


class OtherInterpretation(FxscopeError, ValueError):
    """Records of different versions of the interpretation would be compared or continued.

    Some F differ between versions; the page on versions of the interpretation says which. An older record can
    be read; to compare or continue it, compute it again.
    """


class MapError(FxscopeError, RuntimeError):
    """A map on disk cannot be written, continued or read.

    The message says whether it is unfinished, damaged, another one than asked for, or refused by the system
    (a full disk, a missing right), and how to go on. What is written already is kept.
    """


class NotConverged(UserWarning):
    """A decomposition stopped at its limit of passes; this is a warning, no error.

    It holds what was found, marked, with the true errors. Give more `max_passes`, a larger `tol`, or continue
    from the result with `start=`.
    """


class ImagesMix(UserWarning):
    """An output of one image depends on other images of the batch; this is a warning, no error.

    A row is then the sum over all of them. Use eval mode, where batch norm has its running statistics, or
    interpret the images one at a time.
    """


class IllConditioned(FxscopeError, ArithmeticError):
    """A scaling divides by a number that cancels so far that the result would be rounding error.

    The message has the number. Use `reading="weighted"`, which divides by nothing that cancels, or raise
    `condition=` knowingly.
    """


class UnknownNetwork(FxscopeError, ValueError):
    """A text names no network, or the factory that it names does not make one.

    MODEL is torchvision:NAME, fxscope:NAME or path/to/file.py:factory; the factory takes no argument and
    returns a torch.nn.Module. The message has the nearest names, or the line of the file that failed.
    """


class WeightsError(FxscopeError, ValueError):
    """A weights file does not fit the network; the message lists missing and unexpected keys.

    Files are FILE.safetensors, or the state_dict of a model in a .pt or .pth file; code in a file is never
    run.
    """


class ImageError(FxscopeError, ValueError):
    """A file is not an image that can be read, or the image does not suit the network.

    The message has the size that is needed, or the memory that would be needed and the `--size` that fits.
    """


class StudyError(FxscopeError, RuntimeError):
    """A study of many images cannot be started or cannot go on; the message says why.

    What is finished stays in its folder: mend the cause, and start the study again.
    """


def first_line(error: BaseException, most: int = 1000) -> str:
    """The first line of an error's message that says something, or its type."""
    lines = (line.strip() for line in str(error).splitlines())
    line = next(filter(None, lines), type(error).__name__)
    return line if len(line) <= most else f"{line[:most]} ..."


def said(error: BaseException, most: int = 1000) -> str:
    """The type of an error and the first line of its message, if it has one."""
    name, line = type(error).__name__, first_line(error, most)
    return name if line == name else f"{name}: {line}"
