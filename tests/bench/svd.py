"""Passes and seconds of the singular value decomposition.

Compared are the default, scipy's solvers over the same operator, and what there was before.

    python tests/bench/svd.py [--networks NAME,...] [--k 6,20] [--size N] [--runs N] [--tol 1e-5]
                              [--json FILE]

A pass is one product with F or F^T of one vector. "torch.func" is svds (arpack, its default) over a jvp/vjp
operator of the model; "algorithm1" is the paper's method with deflation. Every line tells the largest true
residual |F v - s u|, |F^T u - s v| over s. Seconds are wall-clock, "cpu" is processor time of all threads.
Medians of interleaved runs; each begins with another random vector (seed 0, 1, ...), on which the passes of
every method depend, and the residual is the largest of all. Methods that take more than ``--once`` seconds
run once.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings

import numpy as np
import torch
from asked import asked, keep

import fxscope
from fxscope import models
from fxscope.images import photos
from fxscope.linop.svd.external import linear_operator
from fxscope.linop.svd.rows import Rows
from fxscope.testing import randomize


def pixelshuffle(size: int, dtype: torch.dtype):
    return models.pixelshuffle4x().to(dtype), photograph(size, dtype)[:, :1]


def edsr(size: int, dtype: torch.dtype):
    x0 = photograph(size, dtype) * 255
    return randomize(models.edsr_baseline().to(dtype).eval(), x0), x0


def photograph(size: int, dtype: torch.dtype) -> torch.Tensor:
    return photos.shipped("astronaut")[None, :, 60 : 60 + size, 160 : 160 + size].to(dtype)


NETWORKS = {"pixelshuffle": (pixelshuffle, 64), "edsr_baseline": (edsr, 24)}


class Functional:
    """What a user of torch.func has: F v by jvp, F^T u by vjp."""

    def __init__(self, model, x0):
        self.model, self.x0, self.y0 = model, x0, model(x0).detach()
        self.passes = 0

    def matvec(self, v: np.ndarray) -> np.ndarray:
        self.passes += 1
        return (
            torch.func.jvp(self.model, (self.x0,), (torch.as_tensor(v).reshape(self.x0.shape),))[1]
            .detach()
            .numpy()
            .ravel()
        )

    def rmatvec(self, u: np.ndarray) -> np.ndarray:
        self.passes += 1
        return (
            torch.func.vjp(self.model, self.x0)[1](torch.as_tensor(u).reshape(self.y0.shape))[0]
            .detach()
            .numpy()
            .ravel()
        )

    def operator(self):
        from scipy.sparse.linalg import LinearOperator

        dtype = np.dtype(str(self.x0.dtype).removeprefix("torch."))
        return LinearOperator(
            (self.y0.numel(), self.x0.numel()),
            matvec=lambda v: self.matvec(v.reshape(-1)),
            rmatvec=lambda u: self.rmatvec(u.reshape(-1)),
            dtype=dtype,
        )


class Clock:
    """Wall-clock and processor seconds since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict:
        return {"seconds": time.perf_counter() - self.wall, "cpu": time.process_time() - self.cpu}


def scipy_line(make_operator, count, F, k: int, tol: float, solver: str, seed: int) -> dict:
    from scipy.sparse.linalg import svds

    operator = make_operator()
    clock = Clock()
    u, s, vt = svds(operator, k=k, tol=tol, solver=solver, random_state=seed, maxiter=10000)
    return {**clock.read(), "passes": count(), **residual(F, s, u, vt)}


def residual(F, s, u, vt) -> dict:
    s, v, u = (torch.as_tensor(np.ascontiguousarray(a), dtype=F.dtype) for a in (s, vt, u.T))
    rows = Rows(F)
    errors = torch.maximum(
        (rows.forward(v) - s[:, None] * u).norm(dim=1), (rows.adjoint(u) - s[:, None] * v).norm(dim=1)
    )
    return {"residual": float((errors / s).max()), "s1": float(s.max()), "sk": float(s.min())}


