"""
What adds up to a score
=======================

The paper's Theorem 1 on a network that others trained: the score of EfficientNet-Lite0 (ImageNet) for the
cat in a photograph is F x0 plus one contribution for every additive constant in the network. One reverse pass
gives them all, and they sum to the score exactly.
"""

from torchvision.models import EfficientNet_B0_Weights

import fxscope
from fxscope import models
from fxscope.images import photos

network = models.build("efficientnet_lite0")
x0 = network.preprocess(photos.shipped("chelsea"))
lin = fxscope.interpret(network, x0)
names = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]  # of ImageNet, in its order
label = int(lin.y0.argmax())
print(f"label {label}, {names[label]}")

# %%

parts = lin.contributions(label)
print(
    f"F x0 = {parts.linear:+.4f}, {len(parts.terms)} constants: r = {parts.residual:+.4f}, sum ="
    f" {parts.total:+.4f}, score = {parts.output:+.4f}, error {parts.error:.0e}"
)

# %%
# In the order of the graph, from the first norm to the classifier's bias.

figure = parts.plot(text=f"EfficientNet-Lite0, contributions to the score for {names[label]} by depth")
