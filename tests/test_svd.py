"""The singular value decomposition.

Against dense matrices and scipy, hard spectra, known operators, every method, bad input.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from small import Small
from torch import nn
from torch.utils import _pytree as pytree

import fxscope
from fxscope import models
from fxscope.errors import FxscopeError, NonFinite, NotConverged, ShapeError
from fxscope.linop import SVD, Operator
from fxscope.linop.spaces import Space
from fxscope.testing import randomize

D = torch.float64
LEAF = pytree.tree_structure(torch.zeros(1))


def random(*shape, seed=0, dtype=D):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=D).to(dtype)


def of_matrix(M: torch.Tensor) -> Operator:
    """A matrix as an operator between spaces of vectors."""
    N, n = M.shape
    spaces = (
        Space(name, ((size,),), LEAF, M.dtype, M.device, False) for name, size in (("x1", n), ("y2", N))
    )
    return Operator(lambda v: v @ M.T, lambda u: u @ M, *spaces)


def with_values(values, N, n, seed=0, dtype=D):
    """A random matrix of those singular values."""
    r = len(values)
    U, V = (torch.linalg.qr(random(size, r, seed=seed + i))[0] for i, size in enumerate((N, n)))
    return (U * torch.as_tensor(values, dtype=D) @ V.T).to(dtype)


@contextlib.contextmanager
def quiet():
    """Where a result that has not converged is what is looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        yield


