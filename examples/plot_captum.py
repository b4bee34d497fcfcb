"""
An attribution in captum's shape
================================

``attribute(x, target=)`` with its convergence delta, from the linear interpreter. For ReLU networks it is
captum's ``InputXGradient``; what that leaves unsaid, the share of the biases, comes with it. The network is
EfficientNet-Lite0, which others trained on ImageNet.
"""

import torch
from captum.attr import InputXGradient

import fxscope
from fxscope import models
from fxscope.images import photos


class LinearInterpretation:
    """row * x of the target, and on request what it does not account for.

    The delta is 0 once r is counted.
    """

    def __init__(self, model, policy="freeze"):
        self.model, self.policy, self.reader = model, policy, None

    def attribute(self, inputs, target, return_convergence_delta=False):
        if self.reader is None:  # the graphs are made once, for all later calls
            self.reader = fxscope.prepare(self.model, inputs, policy=self.policy)
        lin = self.reader(inputs)
        attributions = lin.F.row(target).reshape(inputs.shape) * inputs
        self.residual = lin.residual[:, target]
        delta = attributions.flatten(1).sum(1) + self.residual - lin.y0[:, target]
        return (attributions, delta) if return_convergence_delta else attributions


model = models.build("efficientnet_lite0")  # trained on ImageNet, piecewise linear
pictures = [photos.shipped(name) for name in ("chelsea", "coffee")]
x = torch.cat([model.preprocess(picture) for picture in pictures])

# %%

ours = LinearInterpretation(model)
attributions, delta = ours.attribute(x, target=281, return_convergence_delta=True)
theirs = InputXGradient(model).attribute(x.clone().requires_grad_(), target=281).detach()
print(
    f"delta {float(delta.abs().max()):.1e}; difference from captum"
    f" {float((attributions - theirs).abs().max()):.1e}"
)
print(f"share of the biases {[round(v, 3) for v in ours.residual.tolist()]}")

# %%

figure = fxscope.plot.images(
    {"fxscope": attributions[0].sum(0), "captum": theirs[0].sum(0)},
    signed=True,
    text="EfficientNet-Lite0: what each pixel, over its colours, adds to the score of label 281, tabby",
)
