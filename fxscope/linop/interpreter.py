"""``fxscope.interpret``: run x0 once, keep its decisions, and give the linear interpreter as an operator."""

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
from ..emit.pipeline import program_of
from ..errors import FxscopeError, ImagesMix, NonFinite, ShapeError
from ..frontend.example import Example
from ..frontend.symbolic import source_of
from ..frontend.unchanged import Draw, leaves_unchanged, unchanged
from ..graph.interpreter import Recorder
from ..graph.ir import emitted, info, notes
from ..passes.outputs import tensors_of
from ..passes.rewrite import Program
from ..results.provenance import of_interpreter
from ..results.registry import provided
from .fresh import Fresh
from .linear import Operator
from .local.sparse import Support
from .memory import MODES, Kept
from .scale import norm_of, power_of_two
from .spaces import Space, only_floating

# bytes of activations of probes that run together; a CPU gains nothing from more
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
    """The linear interpreter of a model at x0 (paper, eq. 2 to 5).

    It is the affine map y1 = F(x0) x1 + r(x0), with y1 = y0 at x1 = x0::

        lin = interpret(model, x0)
        lin(x1), lin.F @ v, lin.F.T @ u, lin.F.row(i), lin.residual

    The model, its running statistics and the global random state do not change. If the model draws random
    numbers, all results of one interpreter use the same draw: call ``torch.manual_seed`` before to choose it.
    If weights change afterwards, products raise ``StaleInterpreter``.

    Parameters
    ----------
    model : nn.Module
    *args, **kwargs
        Arguments of the model. The first tensor is x0 (B, ...), unless ``inputs`` names other places. Token
        numbers are probed at their embedding. The logits of a Hugging Face ``ModelOutput`` are the output.
    policy, inputs, outputs
        As in ``fxscope.transform``.
    memory : {"record", "packed", "recompute"}
        "record" keeps the states of x0. "packed" stores masks with one bit an element. "recompute"
        keeps nothing, and runs x0 with every product, as in the paper.
    chunk : int, optional
        Probes that run together. Default: as many as fit into 256 MiB on a CPU, 1 GiB elsewhere.
    frontend : {"auto", "symbolic", "export"}
        "auto" traces symbolically, and uses torch.export if that fails; the logger "fxscope" then says so.

    Returns
    -------
    LinearInterpreter

    Raises
    ------
    FxscopeError
        As ``fxscope.transform`` does.
    NonFinite
        If a recorded state or the output holds NaN or infinite values.

    Examples
    --------
    >>> lin = interpret(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.randn(1, 1, 8, 8))
    >>> tuple(lin.F.row((1, 2, 2)).shape), tuple((lin.F @ torch.randn(5, 1, 8, 8)).shape)
    ((1, 8, 8), (5, 2, 6, 6))
    """
    if memory not in MODES:
        raise ValueError(f"memory={memory!r}; it is one of {', '.join(MODES)}")
    example = Example.of(Example(args, kwargs), model)
    assert example is not None
    program = program_of(
        model, policy=policy, inputs=inputs, outputs=outputs, example_inputs=example, frontend=frontend
    )
    return LinearInterpreter(model, program, example.tensors(), memory, chunk, str(policy or "freeze"))


