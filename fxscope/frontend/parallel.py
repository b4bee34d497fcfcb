"""Wrappers of a network that compute what it computes: for several devices, or compiled."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside ``DataParallel``, ``DistributedDataParallel`` and what ``torch.compile`` gives."""
    network: Any = model
    while isinstance(network, nn.Module):
        model = network
        if isinstance(model, (nn.DataParallel, DistributedDataParallel)):
            network = model.module
        elif type(model).__module__.startswith("torch._dynamo."):
            network = model._modules.get("_orig_mod")
        else:
            return model
    return model
