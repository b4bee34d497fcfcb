"""A row or a column over its photograph, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..errors import ShapeError
from ..graph.arguments import checked
from ..linop import LinearInterpreter
from ..results.provenance import caption as provenance
from .channels import CLIP
from .filters import column as draw_column
from .filters import row as draw_row


@checked
def heatmap(
    lin: LinearInterpreter,
    index: Any,
    column: bool = False,
    names: Sequence[str] | None = None,
    text: str = "",
    photograph: torch.Tensor | None = None,
    zoom: int | None = None,
    channels: str = "norm",
    clip: float = CLIP,
    scale: str = "linear",
):
    """Draw a row of F over the image that it reads, or a column over the output to which it goes.

    Parameters
    ----------
    lin : LinearInterpreter
        The interpreter at one image.
    index : int or tuple
        Of the output whose row is drawn: 281 for a score, (c, y, x) for a pixel; with ``column`` of the
        input.
    column : bool
        Draw the column of an input instead.
    names : sequence of str, optional
        The names of the classes, for the title of a score.
    text : str
        The caption. The default is the provenance of F: network, weights, image, policy, dtype, error.
    photograph : torch.Tensor, optional
        The image (3, H, W) to draw instead of x0 or y0, which are shown from their smallest to their largest
        value where they are not in [0, 1].
    zoom, channels, clip, scale
        As in ``fxscope.plot.row``.

    Returns
    -------
    matplotlib.figure.Figure
        The photograph, the filter over it, the filter alone, and a zoom where it is smaller.

    Raises
    ------
    FxscopeError
        If there are several images or inputs, or what is read is no image.

    Examples
    --------
    >>> import fxscope
    >>> lin = fxscope.interpret(fxscope.models.bicubic4x(), torch.rand(1, 1, 16, 16))
    >>> figure = fxscope.plot.heatmap(lin, (0, 32, 32))
    """
    ground = lin.y0 if column else lin.x0
    if not isinstance(ground, torch.Tensor) or ground.dim() != 4 or len(ground) != 1:
        what = "a column lies over the output" if column else "a row lies over the input"
        raise ShapeError(
            f"heatmap: {what}, which must be one image (1, C, H, W);"
            f" this one is {tuple(getattr(ground, 'shape', ())) or type(ground).__name__}; interpret one"
            " image, or choose the tensor with inputs= and outputs="
        )
    at = (index,) if isinstance(index, int) else tuple(index)
    values = lin.F.column(index) if column else lin.F.row(index)
    place: Any = None
    if len(at) == 3 and len(lin.F.inputs.shape) == len(lin.F.outputs.shape) == 3:
        found = lin.F.alignment()
        place = found.output_of(at[1:]) if column else found.input_of(at[1:])
    said = f"{'x0' if column else 'y0'}[{', '.join(map(str, at))}]"
    if not column and len(at) == lin.y0.dim() - 1:
        said = f"{said} = {float(lin.y0[0][at]):.4g}"
    if names is not None and len(at) == 1 and not column:
        said = f"{names[at[0]]} ({said})"
    draw = draw_column if column else draw_row
    return draw(
        values,
        place,
        zoom,
        text or provenance(lin.F.origin()),
        said,
        ground[0] if photograph is None else photograph,
        channels,
        clip,
        scale,
    )
