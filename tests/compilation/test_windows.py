"""Cotangents that loops walk by: windows over them, and where other ways to the same cotangents forbid one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numbad.compilation.operands import Operand
from numbad.compilation.scalar_program import GIVEN
from numbad.compilation.windows import DEEPEST, Stream, find_windows
from shared.compiled import compare, loops

BARS = "%given_bars"


def windows_of(*streams: tuple[int, int], count: int = 50, own: tuple[int, int] | None = None) -> dict[Stream, int]:
    """Return the distances of streams (first, step) that have a window."""
    given = {Operand(GIVEN, first, step): Stream(BARS, first, step) for first, step in streams}
    if own:
        given[Operand(GIVEN, *own, row=1, back=2)] = Stream(BARS, *own)
    return {stream: distance for stream, (_, distance) in find_windows(given, count).items()}


def test_streams_that_follow_one_another_share_a_window() -> None:
    found = windows_of((5, 1), (7, 1), (6, 1))
    assert found == {Stream(BARS, 5, 1): 0, Stream(BARS, 6, 1): 1, Stream(BARS, 7, 1): 2}
    assert windows_of((60, -2), (58, -2)) == {Stream(BARS, 60, -2): 0, Stream(BARS, 58, -2): 1}


def test_streams_that_never_meet_have_windows_of_their_own() -> None:
    assert set(windows_of((4, 2), (5, 2)).values()) == {0}
    assert set(windows_of((1, 1), (100, 2)).values()) == {0}


@pytest.mark.parametrize("depth", [1, DEEPEST, DEEPEST + 1])
@pytest.mark.parametrize("count", [DEEPEST, DEEPEST + 1, 50])
def test_how_deep_windows_are(depth: int, count: int) -> None:
    assert bool(windows_of((0, 1), (depth, 1), count=count)) == (depth <= min(DEEPEST, count - 1))


def test_streams_that_may_meet_another_way_have_none() -> None:
    assert not windows_of((1, 1), (1, 2)), "another step"
    assert not windows_of((1, 1), (50, -1)), "backwards"
    assert Stream(BARS, 1, 1) not in windows_of((1, 1), (20, 0)), "what stays"
    assert Stream(BARS, 1, 1) not in windows_of((1, 1), own=(20, 1)), "results of the loop"
    assert windows_of((1, 1), (60, 0)), "what stays behind it"


def smooth(x: Any) -> Any:
    return sum((x[i + 1] - x[i]) ** 2 * x[i + 3] for i in range(60))


def both_ends(x: Any) -> Any:
    """Two walks that meet in the middle."""
    total = 0.0
    for i in range(60):
        total = total + x[i] * x[59 - i] * x[i + 1]
    return total


def strides(x: Any) -> Any:
    total = 0.0
    for i in range(30):
        total = total + x[2 * i] * x[2 * i + 1] - x[2 * i + 2] * np.sin(x[2 * i + 5])
    return total


def downwards(x: Any) -> Any:
    total = 0.0
    for i in range(60, 3, -1):
        total = total + x[i] * x[i - 1] * x[i - 3]
    return total


def and_one_that_stays(x: Any) -> Any:
    total = 0.0
    for i in range(60):
        total = total + x[i] * x[i + 1] * x[30] + x[65]
    return total


def wide(x: Any) -> Any:
    return sum(x[i] * x[i + DEEPEST] * x[i + 2 * DEEPEST] for i in range(48))


def results_twice(x: Any) -> Any:
    kept = [np.sin(x[i]) for i in range(66)]
    total = 0.0
    for i in range(64):
        total = total + kept[i] * kept[i + 1] * x[i + 2]
    return total + kept[3] * kept[40]


@pytest.mark.parametrize(
    "f", [smooth, both_ends, strides, downwards, and_one_that_stays, wide, results_twice], ids=lambda f: f.__name__
)
def test_gradients_have_the_bits_of_the_interpreter(f: Any) -> None:
    machine = compare(f, *[(np.random.default_rng(seed).uniform(0.1, 0.9, 66),) for seed in range(3)])
    assert loops(machine)
