"""The graphs of an interpreter as ONNX files that share one copy of the weights."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..emit.pipeline import graph_of
from ..errors import FxscopeError
from ..export.save import write_onnx
from ..linop import LinearInterpreter

FORMS = ("record", "residual", "pullback", "replay")
SHARED = "weights"  # the name of the file of all weights
TOLERANCE = 1e-3  # of the law and of a row, in float32, relative to the largest value
HALF = 1e-2  # of a row whose weights are stored in float16; the law holds as in float32
_ALIGNED = 64  # bytes
_SMALL = 256  # bytes up to which a constant stays in its graph


@dataclass
class Pool:
    """Weights as external data of several graphs; equal ones, and those of a transpose, are kept once.

    Parameters
    ----------
    half : bool
        Whether weights are stored in float16 where that is exact; graphs compute in float32. ``pieces`` has
        (first byte, stored bytes, half) of each.
    """

    half: bool = False
    weights: bytearray = field(default_factory=bytearray)
    pieces: list[tuple[int, int, bool]] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)
    _halves: bytearray = field(default_factory=bytearray)

    @property
    def stored(self) -> bytes:
        """How a page holds the weights."""
        return bytes(self._halves if self.half else self.weights)

    def without_weights(self, path: Path) -> bytes:
        """A graph whose weights are here, and no longer in its file."""
        import onnx

        model = onnx.load(path)
        for tensor in list(model.graph.initializer):
            array = onnx.numpy_helper.to_array(tensor)
            if array.nbytes > _SMALL:
                self._take(model.graph, tensor, array)
        return model.SerializeToString()

    def _take(self, graph: Any, tensor: Any, array: np.ndarray) -> None:
        kept = _kept(array, self.half)
        data = kept.astype(array.dtype).tobytes()
        key = hashlib.sha256(data).digest()
        if key not in self._places and array.ndim in (2, 4):
            other = np.ascontiguousarray(kept.astype(array.dtype).swapaxes(0, 1))
            own = hashlib.sha256(other.tobytes()).digest()
            if own in self._places:
                _exchange(graph, tensor, other.shape)
                key = own
        if key not in self._places:
            self.weights.extend(bytes(-len(self.weights) % _ALIGNED))
            self._places[key] = len(self.weights)
            self.pieces.append((len(self.weights), kept.nbytes, kept.dtype == np.float16))
            self.weights.extend(data)
            self._halves.extend(kept.tobytes() if self.half else b"")
        _move(tensor, self._places[key], len(data))


def graphs_of(lin: LinearInterpreter, name: str, pool: Pool) -> dict[str, bytes]:
    """The graphs of the network of an interpreter by form, for the size of its image, with weights in a pool.

    They are run once with onnxruntime: a row and the law hold within ``TOLERANCE``. Where the pool stores
    weights in float16, the output and the row hold within ``HALF``.

    Raises
    ------
    FxscopeError
        If the network cannot be exported, or if the files give other results.
    """
    lin.fresh.check()
    x0, used = lin.x0, _rounded(lin) if pool.half else lin
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        graphs = {form: graph_of(used.program, form) for form in FORMS}
        y0, state = graphs["record"](x0)
        given = {"record": (x0,), "residual": (x0,), "pullback": (state, y0), "replay": (state, lin.x)}
        for form, graph in graphs.items():
            try:
                write_onnx(graph, given[form], Path(folder) / f"{form}.onnx")
            except FxscopeError as error:
                raise FxscopeError(f"no page can compute {name}: {error}") from error
        parts = {form: pool.without_weights(Path(folder) / f"{form}.onnx") for form in FORMS}
    _check(Runs(parts, pool), lin, name)
    return parts


def _exchange(graph: Any, tensor: Any, shape: tuple[int, ...]) -> None:
    """Make a tensor one of weights whose channels the graph exchanges itself when it is loaded.

    A transposed convolution or matrix takes them so.
    """
    from onnx import helper

    own = f"{tensor.name}.own"
    nodes = [
        helper.make_node("Transpose", [own], [tensor.name], perm=[1, 0, *range(2, len(shape))]),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    tensor.name = own
    tensor.dims[:] = shape


def _kept(array: np.ndarray, half: bool) -> np.ndarray:
    """The weights as they are stored: in float16 where that is exact."""
    if not half or array.dtype != np.float32 or np.abs(array).max() > np.finfo(np.float16).max:
        return array
    stored = array.astype(np.float16)
    return stored if np.array_equal(stored.astype(np.float32), array) else array


def _rounded(lin: LinearInterpreter) -> LinearInterpreter:
    """The interpreter of a copy of the network whose weights are rounded to float16.

    What the graphs compute of weights beforehand is then of the rounded ones too, and the law holds as it
    does in float32.
    """
    reader = copy.deepcopy(lin.prepared.owner)
    with torch.no_grad():
        for weights in reader.model.state_dict().values():
            if weights.dtype == torch.float32 and weights.abs().max() <= torch.finfo(torch.float16).max:
                weights.copy_(weights.half())
    return reader(*lin._args)


def _move(tensor: Any, start: int, length: int) -> None:
    """Make a tensor one of external data."""
    import onnx

    for kind in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        tensor.ClearField(kind)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", SHARED), ("offset", start), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


@dataclass(frozen=True)
class Runs:
    """Graphs in onnxruntime."""

    parts: dict[str, bytes]
    pool: Pool

    def run(self, form: str, state: dict[str, torch.Tensor], given: Any) -> dict[str, torch.Tensor]:
        """The results of a graph by name."""
        import onnxruntime

        options, weights = onnxruntime.SessionOptions(), bytes(self.pool.weights)
        options.add_external_initializers_from_files_in_memory([SHARED], [weights], [len(weights)])
        session = onnxruntime.InferenceSession(self.parts[form], options, providers=["CPUExecutionProvider"])
        names = [i.name for i in session.get_inputs()]
        feeds = {n: (state[n] if n.startswith("state.") else given).numpy() for n in names}
        outputs = [o.name for o in session.get_outputs()]
        return {n: torch.from_numpy(v) for n, v in zip(outputs, session.run(outputs, feeds))}


def _check(graphs: Runs, lin: LinearInterpreter, name: str) -> None:
    """Raise ``FxscopeError`` if the files give another row than the interpreter, or break the law."""
    index = tuple(int(i) for i in torch.unravel_index(lin.y0[0].flatten().argmax(), lin.y0[0].shape))
    seed = torch.zeros_like(lin.y0)
    seed[(0, *index)] = 1
    state = graphs.run("record", {}, lin.x0)
    y0 = state["y0"]
    row = graphs.run("pullback", state, seed)["x2"][0]
    r = float(graphs.run("residual", {}, lin.x0)["r"][(0, *index)])
    own = lin.F.row(index)
    law = abs(float((row.double() * lin.x[0].double()).sum()) + r - float(y0[(0, *index)]))
    errors = {
        "its output": float((y0 - lin.y0).abs().max() / lin.y0.abs().max()),
        "a row": float((row - own).abs().max() / own.abs().max().clamp(min=1e-30)),
        "the law": law / float(lin.y0.abs().max()),
    }
    allowed = HALF if graphs.pool.half else TOLERANCE
    bounds = {"its output": allowed, "a row": allowed, "the law": TOLERANCE}
    broken = [f"{what} by {errors[what]:.1e}" for what, bound in bounds.items() if not errors[what] <= bound]
    if broken:
        coarse = "float16 may be too coarse for its weights: leave half out" if graphs.pool.half else ""
        raise FxscopeError(
            f"no page can compute {name}: its graphs in onnxruntime differ from it, {', '.join(broken)} of"
            f" the largest value, and {allowed:.0e} is allowed; "
            + (coarse or "it may draw random numbers, or float32 may be too coarse for it at this image")
        )
