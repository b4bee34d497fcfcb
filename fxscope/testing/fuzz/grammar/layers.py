"""Layers with weights, norms, pooling and resampling."""

from __future__ import annotations

from .base import Draw, Unsuitable, production

_NORM = ("nn.init.uniform_({}.weight, 0.5, 1.5)", "nn.init.normal_({}.bias, 0, 0.3)")
_RUNNING = (*_NORM, "nn.init.normal_({}.running_mean, 0, 0.3)", "nn.init.uniform_({}.running_var, 0.5, 2)")


@production(9)
def convolution(d: Draw) -> str:
    """A convolution of any kind."""
    name = d.tensor((3, 4, 4, 4))
    n, channels = d.rank(name) - 2, d.shape(name)[1]
    kernel = d.one(1, 3, 3, 3, 2, 5)
    groups = d.one(*(g for g in (1, 1, 1, 2, channels) if channels % g == 0))
    out = d.one(2, 3, 4, 4) if groups == 1 else groups * d.one(1, 2)
    options = [f"padding={kernel // 2}"] if d.chance(0.75) else []
    if kernel == 3 and d.chance(0.15):
        options = ["padding=2", "dilation=2"]
    elif d.chance(0.15):
        options += ["stride=2"]
    elif d.chance(0.08):
        options = ["padding='same'"]
    if kernel == 3 and options[:1] == ["padding=1"] and d.chance(0.25):
        options += [f"padding_mode={d.one('reflect', 'replicate', 'circular')!r}"]
    options += [f"groups={groups}"] if groups > 1 else []
    options += ["bias=False"] if d.chance(0.2) else []
    layer = d.layer(f"nn.Conv{n}d({', '.join([str(channels), str(out), str(kernel), *options])})")
    if d.chance(0.08):
        return (
            f"{d.target(name)} = F.conv{n}d({name}, {layer}.weight, {layer}.bias, padding={kernel // 2},"
            f" groups={groups})"
        )
    return f"{d.target(name)} = {layer}({name})"


@production(1)
def transposed_convolution(d: Draw) -> str:
    """A transposed convolution."""
    name = d.tensor((3, 4))
    n, channels = d.rank(name) - 2, d.shape(name)[1]
    options = d.one(
        "2, stride=2",
        "3, padding=1",
        "4, stride=2, padding=1",
        "3, stride=2, padding=1, output_padding=1",
        "3, dilation=2, padding=2",
        "2",
    )
    return (
        f"{d.target(name)} ="
        f" {d.layer(f'nn.ConvTranspose{n}d({channels}, {d.one(2, 3, 4)}, {options})')}({name})"
    )


@production(3)
def dense(d: Draw) -> str:
    """A linear layer on the last dimension."""
    name = d.tensor((2, 3, 4), lambda t: t.dim() == 2 or t.shape[-1] <= 6)
    n = d.shape(name)[-1]
    layer = d.layer(f"nn.Linear({n}, {d.one(n, 4, 6)}{d.one('', '', ', bias=False')})")
    if d.chance(0.2):
        made = f"{d.target(name)} = "
        options = ("F.linear({0}, {1}.weight)", "{0} @ {1}.weight.t()", "torch.matmul({0}, {1}.weight.T)")
        return made + d.one(*options).format(name, layer)
    return f"{d.target(name)} = {layer}({name})"


@production(1.5)
def dense_on_channels(d: Draw) -> str:
    """Channels last, a linear layer, and back: as ConvNeXt and every mixer have it."""
    name = d.tensor((3, 4))
    c = d.shape(name)[1]
    layer = d.layer(f"nn.Linear({c}, {d.one(c, 4)})")
    there, back = ("0, 2, 3, 1", "0, 3, 1, 2") if d.rank(name) == 4 else ("0, 2, 1", "0, 2, 1")
    text = d.one(
        "{l}({n}.permute({t})).permute({b})",
        "torch.permute({l}({n}.permute({t})), ({b}))",
        "{l}({n}.permute({t}).contiguous()).permute({b}).contiguous()",
    )
    if d.rank(name) == 3:
        text = d.one(
            text,
            "{l}({n}.transpose(1, 2)).transpose(1, 2)",
            "{l}({n}.mT).mT",
            "{l}({n}.swapaxes(-1, -2)).swapdims(1, 2)",
        )
    return f"{d.target(name)} = {text.format(l=layer, n=name, t=there, b=back)}"


@production(4)
def norm(d: Draw) -> str:
    """A normalisation layer."""
    name = d.tensor((3, 4, 4))
    n, c = d.rank(name) - 2, d.shape(name)[1]
    groups = d.one(*(g for g in (1, 2, c) if c % g == 0))
    kinds = [
        (f"nn.BatchNorm{n}d({c})", _RUNNING),
        (f"nn.InstanceNorm{n}d({c}, affine=True)", _NORM),
        (f"nn.GroupNorm({groups}, {c})", _NORM),
    ]
    kinds += [
        (f"nn.BatchNorm{n}d({c})", _RUNNING),
        (f"nn.InstanceNorm{n}d({c})", ()),
        (f"nn.LocalResponseNorm({d.one(2, 3)})", ()),
    ]
    if d.chance(0.15):
        return d.unary(
            d.one("F.instance_norm({})", f"F.group_norm({{}}, {groups})", "F.local_response_norm({}, 3)"),
            name,
        )
    text, more = d.one(*kinds)
    return f"{d.target(name)} = {d.layer(text, *more)}({name})"


