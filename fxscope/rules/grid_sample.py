"""Sampling at a grid: linear in the features; the grid is frozen, whatever it was computed from.

Under "taylor", or where the grid alone depends on the probe, the grid stays linear too.
"""

import torch
import torch.nn.functional as F

from ..twins import Add, Dims, GridSample, MatmulRight, Offset
from ..twins.sampled import Paired
from ._sizes import count
from .declare import Sample, composite, differentiated, linear


def twin(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    return GridSample(grid, {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners})


def freeze(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None, *, call, y):
    if call.value("x") is None:
        return taylor(x, grid, mode, padding_mode, align_corners, call=call, y=y)
    return twin(x, grid, mode, padding_mode, align_corners), [call.value("x")]


def _grid(*shape):
    return lambda rng: torch.rand(shape, generator=rng, dtype=torch.float64) * 2.4 - 1.2


def _case(mode, padding_mode, align_corners):
    return Sample(
        kwargs={"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners},
        tensors={"grid": _grid(2, 5, 4, 2)},
        independent_batch=False,
    )


def _moving(shape, order, **form):
    """The grid is computed from x."""

    def call(f, x, **form):
        places = x[:, :1] * 0.3 + torch.linspace(-0.8, 0.7, x.shape[-1], dtype=x.dtype)
        return f(
            x, torch.cat([places, places * -0.7, places + 0.1][: len(order) - 1], 1).movedim(1, -1), **form
        )

    return Sample(shape, form, call=call)


def taylor(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None, *, call, y):
    """The sample's change with its place is the derivative by the grid, for each channel."""
    value, moved = call.value("x"), call.value("grid")
    frozen = twin(x, grid, mode, padding_mode, align_corners)
    if moved is None:
        return frozen, [value]
    slope = _slope(x, grid, y, mode, padding_mode, bool(align_corners), call.need_rank("x"))
    back = (slope * grid.unsqueeze(1)).sum(-1)
    total = call.record(Paired(slope), [moved], like=y)
    if value is None:
        return Offset(y - back, 1, grows=False), [total]
    both = [total, call.record(frozen, [value], like=y)]
    return Offset(back, -1, grows=False), [call.record(Add(1, (0, 0)), both, like=y)]


def _slope(x, grid, y, mode, padding_mode, align_corners, rank):
    """The derivative of y by the grid: (B, C, places of y, coordinates); each channel is an image."""
    function = {4: _ATEN.grid_sampler_2d_backward, 5: _ATEN.grid_sampler_3d_backward}[rank]
    form = (_MODES.index(mode), _PADDINGS.index(padding_mode), align_corners)
    channels = torch.repeat_interleave(grid, x.size(1), 0)
    ones = torch.ones_like(y).flatten(0, 1).unsqueeze(1)
    given = (ones, x.flatten(0, 1).unsqueeze(1), channels)
    return function(*given, *form, [False, True])[1].unflatten(0, [x.size(0), x.size(1)])


_ATEN = torch.ops.aten
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


GRID_SAMPLE = differentiated(
    linear(
        "grid_sample",
        F.grid_sample,
        freeze,
        carries=("x", "grid"),
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
            _moving((2, 3, 6, 7), (2, 3, 0), mode="bilinear", padding_mode="border", align_corners=True),
            _moving((2, 3, 4, 5, 6), (2, 3, 4, 0), align_corners=False),
        ),
        formula="y1 = x1 at the frozen grid;  taylor: + dy/dg (g1 - g0)",
        source="the paper, eq. 7 (a frozen index)",
    ),
    taylor,
)


def affine(theta, size, align_corners=None, *, call, y):
    """The coordinates of places, times theta^T: a grid of theta that is 1 in one column gives one of them."""
    size = call.sizes("size")
    n = len(size) - 2
    unit = F.pad(torch.eye(n + 1, dtype=theta.dtype, device=theta.device).unsqueeze(1), (0, 0, 0, n - 1))
    places = F.affine_grid(unit, [n + 1, *size[1:]], bool(align_corners))[..., 0]
    given = [call.value("theta")]
    wide = torch.matmul(theta, places.flatten(1))
    value = call.record(MatmulRight(places.flatten(1), 0), given, like=wide, rank=3)
    turned = wide.transpose(1, 2)
    value = call.record(Dims(torch.transpose, (-2, -1)), [value], like=turned, rank=3)
    return Dims(torch.unflatten, (2, size[2:])), [value]


AFFINE_GRID = linear(
    "affine_grid",
    F.affine_grid,
    affine,
    functions=(torch.ops.aten.affine_grid_generator.default,),
    carries=("theta",),
    rank=lambda rank, a: count(rank, a["size"]),
    samples=(
        Sample((2, 2, 3), {"size": [2, 3, 5, 4], "align_corners": False}, independent_batch=False),
        Sample((2, 3, 4), {"size": [2, 3, 5, 4, 3], "align_corners": True}, independent_batch=False),
    ),
    formula="y1 = (1, w, h) theta1^T at the coordinates of each place",
    source="the paper, eq. 7",
)


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
