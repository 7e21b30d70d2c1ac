"""The matrix path: large products over index spaces, brought to BLAS or to compiled matrix-vector loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.hostrows import bar_spaces, operand, primal_spaces, space_of
from numbad.threads import parallel_section


def contract_forward(execution: Any, code: Any, words: Any, row: int) -> None:
    """Compute out[...] += one[...] * other[...] over an index space."""
    w = int(code[row, 2])
    get = primal_spaces(execution)
    zeroed, out = int(words[w + 3]), int(code[row, 1])
    if zeroed:
        execution.values[out : out + zeroed] = 0.0
    multiply_add(*(operand(get, words, w, k) for k in range(3)))


def contract_backward(execution: Any, code: Any, words: Any, row: int, bars: Any) -> None:
    """Take back a product: the other operand times the cotangent; nothing where that is zero."""
    w = int(code[row, 2])
    get, get_bar = primal_spaces(execution), bar_spaces(bars)
    bar = operand(get_bar, words, w, 0)
    if not distinct(bar).any():
        return
    for k in (1, 2):
        if get_bar(space_of(words, w, k)) is not None:
            multiply_add(operand(get_bar, words, w, k), bar, operand(get, words, w, 3 - k))


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
            if distinct(dot).any():
                multiply_add(target, dot, operand(get, words, w, 3 - k))


def multiply_add(target: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """Add one * other to target over their common index space, where each may repeat elements.

    Axes are sorted by the operands that they move: all three (batch), target and one (m), target
    and other (n), one and other (k). That is a batched matrix product.
    """
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
    one, other = sum_axes(one, lone[1]), sum_axes(other, lone[2])
    if inner and not batch and not lone[0] and (bool(rows) != bool(columns)):
        matrix_vector(target, one, other, rows, columns, inner)
        return
    left = take_axes(one, batch, rows, inner)
    right = take_axes(other, batch, inner, columns)
    shape = [target.shape[axis] for axis in (*batch, *rows, *columns)]
    product = np.matmul(left, right)
    result = take_axes(target, batch + rows + columns, lone[0])
    result += product.reshape([*shape, *([1] * len(lone[0]))]) if lone[0] else product.reshape(shape)


def distinct(values: np.ndarray) -> np.ndarray:
    """Return a view without the repetitions of a broadcast array."""
    return values[tuple(slice(0, 1) if step == 0 else slice(None) for step in values.strides)]


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
    values = values[index].transpose([order.index(axis) for axis in kept])
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
    target: np.ndarray, one: np.ndarray, other: np.ndarray, rows: list[int], columns: list[int], inner: list[int]
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
    from numbad import matrixkernels
    with parallel_section:
        if transposed:
            matrixkernels.vector_times_matrix(values, table, flat)
        else:
            matrixkernels.matrix_times_vector(table, values, flat)
    result += flat.reshape(result.shape)
