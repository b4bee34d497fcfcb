"""What is kept of x0: the paper's Table 1, packed states bit for bit."""

from __future__ import annotations

import json

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import fxscope
from fxscope import models
from fxscope.linop.memory import Packed, pack
from fxscope.rules.max_pool import window

TABLE_1 = [
    (lambda: torchvision.models.vgg19(weights=None).eval(), (1, 3, 224, 224), 14_860_288),
    (models.cyclegan, (1, 3, 256, 256), 23_068_672),
    (models.edsr, (1, 3, 270, 480), 1_061_683_200),
]


@pytest.mark.turns(3)
@pytest.mark.parametrize(("make", "shape", "floats"), TABLE_1, ids=["vgg19", "cyclegan", "edsr"])
def test_table_1(make, shape, floats):
    kept = fxscope.storage(make(), shape)
    assert kept.activations == floats and kept.table_1["KiB"] == floats * 4 / 1024
    masks = next(line for line in kept.lines if line.part == "masks")
    assert masks.recorded <= 1.05 * floats and masks.packed <= 1.05 * floats / 8
    if shape[-1] != 224:  # in VGG masks stand behind the max-pools, a quarter of the bits
        assert masks.recorded >= 0.95 * floats and masks.packed >= 0.95 * floats / 8
    assert json.loads(kept.to_json())["packed"] == kept.packed and "Table 1" in str(kept)


def test_what_is_counted_is_what_is_held():
    model = torchvision.models.vgg11(weights=None).eval()
    x0 = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    counted = fxscope.storage(model, tuple(x0.shape))
    assert fxscope.interpret(model, x0).nbytes == counted.recorded
    assert fxscope.interpret(model, x0, memory="packed").nbytes == counted.packed


@pytest.mark.full
def test_the_packed_state_of_vgg19_takes_less_than_two_mebibytes():
    model = torchvision.models.vgg19(weights=None).eval()
    x0 = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert fxscope.interpret(model, x0, memory="packed").nbytes < 2 * 2**20


@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (17,), (2, 8)])
def test_masks_come_back(shape):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.5
    assert torch.equal(Packed(mask, 1).unpack(), mask)


POOLS = [
    (F.max_pool1d_with_indices, (2, 3, 11), {"kernel_size": 3, "stride": 2, "padding": 1}),
    (F.max_pool2d_with_indices, (2, 3, 11, 8), {"kernel_size": 2}),
    (
        F.max_pool2d_with_indices,
        (2, 3, 11, 9),
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True},
    ),
    (F.max_pool2d_with_indices, (1, 2, 13, 13), {"kernel_size": 3, "stride": 1, "dilation": 2}),
    (F.max_pool3d_with_indices, (1, 2, 7, 6, 5), {"kernel_size": 3, "stride": 2, "padding": 1}),
    (F.max_pool2d_with_indices, (1, 1, 40, 40), {"kernel_size": 17, "stride": 5}),
]


@pytest.mark.parametrize(("function", "shape", "options"), POOLS)
def test_indices_come_back(function, shape, options):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    index = function(x, **options)[1]
    n = len(shape) - 2
    where = window(
        n,
        options["kernel_size"],
        options.get("stride"),
        options.get("padding", 0),
        options.get("dilation", 1),
    )
    packed = pack(index, (where, shape[2:]))
    assert torch.equal(packed.unpack(), index) and packed.unpack().dtype == torch.int64
    assert packed.bits.nbytes <= index.numel() * 2


def test_the_linear_part_is_the_same_without_the_passes():
    from fxscope.emit.forward import emit_forward
    from fxscope.emit.pipeline import program_of
    from fxscope.emit.transposed import emit_adjoint
    from fxscope.passes.optimize import optimized
    from fxscope.testing import laws, randomize

    model = (
        nn.Sequential(
            nn.Conv2d(3, 6, 3, groups=3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(6, 4, 3),
            nn.BatchNorm2d(4, affine=False),
            nn.ReLU(),
        )
        .double()
        .eval()
    )
    rng = torch.Generator().manual_seed(0)
    x0, v = (
        torch.randn(2, 3, 16, 16, generator=rng, dtype=torch.float64),
        torch.randn(4, 3, 16, 16, generator=rng, dtype=torch.float64),
    )
    randomize(model, x0)
    program = program_of(model)
    merged = optimized(program)
    kinds = [r.twin.kind for r in merged.tape]
    assert kinds == ["conv", "select", "mask", "conv", "mask"]
    plain, fast = emit_forward(program, "filter", "flat"), emit_forward(merged, "filter", "flat")
    assert laws.distance(fast(x0, v), plain(x0, v)) < 1e-12
    y2 = plain(x0, v)
    assert laws.distance(emit_adjoint(merged, "flat")(x0, y2), emit_adjoint(program, "flat")(x0, y2)) < 1e-12
    with torch.no_grad():
        model[0].weight.mul_(2)  # parameters are shared: nothing is stale
    assert laws.distance(fast(x0, v), plain(x0, v)) < 1e-12


def test_a_batch_norm_of_another_precision_is_not_folded():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3).bfloat16(), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x0 = torch.randn(1, 3, 8, 8).bfloat16()
    filter = fxscope.transform(model, "filter")
    y = filter(x0, x0)
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()
