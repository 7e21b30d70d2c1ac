"""What the text of an adjoint calls: cotangents, and products that know what is absent."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.kernels.vectormath import absent
from numbad.ops.definition import ABSENT

compiled = njit(error_model="numpy", nogil=True)


@compiled
def bars_like(array):
    """Return the cotangents of an array, all absent."""
    return np.full(array.shape, ABSENT, array.dtype)


@compiled
def clear(bars):
    """Make cotangents absent."""
    bars[...] = ABSENT


@compiled
def add_to(bars, more):
    """Add cotangents to others."""
    for index in np.ndindex(bars.shape):
        bars[index] += more[index]


@compiled
def weigh(x, y):
    """Product of a partial that is a number and a cotangent: absent where the cotangent is."""
    return ABSENT if absent(y) else x * y + 0.0


@compiled
def gate(x, y):
    """Product of a partial and a cotangent, either of which may be absent; then it is absent too."""
    return ABSENT if absent(x) or absent(y) else x * y + 0.0


@compiled
def opposite(x):
    """A cotangent with its sign changed, absent where it is absent."""
    return ABSENT if absent(x) else 0.0 - x


@compiled
def trips(start, stop, step):
    """Return how often a loop over a range runs."""
    return len(range(start, stop, step))


@compiled
def inside(first, last, size):
    """Raise where an index of one of two ends lies outside of an axis."""
    if first < -size or first >= size or last < -size or last >= size:
        raise IndexError("an index out of its range")


@compiled
def bound(place, size):
    """Return where a bound of a slice lies in an axis."""
    found = place + size if place < 0 else place
    return min(max(found, 0), size)


@compiled
def span(start, stop):
    """Return the length of a slice."""
    return max(stop - start, 0)


@compiled
def same(length, other):
    """Return a length that two arrays have."""
    if length != other:
        raise IndexError("arrays of different lengths")
    return length
