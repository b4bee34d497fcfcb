"""``fxscope.verify``: the laws on your own model and image."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from .errors import FxscopeError
from .testing import laws
from .transform import transform
from .unchanged import leaves_unchanged

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}  # float32: rounding flips single mask bits between two batch sizes
BITWISE = "law 1"


@dataclass(frozen=True)
class Law:
    """One law's largest relative error, and the bound it is held against."""

    name: str
    statement: str
    error: float
    bound: float

    @property
    def ok(self) -> bool:
        return self.error <= self.bound


@dataclass(frozen=True)
class Report:
    """The laws of one model on one image; ``ok`` where all hold. Shows itself as a table."""

    model: str
    shape: tuple[int, ...]
    dtype: str
    policy: str
    residual_share: float
    laws: tuple[Law, ...]

    @property
    def ok(self) -> bool:
        return all(law.ok for law in self.laws)

    def __str__(self) -> str:
        width = max(len(law.statement) for law in self.laws)
        head = f"{self.model} on {tuple(self.shape)}, {self.dtype}, policy {self.policy}, |r|/|y| = {self.residual_share:.3f}"
        rows = [f"  {law.name:7s} {law.statement:{width}s}  {law.error:9.2e}  (bound {law.bound:.0e})  {'ok' if law.ok else 'BROKEN'}" for law in self.laws]
        return "\n".join([head, *rows, "all laws hold" if self.ok else "some laws are broken"])

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "ok": self.ok}, indent=2)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{law.name}</td><td>{law.statement}</td><td>{law.error:.2e}</td><td>{law.bound:.0e}</td><td>{'ok' if law.ok else '<b>broken</b>'}</td></tr>" for law in self.laws)
        head = f"{self.model}, {self.dtype}, policy {self.policy}, |r|/|y| = {self.residual_share:.3f}"
        return f"<table><caption>{head}</caption><tr><th>law</th><th></th><th>largest relative error</th><th>bound</th><th></th></tr>{rows}</table>"


@leaves_unchanged
def verify(model: nn.Module, x0: torch.Tensor, *, policy: Any = None, inputs: Any = None, outputs: Any = None, dtype: torch.dtype | None = torch.float64, seed: int = 0, K: int = 3) -> Report:
    """Check the laws of the linear interpreter on ``model`` at ``x0`` (B, ...), with K random probes of x0's size.

    In a copy of the model in ``dtype`` (float64 by default; None keeps the model's own). The model is not changed. Law 6
    (F is the Jacobian) is checked for policy "taylor" and for models whose every rule on the path is piecewise linear.
    """
    model = copy.deepcopy(model).eval()
    if dtype is not None:
        model, x0 = model.to(dtype), x0.to(dtype)
    if not torch.isfinite(x0).all():
        raise FxscopeError("x0 holds NaN or infinite values; the laws are about finite ones")
    options = dict(policy=policy, inputs=inputs, outputs=outputs, example_inputs=(x0,))
    with torch.no_grad():
        return _report(model, x0, options, seed, K)


def _report(model: nn.Module, x0: torch.Tensor, options: dict, seed: int, K: int) -> Report:
    pair, filter, residual = (transform(model, form, **options) for form in ("pair", "filter", "residual"))
    rng = torch.Generator().manual_seed(seed)
    probed = _place(pair, x0)
    probes = torch.randn(K, *probed, generator=rng, dtype=torch.float64).to(x0)
    bound = TOLERANCE.get(x0.dtype, 5e-2)
    y, r = laws.tensors_of(pair(x0, probes[0])[0]), laws.tensors_of(residual(x0))
    share = (sum(t.square().sum() for t in r) / sum(t.square().sum() for t in y).clamp_min(1e-300)).sqrt().item()
    found = []
    plain = options["inputs"] is None
    if options["outputs"] is None:
        found.append(Law("law 1", "y0 is the untouched model's output", laws.distance(pair(x0, probes[0])[0], model(x0.clone())), 1e-12 if x0.dtype == torch.float64 else 1e-5))
    if plain:
        found.append(Law("law 2", "x1 = x0 gives y1 = y0 (eq. 3)", laws.law_2(pair, x0), bound))
    found.append(Law("law 3", "superposition, and F 0 = 0", laws.law_3(filter, x0, probes[0], probes[1 % K]), bound))
    found.append(Law("law 4", "pair = filter + residual", laws.law_4(pair, filter, residual, x0, probes.flatten(0, 1)), bound))
    if plain and options["outputs"] is None and _is_jacobian(pair, options["policy"]):
        found.append(Law("law 6", "F v is the Jacobian-vector product", laws.law_6(filter, model, x0, probes[0]), bound))
    found.append(Law("law 9", "no edge leads from x1 to y0", float(len(laws.law_9(pair))), 0.0))
    if plain:
        free = (pair.meta["fxscope"]["frontend"] or {}).get("batch") != "specialised"
        statement = "probes and images do not mix" if free else "probes do not mix (this graph is for one batch size)"
        found.append(Law("law 11", statement, laws.law_11(pair, x0, probes, lambda out: out[1], images=free), bound))
    return Report(type(model).__name__, tuple(x0.shape), str(x0.dtype).removeprefix("torch."), str(options["policy"] or "freeze"), share, tuple(found))


def _place(pair: torch.fx.GraphModule, x0: torch.Tensor) -> tuple[int, ...]:
    """The shape of the probed place: x0's, unless the probe enters elsewhere."""
    from .ir import info

    probe = next(n for n in pair.graph.nodes if n.op == "placeholder" and info(n).branch == "interpreter")
    node = next(n for n in pair.graph.nodes if info(n).branch == "original" and info(n).place == info(probe).place and n.op != "get_attr")
    if node.op == "placeholder":
        return tuple(x0.shape)
    recorded: dict = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n):
            value = super().run_node(n)
            if n is node:
                recorded["shape"] = tuple(value.shape)
                raise StopIteration
            return value

    try:
        Recorder(pair).run(x0, x0)
    except (StopIteration, RuntimeError) as stop:
        if "shape" not in recorded:
            raise stop
    return recorded["shape"]


def _is_jacobian(pair: torch.fx.GraphModule, policy: Any) -> bool:
    from .ir import info
    from .rules import registry

    if policy == "taylor":
        return True
    rules = {info(n).rule for n in pair.graph.nodes if info(n).branch == "interpreter" and info(n).rule}
    products = {n for n in pair.graph.nodes if info(n).branch == "interpreter" and info(n).rule in ("mul", "div", "matmul") and any(label == "gate" for label in info(n).freezes.values())}
    return not products and all(registry().rules[r].piecewise or r == "batch_norm" for r in rules if r not in ("mul", "div", "matmul"))
