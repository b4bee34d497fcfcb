"""The centring x - mean(x) of a hand-written normalisation: frozen with the statistics, or linear."""

from ..twins import Offset
from ..twins.norms import Centred
from ._local import over_dims
from .declare import normalize


def stats(x, dim, mean):
    return Offset(mean, -1, grows=False)


def scale(x, dim, mean):
    dims = dim if isinstance(dim, (list, tuple)) else (dim,)
    return Centred(1.0, None, tuple(d if d < 0 else d + 1 for d in dims))


RULE = normalize(
    "center",
    "center",
    stats,
    scale,
    scale,
    local=over_dims,
    ignores=("mean",),
    unsampled="recognised in hand-written normalisations, which tests/test_spellings.py runs",
    formula="x - mean(x) before a division by the deviation;  stats: x1 - mu0;  scale: x1 - mu(x1)",
    source="the paper, Fig. 2",
)
