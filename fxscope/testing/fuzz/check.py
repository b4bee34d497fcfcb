"""Every law on a drawn network: what holds, what was refused, what is wrong, and what crashed."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ...emit.pipeline import transform
from ...errors import FxscopeError, ModelFails
from ...graph.draws import seeded
from ...linop import LinearInterpreter, interpret
from ...passes.outputs import tensors_of
from ..silence import silence
from .network import BATCH, OTHER, Network
from .oracle import SEED, Oracle

# relative; torch differentiates Hardsigmoid with a sixth in float32, and a part in float32 rounds
DOUBLE, SINGLE = 1e-7, 1e-3
FREEZE = "freeze"
Errors = Iterator[tuple[str, float]]


@dataclass(frozen=True)
class Finding:
    """A broken law, a refusal, or an exception of another library.

    Attributes
    ----------
    outcome
        "refused", "wrong" or "crash".
    entry
        What was called ("interpret", "taylor", "without an example", ...).
    kind
        The law, or the exception's class with its function or reason; a shrunk network has the same kind.
    detail
        Numbers, or the message.
    """

    outcome: str
    entry: str
    kind: str
    detail: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a shrunk network must have in common with the whole one."""
        return self.outcome, self.entry, self.kind


@dataclass(frozen=True)
class Result:
    """What was found about one network.

    A network whose derivative is not finite is not ``usable``: no law was checked on it.
    """

    findings: tuple[Finding, ...]
    laws: int = 0
    usable: bool = True

    @property
    def outcome(self) -> str:
        """The worst: crash, wrong, refused (by ``interpret``), or right."""
        worst = [f.outcome for f in self.findings if f.outcome != "refused" or f.entry == "interpret"]
        return next((o for o in ("crash", "wrong", "refused") if o in worst), "right")


class Bench:
    """A network under test: its oracle, and one interpreter that most checks share."""

    def __init__(self, network: Network, policy: Any):
        self.network, self.policy, self.oracle = network, policy, Oracle(network)
        self.args = self.oracle.args
        self.model = network.build()
        self.bound = SINGLE if network.single_precision else DOUBLE
        self.lin: Any = None  # the interpreter that most checks share, once it is made

    def read(
        self, policy: Any = None, batch: int = BATCH, larger: int = 0, **options: Any
    ) -> LinearInterpreter:
        """The interpreter at the network's example, from inputs of its own memory."""
        args = self.args if (batch, larger) == (BATCH, 0) else self.network.example(batch, larger)
        with seeded(SEED):
            return interpret(self.model, *(a.clone() for a in args), policy=policy or self.policy, **options)

    def every(self, n: int, which: int = 0) -> bool:
        """Whether a check that runs on one in ``n`` networks is due; more rarely if torch.export is slow."""
        turn = self.network.seed // 7 + self.network.seed
        return turn % n == which % n and (self.symbolic or turn % 3 == 0)

    @property
    def symbolic(self) -> bool:
        """Whether symbolic tracing took the network."""
        return self.lin is None or (self.lin.program.gm.meta.get("frontend") or {}).get("name") == "symbolic"


def far(got: Any, expected: Any) -> float:
    """The largest relative difference over the tensors; infinite if structure or sizes differ."""
    a, b = tensors_of(got), tensors_of(expected)
    if len(a) != len(b) or any(p.numel() != q.numel() for p, q in zip(a, b)):
        return float("inf")
    worst = 0.0
    for p, q in zip(a, b):
        difference = (p.detach().reshape(-1).double() - q.detach().reshape(-1).double()).abs().max().item()
        difference = difference if difference == difference else float("inf")
        worst = max(worst, difference / max(q.detach().abs().max().item(), 1e-4))
    return worst


def dot(a: Any, b: Any) -> torch.Tensor:
    """The inner product over all tensors of two structures."""
    pairs = zip(tensors_of(a), tensors_of(b))
    products = ((p.reshape(-1).double() * q.reshape(-1).double()).sum() for p, q in pairs)
    return sum(products, torch.zeros((), dtype=torch.float64))


def _probe(lin: LinearInterpreter, v: torch.Tensor) -> torch.Tensor:
    """A probe, or a stack of them, in the shape of the space."""
    shape = lin.F.inputs.shapes[0]
    return v.reshape(*v.shape[: v.dim() - lin.x0.dim()], *shape)


