"""NumPy's functions on recording arrays: value, shape, dtype and gradient against NumPy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import check_against_numpy

random = np.random.default_rng(7)
V = random.normal(size=6)
W = random.normal(size=6) + 0.1
P = random.random(5) + 0.5  # positive
M = random.normal(size=(3, 4))
N = random.normal(size=(4, 3))
S = random.normal(size=(4, 4))
T = random.normal(size=(2, 3, 4))
E0 = np.zeros((0,))
E1 = np.zeros((0, 3))
D = np.array(1.3)
Z = np.array([1.5, 0.0, -2.0, 3.0, 0.5])  # a zero among others
ZZ = np.array([[1.5, 0.0, -2.0], [0.0, 0.0, 3.0], [1.0, 2.0, -1.0]])
STRIDED = random.normal(size=(6, 8))[::2, ::-2]
FORTRAN = np.asfortranarray(random.normal(size=(3, 4)))
NANS = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 0.5]])
OPERANDS = {"V": V, "M": M, "T": T, "D": D, "STRIDED": STRIDED, "FORTRAN": FORTRAN}
MASK = random.random((3, 4)) > 0.4
I3 = np.array([2, 0, 1])

CASES = {
    # sums and means
    "sum": (np.sum, M),
    "sum axis": (lambda x: np.sum(x, axis=1), M),
    "sum axes": (lambda x: np.sum(x, axis=(0, -1), keepdims=True), T),
    "sum no axes": (lambda x: np.sum(x, axis=()), M),
    "sum where initial": (lambda x: np.sum(x, axis=0, where=MASK, initial=2.0), M),
    "sum empty": (np.sum, E0),
    "sum empty axis": (lambda x: x.sum(axis=0), E1),
    "sum 0-d": (np.sum, D),
    "sum 0-d keepdims": (lambda x: np.sum(x, keepdims=True), D),
    "sum of list": (lambda x: np.sum([x[0], x[1] * 2.0]), V),
    "mean": (lambda x: x.mean(axis=-1), STRIDED),
    "mean where": (lambda x: np.mean(x, axis=1, where=MASK), M),
    "mean keepdims": (lambda x: np.mean(x, axis=(0, 2), keepdims=True), T),
    "var": (lambda x: np.var(x, axis=0, ddof=1), M),
    "var correction": (lambda x: np.var(x, correction=1), V),
    "var where": (lambda x: np.var(x, axis=1, where=MASK), M),
    "var mean": (lambda x: np.var(x, axis=1, mean=np.mean(x, axis=1, keepdims=True)), M),
    "std": (lambda x: x.std(axis=1, keepdims=True), FORTRAN),
    "std all": (np.std, T),
    "average": (lambda x, w: np.average(x, weights=w), V, np.abs(W)),
    "average axis": (lambda x: np.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0]), M),
    "average returned": (lambda x: np.average(x, axis=0, weights=np.abs(M), returned=True), M),
    "average plain": (lambda x: np.average(x, axis=(0, 1), keepdims=True), T),
    "ptp": (lambda x: np.ptp(x, axis=1), M),
    # extremes and products
    "max": (np.max, M),
    "max axis": (lambda x: x.max(axis=0), STRIDED),
    "max axes": (lambda x: np.amax(x, axis=(0, 2), keepdims=True), T),
    "max initial": (lambda x: np.max(x, axis=1, initial=0.3), M),
    "max where": (lambda x: np.max(x, axis=1, initial=-9.0, where=MASK), M),
    "max 0-d": (np.max, D),
    "min": (lambda x: np.min(x, axis=-1), T),
    "amin": (np.amin, V),
    "max of empty rows": (lambda x: np.max(x, axis=1), E1),
    "prod": (np.prod, V),
    "prod zero": (np.prod, Z),
    "prod zeros axis": (lambda x: np.prod(x, axis=1), ZZ),
    "prod axes": (lambda x: np.prod(x, axis=(0, 1), keepdims=True), ZZ),
    "prod empty": (np.prod, E0),
    "prod where": (lambda x: np.prod(x, axis=0, where=MASK, initial=2.0), M),
    "cumsum": (np.cumsum, M),
    "cumsum axis": (lambda x: x.cumsum(axis=0), STRIDED),
    "cumsum 0-d": (np.cumsum, D),
    "cumsum empty": (np.cumsum, E0),
    "cumprod": (lambda x: np.cumprod(x), Z),
    "cumprod axis": (lambda x: np.cumprod(x, axis=0), ZZ),
    "cumulative_sum": (lambda x: np.cumulative_sum(x, axis=1, include_initial=True), M),
    "cumulative_prod": (lambda x: np.cumulative_prod(x, include_initial=True), Z),
    # ufunc methods
    "add.reduce": (np.add.reduce, M),
    "multiply.reduce": (lambda x: np.multiply.reduce(x, axis=1), ZZ),
    "maximum.reduce": (lambda x: np.maximum.reduce(x, axis=None), M),
    "minimum.reduce": (np.minimum.reduce, M),
    "fmax.reduce": (np.fmax.reduce, M),
    "logaddexp.reduce": (np.logaddexp.reduce, M),
    "logaddexp2.reduce": (np.logaddexp2.reduce, M),
    "subtract.reduce": (lambda x: np.subtract.reduce(x, axis=1, keepdims=True), M),
    "hypot.reduce": (np.hypot.reduce, V),
    "add.accumulate": (np.add.accumulate, M),
    "multiply.accumulate": (lambda x: np.multiply.accumulate(x, axis=1), ZZ),
    "maximum.accumulate": (lambda x: np.maximum.accumulate(x, axis=1), M),
    "minimum.accumulate": (np.minimum.accumulate, V),
    "subtract.accumulate": (np.subtract.accumulate, V),
    "add.outer": (np.add.outer, V, M),
    "multiply.outer": (np.multiply.outer, V, W),
    "subtract.outer 0-d": (np.subtract.outer, D, V),
    "add.reduceat": (lambda x: np.add.reduceat(x, [0, 3, 1, 5]), V),
    "maximum.reduceat": (lambda x: np.maximum.reduceat(x, [0, 2], axis=1), M),
    # ufuncs that are compositions
    "positive": (np.positive, V),
    "conjugate": (np.conjugate, V),
    "fabs": (np.fabs, V),
    "degrees": (lambda x: (np.degrees(x), np.rad2deg(x)), V),
    "radians": (lambda x: (np.radians(x), np.deg2rad(x)), V),
    "float_power": (lambda x: np.float_power(x, 3), V),
    "float_power both": (np.float_power, P, P[::-1]),
    "divmod": (lambda x: np.divmod(x, 0.7), V),
    "modf": (np.modf, V),
    "ldexp": (lambda x: np.ldexp(x, 3), V),
    "true_divide": (np.true_divide, V, P[:1]),
    "vecdot": (lambda x, y: np.vecdot(x, y), M, V[:4]),
    "matvec": (lambda x, y: np.matvec(x, y), T, V[:4]),
    "vecmat": (lambda x, y: np.vecmat(y, x), T, V[:3]),
    "with list": (lambda x: np.add(x, [1.0, 2.0, 3.0, 4.0]), M),
    # nan functions
    "nansum": (lambda x: np.nansum(x, axis=0), M),
    "nanmean": (lambda x: np.nanmean(x, axis=1), M),
    "nanmax": (lambda x: np.nanmax(x, axis=1), M),
    "nanmin": (np.nanmin, M),
    "nanvar": (lambda x: np.nanvar(x, axis=1, ddof=1), M),
    "nanstd": (lambda x: np.nanstd(x, axis=1, keepdims=True), M),
    "nanprod": (lambda x: np.nanprod(x, axis=0), ZZ),
    "nancumsum": (lambda x: np.nancumsum(x, axis=1), M),
    "nancumprod": (np.nancumprod, Z),
    "nanmedian": (lambda x: np.nanmedian(x, axis=1), M),
    "nanquantile": (lambda x: np.nanquantile(x, [0.2, 0.7], axis=0), M),
    "nanpercentile": (lambda x: np.nanpercentile(x, 30, axis=1, keepdims=True), M),
    # quantiles and covariances
    "median": (lambda x: np.median(x, axis=1), M),
    "median odd": (lambda x: np.median(x, axis=0, keepdims=True), M),
    "median all": (np.median, T),
    "quantile": (lambda x: np.quantile(x, 0.3), V),
    "quantile several": (lambda x: np.quantile(x, [[0.1, 0.5], [0.9, 1.0]], axis=1), M),
    "quantile keepdims": (lambda x: np.quantile(x, [0.1, 0.5], axis=(0, 2), keepdims=True), T),
    "quantile in q": (lambda x, q: np.quantile(x, q), V, np.array(0.37)),
    "percentile": (lambda x: np.percentile(x, [25, 75], axis=0), M),
    "percentile method": (
        lambda x: [
            np.percentile(x, 33, method=m)
            for m in (
                "linear",
                "lower",
                "higher",
                "nearest",
                "midpoint",
                "hazen",
                "weibull",
                "median_unbiased",
                "normal_unbiased",
                "interpolated_inverted_cdf",
            )
        ],
        V,
    ),
    "cov": (np.cov, M),
    "cov y": (lambda x, y: np.cov(x, y), V, W),
    "cov weights": (lambda x: np.cov(x, fweights=[1, 2, 1, 3], aweights=[0.5, 1.0, 2.0, 1.0]), M),
    "cov columns": (lambda x: np.cov(x, rowvar=False, bias=True), M),
    "cov 1-d": (np.cov, V),
    "corrcoef": (np.corrcoef, M),
    "corrcoef y": (lambda x, y: np.corrcoef(x, y), V, W),
    # selection
    "where plain": (lambda x: np.where(MASK, x, 1.0), M),
    "where both": (lambda x, y: np.where(x > y, x, y * 2.0), M, N.T),
    "where broadcast": (lambda x: np.where(x > 0, x, x[:, :1]), M),
    "where 0-d": (lambda x: np.where(x > 0, x * x, 0.0), D),
    "select": (lambda x: np.select([x > 1, x > 0], [x * 2.0, x**2], -x), V),
    "select one default": (lambda x: np.select([x > 0], [x]), V),
    "piecewise": (lambda x: np.piecewise(x, [x < 0, x >= 0], [lambda t: -t, lambda t: t * t]), V),
    "piecewise default": (lambda x: np.piecewise(x, [x < 0], [1.0, lambda t: t * t]), V),
    "choose": (lambda x: np.choose([2, 0, 1, 1], x), M),
    "choose mask": (lambda x: np.choose(x > 0, [x, 2.0 * x]), M),
    "clip": (lambda x: np.clip(x, -0.5, 0.6), M),
    "clip one": (lambda x: x.clip(min=0.1), M),
    "clip recorded": (lambda x, low: np.clip(x, low, None), M, np.array(-0.2)),
    "take": (lambda x: np.take(x, [0, 5, 5, -1]), V),
    "take axis": (lambda x: np.take(x, [[0, 2], [1, 1]], axis=1), T),
    "take mode": (lambda x: (np.take(x, [7, -8], mode="wrap"), np.take(x, [7, -8], mode="clip")), V),
    "take scalar": (lambda x: np.take(x, 2, axis=-1), T),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.argsort(M, axis=1), axis=1), M),
    "take_along_axis own": (lambda x: np.take_along_axis(x, np.argmax(x, axis=1, keepdims=True), 1), M),
    "compress": (lambda x: np.compress([True, False, True], x, axis=0), M),
    "compress own": (lambda x: np.compress(x > 0, x), V),
    "extract": (lambda x: np.extract(x > 0, x), M),
    "mask": (lambda x: x[x > 0], M),
    "bincount": (lambda x: np.bincount([0, 2, 2, 1, 0, 5], x, minlength=8), V),
    "apply_along_axis": (lambda x: np.apply_along_axis(lambda r: r[:2] * np.sum(r), 1, x), M),
    "apply_along_axis first": (lambda x: np.apply_along_axis(np.sum, 0, x), T),
    "apply_along_axis 2-d": (lambda x: np.apply_along_axis(np.diag, 1, x), T),
    "apply_over_axes": (lambda x: np.apply_over_axes(np.sum, x, [0, 2]), T),
    # order
    "sort": (np.sort, M),
    "sort axis": (lambda x: np.sort(x, axis=0), M),
    "sort flat": (lambda x: np.sort(x, axis=None), STRIDED),
    "argsort": (lambda x: x[np.argsort(x)], V),
    "argmax": (lambda x: x[np.argmax(x)] ** 2, V),
    "partition": (lambda x: np.partition(x, 2, axis=1), M),
    "unique": (lambda x: np.unique(np.concatenate([x, x[:2]])), V),
    "sorted": (lambda x: np.stack(sorted(x)), V),
    "builtins": (lambda x: sum(x) + max(x) * min(x) + abs(x[0]) + pow(x[1], 2) + sum(a * b for a, b in zip(x, x)), V),
    # rounding
    "round": (lambda x: np.round(x, 1) * x, V),
    "round 0": (lambda x: (np.round(x) * x, np.around(x, -1) * x, np.fix(x) * x, round(x[0], 2) * x), V),
    "nan_to_num": (np.nan_to_num, V),
    "real imag": (lambda x: (np.real(x), np.imag(x), np.angle(x), np.real_if_close(x), x.real, x.conj()), V),
    # likes
    "zeros_like": (lambda x: np.zeros_like(x) + x, M),
    "ones_like": (lambda x: np.ones_like(x, shape=(2,)) * x[0], V),
    "full_like": (lambda x: np.full_like(x, x[0]), V),
    "full_like row": (lambda x: np.full_like(x, x[0]), M),
    "copy": (lambda x: np.copy(x) * 2.0, STRIDED),
    "linspace": (lambda a, b: np.linspace(a, b, 7), 0.3, 2.0),
    "linspace vector": (lambda a: np.linspace(a, 4.0, 5, endpoint=False, axis=1), V),
    "logspace": (lambda a: np.logspace(a, 2.0, 5), 0.3),
    "geomspace": (lambda a: np.geomspace(a, 2.0, 5), 0.3),
    # calculus
    "diff": (np.diff, M),
    "diff n": (lambda x: np.diff(x, n=2, axis=0), T),
    "diff ends": (lambda x: np.diff(x, prepend=0.0, append=x[:1]), V),
    "ediff1d": (lambda x: np.ediff1d(x, to_begin=1.0, to_end=[2.0, 3.0]), M),
    "gradient": (np.gradient, V),
    "gradient axes": (np.gradient, M),
    "gradient edge": (lambda x: np.gradient(x, 0.3, edge_order=2, axis=1), T),
    "gradient places": (lambda x, t: np.gradient(x, np.cumsum(t)), V, np.abs(W) + 0.3),
    "gradient places edge": (lambda x, t: np.gradient(x, np.cumsum(t), edge_order=2), V, np.abs(W) + 0.3),
    "gradient recorded width": (lambda x, h: np.gradient(x, h), V, 0.7),
    "trapezoid": (lambda x, t: np.trapezoid(x, np.cumsum(t)), V, np.abs(W) + 0.3),
    "trapezoid dx": (lambda x, h: np.trapezoid(x, dx=h, axis=0), M, 0.7),
    "trapezoid axis": (lambda x: np.trapezoid(x, [0.0, 1.0, 3.0], axis=0), M),
    "unwrap": (lambda x: np.unwrap(3.0 * x), V),
    "interp": (lambda x, xp, fp: np.interp(x, np.cumsum(xp), fp), np.array([[0.9, -3.0], [2.4, 99.0]]), P, V[:5]),
    "interp ends": (
        lambda x, a: np.interp(x, [0.0, 1.0, 2.0], [1.0, 3.0, 2.0], left=a, right=-1.0),
        np.array([-1.0, 0.3, 5.0]),
        0.4,
    ),
    "interp period": (lambda x, fp: np.interp(x, [0.1, 0.7, 1.5], fp, period=2.0), np.array([-1.1, 0.3, 5.0]), V[:3]),
    "interp scalar": (lambda x: np.interp(x, [0.0, 1.0, 2.0], [1.0, 3.0, 2.0]), 1.3),
    "interp one": (lambda x, fp: np.interp(x, [0.5], fp), V, np.array([2.0])),
    "convolve": (np.convolve, V, W[:3]),
    "convolve modes": (lambda x, y: [np.convolve(x, y, m) for m in ("full", "same", "valid")], V, W[:3]),
    "convolve long": (lambda x, y: [np.convolve(y, x, m) for m in ("full", "same", "valid")], V, W[:3]),
    "convolve even": (lambda x, y: [np.convolve(x, y, m) for m in ("full", "same", "valid")], V[:5], W[:4]),
    "correlate": (lambda x, y: [np.correlate(x, y, m) for m in ("full", "same", "valid")], V, W[:3]),
    "correlate long": (lambda x, y: [np.correlate(y, x, m) for m in ("full", "same", "valid")], V, W[:3]),
    "sinc": (np.sinc, np.array([0.0, 1e-5, 0.009, 0.5, -1.3, 2.0])),
    "i0": (np.i0, V),
    "vander": (np.vander, V[:4]),
    "vander increasing": (lambda x: np.vander(x, 3, increasing=True), V),
    "polyval": (np.polyval, V[:4], M),
    "polyval scalar": (lambda p: np.polyval(p, 1.7), V),
    "polyadd": (lambda p, q: (np.polyadd(p, q), np.polysub(p, q), np.polymul(p, q)), V[:3], W[:5]),
    "polyder": (lambda p: (np.polyder(p), np.polyder(p, 2), np.polyint(p), np.polyint(p, 2)), V),
    "poly": (np.poly, V[:4]),
    "polydiv": (np.polydiv, V, P[:3]),
    "polyfit": (lambda x, y: np.polyfit(x, y, 2), V, W),
    "polyfit weights": (lambda y: np.polyfit(V, y, 3, w=np.arange(1.0, 7.0)), W),
    "trim_zeros": (lambda x: np.trim_zeros(np.pad(x, 2)), V),
    # conversions
    "astype": (lambda x: x.astype(float) * 2.0, V),
    "vectorize": (lambda x: np.sum(np.vectorize(lambda t: t * t, otypes=[object])(x)) * 1.0, V),
    "flat": (lambda x: x.flat[3] * x.flat[5], M),
    "isclose": (lambda x: np.where(np.isclose(x, V, atol=0.5), x, 0.0), V),
    "any all": (lambda x: np.where(np.any(x > 0, axis=1), x[:, 0], 0.0) + np.where((x > -9).all(), 1.0, 0.0), M),
    "count_nonzero": (lambda x: np.sum(x) / np.count_nonzero(x > 0), V),
    "isfinite": (lambda x: np.where(np.isfinite(x) & ~np.isnan(x) & ~np.isinf(x), x, 0.0), V),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    function, *arrays = CASES[name]
    check_against_numpy(function, *arrays)


@pytest.mark.parametrize("shape", OPERANDS)
@pytest.mark.parametrize(
    "function", [np.sum, np.mean, np.std, np.max, np.prod, np.ravel, np.linalg.norm], ids=lambda f: f.__name__
)
def test_layouts(function, shape):
    check_against_numpy(function, OPERANDS[shape])
