"""How a page holds bytes: in planes, compressed, and as text; ``front/unpack.js`` reads it."""

from __future__ import annotations

import gzip

import numpy as np

_ALIGNED = 64
# those of base64.b85encode, with "," for "<"
_LETTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~"


def pack(parts: dict[str, bytes]) -> tuple[list[tuple[str, int, int]], bytes]:
    """[(name, first byte, length)], and all parts one after the other."""
    index, packed = [], bytearray()
    for name, data in parts.items():
        packed.extend(bytes(-len(packed) % _ALIGNED))
        index.append((name, len(packed), len(data)))
        packed.extend(data)
    return index, bytes(packed)


def in_planes(data: bytes, width: int) -> bytes:
    """The first bytes of all numbers of ``width`` bytes, then their second ones, and so on.

    The exponents of weights are alike, and their lowest bits are noise: apart, the former compress.
    """
    numbers = np.frombuffer(data + bytes(-len(data) % width), np.uint8).reshape(-1, width)
    return np.ascontiguousarray(numbers.T).tobytes()


def compressed(data: bytes) -> bytes:
    """In gzip, which browsers unpack by themselves; equal bytes give equal ones."""
    return gzip.compress(data, 9, mtime=0)


def written(data: bytes) -> str:
    """Bytes as text, four in five letters; base64 takes five and a third.

    No letter is "<", so that the text ends no element of a page. The first letter is the number of bytes that
    fill up the last four.
    """
    more = -len(data) % 4
    words = np.frombuffer(data + bytes(more), ">u4").astype(np.uint32)
    digits = np.empty((len(words), 5), np.uint8)
    for place in range(4, -1, -1):
        words, digits[:, place] = np.divmod(words, np.uint32(85))
    return str(more) + np.frombuffer(_LETTERS, np.uint8)[digits].tobytes().decode("ascii")
