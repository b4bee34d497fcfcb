"""The boxes of a drawing: one for each operation with the states it freezes, and one for its twin."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx

from ..graph.ir import NodeInfo, emitted, info
from ..rules import registry
from .palette import family

OUTPUT = "output"
# the input that enters at the output's position, and the result that leaves at the input's
BACKWARDS = {
    "adjoint": ("y2", "x2"),
    "pullback": ("y2", "x2"),
    "row": ("one output", "row, r"),
    "argmax": ("largest output", "row, r"),
}
PLAIN = "graph"
Name = tuple[str, str]


@dataclass
class Box:
    """One box of a drawing.

    Attributes
    ----------
    branch : str
        "original", "interpreter", or "graph" for a graph that was not rewritten.
    key : str
        The operation; the box of an operation and that of its twin have the same key.
    name, place, detail : str
        The operation or the kind of twin, its place in the model, and a second line.
    kind : str
        A key of the palette.
    order : int
        Position in the graph.
    module : str
        Path of the module.
    stack : int
        Number of modules that are folded into the box.
    alone : bool
        Whether this is an original operation without a twin, because x1 does not pass through it.
    hover : list of str
        Lines of the hover text: place, role, rule, variant, formula, module, source line, parameters.
    code : list of str
        Lines of the generated code.
    rule : str
        The rule of the operation, or of the operation that the twin replaces.
    weights : dict of str to int
        {parameter that the operation uses: number of its elements}.
    shape : str
        The shape of the result on the example, as "1×64×56×56"; "" without one.
    adds : int
        Multiply-adds on the example.
    """

    branch: str
    key: str
    name: str
    place: str = ""
    detail: str = ""
    kind: str = "linear"
    order: int = 0
    module: str = ""
    stack: int = 0
    alone: bool = False
    hover: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    rule: str = ""
    weights: dict[str, int] = field(default_factory=dict)
    shape: str = ""
    adds: int = 0


@dataclass
class Picture:
    """Boxes {(branch, key): box}, data edges inside a branch, freeze edges {(from, to): {label: count}}."""

    boxes: dict[Name, Box] = field(default_factory=dict)
    data: dict[tuple[Name, Name], None] = field(default_factory=dict)
    freezes: dict[tuple[Name, Name], Counter] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)

    def branches(self) -> list[str]:
        """The columns of the drawing, from left to right."""
        return [b for b in (PLAIN, "original", "interpreter") if any(name[0] == b for name in self.boxes)]


def operations(gm: fx.GraphModule) -> Picture:
    """One box for each operation of a graph, not folded. Parameters and sizes are not drawn."""
    picture = Picture(classes=_classes(gm))
    homes, code = homes_of(gm), _code(gm)
    for order, (node, name) in enumerate(homes.items()):
        _enter(picture, gm, node, name, order)
        picture.boxes[name].code += code.get(node.name, [])
    _connect(picture, homes)
    _outputs(picture, gm, homes)
    _colour(picture)
    _mark_alone(picture)
    return picture


def homes_of(gm: fx.GraphModule) -> dict[fx.Node, Name]:
    """{node: (branch, key) of its box} of every node that is drawn."""
    places = {
        n.name: info(n).place
        for n in gm.graph.nodes
        if info(n).branch == "original" and not info(n).origin and n.op != "get_attr"
    }
    if _backwards(gm):
        return {node: _home_backwards(node, places) for node in gm.graph.nodes if _drawn(node)}
    return {node: _home(info(node), node, places) for node in gm.graph.nodes if _drawn(node)}


def _backwards(gm: fx.GraphModule) -> bool:
    """Whether the interpreter branch of an emitted graph runs from the output to the input."""
    return emitted(gm).get("form") in BACKWARDS


def _home_backwards(node: fx.Node, places: dict[str, str]) -> Name:
    """The box of a node of a backward graph: y2 is at the position of y1, and x2 at that of the input."""
    i = info(node)
    if i.branch == "interpreter" and i.twin == "output":
        return i.branch, next(iter(places), OUTPUT)
    if i.branch == "interpreter" and not i.twin and not i.origin:
        return i.branch, OUTPUT
    return _home(i, node, places)


def _code(gm: fx.GraphModule) -> dict[str, list[str]]:
    """{node: its line of the generated code}."""
    found = {}
    for line in gm.code.splitlines():
        assignment = re.match(r"\s+(\w+)(?: : [^=]+)? = (.*?)(?:;  .*)?$", line)
        if assignment:
            found[assignment[1]] = [f"{assignment[1]} = {assignment[2]}"]
    return found


def _drawn(node: fx.Node) -> bool:
    i = info(node)
    if node.op in ("get_attr", "output") or i.role in ("shape", "const"):
        return False
    return i.branch is not None or i.role is None


def _home(i: NodeInfo, node: fx.Node, places: dict[str, str]) -> Name:
    branch = i.branch or PLAIN
    if i.twin == "output":
        return branch, OUTPUT
    if i.origin is None:
        return branch, node.name
    if branch == "original" or places.get(i.origin) == i.place:
        return branch, i.origin
    return branch, next(
        (name for name, place in places.items() if i.place and place == i.place), f"{i.origin} of x1"
    )


def _enter(picture: Picture, gm: fx.GraphModule, node: fx.Node, name: Name, order: int) -> None:
    i = info(node)
    box = picture.boxes.get(name)
    if box is None:
        box = picture.boxes[name] = _box(gm, node, name, order)
    elif i.branch == "original" and i.origin:
        box.hover.append(f"frozen: {node.name} = {operation(node)}")
    for path, value in _constants(gm, node).items():
        if isinstance(value, torch.nn.Parameter):
            box.weights[path] = value.numel()
        line = f"{path} {tuple(getattr(value, 'shape', ()))}"
        if line not in box.hover:
            box.hover.append(line)


def _box(gm: fx.GraphModule, node: fx.Node, name: Name, order: int) -> Box:
    i = info(node)
    if _backwards(gm) and i.branch == "interpreter" and (i.twin == "output" or name[1] == OUTPUT):
        return Box(*name, BACKWARDS[emitted(gm)["form"]][i.twin == "output"], kind="input", order=order)
    if node.op == "placeholder":
        return Box(*name, node.name, _tap(gm, node), kind="input", order=order, hover=_hover(node))
    if i.twin == "output":
        return Box(*name, "y1", order=order)
    if i.branch == "interpreter" and not i.twin:
        return Box(*name, "x1 = 0", kind="input", order=order)
    title = i.twin or operation(node)
    module = _module(node)
    place = i.place or (str(node.target) if node.op == "call_module" else module.partition("@")[0])
    place = "" if place == title else place
    return Box(*name, title, place, order=order, module=module, hover=_hover(node), rule=i.rule or "")


def _tap(gm: fx.GraphModule, node: fx.Node) -> str:
    """The place that a probe replaces, if it is not an input of the model."""
    inputs = {n.name for n in gm.graph.nodes if n.op == "placeholder" and info(n).branch == "original"}
    return info(node).place if info(node).branch == "interpreter" and info(node).origin not in inputs else ""


def operation(node: fx.Node) -> str:
    """The name of a node's operation: its rule, or else the function that it calls."""
    i = info(node)
    if i.rule and not i.origin:
        return i.rule
    if node.op == "call_module":
        owner = node.graph.owning_module
        return type(owner.get_submodule(str(node.target)) if owner else None).__name__
    target = getattr(node.target, "overloadpacket", node.target)
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _hover(node: fx.Node) -> list[str]:
    i = info(node)
    module = i.module or _module(node)
    rule = registry().rules.get(i.rule or "")
    head = ", ".join(
        part
        for part in (
            i.place or node.name,
            i.role and f"{i.role}",
            i.rule and f"rule {i.rule}",
            i.variant and f"variant {i.variant}",
        )
        if part
    )
    return [
        line
        for line in (head, rule.formula if rule else "", f"module {module}" if module else "", i.source)
        if line
    ]


