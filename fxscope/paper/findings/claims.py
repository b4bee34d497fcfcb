"""From the kept lines to findings: what the paper claims, what was measured, and whether it appears.

The rules were written before any number was seen; where the tour has the same claim about stand-ins, its rule
is the same. A rule that holds for some redraws of the photographs and fails for others decides nothing
(``verdict``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .finding import Finding
from .run import CRITIC, ERROR, Network
from .verdict import judge

Lines = Sequence[Mapping[str, Any]]
PAPER_SHARES, PAPER_SPREAD = (0.78, 0.95), 0.17  # Table 4
FIGURES = {"super-resolution": "Fig. 12", "image to image": "Fig. 14"}
LOCAL, LARGE, WHITE = 4, 0.05, 0.57  # pixels, share of the picture, part of white noise in the high band


@dataclass(frozen=True)
class Spread:
    """A mean over photographs and the standard deviation, with n in the denominator.

    Parameters
    ----------
    mean, std : float
    count : int
        The number n of photographs.
    """

    mean: float
    std: float
    count: int

    @classmethod
    def of(cls, lines: Lines, name: str) -> Spread:
        """Of a number of the lines; those that lack it do not count."""
        values = [float(line[name]) for line in lines if name in line]
        mean = math.fsum(values) / len(values)
        return cls(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)), len(values))

    def __str__(self) -> str:
        if not 1e-6 < self.std < 1e6:
            return f"{self.mean:.3g} ± {self.std:.2g}"
        decimals = max(0, 1 - math.floor(math.log10(self.std)))  # two digits of the deviation
        return f"{self.mean:.{decimals}f} ± {self.std:.{decimals}f}"

    @property
    def percent(self) -> str:
        """Both in per cent."""
        digits = 0 if max(abs(self.mean), self.std) >= 0.1 else 1
        return f"{100 * self.mean:.{digits}f} ± {100 * self.std:.{digits}f}%"


def spread_of_layers(lines: Lines, name: str) -> tuple[float, float]:
    """How far the contributions differ from photograph to photograph, and its error by the jackknife.

    ::

        root mean square over F x0 and the layers of the standard deviation over the photographs
    """
    values = torch.tensor([line[name] for line in lines], dtype=torch.float64)
    rest = [float(deviation(torch.cat([values[:i], values[i + 1 :]]))) for i in range(len(values))]
    mean = math.fsum(rest) / len(rest)
    error = math.sqrt((len(rest) - 1) / len(rest) * math.fsum((v - mean) ** 2 for v in rest))
    return float(deviation(values)), error


def deviation(values: torch.Tensor) -> torch.Tensor:
    """The root mean square over the columns of the standard deviation over the rows."""
    return values.var(0, correction=0).mean().sqrt()


def mean_layers(lines: Lines, name: str = "before") -> tuple[torch.Tensor, torch.Tensor]:
    """(P,) means over the photographs of F x0 and the layers, and (P,) standard deviations."""
    values = torch.tensor([line[name] for line in lines], dtype=torch.float64)
    return values.mean(0), values.std(0, correction=0)


def first_policy(measured: Mapping[Network, Lines]) -> dict[Network, Lines]:
    """The lines under the first policy of every network, which the findings are about."""
    return {n: [line for line in lines if line["policy"] == n.policies[0]] for n, lines in measured.items()}


def findings_of(measured: Mapping[Network, Lines]) -> list[Finding]:
    """The findings about networks, {network: its lines}, from those under the first policy of each."""
    lines = first_policy(measured)
    scores = {n: part for n, part in lines.items() if n.kind == "scores"}
    images = {n: part for n, part in lines.items() if n.kind == "images"}
    return [*(_of_scores(scores) if scores else ()), *(_of_images(images) if images else ())]


def _finding(
    claim: str,
    paper: str,
    networks: Mapping[Network, Lines],
    measured: str,
    holds: Callable[[Lines], bool],
    rule: str,
    topic: str,
    what: str = "photographs",
) -> Finding:
    """The rule holds for all networks, or it is said for how many."""
    found = judge(networks, lambda drawn: all(holds(lines) for lines in drawn.values()), what)
    each = [holds(lines) for lines in networks.values()]
    some = f" (holds for {sum(each)} of {len(each)})" if 0 < sum(each) < len(each) else ""
    named = ", ".join(n.name for n in networks)
    return Finding(claim, paper, measured + some, found.appears, rule, named, found.why, topic)


def _each(networks: Mapping[Network, Lines], say: Callable[[Lines], Any]) -> str:
    return "; ".join(f"{n.name} {say(lines)}" for n, lines in networks.items())


def mean_of(lines: Lines, name: str) -> float:
    """The mean of a number of the lines; those that lack it do not count."""
    return Spread.of(lines, name).mean


def _of_scores(networks: dict[Network, Lines]) -> list[Finding]:
    return [*_shares(networks), *_layers(networks), *_attack(networks)]


def _shares(networks: dict[Network, Lines]) -> list[Finding]:
    low, high = PAPER_SHARES
    inside = {n: sum(low <= line["share"] <= high for line in lines) for n, lines in networks.items()}
    return [
        _finding(
            "The residual is the larger part of the score",
            "78 to 95% (Table 4)",
            networks,
            "about x = 0: " + _each(networks, lambda lines: Spread.of(lines, "share").percent),
            lambda lines: mean_of(lines, "share") > 0.5,
            "a mean above 50% for all",
            "shares",
        ),
        _finding(
            "The residual's share of the score is 78 to 95%",
            "the means of 21 networks (Table 4)",
            networks,
            "mean about x = 0, and the photographs in that range: "
            + "; ".join(
                f"{n.name} {Spread.of(v, 'share').percent}, {inside[n]} of {len(v)}"
                for n, v in networks.items()
            ),
            lambda lines: low <= mean_of(lines, "share") <= high,
            "the mean of every network is in that range",
            "shares",
        ),
        _finding(
            "The share differs little from photograph to photograph",
            "deviations of 4 to 17 points (Table 4)",
            networks,
            _each(networks, lambda lines: f"±{100 * Spread.of(lines, 'share').std:.0f} points"),
            lambda lines: Spread.of(lines, "share").std <= PAPER_SPREAD,
            "at most 17 points for all",
            "shares",
        ),
        _finding(
            "F(x0) does not look like a template of x0",
            "a template is not what is found (section 4)",
            networks,
            "cosine of row and x0: " + _each(networks, lambda lines: Spread.of(lines, "cosine")),
            lambda lines: mean_of(lines, "cosine") < 0.5,
            "a mean below 0.5 for all",
            "templates",
        ),
    ]


def largest_layers(lines: Lines, count: int = 1) -> list[int]:
    """The positions of the layers with the largest |mean share|, the largest first; 0 is the first layer."""
    return mean_layers(lines)[0][1:].abs().argsort(descending=True)[:count].tolist()


def _layers(networks: dict[Network, Lines]) -> list[Finding]:
    tops = {n: largest_layers(lines)[0] for n, lines in networks.items()}
    names = {n: lines[0]["layers"][1:] for n, lines in networks.items()}
    return [
        _finding(
            "With batch norm the late layers contribute most",
            "late contributions dominate (Fig. 8)",
            networks,
            "part of the sum of magnitudes that is of the last third of the layers: "
            + _each(networks, lambda lines: Spread.of(lines, "late").percent),
            lambda lines: mean_of(lines, "late") > 0.5,
            "more than half for all",
            "layers",
        ),
        _finding(
            "With batch norm the peak is just before the dense layer",
            "one peak there (Fig. 8)",
            networks,
            "largest mean share: "
            + "; ".join(f"{n.name} {names[n][k]} ({k + 1} of {len(names[n])})" for n, k in tops.items()),
            lambda lines: (
                len(lines[0]["layers"]) - 5 <= largest_layers(lines)[0] < len(lines[0]["layers"]) - 2
            ),
            "one of the three layers before the dense one, for all",
            "layers",
        ),
    ]


def _attack(networks: dict[Network, Lines]) -> list[Finding]:
    pairs = {
        n: [spread_of_layers(lines, part) for part in ("before", "after")] for n, lines in networks.items()
    }
    said = "; ".join(
        f"{n.name} {100 * a:.0f} ± {100 * ea:.0f}% before, {100 * b:.0f} ± {100 * eb:.0f}% after"
        for n, ((a, ea), (b, eb)) in pairs.items()
    )
    early = {
        n: [Spread.of(lines, part) for part in ("early", "early_after")] for n, lines in networks.items()
    }
    return [
        _finding(
            "An attack spreads the contributions of the layers",
            "strong effect on the variance (Fig. 8)",
            networks,
            f"deviation over the photographs (± its error), in shares of the score: {said}",
            lambda lines: spreads(lines, "after") > 1.5 * spreads(lines, "before"),
            "1.5 times as much for all",
            "attack",
        ),
        _finding(
            "After an attack the score is due to the first few layers",
            "exclusively (section 4)",
            networks,
            "F x0 and the first two layers: "
            + "; ".join(f"{n.name} {a.percent} before, {b.percent} after" for n, (a, b) in early.items()),
            lambda lines: mean_of(lines, "early_after") > max(0.9, mean_of(lines, "early")),
            "more than before, and than 90%, for all",
            "attack",
        ),
    ]


def spreads(lines: Lines, name: str) -> float:
    """As ``spread_of_layers``, without its error."""
    return float(deviation(torch.tensor([line[name] for line in lines], dtype=torch.float64)))


def _of_images(networks: dict[Network, Lines]) -> list[Finding]:
    precise = {n: lines for n, lines in networks.items() if n.trained == ERROR}
    critic = {n: lines for n, lines in networks.items() if n.trained == CRITIC}
    others = {n: lines for n, lines in networks.items() if n.trained not in (ERROR, CRITIC)}
    found = [
        _finding(
            f"Residuals of super-resolution are small{trained}",
            paper,
            part,
            "|r| / |y| about x = 0: " + _each(part, lambda lines: Spread.of(lines, "norm").percent),
            lambda lines: mean_of(lines, "norm") < 0.1,
            "a mean below 10% for all",
            "residuals",
        )
        for trained, paper, part in (
            (" (trained for a small error)", "small (Fig. 6)", precise),
            (" (trained against a critic)", "not measured", critic),
            ("", "small (Fig. 6)", others),
        )
        if part
    ]
    if precise and critic:
        found.append(_against_critics(networks))
    return [*found, *_rows(networks), *eigen_findings(networks, "super-resolution"), *_oscillating(networks)]


def _against_critics(networks: dict[Network, Lines]) -> Finding:
    def larger(drawn: dict[Network, Lines]) -> bool:
        norms = {n: mean_of(lines, "norm") for n, lines in drawn.items()}
        critic, precise = ([v for n, v in norms.items() if n.trained == kind] for kind in (CRITIC, ERROR))
        return min(critic) > max(precise)

    found = judge(networks, larger)
    return Finding(
        "Networks trained against a critic have larger residuals",
        "in image-to-image (Fig. 15); not measured for super-resolution",
        _each(networks, lambda lines: Spread.of(lines, "norm").percent),
        found.appears,
        "each of their means is larger than all others",
        ", ".join(n.name for n in networks),
        found.why,
        "residuals",
    )


def _rows(networks: dict[Network, Lines]) -> list[Finding]:
    return [
        _finding(
            "Rows of super-resolution are sparse, and near their pixel",
            "sparse, and concentrated around the pixel (section 8.B)",
            networks,
            "90% of the energy within: "
            + _each(networks, lambda lines: f"{Spread.of(lines, 'radius_90')} px"),
            lambda lines: mean_of(lines, "radius_90") <= LOCAL,
            f"within {LOCAL} px for all",
            "rows",
        )
    ]


def _with_eigen(networks: Mapping[Network, Lines]) -> dict[Network, Lines]:
    """The lines that have eigen-inputs, of the networks that have such lines."""
    has = {n: [line for line in lines if "area" in line] for n, lines in networks.items()}
    return {n: lines for n, lines in has.items() if lines}


def eigen_findings(networks: Mapping[Network, Lines], where: str, what: str = "photographs") -> list[Finding]:
    """What the paper says of eigen-inputs, about networks for ``where``; lines without them do not count."""
    has = _with_eigen(networks)
    if not has:
        return []
    return [
        _finding(
            f"Eigen-inputs are localised ({where})",
            f"localised ({FIGURES[where]})",
            has,
            "area: "
            + _each(has, lambda lines: f"{Spread.of(lines, 'participation').percent} of the picture"),
            lambda lines: mean_of(lines, "participation") < LARGE,
            f"below {100 * LARGE:.0f}% of the picture for all",
            "eigen",
            what,
        ),
        _finding(
            f"Eigen-inputs are bandpass ({where})",
            f"bandpass ({FIGURES[where]})",
            has,
            "energy from 1/8 to 3/8 cycles a pixel: "
            + _each(has, lambda lines: Spread.of(lines, "middle").percent),
            lambda lines: mean_of(lines, "middle") > 0.5,
            "more than half for all",
            "eigen",
            what,
        ),
        _finding(
            f"Eigen-inputs are oriented ({where})",
            f"oriented ({FIGURES[where]})",
            has,
            "orientedness, from 0 to 1: " + _each(has, lambda lines: Spread.of(lines, "oriented")),
            lambda lines: mean_of(lines, "oriented") > 0.5,
            "a mean above 0.5 for all",
            "eigen",
            what,
        ),
    ]


def _oscillating(networks: Mapping[Network, Lines]) -> list[Finding]:
    """What the paper says of the eigen-inputs of super-resolution alone."""
    has = _with_eigen(networks)
    if not has:
        return []
    return [
        _finding(
            "Eigen-inputs oscillate at high frequencies (super-resolution)",
            "high frequencies (section 4, case 2)",
            has,
            "energy above 3/8 cycles a pixel: " + _each(has, lambda lines: Spread.of(lines, "high").percent),
            lambda lines: mean_of(lines, "high") > WHITE,
            f"more than white noise has, {100 * WHITE:.0f}%, for all",
            "eigen",
        ),
    ]
