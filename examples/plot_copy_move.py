"""
A copy-move in image-to-image
=============================

The paper finds that a style-transfer network fetches texture from one fixed place of the image for every
pixel: strong off-diagonals in the rows of F. Here a network is trained for a few seconds on a task that asks
for it, to paint the image over with its own top left corner, and the rows give the strategy away.
"""

import torch
from torch import nn

import fxscope

SIDE, TILE, STEPS = 32, 8, 1200


class Painter(nn.Module):
    """Tiles of the image as tokens, mixed over positions and within tiles, with ReLU units between."""

    def __init__(self, width=256):
        super().__init__()
        self.cut, self.paste = nn.PixelUnshuffle(TILE), nn.PixelShuffle(TILE)
        tokens = (SIDE // TILE) ** 2
        self.mix, self.enter, self.leave = (
            nn.Linear(tokens, tokens),
            nn.Conv2d(TILE**2, width, 1),
            nn.Conv2d(width, TILE**2, 1),
        )

    def forward(self, x):
        y = torch.relu(self.enter(self.cut(x)))
        y = torch.relu(y + self.mix(y.flatten(2)).view(y.shape))
        return self.paste(self.leave(y))


def painted(x):
    """0.5 of the image and 0.5 of its top left tile, repeated."""
    return 0.5 * x + 0.5 * x[..., :TILE, :TILE].tile((1, 1, SIDE // TILE, SIDE // TILE))


torch.manual_seed(0)
model = Painter()
optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
for _step in range(STEPS):
    x = torch.rand(32, 1, SIDE, SIDE)
    loss = (model(x) - painted(x)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
print(f"mean squared error {float(loss.detach()):.1e}, of the mean image {float(painted(x).var()):.1e}")

# %%
# The row of a pixel far from the corner reads two places: its own, and the same place of the top left tile.

torch.manual_seed(1)
lin = fxscope.interpret(model.eval(), torch.rand(1, 1, SIDE, SIDE))
place = (21, 26)
row = lin.F.row((0, *place))
strongest = [divmod(int(i), SIDE) for i in row[0].abs().flatten().topk(2).indices]
print("read most:", sorted(strongest), "expected:", sorted([place, (place[0] % TILE, place[1] % TILE)]))
print("with", [f"{float(row[0][p]):.2f}" for p in sorted(strongest)], "where the task has 0.50 of each")
figure = fxscope.plot.row(
    row, place=place, zoom=64, text="one row: its own pixel, and the corner it copies from"
)

# %%
# And the column of a corner pixel goes everywhere.

corner = (place[0] % TILE, place[1] % TILE)
column = fxscope.plot.column(
    lin.F.column((0, *corner)),
    place=corner,
    zoom=64,
    text="one column: a corner pixel is painted into every tile",
)
