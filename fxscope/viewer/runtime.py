"""The runtime that pages carry: onnxruntime-web for WebAssembly, as ``.ci/renew_runtime.py`` took it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "runtime"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


def about() -> dict[str, Any]:
    """Package, version, licence, npm's hash of the package, and the hashes of the unpacked files."""
    return json.loads((FOLDER / "runtime.json").read_text())


def packed(name: str) -> bytes:
    """A file of the runtime, gzipped."""
    return (FOLDER / f"{name}.gz").read_bytes()


def licence() -> str:
    """The text of its licence."""
    return (FOLDER / "LICENSE").read_text()
