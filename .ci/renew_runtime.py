"""``python .ci/renew_runtime.py [VERSION]``: take the runtime of pages from npm, pinned and with its hashes.

Two builds of onnxruntime-web are taken, both with SIMD and threads: the one for WebAssembly alone, which every
page carries, and the one with WebGPU that waits for the device through JSPI, which folders carry beside it. The
two other builds with WebGPU are 28 MB where this one is 17. They are kept compressed.
"""

import base64
import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from fxscope.viewer.runtime import FILES, FOLDER

PACKAGE = "onnxruntime-web"


def packed(version: str, folder: str) -> bytes:
    """The package of that version as npm gives it."""
    command = ["npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", folder]
    subprocess.run(command, check=True)
    (found,) = Path(folder).glob("*.tgz")
    return found.read_bytes()


def main(version: str = "1.30.0") -> None:
    with tempfile.TemporaryDirectory() as folder:
        content = packed(version, folder)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            read = {name: archive.extractfile(f"package/dist/{name}").read() for name in FILES}
    about = {
        "package": PACKAGE,
        "version": version,
        "licence": "MIT",
        "integrity": f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}",
        "files": {},
    }
    for name, data in read.items():
        (FOLDER / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        about["files"][name] = hashlib.sha256(data).hexdigest()
    (FOLDER / "runtime.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
