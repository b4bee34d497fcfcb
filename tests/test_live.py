"""Demonstrations in reports and tours, opened from disk in Chromium: pressed, they compute F, offline."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import replace

import pytest
import torch
from chromium import CHROMIUM
from PIL import Image

import fxscope
from fxscope import viewer
from fxscope.images import photos
from fxscope.paper.tour import network
from fxscope.paper.tour.live import LIMIT, Walk, live
from fxscope.paper.tour.page import Chapter, Page

own = importlib.import_module("fxscope.paper.tour.live")
browses = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
ROUNDING = 1e-4  # of a row in float32, relative to its largest value
REST = "() => globalThis.fxscope?.cards.every((c) => c.turn === c.shown && c.r)"
FILTERS = """() => fxscope.cards.map((c) => ({name: c.about.name, probe: c.filter.probe,
    values: Array.from(c.filter.values), law: c.measured(), said: c.law.textContent}))"""
NET = """
import torch
from torch import nn


def up():
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), last, nn.PixelShuffle(2))


def scores():
    torch.manual_seed(1)
    first, last = nn.Conv2d(3, 4, 3, 2), nn.Linear(16, 5)
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), last)


class Bessel(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * torch.special.i1e(self.scale)


def bessel():
    return Bessel()


def large():
    return nn.Sequential(nn.Conv2d(3, 1200, 3, padding=1), nn.Conv2d(1200, 3, 41, padding=20))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 4, 8, 8)

    def forward(self, x):
        return self.patch(x).flatten(2).transpose(1, 2)


def tokens():
    return Tokens()
