"""What a study of ImageNet with the 21 networks of the paper's Table 4 takes, from the seconds of one image.

    python docs/studies/reckon.py [NETWORK...]

One thread measures the residual share of two random images with every network (random weights: the time does
not depend on them), and counts the seconds of its processor. Reading and resizing a photograph is measured on
one of scikit-image. The result is docs/studies/results/imagenet-seconds.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

import fxscope
from fxscope.images import photos
from fxscope.passes.policy import Policy
from fxscope.studies.measures import measure_of
from fxscope.studies.readers import Interpreters, Readers

VGG = [f"vgg{depth}{norm}" for norm in ("", "_bn") for depth in (11, 13, 16, 19)]
NETWORKS = [
    "alexnet",
    "squeezenet1_0",
    "squeezenet1_1",
    *VGG,
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
    "inception_v3",
]
IMAGES = {"validation": 50_000, "training": 1_281_167}
BATCH = 2
FILE = Path(__file__).parent / "results" / "imagenet-seconds.json"


def measured(name: str) -> dict:
    """Seconds of one thread for an image, by the measure and by the network alone."""
    side = 299 if name == "inception_v3" else 224
    module = fxscope.models.load_model(f"torchvision:{name}", seed=0)
    readers = Readers(module, fxscope.Preprocess(), Policy.of(None), "refuse")
    measure, seconds = measure_of("residual_share"), []
    for seed in range(3):  # the first makes the graphs
        x0 = torch.rand(BATCH, 3, side, side, generator=torch.Generator().manual_seed(seed))
        start = time.process_time()
        measure.of(Interpreters(readers, x0, tuple(range(BATCH))))
        seconds.append((time.process_time() - start) / BATCH)
    with torch.no_grad():
        start = time.process_time()
        module(x0)
        forward = (time.process_time() - start) / BATCH
    return {"network": name, "side": side, "seconds": min(seconds[1:]), "forward": forward}


def reading() -> float:
    """Seconds of one thread to read a JPEG of scikit-image, and to make x0 of it."""
    import skimage

    path = Path(skimage.__file__).parent / "data" / "rocket.jpg"  # 640 x 427 pixels
    take = fxscope.Preprocess.of("torchvision:resnet18")
    start = time.process_time()
    for _ in range(10):
        take(photos.read(path))
    return (time.process_time() - start) / 10


def main() -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    rows = []
    for name in sys.argv[1:] or NETWORKS:
        rows.append(measured(name))
        row = rows[-1]
        print(
            f"{name:16s} {row['seconds']:.3f} s an image, the network alone {row['forward']:.3f} s",
            flush=True,
        )
    total, read = sum(r["seconds"] for r in rows), reading()
    print(f"all {len(rows)}: {total:.2f} s an image; to read it {read:.4f} s, for every network")
    for split, count in IMAGES.items():
        hours = count * (total + read * len(rows)) / 3600
        print(f"ImageNet, {split}, {count:,} images: {hours:,.0f} hours of one core")
    if not sys.argv[1:]:
        FILE.write_text(json.dumps({"reading": read, "networks": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
