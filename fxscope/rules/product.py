"""Products and quotients of two tensors: one operand is frozen as the gate of the other, decided per edge.

An operand is a gate if its values are bounded (sigmoid, clamp, relu6, and constant-affine functions of them),
or if an operator on its way reduced it along a dimension in which the other operand varies (``_reduced.py``);
so is the real operand of a complex product, which both parts share. All are read off the graph. If both
qualify the non-negative bounded one is frozen before the signed one; equal ranks, or neither: the product is
uniform, (a1 b0 + a0 b1)/2, which gives a0 b0 at x1 = x0 and makes no residual. The only operand that carries
the probe is never frozen.
"""

import math
import operator

import torch

from ..twins import Add, Average, Divide, Gate, TangentProduct
from . import _reduced
from ._activated import activated
from ._complex import complexity
from ._contracted import reduces, side_by_side
from ._local import elementwise
from ._ranks import Broadcast
from .declare import Sample, composite, product


def gate_rank(facts, value, reduced):
    """0: not a gate; higher: frozen first."""
    low, high = facts.bound(value)
    if math.isfinite(low) and math.isfinite(high):
        return 3 if low >= 0 else 2
    return int(reduced)


def _scales(factors, which):
    """Whether one operand is real and the other one is complex."""
    return bool(complexity(factors[1 - which].value)) and complexity(factors[which].value) is False


def which_is_gate(facts, contraction):
    """0 or 1 for the operand of a product of two to freeze, None for the uniform variant.

    Where a rank that is not known matters, every rank that it can be must give the same answer.
    """
    whole = contraction(facts)
    ranks = [
        gate_rank(facts, factor.value, _scales(whole.factors, i) or reduces(facts, whole, i))
        for i, factor in enumerate(whole.factors)
    ]
    unsure = facts.unsure(factor.value for factor in whole.factors) if max(ranks) < 2 else None
    if unsure is not None:
        answers = {which_is_gate(case, contraction) for case in facts.cases(unsure)}
        if len(answers) != 1:
            facts.need_rank(unsure, "which operand of this product is its gate")
        return answers.pop()
    return None if ranks[0] == ranks[1] else int(ranks[1] > ranks[0])


def decide(call, contraction=None):
    """The variant of a product both of whose operands carry the probe.

    "left" (the first operand stays linear), "right", "uniform" or "taylor".

    ``contraction(facts)`` is the two operands over the union of their dimensions; by default they are those
    of ``a * b``.
    """
    if call.variant in ("left", "right", "uniform", "taylor"):
        return call.variant
    contraction = contraction or (
        lambda facts: side_by_side(facts, call.arguments["x"], call.arguments["other"])
    )
    gate = which_is_gate(call.facts, contraction)
    if gate is None and call.variant == "gate":
        gate = activated(*(factor.value for factor in contraction(call.facts).factors))
    return {0: "right", 1: "left", None: "uniform"}[gate]


def mul(x, other, *, call, y):
    a, b = call.value("x"), call.value("other")
    if b is None:
        return Gate(factor=other, lift=call.lift("x", "other"), grows=call.rank("other") != 0), [a]
    if a is None:
        return Gate(factor=x, lift=call.lift("other", "x"), grows=call.rank("x") != 0), [b]
    lifts = (call.lift("x", "other"), call.lift("other", "x"))
    if call.arguments["x"] is call.arguments["other"]:
        return (Gate(factor=x * 2, offset=-y), [a]) if call.variant == "taylor" else (Gate(factor=x), [a])
    chosen = decide(call)
    if chosen == "left":
        return Gate(factor=other, lift=lifts[0], grows=True), [a]
    if chosen == "right":
        return Gate(factor=x, lift=lifts[1], grows=True), [b]
    if chosen == "taylor":
        return TangentProduct(x, other, offset=y, lifts=lifts), [a, b]
    return Average(x, other, lifts=lifts), [a, b]


def div(x, other, *, call, y):
    a, b = call.value("x"), call.value("other")
    if b is None:
        return Divide(other, lift=call.lift("x", "other"), grows=call.rank("other") != 0), [a]
    reciprocal = -y / other
    if a is None:
        # c/x: infinite at 0, so Taylor's slope -c/x0^2 and the constant 2c/x0
        return Gate(
            factor=reciprocal, offset=y * 2, lift=call.lift("other", "x"), grows=call.rank("x") != 0
        ), [b]
    if call.variant in ("auto", "left", "gate"):
        return Divide(other, lift=call.lift("x", "other"), grows=True), [a]
    linear_in_numerator = call.record(Divide(other, lift=call.lift("x", "other"), grows=True), [a], like=y)
    slope = call.record(
        Gate(factor=reciprocal, offset=y, lift=call.lift("other", "x"), grows=True), [b], like=y
    )
    return Add(1, (0, 0)), [linear_in_numerator, slope]


