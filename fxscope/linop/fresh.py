"""``Fresh``: detect weights, buffers and recorded values that changed after an interpreter was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..errors import StaleInterpreter
from ..graph.constants import attribute_value

# tensors of up to WHOLE numbers are compared in full; of a larger tensor, SPREAD numbers are compared
WHOLE, SPREAD = 1024, 32


class _Known:
    """Versions, memories and dtypes of tensors at an earlier time; inference tensors have no version.

    They are compared list by list, since a network has hundreds of tensors and every product asks.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]):
        self._tensors = dict(tensors)
        each = self._tensors.values()
        self._counted = [t for t in each if not t.is_inference()]
        self._strided = [t for t in each if t.layout is torch.strided]  # a sparse tensor has several parts
        self._was = self._now()

    def _now(self) -> tuple[list, list, list]:
        return (
            [t._version for t in self._counted],
            [t.data_ptr() for t in self._strided],
            [t.dtype for t in self._tensors.values()],
        )

    def change(self) -> str | None:
        """The name of a tensor whose version, memory or dtype is another one."""
        now = self._now()
        if now == self._was:
            return None
        kinds = (self._counted, self._strided, self._tensors.values())
        each = (t for kind, a, b in zip(kinds, now, self._was) for t, x, y in zip(kind, a, b) if x != y)
        changed = next(each)
        return next(name for name, t in self._tensors.items() if t is changed)


class Weights:
    """The weights and buffers that graphs read, as they are when this is made.

    A weight or buffer has changed if it is another object, or if its memory, dtype or version differs. Fused
    optimizers, the update of batch norm and writes through ``.data`` do not change the version. Numbers are
    therefore compared too: all of a tensor of up to ``WHOLE`` numbers, and ``SPREAD`` of a larger one.
    """

    def __init__(self, model: nn.Module, graphs: Iterable[fx.GraphModule]):
        read = [(gm, name) for gm in graphs for n in gm.graph.nodes if n.users for name in _read(gm, n)]
        weights = {name: attribute_value(gm, name) for gm, name in read}
        tensors = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
        self._known = _Known(tensors)
        steps = [step for name, value in tensors.items() for step in _chain(model, name, value)]
        self._places = list({(id(table), key): (table, key, *rest) for table, key, *rest in steps}.values())
        self._samples = _samples(tensors)

    def replaced(self) -> str | None:
        """The name of a tensor in whose place the model holds another one; graphs read the former one."""
        return next((n for table, key, value, n in self._places if table.get(key) is not value), None)

    def change(self) -> tuple[str, str] | None:
        """The name of a tensor that is not as it was, and what happened to it; None if all are."""
        replaced = self.replaced()
        if replaced is not None:
            return replaced, "was replaced"
        name = self._known.change()
        if name is None:
            name = next((found for each in self._samples if (found := each.change()) is not None), None)
        return None if name is None else (name, "was changed")


class Fresh:
    """The weights that an interpreter was made from, and its own tensors; ``check`` raises if one changed."""

    def __init__(self, weights: Weights):
        self.weights = weights
        self._held: dict[str, _Known] = {}

    def hold(self, name: str, tensors: Iterable[torch.Tensor]) -> None:
        """Detect in-place writes also to recorded values, which users of the interpreter can get hold of."""
        self._held[name] = _Known({str(i): t for i, t in enumerate(tensors)})

    def check(self) -> None:
        """Raise ``StaleInterpreter`` with the name of the tensor that changed."""
        changed = self.weights.change()
        if changed is not None:
            raise StaleInterpreter(_said(*changed))
        for name, known in self._held.items():
            if known.change() is not None:
                raise StaleInterpreter(_said(f"lin.{name}", "was written over"))


def _read(gm: fx.GraphModule, node: fx.Node) -> list[str]:
    """The paths of the tensors that a node reads from the graph's module; all those of a module it calls."""
    if node.op == "get_attr":
        return [str(node.target)]
    if node.op != "call_module":
        return []
    module = gm.get_submodule(str(node.target))
    names = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
    return [f"{node.target}.{name}" for name in names]


@dataclass(frozen=True)
class _Sample:
    """Some numbers of all tensors of one dtype and device: views of them, and their former values."""

    names: tuple[str, ...]
    views: tuple[torch.Tensor, ...]
    values: torch.Tensor

    def change(self) -> str | None:
        """The name of a tensor of which a number has changed."""
        now = torch.cat(self.views)
        if torch.equal(_bytes(now), _bytes(self.values)):
            return None
        sizes = [len(v) for v in self.views]
        pairs = zip(self.names, now.split(sizes), self.values.split(sizes))
        return next(name for name, a, b in pairs if not torch.equal(_bytes(a), _bytes(b)))


def _samples(tensors: dict[str, torch.Tensor]) -> list[_Sample]:
    groups: dict[tuple, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if tensor.layout is torch.strided and tensor.numel() and tensor.device.type != "meta":
            groups.setdefault((tensor.dtype, tensor.device), {})[name] = _spread(tensor)
    with torch.no_grad():
        return [_Sample(tuple(g), tuple(g.values()), torch.cat(list(g.values()))) for g in groups.values()]


def _spread(tensor: torch.Tensor) -> torch.Tensor:
    """All numbers of a small tensor as a view (n,), or numbers at equal distances of a large one."""
    flat, count = tensor.detach(), tensor.numel()
    reach = sum((n - 1) * s for n, s in zip(flat.shape, flat.stride())) + 1
    if reach != count:  # the memory has gaps, or several entries share a number
        while flat.dim() > 1:
            flat = flat[0]
        return flat.reshape(-1)[:WHOLE]
    step = 1 if count <= WHOLE else count // SPREAD
    return flat.as_strided((count if step == 1 else SPREAD,), (step,), flat.storage_offset())


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return values.view(torch.uint8)  # equal bytes: NaN equals itself


def _chain(model: nn.Module, path: str, tensor: torch.Tensor) -> list[tuple[dict, str, Any, str]]:
    """(table, key, value, path) of every step from the model to a tensor; [] if it is not there."""
    found: list[tuple[dict, str, Any, str]] = []
    value: Any = model
    for name in path.split("."):
        if not isinstance(value, nn.Module) or isinstance(value, torch.jit.ScriptModule):
            return []
        tables = (value._parameters, value._buffers, value._modules, vars(value))
        table = next((t for t in tables if name in t), None)
        if table is None:
            return []
        value = table[name]
        found.append((table, name, value, path))
    return found if value is tensor else []


def _said(name: str, what: str) -> str:
    return (
        f"{name} {what} after this interpreter was made: its decisions are those of the values before. "
        "Make a new one: reader(x0) of fxscope.prepare, or fxscope.interpret(model, x0)"
    )
