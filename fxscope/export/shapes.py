"""The dynamic sizes of an exported graph's inputs, and inputs of other sizes to check the file with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx
from torch.export import Dim
from torch.utils import _pytree as pytree

from ..errors import FxscopeError
from ..graph.assumptions import SIZE, WAY_OUT, Assumption, assumptions, batch_of, broken, said
from ..graph.assumptions import input_names as names_of
from ..graph.ir import emitted, info

SPATIAL = "spatial"  # dynamic_shapes= of ``save``: the sizes of the images are free, too


@functools.cache
def free_count(name: str) -> Any:
    """The free number of probes, "K", or of images, "B"; made when first asked for, as it imports sympy."""
    return Dim(name, min=1, max=4096)


def dynamic(graph: fx.GraphModule, example: tuple, given: Any, conditions: bool = True) -> tuple[tuple, Any]:
    """The example, with free sizes of at least two, and its dynamic shapes as torch.export takes them.

    In the "stacked" form K and B are free. In the "flat" form only K is, because torch.export cannot express
    that K*B is a multiple of a free B. Sizes of a recorded state are free unless the graph fixes them. If
    ``given`` is "spatial", the sizes of the images are free too. A batch for which the graph was made is
    fixed. A batch under a condition is fixed if the format cannot hold ``conditions``. Raises
    ``FxscopeError`` if ``given`` frees a size for which the graph was made.
    """
    if not has_state(graph):
        _refuse_other(graph, example)
        _refuse_fixed(graph, given)
    if given is not None and given != SPATIAL:
        return example, given
    probes, stacked = probe_positions(graph), is_stacked(graph)
    if given == SPATIAL:
        return _with_spatial(graph, example, probes)
    if has_state(graph):
        return _with_state(graph, example, stacked)
    batch = _batch(graph)
    if batch == "conditional" and not conditions:
        batch = "specialised"
    if not stacked:
        return _flat(example, probes, batch)
    if batch != "free":
        return _with_fixed_batch(example, probes, batch)
    if example[0].shape[0] == 1:
        example = tuple(_twice(x, 1 if i in probes else 0) for i, x in enumerate(example))
    example = tuple(_two_probes(x) if i in probes else x for i, x in enumerate(example))
    return example, tuple(
        _free(x, *((free_count("K"), free_count("B")) if i in probes else (free_count("B"),)))
        for i, x in enumerate(example)
    )


def _twice(value: Any, dim: int = 0) -> Any:
    """Every tensor of a value twice along a dimension; a number of a probe has none for the batch."""
    return _each(lambda x: torch.cat([x, x], dim) if x.dim() > dim else x, value)


def _each(function: Callable, value: Any) -> Any:
    """A function of the tensors of a value, which may be a structure as y2 is."""
    return pytree.tree_map(lambda x: function(x) if isinstance(x, torch.Tensor) else x, value)


def _free(value: Any, *sizes: Any) -> Any:
    """The dynamic shapes of a value whose leading sizes are free."""

    def leading(x: Any) -> Any:
        return dict(enumerate(sizes[: x.dim()])) if isinstance(x, torch.Tensor) else None

    return pytree.tree_map(leading, value)


def _batch(graph: fx.GraphModule) -> str:
    """The batch of the graph: "free", "conditional" or "specialised"."""
    return batch_of(assumptions(graph), names_of(graph)) if assumptions(graph) else "free"


def with_free_probes(graph: fx.GraphModule, example: tuple) -> tuple[tuple, Any]:
    """Dynamic shapes of a stacked graph whose batch is fixed."""
    return _with_fixed_batch(example, probe_positions(graph), "specialised")


def _with_fixed_batch(example: tuple, probes: list[int], batch: str) -> tuple[tuple, Any]:
    """Dynamic shapes for a batch that is under a condition, or one number."""
    example = tuple(_two_probes(x) if i in probes else x for i, x in enumerate(example))
    if batch == "specialised" or example[0].shape[0] == 1:
        return example, tuple(_free(x, free_count("K")) if i in probes else {} for i, x in enumerate(example))
    auto = Dim.AUTO
    return example, tuple(
        _free(x, *((free_count("K"), auto) if i in probes else (auto,))) for i, x in enumerate(example)
    )


def _two_probes(value: Any) -> Any:
    return _each(lambda x: torch.cat([x, x]) if x.shape[0] == 1 else x, value)


def _refuse_other(graph: fx.GraphModule, example: tuple) -> None:
    """Raise ``FxscopeError`` if the graph was not made for such an example."""
    unmet = broken(assumptions(graph), example, names_of(graph))
    if unmet is not None:
        raise FxscopeError(f"save: the graph was not made for these example inputs: {unmet}. {WAY_OUT}")


def _refuse_fixed(graph: fx.GraphModule, given: Any) -> None:
    """Raise ``FxscopeError`` if dynamic shapes free a size for which the graph was made."""
    known, names = assumptions(graph), names_of(graph)
    asked = [
        a for a in known if a.kind == SIZE and a.input in names and _asks(given, names.index(a.input), a)
    ]
    if asked:
        listed = ", ".join(f"dimension {a.dimension} of {a.input}, {a.value}" for a in asked)
        raise FxscopeError(
            f"dynamic_shapes frees sizes that this graph was made for: {listed}. torch.export made it at"
            f" {said(known)}, and it is right only there: save it with these sizes fixed, and make a graph"
            " for each other size with fxscope.transform(..., example_inputs=)"
        )


def _asks(given: Any, position: int, assumption: Assumption) -> bool:
    """Whether dynamic shapes, in any form that torch.export takes, free the assumption's dimension."""
    if given is None or given == SPATIAL:
        return given is not None and (assumption.dimension or 0) > 1
    if isinstance(given, dict):
        entry = given.get(assumption.input)
    else:
        entry = given[position] if position < len(given) else None
    if isinstance(entry, (list, tuple)):
        entry = dict(enumerate(entry))
    wanted = entry.get(assumption.dimension) if isinstance(entry, dict) else None
    return wanted is not None and wanted is not Dim.STATIC and not isinstance(wanted, int)


