"""What passes between the operators of a file while it becomes a graph.

A value of ONNX is a constant (``torch.Tensor``), a tensor that depends on the input (``Traced``), or sizes:
a numpy array of numbers and of traced numbers, which ONNX keeps in tensors and torch in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ...errors import UnknownNetwork


class Traced(fx.Proxy):
    """A node of the graph, which answers what an example tells of it for every input of the network."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__array"):  # numpy asks whether this is an array
            raise AttributeError(name)
        return super().__getattr__(name)

    @property
    def example(self) -> Any:
        """Its value at the example."""
        return self.tracer.examples[self.node]  # type: ignore[attr-defined]

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensor."""
        return self.example.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.example.dim()

    def dim(self) -> int:
        """Number of dimensions."""
        return self.ndim

    def is_floating_point(self) -> bool:
        """Whether its numbers are floating."""
        return self.example.is_floating_point()

    @property
    def shape(self) -> tuple[Any, ...]:
        """The sizes, each a traced number."""
        return tuple(self.size(i) for i in range(self.ndim))


class Tracer(fx.Tracer):
    """Writes nodes into a graph, and runs each of them at the example.

    Modules of torch stay modules, and those of onnx2torch are written out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = nn.Module()
        self.graph = fx.Graph(tracer_cls=fx.Tracer)
        self.tensor_attrs: dict[Any, str] = {}
        self.examples: dict[fx.Node, Any] = {}

    def proxy(self, node: fx.Node) -> Traced:
        """What stands for a node."""
        return Traced(node, self)

    def input(self, name: str, example: torch.Tensor) -> Traced:
        """An input of the network."""
        node = self.graph.placeholder(name)
        self.examples[node] = example
        return self.proxy(node)

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **rest: Any) -> fx.Node:
        """A node, run at once."""
        node = super().create_node(kind, target, args, kwargs, *more, **rest)
        if kind == "get_attr":
            self.examples[node] = getattr(self.root, target)
        elif kind in ("call_function", "call_method", "call_module"):
            given = fx.node.map_arg((node.args, node.kwargs), lambda n: self.examples[n])
            self.examples[node] = _run(self.root, kind, target, *given)
        return node

    def call(self, function: Callable, *args: Any, **kwargs: Any) -> Traced:
        """A function of these operands, of which none need be traced."""
        return self.create_proxy("call_function", function, args, kwargs)  # type: ignore[return-value]

    def module(self, name: str, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """What a module gives: it stays one if it is torch's own and has one operand."""
        parts = [m for m in module.modules() if not isinstance(m, nn.Sequential)]
        if all(type(m).__module__.startswith("torch.nn") for m in parts) and len(args) == 1 and not kwargs:
            self.root.add_module(name, module.eval())
            return self.create_proxy("call_module", name, args, {})
        return module.eval().forward(*args, **kwargs)


def _run(root: nn.Module, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
    with torch.no_grad():
        if kind == "call_module":
            return root.get_submodule(target)(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)


def sizes(items: Any) -> np.ndarray:
    """An array of numbers and traced numbers, from a list of them or from one."""
    if not isinstance(items, list):
        return sizes([items]).reshape(())
    found = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        found[i] = item
    return found


def known(value: Any) -> Any:
    """A constant if sizes are all numbers, else what was given."""
    if not isinstance(value, np.ndarray) or any(isinstance(v, fx.Proxy) for v in value.flat):
        return value
    is_float = any(isinstance(v, float) for v in value.flat)
    dtype = torch.float32 if is_float else torch.int64
    if value.size and all(isinstance(v, (bool, np.bool_)) for v in value.flat):
        dtype = torch.bool
    return torch.tensor(value.tolist(), dtype=dtype)


def as_sizes(value: Any) -> np.ndarray:
    """Sizes from sizes, or from a constant of integers; whole floating numbers are integers."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor):
        raise UnknownNetwork("a size is computed from the values of the image, and sizes must not be")
    found = np.empty(tuple(value.shape), dtype=object)
    for index, number in np.ndenumerate(value.numpy()):
        is_whole = value.is_floating_point() and float(number).is_integer()
        found[index] = int(number) if is_whole else number.item()
    return found


def listed(value: Any) -> list[Any]:
    """The numbers of a constant or of sizes."""
    return value.tolist() if isinstance(value, torch.Tensor) else [*as_sizes(value).flat]


def fixed(value: Any, what: str) -> list[Any]:
    """The numbers of a constant; ``UnknownNetwork`` if they depend on the image."""
    if not isinstance(value, torch.Tensor):
        raise UnknownNetwork(f"{what} depends on the image, and must be a constant")
    return value.tolist()


def number_of(value: Any, like: Traced | None = None) -> Any:
    """The number of a constant or sizes of one element that broadcasts over ``like``, else what was given."""
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.item()
    is_one = isinstance(value, torch.Tensor) and value.numel() == 1
    if is_one and like is not None and value.dim() <= like.ndim:
        return value.item()
    return value
