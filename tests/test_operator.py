"""The operator: products, rows, columns, algebra, contributions, memory modes, and what it refuses."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torchvision
from small import Small
from torch import nn

import fxscope
from fxscope import models
from fxscope.analysis import Contributions
from fxscope.emit import FORMS
from fxscope.errors import FxscopeError, ImagesMix, NonFinite, PlaceIndexError, ShapeError
from fxscope.linop import Filters
from fxscope.testing import randomize

D = torch.float64


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=D)


class Overflowing(nn.Module):
    """Finite until its norm divides by nothing."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3).double(), nn.InstanceNorm2d(4, eps=0.0)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x * 0)))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    x0 = image(1, 2, 9, 10)
    return randomize(Small().double().eval(), x0), x0


@pytest.fixture(scope="module")
def lin(small):
    return fxscope.interpret(*small)


def test_the_affine_map(small, lin):
    model, x0 = small
    assert torch.equal(lin.y0, model(x0)) and lin.x0 is x0 and 0 < lin.error < 1e-14
    assert torch.allclose(lin(x0), lin.y0, rtol=1e-12)
    u = image(3, 5, 2, 9, 10, seed=1)
    assert torch.allclose(lin(u) - lin.residual[0], lin.F @ u, atol=1e-12) and lin(u).shape == (
        3,
        5,
        3,
        10,
        10,
    )


def test_rows_columns_and_the_matrix(small, lin):
    F = lin.F
    dense = F.to_dense(progress=False)
    assert dense.shape == F.shape == (300, 180)
    jacobian = torch.func.jacrev(lambda x: small[0](x[None])[0].flatten())(small[1][0]).reshape(300, 180)
    assert torch.allclose(dense, jacobian, atol=1e-12)  # piecewise linear
    assert torch.allclose(F.row((2, 4, 7)).flatten(), dense[2 * 100 + 47], atol=1e-13)
    assert torch.allclose(F.column((1, 3, 5)).flatten(), dense[:, 90 + 35], atol=1e-13)
    assert torch.allclose(
        F.rows([(0, 0, 0), (2, -1, -1)], progress=False).flatten(1), dense[[0, 299]], atol=1e-13
    )
    assert torch.allclose(
        F.columns([(0, 0, 0), (1, 8, 9)], progress=False).flatten(1), dense[:, [0, 179]].T, atol=1e-13
    )
    rows = dict(F.iter_rows(((0, 0, i) for i in range(7)), chunk=3, out_device="cpu"))
    assert list(rows) == [(0, 0, i) for i in range(7)] and torch.allclose(
        rows[0, 0, 6].flatten(), dense[6], atol=1e-13
    )


def test_indices_with_slices_masks_and_weights(lin):
    dense = lin.F.to_dense(progress=False).reshape(3, 10, 10, 180)
    assert torch.allclose(
        lin.F.row((0, slice(2, 5), slice(None))).flatten(), dense[0, 2:5].sum((0, 1)), atol=1e-12
    )
    mask = image(3, 10, 10, seed=2) > 0.5
    assert torch.allclose(lin.F.row(mask).flatten(), dense[mask].sum(0), atol=1e-12)
    assert torch.allclose(
        lin.F.row({(0, 1, 1): 1.0, (2, 3, 3): -0.5}).flatten(),
        dense[0, 1, 1] - 0.5 * dense[2, 3, 3],
        atol=1e-12,
    )


def test_flat_scipy_and_the_transpose(lin):
    sparse_linalg = pytest.importorskip("scipy.sparse.linalg")
    dense = lin.F.to_dense(progress=False)
    v, u = image(180, 4, seed=3), image(300, seed=4)
    assert torch.allclose(lin.F.flat @ v, dense @ v, atol=1e-12) and torch.allclose(
        lin.F.flat.T @ u, dense.T @ u, atol=1e-12
    )
    assert torch.allclose(lin.F.flat.rmatvec(u), dense.T @ u, atol=1e-12) and lin.F.T.T.shape == lin.F.shape
    assert torch.allclose(lin.F.T.to_dense(progress=False), dense.T, atol=1e-12)
    found = sparse_linalg.svds(lin.F.to_scipy(), k=3, return_singular_vectors=False)
    assert torch.allclose(torch.as_tensor(sorted(found)), torch.linalg.svdvals(dense)[:3].flip(0), rtol=1e-9)
    solution = sparse_linalg.lsqr(
        lin.F.to_scipy(), (dense @ v[:, 0]).numpy(), atol=1e-12, btol=1e-12, iter_lim=2000
    )[0]
    # lsqr stops at its own tolerance
    assert torch.allclose(dense @ torch.as_tensor(solution), dense @ v[:, 0], atol=1e-6)


