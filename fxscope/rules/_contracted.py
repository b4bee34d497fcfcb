"""Products over named dimensions: which operand is reduced where the other one varies.

``a * b``, ``a @ b`` and ``einsum`` are one thing, a product of both operands over the union of their
dimensions, summed over those that the result lacks. Written so, every spelling of a product freezes the same
operand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._reduced import NONE, Factor, Reduced, along

DEPTH = 8  # dimensions of a batch of matrices that are looked at where the rank is not known


@dataclass(frozen=True)
class Contraction:
    """Operands over named dimensions, and the names of the result's dimensions, the last one last."""

    factors: tuple[Factor, ...]
    result: tuple[Any, ...]

    @property
    def names(self) -> list[Any]:
        return list(dict.fromkeys(name for factor in self.factors for name in factor.names))


def matrices(view: Any, a: Any, b: Any) -> Contraction:
    """``a @ b``: rows of a, columns of b, and the dimension between them that is summed."""
    left, right = _batch(view, a), _batch(view, b)
    vector_a, vector_b = view.rank(a) == 1, view.rank(b) == 1
    left.update({"between": -1} if vector_a else {"row": -2, "between": -1})
    right.update({"between": -1} if vector_b else {"between": -2, "column": -1})
    inner = ([] if vector_a else ["row"]) + ([] if vector_b else ["column"])
    batch = sorted({name for name in (*left, *right) if isinstance(name, int)})
    return Contraction((Factor(a, left), Factor(b, right)), (*batch, *inner))


def _batch(view: Any, value: Any) -> dict[Any, int]:
    rank = view.rank(value)
    return {place: place for place in range(-(DEPTH if rank is None else rank), -2)}


def lettered(view: Any, equation: str, operands: list[Any]) -> Contraction:
    """An einsum's operands by their letters; an ellipsis stands for places counted from its end."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    inputs = terms.split(",")
    factors = tuple(Factor(v, _letters(term, view.rank(v))) for v, term in zip(operands, inputs))
    if not arrow:
        letters = [c for c in terms if c.isalpha()]
        result = ("..." if "." in terms else "") + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1)
        )
    spread = sorted({name for f in factors for name in f.names if isinstance(name, int)})
    head, dots, tail = result.partition("...")
    return Contraction(factors, (*head, *(spread if dots else ()), *tail))


def _letters(term: str, rank: int | None) -> dict[Any, int]:
    head, dots, tail = term.partition("...")
    names: dict[Any, int] = {c: i - len(tail) for i, c in enumerate(tail)}
    if not dots:
        return {c: i - len(head) for i, c in enumerate(head)}
    if rank is None:
        return names
    names.update({c: i - rank for i, c in enumerate(head)})
    count = rank - len(head) - len(tail)
    return {**names, **{i - count: i - count - len(tail) for i in range(count)}}


def side_by_side(view: Any, a: Any, b: Any) -> Contraction:
    """``a * b``: one name a place, so that what broadcasts lacks the name."""
    ranks = [view.rank(v) for v in (a, b)]
    places = [view.of(v).dims | view.of(v).unit for v in (a, b)]
    deepest = max([r for r in ranks if r is not None] + [-d for found in places for d in found], default=0)
    factors = (
        Factor(v, {-d: -d for d in range(1, 1 + (deepest if r is None else r))})
        for v, r in zip((a, b), ranks)
    )
    return Contraction(tuple(factors), tuple(range(-deepest, 0)))


def reduces(view: Any, whole: Contraction, which: int) -> bool:
    """Whether an operand was reduced along a dimension in which the other operand varies.

    It is constant there.
    """
    one, other = whole.factors[which], whole.factors[1 - which]
    lost = view.of(one.value).lost
    for name in whole.names:
        if along(view, other, name)[0]:
            continue
        if name in one.names:
            if along(view, one, name)[1]:
                return True
        elif lost:
            return True
    return False


def contracted(view: Any, whole: Contraction) -> Reduced:
    """What is known of a product summed over the names that its result lacks."""
    moving = [f for f in whole.factors if view.shape(f.value) is None]
    if not moving:
        return Reduced()
    summed = [n for n in whole.names if n not in whole.result and any(n in f.names for f in moving)]
    new = [n for n in whole.result if not any(n in f.names for f in moving)]
    dims, unit = set(), set()
    for place, name in enumerate(whole.result, -len(whole.result)):
        states = [along(view, f, name) for f in whole.factors]
        constant = all(c for c, _ in states)
        if constant and (any(r for _, r in states) or (name in new and summed)):
            dims.add(place)
        if name in new and constant:
            unit.add(place)
    known = [view.of(f.value) for f in moving]
    lost = all(r.lost for r in known) or len(summed) > len(new)
    doubtful = next((r.unsure for r in known if r.unsure is not None), None)
    return Reduced(
        frozenset(dims) or NONE, frozenset(unit) or NONE, lost, any(r.moved for r in known), doubtful
    )


def matrix_product(view: Any, a: dict) -> Reduced:
    return contracted(view, matrices(view, a["x"], a["other"]))


def summed_products(view: Any, a: dict) -> Reduced:
    return contracted(view, lettered(view, a["equation"], list(a["operands"])))
