"""Methods that a class gets from a room above its own: ``record.plot()`` from plot/, ``lin.contributions()`` from analysis/.

A room imports only from rooms below it, and yet a record draws itself. So the room above registers a function
for the type when ``import fxscope`` loads it, and the method looks it up here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_provided: dict[tuple[type, str], Callable[..., Any]] = {}


def provides(kind: type, name: str) -> Callable[[_Function], _Function]:
    """Register a function as the method ``name`` of ``kind`` and its subclasses. Raises ``ValueError`` if it has one."""

    def register(function: _Function) -> _Function:
        if (kind, name) in _provided:
            raise ValueError(f"{kind.__name__}.{name} is provided already")
        _provided[kind, name] = function
        return function

    return register


def provided(owner: Any, name: str) -> Callable[..., Any]:
    """The function registered for the type of ``owner``, or for its nearest base class."""
    for kind in type(owner).__mro__:
        if (kind, name) in _provided:
            return _provided[kind, name]
    raise NotImplementedError(f"{type(owner).__name__} has no {name}()")


class Drawn:
    """A record with a figure, which the room ``plot`` registers for its type."""

    def plot(self, *args: Any, **options: Any) -> Any:
        """A matplotlib ``Figure``; ``options`` are those of the function in ``fxscope.plot`` for this type."""
        return provided(self, "plot")(self, *args, **options)
