"""The fast gradient sign method: one clean step in pixel space, its size swept (paper, Fig. 8 and 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError
from ..frontend.unchanged import Draw, leaves_unchanged
from ..results.base import VersionedResult

EPSILONS = (1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255)


@dataclass(frozen=True, repr=False)
class FGSM(VersionedResult):
    """Images after one step of every size.

    Parameters
    ----------
    epsilons : tuple of float
        E step sizes, in units of pixels in [0, 1].
    images : torch.Tensor
        (E, B, C, H, W), as the network takes them.
    labels : torch.Tensor
        (E, B), the labels after the step.
    before : torch.Tensor
        (B,), the labels without it.
    """

    epsilons: tuple[float, ...]
    images: torch.Tensor
    labels: torch.Tensor
    before: torch.Tensor

    @property
    def success(self) -> torch.Tensor:
        """(E,) share of the images whose label changed."""
        return (self.labels != self.before).double().mean(1)

    @property
    def flipped_at(self) -> list[float]:
        """The smallest step that changes the label of each image; infinity if none does."""
        changed = self.labels != self.before
        return [
            min((e for e, c in zip(self.epsilons, changed[:, b]) if c), default=float("inf"))
            for b in range(changed.shape[1])
        ]

    def numbers(self) -> dict[str, Any]:
        """Steps, success and labels."""
        return {
            "epsilons": list(self.epsilons),
            "success": self.success,
            "before": self.before,
            "labels": self.labels,
            "flipped_at": self.flipped_at,
        }


@leaves_unchanged
def fgsm(
    model: nn.Module,
    x0: torch.Tensor,
    labels: Any = None,
    epsilons: Sequence[float] = EPSILONS,
    mean: Any = 0.0,
    std: Any = 1.0,
) -> FGSM:
    """One step of the fast gradient sign method in pixel space, for every step size.

    ::

        x0 = (pixels - mean) / std
        pixels' = clip(pixels + epsilon sign(d loss / d pixels)),    loss = cross entropy of the label

    Parameters
    ----------
    model : torch.nn.Module
        A classifier, (B, C, H, W) to (B, labels).
    x0 : torch.Tensor
        (B, C, H, W), as the network takes it.
    labels : torch.Tensor or int, optional
        (B,) the labels that the step leads away from. The default is the network's own labels.
    epsilons : sequence of float
        Step sizes in units of pixels in [0, 1].
    mean, std : float or sequence of float
        The network's normalisation, one number or one a channel.

    Returns
    -------
    FGSM
        The images and labels after each step.

    Raises
    ------
    FxscopeError
        If the pixels that ``mean`` and ``std`` give are outside of [0, 1].

    References
    ----------
    Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples" (2015). The paper
    iterates this step until the label flips (Fig. 8 and 10); its epsilon is not known.
    """
    mean, std = (torch.as_tensor(v, dtype=x0.dtype, device=x0.device).reshape(-1, 1, 1) for v in (mean, std))
    pixels = x0 * std + mean
    if float(pixels.min()) < -1e-4 or float(pixels.max()) > 1 + 1e-4:
        raise FxscopeError(
            f"fgsm: with this mean and std the pixels run from {float(pixels.min()):.3g} to"
            f" {float(pixels.max()):.3g}; they must lie in [0, 1]"
        )
    x = x0.detach().clone().requires_grad_()
    draw = Draw((x0, *model.parameters()))
    with torch.enable_grad(), draw.again():
        scores = model(x)
        before = scores.argmax(1)
        chosen = before if labels is None else torch.as_tensor(labels, device=x0.device).expand(len(x0))
        step = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, chosen, reduction="sum"), x)[
            0
        ].sign()
    with torch.no_grad():
        images = torch.stack([((pixels + e * step).clamp(0, 1) - mean) / std for e in epsilons])
        after = torch.stack([_labels(model, i, draw) for i in images])
    return FGSM(tuple(float(e) for e in epsilons), images, after, before)


def _labels(model: nn.Module, x: torch.Tensor, draw: Draw) -> torch.Tensor:
    """The labels of the largest scores, with the same random numbers at each call."""
    with draw.again():
        return model(x).argmax(1)
