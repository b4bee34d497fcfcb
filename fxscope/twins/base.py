"""A twin is a linear operator that may stand in the interpreter branch.

Every twin is a frozen dataclass over nodes of the original graph (its frozen states) and plain values. Its
``apply`` is ordinary PyTorch code, traced into the emitted graph, over probes of shape (K, *the original
node's shape*):

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

from .places import Shape, Support, aligned


def state(label: str, reverse: bool = False, **kwargs) -> Any:
    """A field that holds a frozen state.

    The edge that carries it is drawn with ``label``: mask, index, stats, gate, constant or size. With
    ``reverse`` the adjoint alone reads it, and forwards have None there.
    """
    return dataclasses.field(metadata={"label": label, "reverse": reverse}, **kwargs)


class ForwardContext:
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
        """A constant of the original shape for every probe: (K, *shape).

        It is a view where the rank is known.
        """
        if rank is None:
            return torch.repeat_interleave(c.unsqueeze(0), self.K, 0)
        return c.expand([self.K] + [-1] * rank)

    def lift(self, x, count: int):
        """Insert ``count`` dimensions of size one behind K.

        An x of a lower rank then broadcasts as the original did.
        """
        for _ in range(count):
            x = x.unsqueeze(1)
        return x

    def aligned(self, function: Callable, given: tuple, lifts: tuple, *states):
        """``function`` of probes and frozen states that broadcast together.

        Where a lift is None, which the graph alone does not tell, K goes behind all other dimensions:
        broadcasting counts from the end.
        """
        if None not in lifts:
            return function(*(self.lift(x, count) for x, count in zip(given, lifts)), *states)
        behind = (x.movedim(0, -1) for x in given)
        once = (s if s is None or isinstance(s, (int, float)) else s.unsqueeze(-1) for s in states)
        return function(*behind, *once).movedim(-1, 0)


class ShapeRef:
    """The sizes of one input of a twin, without K.

    They are read where the original value was computed, so that the value itself can be freed.

    ``read(what, d)`` gives a node for "size" of dimension d, "dtype" or "device"; ``rank`` is None where the
    graph does not tell it.
    """

    def __init__(self, read: Callable, rank: int | None, need: Callable):
        self._read, self.rank, self._need = read, rank, need

    def size(self, d: int):
        return self._read("size", d)

    def sizes(self) -> list:
        return [self.size(d) for d in range(self.ndim)]

    @property
    def ndim(self) -> int:
        """The number of dimensions; raises ``UnknownRank`` where the graph does not tell it."""
        return self.rank if self.rank is not None else self._need()

    @property
    def dtype(self):
        return self._read("dtype", None)

    @property
    def device(self):
        return self._read("device", None)


class AdjointContext(ForwardContext):
    """What an adjoint may ask of the emitted graph.

    ``parameter(proxy)`` is the tensor of a parameter, and None for a computed value.
    """

    def __init__(self, K, parameter: Callable):
        super().__init__(K, linear=True)
        self.parameter = parameter

    def blank(self, x: ShapeRef):
        """Zeros of the original input's shape, without K."""
        return torch.zeros(x.sizes(), dtype=x.dtype, device=x.device)

    def zeros(self, y, x: ShapeRef):
        """Zeros of the input's shape, for every probe."""
        return y.new_zeros([self.K, *x.sizes()])

    def reshape(self, y, x: ShapeRef):
        """Y in the input's shape."""
        return y.reshape([self.K, *x.sizes()])

    def fold(self, y, x: ShapeRef, lift: int | None = 0):
        """The transpose of broadcasting: sums over the dimensions in which the input was spread.

        ``lift`` of them are in front; None where the graph alone does not tell how many.
        """
        if lift is None:
            return y.movedim(0, -1).sum_to_size([*x.sizes(), self.K]).movedim(-1, 0)
        if lift:
            y = y.sum(list(range(1, 1 + lift)))
        return y.sum_to_size([self.K, *x.sizes()])

    def extent(self, weight, d: int):
        """A size of a weight: a number where the weight is a parameter."""
        tensor = self.parameter(weight)
        return weight.size(d) if tensor is None else tensor.shape[d]


