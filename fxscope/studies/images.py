"""Where the images of a study come from: files, a torch Dataset, tar files of WebDataset, or a list.

Every source has a length, the name of every image, a hash of its contents, and the image itself. An image is
read by its number, so that any process can read any of them.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import ImageError, StudyError, UnknownNetwork, WrongArgument, said
from ..graph.arguments import shown
from ..images import photos
from ..images.preprocess import Preprocess
from ..models.factory import executed, parsed_call
from ..results.provenance import digest

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
KINDS = ("folder", "dataset", "tars")


class Source(Protocol):
    """Images by their numbers."""

    names: Sequence[str]
    is_input: bool

    def load(self, number: int) -> tuple[torch.Tensor, str]:
        """(picture (3, H, W) in [0, 1], hash of its contents); ``ImageError`` if it cannot be read."""

    def content(self, number: int) -> str:
        """The hash of its contents, also where these are no image."""


@dataclass
class Files:
    """Image files, by their paths."""

    paths: Sequence[Path]
    names: Sequence[str]
    is_input: bool = False

    @classmethod
    def of(cls, folder: str | Path) -> Files:
        """All image files of a folder and of the folders in it, in the order of their names."""
        folder = Path(folder)
        if not folder.is_dir():
            raise ImageError(f"there is no folder {folder} of images")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not paths:
            raise ImageError(f"no image is in the folder {folder}; images are {', '.join(SUFFIXES)}")
        return cls(paths, [p.relative_to(folder).as_posix() for p in paths])

    def _bytes(self, number: int) -> bytes:
        try:
            return self.paths[number].read_bytes()
        except OSError as error:
            raise ImageError(f"{self.names[number]} cannot be read: {error.strerror}") from error

    def load(self, number: int) -> tuple[torch.Tensor, str]:
        """The photograph, and the hash of the file."""
        return _decoded(self._bytes(number), self.names[number])

    def content(self, number: int) -> str:
        """The hash of the file."""
        try:
            return _hash(self._bytes(number))
        except ImageError as error:
            return str(error)


@dataclass
class Tars:
    """The images in tar files, as WebDataset writes them: read at their places, no file is unpacked."""

    places: Sequence[tuple[Path, int, int]]  # (file, first byte, bytes)
    names: Sequence[str]
    is_input: bool = False

    @classmethod
    def of(cls, files: Sequence[str | Path]) -> Tars:
        """The images of tar files, in the order of the files and in their own."""
        places, names = [], []
        for path in map(Path, files):
            try:
                with tarfile.open(path, "r:") as archive:
                    for member in archive:
                        if member.isfile() and Path(member.name).suffix.lower() in SUFFIXES:
                            places.append((path, member.offset_data, member.size))
                            names.append(f"{path.name}/{member.name}")
            except (OSError, tarfile.TarError) as error:
                raise ImageError(f"{path} is no tar file without compression: {said(error)}") from error
        if not names:
            raise ImageError(f"no image is in {', '.join(map(str, files)) or 'no file'}")
        return cls(places, names)

    def _bytes(self, number: int) -> bytes:
        path, start, size = self.places[number]
        try:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise ImageError(f"{self.names[number]} cannot be read: {error.strerror}") from error

    def load(self, number: int) -> tuple[torch.Tensor, str]:
        """The photograph, and the hash of its bytes."""
        return _decoded(self._bytes(number), self.names[number])

    def content(self, number: int) -> str:
        """The hash of its bytes."""
        try:
            return _hash(self._bytes(number))
        except ImageError as error:
            return str(error)


@dataclass
class Items:
    """The items of a torch Dataset or of a list: images, or tuples that begin with one."""

    items: Any
    names: Sequence[str]
    is_input: bool = False

    @classmethod
    def of(cls, items: Any, is_input: bool = False) -> Items:
        """A dataset with a length; in a list an item may be (name, image)."""
        if not hasattr(items, "__getitem__") or not hasattr(items, "__len__") or isinstance(items, dict):
            raise WrongArgument(
                f"images are read by their numbers: give a folder, or a Dataset with len() and [i];"
                f" got {shown(items)}"
            )
        if not len(items):
            raise ImageError("no image was given")
        return cls(items, _names(items), is_input)

    def load(self, number: int) -> tuple[torch.Tensor, str]:
        """The picture, or x0 itself, and the hash of the numbers that it is made of."""
        given, is_array = self._given(number)
        found = given if self.is_input else picture_of(given, is_array, self.names[number])
        return found, digest(given)

    def content(self, number: int) -> str:
        """Its hash."""
        try:
            return digest(self._given(number)[0])
        except ImageError as error:
            return str(error)

    def _given(self, number: int) -> tuple[torch.Tensor, bool]:
        """The image as its item has it, and whether that is an array (H, W, C) or an image of Pillow."""
        name = self.names[number]
        try:
            item = self.items[number]
        except (OSError, ValueError, RuntimeError, SyntaxError) as error:  # what readers of images raise
            raise ImageError(f"{name} cannot be read: {said(error)}") from error
        image = _image_of(item)
        if isinstance(image, torch.Tensor):
            return image.detach(), False
        if self.is_input:
            raise WrongArgument(f"{name}: an input is a tensor, got {shown(image)}")
        array = np.asarray(image)
        if array.ndim not in (2, 3) or array.dtype == object:
            raise WrongArgument(f"{name}: expected an image, got {shown(image)}")
        return torch.from_numpy(array.copy()), True


def _names(items: Any) -> list[str]:
    """The names of a list of (name, image), or numbers."""
    if isinstance(items, (list, tuple)) and all(
        isinstance(i, tuple) and len(i) == 2 and isinstance(i[0], str) for i in items
    ):
        return [name for name, _ in items]
    return [str(i) for i in range(len(items))]


def _image_of(item: Any) -> Any:
    """The image of an item: itself, the first of a tuple, the second after a name, or that of a dict."""
    if isinstance(item, dict):
        known = [k for k in ("image", "pixel_values", "img", "x") if k in item]
        if not known:
            raise WrongArgument(f"an item of the dataset is a dict without 'image'; it has {sorted(item)}")
        return item[known[0]]
    if isinstance(item, (tuple, list)) and item:
        return item[1] if isinstance(item[0], str) and len(item) > 1 else item[0]
    return item


def picture_of(given: torch.Tensor, is_array: bool, name: str) -> torch.Tensor:
    """(3, H, W) in [0, 1] of (C, H, W) or (H, W), or of an array (H, W, C)."""
    found = given.permute(2, 0, 1) if is_array and given.dim() == 3 else given
    found = found[None] if found.dim() == 2 else found
    if found.dim() != 3 or found.shape[0] not in (1, 2, 3, 4):
        raise ImageError(f"{name}: expected an image of 1 to 4 channels, got shape {tuple(found.shape)}")
    if not found.is_floating_point():
        found = found.float() / (255 if found.dtype == torch.uint8 else torch.iinfo(found.dtype).max)
    found = found[:1] if found.shape[0] <= 2 else found[:3]
    return found.float().expand(3, -1, -1).contiguous()


def _decoded(data: bytes, name: str) -> tuple[torch.Tensor, str]:
    return photos.decoded(io.BytesIO(data), name), _hash(data)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def named(text: str) -> Any:
    """What "package.module:name" or "path/to/file.py:name" names; "name(...)" with literals is called.

    Raises
    ------
    StudyError
        If there is no such module, file or name, or if the call fails.
    """
    place, colon, call = text.rpartition(":")
    if not colon or not place:
        raise StudyError(f"{text!r} is no name: write package.module:name or path/to/file.py:name")
    try:
        name, args, kwargs = parsed_call(call)
        module = executed(Path(place)) if place.endswith(".py") else _imported(place)
    except UnknownNetwork as error:
        raise StudyError(f"{text}: {error}") from error
    except ImportError as error:
        raise StudyError(f"{text}: {said(error)}; is the package installed?") from error
    if not hasattr(module, name):
        raise StudyError(f"{place} has no {name!r}")
    found = getattr(module, name)
    if call == name:
        return found
    try:
        return found(*args, **kwargs)
    except Exception as error:  # code of others
        raise StudyError(f"{text} failed: {said(error)}") from error


def _imported(place: str) -> Any:
    """A module, also of the working directory, as ``python -m`` finds it."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        return importlib.import_module(place)
    sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    finally:
        sys.path.remove(here)


