"""Compare a saved file with the graph in memory.

The file is loaded in a fresh process that cannot import fxscope.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.fx as fx
from torch.utils import _pytree as pytree

from ..errors import SavedFileDiffers
from ..frontend.unchanged import Draw
from ..passes.outputs import tensors_of
from ..results.display import Displayed
from ..results.tables import Column, Table
from .flips import Flips, flips
from .shapes import has_state, input_names

# Kernels round differently, which may flip a decision in float32. A larger error than these bounds is
# accepted only if rounding alone has a similar effect.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3, torch.float16: 5e-2, torch.bfloat16: 5e-2}
SEED = 0  # the graph and the file draw the same random numbers
# such an error may be at most FLIPPED times the effect of perturbing x0 by its rounding
FLIPPED = 4.0

LOADER = """
import sys
class Block:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "fxscope":
            raise ImportError("fxscope must not be needed to run a saved file")
sys.meta_path.insert(0, Block())
import warnings; warnings.simplefilter("ignore")
import torch
import json
jobs, threads, seed = sys.argv[1:]
torch.set_num_threads(int(threads))
def flat(v):
    if isinstance(v, torch.Tensor): return [v]
    if not isinstance(v, (dict, list, tuple)): return []
    if isinstance(v, dict): v = v.values()
    return [t for x in v for t in flat(x)]
def loaded(path, form, names):
    if form == "ts":
        return torch.jit.load(path)
    if form == "pt2":
        return torch.export.load(path).module()
    if form == "aoti":
        return torch._inductor.aoti_load_package(path)
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    def call(*inputs):
        feeds = {n: x.numpy() for n, x in zip(names, flat(inputs))}
        given = {i.name: feeds[i.name] for i in session.get_inputs()}
        return [torch.from_numpy(o) for o in session.run(None, given)]
    return call
def run(path, form, source, target, names):
    call = loaded(path, form, names)
    found = []
    for inputs in torch.load(source, weights_only=True):
        torch.manual_seed(int(seed))
        found.append([t.detach().clone() for t in flat(call(*inputs))])
    torch.save(found, target)
for job in json.load(open(jobs)):
    try:
        run(*job)
    except BaseException:
        import traceback
        open(job[3] + ".txt", "w").write(traceback.format_exc())
"""


@dataclass(frozen=True, repr=False)
class SavedCheck(Displayed):
    """How the results of a saved file differ from those of the graph.

    Parameters
    ----------
    path, format : str
        The file and its format.
    errors : tuple of float
        The largest relative error over all outputs, for each set of inputs.
    tolerance : float
        The bound on the errors if no decision flips.
    excess : float
        The largest error divided by its bound; the check fails above 1. If rounding flips decisions, the
        bound is at least ``FLIPPED`` times their effect on the graph itself.
    flips : tuple of Flips
        The decisions that rounding alone flips, for each set of inputs whose error exceeds ``tolerance``.
    """

    path: str
    format: str
    errors: tuple[float, ...]
    tolerance: float
    excess: float
    flips: tuple[Flips, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every error is within its bound."""
        return self.excess <= 1

    def _said(self) -> Iterable[str]:
        verdict = "ok" if self.ok else "DIFFERS"
        return [f"{self.format}: {verdict}", f"largest error {max(self.errors):.1e}", str(self.path)]

    def _table(self) -> Table:
        rows = [(f"inputs {i}", error) for i, error in enumerate(self.errors)]
        columns = ("", Column("largest relative error", form=".2e"))
        bound = f"bound {self.tolerance:.0e}: {'ok' if self.ok else 'DIFFERS'}"
        return Table(columns, rows, f"{self.path} ({self.format})", (bound, *map(str, self.flips)))

    def __str__(self) -> str:
        said = (
            f"{self.path} ({self.format}): largest relative error {max(self.errors):.2e}, bound"
            f" {self.tolerance:.0e}: {'ok' if self.ok else 'DIFFERS'}"
        )
        return "; ".join([said, *map(str, self.flips)])


