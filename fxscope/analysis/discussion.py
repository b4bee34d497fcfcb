"""Pixel discussions: all contributions to a score, projected back to the pixels (paper, eq. 18)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import torch

from ..emit import emit_projections
from ..errors import FxscopeError, IllConditioned
from ..graph.arguments import checked
from ..linop.interpreter import LinearInterpreter
from ..results.base import VersionedResult
from ..results.progress import steps
from ..results.provenance import of_network
from ..results.registry import provides
from ..results.tables import Column, Table, said
from .joint import joint_of, summed

READINGS = ("conserving", "weighted", "per-layer", "literal")
CONDITION = 1e3  # a scaling that amplifies rounding errors by more than this is refused
ELEMENTS = 1 << 26  # the most numbers that one chunk of labels holds


@dataclass(frozen=True, repr=False)
class PixelDiscussion(VersionedResult):
    """For each label an image of the contributions of every pixel, which sums to the score of the label.

    Parameters
    ----------
    labels : tuple
        K indices of scores.
    reading : {"conserving", "weighted", "per-layer", "literal"}
        The variant of eq. 18.
    images : torch.Tensor
        (K, C, H, W), or (K, B, C, H, W) for B images; in units of the scores.
    scores : torch.Tensor
        (K,), or (K, B).
    added : float
        What was added so that the images sum to the scores: the sum of its magnitudes, divided by that of
        the layers' contributions.
    condition : float
        The largest factor sum |p| / |sum p| by which a scaling amplifies rounding errors; 1 without one.
    """

    labels: tuple
    reading: str
    images: torch.Tensor
    scores: torch.Tensor
    added: float
    condition: float
    _photograph: Any = field(default=None, repr=False, compare=False)

    @property
    def error(self) -> float:
        """The largest |sum of an image - its score|, divided by the largest |score|."""
        dims = list(range(self.scores.dim(), self.images.dim()))
        return float((self.images.sum(dims) - self.scores).abs().max() / self.scores.abs().max())

    def numbers(self) -> dict[str, Any]:
        """Labels, scores and errors."""
        return {
            "labels": list(self.labels),
            "reading": self.reading,
            "scores": self.scores,
            "error": self.error,
            "added": self.added,
            "condition": self.condition,
        }

    def _said(self) -> Iterable[str]:
        labels = f"labels {' '.join(map(str, self.labels[:6]))}{' ...' if len(self.labels) > 6 else ''}"
        return [labels, self.reading, f"images {said(self.images)}", f"sums to {self.error:.0e}"]

    def _table(self, names: Sequence[str] | None = None) -> Table:
        flat = self.images.double().flatten(self.scores.dim())
        sums = flat.sum(-1).reshape(len(self.labels), -1).mean(1)
        scores = self.scores.double().reshape(len(self.labels), -1).mean(1)
        called = [label_of(label, names) for label in self.labels]
        columns = ("picture of", Column("score", form=".6g"), Column("sum of the picture", "score", ".6g"))
        return Table(columns, list(zip(called, scores, sums)), notes=(corrected(self),))


def label_of(label: Any, names: Sequence[str] | None) -> str:
    """What a label is called: by its name if there are names, else by its number."""
    return f"label {label}" if names is None else f"{names[label]} ({label})"


def corrected(found: Any) -> str:
    """The errors and the corrections of a discussion, or of votes, in one line."""
    return (
        f"{found.reading}: error of the sums {found.error:.1e}, corrections of {100 * found.added:.1f}%"
        " of the layers' contributions"
    )


@checked
@provides(LinearInterpreter, "pixel_discussion")
def pixel_discussion(
    lin: LinearInterpreter,
    labels: Any,
    reading: str = "weighted",
    condition: float = CONDITION,
    progress: bool = True,
) -> PixelDiscussion:
    """The pixel discussion: all contributions to a score, projected back to the input (paper, eq. 18).

    ::

        PD = F^T e_k * x0 + sum_i p_i,        sum of PD = y_k

    The paper does not say how the images p_i of the layers are scaled. ``reading`` chooses a variant:

    * "conserving": p_i is the back-projection of label k's own share of each constant, b_i * Q_i^T e_k; what
      the sum lacks of the score is spread evenly, (y_k - sum) / n at each of the n entries. Nothing is
      divided by a sum that may cancel.
    * "weighted": p_i is that back-projection, corrected to the layer's contribution c by
      p + |p| (c - sum p) / sum |p|.
    * "per-layer": p_i = P_i b_i, scaled so that it sums to c.
    * "literal": p_i = P_i b_i, and PD as a whole is scaled so that it sums to the score.

    Each label costs a row. "conserving" also costs one back-projection from all layers together, or less than
    both for many labels where the network has a narrow place; "weighted" one from every layer.

    Parameters
    ----------
    lin : LinearInterpreter
        The interpreter of a classifier at x0.
    labels : int, tuple or list
        An index of the scores, or a list of K indices.
    reading : {"conserving", "weighted", "per-layer", "literal"}
        The variant of eq. 18.
    condition : float
        The largest sum |p| / |sum p| that "per-layer" and "literal" accept.
    progress : bool
        Show a progress bar.

    Returns
    -------
    PixelDiscussion
        Images (K, C, H, W), or (K, B, C, H, W) for B images.

    Raises
    ------
    IllConditioned
        If a scaling would amplify rounding errors by more than ``condition``.
    FxscopeError
        If several places are probed, or the network has several outputs.
    ValueError
        If there is no such variant.

    References
    ----------
    The paper, eq. 17 and 18. Bach et al., "On pixel-wise explanations for non-linear classifier decisions by
    layer-wise relevance propagation" (2015), for the conservation of the score.
    """
    given = labels if isinstance(labels, list) else [labels]
    engine = Discussion(lin, reading, condition)
    found = list(engine.chunks(given, progress))
    return PixelDiscussion(
        tuple(given),
        reading,
        torch.cat([i for _, i, _ in found]),
        torch.cat([s for _, _, s in found]),
        engine.added,
        engine.condition,
        lin.x0,
        _provenance=of_network(lin.model, lin.policy, lin.x0),
    )


class Discussion:
    """The back-projections of one interpreter, for any number of labels."""

    def __init__(self, lin: LinearInterpreter, reading: str = "weighted", condition: float = CONDITION):
        if reading not in READINGS:
            raise ValueError(f"reading={reading!r}; it is one of {', '.join(READINGS)}")
        if isinstance(lin.x, tuple) or not lin.F.outputs.spec.is_leaf():
            raise FxscopeError(
                "a pixel discussion needs one input and one output: choose them with inputs= and outputs="
            )
        self.lin, self.reading, self.limit = lin, reading, condition
        self.condition = 1.0
        self._moved = self._total = 0.0
        if reading == "conserving":
            return
        self.parts = lin.prepared.once("projections", lambda: emit_projections(lin.program))
        with lin.fresh_run():
            _, self.state = self.parts.record(*lin._args)
            self.images = self._class_free() if reading != "weighted" else {}

    @property
    def added(self) -> float:
        """What was added to the images so far, relative to the layers' contributions."""
        return self._moved / self._total if self._total else 0.0

    def chunks(
        self, labels: list, progress: bool = True
    ) -> Iterator[tuple[list, torch.Tensor, torch.Tensor]]:
        """Yield (labels, images (K, *input), scores (K,)) for as many labels at a time as fit into memory."""
        run = self._chunk
        if self.reading == "conserving":
            self.joint = joint_of(self.lin, len(labels), progress)
            run = self._conserving
        size = max(1, min(self.lin.F.chunk, ELEMENTS // self._numbers()))
        with steps(len(labels), "pixel discussions", progress) as bar:
            for start in range(0, len(labels), size):
                part = labels[start : start + size]
                self.lin.fresh.check()
                with torch.no_grad():
                    images, scores = run(part)
                space = self.lin.F.inputs
                yield part, space.unstack(images, (len(part),)), scores if space.batched else scores[:, 0]
                bar.update(len(part))

    def _numbers(self) -> int:
        """Numbers that one label holds at a time."""
        if self.reading == "conserving":
            return self.joint.numbers
        return max(1, 4 * self.lin.x.numel(), *(4 * s.numel() for s in self.state if s.dtype != torch.int64))

    def _conserving(self, labels: list) -> tuple[torch.Tensor, torch.Tensor]:
        y2, scores = self._seeds(labels)
        row, image, contributions = self.joint(y2)
        image = image + row * self.lin.x
        missing = scores - image.flatten(2).sum(2)
        self._moved += float(missing.abs().sum())
        self._total += float(contributions.abs().sum())
        return image + _wide(missing / image[0, 0].numel(), image), scores

    def _seeds(self, labels: list) -> tuple[torch.Tensor, torch.Tensor]:
        """The cotangents of some labels, and their scores (K, B)."""
        space = self.lin.F.outputs
        y2, _ = space.stack(space.cotangents(labels, self.lin.batch))
        return y2, (y2 * self.lin.y0).flatten(2).sum(2)

    def _chunk(self, labels: list) -> tuple[torch.Tensor, torch.Tensor]:
        y2, scores = self._seeds(labels)
        row, shares = self.parts.shares(self.state, y2)
        images = row * self.lin.x
        for name, at in self.parts.layers.items():
            given = [shares[i] for i in at]
            wanted = reduce(torch.add, [summed(s, self.lin.batch) for s in given])
            self._total += float(wanted.abs().sum())
            images = images + self._layer(name, given, wanted)
        return (images if self.reading != "literal" else self._scaled(images, scores, labels)), scores

    def _layer(self, name: str, shares: list[torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
        if self.reading == "weighted":
            return self._corrected(self.parts.back[name](self.state, *shares), wanted)
        if self.reading == "literal":
            return self.images[name]
        return self._scaled(self.images[name], wanted, name)

    def _class_free(self) -> dict[str, torch.Tensor]:
        """P_i b_i of every layer, the same for all labels: (1, B, *input)."""
        values = self.parts.masked(self.state)
        return {
            name: self.parts.masked_back[name](self.state, *(values[i] for i in at))
            for name, at in self.parts.layers.items()
        }

    def _corrected(self, p: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """P + |p| (c - sum p) / sum |p|; the contribution of a layer that reaches no pixel is spread."""
        size = p.abs().flatten(2).sum(2)
        weight = torch.where(
            _wide(size, p) > 0,
            p.abs() / _wide(size, p).clamp_min(torch.finfo(p.dtype).tiny),
            torch.full_like(p, 1 / p[0, 0].numel()),
        )
        missing = wanted - p.flatten(2).sum(2)
        self._moved += float(missing.abs().sum())
        return p + weight * _wide(missing, p)

    def _scaled(self, p: torch.Tensor, wanted: torch.Tensor, what: Any) -> torch.Tensor:
        """P times wanted / sum p; raises ``IllConditioned`` if the sum cancels."""
        total, size = p.flatten(2).sum(2), p.abs().flatten(2).sum(2)
        needed = (wanted != 0).expand(torch.broadcast_shapes(wanted.shape, total.shape))
        condition = torch.where(needed, (size / total.abs()).expand_as(needed), torch.ones(()).to(p))
        worst = float(condition.nan_to_num(nan=float("inf")).max())
        if worst > self.limit:
            raise IllConditioned(
                f"reading={self.reading!r}: the image of {what} sums to 1/{worst:.3g} of its absolute sum;"
                f" scaling it would amplify rounding errors by that factor (limit {self.limit:g}): use"
                " reading='weighted'"
            )
        self.condition = max(self.condition, worst)
        safe = torch.where(total == 0, torch.ones_like(total), total)
        factor = torch.where(needed, wanted / safe, torch.zeros_like(wanted))
        self._moved += float(((factor - 1).abs() * size).sum())
        return p * _wide(factor, p)


def _wide(values: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return values.reshape(*values.shape, *[1] * (image.dim() - 2))
