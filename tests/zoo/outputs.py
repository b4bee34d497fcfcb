"""Outputs beside others: constants of x0, integers, booleans, numbers, structures in structures."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxscope.errors import TraceFailure

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


@dataclass
class Found:
    """What a detector returns: tensors, a nested structure, and words."""

    logits: torch.Tensor
    extra: Any = None
    name: str = "found"


@case((2, 5))
class NoneAmongThem(Classifier):
    """A loss that is computed in training alone."""

    def forward(self, x):
        return None, self.logits(x), {"loss": None}


@case((2, 5))
class WordsAndNumbers(Classifier):
    """Numbers, words, a dtype and a shape beside the logits."""

    def forward(self, x):
        z = self.logits(x)
        return {"n": 3, "name": "net", "rate": 0.5, "kind": z.dtype, "shape": x.shape, "logits": z}


@case((2, 5))
class ListOfTuples(Classifier):
    """A dict of a list of tuples, with a label deep inside."""

    def forward(self, x):
        z = self.logits(x)
        return {"levels": [(z, z * 2), (self.a(x), None)], "labels": {"best": [z.argmax(1)]}}


@case((2, 5))
class ADataclass(Classifier):
    """A dataclass in which another structure is."""

    def forward(self, x):
        z = self.logits(x)
        return Found(z, extra={"features": self.a(x), "label": z.argmax(1)})


@case((2, 5))
class DataclassesInAList(Classifier):
    """Dataclasses and named tuples inside other structures."""

    def forward(self, x):
        z = self.logits(x)
        return [Found(z), {"more": Found(z * 3, (self.a(x),)), "scored": Scored(z.argmax(1), z.sin(), z)}]


@case((2, 5))
class BestTwo(Classifier):
    """The result of topk itself: values, and indices."""

    def forward(self, x):
        return self.logits(x).topk(2, dim=1)


@case((2, 5))
class SortedBesideLogits(Classifier):
    """The results of sort and of max inside a structure."""

    def forward(self, x):
        z = self.logits(x)
        return {"sorted": torch.sort(z, dim=1), "most": (z.max(dim=1), z)}


@case((2, 5))
class MeanAndVariance(Classifier):
    """The parts of a chunk, as a variational encoder returns them."""

    def forward(self, x):
        return torch.relu(self.a(x)).chunk(2, dim=1)


@case((2, 4, 6), sizes=((2, 4, 8),))
class PartsOfAnImage(nn.Module):
    """As many parts as the input is long: a graph of one example is for its size alone."""

    def forward(self, x):
        return {"parts": torch.relu(x).split(2, dim=2), "columns": (2 * x).unbind(dim=2)}


@case((2, 5))
class PartsOfGivenSizes(Classifier):
    """A split into parts of given sizes, beside its input."""

    def forward(self, x):
        z = torch.relu(self.a(x))
        return z, z.split([2, 4], 1)


@case((2, 5))
class CastToWholeNumbers(Classifier):
    """Values rounded to whole numbers are constants, whatever the cast is called."""

    def forward(self, x):
        z = 10 * self.logits(x)
        return z + z.to(torch.int64).to(x.dtype), z.to(dtype=torch.uint8), z.int(), (z > 1).any(1), z.bool()


@case((2, 5))
class QuestionsAboutValues(Classifier):
    """Truth values and counts, of values and of comparisons."""

    def forward(self, x):
        z = self.logits(x)
        whole = z.any(1), torch.all(z > 0, dim=1), torch.count_nonzero(z, dim=1), (z > 0).sum(1)
        close = torch.isclose(z, z.round()), torch.isposinf(z), ~(z > 0) & (z < 1)
        return {"z": z, "whole": whole, "close": close, "at": torch.bucketize(z, torch.tensor([0.0, 1.0]))}


@case((1, 5))
class LossOfOneImage(Classifier):
    """A number beside the logits: with one image it has a row."""

    def forward(self, x):
        z = self.logits(x)
        return {"loss": (z * z).mean(), "share": (z > 0).double().mean(), "logits": z}


class Box(dict):
    """A subclass of dict with nothing of its own."""


class Fields(OrderedDict):
    """A subclass whose entries are attributes, as many libraries have one."""

    def __getattr__(self, name):
        return self[name]


@case((2, 5))
class SubclassesOfDict(Classifier):
    """They are given back as dicts."""

    def forward(self, x):
        z = self.logits(x)
        return Box(logits=z, more=Fields(features=self.a(x), label=z.argmax(1)))


@case((2, 5))
class ADefaultDict(Classifier):
    def forward(self, x):
        found = defaultdict(list)
        for scale in (1, 2):
            found["levels"].append(self.logits(x) * scale)
        found["last"] = Fields(z=self.a(x)).z
        return found


@case((2, 5), free=False)
class SubclassesThroughExport(Classifier):
    """A module that is made in forward is what symbolic tracing cannot take."""

    def forward(self, x):
        z = nn.Softplus()(self.logits(x))
        return OrderedDict(z=z, more=Box(z=z.relu()))


@case((2, 5), refused=TraceFailure, why="a set has no order")
class ASet(Classifier):
    def forward(self, x):
        z = self.logits(x)
        return {z, z * 2}


@case((2, 5), refused=TraceFailure, why="no container that a graph can build")
class ANamespace(Classifier):
    def forward(self, x):
        return self.a(x), [SimpleNamespace(logits=self.logits(x))]


@case((2, 5), refused=TraceFailure, why="no container that a graph can build")
class ADeque(Classifier):
    def forward(self, x):
        return deque([self.a(x), self.logits(x)], maxlen=2)
