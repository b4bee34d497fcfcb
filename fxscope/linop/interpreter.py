"""``LinearInterpreter``: the decisions of one x0, and the affine map that they make of the network."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import warnings
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import ImagesMix, NonFinite, ShapeError
from ..frontend.autocast import computes_without_autocast
from ..frontend.symbolic import source_of
from ..frontend.unchanged import Draw
from ..graph.arguments import check_tensor
from ..graph.interpreter import Recorder
from ..graph.ir import info
from ..passes.outputs import as_attributes, tensors_of, with_dicts
from ..results.display import Displayed, Measured
from ..results.provenance import of_interpreter
from ..results.registry import provided
from ..results.tables import Column, Table
from .fresh import Fresh
from .linear import Operator
from .local.sparse import Support
from .memory import Kept
from .narrow import factors
from .pictured import about, seen
from .prepared import Prepared, running
from .scale import norm_of, power_of_two
from .spaces import Space, only_floating


@computes_without_autocast
class LinearInterpreter(Displayed):
    """The affine map y1 = F x1 + r of a network at one x0.

    Attributes
    ----------
    y0 : torch.Tensor or structure of tensors
        The output of the model at x0.
    x : torch.Tensor or tuple of tensors
        The values at the probed places: x0 unless ``inputs`` names other places. At x1 = x, y1 = y0.
    F : Operator
        The linear part.
    batch : int
        Number of images B in x0.
    """

    def __init__(self, prepared: Prepared, args: tuple[torch.Tensor, ...], draw: Draw | None = None):
        self.prepared = prepared
        self.model, self.program = prepared.model, prepared.program
        self.policy, self.memory = prepared.policy, prepared.memory
        self.read(args, draw)

    def read(self, args: tuple[torch.Tensor, ...], draw: Draw | None = None) -> None:
        """Run the model at these inputs, and replace the kept output and states by those of this run.

        A model that draws random numbers draws those of ``draw`` if it is given. Raise ``NonFinite`` if a
        value is not finite.
        """
        prepared = self.prepared
        for name in ("_residual", "_mixes", "_error", "_more"):
            vars(self).pop(name, None)
        self._given = args[0]
        if draw is None and prepared.draws:
            draw = Draw((*args, *self.model.parameters(), *self.model.buffers()))
        self._draw = draw
        weights, self._folded = prepared.weights()
        self.fresh = Fresh(weights)
        with running(prepared, draw):  # the weights are as they are now
            self._args = tuple(a.detach().clone() for a in args)  # the caller may write over its own tensors
            self.y0, of_x0 = prepared.record(*self._args)
            self.x = self._probed(self._args)
            _finite(self, (*prepared.checked(of_x0), *tensors_of(self.x), *tensors_of(self.y0)))
        states = tuple(s.detach() for s in prepared.merged(of_x0, self._folded))
        self._kept = Kept(
            self._record, self.memory, states, prepared.own(), prepared.windows, prepared.winners
        )
        self.fresh.hold("x0", self._args)
        self.fresh.hold("x", tensors_of(self.x))
        self.fresh.hold("y0", tensors_of(self.y0))
        self.fresh.hold("states", self._kept.tensors())
        self.batch = self._args[0].shape[0]
        self._spaces, self._chunk = self._spaces_of(self.x, self.y0), prepared.chunk(self._args[0])
        self._handed: weakref.ref[Operator] | None = None

    def __reduce__(self) -> tuple:
        """A copy (copy.deepcopy, pickle) is made of copies of the model and of x0, with the same draw.

        Raises ``StaleInterpreter`` if the model has changed since: the copy would be of its new weights.
        """
        self.fresh.check()
        if self.prepared.owner is None or self.prepared.call is None:
            raise TypeError("only an interpreter of fxscope.interpret or of a reader can be copied")
        example = self.prepared.call.with_tensors(self._args)
        return _again, (self.prepared.owner, example, self._draw)

    def _spaces_of(self, x: Any, y0: Any) -> tuple[Space, Space]:
        """The spaces of x1 and of y1, with the outputs that no probe reaches."""
        outputs = Space.of("y2", self._outputs(y0), self.batch)
        constant = {i: why for i, key in enumerate(outputs.keys) if (why := self._constant.get(key))}
        return Space.of("x1", x, self.batch), replace(outputs, constant=constant)

    @property
    def F(self) -> Operator:
        """The linear part of the map, between the space of x and that of y0."""
        # F holds its interpreter. Were it held in return, the states of an image that nobody needs any more
        # would stay until Python looks for cycles, which in a loop is many images later.
        known = None if self._handed is None else self._handed()
        if known is None:
            known = self._operator()
            self._handed = weakref.ref(known)
        return known

    def _operator(self) -> Operator:
        return Operator(
            self._replay,
            self._pullback,
            *self._spaces,
            self._chunk,
            self.batch,
            support=lambda: Support(self.program, self.F),
            origin=lambda: of_interpreter(self),
            blocks=self.check_blocks,
            narrow=functools.partial(factors, self),
            maker=lambda: (getattr, (self, "F")),
            lin=lambda: self,
            of=(f"{type(self.model).__name__}, policy {self.policy}",),
        )

    @contextlib.contextmanager
    def fresh_run(self) -> Iterator[None]:
        """Context of every run of x0: the same random draw, no gradients, model and random state unchanged.

        Raises ``StaleInterpreter`` if a weight, a buffer or a recorded value has changed since the
        interpreter was made.
        """
        self.fresh.check()
        with running(self.prepared, self._draw):
            yield

    @property
    def x0(self) -> torch.Tensor:
        """The tensor that was passed as x0, or a copy of its values at that time if it was overwritten."""
        given, kept = self._given, self._args[0]
        unwritten = given.shape == kept.shape and given.dtype == kept.dtype and torch.equal(given, kept)
        return given if unwritten else kept

    @functools.cached_property
    def _constant(self) -> dict[Any, str]:
        return self.program.constant_outputs()

    @property
    def constant_outputs(self) -> tuple[Any, ...]:
        """Keys of the outputs that do not depend on the probe; there y1 = y0.

        In ``contributions`` the value of such an output is one term, of the kind "frozen". Its rows are zero;
        to ask for one raises ``NoLinearPath``, which names the operator that ends the path.
        """
        return tuple(self.F.outputs.keys[number] for number in self.F.outputs.constant)

    @property
    def linearised(self) -> tuple[str, ...]:
        """The operators whose derivative stands for them (``unknown="taylor"``), each with its line."""
        return self.program.linearised()

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of ``states``."""
        return tuple(name for name, _, _ in self.prepared.states)

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """{name: recorded value} of all states that the products need; tensors of size 0 stand for sizes."""
        return dict(zip(self.state_names, self._kept.get()))

    @property
    def nbytes(self) -> int:
        """Memory of the kept states, in bytes; weights folded with a batch norm do not count."""
        return self._kept.nbytes

    @property
    def residual(self) -> Any:
        """The residual r = y1 at x1 = 0, in the structure of the outputs.

        Raises ``NonFinite`` if an infinite constant of the network makes it NaN.
        """
        self.fresh.check()
        if not hasattr(self, "_residual"):
            with self.fresh_run():
                found = self.prepared.residual(*self._args)
            if any(map(_is_nan, tensors_of(found))):
                raise NonFinite(
                    "r is NaN at this x0, though y0 is finite: in the other branch an infinite constant of"
                    " the network meets a factor of 0; fill with a large finite value instead"
                )
            self._residual = found
            self.fresh.hold("residual", tensors_of(self._residual))
        return self._residual

    def __call__(self, x1: Any) -> Any:
        """F x1 + r (paper, eq. 5).

        Outputs that are no floating tensors are those of x0.

        Parameters
        ----------
        x1 : torch.Tensor or structure of tensors
            The probes, (..., *inputs); there may be any number of leading dimensions.

        Returns
        -------
        torch.Tensor or structure of tensors
            y1, (..., *outputs).

        Raises
        ------
        ShapeError
            If x1 has other trailing dimensions than x0, or another dtype or device.
        """
        y = self._linear(x1)
        return self._with_others(y, self.F.inputs.stack(x1)[1])

    def _linear(self, x1: Any) -> Any:
        """F x1 + r, for the floating outputs only."""
        r = self.F.outputs.unstack(self._outputs(self.residual), ())
        return pytree.tree_map(torch.add, self.F @ x1, r)

    def _with_others(self, y: Any, head: tuple[int, ...]) -> Any:
        """The floating outputs y, together with the outputs that are no floating tensors, for every probe."""
        given, spec = pytree.tree_flatten(with_dicts(self.y0))
        each, batch = iter(pytree.tree_leaves(y)), not self.F.outputs.batched

        def other(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            value = value.squeeze(0) if batch and value.dim() and value.shape[0] == 1 else value
            return value.expand((*head, *value.shape))

        floating = (isinstance(v, torch.Tensor) and v.is_floating_point() for v in given)
        return pytree.tree_unflatten(
            [next(each) if own else other(v) for own, v in zip(floating, given)], spec
        )

    def contributions(self, index: Any) -> Any:
        """F x0 and all additive constants of the network, which sum to y0[index] (paper, Theorem 1).

        Parameters
        ----------
        index : tuple, boolean mask, dict or list
            As in ``lin.F.row``.

        Returns
        -------
        fxscope.analysis.Contributions
            The terms, in units of the output.

        Raises
        ------
        PlaceIndexError
            If this is no index.
        """
        return next(self.iter_contributions([index]))

    def iter_contributions(self, indices: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        """Iterate over the contributions of many outputs.

        Parameters
        ----------
        indices : iterable
            Indices as in ``contributions``.
        chunk : int, optional
            Number of reverse passes that run together. The default is ``lin.F.chunk``.

        Yields
        ------
        fxscope.analysis.Contributions
            The contributions of each index, in order.
        """
        return provided(self, "contributions")(self, indices, chunk or self.F.chunk)

    def pixel_discussion(self, labels: Any, **options: Any) -> Any:
        """The contribution of every pixel to a score; see ``fxscope.analysis.pixel_discussion``."""
        return provided(self, "pixel_discussion")(self, labels, **options)

    def pixel_votes(self, labels: Any = None, **options: Any) -> Any:
        """For each pixel the label to which it contributes most; see ``fxscope.analysis.pixel_votes``."""
        return provided(self, "pixel_votes")(self, labels, **options)

    def page(self, path: Any, **options: Any) -> int:
        """Write one HTML file that computes any row and column of F in the reader's browser, offline.

        The file holds the graphs of the network, its weights and x0, and a runtime for WebAssembly. It shows
        <row, x0> + r = y0 as it is measured there, within 1e-3 of the largest output in float32.

        Parameters
        ----------
        path : str or Path
            The file.
        beside : sequence of LinearInterpreter
            Other networks at the same photograph, side by side.
        names : sequence of str
            A name for each network. By default those of their classes.
        preprocess : fxscope.Preprocess
            How the photograph became x0, so that it is shown as it was.
        labels : sequence of str
            The names of the scores.
        tokens : sequence of str
            The tokens of a language model as they are written: the page then shows what the embedding of each
            adds to a logit. ``labels`` are its vocabulary.
        count : int
            How many eigen-inputs are computed.
        limit : float
            The most MB of the file.
        half : bool
            Whether weights are stored in float16. They are used in float32; the output and a row must be
            those of this interpreter within 1e-2 of their largest value.
        smaller : int
            Networks of images are there a second time, at so many pixels to each side, for a look at one
            whose rows take seconds.
        folder : bool
            Whether ``path`` is a folder for a web server in place of a file: weights apart, threads where the
            server isolates the page, and WebGPU where the browser has it and the identity holds there. It has
            no ``limit``.
        votes : bool
            Whether each pixel of a classifier's photograph votes for one of its largest scores
            (``pixel_votes``), shown over the photograph.

        Returns
        -------
        int
            The number of bytes.

        Raises
        ------
        FxscopeError
            If the network is not one from an image to an image or to scores, or from tokens to logits, in
            float32 on a processor; if its graphs cannot be exported to ONNX; or if the file would be larger
            than ``limit``.
        """
        return provided(self, "page")(self, path, **options)

    def view(self, beside: Any = (), **options: Any) -> Any:
        """Rows and columns live in a notebook, at the place under the pointer; the kernel computes them.

        Parameters
        ----------
        beside, names, preprocess, labels, tokens
            As ``page`` takes them.

        Returns
        -------
        anywidget.AnyWidget
            What Jupyter, marimo and others show.

        Raises
        ------
        FxscopeError
            If anywidget is not installed, or the network is not one from an image to an image or to scores.
        """
        return provided(self, "view")(self, beside, **options)

    def shares(self, y2: Any, elementwise: bool = False) -> tuple[Any, tuple[torch.Tensor, ...]]:
        """F^T y2, and what every additive constant contributes to <y2, y0>, (K, B) each.

        Parameters
        ----------
        y2 : torch.Tensor or structure of tensors
            Cotangents (K, B, ...).
        elementwise : bool
            Whether the contributions are not summed; they then have the shapes of the constants.
        """
        self.fresh.check()
        graph, record = self.prepared.shares(elementwise)
        with torch.no_grad():
            return graph(self.states_with(record), self.structured(y2))

    def states_with(self, record: Any) -> tuple[torch.Tensor, ...]:
        """The recorded states, and those of another graph x0 -> (y0, states), by one run of x0."""
        if record is None:
            return self._kept.get()
        kept = vars(self).setdefault("_more", {})
        if record not in kept:
            with self.fresh_run():
                more = record(*self._args)[1]
            if self.memory == "recompute":
                return (*self._kept.get(), *more)
            kept[record] = more
        return (*self._kept.get(), *kept[record])

    def check_blocks(self) -> None:
        """Warn with ``ImagesMix`` if ``images_mix``."""
        if self.images_mix:
            warnings.warn(
                "images of the batch mix: an output of one depends on others, and a row is the sum over"
                " them all",
                ImagesMix,
                stacklevel=2,
            )

    @property
    def images_mix(self) -> bool:
        """Whether an output of one image depends on another image of the batch.

        It is read off the graph where that tells; else the first call makes a few reverse passes.
        """
        if not hasattr(self, "_mixes"):
            self._mixes = self.batch > 1 and not self.prepared.apart(self.batch) and self._reads_others()
        return self._mixes

    def _reads_others(self) -> bool:
        """Whether a pullback from some images reaches others, exactly.

        Each image is in another half of the passes, so that for any two, one pass is of the first alone.
        """
        spaces = self.F.inputs, self.F.outputs
        if any(not shape or shape[0] != self.batch for space in spaces for shape in space.shapes):
            return False  # at a tapped place the batch may be in another dimension: blocks are unknown
        passes = next(m for m in itertools.count(2) if math.comb(m, m // 2) >= self.batch)
        halves = list(itertools.islice(itertools.combinations(range(passes), passes // 2), self.batch))
        for number in range(passes):
            some = torch.tensor([number in half for half in halves], device=self.F.outputs.device)
            seeds = spaces[1].zeros(1)
            for seed in seeds:
                seed[:, some] = 1
            reached = self._pullback(spaces[1].build(seeds))
            if any(bool(t[:, ~some].any()) for t in pytree.tree_leaves(reached)):
                return True
        return False

    @property
    def error(self) -> float:
        """The verification error, which is of the order of rounding (paper, eq. 3).

        It is the larger of two numbers; the second one checks the rows of F:

            |F x0 + r - y0| / |y0|
            |<F^T u, x0> + <u, r - y0>| / |y0|,    u = y0 / |y0|
        """
        if not hasattr(self, "_error"):
            self._error = max(self._gap(self._args, self.y0), self._gap_of_rows())
        return self._error

    def _gap_of_rows(self) -> float:
        """|<F^T u, x0> + <u, r> - <u, y0>| / <u, y0>, summed in double precision.

        u is y0 scaled to a size of order 1, so that its product stays in range.
        """
        y, r = (pytree.tree_leaves(self._outputs(value)) for value in (self.y0, self.residual))
        unit = power_of_two(norm_of(y))
        u = [t / unit for t in y]
        pulled = pytree.tree_leaves(self._pullback(self.F.outputs.build([t.unsqueeze(0) for t in u])))
        total = sum(_product(a, b) for a, b in zip(pulled, pytree.tree_leaves(self.x))) + sum(
            _product(a, b) for a, b in zip(u, r)
        )
        size = sum(_product(a, b) for a, b in zip(u, y))
        return abs(total - size) / size if size else abs(total)

    def gap(self, x: Any) -> dict[str, float]:
        """Measure how well the interpreter of x0 approximates the network at another input x.

        If the model draws random numbers, f(x) uses the same draw.

        Parameters
        ----------
        x : torch.Tensor
            An input of the shape of x0, with or without its batch dimension.

        Returns
        -------
        dict
            ``error`` is ``|F x + r - f(x)| / |f(x)|``. ``changed`` is the share of masks and indices that
            differ between x and x0; what a max-pool chose counts once.

        Raises
        ------
        ShapeError
            If x has another shape.
        """
        check_tensor("gap: x", x)
        args = (x if x.dim() == self.x0.dim() else x.unsqueeze(0), *self._args[1:])
        if (args[0].shape, x.dtype, x.device) != (self.x0.shape, self.x0.dtype, self.x0.device):
            raise ShapeError(
                f"gap: expected x as x0 is, {tuple(self.x0.shape)}, {self.x0.dtype} on {self.x0.device}; got"
                f" {tuple(x.shape)}, {x.dtype} on {x.device}"
            )
        with self.fresh_run():
            y, of_x0 = self.prepared.record(*args)
        states = self.prepared.merged(of_x0, self._folded)
        pairs = [
            (a, b)
            for i, (a, b) in enumerate(zip(self._kept.get(), states))
            if a.dtype in (torch.bool, torch.int64) and a.numel() and i not in self.prepared.winners
        ]
        changed, total = sum((a != b).sum().item() for a, b in pairs), sum(a.numel() for a, _ in pairs)
        found = {"error": self._gap(args, y), "changed": changed / total if total else 0.0}
        return Measured(found, "the gap at x")

    def _gap(self, args: tuple, y: Any) -> float:
        """|F x + r - y| / |y| over all outputs, for y = f(x)."""
        with self.fresh_run():
            x1 = self._probed(args)
        got, expected = (
            pytree.tree_leaves(value)
            for value in (
                self._linear(x1 if self.F.inputs.batched else pytree.tree_map(lambda t: t[0], x1)),
                self._outputs(y),
            )
        )
        off, size = norm_of(a.reshape(b.shape) - b for a, b in zip(got, expected)), norm_of(expected)
        if not size:
            return math.inf if off else 0.0
        return off / size

    def _replay(self, v: Any) -> Any:
        self.fresh.check()
        probes = v if isinstance(v, tuple) else (v,)
        with torch.no_grad():
            return self._outputs(self.prepared.replay(self._kept.get(), *probes))

    def _pullback(self, u: Any) -> Any:
        self.fresh.check()
        with torch.no_grad():
            return self.prepared.pullback(self._kept.get(), self.structured(u))

    def _outputs(self, y: Any) -> Any:
        """The floating outputs in an output structure; () replaces everything else.

        A dataclass becomes a dict of its tensors.
        """
        return only_floating(y)

    def structured(self, u: Any) -> Any:
        """Cotangents in the structure that the graphs take; an object with attributes for a dataclass."""
        return as_attributes(u, self.y0)

    def _record(self) -> tuple[torch.Tensor, ...]:
        with self.fresh_run():
            return self.prepared.merged(self.prepared.record(*self._args)[1], self._folded)

    def _probed(self, args: tuple) -> Any:
        """The values of the original branch at the probed places, for the inputs ``args``."""
        nodes = [p.node for p in self.program.probes]
        if all(n.op == "placeholder" for n in nodes):
            places = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
            found = [args[places.index(n)] for n in nodes]
        else:
            recorder = Recorder(self.program.gm, lambda node, value: value if node in nodes else None)
            recorder.run(*args)
            found = [recorder.kept[n] for n in nodes]
        return found[0] if len(found) == 1 else tuple(found)

    def _said(self) -> Iterable[str]:
        known = [f"F x0 + r = y0 to {self._error:.0e}"] if "_error" in vars(self) else []
        return [
            type(self.model).__name__,
            *(f"constant output {key!r}" for key in self.constant_outputs),
            *(f"linearised {name}" for name in self.linearised),
            f"x0 {tuple(self._args[0].shape)}",
            f"policy {self.policy}",
            *known,
            f"{self.memory}: {self.nbytes / 2**20:.2f} MiB",
        ]

    def _table(self) -> Table:
        return Table(("", Column("value")), [*about(self), ("identity |F x0 + r - y0| / |y0|", self.error)])

    def _picture(self) -> str:
        return seen(self)


def _again(reader: Any, example: Any, draw: Draw | None) -> LinearInterpreter:
    """A copy of an interpreter; as a function of its own, so that copies of its arguments are made."""
    return reader.again(example, draw)


def _product(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double().flatten() * b.double().flatten()).sum())


def _finite(lin: LinearInterpreter, values: tuple[torch.Tensor, ...]) -> None:
    """Raise ``NonFinite`` with the first node that is not finite, if a state or the output is not.

    Infinite values that come from constants of the model, such as a causal mask or the -inf at padded places,
    do not count.
    """
    if all(_is_finite(t) for t in values):
        return

    found: list[torch.fx.Node] = []
    masked: set[torch.fx.Node] = set()

    def look(node: torch.fx.Node, value: Any) -> None:
        if isinstance(value, torch.Tensor) and not _is_finite(value):
            given = (
                info(node).role in ("const", "sized")
                or masked & set(node.all_input_nodes)
                or any(isinstance(v, float) and math.isinf(v) for v in node.args)
            )
            masked.add(node) if given else found.append(node)

    with lin.fresh_run():
        Recorder(lin.program.gm, look).run(*lin._args)
    if not found and all(map(_is_finite, tensors_of(lin.y0))) and not any(map(_is_nan, values)):
        return
    where = (
        f"{info(found[0]).place or found[0].name} holds NaN or infinite values at this x0, the first to do"
        f" so, at {source_of(found[0])}"
        if found
        else "a recorded state holds NaN or infinite values at this x0"
    )
    raise NonFinite(f"{where}; the interpreter is about finite ones (emitted graphs let them through)")


def _is_nan(value: torch.Tensor) -> bool:
    return value.is_floating_point() and bool(torch.isnan(value).any())


def _is_finite(value: torch.Tensor) -> bool:
    """Whether all numbers are finite: their sum tells at once, unless it overflows."""
    if not value.is_floating_point():
        return True
    return math.isfinite(value.sum()) or bool(torch.isfinite(value).all())
