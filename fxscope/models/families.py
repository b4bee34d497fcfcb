"""The families of networks that a text can name, each with the package that it needs."""

from __future__ import annotations

import importlib.util
import inspect
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from ..errors import UnknownNetwork, WeightsError, said
from ..images.conventions import of_directory
from ..images.preprocess import Preprocess
from .factory import Loaded
from .named import build, names
from .onnx_file import INSTALL, read_onnx


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Parameters
    ----------
    form : str
        How a network of it is written.
    package : str
        The package that builds it, and how it is installed.
    install : str
        What is installed where it is missing.
    build : callable
        From what follows "family:", and whether its trained weights are wanted, to the network.
    listed : callable, optional
        All names, where they can be listed.
    has_default : bool
        Whether its package has trained weights, which ``--weights DEFAULT`` takes.
    """

    form: str
    package: str
    install: str
    build: Callable[[str, bool], Loaded]
    listed: Callable[[], list[str]] | None = None
    has_default: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether its package is here; it is not imported."""
        return importlib.util.find_spec(self.package) is not None

    def check(self) -> None:
        """Raise ``UnknownNetwork`` if its package is missing."""
        if not self.is_installed:
            raise UnknownNetwork(f"{self.form} needs {self.package}: {self.install}")


def _fxscope(name: str, trained: bool) -> Loaded:
    return Loaded(build(name))


def _torchvision_names() -> list[str]:
    try:
        import torchvision
    except Exception as error:  # a broken installation fails in many ways
        raise UnknownNetwork(f"torchvision:NAME needs torchvision, which does not import: {error}") from error
    return torchvision.models.list_models()


def _torchvision(name: str, trained: bool) -> Loaded:
    import torchvision

    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        options["weights_backbone"] = None  # by default it is downloaded
    if not trained:
        return Loaded(builder(**options))
    try:
        return Loaded(torchvision.models.get_model(name, weights="DEFAULT"))
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


def _timm_names() -> list[str]:
    import timm

    return timm.list_models()


def _timm(name: str, trained: bool) -> Loaded:
    import timm

    if trained:
        _check_reach(name)
    try:
        return Loaded(timm.create_model(name, pretrained=trained))
    except Exception as error:  # no network, or no weights of this name
        if not trained:
            raise UnknownNetwork(f"timm does not build {name}: {said(error)}") from error
        wanted: Any = timm.create_model(name).pretrained_cfg
        source = wanted.get("hf_hub_id") or wanted.get("url") or "no address of weights"
        raise WeightsError(
            f"timm's weights of {name} ({source}) could not be downloaded: {said(error)}; give --weights FILE"
        ) from error


def _check_reach(name: str) -> None:
    """Raise ``WeightsError`` if timm would have to download weights, and their address is not reached."""
    import timm

    wanted: Any = timm.create_model(name).pretrained_cfg
    repository, url = wanted.get("hf_hub_id"), wanted.get("url")
    address = _hub_address() if repository else url
    if not address or _is_reachable(address):
        return
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(url)).name
    if _is_cached(repository) if repository else file.is_file():
        return
    raise WeightsError(
        f"timm's weights of {name} are not in the cache, and {address} cannot be reached, from which"
        f" {repository or url} would be downloaded; give --weights FILE"
    )


def _is_cached(repository: str) -> bool:
    """Whether the cache of Hugging Face has weights of a repository."""
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors")
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)


def _hub_address() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _is_reachable(address: str) -> bool:
    """Whether a server answers within a few seconds; it is not asked where a proxy is between."""
    parts = urlsplit(address)
    if parts.scheme in getproxies() or not parts.hostname:
        return True
    try:
        with socket.create_connection((parts.hostname, parts.port or 443), timeout=3):
            return True
    except OSError:
        return False


def _huggingface(name: str, trained: bool) -> Loaded:
    import transformers

    is_offline = not Path(name).is_dir() and not _is_reachable(_hub_address())
    try:
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=is_offline)
        kind = getattr(transformers, (config.architectures or ["AutoModel"])[0], transformers.AutoModel)
        module = kind.from_pretrained(name, local_files_only=is_offline)
    except Exception as error:  # no network, no such name, an unknown architecture, no weights in the folder
        if is_offline:
            raise WeightsError(
                f"hf:{name} is not in the cache, and {_hub_address()} cannot be reached, from which its"
                " config.json and its weights would be downloaded; give a folder, hf:DIRECTORY"
            ) from error
        where = "the folder" if Path(name).is_dir() else "the Hugging Face Hub (config.json and its weights)"
        raise WeightsError(f"hf:{name} does not load from {where}: {said(error)}") from error
    labels = getattr(config, "id2label", None) or {}
    named = tuple(str(labels[k]) for k in sorted(labels)) if labels else None
    return Loaded(module, _of_hub(name, is_offline), named)


def _of_hub(name: str, is_offline: bool) -> Preprocess | None:
    """What the image processor of a folder or of a name in the hub's cache says."""
    if Path(name).is_dir():
        return of_directory(Path(name))
    from transformers.utils import cached_file

    options = {
        "_raise_exceptions_for_missing_entries": False,
        "_raise_exceptions_for_connection_errors": False,
    }
    file = cached_file(name, "preprocessor_config.json", local_files_only=is_offline, **options)
    return of_directory(Path(file).parent) if file else None


def _spandrel(name: str, trained: bool) -> Loaded:
    import spandrel

    if not Path(name).is_file():
        raise UnknownNetwork(f"there is no file {name}; spandrel:FILE reads a file of weights")
    try:
        descriptor = spandrel.ModelLoader().load_from_file(name)
    except Exception as error:  # a damaged file, or an architecture that it does not know
        raise WeightsError(f"spandrel does not know the network of {name}: {said(error)}") from error
    return Loaded(descriptor.model, Preprocess.of(descriptor))


def _onnx(name: str, trained: bool) -> Loaded:
    return read_onnx(name)


def _hub(name: str, trained: bool) -> Loaded:
    repository, _, entry = name.rpartition(":")
    local = Path(repository).is_dir()
    where = f"the folder {repository}" if local else f"https://github.com/{repository}"
    try:
        module = torch.hub.load(repository, entry, **({"source": "local"} if local else {"trust_repo": True}))
    except Exception as error:  # no network, no such entry, or what a repository's own code raises
        raise UnknownNetwork(f"hub:{name} does not build from {where}: {said(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise UnknownNetwork(f"hub:{name} gave {type(module).__name__}, and a torch.nn.Module is needed")
    return Loaded(module)


_ALL = "pip install 'fxscope[conformance]'"
FAMILIES: dict[str, Family] = {
    "torchvision": Family(
        "torchvision:NAME", "torchvision", "pip install torchvision", _torchvision, _torchvision_names, True
    ),
    "fxscope": Family("fxscope:NAME", "fxscope", "", _fxscope, names),
    "timm": Family("timm:NAME", "timm", _ALL, _timm, _timm_names, True),
    "hf": Family("hf:NAME_OR_DIRECTORY", "transformers", _ALL, _huggingface),
    "spandrel": Family("spandrel:FILE", "spandrel", _ALL, _spandrel),
    "onnx": Family("onnx:FILE", "onnx2torch", INSTALL, _onnx),
    "hub": Family("hub:OWNER/REPOSITORY:ENTRY", "torch", "", _hub),
}
