"""Law 7 on whole blocks.

F is the Jacobian of the same block with its factors detached, written by hand here.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.testing import laws

D = torch.float64
EPS = 1e-5


def kept(x):
    return x


class Block(nn.Module):
    """A block in two readings.

    ``stop`` is the identity in the model, and detach in the hand-written reading of it.
    """

    def __init__(self, stop=kept, linear_mean: bool = False):
        super().__init__()
        self.stop, self.linear_mean = stop, linear_mean

    def norm(self, layer: nn.LayerNorm, x, dims=(-1,)):
        if self.stop is kept:
            return layer(x)
        mean, var = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
        mean = mean if self.linear_mean else mean.detach()
        return (x - mean) * torch.rsqrt(var + layer.eps).detach() * layer.weight + layer.bias

    def attend(self, q, k, v, bias=0.0):
        return self.stop(torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) + bias, -1)) @ v


def heads(x, h):
    return x.unflatten(-1, (h, -1)).transpose(-3, -2)


class GPT2(Block):
    """Causal attention and the tanh form of GELU, spelled as Hugging Face's gelu_new."""

    shape = (2, 5, 8)

    def __init__(self, **options):
        super().__init__(**options)
        self.ln1, self.ln2, self.qkv, self.out, self.up, self.down = (
            nn.LayerNorm(8),
            nn.LayerNorm(8),
            nn.Linear(8, 24),
            nn.Linear(8, 8),
            nn.Linear(8, 32),
            nn.Linear(32, 8),
        )

    def forward(self, x):
        q, k, v = (heads(t, 2) for t in self.qkv(self.norm(self.ln1, x)).chunk(3, -1))
        causal = torch.full((5, 5), -math.inf, dtype=x.dtype).triu(1)
        x = x + self.out(self.attend(q, k, v, causal).transpose(1, 2).flatten(2))
        h = self.up(self.norm(self.ln2, x))
        gate = 1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (h + 0.044715 * torch.pow(h, 3.0)))
        return x + self.down(0.5 * h * self.stop(gate))


class Llama(Block):
    """RMS norms, rotary embeddings, grouped-query attention, SwiGLU."""

    shape = (2, 5, 8)

    def __init__(self, gated="uniform", **options):
        super().__init__(**options)
        self.gated = gated
        self.n1, self.n2 = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.rand(8) + 0.5)
        self.q, self.k, self.v, self.o = (
            nn.Linear(8, 8, bias=False),
            nn.Linear(8, 4, bias=False),
            nn.Linear(8, 4, bias=False),
            nn.Linear(8, 8, bias=False),
        )
        self.gate, self.up, self.down = nn.Linear(8, 12, bias=False), nn.Linear(8, 12), nn.Linear(12, 8)

    def rms(self, x, weight):
        return weight * (x * self.stop(torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)))

    def turn(self, x):
        angle = torch.outer(torch.arange(5, dtype=x.dtype), torch.tensor([1.0, 0.1], dtype=x.dtype))
        cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
        half = x.shape[-1] // 2
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def forward(self, x):
        n = self.rms(x, self.n1)
        q, k, v = heads(self.q(n), 2), heads(self.k(n), 1), heads(self.v(n), 1)
        causal = torch.full((5, 5), -math.inf, dtype=x.dtype).triu(1)
        x = x + self.o(
            self.attend(self.turn(q), self.turn(k).repeat_interleave(2, 1), v.repeat_interleave(2, 1), causal)
            .transpose(1, 2)
            .flatten(2)
        )
        n = self.rms(x, self.n2)
        g, u = self.gate(n), self.up(n)
        s = g * self.stop(torch.sigmoid(g)) if self.stop is not kept else F.silu(g)
        if self.stop is kept:
            product = s * u
        else:
            product = s.detach() * u if self.gated == "gate" else (s * u.detach() + s.detach() * u) / 2
        return x + self.down(product)


class ViT(Block):
    shape = (2, 6, 8)

    def __init__(self, **options):
        super().__init__(**options)
        self.ln1, self.ln2, self.up, self.down = (
            nn.LayerNorm(8),
            nn.LayerNorm(8),
            nn.Linear(8, 16),
            nn.Linear(16, 8),
        )
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        n = self.norm(self.ln1, x)
        q, k, v = heads(self.q(n), 2), heads(self.k(n), 2), heads(self.v(n), 2)
        mixed = F.scaled_dot_product_attention(q, k, v) if self.stop is kept else self.attend(q, k, v)
        x = x + mixed.transpose(1, 2).flatten(2)
        h = self.up(self.norm(self.ln2, x))
        return x + self.down(F.gelu(h) if self.stop is kept else h * (0.5 * torch.erfc(-h / 2**0.5)).detach())


