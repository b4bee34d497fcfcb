"""An interpreter of one operator in every emitted form, with several numbers of probes and other batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...emit.pipeline import graph_of
from ...errors import FxscopeError
from ...linop.reader import prepare
from ...passes.rewrite import Program

COUNTS = (1, 2, 5)  # of probes: no graph may know the number that another call had
BATCHES = (2, 3)  # graphs are made on the first number of images and read on both


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, relative to 1 + the largest entry."""
    if a.shape != b.shape:
        return float("inf")
    return 0.0 if a.numel() == 0 else float((a - b).detach().abs().max() / (1 + b.detach().abs().max()))


def seeded(function: Any, *given: Any) -> Any:
    """``function(*given)`` under one seed."""
    torch.manual_seed(0)
    return function(*given)


def errors_of_forms(program: Program, x0: torch.Tensor, y0: torch.Tensor) -> dict[str, float]:
    """{law: error} of pair, residual, adjoint, row, record, replay and pullback, against filter and adjoint.

    ``y0`` is the operator's own value under the seed.
    """
    found: dict[str, float] = {}
    forms = ("pair", "filter", "residual", "adjoint", "row", "record", "replay", "pullback")
    graphs = {form: graph_of(program, form, "stacked") for form in forms}

    def say(law: str, error: float) -> None:
        found[law] = max(found.get(law, 0.0), error)

    say("record", off(seeded(graphs["record"], x0)[0], y0))
    _, state = seeded(graphs["record"], x0)
    r = seeded(graphs["residual"], x0)
    for count in COUNTS:
        v = torch.randn(count, *x0.shape, dtype=x0.dtype)
        forward = seeded(graphs["filter"], x0, v)
        u = torch.randn_like(forward)
        back = seeded(graphs["adjoint"], x0, u)
        say("replay", off(graphs["replay"](state, v), forward))
        say("pullback", off(graphs["pullback"](state, u), back))
        say("filter against adjoint", dot(forward, u, v, back))
        own, y1 = seeded(graphs["pair"], x0, v)
        say("pair", max(off(own, y0), off(y1, forward + r)))
        say("row", _row(graphs["row"], x0, count, y0, forward, v))
    return found


def _row(graph: nn.Module, x0: torch.Tensor, count: int, y0: torch.Tensor, forward: Any, v: Any) -> float:
    """<row, v> is F v there, and <row, x0> + r is y0 there."""
    images, size = x0.shape[0], y0[0].numel()
    index = torch.randint(size, (count, images)) if len(y0) == images else torch.zeros(count, images).long()
    own, row, r = seeded(graph, x0, index)
    at = y0.reshape(images, size).T[index, torch.arange(images)]
    there = forward.reshape(count, images, size).gather(2, index[..., None])[..., 0]
    return max(off(own, y0), _off_sum(row * x0, r, at), _off_sum(row * v, torch.zeros_like(r), there))


def _off_sum(terms: torch.Tensor, rest: torch.Tensor, value: torch.Tensor) -> float:
    """How far the terms of each probe and image and the rest add up from a value.

    It is relative to 1 + the sum of their magnitudes: beside a pole, large terms cancel.
    """
    terms = terms.reshape(*rest.shape, -1)
    error, size = (terms.sum(2) + rest - value).abs(), terms.abs().sum(2) + rest.abs()
    return float((error / (1 + size)).detach().max())


def dot(forward: torch.Tensor, u: torch.Tensor, v: torch.Tensor, back: torch.Tensor) -> float:
    """How far <F v_i, u_j> is from <v_i, F^T u_j>, for every pair."""
    a = forward.reshape(len(v), -1) @ u.reshape(len(u), -1).T
    b = v.reshape(len(v), -1) @ back.reshape(len(u), -1).T
    return off(a, b)


class Batched(nn.Module):
    """The operator on a whole batch at once, where it treats the images one by one: x -> op(x)."""

    def __init__(self, one: Any):
        super().__init__()
        self.one = one

    def forward(self, x):
        """The operator's output for a batch."""
        return self.one.called(x)


def errors_of_batches(one: Any, x0: torch.Tensor, policy: str, unknown: str) -> tuple[str, dict[str, float]]:
    """("free", "specialised" or "", errors) of the operator on batches that the graphs were not made on.

    "" where the operator does not treat the images of a batch one by one. Every image's F x1 and F^T y2 are
    those of the image alone.
    """
    model = Batched(one)
    images = x0 * (1 - 1e-2 * torch.rand(BATCHES[-1], *x0.shape[1:], dtype=x0.dtype))
    alone = _alone(model, one, images)
    if alone is None:
        return "", {}
    made = {"policy": policy, "unknown": unknown}
    reader = prepare(model, images[: BATCHES[0]], **made)
    found: dict[str, float] = {}
    single = prepare(one, images[:1], **made)
    program = reader(images[: BATCHES[0]]).program
    free = "free"
    for count in BATCHES:
        x = images[:count]
        v = torch.randn(2, *x.shape, dtype=x.dtype)
        try:
            forward = graph_of(program, "filter", "stacked")(x, v)
            u = torch.randn_like(forward)
            back = graph_of(program, "adjoint", "stacked")(x, u)
        except (FxscopeError, AssertionError, RuntimeError):
            if count == BATCHES[0]:
                raise
            free = "specialised"  # the graph asserts the batch that it was made for
            break
        for law, error in errors_of_forms(program, x, alone[:count]).items():
            found[f"B={count}, {law}"] = error
        for i in range(count):
            lin = single(images[i : i + 1])
            found[f"B={count}, image {i}"] = max(
                off(lin.F @ v[:, i : i + 1], forward[:, i : i + 1]),
                off(lin.F.T @ u[:, i : i + 1], back[:, i : i + 1]),
            )
    return free, found


def _alone(model: nn.Module, one: nn.Module, images: torch.Tensor) -> torch.Tensor | None:
    """The outputs of the images one by one, if the operator on all of them gives the same; else None."""
    try:
        alone = torch.cat([one(x[None]) for x in images])
        together = model(images)
    except Exception:  # the operator checks its arguments in its own way
        return None
    same = together.shape == alone.shape and bool(torch.isfinite(alone).all()) and off(together, alone) < 1e-9
    return alone if same else None
