"""Networks of a few lines, after published ones: spectral layers, solves, recurrent cells, derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

B = 2


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Spectral(nn.Module):
    """Complex weights for the lowest frequencies, as real pairs (Li et al. 2021)."""

    def __init__(self, channels: int, modes: int):
        super().__init__()
        self.modes = modes
        self.low = nn.Parameter(torch.randn(channels, channels, modes, modes, 2) / channels)
        self.high = nn.Parameter(torch.randn(channels, channels, modes, modes, 2) / channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the channels of each kept frequency; the others are 0."""
        spectrum, m = torch.fft.rfft2(x), self.modes
        mixed = torch.zeros_like(spectrum)
        for part, weight in ((slice(None, m), self.low), (slice(-m, None), self.high)):
            kept = spectrum[:, :, part, :m]
            mixed[:, :, part, :m] = torch.einsum("bixy,ioxy->boxy", kept, torch.view_as_complex(weight))
        return torch.fft.irfft2(mixed, s=x.shape[-2:])


class FNO(nn.Module):
    """A Fourier neural operator of two layers (Li et al. 2021)."""

    def __init__(self, width: int = 4, modes: int = 3):
        super().__init__()
        self.lift, self.project = nn.Conv2d(3, width, 1), nn.Conv2d(width, 1, 1)
        self.spectral = nn.ModuleList(Spectral(width, modes) for _ in range(2))
        self.local = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The solution of a field."""
        x = self.lift(x)
        for spectral, local in zip(self.spectral, self.local):
            x = F.gelu(spectral(x) + local(x))
        return self.project(x)


class GlobalFilter(nn.Module):
    """A block of GFNet: a complex weight for each frequency of the tokens (Rao et al. 2021)."""

    def __init__(self, dim: int = 6, side: int = 8):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.filter = nn.Parameter(torch.randn(side, side // 2 + 1, dim, 2) * 0.5)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (B, H, W, C)."""
        spectrum = torch.fft.rfft2(self.norm1(x), dim=(1, 2), norm="ortho")
        spectrum = spectrum * torch.view_as_complex(self.filter)
        mixed = torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho")
        return x + self.mlp(self.norm2(mixed))


