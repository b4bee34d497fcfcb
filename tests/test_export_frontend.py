"""The export frontend: the same graph as symbolic tracing gives, and graphs that only export can give."""

from __future__ import annotations

import dataclasses
import logging

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import fxscope
from fxscope.emit import emit
from fxscope.emit.pipeline import program_of
from fxscope.errors import TraceFailure, UnsupportedOperator
from fxscope.frontend.example import Example
from fxscope.passes.attempts import canonical
from fxscope.testing import laws, randomize
from fxscope.testing.case import LawCase

D = torch.float64


class Branching(nn.Module):
    """A branch on a size, a write into a view, and a cache: what symbolic tracing cannot take."""

    def __init__(self, mode="branch"):
        super().__init__()
        self.mode, self.first, self.last = mode, nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        h = F.relu(self.first(x))
        if self.mode == "branch" and h.shape[-1] % 4 != 0:
            h = F.pad(h, (0, 4 - h.shape[-1] % 4))
        if self.mode == "write":
            h = torch.cat(list(h), 0).view(x.shape[0], 4, *x.shape[2:])
            h[:, 1] *= 2.0
        return self.last(F.silu(h))


class Heads(nn.Module):
    """Outputs in a structure, an argument by name, and a constant made in forward."""

    def __init__(self, structure):
        super().__init__()
        self.structure, self.body, self.one = structure, nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x, scale=None, flag: bool = False):
        h = F.gelu(self.body(x) * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=x.dtype))
        if x.shape[1] > 3 and scale is not None:
            h = h * scale
        return self.structure(h, self.one(h))


@dataclasses.dataclass
class Pair:
    features: torch.Tensor
    score: torch.Tensor


torch.export.register_dataclass(Pair)


def program(model, *args, frontend="auto", **kwargs):
    return program_of(model, example_inputs=Example(args, kwargs), frontend=frontend)


def holds(model, *args, bound=1e-9, **kwargs):
    subject = LawCase.of(model, Example(args, kwargs))
    errors = subject.errors()
    assert max(errors.values()) < bound, errors
    return subject


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18", 64),
        ("mobilenet_v3_small", 64),
        ("squeezenet1_1", 64),
        pytest.param("convnext_tiny", 32, marks=pytest.mark.full),
    ],
)
@torch.no_grad()
def test_both_frontends_give_the_same_map(name, size, rng):
    model = torchvision.models.get_model(name, weights=None).double().eval()
    x0, v = (
        torch.randn(2, 3, size, size, generator=rng, dtype=D),
        torch.randn(4, 3, size, size, generator=rng, dtype=D),
    )
    randomize(model, x0)
    symbolic, exported = (program(model, x0, frontend=f) for f in ("symbolic", "export"))
    assert exported.gm.meta["frontend"] == {"name": "export", "batch": "free", "sizes": "specialised"}
    for form in ("filter", "residual"):
        given = (x0, v) if form == "filter" else (x0,)
        assert laws.distance(emit(exported, form)(*given), emit(symbolic, form)(*given)) < 1e-12
    one = emit(exported, "filter")(x0[:1], v[:1])
    assert laws.distance(one, emit(symbolic, "filter")(x0[:1], v[:1])) < 1e-12


def test_parameters_are_shared_and_nodes_know_their_lines():
    model = Branching().double()
    gm = canonical(model, (torch.randn(2, 3, 6, 6, dtype=D),))
    assert gm.get_parameter("first.weight") is model.first.weight
    table = fxscope.summary(fxscope.transform(model, example_inputs=(torch.randn(2, 3, 6, 6, dtype=D),)))
    assert "resolution-specialised" in table.header and "batch" not in table.header
    assert (
        "specialised"
        not in fxscope.summary(fxscope.transform(torchvision.models.resnet18(weights=None).eval())).header
    )
    rows = {row.place: row for row in table.rows if row.rule}
    assert (
        "h = F.relu(self.first(x))" in rows["relu"].source
        and rows["first"].rule == rows["last"].rule == "conv2d"
    )


@pytest.mark.turns(3)
@pytest.mark.parametrize("mode", ["branch", "write"])
def test_interpret_falls_back_and_says_so(mode, caplog, rng):
    model = randomize(Branching(mode).double(), torch.randn(2, 3, 6, 6, generator=rng, dtype=D))
    x0 = torch.randn(1, 3, 6, 6, generator=rng, dtype=D)
    with caplog.at_level(logging.WARNING, logger="fxscope"):
        lin = fxscope.interpret(model, x0)
    assert len(caplog.records) == 1 and "goes through torch.export" in caplog.text
    assert laws.distance(lin(x0[0]), model(x0)[0]) < 1e-12
    assert laws.distance(lin.F @ x0[0] + lin.residual[0], lin.y0[0]) < 1e-12
    holds(model, torch.randn(2, 3, 6, 6, generator=rng, dtype=D))


def test_verify_takes_such_models(rng):
    """Also where export fixes the batch, as a loop over images does."""
    for mode, statement in (("branch", "probes and images do not mix"), ("write", "for one batch size")):
        report = fxscope.verify(Branching(mode), torch.randn(2, 3, 6, 6, generator=rng))
        assert report.ok and statement in str(report)


