"""What torch.export took for granted of the inputs, read from its program: sizes that became numbers, ranges, guards.

The ATen graph itself does not hold them: export checks them when its own program is called. A graph that is made from the
program has to check them itself.
"""

from __future__ import annotations

import functools
import operator
import traceback
from typing import Any, Iterator

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy import functions

from .assumptions import CONDITION, DTYPE, RANK, SIZE, Assumption, Assumptions, Size, Term
from .errors import TraceFailure
from .trace import describe_line, is_user_file

_RELATIONS = {
    sympy.Eq: operator.eq, sympy.Ne: operator.ne, sympy.StrictGreaterThan: operator.gt, sympy.GreaterThan: operator.ge,
    sympy.StrictLessThan: operator.lt, sympy.LessThan: operator.le,
}  # fmt: skip
_FUNCTIONS = {
    sympy.Add: operator.add, sympy.Mul: operator.mul, functions.Mod: operator.mod, functions.PythonMod: operator.mod,
    functions.FloorDiv: operator.floordiv, **_RELATIONS,
}  # fmt: skip
_NUMBER = "torch.export made a number of it"


def assumptions_of(program: ExportedProgram) -> Assumptions:
    """Ranks, dtypes, fixed sizes and conditions of all tensor inputs.

    Raises ``TraceFailure`` for a condition that cannot be said with integers; without a free size there is none.
    """
    inputs = _inputs(program)
    symbols: dict[Any, Size] = {}
    found = [a for name, value in inputs.items() for a in _plain(name, value)]
    found += list(_shared(inputs, symbols))
    found += [_derived(Size(name, d), expression, symbols) for name, d, expression in _expressions(inputs) if expression not in symbols]
    env = next((s.node.shape_env for v in inputs.values() for s in v.shape if isinstance(s, torch.SymInt)), None)
    if env is not None and symbols:
        guards = [(env.replace(g.expr), g) for g in env.guards]
        guards = [(e, g) for e, g in guards if set(symbols) & e.free_symbols]
        found += [_condition(symbols, e, g) for e, g in guards]
        found += [a for s, r in program.range_constraints.items() if s in symbols for a in _range(symbols[s], r, [e for e, _ in guards if s in e.args])]
    return tuple(dict.fromkeys(found))


def _inputs(program: ExportedProgram) -> dict[str, torch.Tensor]:
    named = set(program.graph_signature.user_inputs)
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder" and n.name in named}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


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


def _expressions(inputs: dict[str, torch.Tensor]) -> Iterator[tuple[str, int, Any]]:
    for name, value in inputs.items():
        for d, size in enumerate(value.shape):
            if _number(size) is None:
                yield name, d, size.node.expr


def _shared(inputs: dict[str, torch.Tensor], symbols: dict[Any, Size]) -> Iterator[Assumption]:
    """Free sizes by their symbols, written into ``symbols``; a symbol that occurs again is the same size."""
    for name, d, expression in _expressions(inputs):
        if not isinstance(expression, sympy.Symbol):
            continue
        if expression in symbols:
            yield Assumption(name, CONDITION, None, Term(operator.eq, (Size(name, d), symbols[expression])), "one size of the example")
        symbols.setdefault(expression, Size(name, d))


def _range(size: Size, limits: Any, guards: list) -> Iterator[Assumption]:
    """The limits of a size that no guard says."""
    bounds = [_bounds(g) for g in guards]
    low, high = max([1, *(low for low, _ in bounds)]), min([sympy.oo, *(high for _, high in bounds)])
    if isinstance(limits.lower, sympy.Integer) and limits.lower > low:
        yield Assumption(size.input, CONDITION, None, Term(operator.ge, (size, int(limits.lower))), _decided(""))
    if isinstance(limits.upper, sympy.Integer) and limits.upper < high:
        yield Assumption(size.input, CONDITION, None, Term(operator.le, (size, int(limits.upper))), _decided(""))


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
    return Assumption(size.input, CONDITION, None, Term(operator.eq, (size, _term(expression, symbols))), "it follows from the other sizes")


def _condition(symbols: dict[Any, Size], expression: Any, guard: Any) -> Assumption:
    """A guard. An operator that asks whether a size is 1 most often wants to know its own layout: that is in doubt."""
    term, line = _term(expression, symbols), _line(guard)
    asks_for_one = expression.args[0] in symbols and _bounds(expression) == (2, sympy.oo)
    return Assumption(min(s.input for s in term.sizes()), CONDITION, None, term, _decided(line), doubtful=asks_for_one and not line)


def _term(expression: Any, symbols: dict[Any, Size]) -> Any:
    """A sympy expression over input sizes as a ``Term``."""
    if expression in symbols:
        return symbols[expression]
    if isinstance(expression, sympy.Integer):
        return int(expression)
    function = next((f for kind, f in _FUNCTIONS.items() if isinstance(expression, kind)), None)
    if function is None:
        raise TraceFailure(f"the model's code decides on a size by {expression}, which a graph cannot check: its sizes become those of the example")
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
