"""
A loss on the residual
======================

The paper's third future use: F and r in a loss. The emitted graphs are differentiable modules that share
the model's parameters, so a penalty on ``emit="residual"`` trains the network itself. Fine-tuned with it,
``fxscope:pixelshuffle4x``, a trained x4 network, keeps its PSNR to a twentieth of a decibel while r, what
its biases add, shrinks by two fifths.
"""

import copy

import torch

import fxscope
from fxscope import models
from fxscope.images import photos

torch.manual_seed(0)
rng = torch.Generator().manual_seed(0)
TRAINING, HELD_OUT = (
    ("astronaut", "camera", "grass", "coins", "motorcycle_left"),
    ("chelsea", "coffee", "rocket"),
)


def pair(name):
    high = photos.luminance(photos.shipped(name))
    low = photos.downscale(high, 4)
    return low, high[:, : 4 * low.shape[1], : 4 * low.shape[2]]


photographs = [pair(name) for name in TRAINING]
held_out = [pair(name) for name in HELD_OUT]


def batch(count=8, side=24):
    crops = []
    for i in torch.randint(len(photographs), (count,), generator=rng).tolist():
        low, high = photographs[i]
        y, x = (int(torch.randint(s - side, (), generator=rng)) for s in low.shape[1:])
        crops.append(
            (low[:, y : y + side, x : x + side], high[:, 4 * y : 4 * (y + side), 4 * x : 4 * (x + side)])
        )
    return (torch.stack(t) for t in zip(*crops))


# %%
# The residual is a graph of its own; its parameters are the model's.

before = models.pixelshuffle4x()
model = copy.deepcopy(before)
residual = fxscope.transform(model, emit="residual")
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
for _step in range(60):
    low, high = batch()
    loss = (model(low) - high).square().mean() + 1.0 * residual(low).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# On photographs it has not seen.


@torch.no_grad()
def measured(network):
    r = fxscope.transform(network, emit="residual")
    found = [
        (photos.psnr(network(low[None])[0], high, 8), float(r(low[None]).square().mean().sqrt()))
        for low, high in held_out
    ]
    return [sum(v) / len(found) for v in zip(*found)]


(psnr_before, r_before), (psnr_after, r_after) = measured(before), measured(model)
print(
    f"PSNR {psnr_before:.2f} -> {psnr_after:.2f} dB;  root mean square of r {r_before:.4f} -> {r_after:.4f}"
)

# %%

low = held_out[0][0][:, 20:60, 40:80]
with torch.no_grad():
    panels = {
        "r before": fxscope.transform(before, emit="residual")(low[None])[0],
        "r after": residual(low[None])[0],
    }
figure = fxscope.plot.images(
    panels, signed=True, text=f"PSNR {psnr_before:.2f} dB before, {psnr_after:.2f} dB after"
)
