"""The networks of the matrix: {suite: {name: build}}.

``build()`` gives an untrained model and its example inputs, as small as the family allows; where it is not
interpreted by default, the options come third.
"""

from __future__ import annotations

import functools
import importlib
import runpy
from collections.abc import Callable
from typing import Any

import torch

from ...errors import FxscopeError
from ...frontend.symbolic import unchanged

Build = Callable[[], tuple]
B = 2


def members(suite: str) -> dict[str, Build]:
    """The networks of a suite of ``SUITES``, or of "path/to/file.py:function", which returns such a table.

    Raises ``FxscopeError`` where there is no such suite, or its package is not installed.
    """
    path, _, function = suite.rpartition(":")
    try:
        if path.endswith(".py"):
            return runpy.run_path(path)[function]()
        return SUITES[suite]()
    except (KeyError, OSError) as error:
        raise FxscopeError(
            f"no suite {suite}; there are {', '.join(SUITES)}, and path/to/file.py:function"
        ) from error
    except ModuleNotFoundError as error:
        raise FxscopeError(f"suite {suite} needs {error.name}: pip install 'fxscope[conformance]'") from error


def _image(size: int, channels: int = 3) -> tuple[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return (torch.randn(B, channels, size, size, generator=rng),)


def _video(frames: int, size: int) -> tuple[torch.Tensor]:
    return (torch.randn(B, 3, frames, size, size, generator=torch.Generator().manual_seed(0)),)


def torchvision() -> dict[str, Build]:
    """Every classifier, segmentation, video and optical-flow network, and the backbone of every detector.

    A quantised network and a whole detector are refused, each with its reason.
    """
    from torchvision import models

    table: dict[str, Build] = {}
    kinds = {
        models: _classifier,
        models.segmentation: _segmentation,
        models.video: _of_video,
        models.optical_flow: _flow,
    }
    for module, build in kinds.items():
        table |= {name: functools.partial(build, name) for name in models.list_models(module=module)}
    for name in models.list_models(module=models.detection):
        table[f"{name}: backbone"] = functools.partial(_backbone, name)
    table["retinanet_resnet50_fpn"] = lambda: (_detector("retinanet_resnet50_fpn"), ([*_image(64)[0]],))
    table["quantized_resnet18"] = lambda: (
        models.quantization.resnet18(weights=None, quantize=True),
        _image(64),
    )
    return table


def _classifier(name: str) -> tuple[torch.nn.Module, tuple]:
    from torchvision import models

    options: dict = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    size = {"inception_v3": 75, "maxvit_t": 224, "alexnet": 64}.get(name, 32)
    if name.startswith("vit"):
        size = options["image_size"] = 2 * int(name.rpartition("_")[2])
    return models.get_model(name, weights=None, **options), _image(size)


def _segmentation(name: str) -> tuple[torch.nn.Module, tuple]:
    from torchvision import models

    return models.get_model(name, weights=None, weights_backbone=None), _image(64)


def _flow(name: str) -> tuple[torch.nn.Module, dict]:
    from torchvision import models

    (image,) = _image(128)
    inputs = {"image1": image, "image2": image.flip(0), "num_flow_updates": 2}
    return models.get_model(name, weights=None), inputs


def _backbone(name: str) -> tuple[torch.nn.Module, tuple]:
    return _detector(name).backbone, _image(300 if name.startswith("ssd300") else 64)


def _of_video(name: str) -> tuple[torch.nn.Module, tuple]:
    """A video network on 4 frames of 32 pixels.

    mvit_v1_b and s3d accept only their full size; mvit_v2_s interpolates its relative positions to any size.
    """
    from torchvision import models

    model = models.get_model(name, weights=None)
    if name == "mvit_v2_s":
        # of 4 frames of 64 pixels
        model.pos_encoding.temporal_size, model.pos_encoding.spatial_size = 2, (16, 16)
        return model, _video(4, 64)
    return model, _video(*((16, 224) if name in ("mvit_v1_b", "s3d") else (4, 32)))


def _detector(name: str) -> Any:
    from torchvision import models

    return models.get_model(name, weights=None, weights_backbone=None)


SMALL = (
    "test_",
    "femto",
    "atto",
    "pico",
    "nano",
    "xxs",
    "xxtiny",
    "_n0",
    "_s0",
    "_t0",
    "_b0",
    "_a0",
    "_m0",
    "zepto",
    "xs",
    "micro",
    "mini",
    "tiny",
    "_x0",
    "_0",
    "18",
    "small",
    "_s",
    "_t",
    "lite",
    "050",
    "b16",
    "_16",
)


def timm() -> dict[str, Build]:
    """One small network of every architecture family (module of timm.models), named in the line."""
    import timm as library

    table: dict[str, Build] = {}
    for family in library.list_modules():
        names = library.list_models(module=family)
        if names:
            name = _small(names)
            table[f"{family}: {name}"] = functools.partial(_built, name)
    return table


def _small(names: list[str]) -> str:
    """The shortest of the names that carry the first of timm's words for a small network."""
    word = next((w for w in SMALL if any(w in n for n in names)), "")
    return min((n for n in names if word in n), key=lambda n: (len(n), n))


def _built(name: str) -> tuple[torch.nn.Module, tuple]:
    """The network on images of 64 pixels, or of its own size where it does not run on those."""
    import timm as library

    found: Any = library.get_pretrained_cfg(name, allow_unregistered=False)
    config = found.to_dict()
    channels, side = config["input_size"][0], config["input_size"][-1]
    small = min(side, max(config.get("min_input_size", (3, 64, 64))[-1], 64))
    options = {"img_size": small} if config.get("fixed_input_size", False) else {}
    try:
        model = library.create_model(name, pretrained=False, num_classes=10, **options).eval()
        with unchanged(model):  # which may keep a table of its parameters as they are now
            model(*_image(small, channels))
        return model, _image(small, channels)
    except (TypeError, ValueError, AssertionError, RuntimeError):
        return library.create_model(name, pretrained=False, num_classes=10), _image(side, channels)


def transformers() -> dict[str, Build]:
    """Hugging Face networks from configurations of two layers and 32 to 64 channels."""
    from . import huggingface

    return dict(huggingface.MODELS)


def diffusers() -> dict[str, Build]:
    """The U-Net of diffusers, from a small configuration."""
    from . import huggingface

    return {"UNet2DModel": huggingface.unet2d}


_WINDOWS = {"img_size": 16, "embed_dim": 12, "window_size": 8, "upscale": 2, "upsampler": "pixelshuffle"}
# {class: (its module in spandrel.architectures, side of the image, its options)}
_SPANDREL: dict[str, tuple[str, int, dict[str, Any]]] = {
    "SwinIR": (
        "SwinIR.__arch.SwinIR",
        16,
        {**_WINDOWS, "depths": [2, 2], "num_heads": [2, 2], "mlp_ratio": 2},
    ),
    "RCAN": (
        "RCAN.__arch.rcan_arch",
        16,
        {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 16, "reduction": 4},
    ),
    "HAT": (
        "HAT.__arch.HAT",
        16,
        {**_WINDOWS, "depths": [2], "num_heads": [2], "compress_ratio": 3, "squeeze_factor": 4},
    ),
    "DRUNet": (
        "DRUNet.__arch.network_unet",
        32,
        {"in_nc": 3, "out_nc": 3, "nc": [8, 16, 16, 16], "nb": 1},
    ),
    "NAFNet": (
        "NAFNet.__arch.NAFNet_arch",
        32,
        {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]},
    ),
}


