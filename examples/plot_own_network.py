"""
Your own network in three lines
===============================

Any ``torch.nn.Module`` that torch.fx can trace: interpret it at an image, and ask for a row. The weights
are random here, in place of yours: the row shows how to ask, and nothing that was learned.
"""

import torch
from torch import nn

import fxscope
from fxscope.images import photos

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1),
    nn.LeakyReLU(0.1),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 16, 3, padding=1),
    nn.SiLU(),
    nn.Upsample(scale_factor=2),
    nn.Conv2d(16, 3, 3, padding=1),
).eval()

# %%
# The three lines. The row says with which coefficient every input pixel enters output channel 1 at (20, 20).

lin = fxscope.interpret(model, photos.shipped("chelsea")[None, :, 90:130, 100:140])
row = lin.F.row((1, 20, 20))
figure = fxscope.plot.row(
    row, place=(20, 20), text="how output pixel (20, 20) reads the image; random weights, seed 0"
)

# %%
# It is exact: the row's product with the image, and what the biases add, are the output.

print(float((row * lin.x0[0]).sum() + lin.residual[0, 1, 20, 20]), "=", float(lin.y0[0, 1, 20, 20]))
