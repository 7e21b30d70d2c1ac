"""Putting arrays together, repeating, padding, inserting and deleting: elements are moved, not computed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.geometry import contiguous, normal_axis
from numbad.numpy_api.dispatch import check_casting, finish, implements, plain_integers, unsupported, widened
from numbad.numpy_api.shapes import expand_dims
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array
from numbad.recording.blocks import assemble, is_short, is_small, join, labelled, relabel
from numbad.recording.decisions import truth_of
from numbad.recording.indexing import addresses_of
from numbad.recording.operands import (
    as_active,
    holds_active,
    in_precision,
    read_arrays,
    read_numbers,
    recorder_of,
    stack_nested,
    to_array,
)
from numbad.recording.scalars import Scalar


def sequence(arrays: Any) -> list[Any]:
    """Return the parts of a sequence; an array is one of its rows."""
    return list(arrays)


@implements("concatenate", "concat")
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    """Arrays one after the other along an axis."""
    given = sequence(arrays)
    check_casting(given, dtype, casting)
    parts = [widened(part, dtype) for part in read_arrays(*given)]
    recorder = parts[0].recorder
    if axis is None:
        parts, axis = [part.reshape(-1) for part in parts], 0
    if any(not part.shape for part in parts):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    count = parts[0].ndim
    axis = normal_axis(axis, count)
    first = parts[0].shape
    for k, part in enumerate(parts):
        if part.ndim != count:
            raise ValueError(
                "all the input array dimensions must match: the array at index 0 has "
                f"{count} dimension(s) and the array at index {k} has {part.ndim} dimension(s)"
            )
        if part.shape[:axis] != first[:axis] or part.shape[axis + 1 :] != first[axis + 1 :]:
            raise ValueError(
                "all the input array dimensions except for the concatenation axis must match exactly: "
                f"the array at index 0 has shape {first} and the array at index {k} has shape {part.shape}"
            )
    return finish(join(recorder, parts, axis), dtype, out)


def concatenate_key(self: Any, key: Any) -> Any:
    """What np.r_[key] and np.c_[key] give, of which recording values take part."""
    parts: list[Any] = []
    axis, ndim, start = self.axis, self.ndmin, self.trans1d
    items = key if isinstance(key, tuple) else (key,)
    for k, item in enumerate(items):
        if isinstance(item, str):
            if k or not item.replace(",", "").replace("-", "").isdigit():
                unsupported("r_", f"{item!r} among what is put together", "give axes as numbers, in the first place")
            given = [int(number) for number in item.split(",")]
            axis, ndim, start = (given + [axis, ndim, start][len(given) :])[:3]
        elif isinstance(item, slice):
            directive = f"{axis},{ndim},{start}"
            parts.append(np.r_[directive, item])
        elif np.ndim(item) == 0:
            weak = type(item) in (bool, int, float)  # of no precision of its own
            value = np.asarray(item, recorder_of(*items).dtype) if weak else item
            parts.append(np.reshape(value, (1,) * max(ndim, 1)))
        else:
            parts.append(spread(item, ndim, start))
    return concatenate(parts, axis)


def spread(item: Any, ndim: int, start: int) -> Any:
    """Return an array with at least so many axes, its own from `start` on; -1 to have them last."""
    found = item if isinstance(item, Active) else to_array(item) if holds_active(item) else np.asarray(item)
    more = ndim - found.ndim
    if more <= 0:
        return found
    place = start + more + 1 if start < 0 else start
    axes = list(range(ndim))
    order = axes[:place] + axes[more:] + axes[place:more]  # as NumPy slices them, wherever a place may lie
    return np.transpose(np.reshape(found, (1,) * more + found.shape), order)


@implements("stack")
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    """Arrays of one shape along a new axis."""
    given = sequence(arrays)
    check_casting(given, dtype, casting)
    if out is None and dtype is None and axis in (0, -1) and any(type(part) is Scalar for part in given):
        return stack_nested(given)
    parts = [widened(part, dtype) for part in read_arrays(*given)]
    if len({part.shape for part in parts}) > 1:
        raise ValueError("all input arrays must have the same shape")
    axis = normal_axis(axis, parts[0].ndim + 1)
    return finish(join(parts[0].recorder, [expand_dims(part, axis) for part in parts], axis), dtype, out)


@implements("vstack", "row_stack")
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    """Rows on top of one another."""
    return concatenate([np.atleast_2d(part) for part in read_arrays(*sequence(tup))], 0, dtype=dtype, casting=casting)


@implements("hstack")
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    """Arrays side by side."""
    parts = [np.atleast_1d(part) for part in read_arrays(*sequence(tup))]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements("dstack")
def dstack(tup: Any) -> Any:
    """Arrays behind one another, along the third axis."""
    return concatenate([np.atleast_3d(part) for part in read_arrays(*sequence(tup))], 2)


@implements("column_stack")
def column_stack(tup: Any) -> Any:
    """Vectors as columns."""
    parts = read_arrays(*sequence(tup))
    return concatenate([part if part.ndim > 1 else part.reshape(-1, 1) for part in parts], 1)


@implements("append")
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """Values at the end of a copy."""
    return concatenate(read_arrays(arr, values), axis)


@implements("block")
def block(arrays: Any) -> Any:
    """Nested lists of blocks as one array."""
    recorder = recorder_of(arrays)
    depth = block_depth(arrays)

    def most_axes(part: Any) -> int:
        if not isinstance(part, list):
            read_numbers(recorder, (part,))
            return np.ndim(part)
        return max(map(most_axes, part))

    wanted = max(depth, most_axes(arrays))

    def build(part: Any, level: int) -> Any:
        if isinstance(part, list):
            return concatenate([build(inner, level + 1) for inner in part], wanted - depth + level)
        array = to_array(part, recorder)
        return array.reshape((1,) * (wanted - array.ndim) + array.shape)

    return build(arrays, 0)


def block_depth(part: Any) -> int:
    """Return how deeply lists are nested."""
    return 1 + block_depth(part[0]) if isinstance(part, list) else 0


# ---------------------------------------------------------------- repeating


@implements("tile")
def tile(A: Any, reps: Any) -> Any:
    """An array repeated as a whole along its axes."""
    array = to_array(A)
    counts = tuple(int(n) for n in np.atleast_1d(plain_integers(reps, "a number of repeats")))
    width = max(array.ndim, len(counts))
    shape = (1,) * (width - array.ndim) + array.shape
    counts = (1,) * (width - len(counts)) + counts
    total = tuple(n * c for n, c in zip(shape, counts, strict=True))
    if is_small(array) and is_short(math.prod(total)):
        return relabel(array, lambda addresses: np.tile(addresses, counts))
    view = array.reshape(tuple(k for n in shape for k in (1, n)))
    return view.broadcast_to(tuple(k for n, c in zip(shape, counts, strict=True) for k in (c, n))).copy().reshape(total)


@implements("repeat")
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Each element repeated."""
    array = to_array(a)
    if axis is None:
        array, axis = array.reshape(-1), 0
    axis = normal_axis(axis, array.ndim)
    counts = np.asarray(plain_integers(repeats, "a number of repeats"))
    length = array.shape[axis]
    if counts.size == 1:
        each = int(counts.reshape(-1)[0])
        lead, rest = array.shape[:axis], array.shape[axis + 1 :]
        view = array.reshape((*lead, length, 1, *rest)).broadcast_to((*lead, length, each, *rest))
        return view.copy().reshape((*lead, length * each, *rest))
    if counts.shape != (length,):
        raise ValueError(f"operands could not be broadcast together with shape ({length},) {counts.shape}")
    return np.take(array, np.repeat(np.arange(length), counts), axis=axis)


