"""What interpretations are put through: random weights, deleted pixels, and noise."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError
from ..linop import LinearInterpreter, Reader, prepare
from . import agreement
from .agreement import cosine, rank_correlation
from .cascade import Cascade

MEASURES = (
    "row cosine",
    "row rank",
    "discussion cosine",
    "discussion rank",
    "votes agreement",
    "votes by chance",
    "popularity overlap",
)
MAPS = ("|row * x0|", "|discussion|", "|gradient|", "|x0|", "random")  # the last three know no policy
STABILITY = ("row cosine", "gap", "changed")


@dataclass(frozen=True)
class Image:
    """What is known of an image before a policy is chosen."""

    x: torch.Tensor
    label: int
    elected: list[int]
    curves: list[torch.Tensor]  # (2, S): deletion and insertion by the maps that know no policy
    noisy: list[torch.Tensor]


@dataclass(frozen=True)
class Explained:
    """A row and a discussion (C, H, W), and the winners of the votes (H, W)."""

    row: torch.Tensor
    discussion: torch.Tensor
    winners: torch.Tensor
    labels: int

    def agreement(self, other: Explained) -> list[float]:
        """The measures of ``MEASURES``."""
        pairs = ((self.row, other.row), (self.discussion, other.discussion))
        alike = [f(a, b) for a, b in pairs for f in (cosine, rank_correlation)]
        return [*alike, *agreement.votes(self.winners, other.winners, self.labels)]


@dataclass
class Trials:
    """What every policy is put through."""

    model: nn.Module
    baseline: float
    shares: list[float]
    noise: list[float]
    cascade: Cascade

    def images(
        self, x0: torch.Tensor, labels: list[int], scores: torch.Tensor, top: int, seed: int
    ) -> list[Image]:
        """The images with their random orders and noise, which are those of every policy."""
        generator, found = torch.Generator().manual_seed(seed), []
        for x, label, score in zip(x0, labels, scores):
            first = score.argsort(descending=True)[:top].tolist()
            elected = first if label in first else [*first[:-1], label]
            known = _gradient(self.model, x, label).abs(), (x - self.baseline).abs()
            orders = [_order(m) for m in known]
            orders.append(torch.randperm(orders[0].numel(), generator=generator).to(x.device))
            noisy = []
            for level in self.noise:
                drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
                noisy.append(x + level * x.std() * drawn)
            found.append(Image(x, label, elected, [self._curves(x, label, o) for o in orders], noisy))
        return found

    def policy(self, policy: str, images: list[Image], bar: Any) -> tuple[torch.Tensor, ...]:
        """The cascade (7, D, N), deletion and insertion (5, S, N), and stability (3, L, N)."""
        network = copy.deepcopy(self.model)
        reader = prepare(network, images[0].x[None], policy=policy)  # it reads the weights at every call
        known, curves, stability = [], [], []
        for each in images:
            lin = reader(each.x[None])
            known.append(_explained(lin, each))
            own = [(known[-1].row * each.x).abs(), known[-1].discussion.abs()]
            own_curves = [self._curves(each.x, each.label, _order(m)) for m in own]
            curves.append(torch.stack([*own_curves, *each.curves], 1))
            stability.append(_stability(reader, lin, known[-1].row, each))
            bar.update(1)
        found = [[k.agreement(k) for k in known]]
        for _ in self.cascade.through(network):
            found.append([])
            for each, before in zip(images, known):
                found[-1].append(before.agreement(_explained(reader(each.x[None]), each)))
                bar.update(1)
        cascade = torch.tensor(found, dtype=torch.float64).permute(2, 0, 1)
        return cascade, *torch.stack(curves, -1), torch.stack(stability, -1)

    def _curves(self, x: torch.Tensor, label: int, order: torch.Tensor) -> torch.Tensor:
        """The scores (2, S) where the first pixels of an order are deleted, and where only they are there."""
        empty = torch.full_like(x, self.baseline)
        position = torch.empty_like(order)
        position[order] = torch.arange(len(order), device=x.device)
        count = torch.tensor([round(s * len(order)) for s in self.shares], device=x.device)
        first = (position < count[:, None]).reshape(-1, 1, *x.shape[1:])
        with torch.no_grad():
            low, high = self.model(torch.stack([empty, x]))[:, label].double()
            if low == high:
                raise FxscopeError(
                    f"faithfulness: an image has the score of its baseline, {float(low):g}, so that deletion"
                    " has no scale: give another baseline="
                )
            scores = [
                self.model(torch.where(m, a, b))[:, label]
                for m, a, b in ((first, empty, x), (first, x, empty))
            ]
        return (torch.stack(scores).double() - low) / (high - low)


def _order(values: torch.Tensor) -> torch.Tensor:
    """The pixels of a map (C, H, W), the largest sum over the channels first."""
    return values.sum(0).flatten().argsort(descending=True, stable=True)


def _stability(reader: Reader, lin: LinearInterpreter, row: torch.Tensor, image: Image) -> torch.Tensor:
    """(3, L)."""
    found = []
    for near in image.noisy:
        gap = lin.gap(near)
        found.append([cosine(row, reader(near[None]).F.row(image.label)), gap["error"], gap["changed"]])
    return torch.tensor(found, dtype=torch.float64).T


def _explained(lin: LinearInterpreter, image: Image) -> Explained:
    row = lin.F.row(image.label).detach()
    found = lin.pixel_discussion(image.elected, reading="conserving", progress=False).images.detach()
    found = found.reshape(-1, *row.shape)
    winners = found.sum(1).max(0).indices  # as in ``pixel_votes``
    return Explained(row, found[image.elected.index(image.label)], winners, len(image.elected))


def _gradient(model: nn.Module, x: torch.Tensor, label: int) -> torch.Tensor:
    given = x[None].clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(model(given)[0, label], given)[0][0]
