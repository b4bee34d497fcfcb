"""What a model's Python code sees while it is traced: proxies.

They record every write, and have the type of the value that they stand for.

A proxy is no tensor, so that ``isinstance(y, torch.Tensor)`` would be False and take the branch that the
model does not take. While a model is traced, ``isinstance``, ``type``, ``torch.is_tensor`` and
``y.__class__`` in its code tell the type of the value; where that is not known they raise, and the model goes
through torch.export.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import inspect
import operator
import sys
from builtins import __import__ as builtins_import
from builtins import isinstance as builtins_isinstance
from builtins import type as builtins_type
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.fx as fx

from ..graph import aliasing
from ..graph.aliasing import AUGMENTED, operator_name
from ..graph.ir import notes

if TYPE_CHECKING:
    from .symbolic import Tracer

_OWN = ("tracer", "node", "root", "attr", "_node")  # what torch.fx keeps on a proxy
_ASKING = ("LOAD_ATTR", "MATCH_CLASS")  # y.__class__, and ``case torch.Tensor():``
_KINDS = {
    "shape": torch.Size,
    "dtype": torch.dtype,
    "device": torch.device,
    "layout": torch.layout,
    "ndim": int,
    "dim": int,
    "ndimension": int,
    "numel": int,
    "nelement": int,
    "element_size": int,
    "get_device": int,
    "storage_offset": int,
    "requires_grad": bool,
    "is_cuda": bool,
    "is_floating_point": bool,
    "is_complex": bool,
    "is_contiguous": bool,
}


class InPlaceProxy(fx.Proxy):
    """A proxy that records augmented and item assignment as writes, and has the attributes of its value."""

    tracer: Tracer

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})

    def __int__(self) -> int:
        found = self.tracer.value(self)
        return self.tracer.refuse("int()", self) if found is None else int(found)

    def __index__(self) -> int:
        found = self.tracer.value(self)
        return self.tracer.refuse_index(self) if found is None else operator.index(found)

    def __iter__(self) -> Iterator:
        """The items; ``b, c, h, w = x.shape`` tells how many they are."""
        frame = sys._getframe(1)
        code, at = frame.f_code.co_code, frame.f_lasti
        if dis.opname[code[at]] != "UNPACK_SEQUENCE":
            return self.tracer.iter(self)
        count = code[at + 1]
        notes(self.node)["unpacked"] = count
        return (operator.getitem(cast("Any", self), i) for i in range(count))

    def __len__(self) -> int:
        found = self.tracer.length(self)
        return self.tracer.refuse("len()", self) if found is None else found

    def __float__(self) -> float:
        return self.tracer.refuse("float()", self)

    def __getattr__(self, name: str) -> Any:
        kind = None if name in _OWN else kind_of(self)
        if name in _OWN or (kind is not None and not hasattr(kind, name)):
            raise AttributeError(
                f"'{'Proxy' if kind is None else kind.__name__}' object has no attribute '{name}'"
            )
        rank = self.tracer.rank(self) if name == "ndim" else None
        return InPlaceAttribute(self, name) if rank is None else rank

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN:
            return object.__setattr__(self, name, value)
        if name == "data" and isinstance(value, fx.Proxy) and _written_data(value.node, self.node):
            return None  # x.data += y, which was recorded
        self.tracer.refuse(f"setting .{name}")

    def __deepcopy__(self, memo: dict) -> Any:
        return self.clone()

    @property  # type: ignore[misc]  # object's can be set
    def __class__(self) -> type:
        frame = sys._getframe(1)
        asked = dis.opname[frame.f_code.co_code[frame.f_lasti]] in _ASKING and _is_model_code(frame)
        return _kind(self) if asked else builtins_type(self)


class InPlaceAttribute(InPlaceProxy, fx.proxy.Attribute):
    """The same for x.T or x.data; a node of its own where it is not called as a method."""

    def __init__(self, root: fx.Proxy, attr: str):
        fx.proxy.Attribute.__init__(self, root, attr)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method of the value; a number of dimensions that is known is a number."""
        rank = self.tracer.rank(self.root) if self.attr in ("dim", "ndimension") else None
        if rank is not None:
            return rank
        return fx.proxy.Attribute.__call__(self, *args, **kwargs)

    node = fx.proxy.Attribute.node


