"""
A transformer's frozen attention
================================

In a vision transformer the decision that is frozen is *where to look*: the pattern softmax(q k^T) of every
head. Values pass through it linearly, so a score is a row over pixels plus a residual, which an attention map
alone is not. The weights are no checkpoint: a small ViT of torchvision's class is trained here on
scikit-learn's digits for a few seconds.
"""

import logging

import torch
from torch import nn
from torchvision.models import VisionTransformer

import fxscope
from fxscope.paper import datasets

logging.getLogger("fxscope").setLevel(logging.ERROR)  # it says that this model goes through torch.export
torch.manual_seed(0)
(train, labels), (test, truth) = datasets.digits("train"), datasets.digits("test")
train, test = (datasets.normalised(ink)[..., 4:28, 4:28] for ink in (train, test))
model = VisionTransformer(
    image_size=24, patch_size=4, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10
)
model.conv_proj = nn.Conv2d(1, 32, 4, 4)  # one channel
nn.init.normal_(model.heads.head.weight, std=0.1)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=300)
for _step in range(300):
    chosen = torch.randint(len(train), (32,))
    loss = nn.functional.cross_entropy(model(train[chosen]), labels[chosen])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
right = model.eval().requires_grad_(False)(test).argmax(1) == truth
print(f"{100 * float(right.double().mean()):.1f}% of {len(test)} held-out digits are classified rightly")

# %%
# What is frozen: the patterns, the statistics of the layer norms, the gates of GELU.
# ``emit="record"`` hands them out.

x0 = test[right][:1]
record = fxscope.transform(model, emit="record", example_inputs=(x0,))
_, state = record(x0)
names = record.meta["fxscope"]["state"]
frozen = {name: value for name, value in zip(names, state) if value.numel()}
for name, value in frozen.items():
    print(f"{name.removeprefix('encoder_layers_'):60s} {tuple(value.shape)}")
patterns = [
    value for value in frozen.values() if value.shape[-2:] == (37, 37)
]  # 36 patches and the class token
print(
    f"every row of a pattern sums to 1 within {max(float((p.sum(-1) - 1).abs().max()) for p in patterns):.0e}"
)

# %%
# A row through them. The difference of the two largest scores is a row, too:
# why this digit, and not the other one?

lin = fxscope.interpret(model, x0)
first, second = lin.y0[0].topk(2).indices.tolist()
rows = {
    f"row, score {first}": lin.F.row(first),
    f"row, {first} minus {second}": lin.F.row(first) - lin.F.row(second),
}
moving = fxscope.interpret(model, x0, policy="taylor").F.row(first)
score, linear, r = (
    float(lin.y0[0, first]),
    float((rows[f"row, score {first}"] * x0[0]).sum()),
    float(lin.residual[0, first]),
)
print(f"score {score:+.4f} = <row, x0> {linear:+.4f} + r {r:+.4f}, error {abs(linear + r - score):.0e}")
alike = nn.functional.cosine_similarity(rows[f"row, score {first}"].flatten(), moving.flatten(), 0)
print(f"cosine between the row and the gradient, where the patterns move with x: {float(alike):.2f}")

# %%
# Attention has neither sign nor label; the rows have both. Each panel is scaled to its largest value.

attention = patterns[-1].mean((0, 1))[0, 1:].reshape(6, 6).repeat_interleave(4, 0).repeat_interleave(4, 1)
panels = {
    "x0": x0[0, 0] - x0.min(),
    "class token's attention": attention,
    **{name: row[0] for name, row in rows.items()},
    f"gradient, score {first}": moving[0],
}
figure = fxscope.plot.images(
    {name: panel / panel.abs().max() for name, panel in panels.items()},
    signed=True,
    text="a small ViT on a digit: last layer's pattern, mean over heads; rows of F under policy freeze",
)
