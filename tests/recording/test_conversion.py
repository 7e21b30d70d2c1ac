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


def test_round_to_digits_is_piecewise_constant() -> None:
    assert numbad.gradient(lambda x: round(x, 2) + x, 2.714) == 1.0
