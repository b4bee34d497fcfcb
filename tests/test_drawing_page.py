"""Drawings in a page: laid out as Python does, zoomed, searched, expanded, with and without scripts."""

from __future__ import annotations

import base64
import functools
import gzip
import html
import json
import re

import pytest
import torch
import torchvision
from chromium import CHROMIUM
from test_render import segments
from torch import nn

import fxscope
from fxscope.errors import FxscopeError
from fxscope.render import page as pages

browses = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
X0 = torch.zeros(1, 3, 32, 32)
RULES = "https://example.org/rules/"


class Parallel(nn.Module):
    """Three branches side by side with masks in each, which a sum joins: rows of several boxes."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.parts = nn.ModuleList(
            nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()) for _ in range(n)))
            for n in (1, 2, 3)
        )

    def forward(self, x):
        x = self.enter(x)
        gate = torch.sigmoid(x.mean((2, 3), keepdim=True))
        return torch.cat([part(x) for part in self.parts], 1).relu() * gate.repeat(1, 3, 1, 1)


NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(weights=None).eval(),
    "parallel": Parallel,
}


@functools.cache
def drawn(name: str, emit: str = "pair", shapes: bool = True):
    model = NETWORKS[name]()
    x0 = {"pair": X0, "adjoint": (X0, torch.zeros_like(model(X0)))}[emit] if shapes else None
    return fxscope.draw(fxscope.transform(model, emit), example=x0)


def data_of(page: str) -> dict:
    text = re.search('class="fxscope-data"[^>]*>([^<]*)<', page)[1]
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_shapes_parameters_and_multiply_adds():
    """Against hooks on the model itself."""
    model, adds = NETWORKS["resnet18"](), 0

    def count(layer, given, out):
        nonlocal adds
        each = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.in_features
        adds += out.numel() * each

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    y0 = model(X0)
    found = drawn("resnet18").scene.data()
    ops = [box for box in found["boxes"] if not box.get("s")]
    for branch, probes in (("original", ""), ("interpreter", "1×")):
        own = [box for box in ops if box["b"] == branch]
        used = {i for box in own for i in box.get("w", [])}
        assert sum(found["weights"][i] for i in used) == sum(p.numel() for p in model.parameters())
        assert sum(box.get("f", 0) for box in own) == adds
        shapes = {box["k"]: box["z"] for box in own}
        assert shapes["layer4_0_relu"] == f"{probes}1×512×1×1" and all(shapes.values())
        assert shapes["output"].endswith("×".join(map(str, y0.shape)))
    drawing = drawn("resnet18")
    assert ">1×64×16×16</text>" in drawing.svg and 'class="shape"' not in drawn("parallel", shapes=False).svg
    assert any("gives 1×64×16×16; 9,408 parameters" in line for card in drawing.cards for line in card.lines)


def test_a_folded_box_has_the_sizes_of_what_is_inside():
    found = drawn("resnet18").scene.data()
    box = next(b for b in found["boxes"] if b["n"] == "layer1.1" and b["b"] == "original")
    assert sum(found["weights"][i] for i in box["w"]) == 2 * 64 * 64 * 9 + 4 * 64
    assert box["f"] == 2 * 64 * 64 * 9 * 64 and box["z"] == "1×64×8×8"


@pytest.mark.parametrize(
    ("example", "said"),
    [("nonsense", "tensor or a tuple"), ((X0,), "does not run"), (torch.zeros(1, 5, 8, 8), "does not run")],
)
def test_examples_that_do_not_fit(example, said):
    with pytest.raises(FxscopeError, match=said):
        fxscope.draw(fxscope.transform(NETWORKS["parallel"]()), example=example)


def test_a_page_is_small_and_has_every_operation():
    drawing = drawn("resnet18")
    fragment = drawing.clickable(page_style=True)
    found = data_of(fragment)
    assert found == json.loads(json.dumps(drawing.scene.data()))
    assert len(fragment) < 110_000 and len(drawing.scene.packed()) < 25_000
    whole = fxscope.draw(fxscope.transform(NETWORKS["resnet18"]()), fold=False)
    assert {f"{b['b']} {b['k']}" for b in found["boxes"] if not b.get("s")} == set(whole.boxes)


def test_cards_link_to_the_pages_of_their_rules():
    fragment = drawn("resnet18").clickable(rules="../rules/cards/")
    assert '<a href="../rules/cards/select.html#rule-max-pool2d">The rule' in fragment
    rules = json.loads(html.unescape(re.search('data-rules="([^"]*)"', fragment)[1]))
    assert rules["relu"] == "../rules/cards/mask.html#rule-relu"
    assert "The rule" not in drawn("resnet18").clickable()


def test_modules_nest():
    """Each module is within another or apart from it, and a module is before those within it."""
    for name in NETWORKS:
        groups = [(start, start + count) for _, start, count, _ in drawn(name).scene.data()["groups"]]
        for i, (a, b) in enumerate(groups):
            assert all(c >= b or d <= a or (a <= c and d <= b) for c, d in groups[i + 1 :])
            assert groups.count((a, b)) == 1


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages as ``save`` writes them; that of resnet18 links to the pages of rules."""
    folder = tmp_path_factory.mktemp("pages")
    drawn("parallel").save(folder / "parallel.html")
    drawn("resnet18", "adjoint").save(folder / "adjoint.html")
    text = pages.whole("resnet18", drawn("resnet18").clickable(rules=RULES))
    (folder / "resnet18.html").write_text(text)
    return folder


