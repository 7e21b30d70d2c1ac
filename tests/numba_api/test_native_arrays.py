"""Arrays in machine code that records: each operation against its recording by Python, first and second derivatives."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit, prange

import numbad
from numbad.numba_api import native_arrays
from numbad.numba_api.dispatching import Kernel, NotNative
from numbad.numba_api.native_algebra import SAME
from numbad.numba_api.native_arrays import LONG

RNG = np.random.default_rng(3)
X, Y, A, B = RNG.random(5) + 0.3, RNG.random(5) + 0.2, RNG.random((3, 4)) + 0.1, RNG.random((4, 3)) - 0.4
POINT = X, Y, A, B, 0.7
TABLE = np.array([1.0, 2.0, 3.0])
KERNELS: dict[str, Any] = {}


def kernel(f: Any) -> Any:
    """Add a function of a vector, a vector, two matrices and a number to the table."""
    KERNELS[f.__name__] = njit(f)
    return f


@kernel
def arithmetic(x, y, a, b, s):
    z = x + y - x * y / (1.0 + x) + x**2.0 + s * x - y // s + (x % y) + x**y - (-y) + (+x) + np.abs(y - x)
    c = a * a[0] + a / a[:, 1:2] + 2 - a - s + b.T * a + np.arange(4) * a + s * np.ones((3, 4))
    return z.sum() + (c * c).sum()


@kernel
def in_place(x, y, a, b, s):
    z, c = x.copy(), a.copy()
    z += y
    z[1:] *= y[:-1]
    z[1:] += z[:-1]
    z[::2] = s
    z[1] -= 0.25
    z /= 1.5
    c[1] = c[0]
    c[:, 0] -= c[:, 1] * s
    c[-1] **= 2
    c[1:, 1:] = c[:-1, :-1]
    c.fill(s) if s > 5.0 else c[0].fill(s)
    for row in c:
        row[0] += row[-1]
    z[0], z[4] = z[4], z[0]
    return (z * z).sum() + (c * c * c).sum()


@kernel
def functions(x, y, a, b, s):
    z = np.sin(x) + np.exp(y) * np.log(x) + np.sqrt(a[0, 0] + x) + np.abs(y - x) + np.square(y) + np.tanh(x * y)
    z += np.arctan2(x, y) + np.hypot(x, s) + np.maximum(x, y) * np.minimum(x, 0.6) + np.sign(y - x) * x + np.cbrt(x)
    z += (
        np.negative(x)
        + np.add(x, y) * np.multiply(x, 2.0)
        - np.power(x, 3)
        + np.exp2(x)
        + np.radians(y)
        + np.fmax(x, s)
    )
    z += np.floor(3.0 * x) * y + np.arcsin(0.5 * x) + np.log1p(x) + np.expm1(x) + np.cosh(x)
    return (np.exp(-(a**2)) * b.T).sum() + z.sum() + np.logaddexp(x, y).sum() + np.copysign(x, y - x).sum()


@kernel
def reductions(x, y, a, b, s):
    t = x.sum() * np.sum(a) + np.mean(x) + a.mean() + np.prod(y) * x.prod() + np.var(x) + a.std() + np.std(y)
    t += x.max() * np.min(y) + np.max(a) + a.min() + np.argmax(x) * y[0] + a.argmin() * s + x[np.argmin(y)]
    rows, columns = a.sum(axis=1), np.sum(a, axis=0)
    t += (rows * rows).sum() + (columns * columns).sum() + np.sum(a, axis=-1)[0] + x.sum(axis=0)
    w = np.cumsum(x) * x.cumprod()
    cube = np.zeros((2, 3, 4))
    cube[0] = a
    cube[1] = a * a
    return t + w.sum() + (cube.sum(axis=1) ** 2).sum() + (np.sum(cube, axis=2) ** 3).sum() + cube.sum(axis=0)[1, 1]


@kernel
def products(x, y, a, b, s):
    c = a @ b + np.dot(a, b) * s
    t = np.dot(x, y) + x @ y + np.vdot(x, y) + (a @ b[:, 0]).sum() + (y[:3] @ a).sum() + np.outer(x, y[:3]).sum()
    plain = np.arange(12.0).reshape(4, 3)
    t += (a @ plain).sum() + (plain[0] @ a).sum() + np.trace(c) + (c @ np.eye(3)).sum() + x.dot(y) * np.dot(y, x)
    return t + (c * c).sum() + (a.T @ a)[1, 2]


@kernel
def systems(x, y, a, b, s):
    m = a @ a.T + np.eye(3)
    c = np.linalg.inv(m)
    t = np.linalg.det(m) + np.linalg.norm(x) + np.linalg.norm(a) + (c * c).sum()
    return t + np.linalg.solve(m, x[:3]).sum() + (np.linalg.solve(m, a) ** 2).sum()


@kernel
def masks(x, y, a, b, s):
    big = x > 0.7
    z = np.where(big, np.sqrt(x), x * y) + np.where(x > y, 0, x) + np.where(s > 0.5, x, y)
    w = x.copy()
    w[big] = s
    w[w < 0.4] = 2.0
    w[~big] *= 3.0
    t = np.sum(big) * s + big.sum() + x[big].sum() + x[(x > 0.4) & (y < 0.9)].sum() + x[(x > y) | big].prod()
    t += 1.0 if np.any(x > y) else s
    t += s if (x > 0.0).all() else 0.0
    t += np.clip(x, 0.4, s).sum() + (x[x > 0.5] ** 2).sum() + np.where(np.isfinite(x), x, 0.0).sum()
    for i in np.where(big)[0]:
        t += x[i] * i
    return t + z.sum() + (w * w).sum()


@kernel
def making(x, y, a, b, s):
    z = np.zeros(3)
    z[0] = s
    e, i = np.eye(3), np.identity(3)
    e[0, 1], i[2, 2] = s * s, s
    f = np.full((2, 3), s)
    g, o = np.full_like(a, 2.0), np.ones_like(a)
    g[0], o[1, 1] = a[1], s
    p = np.array([s, 1.0, x[0]])
    q = np.array([[s, x[1]], [2.0, y[0]]])
    r = np.array(((x[0], 1), (3.0, s)))
    k = np.array([x[j] * j for j in range(3)])
    m = np.array([[x[i] * y[j] for j in range(2)] for i in range(3)])
    v = np.empty((2, 2, 2))
    for index in np.ndindex(v.shape):
        v[index] = s * index[0] + index[1] + index[2]
    d = np.zeros_like(a, dtype=a.dtype)
    d[1:, :] = a[:-1]
    table = np.array([0.5, 1.5, 2.5])
    table[1] = s
    for c in (np.linspace(0.0, 1.0, 3).copy(), TABLE.copy(), np.copy(TABLE)):
        c[1] = s
        c += x[0]
        table += c * c
    numbers = [1.0, 2.0]
    more = numbers.copy()
    more[0] = 3.0
    t = (
        numbers[0] * s
        + z.sum()
        + (e @ i).sum()
        + (f * f).sum()
        + (g * o).sum()
        + (p * p).sum()
        + (q @ r).sum()
        + (k * k).sum()
    )
    return t + (k * k).sum() + (m * m).sum() + (v**2).sum() + (d * d).sum() + (table * table).sum() + np.copy(x)[1] ** 2


@kernel
def shapes(x, y, a, b, s):
    t = a.ravel()[3] * a.flatten()[2] + (a.reshape(4, 3) * b).sum() + (a.reshape((2, 6)) ** 2)[1, 3] + (a.T * b)[0, 1]
    t += a.transpose()[1, 2] ** 2 + np.flip(x)[0] * x[::-1][1] + np.diff(x)[1] ** 2 + (np.diff(x) * np.diff(y)).sum()
    j = np.concatenate((x, y * y, np.ones(2)))
    t += (j * np.arange(12)).sum() + np.asarray(x)[0] * np.ascontiguousarray(a.T)[1, 1] + len(a) * x.size * s + a.ndim
    u = np.tril(a[:, :3]) + np.triu(a[:, :3], 1) * s
    for index, value in np.ndenumerate(a):
        t += value * index[0] * index[1]
    for k, value in enumerate(x):
        t += k * value
    for one, other in zip(x, y):
        t += one * other
    return t + (u * u).sum() + a.astype(np.float64)[0, 0] + a.flat[3] ** 2


@kernel
def order(x, y, a, b, s):
    z = np.sort(x)
    w = y.copy()
    w.sort()
    k = np.argsort(y)
    t = (z * np.arange(5)).sum() + (w * w * np.arange(5)).sum() + x[k[0]] * y[k[-1]] + np.median(x) * np.median(y[1:])
    return t + np.searchsorted(z, s) * s + z[np.searchsorted(np.arange(5.0), 3.0 * s)]


@kernel
def statements(x, y, a, b, s):
    def inner(u, v=2.0):
        return np.sqrt(u) * v + x[0]

    found = [0.0]
    found.append(s)
    for k in range(x.size):
        if x[k] > y[k] and not x[k] > 5.0:
            found.append(inner(x[k]))
        elif y[k] > 0.9:
            break
        else:
            continue
    table = {0: s}
    table[1] = x[0]
    pair = (x[1], a[0])
    for k in prange(3):
        table[k] = pair[0] * pair[1][k]
    total = 0.0
    for key in table:
        total += table[key] ** 2
    return total + sum(found) + max(found) + min(x[0], y[0], s) + len(found) * s


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Record all kernels by machine code; tells of each call what kept it from that."""
    ran: list[tuple[str, str]] = []
    run_natively = Kernel.run_natively

    def noted(self: Kernel, arguments: tuple[Any, ...]) -> Any:
        try:
            found = run_natively(self, arguments)
        except NotNative as error:
            ran.append((self.function.__name__, str(error.__cause__)))
            raise
        ran.append((self.function.__name__, ""))
        return found

    monkeypatch.setattr(Kernel, "run_natively", noted)
    monkeypatch.setattr(Kernel, "is_worth_compiling", lambda self: True)
    monkeypatch.setattr(Kernel, "is_long", lambda self, arguments: False)
    return ran


