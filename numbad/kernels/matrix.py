"""Compiled matrix-vector products: bound by memory, so one pass over the matrix with all threads."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit, prange

from numbad.kernels.threads import compile_parallel
from numbad.limits import PIECES

STRIP = 4  # rows that are worked on together


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def dot_rows(matrix, vector, result, start, stop):
    """Add the products of some rows with a vector to `result`."""
    n = vector.size
    row = start
    while row + STRIP <= stop:
        a, b, c, d = matrix[row], matrix[row + 1], matrix[row + 2], matrix[row + 3]
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
        a = matrix[row]
        s = vector.dtype.type(0)
        for j in range(n):
            s += a[j] * vector[j]
        result[row] += s
        row += 1


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def add_rows(matrix, vector, result, start, stop):
    """Add some rows, times the elements of a vector, to `result`."""
    n = result.size
    row = start
    while row + STRIP <= stop:
        a, b, c, d = matrix[row], matrix[row + 1], matrix[row + 2], matrix[row + 3]
        s, t, u, v = vector[row], vector[row + 1], vector[row + 2], vector[row + 3]
        for j in range(n):
            result[j] += s * a[j] + t * b[j] + u * c[j] + v * d[j]
        row += STRIP
    while row < stop:
        a, s = matrix[row], vector[row]
        for j in range(n):
            result[j] += s * a[j]
        row += 1


@compile_parallel
def matrix_times_vector(matrix, vector, result):
    """Add matrix @ vector to result."""
    rows = matrix.shape[0]
    size = ((rows + PIECES - 1) // PIECES + STRIP - 1) // STRIP * STRIP
    for piece in prange(PIECES):
        dot_rows(matrix, vector, result, min(rows, piece * size), min(rows, (piece + 1) * size))


@compile_parallel
def vector_times_matrix(vector, matrix, result):
    """Add vector @ matrix to result: pieces of rows have sums of their own, which are added in order."""
    rows, columns = matrix.shape
    size = ((rows + PIECES - 1) // PIECES + STRIP - 1) // STRIP * STRIP
    partial = np.zeros((PIECES, columns), matrix.dtype)
    for piece in prange(PIECES):
        add_rows(matrix, vector, partial[piece], min(rows, piece * size), min(rows, (piece + 1) * size))
    for piece in range(PIECES):
        for j in range(columns):
            result[j] += partial[piece, j]
