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

from ..errors import FxscopeError
from ..frontend.example import Example
from ..frontend.unchanged import leaves_unchanged
from ..graph.arguments import checked
from ..graph.interpretation import VERSION
from .case import LawCase
from .laws import Law
from .structure import converted

ABOUT = 'what each law says, under its number: the page "The laws", docs/laws.md'
_ABOUT_F = ("law 2", "law 3", "law 5")  # at least one of them must be checked for a report to be ok


@dataclass(frozen=True)
class Report:
    """The laws of one model on one input; shown as a table.

    Attributes
    ----------
    model
        Class name of the model.
    shape, dtype
        Of x0.
    policy
        The policy under which the model was interpreted.
    residual_share
        ``|r| / |y0|`` about x = 0.
    laws
        Every law with its largest relative error, its bound, or the reason why it was not checked.
    linearised
        The operators whose derivative stands for them, each with its line.
    interpretation
        Version of the interpretation.
    """

    model: str
    shape: tuple[int, ...]
    dtype: str
    policy: str
    residual_share: float
    laws: tuple[Law, ...]
    linearised: tuple[str, ...] = ()
    interpretation: int = VERSION

    @property
    def ok(self) -> bool:
        """Whether all laws that apply hold, and at least one of them is about F."""
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
        return "\n".join([head, *rows, self._summary(), ABOUT])

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
        said = ", ".join((f"policy {self.policy}", *(f"linearised {name}" for name in self.linearised)))
        return f"{self.dtype}, {said}, |r|/|y| = {self.residual_share:.3f} about x = 0"

    def _repr_html_(self) -> str:
        rows = "".join(_row(law) for law in self.laws)
        names = "<tr><th>law</th><th></th><th>largest relative error</th><th>bound</th><th></th></tr>"
        return f"<table><caption>{self.model}, {html.escape(self._measured())}</caption>{names}{rows}</table>"


def _told(law: Law) -> str:
    if law.skipped:
        return f"not checked: {law.skipped}"
    return f"{law.error:9.2e}  (bound {law.bound:.0e})  {law.verdict}"


def _word(error: float) -> str | None:
    return "inf" if math.isinf(error) else None


def _row(law: Law) -> str:
    named = f"<tr><td style='white-space: nowrap'>{law.name}</td><td>{html.escape(law.statement)}</td>"
    if law.skipped:
        return f"{named}<td colspan='3'>not checked: {html.escape(law.skipped)}</td></tr>"
    verdict = "ok" if law.ok else "<b>broken</b>"
    return f"{named}<td>{law.error:.2e}</td><td>{law.bound:.0e}</td><td>{verdict}</td></tr>"


@checked
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
    unknown: str = "refuse",
    thorough: bool | None = None,
    **kwargs: Any,
) -> Report:
    """Check the laws of the linear interpreter on ``model`` at x0, with K random probes of x0's size.

    ::

        report = verify(model, x0);   report.ok;   report.laws;   print(report)

    The laws are measured in a copy of the model, in its own mode; its random numbers are drawn under one
    seed. A law that does not apply is listed with its reason. Law 6 (F is the derivative) is measured for F
    itself if the policy is "taylor" or every rule on the path is piecewise linear, and otherwise for F under
    "taylor".

    Parameters
    ----------
    model
        The network; it is not changed.
    *args, **kwargs
        What the model takes, as in ``fxscope.interpret``: the first tensor is x0, of shape (B, ...), unless
        ``inputs`` names another place.
    policy, inputs, outputs, frontend, unknown
        As in ``fxscope.interpret``.
    dtype
        Of the copy of the model; None keeps the model's own.
    seed
        Seed of the probes.
    K
        Number of probes; at least 2.
    thorough
        Whether to compare with the F of the other frontend (law 13), which takes long; by default, if the
        graph is small.

    Returns
    -------
    Report
        ``ok`` is False if a law is broken, or if no law about F could be checked.

    Raises
    ------
    FxscopeError
        If an input holds NaN or infinite values; and whatever ``fxscope.interpret`` raises.
    """
    model, example = copy.deepcopy(model), Example(args, kwargs)
    example = Example.of(example, model) or example
    if dtype is not None:
        model = model.to(dtype)
        example = converted(example, dtype)
    if not all(torch.isfinite(t).all() for t in example.tensors()):
        raise FxscopeError("x0 holds NaN or infinite values; the laws are about finite ones")
    options: dict[str, Any] = {"frontend": frontend, "K": K, "seed": seed, "thorough": thorough}
    options["unknown"] = unknown
    with torch.no_grad():
        s = LawCase.of(model, example, policy, inputs, outputs, **options)
        _ = s.lin  # raises where x0 gives values that are not finite
        laws, share = s.measured(), s.share
    x0 = s.args[0]
    floating = next((t.dtype for t in (*s.x, x0) if t.is_floating_point()), x0.dtype)
    return Report(
        type(model).__name__,
        tuple(x0.shape),
        str(floating).removeprefix("torch."),
        str(policy or "freeze"),
        share,
        laws,
        s.program.linearised(),
    )
