"""Large array rows in pieces of a fixed size: the kernels of array rows, and sums, of which threads take shares.

What is computed does not depend on the number of shares.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.array import add_strided, map_adjoint, map_primal, total
from numbad.kernels.tables import array_at, array_of, integers_at, places_at, share_of, table_at
from numbad.kernels.vectormath import room, rows_of, view
from numbad.limits import BLOCK, PIECE

ROOM = 4 * BLOCK  # elements of scratch: blocks of two operands and of their partials


def map_forward_at(like, share, at):
    """Compute a share of an elementwise row. Compiled to a C function."""
    table = table_at(at)
    kernels, words, bases = places_at(table, 0), integers_at(table, 1), places_at(table, 2)
    values, scratch = array_at(table, 3, like), rows_of(view(room(ROOM, like), ROOM, like), BLOCK)
    opcode, w, count = table[9], table[10], table[11]
    begin, end = share_of((count + PIECE - 1) // PIECE, share, table[8])
    stop = min(count, end * PIECE)
    return np.int64(map_primal(kernels, opcode, words, w, bases, values, scratch, begin * PIECE, stop))


def map_backward_at(like, share, at):
    """Take back a share of an elementwise row, to the operands in `which`. Compiled to a C function."""
    table = table_at(at)
    kernels, words, bases, bars = places_at(table, 0), integers_at(table, 1), places_at(table, 2), places_at(table, 3)
    values, scratch = array_at(table, 4, like), rows_of(view(room(ROOM, like), ROOM, like), BLOCK)
    opcode, w, count, which = table[11], table[12], table[13], table[14]
    begin, end = share_of((count + PIECE - 1) // PIECE, share, table[10])
    start, stop = begin * PIECE, min(count, end * PIECE)
    return np.int64(map_adjoint(kernels, opcode, words, w, bases, bars, values, scratch, start, stop, which))


def totals_at(like, share, at):
    """Add up a share of the pieces of a contiguous run. Compiled to a C function."""
    table = table_at(at)
    source, sums = array_at(table, 0, like), array_at(table, 1, like)
    begin, end = share_of(sums.size, share, table[4])
    for piece in range(begin, end):
        sums[piece] = total(source[piece * PIECE : min(source.size, (piece + 1) * PIECE)])
    return np.int64(0)


def total_at(like, source, count, target):
    """Write the sum of a contiguous run. Compiled to a C function."""
    array_of(target, 1, like)[0] = total(array_of(source, count, like))
    return np.int64(0)


def add_at(like, w, at):
    """Add one operand of a row to another over the row's index space. Compiled to a C function."""
    table = table_at(at)
    words, target, source = integers_at(table, 0), table[2], table[4]
    t_address, s_address = np.uint64(table[3]), np.uint64(table[5])
    add_strided(words, w, target, t_address, source, s_address, array_of(t_address, 1, like))
    return np.int64(0)
