"""A study against a plain loop of ``reader``, two processes against one, and memory.

    python tests/bench/study.py [--images 384] [--json FILE]

Overhead: the residual share of digits by ``fxscope.study``, and by a loop that reads the same batches with
one reader and keeps the same numbers in a list; seconds of the processor for an image, between 64 images and
all, medians of five interleaved rounds (bar: 1.05), and how much longer a study takes to start. Processes:
``torchrun`` with two processes against one, each with one thread, from file to file (bar: 1.6). Memory:
resident MiB of a study at a tenth of its images and at the end (bar: + 16).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from asked import asked, keep

import fxscope
from fxscope.analysis.layers import sums
from fxscope.studies import digits

NETWORK, BATCH, SHARD = "fxscope:digits_resnet", 8, 64


def loop(reader: fxscope.linop.Reader, take: fxscope.Preprocess, count: int) -> list[float]:
    """What a study measures, by hand."""
    pictures, found = digits(), []
    for start in range(0, count, BATCH):
        x0 = torch.cat([take(p.expand(3, -1, -1)) for _, p in pictures[start : start + BATCH]])
        lin = reader(x0)
        (_, score), layers = sums(lin, lin.y0.argmax(1), "with")
        found += (sum(layers.values()) / score).tolist()
    return found


def seconds(count: int) -> tuple[float, float]:
    """Seconds of the processor of the loop, and of a study with its plan, files and summary."""
    start = time.process_time()
    reader = fxscope.prepare(fxscope.models.load_model(NETWORK), torch.zeros(BATCH, 1, 32, 32))
    loop(reader, fxscope.Preprocess.of(NETWORK), count)
    middle = time.process_time()
    with tempfile.TemporaryDirectory() as out:
        options = {"batch": BATCH, "shard": SHARD, "limit": count, "progress": False}
        fxscope.study(NETWORK, {"dataset": digits}, "residual_share", out, **options)
    return middle - start, time.process_time() - middle


def overhead(count: int) -> dict:
    """What an image costs in a study and in the loop, between few images and many; and what a start costs."""
    torch.set_num_threads(1)
    seconds(SHARD)  # libraries are imported
    rounds = []
    for _ in range(5):
        few, many = seconds(SHARD), seconds(count)
        each = [(m - f) / (count - SHARD) for f, m in zip(few, many)]
        rounds.append((*each, each[1] / each[0], few[1] - few[0]))
    loop_s, study_s, ratio, start = (statistics.median(r) for r in zip(*rounds))
    names = {"loop_ms": 1e3 * loop_s, "study_ms": 1e3 * study_s, "ratio": ratio, "start_s": start}
    return {"what": "overhead", "images": count, **names}


def processes(count: int) -> dict:
    """Seconds between the first and the last file of one process and of two, which start alike."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "spec.toml"
        measures = '[[measures]]\nmeasure = "residual_share"\n'
        images = f'[images]\ndataset = "fxscope.studies:digits"\nlimit = {count}\n'
        spec.write_text(f'shard = 16\n[[networks]]\nmodel = "{NETWORK}"\n{images}{measures}')
        for number in (1, 2):
            out = Path(folder) / str(number)
            run = [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node",
                str(number),
            ]
            verb = ["-m", "fxscope", "study", str(spec), "--quiet", "--out", str(out)]
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*run, *verb], check=True, env=env, capture_output=True)
            times = sorted(p.stat().st_mtime for p in out.rglob("0*.parquet"))
            seconds[number] = (times[-1] - times[number - 1]) / (
                len(times) - number
            )  # a file, once all are at work
    return {
        "what": "processes",
        "images": count,
        "one_s": seconds[1],
        "two_s": seconds[2],
        "ratio": seconds[1] / seconds[2],
    }


def memory(count: int) -> dict:
    """Resident MiB while a study runs."""
    marks = []

    class Watched(list):
        def __getitem__(self, i: int) -> tuple:
            if i in (count // 10, count - 1):
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                marks.append(pages * 4096 / 2**20)
            return super().__getitem__(i)

    pictures = digits()
    given = Watched((pictures * -(-count // len(pictures)))[:count])
    with tempfile.TemporaryDirectory() as out:
        fxscope.study(NETWORK, given, "residual_share", out, batch=BATCH, hash="names", progress=False)
    return {"what": "memory", "images": count, "tenth_MiB": marks[0], "end_MiB": marks[-1]}


def main() -> None:
    """Measure, print and keep."""
    args = asked(__doc__, images=384)
    rows = [overhead(args.images), processes(2 * args.images), memory(10 * args.images)]
    for row in rows:
        print(json.dumps(row), flush=True)
    keep(rows, args.json)


if __name__ == "__main__":
    main()
