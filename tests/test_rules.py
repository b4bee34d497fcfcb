"""Every rule x spelling x sample x variant x law, walked from the registry."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from fxscope.errors import UnknownRank
from fxscope.frontend.example import Example
from fxscope.graph.ir import info
from fxscope.rules import registry
from fxscope.testing import laws
from fxscope.testing.case import LawCase
from fxscope.testing.rule import laws_of_spellings
from fxscope.testing.samples import RuleCase, gives_jacobian, name_of, policy_of, variants

D = torch.float64
TOLERANCE = 1e-9
RULES = registry().rules
SAMPLED = [rule for rule in RULES.values() if rule.samples]

LAWS = ("law 1", "law 2", "law 3", "law 4", "law 9", "law 11")


def law_case(model: nn.Module, x0, policy=None, **options) -> LawCase:
    """The case of a model; its rank is told by an example where the graph alone does not."""
    try:
        return LawCase.of(model, (x0,), policy=policy, free=True, **options)
    except UnknownRank:
        return LawCase.of(model, (x0,), policy=policy, **options)


def at(s: LawCase, x0) -> LawCase:
    """The same graphs and probes at another x0."""
    return s.but(Example((x0,)), probes=s.probes)


def cases(shift: int = 0):
    """Every sample under every variant; the default run takes each variant once, on samples in turn."""
    for rule in SAMPLED:
        every, named = list(RuleCase.every(rule)), list(variants(rule))
        quick = {((k + shift) % len(every), k) for k in range(len(named))}
        for n, (i, case) in enumerate(every):
            for v, variant in enumerate(named):
                marks = [] if (n, v) in quick else [pytest.mark.full]
                yield pytest.param(case, variant, id=f"{rule.name}-{i}-{variant}", marks=marks)


def test_every_rule_has_samples_or_a_reason():
    bare = [name for name, rule in RULES.items() if bool(rule.samples) == bool(rule.unsampled)]
    assert not bare, f"rules with neither samples nor a reason, or with both: {bare}"


def breaks(rule, variant: str) -> str:
    """The law that a variant breaks by its definition."""
    return rule.breaks.get(variant, ("",))[0]


@pytest.mark.parametrize(("case", "variant"), list(cases(shift=1)))
def test_transposed(case, variant):
    """Law 5 for the adjoint, law 8 for the constants.

    And record, replay and pullback against filter and adjoint.
    """
    s = LawCase.of(case.target(), (case.x0,), policy=policy_of(case.rule, variant))
    errors = s.errors("law 5", "law 13 form")
    assert errors["law 5"] < TOLERANCE
    assert errors["law 13 form"] < 1e-12
    whole = isinstance(s.linear, torch.Tensor) and s.linear.dim() > 1 and _images(case)
    if whole and breaks(case.rule, variant) != "law 2":
        assert s.errors("law 8 row")["law 8 row"] < TOLERANCE


@pytest.mark.parametrize(("case", "variant"), list(cases()))
def test_laws(case, variant):
    policy, jacobian = policy_of(case.rule, variant), gives_jacobian(case.rule, variant)
    check_laws(case, case.target(), policy, jacobian, breaks(case.rule, variant))


def check_laws(case: RuleCase, model, policy, jacobian: bool, broken: str = ""):
    """Laws 1, 2, 3, 4, 9 and 11; 1 and 2 also on zeros, kinks and large values.

    ``broken`` names the one that must fail.
    """
    s = law_case(model, case.x0, policy, K=3)
    plain, special = s.errors(*LAWS), at(s, case.special).errors("law 1", "law 2")
    assert max(plain["law 1"], special["law 1"]) <= (1e-12 if case.rule.rounding else 0)
    assert (plain["law 2"] < TOLERANCE) == (broken != "law 2"), "an exemption that is not needed"
    assert (special["law 2"] < TOLERANCE) == (not broken), "an exemption that is not needed"
    assert max(plain[f"law {n}"] for n in (3, 4, 11)) < TOLERANCE
    assert plain["law 9"] == 0
    assert not _images(case) or (s.batch > 1 and not s.mixing)
    if jacobian:
        (law,) = s.measured(("law 6",))
        assert not law.skipped and law.statement.startswith(oracle(case))
        assert law.error < (case.rule.derivative or (TOLERANCE,))[0]


def by_taylor():
    """A rule of each kind; all of them with the longer tests."""
    first = {rule.under_taylor: rule for rule in reversed(SAMPLED)}.values()
    return [
        pytest.param(rule, marks=() if rule in first else pytest.mark.full, id=rule.name)
        for rule in SAMPLED
        if rule.under_taylor != "parts"
    ]


@pytest.mark.parametrize("rule", by_taylor())
def test_what_the_table_says_of_taylor(rule):
    """F is what is frozen too, 0, or of a variant of its own; that it is the derivative is law 6 above."""
    case = RuleCase.first(rule)
    exact, frozen = (LawCase.of(case.target(), (case.x0,), policy=p) for p in ("taylor", "freeze"))
    v = case.probes[0]
    F = exact.run("filter", v)
    if rule.under_taylor == "zero":
        assert torch.equal(F, v)  # there is a skip connection around the operator
    if rule.under_taylor == "own":
        assert {info(r.origin).variant for r in exact.program.tape if r.rule == rule.name} == {"taylor"}
    else:
        torch.testing.assert_close(F, frozen.run("filter", v), rtol=0, atol=0)


# operators without a forward derivative, for which torch.func refuses or gives zeros
REVERSE_ONLY = {"segment_reduce", "deform_conv2d", "roi_align", "roi_pool", "ps_roi_align"}


def oracle(case: RuleCase) -> str:
    """How law 6 says what F was compared with: torch's forward derivative, unless there is none to trust."""
    if (
        case.rule.name == "ps_roi_pool"
    ):  # torchvision's reverse derivative too is another, where a box leaves x
        return "F v is the limit of differences"
    # torch's forward derivative of a product of scattered entries is zero
    product = case.rule.name == "scatter_reduce" and case.sample.kwargs["reduce"] == "prod"
    reverse = product or case.rule.name in REVERSE_ONLY
    return "F^T u is the vector-Jacobian" if reverse else "F v is the Jacobian"


