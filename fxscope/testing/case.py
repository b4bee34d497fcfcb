"""One network under the laws: its emitted forms, with the inputs bound, as functions of the probes."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import warnings
from collections.abc import Callable, Container, Iterator
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..emit import PARTS, emit, emit_parts
from ..emit.pipeline import program_of
from ..errors import FxscopeError, ImagesMix, first_line, said
from ..frontend.example import Example
from ..frontend.exported import Exports
from ..frontend.unchanged import tensors_unchanged, unchanged
from ..graph.draws import seeded
from ..linop import LinearInterpreter
from ..linop.prepared import Prepared
from ..passes.outputs import main_output, tensors_of
from ..passes.rewrite import Program
from .laws import Law, NotChecked, distance, of_probe
from .structure import mapped, mapped_example
from .table import CHECKS, Check

# float32: rounding flips single mask bits between two batch sizes
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
LARGE = 300  # a graph with more nodes is not traced again through the other frontend, which takes long
DRAWS = 7  # the seed under which every graph and the model itself run


class LawCase:
    """One network with its inputs bound, on which the laws are measured.

    The model and every graph draw their random numbers under one seed. The model's buffers and attributes are
    not changed.

    Parameters
    ----------
    model
        The untouched network.
    program
        Its program.
    example
        The call at x0, of B images.
    policy, inputs, outputs, unknown
        Those with which the program was made.
    K
        Number of random probes; at least 2.
    seed
        Seed of the probes.
    thorough
        Whether to trace the network again through the other frontend; by default, if the graph is small.
    """

    def __init__(
        self,
        model: nn.Module,
        program: Program,
        example: Example,
        policy: Any = None,
        inputs: Any = None,
        outputs: Any = None,
        K: int = 2,
        seed: int = 1,
        thorough: bool | None = None,
        unknown: str = "refuse",
    ):
        self.model, self.program, self.example = model, program, example
        self.policy, self.inputs, self.outputs, self.K = policy, inputs, outputs, max(K, 2)
        self.unknown = unknown
        self.nodes = sum(n.op != "get_attr" for n in program.gm.graph.nodes)
        self.thorough = self.nodes <= LARGE if thorough is None else thorough
        self.rng = torch.Generator().manual_seed(seed)
        self.args = example.tensors()
        self.batch = self.args[0].shape[0] if self.args[0].dim() else 1
        self._graphs: dict[tuple[str, str], fx.GraphModule] = {}
        self._exports = Exports()

    @classmethod
    def of(
        cls,
        model: nn.Module,
        example: tuple | Example,
        policy: Any = None,
        inputs: Any = None,
        outputs: Any = None,
        frontend: str = "auto",
        free: bool = False,
        unknown: str = "refuse",
        **options: Any,
    ) -> LawCase:
        """The case of a model on a call, through a program that is made here.

        If ``free``, the program is made without the example.
        """
        call, exports = Example.of(example, model) or Example(), Exports()
        named = {"policy": policy, "inputs": inputs, "outputs": outputs}
        with torch.no_grad(), exports:
            program = program_of(
                model, frontend=frontend, unknown=unknown, example_inputs=None if free else call, **named
            )
        found = cls(model, program, call, **named, unknown=unknown, **options)
        found._exports = exports
        return found

    def but(
        self,
        example: Example | None = None,
        program: Program | None = None,
        probes: tuple[torch.Tensor, ...] | None = None,
    ) -> LawCase:
        """The same network on another call, through another program, or with other probes.

        Graphs that were emitted are shared where the program is the same. New probes are drawn where none are
        given.
        """
        other = LawCase(
            self.model,
            program or self.program,
            example or self.example,
            self.policy,
            self.inputs,
            self.outputs,
            self.K,
            thorough=self.thorough,
            unknown=self.unknown,
        )
        other.rng, other.bound, other._exports = self.rng, self.bound, self._exports
        if example is None and "x" in vars(self):
            other.x = self.x
        if program is None:
            other._graphs = self._graphs
        if probes is not None:
            other.probes = probes
        return other

    @functools.cached_property
    def places(self) -> list[int] | None:
        """Which tensors of the call are probed; None if a probe enters inside the network."""
        inputs = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
        nodes = [p.node for p in self.program.probes]
        return [inputs.index(n) for n in nodes] if set(nodes) <= set(inputs) else None

    @functools.cached_property
    def x(self) -> tuple[torch.Tensor, ...]:
        """The values at the probed places."""
        return _tuple(self.lin.x) if self.places is None else tuple(self.args[i] for i in self.places)

    @functools.cached_property
    def probes(self) -> tuple[torch.Tensor, ...]:
        """Random probes of every probed place, (K, B, ...)."""
        return tuple(self.random(self.K, *x.shape, like=x) for x in self.x)

    @functools.cached_property
    def bound(self) -> float:
        """The largest relative error that is rounding."""
        return TOLERANCE.get(self.x[0].dtype, 5e-2)

    def random(self, *shape: int, like: torch.Tensor) -> torch.Tensor:
        """Normal numbers of ``like``'s dtype and device."""
        return torch.randn(shape, generator=self.rng, dtype=torch.float64).to(like)

    @contextlib.contextmanager
    def seeded(self, gradients: bool = False) -> Iterator[None]:
        """Run under the fixed seed."""
        with (
            torch.set_grad_enabled(gradients),
            seeded(DRAWS),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", ImagesMix)
            yield

    @contextlib.contextmanager
    def calm(self, gradients: bool = False) -> Iterator[None]:
        """Run the model itself under the fixed seed, and leave it as it was."""
        with unchanged(self.model), self.seeded(gradients):
            yield

    @functools.cached_property
    def lin(self) -> LinearInterpreter:
        """The recorded interpreter."""
        return self.interpreter("record")

    @functools.cached_property
    def _prepared(self) -> Prepared:
        """The graphs of the recorded interpreter, the same in every memory mode."""
        with self.calm():
            return Prepared(self.model, self.program, "record", None, str(self.policy or "freeze"))

    def interpreter(self, memory: str) -> LinearInterpreter:
        """The recorded interpreter, in one memory mode."""
        prepared = copy.copy(self._prepared)
        prepared.memory = memory
        with self.calm():
            return LinearInterpreter(prepared, self.args)

    def form(self, name: str, probes: str = "flat") -> fx.GraphModule:
        """An emitted form of the program, in train or eval mode as the model."""
        if (name, probes) not in self._graphs:
            made = (
                emit_parts(self.program, probes)
                if name in PARTS
                else {name: emit(self.program, name, probes)}
            )
            self._graphs |= {(form, probes): graph.train(self.model.training) for form, graph in made.items()}
        return self._graphs[name, probes]

    def run(self, name: str, *given: Any, probes: str = "flat") -> Any:
        """Run a form on x0 and on what else it takes; replay and pullback take no x0.

        A graph holds buffers of the model, and in train mode it writes to them.
        """
        graph = self.form(name, probes)
        args = () if name in ("replay", "pullback") else self.args
        with tensors_unchanged(graph.buffers()), self.seeded():
            return graph(*args, *given)

    def exact(self) -> Any:
        """The untouched model's output."""
        with self.calm():
            return main_output(self.example.call(self.model))

    @functools.cached_property
    def expected(self) -> list[torch.Tensor]:
        """The tensors of the untouched model's output."""
        return tensors_of(self.exact())

    def expected_on(self, what: str) -> list[torch.Tensor]:
        """The same; raises ``NotChecked`` if the model does not run there."""
        try:
            return self.expected
        except Exception as error:  # the model's own code refuses, in whatever way
            raise NotChecked(f"the model does not run {what}: {first_line(error, 200)}") from error

    def remade(self, example: Example | None, frontend: str | None = None, policy: Any = None) -> Program:
        """Trace the network again, for another example, through another frontend, or under another policy."""
        frontend = frontend or self.program.gm.meta["frontend"]["name"]
        policy = self.policy if policy is None else policy
        with self.calm(), self._exports:
            return program_of(
                self.model,
                policy=policy,
                inputs=self.inputs,
                outputs=self.outputs,
                frontend=frontend,
                example_inputs=example,
                unknown=self.unknown,
            )

    @functools.cached_property
    def pair_at_x0(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """y0, and y1 at x1 = x0."""
        y0, y1 = self.run("pair", *self.x)
        return tensors_of(y0), tensors_of(y1)

    @property
    def y0(self) -> list[torch.Tensor]:
        """The outputs of the original branch."""
        return self.pair_at_x0[0]

    @functools.cached_property
    def r(self) -> list[torch.Tensor]:
        """The residual."""
        return tensors_of(self.run("residual"))

    @property
    def share(self) -> float:
        """|r| / |y0|."""
        r, y = (float(sum(t.double().square().sum() for t in values)) for values in (self.r, self.y0))
        return math.sqrt(r) / max(math.sqrt(y), 1e-300)

    @functools.cached_property
    def together(self) -> list[torch.Tensor]:
        """y1 of all probes, (K*B, ...)."""
        return tensors_of(self.run("pair", *self.flat)[1])

    @functools.cached_property
    def linear(self) -> Any:
        """F of all probes, (K*B, ...), in the outputs' structure."""
        return self.run("filter", *self.flat)

    @functools.cached_property
    def alone(self) -> list[list[torch.Tensor]]:
        """y1 of every probe in a call of its own."""
        return [tensors_of(self.run("pair", *probe)[1]) for probe in zip(*self.probes)]

    @functools.cached_property
    def cotangents(self) -> Any:
        """Random y2 of K probes, in the outputs' structure."""
        return mapped(lambda t: self.random(*t.shape, like=t), self.linear)

    @functools.cached_property
    def pulled(self) -> tuple[torch.Tensor, ...]:
        """F^T of the cotangents at every probed place, (K*B, ...)."""
        return _tuple(self.run("adjoint", self.cotangents))

    @property
    def flat(self) -> tuple[torch.Tensor, ...]:
        """The probes as graphs take them: (K*B, ...), probe-major."""
        return tuple(p.flatten(0, 1) for p in self.probes)

    def affine(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """The output tensors that depend on the probe."""
        return of_probe(self.program, tensors)

    def each(self, function: Callable) -> Example:
        """The call with a function applied to every tensor whose first dimension is the batch."""
        return mapped_example(
            lambda t: function(t) if t.dim() and t.shape[0] == self.batch else t, self.example
        )

    def image(self, b: int) -> LawCase:
        """One image alone with its probes, through the program for the whole batch."""
        return self.but(self.each(lambda t: t[b : b + 1]), probes=tuple(p[:, b : b + 1] for p in self.probes))

    @functools.cached_property
    def first_remade(self) -> LawCase:
        """The first image alone, through a program that is made for it."""
        one = self.image(0)
        return one.but(program=self.remade(one.example), probes=one.probes)

    @functools.cached_property
    def batched(self) -> bool:
        """Whether the batch is the leading dimension of every probed tensor and every output."""
        return all(t.dim() > 0 and t.shape[0] == self.batch for t in (*self.x, *self.affine(self.y0)))

    @functools.cached_property
    def mixing(self) -> str:
        """Why the images of a batch are not independent; "" if the model gives each the same output alone."""
        try:
            for b in range(self.batch if self.batch > 1 else 0):
                self.same_alone(self.image(b), b)
        except NotChecked as reason:
            return str(reason)
        return ""

    def same_alone(self, one: LawCase, b: int) -> None:
        """Raise ``NotChecked`` if the untouched model gives image b a different output inside this batch."""
        alone = one.expected_on("on one image alone")
        cut = [t[b : b + 1] if t.dim() else t for t in self.expected_on(f"on a batch of {self.batch}")]
        if len(alone) != len(cut) or distance(alone, cut) > max(self.bound, 1e-9):
            raise NotChecked("the model itself gives an image another output alone than inside a batch")

    def measured(self, only: Container[str] | None = None) -> tuple[Law, ...]:
        """Every law (or ``only`` these), with its largest error or the reason why it does not apply."""
        with unchanged(self.model):
            return tuple(self._held(check) for check in CHECKS if only is None or check.name in only)

    def errors(self, *names: str) -> dict[str, float]:
        """{law: largest relative error} of these laws, all of which must apply; of all that do by default."""
        found = self.measured(names or None)
        left_out = [law for law in found if law.skipped and names]
        assert not left_out, left_out
        return {law.name: law.error for law in found if not law.skipped}

    def _held(self, check: Check) -> Law:
        if check.probed and not all(x.is_floating_point() for x in self.x):
            return self._skipped(
                check, f"the probed place holds {self.x[0].dtype}, of which there is no linear part"
            )
        try:
            with torch.no_grad():
                found = check.measure(self)
        except NotChecked as reason:
            return self._skipped(check, str(reason))
        except FxscopeError as error:
            return self._skipped(check, f"refused: {first_line(error, 200)}")
        except Exception as error:  # a law does not hold in a graph that does not run
            text = f"{check.statement}: {said(error, 80)}"
            return Law(check.name, text, float("inf"), self.bound)
        return found if isinstance(found, Law) else Law(check.name, check.statement, float(found), self.bound)

    def _skipped(self, check: Check, reason: str) -> Law:
        return Law(check.name, check.statement, float("nan"), self.bound, reason)


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
