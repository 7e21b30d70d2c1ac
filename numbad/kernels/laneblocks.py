"""Compiled sweeps of lanes in blocks: each thread takes some lanes from seeds to results, in memory of its own.

Where no row needs Python, lanes have nothing to do with one another. A block that fits into the cache is cleared,
seeded, swept and read there, where all lanes at once would go through memory for each row.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.lanes import adjoint_lanes, gather_lanes, linear_tape, scatter_lanes, tangent_lanes
from numbad.kernels.lanes_layout import ARRAYS
from numbad.kernels.tables import (
    array_at,
    compiled,
    copy_run,
    fill_run,
    integers_at,
    places_at,
    share_of,
    table_at,
)
from numbad.kernels.vectormath import pointer_of, rows_of

NO_BLAS = 1 << 62  # multiplications of a product that is left to Python: more than there can be


@compiled
def push_block(tape, outputs, identity, seeds, arena, lanes, result, first):
    """Push the tangents of some lanes, from lane `first` on: the seeds', or rows of the identity matrix."""
    code, words, kept, slots, slopes, values, partials, bases, place, coefficient = tape
    wide = arena.shape[1]
    if identity:
        for lane in range(wide):
            arena[first + lane, lane] = 1
    else:
        for k in range(seeds.shape[0]):
            copy_run(arena[k], seeds[k, first : first + wide])
    tangent_lanes(
        code, words, kept, slots, slopes, values, partials, bases, place, coefficient, lanes, NO_BLAS, wide, 0, wide, 0
    )
    zero = coefficient.dtype.type(0)
    gather_lanes(outputs, place, coefficient, arena, result[:, first : first + wide], zero, 0, wide)


@compiled
def pull_block(tape, outputs, identity, seeds, arena, lanes, result, first):
    """Take the cotangents of some lanes back, from lane `first` on; `result` has the lanes in front."""
    code, words, kept, slots, slopes, values, partials, bases, place, coefficient = tape
    wide, stop = arena.shape[1], code.shape[0]
    if identity:
        for lane in range(wide):
            address = outputs[first + lane]
            if place[address] >= 0:
                arena[place[address], lane] = coefficient[address]
    else:
        scatter_lanes(outputs, place, coefficient, arena, seeds[:, first : first + wide], 0, wide)
    adjoint_lanes(
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
        NO_BLAS,
        wide,
        0,
        wide,
        stop,
    )
    zero = coefficient.dtype.type(0)
    for lane in range(wide):
        for j in range(result.shape[1]):
            result[first + lane, j] = arena[j, lane] + zero  # what is absent is shown as zero


def lane_blocks_at(like, share, at):
    """Take a share of all lanes through the tape, a block at a time. Compiled to a C function.

    Behind the linearised tape come outputs, seeds, memory for the lanes of a block of each share, the results, and for
    each share where the lanes of all spaces begin: they are in the arena alone.
    """
    table = table_at(at)
    tape, numbers = linear_tape(table, like), table[2 * ARRAYS + 10 :]
    shares, wide, block, columns = numbers[0], numbers[1], numbers[2], numbers[3]
    back, identity = numbers[4] != 0, numbers[5] != 0
    outputs, seeds = integers_at(table, ARRAYS), rows_of(array_at(table, ARRAYS + 1, like), wide)
    memory, result = array_at(table, ARRAYS + 2, like), rows_of(array_at(table, ARRAYS + 3, like), columns)
    lanes = places_at(table, ARRAYS + 4)
    spaces, size = lanes.size // shares, memory.size // shares
    own, bases = memory[share * size : (share + 1) * size], lanes[share * spaces : (share + 1) * spaces]
    bases[0] = pointer_of(own)
    begin, end = share_of((wide + block - 1) // block, share, shares)
    for k in range(begin, end):
        count = min(block, wide - k * block)
        arena = rows_of(own[: size // block * count], count)
        fill_run(own, -own.dtype.type(0))
        if back:
            pull_block(tape, outputs, identity, seeds, arena, bases, result, k * block)
        else:
            push_block(tape, outputs, identity, seeds, arena, bases, result, k * block)
    return np.int64(0)
