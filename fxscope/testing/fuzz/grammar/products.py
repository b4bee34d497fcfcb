"""Products of two values: gates, attention, outer products, matrix products."""

from __future__ import annotations

from .base import Draw, production


@production(5)
def two_paths(d: Draw) -> str:
    """Sums, products and quotients of two live values of one shape."""
    name = d.tensor()
    other = d.same(name)
    text = d.one(
        "{0} * {1}",
        "{0} + {1}",
        "{0} - {1}",
        "torch.mul({0}, {1})",
        "{0}.add({1})",
        "{0} * ({1} + 1)",
        "{0} * (1 - {1})",
        "{0} / ({1}.abs() + 0.5)",
        "{0}.mul({1})",
        "torch.add({0}, {1})",
        "{0} * torch.sigmoid({1})",
        "torch.tanh({1}) * {0}",
        "{0} * {1}.sigmoid() + {1} * (1 - {1}.sigmoid())",
        "{0} * ({0} + 1)",
        "{0} / (1 + {1} ** 2)",
        "{0} * F.softplus({1})",
        "{0} * {1} * 0.5",
        "F.silu({0}) * {1}",
        "F.relu({0}) * {1}",
        "{0} * {1}.clamp(0, 1)",
        "{0} * F.hardsigmoid({1})",
        "{0} * {1}.exp().clamp(max=3)",
        "0.5 * {0} + 0.5 * {1}",
        "{0}.square() - {1}.square()",
    )
    return f"{d.target(name)} = {text.format(name, other)}"


@production(4)
def gate_of_channels(d: Draw) -> str:
    """Squeeze and excitation, in its many spellings."""
    name, g = d.tensor(4), d.new()
    bound = d.one(
        "torch.sigmoid({})",
        "{}.sigmoid()",
        "{}.tanh()",
        "F.hardsigmoid({})",
        "{}",
        "F.relu6({} + 3) / 6",
        "(1 + {})",
        "F.softmax({}, dim=1)",
    )
    made, product = _by_convolution(d, name, g) if d.chance(0.5) else _by_linear_layer(d, name, g)
    return f"{g} = {bound.format(made)}\n{product}"


def _by_convolution(d: Draw, name: str, g: str) -> tuple[str, str]:
    """What gives the gate ``g``, before its bound, and the product with it."""
    c = d.shape(name)[1]
    mean = d.one(
        "{0}.mean((2, 3), keepdim=True)",
        "F.adaptive_avg_pool2d({0}, 1)",
        "{0}.mean([2, 3], True)",
        "{0}.amax((2, 3), keepdim=True)",
        "{0}.flatten(2).mean(2)[..., None, None]",
    )
    layer, target = d.layer(f"nn.Conv2d({c}, {d.one(c, c, 1)}, 1)"), d.target(name)
    product = d.one("{0} * {1}", "{1} * {0}", "{0} + {1}", "{0} * (1 + {1})", "torch.mul({0}, {1})")
    return f"{layer}({mean.format(name)})", f"{target} = {product.format(name, g)}"


def _by_linear_layer(d: Draw, name: str, g: str) -> tuple[str, str]:
    """The same, of vectors that are spread over the image."""
    c = d.shape(name)[1]
    mean = d.one(
        "{0}.mean((2, 3))",
        "{0}.flatten(2).mean(-1)",
        "F.adaptive_avg_pool2d({0}, 1).flatten(1)",
        "{0}.mean(3).mean(2)",
        "F.avg_pool2d({0}, {0}.shape[2:]).squeeze(-1).squeeze(-1)",
        "{0}.amax((2, 3))",
    )
    layer = d.layer(f"nn.Linear({c}, {c})")
    spread = d.one(
        "{0}[:, :, None, None]",
        "{0}.unsqueeze(-1).unsqueeze(-1)",
        "{0}.view({1}.size(0), -1, 1, 1)",
        "{0}.view({1}.shape[0], {1}.shape[1], 1, 1)",
        "{0}[..., None, None].expand_as({1})",
    ).format(g, name)
    target, product = d.target(name), d.one("{0} * {1}", "{1} * {0}", "{0}.mul({1})")
    return f"{layer}({mean.format(name)})", f"{target} = {product.format(name, spread)}"


