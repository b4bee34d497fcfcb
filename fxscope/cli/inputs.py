"""From what a verb was asked to networks, photographs, indices and interpreters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from ..errors import ImageError, said
from ..images import photos
from ..images.conventions import with_channels
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter, interpret
from ..linop.tiles import TiledInterpreter
from ..models.part import Part, keys_of
from ..paper.tour.networks import Network, check_memory, described, images_of, read, unsuited
from ..results.provenance import digest
from .asked_input import LIMIT, with_sides, with_values
from .options import Asked, Choice
from .running import note, usage

SMALL = 300  # pixels to a side up to which memory is not checked
LEAST = 8  # pixels to each side of a photograph
SHIPPED = "astronaut"  # of scikit-image, where a verb is given no photograph


@dataclass(frozen=True)
class Read:
    """A network that a verb reads photographs with, and {photograph: hash of x0} of all that it has read."""

    network: Network
    x0: dict[str, str] = field(default_factory=dict)


def all_read() -> list[Read]:
    """Of the verb that runs, in the order of the networks."""
    return click.get_current_context().meta.setdefault("fxscope.read", [])


def take(found: Network, name: str, picture: torch.Tensor) -> torch.Tensor:
    """x0 (1, C, h, w) of a photograph: every verb makes it here, and its answer says how."""
    x0, limit = found.take(picture), found.preprocess.limit
    read_before = [each.x0 for each in all_read() if each.network is found]
    for hashes in read_before:
        height, width = picture.shape[1:]
        if limit and max(height, width) > limit and name not in hashes:
            cut = f"{min(width, limit)} x {min(height, limit)} of {width} x {height} pixels"
            note(f"fxscope: {name}: the middle {cut}; --size takes more or less, --crop none all")
        hashes[name] = digest(x0)
    return x0


def example(asked: Asked, found: Network) -> torch.Tensor:
    """x0 of the photograph that was named, or of scikit-image's."""
    if asked.image:
        return take(found, Path(str(asked.image)).name, read(str(asked.image), LEAST))
    return take(found, f"{SHIPPED} (scikit-image)", photos.shipped(SHIPPED))


def checked(asked: Asked, found: Network, x0: torch.Tensor) -> Any:
    """The output at x0, or at a part of it if it is large.

    Raise ``ImageError`` if the network does not run on it, or if its interpreter would need too much memory
    and no tiles were asked for.
    """
    part = x0 if max(x0.shape[2:]) <= 2 * SMALL else x0[..., :64, :64]
    try:
        with torch.no_grad():
            y0 = found.module(part)
    except Exception as error:  # a network's own code fails in many ways
        raise ImageError(
            f"{asked.choice.model} does not run on an image of {part.shape[3]} x {part.shape[2]} pixels:"
            f" {said(error)}; give a larger image, or another --size"
        ) from error
    if max(x0.shape[2:]) > SMALL and (asked.tile is None or asked.outputs is not None):
        check_memory(found, tuple(x0.shape))
    return y0


def part_of_output(asked: Asked, found: Network, x0: torch.Tensor) -> tuple[nn.Module, str | None]:
    """The network and the place that --outputs names: a key gives the network of that part of the output."""
    y0, place = checked(asked, found, x0), asked.outputs
    if place is not None and place in map(str, keys_of(y0)):
        return Part(found.module, place), None
    return found.module, place


def interpreter_at(asked: Asked) -> LinearInterpreter:
    """The interpreter of a network at a photograph, from one input to one output."""
    found = subject_of(asked, asked.choice)
    x0 = example(asked, found)
    module, place = part_of_output(asked, found, x0)
    tile = tile_of(asked, x0) if place is None else None
    lin = interpret(module, x0, policy=asked.policy, outputs=place, unknown=asked.unknown, tile=tile)
    if not isinstance(lin, TiledInterpreter) and not isinstance(lin.y0, torch.Tensor):
        raise usage(
            f"{asked.choice.model} gives a structure of outputs, {_outputs(lin)};"
            " choose one with --outputs KEY, or a place within the network that fxscope.places(model) lists"
        )
    return lin


def tile_of(asked: Asked, x0: torch.Tensor) -> int | str | None:
    """How x0 is read: None for whole."""
    is_small = x0.dim() != 4 or max(x0.shape[2:]) <= SMALL
    return None if asked.tile == "auto" and is_small else asked.tile


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


def ground_of(lin: LinearInterpreter, column: bool = False) -> torch.Tensor | None:
    """The photograph as the network reads it, or the image that it gives; None where that is no image."""
    if column and isinstance(lin, TiledInterpreter):  # whose output takes a pass over all tiles
        return None
    image = lin.y0 if column else lin.x0
    if not isinstance(image, torch.Tensor) or image.dim() != 4 or image.shape[1] not in (1, 3):
        return None
    return all_read()[0].network.show(image[0])


def score_named(asked: Asked, lin: LinearInterpreter, index: tuple[int, ...]) -> str:
    """An output for the title of a figure: a score by the name of its class, where it is known."""
    said = f"y0{list(index)}"
    if len(index) != 1 or asked.outputs is not None:
        return said
    names = names_of(asked, asked.choice, lin.F.outputs.shape[0])
    return said if names is None else f"{names[index[0]]}, {said}"


def at_output(lin: LinearInterpreter, index: tuple[int, ...]) -> tuple[float, float]:
    """y0 and r at one output; in tiles without a pass over all of them."""
    if isinstance(lin, TiledInterpreter):
        found = lin.local_row(index)
        return found.y0, found.r
    return float(lin.y0[0][index]), float(lin.residual[0][index])


