"""Compiled adjoint and tangent sweeps of scalar rows: with the partials known, they need no opcodes.

A cotangent, tangent or partial of -0.0 is absent: absent times anything is absent. A product that is zero counts, and
is made +0.0, so that sums of what is absent and of numbers take care of themselves.

Only an infinity or a NaN tells what is absent from what is zero. So where all rows are scalar, a plain sweep comes
first, which multiplies and adds without asking: if the gradient is finite, nothing that is not finite went into it, and
it is right. If not, the careful sweep does it again.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.kernels.vectormath import absent, call_at, pointer_of, rows_of, view
from numbad.tape.layout import GUARD, GUARD_VALUE, MAP

compiled = njit(nogil=True, cache=True, error_model="numpy")


@compiled
def adjoint(code, partials, bar, start, stop):
    """Take scalar rows backwards from stop to start; return the row after which it stopped."""
    i = np.uint64(stop)
    one, zero = np.uint64(1), bar.dtype.type(0)
    first = np.uint64(start)
    while i > first:
        k = i - one
        opcode = code[k, np.uint64(0)]
        if opcode >= np.uint32(MAP):
            if opcode != np.uint32(GUARD) and opcode != np.uint32(GUARD_VALUE):
                return np.int64(i)
            i = k
            continue
        b = bar[code[k, one]]
        if not absent(b):
            p, q = partials[k, np.uint64(0)], partials[k, one]
            if not absent(p):
                bar[code[k, np.uint64(2)]] += p * b + zero
            if not absent(q):
                bar[code[k, np.uint64(3)]] += q * b + zero
        i = k
    return np.int64(i)


@compiled
def plain_adjoint(code, partials, bar, start, stop):
    """Take scalar rows and guards back from stop to start as if nothing were absent, but for second operands."""
    one = np.uint64(1)
    i, first = np.uint64(stop), np.uint64(start)
    while i > first:
        i -= one
        if code[i, np.uint64(0)] < np.uint32(MAP):
            b, q = bar[code[i, one]], partials[i, one]
            bar[code[i, np.uint64(2)]] += partials[i, np.uint64(0)] * b
            if not absent(q):
                bar[code[i, np.uint64(3)]] += q * b


@compiled
def are_finite(values):
    """Whether all numbers are finite."""
    wrong = 0
    for k in range(np.uint64(values.size)):
        wrong |= values[k] - values[k] != 0
    return wrong == 0


@compiled
def take_back(code, partials, bar, output, inputs):
    """Fill the cotangents of a tape of scalar rows, from 1 at the output to those of the inputs, at 1 .. inputs."""
    clear(bar, output, inputs)
    plain_adjoint(code, partials, bar, 0, code.shape[0])
    if not are_finite(bar[1 : 1 + inputs]):
        clear(bar, output, inputs)
        adjoint(code, partials, bar, 0, code.shape[0])


@compiled
def clear(bar, output, inputs):
    """Make all cotangents absent but that of the output; a gradient is no -0.0."""
    zero = bar.dtype.type(0)
    for k in range(np.uint64(bar.size)):
        bar[k] = zero if k <= np.uint64(inputs) else -zero
    bar[np.uint64(output)] = 1


@compiled
def tangent(code, partials, dot, start, stop):
    """Take scalar rows forwards; return the first row that is not one."""
    for i in range(np.uint64(start), np.uint64(stop)):
        opcode = code[i, np.uint64(0)]
        if opcode >= np.uint32(MAP):
            if opcode != np.uint32(GUARD) and opcode != np.uint32(GUARD_VALUE):
                return np.int64(i)
            continue
        p, q = partials[i, np.uint64(0)], partials[i, np.uint64(1)]
        a, b = dot[code[i, np.uint64(2)]], dot[code[i, np.uint64(3)]]
        zero = dot.dtype.type(0)
        total_dot = dot[0]  # address 0 is the constant zero, so its tangent is absent
        if not (absent(p) or absent(a)):
            total_dot += p * a + zero
        if not (absent(q) or absent(b)):
            total_dot += q * b + zero
        dot[code[i, np.uint64(1)]] = total_dot
    return np.int64(stop)


@compiled
def linearise_rows(pointer, code, values, partials, start, stop):
    """Compute values and partials of scalar rows; return the first row that is not done."""
    zero = values.dtype.type(0)
    return call_at(pointer, zero, (pointer_of(code), pointer_of(values), pointer_of(partials), start, stop))


@compiled
def gradient_rows(pointer, code, numbers, size, output, inputs):
    """Run both sweeps over a tape of scalar rows: the whole of a small gradient in one call.

    The inputs are at addresses 1 .. inputs; `numbers` holds pairs of address and value. Returns the
    first row that was not done (all is well if there is none), the value and the gradient.
    """
    zero = numbers.dtype.type(0)
    values = np.empty(size, numbers.dtype)
    values[0] = zero
    for k in range(0, numbers.size, 2):
        values[np.int64(numbers[k])] = numbers[k + 1]
    rows = code.size // 4
    partials = np.empty((rows, 2), numbers.dtype)
    bar = np.empty(size, numbers.dtype)
    places = (pointer_of(code), pointer_of(values), pointer_of(partials), 0, rows)
    stop = call_at(pointer, zero, places)
    if stop == rows:
        take_back(rows_of(code, 4), partials, bar, output, inputs)
    return stop, values[output], bar[1 : 1 + inputs].copy()


def gradient_at(like, pointer, code_at, rows, values_at, partials_at, bar_at, size, output, inputs):
    """Run both sweeps over scalar rows at memory addresses. Compiled to a C function for start-up."""
    stop = call_at(np.uint64(pointer), like, (code_at, values_at, partials_at, 0, rows))
    if stop == rows:
        code = rows_of(view(np.uint64(code_at), 4 * rows, np.uint32(0)), 4)
        partials = rows_of(view(np.uint64(partials_at), 2 * rows, like), 2)
        take_back(code, partials, view(np.uint64(bar_at), size, like), output, inputs)
    return stop


@compiled
def plain_pull_back(code, partials, bar):
    """Take the rows of a prepared adjoint sweep back as if nothing were absent (see `pull_back`)."""
    one = np.uint64(1)
    for k in range(np.uint64(code.shape[0])):
        i = np.uint64(code[k, np.uint64(0)])
        b, q = bar[code[k, one]], partials[i, one]
        bar[code[k, np.uint64(2)]] += partials[i, np.uint64(0)] * b
        if not absent(q):
            bar[code[k, np.uint64(3)]] += q * b


@compiled
def pull_back(code, partials, bar):
    """Take the rows of an adjoint sweep back that were put in the order of their turn: (partials' row, out, a, b)."""
    one, zero = np.uint64(1), bar.dtype.type(0)
    for k in range(np.uint64(code.shape[0])):
        b = bar[code[k, one]]
        if not absent(b):
            i = np.uint64(code[k, np.uint64(0)])
            p, q = partials[i, np.uint64(0)], partials[i, one]
            if not absent(p):
                bar[code[k, np.uint64(2)]] += p * b + zero
            if not absent(q):
                bar[code[k, np.uint64(3)]] += q * b + zero


def replay_at(like, plan_at):
    """Run the sweeps of a tape of scalar rows (`replay.scalar_replays`); return the row where the forward one stopped.

    The plan holds: the switch to call, code, first row, rows, values and partials (0: values alone) of the forward
    sweep; code, rows, cotangents, what they are to begin with, how many they are, the number of inputs, and the number
    of rows with partials of the adjoint sweep.
    """
    plan = view(np.uint64(plan_at), 13, np.int64(0))
    pointer, stop = np.uint64(plan[0]), plan[3]
    if plan[5]:
        done = call_at(pointer, like, (plan[1], plan[4], plan[5], plan[2], stop))
    else:
        done = call_at(pointer, like, (plan[1], plan[4], plan[2], stop))
    if done == stop and plan[8]:
        bar, first = view(np.uint64(plan[8]), plan[10], like), view(np.uint64(plan[9]), plan[10], like)
        code = rows_of(view(np.uint64(plan[6]), 4 * plan[7], np.uint32(0)), 4)
        partials = rows_of(view(np.uint64(plan[5]), 2 * plan[12], like), 2)
        copy(bar, first)
        plain_pull_back(code, partials, bar)
        if not are_finite(bar[1 : 1 + plan[11]]):
            copy(bar, first)
            pull_back(code, partials, bar)
    return done


@compiled
def copy(target, source):
    """Copy an array."""
    for k in range(np.uint64(source.size)):
        target[k] = source[k]
