"""The places where the probes enter: the first input, a named place, or where integers become floating."""

from __future__ import annotations

from collections.abc import Iterator

import torch.fx as fx

from ..errors import NotFloating, PlaceError
from ..frontend.places import find_place
from ..frontend.symbolic import source_of
from ..graph.ir import acts, info
from ..rules._of_node import bound, rule_of
from .rewrite import Probe, dtype_of, is_floating


def probes_of(gm: fx.GraphModule, inputs: str | list[str] | None) -> list[Probe]:
    """The probes of a canonical graph, at the named places or at the first input.

    If the first input holds token numbers, the probe is at their embedding. If it holds other integers (which
    example inputs tell), the probe is at the one place where they become floating.

    Raises ``PlaceError``, and ``NotFloating`` if a place holds integers, booleans or complex numbers.
    """
    if inputs is None:
        probes = [Probe("x1", _first(gm))]
    else:
        names = [inputs] if isinstance(inputs, str) else list(inputs)
        if not names or len(set(names)) != len(names):
            raise PlaceError(f"inputs={inputs!r} names no place, or one twice")
        spelled = ["x1" if len(names) == 1 else f"x1_{_identifier(name)}" for name in names]
        probes = [Probe(x1, find_place(gm, name)) for x1, name in zip(spelled, names)]
    for probe in probes:
        _check(probe.node)
    return probes


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def _first(gm: fx.GraphModule) -> fx.Node:
    first = next((n for n in gm.graph.nodes if n.op == "placeholder"), None)
    if first is None:
        raise PlaceError("the model takes no input")
    return _looked_up(first) or (_entry(first) if _is_discrete(first) else first)


def _looked_up(node: fx.Node) -> fx.Node | None:
    """The embedding that looks token numbers up, where the probes enter; None for other inputs."""
    for user in node.users:
        rule = info(user).rule
        if rule == "embedding" and bound(user)["input"] is node:
            return user
        found = (
            _looked_up(user) if rule in ("reshape", "to", "long", "int", "identity", "contiguous") else None
        )
        if found is not None:
            return found
    return None


def _entry(first: fx.Node) -> fx.Node:
    """The one value in which an input of integers becomes floating.

    A decision that becomes floating (``(x > 9).double()``) counts only if there is no other place, because
    decisions on floating inputs are frozen, too.
    """
    values, decisions = _discrete(first)
    found = _distinct(_floating_users(values)) or _distinct(_floating_users(values | decisions))
    if len(found) == 1:
        return found[0]
    dtype = str(dtype_of(first)).removeprefix("torch.")
    name = info(first).place or first.name
    if not found:
        raise NotFloating(
            f"the input {name} is of {dtype}, and nothing floating is computed from it that could be probed"
        )
    shown = "\n".join(f"  {_name(n)} at {source_of(n)}" for n in found)
    raise NotFloating(
        f"the input {name} is of {dtype}, and becomes floating in {len(found)} places, "
        f"all of which would have to be probed:\n{shown}\n"
        f"Cast once, and use that value; or name places with inputs=, as inputs={_name(found[0])!r}"
    )


def _discrete(first: fx.Node) -> tuple[set[fx.Node], set[fx.Node]]:
    """(values that are not floating and have the numbers of the input, decisions on these values)."""
    values: set[fx.Node] = {first}
    decisions: set[fx.Node] = set()
    for node in first.graph.nodes:
        if node is first or node.op in ("placeholder", "get_attr", "output") or not _is_discrete(node):
            continue
        read = set(node.all_input_nodes)
        rule = rule_of(node)
        if read & values and (rule is None or rule.verb != "constant"):
            values.add(node)
        elif read & (values | decisions):
            decisions.add(node)
    return values, decisions


def _floating_users(nodes: set[fx.Node]) -> Iterator[fx.Node]:
    """The floating nodes that have one of the nodes as an input, in the order of the graph."""
    for node in next(iter(nodes)).graph.nodes:
        if is_floating(node) and nodes & set(node.all_input_nodes):
            yield node


def _distinct(nodes: Iterator[fx.Node]) -> list[fx.Node]:
    """The nodes without repetitions: a second ``x.double()`` is replaced by the first."""
    found: list[fx.Node] = []
    for node in nodes:
        same = next((n for n in found if _call(n) == _call(node) and not acts(node)), None)
        if same is None:
            found.append(node)
        else:
            node.replace_all_uses_with(same)
    return found


def _call(node: fx.Node) -> tuple:
    return node.op, node.target, node.args, node.kwargs


def _check(node: fx.Node) -> None:
    dtype = dtype_of(node)
    if dtype is None or dtype.is_floating_point:
        return
    kind = str(dtype).removeprefix("torch.")
    behind = "torch.view_as_real" if dtype.is_complex else "the cast"
    raise NotFloating(
        f"the place {_name(node)} at {source_of(node)} holds values of {kind}; expected real floating ones,"
        f" in which F can be linear. Name a place behind {behind} with inputs= (fxscope.places(model) lists"
        " them)"
    )


def _name(node: fx.Node) -> str:
    return info(node).place or node.name


def _is_discrete(node: fx.Node) -> bool:
    dtype = dtype_of(node)
    return dtype is not None and not dtype.is_floating_point and not dtype.is_complex
