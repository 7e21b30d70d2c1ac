"""Derivative rows: the compiled passes against the partials functions run by Python, and tapes spliced into others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import numbad
from numbad.emission.emitter import CAPACITY
from numbad.ops import REGISTRY
from numbad.tape.layout import CONTRACT
from shared.emission import both, check_op, same
from shared.programs import POINTS, PROGRAMS, STEPS, Program, run, tamed

SMOOTH = [op for op in REGISTRY if op.smooth]

# ---------------------------------------------------------------- against the partials functions


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_each_op(op: Any) -> None:
    check_op(op)


@given(PROGRAMS, POINTS)
def test_programs_of_arrays_and_numbers(program: Program, x: np.ndarray) -> None:
    f = lambda x: run(program, x)
    same(*both(numbad.hessian(f), x))
    slope = lambda x: np.sum(numbad.gradient(f, x) * np.arange(6.0))
    same(*both(numbad.value_and_gradient, slope, x))


@given(PROGRAMS, st.lists(st.floats(-2.0, 2.0, width=32), min_size=6, max_size=6))
def test_programs_of_scalars_in_every_order_of_forward_and_reverse(program: Program, numbers: list[float]) -> None:
    """The program's vector taken apart into scalars first, so that most rows are scalar."""

    def f(t: Any) -> Any:
        pool = [t * (1.0 + 0.1 * k) + number for k, number in enumerate(numbers)]
        for name, i, j, k in program:
            pool.append(tamed(STEPS[name](pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], k)))
        return sum(part * (1.0 + 0.1 * place) for place, part in enumerate(pool))

    def push(f: Any) -> Any:
        return lambda t: numbad.jvp(f, (t,), (1.0,))[1]

    third = []
    for one in (numbad.grad, push):
        for two in (numbad.grad, push):
            same(*both(one(two(f)), 0.3))
            found, expected = both(one(two(numbad.grad(f))), 0.3)
            assume(np.isfinite(expected))
            size = max(1.0, abs(expected))
            assert found == pytest.approx(expected, rel=1e-10, abs=1e-12 * size)
            third.append(found)
    assert third == pytest.approx([third[0]] * 4, rel=1e-7, abs=1e-7)


def count_rows(f: Any, x: Any) -> int:
    """Return how many rows the gradient of a function adds to a recording."""
    found = []

    def outer(x: Any) -> Any:
        before = x.recorder.row_count()
        result = f(x)
        middle = x.recorder.row_count()
        numbad.grad(f)(x)
        found.append(x.recorder.row_count() - middle - (middle - before) - np.size(x))
        return result

    numbad.grad(outer)(x)
    return found[0]


@pytest.mark.usefixtures("usual_limits")
def test_what_nobody_reads_is_not_emitted() -> None:
    assert count_rows(lambda x: x + 1.0, 2.0) == 0
    assert count_rows(lambda x: 3.0 - x, 2.0) == 0
    assert count_rows(lambda x: 3.0 * x, 2.0) == 0
    assert count_rows(lambda x: x * x, 2.0) == 1
    assert count_rows(lambda x: x**3, 2.0) == 2
    assert count_rows(lambda x: numbad.where(x > 0.0, x, 2.0), 2.0) <= 3
    assert count_rows(lambda x: np.sin(x) * numbad.stop_gradient(np.exp(x)), 2.0) == 2
    assert count_rows(lambda x: [x * 2.0, x, np.exp(x)][1], 2.0) == 0


def test_regions_longer_than_the_scratch_memory() -> None:
    turns = CAPACITY // 2

    def f(x: Any) -> Any:
        t = x
        for _ in range(turns):
            t = np.sin(t) * 0.9 + x * t * 0.05
        return t

    same(*both(numbad.grad(numbad.grad(f)), 0.4))
    assert numbad.hessian(lambda x: f(x[0]) + x[1] ** 3)(np.array([0.4, 2.0]))[1, 1] == pytest.approx(12.0)


def test_lanes_of_every_number() -> None:
    f = lambda x: sum(np.sin(a) * b - (1.0 - a) ** 2 / b for a, b in pairwise(x))
    for n in (2, 3, 40):
        x = np.linspace(0.5, 2.0, n)
        for call in (numbad.hessian(f), numbad.jacrev(numbad.grad(f)), numbad.jacfwd(numbad.jacfwd(f))):
            same(*both(call, x))
    single = x.astype(np.float32)
    assert numbad.hessian(f)(single).dtype == np.float32
    np.testing.assert_allclose(numbad.hessian(f)(single), numbad.hessian(f)(x), rtol=1e-4, atol=1e-4)


def test_the_zero_rule_holds() -> None:
    f = lambda x: numbad.where(x > 0.0, np.sqrt(x), 0.0) * 3.0
    for g in (f, numbad.grad(f), lambda x: numbad.jvp(f, (x,), (1.0,))[1]):
        assert numbad.grad(g)(0.0) == 0.0
        assert numbad.grad(g)(-1.0) == 0.0


# ---------------------------------------------------------------- rows of the identity matrix


