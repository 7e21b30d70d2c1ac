"""Replays with large products, and with indices that vary, agree with the function recorded anew."""

import numpy as np
import pytest

import numbad
from numbad import limits
from numbad.replay.divided_machine import DividedMachine

RANDOM = np.random.default_rng(5)
X = RANDOM.standard_normal((400, 150)) / 12.0
F = np.asfortranarray(X)
W = RANDOM.standard_normal(150)
V = RANDOM.standard_normal(400)


def replays(function, *arguments):
    """Return how the only program of a jitted function is replayed."""
    function(*arguments)
    (paths,) = function.programs.values()
    return [type(program.machine) for program in paths.programs]


def branching(w):
    z = X @ w
    return np.sum(np.tanh(z)) if z[0] > 0.0 else np.sum(z * z) + np.sum(np.sin(z) @ X)


FUNCTIONS = {
    "matrix @ vector": (lambda w: np.sum(np.tanh(X @ w) ** 2), W),
    "vector @ matrix": (lambda v: np.sum(np.exp(v @ X * 0.1)), V),
    "one after the other": (lambda w: np.sum(np.tanh(np.tanh(X @ w) @ X) * w), W),
    "a sum of products": (lambda w: np.sum(np.sin(X @ w + X @ (w * w))), W),
    "a matrix in columns": (lambda w: np.sum(np.tanh(F @ w)), W),
    "its transpose": (lambda v: np.sum(np.tanh(X.T @ v)), V),
    "a branch": (branching, W),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name, dtype):
    f, x = FUNCTIONS[name]
    jitted = numbad.jit(numbad.value_and_grad(f))
    alone = numbad.jit(f)
    x = x.astype(dtype)
    assert limits.SMALL_LIMITS or set(replays(jitted, x)) == {DividedMachine}
    tolerance = 1e-12 if dtype == np.float64 else 2e-4
    for point in (x, -x, 0.5 * x, x * 0):
        value, gradient = numbad.value_and_grad(f)(point)
        found, slope = jitted(point)
        assert np.isclose(found, value, rtol=tolerance, atol=tolerance)
        assert np.allclose(slope, gradient, rtol=tolerance, atol=tolerance)
        assert np.isclose(alone(point), f(point), rtol=tolerance, atol=tolerance)


def test_results_are_the_callers_own():
    jitted = numbad.jit(numbad.grad(FUNCTIONS["matrix @ vector"][0]))
    first = jitted(W)
    kept = first.copy()
    jitted(2.0 * W)
    assert np.array_equal(first, kept)


def test_a_matrix_that_is_written_to_is_noticed():
    matrix = X.copy()
    jitted = numbad.jit(numbad.grad(lambda w: np.sum(matrix @ w)))
    jitted(W)
    matrix *= 2.0
    assert np.allclose(jitted(W), matrix.sum(axis=0))


def test_not_a_number_goes_through():
    jitted = numbad.jit(numbad.value_and_grad(lambda w: np.sum(np.where(X @ w > 0.0, X @ w, 0.0))))
    jitted(W)
    bad = W.copy()
    bad[3] = np.nan
    value, gradient = jitted(bad)
    expected = numbad.value_and_grad(lambda w: np.sum(np.where(X @ w > 0.0, X @ w, 0.0)))(bad)
    assert value == expected[0] or np.isnan(value) == np.isnan(expected[0])
    assert np.array_equal(gradient, expected[1], equal_nan=True)


