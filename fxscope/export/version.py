"""The version of the interpretation in saved files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import torch.fx as fx

from ..errors import FxscopeError
from ..graph.interpretation import FILE_KEY, VERSION, of
from ..graph.ir import emitted


def stamp(graph: fx.GraphModule) -> dict[str, str]:
    """The metadata of a file: the version of its graph's interpretation."""
    meta = emitted(graph)
    return {FILE_KEY: str(of(meta) if meta else VERSION)}


def version_of(path: str | Path, format: str) -> int:
    """The version of the interpretation of a saved file; 1 if the file has none."""
    path = Path(path)
    if not path.is_file():
        raise FxscopeError(f"no file {path}")
    return int((_of_onnx if format == "onnx" else _of_archive)(path) or 1)


def _of_archive(path: Path) -> str | None:
    """The version in an archive.

    .pt2 and .ts have it as an extra file; AOTInductor has it in a JSON file of its metadata.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            own = next((n for n in names if n.rsplit("/", 1)[-1] == FILE_KEY), None)
            if own is not None:
                return archive.read(own).decode()
            known = (json.loads(archive.read(n)) for n in names if n.endswith("_metadata.json"))
            return next((m[FILE_KEY] for m in known if FILE_KEY in m), None)
    except zipfile.BadZipFile as error:
        raise FxscopeError(f"{path} is no saved graph: {error}") from error


def _of_onnx(path: Path) -> str | None:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise FxscopeError("reading an ONNX file needs its runtime: pip install 'fxscope[onnx]'") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map.get(FILE_KEY)
