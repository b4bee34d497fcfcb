"""The entries of ``CITATION.cff`` as BibTeX, so that the page and the file cannot differ."""

from __future__ import annotations

import re
from pathlib import Path

CFF = Path(__file__).parents[2] / "CITATION.cff"


def cff() -> dict:
    """What the file says."""
    import yaml

    return yaml.safe_load(CFF.read_text(encoding="utf-8"))


def bibtex() -> str:
    """The software and the paper, as two entries."""
    told = cff()
    (paper,) = told["references"]
    names = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in paper["authors"])
    software = {
        "title": told["title"],
        "author": f"{{{told['authors'][0]['name']}}}",
        "version": told["version"],
        "year": str(told["date-released"])[:4],
        "note": f"Interpretation version {_interpretation()}",
    }
    article = {
        "title": paper["title"],
        "author": names,
        "booktitle": re.sub(r" \(ICCV\)", "", paper["collection-title"]),
        "year": str(paper["year"]),
    }
    entries = _entry("software", "fxscope", software), _entry("inproceedings", "navarrete2019tour", article)
    return "\n\n".join(entries)


def _interpretation() -> int:
    from fxscope.graph import interpretation

    return interpretation.VERSION


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = ",\n".join(f"  {name:9s} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}"
