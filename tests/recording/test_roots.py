"""Roots of sums of squares and squares of roots: the derivatives at zero, in every mode, and the values bit by bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.spatial.distance import cdist

import numbad

ZERO = np.zeros(3)
EYE = np.eye(3)


def by_loop(x: Any) -> Any:
    """Length of a vector, summed by a loop of Python's."""
    total = 0.0
    for part in x:
        total = total + part * part
    return np.sqrt(total)


def assigned(x: Any) -> Any:
    """Length of a vector whose squares are assigned one by one into an array."""
    return np.sqrt(np.add.reduce([part**2 for part in x]))


NORMS = {
    "np.linalg.norm": np.linalg.norm,
    "norm over an axis": lambda x: np.linalg.norm(x[None, :], axis=-1)[0],
    "sum of x**2": lambda x: np.sqrt(np.sum(x**2)),
    "sum of np.square": lambda x: np.sqrt(np.square(x).sum()),
    "sum of x * x": lambda x: np.sum(x * x) ** 0.5,
    "x @ x": lambda x: np.sqrt(x @ x),
    "np.dot": lambda x: np.dot(x, x) ** 0.5,
    "np.vdot": lambda x: np.sqrt(np.vdot(x, x)),
    "einsum": lambda x: np.sqrt(np.einsum("i,i->", x, x)),
    "einsum of rows": lambda x: np.sqrt(np.einsum("ij,ij->i", x[None, :], x[None, :]))[0],
    "scalars": lambda x: np.sqrt(x[0] ** 2 + x[1] * x[1] + x[2] ** 2),
    "a loop": by_loop,
    "a sum": lambda x: sum(part**2 for part in x) ** 0.5,
    "from the end": lambda x: np.sqrt((x[::-1] ** 2).sum()),
    "two sums": lambda x: np.sqrt(np.sum(x[:2] ** 2) + x[2] ** 2),
    "a Fortran sum": lambda x: np.sqrt(np.sum((np.stack([x, 0.0 * x]).T) ** 2)),
    "from an earlier line": lambda x: [s := np.sum(x**2), np.exp(x) * x, np.sqrt(s)][2],
}
SQUARED = NORMS | {
    "hypot": lambda x: np.hypot(np.hypot(x[0], x[1]), x[2]),
    "root of a sum": lambda x: np.sqrt(np.sum(x * x) * 1.0),
    "distance": lambda x: cdist(x[None, :], np.zeros((1, 3)))[0, 0],
    "absolute": lambda x: abs(np.linalg.norm(x)),
}