def _with_spatial(graph: fx.GraphModule, example: tuple, probes: list[int]) -> tuple[tuple, Any]:
    """K, B and all sizes after the channels are free; the exporter infers the sizes of y2 from x0."""
    if not is_stacked(graph) or has_state(graph):
        raise FxscopeError(
            "dynamic_shapes='spatial' needs a graph in the stacked form, transform(model, ...,"
            " probes='stacked'), and not replay or pullback, whose sizes are free already"
        )
    example, _ = dynamic(graph, example, None)
    return example, tuple(
        (
            {d: Dim.DYNAMIC for d in range(x.dim()) if d != (2 if i in probes else 1)}
            if x.dim() > 2
            else {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
        )
        for i, x in enumerate(example)
    )


def doubled(graph: fx.GraphModule, example: tuple) -> tuple:
    """The example at twice the height and width."""
    probes = probe_positions(graph)

    def tiled(value: Any, first: int) -> Any:
        return _each(
            lambda x: x.repeat([1] * first + [2] * (x.dim() - first)) if x.dim() > first else x, value
        )

    return tuple(tiled(x, 3 if i in probes else 2) for i, x in enumerate(example))


def _flat(example: tuple, probes: list[int], free: str) -> tuple[tuple, Any]:
    batch = example[0].shape[0]

    def two(value: Any) -> Any:
        return _each(lambda x: torch.cat([x, x]) if x.shape[0] == batch else x, value)

    example = tuple(two(x) if i in probes else x for i, x in enumerate(example))
    count = batch * free_count("K") if batch > 1 else free_count("K")
    if not probes:
        each = {"free": {0: free_count("B")}, "conditional": {0: Dim.AUTO}}.get(free)
        return example, tuple(each for _ in example) if batch > 1 and each else None
    return example, tuple(_free(x, count) if i in probes else None for i, x in enumerate(example))


def _with_state(graph: fx.GraphModule, example: tuple, stacked: bool) -> tuple[tuple, Any]:
    """All sizes of a recorded state are free unless the graph fixes them.

    Weights that are folded with their batch norm keep their sizes: a free kernel size k makes a convolution's
    size floor(-k/2) + c, which ONNX computes wrongly because its division truncates.
    """
    meta = emitted(graph)
    state, probe = (
        example[0],
        pytree.tree_map(lambda x: torch.cat([x, x]) if x.shape[0] == 1 else x, tuple(example[1:])),
    )
    free = [
        {} if name in meta["folded"] else {d: Dim.AUTO for d in range(t.dim()) if t.shape[d] > 1}
        for name, t in zip(meta["state"], state)
    ]
    each = pytree.tree_map(
        lambda x: {
            0: Dim.DYNAMIC if stacked else Dim.AUTO,
            **({1: Dim.AUTO} if stacked and x.shape[1] > 1 else {}),
        },
        probe,
    )
    return (tuple(state), *probe), (tuple(free), *each)


def others(graph: fx.GraphModule, example: tuple) -> tuple:
    """The example with one more probe and, if the batch is free, one more image."""
    probes, stacked = probe_positions(graph), is_stacked(graph)
    if has_state(graph):
        more = 1 if stacked else _batch_of(graph, example)
        return (example[0], *pytree.tree_map(lambda x: torch.cat([x, _half(x[:more])]), tuple(example[1:])))
    fixed = _batch(graph) != "free"
    if not probes:
        more = not fixed and (example[0].shape[0] > 1 or stacked)
        return tuple(torch.cat([x, _half(x[:1])]) for x in example) if more else example
    if not stacked:
        return tuple(_longer(x, example[0].shape[0]) if i in probes else x for i, x in enumerate(example))
    grown = example
    if not fixed:
        grown = tuple(_longer(x, 1, 1 if i in probes else 0) for i, x in enumerate(example))
    return tuple(_longer(x) if i in probes else x for i, x in enumerate(grown))


def _longer(value: Any, by: int = 1, dim: int = 0) -> Any:
    """Every tensor of a value with its first entries along a dimension once more, halved."""

    def longer(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, _half(x.narrow(dim, 0, by))], dim) if x.dim() > dim else x

    return _each(longer, value)


