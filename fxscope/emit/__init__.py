"""Emit: plain, standalone GraphModules from a program's original graph and tape."""

from __future__ import annotations

import torch.fx as fx

from ..passes.optimize import optimized
from ..passes.rewrite import Program
from .forward import emit_forward
from .projections import Projections, emit_projections, layer_of
from .recorded import PARTS, emit_parts
from .transposed import emit_adjoint, emit_row, emit_shares

FORMS = ("pair", "filter", "residual", "adjoint", "row", "argmax", *PARTS)


def emit(program: Program, form: str, probes: str = "flat") -> fx.GraphModule:
    """The GraphModule of a program in one of ``FORMS``; probes: "flat" (K*B, ...), "stacked" (K, B, ...)."""
    if form == "adjoint":
        return emit_adjoint(optimized(program), probes)
    if form in ("row", "argmax"):
        return emit_row(program, probes, form == "argmax")
    if form in PARTS:
        return emit_parts(program, probes)[form]
    return emit_forward(optimized(program) if form == "filter" else program, form, probes)


__all__ = ["FORMS", "Projections", "emit", "emit_parts", "emit_projections", "emit_shares", "layer_of"]
