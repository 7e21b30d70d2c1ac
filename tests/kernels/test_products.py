"""Products of small matrices: on both sides of the limits, in every memory layout, with bits that depend on neither."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.kernels import loading
from numbad.kernels.run_layout import PRODUCT
from numbad.tape.layout import CONTRACT, MAP, index_words, is_left, is_product
from numbad.tapes import reference

random = np.random.default_rng(3)
usual = pytest.mark.skipif(limits.SMALL_LIMITS, reason="products of these sizes are BLAS's there")
AXIS, LEAST = limits.PRODUCT_AXIS, limits.PRODUCT_LEAST
SHAPES = [  # rows, terms, columns
    (AXIS, AXIS, AXIS),
    (AXIS - 1, 16, 9),
    (9, AXIS - 1, 16),
    (16, 9, AXIS - 1),
    (7, 8, 9),
    (6, 128, 8),
    (7, 129, 17),
    (13, 300, 5),
    (64, 32, 4),
    (64, 64, 64),
    (65, 64, 64),
]


def layouts(values: np.ndarray) -> list[np.ndarray]:
    """Return the same numbers in other places of memory."""
    rows, columns = values.shape
    wide = np.zeros((rows, 2 * columns + 1), values.dtype)
    wide[:, 1::2] = values
    return [values, np.asfortranarray(values), wide[:, 1::2], values[::-1].copy()[::-1]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_derivatives(shape: tuple[int, int, int], dtype: Any) -> None:
    rows, terms, columns = shape
    A, B = (random.standard_normal(size).astype(dtype) for size in ((rows, terms), (terms, columns)))
    weights = random.standard_normal((rows, columns)).astype(dtype)
    f = lambda A, B: np.sum(weights * (A @ B))
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    for one, other in zip(layouts(A), layouts(B), strict=True):
        value, slopes = numbad.value_and_gradient(f, one, other, argnums=(0, 1))
        for found, wanted in ((value, f(A, B)), (slopes[0], weights @ B.T), (slopes[1], A.T @ weights)):
            np.testing.assert_allclose(found, wanted, **close)
    g = lambda A, B: f(A.T.T[:, ::-1][:, ::-1], B.reshape(-1).reshape(B.shape))
    for function in (f, g):
        jitted = numbad.jit(numbad.grad(function, argnums=(0, 1)))
        for scale in (1, 2):
            for found, wanted in zip(jitted(A * scale, B), (weights @ B.T, scale * A.T @ weights), strict=True):
                np.testing.assert_allclose(found, wanted, **close)
    tangents = numbad.jvp(f, (A, B), (B[:1, :1] * A, 2 * B))[1]
    np.testing.assert_allclose(tangents, np.sum(weights * ((B[:1, :1] * A) @ B + 2 * A @ B)), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(5, 6, 7), (AXIS, 8, 9)])
def test_as_the_plain_interpreter(shape: tuple[int, int, int]) -> None:
    rows, terms, columns = shape
    f = lambda A, B: np.sum(np.sin(A @ B))
    given = random.standard_normal((rows, terms)), random.standard_normal((terms, columns))
    tape = numbad.record(f, *given)
    for found, wanted in zip(tape.gradient(*given), reference.gradient(tape, *given), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@usual
def test_bits_depend_neither_on_other_rows_nor_on_memory() -> None:
    A, B = random.standard_normal((40, 50)), random.standard_normal((50, 30))
    multiply = numbad.jit(lambda A, B: A @ B)
    whole = multiply(A, B)
    for rows in (8, 9, 23):
        np.testing.assert_array_equal(multiply(A[:rows], B), whole[:rows])
    for columns in (8, 11, 29):
        np.testing.assert_array_equal(multiply(A, B[:, :columns]), whole[:, :columns])
    for one, other in zip(layouts(A), layouts(B), strict=True):
        np.testing.assert_array_equal(multiply(one, other), whole)


def test_what_is_not_finite_or_absent() -> None:
    A, B = random.standard_normal((6, 8)), random.standard_normal((8, 9))
    A[2, 3], B[4, 5] = np.inf, np.nan
    np.testing.assert_allclose(numbad.jit(lambda A, B: A @ B)(A, B), A @ B, rtol=1e-12)
    masked = numbad.gradient(lambda A: np.sum(np.where(A > 9.0, 1.0, 0.0) @ B), A)
    np.testing.assert_array_equal(masked, np.zeros_like(A))
    zero = numbad.jit(lambda A, B: (-A * 0.0) @ B)(
        np.abs(A[:2][:, :3].repeat(3, 1)), np.abs(random.standard_normal((9, 9)))
    )
    assert not np.signbit(zero).any()


def row(sizes: tuple[int, int, int], strides: list[tuple[int, ...]]) -> array[int]:
    """Return the words of a row over three axes."""
    return array("q", index_words(sizes, 0, [(0, 0, 1, steps) for steps in strides]))


@usual
def test_what_is_a_product() -> None:
    sizes = (8, 8, 8)
    right = [(8, 1, 0), (8, 0, 1), (0, 1, 8)]
    assert is_product(row(sizes, right), 0)
    for k in range(3):
        for axis in range(3):
            steps = [list(step) for step in right]
            steps[k][axis] = 0 if steps[k][axis] else 1
            assert not is_product(row(sizes, [tuple(step) for step in steps]), 0)
    for order in ((1, 2, 0), (2, 0, 1), (1, 0, 2)):
        assert is_product(row(sizes, [right[k] for k in order]), 0)
    edge = round((limits.PRODUCT_MOST) ** (1 / 3))
    assert is_product(row((edge, edge, edge), right), 0)
    assert not is_product(row((edge + 1, edge, edge), right), 0)
    assert not is_product(row((AXIS - 1, 64, 64), right), 0)
    assert not is_product(row((AXIS, AXIS, AXIS), right), 0) or AXIS**3 >= LEAST
    large = row((edge, edge, edge), right)
    assert is_left(MAP, large, 0)
    assert not is_left(CONTRACT, large, 0)


@usual
@pytest.mark.skipif(limits.CHECKED, reason="a function of Python's has no place in the table of lent memory")
def test_a_wrong_product_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    test_as_the_plain_interpreter((5, 6, 7))
    numbers = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_double, *[ctypes.c_int64] * 8)
    wrong = numbers(lambda *_: 0)
    for scalar in (False, True):
        table = loading._tables.get((np.dtype(float).num, scalar))
        if table is not None:
            right = table[PRODUCT]
            table[PRODUCT] = ctypes.cast(wrong, ctypes.c_void_p).value
            with pytest.raises(AssertionError):
                test_as_the_plain_interpreter((5, 6, 7))
            table[PRODUCT] = right
            break
    test_as_the_plain_interpreter((5, 6, 7))
