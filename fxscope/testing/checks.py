"""Laws 1 to 11 on a ``LawCase``: each returns the largest relative error, or a whole ``Law``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.fx as fx

from ..errors import first_line
from ..graph.ir import info
from ..passes.outputs import tensors_of
from .laws import Law, NotChecked, distance, largest, reshaped
from .structure import tensors_in

if TYPE_CHECKING:
    from .case import LawCase

EXACT = {torch.float64: 1e-12, torch.float32: 1e-5}  # bounds for y0, which the same kernels compute
HEADS = 8  # number of outputs whose contributions are summed
STATEMENT_1 = "y0 is the untouched model's output"
STATEMENT_8 = "F x0 + r = y0 = the sum of contributions"
STATEMENT_9 = "no edge leads from x1 to y0"
STATEMENT_11 = "probes and images do not mix"


def law_1(s: LawCase) -> Law:
    """y0 is the untouched model's output."""
    if s.outputs is not None:
        raise NotChecked("outputs= names places inside the model, whose values it does not hand out")
    dtype = next((t.dtype for t in s.y0 if t.is_floating_point()), torch.float64)
    return Law("law 1", STATEMENT_1, distance(s.y0, s.expected), EXACT.get(dtype, 1e-2))


def law_2(s: LawCase) -> float:
    """y1 = y0 at x1 = x0 (paper, eq. 3)."""
    y0, y1 = s.pair_at_x0
    return distance(reshaped(y1, y0), y0)


def law_3(s: LawCase, a: float = 0.7, b: float = -1.3) -> float:
    """F (a u + b v) = a F u + b F v, and F 0 = 0."""
    mixed = tuple(torch.stack([a * p[0] + b * p[1], torch.zeros_like(p[0])]).flatten(0, 1) for p in s.probes)
    got = [t.unflatten(0, (2, -1)) for t in s.affine(tensors_of(s.run("filter", *mixed)))]
    each = [t.unflatten(0, (s.K, -1)) for t in s.affine(tensors_of(s.linear))]
    zero = largest(t[1].abs().max().item() for t in got if t.numel())
    return largest([zero, distance([t[0] for t in got], [a * t[0] + b * t[1] for t in each])])


def law_4(s: LawCase) -> float:
    """The pair's y1 is the filter's output plus the residual."""
    return distance(s.together, [f + _tiled(r, f) for r, f in zip(s.r, tensors_of(s.linear), strict=True)])


