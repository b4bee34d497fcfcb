"""The networks of ``fxscope:NAME``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from ..graph.arguments import checked
from ..images.bicubic import bicubic4x
from .cyclegan import cyclegan
from .dncnn import bias_free_dncnn, dncnn
from .edsr import edsr, edsr_baseline
from .stand_ins import STAND_INS
from .weights import DATA

_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    **{name: make for name, make in STAND_INS.items() if (DATA / f"{name}.safetensors").exists()},
    "bicubic4x": bicubic4x,
    "edsr_baseline4x": edsr_baseline,
    "edsr4x": edsr,
    "cyclegan": cyclegan,
    "cyclegan6": partial(cyclegan, 6),
    "dncnn": dncnn,
    "bias_free_dncnn": bias_free_dncnn,
}

TRAINED = {**dict.fromkeys(STAND_INS, "stand-in"), "bicubic4x": "fixed filter"}  # what weights they have


def names() -> list[str]:
    """The names that ``build`` takes, and ``fxscope:NAME`` on the command line."""
    return list(_BUILDERS)


@checked
def build(name: str) -> nn.Module:
    """Build the network of that name, in eval mode; raise ``ValueError`` with the names if there is none."""
    if name not in _BUILDERS:
        raise ValueError(f"no network {name!r}; there are {', '.join(_BUILDERS)}")
    return _BUILDERS[name]().eval()
