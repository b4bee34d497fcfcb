"""The walk of one case of the zoo over the public entry points, against autograd of the untouched model.

``GROUPS`` names the groups of entry points; each is a function of a ``Walk`` that raises ``AssertionError`` where a result is wrong. An entry point may
refuse by an ``FxscopeError``, except ``interpret`` itself. ``python tests/zoo_walk.py [NAME]`` lists what was refused, and why.

B images, n inputs, N outputs; J is the dense Jacobian (N, n) of the untouched model by torch.autograd, D is F as a dense matrix, K probes.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any, Callable, Iterator

import torch
from torch.utils import _pytree as pytree

import fxscope
from fxscope.emit import FORMS, emit
from fxscope.errors import FxscopeError, ImagesMix, NotConverged
from fxscope.operator.memory import MODES
from fxscope.transform import main_output, program_of
from zoo import Case

BOUND = 1e-8
SEED = 5
K = 3
MOST = 600  # rows of the Jacobian: a case with more is too large for the zoo


def floating(value: Any) -> list[torch.Tensor]:
    """The floating (or complex) tensors of an output structure, in order: what F gives."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() or value.is_complex() else []
    if isinstance(value, dict):
        value = list(value.values())
    if hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    return [t for v in value for t in floating(v)] if isinstance(value, (list, tuple)) else []


