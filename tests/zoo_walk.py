"""One case of the zoo on its walk: the reference by autograd, and the interpreter that is held against it.

An entry point may refuse by an ``FxscopeError``, except ``interpret`` itself; ``Walk.refusals`` holds what
was refused.

B images, n inputs, N outputs; J is the dense Jacobian (N, n) of the untouched model by torch.autograd, D is
F as a dense matrix, K probes.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree
from zoo import Case

import fxscope
from fxscope.errors import FxscopeError, ImagesMix, ModelFails, NotConverged
from fxscope.frontend.unchanged import unchanged
from fxscope.passes.outputs import main_output

BOUND = 1e-8
SEED = 5
K = 3
MOST = 600  # rows of the Jacobian: a case with more is too large for the zoo


def floating(value: Any) -> list[torch.Tensor]:
    """The floating (or complex) tensors of an output structure, in order: what F gives."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() or value.is_complex() else []
    if isinstance(value, dict):
        value = list(value.values())
    if hasattr(type(value), "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    return [t for v in value for t in floating(v)] if isinstance(value, (list, tuple)) else []


def mapped(function: Callable, value: Any) -> Any:
    """A structure of the same kind with a function applied to its tensors."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {k: mapped(function, v) for k, v in value.items()}  # a subclass is given back as a dict
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, v) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(function, v) for v in value)
    if hasattr(type(value), "__dataclass_fields__"):
        return type(value)(
            **{name: mapped(function, getattr(value, name)) for name in value.__dataclass_fields__}
        )
    return value


def flat(value: Any) -> torch.Tensor:
    """All floating entries of a structure as one vector."""
    return torch.cat([t.flatten() for t in floating(value)])


def right(got: torch.Tensor, expected: torch.Tensor, what: str, scale: float | None = None) -> None:
    """Hold two tensors against each other: to ``BOUND`` of the largest expected entry (or of ``scale``)."""
    assert got.shape == expected.shape, (
        f"{what}: got the shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    got, expected = got.detach(), expected.detach()
    if not expected.numel():
        return
    scale = max(float(expected.abs().max()) if scale is None else scale, 1e-12)
    error = float((got - expected).abs().max()) / scale
    assert error <= BOUND, f"{what}: off by {error:.2e} of {scale:.3g}"


def sampled(name: str, one_in: int) -> bool:
    """Whether a case belongs to a fixed sample: by its name, so that new cases do not move it."""
    return zlib.crc32(name.encode()) % one_in == 0


class Walk:
    """One case with its model and inputs, the reference by autograd,
    and the interpreter that most groups look at.
    """

    def __init__(self, case: Case):
        self.case = case
        self.model = case.build()
        self.args = case.inputs(torch.Generator().manual_seed(0))
        self.refusals: list[tuple[str, str]] = []

    # ---- the reference

    @functools.cached_property
    def y0(self) -> Any:
        return self.output(self.args)

    def output(self, args: tuple) -> Any:
        """What the untouched model gives."""
        model = copy.deepcopy(self.model)
        return self.seeded(lambda: main_output(model(*clones(args))))

    @functools.cached_property
    def J(self) -> torch.Tensor:
        return self.jacobian(self.args)

    def jacobian(self, args: tuple) -> torch.Tensor:
        """(N, n), by a reverse pass from every floating output of a copy of the model.

        Rows of outputs without a gradient are 0.
        """
        model = copy.deepcopy(self.model)
        function, x = (
            self.case.place(model, clones(args)) if self.case.place else first_input(model, clones(args))
        )
        x = x.detach().clone().requires_grad_()
        y = self.seeded(lambda: flat(main_output(function(x))), grad=True)
        assert y.numel() <= MOST, (
            f"{self.case.name} has {y.numel()} outputs; the zoo's cases have at most {MOST}"
        )
        if not y.requires_grad:
            return torch.zeros(y.numel(), x.numel(), dtype=x.dtype)
        rows = [row_of(v, x) for v in y]
        return torch.stack(rows)

    def seeded(self, call: Callable, grad: bool = False) -> Any:
        """The call under the zoo's one seed, where the model draws."""
        with torch.random.fork_rng(devices=[]), quiet(), torch.set_grad_enabled(grad):
            torch.manual_seed(SEED)
            return call()

    def kept(self, graph: Callable, *inputs: Any) -> Any:
        """What an emitted graph gives. In train mode it updates the running statistics as a call of the model
        does, and they are put back.
        """
        with unchanged(self.model) if self.case.train else contextlib.nullcontext():
            return graph(*inputs)

    # ---- the interpreter

    @functools.cached_property
    def lin(self) -> Any:
        return self.interpret()

    def interpret(self, args: tuple | None = None, **options: Any) -> Any:
        return self.seeded(
            lambda: fxscope.interpret(self.model, *(self.args if args is None else args), **options)
        )

    @functools.cached_property
    def D(self) -> torch.Tensor:
        return self.seeded(lambda: self.lin.F.to_dense())

    @functools.cached_property
    def r(self) -> torch.Tensor:
        return flat(self.seeded(lambda: self.lin.residual))

    @property
    def B(self) -> int:
        return self.lin.batch

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tensors(self.args)

    @functools.cached_property
    def probes(self) -> torch.Tensor:
        """K probes of x, (K, *x.shape)."""
        x = self.lin.x
        return torch.randn(K, *x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)

    @functools.cached_property
    def cotangents(self) -> Any:
        """K random y2 in the outputs' structure, (K, *shape) each.

        Zeros for outputs that are no floating tensors.
        """
        generator = torch.Generator().manual_seed(2)

        def draw(t: torch.Tensor) -> torch.Tensor:
            if t.is_floating_point() or t.is_complex():
                return torch.randn(K, *t.shape, generator=generator, dtype=t.dtype)
            return torch.zeros(K, *t.shape, dtype=t.dtype)

        return mapped(draw, self.y0)

    def may_refuse(self, entry: str, call: Callable, loud: tuple[type[Exception], ...] = ()) -> Any:
        """The call's value.

        None where it is refused by an ``FxscopeError`` (or one of ``loud``), which is noted.
        """
        try:
            return self.seeded(call)
        except ModelFails:
            raise  # the network runs: an emitted graph that fails is no refusal
        except (FxscopeError, *loud) as error:
            self.refusals.append(
                (entry, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            )
            return None


def tensors(args: tuple) -> tuple[torch.Tensor, ...]:
    """The tensors of a call in the order in which graphs take them."""
    return tuple(t for t in pytree.tree_leaves(args) if isinstance(t, torch.Tensor))


def clones(args: tuple) -> tuple:
    return pytree.tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, args)


def image(args: tuple, b: int, batch: int) -> tuple:
    """The arguments of one image of the batch."""
    return pytree.tree_map(
        lambda v: v[b : b + 1] if isinstance(v, torch.Tensor) and v.dim() and v.shape[0] == batch else v, args
    )


def first_input(model: Any, args: tuple) -> tuple[Callable, torch.Tensor]:
    """The model as a function of its first tensor, and that tensor."""
    leaves, spec = pytree.tree_flatten(args)
    at = next(i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor))
    # a clone, which the model may write into
    return (
        lambda x: model(*pytree.tree_unflatten([*leaves[:at], x.clone(), *leaves[at + 1 :]], spec)),
        leaves[at],
    )


