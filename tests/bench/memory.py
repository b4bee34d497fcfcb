"""Peak memory of the pair and of K rows.

The pair runs under no_grad, against the plain model on the same batch of K + 1 images. K rows are compared
with autograd's.

    python tests/bench/memory.py [--json FILE]

Every allocation of the CPU allocator is counted (torch.profiler), not the process's size: exact, and the same
in every run.
"""

from __future__ import annotations

import gc

import torch
from asked import asked, keep
from pair import NETWORKS
from torch.profiler import ProfilerActivity, profile

import fxscope


def peak(call) -> int:
    """Most bytes of tensors that lived at once during a call, beyond what lived before it."""
    gc.collect()  # what dies of an earlier network during the call would be taken off
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    held = most = 0
    for event in sorted(
        (e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e.start_ns(),
    ):
        held += event.nbytes()
        most = max(most, held)
    return most


def compare(name: str, K: int, layout: torch.memory_format) -> dict:
    make, size = NETWORKS[name]
    model = make().eval().to(memory_format=layout)
    scope = fxscope.transform(model)
    x0, x1 = (
        torch.randn(1, 3, size, size).to(memory_format=layout),
        torch.randn(K, 3, size, size).to(memory_format=layout),
    )
    both = torch.cat([x0, x1]).to(memory_format=layout)
    with torch.no_grad():
        pair, plain = peak(lambda: scope(x0, x1)), peak(lambda: model(both))
    return {
        "network": name,
        "size": size,
        "K": K,
        "layout": str(layout).removeprefix("torch."),
        "pair_MiB": pair / 2**20,
        "plain_MiB": plain / 2**20,
        "ratio": pair / plain,
    }


def rows(name: str, K: int) -> dict:
    """K rows of F against autograd through the model on K copies of x0.

    x0's own run and its states are included.
    """
    make, size = NETWORKS[name]
    model = make().eval().requires_grad_(False)
    x0 = torch.randn(1, 3, size, size)
    shape = model(x0).shape
    v = torch.randn(K, *shape)

    def autograd() -> None:
        copies = x0.repeat(K, 1, 1, 1).requires_grad_()
        torch.autograd.grad(model(copies), copies, v.flatten(0, 1))

    ours, theirs = peak(lambda: fxscope.interpret(model, x0).F.T @ v[:, 0]), peak(autograd)
    return {
        "network": name,
        "size": size,
        "K": K,
        "rows_MiB": ours / 2**20,
        "autograd_MiB": theirs / 2**20,
        "ratio": ours / theirs,
    }


def main() -> None:
    args = asked(__doc__, probes=8)
    found = []
    for name in NETWORKS:
        for layout in (torch.contiguous_format, torch.channels_last):
            found.append(compare(name, args.probes, layout))
            print(
                "{network:14s} {size:4d} px  K={K}  {layout:18s} pair {pair_MiB:7.0f} MiB  plain"
                " {plain_MiB:7.0f} MiB  ratio {ratio:.2f}".format(**found[-1]),
                flush=True,
            )
        found.append(rows(name, args.probes))
        print(
            "{network:14s} {size:4d} px  K={K}  rows {rows_MiB:7.0f} MiB  autograd {autograd_MiB:7.0f} MiB "
            " ratio {ratio:.2f}".format(**found[-1]),
            flush=True,
        )
    keep(found, args.json)


if __name__ == "__main__":
    main()
