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
from fxscope.rules import registry
from fxscope.rules.declare import Rule
from fxscope.testing import laws
from fxscope.testing.samples import Case, name_of

D = torch.float64
TOLERANCE = 1e-9
RULES = registry().rules
SAMPLED = [rule for rule in RULES.values() if rule.samples]

# laws that a variant breaks by what it is: {(rule, variant): (law, reason)}; the law still runs, and must
# fail
BROKEN = {
    ("sigmoid", "ratio"): ("finite", "the literal mask of Fig. 2 is infinite at x0 = 0"),
    **{
        (name, "straight"): ("law 2", "straight-through: y1 = x1")
        for name in ("sign", "sgn", "round", "floor", "ceil", "trunc")
    },
}


def graphs(model: nn.Module, policy, x0, forms=("pair", "filter", "residual"), draws: bool = False):
    """The emitted graphs of a model; its rank is told by an example where the graph alone does not."""
    try:
        program = program_of(model, policy=policy)
    except UnknownRank:
        program = program_of(model, policy=policy, example_inputs=(x0,))
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


def _policy(rule: Rule, variant: str):
    """The variant for this rule, and Taylor around it where that is what the variant is: then F is the Jacobian."""
    if rule.verb == "composite":
        return variant
    preset = "taylor" if variant == rule.presets["taylor"] else "freeze"
    return {"default": preset, rule.name: variant} if len(rule.variants) > 1 else preset


def _variants(rule: Rule):
    """A rule's own variants; a composite one has those of its parts, by preset."""
    return ("freeze", "detach", "taylor") if rule.verb == "composite" else tuple(rule.variants)


def _is_jacobian(rule: Rule, variant: str) -> bool:
    return variant == ("taylor" if rule.verb == "composite" else rule.presets["taylor"])


def cases():
    for rule in SAMPLED:
        for i, sample in enumerate(rule.samples):
            for variant in _variants(rule):
                if sample.spellings != ():
                    yield pytest.param(rule, sample, variant, id=f"{rule.name}-{i}-{variant}")


def test_every_rule_has_samples_or_a_reason():
    bare = [name for name, rule in RULES.items() if bool(rule.samples) == bool(rule.unsampled)]
    assert not bare, f"rules with neither samples nor a reason, or with both: {bare}"


@pytest.mark.parametrize("rule, sample, variant", list(cases()))
def test_transposed(rule, sample, variant):
    """Law 5 for the adjoint, law 8 for the constants, and record, replay and pullback against filter and adjoint."""
    case = Case(rule, sample)
    model = case.target()
    program = program_of(model, policy=_policy(rule, variant), example_inputs=(case.x0,))
    filter, adjoint, record, replay, pullback = (
        emit(program, form).train(model.training)
        for form in ("filter", "adjoint", "record", "replay", "pullback")
    )
    if sample.draws:
        filter, adjoint, record = _seeded(filter), _seeded(adjoint), _seeded(record)
    check_transposed(
        program,
        case,
        filter,
        adjoint,
        record,
        replay,
        pullback,
        BROKEN.get((rule.name, variant), ("", ""))[0],
    )


def check_transposed(program, case: Case, filter, adjoint, record, replay, pullback, broken: str = ""):
    x0, u = case.x0, case.probes.flatten(0, 1)
    fu = filter(x0, u)
    rng = torch.Generator().manual_seed(1)
    v = torch.utils._pytree.tree_map(lambda t: torch.randn(t.shape, generator=rng, dtype=D), fu)
    assert laws.law_5(filter, adjoint, x0, u, v) < TOLERANCE
    _, state = record(x0)
    assert laws.distance(replay(state, u), fu) < 1e-12
    assert laws.distance(pullback(state, v), adjoint(x0, v)) < 1e-12
    if isinstance(fu, torch.Tensor) and fu.dim() > 1 and _images(case) and broken != "law 2":
        row = emit(program, "row")
        row = _seeded(row) if case.sample.draws else row
        index = torch.randint(fu[0].numel(), (2 * x0.shape[0],), generator=rng)
        assert laws.law_8(row, x0, index) < TOLERANCE


@pytest.mark.parametrize("rule, sample, variant", list(cases()))
def test_laws(rule, sample, variant):
    case = Case(rule, sample)
    model = case.target()
    pair, filter, residual = graphs(model, _policy(rule, variant), case.x0, draws=sample.draws)
    law, reason = BROKEN.get((rule.name, variant), ("", ""))
    check_laws(case, model, pair, filter, residual, law)
    if _is_jacobian(rule, variant):
        bound = (rule.derivative or (TOLERANCE,))[0]
        assert laws.law_6(filter, _seeded(model) if sample.draws else model, case.x0, case.probes[0]) < bound


