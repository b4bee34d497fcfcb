"""Support boxes from the graph, and the whole of F as a sparse matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import fxscope
from fxscope import models
from fxscope.errors import NotLocal, PlaceIndexError
from fxscope.linop.local.sparse import colours
from fxscope.testing import randomize

D = torch.float64
pytest.importorskip("scipy")


class Local(nn.Module):
    """Strides, an overlapping pool, a transposed convolution, bilinear upsampling.

    Mirrored borders, concatenation, GroupNorm.
    """

    def __init__(self):
        super().__init__()
        self.a, self.down, self.norm = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, stride=2, padding=1),
            nn.GroupNorm(2, 4),
        )
        self.up, self.out = (
            nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1),
            nn.Conv2d(8, 2, 3, padding=1, padding_mode="reflect"),
        )

    def forward(self, x):
        a = torch.relu(self.a(x))
        b = F.max_pool2d(F.silu(self.norm(self.down(a))), 3, 2, 1)
        c = F.interpolate(torch.relu(self.up(b)), scale_factor=2.0, mode="bilinear")
        return self.out(torch.cat([a, c], 1))


NETWORKS = {
    "local": (Local, (2, 24, 32)),
    "dncnn": (lambda: models.DnCNN(features=8), (1, 40, 24)),
    "edsr": (models.edsr_baseline, (3, 8, 9)),
    "pixelshuffle": (models.PixelShuffleNet, (1, 16, 13)),
    "cyclegan": (lambda: models.cyclegan(6), (3, 32, 32)),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), (3, 64, 64)),
}


def interpreted(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    x0 = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0), dtype=D)
    model = make().double().eval()
    return fxscope.interpret(randomize(model, x0) if name != "cyclegan" else model, x0)


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_lies_outside_the_fields(name):
    lin = interpreted(name)
    rng = torch.Generator().manual_seed(1)
    for _ in range(3):
        i, j = (
            tuple(int(torch.randint(n, (1,), generator=rng)) for n in shape)
            for shape in (lin.F.outputs.shape, lin.F.inputs.shape)
        )
        for found, field in (
            (lin.F.row(i), lin.F.receptive_field(i)),
            (lin.F.column(j), lin.F.projective_field(j)),
        ):
            inside = found[field.box].count_nonzero()
            assert inside == found.count_nonzero() > 0
    assert lin.F.receptive_field(i).full == (name in ("resnet18", "cyclegan", "edsr"))


@pytest.mark.turns(3)
@pytest.mark.parametrize(("size", "passes"), [((8, 8), 64), ((16, 13), 121), ((9, 20), 99)])
def test_the_pixelshuffle_network_takes_eleven_by_eleven_passes(size, passes):
    lin = fxscope.interpret(
        models.pixelshuffle4x().double(),
        torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0), dtype=D),
    )
    assert lin.F.passes() == passes
    sparse = lin.F.to_sparse(progress=False)
    assert sparse.format == "csr" and sparse.has_canonical_format
    assert np.abs(sparse.toarray() - lin.F.to_dense(progress=False).numpy()).max() < 1e-12


@pytest.mark.parametrize("name", ["local", pytest.param("dncnn", marks=pytest.mark.full)])
def test_sparse_equals_dense(name):
    lin = interpreted(name)
    sparse = lin.F.to_sparse(progress=False)
    assert sparse.format == "csr" and sparse.has_canonical_format
    assert lin.F.passes() < min(lin.F.shape)
    assert np.abs(sparse.toarray() - lin.F.to_dense(progress=False).numpy()).max() < 1e-12


def test_a_patch_of_f_is_sparse_too():
    F = interpreted("local").F
    inside = F.restrict(inputs=(0, slice(1, 4), slice(2, 6))) * -0.5
    assert (
        np.abs(inside.to_sparse(progress=False).toarray() - inside.to_dense(progress=False).numpy()).max()
        < 1e-12
    )
    assert inside.to_sparse(progress=False).nnz < F.to_sparse(progress=False).nnz and inside.receptive_field(
        (0, 2, 3)
    ) == F.receptive_field((0, 2, 3))
    with pytest.raises(NotLocal, match="not for"):
        (F + F).to_sparse()


def test_a_network_that_shrinks_is_probed_by_rows():
    model = nn.Sequential(nn.Conv2d(1, 2, 4, stride=4), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1)).double()
    lin = fxscope.interpret(
        randomize(model, torch.randn(1, 1, 24, 24, dtype=D)), torch.randn(1, 1, 24, 24, dtype=D)
    )
    sparse = lin.F.to_sparse(progress=False)
    assert lin.F.passes() == 9 and sparse.format == "csr" and sparse.has_canonical_format
    assert np.abs(sparse.toarray() - lin.F.to_dense(progress=False).numpy()).max() < 1e-12


def test_what_is_not_local_says_so():
    lin = interpreted("resnet18")
    with pytest.raises(NotLocal, match="1000 passes"):
        lin.F.to_sparse()
    with pytest.raises(NotLocal, match="not for transposes"):
        lin.F.T.to_sparse()
    with pytest.raises(PlaceIndexError):
        lin.F.receptive_field((1000,))


def test_colours_are_as_few_as_the_deepest_overlap():
    assert colours([(0, 2), (1, 3), (3, 5), (6, 6)]) == [0, 1, 0, 0]
    assert max(colours([(i - 5, i + 5) for i in range(40)])) == 10
