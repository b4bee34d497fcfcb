"""Products of a reader with and without ``compile=True``, for eight numbers of probes.

    python tests/bench/compiled.py [--networks NAME,...] [--json FILE]

One image. A row is F^T u and a column F v for K vectors together; both over K forward passes of the plain
network as one batch. ``programs`` counts what torch.compile made for all K of one of the two.
"""

from __future__ import annotations

import time

import torch
import torchvision
from asked import asked, keep
from products import faster_layout, medians
from torch._dynamo.utils import counters

import fxscope
from fxscope import models

NETWORKS = {
    "edsr_baseline": (models.edsr_baseline, 48),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), 64),
    "digits_resnet": (models.digits_resnet, 32),
}
PROBES = (2, 3, 5, 8, 16, 17, 32, 33)


def compare(name: str, runs: int) -> list[dict]:
    """One line for each number of probes that is shown."""
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval().requires_grad_(False)
    channels = next(p for p in model.parameters() if p.dim() == 4).shape[1]
    x0 = torch.randn(1, channels, size, size)
    layout = faster_layout(model, x0)
    model, x0 = model.to(memory_format=layout), x0.to(memory_format=layout)
    plain = fxscope.prepare(model, x0, chunk=64)(x0)
    lin = fxscope.prepare(model, x0, chunk=64, compile=True)(x0)
    vectors = {
        "column": torch.randn(max(PROBES), *x0.shape[1:]),
        "row": torch.randn(max(PROBES), *lin.y0.shape[1:]),
    }
    seconds, programs = {}, {}
    for what, operator in (("column", "F"), ("row", "T")):
        counters.clear()
        start = time.perf_counter()
        for K in PROBES:
            _ = _operator(lin, operator) @ vectors[what][:K]
        seconds[what], programs[what] = time.perf_counter() - start, counters["stats"]["unique_graphs"]
    rows = []
    for K in (2, 8, 32):
        images = x0.expand(K, -1, -1, -1).contiguous(memory_format=layout)
        calls = {"forward": lambda images=images: model(images)}
        for what, operator in (("column", "F"), ("row", "T")):
            v = vectors[what][:K]
            calls[what] = lambda v=v, o=operator: _operator(plain, o) @ v
            calls[f"{what}, compiled"] = lambda v=v, o=operator: _operator(lin, o) @ v
        with torch.no_grad():
            found = medians(calls, runs)
        ratios = {n: found[n] / found["forward"] for n in calls if n != "forward"}
        rows.append(
            {
                "network": name,
                "size": size,
                "K": K,
                **ratios,
                "programs": max(programs.values()),
                "compile_s": sum(seconds.values()),
            }
        )
    return rows


def _operator(lin: fxscope.LinearInterpreter, which: str):
    return lin.F if which == "F" else lin.F.T


def main() -> None:
    """Measure, print, and keep."""
    args = asked(__doc__, runs=11, networks=NETWORKS)
    rows = []
    for name in args.networks:
        for row in compare(name, args.runs):
            rows.append(row)
            print(
                "  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{v}" for k, v in row.items()),
                flush=True,
            )
    keep(rows, args.json)


if __name__ == "__main__":
    main()
