"""The fast gradient sign method: one step in pixel space, for several step sizes (paper, Fig. 8 and 10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError
from ..frontend.example import Example
from ..frontend.unchanged import Draw, leaves_unchanged
from ..graph.arguments import check_images, check_labels, checked
from ..results.base import VersionedResult
from ..results.provenance import of_network
from ..results.tables import Column, Table, counted

EPSILONS = (1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255)


@dataclass(frozen=True, repr=False)
class FGSM(VersionedResult):
    """Images and labels after one step of each size.

    Parameters
    ----------
    epsilons : tuple of float
        E step sizes; a pixel value is in [0, 1].
    images : torch.Tensor
        (E, B, C, H, W), as inputs of the network.
    labels : torch.Tensor
        (E, B), the labels after the step.
    before : torch.Tensor
        (B,), the labels before the step.
    """

    epsilons: tuple[float, ...]
    images: torch.Tensor
    labels: torch.Tensor
    before: torch.Tensor

    @property
    def success(self) -> torch.Tensor:
        """(E,), the share of the images whose label changed."""
        return (self.labels != self.before).double().mean(1)

    @property
    def flipped_at(self) -> list[float]:
        """The smallest step size that changes the label of each image; infinity if no step does."""
        changed = self.labels != self.before
        return [
            min((e for e, c in zip(self.epsilons, changed[:, b]) if c), default=float("inf"))
            for b in range(changed.shape[1])
        ]

    def numbers(self) -> dict[str, Any]:
        """Step sizes, success and labels."""
        return {
            "epsilons": list(self.epsilons),
            "success": self.success,
            "before": self.before,
            "labels": self.labels,
            "flipped_at": self.flipped_at,
        }

    def _said(self) -> Iterable[str]:
        each = (f"{255 * e:g}/255: {float(s):.0%}" for e, s in zip(self.epsilons, self.success))
        return [counted(len(self.before), "image"), "labels that change", *each]

    def _table(self) -> Table:
        columns = (Column("step", "1/255", ".1f"), Column("labels that change", form=".0%"))
        rows = [(255 * e, float(s)) for e, s in zip(self.epsilons, self.success)]
        return Table(columns, rows, counted(len(self.before), "image"))


@checked
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
        (B,), the labels whose loss the step increases. The default is the labels that the network gives.
    epsilons : sequence of float
        Step sizes; a pixel value is in [0, 1].
    mean, std : float or sequence of float
        The normalisation of the network: one number, or one for each channel.

    Returns
    -------
    FGSM
        The images and labels after each step.

    Raises
    ------
    FxscopeError
        If x0 * std + mean is not in [0, 1].

    References
    ----------
    Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples" (2015). The paper
    iterates this step until the label flips (Fig. 8 and 10); its epsilon is not known.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> found = fgsm(model, torch.rand(2, 1, 8, 8))
    >>> tuple(found.images.shape), tuple(found.labels.shape)
    ((5, 2, 1, 8, 8), (5, 2))
    """
    check_images("fgsm: x0", x0)
    if not bool(torch.as_tensor(std).all()):
        raise ValueError(f"fgsm: std divides the pixels, and so is not 0; got {std}")
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
        scores = Example((x,)).call(model)
        before = scores.argmax(1)
        chosen = before if labels is None else _given(labels, scores)
        step = (
            torch.autograd.grad(torch.nn.functional.cross_entropy(scores, chosen, reduction="sum"), x)[
                0
            ].sign()
            * std.sign()
        )
    with torch.no_grad():
        images = torch.stack([((pixels + e * step).clamp(0, 1) - mean) / std for e in epsilons])
        after = torch.stack([_labels(model, i, draw) for i in images])
    about = of_network(model, None, x0)
    return FGSM(tuple(float(e) for e in epsilons), images, after, before, _provenance=about)


def _given(labels: Any, scores: torch.Tensor) -> torch.Tensor:
    return check_labels("fgsm", labels, len(scores), scores.shape[1]).to(scores.device)


def _labels(model: nn.Module, x: torch.Tensor, draw: Draw) -> torch.Tensor:
    """The labels with the largest scores, under the same random draw at each call."""
    with draw.again():
        return model(x).argmax(1)
