"""``fxscope.compare``: several networks, or several policies of one, side by side at the same x0."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import nn

from ..errors import ShapeError
from ..graph.arguments import check_images, checked
from ..graph.interpretation import VERSION, of, together
from ..linop.interpreter import LinearInterpreter
from ..linop.reader import interpret
from ..linop.scale import norm_of, power_of_two
from ..passes.outputs import tensors_of
from ..passes.policy import Policy
from ..results.base import Result
from ..results.display import Displayed
from ..results.provenance import of_network, picture
from ..results.tables import Column, Table

HEAD = 5  # singular values


@dataclass(frozen=True, repr=False)
class ComparisonEntry(Displayed):
    """The result for one network under one policy.

    Parameters
    ----------
    name, policy : str
        The name of the entry, and its policy as text.
    residual_share : float
        |r| / |y0|.
    gap : float
        |F x + r - f(x)| / |f(x)| at a point x near x0.
    changed : float
        The share of masks and indices that differ between x and x0.
    row : torch.Tensor
        The row of the chosen output, in the shape of the input.
    place : tuple of int
        The place in the input around which distances are measured.
    distance, energy : tuple
        Distances from the place, and the share of the row's energy within each.
    spectrum : tuple of float
        The largest singular values in descending order; empty unless ``spectrum=True``.
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


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """Several networks or policies, at the same x0 and the same output.

    Parameters
    ----------
    at : Any
        The index of the output.
    near : float
        The gap is measured at this distance from x0, relative to |x0|.
    readings : tuple of ComparisonEntry
        The entries; ``comparison[name]`` is one of them.
    limit : float
        The largest absolute coefficient of all rows, which is the scale of the figure.
    """

    at: Any
    near: float
    readings: tuple[ComparisonEntry, ...]
    limit: float
    _provenance: Any = field(default=None, repr=False, compare=False)
    _photograph: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        together(self.readings, "compare")

    @property
    def interpretation(self) -> int:
        """The version of the interpretation, the same for all entries."""
        return of(self.readings[0])

    def __getitem__(self, name: str) -> ComparisonEntry:
        return next(r for r in self.readings if r.name == name)

    def numbers(self) -> dict[str, Any]:
        """All fields except the rows; of a row the norm and the shape."""
        entries = [
            {**_without_row(e), "row_norm": norm_of([e.row]), "row_shape": list(e.row.shape)}
            for e in self.readings
        ]
        return {"at": str(self.at), "near": self.near, "limit": self.limit, "readings": entries}

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        header = {"at": str(self.at), "near": self.near, "limit": self.limit, "_provenance": self._provenance}
        entries = [_without_row(e) for e in self.readings]
        rows = {"rows": [e.row for e in self.readings], "_photograph": self._photograph}
        return {**header, "readings": entries}, rows

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> Comparison:
        """The comparison that a file holds; its index is text."""
        entries = (
            ComparisonEntry(row=row, **_without_lists(entry))
            for entry, row in zip(header["readings"], tensors["rows"])
        )
        kept = {"_photograph": tensors.get("_photograph")}
        return cls(**{**header, **kept, "readings": tuple(entries)})

    def _said(self) -> Iterable[str]:
        return [f"at {self.at}", *(f"{e.name}: |r|/|y| {e.residual_share:.3f}" for e in self.readings)]

    def _table(self) -> Table:
        columns = (
            "",
            "policy",
            Column("|r|/|y|", form=".3f"),
            Column("gap", form=".3e"),
            Column("changed", form=".3%"),
            Column("|row|", "output per input", ".3e"),
        )
        rows = [
            (e.name, e.policy, e.residual_share, e.gap, e.changed, norm_of([e.row])) for e in self.readings
        ]
        return Table(columns, rows, f"at {self.at}; gap at x0 + {self.near:g} |x0| noise; |r| about x = 0")


