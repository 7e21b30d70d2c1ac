"""Elements that an index names which may be another in the next run: `x[labels]`, where labels are an input.

The index is no operand in the arena, where whole numbers may be inexact, but an object whose `now()` gives it as it is
in this run. The last operand, a number that is an input, says that the results vary even where the first one does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.ops.definition import ABSENT
from numbad.ops.host import ArrayOp

Shape = tuple[int, ...]


def taken_shape(x: Shape, tag: Shape, *, key: Any, shape: Shape) -> list[Shape]:
    """The shape of the elements, with the lanes that the array has behind its own axes."""
    return [(*key.shape, *x[len(shape) :])]


def take_places(x: Any, tag: Any, *, key: Any, shape: Shape) -> Any:
    """The elements that an index names."""
    return x[key.now()]


def filled_shape(addend: Shape, tag: Shape, *, key: Any, shape: Shape) -> list[Shape]:
    """The shape of the array that is added to, with the lanes that the addends have behind their own axes."""
    return [(*shape, *addend[len(key.shape) :])]


def add_places(addend: Any, tag: Any, *, key: Any, shape: Shape) -> Any:
    """Zeros, to which addends have been added where an index says; places may repeat."""
    return add_onto(0.0, addend, key, shape)


def add_absent(addend: Any, tag: Any, *, key: Any, shape: Shape) -> Any:
    """The same of cotangents: what nothing is added to is absent."""
    return add_onto(ABSENT, addend, key, shape)


def add_onto(start: float, addend: Any, key: Any, shape: Shape) -> np.ndarray:
    """Return an array of one number, to which addends have been added where an index says."""
    found = np.full((*shape, *addend.shape[len(key.shape) :]), start, addend.dtype)
    np.add.at(found, key.now(), addend)
    return found


pick = ArrayOp(take_places, taken_shape)
put = ArrayOp(add_places, filled_shape)
put_absent = ArrayOp(add_absent, filled_shape)


@pick.moving_vjp
def pick_vjp(bars: Any, results: Any, operands: Any, **settings: Any) -> Any:
    return put_absent(bars[0], operands[1], **settings), None


def put_vjp(bars: Any, results: Any, operands: Any, **settings: Any) -> Any:
    """The cotangents of what was added, which are those of the places."""
    return pick(bars[0], operands[1], **settings), None


def tangents(op: ArrayOp) -> Any:
    """Return the rule for tangents of an op that is linear in its first operand."""

    def push(operands: Any, dots: Any, **settings: Any) -> Any:
        dot = np.zeros(operands[0].shape) if dots[0] is None else dots[0]
        return (op(dot, operands[1], **settings),)

    return push


for _op in (pick, put, put_absent):
    _op.takes_lanes = _op.linear = True
    _op.jvp_function = tangents(_op)
for _op in (put, put_absent):
    _op.moving_vjp(put_vjp)
