"""One operator of PyTorch's database: its samples, and what fxscope makes of each."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ...errors import FxscopeError, NoLinearPath, NonFinite
from ...graph.ir import info
from ...linop.interpreter import LinearInterpreter
from ...linop.reader import interpret
from ...rules import registry
from ..silence import silence
from .forms import dot, errors_of_batches, errors_of_forms, off, seeded

D = torch.float64
DTYPES = {"float64": torch.float64, "float32": torch.float32}
LARGEST = 20000  # entries of an input or output that is looked at
PROBES = 3
WITH_FORMS = 1  # samples of an operator that are judged in every form and on batches too
LONGEST = 25.0  # seconds of one operator after which no further sample is begun
FEWEST = 3  # samples that are judged all the same
# Errors are relative to 1 + the largest entry. In float64 sums in another order differ by 1e-13, times the
# condition of a solve or of a function near its pole. In float32 the same is 1e-4; where torch's own float32
# derivative is further from its float64 one than that, LOOSER times that distance.
CLOSE = {torch.float64: 1e-7, torch.float32: 1e-4}
LOOSER = 10.0
POLICIES = ("taylor", "freeze")
# options that change what training sees of a derivative, and no value: the derivative is that without them
OF_TRAINING = {"nn.functional.embedding": ("padding_idx", "scale_grad_by_freq")}
# autograd's backward pass of unpooling reads every write to an index, though one alone is seen in the output
NO_ORACLE = ("nn.functional.max_unpool1d", "nn.functional.max_unpool2d", "nn.functional.max_unpool3d")


class OneImage(nn.Module):
    """A sample's call on the one image of a batch: x -> op(x[0])[None].

    Where the operator takes a list of tensors, x is the first of them. Several floating outputs are laid side
    by side, and complex ones become real.
    """

    def __init__(self, op: Any, sample: Any):
        super().__init__()
        self.op, self.args, self.options = op, sample.args, sample.kwargs
        self.process = sample.output_process_fn_grad
        self.differentiable: list[bool] | None = None
        several = isinstance(sample.input, (list, tuple))
        self.rest = list(sample.input[1:]) if several else None

    def forward(self, x):
        """The operator's output for the one image of the batch."""
        return self.called(x[0])[None]

    def called(self, x):
        """The operator's output for a tensor."""
        given = x if self.rest is None else [x, *self.rest]
        y = self.process(self.op(given, *self.args, **self.options))
        if isinstance(y, torch.Tensor):
            return torch.view_as_real(y) if y.is_complex() else y
        parts = pytree.tree_leaves(y)
        if self.differentiable is not None:
            parts = [t for t, wanted in zip(parts, self.differentiable) if wanted]
        parts = [torch.view_as_real(t) if t.is_complex() else t for t in parts]
        return torch.cat([t.reshape(-1) for t in parts])

    def double(self):
        """The same call with its floating arguments in float64."""
        other = copy.copy(self)
        other.args, other.options, other.rest = pytree.tree_map(
            lambda v: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v,
            (self.args, self.options, self.rest),
        )
        return other

    def without(self, names: Sequence[str]):
        """The same call without some options."""
        other = copy.copy(self)
        other.options = {k: v for k, v in self.options.items() if k not in names}
        return other

    def settle(self, x: torch.Tensor) -> None:
        """Of several outputs, read those alone that torch differentiates."""
        one = x[0].clone().requires_grad_()
        given = one if self.rest is None else [one, *self.rest]
        y = self.process(self.op(given, *self.args, **self.options))
        if not isinstance(y, torch.Tensor):
            self.differentiable = [
                isinstance(t, torch.Tensor) and t.requires_grad for t in pytree.tree_leaves(y)
            ]


def database(dtype: torch.dtype = D) -> dict[str, Any]:
    """{name: its entry} of the differentiable operators of the installed torch that take a dtype."""
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    except ModuleNotFoundError as missing:
        raise FxscopeError(f"PyTorch's database of operators needs the package {missing.name}") from missing
    found: dict[str, Any] = {}
    for op in op_db:
        if op.supports_autograd and dtype in op.dtypes:
            found.setdefault(f"{op.name}-{op.variant_test_name}".rstrip("-"), op)
    return found


