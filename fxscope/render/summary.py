"""One row per operation of a rewritten graph."""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import asdict, dataclass, fields

import torch.fx as fx

from ..ir import info


@dataclass(frozen=True)
class Row:
    """One node of the original branch: its role, the rule and variant that cover it, its twin, what that freezes, the user's line."""

    node: str
    role: str
    rule: str
    variant: str
    twin: str
    frozen: str
    module: str
    source: str


@dataclass(frozen=True)
class Summary:
    """Every operation of a rewritten graph; prints as a table, shows itself in a notebook."""

    name: str
    rows: tuple[Row, ...]
    nodes: dict[str, int]
    freezes: dict[str, int]

    def __str__(self) -> str:
        names = [f.name for f in fields(Row)]
        table = [names] + [[str(getattr(r, n)) for n in names] for r in self.rows]
        widths = [min(44, max(len(line[i]) for line in table)) for i in range(len(names))]
        lines = ["  ".join(cell[:w].ljust(w) for cell, w in zip(line, widths)).rstrip() for line in table]
        return "\n".join([self._head(), *lines])

    def _head(self) -> str:
        counts = ", ".join(f"{v} {k}" for k, v in self.nodes.items())
        edges = ", ".join(f"{v} {k}" for k, v in sorted(self.freezes.items())) or "none"
        return f"{self.name}: {counts} nodes; freeze edges: {edges}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{f.name}</th>" for f in fields(Row))
        body = "".join("<tr>" + "".join(f"<td>{html.escape(str(getattr(r, f.name)))}</td>" for f in fields(Row)) + "</tr>" for r in self.rows)
        return f"<table><caption>{html.escape(self._head())}</caption><tr>{head}</tr>{body}</table>"


def summary(gm: fx.GraphModule) -> Summary:
    """Every node of the original branch with its class, rule, variant, twin, frozen states, module path and source line."""
    twins: dict[str, list[fx.Node]] = {}
    for node in gm.graph.nodes:
        if info(node).branch == "interpreter" and info(node).origin:
            twins.setdefault(info(node).origin, []).append(node)
    rows = tuple(_row(n, twins.get(n.name, [])) for n in gm.graph.nodes if info(n).branch == "original" and not info(n).origin and n.op not in ("get_attr", "output"))
    counts = Counter(str(info(n).branch or "other") for n in gm.graph.nodes if n.op != "get_attr")
    freezes = Counter(label for n in gm.graph.nodes for label in info(n).freezes.values() if label != "size")
    return Summary(type(gm).__name__, rows, dict(counts), dict(freezes))


def _row(node: fx.Node, twin: list[fx.Node]) -> Row:
    i = info(node)
    labels = sorted({label for t in twin for label in t.meta["fxscope"].freezes.values() if label != "size"})
    rule = next((info(t).rule for t in twin), i.rule) or node.op
    variant = next((info(t).variant for t in twin), i.variant) or ""
    kinds = dict.fromkeys(info(t).twin for t in twin if info(t).twin)
    return Row(node.name, i.role or "", rule, variant, ", ".join(kinds), ", ".join(labels), i.module, i.source)
