"""Max unpooling: linear in x, which is put at the indices of another pooling.

Where an index occurs twice, it is frozen which write won.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.ir import info
from ..twins import Unpool
from ._of_node import bound
from .declare import Sample, linear
from .max_pool import window

_SHAPES = {1: (2, 3, 4), 2: (2, 3, 4, 3), 3: (2, 3, 3, 2, 2)}


def _indices(shape):
    """One place a window of two: what pooling by 2 could have given."""

    def draw(rng):
        size, index = [2 * s for s in shape[2:]], torch.zeros(shape, dtype=torch.int64)
        for d, length in enumerate(shape[2:]):
            start = 2 * torch.arange(length).view([-1] + [1] * (len(size) - d - 1))
            index = index * size[d] + start + torch.randint(0, 2, shape, generator=rng)
        return index

    return draw


def _repeated(shape):
    """Any places: some occur twice, as those of overlapping windows do."""
    return lambda rng: torch.randint(0, math.prod(2 * s for s in shape[2:]), shape, generator=rng)


def _apart(call, n):
    """Whether the indices are those of a pooling in this graph whose windows do not overlap."""
    node = call.arguments["indices"]
    source = (
        node.args[0]
        if isinstance(node, torch.fx.Node) and node.args and isinstance(node.args[0], torch.fx.Node)
        else None
    )
    if source is None or info(source).rule != f"max_pool{n}d_with_indices":
        return False
    a = bound(source)
    w = window(n, a["kernel_size"], a["stride"], a["padding"], a["dilation"])
    return w is not None and all(d * (k - 1) < s for k, s, d in zip(w.kernel, w.stride, w.dilation))


def _rule(n, function, module):
    def kept(x, indices, y):
        """Whether an entry is what y holds at its index.

        Of equal entries it is the last one, the order in which one thread writes.
        """
        index, value = indices.flatten(-n), x.flatten(-n)
        places = torch.ones_like(index).cumsum(-1)
        found = torch.gather(y.flatten(-n), -1, index)
        seen = torch.where((found == value) | (found != found) & (value != value), places, 0)
        last = torch.scatter_reduce(
            torch.zeros_like(y.flatten(-n), dtype=torch.int64), -1, index, seen, "amax"
        )
        return (torch.gather(last, -1, index) == places).view_as(x)

    def twin(x, indices, kernel_size, stride=None, padding=0, output_size=None, *, call, y):
        keep = None if _apart(call, n) else kept(x, indices, y)
        return Unpool(indices, torch.zeros_like(y), keep, n, call.rank("x") or n + 2)

    # the shorter form of the call belongs to the module, whose indices are an argument of forward
    adapter = lambda m: {"kernel_size": m.kernel_size, "stride": m.stride, "padding": m.padding}  # noqa: E731
    samples = tuple(
        Sample(_SHAPES[n], {"kernel_size": 2}, tensors={"indices": draw(_SHAPES[n])}, independent_batch=False)
        for draw in (_indices, _repeated)
    )
    return linear(
        f"max_unpool{n}d",
        function,
        twin,
        modules={module: adapter},
        input_rank=n + 2,
        samples=samples,
        formula="y1 = x1 at the frozen indices, 0 elsewhere",
        source="the paper, eq. 7",
    )


UNPOOL_1, UNPOOL_2, UNPOOL_3 = (
    _rule(1, F.max_unpool1d, nn.MaxUnpool1d),
    _rule(2, F.max_unpool2d, nn.MaxUnpool2d),
    _rule(3, F.max_unpool3d, nn.MaxUnpool3d),
)
