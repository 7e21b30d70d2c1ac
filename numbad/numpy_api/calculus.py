"""Differences, integrals, interpolation and polynomials of recorded samples and coefficients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.geometry import normal_axis
from numbad.numpy_api.dispatch import doubled, implements, unsupported
from numbad.ops import reductions as ops
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array
from numbad.recording.decisions import decide, truth_of
from numbad.recording.operands import holds_active, recorder_of, to_active, to_array, to_arrays
from numbad.recording.recorder import refuse


def along(array: Array, axis: int, part: slice) -> Any:
    """Return a slice along an axis."""
    return array[(slice(None),) * axis + (part,)]


# ---------------------------------------------------------------- differences


@implements("diff")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    """Differences of neighbours, n times."""
    if n < 0:
        raise ValueError("order must be non-negative but got " + repr(n))
    recorder = recorder_of(a, prepend, append)
    array = to_array(a, recorder)
    if any(isinstance(part, float) for part in (prepend, append)):
        doubled(array)
    if not array.ndim:
        raise ValueError("diff requires input that is at least one dimensional")
    if n == 0:
        return array
    axis = normal_axis(axis, array.ndim)
    parts: list[Any] = [array]
    for position, extra in ((0, prepend), (len(parts), append)):
        if extra is not np._NoValue:
            extra = to_array(extra, recorder)
            if not extra.ndim:
                extra = extra.broadcast_to(tuple(1 if k == axis else m for k, m in enumerate(array.shape)))
            parts.insert(position if position == 0 else len(parts), extra)
    result: Any = np.concatenate(parts, axis=axis) if len(parts) > 1 else array
    for _ in range(n):
        later, earlier = along(result, axis, slice(1, None)), along(result, axis, slice(None, -1))
        result = later ^ earlier if result.boolean else later - earlier
    return result


def like(value: Any, array: Array) -> Any:
    """Return a value as a flat array of the dtype of another."""
    return to_array(value if holds(value) else np.asarray(value, array.dtype), array.recorder).reshape(-1)


def holds(value: Any) -> bool:
    """Whether a value or a sequence is recording."""
    return isinstance(value, Active) or (isinstance(value, (list, tuple)) and holds_active(value))


@implements("ediff1d")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours of the flattened array."""
    recorder = recorder_of(ary, to_end, to_begin)
    flat = to_array(ary, recorder).reshape(-1)
    parts = [flat[1:] - flat[:-1]]
    if to_begin is not None:
        parts.insert(0, like(to_begin, flat))
    if to_end is not None:
        parts.append(like(to_end, flat))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


