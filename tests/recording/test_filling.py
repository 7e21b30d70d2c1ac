"""Plain arrays that a recorded function makes and fills with what it computes, with `import numpy as np`."""

from __future__ import annotations

import functools
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import empty as made_empty
from numpy import zeros

import numbad
from numbad.recording import exchange
from shared.oracle import check_against_numpy
from shared.switching import frequent_switches

X = np.array([0.7, 1.3, 0.4])
KNOWN = np.array([1.0, 2.0, 3.0])
CASES: dict[str, Callable[..., Any]] = {}
double = functools.partial(np.zeros, dtype=float)


def case(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add a program to the table."""
    CASES[f.__name__] = f
    return f


@case
def elements(x):
    y = np.zeros(3)
    y[0] = x[0] ** 2
    y[1:] = x[1:] * y[0]
    return y


@case
def all_of_it(x):
    y = np.empty((2, 3))
    y[...] = x
    y[0] *= 2.0
    y[:, 1] += x[0]
    return y


@case
def in_place(x):
    y = np.ones(3)
    y += x
    y[1:] *= x[1:]
    y **= 2
    return y


@case
def imported_names(x):
    y, z = zeros(3), made_empty(3)
    for k in range(3):
        y[k] = x[k]
        z[k] = y[k] * (z[k - 1] if k else 1.0)
    return y, z


@case
def in_a_default_argument(x, make=np.zeros):
    y = make(3)
    y[1] = x[1]
    return y


@case
def partial(x):
    y = double(3)
    y[0] = x[0] ** 2
    return y


@case
def copy_of_what_is_known(x):
    y = KNOWN.copy()
    y[1] = x[0] * x[1]
    z = np.copy(KNOWN)
    z[:2] -= x[:2]
    return y, z


@case
def results_of_plain_operations(x):
    y, z = 2.0 * KNOWN, -KNOWN
    y[1:] *= x[1:]
    z[0] = x[0]
    w = np.sin(KNOWN)
    w[0] += x[0]
    picked = KNOWN[[0, 1, 1]]
    picked[2] = x[2]
    return y, z, w, picked


class Model:
    """Keeps arrays that its methods fill."""

    np = np

    def __init__(self, n):
        self.y = np.zeros(n)
        self.state = {"h": [np.ones(n), np.ones(n)]}

    def step(self, x):
        self.y[0] = x[0]
        self.state["h"][1][:] = x**2
        return self.y, self.state["h"][1]

    def by_attribute(self, x):
        y = self.np.zeros(3)
        y[1] = x[1]
        return y


@case
def objects(x):
    model = Model(3)
    return *model.step(x), model.by_attribute(x)


def blank(n):
    table = np.zeros((n, n))
    return table


@case
def made_by_a_helper(x):
    table = blank(3)
    for k in range(3):
        table[k, k] = x[k]
    return table, table.T[0]


@case
def in_lists(x):
    rows = [np.zeros(2) for _ in range(3)]
    for row, value in zip(rows, x):
        row[0], row[1] = value, value * value
    a, b = (lambda: (np.zeros(3), np.ones(3)))()
    a[0] = x[0]
    b *= x
    return np.array(rows), a, b


@case
def views(x):
    table = np.zeros((2, 3))
    row = table[1]
    row[:] = x
    other = table.reshape(3, 2)
    other[0, 0] = x[0] ** 2
    for part in table:
        part *= 2.0
    return table, row, other


@case
def layouts(x):
    table = np.zeros((3, 2), order="F")
    table[:, 0] = x
    table[:, 1] = 2 * x
    other = np.ones((2, 3)).T * 1.0
    other[0, 0] = x[0]
    return (table * other).ravel("K"), other.reshape(-1, order="A")


@case
def functions_that_write(x):
    arrays = [np.zeros(3) for _ in range(9)]
    arrays[0].fill(x[0])
    np.put(arrays[1], [0, 2], x[:2])
    np.copyto(arrays[2], x)
    np.add.at(arrays[3], [0, 0, 1], x)
    np.multiply(x, 2.0, out=arrays[4])
    arrays[5].flat[1] = x[1]
    arrays[6].flat[:] = x
    np.place(arrays[7], [True, False, True], x[:2])
    arrays[8].put([1], x[1])
    table = np.zeros((3, 3))
    np.fill_diagonal(table, x)
    return *arrays, table


@case
def other_makers(x):
    turn, times, twos, counts = np.eye(3), np.linspace(0.0, 1.0, 3), np.full(3, 2.0), np.arange(3.0)
    turn[0, 0], turn[0, 1] = np.cos(x[0]), -np.sin(x[0])
    times[1], twos[2], counts[0] = x[1], x[2], x[0]
    diagonal, tiles, grid = np.diag(KNOWN), np.tile(KNOWN, 2), np.meshgrid(KNOWN, KNOWN)[0]
    diagonal[0, 1], tiles[3], grid[0] = x[0], x[1], x
    like, ones = np.zeros_like(KNOWN), np.ones(KNOWN.shape, dtype=KNOWN.dtype)
    like[0] = x[0]
    ones[:] = x
    return turn, times, twos, counts, diagonal, tiles, grid, like, ones


@case
def arrays_of_lists(x):
    c, s = np.cos(x[0]), np.sin(x[0])
    turn = np.array([[c, -s], [s, c]])
    mixed = np.asarray([x[0], 1.0], dtype=float)
    stacked = np.array([x, 2.0 * x, KNOWN])
    filled = np.zeros((2, 2))
    filled[:] = [[x[0], 1.0], [0.0, x[1]]]
    filled[1] = (x[1], 2.0)
    row = np.array([x[0], 2.0], ndmin=2)
    return turn, mixed, stacked, filled, row, np.full(2, x[0]), np.fromiter((a * a for a in x), float)


@case
def names_of_one_array(x):
    y = x * 1.0
    alias, other, copied = np.asarray(y, dtype=float), np.ascontiguousarray(y), np.array(y)
    alias[0] = 5.0
    other[1] += x[0]
    copied[2] = 0.0
    return y, alias, other, copied


@case
def steps_of_time(x):
    heat = np.zeros(5)
    heat[0] = 1.0
    for _ in range(3):
        new = heat.copy()
        new[1:-1] = heat[1:-1] + x[0] * (heat[2:] - 2 * heat[1:-1] + heat[:-2])
        heat = new
    return heat


@case
def exchanged_buffers(x):
    a, b = np.zeros(3), np.zeros(3)
    a[:] = x
    for _ in range(3):
        b[1:] = a[:-1] * x[1:]
        b[0] = a[-1]
        a, b = b, a
    return a, b


@case
def generators(x):
    def steps():
        y = np.zeros(2)
        for k in range(3):
            y[k % 2] = x[k] + y.sum()
            yield y.copy()

    return list(steps())


@case
def handlers(x):
    y = np.zeros(3)
    try:
        y[0] = x[0]
    finally:
        with np.errstate(all="ignore"):
            y[1] = x[1]
    try:
        y[2] = x[2]
    except Exception:
        y = 100.0 * x
    return y


@case
def chosen_elements(x):
    y, mask = np.zeros(3), X > 0.5
    y[mask] = x[mask]
    y[~mask] = 1.0
    if (z := np.zeros(3)) is not None:
        z[np.array([2, 0])] = x[:2]
    table = np.zeros((2, 2))
    for (i, j), _ in np.ndenumerate(table):
        table[i, j] = x[i] * x[j]
    return y, z, table


@case
def no_axes(x):
    y = np.zeros(())
    y[()] = x[0]
    y[...] += x[1]
    empty = np.zeros((0, 3))
    empty[:] = x
    return y * 1.0, np.sum(empty)


@case
def by_methods(x):
    y = np.zeros(3)
    y.__setitem__(0, x[0])
    (lambda array, value: array.__setitem__(1, value))(y, x[1])
    return y


@case
def in_text(x):
    names = {"np": np, "x": x}
    exec("y = np.zeros(3)", names)
    y = np.zeros(3)
    exec("y[0] = x[0]", {"x": x, "y": y})
    return y


@pytest.mark.parametrize("name", CASES)
def test_recorded(name: str) -> None:
    f = CASES[name]
    check_against_numpy(f, X)
    check_against_numpy(numbad.jit(f), X)


@pytest.mark.parametrize("name", ["elements", "steps_of_time", "objects", "arrays_of_lists"])
def test_every_transform(name: str) -> None:
    f = CASES[name]

    def total(x):
        y = f(x)
        return sum(np.sum(part**2) for part in (y if isinstance(y, tuple) else (y,)))

    wanted = numbad.gradient(total, X)
    step = 1e-6 * np.eye(3)
    np.testing.assert_allclose(wanted, [(total(X + e) - total(X - e)) / 2e-6 for e in step], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(numbad.jacfwd(total)(X), wanted, rtol=1e-12)
    np.testing.assert_allclose(numbad.jvp(total, (X,), (KNOWN,))[1], wanted @ KNOWN, rtol=1e-12)
    np.testing.assert_allclose(numbad.vjp(total, X)[1](2.0)[0], 2.0 * wanted, rtol=1e-12)
    np.testing.assert_allclose(numbad.record(total, X).gradient(X), wanted, rtol=1e-12)
    np.testing.assert_allclose(numbad.vmap(numbad.grad(total))(np.stack([X, X]))[1], wanted, rtol=1e-12)
    np.testing.assert_allclose(numbad.jit(numbad.grad(total))(X), wanted, rtol=1e-12)
    slopes = [(numbad.gradient(total, X + e) - numbad.gradient(total, X - e)) / 2e-6 for e in step]
    np.testing.assert_allclose(numbad.hessian(total, X), slopes, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(numbad.hvp(total, X, KNOWN), numbad.hessian(total, X) @ KNOWN, rtol=1e-10)


def test_a_gradient_inside() -> None:
    def inner(z):
        y = np.zeros(3)
        y[:] = z**3
        return y.sum()

    found = numbad.gradient(lambda x: numbad.gradient(inner, x) @ x, X)
    np.testing.assert_allclose(found, 9.0 * X**2, rtol=1e-13)


# ---------------------------------------------------------------- how often, and what stays


def test_it_is_recorded_twice_once_and_its_code_is_given_back() -> None:
    runs = []

    def f(x):
        runs.append(1)
        y = np.zeros(3)
        y[0] = x[0]
        return y @ x

    code = f.__code__
    numbad.gradient(f, X)
    assert len(runs) == 2
    numbad.gradient(f, X)
    numbad.hessian(f, X)
    assert len(runs) == 4
    assert f.__code__ is code and not exchange._held


def test_several_arrays_take_three_recordings() -> None:
    runs = []

    def f(x):
        runs.append(1)
        y = np.zeros(3)
        z = [np.ones(2), np.ones((2, 2))]
        y[0], z[0][1] = x[0], x[1]
        for row in z[1]:
            row[:] = y[:2] if row[0] > 0.5 else 0.0
        return y @ x + z[0] @ z[1] @ z[0]

    wanted = [(f(X + e) - f(X - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
    runs.clear()
    np.testing.assert_allclose(numbad.gradient(f, X), wanted, rtol=1e-6)
    assert len(runs) == 3


def test_what_a_program_keeps_stays_plain() -> None:
    kept: dict[int, Any] = {}

    def weights(n):
        if n not in kept:
            w = np.zeros(n)
            for k in range(n):
                w[k] = 1.0 / (k + 1)
            kept[n] = w
        return kept[n]

    def f(x):
        y = np.zeros(3)
        y[0] = x[0]
        return y @ x + weights(3) @ x

    for _ in range(3):
        np.testing.assert_allclose(numbad.gradient(f, X), [1.4 + 1.0, 0.5, 1.0 / 3.0])
    assert type(kept[3]) is np.ndarray and f(X) == pytest.approx(X[0] ** 2 + kept[3] @ X)


def test_arrays_that_are_not_filled_stay_plain() -> None:
    kinds = []

    def f(x):
        plain, y = np.ones(3), np.zeros(3)
        y[0] = x[0]
        kinds.append(type(plain))
        return y @ plain

    numbad.gradient(f, X)
    numbad.gradient(f, X)
    assert kinds == [np.ndarray] * 2


def test_a_function_that_is_made_anew_each_time_is_known() -> None:
    runs = []

    def main(c):
        def f(x):
            runs.append(1)
            y = np.zeros(3)
            y[0] = x[0] * c
            return y @ x

        return numbad.gradient(f, X)

    for c in (1.0, 2.0, 3.0):
        np.testing.assert_allclose(main(c), [2.0 * c * X[0], 0.0, 0.0])
    assert len(runs) == 4


class Callable_:
    """Things that are called in different ways."""

    def __call__(self, x):
        y = np.zeros(3)
        y[0] = x[0]
        return y @ x

    def method(self, x):
        return self(x)

    @staticmethod
    def static(x):
        y = np.zeros(3)
        y[0] = x[0]
        return y @ x

    @classmethod
    def of_class(cls, x):
        return cls.static(x)


def scaled(c, x):
    y = np.zeros(3)
    y[0] = c * x[0]
    return y @ x


@functools.wraps(scaled)
def wrapped(x):
    return scaled(1.0, x)


@pytest.mark.parametrize(
    "f",
    [Callable_(), Callable_().method, Callable_.static, Callable_.of_class, functools.partial(scaled, 1.0), wrapped],
    ids=["object", "method", "static", "class", "partial", "wrapped"],
)
def test_whatever_is_called(f: Any) -> None:
    for _ in range(3):
        np.testing.assert_allclose(numbad.gradient(f, X), [1.4, 0.0, 0.0])
    assert not exchange._held


@pytest.mark.parametrize(
    "text",
    [
        "import numpy as np\ndef f(x):\n    y = np.zeros(3)\n    y[0] = x[0]\n    return y @ x",
        "import numpy as np\nmake = np.zeros\ndel np\ndef f(x):\n    y = make(3)\n    y[0] = x[0]\n    return y @ x",
        "import numpy\ndef f(x):\n    np = numpy\n    y = np.zeros(3)\n    y[0] = x[0]\n    return y @ x",
        "import numpy as np\nf = lambda x: [y := np.zeros(3), y.__setitem__(0, x[0]), y @ x][2]",
        "def f(x):\n  global np\n  import numpy as np\n  y = np.zeros(3)\n  y[0], np = x[0], 0\n  return y @ x",
    ],
    ids=["plain", "deleted", "local", "lambda", "rebound"],
)
@pytest.mark.parametrize("name", ["__main__", "notebook"])
def test_modules_without_a_file(text: str, name: str) -> None:
    module = types.ModuleType(name)
    exec(text, module.__dict__)
    np.testing.assert_allclose(numbad.gradient(module.f, X), [1.4, 0.0, 0.0])


def test_installed_packages_are_left_alone() -> None:
    text = "import numpy as np\ndef fill(x):\n    y = np.zeros(3)\n    y[0] = x[0]\n    return y @ x\n"
    text += "def blank(n):\n    return np.zeros(n)\n"
    package = types.ModuleType("package")
    exec(compile(text, "/somewhere/site-packages/package.py", "exec"), package.__dict__)
    with pytest.raises(numbad.RecordingError, match=r"package\.py:4, in fill"):
        numbad.gradient(package.fill, X)

    def f(x):
        y = package.blank(3)
        y[0] = x[0]
        return y @ x

    np.testing.assert_allclose(numbad.gradient(f, X), [1.4, 0.0, 0.0])


# ---------------------------------------------------------------- threads, exceptions, tracers


def test_threads() -> None:
    """Those that record nothing get plain results, whoever records the same function meanwhile."""
    found, plain, stop = [], [], threading.Event()

    def f(x):
        y = np.zeros(3)
        y[0] = x[0] ** 2
        y[1:] = x[1:]
        return y @ x

    def call() -> None:
        while not stop.is_set():
            plain.append(f(X))

    def record() -> None:
        found.extend(numbad.gradient(f, X) for _ in range(20))

    calling = [threading.Thread(target=call) for _ in range(2)]
    recording = [threading.Thread(target=record) for _ in range(3)]
    for thread in calling + recording:
        thread.start()
    for thread in recording:
        thread.join()
    stop.set()
    for thread in calling:
        thread.join()
    assert len(found) == 60 and not exchange._held
    np.testing.assert_allclose(found, np.tile([3 * X[0] ** 2, 2 * X[1], 2 * X[2]], (60, 1)), rtol=1e-13)
    assert {type(value) for value in plain} == {np.float64} and len(set(plain)) == 1


def test_threads_that_find_the_same_arrays() -> None:
    """While one thread looks for the arrays of a function, its code is not the one by which another would find it."""
    with frequent_switches():
        for _ in range(60):
            check_first_recordings_by_threads()


def check_first_recordings_by_threads() -> None:
    """Let four threads record a function for the first time, all at once."""
    start = threading.Barrier(4)
    found: list[Any] = [None] * 4

    def parts(x):
        def square(y):
            z = np.zeros(2)
            z[1] = y * y
            return z

        return square(x) + square(2.0 * x)

    def f(x):
        y = np.zeros(3)
        y[0], y[1:] = x, parts(x)
        return y.sum()

    own = types.FunctionType(f.__code__.replace(), f.__globals__, f.__name__, None, f.__closure__)

    def record(k: int) -> None:
        start.wait()
        found[k] = [numbad.gradient(own, float(k)) for _ in range(3)]

    threads = [threading.Thread(target=record, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1.0 + 10.0 * k] * 3 for k in range(4)] and not exchange._held


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_code_is_given_back_whatever_is_raised(kind: type[BaseException]) -> None:
    def f(x):
        y = np.zeros(3)
        y[0] = x[0]
        raise kind("mine")

    code = f.__code__
    for _ in range(2):
        with pytest.raises(kind, match="mine"):
            numbad.gradient(f, X)
    assert f.__code__ is code and not exchange._held


def test_a_tracer_and_a_profiler_stay() -> None:
    def f(x):
        y = np.zeros(3)
        y[0] = x[0]
        return y @ x

    def profile(*_: Any) -> None:
        pass

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        found = numbad.gradient(f, X)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(before)
    np.testing.assert_allclose(found, [1.4, 0.0, 0.0])


def test_an_assignment_that_a_program_would_survive() -> None:
    """NumPy raises nothing, so neither does the recording, although the first one is caught."""

    def f(x):
        y = np.zeros(3)
        try:
            y[0] = x[0]
        except Exception:
            return np.sum(100.0 * x)
        return y.sum()

    assert numbad.gradient(f, X).tolist() == [1.0, 0.0, 0.0]

    def outside(x):
        try:
            KNOWN[0] = x[0]
        except Exception:
            return np.sum(100.0 * x)
        return KNOWN.sum()

    with pytest.raises(numbad.RecordingError, match="plain array"):
        numbad.gradient(outside, X)


# ---------------------------------------------------------------- what cannot be


def alias(x):
    view = KNOWN[:2]
    view += x[:2]
    return view.sum()


def argument(x, y=KNOWN):
    y[0] = x[0]
    return y @ x


@functools.lru_cache
def grid(n):
    return np.linspace(0.0, 1.0, n)


def kept(x):
    y = grid(3)
    y[1] = x[1]
    return y @ x


@pytest.mark.parametrize("f", [alias, argument, kept])
def test_arrays_from_elsewhere_are_an_error(f: Any) -> None:
    before = KNOWN.copy()
    with pytest.raises(numbad.RecordingError) as caught:
        numbad.gradient(f, X)
    lines = str(caught.value).splitlines()
    assert "plain array" in lines[0] and f.__name__ in lines[1] and "y = y.copy()" in lines[2]
    assert KNOWN.tolist() == before.tolist()


def test_a_cached_array_may_be_copied() -> None:
    def f(x):
        y = grid(3).copy()
        y[1] = x[1]
        return y @ x

    np.testing.assert_allclose(numbad.gradient(f, X), [0.0, 2.0 * X[1], 1.0])


def test_precisions() -> None:
    def single(x):
        y = np.zeros(3, x.dtype)
        y[0] = x[0] ** 2
        return y @ x

    def wide(x):
        y = np.zeros(3)
        y[0] = x[0] ** 2
        return y @ x

    def narrow(x):
        y = np.zeros(3, np.float32)
        y[0] = x[0] ** 2
        return y @ x

    x = X.astype(np.float32)
    value, found = numbad.value_and_gradient(single, x)
    assert value.dtype == found.dtype == np.float32 and value == single(x)
    value, found = numbad.value_and_gradient(wide, x)
    assert type(value) is float and value == pytest.approx(wide(x)) and found.dtype == np.float32
    with pytest.raises(numbad.RecordingError, match="array of float64"):
        numbad.gradient(narrow, X)


def test_it_may_be_switched_off() -> None:
    runs = []

    def f(x):
        runs.append(1)
        y = np.zeros(3)
        y[0] = x[0]
        return y @ x

    numbad.config.record_again = False
    try:
        with pytest.raises(numbad.RecordingError, match=r"y\[0\] = x\[0\]"):
            numbad.gradient(f, X)
    finally:
        numbad.config.record_again = True
    assert len(runs) == 1
    with pytest.raises(TypeError, match="True or False, not 2"):
        numbad.config.record_again = 2  # type: ignore[assignment]


def test_compiled_functions_of_the_same_module() -> None:
    numba = pytest.importorskip("numba")

    @numba.njit
    def total(a):
        return a.sum()

    def f(x):
        weights, y = np.ones(3), np.zeros(3)
        y[0] = x[0]
        return y @ x * total(weights)

    np.testing.assert_allclose(numbad.gradient(f, X), [4.2, 0.0, 0.0])


def test_arrays_of_objects_that_are_asked_for_stay() -> None:
    def f(x):
        kept = np.array([x[0], "text", None], dtype=object)
        y = np.zeros(2)
        y[0] = kept[0]
        return y.sum() * x[1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            np.testing.assert_allclose(numbad.gradient(f, X), [X[1], X[0], 0.0])