def test_algebra_and_restriction(lin):
    dense, F = lin.F.to_dense(progress=False), lin.F
    gram = (F.T @ F).to_dense(progress=False)
    assert torch.allclose(gram, dense.T @ dense, atol=1e-11)
    assert torch.allclose((2 * F - F * 0.5 + -F).to_dense(progress=False), 0.5 * dense, atol=1e-12)
    assert torch.allclose((sum([F, F]) / 4).to_dense(progress=False), 0.5 * dense, atol=1e-12)
    part = F.restrict(inputs=(slice(None), slice(0, 3)), outputs=(0,)).to_dense(progress=False)
    keep_in, keep_out = torch.zeros(2, 9, 10, dtype=D), torch.zeros(3, 10, 10, dtype=D)
    keep_in[:, :3], keep_out[0] = 1, 1
    assert torch.allclose(part, keep_out.flatten()[:, None] * dense * keep_in.flatten(), atol=1e-12)
    with pytest.raises(ShapeError):
        F @ F


def test_memory_modes_agree(small, lin):
    u, v = image(2, 2, 9, 10, seed=5), image(2, 3, 10, 10, seed=6)
    held = {}
    for memory in ("record", "packed", "recompute"):
        other = fxscope.interpret(*small, memory=memory, chunk=1)
        assert torch.allclose(other.F @ u, lin.F @ u, atol=1e-13) and torch.allclose(
            other.F.T @ v, lin.F.T @ v, atol=1e-13
        )
        held[memory] = other.nbytes
    assert held["record"] > held["packed"] > held["recompute"] == 0
    floats = [n for n, s in lin.states.items() if s.is_floating_point() and s.numel()]
    assert len(floats) == 1 and lin.states[floats[0]].shape == (
        4,
        2,
        3,
        3,
    ), "a mask would do; the convolution's weight holds its batch norm"


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        return torch.relu(self.conv(x - 0.5 * x.mean(0, keepdim=True)))


class LaterImages(Mixing):
    def forward(self, x):
        return torch.relu(self.conv(torch.cat([x[:1], x[1:] + 0.3 * x[:-1]])))


@pytest.mark.parametrize("make", [Mixing, LaterImages])
def test_contributions_where_images_mix(make):
    """F x0 is then the sum over all images that the output depends on."""
    torch.manual_seed(0)
    x0 = image(3, 2, 6, 6, seed=3)
    lin = fxscope.interpret(randomize(make().double(), x0), x0)
    for index in ((0, 1, 1), [(0, 1, 1), (2, 0, 3), (1, 2, 2)]):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ImagesMix)
            found = lin.contributions(index)
        each = index if isinstance(index, list) else [index] * 3
        exact = torch.stack([lin.y0[(b, *place)] for b, place in enumerate(each)])
        assert (found.linear + found.residual - exact).abs().max() < 1e-12 and found.error < 1e-12
    with pytest.raises(FxscopeError, match="mix"):
        found.by_token()


def test_images_that_mix_are_seen(small):
    x0 = image(3, 2, 6, 6, seed=3)
    lin = fxscope.interpret(Mixing().double(), x0)
    for ask in (lin.F.row, lin.F.column):
        with pytest.warns(ImagesMix):
            ask((0, 1, 1))
    assert fxscope.interpret(Mixing().double(), x0[:1]).F.row((0, 1, 1)).shape == (2, 6, 6)
    later = fxscope.interpret(LaterImages().double(), x0)
    with pytest.warns(ImagesMix):  # the first image reads no other
        later.F.row((0, 1, 1))
    # its statistics are those of the batch, and frozen
    frozen = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).double().train()
    for model, images in ((frozen, x0), (small[0], image(3, 2, 9, 10))):
        fxscope.interpret(model, images).F.row((0, 1, 1))


def test_passes_are_of_one_size(small, monkeypatch):
    lin = fxscope.interpret(*small, chunk=7)
    sizes, forward = [], lin.F._forward
    monkeypatch.setattr(lin.F, "_forward", lambda v: sizes.append(len(v)) or forward(v))
    probes = image(8, 2, 9, 10, seed=5)
    assert torch.allclose(lin.F @ probes, fxscope.interpret(*small, chunk=1).F @ probes, atol=1e-13)
    assert sizes == [4, 4]


