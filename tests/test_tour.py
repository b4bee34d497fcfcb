"""The pages: the tour, the report, what they refuse, and how a browser sees them."""

from __future__ import annotations

import base64
import html
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import torchvision
from chromium import CHROMIUM
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from fxscope import Preprocess, models
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, ImageError, WeightsError
from fxscope.images import photos
from fxscope.linop import interpret
from fxscope.paper.findings import Finding, Network, kept, photographs
from fxscope.paper.tour import CHAPTERS, Chapter, Page, network, report, tour
from fxscope.paper.tour import trained as first
from fxscope.paper.tour.apart import can_fork, in_own_process
from fxscope.paper.tour.networks import check_memory, images_of, read
from fxscope.paper.tour.outputs import named_layers
from fxscope.paper.tour.several import columns_finding
from fxscope.paper.tour.work import Work, lasting
from fxscope.plot.bars import NAMED
from fxscope.testing import randomize

browses = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
pytestmark = pytest.mark.usefixtures("coarse")


class Links(HTMLParser):
    """Sources and links of a page, its open elements, and what was not closed."""

    void = {"meta", "link", "img", "br", "hr"}

    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.sources += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()


def check_page(text):
    links = Links()
    links.feed(text)
    assert not links.open and all(s.startswith(("#", "data:")) for s in links.sources)
    for data in re.findall(r'src="data:image/png;base64,([^"]+)"', text):
        assert base64.b64decode(data).startswith(b"\x89PNG")
    return len(re.findall("<figure", text))


def assert_shown(text, count):
    """Every finding once, in the evidence of a figure or table, and linked to from the top and the table."""
    found = re.findall(r'<article class="finding" id="([^"]+)"', text)
    assert len(found) == len(set(found)) == count
    evidence = "".join(re.findall(r'<div class="evidence">(.*?)</div>\s*<(?:figure|div)', text, re.DOTALL))
    assert all(f'id="{name}"' in evidence for name in found)
    assert all(text.count(f'href="#{name}"') == 2 for name in found)


def test_a_page_of_findings(tmp_path):
    """Each with its figure, number, verdict and why; the longer study as such; first the result."""
    from matplotlib.figure import Figure

    def chapter():
        found = Chapter("Chapter", networks="a network")
        found.figure("one", Figure((3, 2)), "Caption.", shows=("shares", "eigen"))
        found.table(("a",), [("b",)], shows=("laws",))
        for appears, topic, claim in (
            (True, "shares", "The residual is the larger part of the score"),
            (False, "eigen", "A claim that nobody measured before"),
            (None, "laws", "Another claim"),
        ):
            found.findings.append(
                Finding(
                    claim, "paper says", f"number {appears}", appears, "the rule", why="Why so.", topic=topic
                )
            )
        return found

    written = Page(tmp_path, "title", "about", {}).write({"one": chapter}, progress=False)
    text = written.page.read_text()
    assert check_page(text) == 1
    assert_shown(text, 3)
    said = re.sub(r"<[^>]+>", "", text)
    assert (
        text.index('class="counts"')
        < text.index('class="verdicts"')
        < text.index("<nav")
        < text.index("<table")
    )
    for verdict in ("appears", "does not appear", "undecided at this size"):
        assert said.count(verdict) >= 3
    assert (
        text.index('id="finding-one-0"') < text.index('<figure id="one"') < text.index('id="finding-one-2"')
    )
    assert (
        text.count("The longer study, kept with fxscope") == 1 and "Why so. It appears if: the rule" in said
    )
    verdicts = [f["verdict"] for f in json.loads((tmp_path / "numbers.json").read_text())["findings"]]
    assert verdicts == ["appears", "does not appear", "undecided at this size"]


