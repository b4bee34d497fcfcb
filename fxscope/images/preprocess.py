"""How a photograph becomes x0: one record, with its inverse."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ImageError, ShapeError, WrongArgument
from ..graph.arguments import check_tensor, shown
from . import photos

INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic")
CHANNELS = ("RGB", "BGR", "Y")
CROPS = ("center", "top-left")
RESIZES = ("cover", "exact")


@dataclass(frozen=True)
class Preprocess:
    """How a photograph becomes the input x0 of a network, and back.

    A picture (3, H, W) with pixels p in [0, 1] is resized, cut, its channels are put in order, its values
    become ``x = (low + (high - low) p - mean) / std``, and it is padded.

    Parameters
    ----------
    size : tuple (h, w), or int for a square, optional
        What is cut out. The default is all of the picture, or the middle ``limit`` pixels of it.
    resize : int, tuple (h, w), "cover" or "exact", optional
        The length of the shorter side; or height and width; or the smallest size that covers ``size``; or
        ``size`` itself. The default leaves the picture as it is.
    crop : {"center", "top-left"}, optional
        Where ``size`` is cut out. Without it, the picture must have that size.
    interpolation : {"bilinear", "bicubic", "nearest", "nearest-exact"}
        Of the resizing, which is anti-aliased.
    range : tuple (low, high)
        The values that the network takes for black and for white.
    mean, std : float, or a sequence of one number a channel
        In units of ``range``, in the order of the network's channels.
    channels : {"RGB", "BGR", "Y"}
        The order of the channels; "Y" is the luminance alone.
    multiple, minimum : int
        x0 is padded at the bottom and at the right to a multiple of ``multiple``, at least ``minimum``.
    padding : {"reflect", "edge"}
        What the padding is made of.
    limit : int, optional
        Where ``size`` is not given: at most so many pixels to each side, from the middle.
    source : str
        Where this is known from; a guess says so.

    Raises
    ------
    WrongArgument
        If a value is none of these, or two of them do not fit.

    Examples
    --------
    >>> p = Preprocess(size=(48, 192), resize="exact", range=(0, 255), mean=(104, 117, 123), channels="BGR")
    >>> p(torch.ones(3, 100, 100))[0, :, 0, 0]
    tensor([151., 138., 132.])
    """

    size: Any = None
    resize: Any = None
    crop: str | None = None
    interpolation: str = "bilinear"
    range: tuple[float, float] = (0.0, 1.0)
    mean: Any = 0.0
    std: Any = 1.0
    channels: str = "RGB"
    multiple: int = 1
    minimum: int = 1
    padding: str = "reflect"
    limit: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name, value in _checked(self).items():
            object.__setattr__(self, name, value)

    @property
    def guessed(self) -> bool:
        """Whether the source is a guess."""
        return self.source.startswith("guessed")

    @property
    def count(self) -> int:
        """The number of channels of x0."""
        return 1 if self.channels == "Y" else 3

    @property
    def affine(self) -> tuple[Any, Any]:
        """(mean, std) in pixels: x = (p - mean) / std, in the order of the network's channels."""
        low, high = self.range
        values = ((self.mean, low), (self.std, 0.0))
        mean, std = (
            tuple((one - zero) / (high - low) for one in v)
            if isinstance(v, tuple)
            else (v - zero) / (high - low)
            for v, zero in values
        )
        return mean, std

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        """x0 (1, C, h, w) of a picture (3, H, W) in [0, 1].

        Raises
        ------
        ShapeError
            If this is no such tensor.
        ImageError
            If the picture is smaller than what is cut out, or too small to be padded.
        """
        check_tensor("Preprocess: the picture", picture, "a picture (3, H, W) in [0, 1]")
        if picture.dim() != 3 or picture.shape[0] != 3 or not picture.is_floating_point():
            raise ShapeError(
                f"Preprocess: expected a picture (3, H, W) of floating numbers in [0, 1], got"
                f" {shown(picture)}; fxscope.images.photos.read reads a file as one"
            )
        picture = self._cut(self._resized(picture))
        picture = photos.luminance(picture) if self.channels == "Y" else picture
        picture = picture.flip(0) if self.channels == "BGR" else picture
        return self._padded(self._normalised(picture))[None]

    def inverse(self, x0: torch.Tensor) -> torch.Tensor:
        """The pixels in [0, 1] of x0 (1, C, h, w) or (C, h, w): (3, h, w), or (1, h, w) of the luminance."""
        x = self._channels_of("inverse", x0)
        mean, std = self.affine
        pixels = x * _wide(std, x) + _wide(mean, x)
        return (pixels.flip(-3) if self.channels == "BGR" else pixels).clamp(0, 1)

    def per_pixel(self, row: torch.Tensor) -> torch.Tensor:
        """A row (..., C, h, w) per unit of x0 as one per pixel value in [0, 1], of the pixels of ``inverse``.

        This is the chain rule: d y / d p = (high - low) / std * d y / d x.
        """
        check_tensor("Preprocess.per_pixel: the row", row)
        if row.dim() < 3 or row.shape[-3] != self.count:
            raise ShapeError(self._expected("per_pixel", row))
        found = row / _wide(self.affine[1], row)
        return found.flip(-3) if self.channels == "BGR" else found

    @property
    def text(self) -> str:
        """All of it in one line."""
        said = [self._resize_said(), self._crop_said()]
        said.append(f"{'luminance' if self.channels == 'Y' else self.channels} {_range(self.range)}")
        if self.mean != 0:
            said.append(f"minus {_numbers(self.mean)}")
        if self.std != 1:
            said.append(f"over {_numbers(self.std)}")
        if self.multiple > 1 or self.minimum > 1:
            least = f", at least {self.minimum}" if self.minimum > 1 else ""
            said.append(f"padded to a multiple of {self.multiple}{least} ({self.padding})")
        source = f" [{self.source}]" if self.source else ""
        return ", ".join(part for part in said if part) + source

    def as_data(self) -> dict[str, Any]:
        """Every field by name, as JSON can hold it; ``Preprocess(**data)`` is the same."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in fields.items()}

    @classmethod
    def of(cls, model_or_spec: Any, module: Any = None) -> Preprocess:
        """What is known of a network's input, or else a guess that says so in ``source``.

        Parameters
        ----------
        model_or_spec : str, torch.nn.Module, or a descriptor of spandrel
            A text as ``fxscope.models.load_model`` takes it, or the network itself.
        module : torch.nn.Module, optional
            The network of the text.

        Returns
        -------
        Preprocess
            From the transforms of torchvision's weights, timm's ``pretrained_cfg``, the image processor of a
            Hugging Face directory ("hf:DIRECTORY"), the descriptor of spandrel, or the family of fxscope's
            own networks. The guess has the channels of the first layer, and ImageNet's normalisation for a
            classifier of 1000 or 1001 labels.

        Examples
        --------
        >>> print(Preprocess.of("torchvision:resnet18").text)
        shorter side 256 (bilinear), center 224x224, RGB 0..1, minus (0.485, 0.456, 0.406), over \
