"""Array ops along axes: extremes, products, running sums, sorting and linear recurrences."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.ops.definition import ABSENT
from numbad.ops.host import array_op

Shape = tuple[int, ...]


def along_last(shape: Shape) -> list[Shape]:
    """The shape of a reduction over the last axis."""
    return [shape[:-1]]


# ---------------------------------------------------------------- extremes


@array_op(shapes=along_last)
def greatest(x: Any) -> Any:
    """The largest element along the last axis; NaN if one is; ties share the derivative evenly."""
    return np.max(x, axis=-1)


@greatest.moving_vjp
def greatest_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return share(bars[0], results[0], operands[0])


@array_op(shapes=along_last)
def least(x: Any) -> Any:
    """The smallest element along the last axis; NaN if one is; ties share the derivative evenly."""
    return np.min(x, axis=-1)


@least.moving_vjp
def least_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return share(bars[0], results[0], operands[0])


def share(bar: Any, extreme: Any, x: Any) -> Any:
    """Split a cotangent evenly between the elements that attain the extreme."""
    extreme = extreme[..., None]
    attained = (x == extreme) | (np.isnan(x) & np.isnan(extreme))
    parts = np.broadcast_to((bar / np.sum(attained, axis=-1))[..., None], x.shape)
    return (np.where(attained, parts, ABSENT),)


# ---------------------------------------------------------------- running sums and products


@array_op
def running_sum(x: Any) -> Any:
    """Sums of the elements so far along the last axis."""
    return np.cumsum(x, axis=-1)


@running_sum.moving_vjp
def running_sum_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (backwards(running_sum(backwards(bars[0]))),)


def recurrence(a: Any, b: Any) -> Any:
    """The compiled loop of linear_recurrence; `kernels.calls` gives it."""
    raise NotImplementedError


def alike(a: Shape, b: Shape) -> list[Shape]:
    """The shape of two operands of one shape; the compiled loop counts on it."""
    if a != b or not a:
        raise ValueError(f"linear_recurrence: shapes {a} and {b} do not fit")
    return [a]


@array_op(shapes=alike)
def linear_recurrence(a: Any, b: Any) -> Any:
    """s[i] = b[i] + a[i] * s[i-1] along the last axis; a[0] is not used.

    What products and running products have as derivatives, without a division; its own derivative is
    the same recurrence from the other end.
    """
    return recurrence(a, b)


@linear_recurrence.vjp
def linear_recurrence_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, s = operands[0], results[0]
    t = backward_recurrence(a, bars[0])
    return t * delay(s, 0.0), t


def backward_recurrence(a: Any, bar: Any) -> Any:
    """Return t[i] = bar[i] + a[i+1] * t[i+1]."""
    return backwards(linear_recurrence(delay(backwards(a), 0.0), backwards(bar)))


@array_op
def running_product(x: Any) -> Any:
    """Products of the elements so far along the last axis; its derivative is exact where elements are zero."""
    return np.cumprod(x, axis=-1)


@running_product.vjp
def running_product_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (delay(results[0], 1.0) * backward_recurrence(operands[0], bars[0]),)


@array_op(shapes=along_last)
def product(x: Any) -> Any:
    """Product along the last axis; its derivative multiplies what is before by what is behind."""
    return np.prod(x, axis=-1)


@product.vjp
def product_vjp(bars: Any, results: Any, operands: Any) -> Any:
    x = operands[0]
    before = delay(running_product(x), 1.0)
    behind = backwards(delay(running_product(backwards(x)), 1.0))
    return (bars[0][..., None] * before * behind,)


def backwards(x: Any) -> Any:
    """Return a view from the other end of the last axis."""
    return x[..., ::-1]


def delay(x: Any, first: float) -> Any:
    """Return x moved on by one place along the last axis, with `first` in front."""
    return np.concatenate([np.full_like(x[..., :1], first), x[..., :-1]], axis=-1)


@array_op
def running_greatest(x: Any) -> Any:
    """The largest element so far along the last axis; of equal ones the first has the derivative."""
    return np.maximum.accumulate(x, axis=-1)


@running_greatest.moving_vjp
def running_greatest_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (collect_runs(bars[0], results[0], operands[0]),)


@array_op
def running_least(x: Any) -> Any:
    """The smallest element so far along the last axis; of equal ones the first has the derivative."""
    return np.minimum.accumulate(x, axis=-1)


@running_least.moving_vjp
def running_least_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (collect_runs(bars[0], results[0], operands[0]),)


def collect_runs(bar: Any, extreme: Any, x: Any) -> Any:
    """Give the cotangents of a run of equal extremes to the element that began it."""
    previous = delay(extreme, np.nan)
    same = (extreme == previous) | (np.isnan(extreme) & np.isnan(previous))
    same = np.concatenate([np.zeros_like(same[..., :1]), same[..., 1:]], axis=-1)
    total = backward_recurrence(np.where(same, 1.0, 0.0), bar)
    return np.where(same, ABSENT, total)


# ---------------------------------------------------------------- order


@array_op
def sort_last(x: Any) -> Any:
    """Sort along the last axis; the cotangents go back to where the elements came from."""
    return np.sort(x, axis=-1, kind="stable")


@sort_last.moving_vjp
def sort_last_vjp(bars: Any, results: Any, operands: Any) -> Any:
    order = np.argsort(operands[0], axis=-1, kind="stable")
    return (np.take_along_axis(bars[0], np.argsort(order, axis=-1), axis=-1),)


@array_op
def partition_last(x: Any, kth: Any) -> Any:
    """Partition along the last axis as np.partition does."""
    return np.partition(x, kth, axis=-1)


@partition_last.moving_vjp
def partition_last_vjp(bars: Any, results: Any, operands: Any, kth: Any) -> Any:
    order = np.argpartition(operands[0], kth, axis=-1)
    return (np.take_along_axis(bars[0], np.argsort(order, axis=-1), axis=-1),)


# ---------------------------------------------------------------- convolution and interpolation


def convolved_shape(one: Shape, other: Shape, mode: str) -> list[Shape]:
    """The shape of np.convolve's result."""
    longer, shorter = max(one[0], other[0]), min(one[0], other[0])
    return [({"full": longer + shorter - 1, "same": longer, "valid": longer - shorter + 1}[mode],)]


