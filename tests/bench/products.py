"""A replayed column and a row against the model's forward pass and torch.func, ratios in one run.

    python tests/bench/products.py [--networks NAME,...] [--json FILE]

K = 8 probes. The denominator is the plain model without gradients on K images, in its faster memory layout;
torch.func runs in the same layout. Medians of interleaved runs.
"""

from __future__ import annotations

import statistics
import time
import warnings

import torch
import torchvision
from asked import asked, keep

import fxscope
from fxscope import models

NETWORKS = {
    "vgg16": (lambda: torchvision.models.vgg16(weights=None), 224),
    "resnet50": (lambda: torchvision.models.resnet50(weights=None), 224),
    "densenet121": (lambda: torchvision.models.densenet121(weights=None), 160),
    "edsr_baseline": (models.edsr_baseline, 48),
    "cyclegan": (models.cyclegan, 128),
}
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def medians(calls: dict, runs: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name] += [time.perf_counter() - start] if i else []
    return {name: statistics.median(t) for name, t in times.items()}


def faster_layout(model, images) -> torch.memory_format:
    with torch.no_grad():
        found = medians(
            {
                layout: lambda layout=layout: model.to(memory_format=layout)(images.to(memory_format=layout))
                for layout in LAYOUTS
            },
            2,
        )
    return min(found, key=found.get)


def compare(name: str, K: int, runs: int) -> dict:
    make, size = NETWORKS[name]
    model = make().eval().requires_grad_(False)
    layout = faster_layout(model, torch.randn(K, 3, size, size))
    model = model.to(memory_format=layout)
    x0, images = (
        torch.randn(1, 3, size, size).to(memory_format=layout),
        torch.randn(K, 3, size, size).to(memory_format=layout),
    )
    lin = fxscope.interpret(model, x0)
    probes = images.unsqueeze(1)
    y0 = model(x0)
    cotangents = torch.randn(K, *y0.shape)
    state = lin._kept.get()
    replay, pullback = lin.prepared.replay, lin.prepared.pullback
    _, linear = torch.func.linearize(model, x0)
    _, pulled = torch.func.vjp(model, x0)
    calls = {
        "forward": lambda: model(images),
        "column": lambda: replay(state, probes),
        "row": lambda: pullback(state, cotangents),
        "vmap(jvp)": lambda: torch.func.vmap(lambda v: torch.func.jvp(model, (x0,), (v,))[1])(probes),
        "linearize": lambda: torch.func.vmap(linear)(probes),
        "vmap(vjp)": lambda: torch.func.vmap(pulled)(cotangents),
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = medians(calls, runs)
    base = found["forward"]
    return {
        "network": name,
        "size": size,
        "K": K,
        "layout": str(layout).removeprefix("torch."),
        "forward_s": base,
        **{n: t / base for n, t in found.items() if n != "forward"},
    }


def main() -> None:
    args = asked(__doc__, probes=8, runs=3, networks=NETWORKS)
    rows = []
    for name in args.networks:
        rows.append(compare(name, args.probes, args.runs))
        row = rows[-1]
        print(
            f"{name:14s} {row['size']:4d} px {row['layout']:18s} forward {row['forward_s']:.2f} s; "
            + "  ".join(
                f"{n} {row[n]:.2f}" for n in ("column", "row", "vmap(jvp)", "linearize", "vmap(vjp)")
            ),
            flush=True,
        )
    keep(rows, args.json)


if __name__ == "__main__":
    main()
