"""What a module computes with, so that tracing sees when a forward changes it for one call."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_TENSORS = ("_parameters", "_buffers")


def settings(module: nn.Module) -> tuple:
    """The attributes of a module and of those within it, as values that can be compared.

    A tensor counts as which one it is, and at which version: ``torch.func.functional_call`` puts another in
    its place, and a write changes the version. A proxy is compared in the same way. Attributes that are
    neither tensors nor plain values are not looked at.
    """
    return tuple((path, *_own(part)) for path, part in module.named_modules())


def _own(module: nn.Module) -> tuple:
    # vars, because a trace gives proxies for what is read off a module
    kept = vars(module)
    tensors = [(name, *_which(value)) for group in _TENSORS for name, value in kept[group].items()]
    plain = [(name, value) for name, value in kept.items() if _is_plain(value)]
    return type(module), tuple(tensors), tuple(plain)


def _which(value: Any) -> tuple:
    versioned = type(value) in (torch.Tensor, nn.Parameter) and not value.is_inference()
    return id(value), value._version if versioned else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))
