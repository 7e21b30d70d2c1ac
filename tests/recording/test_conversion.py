"""Conversion to plain values: what would lose the derivative is an error."""

from __future__ import annotations

import array
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad


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
    "array.array": lambda x: array.array("d", [x])[0],
    "int of float": lambda x: x * int(float(x)),
    "sum of arrays": lambda x: float(np.sum(np.stack([x, x]))),
    "0-d": lambda x: float(np.asarray(x)),
}


@pytest.mark.usefixtures("recorded_once")
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


@pytest.mark.parametrize("name", ["method", "np.float32", "complex", "array.array"])
def test_some_ways_remain_errors_when_the_function_is_recorded_again(name: str) -> None:
    for derivative in (numbad.grad(WAYS_TO_A_FLOAT[name]), numbad.jit(WAYS_TO_A_FLOAT[name])):
        with pytest.raises(numbad.errors.RecordingError, match=r"do  "):
            derivative(1.5)


def test_a_float_of_an_array_is_the_type_error_that_numpy_raises() -> None:
    def f(x: Any) -> Any:
        try:
            return np.sum(x * math.sin(x))
        except TypeError as error:
            texts.append(str(error))
            return np.sum(x * np.sin(x))

    texts: list[str] = []
    x = np.array([1.0, 2.0])
    with pytest.raises(TypeError) as caught:
        float(x)  # type: ignore[arg-type]
    np.testing.assert_allclose(numbad.gradient(f, x), np.sin(x) + x * np.cos(x), rtol=1e-15)
    for convert in (float, int):
        with pytest.raises(TypeError):
            numbad.gradient(lambda x, to=convert: x[0] * to(x), x)
    assert set(texts) == {str(caught.value)}


MASKS: dict[str, Callable[[Any], Any]] = {
    "plain[mask]": lambda x: x[0] * np.arange(3.0)[x > 0.5].sum(),
    "a row of a mask": lambda x: np.eye(3)[:, x > 0.5].sum() * x[1],
    "two masks": lambda x: np.arange(3.0)[(x > 0.5) & (np.arange(3) > 0)].sum() * x[2],
    "a list of masks": lambda x: np.array([x > 0.5, x < 1.0]).sum() * x[0],
    "dtype": lambda x: np.asarray(x > 0.5, dtype=float) @ np.ones(3) * x[0],
    "compress": lambda x: np.arange(3.0).compress(x > 0.5).sum() * x[0],
    "a truth value": lambda x: np.arange(3.0)[x[0] > 0.5].sum() + x[1] * np.bool_(x[1] > 0.5),
    "assigned": lambda x: (counted(x) * x).sum(),
    "many": lambda x: np.arange(3000.0)[np.tile(x, 1000) > 0.5].sum() * x[0],
}


def counted(x: Any) -> Any:
    counts = np.zeros(x.shape, dtype=int)
    for n in range(1, 4):
        counts[n * x > 0.5] += n
    return counts


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_recording_values_is_a_mask_of_plain_arrays(name: str) -> None:
    f = MASKS[name]
    one, other = np.array([0.3, 0.7, 1.1]), np.array([0.6, 0.7, 0.4])
    step = 1e-6 * np.eye(3)
    replayed = numbad.jit(numbad.grad(f))
    for x in (one, other, one):
        wanted = [(f(x + e) - f(x - e)) / 2e-6 for e in step]
        np.testing.assert_allclose(numbad.gradient(f, x), wanted, atol=1e-6, rtol=1e-6)
        np.testing.assert_array_equal(replayed(x), numbad.gradient(f, x))
        np.testing.assert_array_equal(numbad.vmap(numbad.grad(f))(np.array([x, other]))[0], numbad.gradient(f, x))
    tape = numbad.record(f, one)
    with pytest.raises(numbad.BranchError):
        tape(other)


def test_floats_that_lose_nothing() -> None:
    held = numbad.jit(numbad.grad(lambda x: x * float(numbad.stop_gradient(x))))
    assert [held(1.5), held(2.5), held(1.5)] == [1.5, 2.5, 1.5]
    assert numbad.gradient(lambda x: x[0] * float(numbad.stop_gradient(x)[1]), np.array([2.0, 3.0])).tolist() == [3, 0]
    step = numbad.jit(numbad.grad(lambda x: x * x * float(x > 2.0)))
    assert [step(3.0), step(1.0), step(3.0)] == [6.0, 0.0, 6.0]
    assert numbad.gradient(lambda x: x * float(numbad.zeros(2)[0]), 3.0) == 0.0


def test_round_to_digits_is_piecewise_constant() -> None:
    assert numbad.gradient(lambda x: round(x, 2) + x, 2.714) == 1.0
