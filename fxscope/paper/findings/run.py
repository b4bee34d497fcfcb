"""Measuring networks on photographs: one line for each, kept as soon as it is finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import models
from ..._version import __version__
from ...graph.interpretation import KEY, VERSION
from ...images.preprocess import Preprocess
from ...linop import Reader, prepare
from ...results.files import write_text
from ...results.progress import steps
from ...results.provenance import digest
from .measures import DEFINITIONS, of_images, of_scores
from .photographs import Photograph, crops, views


@dataclass(frozen=True)
class Network:
    """A trained network that is measured.

    Parameters
    ----------
    name : str
        The name in ``fxscope:NAME``, and of the file that keeps its lines.
    kind : {"scores", "images"}
        What it gives.
    trained : str
        What it was trained for.
    policies : tuple of str
        Where the network is piecewise linear, all policies are the same.
    build : callable, optional
        What makes it; the default is ``models.build(name)``.
    preprocess : Preprocess, optional
        How a photograph becomes x0. The default is that of ``fxscope:NAME``.
    """

    name: str
    kind: str
    trained: str
    policies: tuple[str, ...] = ("freeze",)
    build: Callable[[], nn.Module] | None = field(default=None, compare=False)
    preprocess: Preprocess | None = field(default=None, compare=False)

    def module(self) -> nn.Module:
        """The network, in eval mode; raises ``WeightsError`` where its package is not installed."""
        return (self.build() if self.build else models.build(self.name)).eval()


LABELS, ERROR, CRITIC = "for the labels of ImageNet", "for a small error", "against a critic"
NETWORKS = {
    n.name: n
    for n in (
        *(Network(f"efficientnet_lite{i}", "scores", LABELS) for i in (0, 1, 2)),
        *(Network(f"span{i}x", "images", ERROR, ("freeze", "taylor")) for i in (2, 4)),
        *(Network(f"real_esr_animevideo{i}x", "images", CRITIC) for i in (2, 3, 4)),
    )
}


def measure(
    network: Network,
    photographs: Sequence[Photograph],
    path: str | Path | None = None,
    progress: bool = True,
    eigen: int | None = None,
) -> list[dict[str, Any]]:
    """The lines of a network: one for every policy and photograph.

    Parameters
    ----------
    network : Network
        Of ``NETWORKS``, or one's own.
    photographs : sequence of Photograph
        What ``photographs`` returns, or some of them.
    path : path, optional
        A file of JSON lines. A line whose key is the same (weights, policy, preprocessing, bytes of the
        photograph, definitions, versions) is not measured again. The file is whole after every line.
    progress : bool
        Show a progress bar.
    eigen : int, optional
        Eigen-inputs of so many photographs, the first ones. The default is all.

    Returns
    -------
    list of dict
        The lines, in the order of policies and photographs.
    """
    module = network.module()
    preprocess = network.preprocess or Preprocess.of(f"fxscope:{network.name}", module)
    state = module.state_dict()
    weights = digest(*(part for name in sorted(state) for part in (name, state[name])))
    kept = {line["key"]: line for line in read(path)} if path else {}
    lines: list[dict[str, Any]] = []
    with steps(len(network.policies) * len(photographs), network.name, progress) as bar:
        for policy in network.policies:
            read_x0 = _Readers(module, policy)
            for number, photograph in enumerate(photographs):
                has_eigen = policy == network.policies[0] and (eigen is None or number < eigen)
                said = {"network": network.name, "policy": policy, "photograph": photograph.name}
                made = [weights, preprocess.as_data(), photograph.digest(), has_eigen, DEFINITIONS]
                key = digest(json.dumps([said, made, __version__, VERSION], sort_keys=True))
                if key not in kept:
                    numbers = _numbers(network, read_x0, preprocess, photograph, has_eigen)
                    kept[key] = {"key": key, **said, KEY: VERSION, "fxscope": __version__, **numbers}
                    if path:
                        _write(path, kept.values())
                lines.append(kept[key])
                bar.update(1)
    if path:
        _write(path, lines)
    return lines


class _Readers:
    """The reader of a network under one policy, prepared where the first image needs it."""

    def __init__(self, module: nn.Module, policy: str):
        self.module, self.policy = module, policy
        self.reader: Reader | None = None

    def __call__(self, x0: torch.Tensor) -> Reader:
        if self.reader is None:
            self.reader = prepare(self.module, x0, policy=self.policy)
        return self.reader


def _numbers(
    network: Network, readers: _Readers, preprocess: Preprocess, photograph: Photograph, eigen: bool
) -> dict[str, Any]:
    picture = photograph.picture().to(next(readers.module.parameters()).dtype)
    if network.kind == "scores":
        x0 = views(preprocess, picture)
        found = of_scores(readers(x0), preprocess, x0)
    else:
        x0 = torch.cat([preprocess(c) for c in crops(picture)])
        found = of_images(readers(x0[:1]), preprocess, x0, eigen)
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(value: Any) -> Any:
    """Numbers of six digits, which is about what single precision holds."""
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a file, or none if there is no file."""
    return list(_lines(Path(path))) if Path(path).exists() else []


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text(encoding="utf-8").splitlines():
        if text.strip():
            yield json.loads(text)


def _write(path: str | Path, lines: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
