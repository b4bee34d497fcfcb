"""Fused sums of products (addmm, addcmul, lerp), written out.

Their products decide what is frozen.
"""

import torch

from .declare import Sample, composite


def _scaled(x, factor):
    return x if isinstance(factor, (int, float)) and factor == 1 else x * factor


def added(input, a, b, beta, alpha):
    """Beta input + alpha a @ b; an input that is not read (beta = 0) is not in the sum."""
    y = _scaled(torch.matmul(a, b), alpha)
    return y if isinstance(beta, (int, float)) and beta == 0 else _scaled(input, beta) + y


def addmm(input, mat1, mat2, beta=1, alpha=1):
    return added(input, mat1, mat2, beta, alpha)


def addmv(input, mat, vec, beta=1, alpha=1):
    return added(input, mat, vec, beta, alpha)


def baddbmm(input, batch1, batch2, beta=1, alpha=1):
    return added(input, batch1, batch2, beta, alpha)


def addbmm(input, batch1, batch2, beta=1, alpha=1):
    return _scaled(input, beta) + _scaled(torch.matmul(batch1, batch2).sum(0), alpha)


def addcmul(input, tensor1, tensor2, value=1):
    return input + _scaled(tensor1 * tensor2, value)


def addcdiv(input, tensor1, tensor2, value=1):
    return input + _scaled(tensor1 / tensor2, value)


def lerp(input, end, weight):
    return input + (end - input) * weight


_ATEN = torch.ops.aten


def _rule(name, expand, carries, samples, overloads, formula):
    rounding = "two operators for one, and a sum in another order"
    return composite(
        name,
        getattr(torch, name),
        expand,
        rounding,
        functions=overloads,
        methods=(name,),
        carries=carries,
        samples=samples,
        formula=formula,
        source="the paper, eq. 2",
    )


_SCALES = {"beta": 0.5, "alpha": -2.0}
ADDMM = _rule(
    "addmm",
    addmm,
    ("input", "mat1", "mat2"),
    (
        Sample(
            (2, 5), tensors={"input": (4,), "mat2": (5, 4)}, call=lambda f, x, input, mat2: f(input, x, mat2)
        ),
        Sample((2, 4), _SCALES, tensors={"mat1": (2, 5), "mat2": (5, 4)}, independent_batch=False),
    ),
    (_ATEN.addmm.default,),
    "b x + a A B",
)
ADDMV = _rule(
    "addmv",
    addmv,
    ("input", "mat", "vec"),
    (
        Sample(
            (2, 5),
            tensors={"input": (2,), "vec": (5,)},
            call=lambda f, x, input, vec: f(input, x, vec),
            independent_batch=False,
        ),
    ),
    (_ATEN.addmv.default,),
    "b x + a A v",
)
BADDBMM = _rule(
    "baddbmm",
    baddbmm,
    ("input", "batch1", "batch2"),
    (
        Sample((2, 3, 4), _SCALES, tensors={"batch1": (2, 3, 5), "batch2": (2, 5, 4)}),
        Sample((2, 3, 3), call=lambda f, x: f(x, x, torch.tanh(x))),
    ),
    (_ATEN.baddbmm.default,),
    "b x + a A B",
)
ADDBMM = _rule(
    "addbmm",
    addbmm,
    ("input", "batch1", "batch2"),
    (Sample((3, 4), _SCALES, tensors={"batch1": (2, 3, 5), "batch2": (2, 5, 4)}, independent_batch=False),),
    (_ATEN.addbmm.default,),
    "b x + a sum A B",
)
ADDCMUL = _rule(
    "addcmul",
    addcmul,
    ("input", "tensor1", "tensor2"),
    (
        Sample(kwargs={"value": 0.5}, tensors={"tensor1": (7,), "tensor2": (3, 1, 1)}),
        Sample(call=lambda f, x: f(x, x, torch.sigmoid(x), value=2.0)),
    ),
    (_ATEN.addcmul.default,),
    "x + a b c",
)
ADDCDIV = _rule(
    "addcdiv",
    addcdiv,
    ("input", "tensor1", "tensor2"),
    (Sample(kwargs={"value": 0.5}, tensors={"tensor1": (7,), "tensor2": (3, 1, 1)}),),
    (_ATEN.addcdiv.default,),
    "x + a b/c",
)
LERP = _rule(
    "lerp",
    lerp,
    ("input", "end", "weight"),
    (
        Sample(kwargs={"weight": 0.3}, tensors={"end": (3, 6, 7)}),
        Sample(tensors={"end": (7,), "weight": (3, 1, 1)}),
        Sample(tensors={"end": (3, 6, 7)}, call=lambda f, x, end: f(x, end, torch.sigmoid(x))),
    ),
    (_ATEN.lerp.Scalar, _ATEN.lerp.Tensor),
    "x + (e - x) w",
)
