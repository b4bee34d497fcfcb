"""Networks by name: ``torchvision:NAME``, ``timm:NAME``, ``path/to/file.py:factory`` and other forms."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ..errors import UnknownNetwork, WeightsError, said
from ..graph.arguments import checked
from ..graph.draws import seeded
from .factory import Loaded, call_factory, parsed_call
from .families import FAMILIES
from .named import TRAINED
from .weights import load_weights

OTHERS = ("path/to/file.py:factory", "path/to/file.py:factory(3, width=4)", "FILE.pt2")
FORMS = ", ".join([*(family.form for family in FAMILIES.values()), *OTHERS[:-1]]) + f" or {OTHERS[-1]}"
SUGGESTED = ("torchvision", "fxscope")  # families whose names are listed in no time


@checked
def load_model(spec: str, weights: str | None = None, seed: int | None = None) -> nn.Module:
    """Build the network that a text names, in eval mode.

    Parameters
    ----------
    spec : str
        "torchvision:NAME", "fxscope:NAME", "timm:NAME", "hf:NAME_OR_DIRECTORY", "spandrel:FILE",
        "onnx:FILE", "hub:OWNER/REPOSITORY:ENTRY", "FILE.pt2", "path/to/file.py:factory", or with literals as
        arguments "path/to/file.py:factory(3, width=4)".
    weights : str, optional
        A checkpoint for ``load_weights``, or "DEFAULT" for the weights of torchvision or timm.
    seed : int, optional
        Of the weights that are drawn at random. The global random state is then as before; without a seed
        the weights are drawn from it.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    UnknownNetwork
        If the text names no network, or its factory does not make one.
    WeightsError
        If the weights cannot be read or downloaded, or do not fit.

    Examples
    --------
    >>> load_model("fxscope:pixelshuffle4x")(torch.rand(1, 1, 8, 8)).shape
    torch.Size([1, 1, 32, 32])
    """
    return load(spec, weights, seed).module


def load(spec: str, weights: str | None = None, seed: int | None = None) -> Loaded:
    """As ``load_model``, with the preprocessing and the names of labels that the network comes with."""
    check_spec(spec)
    family, name = parsed(spec)
    if weights == "DEFAULT" and not (family in FAMILIES and FAMILIES[family].has_default):
        forms = " or ".join(f.form for f in FAMILIES.values() if f.has_default)
        raise WeightsError(f"--weights DEFAULT needs {forms}, got {spec}; give --weights FILE, or no weights")
    with _drawn(seed):
        found = _built(family, name, weights == "DEFAULT")
    if weights and weights != "DEFAULT":
        load_weights(found.module, weights)
    return found if family == "pt2" else replace(found, module=found.module.eval())


def parsed(spec: str) -> tuple[str, str]:
    """(family, name) of a text: the family is one of ``FAMILIES``, a Python file, "pt2", or "" for none."""
    of_file = re.fullmatch(r"(.+\.py):(.*)", spec, re.DOTALL)
    if of_file:
        return of_file[1], of_file[2]
    family, colon, name = spec.partition(":")
    if colon and family in FAMILIES:
        return family, name
    return ("pt2", spec) if spec.endswith(".pt2") else ("", spec)


def check_spec(spec: str) -> None:
    """Raise ``UnknownNetwork`` with the nearest names if a text names no network; nothing is built."""
    family, name = parsed(spec)
    if family.endswith(".py") or family == "pt2":
        if not Path(family if family != "pt2" else spec).is_file():
            raise UnknownNetwork(f"there is no file {spec if family == 'pt2' else family}")
        if family != "pt2":
            parsed_call(name)
    elif family:
        _check_name(family, name)
    elif spec.endswith(".py"):
        raise UnknownNetwork(f"MODEL is {FORMS}; name the factory, too: {spec}:FACTORY")
    else:
        known = [f"{f}:{n}" for f in SUGGESTED for n in _names(f)]
        near = [k for k in known if k.rpartition(":")[2] == name] or difflib.get_close_matches(spec, known, 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UnknownNetwork(f"MODEL is {FORMS}, got {spec!r}{hint}")


def _check_name(family: str, name: str) -> None:
    FAMILIES[family].check()
    known = _names(family)
    if not name or (known and name.partition(".")[0] not in known):
        raise UnknownNetwork(f"{family} has no network {name!r}; {_nearest(name, known)}")
    if family == "spandrel" and not Path(name).is_file():
        raise UnknownNetwork(f"there is no file {name}; spandrel:FILE reads a file of weights")
    if family == "onnx" and not Path(name).is_file():
        raise UnknownNetwork(f"there is no file {name}; onnx:FILE reads a network in the format of ONNX")
    if family == "hub" and not all(name.rpartition(":")[::2]):
        raise UnknownNetwork(f"write {FAMILIES[family].form}, got hub:{name}")


def _names(family: str) -> list[str]:
    listed = FAMILIES[family].listed
    return listed() if listed else []


def name_of(spec: str) -> str:
    """A short name of a MODEL argument, which can be part of a file's name."""
    _, of_file, factory = spec.rpartition(".py:")
    short = factory if of_file else Path(spec.rpartition(":")[2]).name
    return re.sub(r"[^\w.-]+", "_", short).strip("_") or "network"


def has_random_weights(spec: str, weights: str | None) -> bool:
    """Whether the weights of ``load_model(spec, weights)`` are drawn at random; False for a factory's."""
    family, name = parsed(spec)
    is_drawn = family in ("torchvision", "timm", "fxscope") and not (family == "fxscope" and name in TRAINED)
    return is_drawn and not weights


def weights_note(spec: str, weights: str | None = None, seed: int | None = None) -> str:
    """What weights ``load_model(spec, weights, seed)`` has, to be said wherever the network is named."""
    family, name = parsed(spec)
    drawn = "" if seed is None else f", seed {seed}"
    if weights:
        return f"{family}'s weights" if weights == "DEFAULT" else f"weights {Path(weights).name}"
    if has_random_weights(spec, weights):
        return f"random weights{drawn}"
    if family in ("hf", "spandrel", "onnx", "hub", "pt2"):
        return "own weights"
    return TRAINED[name] if family == "fxscope" else f"as its factory makes it{drawn}"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.4)
    if near and len(known) > 20:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known)}" if len(known) < 100 else "fxscope models lists the families"


@contextlib.contextmanager
def _drawn(seed: int | None) -> Iterator[None]:
    """What is drawn in the block is drawn from ``seed``, if there is one."""
    if seed is None:
        yield
        return
    with seeded(seed):
        yield


def _built(family: str, name: str, trained: bool) -> Loaded:
    if family in FAMILIES:
        return FAMILIES[family].build(name, trained)
    return Loaded(_exported(name)) if family == "pt2" else call_factory(Path(family), name)


def _exported(file: str) -> nn.Module:
    """The network of a program that torch.export saved."""
    try:
        module = torch.export.load(file).module()
    except Exception as error:  # no archive, a program of another version, an operator that is not here
        raise UnknownNetwork(f"{file} holds no program of torch.export: {said(error)}") from error
    for name in ("train", "eval"):  # which raise there: a program has one mode
        vars(module).pop(name, None)
    return module.eval()
