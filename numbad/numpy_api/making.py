"""Making arrays like others, copying, rounding, and what NumPy tells about an array without its values."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from numbad.errors import message
from numbad.numpy_api.dispatch import called_name, doubled, finish, implements, in_dtype, plain_integers, unsupported
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array, plain_order
from numbad.recording.blocks import relabel, repeated, zeros
from numbad.recording.conversion import is_printed
from numbad.recording.decisions import decide
from numbad.recording.operands import demote, recorder_of, to_active, to_array
from numbad.recording.recorder import refuse


def like_shape(a: Any, shape: Any) -> tuple[int, ...]:
    """Return the shape of an array like another."""
    if shape is None:
        return np.shape(a)
    return (int(shape),) if np.ndim(shape) == 0 else tuple(shape)


def is_integer(dtype: Any) -> bool:
    """Whether a dtype is for counting, so that the array can be a plain one."""
    return dtype is not None and np.dtype(dtype).kind in "iu"


def alike(a: Any, value: Any, dtype: Any, order: str, shape: Any) -> Any:
    """Return a recording array like another, filled with one value; a plain one for integers."""
    wanted = like_shape(a, shape)
    if is_integer(dtype):
        return np.full(wanted, value, dtype, order="F" if order == "F" else "C")
    active = to_active(a)
    recorder = active.recorder
    filling = to_array(value, recorder)
    boolean = active.boolean if dtype is None else np.dtype(dtype).kind == "b"
    if boolean and not filling.boolean:
        filling = as_array(filling != 0.0)
    if filling.shape:
        found: Any = filling.broadcast_to(wanted).copy()
    else:
        found = as_array(repeated(recorder, filling.item().address, wanted, boolean))
    if dtype is not None:
        found = in_dtype(found, np.dtype(dtype))
    return found.copy(order) if order in "FA" and plain_order(as_array(active), order) == "F" else found


@implements("zeros_like", "empty_like")
def zeros_like(a: Any = None, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
               prototype: Any = None, device: Any = None) -> Any:  # fmt: skip
    """Zeros that recording values can be assigned to."""
    return alike(prototype if a is None else a, 0.0, dtype, order, shape)


@implements("ones_like")
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Any:  # fmt: skip
    """Ones that recording values can be assigned to."""
    return alike(a, 1.0, dtype, order, shape)


@implements("full_like")
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
              device: Any = None) -> Any:  # fmt: skip
    """One value everywhere, in an array that recording values can be assigned to."""
    if not isinstance(a, Active):
        recorder = recorder_of(a, fill_value)
        if np.asarray(a).dtype.kind in "iu" and dtype is None:
            unsupported("full_like", "an array of integers", "give dtype=float: integers have no derivative")
        a = to_array(a, recorder)
    return alike(a, fill_value, dtype, order, shape)


@implements("copy")
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """An array that shares no memory."""
    return to_active(a).copy(order)


# ---------------------------------------------------------------- rounding and cleaning


@implements("round", "around")
def round_(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Rounded to decimals: piecewise constant, derivative 0."""
    a = to_active(a)
    if decimals == 0:
        return finish(np.rint(a), None, out)
    scale = 10.0 ** abs(decimals)
    return finish(np.rint(a * scale) / scale if decimals > 0 else np.rint(a / scale) * scale, None, out)


@implements("fix")
def fix(x: Any, out: Any = None) -> Any:
    """Rounded towards zero: piecewise constant, derivative 0."""
    return finish(np.trunc(to_active(x)), None, out)


@implements("clip")
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None,
         **keywords: Any) -> Any:  # fmt: skip
    """Limited to an interval, as minimum(maximum(x, low), high): split evenly at a bound."""
    low = a_min if min is None or min is np._NoValue else min
    high = a_max if max is None or max is np._NoValue else max
    low, high = (None if end is np._NoValue else end for end in (low, high))
    result: Any = to_active(a, recorder_of(a, low, high))
    if low is not None:
        result = np.maximum(result, low)
    if high is not None:
        result = np.minimum(result, high)
    if low is None and high is None:
        raise ValueError(
            message("np.clip: neither a lower nor an upper bound is given", "give one of them, or write x.copy()")
        )
    if not keywords and out is None:
        return result
    return np.positive(result, out=out, **keywords)


