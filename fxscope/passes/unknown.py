"""Operators that no rule covers are written out, call by call, until every node has a rule."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch.fx as fx
from torch import nn

from ..errors import FxscopeError, NoLinearPath, UnsupportedOperator, first_line
from ..frontend.example import Example
from ..frontend.exported import casts, decomposed, export, writes
from ..frontend.symbolic import reason_of
from .attempts import checked_lift
from .written_out import Writer

UNKNOWN = ("refuse", "taylor")
ROUNDS = 12
_log = logging.getLogger("fxscope")


def written_out(
    model: nn.Module,
    example: Example,
    finish: Callable[[fx.GraphModule], Any],
    unknown: str,
    error: UnsupportedOperator,
) -> Any:
    """What ``finish`` makes of the model's graph, in which the operators of ``error`` are written out.

    Raises ``UnsupportedOperator`` with all operators that cannot be, and why.
    """
    _log.debug("%s: written out: %s", type(model).__name__, ", ".join(error.operators))
    refused: FxscopeError = error
    for dynamic in (True, False):
        try:
            return _with_parts(model, example, finish, unknown, dynamic)
        except FxscopeError as second:
            refused = second
            _log.debug("%s: %s", type(model).__name__, second)
        except Exception as second:
            _log.debug("%s: %s", type(model).__name__, reason_of(second), exc_info=True)
            refused = FxscopeError(reason_of(second))
    if isinstance(refused, (UnsupportedOperator, NoLinearPath)):
        raise refused from error
    new = UnsupportedOperator(
        f"{error}\nIt cannot be written out in other operators: {first_line(refused)}", error.operators
    )
    raise new from refused


def _with_parts(model: nn.Module, example: Example, finish: Callable, unknown: str, dynamic: bool) -> Any:
    program = export(model, example, dynamic)
    if casts(program) or writes(program):
        program = decomposed(program)
    writer = Writer(program, example)
    for _ in range(ROUNDS):
        try:
            return finish(checked_lift(program, model, example, writer.parts))
        except UnsupportedOperator as error:
            why = writer.write(error.exported, unknown, error.derived)
            if why:
                raise _said(error, why, unknown) from error
    raise FxscopeError("its operators are written out without end")


def _said(error: UnsupportedOperator, why: dict[str, str], unknown: str) -> UnsupportedOperator:
    """The error with the reasons, and the way out."""
    lines = [str(error), *(f"  {name}: {reason}" for name, reason in why.items() if name)]
    if unknown != "taylor" and not error.derived.issuperset(error.exported):
        lines.append('unknown="taylor" takes the derivative of operators without a rule.')
    new = UnsupportedOperator("\n".join(lines), error.operators)
    new.exported, new.derived = error.exported, error.derived
    return new
