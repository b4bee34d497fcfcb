"""The decomposition at any scale: svd(c F) = c svd(F) at equal passes.

The factor c comes through c * lin.F and through the weights of the last layer.

Weights are multiplied with powers of two: another factor rounds them, which is another network. Where the
entries of the first product are so small that the type holds them with fewer digits, that product is taken
again, and is counted.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings

import pytest
import torch
from drawn import crossed
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, NotConverged
from fxscope.linop import SVD
from fxscope.linop.scale import multiplied, norm_of, norms, power_of_two
from fxscope.linop.svd.rows import Rows

FACTORS = [1e-30, 1e-22, 1e-13, 1e12, 1e30]
METHODS = {
    "default": {},
    "lanczos": {"method": "lanczos"},
    "block": {"method": "lanczos", "block": 3},
    "dense": {"method": "dense"},
    "power": {"method": "power"},
    "plain power": {"method": "power", "momentum": 0},
    "momentum": {"method": "power", "momentum": 0.5},
    "randomized": {"method": "randomized", "powers": 1},
    "arpack": {"method": "scipy"},
    "propack": {"method": "scipy", "solver": "propack"},
}


class Net(nn.Module):
    """Images to images, its last layer without a bias."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 1, 3, padding=1, bias=False)
        self.last.weight.data *= gain

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


