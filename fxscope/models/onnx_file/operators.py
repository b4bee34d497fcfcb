"""Operators of ONNX that look at their operands: each is a function from values to values.

Sizes are computed here in Python, and numbers (axes, pads, scales) are read from constants, so that what is
written into the graph is operators of torch alone.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ...errors import UnknownNetwork
from .values import Traced, Tracer, as_sizes, fixed, known, listed, number_of, sizes


@dataclass(frozen=True)
class Node:
    """A node of the file: what its operator reads beside its operands.

    static     the sizes of its first operand, a number where the file fixes it, else None; None if not known
    is_freed   whether a number of images of 1 means any number of them
    """

    kind: str
    attributes: dict[str, Any]
    outputs: int
    opset: int
    static: list[int | None] | None
    tracer: Tracer
    is_freed: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def sizes_of(self, x: Any) -> list[Any]:
        """The sizes of the first operand, numbers where they are fixed."""
        if not isinstance(x, Traced):
            return list(x.shape)
        static = self.static or [None] * x.ndim
        return [x.size(i) if n is None else n for i, n in enumerate(static)]


Operator = Callable[..., Any]
OPERATORS: dict[str, Operator] = {}


def _named(*kinds: str) -> Callable[[Operator], Operator]:
    def add(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return add


def refuse(node: Node, what: str) -> UnknownNetwork:
    """An error about an option of an operator, to be raised."""
    return UnknownNetwork(f"{node.kind} with {what} is not read")


def _array(found: Any) -> np.ndarray:
    """Of numpy, which gives an array without dimensions as its item."""
    return found if isinstance(found, np.ndarray) else sizes(found)


# sizes, and moving entries


@_named("Shape")
def _shape(node: Node, x: Any) -> Any:
    return sizes(node.sizes_of(x)[node.get("start", 0) : node.get("end")])


@_named("Size")
def _size(node: Node, x: Any) -> Any:
    return sizes(reduce(operator.mul, node.sizes_of(x), 1))


@_named("Gather")
def _gather(node: Node, x: Any, index: Any) -> Any:
    axis = node.get("axis", 0)
    if isinstance(x, np.ndarray):
        return _array(np.take(x, np.asarray(fixed(index, "an index of Gather")), axis=axis))
    if not isinstance(index, torch.Tensor):
        return x[(slice(None),) * (axis % x.ndim) + (index,)]
    axis %= x.ndim
    if index.dim() == 0:
        return x.select(axis, int(index))
    if isinstance(node.static, list) and isinstance(node.static[axis], int):
        index = index % node.static[axis]
    elif (index < 0).any():
        raise refuse(node, "negative indices along a size that is free")
    found = x.index_select(axis, index.flatten().long())
    return found if index.dim() == 1 else found.unflatten(axis, tuple(index.shape))


@_named("Slice")
def _slice(node: Node, x: Any, *given: Any) -> Any:
    starts, ends, axes, steps = (*given, *[None] * (4 - len(given)))[:4]
    if not given:
        starts, ends, axes = node.get("starts"), node.get("ends"), node.get("axes")
    starts, ends = (v if isinstance(v, list) else listed(v) for v in (starts, ends))
    axes = axes if isinstance(axes, list) else fixed(axes, "an axis of Slice") if axes is not None else None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else fixed(steps, "a step of Slice")
    rank = x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        before = (slice(None),) * (axis % rank)
        if step > 0 or isinstance(x, np.ndarray):
            x = x[(*before, slice(_bound(start), _bound(end), step))]
        elif _bound(start) in (None, -1) and _bound(end) is None:
            x = torch.flip(x, [axis % rank])[(*before, slice(None, None, -step))]
        else:
            raise refuse(node, f"the step {step} from {start} to {end}")
    return x


def _bound(value: Any) -> Any:
    """A bound of a slice, None for the end of an axis that is written as a number beyond all sizes."""
    is_far = isinstance(value, int) and abs(value) >= 2**31 - 1
    return None if is_far else value


@_named("Concat")
def _concat(node: Node, *given: Any) -> Any:
    if any(isinstance(v, np.ndarray) for v in given):
        return np.concatenate([as_sizes(v) for v in given], node.get("axis", 0))
    return torch.cat(list(given), node.get("axis", 0))


def _axes(node: Node, given: tuple[Any, ...], rank: int) -> list[int] | None:
    """The axes of an attribute or of an operand, none of them negative."""
    axes = node.get("axes")
    if axes is None and given and given[0] is not None:
        axes = fixed(given[0], f"an axis of {node.kind}")
    return None if axes is None else sorted(a % rank for a in axes)


@_named("Squeeze")
def _squeeze(node: Node, x: Any, *given: Any) -> Any:
    axes = _axes(node, given, x.ndim)
    if isinstance(x, np.ndarray):
        return x.squeeze(None if axes is None else tuple(axes))
    if axes is None:
        axes = [i for i, n in enumerate(node.static or []) if n == 1]
        if node.static is None:
            raise refuse(node, "no axes where the sizes are free")
    for axis in reversed(axes):
        x = x.squeeze(axis)
    return x


@_named("Unsqueeze")
def _unsqueeze(node: Node, x: Any, *given: Any) -> Any:
    axes = node.get("axes") or fixed(given[0], "an axis of Unsqueeze")
    for axis in sorted(a % (x.ndim + len(axes)) for a in axes):
        x = np.expand_dims(x, axis) if isinstance(x, np.ndarray) else x.unsqueeze(axis)
    return x


@_named("Reshape")
def _reshape(node: Node, x: Any, shape: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.reshape(fixed(shape, "a shape of sizes"))
    target = listed(shape)
    if not node.get("allowzero", 0):
        own = node.sizes_of(x)
        target = [own[i] if isinstance(n, int) and n == 0 else n for i, n in enumerate(target)]
    if node.is_freed and target[:1] == [1] and x.example.shape[0] == 1:
        target[0] = x.size(0)
    return x.reshape(tuple(target))


@_named("Flatten")
def _flatten(node: Node, x: Any) -> Any:
    axis = node.get("axis", 1) % (x.ndim + 1)
    if axis == 0:
        return x.reshape((1, -1))
    x = x.flatten(0, axis - 1) if axis > 1 else x
    return x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)


@_named("Expand")
def _expand(node: Node, x: Any, shape: Any) -> Any:
    target = listed(shape)
    rank = x.ndim if isinstance(x, Traced) else x.dim()
    target = [1] * (rank - len(target)) + target
    for i in range(rank):  # a size of 1 leaves the tensor's own
        if isinstance(target[i - rank], int) and target[i - rank] == 1:
            target[i - rank] = -1
    return node.tracer.create_proxy("call_method", "expand", (x, *target), {})


@_named("Tile")
def _tile(node: Node, x: Any, repeats: Any) -> Any:
    return node.tracer.create_proxy("call_method", "repeat", (x, *listed(repeats)), {})


@_named("ConstantOfShape")
def _constant_of_shape(node: Node, shape: Any) -> Any:
    value = node.get("value")
    value = torch.zeros(1) if value is None else value
    if isinstance(shape, torch.Tensor):
        return torch.full(listed(shape), value.item(), dtype=value.dtype)
    return node.tracer.call(torch.full, tuple(listed(shape)), value.item(), dtype=value.dtype)


@_named("Range")
def _range(node: Node, start: Any, end: Any, step: Any) -> Any:
    given = [as_sizes(v).item() for v in (start, end, step)]
    return node.tracer.call(torch.arange, *given)


@_named("Split")
def _split(node: Node, x: Any, *given: Any) -> Any:
    axis = node.get("axis", 0) % x.ndim
    lengths: Any = node.get("split")
    if given and given[0] is not None:
        lengths = listed(given[0])
    if lengths is None:
        length, count = node.sizes_of(x)[axis], node.outputs
        lengths = (length + (count - 1)) // count
    parts = torch.split(x, lengths, axis)
    return tuple(parts[i] for i in range(node.outputs))


@_named("Transpose")
def _transpose(node: Node, x: Any) -> Any:
    return x.permute(tuple(node.get("perm") or reversed(range(x.ndim))))


@_named("Pad")
def _pad(node: Node, x: Any, *given: Any) -> Any:
    pads, value, axes = (*given, *[None] * (3 - len(given)))[:3]
    numbers = node.get("pads") or listed(pads)
    value = node.get("value", 0.0) if value is None else number_of(value, x)
    along = [a % x.ndim for a in fixed(axes, "an axis of Pad")] if axes is not None else [*range(x.ndim)]
    half = len(numbers) // 2
    of_axis = {a: (numbers[i], numbers[half + i]) for i, a in enumerate(along)}
    found = [n for a in reversed(range(x.ndim)) for n in of_axis.get(a, (0, 0))]
    while found[-2:] == [0, 0]:
        found = found[:-2]
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    mode = modes.get(node.get("mode", "constant"))
    if mode is None:
        raise refuse(node, f"the mode {node.get('mode')}")
    if not found:
        return x
    if mode == "constant":
        return functional.pad(x, found, value=value)
    least = 2 * (x.ndim - 2)  # torch pads the image's own dimensions
    return functional.pad(x, found + [0] * (least - len(found)), mode=mode)


@_named("DepthToSpace", "SpaceToDepth")
def _depth(node: Node, x: Any) -> Any:
    block = node.get("blocksize")
    b, c, h, w = node.sizes_of(x)
    if node.kind == "SpaceToDepth":
        x = x.reshape((b, c, h // block, block, w // block, block)).permute((0, 3, 5, 1, 2, 4))
        return x.reshape((b, c * block * block, h // block, w // block))
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(x, block)
    inner = c // (block * block)
    x = x.reshape((b, block, block, inner, h, w)).permute((0, 3, 4, 1, 5, 2))
    return x.reshape((b, inner, h * block, w * block))


# arithmetic

_PAIRS: dict[str, Callable] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
}


@_named(*_PAIRS)
def _pair(node: Node, a: Any, b: Any) -> Any:
    if node.get("broadcast") and node.get("axis") is not None:
        raise refuse(node, "an axis of broadcasting")
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        function: Any = _whole if node.kind == "Div" else _PAIRS[node.kind]
        return _elementwise(function, a, b)
    if isinstance(a, Traced):
        b = number_of(b, a)
    if isinstance(b, Traced):
        a = number_of(a, b)
    if node.kind == "Div" and not any(_is_floating(v) for v in (a, b)):
        return torch.div(a, b, rounding_mode="trunc")
    return _PAIRS[node.kind](a, b)


def _is_floating(value: Any) -> bool:
    if isinstance(value, (torch.Tensor, Traced)) and not isinstance(
        getattr(value, "example", 0.0), (int, float)
    ):
        return value.is_floating_point()
    return isinstance(value, float)


def _whole(a: Any, b: Any) -> Any:
    """A quotient of sizes, which are not negative."""
    return a / b if isinstance(a, float) or isinstance(b, float) else a // b


def _elementwise(function: Callable, *given: Any) -> np.ndarray:
    arrays = np.broadcast_arrays(*(as_sizes(v) for v in given))
    found = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(arrays[0].shape):
        found[index] = function(*(a[index] for a in arrays))
    return found


@_named("Equal")
def _equal(node: Node, a: Any, b: Any) -> Any:
    if isinstance(a, Traced) or isinstance(b, Traced):
        return torch.eq(a, b)
    return _elementwise(_same_size, a, b)


def _same_size(a: Any, b: Any) -> bool:
    """Whether two sizes are the same: a size that is free is at least 0."""
    if not isinstance(a, Traced) and not isinstance(b, Traced):
        return bool(a == b)
    if isinstance(a, Traced) and isinstance(b, Traced) and a.node is b.node:
        return True
    if any(isinstance(v, int) and v < 0 for v in (a, b)):
        return False
    raise UnknownNetwork("two sizes are compared that depend on the image's size")


@_named("Where")
def _where(node: Node, choice: Any, a: Any, b: Any) -> Any:
    if any(isinstance(v, Traced) for v in (choice, a, b)):
        return node.tracer.call(torch.where, choice, a, b)
    return _elementwise(lambda c, x, y: x if c else y, choice, a, b)


@_named("Cast")
def _cast(node: Node, x: Any) -> Any:
    dtype = DTYPES.get(node.get("to"))
    if dtype is None:
        raise refuse(node, f"the type {node.get('to')} of ONNX")
    if isinstance(x, np.ndarray):
        return x if dtype.is_floating_point else _elementwise(_truncated, x)
    if _is_whole_float(x.dtype) and _is_whole_float(dtype):
        return x  # the network's floating numbers have one precision, which its user chooses
    return x.to(dtype)


def _is_whole_float(dtype: torch.dtype) -> bool:
    return dtype in (torch.float32, torch.float64)


def _truncated(x: Any) -> Any:
    """A size without what follows the point."""
    if isinstance(x, Traced) and isinstance(x.example, float):
        return x.tracer.create_proxy("call_function", math.floor, (x,), {})
    return x if isinstance(x, Traced) else int(x)


DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


@_named("Floor", "Ceil", "Neg", "Identity", "Sqrt")
def _of_one(node: Node, x: Any) -> Any:
    if isinstance(x, np.ndarray):
        kinds: dict[str, Callable] = {"Floor": _truncated, "Neg": operator.neg, "Identity": lambda v: v}
        if node.kind not in kinds:
            raise refuse(node, "a size that depends on the image's")
        return _elementwise(kinds[node.kind], x)
    functions = {"Floor": torch.floor, "Ceil": torch.ceil, "Neg": torch.neg, "Sqrt": torch.sqrt}
    return x if node.kind == "Identity" else functions[node.kind](x)


@_named("Dropout")
def _dropout(node: Node, x: Any, *given: Any) -> Any:
    return x if node.outputs == 1 else (x, None)


@_named("Sum", "Mean", "Max", "Min")
def _several(node: Node, *given: Any) -> Any:
    pairs = {"Sum": operator.add, "Mean": operator.add, "Max": torch.maximum, "Min": torch.minimum}
    found = reduce(lambda a, b: node.tracer.call(pairs[node.kind], a, b), given)
    return found / len(given) if node.kind == "Mean" else found


@_named("Pow")
def _pow(node: Node, x: Any, exponent: Any) -> Any:
    return node.tracer.call(torch.pow, number_of(x), number_of(exponent, x))


# reductions


def _sum_square(x: Any, axes: Any, keepdim: bool) -> Any:
    return (x * x).sum(axes, keepdim)


_REDUCTIONS: dict[str, Callable] = {
    "ReduceSum": lambda x, axes, keepdim: x.sum(axes, keepdim),
    "ReduceMean": lambda x, axes, keepdim: x.mean(axes, keepdim),
    "ReduceMax": lambda x, axes, keepdim: x.amax(axes, keepdim),
    "ReduceMin": lambda x, axes, keepdim: x.amin(axes, keepdim),
    "ReduceL1": lambda x, axes, keepdim: x.abs().sum(axes, keepdim),
    "ReduceL2": lambda x, axes, keepdim: torch.sqrt(_sum_square(x, axes, keepdim)),
    "ReduceSumSquare": _sum_square,
    "ReduceLogSumExp": lambda x, axes, keepdim: torch.logsumexp(x, axes, keepdim),
}


@_named(*_REDUCTIONS, "ReduceProd")
def _reduction(node: Node, x: Any, *given: Any) -> Any:
    axes, keepdim = _axes(node, given, x.ndim), bool(node.get("keepdims", 1))
    if isinstance(x, np.ndarray):
        if node.kind != "ReduceProd":
            raise refuse(node, "a size that depends on the image's")
        return _array(np.prod(x, axis=None if axes is None else tuple(axes), keepdims=keepdim))
    if not axes:
        if node.get("noop_with_empty_axes", 0):
            return x
        axes = [*range(x.ndim)]
    if node.kind == "ReduceProd":
        raise refuse(node, "the values of the image")
    return _REDUCTIONS[node.kind](x, axes, keepdim)


@_named("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node, x: Any) -> Any:
    axes = [*range(2, x.ndim)]
    return x.mean(axes, True) if node.kind == "GlobalAveragePool" else x.amax(axes, True)


# activations


@_named("Clip")
def _clip(node: Node, x: Any, *given: Any) -> Any:
    limits = [None if v is None else float(v) for v in (node.get("min"), node.get("max"))]
    for i, value in enumerate(given):
        if value is not None:
            limits[i] = fixed(value.flatten(), "a limit of Clip")[0]
    if limits == [0, None]:
        return torch.relu(x)
    if limits == [None, None]:
        return x
    return functional.relu6(x) if limits == [0, 6] else torch.clamp(x, *limits)


@_named("PRelu")
def _prelu(node: Node, x: Any, slope: Any) -> Any:
    is_of_channels = isinstance(slope, torch.Tensor) and (
        slope.numel() == 1
        or (slope.dim() == x.ndim - 1 and slope.numel() == slope.shape[0])
        or (slope.dim() == x.ndim and slope.numel() == slope.shape[1])
    )
    if is_of_channels:
        return functional.prelu(x, slope.flatten())
    return torch.where(x >= 0, x, x * slope)


@_named("Softmax", "LogSoftmax")
def _softmax(node: Node, x: Any) -> Any:
    function: Any = torch.softmax if node.kind == "Softmax" else torch.log_softmax
    axis = node.get("axis", 1 if node.opset < 13 else -1) % x.ndim
    if node.opset >= 13 or axis == x.ndim - 1:
        return function(x, axis)
    shape = node.sizes_of(x)  # once, over all dimensions from the axis on
    return function(x.flatten(axis), axis).reshape(tuple(shape))


@_named("HardSigmoid")
def _hard_sigmoid(node: Node, x: Any) -> Any:
    slope, middle = node.get("alpha", 0.2), node.get("beta", 0.5)
    if middle == 0.5 and abs(slope - 1 / 6) < 1e-6:
        return functional.hardsigmoid(x)
    return torch.clamp(x * slope + middle, 0.0, 1.0)


@_named("Gelu", "Mish")
def _smooth(node: Node, x: Any) -> Any:
    return (
        functional.mish(x)
        if node.kind == "Mish"
        else functional.gelu(x, approximate=node.get("approximate", "none"))
    )


@_named("GroupNormalization")
def _group_norm(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    groups = node.get("num_groups")
    if node.opset < 21:  # one number for each group
        repeats = x.example.shape[1] // groups
        scale, bias = (v.repeat_interleave(repeats) for v in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


# resizing


@_named("Resize", "Upsample")
def _resize(node: Node, x: Any, *given: Any) -> Any:
    operands = [*given, None, None, None][:3]
    roi, scales, wanted = (
        operands if node.kind == "Resize" and node.opset >= 11 else [None, operands[0], None]
    )
    del roi  # it is read by tf_crop_and_resize alone, which is refused
    if node.get("scales") is not None:
        scales = torch.tensor(node.get("scales"))
    mode, options = _interpolation(node, x.ndim - 2)
    given_sizes = _spatial(node, x, wanted, None)
    if given_sizes is not None:
        return functional.interpolate(x, size=given_sizes, mode=mode, **options)
    factors = _spatial(node, x, scales, 1)
    if factors is None:
        raise refuse(node, "neither scales nor sizes")
    factors = [float(f) if isinstance(f, (int, float)) else f for f in factors]
    if all(f == 1 for f in factors if isinstance(f, float)) and all(isinstance(f, float) for f in factors):
        return x
    return functional.interpolate(x, scale_factor=factors, mode=mode, **options)


def _spatial(node: Node, x: Any, value: Any, other: Any) -> list[Any] | None:
    """The numbers of the image's own dimensions; those of batch and channels must leave them as they are."""
    if value is None or (isinstance(value, torch.Tensor) and value.numel() == 0):
        return None
    numbers = listed(value)
    axes = node.get("axes") or [*range(x.ndim)]
    of_axis = {a % x.ndim: n for a, n in zip(axes, numbers)}
    kept = list(x.example.shape) if other is None else [other] * x.ndim
    for axis in (0, 1):
        number = of_axis.get(axis, kept[axis])
        if getattr(number, "example", number) != kept[axis]:
            raise refuse(node, "another number of images or channels")
    own = node.sizes_of(x) if other is None else kept
    return [of_axis.get(a, own[a]) for a in range(2, x.ndim)]


