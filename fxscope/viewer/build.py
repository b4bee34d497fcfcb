"""Write the page: one HTML file with the networks, the photographs, the runtime and the front end."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import FxscopeError
from ..results.files import check_writable, write_text
from . import front, runtime
from .graphs import SHARED, graphs_of
from .subject import Subject, check_for_page

LIMIT = 64  # MB of a page
_ALIGNED = 64


def write(path: str | Path, subjects: list[Subject], limit: float = LIMIT, half: bool = False) -> int:
    """Write a page about networks at the same photographs; the number of its bytes.

    With ``half``, weights are stored in float16 and used in float32.

    Raises
    ------
    FxscopeError
        If a network cannot be exported, or if the page would be larger than ``limit`` MB.
    """
    check_writable(path)
    blocks: dict[str, bytes] = {}
    networks = []
    for number, subject in enumerate(subjects):
        check_for_page(subject.views[0].lin, subject.name)
        found = graphs_of(subject.views[0].lin, subject.name, half)
        parts = {**found.parts, SHARED: found.stored}
        for i, view in enumerate(subject.views):
            parts |= view.arrays(i)
        index, packed = pack(parts)
        blocks[f"network-{number}"] = gzip.compress(packed, 9, mtime=0)
        about = {"id": f"network-{number}", "parts": index, "pieces": found.pieces}
        networks.append({**about, "views": subject.described})
    photos = [view.photo for view in subjects[0].views]
    text = _html({"photos": photos, "networks": networks}, blocks, [s.name for s in subjects])
    _check_size(text, blocks, subjects, limit)
    write_text(path, text)
    return len(text.encode())


def pack(parts: dict[str, bytes]) -> tuple[list[tuple[str, int, int]], bytes]:
    """[(name, first byte, length)], and all parts one after the other."""
    index, packed = [], bytearray()
    for name, data in parts.items():
        packed.extend(bytes(-len(packed) % _ALIGNED))
        index.append((name, len(packed), len(data)))
        packed.extend(data)
    return index, bytes(packed)


def _html(about: dict[str, Any], blocks: dict[str, bytes], names: list[str]) -> str:
    known = runtime.about()
    used = f"{known['package']} {known['version']} ({known['licence']} licence)"
    footer = (
        f"<p>Made by fxscope {__version__}. The network computes in this page with {used}; the page asks"
        " nothing of any server.</p>"
    )
    title, more = front.title_of(names), " 'wasm-unsafe-eval'; worker-src blob:"
    return front.page("page.js", title, "in this page", footer, data=_data(about, blocks), more=more)[0]


def _data(about: dict[str, Any], blocks: dict[str, bytes]) -> str:
    """The parts of the page that its script reads: no browser runs them."""
    texts = {"fxscope-worker": front.text("worker.js")}
    packed = {"fxscope-runtime": runtime.packed(runtime.SCRIPT), "fxscope-wasm": runtime.packed(runtime.WASM)}
    texts |= {name: base64.b64encode(data).decode() for name, data in {**packed, **blocks}.items()}
    found = [f'<script type="text/plain" id="{name}">{text}</script>' for name, text in texts.items()]
    return "\n".join([f"<!--\n{runtime.licence()}-->", front.as_data("fxscope-about", about), *found])


def _check_size(text: str, blocks: dict[str, bytes], subjects: list[Subject], limit: float) -> None:
    size = len(text.encode()) / 1e6
    if size <= limit:
        return
    each = ", ".join(f"{s.name} {len(b) * 4 / 3e6:.1f}" for s, b in zip(subjects, blocks.values()))
    raise FxscopeError(
        f"the page would be {size:.1f} MB ({each}, the runtime"
        f" {len(runtime.packed(runtime.WASM)) * 4 / 3e6:.1f}), and the limit is {limit:g}: give --limit"
        f" {int(size) + 1}, --half (weights in float16), or a smaller network"
    )
