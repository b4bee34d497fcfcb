"""Max unpooling where an index occurs twice: which write won on x0 is frozen.

And the max poolings that give such indices.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope

D = torch.float64
POOLS = {
    1: (F.max_pool1d, F.max_unpool1d),
    2: (F.max_pool2d, F.max_unpool2d),
    3: (F.max_pool3d, F.max_unpool3d),
}


class Unpooled(nn.Module):
    """Pooling, a unit, and unpooling at the pool's indices, as segmentation networks do."""

    def __init__(self, n, output_size=None, **pool):
        super().__init__()
        self.n, self.pool, self.output_size = n, pool, output_size

    def forward(self, x):
        pool, unpool = POOLS[self.n]
        y, index = pool(x, **self.pool, return_indices=True)
        return unpool(
            torch.relu(y),
            index,
            self.pool["kernel_size"],
            self.pool.get("stride"),
            self.pool.get("padding", 0),
            self.output_size,
        )


class At(nn.Module):
    """Unpooling at indices of its own, every one of which occurs several times."""

    def __init__(self, n, shape):
        super().__init__()
        self.n = n
        self.register_buffer("index", torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(3)))

    def forward(self, x):
        return POOLS[self.n][1](torch.tanh(x), self.index.expand_as(x), 2)


SHAPES = {1: (1, 2, 12), 2: (1, 2, 7, 8), 3: (1, 2, 4, 6, 4)}
CASES = {
    **{f"overlapping {n}": (Unpooled(n, SHAPES[n][2:], kernel_size=3, stride=1), SHAPES[n]) for n in POOLS},
    **{
        f"padded {n}": (Unpooled(n, SHAPES[n][2:], kernel_size=3, stride=2, padding=1), SHAPES[n])
        for n in POOLS
    },
    **{f"apart {n}": (Unpooled(n, kernel_size=2), SHAPES[n]) for n in POOLS},
    **{f"repeated {n}": (At(n, SHAPES[n]), SHAPES[n]) for n in POOLS},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    """Several threads race for an index that occurs twice.

    torch's own result then differs from run to run.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _near(a, b):
    assert (a - b).abs().max() < 1e-10


@pytest.mark.turns(3)
@pytest.mark.parametrize("policy", ["freeze", "taylor"])
@pytest.mark.parametrize("name", CASES)
def test_the_write_that_won_is_frozen(name, policy):
    model, shape = CASES[name]
    x0 = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=D)
    lin = fxscope.interpret(model, x0, policy=policy)
    n, out = x0.numel(), lin.y0.numel()
    rows = lin.F.T.to_dense().reshape(n, out).T
    dense = lin.F.to_dense().reshape(out, n)
    _near(lin.y0, model(x0))
    _near(rows, dense)
    _near(dense @ x0.reshape(-1) + lin.residual.reshape(-1), lin.y0.reshape(-1))
    if policy == "taylor" or isinstance(model, Unpooled):
        assert (dense - _by_differences(model, x0)).abs().max() < 1e-7


def _by_differences(model, x0):
    """The Jacobian without autograd, whose backward pass of unpooling does not know which write won."""
    step, columns = 1e-6, []
    for i in range(x0.numel()):
        e = torch.zeros_like(x0).reshape(-1)
        e[i] = step
        columns.append((model(x0 + e.view_as(x0)) - model(x0 - e.view_as(x0))).reshape(-1) / (2 * step))
    return torch.stack(columns, 1)


def test_images_of_a_batch_have_winners_of_their_own():
    model, x0 = (
        Unpooled(2, (7, 8), kernel_size=3, stride=1),
        torch.randn(3, 2, 7, 8, generator=torch.Generator().manual_seed(0), dtype=D),
    )
    lin = fxscope.interpret(model, x0)
    v = torch.randn(4, 3, 2, 7, 8, generator=torch.Generator().manual_seed(1), dtype=D)
    got = lin.F @ v
    for b in range(3):
        _near(got[:, b], fxscope.interpret(model, x0[b : b + 1]).F @ v[:, b])
    emitted = fxscope.transform(model, "filter")(x0, v.flatten(0, 1))
    _near(emitted.view(got.shape), got)