def by_python(f: Any, *arguments: Any) -> Any:
    """Return what a function gives with all kernels recorded by Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "is_worth_compiling", lambda self: False)
        return f(*arguments)


def flat(found: Any) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in (found if isinstance(found, tuple) else (found,))])


@pytest.mark.parametrize("name", KERNELS)
def test_arrays_are_recorded_as_python_does(name: str, native: list[tuple[str, str]]) -> None:
    f = KERNELS[name]
    k = tuple(range(5))
    modes = {
        "gradient": lambda *x: numbad.gradient(f, *x, argnums=k),
        "second": lambda *x: numbad.jvp(numbad.grad(f, argnums=k), x, tuple(0.1 + 0.2 * part for part in x))[1],
    }
    for mode, derive in modes.items():
        found, other = derive(*POINT), by_python(derive, *POINT)
        assert np.allclose(flat(found), flat(other), rtol=1e-11, atol=1e-12), mode
    assert numbad.record(f, *POINT)(*POINT) == pytest.approx(f(*POINT), rel=1e-13)
    assert native
    assert not [why for _, why in native if why]
    replayed = numbad.jit(numbad.value_and_grad(f, argnums=k))
    for factor in (1.0, 1.02, 0.9, 1.0):
        point = tuple(factor * part for part in POINT)
        value, slopes = replayed(*point)
        assert value == pytest.approx(f(*point), rel=1e-11)
        assert np.allclose(flat(slopes), flat(by_python(modes["gradient"], *point)), rtol=1e-9, atol=1e-10)


def test_what_tells_of_memory_is_left_to_python(native: list[tuple[str, str]]) -> None:
    f = njit(lambda x: x[0] * x.itemsize + x.nbytes)
    assert numbad.gradient(f, np.ones(3)).tolist() == [8.0, 0.0, 0.0]
    assert native
    assert native[0][1]


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda x: (x + x[:2]).sum(), ValueError),
        (lambda x: x[7], IndexError),
        (lambda x: x[-4], IndexError),
        (lambda x: x @ x[:2], ValueError),
        (lambda x: x[:0].max(), ValueError),
        (lambda x: x.sum(axis=1), (ValueError, IndexError)),
        (lambda x: np.linalg.inv(np.outer(x, x))[0, 0], np.linalg.LinAlgError),
    ],
)
def test_errors(function: Any, error: Any, native: list[tuple[str, str]]) -> None:
    with pytest.raises(error):
        numbad.gradient(njit(function), np.ones(3))
    assert [why for _, why in native] in ([], [""])
    assert numbad.gradient(lambda x: x * x, 3.0) == 6.0


def test_long_arrays_are_recorded_both_ways(native: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    f = njit(lambda x: (x * np.sin(x)).sum())
    for size in (LONG - 1, LONG, LONG + 1, 4 * LONG):
        x = np.linspace(0.0, 3.0, size)
        assert np.allclose(numbad.gradient(f, x), np.sin(x) + x * np.cos(x), rtol=1e-13)
    assert not [why for _, why in native if why]
    monkeypatch.setattr(native_arrays, "MOST_LONG_ROWS", 2 * LONG)  # a constant of what is compiled from now on
    native_arrays.check_rows.recompile()
    try:
        g = njit(lambda x: (x * np.cos(x)).sum())
        x = np.linspace(0.0, 3.0, 4 * LONG)
        assert np.allclose(numbad.gradient(g, x), np.cos(x) - x * np.sin(x), rtol=1e-13)
        assert native[-1] == ("<lambda>", "None")
    finally:
        monkeypatch.undo()
        native_arrays.check_rows.recompile()


def test_the_page_lists_what_machine_code_records() -> None:
    text = (Path(__file__).parents[2] / "docs" / "numba.rst").read_text()
    listed = {
        head.strip(): set(names.replace("\n", " ").replace(" ", "").split(","))
        for head, names in re.findall(r"^\* \*\*([^*]+)\*\*: ([^*]+?)\n(?=\n|\*)", text, re.MULTILINE)
    }
    for head, module in (("math", math), ("np", np), ("np.linalg", np.linalg)):
        functions = {name: value for name, value in vars(module).items() if not isinstance(value, type)}
        known = {name for name, value in functions.items() if any(value is own for own in SAME)}
        assert listed[head] == {name for name in known if not name.startswith("_")}
    assert listed["methods and attributes of arrays"] == native_arrays.NAMES
