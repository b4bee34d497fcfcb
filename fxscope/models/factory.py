"""A network from a user's Python file: ``path/to/file.py:factory``, or with arguments."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import UnknownNetwork, WrongArgument, said
from ..images.preprocess import Preprocess


@dataclass(frozen=True)
class Loaded:
    """A network, how a photograph becomes its input, and the names of its labels, where they are known."""

    module: nn.Module
    preprocess: Preprocess | None = None
    names: tuple[str, ...] | None = None


def call_factory(path: Path, call: str) -> Loaded:
    """What a callable of a Python file returns, or the network of that name in the file.

    Parameters
    ----------
    path
        The file.
    call
        "factory", or "factory(3, width=4)" with Python literals.

    Returns
    -------
    Loaded
        A factory returns a network, or (network, preprocess, names). ``preprocess`` is a ``Preprocess``, a
        dict of its fields, or None; ``names`` a list of texts, or None.

    Raises
    ------
    UnknownNetwork
        If the file does not run, has no such name, or if the callable fails or returns something else.
    """
    name, args, kwargs = parsed_call(call)
    module = executed(path)
    found = getattr(module, name, None)
    if isinstance(found, nn.Module):
        return Loaded(found)
    if not callable(found):
        raise UnknownNetwork(f"{path} has no factory {name!r}; {_others(module, name)}")
    _check_signature(found, f"{path}:{name}", args, kwargs)
    try:
        made = found(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise UnknownNetwork(f"{path}:{name} failed{_where(error, path)}") from error
    return _loaded(made, f"{path}:{name}")


def parsed_call(call: str) -> tuple[str, list[Any], dict[str, Any]]:
    """(name, args, kwargs) of "name" or "name(literals)"; nothing of it is run."""
    if call.isidentifier():
        return call, [], {}
    try:
        found = ast.parse(call, mode="eval").body
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name):
            args = [ast.literal_eval(arg) for arg in found.args]
            return (
                found.func.id,
                args,
                {str(k.arg): ast.literal_eval(k.value) for k in found.keywords if k.arg},
            )
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    raise UnknownNetwork(
        f"a factory is NAME, or NAME(...) with numbers, texts, lists and other literals of Python; got"
        f" {call!r}"
    )


def _loaded(made: Any, name: str) -> Loaded:
    """The network and what comes with it."""
    if isinstance(made, nn.Module):
        return Loaded(made)
    parts = made if isinstance(made, tuple) else (made,)
    if len(parts) not in (2, 3) or not isinstance(parts[0], nn.Module):
        raise UnknownNetwork(
            f"{name} returned {_kind(made)}; it must return a torch.nn.Module, or (module, preprocess, names)"
        )
    module, preprocess, names = (*parts, None)[:3]
    if isinstance(preprocess, dict):
        try:
            preprocess = Preprocess(**preprocess)
        except (TypeError, WrongArgument) as error:
            raise UnknownNetwork(f"{name} returned a preprocess that is none: {said(error)}") from error
    if not isinstance(preprocess, Preprocess | None):
        raise UnknownNetwork(
            f"{name} returned {_kind(preprocess)} as its preprocess; it is a fxscope.Preprocess, or a dict of"
            " its fields"
        )
    if isinstance(names, str) or not isinstance(names, Sequence | None):
        raise UnknownNetwork(f"{name} returned {_kind(names)} as names; they are a list of texts")
    if preprocess is not None and not preprocess.source:
        preprocess = dataclasses.replace(preprocess, source="its factory")
    return Loaded(module, preprocess, None if names is None else tuple(map(str, names)))


def executed(path: Path) -> ModuleType:
    """The module of a Python file, run once more; raises ``UnknownNetwork`` with the line that failed."""
    # the prefix keeps a file named torch.py apart from torch
    spec = importlib.util.spec_from_file_location(f"fxscope_factory_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UnknownNetwork(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look it up there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # as `python path/to/file.py` does, for imports from beside the file
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UnknownNetwork(f"{path} does not run{_where(error, path)}") from error
    finally:
        with contextlib.suppress(ValueError):  # the file itself may change sys.path
            sys.path.remove(folder)
    return module


def _others(module: ModuleType, name: str) -> str:
    """The functions and classes that the file itself defines, or the nearest of them."""
    own = [n for n, v in vars(module).items() if callable(v) and v.__module__ == module.__name__]
    near = difflib.get_close_matches(name, own, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"it has {', '.join(own)}" if own else "it defines no function and no class"


def _check_signature(factory: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some callables of C have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise UnknownNetwork(
            f"the arguments of {name} are {signature}: {error}; write them as literals, {name}(...)"
        ) from None


def _where(error: BaseException, path: Path) -> str:
    """The line of the file that failed last, and the error's first line, to follow "it failed"."""
    own = path.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == own]
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == own:
        return f" at line {error.lineno}: {type(error).__name__}: {error.msg}"
    return f" at line {lines[-1]}: {said(error)}" if lines else f": {said(error)}"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"an object of type {type(value).__name__}"