@implements("gradient")
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Finite differences of samples: central inside, one-sided at the ends."""
    recorder = recorder_of(f, *varargs)
    array = to_array(f, recorder)
    axes = list(range(array.ndim)) if axis is None else [normal_axis(k, array.ndim) for k in np.atleast_1d(axis)]
    if not varargs:
        spacing: list[Any] = [1.0] * len(axes)
    elif len(varargs) == 1 and not np.ndim(varargs[0]):
        spacing = [varargs[0]] * len(axes)
    elif len(varargs) == len(axes):
        spacing = list(varargs)
    else:
        raise TypeError("invalid number of arguments")
    found = []
    for k, step in zip(axes, spacing, strict=True):
        length = array.shape[k]
        if np.ndim(step) > 1 or (np.ndim(step) and np.shape(step)[0] != length):
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
        if length < edge_order + 1:
            raise ValueError("Shape of array too small to calculate a numerical gradient, at least "
                             "(edge_order + 1) elements are required.")  # fmt: skip
        moved = np.moveaxis(array, k, -1)
        widths = even_width(np.diff(step)) if np.ndim(step) else step
        found.append(np.moveaxis(slopes(moved, widths, edge_order), -1, k))
    return found[0] if len(found) == 1 else tuple(found)


def even_width(widths: Any) -> Any:
    """Return the one width of plain places that are evenly spaced, as NumPy does: other formulas round otherwise."""
    plain = type(widths) is np.ndarray and widths.size > 0 and bool((widths == widths[0]).all())
    return float(widths[0]) if plain else widths


def slopes(y: Any, width: Any, edge_order: int) -> Any:
    """Return the slopes of samples along the last axis, for one width or a width for each interval."""
    varying = np.ndim(width) > 0
    rise = (y[..., 1:] - y[..., :-1]) / width
    if not varying:
        inner = (y[..., 2:] - y[..., :-2]) / (2.0 * width)
        left_weight: Any = 1.0
        right_weight: Any = 1.0
    else:
        before, after = width[:-1], width[1:]
        inner = (before * rise[..., 1:] + after * rise[..., :-1]) / (before + after)
        left_weight = width[0] / width[1] if edge_order == 2 else 1.0
        right_weight = width[-1] / width[-2] if edge_order == 2 else 1.0
    first, last = rise[..., :1], rise[..., -1:]
    if edge_order == 2:
        first = first + (first - rise[..., 1:2]) * left_weight / (1.0 + left_weight)
        last = last + (last - rise[..., -2:-1]) * right_weight / (1.0 + right_weight)
    return np.concatenate([first, inner, last], axis=-1)


@implements("trapezoid")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """Integral by the trapezoidal rule, with respect to samples and places."""
    recorder = recorder_of(y, x, dx)
    y = to_array(y, recorder)
    axis = normal_axis(axis, y.ndim)
    if x is None:
        width: Any = dx
    elif np.ndim(x) == 1:
        width = np.reshape(np.diff(x), tuple(-1 if k == axis else 1 for k in range(y.ndim)))
    else:
        width = np.diff(x, axis=axis)
    return np.sum(width * (along(y, axis, slice(1, None)) + along(y, axis, slice(None, -1))), axis=axis) * 0.5


@implements("unwrap")
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Any:
    """Jumps of more than half a period taken out."""
    p = to_array(p)
    axis = normal_axis(axis, p.ndim)
    steps = np.diff(p, axis=axis)
    half = period / 2
    wrapped = np.mod(steps + half, period) - half
    wrapped = np.where((wrapped == -half) & (steps > 0), half, wrapped)
    correction = np.where(np.abs(steps) < (half if discont is None else discont), 0.0, wrapped - steps)
    start = along(p, axis, slice(0, 1))
    return np.concatenate([start, along(p, axis, slice(1, None)) + np.cumsum(correction, axis=axis)], axis=axis)


@implements("interp")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Piecewise linear interpolation, differentiated with respect to places, knots and values."""
    recorder = recorder_of(x, xp, fp, left, right, period)
    doubled(x, xp, fp, left, right, period)
    x, xp, fp = (to_array(part, recorder) for part in (x, xp, fp))
    if xp.ndim != 1 or xp.shape != fp.shape:
        raise ValueError("fp and xp are not of the same length." if xp.ndim == 1 else "object too deep")
    if not xp.size:
        raise ValueError("array of sample points is empty")
    if period is not None:
        if not isinstance(period, Active) and period == 0:
            raise ValueError("period must be a non-zero value")
        period, left, right = np.abs(period), None, None
        x, xp = np.mod(x, period), np.mod(xp, period)
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    result = ops.interpolation(x, xp, fp)
    if left is not None:
        result = np.where(x < xp[0], left, result)
    if right is not None:
        result = np.where(x > xp[-1], right, result)
    return result


# ---------------------------------------------------------------- functions that are no ufuncs


@implements("sinc")
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), by its series near 0."""
    y = np.pi * to_active(x)
    square = y * y
    near = np.abs(y) < 0.03
    series = 1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0)))
    safe = np.where(near, 1.0, y)
    return np.where(near, series, np.sin(safe) / safe)


@implements("i0")
def i0(x: Any) -> Any:
    """Modified Bessel function of order zero."""
    import scipy.special

    return scipy.special.i0(to_active(x))


# ---------------------------------------------------------------- polynomials, highest power first


@implements("vander")
def vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    """Powers as columns."""
    x = to_array(x)
    doubled(x)
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = len(x) if N is None else int(N)
    columns: list[Any] = [np.ones_like(x)]
    while len(columns) < count:
        columns.append(columns[-1] * x if len(columns) > 1 else x)
    columns = columns[:count]
    return np.stack(columns if increasing else columns[::-1], axis=1) if count else np.zeros((len(x), 0))


@implements("polyval")
def polyval(p: Any, x: Any) -> Any:
    """Value of a polynomial by Horner's rule."""
    recorder = recorder_of(p, x)
    p, x = to_array(p, recorder), to_active(x, recorder)
    if not p.size:
        return np.zeros_like(x)
    result: Any = p[0] + np.zeros(x.shape, x.dtype) if x.shape else p[0]
    for k in range(1, len(p)):
        result = result * x + p[k]
    return result


