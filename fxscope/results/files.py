"""Writing files: a file appears under its name when it is complete, with the rights of any new file."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import FxscopeError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A new empty file beside ``path``, with its suffix, which then takes the place of ``path``.

    If the block raises, the new file is removed, and ``path`` is as it was. The umask decides who may read
    the file. A link is followed: the file that it names is replaced.

    Raises
    ------
    FxscopeError
        If there is no folder, if no file can be made in it, or if ``path`` is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    new = _beside(target)
    mode = stat.S_IMODE(new.stat().st_mode)
    try:
        yield new
        new.chmod(mode)  # some writers put another file in its place, with rights of their own
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file as a whole, in UTF-8."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def check_writable(path: str | Path) -> None:
    """Make a file beside ``path`` and remove it; raise ``FxscopeError`` where ``replacing`` would."""
    _beside(Path(os.path.realpath(path))).unlink()


def _beside(target: Path) -> Path:
    if target.exists() and not target.is_file():
        kind = "folder" if target.is_dir() else "device"
        raise FxscopeError(f"{target} is a {kind}, and a file cannot take its place: give the name of a file")
    if not target.parent.is_dir():
        raise FxscopeError(f"cannot write {target.name}: there is no folder {target.parent}")
    new = target.with_name(f".{target.stem[:100]}-{secrets.token_hex(6)}{target.suffix}")
    try:
        # tempfile.mkstemp would make a file that no other user can read
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise FxscopeError(f"no file can be made in {target.parent}: {error.strerror}") from error
    return new
