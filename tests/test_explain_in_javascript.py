"""The page of examples/serving in Chromium: a saved row in ONNX Runtime for the web, without Python."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from pathlib import Path

import pytest
import torch
from chromium import CHROMIUM

import fxscope
from fxscope import models
from fxscope.viewer import runtime

PAGE = Path(__file__).parents[1] / "examples" / "serving" / "explain.html"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the page says should lie beside it; the runtime is the one that the package ships."""
    found = tmp_path_factory.mktemp("explain")
    graph = fxscope.transform(models.digits_vgg(), "row", probes="stacked")
    example = (torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, dtype=torch.int64))
    fxscope.save(graph, found / "explain.onnx", example)
    shutil.copy(PAGE, found / "index.html")
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (found / name).write_bytes(runtime.unpacked(name))
    return found


@pytest.fixture(scope="module")
def address(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_score_under_the_pointer_is_explained(address):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.locator("button").nth(9).wait_for(timeout=60_000)
        scores = [float(text.partition(":")[2]) for text in page.locator("button").all_inner_texts()]
        first = page.locator("#law").inner_text()
        page.locator("button").nth(2).hover()
        page.wait_for_function("(said) => document.getElementById('law').textContent !== said", arg=first)
        found = re.findall(r"= (-?[\d.]+)", page.locator("#law").inner_text())
        read = "document.getElementById('picture').getContext('2d').getImageData(0, 0, 32, 32).data"
        pixels = page.evaluate(f"() => Array.from({read})")
        browser.close()
    assert not wrong
    assert abs(float(found[0]) - float(found[1])) <= 1e-3
    assert float(found[1]) == pytest.approx(scores[2], abs=0.06)
    assert len(set(pixels)) > 10