@implements("nan_to_num")
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN and infinities replaced by numbers."""
    x = to_active(x)
    limits = np.finfo(x.dtype)
    result = np.where(np.isnan(x), nan, x)
    result = np.where(x == np.inf, limits.max if posinf is None else posinf, result)
    result = np.where(x == -np.inf, limits.min if neginf is None else neginf, result)
    if not copy and isinstance(x, Array):
        x[...] = result
        return x
    return result


# ---------------------------------------------------------------- real numbers


@implements("real", "real_if_close")
def real(val: Any, tol: Any = None) -> Any:
    """The value itself."""
    return to_active(val)


@implements("imag")
def imag(val: Any) -> Any:
    """Zeros."""
    active = to_active(val)
    return demote(as_array(zeros(active.recorder, active.shape)))


@implements("angle")
def angle(z: Any, deg: bool = False) -> Any:
    """0 for positive numbers, pi for negative ones: derivative 0."""
    return np.where(np.signbit(to_active(z)), 180.0 if deg else np.pi, 0.0)


@implements("isreal")
def isreal(x: Any) -> Any:
    """True everywhere."""
    return np.ones(np.shape(x), bool)[()]


@implements("iscomplex")
def iscomplex(x: Any) -> Any:
    """False everywhere."""
    return np.zeros(np.shape(x), bool)[()]


@implements("isrealobj")
def isrealobj(x: Any) -> bool:
    """True: recording values are real."""
    return True


@implements("iscomplexobj")
def iscomplexobj(x: Any) -> bool:
    """False: recording values are real."""
    return False


@implements("isposinf")
def isposinf(x: Any, out: Any = None) -> Any:
    """Whether it is plus infinity."""
    return finish(to_active(x) == np.inf, None, out)


@implements("isneginf")
def isneginf(x: Any, out: Any = None) -> Any:
    """Whether it is minus infinity."""
    return finish(to_active(x) == -np.inf, None, out)


# ---------------------------------------------------------------- dtypes and memory


def standing(value: Any) -> Any:
    """Return a dtype, number or plain array in place of a recording value."""
    return value.dtype if isinstance(value, Active) else value


@implements("result_type")
def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype of a result."""
    return np.result_type(*(standing(part) for part in arrays_and_dtypes))


@implements("can_cast")
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether a dtype can be cast to another."""
    return np.can_cast(standing(from_), to, casting)


@implements("min_scalar_type")
def min_scalar_type(a: Any) -> np.dtype:
    """The dtype."""
    return to_active(a).dtype


@implements("common_type")
def common_type(*arrays: Any) -> type:
    """The scalar type that holds all arrays."""
    return np.common_type(*(np.empty(0, standing(a)) if isinstance(a, Active) else a for a in arrays))


@implements("may_share_memory", "shares_memory")
def shares_memory(a: Any, b: Any, /, max_work: Any = None) -> bool:
    """Whether two recording arrays are views of one storage."""
    return isinstance(a, Array) and isinstance(b, Array) and a.storage is b.storage


def text_by(function: str, array: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """Return the text of an array now; it is a decision, and guarded, unless it is only printed."""
    if is_printed():
        return getattr(np, function)(np.asarray(to_active(array).value()), *arguments, **keywords)
    return decide("array_text", array, function=function, arguments=arguments, keywords=keywords)


@implements("array_repr")
def array_repr(arr: Any, *args: Any, **kwargs: Any) -> str:
    """The values now, as NumPy writes an array of them."""
    return text_by("array_repr", arr, args, kwargs)


@implements("array_str")
def array_str(a: Any, *args: Any, **kwargs: Any) -> str:
    """The values now as text."""
    return text_by("array_str", a, args, kwargs)


@implements("array2string")
def array2string(a: Any, *args: Any, **kwargs: Any) -> str:
    """The values now as text, in a form of one's own."""
    return text_by("array2string", a, args, kwargs)