@array_op(shapes=convolved_shape)
def convolution(a: Any, v: Any, mode: Any) -> Any:
    """Discrete convolution of two sequences."""
    return np.convolve(a, v, mode)


@convolution.vjp
def convolution_vjp(bars: Any, results: Any, operands: Any, mode: str) -> Any:
    a, v = operands
    full = len(a) + len(v) - 1
    shorter = min(len(a), len(v))
    bar = bars[0]
    before = {"full": 0, "same": (shorter - 1) // 2, "valid": shorter - 1}[mode]
    if mode != "full":
        bar = np.concatenate([np.zeros(before, bar.dtype), bar, np.zeros(full - before - len(bar), bar.dtype)])
    return np.convolve(bar, v[::-1], "valid"), np.convolve(bar, a[::-1], "valid")


def interpolated_shape(x: Shape, xp: Shape, fp: Shape) -> list[Shape]:
    """The shape of np.interp's result."""
    return [x]


@array_op(shapes=interpolated_shape)
def interpolation(x: Any, xp: Any, fp: Any) -> Any:
    """Piecewise linear interpolation through (xp, fp), constant outside."""
    return np.interp(x, xp, fp)


@interpolation.vjp
def interpolation_vjp(bars: Any, results: Any, operands: Any) -> Any:
    x, xp, fp = operands
    bar, points = bars[0].reshape(-1), x.reshape(-1)
    if len(xp) == 1:
        return np.zeros_like(x), np.zeros_like(xp), np.sum(bar).reshape((1,))
    place = np.clip(np.searchsorted(xp, points, side="right") - 1, 0, len(xp) - 2)
    inside = (points >= xp[0]) & (points <= xp[-1])
    width = xp[place + 1] - xp[place]
    empty = width == 0.0  # the first or the last knot is repeated, and the point is there or beyond
    width = np.where(empty, 1.0, width)
    beyond = np.where(points < xp[0], 0.0, 1.0)
    part = np.where(empty, beyond, np.clip((points - xp[place]) / width, 0.0, 1.0))
    slope = np.where(inside & ~empty, bar * (fp[place + 1] - fp[place]) / width, 0.0)
    left, right, size = 1.0 - part, part, len(xp)

    def collect(at_left: Any, at_right: Any) -> Any:
        return np.bincount(place, at_left, size) + np.bincount(place + 1, at_right, size)

    return slope.reshape(x.shape), collect(-slope * left, -slope * right), collect(bar * left, bar * right)
