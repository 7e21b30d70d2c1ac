"""What is absent, and what is a zero: programs at points where a derivative is infinite, in every mode and size.

Absent times anything is absent: where nothing flows, the derivative is 0 beside infinite ones. A zero that was computed
is a number, and times infinity it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numbad

inf, nan = np.inf, np.nan
POINT = np.array([0.0, 1.0, 4.0])
MASK = np.array([0.0, 1.0, 1.0])
FLIPPED = [2, 0, 1]


def tiled(values: Any, n: int) -> np.ndarray:
    """Return values again and again, n of them."""
    return np.resize(np.asarray(values, float), n)


# Programs of an array whose elements do not meet: the gradient of the sum, at POINT repeated, is `expected` repeated.
ELEMENTWISE: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "where does not take the root": (lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), [0.0, 0.5, 0.25]),
    "where takes the root": (lambda x: np.where(x >= 0.0, np.sqrt(x), 0.0), [inf, 0.5, 0.25]),
    "a constant zero": (lambda x: 0.0 * np.sqrt(x) + x, [1.0, 1.0, 1.0]),
    "a constant zero on the right": (lambda x: np.sqrt(x) * 0 + x, [1.0, 1.0, 1.0]),
    "a constant -0.0": (lambda x: -0.0 * np.sqrt(x) + x, [1.0, 1.0, 1.0]),
    "a zero inside": (lambda x: np.sqrt(0.0 * x), [0.0, 0.0, 0.0]),
    "a mask": (lambda x: np.resize(MASK, x.shape).astype(x.dtype) * np.sqrt(x), [0.0, 0.5, 0.25]),
    "a mask of truth values": (lambda x: np.sqrt(x) * (np.resize(MASK, x.shape) > 0.0), [0.0, 0.5, 0.25]),
    "a comparison": (lambda x: (x > 0.0) * np.sqrt(x), [0.0, 0.5, 0.25]),
    "the larger": (lambda x: np.maximum(np.sqrt(x), 1.5), [0.0, 0.0, 0.25]),
    "the smaller": (lambda x: np.minimum(-np.sqrt(x), -1.5), [0.0, 0.0, -0.25]),
    "clip": (lambda x: np.clip(np.sqrt(x), 0.5, 9.0), [0.0, 0.5, 0.25]),
    "relu": (lambda x: numbad.relu(np.sqrt(x) - 1.5), [0.0, 0.0, 0.25]),
    "an absolute value at its kink": (lambda x: np.abs(np.sqrt(x)), [0.0, 0.5, 0.25]),
    "a flat function": (lambda x: np.sign(np.sqrt(x)) + np.floor(np.log(x + 0.5)), [0.0, 0.0, 0.0]),
    "the power zero": (lambda x: np.sqrt(x) ** 0 + x, [1.0, 1.0, 1.0]),
    "held constant": (lambda x: numbad.stop_gradient(np.sqrt(x)) * x, [0.0, 1.0, 2.0]),
    "a difference": (lambda x: x - np.where(x > 0.0, np.sqrt(x), 0.0), [1.0, 0.5, 0.75]),
    "an unused result": (lambda x: (np.sqrt(x), x * 3.0)[1], [3.0, 3.0, 3.0]),
    "a square of an inverse cosine": (lambda x: np.arccos(x / 4.0) ** 2, [-0.25 * np.pi, nan, nan]),
    "a root times a zero": (lambda x: np.sqrt(x) * np.sin(x), [nan, nan, nan]),
    "a root of a square": (lambda x: np.log1p(np.sqrt(x)) * x, [nan, nan, nan]),
    "a cancelled cotangent": (lambda x: np.sqrt(x) * (x - x) + 0.0, [nan, 0.0, 0.0]),
}


def by_hand(name: str) -> np.ndarray:
    """Return the gradient at POINT; where the table says nan at other points than the singular one, by its formula."""
    expected = np.array(ELEMENTWISE[name][1])
    if name == "a square of an inverse cosine":
        expected = np.append(-2.0 * np.arccos(POINT[:2] / 4.0) / np.sqrt(16.0 - POINT[:2] ** 2), nan)
    elif name == "a root times a zero":
        expected[1:] = (np.sin(POINT) / (2.0 * np.sqrt(POINT + (POINT == 0.0))) + np.sqrt(POINT) * np.cos(POINT))[1:]
    elif name == "a root of a square":
        r = np.sqrt(POINT[1:])
        expected[1:] = np.log1p(r) + r / (2.0 * (1.0 + r))
    return expected


def gradients(f: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Return every way to the gradient of a function of one array, or number, that returns a number."""
    pair = np.stack([x, x])
    replayed = numbad.jit(numbad.grad(f))
    inside = numbad.jit(lambda x: numbad.grad(f)(x) + 0.0)
    return {
        "gradient": lambda: numbad.gradient(f, x),
        "jit(grad)": lambda: replayed(x),
        "jit(grad), replayed": lambda: replayed(x),
        "grad(jit)": lambda: numbad.grad(numbad.jit(f))(x),
        "jit of grad and more": lambda: inside(x),
        "jit of grad and more, replayed": lambda: inside(x),
        "vjp": lambda: numbad.vjp(f, x)[1](1.0)[0],
        "jit of vjp": lambda: numbad.jit(lambda x: numbad.vjp(f, x)[1](1.0)[0])(x),
        "vmap(grad)": lambda: numbad.vmap(numbad.grad(f))(pair)[1],
        "jit(vmap(grad))": lambda: numbad.jit(numbad.vmap(numbad.grad(f)))(pair)[1],
        "tape": lambda: numbad.record(f, x).gradient(x),
        "gradient_map": lambda: numbad.record(f, x).gradient_map(pair)[1],
    }


