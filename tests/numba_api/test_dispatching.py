"""Functions that Numba compiles are recorded: in every mode, with what Numba makes of them, or refused by name."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numba import njit, prange

import numbad
from numbad.numba_api import dispatching, twins
from shared.switching import frequent_switches

RNG = np.random.default_rng(0)
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}


def case(*arguments: Any) -> Callable[[Any], Any]:
    """Add a program to the table, with the point at which it is differentiated."""

    def add(f: Any) -> Any:
        CASES[f.__name__] = f, arguments
        return f

    return add


# ---------------------------------------------------------------- kernels


@case(0.7)
@njit
def square(x):
    return x * x


@njit
def part(a, b=2.0):
    return a * b + math.exp(-a)


@case(0.7)
@njit
def nested(x, n=3):
    total = 0.0
    for k in range(n):
        total += part(x, b=k + 1.0) * part(x)
    return total


@case(1.3)
@njit
def recursive(x, n=4):
    return 1.0 if n == 0 else x * recursive(x, n - 1)


@case(3.0)
@njit
def newton_root(a):
    x = a
    while abs(x * x - a) > 1e-12:
        x = 0.5 * (x + a / x)
    return x


@case(RNG.random(6))
@njit
def leaving(x):
    total = 0.0
    for i in range(x.size):
        if i == 1:
            continue
        if total > 1.0:
            break
        total += x[i] * x[i - 1]
    else:
        total *= 2.0
    return total


@case(RNG.random((4, 4)) + 4.0 * np.eye(4))
@njit(fastmath=True, boundscheck=True)
def factorised(a):
    a = a.copy()
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j] -= a[i, :j] @ a[:j, j]
            a[i, j] /= a[j, j]
        for j in range(i, a.shape[0]):
            a[i, j] -= a[i, :i] @ a[:i, j]
    return a.sum()


@case(RNG.random((4, 4)), RNG.random(4))
@njit
def eliminated(a, b):
    n = a.shape[0]
    a, b = a.copy(), b.copy()
    for c in range(n):
        pivot = c + np.argmax(np.abs(a[c:, c]))
        if pivot != c:
            for k in range(n):
                a[c, k], a[pivot, k] = a[pivot, k], a[c, k]
            b[c], b[pivot] = b[pivot], b[c]
        for r in range(c + 1, n):
            f = a[r, c] / a[c, c]
            a[r, c:] -= f * a[c, c:]
            b[r] -= f * b[c]
    for c in range(n - 1, -1, -1):
        b[c] = (b[c] - np.dot(a[c, c + 1 :], b[c + 1 :])) / a[c, c]
    return np.sum(b**2) / (1.0 + np.sum(b**4))


@njit
def relax(u, steps):
    for _ in range(steps):
        for i in range(1, u.shape[0] - 1):
            u[i, 1:-1] += u[i - 1, 1:-1] + u[i + 1, 1:-1]
            for j in range(1, u.shape[1] - 1):
                u[i, j] += u[i, j - 1]
                u[i, j] /= 5.0


@case(RNG.random((5, 5)))
def relaxed(u):
    work = u.copy()
    relax(work, 2)
    return (work**2).sum()


@case(RNG.random((4, 3)) * 3.0, 4.0)
@njit(parallel=True)
def lennard_jones(places, box):
    energy = 0.0
    for i in prange(places.shape[0]):
        for j in range(i + 1, places.shape[0]):
            r2 = 0.0
            for k in range(3):
                d = places[i, k] - places[j, k]
                d -= box * np.rint(d / box)
                r2 += d * d
            if r2 < 6.25:
                s = 1.0 / (r2 * r2 * r2 + 0.1)
                energy += 4.0 * (s * s - s)
    return energy


@njit
def step(t, y, p):
    return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])


@njit
def runge_kutta(f, y, dt, n, p):
    t = 0.0
    for _ in range(n):
        k1 = f(t, y, p)
        k2 = f(t + dt / 2, y + dt / 2 * k1, p)
        k3 = f(t + dt / 2, y + dt / 2 * k2, p)
        k4 = f(t + dt, y + dt * k3, p)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        t += dt
    return y


@case(np.array([1.0, 1.2, 0.8]), np.array([10.0, 28.0, 8.0 / 3.0]))
def lorenz(y, p):
    return runge_kutta(step, y, 0.01, 5, p).sum()


@case(RNG.random((3, 3)), RNG.random((3, 3)))
@njit
def hidden_markov(a, b):
    n = a.shape[0]
    alpha = b[:, 0] - np.log(n)
    for t in (1, 1, 0, 2):
        new = np.empty(n)
        for j in range(n):
            top = -np.inf
            for i in range(n):
                top = max(top, alpha[i] + a[i, j])
            total = 0.0
            for i in range(n):
                total += math.exp(alpha[i] + a[i, j] - top)
            new[j] = top + math.log(total) + b[j, t]
        alpha = new
    return np.log(np.exp(alpha).sum())


@case(2.0, 3.0)
@njit
def of_tuples(a, b):
    def inner(u):
        return u * a, (u + b, u / b)

    first, (second, third) = inner(b)
    return first * second + third


@njit
def variadic(x, *others):
    total = x
    for other in others:
        total *= other
    return total


@case(1.5, 2.5)
def calls(a, b):
    return variadic(a, b) + variadic(a, b, 2.0) + part(b=a, a=b)


def made_with(factor: float) -> Any:
    return njit(lambda x: factor * x * x)


@case(2.0)
def closures(x):
    return made_with(3.0)(x) + made_with(4.0)(x)


@njit("float64(float64, float64)")
def typed(x, y):
    return x * y * y


@case(1.1)
def signatures(x):
    return typed(x, 2.0) + typed(y=x, x=x)


@case(2.0)
def defined_inside(x):
    @njit
    def inner(a):
        y = np.zeros(3)
        y[0], y[1] = a, a * a
        return y.sum()

    z = np.zeros(2)
    z[0] = x
    return inner(x) * inner(2.0) + z.sum()


@case(2.0)
@numba.jit(forceobj=True)
def of_objects(x):
    return sum([x**k for k in range(4)])


@case(RNG.random(4))
@njit
def handled(x):
    try:
        if x[0] > 2.0:
            raise ValueError("never")
        y = np.where(x > 0.5, x * x, np.sin(x))
    except Exception:
        y = x
    return y.sum()


# ---------------------------------------------------------------- every mode


def differentiable(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(range(len(arguments)))


def moved(arguments: tuple[Any, ...], directions: list[Any], h: float) -> list[Any]:
    return [x + h * d if np.ndim(x) else float(x + h * d) for x, d in zip(arguments, directions, strict=True)]


def along(slopes: Any, directions: list[Any]) -> float:
    return float(sum(np.sum(np.asarray(slope) * d) for slope, d in zip(slopes, directions, strict=True)))


@pytest.mark.parametrize("name", CASES)
def test_every_mode(name: str) -> None:
    f, x = CASES[name]
    k = differentiable(x)
    directions = [RNG.normal(size=np.shape(part)) for part in x]
    tangents = tuple(d if np.ndim(d) else float(d) for d in directions)
    value, slopes = numbad.value_and_gradient(f, *x, argnums=k)
    assert value == pytest.approx(f(*x), rel=1e-13)
    h = 1e-4
    near, far = (f(*moved(x, directions, s)) - f(*moved(x, directions, -s)) for s in (h, 2.0 * h))
    assert along(slopes, directions) == pytest.approx((8.0 * near - far) / (12.0 * h), rel=1e-7, abs=1e-8)
    assert numbad.jvp(f, x, tangents)[1] == pytest.approx(along(slopes, directions), rel=1e-11)
    second = numbad.jvp(numbad.grad(f, argnums=k), x, tangents)[1]
    ahead, behind = (along(numbad.gradient(f, *moved(x, directions, s), argnums=k), directions) for s in (1e-5, -1e-5))
    assert along(second, directions) == pytest.approx((ahead - behind) / 2e-5, rel=1e-4, abs=1e-6)
    tape = numbad.record(f, *x)
    assert tape(*x) == value
    replayed = numbad.jit(numbad.value_and_grad(f, argnums=k))
    for h in (0.0, 1e-3, 0.0):
        point = moved(x, directions, h)
        got = replayed(*point)
        assert got[0] == pytest.approx(f(*point), rel=1e-12)
        assert along(got[1], directions) == pytest.approx(
            along(numbad.gradient(f, *point, argnums=k), directions), rel=1e-11
        )
    many = [np.stack([part, part]) for part in x]
    assert np.allclose(numbad.vmap(f)(*many), value, rtol=1e-12)


def test_jacobians_and_hessians() -> None:
    @njit
    def curve(x):
        y = np.empty(3)
        for i in range(3):
            y[i] = x[i] * x[(i + 1) % 3]
        return y

    x = np.array([1.0, 2.0, 4.0])
    expected = np.array([[2.0, 1.0, 0.0], [0.0, 4.0, 2.0], [4.0, 0.0, 1.0]])
    assert np.array_equal(numbad.jacobian(curve)(x), expected)
    assert np.array_equal(numbad.jacfwd(curve)(x), expected)
    assert np.array_equal(numbad.hessian(lambda x: curve(x).sum())(x), np.ones((3, 3)) - np.eye(3))


def test_jit_takes_other_paths_of_a_kernel() -> None:
    f = numbad.jit(newton_root)
    assert [f(a) for a in (2.0, 9.0, 100.0)] == [newton_root(a) for a in (2.0, 9.0, 100.0)]


# ---------------------------------------------------------------- plain arguments


def test_plain_calls_stay_numbas() -> None:
    ran = []

    @njit
    def kernel(a):
        return a * 2.0

    twin_of = dispatching.twin_of

    def noted(function: Any, *arguments: Any) -> Any:
        ran.append(function.__name__)
        return twin_of(function, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatching, "twin_of", noted)
        assert numbad.gradient(lambda x: x * kernel(3.0) + kernel(np.ones(2)).sum() * x, 1.0) == 10.0
        assert not ran
        numbad.gradient(kernel, 1.0)
        assert ran == ["kernel"]


def test_calls_of_compiled_versions_pass_no_hook() -> None:
    numbad.gradient(square, 1.0)
    square(1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatching, "takes_part", lambda value: pytest.fail("a plain call was looked at"))
        square(2.0)


def test_signatures_that_are_given_stay_the_only_ones() -> None:
    numbad.gradient(typed, 1.0, 2.0)
    assert typed.signatures == [(numba.float64, numba.float64)]
    assert not typed._can_compile


def test_a_kernel_is_compiled_while_its_source_is_recorded_with_hooks() -> None:
    @njit
    def first(a):
        y = np.zeros(3)
        y[0], y[1] = a, a * a
        return y.sum()

    f = lambda x: first(x) * first(3.0) * first.py_func(x)
    assert numbad.value_and_gradient(f, 2.0) == (12.0 * 36.0, 12.0 * 2.0 * 6.0 * 5.0)
    assert first(3.0) == 12.0
    assert first.signatures == [(numba.float64,)]


# ---------------------------------------------------------------- jit


def test_jit_of_a_function_that_holds_kernels() -> None:
    class Problem:
        kernel = staticmethod(square)

        def __init__(self) -> None:
            self.kernels = [square, part]

        def cost(self, x):
            return self.kernel(x) + self.kernels[1](x)

    problem = Problem()
    f = numbad.jit(problem.cost)
    with pytest.MonkeyPatch.context() as patch:
        assert f(2.0) == problem.cost(2.0)
        patch.setattr(dispatching.Kernel, "run", lambda *_: pytest.fail("it was recorded anew"))
        assert f(3.0) == problem.cost(3.0)
    problem.kernels[1] = square
    assert f(3.0) == 18.0


def test_jit_records_a_kernel_anew_whose_constant_has_changed() -> None:
    scope: dict[str, Any] = {"factor": 2.0}
    exec("def scaled(x):\n    return factor * x", scope)
    kernel = njit(scope["scaled"])
    f = numbad.jit(kernel)
    assert f(1.0) == 2.0
    scope["factor"] = 5.0
    assert f(1.0) == 5.0


def test_integers_that_jit_is_given() -> None:
    @njit
    def weighted(x, labels):
        total = 0.0
        for i in range(labels.size):
            total += x[labels[i]] * (labels[i] * 2)
        return total

    @njit
    def count(labels):
        return labels.sum()

    x = np.arange(3.0)
    f = numbad.jit(lambda x, labels: weighted(x, labels) + x[0] * count(labels))
    for labels in (np.array([0, 2, 1], np.int32), np.array([1, 1, 1], np.int32)):
        assert f(x + 1.0, labels) == weighted(x + 1.0, labels) + labels.sum()


# ---------------------------------------------------------------- constants

FACTOR = 2.0
TABLE = np.array([1.0, 2.0])
UNTOUCHED = np.zeros(2)


def test_a_constant_that_numba_has_compiled_must_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    @njit
    def scaled(x):
        return FACTOR * x

    assert scaled(1.0) == numbad.gradient(scaled, 1.0) == 2.0
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    with pytest.raises(numbad.RecordingError, match=r"FACTOR.*scaled.*earlier value\n.*\n.*scaled\.recompile"):
        numbad.gradient(scaled, 1.0)
    scaled.recompile()
    assert scaled(1.0) == numbad.gradient(scaled, 1.0) == 3.0


def test_a_constant_that_had_changed_before_the_first_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    @njit
    def scaled(x):
        return FACTOR * x

    scaled(1.0)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    with pytest.raises(numbad.RecordingError, match="FACTOR"):
        numbad.gradient(scaled, 1.0)


def test_a_table_that_numba_has_compiled_must_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "TABLE", TABLE.copy())

    @njit
    def weighted(x):
        return (TABLE * x).sum()

    assert numbad.gradient(weighted, 1.0) == 3.0
    TABLE[0] = 5.0  # nothing has been compiled yet
    assert numbad.gradient(weighted, 1.0) == weighted(1.0) == 7.0
    TABLE[0] = 6.0
    with pytest.raises(numbad.RecordingError, match="TABLE"):
        numbad.gradient(weighted, 1.0)


@pytest.mark.parametrize("value", ["x", "1.0"])
def test_a_kernel_does_not_write_to_a_constant(value: str) -> None:
    scope: dict[str, Any] = {"kept": UNTOUCHED}
    exec(f"def writes(x):\n    kept[0] = {value}\n    return x * kept[0]", scope)
    with pytest.raises(numbad.RecordingError, match="takes for a constant"):
        numbad.gradient(njit(scope["writes"]), 1.0)
    assert not UNTOUCHED.any()


# ---------------------------------------------------------------- bad input


def refused(f: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(numbad.RecordingError) as caught:
        numbad.gradient(f, *arguments, argnums=0)
    return str(caught.value)


def test_signatures_that_do_not_take_the_numbers() -> None:
    text = refused(njit("float64(int64)")(lambda n: n * 2.0), 2.5)
    assert "none of the signatures" in text
    assert "test_dispatching.py" in text
    assert "none of the signatures" in refused(njit("float32(float32)")(lambda x: x), 2.5)
    assert "none of the signatures" in refused(njit("int64(float64)")(lambda x: x), 2.5)
    assert numbad.gradient(njit("float32(float32)")(lambda x: x * x), np.float32(1.5)) == 3.0


def test_types_of_variables_that_are_given() -> None:
    assert "locals=" in refused(njit(locals={"y": numba.float32})(square.py_func), 2.5)


def test_an_array_that_is_made_elsewhere() -> None:
    @njit
    def fill(x, out):
        out[0] = x

    outside = np.zeros(2)

    def filled(x):
        fill(x, outside)
        return outside[0]

    assert "in fill" in refused(filled, 1.0)
    assert not outside.any()


def test_single_precision_does_not_hold_doubles() -> None:
    @njit
    def narrow(x):
        y = np.zeros(2, np.float32)
        y[0] = x
        return y[0]

    assert "float64" in refused(narrow, 1.5)


def test_what_is_assigned_to_integers_is_cut_off() -> None:
    @njit
    def cut(x):
        n = np.zeros(2, np.int64)
        n[0] = x
        return x * n[0]

    assert numbad.value_and_gradient(cut, 2.7) == (cut(2.7), 2.0)


def test_an_index_out_of_range_raises() -> None:
    @njit
    def beyond(x, k):
        return x[k]

    with pytest.raises(IndexError):
        numbad.gradient(beyond, np.ones(3), 10, argnums=0)


def test_recursion_without_end() -> None:
    @njit
    def endless(x):
        return endless(x)

    with pytest.raises(RecursionError):
        numbad.gradient(endless, 1.0)
    assert numbad.gradient(square, 1.0) == 2.0


def test_exceptions_leave_the_recorder_clean() -> None:
    @njit
    def limited(x):
        if x > 1.0:
            raise ValueError("too large")
        return x

    for _ in range(3):
        with pytest.raises(ValueError, match="too large"):
            numbad.gradient(limited, 2.0)
        assert numbad.gradient(limited, 0.5) == 1.0


def test_lists_texts_and_records() -> None:
    @njit
    def of_list(values, name):
        return values[0] * values[1] if name == "product" else values[0]

    assert numbad.gradient(lambda x: of_list([x, 2.0 * x], "product"), 2.0) == 8.0
    assert numbad.gradient(lambda x: of_list((1.0, 2.0 * x), "product"), 2.0) == 2.0
    records = np.array([(2.0, 3)], dtype=[("a", float), ("n", int)])
    assert numbad.gradient(njit(lambda x, r: x * r[0]["a"] * r[0]["n"]), 1.0, records, argnums=0) == 6.0

    @njit
    def into(x, r):
        r[0]["a"] = x
        return r[0]["a"]

    assert "plain" in refused(into, 1.0, records)


def test_a_value_that_has_left_its_recording() -> None:
    kept: list[Any] = []
    numbad.gradient(lambda x: (kept.append(x), x)[1], 1.0)
    with pytest.raises(numbad.LeakError):
        square(kept[0])


def test_what_a_kernel_prints(capsys: pytest.CaptureFixture[str]) -> None:
    @njit
    def told(x):
        print("x is", x)
        return x * x

    assert numbad.gradient(told, 2.0) == 4.0
    assert capsys.readouterr().out == "x is 2.0\n"


@pytest.mark.parametrize("native", [None, False])
@pytest.mark.parametrize("before", ["nothing", "outer", "inner"])
def test_the_model_of_errors_is_that_of_the_first_caller(before: str, native: Any) -> None:
    """Numba compiles a function whose decorator says nothing as the function has it that calls it first."""

    @njit
    def inner(x):
        return 1.0 / (x - 2.0)

    @njit(error_model="numpy")
    def outer(x):
        return inner(x) + 1.0

    {"nothing": lambda x: x, "outer": outer, "inner": inner}[before](3.0)
    for kernel in (inner, outer):
        dispatching.kernel_of(kernel).native = native
    if before == "inner":
        with pytest.raises(ZeroDivisionError):
            outer(2.0)
        with pytest.raises(ZeroDivisionError):
            numbad.gradient(outer, 2.0)
    else:
        assert numbad.value_and_gradient(outer, 2.0) == (math.inf, -math.inf)
        assert outer(2.0) == math.inf
    assert numbad.gradient(outer, 3.0) == -1.0


def test_pickled_kernels_and_kernels_on_disk() -> None:
    assert numbad.gradient(pickle.loads(pickle.dumps(square)), 3.0) == 6.0
    kernel = njit(cache=True)(square.py_func)
    assert (kernel(2.0), numbad.gradient(kernel, 2.0)) == (4.0, 4.0)


def test_threads_that_record_the_same_kernel() -> None:
    with frequent_switches():
        for _ in range(20):
            check_kernel_by_threads()


def check_kernel_by_threads() -> None:
    """Let four threads record a new kernel that fills an array."""
    found: list[Any] = [None] * 4

    @njit
    def filled(a):
        y = np.zeros(3)
        y[0], y[1] = a, a * a
        return y.sum()

    def work(k: int) -> None:
        found[k] = [numbad.gradient(filled, float(k)) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1.0 + 2.0 * k] * 10 for k in range(4)]


def test_a_long_recording_is_told_once(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "NOTICE_AFTER", 0.0)
    slow = njit(square.py_func)
    for _ in range(2):
        numbad.gradient(slow, 2.0)
    assert capfd.readouterr().err.count("recording square, which Numba compiles") == 1
    monkeypatch.setattr(numbad.config, "notices", False)
    numbad.gradient(njit(square.py_func), 2.0)
    assert not capfd.readouterr().err


def test_twins_die_with_their_kernels() -> None:
    import gc
    import weakref

    def make(factor: float) -> Any:
        @njit
        def kernel(x, n):
            return x if n == 0 else factor * kernel(x, n - 1)

        return kernel

    kernel = make(2.0)
    assert numbad.gradient(kernel, 1.0, 3, argnums=0) == 8.0
    dead = weakref.ref(kernel)
    del kernel
    gc.collect()
    assert dead() is None


# ---------------------------------------------------------------- the rules are those of the twins


def test_without_twins_the_results_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source alone is not what Numba computes: the checks above would notice."""

    @njit
    def wraps(x, n):
        return x * (n * n)

    monkeypatch.setattr(twins, "kernel_code", lambda code, raising: code.replace())
    assert numbad.value_and_gradient(wraps, 1.0, 2**40, argnums=0)[0] != wraps(1.0, 2**40)


PROGRAM = """
import numbad, sys
assert "numba" not in sys.modules
numbad.gradient(lambda x: x * x, 1.0)
def late(x):
    import numba
    return numba.njit(lambda y: y * y)(x)
for _ in range(2):
    try:
        print(numbad.gradient(late, 3.0))
    except numbad.RecordingError as error:
        print(str(error).splitlines()[0])
"""


@pytest.mark.subprocess
def test_numba_that_is_imported_by_what_is_recorded() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "6.0"
    assert all(
        line in ("6.0", "Numba has been imported while a function is recorded") for line in found.stdout.splitlines()
    )
