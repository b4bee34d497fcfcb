"""The operators that PyTorch calls core: which have a rule, are written out, or stand as their derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...passes.written_out import has_rule
from ...rules import Rule, registry

KINDS = {
    "rule": "a rule",
    "written out": "written out in operators that have a rule, or of another spelling that has one",
    "derivative": 'its derivative, by `unknown="taylor"`',
    "discrete": "a constant: its values are sizes, integers, truth values, or its derivative is 0",
    "fresh": "no tensor enters it: a constant, or a draw",
    "refused": "refused by name",
}
_FRESH = ("empty_like", "full_like", "rand_like", "randn_like")


def core_operators() -> dict[str, Any]:
    """{name: overload} of the operators of ATen that carry PyTorch's tag "core"."""
    found = {}
    for full in sorted(torch._C._dispatch_get_all_op_names()):
        namespace, _, name = full.partition("::")
        packet, _, overload = name.partition(".")
        if namespace != "aten" or not hasattr(torch.ops.aten, packet):
            continue
        operator = getattr(getattr(torch.ops.aten, packet), overload or "default", None)
        if operator is not None and torch.Tag.core in operator.tags:
            found[name] = operator
    return found


def kind_of(name: str, operator: Any) -> str:
    """What becomes of a core operator on the path of a probe: a key of ``KINDS``."""
    returns = [r.type for r in operator._schema.returns]
    if not any("Tensor" in str(r) for r in returns) or name.split(".")[0] in _WHOLE:
        return "discrete"
    if not any("Tensor" in str(a.type) for a in operator._schema.arguments):
        return "fresh"
    rule = _rule(operator)
    if rule is not None:
        if name.split(".")[0] in _FRESH:
            return "fresh"
        return "discrete" if _is_discrete(rule) else "rule"
    return MEASURED.get(name, "refused")


# integers and truth values, which no rule needs to know; a count of entries is no tensor of a fixed size
_WHOLE = ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "nonzero")


def _rule(operator: Any) -> Rule | None:
    known = registry()
    if not has_rule(operator):
        return None
    name = operator.overloadpacket.__name__
    function: Any = getattr(torch, name, None)
    return known.of_function(operator) or known.functions.get(function) or known.methods.get(name)


def _is_discrete(rule: Rule) -> bool:
    """Whether F is 0 under every policy."""
    return rule.verb == "constant" and rule.variants.get("taylor") is None


