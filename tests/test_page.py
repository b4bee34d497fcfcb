"""Pages that compute in the browser, opened from disk in Chromium: what they show is F, and the law holds."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import shutil
from xml.etree import ElementTree

import pytest
import torch
from chromium import CHROMIUM
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, WrongArgument
from fxscope.images.photos import shipped
from fxscope.models import named
from fxscope.viewer import front, packing, runtime
from fxscope.viewer.graphs import Pool, graphs_of

browses = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
LAW = 1e-3  # of the law, relative to the largest output: what the page states
ROUNDING = 1e-4  # of a row or a column in float32, relative to its largest value
NETWORKS = {"pixelshuffle4x": (1, 24), "edsr_small4x": (3, 20), "digits_vgg": (1, 32)}


@pytest.fixture(scope="module")
def lins():
    """The interpreters of three networks at pieces of one photograph."""
    picture = shipped("astronaut")[None, :, 60:220, 140:300]
    found = {}
    for name, (channels, side) in NETWORKS.items():
        x0 = nn.functional.interpolate(picture, (side, side), mode="area")
        model = named.build(name)
        if hasattr(model, "body"):
            model.body = model.body[-2:]  # one residual block is as good as all for a page
        found[name] = fxscope.interpret(model, x0 if channels == 3 else x0.mean(1, keepdim=True))
    return found


@pytest.fixture(scope="module")
def file(lins, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    first, *rest = lins.values()
    first.page(path, beside=rest, names=list(lins), votes=True)
    return path


@pytest.fixture(scope="module")
def opened(browser, file):
    """The page in a window of its own, with what it asked for and what went wrong."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}, has_touch=True).new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.goto(file.as_uri())
    page.set_default_timeout(10_000)
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    return page


REST = "() => fxscope.cards.every((c) => c.turn === c.shown && c.r)"
FILTERS = """() => fxscope.cards.map((c) => ({name: c.about.name, mode: c.filter.mode, probe: c.filter.probe,
    at: c.filter.at, values: Array.from(c.filter.values), law: c.measured(), said: c.law.textContent}))"""


def shown(page) -> list[dict]:
    """The filters that the page shows when it has computed what is wanted."""
    page.wait_for_function(REST, timeout=60_000)
    return page.evaluate(FILTERS)


def expected(lin, found: dict) -> torch.Tensor:
    """The same row or column from fxscope."""
    shape = lin.y0.shape if found["mode"] == "row" else lin.x0.shape
    probe = torch.zeros(shape[1:]).flatten()
    for place, weight in found["probe"]:
        probe[place] += weight
    probe = probe.view(shape[1:])
    return (lin.F.T @ probe if found["mode"] == "row" else lin.F @ probe).flatten()


def check(page, lins) -> list[dict]:
    """All filters that are shown are those of fxscope, and the law holds of the rows."""
    found = shown(page)
    for each in found:
        own, got = expected(lins[each["name"]], each), torch.tensor(each["values"])
        assert own.abs().max() > 0
        assert (got - own).abs().max() <= ROUNDING * own.abs().max()
        if each["mode"] == "row":
            assert each["law"]["relative"] <= LAW and "holds" in each["said"]
    return found


