"""Networks x verbs: cells, resuming, what counts as wrong, and the page of the docs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fxscope.matrix import __main__ as command
from fxscope.matrix.cells import VERBS, measured
from fxscope.matrix.networks import NETWORKS, arguments
from fxscope.matrix.page import by_network, disagreements, failures, write_docs

DOCS = Path(__file__).parents[1] / "docs"
OWN = """
import torch
from torch import nn

class Noisy(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, True).sum((2, 3))

class Odd(nn.Module):
    def forward(self, x):
        return torch.erfinv(torch.tanh(x))

def scores():
    pooled = [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), *pooled, nn.Linear(16, 3))
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "net.py").write_text(OWN)
    return tmp_path / "net.py"


@pytest.mark.full
def test_a_cut_run_goes_on_and_the_page_is_what_the_lines_say(own, tmp_path):
    """Two networks, stopped by Ctrl-C after a line: the line is kept, and the others are measured later."""
    path = tmp_path / "lines.jsonl"
    given = [f"{own}:scores --size 12", "own.py:valid --size 20", "--verb", "row", "--verb", "svd"]
    options = [*given, "--json", str(path), "--write-docs"]
    run = subprocess.Popen(
        [sys.executable, "-m", "fxscope.matrix", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not path.exists():
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "stopped; finished lines are kept" in err and "[1/4] row" in out
    first = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(first | {"kept": 1}) + "\n")
    assert command.main(options) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["verb"] for line in lines] == ["row", "svd"] * 2 and lines[0]["kept"] == 1
    assert all(line["status"] == "ok" for line in lines) and not failures(lines)
    assert not lines[0]["is_jacobian"] and lines[2]["is_jacobian"]
    page = path.with_suffix(".md").read_text()
    shutil.copy(path, tmp_path / "again.jsonl")
    assert write_docs(tmp_path / "again.jsonl").read_text() == page
    assert page.count(f"`{lines[0]['x0'][:6]}`") == 1 and "4 of 4 cells are exact" in page


def test_what_is_not_exact_is_broken_and_what_is_refused_says_why(own):
    """Random numbers make two readings of one network differ; an operator without a rule is refused."""
    noisy = measured(f"{own}:Noisy --size 12", "row")
    assert noisy["status"] == "BROKEN" and noisy["errors"]["identity"] > 1e-2
    odd = measured(f"{own}:Odd --size 12", "row")
    assert odd["status"] == "refused" and "erfinv" in odd["reason"]
    line = {"name": "row x", "network": "x", "verb": "row", **odd}
    assert not failures([line]) and failures([{**line, **noisy}]) == ["row x: BROKEN"]


def test_verbs_that_differ_are_wrong():
    base = {"network": "n", "errors": {}, "status": "ok", "x0": "a", "input": "i", "weights": "w"}
    row = {**base, "verb": "row", "name": "row n", "index": [3], "y0": 1.0}
    same = {**base, "verb": "report", "name": "report n", "index": [3], "y0": 1.00001}
    assert not disagreements([row, same]) and not failures([row, same])
    for change in ({"x0": "b"}, {"input": "j"}, {"weights": "v"}, {"y0": 1.01}):
        assert len(disagreements([row, same | change])) == 1 == len(failures([row, same | change]))
    assert not disagreements([row, same | {"index": [4], "y0": 2.0}])


@pytest.mark.full
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("network", ["own.py:reader", "own.py:valid --size 24", "hf:vit"])
def test_every_verb_of_own_networks(network, verb):
    line = measured(network, verb)
    assert line["status"] == "ok", line


def test_the_networks_can_be_written(tmp_path):
    """Every text is a MODEL and options; what the matrix makes itself is there."""
    for network in NETWORKS:
        spec, *options = arguments(network, tmp_path)
        assert len(options) % 2 == 0 or "--bgr" in options or "--luminance" in options
        assert spec.startswith(("fxscope:", "torchvision:", "timm:")) or str(tmp_path) in spec


def test_the_page_of_the_docs():
    """It is what the lines say; nothing in it is wrong, and each refusal has a reason."""
    lines = [json.loads(line) for line in (DOCS / "verbs.jsonl").read_text().splitlines()]
    assert not failures(lines)
    assert all(line["reason"] for line in lines if line["status"] == "refused")
    assert sum(line["status"] == "ok" for line in lines) >= 0.9 * len(lines)
    assert {*by_network(lines)} <= {*NETWORKS}


def test_the_page_is_what_its_lines_say(tmp_path):
    shutil.copy(DOCS / "verbs.jsonl", tmp_path)
    assert write_docs(tmp_path / "verbs.jsonl").read_text() == (DOCS / "verbs.md").read_text()
