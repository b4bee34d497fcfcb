"""How many decisions differ between two images, each counted once although the crops of tiles overlap."""

from __future__ import annotations

import torch
import torch.fx as fx

from ...errors import NotLocal
from ..interpreter import LinearInterpreter
from ..prepared import Prepared
from .tiling import Tile, Tiling, Window


def changed(tiling: Tiling, window: Window, tile: Tile, other: LinearInterpreter) -> tuple[int, int]:
    """(masks and indices that differ, all of them) of those that are this tile's own.

    ``other`` is the interpreter of the same crop of the other image.
    """
    prepared = tile.lin.prepared
    nodes = prepared.once(("decisions", tuple(tile.lin.x.shape)), lambda: _decided(tiling, tile))
    begin = {d: tile.inputs[d - 1].start for d in (2, 3)}
    different = total = 0
    for i, (a, b) in enumerate(zip(tile.lin.states.values(), other.states.values())):
        if i not in nodes:
            continue
        node = nodes[i]
        shape = tuple(tiling.whole.traced.values[node].shape)
        own = tiling.own(window, node, shape)
        if own is None:
            continue
        at = [
            slice(s.start - shift, s.stop - shift)
            for s, shift in zip(own, (_shift(tiling, node, d, begin) for d in range(len(shape))))
        ]
        different += int((a[tuple(at)] != b[tuple(at)]).sum())
        total += a[tuple(at)].numel()
    return different, total


def _shift(tiling: Tiling, node: fx.Node, d: int, begin: dict[int, int]) -> int:
    """By how many places a dimension of a node on the crop is moved."""
    image = tiling.whole.traced.follows[node].get(d)
    return 0 if image is None else int(tiling.whole.traced.rates[node, d] * begin[image])


def _decided(tiling: Tiling, tile: Tile) -> dict[int, fx.Node]:
    """{position of a state that is a mask or an index: the node at whose places it lies}."""
    crop, found = tiling.whole.crop(tile.inputs), {}
    names, prepared = {n.name: n for n in tiling.whole.traced.values}, tile.lin.prepared
    near = _origins(prepared)
    for i, ((name, node, _), state) in enumerate(zip(prepared.states, tile.lin.states.values())):
        if state.dtype not in (torch.bool, torch.int64) or not state.numel() or i in prepared.winners:
            continue
        origins = [names[n] for n in near.get(node, ()) if n in names]
        known = (n for o in origins for n in (o, *o.all_input_nodes, *o.users))
        like = next((n for n in known if _fits(tiling, crop.values.get(n), n, state)), None)
        if like is None:
            raise NotLocal(
                f"gap: it is not known at which places of the image the decisions {name} lie, so that those"
                " in the overlap of tiles would count twice; gap on the whole image, with tile=None, tells"
            )
        found[i] = like
    return found


def _fits(tiling: Tiling, value: object, node: fx.Node, state: torch.Tensor) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and tuple(value.shape) == tuple(state.shape)
        and node in tiling.whole.traced.follows
    )


def _origins(prepared: Prepared) -> dict[fx.Node, list[str]]:
    """{a state: the names of the nodes whose decision it is}."""
    found: dict[fx.Node, list[str]] = {}
    for record in prepared.records():
        for node in record.twin.states():
            found.setdefault(node, []).append(record.origin.name)
    return found
