"""Calls of kernels as single rows: values, derivatives of every kind and order, and what is not taken."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

import numbad
from numbad.numba_api import dispatching
from numbad.numba_api.adjoint import rows
from numbad.numba_api.dispatching import kernel_of


def rosenbrock(x):
    """A loop that keeps nothing."""
    total = 0.0
    for i in range(x.size - 1):
        total += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def tridiagonal(x):
    """Two arrays that are read where they are written; a loop downwards."""
    n = x.size
    c, d = np.zeros(n), np.zeros(n)
    c[0], d[0] = 1.0 / (x[0] + 2.0), 1.0 / (x[0] + 2.0)
    for i in range(1, n):
        pivot = x[i] + 2.0 - 0.5 * c[i - 1]
        c[i] = 1.0 / pivot
        d[i] = (1.0 - 0.5 * d[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return d.sum()


def defined_before(x):
    """A number from before a loop that is used after it."""
    scale = np.sin(x[0]) + 2.0
    total = 0.0
    for i in range(x.size):
        total = total * 0.5 + x[i] * x[i]
    return scale * total + scale


def nested(x):
    """Loops whose bounds depend on other loops, with a number that both change."""
    total = 1.0
    for i in range(x.size):
        for j in range(i):
            total += x[i] * x[j] * 0.1
            for _ in range(2):
                total = math.sin(total)
    return total


def leaving(x):
    """Jumps of all kinds."""
    total, k = 1.0, 0
    while k < 100:
        k += 1
        for i in range(x.size):
            if x[i] < 0.6:
                continue
            total = total * x[i] + math.cos(total)
            if total > 3.0:
                break
        if total > 2.9:
            total = total / 3.0
            if k > 5:
                return total * x[0]
    return total


def accumulated(x):
    """Arrays that are changed by what they hold."""
    y = x.copy()
    for k in range(3):
        for i in range(1, y.size):
            y[i] = y[i] * y[i - 1] + y[i]
            y[i - 1] *= 0.5 + k
    return y.sum() + y[0] * y[-1]


def exchanged(x):
    """Two arrays that exchange their names."""
    u, v = x.copy(), np.zeros_like(x)
    for _ in range(4):
        for i in range(1, u.size - 1):
            v[i] = u[i] * u[i + 1] + 0.1 * u[i - 1] ** 2
        u, v = v, u
    return np.sum(u)


@njit
def step(y, h):
    """One step of an equation."""
    if y > 2.0:
        return y - h * y
    slope = math.exp(-y) * y
    return y + h * slope


def called(x):
    """A function that another one calls, with a number that is overwritten."""
    y = x[0]
    for i in range(x.size):
        y = step(y, x[i])
        y = step(step(y, 0.1), 0.3) + min(x[i], y, 0.9)
    return y


def conditional(x):
    """Conditions within expressions."""
    total = 0.0
    for i in range(x.size):
        total += x[i] ** 3 if (i > 1 and x[i - 1] > 0.7) or x[i] > 1.2 else abs(x[i] - 1.0) ** 1.5
    return total


def rows_of_matrix(x):
    """Parts of arrays, and arrays that are made in a loop."""
    n = x.size
    a = np.empty((n, n))
    for i in range(n):
        a[i, 0] = x[i]
        for j in range(1, n):
            a[i, j] = a[i, j - 1] * x[j] + 0.5
    total = 0.0
    for i in range(n):
        row = a[i]
        square = np.zeros(n)
        for j in range(n):
            square[j] += row[j] * row[j]
        for value in square:
            total += math.sqrt(value)
    return total


def whole_arrays(x):
    """Arithmetic of arrays and slices, some of them in place."""
    u = x * 2.0 - np.sin(x) / (1.0 + x[0])
    v = np.zeros((2, x.size))
    v[0] = u
    v[1, 1:] = u[1:] * u[:-1] + v[0, :-1]
    v[1, :2] += x[-2:] ** 2
    u[1:-1] = 0.5 * (u[2:] + u[:-2])
    u *= x
    u[1:] += u[:-1]
    rows_of_v, columns = v.shape
    u[columns - 1] *= rows_of_v
    return np.sum(v[1] * u) + (np.exp(-u)).sum() + u[1:3].sum() * v[0, 1:][-1]


@njit
def slopes(y, a):
    """What an equation says."""
    found = np.empty(y.size)
    found[:] = -a * y
    found[1:] += y[:-1] * y[1:]
    return found


def runge_kutta(x):
    """Arrays that get new values in each step."""
    y = x.copy()
    h = 0.05
    for _ in range(6):
        k1 = slopes(y, x[0])
        k2 = slopes(y + 0.5 * h * k1, x[1])
        y = y + h * (k1 + k2)
    return y.sum()


KERNELS = [
    whole_arrays,
    runge_kutta,
    rosenbrock,
    tridiagonal,
    defined_before,
    nested,
    leaving,
    accumulated,
    exchanged,
    called,
    conditional,
    rows_of_matrix,
]
POINT = np.array([0.9, 1.3, 0.55, 1.1, 0.75])


def both(f, **options):
    """Return a kernel as one row, and row by row."""
    return numbad.kernel(njit(f, **options), adjoint=True), njit(f, **options)


@pytest.fixture
def pulls(monkeypatch):
    """Count the ways back, and see that no kernel is recorded by rows in their place."""
    found = []
    pull = rows.Call.pull

    def counted(self, bars, results, operands, **settings):
        found.append(self.name)
        return pull(self, bars, results, operands, **settings)

    monkeypatch.setattr(rows.Call, "pull", counted)
    return found


@pytest.mark.parametrize("f", KERNELS, ids=lambda f: f.__name__)
def test_values_and_gradients(f, pulls) -> None:
    one, other = both(f)
    value, slope = numbad.value_and_gradient(one, POINT)
    assert value == other(POINT)
    assert pulls == [f.__name__]
    np.testing.assert_allclose(slope, numbad.gradient(other, POINT), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("f", KERNELS, ids=lambda f: f.__name__)
def test_second_order(f) -> None:
    one, other = both(f)
    np.testing.assert_allclose(numbad.hessian(one)(POINT), numbad.hessian(other)(POINT), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("f", [leaving, accumulated], ids=lambda f: f.__name__)
def test_other_modes(f) -> None:
    one, other = both(f)
    points = np.stack([POINT, POINT[::-1] * 1.1])
    for way in (
        lambda g: numbad.jvp(g, (POINT,), (np.arange(5.0),))[1],
        lambda g: numbad.jacfwd(g)(POINT),
        lambda g: numbad.vmap(g)(points),
        lambda g: numbad.vmap(numbad.grad(g))(points),
        lambda g: numbad.hvp(g, POINT, np.arange(5.0)),
        lambda g: numbad.grad(lambda x: np.sum(numbad.grad(g)(np.sqrt(x)) ** 2))(POINT),
    ):
        np.testing.assert_allclose(way(one), way(other), rtol=1e-12, atol=1e-12)


def test_a_replay_takes_the_path_of_its_own_arguments() -> None:
    one, other = both(leaving)
    replayed = numbad.jit(numbad.value_and_grad(one))
    for scale in (1.0, 0.7, 1.3, 1.0):
        value, slope = replayed(scale * POINT)
        assert value == other(scale * POINT)
        np.testing.assert_allclose(slope, numbad.gradient(other, scale * POINT), rtol=1e-12)


def test_an_argument_that_is_written_to() -> None:
    def smooth(x, weight):
        for i in range(1, x.size):
            x[i] += weight * x[i - 1] * x[i]

    one, other = both(smooth)

    def total(f, x):
        y = x * 2.0
        f(y, 0.3)
        before = y.sum()
        f(y, 0.1)
        return before * y[2] + y[-1]

    np.testing.assert_allclose(
        numbad.gradient(lambda x: total(one, x), POINT),
        numbad.gradient(lambda x: total(other, x), POINT),
        rtol=1e-12,
    )


def test_several_results_and_arguments() -> None:
    def pair(x, y, n):
        z = np.empty(n)
        for i in range(n):
            z[i] = x * y[i]
        return z, x * x, y[0]

    one, other = both(pair)

    def total(f):
        def g(x, y):
            z, a, b = f(x, y, 4)
            return np.sum(z**2) * a + b

        return numbad.gradient(g, 1.5, POINT, argnums=(0, 1))

    for left, right in zip(total(one), total(other), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_what_is_absent_stays_absent() -> None:
    def first(x):
        return x[0] * 2.0

    one, other = both(first)
    at = np.array([1.0, 0.0])
    expected = numbad.gradient(lambda x: other(np.sqrt(x)), at)
    assert expected.tolist() == [1.0, 0.0]
    assert numbad.gradient(lambda x: one(np.sqrt(x)), at).tolist() == [1.0, 0.0]


def test_a_plain_array_that_is_changed_later() -> None:
    def dot(x, y):
        total = 0.0
        for i in range(x.size):
            total += x[i] * y[i]
        return total

    one, _ = both(dot)
    weights = np.arange(5.0)

    def f(x):
        found = one(x, weights)
        weights[:] = 0.0
        return found

    assert numbad.gradient(f, POINT).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_single_precision() -> None:
    one, other = both(rosenbrock)
    at = POINT.astype(np.float32)
    value, slope = numbad.value_and_gradient(one, at)
    assert slope.dtype == np.float32
    assert value == np.float32(other(at))
    np.testing.assert_allclose(slope, numbad.gradient(other, at), rtol=1e-4)


def test_an_index_out_of_range_raises() -> None:
    def beyond(x, n):
        total = 0.0
        for i in range(n):
            total += x[i]
        return total

    one, _ = both(beyond)
    with pytest.raises(IndexError):
        numbad.gradient(one, POINT, 6, argnums=0)


def test_exceptions_of_the_kernel() -> None:
    def checked(x):
        for i in range(x.size):
            if x[i] > 1.0:
                raise ValueError("too large")
        return x[0] * x[1]

    one, _ = both(checked)
    with pytest.raises(ValueError, match="too large"):
        numbad.gradient(one, POINT)
    assert numbad.gradient(one, 0.5 * POINT).tolist() == [0.65, 0.45, 0.0, 0.0, 0.0]


def test_arrays_of_other_lengths_are_recorded_by_rows() -> None:
    def product(x, y):
        total = 0.0
        for _ in range(1):
            total += np.sum(x * y)
        return total

    one, _ = both(product)
    for left, right in (([2.0], [0.0, 0.0]), ([0.0, 0.0], [2.0])):
        found = numbad.gradient(lambda x, y: one(x, y), np.array(left), np.array(right), argnums=(0, 1))
        assert [part.tolist() for part in found] == [
            [float(np.sum(right))] if len(left) == 1 else [2.0, 2.0],
            [2.0, 2.0] if len(left) == 1 else [0.0],
        ]


def test_a_name_with_an_old_array_is_refused() -> None:
    def lagged(x):
        y, before = x.copy(), x.copy()
        for _ in range(3):
            before = y
            y = y * x
        return y.sum() + before.sum()

    one, other = both(lagged)
    with pytest.raises(numbad.NumbadError, match="another array in each iteration"):
        numbad.gradient(one, POINT)
    assert numbad.gradient(other, POINT).shape == (5,)


def test_what_is_not_taken_is_named_where_it_is_demanded() -> None:
    def inverse(x):
        return np.linalg.inv(x)[0, 0]

    one, _ = both(inverse)
    with pytest.raises(numbad.NumbadError, match=r"the adjoint of inverse cannot be made.*test_rows\.py"):
        numbad.gradient(one, np.eye(2))


@pytest.mark.parametrize("fast", [False, True])
def test_constants_that_change(fast) -> None:
    factor = 2.0

    def inner(x):
        return factor * x

    other = njit(inner, fastmath=fast)

    def scaled(x):
        total = 0.0
        for i in range(x.size):
            total += other(x[i]) * factor
        return total

    one, _ = both(scaled, fastmath=fast)
    assert numbad.gradient(one, POINT).tolist() == [4.0] * 5
    factor = 3.0
    with pytest.raises(numbad.RecordingError, match="factor"):
        numbad.gradient(one, POINT)
    other.recompile()
    one.recompile()
    assert numbad.gradient(one, POINT).tolist() == [9.0] * 5


def test_the_text_is_kept() -> None:
    one, _ = both(rosenbrock)
    numbad.gradient(one, POINT)
    (adjoint,) = kernel_of(one).adjoints.values()
    assert adjoint.module.__file__.endswith(".py")
    assert "for i in range(n - 1, -1, -1):" in open(adjoint.module.__file__).read()


def test_size_decides_where_nothing_is_demanded(monkeypatch, pulls) -> None:
    f = numbad.kernel(njit(rosenbrock))
    numbad.gradient(f, POINT)
    assert pulls == []
    monkeypatch.setattr(dispatching, "LONG", 5)
    numbad.gradient(f, POINT)
    assert pulls == ["rosenbrock"]
    numbad.gradient(numbad.kernel(njit(rosenbrock), adjoint=False), POINT)
    assert pulls == ["rosenbrock"]
    numbad.gradient(njit(rosenbrock), POINT)  # of njit's own, nothing is compiled at once
    assert pulls == ["rosenbrock"]
    monkeypatch.setattr(dispatching, "VERY_LONG", 5)
    numbad.gradient(njit(rosenbrock), POINT)
    assert pulls == ["rosenbrock"] * 2


def test_what_cannot_be_taken_is_recorded_by_rows_where_nothing_is_demanded(monkeypatch, pulls) -> None:
    monkeypatch.setattr(dispatching, "LONG", 1)
    f = numbad.kernel(njit(lambda x: x[0] * x[1]))
    assert numbad.gradient(f, POINT)[:2].tolist() == [1.3, 0.9]
    assert pulls == []


def test_tapes_and_patterns_have_rows(monkeypatch) -> None:
    monkeypatch.setattr(dispatching, "LONG", 1)

    def doubled(x):
        y = np.empty(x.size)
        for i in range(x.size):
            y[i] = x[i] * x[i]
        return y

    f = numbad.kernel(njit(doubled))
    assert numbad.sparse_jacobian(f)(POINT).nnz == 5
    assert not numbad.record(f, POINT).hosts


def test_a_way_forward_that_computes_something_else_is_found_out() -> None:
    one, other = both(rosenbrock)
    numbad.gradient(one, POINT)
    (adjoint,) = kernel_of(one).adjoints.values()
    own = adjoint.module.ahead

    def wrong(*given):
        outputs, *rest = own(*given)
        return ((outputs[0] + 1e-9,), *rest)

    adjoint.module.ahead = wrong
    try:
        adjoint.calls = 3  # the next is compared
        value, slope = numbad.value_and_gradient(one, POINT)
        assert value == other(POINT)
        np.testing.assert_allclose(slope, numbad.gradient(other, POINT), rtol=1e-12)
    finally:
        adjoint.module.ahead = own
    assert [k for k in range(1, 20) if setattr(adjoint, "calls", k - 1) or adjoint.is_due()] == [1, 2, 4, 8, 16]


def test_values_without_ways_back_are_of_numbas_own_code(monkeypatch) -> None:
    one, other = both(rosenbrock)
    replayed = numbad.jit(one)
    for k in range(5):
        assert replayed(POINT + k) == other(POINT + k)
    ran = []
    run = rows.Adjoint.run_ahead
    monkeypatch.setattr(rows.Adjoint, "run_ahead", lambda self, *given: ran.append(1) or run(self, *given))
    for k in range(5):
        assert replayed(POINT - k) == other(POINT - k)
    assert ran == []


def test_memory_that_is_not_enough() -> None:
    one, other = both(nested)
    numbad.gradient(one, POINT)
    (adjoint,) = kernel_of(one).adjoints.values()
    for sizes in ((1, 1), (1, 1 << 10), (1 << 10, 1)):
        adjoint.sizes = sizes
        np.testing.assert_allclose(numbad.gradient(one, POINT), numbad.gradient(other, POINT), rtol=1e-12)
        adjoint.sizes = sizes
        np.testing.assert_allclose(numbad.hessian(one)(POINT), numbad.hessian(other)(POINT), rtol=1e-12)
        assert adjoint.sizes[0] > 1
