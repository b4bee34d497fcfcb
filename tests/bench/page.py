"""Rows and columns in the browser: the milliseconds of a page of ``lin.page``, opened from disk in Chromium.

    python tests/bench/page.py [--json FILE]

Every network has a page of its own, at a piece of one photograph. The places are spread over the image, and
no filter is read from the cache.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from asked import asked, keep
from playwright.sync_api import Browser, sync_playwright
from torch import nn

import fxscope
from fxscope.images.photos import shipped
from fxscope.models import named

NETWORKS = {"pixelshuffle4x": (1, 64), "edsr_small4x": (3, 48), "digits_resnet": (1, 32)}
PLACES = 21
MEASURE = """async (mode) => {
  const [card] = fxscope.cards;
  const { about, source } = card;
  const shape = mode === "row" ? about.output : about.input;
  const size = shape.reduce((a, b) => a * b, 1);
  await source.residual();
  const found = [];
  for (let i = 0; i < PLACES; i++) {
    const probe = [[Math.floor(size * (i + 0.5) / PLACES) % size, 1]];
    const filter = await (mode === "row" ? source.row(probe) : source.column(probe));
    const law = mode === "row" ? card.lawOf(filter.values, probe).relative : 0;
    if (!filter.again) found.push([filter.ms, law]);
  }
  return found;
}"""


def page_of(name: str, folder: Path) -> tuple[Path, int]:
    """The page of a network, and the number of its bytes."""
    channels, side = NETWORKS[name]
    picture = shipped("astronaut")[None, :, 60:316, 100:356]
    x0 = nn.functional.interpolate(picture, (side, side), mode="area")
    lin = fxscope.interpret(named.build(name), x0 if channels == 3 else x0.mean(1, keepdim=True))
    path = folder / f"{name}.html"
    return path, lin.page(path, names=[name])


def measure(browser: Browser, name: str, folder: Path) -> dict:
    """One line of the table."""
    path, size = page_of(name, folder)
    window = browser.new_page()
    began = time.perf_counter()
    window.goto(path.as_uri())
    window.wait_for_function("() => globalThis.fxscope?.cards.every((c) => c.shown > 0)", timeout=60_000)
    first = time.perf_counter() - began
    window.wait_for_selector("html[data-ready]", state="attached")
    row = {"network": name, "size": NETWORKS[name][1], "MB": size / 1e6, "first_s": first}
    laws = []
    for mode in ("row", "column"):
        found = window.evaluate(MEASURE.replace("PLACES", str(PLACES)), mode)
        times = [ms for ms, _ in found]
        laws += [law for _, law in found]
        row |= {f"{mode}_ms": statistics.median(times), f"slowest_{mode}_ms": max(times)}
    window.close()
    return {**row, "law": max(laws)}


def main() -> None:
    """Measure, print, and keep."""
    args = asked(__doc__)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        rows = [measure(browser, name, Path(folder)) for name in NETWORKS]
        browser.close()
    for row in rows:
        print(row, flush=True)
    keep(rows, args.json)


if __name__ == "__main__":
    main()
