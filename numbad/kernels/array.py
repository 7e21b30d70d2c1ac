"""Compiled kernels of array rows: elementwise blocks, sums and products over index spaces, gather and scatter.

Operands are raw addresses: `bases[space]` is where a space begins in memory. The same kernels
serve the primal sweep (spaces of values), the tangent sweep (spaces of tangents) and the adjoint
sweep (spaces of cotangents), for the transpose of a strided sum is the same sum with its operands
exchanged.

What the sweeps and their parts are given, always in this order and under these names:

    kernels                addresses, uint64: of functions, LINEARISE and PRODUCT, and of the tables of ops, PRIMAL and
                           PARTIALS
    code, words            the rows, shape (rows, 4) of uint32, and their operand words, int64
    bases                  where each space begins in memory, uint64
    bars, dots             the same of cotangents and of tangents; 0 for constants, which have none
    values, partials       the arena, and the partials of scalar rows, shape (rows, 2)
    bar, dot               the arena of cotangents, and of tangents
    scratch                memory for blocks of operands, shape (4, BLOCK)
    start, stop            rows, or elements of one row, from start to stop - 1
    w; d, out, one, other  where the words of a row begin; where those of its operands do

Functions whose names end in `_at` take memory addresses, int64, in place of arrays; or `at`, the one of a table of them
(see `tables`).
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

from numbad.kernels.generated.blocks import UNITS
from numbad.kernels.layout import (
    gather_place,
    host_inputs,
    host_space,
    is_left,
    is_product,
    listed_count,
    operand_address,
    operand_at,
    operand_count,
    operand_kind,
    operand_space,
    operand_stride,
    row_axes,
    row_cleared,
    row_elements,
    row_extent,
    scatter_address,
    scatter_block,
    scatter_place,
    scatter_space,
)
from numbad.kernels.run_layout import LINEARISE, PRIMAL, PRODUCT
from numbad.kernels.run_layout import PARTIALS_OF_OPS as PARTIALS
from numbad.kernels.scalar import adjoint, tangent
from numbad.kernels.tables import addresses_at, integers_at, table_at
from numbad.kernels.vectormath import absent, call_at, pointer_of, room, rows_of, select, view
from numbad.limits import BLOCK, RUN
from numbad.tape.layout import ABSENT_KIND, ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER, WHOLE

compiled = njit(nogil=True, error_model="numpy")
inlined = njit(nogil=True, error_model="numpy")


@inlined
def memory(words, d, bases, like):
    """Return the memory address of an operand's first element, 0 if it has none."""
    base = bases[operand_space(words, d)]
    if base == 0:
        return np.uint64(0)
    return base + np.uint64(operand_address(words, d) * like.itemsize)


@inlined
def shifted(address, count, like):
    """Return a memory address moved by a number of elements, which may be negative."""
    return np.uint64(np.int64(address) + count * like.itemsize)


@inlined
def op_function(kernels, which, opcode):
    """Return the memory address of an op's compiled function; 0 for a host op, and for one that is not compiled yet."""
    return view(kernels[which], MAP, np.uint64(0))[opcode]


@compiled
def fetch(words, w, d, address, start, count, like, scratch):
    """Return the memory address of elements start .. start+count of an operand over the row's index space.

    Where they are not contiguous they are copied into `scratch` first.
    """
    kind = operand_kind(words, d)
    if kind == 1:
        return shifted(address, start, like)
    if kind == 2:
        value = view(address, 1, like)[0]
        for j in range(count):
            scratch[j] = value
        return pointer_of(scratch)
    innermost = row_axes(words, w) - 1
    inner = row_extent(words, w, innermost)
    step = operand_stride(words, d, innermost)
    row, column = start // inner, start % inner
    done = 0
    while done < count:
        offset = column * step
        rest = row
        for axis in range(innermost - 1, -1, -1):
            length = row_extent(words, w, axis)
            offset += (rest % length) * operand_stride(words, d, axis)
            rest //= length
        run = min(inner - column, count - done)
        if step == 0:
            value = view(shifted(address, offset, like), 1, like)[0]
            for j in range(run):
                scratch[done + j] = value
        elif step == 1:
            source = view(shifted(address, offset, like), run, like)
            for j in range(run):
                scratch[done + j] = source[j]
        else:
            for j in range(run):
                scratch[done + j] = view(shifted(address, offset + j * step, like), 1, like)[0]
        done += run
        row += 1
        column = 0
    return pointer_of(scratch)


