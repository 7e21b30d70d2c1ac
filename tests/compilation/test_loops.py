"""Loops are found where rows repeat with even steps, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import loops as finder
from numbad.compilation.loops import Segment, cut_loop, fill_gaps
from numbad.limits import FEWEST_ITERATIONS
from shared.compiled import compare, loops, promote


def rosenbrock(x: Any) -> Any:
    total = 0.0
    for i in range(len(x) - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def test_the_loop_of_a_sum_is_found_whole() -> None:
    machine = compare(rosenbrock, (np.linspace(0.1, 0.9, 300),), (np.linspace(-1.0, 2.0, 300),))
    ((period, count),) = loops(machine)
    assert period <= 8
    assert count >= 295


def step_twice(x: Any) -> Any:
    """Carried values that swap, and one that is two steps old."""
    a, b, old, older = x[0], x[1], x[0], x[1]
    for _ in range(60):
        a, b = b, a * 0.9 + np.sin(b) - older * 0.1
        old, older = a, old
    return a * b + old


def fibonacci(x: Any) -> Any:
    values = [x[0], x[1], x[2]]
    for _ in range(80):
        values.append(values[-1] * 0.5 + values[-3] * 0.3 - values[-2] * x[1] * 0.2)
    return sum(values)


def nested(x: Any) -> Any:
    total = 0.0
    for i in range(20):
        inner = x[i]
        for j in range(5):
            inner = inner * x[1] + 0.1 * (j + 1)
        total = total + inner * (i + 1.0)
    return total


def constants_of_their_own(x: Any) -> Any:
    total = 0.0
    for value in np.random.default_rng(0).normal(size=90):
        total = total + np.exp(-((x[0] - value) ** 2)) * x[1]
    return total


def walks(x: Any) -> Any:
    """Operands that step by one, by two, backwards, and stay."""
    total = x[0]
    for i in range(40):
        total = total * x[0] + x[i] * x[2 * i] - x[79 - i]
    return total


def stored_and_read_later(x: Any) -> Any:
    kept = []
    state = x[0]
    for _ in range(50):
        state = state * 0.99 + x[1]
        kept.append(state)
    total = 0.0
    for value in reversed(kept):
        total = total + value * value
    for value in kept:
        total = total * 0.999 + value
    return total


def differs_in_one(x: Any) -> Any:
    """A body that is another in the middle: two loops."""
    total = x[0]
    for i in range(100):
        total = total * x[1] + (np.cos(x[0]) if i == 50 else x[2])
    return total


def first_of_all(x: Any) -> Any:
    """All iterations read what the first has computed."""
    start: Any = None
    total = x[0]
    for _ in range(70):
        total = total * 0.9 + x[1]
        start = total if start is None else start
        total = total + start * x[2]
    return total


def cyclic(x: Any) -> Any:
    """Numbers that come again every seventh iteration, and inputs that do."""
    total = x[0]
    for k in range(200):
        total = 0.9 * total + 0.05 * total * x[1] + x[2] * (0.01 * (k % 7)) + x[k % 7]
    return total


def shared_inputs(x: Any) -> Any:
    """An input that stays is one of those that are walked over."""
    total = 0.0
    for i in range(len(x)):
        total = total + x[i] * x[7] + x[7]
    return total


PROGRAMS = (
    step_twice,
    fibonacci,
    nested,
    constants_of_their_own,
    walks,
    stored_and_read_later,
    differs_in_one,
    first_of_all,
    cyclic,
    shared_inputs,
)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_loops_have_the_bits_of_the_interpreter(f: Any) -> None:
    points = [(np.random.default_rng(seed).uniform(0.1, 0.9, 80),) for seed in range(3)]
    machine = compare(f, *points)
    assert loops(machine)
    rows = sum(part.period for part in machine.code.module.segments)
    assert rows < machine.count / 2


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_values_alone_have_them_too(f: Any) -> None:
    x = np.random.default_rng(4).uniform(0.1, 0.9, 80)
    jitted, interpreted = numbad.jit(f), numbad.jit(f)
    jitted(x)
    assert promote(jitted) is not None
    for point in (x, x[::-1].copy()):
        assert jitted(point) == interpreted(point)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("piece", [48, 300])
def test_long_programs_are_searched_in_pieces(f: Any, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(4).uniform(0.1, 0.9, 80)
    whole = sum(part.period for part in compare(f, (x,)).code.module.segments)
    monkeypatch.setattr(finder, "LONG", 0)
    monkeypatch.setattr(finder, "PIECE", piece)
    machine = compare(f, (x,), (x[::-1].copy(),))
    if piece > 100 and f is not cyclic:  # whose multiples are not tried
        assert sum(part.period for part in machine.code.module.segments) <= 1.2 * whole


def test_a_search_in_pieces_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "LONG", 0)
    monkeypatch.setattr(finder, "PIECE", 32)
    picks = np.random.default_rng(3).integers(0, 80, 400).tolist()
    f = lambda x: sum((np.sin, np.cos, np.tanh, np.exp)[i % 4](x[i]) * x[79 - i] for i in picks)
    compare(f, (np.linspace(0.1, 0.8, 80),))


def test_bodies_whose_rows_are_alike_are_found_by_what_they_read() -> None:
    def f(x: Any) -> Any:
        state = [x[k] for k in range(19)]
        for i in range(20):
            state = [np.sin(one) + 0.1 * other * x[i] for one, other in zip(state, state[1:] + state[:1])]
        return sum(state)

    machine = compare(f, (np.linspace(0.2, 0.8, 40),))
    assert any(period == 4 * 19 for period, _ in loops(machine)) or len(loops(machine)) > 10


def test_rows_without_a_pattern_are_no_loop() -> None:
    random = np.random.default_rng(3)
    picks = random.integers(0, 80, (60, 2)).tolist()

    def f(x: Any) -> Any:
        total = x[0]
        for k, (i, j) in enumerate(picks):
            total = (np.sin, np.cos, np.tanh)[k * k % 7 % 3](total) * x[i] + x[j]
        return total

    machine = compare(f, (random.uniform(0.1, 0.9, 80),))
    assert sum(part.period for part in machine.code.module.segments) > machine.count / 3


@pytest.mark.parametrize("count", range(1, 12))
def test_short_loops_on_both_sides_of_the_limits(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "FEWEST_SPARED", 3)

    def f(x: Any) -> Any:
        total = x[0]
        for i in range(count):
            total = np.sin(total) * x[i] + x[0]
        return total

    machine = compare(f, (np.linspace(0.2, 0.8, 12),))
    assert bool(loops(machine)) == (count >= FEWEST_ITERATIONS + 1)


def test_parts_of_loops_and_gaps() -> None:
    free = np.ones(20, bool)
    free[8] = False
    assert cut_loop(Segment(0, 3, 6), free) == [Segment(0, 3, 2), Segment(9, 3, 3)]
    assert fill_gaps([Segment(4, 2, 3)], 12) == [Segment(0, 4), Segment(4, 2, 3), Segment(10, 2)]
    assert fill_gaps([], 0) == []
    assert Segment(4, 2, 3).stop == 10
