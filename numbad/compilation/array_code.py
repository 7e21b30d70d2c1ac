"""Which paths over arrays are compiled by groups, and how: rows to groups, groups to text, text to machine code."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.compilation.array_module import ENTRANCE
from numbad.compilation.array_program import ArrayProgram, make_array_program
from numbad.compilation.code import Code, compile_module
from numbad.compilation.grouping import Grouping
from numbad.compilation.taking_apart import has_known_rows
from numbad.ops.reductions import greatest, least
from numbad.sweeps.dependence import mark_active
from numbad.tape.layout import GATHER, HOST, host_call
from numbad.tape.rows import Rows
from numbad.tapes.tape import Tape


def may_be_grouped(tape: Tape) -> bool:
    """Whether a tape has rows over arrays, and none that SciPy computes element by element."""
    return bool(len(tape.words)) and has_known_rows(tape)


def compile_arrays(
    tape: Tape, rows: Rows, tables: dict[int, np.ndarray], results: list[np.ndarray], wanted: list[bool] | None
) -> tuple[ArrayProgram, Code]:
    """Return the program of a path and its machine code.

    `rows` are those that the tape runs by, and `tables` has where the elements lie that rows look up at each run.
    """
    code = np.frombuffer(rows.code, np.uint32).reshape(-1, 4)
    words = np.array(rows.words, np.int64)
    varied = {
        row: tables[int(code[row, 2])].reshape(-1)
        for row in np.flatnonzero(code[:, 0] == GATHER).tolist()
        if int(code[row, 2]) in tables
    }
    flags = find_flags(tape, rows, wanted)
    single = tape.dtype.itemsize == 4
    grouping = Grouping(code, words, flags, varied, find_extremes(code, words, rows.hosts), long=not single)
    sizes = [rows.size] + [values.size if k in rows.input_spaces else 0 for k, values in enumerate(rows.spaces) if k]
    given = [(slot.address, slot.address + slot.size) for slot in tape.inputs if slot.size and not slot.space]
    program = make_array_program(
        grouping, words, sizes, given, results, find_wanted(tape, wanted), single, find_constants(tape, rows)
    )
    return program, compile_module(program.module.write(), ENTRANCE, program.module, 3)


def find_extremes(code: np.ndarray, words: np.ndarray, hosts: list[Any]) -> dict[int, tuple[bool, int]]:
    """Return of each row that finds extremes along the last axis whether they are the largest, and its length."""
    found = {}
    for row in np.flatnonzero(code[:, 0] == HOST).tolist():
        call = hosts[host_call(words, int(code[row, 2]))]
        op = getattr(call, "op", None)
        if op is greatest or op is least:
            found[row] = (op is greatest, call.operand_shapes[0][-1])
    return found


def find_constants(tape: Tape, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return which addresses hold constants, and the arena with their values."""
    values, constant = np.zeros(rows.size), np.zeros(rows.size, bool)
    addresses = tape.numbers[:, 0].astype(np.int64)
    values[addresses] = tape.numbers[:, 1]
    constant[addresses] = constant[0] = True
    for address, block in rows.loads:
        values[address : address + block.size] = block
        constant[address : address + block.size] = True
    return constant, values


def find_wanted(tape: Tape, wanted: list[bool] | None) -> list[tuple[int, int, int]] | None:
    """Return space and addresses of what a gradient is wanted with respect to: inputs side by side are one run."""
    if wanted is None:
        return None
    found: list[tuple[int, int, int]] = []
    for slot, one in zip(tape.inputs, wanted, strict=True):
        if one and slot.size:
            place = slot.space, slot.address, slot.address + slot.size
            if found and found[-1][0] == slot.space == 0 and found[-1][2] == slot.address:
                place = 0, found.pop()[1], place[2]
            found.append(place)
    return found


def find_flags(tape: Tape, rows: Rows, wanted: list[bool] | None) -> np.ndarray:
    """Return of each row which operands depend on what is differentiated by, as bits 1 and 2."""
    if wanted is None:
        return np.zeros(len(tape), np.uint8)
    active, spaces = np.zeros(rows.size, np.bool_), np.zeros(len(rows.spaces), np.bool_)
    for slot, one in zip(tape.inputs, wanted, strict=True):
        if slot.space:
            spaces[slot.space] = one
        else:
            active[slot.address : slot.address + slot.size] = one
    return mark_active(tape.code, tape.words, active, spaces)  # `rows` do not say yet what is looked up
