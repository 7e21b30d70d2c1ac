"""Small arrays taken apart: programs with them have the interpreter's numbers, up to the rounding of their sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation.taking_apart import may_be_taken_apart, take_apart
from numbad.limits import FEW_A_ROW, RUN
from shared.compiled import loops
from shared.small_arrays import PROGRAMS, agree, branches, filled

POINTS = [np.random.default_rng(seed).uniform(0.25, 0.9, 15) for seed in range(3)]


@pytest.mark.parametrize("transform", [numbad.value_and_grad, lambda f: f], ids=["gradient", "value"])
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_of_small_arrays(f: Any, transform: Any) -> None:
    agree(f, *POINTS, transform=transform)


@pytest.mark.parametrize("transform", [numbad.hessian, numbad.jacfwd, numbad.jacrev], ids=["hess", "fwd", "rev"])
@pytest.mark.parametrize("f", [filled, branches], ids=lambda f: f.__name__)
def test_derivatives_that_were_emitted(f: Any, transform: Any) -> None:
    agree(f, *POINTS, transform=transform)


def test_loops_of_arrays_are_found() -> None:
    def f(x: Any) -> Any:
        y = x[:2]
        for _ in range(60):
            y = y + 0.01 * np.array([y[1], -np.sin(y[0])])
        return y[0]

    machine = agree(f, np.array([0.4, 0.1]), np.array([0.5, -0.2]))
    assert max(count for _, count in loops(machine)) >= 55


@pytest.mark.parametrize("count", [1, 2, RUN - 1, RUN, RUN + 1, 2 * RUN + 3, 5 * RUN])
def test_sums_on_both_sides_of_a_run(count: int) -> None:
    def f(x: Any) -> Any:
        total = 0.0
        for _ in range(4 + count // 8):  # enough rows of numbers
            total = total * 0.5 + x[0]
        return np.sum(x * x) * total + x @ x

    agree(f, np.linspace(0.1, 1.0, count), np.linspace(-1.0, 1.0, count))


def test_zeros_keep_their_sign() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3)
        y[0] = x[0]
        total = np.copysign(1.0, np.sum(x[:1] * 1.0)) + np.copysign(2.0, (x[:2] @ x[2:4]) * 1.0)
        return total + np.copysign(4.0, y[0]) + np.copysign(8.0, y[1]) + 0.0 * x[4]

    for x in ([-0.0, 0.0, 1.0, 1.0, 1.0], [0.0, -0.0, 1.0, 1.0, 1.0], [-0.0, -0.0, 1.0, 1.0, 1.0]):
        agree(f, np.ones(5), np.array(x))


def tape_of(f: Any, *points: Any) -> Any:
    return numbad.record(f, *points)


def test_what_is_not_taken_apart() -> None:
    small, large = np.ones(FEW_A_ROW), np.ones(4 * FEW_A_ROW + 1)
    assert may_be_taken_apart(tape_of(lambda x: np.sin(x), small))
    assert not may_be_taken_apart(tape_of(lambda x: np.sin(x), large)), "block kernels are quicker"
    assert not may_be_taken_apart(tape_of(lambda x: np.linalg.eigvalsh(x), np.eye(2)))
    assert may_be_taken_apart(tape_of(lambda x: np.linalg.inv(x), np.eye(2)))
    assert not may_be_taken_apart(tape_of(lambda x: np.linalg.inv(x), np.eye(9)))


def test_rows_say_which_row_they_come_from() -> None:
    tape = tape_of(lambda x: np.sin(x[:2]) @ x[1:] + x[0], np.ones(3))
    apart, (place,) = take_apart(tape, [np.array(tape.outputs[0].address)])
    assert len(apart) == len(apart.sites) > len(tape)
    assert set(apart.sites.tolist()) <= set(range(len(tape)))
    assert int(place) < apart.size
