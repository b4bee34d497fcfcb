"""Every rule x spelling x sample x variant x law, walked from the registry."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from fxscope.emit import emit
from fxscope.emit.pipeline import program_of
from fxscope.errors import UnknownRank
from fxscope.frontend.example import Example
from fxscope.rules import registry
from fxscope.testing import laws
from fxscope.testing.case import LawCase
from fxscope.testing.checks import STATEMENT_11
from fxscope.testing.laws import Law
from fxscope.testing.rule import law_case, laws_of_spellings
from fxscope.testing.samples import RuleCase, gives_jacobian, name_of, policy_of, variants

D = torch.float64
TOLERANCE = 1e-9
RULES = registry().rules
SAMPLED = [rule for rule in RULES.values() if rule.samples]

LAWS = ("law 1", "law 2", "law 3", "law 4", "law 9", "law 11")


def program_of_graph(model: nn.Module, policy, x0):
    """The program of a model; its rank is told by an example where the graph alone does not."""
    try:
        return program_of(model, policy=policy)
    except UnknownRank:
        return program_of(model, policy=policy, example_inputs=(x0,))


def graphs(model: nn.Module, policy, x0, forms, draws: bool = False):
    """The emitted graphs of a model."""
    program = program_of_graph(model, policy, x0)
    emitted = [emit(program, form).train(model.training) for form in forms]
    return [_seeded(g) for g in emitted] if draws else emitted


def _seeded(graph):
    """The same draws at every call."""

    def run(*args):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return graph(*args)

    run.graph = graph.graph if hasattr(graph, "graph") else None
    return run


def cases():
    for rule in SAMPLED:
        for i, sample in enumerate(rule.samples):
            for variant in variants(rule):
                if sample.spellings != ():
                    yield pytest.param(rule, sample, variant, id=f"{rule.name}-{i}-{variant}")


def test_every_rule_has_samples_or_a_reason():
    bare = [name for name, rule in RULES.items() if bool(rule.samples) == bool(rule.unsampled)]
    assert not bare, f"rules with neither samples nor a reason, or with both: {bare}"


def held(s: LawCase, *names: str) -> dict[str, Law]:
    """These laws, none of which may be left out."""
    found = {law.name: law for law in s.measured(names)}
    assert not any(law.skipped for law in found.values()), found
    return found


@pytest.mark.parametrize(("rule", "sample", "variant"), list(cases()))
def test_transposed(rule, sample, variant):
    """Law 5 for the adjoint, law 8 for the constants.

    And record, replay and pullback against filter and adjoint.
    """
    case = RuleCase(rule, sample)
    s = law_case(case.target(), case.x0, policy_of(rule, variant))
    found = held(s, "law 5", "law 13 form")
    assert found["law 5"].error < TOLERANCE
    assert found["law 13 form"].error < 1e-12
    whole = isinstance(s.linear, torch.Tensor) and s.linear.dim() > 1 and _images(case)
    if whole and rule.breaks.get(variant, ("",))[0] != "law 2":
        assert held(s, "law 8 row")["law 8 row"].error < TOLERANCE


@pytest.mark.parametrize(("rule", "sample", "variant"), list(cases()))
def test_laws(rule, sample, variant):
    law, _ = rule.breaks.get(variant, ("", ""))
    case = RuleCase(rule, sample)
    check_laws(case, case.target(), policy_of(rule, variant), gives_jacobian(rule, variant), law)


def check_laws(case: RuleCase, model, policy, jacobian: bool, broken: str = ""):
    """Laws 1, 2, 3, 4, 9 and 11; 1 and 2 also on zeros, kinks and large values.

    ``broken`` names the one that must fail.
    """
    example = Example((case.x0,))
    s = LawCase(model, program_of_graph(model, policy, case.x0), example, policy=policy, K=3)
    plain, special = held(s, *LAWS), held(s.at(case.special), "law 1", "law 2")
    for found in (plain, special):
        assert found["law 1"].error <= (1e-12 if case.rule.rounding else 0)
    assert (plain["law 2"].error < TOLERANCE) == (broken != "law 2"), "an exemption that is not needed"
    assert (special["law 2"].error < TOLERANCE) == (not broken), "an exemption that is not needed"
    assert max(plain[f"law {n}"].error for n in (3, 4, 11)) < TOLERANCE
    assert plain["law 9"].error == 0
    assert not _images(case) or plain["law 11"].statement == STATEMENT_11
    if jacobian:
        law = held(s, "law 6")["law 6"]
        assert law.statement.startswith("F v is the Jacobian")
        assert law.error < (case.rule.derivative or (TOLERANCE,))[0]


def _images(case: RuleCase) -> bool:
    """Whether the sample's batch can be taken apart: not where another tensor has the batch's size."""
    sizes = {tuple(t.shape[:1]) for t in case.tensors.values() if t.dim() == len(case.sample.shape)}
    return case.sample.independent_batch and (case.sample.shape[0],) not in sizes


@pytest.mark.filterwarnings("ignore:.nn.functional.upsample. is deprecated")
@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_spellings_agree(rule):
    """Law 12, and that every spelling is run by some sample."""
    covered = set()
    for sample in rule.samples:
        for label, found in laws_of_spellings(RuleCase(rule, sample)):
            law_1, law_2, law_12 = (law.error for law in found)
            assert law_1 <= (1e-12 if rule.rounding else 0), label
            assert law_2 < TOLERANCE, label
            assert law_12 < 1e-13, label
            covered.add(label.split(",")[0])
    spelled = (
        {name_of(f) for f in (rule.target, *rule.functions) if not isinstance(f, str)}
        | {f"Tensor.{m}" for m in rule.methods}
        | {kind.__name__ for kind in rule.modules}
    )
    assert spelled <= covered, f"no sample runs {sorted(spelled - covered)}"


class Mixing(nn.Module):
    """A linear layer of the sample's own shape.

    It is a convolution, or a fully connected layer for two dimensions.
    """

    def __init__(self, shape, positive: bool):
        super().__init__()
        torch.manual_seed(0)
        kinds = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
        self.layer = (
            kinds[len(shape)](shape[1], shape[1], 3, padding=1)
            if len(shape) in kinds
            else nn.Linear(shape[-1], shape[-1])
        )
        if positive:
            for parameter in self.layer.parameters():
                parameter.data.abs_()

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_laws_behind_a_convolution(rule):
    case = RuleCase.first(rule)
    for preset in ("freeze", "detach", "taylor"):
        model = case.target(Mixing(case.sample.shape, case.sample.positive))
        check_laws(case, model, preset, preset == "taylor")


@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_non_finite_values_are_not_turned_into_numbers(rule):
    for sample in rule.samples:
        if sample.spellings == ():
            continue
        case = RuleCase(rule, sample)
        (pair,) = graphs(case.target(), None, case.x0, ("pair",), sample.draws)
        for bad in (float("nan"), float("inf"), float("-inf")):
            x0 = case.x0.clone()
            x0.view(-1)[[0, x0.numel() // 2]] = bad
            assert laws.non_finite(pair, x0) == 0


def scripted():
    """The first sample of every rule, and all of them in the long run."""
    for rule in SAMPLED:
        samples = [s for s in rule.samples if s.spellings != () and not s.draws]
        for i, sample in enumerate(samples):
            yield pytest.param(rule, sample, id=f"{rule.name}-{i}", marks=[pytest.mark.full] if i else [])


@pytest.mark.parametrize(("rule", "sample"), list(scripted()))
def test_scripted_equals_eager(rule, sample):
    case = RuleCase(rule, sample)
    for variant in variants(rule):
        (pair,) = graphs(case.target(), policy_of(rule, variant), case.x0, ("pair",))
        assert (
            laws.distance(torch.jit.script(pair)(case.x0, case.probes[0]), pair(case.x0, case.probes[0])) == 0
        )
        program = program_of(case.target(), policy=policy_of(rule, variant), example_inputs=(case.x0,))
        adjoint, record, pullback = (emit(program, form) for form in ("adjoint", "record", "pullback"))
        y2, state = record(case.x0)
        # a number of each probe: (K,)
        y2 = torch.utils._pytree.tree_map(lambda t: t if t.dim() else t[None], y2)
        assert laws.distance(torch.jit.script(adjoint)(case.x0, y2), adjoint(case.x0, y2)) == 0
        assert laws.distance(torch.jit.script(pullback)(list(state), y2), pullback(state, y2)) == 0


@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_single_precision_stays_single(rule):
    """No state of another dtype leaks into y1, and eq. 3 holds to single precision."""
    for sample in rule.samples:
        if (
            sample.spellings == ()
            or torch.float64 in sample.kwargs.values()
            or rule.name in ("double", "to", "type_as")
        ):
            continue
        case = RuleCase(rule, sample)
        x0 = case.x0.float()
        (pair,) = graphs(case.target().float(), None, x0, ("pair",), sample.draws)
        y0, y1 = (laws.tensors_of(y) for y in pair(x0, x0))
        assert [y.dtype for y in y1] == [y.dtype for y in y0] == [torch.float32] * len(y0)
        assert laws.law_2(pair, x0) < 1e-4


SMOOTH = [
    r
    for r in SAMPLED
    if r.verb == "mask"
    and not r.piecewise
    and "taylor" in r.variants
    and r.variants["taylor"] is not r.variants["freeze"]
    and "dim" not in r.signature.parameters
]


@pytest.mark.parametrize("rule", SMOOTH, ids=lambda rule: rule.name)
def test_the_factor_is_the_mean_slope(rule):
    """A = (h(x0) - h(0))/x0 is the mean of h' between 0 and x0.

    It is taken by quadrature, without a quotient and so exact near 0.
    """
    nodes, weights = (torch.from_numpy(a).double() for a in np.polynomial.legendre.leggauss(40))
    size = torch.cat([torch.logspace(-14, 0, 57, dtype=D), torch.tensor([0.9, 1.2], dtype=D)])
    x0 = torch.cat([-size.flip(0), size]).expand(2, 3, 1, -1).contiguous()
    for sample in rule.samples:
        if sample.positive or sample.call is not None:
            continue
        case = RuleCase(rule, sample)
        (filter,) = graphs(case.target(), {rule.name: "freeze"}, x0, ("filter",))
        at = (nodes + 1) / 2
        slopes = [
            laws.jacobian_vector_product(lambda x: (case.target()(x),), x0 * t, torch.ones_like(x0))[0]
            for t in at
        ]
        mean = sum(w / 2 * s for w, s in zip(weights, slopes))
        got = filter(x0, torch.ones_like(x0))
        assert torch.allclose(got, mean, rtol=1e-11, atol=1e-13), (got - mean).abs().max()


def test_stochastic_depth_is_drawn_once():
    from torchvision.ops import StochasticDepth

    x0 = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(0), dtype=D)
    for mode in ("row", "batch"):
        model = StochasticDepth(0.5, mode).train()
        (pair,) = graphs(model, None, x0, ("pair",), draws=True)
        assert laws.law_1(pair, _seeded(model), x0) == 0 and laws.law_2(pair, x0) == 0
        (pair,) = graphs(model.eval(), None, x0, ("pair",))
        assert laws.law_1(pair, model, x0) == 0


EXEMPT = {
    "CrossMapLRN2d": (
        "an autograd.Function that never takes the first channel out of its windows; LocalResponseNorm is the"
        " corrected form"
    ),
    "MultiheadAttention": (
        "it branches on the dtype of its masks; the functional attention that it calls has a rule"
    ),
}


def test_every_class_of_torch_nn_has_a_rule():
    families = (
        "activation",
        "batchnorm",
        "instancenorm",
        "normalization",
        "pooling",
        "padding",
        "dropout",
        "conv",
        "linear",
        "pixelshuffle",
        "upsampling",
        "fold",
        "flatten",
        "channelshuffle",
    )
    missing = set()
    for family in families:
        module = getattr(nn.modules, family)
        for name, kind in inspect.getmembers(module, inspect.isclass):
            public = (
                kind.__module__ == module.__name__
                and not name.startswith(("_", "Lazy", "NonDynamically"))
                and issubclass(kind, nn.Module)
            )
            if public and kind not in registry().modules and kind is not nn.Identity:
                missing.add(name)
    assert missing == set(EXEMPT)