def _without_lists(entry: dict[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in entry.items()}


def _without_row(entry: ComparisonEntry) -> dict[str, Any]:
    return {f.name: getattr(entry, f.name) for f in fields(entry) if f.name != "row"}


@checked
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
    """Compare several networks, or several policies of one, at the same x0 and the same output.

    ::

        compare(x0, {"edsr": edsr, "dncnn": dncnn}, at=(0, 12, 12))
        compare(x0, ["freeze", "detach", "taylor"], at=3, model=net)

    Parameters
    ----------
    x0 : torch.Tensor
        (1, ...), one image.
    readings : dict or list
        {name: model} or {name: (model, policy)}. With ``model=``, a list of policies or {name: policy}.
    at : int or tuple
        An index of the un-batched output, as ``lin.F.row`` takes it.
    model : torch.nn.Module, optional
        The network to which all policies are applied.
    near : float
        The gap is measured at x0 + near |x0| e, where e is random noise of unit norm, the same for all.
    spectrum : bool
        Also compute the five largest singular values, which takes some hundred passes for each entry.
    seed : int
        Seed of e.

    Returns
    -------
    Comparison
        One ``ComparisonEntry`` for each network or policy.

    Raises
    ------
    ShapeError
        If x0 holds more than one image. The errors of ``fxscope.interpret`` are raised as well.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Conv2d(2, 1, 3))
    >>> found = compare(torch.rand(1, 1, 8, 8), ["freeze", "taylor"], at=(0, 2, 2), model=net)
    >>> tuple(found["taylor"].row.shape)
    (1, 8, 8)
    """
    check_images("compare: x0", x0)
    if x0.shape[0] != 1:
        raise ShapeError(f"compare: one image at a time, got a batch of {x0.shape[0]}")
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(x0)
    x = x0 + (near * norm_of([x0]) / norm_of([noise])) * noise
    found = tuple(
        _read(name, network, policy, x0, x, at, spectrum)
        for name, (network, policy) in _entries(readings, model).items()
    )
    about = {"dtype": str(x0.dtype).removeprefix("torch.")}
    if model is not None:  # of several, each has its name beside its row
        about = of_network(model, None, x0)
    limit = max(r.row.abs().max().item() for r in found)
    return Comparison(at, near, found, limit, about, picture(x0))


def _entries(readings: Any, model: nn.Module | None) -> dict[str, tuple[nn.Module, Any]]:
    if model is not None:
        table = readings if isinstance(readings, dict) else {str(p): p for p in readings}
        return {name: (model, policy) for name, policy in table.items()}
    if not isinstance(readings, dict) or not readings:
        raise TypeError(
            "compare takes {name: model} or {name: (model, policy)}; to compare several policies of one"
            " model, pass model= and a list of policies"
        )
    return {name: value if isinstance(value, tuple) else (value, None) for name, value in readings.items()}


def _read(
    name: str, network: nn.Module, policy: Any, x0: torch.Tensor, x: torch.Tensor, at: Any, spectrum: bool
) -> ComparisonEntry:
    lin = interpret(network, x0, policy=policy)
    gap, row = lin.gap(x), lin.F.row(at)
    place = _place(lin, at, row)
    distance, energy = _energy(row, place)
    return ComparisonEntry(
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
    """The place of a row: for images at the position of the output, else at the largest coefficient."""
    outputs = lin.F.outputs.shapes[0]
    if (
        isinstance(at, tuple)
        and len(at) == len(outputs) == row.dim()
        and row.dim() > 1
        and all(isinstance(i, int) for i in at)
    ):
        return lin.F.alignment().input_of(at[1:])
    spots = row.abs().sum(0) if row.dim() > 1 else row.abs()
    return tuple(int(v) for v in torch.unravel_index(spots.argmax(), spots.shape))


def _energy(row: torch.Tensor, place: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Distances from the place, by the largest difference of coordinates, and the energy within each."""
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
