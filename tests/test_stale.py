"""After ``interpret``: x0's memory may be written over.

What changes of the network is noticed, never mixed with what was recorded.
"""

from __future__ import annotations

import copy

import pytest
import torch
from drawn import crossed
from small import Small
from torch import nn

import fxscope
from fxscope.errors import StaleInterpreter
from fxscope.testing import laws

D = torch.float64
MODES = ("record", "recompute", "packed")
PRODUCTS = {
    "F @ v": lambda lin: lin.F @ torch.ones(2, 9, 10, dtype=D),
    "F.T @ u": lambda lin: lin.F.T @ torch.ones(3, 10, 10, dtype=D),
    "2 F": lambda lin: (2 * lin.F) @ torch.ones(2, 9, 10, dtype=D),
    "row": lambda lin: lin.F.row((0, 1, 2)),
    "column": lambda lin: lin.F.column((0, 1, 2)),
    "call": lambda lin: lin(torch.ones(2, 9, 10, dtype=D)),
    "residual": lambda lin: lin.residual,
    "contributions": lambda lin: lin.contributions((0, 1, 2)),
    "gap": lambda lin: lin.gap(torch.ones(1, 2, 9, 10, dtype=D)),
    "svd": lambda lin: lin.F.svd(2, progress=False),
    "norm": lambda lin: lin.F.norm(),
    "to_dense": lambda lin: lin.F.to_dense(progress=False),
    "to_sparse": lambda lin: lin.F.to_sparse(progress=False),
    "scipy": lambda lin: lin.F.to_scipy().matvec(torch.ones(180, dtype=D).numpy()),
    "discussion": lambda lin: lin.pixel_discussion((0, 1, 2), progress=False),
}


def made(memory="record"):
    torch.manual_seed(0)
    model, x0 = Small().double().eval(), torch.randn(1, 2, 9, 10, dtype=D)
    return model, x0, fxscope.interpret(model, x0, memory=memory)


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize(
    "write",
    [lambda x: x.zero_(), lambda x: x.data.mul_(3), lambda x: x.numpy().fill(1.0), lambda x: x[0, 1].sub_(2)],
)
def test_x0_may_be_written_over(memory, write):
    """Every product is that of the x0 that was given."""
    model, x0, lin = made(memory)
    expected = fxscope.interpret(model, x0.clone())
    before = x0.clone()
    write(x0)
    assert torch.equal(lin.F.to_dense(progress=False), expected.F.to_dense(progress=False))
    assert (
        torch.equal(lin.residual, expected.residual)
        and torch.equal(lin.x0, before)
        and torch.equal(lin.x, before)
    )
    assert (
        lin.contributions((0, 1, 2)).error < 1e-12 and lin.error < 1e-12 and lin.gap(before)["error"] < 1e-12
    )


def test_every_argument_may_be_written_over():
    class Scaled(nn.Module):
        def forward(self, x, scale):
            return torch.relu(x * scale) + scale

    x0, scale = torch.randn(2, 5, dtype=D), torch.randn(2, 5, dtype=D)
    lin, expected = (fxscope.interpret(Scaled(), x0.clone(), scale.clone()) for _ in range(2))
    kept = fxscope.interpret(Scaled(), x0, scale, memory="recompute")
    scale.zero_()
    assert torch.equal(kept.F.to_dense(progress=False), expected.F.to_dense(progress=False)) and torch.equal(
        kept.residual, lin.residual
    )


def step(optimizer, **options):
    def change(model):
        model(torch.randn(2, 2, 9, 10, dtype=D)).square().sum().backward()
        optimizer(model.parameters(), lr=0.1, **options).step()

    return change


def seen_in_train_mode(model):
    """Batch norm's own update of its running statistics leaves their version as it was."""
    model.train()(torch.randn(4, 2, 9, 10, dtype=D))


def replace_parameter(model):
    model.out.weight = nn.Parameter(model.out.weight.detach().clone())


def replace_module(model):
    model.conv = copy.deepcopy(model.conv)


def loaded(model, **options):
    torch.manual_seed(7)
    model.load_state_dict(Small().double().state_dict(), **options)


CHANGES = {
    "sgd": step(torch.optim.SGD), "adam": step(torch.optim.Adam),
    "foreach": step(torch.optim.AdamW, foreach=True), "fused": step(torch.optim.Adam, fused=True),
    "load_state_dict": loaded, "assigned": lambda m: loaded(m, assign=True),
    "half": lambda m: m.half(), "to float32": lambda m: m.to(torch.float32),
    "running statistics": seen_in_train_mode, "parameter replaced": replace_parameter,
    "module replaced": replace_module,
    "data swapped": lambda m: setattr(m.conv.weight, "data", m.conv.weight.data.clone()),
    "written through data": lambda m: m.out.weight.data.mul_(1.1),
    "buffer written": lambda m: m.norm.running_var.add_(1),
    "initialised": lambda m: nn.init.ones_(m.conv.bias),
}  # fmt: skip


