"""Does an interpretation mean anything? Randomised weights, deleted pixels and noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError, ShapeError, WrongArgument
from ..frontend.example import Example
from ..graph.arguments import check_images, check_labels, checked
from ..linop import LinearInterpreter, Reader, prepare
from ..results.base import VersionedResult
from ..results.progress import steps

MEASURES = ("row cosine", "row rank", "discussion cosine", "discussion rank")
MAPS = ("|row * x0|", "|discussion|", "|gradient|", "|x0|", "random")
NOISE = (0.001, 0.01, 0.03, 0.1)


@dataclass(frozen=True, repr=False)
class Faithfulness(VersionedResult):
    """What becomes of interpretations, for P policies and N images.

    Parameters
    ----------
    policies : tuple of str
        What is frozen.
    depths : tuple of str
        D steps of the cascade: the module that is the last one randomised, after "none".
    measures : tuple of str
        Cosine and rank correlation of rows, and of discussions.
    cascade : torch.Tensor
        (P, 4, D, N), against the network as it was.
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

    def numbers(self) -> dict[str, Any]:
        """Means and standard deviations over the images, for each policy."""
        return {"images": self.cascade.shape[-1]} | {
            policy: {
                "cascade": _table(self.measures, self.depths, self.cascade[p]),
                **{
                    kind: {name: _moments(area[p, m]) for m, name in enumerate(self.maps)}
                    for kind, area in self.areas.items()
                },
                "noise": _table(("row cosine", "gap", "changed"), self.noise, self.stability[p]),
            }
            for p, policy in enumerate(self.policies)
        }

    def __str__(self) -> str:
        lines = []
        for policy, found in list(self.numbers().items())[1:]:
            last = {name: list(found["cascade"][name].values())[-1] for name in self.measures}
            lines += [f"policy {policy}, {self.cascade.shape[-1]} images"]
            lines += ["  all weights randomised: " + ", ".join(_said(n, v) for n, v in last.items())]
            for kind in ("deletion", "insertion"):
                lines += [f"  area of {kind}: " + ", ".join(_said(n, v) for n, v in found[kind].items())]
            for level in self.noise:
                values = ", ".join(_said(n, v[str(level)]) for n, v in found["noise"].items())
                lines += [f"  noise {level:g}: {values}"]
        return "\n".join(lines)


def _moments(values: torch.Tensor) -> dict[str, float]:
    return {"mean": float(values.mean()), "std": float(values.std(correction=0))}


def _table(names: Sequence[str], steps_: Sequence[Any], values: torch.Tensor) -> dict[str, Any]:
    """{name: {step: moments}} of values (names, steps, N)."""
    return {n: {str(s): _moments(v) for s, v in zip(steps_, each)} for n, each in zip(names, values)}


def _said(name: str, value: dict[str, float]) -> str:
    return f"{name} {value['mean']:.3f} +- {value['std']:.3f}"