def _constants(gm: fx.GraphModule, node: fx.Node) -> dict[str, Any]:
    """{path: value} of what a node reads of the model, also through nodes that depend on nothing else."""
    found = {}
    if node.op == "call_module":
        module = gm.get_submodule(str(node.target))
        found = {f"{node.target}.{name}": value for name, value in module.named_parameters()}
    for source in node.all_input_nodes:
        if source.op == "get_attr":
            found[str(source.target)] = _attribute(gm, str(source.target))
        elif info(source).role == "const":
            found |= _constants(gm, source)
    return found


def _attribute(gm: fx.GraphModule, path: str) -> Any:
    value: Any = gm
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def _connect(picture: Picture, homes: dict[fx.Node, Name]) -> None:
    for node, name in homes.items():
        for source in node.all_input_nodes:
            origin = homes.get(source, name)
            label = info(node).freezes.get(source.name, "size")
            if origin[0] == name[0] and origin != name and not _is_size(source):
                picture.data[origin, name] = None
            elif origin[0] != name[0] and label != "size":
                picture.freezes.setdefault((origin, name), Counter())[label] = 1


def _is_size(node: fx.Node) -> bool:
    """Whether a node gives a number of elements or of dimensions, which is no value of the network."""
    return node.op == "call_method" and node.target in ("size", "dim", "numel")


