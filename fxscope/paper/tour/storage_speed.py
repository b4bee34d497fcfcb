"""Chapter 4: storage, and the time of rows and columns (paper, Tables 1 and 2, section 8.D)."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ... import models
from ...analysis import Storage, storage
from ...linop import interpret
from ...results.tables import counted
from .page import Chapter, Finding

TABLE_1 = {"VGG-19": 58.048, "CycleGAN": 90.112, "EDSR": 4147.2}  # as printed, "GB"
TIMED = {
    "edsr_small4x": (1, 3, 64, 64),
    "facades_resnet": (1, 3, 128, 128),
    "digits_vgg": (1, 1, 32, 32),
}
COSTS = (
    "network",
    "input",
    "ReLU outputs",
    "as fp32",
    "as the paper prints it",
    "kept by fxscope",
    "packed to bits",
)
SPEEDS = ("network", "input", "forward", "rows a second", "columns a second", "row / forward", "kept")


def storage_and_speed(progress: bool = False) -> Chapter:
    """The memory of Table 1, and the time of a row, a column and a forward pass of the stand-ins."""
    chapter = Chapter("Storage and speed", networks=", ".join(TABLE_1))
    _table_1(chapter)
    _speed(chapter)
    return chapter


def _table_1(chapter: Chapter) -> None:
    import torchvision

    chapter.heading("Table 1: storing every ReLU")
    networks = {
        "VGG-19": (torchvision.models.vgg19(weights=None, init_weights=False), (1, 3, 224, 224)),
        "CycleGAN": (models.cyclegan(), (1, 3, 256, 256)),
        "EDSR": (models.edsr(), (1, 3, 270, 480)),
    }
    rows, measured = [], {}
    for name, (module, shape) in networks.items():
        found = storage(module.eval(), shape)
        rows.append(_line(name, shape, found))
        measured[name] = {
            "activations": found.activations,
            "KiB": found.table_1["KiB"],
            "printed_as_GB": found.table_1["printed as GB"],
            "recorded": found.recorded,
            "packed": found.packed,
        }
    chapter.table(
        COSTS,
        rows,
        "Storage of one image",
        shows=("table 1",),
    )
    chapter.text(
        "The paper prints 58, 90 and 4,147 GB. These are the KiB of one image divided by 1000, so one image"
        " takes a thousandth of what is printed."
    )
    chapter.numbers["table_1"] = measured
    chapter.findings += _table_findings(measured)


def _table_findings(measured: dict[str, dict[str, Any]]) -> list[Finding]:
    said = ", ".join(f"{v['KiB']:,.0f} KiB" for v in measured.values())
    is_same = all(abs(measured[n]["printed_as_GB"] - v) < 1 for n, v in TABLE_1.items())
    return [
        Finding(
            "Table 1: the printed digits are the KiB of one image, divided by 1000",
            "58, 90 and 4,147 GB",
            said,
            is_same,
            "the same digits for all three networks",
            why="Counted exactly: four bytes for every output of a ReLU of one image.",
            topic="table 1",
        ),
        Finding(
            "Table 1: one image takes that many GB",
            "58, 90 and 4,147 GB",
            ", ".join(f"{v['KiB'] * 1024 / 1e9:.3g} GB" for v in measured.values()),
            all(v["KiB"] * 1024 / 1e9 > 0.5 * TABLE_1[n] for n, v in measured.items()),
            "at least half of the printed size for all",
            why="Read as it is printed, the table is a thousand times too large for one image.",
            topic="table 1",
        ),
    ]


def _line(name: str, shape: tuple[int, ...], found: Storage) -> tuple[str, ...]:
    table = found.table_1
    return (
        name,
        "x".join(map(str, shape[2:])),
        f"{found.activations:,}",
        f"{table['KiB']:,.0f} KiB",
        f"{table['printed as GB']:,.1f} GB",
        f"{found.recorded / 2**20:,.1f} MiB",
        f"{found.packed / 2**20:,.1f} MiB",
    )


def _speed(chapter: Chapter) -> None:
    chapter.heading("Rows and columns a second")
    rows = []
    for name, shape in TIMED.items():
        model = models.build(name)
        x0 = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        lin = interpret(model, x0)
        with torch.no_grad():
            forward = _seconds(partial(model, x0))
        index = (0,) * len(lin.F.outputs.shape)
        row, column = _seconds(partial(lin.F.row, index)), _seconds(partial(lin.F.column, (0, 0, 0)))
        rows.append(
            (
                f"{name} (stand-in)",
                "x".join(map(str, shape[2:])),
                f"{1000 * forward:.1f} ms",
                f"{1 / row:.1f}",
                f"{1 / column:.1f}",
                f"{row / forward:.2f}",
                f"{lin.nbytes / 2**20:.2f} MiB",
            )
        )
        chapter.numbers.setdefault("speed", {})[name] = {
            "forward": forward,
            "row": row,
            "column": column,
            "bytes": lin.nbytes,
        }
    chapter.table(
        SPEEDS,
        rows,
        f"On the CPU of this machine, {counted(torch.get_num_threads(), 'thread')}, single precision,"
        " the best of five runs",
    )
    chapter.text(
        "The paper reports more than 2 rows and columns a second for the full EDSR on a Titan X. The stand-in"
        " is far smaller, so the two numbers cannot be compared."
    )


def _seconds(run: Callable[[], object], repeats: int = 5) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