def hover(page, x: float, y: float, figure: str = "photo", network: str = "pixelshuffle4x") -> None:
    """Move the mouse to shares of the width and height of a picture."""
    canvas = page.locator(f'[data-network="{network}"] [data-figure="{figure}"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def pixels(page, figure: str) -> str:
    """What a picture of the first network shows."""
    return page.evaluate(f"() => fxscope.cards[0].{figure}.canvas.toDataURL()")


@browses
def test_hover_gives_the_rows_and_columns_of_three_networks_offline(opened, lins):
    hover(opened, 0.3, 0.4)
    first, picture = check(opened, lins), pixels(opened, "photo")
    hover(opened, 0.7, 0.6)
    second = check(opened, lins)
    assert first[0]["at"] == [38, 28] and second[0]["at"] == [57, 67]  # of 96 x 96 outputs
    assert pixels(opened, "photo") != picture
    hover(opened, 0.25, 0.5, "output", "edsr_small4x")  # the place follows from any picture
    assert check(opened, lins)[1]["at"] == [40, 20]
    opened.keyboard.press("c")
    columns = check(opened, lins)
    assert {c["mode"] for c in columns} == {"column"} and columns[2]["at"] == [16, 8]
    opened.keyboard.press("r")
    check(opened, lins)
    elsewhere = [url for url in opened.asked if not url.startswith(("file:", "blob:"))]
    assert len([u for u in opened.asked if u.startswith("file:")]) == 1 and elsewhere == []
    assert opened.wrong == []


@browses
def test_keys_move_by_one_output_and_pins_come_back(opened, lins):
    opened.evaluate("() => fxscope.moved({x: 0.5, y: 0.5})")
    before = check(opened, lins)[0]["at"]
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("Shift+ArrowDown")
    after = check(opened, lins)[0]["at"]
    assert after == [before[0] + 8, before[1] + 1]
    opened.keyboard.press("p")
    opened.keyboard.press("ArrowLeft")
    assert check(opened, lins)[0]["at"] == [before[0] + 8, before[1]]
    opened.locator(".pins button").first.click()
    assert check(opened, lins)[0]["at"] == after
    opened.locator(".pins .away").click()
    assert opened.locator(".pins li").count() == 0


@browses
def test_a_finger_moves_the_place(opened, lins):
    canvas = opened.locator('[data-network="edsr_small4x"] [data-figure="photo"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    opened.touchscreen.tap(box["x"] + 0.625 * box["width"], box["y"] + 0.375 * box["height"])
    assert check(opened, lins)[1]["at"] == [30, 50]


@browses
def test_the_rows_of_a_box_are_summed(opened, lins):
    canvas = opened.locator('[data-network="pixelshuffle4x"] [data-figure="output"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    corners = [
        (box["x"] + (n + 0.5) / 96 * box["width"], box["y"] + (n + 10.5) / 96 * box["height"])
        for n in (30, 36)
    ]
    opened.keyboard.down("Shift")
    opened.mouse.move(*corners[0])
    opened.mouse.down()
    opened.mouse.move(*corners[1])
    opened.mouse.up()
    opened.keyboard.up("Shift")
    found = check(opened, lins)
    assert found[0]["at"] == [40, 30, 46, 36] and len(found[0]["probe"]) == 49
    top, left, bottom, right = found[1]["at"]  # the same part of the photograph in another network
    assert len(found[1]["probe"]) == 3 * (bottom - top + 1) * (right - left + 1) > 60
    opened.locator('[data-network="pixelshuffle4x"] [data-figure="output"] canvas').click()  # ends the hold
    assert len(check(opened, lins)[0]["probe"]) == 1


@browses
def test_a_class_is_found_by_name(opened, lins):
    card = opened.locator('[data-network="digits_vgg"]')
    top = int(lins["digits_vgg"].y0.argmax())
    assert card.locator('.read[aria-pressed="true"]').get_attribute("data-label") == str(top)
    card.locator("input[type=search]").fill("class 7")
    assert card.locator(".scores .read").count() == 1
    card.locator(".scores .read").click()
    found = check(opened, lins)[2]
    assert found["probe"] == [[7, 1]]
    card.locator("input[type=search]").fill("")


@browses
def test_the_difference_of_two_scores(opened, lins):
    """Its row is the difference of two rows, and the page says the difference of the outputs."""
    card, lin = opened.locator('[data-network="digits_vgg"]'), lins["digits_vgg"]
    assert card.locator('button[data-minus="2"]').get_attribute("aria-pressed") == "false"
    card.locator('button[data-label="3"]').click()
    card.locator('button[data-minus="2"]').click()
    found = check(opened, lins)[2]
    assert found["probe"] == [[3, 1], [2, -1]]
    assert abs(found["law"]["y0"] - float(lin.y0[0, 3] - lin.y0[0, 2])) <= 1e-4
    assert "difference of y0" in found["said"]
    assert "score class 3 minus score class 2" in opened.evaluate("fxscope.cards[2].sentence")
    lines = opened.evaluate("fxscope.cards[2].probeName(fxscope.cards[2].filter.at, 'row')")
    assert lines == "score class 3 minus score class 2"
    opened.keyboard.press("p")
    card.locator('button[data-minus="2"]').click()
    assert check(opened, lins)[2]["probe"] == [[3, 1]]
    opened.locator(".pins .away").click()


@browses
def test_the_votes_of_the_pixels(opened, lins):
    """They are those of ``pixel_votes`` for the largest scores, in colours, and one score alone if chosen."""
    lin, card = lins["digits_vgg"], opened.locator('[data-network="digits_vgg"]')
    labels = lin.y0[0].topk(8).indices.tolist()
    found = opened.evaluate("fxscope.cards[2].about.votes")
    assert found["labels"] == labels
    own = lin.pixel_votes(labels, progress=False)
    assert found["winners"] == own.winners.flatten().tolist() and len(set(found["winners"])) > 1
    card.locator(".votes summary").click()
    share = round(100 * own.winners.eq(0).float().mean().item())
    assert f"class {labels[0]} {share} %" in card.locator(".keys button").first.text_content()
    pixels = "() => document.querySelector('.votes canvas').toDataURL()"
    opened.wait_for_function("() => document.querySelector('.votes canvas').ariaLabel")
    every = opened.evaluate(pixels)
    card.locator(".keys button").nth(found["winners"][0]).click()
    assert opened.evaluate(pixels) != every
    card.locator(".votes summary").click()


@browses
def test_the_newest_wish_wins(opened, lins):
    """Of thirty places in a row few are computed, and the last one is shown."""
    check(opened, lins)
    opened.evaluate("""() => { const {engine} = fxscope.cards[0].source; window.products = 0;
        const ask = engine.ask.bind(engine);
        engine.ask = (verb, ...rest) => { window.products += verb === "product"; return ask(verb, ...rest); };
        for (let i = 1; i <= 30; i++) fxscope.moved({x: i / 40 + 0.001, y: 0.11}); }""")
    found = check(opened, lins)
    assert found[0]["at"][1] == 72 and opened.evaluate("window.products") < 45  # of 90


@browses
def test_scales_channels_and_the_saved_view(opened, lins):
    opened.evaluate("() => fxscope.moved({x: 0.5, y: 0.5})")
    check(opened, lins)
    seen = {pixels(opened, "alone")}
    for scale in ("linear", "log"):
        opened.get_by_label("scale", exact=True).select_option(scale)
        seen.add(pixels(opened, "alone"))
        assert scale.replace("log", "logarithmic") in opened.locator(".legend .note").first.text_content()
    assert len(seen) == 3
    opened.get_by_label("probe").select_option("1")
    assert len(check(opened, lins)[1]["probe"]) == 1
    opened.get_by_label("probe").select_option("all")
    assert len(check(opened, lins)[1]["probe"]) == 3
    with opened.expect_download() as download:
        opened.get_by_text("PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    assert re.search(
        r"row of F for output pixel .* It reads 11 by 11", opened.evaluate("fxscope.cards[0].sentence")
    )


@browses
@pytest.mark.parametrize("box", [False, True], ids=["place", "box"])
def test_the_view_is_saved_as_svg_and_as_python(opened, lins, box):
    """The lines of Python compute what the page shows, for each of its networks."""
    if box:
        canvas = opened.locator("[data-figure=photo] canvas").first.bounding_box()
        x, y = canvas["x"] + canvas["width"] / 3, canvas["y"] + canvas["height"] / 3
        opened.keyboard.down("Shift")
        opened.mouse.move(x, y)
        opened.mouse.down()
        opened.mouse.move(x + 30, y + 30, steps=3)
        opened.mouse.up()
        opened.keyboard.up("Shift")
    found = shown(opened)
    files = {}
    for kind in ("SVG", "Python"):
        with opened.expect_download() as download:
            opened.get_by_role("button", name=kind).click()
        files[kind] = download.value.path().read_text()
    svg = ElementTree.fromstring(files["SVG"])
    assert len(svg.findall("{http://www.w3.org/2000/svg}image")) >= 2 * len(found)
    assert found[0]["said"] in "".join(svg.itertext())
    head, *parts = re.split(r"\n(?=lin = )", files["Python"])
    for each, part in zip(found, parts, strict=True):
        lin = lins[each["name"]]
        names = {"model": lin.model, "x0": lin.x0}
        exec(f"{head}\n{part}", names)
        own, got = names[each["mode"]].flatten(), torch.tensor(each["values"])
        assert (got - own).abs().max() <= ROUNDING * own.abs().max()


@pytest.mark.turns(2)
@browses
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phones_and_both_schemes(browser, file, scheme):
    context = browser.new_context(viewport={"width": 375, "height": 812}, color_scheme=scheme)
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    assert page.evaluate("fxscope.wanted.theme") == scheme
    context.close()


@browses
def test_a_browser_without_webassembly_is_told(browser, file):
    flags = ["--no-sandbox", "--js-flags=--jitless"]  # without its compilers V8 has no WebAssembly
    without = browser.browser_type.launch(executable_path=shutil.which(CHROMIUM), args=flags)
    page = without.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("[role=alert]")
    assert "WebAssembly" in page.text_content("[role=alert]")
    without.close()


@pytest.mark.full
@browses
def test_a_network_that_does_not_run_in_the_browser_is_told(browser, tmp_path):
    """A browser that gives pages 25 MB: one network needs more than that, and the other still runs."""
    torch.manual_seed(0)
    x0 = torch.rand(1, 1, 128, 128)
    wide = nn.Sequential(nn.Conv2d(1, 512, 1), nn.ReLU(), nn.Conv2d(512, 1, 1))  # 32 MB a layer
    small = fxscope.interpret(nn.Conv2d(1, 1, 1), x0)
    fxscope.interpret(wide, x0).page(tmp_path / "page.html", beside=[small], names=["wide", "small"])
    flags = ["--no-sandbox", "--js-flags=--wasm-max-mem-pages=600"]
    little = browser.browser_type.launch(executable_path=shutil.which(CHROMIUM), args=flags)
    page = little.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    said = page.locator('[data-network="wide"] [role=alert]')
    said.wait_for(timeout=60_000)
    assert re.search(r"wide does not run here: it needs more memory .* fxscope view", said.text_content())
    page.wait_for_function("() => fxscope.cards[1].r", timeout=60_000)
    assert "holds" in page.locator('[data-network="small"] .law').text_content()
    little.close()


@browses
def test_a_damaged_page_is_told(browser, file, tmp_path):
    """A part is missing, or bytes of it are others: the page says so, and does not end silently."""
    text = file.read_text()
    start = text.index('id="network-0">') + 5000
    changed = {
        "missing": (text.replace('id="network-1"', 'id="network-x"'), "incomplete"),
        "changed": (text[:start] + "A" * 400 + text[start + 400 :], "damaged"),
    }
    for name, (damaged, said) in changed.items():
        (tmp_path / f"{name}.html").write_text(damaged)
        page = browser.new_page()
        page.goto((tmp_path / f"{name}.html").as_uri())
        page.wait_for_selector("[role=alert]", timeout=60_000)
        assert said in page.text_content("[role=alert]")
        page.close()


def test_the_policy_allows_nothing_from_elsewhere(file):
    text = file.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy and "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy.replace("'wasm-unsafe-eval'", "")
    assert front.hash_of(front.script()) in policy and "Copyright (c) Microsoft" in text


def test_the_runtime_is_the_pinned_one():
    about = runtime.about()
    for name, known in about["files"].items():
        assert hashlib.sha256(gzip.decompress(runtime.packed(name))).hexdigest() == known
    assert set(about["files"]) == set(runtime.FILES) and about["licence"] == "MIT"


class Bessel(nn.Module):
    """What cannot be exported: ONNX has no such operator."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * torch.special.i1e(self.scale)


def test_what_no_page_can_show_is_said(lins, tmp_path):
    path, x0 = tmp_path / "page.html", torch.rand(1, 1, 8, 8)
    conv = nn.Conv2d(1, 1, 3)
    with pytest.raises(FxscopeError, match=r"float32 .* and Conv2d is in torch.float64"):
        fxscope.interpret(conv.double(), x0.double()).page(path)
    with pytest.raises(FxscopeError, match="one image"):
        fxscope.interpret(nn.Linear(8, 2), torch.rand(1, 8)).page(path)
    with pytest.raises(FxscopeError, match="one image"):
        fxscope.interpret(conv.float(), x0.expand(2, -1, -1, -1)).page(path)
    with pytest.raises(FxscopeError, match=r"would be .* MB .* the limit is 1: give --limit"):
        fxscope.interpret(conv, x0).page(path, limit=1)
    with pytest.raises(WrongArgument, match="beside"):
        lins["digits_vgg"].page(path, beside=[conv])
    with pytest.raises(WrongArgument, match="names"):
        lins["digits_vgg"].page(path, names=["a", "b"])
    assert not path.exists()


def test_an_operator_that_cannot_be_exported_is_named(tmp_path):
    lin = fxscope.interpret(Bessel(), torch.rand(1, 1, 4, 4))
    with pytest.raises(FxscopeError, match="no page can compute Bessel: .*i1e"):
        lin.page(tmp_path / "page.html")


@pytest.mark.full
@browses
def test_weights_in_half_precision(browser, lins, file, tmp_path):
    """The file is smaller, rows are near, and the law holds as in float32."""
    path, lin = tmp_path / "half.html", lins["edsr_small4x"]
    # bytes are packed by planes, so that half of them saves less than half: a third of the weights
    assert lin.page(path, half=True) + 12_000 < lin.page(tmp_path / "page.html")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    (found,) = shown(page)
    own, got = expected(lin, found), torch.tensor(found["values"])
    assert (got - own).abs().max() <= 1e-2 * own.abs().max()
    assert found["law"]["relative"] <= LAW and "float16" in page.text_content(".note")


@pytest.mark.full
@browses
def test_the_command_line_writes_a_page_of_two_photographs(browser, tmp_path):
    names = []
    for name in ("astronaut", "coffee"):
        names.append(str(tmp_path / f"{name}.png"))
        pixels = (255 * shipped(name)).byte().permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(names[-1])
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        cli,
        [
            "page",
            "fxscope:digits_resnet",
            *names,
            "-o",
            str(page),
            "--svd",
            "2",
            "--policy",
            "freeze",
            "--policy",
            "taylor",
        ],
    )
    assert done.exit_code == 0, done.output
    seen = browser.new_page()
    seen.goto(page.as_uri())
    seen.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    for number in "10":
        seen.get_by_label("photograph").select_option(number)
        seen.wait_for_function(REST, timeout=60_000)
        assert seen.evaluate("Math.max(...fxscope.cards.map((c) => c.measured().relative))") <= LAW
        seen.evaluate("document.querySelectorAll('details.eigen').forEach((each) => (each.open = true))")
        seen.wait_for_function("document.querySelectorAll('.eigen canvas').length === 4", timeout=60_000)


@browses
def test_numbers_are_written_as_they_are(browser):
    page = browser.new_page()
    page.add_script_tag(content=re.sub(r"^export ", "", front.text("elements.js"), flags=re.M))
    numbers = [0, 1000, -2000, 100, 0.5, 713456.7, 12.3456, 0.00123, 1e7, 4e-9]
    written = [page.evaluate("(n) => short(n)", n) for n in numbers]
    assert [float(text) for text in written] == pytest.approx(numbers, rel=1e-3)


def test_weights_are_kept_once(lins):
    """The transposes of convolutions take the same weights as they do themselves."""
    lin = lins["edsr_small4x"]
    parameters = sum(4 * p.numel() for p in lin.model.parameters())
    pool = Pool()
    graphs_of(lin, "edsr", pool)
    assert len(pool.weights) <= 1.1 * parameters + 50_000


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 4001])
def test_letters_stand_for_bytes(count):
    """Those of base64.b85encode but "<", after the number of bytes that fill up."""
    data = hashlib.shake_256(b"fxscope").digest(count)
    text = packing.written(data)
    assert "<" not in text and int(text[0]) == -count % 4
    assert base64.b85decode(text[1:].replace(",", "<"))[:count] == data


def test_planes_compress_weights():
    """Random weights have 32 bits each: gzip in base64 writes 39, letters of planes 34."""
    weights = torch.randn(100_000, generator=torch.Generator().manual_seed(0)).numpy().tobytes()
    planes = packing.in_planes(weights, 4)
    assert planes[:4] == weights[::4][:4] and len(planes) == len(weights)
    text = packing.written(packing.compressed(planes))
    assert len(text) < 0.9 * len(base64.b64encode(packing.compressed(weights)))
