"""Row plans: operand words that depend on shapes and strides only, worked out once, then copied and given addresses."""

from __future__ import annotations

import math
from array import array
from typing import Any

from numbad.geometry import collapse, contiguous
from numbad.rows import LARGE

Shape = tuple[int, ...]
MOST_KEPT = 8192  # of each table; a program of more shapes than that works them out again


def map_words(shape: Shape, out: int, operands: tuple[Any, ...]) -> list[int]:
    """Return the words of an elementwise row; operands are (kind, space, address, strides) (see `rows`)."""
    count = math.prod(shape)
    if all(operand[0] for operand in operands):
        words = [0, count, 1, count, count, 1, 0, out, 1]
        for kind, space, address, _ in operands:
            words += (kind, space, address, 2 - kind)
    else:
        shape, strides = collapse(shape, [contiguous(shape), *(operand[3] for operand in operands)])
        words = [0, count, len(shape), count, *shape, 1, 0, out, *strides[0]]
        for (kind, space, address, _), stride in zip(operands, strides[1:], strict=True):
            words += (kind, space, address, *stride)
    words[0] = len(words)
    return words


def structural_words(shape: Shape, cleared: int, operands: tuple[Any, ...]) -> list[int]:
    """Return the words of an ADD or CONTRACT row; operands are (space, address, strides), the output first."""
    shape, strides = collapse(shape, [operand[2] for operand in operands])
    words = [0, math.prod(shape), len(shape), cleared, *shape]
    flat = contiguous(shape)
    for (space, address, _), stride in zip(operands, strides, strict=True):
        kind = 1 if stride == flat else 0 if any(stride) else 2
        words += (kind, space, address, *stride)
    words[0] = len(words)
    return words


class Plan:
    """The words of a row whose operands have given shapes and strides, with zeros for spaces and addresses.

    Attributes
    ----------
    words : array of int64
        What is appended to the tape's words.
    shape : tuple of int
        Of the result; () makes it a scalar.
    count : int
        Addresses of the result.
    out, a, b : int
        Where the addresses belong in the words; the space is one place before. `b` is 0 where there is none.
    operands : int
        What the row says of them: the number of operands of a MAP row, with the output for others.
    large : bool
        Whether it is an elementwise row that may be fused.
    """

    __slots__ = ("a", "b", "count", "large", "operands", "out", "shape", "words")

    def __init__(self, words: Any, shape: Shape, elementwise: bool) -> None:
        self.words = array("q", words)
        self.shape = shape
        self.count = math.prod(shape)
        self.operands, *places = operand_places(self.words)
        self.out, self.a, self.b = (*places, 0)[:3]
        if elementwise:
            self.operands -= 1
        self.large = elementwise and self.words[1] >= LARGE


def operand_places(words: array[int]) -> list[int]:
    """Return how many operands a row's words describe, and where the address of each belongs."""
    axes = words[2]
    places = list(range(4 + axes + 2, len(words), 3 + axes))
    return [len(places), *places]


class ContiguousPlans:
    """The plans of rows over contiguous arrays of one shape.

    Attributes
    ----------
    unary, arrays, scalar_right, scalar_left : Plan
        For an op of one array, of two arrays, of an array and a number, of a number and an array.
    total : Plan
        For the sum of all elements.
    """

    __slots__ = ("arrays", "scalar_left", "scalar_right", "total", "unary")

    def __init__(self, shape: Shape) -> None:
        count = math.prod(shape)
        whole, number = (1, 0, 0, 1), (2, 0, 0, 0)
        one, two = (13, count, 1, count, count, *whole), (17, count, 1, count, count, *whole)
        self.unary = Plan((*one, *whole), shape, True)
        self.arrays = Plan((*two, *whole, *whole), shape, True)
        self.scalar_right = Plan((*two, *whole, *number), shape, True)
        self.scalar_left = Plan((*two, *number, *whole), shape, True)
        self.total = Plan((13, count, 1, 1, count, *number, *whole), (), False)


CONTIGUOUS: dict[Shape, ContiguousPlans] = {}
PLANS: dict[Any, Any] = {}  # what a row is, and the shapes and strides of its operands -> Plan, or None for no plan


def plan_contiguous(shape: Shape) -> ContiguousPlans:
    """Return the plans of a shape, made now and kept."""
    if len(CONTIGUOUS) >= MOST_KEPT:
        CONTIGUOUS.clear()
    found = CONTIGUOUS[shape] = ContiguousPlans(shape)
    return found


def keep(key: Any, plan: Any) -> Any:
    """Keep a plan for the next row of its kind; return it."""
    if len(PLANS) >= MOST_KEPT:
        PLANS.clear()
    PLANS[key] = plan
    return plan
