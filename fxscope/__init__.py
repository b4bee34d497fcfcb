"""fxscope: linear interpreters of convolutional networks, as a compiler pass over torch.fx."""

from .errors import FxscopeError
from .policy import Policy
from .rules import register_rule
from .transform import places, transform

from ._version import __version__
__all__ = ["FxscopeError", "Policy", "places", "register_rule", "transform"]
