"""Verification can fail.

Mistakes put into twins, rules and emission are caught, each by the law that is there for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.emit import backward, forward, tagging, transposed
from fxscope.linop import memory
from fxscope.passes import attempts, example_runs
from fxscope.rules import product
from fxscope.testing import randomize
from fxscope.twins import (
    Average,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Gate,
    Mask,
    Offset,
    Pad,
    Select,
    TangentProduct,
    linear,
    norms,
)
from fxscope.twins.dims import ADJOINTS


class Net(nn.Module):
    """A network (B, 2, 8, 8) -> (B, 3, 4, 4).

    Strided and padded convolution, batch norm, ReLU, overlapping max-pool, concatenation.
    """

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = (
            nn.Conv2d(2, 3, 3, stride=2, padding=1),
            nn.BatchNorm2d(3),
            nn.Conv2d(6, 3, 3, padding=1),
        )

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x)))
        return self.last(torch.cat([F.max_pool2d(y, 3, 1, 1), y], 1))


class Smooth(nn.Module):
    """Units with an intercept, a constant operand, an uneven padding."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.register_buffer("shift", torch.linspace(0.5, 1, 8))

    def forward(self, x):
        return F.softplus(self.conv(F.pad(x + self.shift, (1, 2, 0, 1))))


class Product(nn.Module):
    """A product that neither factor gates, of a transposed value."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

    def forward(self, x):
        return self.a(x) * self.b(x).permute(0, 1, 3, 2)


class Tokens(nn.Module):
    """A normalisation whose mean stays linear under policy "detach", and a linear layer."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.out(self.norm(x))


class Leaky(nn.Module):
    """A unit with an argument that a graph could lose."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return F.leaky_relu(self.conv(x), 0.1)


@dataclass(frozen=True)
class Mutant:
    """A network, a mistake, and the law that must tell it."""

    network: type
    law: str
    inject: Callable[[pytest.MonkeyPatch], None]
    policy: str = "freeze"
    batch: int = 2
    thorough: bool = False


def replaced(owner: Any, name: str, change: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """``owner.name`` becomes ``change(original)``."""
    return lambda patch: patch.setattr(owner, name, change(getattr(owner, name)))


def behind(function: Callable) -> Callable:
    """The original, and a function of its result."""
    return lambda original: lambda *args, **kwargs: function(original(*args, **kwargs))


def by(function: Callable) -> Callable:
    """Another function in the original's place."""
    return lambda original: function


def permuted(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(ADJOINTS, torch.permute, lambda k, y, x, dims: y)


def overwriting(self, k, y, x):
    index, zeros = self._spread(k), k.zeros(y, x).flatten(-self.dims)
    return k.reshape(zeros.scatter(-1, index, self.flat(y)), x)


def swapped_parts(original: Callable) -> Callable:
    return lambda self, k, y, *xs: original(self, k, y, *xs)[::-1]


def mean_of_all_probes(self, k, x):
    y = (x - x.mean((0, *self.dims), keepdim=True)) * self.factor
    return y if self.offset is None else y + self.offset


def batch_statistics(self, k, x):
    return k.split(
        F.batch_norm(
            k.merge(x), None, None, self.weight, None if k.linear else self.bias, True, 0.0, self.eps
        )
    )


def batch_major(y, rank, stacked):
    return y if stacked or rank == 0 else y.transpose(0, 1).flatten(0, 1)


def one_sided(self, k, a1, b1):
    """2 a1 b0 - a0 b0: right at x1 = x0, linear, with a transpose of its own, and not the derivative."""
    y = a1 * self.b * 2
    return y if self.offset is None else y - self.offset


def one_sided_back(self, k, y, a, b):
    return y * self.b * 2, y * 0.0


def tangent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TangentProduct, "apply", one_sided)
    patch.setattr(TangentProduct, "adjoint", one_sided_back)


def growing(patch: pytest.MonkeyPatch) -> None:
    """A factor that is 1 at the example's size alone."""
    apply, adjoint = Conv.apply, Conv.adjoint
    patch.setattr(Conv, "apply", lambda self, k, x: apply(self, k, x) * (x.size(-1) / 8))
    patch.setattr(Conv, "adjoint", lambda self, k, y, x: adjoint(self, k, y, x) * (x.size(x.rank - 1) / 8))


