"""One network under the laws: every form of its interpreter, with its inputs bound, as functions of the probe
alone.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..emit import PARTS, emit, emit_parts
from ..emit.pipeline import main_output, program_of, tensors_of
from ..errors import FxscopeError, ImagesMix
from ..frontend.example import Example
from ..frontend.symbolic import unchanged
from ..linop import LinearInterpreter
from ..passes.rewrite import Program, leaves
from .laws import Law, NotChecked, distance
from .structure import first_line, mapped, mapped_example

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,
}  # float32: rounding flips single mask bits between two batch sizes
# nodes of a graph beyond which the export frontend, the slowest stage, is not asked for a second opinion
LARGE = 300
DRAWS = 7  # the seed under which every graph and the model itself run


class Subject:
    """The emitted graphs of one network with its inputs bound: functions of the probes alone.

    K probes, B images. Whatever is random is drawn under one seed by the model and by every graph, and
    neither buffers nor attributes of
    the model are changed.
    policy, inputs, outputs   those that the program was made with
    thorough   whether the laws that trace the network again through the other frontend run: by default, where
               it is small
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
        return self.reading("record")

    def at(self, x0: torch.Tensor) -> Subject:
        """The same graphs at another x0 of the same shape, where the model takes one tensor and the probe
        enters there.
        """
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
        """The same draws, and a model that is afterwards as it was."""
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

    def reading(self, memory: str) -> LinearInterpreter:
        """The recorded interpreter, in one memory mode."""
        with self.calm():
            return LinearInterpreter(
                self.model, self.program, self.args, memory, None, str(self.policy or "freeze")
            )

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
        """A graph on x0 and what else it takes."""
        with self.calm():
            return graph(*(self.args if args is None else args), *given)

    def exact(self, example: Example | None = None) -> Any:
        """The untouched model's output."""
        with self.calm():
            return main_output((example or self.example).call(self.model))

    def remade(self, example: Example | None, frontend: str | None = None, policy: Any = None) -> Program:
        """The program of the same network, traced again for another example, through another frontend, or
        under another policy.
        """
        frontend = frontend or self.program.gm.meta["frontend"]["name"]
        options = dict(
            policy=self.policy if policy is None else policy, inputs=self.inputs, outputs=self.outputs
        )
        with self.calm():
            return program_of(self.model, example_inputs=example, frontend=frontend, **options)

    @functools.cached_property
    def pair_at_x0(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """y0, and y1 at x1 = x0."""
        y0, y1 = self.run(self.form("pair"), *self.x)
        return tensors_of(y0), tensors_of(y1)

    @functools.cached_property
    def y0(self) -> list[torch.Tensor]:
        return self.pair_at_x0[0]

    @functools.cached_property
    def r(self) -> list[torch.Tensor]:
        return tensors_of(self.run(self.form("residual")))

    @functools.cached_property
    def share(self) -> float:
        """|r| / |y0|."""
        r, y = (sum(t.double().square().sum() for t in values).sqrt() for values in (self.r, self.y0))
        return (r / y.clamp_min(1e-300)).item()

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
        """Those of the outputs' tensors that depend on the probe."""
        nodes = leaves(self.program.outputs)
        return (
            [t for t, n in zip(tensors, nodes) if n in self.program.affine]
            if len(nodes) == len(tensors)
            else tensors
        )

    def image(self, b: int) -> Example:
        """The call on one image alone: every tensor whose first dimension is the batch is cut."""
        return self._each(lambda t: t[b : b + 1])

    def companions(self) -> Example:
        """The call on three images, of which the first is the example's only one; the others have its values
        in other places.
        """
        return self._each(
            lambda t: torch.cat([t, t.flip(-1), t.roll(1, -1)]) if t.dim() > 1 else torch.cat([t, t, t])
        )

    def _each(self, function: Callable) -> Example:
        return mapped_example(
            lambda t: function(t) if t.dim() and t.shape[0] == self.batch else t, self.example
        )

    @functools.cached_property
    def batched(self) -> bool:
        """Whether the batch is the first dimension of every probed place and output, as a list of indices or
        a row of each image supposes.
        """
        return all(t.dim() > 0 and t.shape[0] == self.batch for t in (*self.x, *self.affine(self.y0)))

    def runs(self, example: Example, what: str) -> list[torch.Tensor]:
        """The untouched model's outputs on another example; not checked where it does not run there."""
        try:
            return tensors_of(self.exact(example))
        except Exception as error:  # the model's own code refuses, in whatever way
            raise NotChecked(f"the model does not run {what}: {first_line(error)}") from error

    @functools.cached_property
    def mixing(self) -> str:
        """Why the images of the batch are not each other's business: "" where the untouched model gives each
        the same output alone.
        """
        try:
            for b in range(self.batch if self.batch > 1 else 0):
                self.same_alone(self.runs(self.image(b), "on one image alone"), tensors_of(self.exact()), b)
        except NotChecked as reason:
            return str(reason)
        return ""

    def same_alone(self, alone: list[torch.Tensor], together: list[torch.Tensor], b: int) -> None:
        """Not checked where the untouched model itself gives an image another output inside a batch."""
        cut = [t[b : b + 1] if t.dim() else t for t in together]
        if len(alone) != len(cut) or distance(alone, cut) > max(self.bound, 1e-9):
            raise NotChecked("the model itself gives an image another output alone than inside a batch")

    def measured(self, only: tuple[str, ...] | None = None) -> tuple[Law, ...]:
        """Every law with its largest error, or with the reason why it does not apply; ``only`` those of these
        names.
        """
        from .checks import CHECKS

        return tuple(self._held(check) for check in CHECKS if only is None or check.name in only)

    def laws(self) -> dict[str, Callable[[], float]]:
        """{law: its largest relative error, when called} of the laws that apply."""
        return {
            law.name.removeprefix("law "): functools.partial(float, law.error)
            for law in self.measured()
            if not law.skipped
        }

    def _held(self, check: Any) -> Law:
        if check.probed and not all(x.is_floating_point() for x in self.x):
            return Law(
                check.name,
                check.statement,
                float("nan"),
                self.bound,
                f"the probed place holds {self.x[0].dtype}, of which there is no linear part",
            )
        try:
            found = check.measure(self)
        except NotChecked as reason:
            return Law(check.name, check.statement, float("nan"), self.bound, str(reason))
        except FxscopeError as error:
            return Law(check.name, check.statement, float("nan"), self.bound, f"refused: {first_line(error)}")
        except Exception as error:  # a graph that does not run holds no law
            return Law(
                check.name,
                f"{check.statement}: {type(error).__name__}: {first_line(error)[:80]}",
                float("inf"),
                self.bound,
            )
        return found if isinstance(found, Law) else Law(check.name, check.statement, float(found), self.bound)

    def exports(self) -> list[str]:
        """The file forms that hold what the filter gives."""
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
