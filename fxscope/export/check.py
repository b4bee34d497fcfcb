"""Every saved file is loaded again, in a fresh process that cannot import fxscope, and compared with the graph in memory."""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.fx as fx

from ..errors import FxscopeError, SavedFileDiffers
from . import load
from .plain import output_of
from .shapes import layout_of, placeholders, probe_positions

# Largest |file - graph| over the largest |graph| that is taken for rounding.
# y0, and y1 where x1 = x0, are continuous in x0: a mask or an index that rounding flips sits where both pieces agree.
STEADY = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
# On other probes a flipped bit moves y1 by itself: one of 1.3 million moved inception_v3's by 2e-2 while y0 agreed to 2e-6.
# In float64 a flip is as good as impossible; what this bound still catches is a wrong graph, whose error is of order one.
FLIPS = {torch.float64: 1e-9, torch.float32: 1e-1, torch.float16: 5e-1, torch.bfloat16: 5e-1}

BLOCK = """
import sys
class Block:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "fxscope":
            raise ImportError("a saved file must not need fxscope")
sys.meta_path.insert(0, Block())
"""
RUN = """
def flat(value):
    if isinstance(value, torch.Tensor):
        return [value.detach()]
    if isinstance(value, dict):
        value = value.values()
    return [t for v in value for t in flat(v)] if value is not None else []

warnings.simplefilter("ignore")
path, format, threads, source, target = sys.argv[1:]
torch.set_num_threads(int(threads))
run = runner(path, format)
with torch.no_grad():
    torch.save([flat(run(*inputs)) for inputs in torch.load(source, weights_only=True)], target)
"""


@dataclass(frozen=True)
class Difference:
    """One output of a saved file against the graph's: the largest error, relative to the largest value, and the two numbers there."""

    output: str
    error: float
    bound: float
    got: float
    expected: float

    @property
    def ok(self) -> bool:
        return self.error <= self.bound

    def __str__(self) -> str:
        return f"{self.output}: relative error {self.error:.2e} (bound {self.bound:.0e}), {self.got:.9g} in the file against {self.expected:.9g}"


@dataclass(frozen=True)
class Case:
    """All outputs of a saved file on one set of inputs."""

    inputs: str
    outputs: tuple[Difference, ...]

    @property
    def error(self) -> float:
        return max((d.error for d in self.outputs), default=0.0)

    def __str__(self) -> str:
        wrong = [f"    {d}" for d in self.outputs if not d.ok]
        return "\n".join([f"  {self.inputs}: relative error " + ", ".join(f"{d.output} {d.error:.1e}" for d in self.outputs), *wrong])


