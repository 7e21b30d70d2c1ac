"""Each fast way is damaged on purpose, and a program has to notice by its numbers.

A damage replaces one piece of text of a function. Python functions are made anew from the altered text; compiled ones
run as plain Python with a few stand-ins for what only machine code has (`view`, `call_at`, ...): nothing is compiled.
"""

from __future__ import annotations
import __future__

import ctypes
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import numbad
from numbad import limits
from numbad.compilation import taking_apart
from numbad.kernels import calls, memory, parallel, switches
from numbad.limits import LARGE, LARGE_INPUT, PIECE, RELABEL
from numbad.replay import scalar_machine
from numbad.sweeps import execution, linearised
from numbad.sweeps import whole as short
from numbad.sweeps.matrix_rows import multiply_add
from numbad.tape.layout import operand_kinds
from numbad.tapes import points
from shared import ways
from shared.compiled import promote
from shared.grouped import group
from shared.ways import KERNEL, WIDE, close, sample, windows

# ---------------------------------------------------------------- programs that notice by numbers of NumPy's own

MATRIX = np.random.default_rng(7).standard_normal((6, 5))
SIDE = int(np.ceil(np.sqrt(LARGE))) + 3
N = PIECE + LARGE + 6  # a large array of more than one piece
M = N // 2 * 2


def few_elements() -> None:
    """A gradient through small rows of all kinds."""
    for seed in range(2):
        x = sample(12, seed)
        table = x.reshape(3, 4)
        f = lambda x: np.sum((x.reshape(3, 4).T * x[:3]) ** 2) + np.sum(x[[1, 1, 5]] * np.sum(x[::-2]))
        want = (2.0 * table * x[:3, None] ** 2).reshape(-1)
        want[:3] += 2.0 * x[:3] * (table**2).sum(axis=1)
        want[[1, 5]] += np.array([2.0, 1.0]) * x[::-2].sum()
        want[::-2] += x[[1, 1, 5]].sum()
        close(numbad.gradient(f, x), want)
        want = np.zeros(12)
        want[::2], want[1::2] = np.sin(x[1::2]), np.cos(x[1::2]) * x[::2]
        close(numbad.gradient(lambda x: np.sum(x[::2] * np.sin(x[1::2])), x), want)


def small_windows() -> None:
    """Windows of few elements."""
    x = sample(9)
    close(numbad.gradient(lambda x: np.sum((windows(x, WIDE) @ KERNEL) ** 2), x), of_windows("a product", x))
    push = lambda v: numbad.jvp(lambda x: windows(x, WIDE) @ KERNEL, (x,), (v,))[1]
    close(push(np.arange(9.0)), windows(np.arange(9.0), WIDE) @ KERNEL)


def of_windows(name: str, x: np.ndarray) -> np.ndarray:
    """Return the gradient of a function of windows."""
    return ways.from_windows(ways.OF_WINDOWS[name][1](windows(x, WIDE)), x.size)