def mul_bounds(bound, a):
    corners = [p * q for p in bound(a["x"]) for q in bound(a["other"])]
    return (min(corners), max(corners)) if not any(math.isnan(c) for c in corners) else (-math.inf, math.inf)


def div_bounds(bound, a):
    low, high = bound(a["other"])
    if low <= 0 <= high:
        return (-math.inf, math.inf)
    corners = [p / q for p in bound(a["x"]) for q in (low, high)]
    return (min(corners), max(corners)) if not any(math.isnan(c) for c in corners) else (-math.inf, math.inf)


def div_rounding(x, other, rounding_mode=None):
    return x / other if rounding_mode is None else _rounded(x / other, rounding_mode)


_BOTH = {
    "carries": ("x", "other"),
    "rank": Broadcast(("x", "other")),
    "reduced": _reduced.elementwise,
    "source": "the paper, eq. 2; Fig. 2 for sigmoid gates",
}
MUL = product(
    "mul",
    operator.mul,
    mul,
    mul,
    ("left", "right", "gate", "uniform", "taylor"),
    local=elementwise,
    functions=(torch.mul, torch.multiply, torch.ops.aten.mul.Tensor, torch.ops.aten.mul.Scalar),
    methods=("mul", "multiply", "__mul__", "__rmul__"),
    interval=mul_bounds,
    samples=(
        Sample(tensors={"other": (2, 3, 6, 7)}),
        Sample(kwargs={"other": 0.3}),
        Sample(tensors={"other": (3, 1, 1)}),
        Sample((6, 7), tensors={"other": (2, 3, 1, 7)}, independent_batch=False),
        Sample(call=lambda f, x: f(x, torch.sigmoid(x))),
        Sample(call=lambda f, x: f(torch.tanh(x), x)),
        Sample(call=lambda f, x: f(x, x.mean((2, 3), keepdim=True))),
        Sample(call=lambda f, x: f(x * 2 + 1, x)),
        Sample(call=lambda f, x: f(x, x)),
    ),
    formula="gate: y1 = g0 x1;  uniform: (a1 b0 + a0 b1)/2;  taylor: a1 b0 + a0 b1 - a0 b0",
    **_BOTH,
)
DIV = product(
    "div",
    operator.truediv,
    div,
    div,
    ("left", "gate", "taylor"),
    local=elementwise,
    functions=(torch.ops.aten.div.Tensor, torch.ops.aten.div.Scalar),
    methods=("__truediv__",),
    interval=div_bounds,
    samples=(
        Sample(kwargs={"other": 0.3}, spellings=("truediv", "__truediv__", "div.Scalar")),
        Sample(tensors={"other": (2, 3, 6, 7)}),
        Sample((6, 7), tensors={"other": (2, 3, 1, 7)}, independent_batch=False),
        Sample(call=lambda f, x: f(x, x * x + 1)),
        Sample(call=lambda f, x: f(0.7, x), positive=True, spellings=("truediv",)),
    ),
    formula="y1 = a1/b0;  taylor: a1/b0 - a0/b0^2 (b1 - b0)",
    **_BOTH,
)
DIV_MODE = composite(
    "div_mode",
    torch.div,
    div_rounding,
    "",
    functions=(torch.divide, torch.true_divide, torch.ops.aten.div.Tensor_mode),
    methods=("div", "divide", "true_divide"),
    samples=(
        Sample(kwargs={"other": 0.3}),
        Sample(tensors={"other": (3, 1, 1)}, kwargs={"rounding_mode": None}),
    ),
    formula="a1/b0",
    **_BOTH,
)


def _rounded(x, mode):
    return torch.floor(x) if mode == "floor" else torch.trunc(x)


def reciprocal(x, *, y):
    return Gate(factor=-y * y, offset=y * 2)


RECIPROCAL = product(
    "reciprocal",
    torch.reciprocal,
    reciprocal,
    reciprocal,
    ("taylor",),
    local=elementwise,
    methods=("reciprocal",),
    reduced=_reduced.kept,
    functions=(torch.ops.aten.reciprocal.default,),
    samples=(Sample(positive=True),),
    formula="h(x) = 1/x: slope -1/x0^2, constant 2/x0",
    source="the paper, eq. 4",
)