@implements("meshgrid")
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Any, ...]:
    """Coordinate arrays of a grid."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    parts = [part.reshape(-1) for part in read_arrays(*xi)]
    width = len(parts)
    found = []
    for k, part in enumerate(parts):
        place = 1 - k if indexing == "xy" and k < 2 and width > 1 else k
        found.append(part.reshape(tuple(part.size if j == place else 1 for j in range(width))))
    if not sparse:
        shape = np.broadcast_shapes(*(part.shape for part in found))
        found = [part.broadcast_to(shape) for part in found]
    return tuple(part.copy() if copy else part for part in found)


# ---------------------------------------------------------------- padding, inserting, deleting


PAD_OPTIONS = {  # mode -> the keywords that it takes
    **dict.fromkeys(("edge", "wrap", "empty"), ()),
    **dict.fromkeys(("reflect", "symmetric"), ("reflect_type",)),
    **dict.fromkeys(("maximum", "minimum", "mean", "median"), ("stat_length",)),
    "constant": ("constant_values",),
    "linear_ramp": ("end_values",),
}


@implements("pad")
def pad(array: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    """An array with a margin: elements of its own, constants, ramps or statistics of what lies at the edge."""
    a = to_array(array, recorder_of(array, *keywords.values()))
    pad_width = plain_integers(pad_width, "the width of np.pad")
    if mode not in PAD_OPTIONS:
        unsupported("pad", f"mode {mode!r}", "compute the margin and put it on with np.concatenate")
    wrong = [name for name in keywords if name not in PAD_OPTIONS[mode]]
    if wrong:
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {set(wrong)}")
    if mode in ("constant", "empty"):
        return pad_constant(a, pad_width, keywords.get("constant_values", 0.0))
    if mode in ("edge", "wrap") or (mode in MIRRORS and keywords.get("reflect_type", "even") == "even"):
        return relabel(a, lambda addresses: np.pad(addresses, pad_width, mode=mode))
    setting = next(iter(keywords.values()), None if mode != "linear_ramp" else 0.0)
    for axis, widths in enumerate(margins(a, pad_width)):
        if any(widths) and not a.shape[axis]:
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    for axis, widths in enumerate(margins(a, pad_width)):
        if any(widths):
            first, last = margin_parts(a, axis, widths, mode, setting)
            a = concatenate([first, a, last], axis)
    return a


MIRRORS = {"reflect": 1, "symmetric": 0}  # mode -> how many elements at the edge are not repeated


def margin_parts(a: Array, axis: int, widths: tuple[int, int], mode: str, setting: Any) -> tuple[Any, Any]:
    """Return the margins before and after one axis, of an array whose earlier axes are padded already."""
    if mode == "linear_ramp":
        pair = broadcast_pairs(setting, a.ndim)[axis]
        edges = (at_axis(a, axis, slice(0, 1)), at_axis(a, axis, slice(-1, None)))
        ramps = [np.linspace(end, as_array(edge).squeeze(axis), n, endpoint=False, axis=axis)
                 for end, edge, n in zip(pair, edges, widths, strict=True)]  # fmt: skip
        return ramps[0], np.flip(to_array(ramps[1], a.recorder), axis)
    if mode in MIRRORS:
        return mirrored_parts(a, axis, widths, MIRRORS[mode])
    lengths = broadcast_pairs(setting, a.ndim)[axis]
    n = a.shape[axis]
    if 0 in lengths and mode in ("maximum", "minimum"):
        raise ValueError("stat_length of 0 yields no value for padding")
    before, after = (n if length is None else min(int(length), n) for length in lengths)
    function: Any = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}[mode]
    parts = (function(at_axis(a, axis, slice(0, before)), axis=axis, keepdims=True),
             function(at_axis(a, axis, slice(n - after, n)), axis=axis, keepdims=True))  # fmt: skip
    return tuple(np.repeat(part, width, axis) for part, width in zip(parts, widths, strict=True))  # type: ignore[return-value]


def mirrored_parts(a: Array, axis: int, widths: tuple[int, int], skipped: int) -> tuple[Any, Any]:
    """Return margins that are the negative mirror image at the edge: twice the edge less the elements."""
    n = a.shape[axis]
    if max(widths) > n - skipped:
        unsupported("pad", "reflect_type='odd' by more than the length of an axis", "pad in several steps")
    before, after = widths
    first = at_axis(a, axis, slice(skipped, skipped + before))
    last = at_axis(a, axis, slice(n - skipped - after, n - skipped))
    return (2.0 * at_axis(a, axis, slice(0, 1)) - np.flip(first, axis),
            2.0 * at_axis(a, axis, slice(n - 1, n)) - np.flip(last, axis))  # fmt: skip


def at_axis(a: Array, axis: int, part: slice) -> Any:
    """Return a slice along an axis."""
    return a[(slice(None),) * axis + (part,)]


def broadcast_pairs(values: Any, count: int) -> list[Any]:
    """Return a pair of settings for each axis, as np.pad reads them: one, a pair for all, or a pair for each."""
    table = np.empty((), object)
    table[()] = values
    if isinstance(values, (list, tuple, np.ndarray)):
        table = np.array(values, object)
    return np.broadcast_to(table, (count, 2)).tolist()


def pad_constant(a: Array, pad_width: Any, constants: Any) -> Any:
    """Pad with constants: one, a pair for all axes, or a pair for each."""
    if not holds_active([constants]) and not a.boolean:
        constants = np.asarray(constants, a.dtype)
    values = as_active(a.recorder, constants)
    if a.boolean and not values.boolean:
        values = values != 0.0
    places = addresses_of(values)
    if is_small(a):
        return relabel(a, lambda addresses: np.pad(addresses, pad_width, constant_values=places))
    inner = pad_large(a, pad_width)
    if not np.any(places):  # address 0 holds the constant zero
        return inner
    margin = np.pad(np.zeros(a.shape, np.int64), pad_width, constant_values=places)
    outside = labelled(a.recorder, margin, a.boolean)
    return np.where(np.pad(np.ones(a.shape, bool), pad_width), inner, outside)


def margins(array: Array, pad_width: Any) -> list[tuple[int, int]]:
    """Return how many elements come before and after each axis."""
    if isinstance(pad_width, dict):
        full = [(0, 0)] * array.ndim
        for axis, width in pad_width.items():
            full[axis] = tuple(np.broadcast_to(width, (2,)).tolist())
        return full
    pairs = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2)).tolist()
    if min(map(min, pairs), default=0) < 0:
        raise ValueError("index can't contain negative values")
    return [(before, after) for before, after in pairs]


def pad_large(array: Array, pad_width: Any) -> Any:
    """Copy a large array into a block of zeros."""
    pairs = margins(array, pad_width)
    shape = tuple(before + n + after for n, (before, after) in zip(array.shape, pairs, strict=True))
    strides = contiguous(shape)
    offset = sum(stride * before for stride, (before, _) in zip(strides, pairs, strict=True))
    return assemble(array.recorder, shape, [(offset, strides, array)])


def is_plain(values: Any) -> bool:
    """Whether values are a list or tuple of plain numbers."""
    return isinstance(values, (list, tuple)) and not holds_active(values)


@implements("insert")
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Values before some places of a copy."""
    a = to_array(arr, recorder_of(arr, values))
    new = to_array(in_precision(a.recorder, np.asarray(values) if is_plain(values) else values), a.recorder)
    added = addresses_of(new) if new.shape else addresses_of(new.item())
    return relabel(a, lambda addresses: np.insert(addresses, plain_integers(obj, "an index"), added, axis))


