"""Reductions: ties, zeros, NaN and empty slices."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import numbad
from shared.oracle import differences

INF = np.inf
NAN = np.nan


def gradient(f, x):
    """Return the gradient at a list of numbers."""
    return numbad.gradient(f, np.array(x, float))


# ---------------------------------------------------------------- ties, zeros, constants


def test_extremes_share_ties_evenly():
    np.testing.assert_array_equal(gradient(np.max, [2.0, 1.0, 2.0, 2.0]), np.array([1, 0, 1, 1]) / 3)
    np.testing.assert_array_equal(gradient(np.min, [2.0, 1.0, 1.0]), [0.0, 0.5, 0.5])
    np.testing.assert_array_equal(gradient(lambda x: np.max(x, initial=2.0), [2.0, 1.0]), [0.5, 0.0])
    np.testing.assert_array_equal(gradient(np.maximum.reduce, [1.0, 1.0]), [0.5, 0.5])
    np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x, INF), [-1.0, 1.0]), [-0.5, 0.5])
    np.testing.assert_array_equal(gradient(np.ptp, [1.0, 1.0]), [0.0, 0.0])


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([2.0, 3.0], [3.0, 2.0]),
        ([0.0, 3.0, 2.0], [6.0, 0.0, 0.0]),
        ([0.0, 0.0, 2.0], [0.0, 0.0, 0.0]),
        ([], []),
        ([5.0], [1.0]),
        ([1e200, 0.0, 1e-200], [0.0, 1.0, 0.0]),
    ],
)
def test_products_are_exact(x, expected):
    np.testing.assert_allclose(gradient(np.prod, x), expected, rtol=1e-15)


def test_running_product_with_zeros_is_exact():
    found = numbad.jacobian(np.cumprod, np.array([2.0, 0.0, 3.0, 0.0, 5.0]))
    expected = [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 6, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("function", [np.std, np.linalg.norm, np.nanstd, np.var, lambda x: x.std(ddof=1)])
def test_deviation_of_a_constant_is_flat(function):
    np.testing.assert_array_equal(gradient(function, [0.0, 0.0, 0.0]), 0.0)
    assert numbad.value_and_gradient(function, np.zeros(3))[0] == 0.0


@pytest.mark.parametrize("shape", [(1,), (3, 1), (2, 1, 3)])
def test_the_deviation_of_one_number_has_no_kink(shape):
    x = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    found = numbad.hvp(lambda x: np.sum(np.std(x, axis=1 if x.ndim > 1 else None)), x, np.ones(shape))
    np.testing.assert_array_equal(found, np.zeros(shape))
    np.testing.assert_array_equal(numbad.hessian(lambda x: np.std(x[:1]), x.reshape(-1)), np.zeros((x.size, x.size)))
    assert np.isnan(numbad.value_and_gradient(lambda x: np.std(x), np.array([INF]))[0])


def test_functions_that_ignore_nan():
    x = np.array([[1.0, NAN, 3.0], [4.0, 5.0, 0.5], [NAN, NAN, 2.0]])
    for function in (np.nansum, np.nanmean, np.nanmax, np.nanmin, np.nanprod, np.nanstd, np.nanvar, np.nanmedian):
        seen = []

        def f(y, function=function, seen=seen):
            result = function(y, axis=1)
            seen.append(result.value())
            return np.sum(result * np.array([1.0, 2.0, 3.0]))

        found = numbad.gradient(f, x)
        np.testing.assert_allclose(seen[0], function(x, axis=1), rtol=1e-15)
        present = ~np.isnan(x)
        np.testing.assert_array_equal(found[~present], 0.0)

        def plain(values, function=function, present=present):
            full = np.full(x.shape, NAN)
            full[present] = values
            return np.sum(function(full, axis=1) * np.array([1.0, 2.0, 3.0]))

        np.testing.assert_allclose(found[present], differences(plain, (x[present],))[0], atol=1e-7)


def test_all_nan_slices():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for function in (np.nanmax, np.nanmin, np.nanmean, np.nanstd, np.nanmedian):
            assert np.isnan(numbad.value_and_gradient(function, np.array([NAN, NAN]))[0])
    assert numbad.value_and_gradient(np.nansum, np.array([NAN, NAN]))[0] == 0.0


@pytest.mark.parametrize("function", [np.var, np.std, np.nanvar, np.nanstd])
def test_degrees_of_freedom_have_one_name(function):
    with pytest.raises(ValueError, match="simultaneously"):
        gradient(lambda x: function(x, ddof=1, correction=1), [1.0, 2.0, 4.0])
    found = gradient(lambda x: function(x, ddof=np.int64(0), correction=1), [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(found, gradient(lambda x: function(x, ddof=1), [1.0, 2.0, 4.0]))


METHODS = """inverted_cdf averaged_inverted_cdf closest_observation interpolated_inverted_cdf hazen weibull linear
median_unbiased normal_unbiased lower higher midpoint nearest""".split()
INFINITE = [[1.0, INF], [INF, INF], [-INF, 2.0, 3.0], [-INF, 0.0, INF], [1.0, INF, 2.0, INF], [1.0, np.nan, INF], [INF]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("x", INFINITE)
def test_quantiles_of_infinite_elements_are_numpys(x, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for q in (0.25, 0.5, 0.75, 0.9, 1, 0, 0.0, 0.02, 1 / 3, 0.98, 1.0):
            for function in (np.quantile, np.nanquantile):
                wanted = function(np.array(x), q, method=method)
                found = numbad.value_and_gradient(lambda a, f=function, q=q: f(a, q, method=method), np.array(x))[0]
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("function", [np.quantile, np.nanquantile, np.percentile, np.nanpercentile])
@pytest.mark.parametrize(
    ("shape", "axis", "many"),
    [
        ((5,), None, (5,)),
        ((3, 4), 1, (4,)),
        ((3, 4), None, (3, 4)),
        ((2, 3, 4), (2, 0), (4, 2)),
        ((2, 3, 4), (0, 2), None),
    ],
)
def test_weighted_quantiles_are_numpys(function, shape, axis, many):
    random = np.random.default_rng(0)
    many = None if "nan" in function.__name__ else many  # NumPy takes no weights of another shape there
    x, w = random.normal(size=shape), random.uniform(size=many or shape)
    for value, weight in ((0.5, 0.3), (np.nan, 0.3), (INF, 0.0), (0.5, 0.0)):
        x.flat[0], w.flat[1] = value, weight
        for q in (0.0, 0.3, 1.0, [0.2, 0.9]):
            part = np.multiply(q, 100.0) if "percentile" in function.__name__ else q
            f = lambda x, w: function(x, part, axis=axis, weights=w, method="inverted_cdf", keepdims=True)  # noqa: B023
            wanted = f(x, w)
            for found in (numbad.jit(f)(x, w), numbad.jit(lambda x: f(x, w))(x)):  # noqa: B023
                np.testing.assert_array_equal(found, wanted)
    slopes = numbad.gradient(
        lambda x: np.quantile(x, 0.5, weights=[1.0, 2.0, 1.0], method="inverted_cdf"), [3.0, 1.0, 2.0]
    )
    np.testing.assert_array_equal(slopes, [0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="inverted_cdf"):
        numbad.jit(lambda x: np.quantile(x, 0.5, weights=w, axis=axis))(x)


def test_quantiles_at_either_end_and_those_that_are_elements_have_the_slopes_of_these():
    x = np.array([3.0, 1.0, INF])
    for function in (np.quantile, np.nanquantile):
        np.testing.assert_array_equal(gradient(lambda a, f=function: f(a, 0), x), [0.0, 1.0, 0.0])
        np.testing.assert_array_equal(gradient(lambda a, f=function: f(a, 0.5, method="nearest"), x), [1.0, 0.0, 0.0])
        np.testing.assert_allclose(gradient(lambda a, f=function: f(a[:2], 0.75), x), [0.75, 0.25, 0.0])


def test_the_last_of_evenly_spaced_numbers_is_the_end():
    with np.errstate(invalid="ignore"):
        found = numbad.vjp(lambda x: np.linspace(x, np.array([2.0, 1.0]), 3), np.array([INF, 0.0]))[0]
        np.testing.assert_array_equal(found, np.linspace(np.array([INF, 0.0]), np.array([2.0, 1.0]), 3))
