"""Operators of functions that Numba compiles, beside what Numba's machine code computes."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from numba import njit

import numbad
from numbad.numba_api import arithmetic
from numbad.numba_api.arithmetic import Operation, overlap

VALUES: dict[Any, tuple[Any, ...]] = {
    np.int64: (2**62, -(2**63), -7, 3),
    np.int32: (-(2**31), 2**31 - 1),
    np.int8: (-128, 127, 5),
    np.uint8: (200, 3, 255),
    np.uint64: (2**63 + 5, 3, 7),
    np.bool_: (True,),
}
NAMES = "ADD SUBTRACT MULTIPLY FLOOR_DIVIDE REMAINDER AND OR XOR TRUE_DIVIDE".split()


@njit
def of_two(a, b):
    return a + b, a - b, a * b, a // b, a % b, a & b, a | b, a ^ b, a / b


@njit
def to_the_power(a, b):
    return a**b


@njit
def shifted(a, b):
    return a << b, a >> b


@pytest.mark.parametrize("first", VALUES, ids=lambda kind: kind.__name__)
def test_integers_are_those_of_numba(first: Any) -> None:
    for second in VALUES:
        for a, b in itertools.product(VALUES[first], VALUES[second]):
            one, other = first(a), second(b)
            found = [Operation(name, raising=True) | (one, other) for name in NAMES]
            assert found == list(of_two(one, other)), (one, other)
            if np.bool_ in (first, second):
                continue
            if abs(b) < 300:
                assert (Operation("POWER", True) | (one, other)) == to_the_power(one, other), (one, other)
            if 0 <= b < 64:
                moved = [Operation(name, True) | (one, other) for name in ("LSHIFT", "RSHIFT")]
                assert moved == list(shifted(one, other)), (one, other)


@pytest.mark.parametrize("damage", ["wrapped", "is_unsigned", "signed"])
def test_a_damaged_rule_for_integers_is_noticed(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = {
        "wrapped": lambda value, _: value,
        "is_unsigned": lambda _: False,
        "signed": lambda value: int(value) + 1,
    }
    monkeypatch.setattr(arithmetic, damage, damaged[damage])
    with pytest.raises((AssertionError, OverflowError)):
        for kind in VALUES:
            test_integers_are_those_of_numba(kind)


def test_pythons_integers_are_of_64_bits() -> None:
    assert (Operation("MULTIPLY", True) | (2**40, 2**40)) == 0
    assert (Operation("ADD", True) | (2**63 - 1, 1)) == -(2**63)
    assert (Operation("LSHIFT", True) | (1, 63)) == -(2**63)
    assert (Operation("XOR", True) | (0x9E3779B97F4A7C15, np.uint64(1))) == np.uint64(0x9E3779B97F4A7C14)
    with pytest.raises(numbad.RecordingError, match="65536"):
        Operation("POWER", True) | (3, 2**20)


def test_the_derivative_of_a_congruential_generator_is_numbas() -> None:
    @njit
    def weighted(x, seed):
        total = 0.0
        for _ in range(5):
            seed = seed * 6364136223846793005 + 1442695040888963407
            total += x * ((seed >> 33) & 255)
        return total

    assert numbad.gradient(weighted, 2.0, 12345, argnums=0) == weighted(1.0, 12345)


def test_elements_of_narrow_integers_do_not_wrap_around_early() -> None:
    @njit
    def products(x, image):
        total = 0.0
        for i in range(image.size - 1):
            total += x * (image[i] * image[i + 1])
        return total

    image = np.array([200, 255, 3, 9], np.uint8)
    assert products(1.0, image) == 200 * 255 + 255 * 3 + 27
    assert numbad.gradient(products, 1.5, image, argnums=0) == products(1.0, image)


def test_arrays_and_pythons_integers_have_64_bits() -> None:
    @njit
    def tripled(x, image):
        return x * (image * 3).sum()

    image = np.array([200, 255], np.uint8)
    assert numbad.gradient(tripled, 1.0, image, argnums=0) == tripled(1.0, image) == 1365.0


# ---------------------------------------------------------------- division


def test_a_division_by_zero_raises_where_the_error_model_is_pythons() -> None:
    for divide in (lambda x, y: x / y, lambda x, y: x // y, lambda x, y: x % y):
        with pytest.raises(ZeroDivisionError):
            numbad.gradient(njit(divide), 1.0, 0.0)
        with pytest.raises(ZeroDivisionError):
            numbad.gradient(njit(divide), 1.0, 0, argnums=0)
        with pytest.raises(ZeroDivisionError):
            numbad.gradient(njit(lambda x, n, f=divide: x * (n / 0)), 1.0, 1, argnums=0)


def test_a_division_by_zero_is_numpys_where_the_error_model_is() -> None:
    @njit(error_model="numpy")
    def quotient(x, y):
        return x / y, 1.0 / (y - y), 3 // (1 - 1)

    assert [float(part) for part in numbad.jvp(quotient, (1.0, 0.0), (1.0, 0.0))[0]] == list(quotient(1.0, 0.0))


def test_a_tape_notices_a_divisor_that_has_become_zero() -> None:
    tape = numbad.record(njit(lambda x: 1.0 / x), 2.0)
    with pytest.raises(numbad.BranchError):
        tape(0.0)


def test_powers_and_warnings_are_numbas() -> None:
    @njit
    def powers(x, base, exponent):
        return x * base**exponent

    assert np.isnan(numbad.gradient(powers, 1.0, -8.0, 1 / 3, argnums=0))
    assert np.isinf(numbad.gradient(powers, 1.0, 0.0, -1.0, argnums=0))
    assert np.isinf(numbad.gradient(powers, 1.0, 2.0, 5000.0, argnums=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numbad.gradient(njit(lambda x, a: x * a.sum() / (a[0] * 1e308)), 1.0, np.array([1e308, 1e308]), argnums=0)


# ---------------------------------------------------------------- shared memory


@njit
def cascade(x):
    a = x.copy()
    a[1:] += a[:-1]
    a[1:] *= a[:-1]
    a += a[::-1]
    np.multiply(a[:-1], a[1:], a[1:])
    a[:-1] -= a[1:]
    return a


@njit
def symmetric(x):
    a = x.copy()
    a += a.T
    a[1:, :] += a[0]
    return a


@pytest.mark.parametrize("f", [cascade, symmetric], ids=lambda f: f.__name__)
def test_what_is_written_in_place_is_read_again_as_in_numbas_loops(f: Any) -> None:
    x = np.random.default_rng(0).random((4,) if f is cascade else (3, 3))
    weights = np.random.default_rng(1).random(x.shape)
    found = numbad.jacobian(f)(x)
    assert np.array_equal(numbad.record(f, x)(x), f(x))
    complex_step = np.stack([f(x + 1e-30j * unit.reshape(x.shape)).imag / 1e-30 for unit in np.eye(x.size)], axis=-1)
    assert np.allclose(found.reshape(*x.shape, -1), complex_step, rtol=1e-12)
    assert not np.allclose(f(x), f.py_func(x)) or f is symmetric  # NumPy's own result is another one
    second = numbad.hessian(lambda x: (f(x) * weights).sum())(x).reshape(x.size, x.size)
    slope = numbad.grad(lambda x: (f(x) * weights).sum())
    step = 1e-5 * np.eye(x.size).reshape(-1, *x.shape)
    differences = [(slope(x + part) - slope(x - part)).ravel() / 2e-5 for part in step]
    assert np.allclose(second, differences, atol=1e-6)


def test_plain_arrays_are_written_in_the_same_order() -> None:
    @njit
    def sums(x, n):
        a = np.arange(n) * 1.0
        a[1:] += a[:-1]
        return x * a.sum()

    assert numbad.gradient(sums, 1.0, 5, argnums=0) == sums(1.0, 5) == 20.0


def test_views_that_do_not_overlap_are_told_from_those_that_do() -> None:
    a = np.arange(12.0).reshape(3, 4)
    assert not overlap(a, a)
    assert not overlap(a[0], a[1])
    assert overlap(a[0], a[0, ::-1])
    assert overlap(a[:, 1:], a[:, :-1])
    assert not overlap(a[::2], a[1])

    def check(x):
        assert not overlap(x, x)
        assert not overlap(x[0], x[1])
        assert overlap(x[0], x[0, ::-1])
        assert overlap(x[:, 1:], x[:, :-1])
        assert not overlap(x[0], x[1] * 1.0)
        return x.sum()

    numbad.gradient(check, a)


def test_without_the_order_of_numbas_loops_the_cascade_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "overlap", lambda one, other: False)
    x = np.random.default_rng(0).random(4)
    assert not np.allclose(numbad.record(cascade, x)(x), cascade(x))
