"""``fxscope.compare``: several networks, or several readings of one, side by side at the same x0."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..emit.pipeline import tensors_of
from ..errors import ShapeError
from ..graph.interpretation import VERSION, together
from ..linop.interpreter import LinearInterpreter, interpret
from ..linop.scale import norm_of, power_of_two
from ..passes.policy import Policy
from ..results.registry import Drawn

HEAD = 5  # singular values


@dataclass(frozen=True)
class Reading:
    """One network under one policy at x0.

    residual_share   |r|/|y0|
    gap, changed     |F x + r - f(x)|/|f(x)| at a point near x0, and the share of masks and indices that it decides otherwise
    row              of the chosen output, in the input's shape;  distance, energy   share of the row's energy within a distance of its place
    spectrum         the largest singular values, largest first; () where they were not asked for
    """

    name: str
    policy: str
    residual_share: float
    gap: float
    changed: float
    row: torch.Tensor
    place: tuple[int, ...]
    distance: tuple[int, ...]
    energy: tuple[float, ...]
    spectrum: tuple[float, ...]
    interpretation: int = VERSION


@dataclass(frozen=True)
class Comparison(Drawn):
    """Readings at one x0 and one output, on one shared scale; ``limit`` is the largest coefficient of all their rows."""

    at: Any
    near: float
    readings: tuple[Reading, ...]
    limit: float

    def __post_init__(self):
        together(self.readings, "compare")

    def __getitem__(self, name: str) -> Reading:
        return next(r for r in self.readings if r.name == name)

    def __str__(self) -> str:
        width = max(len(r.name) for r in self.readings)
        lines = [
            f"  {r.name:{width}s}  |r|/|y| {r.residual_share:.3f}   gap {r.gap:.3e}   changed {r.changed:.3%}"
            f"   |row| {r.row.norm().item():.3e}"
            for r in self.readings
        ]
        return "\n".join([f"at {self.at}; gap at x0 + {self.near:g} |x0| noise", *lines])

    def to_json(self) -> str:
        """Everything but the rows' coefficients, of which the norm is given."""
        fields = (
            "name",
            "policy",
            "residual_share",
            "gap",
            "changed",
            "place",
            "distance",
            "energy",
            "spectrum",
            "interpretation",
        )
        readings = [
            {
                **{f: getattr(r, f) for f in fields},
                "row_norm": norm_of([r.row]),
                "row_shape": list(r.row.shape),
            }
            for r in self.readings
        ]
        return json.dumps(
            {"at": str(self.at), "near": self.near, "limit": self.limit, "readings": readings}, indent=2
        )

    def _repr_html_(self) -> str:
        head = "<tr><th></th><th>policy</th><th>|r|/|y|</th><th>gap</th><th>changed</th><th>|row|</th></tr>"
        rows = "".join(
            f"<tr><td>{r.name}</td><td>{r.policy}</td><td>{r.residual_share:.3f}</td><td>{r.gap:.3e}</td><td>{r.changed:.3%}</td><td>{r.row.norm().item():.3e}</td></tr>"
            for r in self.readings
        )
        return f"<table><caption>readings at {self.at}</caption>{head}{rows}</table>"


def compare(
    x0: torch.Tensor,
    readings: Any,
    at: Any,
    *,
    model: nn.Module | None = None,
    near: float = 0.01,
    spectrum: bool = False,
    seed: int = 0,
) -> Comparison:
    """Several networks, or several readings of one, at the same x0 (1, ...) and the same output.

        compare(x0, {"edsr": edsr, "dncnn": dncnn}, at=(0, 12, 12))
        compare(x0, ["freeze", "detach", "taylor"], at=3, model=net)

    readings  {name: model}, {name: (model, policy)}, or with ``model=`` a list of policies or {name: policy}
    at        an index of the un-batched output, as ``lin.F.row`` takes it
    near      the gap is measured at x0 + near |x0| e, e of unit norm, the same for all
    spectrum  also the five largest singular values of each, which takes some hundred passes

    Raises ``ShapeError`` for more than one image, and what ``interpret`` raises.
    """
    if x0.shape[0] != 1:
        raise ShapeError(f"compare: one image at a time, got a batch of {x0.shape[0]}")
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(x0)
    x = x0 + (near * norm_of([x0]) / norm_of([noise])) * noise
    found = tuple(
        _read(name, network, policy, x0, x, at, spectrum)
        for name, (network, policy) in _entries(readings, model).items()
    )
    return Comparison(at, near, found, max(r.row.abs().max().item() for r in found))


def _entries(readings: Any, model: nn.Module | None) -> dict[str, tuple[nn.Module, Any]]:
    if model is not None:
        table = readings if isinstance(readings, dict) else {str(p): p for p in readings}
        return {name: (model, policy) for name, policy in table.items()}
    if not isinstance(readings, dict) or not readings:
        raise TypeError(
            "compare takes {name: model} or {name: (model, policy)}; for several policies of one model pass"
            " model="
        )
    return {name: value if isinstance(value, tuple) else (value, None) for name, value in readings.items()}


def _read(
    name: str, network: nn.Module, policy: Any, x0: torch.Tensor, x: torch.Tensor, at: Any, spectrum: bool
) -> Reading:
    lin = interpret(network, x0, policy=policy)
    gap, row = lin.gap(x), lin.F.row(at)
    place = _place(lin, at, row)
    distance, energy = _energy(row, place)
    return Reading(
        name,
        _said(policy),
        _share(lin),
        gap["error"],
        gap["changed"],
        row,
        place,
        distance,
        energy,
        tuple(lin.F.svd(HEAD).s.tolist()) if spectrum else (),
    )


def _said(policy: Any) -> str:
    policy = Policy.of(policy)
    return policy.preset + "".join(f", {key}: {variant}" for key, variant in policy.choices.items())


def _share(lin: LinearInterpreter) -> float:
    r, y = tensors_of(lin.residual), tensors_of(lin.y0)
    return norm_of(r) / (norm_of(y) or 1.0)


def _place(lin: LinearInterpreter, at: Any, row: torch.Tensor) -> tuple[int, ...]:
    """Where a row is centred: the input under the output, for images of images; else its largest coefficient."""
    outputs = lin.F.outputs.shapes[0]
    if (
        isinstance(at, tuple)
        and len(at) == len(outputs) == row.dim()
        and row.dim() > 1
        and all(isinstance(i, int) for i in at)
    ):
        return tuple(int((i % n + 0.5) * m / n) for i, n, m in zip(at[1:], outputs[1:], row.shape[1:]))
    spots = row.abs().sum(0) if row.dim() > 1 else row.abs()
    return tuple(int(v) for v in torch.unravel_index(spots.argmax(), spots.shape))


def _energy(row: torch.Tensor, place: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Cumulated share of sum row^2 within a (largest-coordinate) distance of the place."""
    row = row.double() / power_of_two(norm_of([row]))
    power = row.square().sum(0) if row.dim() > 1 else row.square()
    axes = [(torch.arange(n, device=row.device) - p).abs() for n, p in zip(power.shape, place)]
    far = torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(0)
    shares = (
        torch.zeros(int(far.max()) + 1, dtype=power.dtype, device=row.device)
        .index_add(0, far.flatten(), power.flatten())
        .cumsum(0)
    )
    return tuple(range(len(shares))), tuple((shares / shares[-1].clamp_min(1e-300)).tolist())
