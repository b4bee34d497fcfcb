"""Passes over the tape of the linear part: fewer operators and smaller states, the same F.

They serve only the homogeneous forms (filter, adjoint, replay, pullback). The pair, the residual and the
contributions keep the recorded tape, because additive constants are between the twins that are merged here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx

from ..graph.constants import attribute_value
from ..graph.ir import info, mark, notes
from ..rules import registry
from ..twins import BatchNorm, Conv, Gate, Mask, Select
from .rewrite import Probe, Program, Record


def optimized(program: Program) -> Program:
    """The program with a shorter tape, for the linear part alone.

    Masks move behind max-pools, batch norm is folded into a convolution in front of it or behind it, and
    factors of 1 are removed.
    """
    linear = [dataclasses.replace(r, twin=r.twin.homogeneous()) for r in program.tape]
    renamed = _merged(_renamed(program, dict(zip(program.tape, linear))), _without_one)
    renamed = masks_behind_pools(renamed)
    for merge in (_norm_into_convolution, _norm_behind_mask, _norm_into_next):
        renamed = _merged(renamed, merge)
    return renamed


def masks_behind_pools(program: Program) -> Program:
    """The program with masks moved behind max-pools, which is right for additive constants too.

    The winners of windows that lie apart are recorded as a mask. ``optimized`` of it has the same masks, so
    that contributions can share the recorded states of the linear forms.
    """
    merged = _merged(program, _mask_behind_pool)
    return _renamed(merged, {r: _with_winners(merged, r) for r in merged.tape})


def _with_winners(program: Program, record: Record) -> Record:
    """A max-pool whose windows lie apart, with the winners as a mask of its input for the transpose."""
    pool = record.twin
    if not isinstance(pool, Select) or pool.winners is not None or not (pool.window and pool.window.apart):
        return record
    before = record.inputs[0]
    value = before.node if isinstance(before, Probe) else before.like
    if value is None or program.facts.rank(value) is None:
        return record

    def won(x: Any, index: Any) -> Any:
        return dataclasses.replace(pool, index=index).won(x)

    winners = _inserted(program, record, won, value, pool.index)
    return dataclasses.replace(record, twin=dataclasses.replace(pool, winners=winners))


def without_gradients(program: Program) -> Program:
    """The program with detached states: constants to autograd, like all that they are computed from."""
    cut: dict[fx.Node, fx.Node] = {}

    def detached(record: Record, node: fx.Node) -> fx.Node:
        if info(node).role != "frozen":
            return node
        if node not in cut:
            cut[node] = _inserted(program, record, lambda state: state.detach(), node)
        return cut[node]

    def of(record: Record) -> Record:
        return dataclasses.replace(record, twin=record.twin.mapped(lambda n: detached(record, n)))

    return _renamed(program, {r: of(r) for r in program.tape})


def _renamed(program: Program, new: dict[Any, Any]) -> Program:
    """The program with records replaced, in their inputs and at its outputs."""
    done: dict[Any, Any] = {}
    for old, record in new.items():
        done[old] = dataclasses.replace(record, inputs=tuple(done.get(v, v) for v in record.inputs))
    return dataclasses.replace(
        program, tape=list(done.values()), affine={n: done.get(v, v) for n, v in program.affine.items()}
    )


def _merged(program: Program, merge: Callable) -> Program:
    """Merge a record into its predecessor when it is the only reader, and ``merge`` knows the pair."""
    uses: dict[Any, int] = {}
    for value in [v for r in program.tape for v in r.inputs] + list(program.affine.values()):
        uses[value] = uses.get(value, 0) + 1
    done: dict[Any, Any] = {}
    tape: list[Record] = []
    for record in program.tape:
        before = record.inputs[0] if len(record.inputs) == 1 else None
        pair = None
        if isinstance(before, Record) and uses[before] == 1:
            pair = merge(program, done.get(before, before), record)
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
    """Remove a factor of 1: a residual scale that a network leaves at 1 (EDSR)."""
    factor = second.twin.factor if type(second.twin) is Gate and second.twin.offset is None else None
    return [first] if isinstance(factor, (int, float)) and factor == 1 else None


def _mask_behind_pool(program: Program, first: Record, second: Record) -> list[Record] | None:
    """Use select(mask(x)) = mask'(select(x)): mask' has one bit for each window, that of its maximum."""
    mask, pool = first.twin, second.twin
    if not isinstance(mask, Mask) or not _plain_mask(mask) or type(pool) is not Select:
        return None

    def gathered(keep: Any, index: Any) -> Any:
        return dataclasses.replace(pool, index=index).gathered(keep)

    rule: Any = registry().rules[first.rule]
    if rule.by_output and second.like is not None:  # the maximum of outputs is one of them
        keep = _inserted(program, second, lambda y: rule.variants[first.variant](y).keep, second.like)
    else:
        keep = _inserted(program, second, gathered, mask.keep, pool.index)
    select = dataclasses.replace(second, inputs=first.inputs)
    return [select, dataclasses.replace(second, twin=Mask(keep), inputs=(select,))]


def _norm_into_convolution(program: Program, first: Record, second: Record) -> list[Record] | None:
    """Use BN(W x) = (g/sqrt(v + eps) W) x, computed from the shared parameters at every call."""
    conv, norm = first.twin, second.twin
    if not isinstance(norm, BatchNorm) or not isinstance(conv, Conv) or not _foldable(conv):
        return None
    weight = _folded(program, second, conv, norm, 0)
    if weight is None:
        return None
    twin = dataclasses.replace(conv, weight=weight)
    return [dataclasses.replace(first, twin=twin, like=second.like, rank=second.rank)]


def _norm_behind_mask(program: Program, first: Record, second: Record) -> list[Record] | None:
    """Use mask(BN(x)) = BN(mask(x)), after which the norm is in front of the next convolution (DenseNet)."""
    if not isinstance(first.twin, BatchNorm) or not _plain_mask(second.twin):
        return None
    mask = dataclasses.replace(second, inputs=first.inputs)
    return [mask, dataclasses.replace(first, inputs=(mask,), like=second.like, rank=second.rank)]


def _norm_into_next(program: Program, first: Record, second: Record) -> list[Record] | None:
    """Use W BN(x) = (W g/sqrt(v + eps)) x, along the input channels of the weight."""
    norm, conv = first.twin, second.twin
    if not isinstance(norm, BatchNorm) or not isinstance(conv, Conv) or not _foldable(conv):
        return None
    weight = _folded(program, second, conv, norm, 1) if conv.options["groups"] == 1 else None
    if weight is None:
        return None
    return [dataclasses.replace(second, twin=dataclasses.replace(conv, weight=weight), inputs=first.inputs)]


def _foldable(conv: Conv) -> bool:
    """Whether a batch norm can be folded into a convolution: it has a batch, and is not transposed."""
    return conv.batched and "output_padding" not in conv.options


def _plain_mask(twin: Any) -> bool:
    return type(twin) is Mask and not twin.grows and not twin.lift and twin.other is None


def _folded(program: Program, record: Record, conv: Conv, norm: BatchNorm, axis: int) -> fx.Node | None:
    """The weight times the factors of the norm along an axis; None unless both are constants of one dtype."""
    if not _is_constant(conv.weight) or not _is_constant(norm.var):
        return None
    if _dtype(program, conv.weight) != _dtype(program, norm.var):
        return None  # in mixed precision, the folded weight does not have the dtype of the convolution
    given = (conv.weight, norm.var) if norm.weight is None else (conv.weight, norm.var, norm.weight)
    after = program.facts.need_rank(conv.weight, "a folded batch norm") - 1 - axis
    weight = _inserted(program, record, lambda *values: _scaled(norm.eps, after, *values), *given)
    notes(weight)["folded"] = True
    return weight


def _is_constant(value: Any) -> bool:
    """Whether a state is a parameter, a buffer or a folded weight."""
    return isinstance(value, fx.Node) and bool(value.op == "get_attr" or notes(value).get("folded"))


def _dtype(program: Program, node: Any) -> torch.dtype:
    """The dtype of a parameter, or of the parameter that a folded weight was made from."""
    if node.op == "get_attr":
        return attribute_value(program.gm, node.target).dtype
    return _dtype(program, node.args[0])


def _scaled(eps: float, after: int, weight: Any, var: Any, g: Any = None) -> Any:
    """The weight times 1/sqrt(var + eps), and times g if given, with ``after`` axes behind the channels."""
    scale = torch.rsqrt(var + eps) if g is None else g * torch.rsqrt(var + eps)
    return weight * scale.reshape([-1] + [1] * after)


def _inserted(program: Program, record: Record, function: Callable, *given: fx.Node) -> fx.Node:
    """A new state in the original branch, directly behind the values that it is computed from."""
    graph, base = program.gm.graph, info(record.origin)
    after = next(n for n in reversed(graph.nodes) if n in given)
    end = after.next
    tracer = fx.proxy.GraphAppendingTracer(graph)
    with graph.inserting_before(end):
        result = function(*[fx.Proxy(n, tracer) for n in given]).node
    node, named = after.next, {"place": base.place, "module": base.module, "source": base.source}
    while node is not end:
        mark(
            node,
            role=_role(node),
            rule=record.rule,
            variant=record.variant,
            origin=record.origin.name,
            **named,
        )
        node = node.next
    program.facts.ranks.found[result] = program.facts.rank(given[0])
    return result


def _role(node: fx.Node) -> str:
    """The role of a node of a new state."""
    roles = {info(n).role for n in node.all_input_nodes}
    if (node.op == "call_method" and node.target == "size") or roles == {"shape"}:
        return "shape"
    return "frozen" if roles & {"frozen", "affine"} else "const"
