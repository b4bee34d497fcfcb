"""Train the three digit classifiers: VGG-like without and with batch norm, and a small ResNet.

    python examples/training/train_digits.py [digits_vgg digits_vgg_bn digits_resnet]

scikit-learn's digits at 32x32, shifted by up to three pixels; cross entropy; 450 digits held out. Ends with
the accuracy of the weights as they are stored.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from common import fit, rounded, ship

from fxscope.models.digits import DigitsResNet, DigitsVGG
from fxscope.paper import datasets

NETWORKS = {
    "digits_vgg": lambda: DigitsVGG(False),
    "digits_vgg_bn": lambda: DigitsVGG(True),
    "digits_resnet": DigitsResNet,
}


@torch.no_grad()
def accuracy(model: torch.nn.Module) -> float:
    ink, labels = datasets.digits("test")
    return (model(datasets.normalised(ink)).argmax(1) == labels).float().mean().item()


def train(name: str, steps: int, seed: int, batch: int, rate: float) -> torch.nn.Module:
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    model = NETWORKS[name]()
    ink, labels = datasets.digits("train")

    def loss(step: int) -> torch.Tensor:
        chosen = torch.randint(0, len(ink), (batch,), generator=rng)
        dy, dx = torch.randint(-3, 4, (2,), generator=rng).tolist()
        x = datasets.normalised(ink[chosen].roll((dy, dx), (2, 3)))
        return F.cross_entropy(model(x), labels[chosen])

    fit(model, loss, steps, rate, decay=1e-2)
    return rounded(model)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=4e-3)
    args = parser.parse_args()
    for name in args.networks:
        model = train(name, args.steps, args.seed, args.batch, args.rate)
        parameters = sum(p.numel() for p in model.parameters())
        ship(
            model,
            name,
            {
                "network": f"{type(model).__name__}, {parameters:,} parameters",
                "script": "examples/training/train_digits.py",
                "data": "scikit-learn's digits at 32x32, 1347 for training, 450 held out",
                "seed": args.seed,
                "steps": args.steps,
                "batch": args.batch,
                "rate": args.rate,
                "held_out": {"accuracy": round(accuracy(model), 5)},
            },
        )


if __name__ == "__main__":
    main()
