"""Habits that symbolic tracing cannot take, or that a graph has to hold in another way: modules out of reach,
computed weights, branches on the kind of a result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from .case import case


@case((2, 3, 6, 6), free=False)
class ModulesMadeInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        up = nn.Upsample(scale_factor=2, mode="bilinear")
        return nn.Sequential(nn.Softplus(), up, nn.Tanh())(self.conv(x))


@case((2, 3, 6, 6), free=False)
class ModulesInAPlainList(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = [nn.Conv2d(3, 3, 3, padding=1).double() for _ in range(2)]

    def forward(self, x):
        for conv in self.convs:
            x = F.silu(conv(x))
        return x


@case((2, 3, 6, 6), free=False)
class ModulesInADict(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = {"conv": nn.Conv2d(3, 3, 3).double(), "norm": nn.GroupNorm(3, 3).double()}

    def forward(self, x):
        return self.parts["norm"](self.parts["conv"](x)).sigmoid()


@case((2, 3, 6, 6), free=False)
class ModuleInAClosure(nn.Module):
    def __init__(self):
        super().__init__()
        net = nn.Sequential(nn.Conv2d(3, 3, 3).double(), nn.Tanh())
        self.call = lambda x: net(x)

    def forward(self, x):
        return self.call(x) * 2


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x):
        y = self.conv(x)
        return y, y.mean()


@case((2, 3, 6, 6), free=False)
class TupleOrTensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.pair, self.pool = Pair(), nn.MaxPool2d(2)

    def forward(self, x):
        h = self.pair(x)
        h = h[0] if isinstance(h, tuple) else h
        h = self.pool(h)
        return torch.tanh(h[0] if isinstance(h, (tuple, list)) else h)


@case((2, 5, 8), free=False)
class TupleOfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        h = self.attention(x, x, x)
        h = self.last(h[0] if isinstance(h, tuple) else h)
        return torch.tanh(h[0] if type(h) is tuple else h)


@case((2, 6), free=False)
class WeightsThatAreTensors(nn.Module):
    """A plain tensor in the place of a parameter."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 4), nn.LayerNorm(4)
        for module in (self.linear, self.norm):
            weight = torch.rand_like(module.weight, dtype=torch.float64)
            del module.weight
            module.weight = weight

    def forward(self, x):
        return self.norm(self.linear(x)).sigmoid()


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.raw, self.bias = nn.Parameter(torch.randn(4, 3, 3, 3)), torch.ones(4, dtype=torch.float64)

    @property
    def weight(self):
        return self.raw - self.raw.mean((1, 2, 3), keepdim=True)

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias)


@case((2, 3, 6, 6))
class WeightThatIsAProperty(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = Centred()

    def forward(self, x):
        return self.conv(x).sigmoid()


@case((2, 6))
class Data(nn.Module):
    """``x.data`` is a constant to autograd."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x):
        h = self.linear(x)
        return h * torch.sigmoid(h.data) + F.linear(x.data, self.linear.weight.data)


class Clipped(nn.Module):
    """A parametrization that decides on the values of the weight, and takes a number of them."""

    def forward(self, weight):
        if weight.detach().abs().max() > 1e-3:
            weight = weight.tanh()
        norm = float(weight.detach().norm())
        return weight / norm if norm > 0.5 else weight


@case((2, 3, 6, 6), free=False)
class OwnParametrization(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)
        parametrize.register_parametrization(self.conv, "weight", Clipped())
        parametrize.register_parametrization(self.norm, "weight", Clipped())

    def forward(self, x):
        return self.norm(self.conv(x).tanh())


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 6))

    def forward(self, x):
        return x @ self.weight.T


@case((2, 6), free=False)
class OwnParametrizationOfAModuleByHand(nn.Module):
    """The weight is read by a forward of the user's own."""

    def __init__(self):
        super().__init__()
        self.linear = ByHand()
        parametrize.register_parametrization(self.linear, "weight", Clipped())

    def forward(self, x):
        return F.gelu(self.linear(x))


@case((2, 6), free=False)
class OrthogonalWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = parametrizations.orthogonal(nn.Linear(6, 6))
        self.middle = parametrizations.spectral_norm(nn.Linear(6, 6))
        self.last = parametrizations.orthogonal(nn.Linear(6, 4), orthogonal_map="cayley")

    def forward(self, x):
        return self.last(self.middle(self.first(x).tanh()).tanh())


@case((2, 4))
class CollectedFromNothing(nn.Module):
    """A concatenation that starts with a tensor of no entries, of another rank."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        found = torch.tensor([], dtype=x.dtype)
        for shift in range(2):
            found = torch.cat([found, torch.relu(self.linear(x) + shift)], 1)
        return found


@case(
    inputs=lambda g: (
        torch.randn(2, 5, 8, generator=g, dtype=torch.float64),
        torch.tensor([[False] * 4 + [True], [False] * 3 + [True] * 2]),
    ),
    free=False,
)
class PaddedEncoder(nn.Module):
    """Minus infinity at the padded places, inside the attention."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x, padded):
        return self.encoder(x, src_key_padding_mask=padded)
