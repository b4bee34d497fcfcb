"""Residual share: the share of the biases in the largest score (paper, Tables 3 and 4).

It depends on where zero lies, which every record says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..emit.pipeline import transform
from ..errors import FxscopeError
from ..frontend.autocast import no_autocast
from ..frontend.unchanged import Draw, unchanged
from ..graph.arguments import check_module, checked, shown
from ..graph.assumptions import takes
from ..graph.interpretation import KEY, VERSION, check
from ..linop.prepared import is_pure
from ..results.base import VersionedResult
from ..results.files import check_writable, write_text
from ..results.pictures import captioned_bars
from ..results.progress import steps
from ..results.provenance import of_network
from ..results.tables import Column, Table, counted
from .zero import OWN, Zero

IMAGES = 12  # whose bars are drawn


@dataclass(frozen=True, repr=False)
class Share(VersionedResult):
    """The residual share r_k / y_k of the largest score of each image, for one network.

    Parameters
    ----------
    name : str
        The name of the network.
    shares, labels : dict
        {image: r_k / y_k} and {image: k}.
    error : float
        The largest |<row, x0 - z> + (r_k + <row, z>) - y_k| / |y_k|.
    zero : str
        Where zero lies: about the input z the share is (r_k + <row, z>) / y_k.
    """

    name: str
    shares: dict[str, float]
    labels: dict[str, int]
    error: float
    zero: str = OWN

    @property
    def mean(self) -> float:
        """The mean share, by an exact sum: the order of the images has no effect."""
        return math.fsum(self.shares.values()) / len(self.shares)

    @property
    def std(self) -> float:
        """The standard deviation of the shares, with n in the denominator."""
        return math.sqrt(math.fsum((v - self.mean) ** 2 for v in self.shares.values()) / len(self.shares))

    def numbers(self) -> dict[str, Any]:
        """Mean, standard deviation, and the share of each image."""
        return {
            "name": self.name,
            "zero": self.zero,
            "images": len(self.shares),
            "mean": self.mean,
            "std": self.std,
            "error": self.error,
            "shares": self.shares,
            "labels": self.labels,
        }

    def _said(self) -> Iterable[str]:
        about = f"{self.name}: {self.mean:.1%} ± {self.std:.1%} about {self.zero}"
        return [about, counted(len(self.shares), "image"), f"error {self.error:.0e}"]

    def _table(self) -> Table:
        return table_of([self])

    def _picture(self) -> str:
        said = [(image, share, f"{share:.1%}") for image, share in list(self.shares.items())[:IMAGES]]
        return captioned_bars(said, f"residual shares of {self.name}")


@dataclass(frozen=True, repr=False)
class ResidualShare(VersionedResult):
    """The residual shares of several networks.

    Parameters
    ----------
    models : tuple of Share
        One entry for each network.
    """

    models: tuple[Share, ...]

    def numbers(self) -> dict[str, Any]:
        """{network: its numbers}."""
        return {m.name: m.numbers() for m in self.models}

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return asdict(self), {}

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> ResidualShare:
        return cls(
            tuple(Share(**share) for share in header["models"]),
            interpretation=header[KEY],
            _provenance=header.get("_provenance"),
        )

    def _said(self) -> Iterable[str]:
        return [f"{m.name}: {m.mean:.1%} ± {m.std:.1%} about {m.zero}" for m in self.models]

    def _table(self) -> Table:
        return table_of(self.models)


def table_of(models: Sequence[Share]) -> Table:
    """A row for each network."""
    columns = (
        "network",
        Column("mean share", "of the score", ".2%"),
        Column("std", "of the score", ".2%"),
        "",
        "images",
        Column("error", form=".1e"),
    )
    return Table(
        columns, [(m.name, m.mean, m.std, f"about {m.zero}", len(m.shares), m.error) for m in models]
    )


@checked
def residual_share(
    models: nn.Module | dict[str, nn.Module],
    images: Iterable[tuple[str, torch.Tensor]],
    state: str | Path | None = None,
    batch: int = 8,
    policy: Any = None,
    progress: bool = True,
    zero: Any = None,
    mean: Any = None,
    std: Any = None,
) -> ResidualShare:
    """The residual share of the largest score k of each image, for one or several networks.

    ::

        y_k = <row_k, x0 - z> + (r_k + <row_k, z>),      share = (r_k + <row_k, z>) / y_k

    The share depends on where zero lies, the input z. By default this is x = 0 of the input that the network
    takes: for ImageNet networks, which are normalised, it is the mean colour of ImageNet.

    Parameters
    ----------
    models : torch.nn.Module or dict
        One classifier or {name: classifier}, each (B, ...) to (B, labels).
    images : iterable of (str, torch.Tensor)
        (name, x0), where x0 is (1, ...). It is iterated once for each network.
    state : path, optional
        A file of the finished images, which are not computed again: a line of JSON for every batch, added
        when the batch is done. ``fxscope.study`` does the same in several processes.
    batch : int
        Number of images of one size that run at once.
    policy : optional
        As in ``fxscope.interpret``.
    progress : bool
        Show a progress bar.
    zero : str, float or torch.Tensor, optional
        The input z: "mean" (the mean colour of each image), "black", "grey" (pixels of 0 and of 0.5), a
        number, or a tensor of one image or with one number for each channel. The default is 0.
    mean, std : float or sequence of float, optional
        The normalisation x0 = (pixels - mean) / std, which "black" and "grey" need.

    Returns
    -------
    ResidualShare
        One ``Share`` for each network.

    Raises
    ------
    FxscopeError
        If there is no image, a largest score is 0, or ``zero`` does not fit.
    OtherInterpretation
        If the state file has another version of the interpretation.

    References
    ----------
    The paper, Tables 3 and 4.
    """
    models = {type(models).__name__: models} if isinstance(models, nn.Module) else models
    if not isinstance(models, dict) or not models:
        raise TypeError(f"residual_share: models is a network or {{name: network}}, got {shown(models)}")
    for model in models.values():
        check_module(model)
    about = Zero.of("residual_share", zero, mean, std)
    kept = _Kept(state)
    found = []
    for name, model in models.items():
        key = kept.key(name, model, str(policy or "freeze"), about)
        known = kept.values.setdefault(key, {})
        with steps(_left(images, known), f"residual share of {name}", progress) as bar:
            for each in _measured(model, _batches(images, batch, known), policy, about):
                kept.add(key, each)
                bar.update(len(each))
        if not known:
            raise FxscopeError("residual_share: no image was given")
        found.append(
            Share(
                name,
                {k: v[0] for k, v in known.items()},
                {k: v[1] for k, v in known.items()},
                max(v[2] for v in known.values()),
                about.name,
            )
        )
    name, model = next(iter(models.items()))  # several are named beside their bars
    of_one = of_network(model, policy or "freeze") | {"model": name}
    origin = of_one if len(models) == 1 else {"policy": str(policy or "freeze"), KEY: VERSION}
    return ResidualShare(tuple(found), _provenance=origin)


def _left(images: Any, known: dict) -> int | None:
    """Number of images that are not known yet, if the images are in a list."""
    return sum(name not in known for name, _ in images) if isinstance(images, (list, tuple)) else None


def _measured(model: nn.Module, batches: Iterable, policy: Any, about: Zero) -> Iterator[dict]:
    """The measurements {image: (share, label, error)} of one batch after the other."""
    graph = None
    for names, x0 in batches:
        if graph is None or not takes(graph, x0):
            graph = _graph(model, x0, policy)
        with _guard(graph, model, x0):
            found = _measure(graph, names, x0, about)
        yield found


@contextlib.contextmanager
def _guard(graph: torch.fx.GraphModule, model: nn.Module, x0: torch.Tensor) -> Iterator[None]:
    """Leave the model and the random state as they are; a graph of torch's operators writes to no model."""
    if not all(map(is_pure, graph.graph.nodes)):
        with unchanged(model):
            yield
        return
    with no_autocast(), Draw((x0, *model.parameters())).again():
        yield


