"""Pixel votes: every pixel votes for the label to which it contributes most (paper, Fig. 3 and 9)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..errors import FxscopeError
from ..graph.arguments import checked
from ..linop.interpreter import LinearInterpreter
from ..results.base import VersionedResult
from ..results.provenance import of_network
from ..results.registry import provides
from ..results.tables import Column, Table, said
from .discussion import CONDITION, Discussion, corrected, label_of


@dataclass(frozen=True, repr=False)
class PixelVotes(VersionedResult):
    """For each pixel the label to whose score it contributes most.

    Parameters
    ----------
    labels : tuple
        The L labels that the pixels choose from.
    reading : str
        The variant of the pixel discussion.
    winners : torch.Tensor
        (H, W), or (B, H, W) for B images: positions in ``labels``.
    highest : torch.Tensor
        (H, W), or (B, H, W): the contributions to the winning labels, in units of the scores.
    scores : torch.Tensor
        (L,), or (L, B).
    error : float
        The largest |sum of a discussion - score|, divided by the largest |score|.
    added : float
        What was added so that the discussions sum to the scores: the sum of its magnitudes, divided by that
        of the layers' contributions.
    """

    labels: tuple
    reading: str
    winners: torch.Tensor
    highest: torch.Tensor
    scores: torch.Tensor
    error: float
    added: float
    _photograph: Any = field(default=None, repr=False, compare=False)

    @property
    def popularity(self) -> dict[Any, float]:
        """{label: share of the pixels that it wins}, in descending order."""
        counts = (
            torch.bincount(self.winners.flatten(), minlength=len(self.labels)).double() / self.winners.numel()
        )
        return {
            self.labels[i]: float(counts[i]) for i in counts.argsort(descending=True, stable=True).tolist()
        }

    @property
    def entropy(self) -> float:
        """The entropy of the popularity, in bits: 0 if all pixels agree, log2 L for L equal shares."""
        shares = torch.tensor(list(self.popularity.values()), dtype=torch.float64)
        return float(-(shares * shares.clamp_min(1e-300).log2()).sum())

    def of(self, image: int) -> PixelVotes:
        """The votes of one image of a batch; ``error`` and ``added`` are still those of the whole batch.

        Parameters
        ----------
        image : int
            Position in the batch.

        Raises
        ------
        FxscopeError
            If the votes are those of one image.
        """
        if self.winners.dim() != 3:
            raise FxscopeError("these votes are those of one image already; use them without .of()")
        kept = self._photograph[image : image + 1]
        return replace(
            self,
            winners=self.winners[image],
            highest=self.highest[image],
            scores=self.scores[:, image],
            _photograph=kept,
        )

    def mask(self, label: Any) -> torch.Tensor:
        """(H, W), or (B, H, W), True at the pixels that a label wins.

        Parameters
        ----------
        label : Any
            One of ``labels``.

        Raises
        ------
        FxscopeError
            If the label is not one of them.
        """
        if label not in self.labels:
            raise FxscopeError(f"label {label!r} is not in the election of {len(self.labels)} labels")
        return self.winners == self.labels.index(label)

    def masked(self, photograph: torch.Tensor, label: Any) -> torch.Tensor:
        """The photograph (C, H, W) with 0 at the pixels that the label does not win."""
        return photograph * self.mask(label)

    def numbers(self) -> dict[str, Any]:
        """Error, corrections, entropy and the ten most popular labels."""
        first = dict(list(self.popularity.items())[:10])
        return {
            "labels": len(self.labels),
            "reading": self.reading,
            "error": self.error,
            "added": self.added,
            "entropy": self.entropy,
            "popularity": first,
        }

    def _said(self) -> Iterable[str]:
        label, share = next(iter(self.popularity.items()))
        return [
            f"{len(self.labels)} labels",
            f"{self.reading}",
            f"{label} wins {share:.1%} of {said(self.winners).split(' int')[0]} pixels",
            f"entropy {self.entropy:.2f} bits",
            f"sums to {self.error:.0e}",
        ]

    def _table(self, names: Sequence[str] | None = None) -> Table:
        first = list(self.popularity.items())[:10]
        scores = [self.scores[self.labels.index(label)].double().mean() for label, _ in first]
        columns = ("winner", Column("votes", "of the pixels", ".2%"), Column("chance", form=".2%"), "score")
        rows = [(label_of(k, names), v, 1 / len(self.labels), s) for (k, v), s in zip(first, scores)]
        most = math.log2(len(self.labels))
        notes = (f"entropy {self.entropy:.2f} of {most:.2f} bits", corrected(self))
        return Table(columns, rows, f"the {len(first)} most popular of {len(self.labels)} labels", notes)


@checked
@provides(LinearInterpreter, "pixel_votes")
def pixel_votes(
    lin: LinearInterpreter,
    labels: Any = None,
    reading: str = "conserving",
    condition: float = CONDITION,
    progress: bool = True,
) -> PixelVotes:
    """For each pixel the label whose pixel discussion is largest there (paper, Fig. 3 and 9).

    Pixel discussions are summed over the channels before they are compared.

    The labels run in chunks, of which only the largest values are kept, so memory does not grow with their
    number. The first label wins a tie. What a label costs is
    said at ``pixel_discussion``.

    Parameters
    ----------
    lin : LinearInterpreter
        The interpreter of a classifier at images (C, H, W).
    labels : list, optional
        The labels that the pixels choose from. The default is all labels.
    reading : {"conserving", "weighted", "per-layer", "literal"}
        The variant of eq. 18, as in ``pixel_discussion``. The default divides by no sum that may cancel.
    condition, progress
        As in ``pixel_discussion``.

    Returns
    -------
    PixelVotes
        The winning labels (H, W), or (B, H, W) for B images, and their contributions.

    Raises
    ------
    FxscopeError
        If the input is no image, or the output is no vector of scores and ``labels`` is not given.

    References
    ----------
    The paper, section 4, Fig. 3 and 9.
    """
    shape = lin.F.outputs.shape
    if labels is None and len(shape) != 1 + lin.F.outputs.batched:
        raise FxscopeError(
            f"pixel votes need a vector of scores, and the output is {tuple(shape)}: pass labels=[...], a"
            " list of indices of the output"
        )
    labels = list(range(shape[-1])) if labels is None else list(labels)
    if len(lin.F.inputs.shape) != 3 + lin.F.inputs.batched:
        raise FxscopeError(f"pixel votes need an image (C, H, W) as input, got {tuple(lin.F.inputs.shape)}")
    engine = Discussion(lin, reading, condition)
    best: tuple[torch.Tensor, torch.Tensor] | None = None
    scores: list[torch.Tensor] = []
    error, first = 0.0, 0
    for part, images, score in engine.chunks(labels, progress):
        error = max(error, float((images.sum(list(range(score.dim(), images.dim()))) - score).abs().max()))
        high, at = images.sum(-3).max(0)
        best = (high, at + first) if best is None else _better(*best, high, at + first)
        scores.append(score)
        first += len(part)
    if best is None:
        raise FxscopeError("pixel votes need at least one label, got labels=[]")
    score = torch.cat(scores)
    highest, winners = best
    relative = error / (float(score.abs().max()) or 1.0)
    about: dict[str, Any] = {"_photograph": lin.x0, "_provenance": of_network(lin.model, lin.policy, lin.x0)}
    return PixelVotes(tuple(labels), reading, winners, highest, score, relative, engine.added, **about)


def _better(
    highest: torch.Tensor, winners: torch.Tensor, high: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The larger contribution at each pixel, and its label; the first label wins a tie."""
    better = high > highest
    return torch.where(better, high, highest), torch.where(better, labels, winners)
