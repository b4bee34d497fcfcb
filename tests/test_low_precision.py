"""Networks in bfloat16 and float16, and under autocast: two ways to round are one function."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from drawn import crossed
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, LawBroken, TraceFailure
from fxscope.passes.attempts import canonical
from fxscope.testing.laws import distance

D = torch.float64
LOW = [torch.bfloat16, torch.float16]


class Three(nn.Module):
    """Three linear layers of x, and a function of theirs."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.a, self.b, self.c = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x):
        return self.function(self.a(x), self.b(x), self.c(x))


FUNCTIONS = {
    "sdpa": F.scaled_dot_product_attention,
    "glu": lambda a, b, c: F.glu(torch.cat([a, b], -1)) + c,
    "lerp": lambda a, b, c: torch.lerp(a, b, c.sigmoid()),
    "addcmul": lambda a, b, c: torch.addcmul(a, b, c, value=0.5),
    "addcdiv": lambda a, b, c: torch.addcdiv(a, b, c.exp() + 1, value=0.3),
    "baddbmm": lambda a, b, c: torch.baddbmm(a[:, :, :5], b, c.transpose(1, 2), alpha=0.3),
    "norm": lambda a, b, c: F.rms_norm(F.layer_norm(a, (16,)), (16,)) + F.normalize(b, dim=-1) * c,
    "written": lambda a, b, c: F.gelu(a.add_(b)).mul_(c),
    "made": lambda a, b, c: a * torch.linspace(0, 1, 16, dtype=a.dtype) + torch.full_like(b, 0.1) * c,
}


def layers():
    torch.manual_seed(0)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 4)


def stack():
    torch.manual_seed(0)
    blocks = [
        nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16)) for _ in "12345678"
    ]
    return nn.Sequential(*blocks)


NETWORKS = {name: lambda f=f: Three(f) for name, f in FUNCTIONS.items()} | {"encoder": layers, "stack": stack}


@pytest.mark.turns(3)
@pytest.mark.parametrize(("name", "frontend", "dtype"), crossed(NETWORKS, ["auto", "export"], LOW), ids=str)
def test_rounding_is_not_taken_for_a_lost_write(name, frontend, dtype, rng):
    model = NETWORKS[name]().to(dtype).eval()
    exact = NETWORKS[name]().double().eval()
    exact.load_state_dict({key: value.double() for key, value in model.state_dict().items()})
    x = torch.randn(2, 5, 16, generator=rng).to(dtype)
    lin = fxscope.interpret(model, x, policy="taylor", frontend=frontend)
    x64 = x.double().requires_grad_()
    y = exact(x64)
    u = torch.randn(y.shape, generator=rng, dtype=D)
    (expected,) = torch.autograd.grad((y * u).sum(), x64)
    # rounding alone: some units in the last place of the largest entry
    bound = 16 * torch.finfo(dtype).eps
    assert lin.y0.dtype == dtype and distance(lin.y0.double(), y.detach()) < bound
    assert distance((lin.F.T @ u.to(dtype)).double(), expected) < bound


class Lost(nn.Module):
    """The graph lacks a small change, which the model makes; it is below what its dtype rounds."""

    def __init__(self, change, deep):
        super().__init__()
        torch.manual_seed(0)
        self.change, self.body = (
            change,
            nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.GELU()) for _ in deep]),
        )

    def forward(self, x):
        h = F.scaled_dot_product_attention(x, x, self.body(x))
        return h if torch.fx._symbolic_trace.is_fx_symbolic_tracing() else self.change(h)


@pytest.mark.parametrize("dtype", [*LOW, torch.float32], ids=str)
@pytest.mark.parametrize("deep", ["1", "12345678"])
@pytest.mark.parametrize("change", [lambda h: h * 1.001, lambda h: h + 1e-4], ids=["scale", "shift"])
def test_a_lost_change_is_found_below_the_rounding(change, deep, dtype, rng):
    model = Lost(change, deep).to(dtype).eval()
    x = torch.randn(2, 5, 16, generator=rng).to(dtype)
    with torch.no_grad():
        assert distance(Lost(lambda h: h, deep).to(dtype).eval()(x).double(), model(x).double()) < 0.02
    with pytest.raises(LawBroken, match="does not compute what the model computes"):
        canonical(model, (x,), "symbolic")


class Half(nn.Module):
    """Code that asks for the dtype of its values, and cannot be run in float64."""

    def __init__(self, lost):
        super().__init__()
        torch.manual_seed(0)
        self.lost, self.net = lost, Three(F.scaled_dot_product_attention)

    def forward(self, x):
        h = self.net(x)
        if not torch.fx._symbolic_trace.is_fx_symbolic_tracing():
            assert h.dtype == torch.bfloat16
            h = h + self.lost
        return h * 2