class FFC(nn.Module):
    """LaMa's fast Fourier convolution: a local and a global branch (Suvorov et al. 2022)."""

    def __init__(self, local: int = 3, whole: int = 3):
        super().__init__()
        self.local = local
        kinds = {"ll": (local, local), "lg": (local, whole), "gl": (whole, local)}
        self.convs = nn.ModuleDict({k: nn.Conv2d(a, b, 3, padding=1) for k, (a, b) in kinds.items()})
        self.reduce, self.restore = nn.Conv2d(whole, whole, 1), nn.Conv2d(whole, whole, 1)
        self.spectral, self.norm = nn.Conv2d(2 * whole, 2 * whole, 1), nn.BatchNorm2d(2 * whole)
        self.bn_l, self.bn_g = nn.BatchNorm2d(local), nn.BatchNorm2d(whole)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.reduce(x))
        spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        pairs = torch.stack((spectrum.real, spectrum.imag), -1).permute(0, 1, 4, 2, 3)
        pairs = pairs.reshape(x.shape[0], -1, *pairs.shape[3:])
        pairs = F.relu(self.norm(self.spectral(pairs)))
        pairs = pairs.reshape(x.shape[0], -1, 2, *pairs.shape[2:]).permute(0, 1, 3, 4, 2)
        spectrum = torch.complex(pairs[..., 0], pairs[..., 1])
        return self.restore(x + torch.fft.irfftn(spectrum, s=x.shape[-2:], dim=(-2, -1), norm="ortho"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both branches, one behind the other."""
        near, far = x[:, : self.local], x[:, self.local :]
        new_near = F.relu(self.bn_l(self.convs["ll"](near) + self.convs["gl"](far)))
        new_far = F.relu(self.bn_g(self.convs["lg"](near) + self._transform(far)))
        return torch.cat((new_near, new_far), 1) + x


class Modulus(nn.Module):
    """Gates of the modulus: modReLU, and the phase of a spectrum under a learned amplitude."""

    def __init__(self, channels: int = 3):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, channels, 1), nn.Conv2d(2 * channels, 2, 1)
        self.amplitude = nn.Conv2d(channels, channels, 1)
        self.threshold = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Both, side by side."""
        z = torch.fft.fft2(self.first(x), norm="ortho")
        size = z.abs()
        rectified = z / (size + 1e-5) * F.relu(size - self.threshold)
        phase = torch.polar(torch.sigmoid(self.amplitude(size)), z.angle())
        found = torch.fft.ifft2(torch.cat((rectified, phase * torch.sgn(z)), 1), norm="ortho").real
        return self.last(found)


class Poisson(nn.Module):
    """A field from sources by the Cholesky factor of a stiffness matrix, that of x where ``coefficients``."""

    def __init__(self, size: int = 6, coefficients: bool = False):
        super().__init__()
        self.encode, self.decode = nn.Linear(size, size), nn.Linear(size, size)
        self.conductivity = nn.Linear(size, size) if coefficients else None
        stencil = 2 * torch.eye(size) - torch.eye(size).roll(1, 0)
        self.register_buffer("stiffness", stencil @ stencil.mT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The field at the nodes, after a layer."""
        stiffness: Any = self.stiffness
        if self.conductivity is not None:
            stiffness = stiffness + torch.diag_embed(F.softplus(self.conductivity(x)))
        factor = torch.linalg.cholesky(stiffness)
        sources = torch.tanh(self.encode(x)).unsqueeze(-1)
        return self.decode(torch.cholesky_solve(sources, factor).squeeze(-1))


class _LogFactorial(torch.autograd.Function):
    """log Gamma(1 + x^2), with a derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return torch.lgamma(1 + x * x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 2 * x * torch.digamma(1 + x * x) * gradient


class OwnDerivative(nn.Module):
    """A network with a torch.autograd.Function."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Its own function between two convolutions."""
        return self.last(_LogFactorial.apply(self.first(x)))


class ByRows(nn.Module):
    """The rows of an image through an LSTM, its columns through a GRU of cells."""

    def __init__(self, channels: int = 3, hidden: int = 4):
        super().__init__()
        self.rows = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.cell, self.memory = nn.GRUCell(2 * hidden, hidden), nn.LSTMCell(hidden, hidden)
        self.head = nn.Linear(hidden, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) to (B, W, 2)."""
        image = x.permute(0, 2, 3, 1)
        rows = self.rows(image.flatten(0, 1))[0].unflatten(0, image.shape[:2])
        state, memory, found = None, None, []
        for row in rows.unbind(1):
            state = self.cell(row.flatten(0, 1), state)
            memory = self.memory(state, memory)
            found.append(memory[0])
        return self.head(torch.stack(found).mean(0)).unflatten(0, (x.shape[0], -1))


_IMAGE = (_normal(B, 3, 8, 8),)
_FIELD = (_normal(B, 6),)
_TAYLOR = {"unknown": "taylor"}


def networks() -> dict[str, Callable[[], tuple]]:
    """{name: function that gives a network, its inputs, and options of how it is interpreted}."""
    return {
        "FNO": lambda: (FNO(), _IMAGE),
        "GFNet block": lambda: (GlobalFilter(), (_normal(B, 8, 8, 6),)),
        "LaMa FFC block": lambda: (FFC(), (_normal(B, 6, 8, 8),)),
        "modulus gates": lambda: (Modulus(), _IMAGE),
        "Cholesky solve": lambda: (Poisson(), _FIELD),
        "Cholesky solve of x": lambda: (Poisson(coefficients=True), _FIELD, _TAYLOR),
        "autograd.Function": lambda: (OwnDerivative(), _IMAGE, _TAYLOR),
        "LSTM by rows": lambda: (ByRows(), (_normal(B, 3, 4, 4),)),
    }
