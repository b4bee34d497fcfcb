"""Chapter 3: networks from images to images of the same size (paper, Fig. 7 and 13 to 15)."""

from __future__ import annotations

from statistics import mean

import torch

from ... import models, plot
from ...analysis import copy_move, diagonal, reach
from ...analysis.images import crop_around
from ...analysis.sampled import sample
from ...images import photos
from ...linop import interpret
from ...plot import analysis as draw
from .. import datasets
from .networks import Network, middle, network
from .page import Chapter, Finding
from .super_resolution import eigen_images, probe_places, stand_ins, triplets

SIDE, RADIUS, BOUND, SEED = 256, 8, 84, 3
SAMPLED = 24


def default_networks() -> list[Network]:
    """Both stand-ins: photo to label, and photo to painting."""
    return [network(f"fxscope:{n}", models.build(n)) for n in ("facades_resnet", "painter_resnet")]


def image_to_image(
    picture: torch.Tensor, title: str, networks: list[Network] | None = None, progress: bool = False
) -> Chapter:
    """The chapter: the network of facades on a drawn facade, the others on the photograph (3, H, W)."""
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
    eigen_images(chapter, interpreters, "i2i", 4)
    _against_super_resolution(chapter, picture)
    return chapter


def _against_super_resolution(chapter: Chapter, picture: torch.Tensor) -> None:
    """Residuals and eigen-inputs beside those of the super-resolution stand-ins, on the photograph."""
    chapter.heading("Compared with super-resolution")
    mine, eigen = chapter.numbers["networks"], chapter.numbers["eigen"]
    shares, areas = {}, {}
    for n in stand_ins():
        lin = interpret(n.module, n.take(photos.downscale(middle(picture, SIDE, n.scale), n.scale)))
        shares[n.name] = float(lin.residual.norm() / lin.y0.norm())
        areas[n.name] = mean(s.participation for s in triplets(lin).shapes())
    rows = [
        (n, f"{100 * v['residual_share']:.1f}%", f"{100 * eigen[n]['participation']:.2g}%")
        for n, v in mine.items()
    ] + [(n, f"{100 * v:.1f}%", f"{100 * areas[n]:.2g}%") for n, v in shares.items()]
    chapter.text(
        "Norms are in the output units of each network: [-1, 1] for the generators, so that grey counts as 0,"
        " and [0, 1] or 0 to 255 for the upscalers. Areas are shares of the picture."
    )
    chapter.table(("network", "|r| / |y| about x = 0", "area of an eigen-input"), rows)
    chapter.numbers["super_resolution"] = {"residual_share": shares, "participation": areas}
    chapter.findings += [
        Finding(
            "Residuals of image-to-image networks are larger than those of super-resolution networks",
            "larger (Fig. 15)",
            _beside({n: v["residual_share"] for n, v in mine.items()}, shares),
            min(v["residual_share"] for v in mine.values()) > max(shares.values()),
            "all larger than all",
        ),
        Finding(
            "Eigen-inputs of image-to-image networks cover larger areas",
            "less sparse than in super-resolution (Fig. 14)",
            _beside({n: v["participation"] for n, v in eigen.items()}, areas),
            min(v["participation"] for v in eigen.values()) > max(areas.values()),
            "all larger than all",
        ),
    ]


def _beside(mine: dict[str, float], others: dict[str, float]) -> str:
    first, second = (", ".join(f"{n} {100 * v:.3g}%" for n, v in part.items()) for part in (mine, others))
    return f"{first}; {second}"


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
            f"{n.title}: the output as F x0 + r on one scale (mean over colours). The norm of r is"
            f" {100 * share:.0f}% of that of the output, about x = 0. The frozen means are part of r, so F x0"
            " and r may cancel.",
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
            " place, which is marked by a cross; one scale for each network.",
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
            f"{n.title}: of {SAMPLED} places, the one with the largest share of its energy in one distant"
            f" window. The black circle is the place of the output, {furthest.place}; the yellow circle is"
            f" the source {furthest.source}, with {100 * furthest.share:.2g}% of the energy of the row;"
            f" {100 * furthest.off:.2g}% of the energy is more than {RADIUS} pixels away. The colours"
            " saturate at a quarter of the largest coefficient.",
        )
        same = _agreement(sources)
        chapter.numbers["networks"][n.name] |= {
            "off_diagonal": found[n.name].mean,
            "largest_source": furthest.share,
            "source_agreement": same,
        }
    chapter.figure(
        "off_diagonal",
        draw.off_diagonals(found),
        f"Share of a row's energy more than {RADIUS} pixels from its place, at {SAMPLED} places.",
    )
    chapter.findings += _diagonal_findings(chapter.numbers["networks"])


def _diagonal_findings(numbers: dict[str, dict]) -> list[Finding]:
    return [
        Finding(
            "Rows have much energy off the diagonal",
            "less sparse than in super-resolution",
            ", ".join(f"{n}: {100 * v['off_diagonal']:.1f}% beyond {RADIUS} px" for n, v in numbers.items()),
            all(v["off_diagonal"] > 0.1 for v in numbers.values()),
            "more than 10% for all",
        ),
        Finding(
            "Copy-move: all places take their values from one fixed area",
            "the same ellipse for all pixels (Fig. 7)",
            ", ".join(
                f"{n}: {100 * v['source_agreement']:.0f}% of the places share a source; the strongest source"
                f" has {100 * v['largest_source']:.1f}% of the energy"
                for n, v in numbers.items()
            ),
            any(v["source_agreement"] > 0.5 and v["largest_source"] > 0.05 for v in numbers.values()),
            "for any network, half of the places share a source with 5% of the energy",
        ),
    ]


def _agreement(sources: list, near: int = 12) -> float:
    """The largest share of the places whose sources lie within ``near`` pixels of one of them."""
    at = torch.tensor([s.source for s in sources])
    apart = (at[:, None] - at[None]).abs().amax(2)
    return float((apart <= near).double().mean(1).max())


def _reach(chapter: Chapter, networks: list[Network], given: dict, places: dict) -> None:
    chapter.heading("One row under three variants of instance norm")
    answers = []
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
        )
        chapter.numbers["networks"][n.name] |= {
            "furthest": found.furthest,
            "beyond": found.beyond,
            "reach_error": found.error,
        }
        answers.append(found)
    chapter.findings.append(
        Finding(
            "Coefficients over the whole image come from instance norm",
            '"only possible due to instance normalization"',
            "; ".join(
                f"{n.name}: " + ", ".join(f"{k} {v} px" for k, v in a.furthest.items())
                for n, a in zip(networks, answers)
            )
            + f" (bound {BOUND})",
            all(
                a.furthest["stats"] <= BOUND and min(a.furthest["scale"], a.furthest["taylor"]) > BOUND
                for a in answers
            ),
            "there is energy beyond the reach of the convolutions only if the mean is not frozen",
        )
    )
