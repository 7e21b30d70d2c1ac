"""Ufuncs that are compositions of ops, and the methods of ufuncs: reduce, accumulate, outer, at, reduceat."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from numbad.geometry import normal_axis
from numbad.limits import LONGEST_FOLD
from numbad.numpy_api import reductions
from numbad.numpy_api.axes import last, normal_axes, reduced_shape
from numbad.numpy_api.dispatch import (
    ADVICE,
    call_ufunc,
    find_op,
    finish,
    implements_method,
    implements_ufunc,
    plain_integers,
    unsupported,
    widened,
    writable,
)
from numbad.numpy_api.functions import logsumexp
from numbad.ops import reductions as ops
from numbad.ops.definition import BY_NAME
from numbad.recording.active import given_among
from numbad.recording.arrays import Array
from numbad.recording.blocks import add_at
from numbad.recording.elementwise import record
from numbad.recording.indexing import concrete_key
from numbad.recording.operands import demote, recorder_of, to_active, to_array

# ---------------------------------------------------------------- compositions


@implements_ufunc("positive")
def positive(x: Any) -> Any:
    """A copy."""
    return x.copy("K")


@implements_ufunc("conjugate")
def conjugate(x: Any) -> Any:
    """The value itself: it is real."""
    return x.copy("K")


@implements_ufunc("fabs")
def fabs(x: Any) -> Any:
    """Absolute value."""
    return np.absolute(x)


@implements_ufunc("degrees", "rad2deg")
def degrees(x: Any) -> Any:
    """Radians to degrees."""
    return x * (180.0 / math.pi)


@implements_ufunc("radians", "deg2rad")
def radians(x: Any) -> Any:
    """Degrees to radians."""
    return x * (math.pi / 180.0)


@implements_ufunc("float_power")
def float_power(x: Any, y: Any) -> Any:
    """Power."""
    return to_active(x, recorder_of(x, y)) ** y


@implements_ufunc("divmod")
def divmod_(x: Any, y: Any) -> Any:
    """Quotient rounded down, and remainder."""
    return np.floor_divide(x, y), np.remainder(x, y)


@implements_ufunc("modf")
def modf(x: Any) -> Any:
    """Fractional part, which carries the derivative, and integral part."""
    whole = np.trunc(x)
    fraction = np.where(np.isinf(x), 0.0, x - whole)
    return np.copysign(fraction, x), whole


@implements_ufunc("ldexp")
def ldexp(x: Any, exponent: Any) -> Any:
    """x times two to a constant power."""
    power = np.ldexp(1.0, plain_integers(exponent, "the exponent of np.ldexp"))
    return x * np.asarray(power, x.dtype)


@implements_ufunc("logical_not")
def logical_not(x: Any) -> Any:
    """Whether it is zero."""
    return record(BY_NAME["logical_not"], x)


def bitwise(name: str) -> Any:
    """Make a bitwise ufunc, which is for truth values only."""
    method = getattr(operator, name)

    def function(x: Any, y: Any) -> Any:
        recorder = recorder_of(x, y)
        return method(to_active(x, recorder), to_active(y, recorder))

    return function


implements_ufunc("bitwise_and")(bitwise("and_"))
implements_ufunc("bitwise_or")(bitwise("or_"))
implements_ufunc("bitwise_xor")(bitwise("xor"))


@implements_ufunc("invert")
def invert(x: Any) -> Any:
    """Negation of truth values."""
    return ~x


ADVICE["np.spacing"] = ADVICE["np.nextafter"] = "they have no derivative; use a constant as np.finfo(float).eps"
ADVICE["np.frexp"] = "use np.floor(np.log2(np.abs(x))) for the exponent"
ADVICE["np.gcd"] = ADVICE["np.lcm"] = ADVICE["np.left_shift"] = ADVICE["np.right_shift"] = (
    "these are for integers: keep integers apart from what is differentiated"
)


# ---------------------------------------------------------------- reduce


@implements_method("reduce")
def reduce(ufunc: Any, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
           initial: Any = np._NoValue, where: Any = True) -> Any:  # fmt: skip
    """Record ufunc.reduce."""
    name = ufunc.__name__
    a = widened(to_array(array), dtype)
    axis = None if not a.shape else axis
    initial = np._NoValue if initial is None else initial
    if name in SUMS:
        return SUMS[name](a, axis, dtype, out, keepdims, initial, where)
    if name in EXTREMES:
        return finish(EXTREMES[name](a, axis, None, keepdims, initial, where), dtype, out)
    if name in TRUTHS and initial is np._NoValue:
        return finish(TRUTHS[name](a, axis, None, keepdims, where=where), dtype, out)
    if name in ("logaddexp", "logaddexp2") and initial is np._NoValue and where is True:
        scale = math.log(2.0) if name == "logaddexp2" else 1.0
        return finish(logsumexp(a * scale, axis=axis, keepdims=keepdims) / scale, dtype, out)
    axes = normal_axes(axis, a.ndim)
    if len(axes) > 1 and not ufunc_is_reorderable(ufunc):
        raise ValueError(f"reduction operation '{name}' is not reorderable, so at most one axis may be specified")
    if where is not True:
        where = last(to_array(where, a.recorder).broadcast_to(a.shape), axes)
    result = fold(ufunc, last(a, axes), initial, where)
    return finish(np.reshape(result, reduced_shape(a.shape, axes, True)) if keepdims else result, dtype, out)


def ufunc_is_reorderable(ufunc: Any) -> bool:
    """Whether the order of operands makes no difference, so that several axes may be reduced at once."""
    try:
        ufunc.reduce(np.ones((1, 1), np.bool_ if ufunc.__name__.startswith(("logical", "bitwise")) else float), (0, 1))
    except ValueError:
        return False
    return True


SUMS = {"add": reductions.sum_, "multiply": reductions.prod}
TRUTHS = {"logical_or": reductions.any_, "logical_and": reductions.all_}
EXTREMES = {
    "maximum": reductions.max_,
    "minimum": reductions.min_,
    "fmax": reductions.nanmax,
    "fmin": reductions.nanmin,
}


def steps_along(ufunc: Any, a: Any, axis: int) -> list[Any]:
    """Return the parts of an array along an axis, for a fold."""
    parts = list(np.moveaxis(a, normal_axis(axis, a.ndim), 0))
    if len(parts) > LONGEST_FOLD:
        unsupported(f"{ufunc.__name__}.reduce", f"a chain of {len(parts)} steps", "use np.sum, np.prod or np.max")
    return parts


def fold(ufunc: Any, a: Any, initial: Any, where: Any) -> Any:
    """Reduce the last axis by applying a ufunc from left to right, to the elements that a condition selects."""
    steps = steps_along(ufunc, a, -1) if a.shape else [a.item()]
    identity = ufunc.identity if initial is np._NoValue else initial
    if where is not True and identity is None:
        raise ValueError(f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where mask "
                         "one has to specify 'initial'")  # fmt: skip
    if not steps and identity is None:
        raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
    if not steps or initial is not np._NoValue or where is not True:
        identity = to_array(identity, a.recorder)
        steps.insert(0, identity.broadcast_to(np.broadcast_shapes(identity.shape, a.shape[:-1])))
    chosen = [True] * len(steps) if where is True else [True, *steps_along(ufunc, where, -1)]
    result = to_active(demote(steps[0]), a.recorder)
    for part, mask in zip(steps[1:], chosen[1:], strict=True):
        found = call_ufunc(ufunc, (result, part))
        result = found if mask is True else np.where(mask, found, result)
    return result.copy()


@implements_method("accumulate")
def accumulate(ufunc: Any, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """Record ufunc.accumulate."""
    running = {
        "add": ops.running_sum,
        "multiply": ops.running_product,
        "maximum": ops.running_greatest,
        "minimum": ops.running_least,
    }.get(ufunc.__name__)
    a = widened(to_array(array), dtype)
    if not a.shape:
        raise TypeError("cannot accumulate on a scalar")
    if not a.size:
        return finish(a.copy(), dtype, out)
    if running is not None:
        result = reductions.run_along(running, a, axis)
        as_truth = a.boolean and ufunc.__name__ in EXTREMES
        return finish(result != 0.0 if as_truth else result, dtype, out)
    results: list[Any] = []
    for part in steps_along(ufunc, a, axis):
        results.append(call_ufunc(ufunc, (results[-1], part)) if results else part)
    return finish(np.stack(results, axis=axis), dtype, out)


@implements_method("reduceat")
def reduceat(ufunc: Any, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """Record ufunc.reduceat: a reduction of each slice."""
    a = np.moveaxis(widened(to_array(array), dtype), axis, 0)
    starts = np.asarray(plain_integers(indices, "an index of reduceat"))
    if starts.size and not (starts.min() >= 0 and starts.max() < len(a)):
        raise IndexError(f"an index of {ufunc.__name__}.reduceat is out of bounds for an axis of {len(a)} elements")
    ends = [*starts[1:].tolist(), len(a)]
    parts = []
    for start, end in zip(starts.tolist(), ends, strict=True):
        parts.append(ufunc.reduce(a[start:end], axis=0) if end > start else a[start])
    return finish(np.moveaxis(np.stack(parts), 0, axis), dtype, out)


@implements_method("outer")
def outer(ufunc: Any, a: Any, b: Any, **keywords: Any) -> Any:
    """Record ufunc.outer: every element of one with every element of the other."""
    recorder = recorder_of(a, b)
    a, b = (part if isinstance(part, np.ndarray) else to_active(part, recorder) for part in (a, b))
    return ufunc(np.reshape(a, (*np.shape(a), *(1,) * np.ndim(b))), b, **keywords)


@implements_method("at")
def at(ufunc: Any, array: Any, indices: Any, values: Any = None) -> None:
    """Record ufunc.at: in place, repeated indices count each time."""
    array = writable(array, f"{ufunc.__name__}.at")
    given = given_among(indices)
    if given is not None and values is not None and ufunc.__name__ in ("add", "subtract"):
        total = given.add_up(array.recorder, to_array(values, array.recorder), indices, array.shape)
        array[...] = call_ufunc(ufunc, (array, total))
        return
    indices = tuple(plain_index(part) for part in indices) if isinstance(indices, tuple) else plain_index(indices)
    places = np.arange(array.size).reshape(array.shape)[indices]
    if values is None:
        if (find_op(ufunc) or BY_NAME["add"]).arity != 1:
            raise ValueError("second operand needed for ufunc")
        one_by_one(ufunc, array, np.asarray(places).reshape(-1), None)
        return
    values = to_array(values, array.recorder).broadcast_to(np.shape(places))
    if ufunc.__name__ in ("add", "subtract"):
        total = add_at(array.recorder, values, np.asarray(places), array.size)
        array[...] = call_ufunc(ufunc, (array, np.reshape(total, array.shape)))
    else:
        one_by_one(ufunc, array, np.asarray(places).reshape(-1), values.reshape(-1))


def one_by_one(ufunc: Any, array: Array, places: np.ndarray, values: Array | None) -> None:
    """Apply a ufunc at one place after the other, in rounds of distinct places."""
    left = np.arange(places.size)
    while left.size:
        distinct, first = np.unique(places[left], return_index=True)
        index = np.unravel_index(distinct, array.shape)
        operands = (array[index],) if values is None else (array[index], values[left[first]])
        array[index] = call_ufunc(ufunc, operands)
        left = np.delete(left, first)


def plain_index(index: Any) -> Any:
    """Return an index with recording truth values made concrete."""
    return concrete_key(index)
