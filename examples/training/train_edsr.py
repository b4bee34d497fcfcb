"""Train the small EDSR x4 (8 blocks of 32) on scikit-image's photographs.

    python examples/training/train_edsr.py

Colour in 0..255; low resolution by anti-aliased bicubic (Keys, a = -1/2); random crops, flips and rotations;
mean absolute error. It starts as an interpolation: the first three channels carry the picture through, every
other weight is small. Held out: chelsea, coffee and rocket; PSNR is that of the luminance, 8 pixels of border
left out, of the weights as they are stored.
"""

from __future__ import annotations

import argparse

import torch
from common import crop, fit, rounded, ship
from torch import nn

from fxscope.images import photos
from fxscope.models import bicubic4x, edsr_small

SCALE, CROP, BORDER = 4, 20, 8
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
    """(low, high) of a photograph in [0, 1], (3, h, w) and (3, 4h, 4w)."""
    high = photos.shipped(name)
    low = photos.downscale(high, SCALE)
    return low, high[:, : low.shape[1] * SCALE, : low.shape[2] * SCALE]


@torch.no_grad()
def gains(model: nn.Module) -> dict[str, dict[str, float]]:
    """Luminance PSNR in dB of the network and of bicubic on every held-out photograph."""
    found: dict[str, dict[str, float]] = {"psnr": {}, "psnr_bicubic": {}}
    for name in HELD_OUT:
        low, high = pair(name)
        truth = photos.luminance(high)
        for key, image in (
            ("psnr", model(255 * low[None])[0] / 255),
            ("psnr_bicubic", bicubic4x()(low[None])[0]),
        ):
            found[key][name] = round(photos.psnr(photos.luminance(image.clamp(0, 1)), truth, BORDER), 3)
    return found


@torch.no_grad()
def start_as_interpolation(model: nn.Module) -> None:
    """Channels 0, 1, 2 hold the picture from head to tail.

    Each doubling reads the nearest pixels by 1/4 and 3/4.
    """
    for block in model.body[:-1]:
        block.body[2].weight.mul_(0.1), block.body[2].bias.zero_()
    for conv in (model.head[0], model.body[-1], model.tail[0][0], model.tail[0][2], model.tail[1]):
        conv.weight.mul_(0.1), conv.bias.zero_()
    taps = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    for c in range(3):
        model.head[0].weight[c].zero_(), model.body[-1].weight[c].zero_(), model.tail[1].weight[c].zero_()
        model.head[0].weight[c, c, 1, 1] = model.tail[1].weight[c, c, 1, 1] = 1
        for conv in (model.tail[0][0], model.tail[0][2]):
            conv.weight[4 * c : 4 * c + 4].zero_()
            for phase in range(4):
                conv.weight[4 * c + phase, c] = torch.outer(taps[phase // 2], taps[phase % 2])


def train(steps: int, seed: int, batch: int, rate: float) -> nn.Module:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = edsr_small(trained=False)
    start_as_interpolation(model)
    images = [pair(name) for name in TRAINING]
    areas = torch.tensor([float(low[0].numel()) for low, _ in images]).sqrt()

    def loss(step: int) -> torch.Tensor:
        chosen = torch.multinomial(areas, batch, replacement=True, generator=rng).tolist()
        low, high = (torch.stack(t) for t in zip(*[crop(*images[i], CROP, rng) for i in chosen]))
        return (model(255 * low) - 255 * high).abs().mean()

    fit(model, loss, steps, rate)
    return rounded(model)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    args = parser.parse_args()
    model = train(args.steps, args.seed, args.batch, args.rate)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    ship(
        model,
        "edsr_small4x",
        {
            "network": f"EDSR x4, 8 blocks of 32, {parameters:,} parameters",
            "script": "examples/training/train_edsr.py",
            "data": "photographs shipped with scikit-image",
            "training": list(TRAINING),
            "seed": args.seed,
            "steps": args.steps,
            "batch": args.batch,
            "rate": args.rate,
            "degradation": "anti-aliased bicubic, Keys a = -0.5, factor 4",
            "border": BORDER,
            "held_out": gains(model),
        },
    )


if __name__ == "__main__":
    main()