@browses
def test_the_page_on_a_phone(browser, tmp_path):
    """In a browser: nothing is wider than the screen, and the verdicts are on it."""

    def chapter():
        found = Chapter("Chapter", networks=", ".join(["a_network_with_a_long_name"] * 4))
        found.table(
            [f"column {i}" for i in range(12)], [[f"{i} of the cells" for i in range(12)]], shows=("t",)
        )
        found.findings += [replace(f, topic="t") for f in kept().findings.values()]
        return found

    page = Page(tmp_path, "A tour of convolutional networks", "about", {}).write({"one": chapter}, False).page
    for width in (375, 768, 1400):
        seen = browser.new_page(viewport={"width": width, "height": 900})
        seen.goto(page.as_uri())
        assert seen.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [each.bounding_box() for each in seen.locator(".findings .verdict").all()]
        assert len(boxes) == len(kept().findings)
        assert all(b["x"] >= 0 and b["x"] + b["width"] <= width for b in boxes)
        assert all(each.bounding_box()["y"] < 900 for each in seen.locator(".counts .verdict").all())
        seen.close()


@browses
def test_the_page_on_paper(browser, tmp_path):
    """Dark letters on white whatever the screen has, and figures and findings on one sheet each."""
    from matplotlib.figure import Figure

    def chapter():
        found = Chapter("Chapter", networks="a network")
        for name, size in (("small", (3, 2)), ("wide", (7, 3)), ("tall", (4, 14))):
            found.figure(name, Figure(size), "Caption.", shows=(name,))
        found.findings.append(Finding("claim", "paper", "number", True, "the rule", topic="tall"))
        found.results += [f"result {i}" for i in range(5)]
        return found

    page = Page(tmp_path, "title", "about", {}).write({"one": chapter}, progress=False).page
    seen = browser.new_page(
        viewport={"width": 688, "height": 1000}, color_scheme="dark"
    )  # A4, its margins off
    seen.goto(page.as_uri())
    assert seen.locator("nav").is_visible() and seen.locator("details.more p").count() == 2
    seen.emulate_media(media="print")
    colours = "(e) => [getComputedStyle(e).color, getComputedStyle(document.documentElement).backgroundColor]"
    assert seen.locator("h1").evaluate(colours) == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert not seen.locator("nav").is_visible()
    boxes = [each.bounding_box() for each in seen.locator("main figure").all()]
    assert len(boxes) == 3 and all(b["height"] < 960 and b["x"] + b["width"] <= 688 for b in boxes)
    for each in ("figure", "article.finding", "tr"):
        assert seen.locator(each).first.evaluate("(e) => getComputedStyle(e).breakInside") == "avoid"
    assert seen.pdf(format="A4").startswith(b"%PDF")
    seen.close()


def test_a_stand_in_that_is_hardly_better_decides_nothing():
    """The order of the columns is a finding only with an EDSR that beats PixelShuffle."""

    def lines(spread, psnr):
        return [{"spread": spread + i / 1000, "psnr": psnr + i / 100} for i in range(7)]

    flat = [{"spread": 0.0, "psnr": 28.0}] * 7
    for gain, spread, appears in ((0.09, 0.4, None), (1.5, 0.4, True), (1.5, 0.1, False)):
        measured = {
            "bicubic4x": flat,
            "pixelshuffle4x": lines(0.2, 28.5),
            "edsr_small4x": lines(spread, 28.5 + gain),
        }
        (found,) = columns_finding(measured)
        assert found.appears is appears and f"{gain:.2f} ± 0.00 dB better" in found.why
        assert ("cannot show what the paper says" in found.why) == (gain < 0.5)
    assert columns_finding({"bicubic4x": flat}) == []


