"""``fxscope tour``: the experiments of the paper, on stand-ins or on given networks, as one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from ... import models
from ...errors import FxscopeError
from ...images import photos
from ...results.provenance import digest
from .. import datasets
from ..findings import Photograph
from .classification import NETWORKS as DIGITS
from .classification import classification
from .image_to_image import SIDE, image_to_image
from .image_to_image import default_networks as of_images
from .live import Walk
from .live import live as demonstrations
from .networks import Network, images_of, middle, network, read
from .page import Chapter, Page, Written
from .storage_speed import storage_and_speed
from .super_resolution import default_networks as of_upscalers
from .super_resolution import super_resolution
from .trained import installed, trained
from .verification import verification
from .work import Work

CHAPTERS = (
    "live",
    "photographs",
    "classification",
    "super-resolution",
    "image-to-image",
    "storage",
    "verification",
)

SECONDS = {  # of the chapters on one core
    "live": 85,
    "photographs": 45,
    "classification": 25,
    "super-resolution": 65,
    "image-to-image": 60,
    "storage": 5,
    "verification": 20,
}


def tour(
    images: str | Sequence[str] | None = None,
    out: str | Path = "fxscope-tour",
    networks: Sequence[Network] = (),
    chapters: Sequence[str] = (),
    progress: bool = True,
    live: bool = True,
) -> Written:
    """Write the tour to a folder: one page that opens from disk, its figures as files, its numbers as JSON.

    A run that was interrupted continues after the last finished chapter.

    Parameters
    ----------
    images : str or sequence of str, optional
        Photographs (files or folders) for the chapters about images; the first one is shown. The default
        comes with scikit-image.
    out : path
        The folder of the page.
    networks : sequence of Network
        Networks that replace the stand-ins, each in the chapter that fits its output: upscalers, or images
        of the same size. Classifiers get a report of their own after the digits.
    chapters : sequence of str
        Some of ``CHAPTERS``. The default is all of them.
    progress : bool
        Say on stderr how long it will take, and which chapter runs.
    live : bool
        Begin with demonstrations that compute rows and columns in the reader's browser.

    Returns
    -------
    Written
        The path of the page, its numbers and findings.

    Raises
    ------
    ImageError
        If a file is no image, or smaller than 64 x 64 pixels.
    FxscopeError
        If a chapter is unknown.
    """
    unknown = [c for c in chapters if c not in CHAPTERS]
    if unknown:
        raise FxscopeError(f"no chapter {', '.join(unknown)}; there are {', '.join(CHAPTERS)}")
    paths = images_of([images] if isinstance(images, str) else list(images or ()))
    pictures = [(p.name, read(p)) for p in paths] or [("chelsea (scikit-image)", photos.shipped("chelsea"))]
    key = {
        "images": [[name, digest(picture)] for name, picture in pictures],
        "networks": [[n.title, digest(*_tensors(n.module))] for n in networks],
        "weights": _shipped(),
        "trained": [n.name for n in installed()[0]],
    }
    page = Page(out, "A tour of convolutional networks guided by linear interpreters", _about(networks), key)
    work = Work(progress)
    given = [Photograph(p.stem, "given", p) for p in paths]
    wanted = chapters or [c for c in CHAPTERS if live or c != "live"]
    made = _makers(pictures, given, list(networks), work)
    makers = {k: make for k, make in made.items() if k.split(":")[0] in wanted}
    work.left |= {k: {k: float(SECONDS[k.split(":")[0]])} for k in makers}
    return page.write(makers, work=work)


def _makers(
    pictures: list, given: list[Photograph], networks: list[Network], work: Work
) -> dict[str, Callable[[], Chapter]]:
    from .report import chapter_of

    title, picture = pictures[0]
    progress = work.progress
    upscalers = [n for n in networks if n.kind == "images" and n.scale > 1]
    same = [n for n in networks if n.kind == "images" and n.scale == 1]
    scores = [n for n in networks if n.kind in ("scores", "tokens")]
    walks = partial(_walks, pictures, upscalers, same, scores, str(given[0].path) if given else "")
    makers: dict[str, Callable[[], Chapter]] = {
        "live": lambda: demonstrations(walks()),
        "photographs": partial(trained, given, progress),
        "classification": partial(classification, progress),
    }
    for n in scores:
        makers[f"classification:{n.name}"] = partial(chapter_of, n, pictures)
    makers["super-resolution"] = partial(super_resolution, picture, title, upscalers or None, progress, given)
    makers["image-to-image"] = partial(image_to_image, picture, title, same or None, progress, given)
    makers["storage"] = partial(storage_and_speed, progress)
    makers["verification"] = partial(verification, progress)
    return makers


def _walks(
    pictures: list, upscalers: list[Network], same: list[Network], scores: list[Network], image: str
) -> list[Walk]:
    """The demonstrations: networks of one kind side by side, on a small copy of the photograph.

    Of the stand-ins for image-to-image there is one, because each takes longer to export than the others do
    together.
    """
    title, picture = pictures[0]
    small = (title, photos.downscale(middle(picture, SIDE, 4), 4))
    digits = [(f"a {int(label)}", ink.expand(3, -1, -1)) for ink, label in zip(*datasets.digits("test"))]
    digits = list(dict(digits).items())  # one of each
    classifiers = [network(f"fxscope:{name}", models.build(name)) for name in DIGITS]
    walks = [
        Walk("super_resolution", "Super-resolution", upscalers or of_upscalers(), [small], image=image),
        Walk("image_to_image", "Image to image", same or of_images()[1:], [small], image=image),
        Walk("digits", "Digits", classifiers, digits),
    ]
    if scores:
        walks.append(Walk("scores", "Photographs", scores, pictures, image=image))
    return walks


def _about(networks: Sequence[Network]) -> str:
    whose = (
        f"{', '.join(n.title for n in networks)} are in the chapters that fit them; small stand-ins are in"
        " the others"
        if networks
        else "first come networks that others trained, where they are installed, then small stand-ins for the"
        " rest of the paper's"
    )
    return (
        "If the decisions of all nonlinear units on an image x0 are frozen, a network is one affine map,"
        f" y1 = F(x0) x1 + r(x0). This page repeats the experiments of the paper, each over several images:"
        f" {whose}."
    )


def _tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    """The weights and buffers of a module; a state may hold other values."""
    return [t for t in module.state_dict().values() if isinstance(t, torch.Tensor)]


def _shipped() -> list:
    return [models.provenance(name) for name in models.STAND_INS if name in models.names()]
