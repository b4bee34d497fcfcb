"""Emit the forms that run the tape in reverse: adjoint, pullback and row."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..graph.draws import draws
from ..graph.ir import emitted, info, mark, notes
from ..passes.rewrite import Program, Record, Structure, is_floating, keyed, leaves
from ..twins.arrange import Constant
from .backward import Reversal
from .checks import own_assertions
from .forward import drawn, upstream
from .layout import batch_major
from .outputs import finish, probe_major
from .sources import GraphSource, Slots, StateSource, new_input
from .tagging import Tagging


def emit_adjoint(program: Program, probes: str) -> fx.GraphModule:
    """(x0, y2) -> F^T y2."""
    return _Transposed(program, "adjoint", probes == "stacked").run()


def emit_pullback(program: Program, probes: str, slots: Slots) -> fx.GraphModule:
    """(state, y2) -> F^T y2; what the adjoints need of x0 is appended to ``slots``."""
    return _Transposed(program, "pullback", probes == "stacked", slots).run()


def emit_row(program: Program, probes: str, argmax: bool) -> fx.GraphModule:
    """(x0, index) -> (y0, row, r_k), or x0 -> (y0, index, row, r_k) with the largest output's own index."""
    return _Row(program, "argmax" if argmax else "row", probes == "stacked").run()


class _Transposed:
    constants = False

    def __init__(self, program: Program, form: str, stacked: bool, slots: Slots | None = None):
        self.program, self.form, self.stacked = program, form, stacked
        self.graph = fx.Graph()
        self.source: GraphSource | StateSource
        self.source = (
            GraphSource(program, self.graph) if slots is None else StateSource(program, self.graph, slots)
        )
        self.tracer = self.source.tracer

    def run(self) -> fx.GraphModule:
        self.source.placeholders()
        self._placeholders()
        if isinstance(self.source, GraphSource):
            self._original(self.source)
        with Tagging(self.graph, branch="interpreter", role="affine"):
            seeds, K = self._seeds()
        reversal = Reversal(self.program, self.source, K, self.constants)
        found = reversal.run(seeds)
        with Tagging(self.graph, branch="interpreter", role="affine", twin="output"):
            ends = []
            for probe, x2 in found.items():
                rank = self.program.facts.rank(probe.node)
                ends.append(probe_major(self._joined(x2), rank, self.stacked))
            self._output(reversal, ends)
        _prune(self.graph)
        return finish(self.program, self.graph, self.form, self.stacked, self.source)

    def _original(self, source: GraphSource) -> None:
        """Copy what the outputs, the adjoints and their sizes need of the original branch."""
        kept = [*leaves(self.program.outputs), *own_assertions(self.program), *drawn(self.program)]
        for record in self.program.tape:
            kept += record.twin.states()
            if record.like is not None:
                kept.append(record.like)
        source.copy_all(upstream(kept))

    def _placeholders(self) -> None:
        self.y2 = mark(
            new_input(self.graph, "y2", _type(self.program.outputs)),
            branch="interpreter",
            role="affine",
            place="output",
        )

    def _seeds(self) -> tuple[dict[Any, Any], Any]:
        """({tape value: y2 of its output}, K)."""
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
        self.graph.output(one_or_all(found))


