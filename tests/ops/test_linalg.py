"""Rules of linear algebra: what takes cotangents back is differentiable itself."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.limits import FEW_ROWS_OF_MATRIX, LEAST_TRIANGLE, TRIANGLE
from numbad.ops import convolution, linalg, reductions
from numbad.ops import linalg as ops
from numbad.tapes import reference
from shared.matrix_cases import (
    RANK1,
    SINGULAR,
    STACK,
    TALL,
    WIDE,
    A,
    B,
    V,
    positive,
)
from shared.oracle import check_rule_is_differentiable, differences

random = np.random.default_rng(12)

SYMMETRIC = A + A.T


@pytest.mark.parametrize(
    ("op", "operands", "settings"),
    [
        (ops.solve, [A, B], {}),
        (ops.solve, [A, V], {}),
        (ops.inverse, [A], {}),
        (ops.determinant, [A], {}),
        (ops.determinant, [SINGULAR], {}),
        (ops.cofactors, [A], {}),
        (ops.cofactors, [A, SYMMETRIC], {}),
        (ops.cofactors, [RANK1, SYMMETRIC, A], {}),
        (ops.sign_log_determinant, [A], {}),
        (ops.reduced_qr, [TALL], {}),
        (ops.reduced_qr, [WIDE], {}),
        (ops.singular_values, [A], {"full": True}),
        (ops.singular_values_only, [TALL], {}),
        (ops.pseudoinverse, [TALL], {"rtol": 1e-15}),
        (ops.least_squares, [TALL, random.normal(size=5)], {"rcond": 1e-15}),
        (reductions.greatest, [A], {}),
        (reductions.product, [A], {}),
        (reductions.product, [np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0]])], {}),
        (reductions.running_sum, [A], {}),
        (reductions.running_product, [np.array([[1.0, 0.0, 2.0], [2.0, 3.0, 0.5]])], {}),
        (reductions.running_greatest, [A], {}),
        (reductions.linear_recurrence, [A, STACK[0]], {}),
        (reductions.sort_last, [A], {}),
        (reductions.partition_last, [A], {"kth": 1}),
        (convolution.convolved_box, [V, B[:2, 0]], {"first": (0,), "shape": np.shape(V), "fast": False}),
        (reductions.interpolation, [np.array([0.2, 1.4]), np.array([0.0, 1.0, 3.0]), V], {}),
    ],
    ids=lambda part: part.name if hasattr(part, "name") else "",
)
def test_rules_are_differentiable(op, operands, settings):
    check_rule_is_differentiable(op, operands, settings)


@pytest.mark.parametrize(
    "function", [np.linalg.cholesky, lambda a: np.linalg.eigh(a)[0], lambda a: np.linalg.eigh(a)[1] ** 2]
)
def test_symmetric_rules_are_differentiable(function):
    """The second derivative along symmetric directions."""

    def f(x):
        return np.sum(np.sin(function(positive(x))))

    def slope(x):
        return numbad.gradient(f, x)

    w = random.normal(size=(3, 3))
    wanted = differences(lambda x: float(np.sum(w * slope(x))), (A,), 1e-4)[0]
    found = numbad.gradient(lambda x: np.sum(w * numbad.gradient(f, x)), A)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- in blocks


def well_conditioned(n: int) -> np.ndarray:
    """Return a matrix that is far from singular."""
    return np.random.default_rng(n).standard_normal((n, n)) + 3.0 * np.sqrt(n) * np.eye(n)


def finds_triangles() -> None:
    """What is a triangle, and what is one but for a number at the worst place, of sizes on both sides of the limits."""
    for n in (LEAST_TRIANGLE - 1, LEAST_TRIANGLE, TRIANGLE, TRIANGLE + 1, 2 * TRIANGLE, 3 * TRIANGLE + 1):
        for lower in (False, True):
            a = np.tril(well_conditioned(n)) if lower else np.triu(well_conditioned(n))
            assert linalg.is_triangle(a, lower)
            assert not linalg.is_triangle(a, not lower)
            for place in ((0, 1), (0, n - 1), (n - 2, n - 1), (n // 2 - 1, n // 2), (n // 3, n - 1)):
                damaged = a.copy()
                damaged[place if lower else place[::-1]] = 1e-300
                assert not linalg.is_triangle(damaged, lower), place
                b = np.linspace(1.0, 2.0, n)
                np.testing.assert_array_equal(linalg.solve(damaged, b), np.linalg.solve(damaged, b))


def solves_triangles() -> None:
    """Systems with lower and upper triangles, of sizes on both sides of the limit, against LAPACK's factorization."""
    for n in (LEAST_TRIANGLE - 1, LEAST_TRIANGLE, LEAST_TRIANGLE + 1, 2 * TRIANGLE, 3 * TRIANGLE, 3 * TRIANGLE + 1):
        for a in (np.tril(well_conditioned(n)), np.triu(well_conditioned(n))):
            for b in (np.linspace(1.0, 2.0, n), np.random.default_rng(1).random((n, 3))):
                found = linalg.solve(a, b)
                np.testing.assert_allclose(found, np.linalg.solve(a, b), rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(a @ found, b, rtol=1e-9, atol=1e-12)


def pulls_back_in_blocks() -> None:
    """Cholesky's derivative in blocks against the formula for the whole."""
    for n in (TRIANGLE, TRIANGLE + 1, 2 * TRIANGLE, 3 * TRIANGLE + 1):
        a = well_conditioned(n)
        factor, bar = np.linalg.cholesky(a @ a.T), np.random.default_rng(2).standard_normal((n, n))
        want = linalg.pulled_back(factor, bar, False)
        found = linalg.blocks_pulled_back(factor, bar)
        np.testing.assert_allclose(found, want, rtol=1e-8, atol=1e-12 * np.abs(want).max())


def test_triangular_systems() -> None:
    finds_triangles()
    solves_triangles()


def test_the_derivative_of_cholesky_in_blocks() -> None:
    pulls_back_in_blocks()


@pytest.mark.parametrize("upper", [False, True])
def test_large_factors_in_all_ways(upper: bool) -> None:
    n = FEW_ROWS_OF_MATRIX + 3
    a = well_conditioned(n)
    a = a @ a.T / n
    weights = np.random.default_rng(4).standard_normal((n, n))
    y = np.linspace(-1.0, 1.0, n)

    def f(a: np.ndarray) -> np.ndarray:
        factor = np.linalg.cholesky(a, upper=upper)
        return np.sum(weights * factor) + np.sum(np.linalg.solve(factor, y) ** 2)

    found = numbad.gradient(f, a)
    assert not np.any(np.tril(found, -1) if upper else np.triu(found, 1))
    step = np.random.default_rng(5).standard_normal((n, n))
    step = (np.triu(step) if upper else np.tril(step)) * 1e-6
    np.testing.assert_allclose(np.sum(found * step), (f(a + step) - f(a - step)) / 2.0, rtol=1e-5)
    np.testing.assert_allclose(numbad.jit(numbad.grad(f))(a), found, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(reference.gradient(numbad.record(f, a), a), found, rtol=1e-9, atol=1e-12)


def test_singular_triangles_are_numpys_errors_and_nans_stay() -> None:
    n = FEW_ROWS_OF_MATRIX + 5
    a = np.tril(well_conditioned(n))
    a[n - 2, n - 2] = 0.0
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        numbad.gradient(lambda a: np.sum(np.linalg.solve(a, np.ones(n))), a)
    a[n - 2, n - 2] = np.nan
    assert np.isnan(linalg.solve(a, np.ones(n))[-2])
    a = np.tril(well_conditioned(n))
    a[0, 1] = np.nan  # not a triangle
    assert np.isnan(linalg.solve(a, np.ones(n))).all()
    a = np.tril(well_conditioned(n)).astype(np.float32)
    assert linalg.solve(a, np.ones(n, np.float32)).dtype == np.float32


BLOCK_DAMAGES = [
    ("is_triangle", "a[rows, behind].any() or", "", finds_triangles),
    ("is_triangle", " or np.where(lower_triangle(len(corner)), 0.0, corner).any()", "", finds_triangles),
    ("is_triangle", "a if lower else a.T", "a", finds_triangles),
    ("is_triangle", "slice(start + TRIANGLE, None)", "slice(start + TRIANGLE + 1, None)", finds_triangles),
    ("blocks_pulled_back", "both = found[rows, rows] + found[rows, rows].T", "both = 2.0 * found[rows, rows]", None),
    ("blocks_pulled_back", "found[rows, left] -= under.T @", "found[rows, left] += under.T @", None),
    ("blocks_pulled_back", "np.tril(under.T @ factor[below, rows])", "under.T @ factor[below, rows] * 0.5", None),
    ("blocks_pulled_back", "lower=True, right=True", "lower=True, right=True, trans=True", None),
    ("pulled_back", "lower=True, trans=True", "lower=True", None),
    ("pulled_back", "left, lower=True, right=True", "left.T, lower=True, right=True", None),
]


@pytest.mark.parametrize(("name", "old", "new", "program"), BLOCK_DAMAGES)
def test_damaged_blocks_are_noticed(name: str, old: str, new: str, program: Any, monkeypatch: Any) -> None:
    text = inspect.getsource(getattr(linalg, name))
    assert text.count(old) == 1
    names = dict(vars(linalg))
    exec(text.replace(old, new), names)
    monkeypatch.setattr(linalg, name, names[name])
    with pytest.raises(AssertionError, match=r"Not equal|is_triangle"):
        (program or pulls_back_in_blocks)()
