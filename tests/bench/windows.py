"""Rows and columns of networks of images from the crop that they need, against those of the whole image.

    python tests/bench/windows.py [--size 256] [--json FILE]

In forward passes of the plain network on the whole image. ``F.row`` is one pass of an interpreter that is
there already; ``reader and row`` runs the image first, and ``local_row`` traces, runs and reads a crop.
Several are 4 neighbouring places.
"""

from __future__ import annotations

import torch
from asked import asked, keep
from products import medians

import fxscope
from fxscope import models

NETWORKS = {"edsr_small": (lambda: models.edsr_small(False), 3), "dncnn": (models.dncnn, 1)}


def measured(name: str, size: int) -> dict:
    """One line of the table."""
    make, channels = NETWORKS[name]
    torch.manual_seed(0)
    model, x0 = make().eval().requires_grad_(False), torch.rand(1, channels, size, size)
    reader = fxscope.prepare(model, x0)
    lin = reader(x0)
    _, height, width = lin.F.outputs.shape
    index, pixel = (0, height // 2, width // 2), (0, size // 2, size // 2)
    near = [(0, height // 2 + i, width // 2 + j) for i in range(2) for j in range(2)]
    found = fxscope.local_row(model, x0, index)
    off = float((lin.F.row(index)[found.box] - found.values).abs().max() / found.values.abs().max())
    with torch.no_grad():
        times = medians(
            {
                "forward": lambda: model(x0),
                "F.row": lambda: lin.F.row(index),
                "reader and row": lambda: reader(x0).F.row(index),
                "local_row": lambda: fxscope.local_row(model, x0, index),
                "4 F.rows": lambda: lin.F.rows(near, progress=False),
                "4 local_rows": lambda: fxscope.local_rows(model, x0, near),
                "F.column": lambda: lin.F.column(pixel),
                "local_column": lambda: fxscope.local_column(model, x0, pixel),
            },
            3,
        )
    forward = times.pop("forward")
    crop = "x".join(str(n) for n in found.values.shape[1:])
    ratios = {call: t / forward for call, t in times.items()}
    head = {"network": name, "size": size, "crop": crop, "threads": torch.get_num_threads()}
    return {**head, "forward s": forward, **ratios, "error": off}


def main() -> None:
    """Measure, print, and keep."""
    args = asked(__doc__, networks=NETWORKS, size=256)
    rows = []
    for name in args.networks:
        rows.append(measured(name, args.size))
        print(rows[-1], flush=True)
    keep(rows, args.json)


if __name__ == "__main__":
    main()
