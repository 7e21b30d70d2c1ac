"""Triangular systems: each way against the product, by NumPy's routine and without it."""

from __future__ import annotations

import inspect
import types
from typing import Any

import numpy as np
import pytest

from numbad.limits import TRIANGLE
from numbad.ops import substitution
from numbad.ops.substitution import substitute, triangular_routine

WAYS = [(way & 1 == 1, way & 2 == 2, way & 4 == 4, way & 8 == 8) for way in range(16)]
SIZES = (1, 2, 7, TRIANGLE - 1, TRIANGLE, TRIANGLE + 1, 2 * TRIANGLE, 3 * TRIANGLE + 1)


def check_all_ways(
    sizes: tuple[int, ...] = SIZES, dtypes: tuple[type, ...] = (np.float64, np.float32), solve: Any = None
) -> None:
    """Solve systems of every kind, size, order in memory and dtype; the triangle that is not read holds NaN."""
    random = np.random.default_rng(3)
    for n in sizes:
        whole = random.uniform(-1.0, 1.0, (n, n)) / n + 2.0 * np.eye(n)
        for (lower, trans, unit, right), dtype in ((way, dtype) for way in WAYS for dtype in dtypes):
            triangle = (np.tril(whole) if lower else np.triu(whole)).astype(dtype)
            if unit:
                np.fill_diagonal(triangle, 1.0)
            read = np.where(np.tri(n, dtype=bool) if lower else np.tri(n, dtype=bool).T, triangle, np.nan)
            if unit:
                np.fill_diagonal(read, np.nan)
            for shape in ((n,), (n, 1), (n, 5)):
                x = random.uniform(-1.0, 1.0, shape).astype(dtype)
                matrix = triangle.T if trans else triangle
                b, x = (x.T @ matrix, x.T) if right else (matrix @ x, x)
                for a in (read, np.asfortranarray(read), np.repeat(read, 2, axis=1)[:, ::2]):
                    before = b.copy()
                    found = (solve or substitute)(a, b, lower=lower, trans=trans, unit=unit, right=right)
                    assert found.dtype == dtype
                    assert found.shape == b.shape
                    np.testing.assert_array_equal(b, before)
                    np.testing.assert_allclose(found, x, rtol=1e-4 if dtype is np.float32 else 1e-11, atol=1e-6)


def test_by_numpys_routine_where_there_is_one() -> None:
    check_all_ways()


def test_without_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(substitution, "triangular_routine", lambda dtype: None)
    check_all_ways()


def test_numpys_wheels_have_the_routine() -> None:
    if "scipy-openblas" in str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]):
        assert triangular_routine(np.dtype(np.float64)) is not None
        assert triangular_routine(np.dtype(np.float32)) is not None
    assert triangular_routine(np.dtype(np.complex128)) is None


def test_integers_and_mixed_dtypes_are_computed_in_float64() -> None:
    a, b = np.array([[2, 0], [1, 4]]), np.array([1, 2])
    for found in (substitute(a, b, lower=True), substitute(a.astype(np.float32), b.astype(np.float64), lower=True)):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [0.5, 0.375])


def test_empty_systems() -> None:
    assert substitute(np.zeros((0, 0)), np.zeros(0), lower=True).shape == (0,)
    assert substitute(np.eye(3), np.zeros((3, 0)), lower=True).shape == (3, 0)


def test_zeros_on_the_diagonal_are_singular_and_nan_stays_where_it_is() -> None:
    a = np.tril(np.ones((5, 5)))
    a[3, 3] = 0.0
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        substitute(a, np.ones(5), lower=True)
    assert np.isfinite(substitute(a, np.ones(5), lower=True, unit=True)).all()
    a[3, 3] = np.nan
    found = substitute(a, np.ones(5), lower=True)
    assert np.isfinite(found[:3]).all()
    assert np.isnan(found[3:]).all()


def test_a_routine_that_does_otherwise_is_not_taken(monkeypatch: Any) -> None:
    for name in ("no_such_routine", "dtrmm"):
        monkeypatch.setattr(substitution, "ROUTINES", {np.dtype(np.float64): (name, substitution.ctypes.c_double)})
        assert triangular_routine.__wrapped__(np.dtype(np.float64)) is None


DAMAGES = [
    ("call_routine", 'b"L" if right else b"R"', 'b"L"'),
    ("call_routine", 'b"U" if lower else b"L"', 'b"U"'),
    ("call_routine", 'b"T" if trans else b"N"', 'b"N"'),
    ("call_routine", 'b"U" if unit else b"N"', 'b"N"'),
    ("call_routine", "a, lower, trans = a.T, not lower, not trans", "a, lower = a.T, not lower"),
    ("call_routine", "a, lower, trans = a.T, not lower, not trans", "a, trans = a.T, not trans"),
    ("call_routine", "np.ascontiguousarray(a, dtype)", "np.asarray(a, dtype)"),
    ("call_routine", 'np.array(b, dtype, order="C")', "np.asarray(b, dtype)"),
    ("in_blocks", "slice(0, start)", "slice(0, max(start - 1, 0))"),
    ("in_blocks", "x[rest] -= a[rest, rows]", "x[rest] += a[rest, rows]"),
    ("substitute", "np.fill_diagonal(whole, 1.0)", "pass"),
    ("substitute", "trans != right", "trans"),
    ("substitute", "found.T if right else found", "found"),
]


@pytest.mark.parametrize(("name", "old", "new"), DAMAGES)
def test_damage_is_noticed(name: str, old: str, new: str) -> None:
    text = inspect.getsource(getattr(substitution, name))
    assert text.count(old) == 1
    damaged = types.ModuleType("damaged")
    exec(inspect.getsource(substitution).replace(text, text.replace(old, new)), damaged.__dict__)
    if name != "call_routine":
        damaged.triangular_routine = lambda dtype: None
    elif triangular_routine(np.dtype(np.float64)) is None or damaged.triangular_routine(np.dtype(np.float64)) is None:
        return  # there is no such routine, or it was refused when it was looked for
    with pytest.raises((AssertionError, ValueError)):
        check_all_ways((2, TRIANGLE + 1), (np.float64,), damaged.substitute)
