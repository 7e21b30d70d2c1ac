"""What NumPy lacks, or cannot dispatch: arrays to write to, and functions of statistics and learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.ops import exponential, selection, special  # noqa: F401  the ops below are found by name
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.arrays import as_array
from numbad.recording.blocks import repeated
from numbad.recording.operands import as_active, holds_active, recorder_of, stack_nested
from numbad.recording.recorder import current

if TYPE_CHECKING:
    from numbad.types import Arrays

relu = BY_NAME["relu"]
sigmoid = BY_NAME["sigmoid"]
softplus = BY_NAME["softplus"]
erf = BY_NAME["erf"]
erfc = BY_NAME["erfc"]
erfcx = BY_NAME["erfcx"]
erfinv = BY_NAME["erfinv"]
xlogy = BY_NAME["xlogy"]


# ---------------------------------------------------------------- arrays to write to


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Arrays:
    """Return an array of one value: while a function is recorded, one that recording values can be assigned to.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the array.
    fill_value : float, recording value or array_like
        The value of all elements, or an array that can be broadcast to the shape.
    dtype : dtype, optional
        float64 by default. While a function is recorded, floating dtypes give the dtype of the recording (float32 if
        all its arrays are, else float64); other dtypes give a plain NumPy array.

    Returns
    -------
    ndarray
        An array of the given shape and dtype. While a function is recorded, a recording array, to whose elements
        recording values can be assigned.

    Raises
    ------
    ValueError
        When the fill value cannot be broadcast to the shape.
    RecordingError
        When the fill value records and `dtype` is an integer or boolean one.

    Examples
    --------
    >>> import numbad
    >>> def f(x):
    ...     y = numbad.full(3, x)
    ...     y[1] = x * x
    ...     return y.sum()
    >>> numbad.gradient(f, 3.0)
    8.0
    """
    recorder = fill_value.recorder if isinstance(fill_value, Active) else current()
    if recorder is None or (dtype is not None and np.dtype(dtype).kind != "f"):
        return np.full(shape, fill_value, dtype if dtype is not None else float)
    wanted = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    if any(n < 0 for n in wanted):
        raise ValueError("negative dimensions are not allowed")
    value = as_array(as_active(recorder, fill_value))
    if value.shape:
        return value.broadcast_to(wanted).copy()
    return as_array(repeated(recorder, value.item().address, wanted))


def zeros(shape: Any, dtype: Any = None) -> Arrays:
    """Return zeros: while a function is recorded, an array that recording values can be assigned to.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the array.
    dtype : dtype, optional
        float64 by default. While a function is recorded, floating dtypes give the dtype of the recording (float32 if
        all its arrays are, else float64); other dtypes give a plain NumPy array.

    Returns
    -------
    ndarray
        Zeros of the given shape and dtype. While a function is recorded, a recording array, to whose elements recording
        values can be assigned.

    Raises
    ------
    ValueError
        Outside of a recording, for negative lengths.

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
    return full(shape, 0.0, dtype)


def ones(shape: Any, dtype: Any = None) -> Arrays:
    """Return ones: while a function is recorded, an array that recording values can be assigned to.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the array.
    dtype : dtype, optional
        float64 by default. While a function is recorded, floating dtypes give the dtype of the recording (float32 if
        all its arrays are, else float64); other dtypes give a plain NumPy array.

    Returns
    -------
    ndarray
        Ones of the given shape and dtype. While a function is recorded, a recording array, to whose elements recording
        values can be assigned.

    Raises
    ------
    ValueError
        Outside of a recording, for negative lengths.

    Examples
    --------
    >>> import numbad
    >>> def f(x):
    ...     y = numbad.ones(3)
    ...     y[0] = x
    ...     return y.prod()
    >>> numbad.gradient(f, 3.0)
    1.0
    """
    return full(shape, 1.0, dtype)


def empty(shape: Any, dtype: Any = None) -> Arrays:
    """Return an array to be filled; it holds zeros.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the array.
    dtype : dtype, optional
        float64 by default. While a function is recorded, floating dtypes give the dtype of the recording (float32 if
        all its arrays are, else float64); other dtypes give a plain NumPy array.

    Returns
    -------
    ndarray
        Zeros of the given shape and dtype. While a function is recorded, a recording array, to whose elements recording
        values can be assigned.

    Raises
    ------
    ValueError
        Outside of a recording, for negative lengths.

    Examples
    --------
    >>> import numbad
    >>> def f(x):
    ...     y = numbad.empty(2)
    ...     y[0], y[1] = x, 2.0 * x
    ...     return y.sum()
    >>> numbad.gradient(f, 3.0)
    3.0
    """
    return full(shape, 0.0, dtype)


def array(values: Any, dtype: Any = None) -> Arrays:
    """Return an array of numbers, recording values and nested sequences of them; always a copy.

    Parameters
    ----------
    values : array_like
        Numbers, arrays, recording values, or nested lists and tuples of them with equal lengths.
    dtype : dtype, optional
        As in NumPy. Where recording values are among the values, as `x.astype(dtype, copy=False)`.

    Returns
    -------
    ndarray
        A new array, a recording one while a function is recorded, unless it holds integers or truth values.

    Raises
    ------
    ValueError
        When nested sequences differ in length.
    RecordingError
        When recording values stand beside text or other objects.

    Notes
    -----
    The values are copied once; while a function is recorded, the copy is a row of the tape.

    Examples
    --------
    >>> import numbad
    >>> numbad.gradient(lambda x: numbad.array([x, 2.0 * x, 1.0]).sum(), 3.0)
    3.0
    """
    found = asarray(values, dtype)
    return found.copy()


