"""Long lists that a function takes from outside: each change of one element is seen, and no other is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad.replay import listed_pointers
from numbad.replay.listed_pointers import LONG, Pointers, can_be_seen, is_long_list


def equal_but_other(values: list[Any], k: int) -> None:
    values[k] = float(str(values[k]))  # the same number, another object


CHANGES: dict[str, Callable[[list[Any], int], None]] = {
    "another number": lambda values, k: values.__setitem__(k, 9.0),
    "an equal number": equal_but_other,
    "one more": lambda values, k: values.insert(k, 1.0),
    "one less": lambda values, k: values.__delitem__(k),
    "exchanged": lambda values, k: values.__setitem__(slice(None), [*values[1:], values[0]]),
    "emptied": lambda values, k: values.clear(),
    "other memory": lambda values, k: values.extend([0.5] * 1000),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", [0, LONG // 2, LONG - 1])
def test_each_change_is_seen(change: str, place: int) -> None:
    assert can_be_seen(), "these tests run on CPython"
    values = [0.1 * k + 0.05 for k in range(LONG)]
    pointers = Pointers(values, values.copy())
    assert pointers.same()
    CHANGES[change](values, place)
    assert not pointers.same()


def test_what_is_moved_and_put_back_is_the_same() -> None:
    values = [object() for _ in range(LONG)]
    pointers, copy = Pointers(values, values.copy()), values.copy()
    values += [object() for _ in range(5000)]  # the pointers get other memory
    assert not pointers.same()
    values[:] = copy
    assert pointers.same()


@pytest.mark.parametrize("count", [LONG - 1, LONG, LONG + 1, 5 * LONG])
@pytest.mark.parametrize("seen", [True, False])
def test_replays_notice_elements(count: int, seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not seen:
        monkeypatch.setattr(listed_pointers, "can_be_seen", lambda: False)
    factors = [1.0 + 0.01 * k for k in range(count)]
    assert is_long_list(factors) == (seen and count >= LONG)
    jitted = numbad.jit(lambda x: sum(x * factor for factor in factors))
    for place in (0, count // 2, count - 1):
        assert jitted(2.0) == pytest.approx(2.0 * np.sum(factors))
        assert jitted.paths == 1
        factors[place] = 3.0
    assert jitted(2.0) == pytest.approx(2.0 * np.sum(factors))
    del factors[3]
    assert jitted(2.0) == pytest.approx(2.0 * np.sum(factors))


def test_a_tuple_is_what_it_was() -> None:
    factors = ([1.0, 2.0], 3.0)
    jitted = numbad.jit(lambda x: x * factors[0][1] * factors[1])
    assert jitted(2.0) == 12.0
    factors[0][1] = 4.0
    assert jitted(2.0) == 24.0


def test_memory_that_is_laid_out_otherwise_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    can_be_seen.cache_clear()
    monkeypatch.setattr(listed_pointers, "reads", lambda begin, owned: False)
    assert not can_be_seen()
    can_be_seen.cache_clear()
    monkeypatch.undo()
    assert can_be_seen()
