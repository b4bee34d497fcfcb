"""Cost of the pair against the plain model on K + 1 images, in one run and in the same memory layout.

    python tests/bench/pair.py [--json FILE]

Ratios of medians of interleaved runs.
"""

from __future__ import annotations

import statistics
import time

import torch
import torchvision
from asked import asked, keep

import fxscope
from fxscope import models

NETWORKS = {
    "vgg16": (lambda: torchvision.models.vgg16(weights=None), 224),
    "resnet50": (lambda: torchvision.models.resnet50(weights=None), 224),
    "edsr_baseline": (models.edsr_baseline, 48),
    "cyclegan": (models.cyclegan, 128),
}


def compare(name: str, K: int, runs: int, layout: torch.memory_format) -> dict:
    make, size = NETWORKS[name]
    model = make().eval().to(memory_format=layout)
    scope = fxscope.transform(model)
    x0 = torch.randn(1, 3, size, size).to(memory_format=layout)
    x1 = torch.randn(K, 3, size, size).to(memory_format=layout)
    both = torch.cat([x0, x1]).to(memory_format=layout)
    times: dict[str, list[float]] = {"pair": [], "plain": []}
    with torch.no_grad():
        for i in range(runs + 1):
            for label, call in (("pair", lambda: scope(x0, x1)), ("plain", lambda: model(both))):
                start = time.perf_counter()
                call()
                times[label] += [time.perf_counter() - start] if i else []
    pair, plain = (statistics.median(times[k]) for k in ("pair", "plain"))
    return {
        "network": name,
        "size": size,
        "K": K,
        "layout": str(layout).removeprefix("torch."),
        "pair_s": pair,
        "plain_s": plain,
        "ratio": pair / plain,
    }


def main() -> None:
    args = asked(__doc__, probes=8, runs=5)
    rows = [
        compare(n, args.probes, args.runs, layout)
        for n in NETWORKS
        for layout in (torch.contiguous_format, torch.channels_last)
    ]
    start = time.perf_counter()
    fxscope.transform(torchvision.models.resnet152(weights=None).eval())
    print(f"transform(resnet152): {time.perf_counter() - start:.2f} s, model construction included")
    for row in rows:
        print(
            "{network:14s} {size:4d} px  K={K}  {layout:18s} pair {pair_s:6.2f} s  plain {plain_s:6.2f} s "
            " ratio {ratio:.2f}".format(**row)
        )
    keep(rows, args.json)


if __name__ == "__main__":
    main()
