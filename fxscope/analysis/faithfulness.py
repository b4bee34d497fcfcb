"""Does an interpretation mean anything? Randomised weights, deleted pixels and noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ShapeError, WrongArgument
from ..frontend.example import Example
from ..graph.arguments import check_images, check_labels, checked
from ..results.base import VersionedResult
from ..results.progress import steps
from ..results.provenance import of_network
from ..results.tables import Table, counted
from .cascade import Cascade
from .trials import MAPS, MEASURES, STABILITY, Trials

NOISE = (0.001, 0.01, 0.03, 0.1)


@dataclass(frozen=True, repr=False)
class Faithfulness(VersionedResult):
    """What becomes of interpretations, for P policies and N images.

    Parameters
    ----------
    policies : tuple of str
        What is frozen.
    elected : int
        How many labels stand for election in the votes.
    depths : tuple of str
        D steps of the cascade: the module that is the last one randomised, after "none".
    measures : tuple of str
        Cosine and rank correlation of rows, and of discussions; the share of the pixels that vote as before,
        what it would be by chance with as many votes for each label, and the share of the votes that no label
        gained or lost.
    cascade : torch.Tensor
        (P, 7, D, N), against the network as it was.
    fractions : tuple of float
        S shares of the pixels.
    maps : tuple of str
        What orders the pixels, the largest first.
    deletion, insertion : torch.Tensor
        (P, 5, S, N), the score with so many pixels replaced by the baseline, or put into it: 0 is the score
        of the baseline, 1 that of x0.
    noise : tuple of float
        L standard deviations of Gaussian noise, relative to that of x0.
    stability : torch.Tensor
        (P, 3, L, N): the cosine of the row with noise and without, and ``gap``'s error and changed share.
    """

    policies: tuple[str, ...]
    elected: int
    depths: tuple[str, ...]
    measures: tuple[str, ...]
    cascade: torch.Tensor
    fractions: tuple[float, ...]
    maps: tuple[str, ...]
    deletion: torch.Tensor
    insertion: torch.Tensor
    noise: tuple[float, ...]
    stability: torch.Tensor

    @property
    def areas(self) -> dict[str, torch.Tensor]:
        """{"deletion" and "insertion": (P, 5, N)}, the areas under the curves, by trapezoids."""
        x = torch.tensor(self.fractions, dtype=torch.float64)
        return {n: torch.trapezoid(getattr(self, n), x, dim=2) for n in ("deletion", "insertion")}

    @property
    def compared(self) -> dict[str, list[dict[str, float]]]:
        """{quantity: its mean and standard deviation over the images, for every policy}."""
        found = {}
        for title, step in (("one step of the cascade", 1), ("all weights random", -1)):
            for m, name in enumerate(self.measures):
                found[f"{title}: {name}"] = self.cascade[:, m, step]
        for kind, area in self.areas.items():
            for m, name in enumerate(self.maps):
                found[f"area of {kind}: {name}"] = area[:, m]
        for at, level in enumerate(self.noise):
            for m, name in enumerate(STABILITY):
                found[f"noise {level:g}: {name}"] = self.stability[:, m, at]
        return {name: [_moments(v) for v in values] for name, values in found.items()}

    def numbers(self) -> dict[str, Any]:
        """Means and standard deviations over the images, for each policy."""
        return {"images": self.cascade.shape[-1], "elected": self.elected} | {
            policy: {
                "cascade": _by_step(self.measures, self.depths, self.cascade[p]),
                **{
                    kind: {name: _moments(area[p, m]) for m, name in enumerate(self.maps)}
                    for kind, area in self.areas.items()
                },
                "noise": _by_step(STABILITY, self.noise, self.stability[p]),
            }
            for p, policy in enumerate(self.policies)
        }

    def _said(self) -> Iterable[str]:
        images = counted(self.cascade.shape[-1], "image")
        return [images, f"policies {' '.join(self.policies)}", f"{len(self.compared)} measures"]

    def _table(self) -> Table:
        made = f"{self.cascade.shape[-1]} images, {self.elected} labels stand for election in votes"
        rows = [(name, *map(_said, values)) for name, values in self.compared.items()]
        return Table(("policy", *self.policies), rows, f"{made}; mean +- standard deviation")


def _moments(values: torch.Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "std": float(values.std(correction=0))}


def _by_step(names: Sequence[str], steps_: Sequence[Any], values: torch.Tensor) -> dict[str, Any]:
    """{name: {step: moments}} of values (names, steps, N)."""
    return {n: {str(s): _moments(v) for s, v in zip(steps_, each)} for n, each in zip(names, values)}


def _said(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} +- {value['std']:.3f}"


@checked
def faithfulness(
    model: nn.Module,
    x0: torch.Tensor,
    labels: Any = None,
    policies: Sequence[str] = ("freeze",),
    top: int = 10,
    baseline: float = 0.0,
    depths: int = 8,
    fractions: int = 16,
    noise: Sequence[float] = NOISE,
    seed: int = 0,
    progress: bool = True,
) -> Faithfulness:
    """How far interpretations depend on the weights, predict deletions, and stay under noise.

    * Cascade: the modules with weights are randomised one after the other, from the output to the input; the
      row and the "conserving" discussion of each label are compared with those before, signs included, and so
      is the vote of the pixels on the labels with the largest scores.
    * Deletion and insertion: pixels are replaced by the baseline, or put into it, in the order of a map,
      summed over the channels, the largest first. A map that finds what the score rests on has a small area
      under deletion and a large one under insertion. "|x0|", the distance to the baseline, and "random" know
      nothing of the network.
    * Noise: rows at x0 + noise against rows at x0, with what ``gap`` says of the same step.

    All policies see the same random weights, orders and noise.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier, (N, C, H, W) to (N, labels). It is not changed; copies are.
    x0 : torch.Tensor
        (N, C, H, W), as the network takes it.
    labels : torch.Tensor or int, optional
        (N,), the labels that are explained. The default is the labels that the network gives.
    policies : sequence of str
        As in ``fxscope.interpret``; they are compared.
    top : int
        So many labels with the largest scores stand for election, and the label that is explained.
    baseline : float
        The value of a deleted pixel, in units of x0.
    depths : int
        The most steps of the cascade; they take the same number of modules each, as far as that is possible.
    fractions : int
        Steps of the curves.
    noise : sequence of float
        Standard deviations of the noise, relative to that of x0.
    seed : int
        Of the random weights, the random order and the noise.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Faithfulness
        All curves, with their spread over the images.

    Raises
    ------
    WrongArgument
        If a policy is named twice.
    FxscopeError
        If no module with weights runs, or an image has the score of its baseline.

    References
    ----------
    Adebayo et al., "Sanity checks for saliency maps" (2018), for the cascade. Ghorbani et al.,
    "Interpretation of neural networks is fragile" (2019), for stability. Petsiuk et al., "RISE" (2018), for
    deletion and insertion.
    """
    check_images("faithfulness: x0", x0)
    if not noise:
        raise WrongArgument("faithfulness: noise is a list of at least one number; got an empty one")
    if len(set(policies)) < len(policies):
        raise WrongArgument(f"faithfulness: policies are compared, and one is named twice: {list(policies)}")
    with torch.no_grad():
        scores = Example((x0,)).call(model)
    if not isinstance(scores, torch.Tensor) or (x0.dim(), scores.dim()) != (4, 2):
        raise ShapeError("faithfulness needs a classifier, (N, C, H, W) to (N, labels)")
    chosen = scores.argmax(1) if labels is None else check_labels("faithfulness", labels, *scores.shape)
    cascade = Cascade(model, x0[:1], depths, seed)
    shares = [i / fractions for i in range(fractions + 1)]
    trials = Trials(model, baseline, shares, [float(level) for level in noise], cascade)
    images = trials.images(x0, chosen.tolist(), scores, top, seed)
    with steps(len(policies) * len(cascade.names) * len(x0), "faithfulness", progress) as bar:
        found = [trials.policy(policy, images, bar) for policy in policies]
    randomised, deletion, insertion, stability = (torch.stack(each).cpu() for each in zip(*found))
    return Faithfulness(
        policies=tuple(map(str, policies)),
        elected=len(images[0].elected),
        depths=cascade.names,
        measures=MEASURES,
        cascade=randomised,
        fractions=tuple(shares),
        maps=MAPS,
        deletion=deletion,
        insertion=insertion,
        noise=tuple(trials.noise),
        stability=stability,
        _provenance=of_network(model, None, x0),
    )
