"""Operands: arrays of objects, constants of every kind, and numbers of NumPy's on either side."""

from __future__ import annotations

import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numbad

HERE = Path(__file__).name

X = np.array([0.7, -1.3, 2.1, 0.4, -0.6, 1.9])
WEIGHTS = np.array([1.0, -2.0, 3.0, -5.0, 7.0, -11.0])

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
        mixed = np.empty(2, object)
        mixed[0], mixed[1] = x[0], 2.0
        return np.sum(np.sin(mixed))

    with pytest.raises(numbad.errors.RecordingError, match=r"numbad\.array") as caught:
        numbad.gradient(f, X)
    assert "return np.sum(np.sin(mixed))" in str(caught.value)


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
    conversion._warned = numbad.config.record_again = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            numbad.gradient(lambda x: np.sum(np.asarray(x)), X)
            numbad.gradient(lambda x: np.sum(np.asarray(x)), X)
    finally:
        conversion._warned, numbad.config.record_again = previous, True
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


def test_asarray_with_another_dtype_is_refused() -> None:
    assert numbad.gradient(lambda x: np.sum(np.asarray(x, dtype=float) ** 2), X).tolist() == (2.0 * X).tolist()
    with pytest.raises(numbad.errors.RecordingError, match="dtype=float32 is not recorded"):
        numbad.gradient(lambda x: np.sum(np.array(x, dtype=np.float32)), X)


@pytest.mark.usefixtures("recorded_once")
def test_math_functions_are_refused_and_say_why() -> None:
    for f in (lambda x: math.sin(x), lambda x: math.exp(x) * x, lambda x: math.sqrt(x)):
        with pytest.raises(numbad.errors.RecordingError, match=r"np\.(sin|exp|sqrt) instead of math\.\w+"):
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


def test_hash_and_identity_allow_sets_and_dicts_of_scalars() -> None:
    def f(x: Any) -> Any:
        table = {x[0]: 1.0}
        assert len(table) == 1
        return x[0] * 2.0

    np.testing.assert_array_equal(numbad.gradient(f, X), [2, 0, 0, 0, 0, 0])


def test_copy_and_pickle() -> None:
    import copy

    def f(x: Any) -> Any:
        y = copy.deepcopy(x)
        z = copy.copy(x)
        y *= 2.0
        z *= 3.0
        return np.sum(x + y + z)

    np.testing.assert_array_equal(numbad.gradient(f, X), np.full(6, 6.0))
    with pytest.raises(numbad.errors.RecordingError, match="pickled"):
        numbad.gradient(lambda x: len(pickle.dumps(x)) * x[0], X)