IDENTITY = {
    "product": lambda x: MATRIX @ x,
    "products": lambda x: np.tanh(MATRIX @ np.sin(MATRIX.T @ x)) * x,
    "transposed": lambda x: x @ MATRIX + np.cos(x),
    "matrices": lambda x: (np.outer(x, x) @ MATRIX).sum(axis=0) + x * x,
    "both operands": lambda x: np.concatenate([x * x[::-1], [x @ x, np.sum(x)]]),
    "batch": lambda x: np.einsum("ijk,k->ij", CUBE, x).reshape(-1) * np.repeat(x[:2], 3)[0],
    "repeated": lambda x: np.einsum("ij,jk,k->i", MATRIX, MATRIX, np.broadcast_to(x[1], (3,))) + x,
    "copies": lambda x: np.stack([x, x.copy(), x[::-1]]).T.copy() * x,
    "written": lambda x: numbad.array([x[1], 2.0 * x[0], 1.0]) + np.where(x > 0.0, x, 0.5 * x),
    "written twice": lambda x: doubled(x) + x,
    "elements": lambda x: np.stack([np.sin(x[k]) * x[(k + 1) % 3] for k in range(3)]),
    "bent": lambda x: np.abs(x) @ MATRIX * np.maximum(x, 0.1),
    "number": lambda x: np.linalg.solve(MATRIX + 3.0 * np.eye(3), x) * x[0],
}
MATRIX = np.linspace(-0.9, 1.3, 9).reshape(3, 3)
CUBE = np.linspace(0.1, 1.7, 18).reshape(2, 3, 3)


def doubled(x: Any) -> Any:
    """Assign in place through a view."""
    y = x * 1.0
    y[1:] += y[:-1]
    y[::2] *= x[::2]
    return y


@pytest.mark.parametrize("name", sorted(IDENTITY))
def test_jacobians_in_recordings_agree_with_products_with_each_unit_vector(name: str) -> None:
    """Within `jit` a Jacobian is emitted with lanes, whose seeds are rows of the identity matrix."""
    f = IDENTITY[name]
    x = np.array([0.7, -1.2, 0.4])
    units = np.eye(3)
    expected = np.stack([numbad.jvp(f, (x,), (unit,))[1] for unit in units], axis=-1)
    for transform in (numbad.jacfwd, numbad.jacrev):
        np.testing.assert_allclose(numbad.jit(transform(f))(x), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            numbad.record(transform(f), x)(x * 1.1), transform(f)(x * 1.1), rtol=1e-12, atol=1e-14
        )
        weighted = lambda x, transform=transform: np.sum(transform(f)(x) * expected)
        step = 1e-6
        slopes = [(weighted(x + step * u) - weighted(x - step * u)) / (2.0 * step) for u in units]
        np.testing.assert_allclose(numbad.gradient(weighted, x), slopes, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(numbad.jvp(weighted, (x,), (units[1],))[1], slopes[1], rtol=1e-6, atol=1e-7)
    two = lambda x, y: f(x) * (y @ y) + np.sum(y)
    blocks = numbad.jit(numbad.jacfwd(two, argnums=(0, 1)))(x, 2.0 * x)
    np.testing.assert_allclose(blocks[0], expected * 4.0 * (x @ x), rtol=1e-12)
    np.testing.assert_allclose(blocks[1], numbad.jacrev(two, argnums=1)(x, 2.0 * x), rtol=1e-12)


def test_the_first_layer_is_copied_not_multiplied() -> None:
    """A matrix product over the lanes is recorded for the second layer alone."""
    opcodes: list[int] = []

    def outer(x: Any) -> Any:
        before = x.recorder.row_count()
        result = numbad.jacfwd(lambda x: MATRIX @ np.sin(MATRIX @ x))(x)
        opcodes.extend(x.recorder.code[4 * before :: 4].tolist())
        return result[0, 0]

    numbad.grad(outer)(np.ones(3))
    assert opcodes.count(CONTRACT) == 3, "two of the function, one of its tangents"


# ---------------------------------------------------------------- tapes in other recordings


WINDOWS = {
    "rows": lambda x: np.sin(np.lib.stride_tricks.sliding_window_view(x, 3)).sum(0),
    "two at once": lambda x: (lambda w: (w * w[0]).sum(1))(np.lib.stride_tricks.sliding_window_view(np.exp(x), 2)),
    "a product": lambda x: np.lib.stride_tricks.sliding_window_view(x, 3) @ np.arange(1.0, 4.0) * x[2:],
    "a table": lambda x: np.lib.stride_tricks.sliding_window_view(np.outer(x, x), (2, 2))[1:, 2] ** 2,
}


@pytest.mark.parametrize("name", WINDOWS)
def test_cotangents_of_windows_that_overlap_meet(name: str) -> None:
    f = WINDOWS[name]
    x = np.linspace(0.2, 1.3, 6)
    expected = numbad.jacfwd(f)(x)  # which writes to no overlapping places
    assert np.allclose(numbad.jit(numbad.jacrev(f))(x), expected, rtol=1e-13)
    total = lambda x: np.sum(f(x) ** 2)
    assert np.allclose(numbad.hessian(total)(x), numbad.jacfwd(numbad.jacfwd(total))(x), rtol=1e-12)
    slope = numbad.jvp(numbad.grad(total), (x,), (np.zeros(6),))[0]
    assert np.allclose(slope, numbad.jacfwd(total)(x), rtol=1e-13)
