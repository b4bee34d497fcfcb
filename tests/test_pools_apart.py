"""The transpose of a max-pool whose windows lie apart is a masked upsampling, with the bits of autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from drawn import crossed
from torch import nn

import fxscope
from fxscope.export import save
from fxscope.twins.frozen import Window

D = torch.float64
SIZES = {1: (2, 3, 19), 2: (2, 3, 17, 20), 3: (2, 3, 9, 8, 7)}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
APART = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.MaxPool2d(3, 3, 1),
    nn.MaxPool2d((2, 3), (2, 3), (1, 1), ceil_mode=True),
    nn.MaxPool2d(2, 3),
    nn.MaxPool2d(2, 3, dilation=2),
    nn.MaxPool1d(2),
    nn.MaxPool1d(3, 3, 1),
    nn.MaxPool3d(2, ceil_mode=True),
]


def made(pool):
    torch.manual_seed(0)
    n = next(n for n in (1, 2, 3) if str(n) in type(pool).__name__)
    model = nn.Sequential(CONVOLUTIONS[n](3, 4, 3), nn.ReLU(), pool, CONVOLUTIONS[n](4, 4, 1))
    return model.to(D).eval(), torch.randn(SIZES[n], dtype=D)


def transposed(model, x0, v):
    """F^T v of every probe, by autograd of the untouched model."""
    x = x0.clone().requires_grad_()
    y = model(x)
    return torch.stack([torch.autograd.grad(y, x, each, retain_graph=True)[0] for each in v])


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    ("pool", "channels_last", "memory"),
    crossed(APART, [False, True], ["record", "packed", "recompute"]),
    ids=str,
)
def test_no_scatter_and_the_same_bits(pool, channels_last, memory):
    model, x0 = made(pool)
    if channels_last:
        if x0.dim() != 4:
            return
        model, x0 = (
            model.to(memory_format=torch.channels_last),
            x0.to(memory_format=torch.channels_last),
        )
    lin = fxscope.interpret(model, x0, memory=memory)
    assert "scatter" not in lin.prepared.pullback.code and "interpolate" in lin.prepared.pullback.code
    v = torch.randn(3, *lin.y0.shape, dtype=D)
    got, expected = lin.F.T @ v, transposed(model, x0, v)
    if channels_last:  # convolutions of K images together and of one are summed in another order there
        assert torch.allclose(got, expected, rtol=0, atol=1e-13)
    else:
        assert torch.equal(got, expected)
    replayed = (lin.F @ x0[None])[0] + lin.residual
    assert torch.allclose(replayed, lin.y0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("pool", APART, ids=str)
def test_forms_that_run_x0(pool):
    model, x0 = made(pool)
    v = torch.randn(1, *model(x0).shape, dtype=D)
    adjoint = fxscope.transform(model, "adjoint", example_inputs=(x0,))
    assert "interpolate" in adjoint.code
    expected = transposed(model, x0, v)[0]
    assert torch.equal(adjoint(x0, v[0]), expected)
    assert torch.equal(torch.jit.script(adjoint)(x0, v[0]), expected)
    index = torch.tensor([3, 5])
    _, row, _ = fxscope.transform(model, "row", example_inputs=(x0,))(x0, index)
    hot = torch.zeros_like(v)
    hot[0].flatten(1)[torch.arange(2), index] = 1
    assert torch.equal(row, transposed(model, x0, hot)[0])


def test_the_first_of_equal_entries_and_a_place_that_no_window_reads():
    model = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 1, bias=False)).to(D).eval()
    nn.init.ones_(model[1].weight)
    x0 = torch.zeros(1, 1, 5, 5, dtype=D)
    row = fxscope.interpret(model, x0).F.T @ torch.ones(1, 1, 2, 2, dtype=D)
    expected = torch.zeros(5, 5, dtype=D)
    expected[0:4:2, 0:4:2] = 1
    assert torch.equal(row.reshape(5, 5), expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_small_sizes(step, ceil_mode):
    """Upsamplings of torch take short cuts at some sizes; one and two windows meet them."""
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(step, ceil_mode=ceil_mode)).to(D).eval()
    reader = fxscope.prepare(model, torch.randn(1, 2, 9, 7, dtype=D))
    for height, width in itertools.product(range(step, 3 * step + 2), repeat=2):
        x0 = torch.randn(1, 2, height, width, dtype=D)
        lin = reader(x0)
        v = torch.randn(2, *lin.y0.shape, dtype=D)
        assert torch.equal(lin.F.T @ v, transposed(model, x0, v))
    assert len(reader._kinds) == 1


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 1)], ids=str)
def test_windows_that_overlap_are_scattered(pool):
    model, x0 = made(pool)
    lin = fxscope.interpret(model, x0)
    assert "scatter" in lin.prepared.pullback.code
    v = torch.randn(2, *lin.y0.shape, dtype=D)
    assert torch.allclose(lin.F.T @ v, transposed(model, x0, v), rtol=0, atol=1e-13)


def test_which_windows_lie_apart():
    """A step that float32 does not divide by exactly is left to the scatter."""
    apart = {s: Window((2,), (s,), (0,), (1,)).apart for s in range(1, 70)}
    assert not apart[1] and all(apart[s] for s in range(2, 17)) and not apart[64]
    for s in (s for s, whole in apart.items() if whole):
        up = torch.nn.functional.interpolate(torch.arange(1000.0).reshape(1, 1, -1), scale_factor=float(s))
        assert torch.equal(up.flatten(), torch.arange(1000.0).repeat_interleave(s))


@pytest.mark.turns(3)
@pytest.mark.parametrize("format", ["onnx", "pt2", "ts"])
def test_files_of_sizes_that_windows_do_not_fill(format, tmp_path):
    """Saved graphs are compared with fxscope when they are written; odd sizes decide."""
    model, x0 = made(nn.MaxPool2d(2))
    model, x0 = model.float(), x0.float()
    row = fxscope.transform(model, "row", probes="stacked", example_inputs=(x0,))
    parts = fxscope.transform(model, "pullback", probes="stacked", example_inputs=(x0,))
    record = fxscope.transform(model, "record", probes="stacked", example_inputs=(x0,))
    state = record(x0)[1]
    index = torch.randint(50, (3, 2))
    assert max(save(row, tmp_path / f"row.{format}", (x0, index)).errors) < 1e-5
    y2 = torch.randn(3, *model(x0).shape)
    assert max(save(parts, tmp_path / f"pullback.{format}", (list(state), y2)).errors) < 1e-5
