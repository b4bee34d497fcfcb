"""The picture of a report in the documentation: ``python docs/images/report.py``.

The report of EfficientNet-Lite0 (``pip install 'fxscope[pretrained]'``) on a photograph, as a browser
shows it (``apt-get install chromium``, ``pip install playwright``).
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from fxscope.images import photos

WIDE, TALL = 1120, 1330
TO = Path(__file__).parents[1] / "_static" / "report.webp"


def report(folder: Path) -> Path:
    """The page, made by the command that its documentation shows."""
    picture = folder / "astronaut.png"
    pixels = (photos.shipped("astronaut").permute(1, 2, 0) * 255).round().byte()
    Image.fromarray(pixels.numpy()).save(picture)
    command = [sys.executable, "-m", "fxscope", "report", "fxscope:efficientnet_lite0", str(picture)]
    subprocess.run([*command, "--no-live", "--out", str(folder / "report")], check=True)
    return folder / "report" / "index.html"


def photograph(page: Path) -> Image.Image:
    """The first screens of a page."""
    with sync_playwright() as found:
        browser = found.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": WIDE, "height": TALL}, color_scheme="light")
        opened.goto(page.as_uri())
        opened.wait_for_timeout(500)
        taken = opened.screenshot()
        browser.close()
    return Image.open(io.BytesIO(taken)).convert("RGB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        photograph(report(Path(made))).save(TO, quality=80, method=6)