@production(2)
def layer_norm(d: Draw) -> str:
    """A norm over the last dimensions, or over channels moved there."""
    name = d.tensor((2, 3, 4))
    last, c = d.shape(name)[-1], d.shape(name)[1]
    if d.rank(name) == 4 and last > 4:
        layer = d.layer(f"nn.LayerNorm({c})", *_NORM)
        return f"{d.target(name)} = {layer}({name}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)"
    if d.chance(0.3):
        return d.unary(
            d.one(
                f"F.layer_norm({{}}, ({last},))",
                "F.layer_norm({0}, {0}.shape[-1:])",
                f"F.rms_norm({{}}, ({last},))",
            ),
            name,
        )
    layer = (
        d.layer(f"nn.LayerNorm({last})", *_NORM)
        if d.chance(0.7)
        else d.layer(f"nn.RMSNorm({last})", _NORM[0])
    )
    return f"{d.target(name)} = {layer}({name})"


@production(4)
def written_norm(d: Draw) -> str:
    """A norm, standardisation or division by a length written by hand."""
    name = d.tensor((2, 3, 4))
    dims = d.one("1", "-1", "1") if d.rank(name) < 4 else d.one("1", "(2, 3)", "(1, 2, 3)", "-1", "(-2, -1)")
    text = d.one(
        "({0} - {0}.mean({1}, keepdim=True)) / ({0}.std({1}, keepdim=True) + 1e-3)",
        "{0} - {0}.mean({1}, keepdim=True)",
        "({0} - {0}.mean({1}, keepdim=True)) * torch.rsqrt({0}.var({1}, keepdim=True, unbiased=False) +"
        " 1e-3)",
        "{0} * torch.rsqrt({0}.pow(2).mean({1}, keepdim=True) + 1e-3)",
        "{0} / torch.sqrt(({0} ** 2).mean(dim={1}, keepdim=True) + 1e-2)",
        "{0} / ({0}.norm(dim={1}, keepdim=True) + 1e-3)",
        "{0} / {0}.abs().mean({1}, keepdim=True).clamp(min=1e-3)",
        "{0} / (1e-2 + {0}.abs().amax({1}, keepdim=True))",
        "({0} - {0}.amin({1}, keepdim=True)) / ({0}.amax({1}, keepdim=True) - {0}.amin({1}, keepdim=True) +"
        " 1e-2)",
        "{0} * ({0}.norm(dim={1}, keepdim=True) / 3)",
        "{0} - {0}.logsumexp({1}, keepdim=True)",
        "{0} / torch.linalg.vector_norm({0}, dim={1}, keepdim=True).clamp_min(1e-2)",
    )
    if d.chance(0.15):
        text, dims = (
            d.one(
                "F.normalize({0}, dim={1})",
                "F.normalize({0}, p=2.0, dim={1}, eps=1e-3)",
            ),
            d.one("1", "-1"),
        )
    return f"{d.target(name)} = {text.format(name, dims)}"


@production(1)
def norm_in_steps(d: Draw) -> str:
    """A norm in several statements with named statistics."""
    name = d.tensor((3, 4))
    m, v = d.new(), d.new()
    dims = d.one("1", "(1, 2)", "-1")
    var = d.one(
        f"{name}.var({dims}, keepdim=True, unbiased=False)",
        f"({name} - {m}).pow(2).mean({dims}, keepdim=True)",
        f"(({name} - {m}) ** 2).mean({dims}, keepdim=True)",
    )
    return (
        f"{m} = {name}.mean({dims}, keepdim=True)\n{v} = {var}\n{d.target(name)} = ({name} - {m}) / ({v} +"
        " 1e-2).sqrt()"
    )


