"""Ufuncs that are compositions of ops, and the methods of ufuncs: reduce, accumulate, outer, at, reduceat."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from numbad.active import Active
from numbad.arrays import Array
from numbad.elementwise import record
from numbad.geometry import normal_axis
from numbad.indexing import concrete_key
from numbad.limits import LONGEST_FOLD
from numbad.numpy_api import reductions
from numbad.numpy_api.dispatch import (
    ADVICE,
    call_ufunc,
    find_op,
    finish,
    implements_method,
    implements_ufunc,
    plain_integers,
    recorder_of,
    to_active,
    to_array,
    unsupported,
    writable,
)
from numbad.ops import reductions as ops
from numbad.ops.definition import BY_NAME

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
    return x * np.ldexp(1.0, plain_integers(exponent, "the exponent of np.ldexp"))


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
    a = to_array(array)
    if not a.shape:
        axis = None
    if name == "add":
        return reductions.sum_(a, axis, dtype, out, keepdims, initial, where)
    if name == "multiply":
        return reductions.prod(a, axis, dtype, out, keepdims, initial, where)
    found = EXTREMES.get(name)
    if found is not None:
        return found(a, axis, out, keepdims, initial, where)
    if name == "logical_or":
        return reductions.any_(a, axis, out, keepdims, where=where)
    if name == "logical_and":
        return reductions.all_(a, axis, out, keepdims, where=where)
    if name in ("logaddexp", "logaddexp2") and initial is np._NoValue and where is True:
        from numbad.helpers import logsumexp

        scale = math.log(2.0) if name == "logaddexp2" else 1.0
        return finish(logsumexp(a * scale, axis=axis, keepdims=keepdims) / scale, dtype, out)
    if initial is not np._NoValue or where is not True or isinstance(axis, tuple):
        unsupported(f"{name}.reduce", "initial=, where= or several axes", "apply them first, then reduce one axis")
    return finish(fold(ufunc, a, axis, keepdims), dtype, out)


EXTREMES = {
    "maximum": reductions.max_,
    "minimum": reductions.min_,
    "fmax": reductions.nanmax,
    "fmin": reductions.nanmin,
}


def steps_along(ufunc: Any, a: Any, axis: Any) -> list[Any]:
    """Return the parts of an array along an axis, for a fold."""
    if axis is None:
        a, axis = a.reshape(-1), 0
    parts = list(np.moveaxis(a, normal_axis(axis, a.ndim), 0))
    if not parts:
        raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
    if len(parts) > LONGEST_FOLD:
        unsupported(f"{ufunc.__name__}.reduce", f"a chain of {len(parts)} steps", "use np.sum, np.prod or np.max")
    return parts


def fold(ufunc: Any, a: Array, axis: Any, keepdims: Any) -> Any:
    """Reduce by applying a ufunc from left to right."""
    if not a.shape:
        return a.item()
    first, *rest = steps_along(ufunc, a, axis)
    result = first
    for part in rest:
        result = call_ufunc(ufunc, (result, part))
    if keepdims:
        result = np.reshape(result, (1,) * a.ndim) if axis is None else np.expand_dims(result, axis)
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
    a = to_array(array)
    if not a.shape:
        raise TypeError("cannot accumulate on a scalar")
    if running is not None:
        return finish(reductions.run_along(running, a, axis), dtype, out)
    results: list[Any] = []
    for part in steps_along(ufunc, a, axis):
        results.append(call_ufunc(ufunc, (results[-1], part)) if results else part)
    return finish(np.stack(results, axis=axis), dtype, out)


@implements_method("reduceat")
def reduceat(ufunc: Any, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """Record ufunc.reduceat: a reduction of each slice."""
    a = np.moveaxis(to_array(array), axis, 0)
    starts = np.asarray(plain_integers(indices, "an index of reduceat"))
    ends = [*starts[1:].tolist(), len(a)]
    parts = []
    for start, end in zip(starts.tolist(), ends, strict=True):
        parts.append(ufunc.reduce(a[start:end], axis=0) if end > start else a[start])
    return finish(np.moveaxis(np.stack(parts), 0, axis), dtype, out)


@implements_method("outer")
def outer(ufunc: Any, a: Any, b: Any, **keywords: Any) -> Any:
    """Record ufunc.outer: every element of one with every element of the other."""
    a, b = np.asarray(a) if not isinstance(a, Active) else a, np.asarray(b) if not isinstance(b, Active) else b
    return ufunc(np.reshape(a, (*np.shape(a), *(1,) * np.ndim(b))), b, **keywords)


@implements_method("at")
def at(ufunc: Any, array: Any, indices: Any, values: Any = None) -> None:
    """Record ufunc.at: in place, repeated indices count each time."""
    array = writable(array, f"{ufunc.__name__}.at")
    indices = tuple(plain_index(part) for part in indices) if isinstance(indices, tuple) else plain_index(indices)
    places = np.arange(array.size).reshape(array.shape)[indices]
    if values is None:
        if (find_op(ufunc) or BY_NAME["add"]).arity != 1:
            raise ValueError("second operand needed for ufunc")
        array[indices] = call_ufunc(ufunc, (array[indices],))
        return
    values = to_array(values, array.recorder).broadcast_to(np.shape(places))
    if ufunc.__name__ in ("add", "subtract"):
        from numbad.numpy_api.blocks import add_at

        total = add_at(array.recorder, values, np.asarray(places), array.size)
        array[...] = call_ufunc(ufunc, (array, np.reshape(total, array.shape)))
    else:
        one_by_one(ufunc, array, np.asarray(places).reshape(-1), values.reshape(-1))


def one_by_one(ufunc: Any, array: Array, places: np.ndarray, values: Array) -> None:
    """Apply a ufunc at one place after the other, in rounds of distinct places."""
    left = np.arange(places.size)
    while left.size:
        distinct, first = np.unique(places[left], return_index=True)
        flat = array.reshape(-1) if array.strides is None else None
        index = distinct if flat is not None else np.unravel_index(distinct, array.shape)
        target = flat if flat is not None else array
        target[index] = call_ufunc(ufunc, (target[index], values[left[first]]))
        left = np.delete(left, first)


def plain_index(index: Any) -> Any:
    """Return an index with recording truth values made concrete."""
    return concrete_key(index)
