"""The matrix path: large products over index spaces, brought to BLAS or to compiled matrix-vector loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.geometry import compact
from numbad.hostrows import bar_spaces, operand, primal_spaces, space_of
from numbad.threads import note_blas, shared_section


def contract_forward(execution: Any, code: Any, words: Any, row: int) -> None:
    """Compute out[...] += one[...] * other[...] over an index space."""
    w = int(code[row, 2])
    get = primal_spaces(execution)
    product = MatrixVector.find(words, w)
    if product is not None and product.clears(int(words[w + 3])):
        product.forward(get)
        return
    zeroed, out = int(words[w + 3]), int(code[row, 1])
    target, one, other = (operand(get, words, w, k) for k in range(3))
    if zeroed and not covers(target, zeroed):
        execution.values[out : out + zeroed] = 0.0
        zeroed = 0
    multiply_add(target, one, other, bool(zeroed))


def contract_backward(execution: Any, code: Any, words: Any, row: int, bars: Any) -> None:
    """Take back a product: the other operand times the cotangent; nothing where that is zero."""
    w = int(code[row, 2])
    get, get_bar = primal_spaces(execution), bar_spaces(bars)
    product = MatrixVector.find(words, w)
    if product is not None and get_bar(product.matrix[0]) is None:
        product.backward(get, get_bar)
        return
    bar = operand(get_bar, words, w, 0)
    if not compact(bar).any():
        return
    for k in (1, 2):
        space = space_of(words, w, k)
        if get_bar(space) is not None:
            target = operand(get_bar, words, w, k)
            fresh = space > 0 and execution.uses(code, words, space) == 1 and covers(target, bars.spaces[space].size)
            multiply_add(target, bar, operand(get, words, w, 3 - k), fresh)


class MatrixVector:
    """A row that multiplies a matrix, whose rows lie one after the other, and a vector: read off its words at once.

    Attributes
    ----------
    rows, columns : int
    transposed : bool
        Whether it is vector @ matrix.
    result, matrix, vector : tuple of int
        Space and address.
    """

    __slots__ = ("columns", "matrix", "result", "rows", "transposed", "vector")

    def __init__(self, rows: int, columns: int, transposed: bool, places: list[tuple[int, int]]) -> None:
        self.rows, self.columns, self.transposed = rows, columns, transposed
        self.result, self.matrix, self.vector = places

    @classmethod
    def find(cls, words: Any, w: int) -> MatrixVector | None:
        """Return what a row is, None if it is something else."""
        row = words[w : w + 21].tolist()
        if row[0] != 21 or row[2] != 2:
            return None
        rows, columns = row[4:6]
        target, one, other = row[7:11], row[12:16], row[17:21]
        if other[2:] == [columns, 1]:
            one, other = other, one
        plain = one[2:] == [columns, 1] and rows > 1 and columns > 1
        if not plain or (target[2:], other[2:]) not in (([1, 0], [0, 1]), ([0, 1], [1, 0])):
            return None
        return cls(rows, columns, target[2] == 0, [(part[0], part[1]) for part in (target, one, other)])

    def clears(self, count: int) -> bool:
        """Whether a row that clears so many elements clears its result."""
        return count == (self.columns if self.transposed else self.rows)

    def views(self, get: Any, get_matrix: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the result, the matrix and the vector."""
        wide, long = (self.columns, self.rows) if self.transposed else (self.rows, self.columns)
        (s, a), (t, b), (u, c) = self.result, self.matrix, self.vector
        matrix = get_matrix(t)[b : b + self.rows * self.columns].reshape(self.rows, self.columns)
        return get(s)[a : a + wide], matrix, get(u)[c : c + long]

    def forward(self, get: Any) -> None:
        """Compute the product."""
        result, matrix, vector = self.views(get, get)
        result[:] = 0.0
        add_product(matrix, vector, result, self.transposed)

    def backward(self, get: Any, get_bar: Any) -> None:
        """Add the vector's cotangents; the matrix is a constant."""
        if get_bar(self.vector[0]) is None:
            return
        bar, matrix, target = self.views(get_bar, get)
        if bar.any():
            add_product(matrix, bar, target, not self.transposed)


def add_product(matrix: np.ndarray, vector: np.ndarray, result: np.ndarray, transposed: bool) -> None:
    """Add matrix @ vector, or vector @ matrix if `transposed`, to a result."""
    from numbad import matrixkernels

    with shared_section(matrix.size):
        if transposed:
            matrixkernels.vector_times_matrix(vector, matrix, result)
        else:
            matrixkernels.matrix_times_vector(matrix, vector, result)


def covers(target: np.ndarray, count: int) -> bool:
    """Whether a view, its repetitions apart, names each of `count` elements once."""
    return compact(target).size == count


def contract_tangent(execution: Any, code: Any, words: Any, row: int, dots: Any) -> None:
    """Push tangents through a product."""
    w = int(code[row, 2])
    get, get_dot = primal_spaces(execution), bar_spaces(dots)
    zeroed, out = int(words[w + 3]), int(code[row, 1])
    if zeroed:
        dots.arena[out : out + zeroed] = 0.0
    target = operand(get_dot, words, w, 0)
    for k in (1, 2):
        if get_dot(space_of(words, w, k)) is not None:
            dot = operand(get_dot, words, w, k)
            if compact(dot).any():
                multiply_add(target, dot, operand(get, words, w, 3 - k))


