"""Folders for a web server, in Chromium: threads, WebGPU, what is fetched, and what is said of all that."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator

import pytest
import torch
from chromium import CHROMIUM
from click.testing import CliRunner
from torch import nn

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError
from fxscope.images.photos import shipped
from fxscope.models import named
from fxscope.viewer import ISOLATION, front

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
ROW = "() => [fxscope.cards[0].filter.probe, Array.from(fxscope.cards[0].filter.values)]"


class Files(http.server.SimpleHTTPRequestHandler):
    """A server of static files, with the headers of isolation where they are asked for."""

    def end_headers(self) -> None:
        for name, value in self.server.heads.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        self.server.asked.append(self.path.split("?")[0])


@pytest.fixture(scope="module")
def lin():
    x0 = nn.functional.interpolate(shipped("astronaut")[None, :1, 60:220, 140:300], (24, 24), mode="area")
    return fxscope.interpret(named.build("pixelshuffle4x"), x0)


@pytest.fixture(scope="module")
def folder(lin, tmp_path_factory):
    path = tmp_path_factory.mktemp("site")
    written = lin.page(path / "page", names=["net"], folder=True, smaller=12)
    assert written == sum(f.stat().st_size for f in (path / "page").rglob("*") if f.is_file())
    return path / "page"


@pytest.fixture
def served(folder) -> Iterator[http.server.ThreadingHTTPServer]:
    handler = functools.partial(Files, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked, server.heads = [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def opened(playwright, served, *flags: str, fragment: str = "", ready: bool = True):
    """The page of the folder in a browser of its own."""
    launched = playwright.chromium.launch(
        executable_path=shutil.which(CHROMIUM), args=["--no-sandbox", *flags]
    )
    page = launched.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(f"http://127.0.0.1:{served.server_port}/{fragment}")
    page.wait_for_selector("html[data-ready]" if ready else "[role=alert]", state="attached", timeout=60_000)
    return page


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        yield found


def check(page, lin) -> None:
    """The row that is shown is that of fxscope, and the law holds."""
    probe, values = page.evaluate(ROW)
    seed = torch.zeros_like(lin.y0[0]).flatten()
    for place, weight in probe:
        seed[place] = weight
    own = (lin.F.T @ seed.view_as(lin.y0[0])).flatten()
    assert (torch.tensor(values) - own).abs().max() <= 1e-4 * own.abs().max() > 0
    assert "holds" in page.text_content(".law") and page.wrong == []


def test_threads_where_the_server_isolates_the_page(playwright, served, lin):
    served.heads = ISOLATION
    page = opened(playwright, served)
    check(page, lin)
    said = page.text_content(".runs")
    count = page.evaluate("Math.min(8, navigator.hardwareConcurrency)")
    assert page.evaluate("crossOriginIsolated") and f"on {count} thread" in said and "is isolated" in said
    assert "net runs without WebGPU" in said
    assert "/network-1/record.onnx" not in served.asked and "/weights-0.bin" in served.asked  # on demand
    assert served.asked.count("/weights-0.bin") == 1 and not any("jspi" in path for path in served.asked)
    page.evaluate("fxscope.cards[0].work.done('row', {ms: 31000, again: false})")
    assert "A picture takes 31 s here at 24 x 24" in page.text_content(".slow")
    page.get_by_role("button", name="Show x0, 12 x 12").click()  # of the same weights
    page.wait_for_function("() => fxscope.cards[0].r && fxscope.cards[0].shown")
    assert served.asked.count("/weights-0.bin") == 1 and "/network-1/record.onnx" in served.asked
    check(page, fxscope.interpret(lin.model, nn.functional.interpolate(lin.x0, (12, 12), mode="area")))
    page.context.browser.close()


def test_one_thread_on_any_server(playwright, served, lin):
    page = opened(playwright, served)
    check(page, lin)
    said = page.text_content(".runs")
    assert "on 1 thread (the server does not isolate the page" in said
    page.context.browser.close()


def test_a_folder_that_is_not_whole_and_one_on_disk_say_so(playwright, served, folder):
    served.heads = ISOLATION
    weights = folder / "weights-0.bin"
    aside = weights.rename(folder / "aside")
    try:
        page = opened(playwright, served)
        assert "weights-0.bin" in page.text_content(".law") and "(404)" in page.text_content(".law")
    finally:
        aside.rename(weights)
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("[role=alert]")
    assert "for a web server" in page.text_content("[role=alert]")
    page.context.browser.close()


@pytest.mark.full
def test_webgpu_where_the_identity_holds_there(playwright, served, lin, folder):
    """On a device in software, which computes as a GPU does but slowly; what fails the identity is left."""
    served.heads = ISOLATION
    page = opened(playwright, served, *SOFTWARE, fragment="#webgpu=any")
    check(page, lin)
    assert "net runs on WebGPU: ⟨row, x0⟩ + r = y0 within" in page.text_content(".runs")
    assert any("jspi" in path for path in served.asked)
    page.context.browser.close()
    index = (folder / "index.html").read_text()
    proof = f'"proof": [{int(lin.y0.abs().argmax())}, '
    assert proof in index
    try:
        (folder / "index.html").write_text(index.replace(proof, f"{proof}1"))  # Python found another output
        page = opened(playwright, served, *SOFTWARE, fragment="#webgpu=any")
        check(page, lin)
        assert "net runs without WebGPU: ⟨row, x0⟩ + r = y0 is off by" in page.text_content(".runs")
        page.context.browser.close()
    finally:
        (folder / "index.html").write_text(index)


def test_what_the_folder_may_ask(folder):
    text = (folder / "index.html").read_text()
    assert "default-src 'none'" in text and "connect-src 'self'" in text and "worker-src 'self'" in text
    assert "unsafe-inline" not in text and front.hash_of(front.script("folder.js")) in text
    assert all(f"  {name}: {value}" in (folder / "_headers").read_text() for name, value in ISOLATION.items())


@pytest.mark.full
def test_the_command_line_takes_a_file_or_a_folder(folder, tmp_path, lin):
    asked = ["page", "fxscope:bicubic4x", "--folder", str(tmp_path / "a"), "-o", str(tmp_path / "a.html")]
    image = tmp_path / "photo.png"
    from PIL import Image

    Image.new("RGB", (16, 16), (200, 90, 10)).save(image)
    done = CliRunner().invoke(cli, [*asked, str(image)])
    assert done.exit_code == 2 and "either -o FILE.html or --folder DIR" in done.output
    done = CliRunner().invoke(cli, ["page", "fxscope:bicubic4x", "--folder", str(tmp_path / "a"), str(image)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a" / "index.html").exists() and "put it on a web server" in done.output
    with pytest.raises(FxscopeError, match="smaller=24 is not below"):
        lin.page(tmp_path / "b", folder=True, smaller=24)