def digits(split: str = "both") -> list[tuple[str, torch.Tensor]]:
    """The digits of scikit-learn as pictures: "train", "test", or both (1,797)."""
    from ..paper import datasets

    splits = ("train", "test") if split == "both" else (split,)
    return [(f"{s}/{i:04d}", ink) for s in splits for i, ink in enumerate(datasets.digits(s)[0])]


def photographs() -> list[tuple[str, torch.Tensor]]:
    """The photographs that come with scikit-image."""
    return [(name, photos.shipped(name)) for name in photos.SHIPPED]


@dataclass(frozen=True)
class Batch:
    """Images of a shard that run together: their numbers, and x0 (B, C, h, w)."""

    numbers: tuple[int, ...]
    x0: torch.Tensor


@dataclass(frozen=True)
class Unreadable:
    """An image without x0, and why."""

    number: int
    error: str


def batches(
    source: Source, numbers: Sequence[int], most: int, take: Preprocess, seen: list[str]
) -> Iterator[Batch | Unreadable]:
    """x0 of images one after the other, at most ``most`` of one size at once.

    The hashes of what was read are added to ``seen``.
    """
    held: list[tuple[int, torch.Tensor]] = []
    for number in numbers:
        try:
            picture, content = source.load(number)
            seen.append(content)
            x0 = picture[None] if source.is_input else take(picture)
        except ImageError as error:
            if len(seen) < number - numbers[0] + 1:
                seen.append(source.content(number))
            yield Unreadable(number, str(error))
            continue
        if held and (len(held) == most or x0.shape != held[0][1].shape):
            yield _batch(held)
            held = []
        held.append((number, x0))
    if held:
        yield _batch(held)


def _batch(held: list[tuple[int, torch.Tensor]]) -> Batch:
    return Batch(tuple(n for n, _ in held), torch.cat([x for _, x in held]))
