"""Do pixel votes focus on objects? Votes of many photographs, against boxes drawn before they are seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError, ShapeError, WrongArgument
from ..graph.arguments import check_images, checked, shown
from ..linop import Reader, prepare
from ..results.base import VersionedResult
from ..results.progress import steps
from ..results.provenance import of_network
from ..results.tables import Column, Table, counted
from .votes import PixelVotes, pixel_votes

OTHERS = 10  # the most popular other labels, with which the top label is compared


@dataclass(frozen=True, repr=False)
class VotesStudy(VersionedResult):
    """Votes of N images against the boxes of their objects.

    The top label is the one of the largest score. A focus is the share of a label's votes that lies in the
    box, divided by the box's share of the picture; 1 is chance, and NaN stands for a label without a vote.

    Parameters
    ----------
    names : tuple of str
        The images.
    labels : tuple
        Their top labels.
    elected : int
        How many labels stand for election.
    reading : str
        The variant of the pixel discussion.
    chance, focus, others : torch.Tensor
        (N,), the box's share of the picture, the focus of the top label, and the mean focus of the ten most
        popular other labels.
    rank, share, entropy : torch.Tensor
        (N,), the place of the top label among the labels by their votes (1 is the most popular), its share of
        all votes, and the entropy of the votes in bits.
    added : torch.Tensor
        (N,), the corrections, relative to the layers' contributions.
    """

    names: tuple[str, ...]
    labels: tuple
    elected: int
    reading: str
    chance: torch.Tensor
    focus: torch.Tensor
    others: torch.Tensor
    rank: torch.Tensor
    share: torch.Tensor
    entropy: torch.Tensor
    added: torch.Tensor

    def numbers(self) -> dict[str, Any]:
        """Mean and spread over the images, and the numbers of each image."""
        single = {n: getattr(self, n) for n in ("chance", "focus", "others", "share", "entropy", "added")}
        means = {n: dict(zip(("mean", "std"), _moments(v))) for n, v in single.items()}
        return {
            "images": len(self.names),
            "elected": self.elected,
            "reading": self.reading,
            **means,
            "median_rank": float(self.rank.double().median()),
            "first": int((self.rank == 1).sum()),
            "without_votes": int(self.focus.isnan().sum()),
            "above_others": int((self.focus > self.others).sum()),
            "each": {
                name: {"label": label, "rank": int(self.rank[i])}
                | {k: float(v[i]) for k, v in single.items()}
                for i, (name, label) in enumerate(zip(self.names, self.labels))
            },
        }

    def _said(self) -> Iterable[str]:
        (focus, spread), (others, _) = _moments(self.focus), _moments(self.others)
        return [
            counted(len(self.names), "image"),
            f"{self.elected} labels",
            self.reading,
            f"focus {focus:.2f} ± {spread:.2f} times chance",
            f"of others {others:.2f}",
        ]

    def _table(self) -> Table:
        said = self.numbers()
        names = {
            "focus": "focus of the top label [times chance]",
            "others": f"focus of the {OTHERS} most popular others [times chance]",
            "chance": "chance [part of a picture]",
            "share": "share of the top label [of the votes]",
            "entropy": f"entropy [of {math.log2(self.elected):.2f} bits]",
            "added": "corrections [of the layers' contributions]",
        }
        rows = [(title, said[n]["mean"], said[n]["std"]) for n, title in names.items()]
        notes = (
            f"the top label is first in {said['first']}, its median rank is {said['median_rank']:g},"
            f" it has no vote in {said['without_votes']}",
        )
        made = f"{said['images']} images, {self.elected} labels, {self.reading}"
        return Table(("", Column("mean", form=".2f"), Column("std", form=".2f")), rows, made, notes)


def _moments(values: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation, with n in the denominator, of what is no NaN."""
    known = values.double()[~values.isnan()]
    if not len(known):
        return float("nan"), float("nan")
    return float(known.mean()), float(known.std(correction=0))


