"""What a user of ``transform`` meets: sharing, taps, policies, structures, in-place code, and errors."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import fxscope
from fxscope import errors
from fxscope.testing import laws, randomize
from fxscope.testing.case import LawCase

D = torch.float64


def small():
    return (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.InstanceNorm2d(4),
            nn.SiLU(),
            nn.MaxPool2d(2),
        )
        .double()
        .eval()
    )


def photo(rng, *shape):
    return torch.randn(*(shape or (2, 3, 8, 8)), generator=rng, dtype=D)


def test_parameters_are_shared_and_the_model_is_untouched(rng):
    model = small()
    before = copy.deepcopy(model.state_dict())
    scope = fxscope.transform(model)
    assert model[1].inplace and not model.training
    assert {id(p) for p in scope.parameters()} == {id(p) for p in model.parameters()}
    scope(photo(rng), photo(rng))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in scope.modules())


def test_x0_and_x1_may_be_the_same_tensor(rng):
    x = photo(rng)
    kept = x.clone()
    y0, y1 = fxscope.transform(small())(x, x)
    assert laws.distance(y1, y0) < 1e-12 and torch.equal(x, kept)


def test_stacked_equals_flat(rng):
    model, x0, probes = small(), photo(rng), photo(rng, 3, 2, 3, 8, 8)
    flat = fxscope.transform(model)(x0, probes.flatten(0, 1))[1]
    stacked = fxscope.transform(model, probes="stacked")(x0, probes)[1]
    assert torch.equal(stacked.flatten(0, 1), flat)


def test_gradients_reach_parameters_x0_and_x1(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU(), nn.Conv2d(2, 1, 3), nn.Tanh()).double()
    scope = fxscope.transform(model)
    x0, x1 = photo(rng, 1, 1, 6, 6).requires_grad_(), photo(rng, 2, 1, 6, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: scope(a, b)[1], (x0, x1))
    scope(x0, x1)[1].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_freeze_gradients_leaves_those_of_the_linear_layers(rng):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.SiLU(), nn.InstanceNorm2d(2), nn.Conv2d(2, 1, 3)).double()
    first, last = model[0], model[3]
    x0, x1 = photo(rng, 1, 1, 6, 6).requires_grad_(), photo(rng, 2, 1, 6, 6).requires_grad_()
    scope = fxscope.transform(model, freeze_gradients=True)
    y1 = scope(x0, x1)[1]
    with torch.no_grad():
        h = first(x0)
        s = nn.functional.silu(h)
        mean, deviation = (
            s.mean((2, 3), keepdim=True),
            (s.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt(),
        )
    expected = last((torch.sigmoid(h) * first(x1) - mean) / deviation)
    assert laws.distance(y1, expected) < 1e-12
    given = [x1, *model.parameters()]
    for a, b in zip(
        torch.autograd.grad(y1.square().sum(), given, retain_graph=True),
        torch.autograd.grad(expected.square().sum(), given),
    ):
        assert laws.distance(a, b) < 1e-12
    assert torch.autograd.grad(y1.sum(), x0, allow_unused=True) == (None,)
    assert torch.autograd.grad(fxscope.transform(model)(x0, x1)[1].square().sum(), x0)[0].abs().max() > 1e-6
    adjoint = fxscope.transform(model, "adjoint", freeze_gradients=True)
    assert torch.autograd.grad(adjoint(x0, y1.detach()).sum(), x0, allow_unused=True) == (None,)


def test_taps_between_two_places(rng):
    model = randomize(torchvision.models.resnet18(weights=None).double().eval(), photo(rng, 2, 3, 64, 64))
    assert {"x", "conv1", "layer1.0.relu", "layer1.0.add", "layer1.0.relu_1", "fc"} <= set(
        fxscope.places(model)
    )
    x0 = photo(rng, 2, 3, 64, 64)
    scope = fxscope.transform(model, inputs="layer1", outputs={"mid": "layer2", "end": "layer3.0.relu_1"})
    h = create_feature_extractor(model, {"layer1": "a", "layer2": "b"})(x0)
    y0, y1 = scope(x0, h["a"])
    assert torch.equal(y0["mid"], h["b"]) and laws.distance(y1, y0) < 1e-9


@dataclass
class Pair:
    image: torch.Tensor
    mean: torch.Tensor


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x, scale=None):
        h = torch.relu(self.conv(x))
        if scale is not None:
            h = h * scale
        return Pair(image=h, mean=h.mean((2, 3)))


def test_a_dataclass_keeps_its_class(rng):
    y0, y1 = fxscope.transform(TwoHeads().double())(photo(rng), photo(rng))
    assert isinstance(y0, Pair) and isinstance(y1, Pair) and y1.mean.shape == (2, 4)


def test_a_second_input_is_frozen(rng):
    model, x0 = TwoHeads().double(), photo(rng)
    scale = photo(rng, 2, 1, 8, 8)
    scope = fxscope.transform(model, example_inputs=(x0, scale))
    y0, y1 = scope(x0, scale, x0)
    assert laws.distance(y0, model(x0, scale)) == 0 and laws.distance(y1, y0) < 1e-12


class Aliases(nn.Module):
    """Writes through views, one of them of the whole.

    Augmented assignment, an alias read after an in-place ReLU.
    """

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        identity = x
        z = x.flatten(1)
        z.relu_()
        x += 1
        half = x[:, 1:3]
        half *= 2
        x[:, 0] = x[:, 3]
        whole = x[:]
        x[:] = x * 0.5
        whole += 1
        return x + identity + whole


def test_in_place_writes_are_seen_through_every_alias(rng):
    model, x0 = Aliases().double(), photo(rng)
    errors = LawCase.of(model, (x0,), free=True).errors("law 1", "law 2", "law 6")
    assert errors["law 1"] == 0 and max(errors.values()) < 1e-12


def test_dropout_is_drawn_once_in_train_mode(rng):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.BatchNorm2d(4), nn.ReLU()).double().train()
    scope, x0 = fxscope.transform(model, example_inputs=(photo(rng),)), photo(rng)
    mean = model[2].running_mean.clone()
    y0, y1 = scope(x0, x0)
    assert laws.distance(y1, y0) < 1e-9 and not torch.equal(model[2].running_mean, mean)
    assert not torch.equal(scope(x0, x0)[0], y0)


def test_policies(rng):
    model = (
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.SiLU(), nn.Conv2d(4, 2, 3), nn.InstanceNorm2d(2)
        )
        .double()
        .eval()
    )
    x0, v = photo(rng), photo(rng)
    results = [
        fxscope.transform(model, "filter", policy=p)(x0, v)
        for p in (
            "paper",
            "freeze",
            "detach",
            "taylor",
            {"instance_norm": "scale"},
            {"1": "scale", "default": "freeze"},
        )
    ]
    assert torch.equal(results[0], results[1]) and torch.equal(results[2], results[4])
    assert all(laws.distance(results[i], results[0]) > 1e-3 for i in (2, 3, 5))
    assert laws.distance(results[3], torch.func.jvp(model, (x0,), (v,))[1]) < 1e-9
    for bad in ("frozen", {"instance_norm": "nothing"}, {"nowhere.*": "taylor"}):
        with pytest.raises(errors.PolicyError):
            fxscope.transform(model, policy=bad)


class Spelled(nn.Module):
    """One function in a given spelling behind a convolution."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, x):
        return self.function(self.conv(x))