@functools.cache
def interpreted(gain: float = 1.0, dtype: torch.dtype = torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x0 = Net().to(dtype), torch.randn(1, 1, 7, 8).to(dtype)
    model.last.weight.data *= gain
    return fxscope.interpret(model, x0)


@pytest.fixture(scope="module")
def F():
    return interpreted().F


@pytest.fixture
def again(monkeypatch):
    """For every first product, how many of its vectors there were, and how many products were taken again."""
    first, counted = Rows._first, []

    def counting(self, operator, given):
        before = self.passes
        product = first(self, operator, given)
        counted.append((len(given), self.passes - before - len(given)))
        return product

    monkeypatch.setattr(Rows, "_first", counting)
    return counted


def taken_again(counted: list, factor: float) -> int:
    """Passes of first products that were taken again.

    Once at most, and only where the first left the range of the type.
    """
    assert all(more in ((0, size) if factor < 1e-28 else (0,)) for size, more in counted)
    return sum(more for _, more in counted)


@contextlib.contextmanager
def quiet():
    """Where what has not converged is compared as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        yield


def found(F, options):
    with quiet():
        return F.svd(3, progress=False, **options)


def assert_scaled(got: SVD, one: SVD, factor: float, rtol: float, more: int = 0) -> None:
    """got is one of F, times |factor|: values, errors, bounds.

    Vectors are the same, and passes but for ``more``.
    """
    size = abs(factor)
    assert got.passes == one.passes + more and torch.equal(got.converged, one.converged)
    assert torch.allclose(got.s.double(), size * one.s.double(), rtol=rtol, atol=0)
    assert torch.allclose(got.v, one.v, rtol=0, atol=1e3 * rtol) and torch.allclose(
        got.u, one.u * (1 if factor > 0 else -1), rtol=0, atol=1e3 * rtol
    )
    noise = 1e2 * torch.finfo(one.v.dtype).eps * size * float(one.s[0])  # errors at rounding are rounding
    for name in ("forward_errors", "adjoint_errors"):
        assert torch.allclose(
            getattr(got, name), size * getattr(one, name), rtol=rtol, atol=noise * (rtol > 1e-7)
        )
    if one.upper is not None:
        assert torch.allclose(got.upper.double(), size * one.upper.double(), rtol=rtol)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("method", "factor"), crossed(METHODS, [1e-30, 1e30, -1e-25, 1e-40]))
def test_multiples_have_multiples_bit_for_bit(F, method, factor):
    options = METHODS[method]
    one, got = found(F, options), found(factor * F, options)
    assert_scaled(got, one, factor, rtol=1e-7)
    assert torch.equal(got.v, one.v)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("method", "factor"), crossed(METHODS, FACTORS))
def test_networks_whose_last_layer_is_scaled(F, method, factor, again):
    options = METHODS[method]
    gain, one = power_of_two(factor), found(F, options)
    again.clear()
    got = found(interpreted(gain).F, options)
    assert_scaled(got, one, gain, rtol=1e-7, more=taken_again(again, factor))
    assert torch.equal(got.v, one.v)


@pytest.mark.parametrize("factor", [1e-30, 1e30])
@pytest.mark.parametrize("method", ["lanczos", "power"])
def test_other_factors_in_the_weights_take_about_as_many_passes(F, method, factor):
    """Such a factor rounds the weights, so that F is another matrix, by 1e-7 of itself."""
    one, got = F.svd(3, method, progress=False), interpreted(factor).F.svd(3, method, progress=False)
    assert got.converged.all() and got.passes == pytest.approx(one.passes, rel=0.05)


@pytest.mark.parametrize("factor", FACTORS)
def test_any_factor_in_the_weights_is_the_dense_values(factor):
    F = interpreted(factor).F
    expected = torch.linalg.svdvals(F.to_dense(progress=False).double() / factor) * factor
    for options in ({"method": "lanczos"}, {"method": "dense"}, {"method": "power"}):
        got = found(F, options)
        assert torch.allclose(got.s.double(), expected[:3], rtol=1e-5, atol=0) and got.converged.all()
        assert (got.errors > 0).all() and (got.errors <= 1e-5 * got.s).all()


@pytest.mark.parametrize("factor", [*FACTORS, -1e-25])
def test_errors_are_those_of_products_in_double(factor):
    F, wide = factor * interpreted().F, interpreted(dtype=torch.float64).F
    got = found(F, {"method": "lanczos"})
    s, v, u = got.s.double()[:, None, None, None], got.v.double(), got.u.double()
    true = norms((factor * (wide @ v) - s * u).flatten(1)), norms((factor * (wide.T @ u) - s * v).flatten(1))
    rounding = 1e2 * torch.finfo(torch.float32).eps * float(got.s[0])
    assert ((true[0] - got.forward_errors).abs() <= rounding).all() and (
        (true[1] - got.adjoint_errors).abs() <= rounding
    ).all()


NUMBERS = {
    "norm 2": lambda F: F.norm(2, progress=False),
    "norm fro exact": lambda F: F.norm("fro", progress=False),
    "norm fro": lambda F: F.norm("fro", probes=12, progress=False),
    "trace exact": lambda F: F.trace(progress=False),
    "trace": lambda F: F.trace(probes=12, progress=False),
    "count": lambda F: F.spectrum(2, 6, progress=False).count(0.5 * F.norm(2, progress=False).value),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("factor", [*FACTORS, -1e-25])
@pytest.mark.parametrize("name", NUMBERS)
def test_norms_and_traces(F, name, factor, again):
    for scaled, c in (
        (factor * F, factor),
        (interpreted(power_of_two(abs(factor))).F, power_of_two(abs(factor))),
    ):
        one = NUMBERS[name](F)
        again.clear()
        got = NUMBERS[name](scaled)
        size = {"count": 1.0, "trace": c, "trace exact": c}.get(name, abs(c))
        assert got.value == pytest.approx(size * one.value, rel=1e-6, abs=0) and got.error == pytest.approx(
            abs(size) * one.error, rel=1e-5, abs=0
        )
        # a count's own is the first: the norm that it is asked about comes second
        more = taken_again(again[:1], abs(c))
        assert (got.passes, got.method) == (one.passes + more, one.method)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_spectrum(F, factor):
    one, got, weighed = (
        G.spectrum(2, 6, progress=False) for G in (F, factor * F, interpreted(power_of_two(factor)).F)
    )
    assert got.nodes == pytest.approx(factor * one.nodes, rel=1e-6, abs=0) and got.weights == pytest.approx(
        one.weights, rel=1e-6
    )
    assert weighed.nodes == pytest.approx(power_of_two(factor) * one.nodes, rel=1e-6, abs=0)
    assert got.moment(2).value == pytest.approx(factor**2 * one.moment(2).value, rel=1e-6, abs=0)


@pytest.mark.parametrize("gain", [1e-30, 1e30])
def test_scales_within_a_network_cancel(gain):
    """Large and small layers after one another.

    What each vector becomes on its way fits, its square does not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model, x0 = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 7, bias=False)), torch.randn(1, 6)
    other = copy.deepcopy(model)
    other[0].weight.data *= 2 * power_of_two(gain)
    other[1].weight.data /= power_of_two(gain)
    one, got = (fxscope.interpret(m, x0).F for m in (model, other))
    assert_scaled(found(got, {"method": "lanczos"}), found(one, {"method": "lanczos"}), 2.0, rtol=1e-6)


