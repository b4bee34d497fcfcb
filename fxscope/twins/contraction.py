"""The transpose of an Einstein summation in one of its operands."""

from __future__ import annotations

from typing import Any

import torch

from .base import AdjointContext, ShapeRef

LETTERS = "ZYXWVUTSRQPONMLKJIHGFEDCBA"


def terms(equation: str) -> tuple[list[str], str]:
    """The letters of every operand, and of the output, written out where the arrow is left out."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    once = sorted(c for c in set(inputs) - set(",.") if inputs.count(c) == 1)
    return inputs.split(","), output if arrow else "..." * ("." in inputs) + "".join(once)


def free_letter(equation: str) -> str:
    """A letter for the probes that the equation does not use."""
    return next(c for c in LETTERS if c not in equation)


def transpose(k: AdjointContext, y, x: ShapeRef, equation: str, operands: tuple, at: int):
    """x2 = einsum with y in the place of x.

    An index that x alone has is spread; an index that x repeats is put on the diagonal.
    """
    inputs, output = terms(equation)
    probe, own = free_letter(equation), inputs[at]
    if len(set(own.replace(".", ""))) < len(own.replace(".", "")):
        return _onto_diagonal(k, y, x, equation, operands, at)
    others = [(t, v) for i, (t, v) in enumerate(zip(inputs, operands)) if i != at]
    seen = set(output).union(*(set(t) for t, _ in others))
    sizes = x.sizes()
    alone = [(c, y.new_ones([sizes[own.index(c)]])) for c in own if c not in seen and c != "."]
    given = [(probe + output, y), *others, *alone]
    return torch.einsum(",".join(t for t, _ in given) + "->" + probe + own, [v for _, v in given])


def _onto_diagonal(k: AdjointContext, y, x: ShapeRef, equation: str, operands: tuple, at: int):
    """The transpose for an operand with a repeated index.

    The identity selects the diagonal: x gets letters of its own, and the identity ties them together.
    """
    inputs, output = terms(equation)
    own, fresh = inputs[at], ""
    ties: list[tuple[str, Any]] = []
    for i, c in enumerate(own):
        if c in own[:i]:
            new = free_letter(equation + fresh + "".join(t for t, _ in ties))
            ties.append((c + new, torch.eye(x.size(i), dtype=y.dtype, device=y.device)))
            c = new
        fresh += c
    inputs[at] = fresh
    written = ",".join([*inputs, *(t for t, _ in ties)]) + "->" + output
    return transpose(k, y, x, written, (*operands, *(v for _, v in ties)), at)
