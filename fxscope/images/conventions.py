"""What input a network takes: known from its weights, its package or its family, or guessed."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ImageError, WrongArgument, said
from ..graph.arguments import shown
from .preprocess import Preprocess

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
RANGES = {"imagenet": (0.0, 1.0), "unit": (0.0, 1.0), "byte": (0.0, 255.0), "symmetric": (-1.0, 1.0)}
IMAGENET_LABELS = (1000, 1001)
LITE_SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
INK_MEAN, INK_STD = 0.17, 0.32  # of the digits in [0, 1]; the classifiers take (ink - mean) / std
_PIL = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # the numbers of Pillow's filters


def known_or_guessed(model_or_spec: Any, module: Any = None) -> Preprocess:
    """``Preprocess.of``: what the text, then what the network itself tells, else a guess."""
    spec = model_or_spec if isinstance(model_or_spec, str) else ""
    network = module if isinstance(model_or_spec, str) else model_or_spec
    if network is not None and not isinstance(network, nn.Module) and not _is_descriptor(network):
        raise WrongArgument(
            f"Preprocess.of takes a text, a torch.nn.Module or a descriptor of spandrel; got {shown(network)}"
        )
    if isinstance(carried := getattr(network, "preprocess", None), Preprocess):
        return carried
    family, _, name = spec.rpartition(":")
    found = _of_spec(family, name) if spec else None
    if found is None and network is not None:
        found = _of_descriptor(network) if _is_descriptor(network) else _of_timm(network)
    return found or _guess(network)


def channels_of(module: nn.Module) -> int:
    """Number of input channels of the first layer; 3 if no layer tells."""
    first: Any = next((m for m in module.modules() if hasattr(m, "in_channels")), None)
    return 3 if first is None else first.in_channels


def with_channels(found: Preprocess, module: nn.Module, name: str) -> Preprocess:
    """The luminance for a network of one channel; ``ImageError`` for other channels than 1 and 3."""
    count = channels_of(module)
    if count not in (1, 3):
        raise ImageError(
            f"{name} takes {count} channels, and a photograph has 1 or 3: from Python,"
            " fxscope.interpret(model, x0) takes any x0, and its rows, columns and spectrum plot themselves"
        )
    return with_count(found, count)


def with_count(found: Preprocess, count: int) -> Preprocess:
    """The same for so many channels, 1 or 3."""
    return found if count == found.count else with_channels_in(found, "Y" if count == 1 else "RGB")


def with_channels_in(found: Preprocess, channels: str) -> Preprocess:
    """The same colours in another order; the luminance has the mean of the numbers of its colours."""
    mean, std = found.mean, found.std
    if channels == found.channels:
        return found
    if "Y" in (channels, found.channels):
        mean, std = (sum(v) / len(v) if isinstance(v, tuple) else v for v in (mean, std))
    else:
        mean, std = (v[::-1] if isinstance(v, tuple) else v for v in (mean, std))
    return dataclasses.replace(found, mean=mean, std=std, channels=channels)


def _of_spec(family: str, name: str) -> Preprocess | None:
    if family == "fxscope":
        return _of_fxscope(name)
    if family == "torchvision":
        return _of_torchvision(name)
    return of_directory(Path(name)) if family == "hf" and Path(name).is_dir() else None


def _of_fxscope(name: str) -> Preprocess:
    """Of fxscope's own networks."""
    said = "fxscope's family"
    grey = "Y" if name.startswith("pixelshuffle") or "dncnn" in name else "RGB"
    if name.startswith("digits"):
        ink: dict[str, Any] = {"mean": INK_MEAN, "std": INK_STD, "channels": "Y"}
        return Preprocess(32, "cover", "center", **ink, source=said)
    if name in LITE_SIDES:
        bytes_: dict[str, Any] = {"range": (0, 255), "mean": 127.0, "std": 128.0, "interpolation": "bicubic"}
        side = LITE_SIDES[name]
        return Preprocess(side, side + 32, "center", **bytes_, source=said)
    if name.startswith("edsr"):
        return Preprocess(range=(0, 255), source=said)
    if name.startswith("cyclegan") or name in ("facades_resnet", "painter_resnet"):
        return Preprocess(range=(-1, 1), source=said)
    return Preprocess(channels=grey, source=said)


def _of_torchvision(name: str) -> Preprocess | None:
    """The transforms of the weights that torchvision would load; nothing is downloaded."""
    from torchvision.models import get_model_weights

    try:
        transforms = get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
    except (ValueError, AttributeError):  # no such network, or it has no weights
        return None
    kind = type(transforms).__name__
    source = "torchvision's weights"
    if kind == "ObjectDetection":
        return Preprocess(source=source)
    if kind not in ("ImageClassification", "SemanticSegmentation"):
        return None  # of videos, or of pairs of images
    crop = tuple(getattr(transforms, "crop_size", ()))
    return Preprocess(
        size=crop * 2 if len(crop) == 1 else crop or None,
        resize=transforms.resize_size[0]
        if len(transforms.resize_size) == 1
        else tuple(transforms.resize_size),
        crop="center" if crop else None,
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        source=source,
    )


