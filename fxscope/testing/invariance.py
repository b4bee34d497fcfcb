"""Law 13: F depends on the network, the policy and the values of x0, and on nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..errors import FxscopeError
from ..frontend.example import Example
from ..linop.memory import MODES
from ..passes.outputs import tensors_of
from ..passes.rewrite import Program
from .laws import NotChecked, distance, largest
from .structure import emitted, first_line, mapped, mapped_example, tensors_in

if TYPE_CHECKING:
    from .case import LawCase

GROWN = ((2, 4), (8, 16), (32, 64))  # increments of the spatial sizes; the first that the model accepts


def batch(s: LawCase) -> float:
    """F and r of the first image, by the program for that image alone and by the program for a batch."""
    if any(x.dim() == 0 or x.shape[0] != s.batch for x in s.x):
        raise NotChecked("the batch is not the first dimension of the probed place")
    many, one = (s.example, s.image(0)) if s.batch > 1 else (s.companions(), s.example)
    s.same_alone(s.runs(one, "on one image alone"), s.runs(many, "on a batch of three"), 0)
    B = max(s.batch, 3) if s.batch == 1 else s.batch
    probes = tuple(
        torch.cat([p, *(s.random(s.K, B - 1, *p.shape[2:], like=p),)], 1) if s.batch == 1 else p
        for p in s.probes
    )
    other = s.remade(many if s.batch == 1 else one)
    together, alone = (other, s.program) if s.batch == 1 else (s.program, other)
    errors = []
    for form in ("filter", "residual"):
        whole = tensors_of(
            s.run(
                emitted(together, form, s.model),
                *(s.flat(probes) if form == "filter" else ()),
                args=many.tensors(),
            )
        )
        first = tensors_of(
            s.run(
                emitted(alone, form, s.model),
                *(s.flat(tuple(p[:, :1] for p in probes)) if form == "filter" else ()),
                args=one.tensors(),
            )
        )
        K = s.K if form == "filter" else 1
        errors.append(
            distance(
                first,
                [
                    w.unflatten(0, (K, B))[:, :1].flatten(0, 1) if w.dim() and w.shape[0] == K * B else w
                    for w in whole
                ],
            )
        )
    return largest(errors)


def size(s: LawCase) -> float:
    """Laws 1, 2, 5 and 8 at another spatial size, and F against that of a program made for that size."""
    if s.program.gm.meta["frontend"].get("sizes") == "specialised":
        raise NotChecked("the graph is for one size: torch.export fixes it")
    if any(p.node.op != "placeholder" for p in s.program.probes):
        raise NotChecked("the probe enters inside the network")
    larger = _larger(s)
    try:
        return largest(_at_size(s, larger))
    except (AssertionError, RuntimeError, FxscopeError) as error:
        raise NotChecked(f"the graph refuses another size: {first_line(error)}") from error


def _at_size(s: LawCase, larger: Example) -> list[float]:
    args, x = larger.tensors(), _probed(s, larger)
    probes = tuple(s.random(*t.shape, like=t) for t in x)
    y0, y1 = (tensors_of(y) for y in s.run(s.form("pair"), *x, args=args))
    f, fv = (s.run(s.form("filter"), *v, args=args) for v in (x, probes))
    r = tensors_of(s.run(s.form("residual"), args=args))
    errors = [distance([b.reshape(a.shape) for a, b in zip(y0, y1)], y0)]
    errors += [] if s.outputs is not None else [distance(y0, s.exact(larger))]
    errors.append(
        distance(
            [a + b.reshape(a.shape) for a, b in zip(tensors_of(f), r)],
            [y.reshape(a.shape) for a, y in zip(tensors_of(f), y0)],
        )
    )
    errors.append(_dot(s, args, probes, fv))
    return [*errors, distance(s.run(emitted(s.remade(larger), "filter", s.model), *probes, args=args), fv)]


def _dot(s: LawCase, args: tuple, u: tuple, fu: Any) -> float:
    """The dot test of one probe."""
    v = mapped(lambda t: s.random(*t.shape, like=t), fu)
    pulled = s.run(s.form("adjoint"), v, args=args)
    products = [a * b for a, b in zip(s.affine(tensors_of(fu)), s.affine(tensors_in(v)))]
    left, scale = (float(sum(t.sum() for t in each)) for each in (products, [p.abs() for p in products]))
    right = float(sum((a * b).sum() for a, b in zip(u, pulled if isinstance(pulled, tuple) else (pulled,))))
    return abs(left - right) / (scale if scale > 0 else 1.0)


def _larger(s: LawCase) -> Example:
    """The call on larger images, which repeat the values of x0; the first sizes that the model accepts."""
    x0 = s.x[0]
    first = 2 if x0.dim() > 3 else x0.dim() - 1
    if x0.dim() < 3:
        raise NotChecked("the input has no spatial sizes")
    reason: NotChecked | None = None
    for step in GROWN:
        wanted = [
            n + (step[0] if d == first else step[1]) if d >= first else n for d, n in enumerate(x0.shape)
        ]
        example = mapped_example(
            lambda t, wanted=wanted: (
                _repeated(t, wanted, first) if t.shape[first:] == x0.shape[first:] else t
            ),
            s.example,
        )
        try:
            s.runs(example, f"at the size {tuple(wanted[first:])}")
            return example
        except NotChecked as error:
            reason = error
    raise NotChecked(str(reason))


def _repeated(value: torch.Tensor, shape: list[int], first: int) -> torch.Tensor:
    for d in range(first, value.dim()):
        value = value.index_select(d, torch.arange(shape[d], device=value.device) % value.shape[d])
    return value


def _probed(s: LawCase, example: Example) -> tuple[torch.Tensor, ...]:
    """The tensors of another call at the probed inputs."""
    places = [n for n in s.program.gm.graph.nodes if n.op == "placeholder"]
    tensors = example.tensors()
    return tuple(tensors[places.index(p.node)] for p in s.program.probes)


def example(s: LawCase) -> float:
    """F and r of the graph that was made without an example."""
    other = s.remade(None, frontend="symbolic")
    places = [n for n in other.gm.graph.nodes if n.op == "placeholder"]
    if len(places) == len(s.args):
        probed = [s.args[places.index(p.node)] for p in other.probes if p.node in places]
        if any(not x.is_floating_point() for x in probed):
            raise NotChecked("without an example the graph is for floating inputs, and x0 holds integers")
    return _same(s, other, "without an example")


def frontend(s: LawCase) -> float:
    """F and r of the graph that the other frontend gives."""
    if not s.thorough:
        raise NotChecked(f"of {s.nodes} nodes, and the other frontend takes long: thorough=True asks it")
    other = "export" if s.program.gm.meta["frontend"]["name"] == "symbolic" else "symbolic"
    return _same(s, s.remade(s.example, frontend=other), f"through the frontend {other!r}")


def _same(s: LawCase, other: Program, how: str) -> float:
    inputs = sum(n.op == "placeholder" for n in other.gm.graph.nodes)
    if inputs != len(s.args):
        raise NotChecked(f"{how} the graph takes {inputs} inputs, and the call has {len(s.args)}")
    filter, residual = (emitted(other, form, s.model) for form in ("filter", "residual"))
    return largest([distance(s.run(filter, *s.flat(s.probes)), s.linear), distance(s.run(residual), s.r)])


def memory(s: LawCase) -> float:
    """F v and F^T u of an interpreter in every memory mode, against the emitted graphs."""
    errors = []
    probes = tuple(p.reshape(s.K, *shape) for p, shape in zip(s.probes, s.lin.F.inputs.shapes))
    v = s.lin.F.inputs.build(list(probes))
    for mode in MODES:
        lin = s.lin if mode == "record" else s.interpreter(mode)
        with s.calm():
            got, pulled = lin.F @ v, tensors_of(lin.F.T @ _cotangents(s))
        expected = [
            t.reshape(g.shape) for t, g in zip(_floating(tensors_of(s.linear)), tensors_of(got), strict=True)
        ]
        errors += [
            distance(got, expected),
            distance(pulled, [x.reshape(p.shape) for x, p in zip(s.pulled, pulled, strict=True)]),
        ]
    return largest(errors)


def _cotangents(s: LawCase) -> Any:
    """The cotangents as lin.F.T takes them."""
    space = s.lin.F.outputs
    return space.build(
        [
            t.reshape(s.K, *shape)
            for t, shape in zip(_floating(tensors_in(s.cotangents)), space.shapes, strict=True)
        ]
    )


def _floating(values: list[torch.Tensor]) -> list[torch.Tensor]:
    """The floating tensors: F has no integer or boolean outputs."""
    return [t for t in values if t.is_floating_point()]


def forms(s: LawCase) -> float:
    """The stacked filter, replay and pullback of a recorded state, and the row of the largest output."""
    stacked, state = s.run(s.form("filter", "stacked"), *s.probes), s.run(s.form("record"))[1]
    with s.calm():
        replayed = s.form("replay")(state, *s.flat(s.probes))
        pulled = s.form("pullback")(state, s.cotangents)
    linear = tensors_of(s.linear)
    errors = [
        distance([t.reshape(f.shape) for t, f in zip(tensors_of(stacked), linear, strict=True)], linear)
    ]
    errors += [distance(replayed, linear), distance(pulled, list(s.pulled))]
    return largest([*errors, *_argmax(s)])


def _argmax(s: LawCase) -> list[float]:
    """The row of every image's largest output, against the row form's and F's own."""
    if len(s.y0) != 1 or s.y0[0].dim() < 2 or not s.batched:
        return []
    y0, index, row, r = s.run(s.form("argmax"))
    _, rows, shares = s.run(s.form("row"), index)
    same = [distance([y0], [s.y0[0]]), distance(row, rows), distance([r.flatten()], [shares.flatten()])]
    if s.mixing or not isinstance(s.linear, torch.Tensor):
        return same
    one_hot = torch.zeros_like(s.y0[0]).flatten(1).scatter(1, index[:, None], 1.0).reshape(s.y0[0].shape)
    pulled = tensors_of(s.run(s.form("adjoint"), one_hot))
    return [*same, distance(row, pulled)]
