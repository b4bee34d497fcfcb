"""``fxscope.verify``: the laws on your own model and image."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError
from ..frontend.example import Example
from ..frontend.unchanged import leaves_unchanged
from ..graph.arguments import checked
from ..graph.interpretation import VERSION
from ..results.display import Displayed
from ..results.pictures import captioned_bars
from ..results.tables import Column, Table
from .case import LawCase
from .laws import Law
from .structure import converted

FULL = 12.0  # powers of ten that a bar shows
ABOUT = 'what each law says, under its number: the page "The laws", docs/laws.md'
_ABOUT_F = ("law 2", "law 3", "law 5")  # at least one of them must be checked for a report to be ok


@dataclass(frozen=True, repr=False)
class Report(Displayed):
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
        return self._table().text()

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

    def _said(self) -> Iterable[str]:
        measured = sum(not law.skipped for law in self.laws)
        about = f"x0 {tuple(self.shape)} {self.dtype}", f"policy {self.policy}"
        return [
            self.model,
            *about,
            f"{measured} laws measured: {', '.join(self.broken)} broken"
            if self.broken
            else f"{measured} laws measured: {self._summary()}",
        ]

    def _table(self) -> Table:
        columns = ("law", "", Column("largest relative error", form=".2e"), Column("bound", form=".0e"), "")
        rows = [
            (law.name, law.statement, "", "", f"not checked: {law.skipped}")
            if law.skipped
            else (law.name, law.statement, law.error, law.bound, law.verdict)
            for law in self.laws
        ]
        head = f"{self.model} on {tuple(self.shape)}, {self._measured()}"
        return Table(columns, rows, head, (self._summary(), ABOUT))

    def _picture(self) -> str:
        return bars_of_laws([law for law in self.laws if not law.skipped], self.model)


def bars_of_laws(laws: Sequence[Law], name: str) -> str:
    """How far each law is from its bound, in powers of ten; a broken one has a bar to the left."""
    drawn = [(law.name, _margin(law), f"{law.error:.1e}") for law in laws]
    return captioned_bars(drawn, f"powers of ten between the error of each law and its bound, on {name}")


def _margin(law: Law) -> float:
    """Powers of ten from the error to the bound, at most ``FULL`` of them."""
    if not law.error:
        return FULL
    if not law.bound or not math.isfinite(law.error):
        return -FULL
    return min(FULL, max(-FULL, math.log10(law.bound / law.error)))


def _word(error: float) -> str | None:
    return "inf" if math.isinf(error) else None


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