def _augmented(name: str):
    function = getattr(operator, name)

    def method(self, other):
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


for _function in AUGMENTED:
    setattr(InPlaceProxy, f"__{_function.__name__}__", _augmented(_function.__name__))


def _written_data(node: fx.Node, tensor: fx.Node) -> bool:
    first = node.args[0] if aliasing.writes(node) and node.args else None
    return isinstance(first, fx.Node) and first.target is getattr and first.args == (tensor, "data")


def kind_of(proxy: InPlaceProxy) -> type | None:
    """The type of the value that a proxy stands for; None where it is not known."""
    return _of_node(proxy.node, proxy.tracer.root)


def _of_node(node: fx.Node, root: torch.nn.Module) -> type | None:
    name = operator_name(node)
    if node.op == "placeholder":
        return torch.Tensor  # inputs in a structure do not come here
    if node.op == "get_attr":
        return _of_attribute(root, str(node.target))
    if node.op == "call_module":
        return _of_module(root.get_submodule(str(node.target)))
    if name in _KINDS and (node.op == "call_method" or node.target is getattr):
        return _KINDS[name]
    if name in ("size", "stride") and node.op == "call_method":
        return int if len(node.args) + len(node.kwargs) > 1 else torch.Size
    if name == "getitem":
        return _of_item(node, root)
    return _of_call(node, root)


def _of_attribute(root: torch.nn.Module, path: str) -> type:
    """Of a parameter, a buffer or a constant; read past ``getattr``, which gives proxies while tracing."""
    *modules, name = path.split(".")
    for part in modules:
        root = cast("torch.nn.Module", root._modules[part])
    for table in (root._parameters, root._buffers, vars(root)):
        if name in table:
            return builtins_type(table[name])
    return torch.Tensor


def _of_module(module: torch.nn.Module) -> type | None:
    declared = inspect.signature(builtins_type(module).forward).return_annotation in (torch.Tensor, "Tensor")
    return torch.Tensor if declared else None


def _of_item(node: fx.Node, root: torch.nn.Module) -> type | None:
    base, key = node.args
    kind = _of_node(base, root) if builtins_isinstance(base, fx.Node) else None
    if kind is torch.Size:
        return torch.Size if builtins_isinstance(key, slice) else int
    if kind is not None and issubclass(kind, tuple):
        return tuple if builtins_isinstance(key, slice) else torch.Tensor
    return torch.Tensor if kind is torch.Tensor and not builtins_isinstance(key, str) else None


def _of_call(node: fx.Node, root: torch.nn.Module) -> type | None:
    """By the schema, or the annotation, of what is called; arithmetic on numbers alone is tried on ones."""
    kinds = {n: _of_node(n, root) for n in node.all_input_nodes}
    numbers = {n: k(1) for n, k in kinds.items() if k in (int, float, bool)}
    if (
        numbers
        and len(numbers) == len(kinds)
        and callable(node.target)
        and getattr(node.target, "__module__", "") in ("_operator", "builtins", "math")
    ):
        ones = fx.node.map_arg(node.args, lambda n: numbers[n])
        return builtins_type(node.target(*ones))
    if node.op == "call_function" and builtins_isinstance(node.target, builtins_type):
        return node.target
    if "return_indices" in node.kwargs:  # a pooling of torch.nn.functional, whose operator gives both
        return tuple if node.kwargs["return_indices"] else torch.Tensor
    returns = {tuple(str(r.type) for r in o._schema.returns) for o in aliasing.overloads(node)}
    if returns == {("Tensor",)}:
        return torch.Tensor
    if returns and all(len(r) > 1 or r == ("List[Tensor]",) for r in returns):
        return named_tuple(node)
    if node.op == "call_function" and callable(node.target) and aliasing.parameters(node.target):
        return (
            torch.Tensor
            if inspect.signature(node.target).return_annotation in (torch.Tensor, "Tensor")
            else None
        )
    return torch.Tensor if node.op == "call_method" and name_of_cast(node) else None


def named_tuple(node: fx.Node) -> type:
    """The type of the results of a call with several: a named tuple (values, indices), or a tuple."""
    names = {o._schema.name.rpartition("::")[2] for o in aliasing.overloads(node)}
    return getattr(torch.return_types, names.pop(), tuple) if len(names) == 1 else tuple


