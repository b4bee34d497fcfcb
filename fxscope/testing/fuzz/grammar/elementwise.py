"""Units, functions of single values, and arithmetic with numbers and constants."""

from __future__ import annotations

from .base import Draw, production

# module, and functional, method and operator spellings; {} is the operand
_UNITS = (
    (
        "nn.ReLU()",
        "nn.ReLU(inplace=True)",
        "F.relu({})",
        "torch.relu({})",
        "{}.relu()",
        "{}.clamp(min=0)",
        "F.relu({}, inplace=True)",
    ),
    (
        "nn.LeakyReLU(0.2)",
        "F.leaky_relu({}, 0.1)",
        "F.leaky_relu({}, negative_slope=0.2)",
        "nn.LeakyReLU(0.1, inplace=True)",
    ),
    (
        "nn.ELU()",
        "F.elu({})",
        "F.elu({}, alpha=0.7)",
        "nn.CELU(0.8)",
        "F.celu({})",
        "nn.SELU()",
        "torch.selu({})",
    ),
    ("nn.GELU()", "F.gelu({})", "nn.GELU(approximate='tanh')", "F.gelu({0}, approximate='tanh')"),
    (
        "0.5 * {0} * (1 + torch.erf({0} / math.sqrt(2.0)))",
        "{0} * 0.5 * (1.0 + torch.tanh(0.79788456 * ({0} + 0.044715 * {0} ** 3)))",
    ),
    (
        "nn.SiLU()",
        "F.silu({})",
        "{0} * torch.sigmoid({0})",
        "torch.sigmoid({0}) * {0}",
        "{0}.sigmoid().mul({0})",
        "{0} * {0}.sigmoid()",
    ),
    (
        "nn.Mish()",
        "F.mish({})",
        "{0} * torch.tanh(F.softplus({0}))",
        "nn.Hardswish()",
        "F.hardswish({})",
        "{0} * F.relu6({0} + 3) / 6",
    ),
    (
        "nn.ReLU6()",
        "F.relu6({})",
        "nn.Hardtanh(-0.8, 1.2)",
        "F.hardtanh({}, -1.0, 0.5)",
        "torch.clamp({}, -0.7, 0.9)",
        "{}.clamp(max=0.6)",
    ),
    (
        "nn.Hardsigmoid()",
        "F.hardsigmoid({})",
        "F.relu6({} + 3) / 6",
        "nn.Sigmoid()",
        "torch.sigmoid({})",
        "{}.sigmoid()",
        "F.sigmoid({})",
    ),
    (
        "nn.Tanh()",
        "torch.tanh({})",
        "{}.tanh()",
        "nn.Softsign()",
        "F.softsign({})",
        "{0} / (1 + {0}.abs())",
        "nn.Tanhshrink()",
    ),
    (
        "nn.Softplus()",
        "F.softplus({})",
        "F.softplus({}, beta=2.0)",
        "nn.LogSigmoid()",
        "F.logsigmoid({})",
        "torch.log1p(torch.exp({}))",
    ),
    (
        "nn.PReLU()",
        "nn.Threshold(0.1, 0.3)",
        "F.threshold({}, 0.0, 0.2)",
        "nn.Softshrink(0.3)",
        "F.hardshrink({}, 0.2)",
        "F.softshrink({})",
    ),
)
_SMOOTH = (
    "torch.exp(-{}.abs())",
    "torch.exp(-{} ** 2)",
    "{}.tanh().exp()",
    "torch.log({}.abs() + 1)",
    "({} ** 2 + 1).log()",
    "torch.log1p({}.abs())",
    "torch.sqrt({0} * {0} + 1e-2)",
    "({}.square() + 1).sqrt()",
    "({} ** 2 + 1).rsqrt()",
    "{}.pow(2)",
    "{} ** 2",
    "{}.square()",
    "torch.pow({}, 2)",
    "{} ** 3",
    "({}.abs() + 0.5) ** 0.5",
    "({}.abs() + 0.1).pow(1.5)",
    "1 / (1 + {}.square())",
    "torch.reciprocal(1.5 + {}.tanh())",
    "torch.sin({})",
    "{}.cos()",
    "torch.atan({})",
    "torch.erf({})",
    "torch.expm1({}.tanh())",
    "{}.abs()",
    "abs({})",
    "torch.abs({})",
    "{0}.abs().add(1).log().mul({0}.sign())",
    "2 ** {}.tanh()",
    "torch.exp2(-{}.abs())",
    "torch.asinh({})",
    "{}.sinh().tanh()",
    "torch.erfc({})",
)
_NUMBERS = (
    "{0} * {1}",
    "{1} * {0}",
    "{0} / {1}",
    "{0} + {1}",
    "{1} - {0}",
    "{0} - {1}",
    "{0}.mul({1})",
    "{0}.add({1})",
    "torch.mul({0}, {1})",
    "{0}.div({1})",
    "torch.add({0}, {1})",
    "torch.sub({0}, {1}, alpha=0.5)",
    "-{0}",
    "{0}.neg() + {1}",
    "torch.true_divide({0}, {1})",
    "({0} - 0.5) / {1}",
    "({0} - 0.485) / 0.229",
    "{0} * 2 - 1",
    "1 - {0}",
    "({0} + 1) / 2",
    "{0} * ({1}) ** 2",
    "torch.rsub({0}, {1})",
)
_DECISIONS = (
    "torch.where({0} > 0, {0}, {0} * 0.1)",
    "torch.where({0} > 0.2, {0}, torch.zeros_like({0}))",
    "{0}.masked_fill({0} < -0.3, 0.0)",
    "{0}.masked_fill({0}.abs() > 1.5, 0.4)",
    "{0} * ({0} > 0)",
    "{0} * ({0} > 0).to({0}.dtype)",
    "({0} >= 0).double() * {0}",
    "{0} * {0}.sign()",
    "torch.where({0} < 0, -{0}, {0} * 0.5)",
    "torch.clamp_min({0}, -0.2)",
    "{0}.clamp_max(0.5)",
    "torch.clip({0}, -1, 1)",
    "{0} + {0}.round()",
    "{0} - torch.floor({0})",
    "{0} * torch.round({0})",
    "torch.where({0}.abs() < 0.5, {0} ** 2, {0}.abs())",
    "torch.nan_to_num({0}.masked_fill({0} > 0.9, math.nan), 0.4)",
    "{0}.masked_fill({0} < -0.6, -math.inf).nan_to_num(neginf=-0.5)",
)