def opened(browser, path, width=1400, **options):
    options = {"viewport": {"width": width, "height": 900}, **options}
    page = browser.new_context(**options).new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.set_default_timeout(20_000)
    page.goto(path.as_uri())
    if options.get("java_script_enabled", True):
        page.wait_for_selector(".fxscope-graph[data-ready]")
        page.evaluate("fxscopeGraphs.graphs.values().next().value.then((g) => { window.graph = g; })")
    return page


def until(page, said: str):
    """Wait, without the evaluation of text in the page that its policy forbids."""
    for _ in range(100):
        if page.evaluate(said):
            return
        page.wait_for_timeout(50)
    raise AssertionError(said)


STATE = """() => ({
    boxes: Object.fromEntries([...graph.g.rectangles].map(([n, r]) => [n, [r.x, r.y, r.w, r.h]])),
    paths: [...graph.svg.querySelectorAll("path[data-from]")].map((p) => p.getAttribute("d")),
    size: [graph.width, graph.height]})"""


def overlap(a, b, slack=0.0) -> bool:
    return (
        a[0] < b[0] + b[2] - slack
        and b[0] + slack < a[0] + a[2]
        and a[1] < b[1] + b[3] - slack
        and b[1] + slack < a[1] + a[3]
    )


def hulls(path: str):
    """The hulls (x, y, width, height) of the pieces of an SVG path."""
    for x0, y0, x1, y1 in segments(path):
        yield min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)


def meetings(a, b, slack: float) -> int:
    """How many of the rectangles a overlap with one of b."""
    a, b = a[:, None], b[None]
    low, high = (
        torch.maximum(a[..., :2], b[..., :2] + slack),
        torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:] - slack),
    )
    lines = a[..., 2:] == 0  # an edge has no width: it is inside where it is between the sides
    return int(((low < high) | (lines & (low <= high))).all(-1).sum())


def check_clear(state):
    boxes = list(state["boxes"].values())
    places = torch.tensor(boxes, dtype=torch.float64)
    edges = torch.tensor([hull for path in state["paths"] for hull in hulls(path)], dtype=torch.float64)
    assert meetings(places, places, 0.0) == len(boxes), "boxes overlap"
    assert meetings(edges, places, 1.5) == 0, "an edge in a box"
    assert all(x > 0 and x + w < state["size"][0] and y + h < state["size"][1] for x, y, w, h in boxes)