def test_deterministic_algorithms_are_honoured(small, lin):
    """The transpose of a max-pool whose windows overlap is a scatter_add.

    CUDA sums it in any order unless asked; on a CPU its order is fixed.
    """
    v = image(2, 3, 10, 10, seed=6)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = (fxscope.interpret(*small).F.T @ v for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first, again) and torch.allclose(first, lin.F.T @ v, atol=1e-13)


def test_batches_are_block_diagonal():
    torch.manual_seed(0)
    x0 = image(2, 2, 9, 10)
    model = randomize(Small().double().eval(), x0)
    both, alone = fxscope.interpret(model, x0), [fxscope.interpret(model, x0[i : i + 1]) for i in (0, 1)]
    index = (1, 4, 4)
    assert torch.allclose(both.F.row(index), torch.stack([a.F.row(index) for a in alone]), atol=1e-12)
    assert torch.allclose(both.F.row([index, (0, 0, 0)])[1], alone[1].F.row((0, 0, 0)), atol=1e-12)
    assert both.contributions(index).error < 1e-12 and both.contributions(index).linear.shape == (2,)


def test_contributions_sum_to_the_output(small, lin):
    c = lin.contributions((2, 4, 7))
    assert c.error < 1e-12 and abs(c.residual - lin.residual[0, 2, 4, 7].item()) < 1e-12
    assert {t.kind for t in c.terms} == {"bias", "shift"} and [t.module for t in c.terms] == [
        "conv",
        "norm",
        "out",
    ]
    assert c.by_layer().keys() == {"conv", "norm", "out"}
    elements = c.elementwise()
    assert (
        elements["conv"].shape == (1, 4, 5, 5)
        and abs(sum(e.sum().item() for e in elements.values()) - c.residual) < 1e-12
    )
    assert "F x0" in c._repr_html_() and '"terms"' in c.to_json()


def test_results_are_saved_with_their_origin(small, lin, tmp_path):
    c = lin.contributions((2, 4, 7))
    again = Contributions.load(c.save(tmp_path / "c.safetensors"))
    assert (
        again.terms == c.terms
        and again.output == c.output
        and again.error == c.error
        and again.index == "(2, 4, 7)"
    )
    assert (
        again.origin == c.origin == lin.F.origin()
        and len(c.origin["weights"]) == len(c.origin["image"]) == 16
        and again.by_layer() == c.by_layer()
    )
    with pytest.raises(FxscopeError, match="from a file"):
        again.elementwise()
    rows = lin.F.filters(rows=[(2, 4, 7), (0, slice(None), 1)], progress=False)
    loaded = Filters.load(rows.save(tmp_path / "rows.safetensors"))
    assert (
        loaded.kind == "row"
        and loaded.indices == rows.indices
        and loaded.origin == c.origin
        and torch.equal(loaded.values, rows.values)
    )
    assert (
        torch.equal(loaded[0], lin.F.row((2, 4, 7)))
        and "Small" in loaded._repr_html_()
        and '"largest"' in loaded.to_json()
    )
    columns = lin.F.filters(columns=[(1, 3, 5)], progress=False)
    assert torch.equal(columns[0], lin.F.column((1, 3, 5))) and len(columns.plot().axes) == 2
    for bad in (
        lambda: Filters.load(tmp_path / "c.safetensors"),
        lambda: Contributions.load(tmp_path / "none.safetensors"),
        lambda: lin.F.filters(),
        lambda: c.save(tmp_path / "c.pt"),
    ):
        with pytest.raises(FxscopeError):
            bad()
    both = fxscope.interpret(small[0], image(2, 2, 9, 10)).contributions((1, 4, 4))
    assert torch.equal(Contributions.load(both.save(tmp_path / "both.safetensors")).output, both.output)


def test_contributions_are_fullgrads_for_relu_networks():
    """FullGrad: the gradient of the output with respect to every bias, times the bias."""
    torch.manual_seed(0)
    x0 = image(1, 3, 64, 64)
    model = randomize(torchvision.models.squeezenet1_1(weights=None).double().eval(), x0)
    got = fxscope.interpret(model, x0).contributions(5)
    named = {n: p for n, p in model.named_parameters() if n.endswith("bias")}
    grads = torch.autograd.grad(model(x0)[0, 5], list(named.values()))
    expected = {n.removesuffix(".bias"): (g * p).sum().item() for (n, p), g in zip(named.items(), grads)}
    assert {t.module for t in got.terms} == set(expected)
    assert all(abs(t.value - expected[t.module]) < 1e-11 for t in got.terms) and got.error < 1e-11