@dataclass(frozen=True)
class Job:
    """A saved file, and the sets of inputs on which it is to be run; ``names`` are those of its inputs."""

    path: str | Path
    format: str
    input_sets: list[tuple]
    names: list[str]


def run_files(jobs: Sequence[Job]) -> list[list[list[torch.Tensor]] | SavedFileDiffers]:
    """The outputs of saved files for each set of inputs, or why there are none.

    All files are run in one fresh process, which cannot import fxscope.
    """
    with tempfile.TemporaryDirectory() as folder:
        told: list[tuple[str, str, str, str, list[str]]] = []
        for i, job in enumerate(jobs):
            source, target = Path(folder) / f"{i}.in.pt", Path(folder) / f"{i}.out.pt"
            torch.save(pytree.tree_map(_plain, [list(inputs) for inputs in job.input_sets]), source)
            told.append((str(Path(job.path).resolve()), job.format, str(source), str(target), job.names))
        listed = Path(folder) / "jobs.json"
        listed.write_text(json.dumps(told))
        command = [sys.executable, "-c", LOADER, str(listed), str(torch.get_num_threads()), str(SEED)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        return [_outputs(job, Path(target), done.stderr) for job, (_, _, _, target, _) in zip(jobs, told)]


def _plain(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _outputs(job: Job, target: Path, said: str) -> list[list[torch.Tensor]] | SavedFileDiffers:
    if target.exists():
        return torch.load(target, weights_only=True)
    error = target.with_name(target.name + ".txt")
    said = error.read_text() if error.exists() else said
    return SavedFileDiffers(
        f"{job.path} cannot be loaded and run in a fresh process:\n{said.strip()[-1500:]}"
    )


def run_saved(
    path: str | Path, format: str, input_sets: list[tuple], names: list[str]
) -> list[list[torch.Tensor]]:
    """The outputs of a saved file for each set of inputs, from a process that cannot import fxscope."""
    (found,) = run_files([Job(path, format, input_sets, names)])
    if isinstance(found, SavedFileDiffers):
        raise found
    return found


def compare(graph: fx.GraphModule, path: str | Path, format: str, input_sets: list[tuple]) -> SavedCheck:
    """Run the file and the graph on each set of inputs; raises ``SavedFileDiffers`` if they disagree.

    A larger error is accepted if rounding alone flips decisions of the graph and has a similar effect. A
    graph that takes a recorded state makes no decisions.
    """
    found = run_saved(path, format, input_sets, input_names(graph, input_sets[0]))
    return compared(graph, path, format, input_sets, found)


def compared(
    graph: fx.GraphModule,
    path: str | Path,
    format: str,
    input_sets: list[tuple],
    found: list[list[torch.Tensor]],
) -> SavedCheck:
    """The check of a file by the outputs that it gave; raises as ``compare`` does."""
    tolerance = TOLERANCE.get(_dtype(input_sets[0]), 1e-3)
    errors, excess, flipped = [], 0.0, []
    for inputs, got in zip(input_sets, found, strict=True):
        with Draw(graph.parameters()).again(), torch.no_grad():
            torch.manual_seed(SEED)
            expected = tensors_of(graph(*inputs))
        each = [_error(a, b) for a, b in zip(got, expected, strict=True)]
        bounds = [tolerance] * len(each)
        if max(each) > tolerance and not has_state(graph):
            flipped.append(flips(graph, inputs, _error))
            if flipped[-1].changed:
                bounds = [max(tolerance, FLIPPED * moved) for moved in flipped[-1].moved]
        errors.append(max(each))
        excess = max([excess, *(e / b for e, b in zip(each, bounds))])
    check = SavedCheck(str(path), format, tuple(errors), tolerance, excess, tuple(flipped))
    if not check.ok:
        raise SavedFileDiffers(str(check))
    return check


def _error(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.shape != b.shape:
        return float("inf")
    if not b.is_floating_point():
        # the share of masks and indices that differ
        return (a != b).double().mean().item() if b.numel() else 0.0
    return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item() if b.numel() else 0.0


def _dtype(inputs: tuple[Any, ...]) -> torch.dtype:
    tensors = [x for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor)]
    return next(x.dtype for x in tensors if x.is_floating_point())
