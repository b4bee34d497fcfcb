"""Graphs of an interpreter through ``torch.compile``: one program for all numbers of probes and images.

A number of 1 may be a case of its own: torch's matrix products and layouts ask for it. ``torch._dynamo`` is
imported where a graph is compiled: it takes longer than all of this package.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.fx as fx
from torch.fx.experimental import _config as symbolic_sizes
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, first_line
from ..graph.constants import attribute_value
from ..passes.sizes import on_fake_tensors

Dims = Sequence[tuple[int, ...]]  # the dimensions of every tensor among the arguments whose sizes are free
_log = logging.getLogger("fxscope")


def backend_of(compile: bool | str) -> str | None:
    """The backend of ``torch.compile`` that an argument asks for; None for none."""
    if compile is False or compile is None:
        return None
    from torch._dynamo import list_backends

    known = list_backends(exclude_tags=None)
    backend = "inductor" if compile is True else compile
    if backend not in known:
        raise ValueError(f"compile={compile!r}; it is True, False or one of {', '.join(known)}")
    return backend


class Compiled:
    """A graph that is compiled when it first runs, as a whole, with K and B free and all other sizes fixed.

    On a GPU its kernels are captured as CUDA graphs, one for each number of probes that is a power of two:
    others are filled up with zeros. Not measured.

    Parameters
    ----------
    graph : GraphModule
        The graph.
    backend : str
        Of ``torch.compile``.
    dims : list of tuple
        The free dimensions of the tensors that are its arguments, those of the probes left out.
    probes : bool
        Whether the last argument holds probes, (K, B, ...).
    """

    def __init__(self, graph: fx.GraphModule, backend: str, dims: Dims, probes: bool = False):
        self.graph, self._dims, self._probes = graph, dims, probes
        self._captures = backend == "inductor" and any(t.is_cuda for t in tensors_read(graph))
        options: Any = {"triton.cudagraphs": True} if self._captures else None
        self._run = torch.compile(graph, fullgraph=True, backend=backend, options=options)

    def __call__(self, *args: Any) -> Any:
        """What the graph gives, to rounding."""
        leaves, structure = pytree.tree_flatten(args)
        count = leaves[-1].shape[0] if self._probes else 0
        if self._captures and self._probes:
            leaves = filled_up(leaves, len(self._dims))
        free = itertools.chain(self._dims, itertools.repeat((0, 1) if self._probes else ()))
        given = pytree.tree_unflatten([_marked(t, dims) for t, dims in zip(leaves, free)], structure)
        found = self._called(given)
        if not self._captures:
            return found
        # the next replay of a captured graph writes over what this one gave
        return pytree.tree_map_only(torch.Tensor, lambda t: (t[:count] if self._probes else t).clone(), found)

    def _called(self, args: Any) -> Any:
        from torch._dynamo.exc import TorchDynamoException

        if self._captures:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            with _one_program():
                return self._run(*args)
        except TorchDynamoException as error:
            raise FxscopeError(
                f"torch.compile does not take the {type(self.graph).__name__} of this network:"
                f" {first_line(getattr(error, 'inner_exception', error))}; leave out compile="
            ) from error


def tensors_read(graph: fx.GraphModule) -> Iterator[torch.Tensor]:
    """The tensors that a graph holds and reads: weights, buffers and constants."""
    for node in graph.graph.nodes:
        value = attribute_value(graph, node.target) if node.op == "get_attr" else None
        if isinstance(value, torch.Tensor):
            yield value
    yield from graph.parameters()


def filled_up(leaves: list[torch.Tensor], first: int) -> list[torch.Tensor]:
    """The tensors from number ``first`` on with zeros up to a power of two of probes."""
    more = (1 << (leaves[-1].shape[0] - 1).bit_length()) - leaves[-1].shape[0]
    return [
        torch.cat([t, t.new_zeros(more, *t.shape[1:])]) if more and i >= first else t
        for i, t in enumerate(leaves)
    ]


def batch_dims(record: fx.GraphModule, places: list[Any]) -> tuple[Dims, Dims]:
    """The dimensions of the inputs, and of the states, whose sizes follow the number of images."""
    batch, device = places[0].shape[0], next((t.device for t in tensors_read(record)), "cpu")
    inputs = [(0,) if t.dim() and t.shape[0] == batch else () for t in places]

    def states(images: int) -> list[tuple[int, ...]]:
        sizes = [(images, *t.shape[1:]) if dims else tuple(t.shape) for t, dims in zip(places, inputs)]
        with on_fake_tensors(), torch.no_grad():
            given = [torch.empty(s, dtype=t.dtype, device=device) for s, t in zip(sizes, places)]
            return [tuple(t.shape) for t in record(*given)[1]]

    few = states(batch)
    try:
        more = states(batch + 1)
    except Exception as error:  # a network of one number of images says so in its own way
        _log.info("compiled for %d images: %s", batch, first_line(error))
        more, inputs = few, [()] * len(inputs)
    return inputs, [tuple(d for d in range(len(a)) if a[d] != b[d]) for a, b in zip(few, more)]


def _marked(t: Any, dims: tuple[int, ...]) -> Any:
    """The tensor under another object, which says that sizes are free; the caller's is not written on."""
    if not isinstance(t, torch.Tensor):
        return t
    from torch._dynamo import maybe_mark_dynamic

    alias = t.detach()
    for d in dims[: t.dim()]:
        maybe_mark_dynamic(alias, d)
    return alias


@contextlib.contextmanager
def _one_program() -> Iterator[None]:
    """Without the cases of their own that torch.compile makes for a size.

    They are: 1, a size equal to another size, a size that was seen twice, and 16 images or more, where torch
    asks whether NNPACK computes a convolution.
    """
    from torch._dynamo import config as dynamo

    with (
        symbolic_sizes.patch(backed_size_oblivious=True, use_duck_shape=False),  # type: ignore[attr-defined]
        dynamo.patch(automatic_dynamic_shapes=False),  # type: ignore[attr-defined]
        torch.backends.nnpack.flags(enabled=False),
    ):
        yield
