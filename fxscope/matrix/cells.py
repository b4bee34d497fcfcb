"""One cell: a verb of the command line on one network and photograph, and how exact its answer is.

The verb runs as a user calls it, with its options. What it answers or writes is held against the network
itself, as ``load_model`` builds it, and against torch's own derivative.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from torch import nn

from ..cli.main import cli
from ..export.check import TOLERANCE, run_saved
from ..images.photos import read
from ..images.preprocess import Preprocess
from ..linop.filters import Filters
from ..models.spec import load_model
from ..passes.outputs import main_output, tensors_of
from ..results.provenance import digest
from ..testing.conformance.measure import round_
from ..testing.laws import distance, jacobian_vector_product
from .networks import arguments, photograph

BOUND = 1e-4  # relative, in float32
FILE_BOUND = TOLERANCE[torch.float32]  # another runtime may round a decision the other way
TRIPLETS = 2
Line = dict[str, Any]


class _Refused(Exception):
    """What a verb says on stderr instead of an answer."""


@dataclass(frozen=True)
class _Bench:
    """A network with its options, a folder with the photograph, and the verbs."""

    model: list[str]
    folder: Path

    @property
    def photo(self) -> str:
        return str(self.folder / "astronaut.png")

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def ask(self, verb: str, *options: Any) -> Line:
        """The JSON that the verb prints; raise ``_Refused`` if there is none."""
        done = CliRunner().invoke(cli, [verb, *self.model, *map(str, options), "--json"])
        if not done.stdout.strip():
            _, is_said, last = done.stderr.rpartition("fxscope: ")
            raise _Refused(last.strip() if is_said else f"exit code {done.exit_code}: {done.stderr}")
        return json.loads(done.stdout)

    @functools.cached_property
    def network(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function that the network is, without any of fxscope's graphs."""
        module: nn.Module = load_model(self.model[0], seed=0)

        def run(x: torch.Tensor) -> torch.Tensor:
            (y,) = tensors_of(main_output(module(x)))
            return y

        return run

    def x0(self, answer: Line) -> torch.Tensor:
        """x0 by the preprocessing that an answer states; its hash must be the one of the answer."""
        data = {k: v for k, v in answer["networks"][0]["preprocess"].items() if k != "text"}
        x0 = Preprocess(**data)(read(self.photo))
        if [digest(x0)] != [*answer["networks"][0]["x0"].values()]:
            raise AssertionError("the preprocessing that is stated does not give the x0 whose hash is stated")
        return x0


def measured(network: str, verb: str) -> Line:
    """The line of a cell, with the status "ok", "BROKEN", "refused" or "ERROR"."""
    started, used = time.monotonic(), sum(os.times()[:4])
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(None):
        folder = Path(name)
        try:
            photograph(folder)
            line = VERBS[verb](_Bench(arguments(network, folder), folder))
        except _Refused as refused:
            text = str(refused).replace(f"{folder}/", "")
            line = {"status": "ERROR" if text.startswith("unexpected ") else "refused", "reason": text}
        except Exception as error:  # a cell that fails is a line of the table, not the end of the run
            traceback.print_exception(error, limit=-12)
            line = {"status": "ERROR", "reason": f"{type(error).__name__}: {error}"[:400]}
    return {
        **line,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(sum(os.times()[:4]) - used, 1),  # with its children: a file is checked in one
    }


def _line(answer: Line, errors: dict[str, float], bound: float, ok: bool = True, **more: Any) -> Line:
    """What every cell keeps of an answer; ``ok`` is what the verb itself says of it."""
    (own,) = answer["networks"]
    (x0,) = own["x0"].values()
    is_good = ok and all(error <= bound for error in errors.values())
    return {
        "status": "ok" if is_good else "BROKEN",
        "errors": {name: round_(error) for name, error in errors.items()},
        "weights": own["weights"],
        "x0": x0,
        "input": own["preprocess"]["text"],
        **more,
    }


def _relative(difference: float, *parts: float) -> float:
    """A difference relative to the largest of the parts that are added."""
    return abs(difference) / max(1e-30, *map(abs, parts))


def _verify(bench: _Bench) -> Line:
    found = bench.ask("verify", bench.photo)
    held = {law["name"]: float(law["error"]) for law in found["laws"] if not law["skipped"]}
    worst = max(held, key=held.__getitem__)
    return _line(found, {worst: held[worst]}, float("inf"), found["ok"])


