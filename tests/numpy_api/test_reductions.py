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
