"""One network under the laws: its emitted forms, with the inputs bound, as functions of the probes."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import tempfile
import warnings
from collections.abc import Callable, Container, Iterator
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..emit import PARTS, emit, emit_parts
from ..emit.pipeline import program_of
from ..errors import FxscopeError, ImagesMix
from ..frontend.example import Example
from ..frontend.symbolic import unchanged
from ..linop import LinearInterpreter
from ..linop.prepared import Prepared
from ..passes.outputs import main_output, tensors_of
from ..passes.rewrite import Program, leaves
from .checks import CHECKS, Check
from .laws import Law, NotChecked, distance
from .structure import first_line, mapped, mapped_example

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
    policy, inputs, outputs
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
    ):
        self.model, self.program, self.example = model, program, example
        self.policy, self.inputs, self.outputs, self.K = policy, inputs, outputs, max(K, 2)
        nodes = sum(n.op != "get_attr" for n in program.gm.graph.nodes)
        self.nodes, self.thorough = nodes, nodes <= LARGE if thorough is None else thorough
        self.args = example.tensors()
        self.rng = torch.Generator().manual_seed(seed)
        self.x = self._probed()
        self.batch = self.args[0].shape[0] if self.args[0].dim() else 1
        self.probes = tuple(self.random(self.K, *x.shape, like=x) for x in self.x)
        self.bound = TOLERANCE.get(self.x[0].dtype, 5e-2)
        self._graphs: dict[tuple[str, str], fx.GraphModule] = {}

    def _probed(self) -> tuple[torch.Tensor, ...]:
        """The values at the probed places."""
        places = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
        nodes = [p.node for p in self.program.probes]
        return (
            tuple(self.args[places.index(n)] for n in nodes)
            if set(nodes) <= set(places)
            else _tuple(self.lin.x)
        )

    @functools.cached_property
    def lin(self) -> LinearInterpreter:
        """The recorded interpreter."""
        return self.interpreter("record")

    def at(self, x0: torch.Tensor) -> LawCase:
        """The same graphs at another x0 of the same shape, for a model whose one input is probed."""
        other = copy.copy(self)
        for name in [
            n for n in vars(self) if isinstance(getattr(type(self), n, None), functools.cached_property)
        ]:
            del vars(other)[name]
        other.example, other.args, other.x = Example((x0,)), (x0,), (x0,)
        return other

    def random(self, *shape: int, like: torch.Tensor) -> torch.Tensor:
        """Normal numbers of ``like``'s dtype and device."""
        return torch.randn(shape, generator=self.rng, dtype=torch.float64).to(like)

    @contextlib.contextmanager
    def calm(self, gradients: bool = False) -> Iterator[None]:
        """Run under the fixed seed, and restore the model afterwards."""
        buffers = [(b, b._version, b.clone()) for b in self.model.buffers()]
        try:
            with (
                unchanged(self.model),
                torch.set_grad_enabled(gradients),
                torch.random.fork_rng(devices=[]),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore", ImagesMix)
                torch.manual_seed(DRAWS)
                yield
        finally:
            for buffer, version, before in buffers:
                if buffer._version != version:
                    with torch.no_grad():
                        buffer.copy_(before)

    def interpreter(self, memory: str) -> LinearInterpreter:
        """The recorded interpreter, in one memory mode."""
        with self.calm():
            prepared = Prepared(self.model, self.program, memory, None, str(self.policy or "freeze"))
            return LinearInterpreter(prepared, self.args)

    def form(self, name: str, probes: str = "flat") -> fx.GraphModule:
        """An emitted form of the program."""
        if (name, probes) not in self._graphs:
            made = (
                emit_parts(self.program, probes)
                if name in PARTS
                else {name: emit(self.program, name, probes)}
            )
            self._graphs |= {(form, probes): graph.train(self.model.training) for form, graph in made.items()}
        return self._graphs[name, probes]

    def run(self, graph: Callable, *given: Any, args: tuple | None = None) -> Any:
        """Run a graph on x0 (or on other ``args``) and on what else it takes."""
        with self.calm():
            return graph(*(self.args if args is None else args), *given)

    def exact(self, example: Example) -> Any:
        """The untouched model's output on an example."""
        with self.calm():
            return main_output(example.call(self.model))

    @functools.cached_property
    def expected(self) -> list[torch.Tensor]:
        """The untouched model's output on x0."""
        return tensors_of(self.exact(self.example))

    def remade(self, example: Example | None, frontend: str | None = None, policy: Any = None) -> Program:
        """Trace the network again, for another example, through another frontend, or under another policy."""
        frontend = frontend or self.program.gm.meta["frontend"]["name"]
        policy = self.policy if policy is None else policy
        with self.calm():
            return program_of(
                self.model,
                policy=policy,
                inputs=self.inputs,
                outputs=self.outputs,
                frontend=frontend,
                example_inputs=example,
            )

    @functools.cached_property
    def pair_at_x0(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """y0, and y1 at x1 = x0."""
        y0, y1 = self.run(self.form("pair"), *self.x)
        return tensors_of(y0), tensors_of(y1)

    @functools.cached_property
    def y0(self) -> list[torch.Tensor]:
        """The outputs of the original branch."""
        return self.pair_at_x0[0]

    @functools.cached_property
    def r(self) -> list[torch.Tensor]:
        """The residual."""
        return tensors_of(self.run(self.form("residual")))

    @functools.cached_property
    def share(self) -> float:
        """|r| / |y0|."""
        r, y = (float(sum(t.double().square().sum() for t in values)) for values in (self.r, self.y0))
        return math.sqrt(r) / max(math.sqrt(y), 1e-300)

    @functools.cached_property
    def together(self) -> list[torch.Tensor]:
        """y1 of all probes, (K*B, ...)."""
        return tensors_of(self.run(self.form("pair"), *self.flat(self.probes))[1])

    @functools.cached_property
    def linear(self) -> Any:
        """F of all probes, (K*B, ...), in the outputs' structure."""
        return self.run(self.form("filter"), *self.flat(self.probes))

    @functools.cached_property
    def alone(self) -> list[list[torch.Tensor]]:
        """y1 of every probe in a call of its own."""
        return [
            tensors_of(self.run(self.form("pair"), *(p[k] for p in self.probes))[1]) for k in range(self.K)
        ]

    @functools.cached_property
    def cotangents(self) -> Any:
        """Random y2 of K probes, in the outputs' structure."""
        return mapped(lambda t: self.random(*t.shape, like=t), self.linear)

    @functools.cached_property
    def pulled(self) -> tuple[torch.Tensor, ...]:
        """F^T of the cotangents at every probed place, (K*B, ...)."""
        return _tuple(self.run(self.form("adjoint"), self.cotangents))

    @staticmethod
    def flat(probes: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """(K, B, ...) -> (K*B, ...), probe-major."""
        return tuple(p.flatten(0, 1) for p in probes)

    def affine(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """The output tensors that depend on the probe."""
        nodes = leaves(self.program.outputs)
        if len(nodes) != len(tensors):
            return tensors
        return [t for t, n in zip(tensors, nodes) if n in self.program.affine]

    def image(self, b: int) -> Example:
        """The call on one image alone: every tensor whose first dimension is the batch is cut."""
        return self._each(lambda t: t[b : b + 1])

    def companions(self) -> Example:
        """The call on three images: the example's only image, then the same values flipped, and rolled."""

        def three(t: torch.Tensor) -> torch.Tensor:
            return torch.cat([t, t.flip(-1), t.roll(1, -1)] if t.dim() > 1 else [t, t, t])

        return self._each(three)

    def _each(self, function: Callable) -> Example:
        return mapped_example(
            lambda t: function(t) if t.dim() and t.shape[0] == self.batch else t, self.example
        )

    @functools.cached_property
    def batched(self) -> bool:
        """Whether the batch is the leading dimension of every probed tensor and every output."""
        return all(t.dim() > 0 and t.shape[0] == self.batch for t in (*self.x, *self.affine(self.y0)))

    def runs(self, example: Example, what: str) -> list[torch.Tensor]:
        """The untouched model's outputs on another example; raises ``NotChecked`` if it fails there."""
        try:
            return tensors_of(self.exact(example))
        except Exception as error:  # the model's own code refuses, in whatever way
            raise NotChecked(f"the model does not run {what}: {first_line(error)}") from error

    @functools.cached_property
    def mixing(self) -> str:
        """Why the images of a batch are not independent; "" if the model gives each the same output alone."""
        try:
            for b in range(self.batch if self.batch > 1 else 0):
                self.same_alone(self.runs(self.image(b), "on one image alone"), self.expected, b)
        except NotChecked as reason:
            return str(reason)
        return ""

    def same_alone(self, alone: list[torch.Tensor], together: list[torch.Tensor], b: int) -> None:
        """Raise ``NotChecked`` if the untouched model gives image b a different output inside a batch."""
        cut = [t[b : b + 1] if t.dim() else t for t in together]
        if len(alone) != len(cut) or distance(alone, cut) > max(self.bound, 1e-9):
            raise NotChecked("the model itself gives an image another output alone than inside a batch")

    def measured(self, only: Container[str] | None = None) -> tuple[Law, ...]:
        """Every law (or ``only`` these), with its largest error or the reason why it does not apply."""
        return tuple(self._held(check) for check in CHECKS if only is None or check.name in only)

    def laws(self) -> dict[str, Callable[[], float]]:
        """{law: function that returns its largest relative error} of the laws that apply."""
        return {
            law.name.removeprefix("law "): functools.partial(float, law.error)
            for law in self.measured()
            if not law.skipped
        }

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
            return self._skipped(check, f"refused: {first_line(error)}")
        except Exception as error:  # a law does not hold in a graph that does not run
            said = f"{check.statement}: {type(error).__name__}: {first_line(error)[:80]}"
            return Law(check.name, said, float("inf"), self.bound)
        return found if isinstance(found, Law) else Law(check.name, check.statement, float(found), self.bound)

    def _skipped(self, check: Check, reason: str) -> Law:
        return Law(check.name, check.statement, float("nan"), self.bound, reason)

    def exports(self) -> list[str]:
        """The file formats in which the filter could be saved and checked."""
        from ..export import save

        stacked, done = emit(self.program, "filter", "stacked"), []
        for form in ("pt2", "ts"):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    save(stacked, f"{folder}/graph.{form}", (*self.args, *self.probes))
                    done.append(form)
                except Exception:  # the table says which forms work
                    continue
        return done


def _tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)
