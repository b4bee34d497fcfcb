"""The numbers behind the figures of the article, computed by fxscope.

Signed numbers are kept as codes of one byte: the root of their share of the largest, with its sign.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fxscope
from fxscope import models
from fxscope.images.photos import downscale, luminance, shipped
from fxscope.paper import datasets

HERE = Path(__file__).parents[1] / "article"
SIDE, FACTOR = 48, 4  # of the small photograph, and how much larger the networks make it
CORNER = (70, 100)  # of the part of the photograph
REACH = {"bicubic": 2, "pixelshuffle": 5, "real_esr": 9}  # input pixels to each side that are kept of a row
PLACES = {"the edge of the pupil": (12, 20), "smooth fur": (20, 34), "dark hairs": (36, 14)}
STEPS = 41  # places at which the path between two digits is frozen
ENDS = (3, 8)  # the digits between which the path leads


@dataclass(frozen=True)
class Rows:
    """Rows of one output beside every input pixel, and the terms of y = <row, x0> + r."""

    codes: np.ndarray  # (SIDE * SIDE, 2 reach + 1, 2 reach + 1), int8
    largest: np.ndarray
    inner: np.ndarray
    r: np.ndarray
    y: np.ndarray
    output: np.ndarray  # the whole output, (4 SIDE, 4 SIDE), uint8
    columns: dict[str, np.ndarray]  # of the pixels of PLACES, int8 codes


@cache
def photograph() -> tuple[torch.Tensor, torch.Tensor]:
    """A part of scikit-image's "chelsea" in grey, (1, 1, 192, 192), and x0, four times smaller."""
    top, left = CORNER
    large = luminance(shipped("chelsea").double())[:, top : top + FACTOR * SIDE, left : left + FACTOR * SIDE]
    return large[None], downscale(large, FACTOR)[None]


class Grey(nn.Module):
    """A network of colours on a grey photograph, repeated in three channels; the output is the luma."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.register_buffer("weights", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.network(x.repeat(1, 3, 1, 1)) * self.weights).sum(1, keepdim=True)


def coded(values: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Codes of signed numbers, and the largest magnitude over ``axes``."""
    largest = np.abs(values).max(axes, keepdims=True)
    share = np.abs(values) / np.where(largest == 0, 1, largest)
    return np.rint(127 * np.sign(values) * np.sqrt(share)).astype(np.int8), largest.reshape(-1)


