"""What a model returns: structures that a graph can give back, and others, which are named."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Collection, Iterator, Mapping, Set
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import TraceFailure

VALUES = (torch.Tensor, bool, int, float, complex, str, type(None))
CANNOT = "which a graph cannot give back"
_CONTAINERS = (Set, Mapping, SimpleNamespace, deque, UserList, Iterator)  # and what dict.values() gives


def refuse_returned(model: nn.Module, value: Any) -> None:
    """Raise ``TraceFailure``: a part of an output is of a kind that a graph cannot give back."""
    raise TraceFailure(
        f"{type(model).__name__} returns a value of type {type(value).__name__}, {CANNOT}; {_instead(value)}"
    )


def usable(model: nn.Module, output: Any) -> Any:
    """An output as torch.export takes it.

    A subclass of dict, list or tuple becomes that; an object that is no tensor, number, text or structure of
    them becomes None (a cache, for example). A container that a graph cannot give back is refused, as is an
    object in place of all outputs.
    """

    def kept(value: Any) -> Any:
        if isinstance(value, VALUES) or hasattr(type(value), "__dataclass_fields__"):
            return value
        for kind in (dict, list, tuple):
            if isinstance(value, kind):
                return pytree.tree_map(kept, kind(value))
        if value is output or is_container(value):
            refuse_returned(model, value)
        return None

    return pytree.tree_map(kept, output, is_leaf=lambda v: isinstance(v, deque))


def is_container(value: Any) -> bool:
    """Whether a value holds others in a way that a graph cannot give back."""
    views = isinstance(value, Collection) and type(value).__name__.startswith("dict_")
    return views or (isinstance(value, _CONTAINERS) and not isinstance(value, dict))


def _instead(value: Any) -> str:
    if isinstance(value, SimpleNamespace):
        return "return a dict, vars(...) of it, or a dataclass"
    if isinstance(value, Mapping):
        return "return a dict, dict(...) of it"
    if isinstance(value, (set, frozenset)):
        return "a set has no order: return a tuple or a list"
    if is_container(value):
        return "return a list, list(...) of it"
    return "return a tensor, or a tuple, list, dict or dataclass of them"
