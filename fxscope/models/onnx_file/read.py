"""A file of ONNX becomes a network of torch, which is compared with ONNX Runtime before it is given."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ...errors import UnknownNetwork, said
from ...images.conventions import channels_of
from ...images.preprocess import Preprocess
from ..factory import Loaded
from .operators import DTYPES, OPERATORS, Node, applied
from .values import Traced, Tracer

INSTALL = "pip install 'fxscope[onnx2torch]'"
# of the image's own dimensions, where the file leaves them free: the first that the network runs on is taken
SIDES = (64, 224, 48, 32, 128, 256, 320)
# of the largest output, and beside it: ONNX Runtime computes in single precision, and approximates sigmoids
TOLERANCE, LEAST = 1e-3, 1e-6


@dataclass(frozen=True)
class File:
    """A file, its network, and the inputs at which it is checked.

    static      {value: its sizes, None where one is free}
    is_freed    whether the number of images is free although the file fixes it to 1
    """

    path: str
    model: Any
    inputs: list[torch.Tensor]
    static: dict[str, list[int | None]]
    is_freed: bool = False

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return _opset(self.model)


class OnnxNetwork(nn.Module):
    """The network of a file, from images (N, C, H, W); where the file has (N, H, W, C), they are moved.

    Parameters
    ----------
    network : torch.fx.GraphModule
        The graph of the file.
    is_last : bool
        Whether its input is (N, H, W, C).
    gives_last : bool
        Whether its output is.
    """

    def __init__(self, network: fx.GraphModule, is_last: bool, gives_last: bool) -> None:
        super().__init__()
        self.network, self.is_last, self.gives_last = network, is_last, is_last and gives_last

    def forward(self, x: torch.Tensor) -> Any:
        """What the file gives for x."""
        y = self.network(x.permute(0, 2, 3, 1) if self.is_last else x)
        return y.permute(0, 3, 1, 2) if self.gives_last else y


def read_onnx(path: str) -> Loaded:
    """The network of a file of ONNX, and what the file tells of its input.

    Operators that look at their operands become operators of torch here (``operators``), the others are
    converted by onnx2torch, and what is constant is computed. The result is run on random numbers, and must
    give what ONNX Runtime gives.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Loaded
        A network that gives a tensor, or a dict by the outputs' names where there are several.

    Raises
    ------
    UnknownNetwork
        If this is no file of ONNX, if operators of it are not read (all are named), or if its numbers are
        not those of ONNX Runtime.
    """
    for package in ("onnx2torch", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UnknownNetwork(f"onnx:FILE needs {package}: {INSTALL}")
    with _quiet():
        parsed = _parsed(path)
        _check_operators(parsed, path)
        session = _session(path)
        inputs, wanted = _example(session, path)
        file = File(path, parsed, inputs, _static(parsed))
        network = _converted(file)
        _compare(file, network, wanted)
        network = _freed(file, network)
    if len(inputs) > 1:
        return Loaded(network)
    found = OnnxNetwork(
        network, *(_has_last_channels(v[0]) for v in (session.get_inputs(), session.get_outputs()))
    )
    return Loaded(found, _preprocess(found, session.get_inputs()[0].shape))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of onnx2torch about what is compared below."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parsed(path: str) -> Any:
    import onnx
    import onnx.inliner

    if not Path(path).is_file():
        raise UnknownNetwork(f"there is no file {path}; onnx:FILE reads a network in the format of ONNX")
    try:
        model = onnx.load(path)
        if not model.graph.node:
            raise ValueError("it has no operators")
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # no ONNX, cut short, or without the file of its weights
        raise UnknownNetwork(f"{path} is no network in the format of ONNX: {said(error, 200)}") from error
    _fold(model)
    if not model.graph.node:
        raise UnknownNetwork(f"the network of {path} is a constant: no output depends on its input")
    return model


def _fold(model: Any) -> None:
    """Every operator on constants alone becomes what it gives."""
    from onnx import numpy_helper

    graph, opsets, kept = model.graph, {o.domain: o.version for o in model.opset_import}, []
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        found = _evaluated(node, constants, opsets)
        if found is None:
            kept.append(node)
            continue
        for name, value in zip(node.output, found):
            constants[name] = np.asarray(value)
            graph.initializer.append(numpy_helper.from_array(constants[name], name))
    own = [i for i in graph.input if i.name not in constants]
    for field, items in ((graph.node, kept), (graph.input, own)):
        del field[:]
        field.extend(items)


def _evaluated(node: Any, constants: dict[str, np.ndarray], opsets: dict[str, int]) -> list[Any] | None:
    """What a node gives, if it has constants alone and ONNX's own evaluator knows it."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    has_graph = any(a.HasField("g") or a.graphs for a in node.attribute)
    is_drawn = node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")
    if has_graph or is_drawn or not all(i in constants for i in node.input if i):
        return None
    if node.op_type == "Constant" and node.attribute[0].name == "value":
        return [numpy_helper.to_array(node.attribute[0].t)]
    try:
        evaluator = ReferenceEvaluator(node, opsets=opsets)
        return list(evaluator.run(None, {i: constants[i] for i in node.input if i}))
    except Exception:  # it lacks this operator, which is named later
        return None