def place_in(
    index: tuple[int, ...], shape: tuple[int, ...], what: str, option: str = "--at"
) -> tuple[int, ...]:
    """The index of an option; an error about the command line if it is not in a tensor of that shape."""
    if len(index) == len(shape) and all(-n <= i < n for i, n in zip(index, shape)):
        return index
    numbers = {1: "one number", 2: "Y,X", 3: "C,Y,X"}.get(len(shape), f"{len(shape)} numbers")
    limits = ",".join(str(n - 1) for n in shape)
    raise usage(
        f"{','.join(map(str, index))} is not in {what}, whose shape is {shape}: give {numbers}, at most"
        f" {limits}",
        option,
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


def subject_of(
    asked: Asked,
    choice: Choice,
    key: str | None = None,
    limit: int | None = LIMIT,
    main: bool = False,
) -> Network:
    """A network with the input that is known of it or asked for, whatever its output is.

    ``key`` is of the part of its output that is meant, ``limit`` the most pixels to each side that a network
    of images is given where no option says more, and ``main`` whether the main tensor of a ModelOutput is.
    """
    loaded = choice.loaded
    known = loaded.preprocess
    if known is None:
        known = with_channels(Preprocess.of(choice.model, loaded.module), loaded.module, choice.model)
    values = with_values(asked, known)
    module = Part(loaded.module, key) if key else loaded.module
    found = described(choice.model, module, choice.note, values, main)
    found = replace(found, preprocess=with_sides(asked, known, values, found.gives_images, limit))
    if found.preprocess.guessed:
        text = f"fxscope: the input of {choice.model} is {found.preprocess.source}"
        note(f"{text}; if it is not, give --size, --range, --mean, --std, --bgr or --luminance")
    all_read().append(Read(found))
    return found


def network_of(asked: Asked, choice: Choice | None = None, limit: int | None = LIMIT) -> Network:
    """The first network, or another one, with an output that suits the verb."""
    choice = choice or asked.choice
    found = subject_of(asked, choice, asked.outputs, limit, main=True)
    if found.kind == "other":
        raise unsuited(found)
    if asked.about not in (None, found.kind):
        verbs = {"scores": "votes, discussion, layers, fgsm, residual-share", "images": "locality, reach"}
        own = f"verbs about {found.kind}: {verbs[found.kind]}; " if found.kind in verbs else ""
        raise usage(
            f"{choice.model} gives {found.kind}, and this verb is about networks that give {asked.about};"
            f" {own}verbs about any output: row, column, svd, contributions, report"
        )
    return found


def networks_of(asked: Asked, limit: int | None = LIMIT) -> list[Network]:
    """All networks that were named."""
    return [network_of(asked, choice, limit) for choice in asked.choices]


class Photographs:
    """The photographs of image files and folders of them, (name, photograph) one after the other.

    A file that cannot be read is left out, said on stderr, and kept in ``skipped`` with the reason. If none
    can be read, ``ImageError`` is raised.
    """

    def __init__(self, paths: Any, least: int = LEAST) -> None:
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
                self.leave_out(str(path), str(error))
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
        taken = [take(found, name, picture) for name, picture in self]
        sizes = {f"{x.shape[3]} x {x.shape[2]}" for x in taken}
        if len(sizes) > 1:
            raise usage(f"the images have different sizes, {', '.join(sorted(sizes))}: give --size")
        return torch.cat(taken)

    def leave_out(self, path: str, reason: str) -> None:
        """Note that a file is left out, and why."""
        self.skipped[path] = reason
        if len(self.paths) > 1:
            note(f"fxscope: left out: {reason}")


def boxed(
    found: Network, photographs: Photographs, path: str
) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """(name, x0, box) of every photograph, its box resized and cropped as the photograph is."""
    try:
        boxes = json.loads(Path(path).read_text())
    except ValueError as error:
        raise usage(f"{path} is no JSON: {said(error)}", "--boxes") from error
    given = []
    for file, picture in photographs:
        box = boxes.get(Path(file).stem) if isinstance(boxes, dict) else None
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, (int, float)) for n in box):
            raise usage(f"{path} has no box [left, top, right, bottom] of {Path(file).stem}", "--boxes")
        left, top, right, bottom = map(round, box)
        inside = torch.zeros_like(picture)
        inside[..., max(0, top) : bottom, max(0, left) : right] = 1
        low, x, high = (found.take(p) for p in (torch.zeros_like(picture), inside, torch.ones_like(picture)))
        seen = (x > (low + high) / 2)[0, 0]
        if seen.all() or not seen.any():
            what = "all" if seen.all() else "nothing"
            photographs.leave_out(file, f"{file}: its box is {what} of what the network sees")
            continue
        given.append((file, take(found, file, picture), seen))
    return given


def interpreter_of(asked: Asked) -> tuple[Network, LinearInterpreter]:
    """A network, and its interpreter at a photograph."""
    found = network_of(asked)
    x0 = example(asked, found)
    checked(asked, found, x0)
    return found, interpret(found.module, x0, policy=asked.policy, unknown=asked.unknown)


def names_of(asked: Asked, choice: Choice, count: int) -> list[str] | None:
    """The names of the labels: of --names, of the factory, or ImageNet's; None where they are not known.

    A network with random weights does not know the classes: its labels are called by their numbers, or, where
    names were given, by these and by what its weights are.
    """
    own = asked.names or choice.loaded.names
    if own is not None:
        if len(own) != count:
            source = "--names" if asked.names else f"the names that {choice.model} comes with"
            raise usage(f"{len(own)} names, and {choice.model} gives {count} labels", source)
        # where weights are random, a name says nothing of what is seen
        return [f"{name} [random weights]" for name in own] if choice.random else list(own)
    if (
        not choice.model.startswith(("torchvision:", "timm:", "fxscope:efficientnet_lite"))
        or count != 1000
        or choice.random
    ):
        return None
    import torchvision

    return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