def modes(f: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the gradient in all modes."""
    replayed = numbad.jit(numbad.grad(f))
    replayed(x + 1.0)
    return {
        "gradient": numbad.gradient(f, x),
        "jit(grad)": replayed(x),
        "grad(jit)": numbad.grad(numbad.jit(f))(x),
        "jacfwd": numbad.jacfwd(f)(x),
        "jacrev": numbad.jacrev(f)(x),
        "vmap(grad)": numbad.vmap(numbad.grad(f))(np.stack([x, x + 1.0]))[0],
        "tape": numbad.record(f, x + 1.0).gradient(x),
    }


def second_modes(f: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return the Hessian in all modes."""
    replayed = numbad.jit(numbad.hessian(f))
    replayed(x + 1.0)
    return {
        "hessian": numbad.hessian(f, x),
        "jit(hessian)": replayed(x),
        "jacfwd(jacrev)": numbad.jacfwd(numbad.jacrev(f))(x),
        "jacrev(jacfwd)": numbad.jacrev(numbad.jacfwd(f))(x),
        "jacfwd(jacfwd)": numbad.jacfwd(numbad.jacfwd(f))(x),
        "vmap(hessian)": numbad.vmap(numbad.hessian(f))(np.stack([x, x + 1.0]))[0],
    }


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_written_by_hand_has_derivative_zero_at_zero(name: str) -> None:
    for mode, found in modes(NORMS[name], ZERO).items():
        np.testing.assert_array_equal(found, ZERO, mode)
    x = np.array([0.5, -1.5, 2.0])
    np.testing.assert_allclose(numbad.gradient(NORMS[name], x), x / np.linalg.norm(x), rtol=1e-15)


@pytest.mark.parametrize("name", SQUARED)
def test_the_square_of_a_norm_is_a_sum_of_squares(name: str) -> None:
    norm = SQUARED[name]
    for f, scale in (
        (lambda x: norm(x) ** 2, 1.0),
        (lambda x: 0.5 * np.square(norm(x)), 0.5),
        (lambda x: np.exp(-(norm(x) ** 2.0)), -1.0),
        (lambda x: [r := norm(x), r * r][1], 1.0),
    ):
        for mode, found in modes(f, ZERO).items():
            np.testing.assert_array_equal(found, ZERO, mode)
        for mode, found in second_modes(f, ZERO).items():
            np.testing.assert_allclose(found, 2 * scale * EYE, rtol=1e-15, err_msg=mode)


def test_even_powers_of_a_norm() -> None:
    for f in (lambda x: np.linalg.norm(x) ** 4, lambda x: np.sqrt(x @ x) ** 4.0, lambda x: np.hypot(x[0], x[1]) ** 4):
        np.testing.assert_array_equal(numbad.hessian(f, ZERO), np.zeros((3, 3)))
        x = np.array([1.0, 2.0, 0.0])
        np.testing.assert_allclose(numbad.hessian(f, x)[:2, :2], 20 * EYE[:2, :2] + 8 * np.outer(x, x)[:2, :2])


def test_squares_of_absolute_values_and_of_standard_deviations() -> None:
    np.testing.assert_array_equal(numbad.hessian(lambda x: np.sum(np.abs(x) ** 2), ZERO), 2 * EYE)
    np.testing.assert_array_equal(numbad.hessian(lambda x: np.sum(abs(x) * abs(x)), ZERO), np.zeros((3, 3)) + 0.0)
    centred = (EYE - 1.0 / 3.0) * 2.0 / 3.0
    np.testing.assert_allclose(numbad.hessian(lambda x: np.std(x) ** 2, ZERO + 0.25), centred, atol=1e-15)
    np.testing.assert_allclose(numbad.hessian(lambda x: np.sqrt(np.var(x)) ** 2, ZERO), centred, atol=1e-15)


def test_a_root_of_something_else_keeps_its_infinite_derivative() -> None:
    for f in (
        lambda x: np.sum(np.sqrt(x)),
        lambda x: np.sqrt(np.sum(x)),
        lambda x: np.sqrt(x[0] * x[1] + x[2]),
        lambda x: np.sum(np.sqrt(np.concatenate([x**2, x]))),
        lambda x: np.sqrt(np.sum(x**2 + x)),
        lambda x: np.sqrt(np.sum(x * x[::-1] + x)),
    ):
        assert not np.isfinite(numbad.gradient(f, ZERO)).all(), f  # infinity, and times a computed zero NaN
    with_offset = numbad.gradient(lambda x: np.sqrt(np.sum(x**2) + (-1.0)), np.array([1.0, 0.0]))
    assert with_offset[0] == np.inf, "the root is zero where the squares are not"


def test_the_root_of_a_product_of_rows_is_no_norm() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = numbad.gradient(lambda x: np.sum(np.sqrt(x @ x.T)), x)
    assert np.isinf(found).any() or np.isnan(found).any(), "rows at right angles: the root is steep there"


def test_operands_that_are_assigned_later_do_not_change_the_square() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        size = np.hypot(y[:2], y[1:])
        y[0] = 7.0 * x[2]
        return np.sum(size**2)

    x = np.array([0.3, 0.0, -0.4])
    value, slope = numbad.value_and_gradient(f, x)
    assert value == f(x)
    np.testing.assert_allclose(slope, [0.6, 0.0, -0.8], rtol=1e-15)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (700,)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_are_those_of_numpy(shape: Any, dtype: Any) -> None:
    x = np.asarray(np.random.default_rng(3).uniform(0.1, 3.0, shape), dtype)
    for f in (
        lambda x: np.sqrt(x) ** 2,
        lambda x: np.square(np.sqrt(x)),
        lambda x: np.hypot(x, x[..., ::-1] if np.ndim(x) else x) ** 2,
        lambda x: np.abs(-x) ** 2,
        lambda x: np.sqrt(x) * np.sqrt(x),
        lambda x: np.sqrt(x * x),
    ):
        np.testing.assert_allclose(numbad.jit(f)(x), f(x), rtol=4 * np.finfo(dtype).eps)
        assert np.asarray(numbad.jit(f)(x)).dtype == np.asarray(f(x)).dtype


def test_reshaped_and_sliced_roots() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0]])

    def f(x: Any) -> Any:
        lengths = np.sqrt(np.sum(x**2, axis=1))
        return np.sum(lengths.reshape(2, 1) ** 2) + np.sum(lengths[None] ** 2)

    np.testing.assert_allclose(numbad.hessian(f, x).reshape(4, 4), 4 * np.eye(4), atol=1e-15)


