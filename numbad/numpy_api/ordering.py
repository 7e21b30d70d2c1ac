"""Order, positions and tests of equality: concrete answers about values now, guarded; and sorted values."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import message
from numbad.numpy_api.axes import one_axis
from numbad.numpy_api.dispatch import ADVICE, implements, plain_integers
from numbad.ops import reductions as ops
from numbad.recording.arrays import Array, as_array
from numbad.recording.decisions import decide, decision, of_stacks, truth_of
from numbad.recording.operands import demote, to_array, to_arrays

for _function in (np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort, np.argpartition, np.searchsorted,
                  np.digitize, np.lexsort, np.isin):  # fmt: skip
    decision(_function)


@decision
def unique_places(values: np.ndarray, axis: Any, equal_nan: bool) -> tuple[np.ndarray, ...]:
    """Where the distinct values stand first, where each element is found among them, and how often."""
    return np.unique(values, True, True, True, axis=axis, equal_nan=equal_nan)[1:]


@decision
def all_equal(one: np.ndarray, other: np.ndarray, equal_nan: bool) -> bool:
    """Whether all elements are equal."""
    return np.array_equal(one, other, equal_nan=equal_nan)


@decision
def all_close(one: np.ndarray, other: np.ndarray, rtol: float, atol: float, equal_nan: bool) -> bool:
    """Whether all elements are nearly equal."""
    return np.allclose(one, other, rtol, atol, equal_nan)


@decision
def matrix_ranks(values: np.ndarray, keywords: dict[str, Any]) -> Any:
    """The ranks of matrices."""
    return np.linalg.matrix_rank(values, **keywords)


@of_stacks("matrix_ranks")
def ranks_of_stack(values: np.ndarray, keywords: dict[str, Any]) -> Any:
    """The same for each lane of a stack, where all have one tolerance."""
    if any(np.ndim(part) for part in keywords.values()):
        raise ValueError("a tolerance for each matrix")
    return np.linalg.matrix_rank(values, **keywords)


# ---------------------------------------------------------------- positions


def position(name: str, a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    """Record argmax and its kin; `out` may be a plain array of integers."""
    found = decide(name, a, axis=axis, keepdims=bool(keepdims))
    if out is None:
        return found
    if np.shape(out) != np.shape(found):
        raise ValueError(
            message(f"np.{name}: out= has shape {np.shape(out)}, the result {np.shape(found)}", "give one that fits")
        )
    out[...] = found
    return out


@implements("argmax")
def argmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """Where the largest element is, as a plain integer."""
    return position("argmax", a, axis, out, keepdims)


@implements("argmin")
def argmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """Where the smallest element is, as a plain integer."""
    return position("argmin", a, axis, out, keepdims)


@implements("nanargmax")
def nanargmax(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """Where the largest element that is not NaN is."""
    return position("nanargmax", a, axis, out, keepdims)


@implements("nanargmin")
def nanargmin(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
    """Where the smallest element that is not NaN is."""
    return position("nanargmin", a, axis, out, keepdims)


@implements("argsort")
def argsort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """The indices that sort, as plain integers."""
    refuse_order("argsort", order)
    return decide("argsort", a, axis=axis, kind="stable" if stable else kind)


@implements("argpartition")
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """The indices that partition, as plain integers."""
    refuse_order("argpartition", order)
    check_kind("argpartition", kind)
    return decide("argpartition", a, kth=kth, axis=axis, kind=kind)


@implements("lexsort")
def lexsort(keys: Any, axis: int = -1) -> Any:
    """The indices that sort by several keys, as plain integers."""
    return decide("lexsort", as_array(np.stack(list(keys))), axis=axis)


@implements("searchsorted")
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where values would be inserted, as plain integers."""
    return decide("searchsorted", *to_arrays(a, v), side=side, sorter=sorter)


