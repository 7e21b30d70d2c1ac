"""Row plans: operand words that depend on shapes and strides only, worked out once, then copied and given addresses."""

from __future__ import annotations

import math
from array import array
from sys import _getframe
from typing import Any

from numbad.errors import INTERNAL
from numbad.limits import LARGE, MOST_PLANS
from numbad.recording.active import Shape, new
from numbad.recording.arrays import Array
from numbad.recording.recorder import MOST_ADDRESSES, Recorder
from numbad.recording.scalars import make_scalar
from numbad.tape.layout import Placed, address_at, index_words, operand_count, row_elements, space_at


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
        Where the addresses belong in the words. `b` is 0 where there is none.
    a_space, b_space : int
        Where the spaces of the operands belong.
    operands : int
        What the row says of them: the number of operands of a MAP row, with the output for others.
    large : bool
        Whether it is an elementwise row that may be fused.
    """

    __slots__ = ("a", "a_space", "b", "b_space", "count", "large", "operands", "out", "shape", "words")

    def __init__(self, words: Any, shape: Shape, elementwise: bool) -> None:
        self.words = array("q", words)
        self.shape = shape
        self.count = math.prod(shape)
        operands = range(operand_count(self.words, 0))
        self.operands = len(operands) - 1 if elementwise else len(operands)
        self.out, self.a, self.b = (*(address_at(self.words, 0, k) for k in operands), 0)[:3]
        self.a_space, self.b_space = (*(space_at(self.words, 0, k) for k in operands[1:]), 0)[:2]
        self.large = elementwise and row_elements(self.words, 0) >= LARGE


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
        whole, number = (1, 0, 0, (1,)), (2, 0, 0, (0,))

        def elementwise(*operands: Placed) -> Plan:
            return Plan(index_words((count,), count, (whole, *operands)), shape, True)

        self.unary = elementwise(whole)
        self.arrays = elementwise(whole, whole)
        self.scalar_right = elementwise(whole, number)
        self.scalar_left = elementwise(number, whole)
        self.total = Plan(index_words((count,), 1, (number, whole)), (), False)


CONTIGUOUS: dict[Shape, ContiguousPlans] = {}
PLANS: dict[Any, Any] = {}  # what a row is, and the shapes and strides of its operands -> Plan, or None for no plan


def plan_contiguous(shape: Shape) -> ContiguousPlans:
    """Return the plans of a shape, made now and kept."""
    if len(CONTIGUOUS) >= MOST_PLANS:
        CONTIGUOUS.clear()
    found = CONTIGUOUS[shape] = ContiguousPlans(shape)
    return found


def keep(key: Any, plan: Any) -> Any:
    """Keep a plan for the next row of its kind; return it."""
    if len(PLANS) >= MOST_PLANS:
        PLANS.clear()
    PLANS[key] = plan
    return plan


def append_row(recorder: Recorder, opcode: int, plan: Plan, a: int, b: int, boolean: bool, spaces: Any = None) -> Any:
    """Append a row over operands in the arena, or in two spaces; return its result.

    Hot path: avoid calls here. The search for the user's statement begins two frames above.
    """
    out = recorder.size
    size = recorder.size = out + plan.count
    if size > MOST_ADDRESSES:
        recorder.allocate(0)  # raises
    words = recorder.words
    position = len(words)
    words.extend(plan.words)
    words[position + plan.out] = out
    words[position + plan.a] = a
    if plan.b:
        words[position + plan.b] = b
    if spaces is not None:  # before the row is appended: whoever watches reads it at once
        words[position + plan.a_space] = spaces[0]
        if plan.b_space:
            words[position + plan.b_space] = spaces[1]
    row = len(recorder.code) >> 2
    if plan.large:
        recorder.large.append(row)
    recorder.extend((opcode, out, position, plan.operands))
    frame: Any = _getframe(2)
    while frame is not None and frame.f_globals.get("__package__") in INTERNAL:
        frame = frame.f_back
    if frame is not None:
        recorder.sites[row] = (frame.f_code, frame.f_lasti)
    if not plan.shape:
        return make_scalar(recorder, out, boolean)
    result = new(Array)
    result.recorder = recorder
    result.first = out
    result.shape = plan.shape
    result.boolean = boolean
    result.pitches = result.shared = None
    result.offset = 0
    return result


def append_placed(recorder: Recorder, opcode: int, plan: Plan, one: Any, other: Any, boolean: bool = False) -> Any:
    """Append a row over operands that may be outside of the arena, given as (space, address)."""
    spaces = (one[0], other[0]) if one[0] or other[0] else None
    return append_row(recorder, opcode, plan, one[1], other[1], boolean, spaces)


def strided_row(opcode: int, x: Array, y: Array, product: bool) -> Any:
    """Append an elementwise row of two arrays whose plan is known; None where more has to be asked.

    Truth values and factors that may hold a zero which does not vary are asked about (see `elementwise.record`).
    """
    if x.boolean or y.boolean:
        return None
    one, two = x.spot(), y.spot()
    if one is None or two is None or (product and (one[0] or two[0] or x.recorder.masks)):
        return None
    plan = PLANS.get((x.shape, x.pitches, y.shape, y.pitches))
    return None if plan is None else append_placed(x.recorder, opcode, plan, one, two)
