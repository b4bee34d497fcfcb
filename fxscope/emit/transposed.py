"""Emit the forms that run the tape in reverse: adjoint, pullback and row."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..errors import FxscopeError
from ..graph.draws import draws
from ..graph.ir import info, mark
from ..passes.rewrite import Program, Record, Structure, is_floating, keyed, leaves
from ..twins.arrange import Constant
from .backward import Reversal
from .checks import own_assertions
from .forward import drawn, upstream
from .layout import batch_major
from .outputs import finish, probe_major
from .sources import Copied, Slots, Stored
from .tagging import Tagging


def emit_adjoint(program: Program, probes: str) -> fx.GraphModule:
    """(x0, y2) -> F^T y2."""
    return _Transposed(program, "adjoint", probes == "stacked").run()


def emit_pullback(program: Program, probes: str, slots: Slots) -> fx.GraphModule:
    """(state, y2) -> F^T y2; ``slots`` is told what the adjoints need of x0."""
    return _Transposed(program, "pullback", probes == "stacked", slots).run()


def emit_row(program: Program, probes: str, argmax: bool) -> fx.GraphModule:
    """(x0, index) -> (y0, row, r_k), or x0 -> (y0, index, row, r_k) with the largest output's own index."""
    return _Row(program, "argmax" if argmax else "row", probes == "stacked").run()


class _Transposed:
    constants = False

    def __init__(self, program: Program, form: str, stacked: bool, slots: Slots | None = None):
        self.program, self.form, self.stacked = program, form, stacked
        self.graph = fx.Graph()
        self.source = Copied(program, self.graph) if slots is None else Stored(program, self.graph, slots)
        self.tracer = self.source.tracer

    def run(self) -> fx.GraphModule:
        self.source.placeholders()
        self._placeholders()
        if isinstance(self.source, Copied):
            self._original()
        with Tagging(self.graph, branch="interpreter", role="affine"):
            seeds, K = self._seeds()
        reversal = Reversal(self.program, self.source, K, self.constants)
        found = reversal.run(seeds)
        with Tagging(self.graph, branch="interpreter", role="affine", twin="output"):
            self._output(
                reversal,
                [
                    probe_major(self._joined(x), self.program.facts.rank(p.node), self.stacked)
                    for p, x in found.items()
                ],
            )
        _prune(self.graph)
        return finish(self.program, self.graph, self.form, self.stacked, self.source)

    def _original(self) -> None:
        kept = [*leaves(self.program.outputs), *own_assertions(self.program), *drawn(self.program)]
        needed = upstream(
            [
                *kept,
                *(n for r in self.program.tape for n in [*r.twin.states(), *([r.like] if r.like else [])]),
            ]
        )
        for node in self.program.gm.graph.nodes:
            if node in needed and node.op != "output":
                self.source.copy(node)
        self.source.resolve()

    def _placeholders(self) -> None:
        self.y2 = mark(
            self.graph.placeholder("y2", type_expr=_type(self.program.outputs)),
            branch="interpreter",
            role="affine",
            place="output",
        )

    def _seeds(self) -> tuple[dict[Any, Any], Any]:
        seeds: dict[Any, Any] = {}
        for node, given in paths_of(self.program.outputs, fx.Proxy(self.y2, self.tracer)):
            if node not in self.program.affine:
                continue
            y = self._probes(node, given)
            value = self.program.affine[node]
            seeds[value] = y if value not in seeds else seeds[value] + y
        return seeds, next(iter(seeds.values())).size(0)

    def _probes(self, node: fx.Node, y2: fx.Proxy) -> fx.Proxy:
        """y2 with its leading K, checked against the output."""
        rank, place = self.program.facts.rank(node), info(node).place or node.name
        if self.stacked or rank == 0:
            return y2
        y0 = self.source.like(node, rank)
        torch._assert(y2.dtype == y0.dtype, f"y2 and the output {place} differ in dtype")
        torch._assert(
            y2.size(0) % y0.size(0) == 0,
            f"y2: the first dimension is not a multiple of that of the output {place}; it is (K*B, ...),"
            " probe-major",
        )
        if rank is not None:
            torch._assert(y2.dim() == rank, f"y2: expected {rank} dimensions, those of the output {place}")
        return y2.unflatten(0, (-1, y0.size(0)))

    def _joined(self, x2: Any) -> Any:
        return x2

    def _output(self, reversal: Reversal, found: list) -> None:
        self.graph.output(found[0].node if len(found) == 1 else tuple(x.node for x in found))


