"""
What adds up to a score
=======================

The paper's Theorem 1 for any graph: a score of DenseNet-121 is F x0 plus one contribution for every additive
constant in the network. One reverse pass gives them all, and they sum to the score exactly. (Random weights,
made lively by ``testing.randomize``; load your own and leave that out.)
"""

import torch
import torchvision

import fxscope
from fxscope.images import photos
from fxscope.testing import randomize

torch.manual_seed(0)
x0 = photos.shipped("chelsea")[None, :, 60:124, 120:184]
model = randomize(torchvision.models.densenet121(weights=None).eval(), x0)
lin = fxscope.interpret(model, x0)

# %%

parts = lin.contributions(int(lin.y0.argmax()))
print(
    f"F x0 = {parts.linear:+.4f}, {len(parts.terms)} constants: r = {parts.residual:+.4f}, sum ="
    f" {parts.total:+.4f}, score = {parts.output:+.4f}, error {parts.error:.0e}"
)

# %%
# In the order of the graph, from the first norm to the classifier's bias.

figure = parts.plot(text="DenseNet-121, contributions to the top score by depth")
