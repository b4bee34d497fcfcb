"""
Rows and columns of an upscaler
===============================

The paper's section 8.B: a row is the *receptive filter* of an output pixel, a column the *projective
filter* of an input pixel. Those of a network differ from place to place, on an edge and on flat ground;
bicubic interpolation has the same filter everywhere. The network is ``fxscope:pixelshuffle4x``, trained on
10 photographs, of which this is none: it is better than bicubic by 0.4 to 1.2 dB.
"""

import torch

import fxscope
from fxscope import models
from fxscope.images import photos

low = photos.downscale(photos.luminance(photos.shipped("chelsea"))[:, 40:200, 90:250], 4)[None]
network, bicubic = fxscope.interpret(models.pixelshuffle4x(), low), fxscope.interpret(models.bicubic4x(), low)

# %%
# Two places: the strongest edge of the image, and where it is flattest.

gradient = (low[0, 0, 1:, :-1] - low[0, 0, :-1, :-1]).abs() + (low[0, 0, :-1, 1:] - low[0, 0, :-1, :-1]).abs()
gradient = torch.nn.functional.avg_pool2d(gradient[None, None], 5, 1)[0, 0, 6:-6, 6:-6]
edge, flat = (divmod(int(i), gradient.shape[1]) for i in (gradient.argmax(), gradient.argmin()))
edge, flat = ((y + 8, x + 8) for y, x in (edge, flat))
figure = fxscope.plot.images({"x0": low[0], "network": network.y0[0]})

# %%
# Columns: how one input pixel is painted into the output, cut to its surroundings.


def column(lin, place):
    found = lin.F.column((0, *place))[0]
    y, x = (4 * p + 2 for p in place)
    return found[y - 16 : y + 16, x - 16 : x + 16]


panels = {
    "network, flat": column(network, flat),
    "network, edge": column(network, edge),
    "bicubic": column(bicubic, edge),
}
columns = fxscope.plot.images(panels, signed=True, text="projective filters, output units per input unit")

# %%
# How much do they differ? The energy of the difference of two columns, in parts of their energy.


def differs(lin):
    on_edge, on_flat = column(lin, edge), column(lin, flat)
    return float((on_edge - on_flat).square().sum() / (on_edge.square().sum() + on_flat.square().sum()))


print(f"edge and flat place differ by {100 * differs(network):.0f}%, bicubic {100 * differs(bicubic):.0f}%")

# %%
# Rows: what one output pixel on the edge reads.

rows = fxscope.plot.row(
    network.F.row((0, 4 * edge[0] + 1, 4 * edge[1] + 1)), place=edge, text="receptive filter on the edge"
)
