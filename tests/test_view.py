"""The viewer as a process of its own: it serves F, to its own page alone, whatever is thrown at it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pytest
import torch
from chromium import CHROMIUM
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import fxscope
from fxscope.images import photos
from fxscope.models import named
from fxscope.viewer import answers, server

NAME = "pixelshuffle4x"
SIDE = 24
ROUNDING = 1e-5  # of a row in float32, relative to its largest value


class Viewer:
    """A viewer that runs, and how its page would speak with it."""

    def __init__(self, process: subprocess.Popen, port: int, token: str) -> None:
        self.process, self.port, self.token = process, port, token
        self.own = f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, body=None, **heads: str) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host="Host" in heads)
            length = {"Content-Length": str(len(body))} if body is not None else {}
            for name, value in {**length, **heads}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())

    @property
    def allowed(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def told(self) -> list:
        status, body, _ = self.ask("GET", "/about", **self.allowed)
        assert status == 200
        return json.loads(body)

    def socket(self, token: str | None = None, origin: str | None = "own", **heads: str):
        """A socket as the page opens it."""
        return connect(
            f"ws://127.0.0.1:{self.port}/filters",
            subprotocols=["fxscope", token or self.token],
            origin=self.own if origin == "own" else origin,
            additional_headers=heads,
            max_size=None,
            proxy=None,
        )

    def open(self, name: str, body: bytes) -> tuple[int, dict | list]:
        status, found, _ = self.ask("POST", f"/photographs?name={quote(name)}", body, **self.allowed)
        return status, json.loads(found)


@contextlib.contextmanager
def viewing(*options: object) -> Iterator[Viewer]:
    command = [sys.executable, "-m", "fxscope.cli.main", "view", *map(str, options), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = []
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/#token=([\w-]+)", "".join(said))):
                said.append(process.stdout.readline())
                assert said[-1], process.stderr.read()
            yield Viewer(process, int(found[1]), found[2])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    with viewing(f"fxscope:{NAME}", "--policy", "freeze", "--policy", "taylor", "--size", SIDE) as found:
        yield found


def head(answer: bytes) -> tuple[int, int, float]:
    number, kind, scale, _ = struct.unpack("<IIff", answer[:16])
    return number, kind, scale


def wished(socket, verb: str, number: int = 1, **given) -> np.ndarray:
    socket.send(json.dumps({"id": number, "verb": verb, "given": given}))
    answer = socket.recv(timeout=60)
    assert head(answer) == (number, answers.SINGLE, 1.0), answer[16:]
    return np.frombuffer(answer[16:], "<f4")


def failed(socket, text: str) -> str:
    socket.send(text)
    answer = socket.recv(timeout=60)
    assert head(answer)[1] == answers.FAILED
    return answer[16:].decode()


def place(told: list, network: int = 0, photograph: int = 0) -> dict[str, str]:
    view = told[photograph][network]
    return {"network": view["network"], "photo": view["photo"]}


def png(picture: torch.Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "PNG")
    return file.getvalue()


def test_what_is_served_is_F(viewer):
    told = viewer.told()
    assert [v["name"] for v in told[0]] == [f"{NAME}, freeze", f"{NAME}, taylor"]
    with viewer.socket() as socket:
        for number, policy in enumerate(("freeze", "taylor")):
            at = place(told, number)
            x0 = torch.from_numpy(wished(socket, "x0", **at).copy()).reshape(1, 1, SIDE, SIDE)
            lin = fxscope.interpret(named.build(NAME), x0, policy=policy)
            y0, r = (wished(socket, verb, **at) for verb in ("record", "residual"))
            assert np.abs(y0 - lin.y0.flatten().numpy()).max() <= ROUNDING * np.abs(y0).max()
            flat = 40 * 4 * SIDE + 30
            row = wished(socket, "product", form="pullback", probe=[[flat, 1], [flat + 1, -2]], **at)
            own = lin.F.row((0, 40, 30)) - 2 * lin.F.row((0, 40, 31))
            assert np.abs(row - own.flatten().numpy()).max() <= ROUNDING * np.abs(row).max()
            law = row.astype(float) @ x0.flatten().double().numpy() + r[flat] - 2 * r[flat + 1]
            assert abs(law - (y0[flat] - 2 * y0[flat + 1])) <= 1e-5 * np.abs(y0).max()
            column = wished(socket, "product", form="replay", probe=[[7 * SIDE + 9, 1]], **at)
            own = lin.F.column((0, 7, 9)).flatten().numpy()
            assert np.abs(column - own).max() <= ROUNDING * np.abs(own).max()


def test_a_large_array_is_sent_in_half_precision():
    array = torch.randn(answers.HALF + 1, generator=torch.Generator().manual_seed(0)) * 1e6
    found = answers.encoded(7, array, 1.5)
    number, kind, scale = head(found)
    assert (number, kind) == (7, answers.HALVES)
    assert len(found) == 16 + 2 * array.numel()
    back = np.frombuffer(found[16:], "<f2").astype(float) * scale
    assert np.abs(back - array.numpy()).max() <= 2**-11 * scale
    assert answers.encoded(7, torch.zeros(answers.HALF + 1), 0)[16:] == bytes(2 * (answers.HALF + 1))


def test_the_page_needs_no_token_and_holds_no_secret(viewer):
    status, body, heads = viewer.ask("GET", "/")
    assert status == 200
    assert viewer.token.encode() not in body
    assert b"astronaut" not in body
    assert "default-src 'none'" in heads["content-security-policy"]
    assert not [name for name in heads if name.startswith("access-control")]
    assert heads["cross-origin-resource-policy"] == "same-origin"


def foreign(viewer: Viewer) -> list[tuple[str, str, dict[str, str]]]:
    """Requests that are not of the viewer's own page."""
    own, allowed = {"Origin": viewer.own}, viewer.allowed
    hosts = (
        "evil.example",
        f"evil.example:{viewer.port}",
        f"127.0.0.1:{viewer.port}.evil.example",
        "127.0.0.1",
    )
    return [
        *[("GET", path, {**allowed, "Host": host}) for host in hosts for path in ("/", "/about")],
        *[
            ("GET", "/about", {**allowed, "Origin": o})
            for o in ("http://evil.example", "null", viewer.own + "0")
        ],
        ("POST", "/photographs?name=a", {**allowed, "Origin": "https://127.0.0.1"}),
        ("GET", "/about", own),
        ("POST", "/photographs?name=a", own),
        ("GET", "/about", {"Authorization": "Bearer "}),
        ("GET", "/about", {"Authorization": f"Bearer {viewer.token}x"}),
        ("GET", f"/about?token={viewer.token}", {}),
    ]