def test_transform_asks_for_example_inputs():
    with pytest.raises(TraceFailure, match="example_inputs"):
        fxscope.transform(Branching())
    with pytest.raises(UnsupportedOperator, match="example_inputs"):
        fxscope.transform(torchvision.models.vit_b_16(weights=None, image_size=32).eval())
    with pytest.raises(TypeError, match="write \\(x0,\\)"):
        fxscope.transform(Branching(), example_inputs=torch.zeros(1, 3, 6, 6))


@pytest.mark.turns(3)
@pytest.mark.parametrize("structure", [lambda h, y: {"features": h, "score": y}, lambda h, y: (h, [y]), Pair])
def test_structures_and_keywords(structure, rng):
    model = randomize(Heads(structure).double(), torch.randn(2, 5, 4, generator=rng, dtype=D))
    x0, scale = torch.randn(2, 5, 4, generator=rng, dtype=D), torch.rand(2, 5, 6, generator=rng, dtype=D)
    lin = fxscope.interpret(model, x0, scale=scale, flag=True)
    assert type(lin.y0) is type(model(x0, scale)) and laws.distance(lin.y0, model(x0, scale)) < 1e-12
    holds(model, x0, scale=scale)


def test_what_cannot_be_exported_is_told_with_both_reasons():
    class Valued(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x.relu()

    with pytest.raises(TraceFailure, match="neither by symbolic tracing nor") as told:
        fxscope.interpret(Valued(), torch.randn(2, 3))
    lines = str(told.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:4:2]] == ["symbolic tracing", "torch.export"]
    assert "What is left" in lines[5] and len(lines) == 6
    assert all("at test_export_frontend.py" in line and "x.sum() > 0" in line for line in lines[2:5:2])


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.body = kind(4, 5, batch_first=True, **options)

    def forward(self, x):
        return self.body(x)[0]


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.RNN, {"nonlinearity": "relu"}),
        (nn.LSTM, {"num_layers": 2}),
        (nn.GRU, {"bidirectional": True}),
        pytest.param(nn.LSTM, {"bidirectional": True}, marks=pytest.mark.full),
    ],
)
@torch.no_grad()
def test_recurrent_modules_are_written_out_step_by_step(kind, options, rng):
    model, x0 = Recurrent(kind, **options).double().eval(), torch.randn(2, 3, 4, generator=rng, dtype=D)
    holds(model, x0)
    with pytest.raises(UnsupportedOperator, match=f"{kind.__name__}[^!]*example_inputs"):
        fxscope.transform(model)


class Gated(nn.Module):
    """An LSTM by hand, as a detached network.

    Gates are constants, and tanh(z) is z times the constant tanh(z)/z.
    """

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], self.lstm.hidden_size)
        steps = []
        for t in range(x.shape[1]):
            z = (
                x[:, t] @ self.lstm.weight_ih_l0.T
                + self.lstm.bias_ih_l0
                + h @ self.lstm.weight_hh_l0.T
                + self.lstm.bias_hh_l0
            )
            i, f, g, o = z.chunk(4, -1)
            c = torch.sigmoid(f).detach() * c + torch.sigmoid(i).detach() * (g * (torch.tanh(g) / g).detach())
            h = torch.sigmoid(o).detach() * (c * (torch.tanh(c) / c).detach())
            steps.append(h)
        return torch.stack(steps, 1)


@torch.no_grad()
def test_an_lstm_freezes_its_gates(rng):
    """Law 7: F is the Jacobian of the network with detached gates."""
    model, x0, v = (
        Recurrent(nn.LSTM).double().eval(),
        torch.randn(2, 3, 4, generator=rng, dtype=D),
        torch.randn(2, 3, 4, generator=rng, dtype=D),
    )
    detached = Gated(model.body)
    assert laws.distance(detached(x0), model(x0)) < 1e-12
    (expected,) = laws.twice_transposed(lambda x: (detached(x),), x0, v)
    assert laws.distance((fxscope.interpret(model, x0).F @ v.unsqueeze(0))[0], expected) < 1e-12


@pytest.mark.filterwarnings("ignore")  # torch says that its quantisation moves to another package
def test_quantised_models_are_refused():
    model = torchvision.models.quantization.resnet18(weights=None, quantize=True)
    with pytest.raises(UnsupportedOperator, match="quantised weights"):
        fxscope.interpret(model.eval(), torch.randn(1, 3, 32, 32))


@pytest.mark.full
@pytest.mark.parametrize("name", ["vit_b_16", "swin_v2_t"])
def test_torchvision_transformers(name, rng):
    options = {"image_size": 32} if name.startswith("vit") else {}
    model = torchvision.models.get_model(name, weights=None, **options).double().eval()
    x0 = torch.randn(
        2,
        3,
        32 if name.startswith("vit") else 64,
        32 if name.startswith("vit") else 64,
        generator=rng,
        dtype=D,
    )
    holds(randomize(model, x0), x0)