@pytest.mark.parametrize("method", ["lanczos", "dense", "power", "randomized"])
def test_what_the_type_does_not_hold_is_found_all_the_same(method):
    """Weights of 1e-30 in two layers: F is 1e-60, which its values in single precision are not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model, x0 = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 7, bias=False)), torch.randn(1, 6)
    values = torch.linalg.svdvals((model[1].weight.double() @ model[0].weight.double()).detach())[:3]
    for weight in (model[0].weight, model[1].weight):
        weight.data *= 2.0**-100
    got = found(fxscope.interpret(model, x0).F, {"method": method})
    assert got.s.dtype == torch.float64 and torch.allclose(
        got.s, 2.0**-200 * values, rtol=1e-3 if method == "randomized" else 1e-5, atol=0
    )


@pytest.mark.turns(2)
@pytest.mark.parametrize("factor", [1e-200, 1e-120, 1e120, 1e200])
def test_double_precision_has_its_own_limits(factor):
    F = interpreted(dtype=torch.float64).F
    for options in ({"method": "lanczos"}, {"method": "power"}, {"method": "dense"}, {"method": "scipy"}):
        for scaled, size in (
            (factor * F, factor),
            (interpreted(power_of_two(factor), torch.float64).F, power_of_two(factor)),
        ):
            assert_scaled(found(scaled, options), found(F, options), size, rtol=1e-13)
    assert (factor * F).norm("fro").value == pytest.approx(factor * F.norm("fro").value, rel=1e-12, abs=0)


@pytest.mark.parametrize("factor", [1e-30, 1e-13, -1e20])
def test_a_result_is_gone_on_from_at_its_scale(F, factor, tmp_path):
    scaled = factor * F
    three = scaled.svd(3, "lanczos")
    three.save(tmp_path / "three.safetensors")
    for start in (three, SVD.load(tmp_path / "three.safetensors")):
        assert scaled.svd(3, "lanczos", start=start).passes <= 4
        more = scaled.svd(8, "lanczos", start=start)
        assert more.converged.all() and torch.allclose(
            more.s.double(), abs(factor) * F.svd(8, "dense").s.double(), rtol=1e-5, atol=0
        )
    guess = F.svd(3, "lanczos", start=three)
    assert guess.converged.all() and torch.allclose(guess.s, F.svd(3, "dense").s, rtol=1e-5)


def test_the_printed_form_at_its_scale():
    F = interpreted(dtype=torch.float64).F
    r = torch.randn(56, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = float(F.norm(2))
    with quiet():
        for c in (2.0**-100, 2.0**90, -1.5):
            one = F.svd(2, "power", literal=True, momentum=0.1 * s**4, steps=30, residual=r)
            got = (c * F).svd(2, "power", literal=True, momentum=0.1 * (c * s) ** 4, steps=30, residual=c * r)
            assert_scaled(got, one, c, rtol=1e-9)


def test_nothing_has_no_scale():
    for F in (0 * interpreted().F, 1e-30 * interpreted(0.0).F, interpreted(0.0).F):
        for method in ("lanczos", "dense", "power", "randomized"):
            got = F.svd(2, method)
            assert got.s.tolist() == [0, 0] and got.converged.all() and got.errors.max() == 0
        assert F.norm("fro", probes=12).value == 0


def test_factors_stay_apart():
    F = interpreted().F
    v = torch.randn(2, 1, 7, 8)
    assert torch.equal((1e-30 * (1e30 * F)) @ v, (1e-30 * 1e30) * (F @ v))
    assert torch.allclose(1e40 * (1e-40 * F) @ v, F @ v) and torch.allclose((1e-40 * F * 1e40).T @ v, F.T @ v)
    assert torch.allclose((1e-40 * F + 3e-40 * F) * 1e40 @ v, 4 * (F @ v)) and not ((F - F) @ v).any()
    assert torch.allclose((1e-30 * F) @ (1e-30 * F) * 1e60 @ v, F @ (F @ v))
    assert torch.allclose(
        (1e-40 * F).restrict(outputs=(0, slice(0, 3))) * 1e40 @ v, F.restrict(outputs=(0, slice(0, 3))) @ v
    )
    assert (
        torch.allclose((1e-5 * F).to_dense(progress=False), 1e-5 * F.to_dense(progress=False))
        and abs((1e-5 * F).to_sparse() - 1e-5 * F.to_sparse()).max() < 1e-10
    )


@pytest.mark.parametrize("factor", [2, 2.0, torch.tensor(2.0), torch.tensor(2)], ids=repr)
def test_factors_of_every_kind(F, factor):
    import numpy as np

    v = torch.ones(1, 7, 8)
    for G in (
        factor * F,
        F * factor,
        F / (1 / factor),
        np.float32(2) * F,
        np.array(2.0) * F,
        F * np.int64(2),
    ):
        assert torch.allclose(G @ v, 2 * (F @ v)) and float(G.norm(2)) == pytest.approx(2 * float(F.norm(2)))


@pytest.mark.parametrize("factor", [1j, float("nan"), float("inf"), torch.tensor(1j)], ids=repr)
def test_factors_that_are_none(F, factor):
    with pytest.raises(FxscopeError, match="finite real number"):
        factor * F


def test_sizes_of_tensors():
    rows = torch.tensor([[3e-30, 4e-30], [0, 0], [3e30, 4e30], [3, 4]])
    assert norms(rows) == pytest.approx(torch.tensor([5e-30, 0, 5e30, 5], dtype=torch.float64), rel=1e-6)
    assert norm_of([torch.full((2, 3), 1e-200, dtype=torch.float64), torch.zeros(2)]) == pytest.approx(
        6**0.5 * 1e-200, rel=1e-12
    )
    assert norm_of([]) == 0 and norm_of([torch.tensor([float("nan"), 1.0])]) != norm_of(
        [torch.tensor([float("nan"), 1.0])]
    )
    assert (power_of_two(0.75), power_of_two(4.0), power_of_two(0.0)) == (0.5, 4.0, 1.0)
    assert multiplied(torch.tensor([1e30]), 1e-50).item() == pytest.approx(1e-20) and multiplied(
        torch.tensor([1e-30]), 1e60
    ).item() == pytest.approx(1e30)


@pytest.mark.parametrize("gain", [1e-30, 1e30])
def test_errors_and_shares_of_a_reading_at_any_scale(gain):
    lin, one = interpreted(power_of_two(gain)), interpreted()
    assert 0 <= lin.error < 1e-5 and lin.gap(lin.x0 + 0.1)["error"] == pytest.approx(
        one.gap(one.x0 + 0.1)["error"], rel=1e-4
    )
    rows, expected = (i.F.filters(rows=[(0, 3, 3)], progress=False).numbers() for i in (lin, one))
    assert rows["norm"][0] == pytest.approx(power_of_two(gain) * expected["norm"][0], rel=1e-6)
    found, known = (
        fxscope.compare(i.x0, ["freeze"], at=(0, 3, 3), model=i.model).readings[0] for i in (lin, one)
    )
    assert found.energy == pytest.approx(known.energy, rel=1e-6) and found.residual_share == pytest.approx(
        known.residual_share, rel=1e-6
    )
