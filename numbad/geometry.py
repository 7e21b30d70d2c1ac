"""Shapes and strides: the arithmetic of broadcasting, reshaping and axes, on tuples of ints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.errors import message

Shape = tuple[int, ...]


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a C-contiguous array."""
    strides = []
    step = 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def collapse(shape: tuple[int, ...], strides: list[tuple[int, ...]]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Merge the axes of an index space that all operands step through alike; drop axes of length 1."""
    new_shape: list[int] = []
    new_strides: list[list[int]] = [[] for _ in strides]
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        if new_shape and all(
            merged[-1] == length * stride[axis] for merged, stride in zip(new_strides, strides, strict=True)
        ):
            new_shape[-1] *= length
            for merged, stride in zip(new_strides, strides, strict=True):
                merged[-1] = stride[axis]
        else:
            new_shape.append(length)
            for merged, stride in zip(new_strides, strides, strict=True):
                merged.append(stride[axis])
    if not new_shape:
        return (1,), [(0,) if k else (1,) for k in range(len(strides))]
    return tuple(new_shape), [tuple(merged) for merged in new_strides]


def broadcast(one: Shape, other: Shape) -> Shape:
    """Return the common shape of two operands, or raise NumPy's ValueError."""
    if not other:
        return one
    if not one:
        return other
    try:
        return np.broadcast_shapes(one, other)
    except ValueError:
        raise ValueError(
            message(
                f"operands could not be broadcast together with shapes {one} {other}",
                "compare the shapes; x[:, None] or reshape adds an axis",
            )
        ) from None


def broadcast_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape:
    """Return the strides that repeat an array of `shape` over the shape `wanted`."""
    if shape == wanted:
        return strides
    missing = len(wanted) - len(shape)
    result = [0] * missing
    if missing < 0:
        raise ValueError(f"cannot broadcast an array of shape {shape} to {wanted}")
    for length, stride, target in zip(shape, strides, wanted[missing:], strict=True):
        if length != target and length != 1:
            raise ValueError(f"cannot broadcast an array of shape {shape} to {wanted}")
        result.append(stride if length == target and length != 1 else 0)
    return tuple(result)


def spread(shape: Shape, strides: Shape) -> np.ndarray:
    """Return the offsets of all elements of a strided view."""
    result = np.zeros(shape, np.int64)
    for axis, (length, stride) in enumerate(zip(shape, strides, strict=True)):
        result += (stride * np.arange(length, dtype=np.int64)).reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return result


def reach(address: int, shape: Shape, strides: Shape) -> tuple[int, int]:
    """Return the first and the last address of a strided view; the last is before the first if it is empty."""
    steps = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    if 0 in shape:
        return address, address - 1
    return address + sum(min(0, step) for step in steps), address + sum(max(0, step) for step in steps)


def is_run(addresses: np.ndarray) -> bool:
    """Whether addresses follow one another, in C order."""
    return bool((np.diff(addresses.reshape(-1)) == 1).all())


def overlaps(shape: Shape, strides: Shape) -> bool:
    """Whether elements of a strided view may share an address; False is certain."""
    reach = 0
    for step, length in sorted((abs(s), n) for n, s in zip(shape, strides, strict=True) if n > 1):
        if step <= reach:
            return True
        reach += step * (length - 1)
    return False


def affine_strides(places: np.ndarray) -> Shape | None:
    """Return the strides of an array of addresses if it is a strided view of memory, else None."""
    first = int(places[(0,) * places.ndim])
    if places.ndim == 1:
        step = int(places[1]) - first if places.size > 1 else 0
        if step < 0 or int(places[-1]) - first != step * (places.size - 1):
            return None
        return (step,) if places.size < 3 or (np.diff(places) == step).all() else None
    strides = []
    expected = np.zeros((1,) * places.ndim, np.int64)
    for axis, length in enumerate(places.shape):
        index = [0] * places.ndim
        index[axis] = 1
        step = int(places[tuple(index)]) - first if length > 1 else 0
        strides.append(step)
        ramp = [1] * places.ndim
        ramp[axis] = length
        expected = expected + (step * np.arange(length, dtype=np.int64)).reshape(ramp)
    if any(s < 0 for s in strides):
        return None
    return tuple(strides) if np.array_equal(places, expected + first) else None


def resolve_shape(size: int, shape: Shape) -> Shape:
    """Return a shape with its -1 replaced."""
    if shape.count(-1) > 1:
        raise ValueError("can only specify one unknown dimension")
    if -1 in shape:
        known = -math.prod(shape)
        if known == 0 or size % known:
            raise ValueError(f"cannot reshape array of size {size} into shape {shape}")
        shape = tuple(size // known if n == -1 else n for n in shape)
    if math.prod(shape) != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {shape}")
    return shape


def reshaped_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """Return the strides of a reshaped view, or None if the elements have to be copied."""
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    result: list[int] = []
    k = 0
    position = 0
    while position < len(wanted):
        if wanted[position] == 1:
            result.append(0)
            position += 1
            continue
        if k == len(old):
            return None
        have, stop = old[k][0], k + 1
        need, end = wanted[position], position + 1
        while have != need:
            if have < need:
                if stop == len(old):
                    return None
                if old[stop - 1][1] != old[stop][0] * old[stop][1]:
                    return None
                have *= old[stop][0]
                stop += 1
            else:
                if end == len(wanted):
                    return None
                need *= wanted[end]
                end += 1
        step = old[stop - 1][1]
        part: list[int] = []
        for length in reversed(wanted[position:end]):
            part.append(step)
            step *= length
        result += reversed(part)
        k, position = stop, end
    return tuple(result)


def normal_axis(axis: Any, ndim: int) -> int:
    """Return an axis counted from the front."""
    axis = int(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def compact(view: np.ndarray) -> np.ndarray:
    """Return a view without the repetitions of a broadcast one: axes of stride 0 have length 1."""
    if 0 not in view.strides:
        return view
    return view[tuple(slice(0, 1) if step == 0 else slice(None) for step in view.strides)]


def covers(target: np.ndarray, count: int) -> bool:
    """Whether a view, its repetitions apart, names each of `count` elements once."""
    once = compact(target)
    return once.size == count and not overlaps(once.shape, once.strides)


def table_of(members: Any, size: int) -> np.ndarray:
    """Return for each integer below `size` whether it is among some: np.isin would sort, and import numpy.ma."""
    table = np.zeros(size, bool)
    table[np.asarray(members, np.int64)] = True
    return table
