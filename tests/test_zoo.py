"""Every case of the hostile zoo, over every public entry point:
right to 1e-8 against autograd of the untouched model, or refused by an FxscopeError.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from zoo import CASES, Case
from zoo_groups import GROUPS, refused
from zoo_walk import Walk, sampled

NAMED = {case.name: case for case in CASES}
WALKED = [case.name for case in CASES if case.refused is None and case.derivative]


ONE_IN = {"reading": 2, "taylor": 6, "memories": 6}  # of the groups that the default run takes


def _walks() -> Iterator[Any]:
    """Half of the cases are read, and a few are under "taylor" or in every memory mode; the rest is full."""
    for name in WALKED:
        for group in GROUPS:
            quick = group in ONE_IN and sampled(name + group, ONE_IN[group])
            yield pytest.param(name, group, marks=() if quick else pytest.mark.full)


@functools.lru_cache(maxsize=1)  # the groups of one case come one after another
def walk_of(name: str) -> Walk:
    return Walk(NAMED[name])


def test_every_case_has_a_name_of_its_own():
    assert len(NAMED) == len(CASES)


@pytest.mark.parametrize(("name", "group"), list(_walks()))
def test_right_or_refused(name: str, group: str):
    walk = walk_of(name)
    before, random = _state(walk), torch.get_rng_state()
    GROUPS[group](walk)
    assert torch.equal(torch.get_rng_state(), random), "the global random state moved"
    for key, value in _state(walk).items():
        assert torch.equal(value, before[key]), f"{key} of the model is other than before"


@pytest.mark.parametrize("name", [c.name for c in CASES if c.refused is not None])
def test_refused(name: str):
    case: Case = NAMED[name]
    refused(Walk(case), case.refused)


def _state(walk: Walk) -> dict[str, torch.Tensor]:
    return {
        name: value.to_dense().clone()
        for name, value in [*walk.model.state_dict().items(), *walk.model.named_buffers()]
    }