@checked
def votes_study(
    model: nn.Module,
    images: Iterable[Any],
    labels: Any = None,
    top: int | None = None,
    reading: str = "conserving",
    policy: Any = None,
    progress: bool = True,
) -> VotesStudy:
    """How far the pixel votes of a classifier focus on the objects of its images (paper, section 4).

    Parameters
    ----------
    model : torch.nn.Module
        A classifier, (1, C, H, W) to (1, labels).
    images : iterable of (str, torch.Tensor, torch.Tensor)
        (name, x0, box): x0 is (1, C, H, W), and the box (H, W) is True at the pixels of the object.
    labels : list, optional
        The labels that stand for election; the top label is the best of them. The default is all labels.
    top : int, optional
        So many labels with the largest scores of each image stand for election, in place of ``labels``.
    reading : {"conserving", "weighted", "per-layer", "literal"}
        The variant of eq. 18.
    policy : optional
        As in ``fxscope.interpret``.
    progress : bool
        Show a progress bar.

    Returns
    -------
    VotesStudy
        Focus, chance, entropy and ranks, with their spread over the images.

    Raises
    ------
    WrongArgument
        If ``labels`` and ``top`` are both given.
    FxscopeError
        If there is no image, or a box is empty or all of its picture.
    ShapeError
        If a box has another size than its image.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> box = torch.zeros(8, 8, dtype=torch.bool)
    >>> box[:4] = True
    >>> votes_study(model, [("one", torch.rand(1, 1, 8, 8), box)], progress=False).chance
    tensor([0.5000], dtype=torch.float64)
    """
    given = [_checked(number, each) for number, each in enumerate(images)]
    if not given:
        raise FxscopeError("votes_study needs at least one image: images is a list of (name, x0, box)")
    if labels is not None and top is not None:
        raise WrongArgument("votes_study: labels=[...] names those who stand for election, or top= does")
    readers: dict[Any, Reader] = {}
    found = []
    with steps(len(given), "votes", progress) as bar:
        for _, x0, box in given:
            kind = (x0.shape, x0.dtype, x0.device)
            if kind not in readers:
                readers[kind] = prepare(model, x0, policy=policy or "freeze")
            lin = readers[kind](x0)
            chosen = labels if top is None else lin.y0.flatten().argsort(descending=True)[:top].tolist()
            votes = pixel_votes(lin, chosen, reading, progress=False)
            elected = len(votes.labels)
            found.append(_measured(votes, box))
            bar.update(1)
    tops, *columns = zip(*found)
    tensors = (torch.tensor(c, dtype=torch.float64) for c in columns)
    names = tuple(name for name, _, _ in given)
    about = of_network(model, policy or "freeze", *(x0 for _, x0, _ in given))
    return VotesStudy(names, tops, elected, reading, *tensors, _provenance=about)


def _checked(number: int, each: Any) -> tuple[str, torch.Tensor, torch.Tensor]:
    """(name, x0, box) of one image."""
    if not isinstance(each, (tuple, list)) or len(each) != 3 or not isinstance(each[0], str):
        raise WrongArgument(f"votes_study: images[{number}] is (name, x0, box); got {shown(each)}")
    name, x0, box = each
    check_images(f"votes_study: x0 of {name}", x0)
    if not isinstance(box, torch.Tensor) or box.dtype != torch.bool:
        raise WrongArgument(f"votes_study: the box of {name} is a tensor (H, W) of bools; got {shown(box)}")
    if len(x0) != 1 or box.shape != x0.shape[2:]:
        raise ShapeError(
            f"votes_study: {name} is one image (1, C, H, W) with a box (H, W); got {tuple(x0.shape)} and"
            f" {tuple(box.shape)}"
        )
    if not box.any() or box.all():
        raise FxscopeError(
            f"votes_study: the box of {name} has {'no pixel' if not box.any() else 'all pixels'}, which tells"
            " nothing about focus: give a box of a part of the picture"
        )
    return name, x0, box


def _measured(votes: PixelVotes, box: torch.Tensor) -> tuple[Any, ...]:
    """(top label, chance, focus, others, rank, share, entropy, added)."""
    winners = votes.winners.reshape(box.shape)
    count = len(votes.labels)
    all_votes = torch.bincount(winners.flatten(), minlength=count)
    inside = torch.bincount(winners[box.to(winners.device)], minlength=count)
    chance = float(box.double().mean())
    focus = inside.double() / all_votes / chance  # NaN where there is no vote
    top = int(votes.scores.flatten().argmax())
    order = [i for i in all_votes.argsort(descending=True, stable=True).tolist() if i != top and all_votes[i]]
    popular = focus[order[:OTHERS]]
    rank = 1 + int((all_votes > all_votes[top]).sum())
    share = float(all_votes[top]) / box.numel()
    others = float(popular.mean()) if len(popular) else float("nan")
    return votes.labels[top], chance, float(focus[top]), others, rank, share, votes.entropy, votes.added
