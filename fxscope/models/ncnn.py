"""Networks in the two files of ncnn: NAME.param, a text, and NAME.bin, the numbers."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import WeightsError
from ..graph.arguments import checked

_MAGIC = "7767517"
_HALF, _SINGLE = 0x01306B47, (0, 0x0002C056)  # what the four bytes before the weights of a layer say
_NO_NUMBERS = {
    "Input", "Split", "BinaryOp", "Swish", "Sigmoid", "Concat", "PixelShuffle", "Interp", "ReLU",
    "UnaryOp", "Crop", "Reshape", "Permute", "Pooling", "Eltwise", "Softmax", "Flatten", "Padding", "TanH",
}  # fmt: skip


@dataclass(frozen=True)
class NcnnLayer:
    """One line of a .param file, and its numbers from the .bin file.

    Attributes
    ----------
    kind, name : str
        The operator and its name.
    inputs, outputs : tuple of str
        The names of its blobs.
    options : dict
        The values "KEY=VALUE" by number, as integers, numbers or lists.
    tensors : dict
        "weight" and "bias" of a convolution, "weight" of a PReLU, "data" of a constant.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[int, Any]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)


@checked
def read_ncnn(param: str | Path) -> list[NcnnLayer]:
    """Read a network of ncnn: the text in ``param``, and the numbers in the .bin file beside it.

    Parameters
    ----------
    param : str or Path
        NAME.param; NAME.bin is beside it.

    Returns
    -------
    list of NcnnLayer
        In the order of the file, which is that of the computation. Half precision becomes float32.

    Raises
    ------
    WeightsError
        If a file is missing, is no such file, is cut short or has numbers left, or if a layer's numbers are
        of a kind that is not read: quantised ones, and other layers than convolutions, PReLUs and constants.
    """
    param = Path(param)
    binary = param.with_suffix(".bin")
    for path in (param, binary):
        if not path.is_file():
            raise WeightsError(f"no file of ncnn at {path}; NAME.param and NAME.bin are read together")
    layers = _parsed(param)
    numbers = _Numbers(binary)
    layers = [replace(layer, tensors=_tensors(layer, numbers)) for layer in layers]
    numbers.check_read()
    return layers


def _parsed(path: Path) -> list[NcnnLayer]:
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    if len(lines) < 2 or lines[0] != [_MAGIC]:
        raise WeightsError(f"{path} is no .param file of ncnn: its first line is not {_MAGIC}")
    try:
        count = int(lines[1][0])
        layers = [_layer(line) for line in lines[2:]]
    except (ValueError, IndexError) as error:
        raise WeightsError(f"{path} is no .param file of ncnn: {error}") from None
    if count != len(layers):
        raise WeightsError(f"{path} says that it has {count} layers, and has {len(layers)}: it is cut short")
    return layers


def _layer(words: list[str]) -> NcnnLayer:
    """KIND NAME inputs outputs BLOB ... KEY=VALUE ..."""
    ins, outs = int(words[2]), int(words[3])
    if len(words) < 4 + ins + outs:
        raise ValueError(f"the layer {words[1]} names fewer than {ins} + {outs} blobs")
    blobs, options = words[4 : 4 + ins + outs], words[4 + ins + outs :]
    return NcnnLayer(words[0], words[1], tuple(blobs[:ins]), tuple(blobs[ins:]), dict(map(_option, options)))


def _option(word: str) -> tuple[int, Any]:
    key, _, value = word.partition("=")
    if int(key) <= -23300:  # an array: its length comes first
        return -23300 - int(key), [_number(v) for v in value.split(",")[1:]]
    return int(key), _number(value)


def _number(text: str) -> int | float:
    return float(text) if set(text) & set(".eE") else int(text)


class _Numbers:
    """Reads a .bin file from its beginning to its end."""

    def __init__(self, path: Path):
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def _bytes(self, count: int) -> bytes:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise WeightsError(
                f"{self.path} is cut short: byte {self.at + count} of {len(self.data)} is read"
            )
        self.at += count
        return found

    def single(self, *shape: int) -> torch.Tensor:
        """Numbers without a tag, in single precision."""
        count = int(np.prod(shape))
        return torch.from_numpy(np.frombuffer(self._bytes(4 * count), "<f4").astype(np.float32)).view(shape)

    def tagged(self, *shape: int) -> torch.Tensor:
        """Numbers after a tag that says their precision; those in half end at a multiple of four bytes."""
        (tag,) = struct.unpack("<I", self._bytes(4))
        if tag in _SINGLE:
            return self.single(*shape)
        if tag != _HALF:
            raise WeightsError(
                f"{self.path} has numbers of the kind {tag:#010x} at byte {self.at - 4}: only single and half"
                " precision are read, not quantised numbers"
            )
        count = int(np.prod(shape))
        half = self._bytes((2 * count + 3) // 4 * 4)[: 2 * count]
        return torch.from_numpy(np.frombuffer(half, "<f2").astype(np.float32)).view(shape)

    def check_read(self) -> None:
        """Raise ``WeightsError`` if numbers are left."""
        if self.at != len(self.data):
            raise WeightsError(
                f"{self.path} has {len(self.data)} bytes, and the layers take {self.at}: it is of another"
                " .param"
            )


def _tensors(layer: NcnnLayer, numbers: _Numbers) -> dict[str, torch.Tensor]:
    kind, name, options = layer.kind, layer.name, layer.options
    if kind in _NO_NUMBERS:
        return {}
    if kind == "PReLU":
        return {"weight": numbers.single(options[0])}
    if kind == "MemoryData":
        sides = [options[i] for i in (2, 1, 0) if options.get(i)]
        return {"data": numbers.single(*sides)}
    if kind != "Convolution" or options.get(8):
        raise WeightsError(f"{numbers.path}: the layer {name} of the kind {kind} is not read")
    outside, width = options[0], options[1]
    height = options.get(11, width)
    inside = options[6] // (outside * width * height)
    found = {"weight": numbers.tagged(outside, inside, height, width)}
    return {**found, "bias": numbers.single(outside)} if options.get(5) else found
