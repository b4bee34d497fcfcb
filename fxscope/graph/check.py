"""The invariants of a graph at every stage, and a check of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import get_args

import torch.fx as fx

from ..errors import BrokenInvariant
from .aliasing import writes
from .ir import Branch, Edge, Role, info

Check = Callable[[fx.Node], bool]


def _of_original(node: fx.Node) -> bool:
    return info(node).branch == "original"


def _declared(node: fx.Node) -> bool:
    """Whether an interpreter node names every value of x0 that it reads; constants and sizes need no name."""
    read = [n for n in node.all_input_nodes if _of_original(n) and info(n).role not in ("const", "shape")]
    return info(node).branch != "interpreter" or all(n.name in info(node).freezes for n in read)


_PLACED: dict[str, Check] = {
    "it has a place": lambda n: bool(info(n).place),
}
_CANONICAL: dict[str, Check] = {
    **_PLACED,
    "it writes into no argument": lambda n: not writes(n),
    "a call of a module has no rule": lambda n: n.op != "call_module" or info(n).rule is None,
    "it belongs to no branch yet": lambda n: info(n).branch is None,
}
_CLASSIFIED: dict[str, Check] = {
    **_CANONICAL,
    "it has a role": lambda n: info(n).role in get_args(Role),
    "a constant reads constants alone": lambda n: (
        info(n).role != "const" or all(info(i).role == "const" for i in n.all_input_nodes)
    ),
    "a variant is one of a rule": lambda n: info(n).variant is None or info(n).rule is not None,
}
_EMITTED: dict[str, Check] = {
    "it is of a branch": lambda n: n.op == "output" or info(n).branch in get_args(Branch),
    "it has a role": lambda n: n.op == "output" or info(n).role in get_args(Role),
    "the original branch reads nothing of the interpreter branch": lambda n: (
        not _of_original(n) or all(info(i).branch != "interpreter" for i in n.all_input_nodes)
    ),
    "every value that it freezes is declared": lambda n: n.op == "output" or _declared(n),
    "an edge has a known label": lambda n: set(info(n).freezes.values()) <= set(get_args(Edge)),
}
STAGES: dict[str, dict[str, Check]] = {
    "traced": _PLACED,
    "canonical": {**_CANONICAL, "it has no role yet": lambda n: info(n).role is None},
    "classified": _CLASSIFIED,
    "emitted": _EMITTED,
}


def check_stage(gm: fx.GraphModule, stage: str) -> None:
    """``check_ir`` if the environment variable ``FXSCOPE_CHECK_IR`` is set."""
    if os.environ.get("FXSCOPE_CHECK_IR"):
        check_ir(gm, stage)


def check_ir(gm: fx.GraphModule, stage: str) -> None:
    """Verify that a graph obeys the invariants of a stage.

    Parameters
    ----------
    gm
        The graph.
    stage
        "traced" (as a frontend gives it), "canonical" (no write is left, one spelling an operator),
        "classified" (every node has a role; the program of a rewrite, too), or "emitted" (a form of
        ``fxscope.transform``).

    Raises
    ------
    BrokenInvariant
        With the name of the first node that breaks one, and the invariant.
    """
    for node in gm.graph.nodes:
        for said, holds in STAGES[stage].items():
            if not holds(node):
                raise BrokenInvariant(f"node {node.name} of a graph that is {stage}: not true that {said}")
