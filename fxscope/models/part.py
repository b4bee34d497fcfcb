"""One part of the output of a network that gives several: of its dict, its tuple, or its fields."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from ..errors import PlaceError


class Part(nn.Module):
    """A network of one image that gives one part of another network's output.

    Parameters
    ----------
    whole : torch.nn.Module
        The network.
    key : str
        A key of its dict, the name of a field, or the number of an item of its tuple.
    """

    def __init__(self, whole: nn.Module, key: str) -> None:
        super().__init__()
        self.whole, self.key = whole, key

    def forward(self, x: Any) -> Any:
        """The part; raises ``PlaceError`` with all keys if there is no such part."""
        return part_of(self.whole(x), self.key)


def keys_of(value: Any) -> list[Any]:
    """The keys of a structure: of a dict, of the items of a tuple or list, or the fields of a dataclass."""
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, (tuple, list)):
        return list(getattr(value, "_fields", range(len(value))))
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return []


def part_of(value: Any, key: str) -> Any:
    """The part of a structure with this key; raises ``PlaceError`` with all keys if there is none."""
    keys = keys_of(value)
    named = {str(k): k for k in keys}
    if key in named:
        wanted = named[key]
        return getattr(value, wanted) if isinstance(wanted, str) and hasattr(value, wanted) else value[wanted]
    if isinstance(value, (tuple, list)) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    listed = f"its keys are {', '.join(named)}" if keys else "it is one tensor"
    raise PlaceError(f"the output has no part {key!r}; {listed}")
