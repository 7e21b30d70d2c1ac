"""The numerical policy: each line of the design's table is a test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import numbad
from numbad import gradient, value_and_gradient
from numbad.ops import REGISTRY

INF, NAN = math.inf, math.nan


def both(f: Any, x: Any) -> Any:
    """Return the gradient in reverse mode after comparing it with forward mode."""
    found = gradient(f, x)
    flat = np.asarray(x, float).reshape(-1)
    pushed = []
    for k in range(flat.size):
        unit = np.zeros(flat.size)
        unit[k] = 1.0
        tangent = float(unit[0]) if isinstance(x, float) else unit.reshape(np.shape(x))
        pushed.append(float(numbad.jvp(f, (x,), (tangent,))[1]))
    np.testing.assert_allclose(np.reshape(pushed, np.shape(x)), found, rtol=1e-12, atol=1e-14)
    return found


def in_array(f: Any) -> Any:
    """Return a function of a number that computes f in an array row."""
    return lambda x: np.sum(f(x * np.ones(3))) / 3.0


@pytest.mark.parametrize("wrap", [lambda f: f, in_array], ids=["scalar", "array"])
@pytest.mark.parametrize(
    ("name", "f", "x", "expected"),
    [
        ("abs at 0", abs, 0.0, 0.0),
        ("abs at -0", np.abs, -0.0, 0.0),
        ("fabs at 0", np.fabs, 0.0, 0.0),
        ("sign at 0", np.sign, 0.0, 0.0),
        ("sign", np.sign, 3.0, 0.0),
        ("maximum at a tie", lambda x: np.maximum(x, 2.0), 2.0, 0.5),
        ("minimum at a tie", lambda x: np.minimum(2.0, x), 2.0, 0.5),
        ("maximum of itself", lambda x: np.maximum(x, x), 2.0, 1.0),
        ("fmax at a tie", lambda x: np.fmax(x, 2.0), 2.0, 0.5),
        ("clip at the lower bound", lambda x: np.clip(x, -1.0, 1.0), -1.0, 0.5),
        ("clip at the upper bound", lambda x: np.clip(x, -1.0, 1.0), 1.0, 0.5),
        ("clip inside", lambda x: np.clip(x, -1.0, 1.0), 0.5, 1.0),
        ("clip outside", lambda x: np.clip(x, -1.0, 1.0), 7.0, 0.0),
        ("clip at equal bounds", lambda x: np.clip(x, 1.0, 1.0), 1.0, 0.25),
        ("sqrt at 0", np.sqrt, 0.0, INF),
        ("sqrt at 0 times zero", lambda x: 0.0 * np.sqrt(x), 0.0, 0.0),
        ("where takes sqrt away", lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), 0.0, 0.0),
        ("where takes log away", lambda x: np.where(x > 0.0, np.log(x), x), -1.0, 1.0),
        ("where takes a quotient away", lambda x: np.where(x == 0.0, 1.0, np.sin(x) / x), 0.0, 0.0),
        ("hypot at (0, 0)", lambda x: np.hypot(x, 0.0 * x), 0.0, 0.0),
        ("arctan2 at (0, 0)", lambda x: np.arctan2(x, 0.0), 0.0, 0.0),
        ("x**0 at 0", lambda x: x**0, 0.0, 0.0),
        ("x**0.0 at 0", lambda x: x**0.0, 0.0, 0.0),
        ("x**1 at 0", lambda x: x**1, 0.0, 1.0),
        ("x**2 at 0", lambda x: x**2.0, 0.0, 0.0),
        ("x**3 of a negative number", lambda x: x**3.0, -2.0, 12.0),
        ("x**-1 of a negative number", lambda x: x**-1, -2.0, -0.25),
        ("np.power with a constant", lambda x: np.power(x, 3), -2.0, 12.0),
        ("0**y", lambda y: 0.0**y, 2.0, 0.0),
        ("np.power(0, y)", lambda y: np.power(0.0, y), 0.5, 0.0),
        ("2**y", lambda y: 2.0**y, 0.0, math.log(2.0)),
        ("constant", lambda x: 3.0 + 0.0 * x, 1.0, 0.0),
        ("floor", lambda x: np.floor(x) + x, 1.0, 1.0),
        ("heaviside at 0", lambda x: np.heaviside(x, 0.5), 0.0, 0.0),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_the_table_line_by_line(name: str, f: Any, x: float, expected: float, wrap: Any) -> None:
    assert both(wrap(f), x) == pytest.approx(expected, rel=1e-14), name


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zero_times_anything_is_zero_whichever_of_the_two_is_zero(zero: float) -> None:
    assert both(lambda x: zero * np.sqrt(x), 0.0) == 0.0, "zero cotangent, infinite partial"
    assert both(lambda x: np.sqrt(zero * x), 1.0) == 0.0, "zero partial, infinite cotangent"
    assert both(lambda x: np.sqrt(x * x), 0.0) == 0.0, "the slope of x * x is 0"
    np.testing.assert_array_equal(both(lambda x: np.sum(np.sqrt(zero * x)), np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(both(lambda x: np.sum(zero * np.log(x)), np.zeros(3)), np.zeros(3))


def test_second_derivatives_of_powers_at_zero() -> None:
    def derivatives(f: Any, x: float) -> list[float]:
        found = [f(x)]
        for _ in range(3):
            f = (lambda g: lambda x: gradient(g, x))(f)
            found.append(float(f(x)))
        return found

    assert derivatives(lambda x: x**2.0, 0.0) == [0.0, 0.0, 2.0, 0.0]
    assert derivatives(lambda x: x**2, 1.5) == [2.25, 3.0, 2.0, 0.0]
    assert derivatives(lambda x: x**3.0, 0.0) == [0.0, 0.0, 0.0, 6.0]
    assert derivatives(lambda x: x**0.0, 0.0) == [1.0, 0.0, 0.0, 0.0]
    assert derivatives(lambda x: x**1.0, 0.0) == [0.0, 1.0, 0.0, 0.0]
    np.testing.assert_allclose(derivatives(lambda x: x**3.0, -2.0), [-8.0, 12.0, -12.0, 6.0])
    assert derivatives(lambda x: np.where(x > 0.0, np.sqrt(x), 0.0), 0.0) == [0.0, 0.0, 0.0, 0.0]


# ---------------------------------------------------------------- reductions


@pytest.mark.parametrize("reduce", [np.max, np.min, np.amax, np.amin], ids=lambda f: f.__name__)
def test_reductions_split_ties_evenly(reduce: Any) -> None:
    np.testing.assert_allclose(both(reduce, np.full(4, 2.0)), np.full(4, 0.25))
    sign = 1.0 if reduce in (np.max, np.amax) else -1.0
    x = sign * np.array([[1.0, 3.0, 3.0], [5.0, 5.0, 2.0]])
    found = both(lambda x: np.sum(reduce(x, axis=1) * np.array([1.0, 10.0])), x)
    np.testing.assert_allclose(found, [[0.0, 0.5, 0.5], [5.0, 5.0, 0.0]])


def test_python_max_and_min_take_the_first_as_python_does() -> None:
    np.testing.assert_array_equal(both(lambda x: max(x), np.array([1.0, 2.0, 2.0])), [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(both(lambda x: min(x), np.array([1.0, 1.0, 2.0])), [1.0, 0.0, 0.0])


@pytest.mark.parametrize("order", [None, 2, 1, INF, 3])
def test_norm_of_zeros_has_slope_zero(order: Any) -> None:
    np.testing.assert_array_equal(both(lambda x: np.linalg.norm(x, order), np.zeros(3)), np.zeros(3))


def test_norm_with_some_zeros() -> None:
    x = np.array([0.0, 3.0, -4.0])
    np.testing.assert_allclose(both(np.linalg.norm, x), [0.0, 0.6, -0.8])
    np.testing.assert_allclose(both(lambda x: np.linalg.norm(x, 1), x), [0.0, 1.0, -1.0])
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(both(lambda x: np.sum(np.linalg.norm(x, axis=1)), rows), [[0.0, 0.0], [0.6, 0.8]])
    np.testing.assert_array_equal(both(np.linalg.norm, np.zeros((2, 2))), np.zeros((2, 2)))


def test_std_and_var_of_a_constant() -> None:
    for x in (np.full(5, 2.0), np.full((2, 3), -1.5), np.array([3.0])):
        np.testing.assert_array_equal(both(np.std, x), np.zeros(x.shape))
        np.testing.assert_array_equal(both(np.var, x), np.zeros(x.shape))


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_prod_and_cumprod_with_zeros_are_exact(zeros: int) -> None:
    x = np.array([2.0, -3.0, 5.0, 0.5])
    x[:zeros] = 0.0
    expected = np.array([np.prod(np.delete(x, k)) for k in range(4)])
    np.testing.assert_allclose(both(np.prod, x), expected, rtol=1e-15)
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    slopes = np.array([[np.prod(np.delete(x[: m + 1], k)) if k <= m else 0.0 for k in range(4)] for m in range(4)])
    np.testing.assert_allclose(both(lambda x: np.sum(np.cumprod(x) * weights), x), weights @ slopes, rtol=1e-14)


def test_prod_along_an_axis_with_zeros() -> None:
    x = np.array([[0.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    found = both(lambda x: np.sum(np.prod(x, axis=0) * np.array([1.0, 10.0, 100.0])), x)
    np.testing.assert_allclose(found, [[4.0, 50.0, 600.0], [0.0, 20.0, 300.0]])


def adjugate(matrix: np.ndarray) -> np.ndarray:
    """Return the transpose of the matrix of cofactors, by minors."""
    n = len(matrix)
    cofactors = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(matrix, i, 0), j, 1)
            cofactors[i, j] = (-1) ** (i + j) * (np.linalg.det(minor) if n > 1 else 1.0)
    return cofactors.T


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_det_of_singular_matrices_is_exact(rank: int) -> None:
    generator = np.random.default_rng(rank)
    matrix = generator.integers(-3, 4, (4, rank)).astype(float) @ generator.integers(-3, 4, (rank, 4)).astype(float)
    found = both(np.linalg.det, matrix)
    np.testing.assert_allclose(found, adjugate(matrix).T, rtol=1e-10, atol=1e-9 * max(1.0, np.abs(matrix).max() ** 3))


def test_det_of_nilpotent_and_zero_matrices() -> None:
    np.testing.assert_allclose(both(np.linalg.det, np.array([[0.0, 1.0], [0.0, 0.0]])), [[0.0, 0.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(both(np.linalg.det, np.zeros((3, 3))), np.zeros((3, 3)))
    np.testing.assert_array_equal(both(np.linalg.det, np.array([[0.0]])), [[1.0]])


# ---------------------------------------------------------------- tails


@pytest.mark.parametrize("x", [-1e6, -1000.0, -745.0, -40.0, 0.0, 40.0, 745.0, 1000.0, 1e6])
@pytest.mark.parametrize("wrap", [lambda f: f, in_array], ids=["scalar", "array"])
def test_sigmoid_and_softplus_in_the_tails(x: float, wrap: Any) -> None:
    from mpmath import mp, mpf

    with mp.workdps(30):
        small = mp.exp(-abs(mpf(x)))
        logistic = float(1 / (1 + small) if x >= 0 else small / (1 + small))
        slope = float(small / (1 + small) ** 2)
        soft = float(max(x, 0) + mp.log1p(small))
    value, found = value_and_gradient(wrap(numbad.sigmoid), x)
    assert (value, found) == (pytest.approx(logistic, rel=1e-14), pytest.approx(slope, rel=1e-14, abs=1e-323))
    value, found = value_and_gradient(wrap(numbad.softplus), x)
    assert (value, found) == (pytest.approx(soft, rel=1e-14), pytest.approx(logistic, rel=1e-14, abs=1e-323))
    assert both(wrap(numbad.sigmoid), x) == found or x != 0.0 or found == 0.5


@pytest.mark.parametrize("shift", [-1e300, -1e4, 0.0, 1e4, 1e300])
def test_logsumexp_does_not_overflow(shift: float) -> None:
    x = np.array([0.0, 1.0, -2.0]) + shift
    exact = x - x.max()
    weights = np.exp(exact) / np.exp(exact).sum()
    value, found = value_and_gradient(numbad.logsumexp, x)
    assert value == pytest.approx(x.max() + math.log(np.exp(exact).sum()), rel=1e-15)
    np.testing.assert_allclose(found, weights, rtol=1e-14)


def test_logsumexp_of_infinities() -> None:
    value, found = value_and_gradient(numbad.logsumexp, np.array([-INF, 0.0, -INF]))
    assert value == 0.0
    np.testing.assert_array_equal(found, [0.0, 1.0, 0.0])
    assert value_and_gradient(numbad.logsumexp, np.array([INF, 0.0]))[0] == INF
    assert value_and_gradient(numbad.logsumexp, np.array([-INF, -INF]))[0] == -INF


def test_logaddexp_and_tanh_in_the_tails() -> None:
    assert gradient(np.logaddexp, 1000.0, -1000.0) == (1.0, 0.0)
    assert gradient(np.logaddexp, 0.0, 0.0) == (0.5, 0.5)
    assert gradient(np.tanh, 50.0) == pytest.approx(4.0 * math.exp(-100.0), rel=1e-13)
    assert gradient(np.log1p, 1e-20) == 1.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_curvatures_are_finite_far_from_zero_where_slopes_are(dtype: Any) -> None:
    for op in REGISTRY:
        if op.arity != 1 or op.partials_function is None:
            continue
        for place in (20.0, 100.0, 400.0, 800.0, 1e5, 1e12):
            for x in np.array([[place], [-place]], dtype):
                value, slope = numbad.value_and_gradient(lambda x: np.sum(op(x)), x)  # noqa: B023 - run at once
                if np.isfinite(value) and np.isfinite(slope).all():
                    curved = numbad.hvp(lambda x: np.sum(op(x)), x, np.ones(1, dtype))  # noqa: B023 - run at once
                    assert np.isfinite(curved).all(), (op.name, x)


@pytest.mark.parametrize("x", [800.0, -800.0, 1e160, -INF, 300.0])
def test_the_hyperbolic_tangent_is_flat_in_its_tails(x: float) -> None:
    for order in (1, 2, 3):
        f: Any = np.tanh
        for _ in range(order):
            f = numbad.grad(f)
        for run in (f, numbad.jit(f)):
            assert abs(run(x)) < 1e-250
    assert np.isnan(numbad.gradient(np.tanh, np.nan))


def test_eigenvalues_that_repeat_have_finite_slopes_where_the_mathematics_has() -> None:
    found = both(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2), np.eye(3))
    np.testing.assert_allclose(found, 2.0 * np.eye(3), atol=1e-12)

    def trace_of_cube(a: Any) -> Any:
        values, vectors = np.linalg.eigh(a)
        return np.trace((vectors * values**3) @ vectors.T)

    # backwards only: the eigenvectors' own tangents do not exist there, and are NaN
    found = gradient(trace_of_cube, np.diag([2.0, 2.0, 1.0]))
    np.testing.assert_allclose(found, np.diag([12.0, 12.0, 3.0]), atol=1e-10)
    found = both(lambda a: np.sum(np.linalg.svd(a, compute_uv=False) ** 2), np.eye(3)[:, :2] * 2.0)
    np.testing.assert_allclose(found, np.eye(3)[:, :2] * 4.0, atol=1e-12)


# ---------------------------------------------------------------- dtypes and shapes


def test_float32_in_float32_out() -> None:
    for x in (np.ones(3, np.float32), np.ones((2, 2), np.float32), np.float32(1.0), np.array(1.0, np.float32)):
        value, found = value_and_gradient(lambda x: np.sum(np.sin(x) * 2.0), x)
        assert found.dtype == np.float32
        assert np.asarray(value).dtype == np.float32
        np.testing.assert_allclose(found, 2.0 * np.cos(x), rtol=1e-6)
    found = gradient(lambda x, y: np.sum(x) * y, np.ones(3, np.float32), 2.0)
    assert found[0].dtype == np.float32
    assert isinstance(found[1], float)
    found = gradient(lambda x, y: np.sum(x * y), np.ones(3, np.float32), np.ones(3))
    assert (found[0].dtype, found[1].dtype) == (np.float32, np.float64)


def test_a_function_constant_in_x_has_zeros() -> None:
    for f in (lambda x: 3.0, lambda x: 3, lambda x: np.float64(3.0), lambda x: np.array(3.0), lambda x: x.shape[0]):
        value, found = value_and_gradient(f, np.ones((2, 3)))
        assert value == (2 if callable(f) and value == 2 else 3)
        np.testing.assert_array_equal(found, np.zeros((2, 3)))
    assert gradient(lambda x: 3.0, 2.0) == 0.0
    assert gradient(lambda x, y: x, 2.0, np.ones(2))[1].tolist() == [0.0, 0.0]


def test_an_unused_large_input_has_zeros() -> None:
    np.testing.assert_array_equal(gradient(lambda x: 1.0, np.ones(100_000)), np.zeros(100_000))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 2)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape)
    value, found = value_and_gradient(lambda x: np.sum(np.sin(x) * x) + 1.0, x)
    assert value == 1.0
    assert found.shape == shape
    assert found.dtype == np.float64
    assert gradient(lambda x: np.sum(x.T @ x), np.zeros((0, 3))).shape == (0, 3)
    assert gradient(lambda x, y: np.prod(x) * y, x, 2.0)[1] == 1.0
    with pytest.raises(ValueError, match="zero-size"):
        gradient(np.max, x)


def memory_layouts() -> dict[str, np.ndarray]:
    """Return one matrix in many layouts of memory."""
    base = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
    wide = np.zeros((6, 12))
    wide[::2, ::3] = base
    read_only = base.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(np.float64).reshape(3, 4)
    return {
        "C": base,
        "Fortran": np.asfortranarray(base),
        "transposed": base.T.copy().T,
        "negative strides": base[::-1, ::-1].copy()[::-1, ::-1],
        "strided": wide[::2, ::3],
        "broadcast": np.broadcast_to(base[:1], (3, 4)),
        "read-only": read_only,
        "unaligned": unaligned,
        "swapped bytes": base.astype(">f8"),
    }


@pytest.mark.parametrize("layout", memory_layouts())
@pytest.mark.parametrize("size", ["small", "large"])
def test_memory_layouts(layout: str, size: str) -> None:
    x = memory_layouts()[layout]
    if size == "large":
        repeats = 40
        if layout == "Fortran":
            x = np.asfortranarray(np.tile(x, (repeats, repeats)))
        elif layout == "negative strides":
            x = np.tile(x[::-1, ::-1], (repeats, repeats))[::-1, ::-1]
        elif layout == "strided":
            wide = np.zeros((6 * repeats, 12 * repeats))
            wide[::2, ::3] = np.tile(x, (repeats, repeats))
            x = wide[::2, ::3]
        elif layout == "broadcast":
            x = np.broadcast_to(np.tile(x[:1], (1, repeats)), (120, 4 * repeats))
        elif layout == "transposed":
            x = np.tile(x, (repeats, repeats)).T.copy().T
        else:
            x = np.tile(x, (repeats, repeats)).astype(x.dtype)
            x.flags.writeable = layout != "read-only"
    weights = np.arange(float(x.shape[0]))[:, None] + np.arange(float(x.shape[1]))
    writeable = x.flags.writeable
    before = np.array(x)
    value, found = value_and_gradient(lambda x: np.sum(np.sin(x) * weights) + x[1, 2] * 5.0, x)
    expected = np.cos(before) * weights
    expected[1, 2] += 5.0
    assert value == pytest.approx(np.sum(np.sin(before) * weights) + before[1, 2] * 5.0, rel=1e-12)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert np.array_equal(x, before)
    assert x.flags.writeable == writeable


def test_fancy_indices_that_repeat_accumulate() -> None:
    x = np.array([2.0, 3.0, 5.0])
    np.testing.assert_array_equal(both(lambda x: np.sum(x[[0, 0, 1]] * np.array([1.0, 10.0, 100.0])), x), [11, 100, 0])
    matrix = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(both(lambda x: np.sum(x[[1, 1, 1]]), matrix), [[0, 0, 0], [3, 3, 3]])
    np.testing.assert_array_equal(both(lambda x: np.sum(x[[0, 1, 0], [2, 2, 2]]), matrix), [[0, 0, 2], [0, 0, 1]])
    np.testing.assert_array_equal(both(lambda x: np.sum(np.take(x, [2, 2, 0])), x), [1, 0, 2])


# ---------------------------------------------------------------- NaN and infinity


def test_nan_and_infinity_in_the_input_propagate_as_in_numpy() -> None:
    x = np.array([1.0, NAN, INF, -INF, 0.0])
    with np.errstate(all="ignore"):
        for f in (np.sin, np.exp, np.tanh, lambda x: x * x, lambda x: 1.0 / x, np.abs, lambda x: np.maximum(x, 0.5)):
            expected = f(x)
            seen: list[Any] = []

            def total(x: Any, f: Any = f, seen: list[Any] = seen) -> Any:
                y = f(x)
                seen.append(y.value())
                return np.sum(y)

            found = gradient(total, x)
            np.testing.assert_allclose(seen[0], expected, rtol=1e-15)
            assert np.isfinite(found[0])
    np.testing.assert_allclose(gradient(lambda x: np.sum(np.exp(x)), x), np.exp(x), rtol=1e-15)  # by libmvec
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.abs(x)), x), [1.0, NAN, 1.0, -1.0, 0.0])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(x * x), x), 2.0 * x)


def test_nan_in_one_element_does_not_spoil_the_others() -> None:
    x = np.array([1.0, NAN, 2.0])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(x**2), x), [2.0, NAN, 4.0])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.where(np.isnan(x), 0.0, x**2)), x), [2.0, 0.0, 4.0])
    np.testing.assert_array_equal(gradient(lambda x: np.sum(x[~np.isnan(x)] ** 2), x), [2.0, 0.0, 4.0])
    assert np.isnan(value_and_gradient(np.max, x)[0])
    assert np.isnan(value_and_gradient(np.sum, x)[0])


def test_comparisons_with_nan_are_false_as_in_numpy() -> None:
    def f(x: Any) -> Any:
        if x > 0.0 or x <= 0.0 or x == x:
            return 2.0 * x
        return 3.0 * x

    value, found = value_and_gradient(f, NAN)
    assert math.isnan(value)
    assert found == 3.0
