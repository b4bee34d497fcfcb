"""Replace transposed convolutions by convolutions, which onnxruntime computes twice as fast.

If the stride is 1, the transpose of a convolution is a convolution with flipped kernel and exchanged
channels. The weights are constants in the file, so the runtime flips them once, when it loads the file. Other
runtimes would copy them at every call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.fx as fx

from ..graph.constants import attribute_value
from ..graph.ir import info
from ..twins.convolution import FORWARD, SPATIAL, TRANSPOSED, per_axis


def as_convolutions(gm: fx.GraphModule) -> fx.GraphModule:
    """Replace transposed convolutions of the interpreter branch by convolutions, in place.

    Only those with stride 1 and a constant weight are replaced.
    """
    for node in list(gm.graph.nodes):
        if node.target in TRANSPOSED.values() and info(node).branch == "interpreter" and len(node.args) == 8:
            _replace(gm, node)
    gm.recompile()
    return gm


def _replace(gm: fx.GraphModule, node: fx.Node) -> None:
    arguments: tuple[Any, ...] = node.args
    y, weight, _, stride, padding, more, groups, dilation = arguments
    n = SPATIAL[cast(Callable, node.target)]
    convolution: Any = FORWARD[n]
    kernel = _shape(gm, weight)
    if kernel is None or per_axis(stride, n) != [1] * n or per_axis(more, n) != [0] * n:
        return
    full = [d * (k - 1) - p for d, k, p in zip(per_axis(dilation, n), kernel[2:], per_axis(padding, n))]
    if min(full) < 0:
        return  # a padding wider than the kernel crops the output, which a convolution cannot do
    tracer = fx.proxy.GraphAppendingTracer(gm.graph)
    with gm.graph.inserting_before(node):
        result = convolution(
            fx.Proxy(y, tracer),
            _flipped(fx.Proxy(weight, tracer), groups, n),
            None,
            1,
            full,
            dilation,
            groups,
        ).node
    node.replace_all_uses_with(result)
    gm.graph.erase_node(node)


def _flipped(weight: Any, groups: int, n: int) -> Any:
    """(out, in/groups, ...) -> (in, out/groups, ...), with every spatial dimension flipped."""
    exchanged = (
        weight.transpose(0, 1)
        if groups == 1
        else weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    )
    return exchanged.flip([2 + i for i in range(n)])


def _shape(gm: fx.GraphModule, weight: fx.Node) -> torch.Size | None:
    """Shape of a weight, which is a parameter or the product of one with a factor per channel."""
    while weight.target is operator.mul and isinstance(weight.args[0], fx.Node):
        weight = weight.args[0]
    return attribute_value(gm, str(weight.target)).shape if weight.op == "get_attr" else None
