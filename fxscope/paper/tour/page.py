"""A self-contained HTML page of chapters; an interrupted run can be resumed."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..._version import __version__
from ...graph.interpretation import KEY, VERSION
from ...render import Drawing
from ...render import page as drawings
from ...results.files import replacing, write_text
from ...results.progress import steps
from ...results.provenance import digest
from ...results.records import plain
from ...viewer import policy, shared
from ..findings.finding import Finding
from .templating import environment


@dataclass
class Chapter:
    """The blocks of a chapter in order, each a dict with its kind; its numbers; its findings.

    ``networks`` is said of the findings that do not name theirs.
    """

    title: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    networks: str = ""

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append({"kind": "text", "text": text})

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.blocks.append({"kind": "heading", "text": text})

    def figure(self, name: str, figure: Any, caption: str) -> None:
        """Add a matplotlib figure or a ``Drawing``; its files are called ``name``."""
        self.blocks.append({"kind": "figure", "name": name, "figure": figure, "caption": caption})

    def live(self, name: str, figure: Any, caption: str, title: str, data: str) -> None:
        """Add a demonstration: a still picture, and the elements that it becomes when it is pressed."""
        block = {"figure": figure, "caption": caption, "title": title, "data": data}
        self.blocks.append({"kind": "live", "name": name, **block})

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        """Add a table of text cells."""
        self.blocks.append({"kind": "table", "head": head, "rows": rows, "caption": caption})

    def html(self, text: str) -> None:
        """Add HTML unchanged."""
        self.blocks.append({"kind": "html", "text": text})


@dataclass(frozen=True)
class Written:
    """The path of a page, and all its numbers."""

    page: Path
    numbers: dict
    findings: list[Finding]


class Page:
    """A folder with ``index.html``, ``numbers.json``, ``figures/`` and the finished chapters.

    A later run keeps the finished chapters. It makes a chapter again if ``key`` (the inputs of the chapters)
    has changed, or the version of the interpretation, of fxscope or of torch.
    """

    def __init__(
        self, out: str | Path, title: str, about: str, key: Any, formats: Sequence[str] = ("svg", "png")
    ) -> None:
        self.folder, self.title, self.about, self.formats = Path(out), title, about, tuple(formats)
        self.templates = environment()
        self.key = digest(json.dumps([__version__, torch.__version__, VERSION, plain(key)], sort_keys=True))
        (self.folder / "figures").mkdir(parents=True, exist_ok=True)
        (self.folder / "chapters").mkdir(exist_ok=True)

    def write(
        self, chapters: dict[str, Callable[[], Chapter]], progress: bool = True, last: str = ""
    ) -> Written:
        """Make the chapters that are missing, one after the other, and write all of them to the page.

        They stand there in their order; ``last`` is made after all others.
        """
        made: dict[str, dict] = {}
        with steps(len(chapters), "chapters", progress) as bar:
            for name in sorted(chapters, key=lambda name: name == last):
                if hasattr(bar, "set_postfix_str"):
                    bar.set_postfix_str(name)
                made[name] = self._finished(name) or self._make(name, chapters[name])
                bar.update(1)
        done = {name: made[name] for name in chapters}
        numbers = {name: part["numbers"] for name, part in done.items()}
        findings = [Finding(**f) for part in done.values() for f in part["findings"]]
        written = {
            "key": self.key,
            KEY: VERSION,
            "chapters": numbers,
            "findings": [asdict(f) for f in findings],
        }
        write_text(self.folder / "numbers.json", json.dumps(written, indent=2) + "\n")
        page = self.folder / "index.html"
        write_text(page, self._html(done, findings) + "\n")
        return Written(page, numbers, findings)

    def _finished(self, name: str) -> dict | None:
        path = self.folder / "chapters" / f"{name}.json"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        if found.get("key") != self.key:
            return None
        return found if all((self.folder / "figures" / f).exists() for f in found["figures"]) else None

    def _make(self, name: str, make: Callable[[], Chapter]) -> dict:
        chapter = make()
        files: list[str] = []
        blocks = [self._drawn(b, files) if "figure" in b else b for b in chapter.blocks]
        body = self.templates.get_template("chapter.html").render(blocks=blocks)
        part = {
            "key": self.key,
            KEY: VERSION,
            "title": chapter.title,
            "html": body,
            "live": any(b["kind"] == "live" for b in blocks),
            "graphs": any(b.get("svg") for b in blocks),
            "figures": files,
            "numbers": plain(chapter.numbers),
            "findings": [asdict(f) | {"network": f.network or chapter.networks} for f in chapter.findings],
        }
        write_text(self.folder / "chapters" / f"{name}.json", json.dumps(part))
        return part

    def _drawn(self, block: dict[str, Any], files: list[str]) -> dict[str, Any]:
        """Write a figure to files, add their names to ``files``, and return the block for the template."""
        figure, stem = block["figure"], str(self.folder / "figures" / block["name"])
        if isinstance(figure, Drawing):
            figure.save(f"{stem}.svg")
            files.append(f"{block['name']}.svg")
            return {**block, "svg": figure.clickable()}
        for suffix in self.formats:
            metadata = {"Date": None} if suffix == "svg" else None
            with replacing(f"{stem}.{suffix}") as new:
                figure.savefig(new, dpi=200, metadata=metadata)
            files.append(f"{block['name']}.{suffix}")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        png = base64.b64encode(buffer.getvalue()).decode()
        return {**block, "svg": None, "png": png, "width": round(96 * 1.3 * figure.get_figwidth())}

    def _html(self, chapters: dict[str, dict], findings: list[Finding]) -> str:
        versions = {"version": VERSION, "fxscope": __version__, "torch": torch.__version__}
        live = any(part.get("live") for part in chapters.values())
        graphs = any(part.get("graphs") for part in chapters.values())
        page = self.templates.get_template("page.html")
        return page.render(
            title=self.title,
            about=self.about,
            chapters=chapters,
            findings=findings,
            policy=policy(live, [drawings.script_hash()] if graphs else []),
            shared=(shared() if live else "") + (f"<script>{drawings.script()}</script>" if graphs else ""),
            **versions,
        )
