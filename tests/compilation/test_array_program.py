"""Programs of groups: when blocks are set to zero, what memory is shared, and that runs leave nothing behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation import array_program
from numbad.compilation.array_code import find_wanted
from numbad.compilation.array_module import Texts
from numbad.compilation.array_program import POOL, ArrayProgram, Call, make_array_program
from numbad.compilation.module import Uncompilable
from numbad.compilation.nests import BAR, VALUE
from shared.grouped import agree, grouping_of

X = np.linspace(0.1, 1.0, 60)


def program_of(f: Any, *arguments: Any) -> ArrayProgram:
    """Return the program of a function's gradient."""
    tape = numbad.record(f, *arguments)
    results = [np.array(slot.address) for slot in tape.outputs]
    given = [(slot.address, slot.address + slot.size) for slot in tape.inputs]
    grouping = grouping_of(f, *arguments)
    return make_array_program(grouping, np.array(tape.words), [tape.size], given, results, find_wanted(tape, [True]))


def count_of(program: ArrayProgram, text: str, items: list[Any]) -> int:
    """Return how often a function is called."""
    number = program.module.numbers.get(text, -1)
    return sum(item.function == number for item in items if isinstance(item, Call))


def long(x: Any) -> Any:
    y = x * 1.0
    for _ in range(50):
        y = np.tanh(y[::-1] + x)
    return np.sum(y)


def test_what_lives_shortly_shares_memory() -> None:
    program = program_of(long, X)
    values, bars = program.pools
    assert bars <= 6 * 64 and values >= 50 * 60
    kinds = {(kind, space) for item in program.back if isinstance(item, Call) for kind, space, _ in item.arguments}
    assert {(POOL, BAR), (POOL, VALUE), (VALUE, 0), (BAR, 0)} <= kinds


def test_equal_iterations_have_one_function_each_way() -> None:
    assert len(program_of(long, X).module.numbers) <= 8


def test_cotangents_are_set_where_they_come_first() -> None:
    program = program_of(lambda x: np.sum(np.sin(x) ** 2), X)
    assert count_of(program, Texts().fill, program.back) == 0
    program = program_of(lambda x: np.sum(x[1:] * x[:-1]), X)
    assert count_of(program, Texts().fill, program.back) == 1


def test_blocks_are_set_to_zero_right_before_they_are_added_to() -> None:
    program = program_of(lambda x: np.sum(np.sin(x.reshape(6, 10).sum(axis=0))[::-1].sum() * x), X)
    fill = program.module.numbers[Texts().fill]
    assert [k for k, item in enumerate(program.forward) if item.function == fill] == [0, 3, 5]


def test_what_nothing_is_added_to_is_zero() -> None:
    agree(lambda x: np.sum(np.sum(x[:0].reshape(0, 3), axis=0) + x[:3]), (X,), (2.0 * X,))


def test_too_many_functions_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_program, "MOST_GROUPS", 2)
    with pytest.raises(Uncompilable):
        program_of(long, X)


def test_runs_leave_nothing_behind() -> None:
    """Cotangents and sums of the last run are not in the next, in whatever order the points come."""

    def f(x: Any) -> Any:
        table = x.reshape(6, 10)
        y = np.concatenate([table.sum(axis=0), table.sum(axis=1)])
        y[3:5] *= y[0]
        return np.sum(y[[0, 3, 3, 7, 15, 1, 0, 9, 2, 2, 5, 1, 14, 3, 8, 6, 4, 11, 12, 13]] ** 2)

    agree(f, (X,), (X[::-1].copy(),), (X,), (0.0 * X,), (X,))


def test_a_product_that_is_set_where_nothing_is_added_to() -> None:
    matrix = np.linspace(-1.0, 1.0, 90 * 80).reshape(90, 80)
    agree(lambda x: np.sin(matrix @ x), *[(np.linspace(0.1, 1.0 + k, 80),) for k in range(2)], transform=lambda f: f)
