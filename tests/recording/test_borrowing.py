"""Arrays of the user's that a recording reads: locked, compared, let go, and never changed."""

from __future__ import annotations

import gc
import math
import mmap
import pickle
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.limits import COPIED, SMALL
from numbad.recording import borrowing

# ---------------------------------------------------------------- iteration, closures, captured arrays

WRITES: dict[str, Callable[[np.ndarray, np.ndarray, float], None]] = {
    "array": lambda weights, view, value: weights.__setitem__(slice(None), value),
    "element": lambda weights, view, value: weights.__setitem__(12, value),
    "view": lambda weights, view, value: view.__setitem__(slice(None), value),
    "element of a view": lambda weights, view, value: view.__setitem__(2, value),
    "in place": lambda weights, view, value: np.add(view, value, out=view),
}


@pytest.mark.parametrize("write", list(WRITES))
@pytest.mark.parametrize("n", [20, 500, 600, 5000, 60_000, 250_000])
def test_captured_arrays_are_what_they_were_when_they_were_used(n: int, write: str) -> None:
    if n > limits.COPIED:
        pytest.skip("locked instead, with the small limits of tests")
    memory = np.ones(n + 10)
    view, weights = memory[15:], memory[5 : n + 5]

    def f(x: Any) -> Any:
        memory[:] = 1.0
        first = np.sum(weights * x)
        WRITES[write](weights, view, 10.0)
        second = np.sum(weights * x)
        WRITES[write](weights, view, 0.0)
        return first + second + weights @ x

    expected = f(np.eye(1, n, 3)[0]), f(np.eye(1, n, 12)[0])
    for derivative in (numbad.grad(f), numbad.jit(numbad.grad(f)), lambda x: numbad.vjp(f, x)[1](1.0)[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = derivative(np.ones(n))
        assert (found[3], found[12]) == expected
    assert memory.flags.writeable and view.flags.writeable and weights.flags.writeable


@pytest.mark.parametrize("n", [1000, 5000, 60_000, 250_000])
def test_inputs_are_what_they_were_when_the_function_was_called(n: int) -> None:
    if n > limits.COPIED:
        pytest.skip("locked instead, with the small limits of tests")
    start = np.ones(n)

    def f(x: Any) -> Any:
        first = np.sum(x * x)
        start[3] = 7.0
        return first + np.sum(start * x)

    found = numbad.gradient(f, start)
    assert (found[0], found[3]) == (3.0, 9.0)
    assert start.flags.writeable


@pytest.mark.parametrize("write", ["array", "element", "view", "element of a view", "in place"])
@pytest.mark.parametrize("captured", [True, False])
def test_large_arrays_are_not_written_to_while_they_are_read(captured: bool, write: str) -> None:
    """A copy of a large array costs too much: it is locked, and what another view writes is noticed."""
    memory = np.ones(300_000)
    view, weights = memory[10:], memory[:]
    x = np.ones(300_000) if captured else weights

    def f(x: Any) -> Any:
        first = np.sum(weights * x)
        WRITES[write](weights, view, 10.0)
        return first

    ways = [
        lambda: numbad.gradient(f, x),
        lambda: numbad.jit(f)(x),
        lambda: numbad.jacfwd(lambda s: f(s * weights))(1.0),
        lambda: numbad.vmap(f)(x[None]),
        lambda: numbad.vjp(f, x),
        lambda: numbad.record(f, x),
    ]
    for way in ways:
        memory[:] = 1.0
        with pytest.raises(numbad.errors.RecordingError, match=r"read-only|written to") as caught:
            way()
        assert isinstance(caught.value, ValueError)
        assert "a copy" in str(caught.value)
        assert memory.flags.writeable
        assert view.flags.writeable
        assert weights.flags.writeable
    memory[:] = 1.0
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(weights * x), np.ones(300_000)), weights)


def test_one_array_in_two_recordings_is_unlocked_after_the_last() -> None:
    weights = np.ones(300_000)
    other = weights[1:]
    first, second = threading.Event(), threading.Event()
    seen = []

    def slow(x: Any) -> Any:
        result = np.sum(weights * x)
        first.set()
        second.wait(60)
        seen.append(weights.flags.writeable)
        return result

    thread = threading.Thread(target=lambda: numbad.gradient(slow, np.ones(300_000)))
    thread.start()
    first.wait(60)
    numbad.gradient(lambda x: np.sum(other * x), np.ones(other.size))
    assert not weights.flags.writeable
    second.set()
    thread.join()
    assert seen == [False]
    assert weights.flags.writeable and other.flags.writeable


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, numbad.errors.OutputError, MemoryError])
def test_no_array_stays_locked_after_an_error(error: type[BaseException]) -> None:
    weights = np.ones(300_000)

    def f(x: Any) -> Any:
        _ = np.sum(weights * x)
        if error is numbad.errors.OutputError:
            return weights * x
        raise error("stop")

    for derivative in (numbad.grad(f), numbad.jit(numbad.grad(f)), lambda x: numbad.jvp(f, (x, x), (x,))):
        with pytest.raises((error, TypeError)):
            derivative(np.ones(300_000))
        assert weights.flags.writeable


