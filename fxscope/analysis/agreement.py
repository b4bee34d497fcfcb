"""How far two interpretations of one image agree: cosines, ranks, and votes."""

from __future__ import annotations

import torch


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """The cosine of two tensors of one shape; 0 if one is zero."""
    a, b = a.double().flatten(), b.double().flatten()
    size = a.norm() * b.norm()
    return float(a @ b / size) if size > 0 else 0.0


def rank_correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Spearman's correlation of two tensors of one shape; equal values share their mean rank."""
    ranks = [_ranks(t.flatten()) for t in (a, b)]
    return cosine(*(r - r.mean() for r in ranks))


def _ranks(values: torch.Tensor) -> torch.Tensor:
    _, at, counts = values.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[at].double()


def votes(a: torch.Tensor, b: torch.Tensor, labels: int) -> tuple[float, float, float]:
    """How far two maps of winners agree, as positions among so many labels.

    Returns
    -------
    tuple of float
        The share of the pixels with the same winner; that share if each map were shuffled, which two
        unrelated elections of these popularities reach by chance; and the share of the votes that no label
        has gained or lost, sum_k min(p_k, q_k).
    """
    p, q = (torch.bincount(t.flatten(), minlength=labels).double() / t.numel() for t in (a, b))
    return float((a == b).double().mean()), float(p @ q), float(torch.minimum(p, q).sum())
