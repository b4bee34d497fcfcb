"""Which calls give views, and which write into their arguments: from torch's operator schemas.

A schema marks a view (``Tensor(a) -> Tensor(a)``) and a write (``Tensor(a!)``). Composite operators (reshape,
to, dropout, type_as) may give a view or a copy, whatever their schema says; they are tried on small tensors:
contiguous ones, transposed ones, of another dtype and device.
"""

from __future__ import annotations

import enum
import functools
import inspect
import operator
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.fx as fx
import torch.nn.functional as F
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils import _pytree as pytree

from .interpreter import evaluated
from .ir import notes

# of the tensors of a trial, in every dimension: divisible by 2, so that chunks and unflattened dimensions fit
_SIDE = 4
# the first that an operator takes tells; at 4 a flattening of any two dimensions of a transposed tensor
# copies
_RANKS = (4, 3, 5, 2, 1)
_PATCHES = {F.unfold: "im2col", F.fold: "col2im"}  # Tensor.unfold, a view, is another operator
_BINDINGS = {"T": "numpy_T", "H": "matrix_H", "data": "detach"}  # attributes whose operator has another name
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_WHOLE = (OpOverload, OpOverloadPacket)


class Shares(enum.Enum):
    """Whether a call's result is in the memory of its argument."""

    NEVER = "a copy"
    ALWAYS = "a view"
    CONTIGUOUS = "a view of a contiguous tensor, else a copy"
    UNKNOWN = "a view or a copy"
    TANGLED = "in the memory of one of several arguments, or of a call that nothing is known of"


def operator_name(node: fx.Node) -> str:
    """The bare name of the operator a call node runs; of an attribute that is read, the attribute's."""
    if node.op == "call_function" and node.target is getattr:
        name = str(node.args[1])
        return _BINDINGS.get(name, name)
    if isinstance(node.target, str):
        return node.target
    if isinstance(node.target, OpOverload):
        return node.target.overloadpacket.__name__
    if node.target in _PATCHES:
        return _PATCHES[node.target]
    return getattr(node.target, "__name__", "").split(".")[0]


def packet(name: str) -> OpOverloadPacket | None:
    """The aten operators of a name; None where there are none."""
    found = getattr(torch.ops.aten, name, None) if name.isidentifier() and not name.startswith("__") else None
    return found if isinstance(found, OpOverloadPacket) else None


@functools.cache
def overloads_of(found: OpOverloadPacket) -> tuple[OpOverload, ...]:
    """The overloads that a model can call: none of TorchScript's own, and none that writes into ``out``."""
    known = []
    for name in found.overloads():
        try:
            overload = getattr(found, name)
            overload.has_kernel_for_dispatch_key(_COMPOSITE)
        except RuntimeError:
            continue
        if not _writes_out(overload):
            known.append(overload)
    return tuple(known)


def _writes_out(overload: OpOverload) -> bool:
    """Whether an overload is the ``out=`` form of an operator, by its schema.

    The oldest supported torch has no tag for it.
    """
    arguments = overload._schema.arguments
    return any(a.kwarg_only and a.alias_info is not None and a.alias_info.is_write for a in arguments)


def overloads(node: fx.Node) -> tuple[OpOverload, ...]:
    """The operators that a call may run; none for a Python function or a module."""
    if isinstance(node.target, OpOverload):
        return (node.target,)
    if isinstance(node.target, OpOverloadPacket):
        return overloads_of(node.target)
    if node.op not in ("call_function", "call_method") or not _is_torch(node):
        return ()
    found = packet(operator_name(node))
    return () if found is None else overloads_of(found)


def _is_torch(node: fx.Node) -> bool:
    module = getattr(node.target, "__module__", None) or "torch"
    return (
        node.op == "call_method"
        or node.target is getattr
        or module.partition(".")[0] in ("torch", "_operator")
    )


def tensor_arguments(value: Any, sizes: set[fx.Node]) -> list[fx.Node]:
    """The nodes of an argument that are not sizes, in order."""
    found: list[fx.Node] = []
    fx.node.map_arg(value, lambda n: found.append(n) if n not in sizes and n not in found else None)
    return found


def bases(node: fx.Node, sizes: set[fx.Node]) -> list[tuple[fx.Node, Shares]]:
    """The arguments in whose memory a call's result is, or may be."""
    if node in sizes or node.op not in ("call_function", "call_method", "call_module"):
        return []
    given = tensor_arguments((node.args, node.kwargs), sizes)
    if not given:
        return []
    if node.op == "call_module" or (not overloads(node) and not _is_torch(node)):
        return [(n, Shares.TANGLED) for n in given]
    if operator_name(node) in ("getitem", "__getitem__"):
        return _item(node, sizes)
    known = overloads(node)
    plain = bool(known) and not any(o.has_kernel_for_dispatch_key(_COMPOSITE) for o in known)
    if not plain:
        return _tried(node, given, sizes, known)
    annotated = any(r.alias_info is not None for o in known for r in o._schema.returns)
    return [(given[0], Shares.ALWAYS)] if annotated else []


