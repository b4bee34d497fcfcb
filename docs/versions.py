"""``python docs/versions.py OUT BUILD...``: the documentation of several versions, side by side.

BUILD is what ``sphinx-build`` made of one version (of this one, and of those that have this file). The folder
OUT then holds a folder for each, with links from every page to the same page of the others, and an
``index.html`` that leads to the newest. It needs no server: it can be opened from disk, copied to any place,
and made again with one more BUILD.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from versions import LIST, newest, read, written


def collect(out: Path, builds: list[Path]) -> dict[str, list[str]]:
    """Copy builds into ``out``, beside the versions that are there; the pages of each version."""
    for build in builds:
        if not (build / LIST).is_file():
            raise SystemExit(f"{build} is no build of this documentation: it has no {LIST}")
        found = read(build / LIST)
        if len(found) != 1:
            raise SystemExit(f"{build} is one of several versions already; give the build itself")
        (version,) = found
        shutil.copytree(build, out / version, dirs_exist_ok=True)
        (out / version / LIST).write_text(written(found), encoding="utf-8")
    pages: dict[str, list[str]] = {}
    for path in sorted(out.glob(f"*/{LIST}")):
        version = path.parents[1].name
        pages[version] = read(path)[version]
    order = sorted(pages, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
    pages = {version: pages[version] for version in order}
    for version in pages:
        (out / version / LIST).write_text(written(pages), encoding="utf-8")
    to = f"{newest(pages)}/index.html"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>fxscope</title>'
        f'<meta http-equiv="refresh" content="0; url={to}"><p><a href="{to}">fxscope</a></p></html>\n'
    )
    (out / "index.html").write_text(page, encoding="utf-8")
    return pages


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    made = collect(Path(sys.argv[1]), [Path(build) for build in sys.argv[2:]])
    print("\n".join(f"{version}: {len(pages)} pages" for version, pages in made.items()))
