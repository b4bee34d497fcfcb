"""Write the page: one HTML file with the networks, the photographs, the runtime and the front end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..errors import FxscopeError
from ..results.files import check_writable, write_text
from . import front, runtime
from .graphs import Pool, graphs_of
from .packing import compressed, in_planes, pack, written
from .subject import Subject, check_for_page, reduced

LIMIT = 64  # MB of a page


def write(
    path: str | Path,
    subjects: list[Subject],
    limit: float = LIMIT,
    half: bool = False,
    smaller: int | None = None,
) -> int:
    """Write a page about networks at the same photographs; the number of its bytes.

    With ``half``, weights are stored in float16 and used in float32. With ``smaller``, networks of images are
    there a second time, at so many pixels to each side.

    Raises
    ------
    FxscopeError
        If a network cannot be exported, or if the page would be larger than ``limit`` MB.
    """
    check_writable(path)
    found = Networks(subjects, half, smaller)
    blocks: dict[str, str] = {}
    networks, weights = [], []
    for number, made in enumerate(found):
        index, packed = pack({**made.graphs, **made.arrays})
        blocks[f"network-{number}"] = written(compressed(packed))
        about = {"id": f"network-{number}", "parts": index, "weights": made.weights}
        networks.append({**about, "views": made.views})
    for told, stored in found.weights():
        blocks[told["name"]] = written(compressed(in_planes(stored, told["planes"])))
        weights.append(told)
    text = _html({"networks": networks, "weights": weights, "photos": found.photos}, blocks, found.names)
    _check_size(text, blocks, networks, limit)
    write_text(path, text)
    return len(text.encode())


@dataclass(frozen=True)
class Network:
    """A network of a page: its graphs, arrays by their names, and what the front end is told of its views."""

    graphs: dict[str, bytes]
    weights: str
    arrays: dict[str, bytes]
    views: list[dict[str, Any]]


class Networks:
    """The networks of a page, each checked and exported when it is its turn.

    Those of one model, under several policies or at several sizes, share their weights.

    Parameters
    ----------
    subjects, half, smaller
        As ``write`` takes them.
    """

    def __init__(self, subjects: list[Subject], half: bool, smaller: int | None) -> None:
        small = [reduced(s, smaller) for s in subjects if smaller and s.kind == "images"]
        self.subjects, self.half = [*subjects, *small], half
        self.names = list(dict.fromkeys(s.name for s in subjects))
        self.photos = list(dict.fromkeys(v.photo for s in self.subjects for v in s.views))
        self._pools: dict[int, Pool] = {}

    def __iter__(self) -> Iterator[Network]:
        for subject in self.subjects:
            lin = subject.views[0].lin
            check_for_page(lin, subject.name)
            arrays: dict[str, bytes] = {}
            for i, view in enumerate(subject.views):
                arrays |= view.arrays(i)
            pool = self._pools.setdefault(id(lin.model), Pool(self.half))
            name = f"weights-{list(self._pools).index(id(lin.model))}"
            yield Network(graphs_of(lin, subject.name, pool), name, arrays, subject.described)

    def weights(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """What the front end is told of the weights of each model, and how they are stored."""
        for number, pool in enumerate(self._pools.values()):
            about = {"name": f"weights-{number}", "planes": 2 if self.half else 4}
            yield {**about, "pieces": pool.pieces if self.half else None}, pool.stored


def _html(about: dict[str, Any], blocks: dict[str, str], names: list[str]) -> str:
    kind = front.about(about["networks"][0]["views"][0])
    return shell(front.title_of(names), kind, f"{shared_data()}\n{own_data(about, blocks)}")


def shell(title: str, kind: str, data: str) -> str:
    """The page, with the elements that its script reads."""
    footer = f"<p>{made_by('in this page')} The page asks nothing of any server.</p>"
    given = {"data": data, "more": " 'wasm-unsafe-eval'; worker-src blob:"}
    return front.page("page.js", title, "in this page", footer, about=kind, **given)[0]


def made_by(where: str) -> str:
    """What made a page, and what computes in it."""
    known = runtime.about()
    used = f"{known['package']} {known['version']} ({known['licence']} licence)"
    return f"Made by fxscope {__version__}. The network computes {where} with {used}."


def shared_data() -> str:
    """The elements that are the same in every page: the runtime and the worker. No browser runs them."""
    texts = {
        "fxscope-worker": front.script("worker.js"),
        "fxscope-runtime": written(compressed(runtime.classic().encode())),
        "fxscope-wasm": written(runtime.packed(runtime.WASM)),
    }
    return f"<!--\n{runtime.licence()}-->\n{_elements(texts)}"


def own_data(about: dict[str, Any], blocks: dict[str, str]) -> str:
    """The elements of a page's own networks: what is said of them, and their blocks."""
    return f"{front.as_data('fxscope-about', about)}\n{_elements(blocks)}"


def _elements(texts: dict[str, str]) -> str:
    return "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in texts.items())


def _check_size(text: str, blocks: dict[str, str], networks: list[dict[str, Any]], limit: float) -> None:
    size = len(text.encode()) / 1e6
    if size <= limit:
        return
    sizes = {n["views"][0]["name"]: len(blocks[n["id"]]) + len(blocks[n["weights"]]) for n in networks}
    each = ", ".join(f"{name} {letters / 1e6:.1f}" for name, letters in sizes.items())
    raise FxscopeError(
        f"the page would be {size:.1f} MB ({each}, the runtime"
        f" {len(runtime.packed(runtime.WASM)) * 5 / 4e6:.1f}), and the limit is {limit:g}: give --limit"
        f" {int(size) + 1}, --half (weights in float16), --folder (for a web server), or a smaller network"
    )