class LinearInterpreter:
    """The affine map y1 = F x1 + r of a network at one x0.

    Attributes
    ----------
    y0 : torch.Tensor or structure of tensors
        The output of the model at x0.
    x : torch.Tensor or tuple of tensors
        The values at the probed places: x0 unless ``inputs`` names other places. At x1 = x, y1 = y0.
    F : Operator
        The linear part.
    batch : int
        Number of images B in x0.
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
        self._keep_x0(args)
        self.batch = self._args[0].shape[0]
        self.F = self._operator(chunk or _chunk(program, self._args[0].device))

    def _keep_x0(self, args: tuple) -> None:
        """Run the model at x0, and keep its output and its states.

        Raise ``NonFinite`` if one is not finite.
        """
        meta = emitted(self._parts["record"])
        names = meta["state"]
        with self.fresh_run():
            self._args = tuple(a.detach().clone() for a in args)  # the caller may write over its own tensors
            self.y0, states = self._parts["record"](*self._args)
            with self._draw.again():
                self.x = self._probed(self._args)
            of_x0 = tuple(s for n, s in zip(names, states) if n not in meta["constants"])
            _finite(self.program, self._args, self.y0, of_x0, self._draw)
        own = tuple(n not in meta["folded"] for n in names)
        states = tuple(s.detach() for s in states)
        self._kept = Kept(self._record, self.memory, states, own, meta["windows"])
        self.fresh.hold("x0", self._args)
        self.fresh.hold("x", tensors_of(self.x))
        self.fresh.hold("y0", tensors_of(self.y0))
        self.fresh.hold("states", self._kept.tensors())

    def _operator(self, chunk: int) -> Operator:
        """F between the space of x and that of y0."""
        outputs = Space.of("y2", self._outputs(self.y0), self.batch)
        constant = {i: why for i, key in enumerate(outputs.keys) if (why := self._constant.get(key))}
        return Operator(
            self._replay,
            self._pullback,
            Space.of("x1", self.x, self.batch),
            replace(outputs, constant=constant),
            chunk,
            self.batch,
            support=lambda: Support(self.program, self.F),
            origin=lambda: of_interpreter(self),
            blocks=self.check_blocks,
        )

    @contextlib.contextmanager
    def fresh_run(self) -> Iterator[None]:
        """Context of every run of x0: the same random draw, no gradients, model and random state unchanged.

        Raises ``StaleInterpreter`` if a weight, a buffer or a recorded value has changed since the
        interpreter was made.
        """
        self.fresh.check()
        with unchanged(self.model), self._draw.again(), torch.inference_mode(False), torch.no_grad():
            yield

    @property
    def x0(self) -> torch.Tensor:
        """The caller's own tensor, or a copy of its former values if it was written over."""
        given, kept = self._given, self._args[0]
        unwritten = given.shape == kept.shape and given.dtype == kept.dtype and torch.equal(given, kept)
        return given if unwritten else kept

    @functools.cached_property
    def _constant(self) -> dict[Any, str]:
        return self.program.constant_outputs()

    @property
    def constant_outputs(self) -> tuple[Any, ...]:
        """Keys of the outputs that do not depend on the probe; their rows are 0, and y1 = y0 there.

        ``contributions`` gives their value as one term of the kind "frozen". An index of a row into such an
        output raises ``NoLinearPath``, which names the operator that ends the path.
        """
        return tuple(self.F.outputs.keys[number] for number in self.F.outputs.constant)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of ``states``."""
        return emitted(self._parts["record"])["state"]

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """The recorded values of x0 that the products need, by name; tensors without entries carry sizes."""
        return dict(zip(self.state_names, self._kept.get()))

    @property
    def nbytes(self) -> int:
        """Bytes that the interpreter holds of x0."""
        return self._kept.nbytes

    @property
    def residual(self) -> Any:
        """The residual r, y1 at x1 = 0, in the structure of the outputs."""
        self.fresh.check()
        if not hasattr(self, "_residual"):
            graph = emit(self.program, "residual").train(self.model.training)
            with self.fresh_run():
                self._residual = graph(*self._args)
            self.fresh.hold("residual", tensors_of(self._residual))
        return self._residual

    def __call__(self, x1: Any) -> Any:
        """F x1 + r; leading dimensions of x1 are probes.

        Outputs that are no floating tensors are those of x0.
        """
        y = self._linear(x1)
        return self._with_others(y, self.F.inputs.stack(x1)[1])

    def _linear(self, x1: Any) -> Any:
        """F x1 + r, for the outputs of F alone."""
        r = self.F.outputs.unstack(self._outputs(self.residual), ())
        return pytree.tree_map(torch.add, self.F @ x1, r)

    def _with_others(self, y: Any, head: tuple[int, ...]) -> Any:
        """The outputs y of F, completed for every probe with the outputs that are none of F."""
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
        """F x0 and all additive constants of the network, which sum to y0[index] (paper, Theorem 1).

        Returns
        -------
        fxscope.analysis.Contributions
        """
        return next(self.iter_contributions([index]))

    def iter_contributions(self, indices: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        """Iterate over the contributions of many outputs, computed ``chunk`` reverse passes at a time."""
        return provided(self, "contributions")(self, indices, chunk or self.F.chunk)

    def pixel_discussion(self, labels: Any, **options: Any) -> Any:
        """The part of every pixel in a score (paper, eq. 18); see ``fxscope.analysis.pixel_discussion``."""
        return provided(self, "pixel_discussion")(self, labels, **options)

    def pixel_votes(self, labels: Any = None, **options: Any) -> Any:
        """The vote of every pixel for a label (paper, Fig. 3); see ``fxscope.analysis.pixel_votes``."""
        return provided(self, "pixel_votes")(self, labels, **options)

    def check_blocks(self) -> None:
        """Warn (``ImagesMix``) if an output of the first image depends on another image of the batch.

        One reverse pass decides this, at the first call.
        """
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
        """Whether an output of the first image depends on another image."""
        spaces = self.F.inputs, self.F.outputs
        if any(not shape or shape[0] != self.batch for space in spaces for shape in space.shapes):
            return False  # at a tapped place the batch is another dimension: blocks are unknown
        seeds = spaces[1].zeros(1)
        for seed in seeds:
            seed[:, 0] = 1
        return any(bool(t[:, 1:].any()) for t in pytree.tree_leaves(self._pullback(spaces[1].build(seeds))))

    @property
    def error(self) -> float:
        """The verification error, of the order of rounding if the interpreter is right (paper, eq. 3).

        It is the larger of two numbers, the second of which checks the rows of F:

            |F x0 + r - y0| / |y0|
            |<F^T u, x0> + <u, r - y0>| / |y0|,    u = y0 / |y0|
        """
        if not hasattr(self, "_error"):
            self._error = max(self._gap(self._args, self.y0), self._gap_of_rows())
        return self._error

    def _gap_of_rows(self) -> float:
        """|<F^T u, x0> + <u, r> - <u, y0>| / <u, y0>, summed in double precision.

        u is y0 scaled to a size of order 1, so that its product stays in range.
        """
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
        """How well the interpreter of x0 fits another input x.

        If the model draws random numbers, f(x) uses the same draw.

        Parameters
        ----------
        x : torch.Tensor
            Of the shape of x0, with or without its batch dimension.

        Returns
        -------
        dict
            ``error`` is ``|F x + r - f(x)| / |f(x)|``. ``changed`` is the share of masks and indices that x
            decides differently.

        Raises
        ------
        ShapeError
            If x has another shape.
        """
        args = (x if x.dim() == self.x0.dim() else x.unsqueeze(0), *self._args[1:])
        if args[0].shape != self.x0.shape:
            raise ShapeError(f"gap: expected x of x0's shape {tuple(self.x0.shape)}, got {tuple(x.shape)}")
        with self.fresh_run():
            y, states = self._parts["record"](*args)
        pairs = [
            (a, b)
            for a, b in zip(self._kept.get(), states)
            if a.dtype in (torch.bool, torch.int64) and a.numel()
        ]
        changed, total = sum((a != b).sum().item() for a, b in pairs), sum(a.numel() for a, _ in pairs)
        return {"error": self._gap(args, y), "changed": changed / total if total else 0.0}

    def _gap(self, args: tuple, y: Any) -> float:
        """|F x + r - y| / |y| over all outputs, for y = f(x)."""
        with self.fresh_run():
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
        """The outputs of F in an output structure: () replaces everything that is no floating tensor.

        A dataclass becomes a dict of its tensors.
        """
        return only_floating(_fields(y))

    def structured(self, u: Any) -> Any:
        """Cotangents as the graphs take them: by attribute if the output of the model is a dataclass."""
        return SimpleNamespace(**u) if hasattr(self.y0, "__dataclass_fields__") and isinstance(u, dict) else u

    def _record(self) -> tuple[torch.Tensor, ...]:
        with self.fresh_run():
            return self._parts["record"](*self._args)[1]

    def _probed(self, args: tuple) -> Any:
        """The values of the original branch at the probed places, for the inputs ``args``."""
        nodes = [p.node for p in self.program.probes]
        if all(n.op == "placeholder" for n in nodes):
            places = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
            found = [args[places.index(n)] for n in nodes]
        else:
            recorder = Recorder(self.program.gm, lambda node, value: value if node in nodes else None)
            recorder.run(*args)
            found = [recorder.kept[n] for n in nodes]
        return found[0] if len(found) == 1 else tuple(found)

    def __repr__(self) -> str:
        constant = "".join(f", constant output {key!r}" for key in self.constant_outputs)
        kept = f"{self.memory}: {self.nbytes / 2**20:.2f} MiB"
        return (
            f"LinearInterpreter({type(self.model).__name__}, x0 {tuple(self.x0.shape)}, policy {self.policy},"
            f" {kept}{constant})"
        )


def _fields(y: Any) -> Any:
    """An output dataclass as a dict of its tensors; other structures unchanged."""
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
    """Raise ``NonFinite`` with the first node whose value is not finite, if a state or the output is not.

    Values that are infinite because of constants of the model (a causal mask) do not count.
    """
    if all(_is_finite(t) for t in (*states, *tensors_of(y0))):
        return

    found: list[torch.fx.Node] = []
    masked: set[torch.fx.Node] = set()

    def look(node: torch.fx.Node, value: Any) -> None:
        if isinstance(value, torch.Tensor) and not _is_finite(value):
            given = (
                info(node).role in ("const", "sized")
                or masked & set(node.all_input_nodes)
                or any(isinstance(v, float) and math.isinf(v) for v in node.args)
            )
            masked.add(node) if given else found.append(node)

    with draw.again():
        Recorder(program.gm, look).run(*args)
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
    """Probes that fit the budget; a pass holds about four tensors of the largest size at once."""
    sizes = [
        notes(n)["val"].numel() * notes(n)["val"].element_size()
        for n in program.gm.graph.nodes
        if isinstance(notes(n).get("val"), torch.Tensor) and n.op != "get_attr"
    ]
    if not sizes:
        raise FxscopeError("the graph holds no sizes; interpret it with example inputs")
    return max(1, min(256, (CPU_BUDGET if device.type == "cpu" else BUDGET) // (4 * max(sizes))))