@checked
def faithfulness(
    model: nn.Module,
    x0: torch.Tensor,
    labels: Any = None,
    policies: Sequence[str] = ("freeze",),
    baseline: float = 0.0,
    depths: int = 8,
    fractions: int = 16,
    noise: Sequence[float] = NOISE,
    seed: int = 0,
    progress: bool = True,
) -> Faithfulness:
    """How far rows and discussions depend on the weights, predict deletions, and stay under noise.

    * Cascade: the modules with weights are randomised one after the other, from the output to the input; the
      row and the "conserving" discussion of each label are compared with those before, signs included.
    * Deletion and insertion: pixels are replaced by the baseline, or put into it, in the order of a map,
      summed over the channels, the largest first. A map that finds what the score rests on has a small area
      under deletion and a large one under insertion. "|x0|", the distance to the baseline, and "random" know
      nothing of the network.
    * Noise: rows at x0 + noise against rows at x0, with what ``gap`` says of the same step.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier, (N, C, H, W) to (N, labels). It is not changed; copies are.
    x0 : torch.Tensor
        (N, C, H, W), as the network takes it.
    labels : torch.Tensor or int, optional
        (N,), the labels that are explained. The default is the labels that the network gives.
    policies : sequence of str
        As in ``fxscope.interpret``.
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
    with torch.no_grad():
        scores = Example((x0,)).call(model)
    if not isinstance(scores, torch.Tensor) or scores.dim() != 2:
        raise ShapeError("faithfulness needs a classifier, (N, C, H, W) to (N, labels)")
    chosen = scores.argmax(1) if labels is None else check_labels("faithfulness", labels, *scores.shape)
    names, networks = _cascade(model, x0[:1], depths, seed)
    shares = [i / fractions for i in range(fractions + 1)]
    study = _Study(model, x0, chosen.tolist(), baseline, shares, tuple(map(float, noise)), seed)
    found = []
    with steps(len(policies) * (len(names) + 1) * len(x0), "faithfulness", progress) as bar:
        for policy in policies:
            reader = prepare(model, x0[:1], policy=policy)
            found.append((study.cascade(reader, networks, policy, bar), *study.curves(reader, bar)))
    cascade, deletion, insertion, stability = (torch.stack(each).cpu() for each in zip(*found))
    return Faithfulness(
        policies=tuple(map(str, policies)),
        depths=names,
        measures=MEASURES,
        cascade=cascade,
        fractions=tuple(shares),
        maps=MAPS,
        deletion=deletion,
        insertion=insertion,
        noise=study.noise,
        stability=stability,
    )


@dataclass
class _Study:
    model: nn.Module
    x0: torch.Tensor
    labels: list[int]
    baseline: float
    shares: list[float]
    noise: tuple[float, ...]
    seed: int

    def cascade(self, reader: Reader, networks: Callable[[], Any], policy: str, bar: Any) -> torch.Tensor:
        """(4, D, N); the first step is the network as it was."""
        known = [_explained(reader(x[None]), k) for x, k in zip(self.x0, self.labels)]
        found = []
        for network in networks():
            other = prepare(network, self.x0[:1], policy=policy)
            for x, k, (row, discussion) in zip(self.x0, self.labels, known):
                a, b = _explained(other(x[None]), k)
                pairs = ((row, a), (discussion, b))
                found.append([f(p, q) for p, q in pairs for f in (cosine, rank_correlation)])
                bar.update(1)
        values = torch.tensor(found, dtype=torch.float64)
        return values.reshape(-1, len(self.x0), 4).permute(2, 0, 1)

    def curves(self, reader: Reader, bar: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Deletion and insertion (5, S, N), and stability (3, L, N)."""
        generator = torch.Generator().manual_seed(self.seed)
        deletion, insertion, stability = [], [], []
        for x, k in zip(self.x0, self.labels):
            lin = reader(x[None])
            row, discussion = _explained(lin, k)
            maps = [
                (row * x).abs(),
                discussion.abs(),
                _gradient(self.model, x, k).abs(),
                (x - self.baseline).abs(),
            ]
            orders = [m.sum(0).flatten().argsort(descending=True, stable=True) for m in maps]
            orders.append(torch.randperm(orders[0].numel(), generator=generator).to(x.device))
            both = [self._curve(x, k, order) for order in orders]
            deletion.append(torch.stack([d for d, _ in both]))
            insertion.append(torch.stack([i for _, i in both]))
            stability.append(self._stability(reader, lin, row, x, k, generator))
            bar.update(1)
        return torch.stack(deletion, -1), torch.stack(insertion, -1), torch.stack(stability, -1)

    def _curve(self, x: torch.Tensor, label: int, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The scores (S,) where the first pixels of an order are deleted, and where only they are there."""
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
        deleted, inserted = ((s.double() - low) / (high - low) for s in scores)
        return deleted, inserted

    def _stability(
        self,
        reader: Reader,
        lin: LinearInterpreter,
        row: torch.Tensor,
        x: torch.Tensor,
        k: int,
        generator: Any,
    ) -> torch.Tensor:
        found = []
        for level in self.noise:
            drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
            near = x + level * x.std() * drawn
            gap = lin.gap(near)
            found.append([cosine(row, reader(near[None]).F.row(k)), gap["error"], gap["changed"]])
        return torch.tensor(found, dtype=torch.float64).T


def _explained(lin: LinearInterpreter, label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The row and the discussion of a label, (C, H, W) each."""
    discussion = lin.pixel_discussion([label], reading="conserving", progress=False).images
    row = lin.F.row(label)
    return row.detach(), discussion.reshape(row.shape).detach()


def _gradient(model: nn.Module, x: torch.Tensor, label: int) -> torch.Tensor:
    given = x[None].clone().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(model(given)[0, label], given)[0][0]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """The cosine of two tensors of one shape; 0 if one is zero."""
    a, b = a.double().flatten(), b.double().flatten()
    size = a.norm() * b.norm()
    return float(a @ b / size) if size > 0 else 0.0


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Spearman's correlation of two tensors of one shape; equal values share their mean rank."""
    ranks = [_ranks(t.flatten()) for t in (a, b)]
    return cosine(*(r - r.mean() for r in ranks))


def _ranks(values: torch.Tensor) -> torch.Tensor:
    _, at, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[at].double()


def _cascade(
    model: nn.Module, x: torch.Tensor, depths: int, seed: int
) -> tuple[tuple[str, ...], Callable[[], Any]]:
    """The names of the steps, and what yields the network with more and more random weights."""
    order = _order(copy.deepcopy(model), x)[::-1]  # from the output
    if not order:
        raise FxscopeError("faithfulness: no module with weights runs, so there is nothing to randomise")
    count = min(depths, len(order))
    ends = [round((i + 1) * len(order) / count) for i in range(count)]

    def networks() -> Any:
        other = copy.deepcopy(model)
        yield model
        start = 0
        for end in ends:
            for name in order[start:end]:
                _randomise(other.get_submodule(name), seed + order.index(name))
            start = end
            yield other

    return ("none", *(order[e - 1] or "the network" for e in ends)), networks


def _order(model: nn.Module, x: torch.Tensor) -> list[str]:
    """The names of the modules with parameters of their own, in the order of their last call."""
    called: dict[str, None] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            called.pop(name, None)
            called[name] = None

        return hook

    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(note(name))
    with torch.no_grad():
        model(x)
    return list(called)


def _randomise(module: nn.Module, seed: int) -> None:
    """As the module is made anew; if it cannot say how, its parameters are normal, of their own size."""
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            return
        for parameter in module.parameters(recurse=False):
            parameter.copy_(torch.randn_like(parameter) * parameter.square().mean().sqrt())
