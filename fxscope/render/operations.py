"""The operations of a rewritten graph, as boxes: one per original node, one per twin, modules folded where they repeat."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch.fx as fx

from ..ir import info


@dataclass
class Box:
    """One box of a drawing: a branch, a title, the twin kind that colours it, and hover text."""

    key: tuple
    branch: str
    title: str
    kind: str
    hover: list[str] = field(default_factory=list)
    count: int = 1


@dataclass
class Boxes:
    """Boxes and edges {(from, to): label}; label "" is data, others are freeze edges."""

    boxes: dict[tuple, Box] = field(default_factory=dict)
    edges: dict[tuple, str] = field(default_factory=dict)


def operations(gm: fx.GraphModule, depth: int | None) -> Boxes:
    """Group nodes into boxes; ``depth`` folds everything below that many parts of the module path into one box (None: nothing)."""
    result, home = Boxes(), {}
    for node in gm.graph.nodes:
        if not _drawn(node):
            continue
        key = _key(node, depth)
        home[node] = key
        box = result.boxes.setdefault(key, Box(key, key[0], _title(node, key, depth), _kind(node)))
        if info(node).twin:
            box.kind = info(node).twin if not _folded(key) else "module"
        line = " ".join(p for p in (info(node).rule or node.op, info(node).variant or "", info(node).place, info(node).source) if p)
        if line not in box.hover:
            box.hover.append(line)
    for node, key in home.items():
        for source in node.all_input_nodes:
            if source in home and home[source] != key:
                _connect(result, home[source], key, info(node).freezes.get(source.name, ""))
    return result


def _connect(result: Boxes, a: tuple, b: tuple, label: str) -> None:
    crosses = a[0] != b[0]
    if not crosses:
        result.edges[(a, b)] = ""
    elif label and label != "size":
        result.edges[(a, b)] = label


def _drawn(node: fx.Node) -> bool:
    return node.op not in ("get_attr", "output") and info(node).twin != "output" and info(node).role not in ("shape", "const") and info(node).branch is not None


def _key(node: fx.Node, depth: int | None) -> tuple:
    i = info(node)
    branch = i.branch or "original"
    if depth is not None and i.module.count(".") + 1 >= depth and i.module and node.op != "placeholder":
        return (branch, "module", ".".join(i.module.split(".")[:depth]))
    return (branch, "node", i.origin or node.name)


def _folded(key: tuple) -> bool:
    return key[1] == "module"


def _title(node: fx.Node, key: tuple, depth: int | None) -> str:
    if _folded(key):
        return key[2]
    if node.op == "placeholder":
        return node.name
    i = info(node)
    name = i.place or key[2]
    return f"{i.twin or i.rule or node.op}  {name}" if i.branch == "interpreter" else f"{i.rule or node.op}  {name}"


def _kind(node: fx.Node) -> str:
    return "input" if node.op == "placeholder" else "linear"
