"""Recording by machine code: the same derivatives as by Python, the same refusals, and nothing half done."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit, objmode

import numbad
from numbad.numba_api import dispatching, native_types
from numbad.numba_api.dispatching import MOST_GIVEN_UP, Kernel, NotNative
from numbad.numba_api.native_algebra import SAME

RNG = np.random.default_rng(0)
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {}


def case(*arguments: Any) -> Callable[[Any], Any]:
    """Add a program to the table, with its point."""

    def add(f: Any) -> Any:
        CASES[f.__name__] = f, arguments
        return f

    return add


@case(1.3, 0.7)
@njit
def operators(x, y):
    z = x + y - x * y / (1.0 + x) + x**3 + x**y - -y
    z += 2 * x - 3
    z *= y
    z /= 2.0
    z -= x % y + x // y
    return z + 0.0 * x + x**2 - x**1 + (2.0 - x) + 2.0**y + abs(x - y)


@case(0.4, 0.7)
@njit
def functions(x, y):
    z = math.sin(x) + math.cos(x) + math.tan(x) + math.exp(x) + math.log(x) + math.sqrt(x) + math.atan2(x, y)
    z += np.sinh(x) + np.cosh(x) + np.tanh(x) + np.expm1(x) + np.log1p(x) + np.log2(x) + np.log10(x) + np.sqrt(y)
    z += math.asin(x) + math.acos(x) + math.atan(x) + np.arcsinh(x) + np.arctanh(x) + np.arccosh(x + 1.0)
    z += math.erf(x) + math.erfc(y) + math.hypot(x, y) + math.pow(x, y) + np.square(x) + np.abs(x - y) + math.fabs(y)
    z += np.maximum(x, y) * np.minimum(x, 0.3) + max(x, y, 0.1) * min(x, y) + max(0.5, y) + np.rint(x) * x + np.sign(x)
    return (
        z + int(3.0 * x) * y + math.floor(5.0 * y) * x + math.ceil(x) + float(x) + np.floor(x) * y + np.trunc(7.3 * y)
    )


@case(RNG.random(6) + 0.2)
@njit
def branches(x):
    total, i, found = 0.0, 0, False
    while total < 3.0:
        k = i % x.size
        i += 1
        if x[k] > 0.6 and not x[k] > 5.0:
            total += math.sin(x[k])
            found = x[k] > 0.9
        elif i % 3 == 0:
            continue
        else:
            total += x[k] / (1.0 + i)
        if i > 40 or found:
            break
    return total * i


@case(RNG.random(5), RNG.random(5) + 4.0, RNG.random(5))
@njit
def tridiagonal(a, b, d):
    n = d.size
    c = np.zeros(n)
    y = np.empty_like(d)
    c[0], y[0] = a[0] / b[0], d[0] / b[0]
    for i in range(1, n):
        pivot = b[i] - a[i] * c[i - 1]
        c[i] = 1.0 / pivot
        y[i] = (d[i] - a[i] * y[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        y[i] -= c[i] * y[i + 1]
    total = 0.0
    for i in range(len(y)):
        total += y[i] * y[i]
    return total


@njit
def relax(u, steps):
    for _ in range(steps):
        for i in range(1, u.shape[0] - 1):
            row = u[i]
            for j in range(1, u.shape[1] - 1):
                row[j] += 0.2 * (u[i - 1, j] + u[i + 1, j] + row[j - 1] + row[j + 1] - 4.0 * u[i, j])


@case(RNG.random((5, 4)), 1.2)
@njit
def in_place(u, factor):
    work = u.copy()
    work[0, :] = factor
    work[-1] = u[0]
    work[1:, 0] = work.T[1, : u.shape[0] - 1]
    relax(work, 3)
    total = factor * 0.0
    for i in range(work.shape[0]):
        for j in range(work.shape[1]):
            total += work[i, j] ** 2
    return total


@case(RNG.random((4, 3)))
def outside(u):
    work = u.copy()
    view = work[1:, ::-1]
    relax(view, 2)
    return (work**2).sum()


@njit
def slope(t, y, p):
    return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])


@njit
def runge_kutta(f, y, dt, n, p):
    for _ in range(n):
        k1 = f(0.0, y, p)
        k2 = f(0.0, y + dt / 2 * k1, p)
        k3 = f(0.0, y + dt / 2 * k2, p)
        k4 = f(0.0, y + dt * k3, p)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


@case(np.array([1.0, 1.2, 0.8]), np.array([10.0, 28.0, 8.0 / 3.0]))
def lorenz(y, p):
    return runge_kutta(slope, y, 0.01, 20, p).sum()


@case(1.1)
@njit
def recursive(x, n=5):
    if n == 0:
        return x
    return x * recursive(x, n - 1) + n


@case(0.8)
@njit
def of_tuples(x):
    def inner(u):
        return u * x, (u + 1.0, 2.0)

    one, (two, three) = inner(x * x)
    return one * two * three


@njit
def pair(x, n):
    y = np.full(n, 2.0)
    y[1] = x * x
    return y, x + 1.0, n, 3.0


@case(1.7)
def several_results(x):
    y, z, n, c = pair(x, 3)
    y[0] = z
    return (y * y).sum() * n + z * c


@njit
def congruential(x, seed):
    for _ in range(4):
        seed = seed * 6364136223846793005 + 1442695040888963407
    return x * ((seed >> 33) & 255)


@case(1.7)
def integers(x):
    return congruential(x, 12345)


@case(RNG.random(4), 0.3)
@njit
def seeded(x, volatility):
    np.random.seed(5)
    total = 0.0
    for i in range(20):
        price = x[i % 4] * math.exp(volatility * np.random.normal())
        if price > 0.5:
            total += price - 0.5
    return total


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Record all kernels by machine code where that can be; tells which were."""
    ran: list[tuple[str, bool]] = []
    run_natively = Kernel.run_natively

    def noted(self: Kernel, arguments: tuple[Any, ...]) -> Any:
        try:
            found = run_natively(self, arguments)
        except NotNative:
            ran.append((self.function.__name__, False))
            raise
        ran.append((self.function.__name__, True))
        return found

    monkeypatch.setattr(Kernel, "run_natively", noted)
    monkeypatch.setattr(Kernel, "is_long", lambda self, arguments: False)
    monkeypatch.setattr(Kernel, "is_worth_compiling", lambda self: True)
    return ran


