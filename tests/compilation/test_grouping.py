"""Rows put into groups: which rows join, what is stored, and what keeps the order of a program."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.compilation.grouping import Listing, Stop
from numbad.tape.layout import ADD, CONTRACT, GUARD, HOST
from shared.grouped import grouping_of, groups_of

X = np.linspace(0.1, 1.0, 60)


def test_a_chain_and_its_sum_are_one_group() -> None:
    found = groups_of(lambda x: np.sum(np.sin(x) ** 2 * x), X)
    assert len(found) == 1 and found[0].shape == (60,) and found[0].members[-1].opcode == ADD
    assert found[0].members[1].sources[0] == 0


def test_rows_of_other_shapes_split_axes() -> None:
    table = X.reshape(2, 30)
    found = groups_of(lambda x: np.sum(np.tanh(x * 2.0 + x[0])), table)
    assert found[0].shape == (2, 30)
    assert [member.op.name for member in found[0].members[:3]] == ["multiply", "add", "tanh"]


def test_short_axes_do_not_take_functions_of_a_library_apart() -> None:
    found = groups_of(lambda x: np.sum(np.tanh(x * 2.0 + x[:, :1])), X.reshape(30, 2))
    assert [group.shape for group in found] == [(30, 2), (60,)]


def test_cheap_rows_join_over_an_axis_that_is_short() -> None:
    def distances(c: Any) -> Any:
        return np.sum(np.sqrt(1.0 + np.sum((np.ones((20, 1, 2)) - c) ** 2, axis=2)))

    found = groups_of(distances, X[:6].reshape(3, 2))
    assert [(group.shape, len(group.members)) for group in found] == [((20, 3, 2), 3), ((60,), 3)]
    assert not any(member.stored for member in found[0].members[:2])


def test_a_row_joins_over_rows_between() -> None:
    def f(x: Any) -> Any:
        a = np.sin(x)
        b = np.cos(x[:7])
        return np.sum(a * a) + np.sum(b)

    found = groups_of(f, X)
    assert [len(one.members) for one in found if one.shape == (60,)] == [3]


def test_shifted_results_are_read_by_another_group() -> None:
    found = groups_of(lambda x: np.sum(np.sin(x)[1:] * np.sin(x)[:-1]), X)
    first = found[0]
    assert first.shape == (60,) and all(member.stored for member in first.members)
    assert found[1].shape == (59,)


def test_what_only_the_group_reads_is_not_stored_unless_it_is_expensive() -> None:
    def stored(f: Any, back: bool) -> list[bool]:
        return [member.stored for member in groups_of(f, X, back=back)[0].members[:-1]]

    cheap = lambda x: np.sum((x * x + 1.0) * x)
    assert stored(cheap, True) == stored(cheap, False) == [False] * 3
    costly = lambda x: np.sum(np.exp(x) * x)
    assert stored(costly, False) == [False, False] and stored(costly, True) == [True, False]


def test_sums_end_what_reads_them() -> None:
    found = groups_of(lambda x: np.sum(x / np.sum(x * x)), X)
    assert [one.shape for one in found] == [(60,), (60,)]


def test_guards_keep_their_order() -> None:
    def f(x: Any) -> Any:
        total = np.sum(x * x)
        if x[0] > 0.0:
            total = total + 1.0
        if total > 2.0:
            total = total * 2.0
        return total

    rows = [member.row for one in groups_of(f, X) for member in one.members if member.opcode == GUARD]
    assert len(rows) == 2 and rows == sorted(rows)


def test_python_and_large_products_are_stops_and_irregular_lists_are_read_one_by_one() -> None:
    places = np.random.default_rng(0).integers(0, 60, 2000)
    found = grouping_of(lambda x: np.sum(x[places] ** 2), X).steps
    assert isinstance(found[0], Listing)
    table = np.linspace(0.0, 1.0, 900).reshape(30, 30)
    stops = list(grouping_of(lambda x: np.sum(np.linalg.solve(table @ x + 9.0 * np.eye(30), x)), table).steps)
    assert [step.opcode for step in stops if isinstance(step, Stop)] == [CONTRACT, HOST]


def test_blocks_are_set_to_zero_before_sums() -> None:
    found = grouping_of(lambda x: np.sum(x.reshape(6, 10).sum(axis=0) ** 2), X)
    assert sorted(fill.count for fill in found.fills) == [1, 10] and all(fill.absent for fill in found.fills)


def test_what_is_kept_is_found_in_one_walk() -> None:
    """Each step reads the one before twice, so there are 2**45 ways through a group."""

    def f(x: Any) -> Any:
        for _ in range(45):
            x = 0.5 * x * x
        return np.sum(np.sin(x))

    assert groups_of(f, np.linspace(0.1, 1.0, 60))
