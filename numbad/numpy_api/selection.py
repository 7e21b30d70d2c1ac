"""Selecting elements: by conditions, by indices, by tables of choices, and writing to the places selected."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.geometry import normal_axis
from numbad.numpy_api.dispatch import check_casting, doubled, finish, implements, plain_integers, writable
from numbad.numpy_api.refused import COUNTS
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active, Given, involves
from numbad.recording.arrays import as_array
from numbad.recording.blocks import add_at, is_short, is_small, labelled
from numbad.recording.decisions import truth_of
from numbad.recording.elementwise import record
from numbad.recording.indexing import addresses_of
from numbad.recording.operands import as_active, recorder_of, to_array


@implements("where")
def where_(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Select by a condition: keep one, drop the other, add; where the condition is plain, elements are moved."""
    if x is None and y is None:
        return np.nonzero(truth_of(condition))
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    recorder = recorder_of(condition, x, y)
    if not isinstance(condition, (Active, Given)):
        condition = np.asarray(condition)
        if condition.dtype != object:
            return select_fixed(recorder, condition != 0, x, y)
    if isinstance(condition, Given) and condition.dtype != bool:
        condition = condition != 0
    condition, x, y = (as_active(recorder, part) for part in (condition, x, y))
    if x.boolean and y.boolean:
        return (condition & x) | (~condition & y)
    return record(BY_NAME["add"], record(BY_NAME["keep"], condition, x), record(BY_NAME["drop"], condition, y))


def select_fixed(recorder: Any, condition: np.ndarray, x: Any, y: Any) -> Any:
    """Select by a condition that does not depend on the inputs."""
    x, y = as_array(as_active(recorder, x)), as_array(as_active(recorder, y))
    if is_small(x, y) and is_short(condition.size):
        table = np.where(condition, x.address_view(), y.address_view())
        return labelled(recorder, table, x.boolean and y.boolean)
    result = record(BY_NAME["add"], record(BY_NAME["keep"], condition, x), record(BY_NAME["drop"], condition, y))
    return result != 0.0 if x.boolean and y.boolean else result


@implements("select")
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The first choice whose condition holds."""
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not condlist:
        raise ValueError("select with an empty condition list is not possible")
    shape = np.broadcast_shapes(*(np.shape(part) for part in (*condlist, *choicelist, default)))
    recorder = recorder_of(condlist, choicelist, default)
    result: Any = to_array(default, recorder).broadcast_to(shape)
    for condition, choice in zip(reversed(list(condlist)), reversed(list(choicelist)), strict=True):
        result = np.where(condition, choice, result)
    return result


@implements("piecewise")
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Apply a function to the elements of each condition; functions see the whole array, as elementwise ones may."""
    x = to_array(x)
    if isinstance(condlist, Active) or not isinstance(condlist, (list, tuple)) or (not np.ndim(condlist[0]) and x.ndim):
        condlist = [condlist] if np.ndim(condlist) == x.ndim else list(condlist)
    conditions, functions = list(condlist), list(funclist)
    if len(functions) == len(conditions) + 1:
        default = functions.pop()
    elif len(functions) == len(conditions):
        default = 0.0
    else:
        raise ValueError(
            f"with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} functions "
            "are expected"
        )

    def apply(function: Any) -> Any:
        return function(x, *args, **kw) if callable(function) else function

    result: Any = to_array(apply(default), x.recorder).broadcast_to(x.shape)
    for condition, function in zip(conditions, functions, strict=True):
        result = np.where(condition, apply(function), result)
    return result if np.ndim(result) else as_array(result).item()


@implements("choose")
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """Elements of the choice that an integer array names; truth values may name them too."""
    if isinstance(a, Active):
        if not a.boolean:
            plain_integers(a, "the first argument of np.choose")
        a = truth_of(a).astype(np.intp)
    parts = [to_array(c, recorder_of(*choices)) for c in choices]
    shape = np.broadcast_shapes(np.shape(a), *(part.shape for part in parts))
    tables: Any = [part.broadcast_to(shape).address_view() for part in parts]
    table = np.choose(a, tables, mode=mode)  # type: ignore[call-overload]
    result = labelled(parts[0].recorder, table, all(part.boolean for part in parts))
    return finish(result, None, out)