@implements("polyadd")
def polyadd(a1: Any, a2: Any) -> Any:
    """Sum of two polynomials."""
    one, other = (np.atleast_1d(a) for a in to_arrays(a1, a2))
    width = max(len(one), len(other))
    return np.pad(one, (width - len(one), 0)) + np.pad(other, (width - len(other), 0))


@implements("polysub")
def polysub(a1: Any, a2: Any) -> Any:
    """Difference of two polynomials."""
    one, other = to_arrays(a1, a2)
    return polyadd(one, -other)


@implements("polymul")
def polymul(a1: Any, a2: Any) -> Any:
    """Product of two polynomials."""
    return np.convolve(*to_arrays(a1, a2))


@implements("polyder")
def polyder(p: Any, m: int = 1) -> Any:
    """Derivative of a polynomial."""
    p = to_array(p)
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    for _ in range(m):
        p = as_array(p[:-1] * np.arange(len(p) - 1.0, 0.0, -1.0)) if len(p) > 1 else p[:0]
    return p


@implements("polyint")
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """Antiderivative of a polynomial."""
    p = to_array(p)
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = np.zeros(m) if k is None else np.broadcast_to(k, (m,))
    for j in range(m):
        last = to_array(constants[j], p.recorder).reshape(1)
        p = as_array(np.concatenate([p / np.arange(float(len(p)), 0.0, -1.0), last]))
    return p


@implements("poly")
def poly(seq_of_zeros: Any) -> Any:
    """Coefficients of the polynomial with these roots."""
    zeros = to_array(seq_of_zeros)
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] != 0:
        zeros = np.linalg.eigvals(zeros)
    if zeros.ndim != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    one = zeros.dtype.type(1.0)
    result: Any = np.ones(1, zeros.dtype)
    for k in range(len(zeros)):
        result = np.convolve(result, np.stack([one, -zeros[k]]))
    return result


@implements("roots")
def roots(p: Any) -> Any:
    """Roots of a polynomial, where they are real, as eigenvalues of its companion matrix; which are zero is guarded."""
    p = np.atleast_1d(to_array(p))
    if p.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    present = np.flatnonzero(np.asarray(truth_of(p)))
    if not len(present):
        return np.zeros(0)
    first, last = int(present[0]), int(present[-1])
    degree = last - first
    if not degree:
        return np.zeros(p.size - 1 - last)
    top = -p[first + 1 : last + 1] / p[first]
    companion = np.concatenate([top[None, :], np.eye(degree - 1, degree, dtype=p.dtype)])
    if not decide("spectrum_is_real", companion):
        refuse("np.roots: some roots are complex", "find one by Newton's method, with a rule of its own (custom_vjp)")
    return np.concatenate([np.linalg.eigvals(companion), np.zeros(p.size - 1 - last, p.dtype)])


@implements("polydiv")
def polydiv(u: Any, v: Any) -> Any:
    """Quotient and remainder of two polynomials."""
    u, v = (np.atleast_1d(a) + 0.0 for a in to_arrays(u, v))
    degree = len(u) - len(v)
    rest = [u[k] for k in range(len(u))]
    quotient = []
    for k in range(degree + 1):
        quotient.append(rest[k] / v[0])
        for j in range(len(v)):
            rest[k + j] = rest[k + j] - quotient[-1] * v[j]
    left: Any = np.stack(rest[max(degree + 1, 0) :] or [0.0 * v[0]])
    while len(left) > 1 and np.allclose(left[0], 0.0, rtol=1e-14):  # a decision, as in NumPy
        left = left[1:]
    return (np.stack(quotient) if quotient else np.zeros(1)), left


@implements("polyfit")
def polyfit(x: Any, y: Any, deg: Any, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    """Coefficients of the polynomial that fits best in the least-squares sense."""
    if full:
        unsupported("polyfit", "full=", "compute the residuals with np.polyval")
    if cov is not False:
        unsupported("polyfit", "cov=", "write it with np.vander and np.linalg.inv")
    recorder = recorder_of(x, y, w)
    x, y = to_array(x, recorder), to_array(y, recorder)
    matrix = vander(x, int(deg) + 1)
    if w is not None:
        w = to_array(w, recorder)
        matrix = matrix * w[:, None]
        y = y * (w if y.ndim == 1 else w[:, None])
    scale = np.sqrt(np.sum(matrix * matrix, axis=0))
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    found = np.linalg.lstsq(matrix / scale, y, rcond)[0]
    return found / (scale if y.ndim == 1 else scale[:, None])