def _tiled(r: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """R of (B, ...) for every probe: (K*B, ...); an output without a batch gets K in front."""
    if r.dim() == 0 or r.shape == like.shape:
        return r.expand(like.shape)
    return r.repeat(like.shape[0] // r.shape[0], *[1] * (r.dim() - 1))


def law_5(s: LawCase) -> float:
    """<F u, v> = <u, F^T v> for every probe, relative to the largest sum of the products' magnitudes."""
    outputs, given = s.affine(tensors_of(s.linear)), s.affine(tensors_in(s.cotangents))
    products = [(a * b).unflatten(0, (s.K, -1)).flatten(1) for a, b in zip(outputs, given, strict=True)]
    left, sizes = sum(p.sum(1) for p in products), sum(p.abs().sum(1) for p in products)
    right = sum(
        (u * x.unflatten(0, (s.K, -1))).flatten(1).sum(1) for u, x in zip(s.probes, s.pulled, strict=True)
    )
    scale = sizes.max().item()
    return (left - right).abs().max().item() / (scale if scale > 0 else 1.0)


def eq_8(s: LawCase) -> float:
    """F x0 + r = y0 over all outputs."""
    f = tensors_of(s.run("filter", *s.x))
    return distance([a + b for a, b in zip(f, reshaped(s.r, f), strict=True)], reshaped(s.y0, f))


def law_8(s: LawCase) -> Law:
    """F x0 + r = y0 over all outputs, and the sum of contributions to two entries of every output."""
    errors, statement = [eq_8(s)], STATEMENT_8
    if not s.batched and s.batch > 1:
        statement = "F x0 + r = y0 (the batch is not the first dimension: no contributions)"
    else:
        scale = largest(t.abs().max().item() for t in s.affine(s.y0)) or 1.0
        with s.calm():
            errors += [_missing(s, each) / scale for each in s.lin.iter_contributions(_places(s))]
    return Law("law 8", statement, largest(errors), s.bound)


def _missing(s: LawCase, found: Any) -> float:
    """What the contributions lack; summed over the images if they mix or are not the leading dimension."""
    total, output = (torch.as_tensor(v, dtype=torch.float64) for v in (found.total, found.output))
    return (total.sum() - output.sum() if s.mixing or not s.batched else total - output).abs().max().item()


def _places(s: LawCase) -> list[Any]:
    """An entry in the middle of every output, and its last one.

    An output without the batch is left out: it has no entry of one image.
    """
    space = s.lin.F.outputs
    found: list[Any] = []
    for shape, key in list(zip(space.shapes, space.keys))[:HEADS]:
        if len(space.shapes) > 1 and space.batched and shape[:1] != (s.batch,):
            continue
        shape, keys = shape[1:] if space.batched else shape, key if isinstance(key, tuple) else (key,)
        head = keys if len(space.shapes) > 1 else ()
        found += [(*head, *(n // 2 for n in shape)), (*head, *(n - 1 for n in shape))]
    return found


def law_8_rows(s: LawCase) -> float:
    """<row, x0> + r_k = y0[index] and <row, v> = (F v)[index], for K entries of every image."""
    if len(s.y0) != 1 or s.y0[0].dim() < 2 or not s.batched:
        raise NotChecked("the row form is about one output, of shape (B, ...)")
    y0, N = s.y0[0].flatten(1), s.y0[0][0].numel()
    index = torch.randint(N, (s.K, s.batch), generator=s.rng)
    index[0, 0] = N - 1
    y, rows, r = s.run("row", index.flatten().to(y0.device))
    rows = rows if isinstance(rows, tuple) else (rows,)
    rows = [row.reshape(s.K, s.batch, -1) for row in rows]
    at_x0 = sum((row * x.reshape(s.batch, -1)).sum(-1) for row, x in zip(rows, s.x)) + r.reshape(s.K, s.batch)
    at_v = sum((row * p.reshape(s.K, s.batch, -1)).sum(-1) for row, p in zip(rows, s.probes))
    images, places = torch.arange(s.batch), index
    of_v = tensors_of(s.linear)[0].reshape(s.K, s.batch, -1)[torch.arange(s.K)[:, None], images, places]
    pairs = [(at_x0, y0[images, places]), (at_v, of_v)]
    if s.mixing:
        pairs = [(a.sum(1), b.sum(1)) for a, b in pairs]
    scales = [_largest_finite(t) for t in (y0, tensors_of(s.linear)[0])]
    errors = [
        torch.where(a == b, 0.0, a - b).abs().max().item() / scale for (a, b), scale in zip(pairs, scales)
    ]
    return largest([distance([y], [s.y0[0]]), *errors])


def _largest_finite(value: torch.Tensor) -> float:
    """The largest finite magnitude (a masked score may be -inf); 1 if all are 0."""
    return value[torch.isfinite(value)].abs().max().item() or 1.0


def law_9(s: LawCase) -> Law:
    """The number of edges from the interpreter into the original branch, and of undeclared ones, is 0."""
    graphs = [s.form(name) for name in ("pair", "filter", "residual")]
    return Law("law 9", STATEMENT_9, float(sum(len(crossings(graph)) for graph in graphs)), 0.0)


def crossings(gm: fx.GraphModule) -> list[str]:
    """Edges from the interpreter into the original branch, and undeclared ones between them: must be none."""
    bad = []
    for node in gm.graph.nodes:
        for source in node.all_input_nodes:
            branches = info(source).branch, info(node).branch
            if branches == ("interpreter", "original") and node.op != "output":
                bad.append(f"{source.name} -> {node.name}")
            undeclared = info(source).role != "const" and source.name not in info(node).freezes
            if branches == ("original", "interpreter") and undeclared:
                bad.append(f"{source.name} -> {node.name} is not declared")
    return bad


def law_11(s: LawCase) -> Law:
    """A stack of K probes equals K calls; if the images of a batch are independent, K*B calls."""
    stacks = [t.unflatten(0, (s.K, -1)) for t in s.together]
    errors = [distance(reshaped([t[k] for t in stacks], one), one) for k, one in enumerate(s.alone)]
    reason, statement = _not_apart(s), STATEMENT_11
    if reason:
        return Law("law 11", f"probes do not mix ({reason})", largest(errors), s.bound)
    if _fixed(s):
        statement += " (each alone in a graph for one batch size)"
    return Law("law 11", statement, largest([*errors, *(_alone(s, b) for b in range(s.batch))]), s.bound)


def _fixed(s: LawCase) -> bool:
    return s.program.gm.meta["frontend"].get("batch", "free") != "free"


def _not_apart(s: LawCase) -> str:
    """Why the images of the batch are not independent; "" if they are."""
    if s.batch == 1:
        return "one image was given"
    if any(x.dim() == 0 or x.shape[0] != s.batch for x in s.x):
        return "the batch is not the first dimension of the probed place"
    return s.mixing


def _alone(s: LawCase, b: int) -> float:
    """One image and each of its probes in a call of their own.

    A graph that holds for one batch size is made again for one image.
    """
    one = s.image(b)
    if _fixed(s):
        one = s.first_remade.but(one.example, probes=one.probes)
    try:
        found = one.alone
    except (AssertionError, RuntimeError) as error:  # made for one batch size, and it says so
        raise NotChecked(f"the graph takes no image alone: {first_line(error, 200)}") from error
    cut = [[t[b : b + 1] if t.dim() else t for t in outputs] for outputs in s.alone]
    return largest(distance(a, c) for a, c in zip(cut, found, strict=True))
