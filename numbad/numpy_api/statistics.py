"""Averages, quantiles and covariances."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.geometry import normal_axis
from numbad.numpy_api.axes import last, normal_axes, reduced_shape
from numbad.numpy_api.dispatch import called_name, doubled, finish, implements, plain_integers, unsupported
from numbad.ops.reductions import pick_at
from numbad.recording.active import Active
from numbad.recording.decisions import truth_of
from numbad.recording.operands import holds_active, recorder_of, to_array


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
    w: Any = to_array(weights, recorder)
    if w.shape != array.shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        named = [normal_axis(k, array.ndim) for k in (axis if isinstance(axis, tuple) else (axis,))]
        if w.shape != tuple(array.shape[k] for k in named):
            raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
        w = np.transpose(w, np.argsort(named))  # the weights have the axes in the order in which they are named
        w = w.reshape(tuple(n if k in axes else 1 for k, n in enumerate(array.shape)))
        w = w.broadcast_to(array.shape)
    total = np.sum(w, axis=axes, keepdims=keepdims)
    if np.any(total == 0.0):
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
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


CHOSEN = ("inverted_cdf", "closest_observation", "lower", "higher", "nearest")  # methods that give an element


def virtual_place(q: Any, count: int, method: str) -> Any:
    """Return where between the sorted elements a quantile lies."""
    if isinstance(q, Active) or method in CONTINUOUS or method == "midpoint":
        return virtual_place_of(q if isinstance(q, Active) else np.asarray(q), count, method)
    if method == "averaged_inverted_cdf":
        return np.asarray(q) * count - 1
    places: Any = np.arange(float(count))
    chosen: Any = method
    return np.quantile(places, q, method=chosen)  # as NumPy has it: the quantile of the places themselves


def virtual_place_of(q: Any, count: Any, method: str) -> Any:
    """Return where a quantile lies; below 0 and above the last place it is the first and the last element."""
    if method in CONTINUOUS:
        alpha, beta = CONTINUOUS[method]
        return q * (count - 1) if method == "linear" else count * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
    place = q * (count - 1)
    if method == "lower":
        return np.floor(place)
    if method == "higher":
        return np.ceil(place)
    if method == "nearest":
        return np.rint(place)
    if method == "midpoint":
        return 0.5 * (np.floor(place) + np.ceil(place))
    return unsupported("quantile", f"method={method!r} of a recording q", "use a plain q, or method='linear'")


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
    if method == "averaged_inverted_cdf":  # the mean of two neighbours, or the upper one of them
        part = np.where(part == 0.0, 0.5, 1.0)
    if not isinstance(part, Active):
        part = part.astype(a.dtype)
    result = ordered[np.clip(index, 0, count - 1)]
    if method not in CHOSEN:
        above = np.where(index < 0, 0, np.minimum(index + 1, count - 1))
        result = between(result, ordered[above], part)
    missing = np.isnan(ordered[-1])
    return np.where(missing, np.nan, result)


def chosen_if_whole(q: Any, method: str) -> str:
    """Return a method that gives an element where q is an integer, 0 or 1: nothing lies between elements there."""
    whole = not isinstance(q, Active) and np.asarray(q).dtype.kind in "iu"
    return "lower" if whole and method == "linear" else method


def between(below: Any, above: Any, part: Any) -> Any:
    """Return what lies between two neighbours, from the nearer one, as NumPy has it: infinite ones are told by that."""
    near = part >= 0.5
    return np.where(near, above, below) + (above - below) * np.where(near, part - 1.0, part)


def refuse_interpolation(interpolation: Any) -> None:
    """Refuse a parameter of quantiles that is not recorded."""
    if interpolation is not None:
        unsupported(called_name()[3:], "interpolation=", "write method=")


def weighted_quantile(a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any, missing: bool) -> Any:
    """Return elements at which the sum of the weights of smaller ones passes q: a choice, which is guarded."""
    recorder = recorder_of(a, q, weights)
    array = to_array(a, recorder)
    w: Any = to_array(weights, recorder) if isinstance(weights, Active) else np.asarray(weights, float)
    plain = np.zeros(array.shape)
    function: Any = np.nanquantile if missing else np.quantile
    shape = np.shape(function(plain, numbers_of(q), axis, method=method, weights=numbers_of(w), keepdims=keepdims))
    axes = normal_axes(axis, array.ndim)
    if w.shape != array.shape:
        named = axis if isinstance(axis, tuple) else (axis,)
        w = np.transpose(w, np.argsort([normal_axis(k, array.ndim) for k in named]))
        w = w.reshape(tuple(n if k in axes else 1 for k, n in enumerate(array.shape)))
        w = np.broadcast_to(w, array.shape)
    values, shares = last(array, axes), last(w, axes)
    lead, found = values.shape[:-1], []
    for index in np.ndindex(lead):
        found.append(weighted_choice(values[index], q, shares[index], missing))
    result = np.reshape(np.stack([np.ravel(part) for part in found], axis=-1), (*np.shape(q), *lead))
    return np.reshape(result, shape)


def numbers_of(value: Any) -> Any:
    """Return what an operand is now, to ask NumPy whether it takes it."""
    return value.value() if isinstance(value, Active) else np.asarray(value)


def weighted_choice(a: Any, q: Any, w: Any, missing: bool) -> Any:
    """Return the weighted quantiles of a vector."""
    if missing:
        present = np.flatnonzero(~np.asarray(truth_of(np.isnan(a))))
        a, w = np.take(a, present), np.take(w, present)
    if not a.size:
        return np.full(np.shape(q), np.nan)
    order = np.argsort(a)
    share = np.cumsum(np.take(w, order))
    share = share / share[-1]
    share = np.where(share == 0.0, -1.0, share)  # what has no weight is chosen by no q, not by 0 either
    place = np.minimum(np.searchsorted(share, q, side="left"), a.size - 1)
    chosen = np.take(np.take(a, order), place)
    return chosen if missing else np.where(np.any(np.isnan(a)), np.nan, chosen)


def plain_quantiles(q: Any, most: float, name: str) -> Any:
    """Return what quantiles are asked for, within bounds: arrays of floats; recording ones and numbers as they are."""
    if isinstance(q, (list, tuple)) and holds_active(q):
        q = to_array(q)
    if isinstance(q, Active):
        return q
    values = np.asarray(q, float)
    if values.size and not (values.min() >= 0.0 and values.max() <= most):
        raise ValueError(f"{name} must be in the range [0, {most:.0f}]")
    return q if type(q) in (int, float) else values


@implements("quantile")
def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
             method: str = "linear", keepdims: Any = False, *, weights: Any = None,
             interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles, differentiated with respect to the elements and, with method "linear", to q."""
    refuse_interpolation(interpolation)
    if weights is not None:
        return finish(weighted_quantile(a, q, axis, method, keepdims, weights, False), None, out)
    recorder = recorder_of(a, q)
    array = to_array(a, recorder)
    q = plain_quantiles(q, 1.0, "Quantiles")
    if np.ndim(q) and method not in CHOSEN and not isinstance(q, Active):
        doubled(array)  # weights of neighbours, in the precision of an array of places
    method = chosen_if_whole(q, method)
    if type(q) in (int, float):  # as NumPy: a number of Python's takes the precision of the array
        q = np.asarray(q, array.dtype)
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
    q = plain_quantiles(q, 100.0, "Percentiles")
    return quantile(a, q / 100.0, axis, out, overwrite_input, method, keepdims, weights=weights,
                    interpolation=interpolation)  # fmt: skip


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