def _outputs(picture: Picture, gm: fx.GraphModule, homes: dict[fx.Node, Name]) -> None:
    """A box for what each branch returns."""
    for node in gm.graph.nodes:
        if node.op != "output":
            continue
        for source in _leaves(node, homes):
            branch, key = homes[source]
            if branch == "interpreter" and _backwards(gm):
                continue  # x2 has its box
            title = {"original": "y0", "interpreter": "y1"}.get(branch, OUTPUT)
            box = picture.boxes.setdefault(
                (branch, OUTPUT), Box(branch, OUTPUT, title, order=len(gm.graph.nodes))
            )
            box.kind, box.order = "input", len(gm.graph.nodes)
            if key != OUTPUT:
                picture.data[(branch, key), (branch, OUTPUT)] = None


def _leaves(node: fx.Node, homes: dict[fx.Node, Name]) -> list[fx.Node]:
    found = []
    for source in node.all_input_nodes:
        found += (
            [source]
            if source in homes
            else (
                _leaves(source, homes) if source.op == "call_function" and info(source).branch is None else []
            )
        )
    return found


def _colour(picture: Picture) -> None:
    """Set the kind of each box: a twin by the states that it freezes, an operation by those that it gives."""
    labels: dict[Name, set] = {}
    for (source, target), carried in picture.freezes.items():
        labels.setdefault(source, set()).update(carried)
        labels.setdefault(target, set()).update(carried)
    for name, box in picture.boxes.items():
        if box.kind == "linear":
            box.kind = family(labels.get(name, ()) or labels.get(("interpreter", name[1]), ()))


def _mark_alone(picture: Picture) -> None:
    """Mark operations that have no twin, except those that leave x1 unchanged."""
    if "interpreter" not in picture.branches():
        return
    import networkx as nx

    graph = nx.DiGraph((s, t) for (branch, s), (_, t) in picture.data if branch == "original")
    alone = {
        key
        for branch, key in picture.boxes
        if branch == "original" and ("interpreter", key) not in picture.boxes
    }
    passed = set()
    for (branch, s), (_, t) in picture.data:
        if branch == "interpreter" and s in graph and t in graph and not graph.has_edge(s, t):
            between = graph.subgraph(alone | {s, t})
            passed |= nx.descendants(between, s) & nx.ancestors(between, t)
    for key in alone - passed:
        box = picture.boxes["original", key]
        box.alone = box.kind != "input"


def _module(node: fx.Node) -> str:
    """Path of the module call that ran a node: "block@1" is the second call of block.

    A module that several others share has the path of its caller.
    """
    path = ""
    for call, (step, _) in (node.meta.get("nn_module_stack") or {}).items():
        step = call if call.partition("@")[0] == step else step
        path = (
            step
            if not path or step.startswith(f"{path}.")
            else f"{path}.{step.rpartition('.')[2].partition('@')[0]}"
        )
    return path or info(node).module


def _classes(gm: fx.GraphModule) -> dict[str, str]:
    """{module path: class name} of the modules that ran."""
    classes = {}
    for node in gm.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            classes[str(path)] = (kind if isinstance(kind, str) else kind.__name__).rsplit(".", 1)[-1]
    return classes