def sized(original: Callable) -> Callable:
    """The gate is chosen by the number of images of the example."""

    def which(facts, whole):
        value = whole(facts).factors[0].value.meta.get("val")
        return None if value is None else int(value.shape[0] == 1)

    return which


def known(original: Callable) -> Callable:
    """The gate is chosen where an example was given."""
    return lambda facts, whole: 0 if "val" in whole(facts).factors[0].value.meta else None


def resloped(gm):
    """A graph in which LeakyReLU has lost its slope."""
    for node in gm.graph.nodes:
        if "leaky_relu" in str(node.target) or node.target is F.leaky_relu:
            node.args, node.kwargs = (node.args[0], 0.2), {}
    return gm


def untold(patch: pytest.MonkeyPatch) -> None:
    """The same with the check of the trace switched off."""
    patch.setattr(example_runs, "close", lambda *args: True)
    patch.setattr(attempts, "canonicalize", behind(resloped)(attempts.canonicalize))


def undeclared(original: Callable) -> Callable:
    def leave(self, *exc):
        original(self, *exc)
        for node in self.graph.nodes:
            if node.meta.get("fxscope") is not None and node.meta["fxscope"].twin == "mask":
                node.meta["fxscope"] = node.meta["fxscope"].but(freezes={})

    return leave


def doubled(form: str) -> Callable:
    """One form gives twice its output."""

    def change(original: Callable) -> Callable:
        def output(self, node):
            y = original(self, node)
            return (torch.fx.Proxy(y, self.tracer) * 2).node if self.form == form else y

        return output

    return change


def shifted_seed(original: Callable) -> Callable:
    def seeds(self):
        found, count = original(self)
        return {value: y.roll(1, -1) for value, y in found.items()}, count

    return seeds


def forgetful(original: Callable) -> Callable:
    def run(self, seeds):
        found = original(self, seeds)
        del self.constants[:1]
        return found

    return run


def reversed_bits(original: Callable) -> Callable:
    def unpack(self):
        return original(self).flatten().flip(0).view(self.shape)

    return unpack


def other_images(original: Callable) -> Callable:
    """The states of a reading are those of other images.

    This is what a state would be whose memory was written over.
    """
    return lambda self: tuple(s.flip(0) if s.dim() > 3 else s for s in original(self))


def truncated(y):
    return y.to(torch.float32).to(torch.float64)


