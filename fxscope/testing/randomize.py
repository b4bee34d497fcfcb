"""Random weights under which the laws are not vacuous.

With torchvision's initialisation r is exactly 0 in many networks, and activations vanish in others. Laws
about r, contributions and smooth units then test nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ..frontend.symbolic import unchanged
from ..graph.arguments import checked

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
_LINEAR = (nn.Linear, nn.modules.conv._ConvNd)


@checked
def randomize(model: nn.Module, *inputs: Any, seed: int = 0, **named: Any) -> nn.Module:
    """Give ``model`` random parameters that keep every activation of order one.

    In order of execution, the output of each convolution and linear layer is scaled to unit deviation, with a
    bias of order one. Running statistics are set to those of the layer's input, perturbed. The train or eval
    mode is kept. A layer with constant output (after a norm over one channel, or in the first of several
    steps that start at 0) keeps its drawn weight until a later call.

    Parameters
    ----------
    model
        The network; its parameters and running statistics are changed.
    *inputs, **named
        One call of the model.
    seed
        Seed of all that is drawn.

    Returns
    -------
    torch.nn.Module
        The model.

    Raises
    ------
    AssertionError
        If an activation is not finite.
    """
    rng = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.copy_(_draw(parameter, rng))
    training = {m: m.training for m in model.modules()}
    model.eval()
    linear = [m for m in model.modules() if isinstance(m, _LINEAR)]
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    handles = [m.register_forward_hook(_calibrate(rng)) for m in linear]
    handles += [m.register_forward_pre_hook(_statistics(rng)) for m in norms]
    try:
        with torch.no_grad(), unchanged(model):
            model(*inputs, **named)
            calibrated = _values([*linear, *norms])
    finally:
        for handle in handles:
            handle.remove()
    # what the forward did to the model is undone by now, and with it the calibration
    for tensor, value in calibrated:
        tensor.data.copy_(value)
    for module, mode in training.items():
        module.training = mode
    return model


def _values(modules: Sequence[nn.Module]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each tensor that the hooks write to, with a copy of what it holds."""
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = [getattr(m, n, None) for m in modules for n in names]
    return [(t, t.detach().clone()) for t in tensors if t is not None]


def _draw(parameter: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A weight is normal with fan-in variance; a vector has mean 0.75 and deviation 0.25."""
    noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float32).to(parameter)
    if parameter.dim() > 1 and parameter[0].numel() > 1 and parameter.shape[0] > 1:
        return noise / parameter[0].numel() ** 0.5
    return 0.75 + 0.25 * noise


def _calibrate(rng: torch.Generator) -> Callable:
    """A hook that scales a layer's weight, once, to an output of unit deviation, and draws its bias."""
    seen: set[int] = set()

    def hook(module: Any, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        if id(module) in seen or not module.weight.requires_grad:
            return output
        bias = (
            0
            if module.bias is None
            else (
                module.bias.view(1, -1, *[1] * (output.dim() - 2))
                if not isinstance(module, nn.Linear)
                else module.bias
            )
        )
        linear = output - bias
        scale = linear.std()
        assert torch.isfinite(scale), f"{type(module).__name__} gives an output that is not finite"
        if scale <= 1e-12 * (1 + linear.abs().max()):
            return output
        seen.add(id(module))
        module.weight.data /= scale
        linear = linear / scale
        if module.bias is None:
            return linear
        module.bias.data.copy_(0.6 * torch.randn(module.bias.shape, generator=rng).to(module.bias))
        return linear + (
            module.bias
            if isinstance(module, nn.Linear)
            else module.bias.view(1, -1, *[1] * (output.dim() - 2))
        )

    return hook


def _statistics(rng: torch.Generator) -> Callable:
    """A hook that sets running statistics to those of the layer's input, perturbed by a few tenths."""

    def hook(module: Any, inputs: tuple) -> None:
        if module.running_mean is None:
            return
        x = inputs[0]
        dims = [d for d in range(x.dim()) if d != 1]
        spread = x.std().clamp_min(1e-6)
        noise = torch.randn(module.running_mean.shape, generator=rng).to(x)
        module.running_mean.copy_(x.mean(dims) + 0.3 * spread * noise)
        module.running_var.copy_((x.var(dims, unbiased=False) + 0.1 * spread**2) * (1 + 0.3 * noise.tanh()))

    return hook
