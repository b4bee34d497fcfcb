"""Results as files of safetensors.

Tensors are stored as such, everything else, with the provenance, as JSON in the header.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, said
from ..graph.arguments import check_path
from .files import replacing


def write(path: str | Path, kind: str, header: dict[str, Any], tensors: dict[str, Any]) -> Path:
    """Write a result into one .safetensors file.

    Parameters
    ----------
    path
        FILE.safetensors.
    kind
        The kind of the result, e.g. "svd"; ``read`` asks for it.
    header
        What JSON can hold.
    tensors
        {name: a tensor, a structure of tensors, or None}.

    Raises
    ------
    FxscopeError
        If the file has another suffix, or safetensors is not installed.
    """
    path = check_path("save", path)
    if path.suffix != ".safetensors":
        raise FxscopeError(f"results are saved as FILE.safetensors, got {path.name}")
    if not path.parent.is_dir():
        raise FxscopeError(f"no folder {path.parent} to write {path.name} in")
    tensors = {name: _tuples(value) for name, value in tensors.items()}
    leaves = {
        f"{name}.{i}": t
        for name, value in tensors.items()
        if value is not None
        for i, t in enumerate(pytree.tree_leaves(value))
    }
    layout = {
        name: pytree.treespec_dumps(pytree.tree_structure(value))
        for name, value in tensors.items()
        if value is not None
    }
    text = json.dumps({**header, "layout": layout})
    stored = {n: t.detach().contiguous().cpu() for n, t in leaves.items()}
    with replacing(path) as new:
        _safetensors().save_file(stored, new, {f"fxscope.{kind}": text})
    return path


def read(
    path: str | Path, kind: str, what: str, device: Any = "cpu"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what ``write`` wrote.

    Parameters
    ----------
    path, kind
        Those of ``write``.
    what
        What the file should hold, in words for the error message.
    device
        Where the tensors go.

    Returns
    -------
    header, tensors
        The dicts that ``write`` was given.

    Raises
    ------
    FxscopeError
        If there is no such file, or it holds something else.
    """
    path = check_path("load", path)
    if not path.is_file():
        raise FxscopeError(f"no file {path}; a saved result is FILE.safetensors")
    library = _safetensors()
    try:
        with library.safe_open(str(path), "pt") as file:
            header = json.loads((file.metadata() or {})[f"fxscope.{kind}"])
            found = {n: file.get_tensor(n).to(device) for n in file.keys()}  # noqa: SIM118  no dict
        layout = {name: pytree.treespec_loads(text) for name, text in header.pop("layout").items()}
        return header, {
            name: pytree.tree_unflatten([found[f"{name}.{i}"] for i in range(spec.num_leaves)], spec)
            for name, spec in layout.items()
        }
    except Exception as error:  # a damaged file fails in many ways
        raise FxscopeError(f"{path} holds no {what}: {said(error)}") from error


def _tuples(value: Any) -> Any:
    """A structure with tuples for named tuples, whose classes a file does not know."""
    if isinstance(value, dict):
        return {name: _tuples(v) for name, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_tuples(v) for v in value)
    return [_tuples(v) for v in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """The value as numbers, lists and dicts that JSON can hold; a number that is not finite becomes null."""
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if dataclasses.is_dataclass(value):
        return plain(
            {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if not f.name.startswith("_")}
        )
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _safetensors() -> SimpleNamespace:
    try:
        from safetensors import safe_open
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise FxscopeError(
            "saving and loading results needs safetensors: pip install 'fxscope[images]'"
        ) from error
    return SimpleNamespace(safe_open=safe_open, save_file=save_file)
