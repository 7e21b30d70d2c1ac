"""Axes of reductions: counting them from the front, and the shapes that they leave."""

from __future__ import annotations

import math
from typing import Any

from numbad.geometry import normal_axis
from numbad.recording.arrays import Array

Shape = tuple[int, ...]


def normal_axes(axis: Any, ndim: int) -> Shape:
    """Return the axes of a reduction, counted from the front, in order."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, int):
        return (normal_axis(axis, ndim),)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = sorted(normal_axis(a, ndim) for a in axes)
    if len(set(found)) != len(found):
        raise ValueError("duplicate value in 'axis'")
    return tuple(found)


def reduced_axes(axis: Any, ndim: int) -> Shape:
    """Return the axes of a ufunc's reduction, which lets a number have the axes 0 and -1."""
    return () if not ndim and type(axis) is int and axis in (0, -1) else normal_axes(axis, ndim)


def reduced_shape(shape: Shape, axes: Shape, keepdims: bool) -> Shape:
    """Return the shape after a reduction."""
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def count_over(shape: Shape, axes: Shape) -> int:
    """Return how many elements each result of a reduction is made of."""
    return math.prod(shape[k] for k in axes)


def last(array: Array, axes: Shape) -> Any:
    """Return a view with the reduced axes moved to the end and merged into one."""
    if len(axes) == array.ndim:
        return array.reshape(-1)
    if axes == (array.ndim - 1,):
        return array
    kept = [k for k in range(array.ndim) if k not in axes]
    shape = tuple(array.shape[k] for k in kept)
    return array.transpose([*kept, *axes]).reshape((*shape, count_over(array.shape, axes)))


def one_axis(array: Array, axis: Any) -> tuple[Array, int]:
    """Return the array and axis that a function of one axis works on; axis None means flat."""
    if axis is None:
        return array.reshape(-1), 0
    return array, normal_axis(axis, array.ndim)
