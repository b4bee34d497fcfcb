"""The table of laws: name, statement, and measure of each on a ``LawCase``.

``fxscope.verify``, ``check_rule``, the matrix of networks, the cards of the documentation and the tests of
the rules all run this table. A measure returns the largest relative error, or a whole ``Law`` if its
statement or bound depends on the network. It raises ``NotChecked`` with the reason if the law does not
apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import checks, invariance
from .derivative import law_6
from .laws import NotChecked

if TYPE_CHECKING:
    from .case import LawCase


@dataclass(frozen=True)
class Check:
    """A law that is measured on networks; ``probed`` if it is about F or r."""

    name: str
    statement: str
    measure: Callable[[LawCase], Any]
    probed: bool = True


def _elsewhere(reason: str) -> Callable[[LawCase], Any]:
    def measure(s: LawCase) -> Any:
        raise NotChecked(reason)

    return measure


CHECKS = (
    Check("law 1", checks.STATEMENT_1, checks.law_1, False),
    Check("law 2", "x1 = x0 gives y1 = y0 (eq. 3)", checks.law_2),
    Check("law 3", "superposition, and F 0 = 0", checks.law_3),
    Check("law 4", "pair = filter + residual", checks.law_4),
    Check("law 5", "dot test of F and its transpose", checks.law_5),
    Check("law 6", "F v is the derivative (policy taylor)", law_6),
    Check(
        "law 7",
        "F is the derivative with its factors detached",
        _elsewhere("it needs the network written by hand with its factors detached"),
        False,
    ),
    Check("law 8", checks.STATEMENT_8, checks.law_8),
    Check("law 8 row", "<row, x0> + r_k = y0[k], <row, v> = (F v)[k]", checks.law_8_rows),
    Check("law 9", checks.STATEMENT_9, checks.law_9, False),
    Check(
        "law 10", "exported equals eager", _elsewhere("fxscope.save checks every file that it writes"), False
    ),
    Check("law 11", checks.STATEMENT_11, checks.law_11),
    Check(
        "law 12",
        "every spelling gives the same F",
        _elsewhere("it is about another spelling of the same model"),
        False,
    ),
    Check("law 13 batch", "F is the same alone and in a batch", invariance.batch),
    Check("law 13 size", "one graph holds at another size", invariance.size),
    Check("law 13 example", "F is the same without an example", invariance.example),
    Check("law 13 frontend", "both frontends give the same F", invariance.frontend),
    Check("law 13 memory", "every memory mode gives the same F", invariance.memory),
    Check("law 13 form", "every emitted form gives the same F", invariance.forms),
)
