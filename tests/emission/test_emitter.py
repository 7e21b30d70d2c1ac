"""Derivative rows: the compiled passes against the partials functions run by Python, and tapes spliced into others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import numbad
from numbad import limits
from numbad.emission import linear, templates
from numbad.emission.emitter import CAPACITY
from numbad.kernels import emission_layout
from numbad.ops import REGISTRY
from numbad.ops.definition import BY_NAME
from numbad.tape.layout import CONTRACT
from shared.programs import POINTS, PROGRAMS, STEPS, Program, run, tamed

SMOOTH = [op for op in REGISTRY if op.smooth]
VALUES = (0.7, -1.3, 0.0, 2.0, np.inf, -np.inf, np.nan)


@contextmanager
def by_python() -> Iterator[None]:
    """Let Python run the partials functions of all rows."""
    linear.COMPILED = False
    try:
        yield
    finally:
        linear.COMPILED = True


def both(call: Any, *arguments: Any) -> tuple[Any, Any]:
    """Return a result by the compiled passes and by Python."""
    found = call(*arguments)
    with by_python():
        return found, call(*arguments)


def same(found: Any, expected: Any) -> None:
    """Compare to rounding, NaN and infinities included."""
    found, expected = (np.hstack([np.ravel(part) for part in result]) if isinstance(result, (list, tuple)) else result
                       for result in (found, expected))  # fmt: skip
    size = max(1.0, np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * size)


# ---------------------------------------------------------------- against the partials functions


def derivatives(op: Any, point: tuple[float, ...]) -> list[Any]:
    """First derivatives of an op by emitted adjoint and tangent, second ones by both orders of them, and lanes."""
    numbers = tuple(range(op.arity))

    def gradients(*x: Any) -> Any:
        return numbad.grad(lambda *x: op(*x) * 1.5, argnums=numbers)(*x)

    found: list[Any] = []
    for k in numbers:
        slope = lambda *x, k=k: gradients(*x)[k]
        value, slopes = numbad.value_and_grad(slope, argnums=numbers)(*point)
        found += [value, *slopes]
        found += numbad.jvp(slope, point, tuple(0.5 + k for k in numbers))
        partial = lambda t, k=k: numbad.jvp(lambda t: op(*point[:k], t, *point[k + 1 :]) - 2.0 * t, (t,), (1.0,))[1]
        found += numbad.value_and_grad(partial)(point[k])
        found += numbad.jacrev(lambda x, k=k: op(*(x[j] for j in numbers)) * x[k])(np.array(point)).tolist()
    return found


def check_op(op: Any) -> None:
    """Compare the compiled passes with Python at ordinary and at extreme points."""
    points = [(x,) for x in VALUES] if op.arity == 1 else [(x, y) for x in VALUES for y in VALUES]
    with np.errstate(all="ignore"):
        for point in points:
            same(*both(derivatives, op, point))


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


@pytest.mark.parametrize("exponent", [-2.5, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 7.0, np.nan])
@pytest.mark.parametrize("x", [1.7, -1.2, 0.0])
def test_powers(exponent: float, x: float) -> None:
    f = lambda x: numbad.ops.definition.BY_NAME["power_by_constant"](x, exponent)
    g = f
    for _ in range(4):
        g = numbad.grad(g)
        with np.errstate(all="ignore"):
            same(*both(g, x))


def test_more_powers_than_have_templates_of_their_own() -> None:
    f = lambda x: sum(x ** (k + 0.5) for k in range(2 * limits.POWERS_MOST))
    same(*both(numbad.grad(numbad.grad(f)), 0.9))


def test_powers_that_never_come_again() -> None:
    for k in range(2 * templates.MOST_POWERS):
        exponent = 0.5 + k / 7.0
        found = numbad.grad(numbad.grad(lambda x, n=exponent: x**n))(1.1)
        assert found == pytest.approx(exponent * (exponent - 1.0) * 1.1 ** (exponent - 2.0), rel=1e-13)
    assert len(templates.templates().powers) <= templates.MOST_POWERS


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


# ---------------------------------------------------------------- templates


def spoil(op: Any, choice: int, place: int, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an op a template in which one number is another."""
    found = templates.Templates()
    found.add(op.opcode, choice)
    text = found.text[:]
    assert text[found.index[4 * op.opcode + choice] + place] != value
    text[found.index[4 * op.opcode + choice] + place] = value
    found.text = text
    monkeypatch.setattr(templates, "_templates", found)


