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
from .lite import efficientnet_lite
from .stand_ins import STAND_INS
from .super_resolution_ncnn import real_esr_animevideo, span
from .weights import DATA

_PACKAGED: dict[str, tuple[str, Callable[[], nn.Module]]] = {  # their weights are in other packages
    **{f"efficientnet_lite{i}": ("ImageNet weights", partial(efficientnet_lite, i)) for i in (0, 1, 2)},
    **{
        f"real_esr_animevideo{i}x": ("Real-ESRGAN weights", partial(real_esr_animevideo, i))
        for i in (2, 3, 4)
    },
    **{f"span{i}x": ("SPAN weights", partial(span, i)) for i in (2, 4)},
}
_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    **{name: make for name, make in STAND_INS.items() if (DATA / f"{name}.safetensors").exists()},
    "bicubic4x": bicubic4x,
    "edsr_baseline4x": edsr_baseline,
    "edsr4x": edsr,
    "cyclegan": cyclegan,
    "cyclegan6": partial(cyclegan, 6),
    "dncnn": dncnn,
    "bias_free_dncnn": bias_free_dncnn,
    **{name: make for name, (_, make) in _PACKAGED.items()},
}

TRAINED = {  # what weights they have
    **dict.fromkeys(STAND_INS, "stand-in"),
    "bicubic4x": "fixed filter",
    **{name: note for name, (note, _) in _PACKAGED.items()},
}


def names() -> list[str]:
    """The names that ``build`` takes, and ``fxscope:NAME`` on the command line."""
    return list(_BUILDERS)


@checked
def build(name: str) -> nn.Module:
    """Build the network of that name, in eval mode; raise ``ValueError`` with the names if there is none."""
    if name not in _BUILDERS:
        raise ValueError(f"no network {name!r}; there are {', '.join(_BUILDERS)}")
    return _BUILDERS[name]().eval()
