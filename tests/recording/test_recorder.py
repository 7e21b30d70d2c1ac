"""What a recording makes of Python and NumPy: aliases of arrays that are written to, control flow, constants."""

from __future__ import annotations

import array
import gc
import logging
import math
import mmap
import pickle
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.recording import borrowing

HERE = Path(__file__).name

X = np.array([0.7, -1.3, 2.1, 0.4, -0.6, 1.9])
WEIGHTS = np.array([1.0, -2.0, 3.0, -5.0, 7.0, -11.0])


def jacobian_of_linear(f: Any, n: int = 6) -> np.ndarray:
    """Return the matrix of a linear function, computed by NumPy alone on unit vectors."""
    return np.array([np.asarray(f(unit.copy()), float).reshape(-1) for unit in np.eye(n)])


def check_linear(f: Any) -> None:
    """Compare a function that NumPy runs linearly: value, and every row of its Jacobian."""
    rows = jacobian_of_linear(f)
    expected = np.asarray(f(X.copy()), float)
    for k in range(expected.size):
        seen = []

        def one(x: Any, k: int = k, seen: list[Any] = seen) -> Any:
            result = f(x)
            seen.append(np.asarray(result.value() if hasattr(result, "value") else result, float))
            return np.reshape(result, (-1,))[k]

        found = numbad.gradient(one, X.copy())
        np.testing.assert_allclose(seen[0], expected, rtol=1e-15, atol=1e-15)
        np.testing.assert_allclose(found, rows[:, k], rtol=1e-15, atol=1e-15)


# ---------------------------------------------------------------- in-place assignment and aliases


def view_before_writing(x: Any) -> Any:
    y = x * 1.0
    z = y[:3]
    y *= 2.0
    return z


def view_after_writing(x: Any) -> Any:
    y = x * 1.0
    y *= 2.0
    z = y[2:5]
    y[3] = x[0]
    return z


def writing_through_a_view(x: Any) -> Any:
    y = x * 1.0
    z = y[1:4]
    z[1] = 3.0 * x[5]
    return y


def writing_through_a_view_of_a_view(x: Any) -> Any:
    y = x * 1.0
    z = y[1:][::2][1:]
    z[0] = 4.0 * x[0]
    return y


def shift_forward(x: Any) -> Any:
    y = x * 1.0
    y[1:] += y[:-1]
    return y


def shift_backward(x: Any) -> Any:
    y = x * 1.0
    y[:-1] += y[1:]
    return y


def overlapping_copy(x: Any) -> Any:
    y = x * 1.0
    y[2:] = y[:-2]
    return y


def reversed_onto_itself(x: Any) -> Any:
    y = x * 1.0
    y[:] = y[::-1]
    return y


def reversed_view_scaled(x: Any) -> Any:
    y = x * 1.0
    z = y[::-1]
    z[:2] *= 3.0
    y[0] += x[4]
    return z


def negative_stride_assignment(x: Any) -> Any:
    y = x * 1.0
    y[::-2] = x[:3]
    return y


def boolean_assignment(x: Any) -> Any:
    y = x * 1.0
    y[np.array([True, False, True, False, False, True])] = x[:3]
    return y


def boolean_assignment_of_a_number(x: Any) -> Any:
    y = x * 1.0
    y[np.array([True, False, True, False, False, True])] *= 2.0
    return y


def fancy_assignment(x: Any) -> Any:
    y = x * 1.0
    y[[4, 1]] = x[[0, 5]]
    return y


def fancy_assignment_twice_to_one_place(x: Any) -> Any:
    y = x * 1.0
    y[[2, 2, 3]] = x[:3]
    return y


def fancy_augmented_counts_once(x: Any) -> Any:
    y = x * 1.0
    y[[2, 2, 3]] += x[:3]
    return y


def fancy_read_is_a_copy(x: Any) -> Any:
    y = x * 1.0
    z = y[[0, 1, 2]]
    z[0] = 9.0 * x[3]
    y[1] = 8.0 * x[4]
    return np.concatenate([y, z])


def boolean_read_is_a_copy(x: Any) -> Any:
    y = x * 1.0
    z = y[np.array([True, True, False, False, False, False])]
    y *= 5.0
    return np.concatenate([y, z])


def reshape_is_a_view(x: Any) -> Any:
    y = x * 1.0
    z = y.reshape(2, 3)
    z[1] = 2.0 * x[:3]
    y[0] = x[5]
    return z


def reshape_of_a_transpose_is_a_copy(x: Any) -> Any:
    y = (x * 1.0).reshape(2, 3)
    z = y.T.reshape(-1)
    z[0] = 7.0 * x[1]
    y[0, 1] = 3.0 * x[2]
    return np.concatenate([y.reshape(-1), z])


def transpose_is_a_view(x: Any) -> Any:
    y = (x * 1.0).reshape(2, 3)
    y.T[2] = x[:2]
    y[0] += 1.0 * x[3]
    return y.T


def ravel_is_a_view(x: Any) -> Any:
    y = (x * 1.0).reshape(2, 3)
    y.ravel()[4] = 5.0 * x[0]
    return y


def flatten_is_a_copy(x: Any) -> Any:
    y = (x * 1.0).reshape(2, 3)
    z = y.flatten()
    z[4] = 5.0 * x[0]
    return np.concatenate([y.reshape(-1), z])


def copy_does_not_alias(x: Any) -> Any:
    y = x * 1.0
    z = np.copy(y)
    w = y.copy()
    y *= 2.0
    z[0] = x[5]
    return np.concatenate([y, z, w])


def view_of_a_copy(x: Any) -> Any:
    y = x * 1.0
    z = y.copy()[1:4]
    z *= 3.0
    return np.concatenate([y, z])


def new_axis_and_ellipsis_views(x: Any) -> Any:
    y = x * 1.0
    y[None, :, None][0, 2, 0] = 6.0 * x[0]
    y[..., 1] = x[5]
    y[...] *= 2.0
    return y


def expand_and_squeeze_are_views(x: Any) -> Any:
    y = x * 1.0
    np.squeeze(np.expand_dims(y, 0), 0)[3] = 2.0 * x[1]
    return y


def split_gives_views(x: Any) -> Any:
    y = x * 1.0
    first, second = np.split(y, 2)
    first *= 2.0
    second[0] = x[0]
    return y


def swapaxes_is_a_view(x: Any) -> Any:
    y = (x * 1.0).reshape(1, 2, 3)
    np.swapaxes(y, 1, 2)[0, 1] = x[:2]
    return y


def diagonal_write(x: Any) -> Any:
    y = np.zeros_like(x[:4]).reshape(2, 2) + x[:4].reshape(2, 2)
    y[np.arange(2), np.arange(2)] = x[4:]
    return y


