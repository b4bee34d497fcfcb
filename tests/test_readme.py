"""The README's example runs as it stands."""

import re
from pathlib import Path


def test_the_ten_lines_run(capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text()
    [block] = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(block, "README.md", "exec"), {})
    assert "all laws hold" in capsys.readouterr().out