def _images(case: RuleCase) -> bool:
    """Whether the sample's batch can be taken apart: not where another tensor has the batch's size."""
    sizes = {tuple(t.shape[:1]) for t in case.tensors.values() if t.dim() == len(case.sample.shape)}
    return case.sample.independent_batch and (case.sample.shape[0],) not in sizes


# products of a sparse matrix, which no sample has; tests/zoo/graphs.py runs them
OF_SPARSE = {"spmm", "_sparse_mm", "_sparse_mm.default"}


@pytest.mark.filterwarnings("ignore:.nn.functional.upsample. is deprecated")
@pytest.mark.turns(3)
@pytest.mark.parametrize("on_every_sample", [False, pytest.param(True, marks=pytest.mark.full)])
@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_spellings_agree(rule, on_every_sample):
    """Law 12, and that every spelling is run by some sample; by default, on the first that it fits."""
    covered, labels = set(), set()
    for sample in rule.samples:
        before = frozenset(() if on_every_sample else labels)
        for label, found in laws_of_spellings(RuleCase(rule, sample), lambda label: label not in before):
            labels.add(label)
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
    spelled -= OF_SPARSE
    assert spelled <= covered, f"no sample runs {sorted(spelled - covered)}"


def presets_of(rule, case: RuleCase) -> list[str]:
    """One preset for every variant; all where other rules take part. "taylor" is always among them."""
    if rule.verb == "composite" or case.sample.call is not None:
        return ["freeze", "detach", "taylor"]
    by_variant = {rule.presets[preset]: preset for preset in ("freeze", "detach", "taylor")}
    return list(by_variant.values())


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


@pytest.mark.turns(4)
@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_laws_behind_a_convolution(rule):
    case = RuleCase.first(rule)
    for preset in presets_of(rule, case):
        model = case.target(Mixing(case.sample.shape, case.sample.positive))
        check_laws(case, model, preset, preset == "taylor")


