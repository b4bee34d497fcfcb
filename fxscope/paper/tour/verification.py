"""Chapter 5: the laws on every stand-in, and the rewritten graph of one (paper, Fig. 1 and eq. 3 to 6)."""

from __future__ import annotations

import torch

from ... import models
from ...emit.pipeline import transform
from ...render import draw
from ...testing.laws import Law, largest
from ...testing.network import verify
from .page import Chapter, Finding

SHAPES = {
    "pixelshuffle4x": (2, 1, 12, 12),
    "edsr_small4x": (1, 3, 10, 10),
    "digits_vgg": (2, 1, 32, 32),
    "digits_vgg_bn": (2, 1, 32, 32),
    "digits_resnet": (2, 1, 32, 32),
    "facades_resnet": (1, 3, 32, 32),
    "painter_resnet": (1, 3, 32, 32),
}


def verification(progress: bool = False) -> Chapter:
    """Every law's largest error on every stand-in, in double precision."""
    chapter = Chapter("Verification", networks=f"{', '.join(SHAPES)} (stand-ins)")
    reports = {
        name: verify(models.build(name), torch.rand(shape, generator=torch.Generator().manual_seed(0)))
        for name, shape in SHAPES.items()
    }
    laws = list({law.name: law.statement for r in reports.values() for law in r.laws}.items())
    found = {name: {law.name: law for law in r.laws} for name, r in reports.items()}
    laws = [
        (law, said) for law, said in laws if any(law in by and not by[law].skipped for by in found.values())
    ]
    rows = [(f"{name} (stand-in)", *(_said(by.get(law)) for law, _ in laws)) for name, by in found.items()]
    chapter.text(
        "The laws: "
        + "; ".join(f"{law}, {said}" for law, said in laws)
        + ". Law 6 is about networks that are piecewise linear, and about the others under policy taylor."
    )
    chapter.table(
        ("network", *(law for law, _ in laws)),
        rows,
        "Largest relative error of every law, double precision",
        shows=("laws",),
    )
    picture = draw(transform(models.pixelshuffle4x()))
    chapter.figure(
        "graph",
        picture,
        "The rewritten 4-layer PixelShuffle network: the original branch computes y0 from x0; the interpreter"
        " branch replays its decisions on x1. Dashed edges carry these decisions. Hover over a box for its"
        " rule and source line.",
    )
    ok = all(r.ok for r in reports.values())
    worst = largest(law.error for r in reports.values() for law in r.laws if not law.skipped)
    chapter.numbers = {
        "ok": ok,
        "largest": worst,
        "laws": {n: {k: v.error for k, v in f.items() if not v.skipped} for n, f in found.items()},
    }
    chapter.findings.append(_finding(ok, worst))
    return chapter


def _finding(ok: bool, worst: float) -> Finding:
    return Finding(
        "x1 = x0 gives y1 = y0, and the other laws",
        "hard requirement (eq. 3)",
        f"largest error {worst:.0e} over {len(SHAPES)} networks",
        ok,
        "every error is within its bound",
        why="The laws hold exactly, whatever the image; what is left is rounding.",
        topic="laws",
    )


def _said(law: Law | None) -> str:
    return "does not apply" if law is None or law.skipped else f"{law.error:.0e}"
