"""The machine of machine code: what inputs it takes, and what it hands out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from shared.compiled import bits, compare, promote


def f(a: Any, x: Any, y: Any) -> Any:
    total = a
    for k in range(40):
        total = total * 0.5 + x[k % 3] * y[k % 2, 1]
    return total


def test_inputs_of_all_kinds() -> None:
    x, y = np.array([1.0, 2.0, 3.0]), np.arange(4.0).reshape(2, 2)
    machine = compare(f, (2.0, x, y), (0.5, x[::-1].copy(), y.T.copy()), argnums=(0, 1, 2))
    assert machine.bar_slots[2].shape == (2, 2)


@pytest.mark.parametrize("turn", [lambda y: y.T, lambda y: y[::-1, ::-1], lambda y: np.asfortranarray(y)])
def test_layouts_of_inputs(turn: Any) -> None:
    y = np.arange(4.0).reshape(2, 2)
    points = [(a, np.linspace(0.0, a, 6)[::2], turn(y * a)) for a in (2.0, 3.0)]
    compare(f, *points, argnums=(0, 1, 2))


def test_an_input_that_nobody_differentiates_by() -> None:
    compare(f, (2.0, np.ones(3), np.ones((2, 2))), (3.0, np.zeros(3), np.ones((2, 2))), argnums=1)


def test_gradients_are_copies() -> None:
    jitted = numbad.jit(numbad.grad(f, argnums=1))
    arguments = (2.0, np.ones(3), np.ones((2, 2)))
    jitted(*arguments)
    assert promote(jitted) is not None
    first = jitted(*arguments)
    kept = first.copy()
    jitted(5.0, np.zeros(3), np.full((2, 2), 7.0))
    assert bits(first) == bits(kept)
    first[:] = 0.0
    assert bits(jitted(*arguments)) == bits(kept)


def test_many_inputs_are_read_where_they_are_copied_to() -> None:
    """Larger than what the arena holds of an input."""
    n = 5000

    def g(x: Any) -> Any:
        total = 0.0
        for k in range(n):
            total = total + x[k] * x[k]
        return total

    compare(g, (np.linspace(0.0, 1.0, n),), (np.linspace(-1.0, 0.5, n),))


def test_integers_as_arguments() -> None:
    def g(x: Any, k: Any) -> Any:
        total = x[0]
        for _ in range(40):
            total = np.sin(total) * k + x[1]
        return total

    jitted = numbad.jit(numbad.grad(g))
    jitted(np.ones(2), 3)
    promote(jitted)
    for k in (3, 4, -1):
        assert bits(jitted(np.ones(2), k)) == bits(numbad.grad(g)(np.ones(2), k))
