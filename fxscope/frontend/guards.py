"""What torch.export took for granted of the inputs, read from its program: numbers for sizes, ranges, guards.

The ATen graph itself does not hold them: export checks them when its own program is called. A graph that is
made from the program has to check them itself.
"""

from __future__ import annotations

import functools
import operator
import traceback
from collections.abc import Iterator
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy import functions

from ..errors import TraceFailure
from ..graph.assumptions import CONDITION, DTYPE, RANK, SIZE, Assumption, Assumptions, Size, Term
from .symbolic import describe_line, is_user_file

_FUNCTIONS = {
    sympy.Add: operator.add, sympy.Mul: operator.mul, functions.FloorDiv: operator.floordiv,
    functions.Mod: operator.mod, functions.PythonMod: operator.mod,
    sympy.Eq: operator.eq, sympy.Ne: operator.ne,
    sympy.StrictGreaterThan: operator.gt, sympy.GreaterThan: operator.ge,
    sympy.StrictLessThan: operator.lt, sympy.LessThan: operator.le,
}  # fmt: skip
_NUMBER = "torch.export made a number of it"


def assumptions_of(program: ExportedProgram) -> Assumptions:
    """Ranks, dtypes, fixed sizes and conditions of all tensor inputs.

    Raises ``TraceFailure`` for a condition that cannot be said with integers; without a free size there is
    none.
    """
    inputs = _inputs(program)
    symbols: dict[Any, Size] = {}
    found = [a for name, value in inputs.items() for a in _plain(name, value)]
    found += list(_shared(inputs, symbols))
    found += [_derived(size, e, symbols) for size, e in _expressions(inputs) if e not in symbols]
    sizes: list[Any] = [s for v in inputs.values() for s in v.shape if isinstance(s, torch.SymInt)]
    if symbols:
        found += _conditions(program, symbols, sizes[0].node.shape_env)
    return tuple(dict.fromkeys(found))


def _conditions(program: ExportedProgram, symbols: dict[Any, Size], env: Any) -> Iterator[Assumption]:
    """What the model's code and torch's operators asked of free sizes while export ran them."""
    guards = [(env.replace(g.expr), g) for g in env.guards]
    guards = [(expression, g) for expression, g in guards if set(symbols) & expression.free_symbols]
    for expression, guard in guards:
        yield _condition(symbols, expression, guard)
    for symbol, limits in program.range_constraints.items():
        if symbol in symbols:
            yield from _range(symbols[symbol], limits, [e for e, _ in guards if symbol in e.args])


def _inputs(program: ExportedProgram) -> dict[str, torch.Tensor]:
    named = set(program.graph_signature.user_inputs)
    nodes = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in named]
    return {n.name: n.meta["val"] for n in nodes if isinstance(n.meta.get("val"), torch.Tensor)}


def _plain(name: str, value: torch.Tensor) -> Iterator[Assumption]:
    yield Assumption(name, RANK, None, value.dim(), "torch.export ran the model on such an input")
    yield Assumption(name, DTYPE, None, value.dtype, "torch.export ran the model on such an input")
    for d, size in enumerate(value.shape):
        number = _number(size)
        if number is not None:
            yield Assumption(name, SIZE, d, number, _NUMBER)


def _number(size: Any) -> int | None:
    """A size that is one number; a symbol that a branch has fixed is a ``SymInt`` of that value."""
    return size.node.maybe_as_int() if isinstance(size, torch.SymInt) else int(size)


def _expressions(inputs: dict[str, torch.Tensor]) -> Iterator[tuple[Size, Any]]:
    """Every free size and what it is: a symbol, or an expression of some."""
    for name, value in inputs.items():
        for d, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt) and _number(size) is None:
                yield Size(name, d), size.node.expr


def _shared(inputs: dict[str, torch.Tensor], symbols: dict[Any, Size]) -> Iterator[Assumption]:
    """Free sizes by their symbols, written into ``symbols``; a symbol that occurs again is the same size."""
    for size, expression in _expressions(inputs):
        if expression in symbols:
            yield _about(size, Term(operator.eq, (size, symbols[expression])), "one size of the example")
        elif isinstance(expression, sympy.Symbol):
            symbols[expression] = size


def _range(size: Size, limits: Any, guards: list) -> Iterator[Assumption]:
    """The limits of a size that no guard says."""
    bounds = [_bounds(g) for g in guards]
    low, high = max([1, *(low for low, _ in bounds)]), min([sympy.oo, *(high for _, high in bounds)])
    if isinstance(limits.lower, sympy.Integer) and limits.lower > low:
        yield _about(size, Term(operator.ge, (size, int(limits.lower))), _decided(""))
    if isinstance(limits.upper, sympy.Integer) and limits.upper < high:
        yield _about(size, Term(operator.le, (size, int(limits.upper))), _decided(""))


def _bounds(relation: Any) -> tuple[Any, Any]:
    """The least and the largest size, at least 1, that a relation of one size and a number allows."""
    number = relation.args[-1]
    if not isinstance(number, sympy.Integer):
        return 1, sympy.oo
    if isinstance(relation, sympy.Ne):
        return (2 if number == 1 else 1), sympy.oo
    if isinstance(relation, (sympy.StrictGreaterThan, sympy.GreaterThan)):
        return number + isinstance(relation, sympy.StrictGreaterThan), sympy.oo
    if isinstance(relation, (sympy.StrictLessThan, sympy.LessThan)):
        return 1, number - isinstance(relation, sympy.StrictLessThan)
    return 1, sympy.oo


def _derived(size: Size, expression: Any, symbols: dict[Any, Size]) -> Assumption:
    """A size that follows from others."""
    return _about(
        size, Term(operator.eq, (size, _term(expression, symbols))), "it follows from the other sizes"
    )


def _about(size: Size, term: Term, why: str) -> Assumption:
    return Assumption(size.input, CONDITION, None, term, why)


def _condition(symbols: dict[Any, Size], expression: Any, guard: Any) -> Assumption:
    """The assumption of a guard.

    An operator that asks whether a size is 1 usually asks for a layout; such an assumption is doubtful.
    """
    term, line = _term(expression, symbols), _line(guard)
    asks_for_one = expression.args[0] in symbols and _bounds(expression) == (2, sympy.oo)
    input = min(s.input for s in term.sizes())
    return Assumption(input, CONDITION, None, term, _decided(line), doubtful=asks_for_one and not line)


def _term(expression: Any, symbols: dict[Any, Size]) -> Any:
    """A sympy expression over input sizes as a ``Term``."""
    if expression in symbols:
        return symbols[expression]
    if isinstance(expression, sympy.Integer):
        return int(expression)
    function = next((f for kind, f in _FUNCTIONS.items() if isinstance(expression, kind)), None)
    if function is None:
        raise TraceFailure(f"the model's code decides on a size by {expression}, which a graph cannot check")
    parts = [_term(a, symbols) for a in expression.args]
    if function in (operator.add, operator.mul):
        return functools.reduce(lambda a, b: Term(function, (a, b)), parts)
    return Term(function, tuple(parts))


def _decided(line: str) -> str:
    return f"the model's code decides on it{f' at {line}' if line else ''}"


def _line(guard: Any) -> str:
    """The line of the user's code that asked; "" where an operator of torch did."""
    place = guard.sloc.framework_loc
    if isinstance(place, traceback.FrameSummary) and is_user_file(place.filename):
        return describe_line(place.filename, place.lineno)
    return ""
