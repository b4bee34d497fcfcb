"""Replace upsamplings to sizes that are no multiples of their steps, which an ONNX Resize does not know.

The transpose of a max-pool upsamples to the sizes of its input. ONNX gives either sizes or steps: the steps,
and the result is cut to the sizes.
"""

from __future__ import annotations

from typing import Any

import torch.fx as fx
import torch.nn.functional as F

from ..twins.frozen import ENLARGE


def as_interpolations(gm: fx.GraphModule) -> fx.GraphModule:
    """Replace these upsamplings by ``interpolate`` and slices, in place."""
    tracer = fx.proxy.GraphAppendingTracer(gm.graph)
    for node in list(gm.graph.nodes):
        if node.target not in ENLARGE.values():
            continue
        arguments: Any = node.args
        y, sizes, *steps = arguments
        with gm.graph.inserting_before(node):
            given: Any = fx.Proxy(y, tracer)
            result: Any = F.interpolate(given, scale_factor=steps, mode="nearest")
            for d, size in enumerate(sizes, -len(steps)):
                result = result.narrow(d, 0, fx.Proxy(size, tracer) if isinstance(size, fx.Node) else size)
        node.replace_all_uses_with(result.node)
        gm.graph.erase_node(node)
    gm.recompile()
    return gm
