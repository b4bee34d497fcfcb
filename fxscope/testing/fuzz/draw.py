"""Drawing by trial: a statement is kept if it runs and its values are finite, moderate and differentiable."""

from __future__ import annotations

import ast
import random
import re
import warnings
from typing import Any

import torch
from torch import nn

from .grammar import PRODUCTIONS, Draw, Production, Unsuitable
from .network import BATCH, OTHER, PRELUDE, Input, Network, Statement

LARGEST, LARGEST_NUMEL = 300.0, 3000

_STARTS: tuple[tuple[float, tuple[int | str, ...]], ...] = (
    (8, ("B", 3, "H", "W")),
    (2, ("B", 4, "H", "H")),
    (1, ("B", 1, "H", "W")),
    (3, ("B", "W", 6)),
    (2, ("B", 4, "W")),
    (1, ("B", 6)),
)


class _Run:
    """One run of the statements drawn so far, for a number of images at one size."""

    def __init__(self, network: Network, layers: nn.Module, batch: int, larger: int, grad: bool):
        self.network, self.layers, self.grad = network, layers, grad
        self.inputs = network.example(batch, larger)
        self.reset()

    def reset(self) -> None:
        self.values: dict[str, Any] = dict(_SPACE)
        self.values["self"] = self.layers
        self.leaf = self.inputs[0].clone().requires_grad_(self.grad)
        for given, value in zip(self.network.inputs, (self.leaf, *self.inputs[1:])):
            self.values[given.name] = value.clone()

    def execute(self, code: Any) -> None:
        with torch.set_grad_enabled(self.grad):
            exec(code, self.values)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {n: v for n, v in self.values.items() if isinstance(v, torch.Tensor)}


_SPACE: dict[str, Any] = {}
exec(PRELUDE, _SPACE)


