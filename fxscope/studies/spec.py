"""What a study is of: networks, images, measures, and how they run; from a TOML file or from arguments."""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import FxscopeError, StudyError, WrongArgument, said
from ..graph.arguments import check_module, shown
from ..images.conventions import with_channels
from ..images.preprocess import Preprocess
from ..models.spec import load, name_of, weights_note
from ..passes.policy import Policy
from .images import Files, Items, Source, Tars, named
from .measures import Measure, measure_of

DTYPES = {"float32": torch.float32, "float64": torch.float64}
TOP = ("out", "policy", "unknown", "dtype", "batch", "shard", "threads", "seed", "device")
IMAGES = ("folder", "dataset", "tars", "limit", "inputs", "hash")
NETWORK = ("model", "name", "weights", "seed", "policy", "preprocess")
HASHES = ("contents", "names")


@dataclass(frozen=True)
class Subject:
    """A network of a study; ``make`` gives it and its preprocessing, and is called when it is needed."""

    name: str
    spec: str
    note: str
    policy: Any
    make: Callable[[], tuple[nn.Module, Preprocess]]


@dataclass(frozen=True)
class Spec:
    """A study.

    Parameters
    ----------
    subjects, measures
        What is measured on what, each with a name of its own.
    source : callable
        Gives the images; it is called once in every process.
    out : Path
        The folder of everything that is written.
    by_contents : bool
        Whether images are told apart by what is in them, and not by their names alone.
    batch, shard : int
        Images that run together, and images in a file of results.
    """

    subjects: tuple[Subject, ...]
    measures: tuple[Measure, ...]
    source: Callable[[], Source]
    out: Path
    by_contents: bool = True
    unknown: str = "refuse"
    dtype: str = "float32"
    batch: int = 8
    shard: int = 64
    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    about: dict[str, Any] = field(default_factory=dict)


def spec_of(
    networks: Any,
    images: Any,
    measures: Any,
    out: Any,
    policy: Any = None,
    hash: str = "contents",
    inputs: bool = False,
    limit: int | None = None,
    **rest: Any,
) -> Spec:
    """The study of the arguments of ``fxscope.study``."""
    for name in ("batch", "shard", "threads"):
        value = rest.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise WrongArgument(f"study: {name} is a whole number above 0; got {shown(value)}")
    if rest.get("dtype", "float32") not in DTYPES:
        raise WrongArgument(f"study: dtype is {' or '.join(DTYPES)}; got {shown(rest['dtype'])}")
    if hash not in HASHES:
        raise WrongArgument(f"study: hash is {' or '.join(HASHES)}; got {shown(hash)}")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise WrongArgument(f"study: limit is a whole number of images above 0; got {shown(limit)}")
    subjects = _apart("networks", tuple(_subjects(networks, policy)))
    given = measures if isinstance(measures, (list, tuple)) else [measures]
    found = _apart("measures", tuple(measure_of(m, rest.get("seed", 0)) for m in given))
    source = _source(images, inputs)
    return Spec(subjects, found, lambda: _limited(source(), limit), Path(out), hash == "contents", **rest)


def read_spec(path: str | Path, **changed: Any) -> Spec:
    """The study of a TOML file; ``changed`` takes the place of what the file says.

    Raises
    ------
    StudyError
        If the file is no TOML, or says something that a study does not know.
    """
    path = Path(path)
    try:
        said_there = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"the study {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is no TOML: {said(error)}") from error
    try:
        return _of_table(said_there, path, changed)
    except WrongArgument as error:
        raise StudyError(f"{path}: {error}") from error


def _of_table(table: dict[str, Any], path: Path, changed: dict[str, Any]) -> Spec:
    _known(table, (*TOP, "networks", "images", "measures"), str(path))
    images = table.get("images")
    if not isinstance(images, dict):
        raise StudyError(f"{path} has no table [images], with one of {', '.join(IMAGES[:3])}")
    _known(images, IMAGES, f"{path}, [images]")
    kinds = [k for k in IMAGES[:3] if k in images]
    if len(kinds) != 1:
        raise StudyError(f"{path}: [images] has one of {', '.join(IMAGES[:3])}; it has {kinds or 'none'}")
    for name in ("networks", "measures"):
        if not isinstance(table.get(name), list) or not table[name]:
            raise StudyError(f"{path} has no [[{name}]]: a study has at least one")
    for entry in table["networks"]:
        _known(entry, NETWORK, f"{path}, [[networks]]")
    top = {n: v for n, v in table.items() if n in TOP} | changed
    options = {n: images[n] for n in ("limit", "inputs", "hash") if n in images}
    return spec_of(
        table["networks"],
        {kinds[0]: images[kinds[0]]},
        table["measures"],
        top.pop("out", path.with_suffix("")),
        **options,
        **top,
    )


