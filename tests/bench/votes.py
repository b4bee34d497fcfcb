"""Rows of all 1000 scores of vgg16 at 224, extrapolated from some, against forward passes in the faster memory layout.

    python tests/bench/votes.py [--rows 48] [--chunk 8] [--runs 3] [--json FILE]

A forward pass is that of the plain network without gradients on ``chunk`` images at once, over their number. Rows and passes are
interleaved, medians. Memory is the growth of the process's peak from ``rows`` / 3 to ``rows`` labels: what is kept for every
label would show there; a row of 224 x 224 x 3 numbers is 0.57 MiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

import torch
import torchvision

import fxscope

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def faster_layout(model: torch.nn.Module, images: torch.Tensor) -> str:
    found = {}
    for name, layout in LAYOUTS.items():
        model, given = model.to(memory_format=layout), images.to(memory_format=layout)
        model(given)
        found[name] = min(seconds(lambda: model(given)) for _ in range(2))
    return min(found, key=found.get)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json")
    args = parser.parse_args()
    model = torchvision.models.vgg16(weights=None).eval().requires_grad_(False)
    images = torch.randn(args.chunk, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    chosen = faster_layout(model, images)
    model, images = model.to(memory_format=LAYOUTS[chosen]), images.to(memory_format=LAYOUTS[chosen])
    lin = fxscope.interpret(model, images[:1])

    def rows(count: int) -> None:
        for _ in lin.F.iter_rows(range(count), chunk=args.chunk, progress=False):
            pass

    rows(args.rows // 3)
    few = peak()
    each, plain = [], []
    for _ in range(args.runs):
        plain.append(seconds(lambda: model(images)) / args.chunk)
        each.append(seconds(lambda: rows(args.rows)) / args.rows)
    row, forward = statistics.median(each), statistics.median(plain)
    found = {"network": "vgg16, 224, float32", "layout": chosen, "rows_timed": args.rows, "row_s": row, "forward_s": forward, "1000_rows_s": 1000 * row, "1000_rows/1000_forwards": row / forward,
             f"peak_MiB_at_{args.rows // 3}_labels": few, f"peak_MiB_at_{args.rows}_labels": peak()}
    print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()))
    if args.json:
        with open(args.json, "w") as file:
            json.dump([found], file, indent=2)


if __name__ == "__main__":
    main()
