"""A network from a user's Python file: ``path/to/file.py:factory``."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import UnknownNetwork, said


def call_factory(path: Path, name: str) -> nn.Module:
    """The network that a callable of a Python file returns, or the network of that name in the file.

    Raises
    ------
    UnknownNetwork
        If the file does not run, has no such name, or if the callable fails or returns something else.
    """
    module = _executed(path)
    found = getattr(module, name, None)
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise UnknownNetwork(f"{path} has no factory {name!r}; {_others(module, name)}")
    _check_signature(found, f"{path}:{name}")
    try:
        network = found()
    except (Exception, SystemExit) as error:
        raise UnknownNetwork(f"{path}:{name} failed{_where(error, path)}") from error
    if not isinstance(network, nn.Module):
        raise UnknownNetwork(f"{path}:{name} returned {_kind(network)}; it must return a torch.nn.Module")
    return network


def _executed(path: Path) -> ModuleType:
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


def _check_signature(factory: Any, name: str) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some callables of C have none
        return
    try:
        signature.bind()
    except TypeError as error:
        raise UnknownNetwork(
            f"{name} is called without arguments, and its arguments are {signature}: {error}; write a"
            " function without arguments that calls it"
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
