"""The groups of entry points that a case of the zoo is walked over.

``GROUPS`` names them; each is a function of a ``Walk`` that raises ``AssertionError`` where a result is
wrong.
``python tests/zoo_groups.py [NAME]`` lists what was refused, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from zoo_products import operators, saved, verified
from zoo_walk import (
    BOUND,
    K,
    Walk,
    batched,
    flat,
    floating,
    image,
    largest,
    mapped,
    norm,
    right,
    scale_of,
    tensors,
)

import fxscope
from fxscope.emit import FORMS, emit
from fxscope.emit.pipeline import program_of
from fxscope.linop.memory import MODES

# ---- interpret


def reading(walk: Walk) -> None:
    """interpret: y0, eq. 3, F x0 + r = y0, F^T."""
    walk.lin
    right(flat(walk.lin.y0), flat(walk.y0), "y0")
    x = walk.lin.x
    size = scale_of(walk)
    right(walk.D @ x.flatten() + walk.r, flat(walk.y0), "F x0 + r", size)
    one = x[0] if not walk.lin.F.inputs.batched else x
    right(flat(walk.seeded(lambda: walk.lin(one))), flat(walk.y0), "lin(x)", size)
    right(flat(walk.seeded(lambda: walk.lin.F @ one)), walk.D @ x.flatten(), "F @ x", size)
    assert walk.seeded(lambda: walk.lin.error) <= BOUND * max(1.0, size / norm(walk.y0)), "lin.error"
    right(walk.seeded(lambda: dense_of_transpose(walk.lin)), walk.D.T, "F^T", largest(walk.D))


def memories(walk: Walk) -> None:
    """F is the same in every memory mode."""
    for memory in MODES:
        if memory != "record":
            right(
                walk.seeded(lambda: walk.interpret(memory=memory).F.to_dense()),
                walk.D,
                f"F, memory={memory!r}",
            )


def dense_of_transpose(lin: Any) -> torch.Tensor:
    """F^T (n, N), from its action on every unit vector of the outputs."""
    return lin.F.T.flat @ torch.eye(lin.F.shape[0], dtype=lin.F.outputs.dtype)


def taylor(walk: Walk) -> None:
    """Policy "taylor": F is the Jacobian of the untouched model, F^T its transpose."""
    lin = walk.interpret(policy="taylor")
    right(walk.seeded(lambda: lin.F.to_dense()), walk.J, "F under 'taylor'")
    right(walk.seeded(lambda: dense_of_transpose(lin)), walk.J.T, "F^T under 'taylor'")
    right(flat(lin.y0), flat(walk.y0), "y0")


def rows(walk: Walk) -> None:
    """row, column, rows, columns against F.

    Contributions sum to y0[index], and their linear part is <row, x0>.
    """
    lin = walk.lin
    for number, index, entries in outputs_of(lin):
        expected = walk.D[entries].sum(0).reshape(lin.F.inputs.shapes[0])
        row = walk.may_refuse("row", lambda: lin.F.row(index))
        if row is not None:
            right(row, expected, f"row {index}", largest(walk.D))
            again = walk.seeded(lambda: lin.F.rows([index, index], progress=False)[1])
            right(again, expected, f"rows {index}", largest(walk.D))
        _contributions(walk, number, index, entries)
    _column(walk)


def _contributions(walk: Walk, number: int, index: Any, entries: torch.Tensor) -> None:
    found = walk.may_refuse("contributions", lambda: walk.lin.contributions(index))
    if found is None:
        return
    size, said = scale_of(walk), f"contributions {index}"
    y = floating(walk.y0)[number].flatten()[entries - entries_before(walk.lin, number)]
    right(torch.as_tensor(found.output, dtype=y.dtype).reshape(-1), y, f"{said}: output", size)
    right(torch.as_tensor(found.total, dtype=y.dtype).reshape(-1), y, f"{said}: their sum", size)
    if walk.case.independent:
        right(
            torch.as_tensor(found.linear).reshape(-1),
            walk.D[entries] @ walk.lin.x.flatten(),
            f"{said}: F x0",
            size,
        )


def _column(walk: Walk) -> None:
    lin = walk.lin
    shape = lin.F.inputs.shapes[0][1:] if lin.F.inputs.batched else lin.F.inputs.shapes[0]
    index = tuple(n // 2 for n in shape)
    count = torch.Size(shape).numel()
    place = int(torch.arange(count).reshape(shape)[index])
    entries = torch.arange(place, walk.D.shape[1], count)
    column = walk.may_refuse("column", lambda: lin.F.column(index))
    if column is not None:
        right(flat(column), walk.D[:, entries].sum(1), f"column {index}", largest(walk.D))
        right(
            flat(lin.F.columns([index], progress=False)),
            walk.D[:, entries].sum(1),
            f"columns {index}",
            largest(walk.D),
        )


def outputs_of(lin: Any) -> Iterator[tuple[int, Any, torch.Tensor]]:
    """(number of the output, an index in it, the places of that index in the flattened outputs,
    one an image).
    """
    space = lin.F.outputs
    for number, (shape, key) in enumerate(zip(space.shapes, space.keys)):
        shape = shape[1:] if space.batched else shape
        index: tuple = tuple((n - 1) * (i % 2) for i, n in enumerate(shape))
        count = torch.Size(shape).numel()
        if not count:
            continue
        place = int(torch.arange(count).reshape(shape)[index]) if shape else 0
        images = lin.batch if space.batched else 1
        entries = entries_before(lin, number) + place + count * torch.arange(images)
        keys = key if isinstance(key, tuple) else (key,)
        yield number, (*keys, *index) if len(space.shapes) > 1 else index, entries


def entries_before(lin: Any, number: int) -> int:
    return sum(torch.Size(s).numel() for s in lin.F.outputs.shapes[:number])


# ---- emitted graphs


def with_example(walk: Walk) -> None:
    """Every emitted form, flat and stacked, of a graph made with the example."""
    _forms(walk, walk.seeded(lambda: program_of(walk.model, example_inputs=walk.args)), "with example", ())
    scope = walk.seeded(lambda: fxscope.transform(walk.model, example_inputs=walk.args))
    y0, y1 = walk.seeded(lambda: walk.kept(scope, *walk.tensors, walk.lin.x))
    right(flat(y0), flat(walk.y0), "pair at x0: y0")
    right(flat(y1), flat(walk.y0), "pair at x1 = x0: y1", scale_of(walk))


def without_example(walk: Walk) -> None:
    """The same forms of a graph made without an example: the same F, or refused."""
    program = program_alone(walk)
    if program is not None:
        _forms(walk, program, "without example", (AssertionError,))


def program_alone(walk: Walk) -> Any:
    """The program made without an example, where the graph takes the inputs that the case gives."""
    if len(walk.tensors) != len(walk.args):
        return None  # a value or a structure among the arguments: only an example tells it
    program = walk.may_refuse("transform without example", lambda: program_of(walk.model))
    if program is None or sum(n.op == "placeholder" for n in program.gm.graph.nodes) != len(walk.args):
        return None  # an optional argument that is given: without an example its default is fixed
    return program


def _forms(walk: Walk, program: Any, said: str, loud: tuple) -> None:
    for probes in ("flat", "stacked"):
        graphs = {}
        for form in FORMS:
            graphs[form] = walk.may_refuse(
                f"{form} {said}", lambda: emit(program, form, probes).train(walk.model.training)
            )
        _run_forms(walk, {k: g for k, g in graphs.items() if g is not None}, probes == "stacked", said, loud)


def _run_forms(walk: Walk, graphs: dict[str, Any], stacked: bool, said: str, loud: tuple) -> None:
    """Every form on K probes and K cotangents, against the dense F."""
    V = walk.probes.reshape(K, -1)
    U = torch.cat([t.reshape(K, -1) for t in floating(walk.cotangents)], 1)
    Fv, FTu = V @ walk.D.T, U @ walk.D
    v, u = (
        mapped(lambda t: t if stacked or t.dim() == 1 else t.flatten(0, 1), given)
        for given in (walk.probes, walk.cotangents)
    )
    size, back = max(scale_of(walk), largest(Fv)), largest(FTu)

    def run(form: str, *inputs: Any) -> Any:
        return (
            None
            if form not in graphs
            else walk.may_refuse(f"{form} {said}", lambda: walk.kept(graphs[form], *inputs), loud)
        )

    def hold(form: str, found: Any, expected: torch.Tensor, scale: float, each: Callable = _by_probe) -> None:
        if found is not None:
            right(each(found), expected, f"{form}, {'stacked' if stacked else 'flat'}, {said}", scale)

    pair, record = run("pair", *walk.tensors, v), run("record", *walk.tensors)
    if pair is not None:
        hold("pair: y0", pair[0], flat(walk.y0), norm(walk.y0), flat)
        hold("pair: y1", pair[1], Fv + walk.r, size)
    hold("filter", run("filter", *walk.tensors, v), Fv, size)
    hold("residual", run("residual", *walk.tensors), walk.r, size, flat)
    hold("adjoint", run("adjoint", *walk.tensors, u), FTu, back)
    if record is not None:
        hold("record: y0", record[0], flat(walk.y0), norm(walk.y0), flat)
        hold("replay", run("replay", record[1], v), Fv, size)
        hold("pullback", run("pullback", record[1], u), FTu, back)
    _rows_of_graphs(walk, run, hold, stacked)


def _by_probe(value: Any) -> torch.Tensor:
    """The floating tensors of (K*B, ...) or (K, B, ...), as (K, entries)."""
    return torch.cat([t.reshape(K, -1) for t in floating(value)], 1)


def _rows_of_graphs(walk: Walk, run: Callable, hold: Callable, stacked: bool) -> None:
    """emit="row" and "argmax" against rows of F: <row, x0> + r = y0[index] for every image."""
    ys, B = floating(walk.y0), walk.B
    if not walk.case.independent or len(ys) != 1 or not ys[0].dim() or ys[0].shape[0] != B:
        return
    y, images = ys[0].reshape(B, -1), torch.arange(B)
    index = torch.randint(y.shape[1], (K, B), generator=torch.Generator().manual_seed(3))
    size = scale_of(walk)
    for form, places in (("row", index), ("argmax", y.argmax(1)[None])):
        found = run(
            form, *walk.tensors, *([places if stacked else places.flatten()] if form == "row" else [])
        )
        if found is None:
            continue
        row, r = found[-2].reshape(len(places), B, -1), found[-1].reshape(len(places), B)
        at = places + y.shape[1] * images
        linear = (row * walk.lin.x.reshape(B, -1)).sum(-1)
        hold(f"{form}: y0", found[0], flat(walk.y0), norm(walk.y0), flat)
        hold(f"{form}: row", row, walk.D.reshape(len(walk.D), B, -1)[at, images], largest(walk.D), _itself)
        hold(f"{form}: r", r, walk.r[at], size, _itself)
        hold(f"{form}: <row, x0> + r", linear + r, y.flatten()[at], size, _itself)


def _itself(value: torch.Tensor) -> torch.Tensor:
    return value


# ---- law 13: F depends on the network, the policy and the values of x0


def alone(walk: Walk) -> None:
    """F and r of an image alone are those inside the batch, and the images of a batch do not mix."""
    if not walk.case.independent or not batched(walk):
        return
    D, r = blocks(walk, walk.D), walk.r
    for b in range(walk.B):
        single = walk.may_refuse("interpret alone", lambda: walk.interpret(image(walk.args, b, walk.B)))
        if single is None:
            continue
        right(walk.seeded(lambda: single.F.to_dense()), D[b][b], f"F of image {b} alone", largest(walk.D))
        right(
            flat(walk.seeded(lambda: single.residual)),
            r_of(walk, r, b),
            f"r of image {b} alone",
            scale_of(walk),
        )
    for b in range(walk.B):
        for other in set(range(walk.B)) - {b}:
            assert not D[b][other].any(), f"image {b} reads image {other}"


def blocks(walk: Walk, D: torch.Tensor) -> list[list[torch.Tensor]]:
    """D by image of the outputs and image of the inputs."""
    B = walk.B
    counts = [t.numel() for t in floating(walk.y0)]
    parts = [part.reshape(B, -1, B, D.shape[1] // B) for part in D.split(counts)]
    return [[torch.cat([p[b, :, c] for p in parts]) for c in range(B)] for b in range(B)]


def r_of(walk: Walk, r: torch.Tensor, b: int) -> torch.Tensor:
    return torch.cat(
        [part.reshape(walk.B, -1)[b] for part in r.split([t.numel() for t in floating(walk.y0)])]
    )


def other_sizes(walk: Walk) -> None:
    """A graph made without an example, or with one of another size,
    gives at other sizes what ``interpret`` gives there; or it says so loudly.
    """
    calls = (
        [image(walk.args, 0, walk.B)] if batched(walk) and walk.case.independent and walk.case.free else []
    )
    calls += [walk.case.resized(walk.args, shape) for shape in walk.case.sizes]
    made = (
        {
            "without example": program_alone(walk),
            "with example": walk.seeded(lambda: program_of(walk.model, example_inputs=walk.args)),
        }
        if calls
        else {}
    )
    for args in calls:
        lin = walk.interpret(args)
        D, r = walk.seeded(lambda: lin.F.to_dense()), flat(walk.seeded(lambda: lin.residual))
        right(D @ lin.x.flatten() + r, flat(walk.output(args)), "F x0 + r at another size", None)
        v = torch.randn(K, *lin.x.shape, generator=torch.Generator().manual_seed(4), dtype=lin.x.dtype)
        for said, program in made.items():
            graph = (
                None if program is None else walk.may_refuse(said, lambda: emit(program, "pair", "stacked"))
            )
            found = (
                None
                if graph is None
                else walk.may_refuse(
                    f"at another size, {said}",
                    lambda: walk.kept(graph.train(walk.model.training), *tensors(args), v),
                    (AssertionError,),
                )
            )
            if found is not None:
                right(
                    flat(found[0]),
                    flat(walk.output(args)),
                    f"y0 at {[tuple(t.shape) for t in tensors(args)]}, {said}",
                )
                right(
                    _by_probe(found[1]),
                    v.reshape(K, -1) @ D.T + r,
                    f"y1 at {[tuple(t.shape) for t in tensors(args)]}, {said}",
                    max(1.0, largest(D)),
                )


def frontends(walk: Walk) -> None:
    """Both frontends give the same F and r."""
    for frontend in ("symbolic", "export"):
        lin = walk.may_refuse(f"frontend={frontend!r}", lambda: walk.interpret(frontend=frontend))
        if lin is not None:
            right(walk.seeded(lambda: lin.F.to_dense()), walk.D, f"F, frontend={frontend!r}")
            right(
                flat(walk.seeded(lambda: lin.residual)), walk.r, f"r, frontend={frontend!r}", scale_of(walk)
            )


GROUPS: dict[str, Callable[[Walk], None]] = {
    "reading": reading,
    "memories": memories,
    "taylor": taylor,
    "rows": rows,
    "with_example": with_example,
    "without_example": without_example,
    "alone": alone,
    "other_sizes": other_sizes,
    "frontends": frontends,
    "operators": operators,
    "verified": verified,
    "saved": saved,
}


def refused(walk: Walk, kind: type[Exception]) -> None:
    """A case that is refused is refused by every entry point, and by that error alone."""
    for call in (
        walk.interpret,
        lambda: fxscope.transform(walk.model, example_inputs=walk.args),
        lambda: fxscope.transform(walk.model, "adjoint", example_inputs=walk.args),
    ):
        try:
            walk.seeded(call)
        except kind:
            continue
        raise AssertionError(f"{walk.case.name} is declared as refused by {kind.__name__}, and was not")


def main() -> None:
    """Print what every case (or the one that is named) refused, and why."""
    import logging
    import sys

    from zoo import CASES

    logging.disable(logging.WARNING)
    for case in CASES:
        if len(sys.argv) > 1 and sys.argv[1] not in case.name:
            continue
        walk = Walk(case)
        for name, group in GROUPS.items():
            try:
                group(walk) if case.refused is None else refused(walk, case.refused)
            except Exception as error:
                print(f"{case.name} [{name}] WRONG: {type(error).__name__}: {' '.join(str(error).split())}")
        for entry, message in dict(walk.refusals).items():
            print(f"{case.name} {entry}: {message}")


if __name__ == "__main__":
    main()