def foreign_memory(n: int) -> dict[str, np.ndarray]:
    """Return arrays of ones whose memory belongs to something else."""
    ones, held = np.ones(n), mmap.mmap(-1, 8 * n)
    mapped = np.frombuffer(held, np.float64)
    mapped[:] = 1.0
    return {
        "pickle 2": pickle.loads(pickle.dumps(ones, 2)),
        "pickle 5": pickle.loads(pickle.dumps(ones, 5)),
        "bytes": np.frombuffer(ones.tobytes()),
        "bytearray": np.frombuffer(bytearray(ones.tobytes())),
        "mmap": mapped,
        "view of mmap": mapped[:],
        "read-only": np.broadcast_to(1.0, (n,)),
        "memoryview": np.asarray(memoryview(ones)),
        "DLPack": np.from_dlpack(ones),
    }


@pytest.mark.parametrize("n", [100, 5000, 70_000])
def test_arrays_of_foreign_memory_stay_as_they_are(n: int) -> None:
    slopes = 2.0 * np.ones(n)
    for name, values in foreign_memory(n).items():
        before = values.flags.writeable

        def f(x: Any, values: np.ndarray = values) -> Any:
            return np.sum(values * x * x)

        for derivative in (numbad.grad(f), numbad.jit(numbad.grad(f)), lambda x, f=f: numbad.vjp(f, x)[1](1.0)[0]):
            np.testing.assert_array_equal(derivative(np.ones(n)), slopes, err_msg=name)
            np.testing.assert_array_equal(derivative(values), slopes, err_msg=name)
        assert values.flags.writeable == before, name

        def stop(x: Any, values: np.ndarray = values) -> Any:
            raise ValueError(str((values * x).shape))

        with pytest.raises(ValueError, match="0,"):
            numbad.gradient(stop, values)
        assert values.flags.writeable == before, name


def test_arrays_that_were_read_only_stay_so() -> None:
    weights = np.ones(1000)
    weights.flags.writeable = False
    numbad.gradient(lambda x: np.sum(weights * x), np.ones(1000))
    assert not weights.flags.writeable


def test_captured_arrays_are_not_kept_alive() -> None:
    import weakref

    class Owned(np.ndarray):
        pass

    def differentiate() -> Any:
        weights = np.ones(2000).view(Owned)
        numbad.gradient(lambda x: np.sum(np.asarray(weights) * x), np.ones(2000))
        return weakref.ref(weights)

    reference = differentiate()
    gc.collect()
    assert reference() is None


def test_temporaries_of_plain_arrays_are_not_confused() -> None:
    """Arrays made and dropped while recording may get the same id; each must keep its own values."""

    def f(x: Any) -> Any:
        total = 0.0
        for k in range(1, 6):
            total = total + np.sum(np.full(1000, float(k)) * x)
        return total

    np.testing.assert_array_equal(numbad.gradient(f, np.ones(1000)), np.full(1000, 15.0))


# ---------------------------------------------------------------- single precision


