"""PyTorch's own database of operators and sample inputs.

Every sample of an operator that a rule covers is right, or refused by an ``FxscopeError``.
"""

from __future__ import annotations

import contextlib
import logging

import pytest
import torch
from torch import nn
from torch.testing._internal.common_methods_invocations import op_db

import fxscope
from fxscope.errors import FxscopeError
from fxscope.rules import registry

D = torch.float64
LARGEST = 400  # entries of an input or output that is looked at
SAMPLES = 1


class OneImage(nn.Module):
    """A sample's call on the one image of a batch."""

    def __init__(self, op, sample):
        super().__init__()
        self.op, self.args, self.options = op, sample.args, sample.kwargs

    def forward(self, x):
        y = self.op(x[0], *self.args, **self.options)
        return y[None]


def _covered(op) -> bool:
    """Whether a rule spells the operator, as a function or as a method."""
    rules = registry()
    names = [op.name.rsplit(".", 1)[-1], *(a.name for a in op.aliases)]
    return rules.of_function(op.op) is not None or any(n in rules.methods for n in names)


def _database():
    found = {}
    for op in op_db:
        if D in op.dtypes and _covered(op) and not op.name.startswith("sparse."):
            found.setdefault(f"{op.name}-{op.variant_test_name}".rstrip("-"), op)
    return found


OPERATORS = _database()


def _drawn(function, x):
    torch.manual_seed(0)
    return function(x)


def _samples(op):
    """(module, x0) of the first samples that are small and give one tensor in double precision.

    The tensor is the same at every call.
    """
    found = []
    for sample in list(op.sample_inputs("cpu", D)):
        x = sample.input
        if (
            len(found) == SAMPLES
            or not isinstance(x, torch.Tensor)
            or not x.is_floating_point()
            or not 0 < x.numel() <= LARGEST
        ):
            continue
        model, x0 = OneImage(op.op, sample), x.detach().clone()[None]
        y = _drawn(model, x0) if _gives_a_tensor(op, sample) else None
        if (
            y is not None
            and y.dtype == D
            and 0 < y.numel() <= LARGEST
            and torch.isfinite(y).all()
            and torch.equal(y, model(x0))
        ):
            found.append((model, x0))
    return found


def _gives_a_tensor(op, sample) -> bool:
    with contextlib.suppress(RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return isinstance(op.op(sample.input.detach(), *sample.args, **sample.kwargs), torch.Tensor)
    return False


def _off(a, b) -> float:
    return 0.0 if a.numel() == 0 else float((a - b).abs().max() / (1 + b.abs().max()))


def _wrong(model, x0, policy) -> str:
    """What is wrong with the reading of a model; "" where it is right or refused."""
    try:
        lin = fxscope.interpret(model, x0, policy=policy)
    except FxscopeError:
        return ""
    n, outputs = x0.numel(), lin.y0.numel()
    forward, back = lin.F.to_dense().reshape(outputs, n), lin.F.T.to_dense().reshape(n, outputs)
    errors = {
        "y0": _off(lin.y0, model(x0)),
        "F against F.T": _off(back.T, forward),
        "F x0 + r": _off(forward @ x0.reshape(-1) + lin.residual.reshape(-1), lin.y0.reshape(-1)),
    }
    jacobian = _jacobian(model, x0, outputs) if policy == "taylor" else None
    if jacobian is not None:
        errors["the Jacobian"] = _off(forward, jacobian)
    return ", ".join(f"{law} off by {error:.2g}" for law, error in errors.items() if not error < 1e-8)


def _jacobian(model, x0, outputs):
    with contextlib.suppress(RuntimeError, NotImplementedError):
        found = torch.autograd.functional.jacobian(model, x0).reshape(outputs, x0.numel())
        return found if torch.isfinite(found).all() else None
    return None


# autograd's backward pass of unpooling reads every write to an index, though one alone is seen in the output;
# tests/test_unpooling.py has the oracle
NO_ORACLE = ("nn.functional.max_unpool1d", "nn.functional.max_unpool2d", "nn.functional.max_unpool3d")


SOME = sorted(OPERATORS)[::6]  # the others where ``full`` is asked for


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in SOME else pytest.mark.full) for n in OPERATORS]
)
def test_right_or_refused(name, caplog):
    caplog.set_level(logging.ERROR)
    torch.manual_seed(0)
    policies = (None,) if name in NO_ORACLE else (None, "taylor")
    wrong = [
        f"sample {i}, {policy or 'freeze'}: {said}"
        for i, case in enumerate(_samples(OPERATORS[name]))
        for policy in policies
        if (said := _wrong(*case, policy))
    ]
    assert not wrong, "\n".join(wrong)