def test_smooth_units_have_no_constants_but_what_they_add():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.Softplus(), nn.Conv2d(4, 2, 1)).double()
    c = fxscope.interpret(model, image(1, 2, 6, 6)).contributions((0, 1, 1))
    assert [t.kind for t in c.terms] == ["intercept", "bias"] and c.error < 1e-12


def test_taps_and_what_enters_beside_them():
    torch.manual_seed(0)
    x0 = image(1, 3, 64, 64)
    model = randomize(torchvision.models.resnet18(weights=None).double().eval(), x0)
    lin = fxscope.interpret(model, x0, inputs="layer3.0.conv1", outputs="layer4")
    assert lin.x.shape == (1, 256, 4, 4) and torch.allclose(lin(lin.x), lin.y0, atol=1e-10)
    c = lin.contributions((3, 1, 1))
    assert c.error < 1e-10 and any(t.kind == "frozen" for t in c.terms), (
        "the skip connection around the tap is a frozen constant"
    )


def test_gap(small, lin):
    x0 = small[1]
    assert lin.gap(x0)["error"] < 1e-12 and lin.gap(x0)["changed"] == 0
    far = lin.gap(x0 + image(*x0.shape, seed=9))
    assert far["error"] > 1e-3 and 0 < far["changed"] < 1


def test_structures_of_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 3), nn.Linear(6, 4)

        def forward(self, x):
            h = torch.relu(self.a(x))
            return {"image": h, "scores": self.b(h.mean((2, 3)).repeat(1, 2))}

    torch.manual_seed(0)
    model, x0 = Two().double(), image(1, 2, 7, 7)
    lin = fxscope.interpret(model, x0)
    row = lin.F.row(("scores", 2))
    assert torch.allclose(row, torch.func.jacrev(lambda x: model(x[None])["scores"][0, 2])(x0[0]), atol=1e-12)
    u = image(2, 7, 7, seed=1)
    assert torch.allclose(
        (lin.F @ u)["image"], torch.func.jvp(lambda x: model(x)["image"], (x0,), (u[None],))[1][0], atol=1e-12
    )
    with pytest.raises(PlaceIndexError, match="has no tensor"):
        lin.F.row(("nothing", 2))


def test_train_mode_statistics_are_not_updated():
    torch.manual_seed(0)
    x0 = image(4, 2, 9, 10)
    model = Small().double().train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    lin = fxscope.interpret(model, x0)
    assert lin.residual.shape == lin.y0.shape
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


def test_bad_input(small, lin):
    model, x0 = small
    for index in ((3, 0, 0), (0, 0, 99), (0, 0, 0, 0), "a"):
        with pytest.raises(PlaceIndexError):
            lin.F.row(index)
    for empty in (
        {},
        (0, slice(5, 5), 0),
        torch.zeros(3, 10, 10, dtype=torch.bool),
        None,
        True,
        (0, None, 1),
    ):
        with pytest.raises(PlaceIndexError):
            lin.F.row(empty)
    with pytest.raises(ShapeError, match="got a numpy array"):
        lin.F @ image(2, 9, 10).numpy()
    with pytest.raises(ShapeError, match="chunk=-1"):
        next(lin.F.iter_rows([(0, 0, 0)], chunk=-1))
    with pytest.raises(PlaceIndexError):
        lin.F.receptive_field((0, slice(0, 2), 1))
    with pytest.raises(TypeError):
        lin.F * lin.F
    for v in (image(2, 9, 9), image(2, 9, 10).float(), image(3, 9, 10), torch.zeros(9, 10, dtype=D)):
        with pytest.raises(ShapeError):
            lin.F @ v
    assert lin.F.rows([]).shape == (0, 2, 9, 10) and (lin.F @ torch.zeros(0, 2, 9, 10, dtype=D)).shape == (
        0,
        3,
        10,
        10,
    )
    with pytest.raises(ValueError, match="memory"):
        fxscope.interpret(model, x0, memory="disk")
    bad = x0.clone()
    bad[0, 0, 3, 3] = float("nan")
    with pytest.raises(NonFinite, match="x holds NaN"):
        fxscope.interpret(model, bad)
    with pytest.raises(NonFinite, match="norm holds NaN or infinite values.*test_operator.py"):
        fxscope.interpret(Overflowing(), x0)
    with pytest.raises(FxscopeError):
        lin.F.flat @ image(7)


def test_cancelled_half_way_leaves_nothing_broken(lin):
    rows = lin.F.iter_rows([(0, 0, i) for i in range(10)], chunk=2)
    next(rows)
    with pytest.raises(KeyboardInterrupt):
        rows.throw(KeyboardInterrupt)
    assert lin.F.row((0, 0, 1)).shape == (2, 9, 10)


