"""``Shape``: how localised, oriented and bandpass a singular vector is (paper, section 4, case 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import FxscopeError
from ...results.display import Displayed

BOX = 0.95  # share of the energy inside the box


@dataclass(frozen=True, repr=False)
class Shape(Displayed):
    """The shape of one image, with the energies of its channels summed.

    Attributes
    ----------
    participation : float
        ``(sum e)^2 / sum e^2`` over the number of pixels, where e is the energy of a pixel. It is 1 if all
        pixels have the same energy, 1/pixels if one pixel has all of it, and 4/9 for a product of two
        harmonics.
    box : tuple of int
        (top, left, height, width) that holds 95 % of the energy.
    box_share : float
        Share of the area that the box covers.
    frequency : float
        Mean of ``|f|`` in cycles a pixel, weighted by the 2-D power spectrum (Nyquist is 0.5).
    bandwidth : float
        Standard deviation of ``log2 |f|`` in octaves, with the same weights, without f = 0.
    dc : float
        Share of the energy at f = 0; near 0 for a bandpass image.
    orientation : float
        Direction of the wave vector in degrees, [0, 180); at 0 the image varies along x.
    orientedness : float
        From 0 (no direction) to 1 (one direction).
    """

    participation: float
    box: tuple[int, int, int, int]
    box_share: float
    frequency: float
    bandwidth: float
    dc: float
    orientation: float
    orientedness: float


def shapes_of(images: Any) -> list[Shape]:
    """The shape of every image of (k, C, H, W), (k, B, C, H, W) or (k, H, W)."""
    if not isinstance(images, torch.Tensor) or images.dim() < 3 or min(images.shape[-2:]) < 2:
        shape = tuple(images.shape[1:]) if isinstance(images, torch.Tensor) else type(images).__name__
        raise FxscopeError(f"shapes are those of images, (C, H, W); these vectors are {shape}")
    return [_shape(image.detach().double().cpu().reshape(-1, *image.shape[-2:])) for image in images]


def _shape(image: torch.Tensor) -> Shape:
    energy = image.square().sum(0)
    total = energy.sum().clamp_min(torch.finfo(torch.float64).tiny)
    top, height = _interval(energy.sum(1) / total)
    left, width = _interval(energy.sum(0) / total)
    participation = (
        float(total**2 / energy.square().sum().clamp_min(torch.finfo(torch.float64).tiny)) / energy.numel()
    )
    return Shape(
        participation, (top, left, height, width), height * width / energy.numel(), *_spectrum(image)
    )


def _interval(marginal: torch.Tensor) -> tuple[int, int]:
    """Start and length of the shortest interval that holds (1 + BOX)/2 of the energy.

    Two intervals, of rows and of columns, leave at most 1 - BOX of the energy outside their box.
    """
    sums = torch.cat([marginal.new_zeros(1), marginal.cumsum(0)])
    for length in range(1, len(marginal) + 1):
        inside = sums[length:] - sums[:-length]
        if inside.max() >= (1 + BOX) / 2 - 1e-12:
            return int(inside.argmax()), length
    return 0, len(marginal)


def _spectrum(image: torch.Tensor) -> tuple[float, float, float, float, float]:
    """frequency, bandwidth, dc, orientation, orientedness from the power spectrum, summed over channels."""
    power = torch.fft.fft2(image).abs().square().sum(0)
    power = power / power.sum().clamp_min(torch.finfo(torch.float64).tiny)
    dc = float(power[0, 0])
    fy, fx = torch.meshgrid(
        *(torch.fft.fftfreq(n, dtype=torch.float64) for n in image.shape[1:]), indexing="ij"
    )
    radius = torch.hypot(fx, fy)
    power = power.clone()
    power[0, 0] = 0
    rest = power.sum()
    if rest <= 1e-12:  # a constant has no direction and no band
        return 0.0, 0.0, dc, 0.0, 0.0
    octave = torch.log2(radius.clamp_min(1e-12))
    centre = (power * octave).sum() / rest
    bandwidth = float(((power * (octave - centre) ** 2).sum() / rest).sqrt())
    turn = torch.polar(power, 2 * torch.atan2(fy, fx)).sum() / rest  # f and -f are one direction
    return (
        float((power * radius).sum()),
        bandwidth,
        dc,
        math.degrees(float(turn.angle())) / 2 % 180,
        float(turn.abs()),
    )
