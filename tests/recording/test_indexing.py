"""Reading and writing elements by every kind of index, against NumPy and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import numbad
from shared.oracle import check_against_numpy

random = np.random.default_rng(5)
V = random.normal(size=6)
M = random.normal(size=(4, 5))
T = random.normal(size=(4, 2, 3))
F = np.asfortranarray(M)
R = random.normal(size=(8, 10))[::-2, ::2]
ARRAYS = {"V": V, "M": M, "T": T, "F": F, "R": R}
MASK = M > 0.0

KEYS = {
    "int": 1,
    "negative": -1,
    "numpy int": np.int64(2),
    "0-d int": np.array(1),
    "slice": slice(1, None),
    "slice step": slice(None, None, 2),
    "slice back": slice(None, None, -1),
    "slice back part": slice(-1, 0, -2),
    "slice beyond": slice(-99, 99),
    "slice empty": slice(3, 1),
    "ellipsis": ...,
    "new axis": None,
    "empty tuple": (),
    "list": [0, 2, -1],
    "repeated": [0, 0, 1],
    "empty list": [],
    "array": np.array([[0, 1], [2, 3]]) % 2,
    "bool list": "mask of first axis",
}
KEYS_2D = {
    "ints": (1, 2),
    "int slice": (1, slice(None, None, 2)),
    "slice int": (slice(1, 3), -1),
    "ellipsis int": (..., 0),
    "int ellipsis": (1, ...),
    "new axes": (None, slice(None), None, 1),
    "ellipsis new": (..., None),
    "two lists": ([0, 1, 1], [2, 0, 0]),
    "list slice": ([0, 2], slice(1, 3)),
    "slice list": (slice(None), [0, 0, 2]),
    "int list": (1, [0, 2]),
    "list int": ([0, 2], 1),
    "broadcast lists": ([[0], [2]], [1, 3]),
    "mask int": (np.array([True, False, True, True]), 1),
    "mask slice": (np.array([True, False, True, True]), slice(None, 2)),
    "mask": MASK,
    "ix": np.ix_([0, 2], [1, 3]),
    "list new": ([0, 1], None, [1, 2]),
}
KEYS_3D = {
    "ends apart": ([0, 1], slice(None), [2, 0]),
    "middle": (slice(None), [0, 1, 1], slice(1, 3)),
    "ellipsis list": (..., [0, 2]),
    "int apart": (0, slice(None), [1, 2]),
}


def cases():
    """Yield (name, array, key)."""
    for name, key in KEYS.items():
        for which, array in ARRAYS.items():
            chosen = (np.arange(array.shape[0]) % 2 == 0).tolist() if isinstance(key, str) else key
            yield pytest.param(array, chosen, id=f"{which} {name}")
    for name, key in KEYS_2D.items():
        for which in "MFR":
            yield pytest.param(ARRAYS[which], key, id=f"{which} {name}")
    for name, key in KEYS_3D.items():
        yield pytest.param(T, key, id=f"T {name}")


@pytest.mark.parametrize(("array", "key"), list(cases()))
def test_reading(array, key):
    check_against_numpy(lambda x: x[key] * 1.0, array)


@pytest.mark.parametrize(("array", "key"), list(cases()))
def test_writing_a_number_and_an_array(array, key):
    def number(x):
        y = x * 2.0
        y[key] = 3.0 * x.reshape(-1)[1]
        return y

    def elements(x):
        y = x * 2.0
        y[key] = x[key] * x.reshape(-1)[0]
        return y

    def in_place(x):
        y = x * 2.0
        y[key] *= x.reshape(-1)[1]
        y[key] += 1.0
        return y

    check_against_numpy(number, array)
    check_against_numpy(elements, array)
    check_against_numpy(in_place, array)


@pytest.mark.parametrize(("array", "key"), list(cases()))
def test_writing_through_a_view(array, key):
    def f(x):
        y = x * 2.0
        z = y[::-1]
        z[key] = x[key] ** 2
        return y, z

    check_against_numpy(f, array)


WRITERS = {
    "put": (lambda x, y: np.put(y, [0, 5, 0], [x[0], 7.0]), V),
    "put wrap": (lambda x, y: np.put(y, [-7, 8], x[:1], mode="wrap"), V),
    "put clip": (lambda x, y: y.put([-7, 8], x[:2] * 3.0, mode="clip"), M[0]),
    "put 2-d": (lambda x, y: np.put(y, [1, 7], x[0, :2]), M),
    "putmask": (lambda x, y: np.putmask(y, y > 0, x[0] * np.ones(2)), V),
    "place": (lambda x, y: np.place(y, MASK, x[0, :2]), M),
    "copyto": (lambda x, y: np.copyto(y, x[::-1]), M),
    "copyto where": (lambda x, y: np.copyto(y, x[0], where=MASK), M),
    "put_along_axis": (lambda x, y: np.put_along_axis(y, np.argmax(M, axis=1, keepdims=True), 9.0, axis=1), M),
    "put_along_axis values": (lambda x, y: np.put_along_axis(y, np.array([[0], [1], [0], [3]]), x[:, :1], 1), M),
    "fill_diagonal": (lambda x, y: np.fill_diagonal(y, x[0, 0]), M),
    "fill_diagonal values": (lambda x, y: np.fill_diagonal(y, x[0, :2]), M.T),
    "fill_diagonal wrap": (lambda x, y: np.fill_diagonal(y, x[0, 0], wrap=True), random.normal(size=(7, 3))),
    "add.at": (lambda x, y: np.add.at(y, [0, 0, 3], x[:3]), V),
    "add.at scalar": (lambda x, y: np.add.at(y, [0, 0, 3], x[0]), V),
    "add.at 2-d": (lambda x, y: np.add.at(y, ([0, 0, 1], slice(1, 3)), x[:3, :2]), M),
    "add.at mask": (lambda x, y: np.add.at(y, MASK, x[0, 0]), M),
    "subtract.at": (lambda x, y: np.subtract.at(y, [[0, 0], [1, 1]], x[:4].reshape(2, 2)), V),
    "multiply.at": (lambda x, y: np.multiply.at(y, [0, 0, 3, 0], x[:4]), V),
    "maximum.at": (lambda x, y: np.maximum.at(y, [0, 0, 3, 0], x[:4]), V),
    "negative.at": (lambda x, y: np.negative.at(y, [0, 3]), V),
    "out": (lambda x, y: np.multiply(x, x, out=y), M),
    "out view": (lambda x, y: np.exp(x[0], out=y[1]), M),
    "out where": (lambda x, y: np.multiply(x, x, out=y, where=MASK), M),
    "out broadcast": (lambda x, y: np.add(x[0], 1.0, out=y), M),
    "sum out": (lambda x, y: np.sum(x, axis=0, out=y[0]), M),
    "sort": (lambda x, y: y.sort(), M),
    "sort axis": (lambda x, y: y.sort(axis=0), M),
    "partition": (lambda x, y: y.partition(2), V),
    "fill": (lambda x, y: y[1:].fill(x[0]), V),
    "flat": (lambda x, y: y.flat.__setitem__(slice(2, 5), x[0, :3]), M),
    "operators": (lambda x, y: [y.__iadd__(x), y.__imul__(2.0), y.__isub__(x * x), y.__itruediv__(3.0)], M),
    "swap": (lambda x, y: y.__setitem__([0, 1], y[[1, 0]]), M),
    "shift": (lambda x, y: y.__setitem__(slice(1, None), y[:-1]), V),
}


@pytest.mark.parametrize("name", WRITERS)
def test_functions_that_write(name):
    writer, array = WRITERS[name]

    def f(x):
        y = x * 2.0
        writer(x, y)
        return y

    check_against_numpy(f, array)


def test_add_at_into_a_new_array():
    def f(x):
        y = np.zeros_like(x, shape=(4,))
        np.add.at(y, [0, 1, 1, 3, 3, 3], x)
        return y

    check_against_numpy(f, V)


@pytest.mark.parametrize(
    "key", [6, -7, (0, 0), [0, 9], np.array([[6]]), (..., ...), np.ones(5, bool), (None, 7), ([0, 1], [0, 1, 2])]
)
def test_index_errors_are_numpys(key):
    with pytest.raises(IndexError):
        V[key]
    with pytest.raises(IndexError):
        numbad.gradient(lambda x: np.sum(x[key]), V)

    def write(x):
        y = x * 1.0
        y[key] = 0.0
        return y.sum()

    with pytest.raises(IndexError):
        numbad.gradient(write, V)


@pytest.mark.parametrize("value", [np.ones(3), np.ones((2, 6))])
def test_assignments_that_do_not_fit(value):
    def write(x):
        y = x * 1.0
        y[1:3] = value
        return y.sum()

    with pytest.raises(ValueError):
        write(V)
    with pytest.raises(ValueError, match="broadcast"):
        numbad.gradient(write, V)


@pytest.mark.parametrize("function", [np.put, np.copyto, np.putmask, np.place, np.fill_diagonal, np.add.at])
def test_writing_into_plain_arrays_is_refused(function):
    y = np.zeros((3, 3))

    def write(x):
        arguments = {np.copyto: (x[0],), np.fill_diagonal: (x[0],)}.get(function, ([0], x[0]))
        function(y, *arguments)
        return y.sum()

    with pytest.raises(numbad.errors.RecordingError, match="plain array"):
        numbad.gradient(write, V)


def test_plus_equals_on_a_plain_array_is_refused():
    y = np.zeros(6)

    def f(x):
        z = y[:]
        z += x
        return z.sum()

    with pytest.raises(numbad.errors.RecordingError, match=r"y = y \+ x"):
        numbad.gradient(f, V)


def test_large_masks_are_guarded_by_one_row():
    x = random.normal(size=500)
    found = numbad.gradient(lambda x: np.sum(x[x > 0.0] ** 2), x)
    np.testing.assert_array_equal(found, np.where(x > 0.0, 2.0 * x, 0.0))


def test_views_of_zero_size():
    check_against_numpy(lambda x: (x[:0].reshape(0, 7), x[:0].T, x[:0][:, 1:3].reshape(-1)), M)
    check_against_numpy(lambda x: x[:, :0].sum(axis=1), M)


def test_reshapes_of_views():
    check_against_numpy(lambda x: (x[::2, ::2].reshape(-1), x.T.reshape(2, 10), x[:, None].reshape(20)), M)
    check_against_numpy(lambda x: (x[:, 1:3].reshape(8), x[::-1].reshape(10, 2), x.T[1:].T.reshape(2, -1)), F)


def test_values_of_large_inputs_in_fortran_order():
    """Decisions read the values of an input that stays where the caller has it, in its own order."""
    x = np.asfortranarray(random.normal(size=(70, 80)))

    def f(x):
        row, column = np.unravel_index(np.argmax(x), x.shape)
        assert (row, column) == np.unravel_index(np.argmax(plain), plain.shape)
        return x[row, column]

    plain = x.copy()
    np.testing.assert_array_equal(numbad.gradient(f, x), np.where(x == x.max(), 1.0, 0.0))


def test_several_views_of_one_captured_array_are_unlocked():
    big = random.normal(size=3000)
    one, other = big[:1000], big[1000:2000]
    numbad.gradient(lambda x: np.sum(x * one) + np.sum(x * other) + np.sum(x * big[500:1500]), np.ones(1000))
    assert big.flags.writeable and one.flags.writeable and other.flags.writeable


VIEWS = {
    "every second": lambda x: x.reshape(-1)[::2],
    "backwards": lambda x: x.reshape(-1)[::-1],
    "turned": lambda x: x.T,
    "turned, one row": lambda x: x.T[:1],
    "column": lambda x: x[:, 1:2],
    "permuted": lambda x: x.reshape(2, 3, 4).transpose(1, 2, 0),
    "permuted, backwards": lambda x: x.reshape(2, 3, 4).transpose(2, 0, 1)[::-1],
    "repeated": lambda x: np.broadcast_to(x[0], (2, 6)),
    "whole": lambda x: x,
}


@pytest.mark.parametrize("order", ["C", "F", "A", "K"])
@pytest.mark.parametrize("name", VIEWS)
def test_ravel_is_a_view_where_numpys_is_one(name: str, order: Any) -> None:
    def f(x: Any) -> Any:
        base = x * 1.0
        flat = VIEWS[name](base).ravel(order=order)
        if name != "repeated":  # of which NumPy warns when it is written to
            flat[0] = 10.0
        return np.sum(flat * np.arange(1.0, 1.0 + flat.size)) + np.sum(base * np.arange(24.0).reshape(4, 6))

    x = np.arange(1.0, 25.0).reshape(4, 6)
    assert numbad.value_and_gradient(f, x)[0] == f(x)


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "repeated"])
@pytest.mark.parametrize(
    "function",
    [
        lambda a: np.cumsum(a, axis=0),
        lambda a: np.cumprod(a / 10.0, axis=-1),
        lambda a: np.sort(a, axis=0),
        lambda a: np.zeros_like(a) + 0.0,
        np.ones_like,
        lambda a: np.full_like(a, 2.0),
        lambda a: np.zeros_like(a, order="C"),
        np.positive,
        lambda a: np.cumsum(a, axis=0, out=np.zeros_like(a)),
    ],
)
def test_new_arrays_lie_in_memory_as_numpys_do(function: Any, name: str) -> None:
    def f(x: Any) -> Any:
        result = function(VIEWS[name](x * 1.0))
        total = 0.0
        for flat in (result.reshape(-1), result.T.reshape(-1), result.ravel("K")):
            flat[1:] += 2.0 * flat[0]  # seen in the result if the reshape is a view
            total = total + np.sum(flat * np.arange(1.0, 1.0 + flat.size))
        return total + np.sum(result * np.arange(float(result.size)).reshape(result.shape))

    x = np.sin(np.arange(1.0, 25.0).reshape(4, 6))
    np.testing.assert_allclose(numbad.value_and_gradient(f, x)[0], f(x), rtol=1e-13)


def norm_of_one(x: Any) -> Any:
    """Fill an array of no axes where a truth value says so."""
    length = np.sqrt(x[0] ** 2 + x[1] ** 2)
    found = np.zeros_like(length)
    missing = np.isclose(length, 0.0)
    found[~missing] = np.sin(length[~missing])
    found[missing] = 0.0
    return found


TRUTHS = {
    "a mask": lambda r: r[r > 0.0],
    "a mask that takes nothing": lambda r: r[r > 9.0],
    "with a new axis": lambda r: r[r > 0.0, np.newaxis],
    "True": lambda r: r[True],
    "False and a new axis": lambda r: r[False, None],
    "a plain mask": lambda r: r[np.array(True)],
    "axes in front of dots": lambda r: r[..., None, None],
}


@pytest.mark.parametrize("name", TRUTHS)
def test_truth_values_as_indices_of_numbers(name: str) -> None:
    f = lambda x: TRUTHS[name](2.0 * x[1])
    x = np.array([0.3, 0.4])
    np.testing.assert_array_equal(numbad.jit(f)(x), f(x))
    assert np.shape(numbad.jit(f)(x)) == np.shape(f(x))
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(f(x)), x), [0.0, 2.0 * np.size(f(x))])


def test_arrays_of_no_axes_are_filled_by_masks() -> None:
    x = np.array([0.3, 0.4])
    assert numbad.jit(norm_of_one)(x) == norm_of_one(x)
    np.testing.assert_allclose(numbad.gradient(norm_of_one, x), np.cos(0.5) * x / 0.5, rtol=1e-14)
