"""Register the figure of every record as its method ``.plot()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..analysis.adversarial import FGSM
from ..analysis.compare import Comparison
from ..analysis.contributions import Contributions
from ..analysis.discussion import PixelDiscussion
from ..analysis.faithfulness import Faithfulness
from ..analysis.images import Diagonal, Energy, Invariance, Source
from ..analysis.layers import LayerContributions
from ..analysis.reach import Reach
from ..analysis.share import ResidualShare
from ..analysis.votes import PixelVotes
from ..analysis.votes_study import VotesStudy
from ..errors import PlaceIndexError, ShapeError
from ..graph.arguments import shown
from ..linop import SVD, Filters, LocalColumn, LocalRow, Spectrum
from ..results.provenance import caption
from ..results.registry import provides
from . import analysis, bars, compared, filters, studies, svd

provides(FGSM, "plot")(analysis.fgsm)
provides(PixelDiscussion, "plot")(analysis.discussion)
provides(PixelVotes, "plot")(analysis.votes)
provides(ResidualShare, "plot")(analysis.residual_share)
provides(Invariance, "plot")(analysis.aligned)
provides(Source, "plot")(analysis.source)
provides(Reach, "plot")(analysis.reach)
provides(Comparison, "plot")(compared.compared)
provides(VotesStudy, "plot")(studies.focus)
provides(Faithfulness, "plot")(studies.faithfulness)
provides(SVD, "plot")(svd.eigen)
provides(Spectrum, "plot")(svd.spectrum)


@provides(Energy, "plot")
def _energy(
    found: Energy,
    text: str = "",
    photograph: torch.Tensor | None = None,
    places: Sequence[tuple[int, int]] = (),
) -> Any:
    return analysis.energies({"": found}, text, photograph, places)


@provides(Diagonal, "plot")
def _diagonal(found: Diagonal, text: str = "") -> Any:
    return analysis.off_diagonals({"": found}, text)


@provides(LocalRow, "plot")
def _local_row(found: LocalRow, **options: Any) -> Any:
    return filters.row(found.values, **{"text": f"a row {_within(found.box)} of x0", **options})


@provides(LocalColumn, "plot")
def _local_column(found: LocalColumn, **options: Any) -> Any:
    return filters.column(found.values, **{"text": f"a column {_within(found.box)} of y0", **options})


def _within(box: tuple[slice, ...]) -> str:
    return f"on rows {box[1].start} to {box[1].stop - 1}, columns {box[2].start} to {box[2].stop - 1}"


@provides(LayerContributions, "plot")
def _layers(found: LayerContributions, text: str = "") -> Any:
    return analysis.layers({"": found}, text)


@provides(Contributions, "plot")
def _contributions(found: Contributions, **options: Any) -> Any:
    return bars.contributions(found, **options)


@provides(Filters, "plot")
def _filters(found: Filters, which: int = 0, **options: Any) -> Any:
    """Draw one of the rows or columns; the caption has its provenance."""
    if not isinstance(found.values, torch.Tensor):
        raise ShapeError("cannot draw a structure of tensors as one figure; plot each with fxscope.plot.row")
    if isinstance(which, bool) or not isinstance(which, int) or not -len(found) <= which < len(found):
        raise PlaceIndexError(
            f"plot: which is a number from 0 to {len(found) - 1}, one of the {found.kind}s; got"
            f" {shown(which)}"
        )
    draw = filters.row if found.kind == "row" else filters.column
    text, index = caption(found.origin), str(found.indices[which]).strip("()").rstrip(",")
    of = f"{'y0' if found.kind == 'row' else 'x0'}[{index}]"
    place = found.places[which] if found.places else None
    return draw(found[which], **{"text": text, "place": place, "of": of, **options})
