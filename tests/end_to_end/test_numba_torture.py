"""What other systems differentiate wrongly, or not at all: loops of unknown length, overwritten variables, early exits.

Each program is compared with a closed form, or with mpmath's derivatives of the same recursion, in forward and
reverse mode and in second order, recorded by machine code and by its source.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numba import njit

import numbad
from numbad.numba_api.adjoint import rows
from numbad.numba_api.dispatching import Kernel

PROGRAMS: dict[str, tuple[Any, float]] = {}


def program(point: float) -> Any:
    """Add a function of one number to the table; it runs on numbers of mpmath, too."""

    def add(f: Any) -> Any:
        PROGRAMS[f.__name__] = f, point
        return f

    return add


@program(0.7)
def a_variable_from_before_a_loop_used_after_it(x):
    before = x * x
    total, k = 0.0 * x, 0
    while total < 3.0:
        total += before + k
        k += 1
    return total * before


@program(0.6)
def nested_loops_of_unknown_length(x):
    total = 0.0 * x
    i = 0
    while total < 4.0:
        j = 0
        while j <= i:
            total += x / (1 + j)
            j += 1
        i += 1
    return total * total


@program(0.9)
def iterations_that_are_left_out(x):
    total = 1.0 + 0.0 * x
    for k in range(12):
        if k % 3 == 0:
            continue
        total = total * x + 1.0 / (k + 1.0)
    return total


@program(1.3)
def an_accumulator_that_is_overwritten(x):
    v = [1.0 + 0.0 * x, 2.0 * x]
    for k in range(6):
        v[k % 2] = v[k % 2] + x * v[1 - k % 2]
        v[0] = v[0] * 0.5
    return v[0] * v[1]


@program(0.8)
def an_array_that_is_changed_afterwards(x):
    y = [x, x * x, x + 1.0]
    z = y[0] * y[1] * y[2]
    for k in range(3):
        y[k] = y[k] * 0.0 + 5.0
    return z * y[0]


@program(1.1)
def an_inner_loop_of_five_hundred(x):
    total = 0.0 * x
    for i in range(3):
        y = x
        for _ in range(500):
            y = y - 0.001 * y * (y + i)
        total += y * y
    return total


@program(0.4)
def a_loop_that_is_left(x):
    y = x
    for k in range(1000):
        y = y * y * 0.5 + x
        if y > 0.55:
            return y * (k + 1.0)
    return y


@program(2.3)
def a_root_by_newton(x):
    y = x
    while abs(y * y - x) > 1e-10:  # the derivative of what it computes, not of the root
        y = 0.5 * (y + x / y)
    return y * y * y


@program(3.6)
def the_logistic_map(x):
    y = 0.3 + 0.0 * x
    for _ in range(30):
        y = x * y * (1.0 - y)
    return y


@program(0.3)
def values_that_change_places(x):
    a, b, c = x, x * x, 1.0 + 0.0 * x
    for _ in range(10):
        a, b, c = b + 0.1 * c, c * 0.5 + a, a * b
    return a + 2.0 * b + 3.0 * c


@program(1.7)
def a_branch_that_follows_the_values(x):
    y, k = x, 0
    while k < 40:
        if y > 1.0:
            y = y * 0.5
        else:
            y = 3.0 * y * x - 1.0 if y > 0.5 else y + x
        k += 1
    return y


def count_backs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of kernels whose compiled adjoints have run, as it grows."""
    found: list[str] = []
    run = rows.Ahead.run_back

    def counted(self: Any, cotangents: list[Any]) -> Any:
        found.append(self.adjoint.flat.name)
        return run(self, cotangents)

    monkeypatch.setattr(rows.Ahead, "run_back", counted)
    return found


def expected(f: Any, x: float) -> list[float]:
    with mpmath.workdps(60):
        return [float(part) for part in mpmath.taylor(f, mpmath.mpf(x), 2, h=mpmath.mpf(10) ** -20)]


@pytest.mark.parametrize("way", ["machine code", "source", "adjoint"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_right_to_twelve_digits(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "is_worth_compiling", lambda self: way == "machine code")
    f, x = PROGRAMS[name]
    kernel = numbad.kernel(njit(f), adjoint=True) if way == "adjoint" else njit(f)
    backs = count_backs(monkeypatch)
    value, slope, half = expected(f, x)
    scale = max(1.0, abs(half) * 1e-3)  # sums of the recursion are rounded: the map is chaotic
    close = lambda found, truth: found == pytest.approx(truth, rel=1e-12 * scale, abs=1e-12)
    assert close(kernel(x), value)
    assert close(numbad.gradient(kernel, x), slope)
    assert bool(backs) is (way == "adjoint")
    assert close(numbad.jvp(kernel, (x,), (1.0,))[1], slope)
    assert close(numbad.jvp(numbad.grad(kernel), (x,), (1.0,))[1], 2.0 * half)
    assert close(numbad.gradient(numbad.grad(kernel), x), 2.0 * half)
    fast = numbad.jit(numbad.value_and_grad(kernel))
    for factor in (1.0, 1.03, 0.96, 1.0):
        truth = expected(f, factor * x)
        found = fast(factor * x)
        grown = max(1.0, abs(truth[2]) * 1e-3)
        assert found[0] == pytest.approx(truth[0], rel=1e-11 * grown)
        assert found[1] == pytest.approx(truth[1], rel=1e-10 * grown)


def test_paths_that_differ_are_lanes_of_their_own() -> None:
    f, _ = PROGRAMS["a_loop_that_is_left"]
    points = np.linspace(0.35, 0.45, 7)
    slopes = numbad.vmap(numbad.grad(njit(f)))(points)
    assert np.allclose(slopes, [expected(f, x)[1] for x in points], rtol=1e-11)
    assert math.isfinite(slopes.sum())