def jacobians(f: Any, x: Any) -> dict[str, Callable[[], Any]]:
    """Return every way to the Jacobian of a function."""
    tape = numbad.record(f, x)
    return {
        "jacfwd": lambda: numbad.jacfwd(f)(x),
        "jacrev": lambda: numbad.jacrev(f)(x),
        "jit(jacfwd)": lambda: numbad.jit(numbad.jacfwd(f))(x),
        "jit(jacrev)": lambda: numbad.jit(numbad.jacrev(f))(x),
        "tape": lambda: tape.jacobian(x),
        "jvp of basis vectors": lambda: np.stack([numbad.jvp(f, (x,), (e,))[1] for e in np.eye(x.size)], axis=-1),
        "jit of jvp": lambda: np.stack(
            [numbad.jit(lambda x, e: numbad.jvp(f, (x,), (e,))[1])(x, e) for e in np.eye(x.size)], axis=-1
        ),
        "vjp of basis vectors": lambda: np.stack([numbad.vjp(f, x)[1](e)[0] for e in np.eye(f(x).size)]),
        "vmap of vjp": lambda: numbad.vmap(numbad.vjp(f, x)[1])(np.eye(f(x).size))[0],
    }


def agree(ways: dict[str, Callable[[], Any]], expected: Any, rtol: float = 1e-12) -> None:
    """Check that all ways give what is expected, NaN and infinities where they are, and no -0.0."""
    for name, run in ways.items():
        found = np.asarray(run())
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-14, err_msg=name)
        assert not (np.signbit(found) & (found == 0.0)).any(), name


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_of_arrays(name: str) -> None:
    f = ELEMENTWISE[name][0]
    agree(gradients(lambda x: np.sum(f(x)), POINT), by_hand(name))


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("k", [0, 1])
def test_gradients_of_numbers(name: str, k: int) -> None:
    f = ELEMENTWISE[name][0]
    agree(gradients(f, float(POINT[k])), by_hand(name)[k]) if "mask" not in name else None


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("n", [2000, 40_002])
def test_gradients_of_long_arrays(name: str, n: int) -> None:
    f, x = ELEMENTWISE[name][0], tiled(POINT, n)
    ways = gradients(lambda x: np.sum(f(x)), x)
    chosen = {
        key: ways[key] for key in ("gradient", "jit(grad)", "jit(grad), replayed", "jit of grad and more", "tape")
    }
    agree(chosen, tiled(by_hand(name), n))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gradients_in_single_precision(name: str) -> None:
    f, x = ELEMENTWISE[name][0], POINT.astype(np.float32)
    ways = gradients(lambda x: np.sum(f(x)), x)
    for key in ("gradient", "jit(grad)", "jit of grad and more", "tape"):
        found = ways[key]()
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, by_hand(name), rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_jacobians(name: str) -> None:
    expected = np.diag(by_hand(name))
    agree(jacobians(ELEMENTWISE[name][0], POINT), expected)


# ---------------------------------------------------------------- programs whose elements meet


