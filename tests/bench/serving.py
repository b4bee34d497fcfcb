"""What an explanation costs over HTTP and in C++, against the plain network served in the same way.

    OMP_NUM_THREADS=1 python tests/bench/serving.py [--networks NAME,...] [--json FILE]

examples/serving/service.py serves two files of one signature: emit="row", and the plain network, which gives
the image back in place of the row, so that both answers are equally long. "call" is a call of the file in
Python, "C++" one in a program; there B images are one batch, and times are of the processor. "HTTP" is the
time by the clock from the requests of B clients until all have their answers; "HTTP, one by one" is without
batching (--batch 1). "row" explains a given output; "top" the largest, from the same file, in two calls;
"argmax" the largest, from a file of emit="argmax". Medians of interleaved runs.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import io
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torchvision
from asked import asked, keep
from products import medians

import fxscope
from fxscope import models

SERVING = Path(__file__).parents[2] / "examples" / "serving"
NETWORKS = {
    "digits_resnet": (models.digits_resnet, (1, 32, 32), 9),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), (3, 224, 224), 1),
}  # the network, its image, and how many times more runs it takes
CLIENTS = (1, 8)
MEASURED = ("row", "top", "argmax")


class Plain(torch.nn.Module):
    """The plain network with the signature of emit="row"."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x0, index):
        y0 = self.model(x0)
        return y0, x0.unsqueeze(0), y0.new_zeros(index.shape[0], index.shape[1])


def saved(model, x0: torch.Tensor, folder: Path) -> dict[str, Path]:
    index = torch.zeros(1, len(x0), dtype=torch.int64)
    paths = {"plain": folder / "plain.ts", "row": folder / "row.ts"}
    torch.jit.trace(Plain(model), (x0, index)).save(paths["plain"])
    fxscope.save(fxscope.transform(model, "row", probes="stacked"), paths["row"], (x0, index))
    fxscope.save(fxscope.transform(model, "argmax", probes="stacked"), folder / "argmax.ts", (x0,))
    return paths


@contextlib.contextmanager
def service(path: Path, shape, *options: str):
    """A service of the file; gives its port."""
    command = [sys.executable, str(SERVING / "service.py"), str(path), "--port", "0", *options]
    command += ["--shape", *map(str, shape)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            while line and not re.search(r"running on", line):
                line = process.stderr.readline()
            yield int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])
        finally:
            process.terminate()


def ask(port: int, index: str, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(connection):
        connection.request("POST", f"/explain?format=npy&index={index}", body)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()


def over_http(paths: dict[str, Path], shape, place: str, clients: int, runs: int, *options: str) -> dict:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).random(shape, np.float32))
    with (
        service(paths["plain"], shape, *options) as plain,
        service(paths["row"], shape, *options) as row,
        service(paths["row"].with_name("argmax.ts"), shape, *options) as argmax,
        ThreadPoolExecutor(clients) as pool,
    ):

        def together(port: int, index: str) -> None:
            list(pool.map(lambda _: ask(port, index, file.getvalue()), range(clients)))

        calls = {"plain": (plain, place), "row": (row, place), "top": (row, "top"), "argmax": (argmax, "top")}
        for port, index in calls.values():
            together(port, index)  # TorchScript optimises for a new size of the batch
        return medians({n: lambda c=c: together(*c) for n, c in calls.items()}, runs)


def in_python(paths: dict[str, Path], shape, batch: int, runs: int) -> dict:
    x0, index = torch.rand(batch, *shape), torch.zeros(1, batch, dtype=torch.int64)
    graphs = {name: torch.jit.load(path) for name, path in paths.items()}
    for _ in range(2):
        for graph in graphs.values():
            graph(x0, index)
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(runs):
        for name, graph in graphs.items():
            start = time.process_time()
            graph(x0, index)
            times[name].append(time.process_time() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def compiled(folder: Path) -> Path:
    spec = importlib.util.spec_from_file_location("build", SERVING / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    source = str(Path(__file__).with_suffix(".cpp"))
    subprocess.run([*build.command(source, str(folder / "serving")), "-O1"], check=True)
    return folder / "serving"


def in_cpp(program: Path, paths: dict[str, Path], shape, batch: int, runs: int) -> dict:
    sizes = ",".join(map(str, shape))
    command = [str(program), str(runs), sizes, str(batch), *map(str, paths.values())]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {name: float(ms) / 1e3 for name, ms in zip(paths, found)}


def measure(name: str, program: Path, folder: Path, runs: int) -> list[dict]:
    make, shape, more = NETWORKS[name]
    runs *= more
    model = make().eval().requires_grad_(False)
    paths = saved(model, torch.rand(2, *shape), folder)
    outputs = model(torch.rand(1, *shape)).shape[1:]
    place = ",".join(str(n // 2) for n in outputs)
    rows = []
    for clients in CLIENTS:
        ways = {
            "call": lambda: in_python(paths, shape, clients, runs),
            "C++": lambda: in_cpp(program, paths, shape, clients, runs),
            "HTTP": lambda: over_http(paths, shape, place, clients, runs),
        }
        if clients > 1:
            ways["HTTP, one by one"] = lambda: over_http(
                paths, shape, place, clients, runs, "--batch", "1", "--wait", "0"
            )
        for way, found in ((way, measured()) for way, measured in ways.items()):
            ratios = {f"{n} / plain": found.get(n, math.nan) / found["plain"] for n in MEASURED}
            rows.append(
                {
                    "network": name,
                    "way": way,
                    "B": clients,
                    "plain_ms": found["plain"] * 1e3,
                    "row_ms": found["row"] * 1e3,
                    **{n: "" if math.isnan(r) else r for n, r in ratios.items()},
                }
            )
            print(
                "  ".join(
                    f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()
                ),
                flush=True,
            )
    return rows


def main() -> None:
    args = asked(__doc__, networks=NETWORKS, runs=7)
    with torch.inference_mode(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        program = compiled(Path(folder))
        rows = [r for name in args.networks for r in measure(name, program, Path(folder), args.runs)]
    keep(rows, args.json)


if __name__ == "__main__":
    main()
