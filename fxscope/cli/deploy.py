"""The verb that writes a graph to a file for use elsewhere: ``transform``."""

from __future__ import annotations

from typing import Any

import click
import torch
from torch import nn
from torch.utils import _pytree as pytree

from .. import export
from ..emit import FORMS
from ..emit.pipeline import transform
from ..errors import FxscopeError
from ..export.shapes import SPATIAL
from ..linop import interpret
from . import options, types
from .inputs import example, part_of_output, subject_of
from .options import Asked, verb
from .shown import answer

_FORMATS = ("pt2", "ts", "onnx", "aoti")
_TAKES = {"pair": "x0 x1", "filter": "x0 x1", "residual": "x0", "adjoint": "x0 y2", "row": "x0 index"}
_TAKES |= {"argmax": "x0", "record": "x0", "replay": "state x1", "pullback": "state y2"}
_GIVES = {"pair": "y0 y1", "filter": "Fx1", "residual": "r", "adjoint": "x2", "row": "y0 row r_k"}
_GIVES |= {"argmax": "y0 index row r_k", "record": "y0 state", "replay": "Fx1", "pullback": "x2"}
_MEANING = {
    "x0": "the images whose decisions are frozen",
    "x1": "what the linear interpreter reads, of the shape of x0 or of the place of --inputs",
    "y2": "weights of the outputs",
    "index": "positions in the flattened output of one image",
    "state": "what was recorded at x0, a tuple of tensors",
    "y0": "the output of the network",
    "y1": "F x1 + r, which is y0 at x1 = x0",
    "Fx1": "F x1",
    "r": "the residual: y1 at x1 = 0",
    "x2": "F^T y2, of the shape of x1",
    "row": "the row of F at index: <row, x0> + r_k = y0[index]",
    "r_k": "the residual at index",
}
_PROBES = ("x1", "y2", "y1", "Fx1", "x2", "index", "row", "r_k")


@verb("transform", options.network, options.outputs, options.unknown, options.common)
@click.option(
    "-o",
    "file",
    required=True,
    type=types.NewFile(".pt2", ".ts", ".onnx"),
    help="FILE.pt2, FILE.ts or FILE.onnx",
)
@click.option(
    "--emit", "form", default="pair", show_default=True, type=click.Choice(FORMS), help="what the graph does"
)
@click.option(
    "--format", "format", type=click.Choice(_FORMATS), help="default: what the suffix says; aoti: .pt2"
)
@click.option(
    "--inputs", type=types.Place(), help="the place within the network that is probed (default: x0)"
)
@click.option(
    "--probes",
    default="stacked",
    show_default=True,
    type=click.Choice(["flat", "stacked"]),
    help="(K*B, ...) with the batch of the example, or (K, B, ...) with any",
)
@click.option(
    "--dynamic",
    default="probes",
    show_default=True,
    type=click.Choice(["probes", SPATIAL]),
    help="the numbers of probes and images are free; spatial: the sizes of the images, too",
)
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(list(types.DTYPES)))
def transform_verb(
    asked: Asked,
    file: str,
    form: str,
    format: str | None,
    inputs: str | None,
    probes: str,
    dynamic: str,
    dtype: str,
) -> None:
    """Rewrite MODEL, save it, check the file in a fresh process, and say what it takes and gives."""
    found = subject_of(asked, asked.choice)
    x0 = example(asked, found).to(types.DTYPES[dtype])
    network, place = part_of_output(asked, found, x0.float())
    network = network.to(types.DTYPES[dtype])
    wanted: dict[str, Any] = {
        "policy": asked.policy,
        "unknown": asked.unknown,
        "outputs": place,
        "inputs": inputs,
    }
    graph = transform(network, form, probes=probes, example_inputs=(x0,), **wanted)
    given = _example(network, form, x0, probes == "stacked", wanted)
    shapes = SPATIAL if dynamic == SPATIAL else None
    check = export.save(graph, file, given, format, shapes)
    with torch.no_grad():
        gives = graph(*given)
    gives = gives if len(_GIVES[form].split()) > 1 else (gives,)
    batch = ("K" if len(given) > 1 else "1", "B") if probes == "stacked" else ()
    takes = _described(_TAKES[form], given, batch)
    gives = _described(_GIVES[form], gives, batch)
    numbers = {"path": check.path, "format": check.format, "errors": check.errors, "ok": check.ok}
    lines = [
        f"{what} {line['name']} {line['shape']} {line['dtype']}: {line['meaning']}"
        for what, each in (("takes", takes), ("gives", gives))
        for line in each
    ]
    if dynamic == SPATIAL:
        lines.append("height and width are free, too")
    answered = {**numbers, "form": form, "takes": takes, "gives": gives, "dynamic": dynamic}
    answer(asked, answered, "\n".join([str(check), *lines]))


def _example(network: nn.Module, form: str, x0: torch.Tensor, stacked: bool, wanted: dict[str, Any]) -> tuple:
    """Inputs of a graph in this form, with one probe."""
    if _TAKES[form] == "x0":
        return (x0,)
    if form == "row":
        index = torch.zeros(x0.shape[0], dtype=torch.int64, device=x0.device)
        return (x0, index[None] if stacked else index)
    lin = interpret(network, x0, **wanted)
    if not isinstance(lin.x, torch.Tensor) or not isinstance(lin.y0, torch.Tensor):
        raise FxscopeError(
            "transform on the command line is about one place that is probed; name it by --inputs"
        )
    probe = lin.y0 if _TAKES[form].endswith("y2") else lin.x
    probe = probe[None] if stacked else probe
    if not _TAKES[form].startswith("state"):
        return (x0, probe)
    record = transform(
        network, "record", probes="stacked" if stacked else "flat", example_inputs=(x0,), **wanted
    )
    return (record(x0)[1], probe)


def _described(names: str, values: tuple, batch: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name, shape, dtype and meaning of every input or output."""
    found = []
    for name, value in zip(names.split(), values, strict=True):
        leaves = [t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]
        one = isinstance(value, torch.Tensor)
        found.append(
            {
                "name": name,
                "shape": _shape(name, value, batch) if one else f"{len(leaves)} tensors",
                "dtype": ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in leaves})),
                "meaning": _MEANING[name],
            }
        )
    return found


def _shape(name: str, value: torch.Tensor, batch: tuple[str, ...]) -> str:
    """The shape, with the free numbers of probes and images by name: ``batch``, or () in the flat form."""
    sizes, probed = [str(n) for n in value.shape], name in _PROBES
    free = (batch if probed else batch[1:]) if batch else (("K*B",) if probed else sizes[:1])
    return f"({', '.join([*free, *sizes[len(free) :]])})"


VERBS = (transform_verb,)
