"""Write an emitted graph to a file, and check the file before returning."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.fx as fx
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import FxscopeError
from ..frontend.exported import all_sizes
from ..frontend.quiet import quiet
from ..frontend.symbolic import reason_of
from ..frontend.unchanged import leaves_unchanged, unchanged
from ..graph.arguments import checked
from ..graph.assumptions import as_data, assumptions
from ..graph.interpretation import KEY
from ..graph.interpretation import check as check_version
from ..graph.ir import emitted
from ..results.files import check_writable, replacing
from . import shapes
from .check import SavedCheck, compare
from .convolutions import as_convolutions
from .plain import plain
from .version import stamp, version_of

_log = logging.getLogger("fxscope")
_SUFFIXES = {".pt2": "pt2", ".ts": "ts", ".onnx": "onnx"}
FORMATS = ("pt2", "ts", "onnx", "aoti")
_REASONS = "fxscope.assumptions"  # a key of ONNX's metadata_props, an extra file of a .pt2
_PLAIN = "name the outputs: transform(..., outputs={name: place})"
_METADATA = torch.ops.aten._assert_tensor_metadata.default


@checked
@leaves_unchanged
def save(
    graph: fx.GraphModule,
    path: str | Path,
    example_inputs: tuple,
    format: str | None = None,
    dynamic_shapes: Any = None,
) -> SavedCheck:
    """Write a graph to a file, and check the file.

    The file is written under a temporary name, loaded in a fresh process that cannot import fxscope, and run
    on the example and, if shapes are dynamic, on other K, B, height and width. It is then renamed. Dataclass
    outputs become dicts, and namedtuples become tuples. Outputs that are no tensors (None, numbers, text,
    sizes) are left out.

    A graph that was made for certain sizes keeps this in the file. Files in .pt2 and .ts assert the sizes and
    the conditions on the batch; in ONNX and AOTInductor files they are fixed. The reasons are in
    ``metadata_props`` of an ONNX file and in an extra file of a .pt2 file, as "fxscope.assumptions". Every
    file has the version of the interpretation, as "fxscope.interpretation": in ``metadata_props``, in an
    extra file of .pt2 and .ts, or in the metadata of AOTInductor.

    Parameters
    ----------
    graph : torch.fx.GraphModule
        The result of ``fxscope.transform``.
    path : str or Path
        The file.
    example_inputs : tuple
        Inputs of the graph.
    format : {"pt2", "ts", "onnx", "aoti"}, optional
        The default follows from the suffix: ".pt2" (torch.export), ".ts" (TorchScript) or ".onnx". "aoti"
        (AOTInductor, suffix ".pt2") has to be given.
    dynamic_shapes : optional
        As torch.export takes it. By default the number K of probes is dynamic, and in the "stacked" form the
        batch B too; an example of size 1 is repeated first, because exporters fix such a size. "spatial" also
        makes height and width dynamic, for fully convolutional networks in the "stacked" form.

    Returns
    -------
    SavedCheck
        The errors of the file. The file is kept only if they are within their bounds.

    Raises
    ------
    SavedFileDiffers
        If the file gives other results than the graph. The message has the errors.
    FxscopeError
        If the format does not exist, or a size that should be dynamic is fixed in the graph.

    Examples
    --------
    >>> import tempfile, torch, fxscope
    >>> graph, x0 = fxscope.transform(torch.nn.Conv2d(1, 1, 3)), torch.rand(2, 1, 8, 8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fxscope.save(graph, f"{folder}/scope.ts", (x0, x0)).ok
    True
    """
    path = Path(path)
    if not emitted(graph):
        raise FxscopeError(
            "save takes a graph of fxscope.transform as it was made: pickling or tracing it again keeps its"
            " code alone, and not what a file must say of it"
        )
    format = _format(path, format, graph, example_inputs)
    asserts = format in ("pt2", "ts")
    given = pytree.tree_map(lambda x: x.detach() if isinstance(x, torch.Tensor) else x, tuple(example_inputs))
    example, dynamic = shapes.dynamic(graph, given, dynamic_shapes, conditions=asserts)
    if format == "ts":
        dynamic = True
        # TorchScript takes the states as a list
        example = tuple(list(x) if isinstance(x, tuple) and shapes.has_state(graph) else x for x in example)
    sets = [example]
    if dynamic_shapes in (None, shapes.SPATIAL) and dynamic:
        sets.append(shapes.others(graph, example))
    if dynamic_shapes == shapes.SPATIAL:
        sets.append(shapes.doubled(graph, example))
    written = plain(graph) if graph.training else plain(graph).eval()
    with replacing(path) as new:
        _write(format, written, example, dynamic, str(new))
        check = compare(written, new, format, sets)
    return dataclasses.replace(check, path=str(path))


def write_unchecked(
    graph: fx.GraphModule, path: str | Path, example_inputs: tuple, format: str
) -> tuple[fx.GraphModule, tuple]:
    """Write a graph in one of the formats, with K free and the batch fixed: (what was written, its example).

    The file is not checked; ``check.run_files`` and ``check.compared`` do that, for many files at once.
    """
    example, dynamic = shapes.with_free_probes(graph, tuple(example_inputs))
    written = plain(graph) if graph.training else plain(graph).eval()
    _write(format, written, example, dynamic, str(path))
    return written, example


def write_onnx(graph: fx.GraphModule, example_inputs: tuple, path: str | Path) -> None:
    """Write a graph for the sizes of the example alone, without a check of the file.

    Raises
    ------
    FxscopeError
        If the exporter of ONNX refuses the graph.
    """
    example = pytree.tree_map(lambda x: x.detach(), tuple(example_inputs))
    _write("onnx", plain(graph).eval(), example, None, str(path))


def _format(path: Path, format: str | None, graph: fx.GraphModule, example_inputs: tuple) -> str:
    """The format, given or by the suffix of the file; raises ``FxscopeError`` if the graph cannot have it."""
    format = _form(path, format)
    check_writable(path)
    given = [x for x in pytree.tree_leaves(example_inputs) if isinstance(x, torch.Tensor)]
    if format == "onnx" and any(x.dtype == torch.float64 for x in given):
        way = "save graph.float() with float32 inputs"
        if assumptions(graph):
            way = "make the graph of a float32 model, with such example inputs"
        raise FxscopeError(f"onnxruntime has no float64 convolution: {way}")
    return format


def _write(format: str, graph: fx.GraphModule, example: tuple, dynamic: Any, path: str) -> None:
    """Write the graph; an exporter's error is told by its first cause, without the graph that it prints."""
    given = pytree.tree_leaves(example)
    if any(dataclasses.is_dataclass(x) or isinstance(x, SimpleNamespace) for x in given):
        raise FxscopeError(
            "a file takes y2 as tensors in dicts and tuples, not in a dataclass; name the outputs:"
            " fxscope.transform(..., outputs={name: place})"
        )
    try:
        with quiet():
            _WRITERS[format](graph, example, dynamic, path)
    except FxscopeError:
        raise
    except Exception as error:
        _log.debug("%s cannot be written", format, exc_info=error)
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise FxscopeError(
            f"the graph cannot be written as {format}, because its exporter refuses it: {reason_of(cause)}."
            f" Try another format ({', '.join(f for f in FORMATS if f != format)}), or save a part of the"
            " network (inputs=, outputs= of fxscope.transform)"
        ) from None


def _form(path: Path, format: str | None) -> str:
    """The format of a file, given or by its suffix."""
    format = format or _SUFFIXES.get(path.suffix, "")
    if format not in FORMATS:
        raise FxscopeError(
            f"{path.name}: the suffix has to be one of {', '.join(_SUFFIXES)}, or format= one of"
            f" {', '.join(FORMATS)}"
        )
    return format


@checked
def check_saved(
    path: str | Path,
    model: nn.Module,
    x0: torch.Tensor,
    *,
    probes: str = "flat",
    policy: Any = None,
    format: str | None = None,
) -> SavedCheck:
    """Compare a saved pair with the model itself, on x1 = x0 and on random probes.

    Parameters
    ----------
    path : str or Path
        A file that ``save`` wrote for ``fxscope.transform(model, "pair", ...)``.
    model : torch.nn.Module
        The model.
    x0 : torch.Tensor
        Its input, (B, ...).
    probes, policy
        As for ``fxscope.transform`` when the graph was made.
    format : str, optional
        As for ``save``.

    Returns
    -------
    SavedCheck
        The errors of the file.

    Raises
    ------
    OtherInterpretation
        If the file has another version of the interpretation.
    SavedFileDiffers
        If the file gives other results than the model.
    """
    from ..emit.pipeline import transform

    form = _form(Path(path), format)
    check_version({KEY: version_of(path, form)}, str(path), "save the graph again")
    with unchanged(model):
        return _checked(transform(model, probes=probes, policy=policy), path, x0, probes, form)


def _checked(
    graph: fx.GraphModule, path: str | Path, x0: torch.Tensor, probes: str, format: str
) -> SavedCheck:
    x1 = x0[None] if probes == "stacked" else x0
    noise = torch.randn(x1.shape, generator=torch.Generator().manual_seed(0)).to(x1)
    return compare(plain(graph), path, format, [(x0, x1), (x0, noise)])


def _write_ts(graph: fx.GraphModule, example: tuple, dynamic: Any, path: str) -> None:
    torch.jit.save(torch.jit.script(graph), path, _extra_files=stamp(graph))


def _write_pt2(graph: fx.GraphModule, example: tuple, dynamic: Any, path: str) -> None:
    known = assumptions(graph)
    if known:
        graph = _with_metadata_checks(graph, example)  # torch.export's own checks are about sizes, not dtypes
    program = _exported(graph, example, dynamic)
    extra = stamp(graph) | ({_REASONS: json.dumps(as_data(known))} if known else {})
    torch.export.save(program, path, extra_files=extra)


def _exported(graph: fx.GraphModule, example: tuple, dynamic: Any) -> torch.export.ExportedProgram:
    """The program of a graph; of a flat one for a single probe too, where the exporter can promise that.

    Else torch.export takes K for at least 2, and a flat file of several images refuses their own number.
    """
    if emitted(graph).get("probes") != "stacked":
        from torch._dynamo.exc import UserError  # which takes longer to import than all of fxscope

        try:
            with all_sizes():
                return torch.export.export(graph, example, dynamic_shapes=dynamic)
        except UserError as error:  # as for the parts of a concatenation, whose views depend on B
            _log.info("the file may refuse a single probe: %s", reason_of(error))
    return torch.export.export(graph, example, dynamic_shapes=dynamic)


def _write_aoti(graph: fx.GraphModule, example: tuple, dynamic: Any, path: str) -> None:
    with torch.no_grad(), _kept_checks():
        program = torch.export.export(_with_metadata_checks(graph, example), example, dynamic_shapes=dynamic)
        torch._inductor.aoti_compile_and_package(
            program, package_path=path, inductor_configs={"aot_inductor.metadata": stamp(graph)}
        )


def _with_metadata_checks(graph: fx.GraphModule, example: tuple) -> fx.GraphModule:
    """The graph with an assertion of the dtype and the sizes of each tensor input.

    Sizes that are not free are asserted as numbers.
    """
    checked = plain(graph)
    inputs = [n for n in checked.graph.nodes if n.op == "placeholder"]
    tracer = fx.proxy.GraphAppendingTracer(checked.graph)
    with checked.graph.inserting_before(inputs[-1].next):
        for node, x in zip(inputs, example):
            if isinstance(x, torch.Tensor):
                value = fx.Proxy(node, tracer)
                _METADATA(value, [value.size(d) for d in range(x.dim())], None, x.dtype)
    checked.recompile()
    return checked


@contextlib.contextmanager
def _kept_checks() -> Iterator[None]:
    """Keep the assertions about inputs in AOTInductor.

    It removes them, and its packages then read an input of another size as if it had the expected one.
    """
    from torch._inductor import lowering
    from torch._inductor.fx_passes import post_grad

    called = lowering.fallback_handler(_METADATA, add_to_fallback_set=False)
    kept = mock.patch.object(post_grad, "remove_assert_ops", lambda graph: None)  # noqa: PT008  in no test
    with mock.patch.dict(lowering.lowerings, {_METADATA: called}), kept:
        yield


def _write_onnx(graph: fx.GraphModule, example: tuple, dynamic: Any, path: str) -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise FxscopeError("ONNX needs its exporter and runtime: pip install 'fxscope[onnx]'") from error
    names = shapes.input_names(graph, example)
    program = torch.export.export(as_convolutions(plain(graph)), example, dynamic_shapes=dynamic)
    file = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=names, output_names=_output_names(graph)
    )
    assert file is not None  # what dynamo=True gives
    if assumptions(graph):
        file.model.metadata_props[_REASONS] = json.dumps(as_data(assumptions(graph)))
    file.model.metadata_props.update(stamp(graph))
    file.save(path, external_data=False)


def _output_names(graph: fx.GraphModule) -> list[str]:
    """The names of the form's results, with dots inside structures.

    The entries of a recorded state keep their names.
    """
    value = next(n for n in graph.graph.nodes if n.op == "output").args[0]
    meta = emitted(graph)
    names = _RESULTS.get(meta.get("form", ""), ("y",))
    if len(names) == 1:
        return _dotted(names[0], value)
    states = [f"state.{s}" for s in meta.get("state", ())]
    return [
        name for key, part in zip(names, value) for name in (states if key == "state" else _dotted(key, part))
    ]


_RESULTS = {
    "pair": ("y0", "y1"),
    "record": ("y0", "state"),
    "row": ("y0", "row", "r"),
    "argmax": ("y0", "index", "row", "r"),
    "adjoint": ("x2",),
    "pullback": ("x2",),
    "residual": ("r",),
}


def _dotted(name: str, value: Any) -> list[str]:
    if isinstance(value, fx.Node):
        return [name]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [n for key, part in items for n in _dotted(f"{name}.{key}", part)]


_WRITERS = {"ts": _write_ts, "pt2": _write_pt2, "aoti": _write_aoti, "onnx": _write_onnx}
