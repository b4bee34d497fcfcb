"""A release says the same of itself in all places; its documentation switches versions offline."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from chromium import CHROMIUM

import fxscope

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def supported() -> dict[str, tuple[str, str]]:
    """The table of docs/stability.md: the oldest and the newest version of each."""
    page = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    return {
        name: (old, new)
        for name, old, new in re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
    }


def minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def test_the_oldest_versions_are_those_that_are_asked_for_and_tried():
    table, run = supported(), (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    asked = dict(re.match(r"(\w+)>=([\d.]+)", each).groups() for each in PROJECT["project"]["dependencies"])
    tried = dict(re.findall(r"'(torch|torchvision)==([\d.]+)\.\*'", run))
    python = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert set(table) == {"Python", "torch", "torchvision"}
    for name in ("torch", "torchvision"):
        assert table[name][0] == asked[name] == tried[name], name
    assert table["Python"][0] == python == PROJECT["tool"]["mypy"]["python_version"]
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + python.replace(".", "")


def test_what_runs_here_is_supported():
    import torch
    import torchvision

    here = {
        "Python": sys.version.split()[0],
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
    }
    for name, (old, new) in supported().items():
        said = f"the suite runs on {name} {here[name]}; docs/stability.md says {old} to {new}: write it anew"
        assert minor(old) <= minor(here[name]), said
        if minor(here[name]) > minor(new):  # a release of another project breaks nothing here
            warnings.warn(said, stacklevel=1)


def test_one_version_everywhere():
    from citing import bibtex, cff

    told = cff()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.findall(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", changelog, re.M)
    assert dated[0] == (fxscope.__version__, str(told["date-released"]))
    assert told["version"] == fxscope.__version__
    assert re.search(rf"version +=\s*{{{re.escape(fxscope.__version__)}}}", bibtex())


def test_the_paper_is_cited_alike():
    from citing import bibtex

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for field in ("title", "author", "year"):
        found = [
            re.search(rf"^  {field} += {{(.*?)}},?$", text, re.M)
            for text in (readme, bibtex().split("\n\n")[1])
        ]
        assert found[0][1] == found[1][1], field


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """Two versions of a small documentation, the older one without a page of the newer, side by side."""
    base, out = tmp_path_factory.mktemp("versions"), None
    for version, pages in (("0.9.0", ("index",)), ("0.10.0", ("index", "how-to/added"))):
        source = base / version
        (source / "how-to").mkdir(parents=True)
        shutil.copytree(ROOT / "docs" / "_static", source / "_static", ignore=shutil.ignore_patterns("films"))
        for page in pages:
            (source / f"{page}.md").write_text(f"---\norphan: true\n---\n# {page} of {version}\n")
        (source / "conf.py").write_text(
            f"import sys\nsys.path[:0] = [{str(ROOT / 'docs' / '_ext')!r}]\n"
            f"project, version, release = 'p', {version!r}, {version!r}\n"
            "extensions = ['myst_parser', 'versions']\nhtml_theme = 'furo'\nhtml_static_path = ['_static']\n"
        )
        command = [sys.executable, "-m", "sphinx", "-q", "-W", str(source), str(base / f"built-{version}")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        out = base / "site"
        command = [
            sys.executable,
            str(ROOT / "docs" / "versions.py"),
            str(out),
            str(base / f"built-{version}"),
        ]
        assert version in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return out


def test_versions_lie_side_by_side(several):
    from versions import LIST, newest, read

    pages = {"0.10.0": ["how-to/added", "index"], "0.9.0": ["index"]}
    assert [read(several / version / LIST) for version in pages] == [pages, pages]
    assert newest(pages) == "0.10.0"  # by number, not by letters
    assert 'url=0.10.0/index.html"' in (several / "index.html").read_text()


def test_what_is_no_build_is_refused(several, tmp_path):
    for given in (tmp_path, several / "0.9.0"):
        command = [sys.executable, str(ROOT / "docs" / "versions.py"), str(tmp_path / "out"), str(given)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1 and str(given) in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_switcher_works_from_disk(several):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        page, said = browser.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((several / "0.10.0" / "how-to" / "added.html").as_uri())
        links = page.locator(".fxscope-versions a")
        assert links.all_inner_texts() == ["0.10.0", "0.9.0"] and not page.locator(".fxscope-older").count()
        links.nth(1).click()  # it has no such page: its first one
        page.wait_for_url("**/0.9.0/index.html")
        assert "0.9.0" in page.locator(".fxscope-versions a[aria-current]").inner_text()
        page.locator(".fxscope-older a").click()
        page.wait_for_url("**/0.10.0/index.html")
        assert page.locator("h1").inner_text().startswith("index of 0.10.0") and not said
        browser.close()