def multiply_add(target: np.ndarray, one: np.ndarray, other: np.ndarray, assign: bool = False) -> None:
    """Add one * other to target (or assign it) over their index space, where each may repeat elements.

    Axes are sorted by the operands that they move: all three (batch), target and one (rows), target
    and other (columns), one and other (inner). That is a batched matrix product.
    """
    if target.ndim == 2 and not assign and plain_matrix_vector(target, one, other):
        return
    batch, rows, columns, inner = [], [], [], []
    lone = {0: [], 1: [], 2: []}  # type: ignore[var-annotated]
    for axis, length in enumerate(target.shape):
        if length == 1:
            continue
        moves = tuple(a.strides[axis] != 0 for a in (target, one, other))
        if moves == (True, True, True):
            batch.append(axis)
        elif moves == (True, True, False):
            rows.append(axis)
        elif moves == (True, False, True):
            columns.append(axis)
        elif moves == (False, True, True):
            inner.append(axis)
        elif any(moves):
            lone[moves.index(True)].append(axis)
        else:
            one = one * length
    if assign and (lone[0] or not inner):
        compact(target)[...] = 0.0
        assign = False
    one, other = sum_axes(one, lone[1]), sum_axes(other, lone[2])
    if inner and not batch and not lone[0] and (bool(rows) != bool(columns)):
        matrix_vector(target, one, other, rows, columns, inner, assign)
        return
    note_blas()
    left = take_axes(one, batch, rows, inner)
    right = take_axes(other, batch, inner, columns)
    result = take_axes(target, batch + rows + columns + lone[0])
    if len(rows) == len(columns) == 1 and not lone[0]:
        if result.strides[-1] > result.strides[-2]:  # the product in the order of its target's memory
            left, right = np.swapaxes(right, -1, -2), np.swapaxes(left, -1, -2)
            result = np.swapaxes(result, -1, -2)
        if assign:
            np.matmul(left, right, out=result)
            return
        result += np.matmul(left, right)
        return
    product = np.matmul(left, right).reshape([target.shape[axis] for axis in (*batch, *rows, *columns)])
    if lone[0]:
        product = product.reshape(product.shape + (1,) * len(lone[0]))
    if assign:
        result[...] = product
    else:
        result += product


def plain_matrix_vector(target: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    """Add a product of a row-major matrix and a vector to a vector, if it is no more than that."""
    item = target.itemsize
    t, u, v = target.strides, one.strides, other.strides
    if v == (target.shape[1] * item, item):
        one, other, u, v = other, one, v, u
    if u != (target.shape[1] * item, item) or target.shape[0] < 2 or target.shape[1] < 2:
        return False
    if t == (item, 0) and v == (0, item):
        add_product(one, other[0], target[:, 0], False)
        return True
    if t == (0, item) and v == (item, 0):
        add_product(one, other[:, 0], target[0], True)
        return True
    return False


def sum_axes(values: np.ndarray, axes: list[int]) -> np.ndarray:
    """Sum over some axes, keeping them with length 1 and a stride of zero."""
    if not axes:
        return values
    return values.sum(axis=tuple(axes), keepdims=True)


def take_axes(values: np.ndarray, *groups: list[int]) -> np.ndarray:
    """Return the array with its other axes dropped: the first group kept, each later one merged into one axis."""
    kept = [axis for group in groups for axis in group]
    index = tuple(slice(None) if axis in kept else 0 for axis in range(values.ndim))
    order = sorted(kept)
    values = values[(*index, Ellipsis)].transpose([order.index(axis) for axis in kept])
    if len(groups) == 2 and not groups[1]:
        return values
    shape = list(values.shape[: len(groups[0])])
    position = len(groups[0])
    for group in groups[1:]:
        length = 1
        for n in values.shape[position : position + len(group)]:
            length *= n
        shape.append(length)
        position += len(group)
    if len(groups) == 2:
        return values
    return values.reshape(shape)


def matrix_vector(
    target: np.ndarray,
    one: np.ndarray,
    other: np.ndarray,
    rows: list[int],
    columns: list[int],
    inner: list[int],
    assign: bool,
) -> None:
    """Add a product of a matrix and a vector to target, reading the matrix along its rows in memory."""
    matrix, vector, kept = (one, other, rows) if rows else (other, one, columns)
    table = take_axes(matrix, [], kept, inner)
    values = np.ascontiguousarray(take_axes(vector, [], inner, []).reshape(-1))
    result = take_axes(target, kept)
    flat = np.zeros(table.shape[0], target.dtype)
    transposed = table.strides[0] < table.strides[1]
    if transposed:
        table = table.T
    if table.strides[1] != table.itemsize or table.strides[0] < 0:
        table = np.ascontiguousarray(table)
    add_product(table, values, flat, transposed)
    if assign:
        result[...] = flat.reshape(result.shape)
    else:
        result += flat.reshape(result.shape)