@production(2)
def gate_of_places(d: Draw) -> str:
    """A map of one channel, or a mean, that multiplies all channels."""
    name = d.tensor((3, 4))
    n, c = d.rank(name) - 2, d.shape(name)[1]
    conv = d.layer(f"nn.Conv{n}d({c}, 1, {d.one('1', '3, padding=1')})")
    mean = d.layer(f"nn.Conv{n}d(1, {d.one('1', c)}, 1)") if d.chance(0.4) else conv
    text = d.one(
        f"{{0}} * {conv}({{0}})",
        f"{{0}} * torch.sigmoid({conv}({{0}}))",
        f"{conv}({{0}}) * {{0}}",
        "{0} * {0}.mean(1, keepdim=True)",
        "{0} * {0}[:, :1]",
        "{0}[:, 0].unsqueeze(1) * {0}",
        "{0} * {0}[:, None, 0]",
        "{0} * {0}.amax(1, keepdim=True)",
        "{0} * {0}.mean(-1, keepdim=True)",
        f"{conv}({{0}}).tanh() * {{0}}",
        "{0} / (1 + {0}.abs().mean(1, keepdim=True))",
        "{0} * {0}.sum(1).unsqueeze(1)",
    )
    if mean != conv:
        text = f"{{0}} * {mean}({{0}}.mean(1, keepdim=True))"
    for made in (conv, mean):
        if made not in text:
            d.pending.pop(made.removeprefix("self."), None)
    return d.unary(text, name)


@production(2)
def smaller_times_larger(d: Draw) -> str:
    """Two live values that broadcast: one of them is 1 somewhere, or of a lower rank."""
    name = d.tensor((3, 4))
    shape = d.shape(name)
    other = d.tensor((2, 3, 4), lambda t: t.shape != shape and _broadcasts(tuple(t.shape), shape))
    text = d.one(
        "{0} * {1}",
        "{1} * {0}",
        "{0} + {1}",
        "{1} - {0}",
        "{0} * {1}.sigmoid()",
        "{0} / (1 + {1}.abs())",
        "{0}.tanh() * {1}",
    )
    out = (
        other
        if d.rank(other) == len(shape)
        else f"{other}{''.join(['.unsqueeze(-1)'] * (len(shape) - d.rank(other)))}"
    )
    return f"{d.target(name)} = {text.format(name, out)}"


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    padded = (*small, *[1] * (len(large) - len(small)))
    return len(small) <= len(large) and all(a in (1, b) for a, b in zip(padded, large))


@production(3)
def matrix_product(d: Draw) -> str:
    """Matrix products of two values, or of a value and its transpose."""
    name = d.tensor(3, lambda t: t.shape[1] * t.shape[2] <= 100)
    other = d.same(name)
    text = d.one(
        "{0} @ {1}.transpose(1, 2)",
        "torch.bmm({0}, {1}.transpose(1, 2))",
        "{0} @ {1}.mT",
        "torch.matmul({0}, {1}.permute(0, 2, 1))",
        'torch.einsum("bij,bkj->bik", {0}, {1} + 1)',
        'torch.einsum("bij,bik->bjk", {0}, {1})',
        'torch.einsum("b i j, b k j -> b i k", {0}, {1})',
        "{0}.transpose(1, 2) @ {1} / 3",
        "({0} @ {1}.transpose(1, 2)).softmax(-1) @ {1}",
        "torch.baddbmm({0} @ {0}.mT, {0}, {1}.mT, beta=0.5)",
        'torch.einsum("bij,bij->bi", {0}, {1})',
        'torch.einsum("...i,...i->...", {0}, {1})',
        "({0}[:, :, None] * {1}[:, None]).sum(-1)",
        "({0} * {1}).sum(-1)",
        "({0} * {1}).sum(2, keepdim=True) * {0}",
        "{0} @ {1}.mT @ {0}",
        "torch.softmax({0} @ {1}.mT / math.sqrt({0}.shape[-1]), dim=-1) @ {0}",
        'torch.einsum("bij->bji", {0})',
    )
    return f"{d.target(name)} = {text.format(name, other)}"


