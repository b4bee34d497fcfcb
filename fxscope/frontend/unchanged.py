"""Nothing is other than before: what a call keeps of a model and of the random state, and puts back."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from .autocast import autocast_devices, no_autocast
from .parallel import unwrapped

# numbers of a tensor that is copied beforehand; a larger one, and a parameter, when it is about to be written
# to
COPIED = 1 << 16
DEEP = 3  # objects of the user's own classes, one inside the other, whose attributes are kept
LONG = 10_000  # entries of a list or dict that are looked into; a longer one is kept as it is
_log = logging.getLogger("fxscope")
_OWN = ("torch", "builtins", "abc", "typing", "weakref", "_thread", "threading")
_CONTAINERS = (dict, list, set, deque)
_PLAIN = frozenset((
    type(None), bool, int, float, complex, str, bytes, type, range, slice, torch.dtype, torch.device,
    torch.Size, FunctionType, BuiltinFunctionType, MethodType, ModuleType,
))  # fmt: skip


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Nothing of the model is other than before when the block ends, nor is the global random state.

    Parameters, buffers and plain tensors (values, version counters, memory), attributes of the modules, of
    their classes and of the objects, dicts and lists that they hold, hooks, training flags; the generators of
    torch (of the CPU and of the model's devices), of Python and of numpy. Autocast is off, and its cache
    takes nothing in: a weight that was cast without gradients would give none to a later training step. The
    fast path of torch's transformer modules is off.
    """
    outer = next((before for before in reversed(_open()) if before.model is model), None)
    if outer is not None:  # an inner block begins where the outer one did, since every block ends there
        try:
            yield
        finally:
            outer.restore()
        return
    before = _Before(model)
    cache = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    _open().append(before)
    try:
        with no_autocast(), _no_fast_path(), before.watch.while_needed():
            yield
    finally:
        _open().remove(before)
        torch.set_autocast_cache_enabled(cache)
        before.restore()


