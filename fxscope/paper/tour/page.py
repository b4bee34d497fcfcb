"""A self-contained HTML page of chapters; an interrupted run can be resumed."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..._version import __version__
from ...graph.interpretation import KEY, VERSION
from ...render import Drawing
from ...render import page as drawings
from ...results.files import replacing, write_text
from ...results.provenance import digest
from ...results.records import plain
from ...viewer import policy, shared
from ..findings import kept
from ..findings.finding import Finding
from ..findings.verdict import REDRAWS, VERDICTS
from .apart import can_fork, in_own_process
from .templating import environment
from .work import Work

DPI = 200
RESULTS = 3  # sentences at the top; further ones are folded
LONGEST = 200  # letters of the name of a kept chapter
WIDER = (
    1.45  # than on paper: there the letters of a figure have 8 points, and on a page nearly those of the text
)


@dataclass
class Chapter:
    """The blocks of a chapter in order, each a dict with its kind; its numbers; its findings.

    ``networks`` is said of the findings that do not name theirs. A finding stands with the figure or table
    that ``shows`` its topic. ``results`` are sentences for the top of the page.
    """

    title: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    networks: str = ""
    results: list[str] = field(default_factory=list)

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append({"kind": "text", "text": text})

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.blocks.append({"kind": "heading", "text": text})

    def figure(
        self, name: str, figure: Any, caption: str, shows: Sequence[str] = (), hero: bool = False
    ) -> None:
        """Add a matplotlib figure or a ``Drawing``; its files are called ``name``.

        ``shows`` are topics: the findings about them stand with it. A ``hero`` is also at the top of the
        page, where the first figure is if there is none.
        """
        block = {"figure": figure, "caption": caption, "shows": tuple(shows), "hero": hero}
        self.blocks.append({"kind": "figure", "name": name, **block})

    def live(self, name: str, figure: Any, caption: str, title: str, data: str) -> None:
        """Add a demonstration: a still picture, and the elements that it becomes when it is pressed."""
        block = {"figure": figure, "caption": caption, "title": title, "data": data}
        self.blocks.append({"kind": "live", "name": name, **block})

    def table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[Any]],
        caption: str = "",
        shows: Sequence[str] = (),
    ) -> None:
        """Add a table of text cells; ``shows`` as for a figure."""
        block = {"head": head, "rows": rows, "caption": caption, "shows": tuple(shows)}
        self.blocks.append({"kind": "table", **block})

    def html(self, text: str) -> None:
        """Add HTML unchanged."""
        self.blocks.append({"kind": "html", "text": text})


@dataclass(frozen=True)
class Written:
    """The path of a page, all its numbers, the findings, and the sentences at its top."""

    page: Path
    numbers: dict
    findings: list[Finding]
    results: list[str] = field(default_factory=list)


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
        self,
        chapters: dict[str, Callable[[], Chapter]],
        progress: bool = True,
        work: Work | None = None,
        apart: str = "",
    ) -> Written:
        """Make the chapters that are missing, one after the other, and write all of them to the page.

        A chapter may be of parts, "name/part", which are made and kept one by one and stand in one section.
        The page is written before each of them, too, with what there is by then: however the run ends, the
        page says what is missing. ``apart`` is made first, in a process of its own. Those that are finished
        do not count in the ``work`` that is left.
        """
        done = {name: part for name in chapters if (part := self.finished(name)) is not None}
        with (work or Work(progress)).leaving_out(done) as steps:
            for name in sorted(chapters, key=lambda name: name != apart):
                if name not in done:
                    written = self._write(chapters, done)
                    with steps.interrupted(
                        f"{written.page} has what is finished, and the same command goes on"
                    ):
                        done[name] = self._made(name, chapters[name], steps, name == apart)
        return self._write(chapters, done)

    def _made(self, name: str, make: Callable[[], Chapter], steps: Work, apart: bool) -> dict:
        """A chapter, made here or in a process of its own, which leaves it as a file."""
        if not (apart and can_fork()):
            return self._make_in(name, make, steps)
        with steps.elsewhere(name):
            in_own_process(lambda: self._make_in(name, make, steps), name)
        found = self.finished(name)
        assert found is not None, "the process has ended well"
        return found

    def _make_in(self, name: str, make: Callable[[], Chapter], steps: Work) -> dict:
        with steps.chapter(name):
            return self._make(name, make)

    def _write(self, chapters: Sequence[str] | Mapping[str, Any], done: Mapping[str, dict]) -> Written:
        """Write the page and its numbers with the chapters that are done, and name those that are not."""
        made = {name: done[name] for name in chapters if name in done}
        missing = [name.replace("/", ", ") for name in chapters if name not in done]
        findings = [Finding(**f) for part in made.values() for f in part["findings"]]
        results = [text for part in made.values() for text in part["results"]]
        joined = _joined(made)
        numbers = {name: part["numbers"] for name, part in joined.items()}
        written = {
            "key": self.key,
            KEY: VERSION,
            "chapters": numbers,
            "findings": [asdict(f) | {"verdict": f.verdict} for f in findings],
            **({"missing": missing} if missing else {}),
        }
        write_text(self.folder / "numbers.json", json.dumps(written, indent=2) + "\n")
        page = self.folder / "index.html"
        numbered = [f for name, part in made.items() for f in _numbered(name, part["findings"])]
        write_text(page, self._html(joined, numbered, missing) + "\n")
        return Written(page, numbers, findings, results)

    def finished(self, name: str) -> dict | None:
        """A chapter that an earlier run finished, where it is of the same key and its figures are there."""
        try:
            found = json.loads(self._file(name).read_text())
        except (OSError, ValueError):
            return None
        if (found.get("key"), found.get("name")) != (self.key, name):
            return None
        return found if all((self.folder / "figures" / f).exists() for f in found["figures"]) else None

    def _file(self, name: str) -> Path:
        """Where a chapter is kept."""
        return self.folder / "chapters" / f"{name.replace('/', '.')[:LONGEST]}.json"

    def _make(self, name: str, make: Callable[[], Chapter]) -> dict:
        chapter = make()
        files: list[str] = []
        blocks = [self._drawn(b, files) if "figure" in b else b for b in chapter.blocks]
        findings = [replace(f, network=f.network or chapter.networks) for f in chapter.findings]
        left = _placed(name, blocks, findings)
        body = self.templates.get_template("chapter.html").render(blocks=blocks, left=left)
        part = {
            "key": self.key,
            "name": name,
            KEY: VERSION,
            "title": chapter.title,
            "html": body,
            "live": any(b["kind"] == "live" for b in blocks),
            "graphs": any(b.get("svg") for b in blocks),
            "hero": _hero([b for b in blocks if b.get("png")]),
            "figures": files,
            "numbers": plain(chapter.numbers),
            "findings": [asdict(f) for f in findings],
            "results": chapter.results,
        }
        write_text(self._file(name), json.dumps(part))
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
                figure.savefig(new, metadata=metadata)
            files.append(f"{block['name']}.{suffix}")
        if "png" in self.formats:
            shown = Path(f"{stem}.png").read_bytes()
        else:
            figure.savefig(buffer := io.BytesIO(), format="png", dpi=DPI)
            shown = buffer.getvalue()
        png = base64.b64encode(shown).decode()
        alt = " ".join(filter(None, (getattr(figure, "alt", ""), block["caption"])))
        return {
            **block,
            "svg": None,
            "png": png,
            "alt": alt,
            "width": round(WIDER * 96 * figure.get_figwidth()),
        }

    def _html(
        self, chapters: dict[str, dict], findings: Sequence[dict[str, Any]], missing: Sequence[str]
    ) -> str:
        versions = {"version": VERSION, "fxscope": __version__, "torch": torch.__version__}
        graphs = any(part.get("graphs") for part in chapters.values())
        live = any(part["live"] for part in chapters.values())
        verdicts = {said: [f for f in findings if f["appears"] is key] for key, said in VERDICTS.items()}
        results = [(name, text) for name, part in chapters.items() for text in part["results"]]
        page = self.templates.get_template("page.html")
        return page.render(
            title=self.title,
            about=self.about,
            missing=missing,
            chapters=chapters,
            findings=findings,
            verdicts=verdicts,
            redraws=REDRAWS,
            results=results[:RESULTS],
            more=results[RESULTS:],
            hero=max(
                (p["hero"] for p in chapters.values() if p["hero"]), key=lambda h: h["hero"], default=None
            ),
            policy=policy(live, [drawings.script_hash()] if graphs else []),
            shared=(shared() if live else "") + (f"<script>{drawings.script()}</script>" if graphs else ""),
            **versions,
        )


def _joined(done: Mapping[str, dict]) -> dict[str, dict]:
    """The chapters, each with all its parts."""
    found: dict[str, dict] = {}
    for key, part in done.items():
        name = key.split("/")[0]
        before = found.get(name)
        if before is None:
            found[name] = part
            continue
        heroes = [p["hero"] for p in (before, part) if p["hero"]]
        found[name] = {
            "title": before["title"],
            "html": f"{before['html']}\n{part['html']}",
            "live": before["live"] or part["live"],
            "graphs": before["graphs"] or part["graphs"],
            "hero": max(heroes, key=lambda h: h["hero"], default=None),
            "numbers": {**before["numbers"], **part["numbers"]},
            "results": [*before["results"], *part["results"]],
        }
    return found


def _numbered(chapter: str, findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The findings of a chapter with ids, their verdicts in words, and what the longer study found."""
    return [
        {
            **f,
            "id": f"finding-{re.sub('[^A-Za-z0-9_.-]+', '-', chapter)}-{i}",
            "said": VERDICTS[f["appears"]],
            "kept": _kept(f),
        }
        for i, f in enumerate(findings)
    ]


def _kept(found: dict[str, Any]) -> dict[str, Any] | None:
    """What the longer study says of the same claim."""
    same = kept().findings.get(found["claim"])
    if same is None:
        return None
    return {
        **asdict(same),
        "said": same.verdict,
        "photographs": kept().photographs,
        "fxscope": kept().version,
    }


def _placed(name: str, blocks: list[dict[str, Any]], findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Put every finding with the first block that shows its topic; the others are returned."""
    left = _numbered(name, [asdict(f) for f in findings])
    for block in blocks:
        block["findings"] = [f for f in left if f["topic"] in block.get("shows", ())]
        left = [f for f in left if f not in block["findings"]]
    return left


def _hero(blocks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The picture at the top of a page: a copy of one of its figures.

    Not that of a demonstration, which is right below it.
    """
    chosen = [b for b in blocks if b.get("hero")] or [b for b in blocks if b["kind"] != "live"]
    if not chosen:
        return None
    first = chosen[0]
    return {key: first[key] for key in ("name", "png", "alt", "width")} | {"hero": bool(first.get("hero"))}