class Assigning(nn.Module):
    """It writes its input, an attribute and a table of its own, and crops by a size of the input.

    Symbolic tracing puts a constant on it.
    """

    def __init__(self):
        super().__init__()
        self.mean, self.table, self.body = torch.ones(1), {}, nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        self.mean = self.mean.type_as(x)
        if "spread" not in self.table:  # as the attention biases of LeViT
            self.table["spread"] = self.body.weight.abs().sum() * torch.ones_like(x[0, 0])
        h, w = x.shape[2:]
        y = self.body(torch.relu(F.pad(x, (0, 1, 0, 1)))) * torch.tensor([2.0], dtype=torch.float64)
        return y[:, :, :h, :w] + self.mean + self.table["spread"]


def test_the_model_is_left_as_it_was(rng):
    model = Assigning().double()
    x0 = torch.randn(2, 3, 5, 6, generator=rng, dtype=D)
    for frontend in ("symbolic", "export"):
        assert max(LawCase.of(model, (x0,), frontend=frontend).errors().values()) < 1e-12
        assert (
            type(model.mean) is torch.Tensor
            and not model.table
            and not [k for k in vars(model) if "constant" in k]
        ), "no proxy, no wrapper, no constant of a trace"


class Capturing(nn.Module):
    """It hooks a module of its own at its first call, as Hugging Face's models do to give hidden states."""

    def __init__(self):
        super().__init__()
        self.body, self.hooked = nn.Linear(4, 4), False

    def forward(self, x):
        if not self.hooked:
            self.body.register_forward_hook(lambda module, inputs, output: output * 2)
            self.hooked = True
        return self.body(x)


@pytest.mark.parametrize("frontend", ["auto", "export"])
@torch.no_grad()
def test_a_model_hooks_itself_once(frontend, rng):
    model, x0 = Capturing().double().eval(), torch.randn(2, 4, generator=rng, dtype=D)
    expected = 2 * model.body(x0)
    lin = fxscope.interpret(model, x0, frontend=frontend)
    assert (
        laws.distance(lin.y0, expected) < 1e-12
        and laws.distance(model(x0), expected) == 0
        and len(model.body._forward_hooks) == 1
    )


class SequenceFirst(nn.Module):
    """Attention in the layout (L, B, E): a bias of (L*B, E) stands where images are not slowest."""

    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.last(self.attention(x, x, x, need_weights=False)[0])


class Frames(nn.Module):
    """A video whose frames go through a convolution as images of their own: (B*T, C, H, W)."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 3, 2), nn.Linear(6, 4)

    def forward(self, x):
        return self.last(torch.relu(self.conv(x.flatten(0, 1))).unflatten(0, (-1, 3)).flatten(2))


class Stacked(nn.Module):
    """Two images through one encoder, one behind the other in the batch, as in RAFT."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 2)

    def forward(self, x):
        a, b = torch.chunk(torch.relu(self.conv(torch.cat([x, 0.5 * x.flip(-1)], 0))), 2)
        return a - 2 * b


@pytest.mark.turns(3, 1)
@pytest.mark.parametrize(
    ("make", "shape", "at"),
    [(SequenceFirst, (5, 8), (2, 1)), (Frames, (3, 2, 3, 2), (2, 1)), (Stacked, (2, 3, 4), (1, 1, 1))],
)
@torch.no_grad()
def test_constants_are_those_of_each_image(make, shape, at, rng):
    """``row`` and contributions of two images at once equal those of each alone."""
    model = make().double().eval()
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=D))
    x0, index = torch.randn(2, *shape, generator=rng, dtype=D), torch.tensor([3, 9, 6, 11])
    row = fxscope.transform(model, "row", example_inputs=(x0,))
    _, rows, r = row(x0, index)
    for k in range(2):
        for b in range(2):
            _, one, alone = row(x0[b : b + 1], index[2 * k + b : 2 * k + b + 1])
            assert (
                laws.distance([rows[2 * k + b : 2 * k + b + 1]], [one]) < 1e-12
                and laws.distance([r[2 * k + b : 2 * k + b + 1]], [alone]) < 1e-12
            )
    both = fxscope.interpret(model, x0).contributions(at)
    for b in range(2):
        one = fxscope.interpret(model, x0[b : b + 1]).contributions(at)
        assert all(
            abs(float(t.value[b]) - float(s.value)) < 1e-12
            for t, s in zip(both.terms, one.terms, strict=True)
        )


def test_a_causal_mask_is_not_taken_for_a_value_that_is_not_finite(rng):
    class Causal(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(
                x, x, x, attn_mask=torch.full((4, 4), -torch.inf, dtype=x.dtype).triu(1)
            )

    x0 = torch.randn(1, 4, 3, generator=rng, dtype=D)
    lin = fxscope.interpret(Causal(), x0, policy="taylor")
    assert laws.distance(lin.F @ x0[0] + lin.residual[0], lin.y0[0]) < 1e-12
    with pytest.raises(fxscope.FxscopeError, match="x holds NaN"):
        fxscope.interpret(Causal(), x0.index_fill(1, torch.tensor([1]), torch.nan), policy="taylor")
