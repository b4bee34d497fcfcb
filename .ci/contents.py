"""``python .ci/contents.py dist/*``: the wheel and the sdist hold what they should, and no tests."""

import sys
import tarfile
import zipfile
from pathlib import Path

SHIPPED = ("fxscope/py.typed", "fxscope/models/data/", "fxscope/paper/tour/templates/page.html", "LICENSE")
SHIPPED += (
    "render/front/graph.js",
    "viewer/front/page.html",
    "viewer/front/page.js",
    "viewer/front/style.css",
    "viewer/runtime/runtime.json",
)
SHIPPED += ("viewer/runtime/ort-wasm-simd-threaded.wasm.gz", "viewer/runtime/LICENSE")


def names(path: Path) -> list[str]:
    """The files of a wheel, or of an sdist without its folder."""
    if path.suffix == ".whl":
        return zipfile.ZipFile(path).namelist()
    with tarfile.open(path) as archive:
        return [member.name.partition("/")[2] for member in archive.getmembers()]


def main(paths: list[str]) -> None:
    kinds = {Path(path).suffix for path in paths}
    assert kinds == {".whl", ".gz"}, f"one wheel and one sdist, got {paths}"
    for path in map(Path, paths):
        found = names(path)
        for wanted in SHIPPED:
            assert any(wanted in name for name in found), f"{path.name} has no {wanted}"
        weights = [name for name in found if name.endswith(".safetensors")]
        assert weights, f"{path.name} has no weights"
        tests = [name for name in found if name.startswith(("tests/", "docs/", "examples/"))]
        assert not tests, f"{path.name} holds {tests[:3]}"
        assert path.suffix == ".gz" or not [n for n in found if not n.startswith("fxscope")], path.name


if __name__ == "__main__":
    main(sys.argv[1:])
