"""``lin.F.to_zarr``: a map is made once, and its shards are written by as many processes as there are.

A shard that lies there is whole: zarr writes each file aside and renames it. Which shards are missing is
therefore what tells where to go on, and nothing else is kept. Every shard is computed under a lock of its
own, which ends with its process, so that no two processes compute the same one, however they were started.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import FxscopeError, MapError, ShapeError, WrongArgument, said
from ...graph.arguments import check_path, shown
from ...graph.interpretation import check as check_interpretation
from ...results.progress import steps
from ..scale import norm_of
from .fill import Filler
from .layout import CHUNK, DTYPES, Layout, grown, layout_of, named
from .library import numbers, zarr
from .stored import ATTRIBUTE, StoredMap, open_map

try:
    import fcntl
except ModuleNotFoundError:  # Windows: there a shard belongs to its process by its number alone
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from ..interpreter import LinearInterpreter
    from ..linear import Operator

LOOK = 1.0  # seconds between two looks at what other processes have written
LOCK = "values/.lock"  # zarr opens no such file; closing one would end the locks of a process
LOG = logging.getLogger("fxscope")
_FREE = ("fxscope", "torch", "error", "operator")  # of the provenance: they may differ on going on
_CLOSE = {torch.float64: 1e-9, torch.float32: 1e-3}


def to_zarr(
    F: Operator, path: Any, rows: Any, columns: Any, dtype: Any, progress: bool, command: str | None
) -> StoredMap:
    """Write F, or go on with it; see ``Operator.to_zarr``."""
    library, root = zarr(), check_path("to_zarr", path)
    lin = _interpreter(F)
    layout = layout_of(F, rows, columns, _stored_dtype(F, dtype))
    header = {**layout.described(), "dtype": _name(F.dtype), "origin": F.origin(), "command": command}
    if not _is_map(root):
        with _told(f"no map can be made at {root}"):
            _make(library, root, lin, layout, header)
    _check_same(root, lin, header)
    _Writer(library, root, Filler(lin, layout)).run(progress)
    return open_map(root)


def _interpreter(F: Operator) -> LinearInterpreter:
    """What F was made from, or an error if that is more than one image, input or output."""
    lin = F._lin() if F._lin is not None else None
    if lin is None:
        raise FxscopeError(
            "to_zarr writes lin.F, whose model and image are known, not transposes, sums, products, multiples"
            " and restrictions; write lin.F, and apply them to what open_map gives"
        )
    if F.inputs.batched or F.outputs.batched:
        raise ShapeError("to_zarr writes F of one image: interpret one of the batch")
    for space in (F.inputs, F.outputs):
        if F._structured(space):
            raise ShapeError(
                f"to_zarr writes F from one tensor to one tensor, and {space.name} is a structure"
                f" ({', '.join(map(repr, space.keys))}): name one place with inputs= or outputs="
            )
    return lin


def _stored_dtype(F: Operator, dtype: Any) -> str:
    if dtype is None:
        return _name(F.dtype) if _name(F.dtype) in DTYPES else "float32"
    found = next((name for name, known in DTYPES.items() if dtype is known), None)
    if found is None:
        raise WrongArgument(
            f"to_zarr: dtype is torch.float16, torch.float32 or torch.float64; got {shown(dtype)}"
        )
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_map(root: Path) -> bool:
    """Whether a map lies there; raise ``MapError`` if something else does."""
    if (root / "zarr.json").is_file():
        return True
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise MapError(f"{root} is there already, and is no map: to_zarr takes a new or an empty folder")
    if not root.absolute().parent.is_dir():
        raise MapError(f"no map can be made at {root}: there is no folder {root.absolute().parent}")
    return False


def _make(library: Any, root: Path, lin: LinearInterpreter, layout: Layout, header: dict[str, Any]) -> None:
    """Make a map without rows beside its place, and rename it: one of several processes makes it."""
    target = Path(os.path.realpath(root))
    aside = target.with_name(f".{target.name}-{secrets.token_hex(6)}")
    try:
        group = library.create_group(str(aside), attributes={ATTRIBUTE: header}, zarr_format=3)
        codec = library.codecs.ZstdCodec(level=1, checksum=True)
        group.create_array(
            "values",
            shape=layout.lead + layout.tail,
            dtype=layout.dtype,
            chunks=layout.chunks,
            shards=layout.shards,
            compressors=[codec],
            fill_value=float("nan"),  # what is missing is no number, for whoever else reads it
            dimension_names=layout.names,
        )
        for name, space, value in (("x0", "in", lin.x), ("y0", "out", lin.y0), ("r", "out", lin.residual)):
            _put_whole(group, name, space, value[0], codec)
        (aside / LOCK).touch()
        try:
            os.rename(aside, target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not _is_map(root):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put_whole(group: Any, name: str, space: str, value: torch.Tensor, codec: Any) -> None:
    """Write x0, y0 or r, as exactly as numpy can."""
    wide = value if _name(value.dtype) in DTYPES else value.float()
    array = wide.detach().cpu().numpy()
    shape = array.shape
    chunks = grown([1] * len(shape), shape, range(len(shape))[::-1], 16 * CHUNK // array.itemsize)
    given = {"dtype": array.dtype, "compressors": [codec], "fill_value": float("nan")}
    stored = group.create_array(
        name, shape=shape, chunks=chunks, dimension_names=named(space, shape), **given
    )
    stored[...] = array


def _check_same(root: Path, lin: LinearInterpreter, header: dict[str, Any]) -> None:
    """Raise ``MapError`` if the map that lies there is another one than that of this header."""
    known = open_map(root)
    check_interpretation(known.header, f"the map at {root}", "write this one to another folder")
    pairs = {name: (known.header.get(name), value) for name, value in header.items()}
    del pairs["origin"], pairs["command"]
    for name, value in header["origin"].items():
        if name not in _FREE:
            pairs[name] = (known.header["origin"].get(name), value)
    differ = [f"{n} is {_short(a)} there and {_short(b)} here" for n, (a, b) in pairs.items() if a != b]
    for name, ours in (("y0", lin.y0), ("residual", lin.residual)):
        theirs = known.whole("r" if name == "residual" else name)
        if not differ and not _close(theirs, ours[0]):
            differ.append(f"{name} is another one there: another place of the network, or other draws")
    if differ:
        raise MapError(
            f"{root} holds another map: {'; '.join(differ)}. Nothing was changed: write to another folder, or"
            " go on with the same network, image, policy and arguments"
        )


def _close(stored: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether both are equal up to what another machine rounds."""
    own = own.detach().cpu()
    bound = _CLOSE.get(own.dtype, 0.1)
    stored = stored.to(own.dtype)
    return norm_of([stored - own]) <= bound * max(norm_of([own]), norm_of([stored]))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:56]}..."


