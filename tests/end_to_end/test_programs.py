"""Random programs of twenty and more steps: numbad against dual numbers in plain Python, and NumPy for the value."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import numbad
from shared.duals import Dual, oracle
from shared.programs import (
    MATRIX,
    POINTS,
    PROGRAMS,
    STEPS,
    Program,
    own,
    run,
    shape,
    tamed,
)


def scale_of(gradient: np.ndarray, value: float) -> float:
    """Return the size that errors are measured by."""
    return max(1.0, float(np.max(np.abs(gradient))), abs(value))


@given(PROGRAMS, POINTS)
def test_value_and_gradient_agree_with_dual_numbers(program: Program, x: np.ndarray) -> None:
    value, gradient, _, margin = oracle(lambda x: run(program, x), x)
    assume(margin > 1e-9)
    assert run(program, x.copy()) == pytest.approx(value, rel=1e-12), "the oracle follows NumPy"
    found_value, found = numbad.value_and_gradient(lambda x: run(program, x), x)
    size = scale_of(gradient, value)
    assert found_value == pytest.approx(value, rel=1e-11, abs=1e-11 * size)
    np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-10 * size)


@given(PROGRAMS, POINTS)
def test_single_precision_agrees_to_its_digits(program: Program, x: np.ndarray) -> None:
    value, gradient, _, margin = oracle(lambda x: run(program, x), x)
    size = scale_of(gradient, value)
    assume(margin > 1e-3)
    assume(size < 1e3)
    single = x.astype(np.float32)
    found_value, found = numbad.value_and_gradient(lambda x: run(program, x), single)
    assert found.dtype == np.float32
    assert float(found_value) == pytest.approx(value, rel=1e-3, abs=1e-4 * size)
    np.testing.assert_allclose(found, gradient, rtol=2e-2, atol=2e-3 * size)


@given(PROGRAMS, POINTS)
def test_forward_mode_agrees_with_dual_numbers(program: Program, x: np.ndarray) -> None:
    value, gradient, _, margin = oracle(lambda x: run(program, x), x)
    assume(margin > 1e-9)
    size = scale_of(gradient, value)
    direction = np.array([1.0, -0.5, 2.0, 0.25, -1.5, 0.75])
    found_value, tangent = numbad.jvp(lambda x: run(program, x), (x,), (direction,))
    assert found_value == pytest.approx(value, rel=1e-11, abs=1e-11 * size)
    assert tangent == pytest.approx(float(gradient @ direction), rel=1e-9, abs=1e-9 * size)


@given(PROGRAMS, POINTS)
@settings(max_examples=25)
def test_hessians_agree_with_duals_of_duals(program: Program, x: np.ndarray) -> None:
    value, gradient, hessian, margin = oracle(lambda x: run(program, x), x, order=2)
    assume(margin > 1e-9)
    size = max(scale_of(gradient, value), float(np.max(np.abs(hessian))))
    found = numbad.hessian(lambda x: run(program, x))(x)
    np.testing.assert_allclose(found, hessian, rtol=1e-7, atol=1e-9 * size)
    direction = np.array([1.0, -0.5, 2.0, 0.25, -1.5, 0.75])

    def slope(x: Any) -> Any:
        return np.sum(numbad.gradient(lambda x: run(program, x), x) * direction)

    np.testing.assert_allclose(numbad.gradient(slope, x), hessian @ direction, rtol=1e-7, atol=1e-8 * size)

    def push(v: Any) -> Any:
        return numbad.jvp(numbad.grad(lambda x: run(program, x)), (x,), (v,))[1]

    np.testing.assert_allclose(numbad.vmap(push)(np.eye(6)), hessian, rtol=1e-7, atol=1e-8 * size)


def last_parts(program: Program, x: Any) -> Any:
    """Run a program and return its last results on end."""
    pool = [x * 1.0, x[:3] * 1.0, x[4]]
    for name, i, j, k in program:
        pool.append(tamed(STEPS[name](pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], k)))
    return np.concatenate([np.reshape(part, (-1,)) for part in pool[-4:]])


@given(PROGRAMS, POINTS)
@settings(max_examples=30)
def test_replayed_derivatives_agree_with_those_recorded_anew(program: Program, x: np.ndarray) -> None:
    """The rows of a Jacobian under jit leave out what is constant, unread, or a multiple of something else."""
    f = lambda x: last_parts(program, x)
    modes = [numbad.jit(mode(f)) for mode in (numbad.jacfwd, numbad.jacrev)]
    replayed = numbad.jit(numbad.hessian(lambda x: run(program, x)))
    for point in (x, x * 1.001 + 1e-3, x):
        value, gradient, hessian, margin = oracle(lambda x: run(program, x), point, order=2)
        if margin <= 1e-9:
            continue
        expected = numbad.jacfwd(f)(point)
        size = max(1.0, float(np.max(np.abs(expected))))
        for mode in modes:
            np.testing.assert_allclose(mode(point), expected, rtol=1e-9, atol=1e-10 * size)
        size = max(scale_of(gradient, value), float(np.max(np.abs(hessian))))
        np.testing.assert_allclose(replayed(point), hessian, rtol=1e-7, atol=1e-9 * size)


@given(PROGRAMS, POINTS)
@settings(max_examples=20)
def test_a_tape_at_many_points_agrees_with_each(program: Program, x: np.ndarray) -> None:
    tape = numbad.record(lambda x: run(program, x), x)
    near = x + 1e-3 * np.random.default_rng(0).normal(size=(40, 6))
    alone: dict[int, Any] = {}
    for k, point in enumerate(near):
        with contextlib.suppress(numbad.BranchError):
            alone[k] = tape.value_and_gradient(point)
    others = sorted(set(range(40)) - set(alone))
    if others:
        with pytest.raises(numbad.BranchError, match=f"point {others[0]} of 40"):
            tape.gradient_map(near)
    values, slopes = tape.value_and_gradient_map(near[list(alone)])
    for j, (value, slope) in enumerate(alone.values()):
        size = scale_of(slope, value)
        assert values[j] == pytest.approx(value, rel=1e-11, abs=1e-11 * size)
        np.testing.assert_allclose(slopes[j], slope, rtol=1e-8, atol=1e-9 * size)
    if alone:
        point = near[next(iter(alone))]
        expected = numbad.hessian(lambda x: run(program, x), point)
        size = max(1.0, float(np.max(np.abs(expected))))
        np.testing.assert_allclose(tape.hessian(point), expected, rtol=1e-7, atol=1e-8 * size)
        np.testing.assert_allclose(tape.jacobian(point), tape.gradient(point), rtol=1e-8, atol=1e-9 * size)


@given(PROGRAMS, st.lists(st.floats(-2.0, 2.0, width=32), min_size=6, max_size=6))
def test_programs_of_scalars_alone(program: Program, numbers: list[float]) -> None:
    """The same steps on six numbers that are never an array: Python's own arithmetic, conditions and loops."""

    def f(*numbers: Any) -> Any:
        pool = list(numbers)
        for name, i, j, k in program:
            pool.append(tamed(STEPS[name](pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], k)))
        return sum(part * (1.0 + 0.1 * place) for place, part in enumerate(pool))

    value, gradient, _, margin = oracle(lambda x: f(*x), np.array(numbers))
    assume(margin > 1e-9)
    size = scale_of(gradient, value)
    found_value, found = numbad.value_and_gradient(f, *numbers)
    assert all(type(part) is float for part in found)
    assert found_value == pytest.approx(value, rel=1e-11, abs=1e-11 * size)
    np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-10 * size)