class _Drawing:
    """A network while it is drawn.

    Each statement is run three times: on several images, on one image, and at a larger size.
    """

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        torch.manual_seed(seed)
        train = self.rng.random() < 0.1
        self.network = Network(seed, _inputs(self.rng), (), "x", train)
        self.layers = nn.Module()
        self.runs = [
            _Run(self.network, self.layers, BATCH, 0, True),
            _Run(self.network, self.layers, 1, 0, False),
            _Run(self.network, self.layers, BATCH, OTHER, False),
        ]
        self.holds = [True, True, True]
        self.statements: list[Statement] = []
        self.codes: list[Any] = []
        self.draw = Draw(self.rng, train, fixed={i.name for i in self.network.inputs})
        self._look()

    def _look(self) -> None:
        found = self.runs[0].tensors().items()
        self.draw.live = {n: t for n, t in found if n in self.draw.fixed or t.is_floating_point()}

    def step(self) -> bool:
        """Draw one statement; whether it was kept."""
        chosen = self._first() or self.rng.choices(PRODUCTIONS, [p.weight for p in PRODUCTIONS])[0]
        self.draw.pending = {}
        try:
            text = chosen.draw(self.draw)
        except (Unsuitable, IndexError):
            return False
        statement = Statement(tuple(text.split("\n")), tuple(self.draw.pending.items()), chosen.name)
        fresh = [name for name in self.draw.pending if name not in self.draw.layers]
        if not self._made(fresh):
            return False
        code = compile(text, "drawn", "exec")
        if self._tried(code):
            self.codes.append(code)
            self.statements.append(statement)
            self.draw.layers.update(self.draw.pending)
            self._look()
            return True
        self._replay()
        for name in fresh:
            delattr(self.layers, name)
        return False

    def _first(self) -> Production | None:
        """Most networks begin with a layer, which tells how many dimensions their input has."""
        if self.statements or self.rng.random() < 0.4:
            return None
        name = "dense" if self.network.inputs[0].shape[-1] == 6 else "convolution"
        return next(p for p in PRODUCTIONS if p.name == name)

    def _made(self, fresh: list[str]) -> bool:
        """Build the layers that the statement needs."""
        try:
            for name in fresh:
                exec("\n".join(self.draw.pending[name]), {**_SPACE, "self": self.layers})
        except (ValueError, RuntimeError, TypeError):
            return False
        self.layers.double().train(self.draw.train)
        return True

    def _tried(self, code: Any) -> bool:
        before = {n: (t, t._version) for n, t in self.runs[0].tensors().items()}
        if not self._ran(0, code) or not self._moderate(before):
            return False
        for i in (1, 2):
            if self.holds[i] and not self._ran(i, code):
                if self.rng.random() < 0.9:
                    return False
                self.holds[i] = False
        return True

    def _ran(self, i: int, code: Any) -> bool:
        try:
            self.runs[i].execute(code)
        except Exception:  # whatever torch says of a statement that does not fit
            return False
        return True

    def _moderate(self, before: dict[str, tuple[torch.Tensor, int]]) -> bool:
        """What is new is finite, of moderate size, not zero, and differentiable after writes in place."""
        run = self.runs[0]
        written = any(t._version != version for t, version in before.values())
        changed = [t for n, t in run.tensors().items() if written or n not in before or before[n][0] is not t]
        for t in changed:
            if not t.is_floating_point():
                continue
            if not 0 < t.numel() <= LARGEST_NUMEL or t.dim() > 5 or not torch.isfinite(t).all():
                return False
            if not 1e-3 < t.abs().max() < LARGEST:
                return False
        given = run.values[self.network.inputs[0].name]
        if given._version and self.rng.random() < 0.9:
            return False  # it writes into the caller's memory
        return self._differentiable(changed)

    def _differentiable(self, changed: list[torch.Tensor]) -> bool:
        outputs = [t for t in changed if t.requires_grad]
        if not outputs:
            return True
        try:
            total: Any = sum(t.sum() for t in outputs)
            (found,) = torch.autograd.grad(total, self.runs[0].leaf, retain_graph=True, allow_unused=True)
        except RuntimeError:  # a value that the backward pass needs was written over
            return False
        return found is None or bool(torch.isfinite(found).all())

    def _replay(self) -> None:
        """The runs as they were before a statement that was not kept."""
        for i, run in enumerate(self.runs):
            if self.holds[i]:
                run.reset()
                for code in self.codes:
                    run.execute(code)
        self._look()

    def finished(self) -> Network | None:
        """The network with what it returns, or None where nothing that depends on x is left."""
        leaves = [n for n in self._unused() if self._depends(n)]
        if not leaves:
            return None
        network = Network(
            self.network.seed,
            self.network.inputs,
            tuple(self.statements),
            _result(self.rng, leaves),
            self.network.train,
            self.holds[2],
            self.holds[1],
        )
        used = {
            i
            for i in network.inputs
            if i.name == "x"
            or re.search(
                rf"\b{i.name}\b",
                "\n".join(network.body),
            )
        }
        return Network(
            network.seed,
            tuple(i for i in network.inputs if i in used),
            network.statements,
            network.result,
            network.train,
            network.resizes,
            network.alone,
        )

    def _unused(self) -> list[str]:
        """Live values that no later statement reads, the last one always among them."""
        live = [n for n in self.draw.live if n not in self.draw.fixed]
        last_use = dict.fromkeys(live, -1)
        for i, s in enumerate(self.statements):
            for node in ast.walk(ast.parse("\n".join(s.code))):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in last_use:
                    last_use[node.id] = i
        return [n for n in live if last_use[n] == -1] + [n for n in live[-1:] if last_use[n] != -1]

    def _depends(self, name: str) -> bool:
        value = self.runs[0].values[name]
        if not value.requires_grad:
            return False
        (found,) = torch.autograd.grad(
            value.sum() + (value * value).sum(),
            self.runs[0].leaf,
            retain_graph=True,
            allow_unused=True,
        )
        return found is not None and bool(found.abs().max() > 1e-6)


def _inputs(rng: random.Random) -> tuple[Input, ...]:
    shape = rng.choices([s for _, s in _STARTS], [w for w, _ in _STARTS])[0]
    more = rng.choices(
        (None, Input("c", ("B", 5)), Input("labels", ("B",), 5), Input("z", shape)),
        (6, 1.5, 1, 1),
    )[0]
    return (Input("x", shape),) if more is None else (Input("x", shape), more)


def _result(rng: random.Random, leaves: list[str]) -> str:
    """One value, or several as a tuple, a list or a dict."""
    if len(leaves) == 1 or rng.random() < 0.45:
        return leaves[-1]
    kept = leaves[-rng.randint(2, 3) :]
    if rng.random() < 0.5:
        return "{" + ", ".join(f'"{chr(97 + i)}": {n}' for i, n in enumerate(kept)) + "}"
    return ("({})" if rng.random() < 0.7 else "[{}]").format(", ".join(kept))


def draw(seed: int) -> Network:
    """The network of a seed: 2 to 12 statements, the same on every call."""
    for attempt in range(100):
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            found = _attempt(seed + 1_000_003 * attempt)
        if found is not None and len(found.statements) > 1:
            return found
    raise RuntimeError(f"no network came out of seed {seed}")


def _attempt(seed: int) -> Network | None:
    drawing = _Drawing(seed)
    wanted = drawing.rng.randint(2, 12)
    try:
        for _ in range(8 * wanted):
            if drawing.step() and len(drawing.statements) == wanted:
                break
        return drawing.finished()
    except RuntimeError:  # autograd cannot differentiate a view that a later statement wrote through
        return None
