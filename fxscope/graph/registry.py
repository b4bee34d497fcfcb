"""Methods that a later room adds to a class.

``record.plot()`` comes from plot/, ``lin.contributions()`` from analysis/.

A room imports only from the rooms above it in docs/layout.md, and yet a record draws itself. So the later
room registers a function for the type when ``import fxscope`` loads it, and the method looks the function up
here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
_provided: dict[tuple[type, str], Callable[..., Any]] = {}


def provides(kind: type, name: str) -> Callable[[_Function], _Function]:
    """Register a function as a method of a class.

    Parameters
    ----------
    kind
        The class; its subclasses get the method too.
    name
        The name of the method.

    Returns
    -------
    callable
        A decorator, which returns the function as it is.

    Raises
    ------
    ValueError
        If the class has such a function already.
    """

    def register(function: _Function) -> _Function:
        if (kind, name) in _provided:
            raise ValueError(f"{kind.__name__}.{name} is provided already")
        _provided[kind, name] = function
        return function

    return register


def known(owner: Any, name: str) -> Callable[..., Any] | None:
    """The function registered for the type of ``owner`` or for its nearest base class, if there is one."""
    for kind in type(owner).__mro__:
        if (kind, name) in _provided:
            return _provided[kind, name]
    return None


def provided(owner: Any, name: str) -> Callable[..., Any]:
    """The function registered for the type of ``owner``, or for its nearest base class."""
    found = known(owner, name)
    if found is None:
        raise NotImplementedError(f"{type(owner).__name__} has no {name}()")
    return found