def middle_of_present(a: Any, axis: Any, keepdims: Any, out: Any) -> Any:
    """Return the median of the elements of each slice that are not NaN: counted, and found among the sorted ones."""
    array = to_array(a)
    axes = normal_axes(axis, array.ndim)
    kept = reduced_shape(array.shape, axes, keepdims is True)
    if not array.size:
        return np.full(kept, np.nan, array.dtype)[()]
    ordered, count = sorted_present(last(array, axes))
    below, above = (pick_at(ordered, np.floor(0.5 * place)) for place in (count - 1.0, count))
    result = np.where(count > 0.0, 0.5 * below + 0.5 * above, np.nan)
    return finish(np.reshape(result, kept), None, out)


def quantiles_of_present(a: Any, q: Any, axis: Any, method: str, keepdims: Any, out: Any) -> Any:
    """Return quantiles of the elements of each slice that are not NaN, as `middle_of_present` does its own."""
    array = to_array(a)
    axes = normal_axes(axis, array.ndim)
    kept = reduced_shape(array.shape, axes, keepdims is True)
    ordered, count = sorted_present(last(array, axes))
    found = []
    for part in np.ravel(q):
        place = np.where(count > 0.0, virtual_place_of(part, count, method), 0.0)
        low, last_place = np.floor(place), np.maximum(count - 1.0, 0.0)
        value = pick_at(ordered, np.clip(low, 0.0, last_place))
        if method not in CHOSEN:
            above = np.where(low < 0.0, 0.0, np.minimum(low + 1.0, last_place))
            value = between(value, pick_at(ordered, above), place - low)
        found.append(np.where(count > 0.0, value, np.nan))
    return finish(np.reshape(np.stack(found), (*np.shape(q), *kept)), None, out)


def is_counted(a: Any, q: Any, method: str) -> bool:
    """Whether quantiles are found by counts, numbers of the tape: in double precision, by most methods."""
    plain = not isinstance(q, Active) and not (isinstance(q, (list, tuple)) and holds_active(q))
    known = method in CONTINUOUS or method in ("lower", "higher", "nearest", "midpoint")
    return plain and known and np.size(a) > 0 and recorder_of(a).dtype == np.float64


def sorted_present(a: Any) -> tuple[Any, Any]:
    """Return the sorted elements along the last axis, NaN behind all others, and how many others there are."""
    return np.sort(a, axis=-1), np.sum(np.where(np.isnan(a), 0.0, 1.0), axis=-1)


