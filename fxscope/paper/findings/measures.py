"""What is measured of one photograph: numbers that are the means over its two crops.

All definitions were fixed before any network was measured, and belong to the key of what is kept.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ...analysis import energy_against_distance, fgsm, layer_contributions
from ...analysis.zero import Zero
from ...errors import NotConverged
from ...images.preprocess import Preprocess
from ...linop import LinearInterpreter, Reader

DEFINITIONS = 1  # changes where one of these definitions does
EPSILONS = (1, 2, 4, 8)  # steps of FGSM, in 1/255
NOISE = (1, 8)  # standard deviations of the noise of the gap, in 1/255
ZEROS = ("mean", "black")  # besides x = 0 of the network
EARLY = 3  # F x0 and two layers
SPACING = 12  # pixels between the places of rows
EIGEN, EIGEN_SIDE, TOLERANCE, PASSES = 2, 32, 1e-2, 60
BANDS = (1 / 8, 3 / 8)  # cycles a pixel: where the middle band begins and ends
GREEN = 1


def of_scores(reader: Reader, preprocess: Preprocess, x0: torch.Tensor) -> dict[str, Any]:
    """The numbers of a classifier at x0 (B, C, h, w), about its largest score y_k.

    * ``share``: r_k / y_k about x = 0, ``share_mean`` about the mean colour of each crop and ``share_black``
      about black: (r_k + <row, z>) / y_k for the zero z.
    * ``cosine``: of the row and x0.
    * ``layers``, ``before``: F x0 and the contributions of the layers (batch norms with their convolution),
      divided by y_k. ``depth`` is their mean position, weighted by their magnitude, 0 for the first layer and
      1 for the last; ``late`` the last third's part of the sum of magnitudes; ``early`` what F x0 and the
      first two layers have of the score.
    * ``flipped``: whether a step of FGSM of 1, 2, 4 or 8/255 changes the label; ``epsilon`` is the first that
      does, else the last. ``after``, ``early_after``: as before, at that image and its own largest score.
    * ``score``, ``score_after``: y_k. ``values_before``, ``values_after`` are the contributions themselves.
    * ``gap_1``, ``changed_1`` and ``_8``: |F x + r - f(x)| / |f(x)| and the share of the decisions that
      change at x = x0 + noise, Gaussian in pixels, with a deviation of 1/255 and 8/255.
    * ``error``: the largest |sum of the shares - 1|.
    """
    lin = reader(x0)
    y, k = lin.y0.max(1)
    row = lin.F.row(k.tolist() if len(x0) > 1 else int(k)).reshape(x0.shape)
    mean, std = preprocess.affine
    found: dict[str, Any] = {}
    for zero in ZEROS:
        known = {"mean": mean, "std": std} if zero == "black" else {}
        z = Zero.of("findings", zero, **known).at(x0)
        found[f"share_{zero}"] = 1 - (row * (x0 - z)).flatten(1).sum(1) / y
    found["cosine"] = torch.nn.functional.cosine_similarity(row.flatten(1), x0.flatten(1))
    found |= _gaps(lin, x0, std)
    attack = fgsm(reader.model, x0, epsilons=[e / 255 for e in EPSILONS], mean=mean, std=std)
    changed = attack.labels != attack.before
    first = torch.where(changed.any(0), changed.double().argmax(0), len(EPSILONS) - 1)
    attacked = attack.images[first, torch.arange(len(x0))]
    found["flipped"], found["epsilon"] = changed.any(0), torch.tensor(EPSILONS)[first]
    error = 0.0
    for said, x in (("before", x0), ("after", attacked)):
        part = layer_contributions(reader, x, batch=len(x), progress=False)
        end = "" if said == "before" else "_after"
        found |= {said: part.shares, f"values_{said}": part.shares * part.output[:, None]}
        found |= {f"score{end}": part.output, f"early{end}": part.shares[:, :EARLY].sum(1)}
        found |= _depth(part.shares[:, 1:].abs()) if said == "before" else {}
        found |= {"share": part.residual, "layers": part.parts} if said == "before" else {}
        error = max(error, part.error)
    return _averaged(found) | {"error": error}


def _depth(sizes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean position of the layers and the part of the last third, from their magnitudes (B, L)."""
    count = sizes.shape[1]
    total, place = sizes.sum(1), torch.linspace(0, 1, count, dtype=sizes.dtype)
    return {
        "depth": (sizes * place).sum(1) / total,
        "late": sizes[:, count - count // 3 :].sum(1) / total,
    }


def _gaps(lin: LinearInterpreter, x0: torch.Tensor, std: Any) -> dict[str, float]:
    rng = torch.Generator().manual_seed(0)
    unit = torch.randn(x0.shape, generator=rng).to(x0) / torch.as_tensor(std).to(x0).reshape(-1, 1, 1)
    found: dict[str, float] = {}
    for level in NOISE:
        gap = lin.gap(x0 + level / 255 * unit)
        found |= {f"gap_{level}": gap["error"], f"changed_{level}": gap["changed"]}
    return found


def of_images(reader: Reader, preprocess: Preprocess, x0: torch.Tensor, eigen: bool) -> dict[str, Any]:
    """The numbers of a network of images at crops x0 (B, C, h, w), whose zero is x = 0.

    * ``norm``: |r| / |y|; ``pixel``: the sum of |r| over that of |y|, over all values of the output.
    * ``radius_50``, ``_90``, ``_99``: the distance from its place, max(|dy|, |dx|) in input pixels, within
      which so many per cent of a row's energy are, the mean over rows of green outputs whose centres
      (``lin.F.alignment()``) lie 12 pixels apart.
    * ``gap_1`` and so on as in ``of_scores``.
    * With ``eigen``, of the two largest eigen-inputs v of the middle 32 x 32 pixels of the first crop, the
      mean: ``area``, (sum e)^2 / sum e^2 in pixels, where e is a pixel's energy; ``participation``, its part
      of the picture; ``oriented``, 0 for no direction of the waves and 1 for one; ``frequency``, their mean
      in cycles a pixel; ``low``, ``middle``, ``high``, the energy below 1/8 cycles a pixel, up to 3/8, and
      above (white noise has 4, 39 and 57 %). ``unconverged`` is the share of those whose error is above 1 %.
    * ``error``: the largest |F x0 + r - y| over the largest |y|.
    """
    found: list[dict[str, Any]] = []
    errors = []
    for x in x0.split(1):
        lin = reader(x)
        r, y = lin.residual, lin.y0
        errors.append(float((lin.F @ x[0] + r[0] - y[0]).abs().max() / y.abs().max()))
        number = {"norm": r.norm() / y.norm(), "pixel": r.abs().sum() / y.abs().sum()}
        found.append(number | _radii(lin) | _gaps(lin, x, preprocess.affine[1]))
    together = {n: torch.tensor([float(f[n]) for f in found], dtype=torch.float64) for n in found[0]}
    more = eigen_inputs(reader, x0[:1]) if eigen else {}
    return _averaged(together) | more | {"error": max(errors)}


def _radii(lin: LinearInterpreter) -> dict[str, int]:
    lines = lin.F.alignment()
    ys, xs = (range(SPACING, n - SPACING + 1, SPACING) for n in lines.inputs)
    outs = [lines.output_of((y, x)) for y in ys for x in xs]
    rows = lin.F.rows([(min(GREEN, lin.F.outputs.shape[0] - 1), *o) for o in outs], progress=False)
    energy = energy_against_distance(rows, [(y, x) for y, x in map(lines.input_of, outs)])
    return {f"radius_{p}": energy.radius(p / 100) for p in (50, 90, 99)}


def eigen_inputs(reader: Reader, x0: torch.Tensor) -> dict[str, float]:
    """The shapes of the largest eigen-inputs at the middle of x0 (1, C, h, w); see ``of_images``."""
    top, left = ((n - EIGEN_SIDE) // 2 for n in x0.shape[2:])
    return shapes_of(reader(x0[..., top : top + EIGEN_SIDE, left : left + EIGEN_SIDE].contiguous()))


def shapes_of(lin: LinearInterpreter) -> dict[str, float]:
    """The shapes of the largest eigen-inputs of an interpreter; see ``of_images``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConverged)  # the share of them is among the numbers
        found = lin.F.svd(EIGEN, tol=TOLERANCE, max_passes=PASSES, progress=False)
    shapes = found.shapes()
    pixels = found.v.shape[-1] * found.v.shape[-2]
    numbers: dict[str, float] = {
        "participation": _mean([s.participation for s in shapes]),
        "oriented": _mean([s.orientedness for s in shapes]),
        "frequency": _mean([s.frequency for s in shapes]),
        "unconverged": 1 - float(found.converged.double().mean()),
    }
    numbers["area"] = pixels * numbers["participation"]
    parts = torch.stack([bands(v) for v in found.v]).mean(0)
    return numbers | {n: float(p) for n, p in zip(("low", "middle", "high"), parts)}


def bands(image: torch.Tensor) -> torch.Tensor:
    """(3,), the shares of the energy of an image (C, H, W) below, in and above the middle band."""
    power = torch.fft.fft2(image.double()).abs().square().sum(0)
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in image.shape[1:])
    radius = torch.hypot(fy[:, None], fx[None, :])
    low, high = radius < BANDS[0], radius > BANDS[1]
    return torch.stack([power[m].sum() for m in (low, ~low & ~high, high)]) / power.sum()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _averaged(found: dict[str, Any]) -> dict[str, Any]:
    """Means over the crops, which are the first dimension of every tensor; what is no tensor as it is."""
    plain: dict[str, Any] = {}
    for name, value in found.items():
        mean = value.double().mean(0) if isinstance(value, torch.Tensor) else value
        plain[name] = mean.tolist() if isinstance(mean, torch.Tensor) else mean
    return plain