def test_what_comes_from_elsewhere_is_refused(viewer):
    before = viewer.told()
    for method, path, heads in foreign(viewer):
        status, body, answered = viewer.ask(method, path, b"" if method == "POST" else None, **heads)
        assert status == 403, (method, path, heads)
        assert b"server answers" in body or b"token" in body
        assert not [name for name in answered if name.startswith("access-control")]
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert viewer.ask("OPTIONS", "/photographs", **preflight)[0] == 403
    assert viewer.told() == before


@pytest.mark.parametrize(
    "given",
    [
        {"origin": None},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"token": "another"},
        {"origin": "http://localhost:1"},
    ],
    ids=str,
)
def test_a_socket_from_elsewhere_is_refused(viewer, given):
    with pytest.raises(InvalidStatus, match="403"), viewer.socket(**given):
        pass


def test_no_request_names_a_file(viewer):
    for path in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/front/page.js",
        "/photographs/1",
    ):
        assert viewer.ask("GET", path, **viewer.allowed)[0] in (404, 405), path
    at = place(viewer.told())
    with viewer.socket() as socket:
        for change in (
            {"photo": "../../etc/passwd"},
            {"network": "/etc/passwd"},
            {"network": None},
            {"photo": 0},
        ):
            wish = json.dumps({"id": 1, "verb": "x0", "given": {**at, **change}})
            assert "not open" in failed(socket, wish)


BROKEN = [
    ("no JSON", "{"),
    ("a list", "[1]"),
    ("a number that is none", '{"id": "1", "verb": "x0", "given": {}}'),
    ("a deep list", "[" * 100_000),
]


@pytest.mark.parametrize("text", [text for _, text in BROKEN], ids=[name for name, _ in BROKEN])
def test_a_broken_wish_is_answered(viewer, text):
    with viewer.socket() as socket:
        assert "JSON" in failed(socket, text)
        wished(socket, "x0", **place(viewer.told()))


@pytest.mark.parametrize(
    "probe",
    [
        [],
        [[0]],
        [[-1, 1]],
        [[SIDE * SIDE, 1]],
        [[0.5, 1]],
        [[0, "1"]],
        [[True, 1]],
        [[0, 1e300]],
        "0",
        None,
        [[0, 1]] * 20_000,
    ],
    ids=lambda p: str(p)[:20],
)
def test_a_wrong_probe_is_answered(viewer, probe):
    given = {**place(viewer.told()), "form": "replay", "probe": probe}
    with viewer.socket() as socket:
        said = failed(socket, json.dumps({"id": 3, "verb": "product", "given": given}))
        assert said.startswith("a probe ")
        assert "form" in failed(
            socket, json.dumps({"id": 3, "verb": "product", "given": {**given, "form": "x"}})
        )
        assert "verb" in failed(socket, json.dumps({"id": 3, "verb": "exit", "given": given}))


