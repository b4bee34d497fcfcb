"""More operators that only pick or move entries: diagonals, triangles, sliding windows, moved dimensions."""

from fractions import Fraction

import numpy as np
import torch

from ..twins import Dims, shifted
from . import _reduced
from ._local import axis, same
from ._moves import permuted
from ._ranks import shift
from .declare import Sample, composite, linear


def movedim(x, source, destination):
    # a dimension counted from the front moves by one with the probes, one counted from the back does not
    return Dims(torch.movedim, (shifted(source), shifted(destination)))


def diagonal(x, offset=0, dim1=0, dim2=1):
    return Dims(torch.diagonal, (offset, shifted(dim1), shifted(dim2)))


def tril(x, diagonal=0):
    return Dims(torch.tril, (diagonal,))


def triu(x, diagonal=0):
    return Dims(torch.triu, (diagonal,))


def _windows(x, dimension, size, step):
    return x.unfold(dimension, size, step)


def _overlapped(k, y, x, dim, size, step):
    """Every window added where it was taken from."""
    rank = len(x.sizes())
    dim = dim - 1 if dim >= 0 else dim + rank
    places = torch.arange(x.size(dim), device=y.device).unfold(0, size, step).flatten()
    return k.zeros(y, x).index_add(dim + 1, places, y.movedim(-1, dim + 2).flatten(dim + 1, dim + 2))


def windows(x, dimension, size, step, *, call):
    if call.rank("x") == 0:
        raise TypeError("a tensor without dimensions, which has no windows")
    return Dims(_windows, (shifted(dimension), size, step), _overlapped)


def diff(x, n=1, dim=-1, prepend=None, append=None):
    if prepend is not None or append is not None:
        raise TypeError("diff with prepend or append; write it with cat")
    return Dims(torch.diff, (n, shifted(dim)))


def sliced(x, dim=0, start=None, end=None, step=1):
    if dim < 0:
        raise TypeError("a slice of a dimension counted from the back")
    return x[(slice(None),) * dim + (slice(start, end, step),)]


def _moved(site, rank):
    """The order of the dimensions, by moving those of a tensor that has as many."""
    moved = torch.empty(range(2, rank + 2), device="meta").movedim(
        site.arguments["source"], site.arguments["destination"]
    )
    return [n - 2 for n in moved.shape]


def _strided(site, operand):
    a = site.arguments
    dim = a["dimension"] % len(operand.shape)
    first = np.arange(site.shape[dim]) * a["step"]
    return {d: same(d, n) for d, n in enumerate(operand.shape) if d != dim} | {
        dim: axis(dim, first, first + a["size"] - 1, rate=Fraction(1, a["step"]))
    }


def _differences(site, operand):
    dim, n = site.arguments["dim"] % len(operand.shape), site.arguments["n"]
    places = np.arange(site.shape[dim])
    return {d: same(d, m) for d, m in enumerate(operand.shape) if d != dim} | {
        dim: axis(dim, places, places + n)
    }


_ATEN = torch.ops.aten
_KEEP = {"source": "the paper, eq. 7", "interval": lambda bound, a: bound(a["x"])}
_ZEROS = {
    "source": "the paper, eq. 7",
    "interval": lambda bound, a: (min(0.0, bound(a["x"])[0]), max(0.0, bound(a["x"])[1])),
}
MOVEDIM = linear(
    "movedim",
    torch.movedim,
    movedim,
    reduced=_reduced.moved_dims,
    local=permuted(_moved),
    functions=(torch.moveaxis, _ATEN.movedim.int),
    methods=("movedim", "moveaxis"),
    samples=(
        Sample(kwargs={"source": 1, "destination": -1}),
        Sample(kwargs={"source": -1, "destination": 1}),
    ),
    formula="y1 = x1 with a dimension moved",
    **_KEEP,
)
DIAGONAL = linear(
    "diagonal",
    torch.diagonal,
    diagonal,
    functions=(_ATEN.diagonal.default,),
    methods=("diagonal",),
    rank=lambda rank, a: shift(rank(a["x"]), -1),
    samples=(Sample((2, 3, 5, 5), {"offset": 1, "dim1": 2, "dim2": -1}),),
    formula="y1 = the diagonal of x1",
    **_KEEP,
)
TRIL = linear(
    "tril",
    torch.tril,
    tril,
    functions=(_ATEN.tril.default,),
    methods=("tril",),
    samples=(Sample((2, 5, 5)), Sample((2, 5, 5), {"diagonal": -1})),
    formula="y1 = the lower triangle of x1",
    **_ZEROS,
)
TRIU = linear(
    "triu",
    torch.triu,
    triu,
    functions=(_ATEN.triu.default,),
    methods=("triu",),
    samples=(Sample((2, 5, 5)), Sample((2, 5, 5), {"diagonal": 1})),
    formula="y1 = the upper triangle of x1",
    **_ZEROS,
)
UNFOLD = linear(
    "windows",
    "unfold",
    windows,
    local=_strided,
    functions=(_ATEN.unfold.default,),
    rank=lambda rank, a: shift(rank(a["x"]), 1),
    samples=(
        Sample(kwargs={"dimension": 2, "size": 3, "step": 2}),
        Sample(kwargs={"dimension": -1, "size": 2, "step": 1}),
    ),
    formula="y1 = windows of x1",
    **_KEEP,
)
DIFF = linear(
    "diff",
    torch.diff,
    diff,
    local=_differences,
    methods=("diff",),
    samples=(Sample(kwargs={"dim": 2}), Sample()),
    formula="y1 = differences of x1",
    source="the paper, eq. 7",
)
SLICE = composite(
    "slice",
    _ATEN.slice.Tensor,
    sliced,
    "",
    samples=(Sample(kwargs={"dim": 2, "start": 1, "end": 5, "step": 2}),),
    formula="y1 = x1 at the same places",
    **_KEEP,
)
