"""Measure what docs/how-to/votes.md and faithfulness.md report; the results are kept in docs/studies/results.

    python docs/studies/measure.py [NAME ...]    # all of them take about ten minutes of one core
    python docs/studies/tables.py                # writes the tables of the two pages from the results

The photographs are those of scikit-image and scikit-learn that have a box in examples/boxes.json; the boxes were
drawn before any vote was seen. Networks of photographs go through the command line, as a reader would run it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

from fxscope import analysis, models
from fxscope.cli.main import cli
from fxscope.paper import datasets

HERE = Path(__file__).parent
BOXES = HERE.parents[1] / "examples" / "boxes.json"
POLICIES = ("freeze", "detach", "taylor")
DIGITS = ("digits_vgg", "digits_vgg_bn", "digits_resnet")
LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


def photographs() -> list[str]:
    """The files of the photographs that have a box."""
    folders = [package("skimage") / "data", package("sklearn") / "datasets" / "images"]
    found = []
    for name in json.loads(BOXES.read_text()):
        [file] = [f for folder in folders for f in folder.glob(f"{name}.*") if f.suffix in (".png", ".jpg")]
        found.append(str(file))
    return found


def package(name: str) -> Path:
    """The folder of a package."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None, name
    return Path(spec.origin).parent


def verb(*arguments: Any) -> dict[str, Any]:
    """What a verb answers in JSON; it exits with 1 if it leaves out a photograph, and names it."""
    done = CliRunner().invoke(cli, [*map(str, arguments), "--json"])
    if done.exit_code not in (0, 1) or not done.stdout:
        raise RuntimeError(done.output)
    return json.loads(done.stdout)


def votes_on_photographs(network: str) -> dict[str, Any]:
    """The 20 labels with the largest scores of each photograph stand for election."""
    return verb("votes-study", f"fxscope:{network}", *photographs(), "--boxes", BOXES, "--top", 20)


def votes_on_digits(network: str, reading: str) -> dict[str, Any]:
    """The votes of all ten labels on the first 50 digits that were held out; the ink is the box."""
    ink, _ = datasets.digits("test")
    images = [(f"digit {i}", datasets.normalised(ink[i : i + 1]), ink[i, 0] > 0.5) for i in range(50)]
    return json.loads(analysis.votes_study(models.build(network), images, reading=reading).to_json())


def faithfulness_on_photographs(network: str) -> dict[str, Any]:
    """The photographs with all policies."""
    policies = [word for policy in POLICIES for word in ("--policy", policy)]
    return verb(
        "faithfulness",
        f"fxscope:{network}",
        *photographs(),
        "--size",
        128,
        "--depths",
        4,
        "--top",
        5,
        *policies,
    )


def faithfulness_on_digits(network: str) -> dict[str, Any]:
    """The first 16 digits that were held out, with all policies."""
    model = digits_silu() if network == "digits_silu" else models.build(network)
    ink, labels = datasets.digits("test")
    x0 = datasets.normalised(ink)
    with torch.no_grad():
        right = (model(x0).argmax(1) == labels).double().mean()
    found = analysis.faithfulness(model, x0[:16], policies=POLICIES)
    return {"accuracy": float(right), **json.loads(found.to_json())}


class DigitsSiLU(nn.Module):
    """Three convolutions with group norm and SiLU: smooth, so that the policies differ."""

    def __init__(self):
        super().__init__()
        widths = (1, 16, 32, 64)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(4, b) for b in widths[1:])
        self.act, self.fc = nn.SiLU(), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = self.act(norm(conv(x)))
        return self.fc(x.mean((2, 3)))


def digits_silu(steps: int = 400) -> nn.Module:
    """The network, trained here as examples/training trains the stand-ins: half a minute."""
    torch.manual_seed(0)
    rng, model = torch.Generator().manual_seed(0), DigitsSiLU()
    ink, labels = datasets.digits("train")
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(0, len(ink), (48,), generator=rng)
        shift = tuple(torch.randint(-3, 4, (2,), generator=rng).tolist())
        x = datasets.normalised(ink[chosen].roll(shift, (2, 3)))
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels[chosen]).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


STUDIES: dict[str, Callable[[], dict[str, Any]]] = {
    **{
        f"votes-{n}-{reading}": partial(votes_on_digits, n, reading)
        for n in DIGITS
        for reading in ("conserving", "weighted")
    },
    **{f"faithfulness-{n}": partial(faithfulness_on_digits, n) for n in (*DIGITS, "digits_silu")},
    **{f"votes-{n}": partial(votes_on_photographs, n) for n in LITE},
    "faithfulness-efficientnet_lite0": partial(faithfulness_on_photographs, "efficientnet_lite0"),
}


def main(names: list[str]) -> None:
    """Measure the named studies, or all."""
    (HERE / "results").mkdir(exist_ok=True)
    for name in names or STUDIES:
        start = time.process_time()
        found = STUDIES[name]()
        (HERE / "results" / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}: {time.process_time() - start:.0f} s of the processor", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
