"""The GraphModule that ``fxscope.transform`` returns, whose calls are checked.

The assertions of a graph are part of it wherever it runs. What they cannot see (None, a numpy array, the
error of another operator) is checked around the call, by the class of the module. A graph that is scripted,
exported, compiled or pickled leaves this class behind, and keeps its assertions.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np
import torch
import torch.fx as fx

from ..errors import FxscopeError, ModelFails, WrongArgument, WrongInput, said
from ..graph.arguments import check_images, check_tensor, shown
from ..graph.ir import emitted, info
from ..graph.registry import known

_TAKES = {
    "x0": "x0 as the model takes it, a batch (B, ...) of the dtype and on the device of its weights",
    "x1": "x1 of the dtype and shape of x0 with K probes of it, {K}",
    "y2": "y2 in the structure of the outputs, with K cotangents of them, {K}",
    "index": "index of int64, {index}, positions in the flattened output of one image",
    "state": "the state that the graph of the form record gave",
}

LINE = 119  # letters of a repr
GIVES = {
    "pair": "(y0, y1)",
    "filter": "F x1",
    "residual": "r",
    "adjoint": "F^T y2",
    "row": "(y0, row, r_k)",
    "argmax": "(y0, index, row, r_k)",
    "record": "(y0, state)",
    "replay": "F x1",
    "pullback": "F^T y2",
}


class CheckedGraph(fx.GraphModule):
    """A GraphModule whose calls are checked, and which shows itself; nothing else is different."""

    def __new__(cls, *args: Any, **kwargs: Any) -> CheckedGraph:
        """Give the graph a code object of its own, since torch.compile counts what it compiled of each."""
        gm: Any = super().__new__(cls, *args, **kwargs)
        call = CheckedGraph.__call__
        code, names = call.__code__.replace(), call.__globals__
        type(gm).__call__ = FunctionType(code, names, call.__name__, None, call.__closure__)
        return gm

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph.

        Raises
        ------
        WrongInput, WrongArgument
            If an argument is not what the graph takes.
        ModelFails
            If an operator of the graph fails on the arguments.
        """
        traced = any(isinstance(v, fx.Proxy) for v in (*args, *kwargs.values()))
        if traced or torch.compiler.is_compiling():
            return super().__call__(*args, **kwargs)
        given = dict(self._given(args, kwargs))
        try:
            return super().__call__(*args, **kwargs)
        except AssertionError as error:
            raise WrongInput(f"{error}; given were {_listed(given)}") from error
        except (FxscopeError, torch.OutOfMemoryError):
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ModelFails(self._failed(given, error)) from error

    def __deepcopy__(self, memo: dict[int, Any]) -> CheckedGraph:
        """A copy that keeps the name of the model, which torch's own copy of a GraphModule forgets."""
        found: Any = super().__deepcopy__(memo)
        type(found).__name__ = type(self).__name__
        return found

    def __repr__(self) -> str:
        """The form, the model, and what the graph takes and gives, in one line."""
        return _line(self)

    def _repr_html_(self) -> str | None:
        """The drawing and the counts of the graph, for a notebook."""
        show = known(self, "html")
        return show(self) if show else None

    def _given(self, args: tuple, kwargs: dict) -> Iterator[tuple[str, Any]]:
        """The arguments by name, each of a kind that the graph takes."""
        inputs = list(self._inputs())
        names = [str(node.target) for node in inputs]
        given = {**dict(zip(names, args)), **kwargs}
        if len(args) + len(kwargs) != len(names) or set(given) != set(names):
            got = ", ".join([*map(shown, args), *(f"{k}={shown(v)}" for k, v in kwargs.items())])
            raise WrongArgument(f"{self._name()} takes ({', '.join(names)}); got ({got})")
        for node in inputs:
            value = given[str(node.target)]
            _check_kind(self, node, value)
            yield str(node.target), value

    def _inputs(self) -> Iterator[fx.Node]:
        for node in self.graph.nodes:
            if node.op != "placeholder":
                return
            yield node

    def _name(self) -> str:
        return f"the {emitted(self).get('form', 'emitted')} graph"

    def _failed(self, given: dict[str, Any], error: Exception) -> str:
        weight = next(iter(self.parameters()), None)
        held = "" if weight is None else f"; its weights are {weight.dtype} on {weight.device}"
        stacked = emitted(self).get("probes") == "stacked"
        shape, index = ("(K, B, ...)", "(K, B)") if stacked else ("(K*B, ...)", "(K*B,)")
        kinds = [_kind(node) for node in self._inputs()]
        takes = [text.format(K=shape, index=index) for kind, text in _TAKES.items() if kind in kinds]
        return (
            f"{self._name()} does not run on these arguments: {said(error)}. Given were"
            f" {_listed(given)}{held}. It takes {', and '.join(takes)}"
        )


def _line(gm: fx.GraphModule) -> str:
    """``<Net as pair: (x0, x1) -> (y0, y1), policy freeze, 12 nodes>``; one half made has a name alone."""
    name = type(gm).__name__
    try:
        about, graph = emitted(gm), gm.graph
        takes = ", ".join(str(node.target) for node in graph.nodes if node.op == "placeholder")
    except AttributeError:
        return f"<{name[:40]}>"
    form, policy = about.get("form", "graph"), about.get("policy")
    parts = [f"{name.removesuffix(f'_{form}')[:40]} as {form}: ({takes}) -> {GIVES.get(form, 'y')}"]
    line = ", ".join([*parts, *([f"policy {policy}"] if policy else []), f"{len(graph.nodes)} nodes"])
    line = " ".join(line.split())
    return f"<{line}>" if len(line) < LINE - 1 else f"<{line[: LINE - 5]}...>"


def _kind(node: fx.Node) -> str:
    """What an input is: "x0", "x1", "y2", "index", "state", or "" for a further input of the model."""
    base = info(node)
    if base.branch == "interpreter":
        return "index" if base.role == "shape" else "y2" if base.place == "output" else "x1"
    if base.place == "state" and node.type is not None:
        return "state"
    return "x0" if base.role == "affine" else ""


def _check_kind(gm: CheckedGraph, node: fx.Node, value: Any) -> None:
    """Raise if a value is not of the kind that an input takes."""
    kind, name = _kind(node), f"{gm._name()}: {node.target}"
    if kind == "state":
        _check_state(name, value, len(emitted(gm).get("state", ())))
    elif kind in ("x0", "x1", "index") or (kind == "y2" and node.type is torch.Tensor):
        _check_dense(gm, name, value)
        if kind == "x0":
            check_images(name, value)
        elif value.dim() and not value.numel():
            raise WrongInput(f"{name}: expected one probe at least, got {shown(value)}")
    elif isinstance(value, np.ndarray):
        check_tensor(name, value)


def _check_dense(gm: CheckedGraph, name: str, value: Any) -> None:
    if isinstance(value, torch.Tensor) and value.device.type == "meta":
        return  # sizes alone, which the operators check
    check_tensor(name, value)


def _check_state(name: str, value: Any, count: int) -> None:
    tensors = isinstance(value, (list, tuple)) and all(isinstance(v, torch.Tensor) for v in value)
    if not tensors or len(value) != count:
        got = f"{len(value)} of them" if tensors else shown(value)
        raise WrongInput(
            f"{name}: expected the {count} tensors of a state, got {got}; transform(model, 'record')(x0)"
            " gives (y0, state), with the same policy, inputs, outputs and probes"
        )


def _listed(given: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {_in_words(value)}" for name, value in given.items())


def _in_words(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)} on {value.device}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    return shown(value)
