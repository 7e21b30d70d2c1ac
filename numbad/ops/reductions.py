"""Array ops along axes: extremes, products, running sums, sorting and linear recurrences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.ops import reach
from numbad.ops.definition import ABSENT
from numbad.ops.host import array_op

Shape = tuple[int, ...]


def along_last(shape: Shape) -> list[Shape]:
    """The shape of a reduction over the last axis."""
    return [shape[:-1]]


# ---------------------------------------------------------------- extremes


@array_op(shapes=along_last, stacks=True)
def greatest(x: Any) -> Any:
    """The largest element along the last axis; NaN if one is; ties share the derivative evenly."""
    return np.max(x, axis=-1)


greatest.reach = reach.along_last


@greatest.moving_vjp
def greatest_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return share(bars[0], results[0], operands[0])


@array_op(shapes=along_last, stacks=True)
def least(x: Any) -> Any:
    """The smallest element along the last axis; NaN if one is; ties share the derivative evenly."""
    return np.min(x, axis=-1)


least.reach = reach.along_last


@least.moving_vjp
def least_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return share(bars[0], results[0], operands[0])


def share(bar: Any, extreme: Any, x: Any) -> Any:
    """Split a cotangent evenly between the elements that attain the extreme."""
    extreme = extreme[..., None]
    attained = x == extreme
    if not isinstance(extreme, np.ndarray) or np.isnan(extreme).any():
        attained = attained | (np.isnan(x) & np.isnan(extreme))
    parts = np.broadcast_to((bar / np.sum(attained, axis=-1))[..., None], x.shape)
    return (np.where(attained, parts, ABSENT),)


# ---------------------------------------------------------------- running sums and products


def by_steps(step: Any, whole: Any) -> Any:
    """Return a kernel for stacks of a running operation: where the axis is short, a step for all lanes at once.

    NumPy goes along the axis for each lane, which costs as much as some twenty elements.
    """

    def kernel(x: Any) -> Any:
        count = x.shape[-1]
        if not count or x.size < MANY_LANES * count:
            return whole(x)
        found = np.empty_like(x)
        found[..., 0] = x[..., 0]
        for k in range(1, count):
            step(found[..., k - 1], x[..., k], out=found[..., k])
        return found

    return kernel


MANY_LANES = 64  # for each step of a running sum, so that a step is worth a call


@array_op(stacks=True)
def running_sum(x: Any) -> Any:
    """Sums of the elements so far along the last axis."""
    return np.cumsum(x, axis=-1)


running_sum.for_stacks(by_steps(np.add, running_sum.kernel))


running_sum.reach = reach.running


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


@array_op(shapes=alike, stacks=True)
def linear_recurrence(a: Any, b: Any) -> Any:
    """s[i] = b[i] + a[i] * s[i-1] along the last axis; a[0] is not used.

    What products and running products have as derivatives, without a division; its own derivative is
    the same recurrence from the other end.
    """
    return recurrence(a, b)


linear_recurrence.reach = reach.running


@linear_recurrence.for_stacks
def recurrence_of_stack(a: Any, b: Any) -> Any:
    """The same of a stack: where the axis is short, a step for all lanes at once."""
    count = b.shape[-1]
    if not count or b.size < MANY_LANES * count:
        return recurrence(a, b)
    found = np.empty_like(b)
    found[..., 0] = b[..., 0]
    for k in range(1, count):
        np.multiply(a[..., k], found[..., k - 1], out=found[..., k])
        found[..., k] += b[..., k]
    return found


@linear_recurrence.vjp
def linear_recurrence_vjp(bars: Any, results: Any, operands: Any) -> Any:
    a, s = operands[0], results[0]
    t = backward_recurrence(a, bars[0])
    return t * delay(s, 0.0), t


def backward_recurrence(a: Any, bar: Any) -> Any:
    """Return t[i] = bar[i] + a[i+1] * t[i+1]."""
    return backwards(linear_recurrence(delay(backwards(a), 0.0), backwards(bar)))


@array_op(stacks=True)
def running_product(x: Any) -> Any:
    """Products of the elements so far along the last axis; its derivative is exact where elements are zero."""
    return np.cumprod(x, axis=-1)


running_product.for_stacks(by_steps(np.multiply, running_product.kernel))


running_product.reach = reach.running


@running_product.vjp
def running_product_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (delay(results[0], 1.0) * backward_recurrence(operands[0], bars[0]),)


@array_op(shapes=along_last, stacks=True)
def product(x: Any) -> Any:
    """Product along the last axis; its derivative multiplies what is before by what is behind."""
    return np.prod(x, axis=-1)


product.reach = reach.along_last


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


@array_op(stacks=True)
def running_greatest(x: Any) -> Any:
    """The largest element so far along the last axis; of equal ones the first has the derivative."""
    return np.maximum.accumulate(x, axis=-1)


running_greatest.for_stacks(by_steps(np.maximum, running_greatest.kernel))


running_greatest.reach = reach.running


@running_greatest.moving_vjp
def running_greatest_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (collect_runs(bars[0], results[0], operands[0]),)


@array_op(stacks=True)
def running_least(x: Any) -> Any:
    """The smallest element so far along the last axis; of equal ones the first has the derivative."""
    return np.minimum.accumulate(x, axis=-1)


running_least.for_stacks(by_steps(np.minimum, running_least.kernel))


running_least.reach = reach.running


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


@array_op(stacks=True)
def sort_last(x: Any) -> Any:
    """Sort along the last axis; the cotangents go back to where the elements came from."""
    return np.sort(x, axis=-1, kind="stable")


sort_last.reach = reach.within_last


@sort_last.moving_vjp
def sort_last_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return (put_in_order(bars[0], operands[0], kth=None),)


@array_op(stacks=True)
def partition_last(x: Any, kth: Any) -> Any:
    """Partition along the last axis as np.partition does."""
    return np.partition(x, kth, axis=-1)


partition_last.reach = reach.within_last


@partition_last.moving_vjp
def partition_last_vjp(bars: Any, results: Any, operands: Any, kth: Any) -> Any:
    return (put_in_order(bars[0], operands[0], kth=kth),)


def order_of(x: Any, kth: Any) -> np.ndarray:
    """Return the places of the elements along the last axis in the order of np.sort, or of np.partition by `kth`."""
    return np.argsort(x, axis=-1, kind="stable") if kth is None else np.argpartition(x, kth, axis=-1)


@array_op(stacks=True)
def take_in_order(y: Any, x: Any, kth: Any) -> Any:
    """The elements of y in the order that sorts, or partitions, x."""
    return np.take_along_axis(y, order_of(x, kth), axis=-1)


@take_in_order.moving_vjp
def take_in_order_vjp(bars: Any, results: Any, operands: Any, kth: Any) -> Any:
    return put_in_order(bars[0], operands[1], kth=kth), None


@array_op(stacks=True)
def put_in_order(y: Any, x: Any, kth: Any) -> Any:
    """The elements of y, given in the order that sorts x, back at the places of x."""
    found = np.empty_like(y)
    np.put_along_axis(found, order_of(x, kth), y, axis=-1)
    return found


@put_in_order.moving_vjp
def put_in_order_vjp(bars: Any, results: Any, operands: Any, kth: Any) -> Any:
    return take_in_order(bars[0], operands[1], kth=kth), None


@array_op(shapes=lambda y, index: [index], stacks=True)
def pick_at(y: Any, index: Any) -> Any:
    """The element along the last axis that a whole number names, for each of the others; numbers do not move."""
    return np.take_along_axis(y, whole(index, y.shape[-1]), axis=-1)[..., 0]


pick_at.reach = reach.along_last


@pick_at.moving_vjp
def pick_at_vjp(bars: Any, results: Any, operands: Any) -> Any:
    return put_at(bars[0], operands[1], count=np.shape(operands[0])[-1]), None


@array_op(shapes=lambda y, index, count: [(*y, count)], stacks=True)
def put_at(y: Any, index: Any, count: int) -> Any:
    """Elements at the places that whole numbers name along a new last axis; nothing elsewhere."""
    found = np.full((*y.shape, count), ABSENT, y.dtype)
    np.put_along_axis(found, whole(index, count), y[..., None], axis=-1)
    return found


put_at.reach = reach.spread_last


@put_at.moving_vjp
def put_at_vjp(bars: Any, results: Any, operands: Any, count: int) -> Any:
    return pick_at(bars[0], operands[1]), None


def whole(index: Any, count: int) -> np.ndarray:
    """Return places along an axis from numbers, within its bounds."""
    return np.clip(np.nan_to_num(index), 0, count - 1).astype(np.intp)[..., None]


# ---------------------------------------------------------------- interpolation


def interpolated_shape(x: Shape, xp: Shape, fp: Shape) -> list[Shape]:
    """The shape of np.interp's result."""
    return [x]


