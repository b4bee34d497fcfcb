"""
Receptive field, and what of it is used
=======================================

The graph tells the box that a row cannot leave, without probing. The row itself shows how much of it the
network uses: the *effective* receptive field (Luo et al., 2016), here exactly, for one image. The network
is ``fxscope:pixelshuffle4x``, an upscaler that was trained on 10 photographs, of which this is none.
"""

import torch

import fxscope
from fxscope import models
from fxscope.images import photos

low = photos.downscale(photos.luminance(photos.shipped("coffee"))[:, 100:292, 200:392], 4)[None]
lin = fxscope.interpret(models.pixelshuffle4x(), low)
place = (0, 96, 96)
box = lin.F.receptive_field(place)
print(box)

# %%
# The mean magnitude of many rows, each moved to the same place.

places = [(0, y, x) for y in range(40, 152, 8) for x in range(40, 152, 8)]
rows = lin.F.rows(places, progress=False)[:, 0].abs()
centred = torch.stack(
    [torch.roll(row, (24 - y // 4, 24 - x // 4), (0, 1)) for row, (_, y, x) in zip(rows, places)]
).mean(0)[14:35, 14:35]
inside = centred[5:16, 5:16]  # 11 x 11, the receptive field
energy = inside.square()
outside, share = float(centred.square().sum() - energy.sum()), float(energy[3:8, 3:8].sum() / energy.sum())
print(f"energy outside the receptive field {outside:.1e}; its inner 5 x 5 holds {100 * share:.1f}% of it")

# %%

one = lin.F.row(place)[0].abs()[14:35, 14:35]
figure = fxscope.plot.images(
    {"one row": one, "mean of 196 rows": centred}, signed=True, text="magnitudes; the box is 11 x 11 pixels"
)