@implements("save", "savez", "savez_compressed", "savetxt")
def save(*args: Any, **kwargs: Any) -> Any:
    """Refuse: recording values are not for files."""
    return refuse(
        f"{called_name()}: a recording value cannot be saved", "return it from the function, and save the result"
    )


@implements("linspace")
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
             axis: int = 0, *, device: Any = None) -> Any:  # fmt: skip
    """Evenly spaced numbers between recorded ends."""
    recorder = recorder_of(start, stop)
    if dtype is not None and np.dtype(dtype) == np.float64:
        recorder.promote(np.dtype(dtype))
    start, stop = to_active(start, recorder), to_active(stop, recorder)
    num = operator.index(plain_integers(num, "the number of points"))
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    intervals = num - 1 if endpoint else num
    part = np.asarray(np.arange(num) / max(intervals, 1), recorder.dtype)
    part = part.reshape((-1,) + (1,) * max(start.ndim, stop.ndim))
    width = stop - start
    points = start + part * width
    if endpoint and num > 1:
        points = np.concatenate(
            [points[:-1], np.reshape(np.broadcast_to(stop, np.shape(width)), (1, *np.shape(width)))]
        )
    points = np.moveaxis(points, 0, axis) if axis else points
    points = finish(points, dtype)
    return (points, width / intervals if intervals > 0 else np.nan) if retstep else points


@implements("logspace")
def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None,
             axis: int = 0) -> Any:  # fmt: skip
    """Numbers evenly spaced on a logarithmic scale."""
    recorder = recorder_of(start, stop, base)
    if dtype is not None and np.dtype(dtype) == np.float64:
        recorder.promote(np.dtype(dtype))
    if np.ndim(base):  # it varies beside the ends, so the new axis comes before its own, too
        if not all(isinstance(part, (Active, np.ndarray)) for part in (start, stop)):
            doubled(start, stop, base)
        count = max(np.ndim(start), np.ndim(stop), np.ndim(base))
        start, stop, base = (
            part.reshape((1,) * (count - part.ndim) + part.shape)
            for part in (to_array(given, recorder) for given in (start, stop, base))
        )
        base = np.expand_dims(base, axis)
    return finish(np.power(base, linspace(to_active(start, recorder), stop, num, endpoint, axis=axis)), dtype)


@implements("geomspace")
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Numbers in geometric progression."""
    recorder = recorder_of(start, stop)
    if dtype is not None and np.dtype(dtype) == np.float64:
        recorder.promote(np.dtype(dtype))
    start, stop = to_active(start, recorder), to_active(stop, recorder)
    if dtype is None:
        doubled(start)
    sign = np.sign(start + 0.0 * stop)
    points = sign * np.exp(linspace(np.log(sign * start), np.log(sign * stop), num, endpoint))
    return finish(np.moveaxis(points, 0, axis) if axis else points, dtype)


@implements("astype")
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """The array as another floating-point dtype."""
    return to_active(x).astype(dtype)


@implements("resize")
def resize(a: Any, new_shape: Any) -> Any:
    """The flattened elements repeated until they fill a shape."""
    return relabel(to_array(a), lambda addresses: np.resize(addresses, new_shape))


@implements("diag_indices_from")
def diag_indices_from(arr: Any) -> Any:
    """Indices of the main diagonal."""
    return np.diag_indices_from(np.empty(np.shape(arr), bool))


@implements("tril_indices_from")
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """Indices of the lower triangle."""
    return np.tril_indices_from(np.empty(np.shape(arr), bool), k)


@implements("triu_indices_from")
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """Indices of the upper triangle."""
    return np.triu_indices_from(np.empty(np.shape(arr), bool), k)