def spandrel() -> dict[str, Build]:
    """Restoration networks of spandrel's architectures, at the sizes of a test."""
    importlib.import_module("spandrel")
    return {kind: functools.partial(_restoration, kind) for kind in _SPANDREL}


def _restoration(kind: str) -> tuple[torch.nn.Module, tuple]:
    module, side, options = _SPANDREL[kind]
    found = getattr(importlib.import_module(f"spandrel.architectures.{module}"), kind)
    return found(**options), _image(side)


def deepinv() -> dict[str, Build]:
    """Deepinv's denoisers: DnCNN, the bias-free DRUNet (with its noise map), UNet, Restormer."""
    import deepinv as library

    return {
        "DnCNN": lambda: (library.models.DnCNN(depth=5, nf=8, pretrained=None), (*_image(16), 0.05)),
        "DRUNet": lambda: (
            library.models.DRUNet(nc=[8, 16, 16, 16], nb=1, pretrained=None),
            (*_image(32), 0.05),
        ),
        "Restormer": lambda: (
            library.models.Restormer(
                dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, heads=(1, 1, 2, 2), pretrained=None
            ),
            _image(32),
        ),
        "UNet": lambda: (library.models.UNet(in_channels=3, out_channels=3, scales=3), _image(32)),
    }


def written() -> dict[str, Build]:
    """Networks of ``written.py``: spectral layers, solves, recurrent cells, own derivatives."""
    from . import written as own

    return own.networks()


def torch_geometric() -> dict[str, Build]:
    """Graph networks of PyTorch Geometric over one small graph."""
    from . import geometric as networks

    return dict(networks.MODELS)


def places() -> dict[str, Build]:
    """Networks written here that sample, pool, or convolve as x itself says."""
    from . import places as networks

    return dict(networks.MODELS)


SUITES: dict[str, Callable[[], dict[str, Build]]] = {
    "torchvision": torchvision,
    "timm": timm,
    "transformers": transformers,
    "diffusers": diffusers,
    "spandrel": spandrel,
    "deepinv": deepinv,
    "written": written,
    "torch_geometric": torch_geometric,
    "places": places,
}
OWN = {"written", "places"}  # of networks that are written here: no package has a version
