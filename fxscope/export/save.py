"""Save an emitted graph in the form its user ships, and check the file before returning."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..errors import FxscopeError, SavedFileDiffers
from .check import SavedCheck, compare, run_graph
from .load import SUFFIXES, format_of
from .plain import plain
from .shapes import cases, free_shapes, layout_of, placeholders, widened
from .write import WRITERS, description

_FORMS = "net.pt2 (torch.export, the default), net.ts (TorchScript), net.onnx; a compiled package is net.pt2 with format='aoti'"


def save(graph: fx.GraphModule, path: "str | Path", example_inputs: tuple, format: str | None = None, dynamic_shapes: Any = None) -> SavedCheck:
    """Write ``graph`` to ``path``, check the file against the graph, and return how they compare.

    format          by suffix: ".pt2" (torch.export, the default), ".ts" (TorchScript), ".onnx"; "aoti" explicitly
                    (AOTInductor, suffix ".pt2", compiled for this machine)
    example_inputs  a tuple of the graph's inputs, (x0, x1) for a pair
    dynamic_shapes  None: the batch B and the number of probes K are free, also to be one, in the flat form and in the stacked
                    one; the example is repeated where B or K is one, since exporters take a size of one for a constant.
                    (): every size is the example's. Else as torch.export takes it, to free the height and width of an image,
                    say. TorchScript leaves every size free

    The file is written beside its name, loaded in a fresh process that cannot import fxscope, compared on the example and
    on other B and K where these are free, and renamed last: a save that fails leaves an older file as it was. Dataclass
    outputs become dicts, namedtuples tuples. ``fxscope.export.load`` shows how a file is run; it needs nothing of fxscope.

    Raises ``SavedFileDiffers`` with both numbers, and ``FxscopeError`` for a form that cannot be had.
    """
    path = Path(path)
    format = _format(path, format)
    example = _example(graph, example_inputs)
    _require_runnable(graph, format, example)
    written, layout = plain(graph), layout_of(graph, example)
    run_graph(written, [example])  # the graph's own errors come first
    shapes = dynamic_shapes or None
    if dynamic_shapes is None:
        shapes = free_shapes(layout, example)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        draft = Path(folder) / path.name
        free = _write(format, written, widened(example, layout) if dynamic_shapes is None else example, shapes, layout, draft)
        check = _named(path, compare, written, draft, format, cases(example, layout, free))
        for part in sorted(Path(folder).iterdir(), key=lambda part: part == draft):  # the weights of a large ONNX file lie beside it
            os.replace(part, path.parent / part.name)
    return SavedCheck(str(path), check.format, check.cases)


def check_saved(path: "str | Path", model: nn.Module, *inputs: Any, format: str | None = None, **options: Any) -> SavedCheck:
    """Compare a saved file with a model, transformed anew, or with an emitted graph; in a fresh process that cannot import fxscope.

        fxscope.check_saved("net.pt2", model, x0)

    inputs      the model's own: the file is run with x1 = x0 and with a random probe. Or all inputs of the graph
    options     of ``fxscope.transform``, as they were when the file was made (``policy=``, say); the form and the layout of
                the probes are written in the file

    Raises ``SavedFileDiffers`` with both numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FxscopeError(f"no file {path} to check")
    format = format or _told(path)
    graph = model if isinstance(model, fx.GraphModule) and "fxscope" in model.meta else _transformed(path, model, options)
    return compare(plain(graph), path, format, _probed(graph, inputs))


def _told(path: Path) -> str:
    try:
        return format_of(path)
    except ValueError as error:
        raise FxscopeError(str(error)) from error


def _transformed(path: Path, model: nn.Module, options: dict) -> fx.GraphModule:
    from ..transform import transform

    told = description(path)
    return transform(model, options.pop("emit", told.get("form", "pair")), **{"probes": told.get("probes", "flat"), **options})


def _probed(graph: fx.GraphModule, inputs: tuple) -> list[tuple]:
    """All inputs of the graph as given; or, where its one probe was left out, with x1 = x0 and with a random probe."""
    if len(inputs) == len(placeholders(graph)):
        return [inputs]
    probe = inputs[:1] if inputs and isinstance(inputs[0], torch.Tensor) else ()
    if graph.meta["fxscope"]["probes"] == "stacked":
        probe = tuple(x[None] for x in probe)
    tied = _example(graph, inputs + probe)
    noise = torch.randn(tied[-1].shape, generator=torch.Generator().manual_seed(0)).to(tied[-1])
    return [tied, tied[:-1] + (noise,)]


def _format(path: Path, format: str | None) -> str:
    if path.suffix not in SUFFIXES or format not in (None, *WRITERS):
        raise FxscopeError(f"{path.name}, format={format!r}: the suffix tells the form: {_FORMS}")
    told = SUFFIXES[path.suffix]
    if format not in (None, told) and (format, told) != ("aoti", "pt2"):
        raise FxscopeError(f"{path.name} is not a name for format={format!r}: {_FORMS}")
    if not path.parent.is_dir():
        raise FxscopeError(f"no folder {path.parent} to write {path.name} in")
    if path.is_dir():
        raise FxscopeError(f"{path} is a folder")
    return format or told


def _example(graph: fx.GraphModule, inputs: Any) -> tuple:
    """A tuple of as many inputs as the graph takes, none of them sharing memory."""
    if not isinstance(graph, fx.GraphModule):
        raise FxscopeError(f"a {type(graph).__name__} is not an emitted graph: save fxscope.transform(model)")
    given = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
    names = [n.name for n in placeholders(graph)]
    if len(given) != len(names):
        raise FxscopeError(f"the graph takes ({', '.join(names)}); got {len(given)} input{'s' * (len(given) != 1)}")
    return tuple(x.detach().clone() if isinstance(x, torch.Tensor) else x for x in given)


def _require_runnable(graph: fx.GraphModule, format: str, example: tuple) -> None:
    tensors = [*graph.parameters(), *graph.buffers(), *(x for x in example if isinstance(x, torch.Tensor))]
    if format == "onnx" and any(x.dtype == torch.float64 for x in tensors):
        raise FxscopeError("onnxruntime has no float64 convolution: save fxscope.transform(model.float()) with float32 inputs")


def _write(format: str, graph: fx.GraphModule, example: tuple, shapes: Any, layout: Any, path: Path) -> tuple[bool, bool]:
    try:
        return WRITERS[format](graph, example, shapes, layout, str(path))
    except FxscopeError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        raise FxscopeError(
            f"the graph cannot be written as {format}: {type(error).__name__}: {said[0] if said else ''} "
            "(where a size cannot vary, dynamic_shapes=() takes every size from the example; the whole message is above)"
        ) from error


def _named(path: Path, function: Any, *args: Any) -> Any:
    """Call ``function``; a difference it reports is the file's that was to be written."""
    try:
        return function(*args)
    except SavedFileDiffers as error:
        raise SavedFileDiffers(f"{path} was not written. {error}") from error
