"""Train the two image-to-image stand-ins.

They are ResNet generators with instance norm (CycleGAN's layout, 12 features, 9 blocks).

    python examples/training/train_generators.py [facades_resnet painter_resnet]

``facades_resnet``: facades drawn by a seeded procedure to their label maps
(seeds from 10000 for training, 0 to 31 held out).
``painter_resnet``: scikit-image's photographs to a painterly filter's output
(chelsea, coffee and rocket held out).
Both on 128x128 pictures in [-1, 1], mean absolute error, no discriminator. Ends with the figures of the
weights as they are stored.
"""

from __future__ import annotations

import argparse

import torch
from common import fit, rounded, ship
from torch import nn

from fxscope.images import photos
from fxscope.models import generator_small
from fxscope.paper import datasets

SIDE = 128
TRAINING = ("astronaut", "motorcycle_left", "motorcycle_right", "hubble_deep_field")
HELD_OUT = ("chelsea", "coffee", "rocket")
FIRST_SEED, HELD_OUT_SEEDS = 10000, range(32)


def facades(batch: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    seeds = (FIRST_SEED + torch.randint(0, 1 << 30, (batch,), generator=rng)).tolist()
    drawn = [datasets.facade(s, SIDE) for s in seeds]
    return torch.stack([p for p, _ in drawn]), torch.stack([datasets.label_map(c) for _, c in drawn])


class Photographs:
    """Random crops of the training photographs at full and half size, each with its painting."""

    def __init__(self) -> None:
        full = [photos.shipped(name) for name in TRAINING]
        self.pictures = [*full, *(photos.downscale(p, 2).clamp(0, 1) for p in full)]

    def __call__(self, batch: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        crops = [self.crop(rng) for _ in range(batch)]
        return torch.stack(crops), torch.stack([datasets.painterly(c) for c in crops])

    def crop(self, rng: torch.Generator) -> torch.Tensor:
        picture = self.pictures[int(torch.randint(0, len(self.pictures), (), generator=rng))]
        y, x = (int(torch.randint(0, s - SIDE + 1, (), generator=rng)) for s in picture.shape[1:])
        found = picture[:, y : y + SIDE, x : x + SIDE]
        return found.flip(2) if int(torch.randint(0, 2, (), generator=rng)) else found


def train(draw, steps: int, seed: int, batch: int, rate: float) -> nn.Module:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = generator_small()

    def loss(step: int) -> torch.Tensor:
        source, target = draw(batch, rng)
        return (model(2 * source - 1) - (2 * target - 1)).abs().mean()

    fit(model, loss, steps, rate)
    return rounded(model)


@torch.no_grad()
def facade_figures(model: nn.Module) -> dict[str, float]:
    """Share of pixels whose nearest label colour is right, on the held-out seeds.

    Beside it, that of the commonest class alone.
    """
    right, commonest = [], []
    for seed in HELD_OUT_SEEDS:
        photo, labels = datasets.facade(seed, SIDE)
        found = datasets.nearest_label((model(2 * photo[None] - 1)[0] + 1) / 2)
        right.append((found == labels).float().mean())
        commonest.append(labels.flatten().bincount().max() / labels.numel())
    return {
        "pixel_accuracy": round(torch.stack(right).mean().item(), 5),
        "commonest_class": round(torch.stack(commonest).mean().item(), 5),
    }


@torch.no_grad()
def painter_figures(model: nn.Module) -> dict[str, dict[str, float]]:
    """PSNR in dB against the painting, over the middle 256x256 pixels.

    It is that of the network's output, of the photograph, and of the photograph in the painter's palette.
    """
    found: dict[str, dict[str, float]] = {"psnr": {}, "psnr_photograph": {}, "psnr_recoloured": {}}
    for name in HELD_OUT:
        photo = photos.shipped(name)
        top, left = ((s - 256) // 2 for s in photo.shape[1:])
        photo = photo[:, top : top + 256, left : left + 256]
        target = datasets.painterly(photo)
        found["psnr"][name] = round(photos.psnr((model(2 * photo[None] - 1)[0] + 1) / 2, target), 3)
        found["psnr_photograph"][name] = round(photos.psnr(photo, target), 3)
        found["psnr_recoloured"][name] = round(photos.psnr(datasets.recoloured(photo), target), 3)
    return found


TASKS = {
    "facades_resnet": (
        lambda: facades,
        facade_figures,
        "facades drawn by fxscope.paper.datasets.facade, their label maps",
    ),
    "painter_resnet": (
        Photographs,
        painter_figures,
        "photographs shipped with scikit-image, the output of fxscope.paper.datasets.painterly",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(TASKS))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rate", type=float, default=3e-3)
    args = parser.parse_args()
    for name in args.networks:
        source, figures, data = TASKS[name]
        model = train(source(), args.steps, args.seed, args.batch, args.rate)
        parameters = sum(p.numel() for p in model.parameters())
        ship(
            model,
            name,
            {
                "network": (
                    f"ResNet generator with instance norm, 12 features, 9 blocks, {parameters:,} parameters"
                ),
                "script": "examples/training/train_generators.py",
                "data": data,
                "seed": args.seed,
                "steps": args.steps,
                "batch": args.batch,
                "rate": args.rate,
                "held_out": figures(model),
            },
        )


if __name__ == "__main__":
    main()