# ---------------------------------------------------------------- large arrays


WIDE = 10_000  # rows: arrays of 60,000 elements, which are fused and run in parallel


def along(a: Any, b: Any) -> Any:
    """Return b, or its sum over the last axis where that does not fit a's."""
    return b if shape(b)[-1] in (1, shape(a)[-1]) else np.sum(b, axis=-1, keepdims=True) * 0.25


def row_shift(a: Any, b: Any, k: int) -> Any:
    y = own(a)
    if k % 2:
        y[..., 1:] += y[..., :-1]
    else:
        y[..., :-1] -= 0.5 * y[..., 1:]
    return y


def row_write(a: Any, b: Any, k: int) -> Any:
    a[..., k % shape(a)[-1]] *= 0.5
    a[..., :1] += np.tanh(along(a[..., :1], b))
    return a


def row_fancy(a: Any, b: Any, k: int) -> Any:
    n = shape(a)[-1]
    return a[..., np.array([k % n, 0, (k + 1) % n])]


def row_join(a: Any, b: Any, k: int) -> Any:
    if shape(a)[-1] + shape(b)[-1] > 8:
        return a * 1.1
    return np.concatenate([a, b] if k % 2 else [b, a], axis=-1)


def row_matmul(a: Any, b: Any, k: int) -> Any:
    return a @ (MATRIX if k % 2 else MATRIX.T) if shape(a)[-1] == 3 else a + along(a, b)