@compiled
def deposit(words, w, d, address, start, block):
    """Add a block to elements start .. of an operand over the row's index space."""
    kind = operand_kind(words, d)
    count = block.size
    if kind == 1:
        target = view(shifted(address, start, block), count, block)
        for j in range(count):
            target[j] += block[j]
        return
    if kind == 2:
        view(address, 1, block)[0] += total(block)
        return
    innermost = row_axes(words, w) - 1
    inner = row_extent(words, w, innermost)
    step = operand_stride(words, d, innermost)
    row, column = start // inner, start % inner
    done = 0
    while done < count:
        offset = column * step
        rest = row
        for axis in range(innermost - 1, -1, -1):
            length = row_extent(words, w, axis)
            offset += (rest % length) * operand_stride(words, d, axis)
            rest //= length
        run = min(inner - column, count - done)
        if step == 0:
            view(shifted(address, offset, block), 1, block)[0] += total(block[done : done + run])
        elif step == 1:
            target = view(shifted(address, offset, block), run, block)
            for j in range(run):
                target[j] += block[done + j]
        else:
            for j in range(run):
                view(shifted(address, offset + j * step, block), 1, block)[0] += block[done + j]
        done += run
        row += 1
        column = 0


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def run_total(values):
    """Return the sum of a short run, in as many partial sums as the registers hold; -0.0 if all are."""
    result = -values.dtype.type(0)
    for j in range(values.size):
        result += values[j]
    return result


@compiled
def total(values):
    """Return the sum: runs of 128 elements, added in pairs (Higham, 1993, section 2)."""
    n = values.size
    if n <= RUN:
        return run_total(values)
    partial = view(room(32, values), 32, values)
    level = 0
    blocks = 0
    for start in range(0, n, RUN):
        subtotal = run_total(values[start : min(start + RUN, n)])
        blocks += 1
        k = blocks
        while k % 2 == 0:
            level -= 1
            subtotal = partial[level] + subtotal
            k //= 2
        partial[level] = subtotal
        level += 1
    result = partial[level - 1]
    for k in range(level - 2, -1, -1):
        result = partial[k] + result
    return result


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def run_product(one, other):
    """Return the sum of products of two contiguous runs."""
    result = one.dtype.type(0)
    for j in range(one.size):
        result += one[j] * other[j]
    return result


@compiled
def map_primal(kernels, opcode, words, w, bases, like, scratch, start, stop):
    """Compute elements start .. stop of an elementwise row; return 1 if there is no function of the op."""
    function = op_function(kernels, PRIMAL, opcode)
    if function == 0:
        return 1
    operands = operand_count(words, w)
    zero = like.dtype.type(0)
    out = operand_at(words, w, 0)
    x_at = operand_at(words, w, 1)
    y_at = operand_at(words, w, 2) if operands == 3 else x_at
    x_address, y_address = memory(words, x_at, bases, like), memory(words, y_at, bases, like)
    z_address = memory(words, out, bases, like)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        xs = fetch(words, w, x_at, x_address, first, count, like, scratch[0])
        ys = fetch(words, w, y_at, y_address, first, count, like, scratch[1]) if operands == 3 else xs
        zs = shifted(z_address, first, like)
        call_at(function, zero, (zs, xs, ys, count))
    return 0


@inlined
def scale_block(partials, bars):
    """Multiply partials by cotangents (or tangents) in place; absent times anything is absent (-0.0)."""
    zero = partials.dtype.type(0)
    for j in range(partials.size):
        p, b = partials[j], bars[j]
        partials[j] = select(absent(p) | absent(b), -zero, p * b + zero)


@inlined
def all_absent(values):
    """Whether every element is absent."""
    for j in range(values.size):
        if not absent(values[j]):
            return False
    return True


@inlined
def unit(opcode, k):
    """Return a partial that is 1 or -1 whatever the operands, 0 for others."""
    return np.int64(UNITS[opcode, k]) if opcode < UNITS.shape[0] else np.int64(0)


