"""Exact arithmetic for models that cast to float32 by themselves (the upcast of an RMS norm, a softmax in float32)."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch.overrides import TorchFunctionMode


class Widened(TorchFunctionMode):
    """While it is entered, a float64 tensor that is cast to float32 stays float64, so that the laws can be held to 1e-9.

    The model is not edited: such casts are meant to widen half precision, and would round float64.
    """

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        wide = bool(args) and isinstance(args[0], torch.Tensor) and args[0].dtype is torch.float64
        if not wide:
            return function(*args, **kwargs)
        if function is torch.Tensor.float:
            return args[0]
        if function is torch.Tensor.to or kwargs.get("dtype") is torch.float32:
            args = tuple(torch.float64 if a is torch.float32 else a for a in args)
            kwargs = {n: torch.float64 if v is torch.float32 else v for n, v in kwargs.items()}
        return function(*args, **kwargs)