def test_a_thousand_wishes_at_once_are_answered_and_nobody_else_waits_long(viewer):
    at = {**place(viewer.told()), "form": "pullback"}
    with viewer.socket() as greedy, viewer.socket() as modest:
        for number in range(1000):
            given = {**at, "probe": [[number, 1]]}
            greedy.send(json.dumps({"id": number, "verb": "product", "given": given}))
        wished(modest, "product", probe=[[5, 1]], **at)
        kinds = {}
        while len(kinds) < 1000:
            number, kind, _ = head(greedy.recv(timeout=60))
            assert number not in kinds
            kinds[number] = kind
    assert kinds[999] == answers.SINGLE  # the newest is computed
    assert set(kinds.values()) <= {answers.SINGLE, answers.DROPPED}


def test_a_body_without_end_is_refused(viewer):
    before = viewer.told()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up before all is sent
        status, body, _ = viewer.ask("POST", "/photographs?name=a", bytes(100_000_000), **viewer.allowed)
        assert status == 413
        assert b"32 MB" in body
    assert viewer.told() == before


def test_a_large_message_closes_its_socket_alone(viewer):
    with viewer.socket() as other:
        with viewer.socket() as socket:
            socket.send("x" * (server.MESSAGE + 1))
            with pytest.raises(ConnectionClosed, match="1009|too big"):
                socket.recv(timeout=60)
        wished(other, "x0", **place(viewer.told()))


@pytest.mark.full
def test_photographs_are_opened(viewer):
    before = viewer.told()
    status, views = viewer.open("../a cat.png", png(photos.shipped("chelsea")))
    assert status == 200
    assert len(views) == 2
    with viewer.socket() as socket:
        x0 = wished(socket, "x0", network="network-0", photo=views[0]["photo"])
        assert x0.size == SIDE * SIDE
    _, again = viewer.open("../a cat.png", png(photos.shipped("coffee")))
    assert again[0]["photo"] != views[0]["photo"]
    assert viewer.told() == [*before, views, again]
    for number in range(20):  # the first stays, and of the others the newest
        viewer.open(f"{number}.png", png(torch.rand(3, 40, 40)))
    names = [views[0]["photo"] for views in viewer.told()]
    assert names[0] == before[0][0]["photo"]
    assert names[-1] == "19.png"
    assert len(names) == 16


def bomb() -> bytes:
    file = io.BytesIO()
    Image.new("1", (20_000, 5_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not an image"),
        (b"no image at all", "not an image"),
        (png(torch.rand(3, 40, 40))[:-100], "not an image"),
        (bomb(), "50,000,000 are allowed"),
        (png(torch.rand(3, 2, 2)), "2 x 2|smaller|larger"),
    ],
    ids=["empty", "text", "cut", "bomb", "tiny"],
)
def test_a_broken_photograph_is_answered(viewer, body, said):
    before = viewer.told()
    status, found = viewer.open("a.png", body)
    assert status == 422
    assert re.search(said, found["error"])
    assert viewer.told() == before


@pytest.mark.full
def test_ctrl_c_ends_it_also_while_a_page_is_open():
    with viewing(f"fxscope:{NAME}", "--size", SIDE) as own, own.socket():
        own.process.send_signal(signal.SIGINT)
        assert own.process.wait(timeout=20) == 0
        assert "Traceback" not in own.process.stderr.read()


@pytest.mark.full
def test_a_port_that_is_taken_is_an_error(viewer):
    command = [
        sys.executable,
        "-m",
        "fxscope.cli.main",
        "view",
        f"fxscope:{NAME}",
        "--port",
        str(viewer.port),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {viewer.port} cannot be used" in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_in_a_browser(viewer, tmp_path):
    from playwright.sync_api import sync_playwright

    (tmp_path / "cat.png").write_bytes(png(photos.shipped("chelsea")))
    (tmp_path / "no.png").write_text("no image")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{viewer.own}/#token={viewer.token}")
        page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        page.wait_for_function("() => fxscope.cards.every((c) => c.turn === c.shown && c.r)", timeout=60_000)
        assert all("holds" in law for law in page.locator("p.law").all_inner_texts())
        page.set_input_files("input[type=file]", tmp_path / "cat.png")
        page.wait_for_function("() => fxscope.cards[0].about.photo === 'cat.png'", timeout=60_000)
        page.set_input_files("input[type=file]", tmp_path / "no.png")
        page.get_by_text("no.png is not an image").wait_for(timeout=60_000)
        page.keyboard.press("c")
        page.wait_for_function("() => location.hash.includes('mode=column')", timeout=60_000)
        page.reload()
        page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        page.wait_for_function(
            "() => fxscope.cards[0].about.photo === 'cat.png' && fxscope.wanted.mode === 'column'",
            timeout=60_000,
        )
        stranger = browser.new_page()
        stranger.goto(f"{viewer.own}/#token=another")
        stranger.get_by_text("token is of another run").wait_for(timeout=60_000)
        browser.close()
    assert not wrong
    assert all(url.startswith((viewer.own, "blob:")) for url in asked)
