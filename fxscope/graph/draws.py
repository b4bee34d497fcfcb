"""Which nodes of a graph draw random numbers: told by the tags of torch's operators, not by a list."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.fx as fx


def draws(node: fx.Node) -> bool:
    """Whether a node takes numbers from a random generator.

    Such a node must run once, and in its turn: otherwise the numbers are different.
    """
    if node.op == "call_method":
        return _named(node.target)
    return node.op == "call_function" and _function(node.target) and not _idle(node)


def _idle(node: fx.Node) -> bool:
    """Whether the call is one in eval mode, or with nothing to drop."""
    given = {**_arguments(node), **node.kwargs}
    return given.get("training") is False or given.get("train") is False or given.get("dropout_p") == 0


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of a call by name, defaults filled in; {} where the names are not known."""
    if isinstance(node.target, torch._ops.OpOverload):
        known = node.target._schema.arguments
        return {a.name: node.args[i] if i < len(node.args) else a.default_value for i, a in enumerate(known)}
    try:
        call = inspect.signature(cast(Callable, node.target)).bind(*node.args, **node.kwargs)
    except (TypeError, ValueError):
        return {}
    call.apply_defaults()
    return dict(call.arguments)


def out_of_place(name: str, overload: str = "default") -> Any:
    """The ATen operator that gives what the in-place one ``name_`` writes; None where there is none."""
    for each in (f"{name}_functional", name):  # of x.normal_(), since aten.normal is another operator
        found = getattr(getattr(torch.ops.aten, each, None), overload, None)
        if found is not None:
            return found
    return None


@functools.lru_cache(maxsize=4096)
def _function(target: Any) -> bool:
    """An operator by its tag; a function of Python by the names that its code calls."""
    if isinstance(target, torch._ops.OpOverload):
        return torch.Tag.nondeterministic_seeded in target.tags
    code = getattr(target, "__code__", None)
    inside = code is not None and any(_named(name) for name in code.co_names)
    return inside or _named(getattr(target, "__name__", ""))


@functools.lru_cache(maxsize=4096)
def _named(name: str) -> bool:
    """Whether the operator of a name (without the underscore of an in-place form) draws."""
    if not name or name.startswith("_"):
        return False
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return False
    return any(torch.Tag.nondeterministic_seeded in getattr(packet, each).tags for each in packet.overloads())


@contextlib.contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draw under a fixed seed; every generator in use is as before afterwards.

    ``torch.manual_seed`` queues a call, with its stack trace, for each backend that is not in use yet: 2 ms,
    and memory that is never freed.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
