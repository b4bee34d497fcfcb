"""
A denoiser's adaptive filters
=============================

The classic figure of bias-free denoising (Mohan et al., 2020): without biases r is 0 and the denoised pixel
is a weighted mean of noisy ones, with weights that follow the image. A small bias-free network is trained
here for a few seconds, then asked for its rows.
"""

import torch

import fxscope
from fxscope import models
from fxscope.images import photos

torch.manual_seed(0)
rng = torch.Generator().manual_seed(0)
images = [photos.luminance(photos.shipped(name)) for name in ("camera", "coins", "brick", "moon")]
model = models.DnCNN(depth=5, features=24, bias=False)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def crops(count=16, side=32):
    chosen = [images[int(torch.randint(len(images), (), generator=rng))] for _ in range(count)]
    corners = [[int(torch.randint(s - side, (), generator=rng)) for s in image.shape[1:]] for image in chosen]
    return torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(chosen, corners)])


for _step in range(250):
    clean = crops()
    loss = (model(clean + 0.1 * torch.randn(clean.shape, generator=rng)) - clean).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
# r is 0 exactly, so F x0 is the whole output.

clean = photos.luminance(photos.shipped("chelsea"))[:, 60:124, 120:184]
noisy = clean + 0.1 * torch.randn(clean.shape, generator=rng)
lin = fxscope.interpret(model.eval(), noisy[None])
print(
    f"noisy {photos.psnr(noisy, clean):.2f} dB, denoised {photos.psnr(lin.y0[0].detach(), clean):.2f} dB, |r|"
    f" = {float(lin.residual.abs().max())}"
)
pictures = fxscope.plot.images({"clean": clean, "noisy": noisy, "denoised": lin.y0[0]})

# %%
# The filters at three pixels, 11 x 11 around each:
# wide and even on flat ground, along an edge where there is one.

smooth = torch.nn.functional.avg_pool2d(clean[None], 3, 1, 1)[0, 0]
change = (smooth[1:, :-1] - smooth[:-1, :-1]).abs() + (smooth[:-1, 1:] - smooth[:-1, :-1]).abs()
inner = change[8:-8, 8:-8].flatten().argsort()
places = {
    name: tuple(int(v) + 8 for v in divmod(int(inner[i]), change[8:-8, 8:-8].shape[1]))
    for name, i in (("flat", 0), ("between", len(inner) // 2), ("edge", -1))
}
panels = {
    f"{name}, sum {float(row.sum()):.2f}": row[0, y - 5 : y + 6, x - 5 : x + 6]
    for name, (y, x) in places.items()
    for row in [lin.F.row((0, y, x))]
}
figure = fxscope.plot.images(
    panels, signed=True, text="rows of F: the weights of the mean that a denoised pixel is"
)
