"""Views in another shape or order: no rows, only new descriptions of the same addresses."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from numbad.geometry import normal_axis
from numbad.numpy_api.dispatch import implements, plain_integers
from numbad.recording.active import Active
from numbad.recording.arrays import Array, as_array, in_order, memory_order, plain_order
from numbad.recording.blocks import is_small, relabel
from numbad.recording.operands import demote, recorder_of, to_active, to_array


@implements("shape")
def shape(a: Any) -> tuple[int, ...]:
    """Lengths of the axes."""
    return to_active(a).shape


@implements("ndim")
def ndim(a: Any) -> int:
    """Number of axes."""
    return to_active(a).ndim


@implements("size")
def size(a: Any, axis: Any = None) -> int:
    """Number of elements, altogether or along axes."""
    array = to_array(a)
    if axis is None:
        return array.size
    axes = axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([array.shape[normal_axis(k, array.ndim)] for k in axes], dtype=np.int64))


@implements("reshape")
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    """The elements in another shape."""
    result = to_array(a).reshape(newshape if shape is None else shape, order=order)
    return result.copy() if copy else result


@implements("ravel")
def ravel(a: Any, order: str = "C") -> Any:
    """The elements in one axis, as a view where there is one."""
    array = to_array(a)
    if order == "K" and plain_order(array, "A") == "C":
        array = array.transpose(memory_order(array.shape, (array,)) or list(range(array.ndim)))
    elif order == "K" or plain_order(array, order) == "F":
        array = array.transpose()
    return array.reshape(-1) if in_order(array) else array.copy().reshape(-1)


@implements("transpose", "permute_dims")
def transpose(a: Any, axes: Any = None) -> Any:
    """The axes reversed or permuted."""
    array = to_array(a)
    if axes is None:
        return demote(array.transpose())
    return demote(array.transpose(axes if isinstance(axes, (tuple, list)) else tuple(np.atleast_1d(axes))))


@implements("matrix_transpose", "linalg.matrix_transpose")
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    array = to_array(x)
    if array.ndim < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {array.ndim}")
    return array.swapaxes(-1, -2)


@implements("swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    return to_array(a).swapaxes(axis1, axis2)


@implements("moveaxis")
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places."""
    array = to_array(a)
    sources = [normal_axis(k, array.ndim) for k in np.atleast_1d(source)]
    destinations = [normal_axis(k, array.ndim) for k in np.atleast_1d(destination)]
    if len(sources) != len(destinations):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    if len(set(sources)) != len(sources) or len(set(destinations)) != len(destinations):
        raise ValueError("repeated axis")
    order = [k for k in range(array.ndim) if k not in sources]
    for destination_axis, source_axis in sorted(zip(destinations, sources, strict=True)):
        order.insert(destination_axis, source_axis)
    return array.transpose(order) if order else array


@implements("rollaxis")
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """An axis moved back until it lies before another."""
    array = to_array(a)
    axis = normal_axis(axis, array.ndim)
    start = start + array.ndim if start < 0 else start
    if not 0 <= start <= array.ndim:
        raise np.exceptions.AxisError(start, array.ndim)
    order = [k for k in range(array.ndim) if k != axis]
    order.insert(start - (axis < start), axis)
    return array.transpose(order)


@implements("squeeze")
def squeeze(a: Any, axis: Any = None) -> Any:
    """Axes of length 1 dropped."""
    array = to_array(a)
    if axis is None:
        drop = [k for k, n in enumerate(array.shape) if n == 1]
    else:
        drop = [normal_axis(k, array.ndim) for k in (axis if isinstance(axis, tuple) else (axis,))]
        if any(array.shape[k] != 1 for k in drop):
            raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return demote(array[tuple(0 if k in drop else slice(None) for k in range(array.ndim))])


@implements("expand_dims")
def expand_dims(a: Any, axis: Any) -> Any:
    """New axes of length 1."""
    array = to_array(a)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    count = array.ndim + len(axes)
    places = {normal_axis(k, count) for k in axes}
    if len(places) != len(axes):
        raise ValueError("repeated axis")
    lengths = iter(array.shape)
    return array.reshape(tuple(1 if k in places else next(lengths) for k in range(count)))


