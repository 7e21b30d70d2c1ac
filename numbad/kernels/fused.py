"""Compiled sweeps of a fused group: its rows block by block, in scratch memory (see `sweeps.fusion`).

What the sweeps and their parts are given:

    kernels     table of compiled switches (see `array`)
    group       the rows, shape (rows, COLUMNS) of int64, with the columns of `fused_layout`
    scalars     where the scalar operands are in memory, uint64
    cotangents  where their cotangents are; 0 for constants
    scratch     a block for each row and each scalar, and two for partials
    bars        a block of cotangents for each row and each scalar
    sums        for each row the sums, or for each scalar the cotangents, of all pieces
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.array import PARTIALS, PRIMAL, all_absent, op_function, shifted, total
from numbad.kernels.fused_layout import (
    COLUMNS,
    OPCODE,
    OUT,
    OUT_BAR,
    SUM,
    UNARY,
    X_BAR,
    X_SLOT,
    X,
    Y,
)
from numbad.kernels.layout import read_count, read_place
from numbad.kernels.tables import (
    addresses_at,
    array_at,
    bytes_at,
    compiled,
    copy_run,
    fill_run,
    integers_at,
    places_at,
    share_of,
    table_at,
)
from numbad.kernels.vectormath import absent, call_at, pointer_of, room, rows_of, select, view
from numbad.limits import FUSED_BLOCK, FUSED_PIECE, FUSED_ROWS

MOST_SLOTS = 3 * FUSED_ROWS  # a row has two operands

# ---------------------------------------------------------------- what reads the outputs of groups


@compiled
def mark_reads(code, words, starts, stops, owner, row_owner, read):
    """Mark the blocks that a row reads which is not of the block's own group."""
    for row in range(code.shape[0]):
        opcode, out = np.int64(code[row, 0]), np.int64(code[row, 1])
        a, b = np.int64(code[row, 2]), np.int64(code[row, 3])
        for k in range(read_count(opcode, a, b, words)):
            space, first, last = read_place(opcode, out, a, b, words, k)
            if space == 0:
                mark_range(first, last, starts, stops, owner, row_owner[row], read)


@compiled
def mark_range(low, high, starts, stops, owner, g, read):
    """Mark the blocks that share addresses with low .. high, unless they are of group g."""
    k = max(count_up_to(starts, low) - 1, 0)
    while k < starts.size and starts[k] <= high:
        if stops[k] > low and owner[k] != g:
            read[k] = 1
        k += 1


@compiled
def count_up_to(values, limit):
    """Return how many of some integers, which are in order, are not larger than a limit."""
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low


# ---------------------------------------------------------------- parts of both sweeps


@compiled
def operand_of(group, k, column, scratch, first, like):
    """Return the memory address of a block of an operand."""
    if group[k, column] != 0:
        return shifted(group[k, column], first, like)
    return pointer_of(scratch[group[k, column + 1]])


@compiled
def fill_scalars(scalars, scratch, slots, like):
    """Spread each scalar operand over its block of scratch."""
    for k in range(scalars.size):
        if scalars[k] != 0:
            fill_run(scratch[slots + k], view(scalars[k], 1, like)[0])


# ---------------------------------------------------------------- forward


@compiled
def forward_piece(kernels, group, scalars, like, start, stop, scratch, sums, piece):
    """Compute elements start .. stop of a group; add its sums to those of a piece."""
    slots = group.shape[0]
    zero = like.dtype.type(0)
    fill_scalars(scalars, scratch, slots, like)
    for first in range(start, stop, FUSED_BLOCK):
        count = min(FUSED_BLOCK, stop - first)
        for k in range(slots):
            xs = operand_of(group, k, X, scratch, first, like)
            if group[k, OPCODE] == SUM:
                sums[k, piece] += total(view(xs, count, like))
                continue
            ys = xs if group[k, UNARY] else operand_of(group, k, Y, scratch, first, like)
            zs = pointer_of(scratch[k])
            call_at(op_function(kernels, PRIMAL, group[k, OPCODE]), zero, (zs, xs, ys, count))
            if group[k, OUT] != 0:
                copy_run(view(shifted(group[k, OUT], first, like), count, like), scratch[k])


# ---------------------------------------------------------------- backward


@compiled
def add_scaled(partials, bar, target, fresh):
    """Add partials times cotangents to a target, or set it if it is fresh; absent times anything is absent."""
    zero = partials.dtype.type(0)
    if fresh:
        for j in range(bar.size):
            p, b = partials[j], bar[j]
            target[j] = select(absent(p) | absent(b), -zero, p * b + zero)
    else:
        for j in range(bar.size):
            p, b = partials[j], bar[j]
            target[j] += select(absent(p) | absent(b), -zero, p * b + zero)


@compiled
def add_to(group, k, column, first, partials, bar, bars, used, like):
    """Add a block of partials times cotangents to the cotangents of an operand."""
    if group[k, column] != 0:
        if group[k, column + 2] != 0:
            target = view(shifted(group[k, column + 2], first, like), bar.size, like)
            add_scaled(partials, bar, target, False)
        return
    slot = group[k, column + 1]
    add_scaled(partials, bar, bars[slot, : bar.size], used[slot] == 0)
    used[slot] = 1


