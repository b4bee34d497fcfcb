"""Reshaping, indexing, reductions and concatenation."""

from __future__ import annotations

from .base import Draw, Unsuitable, production

_OF_TOKENS = (
    "{}.transpose(1, 2)",
    "{}.permute(0, 2, 1)",
    "{}.mT",
    "{}.swapaxes(1, 2)",
    "{}.flip(1)",
    "{}.flatten(1)",
    "{}.roll(1, dims=-1)",
    "{}.permute(2, 0, 1).flip(0).permute(1, 2, 0)",
    "{0}.reshape({0}.size(0), -1)",
    "{0}.unsqueeze(-1)",
    "{0}[..., None]",
    "{0}.movedim(1, -1)",
    "{}.transpose(0, 1)",
)
_OF_IMAGES = (
    "{}.flatten(2)",
    "{}.flatten(2).transpose(1, 2)",
    "{}.permute(0, 2, 3, 1)",
    "{}.transpose(2, 3)",
    "{}.flip(-1)",
    "torch.flip({}, (2, 3))",
    "{}.flatten(1)",
    "{0}.view({0}.size(0), -1)",
    "{0}.view({0}.shape[0], {0}.shape[1], -1)",
    "{0}.reshape({0}.shape[0], -1, {0}.shape[3])",
    "torch.roll({}, (1, -1), (2, 3))",
    "{}.permute(0, 2, 1, 3).contiguous()",
    "{}.flatten(-2).unflatten(-1, {0}.shape[2:])",
    "{}.mT",
    "{}.movedim(1, 3).moveaxis(-1, 1)",
)
_OF_EVEN_CHANNELS = (
    "{0}.view({0}.size(0), 2, -1, {0}.size(2), {0}.size(3)).transpose(1, 2).flatten(1, 2)",
    "{0}.unflatten(1, (2, -1)).sum(2)",
    "{0}.reshape(-1, {0}.shape[1] // 2, 2, *{0}.shape[2:]).transpose(1, 2).reshape({0}.shape)",
)


@production(5)
def rearranged(d: Draw) -> str:
    """Dimensions moved, split, joined and put back."""
    name = d.tensor((3, 4, 4))
    options: tuple[str, ...] = _OF_TOKENS if d.rank(name) == 3 else _OF_IMAGES
    if d.rank(name) == 4 and d.shape(name)[1] % 2 == 0:
        options += _OF_EVEN_CHANNELS
    return d.unary(d.one(*options).replace("{}", "{0}"), name)


@production(1.5)
def sizes_by_name(d: Draw) -> str:
    """Sizes unpacked and reckoned with."""
    name = d.tensor(4, lambda t: t.shape[2] % 2 == 0 and t.shape[3] % 2 == 0)
    b, c, h, w = (f"{letter}{d.count}" for letter in "bchw")
    text = d.one(
        "{n}.view({b}, {c}, {h} // 2, 2, {w} // 2, 2).mean((3, 5))",
        "{n}.reshape({b}, {c}, {h} // 2, 2, {w} // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, {c})",
        "{n}.reshape({b}, {c}, {h} * {w}).softmax(-1).view({b}, {c}, {h}, {w})",
        "{n}.view({b}, -1, {h} * {w}).mean(2)",
        "{n}.view({b} * {c}, 1, {h}, {w}).view({b}, {c}, {h}, {w})",
        "{n}.reshape({b} * {c}, {h} * {w}).tanh().reshape({b}, {c}, {h}, {w})",
        "{n}.sum((2, 3)) / ({h} * {w})",
        "{n}.view({b}, {c}, {h} // 2, 2, {w}).amax(3)",
    )
    return (
        f"{b}, {c}, {h}, {w} = {d.one('{n}.shape', '{n}.size()').format(n=name)}\n{d.target(name)} ="
        f" {text.format(n=name, b=b, c=c, h=h, w=w)}"
    )


