"""Mean maps in the file layout of Jacobian lenses.

A file of ``torch.save`` holds a dict: "J" is {number of a layer: (d, d), from the residual stream behind that
layer to the last one}, "n_prompts" the number of examples of the mean, "source_layers" the numbers of the
layers in order, and "d_model" is d.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ..errors import FxscopeError, ShapeError, WrongArgument, said
from ..graph.arguments import checked, shown
from ..results.files import replacing
from .exact import limbs
from .mean_map import MeanMap

KEYS = ("J", "n_prompts", "source_layers", "d_model")


@checked
def save_lens(maps: Any, path: str | Path, dtype: torch.dtype = torch.float16) -> Path:
    """Write mean maps {number of a layer: map} as a Jacobian lens.

    Parameters
    ----------
    maps : dict of int to MeanMap
        From every layer to the same last place, over the same number of examples; (d, d) each.
    path : path
        The file, usually "lens.pt".
    dtype : torch.dtype
        Of the maps in the file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FxscopeError
        If the maps are not square, or not of one size and number of examples.
    """
    known = isinstance(maps, dict) and bool(maps) and all(isinstance(m, MeanMap) for m in maps.values())
    if not known or not all(isinstance(n, int) and n >= 0 for n in maps):
        raise WrongArgument(f"save_lens: maps is {{number of a layer: mean map}}, got {shown(maps)}")
    sizes = {tuple(m.sums.shape[1:]) for m in maps.values()}
    counts = {m.count for m in maps.values()}
    size = next(iter(sizes))
    if len(sizes) > 1 or size[0] != size[1] or len(counts) > 1:
        raise ShapeError(
            f"a lens holds square maps of one size over one number of examples; these are {sorted(sizes)}"
            f" over {sorted(counts)}: give maps between places of one residual stream"
        )
    layers = sorted(maps)
    held = {
        "J": {n: maps[n].mean.to(dtype) for n in layers},
        "n_prompts": counts.pop(),
        "source_layers": layers,
        "d_model": size[0],
    }
    with replacing(path) as new:
        torch.save(held, new)
    return Path(path)


@checked
def load_lens(path: str | Path) -> dict[int, MeanMap]:
    """The mean maps {number of a layer: map} of a Jacobian lens; their errors are not known.

    No code of the file is run.

    Raises
    ------
    FxscopeError
        If the file holds no lens.
    """
    path = Path(path)
    if not path.is_file():
        raise FxscopeError(f"there is no file {path}; a lens is FILE.pt")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise FxscopeError(f"{path} is no file of torch.save: {said(error)}") from error
    if not isinstance(held, dict) or not set(KEYS) <= set(held) or not isinstance(held["J"], dict):
        raise FxscopeError(f"{path} holds no lens, which is a dict of {', '.join(KEYS)}")
    count, size = held["n_prompts"], held["d_model"]
    found = {}
    for layer, values in held["J"].items():
        if tuple(values.shape) != (size, size):
            raise FxscopeError(f"{path}: layer {layer} is {shown(values)}, and d_model is {size}")
        sums = limbs(values.double() * count, f"layer {layer}")
        origin = {"model": "of a lens", "probes": None, "file": path.name}
        found[int(layer)] = MeanMap(count, sums, None, f"layer {layer}", "last layer", origin)
    return found
