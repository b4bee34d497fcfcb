"""The networks of the matrix, as they are written on the command line, and the files that some of them need.

Each is a MODEL and the options of its input. ``FILES`` makes the file or folder that is named in a MODEL,
alone or after its family: ``small.pt2``, ``hf:vit``.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from ..images import photos
from ..models.families import FAMILIES
from ..testing.conformance.huggingface import vit
from . import own

TRAINED = (  # by others, and really
    "fxscope:efficientnet_lite0",
    "fxscope:efficientnet_lite1 --size 96",
    "fxscope:efficientnet_lite2 --size 96",
    "fxscope:span2x --size 24",
    "fxscope:span4x --size 24",
    "fxscope:real_esr_animevideo2x --size 24",
    "fxscope:real_esr_animevideo3x --size 24",
    "fxscope:real_esr_animevideo4x --size 24",
)
STAND_INS = (
    "fxscope:pixelshuffle4x --size 24",
    "fxscope:edsr_small4x --size 24",
    "fxscope:digits_vgg",
    "fxscope:digits_vgg_bn",
    "fxscope:digits_resnet",
    "fxscope:facades_resnet --size 32",
    "fxscope:painter_resnet --size 32",
)
DRAWN = (  # weights are random, or those of a file of one's own
    "torchvision:resnet18 --size 64",
    "torchvision:mobilenet_v3_small --size 64",
    "torchvision:vgg11 --size 48",
    "torchvision:densenet121 --size 64",
    "timm:convnext_atto --size 64",
    "hf:vit",
    "own.py:transformer --size 32 --resize cover",
    "own.py:reader",
    "own.py:plain --size 40x190 --resize cover --range byte --mean 104,117,123 --bgr --multiple 16",
    "own.py:valid --size 24",
    "small.pt2 --size 40x192 --resize exact --luminance",
    "onnx:upscaler.onnx --size 24",
)
NETWORKS = (*TRAINED, *STAND_INS, *DRAWN)


def photograph(folder: Path) -> Path:
    """The photograph that verbs read where none is named, as a file."""
    from torchvision.utils import save_image

    path = folder / "astronaut.png"
    save_image(photos.shipped("astronaut"), path)
    return path


def arguments(network: str, folder: Path) -> list[str]:
    """MODEL and options; what is in ``FILES`` is made in the folder, and named there."""
    spec, *options = shlex.split(network)
    for name, make in FILES.items():
        family, _, rest = spec.partition(name)
        if name in spec and rest[:1] in ("", ":") and family.removesuffix(":") in ("", *FAMILIES):
            make(folder / name)
            spec = f"{family}{folder / name}{rest}"
            break
    return [spec, *options]


def _own(path: Path) -> None:
    shutil.copy(own.__file__, path)


def _vit(path: Path) -> None:
    from transformers import ViTImageProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    model, _ = vit()
    model.save_pretrained(path)  # type: ignore[operator]  # of transformers
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)


def _program(path: Path) -> None:
    """A program of torch.export, which takes the luminance."""
    layers = [torch.nn.Conv2d(1, 8, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveMaxPool2d((2, 4))]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(64, 5)).eval()
    torch.export.save(torch.export.export(model, (torch.rand(1, 1, 40, 192),)), path)


def _onnx(path: Path) -> None:
    """A file of ONNX, fixed to one image of one size."""
    from ..models import named

    model = named.build("edsr_small4x")
    torch.onnx.export(model, (torch.rand(1, 3, 24, 24),), path, dynamo=True, verbose=False)


FILES: dict[str, Callable[[Path], None]] = {
    "own.py": _own,
    "vit": _vit,
    "small.pt2": _program,
    "upscaler.onnx": _onnx,
}
