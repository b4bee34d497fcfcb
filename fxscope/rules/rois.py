"""Pooling of regions: RoIAlign, RoIPool and their position-sensitive forms; the boxes are frozen.

An average over samples of a box is a matrix over rows times a matrix over columns. Both are read off the
operator itself, on images that are 1 in one row, or one column, alone. torch has no derivative by the boxes,
so under "taylor" they may not depend on the probe. torchvision's functions call these operators, which
torch.export sees.
"""

import torch
import torchvision  # noqa: F401  # it registers the operators

from ..twins.sampled import Boxes, Picked
from .declare import Sample, differentiated, linear, select

_OPS = torch.ops.torchvision


def _separated(x, rois, pooled, bins=None):
    """The twin of an operator that is separable in each box; ``pooled(images, rois)`` calls it.

    ``bins`` is the number of bins of a box, if each bin has channels of its own.
    """
    height, width = x.size(2), x.size(3)
    first = torch.cat([torch.zeros_like(rois[:, :1]), rois[:, 1:]], 1)
    by_row = torch.eye(height, dtype=x.dtype, device=x.device).view(1, height, 1, height, 1)
    by_column = torch.eye(width, dtype=x.dtype, device=x.device).view(1, width, 1, 1, width)

    def weights(images):
        images = images.expand([-1, -1, bins or 1, height, width]).flatten(1, 2)
        return pooled(images, first)

    rows = weights(by_row).sum(3)  # (boxes, H, heights of y), times the sum over all columns
    columns = weights(by_column).sum(2)
    whole = rows.sum([1, 2]).view(-1, 1, 1)
    empty = whole == 0
    rows = torch.where(
        empty, torch.zeros_like(rows), rows / torch.where(empty, torch.ones_like(whole), whole)
    )
    return Boxes(rows.transpose(1, 2), columns.transpose(1, 2), rois[:, 0].long(), bins is not None)


def align(x, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned):
    def pooled(images, boxes):
        return _OPS.roi_align(
            images, boxes, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned
        )

    return _separated(x, rois, pooled)


def pool(x, rois, spatial_scale, pooled_height, pooled_width, *, y):
    return Picked(y[1].long(), rois[:, 0].long())


def ps_align(x, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio):
    def pooled(images, boxes):
        return _OPS.ps_roi_align(images, boxes, spatial_scale, pooled_height, pooled_width, sampling_ratio)[0]

    return _separated(x, rois, pooled, pooled_height * pooled_width)


def ps_pool(x, rois, spatial_scale, pooled_height, pooled_width):
    def pooled(images, boxes):
        return _OPS.ps_roi_pool(images, boxes, spatial_scale, pooled_height, pooled_width)[0]

    return _separated(x, rois, pooled, pooled_height * pooled_width)


def _boxes(rng):
    """Boxes of both images, some of which leave the image, or are smaller than a pixel."""
    corners = torch.rand(6, 2, generator=rng, dtype=torch.float64) * 7 - 1
    sizes = torch.rand(6, 2, generator=rng, dtype=torch.float64) * 6
    return torch.cat([torch.tensor([[0.0], [1], [1], [0], [1], [0]]), corners, corners + sizes], 1)


def _sample(channels, *more, first=False):
    def call(f, x, rois):
        y = f(x, rois, *more)
        return y[0] if first else y

    return Sample((2, channels, 6, 7), tensors={"rois": _boxes}, call=call, independent_batch=False)


_FIELDS = {"frozen": ("rois",), "rank": lambda rank, a: 4, "input_rank": 4, "source": "the paper, eq. 7"}
_FORMULA = "y1 = rows0 x1 columns0^T in each frozen box"
ROI_ALIGN = differentiated(
    linear(
        "roi_align",
        _OPS.roi_align,
        align,
        functions=(_OPS.roi_align.default,),
        samples=(_sample(3, 0.8, 2, 3, 2, True), _sample(3, 1.0, 3, 2, -1, False)),
        formula=_FORMULA,
        **_FIELDS,
    ),
    align,
)
ROI_POOL = differentiated(
    select(
        "roi_pool",
        _OPS.roi_pool,
        pool,
        functions=(_OPS.roi_pool.default,),
        yields="values",
        samples=(_sample(3, 0.9, 3, 2, first=True),),
        formula="y1 = x1 at the index that won in each bin of a frozen box",
        **_FIELDS,
    ),
    pool,
)
PS_ROI_ALIGN = differentiated(
    linear(
        "ps_roi_align",
        _OPS.ps_roi_align,
        ps_align,
        functions=(_OPS.ps_roi_align.default,),
        yields="values",
        samples=(_sample(12, 0.9, 2, 3, 2, first=True),),
        formula=_FORMULA,
        **_FIELDS,
    ),
    ps_align,
)
PS_ROI_POOL = differentiated(
    linear(
        "ps_roi_pool",
        _OPS.ps_roi_pool,
        ps_pool,
        functions=(_OPS.ps_roi_pool.default,),
        yields="values",
        samples=(_sample(12, 0.9, 2, 3, first=True),),
        formula=_FORMULA,
        **_FIELDS,
    ),
    ps_pool,
)
