"""Exact arithmetic for models that ask for float32 (the upcast of an RMS norm, positions in float32)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Widened(TorchFunctionMode):
    """A context in which every request for float32 gives float64, so that the laws hold to 1e-9.

    The default dtype is float64 too. The model is not edited. Such casts are meant to widen half precision;
    in float64 they would round, and a table that a forward makes (positions, grids) would not match the
    weights.
    """

    def __enter__(self) -> Widened:
        self.before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        torch.set_default_dtype(self.before)

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.Tensor.float:
            return args[0].double()
        # a view reads the same bits as another dtype; a meta tensor stands for one that torch.export has seen
        if function is not torch.Tensor.view and str(kwargs.get("device")) != "meta":
            args = tuple(_wide(a) for a in args)
            kwargs = {name: _wide(value) for name, value in kwargs.items()}
        return function(*args, **kwargs)


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
