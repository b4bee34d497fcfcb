"""The kept states of x0: all of them, packed (masks as bits, max-pool indices as offsets), or none."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

from ..twins import Window

MODES = ("recompute", "record", "packed")
# {position of a state: (the windows it lies in, spatial sizes of the pooled tensor)}
Windows = dict[int, tuple[Window, tuple[int, ...]]]
# {position of a mask: (that of the index that tells it, pooled dimensions)}
Winners = dict[int, tuple[int, int]]


class Kept:
    """The states of one x0 in one memory mode."""

    def __init__(
        self,
        record: Callable[[], tuple],
        memory: str,
        states: tuple[torch.Tensor, ...],
        own: tuple[bool, ...],
        windows: Windows,
        winners: Winners,
    ):
        # the interpreter that holds the states is not held by them: together they would be a cycle
        self._record, self.memory, self._own = weakref.WeakMethod(record), memory, own
        self._states: tuple[Any, ...] = ()
        if memory == "record":
            self._states = states
        elif memory == "packed":
            packed = [pack(s, windows.get(i)) if i not in winners else None for i, s in enumerate(states)]
            for i, (at, dims) in winners.items():
                packed[i] = Won(states[i], packed[at], dims)
            self._states = tuple(packed)

    def get(self) -> tuple[torch.Tensor, ...]:
        """The flat tuple of states, the first input of the replay and pullback graphs."""
        if self.memory == "recompute":
            record = self._record()
            assert record is not None
            return record()
        return tuple(s.unpack() if isinstance(s, Packed) else s for s in self._states)

    def tensors(self) -> list[torch.Tensor]:
        """The tensors that are held."""
        return [s.bits if isinstance(s, Packed) else s for s in self._states]

    @property
    def nbytes(self) -> int:
        """Bytes of the held tensors.

        Memory that several states share counts once. Weights folded with a batch norm do not count.
        """
        held = {}
        for state, own in zip(self._states, self._own):
            if own:
                tensor = state.bits if isinstance(state, Packed) else state
                held[tensor.untyped_storage().data_ptr(), tensor.device] = tensor.untyped_storage().nbytes()
        return sum(held.values())


class Packed:
    """Small whole numbers of 1, 2, 4 or 8 bits, several in a byte, or of 16 bits in two bytes."""

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
        """The numbers in their own shape and dtype."""
        if self.width == 16:
            return self.bits.to(self.dtype).view(self.shape)
        shifts = torch.arange(0, 8, self.width, dtype=torch.uint8, device=self.bits.device)
        flat = (self.bits[:, None] >> shifts) & (2**self.width - 1)
        return flat.flatten()[: self.shape.numel()].to(self.dtype).view(self.shape)


class Won(Packed):
    """The winners of a max-pool, which its packed index tells: no bytes of their own."""

    def __init__(self, mask: torch.Tensor, index: Any, dims: int):
        self.shape, self.strides, self.index, self.dims = mask.shape, mask.stride(), index, dims
        self.bits = mask.new_empty(0)

    def unpack(self) -> torch.Tensor:
        """The mask, True at the indices."""
        index = self.index.unpack() if isinstance(self.index, Packed) else self.index
        mask = torch.empty_strided(self.shape, self.strides, dtype=torch.bool, device=index.device).zero_()
        mask.flatten(-self.dims).scatter_(-1, index.flatten(-self.dims), True)  # a view, in both layouts
        return mask


class PackedIndex(Packed):
    """Indices of a max-pool, packed as offsets inside their windows."""

    def __init__(self, index: torch.Tensor, window: Window, sizes: tuple[int, ...]):
        self.window, self.sizes = window, sizes
        offset = torch.zeros_like(index)
        for axis, (place, start) in enumerate(
            zip(self._places(index), self._starts(index.shape, index.device))
        ):
            offset = offset * window.kernel[axis] + (place - start) // window.dilation[axis]
        super().__init__(offset, window.bits)

    def unpack(self) -> torch.Tensor:
        """The flat indices of the pooled tensor."""
        offset, parts = super().unpack(), []
        for kernel in reversed(self.window.kernel):
            parts.append(offset % kernel)
            offset = offset // kernel
        index = torch.zeros_like(offset)
        for axis, (part, start) in enumerate(zip(reversed(parts), self._starts(self.shape, offset.device))):
            index = index * self.sizes[axis] + part * self.window.dilation[axis] + start
        return index

    def _places(self, index: torch.Tensor) -> list[torch.Tensor]:
        """Flat indices as places along every axis."""
        places = []
        for size in reversed(self.sizes):
            places.append(index % size)
            index = index // size
        return places[::-1]

    def _starts(self, shape: torch.Size, device: torch.device) -> list[torch.Tensor]:
        """The start of every window along every axis, shaped to broadcast."""
        n = len(self.sizes)
        steps = [
            torch.arange(shape[axis - n], device=device) * self.window.stride[axis]
            - self.window.padding[axis]
            for axis in range(n)
        ]
        return [s.view([-1 if i == axis else 1 for i in range(n)]) for axis, s in enumerate(steps)]


def pack(state: torch.Tensor, window: tuple[Window, tuple[int, ...]] | None = None) -> Any:
    """A state in fewer bytes if ``unpack`` restores it bit for bit, and else the state itself."""
    if state.dtype == torch.bool and state.numel() >= 8:
        return Packed(state, 1)
    return PackedIndex(state, *window) if window is not None else state
