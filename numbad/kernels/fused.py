"""Compiled sweeps of a fused group: its rows block by block, in scratch memory (see `sweeps.fusion`).

What the sweeps and their parts are given:

    kernels     table of compiled switches (see `array`)
    words       operand words of the tape
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

from numbad.kernels.array import PARTIALS, PRIMAL, all_absent, deposit, fetch, op_function, shifted, total
from numbad.kernels.fused_layout import (
    AGAIN,
    COLUMNS,
    COMPUTED,
    FETCH,
    MINUS,
    NONE,
    OF_X,
    OF_Y,
    OPCODE,
    OUT,
    OUT_BAR,
    PLUS,
    SUM,
    UNARY,
    X_BAR,
    X_FACTOR,
    X_SLOT,
    Y_FACTOR,
    Y_SLOT,
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


@compiled
def fetch_block(words, group, k, first, count, like, target):
    """Copy a block of an operand that is neither contiguous nor a scalar."""
    fetch(words, group[k, Y], group[k, Y_SLOT], np.uint64(group[k, X]), first, count, like, target)


# ---------------------------------------------------------------- forward


@compiled
def forward_piece(kernels, words, group, scalars, like, start, stop, scratch, sums, piece):
    """Compute elements start .. stop of a group; add its sums to those of a piece."""
    slots = group.shape[0]
    zero = like.dtype.type(0)
    fill_scalars(scalars, scratch, slots, like)
    for first in range(start, stop, FUSED_BLOCK):
        count = min(FUSED_BLOCK, stop - first)
        for k in range(slots):
            if group[k, OPCODE] == FETCH:
                fetch_block(words, group, k, first, count, like, scratch[k])
                continue
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
def add_scaled(factor, partials, bar, target, fresh):
    """Add a factor times cotangents to a target, or set it if it is fresh; absent times anything is absent.

    A factor that is an operand's value, or the result's, is no absent one: only computed partials may be.
    """
    zero = bar.dtype.type(0)
    if factor == PLUS:
        if fresh:
            copy_run(target, bar)
        else:
            for j in range(bar.size):
                target[j] += bar[j]
    elif factor == MINUS:
        if fresh:
            for j in range(bar.size):
                target[j] = select(absent(bar[j]), -zero, zero - bar[j])
        else:
            for j in range(bar.size):
                target[j] += select(absent(bar[j]), -zero, zero - bar[j])
    elif factor == COMPUTED:
        if fresh:
            for j in range(bar.size):
                p, b = partials[j], bar[j]
                target[j] = select(absent(p) | absent(b), -zero, p * b + zero)
        else:
            for j in range(bar.size):
                p, b = partials[j], bar[j]
                target[j] += select(absent(p) | absent(b), -zero, p * b + zero)
    elif fresh:
        for j in range(bar.size):
            target[j] = select(absent(bar[j]), -zero, partials[j] * bar[j] + zero)
    else:
        for j in range(bar.size):
            target[j] += select(absent(bar[j]), -zero, partials[j] * bar[j] + zero)


@compiled
def add_to(group, k, column, first, factor, partials, bar, bars, used, like):
    """Add a block of factors times cotangents to the cotangents of an operand."""
    if group[k, column] != 0:
        target = view(shifted(group[k, column + 2], first, like), bar.size, like)
        add_scaled(factor, partials, bar, target, False)
        return
    slot = group[k, column + 1]
    add_scaled(factor, partials, bar, bars[slot, : bar.size], used[slot] == 0)
    used[slot] = 1


@compiled
def factor_of(factor, computed, xs, ys, zs, count, like):
    """Return the values of a factor: of an operand, of the result, or what was computed."""
    if factor == OF_X:
        return view(xs, count, like)
    if factor == OF_Y:
        return view(ys, count, like)
    if factor == COMPUTED:
        return computed
    return view(zs, count, like)


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
def compute_again(kernels, words, group, like, first, count, scratch, bars, used):
    """Compute what the adjoint sweep reads of a block, and note the cotangents that come from outside."""
    zero = like.dtype.type(0)
    for k in range(group.shape[0]):
        if group[k, OUT_BAR] != 0 and group[k, OPCODE] != SUM:
            copy_run(bars[k, :count], view(shifted(group[k, OUT_BAR], first, like), count, like))
            used[k] = 1
        if group[k, AGAIN] == 0:
            continue
        if group[k, OPCODE] == FETCH:
            fetch_block(words, group, k, first, count, like, scratch[k])
        elif group[k, OUT] != 0:
            copy_run(scratch[k, :count], view(shifted(group[k, OUT], first, like), count, like))
        else:
            xs = operand_of(group, k, X, scratch, first, like)
            ys = xs if group[k, UNARY] else operand_of(group, k, Y, scratch, first, like)
            call_at(op_function(kernels, PRIMAL, group[k, OPCODE]), zero, (pointer_of(scratch[k]), xs, ys, count))


@compiled
def take_back(kernels, words, group, k, like, first, count, scratch, ps, qs, bars, used):
    """Take back a block of one row."""
    if group[k, OPCODE] == SUM:
        if group[k, X_FACTOR] != NONE:
            spread_to(group, k, first, count, view(np.uint64(group[k, OUT_BAR]), 1, like)[0], bars, used, like)
        return
    x_factor, y_factor = group[k, X_FACTOR], group[k, Y_FACTOR]
    if used[k] == 0 or (x_factor == NONE and y_factor == NONE) or all_absent(bars[k, :count]):
        return
    bar = bars[k, :count]
    if group[k, OPCODE] == FETCH:
        deposit(words, group[k, Y], group[k, Y_SLOT], np.uint64(group[k, X_BAR]), first, bar)
        return
    xs = operand_of(group, k, X, scratch, first, like)
    ys = xs if group[k, UNARY] else operand_of(group, k, Y, scratch, first, like)
    zs = pointer_of(scratch[k])
    if x_factor == COMPUTED or y_factor == COMPUTED:
        places = (pointer_of(ps), pointer_of(qs), xs, ys, zs, count)
        call_at(op_function(kernels, PARTIALS, group[k, OPCODE]), like.dtype.type(0), places)
    if x_factor != NONE:
        factors = factor_of(x_factor, ps[:count], xs, ys, zs, count, like)
        add_to(group, k, X, first, x_factor, factors, bar, bars, used, like)
    if y_factor != NONE:
        factors = factor_of(y_factor, qs[:count], xs, ys, zs, count, like)
        add_to(group, k, Y, first, y_factor, factors, bar, bars, used, like)


@compiled
def backward_piece(kernels, words, group, scalars, cotangents, like, start, stop, scratch, bars, sums, piece):
    """Take back elements start .. stop of a group; add the scalars' cotangents to those of a piece."""
    slots = group.shape[0]
    fill_scalars(scalars, scratch, slots, like)
    ps, qs = scratch[slots + scalars.size], scratch[slots + scalars.size + 1]
    used = view(room(MOST_SLOTS, np.uint8(0)), slots + scalars.size, np.uint8(0))
    for first in range(start, stop, FUSED_BLOCK):
        count = min(FUSED_BLOCK, stop - first)
        fill_run(used, np.uint8(0))
        compute_again(kernels, words, group, like, first, count, scratch, bars, used)
        for k in range(slots - 1, -1, -1):
            take_back(kernels, words, group, k, like, first, count, scratch, ps, qs, bars, used)
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
    group = rows_of(integers_at(table, 2), COLUMNS)
    memory, shares, pieces = array_at(table, 6, like), table[14], (table[15] + FUSED_PIECE - 1) // FUSED_PIECE
    size = memory.size // shares
    scratch = rows_of(memory[share * size : (share + 1) * size], FUSED_BLOCK)
    sums = rows_of(array_at(table, 5, like), pieces)
    tape = places_at(table, 0), integers_at(table, 1)
    return tape, group, places_at(table, 3), scratch, sums, share_of(pieces, share, shares)


def fused_forward_at(like, share, at):
    """Compute a share of a group. Compiled to a C function."""
    table = table_at(at)
    (kernels, words), group, scalars, scratch, sums, (begin, end) = parts_at(table, share, like)
    for piece in range(begin, end):
        stop = min(table[15], (piece + 1) * FUSED_PIECE)
        forward_piece(kernels, words, group, scalars, scratch, piece * FUSED_PIECE, stop, scratch, sums, piece)
    return np.int64(0)


def fused_backward_at(like, share, at):
    """Take back a share of a group. Compiled to a C function."""
    table = table_at(at)
    (kernels, words), group, scalars, memory, sums, (begin, end) = parts_at(table, share, like)
    blocks = group.shape[0] + scalars.size
    scratch, bars, cotangents = memory[: blocks + 2], memory[blocks + 2 :], places_at(table, 4)
    for piece in range(begin, end):
        start, stop = piece * FUSED_PIECE, min(table[15], (piece + 1) * FUSED_PIECE)
        backward_piece(kernels, words, group, scalars, cotangents, scratch, start, stop, scratch, bars, sums, piece)
    return np.int64(0)