@pytest.mark.parametrize("op", [op for op in SMOOTH if op.name != "remainder"], ids=lambda op: op.name)
def test_a_wrong_kind_of_partial_would_be_seen(op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for which in range(op.arity):
        found = templates.Templates()
        found.add(op.opcode, 1 << which)
        kind = found.text[found.index[4 * op.opcode + (1 << which)] + 1 + 2 * which]
        wrong = emission_layout.MINUS if kind != emission_layout.MINUS else emission_layout.ONE
        spoil(op, 1 << which, 1 + 2 * which, wrong, monkeypatch)
        if op.name == "power_by_constant" and which == 0:
            found = templates.templates()
            found.powers = dict.fromkeys(VALUES, 0)
        with pytest.raises(AssertionError):
            check_op(op)


def rows_of(op: Any) -> int:
    """Return how many rows the template of an op's first partial has."""
    found = templates.Templates()
    found.add(op.opcode, 1)
    return found.text[found.index[4 * op.opcode + 1]]


@pytest.mark.parametrize("op", [op for op in SMOOTH if rows_of(op)], ids=lambda op: op.name)
def test_a_wrong_row_of_a_template_would_be_seen(op: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last row that a partial depends on computes something else."""
    found = templates.Templates()
    found.add(op.opcode, 1)
    position = found.index[4 * op.opcode + 1]
    last = 5 + 3 * (rows_of(op) - 1)
    wrong = (
        "subtract"
        if found.text[position + last] not in (BY_NAME["subtract"].opcode, BY_NAME["add"].opcode)
        else "multiply"
    )
    spoil(op, 1, last, BY_NAME[wrong].opcode, monkeypatch)
    templates.templates().powers = dict.fromkeys(VALUES, 0)
    with pytest.raises(AssertionError):
        check_op(op)


def test_partials_that_are_replaced_are_traced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slope = numbad.grad(lambda x: numbad.grad(np.sin)(x) * x)
    before = slope(0.5)
    with monkeypatch.context() as patch:
        patch.setattr(BY_NAME["sin"], "partials_function", lambda x: 2.0 * np.cos(x))
        assert slope(0.5) == pytest.approx(2.0 * before)
    assert slope(0.5) == before


@pytest.fixture
def new_ops() -> Iterator[None]:
    """Forget the ops that a test declares."""
    before = len(REGISTRY)
    yield
    for op in REGISTRY[before:]:
        del BY_NAME[op.name]
    del REGISTRY[before:]
    templates._templates = templates.Templates()


@pytest.mark.usefixtures("new_ops")
def test_partials_that_branch_are_run_each_time() -> None:
    @numbad.op
    def bent(x):
        return np.abs(x) * x

    @bent.partials
    def bent_partials(x):
        return 2.0 * x if x > 0.0 else -2.0 * x

    f = lambda x: bent(x) + np.sin(x)
    for x in (0.5, -0.5, 1.5):
        assert numbad.grad(numbad.grad(f))(x) == pytest.approx(2.0 * np.sign(x) - np.sin(x))
    found = templates.templates()
    assert found.index[4 * bent.opcode + 1] == templates.BY_PYTHON
    np.testing.assert_allclose(
        numbad.hessian(lambda x: bent(x[0]) * x[1])(np.array([0.5, 2.0])), [[4.0, 1.0], [1.0, 0]]
    )


@pytest.mark.usefixtures("new_ops")
def test_ops_of_the_users_have_templates() -> None:
    @numbad.op
    def cubed(x):
        return x * x * x

    @cubed.partials
    def cubed_partials(x):
        return 3.0 * x * x

    assert numbad.grad(numbad.grad(cubed))(2.0) == 12.0
    assert numbad.jvp(numbad.grad(cubed), (2.0,), (0.5,))[1] == 6.0
    assert templates.templates().index[4 * cubed.opcode + 1] > 0


@pytest.mark.usefixtures("new_ops")
def test_partials_that_fail_name_the_failure() -> None:
    @numbad.op
    def broken(x):
        return x * 1.0

    @broken.partials
    def broken_partials(x):
        raise KeyError("no rule")

    with pytest.raises(KeyError, match="no rule"):
        numbad.grad(numbad.grad(broken))(1.0)
    assert numbad.recording.recorder.current() is None
    assert numbad.grad(numbad.grad(np.sin))(1.0) == pytest.approx(-np.sin(1.0))


@pytest.mark.usefixtures("new_ops")
def test_partials_that_differentiate_inside() -> None:
    """A partials function that uses the passes itself while its op is traced."""

    @numbad.op
    def sine(x):
        return np.sin(x)

    @sine.partials
    def sine_partials(x):
        return numbad.grad(np.sin)(x)

    f = lambda x: np.exp(sine(x) * x)
    same(numbad.grad(numbad.grad(f))(0.7), numbad.grad(numbad.grad(lambda x: np.exp(np.sin(x) * x)))(0.7))


def test_threads_that_meet_new_ops_at_the_same_time() -> None:
    names = [op.name for op in SMOOTH if op.arity == 1 and not op.host]
    wrong: list[Any] = []
    expected = {name: numbad.grad(numbad.grad(BY_NAME[name]))(0.3) for name in names}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for _ in range(5):
        templates._templates = templates.Templates()

        def work(seed: int) -> None:
            order = np.random.default_rng(seed).permutation(len(names)).tolist()
            for k in order:
                found = numbad.grad(numbad.grad(BY_NAME[names[k]]))(0.3)
                if not np.array_equal(found, expected[names[k]], equal_nan=True):
                    wrong.append(names[k])

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.setswitchinterval(interval)
    assert not wrong


# ---------------------------------------------------------------- tapes in other recordings


@given(PROGRAMS, POINTS, POINTS)
def test_programs_spliced_into_recordings(program: Program, x: np.ndarray, other: np.ndarray) -> None:
    """Two copies of a jitted program in one recording, at two points, against the program itself."""
    f = lambda x: run(program, x)
    inner = numbad.jit(f)
    paired = lambda g: lambda x: g(x * 1.0) + g(x * 0.5) * np.sum(x)
    for point in (x, other):
        expected, slope = numbad.value_and_gradient(paired(f), point)
        found, spliced = numbad.value_and_gradient(paired(inner), point)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(spliced, slope, rtol=1e-11, atol=1e-12 * max(1.0, np.abs(slope).max()))


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize("size", [3, 700, 6000])
def test_pullbacks_inside_recordings_belong_to_their_point(size: int) -> None:
    captured, runs = np.linspace(0.5, 1.5, size), []

    def f(x: Any) -> Any:
        runs.append(1)
        return np.sin(x) * captured if x[0] > 0.0 else x

    x = np.linspace(0.1, 1.0, size)
    slope = np.cos(x) * captured
    _, pullback = numbad.vjp(f, x)
    _, pushforward = numbad.linearize(f, x)
    before = len(runs)
    x[:] = -1.0
    if size * 8 <= 1 << 20:
        captured[:] = 7.0
    seeds = np.arange(3.0 * size).reshape(3, size)
    np.testing.assert_allclose(numbad.vmap(pullback)(seeds)[0], seeds * slope)
    np.testing.assert_allclose(numbad.vmap(pushforward)(seeds), seeds * slope)
    np.testing.assert_allclose(numbad.grad(lambda v: np.sum(pullback(v * v)[0]))(seeds[1]), 2.0 * seeds[1] * slope)
    np.testing.assert_allclose(numbad.grad(lambda v: np.sum(pushforward(v) ** 2))(seeds[1]), 2.0 * seeds[1] * slope**2)
    assert len(runs) == before


def test_results_of_pullbacks_and_pushforwards_are_assigned_apart_from_what_was_given() -> None:
    def pulled(x: Any, seed: Any) -> Any:
        (bar,) = numbad.vjp(lambda y: y + 1.0, x)[1](seed)
        bar[0] = 0.0
        return np.sum(seed**2) + np.sum(bar)

    def pushed(x: Any, seed: Any) -> Any:
        _, dot = numbad.jvp(lambda y: y + 1.0, (x,), (seed,))
        dot[0] = 0.0
        return np.sum(seed**2) + np.sum(dot)

    def both(x: Any, seed: Any) -> Any:
        one, other = numbad.vjp(lambda y, z: y + z, x, x)[1](seed * 1.0)
        one[0] = 0.0
        return np.sum(seed**2) + np.sum(other) - seed[0]

    x, seed = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    for f in (pulled, pushed, both):
        assert np.array_equal(numbad.grad(f, argnums=1)(x, seed), 2.0 * seed + [0.0, 1.0, 1.0])


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
