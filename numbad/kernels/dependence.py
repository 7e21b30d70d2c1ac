"""What depends on what among the rows of a tape: three questions, each answered element by element.

mark_active    which rows and addresses depend on the inputs, forward
mark_needed    on which rows the results depend, backward
mark_varying   which rows compute something else when the inputs change, forward

They are the activity analysis, the live variables and the constant propagation of compilers, on rows without jumps
(Griewank and Walther, 2008, *Evaluating Derivatives*, section 6.2). Each is a C function of an address, so that its
machine code is kept on disk; `sweeps.dependence` calls them.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.layout import (
    has_index_space,
    host_address,
    host_elements,
    host_inputs,
    host_outputs,
    is_accumulation,
    is_guard,
    listed_count,
    listed_step,
    operand_address,
    operand_at,
    operand_kind,
    operand_space,
    operand_stride,
    read_count,
    read_place,
    row_axes,
    row_cleared,
    row_elements,
    row_extent,
    write_span,
)
from numbad.kernels.tables import addresses_at, bytes_at, compiled, integers_at, table_at
from numbad.kernels.vectormath import rows_of
from numbad.tape.layout import GATHER, HOST, MAP, PINNED, SCATTER

# ---------------------------------------------------------------- marks of addresses; those before `base` have none


@compiled
def visit_range(marks, first, last, mark):
    """Mark a range of addresses; or return whether one of it is marked."""
    for j in range(max(first, 0), last + 1):
        if mark:
            marks[j] = 1
        elif marks[j]:
            return True
    return False


@compiled
def element_of(words, w, d, j):
    """Return where element j of an operand lies, from its first element; repetitions are not counted."""
    offset = np.int64(0)
    rest = j
    for axis in range(row_axes(words, w) - 1, -1, -1):
        step = operand_stride(words, d, axis)
        if step != 0:
            length = row_extent(words, w, axis)
            offset += (rest % length) * step
            rest //= length
    return offset


@compiled
def visit_operand(words, w, d, marks, base, mark):
    """Mark the elements of an operand in the arena; or return whether one of them is marked."""
    first = operand_address(words, d) - base
    count = row_elements(words, w)
    if operand_kind(words, d) == 1 or count == 0:
        return visit_range(marks, first, first + count - 1, mark)
    for axis in range(row_axes(words, w)):
        if operand_stride(words, d, axis) == 0:
            count //= row_extent(words, w, axis)
    for j in range(count):
        place = first + element_of(words, w, d, j)
        if visit_range(marks, place, place, mark):
            return True
    return False


@compiled
def is_marked(spaces, space):
    """Whether memory outside of the arena is marked; what `spaces` does not reach is not."""
    return 0 < space < spaces.size and spaces[space] != 0


@compiled
def visit_read(opcode, out, a, b, words, k, marks, spaces, base, mark):
    """Mark the k-th place that a row reads, if it is in the arena; or return whether something of it is marked."""
    if has_index_space(opcode):
        d = operand_at(words, a, k + 1)
        if operand_space(words, d) == 0:
            return visit_operand(words, a, d, marks, base, mark)
        return row_elements(words, a) != 0 and is_marked(spaces, operand_space(words, d))
    space, first, last = read_place(opcode, out, a, b, words, k)
    if space == 0:
        return visit_range(marks, first - base, last - base, mark)
    return first <= last and is_marked(spaces, space)


@compiled
def visit_written(opcode, out, a, words, marks, base, whole, mark):
    """Mark what a row writes; or return whether something of it is marked.

    `whole` counts what a row clears, and adds nothing to.
    """
    if opcode == HOST:
        for k in range(host_inputs(words, a), host_inputs(words, a) + host_outputs(words, a)):
            first = host_address(words, a, k) - base
            if visit_range(marks, first, first + host_elements(words, a, k) - 1, mark):
                return True
        return False
    if has_index_space(opcode) and not (whole and row_cleared(words, a)):
        return visit_operand(words, a, operand_at(words, a, 0), marks, base, mark)
    first, last = write_span(opcode, out, a, words)
    return visit_range(marks, first - base, last - base, mark)


@compiled
def fields(code, row):
    """Return the four numbers of a row."""
    return np.int64(code[row, 0]), np.int64(code[row, 1]), np.int64(code[row, 2]), np.int64(code[row, 3])


# ---------------------------------------------------------------- the three questions


@compiled
def mark_active(code, words, base, carries, active, spaces, flags, accumulated):
    """Note which rows depend on the inputs, and by which operands.

    Parameters
    ----------
    code : ndarray of uint32, shape (rows, 4)
    words : ndarray of int64
    base : int
        The first address that may depend on the inputs.
    carries : ndarray of uint8
        For each op, its operands that carry dependence on: bit 1 the first, 2 the second; 0 for a step.
    active : ndarray of uint8
        For each address from `base` on: true of the inputs at first, then of all that depends on them.
    spaces : ndarray of uint8
        Whether memory outside of the arena is an input.
    flags : ndarray of uint8, shape (rows,)
        Becomes the operands of each row that depend on the inputs; 1 for any of a Python kernel.
    accumulated : ndarray of uint8
        Becomes true of addresses to which rows that depend on the inputs add after another has cleared them; may be
        empty.
    """
    for i in range(code.shape[0]):
        opcode, out, a, b = fields(code, i)
        flag = np.int64(0)
        if opcode < MAP:
            if a >= base and active[a - base]:
                flag = np.int64(1)
            if b >= base and active[b - base]:
                flag |= 2
            flag &= carries[opcode]
            if flag:
                active[out - base] = 1
        elif opcode == GATHER or opcode == SCATTER:
            for j in range(listed_count(words, a)):
                space, source, target = listed_step(opcode, out, a, words, j)
                inside = space == 0 and source >= base
                if active[source - base] != 0 if inside else is_marked(spaces, space):
                    flag = np.int64(1)
                    active[target - base] = 1
        elif not is_guard(opcode):
            for k in range(read_count(opcode, a, b, words)):
                if visit_read(opcode, out, a, b, words, k, active, spaces, base, False):
                    flag |= 1 if opcode == HOST else 1 << k
            if opcode < 2 * MAP:
                flag &= carries[opcode - MAP]
            if flag:
                visit_written(opcode, out, a, words, active, base, False, True)
            if flag and accumulated.size and is_accumulation(opcode, a, words):
                visit_written(opcode, out, a, words, accumulated, base, False, True)
        flags[i] = flag


@compiled
def mark_needed(code, words, needed, flags, slopes, whole):
    """Clear the flags of rows on which no needed address depends.

    Parameters
    ----------
    code, words : ndarray
        As above.
    needed : ndarray of uint8
        For each address, whether it is needed: true of the results at first.
    flags : ndarray of uint8, shape (rows,)
        0 for a row that passes nothing on; PINNED for one that is needed anyway.
    slopes : ndarray of uint8, shape (rows,)
        Which of x, y, z (bits 1, 2, 4) the partials of a scalar row read that are needed even where its value is not;
        may be empty.
    whole : bool
        Whether rows run as a whole, for their values: they then need all that they read, and are needed for what they
        clear. Derivatives flow element by element.
    """
    for i in range(code.shape[0] - 1, -1, -1):
        if flags[i] == 0:
            continue
        opcode, out, a, b = fields(code, i)
        wanted = (flags[i] & PINNED) != 0 or visit_written(opcode, out, a, words, needed, 0, whole, False)
        if opcode < MAP:
            slope = np.int64(slopes[i]) if slopes.size else np.int64(0)
            if wanted or slope & 5:
                needed[a] = 1
            if wanted or slope & 6:
                needed[b] = 1
            wanted = wanted or slope != 0
        elif wanted and not whole and (opcode == GATHER or opcode == SCATTER):
            wanted = False
            for j in range(listed_count(words, a)):
                space, source, target = listed_step(opcode, out, a, words, j)
                if needed[target]:
                    wanted = True
                    if space == 0:
                        needed[source] = 1
        elif wanted:
            for k in range(read_count(opcode, a, b, words)):
                visit_read(opcode, out, a, b, words, k, needed, slopes[:0], 0, True)
        if not wanted:
            flags[i] = 0


@compiled
def mark_varying(code, words, blocked, varying, spaces, rows):
    """Note which rows depend on the inputs by their values; the others compute the same in each run.

    A block to which several rows add varies as a whole or not at all, so that all or none of them run again.

    Parameters
    ----------
    code, words : ndarray
        As above.
    blocked : ndarray of uint8, shape (rows,)
        Rows that vary whatever they read.
    varying : ndarray of uint8
        For each address, whether it varies: true of the inputs at first.
    spaces : ndarray of uint8
        Whether memory outside of the arena varies.
    rows : ndarray of uint8, shape (rows,)
        Zeros; become true of the rows that vary.
    """
    again = True
    while again:
        again = False
        for i in range(code.shape[0]):
            if rows[i]:
                continue
            opcode, out, a, b = fields(code, i)
            varies = blocked[i] != 0 or visit_written(opcode, out, a, words, varying, 0, True, False)
            for k in range(read_count(opcode, a, b, words)):
                varies = varies or visit_read(opcode, out, a, b, words, k, varying, spaces, 0, False)
            if varies:
                rows[i] = 1
                visit_written(opcode, out, a, words, varying, 0, True, True)
                again = again or is_accumulation(opcode, a, words)


# ---------------------------------------------------------------- entries


def active_at(like, base, at):
    """Run `mark_active`. Compiled to a C function."""
    table = table_at(at)
    code, words, carries = rows_of(addresses_at(table, 0), 4), integers_at(table, 1), bytes_at(table, 2)
    active, spaces, flags, accumulated = bytes_at(table, 3), bytes_at(table, 4), bytes_at(table, 5), bytes_at(table, 6)
    mark_active(code, words, base, carries, active, spaces, flags, accumulated)
    return np.int64(0)


def needed_at(like, whole, at):
    """Run `mark_needed`. Compiled to a C function."""
    table = table_at(at)
    code, words = rows_of(addresses_at(table, 0), 4), integers_at(table, 1)
    mark_needed(code, words, bytes_at(table, 2), bytes_at(table, 3), bytes_at(table, 4), whole != 0)
    return np.int64(0)


def varying_at(like, _, at):
    """Run `mark_varying`. Compiled to a C function."""
    table = table_at(at)
    code, words = rows_of(addresses_at(table, 0), 4), integers_at(table, 1)
    mark_varying(code, words, bytes_at(table, 2), bytes_at(table, 3), bytes_at(table, 4), bytes_at(table, 5))
    return np.int64(0)