@pytest.mark.turns(3)
@browses
@pytest.mark.parametrize("name", ["resnet18", "adjoint", "parallel"])
def test_the_script_lays_out_as_python_does(browser, files, name):
    drawing = drawn("resnet18", "adjoint") if name == "adjoint" else drawn(name)
    page = opened(browser, files / f"{name}.html")
    state = page.evaluate(STATE)
    assert state["boxes"].keys() == drawing.boxes.keys()
    for box, place in drawing.boxes.items():
        assert state["boxes"][box] == pytest.approx(place, abs=1e-6), box
    edges = re.findall(r'<path class="(?:data|freeze)[^"]*"[^>]* d="([^h"]*)"', drawing.svg)
    for ours, theirs in zip(sorted(state["paths"]), sorted(edges), strict=True):
        number = r"-?\d+\.\d"
        assert re.sub(number, "", ours) == re.sub(number, "", theirs)
        assert [float(n) for n in re.findall(number, ours)] == pytest.approx(
            [float(n) for n in re.findall(number, theirs)], abs=0.11
        )
    assert page.wrong == []
    page.context.close()


@pytest.mark.turns(3)
@browses
@pytest.mark.parametrize("name", ["resnet18", "adjoint", "parallel"])
def test_every_module_expands_and_folds_in_place(browser, files, name):
    page = opened(browser, files / f"{name}.html")
    before = page.evaluate(STATE)
    page.click("[data-do=expand]")
    full = page.evaluate(STATE)
    ops = {f"{b['b']} {b['k']}" for b in page.evaluate("graph.data.boxes") if not b.get("s")}
    assert full["boxes"].keys() == ops
    check_clear(full)
    page.click("[data-do=foldall]")
    check_clear(page.evaluate(STATE))
    page.evaluate("graph.change(new Set(graph.data.folded))")
    assert page.evaluate(STATE) == before
    for key in page.evaluate("graph.data.groups.map((g) => g[0])"):
        page.evaluate("(key) => graph.toggle(key)", key)
        check_clear(page.evaluate(STATE))
        page.evaluate("(key) => graph.toggle(key)", key)
        page.evaluate("graph.change(new Set(graph.data.folded))")
        assert page.evaluate(STATE) == before
    page.click("[data-do=foldall]")
    handle = page.locator(".fold:not(.tag)").first
    count = page.evaluate("graph.names.length")
    handle.click()
    assert len(page.evaluate(STATE)["boxes"]) > count
    assert page.wrong == []
    page.context.close()


FITS = """() => {
    const canvas = graph.canvas.getBoundingClientRect();
    const boxes = [...graph.svg.querySelectorAll("[data-box]")];
    const right = Math.max(...boxes.map((b) => b.getBoundingClientRect().right));
    return [right <= canvas.right, graph.canvas.scrollWidth <= graph.canvas.clientWidth,
        document.documentElement.scrollWidth === document.documentElement.clientWidth]; }"""


@pytest.mark.turns(2)
@browses
@pytest.mark.parametrize("width", [375, pytest.param(768, marks=pytest.mark.full), 1400])
def test_the_whole_width_is_seen_first(browser, files, width):
    for name in ("resnet18", "adjoint"):
        page = opened(browser, files / f"{name}.html", width)
        assert page.evaluate(FITS) == [True, True, True]
        page.context.close()


