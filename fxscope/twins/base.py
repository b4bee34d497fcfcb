"""A twin is a linear operator that may stand in the interpreter branch.

Every twin is a frozen dataclass over nodes of the original graph (its frozen states) and plain values. Its ``apply`` is
ordinary PyTorch code, traced into the emitted graph, over probes of shape (K, *the original node's shape*):

    y1 = apply(k, x1)        affine: with the additive constants named in ``additive``; linear: without them
    x2 = adjoint(k, y2, x)   the transpose of the linear part: <apply(k, u), v> = <u, adjoint(k, v)>
    c  = constant(k, x)      the additive constant of one call, in a shape that broadcasts to y's

``x`` stands for the inputs' sizes: an adjoint never sees their values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.fx as fx


def state(label: str, **kwargs) -> Any:
    """A field that holds a frozen state: the edge that carries it is drawn with ``label`` (mask, index, stats, gate, constant, size)."""
    return dataclasses.field(metadata={"label": label}, **kwargs)


class Probes:
    """What a twin may ask of the emitted graph about its probes.

    ``K``        the number of probes, a size of the emitted graph
    ``linear``   True when the additive constants are to be left out (the filter graph)
    """

    def __init__(self, K, linear: bool):
        self.K = K
        self.linear = linear

    def merge(self, x):
        """(K, B, ...) -> (K*B, ...): a view."""
        return x.flatten(0, 1)

    def split(self, y):
        """(K*B, ...) -> (K, B, ...): a view."""
        return y.unflatten(0, (self.K, -1))

    def spread(self, c, rank: int | None):
        """A constant of the original shape, seen by every probe: (K, *shape), a view where the rank is known."""
        if rank is None:
            return torch.repeat_interleave(c.unsqueeze(0), self.K, 0)
        return c.expand([self.K] + [-1] * rank)

    def lift(self, x, count: int):
        """Insert ``count`` dimensions of size one behind K, so that x of a lower rank broadcasts as the original did."""
        for _ in range(count):
            x = x.unsqueeze(1)
        return x


class Like:
    """The sizes of one input of a twin, without K: read where the original value was computed, so that it need not live on.

    ``read(what, d)`` gives a node for "size" of dimension d, "dtype" or "device"; ``rank`` is None where the graph does not tell it.
    """

    def __init__(self, read: Callable, rank: int | None, need: Callable):
        self._read, self.rank, self._need = read, rank, need

    def size(self, d: int):
        return self._read("size", d)

    def sizes(self) -> list:
        return [self.size(d) for d in range(self.rank if self.rank is not None else self._need())]

    @property
    def dtype(self):
        return self._read("dtype", None)

    @property
    def device(self):
        return self._read("device", None)


class Back(Probes):
    """What an adjoint may ask of the emitted graph; ``parameter(proxy)`` is the tensor of a parameter, None for computed values."""

    def __init__(self, K, parameter: Callable):
        super().__init__(K, linear=True)
        self.parameter = parameter

    def blank(self, x: Like):
        """Zeros of the original input's shape, without K."""
        return torch.zeros(x.sizes(), dtype=x.dtype, device=x.device)

    def zeros(self, y, x: Like):
        """Zeros of the input's shape, for every probe."""
        return y.new_zeros([self.K, *x.sizes()])

    def reshape(self, y, x: Like):
        """Y in the input's shape."""
        return y.reshape([self.K, *x.sizes()])

    def fold(self, y, x: Like, lift: int = 0):
        """The transpose of broadcasting: sums over the dimensions in which the input was spread, ``lift`` of them in front."""
        if lift:
            y = y.sum(list(range(1, 1 + lift)))
        return y.sum_to_size([self.K, *x.sizes()])

    def extent(self, weight, d: int):
        """A size of a weight: a number where the weight is a parameter."""
        tensor = self.parameter(weight)
        return weight.size(d) if tensor is None else tensor.shape[d]


@dataclasses.dataclass(frozen=True)
class Twin:
    """Base of all twins; subclasses hold their frozen states as fields and define ``apply`` and ``adjoint``."""

    additive: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[str] = ""
    # what the additive constant is: intercept, bias, shift, constant, padding
    adds: ClassVar[str] = "intercept"
    per_channel: ClassVar[bool] = False  # whether the additive constant has one value a channel

    def apply(self, k: Probes, *x):
        raise NotImplementedError

    def adjoint(self, k: Back, y, *x: Like):
        raise NotImplementedError(f"{type(self).__name__} has no adjoint")

    def constant(self, k: Back, *x: Like):
        """The additive constant, or None."""
        return None

    @property
    def keeps_shape(self) -> bool:
        """Whether y has the shape of the first input, by what the twin is."""
        return False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "kind" not in cls.__dict__:
            cls.kind = _snake(cls.__name__)

    def states(self) -> dict[fx.Node, str]:
        """{node of the original graph: label of the edge that carries it}."""
        found: dict[fx.Node, str] = {}
        for field in dataclasses.fields(self):
            label = field.metadata.get("label", "size")
            _visit(getattr(self, field.name), lambda node, label=label: found.setdefault(node, label))
        return found

    def mapped(self, function: Callable[[fx.Node], Any]) -> Twin:
        """The same twin with every node replaced by ``function(node)``."""
        changes = {f.name: fx.node.map_arg(getattr(self, f.name), function) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **changes)

    def homogeneous(self) -> Twin:
        """The same twin without its additive constants."""
        return dataclasses.replace(self, **dict.fromkeys(self.additive))


def nodes_of(value: Any) -> list[fx.Node]:
    """Every node inside a nest of tuples, lists, dicts and slices, in order."""
    found: list[fx.Node] = []
    _visit(value, found.append)
    return found


def _visit(value: Any, function: Callable[[fx.Node], Any]) -> None:
    fx.node.map_arg(value, function)


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))
