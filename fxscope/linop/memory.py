"""What is kept of x0: nothing, the recorded states, or the states packed (masks as bits, max-pool indices as offsets)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..twins import Window

MODES = ("recompute", "record", "packed")
# {position of a state: (the windows it lies in, spatial sizes of the pooled tensor)}
Windows = dict[int, tuple[Window, tuple[int, ...]]]


class Kept:
    """The states of one x0, as ``memory`` asks for: ``get()`` gives the flat tuple that replay and pullback take."""

    def __init__(
        self,
        record: Callable[[], tuple],
        memory: str,
        states: tuple[torch.Tensor, ...],
        own: tuple[bool, ...],
        windows: Windows,
    ):
        self._record, self.memory, self._own = record, memory, own
        keep = {
            "recompute": lambda: None,
            "record": lambda: states,
            "packed": lambda: tuple(pack(s, windows.get(i)) for i, s in enumerate(states)),
        }
        self._states = keep[memory]()

    def get(self) -> tuple[torch.Tensor, ...]:
        if self.memory == "recompute":
            return self._record()
        if self.memory == "packed":
            return tuple(s.unpack() if isinstance(s, Packed) else s for s in self._states)
        return self._states

    def tensors(self) -> list[torch.Tensor]:
        """The tensors that are held."""
        return [s.bits if isinstance(s, Packed) else s for s in self._states or ()]

    @property
    def nbytes(self) -> int:
        """Bytes that are held of x0: memory shared by several states counts once; weights folded with a batch norm are not x0's."""
        held = {}
        for state, own in zip(self._states or (), self._own):
            if own:
                tensor = state.bits if isinstance(state, Packed) else state
                held[tensor.untyped_storage().data_ptr(), tensor.device] = tensor.untyped_storage().nbytes()
        return sum(held.values())


class Packed:
    """Small numbers, several a byte: ``bits`` of 1, 2, 4 or 8 each; 16 take two bytes."""

    def __init__(self, values: torch.Tensor, bits: int):
        self.shape, self.dtype, self.width = values.shape, values.dtype, bits
        if bits == 16:
            self.bits = values.flatten().to(torch.int16)
            return
        count = 8 // bits
        flat = torch.nn.functional.pad(values.flatten().to(torch.uint8), (0, -values.numel() % count)).view(
            -1, count
        )
        weights = torch.tensor(
            [1 << (bits * i) for i in range(count)], dtype=torch.uint8, device=values.device
        )
        self.bits = (flat * weights).sum(1, dtype=torch.uint8)

    def unpack(self) -> torch.Tensor:
        if self.width == 16:
            return self.bits.to(self.dtype).view(self.shape)
        shifts = torch.arange(0, 8, self.width, dtype=torch.uint8, device=self.bits.device)
        flat = (self.bits[:, None] >> shifts) & (2**self.width - 1)
        return flat.flatten()[: self.shape.numel()].to(self.dtype).view(self.shape)


class PackedIndex(Packed):
    """Indices of a max-pool, each as the offset inside its own window."""

    def __init__(self, index: torch.Tensor, window: Window, sizes: tuple[int, ...]):
        self.window, self.sizes = window, sizes
        offset = torch.zeros_like(index)
        for axis, (place, start) in enumerate(
            zip(self._places(index), self._starts(index.shape, index.device))
        ):
            offset = offset * window.kernel[axis] + (place - start) // window.dilation[axis]
        super().__init__(offset, window.bits)

    def unpack(self) -> torch.Tensor:
        offset, parts = super().unpack(), []
        for kernel in reversed(self.window.kernel):
            parts.append(offset % kernel)
            offset = offset // kernel
        index = torch.zeros_like(offset)
        for axis, (part, start) in enumerate(zip(reversed(parts), self._starts(self.shape, offset.device))):
            index = index * self.sizes[axis] + part * self.window.dilation[axis] + start
        return index

    def _places(self, index: torch.Tensor) -> list[torch.Tensor]:
        """The place along every axis that a flat index means."""
        places = []
        for size in reversed(self.sizes):
            places.append(index % size)
            index = index // size
        return places[::-1]

    def _starts(self, shape: torch.Size, device: torch.device) -> list[torch.Tensor]:
        """Where every window starts, per axis, shaped to broadcast."""
        n = len(self.sizes)
        steps = [
            torch.arange(shape[axis - n], device=device) * self.window.stride[axis]
            - self.window.padding[axis]
            for axis in range(n)
        ]
        return [s.view([-1 if i == axis else 1 for i in range(n)]) for axis, s in enumerate(steps)]


def pack(state: torch.Tensor, window: tuple[Window, tuple[int, ...]] | None = None) -> Any:
    """A state in as few bytes as it can be given back from, bit for bit."""
    if state.dtype == torch.bool and state.numel() >= 8:
        return Packed(state, 1)
    return PackedIndex(state, *window) if window is not None else state