def iteration_sees_writes(x: Any) -> Any:
    y = (x * 1.0).reshape(3, 2)
    total = 0.0
    for k, row in enumerate(y):
        if k < 2:
            y[k + 1] += row
        total = total + row
    return total


def iteration_over_views_of_a_matrix_writes_through(x: Any) -> Any:
    y = (x * 1.0).reshape(3, 2)
    for row in y:
        row *= 2.0
    return y


def scalars_keep_their_value(x: Any) -> Any:
    y = x * 1.0
    first = y[0]
    y[0] = 5.0 * x[1]
    return np.stack([first, y[0]])


def augmented_scalar_rebinds(x: Any) -> Any:
    a = x[0]
    b = a
    a += x[1]
    a *= 2.0
    a -= x[2]
    a /= 4.0
    return np.stack([a, b])


def augmented_element(x: Any) -> Any:
    y = x * 1.0
    for k in range(1, 6):
        y[k] += 0.5 * y[k - 1]
    return y


def augmented_array_rebinds_nothing(x: Any) -> Any:
    y = x * 1.0
    z = y
    y += 1.0 * x
    y -= 0.25 * x
    y *= 2.0
    y /= 4.0
    return z


def broadcast_assignment(x: Any) -> Any:
    y = (x * 1.0).reshape(2, 3)
    y[:, 1:] = x[:2]
    y[1] = x[5]
    return y


def column_assignment(x: Any) -> Any:
    y = (x * 1.0).reshape(2, 3)
    y[:, 0] = x[4:]
    y[:, 2:] = x[:2, None]
    return y


def assignment_of_constants(x: Any) -> Any:
    y = x * 1.0
    y[1:3] = 0.0
    y[4] = 0
    y[5:] = [0]
    return y


def filled(x: Any) -> Any:
    y = np.zeros_like(x)
    y[:] = x[2]
    y[1] = x[0]
    return y


def built_up(x: Any) -> Any:
    y = np.zeros_like(x)
    for k in range(6):
        y[k] = x[5 - k] * (k + 1)
    return y


def full_and_empty_like(x: Any) -> Any:
    y = np.empty_like(x)
    y[:] = 2.0 * x
    z = np.full_like(x, 0.0)
    z += y
    y *= 3.0
    return np.concatenate([y, z])


def swapped_elements(x: Any) -> Any:
    y = x * 1.0
    y[0], y[1] = y[1], y[0]
    y[[2, 3]] = y[[3, 2]]
    return y


def swapped_rows_of_views(x: Any) -> Any:
    y = (x * 1.0).reshape(3, 2)
    y[0], y[1] = y[1].copy(), y[0].copy()
    return y


def swapped_views_overwrite_as_in_numpy(x: Any) -> Any:
    y = (x * 1.0).reshape(3, 2)
    y[0], y[1] = y[1], y[0]
    return y


def write_into_a_broadcast_source(x: Any) -> Any:
    y = x * 1.0
    z = np.broadcast_to(y[:2], (3, 2))
    y[0] = 4.0 * x[5]
    return z


def out_argument(x: Any) -> Any:
    y = np.zeros_like(x)
    view = y[::2]
    np.multiply(x, 3.0, out=y)
    np.add(x[:3], view, out=y[3:])
    return y


def input_is_written(x: Any) -> Any:
    x[0] = 2.0 * x[1]
    x[2:] *= 3.0
    return x


def in_place_matmul(x: Any) -> Any:
    y = (x[:4] * 1.0).reshape(2, 2)
    z = y
    y @= np.array([[1.0, 2.0], [3.0, 4.0]])
    return z


def roll_by_hand(x: Any) -> Any:
    y = x * 1.0
    last = y[-1:].copy()
    y[1:] = y[:-1]
    y[:1] = last
    return y


LINEAR = [  # the functions of x above
    value
    for value in list(globals().values())
    if getattr(value, "__module__", "") == __name__ and getattr(value, "__annotations__", {}).keys() == {"x", "return"}
]


@pytest.mark.parametrize("f", LINEAR, ids=lambda f: f.__name__)
def test_in_place_assignment_has_the_aliases_of_numpy(f: Any) -> None:
    check_linear(f)


def test_all_aliasing_programs_are_collected() -> None:
    assert len(LINEAR) >= 45


@pytest.mark.parametrize("f", LINEAR[::3], ids=lambda f: f.__name__)
def test_aliases_of_an_input_that_is_large_and_kept_by_reference(f: Any) -> None:
    """The same programs on the first elements of a large input, which must not be written to."""
    large = np.zeros(6000)
    large[:6] = X
    before = large.copy()
    expected = np.asarray(f(X.copy()), float)

    def total(x: Any) -> Any:
        return np.sum(np.reshape(f(x[:6]), (-1,)) * np.arange(1.0, expected.size + 1.0))

    found = numbad.gradient(total, large)
    rows = jacobian_of_linear(f)
    np.testing.assert_allclose(found[:6], rows @ np.arange(1.0, expected.size + 1.0), rtol=1e-14, atol=1e-14)
    assert not found[6:].any()
    assert np.array_equal(large, before)


def test_the_callers_array_is_not_changed() -> None:
    for n in (6, 6000):
        x = np.linspace(0.1, 1.0, n)
        before = x.copy()

        def f(x: Any) -> Any:
            x *= 2.0
            x[0] = 0.0
            return np.sum(x * x)

        found = numbad.gradient(f, x)
        assert np.array_equal(x, before)
        assert x.flags.writeable
        np.testing.assert_allclose(found[1:], 8.0 * x[1:], rtol=1e-15)
        assert found[0] == 0.0


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("y += np.ones((2, 6))", ValueError),
        ("y += np.ones(5)", ValueError),
        ("y[:2] = x[:3]", ValueError),
        ("y[[0, 1]] = x[:3]", ValueError),
        ("y[6] = x[0]", IndexError),
        ("y[0, 0] = x[0]", IndexError),
        ("y[np.array([True, False])] = 1.0", IndexError),
        ("y[0] = 'text'", (TypeError, ValueError)),
        ("y[0] = 1j", TypeError),
        ("y[0] = x[:2]", ValueError),
        ("y['a'] = 1.0", IndexError),
        ("y[1.5] = 1.0", IndexError),
    ],
)
def test_impossible_assignments_raise_what_numpy_raises(statement: str, error: Any) -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        scope = {"x": x, "y": y, "np": np}
        exec(statement, scope)
        return np.sum(scope["y"])

    with pytest.raises((ValueError, IndexError, TypeError)):
        f(X.copy())
    with pytest.raises(error):
        numbad.gradient(f, X)
    assert numbad.gradient(lambda x: x**2, 3.0) == 6.0


