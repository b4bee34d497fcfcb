"""One writer for each form; each tells which of (batch, number of probes) is free in the file.

A file carries what it is, {"form": "pair", "probes": "stacked", ...} as JSON under the name "fxscope", where its format has room for it.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator

import torch
import torch.fx as fx

from .._version import __version__
from ..errors import FxscopeError
from .check import output_names
from .load import format_of
from .shapes import Layout, free_sizes, placeholders

KEY = "fxscope"


def write_ts(graph: fx.GraphModule, example: tuple, shapes: Any, layout: Layout, path: str) -> tuple[bool, bool]:
    """TorchScript: every size is free."""
    with _without(
        (FutureWarning, r"`torch\.jit\.(script|save)` is deprecated"),
        (DeprecationWarning, r"`torch\.jit\.(script|save)` is deprecated"),
        (UserWarning, "The TorchScript type system doesn't support instance-level"),  # of torch.fx.GraphModule itself
    ):
        torch.jit.save(torch.jit.script(graph), path, _extra_files={f"{KEY}.json": described(graph)})
    return True, True


def write_pt2(graph: fx.GraphModule, example: tuple, shapes: Any, layout: Layout, path: str) -> tuple[bool, bool]:
    """torch.export; the example is not stored with it."""
    program = exported(graph, example, shapes)
    program.example_inputs = None
    torch.export.save(program, path, extra_files={f"{KEY}.json": described(graph)})
    return free_sizes(program, layout)


def write_aoti(graph: fx.GraphModule, example: tuple, shapes: Any, layout: Layout, path: str) -> tuple[bool, bool]:
    """A compiled AOTInductor package."""
    program = exported(graph, example, shapes)
    with torch.no_grad(), _unspecialised():
        torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs={"aot_inductor.metadata": {KEY: described(graph)}})
    return free_sizes(program, layout)


def write_onnx(graph: fx.GraphModule, example: tuple, shapes: Any, layout: Layout, path: str) -> tuple[bool, bool]:
    """ONNX through the torch.export frontend, with named inputs, outputs and axes."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise FxscopeError(f"ONNX files need {', '.join(missing)}: pip install 'fxscope[onnx]'")
    names = [n.name for n in placeholders(graph)]
    with _without((UserWarning, r"# The axis name: \w+ will not be used, since it shares")):
        program = torch.onnx.export(
            graph, example, dynamo=True, dynamic_shapes=shapes, input_names=names, output_names=output_names(graph), verbose=False,
        )
    program.model.metadata_props[KEY] = described(graph)
    program.save(path)
    return free_sizes(program.exported_program, layout)


WRITERS = {"ts": write_ts, "pt2": write_pt2, "aoti": write_aoti, "onnx": write_onnx}


def exported(graph: fx.GraphModule, example: tuple, shapes: Any) -> torch.export.ExportedProgram:
    with _unspecialised():
        return torch.export.export(graph, example, dynamic_shapes=shapes)


def _unspecialised() -> contextlib.AbstractContextManager:
    """Sizes are not taken for 0 or 1: a flat K*B would otherwise be guarded K != 1 and B != 1. torch.onnx exports in the same way."""
    return torch.fx.experimental._config.patch(backed_size_oblivious=True)


@contextlib.contextmanager
def _without(*named: tuple[type[Warning], str]) -> Iterator[None]:
    with warnings.catch_warnings():
        for category, message in named:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


def described(graph: fx.GraphModule) -> str:
    """What a file says of itself."""
    return json.dumps({**graph.meta.get("fxscope", {}), "version": __version__, "outputs": output_names(graph)})


def description(path: "str | Path") -> dict:
    """What a saved file says of itself; empty where it says nothing."""
    if format_of(path) == "onnx":
        import onnx

        found = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
        return json.loads(found.get(KEY, "{}"))
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(f"extra/{KEY}.json"):
                return json.loads(archive.read(name))
            if re.search(r"aotinductor/.*wrapper_metadata\.json$", name):
                return json.loads(json.loads(archive.read(name)).get(KEY, "{}"))
    return {}
