"""The how-to pages: their code blocks run in order, and a rule in a new file is found."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from fxscope.rules import registry
from fxscope.testing import check_rule

pytestmark = pytest.mark.usefixtures("rules_as_before")
PAGES = Path(__file__).parent.parent / "docs" / "how-to"


@pytest.mark.full
@pytest.mark.parametrize("page", ["add-a-rule.md"])
def test_page(page, tmp_path, monkeypatch):
    """The blocks of a page are one module, in a file of its own."""
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.S)
    assert len(blocks) >= 4
    _run(tmp_path, page.replace("-", "_").removesuffix(".md"), "\n".join(blocks))
    assert {"squared_relu", "swap"} <= set(registry().rules)


def test_a_wrong_rule_is_told(tmp_path):
    """All laws run on a new file's rule: one whose factor is not h(x0)/x0 breaks law 2."""
    module = _run(tmp_path, "wrong_rule", WRONG)
    with pytest.raises(AssertionError, match="law 2 is broken"):
        check_rule(module.RULE)


WRONG = """
import torch

import fxscope
from fxscope.rules.declare import Sample, mask
from fxscope.twins import Gate

@torch.library.custom_op("howto::doubled_tanh", mutates_args=())
def doubled_tanh(x: torch.Tensor) -> torch.Tensor:
    return 2 * torch.tanh(x)

@doubled_tanh.register_fake
def _(x):
    return torch.empty_like(x)

def freeze(x):
    return Gate(factor=torch.ones_like(x))

RULE = fxscope.register_rule(mask("doubled_tanh", torch.ops.howto.doubled_tanh.default, freeze, \
samples=(Sample(),), formula="", source=""))
"""


def _run(folder, name, code):
    path = folder / f"{name}.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