@dataclass(frozen=True)
class SavedCheck:
    """How a saved file compares with the graph, on each set of inputs that both were run on."""

    path: str
    format: str
    cases: tuple[Case, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """The largest relative error over all outputs, for each set of inputs."""
        return tuple(case.error for case in self.cases)

    @property
    def ok(self) -> bool:
        return all(d.ok for case in self.cases for d in case.outputs)

    def __str__(self) -> str:
        head = f"{self.path} ({self.format}): {'agrees with the graph' if self.ok else 'DIFFERS from the graph'}"
        return "\n".join([head, *map(str, self.cases)])


def compare(graph: fx.GraphModule, path: "str | Path", format: str, inputs: list[tuple]) -> SavedCheck:
    """Run file and graph on every set of inputs; raises ``SavedFileDiffers`` where they disagree."""
    expected = run_graph(graph, inputs)
    got = run_saved(path, format, inputs)
    names, steady = output_names(graph), steady_outputs(graph)
    found = []
    for case, theirs, ours in zip(inputs, got, expected, strict=True):
        if len(theirs) != len(ours):
            raise SavedFileDiffers(f"{path} gives {len(theirs)} outputs, the graph {len(ours)}: {', '.join(names)}")
        tied = any(steady) and layout_of(graph, case).is_tied(case)
        bounds = [(STEADY if tied or s else FLIPS)[_dtype(case)] for s in steady]
        found.append(Case(_described(graph, case), tuple(_difference(*four) for four in zip(names, theirs, ours, bounds, strict=True))))
    check = SavedCheck(str(path), format, tuple(found))
    if not check.ok:
        raise SavedFileDiffers(str(check))
    return check


def run_graph(graph: fx.GraphModule, inputs: list[tuple]) -> list[list[torch.Tensor]]:
    """The graph's own outputs, running statistics left alone; raises ``FxscopeError`` where they are random."""
    if not graph.training:
        return _run(graph, inputs)
    ours, again = _run(copy.deepcopy(graph), inputs), _run(copy.deepcopy(graph), inputs)
    if not all(torch.equal(a, b) for x, y in zip(ours, again) for a, b in zip(x, y)):
        raise FxscopeError("the graph draws random numbers (dropout in train mode), so no file can be checked against it: transform(model.eval()) and save that")
    return ours


def _run(graph: fx.GraphModule, inputs: list[tuple]) -> list[list[torch.Tensor]]:
    with torch.no_grad():
        return [_tensors(graph(*case)) for case in inputs]


def run_saved(path: "str | Path", format: str, inputs: list[tuple]) -> list[list[torch.Tensor]]:
    """The outputs of a saved file, flat, on every set of inputs, in a fresh process where fxscope cannot be imported."""
    script = BLOCK + Path(load.__file__).read_text(encoding="utf-8") + RUN
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.pt", Path(folder) / "out.pt"
        torch.save([tuple(x.detach().clone() if isinstance(x, torch.Tensor) else x for x in case) for case in inputs], source)
        command = [sys.executable, "-c", script, str(Path(path).resolve()), format, str(torch.get_num_threads()), str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise SavedFileDiffers(f"{path} cannot be loaded and run in a fresh process:\n{done.stderr.strip()[-1500:]}")
        return torch.load(target, weights_only=True)


def output_names(graph: fx.GraphModule) -> list[str]:
    """Names of the tensors that a graph returns: y0 and y1 for a pair, y for one branch; dotted where an output is a structure."""
    value = output_of(graph).args[0]
    pair = isinstance(value, (list, tuple)) and len(value) == 2 and graph.meta.get("fxscope", {}).get("form", "pair") == "pair"
    return _dotted("y0", value[0]) + _dotted("y1", value[1]) if pair else _dotted("y", value)


def _dotted(name: str, value: Any) -> list[str]:
    if isinstance(value, fx.Node):
        return [name]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return [n for key, part in items for n in _dotted(f"{name}.{key}", part)]


def steady_outputs(graph: fx.GraphModule) -> list[bool]:
    """For every output tensor, whether it is y0: no probe reaches it, in a graph that has probes."""
    inputs = placeholders(graph)
    reached = {inputs[i] for i in probe_positions(graph)}
    probed = bool(reached)
    for node in graph.graph.nodes:
        if reached.intersection(node.all_input_nodes):
            reached.add(node)
    leaves: list[fx.Node] = []
    fx.node.map_arg(output_of(graph).args[0], leaves.append)
    return [probed and leaf not in reached for leaf in leaves]


def _difference(name: str, got: torch.Tensor, expected: torch.Tensor, bound: float) -> Difference:
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return Difference(f"{name}: {got.dtype} of shape {tuple(got.shape)}, not {expected.dtype} of {tuple(expected.shape)}", float("inf"), bound, float("nan"), float("nan"))
    a, b = (t.to("cpu", torch.float64).flatten() for t in (got, expected))
    gap = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs().nan_to_num(float("inf")))
    if not gap.numel():
        return Difference(name, 0.0, bound, float("nan"), float("nan"))
    worst = int(gap.argmax())
    scale = float(b[b.isfinite()].abs().max()) if b.isfinite().any() else 1.0
    return Difference(name, float(gap[worst]) / (scale or 1.0), bound, float(a[worst]), float(b[worst]))


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    return [t for v in value for t in _tensors(v)] if value is not None else []


def _dtype(inputs: tuple) -> torch.dtype:
    return next((x.dtype for x in inputs if isinstance(x, torch.Tensor) and x.is_floating_point()), torch.float32)


def _described(graph: fx.GraphModule, inputs: tuple) -> str:
    return ", ".join(f"{n.name} {tuple(x.shape) if isinstance(x, torch.Tensor) else x!r}" for n, x in zip(placeholders(graph), inputs))