def decoded(codes: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The numbers of codes (n, ...), up to their rounding."""
    share = codes.astype(np.float64) / 127
    return np.sign(share) * share**2 * largest.reshape(-1, *[1] * (codes.ndim - 1))


def rows_of(network: nn.Module, reach: int, dense: bool = False) -> Rows:
    """The rows of the first output in every input pixel; ``dense``: one by one, for fields as large as x0."""
    _, x0 = photograph()
    lin = fxscope.interpret(network.double().eval(), x0)
    wide = FACTOR * SIDE
    places = [(0, FACTOR * a, FACTOR * b) for a in range(SIDE) for b in range(SIDE)]
    if dense:
        found = torch.cat([row.reshape(1, -1) for _, row in lin.F.iter_rows(places, progress=False)]).numpy()
    else:
        flat = np.array([a * wide + b for _, a, b in places])
        found = lin.F.to_sparse(progress=False)[flat].toarray()
    codes, largest = coded(_windows(found.reshape(-1, SIDE, SIDE), reach), (1, 2))
    r, y = (
        value.detach().reshape(wide, wide)[::FACTOR, ::FACTOR].reshape(-1).numpy()
        for value in (lin.residual, lin.y0)
    )
    inner = found @ x0.reshape(-1).numpy()
    assert np.abs(inner + r - y).max() < 1e-9 * np.abs(y).max(), "F x0 + r = y0"
    return Rows(codes, largest, inner, r, y, shade(lin.y0[0, 0]), _columns(lin, reach))


def _windows(rows: np.ndarray, reach: int) -> np.ndarray:
    padded = np.pad(rows, ((0, 0), (reach, reach), (reach, reach)))
    size = 2 * reach + 1
    return np.stack([each[n // SIDE :, n % SIDE :][:size, :size] for n, each in enumerate(padded)])


def _columns(lin, reach: int) -> dict[str, np.ndarray]:
    found, border = {}, FACTOR * reach
    for name, (a, b) in PLACES.items():
        whole = np.pad(lin.F.column((0, a, b))[0].numpy(), border)
        size = FACTOR * (2 * reach + 1)
        window = whole[FACTOR * a :, FACTOR * b :][:size, :size]
        found[name] = coded(window, (0, 1))[0]
    return found


def shade(plane: torch.Tensor) -> np.ndarray:
    """Grey values 0 to 255 of a plane in [0, 1]."""
    return (plane.detach().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


@cache
def kept() -> dict:
    """What ``docs/article/keep.py`` has measured on networks that others trained."""
    return json.loads((HERE / "kept.json").read_text(encoding="utf-8"))


@cache
def walks() -> dict[str, Rows]:
    """The rows of three networks; those of the third are kept."""
    held = np.load(HERE / "kept.npz")
    columns = {name: held[f"column {name}"] for name in PLACES}
    third = Rows(*(held[name] for name in ("codes", "largest", "inner", "r", "y", "output")), columns)
    return {
        "bicubic": rows_of(models.bicubic4x(), REACH["bicubic"]),
        "pixelshuffle": rows_of(models.pixelshuffle4x(), REACH["pixelshuffle"]),
        "real_esr": third,
    }


@cache
def digits() -> torch.Tensor:
    """One held-out digit of each kind, as the classifiers take it, (10, 1, 32, 32)."""
    ink, labels = datasets.digits("test")
    return datasets.normalised(ink[[int((labels == n).nonzero()[0]) for n in range(10)]]).double()


@cache
def votes() -> list[dict]:
    """Of each digit: the rows of its ten scores, F x0 and the constants of each layer, which sum to them."""
    read = fxscope.prepare(models.digits_vgg_bn().double(), digits()[:1])
    found = []
    for x0 in digits():
        lin = read(x0[None])
        rows = lin.F.rows(range(10), progress=False).reshape(10, 32, 32).numpy()
        parts = [lin.contributions(n) for n in range(10)]
        layers = list(dict.fromkeys(term.layer for term in parts[0].terms))
        sums = [
            [part.linear, *(sum(t.value for t in part.terms if t.layer == layer) for layer in layers)]
            for part in parts
        ]
        found.append({"rows": rows, "layers": layers, "sums": sums, "scores": lin.y0[0].tolist()})
    return found


@cache
def path() -> dict[str, np.ndarray]:
    """Along the straight line between two digits: two scores, and what the map frozen at each place says."""
    network = models.digits_vgg_bn().double()
    start, end = (digits()[n][None] for n in ENDS)
    fine = torch.linspace(0, 1, 4 * (STEPS - 1) + 1, dtype=torch.float64)
    curve = network(torch.cat([start + t * (end - start) for t in fine]))[:, ENDS].detach().numpy()
    read, slopes, changed = fxscope.prepare(network, start), [], []
    for t in fine[::4]:
        lin = read(start + t * (end - start))
        slopes.append((lin.F @ (end - start))[0, ENDS].tolist())
        changed.append([lin.gap(x)["changed"] for x in (start, end)])
    return {"t": fine.numpy(), "curve": curve, "slopes": np.array(slopes), "changed": np.array(changed)}


@cache
def eigen():
    """The four largest singular values of the 4-layer network at the photograph, with their vectors."""
    lin = fxscope.interpret(models.pixelshuffle4x().double(), photograph()[1])
    return lin.F.svd(4, progress=False)
