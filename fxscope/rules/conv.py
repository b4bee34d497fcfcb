"""Convolutions and transposed convolutions in 1, 2 and 3 dimensions, every padding mode.

A kernel that is computed from the probe is frozen: dynamic convolution.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Conv
from ..twins.kernels import Kernel
from . import _reduced
from ._dynamic import dynamic, layered
from ._local import convolution
from .declare import Sample, composite


def _convolution(function, spatial):
    def twin(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, call, y):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return _twin(function, spatial, x, weight, bias, options, call, y)

    return twin


def _transposed(function, spatial):
    def twin(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *, call, y):
        options = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "groups": groups,
            "dilation": dilation,
        }
        return _twin(function, spatial, x, weight, bias, options, call, y)

    return twin


def _twin(function, spatial, x, weight, bias, options, call, y):
    batched = call.rank("x") != spatial + 1
    if call.value("weight") is None and call.value("bias") is None:
        return Conv(function, weight, bias, options, batched=batched)

    def of_image(bias):
        return Conv(function, weight, bias, options, batched=batched), [call.value("x")]

    def of_weight():
        return Kernel(function, x, options, batched), [call.value("weight")]

    return layered(call, y, bias, of_image, of_weight, (slice(None), *[None] * spatial), int(batched))


def _module_arguments(module):
    values = {n: getattr(module, n) for n in ("weight", "bias", "stride", "padding", "dilation", "groups")}
    if module.padding_mode != "zeros":
        pad, mode = list(module._reversed_padding_repeated_twice), module.padding_mode
        values |= {"padding": (0,) * len(module.kernel_size), "input": lambda x: F.pad(x, pad, mode)}
    return values


def _transposed_arguments(module):
    return {
        n: getattr(module, n)
        for n in ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    }


def _padded(shape, mode):
    """The module alone pads in other ways than by zeros."""
    module = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": 1, "stride": 2}
    return Sample(shape, module={**module, "padding_mode": mode}, spellings=())


def _shared(f, x, weight, **form):
    """One kernel and one bias, computed from all images."""
    mean = x.flatten(2).mean((0, 2))
    kernel = weight * mean.view(-1, *[1] * (weight.dim() - 1))
    return f(x, kernel, mean * 2.0, **form)


def _one_an_image(f, x, weight, **form):
    """A kernel an image, by as many groups as there are images."""
    mean = x.flatten(2).mean(2)[(..., *[None] * (weight.dim() - 1))]
    y = f(x.flatten(0, 1).unsqueeze(0), (mean * weight).flatten(0, 1), groups=x.size(0), **form)
    return y.unflatten(1, [x.size(0), -1]).squeeze(0)


def _computed(shape, weight, **form):
    """The layer with a kernel that is computed from x."""
    return (
        Sample(shape, form, tensors={"weight": weight}, call=_shared, independent_batch=False, modules=()),
        Sample(shape, form, tensors={"weight": weight}, call=_one_an_image, modules=()),
    )


def _samples(spatial):
    shape = (2, 4, 9, 8, 7)[: spatial + 2]
    kernel = (3,) * spatial

    def sample(weight, transposed=False, **kwargs):
        groups = kwargs.get("groups", 1)
        inner, outer = (weight[0], weight[1] * groups) if transposed else (weight[1] * groups, weight[0])
        module = {"in_channels": inner, "out_channels": outer, "kernel_size": weight[2:], **kwargs}
        overload = "padding" if isinstance(kwargs.get("padding"), str) else "default"
        return Sample(
            shape,
            kwargs,
            module=module,
            tensors={"weight": weight, "bias": (outer,)},
            spellings=None if transposed else (f"conv{spatial}d", f"conv{spatial}d.{overload}"),
        )

    plain = (
        sample((6, 4, *kernel)),
        sample((6, 4, *kernel), stride=2, padding=1),
        sample((6, 4, *kernel), dilation=(2,) * spatial, padding="same"),
        sample((4, 2, *kernel), groups=2, padding=1),
        *(_padded(shape, mode) for mode in ("reflect", "replicate", "circular")),
        *_computed(shape, (4, 4, *kernel), stride=2, padding=1),
        Sample(
            (6, 2, *kernel),
            {"groups": 2, "padding": "same", "dilation": 2} if spatial == 2 else {"groups": 2, "stride": 2},
            tensors={"image": shape},
            call=lambda f, x, image, **form: f(image, x, **form),
            independent_batch=False,
            spellings=(f"conv{spatial}d",),
        ),
    )
    transposed = (
        sample((4, 3, *kernel), True),
        sample((4, 3, *kernel), True, stride=2, padding=1, output_padding=1),
        sample((4, 3, *kernel), True, groups=2, dilation=2),
        *_computed(shape, (4, 4, *kernel), stride=2, padding=1),
        Sample(
            (4, 3, *kernel),
            {"groups": 2, "stride": 2, "output_padding": 1},
            tensors={"image": shape},
            call=lambda f, x, image, **form: f(image, x, **form),
            independent_batch=False,
            spellings=(f"conv_transpose{spatial}d",),
        ),
    )
    return plain, transposed


_ATEN = torch.ops.aten
_TABLE = (
    (
        1,
        F.conv1d,
        _ATEN.conv1d,
        nn.Conv1d,
        F.conv_transpose1d,
        _ATEN.conv_transpose1d.default,
        nn.ConvTranspose1d,
    ),
    (
        2,
        F.conv2d,
        _ATEN.conv2d,
        nn.Conv2d,
        F.conv_transpose2d,
        _ATEN.conv_transpose2d.input,
        nn.ConvTranspose2d,
    ),
    (
        3,
        F.conv3d,
        _ATEN.conv3d,
        nn.Conv3d,
        F.conv_transpose3d,
        _ATEN.conv_transpose3d.input,
        nn.ConvTranspose3d,
    ),
)


def _rules():
    for n, conv, aten, module, conv_t, aten_t, module_t in _TABLE:
        plain, transposed = _samples(n)
        yield dynamic(
            f"conv{n}d",
            conv,
            _convolution(conv, n),
            local=convolution(n),
            functions=(aten.default, aten.padding),
            modules={module: _module_arguments},
            input_rank=n + 2,
            reduced=_reduced.layer(-n - 1),
            samples=plain,
            formula="y1 = W * x1 + b;  W of x: W0 * x1 + b1;  taylor: W0 * x1 + W1 * x0 - W0 * x0 + b1",
            source="the paper, eq. 7",
        )
        yield dynamic(
            f"conv_transpose{n}d",
            conv_t,
            _transposed(conv_t, n),
            local=convolution(n, transposed=True),
            functions=(aten_t,),
            modules={module_t: _transposed_arguments},
            input_rank=n + 2,
            reduced=_reduced.layer(-n - 1, transposed=True),
            samples=transposed,
            formula="y1 = W^T * x1 + b;  W computed from x: as of a convolution",
            source="the paper, eq. 7",
        )


CONV1D, CONV_TRANSPOSE1D, CONV2D, CONV_TRANSPOSE2D, CONV3D, CONV_TRANSPOSE3D = _rules()


def _spelled(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """The convolution of as many dimensions as there are strides."""
    _, conv, _, _, conv_t, _, _ = _TABLE[len(stride) - 1]
    if transposed:
        return conv_t(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return conv(x, weight, bias, stride, padding, dilation, groups)


def _core_sample(weight, transposed, **more):
    kwargs = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 1], "transposed": transposed}
    return Sample(
        (2, 4, 9, 8),
        {**kwargs, "output_padding": [0, 0], "groups": 1, **more},
        tensors={"weight": weight, "bias": (3,)},
    )


CORE = composite(
    "convolution",
    torch.convolution,
    _spelled,
    "",
    functions=(_ATEN.convolution.default,),
    samples=(
        _core_sample((3, 4, 3, 3), False),
        _core_sample((4, 3, 3, 3), True, output_padding=[1, 0]),
    ),
    formula="y1 = W * x1 + b",
    source="the paper, eq. 7",
)
