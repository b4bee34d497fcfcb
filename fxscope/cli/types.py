"""Types of arguments: what the command line alone tells is checked before anything is computed."""

from __future__ import annotations

import importlib.util
import math
import tomllib
from pathlib import Path
from typing import Any

import click
import torch

from ..errors import FxscopeError, said
from ..images.conventions import RANGES
from ..images.preprocess import RESIZES
from ..models.spec import check_spec
from ..results.files import check_writable
from ..studies.plan import FILE as PLAN

DTYPES = {"float32": torch.float32, "float64": torch.float64}
PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".eps")
IMAGE = click.Path(exists=True, dir_okay=False, readable=True)
IMAGES = click.Path(exists=True, readable=True)


class Model(click.ParamType):
    """torchvision:NAME, fxscope:NAME or path/to/file.py:factory; a name must exist, and a file."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        try:
            check_spec(value)
        except FxscopeError as error:
            self.fail(str(error), param, ctx)
        return value


class Weights(click.ParamType):
    """DEFAULT, or a file that exists."""

    name = "file|DEFAULT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        if value != "DEFAULT" and not Path(value).is_file():
            self.fail(f"there is no weights file {value}", param, ctx)
        return value


class Names(click.ParamType):
    """A file with a name in each line."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The names."""
        try:
            lines = Path(value).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            self.fail(f"{value} is no file of names, one in a line: {said(error)}", param, ctx)
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            self.fail(f"{value} has no names in it", param, ctx)
        return tuple(line.strip() for line in lines)


class Index(click.ParamType):
    """C,Y,X or the number of a class; whether it is in the tensor is known later (``place_in``)."""

    name = "c,y,x"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of numbers."""
        try:
            return tuple(int(v) for v in value.split(","))
        except ValueError:
            self.fail(f"an index is C,Y,X or the number of a class, got {value!r}", param, ctx)


class Sides(click.ParamType):
    """HxW, or N for a square."""

    name = "HxW|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Height and width."""
        try:
            sides = tuple(int(v) for v in value.lower().split("x"))
        except ValueError:
            sides = ()
        if len(sides) not in (1, 2):
            self.fail(f"a size is HxW, as 224x320, or N for a square; got {value!r}", param, ctx)
        if min(sides) < 1:
            self.fail(f"height and width are at least 1, got {value!r}", param, ctx)
        return (sides * 2)[:2]


class Tile(click.ParamType):
    """N, auto or none."""

    name = "N|auto|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The side, the word auto, or None."""
        if value in ("auto", "none"):
            return None if value == "none" else value
        side = value if isinstance(value, int) else int(value) if value.isdigit() else 0
        if side < 1:
            self.fail(f"a tile is so many pixels to a side, auto or none; got {value!r}", param, ctx)
        return side


class Resize(click.ParamType):
    """N, HxW, cover, exact or none."""

    name = "N|HxW|cover|exact|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word itself, the length of the shorter side, or height and width."""
        if value in (*RESIZES, "none"):
            return value
        sides = Sides().convert(value, param, ctx)
        return sides if "x" in value.lower() else sides[0]


class Numbers(click.ParamType):
    """A number, or three with commas between them: one for each channel."""

    name = "numbers"

    def __init__(self, not_zero: bool = False) -> None:
        self.not_zero = not_zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of numbers."""
        found = _numbers(value)
        if len(found) not in (1, 3) or (self.not_zero and 0 in found):
            above = ", and not 0" if self.not_zero else ""
            self.fail(f"one number or three, as 104,117,123{above}; got {value!r}", param, ctx)
        return found


class Range(click.ParamType):
    """imagenet, unit, byte, symmetric, or LOW,HIGH."""

    name = f"{'|'.join(RANGES)}|LOW,HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word itself, or the two numbers."""
        if value in RANGES:
            return value
        found = _numbers(value)
        if len(found) != 2 or found[0] == found[1]:
            self.fail(
                f"one of {', '.join(RANGES)}, or the values of black and white, as -1,1; got {value!r}",
                param,
                ctx,
            )
        return found


def _numbers(value: str) -> tuple[float, ...]:
    """Finite numbers between commas; none where a part is none."""
    try:
        found = tuple(float(v) for v in value.split(","))
    except ValueError:
        return ()
    return found if all(map(math.isfinite, found)) else ()


class Above(click.ParamType):
    """A finite number above 0."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = click.FLOAT.convert(value, param, ctx)
        if not (math.isfinite(number) and number > 0):
            self.fail(f"a finite number above 0 is needed, got {value}", param, ctx)
        return number


class Device(click.ParamType):
    """cpu, cuda, cuda:1, ...: a device of this machine."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        here = _devices()
        kinds = {name.partition(":")[0] for name in here}
        if value not in here and value not in kinds:
            self.fail(f"there is no device {value!r} on this machine; it has {', '.join(here)}", param, ctx)
        return value


def _devices() -> list[str]:
    """The devices of this machine on which networks run."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count()))]


class Place(click.ParamType):
    """A key of the output's dict or tuple, or a place in the network; known when the network is there."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        if not value.strip():
            self.fail("a name of a place or a key is needed, got nothing", param, ctx)
        return value


class NewFile(click.ParamType):
    """A file that can be written, of one of some suffixes, whose library is installed."""

    name = "file"

    def __init__(self, *suffixes: str, needs: tuple[str, str] | None = None) -> None:
        self.suffixes, self.needs = suffixes, needs

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path as a text."""
        suffix = Path(value).suffix.lower()
        if self.suffixes and suffix not in self.suffixes:
            self.fail(f"{value}: the suffix is one of {', '.join(self.suffixes)}", param, ctx)
        try:
            check_writable(value)
        except FxscopeError as error:
            self.fail(str(error), param, ctx)
        if self.needs and importlib.util.find_spec(self.needs[0]) is None:
            library, extra = self.needs
            self.fail(f"{value} is written by {library}: pip install 'fxscope[{extra}]'", param, ctx)
        return str(value)


class Folder(click.ParamType):
    """A folder that is there and can be written, or can be made."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path as a text."""
        path = Path(value)
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        if not there.is_dir():
            self.fail(f"{there} is a file, and a folder is needed", param, ctx)
        try:
            check_writable(there / "index.html" if there == path else there / "new")
        except FxscopeError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class Study(click.ParamType):
    """The TOML file of a study, the folder of one that was begun, or the word "report"."""

    name = "study"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        path = Path(value)
        if value == "report" or (path / PLAN).is_file():
            return value
        if path.is_dir():
            self.fail(f"{value} is no folder of a study: it has no {PLAN}", param, ctx)
        try:
            tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            self.fail(f"there is no study {value}: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(f"{value} is no TOML: {said(error)}", param, ctx)
        return value
