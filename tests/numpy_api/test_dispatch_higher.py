"""Tangents and second derivatives of every function in the tables of values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import numbad
import numbad.recording.operands
import numbad.transforms.derivatives
from shared import matrix_cases, numpy_cases, shape_cases
from shared.oracle import check_against_numpy, check_higher

CASES = {
    f"{kind} {name}": case
    for kind, cases in {"numpy": numpy_cases, "shape": shape_cases, "matrix": matrix_cases}.items()
    for name, case in cases.CASES.items()
}


@pytest.mark.parametrize("name", CASES)
def test_tangent_and_second_derivative(name):
    function, *arrays = CASES[name]
    check_higher(function, *arrays)


@pytest.mark.parametrize("name", CASES)
def test_inputs_and_constants_kept_by_reference(name, monkeypatch):
    """Large arrays stay where the caller has them: the same functions, as if all arrays were large."""
    monkeypatch.setattr(numbad.recording.inputs, "LARGE_INPUT", 0)
    monkeypatch.setattr(numbad.recording.operands, "SMALL", 0)
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays, rtol=1e-6, atol=1e-7, value_rtol=1e-10)
    check_higher(function, *arrays)


EMPTY = np.ones((3, 0))
EMPTY_CASES = {
    "matmul": lambda x: x @ np.ones((0, 4)),
    "gram": lambda x: x.T @ x,
    "norm": lambda x: np.linalg.norm(x, axis=1),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "outer": lambda x: np.outer(x, x),
    "sort": np.sort,
    "cumprod": lambda x: np.cumprod(x, axis=1),
    "det": lambda x: np.linalg.det(x[:0]),
    "inv": lambda x: np.linalg.inv(x[:0]),
    "svd": lambda x: np.linalg.svd(x[:0])[1],
    "eigh": lambda x: np.linalg.eigh(x[:0])[0],
    "cholesky": lambda x: np.linalg.cholesky(x[:0]),
    "solve": lambda x: np.linalg.solve(np.eye(3), x),
    "pad": lambda x: np.pad(x, 1),
    "mean": lambda x: x.mean(axis=0),
    "where": lambda x: np.where(x > 0.0, x, 0.0),
}


@pytest.mark.parametrize("name", EMPTY_CASES)
def test_empty_arrays(name):
    check_against_numpy(EMPTY_CASES[name], EMPTY)
    check_higher(EMPTY_CASES[name], EMPTY)


def test_an_outer_value_next_to_an_inner_input():
    """The addresses of the two follow one another; only one depends on the inner input."""

    def inner(x):
        c = x[0] * 2.0
        return np.sum(numbad.gradient(lambda y: np.sum(np.sin(np.append(c, y)[:-1] * y)), x))

    def by_hand(x):
        z = np.concatenate([2.0 * x[:1], x])
        slope = np.cos(z[:-1] * x) * z[:-1]
        slope[:-1] += np.cos(z[1:-1] * x[1:]) * x[1:]
        return np.sum(slope)

    x = np.array([0.3, 0.5, 0.7])
    value, found = numbad.value_and_gradient(inner, x)
    np.testing.assert_allclose(value, by_hand(x), rtol=1e-14)
    differences = [(by_hand(x + 1e-6 * d) - by_hand(x - 1e-6 * d)) / 2e-6 for d in np.eye(3)]
    np.testing.assert_allclose(found, differences, rtol=1e-7)
