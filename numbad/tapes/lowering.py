"""Lowering: all rows of a tape as rows over single elements, which can run for many points at once."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.limits import LOWERED_ROWS
from numbad.ops.arithmetic import identity
from numbad.ops.definition import REGISTRY
from numbad.tape.layout import (
    ADD,
    CLEAR,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    row_cleared,
    row_elements,
    row_operands,
    row_shape,
    scatter_block,
    scatter_places,
    scatter_source,
)

if TYPE_CHECKING:
    from numbad.tapes.slots import Input, Output
    from numbad.tapes.tape import Tape


@dataclasses.dataclass
class Lowered:
    """A tape whose rows are all rows over single elements.

    The addresses of the arena come first, then those of each space: large inputs and constants, which the
    tape keeps outside of its arena.

    Attributes
    ----------
    code : ndarray of uint32, shape (rows, 4)
        Scalar rows and guards; ADD, CONTRACT and CLEAR rows whose operands are addresses.
    size : int
        Number of addresses.
    starts : list of int
        Where the addresses of each space begin.
    """

    code: np.ndarray
    size: int
    starts: list[int]


class Unlowered(Exception):
    """The tape has rows that only Python computes, or is too large to be lowered."""


def lower(tape: Tape) -> Lowered:
    """Return a tape with its array rows taken apart; raise `Unlowered` if that cannot be.

    An elementwise row of n elements becomes n scalar rows; a row that adds over an index space becomes rows
    that clear its block and one row for each element of the space. So the cost is that of the elements, and
    a row is worth its dispatch once it runs for many points.
    """
    code, words = tape.program_code(), tape.program_words()
    starts, size = place_spaces(tape)
    check_ops(code)
    rows = np.flatnonzero((code[:, 0] >= MAP) & (code[:, 0] != GUARD) & (code[:, 0] != GUARD_VALUE))
    pieces: list[np.ndarray] = []
    count = done = 0
    for row in rows.tolist():
        pieces.append(code[done:row])
        found = lower_row(code[row], words, starts)
        count += len(found)
        if count + len(code) > LOWERED_ROWS:
            raise Unlowered
        pieces.append(found)
        done = row + 1
    pieces.append(code[done:])
    return Lowered(np.ascontiguousarray(np.concatenate(pieces), np.uint32), size, starts)


def place_spaces(tape: Tape) -> tuple[list[int], int]:
    """Return where the addresses of each space begin, and how many there are in all."""
    inputs = {slot.space: slot.size for slot in tape.inputs if slot.space}
    starts, size = [0], tape.size
    for space, values in enumerate(tape.spaces[1:], start=1):
        starts.append(size)
        size += inputs[space] if space in inputs else values.size
    return starts, size


def check_ops(code: np.ndarray) -> None:
    """Raise `Unlowered` for rows that Python computes."""
    hosts = np.array([op.host for op in REGISTRY], np.bool_)
    opcodes = code[:, 0]
    elementwise = opcodes[opcodes < 2 * MAP] % MAP
    if (opcodes == HOST).any() or hosts[elementwise].any():
        raise Unlowered


def lower_row(row: np.ndarray, words: np.ndarray, starts: list[int]) -> np.ndarray:
    """Return an array row as rows over single elements."""
    opcode, out, w = int(row[0]), int(row[1]), int(row[2])
    if opcode < 2 * MAP or opcode in (ADD, CONTRACT):
        cleared = int(row_cleared(words, w))
        if row_elements(words, w) > LOWERED_ROWS or cleared > LOWERED_ROWS:
            raise Unlowered
        shape, places = row_shape(words, w), row_operands(words, w)
        operands = [spread(starts[space] + first, shape, steps).reshape(-1) for space, first, steps in places]
        if opcode < 2 * MAP:
            return make_rows(opcode - MAP, *operands)
        return np.concatenate([clear_rows(out, cleared), make_rows(opcode, *operands)])
    if opcode == GATHER:
        listed = gather_places(words, w)
        return make_rows(identity.opcode, out + np.arange(listed.size), listed)
    assert opcode == SCATTER
    space, source, count = scatter_source(words, w)
    added = make_rows(ADD, out + scatter_places(words, w), starts[space] + source + np.arange(count))
    return np.concatenate([clear_rows(out, int(scatter_block(words, w))), added])


def spread(address: int, shape: Any, strides: Any) -> np.ndarray:
    """Return the addresses of a strided view."""
    addresses = np.array(address, np.int64)
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        steps = np.arange(length, dtype=np.int64) * stride
        addresses = steps.reshape(-1, *[1] * addresses.ndim) + addresses
    return addresses


def make_rows(opcode: int, *columns: np.ndarray) -> np.ndarray:
    """Return rows of one opcode from the columns out, a and b."""
    rows = np.zeros((len(columns[0]), 4), np.uint32)
    rows[:, 0] = opcode
    for k, column in enumerate(columns, start=1):
        rows[:, k] = column
    return rows


def clear_rows(address: int, count: int) -> np.ndarray:
    """Return rows that set a run of addresses to zero."""
    return make_rows(CLEAR, address + np.arange(count))


def output_addresses(slot: Output, lowered: Lowered) -> np.ndarray:
    """Return the addresses of a result, flat in C order."""
    return spread(lowered.starts[slot.space] + slot.address, slot.shape, slot.strides).reshape(-1)


def input_address(slot: Input, lowered: Lowered) -> int:
    """Return the first address of an input; its elements follow in its memory order."""
    return lowered.starts[slot.space] + slot.address


def constants_of(tape: Tape, lowered: Lowered) -> tuple[np.ndarray, np.ndarray]:
    """Return the addresses and the values of all constants, as the tape's arrays hold them now."""
    inputs = {slot.space for slot in tape.inputs}
    addresses = [tape.numbers[:, 0].astype(np.int64)]
    values = [tape.numbers[:, 1]]
    for address, block in tape.loads:
        addresses.append(address + np.arange(block.size))
        values.append(block)
    for space, array in enumerate(tape.spaces[1:], start=1):
        if space not in inputs:
            addresses.append(lowered.starts[space] + np.arange(array.size))
            values.append(array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1))
    return np.concatenate(addresses), np.concatenate(values).astype(tape.dtype)


def arena_bytes(lowered: Lowered, lanes: int, itemsize: int) -> int:
    """Return the memory of one thread's arena of values, and as much again of cotangents."""
    return math.prod((lowered.size, lanes, itemsize, 2))
