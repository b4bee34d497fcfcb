"""A network as the pages use it: its name, what input it takes, and the kind of its output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ...analysis import storage
from ...errors import FxscopeError, ImageError, said
from ...images import photos
from ...images.conventions import with_channels, with_count
from ...images.preprocess import Preprocess
from ...linop.tiles import side_of
from ...models.part import Part, keys_of
from ...models.spec import name_of, weights_note
from ...passes.outputs import main_key

BUDGET = 4 << 30  # bytes that a page may take
PROBED = (32, 64, 224)  # sides of the images on which a network of any size is tried
KINDS = {2: "scores", 3: "tokens", 4: "images"}  # by the rank of the output


@dataclass(frozen=True)
class Network:
    """A network and its input.

    Parameters
    ----------
    name : str
        The name on the page.
    module : torch.nn.Module
        The network.
    preprocess : Preprocess
        How a photograph becomes x0.
    note : str
        Which weights it has; the page shows this with the name.
    kind : {"scores", "tokens", "images", "other"}
        Kind of the output; ``scale`` is the factor between an input image and an output image.
    gives_images : bool
        Whether the output, or a part of it, is an image.
    spec : str
        The MODEL argument of the command line that names it, where there is one.
    """

    name: str
    module: nn.Module
    preprocess: Preprocess
    note: str
    kind: str = "scores"
    scale: int = 1
    gives_images: bool = False
    spec: str = ""

    @property
    def random(self) -> bool:
        """Whether its weights are known to be drawn at random."""
        return self.note.startswith("random weights")

    @property
    def title(self) -> str:
        """The name with the note."""
        return f"{self.name} ({self.note})"

    def take(self, picture: torch.Tensor) -> torch.Tensor:
        """x0 (1, C, h, w) of a picture (3, H, W) in [0, 1], where the network is, and in its dtype."""
        x0 = self.preprocess(picture)
        return x0.to(next(self.module.parameters(), x0))

    def show(self, image: torch.Tensor) -> torch.Tensor:
        """An image (C, H, W) that the network takes or gives as pixels in [0, 1]."""
        return with_count(self.preprocess, image.shape[0]).inverse(image)


def network(spec: str, module: nn.Module, note: str = "", preprocess: Preprocess | None = None) -> Network:
    """The network of a MODEL argument, with what is known of its input.

    Parameters
    ----------
    spec : str
        As ``models.load_model`` takes it.
    module : torch.nn.Module
        The network itself.
    note : str
        What weights it has.
    preprocess : Preprocess, optional
        How a photograph becomes x0. The default is ``Preprocess.of(spec, module)``.

    Raises
    ------
    FxscopeError
        If the module does not run on such an input, or gives no scores, tokens or images.
    """
    found = described(spec, module, note, preprocess, main=True)
    if found.kind == "other":
        raise unsuited(found)
    return found


def described(
    spec: str,
    module: nn.Module,
    note: str = "",
    preprocess: Preprocess | None = None,
    main: bool = False,
) -> Network:
    """As ``network``, for any output: the kind is "other" where it is none of the three.

    With ``main`` the network of a ModelOutput is the one of its main tensor, which ``interpret`` reads.
    """
    name = name_of(spec)
    preprocess = preprocess or with_channels(Preprocess.of(spec, module), module, name)
    found = Network(name, module.eval(), preprocess, note or weights_note(spec), "other", spec=spec)
    x0, out = _tried(found)
    key = main_key(out) if main else None
    if key is not None:
        found, out = replace(found, module=Part(found.module, key)), out[key]
    parts = [t for t in pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]
    found = replace(found, gives_images=any(t.dim() == 4 for t in parts))
    if not isinstance(out, torch.Tensor) or out.dim() not in KINDS:
        return found
    kind = KINDS[out.dim()]
    return replace(found, kind=kind, scale=_scale(found.module, x0, out) if kind == "images" else 1)


def _tried(found: Network) -> tuple[torch.Tensor, Any]:
    """A black x0, and the output there, or the error where it runs on none of the sizes that were tried."""
    given = found.preprocess
    bare = replace(given, size=None, resize=None, crop=None, limit=None, padding="edge")
    sizes = [(side, side) for side in PROBED]
    if given.size:  # a network of images runs on less than a large one, too
        sizes = [*sizes, given.size] if max(given.size) > PROBED[-1] else [given.size]
    for size in sizes:
        x0 = bare(torch.zeros(3, *size))
        try:
            with torch.no_grad():
                x0 = x0.to(next(found.module.parameters(), x0))
                return x0, found.module(x0)
        except FxscopeError:
            raise
        except Exception as error:  # a network's own code fails in many ways
            failed = x0, error
    return failed


def unsuited(found: Network) -> FxscopeError:
    """Why no page can be made of a network."""
    x0, out = _tried(found)
    if isinstance(out, Exception):
        return FxscopeError(f"{found.name} does not run on {tuple(x0.shape)}: {said(out)}; give --size")
    if not isinstance(out, torch.Tensor):
        return FxscopeError(
            f"{found.name} gives {type(out).__name__}, and one tensor of scores, tokens or an image is"
            f" needed; choose one with --outputs KEY: {', '.join(map(str, keys_of(out))) or 'it has none'}"
        )
    return FxscopeError(
        f"{found.name} gives shape {tuple(out.shape)}; a page needs scores (B, N), tokens (B, T, N) or"
        " images (B, C, H, W)"
    )


def _scale(module: nn.Module, x0: torch.Tensor, out: torch.Tensor) -> int:
    """Output pixels for one input pixel, at least 1: how the output grows where the input does.

    Its size alone does not tell, because a network without padding cuts a border off.
    """
    width = x0.shape[-1]
    try:
        with torch.no_grad():
            grown = module(x0.repeat(1, 1, 2, 2))
    except Exception:  # a network of one size
        return max(1, out.shape[-1] // width)
    return max(1, (grown.shape[-1] - out.shape[-1]) // width)


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
    needed = memory_of(found, shape)
    if needed > budget:
        side = int((budget / needed) ** 0.5 * min(shape[2:]))
        raise ImageError(
            f"{found.name} at {shape[3]} x {shape[2]} pixels needs about {needed / 2**30:.1f} GiB, and the"
            f" limit is {budget / 2**30:.0f}; cut the image, or give --size {side} or less"
        )
    return needed


def memory_of(found: Network, shape: tuple[int, ...]) -> int:
    """Estimate the bytes of an interpreter at x0."""
    small = (1, shape[1], 64, 64) if found.kind == "images" else shape
    per = storage(found.module, small, example_inputs=(torch.zeros(small),))
    grown = shape[2] * shape[3] / (64 * 64) if found.kind == "images" else 1.0
    return int(
        (per.recorded + 2 * 4 * per.activations) * grown
        + 64 * 4 * shape[1] * shape[2] * shape[3] * found.scale**2
    )


def tile_of(n: Network, x0: torch.Tensor, tile: int | str | None) -> int | None:
    """The pixels to a side of the tiles in which a network reads x0; None where it reads it whole."""
    if tile is None or n.kind != "images":
        return None
    if tile == "auto":
        return side_of(n.module, x0) if memory_of(n, tuple(x0.shape)) > BUDGET else None
    return int(tile)