def _item(node: fx.Node, sizes: set[fx.Node]) -> list[tuple[fx.Node, Shares]]:
    """Indexing by numbers, slices, None and ... is a view; by tensors, lists and bools a copy."""
    base: Any
    base, key = node.args
    if isinstance(key, str):
        return [(base, Shares.TANGLED)]
    return [(base, Shares.ALWAYS)] if is_basic(key, sizes) and base not in sizes else []


def is_basic(key: Any, sizes: set[fx.Node]) -> bool:
    """Whether an index holds no tensor, list or bool: what torch takes a view for."""
    if isinstance(key, tuple):
        return all(is_basic(k, sizes) for k in key)
    if isinstance(key, fx.Node):
        return key in sizes
    return (
        key is None
        or key is Ellipsis
        or isinstance(key, slice)
        or (isinstance(key, int) and not isinstance(key, bool))
    )


def _tried(
    node: fx.Node, given: list[fx.Node], sizes: set[fx.Node], known: tuple[OpOverload, ...]
) -> list[tuple[fx.Node, Shares]]:
    """Whether a call gives a view, found by trial.

    A call that takes none of the small tensors is what its schema says, and may be a view where that says so.
    """
    found = trial(node, sizes)
    if found is None:
        marked = any(r.alias_info is not None for o in known for r in o._schema.returns) or any(
            torch.Tag.maybe_aliasing_or_mutating in o.tags for o in known
        )
        return [(given[0], Shares.UNKNOWN)] if marked else []
    shared = {n: s for n, s in found.items() if s is not Shares.NEVER}
    if len(shared) > 1:
        return [(n, Shares.TANGLED) for n in shared]
    return list(shared.items())


def trial(node: fx.Node, sizes: set[fx.Node]) -> dict[fx.Node, Shares] | None:
    """{argument: whether the result is in its memory}, seen on small tensors.

    None where the call takes none of these tensors.
    """
    places: list[fx.Node] = tensor_arguments((node.args, node.kwargs), sizes)
    key = repr(
        fx.node.map_arg(
            (node.op, str(node.target), id(node.target), node.args, node.kwargs),
            lambda n: f"%{places.index(n)}" if n in places else _stand_in(n, 0),
        )
    )
    if key not in _TRIALS:
        with warnings.catch_warnings(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            _TRIALS[key] = next(
                (found for rank in _RANKS if (found := _at(node, places, rank)) is not None), None
            )
    found = _TRIALS[key]
    return None if found is None else dict(zip(places, found))


_TRIALS: dict[str, list[Shares] | None] = {}


def _at(node: fx.Node, places: list[fx.Node], rank: int) -> list[Shares] | None:
    """The verdicts at one number of dimensions."""
    plain = _run(node, places, rank, _contiguous)
    if plain is None:
        return None
    others = [plain, *(_run(node, places, rank, make) for make in (_single, _elsewhere))]
    contiguous = [o for o in others if o is not None]
    turned = _run(node, places, rank, _transposed)
    return [
        _verdict([o[i] for o in contiguous], None if turned is None else turned[i])
        for i in range(len(places))
    ]


def _verdict(contiguous: list[bool], transposed: bool | None) -> Shares:
    if not any(contiguous) and not transposed:
        return Shares.NEVER
    if not all(contiguous):
        return Shares.UNKNOWN
    return Shares.CONTIGUOUS if transposed is False else Shares.ALWAYS


def _contiguous(rank: int) -> torch.Tensor:
    return torch.zeros((_SIDE,) * rank, dtype=torch.float64)


def _single(rank: int) -> torch.Tensor:
    return torch.zeros((_SIDE,) * rank, dtype=torch.float32)


def _elsewhere(rank: int) -> torch.Tensor:
    return torch.zeros((_SIDE,) * rank, dtype=torch.float64, device="meta")


def _transposed(rank: int) -> torch.Tensor:
    return _contiguous(rank).permute(tuple(reversed(range(rank))))


def _run(node: fx.Node, places: list[fx.Node], rank: int, make: Callable) -> list[bool] | None:
    """Whether the result is in the memory of each argument; None where the call refuses these tensors.

    The other arguments are contiguous.
    """
    samples = [make(rank)] + [
        _elsewhere(rank) if make is _elsewhere else _contiguous(rank) for _ in places[1:]
    ]
    args, kwargs = fx.node.map_arg(
        (node.args, node.kwargs), lambda n: samples[places.index(n)] if n in places else _stand_in(n, rank)
    )
    try:
        result = evaluated(node, args, kwargs)
    except NotImplementedError:
        return [False] * len(places) if make is _elsewhere else None  # the values would have to move: a copy
    except Exception:  # shapes, dtypes and kinds that the call does not take
        return None
    tensors = [t for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)]
    is_alias_of = torch._C._is_alias_of  # type: ignore[attr-defined]  # not in torch's stubs
    return [any(is_alias_of(t, sample) for t in tensors) for sample in samples]


