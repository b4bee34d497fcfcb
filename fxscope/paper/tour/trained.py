"""Chapter 1: networks that others trained, on photographs (paper, Table 4, Fig. 3, 5, 6, 8 and 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ...analysis import LayerContributions, pixel_votes
from ...errors import WeightsError
from ...images.preprocess import Preprocess
from ...linop import prepare
from ...plot import analysis as draw
from ..findings import NETWORKS, Network, Photograph, findings_of, measure
from ..findings.claims import Lines, Spread
from ..findings.photographs import SIDE
from .page import Chapter
from .several import taken as large_enough

MEASURED = ("efficientnet_lite0", "span4x", "real_esr_animevideo4x")
SATURATED = 0.995  # part of the coefficients of rows that are shown as they are
IMAGENET = 1000  # labels, whose names are known
SHOWN, VOTERS = 4, 10  # photographs with rows, labels that are voted for


def trained(pictures: Sequence[Photograph] = (), progress: bool = False) -> Chapter:
    """The chapter: findings on the trained networks that are installed, or what is to be installed."""
    chapter = Chapter("Photographs, and networks that others trained")
    taken, small = large_enough(pictures)
    found, lacking = installed()
    for said in lacking:
        chapter.text(f"Not measured here: {said}.")
    if small:
        chapter.text(f"Left out, smaller than {2 * SIDE} pixels: {', '.join(small)}.")
    if not found or not taken:
        chapter.text("The stand-ins of the other chapters are small, and trained for this purpose.")
        return chapter
    chapter.text(
        f"These networks were really trained, and the photographs ({', '.join(p.name for p in taken)}) come"
        " with scikit-image and scikit-learn unless they were given. Each number is the mean over photographs"
        " ± the standard deviation over them; a photograph is measured at two crops, which are averaged"
        " first. The policy is 'freeze'. python -m fxscope.paper.findings measures more networks, on more"
        " photographs."
    )
    measured = {n: measure(n, taken, progress=progress) for n in found}
    scores = {n: lines for n, lines in measured.items() if n.kind == "scores"}
    images = {n: lines for n, lines in measured.items() if n.kind == "images"}
    for n, lines in scores.items():
        _scores(chapter, n, lines, taken)
    if images:
        _images(chapter, images)
    chapter.numbers |= {n.name: lines for n, lines in measured.items()}
    chapter.findings += findings_of(measured)
    return chapter


def installed() -> tuple[list[Network], list[str]]:
    """The networks whose weights are installed, and what the errors say of the others."""
    found, lacking = [], []
    for name in MEASURED:
        try:
            NETWORKS[name].module()
            found.append(replace(NETWORKS[name], policies=NETWORKS[name].policies[:1]))
        except WeightsError as error:
            lacking.append(f"{name}, {error}")
    return found, lacking


def _scores(chapter: Chapter, n: Network, lines: Lines, taken: Sequence[Photograph]) -> None:
    """Shares about three zeros, layers before and after FGSM, rows beside the photographs, and votes."""
    chapter.heading(f"{n.name}, trained {n.trained}: shares of the top score (Table 4)")
    zeros = {"share": "x = 0", "share_mean": "the mean colour of each crop", "share_black": "black"}
    rows = [(said, Spread.of(lines, name).percent, len(lines)) for name, said in zeros.items()]
    chapter.table(("residual share about", "r / y", "photographs"), rows, shows=("shares",))
    error = max(line["error"] for line in lines)
    chapter.text(f"All parts of a score sum to it with a relative error of at most {error:.0e}.")
    chapter.heading(f"{n.name}: layer-wise contributions (Fig. 8)")
    before, after = (_layers(lines, part) for part in ("before", "after"))
    chapter.figure(
        f"trained_layers_{n.name}",
        draw.layers({"photographs": before, "after FGSM": after}),
        "F x0 (grey) and the constants of every layer, in the order of the graph, as shares of the top score"
        f" about x = 0; the band is one standard deviation over {len(lines)} photographs. FGSM takes the"
        " smallest of the steps 1, 2, 4 and 8/255 that changes the label, or the last; the label afterwards"
        f" is the new one. The last third of the layers has {Spread.of(lines, 'late').percent} of the sum of"
        " magnitudes.",
        shows=("layers", "attack"),
    )
    _rows_and_votes(chapter, n, taken)


def _layers(lines: Lines, part: str) -> LayerContributions:
    shares = torch.tensor([line[part] for line in lines], dtype=torch.float64)
    names, count = lines[0]["layers"][1:], len(lines)
    labels = torch.zeros(count, dtype=torch.long)
    return LayerContributions(tuple(names), labels, shares[:, 0], shares[:, 1:], torch.ones(count))


def _rows_and_votes(chapter: Chapter, n: Network, taken: Sequence[Photograph]) -> None:
    module = n.module()
    preprocess = Preprocess.of(f"fxscope:{n.name}", module)
    inputs = {p.name: preprocess(p.picture()) for p in taken[:SHOWN]}
    reader = prepare(module, next(iter(inputs.values())))
    rows: dict[str, torch.Tensor] = {}
    for name, x0 in inputs.items():
        lin = reader(x0)
        rows[f"row, {name}"] = lin.F.row(int(lin.y0.argmax()))
    chapter.heading(f"{n.name}: rows and votes (Fig. 3)")
    limit = float(torch.stack(list(rows.values())).abs().flatten().quantile(SATURATED))
    rows = {said: row.clamp(-limit, limit) for said, row in rows.items()}
    shown = {name: preprocess.inverse(x0[0]) for name, x0 in inputs.items()}
    chapter.figure(
        f"trained_rows_{n.name}",
        draw.grid({**shown, **rows}, len(inputs), cross=False, images=shown),
        "The inputs, and the row of the top score of each; the colours end at a value that"
        f" {100 - 100 * SATURATED:.1g}% of the coefficients exceed.",
        shows=("templates",),
        hero=True,
    )
    name, x0 = next(iter(inputs.items()))
    lin = reader(x0)
    names = _names(lin.y0.shape[1])
    votes = pixel_votes(lin, lin.y0[0].topk(VOTERS).indices.tolist(), progress=False)
    top, share = next(iter(votes.popularity.items()))
    chapter.figure(
        f"trained_votes_{n.name}",
        votes.plot(names=names, photograph=preprocess.inverse(x0)),
        f"{name}: the label to whose score each pixel contributes most, of the {VOTERS} with the largest"
        f" scores. The most popular is {names[top]}, with {100 * share:.0f}% of the pixels;"
        f" {names[int(lin.y0.argmax())]} has the largest score.",
    )


def _names(count: int) -> list[str]:
    """What the labels are called: ImageNet's, or numbers."""
    if count != IMAGENET:
        return [f"label {k}" for k in range(count)]
    import torchvision

    return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


def _images(chapter: Chapter, measured: Mapping[Network, Lines]) -> None:
    chapter.heading("Super-resolution: residuals, rows and eigen-inputs")
    head = ("network", "trained", "|r| / |y|", "90% of a row within", "area of an eigen-input", "oriented")
    rows = [(n.name, n.trained, *_cells(lines)) for n, lines in measured.items()]
    bands = ("energy below 1/8 cycles a pixel", "to 3/8", "above")
    chapter.table((*head, *bands), rows, shows=("residuals", "rows", "eigen"))
    n = len(next(iter(measured.values())))
    chapter.text(
        f"Crops of {SIDE} x {SIDE} pixels of {n} photographs at half their size, about x = 0 (black); eigen-"
        f"inputs of the middle 32 x 32 pixels, two of each. White noise has 4, 39 and 57% of"
        " its energy in the three bands."
    )


def _cells(lines: Lines) -> list[Any]:
    bands = [Spread.of(lines, name).percent for name in ("low", "middle", "high")]
    radius, area = (Spread.of(lines, name) for name in ("radius_90", "area"))
    return [
        Spread.of(lines, "norm").percent,
        f"{radius} px",
        f"{area} px",
        str(Spread.of(lines, "oriented")),
        *bands,
    ]