class SE(Block):
    shape = (2, 6, 5, 4)

    def __init__(self, **options):
        super().__init__(**options)
        self.conv, self.down, self.up = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 3, 1), nn.Conv2d(3, 6, 1)

    def forward(self, x):
        h = self.conv(x)
        return x + h * self.stop(torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(h, 1))))))


class NAFNet(Block):
    """Layer norm over channels, the simple gate a*b, and simplified channel attention."""

    shape = (2, 4, 5, 6)

    def __init__(self, **options):
        super().__init__(**options)
        self.ln, self.expand, self.depth, self.sca, self.last = (
            nn.LayerNorm(4),
            nn.Conv2d(4, 8, 1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 1),
        )

    def forward(self, x):
        n = self.norm(self.ln, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        a, b = self.depth(self.expand(n)).chunk(2, 1)
        h = a * b if self.stop is kept else (a * b.detach() + a.detach() * b) / 2
        return x + self.last(h * self.stop(self.sca(F.adaptive_avg_pool2d(h, 1))))


class Swin(Block):
    """Shifted windows of 2 by 2, with a relative position bias and the mask of the shift."""

    shape = (2, 4, 4, 8)

    def __init__(self, **options):
        super().__init__(**options)
        self.ln1, self.ln2, self.qkv, self.out, self.up, self.down = (
            nn.LayerNorm(8),
            nn.LayerNorm(8),
            nn.Linear(8, 24),
            nn.Linear(8, 8),
            nn.Linear(8, 16),
            nn.Linear(16, 8),
        )
        self.bias = nn.Parameter(torch.randn(2, 4, 4))

    def windows(self, x):
        b, h, w, c = x.shape
        return (
            x.view(b, h // 2, 2, w // 2, 2, c)
            .permute(0, 1, 3, 2, 4, 5)
            .reshape(b * (h // 2) * (w // 2), 4, c)
        )

    def forward(self, x):
        b, h, w, c = x.shape
        n = torch.roll(self.norm(self.ln1, x), (-1, -1), (1, 2))
        q, k, v = (heads(t, 2) for t in self.qkv(self.windows(n)).chunk(3, -1))
        a = self.out(self.attend(q, k, v, self.bias).transpose(1, 2).flatten(2))
        a = a.view(b, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        x = x + torch.roll(a, (1, 1), (1, 2))
        u = self.up(self.norm(self.ln2, x))
        return x + self.down(F.gelu(u) if self.stop is kept else u * (0.5 * torch.erfc(-u / 2**0.5)).detach())


class LSTMGate(Block):
    """One step of a recurrent cell.

    Sigmoid times tanh keeps the tanh; a constant state times sigmoid keeps the sigmoid.
    """

    shape = (2, 8)

    def __init__(self, **options):
        super().__init__(**options)
        self.all, self.state = nn.Linear(8, 32), nn.Parameter(torch.randn(8))

    def forward(self, x):
        i, f, g, o = self.all(x).chunk(4, -1)
        if self.stop is kept:
            return torch.sigmoid(o) * torch.tanh(
                torch.sigmoid(f) * self.state + torch.sigmoid(i) * torch.tanh(g)
            )
        factor = lambda t: t * (torch.tanh(t) / t).detach()  # noqa: E731
        forget = f * ((torch.sigmoid(f) - 0.5) / f).detach() + 0.5
        return torch.sigmoid(o).detach() * factor(forget * self.state + torch.sigmoid(i).detach() * factor(g))


def twin_of(model, **options):
    detached = type(model)(stop=torch.Tensor.detach, **options).double()
    detached.load_state_dict(model.state_dict())
    return detached


def check(model, detached, policy, bound=1e-11):
    rng = torch.Generator().manual_seed(1)
    x0, v = torch.randn(model.shape, generator=rng, dtype=D), torch.randn(model.shape, generator=rng, dtype=D)
    assert laws.distance(detached(x0), model(x0)) < 1e-12, "the detached block is not the same function"
    filter = fxscope.transform(model, "filter", policy=policy, example_inputs=(x0,))
    expected = laws.twice_transposed(lambda x: (detached(x),), x0, v)
    assert laws.distance(filter(x0, v), expected[0]) < bound
    full = laws.jacobian_vector_product(lambda x: (model(x),), x0, v)
    assert laws.distance(expected[0], full[0]) > 1e-3, "nothing was detached"


@pytest.mark.parametrize("kind", [GPT2, Llama, ViT, SE, NAFNet, Swin, LSTMGate])
def test_blocks_under_freeze(kind):
    torch.manual_seed(0)
    model = kind().double()
    check(model, twin_of(model), "freeze")


@pytest.mark.parametrize(
    ("kind", "options"),
    [(GPT2, {"linear_mean": True}), (Llama, {"gated": "gate"}), (ViT, {"linear_mean": True})],
)
def test_blocks_under_detach(kind, options):
    torch.manual_seed(0)
    model = kind().double()
    check(model, twin_of(model, **options), "detach")
