"""Universal functions, stencils and callbacks that Numba compiles, called with recording values."""

from __future__ import annotations

import numpy as np
import pytest
from numba import cfunc, guvectorize, njit, stencil, vectorize

import numbad


@vectorize
def chosen(x, y):
    if x > y:
        return x * y
    return x - y / x


@vectorize(["float64(float64, float64)"])
def quotient(x, y):
    return x / y


@guvectorize(["void(float64[:], float64, float64[:])"], "(n),()->(n)")
def scaled(x, factor, out):
    for i in range(x.size):
        out[i] = factor * x[i] * x[0]


@guvectorize("(n)->()")
def squares(x, out):
    out[0] = 0.0
    for i in range(x.size):
        out[0] += x[i] ** 2


@guvectorize(["void(float64[:], float64[:], float64[:])"], "(n)->(),()")
def both(x, low, high):
    low[0], high[0] = x[0], x[0]
    for value in x:
        low[0], high[0] = min(low[0], value), max(high[0], value)


@stencil
def averaged(a):
    return 0.25 * (a[0, 1] + a[1, 0] + a[0, -1] + a[-1, 0]) * a[0, 0]


@stencil(neighborhood=((-2, 0),), cval=1.5, standard_indexing=("weights",))
def backward(a, weights):
    total = 0.0
    for k in range(-2, 1):
        total += weights[k + 2] * a[k]
    return total


@njit
def with_stencil(x):
    return (averaged(x) * x).sum()


@cfunc("float64(float64)")
def cubed(x):
    return x**3


A = np.random.default_rng(0).random((3, 4)) + 0.5
B = np.random.default_rng(1).random(4) + 0.5
PROGRAMS = {
    "vectorize": (lambda x: (chosen(x, B) ** 2).sum(), A),
    "vectorize of numbers": (lambda x: chosen(x[0], 0.7) + chosen(2.0, x[1]), B),
    "vectorize with signatures": (lambda x: quotient(x, B[:, None][:3]).sum(), A),
    "guvectorize": (lambda x: (scaled(x, 3.0) ** 2).sum(), A),
    "guvectorize of a number": (lambda x: (scaled(B, x) ** 2).sum(), B[:3]),
    "guvectorize without signatures": (lambda x: (squares(x, np.zeros(3)) * B[:3]).sum(), A),
    "guvectorize with two results": (lambda x: (both(x)[0] * both(x)[1]).sum(), A),
    "stencil": (lambda x: (averaged(x) ** 2).sum(), A),
    "stencil in a kernel": (with_stencil, A),
    "stencil with a neighbourhood": (lambda x: (backward(x, B[:3]) ** 2).sum(), B),
    "stencil whose weights vary": (lambda x: (backward(B, x) ** 2).sum(), B[:3]),
    "cfunc": (lambda x: cubed(x[0]) + cubed(2.0) * x[1], B),
}


def differences(f, x, h=1e-5):
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[index] = h
        found[index] = (f(x + unit) - f(x - unit)) / (2.0 * h)
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives(name: str) -> None:
    f, x = PROGRAMS[name]
    value, slope = numbad.value_and_gradient(f, x)
    native = (squares_of(x) * B[:3]).sum() if name == "guvectorize without signatures" else f(x)
    assert value == pytest.approx(native, rel=1e-13)
    if name != "guvectorize without signatures":  # Numba returns the array that it was given
        assert np.allclose(slope, differences(f, x), rtol=1e-7, atol=1e-8)
    direction = np.ones_like(x)
    second = numbad.hvp(f, x, direction)
    slopes = [numbad.gradient(f, x + h * direction) for h in (1e-5, -1e-5)]
    assert np.allclose(second, (slopes[0] - slopes[1]) / 2e-5, atol=1e-5)


def squares_of(x):
    return (x**2).sum(axis=-1)


def test_a_division_by_zero_is_numpys() -> None:
    assert np.isinf(numbad.gradient(lambda x: quotient(x, 0.0), 1.0))


def test_where_results_are_written_to() -> None:
    def written(x):
        out = np.zeros(3)
        squares(x, out)
        return out.sum()

    assert np.allclose(numbad.gradient(written, A), 2.0 * A)
    outside = np.zeros(3)
    with pytest.raises(numbad.RecordingError, match="plain array"):
        numbad.gradient(lambda x: squares(x, outside).sum(), A)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="core"):
        numbad.gradient(lambda x: scaled(x[0, 0], 2.0).sum(), A)
    with pytest.raises(ValueError, match="broadcast"):
        numbad.gradient(lambda x: chosen(x, np.ones(5)).sum(), A)


def test_a_ufunc_for_threads_is_refused_by_name() -> None:
    @vectorize(["float64(float64)"], target="parallel")
    def in_threads(x):
        return x * x

    with pytest.raises(numbad.RecordingError, match="in_threads"):
        numbad.gradient(in_threads, 2.0)


def test_methods_of_ufuncs_are_refused_by_name() -> None:
    @vectorize(["float64(float64, float64)"])
    def added(x, y):
        return x + y

    with pytest.raises(numbad.RecordingError, match="reduce"):
        numbad.gradient(lambda x: added.reduce(x), B)


def test_plain_arguments_go_to_numba() -> None:
    def program(x):
        return x * scaled(A, 2.0).sum() * averaged(A).sum() * cubed(2.0) * chosen(1.0, 2.0)

    assert numbad.gradient(program, 1.0) == program(1.0)
