"""What is computed from F, in the walk of the zoo:
svd, to_sparse, local_row, local_column, summary, verify, saved files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from zoo_walk import Walk, batched, floating, image, largest, right, sampled, scale_of

import fxscope
from fxscope.emit import emit
from fxscope.emit.pipeline import program_of


def operators(walk: Walk) -> None:
    """svd, to_sparse, local_row, summary."""
    _svd(walk)
    _to_sparse(walk)
    scope = walk.may_refuse("transform", lambda: fxscope.transform(walk.model, example_inputs=walk.args))
    assert scope is None or str(fxscope.summary(scope)), "summary"
    if len(walk.args) == 1 and not walk.model.training and not walk.case.draws:
        _local_row(walk)


def verified(walk: Walk) -> None:
    """``verify`` finds every law held; the other frontend is asked by a group of its own."""
    report = walk.may_refuse("verify", lambda: fxscope.verify(walk.model, *walk.args, thorough=False))
    assert report is None or report.ok, f"verify: {report}"


def _svd(walk: Walk) -> None:
    """The largest value, and values of F alone:
    a further copy of a repeated one may be left out (docs/limitations.md).
    """
    values = torch.linalg.svdvals(walk.D)
    for k in (1, 2):
        found = (
            None
            if k > min(walk.D.shape)
            else walk.may_refuse("svd", lambda: walk.lin.F.svd(k, progress=False))
        )
        if found is not None:
            size, s = max(float(values[0]) * 100, 1e-12), found.s.double().cpu()
            right(s[:1], values[:1], f"svd({k})", size)
            right(s, values[(values[None] - s[:, None]).abs().argmin(1)], f"svd({k})", size)


def _to_sparse(walk: Walk) -> None:
    lin = (
        walk.lin
        if walk.B == 1
        else walk.may_refuse("interpret alone", lambda: walk.interpret(image(walk.args, 0, walk.B)))
    )
    sparse = None if lin is None else walk.may_refuse("to_sparse", lambda: lin.F.to_sparse(progress=False))
    if sparse is not None:
        right(torch.from_numpy(sparse.toarray()), walk.seeded(lambda: lin.F.to_dense()), "to_sparse")


def _local_row(walk: Walk) -> None:
    x0 = walk.args[0]
    if x0.dim() != 4 or len(floating(walk.y0)) != 1 or (not batched(walk) and walk.B != 1):
        return
    lin = walk.may_refuse("interpret alone", lambda: walk.interpret((x0[:1],)))
    if lin is None or len(lin.F.outputs.shapes) != 1 or len(lin.F.outputs.shapes[0]) != 3:
        return
    shape = lin.F.outputs.shapes[0]
    for index in {(0, 0, 0), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)}:
        found = walk.may_refuse("local_row", lambda: fxscope.local_row(walk.model, x0[:1], index))
        if found is not None:
            whole = torch.zeros_like(x0[0])
            whole[found.box] = found.values
            right(whole, lin.F.row(index), f"local_row {index}", largest(walk.D))
            right(
                torch.tensor(found.y0, dtype=torch.float64),
                lin.y0[0][index].double(),
                f"local_row {index}: y0",
                scale_of(walk),
            )
    _local_column(walk, lin)


def _local_column(walk: Walk, lin: Any) -> None:
    x0, shape = walk.args[0], lin.F.inputs.shape
    for index in {tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)}:
        found = walk.may_refuse("local_column", lambda: fxscope.local_column(walk.model, x0[:1], index))
        if found is not None:
            whole = torch.zeros_like(lin.y0[0])
            whole[found.box] = found.values
            right(whole, lin.F.column(index), f"local_column {index}", largest(walk.D))


def saved(walk: Walk) -> None:
    """Two file formats of the stacked pair, checked in a fresh process by ``save`` itself.

    For a fixed sample of the cases.
    """
    if not sampled(walk.case.name, 8):
        return
    program = walk.seeded(lambda: program_of(walk.model, example_inputs=walk.args))
    graph = walk.may_refuse("save", lambda: emit(program, "pair", "stacked").train(walk.model.training))
    if graph is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".pt2", ".ts"):
            walk.may_refuse(
                f"save {suffix}",
                lambda: fxscope.save(graph, Path(folder) / f"pair{suffix}", (*walk.tensors, walk.probes)),
            )
