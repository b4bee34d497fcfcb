"""The conformance command: lines, reason codes, resuming, and the table written from them."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from chosen import chosen
from torch import nn

import fxscope
from fxscope.testing import laws, randomize
from fxscope.testing.conformance import __main__ as command
from fxscope.testing.conformance import measure, members
from fxscope.testing.conformance.table import CODES, write_docs


class Odd(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.body = kind, nn.Linear(4, 4)

    def forward(self, x):
        y = self.body(x)
        if self.kind == "operator":
            return torch.erfinv(torch.tanh(y))
        if self.kind == "data":
            return y if y.sum() > 0 else -y
        return torch.softmax(y, -1) if self.kind == "path" else torch.relu(y)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("operator", "UNSUPPORTED_OP"), ("data", "DATA_DEPENDENT"), ("path", "NO_LINEAR_PATH"), ("good", "ok")],
)
def test_reason_codes(kind, status):
    level = logging.getLogger("fxscope").level
    line = measure(lambda: (Odd(kind), (torch.randn(2, 3, 4),)))
    assert line["status"].startswith(status), line
    assert logging.getLogger("fxscope").level == level, "later warnings of the process are heard"
    assert kind != "operator" or "erfinv" in line["status"]


NETWORKS = """
import os, time
import torch
from torch import nn

x = torch.randn(2, 3, 4)

def pathless():
    return nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)), (x,)

def hanging():
    open({started!r}, "w").write(str(os.getpid()))
    time.sleep(600)

def table():
    return {{"good": lambda: (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (x,)), "pathless": pathless, \
"dying": lambda: os._exit(3), "hanging": hanging}}
"""


@pytest.fixture
def suite(tmp_path):
    """A suite of networks of one's own.

    The process of its member "hanging" leaves its number in the file "started".
    """
    (tmp_path / "networks.py").write_text(NETWORKS.format(started=str(tmp_path / "started")))
    return f"{tmp_path / 'networks.py'}:table"


def test_lines_are_kept_and_the_table_is_written(suite, tmp_path, capsys):
    path = tmp_path / "conformance" / "own.jsonl"
    assert command.main(["--suite", suite, "--only", "good", "--json", str(path)]) == 0
    path.write_text(path.read_text().replace('"seconds"', '"kept": 1, "seconds"'))
    assert command.main(["--suite", suite, "--json", str(path), "--limit", "9"]) == 1
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok", "NO_LINEAR_PATH", "ERROR", "TIME_LIMIT"] and lines[0][
        "kept"
    ] == 1
    assert (
        lines[0]["peak_mb"] > 100
        and lines[2]["reason"] == "its process ended with code 3"
        and lines[3]["seconds"] == 9
    )
    assert not alive(int((tmp_path / "started").read_text())), "a network that takes too long is ended"
    assert "[2/4] pathless" in capsys.readouterr().out
    table = write_docs(path.parent).read_text()
    assert "own: 1 of 4" in table and "| pathless | NO_LINEAR_PATH |" in table
    assert (
        command.main(["--suite", suite, "--only", "three"]) == 2 and command.main(["--suite", "nothing"]) == 2
    )


@pytest.mark.full
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_keeps_its_lines_and_leaves_no_process(sent, suite, tmp_path):
    path, started = tmp_path / "own.jsonl", tmp_path / "started"
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fxscope.testing.conformance",
            "--suite",
            suite,
            "--only",
            "good",
            "--only",
            "hanging",
            "--json",
            str(path),
        ],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,
    )
    while not (started.exists() and started.read_text()):
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(sent)
    _, said = run.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert run.returncode == 130 and said.splitlines()[-1] == "stopped; finished lines are kept"
    assert [json.loads(text)["name"] for text in path.read_text().splitlines()] == ["good"]
    deadline = time.monotonic() + 30
    while alive(int(started.read_text())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(int(started.read_text()))


def heard() -> None:
    """A job in a script's background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_suites_name_what_the_table_promises():
    table = members("torchvision")
    assert len(table) >= 80 + 6 + 8 + 12 and {
        "raft_small",
        "mvit_v2_s",
        "fasterrcnn_resnet50_fpn: backbone",
    } <= set(table)
    assert len(members("transformers")) == 11


QUICK = chosen(("Cholesky solve", "modulus gates"), members("written"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.full) for n in members("written")]
)
def test_written_networks_obey_all_laws(name):
    line = measure(members("written")[name])
    assert line["status"] == "ok", line
    assert max(line["laws"].values()) < 1e-9 and line["share"] > 0.05


DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("path", sorted((DOCS / "conformance").glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_failure_has_a_reason_code_and_is_named_among_the_limitations(path):
    limitations = (DOCS / "limitations.md").read_text()
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    for line in lines:
        code = line["status"].split()[0]
        assert code == "ok" or (
            code in CODES and re.search(rf"`{re.escape(line['name'])}`[^`]*{code}", limitations)
        ), line["name"]
    assert sum(line["status"] == "ok" for line in lines) >= 0.95 * len(lines)


def test_the_page_is_what_the_lines_say(tmp_path):
    shutil.copytree(DOCS / "conformance", tmp_path / "conformance")
    assert write_docs(tmp_path / "conformance").read_text() == (DOCS / "conformance.md").read_text()


def _with_noise_map(library: str):
    """A DRUNet, its inputs, and the places of those.

    The inputs are an image and the map of its noise, which spandrel's takes as a fourth channel.
    """
    rng = torch.Generator().manual_seed(0)
    image, noise = (
        torch.randn(2, 3, 32, 32, generator=rng, dtype=torch.float64),
        torch.rand(2, 1, 32, 32, generator=rng, dtype=torch.float64),
    )
    sizes = {"nc": [8, 16, 16, 16], "nb": 1}
    if library == "deepinv":
        return (
            importlib.import_module("deepinv").models.DRUNet(pretrained=None, **sizes),
            (image, noise),
            ["x", "sigma"],
        )
    architecture = importlib.import_module("spandrel.architectures.DRUNet.__arch.network_unet")
    return architecture.DRUNet(in_nc=4, out_nc=3, **sizes), (torch.cat([image, noise], 1),), ["x0"]


@pytest.mark.turns(2)
@pytest.mark.filterwarnings("ignore")  # the model library's own
@pytest.mark.parametrize("library", ["deepinv", "spandrel"])
@torch.no_grad()
def test_a_bias_free_network_has_no_residual_in_image_and_noise_map(library):
    """DRUNet is homogeneous in (x, noise map).

    r is 0, every bit of it, and F (x, map) is the output. In x alone the map's part is a constant.
    """
    model, given, places = _with_noise_map(library)
    model = randomize(model.double().eval(), *given)
    lin = fxscope.interpret(model, *given, inputs=places)
    expected = model(*given)
    assert not lin.residual.any() and not lin.contributions((1, 5, 6)).terms
    probes = tuple(v.unsqueeze(0) for v in given)
    assert laws.distance((lin.F @ (probes if len(places) > 1 else probes[0]))[0], expected) < 1e-12
    rows = lin.F.row((1, 5, 6))
    rows = rows if isinstance(rows, tuple) else (rows,)
    assert torch.allclose(
        sum((r * v).flatten(1).sum(1) for r, v in zip(rows, given)), expected[:, 1, 5, 6], rtol=1e-10
    )
    if len(places) > 1:
        assert fxscope.interpret(model, *given).residual.abs().max() > 1e-3
