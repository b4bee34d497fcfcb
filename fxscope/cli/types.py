"""Types of arguments: what the command line alone tells is checked before anything is computed."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import click
import torch

from ..errors import FxscopeError
from ..models.spec import check_spec
from ..results.files import check_writable

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
    """HxW."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Height and width."""
        try:
            height, width = (int(v) for v in value.lower().split("x"))
        except ValueError:
            self.fail(f"a size is HxW, as 224x224; got {value!r}", param, ctx)
        if min(height, width) < 1:
            self.fail(f"height and width are at least 1, got {value!r}", param, ctx)
        return height, width


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