@browses
def test_zoom_pan_and_keys(browser, files):
    page = opened(browser, files / "resnet18.html", has_touch=True)
    scale = lambda: page.evaluate("graph.scale")  # noqa: E731
    first = scale()
    place = page.locator("[data-box]").nth(6).bounding_box()
    x, y = place["x"] + place["width"] / 3, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, 60)
    until(page, "graph.canvas.scrollTop > 0")
    assert scale() == first, "the wheel scrolls"
    under = f"document.elementFromPoint({x}, {y}).closest('[data-box]')?.dataset.box"
    page.evaluate("graph.canvas.scrollTop = 0")
    box = page.evaluate(under)
    assert box == "6"
    page.keyboard.down("Control")
    page.mouse.wheel(0, -120)
    page.keyboard.up("Control")
    until(page, f"graph.scale > {first} * 1.2")
    assert page.evaluate(under) == box, "what is under the pointer stays there"
    top = page.evaluate("graph.canvas.scrollTop")
    page.mouse.move(700, 600)
    page.mouse.down()
    page.mouse.move(640, 500, steps=4)
    page.mouse.up()
    assert page.evaluate("graph.canvas.scrollTop") == pytest.approx(top + 100, abs=2)
    assert page.locator(".fxscope-panel").is_hidden(), "a drag opens no card"
    page.evaluate("graph.canvas.focus()")
    page.keyboard.press("0")
    assert scale() == first
    page.keyboard.press("+")
    assert scale() == pytest.approx(1.25 * first)
    page.click("[data-do=whole]")
    assert page.evaluate("graph.canvas.scrollHeight <= graph.canvas.clientHeight")
    pinch = """(spread) => {
        const target = graph.canvas;
        const at = (identifier, clientX) => new Touch({identifier, target, clientX, clientY: 300});
        const fingers = (d) => ({touches: [at(1, 400 - d / 2), at(2, 400 + d / 2)], cancelable: true});
        graph.canvas.dispatchEvent(new TouchEvent("touchstart", fingers(100)));
        graph.canvas.dispatchEvent(new TouchEvent("touchmove", fingers(spread))); }"""
    small = scale()
    page.evaluate(pinch, 200)
    assert scale() == pytest.approx(2 * small)
    assert page.wrong == []
    page.context.close()


@browses
@pytest.mark.parametrize("width", [1400, pytest.param(768, marks=pytest.mark.full), 375])
def test_a_card_never_covers_its_graph(browser, files, width):
    page = opened(browser, files / "resnet18.html", width)
    page.evaluate("graph.focus(graph.names.indexOf('interpreter relu'))")
    page.keyboard.press("Enter")
    panel, canvas = (page.locator(f".fxscope-{part}").bounding_box() for part in ("panel", "canvas"))
    assert not overlap(*(tuple(b[k] for k in ("x", "y", "width", "height")) for b in (panel, canvas)))
    assert panel["y"] < 900 and page.evaluate(FITS) == [True, True, True]
    assert page.locator(".fxscope-panel a").get_attribute("href") == f"{RULES}mask.html#rule-relu"
    words = page.locator(".fxscope-panel").inner_text()
    assert "interpreter branch" in words and "1×1×64×16×16" in words
    page.keyboard.press("Escape")
    page.context.close()


@browses
def test_search_finds_what_is_folded(browser, files):
    page = opened(browser, files / "resnet18.html")
    page.evaluate("graph.canvas.focus()")
    page.keyboard.press("/")
    page.keyboard.type("layer4.1.conv2")
    assert page.locator("output").inner_text() == "2 found"
    page.keyboard.press("Enter")
    assert page.locator("output").inner_text() == "1 of 2"
    assert "layer4.1.conv2" in page.locator(".fxscope-panel").inner_text()
    check_clear(page.evaluate(STATE))
    chosen, canvas = page.locator(".chosen").bounding_box(), page.locator(".fxscope-canvas").bounding_box()
    assert canvas["y"] <= chosen["y"] <= canvas["y"] + canvas["height"], "it is scrolled to"
    page.fill("input[type=search]", "nothing like it")
    assert page.locator("output").inner_text() == "0 found"
    page.context.close()


