"""A drawing in a page: cards, zoom, search, modules that expand; without scripts its cards."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
from pathlib import Path

from ..rules import registry
from .cards import Card
from .scene import Scene

FRONT = Path(__file__).parent / "front"


def fragment(svg: str, cards: tuple[Card, ...], scene: Scene | None, page_style: bool, rules: str) -> str:
    """A drawing as HTML: each box links to its card, and the style sheet shows the card that is aimed at."""
    pages = _addresses(rules, {card.rule for card in cards} | _rules_of(scene))
    ids = re.findall(r'<g id="([^"]+-b\d+)"', svg)
    known = {name: card for name, card in zip(ids, cards) if card.lines or card.code}
    svg = re.sub(r'<g id="([^"]+-b\d+)" class="box.*?</g>', lambda box: _linked(box, known), svg, flags=re.S)
    svg = svg.replace('role="img"', 'role="group"', 1)
    svg = re.sub(r"<style>.*?</style>\n?", "", svg, flags=re.S) if page_style else svg
    style = "" if page_style else f"<style>{sheet()}</style>"
    opened = "".join(_card(name, card, pages.get(card.rule, "")) for name, card in known.items())
    return (
        f'{style}<div class="fxscope-graph"><div class="fxscope-stage"><div'
        f' class="fxscope-canvas">{svg}</div>{opened}</div>{_data(scene, pages)}</div>'
    )


def whole(title: str, body: str) -> str:
    """A page of one drawing, which asks nothing of anybody."""
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {script_hash()}; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta'
        f' http-equiv="Content-Security-Policy" content="{policy}"><meta name="viewport"'
        f' content="width=device-width"><meta name="color-scheme" content="light dark"><link rel="icon"'
        f' href="data:,"><title>{html.escape(title)}</title></head><body><main><h1'
        f' style="font:600 1.1rem system-ui,sans-serif;margin:.4rem 0">{html.escape(title)}</h1>{body}</main>'
        f"<script>{script()}</script></body></html>\n"
    )


@functools.cache
def script() -> str:
    """The script of all drawings of a page, which is there once."""
    lines = [line.strip() for name in _SCRIPTS for line in (FRONT / name).read_text("utf-8").splitlines()]
    code = "\n".join(line for line in lines if line and not line.startswith("//"))
    return f'(() => {{\n"use strict";\n{code}\n}})();\n'


_SCRIPTS = ("layout.js", "graph.js", "cards.js")


def script_hash() -> str:
    """The script as a content policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()}'"


@functools.cache
def sheet() -> str:
    """The style sheet of cards, tools and canvas."""
    return (FRONT / "graph.css").read_text(encoding="utf-8")


def _linked(box: re.Match, known: dict[str, Card]) -> str:
    """A box with a link to its card; its hover text is the first lines of that."""
    if box[1] not in known:
        return box[0]
    card = known[box[1]]
    said = html.escape("\n".join(card.lines[:2]))
    short = re.sub(r"<title>.*?</title>", f"<title>{said}</title>", box[0], flags=re.S)
    return f'<a href="#{box[1]}-card" aria-label="{html.escape(card.name)}">{short}</a>'


def _card(name: str, card: Card, page: str) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in card.lines)
    link = f'<p><a href="{html.escape(page)}">The rule {html.escape(card.rule)}</a></p>' if page else ""
    code = f"<pre>{html.escape(chr(10).join(card.code))}</pre>" if card.code else ""
    return (
        f'<div class="fxscope-card" id="{name}-card"><a class="fxscope-close" href="#!"'
        f' aria-label="close">×</a><p class="fxscope-name">{html.escape(card.name)}</p>'
        f"{link}{lines}{code}</div>"
    )


def _data(scene: Scene | None, pages: dict[str, str]) -> str:
    if scene is None:
        return ""
    rules = html.escape(json.dumps(pages, separators=(",", ":")))
    return f'<script type="text/plain" class="fxscope-data" data-rules="{rules}">{scene.packed()}</script>'


def _rules_of(scene: Scene | None) -> set[str]:
    return {box.rule for box in scene.whole.boxes.values()} if scene else set()


def _addresses(base: str, names: set[str]) -> dict[str, str]:
    """{rule: the address of its card}, of the rules that a site of fxscope has."""
    known = registry.__wrapped__().rules if base else {}
    return {
        name: f"{base}{known[name].verb}.html#{re.sub('[^a-z0-9]+', '-', f'rule-{name.lower()}')}"
        for name in sorted(names)
        if name in known
    }
