"""The matrix path: large products over index spaces, brought to BLAS or to compiled matrix-vector loops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.geometry import compact, covers, overlaps
from numbad.kernels.calls import run_shares
from numbad.kernels.loading import sweep
from numbad.kernels.memory import address_of, empty
from numbad.kernels.parallel import count_shares, note_blas
from numbad.limits import PIECES
from numbad.sweeps.operands import add_broadcast, bar_spaces, operand, primal_spaces
from numbad.tape.layout import operand_count, row_axes, row_cleared, row_operands, row_shape, space_of

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution


def contract_forward(execution: Execution, code: np.ndarray, words: np.ndarray, row: int) -> None:
    """Compute out[...] += one[...] * other[...] over an index space."""
    w = int(code[row, 2])
    get = primal_spaces(execution)
    zeroed, out = int(row_cleared(words, w)), int(code[row, 1])
    product = MatrixVector.find(words, w)
    if product is not None and zeroed in (0, product.results()):
        product.forward(get, bool(zeroed))
        return
    target, one, other = (operand(get, words, w, k) for k in range(3))
    if zeroed and not covers(target, zeroed):
        execution.values[out : out + zeroed] = 0.0
        zeroed = 0
    multiply_add(target, one, other, bool(zeroed))


def contract_backward(execution: Execution, code: np.ndarray, words: np.ndarray, row: int, bars: Cotangents) -> None:
    """Take back a product: the other operand times the cotangent; nothing where that is absent."""
    w = int(code[row, 2])
    get, get_bar = primal_spaces(execution), bar_spaces(bars)
    product = MatrixVector.find(words, w)
    left: tuple[int, ...] = (1, 2)
    if product is not None:
        product.backward(get, get_bar, execution.finite)
        left = (product.place,)
        if get_bar(product.matrix[0]) is None:
            return
    bar = operand(get_bar, words, w, 0)
    varies = bool(compact(bar).any())
    if not varies and is_absent(bar):
        return
    for k in left:
        space = space_of(words, w, k)
        if get_bar(space) is not None:
            target = operand(get_bar, words, w, k)
            fresh = space > 0 and execution.uses(code, words, space) == 1 and covers(target, bars.spaces[space].size)
            factor = operand(get, words, w, 3 - k)
            if not varies and is_finite(factor, execution.finite):
                compact(target)[...] += 0.0
            else:
                multiply_add(target, bar, factor, fresh)


def contract_tangent(execution: Execution, code: np.ndarray, words: np.ndarray, row: int, dots: Cotangents) -> None:
    """Push tangents through a product."""
    w = int(code[row, 2])
    get, get_dot = primal_spaces(execution), bar_spaces(dots)
    zeroed, out = int(row_cleared(words, w)), int(code[row, 1])
    if zeroed:
        dots.arena[out : out + zeroed] = -0.0
    product = MatrixVector.find(words, w)
    if product is not None:
        product.tangent(get, get_dot)
        return
    target = operand(get_dot, words, w, 0)
    for k in (1, 2):
        if get_dot(space_of(words, w, k)) is not None:
            dot = operand(get_dot, words, w, k)
            if not is_absent(dot):
                multiply_add(target, dot, operand(get, words, w, 3 - k))


def is_absent(values: np.ndarray) -> bool:
    """Whether cotangents or tangents are absent throughout: all are -0.0."""
    values = compact(values)
    return not values.any() and bool(np.signbit(values).all())


def is_finite(factor: np.ndarray, finite: dict[tuple[int, int], bool]) -> bool:
    """Whether a factor is finite, so that its product with cotangents of zero need not be formed.

    What is known of the factors of a sweep is kept in `finite`, by where they are and how large.
    """
    factor = compact(factor)
    key = factor.__array_interface__["data"][0], factor.size
    if key not in finite:  # a sum is finite only if all terms are
        finite[key] = bool(np.isfinite(np.sum(factor))) or bool(np.isfinite(factor).all())
    return finite[key]


class MatrixVector:
    """A row that multiplies a matrix, whose rows lie one after the other, and a vector: read off its words at once.

    Attributes
    ----------
    rows, columns : int
    transposed : bool
        Whether it is vector @ matrix.
    place : int
        Which operand of the row the matrix is, 1 or 2.
    result, matrix, vector : tuple of int
        Space and address.
    """

    __slots__ = ("columns", "matrix", "place", "result", "rows", "transposed", "vector")

    def __init__(self, rows: int, columns: int, transposed: bool, place: int, parts: list[list[int]]) -> None:
        self.rows, self.columns, self.transposed, self.place = rows, columns, transposed, place
        self.result, self.matrix, self.vector = ((space, address) for space, address, *_ in parts)

    @classmethod
    def find(cls, words: Any, w: int) -> MatrixVector | None:
        """Return what a row is, None if it is something else."""
        if row_axes(words, w) != 2 or operand_count(words, w) != 3:
            return None
        rows, columns = row_shape(words, w)
        target, one, other = ([space, first, *steps] for space, first, steps in row_operands(words, w))
        if [1, rows] in (one[2:], other[2:]) and [columns, 1] not in (one[2:], other[2:]):  # a matrix in columns
            rows, columns = columns, rows
            target, one, other = ([*part[:2], part[3], part[2]] for part in (target, one, other))
        place = 1
        if other[2:] == [columns, 1]:
            one, other, place = other, one, 2
        plain = one[2:] == [columns, 1] and rows > 1 and columns > 1
        if not plain or (target[2:], other[2:]) not in (([1, 0], [0, 1]), ([0, 1], [1, 0])):
            return None
        return cls(rows, columns, target[2] == 0, place, [target, one, other])

    def results(self) -> int:
        """Return how many elements the result has."""
        return self.columns if self.transposed else self.rows

    def views(self, get_result: Any, get_matrix: Any, get_vector: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the result, the matrix and the vector, each from the memory that its function names."""
        wide, long = (self.columns, self.rows) if self.transposed else (self.rows, self.columns)
        (s, a), (t, b), (u, c) = self.result, self.matrix, self.vector
        matrix = get_matrix(t)[b : b + self.rows * self.columns].reshape(self.rows, self.columns)
        return get_result(s)[a : a + wide], matrix, get_vector(u)[c : c + long]

    def forward(self, get: Any, clear: bool) -> None:
        """Add the product to the result, which is cleared first or holds other terms."""
        result, matrix, vector = self.views(get, get, get)
        if clear:
            result[:] = 0.0
        add_product(matrix, vector, result, self.transposed)

    def backward(self, get: Any, get_bar: Any, finite: dict[tuple[int, int], bool]) -> None:
        """Add the vector's cotangents."""
        if get_bar(self.vector[0]) is not None:
            bar, matrix, target = self.views(get_bar, get, get_bar)
            pull_vector(bar, matrix, target, self.transposed, finite)

    def tangent(self, get: Any, get_dot: Any) -> None:
        """Add what the tangents of the matrix and of the vector give."""
        if get_dot(self.matrix[0]) is not None:
            target, dot, vector = self.views(get_dot, get_dot, get)
            if not is_absent(dot):
                add_product(dot, vector, target, self.transposed)
        if get_dot(self.vector[0]) is not None:
            target, matrix, dot = self.views(get_dot, get, get_dot)
            if not is_absent(dot):
                add_product(matrix, dot, target, self.transposed)


