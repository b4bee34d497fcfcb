"""A program whose operators were written out shows on its example that its transpose is one."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import LawBroken
from ..frontend.example import Example
from ..frontend.unchanged import unchanged
from ..graph.draws import seeded
from ..graph.ir import notes
from ..passes.outputs import tensors_of
from ..passes.rewrite import Program
from . import emit

PROBES = 2


def prove_transpose(program: Program, model: nn.Module, example: Example) -> None:
    """Raise ``LawBroken`` unless <F v, u> = <v, F^T u> on the example, for two probes at once."""
    inputs = example.clone().tensors()
    known = [notes(p.node).get("val") for p in program.probes]
    values = [v for v in known if isinstance(v, torch.Tensor)]
    if len(values) != len(known):
        return
    forward, back = emit(program, "filter", "stacked"), emit(program, "adjoint", "stacked")
    with torch.no_grad(), seeded(), unchanged(model):
        vs = [torch.randn(PROBES, *v.shape, dtype=v.dtype, device=inputs[0].device) for v in values]
        y1 = forward(*inputs, *vs)
        us = pytree.tree_map(torch.randn_like, y1)
        x2 = back(*inputs, us)
        left, right, size = 0.0, 0.0, 0.0
        for a, b in zip(tensors_of(y1), tensors_of(us)):
            left, size = left + float((a * b).sum()), size + float((a * b).abs().sum())
        for a, b in zip(vs, tensors_of(x2)):
            right, size = right + float((a * b).sum()), size + float((a * b).abs().sum())
    narrow = any(v.dtype is not torch.float64 for v in (*values, *tensors_of(y1)))
    # where F is 0 its products are the rounding of terms that cancel, which no relative bound covers
    floor = (1e-5 if narrow else 1e-12) * _norm(vs) * _norm(tensors_of(us))
    if not abs(left - right) <= (1e-2 if narrow else 1e-8) * size + floor:
        raise LawBroken(
            f"operators of {type(model).__name__} were written out in others, and <F v, u> is {left:.6g}"
            f" where <v, F^T u> is {right:.6g}: their derivative is not finite at this input, or only one way"
        )


def _norm(tensors: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(t.square().sum()) for t in tensors))
