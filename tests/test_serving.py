"""Explanations over HTTP and from C++, by processes that cannot import fxscope, from files that it saved."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fxscope
from fxscope import models
from fxscope.images import photos
from fxscope.paper import datasets

SERVING = Path(__file__).parent.parent / "examples" / "serving"
WITHOUT = """
import runpy, sys
sys.modules["fxscope"] = None  # importing it is an error
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SHAPE = (3, 28, 36)


def save(model, path: Path, x0: torch.Tensor, emit: str = "row") -> Path:
    index = torch.zeros(1, len(x0), dtype=torch.int64)
    graph = fxscope.transform(model, emit, probes="stacked")
    fxscope.save(graph, path, (x0, index) if emit == "row" else (x0,))
    return path


@contextlib.contextmanager
def serving(path: Path, *options: object) -> Iterator[tuple[subprocess.Popen, int]]:
    """The service of a file as a process of its own, and the port that it took."""
    command = [sys.executable, "-u", "-c", WITHOUT, SERVING / "service.py", path, "--port", 0, *options]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        try:
            told = []
            while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", "".join(told))):
                told.append(process.stderr.readline())
                assert told[-1], "".join(told)
            yield process, int(found[1])
        finally:
            process.kill()


def stopped(process: subprocess.Popen, by: signal.Signals) -> None:
    """A signal ends the service, with exit code 0 and no traceback in what it wrote."""
    process.send_signal(by)
    written = process.communicate(timeout=60)[1]
    assert process.returncode == 0 and "Traceback" not in written, written


def ask(port: int, query: str, body: bytes, method: str = "POST") -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, query, body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def explained(port: int, index: str, body: bytes) -> dict:
    status, _, text = ask(port, f"/explain?index={index}", body)
    assert status == 200, text
    return json.loads(text)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def close(found: object, expected: object, within: float = 1e-9) -> None:
    found, expected = (torch.as_tensor(v, dtype=torch.float64) for v in (found, expected))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= within * expected.abs().max()


def holds(found: dict, lin: fxscope.LinearInterpreter, index: tuple[int, ...]) -> None:
    """An answer is what fxscope's own interpreter of that image says of that output."""
    row, score = lin.F.row(index), lin.y0[(0, *index)]
    assert tuple(found["index"]) == index
    close(found["row"], row)
    close(found["score"], score)
    close(found["residual"] + (row * lin.x0[0]).sum(), score)


