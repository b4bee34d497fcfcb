"""Weights that other packages hold: their files are found without importing the packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import WeightsError


def packaged_file(package: str, pattern: str, install: str) -> Path:
    """The one file of ``package`` that fits ``pattern``; ``WeightsError`` with ``install`` if there is none.

    No code of the package runs: some of them load a driver of a graphics card when they are imported.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"the weights are in the package {package}, which is not installed: {install}")
    folder = Path(spec.submodule_search_locations[0])
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise WeightsError(
            f"the package {package} at {folder} has {len(found)} files {pattern}, expected one; install the"
            f" version this was written for: {install}"
        )
    return found[0]
