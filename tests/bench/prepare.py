"""What a second image costs, in forward passes of the plain network: ``fxscope.prepare`` and its reader.

    python tests/bench/prepare.py [--networks NAME,...] [--json FILE]

One image at a time. The denominator is the plain model without gradients on that image, in its faster memory
layout. Medians of interleaved runs: ``reader(x0)``; the same and one row; the contributions of one output of
an interpreter; ``interpret`` anew.
"""

from __future__ import annotations

import itertools

import torch
import torchvision
from asked import asked, keep
from products import faster_layout, medians

import fxscope
from fxscope import models

NETWORKS = {
    "edsr_baseline": (models.edsr_baseline, 48),
    "vgg16": (lambda: torchvision.models.vgg16(weights=None), 224),
    "cyclegan": (models.cyclegan, 128),
    "resnet50": (lambda: torchvision.models.resnet50(weights=None), 224),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(weights=None), 160),
    "digits_resnet": (models.digits_resnet, 32),
}
MEASURED = ("reader", "reader + row", "contributions", "interpret")


def compare(name: str, runs: int) -> dict:
    """One line of the table."""
    make, size = NETWORKS[name]
    model = make().eval().requires_grad_(False)
    channels = next(p for p in model.parameters() if p.dim() == 4).shape[1]
    layout = faster_layout(model, torch.randn(1, channels, size, size))
    model = model.to(memory_format=layout)
    drawn = [torch.randn(1, channels, size, size).to(memory_format=layout) for _ in range(8)]
    images = itertools.cycle(drawn)
    reader = fxscope.prepare(model, next(images))
    lin = reader(next(images))
    index = tuple(n // 2 for n in lin.y0.shape[1:])
    _ = lin.contributions(index)  # its graph is emitted once
    calls = {
        "forward": lambda: model(next(images)),
        "reader": lambda: reader(next(images)),
        "reader + row": lambda: reader(next(images)).F.row(index),
        "contributions": lambda: lin.contributions(index),
        "interpret": lambda: fxscope.interpret(model, next(images)),
    }
    with torch.no_grad():
        found = medians(calls, runs)
    ratios = {n: found[n] / found["forward"] for n in MEASURED}
    return {
        "network": name,
        "size": size,
        "layout": str(layout).removeprefix("torch."),
        "forward_s": found["forward"],
        **ratios,
    }


def main() -> None:
    """Measure, print, and keep."""
    args = asked(__doc__, runs=11, networks=NETWORKS)
    rows = []
    for name in args.networks:
        rows.append(compare(name, args.runs))
        row = rows[-1]
        told = "  ".join(f"{n} {row[n]:.2f}" for n in MEASURED)
        print(f"{name:18s} {row['size']:4d} px, forward {row['forward_s'] * 1e3:.1f} ms; {told}", flush=True)
    keep(rows, args.json)


if __name__ == "__main__":
    main()
