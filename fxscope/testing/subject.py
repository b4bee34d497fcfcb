"""One network under the laws: every form of its interpreter, with its inputs bound, as functions of the probe alone."""

from __future__ import annotations

import functools
import tempfile
from typing import Any, Callable

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..emit import emit
from ..example import Example
from ..ir import info
from ..operator import LinearInterpreter
from ..rewrite import Program
from ..trace import unchanged
from ..transform import main_output, program_of, tensors_of
from . import laws

K = 2


class Subject:
    """The emitted graphs of one network with its inputs bound: functions of the probe alone."""

    def __init__(self, model: nn.Module, program: Program, example: Example):
        self.model, self.program, self.example = model, program, example
        self.args = example.tensors()
        self.graphs = {form: emit(program, form) for form in ("pair", "filter", "residual", "adjoint")}
        self.lin = LinearInterpreter(model, program, self.args, "record", None, "freeze")
        self.x = self.lin.x
        rng = torch.Generator().manual_seed(1)
        self.probes = torch.randn(K, *self.x.shape, generator=rng, dtype=torch.float64)
        self.y0, self.y1 = map(tensors_of, self.graphs["pair"](*self.args, self.x))
        self.r = tensors_of(self.graphs["residual"](*self.args))
        self.share = (sum(t.square().sum() for t in self.r) / sum(t.square().sum() for t in self.y0)).sqrt().item()

    @functools.cached_property
    def together(self) -> list[torch.Tensor]:
        """y1 of all probes, (K*B, ...)."""
        return tensors_of(self.graphs["pair"](*self.args, self.probes.flatten(0, 1))[1])

    @functools.cached_property
    def linear(self) -> Any:
        """F of all probes, (K*B, ...)."""
        return self.graphs["filter"](*self.args, self.probes.flatten(0, 1))

    @functools.cached_property
    def alone(self) -> list[list[torch.Tensor]]:
        """y1 of every probe in a call of its own."""
        return [tensors_of(self.graphs["pair"](*self.args, probe)[1]) for probe in self.probes]

    def laws(self) -> dict[str, Callable[[], float]]:
        """{law: its largest relative error, when called}; passes are shared where two laws need the same one."""
        return {
            "1": lambda: laws.distance(self.y0, main_output(self.example.call(self.model))),
            "2": lambda: laws.distance([b.reshape(a.shape) for a, b in zip(self.y0, self.y1)], self.y0),
            "3": self._superposition,
            "4": lambda: laws.distance(self.together, [laws.tiled(r, f) + f for r, f in zip(self.r, tensors_of(self.linear))]),
            "5": self._dot,
            "6": self._tangent,
            "8": self._sums,
            "11": lambda: max(self._probes_apart(), self._images_apart()),
        }

    def _superposition(self, a: float = 0.7, b: float = -1.3) -> float:
        """F (a u + b v) = a F u + b F v, and F 0 = 0."""
        mixed = torch.stack([a * self.probes[0] + b * self.probes[1], torch.zeros_like(self.x)]).flatten(0, 1)
        got = [t.unflatten(0, (2, -1)) for t in tensors_of(self.graphs["filter"](*self.args, mixed))]
        each = [t.unflatten(0, (K, -1)) for t in tensors_of(self.linear)]
        zero = max(t[1].abs().max().item() for t in got)
        return max(zero, laws.distance([t[0] for t in got], [a * t[0] + b * t[1] for t in each]))

    def _dot(self) -> float:
        rng = torch.Generator().manual_seed(2)
        v = pytree.tree_map(lambda t: torch.randn(t.shape, generator=rng, dtype=torch.float64), self.linear)
        return laws.law_5(lambda _, w: self.linear, lambda _, w: self.graphs["adjoint"](*self.args, w), self.x, self.probes.flatten(0, 1), v)

    def _tangent(self) -> float:
        """Under policy "taylor" F v is the derivative of the untouched model: torch.func's, or by ``laws.twice_transposed`` where a custom
        operator has no forward derivative (for which torch.func gives zeros, silently)."""
        taylor = emit(program_of(self.model, example_inputs=self.example, policy="taylor", frontend=self.program.gm.meta["frontend"]["name"]), "filter")
        custom = any(isinstance(n.target, torch._ops.OpOverload) and n.target.namespace != "aten" for n in self.program.gm.graph.nodes)
        derivative = laws.twice_transposed if custom else laws.jacobian_vector_product
        with unchanged(self.model):
            expected = derivative(self._function(), self.x, self.probes[0])
        return laws.distance(taylor(*self.args, self.probes[0]), list(expected))

    def _function(self) -> Callable:
        """The untouched model as a function of the probed place: its input, or the embedding of its tokens."""
        node = self.program.probes[0].node
        if node.op != "placeholder":
            return lambda x: self._from_embedding(info(node).module, x)
        tensors = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
        at = tensors.index(node)
        leaves, spec = pytree.tree_flatten((self.example.args, self.example.kwargs))
        place = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor)][at]

        def run(x: torch.Tensor) -> tuple:
            copies = [v.clone() if isinstance(v, torch.Tensor) else v for v in leaves]  # a model may write into its inputs
            args, kwargs = pytree.tree_unflatten([x.clone() if i == place else v for i, v in enumerate(copies)], spec)
            return tuple(tensors_of(main_output(self.model(*args, **kwargs))))

        return run

    def _from_embedding(self, path: str, x: torch.Tensor) -> tuple:
        handle = self.model.get_submodule(path).register_forward_hook(lambda module, inputs, output: x)
        try:
            return tuple(tensors_of(main_output(self.model(*self.example.args, **self.example.kwargs))))
        finally:
            handle.remove()

    def _sums(self) -> float:
        """F x0 + r = y0, and the contributions of one output sum to it."""
        f = tensors_of(self.graphs["filter"](*self.args, self.x))
        whole = laws.distance([a + b.reshape(a.shape) for a, b in zip(f, self.r)], [y.reshape(a.shape) for a, y in zip(f, self.y0)])
        outputs = self.lin.F.outputs
        shape = outputs.shapes[0][1:] if outputs.batched else outputs.shapes[0]
        index = tuple(n // 2 for n in shape)
        found = self.lin.contributions((self._key(), *index) if len(outputs.shapes) > 1 else index)
        return max(whole, found.error / max(t.abs().max().item() for t in self.y0))

    def _key(self) -> Any:
        named = self.lin.F.outputs.build([None] * len(self.lin.F.outputs.shapes))
        return next(iter(named)) if isinstance(named, dict) else 0

    def _probes_apart(self) -> float:
        worst = 0.0
        for k, alone in enumerate(self.alone):
            worst = max([worst, *(laws.distance([w.unflatten(0, (K, -1))[k]], [a]) for w, a in zip(self.together, alone))])
        return worst

    def _images_apart(self) -> float:
        """Two images at once equal each alone; a graph of one batch size is made again for one image."""
        B = self.x.shape[0]
        if B == 1 or any(t.dim() == 0 or t.shape[0] != B for t in self.args):
            return 0.0
        fixed = self.program.gm.meta["frontend"].get("batch", "free") != "free"
        worst = 0.0
        for b in range(B):
            one = Example(*pytree.tree_map(lambda v: v[b : b + 1] if isinstance(v, torch.Tensor) else v, (self.example.args, self.example.kwargs)))
            pair = emit(program_of(self.model, example_inputs=one), "pair") if fixed else self.graphs["pair"]
            alone = tensors_of(pair(*one.tensors(), self.probes[0, b : b + 1])[1])
            worst = max([worst, *(laws.distance([w[b : b + 1]], [a]) for w, a in zip(self.alone[0], alone))])
        return worst

    def exports(self) -> list[str]:
        """The file forms that hold what the filter gives."""
        from ..export import save

        stacked, done = emit(self.program, "filter", "stacked"), []
        for form in ("pt2", "ts"):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    save(stacked, f"{folder}/graph.{form}", (*self.args, self.probes))
                    done.append(form)
                except Exception:  # the table says which forms work
                    continue
        return done
