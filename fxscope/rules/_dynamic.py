"""Layers whose weight or bias may be computed from the probe: dynamic convolution, hypernetworks.

The weight is the gate of the layer, and frozen, where the input depends on the probe too. The bias is added,
and so stays linear. Under "taylor" the layer is a product: W0 x1 + W1 x0 - W0 x0 + b1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..twins import Add, Index, Offset
from .declare import Rule, differentiated, linear


def dynamic(name: str, target: Callable, twin: Callable, **fields: Any) -> Rule:
    """A linear layer; ``twin`` asks ``call.variant`` whether a computed weight is frozen."""
    return differentiated(linear(name, target, twin, carries=("x", "weight", "bias"), **fields), twin)


def layered(
    call: Any, y: Any, bias: Any, of_x: Callable, of_weight: Callable, key: tuple, lift: int | None
) -> tuple:
    """The twin of a layer whose weight, bias, or both depend on the probe.

    ``of_x(bias)`` and ``of_weight()`` are the twins of its two factors, with their inputs; ``key`` gives the
    bias the dimensions of the output, but for ``lift`` of them in front.
    """
    x, weight = call.value("x") is not None, call.value("weight") is not None
    moves = call.arguments["bias"] is not None and call.value("bias") is not None
    fixed = None if moves else bias
    spread = None if bias is None else bias[key] if key else bias
    product = y if bias is None else y - spread
    if x and weight and call.variant == "taylor":
        both = [call.record(*of_x(fixed), like=y), call.record(*of_weight(), like=y)]
        both = [call.record(Add(1, (0, 0)), both, like=y)]
        total = call.record(Offset(product, -1, grows=False), both, like=y)
    elif x:
        total = call.record(*of_x(fixed), like=y)
    elif weight:
        total = call.record(*of_weight(), like=y)
        if fixed is not None:
            total = call.record(Offset(spread, 1, 0, grows=False), [total], like=y)
    else:
        return Offset(product, 1, lift), [_added(call, spread, key)]
    if not moves:
        return None, [total]
    return Add(1, (0, lift)), [total, _added(call, spread, key)]


def _added(call: Any, spread: Any, key: tuple) -> Any:
    """The bias on the tape, with the dimensions of the output."""
    value = call.value("bias")
    if not key:
        return value
    rank = call.rank("bias")
    return call.record(Index(key), [value], like=spread, rank=rank and rank + key.count(None))