X = torch.Size((2, 3, 6, 6))
# calls of the operators that no rule spells, as (operator, x, weights) -> tensors; ``measured`` runs them
CALLS: dict[str, Callable] = {
    "_adaptive_avg_pool2d": lambda op, x, w: op(x, [2, 3]),
    "_adaptive_avg_pool2d_backward": lambda op, x, w: op(x[:, :, :2, :3], w(2, 3, 6, 6)),
    "_adaptive_avg_pool3d": lambda op, x, w: op(x, [2, 3, 2]),
    "_cdist_forward": lambda op, x, w: op(x[0], w(3, 4, 6), 2.0, None),
    "_embedding_bag": lambda op, x, w: op(x[0, 0], torch.tensor([0, 2, 1]), torch.tensor([0, 2]))[0],
    "_log_softmax": lambda op, x, w: op(x, 1, False),
    "_native_batch_norm_legit": lambda op, x, w: op(x, None, None, w(3), w(3), False, 0.1, 1e-5)[0],
    "_native_batch_norm_legit.no_stats": lambda op, x, w: op(x, None, None, True, 0.1, 1e-5)[0],
    "_pdist_forward": lambda op, x, w: op(x[0, 0], 2.0),
    "_softmax": lambda op, x, w: op(x, 1, False),
    "acos": lambda op, x, w: op(torch.tanh(x)),
    "acosh": lambda op, x, w: op(x.abs() + 2),
    "asin": lambda op, x, w: op(torch.tanh(x)),
    "avg_pool2d_backward": lambda op, x, w: op(
        x[:, :, :3, :3], w(2, 3, 6, 6), [2, 2], [2, 2], [0, 0], False, True, None
    ),
    "constant_pad_nd": lambda op, x, w: op(x, [1, 2], 0.5),
    "convolution": lambda op, x, w: op(x, w(4, 3, 3, 3), w(4), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    "convolution_backward": lambda op, x, w: op(
        x[:, :, :4, :4],
        w(2, 2, 6, 6),
        w(3, 2, 3, 3),
        None,
        [1, 1],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        1,
        [True, False, False],
    )[0],
    "embedding_dense_backward": lambda op, x, w: op(x[0, 0], torch.tensor([0, 2, 1, 0, 3, 3]), 5, -1, False),
    "fmod.Scalar": lambda op, x, w: op(x, 0.7),
    "fmod.Tensor": lambda op, x, w: op(x, w(6) + 1),
    "grid_sampler_2d": lambda op, x, w: op(x, torch.tanh(w(2, 4, 4, 2)), 0, 0, False),
    "max_pool2d_with_indices_backward": lambda op, x, w: op(
        x[:, :, :3, :3],
        w(2, 3, 6, 6),
        [2, 2],
        [2, 2],
        [0, 0],
        [1, 1],
        False,
        torch.arange(36).view(6, 6)[::2, ::2].expand(2, 3, 3, 3).contiguous(),
    ),
    "native_group_norm": lambda op, x, w: op(x, w(3), w(3), 2, 3, 36, 1, 1e-5)[0],
    "native_layer_norm": lambda op, x, w: op(x, [6], w(6), w(6), 1e-5)[0],
    "prod": lambda op, x, w: op(x[0, 0, :2]),
    "prod.dim_int": lambda op, x, w: op(x, 3),
    "reflection_pad1d": lambda op, x, w: op(x[0], [1, 2]),
    "reflection_pad2d": lambda op, x, w: op(x, [1, 2, 2, 1]),
    "reflection_pad3d": lambda op, x, w: op(x, [1, 2, 2, 1, 1, 1]),
    "remainder.Scalar": lambda op, x, w: op(x, 0.7),
    "remainder.Tensor": lambda op, x, w: op(x, w(6) + 1),
    "replication_pad2d": lambda op, x, w: op(x, [1, 2, 2, 1]),
    "replication_pad3d": lambda op, x, w: op(x, [1, 2, 2, 1, 1, 1]),
    "scatter_reduce.two": lambda op, x, w: op(
        w(2, 3, 6, 6), 3, torch.zeros(2, 3, 6, 6).long(), x, "sum", include_self=True
    ),
}
# what ``measured`` says of them; a test compares the two
MEASURED = {
    "_cdist_forward": "derivative",
    "_log_softmax": "written out",
    "_native_batch_norm_legit": "written out",
    "_native_batch_norm_legit.no_stats": "written out",
    "_softmax": "written out",
    "acos": "derivative",
    "acosh": "derivative",
    "asin": "derivative",
    "constant_pad_nd": "written out",
    "copy": "written out",
    "embedding_dense_backward": "written out",
    "fmod.Scalar": "derivative",
    "fmod.Tensor": "derivative",
    "grid_sampler_2d": "written out",
    "native_group_norm": "written out",
    "native_layer_norm": "written out",
    "prod": "derivative",
    "prod.dim_int": "derivative",
    "reflection_pad1d": "written out",
    "reflection_pad2d": "written out",
    "reflection_pad3d": "written out",
    "remainder.Scalar": "derivative",
    "remainder.Tensor": "derivative",
    "replication_pad2d": "written out",
    "replication_pad3d": "written out",
    "scatter_reduce.two": "derivative",
}


class Called(torch.nn.Module):
    """One core operator on the path of a probe, with frozen weights for its other tensors."""

    def __init__(self, name: str):
        super().__init__()
        self.operator, self.call = core_operators()[name], CALLS[name]
        self.made: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, x):
        """What the operator gives."""
        return self.call(self.operator, x, self._weight)

    def _weight(self, *shape: int) -> torch.Tensor:
        if shape not in self.made:
            generator = torch.Generator().manual_seed(len(shape))
            self.made[shape] = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.made[shape]


def measured(name: str) -> tuple[str, float]:
    """(kind, error of F^T u against autograd) of a core operator that no rule spells."""
    from ...errors import FxscopeError
    from ...linop.reader import interpret

    torch.manual_seed(0)
    x = torch.randn(X, dtype=torch.float64).requires_grad_()
    model = Called(name)
    y = model(x)
    u = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, x, u)
    for unknown, kind in (("refuse", "written out"), ("taylor", "derivative")):
        try:
            lin = interpret(model, x.detach(), policy="taylor", unknown=unknown)
        except FxscopeError:
            continue
        return kind, float((lin.F.T @ u - expected).abs().max() / (1 + expected.abs().max()))
    return "refused", 0.0


def core_table() -> list[str]:
    """The table of docs/operators.md, in Markdown."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, operator in core_operators().items():
        found[kind_of(name, operator)].append(name)
    rows = [
        "",
        "## Core operators",
        "",
        f"PyTorch's decompositions end in {sum(map(len, found.values()))} operators that it calls core."
        " On the path of a probe each of them is",
        "",
        "| what | count | operators |",
        "|---|---|---|",
    ]
    for kind, said in KINDS.items():
        names = ", ".join(found[kind]).replace("_", "\\_")
        rows.append(f"| {said} | {len(found[kind])} | {names} |")
    return rows
