"""Memory of a loop over images: is anything kept for an image that is done with?

    python tests/bench/many_images.py [--images 10000] [--json FILE]

One reader of a small convolutional network reads images one after the other, and computes a row and the
contributions of one output of each, in four ways: every interpreter dropped, ``out=`` the last one, a
discussion of every image, and batches of images. Printed is the resident memory of the process when a tenth
of the images is done, and when all are. Bar: + 16 MiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from asked import asked, keep
from torch import nn

import fxscope

SIDE, BATCH = 24, 8
WAYS = ("dropped", "out=", "discussion", "batches")


def network() -> nn.Module:
    """Batch norm, a max-pool and a smooth unit: folded weights, masks, indices and factors."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(648, 10),
    ).eval()


def resident() -> float:
    """MiB of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def read(way: str, count: int) -> dict:
    """One line of the table: the memory at a tenth of the images and at all of them."""
    batch = BATCH if way == "batches" else 1
    reader = fxscope.prepare(network(), torch.rand(batch, 1, SIDE, SIDE))
    lin, marks, start = None, {}, time.process_time()
    for done in range(batch, count + 1, batch):
        x0 = torch.rand(batch, 1, SIDE, SIDE)
        lin = reader(x0, out=lin if way == "out=" else None)
        index = [i % 10 for i in range(batch)] if batch > 1 else done % 10
        if way == "discussion":
            _ = lin.pixel_discussion([index], progress=False)
        else:
            _ = lin.F.row(index), lin.contributions(index).total
        if done in (count // 10, count):
            marks[done] = resident()
    first, last = marks.values()
    return {
        "way": way,
        "images": count,
        "MiB_at_a_tenth": first,
        "MiB_at_the_end": last,
        "grown_MiB": last - first,
        "ms_an_image": 1e3 * (time.process_time() - start) / count,
    }


def main() -> None:
    """Measure every way in a process of its own, print, and keep."""
    args = asked(__doc__, images=10_000, way={"type": str, "choices": WAYS, "help": argparse.SUPPRESS})
    if args.way:
        print(json.dumps(read(args.way, args.images // 80 * 80)))
        return
    rows = []
    for way in WAYS:
        call = [sys.executable, __file__, "--way", way, "--images", str(args.images)]
        rows.append(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout))
        row = rows[-1]
        print(
            f"{way:12s} {row['MiB_at_a_tenth']:.1f} MiB at {args.images // 10:,}, {row['MiB_at_the_end']:.1f}"
            f" MiB at {args.images:,}, {row['grown_MiB']:+.1f} MiB; {row['ms_an_image']:.2f} ms an image",
            flush=True,
        )
    keep(rows, args.json)


if __name__ == "__main__":
    main()
