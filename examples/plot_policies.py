"""
One row under every policy
==========================

What a norm, a smooth unit or a gate freezes is a choice. Every policy obeys eq. 3 and gives the output
back; they differ in what is kept linear, and so in where the row reaches and in what is left to the
residual. That is a matter of the operators: the weights and the image are random, seed 1, and nothing is
said about a task.
"""

import torch
from torch import nn

import fxscope


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.norm, self.leave = (
            nn.Conv2d(1, 12, 5, padding=2),
            nn.InstanceNorm2d(12, affine=True),
            nn.Conv2d(12, 1, 5, padding=2),
        )
        self.squeeze = nn.Conv2d(12, 12, 1)

    def forward(self, x):
        y = nn.functional.gelu(self.norm(self.enter(x)))
        return self.leave(y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True))))


torch.manual_seed(1)
model, x0 = Block().eval(), torch.randn(1, 1, 32, 32)

# %%

rows = {}
for policy in ("freeze", "detach", "taylor"):
    lin = fxscope.interpret(model, x0, policy=policy)
    rows[policy] = row = lin.F.row((0, 16, 16))
    total = float((row * x0[0]).sum() + lin.residual[0, 0, 16, 16])
    print(
        f"{policy:7s} row.x0 = {float((row * x0[0]).sum()):+.4f}  r ="
        f" {float(lin.residual[0, 0, 16, 16]):+.4f}  sum = {total:+.4f}  y0 ="
        f" {float(lin.y0[0, 0, 16, 16]):+.4f}"
    )

# %%
# Cube roots, so that the small coefficients that reach over the whole plane show
# beside the large ones near the pixel.

figure = fxscope.plot.images(
    {k: v.sign() * v.abs() ** (1 / 3) for k, v in rows.items()},
    signed=True,
    text="cube root of the coefficients; random weights, seed 1",
)
