"""Functions of NumPy that make arrays of lists and numbers, for lists that hold recording values.

They take the places of NumPy's own in functions that are recorded again (`recording/filling.py`), wherever these are
looked up: as `np.array`, under another name, or in a closure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from numbad.numpy_api import functions, mathematics
from numbad.recording.active import given_among, involves
from numbad.recording.arrays import as_array
from numbad.recording.recorder import current


def is_floating(dtype: Any) -> bool:
    """Whether an array of a dtype can hold recording values."""
    return dtype is None or np.dtype(dtype).kind == "f"


def taking(own: Any, recorded: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that hands recording values to a version of its own, and all else to NumPy's."""

    def make(*arguments: Any, **keywords: Any) -> Any:
        if current() is None:
            return own(*arguments, **keywords)
        if involves(arguments) or involves(keywords.values()):
            return recorded(*arguments, **keywords)
        known = given_among(arguments)  # integers that may be others in the next run: then the array is
        return own(*arguments, **keywords) if known is None else known.apply(own, *arguments, **keywords)

    make.__name__, make.__doc__ = own.__name__, own.__doc__
    return make


def array(object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", ndmin: int = 0,
          **keywords: Any) -> Any:  # fmt: skip
    """As np.array."""
    if not is_floating(dtype):
        return np.array(object, dtype, copy=copy, order=order, ndmin=ndmin, **keywords)
    result = as_array(functions.asarray(object, dtype))
    while result.ndim < ndmin:
        result = result[None]
    return laid_out(result, copy, order)


def laid_out(result: Any, copy: Any, order: str) -> Any:
    """Return an array in an order of its elements: itself where it has that, for then it shares memory as in NumPy."""
    misses = order in ("C", "F") and not result.flags[order]
    if misses and copy is not None and not copy:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    return result.copy(order) if copy or misses else result


def asarray(a: Any, dtype: Any = None, order: str | None = None, *, copy: Any = None, **keywords: Any) -> Any:
    """As np.asarray: a recording array is given back as it is."""
    return array(a, dtype, copy=copy, order=order or "K", **keywords)


def ascontiguousarray(a: Any, dtype: Any = None, **keywords: Any) -> Any:
    """As np.ascontiguousarray: at least one axis."""
    return array(a, dtype, copy=None, order="C", ndmin=1, **keywords)


def asfortranarray(a: Any, dtype: Any = None, **keywords: Any) -> Any:
    """As np.asfortranarray."""
    return array(a, dtype, copy=None, order="F", **keywords)


def asarray_chkfinite(a: Any, dtype: Any = None, order: str | None = None) -> Any:
    """As np.asarray_chkfinite: the answer is guarded."""
    found = asarray(a, dtype, order)
    if not np.isfinite(found).all():
        raise ValueError("array must not contain infs or NaNs")
    return found


def require(a: Any, dtype: Any = None, requirements: Any = None, **keywords: Any) -> Any:
    """As np.require: a copy only where the array lacks what is required of it."""
    np.require(np.zeros(0), None, requirements)  # an error of NumPy's for what it does not know
    required = {str(name).upper()[0] for name in requirements or ()}
    if {"C", "F"} <= required:
        raise ValueError("Cannot specify both 'C' and 'F' order")
    found = array(a, dtype, copy=None, order="F" if "F" in required else "C" if "C" in required else "K", **keywords)
    return found.copy("F" if "F" in required else "C") if "O" in required and not found.flags["O"] else found


def full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **keywords: Any) -> Any:
    """As np.full."""
    if not is_floating(dtype):
        return np.full(shape, fill_value, dtype, order, **keywords)
    made = np.full(shape, 0.0, dtype, **keywords)
    found: Any = functions.full(made.shape, functions.asarray(fill_value, dtype))
    return found.copy("F") if order == "F" else found


def fromiter(iter: Iterable[Any], dtype: Any, count: int = -1, **keywords: Any) -> Any:
    """As np.fromiter."""
    values = list(iter)
    if current() is None or not involves(values):
        return np.fromiter(values, dtype, count, **keywords)
    if count > len(values):
        raise ValueError(f"iterator too short: Expected {count} but iterator had only {len(values)} items.")
    return array(values if count < 0 else values[:count], dtype)


def ndenumerate(arr: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """As np.ndenumerate: the elements as they are when their turn comes."""
    found = as_array(functions.asarray(arr))
    return ((index, found[index]) for index in np.ndindex(found.shape))


RECORDED: dict[Any, Callable[..., Any]] = {
    np.array: array,
    np.asarray: asarray,
    np.asanyarray: asarray,
    np.asarray_chkfinite: asarray_chkfinite,
    np.ascontiguousarray: ascontiguousarray,
    np.asfortranarray: asfortranarray,
    np.require: require,
    np.full: full,
    np.ndenumerate: ndenumerate,
}


def replacements() -> dict[int, tuple[Any, Any]]:
    """Return functions of NumPy and Python and what takes their places, by the identities of the former."""
    found = {id(own): (own, taking(own, recorded)) for own, recorded in RECORDED.items()}
    return found | {id(np.fromiter): (np.fromiter, fromiter)} | mathematics.replacements()
