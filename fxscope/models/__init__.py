"""The networks of the paper, small trained stand-ins, and networks whose weights other packages hold."""

from __future__ import annotations

from ..images.bicubic import Bicubic, bicubic4x
from .cyclegan import ResnetGenerator, cyclegan
from .digits import DigitsResNet, DigitsVGG
from .dncnn import DnCNN, bias_free_dncnn, dncnn
from .edsr import EDSR, edsr, edsr_baseline
from .lite import EfficientNetLite, efficientnet_lite
from .llama import CharacterLlama
from .named import build, names
from .ncnn import NcnnLayer, read_ncnn
from .pixelshuffle import PixelShuffleNet
from .spec import load_model
from .stand_ins import (
    STAND_INS,
    digits_resnet,
    digits_vgg,
    digits_vgg_bn,
    edsr_small,
    facades_resnet,
    generator_small,
    kjv_llama,
    painter_resnet,
    pixelshuffle4x,
)
from .super_resolution_ncnn import CompactSR, Span, real_esr_animevideo, span
from .weights import DATA, load_weights, provenance

__all__ = [
    "DATA",
    "EDSR",
    "STAND_INS",
    "Bicubic",
    "CharacterLlama",
    "CompactSR",
    "DigitsResNet",
    "DigitsVGG",
    "DnCNN",
    "EfficientNetLite",
    "NcnnLayer",
    "PixelShuffleNet",
    "ResnetGenerator",
    "Span",
    "bias_free_dncnn",
    "bicubic4x",
    "build",
    "cyclegan",
    "digits_resnet",
    "digits_vgg",
    "digits_vgg_bn",
    "dncnn",
    "edsr",
    "edsr_baseline",
    "edsr_small",
    "efficientnet_lite",
    "facades_resnet",
    "generator_small",
    "kjv_llama",
    "load_model",
    "load_weights",
    "names",
    "painter_resnet",
    "pixelshuffle4x",
    "provenance",
    "read_ncnn",
    "real_esr_animevideo",
    "span",
]
