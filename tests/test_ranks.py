"""Ranks without an example: known and right, or refused with the node's name; never guessed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.errors import TraceFailure, UnknownRank
from fxscope.testing import laws
from fxscope.testing.case import LawCase

IMAGE = (2, 4, 6, 5)


class Model(nn.Module):
    """A function of a convolution, with buffers of several ranks beside it."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.function = nn.Conv2d(4, 4, 1), function
        self.narrow = nn.Conv2d(4, 1, 1)
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("grid", torch.tensor([[2, 0], [1, 3]]))
        self.register_buffer("one", torch.tensor(2))
        self.register_buffer("some", torch.tensor([True, False, True, True]))
        self.register_buffer("scale", torch.rand(5))
        self.register_buffer("plane", torch.rand(6, 5))
        self.register_buffer("wide", torch.rand(1, 4, 1, 1))
        self.register_buffer("slope", torch.rand(1))

    def forward(self, x):
        return self.function(self, self.conv(x))


# spellings that the graph alone tells: right without an example
KNOWN = {
    "an index of numbers": lambda m, h: h[:, m.order].std(1),
    "an index of numbers, and a norm": lambda m, h: h[:, m.order].norm(dim=1),
    "a table of numbers": lambda m, h: h[:, m.grid].std(1) * h.mean(1)[:, None],
    "a buffer of one number": lambda m, h: h[:, m.one].std(1),
    "a mask of one dimension": lambda m, h: h[:, m.some].std(1),
    "a list": lambda m, h: h[:, [0, 2]].var((1, 2)),
    "squeeze of keepdim": lambda m, h: h.mean(2, keepdim=True).squeeze(2).std(1),
    "squeeze of one channel": lambda m, h: m.narrow(h).squeeze(1).std(1),
    "squeeze of pooling": lambda m, h: F.adaptive_avg_pool2d(h, 1).squeeze(-1).squeeze(-1).std(1),
    "squeeze of unsqueeze": lambda m, h: h.unsqueeze(1).squeeze(1).norm(dim=1),
    "squeeze of None": lambda m, h: h[:, None].squeeze(1).norm(dim=1),
    "a comparison": lambda m, h: (h * (h > 0.1)).std(1),
    "a comparison of reductions": lambda m, h: (h.mean(1) * (h.sum(1) > 0.1)).std(1),
    "a computed constant": lambda m, h: (h.mean(1) + (m.scale * 2 - 1)).std(1),
    "a constant made in forward": (
        lambda m, h: (h.sum(1) * torch.linspace(0.0, 1.0, 5, dtype=torch.float64)).std(1)
    ),
    "zeros of the input's size": (
        lambda m, h: torch.cat([h.new_zeros(h.size(0), 1, h.size(2), h.size(3)), h], 1).std(1)
    ),
    "ones like": lambda m, h: (h.sum(1) - torch.ones_like(h).sum(1)).norm(dim=1),
    "an argmax as an index": lambda m, h: h.std(1) + F.one_hot(h.argmax(1), 4).sum(-1),
    "a plane": lambda m, h: (h.flatten(2).unflatten(2, (6, 5)) + m.plane).std(1),
    "a sort": lambda m, h: h.sort(1)[0][:, :2].std(1),
}
# spellings of which only sizes would tell the rank, and F does not need it
FREE = {
    "squeeze that does nothing, and a deviation": lambda m, h: h.squeeze(2).std(1),
    "squeeze that does nothing, and a norm": lambda m, h: h.squeeze(2).norm(dim=1),
    "squeeze that does nothing, and a variance": lambda m, h: torch.squeeze(h, 1).var(1),
    "squeeze without a dimension": lambda m, h: h.squeeze().std(1),
    "squeeze of several": lambda m, h: h.squeeze((2, 3)).norm(dim=1),
    "squeeze of a slice, and a maximum": lambda m, h: h[:, :, :1].squeeze(2).amax(1),
    "a median": lambda m, h: h.squeeze(2).median(1)[0],
    "a maximum over one dimension": lambda m, h: h.squeeze(2).max(dim=-1).values,
    "a mean over everything": lambda m, h: h * h.squeeze(2).mean(),
    "the largest": lambda m, h: h.squeeze(2).topk(2, dim=1)[0],
    "a buffer beside it": lambda m, h: h.squeeze(2) * m.wide + m.scale,
    "a buffer, divided and clamped": lambda m, h: (h.squeeze(2) / m.wide).clamp(m.wide - 1, m.wide),
    "the larger of it and a buffer": lambda m, h: torch.maximum(h.squeeze(2), m.wide),
    "where": lambda m, h: torch.where(m.wide > 0.5, h.squeeze(2), h.squeeze(2) * 2),
    "tiled": lambda m, h: torch.tile(h.squeeze(2), (1, 2, 1, 1)),
    "repeated": lambda m, h: h.squeeze(2).repeat(1, 1, 2, 1),
    "as wide as another": lambda m, h: m.scale + h.squeeze(2).expand_as(h.squeeze(3)),
    "in its own size": lambda m, h: (h.squeeze(2) * 2).reshape(h.squeeze(2).size()),
    "one slope": lambda m, h: F.prelu(h.squeeze(2), m.slope),
}
# spellings of which only sizes would tell the rank, which F needs: refused without an example, right with one
UNKNOWN = {
    "squeeze, and a product whose gate it hides": lambda m, h: h * h.squeeze(2).mean(1, keepdim=True),
    "squeeze, and groups": lambda m, h: F.group_norm(h.squeeze(2), 2),
    "squeeze, and planes": lambda m, h: F.instance_norm(h.squeeze(2)),
}


