"""One network of the matrix: built, randomised, rewritten in float64, and measured; or a reason code."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ...errors import FxscopeError, LawBroken, NoLinearPath, TraceFailure, UnsupportedOperator
from ...export import save
from ...frontend.example import Example
from ...frontend.symbolic import check_model
from ...graph.ir import info
from ...rules import registry
from ..case import LawCase
from ..precision import Widened
from ..randomize import randomize
from ..silence import silence
from ..structure import converted


@silence()
def measure(build: Callable[[], tuple], exports: bool = False) -> dict[str, Any]:
    """The line of one network, with the status "ok", "BROKEN" or a reason code.

    ``build`` gives the model, its example inputs and, where they are not the default, options of
    ``LawCase.of``.
    """
    started, used = time.monotonic(), time.process_time()
    try:
        with torch.no_grad():
            torch.manual_seed(0)
            model, example, *options = build()
            with Widened():
                line = _measured(*_prepared(model, example), exports, *options)
    except FxscopeError as error:
        line = {"status": code(error), "reason": str(error)}
    except Exception as error:  # one network's failure is a line of the table, not the end of the run
        traceback.print_exception(error, limit=-12)
        line = {"status": "ERROR", "reason": f"{type(error).__name__}: {error}"[:400]}
    return {
        **line,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
    }


def code(error: FxscopeError) -> str:
    """The reason code of an error."""
    if isinstance(error, UnsupportedOperator):
        return "UNSUPPORTED_OP " + ", ".join(sorted(set(error.operators)))
    if isinstance(error, NoLinearPath):
        return "NO_LINEAR_PATH"
    if isinstance(error, TraceFailure):
        data = ("DataDependent", "data-dependent", "GuardOnDataDependent", "unbacked", "branch or loop")
        return "DATA_DEPENDENT" if any(word in str(error) for word in data) else "NOT_TRACEABLE"
    return "NOT_TRACEABLE" if isinstance(error, LawBroken) else f"ERROR {type(error).__name__}"


def _prepared(model: nn.Module, example: Any) -> tuple[nn.Module, Example]:
    """The model in float64 and eval, with weights under which the laws are not vacuous."""
    check_model(model)
    model = model.double().eval()
    example = Example.of(example, model)
    example = converted(example, torch.float64)
    randomize(model, *example.args, **example.kwargs)
    return model, example


def _measured(
    model: nn.Module, example: Example, exports: bool, options: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    s = LawCase.of(model, example, thorough=False, **options)
    program, frontend = s.program, s.program.gm.meta["frontend"]
    _ = s.lin  # raises where x0 gives values that are not finite
    found = s.measured()
    errors = {law.name.removeprefix("law "): round_(law.error) for law in found if not law.skipped}
    used = {info(n).rule for n in program.gm.graph.nodes}
    loose = [rule.derivative for name, rule in sorted(registry().rules.items()) if name in used]
    notes = [f"law 6 held to {each[0]:.0e}: {each[1]}" for each in loose if each]
    line = {
        "status": "ok" if all(law.ok for law in found) else "BROKEN",
        "traced": frontend["name"],
        "batch": frontend.get("batch", "free"),
        "nodes": s.nodes,
        "twins": len(program.tape),
        "rules": dict(sorted(Counter(r.rule for r in program.tape).items())),
        "share": round_(s.share),
        "laws": errors,
    }
    line["skipped"] = {law.name.removeprefix("law "): law.skipped for law in found if law.skipped}
    notes += [f"{name}={value!r}" for name, value in options.items()]
    if notes:
        line["note"] = "; ".join(notes)
    return {**line, "exports": _exports(s)} if exports else line


def _exports(s: LawCase) -> list[str]:
    """The file formats in which the filter could be saved and checked."""
    done = []
    for form in ("pt2", "ts"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                save(s.form("filter", "stacked"), f"{folder}/graph.{form}", (*s.args, *s.probes))
                done.append(form)
            except Exception:  # the table says which forms work
                continue
    return done


def round_(value: float) -> float:
    """The number with three significant digits."""
    return float(f"{value:.2e}")
