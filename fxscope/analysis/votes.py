"""Pixel votes: every pixel votes for the label to which it contributes most (paper, Fig. 3 and 9)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..errors import FxscopeError
from ..linop.interpreter import LinearInterpreter
from ..results.base import Result
from ..results.registry import provides
from .discussion import CONDITION, Discussion


@dataclass(frozen=True)
class PixelVotes(Result):
    """The winner of every pixel.

    labels   the L labels that stood for election;  winners  (H, W) positions in ``labels`` (with B images (B, H, W))
    highest  (H, W) the winning contributions;  scores  (L,) or (L, B);  error  largest |sum of a discussion - score| / max |score|
    """

    labels: tuple
    reading: str
    winners: torch.Tensor
    highest: torch.Tensor
    scores: torch.Tensor
    error: float
    _photograph: Any = field(default=None, repr=False, compare=False)

    @property
    def popularity(self) -> dict[Any, float]:
        """{label: share of the pixels that it wins}, the most popular first."""
        counts = (
            torch.bincount(self.winners.flatten(), minlength=len(self.labels)).double() / self.winners.numel()
        )
        return {
            self.labels[i]: float(counts[i]) for i in counts.argsort(descending=True, stable=True).tolist()
        }

    @property
    def entropy(self) -> float:
        """Of the popularity, in bits: 0 where all pixels agree, log2 L where they are spread over all labels."""
        shares = torch.tensor(list(self.popularity.values()), dtype=torch.float64)
        return float(-(shares * shares.clamp_min(1e-300).log2()).sum())

    def of(self, image: int) -> PixelVotes:
        """The votes on one image of a batch; ``error`` stays that of all."""
        if self.winners.dim() != 3:
            raise FxscopeError("these are the votes on one image")
        kept = self._photograph[image : image + 1]
        return replace(
            self,
            winners=self.winners[image],
            highest=self.highest[image],
            scores=self.scores[:, image],
            _photograph=kept,
        )

    def mask(self, label: Any) -> torch.Tensor:
        """(H, W) booleans: the pixels that a label wins."""
        if label not in self.labels:
            raise FxscopeError(f"label {label!r} did not stand for election; there are {len(self.labels)}")
        return self.winners == self.labels.index(label)

    def masked(self, photograph: torch.Tensor, label: Any) -> torch.Tensor:
        """The photograph (C, H, W) where a label wins, 0 elsewhere."""
        return photograph * self.mask(label)

    def numbers(self) -> dict[str, Any]:
        first = dict(list(self.popularity.items())[:10])
        return {
            "labels": len(self.labels),
            "reading": self.reading,
            "error": self.error,
            "entropy": self.entropy,
            "popularity": first,
        }


@provides(LinearInterpreter, "pixel_votes")
def pixel_votes(
    lin: LinearInterpreter,
    labels: Any = None,
    reading: str = "weighted",
    condition: float = CONDITION,
    progress: bool = True,
) -> PixelVotes:
    """Each pixel's vote: the label whose pixel discussion, summed over the colours, is largest there.

    labels   a list (default: all labels);  reading, condition   as in ``pixel_discussion``

    Labels run in chunks and only the best so far is kept: memory does not grow with their number. "per-layer" and "literal" cost
    a row a label, "weighted" a row and a back-projection from every layer. Ties go to the first label.
    Source: the paper, section 4 and Fig. 3.
    """
    shape = lin.F.outputs.shape
    if labels is None and len(shape) != 1 + lin.F.outputs.batched:
        raise FxscopeError(
            f"pixel votes need scores, one number a label; the output is {tuple(shape)}: give labels=[...],"
            " indices of it"
        )
    labels = list(range(shape[-1])) if labels is None else list(labels)
    if len(lin.F.inputs.shape) != 3 + lin.F.inputs.batched:
        raise FxscopeError(f"pixel votes need an image (C, H, W) as input, got {tuple(lin.F.inputs.shape)}")
    engine = Discussion(lin, reading, condition)
    best = winner = None
    scores, error, first = [], 0.0, 0
    for part, images, score in engine.chunks(labels, progress):
        error = max(error, float((images.sum(list(range(score.dim(), images.dim()))) - score).abs().max()))
        high, at = images.sum(-3).max(0)
        better = torch.ones_like(at, dtype=torch.bool) if best is None else high > best
        best = high if best is None else torch.where(better, high, best)
        winner = at + first if winner is None else torch.where(better, at + first, winner)
        scores.append(score)
        first += len(part)
    scores = torch.cat(scores)
    return PixelVotes(tuple(labels), reading, winner, best, scores, error / float(scores.abs().max()), lin.x0)