STRUCTURES: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "a slice": (lambda x: np.sum(np.sqrt(x)[1:] ** 3), [0.0, 1.5, 3.0]),
    "chosen elements": (lambda x: np.sum(np.sqrt(x)[[1, 2, 2]]), [0.0, 0.5, 0.5]),
    "one element": (lambda x: np.sqrt(x)[2] * 2.0, [0.0, 0.0, 0.5]),
    "the largest": (lambda x: np.max(np.sqrt(x)) * 2.0, [0.0, 0.0, 0.5]),
    "the smallest of others": (lambda x: np.min(-np.sqrt(x)), [0.0, 0.0, -0.25]),
    "the last of those sorted": (lambda x: np.sort(np.sqrt(x))[2], [0.0, 0.0, 0.25]),
    "a median": (lambda x: np.median(np.sqrt(x)), [0.0, 0.5, 0.0]),
    "a prefix": (lambda x: np.sum(np.concatenate([np.sqrt(x), x])[1:]), [1.0, 1.5, 1.25]),
    "numbers": (lambda x: np.where(x[0] > 0.0, np.sqrt(x[0]), 0.0) - x[1] ** 3 * x[2], [0.0, -12.0, -1.0]),
    "a root times another": (lambda x: np.sqrt(x[0]) * np.sqrt(x[2]), [inf, 0.0, 0.0]),
    "a root times a zero": (lambda x: np.sqrt(x[0]) * (x[1] - 1.0), [nan, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_gradients_where_elements_meet(name: str) -> None:
    f, expected = STRUCTURES[name]
    agree(gradients(f, POINT), expected)


def test_a_zero_in_a_product_is_a_number_whatever_its_sign() -> None:
    for zero in (0.0, -0.0):
        x = np.array([0.0, zero])
        agree(gradients(lambda x: np.sqrt(x[0]) * x[1], x), [nan, 0.0])
        assert np.isnan(numbad.gradient(lambda x, y: np.sqrt(x) * y, 0.0, zero)[0])


def test_off_diagonals_of_jacobians_are_absent() -> None:
    f = lambda x: np.sqrt(np.sqrt(2.0 * x))
    expected = np.diag([inf, *(0.25 * 2.0 * (2.0 * POINT[1:]) ** -0.75)])
    agree(jacobians(f, POINT), expected)


def test_second_derivatives() -> None:
    f = lambda x: np.sum(np.where(x > 0.0, x * np.sqrt(x), 0.0))
    expected = np.diag([0.0, 0.75, 0.375])
    v = np.array([1.0, 0.0, 2.0])
    for call in (numbad.hessian(f), numbad.jacrev(numbad.grad(f)), numbad.jit(numbad.hessian(f))):
        np.testing.assert_allclose(call(POINT), expected, rtol=1e-14)
    np.testing.assert_allclose(numbad.hvp(f, POINT, v), expected @ v, rtol=1e-14)
    np.testing.assert_allclose(numbad.jit(lambda x, v: numbad.hvp(f, x, v))(POINT, v), expected @ v, rtol=1e-14)
    third = numbad.grad(numbad.grad(numbad.grad(lambda x: np.where(x > 0.0, x**2 * np.sqrt(x), 0.0))))
    assert third(0.0) == 0.0


def test_the_second_derivative_at_a_kink_is_not_zero() -> None:
    for f in (np.linalg.norm, lambda x: np.std(x) * 3.0, lambda x: np.hypot(x[0], x[1])):
        x = np.zeros(3)
        np.testing.assert_array_equal(numbad.gradient(f, x), 0.0)
        for call in (numbad.hessian(f), numbad.jacfwd(numbad.jacfwd(f)), numbad.jit(numbad.hessian(f))):
            assert np.isnan(call(x)[:2, :2]).all()


def test_seeds() -> None:
    f = np.sqrt
    for seed in (np.array([0.0, 1.0, 0.0]), np.array([-0.0, 1.0, -0.0])):
        expected = np.array([0.0, 0.5, 0.0])
        np.testing.assert_array_equal(numbad.jvp(f, (POINT,), (seed,))[1], expected)
        np.testing.assert_array_equal(numbad.vjp(f, POINT)[1](seed)[0], expected)
        np.testing.assert_array_equal(numbad.linearize(f, POINT)[1](seed), expected)
        tape = numbad.record(f, POINT)
        np.testing.assert_array_equal(tape.jvp((POINT,), (seed,))[1], expected)
        np.testing.assert_array_equal(tape.vjp(POINT)[1](seed)[0], expected)


def test_products_of_what_is_partly_absent() -> None:
    matrix = np.linspace(0.5, 2.0, 9).reshape(3, 3)
    f = lambda x: np.sum((matrix @ x)[:2] * np.where(x > 0.0, np.sqrt(x), 0.0)[1:])
    x = POINT
    r = np.array([1.0, 2.0])
    expected = matrix[:2].T @ r + np.array([0.0, *((matrix @ x)[:2] * np.array([0.5, 0.25]))])
    agree(gradients(f, x), expected)


def ones_but(n: int) -> np.ndarray:
    """Return a vector of ones that is zero wherever POINT repeated is."""
    return tiled(MASK, n)


PRODUCTS: dict[str, Callable[[Any, np.ndarray], Any]] = {  # of roots at POINT repeated, with a factor of zeros and ones
    "vector @ array": lambda r, m: m @ r,
    "array @ vector": lambda r, m: r @ m,
    "dot of a list": lambda r, m: np.dot(m.tolist(), r),
    "inner": lambda r, m: np.inner(r, m),
    "vdot": lambda r, m: np.vdot(m, r),
    "einsum": lambda r, m: np.einsum("i,i->", m, r),
    "einsum of three": lambda r, m: np.einsum("j,j,i->", r, m, np.array([0.75, 0.25])),
    "tensordot": lambda r, m: np.tensordot(r, m, 1),
    "matrix @ array": lambda r, m: np.sum(np.stack([m, np.zeros(len(m))]) @ r),
    "array @ matrix": lambda r, m: np.sum(r @ np.stack([m, np.zeros(len(m))], axis=1)),
    "matrix @ matrix": lambda r, m: np.sum(m[None] @ np.stack([r, r], axis=1)) / 2.0,
    "a stack of matrices": lambda r, m: np.sum(np.stack([m, m])[:, None] @ r[:, None]) / 2.0,
    "outer": lambda r, m: np.sum(np.diagonal(np.outer(m, r))) if len(m) < 100 else np.sum(np.multiply(r, m)),
    "weights of an average": lambda r, m: np.average(r, weights=m) * np.sum(m),
    "a strided factor": lambda r, m: np.repeat(m, 2)[::2] @ r[::-1][::-1],
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("n", [3, 600, 70_000])
def test_a_constant_zero_in_a_dense_product_is_absent(name: str, n: int) -> None:
    f = lambda x: PRODUCTS[name](np.sqrt(x), ones_but(n))
    x = tiled(POINT, n)
    with np.errstate(divide="ignore"):
        expected = np.where(x > 0.0, 0.5 / np.sqrt(x), 0.0)
    for found in (numbad.gradient(f, x), numbad.jit(numbad.grad(f))(x), numbad.record(f, x).gradient(x)):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
        assert not np.signbit(found).any()
    if n < 1000:
        np.testing.assert_allclose(numbad.jacfwd(f)(x), expected, rtol=1e-13)
        both = np.stack([x, x + 1.0])
        with_ones = 0.5 / np.sqrt(x + 1.0) * ones_but(n)
        np.testing.assert_allclose(numbad.vmap(numbad.grad(f))(both), [expected, with_ones], rtol=1e-13)


def test_values_where_a_constant_factor_is_zero_are_those_of_numpy() -> None:
    x = np.array([inf, 2.0, nan])
    with np.errstate(invalid="ignore"):
        for mask in ([0.0, 1.0, 0.0], [0.0, 3.0, 1.0]):
            factor = np.array(mask)
            value, _ = numbad.value_and_gradient(lambda x: factor @ x, x)  # noqa: B023 - run at once
            np.testing.assert_array_equal(value, factor @ x)
    kept = numbad.gradient(lambda x: np.array([[0.0, 1.0], [2.0, 0.0]]) @ x @ np.ones(2), np.array([5.0, 7.0]))
    np.testing.assert_array_equal(kept, [2.0, 1.0])


def test_running_products_keep_apart_what_is_absent_and_what_is_zero() -> None:
    x = np.array([2.0, 0.0, 3.0, inf])
    with np.errstate(invalid="ignore"):
        first = numbad.gradient(lambda x: np.cumprod(x)[1], x)  # what comes later is infinite, and not used
        np.testing.assert_array_equal(first, [0.0, 2.0, 0.0, 0.0])
        slope = lambda x: np.sum(np.cumprod(np.arccos(x) * np.array([1.0, 3.0])))
        assert np.isnan(numbad.gradient(slope, np.array([1.0, 0.5]))).tolist() == [False, False]
        zero = numbad.gradient(lambda x: np.cumprod(np.stack([x[0], x[1] * x[0], x[2]]))[2], np.array([0.0, 1.0, inf]))
        assert np.isnan(zero[0]) and np.isnan(zero[1])


def test_a_gradient_that_is_zero_forms_no_product_and_is_a_number() -> None:
    matrix = np.ones((300, 300))

    def f(x: Any) -> Any:
        y = matrix @ np.sqrt(x)
        return np.sum(y - y)

    found = numbad.gradient(f, np.array([0.0, *np.ones(299)]))
    assert np.isnan(found[0])
    np.testing.assert_array_equal(found[1:], 0.0)


def test_debug_nans_names_the_row() -> None:
    with numbad.debug_nans(), pytest.raises(numbad.NonFiniteError, match="sqrt"):
        numbad.gradient(lambda x: np.arccos(x) * np.sqrt(x - 1.0), 1.0)
