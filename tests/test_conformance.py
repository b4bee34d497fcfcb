"""The conformance command: lines, reason codes, resuming, and the table written from them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from fxscope.testing.conformance import __main__ as command
from fxscope.testing.conformance import measure, members, suites
from fxscope.testing.conformance.table import write_docs


class Odd(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.body, self.rnn = kind, nn.Linear(4, 4), nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        y = self.body(x)
        if self.kind == "operator":
            return self.rnn(y)[0]
        if self.kind == "data":
            return y if y.sum() > 0 else -y
        return torch.softmax(y, -1) if self.kind == "path" else torch.relu(y)


@pytest.mark.parametrize("kind, status", [("operator", "UNSUPPORTED_OP"), ("data", "DATA_DEPENDENT"), ("path", "NO_LINEAR_PATH"), ("good", "ok")])
def test_reason_codes(kind, status):
    line = measure(lambda: (Odd(kind), (torch.randn(2, 3, 4),)))
    assert line["status"].startswith(status), line
    assert kind != "operator" or "gru" in line["status"]


def test_lines_are_kept_and_the_table_is_written(tmp_path, capsys, monkeypatch):
    built = []

    def counted():
        built.append(1)
        return Odd("good"), (torch.randn(2, 3, 4),)

    monkeypatch.setitem(suites.SUITES, "torchvision", lambda: {"one": counted, "two": lambda: (Odd("path"), (torch.randn(2, 3, 4),))})
    path = tmp_path / "conformance" / "torchvision.jsonl"
    assert command.main(["--suite", "torchvision", "--only", "one", "--json", str(path)]) == 0
    assert command.main(["--suite", "torchvision", "--json", str(path)]) == 1 and len(built) == 1
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok", "NO_LINEAR_PATH"] and "[2/2] two" in capsys.readouterr().out
    table = write_docs(path.parent).read_text()
    assert "torchvision: 1 of 2" in table and "| two | NO_LINEAR_PATH |" in table
    assert command.main(["--suite", "torchvision", "--only", "three"]) == 2


def test_suites_name_what_the_table_promises():
    table = members("torchvision")
    assert len(table) >= 80 + 6 + 8 and {"raft_large"} & set(table) == set()
    assert len(members("transformers")) == 11
