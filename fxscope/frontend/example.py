"""Example inputs: the arguments of a model's forward, by position and by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import ModelFails, said
from ..graph.arguments import check_arguments, check_module, shown


@dataclass(frozen=True)
class Example:
    """One call of a model: its positional and its keyword arguments.

    Keyword arguments are in the order of forward's signature.
    """

    args: tuple = ()
    kwargs: dict = field(default_factory=dict)

    @classmethod
    def of(cls, value: tuple | list | dict | Example | None, model: nn.Module) -> Example | None:
        """Make an example from what ``example_inputs=`` takes.

        This is a tuple of positional arguments, or a dict of arguments by name.
        """
        check_module(model)
        if value is None:
            return None
        args: Any = value
        kwargs: dict[str, Any] = {}
        if isinstance(value, Example):
            args, kwargs = value.args, value.kwargs
        elif isinstance(value, dict):
            args, kwargs = (), value
        if isinstance(args, torch.Tensor):
            raise TypeError(
                "example_inputs is a tuple of the model's inputs (or a dict of them by name), got a tensor;"
                " write (x0,)"
            )
        if not isinstance(args, (tuple, list)):
            raise TypeError(
                "example_inputs is a tuple of the model's inputs (or a dict of them by name), got"
                f" {shown(args)}"
            )
        check_arguments(model, args, kwargs)
        names = list(inspect.signature(model.forward).parameters)
        order = sorted(kwargs, key=lambda n: names.index(n) if n in names else len(names))
        return cls(tuple(args), {n: kwargs[n] for n in order})

    def with_tensors(self, tensors: Iterable[torch.Tensor]) -> Example:
        """The same call with other tensors, in the order of ``tensors()``."""
        leaves, spec = pytree.tree_flatten((self.args, self.kwargs))
        rest = iter(tensors)
        return Example(
            *pytree.tree_unflatten([next(rest) if isinstance(v, torch.Tensor) else v for v in leaves], spec)
        )

    def clone(self) -> Example:
        """The same call on copies of its tensors."""
        return Example(
            *pytree.tree_map(
                lambda v: v.clone() if isinstance(v, torch.Tensor) else v, (self.args, self.kwargs)
            )
        )

    def call(self, model: nn.Module) -> Any:
        """The model's output; it may write into its inputs, which are copies."""
        copy = self.clone()
        try:
            return model(*copy.args, **copy.kwargs)
        except Exception as error:
            raise ModelFails(self._failed(model, error)) from error

    def _failed(self, model: nn.Module, error: Exception) -> str:
        """What the model was given, and what it said."""
        weight = next(iter(model.parameters()), None)
        held = "" if weight is None else f"; its weights are {weight.dtype} on {weight.device}"
        given = ", ".join(shown(v) for v in (*self.args, *self.kwargs.values()))
        return (
            f"{type(model).__name__} itself does not run on these arguments: {said(error)}."
            f" It was given {given}{held}; call model(...) with what it takes, and pass the same"
        )

    def given(self, model: nn.Module) -> dict[str, Any]:
        """{argument of forward: value}."""
        names = list(inspect.signature(model.forward).parameters)
        return {**dict(zip(names, self.args)), **self.kwargs}

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The tensors of the call in the order in which a graph takes them."""
        return tuple(v for v in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(v, torch.Tensor))