MUTANTS = {
    "the adjoint of a convolution is one place off": Mutant(
        Net, "law 5", replaced(linear, "transposed_convolution", behind(lambda y: y.roll(1, -1)))
    ),
    "a convolution's bias is no contribution": Mutant(
        Net, "law 8", replaced(Conv, "constant", by(lambda self, k, x: None))
    ),
    "a convolution keeps its bias in F": Mutant(
        Net, "law 3", replaced(Conv, "homogeneous", by(lambda self: self))
    ),
    "a mask keeps the wrong side": Mutant(
        Net, "law 2", replaced(Mask, "apply", by(lambda self, k, x: x * ~self.keep))
    ),
    "a mask is decided by the probe": Mutant(
        Net, "law 3", replaced(Mask, "apply", by(lambda self, k, x: x * (x > 0)))
    ),
    "the adjoint of a mask has no mask": Mutant(
        Net, "law 5", replaced(Mask, "adjoint", by(lambda self, k, y, x: y))
    ),
    "windows that share a winner overwrite each other": Mutant(
        Net, "law 5", replaced(Select, "adjoint", by(overwriting))
    ),
    "the parts of a concatenation change places": Mutant(
        Net, "law 5", replaced(Concat, "adjoint", swapped_parts)
    ),
    "batch norm takes the probes' statistics": Mutant(
        Net, "law 11", replaced(BatchNorm, "apply", by(batch_statistics))
    ),
    "batch norm's shift has the wrong sign": Mutant(
        Net, "law 8", replaced(BatchNorm, "constant", behind(lambda c: -c))
    ),
    "an intercept is no contribution": Mutant(
        Smooth, "law 8", replaced(Gate, "constant", by(lambda self, k, x: None))
    ),
    "an intercept is left out of y1": Mutant(
        Smooth, "law 2", replaced(Gate, "apply", by(lambda self, k, x: x * self.factor))
    ),
    "a factor is squared": Mutant(
        Smooth, "law 2", replaced(Gate, "apply", by(lambda self, k, x: x * self.factor * self.factor))
    ),
    "a constant operand has the wrong sign": Mutant(
        Smooth, "law 2", replaced(Offset, "apply", by(lambda self, k, x: x if k.linear else x - self.value))
    ),
    "a constant operand's contribution is halved": Mutant(
        Smooth, "law 8", replaced(Offset, "constant", behind(lambda c: c * 0.5))
    ),
    "the adjoint of a padding cuts the other side": Mutant(
        Smooth, "law 5", replaced(Pad, "adjoint", by(lambda self, k, y, x: F.pad(y, [-2, -1, -1, 0])))
    ),
    "a product counts both readings in full": Mutant(
        Product, "law 2", replaced(Average, "apply", by(lambda self, k, a, b: a * self.b + b * self.a))
    ),
    "so does its adjoint": Mutant(
        Product, "law 5", replaced(Average, "adjoint", by(lambda self, k, y, a, b: (y * self.b, y * self.a)))
    ),
    "the adjoint of a permutation is none": Mutant(Product, "law 5", permuted),
    "a tangent has one side": Mutant(Product, "law 6", tangent, policy="taylor"),
    "a mean is taken over all probes": Mutant(
        Tokens, "law 11", replaced(norms.Centred, "apply", by(mean_of_all_probes)), policy="detach"
    ),
    "a linear layer rounds to single precision": Mutant(
        Tokens, "law 3", replaced(Dense, "apply", behind(truncated))
    ),
    "a linear layer transposes with another weight": Mutant(
        Tokens, "law 5", replaced(Dense, "adjoint", behind(lambda y: y * 1.0001))
    ),
    "probes leave image after image": Mutant(
        Net, "law 11", replaced(forward, "probe_major", by(batch_major))
    ),
    "r is doubled": Mutant(Net, "law 4", replaced(forward._Forward, "_probe_output", doubled("residual"))),
    "rows are one place off": Mutant(Net, "law 8 row", replaced(transposed._Row, "_seeds", shifted_seed)),
    "the first constant is skipped": Mutant(Net, "law 8", replaced(backward.Reversal, "run", forgetful)),
    "an edge between the branches is not declared": Mutant(
        Net, "law 9", replaced(tagging.Tagging, "__exit__", undeclared)
    ),
    "an argument of the original is lost": Mutant(Leaky, "law 1", untold),
    "bits are unpacked in another order": Mutant(
        Net, "law 13 memory", replaced(memory.Packed, "unpack", reversed_bits)
    ),
    "a reading replays other images": Mutant(
        Net, "law 13 memory", replaced(memory.Kept, "get", other_images)
    ),
    "replay is doubled": Mutant(
        Tokens, "law 13 form", replaced(forward._Forward, "_probe_output", doubled("replay"))
    ),
    "the gate depends on the number of images": Mutant(
        Product, "law 13 batch", replaced(product, "which_is_gate", sized), batch=1
    ),
    "the gate depends on whether there is an example": Mutant(
        Product, "law 13 example", replaced(product, "which_is_gate", known)
    ),
    "a twin depends on the size": Mutant(Leaky, "law 13 size", growing),
    "one frontend loses an argument": Mutant(
        Leaky, "law 13 frontend", replaced(attempts, "_exported", behind(resloped)), thorough=True
    ),
}
SHAPES = {Tokens: (3, 8)}


def report(kind: type, policy: str = "freeze", batch: int = 2, thorough: bool = False) -> Any:
    x0 = torch.randn(
        batch, *SHAPES.get(kind, (2, 8, 8)), generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    model = randomize(kind().double(), x0).eval()
    return fxscope.verify(model, x0, policy=policy, thorough=thorough)


@pytest.mark.turns(5)
@pytest.mark.parametrize("kind", [Net, Smooth, Product, Tokens, Leaky])
@pytest.mark.parametrize(
    "policy", ["freeze", *(pytest.param(p, marks=pytest.mark.full) for p in ("detach", "taylor"))]
)
def test_without_a_mistake_all_laws_hold(kind, policy):
    for batch in (1, 2):
        found = report(kind, policy, batch, thorough=policy == "freeze")
        assert found.ok, found


@pytest.mark.turns(2)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_caught_by_its_law(name, monkeypatch):
    mutant = MUTANTS[name]
    monkeypatch.delenv("FXSCOPE_CHECK_IR", raising=False)  # the laws alone must find it, as for a user
    mutant.inject(monkeypatch)
    found = report(mutant.network, mutant.policy, mutant.batch, mutant.thorough)
    assert not found.ok and mutant.law in found.broken, found