def row_of(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The gradient of one output, flat; of a complex one that of its parts."""
    parts = [value.real, value.imag] if value.is_complex() else [value]
    found = [
        torch.autograd.grad(part, x, retain_graph=True, allow_unused=True, materialize_grads=True)[
            0
        ].flatten()
        for part in parts
    ]
    return torch.complex(found[0].double(), found[1].double()) if len(found) == 2 else found[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that say what the zoo knows: images that mix, values that have not converged."""
    with warnings.catch_warnings():
        for kind in (ImagesMix, NotConverged):
            warnings.simplefilter("ignore", kind)
        yield


def norm(y: Any) -> float:
    return max(float(flat(y).norm()), 1e-12)


def scale_of(walk: Walk) -> float:
    """The size of what is summed in F x0 + r, of which the rounding is a fraction."""
    return max(float((walk.D.abs() @ walk.lin.x.flatten().abs() + walk.r.abs()).max()), 1e-12)


def largest(matrix: torch.Tensor) -> float:
    return float(matrix.abs().max()) if matrix.numel() else 0.0


def batched(walk: Walk) -> bool:
    """Whether the batch is the first dimension of the probed place and of every output,
    of more than one image that differ.
    """
    return (
        not walk.case.draws
        and walk.B > 1
        and walk.lin.x.shape[0] == walk.B
        and all(t.dim() and t.shape[0] == walk.B for t in floating(walk.y0))
    )