@inlined
def signed(values, sign, scratch):
    """Return a block of cotangents, or its negative in scratch."""
    if sign == 1:
        return values
    negative = scratch[: values.size]
    zero = values.dtype.type(0)
    for j in range(values.size):
        negative[j] = select(absent(values[j]), values[j], zero - values[j])
    return negative


@compiled
def map_adjoint(kernels, opcode, words, w, bases, bars, like, scratch, start, stop, which):
    """Add the cotangents of elements start .. stop to the operands' (which: 1 x, 2 y, 3 both).

    Returns 1 if there is no function of the op's partials and they are asked for; then nothing has been added.
    """
    function = op_function(kernels, PARTIALS, opcode)
    operands = operand_count(words, w)
    zero = like.dtype.type(0)
    out = operand_at(words, w, 0)
    x_at = operand_at(words, w, 1)
    y_at = operand_at(words, w, 2) if operands == 3 else x_at
    x_address, y_address = memory(words, x_at, bases, like), memory(words, y_at, bases, like)
    z_address = memory(words, out, bases, like)
    x_bar = memory(words, x_at, bars, like)
    y_bar = memory(words, y_at, bars, like) if operands == 3 else np.uint64(0)
    z_bar = memory(words, out, bars, like)
    if x_bar == 0 and y_bar == 0:
        return 0
    unit_x, unit_y = unit(opcode, 0), unit(opcode, 1)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        zb = view(shifted(z_bar, first, like), count, like)
        if all_absent(zb):
            continue
        if unit_x and (unit_y or operands == 2):
            if x_bar != 0 and which & 1:
                deposit(words, w, x_at, x_bar, first, signed(zb, unit_x, scratch[2]))
            if y_bar != 0 and which & 2:
                deposit(words, w, y_at, y_bar, first, signed(zb, unit_y, scratch[3]))
            continue
        if function == 0:
            return 1
        xs = fetch(words, w, x_at, x_address, first, count, like, scratch[0])
        ys = fetch(words, w, y_at, y_address, first, count, like, scratch[1]) if operands == 3 else xs
        ps, qs = scratch[2][:count], scratch[3][:count]
        places = (pointer_of(ps), pointer_of(qs), xs, ys, shifted(z_address, first, like), count)
        call_at(function, zero, places)
        if x_bar != 0 and which & 1:
            scale_block(ps, zb)
            deposit(words, w, x_at, x_bar, first, ps)
        if y_bar != 0 and which & 2:
            scale_block(qs, zb)
            deposit(words, w, y_at, y_bar, first, qs)
    return 0


@compiled
def map_tangent(kernels, opcode, words, w, bases, dots, like, scratch, start, stop):
    """Compute the tangents of elements start .. stop of an elementwise row; return 1 if it has no function."""
    function = op_function(kernels, PARTIALS, opcode)
    if function == 0:
        return 1
    operands = operand_count(words, w)
    zero = like.dtype.type(0)
    out = operand_at(words, w, 0)
    x_at = operand_at(words, w, 1)
    y_at = operand_at(words, w, 2) if operands == 3 else x_at
    x_address, y_address = memory(words, x_at, bases, like), memory(words, y_at, bases, like)
    z_address = memory(words, out, bases, like)
    x_dot = memory(words, x_at, dots, like)
    y_dot = memory(words, y_at, dots, like) if operands == 3 else np.uint64(0)
    z_dot = memory(words, out, dots, like)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        xs = fetch(words, w, x_at, x_address, first, count, like, scratch[0])
        ys = fetch(words, w, y_at, y_address, first, count, like, scratch[1]) if operands == 3 else xs
        ps, qs = scratch[2][:count], scratch[3][:count]
        places = (pointer_of(ps), pointer_of(qs), xs, ys, shifted(z_address, first, like), count)
        call_at(function, zero, places)
        zd = view(shifted(z_dot, first, like), count, like)
        for j in range(count):
            zd[j] = -zero
        if x_dot != 0:
            scale_block(ps, view(fetch(words, w, x_at, x_dot, first, count, like, scratch[0]), count, like))
            for j in range(count):
                zd[j] += ps[j]
        if y_dot != 0:
            scale_block(qs, view(fetch(words, w, y_at, y_dot, first, count, like, scratch[1]), count, like))
            for j in range(count):
                zd[j] += qs[j]
    return 0


