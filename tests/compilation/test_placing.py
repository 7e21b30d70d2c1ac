"""Where results lie: each at a place of its own, and evenly for whoever walks through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import placing
from numbad.compilation.loops import Segment
from numbad.compilation.placing import MOST_STREAMS, place_by_body
from shared.compiled import compare, loops, promote


@pytest.mark.parametrize("seed", range(60))
def test_no_two_results_lie_at_one_place(seed: int) -> None:
    random = np.random.default_rng(seed)
    segments, row = [], 0
    for _ in range(random.integers(1, 9)):
        straight = not segments or segments[-1].is_loop
        loop = random.random() < (0.5 if straight else 1.1)
        segments.append(Segment(row, int(random.integers(1, 40)), int(random.integers(2, 9)) if loop else 1))
        row = segments[-1].stop
    stored = random.random(row) < random.choice([0.1, 0.6, 1.0])
    for segment in segments:
        rows = stored[segment.start : segment.stop].reshape(segment.count, segment.period)
        rows[:] = rows[0]
    earlier = [segment.period if random.random() < 0.5 else 0 for segment in segments]
    plain = set(np.flatnonzero(random.random(len(segments)) < 0.3).tolist())
    for chosen in (set(), plain, set(range(len(segments)))):
        places = place_by_body(segments, earlier, stored, chosen)
        assert len(np.unique(places)) == row
        assert places.min() >= 0
        for k, segment in enumerate(segments):
            iterations = places[segment.start : segment.stop].reshape(segment.count, segment.period)
            assert (np.diff(iterations, n=2, axis=0) == 0).all() if segment.count > 2 else True
            if k in chosen:
                assert (np.diff(iterations.reshape(-1)) == 1).all()


def test_results_of_a_row_lie_together_and_peeled_ones_with_them() -> None:
    places = place_by_body([Segment(0, 7), Segment(7, 3, 5), Segment(22, 4)], [0, 3, 0], np.ones(26, bool), set())
    assert np.diff(places[1:25:3]).tolist() == [1] * 7, "two iterations before, five, one after"


def test_of_many_results_those_of_an_iteration_lie_together() -> None:
    period = MOST_STREAMS + 2
    stored = np.tile(np.arange(period) != 0, 5)
    places = place_by_body([Segment(0, period, 5)], [0], stored, set()).reshape(5, period)
    assert np.diff(places[:, 1:].reshape(-1)).tolist() == [1] * (5 * (period - 1) - 1)
    assert np.diff(places[:, 0]).tolist() == [1] * 4


@pytest.mark.parametrize("kept", [2, MOST_STREAMS - 1, MOST_STREAMS, MOST_STREAMS + 1, MOST_STREAMS + 5])
def test_bodies_on_both_sides_of_the_limit(kept: int) -> None:
    def f(x: Any) -> Any:
        state = [x[k] for k in range(kept)]
        for i in range(20):
            state = [np.sin(one) + 0.1 * other * x[i] for one, other in zip(state, state[1:] + state[:1])]
        return sum(state)

    machine = compare(f, (np.linspace(0.2, 0.8, 40),), (np.linspace(-0.3, 0.9, 40),))
    assert loops(machine)


def crossing(x: Any) -> Any:
    """What one loop has stored another walks through otherwise: over its edges, and by two of its iterations."""
    kept = [x[0]]
    for i in range(40):
        kept.append(0.9 * np.sin(kept[-1]) + x[i])
    total = 0.0
    for i in range(41):
        total = total + kept[i] / kept[40 - i] * x[i]
    for i in range(20):
        total = total * x[3] + kept[2 * i] * kept[i]
    return total


def two_in_a_row(x: Any) -> Any:
    """Loops that follow one another without a row between, the second over what the first hands on."""
    y = x[0]
    for i in range(50):
        y = np.sin(y) * x[i]
    for i in range(50):
        y = np.cos(y) * x[i + 1]
    for i in range(50):
        y = y * y * x[i] + 0.1
    return y


@pytest.mark.parametrize("f", [crossing, two_in_a_row], ids=lambda f: f.__name__)
def test_bits_of_loops_that_read_one_another(f: Any) -> None:
    machine = compare(f, *[(np.random.default_rng(seed).uniform(0.2, 0.9, 60),) for seed in range(2)])
    assert len(loops(machine)) >= 2


def two_of_each(x: Any) -> Any:
    """Two results of each iteration, which the next loop goes through one by one."""
    kept, total = [x[1]], x[0]
    for i in range(40):
        kept.append(np.sin(kept[-1]) * x[i])
        kept.append(np.cos(kept[-1]) * x[i])
    for i in range(59):
        total = total * 0.99 + kept[i + 5] * x[i]
    return total


def test_a_loop_that_is_walked_through_unevenly_lies_in_the_order_of_its_rows() -> None:
    machine = compare(two_of_each, (np.linspace(0.2, 0.9, 60),))
    segments, places = machine.code.module.segments, machine.code.module.places
    first, second = (segment for segment in segments if segment.is_loop)
    assert set(np.diff(places[first.start : first.stop]).tolist()) == {1}
    assert compare(crossing, (np.linspace(0.2, 0.9, 60),))
    assert second.period == 3


def test_all_may_lie_in_the_order_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "place_by_body", lambda segments, earlier, stored, plain: np.arange(len(stored)))
    for f in (crossing, two_in_a_row):
        compare(f, (np.random.default_rng(5).uniform(0.2, 0.9, 60),))


def test_results_that_are_read_after_a_loop() -> None:
    def f(x: Any) -> Any:
        kept = [x[0]]
        for i in range(30):
            kept.append(0.9 * np.sin(kept[-1]) + x[i])
        return np.array(kept[::3]), kept[-1], x[0]

    x = np.random.default_rng(2).uniform(0.2, 0.9, 40)
    jitted = numbad.jit(f)
    expected = jitted(x)
    assert promote(jitted) is not None
    for one, other in zip(jitted(x), expected, strict=True):
        np.testing.assert_array_equal(one, other)
