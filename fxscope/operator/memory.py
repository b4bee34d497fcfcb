"""What is kept of x0: nothing, the recorded states, or the states with their booleans packed to one bit."""

from __future__ import annotations

from typing import Any, Callable

import torch

MODES = ("recompute", "record", "packed")


class Kept:
    """The states of one x0, as ``memory`` asks for: ``get()`` gives the flat tuple that replay and pullback take."""

    def __init__(self, record: Callable[[], tuple], memory: str, states: tuple[torch.Tensor, ...], own: tuple[bool, ...]):
        self._record, self.memory, self._own = record, memory, own
        self._states = {"recompute": lambda: None, "record": lambda: states, "packed": lambda: tuple(pack(s) for s in states)}[memory]()

    def get(self) -> tuple[torch.Tensor, ...]:
        if self.memory == "recompute":
            return self._record()
        if self.memory == "packed":
            return tuple(s.unpack() if isinstance(s, Packed) else s for s in self._states)
        return self._states

    @property
    def nbytes(self) -> int:
        """Bytes that are held of x0: memory shared by several states counts once; weights folded with a batch norm are not x0's."""
        held = {}
        for state, own in zip(self._states or (), self._own):
            if not own:
                continue
            tensor = state.bits if isinstance(state, Packed) else state
            held[tensor.untyped_storage().data_ptr(), tensor.device] = tensor.untyped_storage().nbytes()
        return sum(held.values())


class Packed:
    """A boolean tensor, eight entries a byte."""

    def __init__(self, mask: torch.Tensor):
        self.shape, self.strides = mask.shape, mask.stride()
        flat = mask.flatten()
        flat = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).view(-1, 8)
        weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=mask.device)
        self.bits = (flat.to(torch.uint8) * weights).sum(1, dtype=torch.uint8)

    def unpack(self) -> torch.Tensor:
        shifts = torch.arange(8, dtype=torch.uint8, device=self.bits.device)
        flat = (self.bits[:, None] >> shifts) & 1
        return flat.flatten()[: self.shape.numel()].to(torch.bool).view(self.shape)


def pack(state: torch.Tensor) -> Any:
    return Packed(state) if state.dtype == torch.bool and state.numel() >= 8 else state
