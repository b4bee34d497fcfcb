"""Einstein summation: linear in each operand.

With two operands on the path of the probe one is frozen, as in any product.
"""

from dataclasses import replace

import torch

from ..twins import Add, Einsum, Gate, Offset
from ._contracted import lettered, summed_products
from ._moves import letters
from ._ranks import MOST
from .declare import Sample, product
from .product import decide


def einsum(equation, operands, *, call, y):
    values = call.values("operands")
    carried = [i for i, v in enumerate(values) if v is not None]
    parts = {i: (Einsum(equation, tuple(operands), i), [values[i]]) for i in carried}
    if len(carried) == 1:
        return parts[carried[0]]
    if len(carried) > 2:
        raise TypeError(f"{len(carried)} operands depend on the probe; write it as products of two")
    first, second = carried

    def contraction(facts):
        whole = lettered(facts, equation, list(call.arguments["operands"]))
        return replace(whole, factors=(whole.factors[first], whole.factors[second]))

    chosen = decide(call, contraction)
    if chosen in ("left", "right"):
        return parts[first if chosen == "left" else second]
    both = call.record(
        Add(1, (0, 0)), [call.record(*parts[first], like=y), call.record(*parts[second], like=y)], like=y
    )
    return (Offset(y, -1, grows=False) if chosen == "taylor" else Gate(0.5)), [both]


def output_rank(rank, a):
    """The number of letters behind the arrow.

    None where an ellipsis or the implicit form leaves it to the operands.
    """
    _, arrow, result = a["equation"].replace(" ", "").partition("->")
    return len(result) if arrow and "." not in result else None


def _asked(a):
    """A dimension for each letter of an operand; more where an ellipsis stands for some."""
    terms = a["equation"].replace(" ", "").partition("->")[0].split(",")
    for value, term in zip(a["operands"], terms):
        letters = len(term.replace(".", ""))
        yield value, letters, MOST if "." in term else letters


def _with(equation, **more):
    return lambda f, x, **given: f(equation, x, *(given[k] for k in sorted(given)), **more)


EINSUM = product(
    "einsum",
    torch.einsum,
    einsum,
    einsum,
    ("left", "right", "uniform", "gate", "taylor"),
    local=letters,
    functions=(torch.ops.aten.einsum.default,),
    variadic=True,
    carries=("operands",),
    rank=output_rank,
    asks=_asked,
    reduced=summed_products,
    samples=(
        Sample((2, 5, 3), tensors={"w": (3, 4)}, call=_with("bij,jk->bik")),
        Sample(
            (2, 5, 3),
            tensors={"w": (3, 4)},
            call=lambda f, x, w: f("b...j,jk", [x, w]),
            independent_batch=False,
            spellings=("einsum", "einsum.default"),
        ),
        Sample((2, 3, 4, 5), tensors={"w": (4, 6)}, call=lambda f, x, w: f("bchw,hk->bckw", x, w)),
        Sample((2, 3, 5), call=lambda f, x: f("bij,bkj->bik", x, torch.tanh(x))),
        Sample((2, 3, 5), call=lambda f, x: f("bij,bik->bjk", x, x)),
        Sample(
            (2, 3, 5),
            tensors={"a": (3, 4), "b": (5, 6)},
            call=lambda f, x, a, b: f("bij,ik,jl->bkl", x, a, b),
        ),
        Sample((2, 3, 5), call=lambda f, x: f("bii->bi", x[:, :, :3])),
    ),
    formula=(
        "gate: y1 = einsum with x0 for the frozen operand;  uniform: the mean of both;  taylor: their sum"
        " - y0"
    ),
    source="the paper, eq. 2",
)
