"""Kinds of statements that adjoints are made of: each compared with its recording, and none falls back to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import numbad
from numbad.numba_api.adjoint import rows

POINT = np.array([0.9, 1.3, 0.55, 1.1, 0.75])
TABLE: dict[str, object] = {}


def kind(f):
    """Add a kernel of a vector to the table."""
    TABLE[f.__name__] = f
    return f


@kind
def filled_arrays(x):
    y = np.full(x.size, x[0])
    z = np.full((2, 3), 2.0)
    w = np.full_like(x, x[1] * x[2])
    for i in range(3):
        z[1, i] += y[i] * w[i]
    return np.sum(z * z)


@kind
def arrays_of_numbers(x):
    a = np.array([x[0], 2.0, x[1] * x[2]])
    m = np.array([[x[0], 1.0], [x[3], x[4]]])
    k = np.array([2, 0, 1])
    total = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    for i in range(3):
        total += a[k[i]] ** 2 * (i + 1)
    return total


@kind
def lists(x):
    v = [x[0], 2.0 * x[1]]
    w = [0.0] * 4
    for k in range(6):
        v[k % 2] = v[k % 2] + x[0] * v[1 - k % 2]
        w[k % 4] += v[0] * len(v)
    return v[0] * v[1] + w[3] - w[-2]


@kind
def reductions(x):
    y = x * x[0]
    return np.mean(y) * x.max() + y.min() - np.prod(x) * y.mean() + x.prod() + np.max(y * x)


@kind
def spreads(x):
    return np.var(x) + x.std() * np.std(x * x[0])


@kind
def sums_along_axes(x):
    m = np.zeros((x.size, 3))
    for i in range(x.size):
        for j in range(3):
            m[i, j] = x[i] ** (j + 1)
    columns = np.sum(m, axis=0)
    lines = np.sum(m * m, 1)
    return columns[1] * columns[2] + lines[0] * lines[4]


@kind
def products(x):
    m = np.zeros((5, 5))
    for i in range(5):
        for j in range(5):
            m[i, j] = math.sin(i + 2.0 * j) * x[i]
    y = m @ x
    z = np.dot(x, m)
    p = np.dot(m, m)
    return y @ z + np.dot(x, x) * p[1, 2] + (m @ y)[3] + x.dot(y)


@kind
def choices_of_arrays(x):
    y = np.where(x > 0.8, x * x, 3.0 * x)
    mask = x < 1.0
    z = np.zeros(x.size)
    for i in range(x.size):
        if mask[i]:
            z[i] = y[i] * x[0]
    return np.sum(z * y) + np.where(x[0] > x[1], x[2], x[3])


@kind
def slices_with_steps(x):
    y = np.zeros(x.size)
    y[::2] = x[::2] * 2.0
    y[1::2] = x[1::2] * x[0]
    z = x[::-1] * y
    z[1:] += y[:-1] * 0.5
    y[:] = z[::-1][::2][0] * x
    return np.sum(z * y) + x[::-1][1] * x[1:4][::-1].sum()


@njit
def pair(a, b):
    return a * b, a - b


@kind
def tuples(x):
    a, b = x[0], x[1]
    state = (a, b)
    for _ in range(3):
        a, b = b + state[0], a * 0.5
    p, q = pair(a, b)
    both = (p, q)
    return both[0] * both[1] + q


@kind
def counted_loops(x):
    total = 0.0
    for k, value in enumerate(x):
        total += (k + 1) * value * value
    for k, value in enumerate(x * x[0]):
        total *= 1.0 + 0.1 * k * value
    return total


@kind
def grids(x):
    t = np.linspace(0.0, 1.0, 7)
    total = 0.0
    for i in range(t.size):
        total += math.exp(-x[0] * t[i]) * x[1]
    for k in np.arange(3):
        total += x[k] ** 2
    return total


@kind
def elements_before_the_first(x):
    total = 0.0
    for i in range(x.size):
        total += x[i - 1] * x[i] * x[i - 2]
    return total


@kind
def triangles(x):
    n = x.size
    a = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            a[i, j] = x[i] * x[i - j] + 0.1 * j
    total = 0.0
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            total += a[j, i] * a[j, j] * x[j - i]
    return total


@pytest.fixture
def no_rows(monkeypatch):
    """Have a kernel that is recorded row by row fail."""

    def refuse(self, *operands):
        raise AssertionError(f"{self.name} is recorded row by row")

    monkeypatch.setattr(rows.Call, "rows", refuse)


@pytest.mark.parametrize("name", TABLE)
def test_values_and_gradients(name, no_rows) -> None:
    f = TABLE[name]
    one, other = numbad.kernel(njit(f), adjoint=True), njit(f)
    for factor in (1.0, 0.7, 1.2):
        value, slope = numbad.value_and_gradient(one, factor * POINT)
        np.testing.assert_allclose(value, other(factor * POINT), rtol=1e-14)
        np.testing.assert_allclose(slope, numbad.gradient(other, factor * POINT), rtol=1e-12, atol=1e-13)


def refused(f):
    """Return what an adjoint does not take of a kernel."""
    with pytest.raises(numbad.NumbadError) as found:
        numbad.gradient(numbad.kernel(njit(f), adjoint=True), POINT)
    assert "test_reading.py" in str(found.value)
    return str(found.value)


def test_lists_are_not_taken_for_arrays() -> None:
    def twice(x):
        v = [x[0], x[1]]
        w = v + v
        return w[2]

    def part(x):
        v = [x[0], x[1], x[2]]
        return v[1:][0]

    assert "a list" in refused(twice)
    assert "a list" in refused(part)


def test_grids_that_vary_are_refused() -> None:
    def grid(x):
        t = np.linspace(0.0, x[0], 4)
        return t[1]

    assert "equal steps" in refused(grid)