class _Row(_Transposed):
    """One reverse pass from a one-hot y2, with the additive constants that it meets.

    ``apart``: where a constant's share of one image cannot be told from its place, every image has a reverse pass of its own.
    """

    constants = True
    apart = False

    def _placeholders(self) -> None:
        outputs = leaves(self.program.outputs)
        self.apart = not batch_major(self.program)
        if len(outputs) != 1:
            raise FxscopeError(
                f"emit='{self.form}' is about one output, and the model has {len(outputs)}; name one with"
                " outputs="
            )
        self.index = (
            None
            if self.form == "argmax"
            else mark(self.graph.placeholder("index"), branch="interpreter", role="shape", place="index")
        )

    def _seeds(self) -> tuple[dict[Any, Any], Any]:
        node = leaves(self.program.outputs)[0]
        y0 = self.source.proxy(node)
        flat = y0.flatten(1)
        if self.index is None:
            index = flat.argmax(1).unsqueeze(0)
            self.chosen = index
        else:
            index = fx.Proxy(self.index, self.tracer)
            torch._assert(
                index.dtype == torch.int64, "index must be int64: places of the flattened output of one image"
            )
            index = index if self.stacked else index.unflatten(0, (-1, y0.size(0)))
        index = index.unsqueeze(-1)
        zeros = y0.new_zeros([index.size(0), flat.size(0), flat.size(1)])
        seed = zeros.scatter(2, index, 1.0)
        rank = self.program.facts.need_rank(node, "a row")
        self.batch = flat.size(0)
        count = index.size(0)
        if self.apart:
            seed = (
                seed.unsqueeze(1) * torch.eye(self.batch, dtype=y0.dtype, device=y0.device).unsqueeze(-1)
            ).flatten(0, 1)
            count = count * self.batch
        y2 = seed.reshape([count, *[y0.size(d) for d in range(rank)]])
        return {self.program.affine[node]: y2}, count

    def _output(self, reversal: Reversal, found: list) -> None:
        y0 = self.source[leaves(self.program.outputs)[0]]
        total: Any = None
        for record, constant, y in reversal.constants:
            share = share_of(reversal.k, record, constant, y, self.batch)
            total = share if total is None else total + share
        if total is None:
            total = fx.Proxy(y0, self.tracer).new_zeros([reversal.k.K, self.batch])
        r = self._joined(total)
        r = r if self.stacked else r.flatten(0, 1)
        row = found[0].node if len(found) == 1 else tuple(x.node for x in found)
        chosen = () if self.index is not None else (self.chosen.squeeze(0).node,)
        self.graph.output((y0, *chosen, row, r.node))

    def _joined(self, apart: Any) -> Any:
        """(K*B, B, ...), in which only the image of the pass is not zero, as (K, B, ...)."""
        return apart.unflatten(0, (-1, self.batch)).sum(2) if self.apart else apart