@contextlib.contextmanager
def tensors_unchanged(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """These tensors hold what they held when the block ends, with the same version counters."""
    before = [_Tensor(t) for t in tensors if _is_here(t)]
    for each in before:
        each.save()
    try:
        yield
    finally:
        for each in before:
            each.restore()


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """torch.nn.TransformerEncoder and its like compute what they compute where gradients are asked for.

    Their fast path gives zeros at padded positions, where the network itself gives values.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def written_since(model: nn.Module) -> list[torch.Tensor]:
    """The tensors of a model whose numbers are other than when its outermost ``unchanged`` block began.

    Writes through ``.data`` are among them, which no version counter tells of.
    """
    before = next(before for before in _open() if before.model is model)
    return [each.tensor for each in before.tensors() if each.written()]


def _open() -> list[_Before]:
    """The blocks of this thread that have not ended yet."""
    if not hasattr(_blocks, "open"):
        _blocks.open = []
    return _blocks.open


_blocks = threading.local()


def leaves_unchanged(function: Callable) -> Callable:
    """A public function of a model, its first argument, that leaves it and the random state as they were.

    The function gets the network inside wrappers such as ``nn.DataParallel``, and runs without autocast.
    """

    @functools.wraps(function)
    def guarded(model: Any, *args: Any, **kwargs: Any) -> Any:
        if autocast_devices():
            _log.warning(
                "%s is called under autocast, which it switches off: F is that of the network itself."
                " Autocast in the network's forward stays part of it",
                function.__name__,
            )
        with no_autocast():
            if not isinstance(model, nn.Module):
                return function(model, *args, **kwargs)  # which says what it takes
            network = unwrapped(model)
            with unchanged(network):
                return function(network, *args, **kwargs)

    return guarded


class Draw:
    """The state of the random generators at one moment: every block under ``again()`` draws the same numbers.

    Those of torch on the CPU and on the devices of ``tensors``, of Python and of numpy. Behind the block they
    are what they were before it.
    """

    def __init__(self, tensors: Iterable[torch.Tensor] = ()):
        self._devices = {t.device for t in tensors if t.device.type not in ("cpu", "meta")}
        self._state = self._now()

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Set the generators to this moment for a block."""
        before = self._now()
        self._set(self._state)
        try:
            yield
        finally:
            self._set(before)

    def restore(self) -> None:
        """Let the generators go on from this moment."""
        self._set(self._state)

    def _now(self) -> tuple:
        devices = {d: torch.get_device_module(d).get_rng_state(d) for d in self._devices}
        return torch.get_rng_state(), devices, random.getstate(), np.random.get_state()

    @staticmethod
    def _set(state: tuple) -> None:
        cpu, devices, python, numpy = state
        torch.set_rng_state(cpu)
        for device, value in devices.items():
            torch.get_device_module(device).set_rng_state(value, device)
        random.setstate(python)
        np.random.set_state(numpy)


class _Before:
    """Everything that a model holds, found by walking its modules."""

    def __init__(self, model: nn.Module):
        self.model = model
        self._seen: set[int] = set()
        self._containers: list[tuple[Any, Any]] = []
        self._classes: dict[type, dict[str, Any]] = {}
        self._tensors: dict[int, _Tensor] = {}
        self._others: list[Callable[[], None]] = []  # generators and arrays, by how they are put back
        for module in model.modules():
            self._module(module)
        self.watch = _Watch(t for t in self._tensors.values() if t.copy is None)
        self._draw = Draw(t.tensor for t in self._tensors.values())

    def tensors(self) -> Iterable[_Tensor]:
        """The tensors that are kept."""
        return self._tensors.values()

    def restore(self) -> None:
        for container, before in self._containers:
            if container or before:  # most dicts of a module are empty
                _put_back(container, before)
        for kind, before in self._classes.items():
            _put_class_back(kind, before)
        for tensor in self._tensors.values():
            tensor.restore()
        for other in self._others:
            other()
        self._draw.restore()

    def _module(self, module: nn.Module) -> None:
        for kind in type(module).__mro__:
            if kind not in self._classes and not _of_torch(kind):
                self._classes[kind] = _fields(kind)
                self._inside(self._classes[kind].values(), 0)
        self._visit(vars(module), 0)

    def _visit(self, value: Any, depth: int) -> None:
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, _CONTAINERS):
            self._container(value, depth)
        elif isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, nn.Module):
            self._module(value)
        elif isinstance(value, (tuple, frozenset)):
            self._inside(value, depth)
        else:
            self._object(value, depth)

    def _container(self, value: Any, depth: int) -> None:
        before = value.copy()
        self._containers.append((value, before))
        if before:
            self._inside(before.values() if isinstance(value, dict) else before, depth)

    def _inside(self, values: Any, depth: int) -> None:
        if len(values) <= LONG:
            for value in values:
                if type(value) not in _PLAIN:
                    self._visit(value, depth)

    def _object(self, value: Any, depth: int) -> None:
        """A generator or an array by its state, an object of the user's by its attributes."""
        found = _by_state(value)
        if found is not None:
            self._others.append(found)
        elif depth < DEEP and not _of_torch(type(value)):
            if hasattr(value, "__dict__"):
                self._visit(vars(value), depth + 1)
            names = [n for kind in type(value).__mro__ for n in _slots(kind) if hasattr(value, n)]
            slots = {n: getattr(value, n) for n in names}
            if slots:
                self._others.append(lambda: _put_slots_back(value, slots))
                self._inside(slots.values(), depth + 1)

    def _tensor(self, value: torch.Tensor) -> None:
        if _is_here(value):
            self._tensors[id(value)] = _Tensor(value)


def _is_here(tensor: torch.Tensor) -> bool:
    """Whether a tensor has memory here: fake ones, and those of other layouts, hold nothing that is kept."""
    here = tensor.layout is torch.strided and tensor.device.type != "meta"
    return here and not torch._subclasses.fake_tensor.is_fake(tensor)


class _Tensor:
    """A tensor with its memory, its version and its values.

    The values are copied now where that is cheap, and otherwise by ``_Watch``.
    """

    def __init__(self, tensor: torch.Tensor):
        self.tensor, self.held = tensor, tensor.data  # the same memory, with a version counter of its own
        self.version = None if tensor.is_inference() else tensor._version
        self.gradients = tensor.requires_grad
        small = not isinstance(tensor, nn.Parameter) and tensor.numel() <= COPIED
        self.copy = self.held.clone() if small else None

    def save(self) -> None:
        self.copy = self.held.clone()

    def written(self) -> bool:
        return self.copy is not None and not torch.equal(self.held, self.copy)

    def restore(self) -> None:
        tensor, held = self.tensor, self.held
        if _layout(tensor) != _layout(held):
            tensor.data = held
        if self.copy is not None and self.written():
            with torch.no_grad():
                held.copy_(self.copy)
        if self.version is not None and tensor._version != self.version:
            torch._C._autograd._unsafe_set_version_counter((tensor,), (self.version,))
        if tensor.requires_grad != self.gradients:
            tensor.requires_grad_(self.gradients)


