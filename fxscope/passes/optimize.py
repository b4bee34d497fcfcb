"""Passes over the tape of the linear part: fewer operators and smaller states, the same F.

They serve the homogeneous forms alone (filter, adjoint, replay, pullback): additive constants stand between the twins that
are merged here, so the pair, the residual and the contributions keep the tape as it was recorded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx

from ..graph.constants import attribute_value
from ..graph.ir import info, mark
from ..twins import BatchNorm, Conv, Gate, Mask, Select
from .rewrite import Program, Record


def optimized(program: Program) -> Program:
    """The program with a tape for its linear part: masks behind max-pools, batch norm inside the convolution before or behind it, no factors of 1."""
    linear = [dataclasses.replace(r, twin=r.twin.homogeneous()) for r in program.tape]
    renamed = _renamed(program, dict(zip(program.tape, linear)))
    for merge in (
        _without_one,
        _mask_behind_pool,
        _norm_into_convolution,
        _norm_behind_mask,
        _norm_into_next,
    ):
        renamed = _merged(renamed, merge)
    return renamed


def without_gradients(program: Program) -> Program:
    """The program whose twins read detached states: autograd sees them, and everything they are computed from, as constants."""
    cut: dict[fx.Node, fx.Node] = {}

    def detached(record: Record, node: fx.Node) -> fx.Node:
        if info(node).role != "frozen":
            return node
        if node not in cut:
            cut[node] = _inserted(program, record, lambda state: state.detach(), node)
        return cut[node]

    return _renamed(
        program,
        {r: dataclasses.replace(r, twin=r.twin.mapped(lambda n, r=r: detached(r, n))) for r in program.tape},
    )


def _renamed(program: Program, new: dict[Any, Any]) -> Program:
    """The program with records replaced, in their inputs and at its outputs."""
    done: dict[Any, Any] = {}
    for old, record in new.items():
        done[old] = dataclasses.replace(record, inputs=tuple(done.get(v, v) for v in record.inputs))
    return dataclasses.replace(
        program, tape=list(done.values()), affine={n: done.get(v, v) for n, v in program.affine.items()}
    )


def _merged(program: Program, merge: Callable) -> Program:
    """Every record and the one before it, merged where they can be: where nobody else reads what lies between."""
    uses: dict[Any, int] = {}
    for value in [v for r in program.tape for v in r.inputs] + list(program.affine.values()):
        uses[value] = uses.get(value, 0) + 1
    done: dict[Any, Any] = {}
    tape: list[Record] = []
    for record in program.tape:
        before = record.inputs[0] if len(record.inputs) == 1 else None
        pair = (
            merge(program, done.get(before, before), record)
            if isinstance(before, Record) and uses[before] == 1
            else None
        )
        if pair is None:
            new = [dataclasses.replace(record, inputs=tuple(done.get(v, v) for v in record.inputs))]
        else:
            tape.remove(done[before])
            new = pair
        tape += new
        done[record] = new[-1]
    return dataclasses.replace(
        program, tape=tape, affine={n: done.get(v, v) for n, v in program.affine.items()}
    )


def _without_one(program: Program, first: Record, second: Record) -> list[Record] | None:
    """1 x = x: a residual scale that a network leaves at 1 (EDSR)."""
    factor = second.twin.factor if type(second.twin) is Gate and second.twin.offset is None else None
    return [first] if isinstance(factor, (int, float)) and factor == 1 else None


def _mask_behind_pool(program: Program, first: Record, second: Record) -> list[Record] | None:
    """select(mask(x)) = mask'(select(x)), mask' the bits of the winners: one for a window."""
    if not _plain_mask(first.twin) or type(second.twin) is not Select:
        return None
    pool = second.twin
    keep = _inserted(
        program,
        second,
        lambda keep, index: dataclasses.replace(pool, index=index).gathered(keep),
        first.twin.keep,
        pool.index,
    )
    select = dataclasses.replace(second, inputs=first.inputs)
    return [select, dataclasses.replace(second, twin=Mask(keep), inputs=(select,))]


def _norm_into_convolution(program: Program, first: Record, second: Record) -> list[Record] | None:
    """BN(W x) = (g/sqrt(v + eps) W) x, computed from the shared parameters whenever they are used, so never stale."""
    conv, norm = first.twin, second.twin
    if (
        not isinstance(conv, Conv)
        or not isinstance(norm, BatchNorm)
        or not conv.batched
        or "output_padding" in conv.options
    ):
        return None
    weight = _folded(program, second, conv, norm, 0)
    return (
        None
        if weight is None
        else [
            dataclasses.replace(
                first, twin=dataclasses.replace(conv, weight=weight), like=second.like, rank=second.rank
            )
        ]
    )


def _norm_behind_mask(program: Program, first: Record, second: Record) -> list[Record] | None:
    """mask(BN(x)) = BN(mask(x)): a factor a channel and bits commute, and the norm comes before the next convolution (DenseNet)."""
    if not isinstance(first.twin, BatchNorm) or not _plain_mask(second.twin):
        return None
    mask = dataclasses.replace(second, inputs=first.inputs)
    return [mask, dataclasses.replace(first, inputs=(mask,), like=second.like, rank=second.rank)]


def _norm_into_next(program: Program, first: Record, second: Record) -> list[Record] | None:
    """W BN(x) = (W g/sqrt(v + eps)) x, along the weight's input channels."""
    norm, conv = first.twin, second.twin
    if (
        not isinstance(norm, BatchNorm)
        or not isinstance(conv, Conv)
        or not conv.batched
        or "output_padding" in conv.options
        or conv.options["groups"] != 1
    ):
        return None
    weight = _folded(program, second, conv, norm, 1)
    return (
        None
        if weight is None
        else [dataclasses.replace(second, twin=dataclasses.replace(conv, weight=weight), inputs=first.inputs)]
    )


