"""Rows of a lowered program for many points at once: a function of its own for each op, loops for the other kinds."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.array import inlined
from numbad.kernels.generated.points import points_adjoint_add_row, points_adjoint_contract_row
from numbad.kernels.vectormath import call_at, rows_of, view
from numbad.tape.layout import ADD, CLEAR, CONTRACT, GUARD, GUARD_VALUE, MAP

OPCODE, OUT, A, B = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
add_back = inlined(points_adjoint_add_row)
contract_back = inlined(points_adjoint_contract_row)


def points_primal(like, ops_at, code_at, values_at, agree_at, rows, quarter):
    """Compute rows for 4 * quarter points at once; clear `agree` of the points that take another branch.

    Returns 0, or 1 where a row is not for it. Compiled to a C function.

    Parameters
    ----------
    ops_at : int
        Memory address of the table of the ops' functions for points.
    code_at, values_at, agree_at : int
        Memory addresses of the rows, of the lanes of all addresses, and of a byte for each point.
    """
    n = 4 * quarter
    ops = view(np.uint64(ops_at), MAP, np.uint64(0))
    code = rows_of(view(np.uint64(code_at), 4 * rows, np.uint32(0)), 4)
    agree = view(np.uint64(agree_at), n, np.uint8(0))
    for row in range(np.uint64(rows)):
        opcode = code[row, OPCODE]
        z_at, x_at, y_at = lanes_of(like, values_at, code, row, n)
        if opcode < MAP:
            if ops[opcode] == 0:
                return np.int64(1)
            call_at(ops[opcode], like, (z_at, x_at, y_at, quarter))
        elif opcode == GUARD or opcode == GUARD_VALUE:
            compare(opcode, code[row, OUT], view(x_at, n, like), view(z_at, n, like), agree)
        elif opcode == ADD or opcode == CONTRACT or opcode == CLEAR:
            add_up(opcode, view(z_at, n, like), view(x_at, n, like), view(y_at, n, like))
        else:
            return np.int64(1)
    return np.int64(0)


def points_adjoint(like, ops_at, code_at, values_at, bars_at, rows, quarter):
    """Take the rows of an adjoint program in order, for 4 * quarter points at once.

    Returns 0, or 1 where a row is not for it. Compiled to a C function.

    Parameters
    ----------
    ops_at : int
        Memory address of the table of the functions that take ops back for points.
    code_at, values_at, bars_at : int
        Memory addresses of the rows, and of the lanes of values and of cotangents.
    """
    n = 4 * quarter
    ops = view(np.uint64(ops_at), MAP, np.uint64(0))
    code = rows_of(view(np.uint64(code_at), 4 * rows, np.uint32(0)), 4)
    for row in range(np.uint64(rows)):
        flags, opcode = np.int64(code[row, OPCODE] >> 16), code[row, OPCODE] & 65535
        places = (*lanes_of(like, values_at, code, row, n), *lanes_of(like, bars_at, code, row, n))
        if opcode < MAP:
            if ops[opcode] == 0:
                return np.int64(1)
            call_at(ops[opcode], like, (flags, *places, quarter))
        elif opcode == ADD:
            add_back(like, flags, *places, quarter)
        elif opcode == CONTRACT:
            contract_back(like, flags, *places, quarter)
        else:
            return np.int64(1)
    return np.int64(0)


@inlined
def lanes_of(like, start, code, row, n):
    """Return the memory addresses of the lanes of a row's result and of its operands."""
    width = np.uint64(n) * np.uint64(view(np.uint64(start), n, like).itemsize)
    first = np.uint64(start)
    return first + width * code[row, OUT], first + width * code[row, A], first + width * code[row, B]


@inlined
def add_up(opcode, zs, xs, ys):
    """Clear the result of a row, or add a term to it."""
    if opcode == ADD:
        for i in range(zs.size):
            zs[i] = zs[i] + xs[i]
    elif opcode == CONTRACT:
        for i in range(zs.size):
            zs[i] = zs[i] + xs[i] * ys[i]
    else:
        for i in range(zs.size):
            zs[i] = 0


@inlined
def compare(opcode, expected, xs, zs, agree):
    """Clear `agree` of the points where a guard does not hold; NaN is equal to NaN."""
    if opcode == GUARD:
        for i in range(xs.size):
            if (xs[i] != 0) != (expected != 0):
                agree[i] = 0
        return
    for i in range(xs.size):
        if not (xs[i] == zs[i] or (xs[i] != xs[i] and zs[i] != zs[i])):
            agree[i] = 0