class _Writer:
    """One process that writes shards of a map."""

    def __init__(self, library: Any, root: Path, filler: Filler) -> None:
        self.root, self.filler, self.layout = root, filler, filler.layout
        self.values = library.open_array(str(root / "values"), mode="r+")
        self.rank = int(os.environ.get("RANK", 0))
        self.world = max(1, int(os.environ.get("WORLD_SIZE", 1)))

    def run(self, progress: bool) -> None:
        """Write what is missing: first the shards of this process, then those that others have left."""
        every = range(self.layout.count)
        own = [i for i in every if i % self.world == self.rank]
        left = set(every)
        with steps(self.layout.count, "shards", progress and self.rank == 0) as bar:
            left -= self._seen(bar, left, set(own))
            next_look = time.monotonic() + LOOK
            for shard in [*own, *(i for i in every if i % self.world != self.rank)]:
                if shard in left and (fcntl is not None or shard in own):
                    self._write_once(shard)
                    is_due = time.monotonic() > next_look
                    left -= self._seen(bar, left if is_due else {shard}, set())
                    next_look = time.monotonic() + LOOK if is_due else next_look
            self._seen(bar, left, set())

    def _seen(self, bar: Any, left: set[int], check: set[int]) -> set[int]:
        """The shards that lie there; those of ``check`` are read, and what is damaged is removed."""
        found = {i for i in left if self.layout.file(self.root, i).is_file()}
        damaged = {i for i in sorted(found & check) if self._is_damaged(i)}
        bar.update(len(found - damaged))
        return found - damaged

    def _is_damaged(self, shard: int) -> bool:
        """Whether a shard cannot be read; it is then removed, to be written again."""
        with _locked(self.root, shard) as mine:
            if not mine:
                return False
            file = self.layout.file(self.root, shard)
            try:
                for _, part in self.layout.blocks(self.layout.box(shard)):
                    numbers(self.values, part, file)
                return False
            except MapError:
                raise
            except Exception as error:  # damaged bytes fail in many ways
                LOG.warning("%s is damaged (%s), and is written again", file, said(error))
                file.unlink()
                return True

    def _write_once(self, shard: int) -> None:
        """Write a shard, unless another process does or did."""
        file = self.layout.file(self.root, shard)
        with _locked(self.root, shard) as mine:
            if not mine or file.is_file():
                return
            for rest in file.parent.glob(f"{file.name}.*.partial"):  # of a process that was killed
                rest.unlink(missing_ok=True)
            box = self.layout.box(shard)
            rounded = self._rounded(self.filler.shard(box))
            what = f"shard {shard} of {self.layout.count} cannot be written to {file}"
            with _told(f"{what}, and all other shards are kept; then do the same again, which goes on"):
                self.values[box] = rounded

    def _rounded(self, exact: torch.Tensor) -> np.ndarray:
        """The numbers as they are stored; raise ``MapError`` if their dtype cannot hold them."""
        found = exact.detach().to(DTYPES[self.layout.dtype]).cpu()
        if not bool(torch.isfinite(found).all()):
            largest = float(exact.abs().max())
            raise MapError(
                f"F has coefficients up to {largest:.3g}, which {self.layout.dtype} cannot hold: write to a"
                " new folder with dtype=torch.float32 (--dtype float32)"
            )
        return found.numpy()


@contextlib.contextmanager
def _locked(root: Path, shard: int) -> Iterator[bool]:
    """Whether this process alone has a shard: a lock on one byte of a file, which ends with the process."""
    if fcntl is None:
        yield True
        return
    with _told(f"no lock can be had in {root}"):
        file = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise MapError(f"{root}: its file system has no locks ({error.strerror})") from error
            yield False
            return
        yield True
    finally:
        os.close(file)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What the system refuses, a full disk or a missing right, in the words of fxscope."""
    try:
        yield
    except OSError as error:
        raise MapError(f"{what}: {error.strerror or error}") from error
