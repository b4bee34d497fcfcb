"""Every rule x spelling x sample x variant x law, walked from the registry."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import fxscope
from fxscope.rules import registry
from fxscope.testing import laws

TOLERANCE = 1e-9
DERIVATIVE_TOLERANCE = {"hardsigmoid": 1e-7}  # torch's own derivative holds 1/6 in single precision
TWO_DIMENSIONAL = {"mm", "bmm"}  # spellings of matmul for one rank only
RULES = registry().rules
# operators that take lists, give tuples or need a second tensor of another kind: their laws are run by the networks of
# test_structure.py and test_networks.py
STRUCTURAL = {
    "cat", "stack", "chunk", "split", "unbind", "t", "view_as", "expand", "expand_as", "index_select", "slice_scatter", "select_scatter", "to", "type_as", "float", "half",
    "bfloat16", "where", "masked_fill", "max", "min", "stochastic_depth", "rsub", "add_alpha", "sub_alpha", "div_mode", "log_softmax_functional", "softmax_functional", "softmin", "center",
}
CONSTANT = {name for name, rule in RULES.items() if rule.verb == "constant"}


def cases():
    for name, rule in RULES.items():
        if name in STRUCTURAL | CONSTANT:
            continue
        for i, sample in enumerate(rule.samples):
            for variant in rule.variants:
                yield pytest.param(rule, sample, variant, id=f"{name}-{i}-{variant}")


def test_every_rule_has_samples():
    bare = [name for name, rule in RULES.items() if not rule.samples and name not in STRUCTURAL | CONSTANT]
    assert not bare, f"rules without samples: {bare}"


class Call(nn.Module):
    """A network of one operator."""

    def __init__(self, function, kwargs, tensors):
        super().__init__()
        self.function, self.kwargs = function, kwargs
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self.names = list(tensors)

    def forward(self, x):
        return self.function(x, **{n: getattr(self, n) for n in self.names}, **self.kwargs)


def spelled(rule, sample, rng):
    """Every spelling of a rule on a sample: (label, module)."""
    tensors = {n: torch.rand(s, generator=rng, dtype=torch.float64) * 0.8 + 0.3 for n, s in sample.tensors.items()}
    names = list(rule.signature.parameters)

    def by_position(function):
        positional = [n for n in names[1:] if n in sample.kwargs or n in tensors]
        gaps = names[1 : 1 + len(positional)] != positional

        def run(x, **given):
            if gaps or rule.name == "gelu":  # torch's gelu takes its keyword by keyword only
                return function(x, **given)
            return function(x, *[given[n] for n in positional])

        return run

    yield "target", Call(by_position(rule.target) if not isinstance(rule.target, str) else lambda x, **k: getattr(x, rule.target)(**k), sample.kwargs, tensors)
    for method in rule.methods:
        if not method.startswith("__") and method not in TWO_DIMENSIONAL:
            yield f"method {method}", Call(by_position(lambda x, *a, m=method, **k: getattr(x, m)(*a, **k)), sample.kwargs, tensors)
    for module in rule.modules:
        built = _module(module, sample)
        if built is not None:
            yield module.__name__, built


def _module(kind, sample):
    arguments = sample.kwargs if sample.module is None else sample.module
    if sample.tensors and sample.module is None or sample.modules is not None and kind not in sample.modules:
        return None
    try:
        return kind(**arguments)
    except TypeError:
        return None


def values(shape, rng, positive):
    """Inputs that hold exact zeros, kinks and large values; positive ones where the operator asks for them."""
    x = torch.randn(shape, generator=rng, dtype=torch.float64) * 2
    flat = x.flatten()
    special = torch.tensor([0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 25.0, -25.0], dtype=torch.float64)
    flat[: min(len(special), len(flat) // 3)] = special[: len(flat) // 3]
    return x.abs() + 0.2 if positive else x


@pytest.mark.parametrize("rule, sample, variant", list(cases()))
def test_laws(rule, sample, variant):
    rng = torch.Generator().manual_seed(0)
    x0 = values(sample.shape, rng, sample.positive)
    u, v = torch.randn(2, *sample.shape, generator=rng, dtype=torch.float64)
    kinks = not sample.positive
    outputs = []
    for label, model in spelled(rule, sample, rng):
        model = model.double().eval()
        pair, filter, residual = _transformed(model, rule, variant, x0)
        outputs.append(filter(x0, v)) if label in ("target",) or label.startswith("method") else None
        assert laws.law_1(pair, model, x0) <= (0 if rule.expand is None else 1e-14), label
        if not (rule.name == "sigmoid" and variant == "ratio" and kinks) and not (rule.verb == "product" and variant == "taylor" and rule.name == "reciprocal" and kinks):
            assert laws.law_2(pair, x0) < TOLERANCE, label
        if variant == "ratio":
            continue  # infinite at the exact zero among the values
        assert laws.law_3(filter, x0, u, v) < TOLERANCE, label
        assert laws.law_4(pair, filter, residual, x0, torch.cat([u, v])) < TOLERANCE, label
        assert laws.law_9(pair) == [], label
        if not sample.kwargs.get("training", False) and not (rule.name == "batch_norm"):
            probes = torch.randn(3, *sample.shape, generator=rng, dtype=torch.float64)
            if _batched(rule) and not any(s[0] == x0.shape[0] for s in sample.tensors.values()):
                assert laws.law_11(pair, x0, probes, lambda y: y[1]) < TOLERANCE, label
        if rule.piecewise or variant == "taylor":
            away = torch.randn(sample.shape, generator=rng, dtype=torch.float64)
            away = away.abs() + 0.2 if sample.positive else away
            assert laws.law_6(filter, model, away, v) < DERIVATIVE_TOLERANCE.get(rule.name, TOLERANCE), label
    for other in outputs[1:]:
        assert laws.distance(other, outputs[0]) == 0


def _batched(rule):
    return not rule.name.startswith(("index", "roll", "fold", "reshape", "unfold"))


def _transformed(model, rule, variant, x0):
    variants = {v for v in rule.variants}
    policy = {rule.name: variant} if len(variants) > 1 else None
    try:
        return [fxscope.transform(model, form, policy=policy) for form in ("pair", "filter", "residual")]
    except fxscope.errors.UnknownRank:
        return [fxscope.transform(model, form, policy=policy, example_inputs=(x0,)) for form in ("pair", "filter", "residual")]


@pytest.mark.parametrize("rule", [r for n, r in RULES.items() if r.verb == "mask" and n not in STRUCTURAL and r.rank is None], ids=lambda r: r.name)
def test_non_finite_values_are_not_turned_into_numbers(rule):
    sample = rule.samples[0]
    rng = torch.Generator().manual_seed(0)
    model = next(iter(spelled(rule, sample, rng)))[1].double().eval()
    x0 = torch.randn(sample.shape, generator=rng, dtype=torch.float64).abs() + 0.1
    x0.view(-1)[3] = float("nan")
    variant = next(iter(rule.variants))
    pair = _transformed(model, rule, variant, x0)[0]
    y0, y1 = pair(x0, x0)
    assert not torch.isfinite(y1[~torch.isfinite(y0)]).any()


@pytest.mark.parametrize("rule", [r for n, r in RULES.items() if n not in STRUCTURAL | CONSTANT], ids=lambda r: r.name)
def test_scripted_equals_eager(rule):
    sample = rule.samples[0]
    rng = torch.Generator().manual_seed(0)
    model = next(iter(spelled(rule, sample, rng)))[1].double().eval()
    x0 = torch.randn(sample.shape, generator=rng, dtype=torch.float64)
    x0 = x0.abs() + 0.2 if sample.positive else x0
    pair = _transformed(model, rule, next(iter(rule.variants)), x0)[0]
    scripted = torch.jit.script(pair)
    assert laws.distance(scripted(x0, x0), pair(x0, x0)) == 0


EXEMPT = {
    "MultiheadAttention": "attention networks go through the export frontend",
    "CrossMapLRN2d": "an autograd.Function; LocalResponseNorm is its functional form",
    "SyncBatchNorm": "distributed",
    "AlphaDropout": "in train mode it is affine in a draw that torch does not return",
    "FeatureAlphaDropout": "in train mode it is affine in a draw that torch does not return",
    "FractionalMaxPool2d": "draws its windows in every call",
    "FractionalMaxPool3d": "draws its windows in every call",
    "MaxUnpool1d": "needs the indices of another pooling", "MaxUnpool2d": "needs the indices of another pooling", "MaxUnpool3d": "needs the indices of another pooling",
}


def test_every_class_of_torch_nn_has_a_rule():
    families = ("activation", "batchnorm", "instancenorm", "normalization", "pooling", "padding", "dropout", "conv", "pixelshuffle", "upsampling")
    missing = []
    for family in families:
        module = getattr(nn.modules, family)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            public = kind.__module__ == module.__name__ and not name.startswith(("_", "Lazy")) and issubclass(kind, nn.Module)
            if public and kind not in registry().modules and name not in EXEMPT:
                missing.append(name)
    assert not missing, f"no rule and no reason: {missing}"


def test_exemptions_are_needed():
    named = {kind.__name__ for kind in registry().modules}
    assert not named & set(EXEMPT)