@production(5)
def attention(d: Draw) -> str:
    """Attention over tokens, hand-written or not."""
    name = d.tensor(3, lambda t: t.shape[-1] % 2 == 0 and t.shape[-1] <= 8 and t.shape[1] <= 64)
    e = d.shape(name)[-1]
    q, k, v = d.new(), d.new(), d.new()
    layer = d.layer(f"nn.Linear({e}, {3 * e})")
    if d.chance(0.4):
        split = d.one("chunk(3, dim=-1)", f"split({e}, dim=-1)", f"unflatten(-1, (3, {e})).unbind(2)")
        made = f"{q}, {k}, {v} = {layer}({name}).{split}"
        done = d.one(
            "F.scaled_dot_product_attention({q}, {k}, {v})",
            "torch.softmax({q} @ {k}.transpose(-2, -1) / {e} ** 0.5, dim=-1) @ {v}",
            "({q} @ {k}.mT * {e} ** -0.5).softmax(-1) @ {v}",
            'torch.einsum("bij,bjd->bid", torch.einsum("bid,bjd->bij", {q}, {k}).softmax(2), {v})',
        )
        return f"{made}\n{d.target(name)} = {done.format(q=q, k=k, v=v, e=e)}"
    b, n = f"b{d.count}", f"n{d.count}"
    lines = [
        f"{b}, {n}, _ = {name}.shape",
        f"{q} = {layer}({name}).reshape({b}, {n}, 3, 2, {e // 2}).permute(2, 0, 3, 1, 4)",
        f"{q}, {k}, {v} = {d.one('{0}[0], {0}[1], {0}[2]', '{0}.unbind(0)', '{0}').format(q)}",
    ]
    inner = d.one(
        "({q} @ {k}.transpose(-2, -1) * {e} ** -0.5).softmax(dim=-1) @ {v}",
        "F.scaled_dot_product_attention({q}, {k}, {v})",
        "F.scaled_dot_product_attention({q}, {k}, {v}, is_causal=True)",
    )
    lines.append(
        f"{d.target(name)} = ({inner.format(q=q, k=k, v=v, e=e)}).transpose(1, 2).reshape({b}, {n}, {e})"
    )
    return "\n".join(lines)


@production(3)
def condition(d: Draw) -> str:
    """A second input, scaling and shifting."""
    name = d.tensor((3, 4))
    others = [n for n in d.fixed if n != "x" and (d.live[n].dim() == 2 or not d.live[n].is_floating_point())]
    if not others:
        return smaller_times_larger(d)
    given = d.one(*others)
    c, s, t = d.shape(name)[1], d.new(), d.new()
    if d.live[given].is_floating_point():
        made = f"{d.layer(f'nn.Linear({d.shape(given)[1]}, {2 * c})')}({given})"
    else:
        made = f"{d.layer(f'nn.Embedding(5, {2 * c})')}({given})"
    tail = ", ".join(["None"] * (d.rank(name) - 2))
    lines = f"{s}, {t} = {made}.chunk(2, dim=1)"
    lines += f"\n{d.target(name)} = "
    options = (
        "{0} * (1 + {1}[:, :, {3}]) + {2}[:, :, {3}]",
        "{0} * {1}[..., {3}] + {2}[..., {3}]",
        "{1}[:, :, {3}] * {0}",
    )
    return lines + d.one(*options).format(name, s, t, tail)


