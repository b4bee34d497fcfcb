"""Law 13: F depends on the network, the policy and the values of x0, and on nothing else.

What else it could depend on is changed, and the same forms are measured again: ``s.but(...)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..errors import FxscopeError, first_line
from ..frontend.example import Example
from ..linop.memory import MODES
from ..passes.outputs import tensors_of
from ..passes.rewrite import Program
from .checks import eq_8, law_2, law_5
from .laws import NotChecked, distance, largest, reshaped
from .structure import mapped_example, tensors_in

if TYPE_CHECKING:
    from .case import LawCase

GROWN = ((2, 4), (8, 16), (32, 64))  # increments of the spatial sizes; the first that the model accepts


def batch(s: LawCase) -> float:
    """F and r of the first image, by the program for that image alone and by the program for a batch."""
    if any(x.dim() == 0 or x.shape[0] != s.batch for x in s.x):
        raise NotChecked("the batch is not the first dimension of the probed place")
    if s.batch == 1:
        return _same_first(s, _companions(s))
    s.same_alone(s.image(0), 0)
    return _same_first(s.first_remade, s)


def _companions(s: LawCase) -> LawCase:
    """The image among three, through a program for three: itself, its values flipped, and rolled."""

    def three(t: torch.Tensor) -> torch.Tensor:
        return torch.cat([t, t.flip(-1), t.roll(1, -1)] if t.dim() > 1 else [t, t, t])

    many = s.but(s.each(three))
    many.same_alone(s, 0)
    probes = tuple(torch.cat([p, s.random(s.K, 2, *p.shape[2:], like=p)], 1) for p in s.probes)
    return many.but(program=s.remade(many.example), probes=probes)


def _same_first(one: LawCase, many: LawCase) -> float:
    """The larger error of F and r of an image alone, against the first of several."""

    def first(values: Any, K: int) -> list[torch.Tensor]:
        each = tensors_of(values)
        batched = [t.dim() > 0 and t.shape[0] == K * many.batch for t in each]
        return [t.unflatten(0, (K, -1))[:, 0] if b else t for t, b in zip(each, batched)]

    F, r = first(many.linear, many.K), first(many.r, 1)
    return largest([distance(one.linear, F), distance(one.r, r)])


def size(s: LawCase) -> float:
    """Laws 1, 2, 5 and 8 at another spatial size, and F against that of a program made for that size."""
    if s.program.gm.meta["frontend"].get("sizes") == "specialised":
        raise NotChecked("the graph is for one size: torch.export fixes it")
    if s.places is None:
        raise NotChecked("the probe enters inside the network")
    larger = _larger(s)
    try:
        errors = [] if s.outputs is not None else [distance(larger.y0, larger.expected)]
        errors += [law_2(larger), eq_8(larger), law_5(larger)]
        remade = larger.but(program=s.remade(larger.example), probes=larger.probes)
        return largest([*errors, distance(remade.linear, larger.linear)])
    except (AssertionError, RuntimeError, FxscopeError) as error:
        raise NotChecked(f"the graph refuses another size: {first_line(error, 200)}") from error


def _larger(s: LawCase) -> LawCase:
    """The case of larger images, which repeat the values of x0; the first sizes that the model accepts."""
    x0 = s.x[0]
    first = 2 if x0.dim() > 3 else x0.dim() - 1
    if x0.dim() < 3:
        raise NotChecked("the input has no spatial sizes")
    refused: NotChecked | None = None
    for step in GROWN:
        sizes = [n + step[min(i, 1)] for i, n in enumerate(x0.shape[first:])]
        larger = s.but(_repeated(s.example, x0.shape[first:], sizes, first))
        try:
            larger.expected_on(f"at the size {tuple(sizes)}")
            return larger
        except NotChecked as error:
            refused = error
    raise NotChecked(str(refused))


def _repeated(example: Example, before: torch.Size, sizes: list[int], first: int) -> Example:
    """The call in which tensors of the spatial sizes ``before`` are repeated up to other sizes."""

    def repeated(t: torch.Tensor) -> torch.Tensor:
        if t.shape[first:] != before:
            return t
        for d, n in enumerate(sizes, first):
            t = t.index_select(d, torch.arange(n, device=t.device) % t.shape[d])
        return t

    return mapped_example(repeated, example)


def example(s: LawCase) -> float:
    """F and r of the graph that was made without an example."""
    other = s.but(program=s.remade(None, frontend="symbolic"), probes=s.probes)
    places = other.places if _inputs(other.program) == len(s.args) else None
    if any(not s.args[i].is_floating_point() for i in places or ()):
        raise NotChecked("without an example the graph is for floating inputs, and x0 holds integers")
    return _same(s, other, "without an example")


def frontend(s: LawCase) -> float:
    """F and r of the graph that the other frontend gives."""
    if not s.thorough:
        raise NotChecked(f"of {s.nodes} nodes, and the other frontend takes long: thorough=True asks it")
    name = "export" if s.program.gm.meta["frontend"]["name"] == "symbolic" else "symbolic"
    other = s.but(program=s.remade(s.example, frontend=name), probes=s.probes)
    return _same(s, other, f"through the frontend {name!r}")


def _inputs(program: Program) -> int:
    return sum(n.op == "placeholder" for n in program.gm.graph.nodes)


def _same(s: LawCase, other: LawCase, how: str) -> float:
    inputs = _inputs(other.program)
    if inputs != len(s.args):
        raise NotChecked(f"{how} the graph takes {inputs} inputs, and the call has {len(s.args)}")
    return largest([distance(other.linear, s.linear), distance(other.r, s.r)])


def memory(s: LawCase) -> float:
    """F v and F^T u of an interpreter in every memory mode, against the emitted graphs."""
    spaces = s.lin.F.inputs, s.lin.F.outputs
    linear, cotangents = (
        [t for t in tensors if t.is_floating_point()]  # F has no integer or boolean outputs
        for tensors in (tensors_of(s.linear), tensors_in(s.cotangents))
    )
    v, u = (
        space.build([t.reshape(s.K, *shape) for t, shape in zip(tensors, space.shapes, strict=True)])
        for space, tensors in zip(spaces, (s.probes, cotangents))
    )
    errors = []
    for mode in MODES:
        lin = s.lin if mode == "record" else s.interpreter(mode)
        with s.calm():
            found, pulled = tensors_of(lin.F @ v), tensors_of(lin.F.T @ u)
        errors.append(distance(found, reshaped(linear, found)))
        errors.append(distance(pulled, reshaped(s.pulled, pulled)))
    return largest(errors)


def forms(s: LawCase) -> float:
    """The stacked filter, replay and pullback of a recorded state, and the row of the largest output."""
    linear, state = tensors_of(s.linear), s.run("record")[1]
    stacked = tensors_of(s.run("filter", *s.probes, probes="stacked"))
    replayed, pulled = s.run("replay", state, *s.flat), s.run("pullback", state, s.cotangents)
    errors = [distance(reshaped(stacked, linear), linear)]
    errors += [distance(replayed, linear), distance(pulled, list(s.pulled))]
    return largest([*errors, *_argmax(s)])


def _argmax(s: LawCase) -> list[float]:
    """The row of every image's largest output, against the row form's and F's own."""
    if len(s.y0) != 1 or s.y0[0].dim() < 2 or not s.batched:
        return []
    y0, index, row, r = s.run("argmax")
    _, rows, shares = s.run("row", index)
    same = [distance([y0], [s.y0[0]]), distance(row, rows), distance([r.flatten()], [shares.flatten()])]
    if s.mixing or not isinstance(s.linear, torch.Tensor):
        return same
    one_hot = torch.zeros_like(y0).flatten(1).scatter(1, index[:, None], 1.0).reshape(y0.shape)
    return [*same, distance(row, tensors_of(s.run("adjoint", one_hot)))]
