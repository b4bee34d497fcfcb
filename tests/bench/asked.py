"""The command line of every benchmark: its options, and ``--json FILE``, which keeps what it measured."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any


def asked(text: str, **options: Any) -> argparse.Namespace:
    """What the command line says.

    An option is given by its default: a number has its type, and a collection of names or numbers is written
    with commas. A dict holds the arguments of ``add_argument`` itself.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in options.items():
        if isinstance(default, dict) and "type" in default:
            parser.add_argument(f"--{name}", **default)
        elif isinstance(default, Collection):
            kind = type(next(iter(default)))
            parser.add_argument(
                f"--{name}", default=list(default), type=lambda t, kind=kind: [kind(v) for v in t.split(",")]
            )
        else:
            parser.add_argument(f"--{name}", default=default, type=type(default))
    parser.add_argument("--json")
    return parser.parse_args()


def keep(rows: list[dict[str, Any]], file: str | None) -> None:
    """Write the rows into the file of ``--json``, if there is one."""
    if file:
        Path(file).write_text(json.dumps(rows, indent=2))