@production(1)
def glu(d: Draw) -> str:
    """Gated linear units."""
    name = d.tensor((2, 3, 4), lambda t: t.shape[1] % 2 == 0)
    if d.chance(0.3):
        return f"{d.target(name)} = {d.layer('nn.GLU(1)')}({name})"
    return d.unary(d.one("F.glu({}, dim=1)", "F.glu({}, 1)"), name)


@production(0.7)
def bilinear(d: Draw) -> str:
    """A bilinear layer, or an outer product that is flattened."""
    name = d.tensor(2, lambda t: t.shape[1] <= 8)
    n, other = d.shape(name)[1], d.same(name)
    if d.chance(0.3):
        return f"{d.target(name)} = {d.layer(f'nn.Bilinear({n}, {n}, 3)')}({name}, {other})"
    made = f"{d.target(name)} = "
    options = (
        "({0}[:, :, None] * {1}[:, None, :]).flatten(1)",
        "({0}.unsqueeze(2) @ {1}.unsqueeze(1)).flatten(1)",
        'torch.einsum("bi,bj->bij", {0}, {1})',
    )
    return made + d.one(*options).format(name, other)


@production(1)
def warped(d: Draw) -> str:
    """An image read at places that a grid gives."""
    name = d.tensor(4)
    layer = d.layer(f"nn.Linear({d.shape(name)[1]}, 6)")
    theta = d.new()
    return (
        f"{theta} = {layer}({name}.mean((2, 3))).view(-1, 2, 3)\n{d.target(name)} = F.grid_sample({name},"
        f" F.affine_grid({theta}, {name}.shape, align_corners=False), align_corners=False)"
    )


@production(1.5)
def distance(d: Draw) -> str:
    """Similarities and distances of two values, and other operators of two."""
    name = d.tensor((3, 4))
    other = d.same(name)
    text = d.one(
        "F.cosine_similarity({0}, {1})",
        "torch.cosine_similarity({0}, {1}, dim=-1)",
        "(F.normalize({0}, dim=1) * F.normalize({1}, dim=1)).sum(1)",
        "F.pairwise_distance({0}, {1} + 0.3)",
        "({0} - {1} + 0.3).norm(dim=1)",
        "torch.cdist({0}, {1} * 0.5 + 0.4)",
        "torch.logaddexp({0}, {1})",
        "{0}.logaddexp2({1})",
        "torch.hypot({0}, {1})",
        "({0} * {0} + {1} ** 2).sqrt()",
        "F.softmin({1}, dim=1) * {0}",
        "torch.complex({0}, {1}).abs()",
    )
    return f"{d.new()} = {text.format(name, other)}"


@production(1)
def complex_gate(d: Draw) -> str:
    """Numbers of two values, under a gate of their modulus, or by their direction."""
    name = d.tensor()
    other, z = d.same(name), d.new()
    made = d.one("torch.complex({0}, {1})", "torch.view_as_complex(torch.stack(({0}, {1}), -1))")
    gated = d.one(
        "{0} * F.relu({0}.abs() - 0.3)",
        "{0} / ({0}.abs() + 0.1)",
        "{0} * torch.sigmoid({0}.abs())",
        "torch.sgn({0})",
        "{0} * ({0} + 1)",
        "{0} * {0}.conj()",
        "torch.exp({0} * 0.3)",
    ).format(z)
    part = d.one("({0}).real", "torch.imag({0})", "torch.view_as_real({0}).sum(-1)").format(gated)
    return f"{z} = {made.format(name, other)}\n{d.new()} = {part}"


