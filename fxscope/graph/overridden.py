"""Whether a module computes what its class of torch.nn computes.

It does if nothing that its forward uses was overridden in a subclass, or patched.

Only such a module is taken for the operator that a rule spells. Any other is traced through, or goes through
torch.export.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

_TORCH = os.path.dirname(torch.__file__) + os.sep
_ENTRY = (
    "forward",
    "__call__",
    "_call_impl",
    "__getattr__",
    "__getattribute__",
    "_wrapped_call_impl",
    "_slow_forward",
)


def own_class(module: nn.Module, classes: Iterable[type]) -> type | None:
    """The nearest of ``classes`` that the module is an instance of and runs as; None where there is none.

    See ``runs_as``.
    """
    for base in type(module).__mro__:
        if base in classes:
            return base if runs_as(module, base) else None
    return None


def runs_as(module: nn.Module, base: type) -> bool:
    """Whether the module's forward is that of ``base``, and reads no overridden attribute.

    An attribute may be overridden in a subclass or on the instance.
    """
    used = used_names(base)
    if any(name in used and _is_code(getattr(base, name, None)) for name in vars(module)):
        return False  # model.block.forward = ...
    for kind in type(module).__mro__[: type(module).__mro__.index(base)]:
        if any(name in used and _replaces(module, base, name, value) for name, value in vars(kind).items()):
            return False
    return not _is_torchs(base) or all(_is_torchs(_code_of(base, name)) for name in _methods(base))


def _replaces(module: nn.Module, base: type, name: str, value: Any) -> bool:
    """Whether a subclass's attribute is code of its own: a method, or a property in a parameter's place.

    The property of a parametrization is known, and does not count.
    """
    if parametrize.is_parametrized(module, name):
        return False
    return _is_code(value) and value is not getattr(base, name, None)


def _is_code(value: Any) -> bool:
    return isinstance(value, (FunctionType, staticmethod, classmethod)) or (
        hasattr(value, "__get__") and not isinstance(value, type)
    )


@functools.cache
def used_names(base: type) -> frozenset[str]:
    """The names that a class's forward reads, and the methods that it calls, theirs included."""
    found, pending = set(_ENTRY), list(_ENTRY[:1])
    while pending:
        code = getattr(_function(getattr(base, pending.pop(), None)), "__code__", None)
        for name in _names(code):
            if name not in found:
                found.add(name)
                pending.append(name)
    return frozenset(found)


@functools.cache
def _methods(base: type) -> tuple[str, ...]:
    """The methods of a class that its forward uses and that nn.Module has not."""
    return tuple(
        n
        for n in used_names(base)
        if isinstance(_function(getattr(base, n, None)), FunctionType)
        and getattr(nn.Module, n, None) is not getattr(base, n)
    )


def _names(code: CodeType | None) -> set[str]:
    if code is None:
        return set()
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*(_names(c) for c in inner))


def _function(value: Any) -> Any:
    value = value.fget if isinstance(value, property) else value
    return getattr(value, "__func__", value)


def _code_of(base: type, name: str) -> Any:
    return getattr(_function(getattr(base, name)), "__code__", None)


def _is_torchs(what: Any) -> bool:
    """Whether a class, or code, is torch's own."""
    if isinstance(what, CodeType):
        return what.co_filename.startswith(_TORCH)
    return getattr(what, "__module__", "").startswith("torch.")
