"""Memory of the frozen states of x0: the paper's Table 1 for any network, without running the network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..emit.pipeline import program_of
from ..emit.recorded import slots_of
from ..frontend.unchanged import leaves_unchanged
from ..graph.arguments import checked
from ..graph.interpretation import VERSION
from ..graph.ir import info, notes
from ..passes.optimize import optimized
from ..passes.sizes import shapes_at
from ..results.base import Result
from ..results.display import Displayed
from ..results.pictures import captioned_bars
from ..results.tables import Column, Table
from ..rules import registry
from ..twins import Select

PARTS = {
    "mask": "masks",
    "index": "pooling offsets",
    "gate": "factors",
    "stats": "statistics",
    "constant": "constants",
}


@dataclass(frozen=True, repr=False)
class Line(Displayed):
    """One kind of state: the number of values, and their bytes as recorded and as packed."""

    part: str
    numbers: int
    recorded: int
    packed: int


@dataclass(frozen=True, repr=False)
class Storage(Result):
    """The memory of the frozen states of one x0.

    Parameters
    ----------
    model : str
        The class of the network.
    shape : tuple of int
        The shape of x0.
    activations : int
        Number of activations that a method has to store if it keeps the outputs of the units, as
        deconvolution does ("DfV" in the paper). In float32 they take four bytes each.
    lines : tuple of Line
        The states that ``fxscope.interpret`` keeps, by kind.
    weights : int
        Bytes of convolution weights that are folded with a batch norm. All x0 share them.
    """

    model: str
    shape: tuple[int, ...]
    activations: int
    lines: tuple[Line, ...]
    weights: int
    interpretation: int = VERSION

    @property
    def recorded(self) -> int:
        """Bytes of the states as recorded."""
        return sum(line.recorded for line in self.lines)

    @property
    def packed(self) -> int:
        """Bytes of the states as packed."""
        return sum(line.packed for line in self.lines)

    @property
    def table_1(self) -> dict[str, float]:
        """The two values for the paper's Table 1.

        "KiB" is the size of the float32 activations. "printed as GB" is KiB / 1000, the number that the paper
        prints.
        """
        kib = self.activations * 4 / 1024
        return {"KiB": kib, "printed as GB": kib / 1000}

    def numbers(self) -> dict[str, Any]:
        """The lines, their sums, and both values for Table 1."""
        sums = {"recorded": self.recorded, "packed": self.packed, "table_1": self.table_1}
        return {**asdict(self), **sums}

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> Storage:
        lines = tuple(Line(**line) for line in header["lines"])
        return cls(**{**header, "shape": tuple(header["shape"]), "lines": lines})

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return asdict(self), {}

    def _said(self) -> Iterable[str]:
        recorded, packed = self.recorded / 2**20, self.packed / 2**20
        return [self.model, f"x0 {self.shape}", f"states {recorded:.3g} MiB", f"packed {packed:.3g} MiB"]

    def _lines(self) -> list[tuple[str, int, int, int]]:
        """(what, numbers, bytes as recorded, bytes as packed)."""
        every = sum(line.numbers for line in self.lines)
        return [
            ("activations (fp32)", self.activations, 4 * self.activations, 4 * self.activations),
            *((line.part, line.numbers, line.recorded, line.packed) for line in self.lines),
            ("sum of the states", every, self.recorded, self.packed),
            ("recompute", 0, 0, 0),
        ]

    def _table(self) -> Table:
        table = self.table_1
        columns = (
            "",
            Column("numbers", form=",d"),
            Column("recorded", "MiB"),
            Column("packed", "MiB"),
        )
        rows = [(name, count, a / 2**20, b / 2**20) for name, count, a, b in self._lines()]
        notes = [
            f"activations in float32: {table['KiB']:,.0f} KiB, the count of the paper's Table 1, which is of"
            f" its own networks and would print {table['printed as GB']:,.1f} GB (KiB / 1000)"
        ]
        if self.weights:
            notes.append(f"folded weights: {self.weights / 2**20:.2f} MiB, shared by every x0")
        return Table(columns, rows, f"{self.model} at {tuple(self.shape)}", notes)

    def _picture(self) -> str:
        said = (
            (name, float(packed), f"{packed / 2**20:.3g} MiB") for name, _, _, packed in self._lines()[:-1]
        )
        return captioned_bars(list(said), f"packed memory of {self.model}, by kind of state")


@checked
@leaves_unchanged
def storage(
    model: nn.Module, shape: tuple[int, ...], policy: Any = None, example_inputs: tuple | None = None
) -> Storage:
    """The memory of the states that one x0 needs, without running the model or allocating activations.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    shape : tuple of int
        The shape of x0, (B, ...).
    policy : optional
        As in ``fxscope.interpret``.
    example_inputs : tuple, optional
        Inputs on which the model runs once, if ``fxscope.transform`` needs an example for this model.

    Returns
    -------
    Storage
        Numbers and bytes of each kind of state.

    Raises
    ------
    FxscopeError
        As ``fxscope.transform`` does.

    References
    ----------
    The paper, section 5 and Table 1.

    Examples
    --------
    >>> found = storage(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU()), (1, 1, 34, 34))
    >>> found.activations, found.recorded, found.packed
    (8192, 8192, 1024)
    """
    program = program_of(model, policy=policy, example_inputs=example_inputs)
    full = optimized(program)
    slots = slots_of(full)
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    values = shapes_at(full.gm, shape, dtype)
    labels = _labels(full)
    told = {r.twin.winners for r in full.tape if isinstance(r.twin, Select)}  # by an index, when packed
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    weights = 0
    for _, node, whole in slots.order:
        if not whole:
            continue
        value = values[node.name]
        if notes(node).get("folded"):
            weights += value.numel() * value.element_size()
            continue
        line = counts[PARTS.get(labels.get(node, "constant"), "constants")]
        if node in told:
            line[1] += value.element_size() * value.numel()
            continue
        line[0] += value.numel()
        line[1] += value.numel() * value.element_size()
        line[2] += packed_bytes(value, node, full)
    lines = tuple(Line(part, *counts[part]) for part in PARTS.values() if part in counts)
    return Storage(type(model).__name__, tuple(shape), _activations(program, values), lines, weights)


def packed_bytes(value: torch.Tensor, node: fx.Node, program: Any) -> int:
    """Bytes of a packed state: one bit for a boolean, and for a pooling offset what its window needs."""
    if value.dtype == torch.bool:
        return -(-value.numel() // 8)
    window = windows(program).get(node)
    if window is not None:
        return -(-value.numel() * window.bits // 8)
    return value.numel() * value.element_size()


def windows(program: Any) -> dict[fx.Node, Any]:
    """{index node of a max-pool: its ``Window``}."""
    return {r.twin.index: r.twin.window for r in program.tape if getattr(r.twin, "window", None) is not None}


def _labels(program: Any) -> dict[fx.Node, str]:
    found: dict[fx.Node, str] = {}
    for record in program.tape:
        for node, label in record.twin.states().items():
            found.setdefault(node, label or "constant")
    return found


def _activations(program: Any, values: dict[str, torch.Tensor]) -> int:
    """Number of outputs of the piecewise-linear activation units."""
    rules = registry().rules
    total = 0
    for node in program.gm.graph.nodes:
        rule = rules.get(info(node).rule or "")
        if rule is not None and rule.verb == "mask" and rule.piecewise and not info(node).origin:
            total += values[node.name].numel()
    return total
