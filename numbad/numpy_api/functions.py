"""What NumPy lacks, or cannot dispatch: arrays to write to, and functions of statistics and learning."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.ops import exponential, selection, special  # noqa: F401  the ops below are found by name
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.arrays import as_array
from numbad.recording.blocks import repeated
from numbad.recording.operands import as_active, holds_active, recorder_of, stack_nested
from numbad.recording.recorder import current

relu = BY_NAME["relu"]
sigmoid = BY_NAME["sigmoid"]
softplus = BY_NAME["softplus"]
erf = BY_NAME["erf"]
erfc = BY_NAME["erfc"]
erfcx = BY_NAME["erfcx"]
erfinv = BY_NAME["erfinv"]
xlogy = BY_NAME["xlogy"]


# ---------------------------------------------------------------- arrays to write to


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Return an array of one value: while a function is recorded, one that recording values can be assigned to.

    Examples
    --------
    >>> import numbad
    >>> def f(x):
    ...     y = numbad.zeros(3)
    ...     y[1] = x * x
    ...     return y.sum()
    >>> numbad.gradient(f, 3.0)
    6.0
    """
    recorder = fill_value.recorder if isinstance(fill_value, Active) else current()
    if recorder is None or (dtype is not None and np.dtype(dtype).kind != "f"):
        return np.full(shape, fill_value, dtype if dtype is not None else float)
    wanted = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    value = as_array(as_active(recorder, fill_value))
    if value.shape:
        return value.broadcast_to(wanted).copy()
    return as_array(repeated(recorder, value.item().address, wanted))


def zeros(shape: Any, dtype: Any = None) -> Any:
    """Return zeros: while a function is recorded, an array that recording values can be assigned to."""
    return full(shape, 0.0, dtype)


def ones(shape: Any, dtype: Any = None) -> Any:
    """Return ones: while a function is recorded, an array that recording values can be assigned to."""
    return full(shape, 1.0, dtype)


def empty(shape: Any, dtype: Any = None) -> Any:
    """Return an array to be filled; it holds zeros."""
    return full(shape, 0.0, dtype)


def array(values: Any, dtype: Any = None) -> Any:
    """Return an array of numbers, recording values and nested sequences of them; always a copy.

    Examples
    --------
    >>> import numbad
    >>> numbad.gradient(lambda x: numbad.array([x, 2.0 * x, 1.0]).sum(), 3.0)
    3.0
    """
    found = asarray(values, dtype)
    return found.copy()


def asarray(values: Any, dtype: Any = None) -> Any:
    """Return numbers, recording values and nested sequences of them as an array; an array as it is."""
    if isinstance(values, Active):
        return as_array(values)
    if isinstance(values, (list, tuple)) and holds_active(values):
        return stack_nested(values)
    if isinstance(values, np.ndarray) and values.dtype == object and values.size:
        return as_array(as_active(recorder_of(values), values))
    found = np.asarray(values, dtype)
    recorder = current()
    return found if recorder is None or found.dtype.kind != "f" else as_array(as_active(recorder, found))


def where(condition: Any, x: Any, y: Any) -> Any:
    """Select `x` where the condition holds, else `y`; what is not selected has derivative 0, whatever its value."""
    return np.where(condition, x, y)


# ---------------------------------------------------------------- exponentials over axes


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """Return log(sum(b * exp(a))) without overflow, right in the tails.

    Parameters
    ----------
    a : array_like
        Exponents; -inf adds nothing.
    axis : None, int or tuple of int
        The axes to sum over; all by default.
    b : array_like, optional
        Weights, which may be zero or negative.
    keepdims : bool
        Keep the axes with length 1.
    return_sign : bool
        Return the logarithm of the absolute value, and the sign; else a negative sum gives NaN.

    Returns
    -------
    number or array
        Its derivative with respect to `a` is the softmax (times the weights).

    Examples
    --------
    >>> import numpy as np, numbad
    >>> float(numbad.logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    >>> numbad.gradient(numbad.logsumexp, np.array([0.0, 0.0]))
    array([0.5, 0.5])
    """
    a, b = numeric(a), None if b is None else numeric(b)
    if b is not None:
        a = np.where(b == 0.0, -np.inf, a)
        b = b + np.zeros(np.shape(a))
    if not np.size(a):
        found: Any = np.full(np.shape(np.sum(a, axis=axis, keepdims=keepdims)), -np.inf)[()]
        return (found, np.zeros(np.shape(found))[()]) if return_sign else found
    top = shift_of(a, axis)
    with np.errstate(all="ignore"):
        powers = np.exp(a - top)
        total = np.sum(powers if b is None else b * powers, axis=axis, keepdims=keepdims)
        top = top if keepdims else np.reshape(top, np.shape(total))
        size = np.abs(total) if return_sign else total
        found = logarithm(size) + top
    return (found, np.sign(total)) if return_sign else found


def numeric(value: Any) -> Any:
    """Return an operand as a recording value or an array of floats."""
    if isinstance(value, Active):
        return value
    found = asarray(value)
    return found if isinstance(found, Active) or found.dtype.kind == "f" else found.astype(float)


def shift_of(a: Any, axis: Any) -> Any:
    """Return the largest exponent, kept in its axes, as a constant; 0 where it is not finite."""
    top = np.max(a, axis=axis, keepdims=True)
    held = BY_NAME["stop_gradient"](top)
    return np.where(np.isposinf(held) | np.isneginf(held), 0.0, held)


def logarithm(x: Any) -> Any:
    """Return log(x); its derivative is 0 where x is 0, for a sum of no terms depends on nothing."""
    return np.where(x == 0.0, -np.inf, np.log(np.where(x == 0.0, 1.0, x)))


def softmax(x: Any, axis: Any = None) -> Any:
    """Return exp(x) / sum(exp(x)) over axes (all by default) without overflow.

    Examples
    --------
    >>> import numbad
    >>> numbad.softmax([0.0, 0.0])
    array([0.5, 0.5])
    """
    x = numeric(x)
    if not np.size(x):
        return x * 1.0
    with np.errstate(all="ignore"):
        powers = np.exp(x - BY_NAME["stop_gradient"](np.max(x, axis=axis, keepdims=True)))
        return powers / np.sum(powers, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """Return log(softmax(x)), right where the softmax is nearly 0 or 1.

    Examples
    --------
    >>> import numbad
    >>> numbad.log_softmax([1000.0, 1.0])
    array([   0., -999.])
    """
    x = numeric(x)
    if not np.size(x):
        return x * 1.0
    with np.errstate(all="ignore"):
        shifted = x - shift_of(x, axis)
        return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