@production(1)
def running(d: Draw) -> str:
    """Products, sums and winners of entries up to each, quantiles and medians."""
    name = d.tensor((3, 4))
    dim = d.dim(d.rank(name), d.one(1, 2))
    text = d.one(
        "torch.cumprod({0}.tanh() + 1.2, {1})",
        "{0}.cumprod(dim={1})",
        "({0}.sigmoid() + 0.5).prod({1}, keepdim=True)",
        "torch.prod({0}, {1})",
        "torch.logcumsumexp({0}, {1})",
        "{0}.logcumsumexp(dim={1})",
        "{0}.cummax({1}).values",
        "torch.cummin({0}, {1})[0]",
        "torch.quantile({0}, 0.3, dim={1})",
        "{0}.nanquantile(0.6, {1}, keepdim=True)",
        "{0}.median({1}, keepdim=True)[0]",
        "torch.kthvalue({0}, 1, {1}).values",
    )
    return f"{d.new()} = {text.format(name, dim)}"


@production(0.7)
def recurrent_cell(d: Draw) -> str:
    """One step of a recurrent cell over the rows of a matrix, or over the places of a map."""
    name = d.tensor((2, 3))
    size = d.shape(name)[-1]
    rows = name if d.rank(name) == 2 else f"{name}.flatten(0, 1)"
    kind = d.one("LSTMCell", "GRUCell", "RNNCell")
    cell, h = d.layer(f"nn.{kind}({size}, {size})"), d.new()
    if kind == "LSTMCell":
        return f"{h}, {d.new()} = {cell}({rows}, ({rows} * 0.5, {rows}))"
    return f"{h} = {cell}({rows}, 0.5 * {rows})"


@production(1)
def computed_kernel(d: Draw) -> str:
    """A convolution whose kernel is computed from an image: one for each, by groups."""
    name = d.tensor(4)
    c, k = d.shape(name)[1], d.new()
    made = d.layer(f"nn.Linear({c}, {c * c})")
    merged = f"{name}.flatten(0, 1).unsqueeze(0)"
    lines = f"{k} = {made}({name}.mean((2, 3))).view(-1, {c}, 1, 1)"
    done = f"F.conv2d({merged}, {k}, groups={name}.shape[0]).view({name}.shape)"
    return f"{lines}\n{d.target(name)} = {done}"


@production(1)
def reduced_places(d: Draw) -> str:
    """Entries reduced to places that depend on x."""
    name = d.tensor((2, 3))
    reduce = d.one("amax", "amin", "sum", "mean")
    index = d.one("{0}.argsort(1) // 2", "({0} > 0).long()").format(name)
    own = d.one("", ", include_self=False")
    return d.unary(f'{{0}}.scatter_reduce(1, {index}, {{0}} * 0.5, "{reduce}"{own})', name)


@production(0.5)
def deformable(d: Draw) -> str:
    """A convolution that reads where the image itself says."""
    name, offset = d.tensor(4), d.new()
    c = d.shape(name)[1]
    moved = d.layer(f"nn.Conv2d({c}, 18, 3, padding=1)")
    mask = d.one("", f", mask=torch.sigmoid({name}.mean(1, keepdim=True)).expand(-1, 9, -1, -1)")
    done = d.one(
        d.layer(f"ops.DeformConv2d({c}, {c}, 3, padding=1)"),
        f"ops.deform_conv2d({{}}, weight={moved}.weight[:{c}], padding=1{{}})",
    )
    call = done if "{}" in done else done + "({}{})"
    return f"{offset} = {moved}({name}).tanh()\n{d.target(name)} = {call.format(f'{name}, {offset}', mask)}"


@production(0.5)
def region(d: Draw) -> str:
    """The pooling of a box of every image."""
    name, box, number = d.tensor(4), d.buffer("torch.tensor([[0.6, 0.2, 4.3, 3.7]])"), d.new()
    pool = d.one(
        "roi_align({}, {}, 2, 0.9, 2)", "roi_align({}, {}, (2, 3), aligned=True)", "roi_pool({}, {}, 2)"
    )
    count = f"{number} = torch.arange({name}.shape[0], dtype={name}.dtype)[:, None]"
    boxes = f"torch.cat(({number}, {box}.expand({name}.shape[0], -1)), 1)"
    return f"{count}\n{d.new()} = ops.{pool.format(name, boxes)}"