def _batch_of(graph: fx.GraphModule, example: tuple) -> int:
    sized = next(t for t in example[0] if t.dim() > 1 and t.shape[0] == 0)
    return sized.shape[1]


def _half(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 if x.is_floating_point() else x


def is_stacked(graph: fx.GraphModule) -> bool:
    """Whether probes have the shape (K, B, ...), and not (K*B, ...)."""
    return emitted(graph).get("probes") == "stacked"


def has_state(graph: fx.GraphModule) -> bool:
    """Whether the graph takes a recorded state in place of x0."""
    return emitted(graph).get("form") in ("replay", "pullback")


def probe_positions(graph: fx.GraphModule) -> list[int]:
    """Which of the graph's inputs are probes or cotangents."""
    placeholders = [n for n in graph.graph.nodes if n.op == "placeholder"]
    return [i for i, n in enumerate(placeholders) if info(n).branch == "interpreter"]


def input_names(graph: fx.GraphModule, example: tuple) -> list[str]:
    """One name for each tensor: that of a state's entry, or a dotted one inside another structure."""
    placeholders = [n.name for n in graph.graph.nodes if n.op == "placeholder"]
    states = emitted(graph).get("state", ())
    names = []
    for name, value in zip(placeholders, example):
        leaves = [x for x in pytree.tree_leaves(value) if isinstance(x, torch.Tensor)]
        names += (
            [name]
            if isinstance(value, torch.Tensor)
            else (
                [f"state.{s}" for s in states]
                if name == "state"
                else [f"{name}.{i}" for i in range(len(leaves))]
            )
        )
    return names
