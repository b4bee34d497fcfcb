"""The files of a study: one Parquet file for every network, measure and shard of images.

    OUT/study.json                                      what the study is of
    OUT/shards/NETWORK/MEASURE/000012-0123456789abcdef.parquet
    OUT/results.json, OUT/results.parquet, OUT/maps/    the summary, when all shards are there

The name of a shard has its number and a key, a hash of everything that its numbers depend on. A file appears
when it is complete and on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import FxscopeError, StudyError, said
from ..results.files import replacing

FORMAT = 1
KEY = b"fxscope.study"
TOTAL = "total:"  # before the names of the columns of sums over a shard
FIXED = ("number", "image", "error")


@dataclass(frozen=True)
class Held:
    """What a shard holds.

    Parameters
    ----------
    rows : list of dict
        One for every image, in their order: number, image, error (None where there is none), and numbers.
    totals : dict of str to torch.Tensor
        Sums over the images, whole numbers.
    parts : dict
        What the key is a hash of.
    """

    rows: list[dict[str, Any]]
    totals: dict[str, torch.Tensor]
    parts: dict[str, Any]


def library() -> SimpleNamespace:
    """The parts of pyarrow that are used."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise StudyError("studies are kept in Parquet files: pip install 'fxscope[study]'") from error
    return SimpleNamespace(arrow=pyarrow, parquet=parquet)


def write(path: Path, held: Held) -> None:
    """Write a shard: aside, to the disk, and then under its name. The same numbers are the same bytes.

    Raises
    ------
    StudyError
        If the disk is full, or the file cannot be written.
    """
    arrow = library().arrow
    names = dict.fromkeys(n for row in held.rows for n in row if n not in FIXED)
    columns: dict[str, Any] = {
        "number": arrow.array([row["number"] for row in held.rows], arrow.int64()),
        "image": arrow.array([row["image"] for row in held.rows], arrow.string()),
        "error": arrow.array([row.get("error") for row in held.rows], arrow.string()),
    }
    for name in names:
        columns[name] = arrow.array([row.get(name) for row in held.rows])
    for name, total in held.totals.items():
        last = [*[None] * (len(held.rows) - 1), total.flatten().tolist()]
        columns[TOTAL + name] = arrow.array(last, arrow.list_(arrow.int64()))
    shapes = {name: list(total.shape) for name, total in held.totals.items()}
    about = json.dumps({"format": FORMAT, "parts": held.parts, "shapes": shapes}, sort_keys=True)
    table = arrow.table(columns).replace_schema_metadata({KEY: about})
    write_table(path, table)


def write_table(path: Path, table: Any) -> None:
    """Write a table as ``write`` does."""
    with to_disk(path) as new:
        library().parquet.write_table(
            table, new, compression="zstd", write_page_checksum=True, store_schema=True
        )


@contextlib.contextmanager
def to_disk(path: Path) -> Iterator[Path]:
    """A file beside ``path``, which takes its place when it is written to the disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            yield new
            _flush(new)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _flush(path.parent)
    except (OSError, FxscopeError) as error:
        refused = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refused, OSError):
            raise
        raise StudyError(
            f"{path} cannot be written, {_why(refused)}; what is finished is kept: mend this, and start the"
            " study again"
        ) from error


def _why(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return f"the disk is full ({error.strerror})" if full else said(error)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def read(path: Path) -> Held:
    """Read a shard, and check that it is whole.

    Raises
    ------
    Damaged
        If it is not.
    """
    try:
        table = library().parquet.read_table(
            path, page_checksum_verification=True, partitioning=None, memory_map=False
        )
        about = json.loads(table.schema.metadata[KEY])
        rows = table.drop_columns([n for n in table.column_names if n.startswith(TOTAL)]).to_pylist()
        totals = {
            name: torch.tensor(table[TOTAL + name][-1].as_py(), dtype=torch.int64).reshape(shape)
            for name, shape in about["shapes"].items()
        }
        return Held(rows, totals, about["parts"])
    except StudyError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise Damaged(f"{path} is damaged: {said(error)}") from error


class Damaged(StudyError):
    """A shard cannot be read: it is done again."""


def differences(path: Path, expected: dict[str, Any] | None) -> str:
    """In what a shard of another study differs, in words."""
    try:
        parts = read(path).parts
    except StudyError:
        return "it cannot be read"
    if expected is None:
        return "this study has no such network or measure"
    names = [n for n in sorted({*parts, *expected}) if parts.get(n) != expected.get(n)]
    return f"it differs in {', '.join(names)}" if names else "this study has fewer images"


def files_of(folder: Path) -> Sequence[Path]:
    """All shards that are in the folder of a study."""
    return sorted(p for p in (folder / "shards").glob("*/*/*.parquet") if not p.name.startswith("."))


def left_behind(folder: Path) -> Iterator[Path]:
    """The unfinished files of processes that were killed."""
    yield from (folder / "shards").glob("*/*/.*.parquet")
