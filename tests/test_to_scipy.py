"""F as scipy's LinearOperator: real and complex vectors, matrices, and what scipy's solvers make of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fxscope

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def F():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=1)).double()
    return fxscope.interpret(model, torch.randn(1, 1, 5, 6, dtype=torch.float64)).F


def vectors(*shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 4)])
def test_complex_vectors_keep_their_imaginary_part(F, shape):
    A, M, v = F.to_scipy(), F.to_dense(progress=False).numpy(), vectors(*shape)
    for given in (v, v.astype(np.complex64), 1j * v.real, np.asfortranarray(v), v[::-1]):
        rtol = 1e-6 if given.dtype == np.complex64 else 1e-12
        np.testing.assert_allclose(A @ given, M @ given, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(A.H @ given, M.T @ given, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(A.T @ given, M.T @ given, rtol=rtol, atol=rtol)
    assert not np.iscomplexobj(A @ v.real) and np.iscomplexobj(A @ v)


def test_every_way_to_multiply(F):
    A, M, v, V = F.to_scipy(), F.to_dense(progress=False).numpy(), vectors(30), vectors(30, 3)
    for got, expected in (
        (A.matvec(v), M @ v),
        (A.rmatvec(v), M.T @ v),
        (A.matmat(V), M @ V),
        (A.rmatmat(V), M.T @ V),
        (A.dot(v), M @ v),
        ((2j * A) @ v, 2j * (M @ v)),
        ((A.H * A) @ v, M.T @ M @ v),
        (A @ np.arange(30), M @ np.arange(30)),
        (A @ (np.arange(30) % 2 == 1), M @ (np.arange(30) % 2)),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_single_precision_stays_single(F):
    A = fxscope.interpret(nn.Linear(6, 6), torch.randn(1, 6)).F.to_scipy()
    assert (A @ np.ones(6)).dtype == np.float32 and (A @ (1j * np.ones(6))).dtype == np.complex64


def test_solvers_take_complex_vectors(F):
    from scipy.sparse.linalg import LinearOperator, eigs, gmres, svds

    A, M = F.to_scipy(), F.to_dense(progress=False).numpy()
    shifted = LinearOperator((30, 30), matvec=lambda v: A @ v + (9 + 2j) * v, dtype=complex)
    b = vectors(30)
    x, failed = gmres(shifted, b, rtol=1e-12, restart=30)
    assert not failed and np.abs(M @ x + (9 + 2j) * x - b).max() < 1e-9
    largest = np.linalg.eigvals(M)[np.argsort(-np.abs(np.linalg.eigvals(M)))[0]]
    as_complex = LinearOperator((30, 30), matvec=lambda v: A @ v, rmatvec=lambda v: A.H @ v, dtype=complex)
    assert abs(abs(eigs(as_complex, k=2, v0=b)[0]).max() - abs(largest)) < 1e-9
    assert svds(as_complex, k=2, v0=b, return_singular_vectors=False).max() == pytest.approx(
        np.linalg.norm(M, 2), rel=1e-9
    )
