"""Paths over arrays by machine code of their groups: the interpreter's numbers, whatever the program does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from numbad.compilation.module import Uncompilable
from numbad.limits import LARGE_INPUT, MOST_AT_ONCE, PRODUCT_WORTH, STRETCH
from numbad.recording.trees import flatten
from shared.grouped import agree, group, random_program

A = np.random.default_rng(0).normal(size=(40, 40)) / 8.0


def sample(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.9, shape)


def heat(k: Any) -> Any:
    u = np.zeros((12, 12))
    u[3:6, 4:9] = 1.0
    u = numbad.array(u)
    for _ in range(10):
        flow = 0.5 * (k[1:] + k[:-1]) * (u[1:] - u[:-1])
        u[1:-1] += 0.1 * (flow[1:] - flow[:-1])
    return np.sum(u * u)


def network(x: Any) -> Any:
    h = np.tanh(x[:12, :24] @ A[:24, :24] + x[12, :24])
    z = h @ A[:24, :5] - 0.3
    return np.mean(np.log(np.sum(np.exp(z), axis=1))) - np.mean(z[np.arange(12), np.arange(12) % 5])


def particles(x: Any) -> Any:
    d = x[:, None, :3] - x[None, :, :3]
    r = np.sum(d * d, axis=2) + 0.1
    return np.sum(np.triu(1.0 / r**3 - 1.0 / r, 1))


def likelihood(x: Any) -> Any:
    K = np.exp(-0.5 * (x[:, :1] - x[:, :1].T) ** 2 / (0.1 + x[0, 1])) + 0.5 * np.eye(len(x))
    L = np.linalg.cholesky(K)
    z = np.linalg.solve(L, x[:, 2])
    return 0.5 * z @ z + np.sum(np.log(np.diag(L)))


def recurrent(x: Any) -> Any:
    h, c = np.zeros(20), np.zeros(20)
    for row in x[:8, :20]:
        gates = row * 0.5 + h @ A[:20, :20]
        c = c / (1.0 + np.exp(-gates)) + np.tanh(gates)
        h = np.tanh(c)
    return np.sum(h * x[8, :20])


def windows(x: Any) -> Any:
    w = np.lib.stride_tricks.sliding_window_view(x.reshape(-1), 5)
    return np.sum(np.sin(w) * w[:, :1]) + np.sum((w @ np.arange(5.0)) ** 2)


def reads_twice(x: Any) -> Any:
    """Operands that overlap, repeat and run backwards."""
    y = x.reshape(-1)
    return np.sum(y * y[::-1]) + np.sum(y[1:] * y[:-1] * y[0]) + np.sum(x * x.T) + np.sum(y[::2]) * np.sum(y[1::2] ** 2)


def sorted_values(x: Any) -> Any:
    return np.sum(np.sort(x, axis=1)[:, ::3] ** 2) + np.sum(np.cumsum(x.reshape(-1)) ** 2) * 0.01 + np.max(x)


def bodies(x: Any) -> Any:
    """Slopes that take long, of differences of what lies in one array: rows and columns, neighbours, one element."""
    d = x[:, 1:2].T - x[:, 1:2]
    near = (x[1:] - 2.0 * x[:-1]) * x[0, 0]
    return np.sum((d * d + 0.1) ** -1.5) + np.sum(np.sin(near) ** 3) + np.sum(np.exp(x[::-1] * x) * x[:, :1])


PROGRAMS = (bodies, heat, network, particles, likelihood, recurrent, windows, reads_twice, sorted_values)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_value_and_gradient(f: Any) -> None:
    points = [(sample(12, 12, seed=0),)] if f is sorted_values else [(sample(12, 12, seed=k),) for k in range(3)]
    points = [(sample(16, 40, seed=k),) for k in range(3)] if f in (network, recurrent) else points
    agree(f, *points)


@pytest.mark.parametrize("f", [bodies, network, particles, recurrent, windows, reads_twice], ids=lambda f: f.__name__)
def test_single_precision(f: Any) -> None:
    shape = (16, 40) if f in (network, recurrent) else (12, 12)
    points = [(sample(*shape, seed=k).astype(np.float32),) for k in range(3)]
    agree(f, *points)
    agree(f, *points, transform=lambda f: f)


def test_each_operation_in_single_precision_is_rounded() -> None:
    """Whole parts and equal numbers are those of NumPy, though numbers are computed in double precision."""
    x = np.linspace(0.1, 3.0, 5000, dtype=np.float32)
    fast = numbad.jit(lambda x: np.floor((x * np.float32(0.1)) * np.float32(10.0)) + np.where((x / 3) * 3 == x, 1, 0))
    fast(x)
    group(fast)
    with np.errstate(all="ignore"):
        want = np.floor((x * np.float32(0.1)) * np.float32(10.0)) + np.where(
            (x / np.float32(3)) * np.float32(3) == x, 1, 0
        )
    np.testing.assert_array_equal(fast(x), want)


@pytest.mark.parametrize("f", [bodies, heat, particles, windows, reads_twice], ids=lambda f: f.__name__)
def test_programs_without_a_way_back(f: Any) -> None:
    """Values, Jacobians and Hessians, whose rows were emitted."""
    points = (
        [(sample(4, 4, seed=k),) for k in range(2)] if f is not heat else [(sample(12, 12, seed=k),) for k in range(2)]
    )
    agree(f, *points, transform=lambda f: f)
    if f is not heat:
        agree(f, *points, transform=lambda f: lambda x: numbad.hessian(f, x))


@pytest.mark.parametrize("seed", range(24))
def test_random_programs(seed: int) -> None:
    f, points = random_program(seed)
    for transform in (lambda f: numbad.value_and_grad(f, argnums=(0, 1)), lambda f: f):
        try:
            agree(f, *points, transform=transform)
        except Uncompilable:
            assert seed in (20,)


@pytest.mark.parametrize("count", [STRETCH - 1, STRETCH, STRETCH + 1, 3 * STRETCH + 2, LARGE_INPUT + 1])
def test_long_sums(count: int) -> None:
    """Sums of as many elements as one call takes, one more, and of inputs that lie outside of the arena."""
    w = sample(count, seed=3)

    def f(x: Any) -> Any:
        return np.sum(np.exp(x) * w) / np.sum(x * x) + x[0] * np.mean(x)

    agree(f, *[(sample(count, seed=k),) for k in range(2)])


@pytest.mark.parametrize("rows", [3, 40])
def test_products_on_both_sides_of_their_limit(rows: int) -> None:
    columns = PRODUCT_WORTH // 40 + (1 if rows == 40 else -1)
    B = sample(columns, 9, seed=5)
    agree(
        lambda x: np.sum((x @ B) ** 2) + np.sum((x.T @ x) ** 2) * 0.01,
        *[(sample(rows, columns, seed=k),) for k in range(2)],
    )
    agree(lambda x: np.sum((x @ B[:, 0]) ** 2) + np.sum(np.ones(rows) @ x), (sample(rows, columns),))


def test_sums_are_as_exact_as_sums_in_pairs() -> None:
    """A long sum errs by some rounding errors of its result, not by as many as it has terms."""
    import math

    x = np.random.default_rng(0).uniform(0.0, 1.0, 1_000_000)
    fast = numbad.jit(lambda x: np.sum(x * x))
    fast(x)
    group(fast)
    exact = math.fsum((x * x).tolist())
    assert abs(fast(x) - exact) <= 40 * np.finfo(float).eps * exact


def test_branches_are_paths() -> None:
    def f(x: Any) -> Any:
        y = np.tanh(x)
        return np.sum(y * y) if np.sum(y) > 0.0 else np.prod(1.0 + y * 0.1)

    fast, plain = (numbad.jit(numbad.value_and_grad(f)) for _ in range(2))
    x = sample(60)
    fast(x)
    machine = group(fast)
    for point in (x, -x, 2.0 * x, -0.5 * x):
        (value, slope), (other, want) = fast(point), plain(point)
        np.testing.assert_allclose(value, other, rtol=1e-13)
        np.testing.assert_allclose(slope, want, rtol=1e-12, atol=1e-15)
    assert len(next(iter(fast.programs.values())).programs) == 2 and not machine.fell


def test_a_gradient_that_is_not_finite_is_the_interpreters() -> None:
    f = lambda x: np.sum(np.where(x > 0.0, np.sqrt(np.abs(x)), 0.0)) + np.sum(np.log1p(x) * x)
    points = [(sample(50),), (np.linspace(0.0, 0.9, 50),)]
    interpreted, fast = numbad.jit(numbad.value_and_grad(f)), numbad.jit(numbad.value_and_grad(f))
    fast(*points[0])
    machine = group(fast)
    for point, fell in zip(points, (False, True)):
        (value, slope), (other, want) = fast(*point), interpreted(*point)
        np.testing.assert_allclose(value, other, rtol=1e-13)
        np.testing.assert_allclose(slope, want, rtol=1e-12)
        assert machine.fell == fell
    x = sample(50)
    x[7] = np.nan
    np.testing.assert_allclose(fast(x)[1], interpreted(x)[1], rtol=1e-12)


def test_errors_of_libraries_name_the_users_line() -> None:
    fast = numbad.jit(numbad.value_and_grad(lambda x: np.sum(np.linalg.inv(x) ** 2)))
    said = []
    for grouped in (False, True):
        fast(np.eye(9) + 0.01 * sample(9, 9))
        if grouped:
            group(fast)
        with pytest.raises(np.linalg.LinAlgError) as error:
            fast(np.zeros((9, 9)))
        said.append((str(error.value), getattr(error.value, "__notes__", None)))
    assert said[0] == said[1]
    np.testing.assert_allclose(fast(2.0 * np.eye(9))[0], 9.0 / 4.0)


def test_results_are_the_callers_own() -> None:
    gradient = numbad.grad(lambda x: np.sum(np.sin(x) * x))
    for f in (lambda x: (x * 2.0, np.sin(x), x), lambda x: (gradient(x),), gradient):
        for count in (80, LARGE_INPUT + 1):
            fast = numbad.jit(f)
            x = sample(count)
            fast(x)
            group(fast)
            first = flatten(fast(x))[0]
            kept = [part.copy() for part in first]
            fast(x + 1.0)
            for part, other in zip(first, kept, strict=True):
                np.testing.assert_array_equal(part, other)


def test_single_numbers_and_other_dtypes_among_the_inputs() -> None:
    f = lambda x, s, k: np.sum(np.cos(x * s) * k)
    points = [(sample(70, seed=j), 0.5 + j, sample(70, seed=j).astype(np.float32)) for j in range(2)]
    agree(f, *points, transform=lambda f: numbad.value_and_grad(f, argnums=(0, 1, 2)))


def test_labels_are_looked_up_at_each_call() -> None:
    def f(x: Any, labels: Any) -> Any:
        z = np.tanh(x)
        return np.sum(z[np.arange(len(labels)), labels] ** 2) + np.sum(x)

    points = [(sample(30, 4, seed=k), np.random.default_rng(k).integers(0, 4, 30)) for k in range(4)]
    agree(f, *points)
    fast = numbad.jit(numbad.value_and_grad(f))
    fast(*points[0])
    group(fast)
    with pytest.raises(IndexError):
        fast(points[0][0], points[0][1] + 4)


def test_long_programs_run_in_parts() -> None:
    """Between parts Ctrl-C is answered."""
    steps = MOST_AT_ONCE // 1000 // 8 + 3 if MOST_AT_ONCE < 10_000 else 3

    def f(x: Any) -> Any:
        for k in range(steps):
            x = np.sin(x[::-1]) * (1.0 + k)
        return np.sum(x)

    machine = agree(f, (sample(1000),))
    if MOST_AT_ONCE < 10_000:
        assert len(machine.forward) > 1


def test_threads_take_turns() -> None:
    import threading

    fast, plain = numbad.jit(numbad.value_and_grad(recurrent)), numbad.value_and_grad(recurrent)
    points = [sample(16, 40, seed=k) for k in range(4)]
    fast(points[0])
    group(fast)
    wanted = [plain(point)[1] for point in points]
    found: dict[int, list[np.ndarray]] = {k: [] for k in range(4)}

    def work(k: int) -> None:
        for _ in range(20):
            found[k].append(fast(points[k])[1])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        for slope in found[k]:
            np.testing.assert_allclose(slope, wanted[k], rtol=1e-11, atol=1e-14)
