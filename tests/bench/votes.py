"""Rows of all 1000 scores of vgg16 at 224, from a chunk, against forward passes in the faster memory layout.

    python tests/bench/votes.py [--rows 32]

Prints seconds a row, seconds a forward pass (both layouts, batches of the same size), their ratio, and the memory of two runs
of different numbers of labels.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
import torchvision

import fxscope


def seconds(run, repeats: int = 2) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=8)
    args = parser.parse_args()
    model = torchvision.models.vgg16(weights=None).eval()
    batch = torch.randn(args.chunk, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    plain = seconds(lambda: model(batch)) / args.chunk
    last = model.to(memory_format=torch.channels_last)
    other = batch.to(memory_format=torch.channels_last)
    channels_last = seconds(lambda: last(other)) / args.chunk
    model = model.to(memory_format=torch.contiguous_format)
    lin = fxscope.interpret(model, batch[:1])

    def rows(count: int) -> None:
        for _ in lin.F.iter_rows(range(count), chunk=args.chunk, progress=False):
            pass

    rows(args.chunk)
    few = peak()
    each = seconds(lambda: rows(args.rows), 1) / args.rows
    forward = min(plain, channels_last)
    print(f"row {each:.4f} s, forward {plain:.4f} s, channels last {channels_last:.4f} s; 1000 rows {1000 * each:.0f} s, ratio {each / forward:.3f} (at most 1.1)")
    print(f"peak memory {few:.0f} MiB after {args.chunk} labels, {peak():.0f} MiB after {args.rows}")


if __name__ == "__main__":
    main()