def test_a_photograph_is_explained_over_http(tmp_path):
    """The painter's network; requests at the same time share a call and get each their own answer."""
    model = models.painter_resnet().double()
    photo = (photos.shipped("astronaut") * 255).byte().permute(1, 2, 0).numpy()
    crops = [photo[y : y + SHAPE[1], 200 : 200 + SHAPE[2]].copy() for y in range(60, 140, 10)]
    images = [torch.from_numpy(c).permute(2, 0, 1)[None].double() / 127.5 - 1 for c in crops]
    reader = fxscope.prepare(model, images[0])
    path = save(model, tmp_path / "painter.ts", images[0])
    normalised = ("--mean", 0.5, "--std", 0.5, 0.5, 0.5)
    with serving(path, "--shape", *SHAPE, *normalised, "--wait", 300, "--batch", 8) as (process, port):
        places = [(i % 3, 3 + i, 20 - 2 * i) for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            asked = [
                pool.submit(explained, port, ",".join(map(str, place)), png(crop))
                for place, crop in zip(places, crops)
            ]
            answers = [a.result() for a in asked]
        assert max(answer["batch"] for answer in answers) > 1
        for answer, x0, place in zip(answers, images, places):
            holds(answer, reader(x0), place)
        lin = reader(images[0])
        _formats(port, lin, png(crops[0]))
        _bad_requests(port, png(crops[0]))
        _hangs_up(port)
        again = explained(port, "top", npy(images[0][0].numpy()))
        assert again["batch"] == 1
        top = np.unravel_index(int(lin.y0.argmax()), lin.y0.shape[1:])
        holds(again, lin, tuple(map(int, top)))
        stopped(process, signal.SIGTERM)


def _formats(port: int, lin: fxscope.LinearInterpreter, body: bytes) -> None:
    row = lin.F.row((1, 9, 11))
    status, headers, file = ask(port, "/explain?index=1,9,11&format=npy", body)
    assert status == 200
    close(np.load(io.BytesIO(file)), row)
    close(float(headers["x-score"]), lin.y0[0, 1, 9, 11])
    status, headers, file = ask(port, "/explain?index=1,9,11&format=png", body)
    assert (status, headers["content-type"]) == (200, "image/png")
    drawn = torch.from_numpy(np.array(Image.open(io.BytesIO(file)))).permute(2, 0, 1)
    assert (drawn / 127.5 - 1 - row / row.abs().max()).abs().max() <= 0.5 / 127.5 + 1e-9


def _bad_requests(port: int, good: bytes) -> None:
    """Each is an error of the client's, told in one sentence."""
    header = npy(np.zeros((3, 28, 36)))[:128]
    huge = header.replace(b"(3, 28, 36)", b"(3000000000, 28, 36)")
    cases = [
        ("index=0,0,0", b"", 415, "not a PNG, JPEG or .npy"),
        ("index=0,0,0", b"not an image", 415, "not a PNG, JPEG or .npy"),
        ("index=0,0,0", good[:200], 415, "not a PNG, JPEG or .npy"),
        ("index=0,0,0", header, 415, "not a PNG, JPEG or .npy"),
        ("index=0,0,0", huge, 422, "(3000000000, 28, 36)"),
        ("index=0,0,0", npy(np.array([None])), 422, "(1,)"),
        ("index=0,0,0", npy(np.full(SHAPE, None)), 422, "object"),
        ("index=0,0,0", npy(np.zeros(SHAPE, complex)), 422, "complex128"),
        ("index=0,0,0", npy(np.full(SHAPE, np.nan)), 422, "not finite"),
        ("index=0,0,0", npy(np.full(SHAPE, 1.7e308)), 422, "overflows"),
        ("index=0,0,0", npy(np.zeros((1, *SHAPE))), 422, "(1, 3, 28, 36)"),
        (
            "index=0,0,0",
            png(np.zeros((36, 28, 3), np.uint8)),
            422,
            "(3, 36, 28), the network takes (3, 28, 36)",
        ),
        ("index=0,0,0", png(np.zeros(SHAPE[1:], np.uint16)), 415, "8 bits"),
        ("index=0,0,0", bytes(10**6), 413, "longer than"),
        ("index=3,0,0", good, 400, "output of 3,28,36"),
        ("index=0,28,0", good, 400, "output of 3,28,36"),
        ("index=-1,0,0", good, 400, "output of 3,28,36"),
        ("index=7", good, 400, "output of 3,28,36"),
        ("index=" + "9" * 5000, good, 400, "output of 3,28,36"),
        ("index=most", good, 400, "not 'top'"),
        ("index=0,0,0&format=svg", good, 400, "json, npy, png"),
    ]
    for query, body, expected, said in cases:
        status, _, text = ask(port, f"/explain?{query}", body)
        assert status == expected and said in json.loads(text)["error"], (query[:40], status, text)
    assert ask(port, "/explain", b"", "GET")[0] == 405 and ask(port, "/elsewhere", good)[0] == 404
    assert json.loads(ask(port, "/", b"", "GET")[2])["image"] == list(SHAPE)


def _hangs_up(port: int) -> None:
    """A client that leaves in the middle of its image."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /explain HTTP/1.1\r\nHost: here\r\nContent-Length: 5000\r\n\r\nabc")


@pytest.mark.full
def test_a_file_of_the_largest_output(tmp_path):
    """A grey photograph, torch.export's format, and the form that finds the index itself."""
    model = models.pixelshuffle4x().double()
    photo = (photos.shipped("camera") * 255).byte()[0, 100:120, 220:244].numpy()
    x0 = torch.from_numpy(photo)[None, None].double() / 255
    path = save(model, tmp_path / "top.pt2", x0, "argmax")
    with serving(path, "--shape", 1, 20, 24) as (process, port):
        lin = fxscope.interpret(model, x0)
        top = np.unravel_index(int(lin.y0.argmax()), lin.y0.shape[1:])
        holds(explained(port, "top", png(photo)), lin, tuple(map(int, top)))
        status, _, text = ask(port, "/explain?index=0,3,3", png(photo))
        assert status == 400 and "largest output alone" in json.loads(text)["error"]
        stopped(process, signal.SIGINT)


def test_a_file_that_explains_nothing_is_refused(tmp_path):
    path = tmp_path / "no.ts"
    path.write_bytes(b"no graph")
    done = subprocess.run(
        [sys.executable, SERVING / "service.py", path, "--shape", "1", "8", "8"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "explains no image of (1, 8, 8)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The C++ program, compiled."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++")
    spec = importlib.util.spec_from_file_location("build", SERVING / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    headers = [Path(flag[2:]) for flag in build.command("", "") if flag.startswith("-I")]
    if not any((h / "torch" / "script.h").exists() for h in headers):
        pytest.skip("the installed torch brings no C++ headers")
    target = tmp_path_factory.mktemp("serving") / "explain"
    done = subprocess.run(build.command(SERVING / "explain.cpp", target), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.full
def test_digits_are_explained_in_cpp(program, tmp_path):
    """One file in float32, one in float64: three images in one call are what fxscope says of each."""
    for dtype, within in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        model = models.digits_vgg().to(dtype)
        x0 = datasets.normalised(datasets.digits()[0][:3]).to(dtype)
        path = save(model, tmp_path / "digits.ts", x0)
        x0.numpy().tofile(tmp_path / "images.raw")
        done = _run(program, path, tmp_path, "7", "top", "3")
        assert done.returncode == 0, done.stderr
        rows = torch.from_numpy(np.fromfile(tmp_path / "rows.raw", x0.numpy().dtype)).reshape(x0.shape)
        lines = [line.split() for line in done.stdout.splitlines()]
        assert len(lines) == 3
        for b, (line, index) in enumerate(zip(lines, (7, None, 3))):
            lin = fxscope.interpret(model, x0[b : b + 1])
            index = int(lin.y0.argmax()) if index is None else index
            row, score = lin.F.row(index), lin.y0[0, index]
            assert int(line[0]) == index
            close(rows[b], row, within)
            close(float(line[1]), score, within)
            close(float(line[2]) + (rows[b].double() * x0[b].double()).sum(), score, within)
    bad = {("7", "3"): "24576 bytes", ("7", "top", "10"): "out of bounds", ("7", "-1", "3"): "whole number"}
    for indices, said in bad.items():
        done = _run(program, path, tmp_path, *indices)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and said in done.stderr, (
            done.stderr
        )


def _run(program: Path, path: Path, folder: Path, *indices: str) -> subprocess.CompletedProcess:
    command = [program, path, "1,32,32", folder / "images.raw", folder / "rows.raw", *indices]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)
