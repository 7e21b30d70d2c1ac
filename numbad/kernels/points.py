"""Compiled sweeps of points: blocks of lanes through the generated switches, in chunks that threads share."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit, prange

from numbad.kernels.vectormath import call_at, pointer_of, view
from numbad.tape.layout import FLAGS

WANTED_A, WANTED_B, FIRST_A, FIRST_B = FLAGS
BASE, STEP, COUNT, ADDRESS = 0, 1, 2, 3  # columns of a table of leaves

compiled = njit(nogil=True, cache=True, error_model="numpy")


@compiled
def adjoint_program(code, flags, touched):
    """Return the rows that an adjoint sweep takes, last row first, with flags above their opcodes.

    Parameters
    ----------
    code : ndarray of uint32, shape (rows, 4)
        A lowered program.
    flags : ndarray of uint8, shape (rows,)
        Which operands of each row depend on the inputs: bit 1 the first, 2 the second.
    touched : ndarray of bool, shape (size,)
        True for the output; becomes true for each address whose cotangent the sweep writes.
    """
    program = np.empty_like(code)
    rows = 0
    for k in range(code.shape[0] - 1, -1, -1):
        opcode, out, a, b = code[k, 0], code[k, 1], code[k, 2], code[k, 3]
        if flags[k] == 0 or not touched[out]:
            continue
        does = np.uint32(0)
        if flags[k] & 1:
            does |= np.uint32(WANTED_A)
            if not touched[a]:
                does |= np.uint32(FIRST_A)
                touched[a] = True
        if flags[k] & 2:
            does |= np.uint32(WANTED_B)
            if not touched[b]:
                does |= np.uint32(FIRST_B)
                touched[b] = True
        program[rows, 0] = opcode | (does << np.uint32(16))
        program[rows, 1], program[rows, 2], program[rows, 3] = out, a, b
        rows += 1
    return program[:rows].copy()


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
    switches : ndarray of uint64, shape (2,)
        Where the compiled switches of both sweeps are.
    code, program : ndarray of uint32, shape (rows, 4)
        The lowered rows, and those of the adjoint sweep: none if there is no gradient to compute.
    size : int
        Addresses of the arena.
    constants, numbers : ndarray
        Addresses and values of the constants.
    leaves, slopes : ndarray of int64, shape (inputs, 4)
        Of each input and of its gradient: memory address, elements from point to point, elements, address.
    outputs, results : ndarray
        The addresses of all results, and where they go: an array of shape (points, results).
    touched : ndarray of bool
        For each address, whether the adjoint sweep reaches it.
    seeded : int
        The address that the cotangent 1 begins at.
    agree : ndarray of uint8, shape (points,)
        Becomes 0 for a point that takes another branch.
    arena : ndarray
        Memory for the values of one block, and for as many cotangents.
    """
    zero = numbers.dtype.type(0)
    values, bars = arena[: size * lanes], arena[size * lanes :]
    mask = np.empty(lanes, np.uint8)
    values[:lanes] = 0
    for k in range(constants.size):
        place = constants[k] * lanes
        values[place : place + lanes] = numbers[k]
    quarter = lanes // 4
    for first in range(start, stop, lanes):
        last = min(first + lanes, stop)
        enter(values, leaves, first, last, lanes)
        mask[:] = 1
        places = (pointer_of(code), pointer_of(values), pointer_of(mask), code.shape[0], quarter)
        call_at(switches[0], zero, places)
        for lane in range(last - first):
            agree[first + lane] = mask[lane]
            for j in range(outputs.size):
                results[first + lane, j] = values[outputs[j] * lanes + lane]
        if slopes.shape[0]:
            bars[seeded * lanes : (seeded + 1) * lanes] = 1
            back = (pointer_of(program), pointer_of(values), pointer_of(bars), program.shape[0], quarter)
            call_at(switches[1], zero, back)
            leave(bars, touched, slopes, first, last, lanes)


@njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def sweep_chunks(switches, code, program, size, constants, numbers, leaves, outputs, slopes, touched, seeded, results,
                 agree, start, stop, lanes, arenas):  # fmt: skip
    """Run points start .. stop as `sweep_chunk` does: whole blocks of them by each thread, in one of the `arenas`."""
    blocks = (stop - start + lanes - 1) // lanes
    chunk = lanes * ((blocks + arenas.shape[0] - 1) // arenas.shape[0])
    for k in prange(arenas.shape[0]):
        first = min(stop, start + k * chunk)
        sweep_chunk(switches, code, program, size, constants, numbers, leaves, outputs, slopes, touched, seeded,
                    results, agree, first, min(stop, first + chunk), lanes, arenas[k])  # fmt: skip