def test_a_failed_assignment_changes_nothing() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        for bad in (lambda: y.__setitem__(slice(0, 2), x[:3]), lambda: y.__iadd__(np.ones(5))):
            with pytest.raises(ValueError, match="broadcast"):
                bad()
        return np.sum(y * WEIGHTS)

    np.testing.assert_array_equal(numbad.gradient(f, X), WEIGHTS)


def test_assigning_into_a_plain_array_says_what_to_write() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(6)
        y[0] = x[0]
        return y[0]

    with pytest.raises(numbad.errors.RecordingError, match=r"np\.zeros_like") as caught:
        numbad.gradient(f, X)
    assert "y[0] = x[0]" in str(caught.value)


@pytest.mark.parametrize("write", ["z[0] = 5.0", "z += 1.0", "y[0] = 5.0", "y += 1.0", "y[1:][:2] = 0.0"])
@pytest.mark.parametrize("make", ["np.asarray(y)", "np.ascontiguousarray(y)", "y.T.reshape(3, 2).T.flat"])
def test_an_alias_that_cannot_be_kept_is_an_error(make: str, write: str) -> None:
    """NumPy would write through; the array of objects is a snapshot, so writing to either is refused."""

    def f(x: Any) -> Any:
        y = x * 1.0
        if "flat" in make:
            y = y.reshape(2, 3).T
        scope = {"x": x, "y": y, "np": np}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(f"z = {make}", scope)
        exec(write, scope)
        return np.sum(scope["y"]) + np.sum(scope["z"])

    if "flat" in make and write.startswith("y"):
        return test_flat_of_a_transpose_reads_in_order()
    with pytest.raises((ValueError, numbad.errors.RecordingError), match=r"read-only|cannot be assigned"):
        numbad.gradient(f, X)


def test_flat_of_a_transpose_reads_in_order() -> None:
    found = numbad.gradient(lambda x: sum(k * v for k, v in enumerate(x.reshape(2, 3).T.flat)), X)
    np.testing.assert_array_equal(found, [0, 2, 4, 1, 3, 5])


def test_np_array_copies_and_may_be_written_to() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            z = np.array(y)
        z[0] = 5.0
        y[1] = 7.0
        return np.sum(y) + 10.0 * np.sum(z)

    np.testing.assert_array_equal(numbad.gradient(f, X), [1, 10, 11, 11, 11, 11])


def test_astype_copies_unless_told_not_to() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        copied, same = y.astype(float), y.astype(float, copy=False)
        y *= 3.0
        return copied[0] + same[1]

    np.testing.assert_array_equal(numbad.gradient(f, X), [1, 3, 0, 0, 0, 0])


@pytest.mark.parametrize("name", ["byteswap", "tobytes", "tofile", "resize", "ctypes", "setflags", "getfield"])
def test_missing_methods_of_arrays_say_so(name: str) -> None:
    with pytest.raises(numbad.errors.RecordingError, match=name) as caught:
        numbad.gradient(lambda x: getattr(x, name), X)
    assert isinstance(caught.value, AttributeError)
    assert HERE in str(caught.value)
    assert numbad.gradient(lambda x: x * hasattr(x, name) + x * hasattr(x, "anything"), 2.0) == 0.0
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        numbad.gradient(lambda x: x.anything, X)


# ---------------------------------------------------------------- control flow


def test_if_takes_the_branch_of_the_value() -> None:
    def f(x: Any) -> Any:
        if x > 1.0:
            return x**2
        elif x > 0.0 and not x > 0.5:
            return 3.0 * x
        return -x

    assert [numbad.gradient(f, value) for value in (2.0, 0.25, 0.75, -1.0)] == [4.0, 3.0, -1.0, -1.0]


def test_while_runs_on_recorded_values() -> None:
    def f(x: Any) -> Any:
        count = 0
        while x < 100.0:
            x = x * x
            count += 1
        return x * count

    value, slope = numbad.value_and_gradient(f, 3.0)
    assert value == 6561.0 * 3
    assert slope == pytest.approx(8 * 3.0**7 * 3)


def test_for_over_elements_and_over_range_of_int() -> None:
    def f(x: Any) -> Any:
        total = 0.0
        for value in x:
            for _ in range(int(abs(value)) + 1):
                total = total + value
        return total

    np.testing.assert_array_equal(numbad.gradient(f, X), np.abs(X).astype(int) + 1.0)


def test_newton_iteration_until_convergence() -> None:
    def root(a: Any) -> Any:
        x = a
        while abs(x * x - a) > 1e-14 * a:
            x = 0.5 * (x + a / x)
        return x

    value, slope = numbad.value_and_gradient(root, 2.0)
    assert value == pytest.approx(math.sqrt(2.0))
    assert slope == pytest.approx(0.5 / math.sqrt(2.0), rel=1e-10)


def test_int_round_floor_ceil_give_python_numbers() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.extend([int(x), round(x), math.floor(x), math.ceil(x), math.trunc(x), bool(x)])
        return x * int(x)

    assert numbad.gradient(f, 2.7) == 2.0
    assert seen == [2, 3, 2, 3, 2, True]
    assert [type(value) for value in seen] == [int, int, int, int, int, bool]


WAYS_TO_A_FLOAT: dict[str, Callable[[Any], Any]] = {
    "float": lambda x: float(x * x),
    "method": lambda x: (x * x).__float__(),
    "np.float64": lambda x: np.float64(x),
    "np.float32": lambda x: np.float32(x),
    "math": lambda x: math.sin(x),
    "math.fsum": lambda x: math.fsum([x, x]),
    "math.isnan": lambda x: x if not math.isnan(x) else 0.0,
    "complex": lambda x: complex(x).real,
    "array": lambda x: np.array([x, x], float)[0],
    "array.array": lambda x: array.array("d", [x])[0],
    "element": lambda x: np.zeros(3).__setitem__(0, x),
    "int of float": lambda x: x * int(float(x)),
    "fromiter": lambda x: np.fromiter([x], float)[0],
    "sum of arrays": lambda x: float(np.sum(np.stack([x, x]))),
    "0-d": lambda x: float(np.asarray(x)),
}


@pytest.mark.parametrize("name", list(WAYS_TO_A_FLOAT))
def test_a_float_that_would_lose_the_derivative_is_an_error_that_says_what_to_write(name: str) -> None:
    f = WAYS_TO_A_FLOAT[name]
    batch = numbad.vmap(f)
    for derivative in (numbad.grad(f), numbad.jit(numbad.grad(f)), numbad.jit(f), lambda _: batch(np.ones(2))):
        with pytest.raises(numbad.errors.RecordingError) as caught:
            derivative(1.5)
        if name in ("float", "method", "sum of arrays"):
            assert "return the value itself" in str(caught.value)
            assert "numbad.stop_gradient" in str(caught.value)


