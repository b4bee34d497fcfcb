"""From what a verb was asked to networks, photographs, indices and interpreters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError, ImageError, said
from ..images import photos
from ..linop import LinearInterpreter, interpret
from ..models.part import Part, keys_of
from ..paper.tour.networks import Network, channels_of, check_memory, images_of, network, read
from .options import Asked, Choice
from .running import note, usage

CUT = 64  # pixels to each side of the square of a photograph that is used
CORNER = (60, 160)  # of the square in the photograph that is shipped
SMALL = 300  # pixels to a side up to which memory is not checked


def example(model: nn.Module, image: Any, size: int | None) -> torch.Tensor:
    """x0 (1, C, H, W): a square of the photograph (or of scikit-image's), grey if the network needs it."""
    channels = channels_of(model)
    picture = photos.read(image) if image else photos.shipped("astronaut")
    height, width = picture.shape[1:]
    if size is not None and size > min(height, width):
        raise usage(
            f"{size} pixels to each side, and {image or 'the photograph'} has {width} x {height} pixels",
            "--size",
        )
    side = size or CUT
    top, left = (0, 0) if image else (max(0, min(c, n - side)) for c, n in zip(CORNER, (height, width)))
    picture = picture[:, top : top + side, left : left + side]
    picture = photos.luminance(picture) if channels == 1 else picture
    if channels not in (1, 3):
        raise FxscopeError(f"the network takes {channels} channels, and a photograph has 1 or 3")
    weight = next(model.parameters(), None)
    return picture[None] if weight is None else picture[None].to(weight.device)


def checked(choice: Choice, model: nn.Module, x0: torch.Tensor) -> Any:
    """The output at x0, or at a part of it if it is large.

    Raise ``ImageError`` if the network does not run on it, or if its interpreter would need too much memory.
    """
    part = x0 if max(x0.shape[2:]) <= 2 * SMALL else x0[..., :64, :64]
    try:
        with torch.no_grad():
            y0 = model(part)
    except Exception as error:  # a network's own code fails in many ways
        raise ImageError(
            f"{choice.model} does not run on an image of {part.shape[3]} x {part.shape[2]} pixels:"
            f" {said(error)}; give a larger image, or another --size"
        ) from error
    if max(x0.shape[2:]) > SMALL:
        images = isinstance(y0, torch.Tensor) and y0.dim() == 4
        scale = -(-y0.shape[-1] // part.shape[-1]) if images else 1
        kind = "images" if images else "scores"
        subject = Network(choice.model, model, 0.0, 1.0, x0.shape[1], None, choice.note, kind, scale)
        check_memory(subject, tuple(x0.shape))
    return y0


def part_of_output(asked: Asked, module: nn.Module, x0: torch.Tensor) -> tuple[nn.Module, str | None]:
    """The network and the place that --outputs names: a key gives the network of that part of the output."""
    y0, place = checked(asked.choice, module, x0), asked.outputs
    if place is not None and place in map(str, keys_of(y0)):
        return Part(module, place), None
    return module, place


def interpreter_at(asked: Asked) -> LinearInterpreter:
    """The interpreter of a network at a square of a photograph, from one input to one output."""
    module = asked.choice.load()
    x0 = example(module, asked.image, asked.size)
    module, place = part_of_output(asked, module, x0)
    lin = interpret(module, x0, policy=asked.policy, outputs=place)
    if not isinstance(lin.y0, torch.Tensor):
        raise usage(
            f"{asked.choice.model} gives a structure of outputs, {_outputs(lin)};"
            " choose one with --outputs KEY, or a place within the network that fxscope.places(model) lists"
        )
    return lin


def _outputs(lin: LinearInterpreter) -> str:
    """The keys of all outputs with their shapes, and which of them are constant."""
    space, constant = lin.F.outputs, lin.constant_outputs
    said = (f"{k}: {s}{' (constant)' * (k in constant)}" for k, s in zip(space.keys, space.shapes))
    return ", ".join(said)


def aligned(
    lin: LinearInterpreter, index: tuple[int, ...], column: bool = False
) -> tuple[tuple[int, int] | None, str]:
    """(y, x) of the input on which an output is centred, or the converse for a column, and what tells it.

    The place is None where the network is not from an image to an image: a score has no place.
    """
    if len(index) != 3 or len(lin.F.inputs.shape) != 3 or len(lin.F.outputs.shape) != 3:
        return None, ""
    found = lin.F.alignment()
    y, x = found.output_of(index[1:]) if column else found.input_of(index[1:])
    return (y, x), found.source


def place_in(index: tuple[int, ...], shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    """The index of --at; an error about the command line if it is not in a tensor of that shape."""
    if len(index) == len(shape) and all(-n <= i < n for i, n in zip(index, shape)):
        return index
    numbers = {1: "one number", 3: "C,Y,X"}.get(len(shape), f"{len(shape)} numbers")
    limits = ",".join(str(n - 1) for n in shape)
    raise usage(
        f"{','.join(map(str, index))} is not in {what}, whose shape is {shape}: give {numbers}, at most"
        f" {limits}",
        "--at",
    )


def output_index(lin: LinearInterpreter, at: tuple[int, ...] | None, top: bool) -> tuple[int, ...]:
    """The index that was asked for: --at, or the largest output, or the middle one of an image."""
    shape = lin.F.outputs.shape
    if at is not None and top:
        raise usage("--at and --top exclude each other: the one names an output, the other takes the largest")
    if at is not None:
        return place_in(at, shape, "the output")
    if top or len(shape) == 1:
        return tuple(int(i) for i in torch.unravel_index(lin.y0.flatten().argmax(), shape))
    return (0, *(s // 2 for s in shape[1:]))


def network_of(asked: Asked, choice: Choice | None = None) -> Network:
    """The first network, or another one, with its input convention and an output that suits the verb."""
    choice = choice or asked.choice
    module = choice.load()
    module = Part(module, asked.outputs) if asked.outputs else module
    found = network(choice.model, module, choice.note, asked.scale, asked.size)
    if asked.about not in (None, found.kind):
        verbs = {"scores": "votes, discussion, layers, fgsm, residual-share", "images": "locality, reach"}
        own = f"verbs about {found.kind}: {verbs[found.kind]}; " if found.kind in verbs else ""
        raise usage(
            f"{choice.model} gives {found.kind}, and this verb is about networks that give {asked.about};"
            f" {own}verbs about any output: row, column, svd, contributions, report"
        )
    return found


def networks_of(asked: Asked) -> list[Network]:
    """All networks that were named."""
    return [network_of(asked, choice) for choice in asked.choices]


class Photographs:
    """The photographs of image files and folders of them, (name, photograph) one after the other.

    A file that cannot be read is left out, said on stderr, and kept in ``skipped`` with the reason. If none
    can be read, ``ImageError`` is raised.
    """

    def __init__(self, paths: Any, least: int = 8) -> None:
        self.paths, self.least = images_of([str(p) for p in paths]), least
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        read_any = False
        for path in self.paths:
            if str(path) in self.skipped:
                continue
            try:
                picture = read(path, self.least)
            except ImageError as error:
                self._skip(str(path), str(error))
                continue
            read_any = True
            yield path.name, picture
        if not read_any:
            raise ImageError(f"no image is left: {next(iter(self.skipped.values()))}")

    def files(self) -> list[str]:
        """The files that can be read."""
        for _ in self:
            pass
        return [str(p) for p in self.paths if str(p) not in self.skipped]

    def batch(self, found: Network) -> torch.Tensor:
        """x0 (B, C, H, W) of all of them; an error if the network takes them at different sizes."""
        taken = [found.take(picture) for _, picture in self]
        sizes = {f"{x.shape[3]} x {x.shape[2]}" for x in taken}
        if len(sizes) > 1:
            raise usage(f"the images have different sizes, {', '.join(sorted(sizes))}: give --size")
        return torch.cat(taken)

    def _skip(self, path: str, reason: str) -> None:
        self.skipped[path] = reason
        if len(self.paths) > 1:
            note(f"fxscope: left out: {reason}")


def interpreter_of(asked: Asked) -> tuple[Network, LinearInterpreter]:
    """A network, and its interpreter at a whole photograph where it fits the memory."""
    found = network_of(asked)
    x0 = found.take(read(str(asked.image), least=8))
    check_memory(found, tuple(x0.shape))
    return found, interpret(found.module, x0, policy=asked.policy)


def names_of(choice: Choice, count: int) -> list[str] | None:
    """ImageNet's names for a trained torchvision classifier of 1000 labels; None elsewhere.

    A network with random weights does not know the classes, and its labels are called by their numbers.
    """
    if not choice.model.startswith("torchvision:") or count != 1000 or choice.random:
        return None
    import torchvision

    return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
