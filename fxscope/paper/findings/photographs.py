"""The photographs that installed packages hold, and the parts of each that are measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import torch

from ...errors import ImageError
from ...images import photos
from ...images.preprocess import Preprocess

SIDE = 48  # of the crops that networks of images take
_SKIMAGE = (
    "astronaut.png chelsea.png coffee.png rocket.jpg motorcycle_left.png camera.png coins.png brick.png"
    " grass.png gravel.png moon.png hubble_deep_field.jpg page.png text.png clock_motion.png cell.png ihc.png"
    " retina.jpg"
)
FILES = {  # package: (folder in it, its photographs, how it is installed)
    "skimage": ("data", tuple(_SKIMAGE.split()), "scikit-image"),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg"), "scikit-learn"),
    "matplotlib": ("mpl-data/sample_data", ("grace_hopper.jpg",), "matplotlib"),
}


@dataclass(frozen=True)
class Photograph:
    """An image file.

    Parameters
    ----------
    name : str
        Its name, without the suffix.
    package : str
        The package that ships it, as it is installed.
    path : Path
        The file.
    """

    name: str
    package: str
    path: Path

    def digest(self) -> str:
        """SHA-256 of the bytes of the file."""
        return sha256(self.path.read_bytes()).hexdigest()

    def picture(self) -> torch.Tensor:
        """(3, H, W) in [0, 1]."""
        return photos.read(self.path)


def photographs() -> list[Photograph]:
    """All photographs of ``FILES``, in an order that begins with those in colour.

    Left out of these packages are drawings, a silhouette, a detail of 102 pixels a side, and the second
    picture of a stereo pair. No package is imported, and nothing is downloaded.

    Raises
    ------
    ImageError
        If a package is not installed, or lacks a photograph.
    """
    return list(_found())


def _found() -> Iterator[Photograph]:
    for package, (folder, files, install) in FILES.items():
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ImageError(f"photographs of {install} are measured: pip install {install}")
        for file in files:
            path = Path(spec.submodule_search_locations[0]) / folder / file
            if not path.is_file():
                raise ImageError(f"{install} has no photograph {path}; install scikit-image 0.22 or newer")
            yield Photograph(path.stem, install, path)


def views(preprocess: Preprocess, picture: torch.Tensor) -> torch.Tensor:
    """Two inputs of a classifier, (2, C, h, w).

    They are the photograph as the network takes it, and its upper left square of 3/4 of the shorter side.
    """
    side = 3 * min(picture.shape[1:]) // 4
    return torch.cat([preprocess(picture), preprocess(picture[:, :side, :side])])


def crops(picture: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """Two crops (2, 3, side, side) of the photograph at half its size: its middle, and a quarter off.

    Half the size, by an anti-aliased bicubic filter, because networks that upscale were trained on images
    that were made smaller, and photographs that were stored as JPEG lose the marks of it.
    """
    half = photos.downscale(picture, 2)
    if min(half.shape[1:]) < side:
        raise ImageError(f"at half its size a photograph is {tuple(half.shape[1:])}, smaller than {side}")
    starts = [[(n - side) // 2 for n in half.shape[1:]], [max(0, n // 4 - side // 2) for n in half.shape[1:]]]
    return torch.stack([half[:, y : y + side, x : x + side] for y, x in starts])
