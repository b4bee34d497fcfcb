"""Chapter 3: networks from images to images of the same size (paper, Fig. 7 and 13 to 15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ... import models, plot
from ...analysis import copy_move, diagonal, reach
from ...analysis.images import Source, crop_around
from ...analysis.sampled import sample
from ...linop import interpret
from ...plot import analysis as draw
from ...results.progress import steps
from .. import datasets
from ..findings import Network as Measured
from ..findings import Photograph, Verdict, judge
from ..findings.claims import Lines, Spread, eigen_findings, mean_of
from .networks import Network, middle, network
from .page import Chapter, Finding
from .several import BOUND, PICTURE, agreement, inputs_of, same_size, stand_ins_upscaled, taken
from .super_resolution import eigen_images, probe_places

Measurements = Mapping[Measured, Lines]
OVER = (
    "network",
    "images",
    "|r| / |y|",
    "of a row's energy beyond 8 px",
    "places that share a source",
    "energy of the strongest source",
    "area of an eigen-input",
    "below 1/8 cycles a pixel",
    "to 3/8",
    "above",
    "oriented",
)
SIDE, RADIUS, SEED = 256, 8, 3
SAMPLED, EIGEN = 24, 64  # places of rows, and the middle pixels of which the eigen-images are shown


def default_networks() -> list[Network]:
    """Both stand-ins: photo to label, and photo to painting."""
    return [network(f"fxscope:{n}", models.build(n)) for n in ("facades_resnet", "painter_resnet")]


def image_to_image(
    picture: torch.Tensor,
    title: str,
    networks: list[Network] | None = None,
    progress: bool = False,
    pictures: Sequence[Photograph] = (),
) -> Chapter:
    """The chapter: the network of facades on a drawn facade, the others on the photograph (3, H, W).

    The findings are over several facades and photographs.
    """
    chapter = Chapter("Image to image")
    networks = networks or default_networks()
    chapter.networks = ", ".join(n.title for n in networks)
    given = {
        n.name: datasets.facade(SEED, SIDE)[0] if n.name.startswith("facades") else middle(picture, SIDE, 4)
        for n in networks
    }
    chapter.text(
        f"ResNet generators with instance norm (CycleGAN's layout with 9 blocks) at {SIDE} x {SIDE}:"
        f" {', '.join(n.title for n in networks)}. A facade drawn from seed {SEED}, not used in training, and"
        f" the photograph {title}. Instance norm has its mean and deviation frozen, as in Fig. 2, unless"
        " another variant is named."
    )
    interpreters = {n.name: interpret(n.module, n.take(given[n.name])) for n in networks}
    places = {n.name: probe_places(given[n.name].mean(0), 24) for n in networks}
    _outputs(chapter, networks, interpreters, given)
    _filters(chapter, interpreters, places, given)
    _off_diagonal(chapter, networks, interpreters, places, given)
    _reach(chapter, networks, given, places)
    small = {n.name: _middle(given[n.name]) for n in networks}
    parts = {n.name: interpret(n.module, n.take(small[n.name])) for n in networks}
    chapter.text(f"The eigen-images are of the middle {EIGEN} x {EIGEN} pixels.")
    eigen_images(chapter, parts, "i2i", 4)
    _over_several(chapter, networks, pictures, progress)
    return chapter


def _middle(picture: torch.Tensor) -> torch.Tensor:
    return middle(picture, EIGEN, 8)


def _over_several(
    chapter: Chapter, networks: list[Network], given: Sequence[Photograph], progress: bool
) -> None:
    """The findings, over facades or photographs; residuals and areas beside those of super-resolution."""
    pictures, _ = taken(given)
    inputs = {n: found for n in networks if (found := inputs_of(n, pictures, SEED))}
    if not inputs:
        return
    with steps(sum(map(len, inputs.values())), "images of image-to-image networks", progress) as bar:
        lines = {
            Measured(n.name, "images", "image to image"): same_size(n, x, lambda _: bar.update(1))
            for n, x in inputs.items()
        }
    beside = stand_ins_upscaled(tuple(pictures)) if pictures else {}
    chapter.heading("Over several images, and compared with super-resolution")
    cells = ("norm", "off", "agree", "source")
    rows = [
        (
            n.name,
            len(found),
            *(Spread.of(found, k).percent if all(k in line for line in found) else "" for k in cells),
            Spread.of(found, "participation").percent,
            *(Spread.of(found, band).percent for band in ("low", "middle", "high")),
            str(Spread.of(found, "oriented")),
        )
        for n, found in {**lines, **beside}.items()
    ]
    chapter.table(OVER, rows, "Mean ± standard deviation over the images")
    chapter.text(
        f"Inputs of {PICTURE} x {PICTURE} pixels: facades drawn from other seeds than those of the training,"
        " and photographs at half their size; eigen-inputs are of their middle. Norms are in the output units"
        " of each network: [-1, 1] for the generators, so that grey counts as 0, and [0, 1] or 0 to 255 for"
        " the upscalers. Areas are shares of the picture."
    )
    chapter.numbers["over_images"] = {n.name: found for n, found in lines.items()}
    chapter.findings += [*_findings(lines), *eigen_findings(lines, "image to image", "images")]
    if beside:
        chapter.findings += _against_super_resolution(lines, beside)


def _against_super_resolution(mine: Measurements, others: Measurements) -> list[Finding]:
    """Residuals and areas of eigen-inputs beside those of the super-resolution stand-ins."""

    def all_larger(key: str) -> Verdict:
        def larger(drawn: dict[Measured, Lines]) -> bool:
            means = {n: mean_of(lines, key) for n, lines in drawn.items()}
            return min(means[n] for n in mine) > max(means[n] for n in others)

        return judge({**mine, **others}, larger, "images")

    def said(key: str) -> str:
        both = ({n: Spread.of(v, key).percent for n, v in part.items()} for part in (mine, others))
        return "; ".join(", ".join(f"{n.name} {v}" for n, v in part.items()) for part in both)

    residuals, areas = all_larger("norm"), all_larger("participation")
    return [
        Finding(
            "Residuals of image-to-image networks are larger than those of super-resolution networks",
            "larger (Fig. 15)",
            said("norm"),
            residuals.appears,
            "each of their means is larger than all others",
            why=residuals.why,
            topic="residuals",
        ),
        Finding(
            "Eigen-inputs of image-to-image networks cover larger areas",
            "less sparse than in super-resolution (Fig. 14)",
            said("participation"),
            areas.appears,
            "each of their means is larger than all others",
            why=areas.why,
            topic="eigen",
        ),
    ]


def _findings(lines: Measurements) -> list[Finding]:
    """Energy off the diagonal, copy-move, and what instance norm does to the reach."""
    names = ", ".join(n.name for n in lines)
    off = judge(lines, lambda drawn: all(mean_of(part, "off") > 0.1 for part in drawn.values()), "images")
    copied = judge(lines, lambda drawn: any(map(_copies, drawn.values())), "images")
    return [
        Finding(
            "Rows have much energy off the diagonal",
            "strong off-diagonals (Fig. 7 and 13)",
            ", ".join(
                f"{n.name}: {Spread.of(v, 'off').percent} beyond {RADIUS} px" for n, v in lines.items()
            ),
            off.appears,
            "a mean above 10% for all",
            names,
            off.why,
            "off",
        ),
        Finding(
            "Copy-move: all places take their values from one fixed area",
            "the same ellipse for all pixels (Fig. 7)",
            ", ".join(
                f"{n.name}: {Spread.of(v, 'agree').percent} of the places share a source; the strongest"
                f" source has {Spread.of(v, 'source').percent} of the energy"
                for n, v in lines.items()
            ),
            copied.appears,
            "for any network, on average half of the places share a source, and it has 5% of the energy",
            names,
            copied.why,
            "copy",
        ),
        _reach_finding(lines, names),
    ]


def _reach_finding(lines: Measurements, names: str) -> Finding:
    reached = judge(lines, lambda drawn: all(map(_beyond, drawn.values())), "images")
    furthest = {
        n.name: {k: max(line["furthest"][k] for line in v) for k in v[0]["furthest"]}
        for n, v in lines.items()
    }
    return Finding(
        "Coefficients over the whole image come from instance norm",
        '"only possible due to instance normalization"',
        "furthest coefficient: "
        + "; ".join(f"{n}: " + ", ".join(f"{k} {v} px" for k, v in f.items()) for n, f in furthest.items())
        + f" (the convolutions reach {BOUND})",
        reached.appears,
        "there is energy beyond the reach of the convolutions only if the mean is not frozen",
        names,
        reached.why,
        "reach",
    )


def _copies(lines: Lines) -> bool:
    return mean_of(lines, "agree") > 0.5 and mean_of(lines, "source") > 0.05


def _beyond(lines: Lines) -> bool:
    """Whether, on every image, energy lies beyond the convolutions only where the mean is not frozen."""
    found = [line["furthest"] for line in lines]
    return all(f["stats"] <= BOUND < min(f["scale"], f["taylor"]) for f in found)


def _outputs(chapter: Chapter, networks: list[Network], interpreters: dict, given: dict) -> None:
    chapter.heading("Outputs and residuals")
    rows = []
    for n in networks:
        lin = interpreters[n.name]
        r = lin.residual
        share = float(r.norm() / lin.y0.norm())
        filtered = lin.F @ lin.x0[0]
        error = float((filtered + r[0] - lin.y0[0]).abs().max() / lin.y0.abs().max())
        chapter.figure(
            f"i2i_{n.name}",
            plot.images({"input": given[n.name], "output": n.show(lin.y0[0])}),
            f"{n.title}: its input and output.",
        )
        chapter.figure(
            f"i2i_parts_{n.name}",
            plot.images({"F x0": filtered, "r": r[0]}, signed=True),
            f"{n.title}: the output is F x0 + r. The norm of r is"
            f" {100 * share:.0f}% of that of the output, about x = 0. The frozen means are part of r, so F x0"
            " and r may cancel.",
            shows=("residuals",),
        )
        rows.append((n.title, f"{100 * share:.1f}%", f"{error:.1e}"))
        chapter.numbers.setdefault("networks", {})[n.name] = {"residual_share": share, "sum_error": error}
    chapter.table(("network", "|r| / |y| about x = 0", "error of F x0 + r"), rows)


def _filters(chapter: Chapter, interpreters: dict, places: dict, given: dict) -> None:
    chapter.heading("Rows and columns at three places (Fig. 7 and 13)")
    chapter.figure(
        "i2i_places",
        draw.marked(given, places),
        "The inputs and the three places of each: a strong edge (1), the flattest place (2) and the middle"
        " (3).",
    )
    for what in ("row", "column"):
        panels = {}
        for name, lin in interpreters.items():
            for said, (y, x) in zip(("edge", "flat", "middle"), places[name]):
                filter = lin.F.row((1, y, x)) if what == "row" else lin.F.column((1, y, x))
                panels[f"{name}\n{said} ({y}, {x})"] = crop_around(filter, (y, x), 24)
        said = (
            "receptive filters (rows) of green outputs"
            if what == "row"
            else "projective filters (columns) of green inputs"
        )
        chapter.figure(
            f"i2i_{what}s",
            draw.grid(panels, 3),
            f"The {said} at a strong edge, a flat place and the middle, zoomed to 49 pixels around the"
            " place, which corners mark; one scale for each network, where nothing looks blank on it.",
        )


def _off_diagonal(
    chapter: Chapter, networks: list[Network], interpreters: dict, places: dict, given: dict
) -> None:
    chapter.heading("Off-diagonal energy and its source")
    found = {}
    for n in networks:
        lin = interpreters[n.name]
        at = sample(tuple(lin.x0.shape[2:]), SAMPLED, 16)
        rows = lin.F.rows([(1, y, x) for y, x in at], progress=False)
        found[n.name] = diagonal(rows, at, RADIUS)
        sources = [copy_move(r, p, RADIUS) for r, p in zip(rows, at)]
        furthest = max(sources, key=lambda s: s.share)
        chapter.figure(
            f"source_{n.name}",
            furthest.plot(photograph=given[n.name]),
            f"{n.title}: of {SAMPLED} places, the one with the largest share of its energy in one window more"
            f" than {RADIUS} pixels away. The circle is around the place of the output, {furthest.place}; the"
            f" square is the source {furthest.source}, {_apart(furthest)} pixels away, with"
            f" {100 * furthest.share:.2g}% of the energy of the row; {100 * furthest.off:.2g}% of the energy"
            f" is more than {RADIUS} pixels away.",
            shows=("copy",),
        )
        chapter.numbers["networks"][n.name] |= {
            "off_diagonal": found[n.name].mean,
            "largest_source": furthest.share,
            "source_agreement": agreement(sources),
        }
    chapter.figure(
        "off_diagonal",
        draw.off_diagonals(found),
        f"Share of a row's energy more than {RADIUS} pixels from its place, at {SAMPLED} places.",
        shows=("off",),
    )


def _apart(found: Source) -> int:
    """The distance of a source from its output, max(|dy|, |dx|)."""
    return max(abs(a - b) for a, b in zip(found.place, found.source))


def _reach(chapter: Chapter, networks: list[Network], given: dict, places: dict) -> None:
    chapter.heading("One row under three variants of instance norm")
    for n in networks:
        y, x = SIDE // 4, SIDE // 4
        x0 = n.take(given[n.name])
        found = reach(n.module, x0, (1, min(y, x0.shape[2] - 1), min(x, x0.shape[3] - 1)), bound=BOUND)
        said = ", ".join(
            f"{k}: furthest {v} px, {100 * found.beyond[k]:.2g}% of the energy beyond"
            for k, v in found.furthest.items()
        )
        chapter.figure(
            f"reach_{n.name}",
            found.plot(),
            f"{n.title}: the magnitude of one row, on a logarithmic scale, with the mean and deviation frozen"
            " (stats, Fig. 2), only the deviation frozen (scale), and both differentiated (taylor). The"
            f" square has {2 * BOUND + 1} pixels a side, which the convolutions can reach. {said}.",
            shows=("reach",),
        )
        chapter.numbers["networks"][n.name] |= {
            "furthest": found.furthest,
            "beyond": found.beyond,
            "reach_error": found.error,
        }