def test_floats_that_lose_nothing() -> None:
    held = numbad.jit(numbad.grad(lambda x: x * float(numbad.stop_gradient(x))))
    assert [held(1.5), held(2.5), held(1.5)] == [1.5, 2.5, 1.5]
    assert numbad.gradient(lambda x: x[0] * float(numbad.stop_gradient(x)[1]), np.array([2.0, 3.0])).tolist() == [3, 0]
    step = numbad.jit(numbad.grad(lambda x: x * x * float(x > 2.0)))
    assert [step(3.0), step(1.0), step(3.0)] == [6.0, 0.0, 6.0]
    assert numbad.gradient(lambda x: x * float(numbad.zeros(2)[0]), 3.0) == 0.0


def test_printing_is_no_decision(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def f(x: Any) -> Any:
        print("x is", x, f"{x:.2f}", "%.1f" % x, float(x))  # noqa: UP031
        logging.getLogger("loss").info("loss %.1f %s", x, x)
        return x * x

    quick = numbad.jit(numbad.grad(f))
    assert [quick(float(k)) for k in range(1, 100)] == [2.0 * k for k in range(1, 100)]
    assert quick.paths == 1
    assert capsys.readouterr().out == "x is 1.0 1.00 1.0 1.0\n"
    assert "loss 1.0 1.0" in caplog.text


TABLE = {"1": 10.0, "2": 20.0, "3": 30.0}
TEXTS: dict[str, Callable[[Any], str]] = {
    "f-string": lambda x: f"{x:.0f}",
    "format": lambda x: format(x, ".0f"),
    "str.format": lambda x: "{:.0f}".format(x),  # noqa: UP032
    "str": lambda x: str(x)[0],
    "repr": lambda x: repr(x).partition("(")[2][0],
    "percent": lambda x: "%.0f" % x,  # noqa: UP031
    "array": lambda x: str(np.stack([x, x]))[1],
    "array repr": lambda x: repr(np.stack([x, x])).partition("[")[2][0],
}


@pytest.mark.parametrize("name", list(TEXTS))
def test_the_text_of_a_value_is_a_decision(name: str) -> None:
    """Replays go on with the text of the values that they have."""

    def f(x: Any) -> Any:
        return x * TABLE[TEXTS[name](x)]

    quick, both = numbad.jit(numbad.grad(f)), numbad.vmap(numbad.grad(f))
    points = [1.2, 3.1, 2.4, 1.3, 2.2, 3.3]
    expected = [TABLE[str(int(x))] for x in points]
    assert [quick(x) for x in points] == expected
    assert both(np.array(points)).tolist() == expected
    tape = numbad.record(f, 1.2)
    assert tape(1.2) == 12.0
    with pytest.raises(numbad.errors.BranchError):
        tape(2.4)


LOOKUPS: dict[str, Callable[[Any], Any]] = {
    "set": lambda x: 2.0 * x if x in {1.3, 2.7} else x,
    "frozenset": lambda x: 2.0 * x if x in frozenset([1.3, 2.7]) else x,
    "dict": lambda x: x * {1.3: 2.0, 2.7: 2.0}.get(x, 1.0),
    "key": lambda x: {x: 2.0, 5.0: 1.0}.get(1.3 if x < 2.0 else 2.7, 1.0) * x,
    "list": lambda x: 2.0 * x if x in [None, "text", 1.3, 2.7] else x,
    "tuple": lambda x: 2.0 * x if x in (2.7, 1.3) else x,
    "hash": lambda x: 2.0 * x if hash(x) in (hash(1.3), hash(2.7)) else x,
    "element": lambda x: 2.0 * x if np.stack([x, x])[0] in {1.3, 2.7} else x,
    "truth": lambda x: x * {True: 2.0, False: 1.0}[(x == 1.3) | (x == 2.7)],
    "count": lambda x: x * (1 + [1.3, 2.7].count(x)),
}


@pytest.mark.parametrize("name", list(LOOKUPS))
def test_values_are_looked_up_by_value(name: str) -> None:
    f = LOOKUPS[name]
    quick = numbad.jit(numbad.grad(f))
    points = [1.3, 1.4, 2.7, 1.3, 2.6, 2.7]
    expected = [2.0, 1.0, 2.0, 2.0, 1.0, 2.0]
    assert [numbad.gradient(f, x) for x in points] == expected
    assert [quick(x) for x in points] == expected
    assert numbad.vmap(numbad.grad(f))(np.array(points)).tolist() == expected


def test_numbers_are_members_of_sets_and_keys_by_value() -> None:
    def f(x: Any) -> Any:
        memory = {x[0]: x[1], x[1]: x[2]}
        return memory[x[0]] * memory[2.0] * len({x[0], x[1], x[0] * 1.0})

    assert numbad.gradient(f, np.array([1.0, 2.0, 3.0])).tolist() == [0.0, 6.0, 4.0]
    assert numbad.gradient(lambda x: x if x not in {None, "text", 5} else -x, 2.0) == 1.0


def square(a: Any) -> Any:
    return a * a


def test_functions_of_elements() -> None:
    one, two, pair = np.frompyfunc(square, 1, 1), np.frompyfunc(lambda a, b: a * b, 2, 1), np.frompyfunc(divmod, 2, 2)
    assert numbad.gradient(lambda x: one(x), 3.0) == 6.0
    assert numbad.gradient(lambda x: two(x, 2.0), 3.0) == 2.0
    assert numbad.gradient(lambda x: two(2.0, x), 3.0) == 2.0
    assert numbad.gradient(lambda x: pair(x, 2.0)[1] * x, 3.0) == 4.0
    assert numbad.gradient(lambda x: np.vectorize(square)(x), 3.0) == 6.0
    x = np.array([3.0, 2.0, 0.5])
    assert numbad.gradient(lambda x: np.sum(one(x)), x).tolist() == [6, 4, 1]
    assert numbad.gradient(lambda x: np.sum(np.outer([1.0, 2.0], x[:2]) * two.outer(x[:2], x[1:])), x).shape == (3,)
    assert numbad.gradient(lambda x: two.reduce(x), x).tolist() == [1, 1.5, 6]
    assert numbad.gradient(lambda x: two.accumulate(x)[1], x).tolist() == [2, 3, 0]
    quick = numbad.jit(numbad.grad(lambda x: one(x) * one(x)))
    assert [quick(1.0), quick(2.0)] == [4.0, 32.0]


class Unfriendly:
    """A callable object that refuses to be asked for attributes."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __call__(self, x: Any) -> Any:
        return x * x


def test_objects_that_raise_for_unknown_attributes() -> None:
    f = Unfriendly()
    assert numbad.gradient(f, 3.0) == numbad.grad(f)(3.0) == numbad.jit(numbad.grad(f))(3.0) == 6.0
    assert numbad.jit(f)(3.0) == numbad.record(f, 3.0)(3.0) == numbad.checkpoint(f)(3.0) == 9.0
    assert numbad.vmap(numbad.grad(f))(np.ones(2)).tolist() == [2, 2]
    assert numbad.hessian(f)(3.0) == 2.0
    assert numbad.jit(lambda x: f(x) + 1.0)(3.0) == 10.0
    with pytest.raises(numbad.errors.InputError):
        numbad.gradient(lambda x, y: x, 3.0, f)


def test_round_to_digits_is_piecewise_constant() -> None:
    assert numbad.gradient(lambda x: round(x, 2) + x, 2.714) == 1.0


def test_indexing_by_int_of_a_value() -> None:
    def f(x: Any) -> Any:
        return x[int(x[2])] * 3.0

    np.testing.assert_array_equal(numbad.gradient(f, X), [0, 0, 3, 0, 0, 0])


def test_a_recording_value_as_an_index_or_count_is_an_error() -> None:
    for f in (lambda x: x[x[2]], lambda x: sum(range(x[0])), lambda x: [1.0, 2.0][x[2]] * x[0]):
        with pytest.raises(numbad.errors.RecordingError, match=r"int\("):
            numbad.gradient(f, X)


def test_argmax_argmin_argsort() -> None:
    np.testing.assert_array_equal(numbad.gradient(lambda x: x[np.argmax(x)] ** 2, X), [0, 0, 4.2, 0, 0, 0])
    np.testing.assert_array_equal(numbad.gradient(lambda x: x[x.argmin()] ** 2, X), [0, -2.6, 0, 0, 0, 0])

    def ranked(x: Any) -> Any:
        return np.sum(x[np.argsort(x)] * np.arange(6.0))

    np.testing.assert_array_equal(numbad.gradient(ranked, X), np.argsort(np.argsort(X)))


def test_boolean_masks_index() -> None:
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(x[x > 0.5] ** 2), X), np.where(X > 0.5, 2 * X, 0))

    def clipped(x: Any) -> Any:
        y = x * 1.0
        y[y < 0.0] = 0.0
        return np.sum(y)

    np.testing.assert_array_equal(numbad.gradient(clipped, X), np.where(X < 0.0, 0.0, 1.0))


def test_sorted_min_max_sum_of_python() -> None:
    np.testing.assert_array_equal(
        numbad.gradient(lambda x: sum(k * value for k, value in enumerate(sorted(x))), X), np.argsort(np.argsort(X))
    )
    np.testing.assert_array_equal(numbad.gradient(lambda x: max(x) + 2.0 * min(x), X), [0, 2, 1, 0, 0, 0])
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(x), X), np.ones(6))
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(x, 3.0 * x[0]), X), [4, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(
        numbad.gradient(lambda x: sorted(x, key=lambda value: -value)[1], X), [0, 0, 0, 0, 0, 1]
    )
    np.testing.assert_array_equal(numbad.gradient(lambda x: abs(x[1]) + pow(x[0], 2), X), [1.4, -1, 0, 0, 0, 0])


def test_chained_comparison_any_all_and_in() -> None:
    def f(x: Any) -> Any:
        if 0.0 < x[0] < 1.0 and (x > -2.0).all() and (x > 2.0).any() and x[3] in x and not np.all(x > 0):
            return x[0] * 5.0
        return x[1]

    np.testing.assert_array_equal(numbad.gradient(f, X), [5, 0, 0, 0, 0, 0])


def test_truth_of_an_array_is_ambiguous_as_in_numpy() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        numbad.gradient(lambda x: x[0] if x > 0 else x[1], X)
    assert numbad.gradient(lambda x: x[0] if x > 0 else -x[0], np.array([2.0])) == [1.0]


def test_conditional_expressions_assertions_and_match() -> None:
    def f(x: Any) -> Any:
        assert x > 0.0
        y = x if x < 2.0 else x**2
        match int(y):
            case 9:
                return 7.0 * y
            case _:
                return y

    assert numbad.gradient(f, 3.0) == 42.0
    with pytest.raises(AssertionError):
        numbad.gradient(f, -1.0)


def test_try_and_with_work_around_recording() -> None:
    class Context:
        def __enter__(self) -> float:
            return 2.0

        def __exit__(self, *_: Any) -> bool:
            return True

    def f(x: Any) -> Any:
        with Context() as factor:
            y = factor * x
            raise KeyError
        try:
            _ = y[3]
        except IndexError:
            y = y * y
        return y

    assert numbad.gradient(f, 3.0) == 24.0


def test_recursion() -> None:
    def horner(coefficients: Any, x: Any) -> Any:
        return coefficients[0] + x * horner(coefficients[1:], x) if len(coefficients) else 0.0

    found = numbad.gradient(lambda c: horner(c, 2.0), X)
    np.testing.assert_array_equal(found, 2.0 ** np.arange(6))


# ---------------------------------------------------------------- iteration, closures, captured arrays


def test_generators_comprehensions_zip_enumerate_reversed() -> None:
    def squares(x: Any) -> Any:
        for value in x:
            yield value * value

    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(squares(x)), X), 2 * X)
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum(a * b for a, b in zip(x, reversed(x))), X), 2 * X[::-1])
    np.testing.assert_array_equal(numbad.gradient(lambda x: sum([k * v for k, v in enumerate(x)]), X), np.arange(6.0))
    np.testing.assert_array_equal(numbad.gradient(lambda x: next(v for v in x if v > 1.0), X), [0, 0, 1, 0, 0, 0])


def test_a_generator_that_outlives_its_recording_leaks() -> None:
    kept = []

    def values(x: Any) -> Any:
        for value in x:
            yield value * 2.0

    def f(x: Any) -> Any:
        generator = values(x)
        kept.append(generator)
        return next(generator)

    np.testing.assert_array_equal(numbad.gradient(f, X), [2, 0, 0, 0, 0, 0])
    with pytest.raises(numbad.errors.LeakError):
        next(kept[0])


def test_unpacking_and_star() -> None:
    def f(x: Any) -> Any:
        first, *middle, last = x
        return first * last + sum(middle)

    np.testing.assert_array_equal(numbad.gradient(f, X), [1.9, 1, 1, 1, 1, 0.7])
    np.testing.assert_allclose(numbad.gradient(lambda x: math.prod([*x[:2], 3.0]), X), [-3.9, 2.1, 0, 0, 0, 0])


@pytest.mark.parametrize("n", [6, 600, 50_000])
def test_closures_over_arrays(n: int) -> None:
    weights = np.linspace(-1.0, 1.0, n)
    x = np.linspace(0.5, 2.0, n)
    found = numbad.gradient(lambda x: np.sum(weights * x * x) + weights @ x, x)
    np.testing.assert_allclose(found, 2.0 * weights * x + weights, rtol=1e-15)
    assert weights.flags.writeable


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


# ---------------------------------------------------------------- arrays of objects


def test_np_array_of_scalars_records() -> None:
    def f(x: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = np.array([x[0], x[1] * x[2]])
        return np.sum(np.sin(y) * np.array([1.0, 2.0]))

    expected = np.zeros(6)
    expected[0] = np.cos(X[0])
    expected[1] = 2 * np.cos(X[1] * X[2]) * X[2]
    expected[2] = 2 * np.cos(X[1] * X[2]) * X[1]
    np.testing.assert_allclose(numbad.gradient(f, X), expected, rtol=1e-14)


@pytest.mark.parametrize("convert", [np.asarray, np.array, np.asanyarray, np.ascontiguousarray])
def test_np_asarray_records(convert: Any) -> None:
    def f(x: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = convert(x)
        return np.sum(np.exp(y) * WEIGHTS + y**2)

    np.testing.assert_allclose(numbad.gradient(f, X), np.exp(X) * WEIGHTS + 2 * X, rtol=1e-14)


def test_object_arrays_of_values_and_numbers_work_or_say_what_to_write() -> None:
    found = numbad.gradient(lambda x: np.sum(np.array([x[0], 2.0]) * np.array([3.0, x[1]])), X)
    np.testing.assert_array_equal(found, [3, 2, 0, 0, 0, 0])

    def f(x: Any) -> Any:
        return np.sum(np.sin(np.array([x[0], 2.0])))

    with pytest.raises(numbad.errors.RecordingError, match=r"numbad\.array") as caught:
        numbad.gradient(f, X)
    assert "return np.sum(np.sin(np.array([x[0], 2.0])))" in str(caught.value)


def test_object_arrays_mix_with_recording_arrays() -> None:
    def f(x: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y = np.asarray(x).reshape(2, 3)
        z = x.reshape(2, 3) * y + y @ np.eye(3)
        return np.sum(z * WEIGHTS.reshape(2, 3))

    np.testing.assert_allclose(numbad.gradient(f, X), WEIGHTS * (2 * X + 1), rtol=1e-14)


def test_np_asarray_warns_once_with_the_place() -> None:
    from numbad.recording import conversion

    previous = conversion._warned
    conversion._warned = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            numbad.gradient(lambda x: np.sum(np.asarray(x)), X)
            numbad.gradient(lambda x: np.sum(np.asarray(x)), X)
    finally:
        conversion._warned = previous
    assert len(caught) == 1
    assert "array of objects" in str(caught[0].message)
    assert HERE in str(caught[0].message)


def test_np_vectorize_and_fromiter() -> None:
    def step(value: Any) -> Any:
        return value * value if value > 0 else -3.0 * value

    def f(x: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.sum(np.vectorize(step, otypes=[object])(x))

    np.testing.assert_allclose(numbad.gradient(f, X), np.where(X > 0, 2 * X, -3.0), rtol=1e-15)


def test_asarray_with_a_dtype_is_refused() -> None:
    for convert in (lambda x: np.asarray(x, dtype=float), lambda x: np.array(x, dtype=np.float32)):
        with pytest.raises(numbad.errors.RecordingError, match="plain array of float"):
            numbad.gradient(lambda x, convert=convert: np.sum(convert(x)), X)


def test_math_functions_are_refused_and_say_why() -> None:
    for f in (lambda x: math.sin(x), lambda x: math.exp(x) * x, lambda x: math.sqrt(x)):
        with pytest.raises(numbad.errors.RecordingError, match=r"np\.sin instead of math\.sin"):
            numbad.gradient(f, 1.0)


# ---------------------------------------------------------------- constants


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("n", [4, 700])
def test_constants_of_all_dtypes(dtype: str, n: int) -> None:
    constant = (np.arange(n) % 3).astype(dtype)
    x = np.linspace(1.0, 2.0, n)
    value, found = numbad.value_and_gradient(lambda x: np.sum(constant * x + x / (constant + 1.0)), x)
    wide = constant.astype(float)
    assert value == pytest.approx(np.sum(wide * x + x / (wide + 1.0)), rel=1e-13)
    np.testing.assert_allclose(found, wide + 1.0 / (wide + 1.0), rtol=1e-13)
    assert found.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_constants_are_refused(dtype: Any) -> None:
    for constant in (np.ones(6, dtype), dtype(1.0), 1j):
        with pytest.raises(numbad.errors.RecordingError, match="complex"):
            numbad.gradient(lambda x, constant=constant: np.sum(x * constant), X)


@pytest.mark.parametrize(
    "constant",
    [np.array("text"), np.array(["a", "b"]), np.datetime64("2020-01-01"), np.array([None, 1.0]), "text", None, {}],
    ids=repr,
)
def test_constants_that_are_no_numbers_are_refused(constant: Any) -> None:
    with pytest.raises(TypeError):
        numbad.gradient(lambda x: np.sum(x * constant), X)


@pytest.mark.parametrize(
    "constant",
    [2, 2.0, True, np.float64(2), np.float32(2), np.float16(2), np.int8(2), np.uint64(2), np.bool_(True),
     np.array(2), np.array(2.0), np.array([2.0]), [2.0], (2,), np.float32([2.0]), np.longdouble(2.0)],
    ids=lambda c: f"{type(c).__name__}-{c!r}",
)  # fmt: skip
def test_scalar_constants_of_every_kind(constant: Any) -> None:
    wide = float(np.asarray(constant).reshape(-1)[0])
    for multiply in (lambda x: x * constant, lambda x: constant * x, lambda x: np.multiply(constant, x)):
        f = lambda x, multiply=multiply: np.sum(multiply(x))
        np.testing.assert_array_equal(numbad.gradient(f, X), np.full(6, wide))
    found = numbad.gradient(lambda x: np.sum(x * constant - constant / x), 4.0)
    assert found == wide + wide / 16.0
    assert type(found) is float


def test_numpy_operands_on_the_left_and_on_the_right() -> None:
    left = np.arange(1.0, 7.0)
    cases = {
        "add": (lambda x: left + x, np.ones(6)),
        "sub": (lambda x: left - x, -np.ones(6)),
        "mul": (lambda x: left * x, left),
        "div": (lambda x: left / x, -left / X**2),
        "matmul": (lambda x: left @ x, left),
        "matmul of a matrix": (lambda x: np.diag(left) @ x, left),
        "compare": (lambda x: np.where(left > x, x, 0.0), np.where(left > X, 1.0, 0.0)),
        "mod": (lambda x: left % (abs(x) + 2.0), -np.floor(left / (abs(X) + 2.0)) * np.sign(X)),
        "power": (lambda x: left**x, left**X * np.log(left)),
    }
    for name, (f, expected) in cases.items():
        np.testing.assert_allclose(numbad.gradient(lambda x, f=f: np.sum(f(x)), X), expected, rtol=1e-13, err_msg=name)


def test_single_precision_follows_numpys_promotion() -> None:
    x = X.astype(np.float32)
    for constant, dtype in (
        (2.0, np.float32), (2, np.float32), (np.float32(2), np.float32), (np.ones(6, np.float32), np.float32),
        (np.ones(6, np.int8), np.float32), (np.ones(6), np.float64), (np.ones(6, np.int64), np.float64),
    ):  # fmt: skip
        kinds = []

        def f(x: Any, constant: Any = constant, kinds: list[Any] = kinds) -> Any:
            y = x * constant
            kinds.append(y.dtype)
            return np.sum(y)

        value, found = numbad.value_and_gradient(f, x)
        assert kinds == [dtype]
        assert found.dtype == np.float32
        assert np.asarray(value).dtype == dtype


def test_special_constants() -> None:
    np.testing.assert_array_equal(numbad.gradient(lambda x: np.sum(x * math.inf), X), np.full(6, math.inf))
    assert np.isnan(numbad.gradient(lambda x: np.sum(x * math.nan), X)).all()
    assert numbad.value_and_gradient(lambda x: 1.0 / (x * -0.0), 1.0)[0] == -math.inf
    assert numbad.value_and_gradient(lambda x: 1.0 / (x * 0.0), 1.0)[0] == math.inf
    assert numbad.value_and_gradient(lambda x: x * (2**53 + 1), 1.0) == (2.0**53, 2.0**53)
    assert numbad.value_and_gradient(lambda x: np.copysign(x, -0.0), 1.0) == (-1.0, -1.0)


def test_big_integers_overflow_as_in_python() -> None:
    with pytest.raises(OverflowError):
        numbad.gradient(lambda x: x * 10**400, 1.0)


def test_lists_and_tuples_of_recording_values() -> None:
    def f(x: Any) -> Any:
        parts = [x[0] * 2.0, x[1], 3.0]
        nested = [[x[0], 1.0], [x[2], x[3]]]
        total = np.sum(parts) + np.sum(np.multiply(nested, 2.0)) + np.dot([x[4], x[5]], [1.0, 2.0])
        return total + np.mean(np.stack(parts))

    np.testing.assert_allclose(numbad.gradient(f, X), [2 + 2 + 2 / 3, 1 + 1 / 3, 2, 2, 1, 2], rtol=1e-15)


def test_zero_dimensional_arrays() -> None:
    x = np.array(2.0)
    found = numbad.gradient(lambda x: x**3, x)
    assert isinstance(found, np.ndarray)
    assert found.shape == ()
    assert found == 12.0

    def f(x: Any) -> Any:
        y = x[2, ...]
        assert y.shape == ()
        assert x[2].shape == ()
        return y[()] * y.item() + y.reshape(1)[0]

    np.testing.assert_array_equal(numbad.gradient(f, X), [0, 0, 2 * X[2] + 1, 0, 0, 0])


def test_numpy_scalars_as_inputs_keep_their_type() -> None:
    for kind in (np.float32, np.float64):
        found = numbad.gradient(lambda x: x * x * 3.0, kind(2))
        assert type(found) is kind
        assert found == 12.0


def test_printing_shows_values_and_does_not_disturb() -> None:
    seen = []

    def f(x: Any) -> Any:
        y = x * 2.0
        seen.append((str(y[0]), f"{y[1]:.2f}", repr(y), f"{y[2]:+.1f}"))
        return np.sum(y * y)

    np.testing.assert_allclose(numbad.gradient(f, X), 8 * X)
    assert seen[0][0] == "1.4"
    assert seen[0][1] == "-2.60"
    assert "1.4" in seen[0][2]
    assert seen[0][3] == "+4.2"


def test_hash_and_identity_allow_sets_and_dicts_of_scalars() -> None:
    def f(x: Any) -> Any:
        table = {x[0]: 1.0}
        assert len(table) == 1
        return x[0] * 2.0

    np.testing.assert_array_equal(numbad.gradient(f, X), [2, 0, 0, 0, 0, 0])


def test_copy_and_pickle() -> None:
    import copy
    import pickle

    def f(x: Any) -> Any:
        y = copy.deepcopy(x)
        z = copy.copy(x)
        y *= 2.0
        z *= 3.0
        return np.sum(x + y + z)

    np.testing.assert_array_equal(numbad.gradient(f, X), np.full(6, 6.0))
    with pytest.raises(numbad.errors.RecordingError, match="pickled"):
        numbad.gradient(lambda x: len(pickle.dumps(x)) * x[0], X)


# ---------------------------------------------------------------- memory order


@pytest.mark.parametrize("seed", range(6))
def test_results_are_laid_out_as_numpy_does_so_that_reshape_aliases_alike(seed: int) -> None:
    """A reshape is a view or a copy depending on memory order; which it is decides what an assignment changes."""
    generator = np.random.default_rng(seed)
    steps = [
        lambda y: y * 2.0, lambda y: np.sin(y), lambda y: y + y.copy(), lambda y: +y, lambda y: y.copy(), np.copy,
        lambda y: y.astype(float), lambda y: y * y[..., :1], lambda y: y - np.asfortranarray(np.ones(y.shape)),
        lambda y: 1.0 - y[::-1], lambda y: y * np.ones(y.shape), lambda y: y[..., ::-1] / 2.0,
    ]  # fmt: skip
    x = np.arange(24.0)
    for _ in range(40):
        shape = [(2, 3, 4), (4, 3, 2), (6, 4), (24, 1), (2, 1, 12)][generator.integers(5)]
        axes = generator.permutation(len(shape)).tolist()
        step = steps[generator.integers(len(steps))]

        def f(x: Any, shape: Any = shape, axes: Any = axes, step: Any = step) -> Any:
            result = step(x.reshape(shape).transpose(axes))
            flat = result.reshape(-1)
            flat[3] = 100.0
            return np.sum(result * np.arange(24.0).reshape(result.shape)) + np.sum(flat)

        value, gradient = numbad.value_and_gradient(f, x)
        assert value == pytest.approx(f(x.copy()), rel=1e-12), (shape, axes, steps.index(step))
        step_size = 1e-6
        quotient = [(f(x + step_size * e) - f(x - step_size * e)) / (2 * step_size) for e in np.eye(24)]
        np.testing.assert_allclose(gradient, quotient, atol=1e-4 * np.max(np.abs(quotient)))


# ---------------------------------------------------------------- single precision


SINGLE = np.linspace(0.1, 0.9, 5).astype(np.float32)
PRECISIONS: dict[str, Callable[[Any], Any]] = {
    "Python float": lambda x: np.sum(x * 1.1),
    "Python int": lambda x: np.sum(x * 3),
    "single": lambda x: np.sum(x * np.float32(1.1)),
    "short int": lambda x: np.sum(x * np.int16(3)),
    "truth": lambda x: np.sum(x * np.bool_(True)),
    "double": lambda x: np.sum(x * np.float64(1.1)),
    "double on the left": lambda x: np.sum(np.float64(1.1) * x),
    "0-d array": lambda x: np.sum(x + np.array(1.1)),
    "0-d single": lambda x: np.sum(x + np.array(1.1, np.float32)),
    "int": lambda x: np.sum(x * np.int64(3)),
    "power": lambda x: np.sum(x ** np.float64(2)),
    "power of int": lambda x: np.sum(x ** np.int64(3)),
    "square": lambda x: np.sum(x**2),
    "to the power": lambda x: np.sum(np.float64(2.0) ** x),
    "quotient": lambda x: np.sum(x / np.float64(3.0)),
    "element": lambda x: x[0] * np.float64(1.1),
    "maximum": lambda x: np.sum(np.maximum(x, np.float64(0.51))),
    "where": lambda x: np.sum(np.where(x > 0.5, x, np.float64(2.1))),
    "clip": lambda x: np.sum(np.clip(x, np.float64(0.21), np.float64(0.51))),
    "array": lambda x: np.sum(x * np.full(5, 1.1)),
    "dot": lambda x: x @ np.full(5, 1.1),
    "concatenate": lambda x: np.sum(np.concatenate([x, np.full(2, 1.1)])),
    "median": lambda x: np.median(x),
    "sort": lambda x: np.sum(np.sort(x) * x),
    "quantile": lambda x: np.quantile(x, 0.3),
    "percentile": lambda x: np.percentile(x, 30),
    "ldexp": lambda x: np.sum(np.ldexp(x, 2)),
    "solve": lambda x: np.sum(np.linalg.solve(np.outer(x, x) + np.eye(5, dtype=np.float32), x)),
}


@pytest.mark.parametrize("name", list(PRECISIONS))
def test_numbers_of_numpy_have_a_precision_and_gradients_that_of_their_input(name: str) -> None:
    f = PRECISIONS[name]
    expected = f(SINGLE)
    found = numbad.jit(f)(SINGLE)
    assert np.asarray(found).dtype == expected.dtype
    assert found == pytest.approx(expected, rel=1e-13 if expected.dtype == np.float64 else 1e-6)
    both = np.stack([SINGLE, SINGLE])
    gradients = {
        "grad": numbad.grad(f)(SINGLE),
        "jit(grad)": numbad.jit(numbad.grad(f))(SINGLE),
        "jacfwd": numbad.jacfwd(f)(SINGLE),
        "jacrev": numbad.jacrev(f)(SINGLE),
        "jit(jacfwd)": numbad.jit(numbad.jacfwd(f))(SINGLE),
        "jit(jacobian)": numbad.jit(numbad.jacobian(f))(SINGLE),
        "vjp": numbad.vjp(f, SINGLE)[1](1.0)[0],
        "tape": numbad.record(f, SINGLE).gradient(SINGLE),
        "vmap(grad)": numbad.vmap(numbad.grad(f))(both)[1],
        "jit(vmap(grad))": numbad.jit(numbad.vmap(numbad.grad(f)))(both)[1],
        "vmap(jit(grad))": numbad.vmap(numbad.jit(numbad.grad(f)))(both)[1],
    }
    wide = numbad.gradient(f, SINGLE.astype(float))
    for mode, gradient in gradients.items():
        assert gradient.dtype == np.float32, mode
        np.testing.assert_allclose(gradient, wide, rtol=2e-5, atol=1e-6, err_msg=mode)
    curvature = numbad.hvp(f, SINGLE, SINGLE), numbad.hessian(f)(SINGLE), numbad.jit(numbad.hessian(f))(SINGLE)
    assert [part.dtype for part in curvature] == [np.float32] * 3


def test_a_double_assigned_to_a_single_array_takes_its_precision() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        y[0] = np.float64(1.1)
        y += np.float64(0.3)
        return y

    found = numbad.jit(f)(SINGLE)
    assert found.dtype == f(SINGLE.copy()).dtype == np.float32
    np.testing.assert_allclose(found, f(SINGLE.copy()), rtol=1e-6)


def test_a_double_is_compared_as_a_double() -> None:
    """0.1 in single precision is more than 0.1: rounded, the number would not be."""
    x = np.array([0.1], np.float32)
    f = numbad.jit(numbad.grad(lambda x: np.sum(2.0 * x if x[0] > np.float64(0.1) else x)))
    assert f(x).tolist() == [2.0]
    assert numbad.gradient(lambda x: np.sum(np.where(x > np.array(0.1), 2.0 * x, x)), x).tolist() == [2.0]


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


@pytest.mark.parametrize("call", [
    lambda f, x: numbad.gradient(f, x),
    lambda f, x: numbad.jvp(f, (x,), (x,)),
    lambda f, x: numbad.vjp(f, x)[1](1.0),
    lambda f, x: numbad.value_and_gradient(lambda x: f(x) + np.linalg.det(np.outer(x[:2], x[1:3])), x),
])  # fmt: skip
def test_a_recording_is_freed_as_soon_as_it_has_ended(call: Any) -> None:
    """A cycle of references would keep copies of captured arrays until Python looks for cycles."""
    table = np.ones((300, 20))
    x = np.linspace(0.1, 1.0, 20)
    spaces: list[Any] = []

    def f(x: Any) -> Any:
        spaces.append(x.recorder.spaces)  # a list that the recorder alone refers to
        return np.sum(np.tanh(table @ x))

    gc.collect()
    gc.disable()
    try:
        call(f, x)
        assert all(sys.getrefcount(kept) == 3 for kept in spaces), "only this list and the names here refer to it"
    finally:
        gc.enable()


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