def test_a_root_of_many_terms_is_found_in_the_time_of_a_recording() -> None:
    count = 3000
    gradient = numbad.gradient(lambda x: np.sqrt(sum(part**2 for part in x)), np.zeros(count))
    np.testing.assert_array_equal(gradient, np.zeros(count))


# ---------------------------------------------------------------- roots times constants, and norms of other orders

SCALED: dict[str, tuple[Callable[[Any], Any], float]] = {  # functions of a norm n, and the second derivative at 0
    "(2 n)**2": (lambda n: (2.0 * n) ** 2, 8.0),
    "(n / 2)**2": (lambda n: (n / 2.0) ** 2, 0.5),
    "square of n * 3 / 2": (lambda n: np.square(n * 3.0 / 2.0), 4.5),
    "n * n": (lambda n: n * n, 2.0),
    "np.power(n, 2)": (lambda n: np.power(n, 2), 2.0),
    "np.power(n / 4, 2.0)": (lambda n: np.power(n / 4.0, 2.0), 0.125),
    "a kernel with a length": (lambda n: np.exp(-0.5 * (n / 2.0) ** 2), -0.25),
    "(2 n)**4 / n0": (lambda n: (2.0 * n) ** 4 + (n * 0.5) ** 2, 0.5),
}


@pytest.mark.parametrize("name", SCALED)
def test_a_square_undoes_a_root_times_a_constant(name: str) -> None:
    f, curvature = SCALED[name]
    for norm in (np.linalg.norm, lambda x: np.sqrt(np.sum(x * x)), lambda x: np.hypot(x[0], x[1])):
        g = lambda x: f(norm(x))  # noqa: B023 - run at once
        for hessian in (numbad.hessian(g), numbad.jit(numbad.hessian(g))):
            np.testing.assert_allclose(hessian(np.zeros(2)), curvature * np.eye(2), atol=1e-14)
        x = np.array([0.6, -0.8])
        np.testing.assert_allclose(numbad.value_and_gradient(g, x)[0], f(1.0), rtol=1e-14)
    rows = lambda x: np.sum(f(np.sqrt(np.sum(x.reshape(3, 2) ** 2, axis=1))))
    np.testing.assert_allclose(numbad.hessian(rows)(np.zeros(6)), curvature * np.eye(6), atol=1e-14)


BY_NUMBERS = {
    "n / s": (lambda n, s: np.exp(-((n / s) ** 2)), lambda r, s: np.exp(-(r / s**2))),
    "s * n": (lambda n, s: np.square(s * n), lambda r, s: r * s**2),
    "n * s": (lambda n, s: (n * s) ** 4, lambda r, s: r**2 * s**4),
    "np.divide": (lambda n, s: np.divide(n, s) ** 2, lambda r, s: r / s**2),
    "a chain": (lambda n, s: (np.float64(2.0) * n / s * 3.0 / s) ** 2, lambda r, s: 36.0 * r / s**4),
    "rows": (lambda n, s: np.sum((n / np.stack([s, s, s])[:, None]) ** 2), lambda r, s: np.sum(r / s**2)),
}


@pytest.mark.parametrize("name", BY_NUMBERS)
def test_a_square_undoes_a_root_times_a_number_that_varies(name: str) -> None:
    f, by_squares = BY_NUMBERS[name]
    points = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]])
    for lengths in (lambda c: cdist(c, c), lambda c: np.linalg.norm(c[:, None] - c, axis=-1)):
        g = lambda c, s: np.sum(f(lengths(c), s))  # noqa: B023 - run at once
        wanted = lambda c, s: np.sum(by_squares(np.sum((c[:, None] - c) ** 2, axis=-1), s))
        np.testing.assert_allclose(numbad.value_and_gradient(g, points, 1.3)[0], g(points, 1.3), rtol=1e-14)
        for make in (
            lambda h: numbad.hessian(h, argnums=(0, 1)),
            lambda h: numbad.jacrev(numbad.grad(h, (0, 1)), (0, 1)),
        ):
            rows = zip(make(g)(points, 1.3), make(wanted)(points, 1.3), strict=True)
            for found, expected in rows:
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_factors_that_are_assigned_later_do_not_change_the_square() -> None:
    def f(x: Any) -> Any:
        factor, plain = x * 1.0, np.array([1.0, 2.0, 3.0])
        n = np.linalg.norm(np.stack([x, x]), axis=0)
        scaled, by_plain = n * factor, n / plain
        factor[0] = 7.0
        plain[:] = 9.0
        return np.sum(scaled**2) + np.sum(by_plain**2)

    x = np.array([0.0, 1.0, -2.0])
    expected = 8.0 * x**3 + 4.0 * x / np.array([1.0, 4.0, 9.0])
    np.testing.assert_allclose(numbad.gradient(f, x), expected, rtol=1e-14)


