"""Convolutions over the last axes, and linear filters: one kernel for values and all derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.ops import reach
from numbad.ops.host import array_op

Shape = tuple[int, ...]
TAP, TERM = 4e-6, 0.7e-9  # seconds of a pass over an array: of its call, and of each element
TRANSFORM, BUTTERFLY = 6e-5, 3e-9  # of a convolution by FFT: of its calls, and of each element times its logarithm


def box_shape(a: Shape, v: Shape, first: Shape, shape: Shape, fast: bool) -> list[Shape]:
    """The shape of a part of a full convolution; axes in front are those of a stack."""
    axes = len(shape)
    if len(first) != axes or min(len(a), len(v)) < axes or a[: len(a) - axes] != v[: len(v) - axes]:
        raise ValueError(f"convolved_box: shapes {a}, {v} and {shape} do not fit")
    return [(*a[: len(a) - axes], *shape)]


@array_op(shapes=box_shape, stacks=True)
def convolved_box(a: Any, v: Any, first: Shape, shape: Shape, fast: bool) -> Any:
    """The elements from `first` on, in a box of a shape, of the full convolution over as many last axes.

    What lies outside of the full convolution is zero, so the derivatives are boxes of convolutions again. With `fast`
    it may be computed by FFT, whose rounding is that of the largest element, where that costs less.
    """
    axes = len(shape)
    if math.prod(v.shape) > math.prod(a.shape):
        a, v = v, a
    taps = v.shape[v.ndim - axes :]
    if not math.prod(taps) or not a.size or not math.prod(shape):
        return np.zeros((*a.shape[: a.ndim - axes], *shape), a.dtype)
    if fast and costs_less_by_fft(a.shape[a.ndim - axes :], taps, shape, a.size // math.prod(a.shape[a.ndim - axes :])):
        return box_by_fft(a, v, first, shape)
    own = a.shape[a.ndim - axes :]
    edges = any(k < m - 1 or k + n > many for k, n, m, many in zip(first, shape, taps, own, strict=True))
    if edges and axes == 1 and not np.isfinite(v).all():  # over more axes SciPy itself puts zeros around
        return sums_of_pairs(a, v, first[0], shape[0])
    if a.ndim == 1 and edges:
        begin, end = max(first[0] - taps[0] + 1, 0), max(min(first[0] + shape[0], a.size), 0)
        if 0 < end - begin and end - begin + taps[0] <= 2 * shape[0]:
            return boxed(np.convolve(a[begin:end], v), (first[0] - begin,), shape)
    wide = tuple(n + m - 1 for n, m in zip(shape, taps, strict=True))
    inner = boxed(a, tuple(n - m + 1 for n, m in zip(first, taps, strict=True)), wide)
    if a.ndim == 1:
        return np.convolve(inner, v, "valid")
    turned = np.flip(v, tuple(range(v.ndim - axes, v.ndim)))
    stack = a.shape[: a.ndim - axes]
    if math.prod(taps) > math.prod(shape):
        return sums_by_element(inner, turned, shape, stack)
    found = np.zeros((*stack, *shape), a.dtype)
    for place in np.ndindex(taps):
        found += turned[(..., *place)].reshape((*stack, *(1,) * axes)) * window_at(inner, place, shape)
    return found


def sums_of_pairs(a: np.ndarray, v: np.ndarray, first: int, count: int) -> np.ndarray:
    """Return a part of a convolution of sequences, of the products there are: at the edges no zero is met by a NaN."""
    found = np.zeros((*a.shape[:-1], count), a.dtype)
    for tap in range(v.shape[-1]):  # v[tap] meets a[k], and adds to the full convolution at k + tap
        begin, end = max(first - tap, 0), min(first + count - tap, a.shape[-1])
        if begin < end:
            start = begin + tap - first
            found[..., start : start + end - begin] += v[..., tap, None] * a[..., begin:end]
    return found


def sums_by_element(inner: np.ndarray, turned: np.ndarray, shape: Shape, stack: Shape) -> np.ndarray:
    """Return a box of few elements, each a sum over a window."""
    found = np.empty((*stack, *shape), inner.dtype)
    axes, taps = len(shape), turned.shape[turned.ndim - len(shape) :]
    last = tuple(range(-axes, 0))
    for place in np.ndindex(shape):
        window = window_at(inner, place, taps)
        found[(..., *place)] = np.vdot(window, turned) if not stack else np.sum(window * turned, axis=last)
    return found


def boxed(a: np.ndarray, first: Shape, shape: Shape) -> np.ndarray:
    """Return a part of an array over its last axes, with zeros where it reaches over the edges."""
    lead = a.ndim - len(shape)
    own = a.shape[lead:]
    inside = tuple(
        slice(min(max(k, 0), m), max(min(k + n, m), min(max(k, 0), m)))
        for k, n, m in zip(first, shape, own, strict=True)
    )
    if all(k >= 0 and k + n <= m for k, n, m in zip(first, shape, own, strict=True)):
        return window_at(a, first, shape)
    found = np.zeros((*a.shape[:lead], *shape), a.dtype)
    extents = tuple(part.stop - part.start for part in inside)
    if all(extents):
        starts = tuple(part.start for part in inside)
        window_at(found, tuple(s - k for s, k in zip(starts, first, strict=True)), extents)[...] = window_at(
            a, starts, extents
        )
    return found


def window_at(a: np.ndarray, first: Shape, shape: Shape) -> np.ndarray:
    """Return a part of an array over its last axes, as a view."""
    chosen: Any = (..., *(slice(k, k + n) for k, n in zip(first, shape, strict=True)))
    return a[chosen]


def costs_less_by_fft(a: Shape, taps: Shape, shape: Shape, stack: int) -> bool:
    """Whether a convolution takes less time by FFT: both are estimated from the numbers of elements."""
    few, many = sorted((math.prod(taps), math.prod(shape)))
    whole = math.prod(n + m - 1 for n, m in zip(a, taps, strict=True))
    direct = few * (TAP + TERM * many * stack) if len(taps) > 1 else TAP + 0.3 * TERM * few * many * stack
    return TRANSFORM + BUTTERFLY * whole * math.log2(whole + 1) * stack < direct


def box_by_fft(a: np.ndarray, v: np.ndarray, first: Shape, shape: Shape) -> np.ndarray:
    """Return a box of the full convolution, from the product of transforms (Cooley and Tukey, 1965)."""
    from scipy import fft

    axes = tuple(range(-len(shape), 0))
    full = [n + m - 1 for n, m in zip(a.shape[axes[0] :], v.shape[axes[0] :], strict=True)]
    sizes = [fft.next_fast_len(n, real=True) for n in full]
    product = fft.rfftn(a, sizes, axes) * fft.rfftn(v, sizes, axes)
    whole = window_at(fft.irfftn(product, sizes, axes), (0,) * len(full), tuple(full))
    return boxed(whole, first, shape)


convolved_box.takes_wanted = True


convolved_box.reach = reach.convolved


@convolved_box.vjp
def convolved_box_vjp(
    bars: Any, results: Any, operands: Any, first: Shape, shape: Shape, fast: bool, wanted: Any = (True, True)
) -> Any:
    axes = tuple(range(-len(shape), 0))
    a, v = operands

    def back(other: Any, own: Shape) -> Any:
        """The cotangent of one factor: the cotangent of the result convolved with the other one, reversed."""
        extents = np.shape(other)[axes[0] :]
        start = tuple(n - 1 - k for n, k in zip(extents, first, strict=True))
        return convolved_box(bars[0], np.flip(other, axes), first=start, shape=tuple(own[axes[0] :]), fast=fast)

    return back(v, np.shape(a)) if wanted[0] else None, back(a, np.shape(v)) if wanted[1] else None


# ---------------------------------------------------------------- linear filters


@array_op(shapes=lambda b, a, x: [x], stacks=True)
def filtered(b: Any, a: Any, x: Any) -> Any:
    """A linear filter along the last axis, from rest: sums of a[k] y[n-k] are those of b[k] x[n-k], where a[0] is 1."""
    from scipy.signal import lfilter

    if b.ndim == 1:
        return lfilter(b, a, x, axis=-1)
    if b.strides[0] == 0 and a.strides[0] == 0 and len(b) and b.ndim == 2:
        return lfilter(b[0], a[0], x, axis=-1)
    found = np.empty(x.shape, x.dtype)
    for place in np.ndindex(b.shape[:-1]):
        found[place] = lfilter(b[place], a[place], x[place], axis=-1)
    return found


@filtered.vjp
def filtered_vjp(bars: Any, results: Any, operands: Any) -> Any:
    b, a, x = operands
    bar = bars[0]
    one = np.zeros(np.shape(b)) + np.eye(1, np.shape(b)[-1])[0]
    summed = tuple(range(np.ndim(b) - 1, np.ndim(x)))
    count = np.shape(x)[-1]

    def along(signal: Any) -> Any:
        """The sums of cotangents times a signal that is one to many steps late."""
        late = filtered(one, a, signal)
        parts = [
            np.sum(bar[..., min(k, count) :] * late[..., : max(count - k, 0)], axis=summed)
            for k in range(np.shape(b)[-1])
        ]
        return np.stack(parts, axis=-1)

    x_bar = filtered(b, a, bar[..., ::-1])[..., ::-1]
    kept = 1.0 - np.eye(1, np.shape(a)[-1])[0]  # the first coefficient is one
    return along(x), -along(results[0]) * kept, x_bar
