"""Fold repeated modules of a picture into one box each. Equal modules have equal sequences of operations."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

from ..errors import FxscopeError
from .operations import Box, Name, Picture

SMALLEST = 3  # operations; smaller modules are not folded
LISTED = 24  # operations named in the hover text of a folded box


@dataclass(frozen=True)
class Group:
    """Consecutive operations that become one box: those of one module, or of several equal modules in series.

    Parameters
    ----------
    keys : tuple of str
        The operations.
    paths : tuple of str
        The module paths.
    signature : tuple
        What equal modules have in common.
    like : str
        Path of the first equal module; "" if there is none before.
    """

    keys: tuple[str, ...]
    paths: tuple[str, ...]
    signature: tuple
    like: str

    @property
    def key(self) -> str:
        """The key of the box: its first and last operation."""
        return f"{self.keys[0]} to {self.keys[-1]}"

    @property
    def name(self) -> str:
        """Its path; of several modules that of the first, and the end of the last."""
        first, last = self.paths[0], self.paths[-1]
        return first if len(self.paths) == 1 else f"{first} to {last.rpartition('.')[2]}"

    @property
    def parent(self) -> str:
        """Path of the module that holds the repeated ones."""
        return self.paths[0].rpartition(".")[0]


def groups_of(picture: Picture, how: bool | int) -> list[Group]:
    """The modules to fold: repeated ones (True), all at a depth (int), or none (False)."""
    if not isinstance(how, int) or (how is not False and how < 1):
        raise FxscopeError(f"fold is True, False or a depth of the module path (1, 2, ...), got {how!r}")
    if how is False:
        return []
    rows = _rows(picture)
    groups = _in_series(_repeated(rows, 1, {}), rows) if how is True else _at_depth(rows, int(how), {})
    return _acyclic(picture, groups)


def every_group(picture: Picture, folded: list[Group]) -> list[Group]:
    """The folded groups, and every module of several operations; a module is before those within it."""
    rows = _rows(picture)
    seen: dict[tuple, str] = {}
    position = {row.key: i for i, row in enumerate(rows)}
    found = {group.keys: group for group in folded}
    for depth in range(1, 1 + max((len(row.module) for row in rows), default=0)):
        for group in _acyclic(picture, _at_depth(rows, depth, seen)):
            found.setdefault(group.keys, group)
    return sorted(found.values(), key=lambda group: (position[group.keys[0]], -len(group.keys)))


def keys_of(picture: Picture) -> list[str]:
    """Every operation, in an order in which those of a module are next to each other."""
    return [row.key for row in _rows(picture)]


@dataclass(frozen=True)
class _Row:
    """An operation with its twin: key, module path, names of both, and keys of its operands."""

    key: str
    module: tuple[str, ...]
    names: tuple[str, ...]
    reads: tuple[str, ...]


def _rows(picture: Picture) -> list[_Row]:
    boxes: dict[str, list[Box]] = {}
    for box in sorted(picture.boxes.values(), key=lambda b: (b.branch == "interpreter", b.order)):
        boxes.setdefault(box.key, []).append(box)
    reads: dict[str, dict] = {}
    for (_, source), (_, target) in picture.data:
        reads.setdefault(target, {})[source] = None
    rows = [
        _Row(
            k,
            tuple(b[0].module.split(".")) if b[0].module else (),
            tuple(x.name for x in b),
            tuple(reads.get(k, ())),
        )
        for k, b in boxes.items()
    ]
    return sorted(rows, key=lambda r: boxes[r.key][0].order)


def _runs(rows: list[_Row], depth: int):
    """(module path, its consecutive rows) of every module at a depth."""
    for path, run in itertools.groupby(rows, key=lambda r: r.module[:depth]):
        if len(path) == depth:
            yield ".".join(path), list(run)


def _signature(run: list[_Row], depth: int) -> tuple:
    """Equal for equal modules: paths inside the module, names of operations and twins, edges between them."""
    position = {row.key: i for i, row in enumerate(run)}
    return tuple(
        (row.module[depth:], row.names, tuple(position[k] for k in row.reads if k in position)) for row in run
    )


def _repeated(rows: list[_Row], depth: int, seen: dict[tuple, str]) -> list[Group]:
    groups = []
    for path, run in _runs(rows, depth):
        signature = _signature(run, depth)
        if len(run) >= SMALLEST and signature in seen:
            groups.append(Group(tuple(r.key for r in run), (path,), signature, seen[signature]))
            continue
        seen.setdefault(signature, path)
        groups += _repeated(run, depth + 1, seen)
    return groups


def _at_depth(rows: list[_Row], depth: int, seen: dict[tuple, str]) -> list[Group]:
    groups = []
    for path, run in _runs(rows, depth):
        if len(run) > 1:
            signature = _signature(run, depth)
            groups.append(Group(tuple(r.key for r in run), (path,), signature, seen.get(signature, "")))
            seen.setdefault(signature, path)
    return groups


def _in_series(groups: list[Group], rows: list[_Row]) -> list[Group]:
    """Join equal modules into one group if each reads the output of the one before it."""
    after = {row.key: follower.key for row, follower in itertools.pairwise(rows)}
    reads = {row.key: set(row.reads) for row in rows}
    joined: list[Group] = []
    for group in groups:
        last = joined[-1] if joined else None
        if (
            last
            and _continues(last, group)
            and after[last.keys[-1]] == group.keys[0]
            and any(not reads[k].isdisjoint(last.keys) for k in group.keys)
        ):
            joined[-1] = Group(last.keys + group.keys, last.paths + group.paths, last.signature, last.like)
        else:
            joined.append(group)
    return joined


def _continues(last: Group, group: Group) -> bool:
    return bool(group.like) and (last.like, last.parent) == (group.like, group.parent)


def _acyclic(picture: Picture, groups: list[Group]) -> list[Group]:
    """The groups, without those that would make a cycle in a branch.

    A folded module makes a cycle if an operation outside of it lies between two of its operations.
    """
    import networkx as nx

    while True:
        into = {key: group.key for group in groups for key in group.keys}
        graph = nx.DiGraph(
            (a, b)
            for (x, s), (y, t) in picture.data
            if (a := (x, into.get(s, s))) != (b := (y, into.get(t, t)))
        )
        tangled = {
            key for part in nx.strongly_connected_components(graph) if len(part) > 1 for _, key in part
        }
        kept = [group for group in groups if group.key not in tangled]
        if len(kept) == len(groups):
            return groups
        groups = kept


def merge(picture: Picture, groups: list[Group]) -> Picture:
    """The picture with each group as one box in each branch."""
    into = {key: group for group in groups for key in group.keys}
    folded = Picture(classes=picture.classes)
    for (branch, key), box in picture.boxes.items():
        group = into.get(key)
        if group is None:
            folded.boxes[branch, key] = box
        elif (branch, group.key) not in folded.boxes:
            inside = [picture.boxes[branch, k] for k in group.keys if (branch, k) in picture.boxes]
            folded.boxes[branch, group.key] = folded_box(branch, group, inside, picture.classes)

    def home(name: Name) -> Name:
        return (name[0], into[name[1]].key) if name[1] in into else name

    for a, b in picture.data:
        if home(a) != home(b):
            folded.data[home(a), home(b)] = None
    for (a, b), carried in picture.freezes.items():
        folded.freezes.setdefault((home(a), home(b)), Counter()).update(carried)
    return folded


def folded_box(branch: str, group: Group, inside: list[Box], classes: dict[str, str]) -> Box:
    """The box that stands for the operations of a group in one branch."""
    count, each = len(group.paths), len(inside) // len(group.paths)
    name = group.name
    kind = classes.get(group.paths[0].partition("@")[0], "")
    noun = "twin" if branch == "interpreter" else "operation"
    detail = f"{each} {noun}{'s' * (each != 1)}{' each' * (count > 1)}" + (
        f", as {group.like}" if group.like else ""
    )
    hover = [", ".join(part for part in (name, f"{count} × {kind}" if count > 1 else kind, detail) if part)]
    hover += [f"{box.name} {box.place}".rstrip() for box in inside[:LISTED]]
    hover += [f"and {len(inside) - LISTED} more"] if len(inside) > LISTED else []
    return Box(
        branch,
        group.key,
        name,
        f"{count} × {kind}" if count > 1 else kind,
        detail,
        order=inside[0].order,
        module=group.paths[0],
        stack=count,
        alone=all(b.alone for b in inside),
        hover=hover,
        weights={path: count for box in inside for path, count in box.weights.items()},
        shape=max(inside, key=lambda box: box.order).shape,
        adds=sum(box.adds for box in inside),
    )
