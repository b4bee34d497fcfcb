"""Checks of the arguments of public functions: one check for each kind of argument.

``checked`` reads the kinds off the annotations of a function. A message says what was expected, what was
given, and what to write.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.fx as fx
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, PlaceIndexError, ShapeError, TraceFailure, WrongArgument

F = TypeVar("F", bound=Callable)

FROM_ZERO = (
    "seed",
    "first",
    "image",
    "workers",
    "channel",
)  # integers that may be 0; all others count something
ANY_SIGN = ("res_scale", "momentum", "value")  # numbers that may be negative or 0


def checked(function: F) -> F:
    """A function whose arguments are checked by their annotations before it runs."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _check_given(function.__name__, signature.bind(*args, **kwargs))
        return function(*args, **kwargs)

    return cast(F, guarded)


def check_call(caller: str, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> None:
    """Raise if a call does not fit a function, or if an argument is none of the kinds of its annotation."""
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{caller}: {error}") from None
    _check_given(caller, given)


def _check_given(caller: str, given: inspect.BoundArguments) -> None:
    """Raise if an argument of a call is none of the kinds of its annotation."""
    for name, value in given.arguments.items():
        check_parameter(caller, given.signature.parameters[name], value)


def check_parameter(caller: str, parameter: inspect.Parameter, value: Any) -> None:
    """Raise if a value is none of the kinds that a parameter's annotation names."""
    kinds = [part.strip() for part in str(parameter.annotation).split("|")]
    if value is parameter.default or (value is None and "None" in kinds):
        return
    kinds = [kind for kind in kinds if kind not in ("None", "str" if "Path" in kinds else "")]
    if kinds == ["nn.Module"]:
        return check_module(value)
    if kinds == ["fx.GraphModule"]:
        check_graph(caller, value)
        return None
    if kinds == ["torch.Tensor"]:
        return check_tensor(f"{caller}: {parameter.name}", value)
    known = [found for kind in kinds if (found := _kind(kind)) is not None]
    if len(known) < len(kinds):
        return None  # a kind that the function checks itself
    if not any(test(parameter.name, value) for test, _ in known):
        words = " or ".join(said for _, said in known)
        bound = f", {_bound(parameter.name)}" if {"int", "float"} & set(kinds) else ""
        raise WrongArgument(f"{caller}: {parameter.name} is {words}{bound}; got {shown(value)}")
    return None


def _kind(annotation: str) -> tuple[Callable[[str, Any], bool], str] | None:
    """(test, words) of one kind; a name with a capital is a class of fxscope."""
    if annotation in _KINDS or annotation == "Any" or not annotation.isidentifier() or annotation.islower():
        return _KINDS.get(annotation)
    article = "an" if annotation[0] in "AEIOU" else "a"
    return lambda name, v: any(c.__name__ == annotation for c in type(v).__mro__), f"{article} {annotation}"


def check_module(model: Any) -> None:
    """Raise ``TraceFailure`` if this is no module whose Python code can be traced, with what to pass."""
    if isinstance(model, torch.jit.ScriptModule):
        way = "TorchScript has lost the Python code; pass the module that it was made from"
    elif isinstance(model, nn.Module):
        return
    elif isinstance(model, torch.export.ExportedProgram):
        way = "pass the module that was exported, or program.module() to fxscope.interpret"
    elif isinstance(model, type) and issubclass(model, nn.Module):
        way = f"pass an instance, {model.__name__}(...)"
    elif isinstance(getattr(model, "model", None), nn.Module):
        way = "its network is .model, as of a descriptor of spandrel; pass that"
    elif callable(model):
        way = "wrap a function: class Net(torch.nn.Module), with def forward(self, x): return f(x)"
    else:
        way = "fxscope.models.load_model makes one from a name such as 'torchvision:resnet18'"
    raise TraceFailure(f"fxscope.transform takes a torch.nn.Module, got {shown(model)}: {way}")


def check_tensor(name: str, value: Any, expected: str = "a torch tensor") -> None:
    """Raise ``ShapeError`` if this is no dense tensor with numbers in memory."""
    if isinstance(value, np.ndarray):
        raise ShapeError(f"{name}: expected {expected}, got a numpy array; write torch.from_numpy(array)")
    if not isinstance(value, torch.Tensor):
        raise ShapeError(f"{name}: expected {expected}, got {shown(value)}; write torch.as_tensor(value)")
    if value.device.type == "meta":
        raise ShapeError(
            f"{name}: expected {expected}, got one on the meta device, which has no numbers;"
            " move it to a real device"
        )
    if value.layout is not torch.strided:
        raise ShapeError(f"{name}: expected {expected}, got {value.layout}; write x.to_dense()")


def check_images(name: str, value: torch.Tensor) -> None:
    """Raise ``ShapeError`` if x0 has no batch dimension, or holds nothing."""
    if not value.dim():
        raise ShapeError(f"{name}: expected a batch in front, (B, ...), got a number; write x0.reshape(1, 1)")
    if not value.numel():
        raise ShapeError(
            f"{name}: expected at least one image, (B, ...), got an empty tensor of shape"
            f" {tuple(value.shape)}"
        )


def check_path(caller: str, path: Any) -> Path:
    """A path, or ``WrongArgument`` if this is none."""
    if not _KINDS["Path"][0]("path", path):
        raise WrongArgument(f"{caller}: path is {_KINDS['Path'][1]}; got {shown(path)}")
    return Path(path)


def check_place(caller: str, place: Sequence[int], shape: Sequence[int]) -> None:
    """Raise ``PlaceIndexError`` if a place (y, x) is outside of an image (..., H, W)."""
    height, width = shape[-2:]
    if not (0 <= place[0] < height and 0 <= place[1] < width):
        raise PlaceIndexError(
            f"{caller}: the place {tuple(place)} is outside of {height} x {width} pixels; a place is (y, x),"
            " each from 0"
        )


def check_places(caller: str, places: Sequence[Sequence[int]], values: torch.Tensor) -> None:
    """Check K places of K images (K, C, H, W)."""
    if values.dim() != 4 or len(values) != len(places):
        raise ShapeError(
            f"{caller}: expected tensors (K, C, H, W) and K places, got {tuple(values.shape)} and"
            f" {len(places)}"
        )
    for place in places:
        check_place(caller, place, values.shape)


def check_labels(caller: str, labels: Any, count: int, scores: int | None = None) -> torch.Tensor:
    """Labels as (B,) whole numbers: one for all images, or one for each."""
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        found = torch.zeros(0)
    whole = found.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    if not whole or found.numel() not in (1, count) or found.dim() > 1:
        raise WrongArgument(
            f"{caller}: labels are whole numbers, one for all or one for each of {count} images; got"
            f" {shown(labels)}"
        )
    if scores is not None and not bool(((found >= 0) & (found < scores)).all()):
        raise PlaceIndexError(f"{caller}: labels are from 0 to {scores - 1}, got {shown(labels)}")
    return found.expand(count)


def check_arguments(model: nn.Module, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of a model: dense tensors, the first of which holds images."""
    values = [*args, *kwargs.values()]
    leaves = pytree.tree_leaves(values)
    for value in leaves:
        if isinstance(value, (torch.Tensor, np.ndarray)):
            check_tensor("an argument of the model", value)
    first = next((v for v in leaves if isinstance(v, torch.Tensor)), None)
    if first is None:
        got = ", ".join(shown(v) for v in values) or "no argument"
        raise ShapeError(f"{type(model).__name__} is read at x0, a torch tensor (B, ...); got {got}")
    check_images("x0", first)


def check_graph(caller: str, gm: Any) -> fx.GraphModule:
    """The graph, or an error that says what to pass."""
    if not isinstance(gm, fx.GraphModule):
        raise FxscopeError(
            f"fxscope.{caller} takes a torch.fx.GraphModule, got {shown(gm)}; pass what"
            " fxscope.transform(model) returns"
        )
    return gm


def shown(value: Any) -> str:
    """A value in a few words, for a message."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"a {type(value).__name__} of {value.dtype} and shape {tuple(value.shape)}"
    if isinstance(value, type) or callable(value):
        return f"{type(value).__name__} {getattr(value, '__name__', '')}".strip()
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 40 else text[:36] + '...'}"


def _whole(name: str, value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        return False
    return bool(value >= (0 if name in FROM_ZERO else 1))


def _real(name: str, value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    return number and math.isfinite(value) and (value > 0 or name in ANY_SIGN)


def _bound(name: str) -> str:
    if name in ANY_SIGN:
        return "finite"
    return "0 or more" if name in FROM_ZERO else "above 0"


def _pair(name: str, value: Any) -> bool:
    found = isinstance(value, (tuple, list)) and len(value) == 2
    return found and all(isinstance(v, numbers.Integral) and not isinstance(v, bool) for v in value)


def _pairs(name: str, value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) > 0 and all(_pair(name, v) for v in value)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _sizes(name: str, value: Any) -> bool:
    if name == "index":
        return True  # which the space of the outputs checks
    found = isinstance(value, (tuple, list)) and len(value) > 0
    return found and all(_whole("size", v) for v in value)


def _tensors(name: str, value: Any) -> bool:
    found = isinstance(value, dict) and len(value) > 0
    return found and all(isinstance(v, torch.Tensor) and v.device.type != "meta" for v in value.values())


def _numbers(name: str, value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(_real(name, v) for v in value)


_KINDS: dict[str, tuple[Callable[[str, Any], bool], str]] = {
    "int": (_whole, "a whole number"),
    "float": (_real, "a number"),
    "bool": (lambda name, value: isinstance(value, (bool, np.bool_)), "True or False"),
    "str": (lambda name, value: isinstance(value, str), "a text"),
    "Path": (lambda name, value: isinstance(value, (str, os.PathLike)) and str(value) != "", "a path"),
    "tuple[int, int]": (_pair, "a pair of whole numbers (y, x)"),
    "tuple[int, ...]": (_sizes, "a tuple of sizes above 0"),
    "Sequence[tuple[int, int]]": (_pairs, "a list of pairs of whole numbers (y, x)"),
    "Sequence[float]": (_numbers, "a list of numbers"),
    "dict[str, torch.Tensor]": (_tensors, "a dict {name: tensor}"),
    "dict[str, list]": (
        lambda name, value: isinstance(value, dict) and bool(value) and all(map(_is_list, value.values())),
        "a dict {name: list}",
    ),
    "Sequence[str]": (
        lambda name, value: _is_list(value) and len(value) > 0 and all(isinstance(v, str) for v in value),
        "a list of names",
    ),
    "torch.dtype": (
        lambda name, value: isinstance(value, torch.dtype) and value.is_floating_point,
        "a floating dtype, such as torch.float64",
    ),
}
