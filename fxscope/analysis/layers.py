"""Contributions of the layers over many images, as shares of the score (paper, Fig. 4 and 8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import WrongArgument
from ..graph.arguments import check_images, check_labels, check_module, checked
from ..linop import LinearInterpreter, Reader, prepare
from ..results.base import VersionedResult
from ..results.progress import steps
from ..results.provenance import of_network
from ..results.tables import Column, Table, counted
from .zero import OWN, Zero


@dataclass(frozen=True, repr=False)
class LayerContributions(VersionedResult):
    """The contributions of F x0 and of every layer to one score of each image.

    Parameters
    ----------
    names : tuple of str
        L layers, in the order of the graph.
    labels : torch.Tensor
        (B,), the label of the score of each image.
    linear : torch.Tensor
        (B,), F (x0 - z), which is F x0 where zero is x = 0.
    values : torch.Tensor
        (B, L), the contributions of the layers.
    output : torch.Tensor
        (B,), the scores: linear + shift + sum of values.
    zero : str
        Where zero lies, the input z.
    shift : torch.Tensor, optional
        (B,), F z, which belongs to the residual; None where zero is x = 0.
    """

    names: tuple[str, ...]
    labels: torch.Tensor
    linear: torch.Tensor
    values: torch.Tensor
    output: torch.Tensor
    zero: str = OWN
    shift: torch.Tensor | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the P parts of a score: F x0 (or F (x0 - z) and F z), then the layers."""
        return (*(("F x0",) if self.shift is None else ("F (x0 - z)", "F z")), *self.names)

    @property
    def error(self) -> float:
        """The largest |sum of the shares - 1|."""
        return float((self.shares.sum(1) - 1).abs().max())

    @property
    def shares(self) -> torch.Tensor:
        """(B, P), the parts of the scores, divided by the scores."""
        shift = [] if self.shift is None else [self.shift[:, None]]
        return torch.cat([self.linear[:, None], *shift, self.values], 1) / self.output[:, None]

    @property
    def residual(self) -> torch.Tensor:
        """(B,), the share of the residual r + F z: all parts but the first."""
        return self.shares[:, 1:].sum(1)

    @property
    def mean(self) -> torch.Tensor:
        """(P,), the mean shares over the images."""
        return self.shares.mean(0)

    @property
    def std(self) -> torch.Tensor:
        """(P,), the standard deviations of the shares, with B in the denominator."""
        return self.shares.std(0, unbiased=False)

    @property
    def depth(self) -> float:
        """The mean position of the layers, weighted by |mean share|: 0 is the first layer, 1 the last one."""
        weight = self.mean[len(self.parts) - len(self.names) :].abs()
        return (
            float((weight * torch.linspace(0, 1, len(weight), dtype=weight.dtype)).sum() / weight.sum())
            if len(weight) > 1
            else 0.0
        )

    def numbers(self) -> dict[str, Any]:
        """Mean and standard deviation of every layer's share."""
        return {
            "images": len(self.output),
            "zero": self.zero,
            "residual": self.residual.mean(),
            "error": self.error,
            "depth": self.depth,
            "layers": list(self.parts),
            "mean": self.mean,
            "std": self.std,
        }

    def _said(self) -> Iterable[str]:
        images = len(self.output)
        share = f"residual {float(self.residual.mean()):.1%} about {self.zero}"
        return [
            counted(images, "image"),
            counted(len(self.names), "layer"),
            share,
            f"sums to {self.error:.0e}",
        ]

    def _table(self) -> Table:
        rows = list(zip(self.parts, self.mean.tolist(), self.std.tolist()))
        notes = (
            f"residual {float(self.residual.mean()):.2%}, all shares about {self.zero}",
            f"largest error of the sums {self.error:.1e}",
        )
        columns = ("", Column("mean share", "of the score", ".2%"), Column("std", "of the score", ".2%"))
        return Table(columns, rows, counted(len(self.output), "image"), notes)


