"""Random weights under which the laws are not vacuous.

At torchvision's initialisation r is exactly 0 in many networks and activations fade to nothing in others; laws about r,
contributions and smooth units then test nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..frontend.symbolic import unchanged

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
_LINEAR = (nn.Linear, nn.modules.conv._ConvNd)


def randomize(model: nn.Module, *inputs: Any, seed: int = 0, **named: Any) -> nn.Module:
    """Give ``model`` random weights, biases, norm parameters and layer scales that keep every activation of order one.

    Layer by layer, in order of execution on ``inputs`` and ``named``, the outputs of convolutions and linear layers are scaled to unit
    deviation with a bias of order one; running statistics are calibrated to what the layer sees, perturbed. Deterministic
    under ``seed``; the mode is kept; the hooks used are removed. A layer of constant output (after a norm over one channel, in the first of
    several steps that start at 0) keeps the weight as drawn until a later call. Raises ``AssertionError`` where an activation is not finite.
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
            calibrated = _values(linear + norms)
    finally:
        for handle in handles:
            handle.remove()
    # what the forward did to the model is undone by now, and with it the calibration
    for tensor, value in calibrated:
        tensor.data.copy_(value)
    for module, mode in training.items():
        module.training = mode
    return model


def _values(modules: list[nn.Module]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each tensor that the hooks write to, with a copy of what it holds."""
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = [getattr(m, n, None) for m in modules for n in names]
    return [(t, t.detach().clone()) for t in tensors if t is not None]


def _draw(parameter: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Weights: normal with fan-in variance; vectors of one value a channel: around one half to one and a half, either sign rarely."""
    noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float32).to(parameter)
    if parameter.dim() > 1 and parameter[0].numel() > 1 and parameter.shape[0] > 1:
        return noise / parameter[0].numel() ** 0.5
    return 0.75 + 0.25 * noise


def _calibrate(rng: torch.Generator):
    """Scale a layer's weight, once, so that its output has unit deviation, and shift its bias to a mean of order one half."""
    seen: set[int] = set()

    def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
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


def _statistics(rng: torch.Generator):
    """Set running statistics to what the layer sees (one value for all channels of the spread), perturbed by a few tenths."""

    def hook(module: nn.Module, inputs: tuple) -> None:
        if module.running_mean is None:
            return
        x = inputs[0]
        dims = [d for d in range(x.dim()) if d != 1]
        spread = x.std().clamp_min(1e-6)
        noise = torch.randn(module.running_mean.shape, generator=rng).to(x)
        module.running_mean.copy_(x.mean(dims) + 0.3 * spread * noise)
        module.running_var.copy_((x.var(dims, unbiased=False) + 0.1 * spread**2) * (1 + 0.3 * noise.tanh()))

    return hook
