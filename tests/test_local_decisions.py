"""Rows of crops where decisions are local equal those of the whole image.

Where a decision is global, or not known to be local, it is named.
"""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.errors import NotLocal
from fxscope.testing import randomize

D = torch.float64


class Around(nn.Module):
    """A convolution, a habit, a convolution."""

    def __init__(self, habit):
        super().__init__()
        self.a, self.b, self.habit = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1), habit
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.3, 0.2]).view(4, 1, 1))
        self.register_buffer("plane", torch.linspace(0, 1, 40 * 44).view(1, 1, 40, 44))
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        return self.b(self.habit(self, self.a(x)))


def _setup(habit, shape=(1, 2, 40, 44)):
    x0 = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=D)
    torch.manual_seed(0)
    return Around(habit).double().eval(), x0


def _spatial(h):
    return h.flatten(2)


GLOBAL = {
    "median": ("median", lambda m, h: h * (h > _spatial(h).median(-1).values[..., None, None])),
    "argsort": ("argsort", lambda m, h: h * (torch.argsort(_spatial(h), -1).view_as(h) > 99)),
    "argmax": (
        "argmax",
        lambda m, h: h * torch.sigmoid(_spatial(h).argmax(-1)[..., None, None].to(h.dtype) - 900.0),
    ),
    "cumsum": ("cumsum", lambda m, h: h * torch.sigmoid(h.cumsum(2))),
    "amax": ("amax", lambda m, h: h * torch.tanh(h.amax((2, 3), keepdim=True))),
    "max": ("amax|max", lambda m, h: torch.where(h > h.max() * 0.5, h, h * 0.1)),
    "pooled": ("adaptive_max_pool2d", lambda m, h: h * torch.sigmoid(F.adaptive_max_pool2d(h, 1))),
    "softmax": ("softmax", lambda m, h: h * _spatial(h).softmax(-1).view_as(h)),
    "softmax of rows": ("softmax", lambda m, h: h * h.softmax(3)),
    "quantile": (
        "quantile",
        lambda m, h: h * (h > torch.quantile(_spatial(h), 0.7, dim=-1)[..., None, None]),
    ),
    "topk": ("topk", lambda m, h: h * (h > _spatial(h).topk(30, -1).values[..., -1][..., None, None])),
    "kthvalue": ("kthvalue", lambda m, h: h * (h > _spatial(h).kthvalue(30, -1).values[..., None, None])),
    "sort": ("sort", lambda m, h: h.sort(2).values),
    "normalize": ("normalize", lambda m, h: F.normalize(h, dim=2)),
    "flip": ("flip", lambda m, h: h + h.flip(3)),
    "roll": ("roll", lambda m, h: torch.roll(h, 1, 2)),
    "transposed": ("add", lambda m, h: h[..., :40] + h[..., :40].transpose(2, 3)),
    "attention": ("mean", lambda m, h: h * torch.sigmoid(h.mean((2, 3), keepdim=True))),
    "rows": ("sum", lambda m, h: h * torch.tanh(h.sum(2, keepdim=True))),
    "columns": ("mean", lambda m, h: h * torch.tanh(h.mean(-1, keepdim=True))),
    "index": ("getitem", lambda m, h: h[:, :, torch.arange(39, -1, -1)]),
    "list": ("getitem", lambda m, h: h + h[:, :, [3]]),
    "one row": ("getitem", lambda m, h: h * torch.sigmoid(h[:, :, 5].unsqueeze(2))),
    "std": ("std", lambda m, h: h / h.std((2, 3), keepdim=True)),
    "norm": ("norm", lambda m, h: h / (1 + h.norm(dim=(2, 3), keepdim=True))),
    "matmul": ("matmul", lambda m, h: h * torch.tanh(h @ h.transpose(2, 3) @ h)),
    "nothing known": ("erfinv", lambda m, h: h * (torch.erfinv(torch.tanh(h)) > 0)),
    "coordinates": ("mul|add", lambda m, h: h * torch.arange(h.shape[3], dtype=h.dtype)),
    "a plane": ("add", lambda m, h: torch.relu(h + m.plane)),
    "the size": ("truediv|div", lambda m, h: torch.tanh(h / h.shape[2])),
    "counted": ("mul|div", lambda m, h: h * torch.relu(torch.ones_like(h).cumsum(2))),
    "unfold": (
        "unfold",
        lambda m, h: F.fold(torch.relu(F.unfold(h, 3, padding=1)), h.shape[2:], 3, padding=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GLOBAL)
def test_a_global_decision_is_refused_by_name(name):
    said, habit = GLOBAL[name]
    model, x0 = _setup(habit)
    with pytest.raises(
        NotLocal, match=rf"({said}).*test_local_decisions.py|test_local_decisions.py.*({said})"
    ):
        fxscope.local_row(model, x0, (0, 20, 22))


LOCAL = {
    "gates": lambda m, h: h * torch.sigmoid(F.avg_pool2d(h, 3, 1, 1)),
    "median of channels": lambda m, h: h * (h > h.median(1, keepdim=True).values),
    "argmax of channels": lambda m, h: h * F.one_hot(h.argmax(1), 4).permute(0, 3, 1, 2).to(h.dtype),
    "sort of channels": lambda m, h: h.sort(1).values,
    "topk of channels": lambda m, h: torch.cat([h.topk(2, 1).values, h.topk(2, 1, largest=False).values], 1),
    "gathered": lambda m, h: h.gather(1, h.argsort(1)),
    "softmax of channels": lambda m, h: h * h.softmax(1),
    "layer norm": lambda m, h: m.norm(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "a written norm": lambda m, h: (h - h.mean(1, keepdim=True)) / torch.sqrt(h.var(1, keepdim=True) + 1e-5),
    "normalize": lambda m, h: F.normalize(h, dim=1),
    "response": lambda m, h: F.local_response_norm(h, 3, alpha=0.1),
    "no padding": lambda m, h: F.relu(F.conv2d(F.relu(F.conv2d(h, m.b.weight)), m.a.weight)),
    "a mean": lambda m, h: torch.relu(h - m.mean),
    "a far decision": lambda m, h: h * (F.max_pool2d(h, 9, 1, 4) > 1.0),
    "a coarse decision": lambda m, h: h * F.interpolate(torch.sigmoid(F.avg_pool2d(h, 4)), scale_factor=4.0),
    "of signs": lambda m, h: h * F.conv2d(torch.sign(h), m.b.weight, padding=1)[:, :1],
    "of detached": lambda m, h: (
        h + F.conv2d(F.relu(h.detach()), m.b.weight, padding=3, dilation=3)[:, :1] * h
    ),
    "cut": lambda m, h: torch.cat([
        h[:, :2, 2:-2, 2:-2],
        torch.tanh(F.conv2d(h, m.b.weight.repeat(1, 1, 2, 2)[..., :5, :5])[:, :2]),
    ], 1),
    "differences": lambda m, h: torch.tanh(h[:, :, 1:] - h[:, :, :-1]),
    "windows": lambda m, h: h.unfold(2, 3, 1).amax(-1),
    "space to depth": lambda m, h: F.pixel_shuffle(F.relu(F.pixel_unshuffle(h, 2)), 2),
    "by hand": lambda m, h: (
        h.view(1, 4, h.shape[2] // 2, 2, h.shape[3] // 2, 2).amax((3, 5))
        .repeat_interleave(2, 2).repeat_interleave(2, -1) * h
    ),
    "split": lambda m, h: torch.cat([
        h.chunk(2, 1)[0] * torch.sigmoid(h.chunk(2, 1)[1]),
        torch.relu(h.split([1, 3], 1)[1][:, :2]),
    ], 1),
    "zeros": lambda m, h: (
        torch.cat([h[:, :2], torch.zeros_like(h[:, 2:])], 1) + torch.where(h > 0, h, torch.zeros_like(h))
    ),
    "reflected": lambda m, h: torch.relu(F.avg_pool2d(F.pad(h, (2, 2, 2, 2), "reflect"), 5, 1)),
    "nearest": lambda m, h: h * torch.sigmoid(
        F.interpolate(F.interpolate(h, scale_factor=0.5), scale_factor=2)
    ),
    "sized like": lambda m, h: h * torch.sigmoid(
        F.interpolate(F.max_pool2d(h, 2), size=h.shape[2:], mode="bilinear")
    ),
    "maximum": lambda m, h: torch.maximum(h, F.avg_pool2d(h, 3, 1, 1)).clamp(-1, 1),
    "matmul": lambda m, h: (
        (h.permute(0, 2, 3, 1) @ m.b.weight[0, :, :, 0].new_ones(4, 4)).permute(0, 3, 1, 2) * torch.tanh(h)
    ),
    "einsum": lambda m, h: torch.einsum("bchw,bdhw->bchw", h, torch.tanh(h)),
}  # fmt: skip


def _compare(model, x0, places, policy=None):
    lin = fxscope.interpret(model, x0, policy=policy)
    for place in places(lin.F.outputs.shape):
        row, got = lin.F.row(place), fxscope.local_row(model, x0, place, policy=policy)
        inside = row[got.box]
        assert (inside - got.values).abs().max() < 1e-12 * (1 + row.abs().max())
        assert row.abs().sum().item() == pytest.approx(inside.abs().sum().item(), rel=1e-12)
        assert got.y0 == pytest.approx(lin.y0[0][place].item(), abs=1e-10) and got.r == pytest.approx(
            lin.residual[0][place].item(), abs=1e-10
        )

    pixels = places(lin.F.inputs.shape)[1:]
    for place, part in zip(pixels, fxscope.local_columns(model, x0, pixels, policy=policy), strict=True):
        column = lin.F.column(place)
        inside = column[part.box]
        assert torch.allclose(inside, part.values, rtol=0, atol=1e-12 * (1 + float(column.abs().max())))
        assert column.abs().sum().item() == pytest.approx(inside.abs().sum().item(), rel=1e-12)


def _places(shape):
    _, h, w = shape
    return [(0, 0, 0), (1, h - 1, w - 2), (0, h // 2, w // 3)]


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", LOCAL)
def test_rows_where_decisions_are_local(name):
    model, x0 = _setup(LOCAL[name])
    _compare(model, x0, _places)


CONSTANT = torch.tensor([0.4, 0.5, 0.3, 0.2], dtype=D)
CONSTANTS = {
    "a buffer": lambda m, h: h - m.mean,
    "alone": lambda m, h: torch.relu(h - m.mean)[:, :, 1:],
    "from the left": lambda m, h: m.mean - h,
    "a vector": lambda m, h: h * CONSTANT[:, None, None],
    "of its own kind": lambda m, h: h - m.mean.to(h.dtype).to(h.device) + m.mean.type_as(h),
    "made of a list": lambda m, h: h - torch.as_tensor([0.1, 0.2, 0.3, 0.4], dtype=h.dtype).reshape(4, 1, 1),
    "as large as the image": lambda m, h: h - m.mean.expand(h.size()) * 2,
    "expanded as the image": lambda m, h: torch.cat([h[:, :2], m.mean.expand_as(h)[:, 2:]], 1) * h,
    "of the rank of the image": lambda m, h: h - CONSTANT.view(1, -1, *[1] * (h.dim() - 2)),
    "of the channels": lambda m, h: h * CONSTANT.view(h.shape[1], *[1] * (len(h.shape) - 2)),
    "of the other channels": lambda m, h: h.flip(1) - m.mean.flip(-3),
    "unpacked": lambda m, h: (lambda b, c, *_: h.reshape(b * c, *h.shape[2:]).view_as(h) - m.mean)(*h.shape),
}  # fmt: skip


class Beneath(nn.Module):
    """A habit before anything tells how many dimensions the image has."""

    def __init__(self, around):
        super().__init__()
        self.around = around

    def forward(self, x):
        return self.around.habit(self.around, x)


ALONE = [(n, False) for n in ("a buffer", "alone", "of the rank of the image", "unpacked")]


@pytest.mark.turns(3)
@pytest.mark.parametrize(("name", "within"), [*((n, True) for n in CONSTANTS), *ALONE])
def test_constants_that_every_place_reads_alike(name, within):
    model, x0 = _setup(CONSTANTS[name])
    _compare(
        model if within else Beneath(model),
        x0 if within else torch.cat([x0, x0 / 3], 1),
        lambda s: _places(s)[1:],
    )


SIZED = {
    "expanded": lambda m, h: h * (m.mean * h.shape[2]).expand_as(h),
    "a plane, cast": lambda m, h: h + m.plane.to(h.dtype),
    "a plane, expanded": lambda m, h: h + m.plane.expand(h.size()),
    "flipped rows": lambda m, h: h + h.flip((1, 2)),
}


@pytest.mark.parametrize("name", SIZED)
def test_constants_that_the_size_decides_are_refused_at_the_line_of_the_model(name):
    model, x0 = _setup(SIZED[name])
    with pytest.raises(NotLocal, match=r"test_local_decisions.py:\d+: .*lambda m, h") as told:
        fxscope.local_row(model, x0, (0, 20, 22))
    assert "local_row(" not in str(told.value)


def test_a_model_without_lines_of_its_own_names_none():
    with pytest.raises(NotLocal, match=r"softmax at 1 \(1\) depends"):
        fxscope.local_row(nn.Sequential(nn.Conv2d(2, 2, 3), nn.Softmax(2)), torch.rand(1, 2, 9, 9), (0, 5, 5))


def test_rows_under_another_policy():
    model, x0 = _setup(
        lambda m, h: F.normalize(h, dim=1) * h.softmax(1) + torch.tanh(h) * F.avg_pool2d(h, 3, 1, 1)
    )
    _compare(model, x0, _places, "taylor")


def test_the_field_of_a_decision_is_in_the_crop():
    model, x0 = _setup(LOCAL["a far decision"])
    got = fxscope.local_row(model, x0, (0, 20, 22))
    assert got.values.shape[1:] == (13, 13)  # 3 + 9 + 3 - 2, though F reads 5 x 5


def _random_network(rng):
    """A chain of local operators with skip connections and gates, as source text: what failed can be read."""
    lines = ["h = self.a(x)"]
    steps = [
        "h = F.relu(h)", "h = F.silu(h)", "h = h * torch.sigmoid(self.c(h))", "h = F.max_pool2d(h, 3, 1, 1)",
        "h = h + F.gelu(self.c(h))", "h = h * (h > h.median(1, keepdim=True).values)",
        "h = F.avg_pool2d(F.pad(h, (1, 1, 1, 1), 'reflect'), 3, 1)", "h = h.softmax(1) * h",
        "h = F.pad(h, (0, 1, 2, 0), 'replicate')", "h = self.c(h)[:, :, 1:, :-2]",
        "h = torch.maximum(h, self.c(h))",
        "h = F.conv2d(h, self.c.weight)", "h = F.layer_norm(h.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2)",
    ]  # fmt: skip
    grids = [
        "h = F.max_pool2d(h, 2)",
        "h = F.conv2d(h, self.c.weight, stride=2, padding=1)",
        "h = F.interpolate(h, scale_factor=2.0, mode='bilinear')",
        "h = h[:, :, ::2, 1::2]",
        "h = F.conv_transpose2d(h, self.c.weight, stride=2)",
    ]
    for _ in range(rng.randint(2, 6)):
        lines.append(rng.choice(grids if rng.random() < 0.3 else steps))
    return "\n        ".join([*lines, "return self.b(h)"])


def _built(source):
    space = {"torch": torch, "F": F, "nn": nn}
    text = f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 3), \
nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        {source}
"""
    exec(text, space)
    torch.manual_seed(0)
    return space["Net"]().double().eval()


@pytest.mark.turns(3)
@pytest.mark.parametrize("seed", range(6))
def test_random_networks_of_local_operators(seed):
    rng = random.Random(seed)
    source = _random_network(rng)
    x0 = torch.randn(1, 2, 37 + seed, 52, generator=torch.Generator().manual_seed(seed), dtype=D)
    model = randomize(_built(source), x0)
    try:
        _compare(
            model,
            x0,
            lambda s: (
                [(rng.randrange(s[0]), rng.randrange(s[1]), rng.randrange(s[2])) for _ in range(2)]
                + [(0, 0, s[2] - 1)]
            ),
        )
    except AssertionError as error:
        raise AssertionError(source) from error


DRAWN = {
    "dropout": lambda m, h: F.dropout(h, 0.3, True),
    "rrelu": lambda m, h: F.rrelu(h, training=True),
    "of a constant": lambda m, h: h * F.rrelu(-m.mean.expand_as(h), training=True),
    "bernoulli": lambda m, h: h * torch.bernoulli(torch.full_like(h, 0.5)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_numbers_are_refused(name):
    model, x0 = _setup(DRAWN[name])
    with pytest.raises(NotLocal, match="draws random numbers"):
        fxscope.local_row(model, x0, (0, 20, 22))


def test_a_rule_of_ones_own_is_global_until_it_says_otherwise():
    from fxscope.rules import declare

    def unit(x):
        return None

    assert declare.mask("unit_a", unit, unit).local is not None
    assert (
        declare.linear("unit_b", unit, unit).local is None
        and declare.constant("unit_c", unit, unit).local is None
    )
