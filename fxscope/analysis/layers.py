"""Layer-wise contributions over many images: F x0 and every layer's masked bias, as shares of the score (paper, Fig. 4 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..linop import interpret
from ..results.base import Result
from ..results.progress import steps


@dataclass(frozen=True)
class LayerContributions(Result):
    """What F x0 and every layer add to one score of every image.

    names   the layers in the order of the graph, L of them;  labels  (B,) the scores' places
    linear  (B,);  values  (B, L);  output  (B,): y0 = linear + sum of values, to ``error`` of |y0|
    """

    names: tuple[str, ...]
    labels: torch.Tensor
    linear: torch.Tensor
    values: torch.Tensor
    output: torch.Tensor

    @property
    def error(self) -> float:
        return float(((self.linear + self.values.sum(1) - self.output) / self.output).abs().max())

    @property
    def shares(self) -> torch.Tensor:
        """(B, 1 + L): F x0 and the layers, divided by the score."""
        return torch.cat([self.linear[:, None], self.values], 1) / self.output[:, None]

    @property
    def mean(self) -> torch.Tensor:
        return self.shares.mean(0)

    @property
    def std(self) -> torch.Tensor:
        return self.shares.std(0, unbiased=False)

    @property
    def depth(self) -> float:
        """Where the layers' contributions lie on average: 0 at the first layer, 1 at the last, weighted by |mean share|."""
        weight = self.mean[1:].abs()
        return (
            float((weight * torch.linspace(0, 1, len(weight), dtype=weight.dtype)).sum() / weight.sum())
            if len(weight) > 1
            else 0.0
        )

    def numbers(self) -> dict[str, Any]:
        return {
            "images": len(self.output),
            "error": self.error,
            "depth": self.depth,
            "layers": ["F x0", *self.names],
            "mean": self.mean,
            "std": self.std,
        }


def layer_contributions(
    model: nn.Module,
    x0: torch.Tensor,
    labels: Any = None,
    batch_norm: str = "with",
    batch: int = 32,
    policy: Any = None,
    progress: bool = True,
) -> LayerContributions:
    """F x0 and the masked biases of every layer, as they add up to one score of every image.

        y_k = <row_k, x0> + sum over layers of Q_i b_i

    x0          (B, ...) images, ``batch`` of them at once
    labels      (B,) or one label (default: every image's largest score)
    batch_norm  "with": its shift is counted with the convolution before it, as the paper does; "apart": as a layer of its own

    Source: the paper, eq. 8, Fig. 4 and 8.
    """
    if batch_norm not in ("with", "apart"):
        raise ValueError(f"batch_norm={batch_norm!r}; it is 'with' its layer or 'apart'")
    parts = []
    with steps(len(x0), "contributions", progress) as bar:
        for start in range(0, len(x0), batch):
            part = x0[start : start + batch]
            lin = interpret(model, part, policy=policy)
            y0 = lin.y0.flatten(1)
            chosen = (
                y0.argmax(1)
                if labels is None
                else torch.as_tensor(labels).expand(len(x0))[start : start + batch]
            )
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