@array_op(shapes=interpolated_shape)
def interpolation(x: Any, xp: Any, fp: Any) -> Any:
    """Piecewise linear interpolation through (xp, fp), constant outside."""
    return np.interp(x, xp, fp)


interpolation.reach = reach.interpolated


@interpolation.for_stacks
def interpolations(x: Any, xp: Any, fp: Any) -> Any:
    """The same of a stack: as np.interp computes it, where lanes have knots or values of their own."""
    if is_repeated(xp) and is_repeated(fp) and len(x):
        return np.interp(x, xp[0], fp[0])
    count, points = xp.shape[-1], x.reshape(len(x), -1)
    place = interval_of(points, xp)
    left, right = np.maximum(place, 0), np.minimum(place + 1, count - 1)
    x0, x1, y0, y1 = (np.take_along_axis(part, at, -1) for part in (xp, fp) for at in (left, right))
    slope = (y1 - y0) / np.where(x1 == x0, np.nan, x1 - x0)
    found = slope * (points - x0) + y0
    again = slope * (points - x1) + y1  # infinite values
    found = np.where(np.isnan(found), np.where(np.isnan(again) & (y0 == y1), y0, again), found)
    found = np.where((points == x0) | (place == count - 1) | (place < 0), y0, found)
    return np.where(np.isnan(points), points, found).reshape(x.shape)


