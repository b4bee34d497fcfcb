"""The receptive field of one output over all paths, including those to decisions, and a proof for its crop.

For every node between x0 and the output, its rule tells which places of the operands a place reads
(``fxscope.rules._local``). Following this backwards from one place of the output gives the field in x0. The
same steps at the size of a crop, compared at the needed places, prove that the crop computes the same numbers
there. The network is not run for this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.fx as fx

from ...errors import NotLocal
from ...frontend.symbolic import source_of
from ...graph.draws import draws
from ...graph.ir import info
from ...passes.known import size_asked
from ...passes.sizes import shapes_at
from ...rules._local import Axis, Operand, Site, broadcast, elementwise
from ...rules._moves import item as by_index
from ...rules._moves import reshaped
from ...rules._of_node import bound, rule_of
from ...twins import nodes_of

WAY_OUT = "lin.F.row(index) takes all of the image"
Interval = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """How one node reads one operand that depends on x0, at one image size."""

    node: fx.Node
    operand: fx.Node
    axes: dict[int, Axis]


@dataclass
class Traced:
    """A graph at one image size.

    Attributes
    ----------
    values : dict
        The value of every node, of which only the shape is used.
    steps : list of Step
        How nodes read their operands, in graph order.
    follows : dict
        {node: {dimension: the image dimension that it follows}}.
    rates : dict
        {(node, dimension): places by which it moves for one pixel}.
    numbers : dict
        The arguments of every node that are no tensors.
    depends : set
        Nodes that depend on the values of x0.
    uniform : set
        Nodes with one value at all places, at any size.
    sized : set
        Constants that depend on the image size.
    spread : dict
        {one of ``sized``: the dimensions along which it repeats, at any size, values that no size decides}.
    """

    values: dict[fx.Node, Any]
    steps: list[Step] = field(default_factory=list)
    follows: dict[fx.Node, dict[int, int]] = field(default_factory=dict)
    rates: dict[tuple[fx.Node, int], Fraction] = field(default_factory=dict)
    numbers: dict[fx.Node, list] = field(default_factory=dict)
    depends: set[fx.Node] = field(default_factory=set)
    uniform: set[fx.Node] = field(default_factory=set)
    sized: set[fx.Node] = field(default_factory=set)
    spread: dict[fx.Node, set[int]] = field(default_factory=dict)


def trace_locality(gm: fx.GraphModule, shape: tuple[int, ...], dtype: torch.dtype) -> Traced:
    """Every step from the image (1, C, H, W) to the output of a canonical graph.

    Raises ``NotLocal`` at the first operator that is not known to be local.
    """
    by_name = shapes_at(gm, shape, dtype)
    image, output = next(n for n in gm.graph.nodes if n.op == "placeholder"), output_of(gm)
    traced = Traced({n: by_name[n.name] for n in gm.graph.nodes if n.name in by_name})
    traced.follows[image] = {2: 2, 3: 3}
    traced.depends.add(image)
    traced.rates |= {(image, 2): Fraction(1), (image, 3): Fraction(1)}
    wanted = _ancestors(output)
    for node in gm.graph.nodes:
        if node not in wanted or node.op in ("placeholder", "get_attr"):
            continue
        if draws(node):
            raise NotLocal(f"{_named(node)} draws random numbers, on a crop other ones; {WAY_OUT}")
        value = traced.values[node]
        if isinstance(value, torch.Tensor):
            _trace_node(traced, node)
        elif (
            isinstance(value, (tuple, list))
            and not isinstance(value, torch.Size)
            and traced.depends & set(node.all_input_nodes)
        ):
            traced.depends.add(node)  # several tensors: each is traced at the getitem that takes it
    if output not in traced.follows:
        raise NotLocal(f"the output does not depend on the image's values; {WAY_OUT}")
    return traced


def output_of(gm: fx.GraphModule) -> fx.Node:
    """The tensor that a graph returns; raises ``NotLocal`` if it returns something else."""
    found = next(n for n in gm.graph.nodes if n.op == "output").args[0]
    if not isinstance(found, fx.Node):
        raise NotLocal(
            f"the model gives a {type(found).__name__}; rows and columns of crops are about networks that"
            f" give one tensor; {WAY_OUT}"
        )
    return found


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found, stack = {node}, [node]
    while stack:
        new = [n for n in stack.pop().all_input_nodes if n not in found]
        found.update(new)
        stack += new
    return found


def _trace_node(traced: Traced, node: fx.Node) -> None:
    """Add the steps of a node that depends on the values of x0, and classify other nodes."""
    call, item = _call(node, traced.values)
    rule = rule_of(call)
    local = None if rule is None else rule.local
    read = [] if local is None else _reads(traced, node, call, item)
    used = [(n, axes) for n, axes in read if axes is not None and n not in traced.uniform]
    values_read = _values_read(call, local, read)
    if (read and not used and all(axes is None for _, axes in read)) or (
        read and not used and local in (elementwise, broadcast)
    ):
        traced.uniform.add(node)
    elif not any(n in traced.depends for n in values_read):
        if any(_tells_size(traced, n) for n in call.all_input_nodes):
            traced.sized.add(node)
            _spread(traced, node, call, local, read)
    elif used:
        traced.depends.add(node)
        _join(traced, node, used)
    if (
        node not in traced.uniform
        and node not in traced.follows
        and any(n in traced.depends for n in values_read)
    ):
        raise NotLocal(
            f"{_named(call)} is not known to be local: what it gives may depend on the whole image; {WAY_OUT}"
        )


def _values_read(call: fx.Node, local: Any, read: list) -> list[fx.Node]:
    """The operands whose values a call may read; of the others it reads size, dtype or device."""
    if local is None:
        return call.all_input_nodes
    rule = rule_of(call)
    assert rule is not None
    ignored = [n for name in rule.ignores for n in nodes_of(bound(call).get(name))]
    unread = {n for n, axes in read if axes is None} | set(ignored)
    return [n for n in call.all_input_nodes if n not in unread or any(n is m and a for m, a in read)]


def _tells_size(traced: Traced, node: fx.Node) -> bool:
    """Whether the size of the image may decide what a constant that reads this node is."""
    value = traced.values[node]
    if isinstance(value, torch.Tensor):
        return node in traced.sized or node in traced.uniform or node in traced.depends
    of, dim = size_asked(node)
    if of in traced.follows:  # the number of channels, say
        return dim % traced.values[of].dim() in traced.follows[of]
    return not isinstance(value, (torch.dtype, torch.device))


def _spread(traced: Traced, node: fx.Node, call: fx.Node, local: Any, read: list) -> None:
    """Write down along which dimensions a constant repeats values that no size decides.

    Such is ``mean.expand(x.size())``: it is as large as the image, and the same at all of its places.
    """
    numbers = [n for n in call.all_input_nodes if not isinstance(traced.values[n], torch.Tensor)]
    known = all(n in traced.spread or n in traced.uniform or n not in traced.sized for n, _ in read)
    if (
        local not in (elementwise, broadcast, by_index)
        or not known
        or (local is not broadcast and any(_tells_size(traced, n) for n in numbers))
    ):
        return
    traced.spread[node] = {
        d
        for d in range(traced.values[node].dim())
        if all(
            axes is None
            or (_repeats(traced, operand, axes[d].source) if d in axes else local is not by_index)
            for operand, axes in read
        )
    }


def _repeats(traced: Traced, operand: fx.Node, d: int) -> bool:
    one = traced.values[operand].shape[d] == 1
    return one or operand in traced.uniform or d in traced.spread.get(operand, ())


def _reads(
    traced: Traced, node: fx.Node, call: fx.Node, item: int | None
) -> list[tuple[fx.Node, dict[int, Axis] | None]]:
    """(operand, how the call reads it) of every tensor operand, by the rule of the call."""
    rule, arguments, values = rule_of(call), bound(call), traced.values
    assert rule is not None
    assert rule.local is not None
    given = [
        (name, at, n)
        for name, value in arguments.items()
        if name not in rule.ignores
        for at, n in enumerate(nodes_of(value))
        if isinstance(values.get(n), torch.Tensor)
    ]
    site = Site(
        fx.node.map_arg(arguments, lambda n: values[n]), tuple(values[node].shape), item, values[call]
    )
    if not getattr(rule.local, "sized", False):
        traced.numbers[node] = _numbers(site.arguments)
    return [
        (n, rule.local(site, Operand(name, at, tuple(values[n].shape), values[n].dtype)))
        for name, at, n in given
    ]


def _call(node: fx.Node, values: dict) -> tuple[fx.Node, int | None]:
    """The call that computes the value of a node, and the item if the node takes one of several values."""
    rule = rule_of(node)
    if rule is not None and rule.name == "getitem":
        source = node.args[0]
        if (
            isinstance(source, fx.Node)
            and isinstance(values.get(source), tuple)
            and not isinstance(values[source], torch.Size)
        ):
            return source, node.args[1]  # type: ignore[return-value]  # the index of getitem
    return node, None


def _join(traced: Traced, node: fx.Node, read: list[tuple[fx.Node, dict[int, Axis]]]) -> None:
    """Add a step for each operand, and check that all operands follow the image in the same way."""
    for operand, axes in read:
        for axis in traced.follows.get(operand, {}):
            if axis not in {a.source for a in axes.values()}:
                raise NotLocal(
                    f"{_named(_call(node, traced.values)[0])} depends on the whole"
                    f" image{_what_follows(node)}; {WAY_OUT}"
                )
        if operand in traced.follows:
            _carry(traced, node, operand, axes)
            traced.steps.append(Step(node, operand, axes))
    for operand, axes in read:
        along = [a.source for d, a in axes.items() if d in traced.follows.get(node, {})]
        places = [d for d in along if not _repeats(traced, operand, d)]
        if operand in traced.sized and (operand not in traced.spread or places):
            raise NotLocal(
                f"{_named(node)} reads a constant that the image's size decides ({operand.name}); {WAY_OUT}"
            )
        if operand not in traced.follows and places:
            raise NotLocal(
                f"{_named(node)} reads a constant of the image's size ({operand.name},"
                f" {tuple(traced.values[operand].shape)}), which a crop would have to cut; {WAY_OUT}"
            )


def _carry(traced: Traced, node: fx.Node, operand: fx.Node, axes: dict[int, Axis]) -> None:
    """Carry the image dimensions, and their rates, from an operand to the node."""
    known = traced.follows.setdefault(node, {})
    for d, axis in axes.items():
        image = traced.follows[operand].get(axis.source)
        if image is None:
            continue
        rate = traced.rates[operand, axis.source] * axis.rate
        if known.setdefault(d, image) != image or traced.rates.setdefault((node, d), rate) != rate:
            raise NotLocal(f"{_named(node)} puts places of the image together that lie apart; {WAY_OUT}")


def _what_follows(node: fx.Node) -> str:
    """For the message: what reads rows and columns after a reshape joined them, and the call it is of."""
    rule = rule_of(node)
    if rule is None or rule.local is not reshaped:
        return ""
    readers = sorted({f"{info(n).rule or n.target} at {info(n).place or n.name}" for n in node.users})
    return f", or what follows does ({', '.join(readers)}): rows and columns are joined there"


def _numbers(arguments: dict) -> list:
    """All arguments that are no tensors, in order, as text."""
    leaves = torch.utils._pytree.tree_leaves(arguments)
    return [repr(v) for v in leaves if not isinstance(v, torch.Tensor)]


def _named(node: fx.Node) -> str:
    kind = info(node).rule or getattr(node.target, "__name__", str(node.target))
    return f"{kind} at {info(node).place or node.name} ({source_of(node)})"


def grain(traced: Traced) -> int:
    """The smallest shift of a crop, in pixels, that moves every grid of the network by whole places."""
    return math.lcm(*[rate.denominator for rate in traced.rates.values()])


def needed(traced: Traced, output: fx.Node, box: dict[int, Interval]) -> dict[fx.Node, dict[int, Interval]]:
    """{node: {dimension: (first, last)}}: the places from which a box of the output is computed."""
    found = {output: dict(box)}
    for step in reversed(traced.steps):
        for d, interval in found.get(step.node, {}).items():
            read = _read(step.axes[d], interval) if d in step.axes else None
            source = step.axes[d].source if d in step.axes else None
            if read is not None and source in traced.follows[step.operand]:
                known = found.setdefault(step.operand, {})
                known[source] = _union(known.get(source), read)
    return found


def touched(
    traced: Traced, image: fx.Node, output: fx.Node, pixel: dict[int, int]
) -> dict[int, Interval] | None:
    """{dimension: (first, last)}: the outputs that depend on a pixel of the image; None if none does."""
    return touched_by(traced, image, output, {d: (p, p) for d, p in pixel.items()})


def touched_by(
    traced: Traced, image: fx.Node, output: fx.Node, box: dict[int, Interval]
) -> dict[int, Interval] | None:
    """As ``touched``, of a box of the image."""
    found: dict[fx.Node, dict[int, Interval]] = {image: dict(box)}
    for step in traced.steps:
        known = found.get(step.operand)
        if known is None:
            continue
        hit = {d: _reading(axis, known[axis.source]) for d, axis in step.axes.items() if axis.source in known}
        if all(hit.values()):
            of = {
                d: hit.get(d) or (0, traced.values[step.node].shape[d] - 1) for d in traced.follows[step.node]
            }
            found[step.node] = hull(found.get(step.node, of), of)
    return found.get(output)


def _reading(axis: Axis, interval: Interval) -> Interval | None:
    """The first and the last place that read something of an interval of the operand."""
    where = np.nonzero((axis.first <= interval[1]) & (axis.last >= interval[0]))[0]
    return (int(where[0]), int(where[-1])) if len(where) else None


def hull(a: dict[int, Interval], b: dict[int, Interval]) -> dict[int, Interval]:
    """The smallest box around two boxes."""
    return {d: _union(a.get(d), interval) for d, interval in b.items()}


def _read(axis: Axis, interval: Interval) -> Interval | None:
    """The places that an interval of the output reads; None if it reads only padding."""
    first, last = (v[interval[0] : interval[1] + 1] for v in (axis.first, axis.last))
    some = first <= last
    return (int(first[some].min()), int(last[some].max())) if some.any() else None


def _union(a: Interval | None, b: Interval) -> Interval:
    return b if a is None else (min(a[0], b[0]), max(a[1], b[1]))


def check_alike(
    whole: Traced, crop: Traced, need: dict[fx.Node, dict[int, Interval]], start: dict[int, int]
) -> None:
    """Raise ``NotLocal`` if a node differs between the crop that begins at ``start`` and the whole image.

    Only the needed places count.
    """
    for a, b in zip(whole.steps, crop.steps, strict=True):
        for d, interval in need.get(a.node, {}).items():
            if d in a.axes and a.axes[d].source in whole.follows[a.operand]:
                offsets = [
                    offset(whole, n, i, start) for n, i in ((a.node, d), (a.operand, a.axes[d].source))
                ]
                if not _alike(a.axes[d], b.axes[d], interval, *offsets):
                    raise NotLocal(
                        f"{_named(a.node)} does not do on a crop what it does on the whole image: it depends"
                        f" on the image's size; {WAY_OUT}"
                    )
    for node, numbers in whole.numbers.items():
        if (node in need or node in whole.uniform) and numbers != crop.numbers.get(node):
            raise NotLocal(f"{_named(node)} reads a number that depends on the image's size; {WAY_OUT}")


def offset(traced: Traced, node: fx.Node, d: int, start: dict[int, int]) -> int:
    """The shift of a dimension of a node on a crop, in places."""
    return int(traced.rates[node, d] * start[traced.follows[node][d]])


def _alike(whole: Axis, crop: Axis, interval: Interval, out: int, given: int) -> bool:
    """Whether both axes read the same places in the same way."""
    here, there = slice(interval[0], interval[1] + 1), slice(interval[0] - out, interval[1] + 1 - out)
    if there.start < 0 or there.stop > len(crop.first):
        return False
    first, last = whole.first[here] - given, whole.last[here] - given
    none = (first > last) & (crop.first[there] > crop.last[there])
    same = (first == crop.first[there]) & (last == crop.last[there])
    return bool(
        ((none | same) & np.isclose(whole.how[here], crop.how[there], rtol=0, atol=1e-9).all(1)).all()
    )