@pytest.mark.turns(3)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_scripts_and_compiles(small, form):
    model, x0 = small
    graph = fxscope.transform(model, form)
    y0 = model(x0).detach()
    with torch.no_grad():
        _, state = fxscope.transform(model, "record")(x0)
    given = {
        "pair": (x0, x0),
        "filter": (x0, x0),
        "residual": (x0,),
        "adjoint": (x0, y0),
        "row": (x0, torch.tensor([7])),
        "argmax": (x0,),
        "record": (x0,),
        "replay": (list(state), x0),
        "pullback": (list(state), y0),
    }[form]
    expected = torch.utils._pytree.tree_leaves(graph(*given))
    for other in (torch.jit.script(graph), torch.compile(graph, backend="aot_eager")):
        got = torch.utils._pytree.tree_leaves(other(*given))
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(got, expected, strict=True))


def test_losses_on_F_and_r_are_differentiable(small):
    model, x0 = small
    adjoint, residual = fxscope.transform(model, "adjoint"), fxscope.transform(model, "residual")
    y2 = image(1, 3, 10, 10, seed=8)
    assert torch.autograd.gradcheck(lambda y: adjoint(x0, y), (y2.requires_grad_(),))
    loss = adjoint(x0, y2).square().sum() + residual(x0).square().sum()
    grads = torch.autograd.grad(loss, list(model.parameters()))
    assert all(torch.isfinite(g).all() and g.abs().sum() > 0 for g in grads)


def test_vmap_over_probes(small):
    model, x0 = small
    filter = fxscope.transform(model, "filter")
    u = image(3, 1, 2, 9, 10, seed=2)
    assert torch.allclose(
        torch.func.vmap(lambda v: filter(x0, v))(u), torch.stack([filter(x0, v) for v in u]), atol=1e-12
    )


def test_bicubic_rows_do_not_depend_on_the_photograph():
    model = models.bicubic4x().double()
    rows = [fxscope.interpret(model, image(1, 1, 8, 8, seed=s)).F.row((0, 13, 17)) for s in (0, 1)]
    assert torch.equal(*rows) and rows[0].count_nonzero() == 16


@pytest.mark.full
def test_columns_in_single_precision_do_not_cancel():
    """DenseNet's residual hides y1 - r; the filter graph never computes it."""
    torch.manual_seed(0)
    x0 = torch.randn(1, 3, 64, 64)
    model = randomize(torchvision.models.densenet121(weights=None).eval(), x0)
    delta = torch.zeros_like(x0)
    delta[0, 1, 30, 31] = 1
    with torch.no_grad():
        truth = fxscope.transform(copy.deepcopy(model).double(), "filter")(x0.double(), delta.double())
        pair, filter, residual = (fxscope.transform(model, form) for form in ("pair", "filter", "residual"))
        direct, difference = filter(x0, delta), pair(x0, delta)[1] - residual(x0)
    errors = [(y.double() - truth).norm() / truth.norm() for y in (direct, difference)]
    assert errors[0] < 1e-5 and errors[1] > 100 * errors[0]


class Regions(nn.Module):
    """Three regions of an image stand where its batch was."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        h = torch.relu(self.conv(x))
        return torch.cat((h[:, :, :2, :2], h[:, :, 1:3, 2:4], h[:, :, 4:, 4:]))


class Listed(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return [self.inner(x)]


def test_an_output_without_the_batch_is_indexed_whole_or_refused():
    torch.manual_seed(0)
    net, x = Regions().double(), torch.randn(1, 1, 6, 6, dtype=torch.float64)
    lin = fxscope.interpret(net, x)
    J = torch.autograd.functional.jacobian(net, x)
    assert (lin.F.row((2, 1, 0, 1)) - J[2, 1, 0, 1, 0]).abs().max() < 1e-12 * J.abs().max()
    listed = fxscope.interpret(Listed(net), x)
    for index in ((0, 1, 0, 1), (0, 0, 1, 0, 1)):  # with the position of the tensor in the list, or without
        assert torch.equal(listed.F.row(index), lin.F.row((0, 1, 0, 1)))
    with pytest.raises(PlaceIndexError, match="not the batch of 1"):
        lin.contributions((2, 1, 0, 1))
    two = fxscope.interpret(net, torch.cat((x, x + 1)))
    with pytest.raises(PlaceIndexError, match="without the batch of 2"):
        two.F.row((1, 0, 1))
