"""Writes through views, against the untouched model.

Each kind of view, each way to write, and a read afterwards.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.errors import AliasingWrite, FxscopeError, TraceFailure
from fxscope.testing import laws

D = torch.float64

# what is taken of h, and whether it is a view of it: True, False, or None where the graph alone does not tell
VIEWS = {
    "mT": (lambda h: h.mT, True),
    "transpose": (lambda h: h.transpose(1, -1), True),
    "swapdims": (lambda h: h.swapdims(1, 2), True),
    "swapaxes": (lambda h: torch.swapaxes(h, 1, 2), True),
    "moveaxis": (lambda h: h.moveaxis(1, -1), True),
    "movedim": (lambda h: torch.movedim(h, 3, 1), True),
    "permute": (lambda h: h.permute(0, 2, 3, 1), True),
    "diagonal": (lambda h: h.diagonal(0, 2, 3), True),
    "windows": (lambda h: h.unfold(2, 2, 3), True),
    "select": (lambda h: h.select(1, 2), True),
    "narrow": (lambda h: h.narrow(2, 1, 3), True),
    "index": (lambda h: h[:, 1:3, 2], True),
    "ellipsis": (lambda h: h[..., 1], True),
    "new axis": (lambda h: h[:, None, 1], True),
    "chunk": (lambda h: h.chunk(2, 1)[1], True),
    "split": (lambda h: torch.split(h, 2, 2)[1], True),
    "split by sizes": (lambda h: h.split([1, 3], 1)[1], True),
    "unbind": (lambda h: h.unbind(1)[2], True),
    "view": (lambda h: h.view(h.size(0), 24, 6), True),
    "unflatten": (lambda h: h.unflatten(1, (2, 2)), True),
    "squeeze": (lambda h: h.unsqueeze(1).squeeze(1), True),
    "view_as": (lambda h: h.view_as(h), True),
    "expand_as": (lambda h: h.expand_as(h), True),
    "alias": (lambda h: h[:], True),
    "dropout in eval": (lambda h: F.dropout(h, 0.5, False), True),
    "chain": (lambda h: h.transpose(1, 2)[:, 1:3].permute(0, 2, 1, 3), True),
    "clone": (lambda h: h.clone(), False),
    "to a copy": (lambda h: h.to(torch.float64, copy=True), False),
    "by a list": (lambda h: h[:, [0, 2]], False),
    "to": (lambda h: h.to(torch.float64), None),
    "double": (lambda h: h.double(), None),
    "type_as itself": (lambda h: h.type_as(h), True),
    "type_as": (lambda h: h.type_as(torch.cos(h)), None),
    "cpu": (lambda h: h.cpu(), None),
    "permute, contiguous": (lambda h: h.permute(0, 2, 3, 1).contiguous(), None),
    "permute, permute, contiguous": (lambda h: h.permute(0, 2, 3, 1).permute(0, 3, 1, 2).contiguous(), None),
    "transpose, reshape": (lambda h: h.transpose(1, 2).reshape(h.size(0), -1), None),
    # taken for contiguous, which the graph checks
    "contiguous": (lambda h: h.contiguous(), True),
    "reshape": (lambda h: h.reshape(h.size(0), -1), True),
    "flatten": (lambda h: h.flatten(1), True),
    "ravel": (lambda h: h.ravel(), True),
}


def doubled(v):
    v *= 2


def shifted(v):
    v.add_(torch.cos(v))


def filled(v):
    v[:1] = 0.25


def rectified(v):
    F.relu(v, True)


def through_out(v):
    torch.mul(v, v, out=v)


def clamped(v):
    torch.clamp_(v, -0.5, 0.5)


WRITES = [doubled, shifted, filled, rectified, through_out, clamped]


class Through(nn.Module):
    """A view is taken, one of the two is written, and both are read."""

    def __init__(self, view, write, where="view"):
        super().__init__()
        torch.manual_seed(0)
        self.view, self.write, self.where, self.conv = view, write, where, nn.Conv2d(2, 4, 3, padding=1)
        self.double().requires_grad_(False)

    def forward(self, x):
        h = self.conv(x)
        v = self.view(h)
        self.write(v if self.where == "view" else h)
        return h * 1.5, v.sin()


def photo(rng, *shape):
    return torch.randn(*(shape or (2, 2, 6, 6)), generator=rng, dtype=D)


def derivative(model, x0, v):
    """By autograd, or by autograd of torch's own functional form.

    The latter is for where autograd refuses to write into one of several views (chunk, split, unbind).
    """
    try:
        return torch.func.jvp(lambda x: model(x.clone()), (x0,), (v,))[1]
    except RuntimeError:
        return torch.func.jvp(torch.func.functionalize(lambda x: model(x.clone())), (x0,), (v,))[1]


def agrees(model, x0, v, transformed):
    """Laws 1 and 2, and under the policy "taylor" law 6."""
    pair, filter = transformed("pair"), transformed("filter")
    kept = x0.clone()
    expected = model(x0.clone())
    y0, y1 = pair(x0, x0)
    assert torch.equal(x0, kept), "x0 was written into"
    assert laws.distance(y0, expected) < 1e-12 and laws.distance(y1, y0) < 1e-12
    assert laws.distance(filter(x0, v), derivative(model, x0, v)) < 1e-9


def example_of(x0, given):
    return {"example_inputs": (x0,)} if given else {}


@pytest.mark.turns(4)
@pytest.mark.parametrize("where", ["view", "base"])
@pytest.mark.parametrize("name", VIEWS)
def test_each_view(name, where, rng):
    view, shares = VIEWS[name]
    model, x0, v = Through(view, doubled, where), photo(rng), photo(rng)
    agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor", example_inputs=(x0,)))
    if shares is None:
        with pytest.raises(AliasingWrite, match=r"(?s)test_aliasing.py.*example_inputs"):
            fxscope.transform(model)
    else:
        agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor"))


@pytest.mark.turns(2)
@pytest.mark.parametrize("name", ["transpose", "index", "chunk", "flatten"])
@pytest.mark.parametrize("write", WRITES[1:])
def test_each_write(write, name, rng):
    for where in ("view", "base"):
        model, x0, v = Through(VIEWS[name][0], write, where), photo(rng), photo(rng)
        agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor"))


@pytest.mark.turns(4)
@pytest.mark.parametrize(
    "name", ["mT", "moveaxis", "diagonal", "ravel", "type_as", "permute, contiguous", "chunk", "index"]
)
def test_views_through_export(name, rng):
    model, x0, v = Through(VIEWS[name][0], doubled), photo(rng), photo(rng)
    agrees(
        model,
        x0,
        v,
        lambda form: fxscope.transform(model, form, policy="taylor", example_inputs=(x0,), frontend="export"),
    )


def test_a_graph_checks_the_layout_that_it_was_made_for(rng):
    model, x0 = Through(VIEWS["flatten"][0], doubled), photo(rng)
    other = x0.to(memory_format=torch.channels_last)
    assert laws.distance(model(other.clone()), model(x0.clone())) > 1e-3, "another function of another layout"
    with pytest.raises(AssertionError, match="contiguous"):
        fxscope.transform(model)(other, other)
    agrees(
        model,
        other,
        photo(rng),
        lambda form: fxscope.transform(model, form, policy="taylor", example_inputs=(other,)),
    )
    with pytest.raises(AssertionError, match="contiguous"):
        fxscope.transform(model, example_inputs=(other,))(x0, x0)


# statements that write, in the words of a forward; h is a value of the network, and is read afterwards
def by_method_of_the_class(h):
    torch.Tensor.add_(h, 1.0)


def by_filling(h):
    torch.fill_(h[:, 0], 0.5)


def by_copying(h):
    h[:, 1].copy_(h[:, 0] * 2)


def by_a_list(h):
    torch._foreach_mul_([h[:, 0], h[:, 1:3]], 2.0)


def by_lists(h):
    torch._foreach_add_([h[:, 0], h[:, 1]], [h[:, 2], h[:, 3]])


def by_a_mask(h):
    h[h > 0.3] = 0.1


def by_a_mask_of_fewer_dimensions(h):
    h[h.mean((2, 3)) > 0] = 0.1


def by_indices(h):
    h[:, torch.tensor([2, 0])] = h[:, 2:]


def by_initialising(h):
    nn.init.constant_(h[:, 3], 0.7)


def by_initialising_with_ones(h):
    nn.init.ones_(h[:, 3])


def by_dropout(h):
    F.dropout(h, 0.5, False, True).mul_(3.0)


def by_hardtanh(h):
    F.hardtanh_(h[:, 1:], -0.3, 0.4)


def by_setitem(h):
    import operator

    operator.setitem(h, (Ellipsis, 0), h[..., 1])


def by_out(h):
    torch.add(h, 1.0, out=h)


def by_squeezing(h):
    part = h[:, :1]
    part.squeeze_(1)
    part *= 2


def by_masked_fill(h):
    h.masked_fill_(h > 0.2, 0.2)


def by_clamp(h):
    h[:, 2].clamp_(min=0.0)


def by_shift_of_data(h):
    h.data.add_(1.0)


def by_augmenting_data(h):
    h.data += 1.0


def by_augmenting_a_row(h):
    h[:, 1] += h[:, 0]


STATEMENTS = [value for name, value in list(globals().items()) if name.startswith("by_")]


class Stating(Through):
    def __init__(self, statement):
        super().__init__(None, statement)

    def forward(self, x):
        h = self.conv(x)
        before = h[:, ::2]
        self.write(h)
        return h * 1.5, before * 0.5


@pytest.mark.turns(3)
@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("given", [True, False])
def test_each_statement(statement, given, rng):
    model, x0, v = Stating(statement), photo(rng), photo(rng)
    if statement is by_method_of_the_class and not given:
        with pytest.raises(TraceFailure, match="example_inputs"):
            fxscope.transform(model)
        return
    agrees(
        model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor", **example_of(x0, given))
    )


class OnTheInput(nn.Module):
    def __init__(self, write):
        super().__init__()
        self.write = write

    def forward(self, x):
        self.write(x)
        return x * 2.0


@pytest.mark.parametrize("write", [doubled, through_out, clamped, by_a_mask, by_dropout])
def test_the_input_is_not_written(write, rng):
    model, x0, x1 = OnTheInput(write), photo(rng), photo(rng)
    kept = x1.clone()
    agrees(model, x0, x1, lambda form: fxscope.transform(model, form, policy="taylor"))
    fxscope.transform(model)(x0, x1)
    assert torch.equal(x1, kept)


def test_what_is_written_behind_autograd_is_a_constant(rng):
    class Straight(nn.Module):
        def forward(self, x):
            y = x * 1.5
            y.detach().clamp_(-0.5, 0.5)
            return y * y

    model, x0, v = Straight(), photo(rng), photo(rng)
    agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor"))


class Counting(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.register_buffer("seen", torch.ones(4, 1, 1))
        self.conv = nn.Conv2d(2, 4, 3).double()

    def forward(self, x):
        h = self.conv(x)
        if self.kind == "count":
            self.seen += 1
        elif self.kind == "assign":
            self.seen = self.seen + 1
        else:
            self.seen.mul_(0.9).add_(h.mean((0, 2, 3)).view(-1, 1, 1), alpha=0.1)
        return h * self.seen


@pytest.mark.parametrize("kind", ["count", "assign", "average"])
def test_a_buffer_that_is_written_is_not_read_as_it_was(kind, rng):
    with pytest.raises(FxscopeError):
        fxscope.transform(Counting(kind).double().eval())


def test_unknown_writers_are_refused_with_their_line():
    with pytest.raises(AliasingWrite, match="test_aliasing.py"):
        fxscope.transform(Stating(lambda h: nn.init.kaiming_uniform_(h)))
