"""Answers of a live network as bytes; ``front/socket.js`` reads them."""

from __future__ import annotations

import struct
import time
from typing import Any

import numpy as np
import torch

from ..errors import FxscopeError, said
from .live import Live

HALF = 2**18  # numbers of an array from which it is sent in half precision
SINGLE, HALVES, FAILED, DROPPED = range(4)  # kinds
_HEAD = struct.Struct("<IIff")  # id, kind, scale, milliseconds


def answered(live: Live, number: int, verb: Any, given: Any) -> bytes:
    """The answer to a wish, or what went wrong."""
    began = time.perf_counter()
    try:
        found = live.granted(verb, given)
        return encoded(number, found, 1e3 * (time.perf_counter() - began))
    except FxscopeError as error:
        return said_of(number, FAILED, str(error))
    except Exception as error:  # memory, a device, a network's own code
        return said_of(number, FAILED, said(error))


def said_of(number: int, kind: int, text: str) -> bytes:
    """A sentence in place of an array."""
    return _HEAD.pack(number, kind, 0.0, 0.0) + text.encode()


def encoded(number: int, array: torch.Tensor, milliseconds: float) -> bytes:
    """An answer: its head, and the array as float32, or as float16 over its largest magnitude if large."""
    values = array.detach().to("cpu", torch.float32).numpy()
    if values.size <= HALF:
        return _HEAD.pack(number, SINGLE, 1.0, milliseconds) + values.astype("<f4").tobytes()
    scale = float(np.abs(values).max()) or 1.0
    return _HEAD.pack(number, HALVES, scale, milliseconds) + (values / scale).astype("<f2").tobytes()
