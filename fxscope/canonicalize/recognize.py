"""Hand-written spellings that op-by-op rules would read differently from their fused form.

Most spellings need no recognition: x * sigmoid(x), 0.5 x (1 + erf(x/sqrt 2)) or x * rsqrt(mean(x^2) + eps) give the fused
unit's F because the product freezes the bounded, or the reduced, factor. Two do need it: the centring x - mean(x) of a
hand-written normalisation (frozen by ``stats``, linear by itself), and exp / sum(exp), which is a softmax.
The computation of y0 stays as the user wrote it; only the rule that covers the node changes.
"""

from __future__ import annotations

import torch.fx as fx

from ..ir import info, mark
from .spell import bound

KEY = "recognized"


def recognize(gm: fx.GraphModule) -> None:
    """Mark the nodes of hand-written centrings and softmaxes with the rule that covers them and its arguments."""
    for node in gm.graph.nodes:
        if info(node).rule == "sub":
            _centring(node)
        elif info(node).rule == "div":
            _softmax(node)


def same_value(a, b) -> bool:
    """Whether two arguments compute the same value: one node, or the same operator on the same values, written twice."""
    if not isinstance(a, fx.Node) or not isinstance(b, fx.Node):
        return type(a) is type(b) and (len(a) == len(b) and all(map(same_value, a, b)) if isinstance(a, (list, tuple)) else a == b)
    if a is b:
        return True
    alike = a.op == b.op and a.target == b.target and a.op in ("call_function", "call_method") and not a.is_impure()
    return alike and a.kwargs.keys() == b.kwargs.keys() and same_value(a.args, b.args) and all(same_value(a.kwargs[k], b.kwargs[k]) for k in a.kwargs)


def _centring(node: fx.Node) -> None:
    x, mean = bound(node)["x"], bound(node)["other"]
    if not isinstance(mean, fx.Node) or info(mean).rule != "mean":
        return
    of = bound(mean)
    if of["x"] is not x or not of["keepdim"] or of["dim"] is None:
        return
    centres = [u for u in x.users if info(u).rule in ("sub", "center") and same_value(u, node)]
    if any(_is_spread(user, of["dim"]) for centre in (x, *centres) for user in centre.users):
        node.meta[KEY] = {"x": x, "dim": of["dim"], "mean": mean}
        mark(node, rule="center")


def _is_spread(node: fx.Node, dim) -> bool:
    """var(x, dim), std(x, dim), or the mean of a square over the same dimensions."""
    rule = info(node).rule
    if rule in ("var", "std"):
        return _dims(bound(node)["dim"]) == _dims(dim)
    squares = rule in ("square",) or rule == "pow" and bound(node)["exponent"] == 2 or rule == "mul" and len(node.all_input_nodes) == 1
    return squares and any(info(u).rule in ("mean", "sum") and _dims(bound(u)["dim"]) == _dims(dim) for u in node.users)


def _dims(dim) -> tuple:
    return tuple(dim) if isinstance(dim, (list, tuple)) else (dim,)


def _softmax(node: fx.Node) -> None:
    """e / sum(e, dim, keepdim=True) with e = exp(z) is softmax(z, dim)."""
    e, total = bound(node)["x"], bound(node)["other"]
    if not isinstance(e, fx.Node) or not isinstance(total, fx.Node) or info(e).rule != "exp" or info(total).rule != "sum":
        return
    of = bound(total)
    if same_value(of["x"], e) and of["keepdim"] and isinstance(of["dim"], (int, list, tuple)) and len(_dims(of["dim"])) == 1:
        node.meta[KEY] = {"x": bound(e)["x"], "dim": _dims(of["dim"])[0]}
        mark(node, rule="softmax")
