"""Max unpooling: linear in x, which is put at the indices of another pooling."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Unpool
from .declare import Sample, linear

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


def _rule(n, function, module):
    def twin(x, indices, kernel_size, stride=None, padding=0, output_size=None, *, y):
        return Unpool(indices, torch.zeros_like(y), n, n + 2)

    # the shorter form of the call belongs to the module, whose indices are an argument of forward
    adapter = lambda m: {"kernel_size": m.kernel_size, "stride": m.stride, "padding": m.padding}  # noqa: E731
    samples = (Sample(_SHAPES[n], {"kernel_size": 2}, tensors={"indices": _indices(_SHAPES[n])}, images=False),)
    return linear(
        f"max_unpool{n}d", function, twin, modules={module: adapter}, input_rank=n + 2, samples=samples,
        formula="y1 = x1 at the frozen indices, 0 elsewhere", source="the paper, eq. 7",
    )


UNPOOL_1, UNPOOL_2, UNPOOL_3 = _rule(1, F.max_unpool1d, nn.MaxUnpool1d), _rule(2, F.max_unpool2d, nn.MaxUnpool2d), _rule(3, F.max_unpool3d, nn.MaxUnpool3d)
