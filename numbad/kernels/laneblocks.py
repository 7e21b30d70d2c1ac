"""Compiled sweeps of lanes in blocks: each thread takes some lanes from seeds to results, in memory of its own.

Where no row needs Python, lanes have nothing to do with one another. A block that fits into the cache is cleared,
seeded, swept and read there, where all lanes at once would go through memory for each row.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import prange

from numbad.kernels.array import compiled, inlined
from numbad.kernels.lanes import adjoint_lanes, gather_lanes, scatter_lanes, tangent_lanes
from numbad.kernels.threads import compile_parallel
from numbad.kernels.vectormath import pointer_of

NO_BLAS = 1 << 62  # multiplications of a product that is left to Python: more than there can be


@inlined
def locate(bases, arena):
    """Return where each space begins, as an array of this thread's own, and where their lanes do: in an arena alone."""
    lanes = np.zeros(bases.size, np.uint64)
    lanes[0] = pointer_of(arena)
    return bases.copy(), lanes


@compiled
def push_block(tape, linear, outputs, seeds, arena, result, first):
    """Push the tangents of some lanes, from lane `first` on; `seeds` is empty for rows of the identity matrix."""
    code, words, kept, slots, slopes, values, partials = tape
    place, coefficient, bases = linear
    wide = arena.shape[1]
    arena[:] = -0.0
    if seeds.shape[0]:
        arena[: seeds.shape[0]] = seeds[:, first : first + wide]
    else:
        for lane in range(wide):
            arena[first + lane, lane] = 1
    own, lanes = locate(bases, arena)
    tangent_lanes(
        code, words, kept, slots, slopes, values, partials, own, place, coefficient, lanes, NO_BLAS, wide, 0, wide, 0
    )
    gather_lanes(outputs, place, coefficient, arena, result[:, first : first + wide], 0.0, 0, wide)


@compiled
def pull_block(tape, linear, outputs, seeds, arena, result, first):
    """Take the cotangents of some lanes back, from lane `first` on; `result` has the lanes in front."""
    code, words, kept, slots, slopes, values, partials = tape
    place, coefficient, bases = linear
    wide = arena.shape[1]
    arena[:] = -0.0
    if seeds.shape[0]:
        scatter_lanes(outputs, place, coefficient, arena, seeds[:, first : first + wide], 0, wide)
    else:
        for lane in range(wide):
            address = outputs[first + lane]
            if place[address] >= 0:
                arena[place[address], lane] = coefficient[address]
    own, lanes = locate(bases, arena)
    stop = code.shape[0]
    adjoint_lanes(
        code, words, kept, slots, slopes, values, partials, own, place, coefficient, lanes, NO_BLAS, wide, 0, wide, stop
    )
    for lane in range(wide):
        for j in range(result.shape[1]):
            result[first + lane, j] = arena[j, lane] + arena.dtype.type(0)  # what is absent is shown as zero


@compile_parallel
def sweep_blocks(tape, linear, outputs, seeds, memory, result, block, back):
    """Take all lanes through the tape, `block` at a time; each row of `memory` is the arena of one thread."""
    wide = result.shape[0] if back else result.shape[1]
    count = (wide + block - 1) // block
    rows = memory.shape[1] // block
    threads = memory.shape[0]
    for t in prange(threads):
        for k in range(t * count // threads, (t + 1) * count // threads):
            size = min(block, wide - k * block)
            arena = memory[t, : rows * size].reshape((rows, size))
            if back:
                pull_block(tape, linear, outputs, seeds, arena, result, k * block)
            else:
                push_block(tape, linear, outputs, seeds, arena, result, k * block)
