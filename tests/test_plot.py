"""Figures and the commands that draw them."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError


def run(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def data(h=20, w=30):
    values = torch.zeros(3, h, w)
    values[:, 7:10, 11:15] = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    values[:, 8, 12] = 5.0
    return values


@pytest.mark.parametrize("draw", [fxscope.plot.row, fxscope.plot.column])
def test_filters_share_a_symmetric_scale_and_mark_the_place(draw, tmp_path):
    figure = draw(data(), text="a caption")
    whole, near = figure.axes[:2]
    shown = [a.images[0] for a in (whole, near)]
    assert all(i.get_clim() == (-5.0, 5.0) for i in shown)
    assert [tuple(float(v[0]) for v in line.get_data()) for a in (whole, near) for line in a.lines] == [
        (12.0, 8.0)
    ] * 2
    left, right = near.get_xlim()
    bottom, top = near.get_ylim()
    assert left < 11 and right > 15 and top < 7 < 10 < bottom and len(whole.patches) == 1
    assert [t.get_text() for t in figure.axes[2].get_yticklabels()] == ["-5", "0", "5"]
    for suffix in ("pdf", "svg", "png"):
        figure.savefig(tmp_path / f"figure.{suffix}")
        assert (tmp_path / f"figure.{suffix}").stat().st_size > 1000


def test_signed_images_share_their_scale_and_photographs_do_not_need_one():
    figure = fxscope.plot.images({"a": data(), "b": 3 * data()}, signed=True)
    assert [a.images[0].get_clim() for a in figure.axes[:2]] == [(-15.0, 15.0)] * 2
    assert fxscope.plot.images({"photograph": torch.rand(3, 8, 8)}).axes[0].images[0].get_array().shape == (
        8,
        8,
        3,
    )
    with pytest.raises(FxscopeError, match="expected an image"):
        fxscope.plot.row(torch.zeros(5))


def test_contributions_are_drawn_up_to_the_output():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 1, 3)).double()
    c = fxscope.interpret(model, torch.randn(1, 1, 9, 9, dtype=torch.float64)).contributions((0, 2, 2))
    axis = c.plot().axes[0]
    running = axis.lines[0].get_ydata()
    assert abs(running[-1] - c.output) < 1e-6 and [t.get_text() for t in axis.get_xticklabels()] == [
        "F x0",
        "0",
        "2",
    ]


def test_commands(tmp_path):
    done = run(
        "row", "fxscope:pixelshuffle4x", "--size", 24, "--at", "0,40,41", "-o", tmp_path / "row.svg", "--json"
    )
    numbers = json.loads(done.stdout)
    assert numbers["error"] < 1e-5 and numbers["nonzero"] == 121 and (tmp_path / "row.svg").exists()
    assert (
        "energy"
        in run("column", "fxscope:pixelshuffle4x", "--size", 24, "-o", tmp_path / "column.png").stdout
    )
    done = run("contributions", "torchvision:squeezenet1_1", "--top", "--json")
    found = json.loads(done.stdout)
    assert found["error"] < 1e-5 and len(found["terms"]) == 26
    kept = json.loads(run("storage", "torchvision:vgg11", "--size", "64x64", "--json").stdout)
    assert kept["packed"] < kept["recorded"] < 4 * kept["activations"]
    for bad in (
        ("row", "fxscope:pixelshuffle4x", "--at", "x"),
        ("row", "fxscope:pixelshuffle4x", "--at", "0,9999,0"),
        ("storage", "torchvision:vgg11", "--size", "big"),
        ("column", "torchvision:squeezenet1_1", "-o", tmp_path / "c.png"),
    ):
        assert run(*bad).exit_code in (1, 2)
