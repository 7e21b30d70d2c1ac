"""Sums, means, extremes and products over axes, with and without regard to NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.geometry import contiguous
from numbad.numpy_api.axes import count_over, last, normal_axes, one_axis, reduced_axes, reduced_shape
from numbad.numpy_api.dispatch import doubled, finish, implements, widened
from numbad.ops import reductions as ops
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array, make_block
from numbad.recording.blocks import operand_of
from numbad.recording.operands import demote, to_array
from numbad.recording.recorder import structural_words
from numbad.recording.roots import record_root
from numbad.recording.row_plans import CONTIGUOUS, PLANS, Plan, append_placed, keep, plan_contiguous
from numbad.tape.layout import ADD

ABSENT = np._NoValue
NOWHERE = (0, 0)  # the second operand of a row that has one


def sum_of_all(a: Array) -> Any:
    """Return the sum of a contiguous array, its row written without a detour; None for another array."""
    spot = a.spot()
    if spot is None or a.pitches is not None or not a.shape:
        return None
    plans = CONTIGUOUS.get(a.shape) or plan_contiguous(a.shape)
    return append_placed(a.recorder, ADD, plans.total, spot, NOWHERE)


def sum_over(a: Array, axis: Any, keepdims: bool) -> Any:
    """Return a sum over axes, its row from a plan; None for an array whose elements lie anywhere."""
    spot = a.spot()
    if spot is None or not (axis is None or type(axis) is int or type(axis) is tuple):
        return None
    key = ("sum", a.shape, a.pitches, axis, keepdims)
    plan = PLANS.get(key)
    if plan is None:
        axes = reduced_axes(axis, len(a.shape))
        kept = [k for k in range(len(a.shape)) if k not in axes]
        left = tuple(a.shape[k] for k in kept)
        steps = [0] * len(a.shape)
        for k, stride in zip(kept, contiguous(left), strict=True):
            steps[k] = stride
        operand = contiguous(a.shape) if a.pitches is None else a.pitches
        words = structural_words(a.shape, math.prod(left), ((0, 0, tuple(steps)), (0, 0, operand)))
        plan = keep(key, Plan(words, reduced_shape(a.shape, axes, keepdims), False))
    return append_placed(a.recorder, ADD, plan, spot, NOWHERE)


def dtype_of_sum(a: Array, dtype: Any) -> Any:
    """Return the dtype that a sum is asked for, none where truth values are counted: their sums are whole numbers."""
    counts = a.boolean and dtype is not None and np.dtype(dtype).kind in "iu"
    return None if counts else dtype


@implements("sum")
def sum_(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = 0,
         where: Any = True) -> Any:  # fmt: skip
    """Sum over axes: a row that adds over the index space of the operand."""
    none = initial is ABSENT or (type(initial) is int and initial == 0)
    if where is True and dtype is None and out is None and type(a) is Array and none:
        total = sum_of_all(a) if axis is None and not keepdims else sum_over(a, axis, bool(keepdims))
        if total is not None:
            return total
    a = to_array(a)
    dtype = dtype_of_sum(a, dtype)
    a = widened(a, dtype)
    if where is not True:
        a = as_array(np.where(where, a, 0.0))
    shape = a.shape
    axes = reduced_axes(axis, len(shape))
    operand = operand_of(a)
    over = shape
    if len(axes) == len(shape):
        count: int = 1
        strides: tuple[int, ...] = (0,) * len(shape)
        if a.pitches is None and operand[2]:
            over, strides, operand = (a.size,), (0,), (operand[0], operand[1], operand[2][-1:])
    else:
        kept = [k for k in range(len(shape)) if k not in axes]
        left = tuple(shape[k] for k in kept)
        steps = [0] * len(shape)
        for k, stride in zip(kept, contiguous(left), strict=True):
            steps[k] = stride
        count, strides = math.prod(left), tuple(steps)
    out_address = a.recorder.add_row(over, count, strides, operand)
    result = make_block(a.recorder, out_address, reduced_shape(shape, axes, bool(keepdims)))
    if not none:
        result = result + initial
    return result if dtype is None and out is None else finish(result, dtype, out)


@implements("mean")
def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
         where: Any = True) -> Any:  # fmt: skip
    """Arithmetic mean: a sum divided by the count."""
    a = widened(to_array(a), dtype)
    if a.boolean and dtype is None:
        doubled(a)
    total = sum_(a, axis, keepdims=keepdims, where=where)
    if where is not True:
        count: Any = count_where(where, a, axis, keepdims)
    else:
        count = float(count_over(a.shape, normal_axes(axis, a.ndim)))
    return finish(total / count, dtype, out)


def count_where(where: Any, a: Array, axis: Any, keepdims: Any) -> Any:
    """Return how many elements of each slice a condition selects, in the dtype of the array."""
    count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=bool(keepdims))
    return count if isinstance(count, Active) else np.asarray(count, a.dtype)[()]


def freedom(ddof: Any, correction: Any) -> Any:
    """Return how many degrees of freedom a variance takes off: NumPy has two names for that, and takes one of them."""
    if correction is ABSENT:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


@implements("var")
def var(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
        where: Any = True, mean: Any = ABSENT, correction: Any = ABSENT) -> Any:  # fmt: skip
    """Variance: the mean of squared deviations from the mean."""
    a = widened(to_array(a), dtype)
    if a.boolean and dtype is None:
        doubled(a)
    ddof = freedom(ddof, correction)
    centre = np.mean(a, axis=axis, keepdims=True, where=where) if mean is ABSENT else mean
    square = np.square(a - centre)
    total = np.sum(square, axis=axis, keepdims=keepdims, where=where)
    if where is True:
        count: Any = float(max(count_over(a.shape, normal_axes(axis, a.ndim)) - ddof, 0))
    else:
        count = np.maximum(count_where(where, a, axis, keepdims) - ddof, 0.0)
    return finish(total / count, dtype, out)


@implements("std")
def std(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
        where: Any = True, mean: Any = ABSENT, correction: Any = ABSENT) -> Any:  # fmt: skip
    """Standard deviation; its derivative is 0 where all elements are equal."""
    a = to_array(a)
    found = record_root(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))
    if mean is ABSENT and where is True and count_over(np.shape(a), normal_axes(axis, np.ndim(a))) == 1:
        found = np.sign(found)  # of one number it is zero, or NaN, and no kink: its derivatives are zero to any order
    return finish(found, dtype, out)


# ---------------------------------------------------------------- extremes and products


def reduce_last(op: Any, a: Array, axis: Any, keepdims: Any) -> Any:
    """Apply an array op that reduces the last axis, over any axes."""
    axes = reduced_axes(axis, a.ndim)
    if not axes:
        return a.copy() if a.shape else a.item()
    result = op(last(a, axes))
    return np.reshape(result, reduced_shape(a.shape, axes, True)) if keepdims else result


def extreme(name: str, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    """Record max or min."""
    a = to_array(a)
    greatest = name == "max"
    if a.boolean and initial is ABSENT:
        return (any_ if greatest else all_)(a, axis, out, keepdims, where=where)
    if where is not True:
        if initial is ABSENT:
            raise ValueError(f"reduction operation '{name}' does not have an identity, so to use a where mask one "
                             "has to specify 'initial'")  # fmt: skip
        a = as_array(np.where(where, a, -np.inf if greatest else np.inf))
    axes = reduced_axes(axis, a.ndim)
    if not count_over(a.shape, axes):
        if initial is ABSENT:
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        result = np.broadcast_to(a.dtype.type(initial), reduced_shape(a.shape, axes, bool(keepdims)))
        return finish(demote(to_array(result, a.recorder)), None, out)
    result = reduce_last(ops.greatest if greatest else ops.least, a, axis, keepdims)
    if initial is not ABSENT:
        result = (np.maximum if greatest else np.minimum)(result, initial)
    return finish(result, None, out)


@implements("max", "amax")
def max_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = ABSENT,
         where: Any = True) -> Any:  # fmt: skip
    """Largest element over axes; ties share the derivative evenly."""
    return extreme("max", a, axis, out, keepdims, initial, where)


@implements("min", "amin")
def min_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = ABSENT,
         where: Any = True) -> Any:  # fmt: skip
    """Smallest element over axes; ties share the derivative evenly."""
    return extreme("min", a, axis, out, keepdims, initial, where)


@implements("ptp")
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    """Largest minus smallest."""
    return finish(max_(a, axis, keepdims=keepdims) - min_(a, axis, keepdims=keepdims), None, out)


@implements("prod")
def prod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = ABSENT,
         where: Any = True) -> Any:  # fmt: skip
    """Product over axes; its derivative is exact where elements are zero."""
    a = widened(to_array(a), dtype)
    if where is not True:
        a = as_array(np.where(where, a, 1.0))
    result = reduce_last(ops.product, a, axis, keepdims)
    return finish(result if initial is ABSENT else result * initial, dtype, out)


@implements("any")
def any_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    """Whether some elements are true (not zero): a recording truth value."""
    a = to_array(a)
    return finish(sum_(a if a.boolean else a != 0.0, axis, keepdims=keepdims, where=where) > 0.0, None, out)


@implements("all")
def all_(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    """Whether all elements are true (not zero): a recording truth value."""
    return finish(sum_(to_array(a) == 0.0, axis, keepdims=keepdims, where=where) == 0.0, None, out)


@implements("count_nonzero")
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """The number of elements that are not zero, as a recording number: int(...) of it guards it."""
    a = to_array(a)
    return sum_(a if a.boolean else a != 0.0, axis, keepdims=keepdims)


# ---------------------------------------------------------------- running


def run_along(op: Any, a: Any, axis: Any) -> Any:
    """Apply an array op that works along the last axis, along another."""
    array, axis = one_axis(to_array(a), axis)
    if not array.shape:
        array, axis = array.reshape(1), 0
    if axis == array.ndim - 1:
        return op(array)
    return as_array(op(array.swapaxes(axis, -1))).swapaxes(axis, -1)


@implements("cumsum")
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running sum."""
    a = to_array(a)
    dtype = dtype_of_sum(a, dtype)
    return finish(run_along(ops.running_sum, widened(a, dtype), axis), dtype, out)