_PARTS = (
    "{}[:, 1:]",
    "{}[:, :-1]",
    "{}[:, ::2]",
    "{}[:, :1]",
    "{}[:, -1:]",
    "{}[:, [1, 0]]",
    "{}[..., 1:]",
    "{}[..., :-1]",
    "{}.narrow(1, 0, 1)",
    "{}[:, 1:2]",
    "{}[:, None]",
)
_PARTS_OF_THREE = (
    "{}[:, 0]",
    "{}[:, -1]",
    "{}.select(1, 1)",
    "{}[:, :, 1:]",
    "{}[..., ::2]",
    "{}[:, 0].unsqueeze(1)",
    "{}[:, 0:1].squeeze(1)",
    "{}[:, :, -1]",
    "{}[..., 0]",
    "torch.select({}, 1, 0)[:, None]",
    "{0}.index_select(1, torch.tensor([0, 1], device={0}.device))",
    "{}[:, 1:2, 1:]",
    "{}.narrow(2, 1, 2)",
)
_PARTS_OF_FOUR = (
    "{}[:, :, 1:-1, 1:-1]",
    "{}[:, :, ::2, 1::2]",
    "{}[:, :, :2]",
    "{}[:, :1, :, None].squeeze(3)",
    "{}[..., :3, :3]",
    "{}[:, [1, 0, 1], :, [0, 2, 2]].transpose(0, 1)",
    "{}[:, [0, 1], ..., [1, 2]].transpose(0, 1)",
    "{0}[:, :, :{0}.shape[2] // 2]",
)


@production(5)
def part(d: Draw) -> str:
    """Slices, single places, strides, and dimensions of size 1."""
    name = d.tensor((2, 3, 4, 4), lambda t: t.shape[1] > 1)
    rank, shape = d.rank(name), d.shape(name)
    options = _PARTS + (_PARTS_OF_THREE if rank > 2 else ()) + (_PARTS_OF_FOUR if rank > 3 else ())
    if 1 in shape[1:]:
        squeezed = f"{{}}.squeeze({d.dim(rank, shape.index(1, 1))})"
        other = "{}[:, 0]" if shape[1] == 1 else "{}.squeeze(-1)"
        options = (squeezed, other, squeezed, other, *options[:4])
    return d.unary(d.one(*options), name)


@production(1)
def gathered(d: Draw) -> str:
    """Reads at indices that are buffers, or that the values decide."""
    name = d.tensor((3, 4), lambda t: t.shape[1] > 1)
    c = d.shape(name)[1]
    index = d.attribute("c")
    d.pending[index] = (f'self.register_buffer("{index}", torch.tensor([{c - 1}, 0]))',)
    text = d.one(
        "{n}[:, self.{i}]",
        "{n}.index_select(1, self.{i})",
        "torch.index_select({n}, 1, self.{i})",
        "{n}.gather(1, {n}.argsort(1))",
        "{n}.gather(1, {n}.argmax(1, keepdim=True))",
        "torch.gather({n}, -1, {n}.argsort(dim=-1, descending=True))",
        "{n}[:, self.{i}, 1:]",
    )
    if f"self.{index}" not in text.format(n=name, i=index):
        d.pending.pop(index)
    return f"{d.target(name)} = {text.format(n=name, i=index)}"


@production(2)
def grown(d: Draw) -> str:
    """Expanded, repeated, unsqueezed."""
    name = d.tensor((2, 3, 4), lambda t: t.shape[1] <= 4)
    rank = d.rank(name)
    ones = ", ".join(["1"] * (rank - 2))
    tail = f", {ones}" if ones else ""
    options = [
        f"{{}}.repeat(1, 2{tail})",
        "{}.repeat_interleave(2, dim=1)",
        "torch.repeat_interleave({}, 2, -1)",
        f"torch.tile({{}}, (1, 2{tail}))",
        f"{{0}}.unsqueeze(1).expand(-1, 2, *[-1] * {rank - 1}).flatten(1, 2)",
    ]
    if rank == 2:
        options += [
            "{}.unsqueeze(-1)",
            "{}[:, :, None, None]",
            "{0}.unsqueeze(-1).unsqueeze(-1)",
            "{0}[:, None].expand(-1, 3, -1)",
            "{0}.view(*{0}.shape, 1, 1)",
            "{}[:, None, :]",
            "{0}.unsqueeze(1)",
        ]
    if 1 in d.shape(name)[1:]:
        sizes = ["-1" if s != 1 else "3" for s in d.shape(name)[1:]]
        options += [f"{{}}.expand(-1, {', '.join(sizes)})"] * 4
    return d.unary(d.one(*options), name)