ROW_STEPS = {
    name: STEPS[name]
    for name in (
        "constant",
        "sin",
        "cos",
        "tanh",
        "exp",
        "log",
        "sqrt",
        "arctan",
        "power",
        "abs",
        "negative",
        "minimum",
    )
} | {
    "add": lambda a, b, k: a + along(a, b),
    "subtract": lambda a, b, k: along(a, b) - a,
    "multiply": lambda a, b, k: a * np.tanh(along(a, b)),
    "divide": lambda a, b, k: a / (1.0 + along(a, b) * along(a, b)),
    "maximum": lambda a, b, k: np.maximum(a, along(a, b)),
    "select": lambda a, b, k: np.where(a > 0.1 * k - 0.3, a * 2.0, along(a, b) + 0.0 * a),
    "weights": lambda a, b, k: a * np.linspace(0.5, 1.5, shape(a)[-1]),
    "sum": lambda a, b, k: [np.sum, np.mean, np.max, np.min][k % 4](a, axis=-1, keepdims=True) + 0.0 * a,
    "slice": lambda a, b, k: a[..., k % 2 :: 1 + k % 2] if shape(a)[-1] > 1 else a * 1.0,
    "reversed": lambda a, b, k: a[..., ::-1],
    "shift": row_shift,
    "write": row_write,
    "fancy": row_fancy,
    "join": row_join,
    "matmul": row_matmul,
}


def run_rows(program: Program, x: Any) -> Any:
    """Run a program on each row of x by itself; return the sum over all rows."""
    pool = [x * 1.0, x[..., :3] * 1.0, x[..., 4:5]]
    for name, i, j, k in program:
        step = ROW_STEPS[name]
        pool.append(np.tanh(step(pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], k) * 0.4) * 2.0)
    total: Any = 0.0
    for place, part in enumerate(pool):
        total = total + np.sum(part) * (1.0 + 0.1 * place)
    return total


ROW_PROGRAMS = st.lists(
    st.tuples(st.sampled_from(sorted(ROW_STEPS)), st.integers(0, 5), st.integers(0, 7), st.integers(0, 5)),
    min_size=20,
    max_size=30,
)


@given(ROW_PROGRAMS, st.lists(POINTS, min_size=3, max_size=3))
@settings(max_examples=15)
def test_large_arrays_agree_with_dual_numbers_row_by_row(program: Program, points: list[np.ndarray]) -> None:
    parts = [oracle(lambda x: run_rows(program, x), x) for x in points]
    assume(all(margin > 1e-9 for *_, margin in parts))
    which = np.arange(WIDE) % 3
    wide = np.array(points)[which]
    before = wide.copy()
    value, found = numbad.value_and_gradient(lambda x: run_rows(program, x), wide)
    assert np.array_equal(wide, before)
    expected = np.array([gradient for _, gradient, _, _ in parts])[which]
    size = max(scale_of(gradient, part) for part, gradient, _, _ in parts)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * size)
    assert value == pytest.approx(sum(parts[k][0] for k in which.tolist()), rel=1e-9, abs=1e-9 * size * WIDE)
    direction = np.cos(np.arange(6.0 * WIDE)).reshape(WIDE, 6)
    _, tangent = numbad.jvp(lambda x: run_rows(program, x), (wide,), (direction,))
    assert tangent == pytest.approx(np.sum(expected * direction), rel=1e-8, abs=1e-9 * size * WIDE)


# ---------------------------------------------------------------- found by such programs


def test_lanes_of_tangents_some_of_which_are_zero() -> None:
    """A zero tangent beside one that is not must not be read as a run of addresses."""
    program = [
        ("slice", 4, 3, 3), ("reshape", 5, 5, 2), ("negative", 0, 6, 1), ("fancy", 4, 6, 0), ("add", 1, 0, 5),
        ("maximum", 0, 4, 4), ("matmul", 1, 6, 4), ("cos", 3, 4, 4), ("arctan", 3, 5, 4), ("sin", 3, 3, 5),
    ]  # fmt: skip
    x = np.array([-0.82, 1.94, 0.098, 0.84, 1.8, -0.03])
    hessian = oracle(lambda x: run(program, x), x, order=2)[2]
    gradient = numbad.grad(lambda x: run(program, x))
    for found in (
        numbad.hessian(lambda x: run(program, x))(x),
        numbad.jacfwd(gradient)(x),
        numbad.jacrev(gradient)(x),
        numbad.vmap(lambda v: numbad.jvp(gradient, (x,), (v,))[1])(np.eye(6)),
    ):
        np.testing.assert_allclose(found, hessian, atol=1e-12)


