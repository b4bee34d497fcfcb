"""Networks by name: ``torchvision:NAME``, ``fxscope:NAME`` or ``path/to/file.py:factory``."""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UnknownNetwork, WeightsError
from ..graph.arguments import checked
from .factory import call_factory
from .named import TRAINED, build, names
from .weights import load_weights

FORMS = "torchvision:NAME, fxscope:NAME or path/to/file.py:factory"


@checked
def load_model(spec: str, weights: str | None = None, seed: int | None = None) -> nn.Module:
    """Build the network that a text names, in eval mode.

    Parameters
    ----------
    spec : str
        "torchvision:NAME", "fxscope:NAME" or "path/to/file.py:factory". The factory is called without
        arguments.
    weights : str, optional
        A checkpoint for ``load_weights``, or "DEFAULT" for torchvision's own weights.
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
    check_spec(spec)
    family, _, name = spec.rpartition(":")
    if weights == "DEFAULT" and family != "torchvision":
        raise WeightsError(
            f"--weights DEFAULT needs torchvision:NAME, got {spec}; give --weights FILE, or no weights"
        )
    with _drawn(seed):
        if weights == "DEFAULT":
            return _with_its_weights(name).eval()
        model = _built(family, name)
    if weights:
        load_weights(model, weights)
    return model.eval()


def check_spec(spec: str) -> None:
    """Raise ``UnknownNetwork`` with the nearest names if a text names no network; nothing is built."""
    family, _, name = spec.rpartition(":")
    if family.endswith(".py"):
        if not Path(family).is_file():
            raise UnknownNetwork(f"there is no file {family}")
    elif family in _LISTED:
        known = _LISTED[family]()
        if name not in known:
            raise UnknownNetwork(f"{family} has no network {name!r}; {_nearest(name, known)}")
    elif spec.endswith(".py"):
        raise UnknownNetwork(f"MODEL is {FORMS}; name the factory, too: {spec}:FACTORY")
    else:
        known = [f"{f}:{n}" for f, listed in _LISTED.items() for n in listed()]
        near = [k for k in known if k.rpartition(":")[2] == name] or difflib.get_close_matches(spec, known, 3)
        said = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UnknownNetwork(f"MODEL is {FORMS}, got {spec!r}{said}")


def has_random_weights(spec: str, weights: str | None) -> bool:
    """Whether the weights of ``load_model(spec, weights)`` are drawn at random; False for a factory's."""
    family, _, name = spec.rpartition(":")
    return not weights and family in _LISTED and not (family == "fxscope" and name in TRAINED)


def weights_note(spec: str, weights: str | None = None, seed: int | None = None) -> str:
    """What weights ``load_model(spec, weights, seed)`` has, to be said wherever the network is named."""
    family, _, name = spec.rpartition(":")
    drawn = "" if seed is None else f", seed {seed}"
    if weights:
        return "torchvision's weights" if weights == "DEFAULT" else f"weights {Path(weights).name}"
    if has_random_weights(spec, weights):
        return f"random weights{drawn}"
    return TRAINED[name] if family == "fxscope" else f"own{drawn}"


def _torchvision_names() -> list[str]:
    try:
        import torchvision
    except Exception as error:  # a broken installation fails in many ways
        raise UnknownNetwork(f"torchvision:NAME needs torchvision, which does not import: {error}") from error
    return torchvision.models.list_models()


_LISTED: dict[str, Callable[[], list[str]]] = {"torchvision": _torchvision_names, "fxscope": names}


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.4)
    if near and len(known) > 20:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known)}"


@contextlib.contextmanager
def _drawn(seed: int | None) -> Iterator[None]:
    """What is drawn in the block is drawn from ``seed``, if there is one."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _built(family: str, name: str) -> nn.Module:
    if family == "fxscope":
        return build(name)
    if family == "torchvision":
        return _torchvision(name)
    return call_factory(Path(family), name)


def _torchvision(name: str) -> nn.Module:
    import torchvision

    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None  # by default it is downloaded
    return builder(**options)


def _with_its_weights(name: str) -> nn.Module:
    import torchvision

    try:
        return torchvision.models.get_model(name, weights="DEFAULT")
    except OSError as error:  # no network, no such file, a full disk
        raise WeightsError(
            f"torchvision's weights of {name} could not be downloaded: {error}; give --weights FILE"
        ) from error
    except Exception as error:
        # a file in the cache that is cut short, or of another network, fails in many ways
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"torchvision's weights of {name} do not load from {cache} ({type(error).__name__}); remove the"
            " file there to have it downloaded again, or give --weights FILE"
        ) from None
