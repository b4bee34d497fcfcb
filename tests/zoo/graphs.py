"""Graph networks: a sparse adjacency matrix times the features of the nodes."""

from __future__ import annotations

import torch
from torch import nn

from .case import case


class Graph(nn.Module):
    """Six nodes with four features each."""

    def __init__(self):
        super().__init__()
        full = torch.rand(6, 6, dtype=torch.float64)
        self.register_buffer("adjacency", (full * (full > 0.6)).to_sparse())
        self.layer = nn.Linear(4, 3)

    def columns(self, x):
        """(6, B * 3), the features of every node."""
        return self.layer(x).transpose(0, 1).flatten(1)


@case((2, 6, 4))
class SparseProduct(Graph):
    """torch.sparse.mm."""

    def forward(self, x):
        h = torch.relu(torch.sparse.mm(self.adjacency, self.columns(x)))
        return h.unflatten(1, (-1, 3)).transpose(0, 1)


@case((2, 6, 4))
class SparseOperator(Graph):
    """The operator @, and the method ``mm``."""

    def forward(self, x):
        h = self.adjacency @ torch.sigmoid(self.adjacency.mm(self.columns(x)))
        return h.unflatten(1, (-1, 3)).transpose(0, 1)


@case((2, 6, 4))
class MadeDense(Graph):
    """The network makes it dense itself."""

    def forward(self, x):
        return torch.tanh(self.adjacency.to_dense() @ self.layer(x))
