"""Elementwise ops: the row that an op of recording values and other operands appends, and its result."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.geometry import broadcast, broadcast_strides, contiguous
from numbad.ops.definition import BY_NAME, Op
from numbad.recording.active import BOOL, Active
from numbad.recording.arrays import Array, make_block, memory_order
from numbad.recording.operands import as_active, has_zeros, pack
from numbad.recording.recorder import map_words
from numbad.recording.row_plans import CONTIGUOUS, PLANS, Plan, append_placed, append_row, keep, plan_contiguous
from numbad.recording.scalars import Scalar, scalar_row
from numbad.tape.layout import MAP

MULTIPLY, BY_CONSTANT = BY_NAME["multiply"], BY_NAME["multiply_by_constant"]


def record(op: Op, x: Any, y: Any = None) -> Any:
    """Append an elementwise op; return its result. At least one operand is recording."""
    recorder = x.recorder if isinstance(x, Active) else y.recorder
    if op.arity == 1:
        if type(x) is Array and x.first is not None:
            plans = CONTIGUOUS.get(x.shape) or plan_contiguous(x.shape)
            return append_row(recorder, MAP + op.opcode, plans.unary, x.first, 0, op.boolean)
        if isinstance(x, Scalar):
            return scalar_row(recorder, op, x.address, 0)
        shape = x.shape
        if not shape:
            return scalar_row(recorder, op, x.item().address, 0)
        order = memory_order(shape, (x,))
        if order is not None:
            return record(op, x.transpose(order)).transpose(np.argsort(order))
        return make_block(recorder, recorder.map_row(op.opcode, shape, (x.operand(shape),)), shape, op.boolean)
    if op is MULTIPLY:
        if has_zeros(y) and isinstance(x, Active):
            op = BY_CONSTANT
        elif has_zeros(x) and isinstance(y, Active):
            op, x, y = BY_CONSTANT, y, x
    given = (x, y)
    x, y = as_active(recorder, x), as_active(recorder, y)
    simple = plan_plain(x, y)
    if simple is not None:
        return append_row(recorder, MAP + op.opcode, *simple, op.boolean)
    if x is NotImplemented or y is NotImplemented:
        return NotImplemented
    if type(x) is not Array and type(y) is not Array:
        return scalar_row(recorder, op, x.address, y.address)
    one, two = x.spot(), y.spot()
    if one is not None and two is not None and ordered(given[0]) and ordered(given[1]):
        key = (x.shape, x.pitches, y.shape, y.pitches)
        plan = PLANS.get(key, PLANS)
        if plan is PLANS:
            plan = plan_map(x, y, key)
        if plan is not None:
            return append_placed(recorder, MAP + op.opcode, plan, one, two, op.boolean)
    shape = x.shape if x.shape == y.shape else broadcast(x.shape, y.shape)
    if not shape:
        return scalar_row(recorder, op, x.item().address, y.item().address)
    order = memory_order(shape, given)
    if order is not None:
        x, y = (part.broadcast_to(shape).transpose(order) if part.shape else part for part in (x, y))
        return record(op, x, y).transpose(np.argsort(order))
    out = recorder.map_row(op.opcode, shape, (x.operand(shape), y.operand(shape)))
    return make_block(recorder, out, shape, op.boolean)


def plan_plain(x: Any, y: Any) -> tuple[Plan, int, int] | None:
    """Return plan and addresses for two contiguous arrays of one shape, or one and a number; None for others."""
    if type(x) is Array and x.first is not None:
        if type(y) is Array:
            if y.first is not None and y.shape == x.shape:
                return (CONTIGUOUS.get(x.shape) or plan_contiguous(x.shape)).arrays, x.first, y.first
        elif type(y) is Scalar:
            return (CONTIGUOUS.get(x.shape) or plan_contiguous(x.shape)).scalar_right, x.first, y.address
    elif type(x) is Scalar and type(y) is Array and y.first is not None:
        return (CONTIGUOUS.get(y.shape) or plan_contiguous(y.shape)).scalar_left, x.address, y.first
    return None


def ordered(value: Any) -> bool:
    """Whether an operand, as the program gave it, has NumPy's usual order of axes, or says itself which it has."""
    return type(value) is not np.ndarray or value.ndim < 2 or value.flags.c_contiguous


def plan_map(x: Any, y: Any, key: Any) -> Plan | None:
    """Return the plan of an elementwise row of two operands; None where NumPy would lay its result out otherwise."""
    shape = x.shape if x.shape == y.shape else broadcast(x.shape, y.shape)
    if not shape or memory_order(shape, (x, y)) is not None:
        return keep(key, None)
    operands = []
    for part in (x, y):
        steps = contiguous(part.shape) if part.pitches is None else part.pitches
        strides = broadcast_strides(part.shape, steps, shape)
        operands.append((1 if strides == contiguous(shape) else 0 if any(strides) else 2, 0, 0, strides))
    return keep(key, Plan(map_words(shape, 0, tuple(operands)), shape, True))


def record_operator(op: Op, x: Any, y: Any) -> Any:
    """Append the row of an operator, with NumPy's rules for truth values."""
    active, other = (x, y) if isinstance(x, Active) else (y, x)
    if issubclass(type(other), np.ndarray) and other.dtype == object:
        other = pack(active.recorder, other)
        x, y = (active, other) if active is x else (other, active)
    if active.boolean and op.of_truths and is_boolean(other):
        op = BY_NAME[op.of_truths]
    return record(op, x, y)


def is_boolean(value: Any) -> bool:
    """Whether an operand holds truth values."""
    return value.boolean if isinstance(value, Active) else getattr(value, "dtype", None) == BOOL or type(value) is bool