def test_work_says_what_is_left(monkeypatch, capsys):
    """Before it begins how long it takes, then each step, and a slow step corrects what is left."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    steps = {"one": {"a": 10.0, "b": 20.0}, "two": {"two": 60.0}, "kept": {"c": 1000.0}}
    work = Work(True, steps)
    with work.leaving_out(["kept"]):
        with work.chapter("one"):
            with work.step("a"):
                now[0] += 22  # expected 10: with the 2 s that count as expected, twice as slow
            with work.step("b"):
                now[0] += 40
        with work.chapter("two"):
            assert work.seconds == pytest.approx(60 * 2)
            now[0] += 120
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("fxscope: 3 steps, about 1 min 30 s")
    assert said[1].startswith("fxscope: step 1 of 3, a; about 1 min 30 s left")
    assert said[2].startswith("fxscope: step 2 of 3, b; about 2 min 40 s left")
    assert said[3].startswith("fxscope: step 3 of 3, two; about 2 min left")
    with Work(True, {"one": {"a": 1.0}}).leaving_out([]) as short, short.chapter("one"), short.step("a"):
        pass
    assert capsys.readouterr().err == ""
    assert [lasting(s) for s in (0.2, 59, 61, 200, 3725)] == [
        "1 s",
        "59 s",
        "1 min",
        "3 min 20 s",
        "1 h 2 min",
    ]


def test_a_network_with_random_weights_is_never_named_without(tmp_path):
    """In the page, on stdout and in JSON, where names are given; and what --fast leaves out."""
    picture = tmp_path / "cat.png"
    Image.fromarray(
        (photos.shipped("chelsea")[:, 60:140, 120:200].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    ).save(picture)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"kind {i}" for i in range(1000)))
    done = run(
        *("report", "torchvision:squeezenet1_1", picture, "--size", 64, "--seed", 3, "--fast"),
        *("--names", names, "--out", tmp_path / "page"),
    )
    assert done.exit_code == 0, done.output
    page = re.sub(
        r"<svg.*?</svg>|<style.*?</style>",
        "",
        (tmp_path / "page" / "index.html").read_text(),
        flags=re.DOTALL,
    )
    named = [m for text in (html.unescape(page), done.stdout) for m in re.findall(r"kind \d+.{0,30}", text)]
    assert len(named) >= 4 and all("random weights" in each for each in named)
    assert "has learned nothing" in page and "This is a fast report" in page and check_page(page) == 3
    numbers = json.loads((tmp_path / "page" / "numbers.json").read_text())["chapters"]["squeezenet1_1"]
    found = numbers["cat.png"]
    assert numbers["weights"] == found["weights"] == "random weights, seed 3"
    assert re.fullmatch(rf"kind {found['top']} [(\[]random weights.*[)\]]", found["top_name"])
    assert set(numbers["verification"]) == {"y1 = y0"} and numbers["verification"]["y1 = y0"] < 1e-3


def test_a_chapter_alone(tmp_path, monkeypatch):
    chapter = importlib.import_module("fxscope.paper.tour.verification")
    two = {name: chapter.SHAPES[name] for name in ("pixelshuffle4x", "digits_vgg_bn")}
    monkeypatch.setattr(chapter, "SHAPES", two)  # the whole tour has all of them
    written = tour(out=tmp_path, chapters=["verification"], progress=False)
    assert written.numbers["verification"]["ok"] and written.numbers["verification"]["largest"] < 1e-9
    assert check_page(written.page.read_text()) == 1 and (tmp_path / "figures" / "graph.svg").exists()
    assert [f.appears for f in written.findings] == [True]
    assert_shown(written.page.read_text(), 1)
    with pytest.raises(FxscopeError, match=", ".join(CHAPTERS)):
        tour(out=tmp_path, chapters=["classfication"])


@pytest.fixture
def measured(monkeypatch):
    """Small stand-ins in the place of the networks that others trained, and one that is not installed."""

    def missing():
        raise WeightsError("pip install no-such-package")

    others = (
        Network("digits_vgg_bn", "scores", "for digits"),
        Network("pixelshuffle4x", "images", "for a small error", ("freeze", "taylor")),
        Network("span4x", "images", "for a small error", build=missing),
    )
    monkeypatch.setattr(first, "NETWORKS", {n.name: n for n in others})
    monkeypatch.setattr(first, "MEASURED", tuple(n.name for n in others))


def test_the_chapter_of_trained_networks(measured, tmp_path):
    """Every number has its spread, each finding its network, and what is missing is said."""
    two = [str(p.path) for p in photographs() if p.name in ("page", "text")]
    small = tmp_path / "small.png"
    Image.new("RGB", (70, 80), (200, 120, 40)).save(small)
    written = tour([*two, str(small)], tmp_path / "page", chapters=["photographs"], progress=False)
    numbers = written.numbers["photographs"]
    assert {name: len(lines) for name, lines in numbers.items()} == {"digits_vgg_bn": 2, "pixelshuffle4x": 2}
    assert {f.network for f in written.findings} == {"digits_vgg_bn", "pixelshuffle4x"}
    text = written.page.read_text()
    assert_shown(text, len(written.findings))
    assert check_page(text) == 3 and "Left out, smaller than 96 pixels: small" in text
    assert "span4x, pip install no-such-package" in text
    share = sum(line["share"] for line in numbers["digits_vgg_bn"]) / 2
    assert f'<td class="short">{100 * share:.0f} ±' in text


def test_the_tour_without_trained_networks(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(first, "MEASURED", ("span4x",))
    written = tour(out=tmp_path, chapters=["photographs"], progress=False)
    assert not written.findings and "pip install no-such-package" in written.page.read_text()


def test_an_interrupted_page_goes_on(tmp_path, capsys):
    """However it ends, the page has what is finished and names what is not; parts are kept one by one."""
    made = []

    def chapter(name, fails=False):
        def make():
            made.append(name)
            if fails:
                raise KeyboardInterrupt
            found = Chapter(name.split("/")[0], numbers={name: 1}, results=[f"result of {name}"])
            found.text(f"a < b & {name}")
            return found

        return make

    names = ("one", "two/a.png", "two/b.png")
    page = Page(tmp_path, "title", "about", {"image": 1})
    with pytest.raises(KeyboardInterrupt):
        page.write({n: chapter(n, fails=n == "two/b.png") for n in names})
    assert "has what is finished, and the same command goes on" in capsys.readouterr().err
    text = (tmp_path / "index.html").read_text()
    assert "This page is not finished. Missing: two, b.png." in text and "a &lt; b &amp; two/a.png" in text
    assert json.loads((tmp_path / "numbers.json").read_text())["missing"] == ["two, b.png"]
    written = page.write({n: chapter(n) for n in names}, progress=False)
    assert made == [*names, "two/b.png"]
    assert written.numbers == {"one": {"one": 1}, "two": {"two/a.png": 1, "two/b.png": 1}}
    text = written.page.read_text()
    assert "not finished" not in text and "missing" not in (tmp_path / "numbers.json").read_text()
    assert text.count("<h2>two</h2>") == 1 and text.count("result of two/") == 2
    assert text.index("b &amp; one") < text.index("b &amp; two/a.png") < text.index("b &amp; two/b.png")
    Page(tmp_path, "title", "about", {"image": 2}).write({"one": chapter("one")}, progress=False)
    assert made[-1] == "one"


@pytest.mark.skipif(not can_fork(), reason="pages are made in one process here")
def test_a_chapter_in_a_process_of_its_own(tmp_path, capsys):
    """It leaves its chapter as a file; how it ends otherwise is said; its steps count."""

    def here():
        return Chapter("Where", numbers={"process": os.getpid()})

    page, work = Page(tmp_path, "title", "about", {}), Work(False, {"here": {"a": 5.0, "b": 5.0}})
    written = page.write({"other": here, "here": here}, work=work, apart="here")
    assert written.numbers["other"]["process"] == os.getpid() != written.numbers["here"]["process"]
    assert list(written.numbers) == ["other", "here"] and work.count == 2 and not work.left

    def fails():
        raise FxscopeError("no room")

    for end, said in (
        (fails, "it could not be made: no room"),
        (lambda: 1 / 0, "ZeroDivisionError.*in <lambda>"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    ):
        with pytest.raises(FxscopeError, match=f"(?s){said}"):
            in_own_process(end, "it")
    with pytest.raises(KeyboardInterrupt):
        in_own_process(lambda: os.kill(os.getpid(), signal.SIGINT), "it")


def test_report_of_scores_and_of_images(tmp_path):
    picture = tmp_path / "cat.png"
    Image.fromarray(
        (photos.shipped("chelsea")[:, :48, :48].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    ).save(picture)
    scores = network("fxscope:digits_vgg_bn", models.build("digits_vgg_bn"))
    images = network("fxscope:pixelshuffle4x", models.build("pixelshuffle4x"))
    images = replace(images, preprocess=replace(images.preprocess, size=24, crop="center"))
    written = report([scores, images], str(picture), tmp_path / "page", progress=False, live=False)
    assert check_page(written.page.read_text()) >= 7
    assert {f.suffix for f in (tmp_path / "page" / "figures").iterdir()} == {".pdf", ".svg", ".png"}
    found = written.numbers["digits_vgg_bn"]
    assert (
        found["verification"]["ok"]
        and found["cat.png"]["discussion"]["error"] < 1e-3
        and found["cat.png"]["sum_error"] < 1e-3
    )
    assert (
        written.numbers["pixelshuffle4x"]["cat.png"]["sum_error"] < 1e-4
        and "stand-in" in written.page.read_text()
    )


def test_the_policy_of_a_report(tmp_path):
    """It is stated in the page and its numbers, changes them, and another policy is another page.

    The page begins with a demonstration under that policy, unless the command says --no-live.
    """
    picture = tmp_path / "cat.png"
    Image.new("RGB", (32, 32), "orange").save(picture)
    own = tmp_path / "net.py"
    own.write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.GELU())"
    )
    shares = {}
    for policy, more in (("freeze", ["--no-live"]), ("taylor", [])):
        asked = ["report", f"{own}:net", str(picture), "--size", "12", "--policy", policy, "--json", *more]
        done = CliRunner().invoke(cli, [*asked, "--out", str(tmp_path / "page")])
        assert done.exit_code == 0, done.output
        text = (tmp_path / "page" / "index.html").read_text()
        assert f"policy {policy}" in text and text.count("data-live=") == (not more)
        assert f'"policy": "{policy}", "kind": "images"' in text or more
        (chapter,) = (v for v in json.loads(done.stdout).values() if isinstance(v, dict) and "policy" in v)
        assert chapter["policy"] == policy and chapter["verification"]["ok"]
        shares[policy] = chapter["cat.png"]["residual_share"]
    assert shares["freeze"] != shares["taylor"]


@pytest.mark.parametrize(
    ("mode", "size"), [("L", (20, 30)), ("RGBA", (20, 30)), ("I;16", (20, 30)), ("P", (9, 9))]
)
def test_images_of_every_mode_are_read(mode, size, tmp_path):
    path = tmp_path / "image.png"
    (
        Image.fromarray(np.full(size[::-1], 65535, dtype=np.uint16))
        if mode == "I;16"
        else Image.new(mode, size, 255 if mode == "L" else None)
    ).save(path)
    picture = read(path, least=8)
    assert picture.shape == (3, size[1], size[0]) and 0 <= float(picture.min()) <= float(picture.max()) <= 1
    assert mode not in ("L", "I;16") or float(picture.min()) == 1


def test_bad_input(tmp_path):
    text, tiny = tmp_path / "note.png", tmp_path / "tiny.png"
    text.write_text("not an image")
    Image.new("RGB", (1, 1)).save(tiny)
    for image, said in (
        (text, "not an image"),
        (tmp_path / "missing.png", "no image"),
        (tiny, "1 x 1 pixels"),
    ):
        with pytest.raises(ImageError, match=said):
            tour(str(image), tmp_path / "page", progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no image in the folder"):
        images_of([str(tmp_path / "empty")])


def test_a_large_image_is_refused_with_the_memory_it_needs():
    found = network("fxscope:edsr_baseline4x", models.build("edsr_baseline4x"))
    with pytest.raises(ImageError, match=r"5000 x 4000 pixels needs about [\d.]+ GiB.*--size \d+"):
        check_memory(found, (1, 3, 4000, 5000))
    assert check_memory(found, (1, 3, 32, 32)) < 1 << 30


@pytest.mark.full
def test_a_large_file_is_refused_by_the_command_and_taken_where_the_network_cuts_it(tmp_path):
    Image.new("RGB", (5000, 4000), (200, 120, 40)).save(tmp_path / "large.png", compress_level=1)
    whole = ["--crop", "none", "--tile", "none", "--out", tmp_path / "page"]
    failed = run("report", "fxscope:edsr_baseline4x", tmp_path / "large.png", *whole)
    assert failed.exit_code == 1 and "GiB" in failed.stderr and not (tmp_path / "page").exists()
    assert run("layers", "fxscope:digits_vgg", tmp_path / "large.png").exit_code == 0


@pytest.mark.turns(2)
@pytest.mark.parametrize(
    "verb",
    ["row", "verify", *(pytest.param(v, marks=pytest.mark.full) for v in ("column", "svd", "contributions"))],
)
def test_the_verbs_of_one_reading_refuse_what_does_not_fit(verb, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "tiny.png")
    Image.new("RGB", (5000, 4000), (200, 120, 40)).save(tmp_path / "large.png", compress_level=1)
    failed = run(verb, "torchvision:squeezenet1_1", tmp_path / "tiny.png")
    assert failed.exit_code == 1 and "1 x 1 pixels; at least 8 x 8" in failed.stderr
    failed = run(verb, "torchvision:squeezenet1_1", tmp_path / "large.png", "--size", 8)
    assert failed.exit_code == 1
    assert re.search("does not run on an image of 8 x 8 pixels.*--size", failed.stderr)
    whole = ["--crop", "none", *(["--tile", "none"] if verb in ("row", "column", "contributions") else [])]
    failed = run(verb, "fxscope:pixelshuffle4x", tmp_path / "large.png", *whole)
    assert failed.exit_code == 1
    assert re.search(r"5000 x 4000 pixels needs about [\d.]+ GiB.*--size \d+", failed.stderr)
    failed = run(verb, "fxscope:pixelshuffle4x", tmp_path / "large.png", "--size", 5000)
    assert failed.exit_code == 1 and "5000 x 4000 pixels, smaller than the crop" in failed.stderr


@pytest.mark.parametrize("verb", ["report", "votes", "discussion", "layers", "fgsm", "locality", "reach"])
def test_every_verb_refuses_what_is_no_image(verb, tmp_path):
    text, tiny = tmp_path / "note.png", tmp_path / "tiny.png"
    text.write_text("not an image")
    Image.new("RGB", (1, 1)).save(tiny)
    (tmp_path / "empty").mkdir()
    model = "fxscope:pixelshuffle4x" if verb in ("locality", "reach") else "fxscope:digits_vgg"
    one = verb in ("votes", "discussion", "locality", "reach")
    for image, code, said in (
        (text, 1, "not an image"),
        (tiny, 1, "1 x 1 pixels"),
        (tmp_path / "empty", *((2, "is a directory") if one else (1, "no image in the folder"))),
    ):
        failed = run(
            verb, model, image, *(["--no-live", "--out", tmp_path / "page"] if verb == "report" else [])
        )
        assert failed.exit_code == code and said in failed.stderr


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_weights_of_another_network(tmp_path):
    save_file(models.build("digits_vgg").state_dict(), tmp_path / "other.safetensors")
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    failed = run(
        "votes", "fxscope:digits_vgg_bn", tmp_path / "x.png", "--weights", tmp_path / "other.safetensors"
    )
    assert failed.exit_code == 1 and "missing" in failed.stderr and "unexpected" in failed.stderr
    failed = run("votes", "fxscope:digits_vgg", tmp_path / "x.png", "--weights", "DEFAULT")
    assert failed.exit_code == 1 and "DEFAULT needs torchvision" in failed.stderr


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch.hub's cache, empty, and no way out: what is not there cannot be had."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.full
def test_default_weights_come_by_torchvisions_own_download(cache, tmp_path):
    """torchvision's function finds a file of its layout and name in the cache.

    The file is as it would have written it.
    """
    picture = photos.shipped("chelsea")[:, :96, :96]
    source = randomize(torchvision.models.squeezenet1_1(weights=None), torch.rand(1, 3, 64, 64))
    torch.save(
        source.state_dict(), cache / torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[1]
    )
    loaded = models.load_model("torchvision:squeezenet1_1", "DEFAULT")
    assert not loaded.training and all(
        torch.equal(v, loaded.state_dict()[k]) for k, v in source.state_dict().items()
    )
    Image.fromarray((picture.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(tmp_path / "cat.png")
    done = run(
        "report",
        "torchvision:squeezenet1_1",
        tmp_path / "cat.png",
        "--weights",
        "DEFAULT",
        "--size",
        64,
        "--out",
        tmp_path / "page",
        "--no-live",
        "--json",
    )
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)["squeezenet1_1"]
    given = replace(Preprocess.of("torchvision:squeezenet1_1"), size=64, resize=round(256 * 64 / 224))
    x0 = network("torchvision:squeezenet1_1", source.eval(), "", given).take(read(tmp_path / "cat.png"))
    with torch.no_grad():
        scores = source(x0)[0]
    assert found["cat.png"]["top"] == int(scores.argmax()) and abs(
        found["cat.png"]["score"] - float(scores.max())
    ) < 1e-4 * float(scores.abs().max())
    page = (tmp_path / "page" / "index.html").read_text()
    name = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"][int(scores.argmax())]
    assert "torchvision&#x27;s weights" in page and html.escape(name) in page


def test_default_weights_that_cannot_be_had(cache):
    with pytest.raises(WeightsError, match="could not be downloaded.*--weights FILE"):
        models.load_model("torchvision:squeezenet1_1", "DEFAULT")
    file = cache / torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rsplit("/", 1)[1]
    for content in (b"half a file", None):
        (
            file.write_bytes(content)
            if content
            else torch.save(torchvision.models.resnet18(weights=None).state_dict(), file)
        )
        with pytest.raises(WeightsError, match="do not load from .*checkpoints.*remove the file") as failed:
            models.load_model("torchvision:squeezenet1_1", "DEFAULT")
        assert "weights_only" not in str(failed.value)


def test_verbs(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("chelsea", "coffee"):
        Image.fromarray(
            (photos.shipped(name)[:, :40, :40].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        ).save(folder / f"{name}.png")
    image = folder / "chelsea.png"
    done = run(
        "residual-share",
        "fxscope:digits_vgg",
        "fxscope:digits_vgg_bn",
        "--images",
        folder,
        "--state",
        tmp_path / "s.json",
        "--json",
    )
    assert done.exit_code == 0 and json.loads(done.stdout)["digits_vgg"]["images"] == 2
    for verb in (
        ["layers", "fxscope:digits_vgg", folder],
        ["discussion", "fxscope:digits_vgg", image, "--label", 3],
        ["votes", "fxscope:digits_vgg", image, "--all"],
        ["fgsm", "fxscope:digits_vgg", folder],
        ["locality", "fxscope:pixelshuffle4x", image, "--places", 3],
    ):
        done = run(*verb, "-o", tmp_path / "figure.pdf")
        assert done.exit_code == 0 and (tmp_path / "figure.pdf").exists(), (verb, done.output, done.exception)
        (tmp_path / "figure.pdf").unlink()


@pytest.mark.full
def test_report_command_side_by_side(tmp_path):
    Image.fromarray(
        (photos.shipped("chelsea")[:, 60:84, 120:144].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    ).save(tmp_path / "cat.png")
    done = run(
        "report",
        "fxscope:bicubic4x",
        tmp_path / "cat.png",
        "--and",
        "fxscope:pixelshuffle4x",
        "--out",
        tmp_path / "page",
        "--no-live",
        "--json",
    )
    assert done.exit_code == 0, done.exception
    numbers = json.loads(done.stdout)
    assert set(numbers) == {"networks", "skipped", "bicubic4x", "pixelshuffle4x", "side-by-side"} and set(
        numbers["side-by-side"]
    ) == {"bicubic4x", "pixelshuffle4x"}
    shares = {name: each["residual_share"] for name, each in numbers["side-by-side"].items()}
    assert shares["bicubic4x"] == 0 < shares["pixelshuffle4x"]
    assert check_page((tmp_path / "page" / "index.html").read_text()) > 10


TOKENS = """
import torch
from torch import nn