def _interpolation(node: Node, rank: int) -> tuple[str, dict[str, Any]]:
    """Torch's mode, and its options."""
    mode, is_old = node.get("mode", "nearest"), node.kind == "Upsample" or node.opset < 11
    place = node.get("coordinate_transformation_mode", "asymmetric" if is_old else "half_pixel")
    if place == "tf_crop_and_resize" or node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise refuse(node, f"{place}, {node.get('keep_aspect_ratio_policy', 'stretch')}")
    if node.get("exclude_outside", 0) or (mode == "cubic" and node.get("cubic_coeff_a", -0.75) != -0.75):
        raise refuse(node, "exclude_outside or another cubic_coeff_a")
    if mode == "nearest":
        return ("nearest" if place == "asymmetric" else "nearest-exact"), {}
    modes = {("linear", 1): "linear", ("linear", 2): "bilinear", ("linear", 3): "trilinear"}
    found = modes.get((mode, rank), "bicubic" if (mode, rank) == ("cubic", 2) else None)
    if found is None or place not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise refuse(node, f"mode {mode} and {place}")
    options = {"align_corners": place == "align_corners"}
    if node.get("antialias", 0):
        options["antialias"] = True
    return found, options


def applied(node: Node, given: list[Any]) -> tuple[Any, ...]:
    """The outputs of an operator of this file."""
    while given and given[-1] is None:
        given = given[:-1]
    found = OPERATORS[node.kind](node, *given)
    return tuple(known(v) for v in (found if isinstance(found, tuple) else (found,)))
