"""Recording arrays: assignment in place has the aliases of NumPy, and what cannot be kept is an error."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad

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


def iteration_over_a_vector_sees_writes(x: Any) -> Any:
    y = x * 1.0
    total = 0.0
    for _ in range(2):  # at first it has no addresses of its own
        for k, value in enumerate(y):
            if k < 5:
                y[k + 1] += 2.0 * value
            total = total + value
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
    y = np.zeros(6)

    def f(x: Any) -> Any:
        y[0] = x[0]
        return y[0]

    with pytest.raises(numbad.errors.RecordingError, match=r"made there \(y = y\.copy\(\)\)") as caught:
        numbad.gradient(f, X)
    assert "y[0] = x[0]" in str(caught.value)


@pytest.mark.parametrize("write", ["z[0] = 5.0", "z += 1.0", "y[0] = 5.0", "y += 1.0", "y[1:][:2] = 0.0"])
@pytest.mark.parametrize("make", ["np.asarray(y)", "np.ascontiguousarray(y)"])
def test_an_alias_that_cannot_be_kept_is_an_error(make: str, write: str) -> None:
    """NumPy would write through; the array of objects is a snapshot, so writing to either is refused."""

    def f(x: Any) -> Any:
        y = x * 1.0
        scope = {"x": x, "y": y, "np": np}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(f"z = {make}", scope)
        exec(write, scope)
        return np.sum(scope["y"]) + np.sum(scope["z"])

    with pytest.raises((ValueError, numbad.errors.RecordingError), match=r"read-only|cannot be assigned"):
        numbad.gradient(f, X)


def test_flat_of_a_transpose_reads_in_order() -> None:
    found = numbad.gradient(lambda x: sum(k * v for k, v in enumerate(x.reshape(2, 3).T.flat)), X)
    np.testing.assert_array_equal(found, [0, 2, 4, 1, 3, 5])


@pytest.mark.parametrize("key", [1, slice(1, 4), [0, -1], slice(None), slice(None, None, -2)], ids=str)
@pytest.mark.parametrize("part", ["y.T", "y[:, ::2]", "y[::-1]", "y[:, 1]", "y"])
def test_what_is_assigned_to_flat_is_assigned_to_the_array(part: str, key: Any) -> None:
    def f(x: Any) -> Any:
        y = x.reshape(2, 3) * 1.0
        z = eval(part, {"y": y})
        z.flat[key] = 2.0 * z.flat[key] * x[5]
        z.flat[0] = x[4] + z[(0,) * z.ndim]
        return np.concatenate([y.reshape(-1), z.reshape(-1)])

    np.testing.assert_array_equal(numbad.jit(f)(X), f(X))
    step = 1e-6 * np.eye(X.size)
    slopes = np.stack([(f(X + h) - f(X - h)) / 2e-6 for h in step], axis=1)
    np.testing.assert_allclose(numbad.jacobian(f, X), slopes, rtol=1e-7, atol=1e-8)


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


@pytest.mark.parametrize("name", ["byteswap", "tobytes", "tofile", "resize", "ctypes", "setfield", "getfield"])
def test_missing_methods_of_arrays_say_so(name: str) -> None:
    with pytest.raises(numbad.errors.RecordingError, match=name) as caught:
        numbad.gradient(lambda x: getattr(x, name), X)
    assert isinstance(caught.value, AttributeError)
    assert HERE in str(caught.value)
    assert numbad.gradient(lambda x: x * hasattr(x, name) + x * hasattr(x, "anything"), 2.0) == 0.0
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        numbad.gradient(lambda x: x.anything, X)
