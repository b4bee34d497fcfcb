"""
A rule of your own
==================

An operator that fxscope does not know is an error that names your line. A rule is one declaration:
spellings, what is frozen on x0, the twin for x1. Here: the "smooth leaky ReLU" h(x) = x (a + (1 - a) s(x)),
whose factor is frozen. The network has random weights: the laws that are checked hold for any.
"""

import torch
from torch import nn

import fxscope
from fxscope.rules.declare import Sample, mask
from fxscope.twins import Gate


@torch.fx.wrap
def smooth_leaky(x, slope=0.1):
    return x * (slope + (1 - slope) * torch.sigmoid(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 1, 5, padding=2)

    def forward(self, x):
        return self.leave(smooth_leaky(self.enter(x)))


torch.manual_seed(0)
model = Net().eval()
try:
    fxscope.transform(model)
except fxscope.FxscopeError as error:
    print(error)

# %%
# The rule: ordinary PyTorch code over x0, with the operator's own signature.


def freeze(x, slope=0.1):
    return Gate(factor=slope + (1 - slope) * torch.sigmoid(x))


fxscope.register_rule(
    mask(
        "smooth_leaky",
        smooth_leaky,
        freeze,
        samples=(Sample(),),
        formula="h(x) = x (a + (1 - a) s(x));  y1 = (a + (1 - a) s(x0)) x1",
    )
)
print(fxscope.verify(model, torch.randn(2, 1, 16, 16)))

# %%
# It has its place in the picture, too.

fxscope.draw(fxscope.transform(model), fold=False)
