"""Train the bundled 4-layer PixelShuffle x4 network on scikit-image's photographs.

    python examples/training/train_pixelshuffle.py

Luminance (BT.601) in [0, 1]; low resolution by anti-aliased bicubic (Keys, a = -1/2); orthogonal
initialisation as in PyTorch's example; random crops, flips and rotations; Adam with a one-cycle rate on the
mean absolute, then squared, error. Held out: chelsea, coffee and rocket. Writes the weights and a .json that
says where they come from.
"""

from __future__ import annotations

import argparse

import torch
from common import crop, fit, ship

from fxscope.images import photos
from fxscope.models import PixelShuffleNet, bicubic4x

SCALE, CROP, BORDER = 4, 24, 8
TRAINING = (
    "astronaut",
    "motorcycle_left",
    "motorcycle_right",
    "camera",
    "grass",
    "gravel",
    "brick",
    "coins",
    "moon",
    "hubble_deep_field",
)
HELD_OUT = ("chelsea", "coffee", "rocket")


def pair(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(low, high) luminance of a photograph, (1, h, w) and (1, 4h, 4w)."""
    high = photos.luminance(photos.shipped(name))
    low = photos.downscale(high, SCALE)
    return low, high[:, : low.shape[1] * SCALE, : low.shape[2] * SCALE]


@torch.no_grad()
def evaluate(model: torch.nn.Module) -> dict[str, float]:
    """PSNR in dB on every held-out photograph, 8 pixels of border left out."""
    return {
        name: photos.psnr(model(low[None])[0], high, BORDER)
        for name in HELD_OUT
        for low, high in [pair(name)]
    }


def train(steps: int, seed: int, batch: int, rate: float) -> PixelShuffleNet:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = PixelShuffleNet(SCALE)
    images = [pair(name) for name in TRAINING]
    areas = torch.tensor([float(low.numel()) for low, _ in images]).sqrt()

    def loss(step: int) -> torch.Tensor:
        chosen = torch.multinomial(areas, batch, replacement=True, generator=rng).tolist()
        low, high = (torch.stack(t) for t in zip(*[crop(*images[i], CROP, rng) for i in chosen]))
        error = model(low) - high
        return error.abs().mean() if step < steps * 0.6 else error.square().mean() * 10

    fit(model, loss, steps, rate)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=14000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    model = train(args.steps, args.seed, args.batch, args.rate)
    held_out = {
        name: {k: round(v, 3) for k, v in evaluate(each).items()}
        for name, each in (("psnr", model), ("psnr_bicubic", bicubic4x()))
    }
    ship(
        model,
        "pixelshuffle4x",
        {
            "network": "4-layer PixelShuffle x4, 61,680 parameters",
            "script": "examples/training/train_pixelshuffle.py",
            "data": "photographs shipped with scikit-image, luminance",
            "training": list(TRAINING),
            "seed": args.seed,
            "steps": args.steps,
            "batch": args.batch,
            "rate": args.rate,
            "degradation": "anti-aliased bicubic, Keys a = -0.5, factor 4",
            "border": BORDER,
            "held_out": held_out,
        },
        torch.float32,
    )


if __name__ == "__main__":
    main()
