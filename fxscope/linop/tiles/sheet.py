"""Tensors that may be larger than memory: zeros in memory, or in a file without a name."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import FxscopeError
from ..spaces import Space

IN_MEMORY = 256 << 20  # bytes; larger results are written into a file
_mapped: dict[int, weakref.ref[mmap.mmap]] = {}  # by the address of their memory


def sheet(shape: tuple[int, ...], dtype: torch.dtype, is_sparse: bool = False) -> torch.Tensor:
    """Zeros on the processor, to be filled tile by tile.

    A large one is a file of the temporary directory (``TMPDIR`` names another) without a name, mapped into
    memory; it is gone when nothing refers to the tensor. Most of one that ``is_sparse`` is never written,
    and pages of memory that nobody writes take none.
    """
    size = math.prod(shape) * dtype.itemsize
    if is_sparse or size <= IN_MEMORY:
        return untouched(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full says so now, and not by a signal
        except OSError as error:
            raise FxscopeError(
                f"a result of {tuple(shape)} takes {size / 1e9:.1f} GB in {tempfile.gettempdir()}:"
                f" {error.strerror}; set TMPDIR to a folder of a disk with room, or go through the result"
                " by lin.tiles(), which keeps one tile at a time"
            ) from error
        memory = mmap.mmap(file.fileno(), size)
    found = torch.frombuffer(memory, dtype=dtype).view(shape)
    _mapped[found.untyped_storage().data_ptr()] = weakref.ref(memory)
    return found


def untouched(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros that take no memory before they are written, which ``torch.zeros`` writes at once."""
    size = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.zeros(size, np.uint8)).view(dtype).view(shape)


def written(tensor: torch.Tensor) -> None:
    """Give the memory of a sheet back to the system, which keeps its values in the file."""
    known = _mapped.get(tensor.untyped_storage().data_ptr())
    memory = None if known is None else known()
    if memory is not None:
        memory.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class LargeSpace(Space):
    """A space whose vectors take no memory where nothing is written into them."""

    def zeros(self, K: int) -> list[torch.Tensor]:
        """K zeros of the only tensor, (K, *shape)."""
        return [untouched((K, *self.shape), self.dtype).to(self.device)]