def _row(bench: _Bench) -> Line:
    """<row, x0> + r is the network's own output, and the row under "taylor" its gradient by autograd."""
    found = bench.ask("row", bench.photo, "--save", bench.file("row.safetensors"))
    bench.ask("row", bench.photo, "--policy", "taylor", "--save", bench.file("taylor.safetensors"))
    row, taylor = (Filters.load(bench.file(f"{name}.safetensors"))[0] for name in ("row", "taylor"))
    x = bench.x0(found).requires_grad_()
    y0 = bench.network(x)[0][tuple(found["index"])]
    (gradient,) = torch.autograd.grad(y0, x)
    linear = float((row.double() * x[0].detach()).sum())
    parts = (linear, found["r"], y0.item())
    errors = {
        "identity": _relative(linear + found["r"] - y0.item(), *parts),
        "autograd": distance(taylor, gradient[0]),
    }
    is_jacobian = bool(distance(row, taylor) <= BOUND)
    return _line(found, errors, BOUND, index=found["index"], y0=found["y0"], is_jacobian=is_jacobian)


def _column(bench: _Bench) -> Line:
    """The column at the largest coefficient of a row has it, too; under "taylor" it is torch's J e."""
    found = bench.ask("row", bench.photo, "--save", bench.file("row.safetensors"))
    row = Filters.load(bench.file("row.safetensors"))[0]
    place = [int(i) for i in torch.unravel_index(row.abs().argmax(), row.shape)]
    at = ["--at", ",".join(map(str, place))]
    answer = bench.ask("column", bench.photo, *at, "--save", bench.file("column.safetensors"))
    bench.ask("column", bench.photo, *at, "--policy", "taylor", "--save", bench.file("taylor.safetensors"))
    column, taylor = (Filters.load(bench.file(f"{name}.safetensors"))[0] for name in ("column", "taylor"))
    x0, network = bench.x0(answer), bench.network
    unit = torch.zeros_like(x0)
    unit[0][tuple(place)] = 1.0
    (exact,) = jacobian_vector_product(lambda x: (network(x),), (x0,), (unit,))
    errors = {
        "row": distance(column[tuple(found["index"])], row[tuple(place)]),
        "autograd": distance(taylor, exact[0]),
    }
    return _line(answer, errors, BOUND)


def _contributions(bench: _Bench) -> Line:
    found = bench.ask("contributions", bench.photo)
    terms, index = [term["value"] for term in found["terms"]], ast.literal_eval(found["index"])
    y0 = bench.network(bench.x0(found))[0][index].item()
    errors = {"sum": _relative(found["linear"] + sum(terms) - y0, found["linear"], y0, *terms)}
    return _line(
        found, errors, BOUND, index=index if isinstance(index, tuple) else (index,), y0=found["output"]
    )


def _svd(bench: _Bench) -> Line:
    """|F v - s u| and |F^T u - s v| over the largest singular value."""
    found = bench.ask("svd", bench.photo, "-k", TRIPLETS)
    errors = {
        name: max(found[key]) / max(found["s"])
        for name, key in (("F v = s u", "forward_errors"), ("F^T u = s v", "adjoint_errors"))
    }
    return _line(found, errors, BOUND, all(found["converged"]), s=[round_(s) for s in found["s"]])


def _report(bench: _Bench) -> Line:
    """The errors of its sums, and the laws that it checks."""
    answer = bench.ask("report", bench.photo, "--no-live", "--out", bench.file("page"))
    (chapter,) = [v for k, v in answer.items() if k not in ("networks", "skipped")]
    own, laws = chapter["astronaut.png"], chapter["verification"]
    scale = abs(own.get("score", 1.0))
    errors = {"sum": own["sum_error"] / scale}
    if own["x0"] not in answer["networks"][0]["x0"].values():
        raise AssertionError("the page is about another x0 than its verb says")
    if not Path(bench.file("page"), "index.html").stat().st_size:
        raise AssertionError("the page is empty")
    more = {"index": [own["top"]], "y0": own["score"]} if "score" in own else {}
    return _line(answer, errors, BOUND, laws["ok"], **more)


def _saved(suffix: str, bench: _Bench) -> Line:
    """The file in a process without fxscope: y0 is the network's own output, and y1 at x1 = x0 is y0."""
    file = bench.file(f"graph.{suffix}")
    found = bench.ask("transform", "-o", file)
    x0 = bench.x0(found)
    names = [each["name"] for each in found["takes"]]
    ((y0, y1),) = run_saved(file, found["format"], [(x0, x0[None])], names)
    expected = bench.network(x0).detach()
    errors = {
        "saved": max(found["errors"]),
        "y0": distance(y0, expected),
        "y1 = y0": distance(y1[0], y0),
    }
    return _line(found, errors, FILE_BOUND, found["ok"])


VERBS: dict[str, Callable[[_Bench], Line]] = {
    "verify": _verify,
    "row": _row,
    "column": _column,
    "contributions": _contributions,
    "svd": _svd,
    "report": _report,
    ".pt2": lambda bench: _saved("pt2", bench),
    ".ts": lambda bench: _saved("ts", bench),
    ".onnx": lambda bench: _saved("onnx", bench),
}
