"""What a study measures on an image: numbers, and sums over images that do not depend on their order."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

import torch

from ..analysis.adversarial import fgsm
from ..analysis.images import crop_around, distance, energy_against_distance
from ..analysis.layers import sums
from ..analysis.sampled import sampled
from ..analysis.zero import LEVELS, Zero
from ..errors import NotLocal, StudyError, WrongArgument
from ..graph.arguments import shown
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter
from .exact import limbs
from .images import named
from .mean_map import maps_of, sums_of
from .readers import Interpreters

Row = dict[str, Any]


class Measure:
    """A measure: ``of`` gives a row of numbers for every image, and sums over the batch.

    Attributes
    ----------
    name, kind : str
        What it is called in a study, and its kind.
    options : dict
        Everything that its numbers depend on, as JSON can hold it.
    """

    kind = ""
    defaults: dict[str, Any] = {}
    exact: tuple[str, ...] = ()  # of the sums, those that the summary shows as a map
    growing: tuple[str, ...] = ()  # columns of curves, which end at different lengths with their last value

    def __init__(self, name: str, options: dict[str, Any], seed: int = 0):
        self.name, self.options, self.seed = name, options, seed
        self._check()

    def _check(self) -> None:
        """Raise if an option does not fit."""

    def about(self) -> dict[str, Any]:
        """What the numbers depend on."""
        return {"kind": self.kind, **self.options, "seed": self.seed}

    def of(self, at: Interpreters) -> tuple[list[Row], dict[str, torch.Tensor]]:
        """A row for every image of the batch, and {name: sum over the batch} of whole numbers."""
        return self._of(at)

    def _of(self, at: Interpreters) -> tuple[list[Row], dict[str, torch.Tensor]]:
        rows, totals = [], []
        for i in range(len(at.numbers)):
            row, total = self._one(at.one(i))
            rows.append(row)
            totals.append(total)
        return rows, {name: sum(t[name] for t in totals) for name in totals[0]}  # type: ignore[misc]

    def _one(self, at: Interpreters) -> tuple[Row, dict[str, torch.Tensor]]:
        """The row of a single image, and its sums."""
        raise NotImplementedError

    def _whole(self, name: str, least: int = 1) -> int:
        value = self.options[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise WrongArgument(
                f"measure {self.name!r}: {name} is a whole number from {least}; got {shown(value)}"
            )
        return value

    def _levels(self, name: str) -> list[float]:
        value = self.options[name]
        found = list(value) if isinstance(value, (list, tuple)) else [value]
        if not found or not all(map(_is_level, found)):
            raise WrongArgument(
                f"measure {self.name!r}: {name} is a list of numbers above 0; got {shown(value)}"
            )
        return [float(v) for v in found]


def _is_level(value: Any) -> bool:
    """Whether a step of noise is a finite number above 0."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and 0 < float(value) < math.inf


class _OfScores(Measure):
    """The parts of the largest score: F (x0 - z), and the layers' constants."""

    defaults = {"zero": None}

    def _check(self) -> None:
        zero = self.options["zero"]
        is_number = isinstance(zero, numbers.Real) and not isinstance(zero, bool)
        if not (is_number and math.isfinite(zero)) and zero not in (None, "mean", *LEVELS):
            raise WrongArgument(
                f"measure {self.name!r}: zero is 'mean', {', '.join(map(repr, LEVELS))} or a number; got"
                f" {shown(zero)}"
            )

    def zero(self, preprocess: Preprocess) -> Zero:
        """Where zero lies."""
        zero = self.options["zero"]
        known = dict(zip(("mean", "std"), preprocess.affine)) if zero in LEVELS else {}
        return Zero.of(self.kind, zero, **known)

    def parts(self, at: Interpreters) -> dict[str, Any]:
        """Labels, scores, F (x0 - z), F z, and {layer: its part}; (B,) each."""
        lin, about = at.lin(), self.zero(at.readers.preprocess)
        if not isinstance(lin.y0, torch.Tensor) or lin.y0.dim() != 2:
            raise StudyError(
                f"measure {self.name!r} is about scores (B, labels), and the network gives {shown(lin.y0)}"
            )
        labels = lin.y0.argmax(1)
        if "parts" not in at.kept:  # the shares and the contributions are read off the same numbers
            at.kept["parts"] = sums(lin, labels, "with")
        (linear, score), layers = at.kept["parts"]
        shift = torch.zeros(len(labels), dtype=torch.float64)
        if not about.is_own:
            moved = (lin.F @ _like(about.at(at.x0), lin)).reshape(len(labels), -1)
            shift = moved.gather(1, labels.to(moved.device)[:, None])[:, 0].double().cpu()
        return {
            "labels": labels.tolist(),
            "score": score,
            "linear": linear - shift,
            "shift": shift,
            "layers": layers,
            "zero": about.name,
        }


def _like(x: torch.Tensor, lin: LinearInterpreter) -> torch.Tensor:
    """An input (B, ...) as F takes it."""
    return x if lin.F.inputs.batched else x[0]


