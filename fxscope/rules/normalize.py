"""F.normalize: x over its own norm, the norm frozen.

Its Jacobian projects out the direction of x0.
"""

import torch
import torch.nn.functional as F

from ..twins import Add, Divide, Gate, shifted
from ..twins.norms import InnerProduct
from ._local import over_dims
from .declare import Sample, normalize
from .spread import last_dims, unit_weight


def _norm(x, p, dim, eps):
    norm = torch.linalg.vector_norm(x, p, dim, True)
    return norm, norm.clamp_min(eps)


def stats(x, p=2.0, dim=1, eps=1e-12):
    return Divide(_norm(x, p, dim, eps)[1])


def taylor(x, p=2.0, dim=1, eps=1e-12, *, call, y):
    """J v = v/n - y0 <w0, v>/n where the norm n exceeds eps, w0 its gradient; c = y0 there."""
    norm, safe = _norm(x, p, dim, eps)
    dims = last_dims(call, dim)
    free = torch.where(norm > eps, y, torch.zeros_like(y))
    along = call.record(
        InnerProduct(unit_weight(x, norm, p, dims), None, tuple(shifted(dims)), True),
        [call.value("x")],
        like=norm,
        rank=call.rank("x"),
    )
    plain = call.record(Divide(safe), [call.value("x")])
    change = call.record(Gate(-free / safe, offset=free, grows=True), [along], like=y)
    return Add(1, (0, 0)), [plain, change]


RULE = normalize(
    "normalize",
    F.normalize,
    stats,
    None,
    taylor,
    local=over_dims,
    samples=(
        Sample(),
        Sample(kwargs={"dim": -1}),
        Sample(kwargs={"p": 1.0, "dim": 2}),
        Sample(kwargs={"p": 3.0}),
    ),
    formula=(
        "h(x) = x/max(|x|, e);  y1 = x1/max(|x0|, e);  taylor: (x1 - y0 <w0, x1>)/|x0| + y0, w0 the gradient"
        " of the norm"
    ),
    source="the paper, Fig. 2",
)
