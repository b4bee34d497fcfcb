"""``Result``: JSON, file, figure and table of a record, from its fields and its numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch.utils import _pytree as pytree

from ..graph.arguments import check_call
from ..graph.interpretation import KEY, VERSION, of
from .display import Displayed
from .records import plain, read, write
from .registry import provided


class Result(Displayed):
    """Base of the records, which are frozen dataclasses; each shows itself (``display``).

    A subclass overrides ``numbers`` to choose what the JSON and the table show. It overrides ``_parts`` and
    ``_whole`` if a field is neither plain data nor a structure of tensors.
    """

    description: ClassVar[str] = ""  # completes "FILE holds no ..."
    origin: Any

    @property
    def interpretation(self) -> int:
        """The version of the interpretation under which the record was computed."""
        return of(self.origin)

    def numbers(self) -> dict[str, Any]:
        """The measured numbers by name; tensors of pictures are left out."""
        return {n: v for n, v in _fields(self).items() if n != KEY and _is_number(n, v)}

    def to_json(self) -> str:
        """The numbers as text in JSON; a number that is not finite becomes null."""
        return json.dumps(plain(self.numbers()), indent=2)

    def plot(self, *args: Any, **options: Any) -> Any:
        """Draw the record.

        Parameters
        ----------
        *args, **options
            Those of the function in ``fxscope.plot`` for this type.

        Returns
        -------
        matplotlib.figure.Figure
        """
        function = provided(self, "plot")
        check_call(f"{type(self).__name__}.plot", function, (self, *args), options)
        return function(self, *args, **options)

    def save(self, path: str | Path) -> Path:
        """Write the record into one .safetensors file; what is not a tensor is JSON in its header."""
        return write(path, self._kind(), *self._parts())

    @classmethod
    def load(cls, path: str | Path, device: Any = "cpu") -> Self:
        """Read what ``save`` wrote; raise ``FxscopeError`` if the file holds something else."""
        return cls._whole(*read(path, cls._kind(), cls.description or cls.__name__, device))

    def __str__(self) -> str:
        return self._table().text()

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of the file's header, and those that are tensors or structures of tensors."""
        fields = _fields(self)
        tensors = {n: v for n, v in fields.items() if _is_tensors(v)}
        return {n: v for n, v in fields.items() if n not in tensors}, tensors

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> Self:
        """The record of the parts; JSON has lists where a record has tuples."""
        return cls(**{n: _tuples(v) for n, v in header.items()}, **tensors)

    @classmethod
    def _kind(cls) -> str:
        return cls.__name__.lower()


@dataclasses.dataclass(frozen=True, repr=False)
class VersionedResult(Result):
    """A record that carries the version of the interpretation as a field, and its kind in its JSON."""

    interpretation: int = dataclasses.field(default=VERSION, kw_only=True)
    _provenance: Any = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)

    def to_json(self) -> str:
        """Kind, version and numbers as text in JSON; a number that is not finite becomes null."""
        head = {"kind": type(self).__name__, KEY: self.interpretation}
        return json.dumps({**head, **plain(self.numbers())}, indent=2)


def _fields(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def _is_number(name: str, value: Any) -> bool:
    return not name.startswith("_") and not (isinstance(value, torch.Tensor) and value.dim() > 2)


def _is_tensors(value: Any) -> bool:
    leaves = pytree.tree_leaves(value)
    return bool(leaves) and all(isinstance(leaf, torch.Tensor) for leaf in leaves)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
