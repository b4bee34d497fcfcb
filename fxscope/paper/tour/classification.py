"""Chapter 1: classifiers (paper, Tables 3 and 4, Fig. 3, 4, 8 to 10)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch

from ... import models
from ...analysis import LayerContributions, PixelVotes, fgsm, layer_contributions, pixel_votes, residual_share
from ...analysis.discussion import READINGS
from ...errors import IllConditioned
from ...linop import LinearInterpreter, Reader, prepare
from ...plot import analysis as draw
from .. import datasets
from ..findings import Verdict, judge
from ..findings.claims import Lines, Spread, mean_of, spreads
from .page import Chapter, Finding

COUNT, VOTED, SHOWN = 100, 24, 3
BATCH = 50
INK = 0.3  # a pixel is ink above this
STEPS = tuple(e / 255 for e in (1, 2, 4, 8, 16, 32, 64))
NETWORKS = ("digits_vgg", "digits_vgg_bn", "digits_resnet")
WHAT = "digits"  # that verdicts are redrawn over


def classification(progress: bool = False) -> Chapter:
    """The digit stand-ins on held-out digits, in double precision."""
    chapter = Chapter("Classification", networks=f"{', '.join(NETWORKS)} (stand-ins)")
    networks = {name: models.build(name).double() for name in NETWORKS}
    ink, truth = (t[:COUNT] for t in datasets.digits("test"))
    x0 = datasets.normalised(ink).double()
    held = ", ".join(f"{n} {100 * models.provenance(n)['held_out']['accuracy']:.1f}%" for n in NETWORKS)
    chapter.text(
        "Three small classifiers of handwritten digits stand in for the paper's ImageNet networks, whose"
        f" weights are not shipped here (held-out accuracy: {held}). The images are {COUNT} held-out digits"
        f" at 32x32; x0 is normalised, so that 0 is a grey of {datasets.INK_MEAN:.2f}."
    )
    readers = {name: prepare(n, x0[:BATCH]) for name, n in networks.items()}
    _shares(chapter, networks, x0, progress)
    _templates(chapter, readers, x0)
    attacked = _attack(chapter, networks["digits_vgg"], x0, truth, progress)
    _layers(chapter, readers, x0, attacked, progress)
    _discussions(chapter, readers["digits_vgg"], x0)
    _votes(chapter, readers["digits_vgg"], x0, ink, attacked)
    return chapter


def _shares(chapter: Chapter, networks: dict, x0: torch.Tensor, progress: bool) -> None:
    found = residual_share(
        networks, [(str(i), x) for i, x in enumerate(x0.split(1))], batch=BATCH, progress=progress
    )
    chapter.heading("Residual share of the top score (Tables 3 and 4)")
    rows = [
        (f"{m.name} (stand-in)", f"{100 * m.mean:.1f}% ± {100 * m.std:.1f}", len(m.shares), f"{m.error:.1e}")
        for m in found.models
    ]
    chapter.figure(
        "residual_share",
        found.plot(),
        "The share of the residual r in the largest score y, about x = 0 (the mean ink): the mean over"
        f" {COUNT} digits, and the standard deviation as a line.",
    )
    chapter.table(("network", "r / y", "images", "largest error of the sum"), rows, shows=("shares",))
    chapter.numbers["residual_share"] = {
        m.name: {"zero": m.zero, "mean": m.mean, "std": m.std, "error": m.error} for m in found.models
    }
    chapter.findings += _share_findings({m.name: _lines("share", m.shares.values()) for m in found.models})


def _lines(name: str, values: Iterable[float]) -> Lines:
    """A line for every digit."""
    return [{name: float(v)} for v in values]


def _found(
    claim: str, paper: str, measured: str, found: Verdict, rule: str, topic: str, network: str = ""
) -> Finding:
    return Finding(claim, paper, measured, found.appears, rule, network, found.why, topic)


def _share_findings(shares: dict[str, Lines]) -> list[Finding]:
    spread = {n: Spread.of(lines, "share") for n, lines in shares.items()}
    text = ", ".join(f"{n.removeprefix('digits_')} {v.percent}" for n, v in spread.items())
    order = sorted(spread, key=lambda name: spread[name].mean)
    pair = {n: shares[n] for n in ("digits_vgg", "digits_vgg_bn")}
    more = mean_of(pair["digits_vgg_bn"], "share") - mean_of(pair["digits_vgg"], "share")

    def falling(drawn: dict[str, Lines]) -> bool:
        now = {n: Spread.of(lines, "share") for n, lines in drawn.items()}
        ordered = sorted(now.values(), key=lambda v: v.mean)
        return all(a.std >= b.std for a, b in itertools.pairwise(ordered))

    return [
        _found(
            "The residual is the larger part of the score",
            "78 to 95% (Table 4)",
            text,
            judge(shares, lambda drawn: all(mean_of(v, "share") > 0.5 for v in drawn.values()), WHAT),
            "a mean above 50% for all",
            "shares",
        ),
        _found(
            "With batch norm the share is larger",
            "VGG-11/13/16/19: +2.3, +3.0, +2.0, +0.3 points",
            f"{100 * more:+.0f} points: {text}",
            judge(
                pair, lambda d: mean_of(d["digits_vgg_bn"], "share") > mean_of(d["digits_vgg"], "share"), WHAT
            ),
            "larger at all",
            "shares",
            "digits_vgg, digits_vgg_bn (stand-ins)",
        ),
        _found(
            "The larger the share, the smaller its deviation",
            "11 to 17 points for most, 4 for DenseNet",
            ", ".join(f"±{100 * spread[n].std:.0f} at {100 * spread[n].mean:.0f}%" for n in order),
            judge(shares, falling, WHAT),
            "deviations fall in the order of the shares",
            "shares",
        ),
    ]


def _templates(chapter: Chapter, readers: dict[str, Reader], x0: torch.Tensor) -> None:
    """The row of the top score of the first digits, and how much it looks like the digit."""
    chapter.heading("Is the row of the top score a template?")
    rows, alike = {}, {}
    for name, reader in readers.items():
        row = torch.cat([_top_rows(reader(part)) for part in x0.split(BATCH)])
        alike[name] = _lines("cosine", torch.nn.functional.cosine_similarity(row.flatten(1), x0.flatten(1)))
        rows[name] = row
    ink = x0[:SHOWN] - x0[:SHOWN].min()
    digits = {f"digit {i + 1}": (ink / ink.max())[i] for i in range(SHOWN)}
    panels = digits | {
        f"{n.removeprefix('digits_')}, {i + 1}": r[i] for n, r in rows.items() for i in range(SHOWN)
    }
    said = ", ".join(f"{n.removeprefix('digits_')} {Spread.of(v, 'cosine')}" for n, v in alike.items())
    chapter.figure(
        "templates",
        draw.grid(panels, SHOWN, cross=False, images=digits, title="rows of the top score"),
        f"The first {SHOWN} digits, and the row of the top score of each, one network a line; each line has"
        f" one scale. Cosine of row and image, mean over {COUNT} digits:"
        f" {said}.",
        shows=("templates",),
    )
    chapter.numbers["templates"] = {n: mean_of(v, "cosine") for n, v in alike.items()}
    chapter.findings.append(
        _found(
            "F(x0) does not look like a template of x0",
            "a template is not what is found (section 4)",
            f"cosine of row and image: {said}",
            judge(alike, lambda drawn: all(mean_of(v, "cosine") < 0.5 for v in drawn.values()), WHAT),
            "a mean below 0.5 for all",
            "templates",
        )
    )


def _top_rows(lin: LinearInterpreter) -> torch.Tensor:
    """The row of the largest score of every image."""
    return lin.F.row(lin.y0.argmax(1).tolist())


def _attack(
    chapter: Chapter, network: torch.nn.Module, x0: torch.Tensor, truth: torch.Tensor, progress: bool
) -> torch.Tensor:
    """The images after the smallest step that changes half of the labels, or the largest step."""
    found = fgsm(network, x0, labels=truth, epsilons=STEPS, mean=datasets.INK_MEAN, std=datasets.INK_STD)
    enough = [i for i, s in enumerate(found.success) if s >= 0.5]
    chosen = enough[0] if enough else len(STEPS) - 1
    chapter.numbers["fgsm"] = {"epsilons": list(STEPS), "success": found.success, "shown": STEPS[chosen]}
    chapter.heading("One step of FGSM")
    success = float(found.success[chosen])
    chapter.figure(
        "fgsm",
        found.plot(),
        "The share of the digits whose label changes after one step in pixel space. The step of"
        f" {255 * STEPS[chosen]:.0f}/255 changes {100 * success:.0f}% of the labels; it is used below.",
    )
    return found.images[chosen]


def _layers(
    chapter: Chapter, readers: dict[str, Reader], x0: torch.Tensor, attacked: torch.Tensor, progress: bool
) -> None:
    found = {n: layer_contributions(r, x0, batch=BATCH, progress=progress) for n, r in readers.items()}
    after = layer_contributions(readers["digits_vgg"], attacked, batch=BATCH, progress=progress)
    chapter.heading("Layer-wise contributions (Fig. 4 and 8)")
    panels = {
        "without batch norm": found["digits_vgg"],
        "with batch norm": found["digits_vgg_bn"],
        "without, after FGSM": after,
    }
    plain, normed = found["digits_vgg"], found["digits_vgg_bn"]
    chapter.figure(
        "layers",
        draw.layers(panels),
        "F x0 (grey) and the masked biases of every layer (with the shift of its batch norm), as shares"
        f" of the top score, about x = 0; the band is one standard deviation over {COUNT} digits. The mean"
        f" depth, 0 at the first layer and 1 at the last, is {plain.depth:.2f} without and"
        f" {normed.depth:.2f} with batch norm.",
        shows=("layers", "attack"),
    )
    errors = max(f.error for f in [*found.values(), after])
    chapter.text(f"Every column sums to its score; the largest relative error is {errors:.1e}.")
    chapter.numbers["layers"] = {
        **{n: f.numbers() for n, f in found.items()},
        "after_fgsm": after.numbers(),
        "error": errors,
    }
    chapter.findings += _layer_findings(plain, normed, after)


def _of_layers(found: LayerContributions) -> Lines:
    """A line for every digit: the shares of F x0 and of every layer."""
    return [{"parts": parts} for parts in found.shares.tolist()]


def _layer_findings(
    plain: LayerContributions, normed: LayerContributions, after: LayerContributions
) -> list[Finding]:
    """Peaks and depth of the layers, their spread, and the early layers, before and after the attack."""
    peaks = [n for _, n in sorted(zip((-plain.mean[1:].abs()).tolist(), plain.names))[:2]]
    before, batch, attacked = map(_of_layers, (plain, normed, after))
    two, pair = {"without": before, "with": batch}, {"before": before, "after": attacked}
    spread = [100 * spreads(lines, "parts") for lines in pair.values()]
    early = [Spread.of(_early(lines), "early") for lines in pair.values()]
    return [
        _found(
            "Without batch norm there is an early peak, and one just before the dense layers",
            "two peaks (Fig. 8)",
            f"largest: {peaks[0]}, then {peaks[1]}",
            judge({"": before}, lambda d: _two_peaks(plain.names, _mean_parts(d[""])), WHAT),
            "one of the two largest is in the first stage, one in the last stage before the dense layers",
            "layers",
            "digits_vgg (stand-in)",
        ),
        _found(
            "With batch norm the contributions come from deeper layers",
            "one peak, just before the dense layers",
            f"mean depth {plain.depth:.2f} without, {normed.depth:.2f} with",
            judge(two, lambda d: _depth(d["with"]) > _depth(d["without"]), WHAT),
            "a larger mean depth",
            "layers",
            "digits_vgg, digits_vgg_bn (stand-ins)",
        ),
        _found(
            "An attack spreads the contributions of the layers",
            "strong effect on the variance (Fig. 8)",
            f"root mean square deviation {spread[0]:.1f}% before, {spread[1]:.1f}% after",
            judge(pair, lambda d: spreads(d["after"], "parts") > 1.5 * spreads(d["before"], "parts"), WHAT),
            "1.5 times as much",
            "attack",
            "digits_vgg (stand-in)",
        ),
        _found(
            "After an attack the score is due to the first few layers",
            "exclusively (section 4)",
            f"F x0 and the first two layers: {early[0].percent} of the score, {early[1].percent} after",
            judge(pair, _more_early, WHAT),
            "more than before, and than 90%",
            "attack",
            "digits_vgg (stand-in)",
        ),
    ]


def _early(lines: Lines) -> Lines:
    return _lines("early", (sum(line["parts"][:3]) for line in lines))


def _more_early(drawn: dict[str, Lines]) -> bool:
    before, after = (mean_of(_early(drawn[k]), "early") for k in ("before", "after"))
    return after > max(0.9, before)


def _mean_parts(lines: Lines) -> list[float]:
    return torch.tensor([line["parts"] for line in lines], dtype=torch.float64).mean(0).tolist()


def _depth(lines: Lines) -> float:
    """The mean position of the layers, weighted by the magnitude of their mean share, from 0 to 1."""
    sizes = torch.tensor(_mean_parts(lines)[1:], dtype=torch.float64).abs()
    return float((sizes * torch.linspace(0, 1, len(sizes), dtype=sizes.dtype)).sum() / sizes.sum())


def _two_peaks(names: Sequence[str], mean: Sequence[float]) -> bool:
    """The two largest layers lie in the first stage, and in the last one before the dense layers."""
    features = [i for i, n in enumerate(names) if n.startswith("features")]
    first = set(sorted(range(len(names)), key=lambda i: -abs(mean[1 + i]))[:2])
    return bool(first & set(features[:2])) and bool(first & set(features[-2:]))


def _discussions(chapter: Chapter, reader: Reader, x0: torch.Tensor) -> None:
    chapter.heading("Four variants of the pixel discussion (eq. 18)")
    lin = reader(x0[:1])
    two = [int(k) for k in lin.y0[0].topk(2).indices]
    errors: dict[str, float | None] = {}
    added = 0.0
    for reading in READINGS:
        try:
            found = lin.pixel_discussion(two, reading=reading, progress=False)
        except IllConditioned as refused:
            chapter.text(f"The variant {reading!r} is refused here: {refused}.")
            errors[reading] = None
            continue
        errors[reading], added = found.error, found.added if reading == "weighted" else added
        extra = (
            f"; the corrections amount to {100 * found.added:.0f}% of the layers' contributions"
            if reading in ("conserving", "weighted")
            else f"; the scaling amplifies rounding errors by up to {found.condition:.0f}"
        )
        chapter.figure(
            f"discussion_{reading}",
            found.plot(),
            f"The discussion of the first and second label, variant {reading!r}: the contribution of each"
            " pixel to the score, positive in red, negative in blue. Each sums to its score with a relative"
            f" error of {found.error:.0e}{extra}.",
            shows=("discussions",) if reading == "conserving" else (),
        )
    chapter.numbers["discussions"] = {"errors": errors, "added": added}


def _votes(
    chapter: Chapter, reader: Reader, x0: torch.Tensor, ink: torch.Tensor, attacked: torch.Tensor
) -> None:
    chapter.heading("Pixel votes (Fig. 3, 9 and 10)")
    measured, after = (_voted(reader, images[:VOTED], ink[:VOTED, 0] > INK) for images in (x0, attacked))
    _vote_figures(chapter, ink, measured, after)
    lines = [
        {**m[1], "agree": _agrees(m[0]), "entropy": m[0].entropy, "after": a[0].entropy}
        for m, a in zip(measured, after)
    ]
    mean = {k: Spread.of(lines, k) for k in lines[0]}
    error = max(m[0].error for m in [*measured, *after])
    chapter.text(
        f"Means over {VOTED} digits ± the standard deviation. Ink covers {mean['chance'].percent} of a"
        " picture;"
        f" {mean['votes'].percent} of the votes for the top label, and {mean['discussion'].percent} of the"
        " magnitude of its discussion, are on ink. Each discussion sums to its score with a relative"
        f" error of {error:.0e}."
    )
    chapter.numbers["votes"] = {k: v.mean for k, v in mean.items()} | {
        "top_after": sum(m[1]["top"] for m in after) / VOTED,
        "error": error,
    }
    chapter.findings += _vote_findings({"digits_vgg": lines}, mean)


def _agrees(votes: PixelVotes) -> bool:
    """Whether the most popular label has the largest score."""
    return next(iter(votes.popularity)) == int(votes.scores.argmax())


def _vote_figures(chapter: Chapter, ink: torch.Tensor, measured: list, after: list) -> None:
    for i in range(SHOWN):
        votes, _ = measured[i]
        top, share = next(iter(votes.popularity.items()))
        chapter.figure(
            f"votes_{i}",
            votes.plot(photograph=ink[i]),
            "A digit, the label for which each pixel votes, and the pixels that the three most popular labels"
            f" win. The most popular label is {top}, with {100 * share:.0f}% of the pixels; label"
            f" {int(votes.scores.argmax())} has the largest score.",
            shows=("votes",) if i == 0 else (),
        )
    chapter.figure(
        "votes_attacked",
        after[0][0].plot(photograph=ink[0]),
        "The votes on the first digit after FGSM (the picture is the digit before it): entropy"
        f" {measured[0][0].entropy:.2f} bits before, {after[0][0].entropy:.2f} after.",
        shows=("votes attacked",),
    )


def _vote_findings(lines: dict[str, Lines], mean: dict[str, Spread]) -> list[Finding]:
    def verdict(holds: Callable[[Lines], bool]) -> Verdict:
        return judge(lines, lambda drawn: all(map(holds, drawn.values())), WHAT)

    network = "digits_vgg (stand-in)"
    return [
        _found(
            "The most popular label is the top score",
            "normally (section 4)",
            f"for {sum(line['agree'] for line in lines['digits_vgg'])} of {VOTED} digits",
            verdict(lambda v: mean_of(v, "agree") > 0.5),
            "for more than half",
            "votes",
            network,
        ),
        _found(
            "Votes for the top label focus on the object",
            "clearly (Fig. 3)",
            f"{mean['votes'].percent} on ink, chance {mean['chance'].percent}",
            verdict(lambda v: mean_of(v, "votes") > 1.25 * mean_of(v, "chance")),
            "1.25 times chance",
            "votes",
            network,
        ),
        _found(
            "Discussions do not focus on the object",
            '"highest values do not always focus on the objects" (section 4)',
            f"{mean['discussion'].percent} of the magnitude on ink, chance {mean['chance'].percent}",
            verdict(lambda v: mean_of(v, "discussion") <= 1.25 * mean_of(v, "chance")),
            "at most 1.25 times chance: no more than it would without an object, on average",
            "discussions",
            network,
        ),
        _found(
            "After an attack the votes spread over the labels",
            "Fig. 10",
            f"entropy {mean['entropy']} bits before, {mean['after']} after",
            verdict(lambda v: mean_of(v, "after") > mean_of(v, "entropy") + 0.1),
            "0.1 bits more",
            "votes attacked",
            network,
        ),
    ]


def _voted(reader: Reader, x0: torch.Tensor, ink: torch.Tensor) -> list[tuple]:
    """For every digit its votes, and how much of the top label's votes and discussion lies on ink."""
    lin = reader(x0)
    top = lin.y0.argmax(1).tolist()
    votes = pixel_votes(lin, progress=False)
    sizes = lin.pixel_discussion([top], progress=False).images[0].abs().sum(1)
    found = []
    for i, (k, size) in enumerate(zip(top, sizes)):
        mine = votes.of(i)
        mask = mine.mask(k)
        on_ink = float((mask & ink[i]).sum() / mask.sum().clamp_min(1))
        found.append(
            (
                mine,
                {
                    "chance": float(ink[i].double().mean()),
                    "votes": on_ink,
                    "discussion": float((size * ink[i]).sum() / size.sum()),
                    "top": mine.popularity[k],
                },
            )
        )
    return found
