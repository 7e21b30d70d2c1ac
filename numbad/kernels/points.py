"""Compiled sweeps of points: blocks of lanes through the generated switches, in chunks that threads share."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from numbad.kernels.tables import (
    addresses_at,
    array_at,
    bytes_at,
    compiled,
    fill_run,
    integers_at,
    places_at,
    table_at,
)
from numbad.kernels.vectormath import call_at, pointer_of, room, rows_of, view
from numbad.limits import POINTS
from numbad.tape.layout import FLAGS

WANTED_A, WANTED_B, FIRST_A, FIRST_B = FLAGS
BASE, STEP, COUNT, ADDRESS = 0, 1, 2, 3  # columns of a table of leaves


@compiled
def adjoint_program(code, flags, touched, program):
    """Write the rows that an adjoint sweep takes, last row first, with flags above their opcodes; return their number.

    Parameters
    ----------
    code : ndarray of uint32, shape (rows, 4)
        A lowered program.
    flags : ndarray of uint8, shape (rows,)
        Which operands of each row depend on the inputs: bit 1 the first, 2 the second.
    touched : ndarray of uint8, shape (size,)
        True for the output; becomes true for each address whose cotangent the sweep writes.
    program : ndarray of uint32, shape (rows, 4)
        Becomes the rows.
    """
    rows = 0
    for k in range(code.shape[0] - 1, -1, -1):
        opcode, out, a, b = code[k, 0], code[k, 1], code[k, 2], code[k, 3]
        if flags[k] == 0 or touched[out] == 0:
            continue
        does = np.uint32(0)
        if flags[k] & 1:
            does |= np.uint32(WANTED_A)
            if touched[a] == 0:
                does |= np.uint32(FIRST_A)
                touched[a] = 1
        if flags[k] & 2:
            does |= np.uint32(WANTED_B)
            if touched[b] == 0:
                does |= np.uint32(FIRST_B)
                touched[b] = 1
        program[rows, 0] = opcode | (does << np.uint32(16))
        program[rows, 1], program[rows, 2], program[rows, 3] = out, a, b
        rows += 1
    return np.int64(rows)


@compiled
def enter(values, leaves, start, stop, lanes):
    """Copy points start .. stop of all leaves into the lanes; lanes that are left over repeat the last point."""
    for k in range(leaves.shape[0]):
        step, count, address = leaves[k, STEP], leaves[k, COUNT], leaves[k, ADDRESS]
        base = np.uint64(leaves[k, BASE])
        for lane in range(lanes):
            point = min(start + lane, stop - 1)
            source = view(base + np.uint64(point * step * values.itemsize), count, values)
            place = address * lanes + lane
            for j in range(count):
                values[place] = source[j]
                place += lanes


@compiled
def leave(bars, touched, leaves, start, stop, lanes):
    """Copy the lanes of the inputs' cotangents to points start .. stop of all leaves; zeros where none arrived."""
    zero = bars.dtype.type(0)
    for k in range(leaves.shape[0]):
        count, address = leaves[k, COUNT], leaves[k, ADDRESS]
        base = np.uint64(leaves[k, BASE])
        for lane in range(stop - start):
            target = view(base + np.uint64((start + lane) * count * bars.itemsize), count, bars)
            place = address * lanes + lane
            for j in range(count):
                target[j] = bars[place] + zero if touched[address + j] else zero  # what is absent is shown as zero
                place += lanes


@compiled
def sweep_chunk(switches, code, program, size, constants, numbers, leaves, outputs, slopes, touched, seeded, results,
                agree, start, stop, lanes, arena):  # fmt: skip
    """Run points start .. stop, block by block, in one arena.

    Parameters
    ----------
    switches : ndarray of uint64, shape (4,)
        Where the compiled sweeps of rows are, forward and back, and the tables of the functions of ops that they call.
    code, program : ndarray of uint32, shape (rows, 4)
        The lowered rows, and those of the adjoint sweep: none if there is no gradient to compute.
    size : int
        Addresses of the arena.
    constants, numbers : ndarray
        Addresses and values of the constants.
    leaves, slopes : ndarray of int64, shape (inputs, 4)
        Of each input and of its gradient: memory address, elements from point to point, elements, address.
    outputs, results : ndarray
        The addresses of all results, and where they go, point by point.
    touched : ndarray of uint8
        For each address, whether the adjoint sweep reaches it.
    seeded : int
        The address that the cotangent 1 begins at.
    agree : ndarray of uint8, shape (points,)
        Becomes 0 for a point that takes another branch.
    arena : ndarray
        Memory for the values of one block, and for as many cotangents.
    """
    zero, one = numbers.dtype.type(0), numbers.dtype.type(1)
    values, bars = arena[: size * lanes], arena[size * lanes :]
    mask = view(room(POINTS, np.uint8(0)), lanes, np.uint8(0))
    fill_run(values[:lanes], zero)
    for k in range(constants.size):
        place = constants[k] * lanes
        fill_run(values[place : place + lanes], numbers[k])
    quarter = lanes // 4
    for first in range(start, stop, lanes):
        last = min(first + lanes, stop)
        enter(values, leaves, first, last, lanes)
        fill_run(mask, np.uint8(1))
        places = (switches[2], pointer_of(code), pointer_of(values), pointer_of(mask), code.shape[0], quarter)
        call_at(switches[0], zero, places)
        for lane in range(last - first):
            agree[first + lane] = mask[lane]
            for j in range(outputs.size):
                results[(first + lane) * outputs.size + j] = values[outputs[j] * lanes + lane]
        if slopes.shape[0]:
            fill_run(bars[seeded * lanes : (seeded + 1) * lanes], one)
            back = (switches[3], pointer_of(program), pointer_of(values), pointer_of(bars), program.shape[0], quarter)
            call_at(switches[1], zero, back)
            leave(bars, touched, slopes, first, last, lanes)


# ---------------------------------------------------------------- entries


def adjoint_program_at(like, _, at):
    """Run `adjoint_program`. Compiled to a C function."""
    table = table_at(at)
    code, program = rows_of(addresses_at(table, 0), 4), rows_of(addresses_at(table, 3), 4)
    return adjoint_program(code, bytes_at(table, 1), bytes_at(table, 2), program)


def points_at(like, share, at):
    """Run some points as `sweep_chunk` does: whole blocks of them by each share, in an arena of its own.

    Compiled to a C function. The table holds what `sweep_chunk` is given, arrays first; then shares, size, seeded,
    start, stop, lanes.
    """
    table = table_at(at)
    switches, code, program = (
        places_at(table, 0),
        rows_of(addresses_at(table, 1), 4),
        rows_of(addresses_at(table, 2), 4),
    )
    constants, numbers, leaves = integers_at(table, 3), array_at(table, 4, like), rows_of(integers_at(table, 5), 4)
    outputs, slopes, touched = integers_at(table, 6), rows_of(integers_at(table, 7), 4), bytes_at(table, 8)
    results, agree, arenas = array_at(table, 9, like), bytes_at(table, 10), array_at(table, 11, like)
    shares, size, seeded, start, stop, lanes = table[24], table[25], table[26], table[27], table[28], table[29]
    blocks, room_of_one = (stop - start + lanes - 1) // lanes, arenas.size // shares
    chunk = lanes * ((blocks + shares - 1) // shares)
    first = min(stop, start + share * chunk)
    arena = arenas[share * room_of_one : (share + 1) * room_of_one]
    sweep_chunk(switches, code, program, size, constants, numbers, leaves, outputs, slopes, touched, seeded, results,
                agree, first, min(stop, first + chunk), lanes, arena)  # fmt: skip
    return np.int64(0)
