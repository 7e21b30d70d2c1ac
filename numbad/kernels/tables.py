"""What entries read: a table of int64 that holds the address and the length of each array, and numbers behind these.

An entry is a C function `(like, number, table's address) -> int64`; `kernels.calls` writes the table and calls it.
Where work is shared out, the number says which share is taken, and the first number behind the arrays how many there
are.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.kernels.vectormath import view
from numbad.tape.layout import WHOLE

compiled = njit(nogil=True, error_model="numpy")


@compiled
def table_at(address):
    """Return the table at a memory address."""
    return view(np.uint64(address), WHOLE, np.int64(0))


@compiled
def array_of(address, count, like):
    """Return the array of some elements of the type of `like` at a memory address."""
    return view(np.uint64(address), count, like)


@compiled
def array_at(table, k, like):
    """Return the k-th array, whose elements have the type of `like`."""
    return array_of(table[2 * k], table[2 * k + 1], like)


@compiled
def bytes_at(table, k):
    """Return an array of bytes."""
    return array_at(table, k, np.uint8(0))


@compiled
def addresses_at(table, k):
    """Return an array of uint32."""
    return array_at(table, k, np.uint32(0))


@compiled
def integers_at(table, k):
    """Return an array of int64."""
    return array_at(table, k, np.int64(0))


@compiled
def places_at(table, k):
    """Return an array of memory addresses, uint64."""
    return array_at(table, k, np.uint64(0))


@compiled
def share_of(count, share, shares):
    """Return the first of `count` units of work of a share, and the first of the next one."""
    return share * count // shares, (share + 1) * count // shares


@compiled
def copy_run(target, source):
    """Copy an array to another of the same length."""
    for j in range(target.size):
        target[j] = source[j]


@compiled
def fill_run(target, value):
    """Set all elements of an array."""
    for j in range(target.size):
        target[j] = value