def _of_timm(network: Any) -> Preprocess | None:
    """Of timm's networks, which carry the configuration of their weights."""
    config = getattr(network, "pretrained_cfg", None)
    if not isinstance(config, dict) or not config.get("input_size"):
        return None
    size = tuple(config["input_size"][1:])
    scaled = tuple(math.floor(s / (config.get("crop_pct") or 1.0)) for s in size)
    resize: Any = scaled[0] if size[0] == size[1] else "cover"
    if config.get("crop_mode") == "squash":
        resize = scaled
    name = config.get("interpolation", "bilinear")
    return Preprocess(
        size=size,
        resize=resize,
        crop="center",
        interpolation=name if name in ("bilinear", "bicubic", "nearest") else "bicubic",
        mean=tuple(config.get("mean") or (0.0,)),
        std=tuple(config.get("std") or (1.0,)),
        channels="Y" if config["input_size"][0] == 1 else "RGB",
        source="timm's pretrained_cfg",
    )


def of_directory(folder: Path) -> Preprocess | None:
    """Of a directory of Hugging Face with an image processor; None if it has none.

    The processor of transformers fills in what its file leaves out; without transformers the file is read.
    """
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        config = {**_defaults(folder), **config}
        return _of_processor(config)
    except (ValueError, TypeError, KeyError) as error:
        raise ImageError(f"{file} describes no image processor that is understood: {said(error)}") from error


def _defaults(folder: Path) -> dict[str, Any]:
    try:
        from transformers import AutoImageProcessor
    except ImportError:
        return {}
    try:
        found = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True).to_dict()
    except Exception:  # a processor of a newer or an older version; its file says most
        return {}
    return {name: value for name, value in found.items() if value is not None}


def _of_processor(config: dict[str, Any]) -> Preprocess:
    resize, size = _hf_sizes(config)
    scale = float(config.get("rescale_factor", 1 / 255)) * 255 if config.get("do_rescale", True) else 255.0
    normal = config.get("do_normalize", True) and config.get("image_mean") is not None
    return Preprocess(
        size=size,
        resize=resize,
        crop="center" if size else None,
        interpolation=_PIL.get(config.get("resample", 2), "bicubic"),
        range=(0.0, round(scale, 9)),
        mean=tuple(config["image_mean"]) if normal else 0.0,
        std=tuple(config["image_std"]) if normal else 1.0,
        source="the image processor of its directory",
    )


def _hf_sizes(config: dict[str, Any]) -> tuple[Any, Any]:
    """(resize, size) of a processor of Hugging Face."""
    resize: Any = None
    if config.get("do_resize", True) and config.get("size") is not None:
        resize = _hf_size(config["size"])
        if config.get("crop_pct") and isinstance(resize, int) and resize < 384:  # ConvNeXt's processor
            return int(resize / config["crop_pct"]), (resize, resize)
        resize = (resize, resize) if isinstance(resize, int) and config.get("crop_pct") else resize
    if config.get("do_center_crop") and config.get("crop_size") is not None:
        crop = _hf_size(config["crop_size"])
        return resize, (crop, crop) if isinstance(crop, int) else crop
    return resize, resize if isinstance(resize, tuple) else None


def _hf_size(size: Any) -> Any:
    """The shorter side, or (h, w)."""
    if isinstance(size, int):
        return size
    if size.get("shortest_edge"):
        return int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])


def _is_descriptor(value: Any) -> bool:
    return hasattr(value, "size_requirements") and hasattr(value, "input_channels")


def _of_descriptor(descriptor: Any) -> Preprocess:
    """Of a descriptor of spandrel: pixels in 0..1, padded to what the network needs."""
    needs = descriptor.size_requirements
    return Preprocess(
        channels="Y" if descriptor.input_channels == 1 else "RGB",
        multiple=needs.multiple_of,
        minimum=max(1, needs.minimum),
        source="spandrel's descriptor",
    )


def _guess(network: Any) -> Preprocess:
    """A guess from the channels of the first layer and the labels of the last."""
    if network is None:
        return Preprocess(source="guessed: RGB in 0..1, the whole photograph")
    labels = _labels(network)
    if channels_of(network) == 1:
        return Preprocess(channels="Y", source="guessed: luminance in 0..1 for one channel")
    if labels in IMAGENET_LABELS:
        source = f"guessed: ImageNet's, for {labels} labels"
        return Preprocess(224, 256, "center", **IMAGENET, source=source)
    return Preprocess(source="guessed: RGB in 0..1")


def _labels(network: nn.Module) -> int:
    """The outputs of the last linear layer, or of the last convolution where there is none."""
    layers: list[Any] = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return getattr(layers[-1], "out_features", None) or layers[-1].out_channels if layers else 0