def by_python(f: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function gives with all kernels recorded by Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "is_worth_compiling", lambda self: False)
        return f(*arguments)


def leaves(found: Any) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in (found if isinstance(found, tuple) else (found,))])


@pytest.mark.parametrize("name", CASES)
def test_machine_code_records_what_python_does(name: str, native: list[tuple[str, bool]]) -> None:
    f, x = CASES[name]
    k = tuple(range(len(x)))
    modes = {
        "gradient": lambda *x: numbad.gradient(f, *x, argnums=k),
        "second": lambda *x: numbad.jvp(numbad.grad(f, argnums=k), x, tuple(0.1 + 0.0 * part for part in x))[1],
        "value": lambda *x: numbad.record(f, *x)(*x),
    }
    for mode, derive in modes.items():
        found, other = derive(*x), by_python(derive, *x)
        assert np.allclose(leaves(found), leaves(other), rtol=1e-12, atol=1e-13), mode
    assert modes["value"](*x) == pytest.approx(f(*x), rel=1e-14)
    assert native
    assert all(done for _, done in native)
    replayed = numbad.jit(numbad.value_and_grad(f, argnums=k))
    for factor in (1.0, 1.01, 1.0):
        point = tuple(factor * part for part in x)
        assert replayed(*point)[0] == pytest.approx(f(*point), rel=1e-12)
        assert np.allclose(leaves(replayed(*point)[1]), leaves(numbad.gradient(f, *point, argnums=k)), rtol=1e-10)


def test_many_rows_and_constants(native: list[tuple[str, bool]]) -> None:
    @njit
    def long(x, n):
        total = 0.0
        for i in range(n):
            total += x * i / (i + 1.0)
        return total

    expected = sum(i / (i + 1.0) for i in range(20_000))
    assert numbad.gradient(long, 2.0, 20_000, argnums=0) == pytest.approx(expected, rel=1e-12)
    assert native == [("long", True)]


