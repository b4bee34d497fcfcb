"""Networks by name: ``torchvision:NAME``, ``fxscope:NAME`` or ``path/to/file.py:factory``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import nn

from ..errors import FxscopeError, WeightsError
from .named import build, names
from .weights import load_weights


def load_model(spec: str, weights: str | None = None) -> nn.Module:
    """Build the network of a MODEL argument, in eval mode.

    Parameters
    ----------
    spec : str
        "torchvision:NAME", "fxscope:NAME" or "path/to/file.py:factory". The factory is called without
        arguments.
    weights : str, optional
        A checkpoint for ``load_weights``, or "DEFAULT" for torchvision's own weights.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    FxscopeError
        If there is no such network.
    WeightsError
        If the weights cannot be read or downloaded, or do not fit.

    Examples
    --------
    >>> load_model("fxscope:pixelshuffle4x")(torch.rand(1, 1, 8, 8)).shape
    torch.Size([1, 1, 32, 32])
    """
    kind, _, name = spec.rpartition(":")
    if kind == "fxscope":
        if name not in names():
            raise FxscopeError(f"fxscope has no network {name!r}; there are {', '.join(names())}")
        model = build(name)
    elif kind == "torchvision":
        model = _torchvision(name, weights)
        weights = None if weights == "DEFAULT" else weights
    elif kind.endswith(".py"):
        model = _from_file(Path(kind), name)
    else:
        raise FxscopeError(
            f"MODEL is torchvision:NAME, fxscope:NAME or path/to/file.py:factory, got {spec!r}"
        )
    if weights == "DEFAULT":
        raise WeightsError(
            f"--weights DEFAULT needs torchvision:NAME, got {spec}; give --weights FILE, or no weights"
        )
    if weights:
        load_weights(model, weights)
    return model.eval()


def _torchvision(name: str, weights: str | None) -> nn.Module:
    import torchvision

    if name not in torchvision.models.list_models():
        raise FxscopeError(f"torchvision has no model {name!r}; torchvision.models.list_models() lists them")
    if weights != "DEFAULT":
        return torchvision.models.get_model(name, weights=None)
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


def _from_file(path: Path, name: str) -> nn.Module:
    if not path.is_file():
        raise FxscopeError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FxscopeError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise FxscopeError(f"{path} has no callable {name!r}")
    return factory()
