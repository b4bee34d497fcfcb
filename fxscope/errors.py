"""Every error fxscope raises: what failed and where, got against expected, the user's own line, and the next step."""

from __future__ import annotations

__all__ = [
    "FxscopeError",
    "TraceFailure",
    "HookedModel",
    "UnsupportedOperator",
    "NoLinearPath",
    "UnknownRank",
    "AliasingWrite",
    "PolicyError",
    "PlaceError",
    "LawBroken",
    "SavedFileDiffers",
    "PlaceIndexError",
    "ShapeError",
    "NonFinite",
    "NotLocal",
    "NotConverged",
    "IllConditioned",
    "WeightsError",
    "ImageError",
]


class FxscopeError(Exception):
    """Base of every error that fxscope raises on purpose; catching it catches them all."""


class TraceFailure(FxscopeError, RuntimeError):
    """The model cannot be traced symbolically: its Python code branches on a value, or calls what torch.fx cannot record."""


class HookedModel(FxscopeError, RuntimeError):
    """The model carries hooks, which a traced graph would lose; remove them, or use parametrizations for weight and spectral norm."""


class UnsupportedOperator(FxscopeError, NotImplementedError):
    """Operators on the path of the probe that no rule covers; the message lists all of them at once."""

    def __init__(self, message: str, operators: tuple[str, ...] = ()):
        super().__init__(message)
        self.operators = operators


class NoLinearPath(FxscopeError, ValueError):
    """No output depends linearly on the probe, so F would be zero everywhere (a final softmax or argmax, say)."""


class UnknownRank(FxscopeError, ValueError):
    """The number of dimensions of a tensor matters here and the graph alone does not tell it; example inputs do."""


class AliasingWrite(FxscopeError, RuntimeError):
    """An in-place write whose effect on other names of the same memory cannot be expressed in a functional graph."""


class PolicyError(FxscopeError, ValueError):
    """A policy names a rule, place or variant that does not exist."""


class PlaceError(FxscopeError, ValueError):
    """`inputs=` or `outputs=` names a place that the model does not have."""


class LawBroken(FxscopeError, AssertionError):
    """The traced graph does not compute what the untouched model computes; both numbers are in the message."""


class SavedFileDiffers(FxscopeError, AssertionError):
    """A saved file does not give what the graph in memory gives; the file is left in place for inspection."""


class PlaceIndexError(FxscopeError, IndexError):
    """An index does not lie in the output or input that it names."""


class ShapeError(FxscopeError, ValueError):
    """A probe or cotangent has not the shape, dtype or device that the operator asks for."""


class NonFinite(FxscopeError, ArithmeticError):
    """A recorded state, or the output, holds NaN or infinite values; the first place where they appear is named."""


class NotLocal(FxscopeError, ValueError):
    """F is not local (a global pooling or a dense layer is on the way), so that it has no sparse form worth its passes."""


class NotConverged(UserWarning):
    """A decomposition stopped at its limit of passes: it holds what was found, marked, with the true errors. A warning, no error."""


class IllConditioned(FxscopeError, ArithmeticError):
    """A scaling whose divisor cancels so far that the result would be rounding; the message has the number."""


class WeightsError(FxscopeError, ValueError):
    """A weights file does not fit the network; the message lists missing and unexpected keys."""


class ImageError(FxscopeError, ValueError):
    """A file is not an image that can be read, or the image does not suit the network."""
