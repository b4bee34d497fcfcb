"""Recognize hand-written functions whose operators, one by one, give another F than the fused form.

Most spellings need no recognition. x * sigmoid(x), 0.5 x (1 + erf(x/sqrt 2)) and x * rsqrt(mean(x^2) + eps)
give the F of the fused unit, because a product freezes the bounded, or the reduced, factor.

These do need it: the centring x - mean(x) of a hand-written normalisation (frozen by ``stats``, linear by
itself); exp / sum(exp), which is a softmax; x - logsumexp(x), which is a log-softmax; sigmoid and softplus
written with an exponential.

The computation of y0 stays as the user wrote it. Only the rule that covers the node changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.fx as fx

from ...graph.ir import info, mark, notes
from ...rules._of_node import bound


def recognize(gm: fx.GraphModule) -> None:
    """Mark the nodes of functions written by hand with the rule that covers them, and its arguments."""
    for node in gm.graph.nodes:
        for look in _LOOKS.get(info(node).rule, ()):
            found = look(node)
            if found is not None:
                notes(node)["recognized"] = found[1]
                mark(node, rule=found[0])
                break


def same_value(a: Any, b: Any) -> bool:
    """Whether two arguments are the same value: one node, or the same operator on the same values."""
    if not isinstance(a, fx.Node) or not isinstance(b, fx.Node):
        if type(a) is not type(b):
            return False
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(map(same_value, a, b))
        return a == b
    if a is b:
        return True
    if a.op not in ("call_function", "call_method") or a.is_impure():
        return False
    if (a.op, a.target, a.kwargs.keys()) != (b.op, b.target, b.kwargs.keys()):
        return False
    return same_value(a.args, b.args) and all(same_value(a.kwargs[k], b.kwargs[k]) for k in a.kwargs)


@dataclass(frozen=True)
class Reduction:
    """A value reduced over dimensions that are kept with size one, or inserted again after the reduction."""

    rule: str
    x: fx.Node
    dims: tuple


def reduction(node: Any) -> Reduction | None:
    """Match ``sum(x, dim, keepdim=True)`` or ``sum(x, dim).unsqueeze(dim)``, for any reducing operator."""
    if not isinstance(node, fx.Node):
        return None
    inserted = _inserted(node)
    source = bound(node)["x"] if inserted is not None else node
    rule = info(source).rule
    if rule == "getitem":  # the values of max(dim)
        source = bound(source)["x"]
        rule = info(source).rule if isinstance(source, fx.Node) else None
    if rule not in ("sum", "mean", "amax", "max", "logsumexp"):
        return None
    of = bound(source)
    if of.get("dim") in (None, [], ()) or of["keepdim"] is (inserted is not None):
        return None
    dims = _dims(of["dim"])
    return Reduction(rule, of["x"], dims) if inserted is None or inserted == dims else None


def _inserted(node: fx.Node) -> tuple | None:
    """The dimension that ``unsqueeze(d)`` or ``[:, None]`` inserts; None for other nodes."""
    if info(node).rule == "unsqueeze":
        return (bound(node)["dim"],)
    if info(node).rule != "getitem" or not isinstance(bound(node)["index"], tuple):
        return None
    key = bound(node)["index"]
    if key.count(None) != 1 or not all(k is None or k is Ellipsis or k == slice(None) for k in key):
        return None
    place = key.index(None)
    behind = len(key) - place
    return (-behind,) if Ellipsis in key[:place] else (place,)


def _centring(node: fx.Node) -> tuple[str, dict] | None:
    """Match ``x - mean(x)``, with a spread over the same dimensions: the first half of a normalisation."""
    x, mean = bound(node)["x"], bound(node)["other"]
    if not isinstance(mean, fx.Node) or info(mean).rule != "mean":
        return None
    of = bound(mean)
    if of["x"] is not x or not of["keepdim"] or of["dim"] is None:
        return None
    centres = [u for u in x.users if info(u).rule in ("sub", "center") and same_value(u, node)]
    if any(_is_spread(user, of["dim"]) for centre in (x, *centres) for user in centre.users):
        return "center", {"x": x, "dim": of["dim"], "mean": mean}
    return None


def _is_spread(node: fx.Node, dim: Any) -> bool:
    """Match var(x, dim), std(x, dim), or the mean of a square over the same dimensions."""
    rule = info(node).rule
    if rule in ("var", "std"):
        return _dims(bound(node)["dim"]) == _dims(dim)
    squares = (
        rule == "square"
        or (rule == "pow" and bound(node)["exponent"] == 2)
        or (rule == "mul" and len(node.all_input_nodes) == 1)
    )
    return squares and any(
        info(u).rule in ("mean", "sum") and _dims(bound(u)["dim"]) == _dims(dim) for u in node.users
    )


def _dims(dim: Any) -> tuple:
    return tuple(dim) if isinstance(dim, (list, tuple)) else (dim,)


def _softmax(node: fx.Node) -> tuple[str, dict] | None:
    """Match ``e / sum(e, dim)`` with e = exp(z), which is softmax(z, dim)."""
    e, total = bound(node)["x"], reduction(bound(node)["other"])
    if total is None or total.rule != "sum" or len(total.dims) != 1 or _argument(e, "exp") is None:
        return None
    if same_value(total.x, e) and isinstance(total.dims[0], int):
        return "softmax", {"x": _argument(e, "exp"), "dim": total.dims[0]}
    return None


def _log_softmax(node: fx.Node) -> tuple[str, dict] | None:
    """Match ``z - logsumexp(z, dim)``, which is log_softmax(z, dim).

    The sum of exponentials may have any spelling, and z may be x minus its maximum.
    """
    z, rest = bound(node)["x"], bound(node)["other"]
    if not isinstance(z, fx.Node) or not isinstance(rest, fx.Node):
        return None
    total = _log_of_sum(rest)
    if total is None or len(total.dims) != 1 or not same_value(total.x, z):
        return None
    return "log_softmax", {"x": _unshifted(z, total.dims), "dim": total.dims[0]}


def _log_of_sum(node: fx.Node) -> Reduction | None:
    """Match log(sum(exp(z), dim)) or logsumexp(z, dim), with the dimension kept or inserted again."""
    whole = reduction(node)
    if whole is not None and whole.rule == "logsumexp":
        return whole
    inside = _argument(node, "log")
    total = None if inside is None else reduction(inside)
    z = None if total is None or total.rule != "sum" else _argument(total.x, "exp")
    return None if total is None or z is None else replace(total, x=z)


def _unshifted(z: fx.Node, dims: tuple) -> fx.Node:
    """The x of ``x - max(x)``, since a shift changes neither softmax nor log_softmax."""
    if info(z).rule != "sub":
        return z
    shift = bound(z)["other"]
    top = reduction(_argument(shift, "detach") or shift)
    if top is None or top.rule not in ("amax", "max") or top.dims != dims:
        return z
    return bound(z)["x"] if same_value(top.x, bound(z)["x"]) else z


def _log_of_softmax(node: fx.Node) -> tuple[str, dict] | None:
    """Match log(softmax(z, dim)), which is log_softmax(z, dim)."""
    inside = bound(node)["x"]
    if not isinstance(inside, fx.Node) or info(inside).rule != "softmax":
        return None
    of = bound(inside)
    return "log_softmax", {"x": of["x"], "dim": of["dim"]}


def _sigmoid(node: fx.Node) -> tuple[str, dict] | None:
    """Match 1 / (1 + exp(-x)), which is sigmoid(x)."""
    inner = _argument(_argument(_one_plus(_inverted(node)), "exp"), "neg")
    return None if inner is None else ("sigmoid", {"x": inner})


def _inverted(node: fx.Node) -> Any:
    """The x of ``1 / x``."""
    rule, of = info(node).rule, bound(node)
    if rule == "div":
        return of["other"] if not isinstance(of["x"], fx.Node) and of["x"] == 1 else None
    return of["x"] if rule == "reciprocal" or of["exponent"] == -1 else None


def _softplus(node: fx.Node) -> tuple[str, dict] | None:
    """Match log(1 + exp(x)), which is softplus(x)."""
    inside = bound(node)["x"]
    x = _argument(inside if info(node).rule == "log1p" else _one_plus(inside), "exp")
    return None if x is None else ("softplus", {"x": x, "beta": 1.0, "threshold": math.inf})


def _one_plus(node: Any) -> Any:
    """The x of ``1 + x``."""
    if not isinstance(node, fx.Node) or info(node).rule != "add":
        return None
    of = bound(node)
    pairs = [(of["x"], of["other"]), (of["other"], of["x"])]
    return next((x for one, x in pairs if not isinstance(one, fx.Node) and one == 1), None)


def _argument(node: Any, rule: str) -> fx.Node | None:
    """The argument of the operator of a rule; None if the node is another operator."""
    if not isinstance(node, fx.Node) or info(node).rule != rule:
        return None
    x = bound(node)["x"]
    return x if isinstance(x, fx.Node) else None


_LOOKS: dict[str | None, tuple[Callable[[fx.Node], tuple[str, dict] | None], ...]] = {
    "sub": (_centring, _log_softmax),
    "div": (_softmax, _sigmoid),
    "reciprocal": (_sigmoid,),
    "pow": (_sigmoid,),
    "log": (_log_of_softmax, _softplus),
    "log1p": (_softplus,),
}
