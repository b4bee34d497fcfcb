"""Every snippet of the README, the documentation and the docstrings runs, and so does every example."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from chosen import chosen

import fxscope

pytestmark = pytest.mark.usefixtures("rules_as_before")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

FENCE = re.compile(r"^```(\{run\}|python)\n(.*?)^```$", re.S | re.M)
PAGES = sorted(
    p
    for p in (ROOT / "docs").rglob("*.md")
    if not {"_build", "cards", "gallery"} & set(p.relative_to(ROOT).parts) and FENCE.search(p.read_text())
)
OWN_TEST = chosen({"svd.md", "add-a-rule.md"}, [p.name for p in PAGES])  # a test of their own runs these
PAGES = [p for p in PAGES if p.name not in OWN_TEST]
SLOW_PAGES = chosen(
    {"reading.md", "export.md", "contributions.md", "article.md", "index.md"}
    | {"transformers.md", "explain-in-javascript.md", "live-page.md"},
    [p.name for p in PAGES],
)
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
FAST_EXAMPLES = chosen(
    {"plot_own_network", "plot_policies", "plot_custom_rule", "plot_pylops"}, [p.stem for p in EXAMPLES]
)


def _parameters(paths, slow):
    return [pytest.param(p, id=p.stem, marks=[pytest.mark.full] if slow(p) else []) for p in paths]


def blocks(page: Path) -> list[str]:
    """The blocks of Python of a page, without the directive's options."""
    return [re.sub(r"\A(:\w+:.*\n)+", "", body) for _, body in FENCE.findall(page.read_text())]


@pytest.mark.turns(2)
@pytest.mark.parametrize("page", _parameters(PAGES, lambda p: p.name in SLOW_PAGES))
@pytest.mark.filterwarnings("default")
def test_every_block_of_a_page_runs(page, tmp_path, monkeypatch):
    from run import execute

    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"page_{page.stem}"}
    for number, block in enumerate(blocks(page)):
        execute(block, namespace, f"{page.name}, block {number}")


def test_the_readme_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    exec(compile(block, "README.md", "exec"), {})
    assert "all laws hold" in capsys.readouterr().out and (tmp_path / "graph.html").exists()


def test_pages_are_found():
    assert {"getting-started.md", "how-it-works.md", "policy.md", "reading.md"} <= {p.name for p in PAGES}


@pytest.mark.parametrize("script", _parameters(EXAMPLES, lambda p: p.stem not in FAST_EXAMPLES))
@pytest.mark.filterwarnings("default")
def test_every_example_runs_and_ends_in_a_picture(script):
    from matplotlib.figure import Figure

    found = runpy.run_path(str(script))
    pictures = [v for v in found.values() if isinstance(v, Figure)]
    assert pictures or "fxscope.draw(" in script.read_text().splitlines()[-1]
    check = CHECKS.get(script.stem)
    if check:
        check(found)


def _residual_shrinks(found):
    assert found["r_after"] < 0.6 * found["r_before"] and found["psnr_after"] > found["psnr_before"] - 0.1


def _captum_agrees(found):
    assert (
        torch.allclose(found["attributions"], found["theirs"], atol=1e-6)
        and float(found["delta"].abs().max()) < 1e-5
    )


def _inverted(found):
    assert float((found["found"] - found["low"]).norm() / found["low"].norm()) < 0.05


def _copies(found):
    assert sorted(found["strongest"]) == sorted([found["place"], tuple(p % 8 for p in found["place"])])


def _localised(found):
    area = {
        name: sum(s.participation for s in triplets.shapes()) / len(triplets)
        for name, triplets in found["found"].items()
    }
    assert area["network"] < 0.1 < 0.25 < area["bicubic"] and all(
        (t.errors <= 2e-3 * t.s).all() for t in found["found"].values()
    )


def _votes_on_ink(found):
    assert found["votes"].error < 1e-5 and found["shares"][0] > 1.2 * found["chance"]


def _patterns(found):
    assert (
        len(found["patterns"]) == 2
        and abs(found["linear"] + found["r"] - found["score"]) < 1e-4
        and found["right"].double().mean() > 0.85
    )


CHECKS = {
    "plot_train_through_residual": _residual_shrinks,
    "plot_captum": _captum_agrees,
    "plot_pylops": _inverted,
    "plot_deepinv": _inverted,
    "plot_copy_move": _copies,
    "plot_svd": _localised,
    "plot_pixel_votes": _votes_on_ink,
    "plot_vit_attention": _patterns,
}


def test_every_example_is_described():
    for script in EXAMPLES:
        text = script.read_text()
        assert re.match(r'"""\n\S.*\n=+\n\n\S', text) and "# %%" in text, script.name


