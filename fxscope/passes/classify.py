"""Classify every node as const, sized, shape, frozen or affine, with the variant that the policy chose."""

from __future__ import annotations

import difflib
from typing import Any

import torch
import torch.fx as fx

from ..errors import UnsupportedOperator
from ..frontend.symbolic import source_of
from ..graph.draws import draws
from ..graph.ir import info, mark, notes
from ..rules import registry
from ..rules._of_node import bound, rounds, rule_of
from ..rules.declare import DERIVATIVE
from ..rules.derivative import derivative
from ..twins.base import nodes_of
from .canonicalize import size_nodes
from .policy import Policy


def classify(gm: fx.GraphModule, taps: list[fx.Node], policy: Policy) -> fx.GraphModule:
    """Write role and variant on every node; ``taps`` are the nodes whose values the probes replace.

    Raises ``UnsupportedOperator``, which lists every operator on the path of a probe that no rule covers.
    """
    sizes = size_nodes(gm.graph)
    offenders: list[tuple[fx.Node, str]] = []
    for node in gm.graph.nodes:
        mark(node, role=_role(node, taps, sizes, policy, offenders))
    if offenders:
        raise unsupported(offenders)
    for node in gm.graph.nodes:
        if node.target is derivative:
            _of_value(node)
    return gm


def _of_value(node: fx.Node) -> None:
    """Let a derivative's node compute the operator's own value; what it is read by its rule stays."""
    notes(node)["recognized"] = bound(node)
    y = notes(node)["recognized"]["y"]
    node.op, node.target, node.args, node.kwargs = "call_method", "expand_as", (y, y), {}


def _role(node: fx.Node, taps: list, sizes: set, policy: Policy, offenders: list) -> str:
    if node in taps:
        return "affine"
    if node.op == "placeholder":
        return "frozen"
    if node.op == "get_attr":
        return "const"
    inputs = [info(n).role for n in [*node.all_input_nodes, *nodes_of(notes(node).get("recognized"))]]
    if node in sizes:
        return "shape"
    if node.op == "output":
        return "affine" if "affine" in inputs else "frozen"
    if notes(node).get("held") and "affine" in inputs:
        return "frozen"
    if "affine" in inputs:
        return _on_the_path(node, policy, offenders)
    if "frozen" in inputs or draws(node):  # a draw has one value in all forms
        return "frozen"
    return "sized" if "shape" in inputs or "sized" in inputs else "const"


def _on_the_path(node: fx.Node, policy: Policy, offenders: list) -> str:
    """The role of a node with an affine input: affine, or frozen if its rule freezes the input."""
    if is_structure(node):
        return "affine"
    if rounds(node):
        return "frozen"
    rule = rule_of(node)
    if rule is None:
        offenders.append((node, notes(node).get("unspelled", "no rule covers it")))
        return "affine"
    if rule.name == "getitem" and _takes_indices(node):
        return "frozen"
    if rule.verb not in _OF_COMPLEX and _is_complex(node):
        offenders.append((node, f"its rule {rule.name} is about real values"))
        return "affine"
    variant = policy.variant(node, rule)
    mark(node, variant=variant)
    if variant == DERIVATIVE:
        offenders.append((node, f"its rule {rule.name} has no variant that is its derivative"))
        return "affine"
    if rule.variants[variant] is None:
        return "frozen"
    arguments = bound(node)
    carried = [name for name in rule.carries if _affine(arguments.get(name))]
    allowed = (*rule.carries, *rule.ignores, *(rule.frozen if variant != "taylor" else ()))
    other = [name for name, value in arguments.items() if name not in allowed and _affine(value)]
    if other:
        under = ' under "taylor"' if set(other) & set(rule.frozen) else ""
        may = f"only {', '.join(rule.carries) or 'nothing'} may{under}"
        offenders.append((node, f"its {', '.join(other)} depends on the probe; {may}"))
    return "affine" if carried else "frozen"


_OF_COMPLEX = ("linear", "product", "composite", "constant")


def _is_complex(node: fx.Node) -> bool:
    """Whether the example showed that a node reads complex values."""
    values = (notes(n).get("val") for n in node.all_input_nodes)
    return any(isinstance(v, torch.Tensor) and v.is_complex() for v in values)


def is_structure(node: fx.Node) -> bool:
    """A constructor of an output structure (a dataclass or namedtuple), which computes nothing."""
    return (
        node.op == "call_function"
        and isinstance(node.target, type)
        and not issubclass(node.target, (int, float, bool))
    )


def _takes_indices(node: fx.Node) -> bool:
    """Whether a node is item 1 or later of max(dim), topk or sort: the indices, which are constants."""
    source = bound(node)["x"]
    rule = rule_of(source) if isinstance(source, fx.Node) else None
    return rule is not None and rule.yields == "values" and bound(node)["index"] != 0


def _affine(value: Any) -> bool:
    """Whether an affine value is in an argument."""
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return any(info(n).role == "affine" for n in found)


def _name(node: fx.Node) -> str:
    if node.op == "call_module":
        owner: Any = node.graph.owning_module
        return type(owner.get_submodule(node.target)).__name__
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def unsupported(offenders: list[tuple[fx.Node, str]]) -> UnsupportedOperator:
    """The error that lists all offenders, each with its line and the nearest rule."""
    error = UnsupportedOperator(_report(offenders), tuple(_name(n) for n, _ in offenders))
    error.exported = tuple(dict.fromkeys(notes(n).get("exported", "") for n, _ in offenders))
    error.derived = frozenset(notes(n).get("exported", "") for n, _ in offenders if _derived(n))
    return error


def _derived(node: fx.Node) -> bool:
    """Whether a node has a rule, whose derivative the policy asks for."""
    return info(node).variant == DERIVATIVE


def _report(offenders: list[tuple[fx.Node, str]]) -> str:
    known = list(registry().rules) + [c.__name__ for c in registry().modules]
    have = "node has" if len(offenders) == 1 else "nodes have"
    what = "derivative" if all(_derived(n) for n, _ in offenders) else "rule"
    lines = [f"{len(offenders)} {have} no {what} on the path of the probe:"]
    for node, reason in offenders:
        near = _nearest(_name(node), known)
        # the operator's own rule is no help, since it does not know the form
        nearest = f"; nearest rule: {near}" if near and near != _name(node) else ""
        lines.append(f"  {_name(node)} ({info(node).place}) at {source_of(node)}\n    {reason}{nearest}")
    if any(node.op == "call_module" for node, _ in offenders):
        lines.append(
            "With example_inputs=(x0, ...) the model goes through torch.export, which writes torch.nn's own"
            " modules out."
        )
    if any(_derived(node) for node, _ in offenders):
        lines.append(
            "Give that rule a variant taylor=, or piecewise=True if what it freezes is the slope; with"
            " example_inputs=(x0, ...) its derivative by autograd stands for it."
        )
    lines.append("Add a rule with fxscope.register_rule, or tap around the operator with inputs= / outputs=.")
    return "\n".join(lines)


def _nearest(name: str, known: list[str]) -> str | None:
    """A rule whose name differs by a letter or two, or else is a third of the name (erf of erfinv)."""
    name = name.lower().removeprefix("special_")
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    if close:
        return close[0]
    parts = [rule for rule in known if rule.lower() in name and len(rule) > 0.35 * len(name)]
    return max(parts, key=len, default=None)