def is_repeated(stack: np.ndarray) -> bool:
    """Whether a stack is one array, repeated as a view."""
    return stack.strides[0] == 0 or len(stack) == 1


def interval_of(points: np.ndarray, xp: np.ndarray) -> np.ndarray:
    """Return for each lane the last knot that is not beyond each of its points, -1 where there is none.

    Binary search and a count agree where knots are sorted; where they are not, the search is asked.
    """
    if not len(xp) or is_repeated(xp):
        return np.searchsorted(xp[0], points, side="right") - 1 if len(xp) else np.zeros(points.shape, np.intp)
    if xp.shape[-1] > MOST_COUNTED or not (xp[:, 1:] >= xp[:, :-1]).all():
        return np.stack([np.searchsorted(one, own, side="right") - 1 for one, own in zip(xp, points, strict=True)])
    place = np.full(points.shape, -1)
    for knot in range(xp.shape[-1]):
        place += (xp[:, knot, None] <= points) | np.isnan(points)
    return place


MOST_COUNTED = 64  # knots of each lane that are compared with all of its points; from there on each lane is searched


def place_in(x: np.ndarray, xp: np.ndarray, right: bool) -> np.ndarray:
    """Return the left knot of the interval that each point lies in, or the right one: a row for each of a stack."""
    lanes = math.prod(xp.shape[:-1])
    points, knots = x.reshape(lanes, x.size // max(lanes, 1)), xp.reshape(lanes, xp.shape[-1])
    return np.clip(interval_of(points, knots), 0, xp.shape[-1] - 2) + right


@array_op(shapes=lambda y, x, xp, right: [x], stacks=True)
def pick_knot(y: Any, x: Any, xp: Any, right: bool) -> Any:
    """What knots have, for each point that of the knot at one end of its interval; intervals do not move."""
    place = place_in(x, xp, right)
    return np.take_along_axis(y.reshape(len(place), -1), place, axis=-1).reshape(x.shape)


@pick_knot.moving_vjp
def pick_knot_vjp(bars: Any, results: Any, operands: Any, right: bool) -> Any:
    return put_knot(bars[0], *operands[1:], right=right), None, None


@array_op(shapes=lambda y, x, xp, right: [xp], stacks=True)
def put_knot(y: Any, x: Any, xp: Any, right: bool) -> Any:
    """For each knot the sum of what the points have whose interval it begins, or ends."""
    place = place_in(x, xp, right)
    place = place + xp.shape[-1] * np.arange(len(place))[:, None]
    return np.bincount(place.reshape(-1), y.reshape(-1), xp.size).reshape(xp.shape)


@put_knot.vjp
def put_knot_vjp(bars: Any, results: Any, operands: Any, right: bool) -> Any:
    return pick_knot(bars[0], *operands[1:], right=right), None, None


@interpolation.vjp
def interpolation_vjp(bars: Any, results: Any, operands: Any) -> Any:
    x, xp, fp = operands
    bar = bars[0]
    if xp.shape[-1] == 1:
        total = np.sum(bar.reshape((*np.shape(xp)[:-1], -1)), axis=-1)[..., None]
        return np.zeros_like(x), np.zeros_like(xp), total
    x0, x1, y0, y1 = (pick_knot(part, x, xp, right=right) for part in (xp, fp) for right in (False, True))
    inside = (x >= ends(xp, 0, x)) & (x <= ends(xp, -1, x))
    width = x1 - x0
    empty = width == 0.0  # the first or the last knot is repeated, and the point is there or beyond
    width = np.where(empty, 1.0, width)
    beyond = np.where(x < ends(xp, 0, x), 0.0, 1.0)
    part = np.where(empty, beyond, np.clip((x - x0) / width, 0.0, 1.0))
    slope = np.where(inside & ~empty, bar * (y1 - y0) / width, 0.0)
    left, right = 1.0 - part, part

    def collect(at_left: Any, at_right: Any) -> Any:
        return put_knot(at_left, x, xp, right=False) + put_knot(at_right, x, xp, right=True)

    return slope, collect(-slope * left, -slope * right), collect(bar * left, bar * right)


def ends(xp: Any, which: int, x: Any) -> Any:
    """Return the first or the last knot, of each lane, with as many axes as the points have."""
    end = xp[..., which]
    return end.reshape((*np.shape(end), *(1,) * (np.ndim(x) - np.ndim(end)))) if np.ndim(end) else end