@production(4)
def pooling(d: Draw) -> str:
    """Pooling of any kind."""
    name = d.tensor((3, 4, 4), lambda t: min(t.shape[2:]) >= 4)
    n = d.rank(name) - 2
    text = d.one(
        "nn.MaxPool{n}d(2)",
        "nn.MaxPool{n}d(3, 2, 1)",
        "nn.AvgPool{n}d(2)",
        "nn.AvgPool{n}d(3, 1, 1)",
        "nn.MaxPool{n}d(3, 1, 1)",
        "nn.AdaptiveAvgPool{n}d(2)",
        "nn.AdaptiveAvgPool{n}d(1)",
        "nn.AdaptiveMaxPool{n}d(2)",
        "nn.AvgPool{n}d(3, 2, 1, count_include_pad=False)",
        "nn.MaxPool{n}d(2, 2, ceil_mode=True)",
        "F.max_pool{n}d({x}, 2)",
        "F.avg_pool{n}d({x}, kernel_size=2)",
        "F.adaptive_avg_pool{n}d({x}, 1)",
        "F.adaptive_max_pool{n}d({x}, 1)",
        "F.adaptive_avg_pool{n}d({x}, 3)",
        "F.max_pool{n}d({x}, kernel_size=2, stride=1)",
        "F.avg_pool{n}d({x}, {x}.size(-1))",
        "F.max_pool{n}d({x}, 2, return_indices=True)[0]",
        "F.lp_pool{n}d({x}.abs() + 0.1, 2, 2)",
        "-F.max_pool{n}d(-{x}, 3, 1, 1)",
        "F.max_pool{n}d({x}, 3, stride=2, dilation=1, padding=1)",
    ).format(n=n, x=name)
    if text.startswith("nn."):
        return f"{d.target(name)} = {d.layer(text)}({name})"
    return f"{d.target(name)} = {text}"


@production(3)
def resampling(d: Draw) -> str:
    """Interpolation, pixel shuffles, and windows."""
    name = d.tensor(4, lambda t: t.shape[-1] <= 10 and t.shape[-2] <= 10)
    c = d.shape(name)[1]
    options = [
        "F.interpolate({}, scale_factor=2)",
        "F.interpolate({}, scale_factor=2, mode='bilinear', align_corners=False)",
        "F.interpolate({}, scale_factor=0.5, mode='bilinear')",
        "F.interpolate({}, scale_factor=1.5, mode='bicubic')",
        "F.interpolate({}, size=(5, 7), mode='bilinear', align_corners=True)",
        "F.interpolate({}, scale_factor=2, mode='nearest')",
        "F.interpolate({0}, size={0}.shape[2:], mode='bilinear')",
        "F.interpolate({0}, (2 * {0}.shape[2], {0}.shape[3]))",
        "F.interpolate({}, size=4, mode='area')",
        "nn.Upsample(scale_factor=2)",
        "nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True)",
        "nn.UpsamplingNearest2d(scale_factor=2)",
        "F.interpolate({}, scale_factor=2, mode='nearest-exact')",
        "nn.UpsamplingBilinear2d(scale_factor=2)",
    ]
    if c % 4 == 0:
        options += ["F.pixel_shuffle({}, 2)", "nn.PixelShuffle(2)"] * 3
    if all(s % 2 == 0 for s in d.shape(name)[2:]):
        options += ["F.pixel_unshuffle({}, 2)", "nn.PixelUnshuffle(2)"] * 2
    options += [
        "F.unfold({}, 3, padding=1)",
        "F.fold(F.unfold({0}, 3, padding=1), {0}.shape[2:], 3, padding=1)",
        f"F.channel_shuffle({{}}, {2 if c % 2 == 0 else 1})",
    ]
    text = d.one(*options)
    if text.startswith("nn."):
        return f"{d.target(name)} = {d.layer(text)}({name})"
    return d.unary(text, name)


@production(3)
def padding(d: Draw) -> str:
    """Padding in its modes, and crops by negative padding."""
    name = d.tensor((3, 4), lambda t: min(t.shape[2:]) > 2)
    n = d.rank(name) - 2
    sizes = d.one((1, 1), (0, 1), (2, 1), (1, 0)) + (d.one((1, 1), (0, 0), (1, 2)) if n == 2 else ())
    mode = d.one(
        "",
        "",
        ", value=0.5",
        ", mode='reflect'",
        ", mode='replicate'",
        ", mode='circular'",
        ", 'constant', -0.3",
    )
    if d.chance(0.2):
        kinds = [f"nn.ReflectionPad{n}d", f"nn.ReplicationPad{n}d", f"nn.ZeroPad{n}d", f"nn.CircularPad{n}d"]
        return f"{d.target(name)} = {d.layer(f'{d.one(*kinds)}({sizes})')}({name})"
    if d.chance(0.15):
        sizes, mode = d.one((-1, 0), (0, -1), (-1, 1)), ""
    return f"{d.target(name)} = F.pad({name}, {sizes}{mode})"


@production(1)
def pad_to_multiple(d: Draw) -> str:
    """Padded to a multiple of 4 and, now and then, cropped again."""
    name = d.tensor(4, lambda t: t.shape[-1] % 4 != 0 or t.shape[-2] % 4 != 0)
    out = d.target(name)
    if out == name:
        raise Unsuitable
    pad = f"{out} = F.pad({name}, (0, -{name}.shape[3] % 4, 0, -{name}.size(2) % 4))"
    crop = (
        f"\n{out} = {d.one('torch.tanh({})', '2 * {}').format(out)}[:, :, :{name}.shape[2], :{name}.shape[3]]"
    )
    return pad + (crop if d.chance(0.5) else "")
