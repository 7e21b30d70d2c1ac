"""Functions under the names of Python's, NumPy's and Numba's own, in functions that Numba compiles."""

from __future__ import annotations

import ctypes
import math
import random
from typing import Any

import numba
import numpy as np
import pytest
from numba import cfunc, njit, typed
from numba.extending import overload, register_jitable

import numbad


def test_functions_of_math_raise_nothing() -> None:
    @njit
    def functions(x, a):
        return x * math.sqrt(a), x * math.log(a), x * math.exp(1000.0 * abs(a)), math.sqrt(x - 3.0), math.log(x - 2.0)

    found = numbad.record(functions, 2.0, -1.0)(2.0, -1.0)
    assert np.array_equal(found, functions(2.0, -1.0), equal_nan=True)


def test_functions_of_math_have_their_derivatives() -> None:
    @njit
    def sums(x):
        y = math.sin(x) + math.exp(-x) * math.log(x) + math.pow(x, 1.5) + math.atan2(x, 2.0) + math.hypot(x, 1.0)
        return y + math.erf(x) + math.lgamma(x) + math.floor(x) + math.fabs(x) + math.copysign(x, -1.0) + math.log1p(x)

    x, h = 1.7, 1e-5
    assert numbad.value_and_gradient(sums, x)[0] == pytest.approx(sums(x), rel=1e-15)
    assert numbad.gradient(sums, x) == pytest.approx((sums(x + h) - sums(x - h)) / (2 * h), rel=1e-9)
    assert numbad.hessian(sums)(x) == pytest.approx(
        (numbad.gradient(sums, x + h) - numbad.gradient(sums, x - h)) / 2e-5
    )


def test_random_numbers_are_numbas() -> None:
    @njit
    def seeded(x):
        np.random.seed(7)
        random.seed(3)
        return x * np.random.normal() + np.random.rand() * x + random.random() * x + np.random.uniform(1.0, 2.0) * x

    before = np.random.get_state()[1].copy()
    assert numbad.value_and_gradient(seeded, 1.0) == pytest.approx((seeded(1.0), seeded(1.0)), rel=1e-14)
    assert np.array_equal(before, np.random.get_state()[1])


def test_random_numbers_of_recording_values_are_refused() -> None:
    with pytest.raises(numbad.RecordingError, match=r"np\.random\.normal.*\n.*\n.*shift and scale"):
        numbad.gradient(njit(lambda x: np.random.normal(x, 1.0)), 1.0)


def test_casts_cut_off_and_pass_derivatives_on() -> None:
    @njit
    def casts(x):
        return (
            int(x) * x + np.int64(x) * x + np.int32(x) + round(x) + float(x) ** 2 + np.float64(x) + numba.int64(x) * x
        )

    assert numbad.value_and_gradient(casts, 2.7) == pytest.approx((casts(2.7), 6.0 + 2 * 2.7 + 1.0))
    with pytest.raises(numbad.RecordingError, match="64 bits"):
        numbad.gradient(njit(lambda x: x * int(x)), 1e30)


def test_containers_made_inside_hold_recording_values() -> None:
    @njit
    def held(x):
        plain, found = [x, 2.0 * x], {1: x * x}
        listed = typed.List()
        listed.append(x)
        return plain[0] * plain[1] + listed[0] + found[1]

    assert numbad.value_and_gradient(held, 3.0) == (held(3.0), 6 * 3.0 + 1.0)


def test_containers_made_outside_are_refused() -> None:
    def filled(x):
        listed = typed.List()
        listed.append(x)
        return listed[0]

    with pytest.raises(numbad.RecordingError, match="container"):
        numbad.gradient(filled, 3.0)


def test_signs_that_numba_understands() -> None:
    @njit(parallel=True)
    def signs(x):
        total = 0.0
        for i in numba.prange(x.size):
            total += x[i] ** 3
        for part in numba.literal_unroll((1, 2.0)):
            total += part * x[0]
        return total

    assert np.array_equal(numbad.gradient(signs, np.arange(1.0, 4.0)), [6.0, 12.0, 27.0])


def test_object_mode_inside() -> None:
    @njit
    def both(x):
        with numba.objmode(y="float64"):
            y = np.sin(x)
        return x * y

    assert numbad.value_and_gradient(both, 1.2) == pytest.approx((both(1.2), np.sin(1.2) + 1.2 * np.cos(1.2)))


@register_jitable
def weighted(x, n):
    return x * (n * n)


def stand_in(x):
    return x


@overload(stand_in)
def _stand_in(x):
    return lambda x: 3.0 * x


def test_functions_that_numba_compiles_with_others_compute_as_it_does() -> None:
    f = njit(lambda x, n: weighted(x, n))
    assert numbad.value_and_gradient(f, 1.0, 2**40, argnums=0) == (f(1.0, 2**40), 0.0)


def test_a_function_that_another_is_compiled_for_is_refused() -> None:
    f = njit(lambda x: stand_in(x))
    assert f(1.0) == 3.0
    with pytest.raises(numbad.RecordingError, match="stand_in is another function"):
        numbad.gradient(f, 1.0)


def test_the_type_of_a_number_is_a_cast() -> None:
    @njit
    def inverse(x, n):
        kind = type(x)
        return type(x)(1) / x + kind(n) * kind(x)

    assert numbad.value_and_gradient(inverse, 2.0, 3, argnums=0) == (inverse(2.0, 3), 2.75)
    single = np.float32(2.0)
    found = numbad.gradient(inverse, single, 3, argnums=0)
    assert found == 2.75
    assert found.dtype == np.float32


def test_functions_at_an_address() -> None:
    """Plain numbers are given to machine code of others; it has no source to record."""
    own: Any = ctypes.CDLL(None).abs

    own.argtypes, own.restype = [ctypes.c_int32], ctypes.c_int32

    @cfunc("float64(float64)")
    def half(x):
        return 0.5 * x

    by_address = half.ctypes

    @njit
    def product(x, y):
        return x * by_address(y) * own(-3)

    for _ in range(2):
        assert numbad.value_and_gradient(product, 2.0, 0.5, argnums=0) == (product(2.0, 0.5), 0.75)
    with pytest.raises(numbad.RecordingError, match="no source to record") as error:
        numbad.gradient(product, 2.0, 0.5, argnums=1)
    assert "by_address(y)" in str(error.value)
