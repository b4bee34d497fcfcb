"""The interpreters that measures share: of a batch, of one image, between any two places of a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter, Reader, prepare

SIZES = 16  # readers that are kept


@dataclass
class Interpreters:
    """The interpreters of one network at the images of one batch, each made when it is asked for."""

    readers: Readers
    x0: torch.Tensor
    numbers: tuple[int, ...]
    kept: dict[Any, Any] = field(default_factory=dict)

    def lin(self, inputs: Any = None, outputs: Any = None) -> LinearInterpreter:
        """The interpreter at all images of the batch."""
        key = (inputs, outputs)
        if key not in self.kept:
            self.kept[key] = self.readers.at(self.x0, inputs, outputs)
        return self.kept[key]

    def one(self, i: int) -> Interpreters:
        """The same of one image alone."""
        if len(self.numbers) == 1:
            return self
        if ("one", i) not in self.kept:
            alone = Interpreters(self.readers, self.x0[i : i + 1], self.numbers[i : i + 1])
            self.kept["one", i] = alone
        return self.kept["one", i]


class Readers:
    """What is made once for a network: its readers between places, for the last few sizes of images.

    A reader is made for one random image of its size, whatever images come first. Made for the first batch it
    would depend on where a process begins: how many probes run together, and through which place, is decided
    by the example, and results would differ by rounding.
    """

    def __init__(self, module: torch.nn.Module, preprocess: Preprocess, policy: Any, unknown: str):
        self.module, self.preprocess = module, preprocess
        self._options = {"policy": policy, "unknown": unknown}
        self._made: dict[Any, Reader] = {}

    def at(self, x0: torch.Tensor, inputs: Any, outputs: Any) -> LinearInterpreter:
        """The interpreter at x0."""
        key = (inputs, outputs, x0.shape[1:])
        reader = self._made.pop(key, None)
        if reader is None:
            rng = torch.Generator().manual_seed(0)
            example = torch.rand(1, *x0.shape[1:], generator=rng, dtype=torch.float64).to(x0)
            reader = prepare(self.module, example, inputs=inputs, outputs=outputs, **self._options)
        self._made[key] = reader  # the last one is the newest
        if len(self._made) > SIZES:
            self._made.pop(next(iter(self._made)))
        return reader(x0)