def _graph(model: nn.Module, x0: torch.Tensor, policy: Any) -> torch.fx.GraphModule:
    """The row graph for these images; its batch is free if the code of the model allows it."""
    graph = transform(model, "argmax", policy=policy, example_inputs=(x0[:1],))
    return graph if takes(graph, x0) else transform(model, "argmax", policy=policy, example_inputs=(x0,))


def _measure(
    graph: torch.fx.GraphModule, names: list[str], x0: torch.Tensor, about: Zero
) -> dict[str, tuple[float, int, float]]:
    with torch.no_grad():
        y0, index, row, r = graph(x0)
    y = y0.flatten(1).gather(1, index[:, None])[:, 0].double()
    if (y == 0).any():
        raise FxscopeError(
            f"residual_share: the largest score of {names[int((y == 0).nonzero()[0])]} is 0, so r / y is"
            " not defined"
        )
    linear, r = (row * x0).flatten(1).double().sum(1), r.double()
    if not about.is_own:
        z = about.at(x0)
        linear = (row * (x0 - z)).flatten(1).double().sum(1)
        r = r + (row * z).flatten(1).double().sum(1)
    error = ((linear + r - y) / y).abs()
    return {n: (float(a), int(k), float(e)) for n, a, k, e in zip(names, r / y, index, error)}