"""
HUGE = "<b>&"  # in a photograph's name: it is text on the page, whatever it is


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("live")
    (found / "net.py").write_text(NET)
    pixels = (255 * photos.shipped("astronaut")[:, 60:76, 180:196]).byte().permute(1, 2, 0)
    Image.fromarray(pixels.numpy()).save(found / "eye.png")
    return found


@pytest.fixture(scope="module")
def networks(folder):
    namespace: dict = {}
    exec(NET, namespace)
    names = ("up", "scores", "bessel", "large", "tokens")
    return {name: network(f"{folder}/net.py:{name}", namespace[name]()) for name in names}


@pytest.fixture(scope="module")
def walks(folder, networks):
    eye, other = photos.read(folder / "eye.png"), torch.rand(3, 16, 16)
    first = [networks[name] for name in ("up", "bessel", "large", "tokens")]
    photo = str(folder / "eye.png")
    several = [("eye.png", eye), (HUGE, other), (HUGE, eye), ("9", other[:, 1:])]  # the last of another size
    return [
        Walk("first", "Upscalers", first, [("eye.png", eye)], image=photo),
        Walk("second", "Scores", [networks["scores"]], several),
    ]


@pytest.fixture(scope="module")
def kept():
    """Every network is exported once, for all tests here."""
    found: dict = {}

    def held(subject):
        if subject.name not in found:
            found[subject.name] = viewer.held(subject)
        return found[subject.name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "held", held)
        yield


@pytest.fixture(scope="module")
def made(kept, walks, tmp_path_factory):
    """A page of two demonstrations, and its numbers."""
    page = Page(tmp_path_factory.mktemp("page"), "title", "about", {})
    written = page.write({"live": lambda: live(walks)}, progress=False)
    return written.page, written.numbers["live"]


def opened(browser, path, script: str | None = None, **given):
    """The page in a window of its own, with what it asked for and what went wrong."""
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **given})
    if script:
        context.add_init_script(script)
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.goto(path.as_uri())
    page.set_default_timeout(60_000)
    return page


def press(page, name: str):
    """Press the button of a demonstration; the frame that it becomes."""
    page.locator(f'[data-live="live_{name}-data"]').click()
    return page.locator(f"#live_{name} iframe").element_handle().content_frame()


@browses
def test_pressed_it_computes_F_offline(browser, made, networks, folder):
    page = opened(browser, made[0])
    assert page.locator("iframe").count() == 0 and len(page.asked) == 1  # nothing is unpacked, no worker runs
    frames = {name: press(page, name) for name in ("first", "second")}
    taken = {"up": networks["up"], "scores": networks["scores"]}
    eye = photos.read(folder / "eye.png")
    lins = {name: fxscope.interpret(n.module, n.take(eye)) for name, n in taken.items()}
    for frame in frames.values():
        frame.wait_for_function(REST)
    canvas = frames["first"].locator('[data-figure="photo"] canvas')
    page.locator("#live_first").scroll_into_view_if_needed()  # what is out of sight is not drawn
    box = canvas.bounding_box()
    seen = set()
    for x in (0.3, 0.7):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + 0.5 * box["height"])
        frames["first"].wait_for_function(REST)
        for found in (found for frame in frames.values() for found in frame.evaluate(FILTERS)):
            own = _row(lins[found["name"]], found["probe"])
            assert (torch.tensor(found["values"]) - own).abs().max() <= ROUNDING * own.abs().max() > 0
            assert found["law"]["relative"] <= 1e-5 and "holds" in found["said"]
            seen.add((found["name"], str(found["probe"])))
    assert [name for name, _ in sorted(seen)] == ["scores", "up", "up"]  # it followed the pointer
    assert [url for url in page.asked[1:] if not url.startswith("blob:")] == [] and page.wrong == []
    assert page.evaluate("document.querySelector('iframe').clientHeight") > 500  # as tall as what is in it
    page.context.close()


def _row(lin, probe) -> torch.Tensor:
    y2 = torch.zeros(lin.y0[0].numel())
    for place, weight in probe:
        y2[place] += weight
    return (lin.F.T @ y2.view(lin.y0.shape[1:])).flatten()


@browses
def test_the_policy_is_in_force(browser, made):
    """Neither the page nor a frame can ask for anything, even where its own script would."""
    page = opened(browser, made[0])
    frame = press(page, "second")
    frame.wait_for_function(REST)
    asks = "(url) => fetch(url).then(() => 'came', () => 'refused')"
    for each in (page.main_frame, frame):
        assert each.evaluate(asks, "http://127.0.0.1:9/") == "refused"
        assert each.evaluate(asks, "data:text/plain,x") == "refused"  # there is no way to a server to blame
    assert page.evaluate("() => { const s = document.createElement('script'); s.textContent = 'ran = 1';"
                         " document.body.append(s); return typeof ran; }") == "undefined"  # fmt: skip
    page.context.close()


def test_one_runtime_and_what_is_left_out_is_said(made, folder):
    text, numbers = made[0].read_text(), made[1]
    assert text.count('id="fxscope-wasm"') == 1 and text.count("data-live=") == 2
    assert numbers["first"]["shown"] == ["up"] and numbers["second"]["shown"] == ["scores"]
    reasons = {"bessel": "i1e", "large": f"of the {LIMIT} MB are left", "tokens": "it gives tokens"}
    for name, reason in reasons.items():
        assert reason in numbers["first"]["left_out"][name], name
        said = re.search(rf"<p>{name} \([^<]*is not in this demonstration[^<]*<", text)[0]
        assert reason in said
    for name in ("bessel", "large"):
        assert f"<code>fxscope view {folder}/net.py:{name} {folder}/eye.png</code>" in text
    assert "eye.png, &lt;b&gt;&amp; (2), &lt;b&gt;&amp; (3) at 16 x 16" in text and HUGE not in re.sub(
        r"<template.*?</template>", "", text
    )
    total = sum(each["bytes"] for each in numbers.values())
    assert 0 < total < 100_000 and len(text) < LIMIT * 1e6


def test_the_room_that_is_left_is_shared(monkeypatch, walks, networks, made):
    """What the first demonstration takes is not there for the second."""
    whole = len(own.shared()) + made[1]["first"]["bytes"] + made[1]["second"]["bytes"]
    for more, shown in ((100, ["scores"]), (-100, [])):
        monkeypatch.setattr(own, "LIMIT", (whole + more) / 1e6)
        found = live([replace(walks[0], networks=[networks["up"]]), walks[1]])
        assert found.numbers["first"]["shown"] == ["up"] and found.numbers["second"]["shown"] == shown


@pytest.mark.turns(2)
@browses
@pytest.mark.parametrize(
    ("lacks", "said"), [("WebAssembly", "WebAssembly"), ("DecompressionStream", "newer")]
)
def test_a_browser_that_lacks_what_it_needs_is_told(browser, made, lacks, said):
    page = opened(browser, made[0], f"delete globalThis.{lacks}")
    frame = press(page, "second")
    frame.wait_for_selector("[role=alert]")
    assert said in frame.text_content("[role=alert]")
    page.context.close()


@pytest.mark.turns(2)
@browses
@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (768, "light")])
def test_phones_and_both_schemes(browser, made, width, scheme):
    page = opened(browser, made[0], viewport={"width": width, "height": 800}, color_scheme=scheme)
    frame = press(page, "first")
    frame.wait_for_function(REST)
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    for each in (page.main_frame, frame):
        needed, there = each.evaluate(widths)
        assert needed == there
    assert frame.evaluate("fxscope.wanted.theme") == scheme
    page.context.close()


def test_a_page_without_one_has_no_script(tmp_path):
    chapter = Chapter("one")
    chapter.text("text")
    written = Page(tmp_path, "title", "about", {}).write({"one": lambda: chapter}, progress=False)
    text = written.page.read_text()
    assert "<script" not in text and len(text) < 9000
    assert "script-src" not in re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]


@pytest.mark.full
@browses
def test_all_demonstrations_of_the_tour_run(browser, tmp_path):
    from fxscope.paper.tour import tour

    made = os.environ.get("FXSCOPE_TOUR")  # a whole tour that was made before
    written = tour(out=made or tmp_path, chapters=() if made else ["live"], progress=False)
    assert not any(each["left_out"] for each in written.numbers["live"].values())
    page = opened(browser, written.page)
    for name, each in written.numbers["live"].items():
        frame = press(page, name)
        frame.wait_for_function(REST)
        laws = frame.evaluate("fxscope.cards.map((c) => [c.about.name, c.measured().relative])")
        assert [n for n, _ in laws] == each["shown"] and max(law for _, law in laws) < 1e-3
    assert page.wrong == []
    page.context.close()
