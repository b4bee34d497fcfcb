"""The outputs that are read: the main tensor of a Hugging Face model, or the places that the user names.

Where a call gives several tensors (chunk, topk), every one of them is an output.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
import torch.fx as fx

from ..errors import UnknownRank
from ..frontend.places import find_place
from ..frontend.proxies import named_tuple
from ..frontend.symbolic import source_of
from ..graph.assumptions import RANK, SIZE, Assumption, assumptions
from ..graph.ir import acts, graph_notes, info, mark, notes
from ..rules._of_node import bound, parts_told, rule_of
from .classify import is_structure

MAIN_OUTPUTS = ("logits", "reconstruction", "last_hidden_state")  # of a ModelOutput, in this order


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors of an output structure (tuple, list, dict, dataclass), in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors_of(v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors_of(v)]
    if hasattr(type(value), "__dataclass_fields__"):
        return [t for name in value.__dataclass_fields__ for t in tensors_of(getattr(value, name))]
    return []


def with_dicts(value: Any) -> Any:
    """An output structure with every dataclass as a dict of its fields."""
    if isinstance(value, dict):  # before dataclasses: the outputs of some libraries are both
        return {name: with_dicts(v) for name, v in value.items()}
    if hasattr(type(value), "__dataclass_fields__"):
        return {name: with_dicts(getattr(value, name)) for name in value.__dataclass_fields__}
    return _of_kind(value, map(with_dicts, value)) if isinstance(value, (list, tuple)) else value


def as_attributes(value: Any, like: Any) -> Any:
    """Undo ``with_dicts``: namespaces where ``like`` has dataclasses."""
    if hasattr(type(like), "__dataclass_fields__"):
        return SimpleNamespace(**{name: as_attributes(v, getattr(like, name)) for name, v in value.items()})
    if isinstance(like, dict):
        return {name: as_attributes(v, like[name]) for name, v in value.items()}
    if isinstance(value, (list, tuple)) and isinstance(like, (list, tuple)):
        return _of_kind(value, map(as_attributes, value, like))
    return value


def _of_kind(value: Any, items: Iterable[Any]) -> Any:
    """A list, tuple or named tuple of the kind of another one."""
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def main_output(y: Any) -> Any:
    """What ``transform`` reads by default: the whole output, or a ModelOutput's main tensor."""
    key = main_key(y)
    return y if key is None else y[key]


def main_key(y: Any) -> str | None:
    """The key of a ModelOutput's main tensor; None for any other output."""
    if not _is_model_output(type(y)):
        return None
    return next((n for n in MAIN_OUTPUTS if y.get(n) is not None), next(iter(y)))


def keep_main_output(gm: fx.GraphModule) -> None:
    """If the output is a Hugging Face ``ModelOutput``, read only its main tensor (see ``MAIN_OUTPUTS``)."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    value = output.args[0]
    if isinstance(value, fx.Node) and is_structure(value) and _is_model_output(value.target):
        names = [n for n in MAIN_OUTPUTS if n in value.kwargs] or list(value.kwargs)
        output.args = (value.kwargs[names[0]],)
        gm.graph.eliminate_dead_code(is_impure_node=acts)


def _is_model_output(kind: Any) -> bool:
    return any(base.__name__ == "ModelOutput" for base in kind.__mro__)


def cut(gm: fx.GraphModule, outputs: str | list[str] | dict[str, str]) -> None:
    """Make the graph end at the named places."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    if isinstance(outputs, str):
        result: Any = find_place(gm, outputs)
    elif isinstance(outputs, dict):
        result = {name: find_place(gm, place) for name, place in outputs.items()}
    else:
        result = tuple(find_place(gm, place) for place in outputs)
    output.args = (result,)
    gm.graph.eliminate_dead_code(is_impure_node=acts)


def take_apart(gm: fx.GraphModule) -> None:
    """Where an output is a call that gives several tensors, read them one by one.

    Raises ``UnknownRank`` if only an example tells how many they are.
    """
    taken: dict[fx.Node, Any] = {}

    def parts(node: fx.Node) -> Any:
        if node not in taken:
            taken[node] = _parts(gm, node)
        return taken[node]

    for owner in list(gm.graph.nodes):
        if owner.op == "output" or is_structure(owner):
            owner.args = fx.node.map_arg(owner.args, parts)
            owner.kwargs = fx.node.map_arg(owner.kwargs, parts)


def _parts(gm: fx.GraphModule, node: fx.Node) -> Any:
    """A node, or a tuple of its items if it gives several tensors."""
    rule = rule_of(node)
    if rule is None or rule.yields == "tensor" or is_structure(node):
        return node
    count = 2 if rule.yields == "values" else _count(gm, node)
    with gm.graph.inserting_after(node):
        items = [_item(node, i) for i in reversed(range(count))][::-1]
        kind = named_tuple(node) if rule.yields == "values" else tuple
        if kind is tuple:
            return tuple(items)
    with gm.graph.inserting_after(items[-1]):
        return placed(gm.graph.call_function(kind, (tuple(items),)), node)


def _item(node: fx.Node, number: int) -> fx.Node:
    item = placed(node.graph.call_function(operator.getitem, (node, number)), node)
    if "parts" in notes(node):
        notes(item)["val"] = notes(node)["parts"][number]
    return mark(item, rule="getitem")


def placed(new: fx.Node, node: fx.Node) -> fx.Node:
    """A new node at the place and line of another one."""
    base = info(node)
    return mark(new, place=base.place, module=base.module, source=base.source)


def _count(gm: fx.GraphModule, node: fx.Node) -> int:
    """How many tensors a split gives; the graph is fixed to the sizes of the example where they decide it."""
    told = parts_told(node)
    if told is not None:
        return told
    if "parts" not in notes(node):
        raise UnknownRank(
            f"the output {info(node).place or node.name} at {source_of(node)} is several tensors, and only an"
            " example tells how many: pass example_inputs= to fxscope.transform"
        )
    count = len(notes(node)["parts"])
    if not (node.target is torch.chunk and bound(node)["chunks"] == count == 2):
        _fix_sizes(gm, f"they decide how many tensors {info(node).place or node.name} gives")
    return count


def _fix_sizes(gm: fx.GraphModule, why: str) -> None:
    """Make the graph one for the sizes of its example."""
    known = assumptions(gm)
    found = [a for n in gm.graph.nodes if n.op == "placeholder" and "val" in notes(n) for a in _sizes(n, why)]
    told = {(a.input, a.kind, a.dimension) for a in known}
    new = [a for a in found if (a.input, a.kind, a.dimension) not in told]
    graph_notes(gm)["assumptions"] = (*known, *new)


def _sizes(node: fx.Node, why: str) -> list[Assumption]:
    shape = notes(node)["val"].shape
    sizes = [Assumption(node.name, SIZE, d, size, why) for d, size in enumerate(shape)]
    return [Assumption(node.name, RANK, None, len(shape), why), *sizes]
