"""One case of the zoo: how a module is built, what it takes, and what may be expected of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Case:
    """A module with one habit of real code.

    build        gives the module, in float64; its parameters are drawn under a fixed seed
    inputs       generator -> the positional arguments of one call, the batch B in front
    refused      the error that every entry point raises; None where ``interpret`` must be right
                 (other entry points may refuse by an ``FxscopeError``)
    train        the module is walked in train mode
    draws        the module draws random numbers: both sides of a comparison run under one seed
    independent  the images of a batch do not depend on each other
    free         another batch size may be given to a graph made without an example
    sizes        other spatial sizes at which F must be the same network's F (shapes of the first input)
    derivative   autograd of the module gives its derivative; the others are walked by ``verify``
                 alone (tests/test_check_rule.py)
    place        (model, arguments) -> (the model as a function of the probed value alone, that value),
                 where the probe does not enter at the first input
    why          what was wrong once, or why it is refused
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], tuple]
    refused: type[Exception] | None = None
    train: bool = False
    draws: bool = False
    independent: bool = True
    free: bool = True
    sizes: tuple[tuple[int, ...], ...] = ()
    derivative: bool = True
    place: Callable[[nn.Module, tuple], tuple[Callable, torch.Tensor]] | None = None
    why: str = ""

    def resized(self, args: tuple, shape: tuple[int, ...]) -> tuple:
        """The arguments of another call, with a first input of this shape."""
        generator = torch.Generator().manual_seed(1)
        return (torch.randn(shape, generator=generator, dtype=torch.float64).to(args[0].dtype), *args[1:])


CASES: list[Case] = []


def case(
    *shapes: tuple[int, ...],
    inputs: Callable[[torch.Generator], tuple] | None = None,
    seed: int = 0,
    **fields: Any,
) -> Callable[[type], type]:
    """Register a module class.

    ``@case((2, 3, 8, 8))`` for float64 normal inputs of these shapes, or ``inputs=`` for others. Options as
    in ``Case``.
    """

    def draw(generator: torch.Generator) -> tuple:
        return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)

    def register(kind: type) -> type:
        def build() -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return kind().double().train(fields.get("train", False))

        CASES.append(
            Case(f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}", build, inputs or draw, **fields)
        )
        return kind

    return register
