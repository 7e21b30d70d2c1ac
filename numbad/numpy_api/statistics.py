"""Averages, quantiles and covariances."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.active import Active
from numbad.numpy_api.axes import last, normal_axes, reduced_shape
from numbad.numpy_api.decisions import truth_of
from numbad.numpy_api.dispatch import finish, implements, recorder_of, to_active, to_array, unsupported


@implements("average")
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    """Weighted mean."""
    keepdims = keepdims is not np._NoValue and bool(keepdims)
    recorder = recorder_of(a, weights)
    array = to_array(a, recorder)
    axes = normal_axes(axis, array.ndim)
    if weights is None:
        result = np.mean(array, axis=axes, keepdims=keepdims)
        count = array.size / max(np.size(result), 1)
        return (result, np.full(np.shape(result), count)[()]) if returned else result
    w = to_array(weights, recorder)
    if w.shape != array.shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        if w.shape != tuple(array.shape[k] for k in axes):
            raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
        w = w.reshape(tuple(n if k in axes else 1 for k, n in enumerate(array.shape)))
        w = w.broadcast_to(array.shape)
    total = np.sum(w, axis=axes, keepdims=keepdims)
    result = np.sum(array * w, axis=axes, keepdims=keepdims) / total
    return (result, total) if returned else result


# ---------------------------------------------------------------- quantiles

# method -> (alpha, beta) of Hyndman and Fan, The American Statistician 50 (1996) 361
CONTINUOUS = {
    "linear": (1.0, 1.0),
    "weibull": (0.0, 0.0),
    "hazen": (0.5, 0.5),
    "median_unbiased": (1.0 / 3.0, 1.0 / 3.0),
    "normal_unbiased": (3.0 / 8.0, 3.0 / 8.0),
    "interpolated_inverted_cdf": (0.0, 1.0),
}


def virtual_place(q: Any, count: int, method: str) -> Any:
    """Return where between the sorted elements a quantile lies."""
    if method in CONTINUOUS:
        alpha, beta = CONTINUOUS[method]
        place = q * (count - 1) if method == "linear" else count * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
        return np.clip(place, 0.0, count - 1.0)
    place = q * (count - 1)
    if method == "lower":
        return np.floor(place)
    if method == "higher":
        return np.ceil(place)
    if method == "nearest":
        return np.rint(place)
    if method == "midpoint":
        return 0.5 * (np.floor(place) + np.ceil(place))
    return unsupported("quantile", f"method {method!r}", "use one of " + ", ".join([*CONTINUOUS, "lower, higher"]))


def quantile_last(a: Any, q: Any, method: str) -> Any:
    """Return quantiles along the last axis, those of each q along the first."""
    count = a.shape[-1]
    if not count:
        return np.full((*np.shape(q), *a.shape[:-1]), np.nan)
    ordered = np.moveaxis(np.sort(a, axis=-1), -1, 0)
    place = virtual_place(q, count, method)
    low = np.floor(place)
    index = low.astype(int) if not isinstance(low, Active) else [int(part) for part in np.ravel(low)]
    index = np.reshape(index, np.shape(q))
    part = np.reshape(place - low, (*np.shape(q), *(1,) * (a.ndim - 1)))
    below, above = ordered[index], ordered[np.minimum(index + 1, count - 1)]
    result = below + (above - below) * part
    missing = np.isnan(ordered[-1])
    return np.where(missing, np.nan, result)


@implements("quantile")
def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
             method: str = "linear", keepdims: Any = False, *, weights: Any = None,
             interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles, differentiated with respect to the elements and, with method "linear", to q."""
    if weights is not None:
        unsupported("quantile", "weights", "sort with np.argsort and use np.cumsum of the weights and np.interp")
    recorder = recorder_of(a, q)
    array = to_array(a, recorder)
    if not isinstance(q, Active):
        q = np.asarray(q, array.dtype if type(q) in (int, float) else float)
        if q.size and not (q.min() >= 0.0 and q.max() <= 1.0):
            raise ValueError("Quantiles must be in the range [0, 1]")
    axes = normal_axes(axis, array.ndim)
    result = quantile_last(last(array, axes), q, method)
    if keepdims is True:
        result = np.reshape(result, (*np.shape(q), *reduced_shape(array.shape, axes, True)))
    return finish(result, None, out)


