"""One self-contained page: chapters with figures, captions and tables; figures also as files, numbers as JSON; resumable."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..._version import __version__
from ...graph.interpretation import KEY, VERSION
from ...render import Drawing
from ...results.progress import steps
from ...results.records import plain

STYLE = """
:root{color-scheme:light dark;--line:#8885;--soft:#8882}
body{font:16px/1.55 system-ui,sans-serif;max-width:1120px;margin:2rem auto;padding:0 1rem}
h1{line-height:1.2}h2{margin-top:3rem;border-bottom:1px solid var(--line)}h3{margin-top:2rem}
figure{margin:1.2rem 0}figure img,figure svg{max-width:100%;height:auto;background:#fff;border-radius:4px;padding:4px;box-sizing:border-box}
figcaption{font-size:.92rem;margin-top:.3rem;max-width:62rem}
table{border-collapse:collapse;font-size:.92rem}td,th{padding:.25rem .7rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
nav a{margin-right:1rem}.wide{overflow-x:auto}.yes{color:#2a8a3c;font-weight:600}.no{color:#c03a2b;font-weight:600}.open{opacity:.7}
caption{text-align:left;font-weight:600;padding:.3rem 0}code{background:var(--soft);padding:0 .25rem}
"""


@dataclass
class Finding:
    """One claim of the paper beside what was measured here; ``appears`` by the ``rule``, None where this run cannot tell."""

    claim: str
    paper: str
    measured: str
    appears: bool | None
    rule: str


@dataclass
class Chapter:
    """Blocks in order: (kind, ...) of text, heading, figure and table; numbers; findings."""

    title: str
    blocks: list[tuple] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def text(self, text: str) -> None:
        self.blocks.append(("text", text))

    def heading(self, text: str) -> None:
        self.blocks.append(("heading", text))

    def figure(self, name: str, figure: Any, caption: str) -> None:
        self.blocks.append(("figure", name, figure, caption))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> None:
        self.blocks.append(("table", head, rows, caption))

    def html(self, text: str) -> None:
        self.blocks.append(("html", text))


@dataclass(frozen=True)
class Written:
    """Where the page is, and every number on it."""

    page: Path
    numbers: dict
    findings: list[Finding]


class Page:
    """A folder with ``index.html``, ``numbers.json``, ``figures/`` and the finished chapters, which a later run takes up again.

    key  what the chapters depend on: a chapter that was finished under another key, or version of the interpretation, is made anew
    """

    def __init__(
        self, out: str | Path, title: str, about: str, key: Any, formats: Sequence[str] = ("svg", "png")
    ):
        self.folder, self.title, self.about, self.formats = Path(out), title, about, tuple(formats)
        self.key = hashlib.sha256(
            json.dumps([__version__, torch.__version__, VERSION, plain(key)], sort_keys=True).encode()
        ).hexdigest()[:16]
        (self.folder / "figures").mkdir(parents=True, exist_ok=True)
        (self.folder / "chapters").mkdir(exist_ok=True)

    def write(self, chapters: dict[str, Callable[[], Chapter]], progress: bool = True) -> Written:
        """Make the chapters that are not there yet, one after the other, and put all of them on the page."""
        done: dict[str, dict] = {}
        with steps(len(chapters), "chapters", progress) as bar:
            for name, make in chapters.items():
                if hasattr(bar, "set_postfix_str"):
                    bar.set_postfix_str(name)
                done[name] = self._finished(name) or self._make(name, make)
                bar.update(1)
        numbers = {name: part["numbers"] for name, part in done.items()}
        findings = [Finding(**f) for part in done.values() for f in part["findings"]]
        _replace(
            self.folder / "numbers.json",
            json.dumps(
                {
                    "key": self.key,
                    KEY: VERSION,
                    "chapters": numbers,
                    "findings": [f.__dict__ for f in findings],
                },
                indent=2,
            )
            + "\n",
        )
        page = self.folder / "index.html"
        _replace(page, self._html(done, findings))
        return Written(page, numbers, findings)

    def _finished(self, name: str) -> dict | None:
        path = self.folder / "chapters" / f"{name}.json"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        return (
            found
            if found.get("key") == self.key
            and all((self.folder / "figures" / f).exists() for f in found["figures"])
            else None
        )

    def _make(self, name: str, make: Callable[[], Chapter]) -> dict:
        chapter = make()
        files: list[str] = []
        body = "\n".join(self._block(block, files) for block in chapter.blocks)
        part = {
            "key": self.key,
            KEY: VERSION,
            "title": chapter.title,
            "html": body,
            "figures": files,
            "numbers": plain(chapter.numbers),
            "findings": [f.__dict__ for f in chapter.findings],
        }
        _replace(self.folder / "chapters" / f"{name}.json", json.dumps(part))
        return part

    def _block(self, block: tuple, files: list[str]) -> str:
        kind, *rest = block
        if kind == "figure":
            return self._figure(*rest, files)
        if kind == "table":
            return _table(*rest)
        if kind == "html":
            return f'<div class="wide">{rest[0]}</div>'
        return f"<{'h3' if kind == 'heading' else 'p'}>{html.escape(rest[0])}</{'h3' if kind == 'heading' else 'p'}>"

    def _figure(self, name: str, figure: Any, caption: str, files: list[str]) -> str:
        folder = self.folder / "figures"
        if isinstance(figure, Drawing):
            figure.save(folder / f"{name}.svg")
            files.append(f"{name}.svg")
            picture = f'<div class="wide">{figure.svg}</div>'
        else:
            for suffix in self.formats:
                figure.savefig(
                    folder / f"{name}.{suffix}", dpi=200, metadata={"Date": None} if suffix == "svg" else None
                )
                files.append(f"{name}.{suffix}")
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=150)
            data = base64.b64encode(buffer.getvalue()).decode()
            picture = (
                f'<img src="data:image/png;base64,{data}" alt="{html.escape(caption[:120], quote=True)}"'
                f' width="{round(96 * 1.3 * figure.get_figwidth())}">'
            )
        return f'<figure id="{name}">{picture}<figcaption>{html.escape(caption)}</figcaption></figure>'

    def _html(self, done: dict[str, dict], findings: list[Finding]) -> str:
        links = "".join(f'<a href="#{name}">{html.escape(part["title"])}</a>' for name, part in done.items())
        body = "".join(
            f'<section id="{name}"><h2>{html.escape(part["title"])}</h2>{part["html"]}</section>'
            for name, part in done.items()
        )
        summary = (
            f"<h2>What the paper says, and what was measured here</h2>{_findings(findings)}"
            if findings
            else ""
        )
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport"'
            f' content="width=device-width"><title>{html.escape(self.title)}</title><link rel="icon"'
            f' href="data:,"><style>{STYLE}</style></head><body><h1>{html.escape(self.title)}</h1><p>{html.escape(self.about)}</p><nav>{links}</nav>{summary}{body}<footer><p>Version'
            f" {VERSION} of the interpretation, fxscope {__version__}, torch"
            f" {torch.__version__}</p></footer></body></html>\n"
        )


def _findings(findings: list[Finding]) -> str:
    words = {
        True: ("yes", "appears"),
        False: ("no", "does not appear"),
        None: ("open", "cannot be told here"),
    }
    rows = "".join(
        f"<tr><td>{html.escape(f.claim)}</td><td>{html.escape(f.paper)}</td><td>{html.escape(f.measured)}</td><td><span"
        f' class="{words[f.appears][0]}">{words[f.appears][1]}</span></td><td>{html.escape(f.rule)}</td></tr>'
        for f in findings
    )
    return (
        '<div class="wide"><table><tr><th>finding</th><th>paper</th><th>measured'
        f" here</th><th></th><th>appears if</th></tr>{rows}</table></div>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str) -> str:
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>{title}<tr>{top}</tr>{body}</table></div>'


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(path.suffix + ".new")
    new.write_text(text)
    os.replace(new, path)
