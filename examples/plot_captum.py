"""
An attribution in captum's shape
================================

``attribute(x, target=)`` with its convergence delta, from the linear interpreter. For ReLU networks it is
captum's ``InputXGradient``; what that leaves unsaid, the share of the biases, comes with it.
"""

import torch
from captum.attr import InputXGradient
from torch import nn

import fxscope


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


torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 16, 5, 2),
    nn.ReLU(),
    nn.Conv2d(16, 16, 3),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(16 * 36, 10),
).eval()
x = torch.rand(2, 3, 32, 32)

# %%

ours = LinearInterpretation(model)
attributions, delta = ours.attribute(x, target=3, return_convergence_delta=True)
theirs = InputXGradient(model).attribute(x.clone().requires_grad_(), target=3).detach()
print(
    f"delta {float(delta.abs().max()):.1e}; difference from captum"
    f" {float((attributions - theirs).abs().max()):.1e}"
)
print(f"share of the biases {[round(v, 3) for v in ours.residual.tolist()]}")

# %%

figure = fxscope.plot.images(
    {"fxscope": attributions[0], "captum": theirs[0]},
    signed=True,
    text="attributions to score 3",
)