def grn(norm, first=True):
    """ConvNeXt-V2's global response normalisation, channels first or last."""
    spatial, channel = ((2, 3), 1) if first else ((1, 2), -1)

    def forward(x):
        x = x if first else x.permute(0, 2, 3, 1)
        g = norm(x, spatial)
        y = 0.7 * (x * (g / (g.mean(channel, keepdim=True) + 1e-6))) + 0.3 + x
        return y if first else y.permute(0, 3, 1, 2)

    return forward


def two_norm(x, dims):
    return torch.norm(x, p=2, dim=dims, keepdim=True)


F = nn.functional
SPELLINGS = {
    "grn": (
        grn(two_norm),
        grn(two_norm, False),
        grn(lambda x, d: torch.linalg.vector_norm(x, 2, d, True)),
        grn(lambda x, d: x.pow(2).sum(d, keepdim=True).sqrt()),
        grn(lambda x, d: torch.sqrt((x * x).sum(d, keepdim=True)), False),
    ),
    "silu": (F.silu, lambda x: x * torch.sigmoid(x)),
    "gelu": (
        F.gelu,
        lambda x: x * 0.5 * (1.0 + torch.erf(x / 2**0.5)),
        lambda x: 0.5 * x * (1 + torch.erf(x * 0.5**0.5)),
    ),
    "gelu_tanh": (
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3)))),
    ),
    "mish": (F.mish, lambda x: x * torch.tanh(F.softplus(x))),
    "hardswish": (F.hardswish, lambda x: x * F.relu6(x + 3) / 6, lambda x: x * (F.relu6(x + 3.0) / 6.0)),
    "layer_norm": (
        lambda x: F.layer_norm(x, (6,), None, None, 1e-5),
        lambda x: (
            (x - x.mean(-1, keepdim=True))
            / torch.sqrt((x - x.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True) + 1e-5)
        ),
        lambda x: (
            (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)
        ),
    ),
    "rms_norm": (
        lambda x: F.rms_norm(x, (6,), None, 1e-5),
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5),
        lambda x: x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5),
    ),
    "attention": (
        lambda x: torch.matmul(torch.softmax(torch.matmul(x, x.transpose(-1, -2)), -1), x),
        lambda x: (
            lambda s: torch.matmul(
                torch.exp(s - s.amax(-1, keepdim=True))
                / torch.exp(s - s.amax(-1, keepdim=True)).sum(-1, keepdim=True),
                x,
            )
        )(torch.matmul(x, x.transpose(-1, -2))),
    ),
}


