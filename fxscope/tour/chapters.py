"""The chapters of the tour: each takes a ``Subject`` and gives figures with captions, and numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from ..models import bicubic4x
from ..photos import downscale, psnr
from ..render import draw
from ..transform import transform
from ..verify import verify
from . import figures

BORDER = 8


@dataclass
class Subject:
    """The photograph (1, 1, H, W) luminance in [0, 1], its low-resolution form, the network, and the place that is probed."""

    title: str
    photograph: torch.Tensor
    low: torch.Tensor
    network: nn.Module
    place: tuple[int, int]
    scale: int = 4


@dataclass
class Chapter:
    """What a chapter puts on the page: [(name, figure or svg, caption)], and its numbers."""

    title: str
    figures: list = field(default_factory=list)
    table: str = ""
    numbers: dict = field(default_factory=dict)


def photograph(subject: Subject) -> Chapter:
    """The photograph, the network's output and bicubic, with PSNR."""
    with torch.no_grad():
        network, bicubic = subject.network(subject.low), bicubic4x()(subject.low)
    numbers = {"psnr_network": psnr(network, subject.photograph, BORDER), "psnr_bicubic": psnr(bicubic, subject.photograph, BORDER)}
    panels = [("photograph", subject.photograph), (f"network, {numbers['psnr_network']:.2f} dB", network), (f"bicubic, {numbers['psnr_bicubic']:.2f} dB", bicubic)]
    caption = f"The photograph (luminance), and its quarter upscaled by the network and by bicubic interpolation; the network is {numbers['psnr_network'] - numbers['psnr_bicubic']:+.2f} dB from bicubic."
    return Chapter("The photograph", [("upscaled", figures.images(panels), caption)], numbers=numbers)


def filter_and_residual(subject: Subject) -> Chapter:
    """F x0 and r apart: their sum is the output (eq. 5)."""
    with torch.no_grad():
        fx = transform(subject.network, "filter")(subject.low, subject.low)
        r = transform(subject.network, "residual")(subject.low)
        y = subject.network(subject.low)
    error = ((fx + r - y).abs().max() / y.abs().max()).item()
    share = (r.norm() / y.norm()).item()
    caption = f"The output is F x0 + r to {error:.1e}. The residual r, made of biases alone, holds {100 * share:.1f}% of the output's norm; both are on one symmetric scale."
    return Chapter("What the filter passes, and what the biases add", [("filter_residual", figures.signed([("F x0", fx), ("r", r)]), caption)], numbers={"residual_share": share, "sum_error": error})


def row_and_column(subject: Subject) -> Chapter:
    """One receptive filter (row of F) and one projective filter (column), zoomed, with their place."""
    y, x = subject.place
    out = (y * subject.scale + 1, x * subject.scale + 1)
    filter = transform(subject.network, "filter")
    delta = torch.zeros_like(subject.low)
    delta[..., y, x] = 1
    with torch.no_grad():
        column = filter(subject.low, delta)
    probe = torch.zeros_like(subject.low, requires_grad=True)
    row = torch.autograd.grad(filter(subject.low, probe)[0, 0, out[0], out[1]], probe)[0]  # eq. 6
    figure = figures.filters(row[0, 0], (y, x), column[0, 0], (y * subject.scale + 2, x * subject.scale + 2))
    caption = (
        f"Left, the receptive filter of output pixel {out}: which low-resolution pixels it reads (row of F, in output units per input unit); right, the projective filter of input pixel {(y, x)}: "
        f"which output pixels it feeds (column of F). Crosses mark the places. The row has {int((row != 0).sum())} coefficients that are not zero and sums to {row.sum():.3f}."
    )
    return Chapter("One receptive and one projective filter", [("row_column", figure, caption)], numbers={"row_nonzeros": int((row != 0).sum()), "row_sum": row.sum().item(), "column_sum": column.sum().item()})


def graph(subject: Subject) -> Chapter:
    """The picture of the rewritten graph."""
    picture = draw(transform(subject.network))
    caption = "The rewritten graph: the original branch computes y0 from x0; the interpreter branch replays its decisions on x1. Dashed edges carry what each nonlinearity decided. Hover over a box for its rule and source line."
    return Chapter("The rewritten graph", [("graph", picture, caption)])


def verification(subject: Subject) -> Chapter:
    """The laws on this network and this photograph."""
    report = verify(subject.network, subject.low)
    return Chapter("Verification", table=report._repr_html_(), numbers={law.name: law.error for law in report.laws} | {"ok": report.ok})


CHAPTERS = (photograph, filter_and_residual, row_and_column, graph, verification)

__all__ = ["CHAPTERS", "Chapter", "Subject", "downscale"]
