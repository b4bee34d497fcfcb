"""Sampling at a grid: linear in the features; the grid is frozen, whatever it was computed from.

Under "taylor" the grid may not depend on the probe: no twin covers the derivative by the places.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from ..twins import GridSample
from ._sizes import count
from .declare import Sample, composite, constant, linear


def twin(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    return GridSample(grid, {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners})


def _grid(*shape):
    return lambda rng: torch.rand(shape, generator=rng, dtype=torch.float64) * 2.4 - 1.2


def _case(mode, padding_mode, align_corners):
    return Sample(
        kwargs={"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners},
        tensors={"grid": _grid(2, 5, 4, 2)},
        independent_batch=False,
    )


def _differentiated(rule):
    """The rule with a variant for "taylor", in which the grid is no constant."""
    return replace(
        rule, variants={"linear": twin, "taylor": twin}, presets={**rule.presets, "taylor": "taylor"}
    )


GRID_SAMPLE = _differentiated(
    linear(
        "grid_sample",
        F.grid_sample,
        twin,
        frozen=("grid",),
        rank=lambda rank, a: rank(a["x"]),
        samples=(
            _case("bilinear", "zeros", False),
            _case("nearest", "border", False),
            _case("bicubic", "reflection", True),
            Sample(
                (2, 3, 4, 5, 6),
                {"align_corners": False},
                tensors={"grid": _grid(2, 3, 4, 2, 3)},
                independent_batch=False,
            ),
        ),
        formula="y1 = x1 at the frozen grid",
        source="the paper, eq. 7 (a frozen index)",
    )
)


def affine(theta, size, align_corners=None):
    """The grid of an affine map."""


def moving(theta, size, align_corners=None, *, call):
    """Under "taylor" the grid depends on the probe.

    What samples at it is refused, and so is any other use.
    """
    raise TypeError("a grid is frozen, and no twin covers the derivative by it")


AFFINE_GRID = constant(
    "affine_grid",
    F.affine_grid,
    affine,
    variants={"taylor": moving},
    functions=(torch.ops.aten.affine_grid_generator.default,),
    carries=("theta",),
    rank=lambda rank, a: count(rank, a["size"]),
    unsampled="its value only ever is a frozen grid",
    formula="a frozen grid",
    source="the paper, eq. 2 with A = 0",
)


_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def numbered(x, grid, interpolation_mode, padding_mode, align_corners):
    return F.grid_sample(x, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


GRID_SAMPLER = composite(
    "grid_sampler",
    torch.grid_sampler,
    numbered,
    "",
    functions=(torch.ops.aten.grid_sampler.default,),
    frozen=("grid",),
    samples=(
        Sample(
            kwargs={"interpolation_mode": 0, "padding_mode": 1, "align_corners": False},
            tensors={"grid": _grid(2, 5, 4, 2)},
            independent_batch=False,
            call=lambda f, x, interpolation_mode, padding_mode, align_corners, grid: f(
                x, grid, interpolation_mode, padding_mode, align_corners
            ),
        ),
    ),
    formula="grid_sample",
    source="the paper, eq. 7 (a frozen index)",
)