def own_line(F, k: int, tol: float, **options) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fxscope.errors.NotConverged)
        clock = Clock()
        found = F.svd(k, tol=tol, progress=False, **options)
    line = {**clock.read(), "passes": found.passes, "s1": float(found.s[0]), "sk": float(found.s[-1])}
    return {
        **line,
        "residual": float((found.errors / found.s).max()),
        "converged": bool(found.converged.all()) and len(found) == k,
        "info": found.info,
    }


def methods(model, x0, F, k: int, tol: float, passes: int, seed: int) -> dict:
    def over_rows(solver):
        rows = Rows(F)
        return scipy_line(lambda: linear_operator(rows), lambda: rows.passes, F, k, tol, solver, seed)

    def over_torch_func():
        functional = Functional(model, x0)
        return scipy_line(functional.operator, lambda: functional.passes, F, k, tol, "arpack", seed)

    return {
        "default": lambda: own_line(F, k, tol, seed=seed),
        "block 1 without look": lambda: own_line(F, k, tol, seed=seed, method="lanczos", block=1, look=0),
        "randomized": lambda: own_line(F, k, tol, seed=seed, method="randomized"),
        **{solver: lambda solver=solver: over_rows(solver) for solver in ("arpack", "propack", "lobpcg")},
        "torch.func": over_torch_func,
        "algorithm1 auto": lambda: own_line(F, k, tol, seed=seed, method="power", max_passes=passes),
        "algorithm1 m=0": lambda: own_line(
            F, k, tol, seed=seed, method="power", momentum=0, max_passes=passes
        ),
    }


def middle(runs: list[dict]) -> dict:
    """The first run's line with the medians of all and the largest residual."""
    medians = {n: statistics.median(r[n] for r in runs) for n in ("passes", "seconds", "cpu")}
    return {
        **runs[0],
        **medians,
        "all_passes": [r["passes"] for r in runs],
        "residual": max(r["residual"] for r in runs),
    }


def shown(line: dict) -> str:
    said = "" if line.get("converged", True) else "  stopped at its limit"
    head = (
        f"{line['network']:14s} k={line['k']:3d} {line['method']:18s} {line['passes']:6g} passes"
        f" {line['seconds']:8.2f} s {line['cpu']:8.2f} cpu"
    )
    return f"{head}  residual {line['residual']:.1e}  s {line['s1']:.6f} .. {line['sk']:.6f}{said}"


def compare(name: str, args) -> list[dict]:
    make, size = NETWORKS[name]
    torch.manual_seed(0)
    model, x0 = make(args.size or size, args.dtype)
    model.requires_grad_(False)
    F = fxscope.interpret(model, x0).F
    F @ torch.zeros(F.inputs.shape, dtype=F.dtype)
    lines = []
    for k in args.k:
        times: dict[str, list[dict]] = {}
        for seed in range(args.runs):
            calls = {
                n: c
                for n, c in methods(model, x0, F, k, args.tol, args.passes, seed).items()
                if not args.methods or n in args.methods
            }
            for method, call in calls.items():
                if method not in times or times[method][0]["seconds"] <= args.once:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        times.setdefault(method, []).append(call())
                    print(
                        f"{name} k={k} {method}: {times[method][-1]['passes']} passes,"
                        f" {times[method][-1]['seconds']:.1f} s",
                        file=sys.stderr,
                        flush=True,
                    )
        for method, runs in times.items():
            lines.append(
                {
                    "network": name,
                    "size": x0.shape[-1],
                    "dtype": str(F.dtype).removeprefix("torch."),
                    "k": k,
                    "method": method,
                    **middle(runs),
                }
            )
            print(shown(lines[-1]), flush=True)
    return lines


def main() -> None:
    args = asked(
        __doc__,
        networks=NETWORKS,
        methods={"type": lambda t: t.split(","), "help": "only these lines"},
        k=(6, 20),
        size={"type": int},
        runs=3,
        once=20.0,
        tol=1e-5,
        passes={"type": int, "default": 20000, "help": "limit of Algorithm 1"},
        dtype={"type": lambda t: getattr(torch, t), "default": torch.float32},
    )
    lines = [line for name in args.networks for line in compare(name, args)]
    keep(lines, args.json)


if __name__ == "__main__":
    main()
