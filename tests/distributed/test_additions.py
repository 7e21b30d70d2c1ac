"""Sums by a fixed tree: the same bits in whichever order the terms come, and fewer rounding errors than one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from numbad.distributed.additions import Additions, plus


def total(terms: list[Any], order: Any) -> Any:
    additions = Additions()
    for number in order:
        additions.take(int(number), [np.array(terms[number])])
    return additions.total()[0]


def by_recursion(terms: list[Any]) -> Any:
    """The tree as it is described: the largest power of two that is less than the count goes left."""
    if len(terms) == 1:
        return np.array(terms[0])
    half = 1 << (len(terms) - 1).bit_length() - 1
    return by_recursion(terms[:half]) + by_recursion(terms[half:])


@pytest.mark.parametrize("count", [*range(1, 18), 31, 32, 33, 100])
def test_the_order_of_arrival_changes_no_bit(count: int) -> None:
    random = np.random.default_rng(count)
    terms = list(random.standard_normal((count, 3)) * 10.0 ** random.integers(-8, 8, (count, 1)))
    expected = by_recursion(terms)
    for _ in range(5):
        assert np.array_equal(total(terms, random.permutation(count)), expected)


def test_a_running_sum_is_another() -> None:
    terms = list(np.random.default_rng(0).standard_normal((100, 3)))
    assert not np.array_equal(sum(terms), total(terms, range(100)))


def test_the_error_is_small() -> None:
    terms = [np.array([0.1])] * 100_000
    exact = math.fsum([0.1] * 100_000)
    assert abs(total(terms, range(100_000))[0] - exact) < 1e-10
    assert abs(sum(terms)[0] - exact) > 1e-8


def test_nodes_of_ranks_add_up_to_the_same() -> None:
    terms = list(np.random.default_rng(1).standard_normal((23, 2)))
    together = Additions()
    for start, stop in ((0, 7), (7, 16), (16, 23)):
        part = Additions()
        for number in range(start, stop):
            part.take(number, [terms[number].copy()])
        assert len(part.nodes) <= 6
        for (level, place), term in part.nodes.items():
            together.take(place, term, level)
    assert np.array_equal(together.total()[0], by_recursion(terms))


def test_arrays_of_the_left_term_are_reused_and_numbers_added() -> None:
    one, other = np.ones(3), np.ones(3)
    assert plus([one, 2.0], [other, 3.0])[0] is one
    assert plus([one, 2.0], [other, 3.0])[1] == 5.0
    assert np.array_equal(other, np.ones(3))
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert np.array_equal(plus([frozen], [other])[0], 2.0 * np.ones(3))
    assert np.array_equal(frozen, np.ones(3))
