"""Habits of Python code around operators: containers, loops, branches on sizes, detached values."""

from __future__ import annotations

from .base import Draw, Unsuitable, production

_INIT = ("nn.init.uniform_({}[1].weight, 0.5, 1.5)", "nn.init.normal_({}[1].bias, 0, 0.3)")


@production(3)
def sequence(d: Draw) -> str:
    """A block of layers in a container."""
    name = d.tensor((2, 3, 4), lambda t: t.dim() != 2 or t.shape[1] <= 8)
    c, n = d.shape(name)[1], d.rank(name) - 2
    if n == 0:
        made = d.one(
            f"nn.Linear({c}, 6), nn.ReLU(), nn.Linear(6, {c})",
            f"nn.Linear({c}, 4), nn.BatchNorm1d(4), nn.GELU()",
            f"nn.LayerNorm({c}), nn.Linear({c}, 4), nn.Tanh()",
        )
        return f"{d.target(name)} = {d.layer(f'nn.Sequential({made})')}({name})"
    act = d.one(
        "nn.ReLU(inplace=True)",
        "nn.GELU()",
        "nn.SiLU(inplace=True)",
        "nn.LeakyReLU(0.2, True)",
        "nn.Hardswish()",
        "nn.Dropout(0.1)",
    )
    norm = d.one(f"nn.BatchNorm{n}d({c})", f"nn.InstanceNorm{n}d({c}, affine=True)", f"nn.GroupNorm(1, {c})")
    block = d.layer(f"nn.Sequential(nn.Conv{n}d({c}, {c}, 3, padding=1), {norm}, {act})", *_INIT)
    text = d.one(
        "{b}({x})",
        "{x} + {b}({x})",
        "{b}({b}({x}))",
        "{b}({x}) + {b}({x}.tanh())",
        "{b}({x}) * {x}",
        "{x} + 0.1 * {b}({x})",
    )
    return f"{d.target(name)} = {text.format(b=block, x=name)}"


@production(2)
def loop(d: Draw) -> str:
    """A layer or a step used several times."""
    name = d.tensor((3, 4))
    c, n = d.shape(name)[1], d.rank(name) - 2
    out = d.new()
    layer = d.layer(f"nn.Conv{n}d({c}, {c}, {d.one('1', '3, padding=1')})")
    step = d.one(
        "{o} = {l}({o}).relu()",
        "{o} = {o} + {l}({o}).tanh()",
        "{o} += {l}({o})",
        "{o} = torch.sigmoid({l}({o})) * {o}",
        "{o} = 0.5 * {l}({o}) + {x}",
    )
    if out and d.chance(0.3):
        return (
            f"{out} = []\nfor part in {name}.{d.one('unbind(1)', f'chunk({c}, 1)', 'split(1, dim=1)')}:\n   "
            f" {out}.append(part{d.one('.tanh()', ' * 2', '')})\n{out} ="
            f" torch.{d.one('stack', 'cat')}({out}, 1)"
        )
    start = d.one(name, f"{name} * 1", f"{name}.clone()", f"torch.zeros_like({name})")
    return f"{out} = {start}\nfor i in range({d.one(2, 3)}):\n    {step.format(o=out, l=layer, x=name)}"


@production(2)
def branch(d: Draw) -> str:
    """A decision on a size, a rank, or a mode."""
    name = d.tensor((3, 4))
    return d.one(
        "if {0}.size(-1) % 2:\n    {0} = F.pad({0}, (0, 1))",
        "if {0}.shape[-1] > 6:\n    {0} = {0}[..., :-1]",
        "if self.training:\n    {0} = {0} * 2",
        "if {0}.dim() == 4:\n    {0} = {0}.flatten(2)",
        "{0} = {0}.mean(1, keepdim=True) if {0}.shape[1] > 2 else {0}",
        "if {0}.ndim == 3:\n    {0} = {0}.unsqueeze(2)",
        "{0} = {0} / {0}.shape[-1]",
        "{0} = {0} * {0}.size(2) ** -0.5",
        "if {0}.shape[0] > 1:\n    {0} = {0} + 1",
        "assert {0}.shape[1] > 0\n{0} = {0} + 1",
        "{0} = {0} * len({0}.shape)",
        "{0} = {0} + torch.arange({0}.shape[-1], device={0}.device, dtype={0}.dtype)",
        "{0} = {0} * torch.linspace(0, 1, {0}.size(-1), dtype={0}.dtype)",
    ).format(_free(d, name))


def _free(d: Draw, name: str) -> str:
    """A name that may be bound again."""
    if name in d.fixed:
        raise Unsuitable
    return name


@production(1.5)
def stopped(d: Draw) -> str:
    """Values that are constants to autograd."""
    name = d.tensor()
    return d.unary(
        d.one(
            "{0} * {0}.detach()",
            "{0} + {0}.detach()",
            "{0} / (1 + {0}.detach().abs())",
            "{0} - {0}.mean().detach()",
            # straight-through; rounded numbers alone would be equal, and their maximum has no derivative
            "{0} + ({0}.round() + 0.3 * {0}.sin() - {0}).detach()",
            "{0}.detach() * 0.5 + {0}.tanh()",
        ),
        name,
    )


@production(1)
def parametrised(d: Draw) -> str:
    """A convolution whose weight is computed."""
    name = d.tensor((3, 4))
    n, c = d.rank(name) - 2, d.shape(name)[1]
    text = d.one(
        "nn.utils.parametrizations.weight_norm(nn.Conv{n}d({c}, {c}, 3, padding=1))",
        "nn.utils.parametrizations.spectral_norm(nn.Conv{n}d({c}, {c}, 1))",
    )
    layer = d.layer(text.format(n=n, c=c))
    return f"{d.target(name)} = {layer}({name})"