@pytest.mark.turns(3)
@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_non_finite_values_are_not_turned_into_numbers(rule):
    for _, case in RuleCase.every(rule):
        s = law_case(case.target(), case.x0)
        for bad in (float("nan"), float("inf"), float("-inf")):
            x0 = case.x0.clone()
            x0.view(-1)[[0, x0.numel() // 2]] = bad
            for a, b in zip(*at(s, x0).pair_at_x0, strict=True):
                assert not torch.isfinite(b.reshape(a.shape)[~torch.isfinite(a)]).any()


def scripted():
    """The first sample of every rule under one variant, in one transposed form, which turn; all in full."""
    for turn, rule in enumerate(SAMPLED):
        still = [case for _, case in RuleCase.every(rule) if not case.sample.draws]
        named = list(variants(rule))
        for i, case in enumerate(still):
            for (v, variant), (t, transposed) in itertools.product(
                enumerate(named), enumerate(("adjoint", "pullback"))
            ):
                quick = (i, v, t) == (0, turn % len(named), turn // len(named) % 2)
                marks = [] if quick else [pytest.mark.full]
                yield pytest.param(
                    case, variant, transposed, id=f"{rule.name}-{i}-{variant}-{transposed}", marks=marks
                )


@pytest.mark.turns(4)
@pytest.mark.parametrize(("case", "variant", "transposed"), list(scripted()))
def test_scripted_equals_eager(case, variant, transposed):
    """The pair, and one of the two forms that are transposed."""
    policy, given = policy_of(case.rule, variant), (case.x0, case.probes[0])
    pair = law_case(case.target(), case.x0, policy).form("pair")
    assert laws.distance(torch.jit.script(pair)(*given), pair(*given)) == 0
    s = LawCase.of(case.target(), (case.x0,), policy=policy)
    y2, state = s.form("record")(case.x0)
    # a number of each probe: (K,)
    y2 = torch.utils._pytree.tree_map(lambda t: t if t.dim() else t[None], y2)
    of_x0, graph = case.x0 if transposed == "adjoint" else list(state), s.form(transposed)
    assert laws.distance(torch.jit.script(graph)(of_x0, y2), graph(of_x0, y2)) == 0


@pytest.mark.turns(3)
@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_single_precision_stays_single(rule):
    """No state of another dtype leaks into y1, and eq. 3 holds to single precision."""
    for _, case in RuleCase.every(rule):
        if torch.float64 in case.sample.kwargs.values() or rule.name in ("double", "to", "type_as"):
            continue
        s = law_case(case.target().float(), case.x0.float())
        y0, y1 = s.pair_at_x0
        assert [y.dtype for y in y1] == [y.dtype for y in y0] == [torch.float32] * len(y0)
        assert s.errors("law 2")["law 2"] < 1e-4


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
    for case in (RuleCase(rule, sample) for sample in rule.samples):
        if case.sample.positive or case.sample.call is not None:
            continue
        slopes = [
            laws.jacobian_vector_product(lambda x: (case.target()(x),), x0 * t, torch.ones_like(x0))[0]
            for t in (nodes + 1) / 2
        ]
        mean = sum(w / 2 * slope for w, slope in zip(weights, slopes))
        got = law_case(case.target(), x0, {rule.name: "freeze"}).run("filter", torch.ones_like(x0))
        assert torch.allclose(got, mean, rtol=1e-11, atol=1e-13), (got - mean).abs().max()


def test_stochastic_depth_is_drawn_once():
    from torchvision.ops import StochasticDepth

    x0 = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(0), dtype=D)
    for mode in ("row", "batch"):
        for training in (True, False):
            model = StochasticDepth(0.5, mode).train(training)
            assert law_case(model, x0).errors("law 1", "law 2") == {"law 1": 0, "law 2": 0}


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


@pytest.mark.parametrize("name", [n for n, rule in registry().rules.items() if rule.by_output])
def test_what_the_output_tells(name):
    """freeze(h(x)) = freeze(x), bit for bit, also where x is 0, -0, infinite or NaN."""
    rule = registry().rules[name]
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-320, -1e-320])
    x = torch.cat([special.double(), torch.randn(100, dtype=torch.float64)])
    for freeze in filter(None, rule.variants.values()):
        assert torch.equal(freeze(x).keep, freeze(rule.target(x)).keep)