def check(model, x0, **options):
    s = LawCase.of(model, (x0,), **options)
    assert s.errors("law 3")["law 3"] < 1e-12
    reference = fxscope.interpret(model, x0)
    assert reference.error < 1e-12
    assert laws.distance(s.linear.unflatten(0, (s.K, -1)), reference.F @ s.probes[0]) < 1e-12
    tangent = LawCase.of(model, (x0,), policy="taylor").errors("law 6", "law 13 memory")
    assert max(tangent.values()) < 1e-9


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", KNOWN)
def test_known_without_an_example(name, rng):
    model = Model(KNOWN[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    check(model, x0, free=True)


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", FREE)
def test_unknown_and_not_needed(name, rng):
    model = Model(FREE[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    for policy in ("freeze", "taylor"):
        filter = fxscope.transform(model, "filter", policy=policy)
        whole = fxscope.interpret(model, x0, policy=policy)
        v, w = torch.randn(2, *IMAGE, generator=rng, dtype=torch.float64)
        assert laws.distance(filter(x0, v), whole.F @ v) < 1e-12
        assert laws.distance(filter(x0, 2 * v - 3 * w), 2 * filter(x0, v) - 3 * filter(x0, w)) < 1e-12
        y0, y1 = fxscope.transform(model, policy=policy)(x0, x0)
        assert laws.distance(y1, y0) < 1e-12
        assert laws.distance(fxscope.transform(model, "residual", policy=policy)(x0), whole.residual) < 1e-12
        adjoint_or_refused(model, policy, x0, whole)


def adjoint_or_refused(model, policy, x0, whole):
    """The transpose needs the sizes of a value, and so their number."""
    try:
        adjoint = fxscope.transform(model, "adjoint", policy=policy)
    except UnknownRank as error:
        assert "example_inputs" in str(error)
        return
    u = torch.randn(whole.y0.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert laws.distance(adjoint(x0, u), whole.F.T @ u) < 1e-12


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_without_an_example(name, rng):
    model = Model(UNKNOWN[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    with pytest.raises(UnknownRank, match=r"squeeze.*example_inputs|example_inputs"):
        fxscope.transform(model, "filter")
    check(model, x0)


class Beside(nn.Module):
    """A function of an input whose rank nothing before the function tells, and of some layers."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.conv, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(5, 5)
        self.line, self.condition = nn.Conv1d(4, 4, 1), nn.Linear(3, 8)

    def forward(self, x):
        return self.function(self, x)


def unused(m, x):
    m.conv(x)
    return x.std(1) * x.amax((2, 3))[:, None, None].mean(3)


def unused_norm(m, x):
    x.permute(0, 2, 3, 1).tanh()
    return F.instance_norm(x)


def unpacked(m, x):
    b, c, h, w = x.shape
    m.conv(x.view(b, c, h, w))
    return F.group_norm(x, 2)


# what a later operator, or one that is not used, asks of the input: its rank is known in every form
BACKWARDS = {
    "a convolution behind a product": lambda m, x: m.conv(x * x.tanh().mean(1, keepdim=True)),
    "a permutation behind a pad": lambda m, x: F.pad(x, (0, 1)).permute(0, 2, 3, 1).std(-1),
    "letters": lambda m, x: torch.einsum("bchw,bchw->bhw", x, x.tanh()) + x.std(1),
    "an expansion that keeps the first size": (
        lambda m, x: x.unsqueeze(1).expand(-1, 2, -1, -1, -1).flatten(1, 2).std(1)
    ),
    "limits that meet": lambda m, x: (
        m.conv(x * x.mean((2, 3))[:, :, None, None].sigmoid()) + F.group_norm(x, 2)
    ),
    "a sum of one rank": lambda m, x: torch.cat([x, m.conv(x.relu())], 1).var(1),
    "what is not used": unused,
    "a permutation that is not used": unused_norm,
    "unpacked sizes": unpacked,
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", BACKWARDS)
def test_a_consumer_tells_the_rank(name, rng):
    model = Beside(BACKWARDS[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    check(model, x0, free=True)
    whole = fxscope.interpret(model, x0)
    u = torch.randn(whole.y0.shape, generator=rng, dtype=torch.float64)
    assert laws.distance(fxscope.transform(model, "adjoint")(x0, u), whole.F.T @ u) < 1e-12


# an input that works with several ranks: the same graph is right for each of them
SEVERAL = {
    "a linear layer": lambda m, x: m.last(x).std(-1),
    "a product with what was reduced": lambda m, x: m.last(x) * x.mean(1, keepdim=True),
    "a sum over one dimension, put back": lambda m, x: x * x.sum(1).unsqueeze(1),
    "the smallest": lambda m, x: (x - x.amin(1, keepdim=True)) / (x.norm(dim=-1, keepdim=True) + 1),
    "sorted": lambda m, x: x.sort(1)[0] * x.sigmoid(),
    "normalized": lambda m, x: F.normalize(m.last(x), dim=1),
    "its own size": lambda m, x: m.last(x).view(x.shape).expand_as(x),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 5), (2, 4, 6, 5)], ids=len)
@pytest.mark.parametrize("name", SEVERAL)
def test_one_graph_for_every_rank(name, shape, rng):
    model = Beside(SEVERAL[name]).double().eval()
    x0 = torch.randn(shape, generator=rng, dtype=torch.float64)
    check(model, x0, free=True)


# the first input is probed beside another, of which the graph does not tell the rank
TWO = {
    "a product": lambda m, x, z: x * (z + 1),
    "a quotient": lambda m, x, z: x / (z.abs() + 0.5),
    "a quotient of it": lambda m, x, z: z / (x.abs() + 0.5),
    "a difference": lambda m, x, z: (z - x).relu(),
    "a norm of a sum": lambda m, x, z: (x + z).norm(dim=-1),
    "the larger": lambda m, x, z: torch.maximum(m.conv(x), z),
    "where it is positive": lambda m, x, z: torch.where(z > 0, m.conv(x), x * 2),
    "a clamp": lambda m, x, z: x.clamp(-z.abs(), z.abs()),
    "a shift and a scale": lambda m, x, z: m.conv(x) * (1 + z[:, None]) + z[:, None],
}


class Pair(Beside):
    def forward(self, x, z):
        return self.function(self, x, z)


@pytest.mark.turns(4)
@pytest.mark.parametrize("shape", [(5,), (6, 5), (2, 4, 6, 5), (3, 2, 4, 6, 5)], ids=len)
@pytest.mark.parametrize("policy", ["freeze", "taylor"])
@pytest.mark.parametrize("name", TWO)
def test_beside_an_input_of_any_rank(name, policy, shape, rng):
    if len(shape) == 1 and "shift" in name:
        pytest.skip("it indexes two dimensions")
    model = Pair(TWO[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    z = torch.randn(shape, generator=rng, dtype=torch.float64)
    if "shift" in name:
        z = torch.randn(2, 6, 5, generator=rng, dtype=torch.float64)
    exact = fxscope.transform(model, "filter", policy=policy, example_inputs=(x0, z), frontend="symbolic")
    v, w = torch.randn(2, *IMAGE, generator=rng, dtype=torch.float64)
    filter = fxscope.transform(model, "filter", policy=policy)
    assert laws.distance(filter(x0, z, v), exact(x0, z, v)) < 1e-12
    several = torch.stack([v, w]).flatten(0, 1)
    assert laws.distance(filter(x0, z, several), exact(x0, z, several)) < 1e-12


def parts(m, x):
    return torch.cat([part.tanh() * (i + 1) for i, part in enumerate(m.conv(x).chunk(4, 1))], 1)


def places(m, x):
    return torch.stack([part * part.sigmoid() for part in m.conv(x).relu().unbind(1)], 1)


def halves(m, x):
    return torch.stack([half.relu() for half in m.conv(x).split(2, dim=1)], 1)


def channels_of_the_input(m, x):
    m.conv(F.pad(x, (1, 1, 1, 1), mode="replicate"))
    return torch.cat([part.exp() for part in x.permute(0, 2, 3, 1).split(1, -1)], -1)


def rank_of_images(m, x):
    h = m.conv(x)
    return h.flatten(2).std(1) if h.dim() == 4 else h


def rank_of_a_list(m, x):
    h = m.conv(x)
    return h * len(h.shape) if h.ndim > 3 else h.unsqueeze(2)


def channels_compared(m, x):
    h = m.conv(x).relu()
    return h.mean(1, keepdim=True) * h if h.shape[1] > 2 else h


def one_channel(m, x):
    h = m.conv(x).amax(1, keepdim=True)
    assert h.size(1) == 1 and x.shape[-1] > 0
    return h.tanh() * x


def unpacked_tail(m, x):
    h = m.conv(x)
    return h.reshape(-1, 2, 2, *h.shape[2:]).std(1)


def length_of_parts(m, x):
    q, k = m.conv(x).chunk(2, 1)
    found = m.conv(x).split((1, 3), 1)
    return q * k.sigmoid() * len(found)


# what Python code asks of ranks and sizes that the graph fixes: answered without an example
ASKED = {
    f.__name__: f
    for f in (parts, places, halves, channels_of_the_input, rank_of_images, rank_of_a_list, channels_compared,
              one_channel, unpacked_tail, length_of_parts)
}  # fmt: skip


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", ASKED)
def test_questions_that_the_graph_answers(name, rng):
    model = Beside(ASKED[name]).double().eval()
    for shape in (IMAGE, (3, 4, 7, 8)):
        x0 = torch.randn(shape, generator=rng, dtype=torch.float64)
        check(model, x0, free=True)
        y0, _ = fxscope.transform(model)(x0, x0)
        assert laws.distance(y0, model(x0)) < 1e-12


# dimensions that are computed from the rank, where a convolution tells it
COMPUTED = {
    "a sum": lambda m, x: torch.sum(m.conv(x), dim=m.conv(x).dim() - 1),
    "means of two": lambda m, x: m.conv(x).mean((x.ndim - 2, x.ndim - 1)),
    "side by side": lambda m, x: torch.cat([m.conv(x), x], dim=x.dim() - 3),
    "transposed": lambda m, x: m.conv(x).transpose(1, x.dim() - 1),
    "a range": lambda m, x: m.conv(x).mean([d for d in range(x.dim()) if d > 1]),
    "a permutation": lambda m, x: m.conv(x).permute(0, *range(2, x.ndim), 1).std(-1),
    "the end of flatten": lambda m, x: m.conv(x).flatten(x.dim() - 2, x.dim() - 1),
    "an index": lambda m, x: m.conv(x)[(slice(None),) * (x.dim() - 1) + (0,)],
    "a table by rank": lambda m, x: {3: x, 4: m.conv(x).relu()}[x.dim()],
    "normalized": lambda m, x: F.layer_norm(m.conv(x), x.shape[x.dim() - 1 :]),
    "every second": lambda m, x: m.conv(x).sum(x.dim() // 2) + m.conv(x).sum(x.dim() % 3 + 1),
    "a view": lambda m, x: m.conv(x) * x.new_ones(4).view(-1, *[1] * (x.dim() - 2)),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", COMPUTED)
def test_dimensions_that_the_graph_tells(name, rng):
    def function(m, x):
        return COMPUTED[name](m, m.conv(x))

    model = Beside(function).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    check(model, x0, free=True)
    y0, _ = fxscope.transform(model)(x0, x0)
    assert laws.distance(y0, model(x0)) < 1e-12


# the same where nothing tells the rank: counted from the end it is not needed
FROM_THE_END = {
    "a sum": lambda m, x: torch.sum(x.relu(), dim=x.dim() - 1),
    "means": lambda m, x: x.relu().mean((x.ndim - 2, x.ndim - 1)),
    "transposed": lambda m, x: x.relu().transpose(x.dim() - 3, x.dim() - 1),
    "normalized": lambda m, x: F.normalize(x.relu(), dim=x.dim() - 3),
    "unsqueezed": lambda m, x: x.relu().unsqueeze(x.dim()) * 2,
    "stacked": lambda m, x: torch.stack([x.relu(), x], dim=x.ndim),
    "a gate": lambda m, x: x * x.mean(x.dim() - 1, keepdim=True),
    "layer norm": lambda m, x: F.layer_norm(x.relu(), x.shape[x.dim() - 1 :]),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", FROM_THE_END)
def test_dimensions_counted_from_the_end(name, rng):
    model = Beside(FROM_THE_END[name]).double().eval()
    for shape in (IMAGE, (2, 3, 4, 5, 2)):
        x0 = torch.randn(shape, generator=rng, dtype=torch.float64)
        check(model, x0, free=True)
        y0, _ = fxscope.transform(model)(x0, x0)
        assert laws.distance(y0, model(x0)) < 1e-12


# what depends on the rank of the input, which nothing fixes
UNTOLD = {
    "a rank that a layer leaves open": lambda m, x: m.last(x) * 2 if x.dim() == 4 else m.last(x),
    "a range": lambda m, x: x.relu().sum([d for d in range(x.dim()) if d > 1]),
    "half of it": lambda m, x: x.relu().sum(x.dim() // 2),
    "the length of a shape": lambda m, x: x.relu().flatten(len(x.shape) - 2),
    "an index": lambda m, x: x.relu()[(slice(None),) * (x.dim() - 1) + (0,)],
    "the sizes one by one": lambda m, x: x.relu().view(*x.shape, 1),
    "a truth value": lambda m, x: x.relu().sum(int(x.ndim > 3)),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", UNTOLD)
def test_dimensions_that_only_an_example_tells(name, rng):
    model = Beside(UNTOLD[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    with pytest.raises(UnknownRank, match=r"test_ranks.py:\d+: (?s:.*)example_inputs") as caught:
        fxscope.transform(model)
    assert str(caught.value).count("example_inputs") == 1 and "\n" not in str(caught.value)
    check(model, x0)


# what depends on the sizes of the input, which nothing fixes
OPEN = {
    "an odd width": lambda m, x: F.pad(m.conv(x), (0, 1)) if x.shape[-1] % 2 else m.conv(x),
    "a large height": lambda m, x: m.conv(x) * 2 if x.size(2) > 6 else m.conv(x),
    "several images": lambda m, x: m.conv(x) + 1 if x.shape[0] > 1 else m.conv(x),
    "the places of a row": lambda m, x: torch.stack([c.tanh() for c in m.conv(x).unbind(3)], 3),
    "parts of an unknown size": lambda m, x: torch.cat([c.tanh() for c in m.conv(x).chunk(3, 2)], 2),
    "an exact size": lambda m, x: m.conv(x) * 2 if x.shape[2] == 6 else m.conv(x),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", OPEN)
def test_questions_that_an_example_answers(name, rng):
    model = Beside(OPEN[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    with pytest.raises(TraceFailure, match="example_inputs"):
        fxscope.transform(model, "filter")
    check(model, x0)
