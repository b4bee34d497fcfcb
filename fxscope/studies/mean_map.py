"""``mean_map``: the mean over images and positions of the map between two places of a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from ..errors import FxscopeError, ShapeError, WrongArgument
from ..graph.arguments import check_module, checked, shown
from ..graph.interpretation import together
from ..linop import LinearInterpreter, prepare
from ..results.base import VersionedResult
from ..results.pictures import image, side_by_side
from ..results.progress import steps
from ..results.provenance import caption, digest
from ..results.tables import Column, Table, counted
from .exact import limbs, number

LARGE = 1 << 26  # numbers of the cotangents that run together
SAME = ("weights", "policy", "probes")  # of provenance, for maps that are merged


@dataclass(frozen=True, repr=False)
class MeanMap(VersionedResult):
    """The mean of the map between two places over images, as exact sums.

    Parameters
    ----------
    count : int
        Number of images.
    sums : torch.Tensor
        (3, N, n) whole numbers, the sum over the images of their maps (N features of the output from n of the
        input), as 1, 2^-40 and 2^-80.
    squares : torch.Tensor, optional
        (3, N, n), the same of the squares; None where only the mean is known.
    inputs, outputs : str
        The two places.
    origin : dict
        The provenance: model, hash of its weights, policy, probes.
    """

    description: ClassVar[str] = "mean map"
    count: int
    sums: torch.Tensor
    squares: torch.Tensor | None
    inputs: str
    outputs: str
    origin: dict[str, Any]

    @property
    def mean(self) -> torch.Tensor:
        """(N, n), the mean map in double precision."""
        return number(self.sums) / self.count

    @property
    def error(self) -> torch.Tensor:
        """(N, n), the standard error of every entry of the mean, from the spread over the images.

        It has the probes' part in it where they are random, which are drawn anew for every image. It is NaN
        for a single image, and where the squares are not known.
        """
        if self.squares is None or self.count < 2:
            return torch.full(self.sums.shape[1:], torch.nan, dtype=torch.float64)
        spread = (number(self.squares) / self.count - self.mean.square()).clamp_min(0)
        return (spread / (self.count - 1)).sqrt()

    def numbers(self) -> dict[str, Any]:
        """Sizes, places and norms; the map itself is in the file of ``save``."""
        return {
            "images": self.count,
            "shape": list(self.sums.shape[1:]),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "probes": self.origin.get("probes"),
            "norm": float(self.mean.norm()),
            "error": float(self.error.norm()),
        }

    def _said(self) -> Iterable[str]:
        size = " x ".join(map(str, self.sums.shape[1:]))
        about = [str(v) for v in (self.origin.get("model"), self.origin.get("policy")) if v]
        return [f"{size}, {self.inputs} -> {self.outputs}", counted(self.count, "image"), *about]

    def _table(self) -> Table:
        found = self.numbers()
        rows = [
            ("images", self.count),
            ("from, to", f"{self.inputs} to {self.outputs}"),
            ("outputs x inputs", " x ".join(map(str, found["shape"]))),
            ("probes", str(found["probes"])),
            ("norm of the mean map", found["norm"]),
            ("norm of its standard error", found["error"]),
        ]
        return Table(("", Column("value")), rows, caption(self.origin))

    def _picture(self) -> str:
        caption = f"the mean map from {self.inputs} (across) to {self.outputs} (down)"
        return side_by_side([(caption, image(self.mean, caption))])

    def merged(self, *others: MeanMap) -> MeanMap:
        """The map over the images of this and of others, the same bits in any order and grouping.

        Raises
        ------
        FxscopeError
            If they are of other places, weights, policies or probes.
        """
        wrong = [other for other in others if not isinstance(other, MeanMap)]
        if wrong:
            raise WrongArgument(f"merged: expected mean maps, got {shown(wrong[0])}")
        together((self, *others), "a merged mean map")
        for other in others:
            pairs = [(n, self.origin.get(n), other.origin.get(n)) for n in SAME]
            pairs += [(n, getattr(self, n), getattr(other, n)) for n in ("inputs", "outputs")]
            pairs.append(("shape", self.sums.shape, other.sums.shape))
            unlike = [f"{name} ({a} and {b})" for name, a, b in pairs if a != b]
            if unlike:
                raise FxscopeError(
                    f"these mean maps differ in {', '.join(unlike)}: merge maps of one network between the"
                    " same places"
                )
        every = (self, *others)
        squares = [m.squares for m in every]
        return replace(
            self,
            count=sum(m.count for m in every),
            sums=sum_of([m.sums for m in every]),
            squares=None
            if any(s is None for s in squares)
            else sum_of([s for s in squares if s is not None]),
        )


def sum_of(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of whole numbers."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


@checked
def mean_map(
    model: nn.Module,
    examples: Any,
    inputs: Any = None,
    outputs: Any = None,
    probes: int | None = None,
    policy: Any = None,
    skip: tuple[int, int] = (0, 0),
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> MeanMap:
    """The mean over images and positions of the map between two places.

    ::

        M[o, i] = mean over images and positions p of  sum over positions q of  F[(o, q), (i, p)]

    A place (C, H, W) has C features at H W positions, one (T, D), of tokens, D features at T positions, and a
    vector (N,) has N features. Any policy makes an F; with "taylor" it is the Jacobian.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    examples : iterable
        x0 (B, ...), or a tuple or a dict of the arguments of the model, one after the other.
    inputs, outputs : optional
        The two places, as in ``fxscope.transform``. The default is the input and the output.
    probes : int, optional
        Number of random sign vectors for every image. The default is complete: every feature of the narrower
        place, and no error but that of the sample of images.
    policy : optional
        As in ``fxscope.interpret``.
    skip : (int, int)
        So many first and last tokens are no positions, in places (T, D).
    seed : int
        Of the random probes.
    progress : bool
        Show a progress bar.
    **options
        ``frontend`` and ``unknown``, as in ``fxscope.interpret``.

    Returns
    -------
    MeanMap
        The mean with its standard error.

    Raises
    ------
    FxscopeError
        If there is no example, or a place has no features.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    >>> mean_map(net, torch.rand(3, 1, 1, 5, 5), progress=False).mean.shape
    torch.Size([2, 1])
    """
    check_module(model)
    if not isinstance(examples, Iterable) or isinstance(examples, (str, dict)):
        raise WrongArgument(
            f"mean_map: examples are x0 one after the other, in a list; got {shown(examples)}"
        )
    reader, total, count = None, None, 0
    known = len(examples) if isinstance(examples, Sized) else None
    with steps(known, "mean map", progress) as bar:
        for example in examples:
            args, kwargs = _arguments(example)
            if reader is None:
                places = {"inputs": inputs, "outputs": outputs}
                reader = prepare(model, *args, policy=policy, **places, **options, **kwargs)
            lin = reader(*args, **kwargs)
            found = sums_of(maps_of(lin, range(count, count + lin.batch), probes, skip, seed))
            total = found if total is None else [a + b for a, b in zip(total, found)]
            count += lin.batch
            bar.update(1)
    if total is None or reader is None:
        raise FxscopeError("mean_map: no example was given")
    state = model.state_dict()
    origin = {
        "model": type(model).__name__,
        "weights": digest(*(state[n] for n in sorted(state))),
        "policy": reader.policy,
        "probes": said(probes, seed),
    }
    return MeanMap(count, total[0], total[1], str(inputs or "input"), str(outputs or "output"), origin)


def said(probes: int | None, seed: int) -> str:
    """The probes in words."""
    return "complete" if probes is None else f"{probes} random, seed {seed}"


def _arguments(example: Any) -> tuple[tuple, dict[str, Any]]:
    if isinstance(example, dict):
        return (), dict(example)
    return (tuple(example), {}) if isinstance(example, (tuple, list)) else ((example,), {})


def sums_of(maps: torch.Tensor) -> list[torch.Tensor]:
    """The sum over images (B, N, n) of their maps, and of the squares, as whole numbers."""
    return [limbs(each, "an entry of a map").sum(1) for each in (maps, maps.square())]


def maps_of(
    lin: LinearInterpreter,
    indices: Sequence[int],
    probes: int | None = None,
    skip: Sequence[int] = (0, 0),
    seed: int = 0,
) -> torch.Tensor:
    """(B, N, n), the map between the two places of every image, in double precision.

    ``indices`` are the numbers of the images: an image has the same random probes in any batch.
    """
    x, y = _one(lin.x, "input", lin.batch), _one(lin.y0, "output", lin.batch)
    from_outputs = _features(y) <= _features(x)
    here, there = (y, x) if from_outputs else (x, y)
    F = lin.F.T if from_outputs else lin.F
    vectors = _vectors(here, indices, probes, seed)
    at, to = _positions(here, skip), _positions(there, skip)
    # the mean is over the positions of the input, the sum over those of the output
    scale = 1.0 / float((to if from_outputs else at).sum())
    found = []
    size = max(1, LARGE // max(1, here.numel(), there.numel()))
    for some in vectors.split(size):
        spread = (_at_features(some, here) * at).to(here)
        moved = F @ (spread if F.inputs.batched else spread[:, 0])
        moved = (moved if F.outputs.batched else moved[:, None]).double() * to
        found.append(_summed(moved, there).cpu())
    other = torch.cat(found) * scale  # (K, B, features there)
    found_map = torch.einsum("kbn,kbi->bni", vectors, other) / (1 if probes is None else len(vectors))
    return found_map if from_outputs else found_map.transpose(1, 2).contiguous()


def _one(value: Any, what: str, batch: int) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or value.dim() < 2 or value.shape[0] != batch:
        raise ShapeError(
            f"a mean map is between two places of one tensor (B, ...) each, and the {what} is {shown(value)}:"
            " name others with inputs= and outputs=, as fxscope.places(model) lists them"
        )
    return value


def _axis(value: torch.Tensor) -> int:
    """The dimension of the features of (B, ...): the last one of tokens (B, T, D), else the first one."""
    return 2 if value.dim() == 3 else 1


def _features(value: torch.Tensor) -> int:
    return value.shape[_axis(value)]


def _positions(value: torch.Tensor, skip: Sequence[int]) -> torch.Tensor:
    """1 at the positions that count, 0 elsewhere: of the shape of one image, with one feature."""
    shape = list(value.shape[1:])
    shape[_axis(value) - 1] = 1
    found = torch.ones(shape, dtype=torch.float64)
    if value.dim() == 3 and any(skip):
        first, last = skip
        if first + last >= shape[0]:
            raise ShapeError(
                f"skip leaves out {first} + {last} tokens of {shape[0]}: give longer examples, or skip fewer"
            )
        found[:first] = 0
        found[shape[0] - last :] = 0
    return found.to(value.device)


def _vectors(value: torch.Tensor, indices: Sequence[int], probes: int | None, seed: int) -> torch.Tensor:
    """(K, B, features): all unit vectors, or random signs."""
    features = _features(value)
    if probes is None:
        return torch.eye(features, dtype=torch.float64)[:, None].expand(-1, len(indices), -1)
    drawn = []
    for index in indices:
        rng = torch.Generator().manual_seed((seed << 32) + index)
        drawn.append(torch.randint(0, 2, (probes, features), generator=rng).double() * 2 - 1)
    return torch.stack(drawn, 1)


def _at_features(vectors: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(K, B, features) as (K, B, ...) with one position, which broadcasts."""
    shape = [1] * value.dim()
    shape[0], shape[_axis(value)] = value.shape[0], -1
    return vectors.to(value.device).reshape(len(vectors), *shape)


def _summed(moved: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(K, B, ...) summed over the positions: (K, B, features)."""
    axis = _axis(value) + 1
    others = [d for d in range(2, moved.dim()) if d != axis]
    return moved.sum(others) if others else moved
