import contextlib
import functools
import gc
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from chromium import CHROMIUM


def pytest_addoption(parser):
    parser.addoption(
        "--sample",
        type=int,
        default=1,
        metavar="N",
        help="of the cases of every test marked full run one in N, the first among them: "
        "the same ones in every run",
    )


os.environ.setdefault("FXSCOPE_CHECK_IR", "1")  # every graph is checked between the passes


def pytest_itemcollected(item):
    """Of a test with ``turns(n, k=0)`` the default run takes cases k, k + n, ...; the others are full."""
    turns, name = item.get_closest_marker("turns"), item.nodeid.partition("[")[0]
    if turns and not item.get_closest_marker("full"):
        n, k = (*turns.args, 0)[:2]
        if TURNS[name] % n != k:
            item.add_marker(pytest.mark.full)
        TURNS[name] += 1


TURNS: Counter[str] = Counter()


def pytest_configure(config):
    torch.set_num_threads(1 if hasattr(config, "workerinput") else 2)


def pytest_collection_modifyitems(config, items):
    every, seen, kept, left = config.getoption("sample"), Counter(), [], []
    for item in items:
        name = item.nodeid.partition("[")[0]
        full = item.get_closest_marker("full") is not None
        (left if full and seen[name] % every else kept).append(item)
        seen[name] += full
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def pytest_collection_finish(session):
    """The collector of cycles need not walk again and again what was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def forks():
    """Saved files are checked in forks of one process that never had fxscope; see ``fresh.py``."""
    from fresh import Fresh

    forking = Fresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fxscope.export.check.subprocess", forking)
        yield forking
    forking.end()


@pytest.fixture(scope="session", autouse=True)
def tables():
    """The exporters of torch read their tables of operators once a process, not once a file."""
    from torch._export import utils

    read, seen = utils._materialize_cpp_cia_ops, set()

    def materialize():
        count = len(torch._C._dispatch_get_all_op_names())  # operators are added, and never removed
        if count not in seen:
            read()
            seen.add(count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_materialize_cpp_cia_ops", materialize)
        if importlib.util.find_spec("onnxscript"):
            from torch.onnx._internal.exporter._registration import ONNXRegistry as Registry

            patch.setattr(Registry, "from_torchlib", staticmethod(functools.cache(Registry.from_torchlib)))
        yield


@pytest.fixture
def coarse(monkeypatch):
    """Figures of pages have few pixels: to draw them at 200 dots an inch takes most of a report's time."""
    monkeypatch.setattr("fxscope.paper.tour.page.DPI", 40)


@pytest.fixture
def cold(monkeypatch):
    """Saved files are checked as users have it: every check starts Python."""
    monkeypatch.setattr("fxscope.export.check.subprocess", subprocess)


@pytest.fixture(scope="module")
def browser():
    """Chromium, of which every page under test opens a window of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rules_as_before():
    """What a test registers is gone after it."""
    from fxscope.rules import registry

    tables = (registry().rules, registry().functions, registry().methods, registry().modules)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before):
        table.clear()
        table.update(entries)


NOBODY = 65534  # a user who owns nothing: root may write everywhere


@pytest.fixture
def shut():
    """A folder, and what takes away the rights to a part of it: ``with without(path): ...``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        @contextlib.contextmanager
        def without(path, mode=0o555):
            every = [folder, *folder.rglob("*")]
            modes = [p.stat().st_mode for p in every]
            for p in reversed(every):
                p.chmod(mode if path in (p, *p.parents) else 0o777)
            is_root = os.geteuid() == 0
            if is_root:
                os.seteuid(NOBODY)
            try:
                yield
            finally:
                if is_root:
                    os.seteuid(0)
                for p, before in zip(every, modes):
                    p.chmod(before)

        yield folder, without
