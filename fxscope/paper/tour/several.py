"""Findings over several photographs: what each chapter shows on one is measured here on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch

from ... import models
from ...analysis import copy_move, diagonal, invariance, reach
from ...analysis.sampled import sample, sampled
from ...errors import ImageError
from ...images import photos
from ...linop import interpret, prepare
from .. import datasets
from ..findings import Finding, Photograph, judge, measure, photographs
from ..findings import Network as Measured
from ..findings.claims import Lines, Spread, mean_of
from ..findings.measures import shapes_of
from ..findings.photographs import SIDE
from ..findings.run import ERROR
from .networks import Network, middle

TAKEN = ("chelsea", "coffee", "astronaut", "rocket", "motorcycle_left", "china", "flower")
RADIUS, BORDER, CLEARLY = 20, 8, 0.5  # output pixels around a column and at a border, decibels
INPUTS, PICTURE, EIGEN, PLACES, NEAR, BOUND = 5, 128, 64, 8, 8, 84  # of image-to-image, in pixels
SAME = 12  # pixels within which two sources are the same


def taken(pictures: Sequence[Photograph] = ()) -> tuple[list[Photograph], list[str]]:
    """The photographs that are large enough, and the names of the others."""
    try:
        chosen = list(pictures) or [p for p in photographs() if p.name in TAKEN]
    except ImageError:
        chosen = []  # scikit-learn is not installed: nothing is measured
    fits = {p: min(photos.read(p.path).shape[1:]) >= 2 * SIDE for p in chosen}
    return [p for p, fit in fits.items() if fit], [p.name for p, fit in fits.items() if not fit]


def stand_ins() -> list[Network]:
    """Both stand-ins for upscalers, small networks that were trained for this purpose."""
    from .networks import network

    return [network(f"fxscope:{n}", models.build(n)) for n in ("pixelshuffle4x", "edsr_small4x")]


def upscaled(
    networks: Sequence[Network], pictures: Sequence[Photograph], progress: bool = False
) -> dict[Measured, Lines]:
    """{upscaler: a line for every photograph}, the numbers of ``findings.measure``."""
    stands = [s.name for s in stand_ins()]
    as_measured = {
        Measured(
            n.name,
            "images",
            ERROR if n.name in stands else "as it was given",
            build=partial(getattr, n, "module"),
            preprocess=n.preprocess,
        ): n
        for n in networks
    }
    return {m: measure(m, pictures, progress=progress) for m in as_measured}


@cache
def stand_ins_upscaled(pictures: tuple[Photograph, ...]) -> dict[Measured, Lines]:
    """Of both stand-ins; two chapters use them."""
    return upscaled(stand_ins(), pictures)


def columns_of(networks: Sequence[Network], pictures: Sequence[Photograph]) -> dict[str, Lines]:
    """{upscaler: for every photograph how far its columns differ from place to place, and its PSNR}."""
    found: dict[str, Lines] = {}
    for n in networks:
        lines = []
        for photograph in pictures:
            high = middle(photograph.picture(), 4 * SIDE, 4 * n.scale)
            lin = interpret(n.module, n.take(photos.downscale(high, n.scale)))
            places, outs = sampled(lin)
            columns = lin.F.columns([(0, y, x) for y, x in places], progress=False)
            gray = _gray(n.show(lin.y0[0]))
            truth = photos.luminance(high)[:, : gray.shape[1], : gray.shape[2]]
            psnr = photos.psnr(gray, truth, BORDER) if gray.shape == truth.shape else float("nan")
            lines.append({"spread": invariance(columns, outs, RADIUS).spread, "psnr": psnr})
        found[n.name] = lines
    return found


def _gray(image: torch.Tensor) -> torch.Tensor:
    return image if image.shape[0] == 1 else photos.luminance(image)


def columns_finding(measured: Mapping[str, Lines]) -> list[Finding]:
    """Whether columns adapt to the image in the order bicubic, PixelShuffle, EDSR; none without all three.

    A stand-in for EDSR that is hardly better than PixelShuffle decides nothing.
    """
    kinds = {
        k: next((n for n in measured if n.startswith(k)), None) for k in ("bicubic", "pixelshuffle", "edsr")
    }
    if None in kinds.values():
        return []
    three = {k: measured[n] for k, n in kinds.items() if n is not None}
    gains = [{"gain": e["psnr"] - p["psnr"]} for e, p in zip(three["edsr"], three["pixelshuffle"])]

    def ordered(drawn: dict[str, Lines]) -> bool:
        bicubic, pixelshuffle, edsr = (mean_of(drawn[k], "spread") for k in kinds)
        return bicubic < 1e-6 < pixelshuffle < edsr

    found = judge(three, ordered)
    gain = Spread.of(gains, "gain")
    is_better = gain.mean >= CLEARLY
    why = (
        f"{kinds['edsr']} is {gain.mean:.2f} ± {gain.std:.2f} dB better than {kinds['pixelshuffle']} over"
        f" {gain.count} photographs."
    )
    if not is_better:
        why += (
            f" That is less than {CLEARLY} dB: this stand-in is hardly better than the network beside it, and"
            " cannot show what the paper says of the full EDSR, whatever its columns do."
        )
    said = ", ".join(f"{n} {Spread.of(lines, 'spread').percent}" for n, lines in measured.items())
    return [
        Finding(
            "The columns of EDSR adapt to the image more than those of PixelShuffle, and bicubic's do not",
            '"like walking with a flashlight"',
            f"columns differ from their mean by {said}",
            found.appears if is_better else None,
            f"in this order, with an EDSR that is at least {CLEARLY} dB better",
            why=f"{why} {found.why}",
            topic="columns",
        )
    ]


def inputs_of(n: Network, pictures: Sequence[Photograph], seed: int) -> list[torch.Tensor]:
    """What a network of images of the same size is measured on: drawn facades, or the photographs."""
    if n.name.startswith("facades"):
        return [datasets.facade(seed + i, PICTURE)[0] for i in range(INPUTS)]
    return [_half(p.picture()) for p in pictures[:INPUTS]]


def _half(picture: torch.Tensor) -> torch.Tensor:
    side = min(2 * PICTURE, *(s - s % 8 for s in picture.shape[1:]))
    return photos.downscale(middle(picture, side, 8), 2)


def same_size(n: Network, inputs: Sequence[torch.Tensor], step: Callable[[int], None]) -> Lines:
    """A line for every input of a network of images of the same size.

    * ``norm``: |r| / |y|. ``off``: the share of a row's energy more than 8 pixels from its place, the mean
      over 8 places. ``agree``: the largest share of the places whose strongest sources outside of 8 pixels
      lie within 12 pixels of one of them; ``source``: the largest share of the energy in such a source.
    * ``furthest``: {variant of instance norm: distance of the furthest coefficient of a row}.
    * The shapes of the two largest eigen-inputs of the middle 64 pixels, as in ``findings``.
    """
    lines: list[dict[str, Any]] = []
    for i, picture in enumerate(inputs):
        x0 = n.take(picture)
        lin = interpret(n.module, x0)
        at = sample(tuple(x0.shape[2:]), PLACES, 16, seed=i)
        rows = lin.F.rows([(min(1, lin.F.outputs.shape[0] - 1), y, x) for y, x in at], progress=False)
        sources = [copy_move(row, place, NEAR) for row, place in zip(rows, at)]
        corner = (min(1, lin.F.outputs.shape[0] - 1), NEAR, NEAR)
        lines.append(
            {
                "norm": float(lin.residual.norm() / lin.y0.norm()),
                "off": diagonal(rows, at, NEAR).mean,
                "agree": agreement(sources),
                "source": max(s.share for s in sources),
                "furthest": reach(n.module, x0, corner, bound=BOUND).furthest,
                **shapes_of(prepare(n.module, x0)(_middle_of(x0))),
            }
        )
        step(i)
    return lines


def _middle_of(x0: torch.Tensor) -> torch.Tensor:
    return middle(x0[0], EIGEN, 4)[None].contiguous()


def agreement(sources: list, near: int = SAME) -> float:
    """The largest share of the places whose sources lie within ``near`` pixels of one of them."""
    at = torch.tensor([s.source for s in sources])
    apart = (at[:, None] - at[None]).abs().amax(2)
    return float((apart <= near).double().mean(1).max())