_REDUCTIONS = (
    "{0}.mean({1})",
    "{0}.sum({1})",
    "torch.mean({0}, {1})",
    "torch.sum({0}, dim={1})",
    "{0}.amax({1})",
    "torch.amin({0}, {1})",
    "{0}.std({1})",
    "{0}.var({1}, unbiased=False)",
    "torch.mean(input={0}, dim={1})",
    "{0}.sum(axis={1})",
    "{0}.norm(dim={1})",
    "{0}.logsumexp({1})",
    "{0}.abs().mean({1})",
    "{0}.pow(2).mean({1}).sqrt()",
    "torch.linalg.vector_norm({0}, dim={1})",
)
_SINGLE = (
    "{0}.max({1})[0]",
    "{0}.max(dim={1}).values",
    "torch.max({0}, {1})[0]",
    "{0}.min({1}).values",
    "{0}.median({1})[0]",
    "{0}.topk(2, dim={1})[0]",
    "torch.topk({0}, 2, {1}).values",
    "{0}.sort({1})[0]",
    "torch.sort({0}, dim={1}, descending=True).values",
    "{0}.softmax({1})",
    "F.softmax({0}, dim={1})",
    "{0}.cumsum({1})",
    "{0}.kthvalue(2, {1})[0]",
    "{0}.log_softmax({1})",
    "{0}.unbind({1})[0]",
    "torch.cumsum({0}, {1})",
    "{0}.diff(dim={1})",
    "torch.cummax({0}, {1})[0]",
)


@production(5)
def reduced(d: Draw) -> str:
    """A reduction, or a function along one dimension."""
    name = d.tensor((2, 3, 4))
    rank = d.rank(name)
    last = d.dim(rank, d.between(1, rank - 1))
    if d.chance(0.45):
        return f"{d.target(name)} = {d.one(*_SINGLE).format(name, last)}"
    dims = str(last) if rank < 4 or d.chance(0.5) else d.one("(2, 3)", "(-2, -1)", "[2, 3]", "(1, 2)")
    return f"{d.target(name)} = {d.one(*_REDUCTIONS).format(name, dims + d.one('', ', keepdim=True'))}"


@production(3)
def joined(d: Draw) -> str:
    """Concatenation and stacks of two values, or of a value and a constant."""
    name = d.tensor((2, 3, 4), lambda t: t.shape[1] <= 6)
    rank, other = d.rank(name), d.same(name)
    others = [
        other,
        other,
        other,
        f"torch.zeros_like({name})",
        f"{name}.tanh()",
        f"-{name}",
        f"{name}[:, :1]",
        f"{name}.new_ones({name}.shape)",
    ]
    text = d.one(
        "torch.cat([{0}, {1}], 1)",
        "torch.cat(({1}, {0}), dim=1)",
        "torch.cat([{0}, {1}, {0}], dim=1)",
        f"torch.concat([{{0}}, {{1}}], {1 - rank})",
    )
    if rank < 4 and d.chance(0.3):
        text, others = (
            d.one(
                "torch.stack([{0}, {1}], 1)",
                "torch.stack(({0}, {1}), dim=-1)",
                "torch.stack([{0}, {1}]).sum(0)",
                "torch.stack([{0}, {1}], dim=2).amax(2)",
            ),
            others[:3],
        )
    return f"{d.target(name)} = {text.format(name, d.one(*others))}"