@implements("cumprod")
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running product; its derivative is exact where elements are zero."""
    return finish(run_along(ops.running_product, widened(to_array(a), dtype), axis), dtype, out)


def cumulative(op: Any, first: float, x: Any, axis: Any, dtype: Any, out: Any, include_initial: bool) -> Any:
    """Record np.cumulative_sum or np.cumulative_prod."""
    x = widened(to_array(x), dtype)
    if axis is None:
        if x.ndim != 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0
    result = run_along(op, x, axis)
    if include_initial:
        shape = [1 if k == axis % x.ndim else n for k, n in enumerate(x.shape)]
        result = np.concatenate([np.full(shape, first, x.dtype), result], axis=axis)
    return finish(result, dtype, out)


@implements("cumulative_sum")
def cumulative_sum(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
                   include_initial: bool = False) -> Any:  # fmt: skip
    """Running sum, with a leading 0 if wanted."""
    return cumulative(ops.running_sum, 0.0, x, axis, dtype, out, include_initial)


@implements("cumulative_prod")
def cumulative_prod(x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
                    include_initial: bool = False) -> Any:  # fmt: skip
    """Running product, with a leading 1 if wanted."""
    return cumulative(ops.running_product, 1.0, x, axis, dtype, out, include_initial)


# ---------------------------------------------------------------- without NaN


def without_nan(a: Any, replacement: float) -> Any:
    """Return the array with NaN replaced."""
    a = to_array(a)
    return np.where(np.isnan(a), replacement, a)


@implements("nansum")
def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = 0,
           where: Any = True) -> Any:  # fmt: skip
    """Sum of the elements that are not NaN."""
    keepdims = keepdims is not ABSENT and keepdims
    return sum_(without_nan(a, 0.0), axis, dtype, out, keepdims, 0 if initial is ABSENT else initial,
                True if where is ABSENT else where)  # fmt: skip


@implements("nanprod")
def nanprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
            initial: Any = ABSENT, where: Any = True) -> Any:  # fmt: skip
    """Product of the elements that are not NaN."""
    keepdims = keepdims is not ABSENT and keepdims
    return prod(without_nan(a, 1.0), axis, dtype, out, keepdims, initial, True if where is ABSENT else where)


@implements("nancumsum")
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running sum in which NaN counts as 0."""
    return cumsum(without_nan(a, 0.0), axis, dtype, out)