def mapped(function: Callable, value: Any) -> Any:
    """A structure of the same kind with a function applied to its tensors."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)({k: mapped(function, v) for k, v in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(function, v) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(function, v) for v in value)
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{name: mapped(function, getattr(value, name)) for name in value.__dataclass_fields__})
    return value


def flat(value: Any) -> torch.Tensor:
    """All floating entries of a structure as one vector."""
    return torch.cat([t.flatten() for t in floating(value)])


def right(got: torch.Tensor, expected: torch.Tensor, what: str, scale: float | None = None) -> None:
    """Hold two tensors against each other: to ``BOUND`` of the largest expected entry (or of ``scale``)."""
    assert got.shape == expected.shape, f"{what}: got the shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    got, expected = got.detach(), expected.detach()
    if not expected.numel():
        return
    scale = max(float(expected.abs().max()) if scale is None else scale, 1e-12)
    error = float((got - expected).abs().max()) / scale
    assert error <= BOUND, f"{what}: off by {error:.2e} of {scale:.3g}"


def sampled(name: str, one_in: int) -> bool:
    """Whether a case belongs to a fixed sample: by its name, so that new cases do not move it."""
    return zlib.crc32(name.encode()) % one_in == 0


class Walk:
    """One case with its model and inputs, the reference by autograd, and the interpreter that most groups look at."""

    def __init__(self, case: Case):
        self.case = case
        self.model = case.build()
        self.args = case.inputs(torch.Generator().manual_seed(0))
        self.refusals: list[tuple[str, str]] = []

    # ---- the reference

    @functools.cached_property
    def y0(self) -> Any:
        return self.output(self.args)

    def output(self, args: tuple) -> Any:
        """What the untouched model gives."""
        model = copy.deepcopy(self.model)
        return self.seeded(lambda: main_output(model(*clones(args))))

    @functools.cached_property
    def J(self) -> torch.Tensor:
        return self.jacobian(self.args)

    def jacobian(self, args: tuple) -> torch.Tensor:
        """(N, n), by a reverse pass from every floating output of a copy of the model; rows of outputs without a gradient are 0."""
        model = copy.deepcopy(self.model)
        function, x = self.case.place(model, clones(args)) if self.case.place else first_input(model, clones(args))
        x = x.detach().clone().requires_grad_()
        y = self.seeded(lambda: flat(main_output(function(x))), grad=True)
        assert y.numel() <= MOST, f"{self.case.name} has {y.numel()} outputs; the zoo's cases have at most {MOST}"
        if not y.requires_grad:
            return torch.zeros(y.numel(), x.numel(), dtype=x.dtype)
        rows = [row_of(v, x) for v in y]
        return torch.stack(rows)

    def seeded(self, call: Callable, grad: bool = False) -> Any:
        """The call under the zoo's one seed, where the model draws."""
        with torch.random.fork_rng(devices=[]), quiet(), torch.set_grad_enabled(grad):
            torch.manual_seed(SEED)
            return call()

    # ---- the interpreter

    @functools.cached_property
    def lin(self) -> Any:
        return self.interpret()

    def interpret(self, args: tuple | None = None, **options: Any) -> Any:
        return self.seeded(lambda: fxscope.interpret(self.model, *(self.args if args is None else args), **options))

    @functools.cached_property
    def D(self) -> torch.Tensor:
        return self.seeded(lambda: self.lin.F.to_dense())

    @functools.cached_property
    def r(self) -> torch.Tensor:
        return flat(self.seeded(lambda: self.lin.residual))

    @property
    def B(self) -> int:
        return self.lin.batch

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tensors(self.args)

    @functools.cached_property
    def probes(self) -> torch.Tensor:
        """K probes of x, (K, *x.shape)."""
        x = self.lin.x
        return torch.randn(K, *x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)

    @functools.cached_property
    def cotangents(self) -> Any:
        """K random y2 in the outputs' structure, (K, *shape) each; zeros for outputs that are no floating tensors."""
        generator = torch.Generator().manual_seed(2)

        def draw(t: torch.Tensor) -> torch.Tensor:
            if t.is_floating_point() or t.is_complex():
                return torch.randn(K, *t.shape, generator=generator, dtype=t.dtype)
            return torch.zeros(K, *t.shape, dtype=t.dtype)

        return mapped(draw, self.y0)

    def may_refuse(self, entry: str, call: Callable, loud: tuple[type[Exception], ...] = ()) -> Any:
        """The call's value; None where it is refused by an ``FxscopeError`` (or one of ``loud``), which is noted."""
        try:
            return self.seeded(call)
        except (FxscopeError, *loud) as error:
            self.refusals.append((entry, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"))
            return None


def tensors(args: tuple) -> tuple[torch.Tensor, ...]:
    """The tensors of a call in the order in which graphs take them."""
    return tuple(t for t in pytree.tree_leaves(args) if isinstance(t, torch.Tensor))


def clones(args: tuple) -> tuple:
    return pytree.tree_map(lambda v: v.clone() if isinstance(v, torch.Tensor) else v, args)


def image(args: tuple, b: int, batch: int) -> tuple:
    """The arguments of one image of the batch."""
    return pytree.tree_map(lambda v: v[b : b + 1] if isinstance(v, torch.Tensor) and v.dim() and v.shape[0] == batch else v, args)


def first_input(model: Any, args: tuple) -> tuple[Callable, torch.Tensor]:
    """The model as a function of its first tensor, and that tensor."""
    leaves, spec = pytree.tree_flatten(args)
    at = next(i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor))
    # a clone, which the model may write into
    return lambda x: model(*pytree.tree_unflatten([*leaves[:at], x.clone(), *leaves[at + 1 :]], spec)), leaves[at]


def row_of(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The gradient of one output, flat; of a complex one that of its parts."""
    parts = [value.real, value.imag] if value.is_complex() else [value]
    found = [torch.autograd.grad(part, x, retain_graph=True, allow_unused=True, materialize_grads=True)[0].flatten() for part in parts]
    return torch.complex(found[0].double(), found[1].double()) if len(found) == 2 else found[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that say what the zoo knows: images that mix, values that have not converged."""
    with warnings.catch_warnings():
        for kind in (ImagesMix, NotConverged):
            warnings.simplefilter("ignore", kind)
        yield


# ---- interpret


def reading(walk: Walk) -> None:
    """interpret: y0, eq. 3, F x0 + r = y0, F^T, in every memory mode."""
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
    for memory in MODES:
        if memory != "record":
            right(walk.seeded(lambda: walk.interpret(memory=memory).F.to_dense()), walk.D, f"F, memory={memory!r}")


def norm(y: Any) -> float:
    return max(float(flat(y).norm()), 1e-12)


def scale_of(walk: Walk) -> float:
    """The size of what is summed in F x0 + r, of which the rounding is a fraction."""
    return max(float((walk.D.abs() @ walk.lin.x.flatten().abs() + walk.r.abs()).max()), 1e-12)


def largest(matrix: torch.Tensor) -> float:
    return float(matrix.abs().max()) if matrix.numel() else 0.0


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
    """row, column, rows, columns against F; contributions sum to y0[index], and their linear part is <row, x0>."""
    lin = walk.lin
    for number, shape, index, entries in outputs_of(lin):
        expected = walk.D[entries].sum(0).reshape(lin.F.inputs.shapes[0])
        row = walk.may_refuse("row", lambda: lin.F.row(index))
        if row is not None:
            right(row, expected, f"row {index}", largest(walk.D))
            right(lin.F.rows([index, index], progress=False)[1], expected, f"rows {index}", largest(walk.D))
        found = walk.may_refuse("contributions", lambda: lin.contributions(index))
        if found is not None:
            y = floating(walk.y0)[number].flatten()[entries - entries_before(lin, number)]
            size = scale_of(walk)
            right(torch.as_tensor(found.output).reshape(-1), y, f"contributions {index}: output", size)
            right(torch.as_tensor(found.total).reshape(-1), y, f"contributions {index}: their sum", size)
            per_image = (walk.D[entries].reshape(len(entries), -1) @ lin.x.flatten()) if walk.case.independent else None
            if per_image is not None:
                right(torch.as_tensor(found.linear).reshape(-1), per_image, f"contributions {index}: F x0", size)
    columns(walk)


def columns(walk: Walk) -> None:
    lin = walk.lin
    shape = lin.F.inputs.shapes[0][1:] if lin.F.inputs.batched else lin.F.inputs.shapes[0]
    index = tuple(n // 2 for n in shape)
    count = torch.Size(shape).numel()
    place = int(torch.arange(count).reshape(shape)[index])
    entries = torch.arange(place, walk.D.shape[1], count)
    column = walk.may_refuse("column", lambda: lin.F.column(index))
    if column is not None:
        right(flat(column), walk.D[:, entries].sum(1), f"column {index}", largest(walk.D))
        right(flat(lin.F.columns([index], progress=False)), walk.D[:, entries].sum(1), f"columns {index}", largest(walk.D))


def outputs_of(lin: Any) -> Iterator[tuple[int, tuple, Any, torch.Tensor]]:
    """(number of the output, its shape for one image, an index in it, the places of that index in the flattened outputs, one an image)."""
    space = lin.F.outputs
    named = space.build(list(range(len(space.shapes))))
    for number, shape in enumerate(space.shapes):
        shape = shape[1:] if space.batched else shape
        index: tuple = tuple((n - 1) * (i % 2) for i, n in enumerate(shape))
        count = torch.Size(shape).numel()
        if not count:
            continue
        place = int(torch.arange(count).reshape(shape)[index]) if shape else 0
        before = entries_before(lin, number)
        images = lin.batch if space.batched else 1
        entries = before + place + count * torch.arange(images)
        if len(space.shapes) > 1:
            keys = named.items() if isinstance(named, dict) else enumerate(named)
            key = next((k for k, v in keys if v is number or v == number), None)
            if key is None:
                continue  # nested deeper than one key reaches
            index = (key, *index)
        yield number, shape, index, entries


def entries_before(lin: Any, number: int) -> int:
    return sum(torch.Size(s).numel() for s in lin.F.outputs.shapes[:number])


# ---- emitted graphs


def with_example(walk: Walk) -> None:
    """Every emitted form, flat and stacked, of a graph made with the example."""
    _forms(walk, walk.seeded(lambda: program_of(walk.model, example_inputs=walk.args)), "with example", ())
    scope = walk.seeded(lambda: fxscope.transform(walk.model, example_inputs=walk.args))
    y0, y1 = walk.seeded(lambda: scope(*walk.tensors, walk.lin.x))
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
            graphs[form] = walk.may_refuse(f"{form} {said}", lambda: emit(program, form, probes).train(walk.model.training))
        _run_forms(walk, {k: g for k, g in graphs.items() if g is not None}, probes == "stacked", said, loud)


def _run_forms(walk: Walk, graphs: dict[str, Any], stacked: bool, said: str, loud: tuple) -> None:
    lin, args = walk.lin, walk.tensors
    join = (lambda t: t) if stacked else (lambda t: t.flatten(0, 1) if t.dim() > 1 else t)
    v, u = join(walk.probes), mapped(join, walk.cotangents)
    V, U = walk.probes.reshape(K, -1), torch.cat([t.reshape(K, -1) for t in floating(walk.cotangents)], 1)
    Fv, FTu = V @ walk.D.T, U @ walk.D
    size = max(scale_of(walk), largest(Fv))

    def check(form: str, *inputs: Any) -> Any:
        return None if form not in graphs else walk.may_refuse(f"{form} {said}", lambda: graphs[form](*inputs), loud)

    def said_of(form: str) -> str:
        return f"{form}, {'stacked' if stacked else 'flat'}, {said}"

    found = check("pair", *args, v)
    if found is not None:
        right(flat(found[0]), flat(walk.y0), said_of("pair: y0"))
        right(_by_probe(found[1]), Fv + walk.r, said_of("pair: y1"), size)
    found = check("filter", *args, v)
    if found is not None:
        right(_by_probe(found), Fv, said_of("filter"), size)
    found = check("residual", *args)
    if found is not None:
        right(flat(found), walk.r, said_of("residual"), size)
    found = check("adjoint", *args, u)
    if found is not None:
        right(_by_probe(found), FTu, said_of("adjoint"), largest(FTu))
    _rows_of_graphs(walk, check, stacked, said_of)
    record = check("record", *args)
    if record is not None:
        right(flat(record[0]), flat(walk.y0), said_of("record: y0"))
        found = check("replay", record[1], v)
        if found is not None:
            right(_by_probe(found), Fv, said_of("replay"), size)
        found = check("pullback", record[1], u)
        if found is not None:
            right(_by_probe(found), FTu, said_of("pullback"), largest(FTu))


def _by_probe(value: Any) -> torch.Tensor:
    """The floating tensors of (K*B, ...) or (K, B, ...), as (K, entries)."""
    return torch.cat([t.reshape(K, -1) for t in floating(value)], 1)


def _rows_of_graphs(walk: Walk, check: Callable, stacked: bool, said_of: Callable) -> None:
    """emit="row" and "argmax" against rows of F: <row, x0> + r = y0[index] for every image."""
    ys = floating(walk.y0)
    if not walk.case.independent or len(ys) != 1 or not walk.lin.F.outputs.batched and walk.B != 1 or ys[0].dim() == 0 or ys[0].shape[0] != walk.B:
        return
    y, B = ys[0].reshape(walk.B, -1), walk.B
    index = torch.randint(y.shape[1], (K, B), generator=torch.Generator().manual_seed(3))
    for form, places in (("row", index), ("argmax", y.argmax(1)[None])):
        found = check(form, *walk.tensors, *([places if stacked else places.flatten()] if form == "row" else []))
        if found is None:
            continue
        row, r = found[-2].reshape(len(places), B, -1), found[-1].reshape(len(places), B)
        right(flat(found[0]), flat(walk.y0), said_of(f"{form}: y0"))
        at = places + y.shape[1] * torch.arange(B)
        expected = walk.D.reshape(*walk.D.shape[:1], B, -1)[at, torch.arange(B)]
        right(row, expected, said_of(f"{form}: row"), largest(walk.D))
        right(r, walk.r[at], said_of(f"{form}: r"), scale_of(walk))
        right((row * walk.lin.x.reshape(B, -1)).sum(-1) + r, y.flatten()[at], said_of(f"{form}: <row, x0> + r"), scale_of(walk))


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
        right(flat(walk.seeded(lambda: single.residual)), r_of(walk, r, b), f"r of image {b} alone", scale_of(walk))
    for b in range(walk.B):
        for other in set(range(walk.B)) - {b}:
            assert not D[b][other].any(), f"image {b} reads image {other}"


def batched(walk: Walk) -> bool:
    """Whether the batch is the first dimension of the probed place and of every output, of more than one image that differ."""
    return not walk.case.draws and walk.B > 1 and walk.lin.x.shape[0] == walk.B and all(t.dim() and t.shape[0] == walk.B for t in floating(walk.y0))


def blocks(walk: Walk, D: torch.Tensor) -> list[list[torch.Tensor]]:
    """D by image of the outputs and image of the inputs."""
    B = walk.B
    counts = [t.numel() for t in floating(walk.y0)]
    parts = [part.reshape(B, -1, B, D.shape[1] // B) for part in D.split(counts)]
    return [[torch.cat([p[b, :, c] for p in parts]) for c in range(B)] for b in range(B)]


def r_of(walk: Walk, r: torch.Tensor, b: int) -> torch.Tensor:
    return torch.cat([part.reshape(walk.B, -1)[b] for part in r.split([t.numel() for t in floating(walk.y0)])])


def other_sizes(walk: Walk) -> None:
    """A graph made without an example, or with one of another size, gives at other sizes what ``interpret`` gives there; or it says so loudly."""
    calls = [image(walk.args, 0, walk.B)] if batched(walk) and walk.case.independent and walk.case.free else []
    calls += [walk.case.resized(walk.args, shape) for shape in walk.case.sizes]
    made = {"without example": program_alone(walk), "with example": walk.seeded(lambda: program_of(walk.model, example_inputs=walk.args))} if calls else {}
    for args in calls:
        lin = walk.interpret(args)
        D, r = walk.seeded(lambda: lin.F.to_dense()), flat(walk.seeded(lambda: lin.residual))
        right(D @ lin.x.flatten() + r, flat(walk.output(args)), "F x0 + r at another size", None)
        v = torch.randn(K, *lin.x.shape, generator=torch.Generator().manual_seed(4), dtype=lin.x.dtype)
        for said, program in made.items():
            graph = None if program is None else walk.may_refuse(said, lambda: emit(program, "pair", "stacked"))
            found = None if graph is None else walk.may_refuse(f"at another size, {said}", lambda: graph.train(walk.model.training)(*tensors(args), v), (AssertionError,))
            if found is not None:
                right(flat(found[0]), flat(walk.output(args)), f"y0 at {[tuple(t.shape) for t in tensors(args)]}, {said}")
                right(_by_probe(found[1]), v.reshape(K, -1) @ D.T + r, f"y1 at {[tuple(t.shape) for t in tensors(args)]}, {said}", max(1.0, largest(D)))


def frontends(walk: Walk) -> None:
    """Both frontends give the same F and r."""
    for frontend in ("symbolic", "export"):
        lin = walk.may_refuse(f"frontend={frontend!r}", lambda: walk.interpret(frontend=frontend))
        if lin is not None:
            right(walk.seeded(lambda: lin.F.to_dense()), walk.D, f"F, frontend={frontend!r}")
            right(flat(walk.seeded(lambda: lin.residual)), walk.r, f"r, frontend={frontend!r}", scale_of(walk))


# ---- what is computed from F


def operators(walk: Walk) -> None:
    """svd, norm, to_sparse, local_row, summary, verify."""
    _svd(walk)
    _to_sparse(walk)
    scope = walk.may_refuse("transform", lambda: fxscope.transform(walk.model, example_inputs=walk.args))
    assert scope is None or str(fxscope.summary(scope)), "summary"
    if len(walk.args) == 1 and not walk.model.training and not walk.case.draws:
        _local_row(walk)
        report = walk.may_refuse("verify", lambda: fxscope.verify(walk.model, walk.args[0]))
        assert report is None or report.ok, f"verify: {report}"


def _svd(walk: Walk) -> None:
    """The largest value, and values of F alone: a further copy of a repeated one may be left out (docs/limitations.md)."""
    values = torch.linalg.svdvals(walk.D)
    for k in (1, 2):
        found = None if k > min(walk.D.shape) else walk.may_refuse("svd", lambda: walk.lin.F.svd(k, progress=False))
        if found is not None:
            size, s = max(float(values[0]) * 100, 1e-12), found.s.double().cpu()
            right(s[:1], values[:1], f"svd({k})", size)
            right(s, values[(values[None] - s[:, None]).abs().argmin(1)], f"svd({k})", size)


def _to_sparse(walk: Walk) -> None:
    lin = walk.lin if walk.B == 1 else walk.may_refuse("interpret alone", lambda: walk.interpret(image(walk.args, 0, walk.B)))
    sparse = None if lin is None else walk.may_refuse("to_sparse", lambda: lin.F.to_sparse(progress=False))
    if sparse is not None:
        right(torch.from_numpy(sparse.toarray()), walk.seeded(lambda: lin.F.to_dense()), "to_sparse")


def _local_row(walk: Walk) -> None:
    x0 = walk.args[0]
    if x0.dim() != 4 or len(floating(walk.y0)) != 1 or not batched(walk) and walk.B != 1:
        return
    lin = walk.may_refuse("interpret alone", lambda: walk.interpret((x0[:1],)))
    if lin is None or len(lin.F.outputs.shapes) != 1 or len(lin.F.outputs.shapes[0]) != 3:
        return
    shape = lin.F.outputs.shapes[0]
    for index in {(0, 0, 0), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)}:
        found = walk.may_refuse("local_row", lambda: fxscope.local_row(walk.model, x0[:1], index))
        if found is not None:
            whole = torch.zeros_like(x0[0])
            whole[found.box] = found.values
            right(whole, lin.F.row(index), f"local_row {index}", largest(walk.D))
            right(torch.tensor(found.y0, dtype=torch.float64), lin.y0[0][index].double(), f"local_row {index}: y0", scale_of(walk))


def saved(walk: Walk) -> None:
    """Two file formats of the stacked pair, checked in a fresh process by ``save`` itself; for a fixed sample of the cases."""
    if not sampled(walk.case.name, 8):
        return
    program = walk.seeded(lambda: program_of(walk.model, example_inputs=walk.args))
    graph = walk.may_refuse("save", lambda: emit(program, "pair", "stacked").train(walk.model.training))
    if graph is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".pt2", ".ts"):
            walk.may_refuse(f"save {suffix}", lambda: fxscope.save(graph, Path(folder) / f"pair{suffix}", (*walk.tensors, walk.probes)))


GROUPS: dict[str, Callable[[Walk], None]] = {
    "reading": reading, "taylor": taylor, "rows": rows, "with_example": with_example, "without_example": without_example, "alone": alone,
    "other_sizes": other_sizes, "frontends": frontends, "operators": operators, "saved": saved,
}


def refused(walk: Walk, kind: type[Exception]) -> None:
    """A case that is refused is refused by every entry point, and by that error alone."""
    for call in (walk.interpret, lambda: fxscope.transform(walk.model, example_inputs=walk.args), lambda: fxscope.transform(walk.model, "adjoint", example_inputs=walk.args)):
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
                print(f"{case.name} [{name}] WRONG: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        for entry, message in dict(walk.refusals).items():
            print(f"{case.name} {entry}: {message}")


if __name__ == "__main__":
    main()