def _layout(tensor: torch.Tensor) -> tuple:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


class _Watch(TorchDispatchMode):
    """Copies a tensor when an operator is about to write to its memory: what is only read costs nothing."""

    supports_higher_order_operators = True

    def __init__(self, tensors: Iterable[_Tensor]):
        super().__init__()
        self._pending: dict[int, list[_Tensor]] = {}
        for each in tensors:
            self._pending.setdefault(_memory(each.held), []).append(each)

    def while_needed(self) -> contextlib.AbstractContextManager[Any]:
        """The mode, which costs time for every operator; nothing where all was copied beforehand."""
        return self if self._pending else contextlib.nullcontext()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        schema = getattr(func, "_schema", None)
        if self._pending and schema is not None and schema.is_mutable:
            for tensor in _written(schema, args, kwargs):
                for each in self._pending.pop(_memory(tensor), ()):
                    each.save()
        if forward_ad._current_level >= 0:  # a zero tangent of forward-mode derivatives has no memory
            args = tuple(_allocated(each) for each in args)
            kwargs = {name: _allocated(each) for name, each in kwargs.items()}
        return func(*args, **kwargs)


def _allocated(value: Any) -> Any:
    """The value, with memory where it is a zero tangent: operators that a mode calls crash without."""
    if type(value) is torch.Tensor and value._is_zerotensor():
        return torch.zeros(value.shape, dtype=value.dtype, device=value.device)
    if type(value) is list:
        return [_allocated(each) for each in value]
    return value


def _written(schema: Any, args: tuple, kwargs: dict) -> Iterator[torch.Tensor]:
    """The tensors that an operator is about to write to, by its schema."""
    for i, argument in enumerate(schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[i] if i < len(args) else kwargs.get(argument.name)
        values = value if isinstance(value, (list, tuple)) else (value,)
        yield from (v for v in values if isinstance(v, torch.Tensor))


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _by_state(value: Any) -> Callable[[], None] | None:
    """How a generator or an array is put back; None for other objects."""
    if isinstance(value, torch.Generator):
        state = value.get_state()

        def put_back() -> None:
            value.set_state(state)

        return put_back
    if isinstance(value, random.Random):
        known = value.getstate()
        return lambda: value.setstate(known)
    if isinstance(value, np.random.Generator):
        bits, inner = value.bit_generator, value.bit_generator.state
        return lambda: setattr(bits, "state", inner)
    if isinstance(value, np.random.RandomState):
        legacy = value.get_state()
        return lambda: value.set_state(legacy)
    if isinstance(value, np.ndarray):
        copy = value.copy()
        return lambda: None if value.tobytes() == copy.tobytes() else np.copyto(value, copy)
    return None


def _put_back(container: Any, before: Any) -> None:
    """The container with the entries that it had, the same objects in the same order."""
    if isinstance(container, set):
        if container != before:
            container.clear()
            container.update(before)
        return
    same = len(container) == len(before) and all(map(is_, container, before))
    if same and (not isinstance(container, dict) or all(map(is_, container.values(), before.values()))):
        return
    container.clear()
    container.update(before) if isinstance(container, dict) else container.extend(before)


def _put_class_back(kind: type, before: dict[str, Any]) -> None:
    now = _fields(kind)
    for name in now.keys() - before.keys():
        delattr(kind, name)
    for name, value in before.items():
        if name not in now or now[name] is not value:
            setattr(kind, name, value)


def _put_slots_back(value: Any, slots: dict[str, Any]) -> None:
    for name, each in slots.items():
        if getattr(value, name, None) is not each:
            object.__setattr__(value, name, each)


def _fields(kind: type) -> dict[str, Any]:
    """The values that a class holds itself; not its methods and descriptors."""
    named = {n: v for n, v in vars(kind).items() if not n.startswith("__")}
    return {n: v for n, v in named.items() if not callable(v) and not hasattr(v, "__get__")}


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else slots
    return tuple(n for n in names if n not in ("__dict__", "__weakref__"))


def _of_torch(kind: type) -> bool:
    """Whether a class is torch's or Python's own, which no forward of a user writes to."""
    return kind.__module__.split(".")[0] in _OWN