@implements("nancumprod")
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """Running product in which NaN counts as 1."""
    return cumprod(without_nan(a, 1.0), axis, dtype, out)


def presence(a: Any, axis: Any, keepdims: Any, where: Any) -> Any:
    """Return how many elements are not NaN."""
    return sum_(~np.isnan(to_array(a)), axis, keepdims=keepdims, where=where)


@implements("nanmean")
def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False, *,
            where: Any = True) -> Any:  # fmt: skip
    """Mean of the elements that are not NaN."""
    keepdims, where = keepdims is not ABSENT and keepdims, True if where is ABSENT else where
    a = widened(to_array(a), dtype)
    total = nansum(a, axis, keepdims=keepdims, where=where)
    return finish(total / presence(a, axis, keepdims, where), dtype, out)


@implements("nanvar")
def nanvar(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
           where: Any = True, mean: Any = ABSENT, correction: Any = ABSENT) -> Any:  # fmt: skip
    """Variance of the elements that are not NaN."""
    keepdims, where = keepdims is not ABSENT and keepdims, True if where is ABSENT else where
    ddof = freedom(ddof, correction)
    a = widened(to_array(a), dtype)
    centre = nanmean(a, axis, keepdims=True, where=where) if mean is ABSENT else mean
    square = np.where(np.isnan(a), 0.0, np.square(to_array(a) - centre))
    left = presence(a, axis, keepdims, where) - ddof
    total = sum_(square, axis, keepdims=keepdims, where=where)
    return finish(total / np.where(left > 0.0, left, np.nan), dtype, out)


@implements("nanstd")
def nanstd(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
           where: Any = True, mean: Any = ABSENT, correction: Any = ABSENT) -> Any:  # fmt: skip
    """Standard deviation of the elements that are not NaN."""
    found = nanvar(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction)
    return finish(record_root(found), dtype, out)


def nan_extreme(name: str, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    """Record nanmax or nanmin: NaN only where all elements are."""
    keepdims, where = keepdims is not ABSENT and keepdims, True if where is ABSENT else where
    a = to_array(a)
    result = extreme(name, without_nan(a, -np.inf if name == "max" else np.inf), axis, None, keepdims, initial, where)
    if initial is ABSENT:
        result = np.where(all_(np.isnan(a), axis, keepdims=keepdims), np.nan, result)
    return finish(result, None, out)


@implements("nanmax")
def nanmax(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = ABSENT,
           where: Any = True) -> Any:  # fmt: skip
    """Largest of the elements that are not NaN."""
    return nan_extreme("max", a, axis, out, keepdims, initial, where)


@implements("nanmin")
def nanmin(a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, initial: Any = ABSENT,
           where: Any = True) -> Any:  # fmt: skip
    """Smallest of the elements that are not NaN."""
    return nan_extreme("min", a, axis, out, keepdims, initial, where)