def _applied(lin: LinearInterpreter, b: Bench) -> Any:
    return lin.F @ _probe(lin, b.oracle.v[0])


def _cotangent(lin: LinearInterpreter, u: list[torch.Tensor]) -> Any:
    return lin.F.outputs.build([t.reshape(s) for t, s in zip(u, lin.F.outputs.shapes)])


def _linear(lin: LinearInterpreter, b: Bench) -> Errors:
    """Equation 3, superposition, the dot test, and that probes do not mix."""
    v = _probe(lin, b.oracle.v)
    yield "eq. 3: F x0 + r = y0", far(lin(lin.x0.reshape(lin.F.inputs.shapes[0])), lin.y0)
    mixed = torch.stack([v[0], v[1], 0.7 * v[0] - 1.3 * v[1], torch.zeros_like(v[0])])
    together = tensors_of(lin.F @ mixed)
    yield "superposition", far([t[2] for t in together], [0.7 * t[0] - 1.3 * t[1] for t in together])
    yield "F 0 = 0", max(t[3].abs().max().item() for t in together)
    yield "probes keep apart", far(lin.F @ v[0], [t[0] for t in together])
    u = _cotangent(lin, b.oracle.u)
    sizes = [
        float(sum(t.square().sum() for t in each)) ** 0.5 for each in ([t[0] for t in together], b.oracle.u)
    ]
    difference = dot([t[0] for t in together], b.oracle.u) - dot(v[0], lin.F.T @ u)
    yield "dot test", abs(difference).item() / max(sizes[0] * sizes[1], 1e-4)


def _reading(b: Bench) -> Errors:
    b.lin = lin = b.read()
    if not b.network.draws:
        yield "law 1: y0 is the model's", far(lin.y0, b.oracle.y)
    yield from _linear(lin, b)


def _index(b: Bench) -> tuple[int, tuple[int, ...]]:
    """The number of an output, and an entry of one image in it."""
    k = b.network.seed % len(b.oracle.y)
    shape = b.oracle.y[k].shape[1:]
    return k, tuple((b.network.seed * 7 + 3 * i) % n for i, n in enumerate(shape))


def _named(b: Bench, k: int, place: tuple[int, ...]) -> tuple:
    several = isinstance(b.oracle.structure, (dict, list, tuple)) and len(b.oracle.y) > 1
    return (b.oracle.keys()[k], *place) if several else place


def _rows(b: Bench) -> Errors:
    """Contributions, a row and a column of one output."""
    k, place = _index(b)
    index = _named(b, k, place)
    found = b.lin.contributions(index)
    at: Any = (slice(None), *place)
    yield "contributions sum to y0", far(torch.as_tensor(found.total), tensors_of(b.lin.y0)[k][at])
    row = b.lin.F.row(index)
    yield (
        "<row, x0> is the linear part",
        far((row * b.lin.x0).flatten(1).sum(1), torch.as_tensor(found.linear)),
    )
    seed = [torch.zeros_like(t) for t in b.oracle.u]
    seed[k][(0, *place)] = 1.0
    one = b.lin.F.T @ _cotangent(b.lin, seed)
    yield "images keep apart", max(one[1:].abs().max().item(), far(row[:1], one[:1]))
    spot = (b.network.seed * 5) % one[0].numel()
    where = tuple(int(i) for i in torch.unravel_index(torch.tensor(spot), one[0].shape))
    column = tensors_of(b.lin.F.column(where))
    yield "column and row have one entry in common", far(column[k][(0, *place)], row[0].flatten()[spot])


def _alone(b: Bench) -> Errors:
    """F of an image is the same alone and in a batch."""
    single = b.read(batch=1)
    yield "law 1 alone", far(single.y0, b.oracle.alone)
    together = tensors_of(b.lin.F @ b.oracle.v[0])
    yield (
        "F alone = F in a batch",
        far(single.F @ _probe(single, b.oracle.v[0, :1]), [t[:1] for t in together]),
    )


def _alone_without_batch(b: Bench) -> Errors:
    """The laws on one image alone, if images mix or the batch is not the leading dimension."""
    single = b.read(batch=1)
    yield "law 1 alone", far(single.y0, b.oracle.alone)
    yield "eq. 3 alone", far(single(single.x0.reshape(single.F.inputs.shapes[0])), single.y0)