class _Row(_Transposed):
    """One reverse pass from a one-hot y2, with the additive constants that it meets.

    ``apart``: every image has a reverse pass of its own, because the batch is not the leading dimension of a
    constant.
    """

    constants = True
    apart = False

    def _placeholders(self) -> None:
        self.read = self.program.output(self.form)
        self.apart = not batch_major(self.program)
        self.index = None
        if self.form == "row":
            index = new_input(self.graph, "index")
            self.index = mark(index, branch="interpreter", role="shape", place="index")

    def _seeds(self) -> tuple[dict[Any, Any], Any]:
        """({tape value of the output: one-hot y2}, the number of passes): K, or K*B where ``apart``."""
        node = self.read
        y0: Any = self.source.proxy(node)
        rank = self.program.facts.need_rank(node, "a row")
        flat = y0.unsqueeze(1) if rank == 1 else y0.flatten(1)  # (B, outputs), one number of each image
        index = self._places(y0, flat).unsqueeze(-1)
        zeros = y0.new_zeros([index.size(0), flat.size(0), flat.size(1)])
        seed = zeros.scatter(2, index, 1.0)
        self.batch: Any = flat.size(0)
        count = index.size(0)
        if self.apart:
            spread, images = seed.unsqueeze(1), torch.eye(self.batch, dtype=y0.dtype, device=y0.device)
            seed = (spread * images.unsqueeze(-1)).flatten(0, 1)  # (K*B, B, outputs)
            count = count * self.batch
        y2 = seed.reshape([count, *[y0.size(d) for d in range(rank)]])
        return {self.program.affine[node]: y2}, count

    def _places(self, y0: Any, flat: Any) -> Any:
        """The index of the rows, (K, B): the given one, or that of the largest output of every image."""
        if self.index is None:
            self.chosen = flat.argmax(1).unsqueeze(0)
            return self.chosen
        index: Any = fx.Proxy(self.index, self.tracer)
        torch._assert(
            index.dtype == torch.int64, "index must be int64: places of the flattened output of one image"
        )
        form = "(K, B)" if self.stacked else "(K*B,), probe-major"
        torch._assert(index.dim() == 1 + self.stacked, f"index: expected {form}, one place for each image")
        if self.stacked:
            return index
        torch._assert(
            index.size(0) % y0.size(0) == 0, f"index: its length is no multiple of the batch; it is {form}"
        )
        return index.unflatten(0, (-1, y0.size(0)))

    def _output(self, reversal: Reversal, found: list) -> None:
        y0 = self.source[self.read]
        total: Any = None
        for record, constant, y in reversal.constants:
            share = share_of(reversal, record, constant, y, self.batch)
            total = share if total is None else total + share
        if total is None:
            total = fx.Proxy(y0, self.tracer).new_zeros([reversal.k.K, self.batch])
        r = total.unflatten(0, (-1, self.batch)).sum(2) if self.apart else total  # each seed's own, (K, B)
        r = r if self.stacked else r.flatten(0, 1)
        chosen = () if self.index is not None else (self.chosen.squeeze(0).node,)
        self.graph.output((y0, *chosen, one_or_all(found), r.node))

    def _joined(self, apart: Any) -> Any:
        """Sum the passes of all images, (K*B, B, ...), to what one pass of all of them gives, (K, B, ...)."""
        return apart.unflatten(0, (-1, self.batch)).sum(1) if self.apart else apart


class _Shares(_Transposed):
    """(state, y2) -> (F^T y2, the share of every additive constant in <y2, y0>, in order)."""

    constants = True

    def __init__(self, program: Program, slots: Slots, elementwise: bool):
        super().__init__(program, "shares", True, slots)
        self.elementwise = elementwise

    def _output(self, reversal: Reversal, found: list) -> None:
        batch = self._batch()
        own = self._constant_outputs()
        constants = reversal.constants + [found for _, found in own]
        self.own = tuple(key for key, _ in own)
        shares = [
            reversal.terms(r, c, y) if self.elementwise else share_of(reversal, r, c, y, batch)
            for r, c, y in constants
        ]
        self.labels = [label_of(r) for r, _, _ in constants]
        self.records = [r for r, _, _ in constants]
        self.graph.output((one_or_all(found), tuple(s.node for s in shares)))

    def _batch(self) -> Any:
        """The number of images, read off an output, or off the probe if all outputs are numbers."""
        outputs = [n for n in leaves(self.program.outputs) if n in self.program.affine]
        nodes = [*outputs, self.program.probes[0].node]
        node = next(n for n in nodes if self.program.facts.rank(n) != 0)
        return self.source.like(node, self.program.facts.rank(node)).size(0)

    def _constant_outputs(self) -> list[tuple[Any, tuple[Record, Any, Any]]]:
        """Outputs that do not depend on the probe are constants of their own: (key, (record, y0, y2))."""
        found = []
        paths = paths_of(self.program.outputs, fx.Proxy(self.y2, self.tracer))
        for (key, node), (_, y) in zip(keyed(self.program.outputs), paths, strict=True):
            if node in self.program.affine or not is_floating(node) or not self._has_batch(node):
                continue  # no index of one image means it
            rule, variant, rank = (
                info(node).rule or node.op,
                info(node).variant or "",
                self.program.facts.rank(node),
            )
            record = Record(Constant(node), (), node, rule, variant, node, rank)
            found.append((key, (record, self.source.proxy(node), y)))
        return found

    def _has_batch(self, node: fx.Node) -> bool:
        x, y = notes(self.program.probes[0].node)["val"], notes(node)["val"]
        if not y.dim():
            return not x.dim() or x.shape[0] == 1  # a number of the only image
        return bool(x.dim()) and x.shape[0] == y.shape[0]