# ---------------------------------------------------------------- what goes on by Python


@njit
def with_eigenvalues(x):
    return np.linalg.eigvalsh(x).sum()


@njit
def with_long_arrays(x, n):
    y = x * x
    for _ in range(n):
        y = y * x
    return y[0]


@njit
def norm(x):
    return math.sqrt(x[0] * x[0] + x[1] * x[1])


@njit
def printed(x):
    print(x.size)
    return np.interp(x[0], np.arange(3.0), np.arange(3.0))


FALLBACKS = {
    "eigenvalues": (with_eigenvalues, (np.ones((2, 2)) + np.eye(2),)),
    "long arrays": (with_long_arrays, (np.ones(20_000), 60)),
    "a norm at zero": (norm, (np.zeros(2),)),
    "interpolation": (printed, (np.ones(3),)),
}


@pytest.mark.parametrize("name", FALLBACKS)
def test_what_the_types_lack_is_recorded_by_python(name: str, native: list[tuple[str, bool]]) -> None:
    f, x = FALLBACKS[name]
    derive = lambda *x: numbad.gradient(f, *x, argnums=0)
    assert np.array_equal(derive(*x), by_python(derive, *x))
    assert native == [(f.__name__, False)]
    for _ in range(MOST_GIVEN_UP + 1):
        derive(*x)
    half_way = name in ("long arrays", "a norm at zero")  # elsewhere, or with fewer elements, it may go well
    assert len(native) == (MOST_GIVEN_UP if half_way else 1)


