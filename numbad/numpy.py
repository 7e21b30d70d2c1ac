"""NumPy's names, for programs that build arrays from what they compute: `import numbad.numpy as np`.

NumPy asks the arguments of its functions whether they record, but not the elements of lists, and an array that
`np.zeros` made cannot hold recording values. Here the functions that make arrays (`array`, `asarray`, `zeros`,
`empty`, `eye`, ...) give recording arrays while a function is recorded, and functions of arrays take lists of recording
values. Everything else is NumPy's own, and so is everything while nothing is recorded.

Examples
--------
>>> import numbad
>>> import numbad.numpy as np
>>> def rotated_length(t):
...     turn = np.array([[np.cos(t), -1.0], [0.0, 1.0]])
...     found = np.zeros(2)
...     found[0] = (turn @ np.ones(2))[0]
...     return np.linalg.norm(found)
>>> numbad.gradient(rotated_length, 2.0)
0.9092974268256817
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy

from numbad.errors import RecordingError, message
from numbad.numpy_api import converting, functions
from numbad.numpy_api.converting import laid_out
from numbad.numpy_api.dispatch import FUNCTIONS
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.operands import holds_active
from numbad.recording.recorder import current

MAKERS = ("zeros", "ones", "empty", "eye", "identity", "tri", "diag_indices")
CONVERTERS = ("asarray", "asanyarray")
ORDERED = {"ascontiguousarray": ("C", 1), "asfortranarray": ("F", 0)}  # the order of the elements, the fewest axes
INSTEAD: dict[str, Any] = {}  # name -> what this module has in the place of NumPy's own


def is_floating(dtype: Any) -> bool:
    """Whether an array of a dtype can hold recording values."""
    return dtype is None or numpy.dtype(dtype).kind == "f"


def maker(name: str) -> Callable[..., Any]:
    """Make a function whose array can be written to by recording values."""
    own = getattr(numpy, name)

    def make(*arguments: Any, **keywords: Any) -> Any:
        made = own(*arguments, **keywords)
        if current() is None or not isinstance(made, numpy.ndarray) or made.dtype.kind != "f":
            return made
        return functions.zeros(made.shape) if name in ("zeros", "empty") else functions.array(made)

    make.__name__, make.__doc__ = name, own.__doc__
    return make


def array(object: Any, dtype: Any = None, *, copy: Any = True, **keywords: Any) -> Any:
    """As numpy.array; lists may hold recording values.

    Parameters
    ----------
    object : array_like
        Numbers, arrays, recording values, or nested lists and tuples of them.
    dtype : dtype, optional
        As in NumPy; while a function is recorded, floating dtypes give that of the recording.
    copy : bool, optional
        Whether to copy an array; True by default.
    **keywords
        NumPy's other ones. While a function is recorded, `ndmin` and `order` are taken into account.

    Returns
    -------
    ndarray
        A recording array where recording values or floating numbers are recorded, else a plain one.

    Examples
    --------
    >>> import numbad, numbad.numpy as np
    >>> numbad.gradient(lambda x: np.array([x, x * x]).sum(), 3.0)
    7.0
    """
    if current() is None or not is_floating(dtype):
        return numpy.array(object, dtype, copy=copy, **keywords)
    found = functions.asarray(object, dtype)
    if not isinstance(found, Active):
        return found
    result: Any = found
    while result.ndim < keywords.get("ndmin", 0):
        result = result[None]
    return laid_out(result, copy, keywords.get("order") or "K") if isinstance(result, Array) else result


def asarray(a: Any, dtype: Any = None, order: Any = None, **keywords: Any) -> Any:
    """As numpy.asarray; a recording array is given back as it is.

    Parameters
    ----------
    a : array_like
        Numbers, arrays, recording values, or nested lists and tuples of them.
    dtype : dtype, optional
        As in NumPy; while a function is recorded, floating dtypes give that of the recording.
    order : str, optional
        As in NumPy: a recording array that has it is given back as it is, another is copied.
    **keywords
        NumPy's other ones. While a function is recorded, `copy` alone is taken into account.

    Returns
    -------
    ndarray
        A recording array where recording values or floating numbers are recorded, else a plain one; an array of the
        dtype itself, without a copy.

    Examples
    --------
    >>> import numbad, numbad.numpy as np
    >>> numbad.gradient(lambda x: np.asarray([x, x * x]).sum(), 3.0)
    7.0
    """
    if current() is None:
        return numpy.asarray(a, dtype, order, **keywords)
    return array(a, dtype, copy=keywords.get("copy"), order=order or "K")


def ordered(name: str, order: str, ndmin: int) -> Callable[..., Any]:
    """Make a function whose array has its elements in an order: the array that is given, where it has that."""
    own = getattr(numpy, name)

    def make(a: Any, dtype: Any = None, **keywords: Any) -> Any:
        return own(a, dtype, **keywords) if current() is None else array(a, dtype, copy=None, order=order, ndmin=ndmin)

    make.__name__, make.__doc__ = name, own.__doc__
    return make


def require(a: Any, dtype: Any = None, requirements: Any = None, **keywords: Any) -> Any:
    """As numpy.require.

    Parameters
    ----------
    a : array_like
        Numbers, arrays, recording values, or nested lists and tuples of them.
    dtype : dtype, optional
        As in NumPy; while a function is recorded, floating dtypes give that of the recording.
    requirements : str or sequence of str, optional
        As in NumPy: an order of the elements, or memory of its own.
    **keywords
        NumPy's other ones; not looked at for recording values.

    Returns
    -------
    ndarray
        The array itself where it has what is required, else a copy.

    Raises
    ------
    ValueError
        When both orders are required.

    Examples
    --------
    >>> import numbad, numbad.numpy as np
    >>> numbad.gradient(lambda x: np.require(x.T, None, "C")[0, 1], np.eye(2)).tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    if current() is None or not isinstance(a, Active):
        return numpy.require(a, dtype, requirements, **keywords)
    return converting.require(a, dtype, requirements)


