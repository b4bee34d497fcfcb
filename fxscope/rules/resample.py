"""Average pooling, interpolation, padding, pixel shuffles: linear, on the spatial dimensions."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Pad, Rearrange, Resample
from . import _local, _reduced
from ._local import all_but_channels, interpolation, padding, pooling
from .declare import Sample, composite, linear


def _batched(call, spatial):
    return call.rank("x") != spatial + 1


def strides(given, kernel_size):
    """The strides of windows: those that are given, or the windows' own sizes where none is."""
    none = given is None or (isinstance(given, (list, tuple)) and len(given) == 0)
    return kernel_size if none else given


def _average(function, spatial):
    def build(call, **options):
        options["stride"] = strides(options["stride"], options["kernel_size"])
        return Resample(function, options, _batched(call, spatial))

    def twin(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, *, call):
        return build(
            call,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )

    def divided(
        x,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
        *,
        call,
    ):
        return build(
            call,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )

    return twin if spatial == 1 else divided


def _adaptive(function, spatial):
    def twin(x, output_size, *, call):
        return Resample(function, {"output_size": output_size}, _batched(call, spatial))

    return twin


def interpolate(
    x,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    options = {
        "size": size,
        "scale_factor": scale_factor,
        "mode": mode,
        "align_corners": align_corners,
        "recompute_scale_factor": recompute_scale_factor,
        "antialias": antialias,
    }
    return Resample(F.interpolate, options)


def expand_interpolate(
    x,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Scale factors as floats, the only form that TorchScript takes."""
    scales = scale_factor if isinstance(scale_factor, (list, tuple)) else [scale_factor]
    if all(not isinstance(s, int) for s in scales):
        return None
    floats = [float(s) for s in scales]
    factor = floats if isinstance(scale_factor, (list, tuple)) else floats[0]
    return F.interpolate(x, size, factor, mode, align_corners, recompute_scale_factor, antialias)


def pad(x, pad, mode="constant", value=None, *, call):
    length = len(pad) if isinstance(pad, (list, tuple)) else None
    return Pad(
        list(pad) if length is not None else pad,
        mode,
        value,
        length is None or call.rank("x") != length // 2 + 1,
    )


def pixel_shuffle(x, upscale_factor):
    return Rearrange(F.pixel_shuffle, {"upscale_factor": upscale_factor})


def pixel_unshuffle(x, downscale_factor):
    return Rearrange(F.pixel_unshuffle, {"downscale_factor": downscale_factor})


def channel_shuffle(x, groups):
    return Rearrange(F.channel_shuffle, {"groups": groups})


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    return Rearrange(
        F.unfold, {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    )


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    return Rearrange(
        F.fold,
        {
            "output_size": output_size,
            "kernel_size": kernel_size,
            "dilation": dilation,
            "padding": padding,
            "stride": stride,
        },
    )


_KEEP = {"interval": lambda bound, a: bound(a["x"]), "source": "the paper, eq. 7"}
_ATEN = torch.ops.aten
_SHAPES = {1: (2, 3, 11), 2: (2, 3, 11, 8), 3: (2, 3, 7, 6, 5)}


def _averages():
    averages = {
        1: (F.avg_pool1d, nn.AvgPool1d, _ATEN.avg_pool1d.default),
        2: (F.avg_pool2d, nn.AvgPool2d, _ATEN.avg_pool2d.default),
        3: (F.avg_pool3d, nn.AvgPool3d, _ATEN.avg_pool3d.default),
    }
    for n, (function, module, overload) in averages.items():
        samples = (
            Sample(_SHAPES[n], {"kernel_size": 2}),
            Sample(_SHAPES[n], {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
            Sample(_SHAPES[n], {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False}),
            Sample(_SHAPES[n], {"kernel_size": 2, "stride": ()}, modules=()),
        )
        yield linear(
            f"avg_pool{n}d",
            function,
            _average(function, n),
            local=pooling(n),
            functions=(overload,),
            modules=(module,),
            input_rank=n + 2,
            reduced=_reduced.kept,
            samples=samples,
            formula="y1 = windowed mean of x1",
            **_KEEP,
        )


def _adaptives():
    adaptives = {
        1: (F.adaptive_avg_pool1d, nn.AdaptiveAvgPool1d, _ATEN.adaptive_avg_pool1d),
        2: (
            F.adaptive_avg_pool2d,
            nn.AdaptiveAvgPool2d,
            _ATEN.adaptive_avg_pool2d,
            _ATEN._adaptive_avg_pool2d,
        ),
        3: (
            F.adaptive_avg_pool3d,
            nn.AdaptiveAvgPool3d,
            _ATEN.adaptive_avg_pool3d,
            _ATEN._adaptive_avg_pool3d,
        ),
    }
    for n, (function, module, *packets) in adaptives.items():
        samples = (
            Sample(_SHAPES[n], {"output_size": 1}),
            Sample(_SHAPES[n], {"output_size": (3,) * n if n > 1 else 3}),
        )
        yield linear(
            f"adaptive_avg_pool{n}d",
            function,
            _adaptive(function, n),
            functions=tuple(packet.default for packet in packets),
            modules=(module,),
            input_rank=n + 2,
            reduced=_reduced.pooled_to(n),
            samples=samples,
            formula="y1 = windowed mean of x1",
            **_KEEP,
        )


AVG1, AVG2, AVG3 = _averages()
ADAPTIVE1, ADAPTIVE2, ADAPTIVE3 = _adaptives()


def _upsample_arguments(module):
    return {
        n: getattr(module, n)
        for n in ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
    }


INTERPOLATE = linear(
    "interpolate",
    F.interpolate,
    interpolate,
    reduced=_reduced.expanded,
    local=interpolation,
    expand=expand_interpolate,
    functions=(F.upsample,),
    modules=dict.fromkeys(
        (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), _upsample_arguments
    ),
    samples=(
        *tuple(
            Sample(_SHAPES[2], k, modules=(nn.Upsample,))
            for k in (
                {"scale_factor": 2, "mode": "nearest"},
                {"scale_factor": 1.5, "mode": "bilinear", "align_corners": False},
                {"size": (7, 9), "mode": "bicubic", "align_corners": True},
                {"scale_factor": 2, "mode": "nearest-exact"},
                {"size": (5, 4), "mode": "area"},
            )
        ),
        Sample(_SHAPES[1], {"scale_factor": 2, "mode": "linear"}, modules=(nn.Upsample,)),
        Sample(_SHAPES[3], {"scale_factor": 2, "mode": "trilinear"}, modules=(nn.Upsample,)),
        Sample(_SHAPES[2], {"scale_factor": 0.5, "mode": "bilinear", "antialias": True}, modules=()),
        Sample(_SHAPES[2], {"scale_factor": 2.0}, modules=(nn.UpsamplingNearest2d,)),
        Sample(
            _SHAPES[2],
            {"scale_factor": 2.0, "mode": "bilinear", "align_corners": True},
            {"scale_factor": 2},
            modules=(nn.UpsamplingBilinear2d,),
        ),
    ),
    formula="y1 = x1 interpolated",
    **_KEEP,
)
_PADS = {
    "Constant": "constant",
    "Zero": "constant",
    "Reflection": "reflect",
    "Replication": "replicate",
    "Circular": "circular",
}


def _module_pads():
    for name in _PADS:
        for n in (1, 2, 3):
            module = {"padding": (1, 2) * n} | ({"value": 0.7} if name == "Constant" else {})
            yield Sample(_SHAPES[n], module=module, modules=(getattr(nn, f"{name}Pad{n}d"),), spellings=())


def _module_padding(mode):
    """The arguments of a padding module, whose mode is told by its class."""

    def arguments(m):
        value = getattr(m, "value", 0) if mode == "constant" else None
        return {"pad": m.padding, "mode": mode, "value": value}

    return arguments


PAD = linear(
    "pad",
    F.pad,
    pad,
    reduced=_reduced.padded,
    local=padding,
    functions=(torch.ops.aten.pad.default,),
    samples=(
        Sample(_SHAPES[2], {"pad": (1, 2, 0, 3)}),
        Sample(_SHAPES[2], {"pad": (1, 2), "value": 0.7}),
        Sample(_SHAPES[2], {"pad": (1, 2, 2, 1), "mode": "reflect"}),
        Sample(_SHAPES[2], {"pad": (1, 2, 2, 1), "mode": "replicate"}),
        Sample(_SHAPES[2], {"pad": (1, 2, 2, 1), "mode": "circular"}),
        Sample(_SHAPES[1], {"pad": (1, 2), "mode": "reflect"}),
        Sample(_SHAPES[2], {"pad": (-1, 2, 0, -1)}),
        Sample((2, 3, 3, 4), {"pad": (3, 3, 2, 2), "mode": "reflect"}),
        Sample((2, 3, 3, 4), {"pad": (4, 3, 2, 3), "mode": "circular"}),
        *(
            Sample(_SHAPES[2], {"pad": (-1, 2, 1, -2), "mode": mode})
            for mode in ("reflect", "replicate", "circular")
        ),
        *_module_pads(),
    ),
    formula="y1 = x1 padded; a constant value is an additive constant",
    source="the paper, eq. 7",
    modules={
        getattr(nn, f"{name}Pad{n}d"): _module_padding(mode)
        for name, mode in _PADS.items()
        for n in (1, 2, 3)
    },
)
PIXEL_SHUFFLE = linear(
    "pixel_shuffle",
    F.pixel_shuffle,
    pixel_shuffle,
    reduced=_reduced.mixed,
    local=_local.pixel_shuffle,
    functions=(_ATEN.pixel_shuffle.default,),
    modules=(nn.PixelShuffle,),
    input_rank=4,
    samples=(Sample((2, 8, 3, 4), {"upscale_factor": 2}),),
    formula="y1 = x1 rearranged",
    **_KEEP,
)
PIXEL_UNSHUFFLE = linear(
    "pixel_unshuffle",
    F.pixel_unshuffle,
    pixel_unshuffle,
    reduced=_reduced.mixed,
    local=_local.pixel_unshuffle,
    functions=(_ATEN.pixel_unshuffle.default,),
    modules=(nn.PixelUnshuffle,),
    input_rank=4,
    samples=(Sample((2, 3, 4, 6), {"downscale_factor": 2}),),
    formula="y1 = x1 rearranged",
    **_KEEP,
)
CHANNEL_SHUFFLE = linear(
    "channel_shuffle",
    F.channel_shuffle,
    channel_shuffle,
    reduced=_reduced.kept,
    local=all_but_channels,
    functions=(_ATEN.channel_shuffle.default,),
    modules=(nn.ChannelShuffle,),
    samples=(Sample((2, 6, 3, 4), {"groups": 3}),),
    formula="y1 = x1 rearranged",
    **_KEEP,
)
UNFOLD = linear(
    "unfold",
    F.unfold,
    unfold,
    modules=(nn.Unfold,),
    input_rank=4,
    rank=lambda rank, a: 3,
    samples=(Sample((2, 3, 6, 7), {"kernel_size": 3, "padding": 1, "stride": 2}),),
    formula="y1 = windows of x1",
    **_KEEP,
)
FOLD = linear(
    "fold",
    F.fold,
    fold,
    modules=(nn.Fold,),
    input_rank=3,
    rank=lambda rank, a: 4,
    samples=(Sample((2, 12, 20), {"output_size": (5, 6), "kernel_size": 2}),),
    formula="y1 = windows of x1 summed",
    source="the paper, eq. 7",
)


def _upsample(mode, aligns, antialias=False):
    """ATen's form of one mode of interpolate: (x, output_size, [align_corners], scale_factors)."""
    if aligns:
        return lambda x, output_size, align_corners, scale_factors=None: F.interpolate(
            x, output_size, scale_factors, mode, align_corners, None, antialias
        )
    return lambda x, output_size, scale_factors=None: F.interpolate(x, output_size, scale_factors, mode)


def _upsamples():
    table = [
        (f"{name}{n}d", "nearest" if name == "upsample_nearest" else "nearest-exact", n, False)
        for name in ("upsample_nearest", "_upsample_nearest_exact")
        for n in (1, 2, 3)
    ]
    table += [
        ("upsample_linear1d", "linear", 1, True),
        ("upsample_bilinear2d", "bilinear", 2, True),
        ("upsample_trilinear3d", "trilinear", 3, True),
        ("upsample_bicubic2d", "bicubic", 2, True),
    ]
    table += [
        ("_upsample_bilinear2d_aa", "bilinear", 2, True),
        ("_upsample_bicubic2d_aa", "bicubic", 2, True),
    ]
    for name, mode, n, aligns in table:
        align = {"align_corners": False} if aligns else {}
        samples = (
            Sample(_SHAPES[n], {"output_size": None, **align, "scale_factors": [2.0] * n}),
            Sample(_SHAPES[n], {"output_size": [5] * n, **align, "scale_factors": None}),
        )
        yield composite(
            name,
            getattr(_ATEN, name).vec,
            _upsample(mode, aligns, name.endswith("aa")),
            "",
            samples=samples,
            formula="interpolate",
            **_KEEP,
        )


(
    NEAREST1,
    NEAREST2,
    NEAREST3,
    EXACT1,
    EXACT2,
    EXACT3,
    LINEAR1,
    BILINEAR2,
    TRILINEAR3,
    BICUBIC2,
    BILINEAR2_AA,
    BICUBIC2_AA,
) = _upsamples()


def im2col(x, kernel_size, dilation, padding, stride):
    return F.unfold(x, kernel_size, dilation, padding, stride)


def col2im(x, output_size, kernel_size, dilation, padding, stride):
    return F.fold(x, output_size, kernel_size, dilation, padding, stride)


_WINDOWS = {"kernel_size": [2, 2], "dilation": [1, 1], "padding": [0, 0], "stride": [1, 1]}
IM2COL = composite(
    "im2col",
    _ATEN.im2col.default,
    im2col,
    "",
    samples=(Sample((2, 3, 6, 7), _WINDOWS),),
    formula="windows of x1",
    **_KEEP,
)
COL2IM = composite(
    "col2im",
    _ATEN.col2im.default,
    col2im,
    "",
    samples=(Sample((2, 12, 20), {"output_size": [5, 6], **_WINDOWS}),),
    formula="windows of x1 summed",
    source="the paper, eq. 7",
)
