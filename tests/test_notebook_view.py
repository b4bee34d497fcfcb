"""``lin.view()`` in real notebooks, JupyterLab and marimo in Chromium: kernels compute what is shown."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import CHROMIUM

import fxscope
from fxscope.errors import WrongArgument
from fxscope.models import named
from fxscope.viewer import answers

NAME = "pixelshuffle4x"
CELL = f"""
import torch, fxscope
from fxscope.models import named
x0 = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
lin = fxscope.interpret(named.build("{NAME}"), x0)
lin.view(beside=[fxscope.interpret(lin.model, x0, policy="taylor")], names=["freeze", "taylor"])
"""
FILTERS = "() => fxscope.cards.map((c) => [c.filter.probe, Array.from(c.filter.values), c.law.textContent])"
SHOWN = "() => globalThis.fxscope?.cards.every((c) => c.turn === c.shown && c.r)"


@pytest.fixture
def lin():
    x0 = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return fxscope.interpret(named.build(NAME), x0)


def test_wishes_of_the_frame_are_answered(lin):
    widget = lin.view(names=["net"])
    sent = []
    widget.send = lambda content, buffers: sent.append(buffers[0])
    given = {"network": "network-0", "photo": "x0", "form": "pullback", "probe": [[100, 1]]}
    widget._handle_custom_msg({"id": 5, "verb": "product", "given": given}, [])
    row = np.frombuffer(sent[0][16:], "<f4")
    own = lin.F.row((0, *divmod(100, 64))).flatten().numpy()
    assert np.abs(row - own).max() <= 1e-5 * np.abs(own).max()
    for wrong in (None, [], {"id": -1}, {"id": 1, "verb": "product", "given": 3}):
        widget._handle_custom_msg(wrong, [])
        assert int.from_bytes(sent[-1][4:8], "little") == answers.FAILED


def test_wrong_arguments_are_refused(lin):
    for wrong in ({"names": ["a", "b"]}, {"beside": [3]}, {"preprocess": 3}, {"labels": [1]}):
        with pytest.raises(WrongArgument):
            lin.view(**wrong)


def check(found: list, lin) -> None:
    """What the cards show are rows of F, and they say that the law holds."""
    for probe, values, law in found:
        y2 = torch.zeros(lin.F.shape[0])
        for place, weight in probe:
            y2[place] = weight
        row = lin.F.flat.T @ y2
        assert (torch.tensor(values) - row).abs().max() <= 1e-5 * row.abs().max()
        assert "holds" in law


@contextlib.contextmanager
def jupyter(folder: Path) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.root_dir={folder}",
    ]
    command += [
        "--port=0",
        "--IdentityProvider.token=abc",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            while not (found := re.search(r"http://(?:127\.0\.0\.1|localhost):(\d+)/lab", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.kill()


def run(page) -> None:
    """Run the first cell: keys that are pressed before the notebook listens are lost."""
    for _ in range(6):
        page.locator(".jp-CodeCell .cm-content").first.click(timeout=120_000)
        page.keyboard.press("Shift+Enter")
        with contextlib.suppress(Exception):
            prompt = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[[*\d]+\]"))
            return prompt.first.wait_for(timeout=20_000)
    raise AssertionError("the cell does not run")


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_in_jupyterlab(tmp_path, lin):
    from playwright.sync_api import sync_playwright

    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
        "source": CELL,
    }
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "own.ipynb").write_text(json.dumps(notebook))
    with jupyter(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/lab/tree/own.ipynb?token=abc")
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)
        run(page)
        shown = page.locator("iframe[title^='rows and columns']")
        shown.wait_for(timeout=120_000)
        frame = shown.element_handle().content_frame()
        frame.wait_for_function(SHOWN, timeout=120_000)
        found = frame.evaluate(FILTERS)
        page.screenshot(path=tmp_path / "lab.png")
        browser.close()
    check(found, lin)


APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
{cell}
    return lin, mo


@app.cell
def _(lin, mo):
    mo.ui.anywidget(lin.view(names=["again"]))
    return
"""


def answers_at(port: int) -> bool:
    with socket.socket() as tried:
        return not tried.connect_ex(("127.0.0.1", port))


@contextlib.contextmanager
def marimo(folder: Path) -> Iterator[str]:
    """marimo serves the notebook in the folder, as an app."""
    (folder / "own.py").write_text(APP.format(cell=textwrap.indent(CELL, "    ")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", str(folder / "own.py"), "--headless", "--no-token"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], **quiet) as process:
        try:
            ends = time.monotonic() + 120
            while not answers_at(port):
                assert process.poll() is None and time.monotonic() < ends
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_in_marimo(tmp_path, lin):
    """Both ways in which marimo shows a widget; the rows follow the pointer."""
    from playwright.sync_api import sync_playwright

    with marimo(tmp_path) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        frames = page.locator("iframe[title^='rows and columns']")
        frames.nth(1).wait_for(timeout=120_000)
        for number, count in enumerate((2, 1)):
            frame = frames.nth(number).element_handle().content_frame()
            frame.wait_for_function(SHOWN, timeout=120_000)
            frames.nth(number).scroll_into_view_if_needed()  # what is out of sight is not drawn
            canvas = frame.locator('[data-figure="photo"] canvas').first
            canvas.scroll_into_view_if_needed()
            box, seen = canvas.bounding_box(), []
            for share in (0.3, 0.7):
                page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
                frame.wait_for_function(SHOWN, timeout=120_000)
                seen.append(frame.evaluate(FILTERS))
                assert len(seen[-1]) == count
                check(seen[-1], lin)
            assert seen[0] != seen[1]
        browser.close()
