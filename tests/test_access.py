"""The site and the pages of the verbs in a browser.

Nothing is wider than the window, pictures have words, text has contrast.

The rules are those of axe-core, from the package axe-playwright-python; widths are of a phone, a tablet and a
laptop, colours the light and the dark ones.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest
import torch
from chromium import CHROMIUM
from PIL import Image
from test_site import pages, site  # noqa: F401 (the fixture)
from torch import nn

import fxscope
from fxscope import viewer
from fxscope.images import photos
from fxscope.paper.tour import network, report, tour
from fxscope.studies.report import report as page_of_study

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium"),
]
WIDTHS = (1400, 768, 375)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
# one page of each kind
SAMPLE = (
    "index",
    "laws",
    "search",
    "errors",
    "getting-started",
    "how-to/votes",
    "how-to/report",
    "paper/reading",
    "graphs/relu",
    "graphs/attention",  # a table of operations that is wider than the page
    "rules/cards/mask",
    "rules/cards/normalize",
    "rules/cards/linear-shapes",
    "gallery/index",
    "gallery/plot_svd",
    "api/plot",
    "api/command-line",
    "verbs",  # many columns
    "security",  # a head without words
    "_modules/fxscope/analysis/compare",
)
TALLEST = 16_000  # pixels of a page; a list that is longer goes to pages or boxes of its own
WIDER = """() => {
  const wide = document.documentElement.clientWidth, found = [];
  const all = document.documentElement.scrollWidth;
  if (all > wide) found.push(`the page: ${all}`);
  const scrolls = (e) => { for (let p = e.parentElement; p; p = p.parentElement)
    if (/auto|scroll/.test(getComputedStyle(p).overflowX)) return true; return false; };
  const all_of = document.querySelector("article[role=main]") || document.body;
  for (const e of all_of.querySelectorAll("*")) {
    if (e.closest("svg") && e.tagName !== "svg") continue;
    const box = e.getBoundingClientRect();
    if (box.width && box.right > wide + 1 && !scrolls(e))
      found.push(`${e.tagName}.${e.className}: ${box.right}`);
  }
  return found.slice(0, 5);
}"""
CUT = """(tallest) => {
  const cut = [...document.querySelectorAll("article pre")].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const found = cut.map((e) => `cut: ${e.textContent.slice(0, 80)}`);
  const tall = document.documentElement.scrollHeight;
  return (tall > tallest ? [`${tall} pixels tall`] : []).concat(found.slice(0, 5));
}"""
TOLD = """async (rules) => (
  await axe.run(document, {resultTypes: ["violations"], runOnly: rules})).violations.map(
  (v) => `${v.id}: ${v.nodes.length} times, first ${v.nodes[0].html.slice(0, 200)}`)"""


def checked(browser, page: Path, computes: bool = False) -> list[str]:
    """What is wrong with a page; one that ``computes`` is waited for."""
    axe = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    opened, wrong = browser.new_page(viewport={"width": WIDTHS[0], "height": 900}), []
    opened.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    opened.goto(page.as_uri())
    if computes:
        opened.wait_for_selector("html[data-ready]", timeout=60_000)
    for width in WIDTHS:
        opened.set_viewport_size({"width": width, "height": 900})
        opened.wait_for_timeout(50)
        wrong += [f"at {width}: {each}" for each in opened.evaluate(WIDER)]
        if width == WIDTHS[0]:
            wrong += [f"at {width}: {each}" for each in opened.evaluate(CUT, TALLEST)]
    opened.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    opened.evaluate(axe)
    for theme, rules in (("light", RULES), ("dark", {"type": "rule", "values": ["color-contrast"]})):
        opened.evaluate("(theme) => { document.body.dataset.theme = theme; }", theme)
        opened.emulate_media(color_scheme=theme)
        opened.wait_for_timeout(300)  # the theme changes its colours slowly
        wrong += [f"{theme}: {each}" for each in opened.evaluate(TOLD, rules)]
    opened.close()
    return wrong


@pytest.mark.parametrize("name", SAMPLE)
def test_everyone_can_read_it(site, browser, name):  # noqa: F811
    found = checked(browser, site / f"{name}.html")
    assert not found, "\n".join(found)


def scores(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(128, 12)).eval()


def upscaler(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4 * channels, 3, padding=1)
    return nn.Sequential(*layers, nn.PixelShuffle(2)).eval()


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patch, self.head = nn.Conv2d(3, 16, 8, 8), nn.Sequential(nn.GELU(), nn.Linear(16, 5))

    def forward(self, x):
        return self.head(self.patch(x).flatten(2).transpose(1, 2))


def of_study(folder: Path) -> Path:
    """All kinds of measures, of two classifiers."""
    networks = {"first": scores(0), "second": scores(1)}
    measures = ["residual_share", "layer_contributions", "receptive_field", "gap"]
    drawn = [(f"p{i}", torch.rand(3, 24, 24)) for i in range(6)]
    fxscope.study(networks, drawn, measures, folder, progress=False)
    return page_of_study(folder, progress=False).page


def of_viewer(folder: Path) -> Path:
    model, x0 = upscaler(), torch.rand(1, 3, 24, 24)
    views = [viewer.View("a photograph", fxscope.interpret(model, x0), 2)]
    viewer.write(folder / "page.html", [viewer.Subject("upscaler", "random weights", views, None)])
    return folder / "page.html"


def of_report(folder: Path, *modules: nn.Module, pictures: int = 1, **given) -> Path:
    """A report of networks on crops of a photograph."""
    for i in range(pictures):
        crop = photos.shipped("chelsea")[:, 60:92, 100 + 30 * i : 132 + 30 * i]
        Image.fromarray((crop.permute(1, 2, 0) * 255).byte().numpy()).save(folder / f"p{i}.png")
    images = [str(folder / f"p{i}.png") for i in range(pictures)]
    asked = [network(f"net.py:net_{i}", m) for i, m in enumerate(modules)]
    return report(asked, images, folder / "out", progress=False, **given).page


VERBS = {
    "report of images, with a demonstration": lambda f: of_report(f, upscaler()),
    "report of images of 16 channels": lambda f: of_report(f, upscaler(16), live=False),
    "report of scores": lambda f: of_report(f, scores(0), pictures=5, live=False),
    "fast report of tokens": lambda f: of_report(f, Tokens(), fast=True),
    "scores side by side": lambda f: of_report(f, scores(0), scores(1), pictures=2, live=False),
    "images side by side": lambda f: of_report(f, upscaler(), upscaler(1), live=False),
    "a chapter of the tour": lambda f: tour(out=f, chapters=["storage", "verification"], progress=False).page,
    "page": of_viewer,
    "study": of_study,
}


@pytest.mark.parametrize("kind", VERBS)
def test_everyone_can_read_the_page_of_a_verb(browser, kind, tmp_path):
    found = checked(browser, VERBS[kind](tmp_path), computes=kind == "page")
    assert not found, "\n".join(found)


def test_the_check_finds_what_is_wrong(browser, tmp_path):
    """A page without a language, a picture without words, pale text, lines that are too long, and no end."""
    page = tmp_path / "wrong.html"
    page.write_text(
        "<title>wrong</title><body><article role=main><h1>h</h1><img src='data:,'>"
        "<p style='color: #aaa; background: #fff'>pale</p><div style='width: 2000px'>long</div>"
        f"<pre style='width: 9rem; overflow: auto'>{'x' * 99}</pre><p style='height: 20000px'></p></article>"
    )
    found = "\n".join(checked(browser, page))
    assert all(
        said in found for said in ("image-alt", "color-contrast", "html-has-lang", "at 375", "cut: x", "tall")
    )


def test_search_shows_snippets_from_disk(site, browser):  # noqa: F811
    page = browser.new_page()
    page.goto(f"{(site / 'search.html').as_uri()}?q=superposition")
    page.wait_for_selector("#search-results li p.context", timeout=20_000)
    said = page.locator("#search-results li p.context").all_text_contents()
    assert any("superposition" in text.lower() for text in said)
    page.close()


def test_every_page_has_its_text_for_the_search(site):  # noqa: F811
    texts = (site / "_static" / "texts.js").read_text(encoding="utf-8")
    names = [p.relative_to(site).with_suffix("").as_posix() for p in pages(site)]
    missing = [
        n
        for n in names
        if f'"{n}": ' not in texts and not n.startswith(("_modules/", "genindex", "search", "py-mod"))
    ]
    assert not missing