@pytest.mark.turns(3)
@pytest.mark.parametrize("policy", ["freeze", "detach", "taylor"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_gives_the_same_filter(name, policy, rng):
    x0, v = photo(rng), photo(rng)
    got = [
        fxscope.transform(Spelled(f).double().eval(), "filter", policy=policy)(x0, v) for f in SPELLINGS[name]
    ]
    assert all(laws.distance(g, got[0]) < 1e-9 for g in got[1:])


class SE(nn.Module):
    """Squeeze and excitation.

    ``detached`` writes the same gate, SiLU factor and GroupNorm statistics with .detach().
    """

    def __init__(self, detached: bool):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.a, self.b, self.detached = (
            nn.Conv2d(3, 4, 3),
            nn.Conv2d(4, 2, 1),
            nn.Conv2d(2, 4, 1),
            detached,
        )

    def forward(self, x):
        keep = (lambda t: t.detach()) if self.detached else (lambda t: t)
        x = self.conv(x)
        x = x * keep(torch.sigmoid(x))
        x = x * keep(torch.sigmoid(self.b(torch.relu(self.a(F.adaptive_avg_pool2d(x, 1))))))
        if not self.detached:
            return F.group_norm(F.gelu(x), 2)
        x = (x * (0.5 * torch.erfc(-x / 2**0.5)).detach()).reshape(2, 2, -1)
        mean, var = x.mean(-1, keepdim=True).detach(), x.var(-1, unbiased=False, keepdim=True).detach()
        return ((x - mean) * torch.rsqrt(var + 1e-5)).reshape(2, 4, 6, 6)


def test_the_filter_is_the_jacobian_of_the_detached_network(rng):
    x0, v = photo(rng), photo(rng)
    detached = SE(True).double()
    x = x0.clone().requires_grad_()
    u = torch.zeros(2, 4, 6, 6, dtype=D, requires_grad=True)
    # F^T u, linear in u: its own gradient along v is F v
    pulled = torch.autograd.grad(detached(x), x, u, create_graph=True)[0]
    expected = torch.autograd.grad(pulled, u, v)[0]
    assert laws.distance(fxscope.transform(SE(False).double(), "filter")(x0, v), expected) < 1e-9


class Unknown(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(torch.relu(x)) + torch.lgamma(x)


def test_every_operator_without_a_rule_is_listed_with_its_line():
    with pytest.raises(
        errors.UnsupportedOperator,
        match=r"(?s)2 nodes.*special_bessel_j0.*test_transform.py.*lgamma.*register_rule",
    ):
        fxscope.transform(Unknown())


def test_the_parts_of_a_list_may_come_in_another_order():
    class Turned(nn.Module):
        def forward(self, x):
            return torch.cat(x.chunk(2, 1)[::-1], 1).relu()

    x0 = torch.randn(2, 4, 3, dtype=torch.float64)
    y0, y1 = fxscope.transform(Turned())(x0, x0)
    assert torch.equal(y0, Turned()(x0)) and torch.equal(y1, y0)


@pytest.mark.parametrize(
    ("function", "nearest"),
    [
        (torch.special.erfinv, "erf"),
        (torch.nansum, "sum"),
        (torch.digamma, None),
        (torch.lgamma, None),
        (torch.igamma, None),
    ],
)
def test_a_nearest_rule_is_named_only_where_it_is_near(function, nearest):
    class Net(nn.Module):
        def forward(self, x):
            return function(x, *((x,) if function is torch.igamma else ()))

    with pytest.raises(errors.UnsupportedOperator) as failed:
        fxscope.transform(Net())
    assert (f"nearest rule: {nearest}\n" if nearest else function.__name__) in str(failed.value) and (
        "nearest rule" in str(failed.value)
    ) == bool(nearest)


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_value_dependent_branch_says_where():
    with pytest.raises(errors.TraceFailure, match=r"(?s)test_transform.py:\d+: return x if x.sum\(\) > 0"):
        fxscope.transform(Branch())


def test_no_linear_path_and_its_way_out(rng):
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)).double()
    with pytest.raises(errors.NoLinearPath, match=r"softmax.*(\n.*)*outputs="):
        fxscope.transform(model)
    x0 = photo(rng, 2, 4)
    assert fxscope.transform(model, outputs="0")(x0, x0)[1].shape == (2, 3)
    assert LawCase.of(model, (x0,), policy="taylor", free=True).errors("law 2")["law 2"] < 1e-12


def test_hooks_are_refused():
    model = small()
    model[0].register_forward_hook(lambda *a: None)
    with pytest.raises(errors.HookedModel, match="remove"):
        fxscope.transform(model)


def test_bad_places():
    with pytest.raises(errors.PlaceError, match="nearest"):
        fxscope.transform(small(), outputs="nowhere")


def test_bad_probes(rng):
    scope, x0 = fxscope.transform(small()), photo(rng)
    for x1, said in (
        (photo(rng, 3, 3, 8, 8), "multiple"),
        (x0.float(), "dtype"),
        (photo(rng, 2, 3, 6, 8), "trailing"),
        (x0.to(torch.complex128), "real"),
        (x0[0], "trailing"),
    ):
        with pytest.raises(AssertionError, match=said):
            scope(x0, x1)


def test_nan_and_infinity_are_propagated(rng):
    scope, x0 = (
        fxscope.transform(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).double()),
        photo(rng),
    )
    x0[0, 0, 4, 4] = float("nan")
    y0, y1 = scope(x0, x0)
    assert torch.isnan(y0).any() and torch.equal(torch.isnan(y0), torch.isnan(y1))