# ---------------------------------------------------------------- taking


@implements("take")
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    """Elements at indices along an axis."""
    array = to_array(a)
    if axis is None:
        array, axis = array.reshape(-1), 0
    axis = normal_axis(axis, array.ndim)
    index = index_array(indices, "the indices of np.take")
    if index.dtype.kind == "b":
        raise TypeError("Cannot cast array data from dtype('bool') to dtype('int64') according to the rule 'safe'")
    if index.size and index.dtype.kind not in "iu":
        raise TypeError(f"Cannot cast array data from {index.dtype!r} to dtype('int64') according to the rule 'safe'")
    index = np.astype(index_within(index, array.shape[axis], mode), np.intp)
    if axis == 0:
        result = array[index]
    else:
        moved = as_array(array.transpose([axis, *(k for k in range(array.ndim) if k != axis)])[index])
        front = tuple(range(index.ndim, index.ndim + axis))
        order = (*front, *range(index.ndim), *range(index.ndim + axis, moved.ndim))
        result = moved.transpose(order)
    return finish(result, None, out)


def index_array(indices: Any, what: str) -> Any:
    """Return indices as an array; those that another run may have otherwise as they are."""
    return indices if isinstance(indices, Given) else np.asarray(plain_integers(indices, what))


def index_within(index: np.ndarray, length: int, mode: str) -> np.ndarray:
    """Return indices with those out of bounds clipped or wrapped; other modes leave them to the index itself."""
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")
    if mode == "clip":
        return np.clip(index, 0, length - 1)
    return index % length if mode == "wrap" else index


def axis_index(shape: tuple[int, ...], indices: Any, axis: int) -> tuple[Any, ...]:
    """Return the advanced index that stands for indices along an axis."""
    parts: list[Any] = []
    for k, n in enumerate(shape):
        if k == axis:
            parts.append(indices)
        else:
            parts.append(np.arange(n).reshape((-1,) + (1,) * (len(shape) - k - 1)))
    return tuple(parts)