def samples(op: Any, count: int, dtype: torch.dtype = D) -> list[tuple[OneImage, torch.Tensor]]:
    """(module, x0) of the first samples on which the operator gives finite floating values."""
    found: list[tuple[OneImage, torch.Tensor]] = []
    # all at once: a generator that is left half-way ends whenever memory is swept, in the middle of a trace
    for sample in list(op.sample_inputs("cpu", dtype)):
        first = sample.input[0] if isinstance(sample.input, (list, tuple)) and sample.input else sample.input
        usable = isinstance(first, torch.Tensor) and first.dtype == dtype and first.layout is torch.strided
        if not usable or not 0 < first.numel() <= LARGEST or not bool(torch.isfinite(first).all()):
            continue
        sample.args, sample.kwargs = _plain(sample.args), _plain(sample.kwargs)
        case = OneImage(op.op, sample), first.detach().clone()[None]
        if _finite(*case):
            found.append(case)
        if len(found) == count:
            break
    return found


def _plain(value: Any) -> Any:
    return pytree.tree_map(lambda v: v.detach().clone() if isinstance(v, torch.Tensor) else v, value)


def _finite(model: OneImage, x0: torch.Tensor) -> bool:
    try:
        model.settle(x0)
        y = seeded(model, x0)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return False
    return y.dtype == x0.dtype and 0 < y.numel() <= LARGEST and bool(torch.isfinite(y).all())


def judge(name: str, op: Any, count: int, unknown: str, dtype: torch.dtype = D) -> dict[str, Any]:
    """The line of an operator: its status, and the reasons where it is not right.

    The status is ``right`` where all samples are right under every policy, ``refused``, ``wrong``, ``crash``,
    or ``unjudged`` where no sample has finite values and a finite derivative. ``batch`` tells whether graphs
    take other batches, where the operator treats the images of a batch one by one. ``frozen`` has the
    operators at which the default policy ends the linear path, though the derivative is not 0.
    """
    return judge_all(name, op, count, (unknown,), dtype)[0]


@silence()
def judge_all(
    name: str, op: Any, count: int, ways: Sequence[str], dtype: torch.dtype = D
) -> list[dict[str, Any]]:
    """The lines of an operator for several values of ``unknown=``, of which the first refuses most.

    A sample that the first does not refuse is the same network under the others.
    """
    torch.manual_seed(0)
    lines: list[dict[str, Any]] = []
    try:
        cases = samples(op, count, dtype)
    except Exception as error:  # the database's own code
        none = {"name": name, "status": "unjudged", "samples": 0, "reasons": [f"no samples: {error}"[:300]]}
        return [{**none, "unknown": unknown} for unknown in ways]
    known: list[_Judged] = []
    for unknown in ways:
        start = time.monotonic()
        known = _judged_cases(name, cases, unknown, known)
        lines.append(
            {**_line(name, known), "unknown": unknown, "seconds": round(time.monotonic() - start, 2)}
        )
    return lines


def _judged_cases(
    name: str, cases: list[tuple[OneImage, torch.Tensor]], unknown: str, known: list[_Judged]
) -> list[_Judged]:
    """Every sample under every policy; those that are known and not refused stand."""
    found: list[_Judged] = []
    start = time.monotonic()
    for i, case in enumerate(cases):
        if i >= FEWEST and time.monotonic() - start > LONGEST:
            break
        for policy in POLICIES:
            before = next((k for k in known if (k.number, k.policy) == (i, policy)), None)
            same = found[-1] if found and found[-1].number == i and found[-1].of_every_policy else None
            if before is not None and before.status != "refused":
                found.append(before)
            elif same is not None:
                found.append(same)
            else:
                found.append(_Judged(name, case[0], case[1], policy, unknown, i))
    return found


def _line(name: str, found: list[_Judged]) -> dict[str, Any]:
    order = ("crash", "wrong", "refused", "right", "constant")
    status = next((s for s in order if any(each.status == s for each in found)), "unjudged")
    told = [each for each in found if each.said and each.status == status]
    batches = {each.batch for each in found} - {""}
    return {
        "name": name,
        "status": status,
        "samples": len({each.number for each in found}),
        "reasons": [f"sample {each.number}, {each.policy}: {each.said}" for each in told],
        "batch": "specialised" if "specialised" in batches else "".join(batches),
        "frozen": sorted({end for each in found for end in each.ends}),
    }


