"""Results in a real notebook: executed by a kernel, made into pages by nbconvert, looked at in Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from chromium import CHROMIUM

BEGIN = """
import torch, fxscope
from fxscope import analysis, models
torch.manual_seed(0)
x0 = torch.rand(1, 1, 24, 24)
net = models.named.build("pixelshuffle4x")
lin = fxscope.interpret(net, x0)
nn = torch.nn
classifier = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3872, 10))
graph = fxscope.transform(net)
scores = fxscope.interpret(classifier, x0)
places = [(6, 6), (12, 12)]
rows = lin.F.rows([(0, 24, 24), (0, 48, 48)])
"""
SHOWN = """
lin
scores
lin.F
lin.F.T
2 * lin.F.T @ lin.F
lin.F.restrict(outputs=(0, slice(0, 48), slice(0, 48)))
fxscope.prepare(net, x0)
graph
fxscope.transform(classifier, "adjoint")
fxscope.to_networkx(graph)
fxscope.summary(graph)
fxscope.draw(graph)
lin.F.svd(4, progress=False)
lin.F.spectrum(4, 8, progress=False)
lin.F.norm("fro", probes=12, progress=False)
lin.F.filters(rows=[(0, 48, 48)])
fxscope.local_row(net, x0, (0, 48, 48))
lin.F.alignment()
lin.gap(x0 + 0.01)
lin.contributions((0, 48, 48))
scores.pixel_votes(progress=False)
scores.pixel_discussion([1, 2], progress=False)
fxscope.storage(net, (1, 1, 24, 24))
fxscope.verify(classifier, x0, thorough=False)
fxscope.compare(x0, ["freeze", "taylor"], (0, 48, 48), model=net)
analysis.residual_share(classifier, [("a photograph", x0)], progress=False)
analysis.energy_against_distance(rows, places)
analysis.layer_contributions(classifier, x0, progress=False)
analysis.fgsm(classifier, x0)
analysis.copy_move(rows[0], (6, 6))
fxscope.mean_map(classifier, [x0], progress=False)
analysis.diagonal(rows, places)
analysis.invariance(rows, places, 5)
"""
WIDE = "[document.documentElement.scrollWidth, innerWidth]"
UNSEEN = (
    "[...document.querySelectorAll('.fxscope-result img')].filter((i) => !i.naturalWidth || !i.alt).length"
)
# the contrast of every text of a result with what is behind it
CONTRAST = """() => {
  const levels = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const v = levels(c).slice(0, 3).map((x) => x / 255)
    .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    const v = levels(c); if (v.length < 4 || v[3] > 0.99) return c; } return "rgb(255,255,255)"; };
  const kinds = "td, th, p, code, figcaption, svg:not(.fxscope-drawing) text";
  const texts = [...document.querySelectorAll(`.fxscope-result :is(${kinds})`)];
  return Math.min(...texts.filter((e) => e.textContent.trim()).map((e) => {
    const style = getComputedStyle(e), ink = e.tagName === "text" ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); }));
}"""


def executed(folder: Path):
    """The notebook, run: one cell for each result."""
    formats, nbconvert = pytest.importorskip("nbformat.v4"), pytest.importorskip("nbconvert.preprocessors")
    shown = SHOWN.strip().splitlines()
    notebook = formats.new_notebook(cells=[formats.new_code_cell(c) for c in (BEGIN, *shown)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbconvert.ExecutePreprocessor(timeout=600).preprocess(notebook, {"metadata": {"path": str(folder)}})
    return notebook


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_results_in_a_notebook(tmp_path):
    from playwright.sync_api import sync_playwright

    notebook = executed(tmp_path)
    for cell in notebook.cells[1:]:
        (found,) = (o for o in cell.outputs if o.output_type == "execute_result")
        assert "text/html" in found.data, cell.source
        assert "\n" not in found.data["text/plain"] and len(found.data["text/plain"]) < 120, cell.source
        assert "No picture" not in found.data["text/html"], cell.source
    exporter = pytest.importorskip("nbconvert").HTMLExporter
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        for theme in ("light", "dark"):
            path = tmp_path / f"{theme}.html"
            path.write_text(exporter(theme=theme).from_notebook_node(notebook)[0], encoding="utf-8")
            for width in (1400, 768):
                page = browser.new_page(viewport={"width": width, "height": 1000})
                page.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
                page.goto(path.as_uri(), wait_until="domcontentloaded")
                needed, given = page.evaluate(WIDE)
                assert needed <= given and not page.evaluate(UNSEEN)
                assert page.evaluate(CONTRAST) >= 4.5
                page.screenshot(path=tmp_path / f"{theme}-{width}.png", full_page=True)
                page.close()
        browser.close()