def test_every_example_is_in_a_group_and_in_the_api():
    from gallery import GROUPS, examples_of

    named = [name for _, names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(p.stem.removeprefix("plot_") for p in EXAMPLES)
    assert "plot_svd" in examples_of("fxscope.linop.linear.Operator.svd")
    assert len(examples_of("fxscope.interpret")) > 10 and not examples_of("fxscope.plot.spectra")


def test_every_law_that_verify_prints_is_explained():
    from fxscope.testing.table import CHECKS as LAWS

    text = (ROOT / "docs" / "laws.md").read_text()
    missing = [law.name for law in LAWS if f"({law.name.replace(' ', '-')})=" not in text]
    assert not missing
    assert str(fxscope.verify(torch.nn.Linear(2, 2), torch.rand(1, 2), K=2)).endswith("docs/laws.md")


def test_arguments_have_types():
    """An argument without a type in the docstring has that of the code."""
    from docstrings import signature, typed

    def f(a, b: int | None = None, *, c="x,y"):
        pass

    f.__annotations__["a"] = "torch.Tensor"
    lines = ["F.", "", "Parameters", "----------", "a", "    One.", "b", "    Two.", "c : str", "    Three."]
    assert typed(lines, f)[4::2] == ["a : torch.Tensor", "b : int, optional", "c : str"]
    given = "(a: ~torch.Tensor, b: int | None = None, *, c='x,y')"
    assert signature(None, "function", "f", f, {}, given, "int") == ("(a, b=None, *, c='x,y')", "int")


def test_what_scrolls_can_be_reached():
    from pages import linked, reachable, text_of

    wide = '<div class="table-wrapper docutils container" id="t"><table></table></div>'
    assert 'tabindex="0"' in reachable(wide) and reachable(reachable(wide)) == reachable(wide)
    output = '<div class="output highlight-none notranslate"><div class="highlight"><pre>Net\n  law 8 row x\n'
    assert '<pre tabindex="0"' in reachable(output) and "laws.html#law-8-row" in linked(output, "../")
    article = (
        '<article role="main"><section id="a"><h1>A &lt; b</h1><svg><text>no</text></svg></section></article>'
    )
    assert text_of(article) == '<section id="a"> A &lt; b </section>'


def modules() -> list[str]:
    found = pkgutil.walk_packages(fxscope.__path__, "fxscope.")
    return [m.name for m in found if not m.name.startswith(("fxscope.cli", "fxscope.viewer"))]


ROOMS = sorted({name.split(".")[1] for name in modules() if "." in name})


@pytest.mark.parametrize("room", _parameters(map(Path, ROOMS), lambda p: p.stem not in ("emit", "linop")))
def test_docstrings_run(room):
    named = [name for name in modules() if f"{name}.".startswith(f"fxscope.{room}.")]
    runs = [doctest.testmod(importlib.import_module(name)) for name in named]
    assert sum(r.attempted for r in runs) >= (room.stem in ("emit", "linop")) and not sum(
        r.failed for r in runs
    )


def test_every_error_has_its_page():
    from fxscope import errors

    declared = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert declared == set(errors.__all__)
    for name in declared - {"FxscopeError"}:
        what, *then = getattr(errors, name).__doc__.split("\n\n")
        assert what.strip() and len(then) == 1 and then[0].strip(), (
            f"{name}: what it means, and what to do next"
        )


def test_every_error_shows_a_real_message():
    """The page on errors runs a program for every class, which raises it."""
    from error_messages import EXAMPLES, said

    from fxscope import errors

    assert set(EXAMPLES) == set(errors.__all__)
    for name in EXAMPLES:
        assert len(said(name)) > 20, name


def test_docstrings_become_rest():
    from docstrings import to_rst

    text = to_rst(
        [
            "One * sentence.",
            "",
            "    y = F x",
            "",
            "x0   an image",
            "     of any size",
            "r    its residual",
            "",
            ">>> 1 + 1",
            "2",
        ]
    )
    assert (
        text[0] == r"One \* sentence."
        and "::" in text
        and "``x0``" in text
        and "   of any size" in text
        and ">>> 1 + 1" in text
    )


@pytest.mark.full
def test_the_extension_imports_alone():
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'docs' / '_ext')!r}, {str(ROOT / 'tests')!r}]; import"
        " graphs, cards, docstrings, errors, gallery, mathml, pages, run, networks"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_tables_of_the_studies_are_those_of_their_results():
    """What docs/studies/tables.py would write is what the pages hold."""
    tables = runpy.run_path(str(ROOT / "docs" / "studies" / "tables.py"))
    pages = tables["pages"]()
    assert {p.name for p in pages} == {"votes.md", "faithfulness.md", "studies.md"}
    for page in pages:
        assert tables["written"](page) == page.read_text(), "run: python docs/studies/tables.py"
