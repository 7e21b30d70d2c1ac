"""Short tapes in one compiled call: on both sides of each limit, against derivatives by hand and an execution."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.limits import LARGE_INPUT, LOCKED_ROWS, MANY_ROWS, SHORT, SHORT_MEMORY
from numbad.sweeps import whole

EDGES = [1, 5, LOCKED_ROWS - 1, LOCKED_ROWS, LOCKED_ROWS + 1, SHORT_MEMORY // 4, SHORT - 1, SHORT, SHORT + 3]


def chain(x: Any, y: Any, rows: int) -> Any:
    """Return a number after so many scalar rows: a contraction, so that all of them matter."""
    for k in range(rows):
        x = np.sin(x) if k % 2 else x * y
    return x


def chain_by_hand(x: float, y: float, rows: int) -> tuple[float, float, float]:
    """Return the number and its two derivatives by the chain rule."""
    dx, dy = 1.0, 0.0
    for k in range(rows):
        if k % 2:
            dx, dy, x = math.cos(x) * dx, math.cos(x) * dy, math.sin(x)
        else:
            dx, dy, x = dx * y, dy * y + x, x * y
    return x, dx, dy


@pytest.mark.parametrize("rows", sorted(set(EDGES)))
def test_numbers_on_both_sides_of_each_limit(rows: int) -> None:
    want = chain_by_hand(0.7, 1.1, rows)
    value, slopes = numbad.value_and_grad(chain, argnums=(0, 1))(0.7, 1.1, rows)
    np.testing.assert_allclose((value, *slopes), want, rtol=1e-9, atol=1e-300)
    found = numbad.gradient(lambda v: chain(v[0], v[1], rows), np.array([0.7, 1.1]))
    np.testing.assert_allclose(found, want[1:], rtol=1e-9, atol=1e-300)
    tape = numbad.record(lambda x, y: chain(x, y, rows), 0.1, 0.2)
    np.testing.assert_allclose(tape.gradient(0.7, 1.1), want[1:], rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [1, 40, MANY_ROWS - 2, MANY_ROWS, MANY_ROWS + 1])
@pytest.mark.parametrize("size", [1, 3, SHORT_MEMORY // 2 - 40, SHORT_MEMORY // 2])
def test_arrays_on_both_sides_of_each_limit(dtype: Any, rows: int, size: int) -> None:
    if rows * size > 20 * SHORT_MEMORY:
        rows = 1
    v = np.linspace(0.1, 0.9, size, dtype=dtype)

    def f(v: Any) -> Any:
        total = np.sum(v * v)
        for _ in range(rows):
            total = total * 1.0009765625
        return total

    want = 2.0 * v.astype(float) * 1.0009765625**rows
    found = numbad.gradient(f, v)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, want, rtol=1e-12 * rows if dtype == np.float64 else 1e-6 * rows)


def differently(monkeypatch: pytest.MonkeyPatch, f: Any, *point: Any) -> tuple[Any, Any]:
    """Return value and gradient in one call, and by the sweeps of an execution."""
    one = numbad.value_and_grad(f, argnums=tuple(range(len(point))))(*point)
    with monkeypatch.context() as patch:
        patch.setattr(whole, "is_short", lambda rows: False)
        other = numbad.value_and_grad(f, argnums=tuple(range(len(point))))(*point)
    return one, other


@pytest.mark.parametrize("point", [(0.3, 2.0), (0.0, 0.0), (-1.0, np.inf), (np.nan, 1.0), (1e200, 1e200)])
def test_bits_are_those_of_an_execution(point: tuple[float, float], monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = lambda x, y: numbad.where(x > 0.0, np.sqrt(x), x * y) + np.log(y) * x**3
    arrays = lambda v: np.sum(numbad.where(v > 0.0, np.sqrt(v), v * v[1])) + np.log(v[1]) * v[0]
    for f, given in (
        (numbers, point),
        (arrays, (np.array(point),)),
        (lambda v: numbers(v[0], v[1]), (np.array(point),)),
    ):
        with np.errstate(all="ignore"):
            one, other = differently(monkeypatch, f, *given)
        assert np.array_equal(one[0], other[0], equal_nan=True)
        for a, b in zip(one[1], other[1], strict=True):
            np.testing.assert_array_equal(np.asarray(a).view(np.int64), np.asarray(b).view(np.int64))


def test_a_damaged_seed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = whole.run_whole
    monkeypatch.setattr(
        "numbad.sweeps.gradients.run_whole", lambda rows, n, output, inputs: run(rows, n, output - 1, inputs)
    )
    assert numbad.gradient(lambda x, y: np.sin(x) * y, 0.5, 2.0) != pytest.approx((2.0 * math.cos(0.5), math.sin(0.5)))


def test_rows_for_python_are_left_to_an_execution() -> None:
    import scipy.special

    found = numbad.gradient(lambda x: scipy.special.gammainc(2.0, x), 1.5)
    assert found == pytest.approx(1.5 * math.exp(-1.5), rel=1e-12)
    matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
    found = numbad.gradient(lambda b: np.sum(np.linalg.solve(matrix, b)), np.ones(2))
    np.testing.assert_allclose(found, np.linalg.solve(matrix.T, np.ones(2)), rtol=1e-12)


def test_threads_have_memory_of_their_own() -> None:
    found: dict[int, list[Any]] = {}

    def work(k: int) -> None:
        found[k] = [numbad.gradient(lambda v: np.sum(np.sin(v) * k), np.full(50, 0.1 * j)) for j in range(40)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, gradients in found.items():
        for j, gradient in enumerate(gradients):
            np.testing.assert_allclose(gradient, k * np.cos(np.full(50, 0.1 * j)), rtol=1e-12, atol=1e-12)


def test_a_gradient_within_a_gradient_has_memory_of_its_own() -> None:
    inner = lambda y: numbad.gradient(lambda z: z**3, y)  # the plain value: a gradient of its own
    f = lambda x: x * inner(2.0) + numbad.gradient(lambda z: z * z * x, 3.0)
    assert numbad.gradient(f, 1.0) == pytest.approx(12.0 + 6.0)


@pytest.mark.parametrize("size", [3, LARGE_INPUT, LARGE_INPUT + 1])
def test_inputs_that_are_not_read(size: int) -> None:
    big = np.ones(size)
    for transform in (numbad.grad, lambda f, argnums: numbad.jit(numbad.grad(f, argnums=argnums))):
        first = transform(lambda y, x: y * y, (0, 1))(3.0, big)
        assert first[0] == 6.0
        assert np.array_equal(first[1], np.zeros(size))
        last = transform(lambda x, y: y[0] * y[1], (0, 1))(big, np.array([2.0, 5.0]))
        assert np.array_equal(last[0], np.zeros(size))
        assert np.array_equal(last[1], [5.0, 2.0])