(0.229, 0.224, 0.225) [torchvision's weights]
        """
        from .conventions import known_or_guessed

        return known_or_guessed(model_or_spec, module)

    def _resized(self, picture: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import InterpolationMode, functional

        if self.resize is None:
            return picture
        size = [self.resize] if isinstance(self.resize, int) else self._resized_to(*picture.shape[1:])
        mode = InterpolationMode(self.interpolation)
        # bicubic overshoots, and pixels are in [0, 1]
        return functional.resize(picture, size, interpolation=mode, antialias=True).clamp(0, 1)

    def _resized_to(self, height: int, width: int) -> list[int]:
        if self.resize == "exact":
            return list(self.size)
        if isinstance(self.resize, tuple):
            return list(self.resize)
        h, w = self.size
        factor = max(h / height, w / width)
        return [max(h, round(height * factor)), max(w, round(width * factor))]

    def _cut(self, picture: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        height, width = picture.shape[1:]
        if self.size is None:
            limit = self.limit or max(height, width)
            return functional.center_crop(picture, [min(height, limit), min(width, limit)])
        h, w = self.size
        if (height, width) == (h, w):
            return picture
        had = "the photograph is" if self.resize is None else "the resized photograph is"
        if self.crop is None:
            raise ImageError(
                f"{had} {width} x {height} pixels, and the network takes {w} x {h}: say how it is made so,"
                ' by crop="center" or resize="exact"'
            )
        if height < h or width < w:
            raise ImageError(
                f"{had} {width} x {height} pixels, smaller than the crop of {w} x {h}: give a larger"
                ' photograph, a smaller size, or resize="cover"'
            )
        if self.crop == "center":
            return functional.center_crop(picture, [h, w])
        return functional.crop(picture, 0, 0, h, w)

    def _normalised(self, picture: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        low, high = self.range
        values = picture if self.range == (0, 1) else low + (high - low) * picture
        count = len(values)
        mean, std = ([*v] if isinstance(v, tuple) else [v] * count for v in (self.mean, self.std))
        return functional.normalize(values, mean, std)

    def _padded(self, x: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms.v2 import functional

        more = [-(-max(n, self.minimum) // self.multiple) * self.multiple - n for n in x.shape[1:]]
        if not any(more):
            return x
        if self.padding == "reflect" and any(m >= n for m, n in zip(more, x.shape[1:])):
            raise ImageError(
                f"{x.shape[2]} x {x.shape[1]} pixels are too few to be reflected to"
                f" {x.shape[2] + more[1]} x {x.shape[1] + more[0]}: give a larger photograph, or"
                ' padding="edge"'
            )
        return functional.pad(x, [0, 0, more[1], more[0]], padding_mode=self.padding)

    def _channels_of(self, caller: str, x0: Any) -> torch.Tensor:
        """(C, h, w) of x0, with the channels of this."""
        check_tensor(f"Preprocess.{caller}: x0", x0)
        x = x0[0] if x0.dim() == 4 and x0.shape[0] == 1 else x0
        if x.dim() != 3 or x.shape[0] != self.count:
            raise ShapeError(self._expected(caller, x0))
        return x

    def _expected(self, caller: str, value: torch.Tensor) -> str:
        return (
            f"Preprocess.{caller}: expected {self.count} channels, (..., {self.count}, h, w), got shape"
            f" {tuple(value.shape)}; give one image of the network's input"
        )

    def _resize_said(self) -> str:
        if self.resize is None:
            return ""
        if isinstance(self.resize, int):
            said = f"shorter side {self.resize}"
        elif self.resize == "cover":
            said = f"resized to cover {_sides(self.size)}"
        else:
            said = f"resized to {_sides(self.size if self.resize == 'exact' else self.resize)}"
        return f"{said} ({self.interpolation})"

    def _crop_said(self) -> str:
        if self.size is not None:
            is_that_size = self.resize == "exact" or self.resize == self.size
            return "" if is_that_size else f"{self.crop or 'of size'} {_sides(self.size)}"
        return f"center, at most {self.limit}x{self.limit}" if self.limit else "whole photograph"


def _checked(p: Preprocess) -> dict[str, Any]:
    """The fields that take several forms in one form; ``WrongArgument`` if a field is none of its forms."""
    for name, choices in (("interpolation", INTERPOLATIONS), ("channels", CHANNELS)):
        _choice(name, getattr(p, name), choices)
    _choice("padding", p.padding, ("reflect", "edge"))
    _choice("crop", p.crop, (None, *CROPS))
    for name in ("multiple", "minimum", "limit"):
        if not (_is_count(getattr(p, name)) or (name == "limit" and p.limit is None)):
            raise _wrong(name, "a whole number above 0", getattr(p, name))
    if not isinstance(p.source, str):
        raise _wrong("source", "a text", p.source)
    found = {"size": None if p.size is None else _pair("size", p.size), "resize": p.resize}
    if p.resize is not None and not isinstance(p.resize, str) and not _is_count(p.resize):
        found["resize"] = _pair("resize", p.resize)
    if isinstance(p.resize, str):
        _choice("resize", p.resize, RESIZES)
    for name in ("resize", "crop"):
        if isinstance(getattr(p, name), str) and p.size is None:
            raise WrongArgument(f"Preprocess: {name}={getattr(p, name)!r} needs a size; give size=(h, w)")
    values = {name: _values(name, getattr(p, name), p.count) for name in ("mean", "std")}
    if 0 in (values["std"] if isinstance(values["std"], tuple) else (values["std"],)):
        raise _wrong("std", "not 0", p.std)
    low_high = _values("range", p.range, 2)
    if not isinstance(low_high, tuple) or low_high[0] == low_high[1]:
        raise _wrong("range", "(low, high), the values of black and white, which differ", p.range)
    return {**found, **values, "range": low_high}


def _choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if not (value is None or isinstance(value, str)) or value not in choices:
        raise _wrong(name, f"one of {', '.join(map(str, choices))}", value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _pair(name: str, value: Any) -> tuple[int, int]:
    if _is_count(value):
        return value, value
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_count, value)):
        return value[0], value[1]
    raise _wrong(name, "(h, w), two whole numbers above 0", value)


def _values(name: str, value: Any, count: int) -> Any:
    """A number, or one for each of ``count`` channels."""
    if _is_number(value):
        return float(value)
    if isinstance(value, torch.Tensor) and value.dim() == 1:
        value = value.tolist()
    if isinstance(value, (tuple, list)) and len(value) == count and all(map(_is_number, value)):
        return tuple(map(float, value))
    if name != "range" and isinstance(value, (tuple, list)) and len(value) == 1 and _is_number(value[0]):
        return float(value[0])
    raise _wrong(name, f"a finite number, or {count} of them", value)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and abs(float(value)) < float("inf")


def _wrong(name: str, expected: str, value: Any) -> WrongArgument:
    return WrongArgument(f"Preprocess: {name} is {expected}; got {shown(value)}")


def _wide(value: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1, 1, 1)


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _numbers(value: Any) -> str:
    return f"({', '.join(f'{v:g}' for v in value)})" if isinstance(value, tuple) else f"{value:g}"


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g}..{limits[1]:g}"
