"""On which elements of their operands the results of array ops depend, where that is not all of them.

A *link* is (result, its elements, operand, its elements): element by element the one depends on the other. The operand
-1 stands for the result itself: what an element depends on, its successor does, too.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

Shape = tuple[int, ...]
Link: TypeAlias = tuple[int, np.ndarray, int, np.ndarray]


def number(shape: Shape) -> np.ndarray:
    """Return the number of each element of an array, in its shape."""
    return np.arange(math.prod(shape)).reshape(shape)


def along_last(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element of the result depends on the operand's last axis at the same place of the others: reductions."""
    sources = number(operands[0])
    targets = np.broadcast_to(number(results[0])[..., None], operands[0])
    return [(0, targets.reshape(-1), 0, sources.reshape(-1))]


def within_last(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element depends on all of the last axis: sorting."""
    where, count = number(operands[0]), operands[0][-1]
    whole = (*operands[0], count)
    targets, sources = np.broadcast_to(where[..., None], whole), np.broadcast_to(where[..., None, :], whole)
    return [(0, targets.reshape(-1), 0, sources.reshape(-1))]


def running(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element depends on those of the operands up to it along the last axis: running sums, recurrences."""
    where = number(results[0])
    links = [(0, where.reshape(-1), k, where.reshape(-1)) for k in range(len(operands))]
    return [*links, (0, where[..., 1:].reshape(-1), -1, where[..., :-1].reshape(-1))]


def broadcast(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element depends on one of each operand, which are broadcast."""
    shape = results[0]
    targets = number(shape).reshape(-1)
    return [(0, targets, k, np.broadcast_to(number(s), shape).reshape(-1)) for k, s in enumerate(operands)]


def spread_last(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element of the result along its last axis depends on that of the operand at the same place of the others."""
    targets = number(results[0])
    return [(0, targets.reshape(-1), 0, np.broadcast_to(number(operands[0])[..., None], targets.shape).reshape(-1))]


def convolved(
    operands: list[Shape], results: list[Shape], *, first: Shape, shape: Shape, fast: bool = False
) -> list[Link]:
    """Element n of a part of a convolution depends on elements k and n - k of two arrays, over the last axes."""
    axes = len(shape)
    stack = operands[0][: len(operands[0]) - axes]
    numbers = [number(part).reshape(-1, *part[len(stack) :]) for part in (results[0], *operands)]
    links: list[Link] = []
    every: Any = slice(None)
    for tap in np.ndindex(operands[1][len(stack) :]):
        places = [np.arange(n) + k - t for n, k, t in zip(shape, first, tap, strict=True)]
        inside = [
            np.flatnonzero((part >= 0) & (part < m)) for part, m in zip(places, operands[0][len(stack) :], strict=True)
        ]
        read = [part[kept] for part, kept in zip(places, inside, strict=True)]
        targets = numbers[0][(every, *np.ix_(*inside))].reshape(-1)
        links.append((0, targets, 0, numbers[1][(every, *np.ix_(*read))].reshape(-1)))
        each = targets.size // max(len(numbers[2]), 1)
        links.append((0, targets, 1, np.repeat(numbers[2][(every, *tap)], each)))
    return links


def interpolated(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element depends on one of the first operand, and on all of the tables."""
    targets = number(results[0]).reshape(-1)
    links = [(0, targets, 0, targets)]
    for k in (1, 2):
        count = operands[k][0]
        links.append((0, np.repeat(targets, count), k, np.tile(np.arange(count), targets.size)))
    return links


def multiplied(operands: list[Shape], results: list[Shape], *, matrix: Any) -> list[Link]:
    """A row of a product depends on the rows of the operand where a sparse matrix has entries."""
    found = matrix.tocoo()
    rows, columns = np.asarray(found.row, np.int64), np.asarray(found.col, np.int64)
    if len(matrix.shape) == 1:
        rows = np.zeros_like(columns)
    wide = math.prod(operands[0][1:])
    lanes = np.arange(wide)
    return [(0, (rows[:, None] * wide + lanes).reshape(-1), 0, (columns[:, None] * wide + lanes).reshape(-1))]


def in_stacks(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each matrix of a stack depends on those at the same place of the stacks of the operands."""
    stack = operands[0][:-2]
    count = math.prod(stack)
    shapes = [*operands, *results]
    if count < 2 or any(shape[: len(stack)] != stack for shape in shapes if shape):
        raise Unknown
    links: list[Link] = []
    for r, result in enumerate(results):
        for k, operand in enumerate(operands):
            if not result or not operand:
                continue
            made, read = math.prod(result) // count, math.prod(operand) // count
            targets = np.repeat(number((count, made)), read, axis=1)
            sources = np.tile(number((count, read)), (1, made))
            links.append((r, targets.reshape(-1), k, sources.reshape(-1)))
    return links


class Unknown(Exception):
    """The shapes say nothing: a result depends on all of the operands."""
