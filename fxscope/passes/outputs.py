"""The outputs that are read: the main tensor of a Hugging Face model, or the places that the user names."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..frontend.places import find_place
from ..graph.ir import acts
from .classify import is_structure

MAIN_OUTPUTS = ("logits", "reconstruction", "last_hidden_state")  # of a ModelOutput, in this order


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors of an output structure (tuple, list, dict, dataclass), in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors_of(v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors_of(v)]
    if hasattr(value, "__dataclass_fields__"):
        return [t for name in value.__dataclass_fields__ for t in tensors_of(getattr(value, name))]
    return []


def main_output(y: Any) -> Any:
    """What ``transform`` reads by default: the whole output, or a ModelOutput's main tensor."""
    if not _is_model_output(type(y)):
        return y
    return y[next((n for n in MAIN_OUTPUTS if y.get(n) is not None), next(iter(y)))]


def keep_main_output(gm: fx.GraphModule) -> None:
    """If the output is a Hugging Face ``ModelOutput``, read only its main tensor (see ``MAIN_OUTPUTS``)."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    value = output.args[0]
    if isinstance(value, fx.Node) and is_structure(value) and _is_model_output(value.target):
        names = [n for n in MAIN_OUTPUTS if n in value.kwargs] or list(value.kwargs)
        output.args = (value.kwargs[names[0]],)
        gm.graph.eliminate_dead_code(is_impure_node=acts)


def _is_model_output(kind: Any) -> bool:
    return any(base.__name__ == "ModelOutput" for base in kind.__mro__)


def cut(gm: fx.GraphModule, outputs: str | list[str] | dict[str, str]) -> None:
    """Make the graph end at the named places."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    if isinstance(outputs, str):
        result: Any = find_place(gm, outputs)
    elif isinstance(outputs, dict):
        result = {name: find_place(gm, place) for name, place in outputs.items()}
    else:
        result = tuple(find_place(gm, place) for place in outputs)
    output.args = (result,)
    gm.graph.eliminate_dead_code(is_impure_node=acts)