@implements("digitize")
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The bins that values fall into, as plain integers."""
    return decide("digitize", *to_arrays(x, bins), right=right)


@implements("nonzero")
def nonzero(a: Any) -> Any:
    """Where elements are not zero, as plain integers."""
    return np.nonzero(truth_of(a))


@implements("flatnonzero")
def flatnonzero(a: Any) -> Any:
    """Where the flattened elements are not zero, as plain integers."""
    return np.flatnonzero(truth_of(a))


@implements("argwhere")
def argwhere(a: Any) -> Any:
    """Where elements are not zero, one row each."""
    return np.argwhere(truth_of(a))


# ---------------------------------------------------------------- sorted values


@implements("sort")
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """Sorted values: no guard, for the derivative finds the order anew at each sweep."""
    refuse_order("sort", order)
    return along(ops.sort_last, a, axis)


@implements("partition")
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """Values of which the k-th is where sorting would put it."""
    refuse_order("partition", order)
    check_kind("partition", kind)
    return along(ops.partition_last, a, axis, kth=plain_integers(kth, "the place kth of np.partition"))


def check_kind(name: str, kind: str) -> None:
    """Raise a ValueError, as NumPy does, for a way to partition that it does not have."""
    if kind != "introselect":
        raise ValueError(message(f"np.{name}: kind={kind!r} is unknown", "leave it away: there is 'introselect' only"))


def refuse_order(name: str, order: Any) -> None:
    """Refuse order=, which names fields: recording arrays have none."""
    if order is not None:
        raise ValueError(
            message(f"np.{name}: order= names fields, which an array of numbers has not", "leave order= away")
        )


def along(op: Any, a: Any, axis: Any, **settings: Any) -> Any:
    """Apply an array op that works along the last axis, along another."""
    array, axis = one_axis(to_array(a), axis)
    if axis == array.ndim - 1:
        result = op(array, **settings)
    else:
        result = as_array(op(array.swapaxes(axis, -1), **settings)).swapaxes(axis, -1)
    return result != 0.0 if array.boolean else result


@implements("unique")
def unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: Any = None, *, equal_nan: bool = True, sorted: bool = True) -> Any:  # fmt: skip
    """The distinct values, sorted; which they are is a guarded decision."""
    array = to_array(ar)
    places, inverse, counts = decide("unique_places", array, axis=axis, equal_nan=equal_nan)
    values = np.take(array, places, axis=axis)
    wanted = [part for part, wish in zip((places, inverse, counts), (return_index, return_inverse, return_counts),
                                         strict=True) if wish]  # fmt: skip
    return (values, *wanted) if wanted else values


@implements("unique_values")
def unique_values(x: Any) -> Any:
    """The distinct values."""
    return unique(x, equal_nan=False)


for _name in ("unique_all", "unique_counts", "unique_inverse"):
    ADVICE[f"np.{_name}"] = "use np.unique with return_index, return_inverse or return_counts"


@implements("union1d")
def union1d(ar1: Any, ar2: Any) -> Any:
    """The distinct values of both."""
    return unique(np.concatenate(to_arrays(ar1, ar2), axis=None))


@implements("intersect1d")
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The distinct values that both have; the derivative goes to the first."""
    one, other = to_arrays(ar1, ar2)
    values, places = unique(one.reshape(-1), return_index=True)
    common = isin(values, other)
    if not return_indices:
        return values[common]
    other_values, other_places = unique(other.reshape(-1), return_index=True)
    return values[common], places[common], other_places[isin(other_values, one)]


@implements("setdiff1d")
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The distinct values of the first that the second has not."""
    one, other = to_arrays(ar1, ar2)
    values = one.reshape(-1) if assume_unique else unique(one)
    return values[~isin(values, other)]


@implements("setxor1d")
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """The distinct values that just one has."""
    return np.sort(np.concatenate([setdiff1d(ar1, ar2), setdiff1d(ar2, ar1)]))


@implements("isin")
def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *,
         kind: Any = None) -> Any:  # fmt: skip
    """Whether each element is among others: plain truth values, guarded."""
    return decide("isin", *to_arrays(element, test_elements), invert=invert)


# ---------------------------------------------------------------- equality


def comparable(a1: Any, a2: Any) -> list[Array] | None:
    """Return two operands as arrays, or None where one is not numeric."""
    try:
        return to_arrays(a1, a2)
    except TypeError:
        return None


@implements("array_equal")
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Whether two arrays are equal now: a plain bool, guarded."""
    pair = comparable(a1, a2)
    if pair is None or pair[0].shape != pair[1].shape:
        return False
    return decide("all_equal", *pair, equal_nan=equal_nan)


@implements("array_equiv")
def array_equiv(a1: Any, a2: Any) -> bool:
    """Whether two arrays are equal now when broadcast."""
    pair = comparable(a1, a2)
    try:
        shape = np.broadcast_shapes(*(a.shape for a in pair or ()))
    except ValueError:
        return False
    return pair is not None and decide("all_equal", *(a.broadcast_to(shape) for a in pair), equal_nan=False)


@implements("allclose")
def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether two arrays are nearly equal now: a plain bool, guarded."""
    return decide("all_close", *to_arrays(a, b), rtol=rtol, atol=atol, equal_nan=equal_nan)


@implements("isclose")
def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    """Whether elements are nearly equal: recording truth values."""
    a, b = (demote(part) for part in to_arrays(a, b))
    near = (np.abs(a - b) <= atol + rtol * np.abs(b)) & np.isfinite(b) | (a == b)
    return near | (np.isnan(a) & np.isnan(b)) if equal_nan else near
