"""Iterations that are copied: the same rows as when each is taken apart, and loops that hide what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import repeated_rows, taking_apart
from numbad.compilation.repeated_rows import Marks, find_repetitions
from numbad.compilation.taking_apart import take_apart
from numbad.limits import FEWEST_ITERATIONS
from numbad.tapes.tape import Tape
from shared.small_arrays import PROGRAMS, agree

POINT = np.random.default_rng(3).uniform(0.3, 0.8, 15)


def take_both(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> int:
    """Check a tape that is taken apart against one of which each row is; return how many iterations were copied."""
    results = [np.array(slot.address) for slot in tape.outputs]
    copies = [0]
    copy = repeated_rows.Pattern.copy

    def count(*given: Any) -> bool:
        done = copy(*given)
        copies[0] += done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(repeated_rows.Pattern, "copy", count)
        patch.setattr(repeated_rows, "BLOCK", 8)
        patch.setattr(repeated_rows, "SPARSE", 1 << 40)
        found = take_apart(tape, results)
        patch.setattr(taking_apart, "find_repetitions", lambda tape: [])
        expected = take_apart(tape, results)
    assert found[0].code.tolist() == expected[0].code.tolist()
    assert found[0].numbers.tobytes() == expected[0].numbers.tobytes()
    assert found[0].sites.tolist() == expected[0].sites.tolist()
    assert found[0].size == expected[0].size
    assert [places.tolist() for places in found[1]] == [places.tolist() for places in expected[1]]
    return copies[0]


def small_filter(x: Any) -> Any:
    """A Kalman filter: rows of linear algebra, guards, constants of each iteration."""
    state, spread = x[:2], np.eye(2) * x[2]
    move, total = np.array([[1.0, 1.0], [0.0, 0.9]]), 0.0
    for k in range(30):
        state, spread = move @ state, move @ spread @ move.T + x[3]
        inverse = np.linalg.inv(spread + np.eye(2))
        error = np.array([0.3 * k, 1.0 - 0.1 * k]) - state
        state, spread = state + spread @ inverse @ error, spread - spread @ inverse @ spread
        total = total + np.log(np.linalg.det(spread + np.eye(2))) + error @ inverse @ error
    return total


def delayed(x: Any) -> Any:
    """What an iteration reads is its own, that of the one before, or older ones: from case to case."""
    found = [x[:2], x[2:4]]
    for k in range(40):
        found.append(0.5 * found[-1] + x[4] * found[k // 2] * found[-2])
    return found[-1] @ found[-2]


def swapped(x: Any) -> Any:
    one, other = x[:3], x[3:6]
    for k in range(40):
        one, other = other * x[6], one + 0.1 * other
        if k % 5 == 4:
            one, other = other, one
    return one @ other


def listed(x: Any) -> Any:
    """Gathers and scatters, whose places are not the same in all iterations."""
    y = x[:5]
    for k in range(30):
        y = 0.5 * y[[k % 5, (2 * k) % 5, 1, (k + 3) % 5, 4]] + 0.1 * np.sin(y)
    return np.sum(y * y)


def summed(x: Any) -> Any:
    """Blocks to which several rows add, of which some hold nothing yet."""
    z = np.zeros(6)
    for k in range(30):
        z = np.concatenate([z[2:], x[k % 3 : k % 3 + 2] * z[k % 6]]) * 0.9
        if k == 3:
            z[4] = x[0]
    return z @ z


def constants(x: Any) -> Any:
    """Iterations that differ in a constant, and one that differs in its rows."""
    y = x[:2]
    for k in range(40):
        y = np.tanh(y * (1.0 + 0.1 * (k % 7))) + (np.cos(x[2:4]) if k == 20 else np.sin(x[2:4]))
    return np.sum(y)


HIDDEN = (small_filter, delayed, swapped, listed, summed, constants)


@pytest.mark.parametrize("f", (*PROGRAMS, *HIDDEN), ids=lambda f: f.__name__)
def test_copies_are_what_taking_apart_gives(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for g in (f, numbad.grad(f), numbad.jacfwd(numbad.grad(f))):
        if f is not small_filter or g is f:
            take_both(numbad.record(g, POINT), monkeypatch)


@pytest.mark.parametrize("f", [small_filter, delayed, swapped, constants], ids=lambda f: f.__name__)
def test_most_iterations_are_copied(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take_both(numbad.record(f, POINT), monkeypatch) >= 5


@pytest.mark.parametrize("f", HIDDEN, ids=lambda f: f.__name__)
def test_hidden_loops_compute_the_same(f: Any) -> None:
    agree(f, POINT, POINT + 0.05)


def steps(count: int) -> Any:
    """Return a loop of so many iterations."""

    def f(x: Any) -> Any:
        y = x[:2]
        for _ in range(count):
            y = np.sin(y) * x[2:4]
        return y @ y

    return f


@pytest.mark.parametrize("count", range(FEWEST_ITERATIONS - 1, FEWEST_ITERATIONS + 6))
def test_few_iterations(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = numbad.record(steps(count), POINT)
    take_both(tape, monkeypatch)
    longest = max((part.count for part in find_repetitions(tape)), default=0)
    assert longest in ((0,) if count < FEWEST_ITERATIONS else (count - 1, count)), "the last feeds another row"


def test_guards_of_another_truth_are_another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        y = x[:2]
        for k in range(24):
            y = y * 0.9 if np.sum(y) > (0.1 if k != 11 else 1e9) else y * 1.1
        return y @ y

    assert take_both(numbad.record(f, POINT), monkeypatch)


def test_marks_find_the_first_of_equal_places() -> None:
    places = np.array([4, 2, 4, 9, 2, 2])
    assert Marks(10).first(places).tolist() == [0, 1, 0, 3, 1, 1]