@implements("broadcast_to")
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """A view with axes of length 1 repeated."""
    wanted = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    return demote(to_array(array).broadcast_to(wanted))


@implements("broadcast_arrays")
def broadcast_arrays(*arrays: Any, subok: bool = False) -> tuple[Any, ...]:
    """Views of one shape."""
    recorder = recorder_of(*arrays)
    found = [to_array(a, recorder) for a in arrays]
    wanted = np.broadcast_shapes(*(a.shape for a in found))
    return tuple(a if a.shape == wanted else a.broadcast_to(wanted) for a in found)


@implements("lib.stride_tricks.sliding_window_view")
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False,
                        writeable: bool = False) -> Any:  # fmt: skip
    """All windows of a shape, as a view with more axes."""
    array = to_array(x)
    windows = tuple(window_shape) if np.iterable(window_shape) else (int(window_shape),)
    axes = range(array.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    chosen = [normal_axis(k, array.ndim) for k in axes]
    if len(chosen) != len(windows):
        raise ValueError("Must provide window_shape for all dimensions of `x`, or as many axes as windows")
    shape, steps = list(array.shape), array.steps()
    for k, width in zip(chosen, windows, strict=True):
        shape[k] -= width - 1
        if shape[k] < 0 or width < 0:
            raise ValueError("window shape cannot be larger than input array shape")
    return array.view((*shape, *windows), array.offset, (*steps, *(steps[k] for k in chosen)))


def several(found: list[Any]) -> Any:
    """Return one result, or a tuple of several."""
    return found[0] if len(found) == 1 else tuple(found)


@implements("atleast_1d")
def atleast_1d(*arrays: Any) -> Any:
    """At least one axis."""
    recorder = recorder_of(*arrays)
    return several([a if a.ndim else a.reshape(1) for a in (to_array(x, recorder) for x in arrays)])


@implements("atleast_2d")
def atleast_2d(*arrays: Any) -> Any:
    """At least two axes, new ones in front."""
    recorder = recorder_of(*arrays)
    found = (to_array(x, recorder) for x in arrays)
    return several([a if a.ndim > 1 else a.reshape(1, -1) if a.ndim else a.reshape(1, 1) for a in found])


@implements("atleast_3d")
def atleast_3d(*arrays: Any) -> Any:
    """At least three axes, placed as NumPy does."""
    recorder = recorder_of(*arrays)
    shapes = {0: lambda s: (1, 1, 1), 1: lambda s: (1, *s, 1), 2: lambda s: (*s, 1)}
    found = (to_array(x, recorder) for x in arrays)
    return several([a if a.ndim > 2 else a.reshape(shapes[a.ndim](a.shape)) for a in found])


# ---------------------------------------------------------------- reversed and rotated


@implements("flip")
def flip(m: Any, axis: Any = None) -> Any:
    """The order of elements reversed along axes."""
    array = to_array(m)
    axes = range(array.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    chosen = {normal_axis(k, array.ndim) for k in axes}
    return demote(array[tuple(slice(None, None, -1 if k in chosen else None) for k in range(array.ndim))])


@implements("fliplr")
def fliplr(m: Any) -> Any:
    """Reversed along axis 1."""
    if np.ndim(m) < 2:
        raise ValueError("Input must be >= 2-d.")
    return flip(m, 1)


@implements("flipud")
def flipud(m: Any) -> Any:
    """Reversed along axis 0."""
    if np.ndim(m) < 1:
        raise ValueError("Input must be >= 1-d.")
    return flip(m, 0)


@implements("rot90")
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Rotated by quarter turns in the plane of two axes."""
    array = to_array(m)
    one, other = (normal_axis(a, array.ndim) for a in axes)
    if one == other:
        raise ValueError("Axes must be different.")
    k %= 4
    if k == 0:
        return array[...]
    if k == 2:
        return flip(array, (one, other))
    return flip(array, other).swapaxes(one, other) if k == 1 else flip(array.swapaxes(one, other), other)


@implements("roll")
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved along axes; those that leave come in at the other end."""
    array = to_array(a)
    shift = plain_integers(shift, "the shift of np.roll")
    if is_small(array):
        return relabel(array, lambda addresses: np.roll(addresses, shift, axis))
    if axis is None:
        return roll_one(array.reshape(-1), int(shift), 0).reshape(array.shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    for one_shift, one in zip(shifts.reshape(-1).tolist(), axes.reshape(-1).tolist(), strict=True):
        array = roll_one(array, one_shift, normal_axis(one, array.ndim))
    return array


def roll_one(array: Array, shift: int, axis: int) -> Array:
    """Roll a large array along one axis."""
    length = array.shape[axis]
    start = -shift % length if length else 0
    front = tuple(slice(start, None) if k == axis else slice(None) for k in range(array.ndim))
    back = tuple(slice(0, start) if k == axis else slice(None) for k in range(array.ndim))
    return as_array(np.concatenate([array[front], array[back]], axis=axis))


@implements("fft.fftshift")
def fftshift(x: Any, axes: Any = None) -> Any:
    """The zero frequency moved to the middle."""
    return shift_half(x, axes, lambda n: n // 2)


@implements("fft.ifftshift")
def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of np.fft.fftshift."""
    return shift_half(x, axes, lambda n: -(n // 2))


def shift_half(x: Any, axes: Any, amount: Any) -> Any:
    """Roll by half the length of each axis."""
    array = to_array(x)
    chosen = tuple(range(array.ndim)) if axes is None else axes if isinstance(axes, tuple) else (axes,)
    return np.roll(array, tuple(amount(array.shape[k]) for k in chosen), chosen)


# ---------------------------------------------------------------- diagonals


@implements("diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """A view of a diagonal."""
    array = to_array(a)
    if array.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    one, other = normal_axis(axis1, array.ndim), normal_axis(axis2, array.ndim)
    if one == other:
        raise ValueError("axis1 and axis2 cannot be the same")
    steps = array.steps()
    rows, columns = array.shape[one], array.shape[other]
    count = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    first = array.offset + (steps[other] * offset if offset >= 0 else -steps[one] * offset if count else 0)
    kept = [k for k in range(array.ndim) if k not in (one, other)]
    shape = (*(array.shape[k] for k in kept), count)
    return array.view(shape, first if count else array.offset, (*(steps[k] for k in kept), steps[one] + steps[other]))


@implements("linalg.diagonal")
def matrix_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """A view of a diagonal of the last two axes."""
    return diagonal(x, offset, -2, -1)


@implements("trace")
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """Sum of a diagonal."""
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


@implements("linalg.trace")
def matrix_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Sum of a diagonal of the last two axes."""
    return np.sum(diagonal(x, offset, -2, -1), axis=-1, dtype=dtype)


# ---------------------------------------------------------------- splitting


@implements("array_split")
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Views of parts along an axis, not all of one length."""
    array = to_array(ary)
    axis = normal_axis(axis, array.ndim)
    length = array.shape[axis]
    cuts = plain_integers(indices_or_sections, "the places of a split")
    if np.ndim(cuts):
        marks = [0, *(int(c) for c in cuts), length]
    else:
        sections = int(cuts)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        each, extra = divmod(length, sections)
        marks = [0, *np.cumsum([each + 1] * extra + [each] * (sections - extra)).tolist()]
    lead = (slice(None),) * axis
    return [array[(*lead, slice(start, stop))] for start, stop in itertools.pairwise(marks)]


@implements("split")
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Views of parts along an axis."""
    if not np.ndim(indices_or_sections) and np.shape(ary)[axis] % int(indices_or_sections):
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


@implements("hsplit")
def hsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the second axis, or the only one."""
    if not np.ndim(ary):
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return split(ary, indices_or_sections, 1 if np.ndim(ary) > 1 else 0)


@implements("vsplit")
def vsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the first axis."""
    if np.ndim(ary) < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return split(ary, indices_or_sections, 0)


@implements("dsplit")
def dsplit(ary: Any, indices_or_sections: Any) -> list[Any]:
    """Parts along the third axis."""
    if np.ndim(ary) < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return split(ary, indices_or_sections, 2)


@implements("unstack")
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The parts along an axis, which is dropped."""
    if not isinstance(x, Active) or not x.ndim:
        raise ValueError("Input array must be at least 1-d.")
    return tuple(moveaxis(x, axis, 0))