@implements("delete")
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """A copy without some elements."""
    a = to_array(arr)
    if axis is None:
        a, axis = a.reshape(-1), 0
    axis = normal_axis(axis, a.ndim)
    if isinstance(obj, Active):
        obj = truth_of(obj)
    return np.take(a, np.delete(np.arange(a.shape[axis]), obj), axis=axis)


@implements("trim_zeros")
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """The elements between the first and the last that are not zero."""
    a = to_array(filt)
    trim = trim.lower()
    if trim not in ("fb", "bf", "f", "b"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    axes = range(a.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    chosen = {normal_axis(k, a.ndim) for k in axes}
    places = np.argwhere(truth_of(a))
    if not places.size:  # of zeros alone nothing is left, from whichever side they are trimmed
        return a[tuple(slice(0, 0) if k in chosen else slice(None) for k in range(a.ndim))]
    first, end = places.min(axis=0), places.max(axis=0) + 1
    cuts = [
        slice(int(first[k]) if "f" in trim else None, int(end[k]) if "b" in trim else None)
        if k in chosen
        else slice(None)
        for k in range(a.ndim)
    ]
    return a[tuple(cuts)]


# ---------------------------------------------------------------- diagonals and triangles


@implements("diag")
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or the matrix of a diagonal."""
    a = to_array(v)
    if a.ndim == 2:
        return np.diagonal(a, k)
    if a.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = a.size + abs(k)
    if is_short(n * n) and is_small(a):
        return relabel(a, lambda addresses: np.diag(addresses, k))  # address 0 holds the constant zero
    return assemble(a.recorder, (n, n), [(k if k >= 0 else -k * n, (n + 1,), a)])


@implements("diagflat")
def diagflat(v: Any, k: int = 0) -> Any:
    """The matrix whose diagonal is the flattened input."""
    return diag(np.ravel(v), k)


@implements("tril")
def tril(m: Any, k: int = 0) -> Any:
    """The lower triangle, zero above."""
    return triangle(m, lambda rows, columns: np.tri(rows, columns, k, dtype=bool))


@implements("triu")
def triu(m: Any, k: int = 0) -> Any:
    """The upper triangle, zero below."""
    return triangle(m, lambda rows, columns: ~np.tri(rows, columns, k - 1, dtype=bool))


def triangle(m: Any, mask: Any) -> Any:
    """Keep the elements of the last two axes where a mask is true."""
    a = to_array(m)
    if a.ndim == 1:
        a = a.broadcast_to((a.size, a.size))
    return as_array(np.where(mask(*a.shape[-2:]), a, False if a.boolean else 0.0))
