"""Where zero lies: the input from which a share of the residual is counted.

F x0 depends on what the input x = 0 means, and so does the residual r. About another input z the same score
is ``y0 = F (x0 - z) + (r + F z)``, exactly, and the share of the residual is that of ``r + F z``.
"""

from __future__ import annotations

import hashlib
import math
import numbers
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ShapeError, WrongArgument
from ..graph.arguments import check_tensor, shown

OWN = "x = 0"
LEVELS = {"black": 0.0, "grey": 0.5}  # of pixels in [0, 1]
ZEROS = ("mean", *LEVELS)  # by name, besides the network's own


@dataclass(frozen=True)
class Zero:
    """An input z, one for all images or one for each.

    Parameters
    ----------
    name : str
        What a record says of it.
    value : Any
        A number or a tensor; None for the mean colour of each image.
    """

    name: str = OWN
    value: Any = 0.0

    @classmethod
    def of(cls, caller: str, zero: Any, mean: Any = None, std: Any = None) -> Zero:
        """The zero of an argument; raises ``WrongArgument`` if it is none.

        Pixels become the input by ``(pixels - mean) / std``, which only "black" and "grey" need.
        """
        if not (isinstance(zero, str) and zero in LEVELS) and (mean is not None or std is not None):
            raise WrongArgument(
                f"{caller}: mean and std say what zero='black' and zero='grey' are, and zero is"
                f" {shown(zero)}: leave them out"
            )
        if zero is None:
            return cls()
        if isinstance(zero, str):
            return cls._named(caller, zero, mean, std)
        if isinstance(zero, torch.Tensor):
            return cls._given(caller, zero)
        if not isinstance(zero, numbers.Real) or isinstance(zero, bool) or not math.isfinite(zero):
            raise WrongArgument(
                f"{caller}: zero is {', '.join(map(repr, ZEROS))}, a finite number or a tensor of the shape"
                f" of an image; got {shown(zero)}"
            )
        return cls(f"x = {float(zero):g}", float(zero))

    @classmethod
    def _named(cls, caller: str, zero: str, mean: Any, std: Any) -> Zero:
        if zero not in ZEROS:
            raise WrongArgument(
                f"{caller}: zero is {', '.join(map(repr, ZEROS))}, a number or a tensor; got {zero!r}"
            )
        if zero == "mean":
            return cls("the mean colour of each image", None)
        if mean is None or std is None:
            raise WrongArgument(
                f"{caller}: zero={zero!r} is about pixels, and how they become x0 is not known: give mean="
                " and std= of x0 = (pixels - mean) / std, or the input itself as a tensor"
            )
        try:
            mean, std = (torch.as_tensor(v, dtype=torch.float64) for v in (mean, std))
        except (TypeError, ValueError, RuntimeError):
            raise WrongArgument(
                f"{caller}: mean and std are numbers, one or one for each channel; got {shown(mean)} and"
                f" {shown(std)}"
            ) from None
        value = (LEVELS[zero] - mean) / std
        if not bool(torch.isfinite(value).all()):
            raise WrongArgument(f"{caller}: mean and std are finite, and std is not 0; got {mean} and {std}")
        return cls(f"{zero} pixels, x = {_said(value)}", value.reshape(-1))

    @classmethod
    def _given(cls, caller: str, zero: torch.Tensor) -> Zero:
        check_tensor(f"{caller}: zero", zero)
        if zero.is_complex() or not bool(torch.isfinite(zero).all()):
            raise WrongArgument(f"{caller}: zero holds real, finite numbers; got {shown(zero)}")
        data = zero.detach().double().cpu().contiguous()
        digest = hashlib.sha256(data.numpy().tobytes() + repr(tuple(zero.shape)).encode()).hexdigest()
        return cls(f"a given input of shape {tuple(zero.shape)}, {digest[:8]}", zero.detach())

    @property
    def is_own(self) -> bool:
        """Whether this is x = 0, about which F x0 and r are what they are."""
        return isinstance(self.value, float) and self.value == 0

    def at(self, x0: torch.Tensor) -> torch.Tensor:
        """The zero z of every image, (B, ...); raises ``ShapeError`` if it does not fit the images."""
        if self.value is None:
            return x0.mean(list(range(2, x0.dim())) or 1, keepdim=True).expand_as(x0)
        z = torch.as_tensor(self.value, dtype=x0.dtype, device=x0.device)
        if z.dim() == 1 and x0.dim() > 2:  # one for each channel
            z = z.reshape(-1, *[1] * (x0.dim() - 2))
        each = z[0] if z.dim() == x0.dim() and z.shape[0] == 1 else z
        try:
            return each.expand(x0.shape[1:]).expand_as(x0)
        except RuntimeError:
            raise ShapeError(
                f"zero has the shape {tuple(z.shape)}, and an image the shape {tuple(x0.shape[1:])}: give a"
                " number, one for each channel, or one image"
            ) from None


def _said(value: torch.Tensor) -> str:
    return ", ".join(f"{float(v):.3g}" for v in value.reshape(-1))