@pytest.mark.parametrize("factor", [0.0, -3.0, 1e-12, 1e12, np.float64(2.0), True])
def test_any_constant_leaves_the_value_of_a_square(factor: Any) -> None:
    x = np.array([3.0, 4.0])
    for f in (lambda x: (np.linalg.norm(x) * factor) ** 2, lambda x: (factor * np.linalg.norm(x)) ** 2):
        value, slope = numbad.value_and_gradient(f, x)
        np.testing.assert_allclose(value, (5.0 * factor) ** 2, rtol=1e-14)
        np.testing.assert_allclose(slope, 2.0 * float(factor) ** 2 * x, rtol=1e-14)


@pytest.mark.parametrize("order", [1, 1.5, 3, 4, np.inf, -np.inf])
def test_norms_of_other_orders_have_no_second_derivative_at_zero(order: float) -> None:
    for norm in (
        lambda x: np.linalg.norm(x, order),
        lambda x: np.linalg.vector_norm(x, ord=order),
        lambda x: np.linalg.norm(x[None], order, axis=1)[0],
    ):
        np.testing.assert_array_equal(numbad.gradient(norm, np.zeros(2)), 0.0)
        for hessian in (numbad.hessian(lambda x: norm(x) ** 2), numbad.jit(numbad.hessian(norm))):  # noqa: B023
            assert np.isnan(hessian(np.zeros(1))).all()


@pytest.mark.parametrize("order", [1.5, 3, 4])
def test_norms_of_other_orders_beside_zero(order: float) -> None:
    x = np.array([3.0, -4.0, 0.5])
    n = np.sum(np.abs(x) ** order) ** (1.0 / order)
    slope = np.sign(x) * (np.abs(x) / n) ** (order - 1.0)
    curvature = (order - 1.0) / n * (np.diag((np.abs(x) / n) ** (order - 2.0)) - np.outer(slope, slope))
    norm = lambda x: np.linalg.norm(x, order)
    np.testing.assert_allclose(numbad.gradient(norm, x), slope, rtol=1e-13)
    np.testing.assert_allclose(numbad.hessian(norm)(x), curvature, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["cityblock", "chebyshev", "minkowski"])
def test_distances_have_no_second_derivative_at_their_kink(name: str) -> None:
    options = {"p": 3} if name == "minkowski" else {}
    y = np.array([1.0])
    one = lambda x: getattr(distance, name)(x, y, **options)
    all_pairs = lambda x: np.sum(distance.cdist(x[None], y[None], name, **options))
    for f in (one, all_pairs):
        assert numbad.gradient(f, y.copy()) == 0.0
        assert np.isnan(numbad.hessian(lambda x: f(x) ** 2)(y.copy())).all()  # noqa: B023
        np.testing.assert_allclose(numbad.gradient(f, y - 2.0), [-1.0])
        np.testing.assert_allclose(numbad.hessian(lambda x: f(x) ** 2)(y - 2.0), [[2.0]], rtol=1e-12)  # noqa: B023


@pytest.mark.parametrize("f", [
    lambda z: np.sum(np.std(z, axis=0) * np.std(z, axis=0)),
    lambda z: (np.hypot(z, z), np.sum(z**2))[1],
    lambda z: np.sum(np.hypot(z, z) * np.hypot(z, z)),
])  # fmt: skip
def test_roots_of_no_elements(f: Any) -> None:
    x = np.zeros((3, 0))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert numbad.hvp(f, x, x).shape == numbad.gradient(f, x).shape == (3, 0)
        assert numbad.jvp(lambda q: numbad.vjp(f, q)[1](1.0)[0], (x,), (x,))[1].shape == (3, 0)
