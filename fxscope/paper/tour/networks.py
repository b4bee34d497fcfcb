"""A network as the pages use it: its name, its input convention, and the kind of its output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...analysis import storage
from ...errors import FxscopeError, ImageError, said
from ...images import photos
from ...models.part import keys_of
from ...models.spec import weights_note
from .. import datasets

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RANGES = {"imagenet": None, "unit": (0.0, 1.0), "byte": (0.0, 255.0), "symmetric": (-1.0, 1.0)}
BUDGET = 4 << 30  # bytes that a page may take


@dataclass(frozen=True)
class Network:
    """A network and its input convention.

    Parameters
    ----------
    name : str
        The name on the page.
    module : torch.nn.Module
        The network.
    mean, std : float or tuple of float
        x0 = (pixels - mean) / std, for pixels in [0, 1].
    channels : int
        Channels of x0; 1 takes the luminance.
    kind : {"scores", "tokens", "images"}
        Kind of the output; ``scale`` is the factor between an input image and an output image.
    side : int or None
        Side of the square input in pixels; None for any size.
    note : str
        Which weights it has; the page shows this with the name.
    """

    name: str
    module: nn.Module
    mean: Any
    std: Any
    channels: int
    side: int | None
    note: str
    kind: str = "scores"
    scale: int = 1

    @property
    def title(self) -> str:
        """The name with the note."""
        return f"{self.name} ({self.note})"

    def take(self, picture: torch.Tensor) -> torch.Tensor:
        """A picture (3, H, W) in [0, 1] as x0 (1, C, h, w), resized and cut if the network has a ``side``."""
        if self.side is not None:
            picture = fitted(picture, self.side)
        picture = photos.luminance(picture) if self.channels == 1 else picture
        return ((picture[None] - self._wide(self.mean)) / self._wide(self.std)).to(_device(self.module))

    def show(self, image: torch.Tensor) -> torch.Tensor:
        """An image (C, H, W) of the network as pixels in [0, 1]."""
        return (image * self._wide(self.std)[0] + self._wide(self.mean)[0]).clamp(0, 1)

    def _wide(self, value: Any) -> torch.Tensor:
        return torch.as_tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters(), torch.zeros(())).device


def network(
    spec: str, module: nn.Module, note: str = "", range: str | None = None, size: int | None = None
) -> Network:
    """The network of a MODEL argument, with the input convention of its family.

    Parameters
    ----------
    spec : str
        As ``models.load_model`` takes it.
    module : torch.nn.Module
        The network itself.
    note : str
        What weights it has.
    range : str, optional
        "imagenet" (normalised), "unit" (0..1), "byte" (0..255) or "symmetric" (-1..1). The default is its
        family's.
    size : int, optional
        Side of x0 in pixels. The default is 224 for torchvision (299 for Inception v3), 32 for the digits,
        and any for networks of images.

    Raises
    ------
    FxscopeError
        If the range is unknown, or the module does not run on such an input.
    """
    family, _, name = spec.rpartition(":")
    if range is not None and range not in RANGES:
        raise FxscopeError(f"--range is one of {', '.join(RANGES)}, got {range!r}")
    if family == "fxscope" and name.startswith("digits"):
        mean, std, size = datasets.INK_MEAN, datasets.INK_STD, 32
    else:
        mean, std = _convention(range or _range_of(family, name))
    if family == "torchvision" and size is None:
        size = 299 if name == "inception_v3" else 224
    channels = channels_of(module)
    if channels not in (1, 3):
        raise FxscopeError(f"{name} takes {channels} channels, and a photograph has 1 or 3")
    found = Network(name, module.eval(), mean, std, channels, size, note or weights_note(spec))
    return _with_kind(found)


def channels_of(module: nn.Module) -> int:
    """Number of input channels of the first layer; 3 if no layer tells."""
    first: Any = next((m for m in module.modules() if hasattr(m, "in_channels")), None)
    return 3 if first is None else first.in_channels


def _range_of(family: str, name: str) -> str:
    """The input range of a family of networks."""
    if family == "torchvision":
        return "imagenet"
    if name.startswith("edsr"):
        return "byte"
    if name.startswith("cyclegan") or name in ("facades_resnet", "painter_resnet"):
        return "symmetric"
    return "unit"


def _convention(range: str) -> tuple[Any, Any]:
    limits = RANGES[range]
    if limits is None:
        return IMAGENET
    low, high = limits
    return -low / (high - low), 1 / (high - low)


def _with_kind(found: Network) -> Network:
    side = found.side or 32
    parameter = next(found.module.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            out = found.module(parameter.new_zeros(1, found.channels, side, side))
    except FxscopeError:
        raise
    except Exception as error:  # a network's own code fails in many ways
        raise FxscopeError(
            f"{found.name} does not run on (1, {found.channels}, {side}, {side}): {said(error)}; give --size"
        ) from error
    if not isinstance(out, torch.Tensor):
        raise FxscopeError(
            f"{found.name} gives {type(out).__name__}, and one tensor of scores, tokens or an image is"
            f" needed; choose one with --outputs KEY: {', '.join(map(str, keys_of(out))) or 'it has none'}"
        )
    if out.dim() not in (2, 3, 4):
        raise FxscopeError(
            f"{found.name} gives shape {tuple(out.shape)}; a page needs scores (B, N), tokens (B, T, N) or"
            " images (B, C, H, W)"
        )
    kind = {2: "scores", 3: "tokens", 4: "images"}[out.dim()]
    return replace(found, kind=kind, scale=_scale(found.module, out, side) if kind == "images" else 1)


def _scale(module: nn.Module, out: torch.Tensor, side: int) -> int:
    """Output pixels for one input pixel, at least 1: how the output grows where the input does.

    Its size alone does not tell, because a network without padding cuts a border off.
    """
    parameter = next(module.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            grown = module(parameter.new_zeros(1, channels_of(module), 2 * side, 2 * side))
    except Exception:  # a network of one size
        return max(1, out.shape[-1] // side)
    return max(1, (grown.shape[-1] - out.shape[-1]) // side)


def fitted(picture: torch.Tensor, side: int) -> torch.Tensor:
    """(C, H, W) resized so that the shorter side is ``side``, and its middle square."""
    h, w = picture.shape[1:]
    factor = side / min(h, w)
    size = (max(side, round(h * factor)), max(side, round(w * factor)))
    resized = F.interpolate(picture[None], size=size, mode="bilinear", antialias=True, align_corners=False)[
        0
    ].clamp(0, 1)
    return middle(resized, side)


def middle(picture: torch.Tensor, side: int, multiple: int = 1) -> torch.Tensor:
    """The middle square of at most ``side`` pixels, a multiple of ``multiple`` to each side."""
    h, w = (min(s, side) - min(s, side) % multiple for s in picture.shape[1:])
    top, left = (picture.shape[1] - h) // 2, (picture.shape[2] - w) // 2
    return picture[:, top : top + h, left : left + w]


def read(path: str | Path, least: int = 64) -> torch.Tensor:
    """A photograph (3, H, W) of at least ``least`` pixels to each side; raises ``ImageError``."""
    picture = photos.read(path)
    if min(picture.shape[1:]) < least:
        raise ImageError(
            f"{path} is {picture.shape[2]} x {picture.shape[1]} pixels; at least {least} x {least} are needed"
        )
    return picture


def images_of(paths: list[str]) -> list[Path]:
    """The image files of a list of files and folders; raises ``ImageError`` for an empty folder."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(
                f
                for f in path.iterdir()
                if f.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
            )
            if not files:
                raise ImageError(f"no image in the folder {path}")
            found += files
        else:
            found.append(path)
    return found


def check_memory(found: Network, shape: tuple[int, ...], budget: int = BUDGET) -> int:
    """Estimate the bytes of an interpreter at x0; raise ``ImageError`` if they exceed the budget."""
    small = (1, shape[1], 64, 64) if found.kind == "images" else shape
    per = storage(found.module, small, example_inputs=(torch.zeros(small),))
    grown = shape[2] * shape[3] / (64 * 64) if found.kind == "images" else 1.0
    needed = int(
        (per.recorded + 2 * 4 * per.activations) * grown
        + 64 * 4 * shape[1] * shape[2] * shape[3] * found.scale**2
    )
    if needed > budget:
        side = int((budget / needed) ** 0.5 * min(shape[2:]))
        raise ImageError(
            f"{found.name} at {shape[3]} x {shape[2]} pixels needs about {needed / 2**30:.1f} GiB, and the"
            f" limit is {budget / 2**30:.0f}; cut the image, or give --size {side} or less"
        )
    return needed
