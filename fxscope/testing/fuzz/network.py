"""A drawn network: statements of source text, which build an ``nn.Module`` and can be left out one by one."""

from __future__ import annotations

import linecache
from dataclasses import dataclass, replace

import torch
from torch import nn

from ...graph.draws import seeded

PRELUDE = """import math
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import ops
"""
BATCH = 3
OTHER = 4  # by how much the other size is larger


@dataclass(frozen=True)
class Statement:
    """One statement, or a few that belong together, of a forward method.

    code         its lines
    layers       the lines of ``__init__`` that it needs, by the attribute that they make
    production   the name of what drew it
    """

    code: tuple[str, ...]
    layers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    production: str = ""


@dataclass(frozen=True)
class Input:
    """An input of the model: its name, and its shape with the words B, H and W for what may vary.

    classes   for whole numbers from 0 to that (labels); 0 for normal numbers
    """

    name: str
    shape: tuple[int | str, ...]
    classes: int = 0

    def sizes(self, batch: int, larger: int) -> tuple[int, ...]:
        """The shape with B images, at the network's own size or ``larger`` in H and W."""
        known = {"B": batch, "H": 6 + larger, "W": 8 + larger}
        return tuple(known[s] if isinstance(s, str) else s for s in self.shape)

    def draw(self, batch: int, larger: int, rng: torch.Generator) -> torch.Tensor:
        """Random values of that shape."""
        if self.classes:
            return torch.randint(0, self.classes, self.sizes(batch, larger), generator=rng)
        return torch.randn(self.sizes(batch, larger), generator=rng, dtype=torch.float64)


@dataclass(frozen=True)
class Network:
    """A network as source text: inputs, statements and what is returned.

    seed     of the weights and of the inputs
    result   the expression that is returned
    train    in train mode; draws: it draws random numbers there
    resizes  it takes other sizes than the one that it was drawn at
    alone    it takes one image as well as several
    """

    seed: int
    inputs: tuple[Input, ...]
    statements: tuple[Statement, ...]
    result: str
    train: bool = False
    resizes: bool = True
    alone: bool = True

    @property
    def body(self) -> list[str]:
        """The lines of forward, without the return."""
        return [line for s in self.statements for line in s.code]

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers: in train mode, with a dropout."""
        words = ("dropout", "Dropout", "RReLU", "rrelu", "rand")
        return any(w in line for w in words for line in [*self.body, *self._layers()]) and (
            self.train or "training=True" in "".join(self.body)
        )

    @property
    def single_precision(self) -> bool:
        """Whether a part of it computes in float32."""
        return any(w in line for w in (".float()", "float32") for line in self.body)

    def _layers(self) -> list[str]:
        used: dict[str, tuple[str, ...]] = {}
        for statement in self.statements:
            used.update(dict(statement.layers))
        return [line for lines in used.values() for line in lines]

    def source(self) -> str:
        """The module as Python source text."""
        names = ", ".join(i.name for i in self.inputs)
        init = ["super().__init__()", *self._layers()]
        lines = [
            "class Net(nn.Module):",
            "    def __init__(self):",
            *(f"        {line}" for line in init),
            "",
        ]
        lines += [
            f"    def forward(self, {names}):",
            *(f"        {line}" for line in self.body),
            f"        return {self.result}",
        ]
        return PRELUDE + "\n\n" + "\n".join(lines) + "\n"

    def build(self) -> nn.Module:
        """The module in float64, its parameters drawn under the seed; errors show its lines."""
        text, file = self.source(), f"drawn_{self.seed}.py"
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        space: dict = {"__name__": "drawn"}
        exec(compile(text, file, "exec"), space)
        with seeded(self.seed):
            return space["Net"]().double().train(self.train)

    def example(self, batch: int = BATCH, larger: int = 0) -> tuple[torch.Tensor, ...]:
        """The inputs for one call; one image is the first of several."""
        rng = torch.Generator().manual_seed(self.seed + larger)
        return tuple(
            i.draw(BATCH, larger, rng)[:batch] if i.shape[:1] == ("B",) else i.draw(batch, larger, rng)
            for i in self.inputs
        )

    def with_statements(self, statements: tuple[Statement, ...]) -> Network:
        """The same network with other statements."""
        return replace(self, statements=statements)
