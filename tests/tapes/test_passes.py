"""Passes leave what a tape computes as it is, bit for bit where the order of sums is kept; each says what it did."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import numbad
from numbad import BranchError, TapeError, limits
from numbad.limits import FEW_ROWS
from numbad.replay.recorded_path import is_scalar_tape
from numbad.replay.scalar_machine import ScalarMachine
from numbad.tapes import passes
from numbad.tapes.passes import drop_dead_rows, fold_constants, merge_equal_rows, reuse_addresses
from shared.programs import POINTS, PROGRAMS, STEPS, Program, run, tamed

HERE = Path(__file__).name

SPECIAL = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324, 1.5]


def bits(values: Any) -> Any:
    """Return the bits of numbers, with one pattern for all NaNs."""
    values = np.asarray(values)
    return np.where(np.isnan(values), np.nan, values).tobytes()


def outcome(call: Any, *points: Any) -> Any:
    """Return a result, or the kind of the error."""
    try:
        return call(*points)
    except BranchError:
        return "another branch"


def same(one: Any, other: Any) -> None:
    """Compare two results of `value_and_gradient`, or of a call, bit by bit."""
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
    elif isinstance(one, (tuple, list)):
        for part, match in zip(one, other, strict=True):
            same(part, match)
    else:
        assert bits(one) == bits(other), (one, other)


def near(one: Any, other: Any, rtol: float = 1e-12) -> None:
    """Compare two results up to the rounding of a few elementary functions."""
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
    else:
        np.testing.assert_allclose(one, other, rtol=rtol, atol=0.1 * rtol)


def agree(tape: Any, *points: Any) -> None:
    """Compare a tape with what each pass, and all of them, make of it."""
    equal = near if len(tape.words) else same
    value, both = outcome(tape, *points), outcome(tape.value_and_gradient, *points)
    for apply in (fold_constants, drop_dead_rows):
        same(outcome(apply(tape), *points), value)
        same(outcome(apply(tape).value_and_gradient, *points), both)
    for shorter in (merge_equal_rows(tape), tape.optimise()):
        equal(outcome(shorter, *points), value)
        found = outcome(shorter.value_and_gradient, *points)
        if isinstance(both, str):
            assert found == both
            continue
        for one, other in zip(np.atleast_1d(found[1]), np.atleast_1d(both[1]), strict=True):
            size = np.max(np.abs(other[np.isfinite(other)]), initial=1.0)
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11 * size)
    for shorter in (reuse_addresses(tape), tape.optimise(forward_only=True)):
        equal(outcome(shorter, *points), value)
        assert shorter.size <= tape.size


# ---------------------------------------------------------------- random programs


@given(PROGRAMS, POINTS, POINTS)
def test_programs_over_arrays(program: Program, x: np.ndarray, y: np.ndarray) -> None:
    tape = numbad.record(lambda x: run(program, x), x)
    agree(tape, x)
    agree(tape, y)
    agree(tape, x * np.array([1.0, 1.0, -0.0, 1.0, np.nan, 1.0]))


def scalar_program(program: Program, repeats: int) -> Any:
    """Return a function of six numbers."""

    def f(*numbers: Any) -> Any:
        pool = list(numbers)
        for name, i, j, k in program * repeats:
            pool.append(tamed(STEPS[name](pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], k)))
        return sum(part * (1.0 + 0.1 * place) for place, part in enumerate(pool))

    return f


NUMBERS = st.lists(st.one_of(st.floats(-2.0, 2.0, width=32), st.sampled_from(SPECIAL)), min_size=6, max_size=6)


@pytest.mark.usefixtures("usual_limits")
@given(PROGRAMS, NUMBERS, NUMBERS, st.integers(1, 3), st.booleans(), st.lists(st.booleans(), min_size=6, max_size=6))
def test_the_machine_of_scalar_rows(
    program: Program, x: list[float], y: list[float], repeats: int, value: bool, wanted: list[bool]
) -> None:
    try:
        tape = numbad.record(scalar_program(program, repeats), *x)
    except (OverflowError, ValueError):
        assume(False)
    assume(is_scalar_tape(tape))
    reference = tape.optimise() if len(tape) >= FEW_ROWS else tape
    results = [np.array(reference.outputs[0].address)]
    slopes, plain = ScalarMachine(reference, results, wanted, value), ScalarMachine(reference, results)
    for point in (x, y, x):
        expected = outcome(reference.value_and_gradient, *point)
        for ready in (slopes, plain):
            ready.enter(point)
            stopped = ready.run() >= 0
            assert stopped == (expected == "another branch")
        if stopped:
            continue
        same(plain.values[plain.outputs[0]], expected[0])
        if value:
            same(slopes.values[slopes.outputs[0]], expected[0])
        for chosen, place, slope in zip(wanted, slopes.places, expected[1], strict=True):
            if chosen:
                same(slopes.bar[place], slope)


# ---------------------------------------------------------------- kinds of rows


X = np.array([0.5, -1.25, 2.0, 0.75])
LARGE = np.linspace(0.1, 1.0, 40_000)
TABLE = np.linspace(0.0, 1.0, 600)

FUNCTIONS = {
    "sums of sums": lambda x: np.sum(np.outer(x, x) @ x) + np.sum(np.outer(x, x) @ x),
    "cleared blocks": lambda x: np.sum(np.concatenate([x, x[::-1]]) ** 2) + np.sum(np.cumsum(x)),
    "written blocks": lambda x: np.sum(written_twice(x)),
    "gathers": lambda x: np.sum(x[[0, 0, 3]] * x[[0, 0, 3]] * x[[2, 1, 1]]),
    "hosts": lambda x: np.linalg.det(np.outer(x, x) + np.eye(4)) + np.sum(np.linalg.eigh(np.outer(x, x))[0]),
    "unused host": lambda x: np.linalg.slogdet(np.outer(x, x) + np.eye(4))[1] + 0.0 * x[0],
    "guards": lambda x: np.sum(x) * 2.0 if x[0] > 0.0 and x[0] > 0.0 and int(x[2]) == 2 else x[1],
    "nested": lambda x: np.sum(numbad.gradient(lambda y: np.sum(np.sin(y) * y[::-1]), x) ** 2),
    "curvature": lambda x: np.sum(numbad.hessian(lambda y: np.prod(np.cos(y)))(x)),
    "table": lambda x: np.sum(TABLE * x[0]) + np.sum(TABLE[5:9] * x),
    "masks": lambda x: np.sum(x[x > 0.6]) + np.sum(np.where(x > 0.0, np.sqrt(np.abs(x)), x)),
    "sorted": lambda x: np.sum(np.sort(x) * np.arange(4.0)) + np.max(x),
    "constants alone": lambda x: numbad.gradient(lambda y: y**3 + np.sin(y) * y, 2.0) * x[0] + 1.0,
}


def written_twice(x: Any) -> Any:
    y = x * 1.0
    z = y[1:3]
    y[1] = x[0] * x[2]
    y *= z[0]
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_kind_of_row(name: str, dtype: Any) -> None:
    x = X.astype(dtype)
    tape = numbad.record(FUNCTIONS[name], x)
    for point in (x, 1.25 * x, np.where(x < 0.0, dtype(-0.0), x), np.where(x > 1.0, dtype(np.nan), x)):
        if "host" in name and np.isnan(point).any():
            continue
        if dtype == np.float32 and name not in ("hosts", "unused host"):
            found, expected = outcome(tape.optimise(), point), outcome(tape, point)
            if (
                limits.SMALL_LIMITS
            ):  # in blocks of four, it depends on where they lie whether vector functions take them
                near(found, expected, 1e-6)
            else:
                same(found, expected)
        elif dtype == np.float64:
            agree(tape, point)


def test_outputs_of_all_shapes_move_with_their_addresses() -> None:
    f = lambda x: {"a": x[::-1] * 2.0, "b": (np.outer(x, x).T[1:], x[2]), "c": 3.0, "same": x * 2.0, "again": x * 2.0}
    tape = numbad.record(f, X)
    for shorter in (tape.optimise(), tape.optimise(forward_only=True)):
        found, expected = shorter(X + 1.0), f(X + 1.0)
        same(found["a"], expected["a"])
        same(found["b"], expected["b"])
        same((found["c"], found["same"], found["again"]), (3.0, expected["same"], expected["same"]))


def test_fused_groups_with_virtual_outputs() -> None:
    def f(x: Any) -> Any:
        np.exp(x)  # nothing reads it
        return np.sum(np.sin(x) ** 2 * np.exp(-x)) + np.sum(np.sin(x) ** 2)

    tape = numbad.record(f, LARGE)
    shorter = tape.optimise()
    assert len(shorter) == len(tape) - 3, "exp, sin and square"
    same(shorter(LARGE), tape(LARGE))
    np.testing.assert_allclose(shorter.gradient(LARGE), tape.gradient(LARGE), rtol=1e-14)
    assert reuse_addresses(tape).size == tape.size, "their intermediate arrays have no memory in any case"
    same(reuse_addresses(tape)(LARGE), tape(LARGE))


# ---------------------------------------------------------------- what each pass does


def test_dead_rows_go_and_guards_stay() -> None:
    def f(x: Any) -> Any:
        np.sin(x) * np.cos(x)
        limit = np.exp(x) * 3.0
        if limit > 2.0:
            return x * x
        return x

    tape = numbad.record(f, 1.0)
    shorter = drop_dead_rows(tape)
    assert (len(tape), len(shorter)) == (8, 5)
    assert shorter.gradient(3.0) == 6.0
    with pytest.raises(BranchError, match="limit > 2"):
        shorter(-5.0)


def test_equal_rows_are_found_in_either_order_of_operands() -> None:
    tape = numbad.record(lambda x, y: x * y + y * x + (x - y) + (y - x) + np.arctan2(x, y) + np.arctan2(y, x), 1.0, 2.0)
    assert len(tape) - len(merge_equal_rows(tape)) == 1, "only products are the same either way"
    array = numbad.record(lambda x: np.sum(np.sin(x[1:]) * np.sin(x[1:])) + np.sum(np.sin(x[:3])), X)
    assert len(array) - len(merge_equal_rows(array)) == 1


def test_a_wrong_idea_of_commutative_ops_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = numbad.record(lambda x, y: (x - y) * 3.0 + (y - x), 1.0, 4.0)
    assert merge_equal_rows(tape)(1.0, 4.0) == tape(1.0, 4.0)
    monkeypatch.setattr(passes, "commutative_ops", lambda: np.ones(256, np.uint8))
    assert merge_equal_rows(tape)(1.0, 4.0) != tape(1.0, 4.0)


def test_a_wrong_idea_of_what_partials_depend_on_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = numbad.record(lambda x: sum(np.sin(x * k) for k in np.arange(40.0)), 0.5).optimise()
    results = [np.array(tape.outputs[0].address)]
    ready = ScalarMachine(tape, results, [True])
    ready.enter([0.7])
    assert ready.run() == -1
    assert ready.bar[1] == tape.gradient(0.7)
    monkeypatch.setattr("numbad.tapes.adjoint_plans.dependencies", lambda: np.zeros(256, np.uint8))
    wrong = ScalarMachine(tape, results, [True])
    wrong.enter([0.7])
    wrong.run()
    assert wrong.bar[1] != ready.bar[1]


def test_constants_are_computed_by_the_sweeps() -> None:
    f = lambda x: numbad.gradient(lambda y: np.sin(y) ** 3 / y, 2.0) * x - 0.0 * x
    tape = numbad.record(f, 1.0)
    shorter = fold_constants(tape)
    assert len(shorter) < len(tape) - 5
    same(shorter.value_and_gradient(-3.0), tape.value_and_gradient(-3.0))


def test_a_large_constant_array_is_what_it_was_when_the_tape_was_recorded() -> None:
    table = np.ones(600)
    tape = numbad.record(lambda x: np.sum(table) * x, 2.0).optimise()
    assert tape(1.0) == 600.0
    summed = numbad.record(lambda x: np.sum(np.where(x > 0.0, table, -table)), 2.0).optimise()
    assert summed(1.0) == 600.0
    table[0] = 101.0
    assert summed(1.0) == 600.0


def test_addresses_are_used_again() -> None:
    def f(x: Any) -> Any:
        for _ in range(200):
            x = np.sin(x) + x * 0.5
        return x

    for point in (1.0, X):
        tape = numbad.record(f, point)
        short = tape.optimise(forward_only=True)
        assert short.size < tape.size / 40
        same(short(point * 2.0), tape(point * 2.0))


def test_a_tape_that_overwrites_its_values_refuses_derivatives_and_passes() -> None:
    tape = numbad.record(lambda x: np.sin(x) * x, 1.0).optimise(forward_only=True)
    for call in (tape.gradient, tape.value_and_gradient, tape.vjp, tape.jacobian, tape.hessian):
        with pytest.raises(TapeError, match="overwrites its values"):
            call(1.0)
    for apply in (tape.optimise, lambda: merge_equal_rows(tape)):
        with pytest.raises(TapeError, match="overwrites its values"):
            apply()


def test_a_wrong_tape_is_refused_before_a_pass_reads_it() -> None:
    tape = numbad.record(lambda x: np.sin(x) * x, 1.0)
    code = tape.code.copy()
    code[1, 2] = 4_000_000_000
    for apply in (fold_constants, merge_equal_rows, drop_dead_rows, reuse_addresses):
        with pytest.raises(TapeError, match="outside of the arena"):
            apply(dataclasses.replace(tape, code=code))


def test_records_say_what_was_done() -> None:
    tape = numbad.record(lambda x: np.sin(x) * np.sin(x) + 0.0 * np.exp(x[0]), X)
    shorter = tape.optimise(forward_only=True)
    assert [record.name for record in shorter.passes] == [
        "constants folded",
        "equal rows once",
        "dead rows out",
        "addresses used again",
    ]
    assert tape.passes == ()
    assert f"equal rows once: {len(tape)} -> {len(tape) - 1} rows" in shorter.summary()
    assert "addresses used again" in str(shorter.passes[-1])
    assert shorter.name == tape.name


def test_lines_and_names_survive() -> None:
    def f(x: Any) -> Any:
        np.cos(x)
        if x[1] > -9.0:
            return np.sum(np.exp(x))
        return x[0]

    shorter = numbad.record(f, X).optimise()
    with pytest.raises(BranchError, match=r"x\[1\] > -9.0"):
        shorter(X - 20.0)
    assert HERE in str(shorter)
