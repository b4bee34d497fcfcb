"""``fxscope.interpret``: run x0 once, keep what its decisions were, and have the linear interpreter as an operator."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..emit import emit, emit_parts
from ..emit.pipeline import program_of, tensors_of
from ..errors import FxscopeError, ImagesMix, NonFinite, ShapeError
from ..frontend.example import Example
from ..frontend.symbolic import source_of
from ..frontend.unchanged import Draw, leaves_unchanged, unchanged
from ..graph.ir import info
from ..passes.rewrite import Program
from ..results.provenance import of_interpreter
from ..results.registry import provided
from .fresh import Fresh
from .linear import Operator
from .local.sparse import Support
from .memory import MODES, Kept
from .scale import norm_of, power_of_two
from .spaces import Space, only_floating

# bytes of activations that one pass of probes may take: a CPU gains nothing by more
CPU_BUDGET, BUDGET = 1 << 28, 1 << 30


@leaves_unchanged
def interpret(
    model: nn.Module,
    *args: Any,
    policy: Any = None,
    inputs: Any = None,
    outputs: Any = None,
    memory: str = "record",
    chunk: int | None = None,
    frontend: str = "auto",
    **kwargs: Any,
) -> LinearInterpreter:
    """The linear interpreter of a model at x0: y1 = F(x0) x1 + r(x0), with y1 = y0 at x1 = x0.

        lin = interpret(model, x0);   lin(x1);   lin.F @ v;   lin.F.T @ u;   lin.F.row(i);   lin.residual

    args, kwargs   what the model takes; the first tensor is x0 (B, ...), unless ``inputs`` names another place, or several.
              Token numbers are probed at their embedding, and of a Hugging Face ``ModelOutput`` the logits are read
    policy, inputs, outputs   as in ``fxscope.transform``
    memory    "record": the states of x0 are kept; "packed": masks as one bit an entry; "recompute": nothing is kept and x0
              runs with every product (the paper's way)
    frontend  "auto": symbolic tracing, else torch.export, which is said in the log "fxscope"; or "symbolic", "export"
    chunk     probes that run together (default: as many as fit 256 MiB on a CPU, 1 GiB elsewhere)

    The model is not changed, nor are its running statistics and the global random state. An interpreter of a model that draws random numbers
    is of one draw, that of the random state at this call: ``torch.manual_seed`` before it decides which. Weights that change afterwards are
    noticed (``StaleInterpreter``). Raises what ``transform`` raises, and ``NonFinite``.
    Source: the paper, eq. 2 to 5.

    >>> lin = interpret(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.randn(1, 1, 8, 8))
    >>> tuple(lin.F.row((1, 2, 2)).shape), tuple((lin.F @ torch.randn(5, 1, 8, 8)).shape)
    ((1, 8, 8), (5, 2, 6, 6))
    """
    if memory not in MODES:
        raise ValueError(f"memory={memory!r}; it is one of {', '.join(MODES)}")
    example = Example.of(Example(args, kwargs), model)
    program = program_of(
        model, policy=policy, inputs=inputs, outputs=outputs, example_inputs=example, frontend=frontend
    )
    return LinearInterpreter(model, program, example.tensors(), memory, chunk, str(policy or "freeze"))


class LinearInterpreter:
    """What a network does at one x0, as an affine map.

    x0, y0     the model's first argument, and its output
    x          the values at the probed places, where x1 = x gives y1 = y0 (x0 itself unless ``inputs`` names a place)
    F          the linear part, an ``Operator``;   residual   r, of y0's structure
    """

    def __init__(
        self, model: nn.Module, program: Program, args: tuple, memory: str, chunk: int | None, policy: str
    ):
        self.model, self.program, self.policy, self.memory = model, program, policy, memory
        self._given = args[0]
        self._parts = emit_parts(program, "stacked")
        for part in self._parts.values():
            part.train(model.training)
        self._draw = Draw((*args, *model.parameters(), *model.buffers()))
        self.fresh = Fresh(model, self._parts.values())
        with self.reading():
            self._args = tuple(a.detach().clone() for a in args)  # the caller may write over its own
            y0, states = self._parts["record"](*self._args)
            with self._draw.again():
                self.x = self._probed(self._args)
            meta = self._parts["record"].meta["fxscope"]
            _finite(
                program,
                self._args,
                y0,
                tuple(s for n, s in zip(meta["state"], states) if n not in meta["constants"]),
                self._draw,
            )
        self.y0 = y0
        own = tuple(n not in meta["folded"] for n in meta["state"])
        self._kept = Kept(self._record, memory, tuple(s.detach() for s in states), own, meta["windows"])
        held = {
            "x0": self._args,
            "x": tensors_of(self.x),
            "y0": tensors_of(y0),
            "states": self._kept.tensors(),
        }
        for name, tensors in held.items():
            self.fresh.hold(name, tensors)
        self.batch = self._args[0].shape[0]
        chunk = chunk or _chunk(program, self._args[0].device)
        outputs = Space.of("y2", self._outputs(y0), self.batch)
        outputs = replace(
            outputs,
            constant={i: why for i, key in enumerate(outputs.keys) if (why := self._constant.get(key))},
        )
        self.F = Operator(
            self._replay,
            self._pullback,
            Space.of("x1", self.x, self.batch),
            outputs,
            chunk,
            self.batch,
            support=lambda: Support(program, self.F),
            origin=lambda: of_interpreter(self),
            blocks=self.check_blocks,
        )

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around every run of x0: the same draw each time, the model and the random state left as they are, no gradients.

        Raises ``StaleInterpreter`` where a weight, a buffer or a recorded value has changed since the interpreter was made.
        """
        self.fresh.check()
        with unchanged(self.model), self._draw.again(), torch.inference_mode(False), torch.no_grad():
            yield

    @property
    def x0(self) -> torch.Tensor:
        """The caller's own tensor; where its memory was written over, a copy of what it was."""
        given, kept = self._given, self._args[0]
        unwritten = given.shape == kept.shape and given.dtype == kept.dtype and torch.equal(given, kept)
        return given if unwritten else kept

    @functools.cached_property
    def _constant(self) -> dict[Any, str]:
        return self.program.constant_outputs()

    @property
    def constant_outputs(self) -> tuple[Any, ...]:
        """The keys of the outputs that do not depend on the probe, beside others that do: their rows are 0, and y1 = y0 there.

        ``contributions`` has their value as one term of the kind "frozen"; an index of a row into one raises ``NoLinearPath`` with what ends the path.
        """
        return tuple(self.F.outputs.keys[number] for number in self.F.outputs.constant)

    @property
    def state_names(self) -> tuple[str, ...]:
        return self._parts["record"].meta["fxscope"]["state"]

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """What the twins need of x0, by name; tensors without entries carry sizes."""
        return dict(zip(self.state_names, self._kept.get()))

    @property
    def nbytes(self) -> int:
        """Bytes that the interpreter holds of x0."""
        return self._kept.nbytes

    @property
    def residual(self) -> Any:
        """R = y1 at x1 = 0, in the outputs' structure."""
        self.fresh.check()
        if not hasattr(self, "_residual"):
            graph = emit(self.program, "residual").train(self.model.training)
            with self.reading():
                self._residual = graph(*self._args)
            self.fresh.hold("residual", tensors_of(self._residual))
        return self._residual

    def __call__(self, x1: Any) -> Any:
        """F x1 + r; the leading dimensions of x1 are probes. Outputs that are no floating tensors are those of x0."""
        y = self._linear(x1)
        return self._with_others(y, self.F.inputs.stack(x1)[1])

    def _linear(self, x1: Any) -> Any:
        """F x1 + r, of the outputs that F gives."""
        r = self.F.outputs.unstack(self._outputs(self.residual), ())
        return pytree.tree_map(torch.add, self.F @ x1, r)

    def _with_others(self, y: Any, head: tuple[int, ...]) -> Any:
        """Y with the outputs that are none of F's in their places, for every probe."""
        given, spec = pytree.tree_flatten(_fields(self.y0))
        each, batch = iter(pytree.tree_leaves(y)), not self.F.outputs.batched

        def other(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            value = value.squeeze(0) if batch and value.dim() and value.shape[0] == 1 else value
            return value.expand((*head, *value.shape))

        floating = (isinstance(v, torch.Tensor) and v.is_floating_point() for v in given)
        return pytree.tree_unflatten(
            [next(each) if own else other(v) for own, v in zip(floating, given)], spec
        )

    def contributions(self, index: Any) -> Any:
        """F x0 and every additive constant of the network, as they add up to y0[index] (paper, Theorem 1).

        A ``fxscope.analysis.Contributions``.
        """
        return next(self.iter_contributions([index]))

    def iter_contributions(self, indices: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        """The contributions of many outputs one by one, ``chunk`` reverse passes at a time."""
        return provided(self, "contributions")(self, indices, chunk or self.F.chunk)

    def pixel_discussion(self, labels: Any, **options: Any) -> Any:
        """Every pixel's part in a score (paper, eq. 18): ``fxscope.analysis.pixel_discussion``."""
        return provided(self, "pixel_discussion")(self, labels, **options)

    def pixel_votes(self, labels: Any = None, **options: Any) -> Any:
        """Every pixel's vote for a label (paper, Fig. 3): ``fxscope.analysis.pixel_votes``."""
        return provided(self, "pixel_votes")(self, labels, **options)

    def check_blocks(self) -> None:
        """Warn (``ImagesMix``) where an output of the first image depends on another one of the batch: looked at once, by one reverse pass."""
        if not hasattr(self, "_mixes"):
            self._mixes = self.batch > 1 and self._reads_others()
        if self._mixes:
            warnings.warn(
                "images of the batch mix: an output of one depends on others, and a row is the sum over"
                " them all",
                ImagesMix,
                stacklevel=2,
            )

    def _reads_others(self) -> bool:
        spaces = self.F.inputs, self.F.outputs
        if any(not shape or shape[0] != self.batch for space in spaces for shape in space.shapes):
            return False  # the batch is another dimension of a tapped place, and blocks are not to be seen
        seeds = spaces[1].zeros(1)
        for seed in seeds:
            seed[:, 0] = 1
        return any(bool(t[:, 1:].any()) for t in pytree.tree_leaves(self._pullback(spaces[1].build(seeds))))

    @property
    def error(self) -> float:
        """The verification error of this reading: rounding, or something is wrong (paper, eq. 3).

        The larger of |F x0 + r - y0| / |y0|, and of the same through the rows of F: |<F^T u, x0> + <u, r - y0>| / |y0|, u = y0 / |y0|.
        """
        if not hasattr(self, "_error"):
            self._error = max(self._gap(self._args, self.y0), self._gap_of_rows())
        return self._error

    def _gap_of_rows(self) -> float:
        """|<F^T u, x0> + <u, r> - <u, y0>| / <u, y0>, summed in double precision; u is y0 at a size around 1, whose product stays in range."""
        y, r = (pytree.tree_leaves(self._outputs(value)) for value in (self.y0, self.residual))
        unit = power_of_two(norm_of(y))
        u = [t / unit for t in y]
        pulled = pytree.tree_leaves(self._pullback(self.F.outputs.build([t.unsqueeze(0) for t in u])))
        total = sum(_product(a, b) for a, b in zip(pulled, pytree.tree_leaves(self.x))) + sum(
            _product(a, b) for a, b in zip(u, r)
        )
        size = sum(_product(a, b) for a, b in zip(u, y))
        return abs(total - size) / size if size else abs(total)

    def gap(self, x: Any) -> dict[str, float]:
        """How far the reading carries: |F x + r - f(x)| / |f(x)|, and the share of masks and indices that x decides otherwise.

        Where the model draws random numbers f(x) is of the same draw.
        """
        args = (x if x.dim() == self.x0.dim() else x.unsqueeze(0), *self._args[1:])
        if args[0].shape != self.x0.shape:
            raise ShapeError(f"gap: expected x of x0's shape {tuple(self.x0.shape)}, got {tuple(x.shape)}")
        with self.reading():
            y, states = self._parts["record"](*args)
        pairs = [
            (a, b)
            for a, b in zip(self._kept.get(), states)
            if a.dtype in (torch.bool, torch.int64) and a.numel()
        ]
        changed, total = sum((a != b).sum().item() for a, b in pairs), sum(a.numel() for a, _ in pairs)
        return {"error": self._gap(args, y), "changed": changed / total if total else 0.0}

    def _gap(self, args: tuple, y: Any) -> float:
        """|F x + r - f(x)| / |f(x)| over all outputs, where y is f(x)."""
        with self.reading():
            x1 = self._probed(args)
        got, expected = (
            pytree.tree_leaves(value)
            for value in (
                self._linear(x1 if self.F.inputs.batched else pytree.tree_map(lambda t: t[0], x1)),
                self._outputs(y),
            )
        )
        off, size = norm_of(a.reshape(b.shape) - b for a, b in zip(got, expected)), norm_of(expected)
        if not size:
            return math.inf if off else 0.0
        return off / size

    def _replay(self, v: Any) -> Any:
        self.fresh.check()
        probes = v if isinstance(v, tuple) else (v,)
        with torch.no_grad():
            return self._outputs(self._parts["replay"](self._kept.get(), *probes))

    def _pullback(self, u: Any) -> Any:
        self.fresh.check()
        with torch.no_grad():
            return self._parts["pullback"](self._kept.get(), self.structured(u))

    def _outputs(self, y: Any) -> Any:
        """What F gives of an output structure: a dataclass becomes a dict of its tensors, and () stands for what is no floating tensor."""
        return only_floating(_fields(y))

    def structured(self, u: Any) -> Any:
        """Cotangents as the graphs take them: by attribute where the model's output is a dataclass."""
        return SimpleNamespace(**u) if hasattr(self.y0, "__dataclass_fields__") and isinstance(u, dict) else u

    def _record(self) -> tuple[torch.Tensor, ...]:
        with self.reading():
            return self._parts["record"](*self._args)[1]

    def _probed(self, args: tuple) -> Any:
        """The values of the original branch at the probed places, for the inputs ``args``."""
        nodes = [p.node for p in self.program.probes]
        wanted: dict = {}

        class Recorder(torch.fx.Interpreter):
            def run_node(self, n):
                value = super().run_node(n)
                if n in nodes:
                    wanted[n] = value
                return value

        if all(n.op == "placeholder" for n in nodes):
            places = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
            found = [args[places.index(n)] for n in nodes]
        else:
            Recorder(self.program.gm).run(*args)
            found = [wanted[n] for n in nodes]
        return found[0] if len(found) == 1 else tuple(found)

    def __repr__(self) -> str:
        constant = "".join(f", constant output {key!r}" for key in self.constant_outputs)
        kept = f"{self.memory}: {self.nbytes / 2**20:.2f} MiB"
        return (
            f"LinearInterpreter({type(self.model).__name__}, x0 {tuple(self.x0.shape)}, policy {self.policy},"
            f" {kept}{constant})"
        )


def _fields(y: Any) -> Any:
    """An output dataclass as a dict of its tensors; other structures as they are."""
    if not hasattr(y, "__dataclass_fields__"):
        return y
    return {
        name: getattr(y, name)
        for name in y.__dataclass_fields__
        if isinstance(getattr(y, name), torch.Tensor)
    }


def _product(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double().flatten() * b.double().flatten()).sum())


def _finite(
    program: Program, args: tuple[torch.Tensor, ...], y0: Any, states: tuple[torch.Tensor, ...], draw: Draw
) -> None:
    """Raise ``NonFinite`` with the first node whose value is not finite, where a state or the output is not.

    A value that the model's own constants make infinite (a causal mask) is none of x0's.
    """
    if all(_is_finite(t) for t in (*states, *tensors_of(y0))):
        return

    found: list[torch.fx.Node] = []
    masked: set[torch.fx.Node] = set()

    class Finder(torch.fx.Interpreter):
        def run_node(self, node):
            value = super().run_node(node)
            if isinstance(value, torch.Tensor) and not _is_finite(value):
                given = (
                    info(node).role in ("const", "sized")
                    or masked & set(node.all_input_nodes)
                    or any(isinstance(v, float) and math.isinf(v) for v in node.args)
                )
                masked.add(node) if given else found.append(node)
            return value

    with draw.again():
        Finder(program.gm).run(*args)
    where = (
        f"{info(found[0]).place or found[0].name} holds NaN or infinite values at this x0, the first to do"
        f" so, at {source_of(found[0])}"
        if found
        else "a recorded state holds NaN or infinite values at this x0"
    )
    raise NonFinite(f"{where}; the interpreter is about finite ones (emitted graphs let them through)")


def _is_finite(value: torch.Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _chunk(program: Program, device: torch.device) -> int:
    """Probes that fit the budget: a pass holds about four tensors of the largest size at once."""
    sizes = [
        n.meta["val"].numel() * n.meta["val"].element_size()
        for n in program.gm.graph.nodes
        if isinstance(n.meta.get("val"), torch.Tensor) and n.op != "get_attr"
    ]
    if not sizes:
        raise FxscopeError("the graph holds no sizes; interpret it with example inputs")
    return max(1, min(256, (CPU_BUDGET if device.type == "cpu" else BUDGET) // (4 * max(sizes))))