@compiled
def spread_to(group, k, first, count, bar, bars, used, like):
    """Add the cotangent of a sum to those of each element of its operand."""
    if group[k, X] != 0:
        if group[k, X_BAR] != 0:
            target = view(shifted(group[k, X_BAR], first, like), count, like)
            for j in range(count):
                target[j] += bar
        return
    slot = group[k, X_SLOT]
    if used[slot]:
        for j in range(count):
            bars[slot, j] += bar
    else:
        fill_run(bars[slot, :count], bar)
        used[slot] = 1


@compiled
def backward_piece(kernels, group, scalars, cotangents, like, start, stop, scratch, bars, sums, piece):
    """Take back elements start .. stop of a group; add the scalars' cotangents to those of a piece."""
    slots = group.shape[0]
    zero = like.dtype.type(0)
    fill_scalars(scalars, scratch, slots, like)
    ps, qs = scratch[slots + scalars.size], scratch[slots + scalars.size + 1]
    used = view(room(MOST_SLOTS, np.uint8(0)), slots + scalars.size, np.uint8(0))
    for first in range(start, stop, FUSED_BLOCK):
        count = min(FUSED_BLOCK, stop - first)
        fill_run(used, np.uint8(0))
        for k in range(slots):
            if group[k, OPCODE] == SUM:
                continue
            if group[k, OUT] != 0:
                copy_run(scratch[k, :count], view(shifted(group[k, OUT], first, like), count, like))
                if group[k, OUT_BAR] != 0:
                    copy_run(bars[k, :count], view(shifted(group[k, OUT_BAR], first, like), count, like))
                    used[k] = 1
                continue
            xs = operand_of(group, k, X, scratch, first, like)
            ys = xs if group[k, UNARY] else operand_of(group, k, Y, scratch, first, like)
            call_at(op_function(kernels, PRIMAL, group[k, OPCODE]), zero, (pointer_of(scratch[k]), xs, ys, count))
        for k in range(slots - 1, -1, -1):
            if group[k, OPCODE] == SUM:
                spread_to(group, k, first, count, view(np.uint64(group[k, OUT_BAR]), 1, like)[0], bars, used, like)
                continue
            if used[k] == 0 or all_absent(bars[k, :count]):
                continue
            xs = operand_of(group, k, X, scratch, first, like)
            ys = xs if group[k, UNARY] else operand_of(group, k, Y, scratch, first, like)
            zs = pointer_of(scratch[k])
            places = (pointer_of(ps), pointer_of(qs), xs, ys, zs, count)
            call_at(op_function(kernels, PARTIALS, group[k, OPCODE]), zero, places)
            add_to(group, k, X, first, ps, bars[k, :count], bars, used, like)
            if not group[k, UNARY]:
                add_to(group, k, Y, first, qs, bars[k, :count], bars, used, like)
        for k in range(scalars.size):
            if used[slots + k] and cotangents[k] != 0:
                sums[k, piece] += total(bars[slots + k, :count])


# ---------------------------------------------------------------- entries


def fused_reads_at(like, _, at):
    """Run `mark_reads`. Compiled to a C function."""
    table = table_at(at)
    code, words = rows_of(addresses_at(table, 0), 4), integers_at(table, 1)
    starts, stops, owner = integers_at(table, 2), integers_at(table, 3), integers_at(table, 4)
    mark_reads(code, words, starts, stops, owner, integers_at(table, 5), bytes_at(table, 6))
    return np.int64(0)


@compiled
def parts_at(table, share, like):
    """Return what both sweeps read, the scratch memory of a share, and which pieces it takes."""
    group = rows_of(integers_at(table, 1), COLUMNS)
    memory, shares, pieces = array_at(table, 5, like), table[12], (table[13] + FUSED_PIECE - 1) // FUSED_PIECE
    size = memory.size // shares
    scratch = rows_of(memory[share * size : (share + 1) * size], FUSED_BLOCK)
    sums = rows_of(array_at(table, 4, like), pieces)
    return places_at(table, 0), group, places_at(table, 2), scratch, sums, share_of(pieces, share, shares)


def fused_forward_at(like, share, at):
    """Compute a share of a group. Compiled to a C function."""
    table = table_at(at)
    kernels, group, scalars, scratch, sums, (begin, end) = parts_at(table, share, like)
    for piece in range(begin, end):
        stop = min(table[13], (piece + 1) * FUSED_PIECE)
        forward_piece(kernels, group, scalars, scratch, piece * FUSED_PIECE, stop, scratch, sums, piece)
    return np.int64(0)


def fused_backward_at(like, share, at):
    """Take back a share of a group. Compiled to a C function."""
    table = table_at(at)
    kernels, group, scalars, memory, sums, (begin, end) = parts_at(table, share, like)
    blocks = group.shape[0] + scalars.size
    scratch, bars = memory[: blocks + 2], memory[blocks + 2 :]
    for piece in range(begin, end):
        start, stop = piece * FUSED_PIECE, min(table[13], (piece + 1) * FUSED_PIECE)
        backward_piece(kernels, group, scalars, places_at(table, 3), scratch, start, stop, scratch, bars, sums, piece)
    return np.int64(0)
