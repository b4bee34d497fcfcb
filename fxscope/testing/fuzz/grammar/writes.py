"""Aliases, and writes in place: through names, views, slices and masks."""

from __future__ import annotations

from .base import Draw, production


def _own(d: Draw, rank: int | tuple[int, ...] | None = None) -> str:
    """A live value that may be written into."""
    return d.tensor(rank, lambda t: not any(t is d.live[n] for n in d.fixed))


@production(2)
def alias(d: Draw) -> str:
    """A second name, or a view, of a value."""
    name = d.tensor()
    out = d.new()
    if d.rank(name) < 3 or d.chance(0.4):
        return f"{out} = {name}"
    text = d.one(
        "{0}.view({0}.shape)",
        "{0}[:]",
        "{0}.detach() * 0 + {0}",
        "{0}[...]",
        "{0}.view_as({0})",
        "{0}.flatten(1)",
        "{0}.transpose(1, 2)",
        "{0}[:, :1]",
        "{0}.reshape({0}.shape[0], -1)",
        "{0}.contiguous()",
        "{0}.mT",
        "{0}.expand_as({0})",
        "{0}.to({0}.dtype)",
    )
    return f"{out} = {text.format(name)}"


@production(4)
def in_place(d: Draw) -> str:
    """Arithmetic in place."""
    name = _own(d)
    other = d.same(name)
    return d.one(
        "{0} += {1}",
        "{0} *= 0.5",
        "{0}.add_({1})",
        "{0}.mul_(2)",
        "{0} -= {1}",
        "F.relu_({0})",
        "{0}.relu_()",
        "{0}.clamp_(-1, 1)",
        "{0} = {0}.add_(1)",
        "torch.relu_({0})",
        "{0} /= 2",
        "{0}.sub_({1}, alpha=0.5)",
        "{0} *= {1}",
        "{0}.mul_({1})",
        "{0}.tanh_()",
        "{0}.sigmoid_()",
        "{0}.neg_()",
        "{0}.abs_()",
        "{0}.add_({1}, alpha=-0.3)",
        "{0}.clamp_(min=0)",
        "{0} = F.leaky_relu({0}, 0.1, inplace=True)",
        "{0}.div_(1.5)",
        "F.elu_({0})",
        "{0}.masked_fill_({0} < -0.5, 0.1)",
        "{0}.addcmul_({1}, {1}, value=0.1)",
        "{0}.copy_({1})",
        "{0}.lerp_({1}, 0.5)",
    ).format(name, other)


@production(3)
def written_part(d: Draw) -> str:
    """A slice, a place or a mask of a value written over."""
    name = _own(d, (2, 3, 4))
    if d.shape(name)[1] < 2:
        return in_place(d)
    return d.one(
        "{0}[:, 0] = 0",
        "{0}[:, 1:] = {0}[:, :-1].clone()",
        "{0}[:, :1] *= 0.5",
        "{0}[:, 1:] += 1",
        "{0}[:, 0] = {0}[:, 1].tanh()",
        "{0}[..., 0] = 0.3",
        "{0}[:, ::2] = {0}[:, ::2].relu()",
        "{0}[:, 1].mul_(2)",
        "{0}[:, 0].add_({0}[:, 1])",
        "{0}[:, 1:].relu_()",
        "{0}[..., 1:].clamp_(-0.5, 0.5)",
        "{0}.select(1, 0).mul_(0.3)",
        "{0}.narrow(1, 0, 1).fill_(0.2)",
        "{0}[{0} < -0.4] = 0.0",
        "{0}[:, -1] -= {0}[:, 0]",
        "{0}[:, :1].zero_()",
        "{0}[:, 0].copy_({0}[:, 1])",
    ).format(name)


_VIEWS = (
    "{0}.view({0}.size(0), -1)",
    "{0}.flatten(1)",
    "{0}.transpose(1, 2)",
    "{0}[:, :1]",
    "{0}.permute({1})",
    "{0}.mT",
    "{0}.reshape({0}.shape[0], -1)",
    "{0}.unsqueeze(1)",
    "{0}.swapdims(1, 2)",
    "{0}.movedim(1, -1)",
    "{0}.unbind(1)[0]",
    "{0}.chunk(2, 1)[0]",
    "{0}.split(1, 1)[0]",
    "{0}[..., ::2]",
    "{0}.view_as({0})",
    "{0}.diagonal(dim1=-2, dim2=-1)",
    "{0}.contiguous()",
    "{0}.to({0}.dtype)",
    "{0}.type_as({0})",
    "{0}.flatten(-2)",
    "{0}.ravel()",
    "{0}.squeeze()",
    "{0}.narrow(-1, 0, 2)",
    "{0}.expand_as({0})",
    "{0}.double()",
    "{0}.unfold(-1, 2, 2)",
    "{0}.permute({1}).contiguous()",
)


@production(3)
def written_view(d: Draw) -> str:
    """A view with a name, and a write through it."""
    name, v = _own(d, (3, 4)), d.new()
    channels_last = "0, 2, 1" if d.rank(name) == 3 else "0, 2, 3, 1"
    view = d.one(*_VIEWS).format(name, channels_last)
    write = d.one(
        "{0} += 1",
        "{0}.relu_()",
        "{0}.mul_(0.5)",
        "{0}.clamp_(-1, 1)",
        "{0}[:, :1] = 0.1",
        "{0} *= 2",
        "{0}.add_(0.3)",
        "F.relu({0}, inplace=True)",
        "{0}.tanh_()",
        "{0}.neg_()",
    )
    return f"{v} = {view}\n{write.format(v)}"


@production(1)
def filled(d: Draw) -> str:
    """A new tensor that is filled part by part."""
    name = d.tensor((3, 4), lambda t: t.shape[1] > 1)
    out = d.new()
    made = d.one(
        "torch.zeros_like({0})",
        "torch.empty_like({0}).fill_(0.5)",
        "{0}.new_zeros({0}.shape)",
        "torch.ones_like({0})",
        "{0}.clone()",
        "{0} * 0",
    )
    part = d.one(
        "{1}[:, 0] = {0}[:, 1]",
        "{1}[:, 1:] = {0}[:, :-1]",
        "{1}[:, :-1] += {0}[:, 1:]",
        "{1}[:, ::2] = {0}[:, ::2].tanh()",
        "{1}[..., 1:] = {0}[..., :-1] * 2",
        "{1}.copy_({0}.relu())",
        "{1}[:] = {0}.sigmoid()",
    )
    return f"{out} = {made.format(name)}\n{part.format(name, out)}"
