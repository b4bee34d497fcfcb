"""``fxscope.verify``: the laws on your own model and image."""

from __future__ import annotations

import copy
import html
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..emit.pipeline import program_of
from ..errors import FxscopeError
from ..frontend.example import Example
from ..frontend.unchanged import leaves_unchanged
from ..graph.interpretation import VERSION
from .laws import Law
from .structure import mapped_example
from .subject import Subject

_ABOUT_F = ("law 2", "law 3", "law 5")  # a report in which none of them was held says nothing of F


@dataclass(frozen=True)
class Report:
    """The laws of one model on one image; ``ok`` where all that apply hold, and some of them are about F.
    Shows itself as a table.
    """

    model: str
    shape: tuple[int, ...]
    dtype: str
    policy: str
    residual_share: float
    laws: tuple[Law, ...]
    interpretation: int = VERSION

    @property
    def ok(self) -> bool:
        return all(law.ok for law in self.laws) and any(
            law.name in _ABOUT_F and not law.skipped for law in self.laws
        )

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the laws that are broken."""
        return tuple(law.name for law in self.laws if not law.ok)

    def __str__(self) -> str:
        names, width = (max(len(getattr(law, field)) for law in self.laws) for field in ("name", "statement"))
        head = f"{self.model} on {tuple(self.shape)}, {self._measured()}"
        rows = [f"  {law.name:{names}s} {law.statement:{width}s}  {_told(law)}" for law in self.laws]
        return "\n".join([head, *rows, self._summary()])

    def _summary(self) -> str:
        if self.ok:
            return "all laws hold"
        return "some laws are broken" if self.broken else "no law about F could be checked"

    def to_json(self) -> str:
        """The laws as JSON; the error of a law that was not checked is null."""
        laws = [
            {**asdict(law), "error": law.error if math.isfinite(law.error) else _word(law.error)}
            for law in self.laws
        ]
        return json.dumps({**asdict(self), "laws": laws, "ok": self.ok}, indent=2)

    def _measured(self) -> str:
        return f"{self.dtype}, policy {self.policy}, |r|/|y| = {self.residual_share:.3f}"

    def _repr_html_(self) -> str:
        rows = "".join(_row(law) for law in self.laws)
        names = "<tr><th>law</th><th></th><th>largest relative error</th><th>bound</th><th></th></tr>"
        return f"<table><caption>{self.model}, {self._measured()}</caption>{names}{rows}</table>"


def _told(law: Law) -> str:
    if law.skipped:
        return f"not checked: {law.skipped}"
    return f"{law.error:9.2e}  (bound {law.bound:.0e})  {law.verdict}"


def _word(error: float) -> str | None:
    return "inf" if math.isinf(error) else None


def _row(law: Law) -> str:
    named = f"<tr><td>{law.name}</td><td>{html.escape(law.statement)}</td>"
    if law.skipped:
        return f"{named}<td colspan='3'>not checked: {html.escape(law.skipped)}</td></tr>"
    verdict = "ok" if law.ok else "<b>broken</b>"
    return f"{named}<td>{law.error:.2e}</td><td>{law.bound:.0e}</td><td>{verdict}</td></tr>"


@leaves_unchanged
def verify(
    model: nn.Module,
    *args: Any,
    policy: Any = None,
    inputs: Any = None,
    outputs: Any = None,
    dtype: torch.dtype | None = torch.float64,
    seed: int = 0,
    K: int = 3,
    frontend: str = "auto",
    thorough: bool | None = None,
    **kwargs: Any,
) -> Report:
    """Check the laws of the linear interpreter on ``model`` at x0, with K random probes of x0's size.

        report = verify(model, x0);   report.ok;   report.laws;   print(report)

    args, kwargs   what the model takes, as in ``fxscope.interpret``: the first tensor is x0 (B, ...), unless
                   ``inputs`` names another place
    policy, inputs, outputs, frontend   as in ``fxscope.interpret``
    dtype      of the copy of the model in which all is measured; None keeps the model's own
    thorough   whether the other frontend is asked for its F as well (law 13), which takes long: by default
               where the graph is small

    In a copy of the model, in its own mode; the model is not changed, and what it draws is drawn under one
    seed. A law that does not apply
    is listed with its reason, and ``ok`` is False where none about F could be checked. Law 6 (F is the
    derivative) is held for the program
    itself where policy is "taylor" or every rule on the path is piecewise linear, and else for the same
    network's under "taylor".

    Raises what ``interpret`` raises, and ``FxscopeError`` where an input holds NaN or infinite values.
    """
    model, example = copy.deepcopy(model), Example.of(Example(args, kwargs), model)
    if dtype is not None:
        model = model.to(dtype)
        example = mapped_example(lambda t: t.to(dtype) if t.is_floating_point() else t, example)
    if not all(torch.isfinite(t).all() for t in example.tensors()):
        raise FxscopeError("x0 holds NaN or infinite values; the laws are about finite ones")
    options = dict(policy=policy, inputs=inputs, outputs=outputs)
    with torch.no_grad():
        program = program_of(model, example_inputs=example, frontend=frontend, **options)
        subject = Subject(model, program, example, K=K, seed=seed, thorough=thorough, **options)
        _ = subject.lin  # raises where x0 gives values that are not finite
        laws, share = subject.measured(), subject.share
    x0 = subject.args[0]
    floating = next((t.dtype for t in (*subject.x, x0) if t.is_floating_point()), x0.dtype)
    return Report(
        type(model).__name__,
        tuple(x0.shape),
        str(floating).removeprefix("torch."),
        str(policy or "freeze"),
        share,
        laws,
    )
