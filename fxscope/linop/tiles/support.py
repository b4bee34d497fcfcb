"""Where rows and columns of a tiled F lie, as the graph tells; nothing is computed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import NotLocal
from ..local.alignment import Alignment
from ..local.crop import place_of
from ..local.locality import touched
from ..local.sparse import Field

if TYPE_CHECKING:
    from .tiled import TiledInterpreter


class TiledSupport:
    """Where rows and columns of a tiled F lie, and where its outputs lie in the input."""

    def __init__(self, lin: TiledInterpreter):
        self.lin, self.whole = lin, lin.whole

    def receptive(self, index: tuple[int, ...]) -> Field:
        """The box of inputs on which an output can depend."""
        _, y, x = place_of(index, self.whole.outputs, "output")
        field = self.whole.field(self.lin.tiling.box(((y, y), (x, x))))
        box = (slice(0, self.whole.inputs[0]), *(slice(a, b + 1) for a, b in field.values()))
        return Field(box, self.whole.inputs)

    def projective(self, index: tuple[int, ...]) -> Field:
        """The box of outputs that can depend on an input."""
        whole, place = self.whole, place_of(index, self.whole.inputs, "input")
        found = touched(whole.traced, whole.image, whole.output, dict(enumerate(place[1:], 2)))
        ends = [found.get(d, (0, n - 1)) if found else (0, -1) for d, n in enumerate(whole.outputs[1:], 2)]
        return Field((slice(0, whole.outputs[0]), *(slice(a, b + 1) for a, b in ends)), whole.outputs)

    def alignment(self) -> Alignment:
        """Where the outputs lie in the input: the line of the crop at the first corner, of other sizes."""
        found = self.lin.at(self.lin.tiling.windows[0]).lin.F.alignment()
        return replace(found, inputs=self.whole.inputs[1:], outputs=self.whole.outputs[1:])

    @property
    def inputs(self) -> Any:
        """Asked for by a plan of the whole sparse matrix alone, which there is not."""
        raise NotLocal(
            "the whole sparse matrix of an interpreter in tiles is larger than memory: take the F of each"
            " tile, t.lin.F.to_sparse() for t in lin.tiles(), or rows and columns, lin.local_rows([...])"
        )
