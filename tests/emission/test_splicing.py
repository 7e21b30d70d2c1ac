"""Recorded tapes and pullbacks inside other recordings: their rows are copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

import numbad
from shared.programs import POINTS, PROGRAMS, Program, run


@given(PROGRAMS, POINTS, POINTS)
def test_programs_spliced_into_recordings(program: Program, x: np.ndarray, other: np.ndarray) -> None:
    """Two copies of a jitted program in one recording, at two points, against the program itself."""
    f = lambda x: run(program, x)
    inner = numbad.jit(f)
    paired = lambda g: lambda x: g(x * 1.0) + g(x * 0.5) * np.sum(x)
    for point in (x, other):
        expected, slope = numbad.value_and_gradient(paired(f), point)
        found, spliced = numbad.value_and_gradient(paired(inner), point)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(spliced, slope, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(slope).max()))


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize("size", [3, 700, 6000])
def test_pullbacks_inside_recordings_belong_to_their_point(size: int) -> None:
    captured, runs = np.linspace(0.5, 1.5, size), []

    def f(x: Any) -> Any:
        runs.append(1)
        return np.sin(x) * captured if x[0] > 0.0 else x

    x = np.linspace(0.1, 1.0, size)
    slope = np.cos(x) * captured
    _, pullback = numbad.vjp(f, x)
    _, pushforward = numbad.linearize(f, x)
    before = len(runs)
    x[:] = -1.0
    if size * 8 <= 1 << 20:
        captured[:] = 7.0
    seeds = np.arange(3.0 * size).reshape(3, size)
    np.testing.assert_allclose(numbad.vmap(pullback)(seeds)[0], seeds * slope)
    np.testing.assert_allclose(numbad.vmap(pushforward)(seeds), seeds * slope)
    np.testing.assert_allclose(numbad.grad(lambda v: np.sum(pullback(v * v)[0]))(seeds[1]), 2.0 * seeds[1] * slope)
    np.testing.assert_allclose(numbad.grad(lambda v: np.sum(pushforward(v) ** 2))(seeds[1]), 2.0 * seeds[1] * slope**2)
    assert len(runs) == before


def test_results_of_pullbacks_and_pushforwards_are_assigned_apart_from_what_was_given() -> None:
    def pulled(x: Any, seed: Any) -> Any:
        (bar,) = numbad.vjp(lambda y: y + 1.0, x)[1](seed)
        bar[0] = 0.0
        return np.sum(seed**2) + np.sum(bar)

    def pushed(x: Any, seed: Any) -> Any:
        _, dot = numbad.jvp(lambda y: y + 1.0, (x,), (seed,))
        dot[0] = 0.0
        return np.sum(seed**2) + np.sum(dot)

    def both(x: Any, seed: Any) -> Any:
        one, other = numbad.vjp(lambda y, z: y + z, x, x)[1](seed * 1.0)
        one[0] = 0.0
        return np.sum(seed**2) + np.sum(other) - seed[0]

    x, seed = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    for f in (pulled, pushed, both):
        assert np.array_equal(numbad.grad(f, argnums=1)(x, seed), 2.0 * seed + [0.0, 1.0, 1.0])
