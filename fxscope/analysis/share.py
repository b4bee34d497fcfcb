"""Residual share: how much of the winning score the biases make, over many images and for many networks (paper, Tables 3 and 4)."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..emit.pipeline import transform
from ..errors import FxscopeError
from ..frontend.unchanged import unchanged
from ..graph.assumptions import takes
from ..graph.interpretation import KEY, VERSION, check
from ..results.base import Result
from ..results.progress import steps


@dataclass(frozen=True)
class Share(Result):
    """r_k / y_k of one network's largest scores.

    shares  {image: r_k / y_k};  labels  {image: k};  error  largest |<row, x0> + r_k - y_k| / |y_k|
    mean, std   exact: from the sums of all values, whatever their order (std with n in the denominator)
    """

    name: str
    shares: dict[str, float]
    labels: dict[str, int]
    error: float

    @property
    def mean(self) -> float:
        return math.fsum(self.shares.values()) / len(self.shares)

    @property
    def std(self) -> float:
        return math.sqrt(math.fsum((v - self.mean) ** 2 for v in self.shares.values()) / len(self.shares))

    def numbers(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "images": len(self.shares),
            "mean": self.mean,
            "std": self.std,
            "error": self.error,
            "shares": self.shares,
            "labels": self.labels,
        }


@dataclass(frozen=True)
class ResidualShare(Result):
    """The table of the networks, one ``Share`` each."""

    models: tuple[Share, ...]

    def numbers(self) -> dict[str, Any]:
        return {m.name: m.numbers() for m in self.models}

    def __str__(self) -> str:
        width = max(len(m.name) for m in self.models)
        return "\n".join(
            f"{m.name:{width}s}  {100 * m.mean:6.2f}% +- {100 * m.std:5.2f}   ({len(m.shares)} images, error"
            f" {m.error:.1e})"
            for m in self.models
        )


def residual_share(
    models: nn.Module | dict[str, nn.Module],
    images: Iterable[tuple[str, torch.Tensor]],
    state: str | Path | None = None,
    batch: int = 8,
    policy: Any = None,
    progress: bool = True,
) -> ResidualShare:
    """r_k / y_k of the largest score k of every image.

        y_k = <row_k, x0> + r_k

    models  one classifier or {name: classifier}, each (B, ...) -> (B, labels)
    images  (name, x0) one after the other, x0 (1, ...) as the networks take it; they are read as they are used, again for every network
    state   a JSON file that is written after every batch; run again with it, images that are in it are not computed again.
            One of another version of the interpretation raises ``OtherInterpretation``
    batch   images that run together, where they have one size

    The share depends on what x = 0 means: x0 is the input as the network takes it (for ImageNet networks normalised, so that
    0 is the mean colour). Raises ``FxscopeError`` where there is no image, or a score is 0.
    Source: the paper, Tables 3 and 4.
    """
    models = {type(models).__name__: models} if isinstance(models, nn.Module) else models
    kept = _Kept(state)
    found = []
    for name, model in models.items():
        known = kept.of(name, model, str(policy or "freeze"))
        graph = None
        with steps(None, f"residual share of {name}", progress) as bar:
            for names, x0 in _batches(images, batch, known):
                if graph is None or not takes(graph, x0):
                    graph = _graph(model, x0, policy)
                with unchanged(model):
                    known.update(_measure(graph, names, x0))
                kept.write()
                bar.update(len(names))
        if not known:
            raise FxscopeError("residual_share: no image was given")
        found.append(
            Share(
                name,
                {k: v[0] for k, v in known.items()},
                {k: v[1] for k, v in known.items()},
                max(v[2] for v in known.values()),
            )
        )
    return ResidualShare(tuple(found))


def _graph(model: nn.Module, x0: torch.Tensor, policy: Any) -> torch.fx.GraphModule:
    """A graph for these images: of any number of them where the model's code leaves that free."""
    graph = transform(model, "argmax", policy=policy, example_inputs=(x0[:1],))
    return graph if takes(graph, x0) else transform(model, "argmax", policy=policy, example_inputs=(x0,))


def _measure(
    graph: torch.fx.GraphModule, names: list[str], x0: torch.Tensor
) -> dict[str, tuple[float, int, float]]:
    with torch.no_grad():
        y0, index, row, r = graph(x0)
    y = y0.flatten(1).gather(1, index[:, None])[:, 0].double()
    if (y == 0).any():
        raise FxscopeError(
            f"residual_share: the largest score of {names[int((y == 0).nonzero()[0])]} is 0, it has no share"
        )
    linear = (row * x0).flatten(1).double().sum(1)
    error = ((linear + r - y) / y).abs()
    return {n: (float(a), int(k), float(e)) for n, a, k, e in zip(names, r.double() / y, index, error)}


def _batches(images: Iterable[tuple[str, torch.Tensor]], batch: int, known: dict):
    names, tensors = [], []
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
    """{network and its weights: {image: share, label, error}} in a file, replaced as a whole so that a stop never cuts it."""

    def __init__(self, path: str | Path | None):
        self.path = None if path is None else Path(path)
        self.values: dict[str, dict] = {}
        if self.path is not None and self.path.exists():
            try:
                self.values = json.loads(self.path.read_text())
            except ValueError as error:
                raise FxscopeError(f"{self.path} is no state of residual_share: {error}") from error
            if not isinstance(self.values, dict):
                raise FxscopeError(
                    f"{self.path} is no state of residual_share: it holds a {type(self.values).__name__}"
                )
            check(
                self.values,
                f"{self.path}, a state of residual_share,",
                "give another file, and the shares are computed again",
            )
            self.values.pop(KEY)

    def of(self, name: str, model: nn.Module, policy: str) -> dict:
        digest = hashlib.sha256()
        for key, value in model.state_dict().items():
            digest.update(key.encode())
            digest.update(
                value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                if value.numel()
                else b""
            )
        return self.values.setdefault(f"{name}, {policy}, weights {digest.hexdigest()[:16]}", {})

    def write(self) -> None:
        if self.path is not None:
            new = self.path.with_suffix(self.path.suffix + ".new")
            new.write_text(json.dumps({KEY: VERSION, **self.values}))
            os.replace(new, self.path)
