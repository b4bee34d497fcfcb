"""Files of graphs whose outputs are structures, with what is no tensor among them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, UnsupportedOperator


class Net(nn.Module):
    """Logits in a structure."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.outputs = nn.Linear(5, 3), outputs

    def forward(self, x):
        return self.outputs(torch.relu(self.layer(x)), x)


MIXED = Net(
    lambda z, x: {"loss": None, "n": 3, "name": "net", "parts": [(z, None), x.shape], "label": z.argmax(1)}
)


@pytest.mark.parametrize(
    "suffix",
    [".pt2", pytest.param(".ts", marks=pytest.mark.full), pytest.param(".onnx", marks=pytest.mark.full)],
)
def test_what_is_no_tensor_is_left_out(suffix, tmp_path):
    x = torch.randn(2, 5)
    graph = fxscope.transform(MIXED, example_inputs=(x,))
    assert graph(x, x)[0]["name"] == "net" and graph(x, x)[1]["loss"] is None
    assert fxscope.save(graph, tmp_path / f"pair{suffix}", (x, x)).ok
    if suffix == ".pt2":
        y0, y1 = torch.export.load(tmp_path / "pair.pt2").module()(x, torch.cat([x, x]))
        assert set(y0) == set(y1) == {"parts", "label"} and len(y0["parts"]) == 1
        assert torch.equal(y0["parts"][0][0], graph(x, x)[0]["parts"][0][0])


def test_y2_of_several_outputs(tmp_path):
    x = torch.randn(2, 5)
    model = Net(lambda z, x: {"z": z, "more": (2 * z, z.argmax(1))})
    graph = fxscope.transform(model, "adjoint", example_inputs=(x,))
    assert fxscope.save(graph, tmp_path / "adjoint.pt2", (x, model(x))).ok


def test_a_format_that_cannot_hold_the_structure_says_so(tmp_path):
    x = torch.randn(2, 5)
    model = Net(lambda z, x: {"z": z, "more": {"again": 2 * z}})
    graph = fxscope.transform(model, "adjoint", example_inputs=(x,))
    with pytest.raises(FxscopeError, match="outputs="):
        fxscope.save(graph, tmp_path / "adjoint.ts", (x, object()))


def test_what_torch_computes_wrongly_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.CrossMapLRN2d(3))
    with pytest.raises(UnsupportedOperator, match="LocalResponseNorm"):
        fxscope.interpret(model, torch.randn(1, 1, 8, 8))
    x = torch.randn(1, 4, 2, 2, dtype=torch.float64)
    ours, theirs = nn.LocalResponseNorm(3, 0.5)(x), nn.CrossMapLRN2d(3, 0.5)(x)
    assert torch.allclose(ours[:, :2], theirs[:, :2]) and not torch.allclose(ours[:, 2], theirs[:, 2])


def test_a_descriptor_is_no_network_and_holds_one():
    class Descriptor:
        def __init__(self, model):
            self.model = model

        def __call__(self, x):
            return self.model(x)

    with pytest.raises(FxscopeError, match=r"\.model"):
        fxscope.transform(Descriptor(nn.ReLU()))