@pytest.mark.parametrize(("change", "memory"), crossed(CHANGES, MODES))
def test_a_change_of_the_network_is_noticed(change, memory):
    model, _, lin = made(memory)
    lin.F.row((0, 1, 2))
    CHANGES[change](model)
    with pytest.raises(
        StaleInterpreter,
        match=r"^(conv|norm|out)\.(weight|bias|running_mean|running_var) was (changed|replaced) after",
    ):
        lin.F.row((0, 1, 2))


@pytest.mark.turns(3)
@pytest.mark.parametrize("product", PRODUCTS)
def test_every_product_notices_it(product):
    model, _, lin = made()
    PRODUCTS[product](lin)  # before, it is given
    with torch.no_grad():
        model.conv.weight.mul_(1.5)
    with pytest.raises(StaleInterpreter, match="conv.weight was changed"):
        PRODUCTS[product](lin)


@pytest.mark.turns(4)
@pytest.mark.parametrize("product", [p for p in PRODUCTS if p != "residual"])
def test_nothing_of_a_reading_makes_it_stale(product):
    """What leaves the interpreter fresh.

    Other interpreters of the model, its own forward, backward and mode, and every product.
    """
    model, x0, lin = made()
    model(x0).sum().backward()
    model.zero_grad()
    fxscope.interpret(model.train(), torch.cat([x0, x0])).residual
    fxscope.verify(model.eval(), x0)
    PRODUCTS[product](lin)
    PRODUCTS[product](lin)


@pytest.mark.parametrize("name", ["x0", "y0", "x", "states", "residual"])
def test_a_recorded_value_written_over_is_noticed(name):
    class Plain(nn.Module):
        def forward(self, x):
            return torch.relu(x) * x

    x0 = torch.randn(2, 5, dtype=D)
    lin = fxscope.interpret(Plain(), x0.clone())
    handed = {
        "x0": lin._args[0],
        "y0": lin.y0,
        "x": lin.x,
        "states": next(s for s in lin.states.values() if s.numel()),
        "residual": lin.residual,
    }[name]
    handed.zero_()
    with pytest.raises(StaleInterpreter, match="was written over"):
        lin.F @ x0


def test_in_train_mode_running_statistics_are_no_part_of_the_reading():
    torch.manual_seed(0)
    model, x0 = Small().double().train(), torch.randn(4, 2, 9, 10, dtype=D)
    lin = fxscope.interpret(model, x0)
    expected = lin.F @ x0
    model(x0)
    assert torch.equal(lin.F @ x0, expected)


def test_a_nan_weight_that_nobody_changed_is_not_stale():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).double()
    model[0].register_buffer("spare", torch.full((3,), float("nan"), dtype=D))
    lin = fxscope.interpret(model, torch.ones(1, 3, dtype=D))
    assert torch.equal(lin.F.row(0), lin.F.row(0))


def test_inference_tensors_have_no_version_and_their_numbers_are_compared():
    with torch.inference_mode():
        torch.manual_seed(0)
        model, x0 = Small().double().eval(), torch.randn(1, 2, 9, 10, dtype=D)
        lin = fxscope.interpret(model, x0)
        before = lin.F.row((0, 1, 2))
        x0.zero_()
        assert torch.equal(lin.F.row((0, 1, 2)), before)
        model.conv.weight.mul_(2)
        with pytest.raises(StaleInterpreter, match="conv.weight"):
            lin.F.row((0, 1, 2))


def test_one_number_written_through_data_may_go_unseen():
    """What docs/limitations.md says.

    Of a large weight some numbers are compared, and ``.data`` has no version.
    """
    model = nn.Sequential(nn.Linear(50, 60), nn.ReLU()).double()
    lin = fxscope.interpret(model, torch.ones(1, 50, dtype=D))
    before = lin.F.row(0)
    model[0].weight.data[0, 1] += 1
    # neither old nor new in general: here the mask is the old one, the weight the new one
    after = lin.F.row(0)
    assert before[1] == 0 or after[1] == before[1] + 1
    with torch.no_grad():
        model[0].weight[0, 1] += 1  # the same without .data is seen
    with pytest.raises(StaleInterpreter):
        lin.F.row(0)


def test_the_check_is_cheap():
    """A number for every weight, and one small copy: no operator on the whole weights."""
    model = nn.Sequential(*[nn.Linear(2000, 2000) for _ in range(3)])
    lin = fxscope.interpret(model, torch.ones(1, 2000))
    compared = sum(len(v) for sample in lin.fresh.weights._samples for v in sample.views)
    assert compared <= 6 * 2000 and laws.distance(lin.F.row(3), lin.F.row(3)) == 0