def _opset(model: Any, domain: str = "") -> int:
    found = {o.domain.removeprefix("ai.onnx"): o.version for o in model.opset_import}
    return found.get(domain.removeprefix("ai.onnx"), 1)


def _check_operators(model: Any, path: str) -> None:
    """Raise ``UnknownNetwork`` with the names of all operators that are not read."""
    unknown: dict[str, int] = {}
    for node in model.graph.node:
        if not _is_own(node) and _converter(node, _opset(model, node.domain)) is None:
            name = f"{node.domain}.{node.op_type}".lstrip(".")
            unknown[name] = unknown.get(name, 0) + 1
    if unknown:
        named = ", ".join(f"{name} ({count} of them)" for name, count in sorted(unknown.items()))
        raise UnknownNetwork(
            f"{path} has operators that are not read: {named}; export the network without them, or write it"
            " as a torch.nn.Module and give file.py:factory"
        )


def _is_own(node: Any) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in OPERATORS


def _converter(node: Any, opset: int) -> Any:
    """onnx2torch's, of the version of the file or else the last one before; None if there is none."""
    from onnx2torch.node_converters.registry import get_converter

    for version in range(opset, 0, -1):
        with contextlib.suppress(NotImplementedError):
            return get_converter(node.op_type, version, node.domain.removeprefix("ai.onnx"))
    return None