FINGERPRINTS: dict[str, Callable[[np.ndarray], None]] = {
    "one element": lambda a: a.flat.__setitem__(a.size // 2 + 1, a.flat[a.size // 2 + 1] + 1),
    "the last element": lambda a: a.flat.__setitem__(a.size - 1, 3),
    "the first element": lambda a: a.flat.__setitem__(0, 3),
    "two rows change places": lambda a: a.__setitem__(slice(0, 2), a[1::-1].copy()),
    "rows in another order": lambda a: a.__setitem__(slice(None), a[::-1].copy()),
    "all signs": lambda a: np.negative(a, out=a),
    "all exponents": lambda a: np.multiply(a, 2, out=a),
    "two signs": lambda a: a[:2].__setitem__(..., -a[:2]),
    "the sign of a zero": lambda a: a.flat.__setitem__(7, -a.flat[7]),
}


@pytest.mark.parametrize("change", FINGERPRINTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
@pytest.mark.parametrize("shape", [(3, 40), (130, 127), (64, 4096), (2000, 129)])
def test_whatever_is_written_to_an_array_changes_its_fingerprint(shape: Any, dtype: Any, change: str) -> None:
    if change == "the sign of a zero" and dtype is np.int8:
        dtype = np.dtype(">f8")
    start = (np.arange(math.prod(shape)) % 251).reshape(shape).astype(dtype)
    start.flat[7] = 0
    for given in (start, np.asfortranarray(start), np.repeat(start, 2, axis=1)[:, ::2], start[::-1]):
        before = borrowing.sample(given)
        assert not borrowing.written(given, before)
        FINGERPRINTS[change](given)
        assert borrowing.written(given, before)


@pytest.mark.parametrize("n", [100, 300, 1200])
def test_one_element_of_a_captured_array_that_changes_between_calls_is_noticed(n: int) -> None:
    table = np.linspace(0.0, 1.0, n * n).reshape(n, n)
    programs = (lambda x: np.sum((table * 2.0) @ x), lambda x: np.sum(np.where(table > 0.5, table, 0.0) @ x))
    fast = [numbad.jit(numbad.grad(f)) for f in programs]
    x = np.ones(n)
    for _ in range(3):
        wants = 2.0 * table.sum(axis=0), np.where(table > 0.5, table, 0.0).sum(axis=0)
        for slope, want in zip(fast, wants, strict=True):
            np.testing.assert_allclose(slope(x), want, rtol=1e-12)
        table[n // 3, n // 7] += 1.0
        table[[0, n - 1]] = table[[n - 1, 0]]


def test_a_captured_array_that_gets_another_shape_is_noticed() -> None:
    table = np.arange(6.0).reshape(2, 3)
    fast = numbad.jit(lambda x: np.sum(table[-1] * x))
    assert fast(2.0) == 24.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        table.shape = (3, 2)
    assert fast(2.0) == 18.0


@pytest.mark.parametrize("derivative", [numbad.gradient, lambda f, x: numbad.jit(numbad.grad(f))(x)])
def test_a_large_array_that_is_written_to_and_restored_is_noticed(derivative: Any) -> None:
    memory = np.ones(limits.COPIED + 10)
    view, weights = memory[:], memory[5:]

    def f(x: Any) -> Any:
        first = np.sum(weights * x)
        view[12] = 7.0
        second = np.sum(weights * x)
        view[12] = 1.0
        return first + second

    with pytest.raises(numbad.errors.RecordingError, match="was written to after the function had used it"):
        derivative(f, np.ones(weights.size))
    assert memory.flags.writeable and view.flags.writeable and weights.flags.writeable


@pytest.mark.parametrize("more", [-1, 0, 1, 5])
def test_parts_of_a_large_argument_are_read_where_they_lie(more: int) -> None:
    rows = 3
    columns = max(COPIED // rows, SMALL) + more + 1
    z = np.random.default_rng(more + 1).uniform(0.5, 1.5, (rows, columns))
    x = np.linspace(0.5, 1.0, columns)
    seen = []

    def f(x: Any, z: Any, scale: Any = None) -> Any:
        total = 0.0
        for row in z:
            total = total + np.sum(np.sin(x * row)) + np.sum(row[1:-1] * x[2:] * row[2:])
        seen.append(z.flags.writeable)
        return total if scale is None else total * 2.0 + np.sum(scale[-1] * x)

    want = sum(row * np.cos(x * row) for row in z)
    want[2:] += sum(row[1:-1] * row[2:] for row in z)
    np.testing.assert_allclose(numbad.gradient(f, x, z, argnums=0), want, rtol=1e-12)
    assert seen == [z.size <= COPIED]
    assert z.flags.writeable
    np.testing.assert_allclose(numbad.gradient(f, x, z, argnums=0, scale=z), 2.0 * want + z[-1], rtol=1e-12)
    for _ in range(2):
        np.testing.assert_allclose(
            numbad.jit(numbad.grad(lambda x, z: np.sum(np.sin(x * z[1]))))(x, z), z[1] * np.cos(x * z[1])
        )
    z[1, 3] = 0.0  # a factor that does not vary and is zero
    found = numbad.gradient(
        lambda x, z: np.sum(np.log(x) * z[1]), np.where(np.arange(columns) == 3, 0.0, x), z, argnums=0
    )
    assert found[3] == 0.0
    assert found[4] == pytest.approx(z[1, 4] / x[4])


def test_parts_that_are_no_rows_of_the_argument() -> None:
    z = np.random.default_rng(1).uniform(0.5, 1.5, (3, max(COPIED // 2, SMALL) + 7))
    x = np.linspace(0.5, 1.0, z.shape[1])
    single = z.astype(np.float32)
    parts = {
        "another precision": (single, lambda z: z[1]),
        "backwards": (z, lambda z: z[1, ::-1]),
        "a copy": (z, lambda z: z[1] * 2.0),
        "a part between rows": (z, lambda z: z.reshape(-1)[5 : 5 + x.size]),
        "read-only": (z, lambda z: np.broadcast_to(z[2], (1, x.size))[0]),
    }
    for name, (given, part) in parts.items():
        found = numbad.gradient(lambda x, z, part=part: np.sum(x * part(z)), x, given, argnums=0)
        np.testing.assert_allclose(found, part(given), err_msg=name)


def test_a_part_of_an_argument_that_is_written_to_later_is_noticed() -> None:
    z = np.ones((3, max(COPIED // 2, SMALL) + 7))
    older = z[1]
    x = np.linspace(0.5, 1.0, z.shape[1])

    def f(x: Any, z: Any) -> Any:
        total = np.sum(x * z[1])
        older[:] = 2.0
        return total

    with pytest.raises(numbad.RecordingError, match="written to after"):
        numbad.gradient(f, x, z, argnums=0)