@compiled
def add_strided(words, w, target, t_address, source, s_address, like):
    """Add a source to a target over an index space; either may repeat elements."""
    elements, innermost = row_elements(words, w), row_axes(words, w) - 1
    if elements == 0:
        return
    inner = row_extent(words, w, innermost)
    t_step, s_step = operand_stride(words, target, innermost), operand_stride(words, source, innermost)
    for row in range(elements // inner):
        rest = row
        t_offset = s_offset = np.int64(0)
        for axis in range(innermost - 1, -1, -1):
            length = row_extent(words, w, axis)
            place = rest % length
            rest //= length
            t_offset += place * operand_stride(words, target, axis)
            s_offset += place * operand_stride(words, source, axis)
        here, there = shifted(t_address, t_offset, like), shifted(s_address, s_offset, like)
        if t_step == 1 and s_step == 1:
            t, s = view(here, inner, like), view(there, inner, like)
            for j in range(inner):
                t[j] += s[j]
        elif t_step == 0 and s_step == 1:
            view(here, 1, like)[0] += total(view(there, inner, like))
        elif t_step == 1 and s_step == 0:
            t, value = view(here, inner, like), view(there, 1, like)[0]
            for j in range(inner):
                t[j] += value
        else:
            for j in range(inner):
                view(shifted(here, j * t_step, like), 1, like)[0] += view(shifted(there, j * s_step, like), 1, like)[0]


@compiled
def contract_strided(words, w, target, t_address, one, u_address, other, v_address, like):
    """Add the products of two operands to a target over an index space; zeros among them are +0.0."""
    zero = like.dtype.type(0)
    elements, innermost = row_elements(words, w), row_axes(words, w) - 1
    if elements == 0:
        return
    inner = row_extent(words, w, innermost)
    t_step, u_step = operand_stride(words, target, innermost), operand_stride(words, one, innermost)
    v_step = operand_stride(words, other, innermost)
    for row in range(elements // inner):
        rest = row
        t_offset = u_offset = v_offset = np.int64(0)
        for axis in range(innermost - 1, -1, -1):
            length = row_extent(words, w, axis)
            place = rest % length
            rest //= length
            t_offset += place * operand_stride(words, target, axis)
            u_offset += place * operand_stride(words, one, axis)
            v_offset += place * operand_stride(words, other, axis)
        here = shifted(t_address, t_offset, like)
        left, right = shifted(u_address, u_offset, like), shifted(v_address, v_offset, like)
        if t_step == 0 and u_step == 1 and v_step == 1:
            view(here, 1, like)[0] += run_product(view(left, inner, like), view(right, inner, like))
        elif t_step == 1 and u_step == 0 and v_step == 1:
            factor, t, v = view(left, 1, like)[0], view(here, inner, like), view(right, inner, like)
            for j in range(inner):
                t[j] += factor * v[j] + zero
        elif t_step == 1 and u_step == 1 and v_step == 0:
            factor, t, u = view(right, 1, like)[0], view(here, inner, like), view(left, inner, like)
            for j in range(inner):
                t[j] += factor * u[j] + zero
        else:
            for j in range(inner):
                view(shifted(here, j * t_step, like), 1, like)[0] += (
                    view(shifted(left, j * u_step, like), 1, like)[0]
                    * view(shifted(right, j * v_step, like), 1, like)[0]
                    + zero
                )


@inlined
def multiply(kernels, words, w, target, t_address, one, u_address, other, v_address, like):
    """Add the products of two operands to a target: block by block where they are matrices."""
    if is_product(words, w):
        places = (target, t_address, one, u_address, other, v_address)
        call_at(kernels[PRODUCT], like.dtype.type(0), (pointer_of(words), w, *places))
    else:
        contract_strided(words, w, target, t_address, one, u_address, other, v_address, like)


@inlined
def is_missing(kernels, opcode, words, w):
    """Whether a row is a product of matrices whose function has not been compiled yet."""
    return opcode == CONTRACT and kernels[PRODUCT] == 0 and is_product(words, w)


@inlined
def clear(address, count, value):
    """Set a run of elements to a zero, +0.0 or -0.0."""
    target = view(address, count, value)
    for j in range(count):
        target[j] = value


@inlined
def names_each(words, w, count):
    """Whether the output of a row, its repetitions apart, has `count` elements."""
    found = np.int64(1)
    out = operand_at(words, w, 0)
    for axis in range(row_axes(words, w)):
        if operand_stride(words, out, axis) != 0:
            found *= row_extent(words, w, axis)
    return found == count and row_elements(words, w) > 0


@compiled
def scalar_by_blocks(kernels, code, values, partials, i):
    """Compute one scalar row by the block kernels, on blocks of one element; return 1 if there are no functions."""
    opcode = np.int64(code[i, 0])
    primal, slopes = op_function(kernels, PRIMAL, opcode), op_function(kernels, PARTIALS, opcode)
    if primal == 0 or slopes == 0:
        return 1
    zero = values.dtype.type(0)
    z = pointer_of(values[np.int64(code[i, 1]) :])
    x, y = pointer_of(values[np.int64(code[i, 2]) :]), pointer_of(values[np.int64(code[i, 3]) :])
    call_at(primal, zero, (z, x, y, 1))
    partials[i, 1] = 0
    p, q = pointer_of(partials[i]), pointer_of(partials[i, 1:])
    call_at(slopes, zero, (p, q, x, y, z, 1))
    return 0


@inlined
def memory_at(base, address, like):
    """Return the memory address of an arena address."""
    return base + np.uint64(address) * np.uint64(like.itemsize)


@inlined
def scattered(words, w, bases, like):
    """Return what a SCATTER row adds, as an array: its values, tangents or cotangents."""
    address = shifted(bases[scatter_space(words, w)], scatter_address(words, w), like)
    return view(address, listed_count(words, w), like)


@inlined
def guard_holds(code, values, i):
    """Whether a guard is as it was recorded; NaN is equal to NaN."""
    if code[i, 0] == GUARD:
        return (values[code[i, 2]] != 0) == (code[i, 1] != 0)
    x, y = values[code[i, 2]], values[code[i, 1]]
    return x == y or (x != x and y != y)


@inlined
def add_terms(kernels, opcode, words, w, bases, values):
    """Add the terms of an ADD or CONTRACT row to its output."""
    out, one = operand_at(words, w, 0), operand_at(words, w, 1)
    target, source = memory(words, out, bases, values), memory(words, one, bases, values)
    if opcode == ADD:
        add_strided(words, w, out, target, one, source, values)
    else:
        other = operand_at(words, w, 2)
        factor = memory(words, other, bases, values)
        multiply(kernels, words, w, out, target, one, source, other, factor, values)


@compiled
def forward_rows(kernels, code, words, bases, values, partials, scratch, start, stop):
    """Compute scalar and array rows in order; return the first row that is left to Python."""
    bases[0] = pointer_of(values)
    i = start
    n = np.int64(stop)
    zero = values.dtype.type(0)
    while i < n:
        opcode = np.int64(code[i, 0])
        if opcode < MAP or opcode == GUARD or opcode == GUARD_VALUE:
            if kernels[LINEARISE] != 0:
                places = (pointer_of(code), pointer_of(values), pointer_of(partials), i, n)
                before = i
                i = call_at(kernels[LINEARISE], zero, places)
                if i == before or (i < n and code[i, 0] < MAP):
                    return i
                continue
            if opcode < MAP:
                if scalar_by_blocks(kernels, code, values, partials, i) != 0:
                    return i
            elif not guard_holds(code, values, i):
                return i
            i += 1
            continue
        w = np.int64(code[i, 2])
        if opcode < 2 * MAP:
            elements = row_elements(words, w)
            if is_left(opcode, words, w):
                return i
            if map_primal(kernels, opcode - MAP, words, w, bases, values, scratch, 0, elements) != 0:
                return i
        elif opcode == ADD or opcode == CONTRACT:
            if is_left(opcode, words, w) or is_missing(kernels, opcode, words, w):
                return i
            cleared = row_cleared(words, w)
            if cleared:  # a sum of -0.0 alone, and a copy of it, is -0.0: so what is absent stays so
                absent_block = operand_kind(words, operand_at(words, w, 0)) == ABSENT_KIND
                absent_block = absent_block or names_each(words, w, cleared)
                nothing = -zero if opcode == ADD and absent_block else zero
                clear(memory_at(bases[0], code[i, 1], values), cleared, nothing)
            add_terms(kernels, opcode, words, w, bases, values)
        elif opcode == GATHER:
            out = np.int64(code[i, 1])
            for k in range(listed_count(words, w)):
                values[out + k] = values[gather_place(words, w, k)]
        elif opcode == SCATTER:
            out = np.int64(code[i, 1])
            for k in range(scatter_block(words, w)):
                values[out + k] = zero
            for k in range(listed_count(words, w)):
                values[out + scatter_place(words, w, k)] = -zero
            source = scattered(words, w, bases, values)
            for k in range(listed_count(words, w)):
                values[out + scatter_place(words, w, k)] += source[k]
        else:
            return i
        i += 1
    return i


@compiled
def adjoint_rows(kernels, code, words, bases, values, partials, scratch, bars, bar, start, stop):
    """Take rows backwards from stop to start; return the end of what is left to Python."""
    bases[0] = pointer_of(values)
    bars[0] = pointer_of(bar)
    i = np.int64(stop)
    while i > start:
        opcode = np.int64(code[i - 1, 0])
        if opcode < MAP:
            i = adjoint(code, partials, bar, start, i)
            continue
        row = i - 1
        w = np.int64(code[row, 2])
        if opcode < 2 * MAP:
            elements = row_elements(words, w)
            if is_left(opcode, words, w):
                return i
            if map_adjoint(kernels, opcode - MAP, words, w, bases, bars, values, scratch, 0, elements, 3) != 0:
                return i
        elif opcode == ADD or opcode == CONTRACT:
            if is_left(opcode, words, w) or is_missing(kernels, opcode, words, w):
                return i
            out, one = operand_at(words, w, 0), operand_at(words, w, 1)
            start_of_out = memory(words, out, bars, values)
            cleared = row_cleared(words, w)
            if cleared and all_absent(view(memory_at(bars[0], code[row, 1], values), cleared, values)):
                i = row
                continue
            target = memory(words, one, bars, values)
            if opcode == ADD:
                if target != 0:
                    add_strided(words, w, one, target, out, start_of_out, values)
            else:
                other = operand_at(words, w, 2)
                if target != 0:
                    factor = memory(words, other, bases, values)
                    multiply(kernels, words, w, one, target, out, start_of_out, other, factor, values)
                target = memory(words, other, bars, values)
                if target != 0:
                    factor = memory(words, one, bases, values)
                    multiply(kernels, words, w, other, target, out, start_of_out, one, factor, values)
        elif opcode == GATHER:
            out = np.int64(code[row, 1])
            for k in range(listed_count(words, w)):
                bar[gather_place(words, w, k)] += bar[out + k]
        elif opcode == SCATTER:
            out = np.int64(code[row, 1])
            if bars[scatter_space(words, w)] != 0:
                target = scattered(words, w, bars, values)
                for k in range(listed_count(words, w)):
                    target[k] += bar[out + scatter_place(words, w, k)]
        elif opcode >= GATHER:
            return i
        i = row
    return i


@compiled
def tangent_rows(kernels, code, words, bases, values, partials, scratch, dots, dot, start, stop):
    """Take rows forwards; return the first row that is left to Python."""
    bases[0] = pointer_of(values)
    dots[0] = pointer_of(dot)
    i = np.int64(start)
    zero = values.dtype.type(0)
    while i < stop:
        opcode = np.int64(code[i, 0])
        if opcode < MAP:
            i = tangent(code, partials, dot, i, stop)
            continue
        w = np.int64(code[i, 2])
        if opcode < 2 * MAP:
            elements = row_elements(words, w)
            if map_tangent(kernels, opcode - MAP, words, w, bases, dots, values, scratch, 0, elements) != 0:
                return i
        elif opcode == ADD or opcode == CONTRACT:
            if opcode == CONTRACT and (is_left(opcode, words, w) or is_missing(kernels, opcode, words, w)):
                return i
            out, one = operand_at(words, w, 0), operand_at(words, w, 1)
            start_of_out = memory(words, out, dots, values)
            cleared = row_cleared(words, w)
            if cleared:
                clear(memory_at(dots[0], code[i, 1], values), cleared, -zero)
            source = memory(words, one, dots, values)
            if opcode == ADD:
                if source != 0:
                    add_strided(words, w, out, start_of_out, one, source, values)
            else:
                other = operand_at(words, w, 2)
                if source != 0:
                    factor = memory(words, other, bases, values)
                    multiply(kernels, words, w, out, start_of_out, one, source, other, factor, values)
                source = memory(words, other, dots, values)
                if source != 0:
                    factor = memory(words, one, bases, values)
                    multiply(kernels, words, w, out, start_of_out, one, factor, other, source, values)
        elif opcode == GATHER:
            out = np.int64(code[i, 1])
            for k in range(listed_count(words, w)):
                dot[out + k] = dot[gather_place(words, w, k)]
        elif opcode == SCATTER:
            out = np.int64(code[i, 1])
            for k in range(scatter_block(words, w)):
                dot[out + k] = -zero
            if dots[scatter_space(words, w)] != 0:
                source_block = scattered(words, w, dots, values)
                for k in range(listed_count(words, w)):
                    dot[out + scatter_place(words, w, k)] += source_block[k]
        elif opcode >= GATHER:
            return i
        i += 1
    return i


@inlined
def tape_at(like, kernels, code, words, bases, values, partials, scratch, rows):
    """Return what all sweeps read, given by memory addresses, as arrays."""
    return (
        view(np.uint64(kernels), 4, np.uint64(0)),
        rows_of(view(np.uint64(code), 4 * rows, np.uint32(0)), 4),
        view(np.uint64(words), WHOLE, np.int64(0)),
        view(np.uint64(bases), WHOLE, np.uint64(0)),
        view(np.uint64(values), WHOLE, like),
        rows_of(view(np.uint64(partials), 2 * rows, like), 2),
        rows_of(view(np.uint64(scratch), 4 * BLOCK, like), BLOCK),
    )


@inlined
def derivatives_at(like, spaces, arena):
    """Return where the cotangents or tangents of each space are, and those of the arena, as arrays."""
    return view(np.uint64(spaces), WHOLE, np.uint64(0)), view(np.uint64(arena), WHOLE, like)


def forward_at(like, kernels, code, words, bases, values, partials, scratch, start, stop):
    """Compute rows of all kinds at memory addresses (see `forward_rows`). Compiled to a C function."""
    tape = tape_at(like, kernels, code, words, bases, values, partials, scratch, np.int64(stop))
    return forward_rows(*tape, start, stop)


def adjoint_at(like, kernels, code, words, bases, bars, values, partials, bar, scratch, start, stop):
    """Take rows of all kinds back at memory addresses (see `adjoint_rows`). Compiled to a C function."""
    tape = tape_at(like, kernels, code, words, bases, values, partials, scratch, np.int64(stop))
    return adjoint_rows(*tape, *derivatives_at(like, bars, bar), start, stop)


def tangent_at(like, kernels, code, words, bases, dots, values, partials, dot, scratch, start, stop):
    """Push tangents through rows of all kinds at memory addresses (see `tangent_rows`). Compiled to a C function."""
    tape = tape_at(like, kernels, code, words, bases, values, partials, scratch, np.int64(stop))
    return tangent_rows(*tape, *derivatives_at(like, dots, dot), start, stop)


@compiled
def count_uses(code, words, uses):
    """Count how often rows name each space as an operand."""
    for row in range(code.shape[0]):
        opcode = np.int64(code[row, 0])
        w = np.int64(code[row, 2])
        if (opcode >= MAP and opcode < 2 * MAP) or opcode == ADD or opcode == CONTRACT:
            for k in range(1, operand_count(words, w)):
                uses[operand_space(words, operand_at(words, w, k))] += 1
        elif opcode == SCATTER:
            uses[scatter_space(words, w)] += 1
        elif opcode == HOST:
            for k in range(host_inputs(words, w)):
                uses[host_space(words, w, k)] += 1


def uses_at(like, _, at):
    """Run `count_uses`. Compiled to a C function."""
    table = table_at(at)
    count_uses(rows_of(addresses_at(table, 0), 4), integers_at(table, 1), integers_at(table, 2))
    return np.int64(0)