@production(3)
def divided(d: Draw) -> str:
    """Split in parts, which are used apart."""
    name = d.tensor((2, 3, 4), lambda t: t.shape[1] % 2 == 0)
    half, a, b = d.shape(name)[1] // 2, d.new(), d.new()
    split = d.one(
        "{0}.chunk(2, dim=1)",
        "torch.chunk({0}, 2, 1)",
        "{0}.split({1}, 1)",
        "torch.split({0}, {1}, dim=1)",
        "{0}.split([{1}, {1}], dim=1)",
        "({0}[:, :{1}], {0}[:, {1}:])",
        "torch.tensor_split({0}, 2, dim=1)",
    )
    lines = f"{a}, {b} = {split.format(name, half)}"
    use = d.one(
        "{a} * torch.sigmoid({b})",
        "{a} * {b}",
        "{a} + {b}",
        "torch.cat([{b}, {a}], 1)",
        "F.gelu({a}) * {b}",
        "{b} * {a}.tanh()",
        "torch.maximum({a}, {b})",
        "{a} * {b}.mean(-1, keepdim=True)",
        "",
        "torch.cat([{a}.relu(), {b}], dim=1)",
        "{a} * (1 + {b})",
        "{a} - {b}",
        "F.silu({b}) * {a}",
        "torch.stack([{a}, {b}], 2).flatten(1, 2)",
    )
    return lines + (f"\n{d.target(name)} = {use.format(a=a, b=b)}" if use else "")


@production(1)
def layout(d: Draw) -> str:
    """Sequence first, (L, B, E), there and back."""
    name = d.tensor(3, lambda t: t.shape[-1] <= 8)
    e = d.shape(name)[-1]
    layer = d.layer(f"nn.Linear({e}, {e})")
    there = d.one("{0}.transpose(0, 1)", "{0}.permute(1, 0, 2)", "{0}.swapaxes(0, 1)")
    inner = d.one(
        "{l}({t})",
        "{l}({t}).relu()",
        "({t} + {l}({t}))",
        "{l}({t}).cumsum(0)",
        "({t} * {t}.mean(0, keepdim=True).sigmoid())",
        "({t} * {t}.mean(0, keepdim=True))",
    )
    return f"{d.target(name)} = {inner.format(l=layer, t=there.format(name))}.transpose(0, 1)"


@production(0.7)
def diagonals(d: Draw) -> str:
    """Triangles, diagonals and windows of the last dimensions."""
    name = d.tensor((3, 4), lambda t: min(t.shape[-2:]) > 2)
    if d.rank(name) == 3 and d.chance(0.5):
        return d.unary(
            d.one(
                "torch.tril({})",
                "{}.triu(1)",
                "{}.diagonal(dim1=1, dim2=2)",
                "{0} * torch.tril(torch.ones_like({0}))",
            ),
            name,
        )
    return d.unary(
        d.one(
            "{}.tril()",
            "{}.unfold(2, 2, 1).mean(-1)",
            "torch.diagonal({}, dim1=-2, dim2=-1)",
            "{}.unfold(-1, 3, 2).sum(-1)",
            "{}.triu()",
        ),
        name,
    )


@production(1)
def image_again(d: Draw) -> str:
    """Tokens back to an image of the size of another value."""
    name = d.tensor(3)
    image = d.tensor(4, lambda t: t.shape[2] * t.shape[3] in d.shape(name)[1:])
    n = d.live[image].shape[2] * d.live[image].shape[3]
    if d.shape(name)[2] == n:
        return (
            f"{d.target(name)} = {name}.{d.one('view', 'reshape')}({image}.size(0), -1, *{image}.shape[2:])"
        )
    if d.shape(name)[1] != n:
        raise Unsuitable
    return (
        f"{d.target(name)} = {name}.transpose(1, 2).reshape({image}.shape[0], -1, {image}.shape[2],"
        f" {image}.shape[3])"
    )
