"""fxscope: linear interpreters of convolutional networks, as a compiler pass over torch.fx."""

from .errors import FxscopeError
from .policy import Policy
from .rules import register_rule
from .export import check_saved, save
from .render import draw, summary, to_networkx
from .transform import places, transform
from . import plot
from .operator import compare, interpret, local_row, storage
from .verify import verify

from ._version import __version__ as __version__

__all__ = [
    "FxscopeError",
    "Policy",
    "check_saved",
    "compare",
    "draw",
    "interpret",
    "local_row",
    "places",
    "plot",
    "register_rule",
    "save",
    "storage",
    "summary",
    "to_networkx",
    "transform",
    "verify",
]
