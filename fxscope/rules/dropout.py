"""Dropout and stochastic depth: nothing in eval; in train mode one draw, shared by both branches.

In train mode the unit is x times the unit applied to ones, so that the draw is a value of the graph: a frozen
factor.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Identity
from . import _reduced
from .declare import Sample, composite, constant, linear

_SOURCE = {
    "formula": "eval: y1 = x1;  train: y1 = m0 x1 (+ c0), m0 the draw of x0",
    "source": "the paper, eq. 2",
}
_ATEN = torch.ops.aten


def _is_draw(x):
    """Whether the call is already the one on ones."""
    return x.node.op == "call_function" and x.node.target is torch.ones_like


def _dropout(name, function, modules, shape=(2, 3, 6, 7), functions=()):
    def twin(x, p=0.5, training=True):
        return Identity()

    def expand(x, p=0.5, training=True):
        if not training or p == 0:
            return x
        return None if _is_draw(x) else x * function(torch.ones_like(x), p, True)

    samples = (
        Sample(shape, {"training": False}, {}),
        Sample(shape, {"p": 0.3, "training": True}, modules=(), independent_batch=False, draws=True),
    )
    return linear(
        name,
        function,
        twin,
        reduced=_reduced.kept,
        modules=modules,
        functions=functions,
        expand=expand,
        samples=samples,
        **_SOURCE,
    )


DROPOUT = _dropout("dropout", F.dropout, (nn.Dropout,), functions=(torch.dropout, _ATEN.dropout.default))
DROPOUT1D = _dropout("dropout1d", F.dropout1d, (nn.Dropout1d,), (2, 3, 7))
DROPOUT2D = _dropout("dropout2d", F.dropout2d, (nn.Dropout2d,))
DROPOUT3D = _dropout("dropout3d", F.dropout3d, (nn.Dropout3d,), (2, 3, 4, 5, 6))


def feature(x, p, train):
    return Identity()


def expand_feature(x, p, train):
    if not train or p == 0:
        return x
    return None if _is_draw(x) else x * torch.feature_dropout(torch.ones_like(x), p, True)


FEATURE_DROPOUT = linear(
    "feature_dropout",
    torch.feature_dropout,
    feature,
    reduced=_reduced.kept,
    functions=(_ATEN.feature_dropout.default,),
    expand=expand_feature,
    samples=(
        Sample(kwargs={"p": 0.3, "train": False}),
        Sample(kwargs={"p": 0.3, "train": True}, independent_batch=False, draws=True),
    ),
    **_SOURCE,
)

_ALPHA = 1.7580993408473766  # minus the limit of SELU at -infinity


def _alpha_dropout(name, function, draw, modules, functions):
    """Dropped entries and an affine map after them: x m a + b with the drawn mask m.

    Dropped entries take the limit of SELU; a and b keep mean and variance (Klambauer et al. 2017).
    """

    def expand(x, p=0.5, training=False):
        if not training or p == 0:
            return x
        if p == 1:
            return x * 0.0
        kept = (draw(torch.ones_like(x), p, True) > 0).to(x.dtype)
        scale = 1 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
        return x * (kept * scale) + ((kept - 1) * (_ALPHA * scale) + _ALPHA * scale * p)

    samples = (
        Sample(kwargs={"training": False}, module={}),
        Sample(kwargs={"p": 0.3, "training": True}, modules=(), independent_batch=False, draws=True),
    )
    return composite(
        name,
        function,
        expand,
        "in train mode the draw is a value of the graph",
        modules=modules,
        functions=functions,
        samples=samples,
        **_SOURCE,
    )


ALPHA = _alpha_dropout(
    "alpha_dropout",
    F.alpha_dropout,
    F.dropout,
    (nn.AlphaDropout,),
    (torch.alpha_dropout, _ATEN.alpha_dropout.default),
)
FEATURE_ALPHA = _alpha_dropout(
    "feature_alpha_dropout",
    F.feature_alpha_dropout,
    torch.feature_dropout,
    (nn.FeatureAlphaDropout,),
    (torch.feature_alpha_dropout, _ATEN.feature_alpha_dropout.default),
)


def bernoulli(x, p=None):
    """A draw of zeros and ones."""


BERNOULLI = constant(
    "bernoulli",
    torch.bernoulli,
    bernoulli,
    methods=("bernoulli",),
    unsampled="its value only ever is a frozen draw; stochastic depth runs it",
    formula="y1 = the draw of x0",
    source="the paper, eq. 2 with A = 0",
)


def depth(input, p, mode, training=True):
    return Identity()


def expand_depth(input, p, mode, training=True):
    """Survival of rows, or of the whole batch, divided by the survival rate: torchvision's definition."""
    if not training or p == 0:
        return input
    flat = input.flatten(1)
    ones = torch.ones_like(flat)
    noise = torch.bernoulli(
        ones.narrow(1, 0, 1) if mode == "row" else ones.flatten().narrow(0, 0, 1), 1.0 - p
    )
    noise = noise / (1.0 - p) if p < 1 else noise
    return (flat * noise).view_as(input)


STOCHASTIC_DEPTH = linear(
    "stochastic_depth",
    "stochastic_depth",
    depth,
    reduced=_reduced.kept,
    functions=("torchvision.ops.stochastic_depth.stochastic_depth",),
    expand=expand_depth,
    unsampled="torchvision may be absent; tests/test_networks.py runs it",
    **_SOURCE,
)
