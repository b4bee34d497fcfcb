"""What is right for a drawn network, from autograd of the untouched module alone."""

from __future__ import annotations

import functools
from typing import Any

import torch

from ...graph.draws import seeded
from ...passes.outputs import tensors_of
from .network import BATCH, Network

SEED = 7  # of the draws of a network in train mode


class Oracle:
    """The untouched network at its example: outputs, their derivative by autograd, and whether images mix.

    Attributes
    ----------
    y
        The output tensors, flat.
    u
        A cotangent of each.
    v
        Four probes.
    pulled
        J^T u.
    """

    def __init__(self, network: Network):
        self.network = network
        self.args = network.example()
        model = network.build()
        self.state = {n: t.clone() for n, t in model.state_dict().items()}
        self.leaf = self.args[0].clone().requires_grad_()
        with seeded(SEED), torch.enable_grad():
            self.structure = model(self.leaf * 1, *(a.clone() for a in self.args[1:]))
        self.y = tensors_of(self.structure)
        rng = torch.Generator().manual_seed(network.seed + 1)
        self.u = [torch.randn(t.shape, generator=rng, dtype=torch.float64).to(t.dtype) for t in self.y]
        self.v = torch.randn(4, *self.args[0].shape, generator=rng, dtype=torch.float64)
        self.pulled = self.pull(self.u)

    def pull(self, u: list[torch.Tensor]) -> torch.Tensor:
        """J^T u."""
        total: Any = sum((a * b).sum() for a, b in zip(self.y, u))
        return torch.autograd.grad(total, self.leaf, retain_graph=True, materialize_grads=True)[0]

    @property
    def usable(self) -> bool:
        """Whether every output depends on x, and outputs and derivative are finite."""
        finite = all(torch.isfinite(t).all() for t in (*self.y, self.pulled))
        alive = bool(self.y) and all(t.requires_grad for t in self.y) and bool(self.pulled.abs().max() > 1e-6)
        return bool(finite and alive)

    def outputs(self, batch: int, larger: int = 0) -> list[torch.Tensor]:
        """The outputs for another number of images, or at another size."""
        model = self.network.build()
        with seeded(SEED), torch.no_grad():
            found = tensors_of(model(*self.network.example(batch, larger)))
        return found

    @functools.cached_property
    def alone(self) -> list[torch.Tensor]:
        """The outputs for the first image alone."""
        return self.outputs(1)

    @functools.cached_property
    def apart(self) -> bool:
        """Whether images are independent: by the derivative of all, and the value of the first alone."""
        if not self.network.alone or any(t.dim() == 0 or t.shape[0] != BATCH for t in self.y):
            return False
        mixes = any(self._reads_others(image) for image in range(BATCH))
        pairs = [(a[:1], b) for a, b in zip(self.y, self.alone)]
        same = all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in pairs)
        return not mixes and same and not self.network.draws

    def _reads_others(self, image: int) -> bool:
        seeds = [torch.zeros_like(t) for t in self.u]
        for seed, u in zip(seeds, self.u):
            seed[image] = u[image]
        pulled = self.pull(seeds)
        pulled[image] = 0
        return bool(pulled.any())

    def keys(self) -> list[Any]:
        """How the outputs are named in an index."""
        return list(self.structure) if isinstance(self.structure, dict) else list(range(len(self.y)))
