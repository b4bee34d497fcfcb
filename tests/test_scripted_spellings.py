"""The graphs of real code's spellings are taken by TorchScript, and give there what they give in Python."""

from __future__ import annotations

import pytest
import torch
from torch.utils import _pytree as pytree
from zoo import CASES
from zoo_walk import Walk, right

from fxscope.emit import emit
from fxscope.emit.pipeline import program_of

NAMED = {case.name.removeprefix("spellings."): case for case in CASES if case.name.startswith("spellings.")}
SAMPLE = (
    "SpreadToTheSizeOfAnother",
    "AddsListsOfSizes",
    "PoolsToTheSizeOfAnother",
    "TilesTheLastDimensions",
    "JoinsPartsInReverse",
    "RoundsByACast",
    "RoundsAsAnother",
    "ClampsByItsOwnMean",
    "MirrorsOneSideAndCutsTheOther",
    "PicksByOrder",
    "NamesOfTheGraphsOwn",
)


@pytest.mark.turns(3)
@pytest.mark.parametrize("form", ["pair", "filter", "adjoint", "record"])
@pytest.mark.parametrize("name", SAMPLE)
def test_torchscript_takes_it(name: str, form: str):
    walk = Walk(NAMED[name])
    graph = emit(program_of(walk.model, example_inputs=walk.args), form)
    more = {"pair": (walk.lin.x,), "filter": (walk.lin.x,), "adjoint": (walk.y0,), "record": ()}[form]
    expected = pytree.tree_leaves(graph(*walk.tensors, *more))
    found = pytree.tree_leaves(torch.jit.script(graph)(*walk.tensors, *more))
    for value, plain in zip(found, expected, strict=True):
        right(value.double(), plain.double(), form)