@browses
def test_everything_by_keyboard(browser, files):
    page = opened(browser, files / "resnet18.html")
    page.evaluate("graph.focus(0)")
    where = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(where).startswith("x0, original branch")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(where).startswith("x1, interpreter branch")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(where).startswith("conv conv1")
    page.keyboard.press("Enter")
    assert page.locator(".fxscope-panel").is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".fxscope-panel").is_hidden() and page.evaluate(where).startswith("conv conv1")
    page.evaluate(
        "graph.focus(graph.names.findIndex((n) => n.startsWith('original') && graph.g.p.boxes.get(n).s))"
    )
    count = page.evaluate("graph.names.length")
    page.keyboard.press(" ")
    assert page.evaluate("graph.names.length") > count
    page.keyboard.press(" ")
    assert page.evaluate("graph.names.length") == count
    assert page.locator("[data-box][tabindex='0']").count() == 1, "one stop for the tabulator"
    page.context.close()


@browses
def test_sizes_on_demand(browser, files):
    page = opened(browser, files / "resnet18.html")
    words = lambda: page.locator("svg").inner_html()  # noqa: E731
    assert "multiply-adds" not in words()
    page.click("[data-do=sizes]")
    assert "9,408 parameters, 2.41 M multiply-adds" in words()
    check_clear(page.evaluate(STATE))
    page.click("[data-do=shapes]")
    assert 'class="shape"' not in words()
    page.context.close()


@browses
@pytest.mark.parametrize("width", [375, 1400])
def test_without_scripts_the_picture_is_there(browser, files, width):
    page = opened(browser, files / "resnet18.html", width, java_script_enabled=False)
    canvas, svg = (page.locator(part).bounding_box() for part in (".fxscope-canvas", "svg"))
    assert 0 < svg["width"] <= canvas["width"]
    assert page.locator("svg g.box").count() == len(drawn("resnet18").boxes)
    page.locator("svg a[href]").nth(3).click()
    card, canvas = (page.locator(part).bounding_box() for part in (".fxscope-card:target", ".fxscope-canvas"))
    assert not overlap(*(tuple(b[k] for k in ("x", "y", "width", "height")) for b in (card, canvas)))
    page.context.close()


@browses
def test_the_pages_of_tour_and_report_have_it_too(browser, tmp_path):
    """Within a content policy that lets nothing else run."""
    from fxscope.paper.tour.page import Chapter, Page

    chapter = Chapter("one")
    chapter.figure("graph", drawn("resnet18"), "The rewritten graph.")
    written = Page(tmp_path, "title", "about", {}).write({"one": lambda: chapter}, progress=False)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', written.page.read_text())[1]
    assert "default-src 'none'" in policy and f"script-src {pages.script_hash()}" in policy
    for width in (375, 1400):
        page = opened(browser, written.page, width, color_scheme="dark")
        assert page.evaluate(FITS) == [True, True, True]
        count = page.evaluate("graph.names.length")
        page.click("[data-do=expand]")
        assert page.evaluate("graph.names.length") > count and page.wrong == []
        page.context.close()


def test_the_command_line_draws_shapes(tmp_path):
    from click.testing import CliRunner

    from fxscope.cli.main import cli

    for flags, there in ((["--shapes"], True), ([], False)):
        path = tmp_path / f"{there}.svg"
        done = CliRunner().invoke(cli, ["inspect", "fxscope:pixelshuffle4x", "--svg", str(path), *flags])
        assert done.exit_code == 0 and ('class="shape"' in path.read_text()) is there


def test_the_checks_see_what_they_should():
    box = {"boxes": {"a": (10, 10, 50, 20)}, "size": (100, 100)}
    check_clear({**box, "paths": ["M5.0 5.0V40.0", "M10.0 20.0H0.0"]})
    for path in ("M30.0 5.0V40.0", "M5.0 20.0H90.0", "M30.0 15.0V20.0"):
        with pytest.raises(AssertionError, match="an edge in a box"):
            check_clear({**box, "paths": [path]})
    with pytest.raises(AssertionError, match="boxes overlap"):
        check_clear(
            {**box, "boxes": {"a": (10, 10, 50, 20), "b": (40, 20, 50, 20)}, "paths": ["M0.0 0.0H1.0"]}
        )
