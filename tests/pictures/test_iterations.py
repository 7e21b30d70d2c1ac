"""Listings and summaries show the loops of a tape as loops, and count every row."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.pictures.iterations import MOST_TOLD, find_row_loops, fold_rows


def stepped(x: Any) -> Any:
    """Ten rows that are no loop, and a loop over arrays of 50 iterations."""
    y = np.exp(np.tanh(x[:2]) - np.cos(x[2:4]))
    for k in range(50):
        y = np.sin(y) * x[2:4] + 0.1 * k
    return y @ y


def scattered(x: Any) -> Any:
    """Loops of different bodies, one after another."""
    total = x[0]
    for op in (np.sin, np.cos, np.tanh, np.exp, np.arctan, np.sinh, np.sqrt):
        for k in range(12):
            total = total * 0.5 + op(x[k])
    return total


def random_rows(x: Any) -> Any:
    total = x[0]
    for k in np.random.default_rng(0).integers(0, 5, 80).tolist():
        total = (np.sin, np.cos, np.tanh, np.exp, np.arctan)[k](total)
    return total


def test_loops_are_found() -> None:
    (loop,) = find_row_loops(numbad.record(stepped, np.ones(4)))
    assert (loop.start, loop.period, loop.count) == (4, 3, 50)
    assert len(find_row_loops(numbad.record(scattered, np.full(20, 0.5)))) == 7


def test_a_listing_has_the_first_and_the_last_iteration() -> None:
    tape = numbad.record(stepped, np.ones(4))
    text = str(tape)
    assert "48 more iterations of these 3 rows" in text
    rows = [int(line.split()[0]) for line in text.splitlines() if re.match(r" +[0-9]", line)]
    assert rows == [0, 1, 2, 3, 4, 5, 6, 151, 152, 153, 154]


@pytest.mark.parametrize("f", [stepped, scattered, random_rows])
@pytest.mark.parametrize("wanted", [2, 7, 12, 30, 1000])
def test_every_row_is_listed_or_counted(f: Any, wanted: int) -> None:
    tape = numbad.record(f, np.full(20, 0.5))
    items = fold_rows(tape, wanted)
    assert len(items) <= max(wanted + 1, 12)
    counted = 0
    for item in items:
        found = re.match(r"(\d+) (more iterations of (?:these )?)?(\d+)?", item) if isinstance(item, str) else None
        if found is None:
            counted += 1
        else:
            period = int(found[3] or 1) if found[2] else 1
            counted += int(found[1]) * period
    assert counted == len(tape)
    rows = [item for item in items if isinstance(item, int)]
    assert rows == sorted(set(rows))


def test_a_summary_tells_of_loops() -> None:
    text = numbad.record(stepped, np.ones(4)).summary()
    assert "loops: 150 of 155 rows are iterations" in text
    assert "50 iterations of 3 rows, from row 4 on" in text
    many = numbad.record(scattered, np.full(20, 0.5)).summary()
    assert many.count("iterations of 3 rows") == MOST_TOLD
    assert "and 2 shorter ones" in many
    assert "loops" not in numbad.record(lambda x: x * x + 1.0, 3.0).summary()