def name_of_cast(node: fx.Node) -> bool:
    """x.float(), x.cpu(): methods of a tensor without an operator of their own, which give a tensor."""
    return node.target in (
        "float",
        "double",
        "half",
        "bfloat16",
        "long",
        "int",
        "bool",
        "cpu",
        "cuda",
        "type",
        "__iadd__",
        "__isub__",
        "__imul__",
        "__itruediv__",
    )


def _kind(proxy: InPlaceProxy) -> type:
    """The type of a proxy's value; raises where it is not known."""
    found = kind_of(proxy)
    if found is None:
        proxy.tracer.refuse(f"the type ({proxy.node.name})")
    return found


def _is_model_code(frame: Any) -> bool:
    """Whether a frame runs code of the model, or of a module of torch.nn.

    The machinery of Python, torch and fxscope is not the model's code.
    """
    name = frame.f_globals.get("__name__", "")
    if frame.f_code is torch.is_tensor.__code__ or name.startswith(
        ("torch.nn.modules", "fxscope.models", "fxscope.images", "fxscope.testing")
    ):
        return True
    return name.partition(".")[0] not in _MACHINERY


_MACHINERY = sys.stdlib_module_names - {"__main__"} | {"torch", "fxscope"}


def _isinstance(value: Any, kinds: Any) -> bool:
    if builtins_isinstance(value, InPlaceProxy) and _is_model_code(sys._getframe(1)):
        return _is_one_of(value, kinds)
    return builtins_isinstance(value, kinds)


def _is_one_of(proxy: InPlaceProxy, kinds: Any) -> bool:
    if builtins_isinstance(kinds, tuple):
        return any(_is_one_of(proxy, k) for k in kinds)
    if builtins_isinstance(kinds, builtins_type) and issubclass(kinds, fx.Proxy):
        return builtins_isinstance(proxy, kinds)  # code that knows of tracing
    if builtins_type(kinds) is builtins_type(torch.FloatTensor):  # which a tensor's dtype and device decide
        proxy.tracer.refuse(f"isinstance with {kinds.__name__}")
    return issubclass(_kind(proxy), kinds)


class _Kinds(builtins_type):
    """What makes ``type`` below be ``type`` to everybody who asks for it."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if (
            len(args) == 1
            and not kwargs
            and cls is _Type
            and builtins_isinstance(args[0], InPlaceProxy)
            and _is_model_code(sys._getframe(1))
        ):
            return _kind(args[0])
        return (
            builtins_type(*args, **kwargs) if cls is _Type else builtins_type.__call__(cls, *args, **kwargs)
        )

    def __instancecheck__(cls, value: Any) -> bool:
        return (
            builtins_isinstance(value, builtins_type)
            if cls is _Type
            else builtins_type.__instancecheck__(cls, value)
        )

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, builtins_type) if cls is _Type else builtins_type.__subclasscheck__(cls, kind)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or (cls is _Type and other is builtins_type)

    def __getitem__(cls, item: Any) -> Any:
        return builtins_type[item]

    def __hash__(cls) -> int:
        return hash(builtins_type) if cls is _Type else builtins_type.__hash__(cls)


class _Type(builtins_type, metaclass=_Kinds):
    """``type`` while a model is traced."""


@contextlib.contextmanager
def types_of_values() -> Iterator[None]:
    """Inside the block a model's code is told the types of what it computes, not those of proxies."""
    names = vars(builtins)
    names.update(isinstance=_isinstance, type=_Type, __import__=_import)
    try:
        yield
    finally:
        names.update(isinstance=builtins_isinstance, type=builtins_type, __import__=builtins_import)


@contextlib.contextmanager
def own_types() -> Iterator[None]:
    """Inside the block ``type`` and ``isinstance`` are Python's own again."""
    names = vars(builtins)
    ours = {"isinstance": names["isinstance"], "type": names["type"]}
    names.update(isinstance=builtins_isinstance, type=builtins_type)
    try:
        yield
    finally:
        names.update(ours)


def _import(*args: Any, **kwargs: Any) -> Any:
    """Import with Python's own ``type`` and ``isinstance`` in place.

    A module that is imported for the first time while a model is traced defines its classes with them.
    """
    with own_types():
        return builtins_import(*args, **kwargs)
