"""What x0 is: what is known of a network's input, with what the options say instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import WrongArgument
from ..images.conventions import IMAGENET, RANGES, with_channels_in
from ..images.preprocess import Preprocess
from .options import Asked
from .running import usage

LIMIT = 128  # pixels to each side of a photograph that networks of images take where nobody says more
_OPTIONS = {
    "size": "--size",
    "resize": "--resize",
    "crop": "--crop",
    "scale": "--range",
    "mean": "--mean",
    "std": "--std",
    "bgr": "--bgr",
    "luminance": "--luminance",
    "multiple": "--multiple",
}


def with_values(asked: Asked, known: Preprocess) -> Preprocess:
    """The values and channels that were asked for, and --size, for a network to be tried."""
    if asked.bgr and asked.luminance:
        raise usage("--bgr and --luminance exclude each other: the one has three channels, the other one")
    values = known
    if asked.scale is not None:
        values = replace(known, range=RANGES.get(asked.scale, asked.scale), mean=0.0, std=1.0)
    if asked.scale == "imagenet":
        values = with_channels_in(replace(values, channels="RGB", **IMAGENET), known.channels)
    values = with_channels_in(values, "BGR" if asked.bgr else "Y" if asked.luminance else known.channels)
    given = {
        name: getattr(asked, name) for name in ("mean", "std", "multiple") if getattr(asked, name) is not None
    }
    given["source"] = _source(asked, known)
    if asked.size:
        given |= {"size": asked.size, "resize": "exact", "crop": None}
    return _replaced(values, given)


def with_sides(
    asked: Asked, known: Preprocess, values: Preprocess, gives_images: bool, limit: int | None
) -> Preprocess:
    """The size, resizing and crop that were asked for, or what suits the network's output."""
    size, resize, crop = known.size, known.resize, known.crop
    if asked.size:
        size, resize, crop = asked.size, _resize_to(known, asked.size, gives_images), "center"
    if asked.crop == "none" and not asked.size:
        size, resize = None, None if isinstance(resize, str) else resize
    if asked.crop:
        crop = None if asked.crop == "none" else asked.crop
    if asked.resize is not None:
        resize = None if asked.resize == "none" else asked.resize
    for option, value in (("--crop", crop), ("--resize", resize)):
        if isinstance(value, str) and size is None:
            raise usage(f"{value} needs --size", option)
    is_any_size = gives_images and size is None and resize is None and asked.crop is None
    given = {"size": size, "resize": resize, "crop": crop, "limit": limit if is_any_size else known.limit}
    return _replaced(values, given)


def _resize_to(known: Preprocess, size: tuple[int, int], gives_images: bool) -> Any:
    """How a photograph is resized before it is cut to another size than the network's own."""
    if known.size is None:
        return None if gives_images else "cover"
    is_alike = size[0] * known.size[1] == size[1] * known.size[0]
    if isinstance(known.resize, int):
        return round(known.resize * size[0] / known.size[0]) if is_alike else "cover"
    if known.resize == "exact" or known.resize == known.size:
        return "exact"
    return "cover" if isinstance(known.resize, tuple) else known.resize


def _source(asked: Asked, known: Preprocess) -> str:
    """Where it is known from, and by which options it was changed."""
    options = [option for name, option in _OPTIONS.items() if getattr(asked, name) not in (None, False)]
    if not options:
        return known.source
    by_options = f"as given by {', '.join(options)}"
    is_all = known.guessed and {"--range", "--mean", "--std", "--bgr", "--luminance"} & {*options}
    return by_options if is_all or not known.source else f"{known.source}; {by_options}"


def _replaced(known: Preprocess, given: dict[str, Any]) -> Preprocess:
    try:
        return replace(known, **given)
    except WrongArgument as error:
        raise usage(str(error)) from None