@production(9)
def unit(d: Draw) -> str:
    """An activation in one of its spellings."""
    name = d.tensor()
    text = d.one(*d.one(*_UNITS))
    if text.startswith("nn."):
        return f"{d.target(name)} = {d.layer(text)}({name})"
    return d.unary(text, name)


@production(4)
def smooth(d: Draw) -> str:
    """A function of single values."""
    return d.unary(d.one(*_SMOOTH), d.tensor())


@production(4)
def number(d: Draw) -> str:
    """Arithmetic with a number."""
    name = d.tensor()
    return f"{d.target(name)} = {d.one(*_NUMBERS).format(name, d.number())}"


@production(3)
def decision(d: Draw) -> str:
    """A piecewise function, hand-written."""
    return d.unary(d.one(*_DECISIONS), d.tensor())


@production(3)
def constant(d: Draw) -> str:
    """Arithmetic with a buffer or parameter of some rank."""
    name = d.tensor((2, 3, 4))
    shape, rank = d.shape(name), d.rank(name)
    along = [1] * (rank - 1)
    along[0 if rank > 2 or d.chance(0.5) else -1] = shape[1]
    sizes = d.one([1, *along], along, [1], [], along)
    text = f"torch.randn({', '.join(map(str, sizes))})" if sizes else "torch.tensor(0.7)"
    made = d.buffer(text)
    if len(sizes) == rank - 1 and rank == 4 and d.chance(0.3):
        made = d.buffer(f"torch.randn({shape[1]})")
        made += d.one("[:, None, None]", ".view(1, -1, 1, 1)", ".view(-1, 1, 1)")
    operator = d.one(
        "{0} * {1}",
        "{1} * {0}",
        "{0} + {1}",
        "{0} - {1}",
        "{1} - {0}",
        "{0} / (1 + {1}.abs())",
        "torch.addcmul({0}, {0}, {1})",
    )
    return f"{d.target(name)} = {operator.format(name, made)}"


@production(2)
def extremum(d: Draw) -> str:
    """The larger or smaller of two, element by element."""
    name = d.tensor()
    other = d.one(d.same(name), d.same(name), f"torch.zeros_like({name})", f"{name}.mean()", f"0.5 * {name}")
    text = d.one(
        "torch.maximum({}, {})",
        "torch.minimum({}, {})",
        "torch.max({}, {})",
        "{}.min({})",
        "torch.where({0} > {1}, {0}, {1})",
    )
    return f"{d.target(name)} = {text.format(name, other)}"


@production(1)
def bounded_by_tensor(d: Draw) -> str:
    """A clamp between tensors, and choices by a mask of another value."""
    name = d.tensor()
    other = d.same(name)
    text = d.one(
        "torch.where({1} > 0, {0}, 0.3 * {1})",
        "{0}.masked_fill({1} > 0.5, 0.0)",
        "torch.where({1} > {0}, {0}.tanh(), {1})",
        "torch.clamp({0}, min={1})",
        "{0}.clamp(max={1}.abs())",
        "torch.lerp({0}, {1}, 0.3)",
        "{0}.lerp({1}, torch.sigmoid({1}))",
        "torch.addcmul({0}, {1}, {0}, value=0.5)",
        "torch.addcdiv({0}, {1}, 2 + {0}.tanh())",
        "torch.add({0}, {1}, alpha=0.3)",
        "{0}.sub({1}, alpha=2)",
    )
    return f"{d.target(name)} = {text.format(name, other)}"


@production(1.5)
def dropped(d: Draw) -> str:
    """Dropout, and layers that do nothing."""
    name = d.tensor()
    text = d.one(
        "nn.Dropout(0.3)",
        "nn.Identity()",
        "nn.Dropout(0.2)",
        "F.dropout({}, 0.4, self.training)",
        "F.dropout({}, training=self.training)",
        "nn.Dropout2d(0.3)",
    )
    if "2d" in text:
        name = d.tensor(4)
    if text.startswith("nn."):
        return f"{d.target(name)} = {d.layer(text)}({name})"
    return d.unary(text, name)


@production(1.5)
def casts(d: Draw) -> str:
    """Copies, dtypes and memory formats; mostly those that keep float64."""
    name = d.tensor(4) if d.chance(0.3) else d.tensor()
    kept = [
        "{}.clone()",
        "{}.contiguous()",
        "{}.to({}.dtype)",
        "{0}.type_as({0})",
        "{}.double()",
        "{}.to(torch.float64)",
        "{0}.to({0})",
        "{0}.to(device={0}.device)",
    ]
    if d.rank(name) == 4:
        kept += [
            "{}.contiguous(memory_format=torch.channels_last)",
            "{}.to(memory_format=torch.channels_last)",
        ] * 2
    if d.chance(0.12):
        kept = [
            "{}.float().double()",
            "{}.to(torch.float32).to(torch.float64)",
            "{}.float().relu().to({}.dtype)",
        ]
    text = d.one(*kept)
    return d.unary(text.replace("{}", "{0}"), name)
