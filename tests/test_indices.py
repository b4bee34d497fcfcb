"""One index, several, or their sum: each has one spelling.

Every other one is refused with the one that was meant.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import Small
from torch import nn

import fxscope
from fxscope.errors import PlaceIndexError, ShapeError
from fxscope.testing import randomize

D = torch.float64


@pytest.fixture(scope="module")
def lin():
    torch.manual_seed(0)
    x0 = torch.randn(1, 2, 9, 10, dtype=D)
    return fxscope.interpret(randomize(Small().double().eval(), x0), x0)


@pytest.fixture(scope="module")
def scores():
    torch.manual_seed(0)
    return fxscope.interpret(
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6)).double(), torch.randn(1, 4, dtype=D)
    )


AMBIGUOUS = [
    [1, 2],
    [1],
    [(0, 1)],
    torch.tensor([1, 2]),
    np.array([1, 2]),
    torch.tensor([1, 2], dtype=torch.int32),
    torch.tensor([1, 0, 1], dtype=torch.uint8),
    range(2),
    {1, 2},
    ([1, 2],),
    (torch.tensor([0, 1]),),
    (np.array([0, 1]),),
    ((0, 1),),
    (range(2),),
]


@pytest.mark.parametrize("index", AMBIGUOUS, ids=repr)
def test_a_list_is_not_one_index(scores, index):
    for call in (scores.F.row, scores.F.column, scores.contributions, scores.pixel_discussion):
        if call == scores.pixel_discussion and isinstance(index, list):
            continue  # takes several
        with pytest.raises(PlaceIndexError, match=r"rows\(\[|tuple"):
            call(index)
    with pytest.raises(PlaceIndexError):
        scores.F.rows([index])
    with pytest.raises(PlaceIndexError):
        fxscope.compare(scores.x0, ["freeze"], at=index, model=scores.model)


@pytest.mark.parametrize(
    "index",
    [
        [0, 1, 1],
        (0, [1, 2], 3),
        (0, torch.tensor([1, 2]), slice(None)),
        np.array([0, 1, 1]),
        torch.tensor([0, 1, 1]),
    ],
    ids=repr,
)
def test_nor_is_one_within_an_index_of_an_image(lin, index):
    for call in (lin.F.row, lin.F.column, lin.contributions, lambda i: lin.F.restrict(outputs=i)):
        with pytest.raises(PlaceIndexError, match="several"):
            call(index)


@pytest.mark.parametrize(
    "index",
    [
        2.0,
        (0, 1.5, 1),
        torch.tensor(1.0),
        "a",
        b"a",
        np.True_,
        torch.tensor(True),
        (0, slice(4, 0, -1), 1),
        frozenset({1}),
        1j,
    ],
    ids=repr,
)
def test_what_is_no_place(lin, index):
    with pytest.raises(PlaceIndexError):
        lin.F.row(index)


@pytest.mark.parametrize(
    "weight", [1j, "a", None, float("nan"), float("inf"), torch.ones(2), [1.0]], ids=repr
)
def test_what_is_no_weight(lin, weight):
    with pytest.raises(PlaceIndexError):
        lin.F.row({(0, 1, 1): weight})


@pytest.mark.parametrize(
    "integer", [np.int64, np.uint8, torch.tensor, lambda i: torch.tensor(i, dtype=torch.int32), np.array]
)
def test_whole_numbers_of_every_kind(lin, scores, integer):
    assert torch.equal(scores.F.row(integer(2)), scores.F.row(2)) and torch.equal(
        scores.F.column((integer(2),)), scores.F.column(2)
    )
    assert torch.equal(lin.F.row((integer(0), 1, integer(2))), lin.F.row((0, 1, 2)))
    assert lin.F.receptive_field((integer(0), 1, integer(2))) == lin.F.receptive_field((0, 1, 2))


def test_masks_and_slices_are_sums(lin):
    dense = lin.F.to_dense(progress=False).reshape(3, 10, 10, -1)
    mask = torch.arange(10) % 3 == 0
    places = torch.zeros(3, 10, 10, dtype=torch.bool)
    places[0, 1, 1] = places[2, 4, 5] = True
    for index, expected in (
        (places, dense[0, 1, 1] + dense[2, 4, 5]),
        (places.numpy(), dense[0, 1, 1] + dense[2, 4, 5]),
        ({(0, 1, 1): 1, (2, 4, 5): 1}, dense[0, 1, 1] + dense[2, 4, 5]),
        ((0, mask, 3), dense[0, mask, 3].sum(0)),
        ((0, mask.numpy(), 3), dense[0, mask, 3].sum(0)),
        ((..., 3), dense[:, :, 3].sum((0, 1))),
        ((0, slice(1, 3), 3), dense[0, 1:3, 3].sum(0)),
    ):
        assert torch.allclose(lin.F.row(index).flatten(), expected, atol=1e-12)


def test_several_are_a_list(lin, scores):
    expected = torch.stack([scores.F.row(i) for i in (0, 2, 2)])
    for indices in (
        [0, 2, 2],
        [(0,), (2,), (2,)],
        iter([0, 2, 2]),
        np.array([0, 2, 2]),
        torch.tensor([0, 2, 2]),
        ((0,), (2,), (2,)),
        [np.int64(0), 2, torch.tensor(2)],
    ):
        assert torch.equal(scores.F.rows(indices, progress=False), expected)
    assert torch.equal(
        scores.F.rows(range(3), progress=False), torch.stack([scores.F.row(i) for i in range(3)])
    )
    assert lin.F.rows(((0, 1, 1), (2, 3, 3))).shape == (2, 2, 9, 10) and lin.F.rows([]).shape == lin.F.rows(
        ()
    ).shape == (0, 2, 9, 10)


@pytest.mark.parametrize(
    "indices",
    [
        (0, 1, 1),
        (0, slice(2), 1),
        {(0, 1, 1): 2.0},
        torch.ones(3, 10, 10) > 0,
        np.ones((3, 10, 10)) > 0,
        3,
        "abc",
        None,
        torch.tensor(3),
        np.array([[0, 1, 1]]),
    ],
    ids=lambda v: repr(v)[:20],
)
def test_one_is_not_a_list(lin, indices):
    calls = (
        lin.F.rows,
        lin.F.columns,
        lambda i: list(lin.F.iter_rows(i)),
        lambda i: list(lin.iter_contributions(i)),
        lambda i: lin.F.filters(rows=i),
        lambda i: lin.F.filters(columns=i),
    )
    for call in calls[:4] if indices is None else calls:
        with pytest.raises(PlaceIndexError, match="rows|list"):
            call(indices)


def test_a_list_of_a_batch_is_one_for_each_image(lin):
    both = fxscope.interpret(lin.model, torch.cat([lin.x0, lin.x0 + 1]))
    rows = both.F.row([(0, 1, 1), (2, 3, 3)])
    assert torch.allclose(rows[0], lin.F.row((0, 1, 1)), atol=1e-12) and torch.allclose(
        rows[1], both.F.row((2, 3, 3))[1], atol=1e-12
    )
    for index in ([(0, 1, 1)], [(0, 1, 1)] * 3, [[0, 1, 1], [0, 1, 1]], torch.tensor([[0, 1, 1], [0, 1, 1]])):
        with pytest.raises(PlaceIndexError):
            both.F.row(index)


def test_complex_vectors_are_refused_by_name(lin):
    v = torch.randn(2, 9, 10, dtype=torch.complex128)
    for call in (
        lambda: lin.F @ v,
        lambda: lin.F.flat @ v.flatten(),
        lambda: lin.F.flat.T @ torch.randn(300, dtype=torch.complex128),
        lambda: lin.F.flat.rmatvec(torch.randn(300, 2, dtype=torch.complex64)),
    ):
        with pytest.raises(ShapeError, match="real and to the imaginary part"):
            call()