def check_laws(case: Case, model, pair, filter, residual, broken: str = ""):
    """Laws 1, 2, 3, 4, 9 and 11; 1 and 2 also on zeros, kinks and large values. ``broken`` names the one that must fail."""
    u, v, _ = case.probes
    exact = _seeded(model) if case.sample.draws else model
    for x0 in (case.x0, case.special):
        assert laws.law_1(pair, exact, x0) <= (1e-12 if case.rule.rounding else 0)
        held = laws.law_2(pair, x0) < TOLERANCE
        assert held or broken == "law 2" or (broken == "finite" and x0 is case.special)
    assert held != bool(broken), "an exemption that is not needed"
    assert laws.law_3(filter, case.x0, u, v) < TOLERANCE
    assert laws.law_4(pair, filter, residual, case.x0, torch.cat([u, v])) < TOLERANCE
    assert laws.law_9(pair) == []
    assert laws.law_11(pair, case.x0, case.probes, lambda y: y[1], images=_images(case)) < TOLERANCE


def _images(case: Case) -> bool:
    """Whether the sample's batch can be taken apart: not where another tensor has the batch's size."""
    sizes = {tuple(t.shape[:1]) for t in case.tensors.values() if t.dim() == len(case.sample.shape)}
    return case.sample.images and (case.sample.shape[0],) not in sizes


@pytest.mark.filterwarnings("ignore:.nn.functional.upsample. is deprecated")
@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_spellings_agree(rule):
    """Law 12, and that every spelling is run by some sample."""
    covered = set()
    for sample in rule.samples:
        case = Case(rule, sample)
        first = None
        for label, network, key in case.spellings():
            pair, filter = graphs(network, None, case.x0, ("pair", "filter"), sample.draws)
            exact = _seeded(network) if sample.draws else network
            assert laws.law_1(pair, exact, case.x0) <= (1e-12 if rule.rounding else 0), label
            assert laws.law_2(pair, case.x0) < TOLERANCE, label
            first = first or filter
            assert laws.law_12(first, filter, case.x0, case.probes[0]) < 1e-13, label
            covered.add(label.split(",")[0])
    spelled = (
        {name_of(f) for f in (rule.target, *rule.functions) if not isinstance(f, str)}
        | {f"Tensor.{m}" for m in rule.methods}
        | {kind.__name__ for kind in rule.modules}
    )
    assert spelled <= covered, f"no sample runs {sorted(spelled - covered)}"


class Mixing(nn.Module):
    """A linear layer of the sample's own shape: a convolution, or a fully connected layer for two dimensions."""

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
    sample = next((s for s in rule.samples if s.spellings != ()), None)
    case = Case(rule, sample)
    for preset in ("freeze", "detach", "taylor"):
        model = case.target(Mixing(sample.shape, sample.positive))
        pair, filter, residual = graphs(model, preset, case.x0, draws=sample.draws)
        check_laws(case, model, pair, filter, residual)
        if preset == "taylor":
            bound = (rule.derivative or (TOLERANCE,))[0]
            assert laws.law_6(filter, model, case.x0, case.probes[0]) < bound


@pytest.mark.parametrize("rule", SAMPLED, ids=lambda rule: rule.name)
def test_non_finite_values_are_not_turned_into_numbers(rule):
    for sample in rule.samples:
        if sample.spellings == ():
            continue
        case = Case(rule, sample)
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


@pytest.mark.parametrize("rule, sample", list(scripted()))
def test_scripted_equals_eager(rule, sample):
    case = Case(rule, sample)
    for variant in _variants(rule):
        (pair,) = graphs(case.target(), _policy(rule, variant), case.x0, ("pair",))
        assert (
            laws.distance(torch.jit.script(pair)(case.x0, case.probes[0]), pair(case.x0, case.probes[0])) == 0
        )
        program = program_of(case.target(), policy=_policy(rule, variant), example_inputs=(case.x0,))
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
        case = Case(rule, sample)
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
    """A = (h(x0) - h(0))/x0 is the mean of h' between 0 and x0: by quadrature, without a quotient and so exact near 0."""
    nodes, weights = (torch.from_numpy(a).double() for a in np.polynomial.legendre.leggauss(40))
    size = torch.cat([torch.logspace(-14, 0, 57, dtype=D), torch.tensor([0.9, 1.2], dtype=D)])
    x0 = torch.cat([-size.flip(0), size]).expand(2, 3, 1, -1).contiguous()
    for sample in rule.samples:
        if sample.positive or sample.call is not None:
            continue
        case = Case(rule, sample)
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
