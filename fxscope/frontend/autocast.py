"""Autocast, the casts that torch makes by itself: off around fxscope, written out inside a forward.

F is that of the network, and of nothing around it. So autocast that is on where fxscope is called is switched
off for the call. Autocast inside a forward is part of the network: its casts become nodes of the graph.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, TypeVar

import torch

_DEVICES = ("cpu", "cuda", "xpu", "mps", "mtia", "hpu", "xla", "maia")
_Kind = TypeVar("_Kind", bound=type)


def autocast_devices() -> list[str]:
    """The device types for which autocast is on."""
    return [device for device in _DEVICES if torch.is_autocast_enabled(device)]


@contextlib.contextmanager
def no_autocast() -> Iterator[None]:
    """No autocast in the block, except where the code in the block switches it on."""
    devices = autocast_devices()
    for device in devices:
        torch.set_autocast_enabled(device, False)
    try:
        yield
    finally:
        for device in devices:
            torch.set_autocast_enabled(device, True)


def computes_without_autocast(kind: _Kind) -> _Kind:
    """A class whose methods and properties run without autocast."""
    for name, value in list(vars(kind).items()):
        if isinstance(value, FunctionType):
            setattr(kind, name, _without(value))
        elif isinstance(value, property) and value.fget is not None:
            setattr(kind, name, value.getter(_without(value.fget)))
    return kind


def _without(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not autocast_devices():
            return function(*args, **kwargs)
        with no_autocast():
            return function(*args, **kwargs)

    return called
