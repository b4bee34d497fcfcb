"""Chapter 2: super-resolution (paper, Fig. 5, 6, 11 and 12)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fractions import Fraction

import torch

from ... import models, plot
from ...analysis import energy_against_distance, invariance
from ...analysis.images import crop_around
from ...analysis.sampled import SAMPLED, sampled, zoom
from ...errors import NotConverged
from ...images import photos
from ...linop import SVD, LinearInterpreter, interpret
from ...plot import analysis as draw
from ..findings import Photograph, findings_of
from ..findings.claims import Spread
from .networks import Network, middle, network
from .page import Chapter
from .several import columns_finding, columns_of, stand_ins, stand_ins_upscaled, taken, upscaled
from .trained import MEASURED, installed

SIDE, SCALE, BORDER, RADIUS = 256, 4, 8, 20
PASSES = 100  # products of the singular values of one network: the trained ones need many
OVER = (
    "network",
    "|r| / |y|",
    "90% of a row within",
    "columns differ by",
    "PSNR",
    "area of an eigen-input",
    "below 1/8 cycles a pixel",
    "to 3/8",
    "above",
    "oriented",
)
SHAPES = (
    "network",
    "singular values",
    "area",
    "orientedness (0 to 1)",
    "cycles a pixel",
    "energy at frequency 0",
)


def default_networks() -> list[Network]:
    """The trained networks that are installed, bicubic upscaling, and both stand-ins."""
    trained = [n.name for n in installed()[0] if n.kind == "images"]
    return [
        *(network(f"fxscope:{n}", models.build(n)) for n in (*trained, "bicubic4x")),
        *stand_ins(),
    ]


def super_resolution(
    picture: torch.Tensor,
    title: str,
    networks: list[Network] | None = None,
    progress: bool = False,
    given: Sequence[Photograph] = (),
) -> Chapter:
    """Several upscalers side by side on one photograph (3, H, W), and the findings over several."""
    chapter = Chapter("Super-resolution")
    networks = networks or default_networks()
    chapter.networks = ", ".join(n.title for n in networks if not n.name.startswith("bicubic"))
    scale = networks[0].scale
    high = middle(picture, SIDE, scale)
    low = photos.downscale(high, scale)
    chapter.text(
        f"The middle {high.shape[2]} x {high.shape[1]} pixels of the photograph {title}, made {scale} times"
        f" smaller, are the input of {', '.join(n.title for n in networks)}."
    )
    interpreters = {n.name: interpret(n.module, n.take(low)) for n in networks}
    _outputs(chapter, networks, interpreters, high)
    places = probe_places(photos.luminance(low)[0])
    _filters(chapter, networks, interpreters, places, photos.luminance(low))
    _locality(chapter, networks, interpreters)
    trained = {name: lin for name, lin in interpreters.items() if not name.startswith("bicubic")}
    eigen_images(chapter, trained, "sr")
    _over_photographs(chapter, networks, given, progress)
    return chapter


def _over_photographs(
    chapter: Chapter, networks: list[Network], given: Sequence[Photograph], progress: bool
) -> None:
    """The findings: of networks that others trained they are in the chapter about photographs."""
    pictures, _ = taken(given)
    elsewhere = {*MEASURED, "bicubic4x"}
    own = [n for n in networks if n.name not in elsewhere]
    if not pictures or not own:
        return
    is_default = [n.name for n in own] == [n.name for n in stand_ins()]
    measured = stand_ins_upscaled(tuple(pictures)) if is_default else upscaled(own, pictures, progress)
    chapter.networks = ", ".join(n.title for n in own)
    columns = columns_of(networks, pictures)
    chapter.heading(f"Over {len(pictures)} photographs")
    rows = [
        (
            n.name,
            Spread.of(lines, "norm").percent,
            f"{Spread.of(lines, 'radius_90')} px",
            Spread.of(columns[n.name], "spread").percent,
            f"{Spread.of(columns[n.name], 'psnr').mean:.2f} dB",
            f"{Spread.of(lines, 'area')} px",
            *(Spread.of(lines, band).percent for band in ("low", "middle", "high")),
            str(Spread.of(lines, "oriented")),
        )
        for n, lines in measured.items()
    ]
    chapter.table(OVER, rows, f"Mean ± standard deviation over {', '.join(p.name for p in pictures)}")
    chapter.numbers["over_photographs"] = {n.name: lines for n, lines in measured.items()}
    chapter.numbers["columns"] = columns
    chapter.findings += findings_of(measured) + columns_finding(columns)


def _outputs(chapter: Chapter, networks: list[Network], interpreters: dict, high: torch.Tensor) -> None:
    chapter.heading("Outputs and residuals")
    truth, panels, rows = photos.luminance(high), {"photograph": photos.luminance(high)}, []
    shares, parts = {}, {}
    for n in networks:
        lin = interpreters[n.name]
        shown = n.show(lin.y0[0])
        gray = shown if shown.shape[0] == 1 else photos.luminance(shown)
        value = photos.psnr(gray, _seen(truth, lin, n.scale), BORDER)
        panels[f"{_broken(n.name)}\n{value:.2f} dB"] = gray
        r = lin.residual
        shares[n.name] = float(r.norm() / lin.y0.norm())
        filtered = lin.F @ lin.x0[0]
        error = float((filtered + r[0] - lin.y0[0]).abs().max() / lin.y0.abs().max())
        parts[f"r of {n.name}"] = r[0] * torch.as_tensor(n.preprocess.affine[1]).to(r).reshape(-1, 1, 1)
        rows.append((n.title, f"{value:.2f} dB", f"{100 * shares[n.name]:.2f}%", f"{error:.1e}"))
        chapter.numbers.setdefault("networks", {})[n.name] = {
            "psnr": value,
            "residual_share": shares[n.name],
            "sum_error": error,
        }
    chapter.figure(
        "upscaled",
        plot.images(panels),
        "The photograph (luminance) and the outputs for its small copy, with the PSNR of the luminance.",
    )
    chapter.figure(
        "sr_residuals",
        plot.images({k: v for k, v in parts.items() if float(v.abs().max()) > 0} or parts, signed=True),
        "The residual r of every network, which is the output at x1 = 0, for pixels in [0, 1]; bicubic"
        " upscaling has none.",
        shows=("residuals",),
    )
    chapter.table(("network", "PSNR", "|r| / |y| about x = 0", "error of F x0 + r"), rows)


def _broken(name: str, width: int = 14) -> str:
    """A long name in two lines, so that titles of panels do not touch."""
    start, _, end = name.rpartition("_")
    return f"{start}\n{end}" if len(name) > width and start else name


def _seen(picture: torch.Tensor, lin: LinearInterpreter, scale: int) -> torch.Tensor:
    """The part of a picture (C, H, W) that the output for its small copy shows."""
    lines = lin.F.alignment()
    for d, (start, size) in enumerate(zip(lines.start, lines.outputs), 1):
        first = max(0, round(scale * start + Fraction(scale - 1, 2)))
        picture = picture.narrow(d, first, min(size, picture.shape[d] - first))
    return picture


def probe_places(gray: torch.Tensor, margin: int = 12) -> list[tuple[int, int]]:
    """Three places (y, x) of a picture: the strongest edge, the flattest place, the middle."""
    dy, dx = torch.gradient(gray.double())
    size = torch.nn.functional.avg_pool2d((dy.square() + dx.square())[None, None], 3, 1, 1)[0, 0]
    m = min(margin, min(gray.shape) // 4)
    inner = size[m:-m, m:-m]
    edge, flat = (divmod(int(at), inner.shape[1]) for at in (inner.argmax(), inner.argmin()))
    middle = (gray.shape[0] // 2, gray.shape[1] // 2)
    return [(m + edge[0], m + edge[1]), (m + flat[0], m + flat[1]), middle]


def _filters(
    chapter: Chapter, networks: list[Network], interpreters: dict, places: list, low: torch.Tensor
) -> None:
    chapter.heading("Rows and columns at three places (Fig. 11)")
    names = ("edge", "flat", "middle")
    chapter.figure(
        "sr_places",
        draw.marked({"small photograph": low}, places),
        "The small photograph and the three places: a strong edge (1), the flattest place (2) and the middle"
        " (3).",
    )
    for what in ("row", "column"):
        panels = {}
        for n in networks:
            F, lines = interpreters[n.name].F, interpreters[n.name].F.alignment()
            radius = 5 if what == "row" else zoom(interpreters[n.name], 3)
            for name, (y, x) in zip(names, places):
                out = lines.output_of((y, x))
                filter = F.row((0, *out)) if what == "row" else F.column((0, y, x))
                panels[f"{n.name}\n{name} ({y}, {x})"] = crop_around(
                    filter, lines.input_of(out) if what == "row" else out, radius
                )
        said = (
            "receptive filters (rows): which input pixels an output reads"
            if what == "row"
            else "projective filters (columns): which output pixels an input feeds"
        )
        chapter.figure(
            f"sr_{what}s",
            draw.grid(panels, len(names)),
            f"The {said}, at a strong edge, a flat place and the middle, zoomed to {2 * radius + 1} pixels;"
            " corners mark the place. Those of bicubic upscaling are the same at"
            " every place.",
            shows=("columns",) if what == "column" else (),
        )


def _locality(chapter: Chapter, networks: list[Network], interpreters: dict) -> None:
    chapter.heading("Locality, and variation from place to place")
    energies, rows = {}, []
    for n in networks:
        F = interpreters[n.name].F
        places, outs = sampled(interpreters[n.name])
        found = F.rows([(0, *out) for out in outs], progress=False)
        energies[n.name] = energy_against_distance(found, places)
        columns = F.columns([(0, y, x) for y, x in places], progress=False)
        alike = invariance(columns, outs, RADIUS)
        rows.append(
            (n.title, *(energies[n.name].radius(p) for p in (0.5, 0.9, 0.99)), f"{100 * alike.spread:.2g}%")
        )
        chapter.numbers["networks"][n.name] |= {
            "radius_90": energies[n.name].radius(0.9),
            "radius_99": energies[n.name].radius(0.99),
            "column_spread": alike.spread,
        }
    chapter.figure(
        "sr_energy",
        draw.energies(energies),
        "The share of a row's energy within a distance of its place, in low-resolution pixels, as the mean"
        f" over {SAMPLED} places.",
        shows=("rows",),
    )
    chapter.table(("network", "50% within", "90% within", "99% within", "columns differ by"), rows)
    chapter.text(
        "Rows: the distance in low-resolution pixels within which a share of their energy is. Columns: the"
        " energy of their deviation from the mean of the aligned columns."
    )


def eigen_images(
    chapter: Chapter,
    interpreters: dict,
    prefix: str,
    count: int = 4,
    passes: int | None = PASSES,
    progress: bool = False,
) -> None:
    """Eigen-inputs and eigen-outputs of the largest singular values, and their shapes (Fig. 5, 12, 14)."""
    chapter.heading("Eigen-inputs and eigen-outputs")
    rows = []
    for name, lin in interpreters.items():
        found = triplets(lin, count, passes, progress)
        shapes = found.shapes()
        mean = {
            k: sum(getattr(s, k) for s in shapes) / count
            for k in ("participation", "frequency", "dc", "orientedness")
        }
        _eigen_figure(chapter, name, prefix, lin, found, mean["participation"])
        chapter.numbers.setdefault("eigen", {})[name] = {
            "s": found.s,
            "passes": found.passes,
            "errors": found.errors,
            "shapes": shapes,
            **mean,
        }
        rows.append(
            (
                name,
                ", ".join(f"{float(s):.3g}" for s in found.s),
                f"{100 * mean['participation']:.2g}%",
                f"{mean['orientedness']:.2f}",
                f"{mean['frequency']:.3f}",
                f"{100 * mean['dc']:.1f}%",
            )
        )
    chapter.table(
        SHAPES,
        rows,
        f"Shapes of the eigen-inputs, the mean over {count}",
    )


def _eigen_figure(
    chapter: Chapter, name: str, prefix: str, lin: LinearInterpreter, found: SVD, area: float
) -> None:
    photograph, output = (image[0] if image.shape[1] in (1, 3) else None for image in (lin.x0, lin.y0))
    chapter.figure(
        f"{prefix}_eigen_{name}",
        found.plot(photograph=photograph, output=output),
        f"{name}: the {len(found)} largest singular values, with eigen-inputs above and eigen-outputs below,"
        f" over the image and the output. An eigen-input covers {100 * area:.2g}% of the picture;"
        f" {found.passes} products, largest relative error"
        f" {float((found.errors / found.s).max()):.0e}{_unconverged(found)}.",
        shows=() if name in MEASURED else ("eigen",),  # those have their findings with their own numbers
    )


def triplets(
    lin: LinearInterpreter, count: int = 4, passes: int | None = PASSES, progress: bool = False
) -> SVD:
    """The largest singular triplets, with a tolerance of 1%; the page names those that did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)
        return lin.F.svd(count, tol=1e-2, max_passes=passes, progress=progress)


def _unconverged(found: SVD) -> str:
    lacking = int((~found.converged).sum())
    return f" ({lacking} of {len(found)} had not converged to 1% at the limit of passes)" if lacking else ""
