"""What a loop keeps for going back: what is cheap is computed again, with the bits that it had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation.keeping import KEEPING, mark_stored
from numbad.compilation.loops import find_segments
from numbad.compilation.module import make_module
from numbad.compilation.operands import Body
from numbad.compilation.scalar_program import make_program
from numbad.tapes.passes import optimise
from shared.compiled import compare


def program_of(f: Any, count: int = 80) -> Any:
    """Return the gradient of a function of an array as a program."""
    tape = optimise(numbad.record(f, np.linspace(0.1, 0.9, count)), most=None)
    return make_program(tape, [np.array(tape.outputs[0].address)], [True], False)


def kept(f: Any) -> int:
    """Return how many results an iteration of the longest loop keeps."""
    program = program_of(f)
    bodies = [Body(program, segment) for segment in find_segments(program)]
    segment = max((body.segment for body in bodies), key=lambda segment: segment.count)
    assert segment.is_loop
    return int(mark_stored(program, bodies)[segment.start : segment.start + segment.period].sum())


def sums(operations: int) -> Any:
    """Return a function whose slopes need what is so many operations away from inputs that are read in any case."""

    def f(x: Any) -> Any:
        total = 0.0
        for i in range(60):
            y = x[i]
            for _ in range(operations):
                y = y + x[i]
            total = total + np.sin(y) * x[i]
        return total

    return f


@pytest.mark.parametrize("operations", range(1, KEEPING + 3))
def test_a_few_sums_are_computed_again(operations: int) -> None:
    assert kept(sums(operations)) == 1 + (operations > KEEPING), "the sine is kept in any case"
    compare(sums(operations), (np.linspace(0.2, 1.1, 80),), (np.linspace(-1.0, 0.5, 80),))


def test_what_costs_more_is_kept() -> None:
    assert kept(lambda x: sum(np.sin(np.exp(x[i])) for i in range(60))) == 1
    assert kept(lambda x: sum((x[i] - x[i + 1]) ** 2 for i in range(60))) == 0


def test_what_is_handed_on_is_kept() -> None:
    def f(x: Any) -> Any:
        y = x[0]
        for i in range(80):
            y = y * x[i]
        return y

    assert kept(f) == 1
    compare(f, (np.linspace(0.9, 1.1, 80),))


def test_nothing_is_put_into_memory_where_all_is_computed_again() -> None:
    text = make_module(program_of(lambda x: sum((x[i] - 1.0) ** 2 for i in range(60))), 1000).text
    assert not [line for line in text.splitlines() if "store" in line and "results" in line]


def long_chain(x: Any) -> Any:
    """Each result is a sum of two that are cheap: to look at all ways to compute them would never end."""
    total = 0.0
    for i in range(20):
        y = x[i] + x[i + 1]
        for _ in range(60):
            y = y + y
        total = total + np.sin(y * 1e-18)
    return total


def test_long_chains_are_looked_at_once() -> None:
    assert kept(long_chain) >= 1
    compare(long_chain, (np.linspace(0.2, 0.4, 80),))