def _batches(
    images: Iterable[tuple[str, torch.Tensor]], batch: int, known: dict
) -> Iterator[tuple[list[str], torch.Tensor]]:
    """(names, images) of one size each, at most ``batch`` at a time, without the images that are known."""
    names: list[str] = []
    tensors: list[torch.Tensor] = []
    for name, x0 in images:
        if name in known:
            continue
        if tensors and (x0.shape != tensors[0].shape or len(tensors) == batch):
            yield names, torch.cat(tensors)
            names, tensors = [], []
        names.append(name)
        tensors.append(x0)
    if tensors:
        yield names, torch.cat(tensors)


class _Kept:
    """The finished images, {network and weights: {image: (share, label, error)}}, in a file.

    Every line is such a dict, of one batch; the first has the version of the interpretation, too. A line is
    added to the file, which is never written again: what an image costs does not grow with their number. A
    last line that a kill cut off is left out, and overwritten.
    """

    def __init__(self, path: str | Path | None):
        self.path = None if path is None else Path(path)
        self.values: dict[str, dict] = {}
        self._bytes, self._gap = 0, b""  # of whole lines, and what ends the last one
        if self.path is not None:
            check_writable(self.path)
            if self.path.exists():
                self._read(self.path)

    def _read(self, path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines):
            try:
                found = json.loads(line)
            except ValueError as error:
                if 0 < number == len(lines) - 1:
                    break
                raise FxscopeError(f"{path} is no state of residual_share: {error}") from error
            if not isinstance(found, dict):
                raise FxscopeError(f"{path} is no state of residual_share: it holds a {type(found).__name__}")
            if number == 0:
                check(
                    found,
                    f"{path}, a state of residual_share,",
                    "give another file, and the shares are computed again",
                )
                found.pop(KEY)
            for key, images in found.items():
                self.values.setdefault(key, {}).update(images)
            self._bytes += len(line)
            self._gap = b"" if line.endswith(b"\n") else b"\n"

    @staticmethod
    def key(name: str, model: nn.Module, policy: str, about: Zero) -> str:
        """What the known images are kept under."""
        digest = hashlib.sha256()
        for key, value in model.state_dict().items():
            digest.update(key.encode())
            digest.update(
                value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                if value.numel()
                else b""
            )
        zero = "" if about.is_own else f", about {about.name}"
        return f"{name}, {policy}, weights {digest.hexdigest()[:16]}{zero}"

    def add(self, key: str, images: dict) -> None:
        """Add the finished images of a batch."""
        self.values.setdefault(key, {}).update(images)
        if self.path is None:
            return
        line = json.dumps({key: images} if self._bytes else {KEY: VERSION, key: images}) + "\n"
        if not self._bytes:
            write_text(self.path, line)
        else:
            with self.path.open("r+b") as file:
                file.seek(self._bytes)
                file.write(self._gap + line.encode())
                file.truncate()
        self._bytes += len(self._gap) + len(line.encode())
        self._gap = b""