class _Shares(_Transposed):
    """(x0, y2) -> (F^T y2, what every additive constant adds to <y2, y0>, in the order of the graph)."""

    constants = True

    def __init__(self, program: Program, stacked: bool, elementwise: bool):
        super().__init__(program, "shares", stacked)
        self.elementwise = elementwise

    def _output(self, reversal: Reversal, found: list) -> None:
        node = next(
            n
            for n, _ in paths_of(self.program.outputs, fx.Proxy(self.y2, self.tracer))
            if n in self.program.affine
        )
        batch = self.source.like(node, self.program.facts.rank(node)).size(0)
        own = self._constant_outputs()
        constants = reversal.constants + [found for _, found in own]
        self.own = tuple(key for key, _ in own)
        shares = [
            y * c if self.elementwise else share_of(reversal.k, r, c, y, batch) for r, c, y in constants
        ]
        self.labels = [label_of(r) for r, _, _ in constants]
        self.records = [r for r, _, _ in constants]
        x2 = found[0].node if len(found) == 1 else tuple(x.node for x in found)
        self.graph.output((x2, tuple(s.node for s in shares)))

    def _constant_outputs(self) -> list[tuple[Any, tuple[Record, Any, Any]]]:
        """Outputs that do not depend on the probe are constants of their own: (key, (record, y0, y2))."""
        found = []
        paths = paths_of(self.program.outputs, fx.Proxy(self.y2, self.tracer))
        for (key, node), (_, y) in zip(keyed(self.program.outputs), paths, strict=True):
            if node in self.program.affine or not is_floating(node) or not self._has_batch(node):
                continue  # no index of one image means it
            base = info(node)
            record = Record(
                Constant(node),
                (),
                node,
                base.rule or node.op,
                base.variant or "",
                node,
                self.program.facts.rank(node),
            )
            found.append((key, (record, self.source.proxy(node), y)))
        return found

    def _has_batch(self, node: fx.Node) -> bool:
        x, y = self.program.probes[0].node.meta["val"], node.meta["val"]
        return bool(x.dim() and y.dim()) and x.shape[0] == y.shape[0]


def emit_shares(program: Program, elementwise: bool = False) -> fx.GraphModule:
    """Stacked (x0, y2) -> (F^T y2, shares): (K, B) each, or of the constants' own places; ``meta["fxscope"]["labels"]`` names them.

    The last of them are the outputs that do not depend on the probe, whose keys are ``meta["fxscope"]["own"]``.
    """
    emission = _Shares(program, True, elementwise)
    gm = emission.run()
    gm.meta["fxscope"].update(
        labels=emission.labels, records=emission.records, own=emission.own, apart=not batch_major(program)
    )
    return gm


def label_of(record: Any) -> dict[str, str]:
    """Where an additive constant stands, and what it is."""
    base = info(record.origin)
    return {
        "place": base.place or record.origin.name,
        "module": base.module,
        "rule": record.rule,
        "kind": _kind(record.twin),
        "source": base.source,
    }


def _kind(twin: Any) -> str:
    """What the additive constant is; a value of x0 that enters beside the probe (a second input, a skip around a tap) is ``frozen``."""
    value = getattr(twin, "value", None) if twin.adds == "constant" else None
    return "frozen" if isinstance(value, fx.Node) and info(value).role in ("frozen", "affine") else twin.adds


def share_of(k: Any, record: Any, constant: Any, y: Any, batch: Any) -> Any:
    """(K, B): what an additive constant adds to the outputs that y is the cotangent of, <y, c>."""
    if record.twin.per_channel and record.rank is not None and record.rank > 2:
        product = torch.matmul(y.flatten(3).sum(-1), constant.flatten())
    else:
        product = torch.where(y == 0, 0.0, y * constant)  # a score masked with -inf, which nothing reads
    return product.reshape([k.K, batch, -1]).sum(-1)


def _type(value: Any) -> Any:
    """The type annotation of an output structure, so that it scripts; None where it has no type of TorchScript."""
    if isinstance(value, fx.Node):
        return torch.Tensor
    if isinstance(value, Structure):
        return value.kind
    if isinstance(value, dict):
        return dict[str, torch.Tensor]
    if isinstance(value, list):
        return list[torch.Tensor]
    return tuple[tuple(_type(v) for v in value)] if isinstance(value, tuple) else None


def paths_of(value: Any, given: Any) -> list[tuple[fx.Node, Any]]:
    """(output node, the proxy of its y2) for every leaf of an output structure."""
    if isinstance(value, fx.Node):
        return [(value, given)]
    if isinstance(value, Structure):
        return [p for name, v in value.named().items() for p in paths_of(v, getattr(given, name))]
    if isinstance(value, dict):
        return [p for name, v in value.items() for p in paths_of(v, given[name])]
    if isinstance(value, (list, tuple)):
        return [p for i, v in enumerate(value) for p in paths_of(v, given[i])]
    return []


def _prune(graph: fx.Graph) -> None:
    """Remove what nothing reads; checks, draws and inputs stay."""
    for node in reversed(list(graph.nodes)):
        stays = node.op in ("placeholder", "output") or node.target is torch._assert or draws(node)
        if not node.users and not stays:
            graph.erase_node(node)
