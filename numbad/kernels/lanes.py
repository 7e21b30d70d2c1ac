"""Compiled kernels of lanes: one linearised tape, many seeds. Some addresses have a row of lanes in place of a number.

A tape is linear once its partials are known, so these kernels need no opcodes of elementwise ops: they multiply
by `slopes`, which `fill_slopes` computes once for a point. `flags` says of each row which of its operands depend on the
inputs (1 the first, 2 the second), 0 where the outputs do not depend on the row (see `kernels.dependence`).

Most addresses depend on one other alone: all of sin(z)**2 * 3 is a multiple of z. `compress` gives such an address
the `place` (the row of lanes) of what it depends on, and a coefficient; only where two meet does a row keep lanes of
its own. So a chain of elementwise operations costs its length once, and not once for each lane (it is the elimination
of vertices with one predecessor: Griewank and Walther, 2008, chapter 9).

What the sweeps and their parts are given, always in this order and under these names:

    code, words         the rows, shape (rows, 4) of uint32, and their operand words, int64
    kept                uint8 a row: the flags of rows that the sweeps take, 0 for the others
    slots, slopes       where the partials of an elementwise array row begin, int64 a row; and these partials
    values, partials    the arena, and the partials of scalar rows, shape (rows, 2)
    bases               where each space begins in memory, uint64
    place, coefficient  of each address: its row of lanes, int64, NONE for none; and the factor before it
    lanes               where the lanes of each space begin in memory, uint64, 0 for constants: `bars` of cotangents,
                        `dots` of tangents
    most                elements: larger products are left to Python, which has BLAS
    wide, first, last   how many lanes there are in a row, and which of them are taken: first .. last - 1
    like, back          an array of the tape's dtype; and whether a row is taken back
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.array import PARTIALS, compiled, fetch, inlined, memory, op_function, shifted
from numbad.kernels.lanes_layout import ARRAYS, NONE
from numbad.kernels.layout import (
    gather_place,
    host_address,
    host_elements,
    host_inputs,
    host_outputs,
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
from numbad.kernels.tables import addresses_at, array_at, bytes_at, fill_run, integers_at, places_at, share_of, table_at
from numbad.kernels.vectormath import absent, call_at, pointer_of, rows_of, select, view
from numbad.limits import BLOCK
from numbad.tape.layout import ADD, CONTRACT, GATHER, MAP, SCATTER


@inlined
def offset_of(words, w, d, j):
    """Return where element j of an index space lies in an operand, from its first element."""
    kind = operand_kind(words, d)
    if kind == 1:
        return j
    if kind == 2:
        return np.int64(0)
    axes = row_axes(words, w)
    if axes == 1:
        return j * operand_stride(words, d, 0)
    offset = np.int64(0)
    rest = j
    for axis in range(axes - 1, -1, -1):
        length = row_extent(words, w, axis)
        offset += (rest % length) * operand_stride(words, d, axis)
        rest //= length
    return offset


@compiled
def fill_slopes(kernels, code, words, bases, values, slots, slopes, scratch, start):
    """Compute the partials of elementwise array rows; return the first row that lacks a function, or the end."""
    bases[0] = pointer_of(values)
    zero = values.dtype.type(0)
    for i in range(start, code.shape[0]):
        slot = slots[i]
        if slot < 0:
            continue
        w = np.int64(code[i, 2])
        opcode = np.int64(code[i, 0]) - MAP
        elements = row_elements(words, w)
        function = op_function(kernels, PARTIALS, opcode)
        if function == 0:
            return np.int64(i)
        binary = operand_count(words, w) == 3
        x_at = operand_at(words, w, 1)
        y_at = operand_at(words, w, 2) if binary else x_at
        x, y = memory(words, x_at, bases, values), memory(words, y_at, bases, values)
        z = memory(words, operand_at(words, w, 0), bases, values)
        for first in range(0, elements, BLOCK):
            size = min(BLOCK, elements - first)
            xs = fetch(words, w, x_at, x, first, size, values, scratch[0])
            ys = fetch(words, w, y_at, y, first, size, values, scratch[1]) if binary else xs
            ps = pointer_of(slopes[slot + first :])
            qs = pointer_of(slopes[slot + elements + first :]) if binary else pointer_of(scratch[2])
            call_at(function, zero, (ps, qs, xs, ys, shifted(z, first, values), size))
    return np.int64(code.shape[0])


@compiled
def compress(code, words, flags, slots, slopes, partials, accumulated, place, coefficient, kept, rows, fold):
    """Give each address its place and coefficient, and note which rows keep lanes; return how many places there are.

    Or return -1, where a coefficient is zero or not finite: the lanes may be small where products of partials overflow.
    `place` holds those of the inputs, of which there are `rows`, and NONE for others. `kept` is `flags` for rows that
    the sweeps must take, 0 for those that the coefficients stand for: of elementwise rows none unless `fold`.
    """
    for i in range(code.shape[0]):
        kept[i] = 0
        flag = np.int64(flags[i])
        opcode, out, w = np.int64(code[i, 0]), np.int64(code[i, 1]), np.int64(code[i, 2])
        first, count = out, np.int64(1)
        shared = opcode >= 2 * MAP and any_in(accumulated, out, cleared_by(words, opcode, w))
        if flag == 0:
            if shared:  # rows that depend on the inputs add to a block of constants
                rows = give_places(place, coefficient, out, cleared_by(words, opcode, w), rows)
            continue
        if opcode < MAP:
            done = fold and join(place, coefficient, out, flag, w, np.int64(code[i, 3]), partials[i, 0], partials[i, 1])
        elif opcode < 2 * MAP:
            count = row_elements(words, w)
            done = fold and join_map_row(words, w, flag, slopes, slots[i], place, coefficient, out)
        elif opcode == ADD:
            count = row_cleared(words, w)
            done = count > 0 and not shared and copy_row(words, w, place, coefficient)
            if not done and count > 0:
                forget(place, out, count)
        elif opcode == CONTRACT:
            count = row_cleared(words, w)
            done = False
        elif opcode == GATHER:
            done = True
            for j in range(listed_count(words, w)):
                place[out + j] = place[gather_place(words, w, j)]
                coefficient[out + j] = coefficient[gather_place(words, w, j)]
        elif opcode == SCATTER:
            count = scatter_block(words, w)
            done = not shared and scatter_row(words, w, place, coefficient, out)
            if not done:
                forget(place, out, count)
        else:
            done = False
            count = 0
            for k in range(host_inputs(words, w), host_inputs(words, w) + host_outputs(words, w)):
                rows = give_places(place, coefficient, host_address(words, w, k), host_elements(words, w, k), rows)
        if not done:
            kept[i] = flags[i]
            rows = give_places(place, coefficient, first, count, rows)
    for j in range(place.size if fold else 0):
        c = coefficient[j]
        if place[j] != NONE and not (c != 0 and c - c == 0):
            return np.int64(-1)
    return rows


@inlined
def cleared_by(words, opcode, w):
    """Return how many elements a row sets to zero before it adds to them."""
    if opcode == ADD or opcode == CONTRACT:
        return row_cleared(words, w)
    return scatter_block(words, w) if opcode == SCATTER else np.int64(0)


@inlined
def any_in(marks, first, count):
    """Whether an address of a block is marked."""
    for j in range(first, first + count):
        if marks[j]:
            return True
    return False


@inlined
def give_places(place, coefficient, first, count, rows):
    """Give each address of a block a row of lanes of its own, from row `rows` on; return how many there are then."""
    for j in range(count):
        place[first + j] = rows + j
        coefficient[first + j] = 1
    return rows + count


@inlined
def forget(place, first, count):
    """Take back the places of a block."""
    for j in range(count):
        place[first + j] = NONE


@inlined
def join(place, coefficient, out, flag, a, b, p, q):
    """Give the output of an op the place of its operands and return True, if they have the same or one has none."""
    x = place[a] if flag & 1 and not absent(p) else NONE
    y = place[b] if flag & 2 and not absent(q) else NONE
    if x != NONE and y != NONE and x != y:
        return False
    total = coefficient[0]  # zero, in the dtype of the tape
    if x != NONE:
        total += p * coefficient[a]
    if y != NONE:
        total += q * coefficient[b]
    place[out] = max(x, y)
    coefficient[out] = total
    return True


@compiled
def join_map_row(words, w, flag, slopes, slot, place, coefficient, out):
    """Give each element of an elementwise row the place of its operands; return False where one cannot have it."""
    elements = row_elements(words, w)
    x_at = operand_at(words, w, 1)
    binary = operand_count(words, w) == 3
    y_at = operand_at(words, w, 2) if binary else x_at
    if (flag & 1 and operand_space(words, x_at) != 0) or (flag & 2 and operand_space(words, y_at) != 0):
        return False
    for j in range(elements):
        a = operand_address(words, x_at) + offset_of(words, w, x_at, j) if flag & 1 else np.int64(0)
        b = operand_address(words, y_at) + offset_of(words, w, y_at, j) if flag & 2 else np.int64(0)
        q = slopes[slot + elements + j] if binary else slopes[slot]
        if not join(place, coefficient, out + j, flag, a, b, slopes[slot + j], q):
            return False
    return True


@compiled
def copy_row(words, w, place, coefficient):
    """Give the target of a copy the places of its source; False for sums, where two elements meet in one.

    It must be the only row that depends on the inputs and adds to the target's block.
    """
    t, d = operand_at(words, w, 0), operand_at(words, w, 1)
    if operand_space(words, d) != 0:
        return False
    for j in range(row_elements(words, w)):
        z = operand_address(words, t) + offset_of(words, w, t, j)
        x = operand_address(words, d) + offset_of(words, w, d, j)
        if place[z] != NONE:
            return False
        place[z], coefficient[z] = place[x], coefficient[x]
    return True


@compiled
def scatter_row(words, w, place, coefficient, out):
    """Give the targets of a SCATTER row the places of its source; False where two meet in one."""
    if scatter_space(words, w) != 0:
        return False
    for j in range(listed_count(words, w)):
        z, x = out + scatter_place(words, w, j), scatter_address(words, w) + j
        if place[z] != NONE:
            return False
        place[z], coefficient[z] = place[x], coefficient[x]
    return True


@inlined
def add_scaled(target, factor, source):
    """Add a multiple of one row of lanes to another; absent times anything is absent."""
    if factor == 1:
        for k in range(target.size):
            target[k] += source[k]
    else:
        zero = source.dtype.type(0)
        for k in range(target.size):
            s = source[k]
            target[k] += select(absent(s), s, factor * s + zero)


@inlined
def lanes_at(base, row, wide, first, last, like):
    """Return lanes first .. last of a row of lanes."""
    return view(shifted(base, row * wide + first, like), last - first, like)


@inlined
def move(base, at, p, out_base, out, wide, first, last, like, back):
    """Add p times the lanes of an operand to those of an output, or the other way if `back`."""
    x = lanes_at(base, at, wide, first, last, like)
    z = lanes_at(out_base, out, wide, first, last, like)
    if back:
        add_scaled(x, p, z)
    else:
        add_scaled(z, p, x)


@inlined
def move_element(space, address, p, out, place, coefficient, lanes, wide, first, last, like, back):
    """Move the lanes between the element of an operand and the place of an output."""
    base = lanes[space]
    if base == 0 or absent(p):
        return
    if space != 0:
        move(base, address, p, lanes[0], out, wide, first, last, like, back)
    elif place[address] != NONE:
        move(base, place[address], p * coefficient[address], lanes[0], out, wide, first, last, like, back)


@compiled
def move_map_row(words, w, k, slopes, slot, out, place, coefficient, lanes, wide, first, last, like, back):
    """Move lanes through operand k of an elementwise row."""
    d, elements = operand_at(words, w, k), row_elements(words, w)
    for j in range(elements):
        p, x = slopes[slot + (k - 1) * elements + j], operand_address(words, d) + offset_of(words, w, d, j)
        move_element(operand_space(words, d), x, p, out + j, place, coefficient, lanes, wide, first, last, like, back)


@compiled
def move_structural_row(words, w, k, other, other_at, varies, place, coefficient, lanes, wide, first, last, like, back):
    """Move lanes through operand k of a sum or product over an index space.

    `other` is the other operand of a product, 0 for a sum; its zeros count if it `varies`.
    """
    target, d, factor = operand_at(words, w, 0), operand_at(words, w, k), operand_at(words, w, other)
    zero = like.dtype.type(0)
    p = like.dtype.type(1)
    for j in range(row_elements(words, w)):
        if other != 0:
            p = view(shifted(other_at, offset_of(words, w, factor, j), like), 1, like)[0]
            p = -zero if p == 0 and not varies else p + zero
        x = operand_address(words, d) + offset_of(words, w, d, j)
        z = place[operand_address(words, target) + offset_of(words, w, target, j)]
        move_element(operand_space(words, d), x, p, z, place, coefficient, lanes, wide, first, last, like, back)


@compiled
def move_row(
    code,
    words,
    kept,
    slots,
    slopes,
    values,
    partials,
    bases,
    place,
    coefficient,
    lanes,
    most,
    wide,
    first,
    last,
    i,
    back,
):
    """Take one row with lanes, forwards or back; return 1 for a row that is left to Python."""
    flag = np.int64(kept[i])
    opcode, out, w = np.int64(code[i, 0]), np.int64(code[i, 1]), np.int64(code[i, 2])
    one = values.dtype.type(1)
    if opcode < MAP:
        for k in range(2):
            if flag >> k & 1:
                x, z = np.int64(code[i, 2 + k]), place[out]
                move_element(0, x, partials[i, k], z, place, coefficient, lanes, wide, first, last, values, back)
    elif opcode < 2 * MAP:
        for k in range(1, operand_count(words, w)):
            if flag >> (k - 1) & 1:
                slot, z = slots[i], place[out]
                move_map_row(words, w, k, slopes, slot, z, place, coefficient, lanes, wide, first, last, values, back)
    elif opcode == ADD or opcode == CONTRACT:
        if opcode == CONTRACT and row_elements(words, w) * wide > most:
            return 1
        for k in range(1, operand_count(words, w)):
            if flag >> (k - 1) & 1:
                other = 3 - k if opcode == CONTRACT else 0
                other_at = memory(words, operand_at(words, w, other), bases, values)
                varies = flag >> (2 - k) & 1 != 0
                move_structural_row(
                    words, w, k, other, other_at, varies, place, coefficient, lanes, wide, first, last, values, back
                )
    elif opcode == SCATTER:
        for j in range(listed_count(words, w)):
            space, x = scatter_space(words, w), scatter_address(words, w) + j
            z = place[out + scatter_place(words, w, j)]
            move_element(space, x, one, z, place, coefficient, lanes, wide, first, last, values, back)
    else:
        return 1
    return 0


@compiled
def adjoint_lanes(
    code, words, kept, slots, slopes, values, partials, bases, place, coefficient, bars, most, wide, first, last, stop
):
    """Take cotangents of lanes first .. last of `wide` back from row `stop`; return the end of what is left to Python.

    `bars` says where the cotangents of each space begin in memory, 0 for constants; products of more than `most`
    elements are for Python, which has BLAS.
    """
    bases[0] = pointer_of(values)
    i = np.int64(stop)
    while i > 0:
        row = i - 1
        if kept[row] != 0 and move_row(
            code, words, kept, slots, slopes, values, partials, bases, place, coefficient, bars, most, wide, first,
            last, row, True,
        ):  # fmt: skip
            return i
        i = row
    return i


@compiled
def tangent_lanes(
    code, words, kept, slots, slopes, values, partials, bases, place, coefficient, dots, most, wide, first, last, start
):
    """Push tangents of lanes first .. last of `wide` forward from row `start`; return the first row left to Python.

    The tangents are zero to begin with, except those of the inputs.
    """
    bases[0] = pointer_of(values)
    i = np.int64(start)
    while i < code.shape[0]:
        if kept[i] != 0 and move_row(
            code, words, kept, slots, slopes, values, partials, bases, place, coefficient, dots, most, wide, first,
            last, i, False,
        ):  # fmt: skip
            return i
        i += 1
    return i


@compiled
def gather_lanes(addresses, place, coefficient, arena, result, nothing, first, last):
    """Copy the lanes of addresses into rows of a table; what is absent becomes `nothing`: -0.0 or +0.0."""
    for j in range(addresses.size):
        row, c = place[addresses[j]], coefficient[addresses[j]]
        for k in range(first, last):
            result[j, k] = nothing
        if row != NONE:
            add_scaled(result[j, first:last], c, arena[row, first:last])


@compiled
def scatter_lanes(addresses, place, coefficient, arena, addend, first, last):
    """Add the rows of a table to the lanes of addresses."""
    for j in range(addresses.size):
        row, c = place[addresses[j]], coefficient[addresses[j]]
        if row != NONE:
            add_scaled(arena[row, first:last], c, addend[j, first:last])


# ---------------------------------------------------------------- entries


@inlined
def linear_tape(table, like):
    """Return the arrays of a linearised tape, which all tables begin with (see `lanes_layout`)."""
    return (
        rows_of(addresses_at(table, 0), 4),
        integers_at(table, 1),
        bytes_at(table, 2),
        integers_at(table, 3),
        array_at(table, 4, like),
        array_at(table, 5, like),
        rows_of(array_at(table, 6, like), 2),
        places_at(table, 7),
        integers_at(table, 8),
        array_at(table, 9, like),
    )


def slopes_at(like, start, at):
    """Run `fill_slopes`. Compiled to a C function."""
    table = table_at(at)
    code, words, _, slots, slopes, values, _, bases, _, _ = linear_tape(table, like)
    scratch = rows_of(array_at(table, ARRAYS + 1, like), BLOCK)
    return fill_slopes(places_at(table, ARRAYS), code, words, bases, values, slots, slopes, scratch, start)


def compress_at(like, rows, at):
    """Run `compress`. Compiled to a C function."""
    table = table_at(at)
    code, words, kept, slots, slopes, _, partials, _, place, coefficient = linear_tape(table, like)
    flags, accumulated, fold = bytes_at(table, ARRAYS), bytes_at(table, ARRAYS + 1), table[2 * ARRAYS + 4] != 0
    return compress(code, words, flags, slots, slopes, partials, accumulated, place, coefficient, kept, rows, fold)


def pull_lanes_at(like, share, at):
    """Run `adjoint_lanes` over a share of the blocks of lanes. Compiled to a C function; see `move_lanes`."""
    return move_lanes(like, share, at, True)


def push_lanes_at(like, share, at):
    """Run `tangent_lanes` over a share of the blocks of lanes. Compiled to a C function; see `move_lanes`."""
    return move_lanes(like, share, at, False)


@compiled
def move_lanes(like, share, at, back):
    """Run one of the sweeps; return where it stopped, and note it for each share where there are several.

    A program that takes one direction has no use for the machine code of the other.
    """
    table = table_at(at)
    code, words, kept, slots, slopes, values, partials, bases, place, coefficient = linear_tape(table, like)
    lanes, stopped = places_at(table, ARRAYS), integers_at(table, ARRAYS + 1)
    numbers = table[2 * ARRAYS + 4 :]
    most, wide, block, row = numbers[1], numbers[2], numbers[3], numbers[4]
    begin, end = share_of((wide + block - 1) // block, share, numbers[0])
    end_row = row
    for k in range(begin, end):
        first, last = k * block, min(wide, (k + 1) * block)
        if back:
            end_row = adjoint_lanes(
                code, words, kept, slots, slopes, values, partials, bases, place, coefficient, lanes, most, wide,
                first, last, row,
            )  # fmt: skip
        else:
            end_row = tangent_lanes(
                code, words, kept, slots, slopes, values, partials, bases, place, coefficient, lanes, most, wide,
                first, last, row,
            )  # fmt: skip
    if stopped.size:
        stopped[share] = end_row
    return end_row


def gather_lanes_at(like, is_absent, at):
    """Run `gather_lanes`; what is absent stays so, or becomes +0.0. Compiled to a C function."""
    table = table_at(at)
    addresses, place, coefficient = integers_at(table, 0), integers_at(table, 1), array_at(table, 2, like)
    wide = table[10]
    arena, result = rows_of(array_at(table, 3, like), wide), rows_of(array_at(table, 4, like), wide)
    zero = coefficient.dtype.type(0)
    gather_lanes(addresses, place, coefficient, arena, result, -zero if is_absent else zero, 0, wide)
    return np.int64(0)


def scatter_lanes_at(like, wide, at):
    """Run `scatter_lanes`. Compiled to a C function."""
    table = table_at(at)
    addresses, place, coefficient = integers_at(table, 0), integers_at(table, 1), array_at(table, 2, like)
    arena, addend = rows_of(array_at(table, 3, like), wide), rows_of(array_at(table, 4, like), wide)
    scatter_lanes(addresses, place, coefficient, arena, addend, 0, wide)
    return np.int64(0)


def clear_at(like, share, at):
    """Set a share of some memory to absent. Compiled to a C function."""
    table = table_at(at)
    memory = array_at(table, 0, like)
    first, last = share_of(memory.size, share, table[2])
    fill_run(memory[first:last], -memory.dtype.type(0))
    return np.int64(0)
