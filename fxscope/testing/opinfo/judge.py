"""One operator of PyTorch's database: its samples, and what fxscope makes of each."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ...errors import FxscopeError, NoLinearPath, NonFinite
from ...linop.reader import interpret

D = torch.float64
LARGEST = 20000  # entries of an input or output that is looked at
PROBES = 3
CLOSE = 1e-7
POLICIES = ("taylor", "freeze")
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
        given = x[0] if self.rest is None else [x[0], *self.rest]
        y = self.process(self.op(given, *self.args, **self.options))
        if isinstance(y, torch.Tensor):
            return (torch.view_as_real(y) if y.is_complex() else y)[None]
        parts = pytree.tree_leaves(y)
        if self.differentiable is not None:
            parts = [t for t, wanted in zip(parts, self.differentiable) if wanted]
        parts = [torch.view_as_real(t) if t.is_complex() else t for t in parts]
        return torch.cat([t.reshape(-1) for t in parts])[None]

    def settle(self, x: torch.Tensor) -> None:
        """Of several outputs, read those alone that torch differentiates."""
        one = x[0].clone().requires_grad_()
        given = one if self.rest is None else [one, *self.rest]
        y = self.process(self.op(given, *self.args, **self.options))
        if not isinstance(y, torch.Tensor):
            self.differentiable = [
                isinstance(t, torch.Tensor) and t.requires_grad for t in pytree.tree_leaves(y)
            ]


def database() -> dict[str, Any]:
    """{name: its entry} of the differentiable operators of the installed torch that take float64."""
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    except ModuleNotFoundError as missing:
        raise FxscopeError(f"PyTorch's database of operators needs the package {missing.name}") from missing
    found: dict[str, Any] = {}
    for op in op_db:
        if op.supports_autograd and D in op.dtypes:
            found.setdefault(f"{op.name}-{op.variant_test_name}".rstrip("-"), op)
    return found


def samples(op: Any, count: int) -> list[tuple[OneImage, torch.Tensor]]:
    """(module, x0) of the first samples on which the operator gives finite floating values."""
    found: list[tuple[OneImage, torch.Tensor]] = []
    # all at once: a generator that is left half-way ends whenever memory is swept, in the middle of a trace
    for sample in list(op.sample_inputs("cpu", D)):
        first = sample.input[0] if isinstance(sample.input, (list, tuple)) and sample.input else sample.input
        usable = isinstance(first, torch.Tensor) and first.dtype == D and first.layout is torch.strided
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
        y = drawn(model, x0)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return False
    return y.dtype == D and 0 < y.numel() <= LARGEST and bool(torch.isfinite(y).all())


def drawn(function: Any, x: torch.Tensor) -> torch.Tensor:
    """``function(x)`` under one seed."""
    torch.manual_seed(0)
    return function(x)


def judge(name: str, op: Any, count: int, unknown: str) -> dict[str, Any]:
    """The line of an operator: its status, and the reasons where it is not right.

    The status is ``right`` where all samples are right under every policy, ``refused``, ``wrong``, ``crash``,
    or ``unjudged`` where no sample has finite values and a finite derivative.
    """
    logging.getLogger("fxscope").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    start = time.monotonic()
    found: list[tuple[str, str]] = []
    torch.manual_seed(0)
    try:
        cases = samples(op, count)
    except Exception as error:  # the database's own code
        return {"name": name, "status": "unjudged", "samples": 0, "reasons": [f"no samples: {error}"[:300]]}
    for i, case in enumerate(cases):
        for policy in POLICIES:
            status, said = _judged(name, *case, policy, unknown)
            found.append((status, f"sample {i}, {policy}: {said}" if said else ""))
    order = ("crash", "wrong", "refused", "right", "constant")
    status = next((s for s in order if any(f[0] == s for f in found)), "unjudged")
    reasons = [said for s, said in found if said and s == status]
    seconds = round(time.monotonic() - start, 2)
    return {"name": name, "status": status, "samples": len(cases), "reasons": reasons, "seconds": seconds}


def _judged(name: str, model: OneImage, x0: torch.Tensor, policy: str, unknown: str) -> tuple[str, str]:
    draws = not torch.equal(drawn(model, x0), model(x0))
    u = torch.randn(PROBES, *drawn(model, x0).shape, dtype=D)
    v = torch.randn(PROBES, *x0.shape, dtype=D)
    oracle = None if draws or name in NO_ORACLE else _cotangents(model, x0, u)
    if oracle is not None and not torch.isfinite(oracle).all():
        return "unjudged", ""
    try:
        lin = interpret(model, x0, policy=policy, unknown=unknown)
        forward, back = lin.F @ v, lin.F.T @ u
        again = (lin.F @ lin.x).reshape(-1) + lin.residual.reshape(-1)
    except NoLinearPath as error:
        if policy != "taylor":
            return "frozen", ""
        return ("constant", "") if oracle is not None and not oracle.any() else ("refused", _reason(error))
    except NonFinite as error:
        return ("refused" if oracle is not None else "unjudged"), str(error)[:300]
    except FxscopeError as error:
        return "refused", _reason(error)
    except Exception as error:
        return "crash", f"{type(error).__name__}: {error}"[:400]
    errors = {
        "F x0 + r": off(again, lin.y0.reshape(-1)),
        "F against F.T": _dot(forward, u, v, back),
    }
    if not draws:
        errors["y0"] = off(lin.y0, model(x0))
    if policy == "taylor" and oracle is not None:
        errors["the derivative"] = off(back.reshape(oracle.shape), oracle)
    said = ", ".join(f"{law} off by {error:.2g}" for law, error in errors.items() if not error < CLOSE)
    return ("wrong", said) if said else ("right", "")


def _dot(forward, u, v, back) -> float:
    """How far <F v_i, u_j> is from <v_i, F^T u_j>, for every pair."""
    a = forward.reshape(len(v), -1) @ u.reshape(len(u), -1).T
    b = v.reshape(len(v), -1) @ back.reshape(len(u), -1).T
    return off(a, b)


def _cotangents(model: OneImage, x0: torch.Tensor, u: torch.Tensor) -> torch.Tensor | None:
    """F^T u of the Jacobian by autograd; None where the operator has no derivative in torch."""
    try:
        x = x0.clone().requires_grad_()
        y = model(x)
        if not y.requires_grad:
            return torch.zeros(len(u), *x0.shape, dtype=D)
        each = [torch.autograd.grad(y, x, one, retain_graph=True, allow_unused=True)[0] for one in u]
        return torch.stack([torch.zeros_like(x0) if g is None else g for g in each])
    except (RuntimeError, NotImplementedError):
        return None


def _reason(error: FxscopeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return f"{type(error).__name__}: {' | '.join(lines)}"[:400]


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, relative to 1 + the largest entry."""
    if a.shape != b.shape:
        return float("inf")
    return 0.0 if a.numel() == 0 else float((a - b).detach().abs().max() / (1 + b.detach().abs().max()))