def test_where_float64_is_refused_rounding_is_measured_on_the_graph(rng):
    x = torch.randn(2, 5, 16, generator=rng).bfloat16()
    canonical(Half(0.0).bfloat16().eval(), (x,), "symbolic")
    with pytest.raises(LawBroken):
        canonical(Half(0.1).bfloat16().eval(), (x,), "symbolic")


# autocast


class Inside(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(6, 4), nn.Linear(4, 3), nn.Conv1d(1, 2, 3)

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            h = F.layer_norm(self.a(x).relu(), (4,))
            with torch.autocast("cpu", enabled=False):
                z = self.b(h.float())
            h = torch.cat([h, z, self.c(x[:, None]).flatten(1)], -1)
        return h.float().tanh()


class Decorated(Inside):
    @torch.autocast("cpu", torch.bfloat16)
    def forward(self, x):
        return self.b(F.gelu(self.a(x))).float() * 2


class InAMethod(Inside):
    @torch.amp.autocast("cpu", dtype=torch.float16)
    def body(self, x):
        return self.b(self.a(x).sigmoid())

    def forward(self, x):
        return self.body(x).float() + x[:, :3]


@pytest.mark.turns(3)
@pytest.mark.parametrize("kind", [Inside, Decorated, InAMethod])
def test_autocast_in_the_forward_is_part_of_the_network(kind, rng):
    model, x = kind().eval(), torch.randn(2, 6, generator=rng)
    lin = fxscope.interpret(model, x, policy="taylor")
    given = x.clone().requires_grad_()
    y = model(given)
    assert torch.equal(lin.y0, y.detach())
    rows = fxscope.summary(fxscope.transform(model, example_inputs=(x,))).rows
    assert all("test_low_precision.py" in row.source for row in rows if row.rule not in ("input", "size"))
    assert {(row.place, row.rule) for row in rows} >= {("a", "linear"), ("b", "linear")}
    for index in range(3):
        (expected,) = torch.autograd.grad(y[:, index].sum(), given, retain_graph=True)
        assert distance(lin.F.row(index), expected) < 2 * torch.finfo(torch.bfloat16).eps
    with pytest.raises(TraceFailure, match=r"(?s)autocast is on in its forward.*at test_low_precision.py"):
        fxscope.transform(model)


class Off(Inside):
    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.a(x).tanh()


def test_autocast_that_is_off_is_nothing(rng):
    model, x = Off().double().eval(), torch.randn(2, 6, generator=rng, dtype=D)
    assert distance(fxscope.transform(model)(x, x)[0], model(x)) < 1e-12


def test_autocast_around_a_call_changes_nothing(rng, caplog):
    caplog.set_level(logging.WARNING, "fxscope")  # whatever another test made of the logger
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    x = torch.randn(2, 3, 6, 6, generator=rng)
    first, reader = fxscope.interpret(model, x), fxscope.prepare(model, x)
    products = {
        "y0": lambda lin: lin.y0,
        "row": lambda lin: lin.F.row(3),
        "column": lambda lin: lin.F.column((1, 2, 2)),
        "rows": lambda lin: torch.stack([row for _, row in lin.F.iter_rows([1, 2])]),
        "product": lambda lin: lin(x),
        "residual": lambda lin: lin.residual,
        "contributions": lambda lin: lin.contributions(2).total,
        "dense": lambda lin: lin.F.to_dense(),
        "svd": lambda lin: lin.F.svd(2, progress=False).s,
        "gap": lambda lin: torch.tensor(lin.gap(x * 0.9)["error"]),
    }
    expected = {name: product(first) for name, product in products.items()}
    with torch.autocast("cpu", torch.bfloat16):
        within = fxscope.interpret(model, x)
        for name, product in products.items():
            assert torch.equal(product(within), expected[name]), name
            assert torch.equal(product(first), expected[name]), name
            assert torch.equal(product(reader(x)), expected[name]), name
        assert fxscope.verify(model, x).ok
        assert torch.is_autocast_enabled("cpu")
    assert "under autocast, which it switches off" in caplog.text
    for name, product in products.items():
        assert torch.equal(product(within), expected[name]), name


def test_an_input_that_needs_autocast_around_is_the_models_own_error(rng):
    with torch.autocast("cpu", torch.bfloat16), pytest.raises((FxscopeError, RuntimeError), match="BFloat16"):
        fxscope.interpret(nn.Linear(6, 3), torch.randn(2, 6, generator=rng).bfloat16())