class _Judged:
    """One sample under one policy."""

    def __init__(self, name: str, model: OneImage, x0: torch.Tensor, policy: str, unknown: str, number: int):
        self.model, self.x0, self.policy, self.unknown = model, x0, policy, unknown
        self.number, self.batch, self.of_every_policy = number, "", False
        self.ends: tuple[str, ...] = ()
        self.y0 = seeded(model, x0)
        self.draws = not torch.equal(self.y0, model(x0))
        self.u = torch.randn(PROBES, *self.y0.shape, dtype=x0.dtype)
        seen = model.without(OF_TRAINING.get(name, ()))
        self.oracle = None if self.draws or name in NO_ORACLE else _cotangents(seen, x0, self.u)
        self.close = CLOSE[x0.dtype]
        if x0.dtype != D and self.oracle is not None:
            exact = _cotangents(seen.double(), x0.double(), self.u.double())
            if exact is not None:
                self.close = max(self.close, LOOSER * off(self.oracle.double(), exact))

        self.status, self.said = self._judged()

    def _judged(self) -> tuple[str, str]:
        """The status, and why."""
        oracle = self.oracle
        if oracle is not None and not torch.isfinite(oracle).all():
            return "unjudged", ""
        try:
            errors = self._errors()
        except NoLinearPath as error:
            return self._ended(error)
        except NonFinite as error:
            return ("refused" if oracle is not None else "unjudged"), str(error)[:300]
        except FxscopeError as error:
            return "refused", _reason(error)
        except Exception as error:
            return "crash", f"{type(error).__name__}: {error}"[:400]
        said = ", ".join(
            f"{law} off by {error:.2g}" for law, error in errors.items() if not error < self.close
        )
        return ("wrong", said) if said else ("right", "")

    def _ended(self, error: NoLinearPath) -> tuple[str, str]:
        """An operator whose linear path ends: by its meaning, or because its derivative is 0."""
        zero = self.oracle is not None and not self.oracle.any()
        if self.policy == "taylor":
            return ("constant", "") if zero else ("refused", _reason(error))
        if self.oracle is not None and not zero:
            self.ends = tuple(sorted(set(_ENDS.findall(str(error)))))
        return "frozen", ""

    def _errors(self) -> dict[str, float]:
        lin = interpret(self.model, self.x0, policy=self.policy, unknown=self.unknown)
        v = torch.randn(PROBES, *self.x0.shape, dtype=self.x0.dtype)
        forward, back = lin.F @ v, lin.F.T @ self.u
        rules = [registry().rules.get(info(n).rule or "") for n in lin.program.gm.graph.nodes]
        self.of_every_policy = all(r is None or r.presets["freeze"] == r.presets["taylor"] for r in rules)
        errors = self._of_values(lin, forward, back, v)
        if self.number < WITH_FORMS:
            errors |= errors_of_forms(lin.program, self.x0, self.y0)
        if self.number < WITH_FORMS and not self.draws:
            self.batch, more = errors_of_batches(self.model, self.x0, self.policy, self.unknown)
            errors |= more
        return errors

    def _of_values(self, lin: LinearInterpreter, forward, back, v) -> dict[str, float]:
        again = (lin.F @ lin.x).reshape(-1) + lin.residual.reshape(-1)
        errors = {
            "F x0 + r": off(again, lin.y0.reshape(-1)),
            "F against F.T": dot(forward, self.u, v, back),
        }
        if not self.draws:
            errors["y0"] = off(lin.y0, self.y0)
        if self.oracle is not None:
            if self.policy == "taylor":
                errors["the derivative"] = off(back.reshape(self.oracle.shape), self.oracle)
            elif self.oracle.any() and not forward.any() and not back.any():
                errors["F is 0, and the derivative is not: F"] = float("inf")
        return errors


_ENDS = re.compile(r"^  (\S+) \(", re.MULTILINE)


def _cotangents(model: OneImage, x0: torch.Tensor, u: torch.Tensor) -> torch.Tensor | None:
    """F^T u of the Jacobian by autograd; None where the operator has no derivative in torch."""
    try:
        x = x0.clone().requires_grad_()
        y = model(x)
        if not y.requires_grad:
            return torch.zeros(len(u), *x0.shape, dtype=x0.dtype)
        each = [torch.autograd.grad(y, x, one, retain_graph=True, allow_unused=True)[0] for one in u]
        return torch.stack([torch.zeros_like(x0) if g is None else g for g in each])
    except (RuntimeError, NotImplementedError):
        return None


def _reason(error: FxscopeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return f"{type(error).__name__}: {' | '.join(lines)}"[:400]
