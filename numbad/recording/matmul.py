"""Products of vectors and matrices: one CONTRACT row, written without a detour."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.recording.arrays import Array
from numbad.recording.operands import as_active
from numbad.recording.recorder import Recorder, structural_words
from numbad.recording.row_plans import PLANS, Plan, append_placed, keep
from numbad.recording.zero_factors import leave_out_unread, may_have_zeros
from numbad.tape.layout import CONTRACT


def matrix_product(recorder: Recorder, a: Any, b: Any) -> Any:
    """Return a @ b for vectors and matrices; None for stacks, scalars and shapes that do not fit."""
    if (type(a) is Array and a.boolean) or (type(b) is Array and b.boolean):
        a, b = as_active(recorder, a), as_active(recorder, b)
        if a.boolean and b.boolean:  # NumPy asks whether there is a pair of which both are true
            found = matrix_product(recorder, a * 1.0, b)
            return None if found is None else found != 0.0
    if (type(a) is np.ndarray and may_have_zeros(a)) or (type(b) is np.ndarray and may_have_zeros(b)):
        a, b = leave_out_unread(a, b, walked_together(a, b))
    if type(a) is not Array or a.recorder is not recorder:
        a = as_active(recorder, a)
    if type(b) is not Array or b.recorder is not recorder:
        b = as_active(recorder, b)
    if type(a) is not Array or type(b) is not Array:
        return None
    one, two = a.spot(), b.spot()
    if one is None or two is None:
        a, b = settled(a), settled(b)
        one, two = a.spot(), b.spot()
        if one is None or two is None:
            return None
    key = ("@", a.shape, a.pitches, b.shape, b.pitches)
    plan = PLANS.get(key) or plan_product(a, b, key)
    return None if plan is None else append_placed(recorder, CONTRACT, plan, one, two)


def walked_together(a: Any, b: Any) -> list[tuple[int, int]]:
    """Return the axes over which a @ b adds; none for scalars."""
    ranks = a.ndim, b.ndim
    return [(ranks[0] - 1, max(ranks[1] - 2, 0))] if all(ranks) else []


def settled(a: Array) -> Array:
    """Return an array whose elements follow its strides: itself, or one of elements that have been collected."""
    if a.spot() is not None:
        return a
    space, address, strides = a.place()
    return Array(a.recorder, type(a.storage)(space, address, a.size), a.shape, 0, strides)


def plan_product(a: Array, b: Array, key: Any) -> Plan | None:
    """Return the plan of a product; None for shapes that do not fit."""
    rank, other_rank = len(a.shape), len(b.shape)
    if not 1 <= rank <= 2 or not 1 <= other_rank <= 2 or a.shape[-1] != b.shape[0]:
        return None
    shape: tuple[int, ...]
    result: tuple[int, ...]
    strides: tuple[Any, ...]
    one, two = steps_of(a), steps_of(b)
    inner = a.shape[-1]
    if rank == 2 and other_rank == 1:
        rows = a.shape[0]
        shape, result = (rows, inner), (rows,)
        strides = (1, 0), one, (0, *two)
    elif rank == 1 and other_rank == 2:
        columns = b.shape[1]
        shape, result = (inner, columns), (columns,)
        strides = (0, 1), (*one, 0), two
    elif rank == 1:
        shape, result = (inner,), ()
        strides = (0,), one, two
    else:
        rows, columns = a.shape[0], b.shape[1]
        result = (rows, columns)
        (p, q), (r, s) = one, two
        if inner < columns:
            shape = (rows, inner, columns)
            strides = (columns, 0, 1), (p, q, 0), (0, r, s)
        else:
            shape = (rows, columns, inner)
            strides = (columns, 1, 0), (p, 0, q), (0, s, r)
    count = 1
    for n in result:
        count *= n
    return keep(key, Plan(structural_words(shape, count, tuple((0, 0, s) for s in strides)), result, False))


def steps_of(a: Array) -> tuple[int, ...]:
    """Return the strides of an operand."""
    if a.pitches is not None:
        return a.pitches
    return (1,) if len(a.shape) == 1 else (a.shape[1], 1)
