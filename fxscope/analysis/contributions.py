"""Contributions: F x0 and every additive constant of the network, which sum to an output (Theorem 1)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch.utils import _pytree as pytree

from ..emit import layer_of
from ..errors import FxscopeError, PlaceIndexError, ShapeError
from ..graph.interpretation import KEY, VERSION, of
from ..graph.ir import emitted
from ..linop.index import several
from ..linop.interpreter import LinearInterpreter
from ..results.base import Result
from ..results.display import Displayed
from ..results.provenance import caption
from ..results.registry import provides
from ..results.tables import Column, Table, counted

LARGEST = 24  # terms that a table names


@dataclass(frozen=True, repr=False)
class Term(Displayed):
    """The contribution of one additive constant to the output.

    Parameters
    ----------
    place : str
        The node at which the constant is added.
    module, rule : str
        Path of its module, and its rule.
    kind : str
        "bias" (convolution, linear), "shift" (norms), "intercept" (c(x0) of a unit), "constant" (a constant
        operand), "padding", or "frozen" (a value of x0 that does not depend on the probe, such as a second
        input or a skip connection around a tap).
    depth : int
        Position in the order of the graph.
    value : float or torch.Tensor
        A number for one image, or (B,). In units of the output.
    layer : str
        The linear layer to which it belongs; a layer includes the batch norm and the unit after it.
    """

    place: str
    module: str
    rule: str
    kind: str
    depth: int
    value: Any
    layer: str = ""


@dataclass(frozen=True, repr=False)
class Contributions(Result):
    """The contributions to one output: y0[index] = linear + sum of the terms (paper, eq. 15 and Theorem 1).

    Parameters
    ----------
    index : Any
        The index of the output.
    linear : float or torch.Tensor
        <row, x0>, a number for one image, or (B,).
    terms : tuple of Term
        The contributions of all constants, in the order of the graph.
    output : float or torch.Tensor
        y0[index], a number for one image, or (B,).
    """

    description: ClassVar[str] = "contributions"
    index: Any
    linear: Any
    terms: tuple[Term, ...]
    output: Any
    _origin: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    _source: Any = field(default=None, repr=False, compare=False)

    @property
    def residual(self) -> Any:
        """The sum of the terms, r[index]."""
        return sum(t.value for t in self.terms)

    @property
    def total(self) -> Any:
        """``linear`` plus ``residual``; it differs from ``output`` by ``error``."""
        return self.linear + self.residual

    @property
    def error(self) -> float:
        """The largest difference between ``total`` and ``output``."""
        return float(torch.as_tensor(self.total - self.output).abs().max())

    @property
    def origin(self) -> dict[str, Any]:
        """The provenance: model, hashes of weights and image, policy, dtype, versions."""
        return self._live()[0].F.origin() if self._origin is None else self._origin

    @property
    def interpretation(self) -> int:
        """The version of the interpretation."""
        return VERSION if self._origin is None else of(self._origin)

    def by_layer(self, depth: int | None = None) -> dict[str, Any]:
        """The sum of the terms of each module; bias and intercept together are the paper's masked bias.

        Parameters
        ----------
        depth : int, optional
            Number of names that are kept of a module path: ``by_layer(3)`` has one entry for
            "transformer.h.0".

        Returns
        -------
        dict
            {module: sum of its terms}, in the order of the graph.
        """
        found: dict[str, Any] = {}
        for term in self.terms:
            name = ".".join((term.module or term.place).split(".")[:depth])
            found[name] = found.get(name, 0) + term.value
        return found

    def by_token(self, dim: int = 1) -> torch.Tensor:
        """The contribution of the embedding of each token: <row, x> at each position of the probed place.

        Parameters
        ----------
        dim : int
            The dimension of the tokens.

        Returns
        -------
        torch.Tensor
            (B, L), with the sum ``linear``. Position embeddings and biases are terms of the residual.

        Raises
        ------
        ShapeError
            If several places are probed, or the probed place has no dimension of tokens.
        FxscopeError
            If the images of the batch mix: an output then depends on the tokens of several.
        """
        lin, _, row = self._live()
        if lin.images_mix:
            raise FxscopeError("by_token: the images of the batch mix; interpret them one at a time")
        if isinstance(lin.x, tuple) or lin.x.dim() < 2:
            raise ShapeError("by_token needs one probed place with a dimension of tokens, (B, L, ...)")
        lin.fresh.check()
        product = row[0] * lin.x
        return product.sum([d for d in range(1, product.dim()) if d != dim])

    def elementwise(self) -> dict[str, torch.Tensor]:
        """{place: (B, ...)}, the contribution of each element of a constant; each tensor sums to its term."""
        lin, y2, _ = self._live()
        graph, _ = lin.prepared.shares(elementwise=True)
        _, shares = lin.shares(y2, elementwise=True)
        names = _unique([label["place"] for label in emitted(graph)["labels"]])
        return {name: share[0] for name, share, met in zip(names, shares, _met(lin, graph, y2)) if met}

    def numbers(self) -> dict[str, Any]:
        """The terms with their places, and the sums."""
        totals = {n: torch.as_tensor(getattr(self, n)) for n in ("linear", "residual", "total", "output")}
        terms = [asdict(t) for t in self.terms]
        return {
            "index": str(self.index),
            KEY: self.interpretation,
            **totals,
            "error": self.error,
            "terms": terms,
        }

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        terms = [{n: v for n, v in asdict(t).items() if n != "value"} for t in self.terms]
        tensors = {
            "linear": _tensor(self.linear),
            "output": _tensor(self.output),
            "values": [_tensor(t.value) for t in self.terms],
        }
        return {"index": str(self.index), "terms": terms, "origin": self.origin}, tensors

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> Contributions:
        """The contributions that a file holds; their index is text."""
        terms = tuple(
            Term(**term, value=_value(value)) for term, value in zip(header["terms"], tensors["values"])
        )
        linear, output = _value(tensors["linear"]), _value(tensors["output"])
        return cls(header["index"], linear, terms, output, header["origin"])

    def _live(self) -> tuple:
        if self._source is None:
            raise FxscopeError(
                "contributions from a file hold only the sums; compute them again from the model:"
                " lin.contributions(index)"
            )
        return self._source

    def _said(self) -> Iterable[str]:
        y, linear = _mean(self.output), _mean(self.linear)
        about = (
            f"y0[{self.index}] = {y:.4g} = F x0 {linear:+.4g} and {len(self.terms)} terms {y - linear:+.4g}"
        )
        return [about, *self._about()]

    def _about(self) -> list[str]:
        """Network and policy, without the hashes of its provenance, which takes all weights."""
        if self._source is None:
            return [caption(self.origin)] if self._origin else []
        lin = self._source[0]
        return [type(lin.model).__name__, lin.policy]

    def _table(self, first: int | None = LARGEST) -> Table:
        """The ``first`` largest terms, or all, in the order of the graph."""
        values = [_mean(t.value) for t in self.terms]
        named = set(sorted(range(len(values)), key=lambda i: -abs(values[i]))[:first])
        rows = [("F x0", "", _mean(self.linear))]
        rows += [(t.place, t.kind, v) for i, (t, v) in enumerate(zip(self.terms, values)) if i in named]
        rest = [v for i, v in enumerate(values) if i not in named]
        rows += [(counted(len(rest), "smaller term"), "", sum(rest))] if rest else []
        rows.append(("sum", "", _mean(self.total)))
        columns = ("place", "kind", Column("contribution", "output", "+.6g"))
        off = f"y0[{self.index}] = {_mean(self.output):.6g}, from which the sum differs by {self.error:.1e}"
        batch = isinstance(self.output, torch.Tensor)
        return Table(columns, rows, "", (off, *(["means over the images of the batch"] if batch else [])))


@provides(LinearInterpreter, "contributions")
def iter_contributions(lin: LinearInterpreter, indices: Iterable[Any], chunk: int) -> Iterator[Contributions]:
    """Yield the contributions of many outputs, ``chunk`` outputs in one batch of reverse passes."""
    graph, _ = lin.prepared.shares()
    labels = [
        {**label, "layer": layer_of(record)}
        for label, record in zip(emitted(graph)["labels"], emitted(graph)["records"])
    ]
    indices = iter(several(indices, lin.F.outputs.name))
    while pending := list(itertools.islice(indices, chunk)):
        yield from _together(lin, graph, labels, pending)


def _together(
    lin: LinearInterpreter, graph: Any, labels: list[dict], indices: list[Any]
) -> Iterator[Contributions]:
    space = lin.F.outputs
    y2, _ = space.stack(space.cotangents(indices, lin.batch, constant=True))
    _check_batch(lin, y2, indices)
    if lin.batch > 1 and (emitted(graph)["apart"] or lin.images_mix):
        x2, linear, shares = _by_image(lin, y2)
    else:
        x2, shares = lin.shares(y2)
        linear = _paired(x2, lin.x, lin.batch)
    output = _paired(y2, lin._outputs(lin.y0), lin.batch)
    for k, index in enumerate(indices):
        source = (lin, *(pytree.tree_map(lambda t, k=k: t[k : k + 1], pulled) for pulled in (y2, x2)))
        met = _met(lin, graph, source[1])
        terms = (
            Term(
                label["place"], label["module"], label["rule"], label["kind"], i, _value(s[k]), label["layer"]
            )
            for i, (label, s) in enumerate(zip(labels, shares))
            if met[i]
        )
        yield Contributions(index, _value(linear[k]), tuple(terms), _value(output[k]), None, source)


def _check_batch(lin: LinearInterpreter, y2: Any, indices: list[Any]) -> None:
    """Raise ``PlaceIndexError`` for regions, pairs or tokens of the only image, which stand for its batch.

    A share is summed over all but probes and images, whose number is that of the output.
    """
    for cotangent in pytree.tree_leaves(y2) if lin.F.outputs.batched else ():
        if cotangent.dim() > 1 and cotangent.shape[1] != lin.batch and cotangent.any():
            said = " or ".join(map(repr, indices))
            raise PlaceIndexError(
                f"contributions: {said} is in an output {tuple(cotangent.shape[1:])} whose first dimension is"
                f" not the batch of {lin.batch}; lin.F.row gives its row, and y0 - F x0 its share of r"
            )


def _met(lin: LinearInterpreter, graph: Any, y2: Any) -> list[bool]:
    """Whether each share is a term for the cotangent y2.

    A constant that is itself an output is a term only if the index selects this output.
    """
    own, space = emitted(graph)["own"], lin.F.outputs
    leaves = pytree.tree_leaves(y2)
    inner = len(emitted(graph)["labels"]) - len(own)
    return [True] * inner + [bool(leaves[space.keys.index(key)].any()) for key in own]


def _by_image(lin: LinearInterpreter, y2: Any) -> tuple[Any, torch.Tensor, tuple[torch.Tensor, ...]]:
    """F^T y2, F x0 and the shares of every image, by one reverse pass for each image.

    This is needed if the layout, such as (L, B, E), does not tell to which image a constant's share belongs,
    and if an output depends on several images: F x0 is then the sum over them all.
    """
    B = lin.batch
    eye = torch.eye(B, device=lin.F.outputs.device)
    each = pytree.tree_map(
        lambda t: (t.unsqueeze(1) * eye.to(t.dtype).reshape(B, B, *[1] * (t.dim() - 2))).flatten(0, 1), y2
    )
    x2, shares = lin.shares(each)
    linear = _paired(x2, lin.x, B).unflatten(0, (-1, B)).sum(2)
    x2 = pytree.tree_map(lambda t: t.unflatten(0, (-1, B)).sum(1), x2)
    return x2, linear, tuple(s.unflatten(0, (-1, B)).sum(2) for s in shares)


def _paired(cotangents: Any, values: Any, batch: int) -> torch.Tensor:
    """<cotangent, value> of every probe and image, (K, B)."""
    pairs = list(zip(pytree.tree_leaves(cotangents), pytree.tree_leaves(values)))
    apart = {b.shape[:1] for _, b in pairs}
    # no index means the others
    with_batch = [
        (a, b) for a, b in pairs if len(apart) == 1 or (not b.dim() and batch == 1) or b.shape[:1] == (batch,)
    ]
    return torch.stack([_product(a, b) for a, b in with_batch]).sum(0)


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """<a, b> of every probe and image; a number of the only image has no dimension for it."""
    batch = a.shape[1] if b.dim() else 1
    return (a * b).reshape(len(a), batch, -1).sum(2)


def _value(v: torch.Tensor) -> Any:
    return v.item() if v.numel() == 1 else v


def _mean(v: Any) -> float:
    return torch.as_tensor(v).double().mean().item()


def _tensor(v: Any) -> torch.Tensor:
    return v if isinstance(v, torch.Tensor) else torch.tensor(v, dtype=torch.float64)


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name] - 1}")
    return found