def _free(b: Bench) -> Errors:
    """The graph that is made without an example."""
    # of its own: in train mode the graph updates its statistics
    pair = transform(b.network.build(), policy=b.policy)
    x, v = b.args[0], b.oracle.v[0]

    def at(args: tuple, x1: torch.Tensor) -> Any:
        with seeded(SEED):
            return pair(*(a.clone() for a in args), x1.clone())

    y0, y1 = at(b.args, x)
    yield "law 1 without an example", far(y0, b.oracle.y)
    yield "eq. 3 without an example", far(y1, y0)
    if b.network.draws:
        return
    linear = _difference(at(b.args, v)[1], at(b.args, torch.zeros_like(v))[1])
    yield "F without an example = F with one", far(linear, b.lin.F @ v)
    if b.oracle.apart:
        one = tuple(a[:1] for a in b.args)
        y0, y1 = at(one, x[:1])
        yield "law 1 alone, without an example", far(y0, b.oracle.alone)
        part = _difference(at(one, v[:1])[1], at(one, torch.zeros_like(v[:1]))[1])
        yield "F alone, without an example", far(part, [t[:1] for t in linear])
    if b.network.resizes and b.every(3):
        yield from _resized(b, at)


def _difference(a: Any, b: Any) -> list[torch.Tensor]:
    return [p - q for p, q in zip(tensors_of(a), tensors_of(b))]