def _session(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # what the file says contradicts itself, or is newer than the runtime
        raise UnknownNetwork(f"ONNX Runtime does not read {path}: {said(error, 300)}") from error


def _example(session: Any, path: str) -> tuple[list[torch.Tensor], list[Any]]:
    """Random inputs of the network, and what ONNX Runtime gives for them."""
    tried: list[Any] = []
    failed = ""
    for batch, side in itertools.product((2, 1), SIDES):
        shapes = [_shape(v.shape, batch, side) for v in session.get_inputs()]
        if shapes in tried:
            continue
        tried.append(shapes)
        inputs = [_random(v.type, s, path) for v, s in zip(session.get_inputs(), shapes)]
        try:
            given = {v.name: x.numpy() for v, x in zip(session.get_inputs(), inputs)}
            return inputs, session.run(None, given)
        except Exception as error:  # another size is wanted
            failed = said(error, 300)
    raise UnknownNetwork(f"ONNX Runtime runs the network of {path} at none of {tried}: {failed}")


def _shape(declared: list[Any], batch: int, side: int) -> list[int]:
    free = [batch, *[side] * len(declared)]
    return [n if isinstance(n, int) and n > 0 else free[i] for i, n in enumerate(declared)]


def _random(kind: str, shape: list[int], path: str) -> torch.Tensor:
    kinds = {"float": torch.float32, "float16": torch.float16, "double": torch.float64}
    dtype = kinds.get(kind.removeprefix("tensor(").removesuffix(")"))
    if dtype is None:
        raise UnknownNetwork(f"the network of {path} takes a {kind}, and an image has floating numbers")
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def _static(model: Any) -> dict[str, list[int | None]]:
    """The sizes of every value, as ONNX infers them from the file alone."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        v.name: [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in shape.dim]
        for v in (*graph.input, *graph.value_info, *graph.output)
        if v.type.tensor_type.HasField("shape")
        for shape in [v.type.tensor_type.shape]
    }


def _converted(file: File) -> fx.GraphModule:
    """The graph of torch."""
    from onnx2torch.onnx_graph import OnnxGraph

    tracer, graph = Tracer(), OnnxGraph(file.model.graph)
    values: dict[str, Any] = {"": None}
    values |= {name: value.to_torch() for name, value in graph.initializers.items()}
    for i, (value, example) in enumerate(zip(file.model.graph.input, file.inputs)):
        values[value.name] = tracer.input("x" if i == 0 else f"x_{i}", example)
    for name, node in graph.nodes.items():
        try:
            found = _outputs(file, graph, node, re.sub(r"\W+", "_", name).strip("_"), values, tracer)
        except Exception as error:  # onnx2torch refuses options of operators in many ways
            text = str(error) if isinstance(error, UnknownNetwork) else said(error, 300)
            raise UnknownNetwork(
                f"the operator {node.operation_type} {name!r} of {file.path} is not read: {text}"
            ) from error
        values.update(zip(node.output_values, found))
    named = {v.name: values[v.name] for v in file.model.graph.output}
    tracer.graph.output(tracer.create_arg(next(iter(named.values())) if len(named) == 1 else named))
    network = fx.GraphModule(tracer.root, tracer.graph, "OnnxNetwork").eval()
    network.graph.eliminate_dead_code()
    network.recompile()
    return network


def _outputs(file: File, graph: Any, node: Any, name: str, values: dict[str, Any], tracer: Tracer) -> Any:
    """The values that a node of the file gives."""
    given = [values[i] for i in node.input_values]
    if _is_own(node.proto):
        static = _static_of(file, node.input_values[0], given[0])
        attributes = {k: v.to_torch() if hasattr(v, "to_torch") else v for k, v in node.attributes.items()}
        count = len(node.output_values)
        place = Node(node.operation_type, attributes, count, file.opset, static, tracer, file.is_freed)
        return applied(place, given)
    if any(isinstance(v, np.ndarray) for v in given):
        raise UnknownNetwork("it takes sizes that depend on the image's")
    for value, source in zip(given, node.input_values):
        if isinstance(value, Traced):
            graph._value_info[source] = _info(source, value.example)  # onnx2torch asks for ranks and sizes
    module, mapping = _converter(node.proto, _opset(file.model, node.domain))(node, graph)
    found = tracer.module(name, module, *[values[i] for i in mapping.inputs])
    if len(node.output_values) > 1:
        return [found[i] for i in range(len(node.output_values))]
    return (found,)


def _info(name: str, example: torch.Tensor) -> Any:
    import onnx

    kind = next((k for k, dtype in DTYPES.items() if dtype == example.dtype), 1)
    return onnx.helper.make_tensor_value_info(name, kind, example.shape)


def _static_of(file: File, name: str, value: Any) -> list[int | None] | None:
    found = file.static.get(name)
    if not isinstance(value, Traced) or found is None or len(found) != value.ndim:
        return None
    is_batch = file.is_freed and found[:1] == [1]
    return [None, *found[1:]] if is_batch else found


def _compare(file: File, network: fx.GraphModule, wanted: list[Any]) -> None:
    """Raise ``UnknownNetwork`` where the network gives other numbers than ONNX Runtime."""
    for value, a, b in zip(file.model.graph.output, _run(network, file.inputs), wanted):
        error, largest = _distance(a, torch.from_numpy(np.asarray(b)))
        if not error <= TOLERANCE * largest + LEAST:
            raise UnknownNetwork(
                f"the output {value.name} of {file.path} is {error:.1g} from what ONNX Runtime gives, where"
                f" the largest is {largest:.1g}: an operator of it means something else in torch; write the"
                " network as a torch.nn.Module and give file.py:factory"
            )


def _run(network: fx.GraphModule, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.no_grad():
        found = network(*inputs)
    return list(found.values()) if isinstance(found, dict) else [found]


def _distance(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """The largest difference, infinite if the shapes differ, and the largest number of ``b``."""
    largest = b.double().abs().max().item() if b.numel() else 0.0
    if a.shape != b.shape:
        return float("inf"), largest
    return ((a.double() - b.double()).abs().max().item() if b.numel() else 0.0), largest


def _freed(file: File, network: fx.GraphModule) -> fx.GraphModule:
    """The network for any number of images, where the file fixes it to 1 and two images do not mix."""
    if any(
        len(x) != 1 or file.static[v.name][:1] != [1] for x, v in zip(file.inputs, file.model.graph.input)
    ):
        return network
    try:
        freed = _converted(replace(file, is_freed=True))
        others = [x.flip(-1) for x in file.inputs]
        both = _run(freed, [torch.cat(pair) for pair in zip(file.inputs, others)])
        alone = [torch.cat(pair) for pair in zip(_run(network, file.inputs), _run(network, others))]
    except Exception:  # a size of it holds the number of images in a way that is not seen
        return network
    errors = (_distance(a, b) for a, b in zip(both, alone))
    return freed if all(e <= TOLERANCE * largest + LEAST for e, largest in errors) else network


def _has_last_channels(value: Any) -> bool:
    """Whether a tensor of the file is images (N, H, W, C)."""
    shape = value.shape
    return len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def _preprocess(network: OnnxNetwork, declared: list[Any]) -> Preprocess | None:
    """The guess for any network, at the size that the file fixes."""
    guess = Preprocess.of(network)
    declared = [declared[0], declared[3], *declared[1:3]] if network.is_last else declared
    if len(declared) != 4 or channels_of(network) not in (1, 3):
        return None
    if not all(isinstance(n, int) and n > 0 for n in declared[2:]):
        return guess
    height, width = declared[2:]
    is_whole = guess.size == (height, width)
    given: dict[str, Any] = {} if is_whole else {"size": (height, width), "resize": "cover", "crop": "center"}
    return replace(guess, **given, source=f"{guess.source}, {height} x {width} as the file fixes it")