def emit_shares(program: Program, slots: Slots, elementwise: bool = False) -> fx.GraphModule:
    """Stacked (state, y2) -> (F^T y2, shares) of shape (K, B), or of their cotangents if ``elementwise``.

    What it needs of x0 is appended to ``slots``.

    ``meta["fxscope"]["labels"]`` names the shares. The last of them are outputs that do not depend on the
    probe; their keys are ``meta["fxscope"]["own"]``.
    """
    emission = _Shares(program, slots, elementwise)
    gm = emission.run()
    emitted(gm).update(
        {
            "labels": emission.labels,
            "records": emission.records,
            "own": emission.own,
            "apart": not batch_major(program),
        }
    )
    return gm


def label_of(record: Any) -> dict[str, str]:
    """Where an additive constant is in the model, and what it is."""
    base = info(record.origin)
    return {
        "place": base.place or record.origin.name,
        "module": base.module,
        "rule": record.rule,
        "kind": _kind(record.twin),
        "source": base.source,
    }


def _kind(twin: Any) -> str:
    """What the additive constant is; ``frozen`` for a value of x0 beside the probe (a second input)."""
    value = getattr(twin, "value", None) if twin.adds == "constant" else None
    return "frozen" if isinstance(value, fx.Node) and info(value).role in ("frozen", "affine") else twin.adds


def share_of(reversal: Reversal, record: Any, constant: Any, y: Any, batch: Any) -> Any:
    """<y, c> of shape (K, B): what an additive constant c adds to the outputs, with its cotangent y."""
    if record.twin.per_channel and record.rank is not None and record.rank > 2:
        product = torch.matmul(y.flatten(3).sum(-1), constant.flatten())
    else:
        product = reversal.terms(record, constant, y)
    if record.rank == 0 and not record.inputs:
        return product.reshape([reversal.k.K, 1]).expand(
            [reversal.k.K, batch]
        )  # an output that is one number
    return product.reshape([reversal.k.K, batch, -1]).sum(-1)


def _type(value: Any) -> Any:
    """The TorchScript type of an output structure; None if it has none."""
    if isinstance(value, fx.Node):
        return torch.Tensor
    if isinstance(value, Structure):
        return value.kind
    if isinstance(value, dict):
        return dict[str, torch.Tensor]
    if isinstance(value, list):
        return list[torch.Tensor]
    if isinstance(value, tuple):
        return tuple[tuple(_type(v) for v in value)]  # type: ignore[misc]  # made at run time
    return None


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


def one_or_all(found: list) -> Any:
    """The node of the only proxy, or a tuple of the nodes of several."""
    return found[0].node if len(found) == 1 else tuple(x.node for x in found)


def _prune(graph: fx.Graph) -> None:
    """Remove what nothing reads; checks, draws and inputs stay."""
    for node in reversed(list(graph.nodes)):
        stays = node.op in ("placeholder", "output") or node.target is torch._assert or draws(node)
        if not node.users and not stays:
            graph.erase_node(node)
