"""Helpers of the laws: functions mapped over the tensors of outputs and calls."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..frontend.example import Example


def mapped(function: Callable, value: Any) -> Any:
    """Apply a function to every tensor of an output structure; a dataclass becomes a namespace."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, SimpleNamespace) or hasattr(type(value), "__dataclass_fields__"):
        names = vars(value) if isinstance(value, SimpleNamespace) else value.__dataclass_fields__
        return SimpleNamespace(**{name: mapped(function, getattr(value, name)) for name in names})
    if isinstance(value, dict):  # behind dataclasses: the outputs of some libraries are both
        return {name: mapped(function, v) for name, v in value.items()}
    if hasattr(value, "_fields"):
        return type(value)(*(mapped(function, v) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(function, v) for v in value)
    return value


def tensors_in(value: Any) -> list[torch.Tensor]:
    """The tensors of a structure that ``mapped`` gave, in order."""
    found: list[torch.Tensor] = []
    mapped(found.append, value)
    return found


def mapped_example(function: Callable, example: Example) -> Example:
    """The same call with a function applied to each of its tensors."""
    return Example(
        *pytree.tree_map(
            lambda v: function(v) if isinstance(v, torch.Tensor) else v, (example.args, example.kwargs)
        )
    )


def converted(example: Example, dtype: torch.dtype) -> Example:
    """The same call with its floating tensors in another dtype."""
    return mapped_example(lambda t: t.to(dtype) if t.is_floating_point() else t, example)
