"""Rows of all 1000 scores of vgg16 at 224, extrapolated from some.

They are compared with forward passes in the faster memory layout.

    python tests/bench/votes.py [--rows 96] [--chunk 8] [--json FILE]

A forward pass is that of the plain network without gradients on ``chunk`` images at once, over their number.
Chunks of rows and passes alternate; medians of the wall-clock, and of the processor time of all threads,
which other work on the machine disturbs less. Memory is the process's peak after a third and after all of the
labels: what is kept for every label would show there; a row of 224 x 224 x 3 numbers is 0.57 MiB.
"""

from __future__ import annotations

import resource
import statistics
import time

import torch
import torchvision
from asked import asked, keep

import fxscope

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def seconds(run) -> tuple[float, float]:
    """Wall-clock and processor time."""
    start = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def faster_layout(model: torch.nn.Module, images: torch.Tensor) -> str:
    found = {}
    for name, layout in LAYOUTS.items():
        model, given = model.to(memory_format=layout), images.to(memory_format=layout)
        model(given)
        found[name] = min(seconds(lambda: model(given)) for _ in range(2))[0]
    return min(found, key=found.get)


@torch.no_grad()
def main() -> None:
    args = asked(__doc__, rows=96, chunk=8)
    model = torchvision.models.vgg16(weights=None).eval().requires_grad_(False)
    images = torch.randn(args.chunk, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    chosen = faster_layout(model, images)
    model, images = model.to(memory_format=LAYOUTS[chosen]), images.to(memory_format=LAYOUTS[chosen])
    lin = fxscope.interpret(model, images[:1])

    kept = 0.0
    peaks, each, plain = [], [], []
    found = lin.F.iter_rows(range(1000), chunk=args.chunk, progress=False)

    def chunk() -> None:
        nonlocal kept
        for _ in range(args.chunk):
            kept += float(next(found)[1].sum())

    chunk()
    for _i in range(args.rows // args.chunk):
        plain.append(seconds(lambda: model(images)))
        each.append(seconds(chunk))
        peaks.append(peak())
    wall, cpu = (
        statistics.median(r[k] for r in each) / statistics.median(f[k] for f in plain) for k in (0, 1)
    )
    row = statistics.median(r[0] for r in each) / args.chunk
    third = len(peaks) // 3
    found = {
        "network": "vgg16, 224, float32",
        "layout": chosen,
        "threads": torch.get_num_threads(),
        "rows_timed": args.rows,
        "1000_rows_s": 1000 * row,
        "1000_rows/1000_forwards": wall,
        "the_same_in_processor_time": cpu,
        f"peak_MiB_after_{third * args.chunk}": peaks[third - 1],
        f"peak_MiB_after_{args.rows}": peaks[-1],
    }
    print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()))
    keep([found], args.json)


if __name__ == "__main__":
    main()