def full(shape: Any, fill_value: Any, dtype: Any = None, **keywords: Any) -> Any:
    """As numpy.full; the array can be written to by recording values.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of the array.
    fill_value : float, recording value or array_like
        The value of all elements, or an array that can be broadcast to the shape.
    dtype : dtype, optional
        As in NumPy; while a function is recorded, floating dtypes give that of the recording.
    **keywords
        NumPy's other ones; not looked at while a floating array is recorded.

    Returns
    -------
    ndarray
        An array of the shape; a recording one while a function is recorded, if it holds floats.

    Examples
    --------
    >>> import numbad, numbad.numpy as np
    >>> numbad.gradient(lambda x: np.full(3, x).sum(), 2.0)
    3.0
    """
    if current() is None or not is_floating(dtype) or not is_floating(getattr(fill_value, "dtype", None)):
        return numpy.full(shape, fill_value, dtype, **keywords)
    if dtype is None and isinstance(fill_value, (int, bool)):
        return numpy.full(shape, fill_value)
    return functions.full(shape, fill_value)


def fromiter(iter: Iterable[Any], dtype: Any, count: int = -1, **keywords: Any) -> Any:
    """As numpy.fromiter.

    Parameters
    ----------
    iter : iterable
        Numbers or recording values.
    dtype : dtype
        As in NumPy; while a function is recorded, floating dtypes give that of the recording.
    count : int
        How many to take; all if negative.
    **keywords
        Not looked at.

    Returns
    -------
    ndarray
        Of shape (count,).

    Examples
    --------
    >>> import numbad, numbad.numpy as np
    >>> numbad.gradient(lambda x: np.fromiter((k * x for k in range(3)), float).sum(), 2.0)
    3.0
    """
    values = list(iter)
    return array(values if count < 0 else values[:count], dtype)


class vectorize:
    """As numpy.vectorize: a Python function of numbers, called for each element.

    Parameters
    ----------
    pyfunc : callable
        A function of numbers that returns a number.
    *arguments, **keywords
        NumPy's options.

    Raises
    ------
    RecordingError
        When it is called with recording values and options were given.

    Notes
    -----
    One call of the function for each element, which records a row for each operation on it.

    Examples
    --------
    >>> import numbad, numbad.numpy as np
    >>> square = np.vectorize(lambda x: x * x if x > 0.0 else 0.0)
    >>> numbad.gradient(lambda x: square(x).sum(), np.array([-1.0, 3.0]))
    array([0., 6.])
    """

    def __init__(self, pyfunc: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        self.function = pyfunc
        self.own = numpy.vectorize(pyfunc, *arguments, **keywords)
        self.simple = not arguments and not keywords

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function for each element of the broadcast arguments."""
        if current() is None or not any(isinstance(part, Active) for part in arguments):
            return self.own(*arguments, **keywords)
        if not self.simple:
            raise RecordingError(message("np.vectorize with options is not recorded", "give the function alone"))
        parts = numpy.broadcast_arrays(*(asarray(part) for part in arguments))
        shape = parts[0].shape
        flats = [part.reshape(-1) for part in parts]
        found = array([self.function(*values, **keywords) for values in zip(*flats, strict=True)])
        return found.reshape(shape) if shape else found[0]


class ArrayKind(type):
    """Makes isinstance(x, np.ndarray) hold for recording arrays, so that a program takes the branch of arrays."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, (numpy.ndarray, Array))

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, (numpy.ndarray, Array))

    def __eq__(cls, kind: object) -> bool:
        return kind is cls or kind is numpy.ndarray or kind is Array

    def __hash__(cls) -> int:
        return hash(numpy.ndarray)


class ndarray(numpy.ndarray, metaclass=ArrayKind):
    """As numpy.ndarray in questions of kind: isinstance(x, np.ndarray), type(x) == np.ndarray."""


def of_arrays(name: str) -> Callable[..., Any]:
    """Make a function of arrays that takes lists of recording values too."""
    own = getattr(numpy, name)
    recorded = FUNCTIONS[own]

    def function(*arguments: Any, **keywords: Any) -> Any:
        if current() is not None and any(
            isinstance(part, (list, tuple)) and holds_active(part) and not any(isinstance(p, Array) for p in part)
            for part in arguments
        ):
            return recorded(*arguments, **keywords)
        return own(*arguments, **keywords)

    function.__name__, function.__doc__ = name, own.__doc__
    return function


INSTEAD.update({name: maker(name) for name in MAKERS})
INSTEAD.update(dict.fromkeys(CONVERTERS, asarray), require=require)
INSTEAD.update({name: ordered(name, *setting) for name, setting in ORDERED.items()})
INSTEAD.update(array=array, full=full, fromiter=fromiter, vectorize=vectorize, ndarray=ndarray)
OWN = frozenset(INSTEAD)  # others are entered when they are looked up


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__version__":
        raise AttributeError(name)
    if name not in INSTEAD:
        own = getattr(numpy, name)
        try:
            INSTEAD[name] = of_arrays(name) if own in FUNCTIONS else own
        except TypeError:  # not hashable
            INSTEAD[name] = own
    return INSTEAD[name]


def __dir__() -> list[str]:
    return dir(numpy)
