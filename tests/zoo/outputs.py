"""Outputs beside others: constants of x0, integers, booleans, numbers, structures in structures."""

from __future__ import annotations

from collections import namedtuple

import torch
import torch.nn.functional as F
from torch import nn

from .case import case

Scored = namedtuple("Scored", ["label", "probabilities", "logits"])


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

    def logits(self, x):
        return self.b(torch.relu(self.a(x)))


@case((2, 5))
class ProbabilitiesBesideLogits(Classifier):
    """A softmax at the end is its own gate: a constant output."""

    def forward(self, x):
        z = self.logits(x)
        return {"logits": z, "probabilities": z.softmax(-1)}


@case((2, 5))
class LabelsAndProbabilities(Classifier):
    """A named tuple whose first entry is an integer, and whose second is a constant."""

    def forward(self, x):
        z = self.logits(x)
        return Scored(z.argmax(1), F.softmax(z, dim=1), z)


@case((2, 5))
class MaskBesideFeatures(Classifier):
    """Booleans between floating outputs, in a list."""

    def forward(self, x):
        z = self.a(x)
        return [torch.relu(z), z > 0, self.b(z)]


@case((2, 5))
class Rounded(Classifier):
    """A rounded value, and a detached one: constants that the author made."""

    def forward(self, x):
        z = self.logits(x)
        return z.round(), z.detach() * 2, z * 0.5


@case((2, 5))
class Nested(Classifier):
    """A tuple with a dict in it, in which a label is."""

    def forward(self, x):
        z = self.logits(x)
        return z, {"aux": {"features": self.a(x), "label": z.argmax(1)}, "again": z - x[:, :3]}


@case((2, 5))
class ANumberAmongThem(Classifier):
    """A size, which is no tensor."""

    def forward(self, x):
        return {"n": x.shape[0], "logits": self.logits(x)}


@case((2, 5))
class ABufferAmongThem(Classifier):
    """A constant of the model's own, which has no batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("prior", torch.rand(3))

    def forward(self, x):
        z = self.logits(x)
        return {"prior": self.prior, "posterior": z + self.prior.log()}


@case((2, 5))
class OneLogitAmongIntegers(Classifier):
    """One floating output, and integers before it."""

    def forward(self, x):
        z = self.logits(x)
        return z.topk(2, dim=1).indices, z
