"""zarr, of a version whose files appear whole."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...errors import FxscopeError, MapError

OLDEST = (3, 1, 3)  # since then the local store writes each file aside and renames it


def zarr() -> ModuleType:
    """The library, or ``FxscopeError`` with how to install it."""
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise FxscopeError("F on disk needs zarr: pip install 'fxscope[zarr]'") from error
    found = tuple(int(part) for part in zarr.__version__.split(".")[:3] if part.isdigit())
    if found < OLDEST:
        raise FxscopeError(
            f"F on disk needs zarr {'.'.join(map(str, OLDEST))} or newer, whose files appear whole or not at"
            f" all; this is {zarr.__version__}: pip install -U 'fxscope[zarr]'"
        )
    return zarr


def numbers(array: Any, places: tuple[slice, ...], file: Path) -> np.ndarray:
    """A part of an array that is written into ``file``; raise an error of whatever kind if it is damaged.

    Raises
    ------
    MapError
        If the file may not be read; then nothing is known of it.
    """
    try:
        found = np.ascontiguousarray(array[places])
    except PermissionError as error:
        raise MapError(f"{file} cannot be read: {error.strerror}") from error
    if not np.isfinite(found).all():  # zarr fills in what it does not find, in an empty file too
        raise ValueError("numbers are missing in it")
    return found
