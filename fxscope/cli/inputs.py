"""From the arguments of a verb to networks, photographs, indices and interpreters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import FxscopeError, ImageError
from ..images import photos
from ..linop import LinearInterpreter, interpret
from ..models import load_model
from ..paper.tour.networks import Network, channels_of, check_memory, images_of, network, read

SMALL = 300  # pixels to a side up to which memory is not checked


def example(model: nn.Module, image: str | None, size: int, dtype: torch.dtype) -> torch.Tensor:
    """x0 (1, C, H, W): the photograph, or one of scikit-image, cropped, grey if the first layer needs it."""
    channels = channels_of(model)
    picture = photos.read(image) if image else photos.shipped("astronaut")
    picture = picture[:, :size, :size] if image else picture[:, 60 : 60 + size, 160 : 160 + size]
    picture = photos.luminance(picture) if channels == 1 else picture
    if channels not in (1, 3):
        raise FxscopeError(f"the network takes {channels} channels, and a photograph has 1 or 3")
    return picture[None].to(dtype)


def checked(spec: str, model: nn.Module, x0: torch.Tensor) -> torch.Tensor:
    """x0; raise ``ImageError`` if the network does not run on it, or would need too much memory."""
    part = x0 if max(x0.shape[2:]) <= 2 * SMALL else x0[..., :64, :64]
    try:
        with torch.no_grad():
            y0 = model(part)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ImageError(
            f"{spec} does not run on an image of {part.shape[3]} x {part.shape[2]} pixels:"
            f" {str(error).splitlines()[0]}; give a larger image, or another --size"
        ) from error
    if max(x0.shape[2:]) > SMALL:
        images = isinstance(y0, torch.Tensor) and y0.dim() == 4
        scale = max(1, y0.shape[-1] // part.shape[-1]) if images else 1
        check_memory(
            Network(spec, model, 0.0, 1.0, x0.shape[1], None, "", "images" if images else "scores", scale),
            tuple(x0.shape),
        )
    return x0


def sides(size: str) -> tuple[int, int]:
    """Height and width of "HxW"."""
    try:
        height, width = (int(v) for v in size.lower().split("x"))
    except ValueError as error:
        raise FxscopeError(f"--size is HxW, as 224x224; got {size!r}") from error
    return height, width


def index_of(text: str) -> tuple[int, ...]:
    """The index of "C,Y,X", or of a class."""
    try:
        return tuple(int(v) for v in text.split(","))
    except ValueError as error:
        raise FxscopeError(f"--at is an index as C,Y,X or a class; got {text!r}") from error


def interpreter_at(
    spec: str, image: str | None, weights: str | None, policy: str, size: int
) -> LinearInterpreter:
    """The interpreter of a network at a photograph that is cut to ``size``."""
    module = load_model(spec, weights)
    return interpret(
        module, checked(spec, module, example(module, image, size, torch.float32)), policy=policy
    )


def output_index(lin: LinearInterpreter, at: str | None, top: bool) -> tuple[int, ...]:
    """The output that is asked for: named, the largest, or the middle one of an image."""
    shape = lin.F.outputs.shape
    if at is not None and not top:
        return index_of(at)
    if top or len(shape) == 1:
        return tuple(int(i) for i in torch.unravel_index(lin.y0.flatten().argmax(), shape))
    return (0, *(s // 2 for s in shape[1:]))


def network_of(spec: str, weights: str | None, scale: str | None, size: int | None) -> Network:
    """The network of a MODEL argument with its input convention."""
    note = ""
    if weights == "DEFAULT":
        note = "torchvision's weights"
    elif weights:
        note = f"weights {weights.rsplit('/', 1)[-1]}"
    return network(spec, load_model(spec, weights), note, scale, size)


def networks_of(
    specs: Sequence[str], weights: Sequence[str], scale: str | None = None, size: int | None = None
) -> list[Network]:
    """The networks of several MODEL arguments."""
    if weights and len(weights) != len(specs):
        raise FxscopeError(
            f"{len(specs)} networks and {len(weights)} --weights: give one for each, in their order"
        )
    return [network_of(s, w, scale, size) for s, w in zip(specs, weights or (None,) * len(specs))]


def pictures_of(paths: Sequence[str]) -> list[tuple[str, torch.Tensor]]:
    """(name, photograph) of image files and folders of them."""
    return [(p.name, read(p, least=8)) for p in images_of(list(paths))]


def interpreter_of(found: Network, image: str, policy: str) -> LinearInterpreter:
    """The interpreter of a network at a photograph, where it fits the memory."""
    x0 = found.take(pictures_of([image])[0][1])
    check_memory(found, tuple(x0.shape))
    return interpret(found.module, x0, policy=policy)


def names_of(spec: str, count: int) -> list[str] | None:
    """ImageNet's names for a torchvision classifier of 1000 labels; None elsewhere."""
    if not spec.startswith("torchvision:") or count != 1000:
        return None
    import torchvision

    return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