def _plain_mask(twin: Any) -> bool:
    return type(twin) is Mask and not twin.grows and not twin.lift and twin.other is None


def _folded(program: Program, record: Record, conv: Conv, norm: BatchNorm, axis: int) -> fx.Node | None:
    """The convolution's weight times the norm's factors along an axis; None where these are no constants of one dtype."""
    if not all(
        isinstance(n, fx.Node) and (n.op == "get_attr" or n.meta.get("folded"))
        for n in (conv.weight, norm.var)
    ):
        return None
    if _dtype(program, conv.weight) != _dtype(program, norm.var):
        return None  # mixed precision: the folded weight would not have the convolution's dtype
    given = (conv.weight, norm.var) if norm.weight is None else (conv.weight, norm.var, norm.weight)
    after = program.facts.rank(conv.weight) - 1 - axis
    weight = _inserted(program, record, lambda *values: _scaled(norm.eps, after, *values), *given)
    weight.meta["folded"] = True
    return weight


def _dtype(program: Program, node: fx.Node) -> torch.dtype:
    """Of a parameter, or of the parameter that a folded weight was made from."""
    return (
        attribute_value(program.gm, node.target).dtype
        if node.op == "get_attr"
        else _dtype(program, node.args[0])
    )


def _scaled(eps: float, after: int, weight, var, g=None):
    scale = torch.rsqrt(var + eps) if g is None else g * torch.rsqrt(var + eps)
    return weight * scale.reshape([-1] + [1] * after)


def _inserted(program: Program, record: Record, function: Callable, *given: fx.Node) -> fx.Node:
    """A state computed in the original branch, behind the values that it is computed from."""
    graph, base = program.gm.graph, info(record.origin)
    after = next(n for n in reversed(graph.nodes) if n in given)
    end = after.next
    tracer = fx.proxy.GraphAppendingTracer(graph)
    with graph.inserting_before(end):
        result = function(*[fx.Proxy(n, tracer) for n in given]).node
    node = after.next
    while node is not end:
        roles = {info(n).role for n in node.all_input_nodes}
        role = (
            "shape"
            if (node.op == "call_method" and node.target == "size") or roles == {"shape"}
            else "frozen"
            if roles & {"frozen", "affine"}
            else "const"
        )
        mark(
            node,
            role=role,
            rule=record.rule,
            variant=record.variant,
            origin=record.origin.name,
            place=base.place,
            module=base.module,
            source=base.source,
        )
        node = node.next
    program.facts.ranks[result] = program.facts.rank(given[0])
    return result