class Tokens(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.patch, self.norm, self.attention = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16), attention
        self.mlp, self.head = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), nn.Linear(16, 5)

    def forward(self, x):
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = y + self.attention(self.norm(y))
        return self.head(y + self.mlp(y))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, y):
        q, k, v = self.qkv(y).chunk(3, -1)
        return self.out(torch.softmax(q @ k.transpose(1, 2) / 4, -1) @ v)


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 4, batch_first=True)  # goes through torch.export

    def forward(self, y):
        return self.inner(y, y, y, need_weights=False)[0]


def plain():
    torch.manual_seed(0)
    return Tokens(Plain())


def whole():
    torch.manual_seed(0)
    return Tokens(Whole())
"""


@pytest.mark.turns(2)
@pytest.mark.parametrize("factory", ["plain", "whole"])
def test_report_of_tokens(factory, tmp_path):
    """Bars by token and by layer.

    The norms at every output token, and one number as F x0 and every layer's constants.
    """
    (tmp_path / "net.py").write_text(TOKENS)
    picture = (photos.shipped("chelsea")[:, 60:124, 120:184].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "cat.png")
    done = run(
        "report",
        f"{tmp_path / 'net.py'}:{factory}",
        tmp_path / "cat.png",
        "--size",
        32,
        "--out",
        tmp_path / "page",
        "--no-live",
        "--json",
    )
    assert done.exit_code == 0, done.exception
    numbers = json.loads(done.stdout)[factory]
    found = numbers["cat.png"]
    assert numbers["verification"]["ok"] and found["sum_error"] < 1e-5 and found["residual_share"] > 0
    assert len(found["linear_norms"]) == len(found["residual_norms"]) == 16
    assert (
        next(iter(found["layers"])) == "F x0"
        and {"patch", "mlp.0", "head"} <= set(found["layers"])
        and abs(sum(found["layers"].values()) - found["output"]) < 1e-5
    )
    assert {f.name for f in (tmp_path / "page" / "figures").iterdir()} >= {
        f"{factory}_0_{name}.{form}" for name in ("tokens", "layers") for form in ("pdf", "svg", "png")
    }
    assert check_page((tmp_path / "page" / "index.html").read_text()) == 3


def test_many_layers_share_their_names():
    """No more names under the bars than can be read, and nothing lost from the sum."""
    from torch import nn

    model = nn.Sequential(
        *[nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4)) for _ in range(25)]
    )
    parts = interpret(model, torch.rand(1, 4)).contributions(0)
    found = named_layers(parts)
    assert (
        len(parts.by_layer()) > NAMED >= len(found) == 25 and abs(sum(found.values()) - parts.residual) < 1e-5
    )


@pytest.mark.full
def test_the_whole_tour_in_a_browser(tmp_path):
    """A tour that was made before (``FXSCOPE_TOUR``) is taken up, chapter by chapter.

    This is done where it is of these weights and versions.
    """
    written = tour(out=os.environ.get("FXSCOPE_TOUR", tmp_path / "page"), progress=False)
    assert set(written.numbers) == set(CHAPTERS)
    figures = check_page(written.page.read_text())
    votes, layers = written.numbers["classification"]["votes"], written.numbers["classification"]["layers"]
    assert votes["error"] < 1e-9 and layers["error"] < 1e-9
    table = written.numbers["storage"]["table_1"]
    assert [v["KiB"] for v in table.values()] == [58048, 90112, 4147200]
    assert all(
        v["sum_error"] < 1e-4
        for c in ("super-resolution", "image-to-image")
        for v in written.numbers[c]["networks"].values()
    )
    assert (
        sum(f.stat().st_size for f in (written.page.parent / "figures").iterdir()) > 0
        and len(written.findings) > 25
    )
    seen = browse(written.page, tmp_path)
    assert_shown(written.page.read_text(), len(written.findings))
    assert (
        seen["pictures"] == seen["loaded"] >= figures - 1 and seen["errors"] == [] and seen["fetched"] == []
    )


def browse(page, folder):
    """What headless Chromium sees.

    Pictures and how many have loaded, resources from elsewhere, errors on the console.
    """
    chromium = shutil.which("chromium")
    assert chromium, "the test of the page needs chromium on the path (apt-get install chromium)"
    probe = (
        "<script>window.errs=[];addEventListener('error',e=>errs.push(String(e.message||e.target.src)),true);"
        "addEventListener('load',()=>{const"
        " i=[...document.images];"
        "const"
        " s={pictures:i.length,loaded:i.filter(x=>x.complete&&x.naturalWidth>0).length,"
        "errors:errs,fetched:performance.getEntriesByType('resource')"
        ".map(r=>r.name).filter(n=>!n.startsWith('data:'))};"
        "const"
        " p=document.createElement('pre');p.id='seen';p.textContent=JSON.stringify(s);"
        "document.body.append(p)})</script>"
    )
    copy = folder / "probed.html"
    copy.write_text(page.read_text().replace("<head>", "<head>" + probe, 1))
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'chromium'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        copy.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    seen = json.loads(found[1].replace("&amp;", "&"))
    seen["errors"] += re.findall(r"CONSOLE.*", done.stderr)
    return seen
