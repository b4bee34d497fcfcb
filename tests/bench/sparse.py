"""The whole filter matrix by shared passes against column by column, estimated in one run.

python tests/bench/sparse.py [--size 128] [--json FILE]
"""

from __future__ import annotations

import time

import torch
from asked import asked, keep

import fxscope
from fxscope import models


def main() -> None:
    args = asked(__doc__, size=128)
    size = args.size
    lin = fxscope.interpret(models.pixelshuffle4x(), torch.rand(1, 1, size, size))
    start = time.perf_counter()
    sparse = lin.F.to_sparse(progress=False)
    shared = time.perf_counter() - start
    count = 2 * lin.F.chunk
    places = [(0, i // size, i % size) for i in range(count)]
    lin.F.columns(places, progress=False)
    start = time.perf_counter()
    lin.F.columns(places, progress=False)
    single = (time.perf_counter() - start) / count * size * size
    print(
        f"pixelshuffle4x at {size}x{size}: {sparse.shape[0]} x {sparse.shape[1]}, {sparse.nnz:,} coefficients"
    )
    print(
        f"{lin.F.passes()} passes {shared:.1f} s; column by column {single:.0f} s (estimated from {count});"
        f" {single / shared:.0f} times faster"
    )
    keep(
        [
            {
                "network": "pixelshuffle4x",
                "size": size,
                "coefficients": sparse.nnz,
                "passes": lin.F.passes(),
                "shared_s": shared,
                "single_s": single,
                "times_faster": single / shared,
            }
        ],
        args.json,
    )


if __name__ == "__main__":
    main()
