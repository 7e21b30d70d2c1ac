"""Memory that results share: no two of them live at a time in one place."""

from __future__ import annotations

import numpy as np

from numbad.compilation.reused_memory import ALIGNED, Units, make_units, note_uses, share_memory


def test_intervals_that_overlap_are_one_unit() -> None:
    units = make_units([(10, 20), (0, 5), (15, 30), (5, 8), (12, 13)])
    assert units.lows.tolist() == [0, 5, 10] and units.stops.tolist() == [5, 8, 30]
    assert units.find(np.array([0, 4, 5, 8, 29, 30, -1])).tolist() == [0, 0, 1, -1, 2, -1, -1]


def test_nothing_has_no_units() -> None:
    places, size = share_memory(make_units([]))
    assert places.size == 0 and size == 0


def test_units_that_live_together_are_apart() -> None:
    random = np.random.default_rng(0)
    count = 300
    lengths = random.integers(1, 50, count)
    lows = np.concatenate([[0], np.cumsum(lengths + 1)])[:-1]
    first = random.integers(0, 1000, count)
    last = first + random.integers(0, 40, count)
    stays = random.random(count) < 0.1
    units = Units(lows, lows + lengths, first, last, stays)
    places, size = share_memory(units)
    assert (places[stays] == -1).all() and (places[~stays] >= 0).all()
    assert (places[~stays] % ALIGNED == 0).all()
    assert size < lengths.sum() // 4
    for now in range(1050):
        living = np.flatnonzero(~stays & (first <= now) & (last >= now))
        order = living[np.argsort(places[living])]
        ends = places[order] + lengths[order]
        assert (ends[:-1] <= places[order][1:]).all() and (ends <= size).all()


def test_uses_are_the_first_and_the_last() -> None:
    units = make_units([(0, 4), (8, 12), (20, 21)])
    note_uses(units, np.array([9, 1, 9, 50, 3]), np.array([4, 2, 7, 9, 5]))
    assert units.first.tolist() == [2, 4, -1] and units.last.tolist() == [5, 7, -1]
    places, _ = share_memory(units)
    assert places[2] == -1 and places[0] >= 0 and places[1] >= 0 and places[0] != places[1]