def asarray(values: Any, dtype: Any = None) -> Arrays:
    """Return numbers, recording values and nested sequences of them as an array; an array as it is.

    Parameters
    ----------
    values : array_like
        Numbers, arrays, recording values, or nested lists and tuples of them with equal lengths.
    dtype : dtype, optional
        As in NumPy. Where recording values are among the values, as `x.astype(dtype, copy=False)`.

    Returns
    -------
    ndarray
        The array. Outside of a recording an array of the dtype is returned itself, without a copy; a recording array
        always is.

    Raises
    ------
    ValueError
        When nested sequences differ in length.
    RecordingError
        When recording values stand beside text or other objects.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.asarray([1.0, 2.0])
    array([1., 2.])
    >>> numbad.gradient(lambda x: np.sum(numbad.asarray([x, x * x])), 3.0)
    7.0
    """
    if isinstance(values, Active):
        return converted(as_array(values), dtype)
    if isinstance(values, (list, tuple)) and holds_active(values):
        return converted(stack_nested(values, dtype), dtype)
    if isinstance(values, np.ndarray) and values.dtype == object and values.size:
        return converted(as_array(as_active(recorder_of(values), values)), dtype)
    found = np.asarray(values, dtype)
    recorder = current()
    return found if recorder is None or found.dtype.kind != "f" else as_array(as_active(recorder, found))


def converted(values: Any, dtype: Any) -> Any:
    """Return a recording array in a dtype, as it is where none is asked for."""
    return values if dtype is None else values.astype(dtype, copy=False)


def where(condition: Any, x: Any, y: Any) -> Arrays:
    """Select `x` where the condition holds, else `y`; what is not selected has derivative 0, whatever its value.

    Parameters
    ----------
    condition : bool or array_like of bool
        Where to take `x`.
    x, y : array_like
        The values, broadcast with the condition.

    Returns
    -------
    ndarray
        Of the shape that the three are broadcast to; of shape () for numbers.

    Raises
    ------
    ValueError
        When the shapes cannot be broadcast.

    Notes
    -----
    This is `np.where`. Both values are computed everywhere; a NaN or an infinite derivative of what is not selected
    does not reach the gradient.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> with np.errstate(divide="ignore"):
    ...     numbad.gradient(lambda x: np.sum(numbad.where(x > 1.0, np.log(x - 1.0), x)), np.array([1.0, 3.0]))
    array([1. , 0.5])
    """
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
        Weights, which may be zero or negative, broadcast with `a`.
    keepdims : bool
        Keep the axes with length 1.
    return_sign : bool
        Return the logarithm of the absolute value, and the sign; else a negative sum gives NaN.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `a` without the axes that are summed; a pair of them with `return_sign`. The derivative
        with respect to `a` is the softmax (times the weights).

    Raises
    ------
    AxisError
        When `a` does not have the axis (`numpy.exceptions.AxisError`).

    Notes
    -----
    The largest exponent is subtracted first and added again. An empty sum is -inf.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
       *IMA Journal of Numerical Analysis* 41 (2021), 2311-2330.

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


def softmax(x: Any, axis: Any = None) -> Arrays:
    """Return exp(x) / sum(exp(x)) over axes (all by default) without overflow.

    Parameters
    ----------
    x : array_like
        Numbers; -inf gives 0 where others are finite, and NaN where all are -inf.
    axis : None, int or tuple of int
        The axes over which the exponentials are summed; all by default.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Raises
    ------
    AxisError
        When `x` does not have the axis (`numpy.exceptions.AxisError`).

    Notes
    -----
    The largest element is subtracted first, and its derivative, which cancels, is not recorded.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
       *IMA Journal of Numerical Analysis* 41 (2021), 2311-2330.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> numbad.softmax([0.0, 0.0])
    array([0.5, 0.5])
    >>> numbad.softmax(np.zeros((2, 4)), axis=1)
    array([[0.25, 0.25, 0.25, 0.25],
           [0.25, 0.25, 0.25, 0.25]])
    """
    x = numeric(x)
    if not np.size(x):
        return x * 1.0
    with np.errstate(all="ignore"):
        powers = np.exp(x - BY_NAME["stop_gradient"](np.max(x, axis=axis, keepdims=True)))
        return powers / np.sum(powers, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Arrays:
    """Return log(softmax(x)), right where the softmax is nearly 0 or 1.

    Parameters
    ----------
    x : array_like
        Numbers; -inf gives -inf where others are finite, and NaN where all are -inf.
    axis : None, int or tuple of int
        The axes over which the exponentials are summed; all by default.

    Returns
    -------
    float or ndarray of float64 or float32
        Of the shape of `x`; float32 if `x` is, else float64.

    Raises
    ------
    AxisError
        When `x` does not have the axis (`numpy.exceptions.AxisError`).

    Notes
    -----
    The largest element is subtracted first, and its derivative, which cancels, is not recorded.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
       *IMA Journal of Numerical Analysis* 41 (2021), 2311-2330.

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
