"""On which elements of their operands the results of array ops depend, where that is not all of them.

A *link* is (result, its elements, operand, its elements): element by element the one depends on the other. The operand
ITSELF stands for the result: what an element depends on, its successor does, too. A HUB is neither: it depends on
elements of operands, and results depend on it. So n results that depend on m elements each are n + m links, not n * m.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

Shape = tuple[int, ...]
Link: TypeAlias = tuple[int, np.ndarray, int, np.ndarray]
ITSELF, HUB = -1, -2
MOST_LINKS = 1 << 25  # of a convolution: some gigabytes; beyond, all depends on all


def number(shape: Shape) -> np.ndarray:
    """Return the number of each element of an array, in its shape."""
    return np.arange(math.prod(shape)).reshape(shape)


def along_last(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element of the result depends on the operand's last axis at the same place of the others: reductions."""
    sources = number(operands[0])
    targets = np.broadcast_to(number(results[0])[..., None], operands[0])
    return [(0, targets.reshape(-1), 0, sources.reshape(-1))]


def grouped(targets: np.ndarray, sources: np.ndarray, groups: np.ndarray, result: int = 0, k: int = 0) -> list[Link]:
    """Each element of a result depends on all elements of an operand that are of the same group."""
    return [(HUB, groups, k, sources), (result, targets, HUB, groups)]


def within_last(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element depends on all of the last axis: sorting."""
    where = number(operands[0]).reshape(-1)
    return grouped(where, where, where // max(operands[0][-1], 1))


def running(operands: list[Shape], results: list[Shape], **settings: Any) -> list[Link]:
    """Each element depends on those of the operands up to it along the last axis: running sums, recurrences."""
    where = number(results[0])
    links = [(0, where.reshape(-1), k, where.reshape(-1)) for k in range(len(operands))]
    return [*links, (0, where[..., 1:].reshape(-1), ITSELF, where[..., :-1].reshape(-1))]


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
    if math.prod(results[0]) * math.prod(operands[1][len(stack) :]) > MOST_LINKS:
        raise Unknown
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
    tables = [(HUB, np.zeros(operands[k][0], np.int64), k, np.arange(operands[k][0])) for k in (1, 2)]
    return [(0, targets, 0, targets), *tables, (0, targets, HUB, np.zeros_like(targets))]


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
    if count < 2 or any(shape[: len(stack)] != stack for shape in shapes):
        raise Unknown
    links: list[Link] = []
    for k, operand in enumerate(operands):
        sources = number(operand).reshape(-1)
        links.append((HUB, sources // max(sources.size // count, 1), k, sources))
    for r, result in enumerate(results):
        targets = number(result).reshape(-1)
        links.append((r, targets, HUB, targets // max(targets.size // count, 1)))
    return links


class Unknown(Exception):
    """The shapes say nothing, or too much: a result depends on all of the operands."""
