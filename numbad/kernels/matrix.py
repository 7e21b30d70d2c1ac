"""Compiled matrix-vector products: bound by memory, so one pass over the matrix with all threads."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.kernels.tables import array_at, array_of, compiled, fill_run, share_of, table_at
from numbad.limits import PIECES

STRIP = 4  # rows that are worked on together


@compiled
def row_of(matrix, row, step, columns):
    """Return a row of a matrix, whose rows begin `step` elements apart."""
    return matrix[row * step : row * step + columns]


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot_rows(matrix, step, vector, result, start, stop):
    """Add the products of some rows with a vector to `result`."""
    n = vector.size
    row = start
    while row + STRIP <= stop:
        a, b = row_of(matrix, row, step, n), row_of(matrix, row + 1, step, n)
        c, d = row_of(matrix, row + 2, step, n), row_of(matrix, row + 3, step, n)
        s = t = u = v = vector.dtype.type(0)
        for j in range(n):
            x = vector[j]
            s += a[j] * x
            t += b[j] * x
            u += c[j] * x
            v += d[j] * x
        result[row] += s
        result[row + 1] += t
        result[row + 2] += u
        result[row + 3] += v
        row += STRIP
    while row < stop:
        a = row_of(matrix, row, step, n)
        s = vector.dtype.type(0)
        for j in range(n):
            s += a[j] * vector[j]
        result[row] += s
        row += 1


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def add_rows(matrix, step, vector, result, start, stop):
    """Add some rows, times the elements of a vector, to `result`."""
    n = result.size
    row = start
    while row + STRIP <= stop:
        a, b = row_of(matrix, row, step, n), row_of(matrix, row + 1, step, n)
        c, d = row_of(matrix, row + 2, step, n), row_of(matrix, row + 3, step, n)
        s, t, u, v = vector[row], vector[row + 1], vector[row + 2], vector[row + 3]
        for j in range(n):
            result[j] += s * a[j] + t * b[j] + u * c[j] + v * d[j]
        row += STRIP
    while row < stop:
        a, s = row_of(matrix, row, step, n), vector[row]
        for j in range(n):
            result[j] += s * a[j]
        row += 1


@compiled
def piece_of(rows, piece):
    """Return the first row of a piece, and the first of the next one."""
    size = ((rows + PIECES - 1) // PIECES + STRIP - 1) // STRIP * STRIP
    return min(rows, piece * size), min(rows, (piece + 1) * size)


# ---------------------------------------------------------------- entries: a matrix, a vector, and the result


def matrix_vector_at(like, share, at):
    """Add a share of matrix @ vector to the result. Compiled to a C function."""
    table = table_at(at)
    matrix, vector, result = array_at(table, 0, like), array_at(table, 1, like), array_at(table, 2, like)
    begin, end = share_of(PIECES, share, table[6])
    for piece in range(begin, end):
        first, last = piece_of(result.size, piece)
        dot_rows(matrix, table[7], vector, result, first, last)
    return np.int64(0)


def vector_matrix_at(like, share, at):
    """Compute a share of vector @ matrix: each piece of rows has sums of its own. Compiled to a C function."""
    table = table_at(at)
    matrix, vector, sums = array_at(table, 0, like), array_at(table, 1, like), array_at(table, 2, like)
    columns = sums.size // PIECES
    begin, end = share_of(PIECES, share, table[6])
    for piece in range(begin, end):
        first, last = piece_of(vector.size, piece)
        own = sums[piece * columns : (piece + 1) * columns]
        fill_run(own, own.dtype.type(0))
        add_rows(matrix, table[7], vector, own, first, last)
    return np.int64(0)


def add_pieces_at(like, sums, result, columns):
    """Add the sums of all pieces to the result, in order. Compiled to a C function."""
    parts, target = array_of(sums, PIECES * columns, like), array_of(result, columns, like)
    for piece in range(PIECES):
        for j in range(columns):
            target[j] += parts[piece * columns + j]
    return np.int64(0)