def large_windows(name: str) -> Callable[[], None]:
    """Return a program of windows that are large."""

    def run() -> None:
        x = sample(LARGE // WIDE + WIDE)
        f = ways.OF_WINDOWS[name][0]
        close(numbad.gradient(lambda x: f(windows(x, WIDE)), x), of_windows(name, x))

    return run


def results(name: str) -> Callable[[], None]:
    """Return a jitted program that returns arrays, run twice."""

    def run() -> None:
        f = ways.RESULTS[name]
        fast = numbad.jit(f)
        for seed in range(2):
            close(fast(sample(N, seed)), f(sample(N, seed)), 1e-12)

    return run


def ends(name: str) -> Callable[[], None]:
    """Return a program whose result lies in a fused group."""

    def run() -> None:
        f, slope = ways.ENDS[name]
        close(numbad.value_and_gradient(f, sample(N)), (f(sample(N)), slope(sample(N))))
        close(numbad.gradient(f, sample(N)), slope(sample(N)))

    return run


def shares(e: Any) -> Any:
    """Return an array divided by its sum."""
    return e / np.sum(e)


def by_the_third(y: Any) -> Any:
    """Return the sum of an array times one of its elements."""
    return np.sum(y * y[3])


def chains() -> None:
    """A chain of large rows, a sum in the middle, a scalar and an element that vary; twice, in memory that is kept."""
    for seed in range(2):
        x = sample(N, seed)
        e = np.exp(x)
        s = e.sum()
        value, found = numbad.value_and_gradient(lambda x: np.sum(shares(np.exp(x)) ** 2), x)
        close(value, np.sum((e / s) ** 2))
        close(found, 2.0 * e**2 / s**2 - 2.0 * np.sum(e**2) * e / s**3, 1e-9)
        y = np.sin(x) * 2.0
        want = 2.0 * np.cos(x) * y[3]
        want[3] += 2.0 * np.cos(x[3]) * y.sum()
        close(numbad.gradient(lambda x: by_the_third(np.sin(x) * 2.0), x), want)
        want = x[5] * np.ones(N)
        want[5] += x.sum()
        close(numbad.gradient(lambda x: np.sum(x * x[5]), x), want)


def read_by(reader: Callable[[Any], Any], slope: Callable[[np.ndarray], np.ndarray]) -> Callable[[], None]:
    """Return a program where y = sin(x) * x is summed, and then read by a row of another kind."""

    def of_y(y: Any) -> Any:
        return np.sum(y * y) + reader(y)

    def run() -> None:
        for seed in range(2):
            x = sample(M, seed)
            y = np.sin(x) * x
            value, found = numbad.value_and_gradient(lambda x: of_y(np.sin(x) * x), x)
            close(value, of_y(y))
            close(found, (2.0 * y + slope(y)) * (np.cos(x) * x + np.sin(x)))

    return run


def at(places: Any, n: int) -> np.ndarray:
    """Return ones at some places, as often as they are named."""
    return np.bincount(np.arange(n)[places], minlength=n).astype(float)


def unlike_operands() -> None:
    """Large rows whose operands are not alike: contiguous, broadcast, strided, a number; in groups and one by one."""
    x = sample(M)
    pairs = x.reshape(-1, 2)
    want = np.zeros_like(pairs)
    want += pairs[:, :1]
    want[:, 0] += pairs.sum(axis=1)
    f = lambda x: np.sum(x.reshape(-1, 2)[:, :1] * x.reshape(-1, 2))
    close(numbad.gradient(f, x), want.reshape(-1))
    close(numbad.vjp(f, x)[1](1.0)[0], want.reshape(-1))
    want = np.zeros_like(pairs) + np.sin(pairs[:, 1:])
    want[:, 1] += np.cos(pairs[:, 1]) * pairs.sum(axis=1)
    f = lambda x: np.sum(x.reshape(-1, 2) * np.sin(x.reshape(-1, 2)[:, 1:]))
    close(numbad.gradient(f, x), want.reshape(-1))
    close(numbad.vjp(f, x)[1](1.0)[0], want.reshape(-1))
    x = x[: 2 * (N // 2)]
    f = lambda x: np.sum(x[2:] * np.sin(x[:-2]) - 3.0 * x[1:-1]) * 1.0
    want = np.zeros_like(x)
    want[2:] += np.sin(x[:-2])
    want[:-2] += x[2:] * np.cos(x[:-2])
    want[1:-1] -= 3.0
    close(numbad.gradient(f, x), want)


def overlapping_parts() -> None:
    """Parts of a matrix that overlap, and the matrix turned over."""
    x = sample(2 * LARGE // 8 * 8).reshape(-1, 8)
    f = lambda m: np.sum(m[1:, 1:] * m[:-1, :-1] - m[1:, :-1] * np.sin(m[:-1, 1:] * m[1:, 1:])) + np.sum(m[::-1] * m)
    s, c = np.sin(x[:-1, 1:] * x[1:, 1:]), x[1:, :-1] * np.cos(x[:-1, 1:] * x[1:, 1:])
    want = 2.0 * x[::-1]
    want[1:, 1:] += x[:-1, :-1] - c * x[:-1, 1:]
    want[:-1, :-1] += x[1:, 1:]
    want[1:, :-1] -= s
    want[:-1, 1:] -= c * x[1:, 1:]
    close(numbad.gradient(f, x), want)
    close(numbad.gradient(lambda m: np.sum(np.exp(m)), x), np.exp(x))
    side = int(LARGE**0.5) + 5
    x = sample((side + 1) ** 2).reshape(side + 1, -1)
    want = np.zeros_like(x)
    want[:-1, :-1] = 2.0 * x[:-1, :-1].T
    close(numbad.gradient(lambda m: np.sum(m[:-1, :-1] * m[:-1, :-1].T), x), want)


def sums_and_copies() -> None:
    """Large sums over axes and copies, twice, so that memory is used again."""
    for seed in range(2):
        x = sample(M, seed)
        pairs = x.reshape(-1, 2)
        value, found = numbad.value_and_gradient(lambda x: np.sum(x.reshape(-1, 2).sum(axis=0) ** 2), x)
        close(value, np.sum(pairs.sum(axis=0) ** 2))
        close(found, np.tile(2.0 * pairs.sum(axis=0), M // 2))
        fast = numbad.jit(lambda x: x.reshape(-1, 2).sum(axis=1) * 2.0)
        for factor in (1.0, 3.0):
            close(fast(factor * x), 2.0 * factor * pairs.sum(axis=1))


def products() -> None:
    """Large products: with a vector from either side, of matrices, with axes that only one operand has."""
    matrix, v = sample(SIDE * SIDE).reshape(SIDE, SIDE), sample(SIDE, 1)
    for table in (matrix, matrix.T):
        value, found = numbad.value_and_gradient(lambda v, table=table: np.sum((table @ v) ** 2), v)
        close(value, np.sum((table @ v) ** 2))
        close(found, 2.0 * table.T @ (table @ v))
    found = numbad.gradient(lambda m, v: np.sum((m @ v) ** 2), matrix, v)
    close(found, (2.0 * np.outer(matrix @ v, v), 2.0 * matrix.T @ (matrix @ v)))
    close(numbad.gradient(lambda m: np.sum((m @ m) * matrix), matrix), matrix @ matrix.T + matrix.T @ matrix)
    close(numbad.gradient(lambda v: np.einsum("i,jk->", v * v, matrix), v), 2.0 * v * matrix.sum())
    close(numbad.jvp(lambda m: m @ v, (matrix,), (2.0 * matrix,))[1], 2.0 * matrix @ v)
    close(numbad.jvp(lambda m: v @ m, (matrix,), (2.0 * matrix,))[1], 2.0 * v @ matrix)
    fast = numbad.jit(lambda v: np.tanh(matrix @ np.sin(v)))
    for factor in (1.0, 0.001):
        close(fast(factor * v), np.tanh(matrix @ np.sin(factor * v)))


def replayed_products() -> None:
    """Replays of a short tape with large products."""
    matrix = sample(SIDE * SIDE).reshape(SIDE, SIDE) / SIDE
    fast = numbad.jit(numbad.value_and_grad(lambda v: np.sum((matrix @ np.tanh(matrix @ v)) ** 2)))
    for seed in range(3):
        v = sample(SIDE, seed)
        t = np.tanh(matrix @ v)
        close(fast(v), (np.sum((matrix @ t) ** 2), matrix.T @ ((2.0 * matrix.T @ (matrix @ t)) * (1.0 - t**2))))


def replayed_arrays() -> None:
    """Replays of a short tape with arrays, constant ones too."""
    weights = np.arange(1.0, 6.0)
    fast = numbad.jit(numbad.value_and_grad(lambda x, y: np.sum(np.sin(x) * weights) * y))
    for seed in range(3):
        x, y = sample(5, seed), 1.5 + seed
        close(fast(x, y)[0], np.sum(np.sin(x) * weights) * y)
        close(fast(x, y)[1], np.cos(x) * weights * y)
    close(numbad.gradient(lambda x: np.sum(np.sin(x) * weights), sample(5)), np.cos(sample(5)) * weights)
    strided = numbad.jit(lambda x: (np.sin(x) * 2.0)[::2])
    for seed in range(2):
        close(strided(sample(5, seed)), 2.0 * np.sin(sample(5, seed))[::2])
    once = numbad.jit(lambda x: np.stack([np.sin(x), np.cos(x), x])[:, ::2])
    for seed in range(2):
        close(
            once(sample(5, seed)), np.stack([np.sin(sample(5, seed)), np.cos(sample(5, seed)), sample(5, seed)])[:, ::2]
        )


def replayed_derivatives() -> None:
    """Replays of derivatives, of whose rows some never change and some are never read."""
    x = sample(70)
    fast = numbad.jit(numbad.jacfwd(lambda x: np.sin(x[:3]) * np.sum(x * x)))
    for seed in range(3):
        x = sample(70, seed)
        want = 2.0 * np.outer(np.sin(x[:3]), x)
        want[np.arange(3), np.arange(3)] += np.cos(x[:3]) * np.sum(x * x)
        close(fast(x), want)
    linear = numbad.jit(lambda x, y: numbad.jacfwd(lambda x: np.sum(x) * ways.KERNEL * y)(x))
    for y in (1.0, 2.0):
        close(linear(x, y), np.outer(KERNEL * y, np.ones(70)))


def replayed_results() -> None:
    """Results of a long tape of numbers that lie side by side: inputs, and rows that move behind the constants."""

    def f(x: Any) -> Any:
        first = y = x[0] * x[1]
        for k in range(60):
            y = np.sin(y * (k + 1.5)) + x[1]
        return np.stack([x[0], x[1], first, y, y * x[0]])

    fast = numbad.jit(f)
    for x in (sample(2), sample(2, 1)):
        close(fast(x), f(x))


def replayed_numbers() -> None:
    """Replays of a tape of numbers, long enough for its passes, on two paths that part late."""

    def f(x: Any, y: Any) -> Any:
        total = 0.0
        for k in range(40):
            total = total + np.sin(x * (k + 1.0)) * y + 3.0 * (y - 1.0)
        return total * 2.0 if total > 0.0 else np.exp(x) * total - y

    fast = numbad.jit(numbad.value_and_grad(f, (0, 1)))
    k = np.arange(1.0, 41.0)
    for x, y in ((0.3, 2.5), (0.4, -0.5), (0.7, 0.25), (-0.3, -1.5), (0.1, 2.0), (0.2, 0.5)):
        total = np.sum(np.sin(x * k)) * y + 120.0 * (y - 1.0)
        by_x, by_y = np.sum(np.cos(x * k) * k) * y, np.sum(np.sin(x * k)) + 120.0
        if total > 0.0:
            close(fast(x, y), (2.0 * total, (2.0 * by_x, 2.0 * by_y)))
        else:
            e = np.exp(x)
            close(fast(x, y), (e * total - y, (e * (total + by_x), e * by_y - 1.0)))


def replayed_chains() -> None:
    """Replays of a tape of numbers that has no guards."""

    def f(x: Any) -> Any:
        y = x
        for k in range(40):
            y = np.sin(y * (k + 1.0)) + x
        return y * x

    fast = numbad.jit(numbad.value_and_grad(f))
    for x in (0.3, -1.25):
        y, slope = x, 1.0
        for k in range(1, 41):
            y, slope = np.sin(y * k) + x, np.cos(y * k) * k * slope + 1.0
        close(fast(x), (y * x, slope * x + y), 1e-9)


def compiled(f: Any, *points: Any) -> Any:
    """Return a function's value and gradient, replayed by machine code of its own."""
    fast = numbad.jit(numbad.value_and_grad(f))
    fast(*points)
    assert promote(fast) is not None
    return fast


def compiled_loops() -> None:
    """Loops that hand on, keep and walk: what stays is read in all iterations, and the last result after them."""

    def f(x: Any) -> Any:
        y, start = x[0] * x[3], None
        for k in range(40):
            y = 0.9 * y + x[k] * x[1]
            start = y if start is None else start
            y = y + start * x[39 - k]
        return y * y

    fast = compiled(f, sample(40))
    for seed in range(1, 3):
        x = sample(40, seed)
        states, y, start = [], x[0] * x[3], 0.0
        for k in range(40):
            before = y
            middle = 0.9 * y + x[k] * x[1]
            start = middle if k == 0 else start
            y = middle + start * x[39 - k]
            states.append((before, middle))
        want, bar, start_bar = np.zeros(40), 2.0 * y, 0.0
        for k in range(39, -1, -1):
            start_bar += x[39 - k] * bar
            want[39 - k] += start * bar
            bar += start_bar if k == 0 else 0.0
            want[k] += x[1] * bar
            want[1] += x[k] * bar
            bar = 0.9 * bar
        want[0] += bar * x[3]
        want[3] += bar * x[0]
        close(fast(x), (y * y, want), 1e-11)


def grouped(f: Any, *points: Any, argnums: Any = 0) -> Any:
    """Return a function's value and gradient, replayed by machine code of its groups."""
    fast = numbad.jit(numbad.value_and_grad(f, argnums=argnums))
    fast(*points)
    group(fast)
    return fast


def grouped_lanes() -> None:
    """Sixty steps over 70 lanes, with a number that all share, and one that only reads what was computed."""
    few, steps = 0.5**60, 60

    def f(x: Any) -> Any:
        y, u = x[0], x[1]
        for _ in range(steps):
            y, u = 0.5 * y + x[1] * x[2, 0], u * x[3]
        return np.sum(y * y) + np.sum(u)

    fast = grouped(f, 1.0 + 0.01 * sample(280).reshape(4, 70))
    for seed in range(1, 3):
        x = 1.0 + 0.01 * sample(280, seed).reshape(4, 70)
        y = few * x[0] + 2.0 * (1.0 - few) * x[1] * x[2, 0]
        want = np.zeros((4, 70))
        want[0], want[1] = 2.0 * few * y, 4.0 * (1.0 - few) * x[2, 0] * y + x[3] ** steps
        want[2, 0] = np.sum(4.0 * (1.0 - few) * x[1] * y)
        want[3] = steps * x[1] * x[3] ** (steps - 1)
        value, slopes = fast(x)
        close(np.array([value]), np.array([np.sum(y * y) + np.sum(x[1] * x[3] ** steps)]))
        close(slopes, want)


def mapped_lanes() -> None:
    """vmap of a jitted function with two branches, by machine code, also where a derivative is infinite."""
    f = lambda x: np.sqrt(x) * x if x > 1.0 else np.where(x > 0.0, np.sqrt(x), 0.0) + 3.0 * x * x
    fast, x = numbad.jit(numbad.grad(f)), np.array([0.1, 0.0, *np.linspace(0.2, 4.0, 70)])
    with np.errstate(all="ignore"):
        numbad.vmap(fast)(x)
        for paths in fast.point_tapes.values():
            for path in paths:
                path.machine = path.promotion.make()
        want = np.where(x > 1.0, 1.5 * np.sqrt(x), 6.0 * x + np.where(x > 0.0, 0.5 / np.sqrt(x), 0.0))
        np.testing.assert_allclose(numbad.vmap(fast)(x), want, rtol=1e-12)


def grouped_rows() -> None:
    """Chains, sums over axes, rows that repeat, results that are read twice, at three points in turn."""

    def f(x: Any) -> Any:
        y = np.exp(x) * x[0]
        return np.sum(y * y) + np.sum(y.sum(axis=0) * y.sum(axis=0)) + np.sum(y[::-1, ::-1] * y) + 3.0 * y[1, 3]

    fast = grouped(f, sample(60).reshape(2, 30))
    for seed in range(1, 4):
        x = sample(60, seed).reshape(2, 30)
        e = np.exp(x)
        y = e * x[0]
        bar = 2.0 * y + 2.0 * y.sum(axis=0) + 2.0 * y[::-1, ::-1]
        bar[1, 3] += 3.0
        want = bar * y
        want[0] += (bar * e).sum(axis=0)
        close(
            fast(x),
            ((y**2).sum() + (y.sum(axis=0) ** 2).sum() + (y[::-1, ::-1] * y).sum() + 3.0 * y[1, 3], want),
            1e-11,
        )


def grouped_neighbours() -> None:
    """Operands that share addresses, in-place updates, and lists of places, regular and not."""
    places, runs = np.random.default_rng(4).integers(0, 300, 700), np.r_[40:81, 10:50]
    weights = np.linspace(1.0, 2.0, 81)

    def f(x: Any) -> Any:
        y = x * 1.0
        y[1:-1] += 0.5 * (x[2:] * x[:-2])
        return np.sum(y[1:] * y[:-1]) + np.sum(np.sin(y[places])) + np.sum(y[::-1] * x) + np.sum(y[runs] ** 2 * weights)

    fast = grouped(f, sample(300))
    for seed in range(1, 3):
        x = sample(300, seed)
        y = x.copy()
        y[1:-1] += 0.5 * x[2:] * x[:-2]
        bar = np.zeros(300)
        bar[1:] += y[:-1]
        bar[:-1] += y[1:]
        np.add.at(bar, places, np.cos(y[places]))
        np.add.at(bar, runs, 2.0 * y[runs] * weights)
        bar += x[::-1]
        want = bar + y[::-1]
        want[2:] += 0.5 * x[:-2] * bar[1:-1]
        want[:-2] += 0.5 * x[2:] * bar[1:-1]
        value = (y[1:] * y[:-1]).sum() + np.sin(y[places]).sum() + y[::-1] @ x + (y[runs] ** 2 * weights).sum()
        close(fast(x), (value, want), 1e-11)


def grouped_slopes() -> None:
    """Slopes that take long, by operands that share addresses."""
    f = lambda x: np.sum(np.sin(x[1:] * x[:-1]) * x[3])
    fast = grouped(f, sample(70))
    for seed in range(1, 3):
        x = sample(70, seed)
        product, want = x[1:] * x[:-1], np.zeros(70)
        bar = np.cos(product) * x[3]
        want[1:] += bar * x[:-1]
        want[:-1] += bar * x[1:]
        want[3] += np.sin(product).sum()
        close(fast(x), (np.sin(product).sum() * x[3], want), 1e-11)


def grouped_products() -> None:
    """Products of matrices by loops, by compiled blocks and by NumPy; and a long sum."""
    a, b, n = sample(9).reshape(3, 3), sample(400, 1).reshape(20, 20), limits.STRETCH + 5

    def f(x: Any) -> Any:
        return np.sum((x[:9].reshape(3, 3) @ a) ** 2) + np.sum((x[:400].reshape(20, 20) @ b) ** 2) + np.sum(x * x)

    size = max(400, n)
    fast = grouped(f, sample(size))
    for seed in range(1, 3):
        x = sample(size, seed)
        one, other, want = x[:9].reshape(3, 3) @ a, x[:400].reshape(20, 20) @ b, 2.0 * x
        want[:9] += (2.0 * one @ a.T).reshape(-1)
        want[:400] += (2.0 * other @ b.T).reshape(-1)
        close(fast(x), ((one**2).sum() + (other**2).sum() + x @ x, want), 1e-11)


def grouped_labels() -> None:
    """Elements of a result that are other ones at each call, and a value beside which the gradient is not finite."""

    def f(x: Any, labels: Any) -> Any:
        z = x * x
        return np.sum(z[np.arange(20), labels] ** 2) + np.sum(np.where(x > 0.0, np.sqrt(np.abs(x)), 0.0))

    rows = np.arange(20)
    fast = grouped(f, sample(100).reshape(20, 5), rows % 5)
    for seed in range(1, 3):
        x, labels = sample(100, seed).reshape(20, 5), np.random.default_rng(seed).integers(0, 5, 20)
        x[seed, 2] *= seed - 1.0
        want = np.where(x > 0.0, 0.5 / np.sqrt(np.where(x > 0.0, x, 1.0)), 0.0)
        want[rows, labels] += 4.0 * x[rows, labels] ** 3
        close(fast(x, labels), ((x[rows, labels] ** 4).sum() + np.sqrt(x).sum(), want), 1e-11)


def compiled_sums() -> None:
    """Sums whose terms have cotangents that never change, and a sum of many elements."""

    def f(x: Any) -> Any:
        total = 0.0
        for k in range(40):
            total = total + 3.0 * np.sin(x[k] * x[k])
        return total + np.sum(x * x)

    fast = compiled(f, sample(300))
    x = sample(300, 1)
    want = 2.0 * x
    want[:40] += 6.0 * x[:40] * np.cos(x[:40] ** 2)
    close(fast(x), (3.0 * np.sin(x[:40] ** 2).sum() + x @ x, want))


def compiled_matrices() -> None:
    """Determinants and inverses of matrices whose rows change places."""

    weights = np.array([[1.0, 2.0], [3.0, 5.0]])

    def f(a: Any) -> Any:
        return np.linalg.det(a) + np.sum(np.linalg.inv(a) * weights) + sum(a[0, 0] * k for k in range(4))

    fast = compiled(f, np.array([[0.1, 2.0], [3.0, 4.0]]))
    for a in (np.array([[0.1, 2.0], [3.0, 4.0]]), np.array([[5.0, 2.0], [3.0, 4.0]])):
        det, adjugate = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0], np.array([[a[1, 1], -a[0, 1]], [-a[1, 0], a[0, 0]]])
        inverse = adjugate / det
        want = adjugate.T - inverse.T @ weights @ inverse.T
        want[0, 0] += 6.0
        close(fast(a), (det + np.sum(inverse * weights) + 6.0 * a[0, 0], want))


def compiled_walks() -> None:
    """Loops that read what others have stored, in both directions, and inputs side by side."""

    def f(x: Any) -> Any:
        kept = [x[0]]
        for i in range(40):
            kept.append(0.9 * np.sin(kept[-1]) + x[i])
        total = 0.0
        for i in range(41):
            total = total + kept[i] / (2.0 + kept[40 - i]) * x[i]
        for i in range(20):
            total = total * x[3] + kept[2 * i] * np.cos(kept[i])
        for i in range(58):
            total = total + (x[i + 1] - x[i]) ** 2 * x[i + 2]
        for i in range(58):
            total = total + np.sin(x[i]) * x[59 - i] * x[i + 1]
        return total

    def both(x: Any) -> Any:
        """Two results of each iteration, which the next loop goes through one by one."""
        kept, total = [x[1]], x[0]
        for i in range(40):
            kept.append(np.sin(kept[-1]) * x[i])
            kept.append(np.cos(kept[-1]) * x[i])
        for i in range(60):
            total = total * 0.99 + kept[i + 5] * x[i]
        return total

    for g in (f, both):
        fast = compiled(g, sample(60))
        for seed in (1, 2):
            x = sample(60, seed)
            close(fast(x), (g(x), complex_step(g, x)), 1e-11)


def complex_step(f: Any, x: np.ndarray) -> np.ndarray:
    """Return the gradient of an analytic function: Squire and Trapp (1998), *SIAM Review* 40(1)."""
    return np.array([np.imag(f(x + 1e-30j * unit)) / 1e-30 for unit in np.eye(x.size)])


def compiled_copies() -> None:
    """A loop over small arrays that reads ever older results; and one whose cotangents meet now and then."""

    def aging(x: Any) -> Any:
        found = [x[:2], x[2:4]]
        for k in range(240):
            found.append(found[-2] + 0.1 * x[4] * np.cos(found[max(-1 - k // 40, -len(found))]))
        return found[-1] @ found[-2]

    fast = compiled(aging, sample(5))
    x = sample(5, 1)
    close(fast(x), (aging(x), complex_step(aging, x)), 1e-11)

    def met(x: Any) -> Any:
        copy, total = x * 1.0, 0.0
        for k in range(60):
            total = total + np.sin(x[:3]) @ copy[k // 20 * 3 : k // 20 * 3 + 3]
        return total

    tape = numbad.record(numbad.jacfwd(numbad.grad(met)), sample(200))
    copied, _ = taking_apart.take_apart(tape, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taking_apart, "find_repetitions", lambda tape: [])
        np.testing.assert_array_equal(copied.code, taking_apart.take_apart(tape, [])[0].code)


def branches_of_numbers() -> None:
    """A long tape of numbers that asks for a value, with a branch that is not taken and whose slope is infinite."""

    def f(x: Any) -> Any:
        total = 1.0 if x[1] > 1.0 else 0.0
        for k in range(400):
            total = total + numbad.where(x[0] > 0.0, np.sqrt(x[0]), 3.0 * x[1]) * (k + 1.0)
        return total

    close(numbad.gradient(f, np.zeros(2)), [0.0, 3.0 * 200.0 * 401.0])


def numbers() -> None:
    """Numbers beside constant arrays."""
    ways.check_numbers_beside_constant_arrays("a polynomial")


def many_points() -> None:
    """Tapes at many points, in several chunks."""
    tape = numbad.record(lambda x, a: np.sum(np.sin(x) * a * KERNEL[:3]) + np.sum(x[::-1]) ** 2, sample(3), sample(3))
    x, a = np.random.default_rng(1).standard_normal((2, 150, 3))
    want = np.cos(x) * a * KERNEL[:3] + 2.0 * x.sum(axis=1, keepdims=True)
    close(tape.gradient_map(x, a), (want, np.sin(x) * KERNEL[:3]))
    close(tape.map(x, a), np.sum(np.sin(x) * a * KERNEL[:3], axis=1) + x.sum(axis=1) ** 2)
    columns = np.asfortranarray(sample(LARGE_INPUT + 3).reshape(-1, LARGE_INPUT + 3).T * np.ones(2))
    weights = np.array([1.0, 3.0])
    tape = numbad.record(lambda x: np.sum(x * weights) + np.sum(np.sin(x[0])), columns)
    many = np.random.default_rng(3).standard_normal((3, *columns.shape))
    want = np.broadcast_to(weights, many.shape).copy()
    want[:, 0] += np.cos(many[:, 0])
    close(tape.gradient_map(many), want)


def many_seeds() -> None:
    """Jacobians by lanes: elementwise chains, gathers, assignment, sums, products, host rows."""
    x = sample(5)

    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        y[1:] = x[:-1] * 2.0
        y[0] = x[3] ** 2
        y[[0, 2]] += x[[1, 1]]
        return np.concatenate([y, np.sin(x)[[4, 0, 0]] * 3.0, np.stack([np.sum(x * x), x[0] * x[1]]), np.sin(x) * x])

    want = np.zeros((15, 5))
    want[[1, 2, 3, 4], [0, 1, 2, 3]] = 2.0
    want[0, 3] = 2.0 * x[3]
    want[[0, 2], 1] += 1.0
    want[[5, 6, 7], [4, 0, 0]] = 3.0 * np.cos(x[[4, 0, 0]])
    want[8], want[9, :2] = 2.0 * x, x[1::-1]
    want[10:] = np.diag(np.cos(x) * x + np.sin(x))
    for _ in range(2):
        close(numbad.jacfwd(f)(x), want)
        close(numbad.jacrev(f)(x), want)
    product = lambda x: np.tanh(MATRIX @ np.sin(x)) @ MATRIX
    inner = MATRIX.T @ ((1.0 - np.tanh(MATRIX @ np.sin(x)) ** 2)[:, None] * MATRIX * np.cos(x))
    close(numbad.jacfwd(product)(x), inner)
    close(numbad.jacrev(product)(x), inner)


def solved(x: Any) -> Any:
    """Return the solution of a system, which is a row for Python."""
    return np.linalg.solve(np.eye(5) * 4.0 + MATRIX[:5], x * x)


def many_seeds_one_by_one() -> None:
    """Jacobians through a row of a Python kernel that takes no stacks, and so each seed for itself."""
    a, b = np.diag([2.0, 3.0]), np.eye(2)
    q = sample(4).reshape(2, 2)
    weights = np.add.outer(np.diag(a), np.diag(b))
    found = numbad.jacrev(lambda q: scipy.linalg.solve_sylvester(a, b, q).reshape(-1)[[0, 1, 2, 3, 0]])(q)
    want = np.diag(1.0 / weights.reshape(-1))
    close(found.reshape(5, 4), want[[0, 1, 2, 3, 0]])


def many_seeds_through_hosts() -> None:
    """Jacobians by lanes through a row of Python's."""
    x = sample(5)
    want = np.linalg.inv(np.eye(5) * 4.0 + MATRIX[:5]) * (2.0 * x)
    close(numbad.jacfwd(solved)(x), want)
    close(numbad.jacrev(solved)(x), want)


def hosts() -> None:
    """A gradient through a row of Python's with several results, of which one is used."""
    x = sample(5)
    u, _, vh = np.linalg.svd(np.diag(x) + MATRIX[:5])
    close(numbad.gradient(lambda x: np.sum(np.linalg.svd(np.diag(x) + MATRIX[:5])[1]), x), np.diag(u @ vh))
    close(
        numbad.gradient(lambda x: np.linalg.slogdet(np.diag(x) + 4.0 * np.eye(5) + MATRIX[:5])[1], x),
        np.diag(np.linalg.inv(np.diag(x) + 4.0 * np.eye(5) + MATRIX[:5])),
    )


def blocks_of_lanes() -> None:
    """Jacobians whose lanes go in several blocks."""
    x = sample(40)
    want = np.diag(np.cos(x)) * 3.0 + np.outer(np.ones(40), 2.0 * x)
    f = lambda x: np.sin(x) * 3.0 + np.sum(x * x)
    close(numbad.jacfwd(f)(x), want)
    close(numbad.jacrev(f)(x), want)
    matrix = sample(1600).reshape(40, 40)
    close(numbad.jacfwd(lambda x: matrix @ (3.0 * x))(x), 3.0 * matrix)
    table = np.asfortranarray(sample(8 * (LARGE_INPUT // 8 + 2)).reshape(-1, 8))
    want = np.zeros((8, *table.shape))
    k = np.arange(8)
    want[k, :, k] = 1.0
    want[k, 0, k] += table[1]
    want[k, 1, k] += table[0]
    close(numbad.jacrev(lambda t: t.sum(axis=0) + t[0] * t[1])(table), want)


def joined() -> None:
    """Jacobians of long joined arrays."""
    ways.check_jacobians_of_arrays_that_were_joined(RELABEL // 2 + 1)


def steep() -> None:
    """A chain whose product of partials overflows, though no lane does."""
    _, pullback = numbad.vjp(lambda x: (x * 1e200) * 1e200, np.array([1e-300, 1e-300]))
    close(numbad.vmap(pullback)(np.eye(2) * 1e-300)[0], np.eye(2) * 1e100)


def joined_groups() -> None:
    """A fused group whose operand lies in the middle of the arena."""
    x = sample(N)
    value, found = numbad.value_and_gradient(lambda x: np.sum(np.sin(np.concatenate([x, x * 2.0])[N:])), x)
    close(value, np.sum(np.sin(2.0 * x)))
    close(found, 2.0 * np.cos(2.0 * x))


def touching() -> None:
    """Contiguous operands of one space that touch, many times over: their cotangents are added by several threads."""
    ways.check_neighbours_at_the_ends_of_pieces()


def sum_of_copies() -> None:
    """A large sum of values that no group has."""
    x = sample(N)
    close(numbad.jit(lambda x: np.sum(np.concatenate([x, x[:3]])))(x), x.sum() + x[:3].sum())


def wide_windows() -> None:
    """Windows that are wider than the steps between them."""
    x = sample(LARGE + 20)
    f = lambda x: np.sum(windows(x, 8)[::2].copy() ** 2)
    want = np.zeros(x.size)
    np.add.at(want, windows(np.arange(x.size), 8)[::2], 2.0 * windows(x, 8)[::2])
    close(numbad.gradient(f, x), want)


def repetitions() -> None:
    """A product over an axis that none of its operands moves along."""
    target, one, other = np.zeros(3), sample(3), sample(3, 1)
    spread = lambda values: np.lib.stride_tricks.as_strided(values, (3, 4), (8, 0))
    multiply_add(spread(target), spread(one), spread(other))
    close(target, 4.0 * one * other)


def computed_by_scipy() -> None:
    """A large row, and one of windows, of an op that SciPy computes."""
    x = sample(LARGE // WIDE + WIDE) - 1.0
    slope = lambda x: 0.5 * np.sqrt(np.pi) * np.exp(scipy.special.erfinv(x) ** 2)
    close(numbad.gradient(lambda x: np.sum(scipy.special.erfinv(x)), x), slope(x))
    found = numbad.gradient(lambda x: np.sum(scipy.special.erfinv(windows(x, WIDE))), x)
    close(found, ways.from_windows(slope(windows(x, WIDE)), x.size))


def long_gathers() -> None:
    """Jacobians through long lists of places."""
    a = sample(RELABEL + 9)
    places = np.random.default_rng(4).permutation(a.size)
    some = [0, 5, a.size - 1]
    p = np.array([0.5, 2.0])
    f = lambda p: (lambda y: (np.sin(y)[places] ** 2)[some])(p[0] * a + p[1])
    y = p[0] * a + p[1]
    by = np.stack([a, np.ones(a.size)], axis=1)
    want = (2.0 * (np.sin(y) * np.cos(y))[:, None] * by)[places]
    close(numbad.jacrev(f)(p), want[some])
    close(numbad.jacfwd(f)(p), want[some])


def optimised() -> None:
    """A tape without its rows of constants."""
    tape = numbad.record(lambda x: np.sum(np.sin(x) * x[0]) + x[1] * x[2], sample(5))
    shorter = numbad.passes.optimise(tape)
    for seed in range(2):
        x = sample(5, seed)
        close(shorter(x), np.sum(np.sin(x) * x[0]) + x[1] * x[2])


def two_copies() -> None:
    """Jacobians of two long arrays, end to end."""
    a = sample(RELABEL)
    want = np.zeros((2 * RELABEL, 2))
    want[:RELABEL, 0] = want[RELABEL:, 1] = a
    close(numbad.jacfwd(lambda p: np.concatenate([p[0] * a, p[1] * a]))(np.array([2.0, 3.0])), want)


def points_backwards() -> None:
    """A tape of a reversed array at many points."""
    tape = numbad.record(lambda x: np.sum(x[::-1] * x[:4] * KERNEL), sample(4))
    x = np.random.default_rng(1).standard_normal((70, 4))
    close(tape.gradient_map(x), x[:, ::-1] * (KERNEL + KERNEL[::-1]))


def constants_first() -> None:
    """Jacobians of blocks that begin with constants."""
    a = sample(RELABEL)
    f = lambda p: np.concatenate([a, p[0] * a, p[1] * p[0] * a])
    p = np.array([2.0, 3.0])
    want = np.zeros((3 * RELABEL, 2))
    want[RELABEL : 2 * RELABEL, 0] = a
    want[2 * RELABEL :] = a[:, None] * p[::-1]
    close(numbad.jacfwd(f)(p), want)


def cleared_lanes() -> None:
    """Memory of lanes that is cleared by all threads."""
    memory = np.ones(limits.PARALLEL_WORTH + 5)
    linearised.clear(memory)
    close(memory, np.zeros(memory.size))


def small_products() -> None:
    """Tangents through small products."""
    a, b = sample(6).reshape(2, 3), sample(12).reshape(3, 4)
    close(numbad.jvp(lambda a, b: a @ b, (a, b), (2.0 * a, 3.0 * b))[1], 5.0 * a @ b)


# ---------------------------------------------------------------- damage


class Damage(NamedTuple):
    """One piece of text that is replaced, and the program that has to notice."""

    place: str  # module.function or module.Class.method; "plain" before it where it is compiled
    old: str
    new: str
    program: Callable[[], None]


def rebuilt(function: Any, old: str, new: str) -> Any:
    """Return a function made anew from its text, with one piece replaced."""
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(old) == 1, f"{text.count(old)} times {old!r}"
    code = compile(text.replace(old, new), "damaged", "exec", flags=__future__.annotations.compiler_flag)
    names = dict(vars(sys.modules[function.__module__]))
    exec(code, names)
    found = names[function.__name__]
    return found.__func__ if isinstance(found, classmethod | staticmethod) else found


def spread_out(monkeypatch: pytest.MonkeyPatch, name: str, original: Any, new: Any) -> None:
    """Put a new function in the place of another wherever it was imported to."""
    parts = [m for key, m in sys.modules.items() if key.split(".")[0] == "numbad" or key in ("shared.ways", __name__)]
    for module in [m for m in parts if isinstance(m, ModuleType)]:
        if vars(module).get(name) is original:
            monkeypatch.setattr(module, name, new)


def damage(monkeypatch: pytest.MonkeyPatch, place: str, old: str, new: str) -> None:
    """Damage a Python function or method."""
    path, name = place.rsplit(".", 1)
    owner: Any = pkgutil.resolve_name(f"numbad.{path}")
    raw = inspect.getattr_static(owner, name)
    original = getattr(owner, name)
    found = rebuilt(inspect.unwrap(getattr(original, "__func__", original)), old, new)
    if isinstance(owner, ModuleType):
        spread_out(monkeypatch, name, original, found)
    else:
        monkeypatch.setattr(owner, name, type(raw)(found) if isinstance(raw, classmethod | staticmethod) else found)


# ---------------------------------------------------------------- compiled modules as plain Python

ROOM = np.empty(1 << 10)
ARRAYS = "kernels.array"
DEPENDENCE = "kernels.dependence"
TABLES = "kernels.tables"
FUSED = "kernels.fused"


def view(address: Any, count: Any, like: Any) -> np.ndarray:
    """Return memory as an array; lengths that are not known are cut."""
    dtype = np.asarray(like).dtype
    size = min(int(count), 1 << 40) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(int(address)), dtype)


def pointer_of(values: np.ndarray) -> np.uint64:
    """Return where an array begins."""
    return np.uint64(values.__array_interface__["data"][0])


def call_at(address: Any, like: Any, arguments: tuple[Any, ...]) -> int:
    """Call machine code."""
    kinds = [ctypes.c_double if np.asarray(like).itemsize == 8 else ctypes.c_float] + [ctypes.c_int64] * len(arguments)
    call = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(int(address))
    return call(float(like), *[np.int64(np.uint64(a) if isinstance(a, np.uint64) else a) for a in arguments])


def plain(module_name: str, old: str = "", new: str = "") -> dict[str, Any]:
    """Return what a module of compiled functions defines, as plain Python, with one piece of text replaced."""
    module = importlib.import_module(f"numbad.{module_name}")
    text = inspect.getsource(module)
    if old:
        assert text.count(old) == 1, f"{text.count(old)} times {old!r}"
        text = text.replace(old, new)
    text = re.sub(r"^@(njit|compiled|inlined)\b.*\n", "", text, flags=re.MULTILINE)
    names: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(text, module_name, "exec", flags=__future__.annotations.compiler_flag), names)
    stand_ins = {"view": view, "pointer_of": pointer_of, "call_at": call_at}
    stand_ins |= {"room": lambda count, like: pointer_of(ROOM), "rows_of": lambda flat, width: cut(flat, width)}
    stand_ins |= {"absent": lambda x: x == 0.0 and np.signbit(x), "select": lambda flag, x, y: x if flag else y}
    stand_ins |= {k: v for k, v in PLAIN.items() if k in names and module_name not in (ARRAYS, TABLES)}
    names.update({name: new for name, new in stand_ins.items() if name in names})
    names |= {"fill": fill, "operand_kinds": operand_kinds}
    return names


def fill(place: np.ndarray, coefficient: np.ndarray, first: int, count: int) -> bool:
    """Give the addresses of a block that have no place that of the first input: wrong, but inside of memory."""
    block = slice(first, first + count)
    none = place[block] < 0
    place[block][none], coefficient[block][none] = 0, 1.0
    return True


def cut(flat: np.ndarray, width: int) -> np.ndarray:
    """Return a flat array as rows."""
    return flat[: flat.size // width * width].reshape(-1, width)


PLAIN: dict[str, Any] = {}
for _module in (TABLES, ARRAYS):
    _functions = [v for v in plain(_module).values() if inspect.isfunction(v) and v.__module__ == f"numbad.{_module}"]
    PLAIN |= {function.__name__: function for function in _functions}


def damage_compiled(monkeypatch: pytest.MonkeyPatch, place: str, old: str, new: str) -> None:
    """Let a compiled function, the sweeps of array rows, or what finds dependence run as plain Python with a damage."""
    module_name = place.rpartition(".")[0]
    names = plain(module_name, old, new)
    if module_name == ARRAYS:
        monkeypatch.setattr(short, "is_short", lambda recorder: False)
        monkeypatch.setattr(execution, "sweep", lambda kind, dtype, short=False: by_addresses(names, kind, dtype))
        return
    whole, entries = calls.sweep, [kind for kind in switches.INTEGERS if kind in names]
    by_name = lambda kind, *rest: by_addresses(names, kind, rest[0]) if kind in entries else whole(kind, *rest)
    monkeypatch.setattr(calls, "sweep", by_name)
    monkeypatch.setattr(parallel, "count_threads", lambda: 1)


def by_addresses(names: dict[str, Any], kind: str, dtype: np.dtype) -> Callable[..., Any]:
    """Return a sweep in plain Python."""

    def call(_: float, *arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return int(names[kind](dtype.type(0), *arguments))

    return call


# ---------------------------------------------------------------- the tables

PYTHON = {
    # fused groups
    "of a result the ends alone are looked at": Damage(
        "sweeps.fusion.mark_virtual",
        "addresses = np.asarray(addresses, np.int64).reshape(-1)",
        "addresses = np.array([np.min(addresses), np.max(addresses)])",
        results("elements of three arrays"),
    ),
    "results are not in memory": Damage(
        "sweeps.fusion.mark_virtual", "for value in wanted:", "for value in ():", results("every other element")
    ),
    "the result of a gradient has no memory": Damage(
        "recording.recorder.Recorder.ends_in_sum",
        "self.code[-4] == ADD",
        "self.code[-4] > 0",
        ends("the first element"),
    ),
    "a scalar of its own group is read too early": Damage(
        "sweeps.fusion.Group.accepts",
        "if any(start <= high and low < start + self.count for start in self.outputs):",
        "if False:",
        chains,
    ),
    "a sum of its own group is read too early": Damage(
        "sweeps.fusion.Group.accepts", "for a in self.sums", "for a in ()", chains
    ),
    "cotangents of a fused output are forgotten": Damage(
        "sweeps.fusion.Group.table",
        "memory(False, 0, out), memory(True, 0, out)",
        "memory(False, 0, out), 0",
        read_by(lambda y: y[::7].sum(), lambda y: at(slice(None, None, 7), M)),
    ),
    "cotangents of a fused operand are forgotten": Damage(
        "sweeps.fusion.Group.table",
        "memory(False, *place[1:]), memory(True, *place[1:])",
        "memory(False, *place[1:]), 0",
        chains,
    ),
    "a fused operand is the one before it": Damage(
        "sweeps.fusion.Group.table",
        "memory(False, *place[1:]),",
        "memory(False, place[1], place[2] and place[2] - 1),",
        joined_groups,
    ),
    "a fetched operand is that of another place": Damage(
        "sweeps.fusion.Group.fetch", "key = (space, address, *steps,", "key = (space, *steps,", overlapping_parts
    ),
    "a fetched operand steps as another": Damage(
        "sweeps.fusion.Group.fetch", "key = (space, address, *steps,", "key = (space, address,", overlapping_parts
    ),
    "cotangents of fetched operands are forgotten": Damage(
        "sweeps.fusion.Group.plan_back", "wanted[k] = bool(table[k, X_BAR])", "wanted[k] = False", unlike_operands
    ),
    "a value that a slope reads is not computed again": Damage(
        "sweeps.fusion.Group.mark_read", "again[k] or every or OF_Z in factors", "again[k] or every", overlapping_parts
    ),
    "an operand that a slope reads is not computed again": Damage(
        "sweeps.fusion.Group.mark_read", "(computed or every or factor in factors)", "(computed)", overlapping_parts
    ),
    "all numbers are constants": Damage(
        "sweeps.fusion.mark_constants",
        "constants.values()}",
        "range(1 << 17)}",
        chains,
    ),
    "scalars take the slots of rows": Damage(
        "sweeps.fusion.Group.table", '(slots if place[0] == "scalar" else 0)', "0", chains
    ),
    "the value of a group's sum is not computed": Damage(
        "sweeps.fusion.sums_are_read", "return bool(sums) and (", "return bool(not sums) and (", ends("a sum")
    ),
    "the last piece of a fused sum is lost": Damage(
        "sweeps.fusion.forward", "total(sums[k])", "total(sums[k, :-1])", ends("a sum")
    ),
    "a scalar's cotangents are forgotten": Damage("sweeps.fusion.backward", "if asked:", "if asked == 1:", chains),
    "memory of cotangents is not cleared": Damage(
        "sweeps.execution.Cotangents.clear", "self.arena[start:] = -0.0", "pass", sums_and_copies
    ),
    # large rows
    "one operand's cotangents go to the other": Damage(
        "sweeps.large_rows.map_backward",
        "count, 1 << k)",
        "count, 1)",
        unlike_operands,
    ),
    "the second operand is forgotten": Damage(
        "sweeps.large_rows.map_backward", "in enumerate(kinds):", "in enumerate(kinds[:1]):", unlike_operands
    ),
    "a large sum's memory is not cleared": Damage(
        "sweeps.large_rows.add_forward", "if zeroed:", "if zeroed < 0:", sums_and_copies
    ),
    "the elements of a large sum are shifted": Damage(
        "sweeps.large_rows.add_over",
        "(source, sums))",
        "(source[1:], sums))",
        sum_of_copies,
    ),
    "views that overlap are added to in one go": Damage(
        "sweeps.operands.add_broadcast",
        "if overlaps(target.shape, target.strides):",
        "if False:",
        large_windows("copies"),
    ),
    "views that overlap are multiplied in one go": Damage(
        "sweeps.matrix_rows.multiply_add",
        "if overlaps(once.shape, once.strides):",
        "if False:",
        large_windows("a product"),
    ),
    "strides that overlap are not seen": Damage("geometry.overlaps", "if step <= reach:", "if step < 0:", wide_windows),
    "as many elements are taken for all elements": Damage(
        "sweeps.matrix_rows.covers",
        "once.size == count and not overlaps(once.shape, once.strides)",
        "once.size == count",
        ways.check_a_view_covers_memory_only_if_it_names_each_element,
    ),
    "cotangents of products are overwritten": Damage(
        "sweeps.matrix_rows.contract_backward", "execution.uses(code, words, space) == 1 and", "", products
    ),
    "products add to what was there": Damage(
        "sweeps.matrix_rows.contract_forward",
        "product.forward(get, bool(zeroed))",
        "product.forward(get, False)",
        products,
    ),
    "the matrix has no cotangents": Damage(
        "sweeps.matrix_rows.contract_backward", "left = (product.place,)", "left = ()", products
    ),
    "the matrix's transpose is forgotten": Damage(
        "sweeps.matrix_rows.pull_vector", "not transposed)", "transposed)", products
    ),
    "repetitions of a product are not counted": Damage(
        "sweeps.matrix_rows.multiply_add", 'if axes[""]:', "if False:", repetitions
    ),
    "tangents of the matrix are forgotten": Damage(
        "sweeps.matrix_rows.MatrixVector.tangent", "if get_dot(self.matrix[0]) is not None:", "if False:", products
    ),
    # rows of Python's
    "a host row goes back only where all cotangents are": Damage(
        "sweeps.python_rows.host_backward", "if not all(matrix()", "if not any(matrix()", hosts
    ),
    "SciPy's op does not go back": Damage(
        "sweeps.python_rows.map_backward",
        "enumerate(map_partials(execution, words, w, opcode))",
        "enumerate(map_partials(execution, words, w, opcode)[:0])",
        computed_by_scipy,
    ),
    # tapes of numbers, and short ones
    "constant arrays are not entered": Damage(
        "sweeps.whole.run_whole", "for address, block in rows.loads:", "for address, block in ():", numbers
    ),
    "constant arrays are not entered into a short tape": Damage(
        "sweeps.whole.run_whole",
        "for address, block in rows.loads:",
        "for address, block in rows.loads[:1]:",
        replayed_arrays,
    ),
    "the cotangents of a short tape are seeded one late": Damage(
        "sweeps.whole.run_whole", "count, size, output, inputs", "count, size, output + 1, inputs", numbers
    ),
    "constant arrays are not entered into a replay": Damage(
        "replay.whole_machine.WholeMachine.__init__",
        "for address, block in rows.loads:",
        "for address, block in ():",
        replayed_arrays,
    ),
    "the cotangents of a replay are read one early": Damage(
        "replay.whole_machine.WholeMachine.__init__",
        "self.memory[size : 2 * size]",
        "self.memory[size - 1 : 2 * size]",
        replayed_arrays,
    ),
    "new inputs are not entered": Damage(
        "replay.whole_machine.WholeMachine.enter",
        "zip(self.targets, values)",
        "zip(self.targets[1:], values[1:])",
        replayed_arrays,
    ),
    "the cotangents of the last replay are still there": Damage(
        "replay.divided_machine.DividedMachine.sweep_back", "self.arena[:] = -0.0", "pass", replayed_products
    ),
    "a product adds to that of the last replay": Damage(
        "replay.divided_machine.Product.forward", "if self.clears:", "if False:", replayed_products
    ),
    "a product of a replay does not go back": Damage(
        "replay.divided_machine.Product.backward",
        "self.transposed, finite)",
        "not self.transposed, finite)",
        replayed_products,
    ),
    "a strided result is taken for a run": Damage(
        "replay.output_copies.ArrayResult.view",
        "[step * values.itemsize for",
        "[values.itemsize for",
        replayed_arrays,
    ),
    "rows of inputs are taken for constant": Damage(
        "tapes.passes.fold_constants",
        "varying[slot.address : slot.address + slot.size] = 1",
        "pass",
        replayed_derivatives,
    ),
    "what is read is taken for dead": Damage(
        "tapes.passes.drop_dead_rows", "live[low : high + 1] = 1", "live[low:high] = 1", replayed_results
    ),
    "results stay where they were when rows have moved": Damage(
        "replay.recorded_path.follow", "places + shifts[", "places + 0 * shifts[", replayed_results
    ),
    "parts of results that move apart are taken for one": Damage(
        "replay.recorded_path.find_parts", " | table_of(edges, tape.size + 1)[places[1:]]", "", replayed_results
    ),
    "cotangents that are known are left out": Damage(
        "replay.scalar_machine.ScalarMachine.arrange",
        "self.first_bar[rename[used]] = bar[used]",
        "pass",
        replayed_numbers,
    ),
    "partials of constants are left out": Damage(
        "tapes.adjoint_plans.constant_partials", "partials[rows] = found[: len(rows)]", "pass", replayed_numbers
    ),
    # machine code of a tape
    "a loop keeps what its first iteration computes": Damage(
        "compilation.loops.has_conflict",
        "(meets | (high >= begin)).any()",
        "0",
        compiled_loops,
    ),
    "the cotangent of a loop's last result is begun anew": Damage(
        "compilation.backward.Backward.write_loop",
        "self.first_bar(final + row) or literal(-0.0)",
        "literal(-0.0)",
        compiled_loops,
    ),
    "the cotangent of what stays is not put back": Damage(
        "compilation.backward.Backward.write_loop",
        "self.store_bar(address, next(ended))",
        "next(ended)",
        compiled_loops,
    ),
    "what an iteration reads of the one before is not in memory before the loop": Damage(
        "compilation.keeping.mark_read", "stored[read[0]] = True", "pass", compiled_loops
    ),
    "what is left in a window after a loop is lost": Damage(
        "compilation.backward.Backward.write_loop",
        "text.store(next(ended), window.base, window.place(-1, d))",
        "next(ended)",
        compiled_walks,
    ),
    "a window is moved over what another walk meets": Damage(
        "compilation.windows.find_windows", "meet(stream, window, count)", "False", compiled_walks
    ),
    "a difference that is computed again has its operands exchanged": Damage(
        "compilation.backward.Backward.result", "which in (0, 1)", "which in (1, 0)", compiled_walks
    ),
    "machine code leaves out cotangents that are known": Damage(
        "compilation.scalar_program.take_plan", "program.bar[rename[used]] = plan.bar[used]", "pass", compiled_sums
    ),
    "a long sum that is taken apart has its first half twice": Damage(
        "compilation.taking_apart.Parts.add_in_pairs",
        "self.add_in_pairs(terms[half:])",
        "self.add_in_pairs(terms[: len(terms) - half])",
        compiled_sums,
    ),
    "rows of a matrix change places, and its determinant keeps its sign": Damage(
        "compilation.small_matrices.eliminate", "numbers.compute(arithmetic.negative, sign)", "sign", compiled_matrices
    ),
    "the right side of an elimination keeps its rows": Damage(
        "compilation.small_matrices.eliminate", "for rows in (a, b):", "for rows in (a,):", compiled_matrices
    ),
    "an iteration is copied whose places are others": Damage(
        "compilation.repeated_rows.Pattern.copy", "np.array_equal(first, self.first)", "True", compiled_copies
    ),
    "an iteration is copied that adds to what held nothing": Damage(
        "compilation.repeated_rows.Pattern.copy",
        "np.array_equal(held == taken.nothing, self.empty)",
        "True",
        compiled_copies,
    ),
    "what a copied iteration computes is not handed on": Damage(
        "compilation.repeated_rows.Pattern.copy",
        "taken.now[addresses[self.changed]] = table[self.ends]",
        "pass",
        compiled_copies,
    ),
    "rows that are computed together need one another": Damage(
        "replay.scalar_machine.order_by_levels", "(tape.code[:, 0], turn)", "(turn, tape.code[:, 0])", replayed_chains
    ),
    "a gradient that is not finite is not looked at again": Damage(
        "sweeps.execution.Execution.pull_back",
        'if not sweep("finite_at"',
        'if 0 * sweep("finite_at"',
        branches_of_numbers,
    ),
    "shared rows are taken over one row late": Damage(
        "replay.scalar_machine.ScalarMachine.take_over",
        "other.values[other.first : other.first + row]",
        "other.values[other.first + 1 : other.first + row + 1]",
        replayed_numbers,
    ),
    # groups of rows over arrays
    "what going back adds is lost where it has added before": Damage(
        "compilation.array_program.Planner.take_fresh",
        "not self.region(place, shape).any()",
        "True",
        grouped_neighbours,
    ),
    "cotangents of the last call are not cleared": Damage(
        "compilation.array_program.Planner.make_run_ready", "self.fill(", "(lambda *_: None)(", grouped_neighbours
    ),
    "sums of the last call are not cleared": Damage(
        "compilation.array_program.Planner.plan_forward", "self.fill_block(fills[k])", "pass", grouped_rows
    ),
    "results that live together share memory": Damage(
        "compilation.reused_memory.share_memory",
        "now = int(units.first[k])",
        "now = int(units.last[k]) + 1",
        grouped_neighbours,
    ),
    "memory is shared by what is read once more": Damage(
        "compilation.reused_memory.note_uses", "np.maximum.at(units.last", "np.minimum.at(units.last", grouped_rows
    ),
    "a sum is what the last stretch adds": Damage(
        "compilation.nests.Nest.enter_level",
        "text.add(self.read_number(pointer), found[place])",
        "found[place]",
        grouped_products,
    ),
    "a row is thought to read what it does not": Damage(
        "compilation.grouping.Grouping.accepts",
        "place.split(shape, common) not in outputs",
        "False",
        grouped_rows,
    ),
    "a product's slopes are its own operands": Damage(
        "compilation.nests.Back.multiply", "self.operand(k, 1 - which)", "self.operand(k, which)", grouped_products
    ),
    "factors of a compiled product change places": Damage(
        "compilation.array_program.Planner.pull_stop", "(VALUE, 3 - k)", "(VALUE, k)", grouped_products
    ),
    "what is put apart is not added": Damage(
        "compilation.array_program.Planner.pull_at_once",
        "self.call_group(copy, Pull([target], self.take_fresh([target], shape), {0}))",
        "pass",
        grouped_slopes,
    ),
    "what is put apart begins with what was there": Damage(
        "compilation.array_program.Planner.pull_at_once",
        "if self.take_fresh([other], group.shape):",
        "if 0:",
        grouped_slopes,
    ),
    "all lanes are the first": Damage(
        "compilation.array_program.Planner.call_lanes", "place.step(group.shape) or 0", "0", grouped_lanes
    ),
    "cotangents of the last call of lanes are not cleared": Damage(
        "compilation.array_program.Planner.pull_group", "for place in reached:", "for place in ():", grouped_lanes
    ),
    "cotangents do not reach what lanes compute": Damage(
        "compilation.lane_groups.find_pulled", "reached[source] = True", "pass", grouped_lanes
    ),
    "what slopes of lanes need is not computed again": Damage(
        "compilation.lane_groups.find_pulled", "bits[k] & bit", "False", grouped_lanes
    ),
    "iterations over lanes hand nothing on": Damage(
        "compilation.points.PointBackward.write_loop",
        "cotangents.before.get(row) or self.before_loop(body, row, turn)",
        "self.before_loop(body, row, turn)",
        grouped_lanes,
    ),
    "lanes begin with the second value": Damage(
        "compilation.points.PointForward.write_loop",
        "int(self.places[earlier + row])",
        "int(self.places[earlier + row + segment.period])",
        grouped_lanes,
    ),
    "constants of lanes lie one place off": Damage(
        "compilation.lanes.LaneWriter.write", "first_constant=1 +", "first_constant=2 +", grouped_lanes
    ),
    "points of another branch are thought to take this one": Damage(
        "replay.point_machine.PointMachine.run", "missed == 0", "missed == missed", mapped_lanes
    ),
    "a point's infinite derivative is taken for what the sweeps give": Damage(
        "replay.point_machine.PointMachine.run", "finite &= ", "finite | ", mapped_lanes
    ),
    "what is looked up is not in memory": Damage(
        "compilation.grouping.Grouping.take_list",
        "self.note_reads(listed if varied is None else varied)",
        "pass",
        grouped_labels,
    ),
    "a gradient of groups that is not finite is taken": Damage(
        "replay.grouped_machine.GroupedMachine.run",
        "return self.fall_back()  # a derivative",
        "pass  # a derivative",
        grouped_labels,
    ),
    "rectangles of a list are one element off": Damage(
        "compilation.grouping.Grouping.take_list",
        "out + part.start",
        "out + part.start - part.start % 2",
        grouped_neighbours,
    ),
    # points
    "later points are those of the first chunk": Damage(
        "tapes.points.sweep_blocks",
        "*fixed, start, stop, lanes)",
        "*fixed, 0, stop - start, lanes)",
        many_points,
    ),
    "an argument of many is taken for a shared one": Damage(
        "tapes.points.leaf_table", "slot.size if mapped else 0", "0", many_points
    ),
    "gradients stay in memory order": Damage(
        "tapes.points.put_in_order",
        "part[...] = found.copy().reshape(len(found), *slot.shape[::-1]).transpose(0, *axes)",
        "part[...] = found.copy().reshape(part.shape)",
        many_points,
    ),
    "sums of points are not cleared": Damage(
        "tapes.lowering.lower_row",
        "np.concatenate([clear_rows(out, cleared), make_rows(opcode, *operands)])",
        "make_rows(opcode, *operands)",
        many_points,
    ),
    "strides of lowered operands lose their sign": Damage(
        "tapes.lowering.spread", "np.int64) * stride", "np.int64) * abs(stride)", points_backwards
    ),
    # lanes
    "a host row's lanes do not go back": Damage(
        "sweeps.linearised.Linearised.host", "call.backward(", "(lambda *_: None)(", many_seeds_one_by_one
    ),
    "a host row's lanes do not go back together": Damage(
        "sweeps.linearised.host_together", "call.backward(", "(lambda *_: None)(", many_seeds_through_hosts
    ),
    "a host row's lanes see the values of one another": Damage(
        "sweeps.linearised.host_together", "np.repeat(value, lanes)", "np.tile(value, lanes)", many_seeds_through_hosts
    ),
    "lanes of a later block have the seeds of the first": Damage(
        "sweeps.linearised.Linearised.push", "start - first, count", "start, count", blocks_of_lanes
    ),
    "products with the identity lose their factors": Damage(
        "sweeps.linearised.add_columns",
        "columns if factors is None else columns * factors[first:last]",
        "columns",
        blocks_of_lanes,
    ),
    "the identity begins one lane late": Damage(
        "sweeps.linearised.LaneMemory.find_identity",
        "return start + row - first,",
        "return start + row - first + 1,",
        blocks_of_lanes,
    ),
    "a vector's lanes do not go back": Damage(
        "sweeps.linearised.Linearised.matrix_product", "lanes.scatter(addresses, matrix.T @ out)", "pass", many_seeds
    ),
    "lanes are scattered in another order": Damage(
        "sweeps.linearised.LaneMemory.scatter",
        "addresses.reshape(-1)",
        "addresses.reshape(-1)[::-1]",
        many_seeds_through_hosts,
    ),
    "arrays by columns are read by rows": Damage(
        "sweeps.linearised.LaneMemory.read", 'if leaf.order == "C":', "if True:", blocks_of_lanes
    ),
    "lanes are not cleared": Damage("sweeps.linearised.clear", "memory[...] = -0.0", "pass", blocks_of_lanes),
}
COMPILED = {
    # what is read of a fused group
    "gathers are not seen": Damage(
        f"{FUSED}.mark_reads",
        "if space == 0:\n                mark_range",
        "if space == 0 and opcode != 1028:\n                mark_range",
        read_by(lambda y: np.sum(y[[3, 3, 9]]), lambda y: at([3, 3, 9], M)),
    ),
    "numbers are not seen": Damage(
        f"{FUSED}.mark_reads",
        "range(read_count(opcode, a, b, words))",
        "range(int(opcode < 256), read_count(opcode, a, b, words))",
        read_by(lambda y: y[11] * 3.0, lambda y: 3.0 * at([11], M)),
    ),
    "strided operands are not seen": Damage(
        f"{FUSED}.mark_reads",
        "if space == 0:\n                mark_range",
        "if space == 0 and (opcode != 1026 or operand_kinds(words, a)[1] == 1):\n                mark_range",
        read_by(lambda y: y[::7].sum(), lambda y: at(slice(None, None, 7), M)),
    ),
    "host rows are not seen": Damage(
        f"{FUSED}.mark_reads",
        "if space == 0:\n                mark_range",
        "if space == 0 and opcode != 1030:\n                mark_range",
        read_by(lambda y: np.sum(np.sort(y[:9]) * 2.0), lambda y: 2.0 * at(slice(9), M)),
    ),
    # places of lanes
    "a copy takes the place of a whole block": Damage(
        "kernels.lanes.compress",
        "done = count > 0 and not shared and copy_row(words, w, place, coefficient)",
        "done = count > 0 and copy_row(words, w, place, coefficient) and fill(place, coefficient, out, count)",
        two_copies,
    ),
    "a block of constants has no place of its own": Damage(
        "kernels.lanes.compress",
        "if shared:  #",
        "if shared and not fill(place, coefficient, out, cleared_by(words, opcode, w)):  #",
        constants_first,
    ),
    "a coefficient is forgotten": Damage(
        "kernels.lanes.compress", "total += p * coefficient[a]", "total += p", many_seeds
    ),
    "two places become one": Damage(
        "kernels.lanes.compress", "if x != NONE and y != NONE and x != y:", "if False:", many_seeds
    ),
    "coefficients may overflow": Damage(
        "kernels.lanes.compress", "if place[j] != NONE and not (c != 0 and c - c == 0):", "if False:", steep
    ),
    "sums are taken for copies": Damage(
        "kernels.lanes.compress",
        "x = operand_address(words, d) + offset_of(words, w, d, j)\n        if place[z] != NONE:",
        "x = operand_address(words, d) + offset_of(words, w, d, j)\n        if False:",
        many_seeds,
    ),
    "gathers need nothing": Damage(f"{DEPENDENCE}.mark_needed", "needed[source] = 1", "pass", long_gathers),
    "gathers are not active": Damage(f"{DEPENDENCE}.mark_active", "active[target - base] = 1", "pass", long_gathers),
    "what varies is folded": Damage(
        f"{DEPENDENCE}.mark_varying", "varies = varies or visit_read(", "varies = varies or 0 * visit_read(", optimised
    ),
    "lanes of the first address alone are copied": Damage(
        "kernels.lanes.gather_lanes",
        "row, c = place[addresses[j]], coefficient[addresses[j]]\n        for k in range(first",
        "row, c = place[addresses[0]], coefficient[addresses[j]]\n        for k in range(first",
        many_seeds,
    ),
    "memory of lanes is cleared in part": Damage(
        "kernels.lanes.clear_at",
        "share_of(memory.size, share",
        "share_of(memory.size // 2, share",
        cleared_lanes,
    ),
    # the sweeps of array rows
    "the innermost stride is dropped": Damage(
        "kernels.array.forward",
        "view(shifted(address, offset + j * step, like), 1, like)[0]",
        "view(shifted(address, offset + j, like), 1, like)[0]",
        few_elements,
    ),
    "an outer stride is dropped": Damage(
        "kernels.array.forward",
        "s_offset += place * operand_stride(words, source, axis)",
        "s_offset += place",
        few_elements,
    ),
    "repeated elements are set": Damage(
        "kernels.array.forward",
        "bar[gather_place(words, w, k)] += bar[out + k]",
        "bar[gather_place(words, w, k)] = bar[out + k]",
        few_elements,
    ),
    "a sum of a block is lost where it is repeated": Damage(
        "kernels.array.forward",
        "view(address, 1, block)[0] += total(block)",
        "view(address, 1, block)[0] += block[0]",
        few_elements,
    ),
    "the second operand's cotangents go to the first": Damage(
        "kernels.array.forward",
        "deposit(words, w, y_at, y_bar, first, qs)",
        "deposit(words, w, x_at, x_bar, first, qs)",
        few_elements,
    ),
    "blocks are added to, not cleared": Damage(
        "kernels.array.forward",
        "clear(memory_at(bases[0], code[i, 1], values), cleared, nothing)",
        "pass",
        few_elements,
    ),
    "windows add to their first element": Damage(
        "kernels.array.forward", "t[j] += factor * v[j]", "t[0] += factor * v[j]", small_windows
    ),
    "tangents of the second factor are forgotten": Damage(
        "kernels.array.forward",
        "multiply(kernels, words, w, out, start_of_out, one, factor, other, source, values)",
        "pass",
        small_products,
    ),
}


@pytest.fixture(autouse=True)
def small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small programs take some more ways of large ones."""
    for module, name, value in (
        (linearised, "MOST_MEMORY", 1 << 13),
        (linearised, "BLAS_WORTH", 8),
        (scalar_machine, "WORTH_COPYING", 2),
        (points, "AT_ONCE", 1),
        (memory, "KEPT_LEAST", 32),
    ):
        monkeypatch.setattr(module, name, value)


def test_there_are_enough() -> None:
    assert len(PYTHON) + len(COMPILED) >= 40


@pytest.mark.parametrize(
    "program", {d.program: None for d in (PYTHON | COMPILED).values()}, ids=lambda p: p.__qualname__
)
def test_programs_are_right_undamaged(program: Callable[[], None]) -> None:
    program()


def test_plain_sweeps_are_right_undamaged(monkeypatch: pytest.MonkeyPatch) -> None:
    damage_compiled(monkeypatch, f"{ARRAYS}.forward", "", "")
    for program in (few_elements, small_windows, small_products):
        program()
    damage_compiled(monkeypatch, "kernels.lanes.compress", "", "")
    damage_compiled(monkeypatch, f"{DEPENDENCE}.mark_needed", "", "")
    damage_compiled(monkeypatch, f"{FUSED}.mark_reads", "", "")
    many_seeds()
    results("two arrays")()


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize("name", PYTHON)
def test_damage_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, old, new, program = PYTHON[name]
    damage(monkeypatch, place, old, new)
    with pytest.raises(AssertionError, match=r"Not equal|Mismatch|assert"), np.errstate(all="ignore"):
        program()


@pytest.mark.usefixtures("usual_limits")
@pytest.mark.parametrize("name", COMPILED)
def test_damage_of_compiled_ways_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, old, new, program = COMPILED[name]
    damage_compiled(monkeypatch, place, old, new)
    with pytest.raises(AssertionError, match=r"Not equal|Mismatch|assert"), np.errstate(all="ignore"):
        program()
