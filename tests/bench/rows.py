"""All rows of a classifier, through its narrowest place, against as many forward passes.

    python tests/bench/rows.py [--json FILE]

The matrix of F and the same rows one pass each (extrapolated from one chunk), over 1000 forward passes of the
plain network, all in its faster memory layout. Every network has 1000 labels and 224 pixels.
"""

from __future__ import annotations

import time

import torch
import torchvision
from asked import asked, keep
from products import faster_layout, medians

import fxscope
from fxscope.linop import narrow

NETWORKS = ("resnet18", "mobilenet_v3_small", "vgg11")


def measured(name: str) -> dict:
    """One line of the table."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval().requires_grad_(False)
    x0 = torch.randn(1, 3, 224, 224)
    layout = faster_layout(model, x0)
    model, x0 = model.to(memory_format=layout), x0.to(memory_format=layout)
    lin = fxscope.interpret(model, x0)
    F, chunk = lin.F, lin.F.chunk
    ones = torch.eye(1000)[:chunk]
    _ = F.T @ ones
    worth, narrow.WORTH = narrow.WORTH, 0.0  # one pass a row
    with torch.no_grad():
        found = medians({"forward": lambda: model(x0), "rows": lambda: F.T @ ones}, 5)
    narrow.WORTH = worth
    start = time.perf_counter()
    F.to_dense(progress=False)
    whole = time.perf_counter() - start
    with torch.no_grad():
        again = medians({"forward": lambda: model(x0)}, 5)["forward"]
    forwards = 1000 * (found["forward"] + again) / 2
    cut = lin.prepared.cut
    return {
        "network": name,
        "layout": str(layout).removeprefix("torch."),
        "width of the narrowest place": cut and torch.Size(cut.shape).numel(),
        "1000 rows s": whole,
        "1000 rows/1000 forwards": whole / forwards,
        "one pass a row": found["rows"] * 1000 / chunk / forwards,
    }


def main() -> None:
    """Measure, print, and keep."""
    args = asked(__doc__, networks=NETWORKS)
    rows = []
    for name in args.networks:
        rows.append(measured(name))
        print(rows[-1], flush=True)
    keep(rows, args.json)


if __name__ == "__main__":
    main()
