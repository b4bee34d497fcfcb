"""Law 12: every spelling of one function gives the same F, under every policy and through both frontends."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from drawn import crossed
from torch import nn

import fxscope
from fxscope.testing import laws

IMAGE, ROWS = (2, 4, 6, 6), (2, 4)


class Between(nn.Module):
    """A function of the convolved (or mapped) input: ``a`` and ``b`` are two affine functions of x."""

    def __init__(self, function, shape):
        super().__init__()
        torch.manual_seed(0)
        layer = (lambda: nn.Conv2d(4, 4, 1)) if len(shape) == 4 else (lambda: nn.Linear(shape[-1], shape[-1]))
        self.one, self.two, self.function = layer(), layer(), function
        self.bilinear = nn.Bilinear(4, 4, 3)
        self.pooled, self.powers = nn.Linear(4, 4), nn.LPPool2d(2, 2)
        self.lstm, self.gru = nn.LSTMCell(4, 4), nn.GRUCell(4, 4)

    def forward(self, x):
        return self.function(self, self.one(x), self.two(x))


def pooled(m, a):
    return m.pooled(a.mean((2, 3)))


def memory(cell, x, h, c):
    """One step of an LSTM, by hand."""
    i, f, g, o = cell_parts(cell, x, h, 4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c) + c


def cell_parts(cell, x, h, count):
    given = F.linear(x, cell.weight_ih, cell.bias_ih) + F.linear(h, cell.weight_hh, cell.bias_hh)
    return given.chunk(count, 1)


def recurrent(cell, x, h):
    """One step of a GRU, by hand."""
    given = F.linear(x, cell.weight_ih, cell.bias_ih).split(4, 1)
    kept = F.linear(h, cell.weight_hh, cell.bias_hh).split(4, 1)
    r, z = torch.sigmoid(given[0] + kept[0]), torch.sigmoid(given[1] + kept[1])
    return (1 - z) * torch.tanh(given[2] + r * kept[2]) + z * h


def both(states):
    h, c = states
    return h + c


def weights(cell):
    return cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh


def complex_of(a, b):
    return torch.view_as_complex(torch.stack((a, b), -1))


# {name: (shape of x, spellings)}
SPELLINGS = {
    "bilinear": (
        ROWS,
        (
            lambda m, a, b: m.bilinear(a, b),
            lambda m, a, b: F.bilinear(a, b, m.bilinear.weight, m.bilinear.bias),
            lambda m, a, b: torch.einsum("bi,oij,bj->bo", a, m.bilinear.weight, b) + m.bilinear.bias,
            lambda m, a, b: (
                torch.einsum("bij,oij->bo", a[:, :, None] * b[:, None, :], m.bilinear.weight)
                + m.bilinear.bias
            ),
        ),
    ),
    "silu of one factor": (
        IMAGE,
        (
            lambda m, a, b: F.silu(a) * b,
            lambda m, a, b: (a * torch.sigmoid(a)) * b,
            lambda m, a, b: b * (torch.sigmoid(a) * a),
            lambda m, a, b: a / (1 + torch.exp(-a)) * b,
            lambda m, a, b: F.silu(a).to(a.dtype) * b,
        ),
    ),
    "gelu of one factor": (
        IMAGE,
        (
            lambda m, a, b: F.gelu(a) * b,
            lambda m, a, b: 0.5 * a * (1 + torch.erf(a / 2**0.5)) * b,
            lambda m, a, b: b * (a * (0.5 * (1 + torch.erf(a * 0.5**0.5)))),
        ),
    ),
    "hardswish of one factor": (
        IMAGE,
        (
            lambda m, a, b: F.hardswish(a) * b,
            lambda m, a, b: a * F.relu6(a + 3) / 6 * b,
            lambda m, a, b: (a * F.hardsigmoid(a)) * b,
            lambda m, a, b: a * (torch.clamp(a + 3, 0, 6) / 6) * b,
        ),
    ),
    "power pooling": (
        IMAGE,
        (
            lambda m, a, b: F.lp_pool2d(a, 2.0, 2),
            lambda m, a, b: F.avg_pool2d(a**2, 2).mul(4) ** 0.5,
            lambda m, a, b: torch.sqrt(F.avg_pool2d(a * a, 2) * 4),
            lambda m, a, b: m.powers(a),
        ),
    ),
    "norm": (
        IMAGE,
        (
            lambda m, a, b: a.norm(dim=1),
            lambda m, a, b: torch.sqrt((a * a).sum(1)),
            lambda m, a, b: a.pow(2).sum(1).pow(0.5),
            lambda m, a, b: torch.linalg.vector_norm(a, dim=1),
            lambda m, a, b: (a**2).mean(1).sqrt() * 2.0,
        ),
    ),
    "deviation": (
        IMAGE,
        (lambda m, a, b: a.std(1), lambda m, a, b: a.var(1).sqrt(), lambda m, a, b: torch.var(a, 1) ** 0.5),
    ),
    "log-softmax": (
        IMAGE,
        (
            lambda m, a, b: F.log_softmax(a, 1),
            lambda m, a, b: a - a.logsumexp(1, keepdim=True),
            lambda m, a, b: a - torch.logsumexp(a, 1).unsqueeze(1),
            lambda m, a, b: a - a.exp().sum(1, keepdim=True).log(),
            lambda m, a, b: torch.log(torch.softmax(a, 1)),
            lambda m, a, b: (
                (a - a.amax(1, keepdim=True)) - (a - a.amax(1, keepdim=True)).exp().sum(1, keepdim=True).log()
            ),
        ),
    ),
    "sigmoid": (
        IMAGE,
        (
            lambda m, a, b: torch.sigmoid(a),
            lambda m, a, b: 1 / (1 + torch.exp(-a)),
            lambda m, a, b: torch.reciprocal(torch.exp(-a) + 1.0),
            lambda m, a, b: (1 + (-a).exp()) ** -1,
        ),
    ),
    "softplus": (
        IMAGE,
        (
            lambda m, a, b: F.softplus(a),
            lambda m, a, b: torch.log(1 + torch.exp(a)),
            lambda m, a, b: torch.log1p(a.exp()),
        ),
    ),
    "attention of channels": (
        IMAGE,
        (
            lambda m, a, b: b * pooled(m, a)[:, :, None, None],
            lambda m, a, b: b * pooled(m, a).unsqueeze(-1).unsqueeze(-1),
            lambda m, a, b: b * pooled(m, a).view(a.size(0), 4, 1, 1),
            lambda m, a, b: pooled(m, a).reshape(a.shape[0], -1, 1, 1).expand_as(b) * b,
            lambda m, a, b: torch.einsum("bchw,bc->bchw", b, pooled(m, a)),
            lambda m, a, b: torch.mul(b.permute(2, 3, 0, 1), pooled(m, a)).permute(2, 3, 0, 1),
            lambda m, a, b: b * m.pooled(F.adaptive_avg_pool2d(a, 1).flatten(1))[..., None, None],
            lambda m, a, b: b * m.pooled(a.flatten(2).mean(-1))[:, :, None, None],
            lambda m, a, b: (
                b * F.conv2d(a.mean((2, 3), keepdim=True), m.pooled.weight[:, :, None, None], m.pooled.bias)
            ),
            lambda m, a, b: b * m.pooled(a.mean(3).mean(2)).view(-1, 4, 1, 1),
        ),
    ),
    "attention of places": (
        IMAGE,
        (
            lambda m, a, b: b * a.mean(1, keepdim=True),
            lambda m, a, b: b * a.mean(1)[:, None],
            lambda m, a, b: b * (a.sum(-3) / 4).unsqueeze(1),
            lambda m, a, b: b * F.conv2d(a, torch.full((1, 4, 1, 1), 0.25, dtype=a.dtype)),
            lambda m, a, b: torch.einsum("bchw,bhw->bchw", b, a.mean(1)),
        ),
    ),
    "a slice is no reduction": (
        IMAGE,
        (
            lambda m, a, b: b * a[:, :1],
            lambda m, a, b: b * a[:, 0].unsqueeze(1),
            lambda m, a, b: b * a.chunk(4, 1)[0],
            lambda m, a, b: b * a.narrow(1, 0, 1),
            lambda m, a, b: b * a.split(1, 1)[0],
        ),
    ),
    "weighted sum": (
        ROWS,
        (
            lambda m, a, b: torch.einsum("bi,bi->b", a, b),
            lambda m, a, b: (a * b).sum(1),
            lambda m, a, b: torch.matmul(a[:, None, :], b[:, :, None])[:, 0, 0],
            lambda m, a, b: torch.bmm(a.unsqueeze(1), b.unsqueeze(2)).flatten(),
        ),
    ),
    "modulus": (
        ROWS,
        (
            lambda m, a, b: torch.hypot(a, b),
            lambda m, a, b: complex_of(a, b).abs(),
            lambda m, a, b: torch.stack((a, b)).norm(dim=0),
            lambda m, a, b: torch.sqrt(a * a + b**2),
        ),
    ),
    "direction": (
        ROWS,
        (
            lambda m, a, b: torch.view_as_real(torch.sgn(torch.complex(a, b))),
            lambda m, a, b: torch.view_as_real(complex_of(a, b) / complex_of(a, b).abs()),
            lambda m, a, b: F.normalize(torch.stack((a, b), -1), dim=-1),
        ),
    ),
    "gate of a modulus": (
        ROWS,
        (
            lambda m, a, b: (complex_of(a, b) * F.softplus(complex_of(a, b).abs())).imag,
            lambda m, a, b: (
                torch.stack((a, b), -1) * F.softplus(torch.stack((a, b), -1).norm(dim=-1, keepdim=True))
            )[..., 1],
        ),
    ),
    "complex product": (
        ROWS,
        (
            lambda m, a, b: torch.view_as_real(complex_of(a, b) * complex_of(b, a + 1)),
            lambda m, a, b: torch.view_as_real(torch.mul(torch.complex(b, a + 1), torch.complex(a, b))),
            lambda m, a, b: torch.stack((a * b - b * (a + 1), a * (a + 1) + b * b), -1),
        ),
    ),
    "cosine similarity": (
        ROWS,
        (
            lambda m, a, b: F.cosine_similarity(a, b),
            lambda m, a, b: (F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(1),
            lambda m, a, b: (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)),
        ),
    ),
    "distances": (
        (2, 4, 4),
        (
            lambda m, a, b: torch.cdist(a, b),
            lambda m, a, b: (a[:, :, None] - b[:, None]).norm(dim=-1),
            lambda m, a, b: F.pairwise_distance(a.unsqueeze(2), b.unsqueeze(1), eps=0.0),
            lambda m, a, b: ((a[:, :, None] - b[:, None]) ** 2).sum(-1).sqrt(),
        ),
    ),
    "product of two": (
        ROWS,
        (
            lambda m, a, b: a * b,
            lambda m, a, b: torch.stack((a, b)).prod(0),
            lambda m, a, b: torch.cumprod(torch.stack((a, b), -1), -1)[..., 1],
        ),
    ),
    "smooth maximum": (
        ROWS,
        (
            lambda m, a, b: torch.logaddexp(a, b),
            lambda m, a, b: torch.logsumexp(torch.stack((a, b)), 0),
            lambda m, a, b: torch.stack((a, b), 1).logcumsumexp(1)[:, 1],
        ),
    ),
    "lower median": (
        ROWS,
        (
            lambda m, a, b: a.median(1).values,
            lambda m, a, b: torch.kthvalue(a, 2, 1)[0],
            lambda m, a, b: torch.quantile(a, 0.5, dim=1, interpolation="lower"),
            lambda m, a, b: torch.sort(a, 1)[0][:, 1],
        ),
    ),
    "quantile": (
        ROWS,
        (
            lambda m, a, b: torch.quantile(a, 0.3, 1),
            lambda m, a, b: a.nanquantile(0.3, dim=1),
            lambda m, a, b: torch.lerp(a.sort(1).values[:, 0], a.sort(1).values[:, 1], 0.9),
        ),
    ),
    "step of an LSTM": (
        ROWS,
        (
            lambda m, a, b: both(m.lstm(a, (b, a + 1))),
            lambda m, a, b: both(torch.lstm_cell(a, (b, a + 1), *weights(m.lstm))),
            lambda m, a, b: memory(m.lstm, a, b, a + 1),
        ),
    ),
    "step of a GRU": (
        ROWS,
        (
            lambda m, a, b: m.gru(a, b),
            lambda m, a, b: torch.gru_cell(a, b, *weights(m.gru)),
            lambda m, a, b: recurrent(m.gru, a, b),
        ),
    ),
}
POLICIES = ("freeze", "detach", "taylor")


def interpreter(function, shape, policy, frontend):
    model = Between(function, shape).double().eval()
    x0 = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return model, x0, fxscope.interpret(model, x0, policy=policy, frontend=frontend)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("name", "policy"), crossed(SPELLINGS, POLICIES))
def test_every_spelling_has_the_same_f(name, policy):
    shape, spellings = SPELLINGS[name]
    probes = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    model, x0, first = interpreter(spellings[0], shape, policy, "symbolic")
    y0, expected = model(x0), first.F @ probes
    for function in spellings:
        for frontend in ("symbolic", "export"):
            _, _, lin = interpreter(function, shape, policy, frontend)
            assert laws.distance(lin.y0, y0) < 1e-12, "another function"
            assert laws.distance(lin.F @ probes, expected) < 1e-9
