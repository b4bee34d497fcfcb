"""Write a folder for a web server: the page, and all that is large in files that it fetches."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..errors import FxscopeError
from ..results.files import replacing
from . import front, runtime
from .build import Networks, made_by
from .subject import Subject

# what a server adds to every file, so that browsers share memory between the threads of the page
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def write_folder(
    folder: str | Path, subjects: list[Subject], half: bool = False, smaller: int | None = None
) -> int:
    """Write the folder of a page about networks at the same photographs; the number of its bytes.

    With ``half`` and ``smaller`` as in ``write``.

    Raises
    ------
    FxscopeError
        If a network cannot be exported, or if the folder cannot be written.
    """
    files, found = _Files(Path(folder)), Networks(subjects, half, smaller)
    networks: list[dict[str, Any]] = []
    weights: list[dict[str, Any]] = []
    for number, made in enumerate(found):
        own = f"network-{number}"
        graphs = {form: files.add(f"{own}/{form}.onnx", data) for form, data in made.graphs.items()}
        arrays = {
            name: files.add(f"{own}/{name.replace('/', '-')}.f32", d) for name, d in made.arrays.items()
        }
        about = {"id": own, "graphs": graphs, "arrays": arrays, "weights": made.weights}
        networks.append({**about, "views": made.views})
    for kept, stored in found.weights():
        weights.append({**kept, "address": files.add(f"{kept['name']}.bin", stored)})
    told = {"networks": networks, "weights": weights, "photos": found.photos, **_code(files)}
    files.add("index.html", _html(told, found.names).encode())
    files.add("_headers", _headers().encode())
    return files.bytes


class _Files:
    """The files of a folder, each written as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bytes = folder, 0

    def add(self, name: str, data: bytes) -> str:
        """Write a file; its address, with a part of its hash, so that no browser keeps an older one."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FxscopeError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
        with replacing(path) as new:
            new.write_bytes(data)
        self.bytes += len(data)
        return f"{name}?{hashlib.sha256(data).hexdigest()[:12]}"


def _code(files: _Files) -> dict[str, Any]:
    """The worker and both builds of the runtime; a browser fetches one of them."""
    write = {name: files.add(f"runtime/{name}", runtime.unpacked(name)) for name in runtime.FILES}
    files.add("runtime/LICENSE", runtime.licence().encode())
    pairs = {"cpu": (runtime.SCRIPT, runtime.WASM), "gpu": (runtime.GPU_SCRIPT, runtime.GPU_WASM)}
    used = {way: [write[name] for name in names] for way, names in pairs.items()}
    return {"worker": files.add("worker.js", front.script("worker.js").encode()), "runtime": used}


def _html(about: dict[str, Any], names: list[str]) -> str:
    footer = f"<p>{made_by('in your browser')} The page asks nothing but its own files of its server.</p>"
    more = " 'wasm-unsafe-eval'; worker-src 'self'"
    data = front.as_data("fxscope-about", about)
    title = front.title_of(names)
    kind = front.about(about["networks"][0]["views"][0])
    return front.page("folder.js", title, "in your browser", footer, "'self'", data, more, kind)[0]


def _headers() -> str:
    """The headers as several hosts of static files read them; ``docs/how-to/live-page.md`` has others."""
    return "/*\n" + "".join(f"  {name}: {value}\n" for name, value in ISOLATION.items())
