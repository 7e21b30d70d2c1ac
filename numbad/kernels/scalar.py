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

from numbad.kernels.vectormath import absent, rows_of, view
from numbad.tape.layout import GUARD, GUARD_VALUE, MAP, WHOLE

compiled = njit(nogil=True, error_model="numpy")


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
def plain_pull_back(code, partials, bar):
    """Take the rows of a planned adjoint sweep back as if nothing were absent (see `pull_back`)."""
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


def scalars_back_at(like, plain, code, partials, bar, start, stop):
    """Take scalar rows and guards back at memory addresses, by one of two sweeps. Compiled to a C function."""
    rows = rows_of(view(np.uint64(code), 4 * stop, np.uint32(0)), 4)
    slopes = rows_of(view(np.uint64(partials), 2 * stop, like), 2)
    bars = view(np.uint64(bar), WHOLE, like)
    if plain != 0:
        plain_adjoint(rows, slopes, bars, start, stop)
    else:
        adjoint(rows, slopes, bars, start, stop)
    return np.int64(0)


def finite_at(like, values, count):
    """Whether all numbers at a memory address are finite. Compiled to a C function."""
    return np.int64(are_finite(view(np.uint64(values), count, like)))
