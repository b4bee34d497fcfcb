"""Drawn operators as files: scripted, as .pt2 and as ONNX, run in a fresh process at other inputs."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ...emit.pipeline import graph_of
from ...errors import FxscopeError, SavedFileDiffers, first_line
from ...export.check import Job, compared, run_files
from ...export.save import save, write_unchecked
from ...export.shapes import input_names
from ...linop.reader import interpret
from ..silence import silence
from .judge import OneImage, database, samples

FORMATS = ("ts", "pt2", "onnx")
FORMS = ("pair", "adjoint")
SEED = 0
TOGETHER = 10  # operators whose files one fresh process runs


def drawn_names(count: int, among: list[str]) -> list[str]:
    """So many names, drawn under a fixed seed."""
    return sorted(random.Random(SEED).sample(sorted(among), min(count, len(among))))


def filed(names: list[str], formats: tuple[str, ...] = FORMATS) -> Iterator[dict[str, Any]]:
    """{"name", format: "right", "refused: why" or "wrong: why"} of each operator."""
    for start in range(0, len(names), TOGETHER):
        with silence(), tempfile.TemporaryDirectory() as folder:
            lines = _together(names[start : start + TOGETHER], formats, Path(folder))
        yield from lines


def _together(names: list[str], formats: tuple[str, ...], folder: Path) -> list[dict[str, Any]]:
    lines: dict[str, dict[str, Any]] = {name: {"name": name} for name in names}
    jobs: list[tuple[str, str, Any, Job]] = []
    for name in names:
        for format in formats:
            try:
                jobs += [(name, format, *made) for made in _made(name, format, folder)]
            except FxscopeError as error:
                lines[name][format] = f"refused: {_brief(error)}"
    for (name, format, graph, job), found in zip(jobs, run_files([job for *_, job in jobs])):
        said = _held(graph, job, found)
        if said.startswith("wrong") and _refused(graph, job):
            said = f"refused: save says that the file differs{said.removeprefix('wrong')}"
        if said or format not in lines[name]:
            lines[name][format] = said or "right"
    return list(lines.values())


def _refused(graph: Any, job: Job) -> bool:
    """Whether ``save``, which runs the example in a fresh process, does not give the file to the user."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            save(graph, Path(folder) / f"graph.{job.format}", job.input_sets[-1])
        except SavedFileDiffers:
            return True
    return False


def _held(graph: Any, job: Job, found: Any) -> str:
    """Why a file is not right; "" where it gives what the graph gives."""
    if isinstance(found, SavedFileDiffers):
        return f"wrong: {first_line(found)}"
    try:
        compared(graph, job.path, job.format, job.input_sets, found)
    except SavedFileDiffers as error:
        return f"wrong: {_brief(error)}"
    return ""


def _made(name: str, format: str, folder: Path) -> Iterator[tuple[Any, Job]]:
    """(graph, the file with what it is to be run on) of every form: the example, and another x0 and K."""
    dtype = torch.float32 if format == "onnx" else torch.float64  # onnxruntime has no float64 kernels of many
    model, x0 = _case(name, dtype)
    lin = interpret(model, x0, policy="taylor", unknown="taylor")
    for form in FORMS:
        graph = graph_of(lin.program, form, "stacked")
        probe = torch.randn(2, *(x0 if form == "pair" else lin.y0).shape, dtype=dtype)
        path = folder / f"{name}.{form}.{format}"
        written, example = write_unchecked(graph, path, (x0, probe), format)
        sets = [(near(x0), torch.randn(3, *probe.shape[1:], dtype=dtype)), example]
        sets = [each for each in sets if _finite(written, each)]
        yield written, Job(path, format, sets, input_names(written, example))


def _case(name: str, dtype: torch.dtype) -> tuple[OneImage, torch.Tensor]:
    torch.manual_seed(SEED)
    known = database(dtype)
    found = samples(known[name], 1, dtype) if name in known else []
    if not found:
        raise FxscopeError(f"{name} has no sample in {dtype}")
    return found[0]


def near(x: torch.Tensor) -> torch.Tensor:
    """Another input, inside the operator's domain if the first one is."""
    return x * (1 - 1e-2 * torch.rand_like(x))


def _finite(graph: Any, inputs: tuple) -> bool:
    with torch.no_grad():
        y = graph(*inputs)
    return all(bool(torch.isfinite(t).all()) for t in (y if isinstance(y, tuple) else (y,)))


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0][:300]