def _of_each(found: dict[str, Any], row: Callable[[int, float], Row]) -> list[Row]:
    """``row(number, largest score)`` of every image; where the score is 0, an error: it has no shares."""
    rows: list[Row] = []
    for b, (label, y) in enumerate(zip(found["labels"], found["score"].tolist())):
        if y == 0:
            rows.append({"error": "its largest score is 0, so that shares are not defined"})
        else:
            rows.append({**row(b, y), "label": label, "zero": found["zero"]})
    return rows


class ResidualShare(_OfScores):
    """The share of the residual in the largest score (paper, Tables 3 and 4)."""

    kind = "residual_share"

    def _of(self, at: Interpreters) -> tuple[list[Row], dict[str, torch.Tensor]]:
        found = self.parts(at)
        residual, linear = sum(found["layers"].values()) + found["shift"], found["linear"]

        def row(b: int, y: float) -> Row:
            off = abs(float(linear[b] + residual[b]) - y) / abs(y)
            return {"share": float(residual[b]) / y, "score": y, "off": off}

        return _of_each(found, row), {}


class LayerContributions(_OfScores):
    """The shares of all layers in the largest score (paper, Fig. 4 and 8).

    ``fgsm`` is a step in 1/255: they are then those of the image after it.
    """

    kind = "layer_contributions"
    defaults = {"zero": None, "fgsm": None}

    def _check(self) -> None:
        super()._check()
        step = self.options["fgsm"]
        if step is not None and not _is_level(step):
            raise WrongArgument(f"measure {self.name!r}: fgsm is one number above 0; got {shown(step)}")

    def _of(self, at: Interpreters) -> tuple[list[Row], dict[str, torch.Tensor]]:
        if self.options["fgsm"] is not None:
            mean, std = at.readers.preprocess.affine
            step = float(self.options["fgsm"]) / 255
            moved = fgsm(at.readers.module, at.x0, epsilons=[step], mean=mean, std=std).images[-1]
            at = Interpreters(at.readers, moved, at.numbers)
        found = self.parts(at)
        parts = {"F x0" if found["zero"] == Zero().name else "F (x0 - z)": found["linear"]}
        parts |= {} if found["zero"] == Zero().name else {"F z": found["shift"]}
        parts |= found["layers"]

        def row(b: int, y: float) -> Row:
            shares = [float(v[b]) / y for v in parts.values()]
            return {"parts": list(parts), "shares": shares, "off": abs(sum(shares) - 1)}

        return _of_each(found, row), {}


class Votes(Measure):
    """How popular labels are among the pixels (paper, Fig. 3)."""

    kind = "votes"
    defaults = {"labels": 10, "reading": "conserving"}

    def _check(self) -> None:
        self._whole("labels")

    def _one(self, at: Interpreters) -> tuple[Row, dict[str, torch.Tensor]]:
        lin = at.lin()
        scores = lin.y0[0].flatten()
        labels = scores.argsort(descending=True)[: self.options["labels"]].tolist()
        found = lin.pixel_votes(labels, reading=self.options["reading"], progress=False)
        popularity = [found.popularity[label] for label in labels]
        row = {
            "label": labels[0],
            "winner": next(iter(found.popularity)),
            "top": popularity[0],
            "popularity": popularity,
            "entropy": found.entropy,
            "added": float(found.added),
            "off": float(found.error),
        }
        return row, {}


class Energy(Measure):
    """The energy of rows against the distance from their places (paper, Fig. 5 to 7)."""

    kind = "energy"
    defaults = {"places": 16}
    growing: tuple[str, ...] = ("energy",)

    def _check(self) -> None:
        self._whole("places")

    def rows(self, at: Interpreters) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """Rows at places, and their places in the input."""
        lin = at.lin()
        places, outs = _places(lin, self)
        return lin.F.rows([(0, *o) for o in outs], progress=False), places

    def _one(self, at: Interpreters) -> tuple[Row, dict[str, torch.Tensor]]:
        found = energy_against_distance(*self.rows(at))
        row = {f"radius_{p}": found.radius(p / 100) for p in (50, 90, 99)}
        return {**row, "energy": found.share.tolist()}, {}