OTHERS = {
    "a matrix that varies": (lambda a: np.sum(np.tanh(a @ W)), (X,)),
    "large elementwise rows": (lambda w: np.sum(np.sin(np.outer(w, V))), (W,)),
    "a product of matrices": (lambda w: np.sum(np.tanh(X * w) @ X.T), (W,)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_large_rows_are_swept_as_before(name):
    f, arguments = OTHERS[name]
    jitted = numbad.jit(numbad.grad(f))
    assert DividedMachine not in replays(jitted, *arguments)
    for factor in (1.0, 2.0):
        points = [factor * x for x in arguments]
        assert np.allclose(jitted(*points), numbad.grad(f)(*points), rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------- products of matrices, indices that vary

A = RANDOM.standard_normal((80, 60))  # products of more than `limits.PRODUCT_MOST`, of inputs that lie in the arena
B = RANDOM.standard_normal((60, 68)) / 8.0
C, D = RANDOM.standard_normal((2, 45, 88)) / 8.0


def selected_away(c):
    e = c.T @ D
    return np.sum(np.where(e > 99.0, np.sqrt(e - 99.0), 1.0)) + np.sum(c)


PRODUCTS = {
    "a layer": (lambda b: np.sum(np.tanh(A @ b) ** 2), B),
    "two layers": (lambda b: np.sum(np.tanh(np.tanh(A @ b) @ b.T)), B),
    "by a constant": (lambda a: np.sum(np.sin(a @ B)), A[:68]),
    "by a constant in columns": (lambda a: np.sum(np.sin(a @ np.asfortranarray(B))), A[:68]),
    "transposes": (lambda c: np.sum(np.sin(c.T @ c)), C),
    "a product of two": (lambda c: np.sum(np.sin(c.T @ (c * c))), C),
    "a sum of products": (lambda c: np.sum(np.exp(0.1 * (c.T @ D + D.T @ c + 1.0))), C),
    "a part of a matrix": (lambda c: np.sum(np.tanh(c[:, :84].T @ c[:, 4:] * 0.1)), C),
    "einsum": (lambda b: np.sum(np.einsum("ij,jk->ki", A, np.sin(b))), B),
    "selected": (lambda c: np.sum(np.where(c.T @ D > 0.0, c.T @ D, 0.0)), C),
    "an infinite slope that is selected away": (selected_away, C),
    "a branch": (lambda c: np.sum(c.T @ D) if c[0, 0] > 0.0 else np.sum(np.tanh(c.T @ D)), C),
}


ALONE = ("a product of two", "transposes")  # without constants, which are in double precision


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, np.float64) for name in PRODUCTS), *((name, np.float32) for name in ALONE)]
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_products_of_matrices(name, dtype):
    f, x = PRODUCTS[name]
    jitted, alone = numbad.jit(numbad.value_and_grad(f)), numbad.jit(f)
    x = x.astype(dtype)
    assert limits.SMALL_LIMITS or set(replays(jitted, x)) == {DividedMachine}
    rtol = 1e-11 if dtype == np.float64 else 2e-3
    for point in (x, -x, 0.5 * x, x * 0):
        value, slope = numbad.value_and_grad(f)(point)
        found, slopes = jitted(point)
        assert np.isclose(found, value, rtol=rtol, atol=rtol)
        assert slopes.dtype == dtype
        assert np.allclose(slopes, slope, rtol=rtol, atol=rtol, equal_nan=True)
        assert np.isclose(alone(point), value, rtol=rtol, atol=rtol)


def test_only_what_is_wanted_goes_back():
    def loss(w, x, labels):
        return -np.mean((np.tanh(x @ w) @ w.T)[np.arange(68), labels])

    jitted = numbad.jit(numbad.value_and_grad(loss))
    for _ in range(4):
        x, labels = RANDOM.standard_normal((68, 60)), RANDOM.integers(0, 60, 68)
        value, slope = numbad.value_and_grad(loss)(B, x, labels)
        found, slopes = jitted(B, x, labels)
        assert np.isclose(found, value, rtol=1e-12)
        assert np.allclose(slopes, slope, rtol=1e-11, atol=1e-15)
    assert jitted.paths == 1
    (paths,) = jitted.programs.values()
    assert limits.SMALL_LIMITS or type(paths.programs[0].machine) is DividedMachine
    both = numbad.jit(numbad.grad(loss, argnums=(1, 0)))
    for found, expected in zip(both(B, x, labels), numbad.grad(loss, argnums=(1, 0))(B, x, labels), strict=True):
        assert np.allclose(found, expected, rtol=1e-11, atol=1e-15)
