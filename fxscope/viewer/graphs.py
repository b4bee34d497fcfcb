"""The graphs of an interpreter as ONNX files that share one copy of the weights."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..emit.pipeline import graph_of
from ..errors import FxscopeError
from ..export.save import write_onnx
from ..linop import LinearInterpreter

FORMS = ("record", "residual", "pullback", "replay")
SHARED = "weights"  # the name of the file of all weights
TOLERANCE = 1e-3  # of the law and of a row, in float32, relative to the largest value
_ALIGNED = 64  # bytes
_SMALL = 256  # bytes up to which a constant stays in its graph


@dataclass(frozen=True)
class Graphs:
    """ONNX graphs by form, and the weights that they share as external data."""

    parts: dict[str, bytes]
    weights: bytes


def graphs_of(lin: LinearInterpreter, name: str) -> Graphs:
    """The graphs of the network of an interpreter, for the size of its image.

    They are run once with onnxruntime: a row and the law hold within ``TOLERANCE``.

    Raises
    ------
    FxscopeError
        If the network cannot be exported, or if the files give other results.
    """
    lin.fresh.check()
    x0 = lin.x0
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        graphs = {form: graph_of(lin.program, form) for form in FORMS}
        y0, state = graphs["record"](x0)
        given = {"record": (x0,), "residual": (x0,), "pullback": (state, y0), "replay": (state, x0)}
        for form, graph in graphs.items():
            try:
                write_onnx(graph, given[form], Path(folder) / f"{form}.onnx")
            except FxscopeError as error:
                raise FxscopeError(f"no page can compute {name}: {error}") from error
        found = _sharing({form: Path(folder) / f"{form}.onnx" for form in FORMS})
    _check(found, lin, name)
    return found


def _sharing(paths: dict[str, Path]) -> Graphs:
    """The files with their weights moved out; equal ones are kept once."""
    import onnx

    weights, places, parts = bytearray(), {}, {}
    for form, path in paths.items():
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            data = onnx.numpy_helper.to_array(tensor).tobytes()
            if len(data) <= _SMALL:
                continue
            key = hashlib.sha256(data).digest()
            if key not in places:
                weights.extend(bytes(-len(weights) % _ALIGNED))
                places[key] = len(weights)
                weights.extend(data)
            _move(tensor, places[key], len(data))
        parts[form] = model.SerializeToString()
    return Graphs(parts, bytes(weights))


def _move(tensor: Any, start: int, length: int) -> None:
    """Make a tensor one of external data."""
    import onnx

    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", SHARED), ("offset", start), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _check(graphs: Graphs, lin: LinearInterpreter, name: str) -> None:
    """Raise ``FxscopeError`` if the files give another row than the interpreter, or break the law."""
    index = tuple(int(i) for i in torch.unravel_index(lin.y0[0].flatten().argmax(), lin.y0[0].shape))
    seed = torch.zeros_like(lin.y0)
    seed[(0, *index)] = 1
    state = _run(graphs, "record", {}, lin.x0)
    y0 = state["y0"]
    row = _run(graphs, "pullback", state, seed)["x2"][0]
    r = float(_run(graphs, "residual", {}, lin.x0)["r"][(0, *index)])
    own = lin.F.row(index)
    law = abs(float((row.double() * lin.x0[0].double()).sum()) + r - float(y0[(0, *index)]))
    errors = {
        "its output": float((y0 - lin.y0).abs().max() / lin.y0.abs().max()),
        "a row": float((row - own).abs().max() / own.abs().max().clamp(min=1e-30)),
        "the law": law / float(lin.y0.abs().max()),
    }
    broken = [f"{what} by {error:.1e}" for what, error in errors.items() if not error <= TOLERANCE]
    if broken:
        raise FxscopeError(
            f"no page can compute {name}: its graphs in onnxruntime differ from it, {', '.join(broken)} of"
            f" the largest value, and {TOLERANCE:.0e} is allowed; the network may draw random numbers, or its"
            " float32 may be too coarse at this image"
        )


def _run(graphs: Graphs, form: str, state: dict[str, torch.Tensor], given: Any) -> dict[str, torch.Tensor]:
    """The results of a graph by name, from onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_external_initializers_from_files_in_memory([SHARED], [graphs.weights], [len(graphs.weights)])
    session = onnxruntime.InferenceSession(graphs.parts[form], options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    feeds = {n: (state[n] if n.startswith("state.") else given).numpy() for n in names}
    outputs = [o.name for o in session.get_outputs()]
    return {n: torch.from_numpy(v) for n, v in zip(outputs, session.run(outputs, feeds))}