@implements("percentile")
def percentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
               method: str = "linear", keepdims: Any = False, *, weights: Any = None,
               interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles in percent."""
    if not isinstance(q, Active):
        q = q if type(q) in (int, float) else np.asarray(q, float)
        if np.size(q) and not (np.min(q) >= 0.0 and np.max(q) <= 100.0):
            raise ValueError("Percentiles must be in the range [0, 100]")
    return quantile(a, q / 100.0, axis, out, overwrite_input, method, keepdims, weights=weights)


@implements("median")
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """The middle of the sorted elements, or the mean of the two there."""
    array = to_array(a)
    axes = normal_axes(axis, array.ndim)
    merged = last(array, axes)
    count = merged.shape[-1]
    if not count:
        return finish(np.mean(array, axis=axes, keepdims=bool(keepdims)), None, out)
    ordered = np.sort(merged, axis=-1)
    result = np.mean(ordered[..., (count - 1) // 2 : count // 2 + 1], axis=-1)
    result = np.where(np.isnan(ordered[..., -1]), np.nan, result)
    return finish(np.reshape(result, reduced_shape(array.shape, axes, bool(keepdims))), None, out)


def without_missing(function: Any, a: Any, axis: Any, keepdims: Any, out: Any) -> Any:
    """Apply a function of one axis to the elements of each slice that are not NaN."""
    array = to_array(a)
    axes = normal_axes(axis, array.ndim)
    merged = last(array, axes)
    present = ~np.asarray(truth_of(np.isnan(merged)))
    lead = merged.shape[:-1]
    found = [function(np.take(merged[index], np.flatnonzero(present[index]))) for index in np.ndindex(lead)]
    stacked = np.stack([to_array(part, array.recorder) for part in found], axis=-1)
    inner = stacked.shape[:-1]
    kept = reduced_shape(array.shape, axes, keepdims is True)
    return finish(np.reshape(stacked, (*inner, *kept)), None, out)


@implements("nanmedian")
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """Median of the elements that are not NaN; which they are is guarded."""
    return without_missing(median, a, axis, keepdims, out)


@implements("nanquantile")
def nanquantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
                method: str = "linear", keepdims: Any = False, *, weights: Any = None,
                interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles of the elements that are not NaN; which they are is guarded."""
    return without_missing(lambda part: quantile(part, q, method=method), a, axis, keepdims, out)


@implements("nanpercentile")
def nanpercentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
                  method: str = "linear", keepdims: Any = False, *, weights: Any = None,
                  interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles in percent of the elements that are not NaN; which they are is guarded."""
    return without_missing(lambda part: percentile(part, q, method=method), a, axis, keepdims, out)


# ---------------------------------------------------------------- covariance


@implements("cov")
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
        aweights: Any = None, *, dtype: Any = None) -> Any:  # fmt: skip
    """Covariance matrix of variables that are rows."""
    recorder = recorder_of(m, y, aweights)
    x = np.atleast_2d(to_array(m, recorder))
    if not rowvar and np.ndim(m) > 1:
        x = x.T
    if y is not None:
        other = np.atleast_2d(to_array(y, recorder))
        x = np.concatenate([x, other.T if not rowvar and other.shape[0] != 1 else other], axis=0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    w: Any = None
    if fweights is not None:
        w = np.asarray(fweights, float)
    if aweights is not None:
        w = to_active(aweights, recorder) * (1.0 if w is None else w)
    if w is None:
        total: Any = float(x.shape[1])
        factor: Any = total - ddof
        centred = x - np.mean(x, axis=1, keepdims=True)
        return (centred @ centred.T / factor)[()] if x.shape[0] > 1 else np.squeeze(centred @ centred.T / factor)
    total = np.sum(w)
    centred = x - (np.sum(x * w, axis=1) / total)[:, None]
    if ddof == 0:
        factor = total
    elif aweights is None:
        factor = total - ddof
    else:
        factor = total - ddof * np.sum(w * aweights) / total
    return np.squeeze((centred * w) @ centred.T / factor)


@implements("corrcoef")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """Matrix of correlation coefficients."""
    c = cov(x, y, rowvar)
    if not np.ndim(c):
        return c / c
    deviation = np.sqrt(np.diagonal(c))
    return np.clip(c / deviation[:, None] / deviation[None, :], -1.0, 1.0)
