"""Drawn networks are right or refused.

The fuzzer draws live ones, notices what is wrong, and makes it small.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from torch.utils import _pytree as pytree

from fxscope.linop import LinearInterpreter
from fxscope.testing.fuzz.check import check
from fxscope.testing.fuzz.draw import draw
from fxscope.testing.fuzz.network import Input, Network, Statement
from fxscope.testing.fuzz.oracle import Oracle
from fxscope.testing.fuzz.report import Report, fuzz
from fxscope.testing.fuzz.shrink import shrink

PARTS, EACH = 8, 25
QUICK = 2  # so many parts are drawn in the default run
X = Input("x", ("B", 3, "H", "W"))


def network(*lines: str, result: str = "h2", **fields) -> Network:
    return Network(0, (X,), tuple(Statement((line,)) for line in lines), result, **fields)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.turns(2)
@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[] if part < QUICK else [pytest.mark.full]) for part in range(PARTS)]
)
def test_drawn_networks_are_right_or_refused(part):
    *_, report = fuzz(range(part * EACH, (part + 1) * EACH))
    assert report.ok, str(report)
    # of 25, and none for want of a rule in more than one of twenty
    assert report.outcomes["refused"] <= 2, str(report)
    # ranks, loops and branches that only an example tells
    assert report.entries["without an example"] <= 9, str(report)
    assert report.unusable <= 1


def test_a_seed_draws_one_network():
    assert draw(5) == draw(5)
    assert draw(5).source() != draw(6).source()


def test_drawn_networks_are_alive():
    """Outputs depend on x and are of moderate size; most are cut in several statements of many kinds."""
    oracles = [Oracle(draw(seed)) for seed in range(40)]
    assert sum(o.usable for o in oracles) >= 38
    assert all(1e-3 < max(t.abs().max().item() for t in o.y) < 1e5 for o in oracles)
    assert sum(o.apart for o in oracles) > 20
    assert len({s.production for o in oracles for s in o.network.statements}) > 25


def _doubled(whole):
    return lambda self, u: pytree.tree_map(lambda t: 2 * t, whole(self, u))


@pytest.mark.parametrize(("part", "law"), [("_pullback", "dot test"), ("_replay", "eq. 3: F x0 + r = y0")])
def test_a_wrong_part_is_noticed(part, law, monkeypatch):
    monkeypatch.setattr(LinearInterpreter, part, _doubled(getattr(LinearInterpreter, part)))
    result = check(network("h1 = torch.tanh(x)", "h2 = h1 * 2 + 1"))
    assert result.outcome == "wrong"
    assert law in {f.kind for f in result.findings}


def _crossed(self, x1):
    raise ValueError("no")


def test_an_exception_of_another_kind_is_a_crash(monkeypatch):
    monkeypatch.setattr(LinearInterpreter, "__call__", _crossed)
    (found,) = check(network("h2 = torch.tanh(x)")).findings
    assert found.outcome == "crash" and found.kind.startswith("ValueError")


@pytest.mark.full
def test_a_failure_is_shrunk_to_its_line_and_written(tmp_path, monkeypatch):
    """A dot test that fails where a matrix product is: what is left is that line, in a file that runs."""
    whole = LinearInterpreter._pullback

    def wrong(self, u):
        found = whole(self, u)
        return found * 2 if any(record.rule == "matmul" for record in self.program.tape) else found

    monkeypatch.setattr(LinearInterpreter, "_pullback", wrong)
    large = network(
        "h1 = torch.tanh(x)",
        "h1 = h1 * 2",
        "h3 = h1.relu()",
        "h2 = h1.mean(3) @ h1.mean(3).mT",
        "h2 = h2 + 1",
    )
    finding = next(f for f in check(large).findings if f.kind == "dot test")
    little, found = shrink(large, finding, "freeze")
    assert found.key == finding.key
    assert len(little.statements) == 1 and "@" in little.body[0]
    report = Report(failures=[(0, found, little)])
    report.write(tmp_path)
    (file,) = tmp_path.iterdir()
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_refusal_has_its_reason():
    result = check(network("h1 = torch.special.i0(x)", "h2 = h1 * 2"))
    assert result.outcome == "refused"
    assert "UnsupportedOperator" in result.findings[0].kind and "i0" in result.findings[0].kind


def test_the_command_counts_and_its_status_says_what_was_found(tmp_path):
    from fxscope.testing.fuzz.__main__ import main

    done = CliRunner().invoke(main, ["--n", "3", "--seed", "40", "--out", str(tmp_path), "--no-shrink"])
    assert done.exit_code in (0, 1)
    assert "3 networks" in done.output
    as_json = CliRunner().invoke(main, ["--n", "2", "--seed", "40", "--json", "--no-shrink"])
    assert '"networks": 2' in as_json.output