def _stand_in(node: fx.Node, rank: int) -> Any:
    """A value for a size: the sizes of the trial's tensors, one of them, or their dtype or device."""
    name = operator_name(node)
    if name in ("size", "shape") and len(node.args) + len(node.kwargs) == (
        2 if node.target is getattr else 1
    ):
        return (_SIDE,) * rank
    return {"dtype": torch.float64, "device": torch.device("cpu")}.get(name, _SIDE)


def in_place_flag(node: fx.Node) -> bool:
    """Whether a function is called with ``inplace=True``, by name or by position."""
    if "inplace" in node.kwargs:
        return bool(node.kwargs["inplace"])
    if node.op != "call_function" or isinstance(node.target, _WHOLE) or not callable(node.target):
        return False
    names = parameters(node.target)
    place = names.index("inplace") if "inplace" in names else len(node.args)
    return place < len(node.args) and bool(node.args[place])


@functools.cache
def parameters(function: Callable) -> tuple[str, ...]:
    """The names of a Python function's parameters, in order; none for a builtin."""
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin
        return ()


AUGMENTED: dict[Callable, Callable] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.ipow: operator.pow,
    operator.imod: operator.mod,
    operator.iand: operator.and_,
    operator.ior: operator.or_,
    operator.ixor: operator.xor,
    operator.ilshift: operator.lshift,
    operator.irshift: operator.rshift,
}
_BY_METHOD = {f"__{function.__name__}__": plain for function, plain in AUGMENTED.items()}


def augmented(node: fx.Node) -> Callable | None:
    """The operator of ``x += y``, written as such or as the method ``__iadd__``; None for other calls."""
    if node.op == "call_method":
        return _BY_METHOD.get(str(node.target))
    return AUGMENTED.get(cast(Callable, node.target)) if node.op == "call_function" else None


def is_assignment(node: fx.Node) -> bool:
    """x[key] = value."""
    return (node.op == "call_function" and node.target is operator.setitem) or (
        node.op == "call_method" and node.target == "__setitem__"
    )


def has_underscore(node: fx.Node) -> bool:
    """Whether a call is named as torch names what writes into its first argument: relu_, nn.init.normal_.

    Python's ``operator.and_``, ``or_`` and ``not_`` have the underscore because of a keyword, and write
    nothing.
    """
    name = operator_name(node)
    return (
        node.op in ("call_function", "call_method")
        and getattr(node.target, "__module__", "") != "_operator"
        and name.endswith("_")
        and not name.startswith("__")
        and not name.endswith("__")
    )


def writes(node: fx.Node) -> bool:
    """Whether a call writes into one of its arguments."""
    if node.op not in ("call_function", "call_method") or notes(node).get("counts"):
        return False
    return bool(
        augmented(node)
        or is_assignment(node)
        or has_underscore(node)
        or in_place_flag(node)
        or node.kwargs.get("out") is not None
    )


def changes_shape_alone(node: fx.Node) -> bool:
    """squeeze_, t_, detach_: the tensor itself becomes a view of what it was; no value is written."""
    return has_underscore(node) and any(torch.Tag.inplace_view in o.tags for o in overloads(node))


def draws(node: fx.Node) -> bool:
    """normal_, uniform_, bernoulli_: every value is a draw."""
    return has_underscore(node) and any(torch.Tag.nondeterministic_seeded in o.tags for o in overloads(node))


def keeps_contiguity(node: fx.Node) -> bool:
    """Whether a view of a contiguous tensor is contiguous again, seen on a small tensor.

    False where the call could not be tried.
    """
    sample = _contiguous(_RANKS[0])
    args, kwargs = fx.node.map_arg(
        (node.args, node.kwargs),
        lambda n: sample if n is node.all_input_nodes[0] else _stand_in(n, _RANKS[0]),
    )
    try:
        result = evaluated(node, args, kwargs)
    except Exception:  # as in a trial
        return operator_name(node) in ("view", "unflatten")  # to sizes that are not the trial's
    return all(t.is_contiguous() for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor))
