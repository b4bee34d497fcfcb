"""``python .ci/renew_runtime.py [VERSION]``: take the runtime of pages from npm, pinned and with its hashes.

The build of onnxruntime-web that is taken is the one for WebAssembly alone: with SIMD, without WebGPU. It is
kept compressed, because pages carry it so. Its script is a module, and browsers make no worker of a module
from a page on disk; here it becomes a classic script that leaves its names in ``self.ort``.
"""

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOM = Path(__file__).parent.parent / "fxscope" / "viewer" / "runtime"
PACKAGE = "onnxruntime-web"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


def packed(version: str, folder: str) -> bytes:
    """The package of that version as npm gives it."""
    command = ["npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", folder]
    subprocess.run(command, check=True)
    (found,) = Path(folder).glob("*.tgz")
    return found.read_bytes()


def classic(module: str) -> str:
    """The script of a module without imports: in a function, and what it exports in ``self.ort``."""
    body, exported = re.fullmatch(
        r"(.*)export\{([^}]*)\};\s*(?://# sourceMappingURL=.*)?", module.strip(), re.S
    ).groups()
    pairs = (name.split(" as ") for name in exported.split(","))
    names = ",".join(f"{name[-1]}:{name[0]}" for name in pairs)
    licence, code = re.fullmatch(r"(/\*!.*?\*/\n)(.*)", body, re.S).groups()
    code = code.replace("import.meta.url", "self.location.href")
    assert "export{" not in code and "import.meta" not in code
    return f"{licence}(()=>{{{code}self.ort={{{names}}};}})();\n"


def main(version: str = "1.30.0") -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = packed(version, folder)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            read = {name: archive.extractfile(f"package/dist/{name}").read() for name in (SCRIPT, WASM)}
    read[SCRIPT] = classic(read[SCRIPT].decode()).encode()
    about = {
        "package": PACKAGE,
        "version": version,
        "licence": "MIT",
        "integrity": f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}",
        "files": {},
    }
    for name, data in read.items():
        (ROOM / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        about["files"][name] = hashlib.sha256(data).hexdigest()
    (ROOM / "runtime.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
