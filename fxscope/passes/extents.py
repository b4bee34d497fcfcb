"""The sizes that a graph fixes: channels by weights, dimensions of one by what made them, parts by their cut.

A size is known where it is the same for every input that the model takes. They answer what a model's Python
code asks while it is traced: how many parts ``h.unbind(1)`` has, and whether ``h.shape[1] > 2``.
Dimensions are counted from the end.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..rules._of_node import bound, parts_told, rule_of
from ..rules._ranks import Broadcast
from ..rules._reduced import end
from .facts import Facts

Sizes = dict[int, int]
_POOLED = ("max_pool", "avg_pool", "adaptive_", "lp_pool")
_KEEPING = {
    "neg", "flip", "roll", "identity", "to", "type_as", "float", "double", "half", "bfloat16", "cpu",
    "detach", "sign", "sgn", "round", "floor", "ceil", "trunc", "dropout", "dropout1d", "dropout2d",
    "dropout3d", "feature_dropout", "cumsum", "reciprocal", "softmax", "sort", "cummax", "cummin",
    "tril", "triu", "slice_scatter", "select_scatter", "diagonal_scatter", "full_like", "ones_like",
    "zeros_like", "empty_like", "rand_like", "randn_like",
}  # fmt: skip


class Extents:
    """The known sizes of the values of a graph: ``of[node]`` is {place from the end: size}."""

    def __init__(self, gm: fx.GraphModule, facts: Facts):
        self.facts = facts
        self.of: dict[fx.Node, Sizes] = {}
        for _ in range(2):  # a layer tells the channels of its input, which an earlier operator may read
            for node in gm.graph.nodes:
                if node not in facts.sizes:
                    self.of[node] = self.of.get(node, {}) | self._sizes(node)

    def size(self, value: Any, dim: Any) -> int | None:
        """The size of one dimension; None where it is not known."""
        shape = self.facts.shape(value)
        place = end(self.facts, value, dim)
        if shape is not None:
            return shape[place] if place is not None else None
        return self._known(value).get(place) if place is not None else None

    def _known(self, value: Any) -> Sizes:
        return self.of.get(value, {}) if isinstance(value, fx.Node) else {}

    def _sizes(self, node: fx.Node) -> Sizes:
        if node in self.facts.constants:
            return {d - self.facts.constants[node].dim(): n for d, n in _numbered(self.facts.constants[node])}
        rule = rule_of(node)
        if rule is None:
            return {}
        a = bound(node)
        if isinstance(rule.rank, Broadcast):
            return self._broadcast(rule.rank.operands(a))
        own = getattr(self, f"_{rule.name.rstrip('123d')}", None)
        if own is not None:
            return own(a)
        x = a.get(rule.carries[0]) if rule.carries else next(iter(a.values()), None)
        if rule.name.startswith(_POOLED) and rule.input_rank:
            return self._same(node, x, 2 - rule.input_rank)
        if rule.name == "pad":
            return self._same(node, x, -(len(a["pad"]) // 2)) if isinstance(a["pad"], (list, tuple)) else {}
        keeps = rule.rank is None and rule.input_rank is None and rule.verb in ("mask", "normalize")
        return self._same(node, x) if keeps or rule.name in _KEEPING else {}

    def _same(self, node: fx.Node, x: Any, below: int = 0) -> Sizes:
        """The dimensions before one, which an operator keeps: what is known of either value holds of both."""
        for place, size in _before(self._known(node), below).items():
            self._tell(x, place, size)
        return _before(self._known(x), below)

    def _broadcast(self, operands: list[Any]) -> Sizes:
        """A size that is not 1 is that of the result; it is 1 where no operand has another."""
        tensors = [v for v in operands if self.facts.is_tensor(v) and self.facts.rank(v) != 0]
        each = [self._known(v) for v in tensors]
        found = {}
        for place in set().union(*each):
            sizes = {sizes.get(place) for sizes in each}
            larger = [n for n in sizes if n is not None and n > 1]
            if larger:
                found[place] = larger[0]
            elif sizes == {1}:
                found[place] = 1
        return found

    def _tell(self, value: Any, place: int, size: int) -> None:
        """A size that an operator asks of its operand."""
        if isinstance(value, fx.Node) and value not in self.facts.constants:
            self.of.setdefault(value, {})[place] = size

    def _conv(self, a: dict) -> Sizes:
        shape = self.facts.shape(a["weight"])
        if shape is None:
            return {}
        self._tell(a["x"], 1 - len(shape), shape[1] * a["groups"])
        return {1 - len(shape): shape[0]}

    def _conv_transpose(self, a: dict) -> Sizes:
        shape = self.facts.shape(a["weight"])
        if shape is None:
            return {}
        self._tell(a["x"], 1 - len(shape), shape[0])
        return {1 - len(shape): shape[1] * a["groups"]}

    def _linear(self, a: dict) -> Sizes:
        shape = self.facts.shape(a["weight"])
        if shape is None or len(shape) != 2:
            return {}
        self._tell(a["x"], -1, shape[1])
        return {**self._known(a["x"]), -1: shape[0]}

    def _reshape(self, a: dict) -> Sizes:
        """The sizes that are numbers in the code."""
        shape = a["shape"] if isinstance(a["shape"], (list, tuple)) else []
        return {i - len(shape): n for i, n in enumerate(shape) if type(n) is int and n > 0}

    def _permute(self, a: dict) -> Sizes:
        count, known = len(a["dims"]), self._known(a["x"])
        order = [d % count - count for d in a["dims"]]
        return {i - count: known[d] for i, d in enumerate(order) if d in known}

    def _transpose(self, a: dict) -> Sizes:
        places = self._places(a["x"], [a["dim0"], a["dim1"]])
        swap = dict(zip(places, reversed(places)))
        return {swap.get(d, d): n for d, n in self._known(a["x"]).items()} if places else {}

    def _unsqueeze(self, a: dict) -> Sizes:
        rank = self.facts.rank(a["x"])
        if a["dim"] >= 0 and rank is None:
            return {}
        place = a["dim"] if a["dim"] < 0 else a["dim"] - rank - 1
        return {**{d if d > place else d - 1: n for d, n in self._known(a["x"]).items()}, place: 1}

    def _reduction(self, a: dict) -> Sizes:
        dims = a["dim"] if isinstance(a["dim"], (list, tuple)) else [a["dim"]]
        places, known = self._places(a["x"], dims), self._known(a["x"])
        if not places:
            return {}
        return {**known, **dict.fromkeys(places, 1)} if a["keepdim"] else _without(known, places)

    def _places(self, x: Any, dims: Any) -> list[int]:
        """Dimensions counted from the end; none where one of them is not known."""
        places = [end(self.facts, x, d) for d in dims]
        known = [p for p in places if p is not None]
        return known if len(known) == len(places) else []

    _mean = _sum = _amax = _amin = _var = _std = _norm = _vector_norm = _logsumexp = _reduction

    def _getitem(self, a: dict) -> Sizes:
        source, key = a["x"], a["index"]
        parts = rule_of(source) if isinstance(source, fx.Node) else None
        if parts is not None and parts.yields == "tensors":
            return self._part(source, parts.name, bound(source))
        if parts is not None and parts.yields == "values":
            return dict(self._known(source))
        return self._indexed(source, key if isinstance(key, tuple) else (key,))

    def _part(self, source: fx.Node, name: str, a: dict) -> Sizes:
        """One of the parts of a cut; only of unbind its size is known, which is none."""
        place = end(self.facts, a["x"], a.get("dim", 0))
        if place is None:
            return {}
        rest = {d: n for d, n in self._known(a["x"]).items() if d != place}
        if name == "unbind":
            return _without(rest, [place])
        size, cut = self.size(a["x"], a["dim"]), a.get("chunks", a.get("split_size_or_sections"))
        if name not in ("chunk", "split") or not isinstance(cut, int) or not size or size % cut:
            return rest
        return {**rest, place: size // cut if name == "chunk" else cut}

    def _indexed(self, x: Any, key: tuple) -> Sizes:
        """By whole slices, ``None`` and numbers: what is left of the dimensions, and those of size one."""
        rank = self.facts.rank(x)
        plain = all(k is None or k is Ellipsis or isinstance(k, (int, slice)) for k in key)
        if rank is None or not plain:
            return {}
        taken = sum(k is not None and k is not Ellipsis for k in key)
        where = key.index(Ellipsis) if Ellipsis in key else len(key)
        full = [*key[:where], *[slice(None)] * (rank - taken), *key[where + 1 :]]
        sizes: list[int | None] = []
        d = -rank
        for k in full:
            if k is None:
                sizes.append(1)
                continue
            if isinstance(k, slice):
                sizes.append(_cut(self._known(x).get(d), k))
            d += 1
        return {i - len(sizes): n for i, n in enumerate(sizes) if n is not None}

    def _cat(self, a: dict) -> Sizes:
        tensors = a["tensors"] if isinstance(a["tensors"], (list, tuple)) else []
        place = next((p for p in (end(self.facts, v, a["dim"]) for v in tensors) if p is not None), None)
        if place is None:
            return {}
        each = [self.size(v, place) for v in tensors]
        rest = {d: n for v in tensors for d, n in self._known(v).items() if d != place}
        return rest if None in each else {**rest, place: sum(n for n in each if n is not None)}


def parts(extents: Extents, node: fx.Node) -> int | None:
    """How many tensors a cut gives; None where it is none, or where the graph does not tell."""
    rule = rule_of(node)
    if rule is None or rule.yields != "tensors":
        return None
    told = parts_told(node)
    if told is not None:
        return told
    a = bound(node)
    cut = a.get("chunks", a.get("split_size_or_sections"))
    size = extents.size(a["x"], a.get("dim", 0))
    if rule.name == "unbind":
        return size
    if rule.name not in ("chunk", "split") or not isinstance(cut, int):
        return None
    if cut == 1 and rule.name == "chunk":
        return 1
    return None if not size else len(getattr(torch.empty(size, device="meta"), rule.name)(cut))


def _numbered(value: torch.Tensor) -> list[tuple[int, int]]:
    return list(enumerate(value.shape))


def _before(known: Sizes, spatial: int) -> Sizes:
    return {d: n for d, n in known.items() if d < spatial}


def _without(known: Sizes, places: Any) -> Sizes:
    gone = set(places)
    return {d + sum(p > d for p in gone): n for d, n in known.items() if d not in gone}


def _cut(size: int | None, key: slice) -> int | None:
    whole = all(n is None or isinstance(n, int) for n in (key.start, key.stop, key.step))
    if size is None:
        return None
    return len(range(size)[key]) if whole else None