def without_missing(function: Any, a: Any, axis: Any, keepdims: Any, out: Any) -> Any:
    """Apply a function of one axis to the elements of each slice that are not NaN."""
    array = to_array(a)
    axes = normal_axes(axis, array.ndim)
    merged = last(array, axes)
    present = ~np.asarray(truth_of(np.isnan(merged)))
    lead = merged.shape[:-1]
    if not array.size:
        return np.full(reduced_shape(array.shape, axes, keepdims is True), np.nan, array.dtype)[()]
    found = [function(np.take(merged[index], np.flatnonzero(present[index]))) for index in np.ndindex(lead)]
    stacked = np.stack([to_array(part, array.recorder) for part in found], axis=-1)
    inner = stacked.shape[:-1]
    kept = reduced_shape(array.shape, axes, keepdims is True)
    return finish(np.reshape(stacked, (*inner, *kept)), None, out)


@implements("nanmedian")
def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    """Median of the elements that are not NaN."""
    return middle_of_present(a, axis, keepdims, out)


@implements("nanquantile")
def nanquantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
                method: str = "linear", keepdims: Any = False, *, weights: Any = None,
                interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles of the elements that are not NaN."""
    refuse_interpolation(interpolation)
    if weights is not None:
        return finish(weighted_quantile(a, q, axis, method, keepdims, weights, True), None, out)
    if is_counted(a, q, method):
        method = chosen_if_whole(q, method)
        q = plain_quantiles(q, 1.0, "Quantiles")
        return quantiles_of_present(a, np.asarray(q, float), axis, method, keepdims, out)
    return without_missing(lambda part: quantile(part, q, method=method), a, axis, keepdims, out)


@implements("nanpercentile")
def nanpercentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
                  method: str = "linear", keepdims: Any = False, *, weights: Any = None,
                  interpolation: Any = None) -> Any:  # fmt: skip
    """Quantiles in percent of the elements that are not NaN."""
    if weights is not None:
        q = np.true_divide(plain_quantiles(q, 100.0, "Percentiles"), 100.0)
        return nanquantile(a, q, axis, out, overwrite_input, method, keepdims, weights=weights)
    refuse_interpolation(interpolation)
    if is_counted(a, q, method):
        q = plain_quantiles(q, 100.0, "Percentiles")
        return quantiles_of_present(a, np.asarray(q, float) / 100.0, axis, method, keepdims, out)
    return without_missing(lambda part: percentile(part, q, method=method), a, axis, keepdims, out)


# ---------------------------------------------------------------- covariance


@implements("cov")
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
        aweights: Any = None, *, dtype: Any = None) -> Any:  # fmt: skip
    """Covariance matrix of variables that are rows."""
    recorder = recorder_of(m, y, aweights)
    if dtype is None:
        recorder.promote(np.dtype(np.float64))
    x = as_rows(to_array(m, recorder), np.ndim(m) != 1 and not rowvar)
    if y is not None:
        other = np.atleast_2d(to_array(y, recorder))
        x = np.concatenate([x, as_rows(other, not rowvar and other.shape[0] != 1)], axis=0)
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    ddof = (0 if bias else 1) if ddof is None else ddof
    w = combined_weights(recorder, x.shape[1], fweights, aweights)
    if w is None:
        centred = x - np.mean(x, axis=1, keepdims=True)
        return finish(np.squeeze(centred @ centred.T / max(float(x.shape[1]) - ddof, 0.0)), dtype)
    total = np.sum(w)
    centred = x - (np.sum(x * w, axis=1) / total)[:, None]
    if ddof == 0:
        factor = total
    elif aweights is None:
        factor = total - ddof
    else:
        factor = total - ddof * np.sum(w * aweights) / total
    return finish(np.squeeze((centred * w) @ centred.T / np.maximum(factor, 0.0)), dtype)


def as_rows(x: Any, transposed: bool) -> Any:
    """Return observations as a matrix whose rows are variables."""
    if x.ndim > 2:
        raise ValueError(f"m has more than 2 dimensions: {x.ndim}")
    x = np.atleast_2d(x)
    return x.T if transposed else x


def combined_weights(recorder: Any, count: int, fweights: Any, aweights: Any) -> Any:
    """Return the product of both kinds of weights of observations, None where there are none."""
    w: Any = None
    if fweights is not None:
        w = np.asarray(plain_integers(fweights, "fweights= of np.cov"), float)
        if not np.array_equal(w, np.around(w)):
            raise TypeError("fweights must be integer")
        if np.any(w < 0.0):
            raise ValueError("fweights cannot be negative")
    if aweights is not None:
        a = to_array(aweights, recorder)
        w = a if w is None else a * w
    if w is not None and w.ndim > 1:
        raise RuntimeError("cannot handle multidimensional weights")
    if w is not None and w.shape != (count,):
        raise RuntimeError("incompatible numbers of samples and weights")
    if aweights is not None and np.any(to_array(aweights, recorder) < 0.0):
        raise ValueError("aweights cannot be negative")
    return w


@implements("corrcoef")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """Matrix of correlation coefficients."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not np.ndim(c):
        return c / c
    deviation = np.sqrt(np.diagonal(c))
    return np.clip(c / deviation[:, None] / deviation[None, :], -1.0, 1.0)
