"""Shrink a failing network: leave out or replace statements and results while it fails in the same way."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .check import Finding, check
from .network import Network, Statement

TRIALS = 160


def shrink(network: Network, finding: Finding, policy: Any, trials: int = TRIALS) -> tuple[Network, Finding]:
    """The smallest network found in ``trials`` that has a finding of the same kind, and that finding."""
    left = [trials]

    def same(candidate: Network) -> Finding | None:
        if left[0] <= 0:
            return None
        left[0] -= 1
        try:
            result = check(candidate, policy, finding.entry)
        except Exception:  # text that does not run any more
            return None
        return next((f for f in result.findings if f.key == finding.key), None)

    return _smaller(network, finding, same)


def _smaller(
    network: Network,
    finding: Finding,
    same: Callable[[Network], Finding | None],
) -> tuple[Network, Finding]:
    """Take the first candidate that still fails, until none does."""
    seen = {network.source()}
    while True:
        for candidate in _candidates(network):
            text = candidate.source()
            if text in seen:
                continue
            seen.add(text)
            found = same(candidate)
            if found is not None:
                network, finding = candidate, found
                break
        else:
            return network, finding


def _candidates(network: Network) -> Iterator[Network]:
    """Simpler networks, the much simpler ones first."""
    yield from _results(network)
    n = len(network.statements)
    size = n // 2
    while size:
        for start in range(n - size, -1, -1):
            yield from _without(network, start, size)
        size //= 2
    for i, statement in enumerate(network.statements):
        yield from (_with(network, i, s) for s in _simpler(statement))
    if len(network.inputs) > 1 and not re.search(rf"\b{network.inputs[1].name}\b", "\n".join(network.body)):
        yield replace(network, inputs=network.inputs[:1])
    if network.train:
        yield replace(network, train=False)


def _results(network: Network) -> Iterator[Network]:
    """One value of what is returned, or an earlier one."""
    names = sorted(set(re.findall(r"\bh\d+\b", network.result)))
    if network.result not in names:
        yield from (replace(network, result=name) for name in names)
    for i in range(1, len(network.statements)):
        made = _made(network.statements[i - 1])
        yield from (replace(network, statements=network.statements[:i], result=name) for name in made[-1:])


def _without(network: Network, start: int, size: int) -> Iterator[Network]:
    """Statements left out; and what they made replaced by what they read."""
    gone, kept = (
        network.statements[start : start + size],
        network.statements[:start] + network.statements[start + size :],
    )
    yield network.with_statements(kept)
    made, read = _made(gone[-1]), _read(gone[0])
    for name in read[:2]:
        if made and name != made[-1]:
            renamed = tuple(_renamed(s, made[-1], name) for s in kept[start:])
            yield replace(
                network,
                statements=kept[:start] + renamed,
                result=re.sub(rf"\b{made[-1]}\b", name, network.result),
            )


def _simpler(statement: Statement) -> Iterator[Statement]:
    """A statement with one line fewer, one operand for another, or a part of its expression alone."""
    if len(statement.code) > 1:
        for i in range(len(statement.code)):
            yield replace(statement, code=statement.code[:i] + statement.code[i + 1 :])
    read = _read(statement)
    for a in read:
        for b in read:
            if a != b:
                yield _renamed(statement, a, b)
    yield from _parts(statement)


def _parts(statement: Statement) -> Iterator[Statement]:
    """The last line with an operand of its expression in place of the whole."""
    try:
        line = ast.parse(statement.code[-1]).body[0]
    except SyntaxError:
        return
    if not isinstance(line, ast.Assign):
        return
    for node in ast.walk(line.value):
        for child in ast.iter_child_nodes(node):
            if isinstance(
                child,
                (ast.BinOp, ast.Call, ast.Name, ast.Subscript, ast.UnaryOp),
            ) and "h" in ast.unparse(child):
                text = f"{ast.unparse(line.targets[0])} = {ast.unparse(child)}"
                yield replace(statement, code=(*statement.code[:-1], text))


def _with(network: Network, i: int, statement: Statement) -> Network:
    return network.with_statements((*network.statements[:i], statement, *network.statements[i + 1 :]))


def _renamed(statement: Statement, old: str, new: str) -> Statement:
    return replace(statement, code=tuple(re.sub(rf"\b{old}\b", new, line) for line in statement.code))


def _names(statement: Statement, kind: type) -> list[str]:
    try:
        nodes = ast.walk(ast.parse("\n".join(statement.code)))
    except SyntaxError:
        return []
    found = [
        n.id
        for n in nodes
        if isinstance(n, ast.Name) and isinstance(n.ctx, kind) and re.fullmatch(r"h\d+|x|c|z", n.id)
    ]
    return list(dict.fromkeys(found))


def _made(statement: Statement) -> list[str]:
    return _names(statement, ast.Store)


def _read(statement: Statement) -> list[str]:
    return _names(statement, ast.Load)