@checked
def layer_contributions(
    model: nn.Module | Reader,
    x0: torch.Tensor,
    labels: Any = None,
    batch_norm: str = "with",
    batch: int = 32,
    policy: Any = None,
    progress: bool = True,
    zero: Any = None,
    mean: Any = None,
    std: Any = None,
) -> LayerContributions:
    """The contributions of F x0 and of every layer's masked biases to one score of each image.

    ::

        y_k = <row_k, x0 - z> + <row_k, z> + sum over layers of Q_i b_i

    Zero lies at the input z, 0 by default; the second term, F z, is then 0 and left out.

    Parameters
    ----------
    model : torch.nn.Module or Reader
        A classifier, (B, ...) to (B, labels), or what ``fxscope.prepare`` made of it.
    x0 : torch.Tensor
        (B, ...), images.
    labels : torch.Tensor or int, optional
        (B,), or one label for all. The default is the largest score of each image.
    batch_norm : {"with", "apart"}
        "with" adds the shift of a batch norm to the convolution before it, as the paper does. "apart" makes
        it a layer of its own.
    batch : int
        Number of images that run at once.
    policy : optional
        As in ``fxscope.interpret``; a reader has its own.
    progress : bool
        Show a progress bar.
    zero, mean, std : optional
        Where zero lies, as in ``residual_share``.

    Returns
    -------
    LayerContributions
        One row of contributions for each image.

    References
    ----------
    The paper, eq. 8, Fig. 4 and 8.
    """
    if batch_norm not in ("with", "apart"):
        raise ValueError(f"batch_norm={batch_norm!r}; it is 'with' its layer or 'apart'")
    check_images("layer_contributions: x0", x0)
    given = None if labels is None else check_labels("layer_contributions", labels, len(x0))
    about = Zero.of("layer_contributions", zero, mean, std)
    reader = _reader_of(model, x0[:batch], policy)
    found, each = [], []
    with steps(len(x0), "contributions", progress) as bar:
        lin = None
        for start in range(0, len(x0), batch):
            lin = reader(x0[start : start + batch], out=lin)
            chosen = lin.y0.flatten(1).argmax(1) if given is None else given[start : start + batch]
            numbers, layers = sums(lin, chosen, batch_norm)
            found.append((chosen, *numbers, _shift(lin, chosen, about)))
            each.append(layers)
            bar.update(lin.batch)
    chosen, linear, output, shift = (torch.cat(parts) for parts in zip(*found))
    names = tuple(each[0])
    values = torch.zeros(len(x0), len(names), dtype=torch.float64)
    for i, name in enumerate(names):
        values[:, i] = torch.cat([layers[name] for layers in each])
    origin = of_network(reader.model, reader.policy, x0)
    if about.is_own:
        return LayerContributions(names, chosen, linear, values, output, _provenance=origin)
    return LayerContributions(
        names, chosen, linear - shift, values, output, about.name, shift, _provenance=origin
    )


def _reader_of(model: Any, example: torch.Tensor, policy: Any) -> Reader:
    """The given reader, or a new one."""
    if not isinstance(model, Reader):
        check_module(model)
        return prepare(model, example, policy=policy)
    if policy is not None:
        raise WrongArgument(
            f"layer_contributions: the reader has the policy {model.policy} of its own; leave policy out"
        )
    return model


def sums(
    lin: LinearInterpreter, labels: torch.Tensor, batch_norm: str
) -> tuple[tuple[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]:
    """(F x0, the scores), and the sum of every layer's terms; (B,) each.

    Only these numbers are kept of a batch: its contributions hold the interpreter.
    """
    index = [int(k) for k in labels] if lin.batch > 1 else int(labels[0])
    found = lin.contributions(index)
    layers: dict[str, torch.Tensor] = {}
    for term in found.terms:
        name, value = _name(term, batch_norm), _vector(term.value, lin.batch)
        layers[name] = layers[name] + value if name in layers else value
    return (_vector(found.linear, lin.batch), _vector(found.output, lin.batch)), layers


def _shift(lin: LinearInterpreter, labels: torch.Tensor, about: Zero) -> torch.Tensor:
    """F z of every image's score, (B,)."""
    if about.is_own:
        return torch.zeros(lin.batch, dtype=torch.float64)
    if not isinstance(lin.x, torch.Tensor) or lin.x.dim() < 2:
        raise WrongArgument("layer_contributions: zero= is about one input, (B, ...)")
    found = (lin.F @ about.at(lin.x)).reshape(lin.batch, -1)
    return found.gather(1, labels.to(found.device)[:, None])[:, 0].double().cpu()


def _name(term: Any, batch_norm: str) -> str:
    return term.layer if batch_norm == "with" else term.module or term.place


def _vector(value: Any, count: int) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64).reshape(-1).expand(count)
