"""Contributions of the layers over many images, as shares of the score (paper, Fig. 4 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..graph.arguments import check_images, check_labels, checked
from ..linop import Reader, prepare
from ..results.base import VersionedResult
from ..results.progress import steps


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
        (B,), F x0.
    values : torch.Tensor
        (B, L), the contributions of the layers.
    output : torch.Tensor
        (B,), the scores: linear + sum of values.
    """

    names: tuple[str, ...]
    labels: torch.Tensor
    linear: torch.Tensor
    values: torch.Tensor
    output: torch.Tensor

    @property
    def error(self) -> float:
        """The largest |linear + sum of values - output|, relative to the score."""
        return float(((self.linear + self.values.sum(1) - self.output) / self.output).abs().max())

    @property
    def shares(self) -> torch.Tensor:
        """(B, 1 + L), F x0 and the contributions of the layers, divided by the score."""
        return torch.cat([self.linear[:, None], self.values], 1) / self.output[:, None]

    @property
    def mean(self) -> torch.Tensor:
        """(1 + L,), the mean shares over the images."""
        return self.shares.mean(0)

    @property
    def std(self) -> torch.Tensor:
        """(1 + L,), the standard deviations of the shares, with B in the denominator."""
        return self.shares.std(0, unbiased=False)

    @property
    def depth(self) -> float:
        """The mean position of the layers, weighted by |mean share|: 0 is the first layer, 1 the last one."""
        weight = self.mean[1:].abs()
        return (
            float((weight * torch.linspace(0, 1, len(weight), dtype=weight.dtype)).sum() / weight.sum())
            if len(weight) > 1
            else 0.0
        )

    def numbers(self) -> dict[str, Any]:
        """Mean and standard deviation of every layer's share."""
        return {
            "images": len(self.output),
            "error": self.error,
            "depth": self.depth,
            "layers": ["F x0", *self.names],
            "mean": self.mean,
            "std": self.std,
        }


@checked
def layer_contributions(
    model: nn.Module,
    x0: torch.Tensor,
    labels: Any = None,
    batch_norm: str = "with",
    batch: int = 32,
    policy: Any = None,
    progress: bool = True,
) -> LayerContributions:
    """The contributions of F x0 and of every layer's masked biases to one score of each image.

    ::

        y_k = <row_k, x0> + sum over layers of Q_i b_i

    Parameters
    ----------
    model : torch.nn.Module
        A classifier, (B, ...) to (B, labels).
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
        As in ``fxscope.interpret``.
    progress : bool
        Show a progress bar.

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
    parts = []
    reader: Reader | None = None
    with steps(len(x0), "contributions", progress) as bar:
        for start in range(0, len(x0), batch):
            part = x0[start : start + batch]
            reader = prepare(model, part, policy=policy) if reader is None else reader
            lin = reader(part)
            y0 = lin.y0.flatten(1)
            chosen = y0.argmax(1) if given is None else given[start : start + batch]
            found = lin.contributions([int(k) for k in chosen] if len(part) > 1 else int(chosen[0]))
            parts.append((chosen, found, len(part)))
            bar.update(len(part))
    names = list(dict.fromkeys(_name(t, batch_norm) for t in parts[0][1].terms))
    values = torch.cat([_by_layer(found, names, batch_norm, count) for _, found, count in parts])
    linear, output = (
        torch.cat([_vector(getattr(f, part), n) for _, f, n in parts]) for part in ("linear", "output")
    )
    return LayerContributions(tuple(names), torch.cat([c for c, _, _ in parts]), linear, values, output)


def _name(term: Any, batch_norm: str) -> str:
    return term.layer if batch_norm == "with" else term.module or term.place


def _by_layer(found: Any, names: list[str], batch_norm: str, count: int) -> torch.Tensor:
    values = torch.zeros(count, len(names), dtype=torch.float64)
    for term in found.terms:
        values[:, names.index(_name(term, batch_norm))] += _vector(term.value, count)
    return values


def _vector(value: Any, count: int) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64).reshape(-1).expand(count)