def flat(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.reshape(len(vectors), -1)


def assert_errors_are_true(F: Operator, found: SVD, slack: float = 1e-2) -> None:
    """Every reported error is the norm that products with F give now, within 1 % and what rounding adds."""
    s = found.s.reshape(-1, *[1] * (found.u.dim() - 1))
    forward = flat(F @ found.v - s * found.u).norm(dim=1)
    adjoint = flat(F.T @ found.u - found.s.reshape(-1, *[1] * (found.v.dim() - 1)) * found.v).norm(dim=1)
    rounding = 100 * torch.finfo(found.s.dtype).eps * max(float(found.s.max()), 1e-300)
    assert ((forward - found.forward_errors).abs() <= slack * forward + rounding).all()
    assert ((adjoint - found.adjoint_errors).abs() <= slack * adjoint + rounding).all()
    for vectors in (flat(found.v), flat(found.u)):
        off = (vectors @ vectors.T - torch.eye(len(vectors), dtype=vectors.dtype)).abs().max()
        assert off <= found.orthogonality + rounding


@pytest.fixture(scope="module")
def lin():
    torch.manual_seed(0)
    x0 = random(1, 2, 9, 10)
    return fxscope.interpret(randomize(Small().double().eval(), x0), x0)


METHODS = [
    ("lanczos", {}),
    ("lanczos", {"block": 4}),
    ("dense", {}),
    ("power", {"momentum": "auto"}),
    ("power", {"momentum": 0}),
    ("power", {"momentum": 0.5}),
]
METHODS += [("scipy", {"solver": solver}) for solver in ("arpack", "propack")]


@pytest.mark.turns(2)
@pytest.mark.parametrize(
    ("method", "options"), METHODS, ids=lambda v: v if isinstance(v, str) else ",".join(map(str, v.values()))
)
def test_every_method_against_the_dense_matrix(lin, method, options):
    expected = torch.linalg.svdvals(lin.F.to_dense(progress=False))[:6]
    with quiet():  # propack's tolerance is about values
        found = lin.F.svd(6, method, tol=1e-8, max_passes=20000, **options)
    assert (
        torch.allclose(found.s, expected, rtol=1e-9)
        and (found.converged.all() or method == "scipy")
        and found.method == method
    )
    assert found.v.shape == (6, 2, 9, 10) and found.u.shape == (6, 3, 10, 10)
    assert_errors_are_true(lin.F, found)


def test_the_transpose_and_products_have_theirs(lin):
    F = lin.F
    found, turned = F.svd(5, "lanczos", tol=1e-10), F.T.svd(5, "lanczos", tol=1e-10)
    assert torch.allclose(found.s, turned.s, rtol=1e-12) and turned.v.shape == (5, 3, 10, 10)
    assert torch.allclose((flat(found.u) * flat(turned.v)).sum(1).abs(), torch.ones(5, dtype=D), atol=1e-8)
    assert torch.allclose((F.T @ F).svd(3, "lanczos", tol=1e-10).s, found.s[:3] ** 2, rtol=1e-10)


def test_passes_are_counted(lin, monkeypatch):
    counted = []
    F = lin.F
    for name in ("_forward", "_adjoint"):
        inner = getattr(F, name)
        monkeypatch.setattr(F, name, lambda v, inner=inner: counted.append(v.shape[0]) or inner(v))
    for method, options in [*METHODS, ("randomized", {})]:
        counted.clear()
        with quiet():
            found = F.svd(4, method, **options, max_passes=20000)
        assert found.passes == sum(counted), method


def test_blocks_and_seeds(lin):
    one, again, other = (lin.F.svd(4, "lanczos", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.v, again.v) and torch.equal(one.s, again.s) and not torch.equal(one.v, other.v)
    assert torch.allclose(one.s, other.s, rtol=1e-8)
    wide = lin.F.svd(4, "lanczos", block=8, tol=1e-10)
    assert wide.info["block"] == 8 and torch.allclose(wide.s, one.s, rtol=1e-8)


def test_a_basis_that_is_restarted_finds_the_same(lin, monkeypatch):
    from fxscope.linop.svd import lanczos

    monkeypatch.setattr(lanczos, "BUDGET", 1)
    for block in (1, 3):
        found = lin.F.svd(5, "lanczos", tol=1e-9, block=block)
        assert found.info["restarts"] >= 1 and found.converged.all()
        assert torch.allclose(found.s, torch.linalg.svdvals(lin.F.to_dense(progress=False))[:5], rtol=1e-10)
        assert_errors_are_true(lin.F, found)


def test_more_triplets_from_a_result(lin, tmp_path):
    six = lin.F.svd(6, "lanczos", tol=1e-9)
    six.save(tmp_path / "six.safetensors")
    for start in (
        six,
        SVD.load(tmp_path / "six.safetensors"),
        lin.F.svd(6, "power", tol=1e-9, max_passes=20000),
    ):
        more = lin.F.svd(20, "lanczos", tol=1e-9, start=start)
        assert (
            torch.allclose(more.s, torch.linalg.svdvals(lin.F.to_dense(progress=False))[:20], rtol=1e-10)
            and more.converged.all()
        )
        assert_errors_are_true(lin.F, more)
    assert lin.F.svd(6, "lanczos", tol=1e-9, start=six).passes <= 4, "what was found is not found again"
    guess = (lin.F * 2).svd(6, "lanczos", tol=1e-9, start=six)
    assert torch.allclose(guess.s, 2 * six.s, rtol=1e-10) and guess.converged.all(), (
        "another operator: a guess, not a result"
    )
    with pytest.raises(ShapeError, match="another operator"):
        lin.F.T.svd(6, "lanczos", start=six)


HARD = {
    "repeated": (np.repeat([5.0, 4.0, 3.0, 2.0, 1.0], [3, 1, 4, 2, 20]), 6),
    "repeated above a bulk": (np.concatenate([[3.0, 3.0, 3.0], np.linspace(2, 0.1, 90)]), 5),
    "clustered": (np.concatenate([3 + 1e-7 * np.arange(4)[::-1], np.linspace(2, 0.1, 60)]), 4),
    "rank 3": (np.array([3.0, 2.0, 1.0]), 7),
    "repeated at the top only": (np.concatenate([[3.0, 3.0], np.linspace(2, 0.1, 90)]), 2),
    "decaying": (10.0 ** (-np.arange(0, 30) / 2), 6),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("shape", [(150, 100), (100, 150)])
@pytest.mark.parametrize("name", HARD)
def test_hard_spectra(name, shape, block):
    values, k = HARD[name]
    M = with_values(values, *shape)
    F = of_matrix(M)
    found = F.svd(k, "lanczos", tol=1e-8, block=block)
    expected = torch.linalg.svdvals(M)[:k]
    assert torch.allclose(found.s, expected, rtol=1e-9, atol=1e-13) and found.converged.all()
    assert_errors_are_true(F, found)


def crowded(copies: int) -> torch.Tensor:
    """400 values that crowd at the top, each so many times, largest first."""
    values = 10 * (1 - 0.9 * torch.linspace(0, 1, 400, dtype=D) ** 0.7)
    return values.repeat_interleave(copies)


@pytest.mark.turns(3)
@pytest.mark.parametrize("dtype", [D, torch.float32])
@pytest.mark.parametrize("copies", [1, 2])
def test_values_that_crowd_and_repeat(copies, dtype):
    """As of a batch of equal images.

    A chain holds one of each pair, and its copy has hundreds of neighbours.
    """
    values = crowded(copies).to(dtype)
    for seed in range(3):
        found = of_matrix(torch.diag(values)).svd(6, "lanczos", seed=seed)
        assert (
            torch.allclose(found.s, values[:6], rtol=1e-6) and found.converged.all() and found.info["looked"]
        )
        if copies == 1 and dtype == D:
            assert found.info["risk"] <= 0.05
        elif copies == 1:
            # in single precision rounding would have shown the copies of the first, and to make sure is dear
            assert found.info["look"] == 0 and found.info["risk"] == 1
            assert found.passes == of_matrix(torch.diag(values)).svd(6, "lanczos", seed=seed, look=0).passes
            assert of_matrix(torch.diag(values)).svd(6, "lanczos", seed=seed, look=50).info["risk"] <= 0.05


@pytest.mark.parametrize("mixed", [False, True])
def test_the_risk_of_a_missed_copy_is_what_its_component_says(mixed):
    """<w_j, x> = p_j <w_1, x> for an eigenvector x that a Krylov space does not hold."""
    from fxscope.linop.svd.krylov import Basis
    from fxscope.linop.svd.multiplicity_check import Chance
    from fxscope.linop.svd.rows import Rows

    values = torch.cat([torch.tensor([3.0], dtype=D), torch.linspace(3.0, 0.1, 60, dtype=D)])
    basis = Basis(Rows(of_matrix(torch.diag(values))), 61, torch.Generator().manual_seed(0))
    first = random(1, 61, seed=1)
    first[0, 0] = 0  # the copy is e_0
    basis.append(first, 0.0)
    for _ in range(12):
        basis.grow(1)
    basis.refill()
    component = float(basis.V[basis.total - 1, 0])
    if mixed:
        basis.mix(1)
    chance = Chance(9.0, 61 - basis.total + 1, mixed)
    scale = component / 2**0.5 if mixed else component
    squares = float(basis.V[basis.done : basis.total, 0].square().sum())
    for _ in range(8):
        basis.arrange(np.roll(np.arange(basis.waiting), 1))
        total = basis.total
        basis.grow(1)
        column = basis.H[: basis.total, basis.done - 1]
        chance.add(column[basis.done - 1], column[-1], column[total - 1])
        now = float(basis.V[basis.total - 1, 0])
        squares += now**2
        assert now == pytest.approx(scale * chance.now, abs=1e-10)
    assert squares == pytest.approx(chance.sum * scale**2, abs=1e-10) and squares <= 1 + 1e-12
    assert Chance(9.0, 48, mixed).risk == 1 and chance.risk == pytest.approx(
        min(1, (2 * 49 * (2 if mixed else 1) / (np.pi * chance.sum)) ** 0.5), rel=0.02
    )


def test_a_look_that_was_cut_is_taken_up_again():
    F = of_matrix(with_values(np.concatenate([[3.0, 3.0, 2.0], np.linspace(1, 0.1, 90)]), 150, 100))
    converged = F.svd(2, "lanczos", tol=1e-5, look=0)
    assert converged.s[1] < 2.5, "without a look the copy is missed"
    cut = F.svd(2, "lanczos", tol=1e-5, max_passes=converged.passes + 2)
    assert cut.converged.all() and not cut.info["looked"] and cut.s[1] < 2.5
    again = F.svd(2, "lanczos", tol=1e-5, start=cut)
    assert torch.allclose(again.s, torch.tensor([3.0, 3.0], dtype=D), rtol=1e-9) and again.info["looked"]
    assert F.svd(2, "lanczos", tol=1e-5, start=again).passes <= 4, "a look that has ended is not taken up"


@pytest.mark.parametrize("method", ["lanczos", "dense", "power", "randomized"])
def test_no_rank_one_row_and_nothing_at_all(method):
    for M, k in (
        (torch.zeros(30, 20, dtype=D), 3),
        (random(1, 40), 1),
        (random(40, 1), 1),
        (with_values([2.0], 30, 20), 3),
    ):
        found = of_matrix(M).svd(k, method)
        assert torch.allclose(found.s, torch.linalg.svdvals(M)[:k], rtol=1e-12, atol=1e-12)
        assert found.converged.all() and len(found) == k
        assert_errors_are_true(of_matrix(M), found)


@pytest.mark.parametrize("method", [None, "lanczos", "dense"])
def test_all_of_them(method):
    M = random(24, 17, seed=3)
    found = of_matrix(M).svd(17, method)
    assert torch.allclose(found.s, torch.linalg.svdvals(M), rtol=1e-10) and found.converged.all()
    whole = flat(found.u).T * found.s @ flat(found.v)
    assert torch.allclose(whole, M, atol=1e-11)
    assert of_matrix(M).svd(17).method == "dense" and of_matrix(M).svd(17).passes == 17


def polyphase(H: int, W: int) -> torch.Tensor:
    """sqrt(sum over the phases of |FFT|^2) of bicubic x4's filters, (H, W)."""
    kernel = models.bicubic4x("circular").double().kernel[:, 0]
    placed = torch.zeros(len(kernel), H, W, dtype=D)
    placed[:, :5, :5] = kernel
    return torch.fft.fft2(placed).abs().square().sum(0).sqrt()


@pytest.mark.parametrize(("method", "block"), [("lanczos", 1), ("lanczos", 8), ("dense", None)])
def test_bicubic_has_harmonics(method, block):
    model = models.bicubic4x("circular").double()
    lin = fxscope.interpret(model, random(1, 1, 10, 9))
    values = polyphase(10, 9)
    found = lin.F.svd(12, method, tol=1e-9, **({} if block is None else {"block": block}))
    assert (
        torch.allclose(found.s, values.flatten().sort(descending=True).values[:12], rtol=1e-12)
        and found.converged.all()
    )
    power = torch.fft.fft2(found.v[:, 0]).abs().square()
    for s, each in zip(found.s, power):
        assert each[(values - s).abs() > 1e-6].sum() < 1e-12 * each.sum(), (
            "an eigen-input holds waves of one singular value only"
        )


def test_a_circular_convolution_is_its_fft():
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular").double()
    lin = fxscope.interpret(conv, random(1, 1, 8, 9))
    placed = torch.zeros(8, 9, dtype=D)
    placed[:3, :3] = conv.weight[0, 0].detach()
    values = torch.fft.fft2(placed).abs().flatten().sort(descending=True).values
    assert torch.allclose(lin.F.svd(72).s, values, rtol=1e-10, atol=1e-13)
    assert torch.allclose(lin.F.svd(10, "lanczos", tol=1e-9).s, values[:10], rtol=1e-12)


def test_randomized_bounds_hold(lin):
    expected = torch.linalg.svdvals(lin.F.to_dense(progress=False))[:6]
    for seed in range(5):
        with quiet():
            found = lin.F.svd(6, "randomized", powers=0, seed=seed)
        assert (found.s <= expected * (1 + 1e-12)).all() and (found.upper >= expected).all()
        assert found.passes == 2 * 16 + 6 + 10
        assert_errors_are_true(lin.F, found)
    with quiet():
        better = lin.F.svd(6, "randomized", powers=12)
    assert (better.s / expected - 1).abs().max() < 1e-5 and (better.upper >= expected).all()


def test_algorithm_1_as_printed_is_biased():
    """docs/paper/reading.md, Algorithm 1 (b): with sigma_1 = 10 and m = 9.5^4/4 line 5 converges to 8.46."""
    F = of_matrix(torch.diag(torch.tensor([10.0, 9.5, 3.0, 1.0], dtype=D)))
    with pytest.warns(NotConverged):
        printed = F.svd(1, "power", literal=True, momentum=9.5**4 / 4, steps=2000)
    s, m = 100.0, 9.5**4 / 4
    assert (
        abs(float(printed.s[0]) - ((s + (s * s - 4 * m) ** 0.5) / 2) ** 0.5) < 1e-9
        and abs(float(printed.s[0]) - 8.46) < 0.005
    )
    assert F.svd(1, "power", literal=True, momentum=0.0, steps=2000).s[0] == pytest.approx(10, abs=1e-12)
    with quiet():
        three = [F.svd(3, "power", tol=1e-9, momentum=m).s.tolist() for m in (0, 0.8, "auto")]
    passes = {m: F.svd(1, "power", tol=1e-9, momentum=m).passes for m in (0, 0.8, "auto")}
    assert passes["auto"] < passes[0] / 2 and passes[0.8] < passes[0], "the momentum helps"
    assert all(s == pytest.approx([10, 9.5, 3], abs=1e-12) for s in three)


def test_the_printed_form_subtracts_the_residual():
    F = of_matrix(with_values([3.0, 2.0, 1.0], 30, 20, dtype=torch.float32))
    far = torch.full((30,), 1e5)
    with quiet():
        plain, cancelled = (
            F.svd(1, "power", literal=True, momentum=0.0, residual=r).adjoint_errors[0] for r in (None, far)
        )
    assert cancelled > 100 * plain, "y1 - r cancels where r is large"


def test_norms_and_traces_and_spectra(lin):
    dense = lin.F.to_dense(progress=False)
    assert float(lin.F.norm(2)) == pytest.approx(float(torch.linalg.matrix_norm(dense, 2)), rel=1e-8)
    exact, estimate = lin.F.norm("fro", probes=90), of_matrix(dense).norm("fro", probes=48)
    assert (
        exact.error == 0
        and exact.method == "dense"
        and exact.value == pytest.approx(float(dense.norm()), rel=1e-12)
    )
    assert (
        estimate.method == "hutch++"
        and estimate.passes == 48
        and 0 < abs(estimate.value - float(dense.norm())) < 4 * estimate.error < 0.2 * float(dense.norm())
    )
    gram = lin.F.T @ lin.F
    square = float(dense.square().sum())
    assert gram.trace(probes=90).value == pytest.approx(square, rel=1e-12)
    assert abs(gram.trace(probes=60).value - square) < 4 * gram.trace(probes=60).error < 0.2 * square
    values = torch.linalg.svdvals(dense)
    found = lin.F.spectrum(probes=20, steps=25)
    assert found.passes == 20 * 49 and found.weights.sum(1) == pytest.approx(np.full(20, 180.0), rel=1e-10)
    for threshold in (0.2, 0.5, 0.8):
        got = found.count(threshold * float(values[0]))
        assert abs(got.value - int((values >= threshold * values[0]).sum())) < 4 * got.error + 2
    assert abs(found.moment(2).value - square) < 4 * found.moment(2).error
    assert found.nodes.max() <= float(values[0]) * (1 + 1e-12) and json.loads(found.to_json())["size"] == 180
    whole = of_matrix(torch.diag(torch.tensor([2.0, 2.0, 1.0], dtype=D))).spectrum(probes=3, steps=30)
    assert whole.count(1.5).value == pytest.approx(2, abs=1e-9) and whole.count(1.5).error < 1e-9, (
        "few values: exact"
    )
    with pytest.raises(ShapeError, match="to itself"):
        lin.F.trace()
    with pytest.raises(FxscopeError, match="fro"):
        lin.F.norm(1)


def test_a_local_norm_is_exact():
    F = fxscope.interpret(models.pixelshuffle4x().double(), random(1, 1, 14, 13)).F
    found = F.norm("fro")
    assert (
        found.method == "sparse"
        and found.passes == 121
        and found.value == pytest.approx(float(F.to_dense(progress=False).norm()), rel=1e-12)
    )


def test_shapes_tell_waves_from_wavelets():
    y, x = torch.meshgrid(torch.arange(32, dtype=D), torch.arange(48, dtype=D), indexing="ij")
    wave = torch.cos(2 * np.pi * (x * 6 / 48 + 0.1))
    gabor = torch.exp(-((x - 30) ** 2 + (y - 12) ** 2) / 8) * torch.cos(
        2 * np.pi * 0.25 * (x - 30 + y - 12) / 2**0.5
    )
    found = SVD(
        torch.ones(2),
        torch.stack([wave, gabor])[:, None],
        torch.ones(2, 4),
        *[torch.zeros(2)] * 2,
        0.0,
        torch.ones(2),
        0,
        0.0,
        "",
        0.0,
        0,
        {},
        {},
    )
    one, two = found.shapes()
    assert (
        one.participation == pytest.approx(2 / 3, abs=0.02)
        and one.box_share > 0.9
        and one.frequency == pytest.approx(6 / 48)
        and one.bandwidth < 1e-6
    )
    assert min(one.orientation, 180 - one.orientation) < 1e-6 and one.orientedness > 0.999 and one.dc < 1e-12
    assert (
        two.participation < 0.03
        and two.box_share < 0.15
        and abs(two.orientation - 45) < 2
        and two.orientedness > 0.6
        and two.frequency == pytest.approx(0.25, abs=0.03)
    )
    top, left, height, width = two.box
    assert top <= 12 < top + height and left <= 30 < left + width
    energy = gabor.square()
    assert energy[top : top + height, left : left + width].sum() >= 0.95 * energy.sum()
    with pytest.raises(FxscopeError, match="images"):
        found.shapes("u")


def test_results_are_saved_with_their_origin(lin, tmp_path):
    found = lin.F.svd(4, tol=1e-8)
    path = found.save(tmp_path / "four.safetensors")
    loaded = SVD.load(path)
    assert (
        torch.equal(loaded.v, found.v) and torch.equal(loaded.u, found.u) and torch.equal(loaded.s, found.s)
    )
    assert loaded.to_json() == found.to_json() and loaded.origin == found.origin
    assert (
        found.origin["model"] == "Small"
        and found.origin["policy"] == "freeze"
        and found.origin["dtype"] == "float64"
        and len(found.origin["weights"]) == len(found.origin["image"]) == 16
    )
    other = fxscope.interpret(lin.model, lin.x0 + 1).F.origin()
    assert other["weights"] == found.origin["weights"] and other["image"] != found.origin["image"]
    assert (
        "|F v - s u|" in found._repr_html_()
        and "4 triplets" in repr(found)
        and json.loads(found.to_json())["passes"] == found.passes
    )
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    for bad in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(FxscopeError):
            SVD.load(tmp_path / bad)
    with pytest.raises(FxscopeError, match="safetensors"):
        found.save(tmp_path / "four.pt")


def test_batches_and_scores_and_structures():
    torch.manual_seed(0)
    x0 = random(2, 2, 9, 10)
    model = randomize(Small().double().eval(), x0)
    both, alone = fxscope.interpret(model, x0).F, [fxscope.interpret(model, x0[i : i + 1]).F for i in (0, 1)]
    found = both.svd(8, "lanczos", tol=1e-9)
    expected = torch.cat([F.svd(8, tol=1e-9).s for F in alone]).sort(descending=True).values[:8]
    assert found.v.shape == (8, 2, 2, 9, 10) and torch.allclose(found.s, expected, rtol=1e-9)
    assert_errors_are_true(both, found)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(2, 3, 3)

        def forward(self, x):
            h = torch.relu(self.a(x))
            return {"image": h, "scores": h.mean((2, 3))}

    lin = fxscope.interpret(Two().double(), random(1, 2, 7, 7))
    found = lin.F.svd(3, "lanczos", tol=1e-9)
    assert found.u["scores"].shape == (3, 3) and torch.allclose(
        found.s, torch.linalg.svdvals(lin.F.to_dense(progress=False))[:3], rtol=1e-10
    )


def test_bad_input(lin):
    F = lin.F
    for k in (0, -1, 181, 2.0, True):
        with pytest.raises(FxscopeError, match="k is from 1"):
            F.svd(k)
    for options in (
        {"method": "magic"},
        {"tol": -1.0},
        {"max_passes": 1},
        {"method": "lanczos", "blocks": 3},
        {"method": "lanczos", "block": 0},
        {"method": "power", "momentum": 1.0},
        {"method": "power", "momentum": "fast"},
        {"method": "power", "literal": True},
        {"method": "scipy", "solver": "magic"},
    ):
        with pytest.raises(FxscopeError):
            F.svd(3, **options)
    M = random(30, 20)
    M[3, 4] = float("nan")
    for method in ("lanczos", "power", "randomized", "dense", "scipy"):
        with pytest.raises(NonFinite):
            of_matrix(M).svd(2, method)


@pytest.mark.parametrize("method", ["lanczos", "power", "randomized"])
def test_what_does_not_converge_says_so(lin, method):
    with pytest.warns(NotConverged, match="did not converge to tol=1e-12"):
        found = lin.F.svd(6, method, tol=1e-12, max_passes=40)
    assert not found.converged.all() and len(found) <= 6 and (method == "randomized" or found.passes <= 40)
    assert_errors_are_true(lin.F, found)


def test_interrupted_it_leaves_nothing_broken(lin, monkeypatch):
    calls, inner = [], lin.F._forward

    def stopped(v):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return inner(v)

    monkeypatch.setattr(lin.F, "_forward", stopped)
    with pytest.raises(KeyboardInterrupt):
        lin.F.svd(6, "lanczos")
    monkeypatch.undo()
    assert lin.F.svd(6, "lanczos").converged.all()


@pytest.mark.turns(2)
@pytest.mark.parametrize(("dtype", "tol", "rtol"), [(D, 1e-8, 1e-6), (torch.float32, 1e-5, 1e-4)])
def test_the_trained_network(dtype, tol, rtol):
    check(models.pixelshuffle4x().to(dtype), random(1, 1, 20, 20, dtype=dtype).abs(), tol, rtol)


def check(model, x0, tol, rtol, k=20):
    from scipy.sparse.linalg import svds

    F = fxscope.interpret(model, x0).F
    found = F.svd(k, "lanczos", tol=tol)
    expected = np.sort(
        svds(
            F.to_scipy(), k=k, return_singular_vectors=False, tol=0 if x0.dtype == D else 1e-6, random_state=0
        )
    )[::-1]
    assert np.abs(found.s.numpy() / expected - 1).max() < rtol and found.converged.all()
    assert_errors_are_true(F, found)


NETWORKS = {
    "pixelshuffle": (models.pixelshuffle4x, (1, 64, 64)),
    "edsr": (models.edsr_baseline, (3, 24, 24)),
    "cyclegan": (models.cyclegan, (3, 64, 64)),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), (3, 64, 64)),
}


@pytest.mark.full
@pytest.mark.parametrize(("dtype", "tol", "rtol"), [(D, 1e-8, 1e-6), (torch.float32, 1e-5, 1e-4)])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_paper(name, dtype, tol, rtol):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    x0 = random(1, *shape, dtype=dtype).abs()
    model = make().to(dtype).eval()
    check(model if name in ("pixelshuffle", "cyclegan") else randomize(model, x0), x0, tol, rtol)


def test_the_command_and_the_figures(tmp_path):
    from click.testing import CliRunner

    from fxscope.cli.main import cli

    done = CliRunner().invoke(
        cli,
        [
            "svd",
            "fxscope:pixelshuffle4x",
            "-k",
            "3",
            "--size",
            "16",
            "--json",
            "-o",
            str(tmp_path / "svd.png"),
            "--save",
            str(tmp_path / "svd.safetensors"),
        ],
    )
    numbers = json.loads(done.stdout)
    assert len(numbers["s"]) == 3 and all(numbers["converged"]) and (tmp_path / "svd.png").exists()
    found = SVD.load(tmp_path / "svd.safetensors")
    figure = found.plot(count=2, first=1)
    assert [a.images[0].get_clim() for a in figure.axes[:2]] == [figure.axes[0].images[0].get_clim()] * 2
    limit = figure.axes[0].images[0].get_clim()
    assert limit[0] == -limit[1] and limit[1] == pytest.approx(float(found.v[1:3].abs().max()))
    assert len(fxscope.plot.shapes({"network": found.shapes(), "again": found.shapes("u")}).axes) == 3
    spectrum = fxscope.interpret(models.pixelshuffle4x(), torch.rand(1, 1, 8, 8)).F.spectrum(
        probes=2, steps=5
    )
    assert len(spectrum.plot(bins=7).axes[0].patches) == 7
    with pytest.raises(FxscopeError, match="shows none"):
        found.plot(first=3)


@pytest.mark.full
def test_the_page_runs():
    text = (Path(__file__).parents[1] / "docs" / "svd.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/svd.md", "exec"), {})