def pull_vector(bar: Any, matrix: Any, target: Any, transposed: bool, finite: dict[tuple[int, int], bool]) -> None:
    """Add to a vector's cotangents those of its product with a matrix, where they are not absent."""
    if bar.any() or not (is_absent(bar) or is_finite(matrix, finite)):
        add_product(matrix, bar, target, not transposed)
    elif not is_absent(bar):
        target += 0.0


def add_product(matrix: np.ndarray, vector: np.ndarray, result: np.ndarray, transposed: bool) -> None:
    """Add matrix @ vector, or vector @ matrix if `transposed`, to a result."""
    dtype, columns = result.dtype, matrix.shape[1]
    assert matrix.dtype == vector.dtype == dtype
    whole, step = (matrix, columns) if matrix.flags.c_contiguous else between_rows(matrix)
    shares = count_shares(matrix.size)
    if transposed:
        sums = empty(PIECES * columns, dtype)
        run_shares("vector_matrix_at", dtype, shares, (whole, vector, sums), step)
        sweep("add_pieces_at", dtype)(0.0, address_of(sums), address_of(result), columns)
    else:
        run_shares("matrix_vector_at", dtype, shares, (whole, vector, result), step)


def between_rows(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the memory from the first element of a matrix to the last, and how far apart its rows begin."""
    step = matrix.strides[0] // matrix.itemsize
    size = (len(matrix) - 1) * step + matrix.shape[1]
    return np.lib.stride_tricks.as_strided(matrix, (size,), (matrix.itemsize,)), step


def multiply_add(target: np.ndarray, one: np.ndarray, other: np.ndarray, assign: bool = False) -> None:
    """Add one * other to target (or assign it) over their index space, where each may repeat elements.

    Axes are sorted by the operands that they move: all three (batch), target and one (rows), target
    and other (columns), one and other (inner). That is a batched matrix product.
    """
    once = compact(target)
    if overlaps(once.shape, once.strides):
        fresh = np.empty(once.shape, once.dtype)
        steps = [step if moved else 0 for step, moved in zip(fresh.strides, target.strides, strict=True)]
        multiply_add(np.lib.stride_tricks.as_strided(fresh, target.shape, steps), one, other, True)
        add_broadcast(once, fresh)
        return
    axes = sort_axes(target, one, other)
    batch, rows, columns, inner = axes["tab"], axes["ta"], axes["tb"], axes["ab"]
    alone = axes["t"]
    if axes[""]:
        one = one * math.prod(target.shape[axis] for axis in axes[""])
    if assign and (alone or not inner):
        compact(target)[...] = 0.0
        assign = False
    one, other = sum_axes(one, axes["a"]), sum_axes(other, axes["b"])
    if inner and not batch and not alone and (bool(rows) != bool(columns)):
        matrix_vector(target, one, other, rows, columns, inner, assign)
        return
    note_blas()
    left = take_axes(one, batch, rows, inner)
    right = take_axes(other, batch, inner, columns)
    result = take_axes(target, batch + rows + columns + alone)
    if len(rows) == len(columns) == 1 and not alone:
        if result.strides[-1] > result.strides[-2]:  # the product in the order of its target's memory
            left, right = np.swapaxes(right, -1, -2), np.swapaxes(left, -1, -2)
            result = np.swapaxes(result, -1, -2)
        if assign:
            np.matmul(left, right, out=result)
            return
        result += np.matmul(left, right)
        return
    product = np.matmul(left, right).reshape([target.shape[axis] for axis in (*batch, *rows, *columns)])
    if alone:
        product = product.reshape(product.shape + (1,) * len(alone))
    if assign:
        result[...] = product
    else:
        result += product


def sort_axes(target: np.ndarray, one: np.ndarray, other: np.ndarray) -> dict[str, list[int]]:
    """Return the axes longer than 1 by what they move: t the target, a `one`, b `other`, "" nothing."""
    axes: dict[str, list[int]] = {moved: [] for moved in ("tab", "ta", "tb", "ab", "t", "a", "b", "")}
    for axis, length in enumerate(target.shape):
        if length != 1:
            moved = zip("tab", (target, one, other), strict=True)
            axes["".join(letter for letter, part in moved if part.strides[axis])].append(axis)
    return axes


def sum_axes(values: np.ndarray, axes: list[int]) -> np.ndarray:
    """Sum over some axes, keeping them with length 1 and a stride of zero."""
    if not axes:
        return values
    found: np.ndarray = values.sum(axis=tuple(axes), keepdims=True)
    return found


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
