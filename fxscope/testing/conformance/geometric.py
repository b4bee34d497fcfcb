"""Graph networks of PyTorch Geometric on one small graph: the features of its nodes are the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch_geometric import nn as layers

NODES, FEATURES, HIDDEN, CLASSES = 12, 5, 8, 3


class OnGraph(nn.Module):
    """Layers of messages over fixed edges, with ReLU between them; ``last`` pools or classifies.

    Some nodes have no edge that leads to them.
    """

    def __init__(self, *convolutions: nn.Module, pool: Callable | None = None):
        super().__init__()
        self.convolutions, self.pool = nn.ModuleList(convolutions), pool
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("edges", torch.randint(0, NODES - 2, (2, 40), generator=generator))
        self.register_buffer("graph_of", torch.arange(NODES) // 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of all nodes, or of all graphs, of a batch of one input (1, nodes, features)."""
        x = x[0]
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x if i == 0 else torch.relu(x), self.edges)
        return (x if self.pool is None else self.pool(x, self.graph_of, 3))[None]


def _mlp(inner: int, outer: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inner, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outer))


def _pna(inner: int, outer: int) -> nn.Module:
    ways = ["mean", "min", "max", "std"], ["identity", "amplification"]
    return layers.PNAConv(inner, outer, *ways, deg=torch.tensor([2, 1, 2, 3, 4, 3, 1]))


def _built(make: Callable[..., nn.Module], pool: Callable | None = None) -> Callable[[], tuple[Any, tuple]]:
    def build() -> tuple[nn.Module, tuple]:
        model = OnGraph(make(FEATURES, HIDDEN), make(HIDDEN, CLASSES), pool=pool)
        return model, (torch.randn(1, NODES, FEATURES, generator=torch.Generator().manual_seed(0)),)

    return build


MODELS = {
    "GCN": _built(layers.GCNConv),
    "GraphSAGE, max": _built(lambda a, b: layers.SAGEConv(a, b, aggr="max")),
    "GAT": _built(lambda a, b: layers.GATConv(a, b, heads=2, concat=False)),
    "GIN, sum pooling": _built(lambda a, b: layers.GINConv(_mlp(a, b)), layers.global_add_pool),
    "DGCNN, max pooling": _built(lambda a, b: layers.EdgeConv(_mlp(2 * a, b)), layers.global_max_pool),
    "PNA": _built(_pna),
    "GraphSAGE, mean": _built(lambda a, b: layers.SAGEConv(a, b, aggr="mean"), layers.global_mean_pool),
}
