"""``Prepared``: what an interpreter needs that does not depend on the values of x0."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..emit import emit, emit_shares
from ..emit.forward import drawn, emit_replay
from ..emit.recorded import emit_folded, emit_record, windows_of, winners_of
from ..emit.sources import Slots, State
from ..emit.transposed import emit_pullback
from ..errors import FxscopeError
from ..frontend.autocast import no_autocast
from ..frontend.example import Example
from ..frontend.unchanged import Draw, unchanged
from ..graph.check import check_stage
from ..graph.ir import info, notes
from ..passes.optimize import masks_behind_pools, optimized
from ..passes.rewrite import Program, Record
from ..passes.sizes import shapes_at
from .bound import Bound, bind
from .compiled import Compiled, batch_dims
from .fresh import Weights
from .local.reach import Reach, own_images, reaches
from .narrow import Cut, cut_of

# bytes of activations of probes that run together; a CPU gains nothing from more
CPU_BUDGET, BUDGET = 1 << 28, 1 << 30
_OF_TORCH = ("torch", "_operator", "builtins", "math", "fxscope")


class Prepared:
    """The graphs of one program, emitted once for any number of images.

    Attributes
    ----------
    model, program, memory, policy
        The model and its rewritten program, the memory mode, and the policy of all interpreters.
    record, replay, pullback : callable
        x0 -> (y0, the states of x0); (states, x1) -> F x1; (states, y2) -> F^T y2, in the stacked form:
        graphs, or what torch.compile makes of them.
    states : tuple
        (name, node, whole) of every state, those of the weights alone included.
    windows : dict
        {position of a max-pool's index: (its windows, the pooled sizes)}, at the sizes of the example.
    winners : dict
        {position of a max-pool's winners: (position of its index, the number of pooled dimensions)}.
    draws : bool
        Whether the model draws random numbers.
    owner : object
        The reader that made it, if one did.
    call : Example
        The arguments of the example, with empty tensors.
    """

    owner: Any = None
    call: Example | None = None

    record: Callable
    replay: Callable
    pullback: Callable

    def __init__(
        self,
        model: nn.Module,
        program: Program,
        memory: str,
        chunk: int | None,
        policy: str = "freeze",
        backend: str | None = None,
    ):
        self.model, self.program, self.memory, self.policy = model, program, memory, policy
        self._given_chunk = chunk
        self._base = masks_behind_pools(program)
        self._linear = linear = optimized(self._base)
        self._slots = Slots()
        replay = self._in_mode(emit_replay(linear, "stacked", self._slots))
        pullback = self._in_mode(emit_pullback(linear, "stacked", self._slots))
        self.states: tuple[State, ...] = tuple(self._slots.order)
        folded = [s for s in self.states if _is_folded(s)]
        of_x0 = [s for s in self.states if not _is_folded(s)]
        record = self._in_mode(emit_record(linear, "stacked", of_x0))
        self._folding = emit_folded(linear, folded) if folded else None
        self.windows = windows_of(linear, self.states)
        self.winners = winners_of(linear, self.states)
        self.draws = bool(drawn(program))
        self._pure = all(is_pure(n) for n in record.graph.nodes)
        self._graphs = [record, replay, pullback]
        self._weights = Weights(model, self._graphs)
        self._folded: tuple[torch.Tensor, ...] | None = None
        self._shares: dict[bool, tuple[Bound, fx.GraphModule | None]] = {}
        self._apart: dict[int, bool] = {}
        self._made: dict[Any, Any] = {}
        for graph in self._graphs:
            check_stage(graph, "emitted")
            bind(graph)
        self.compiled = backend is not None
        self.record, self.replay, self.pullback = self._graphs if backend is None else self._through(backend)

    def _through(self, backend: str) -> tuple[Callable, Callable, Callable]:
        """The graphs through ``torch.compile``.

        A model that draws is recorded by its own graph: compiled, the same state of the generator may give
        other numbers, and all graphs of an interpreter use the same.
        """
        record, replay, pullback = self._graphs
        places = [notes(n).get("val") for n in self.program.gm.graph.nodes if n.op == "placeholder"]
        inputs, of_x0 = batch_dims(record, places)
        given = iter(of_x0)
        states = [() if _is_folded(s) else next(given) for s in self.states]
        return (
            record if self.draws else Compiled(record, backend, inputs),
            Compiled(replay, backend, states, probes=True),
            Compiled(pullback, backend, states, probes=True),
        )

    def _in_mode(self, graph: fx.GraphModule) -> fx.GraphModule:
        return graph.train(self.model.training)

    def weights(self) -> tuple[Weights, tuple[torch.Tensor, ...]]:
        """The weights as they are now, and the states that are folded from them.

        Both are kept until a weight changes.
        """
        if self._weights.change() is not None:
            self._weights, self._folded = Weights(self.model, self._graphs), None
        if self._folded is None:
            with running(self, None):
                self._folded = () if self._folding is None else self._folding()
        return self._weights, self._folded

    def outdated(self) -> bool:
        """Whether the model holds another tensor in the place of one that the graphs read."""
        return self._weights.replaced() is not None

    def takes_sizes(self, made_for: tuple, asked: tuple) -> bool:
        """Whether other sizes of the inputs than those of the example are possible.

        Offsets in the windows of a max-pool are packed for one size, and a compiled graph has one size of the
        images.
        """
        if self.compiled and [s[1:] for s in made_for] != [s[1:] for s in asked]:
            return False
        return not (self.memory == "packed" and self.windows)

    def merged(
        self, of_x0: tuple[torch.Tensor, ...], folded: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        """The states in the order of ``states``."""
        given, of_weights = iter(of_x0), iter(folded)
        return tuple(next(of_weights if _is_folded(s) else given) for s in self.states)

    def checked(self, of_x0: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The states that depend on the values of x0."""
        names = [s for s in self.states if not _is_folded(s)]
        return tuple(t for t, (_, node, _) in zip(of_x0, names) if info(node).role not in ("const", "sized"))

    def own(self) -> tuple[bool, ...]:
        """For every state, whether its memory is of x0, and not of the weights alone."""
        return tuple(not _is_folded(s) for s in self.states)

    @functools.cached_property
    def residual(self) -> fx.GraphModule:
        """The graph x0 -> r."""
        return self._in_mode(emit(self.program, "residual"))

    def shares(self, elementwise: bool = False) -> tuple[fx.GraphModule, fx.GraphModule | None]:
        """(states, y2) -> (F^T y2, shares), and x0 -> (y0, its states that are not recorded anyway).

        The second is None if the recorded states are enough.
        """
        if elementwise not in self._shares:
            slots = self._slots.copy()
            graph = self._in_mode(emit_shares(self._base, slots, elementwise))
            more = slots.order[len(self.states) :]
            record = self._in_mode(emit_record(self._base, "stacked", more)) if more else None
            self._shares[elementwise] = Bound(graph, is_pure), record
        bound, record = self._shares[elementwise]
        return bound.of(self._weights), record

    def records(self) -> list[Record]:
        """The twins of the linear branch, whose states are recorded."""
        return self._linear.tape

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What an analysis makes of the program alone, made at its first image and kept for all others."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def apart(self, batch: int) -> bool:
        """Whether the graph alone shows that, in a batch of this size, each output reads its own image.

        A batch of another size than the example's has the sizes of a run on fake tensors.
        """
        if batch not in self._apart:
            self._apart[batch] = self._shows_apart(batch)
        return self._apart[batch]

    def _shows_apart(self, batch: int) -> bool:
        inputs = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
        x = notes(inputs[0]).get("val")
        if len(self.program.probes) != 1 or not isinstance(x, torch.Tensor) or not x.dim():
            return False
        found = self._reach
        if batch != x.shape[0]:
            if len(inputs) != 1:
                return False
            try:
                values = shapes_at(self.program.gm, (batch, *x.shape[1:]), x.dtype)
            except (FxscopeError, RuntimeError, ValueError, TypeError):
                return False  # nothing is shown
            found = reaches(self._linear, lambda n: _shape_in(values, n))
        return all(own_images(found.get(v, {}), batch) for v in self._linear.affine.values())

    @functools.cached_property
    def _reach(self) -> dict[Any, dict[int, Reach]]:
        return reaches(self._linear) if len(self.program.probes) == 1 else {}

    @functools.cached_property
    def cut(self) -> Cut | None:
        """The narrowest place of the network at the sizes of the example, if there is one."""
        return cut_of(self._linear, self._slots, lambda: self._reach)

    def chunk(self, x0: torch.Tensor) -> int:
        """Probes that run together: those asked for, or as many as fit the budget at the size of x0.

        A pass holds about four tensors of the largest size at once.
        """
        if self._given_chunk:
            return self._given_chunk
        largest, of_x0 = self._largest
        each = largest * max(1.0, x0.numel() / of_x0)
        return max(1, min(256, int((CPU_BUDGET if x0.device.type == "cpu" else BUDGET) // (4 * each))))

    @functools.cached_property
    def _largest(self) -> tuple[int, int]:
        """Bytes of the largest value on the example, and the numbers of its first input."""
        known = [
            (n, notes(n)["val"])
            for n in self.program.gm.graph.nodes
            if isinstance(notes(n).get("val"), torch.Tensor) and n.op != "get_attr"
        ]
        if not known:
            raise FxscopeError("the graph holds no sizes; interpret it with example inputs")
        first = next(v for n, v in known if n.op == "placeholder")
        return max(v.numel() * v.element_size() for _, v in known), max(1, first.numel())


@contextlib.contextmanager
def running(prepared: Prepared, draw: Draw | None) -> Iterator[None]:
    """Context of every run of x0: the same random draw, no gradients, model and random state unchanged.

    Graphs of torch's operators alone write nothing into the model, so that no guard is needed. Autocast is
    off.
    """
    guard = contextlib.nullcontext() if prepared._pure else unchanged(prepared.model)
    drawing = contextlib.nullcontext() if draw is None else draw.again()
    with no_autocast(), guard, drawing, torch.inference_mode(False), torch.no_grad():
        yield


def _shape_in(values: dict[str, Any], node: Any) -> tuple[int, ...] | None:
    value = values.get(node.name) if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _is_folded(state: State) -> bool:
    return bool(notes(state[1]).get("folded"))


def is_pure(node: fx.Node) -> bool:
    """Whether a call is known to change nothing but its result: one of torch, not of the user's code."""
    if node.op == "call_module":
        return False
    if node.op != "call_function":
        return True
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.namespace in ("aten", "prims", "torchvision")
    module = getattr(node.target, "__module__", None)
    return module is None or module.partition(".")[0] in _OF_TORCH