def test_models_without_parameters_and_empty_ones(rng):
    x0 = photo(rng)
    assert torch.equal(fxscope.transform(nn.ReLU())(x0, x0)[1], torch.relu(x0))
    assert torch.equal(fxscope.transform(nn.Sequential())(x0, x0)[1], x0)
    with pytest.raises(errors.TraceFailure, match="Module"):
        fxscope.transform(lambda x: x)


def test_parametrized_weights(rng):
    model = (
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.ReLU()).double().eval()
    )
    assert LawCase.of(model, (photo(rng),), free=True).errors("law 1") == {"law 1": 0}


class OneDeadHead(nn.Module):
    def forward(self, x):
        return {"a": torch.relu(x), "b": torch.sign(x)}


def test_a_dead_head_among_several_is_a_constant(rng):
    model, x0 = OneDeadHead(), photo(rng)
    pair, filter = (
        fxscope.transform(model, example_inputs=(x0,)),
        fxscope.transform(model, "filter", example_inputs=(x0,)),
    )
    assert LawCase.of(model, (x0,)).errors("law 2", "law 9") == {"law 2": 0, "law 9": 0}
    assert not filter(x0, photo(rng))["b"].any()
    assert fxscope.render.crossings(fxscope.to_networkx(pair)) == []


def test_running_statistics_are_those_of_the_model_after_every_call(rng):
    """Once a call, from x0 alone, by the pair and by no other graph."""
    torch.manual_seed(0)
    model = (
        nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            nn.Conv2d(4, 2, 1),
        )
        .double()
        .train()
    )
    reference = copy.deepcopy(model)
    pair = fxscope.transform(model)
    for i in range(3):
        x0 = photo(rng) + i
        y0, _ = pair(x0, torch.cat([x0, x0 * 2]))
        assert torch.equal(y0, reference(x0))
        assert all(
            torch.equal(a, b)
            for a, b in zip(model.state_dict().values(), reference.state_dict().values(), strict=True)
        )
    for form in ("filter", "residual", "record", "adjoint"):
        graph = fxscope.transform(model, form)
        graph(*{"filter": (x0, x0), "adjoint": (x0, y0.detach())}.get(form, (x0,)))
        assert all(
            torch.equal(a, b)
            for a, b in zip(model.state_dict().values(), reference.state_dict().values(), strict=True)
        ), form


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_b0"])
def test_stochastic_depth_needs_no_example(name, rng):
    model = torchvision.models.get_model(name, weights=None).double().train()
    pair, x0 = fxscope.transform(model), photo(rng, 2, 3, 64, 64)
    with torch.no_grad():
        torch.manual_seed(3)
        y0, y1 = pair(x0, x0)
        torch.manual_seed(3)
        assert laws.distance(y0, model(x0)) < 1e-12 and laws.distance(y1, y0) < 1e-9
