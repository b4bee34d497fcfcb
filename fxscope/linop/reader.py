"""``fxscope.prepare`` and ``fxscope.interpret``: from a model to its linear interpreters."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..emit.pipeline import program_of
from ..errors import FxscopeError, first_line
from ..frontend.autocast import computes_without_autocast
from ..frontend.example import Example
from ..frontend.unchanged import Draw, leaves_unchanged, unchanged
from ..graph.arguments import checked
from ..graph.assumptions import takes
from ..results.display import Displayed
from ..results.pictures import chain
from ..results.tables import Column, Table
from .compiled import backend_of
from .interpreter import LinearInterpreter
from .memory import MODES
from .prepared import Prepared

KINDS = 8  # how many sizes, dtypes and devices of inputs a reader keeps graphs for
_log = logging.getLogger("fxscope")


@checked
@leaves_unchanged
def prepare(
    model: nn.Module,
    *args: Any,
    policy: Any = None,
    inputs: Any = None,
    outputs: Any = None,
    memory: str = "record",
    chunk: int | None = None,
    frontend: str = "auto",
    unknown: str = "refuse",
    compile: bool | str = False,
    **kwargs: Any,
) -> Reader:
    """Do everything that does not depend on the values of x0, once: trace, check, rewrite, emit.

    ::

        reader = prepare(model, example)
        for x0 in images:
            lin = reader(x0)                # one forward that records its decisions (paper, eq. 2)
            row = lin.F.row(index)          # one reverse pass

    ``interpret(model, x0)`` is ``prepare(model, x0)(x0)``. The trace is checked against the model on the
    example.

    Parameters
    ----------
    model : nn.Module
        In eval or train mode, which is that of all interpreters.
    *args, **kwargs
        Arguments of the model, as an example: their values do not matter.
    policy, inputs, outputs, memory, chunk, frontend, unknown
        As in ``fxscope.interpret``.
    compile : bool or str
        Whether the runs of x0 and the products go through ``torch.compile``, or its backend (True:
        "inductor"). Each is compiled when it first runs, as one program for all numbers of probes and images
        above 1, and again for another size of the images. Results equal those of the graphs to rounding.

    Returns
    -------
    Reader
        ``reader(x0)`` is the ``LinearInterpreter`` at x0.

    Raises
    ------
    FxscopeError
        As ``fxscope.interpret`` does.

    References
    ----------
    "A Tour of Convolutional Networks Guided by Linear Interpreters", eq. 2 to 5.

    Examples
    --------
    >>> reader = prepare(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.randn(1, 1, 8, 8))
    >>> [reader(x0).error < 1e-6 for x0 in torch.randn(3, 1, 1, 8, 8)]
    [True, True, True]
    """
    if memory not in MODES:
        raise ValueError(f"memory={memory!r}; it is one of {', '.join(MODES)}")
    options = {
        "policy": policy,
        "inputs": inputs,
        "outputs": outputs,
        "frontend": frontend,
        "unknown": unknown,
    }
    reader = Reader(model, options, memory, chunk, backend_of(compile))
    reader._make(Example(args, kwargs))
    return reader


@checked
@leaves_unchanged
def interpret(
    model: nn.Module,
    *args: Any,
    policy: Any = None,
    inputs: Any = None,
    outputs: Any = None,
    memory: str = "record",
    chunk: int | None = None,
    frontend: str = "auto",
    unknown: str = "refuse",
    tile: int | str | None = None,
    **kwargs: Any,
) -> LinearInterpreter:
    """The linear interpreter of a model at x0 (paper, eq. 2 to 5).

    It is the affine map y1 = F(x0) x1 + r(x0), with y1 = y0 at x1 = x0::

        lin = interpret(model, x0)
        lin(x1), lin.F @ v, lin.F.T @ u, lin.F.row(i), lin.residual

    The model, its running statistics and the global random state do not change. If the model draws random
    numbers, all results of one interpreter use the same draw: call ``torch.manual_seed`` before to choose it.
    If weights change afterwards, products raise ``StaleInterpreter``.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    *args, **kwargs
        Arguments of the model. The first tensor is x0 (B, ...), unless ``inputs`` names other places. Token
        numbers are probed at their embedding. The logits of a Hugging Face ``ModelOutput`` are the output.
    policy, inputs, outputs
        As in ``fxscope.transform``.
    memory : {"record", "packed", "recompute"}
        "record" keeps the states of x0. "packed" keeps masks with one bit for each element, and pooling
        indices as offsets. "recompute" keeps no states, and runs x0 again with every product, as the paper
        does.
    chunk : int, optional
        Number of probes that run together. The default is as many as fit into 256 MiB on a CPU, or 1 GiB on
        another device.
    unknown : {"refuse", "taylor"}
        What becomes of operators without a rule that PyTorch cannot write out in operators that have one:
        they are refused, all of them by name, or their derivative at x0 stands for them.
    frontend : {"auto", "symbolic", "export"}
        "auto" traces symbolically, and uses torch.export if that fails; the logger "fxscope" then says so.
    tile : int or "auto", optional
        For an image larger than memory: read it in tiles of so many pixels to a side, each with the halo that
        the graph tells, so that all values are those of the whole image. The network is local, and takes one
        image. "auto" does so where the whole image would take more than half of the free memory.

    Returns
    -------
    LinearInterpreter
        In tiles a ``TiledInterpreter``, which has the same names.

    Raises
    ------
    FxscopeError
        As ``fxscope.transform`` does.
    NotLocal
        With ``tile``, if an output depends on the whole image; the message names the first such operator.
    NonFinite
        If a recorded state or the output holds NaN or infinite values.

    Examples
    --------
    >>> lin = interpret(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.randn(1, 1, 8, 8))
    >>> tuple(lin.F.row((1, 2, 2)).shape), tuple((lin.F @ torch.randn(5, 1, 8, 8)).shape)
    ((1, 8, 8), (5, 2, 6, 6))
    """
    options = {
        "policy": policy,
        "inputs": inputs,
        "outputs": outputs,
        "memory": memory,
        "chunk": chunk,
        "frontend": frontend,
        "unknown": unknown,
    }
    if tile is not None:
        from .tiles import tiled

        # it has the names of a LinearInterpreter, without being one
        return cast(LinearInterpreter, tiled(model, (*args, *kwargs.values()), tile, options))
    return prepare(model, *args, **options, **kwargs)(*args, **kwargs)


@computes_without_autocast
class Reader(Displayed):
    """The interpreters of one model under one policy: ``reader(x0)`` is the one at x0.

    Sizes that the trace left free are free. For another size, dtype, device or argument that is no tensor, or
    after ``train()`` or ``eval()`` of the model, the graphs are made again, and those of the last few kinds
    are kept; the logger "fxscope" says so. Weights are read when ``reader(x0)`` runs, so that a training step
    between two calls counts. Plain attributes of Python that the forward reads are those of the trace.

    Attributes
    ----------
    model : nn.Module
    policy : str
    memory : str
    """

    def __init__(
        self,
        model: nn.Module,
        options: dict[str, Any],
        memory: str,
        chunk: int | None,
        backend: str | None = None,
    ):
        self.model, self.memory, self._backend = model, memory, backend
        self.policy = str(options["policy"] or "freeze")
        self._options, self._chunk = options, chunk
        self._kinds: list[tuple[Any, tuple, Prepared]] = []  # (kind of the call, sizes, graphs), newest last

    @property
    def inputs_or_outputs(self) -> bool:
        """Whether F is between other places than the model's own input and output."""
        return self._options["inputs"] is not None or self._options["outputs"] is not None

    def __call__(self, *args: Any, out: LinearInterpreter | None = None, **kwargs: Any) -> LinearInterpreter:
        """The interpreter at x0: one run of the model that records its decisions.

        Parameters
        ----------
        *args, **kwargs
            Arguments of the model.
        out : LinearInterpreter, optional
            An earlier interpreter of this reader, which becomes the one at x0: what it held is given up.

        Returns
        -------
        LinearInterpreter
            ``out`` if it is given.

        Raises
        ------
        NonFinite
            If a recorded state or the output holds NaN or infinite values.
        FxscopeError
            If ``out`` is of another reader, or if the graphs must be made again and cannot be.
        """
        example = Example.of(Example(args, kwargs), self.model)
        assert example is not None
        if out is not None and (out.prepared.owner is not self):
            raise FxscopeError("out= takes an interpreter that this reader made; leave it out for a new one")
        kind, sizes = self._kind(example), _sizes(example)
        known = [(s, each) for k, s, each in reversed(self._kinds) if k == kind and not each.outdated()]
        same = next((each for s, each in known if s == sizes), None)
        if same is not None:
            return self._read(same, example, out)
        free = next(
            (e for s, e in known if e.takes_sizes(s, sizes) and takes(e.program.gm, *example.tensors())), None
        )
        if free is not None:
            try:
                return self._read(free, example, out)
            except (AssertionError, RuntimeError) as error:  # a size that the graph turns out not to take
                _log.info("%r: %s", self, first_line(error))
        _log.info("%r: made again for %s", self, ", ".join(str(tuple(s)) for s in sizes))
        return self._read(self._make(example), example, out)

    def rows(self, images: torch.Tensor, indices: Any) -> Any:
        """The row of one output of every image: one forward and one reverse pass together.

        Parameters
        ----------
        images : torch.Tensor
            (B, ...).
        indices : index or list of B indices
            The output of every image, as ``lin.F.row`` takes it.

        Returns
        -------
        torch.Tensor or structure of tensors
            (B, ...) if there are several images, in the shape of an image if there is one.
        """
        return self(images).F.row(indices)

    def contributions(self, images: torch.Tensor, indices: Any) -> Any:
        """F x0 and all additive constants of one output of every image: one forward and one reverse pass.

        Parameters
        ----------
        images : torch.Tensor
            (B, ...).
        indices : index or list of B indices
            The output of every image, as ``lin.contributions`` takes it.

        Returns
        -------
        fxscope.analysis.Contributions
            Its values are of shape (B,) if there are several images.
        """
        return self(images).contributions(indices)

    def _read(self, prepared: Prepared, example: Example, out: LinearInterpreter | None) -> LinearInterpreter:
        if out is None:
            return LinearInterpreter(prepared, example.tensors())
        if out.prepared is not prepared:
            vars(out).pop("_constant", None)
        out.prepared, out.program = prepared, prepared.program
        out.read(example.tensors())
        return out

    def __reduce__(self) -> tuple:
        """A copy makes its graphs again."""
        return Reader, (self.model, self._options, self.memory, self._chunk, self._backend)

    def again(self, example: Example, draw: Draw | None) -> LinearInterpreter:
        """The interpreter of a call under given random numbers, as a copy of an interpreter needs it."""
        with unchanged(self.model):
            return LinearInterpreter(self._make(example), example.tensors(), draw)

    def _kind(self, example: Example) -> Any:
        """What graphs depend on besides the sizes of the inputs."""
        leaves, structure = pytree.tree_flatten((example.args, example.kwargs))
        each = [(v.dtype, v.device, v.dim()) if isinstance(v, torch.Tensor) else (type(v), v) for v in leaves]
        return structure, each, _modes(self.model)

    def _make(self, example: Example) -> Prepared:
        """Make the graphs for this kind of call, and keep them."""
        found = Example.of(example, self.model)
        assert found is not None
        program = program_of(self.model, example_inputs=found, **self._options)
        if not self._kinds:
            program.say_constants(type(self.model).__name__)
        prepared = Prepared(self.model, program, self.memory, self._chunk, self.policy, self._backend)
        prepared.owner = self
        prepared.call = found.with_tensors([t.new_empty(0) for t in found.tensors()])
        kept = [each for each in self._kinds if not each[2].outdated()]
        self._kinds = [*kept[-KINDS + 1 :], (self._kind(found), _sizes(found), prepared)]
        return prepared

    def _said(self) -> Iterable[str]:
        sizes = "; ".join(" and ".join(str(tuple(s)) for s in sizes) for _, sizes, _ in self._kinds)
        name = type(self.model).__name__
        return [name, f"policy {self.policy}", str(self.memory), f"made for {sizes}"]

    def _table(self) -> Table:
        made = [" and ".join(str(tuple(s)) for s in sizes) for _, sizes, _ in self._kinds]
        rows = [
            ("network", type(self.model).__name__),
            ("policy", str(self.policy)),
            ("states, kept as", self.memory),
            ("compiled by", self._backend or "no compiler"),
            *(("made for x0", sizes) for sizes in made),
        ]
        return Table(("", Column("value")), rows, notes=("reader(x0) is the interpreter at x0.",))

    def _picture(self) -> str:
        name = type(self.model).__name__
        return chain(["x0", "reader", "lin: F, r, y0"], f"from x0 to the interpreter of {name} there")


def _modes(model: nn.Module) -> list[bool]:
    """Whether each module trains; ``model.modules()`` makes a name of each, and every image asks."""
    modules, seen = [model], {id(model)}
    for module in modules:  # grows while it is gone through
        more = [m for m in module._modules.values() if m is not None and id(m) not in seen]
        modules += more
        seen.update(map(id, more))
    return [m.training for m in modules]


def _sizes(example: Example) -> tuple:
    return tuple(t.shape for t in example.tensors())