def _known(table: dict[str, Any], names: Sequence[str], where: str) -> None:
    """Raise if a table has a key that is none of these."""
    if not isinstance(table, dict):
        raise StudyError(f"{where} is a table of {', '.join(names)}; got {shown(table)}")
    for name in table:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise StudyError(f"{where}: no entry is called {name!r}; {hint}")


def _subjects(networks: Any, policy: Any) -> Iterator[Subject]:
    if isinstance(networks, (str, nn.Module)):
        networks = [networks]
    if isinstance(networks, dict):
        networks = [{"name": n, "model": m} for n, m in networks.items()]
    if not isinstance(networks, (list, tuple)) or not networks:
        raise WrongArgument(
            f"study: networks is a network, a name of one, or a list or a dict of them; got {shown(networks)}"
        )
    for each in networks:
        entry = each if isinstance(each, dict) else {"model": each}
        _known(entry, NETWORK, "study: a network")
        yield _subject(entry, entry.get("policy", policy))


def _subject(entry: dict[str, Any], policy: Any) -> Subject:
    model = entry.get("model")
    if not isinstance(model, str):
        check_module(model)
    policy = Policy.of(policy)
    seed, weights = entry.get("seed", 0), entry.get("weights")
    spec = model if isinstance(model, str) else type(model).__name__
    note = weights_note(model, weights, seed) if isinstance(model, str) else "given"

    def make() -> tuple[nn.Module, Preprocess]:
        if isinstance(model, str):
            loaded = load(model, weights, seed)
            module, known = loaded.module, loaded.preprocess
            if known is None:
                known = with_channels(Preprocess.of(model, module), module, model)
        else:
            assert isinstance(model, nn.Module)
            module, known = copy.deepcopy(model), Preprocess.of(model)  # its dtype may change
        return module, _changed(known, entry.get("preprocess"), spec)

    return Subject(str(entry.get("name") or name_of(spec)), spec, note, policy, make)


def _changed(known: Preprocess, given: Any, name: str) -> Preprocess:
    """The preprocessing, with what a study says of it."""
    if given is None or isinstance(given, Preprocess):
        return known if given is None else given
    if not isinstance(given, dict):
        raise WrongArgument(f"study: preprocess is a fxscope.Preprocess or a dict; got {shown(given)}")
    data: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
    try:
        return replace(known, **data)
    except TypeError as error:
        raise StudyError(f"the preprocess of {name}: {error}; its entries are those of Preprocess") from error


def _apart(what: str, entries: tuple[Any, ...]) -> Any:
    """The entries, whose names are file names and all different."""
    names = [e.name for e in entries]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"two {what} are called {name!r}: give each a name of its own")
        if not name or name.startswith(".") or any(c in name for c in '/\\:*?"<>|'):
            raise StudyError(f"{name!r} cannot be the name of a folder: give another name among the {what}")
    return entries


def _source(images: Any, inputs: bool) -> Callable[[], Source]:
    if isinstance(images, (str, Path)):
        images = {"folder": images}
    if not isinstance(images, dict):
        return lambda: Items.of(images, inputs)
    kind, value = next(iter(images.items()))
    if kind == "folder":
        return lambda: Files.of(value)
    if kind == "tars":
        return lambda: Tars.of([value] if isinstance(value, (str, Path)) else list(value))
    if kind == "dataset":
        return lambda: Items.of(_made(value), inputs)
    raise WrongArgument(f"study: images is a folder, a Dataset or a list, or {{'tars': [...]}}; got {kind!r}")


def _made(text: Any) -> Any:
    """The dataset of a name, called without arguments where that is a function or a class."""
    found = named(text) if isinstance(text, str) else text
    if hasattr(found, "__getitem__") and hasattr(found, "__len__") and not isinstance(found, type):
        return found
    if not callable(found):
        raise StudyError(f"{text} is {shown(found)}, and not a Dataset or what makes one")
    try:
        return found()
    except FxscopeError:
        raise
    except Exception as error:  # code of others
        raise StudyError(f"{text} failed: {said(error)}") from error


def _limited(source: Source, limit: int | None) -> Source:
    if limit is not None:
        source.names = source.names[:limit]
    return source