@pytest.mark.parametrize("size", [10, 3000])
def test_batches_of_arrays_joined_from_pieces_that_all_examples_share(size: int) -> None:
    shared = np.linspace(0.0, 1.0, size)
    examples = np.linspace(-1.0, 2.0, 21).reshape(3, 7)

    def join_behind(v: Any) -> Any:
        return np.concatenate([shared, v, shared[:4], v[::-1] * 2.0])

    def join_before(v: Any) -> Any:
        return np.concatenate([v, shared])[::-2]

    def total(v: Any) -> Any:
        joined = join_behind(v)
        return np.sum(np.sin(joined * joined[::-1]) * np.arange(1.0, joined.size + 1.0))

    for f in (join_behind, join_before, total, numbad.grad(total)):
        expected = np.array([f(v) for v in examples])
        np.testing.assert_allclose(numbad.vmap(f)(examples), expected, rtol=1e-10, atol=1e-9)
    slopes = np.array([numbad.jacfwd(numbad.grad(total))(v) for v in examples])
    np.testing.assert_allclose(numbad.vmap(numbad.hessian(total))(examples), slopes, rtol=1e-9, atol=1e-8)
    step = 1e-6
    quotient = [
        (numbad.gradient(total, examples[0] + step * unit) - numbad.gradient(total, examples[0] - step * unit))
        / 2
        / step
        for unit in np.eye(7)
    ]
    np.testing.assert_allclose(slopes[0], quotient, rtol=1e-5, atol=1e-5 * np.abs(slopes[0]).max())


# ---------------------------------------------------------------- the oracle itself


def test_the_oracle_differentiates() -> None:
    x = np.array([0.5, -1.5, 0.25, 1.0, 2.0, -0.5])
    value, gradient, hessian, _ = oracle(lambda x: np.sum(np.sin(x) * x**3) + x[0] / x[4], x, order=2)
    assert value == pytest.approx(np.sum(np.sin(x) * x**3) + 0.25)
    expected = np.cos(x) * x**3 + 3.0 * np.sin(x) * x**2
    expected[0] += 1.0 / x[4]
    expected[4] -= x[0] / x[4] ** 2
    np.testing.assert_allclose(gradient, expected, rtol=1e-14)
    diagonal = -np.sin(x) * x**3 + 6.0 * np.cos(x) * x**2 + 6.0 * np.sin(x) * x
    diagonal[4] += 2.0 * x[0] / x[4] ** 3
    np.testing.assert_allclose(np.diag(hessian), diagonal, rtol=1e-13)
    assert hessian[0, 4] == hessian[4, 0] == pytest.approx(-1.0 / x[4] ** 2)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_step_alone(name: str) -> None:
    """Each step on arrays of all shapes that occur, so that a failure names it."""
    x = np.array([0.53, -1.47, 0.26, 1.04, 1.9, -0.58])
    for warmup in ([], [("reshape", 2, 0, 1)], [("slice", 1, 0, 1)], [("element", 2, 0, 3)], [("sin", 1, 0, 0)]):
        for k in range(4):
            program = [*warmup, (name, 0, 1, k), ("sin", 0, 0, 0), (name, 0, 3, k + 1)]
            value, gradient, _, margin = oracle(lambda x, p=program: run(p, x), x)
            assert margin > 1e-9, "the point must not be at a kink"
            found_value, found = numbad.value_and_gradient(lambda x, p=program: run(p, x), x)
            assert found_value == pytest.approx(value, rel=1e-12)
            np.testing.assert_allclose(found, gradient, rtol=1e-11, atol=1e-12 * scale_of(gradient, value))


@pytest.mark.parametrize("factor", [1.001, -1.0])
def test_a_wrong_rule_would_be_seen(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wrong sine in the oracle, programs that use it disagree."""
    monkeypatch.setattr(Dual, "sin", lambda self: self.chain(np.sin(self.value), factor * np.cos(self.value)))
    x = np.array([0.53, -1.47, 0.26, 1.04, 1.9, -0.58])
    program = [("sin", 2, 0, 0), ("multiply", 0, 2, 1), ("tanh", 0, 0, 0)] * 8
    value, gradient, _, _ = oracle(lambda x: run(program, x), x)
    found = numbad.gradient(lambda x: run(program, x), x)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found, gradient, rtol=1e-9, atol=1e-10 * scale_of(gradient, value))