class ReceptiveField(Energy):
    """The effective receptive field: the mean over rows and images of |row|, around their places."""

    kind = "receptive_field"
    defaults = {"places": 16, "radius": 32}
    growing = ()
    exact = ("field",)

    def _check(self) -> None:
        self._whole("places")
        self._whole("radius")

    def _one(self, at: Interpreters) -> tuple[Row, dict[str, torch.Tensor]]:
        lin, radius = at.lin(), self.options["radius"]
        if isinstance(lin.y0, torch.Tensor) and lin.y0.dim() == 2:  # of a classifier: the whole image
            field = lin.F.row(int(lin.y0.argmax())).double().abs().sum(0)
            centre = [s // 2 for s in field.shape]
        else:
            rows, places = self.rows(at)
            cut = [crop_around(r, p, radius) for r, p in zip(rows, places)]
            field = torch.stack(cut).double().abs().sum(1).mean(0)
            centre = [radius, radius]
        total = float(field.sum())
        far = distance(field.shape, (centre[0], centre[1])).double()
        spread = float(((field.cpu() * far.square()).sum() / total).sqrt()) if total else 0.0
        return {"total": total, "spread": spread}, {"field": limbs(field, "an entry of |row|")}


def _places(lin: LinearInterpreter, measure: Measure) -> tuple[list, list]:
    try:
        return sampled(lin, measure.options["places"])
    except NotLocal as error:
        raise StudyError(
            f"measure {measure.name!r} is about networks from images to images: {error}"
        ) from error


class Gap(Measure):
    """How far the interpreter of x0 is from the network at x0 with noise."""

    kind = "gap"
    defaults = {"noise": [0.01, 0.1]}

    def _check(self) -> None:
        self.options["noise"] = self._levels("noise")

    def _one(self, at: Interpreters) -> tuple[Row, dict[str, torch.Tensor]]:
        lin, x = at.lin(), at.x0
        rng = torch.Generator().manual_seed((self.seed << 32) + at.numbers[0])
        drawn = torch.randn(x.shape, generator=rng, dtype=torch.float64).to(x)
        found = [lin.gap(x + level * x.std() * drawn) for level in self.options["noise"]]
        row: Row = {"gap": [float(f["error"]) for f in found]}
        return {**row, "changed": [float(f["changed"]) for f in found]}, {}


class MeanMapOf(Measure):
    """The mean map between two places."""

    kind = "mean_map"
    defaults = {"inputs": None, "outputs": None, "probes": None, "skip": [0, 0]}
    exact = ("sums", "squares")

    def _check(self) -> None:
        if self.options["probes"] == "complete":
            self.options["probes"] = None
        if self.options["probes"] is not None:
            self._whole("probes")
        if self.options["outputs"] == "output":
            self.options["outputs"] = None

    def _of(self, at: Interpreters) -> tuple[list[Row], dict[str, torch.Tensor]]:
        chosen = self.options
        lin = at.lin(chosen["inputs"], chosen["outputs"])
        maps = maps_of(lin, at.numbers, chosen["probes"], chosen["skip"], self.seed)
        rows = [{"norm": float(m.norm())} for m in maps]
        return rows, dict(zip(self.exact, sums_of(maps)))


class Own(Measure):
    """A function of the user's: of the interpreter at one image, to a number or {name: number}."""

    kind = "own"

    def __init__(self, name: str, function: Callable[..., Any], text: str, seed: int = 0):
        self.function = function
        super().__init__(name, {"function": text, "code": _code(function)}, seed)

    def _one(self, at: Interpreters) -> tuple[Row, dict[str, torch.Tensor]]:
        found = self.function(at.lin())
        found = found if isinstance(found, dict) else {"value": found}
        row: Row = {}
        for key, value in found.items():
            values: Any = value.tolist() if isinstance(value, torch.Tensor) else value
            several = isinstance(values, (list, tuple))
            try:
                row[str(key)] = [float(v) for v in values] if several else float(values)
            except (TypeError, ValueError):
                raise StudyError(
                    f"measure {self.name!r} returned {shown(value)} as {key!r}: return numbers, or lists of"
                    " them, in a dict"
                ) from None
        if taken := set(row) & {"number", "image", "error"}:
            raise StudyError(f"measure {self.name!r}: {taken.pop()!r} names a column of every study already")
        return row, {}


def _code(function: Callable[..., Any]) -> str:
    """The hash of the source of a function; of what it calls nothing is known."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        text = repr((code.co_code, code.co_consts, code.co_names)) if code else repr(type(function))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


KINDS: dict[str, type[Measure]] = {
    kind.kind: kind
    for kind in (ResidualShare, LayerContributions, Votes, Energy, Gap, ReceptiveField, MeanMapOf)
}


def measure_of(given: Any, seed: int = 0) -> Measure:
    """The measure of a name, of a table {"measure": name, ...options}, or of a function.

    Raises
    ------
    WrongArgument
        If there is no such measure, or it has no such option.
    """
    if isinstance(given, Measure):
        return given
    table = dict(given) if isinstance(given, dict) else {"measure": given}
    kind, name = table.pop("measure", None), table.pop("name", None)
    if callable(kind):
        own = getattr(kind, "__name__", "")
        return Own(str(name or (own if own.isidentifier() else "own")), kind, _full_name(kind), seed)
    if isinstance(kind, str) and ":" in kind and not table:
        return Own(str(name or kind.rpartition(":")[2]), _function(kind), kind, seed)
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), list(KINDS), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise WrongArgument(f"study: no measure is called {shown(kind)}; {hint} Or give module:function")
    unknown = [n for n in table if n not in KINDS[kind].defaults]
    if unknown:
        known = ", ".join(KINDS[kind].defaults)
        raise WrongArgument(f"study: measure {kind!r} has no option {unknown[0]!r}; it has {known}, name")
    return KINDS[kind](str(name or kind), {**KINDS[kind].defaults, **table}, seed)


def _function(text: str) -> Callable[..., Any]:
    found = named(text)
    if not callable(found):
        raise StudyError(f"{text} is {shown(found)}, and no function of an interpreter")
    return found


def _full_name(function: Callable[..., Any]) -> str:
    return (
        f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__name__)}"
    )