@implements("take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    """Elements at the indices of each slice along an axis."""
    array, indices = to_array(arr), index_array(indices, "an index")
    if axis is None:
        array, axis = array.reshape(-1), 0
    if array.ndim != indices.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    axis = normal_axis(axis, array.ndim)
    return array[axis_index(array.shape, indices, axis)]


@implements("compress")
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    """The slices along an axis for which a condition holds."""
    return np.take(to_array(a, recorder_of(condition, a)), np.flatnonzero(truth_of(condition)), axis=axis, out=out)


@implements("extract")
def extract(condition: Any, arr: Any) -> Any:
    """The elements for which a condition holds."""
    array = to_array(arr, recorder_of(condition, arr))
    return np.take(array.reshape(-1), np.flatnonzero(truth_of(condition)))


@implements("bincount")
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """Sums of the weights of each integer in x."""
    places = index_array(x, "the first argument of np.bincount")
    if places.ndim != 1:
        raise ValueError("object too deep for desired array" if places.ndim else "object of too small depth")
    if places.size and places.min() < 0:
        raise ValueError("'list' argument must have no negative elements")
    array = to_array(weights)
    doubled(array)
    if array.shape != places.shape:
        raise ValueError("The weights and list don't have the same length.")
    size = max(int(np.maximum(places.max(initial=-1) + 1, minlength)), minlength)
    if isinstance(places, Given):
        return places.add_up(array.recorder, array, places, (size,))
    return add_at(array.recorder, array, places, size)


@implements("histogram")
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Sums of the weights of the numbers in each bin; numbers and bins are plain."""
    if involves((a, bins, range)):
        raise RecordingError(message("np.histogram is not recorded where numbers or bins are recording values", COUNTS))
    numbers, weights = np.asarray(a), to_array(weights)
    if weights.shape != numbers.shape:
        raise ValueError("weights should have the same shape as a.")
    _, edges = np.histogram(numbers, bins, range, weights=np.ones(numbers.shape))
    count = len(edges) - 1
    inside = (numbers >= edges[0]) & (numbers <= edges[-1])
    places = np.minimum(np.searchsorted(edges, numbers[inside], "right") - 1, count - 1)
    found = add_at(weights.recorder, weights[inside], places, count)
    return (found / np.diff(edges) / np.sum(found) if density else found), edges


# ---------------------------------------------------------------- writing


@implements("copyto")
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """Assign the elements of one array to another, where a condition holds."""
    target = writable(dst, "copyto")
    check_casting((src,), target.dtype, casting)
    if where is True:
        target[...] = src
    else:
        target[...] = np.where(where, src, target)


@implements("putmask")
def putmask(a: Any, mask: Any, values: Any) -> None:
    """Assign the value of the same flat place, repeated, where a mask is true."""
    target = writable(a, "putmask")
    values = np.resize(addresses_of(to_array(values, target.recorder)), target.shape)
    target[...] = np.where(mask, labelled(target.recorder, values), target)


@implements("place")
def place(arr: Any, mask: Any, vals: Any) -> None:
    """Assign values one after the other where a mask is true."""
    target = writable(arr, "place")
    chosen = truth_of(mask)
    values = addresses_of(to_array(vals, target.recorder)).reshape(-1)
    target[chosen] = labelled(target.recorder, np.resize(values, np.count_nonzero(chosen)))


@implements("put")
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """Assign values to flat places."""
    target = writable(a, "put")
    index = np.asarray(plain_integers(ind, "an index of np.put"))
    values = addresses_of(to_array(v, target.recorder))
    places = np.arange(target.size)
    flat = places[index_within(index, target.size, mode)].reshape(-1) if index.size else index.reshape(-1)
    if flat.size:
        target[np.unravel_index(flat, target.shape)] = labelled(target.recorder, np.resize(values, flat.size))


@implements("put_along_axis")
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """Assign values at the indices of each slice along an axis."""
    target = writable(arr, "put_along_axis")
    indices = np.asarray(plain_integers(indices, "an index"))
    if axis is None:
        put(target, indices, values)
        return
    target[axis_index(target.shape, indices, normal_axis(axis, target.ndim))] = values


@implements("fill_diagonal")
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Assign to the main diagonal."""
    target = writable(a, "fill_diagonal")
    mask = np.zeros(target.shape, bool)
    np.fill_diagonal(mask, True, wrap)
    place(target, mask, val)


@implements("apply_along_axis")
def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply a function to each slice along an axis."""
    array = to_array(arr)
    moved = np.moveaxis(array, normal_axis(axis, array.ndim), -1)
    lead = moved.shape[:-1]
    results = [func1d(moved[index], *args, **kwargs) for index in np.ndindex(lead)]
    if not results:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    stacked = as_array(np.stack([to_array(part, array.recorder) for part in results]))
    inner = stacked.shape[1:]
    stacked = stacked.reshape((*lead, *inner))
    order = [*range(axis % array.ndim), *range(len(lead), stacked.ndim), *range(axis % array.ndim, len(lead))]
    return stacked.transpose(order) if order else stacked.item()


@implements("apply_over_axes")
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    """Apply a reduction over one axis after the other."""
    array = to_array(a)
    result: Any = array
    for axis in np.atleast_1d(axes).tolist():
        found = func(result, normal_axis(axis, array.ndim))
        result = found if np.ndim(found) == array.ndim else np.expand_dims(found, normal_axis(axis, array.ndim))
    return result


@implements("ix_")
def ix_(*args: Any) -> tuple[Any, ...]:
    """Open grids of indices, with recording truth values made concrete."""
    return np.ix_(*(truth_of(part) if isinstance(part, Active) and part.boolean
                    else plain_integers(part, "an index") for part in args))  # fmt: skip