def test_divisions_of_arrays_raise_nothing(native: list[tuple[str, bool]]) -> None:
    """Numba computes arrays as NumPy does, whatever the model of errors is."""

    @njit
    def divided(x):
        y = np.zeros(2)
        y[0] = x
        z = np.ones(2) * x
        z /= y
        return (1.0 / y)[1], z[1], (x // y)[1], (x % y)[1], (z / 2.0)[0]

    with np.errstate(all="ignore"):
        found = numbad.record(divided, 2.0)(2.0)
    np.testing.assert_array_equal(found, divided(2.0))
    np.testing.assert_array_equal(found, [math.inf, math.inf, math.inf, math.nan, 0.5])
    assert native == [("divided", True)]


def test_recursion_without_end(native: list[tuple[str, bool]]) -> None:
    @njit
    def endless(x, n):
        return x if n < 0 else endless(1.0001 * x, n + 1)

    @njit
    def deep(x, n):
        return x if n == 0 else x * deep(x, n - 1)

    with pytest.raises(RecursionError):
        numbad.gradient(endless, 1.0, 1, argnums=0)
    assert numbad.gradient(deep, 1.0, 2000, argnums=0) == 2001.0
    assert native == [("deep", True)]


def test_blocks_in_object_mode_are_recorded_by_python(native: list[tuple[str, bool]]) -> None:
    @njit
    def with_objects(x):
        with objmode(y="float64"):
            y = np.linalg.norm(np.array([x, 1.0]))
        return x * y

    assert numbad.gradient(with_objects, 3.0) == pytest.approx(math.sqrt(10.0) + 9.0 / math.sqrt(10.0))
    assert native == [("with_objects", False)]


def test_what_machine_code_prints(native: list[tuple[str, bool]], capfd: pytest.CaptureFixture[str]) -> None:
    @njit
    def told(x):
        y = np.zeros(2)
        y[0] = x
        print("x is", x, y, (x, 1), x > 2.0)
        return x * x

    assert numbad.gradient(told, 3.0) == 6.0
    told(3.0)
    recorded, plain = capfd.readouterr().out.splitlines()
    assert recorded == plain == "x is 3.0 [3. 0.] (3.0, 1) True"
    assert native == [("told", True)]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers")
def test_a_handler_of_signals_interrupts(native: list[tuple[str, bool]]) -> None:
    """Of what the handler raises nothing is lost, and the next recording begins clean."""

    @njit
    def long(x, n):
        for _ in range(n):
            x = x * 1.0000001
        return x

    assert numbad.gradient(long, 1.0, 3, argnums=0) == pytest.approx(1.0)

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError("it takes too long")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(TimeoutError, match="takes too long"):
            numbad.gradient(long, 1.0, 100_000_000, argnums=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert numbad.gradient(long, 1.0, 3, argnums=0) == pytest.approx(1.0)
    assert native == [("long", True), ("long", True)]


def test_the_reason_is_told_once(native: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]) -> None:
    f = numbad.kernel(lambda x: np.linalg.eigvalsh(x)[0])
    for _ in range(2):
        numbad.gradient(f, np.eye(2) + np.ones((2, 2)))
    told = capsys.readouterr().err
    assert told.count("is recorded by its Python source") == 1
    assert "eigvalsh" in told


def test_inner_functions_are_compiled_where_outer_ones_cannot_be(native: list[tuple[str, bool]]) -> None:
    @njit
    def inner(x, n):
        total = 0.0
        for k in range(n):
            total += math.sin(x[0, 0] * k)
        return total

    @njit
    def outer(x):
        return np.linalg.eigvalsh(x)[0] * inner(x, 100)

    x = np.eye(2) + 0.1
    assert np.allclose(numbad.gradient(outer, x), by_python(numbad.gradient, outer, x), rtol=1e-13)
    assert native == [("outer", False), ("inner", True)]


def test_plain_arrays_are_as_they_were_where_machine_code_gives_up(native: list[tuple[str, bool]]) -> None:
    @njit
    def counted(x, counts):
        counts[0] += 1
        return math.sqrt(x * x)

    counts = np.zeros(1)
    numbad.gradient(counted, 0.0, counts, argnums=0)
    assert counts[0] == 1.0
    assert native == [("counted", False)]


def test_arguments_that_share_memory(native: list[tuple[str, bool]]) -> None:
    @njit
    def shifted(a, b):
        for i in range(a.size):
            a[i] = 2.0 * b[i]

    def program(x):
        y = x * 1.0
        shifted(y[1:], y[:-1])
        return y[-1]

    assert numbad.gradient(program, np.ones(4))[0] == 8.0
    assert native == [("shifted", False)]


def test_generators_are_recorded_by_python(native: list[tuple[str, bool]]) -> None:
    @njit
    def powers(x, n):
        y = x
        for _ in range(n):
            yield y
            y = y * x

    assert numbad.gradient(lambda x: sum(powers(x, 3)), 2.0) == 1.0 + 4.0 + 12.0
    assert native == [("powers", False)]


def test_threads_that_record(native: list[tuple[str, bool]]) -> None:
    @njit
    def summed(x, n):
        total = 0.0
        for i in range(n):
            total += math.sin(x * i) * x
        return total

    expected = [numbad.gradient(summed, 0.1 * k, 2000, argnums=0) for k in range(4)]
    found: list[Any] = [None] * 4

    def work(k: int) -> None:
        found[k] = [numbad.gradient(summed, 0.1 * k, 2000, argnums=0) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[slope] * 20 for slope in expected]


# ---------------------------------------------------------------- arguments, results, errors


def test_results_that_are_views_of_arguments(native: list[tuple[str, bool]]) -> None:
    @njit
    def part(a):
        a[0, 0] = 3.0 * a[1, 1]
        return a[1:, 1], a

    def program(x):
        y = (x * 1.0)[:, ::-1]
        view, same = part(y)
        view[0] = 5.0 * view[1]
        same[0, 1] = 7.0 * same[2, 0]
        return y.sum()

    x = RNG.random((3, 3))
    assert np.array_equal(numbad.gradient(program, x), by_python(numbad.gradient, program, x))
    assert native == [("part", True)]


def test_errors_leave_the_recording_as_it_was(native: list[tuple[str, bool]]) -> None:
    @njit
    def limited(x, k):
        if x[k] > 1.0:
            raise ValueError("too large")
        return 1.0 / x[k]

    def program(x):
        try:
            return limited(x, 1)
        except ValueError:
            return x[0] * 5.0

    assert np.array_equal(numbad.gradient(program, np.array([1.0, 2.0])), [5.0, 0.0])
    with pytest.raises(ZeroDivisionError):
        numbad.gradient(limited, np.zeros(2), 0, argnums=0)
    with pytest.raises(IndexError):
        numbad.gradient(limited, np.zeros(2), 7, argnums=0)
    assert np.array_equal(numbad.gradient(program, np.array([1.0, 0.5])), [0.0, -4.0])


def test_divisions_by_zero_are_guarded(native: list[tuple[str, bool]]) -> None:
    tape = numbad.record(njit(lambda x: 1.0 / x), 2.0)
    with pytest.raises(numbad.BranchError, match="test_native"):
        tape(0.0)
    quiet = njit(lambda x: 1.0 / x, error_model="numpy")
    assert np.isinf(numbad.gradient(quiet, 0.0))
    assert len(native) == 2


FACTOR = 2.0


@njit
def factor_of(x):
    return FACTOR * x


@njit
def with_factor(x):
    return factor_of(x) * x


def test_constants_that_change(native: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbad.gradient(with_factor, 1.0) == 4.0
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert numbad.gradient(with_factor, 1.0) == 6.0  # Numba has compiled nothing for plain numbers
    assert with_factor(1.0) == 3.0
    monkeypatch.setitem(globals(), "FACTOR", 4.0)
    with pytest.raises(numbad.RecordingError, match="FACTOR"):
        numbad.gradient(with_factor, 1.0)


def test_single_precision_is_recorded_by_python(native: list[tuple[str, bool]]) -> None:
    f = njit(lambda x: x * x)
    assert numbad.gradient(f, np.float32(3.0)) == 6.0
    assert native == [("<lambda>", False)]


def test_signatures_of_the_users_function_stay(native: list[tuple[str, bool]]) -> None:
    f = njit(lambda x: x * x)
    numbad.gradient(f, 3.0)
    assert not f.signatures
    assert native == [("<lambda>", True)]


# ---------------------------------------------------------------- when


def test_long_recordings_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    f = njit(lambda x: x * x)
    kernel = dispatching.kernel_of(f)
    numbad.gradient(f, 3.0)
    assert kernel.native is None
    kernel.seconds, kernel.calls = 3.0, 1
    assert numbad.gradient(f, 3.0) == 6.0
    assert kernel.native
    other = dispatching.kernel_of(njit(lambda x: x * x))
    other.seconds, other.calls = 3.0, 100_000  # short ones cost less than what a call of machine code takes to prepare
    assert not other.is_worth_compiling()


# ---------------------------------------------------------------- damage is noticed


@pytest.mark.parametrize("damage", ["opcode", "operands", "write back", "guards"])
def test_damaged_versions_are_noticed(
    damage: str, native: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from numbad.numba_api import native as module

    f, x = CASES["in_place"] if damage != "guards" else CASES["branches"]
    fresh = njit(f.py_func)
    if damage == "write back":
        f, x = CASES["outside"]
        fresh = f
        monkeypatch.setattr(module.Border, "write_back", lambda self: None)
    else:
        append = module.append_session

        def damaged(recorder: Any, session: Any, site: Any) -> None:
            code = session.code.copy()
            if damage == "opcode":
                code[np.flatnonzero(code[::4] == native_types.opcodes.ADD)[0] * 4] = native_types.opcodes.SUBTRACT
            elif damage == "operands":
                code[4 * (len(code) // 8) + 2] = 1
            else:
                code = code.reshape(-1, 4)[code[::4] != native_types.GUARD].reshape(-1)
            session.code = code
            append(recorder, session, site)

        monkeypatch.setattr(module, "append_session", damaged)
    k = tuple(range(len(x)))
    with pytest.raises(AssertionError):
        if damage == "guards":
            tape = numbad.record(fresh, *x)
            assert tape(*(3.0 * part for part in x)) == pytest.approx(f(*(3.0 * part for part in x)))
        else:
            found = numbad.gradient(fresh, *x, argnums=k)
            assert np.allclose(leaves(found), leaves(by_python(lambda: numbad.gradient(f, *x, argnums=k))), rtol=1e-12)


def test_what_stands_in_for_functions_is_not_called_by_python() -> None:
    for function in {id(part): part for part in SAME.values()}.values():
        with pytest.raises((NotImplementedError, TypeError)):
            function(1.0)
