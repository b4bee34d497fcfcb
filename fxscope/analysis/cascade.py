"""Weights made anew, module after module from the output to the input (Adebayo et al., 2018)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError


class Cascade:
    """The steps in which the modules of a network get random weights.

    Parameters
    ----------
    model : torch.nn.Module
        It is not changed.
    x : torch.Tensor
        An input, on which the order of the modules is seen.
    depths : int
        The most steps; they take the same number of modules each, as far as that is possible.
    seed : int
        Of the random weights.

    Attributes
    ----------
    names : tuple of str
        The last module of every step, after "none".
    """

    def __init__(self, model: nn.Module, x: torch.Tensor, depths: int, seed: int):
        self._order, self._seed = order(copy.deepcopy(model), x)[::-1], seed  # from the output
        if not self._order:
            raise FxscopeError("faithfulness: no module with weights runs, so there is nothing to randomise")
        count = min(depths, len(self._order))
        self._ends = [round((i + 1) * len(self._order) / count) for i in range(count)]
        self.names = ("none", *(self._order[e - 1] or "the network" for e in self._ends))

    def through(self, network: nn.Module) -> Iterator[None]:
        """Randomise a copy of the model where it is; it pauses after every step."""
        start = 0
        for end in self._ends:
            for at in range(start, end):
                randomise(network.get_submodule(self._order[at]), self._seed + at)
            start = end
            yield


def order(model: nn.Module, x: torch.Tensor) -> list[str]:
    """The names of the modules with parameters of their own, in the order of their last call."""
    called: dict[str, None] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            called.pop(name, None)
            called[name] = None

        return hook

    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(note(name))
    with torch.no_grad():
        model(x)
    return list(called)


def randomise(module: nn.Module, seed: int) -> None:
    """As the module is made anew; if it cannot say how, its parameters are normal, of their own size."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            return
        for parameter in module.parameters(recurse=False):
            parameter.copy_(torch.randn_like(parameter) * parameter.square().mean().sqrt())
