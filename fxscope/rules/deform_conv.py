"""Deformable convolution: linear in the features; where it samples, and the mask, are frozen.

It is a sum over four pixels around each sampled place, and a matrix product with the kernel. Under "taylor",
or where the features do not depend on the probe, offsets and mask stay linear as well.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401  # it registers the operator

from ..twins import Add, Dims, MatmulLeft, Offset, Reshape
from ..twins.sampled import Corners, Paired
from .declare import Sample, differentiated, linear


@dataclass(frozen=True)
class Sampling:
    """Where a deformable convolution reads: rows and columns of (B, groups, places of the kernel, Ho, Wo)."""

    rows: Any
    columns: Any
    height: Any
    width: Any

    def corners(self, mask):
        """Flat indices and weights of the four pixels around each place; those outside count nothing."""
        low_y, low_x = torch.floor(self.rows), torch.floor(self.columns)
        y, x = self.rows - low_y, self.columns - low_x
        pairs = ((low_y, 1 - y, -1.0), (low_y + 1, y, 1.0)), ((low_x, 1 - x, -1.0), (low_x + 1, x, 1.0))
        index, weights, by_y, by_x = [], [], [], []
        for row, v, sign_v in pairs[0]:
            for column, h, sign_h in pairs[1]:
                inside = (row >= 0) & (row <= self.height - 1) & (column >= 0) & (column <= self.width - 1)
                row_in = torch.minimum(row.clamp(min=0), torch.full_like(row, self.height - 1))
                column_in = torch.minimum(column.clamp(min=0), torch.full_like(column, self.width - 1))
                index.append((torch.nan_to_num(row_in) * self.width + torch.nan_to_num(column_in)).long())
                weight = inside if mask is None else torch.where(inside, mask, 0.0)
                weights.append(v * h * weight)
                by_y.append(sign_v * h * weight)
                by_x.append(v * sign_h * weight)
        return [torch.stack(parts, 2).flatten(3) for parts in (index, weights, by_y, by_x)]


def _sampling(x, offset, y, size, form, groups):
    """The places that are read, from the offsets and the fixed steps of the kernel."""
    spread = offset.unflatten(1, [groups, size[0] * size[1], 2])
    axes = []
    for axis in range(2):
        stride, padding, dilation = (values[axis] for values in form)
        steps = torch.arange(size[axis], dtype=x.dtype, device=x.device) * dilation - padding
        steps = steps.view(-1, 1).expand([-1, size[1]]) if axis == 0 else steps.expand([size[0], -1])
        starts = torch.arange(y.size(2 + axis), dtype=x.dtype, device=x.device) * stride
        starts = starts.unsqueeze(-1) if axis == 0 else starts
        axes.append(spread[:, :, :, axis] + (steps.reshape(-1, 1, 1) + starts))
    return Sampling(*axes, x.size(2), x.size(3))


def _read(x, index, weight, groups):
    """Sums of four pixels: (B, groups, channels, places)."""
    x = x.unflatten(1, [groups, -1]).flatten(3)
    index = index.flatten(2).unsqueeze(2).expand([-1, -1, x.size(2), -1])
    return (torch.gather(x, 3, index).unflatten(3, [4, -1]) * weight.unsqueeze(2)).sum(3)


def _moved(call, name, values, sizes):
    """Offsets or mask on the tape, as (B, groups, coordinates, places)."""
    value, rank = call.value(name), 3 + len(sizes)
    split = values.unflatten(1, sizes)
    value = call.record(Dims(torch.unflatten, (2, sizes)), [value], like=split, rank=rank)
    turned = split.transpose(2, 3)
    value = call.record(Dims(torch.transpose, (3, 4)), [value], like=turned, rank=rank)
    flat = turned.flatten(3)
    return call.record(Dims(torch.flatten, (4, rank)), [value], like=flat, rank=4), flat


def _linear_places(call, x, offset, mask, found, groups, places):
    """What offsets and mask add to what is read, and the constant that makes it 0 at x0."""
    index, _, by_y, by_x = found["corners"]
    parts, constant = [], torch.zeros_like(found["read"])
    if call.value("offset") is not None:
        value, flat = _moved(call, "offset", offset, [groups, places, 2])
        slope = torch.stack([_read(x, index, by, groups) for by in (by_y, by_x)], 3)
        parts.append(call.record(Paired(slope, 3, 4), [value], like=found["read"], rank=4))
        constant = constant - (slope * flat.unsqueeze(2)).sum(3)
    if found["plain"] is not None:
        value, flat = _moved(call, "mask", mask, [groups, places, 1])
        slope = _read(x, index, found["plain"], groups).unsqueeze(3)
        parts.append(call.record(Paired(slope, 3, 4), [value], like=found["read"], rank=4))
        constant = constant - found["read"]
    return parts, constant


def _samples(call, x, offset, mask, found, groups, places):
    """What is read, on the tape: (B, groups, channels, places)."""
    parts: list[Any] = []
    if call.value("x") is not None:
        twin = Corners(*found["corners"][:2], groups)
        parts.append(call.record(twin, [call.value("x")], like=found["read"], rank=4))
        if call.variant != "taylor":
            return parts[0]
    more, constant = _linear_places(call, x, offset, mask, found, groups, places)
    if call.value("x") is None:
        constant = constant + found["read"]
    parts = [*parts, *more]
    total = parts[0]
    for part in parts[1:]:
        total = call.record(Add(1, (0, 0)), [total, part], like=found["read"], rank=4)
    return call.record(Offset(constant, grows=False), [total], rank=4) if more else total


def deform_conv2d(
    x,
    weight,
    offset,
    mask,
    bias,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    groups,
    offset_groups,
    use_mask,
    *,
    call,
    y,
):
    form = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    size = (weight.size(2), weight.size(3))
    places = size[0] * size[1]
    sampling = _sampling(x, offset, y, size, form, offset_groups)
    gate = mask.unflatten(1, [offset_groups, places]) if use_mask else None
    corners = sampling.corners(gate)
    found = {"corners": corners, "read": _read(x, corners[0], corners[1], offset_groups)}
    masked = use_mask and call.value("mask") is not None
    found["plain"] = sampling.corners(None)[1] if masked else None
    read = _samples(call, x, offset, mask, found, offset_groups, places)
    columns = [y.size(0), groups, -1, y.size(2) * y.size(3)]
    seen = found["read"].reshape(columns)
    value = call.record(Reshape(columns), [read], like=seen, rank=4)
    kernel = weight.flatten(1).unflatten(0, [groups, -1])
    value = call.record(MatmulLeft(kernel, 0), [value], like=torch.matmul(kernel, seen), rank=4)
    value = call.record(Reshape([y.size(d) for d in range(4)]), [value], like=y, rank=4)
    return Offset(bias[:, None, None], grows=False), [value]


def _asked(a):
    yield a["offset"], 4, 4
    if a["use_mask"]:  # torchvision passes another tensor where there is no mask
        yield a["mask"], 4, 4


def _sample(call, independent=True):
    tensors = {"weight": (6, 2, 3, 3), "bias": (6,)}
    return Sample((2, 4, 5, 6), tensors=tensors, call=call, independent_batch=independent)


def _of_constant_places(f, x, weight, bias):
    offset = torch.linspace(-1.4, 1.7, 18, dtype=x.dtype)[:, None, None] * torch.ones_like(x[:, :1, ::2, ::2])
    return f(x, weight, offset, x[:, :1] * 0.0, bias, 2, 2, 1, 1, 1, 1, 2, 1, False)


def _bounded(x):
    """Numbers between -1 and 1, also where x is NaN: torchvision reads out of bounds at such an offset."""
    return torch.where(x == x, torch.tanh(x), 0.0)


def _of_x(f, x, weight, bias):
    """Offsets and mask computed from x, two groups of each."""
    bounded = _bounded(x)
    offset = torch.cat([bounded * (0.3 * i - 1) for i in range(9)], 1)
    mask = torch.cat([torch.sigmoid(bounded * 2.0)] * 4 + [bounded[:, :2]], 1)
    return f(x, weight, offset, mask, bias, 1, 1, 2, 2, 2, 2, 2, 2, True)


def _of_places(f, x, weight, bias):
    """The features are constants."""
    image = torch.linspace(-1, 1, 120, dtype=x.dtype).view(1, 4, 5, 6).sin() * torch.ones_like(x)
    bounded = _bounded(x)
    offset = torch.cat([bounded * (0.3 * i - 1) for i in range(9)], 1)
    return f(image, weight, offset, x[:, :1], bias, 1, 1, 1, 1, 1, 1, 2, 2, False)


RULE = differentiated(
    linear(
        "deform_conv2d",
        torch.ops.torchvision.deform_conv2d,
        deform_conv2d,
        carries=("x", "offset", "mask"),
        functions=(torch.ops.torchvision.deform_conv2d.default,),
        input_rank=4,
        asks=_asked,
        samples=(_sample(_of_constant_places), _sample(_of_x), _sample(_of_places)),
        formula="y1 = W (x1 at the frozen places, times the frozen mask) + b;  taylor: + the change of both",
        source="Dai et al. 2017; Zhu et al. 2019",
    ),
    deform_conv2d,
)