@dataclasses.dataclass(frozen=True)
class Twin:
    """Base of all twins: a frozen dataclass whose fields are the frozen states (``state``) and plain values.

    A twin of your own defines ``apply`` and ``adjoint``, and ``constant`` if it has an additive constant.
    What it does not say about itself is taken to be the worst: every place of y reads all of x1, and the
    batch may be anywhere. So it is right in every result, and faster where it says more.

    Attributes
    ----------
    additive
        The fields that hold additive constants; they are None in the homogeneous twin.
    kind
        The name of the twin in pictures and tables; by default that of the class, in snake case.
    adds
        What the additive constant is: intercept, bias, shift, constant or padding.
    per_channel
        Whether the additive constant has one value per channel.
    elementwise
        Whether each place of y reads its own place of each input, up to broadcasting.
    keeps_batch
        Whether the batch keeps its dimension.
    """

    additive: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[str] = ""
    adds: ClassVar[str] = "intercept"
    per_channel: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    keeps_batch: ClassVar[bool] = False

    # ``**_`` lets a subclass name its inputs: mypy takes (*x: Any, **_: Any) as any parameters
    def apply(self, k: ForwardContext, *x: Any, **_: Any) -> Any:
        """The values y1 from those of the inputs."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def adjoint(self, k: AdjointContext, y: Any, *x: Any, **_: Any) -> Any:
        """The transpose of the linear part: x2, or a tuple of one value per input.

        It gets the sizes of the inputs (``ShapeRef``), never their values.
        """
        raise NotImplementedError(f"{type(self).__name__} has no adjoint")

    def constant(self, k: AdjointContext, *x: Any, **_: Any) -> Any:
        """The additive constant, or None."""
        return None

    @property
    def keeps_shape(self) -> bool:
        """Whether y has the shape of the first input, by what the twin is."""
        return False

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        """The dimension of the batch in y, K not counted; None where it is not known.

        ``at`` is its dimension in the first input.

        ``before`` and ``rank`` are the ranks of the first input and of y. By default it is known for a twin
        that keeps the shape, is elementwise, or says ``keeps_batch``: where the batch leads, or the ranks
        agree.
        """
        kept = self.keeps_batch or self.elementwise or self.keeps_shape
        return at if kept and (at == 0 or (before is not None and before == rank)) else None

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        """Which places of input ``which`` each place of y reads; {} where it may read all of them.

        See ``fxscope.twins.places``.

        ``inputs`` and ``shape`` are the shapes of the inputs and of y, without K.
        """
        return aligned(inputs[which], shape) if self.elementwise else {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "kind" not in cls.__dict__:
            cls.kind = _snake(cls.__name__)

    def states(self) -> dict[fx.Node, str]:
        """{node of the original graph: label of the edge that carries it}."""
        found: dict[fx.Node, str] = {}
        for field in dataclasses.fields(self):
            label = field.metadata.get("label", "size")
            for node in nodes_of(getattr(self, field.name)):
                found.setdefault(node, label)
        return found

    def mapped(self, function: Callable[[fx.Node], Any]) -> Twin:
        """The same twin with every node replaced by ``function(node)``."""
        changes = {f.name: fx.node.map_arg(getattr(self, f.name), function) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **changes)

    def homogeneous(self) -> Twin:
        """The same twin without its additive constants."""
        return dataclasses.replace(self, **dict.fromkeys(self.additive))

    def forward(self) -> Twin:
        """The same twin without the states that the adjoint alone reads."""
        unread = [f.name for f in dataclasses.fields(self) if f.metadata.get("reverse")]
        return dataclasses.replace(self, **dict.fromkeys(unread)) if unread else self


def nodes_of(value: Any) -> list[fx.Node]:
    """Every node inside a nest of tuples, lists, dicts and slices, in order."""
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return found


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))