def _resized(b: Bench, at: Callable) -> Errors:
    """F of the same graph at another size is that of an interpreter made there."""
    args = b.network.example(BATCH, OTHER)
    v = torch.randn(args[0].shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y0, _ = at(args, args[0])
    yield "law 1 at another size", far(y0, b.oracle.outputs(BATCH, OTHER))
    linear = _difference(at(args, v)[1], at(args, torch.zeros_like(v))[1])
    yield "F at another size", far(linear, b.read(larger=OTHER).F @ v)


def _taylor(b: Bench) -> Errors:
    """Under "taylor" F is the derivative of the untouched model, row by row and as a whole."""
    lin = b.read("taylor")
    if far(lin.y0, b.oracle.y) > b.bound:
        if b.network.draws:
            return  # another draw
        yield "law 1, taylor", float("inf")
    yield "F^T u = J^T u", far(lin.F.T @ _cotangent(lin, b.oracle.u), b.oracle.pulled)
    for law, error in _linear(lin, b):
        yield f"{law}, taylor", error
    if b.oracle.apart:
        k, place = _index(b)
        seed: Any = [torch.zeros_like(t) for t in b.oracle.u]
        seed[k][(slice(None), *place)] = 1.0
        yield "row = gradient", far(lin.F.row(_named(b, k, place)), b.oracle.pull(seed))


def _detach(b: Bench) -> Errors:
    lin = b.read("detach")
    for law, error in _linear(lin, b):
        yield f"{law}, detach", error


def _memory(b: Bench) -> Errors:
    """F is the same when nothing is kept, or when masks are packed."""
    for mode in ("packed", "recompute"):
        lin = b.read(memory=mode)
        if not b.network.draws:
            yield f"F, memory={mode}", far(_applied(lin, b), _applied(b.lin, b))
        for law, error in _linear(lin, b):
            yield f"{law}, memory={mode}", error


def _exported(b: Bench) -> Errors:
    """Both frontends give the same F."""
    other = "export" if b.symbolic else "symbolic"
    lin = b.read(frontend=other)
    yield f"law 1, frontend={other}", far(lin.y0, b.oracle.y)
    yield "F of both frontends", far(_applied(lin, b), _applied(b.lin, b))
    yield "residual of both frontends", far(lin.residual, b.lin.residual)


def _forms(b: Bench) -> Errors:
    """The emitted forms, made with the example, give what the operator gives."""
    made = {"policy": b.policy, "example_inputs": tuple(a.clone() for a in b.args)}
    model = b.network.build()
    x, v = b.args[0], b.oracle.v[0]

    def graph(form: str, *more: Any, **options: Any) -> Any:
        return transform(model, form, **made, **options)(*(a.clone() for a in b.args), *more)

    expected = b.lin.F @ v
    yield "filter", far(graph("filter", v.clone()), expected)
    yield "residual", far(graph("residual"), b.lin.residual)
    y0, y1 = graph("pair", x.clone())
    yield "pair", max(far(y0, b.lin.y0), far(y1, y0))
    u = b.lin.structured(b.lin.F.outputs.build([t.clone() for t in b.oracle.u]))
    yield "adjoint", far(graph("adjoint", u), b.lin.F.T @ _cotangent(b.lin, b.oracle.u))
    stacked = tensors_of(graph("filter", b.oracle.v[:2].clone(), probes="stacked"))
    yield "stacked probes", far([t[0] for t in stacked], expected)


def _unchanged(b: Bench) -> Errors:
    """The model that was read holds what it held."""
    now = b.model.state_dict()
    then = b.oracle.state
    same = now.keys() == then.keys() and all(torch.equal(t, then[n]) for n, t in now.items())
    yield "the model is as it was", 0.0 if same and b.model.training == b.network.train else float("inf")


def _takes_one(network: Network) -> bool:
    return network.alone and not network.draws


@dataclass(frozen=True)
class Check:
    """What is asked for (``entry``), how, and of which networks."""

    entry: str
    run: Callable[[Bench], Errors]
    due: Callable[[Bench], bool] = lambda b: True


CHECKS = (
    Check("interpret", _reading),
    Check("taylor", _taylor, lambda b: b.symbolic or b.network.seed % 3 == 0),
    Check("rows", _rows, lambda b: b.oracle.apart),
    Check("without an example", _free),
    Check("alone", _alone, lambda b: b.oracle.apart and b.every(3)),
    Check(
        "alone", _alone_without_batch, lambda b: b.every(3) and not b.oracle.apart and _takes_one(b.network)
    ),
    Check("memory", _memory, lambda b: b.every(8, 1)),
    Check("forms", _forms, lambda b: b.every(8, 2) and not b.network.draws),
    Check("detach", _detach, lambda b: b.every(4, 3)),
    Check("export", _exported, lambda b: b.every(50, 4) and not b.network.draws and not b.network.train),
    Check("unchanged", _unchanged),
)


def check(network: Network, policy: Any = FREEZE, only: str | None = None) -> Result:
    """Hold a network against every law that is due for its seed; ``only`` one entry, for shrinking."""
    # no warnings (of mixing images), no notes of other frontends, and no code of graphs that fail
    with silence(), contextlib.redirect_stderr(io.StringIO()), torch.random.fork_rng(devices=[]):
        bench = Bench(network, policy)
        if not bench.oracle.usable:
            return Result((), 0, False)
        findings, laws = _checked(bench, only)
        return Result(tuple(findings), laws)


def _checked(bench: Bench, only: str | None) -> tuple[list[Finding], int]:
    findings: list[Finding] = []
    laws = 0
    for one in CHECKS:
        if not one.due(bench) or (only not in (None, one.entry) and one.entry != "interpret"):
            continue
        before = len(findings)
        try:
            for law, error in one.run(bench):
                laws += 1
                if not error <= bench.bound:
                    findings.append(
                        Finding("wrong", one.entry, law, f"off by {error:.3g} (bound {bench.bound:.0e})")
                    )
        except ModelFails as error:  # a drawn network runs: an emitted graph that fails is no refusal
            findings.append(Finding("crash", one.entry, _origin(error), str(error)))
        except FxscopeError as error:
            findings.append(Finding("refused", one.entry, _reason(error), str(error)))
        except Exception as error:  # whatever is not fxscope's own is a crash
            findings.append(Finding("crash", one.entry, _origin(error), f"{type(error).__name__}: {error}"))
        if one.entry == "interpret" and any(f.outcome != "wrong" for f in findings[before:]):
            break
    return findings, laws


def _reason(error: FxscopeError) -> str:
    """The class of a refusal, and what it is about: the operators, or its first words."""
    operators = getattr(error, "operators", ())
    words = [w for w in str(error).split() if not any(c.isdigit() for c in w)]
    text = ", ".join(sorted(set(operators))) if operators else " ".join(words)[:70]
    return f"{type(error).__name__}: {text}"


def _origin(error: Exception) -> str:
    """The class of an exception, and the innermost function of fxscope that it came through."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if "fxscope" in f.filename and "/testing/fuzz/" not in f.filename
    ]
    where = "an emitted graph"
    if frames:
        where = f"{frames[-1].filename.rpartition('fxscope/')[2]}:{frames[-1].name}"
    return f"{type(error).__name__} in {where}"
