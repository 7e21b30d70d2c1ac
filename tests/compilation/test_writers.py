"""Intervals of addresses and who writes them, against a table of each address."""

from __future__ import annotations

import numpy as np
import pytest

from numbad.compilation.writers import Writers

SIZE = 60


@pytest.mark.parametrize("seed", range(30))
def test_intervals_tell_no_less_than_a_table_of_each_address(seed: int) -> None:
    random = np.random.default_rng(seed)
    writers, steps, rows = Writers(), np.full(SIZE, -1), [set[int]() for _ in range(SIZE)]
    for k in range(25):
        start = int(random.integers(0, SIZE))
        stop = min(SIZE, start + int(random.integers(0, 9)))
        writers.note(start, stop, k // 2, [k])
        steps[start:stop] = np.maximum(steps[start:stop], k // 2)
        for one in rows[start:stop]:
            one.add(k)
        low = int(random.integers(0, SIZE))
        high = min(SIZE, low + int(random.integers(1, 9)))
        first, last, makers = writers.read(low, high)
        assert last == writers.last(low, high) >= steps[low:high].max()
        assert (last >= 0) == (steps[low:high] >= 0).any()
        assert first <= steps[low:high].min()
        assert set(makers) >= set().union(*rows[low:high])
        listed = random.integers(0, SIZE, 5)
        assert writers.read_listed(listed)[0] >= steps[listed].max()
        assert set(writers.read_listed(listed)[1]) >= set().union(*(rows[k] for k in listed))
        starts = np.arange(SIZE - 4)
        written = [bool((steps[k : k + 4] >= 0).all()) for k in starts]
        assert writers.cover(starts, starts + 4).tolist() == written
        assert writers.starts == sorted(writers.starts) == [one.start for one in writers.intervals]


def test_what_lies_apart_is_told_apart() -> None:
    writers = Writers()
    assert writers.read(0, 9) == (-1, -1, []) and writers.last(0, 9) == -1
    assert writers.read_listed(np.array([3])) == (-1, []) and not writers.cover(np.array([0]), np.array([1])).any()
    writers.note(10, 20, 1, ["a"])
    writers.note(20, 30, 2, ["b"])
    writers.note(40, 50, 3, ["c"])
    writers.note(45, 45, 9, ["nothing"])
    assert writers.read(12, 18) == (1, 1, ["a"])
    assert writers.read(20, 30) == (2, 2, ["b"])
    assert writers.read(19, 21) == (-1, 2, ["a", "b"])
    assert writers.read(48, 52) == (-1, 3, ["c"])
    assert writers.read_listed(np.array([10, 49, 35])) == (3, ["a", "c"])
    assert writers.around(25) == (20, 29) and writers.around(35) == (35, 35)
    writers.note(29, 41, 4, ["d"])
    assert writers.read(40, 41) == (2, 4, ["b", "c", "d"])
    assert writers.around(25) == (20, 49)
