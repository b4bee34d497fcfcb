"""The runtime that pages carry: onnxruntime-web, as ``.ci/renew_runtime.py`` took it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "runtime"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
GPU_SCRIPT, GPU_WASM = "ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"
FILES = (SCRIPT, WASM, GPU_SCRIPT, GPU_WASM)


def about() -> dict[str, Any]:
    """Package, version, licence, npm's hash of the package, and the hashes of the unpacked files."""
    return json.loads((FOLDER / "runtime.json").read_text())


def packed(name: str) -> bytes:
    """A file of the runtime, gzipped."""
    return (FOLDER / f"{name}.gz").read_bytes()


def unpacked(name: str) -> bytes:
    """A file of the runtime."""
    return gzip.decompress(packed(name))


def licence() -> str:
    """The text of its licence."""
    return (FOLDER / "LICENSE").read_text()


def classic() -> str:
    """The script as no module: browsers make no worker of a module from a page on disk.

    It is in a function, and leaves what the module exports in ``self.ort``.
    """
    module = unpacked(SCRIPT).decode().strip()
    found = re.fullmatch(r"(/\*!.*?\*/\n)(.*)export\{([^}]*)\};\s*(?://# sourceMappingURL=.*)?", module, re.S)
    assert found, f"{SCRIPT} is no module of one export"
    licence, code, exported = found.groups()
    pairs = (name.split(" as ") for name in exported.split(","))
    names = ",".join(f"{name[-1]}:{name[0]}" for name in pairs)
    code = code.replace("import.meta.url", "self.location.href")
    assert "export{" not in code and "import.meta" not in code
    return f"{licence}(()=>{{{code}self.ort={{{names}}};}})();\n"
