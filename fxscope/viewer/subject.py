"""What a page shows: networks at photographs, and what is said of each of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import FxscopeError, WrongArgument
from ..images.conventions import with_count
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter, interpret

SIDE = 64  # pixels to each side of a photograph that networks of images take where nobody says more
MOST_BARS = 12
MOST_VOTED = 8  # scores that pixels vote for: colours that are told apart


@dataclass(frozen=True)
class View:
    """A network at one photograph.

    Parameters
    ----------
    photo : str
        The photograph's name.
    lin : LinearInterpreter
        The interpreter there.
    count : int
        How many eigen-inputs are computed.
    reduced : bool
        Whether it is there for its size: another view has the photograph larger.
    votes : bool
        Whether the pixels vote for the largest scores of a classifier.
    """

    photo: str
    lin: LinearInterpreter
    count: int = 0
    reduced: bool = False
    votes: bool = False

    @functools.cached_property
    def svd(self) -> Any:
        """The singular values and vectors that are asked for, or None."""
        return self.lin.F.svd(min(self.count, *self.lin.F.shape)) if self.count else None

    def arrays(self, number: int) -> dict[str, bytes]:
        """x0 and the eigen-inputs as the page holds them, by the number of the photograph."""
        found = {f"x0/{number}": self.lin.x[0]}
        if self.svd:
            found |= {f"svd/{number}/{i}": v for i, v in enumerate(self.svd.v)}
        return {
            name: np.ascontiguousarray(v.detach().numpy(), dtype="<f4").tobytes() for name, v in found.items()
        }


@dataclass(frozen=True)
class Subject:
    """A network of a page, with its views: one of each photograph of the page, all of one size.

    Parameters
    ----------
    name, note : str
        How it is called, and what is said of it: its weights, its policy.
    views : list of View
        The network at every photograph.
    preprocess : Preprocess, optional
        How a photograph became x0. By default images are stretched to the range of their values.
    labels : list of str, optional
        The names of the scores.
    tokens : list of str, optional
        The tokens of a language model, as they are written.
    """

    name: str
    note: str
    views: list[View]
    preprocess: Preprocess | None = None
    labels: list[str] | None = None
    tokens: list[str] | None = None

    def __post_init__(self) -> None:
        for view in self.views:
            check(view.lin, self.name)
            count = view.lin.y0.shape[-1]
            if self.labels and self.kind != "images" and len(self.labels) != count:
                raise WrongArgument(f"page: {len(self.labels)} labels, and {self.name} gives {count} scores")
            if self.tokens and self.kind == "tokens" and len(self.tokens) != view.lin.x.shape[1]:
                raise WrongArgument(
                    f"page: {len(self.tokens)} tokens, and {self.name} takes {view.lin.x.shape[1]}"
                )
        sizes = {tuple(v.lin.x.shape[2:]) for v in self.views}
        if len(sizes) > 1:
            said = ", ".join(f"{w} x {h}" for h, w in sorted(sizes))
            raise FxscopeError(
                f"a page has its photographs at one size, and {self.name} takes {said}: give --size"
            )

    @property
    def kind(self) -> str:
        """What it is about: images, scores of an image, or tokens."""
        return kind_of(self.views[0].lin)

    @functools.cached_property
    def described(self) -> list[dict[str, Any]]:
        """What the front end is told of each view; ``front/source.js`` has the type."""
        return [self._described(view) for view in self.views]

    def _described(self, view: View) -> dict[str, Any]:
        lin = view.lin
        x0, y0 = lin.x[0], lin.y0[0]
        kind = self.kind
        given = self.preprocess
        return {
            "name": self.name,
            "note": self.note,
            "policy": str(lin.policy),
            "kind": kind,
            "input": list(x0.shape),
            "output": list(y0.shape),
            "shownInput": shown(x0, given) if kind != "tokens" else None,
            "shownOutput": shown(y0, given) if kind == "images" else None,
            "alignment": _alignment(lin) if kind == "images" else None,
            "names": self.labels if kind != "images" else None,
            **(_tokens(lin, self.tokens) if kind == "tokens" else {}),
            "photo": view.photo,
            "taken": given.text if given else "x0, stretched to its range",
            "reduced": view.reduced,
            "votes": _votes(lin) if view.votes and kind == "scores" else None,
            "proof": _proof(y0),
            "contributions": contributions(lin),
            "svd": {"s": view.svd.s.tolist()} if view.svd else None,
        }


def note(said: str, half: bool) -> str:
    """What is said of a network, with how its weights are stored."""
    return f"{said}, weights in float16" if half else said


def reduced(subject: Subject, side: int) -> Subject:
    """The same network at the same photographs, ``side`` pixels to each side, for a look at a slow one."""
    views = []
    for view in subject.views:
        sizes = tuple(view.lin.x0.shape[2:])
        if side >= max(sizes):
            raise FxscopeError(
                f"smaller={side} is not below {subject.name}'s photographs of {sizes}: take fewer pixels"
            )
        x0 = nn.functional.interpolate(view.lin.x0, (side, side), mode="area")
        lin = interpret(view.lin.model, x0, policy=view.lin.policy)
        views.append(replace(view, photo=f"{view.photo}, {side} x {side}", lin=lin, reduced=True))
    return replace(subject, views=views)


def _votes(lin: LinearInterpreter) -> dict[str, list[int]]:
    """The largest scores, and for each pixel which of them it speaks for most."""
    labels = lin.y0[0].topk(min(MOST_VOTED, lin.y0.shape[1])).indices.tolist()
    return {"labels": labels, "winners": lin.pixel_votes(labels, progress=False).winners.flatten().tolist()}


def _proof(y0: torch.Tensor) -> tuple[int, float]:
    """The flat place of the largest output, and its value: what another device is judged by."""
    place = int(y0.abs().argmax())
    return place, float(y0.flatten()[place])


def kind_of(lin: LinearInterpreter) -> str:
    """What a network is about: images, scores of an image, or tokens."""
    if lin.x.dim() == 3:
        return "tokens"
    return "scores" if lin.y0.dim() == 2 else "images"


def _tokens(lin: LinearInterpreter, names: list[str] | None) -> dict[str, Any]:
    """The numbers of the tokens, which its graphs take, and how they are called."""
    numbers = lin.x0[0].tolist()
    return {"tokens": names or [f"token {n}" for n in numbers], "feeds": numbers}


def check(lin: LinearInterpreter, name: str) -> None:
    """Raise ``FxscopeError`` if a page cannot show this: from one image to an image or scores, or tokens."""
    x0, y0 = lin.x, lin.y0
    way = "fxscope.interpret(model, x0, inputs=place, outputs=place) taps one"
    if _of_tokens(lin):
        return
    for what, value, ranks in (("takes", x0, (4,)), ("gives", y0, (2, 4))):
        if not isinstance(value, torch.Tensor) or value.dim() not in ranks or value.shape[0] != 1:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            needed = "one image (1, C, H, W)" if what == "takes" else "an image (1, C, H, W) or scores (1, N)"
            raise FxscopeError(f"a page needs a network that {what} {needed}; {name} {what} {got}: {way}")
    if lin.x0.shape != x0.shape:
        raise FxscopeError(
            f"a page probes x0 itself, and {name} is probed within the network: leave inputs= out"
        )


def _of_tokens(lin: LinearInterpreter) -> bool:
    """Whether a network takes numbers of tokens (1, T), is probed at their embeddings, and gives logits."""
    if not all(isinstance(each, torch.Tensor) for each in (lin.x0, lin.x, lin.y0)):
        return False
    ranks = lin.x0.dim() == 2 and lin.x.dim() == 3 and lin.y0.dim() in (2, 3)
    same = ranks and lin.x.shape[:2] == lin.x0.shape and lin.y0.shape[0] == lin.x0.shape[0] == 1
    return same and lin.x0.dtype == torch.int64


def check_for_page(lin: LinearInterpreter, name: str) -> None:
    """Raise ``FxscopeError`` if no browser can compute this; a server computes in any precision anywhere."""
    if lin.x.dtype != torch.float32 or lin.x.device.type != "cpu":
        raise FxscopeError(
            f"a page computes in float32 on a processor, and {name} is in {lin.x.dtype} on {lin.x.device}:"
            " interpret model.float().cpu() at such an x0"
        )


def shown(image: torch.Tensor, given: Preprocess | None) -> dict[str, Any]:
    """How an image (C, H, W) is shown: pixel = value * std + mean, and the channels of red, green, blue."""
    channels = image.shape[0]
    order = [c % channels for c in range(3)]
    if given is None or channels not in (1, 3):
        low, high = float(image.min()), float(image.max())
        size = (high - low) or 1.0
        return {"mean": [-low / size] * channels, "std": [1 / size] * channels, "order": order}
    found = with_count(given, channels)
    mean, std = (list(v) if isinstance(v, tuple) else [v] * channels for v in found.affine)
    return {"mean": mean, "std": std, "order": order[::-1] if found.channels == "BGR" else order}


def contributions(lin: LinearInterpreter) -> list[tuple[str, float]]:
    """What F x0 and the constants of each layer add to an output: the middle, or the largest (last) score."""
    shape = lin.y0.shape[1:]
    places: dict[int, tuple[int, ...]] = {
        1: (int(lin.y0.argmax()),),
        2: (-1, int(lin.y0[0, -1].argmax())),
        3: (0, *(n // 2 for n in shape[1:])),
    }
    found = lin.contributions(places[len(shape)])
    sums: dict[str, float] = {}
    for term in found.terms:
        sums[term.place] = sums.get(term.place, 0.0) + float(term.value)
    rest = sorted(sums.items(), key=lambda item: -abs(item[1]))
    more = [("others", sum(v for _, v in rest[MOST_BARS:]))] if len(rest) > MOST_BARS else []
    return [("F x0", float(found.linear)), *rest[:MOST_BARS], *more]


def _alignment(lin: LinearInterpreter) -> dict[str, list[float]]:
    found = lin.F.alignment()
    return {"step": [float(s) for s in found.step], "start": [float(s) for s in found.start]}
