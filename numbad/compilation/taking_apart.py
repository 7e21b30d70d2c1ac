"""A tape of small arrays as one of numbers: each element of an array row becomes a row of its own.

Sums are added in the order of their terms, long ones in pairs of runs; where rows add to a block, each sum so far has
an address of its own. What only moves numbers (GATHER, a copy) leaves no row.
"""

from __future__ import annotations

import bisect
import dataclasses
from typing import Any

import numpy as np

from numbad.compilation import small_matrices
from numbad.compilation.places import Place
from numbad.compilation.repeated_rows import find_places, find_repetitions, take_repetition
from numbad.limits import FEW_A_ROW, MOST_APART, RUN
from numbad.ops.arithmetic import add, multiply
from numbad.ops.definition import REGISTRY
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    host_call,
    host_places,
    is_absent_sum,
    is_guard,
    row_cleared,
    row_elements,
    row_operands,
    row_shape,
    scatter_block,
    scatter_places,
    scatter_source,
    step_count,
)
from numbad.tapes.lowering import place_spaces, spread
from numbad.tapes.tape import Tape

KINDS = (ADD, CONTRACT, GATHER, SCATTER, HOST)  # of array rows beside those of ops


def has_known_rows(tape: Tape) -> bool:
    """Whether machine code may be made of all rows of a tape: none is SciPy's, element by element."""
    opcodes = tape.code[:, 0]
    hosts = np.array([op.host for op in REGISTRY])
    known = is_guard(opcodes) | (opcodes < 2 * MAP) | np.isin(opcodes, KINDS)
    return bool(known.all()) and not hosts[opcodes[opcodes < 2 * MAP] % MAP].any()


def may_be_taken_apart(tape: Tape) -> bool:
    """Whether a tape has small arrays alone, in double precision, and no row of Python's or SciPy's."""
    if tape.dtype != np.float64 or not has_known_rows(tape):
        return False
    opcodes = tape.code[:, 0]
    calls = tape.code[opcodes == HOST, 2].tolist()
    if not all(small_matrices.has_rule(tape.hosts[host_call(tape.words, w)]) for w in calls):
        return False
    arrays = tape.code[(opcodes >= MAP) & ~is_guard(opcodes) & (opcodes != HOST), 2].astype(np.int64)
    elements = int(np.sum(step_count(tape.words, arrays))) if arrays.size else 0
    spaces = sum(values.size for values in tape.spaces if values is not None)
    spaces += sum(slot.size for slot in tape.inputs if slot.space)
    return elements <= min(MOST_APART, FEW_A_ROW * len(tape)) and spaces <= MOST_APART


def take_apart(tape: Tape, results: list[np.ndarray]) -> tuple[Tape, list[np.ndarray]]:
    """Return a tape of numbers that computes the same, and where its results are.

    Its `sites` say which row of the tape each of its rows comes from.
    """
    starts, size = place_spaces(tape)
    taken = Parts(size)
    code, words = tape.program_code(), tape.program_words()
    arrays = np.flatnonzero((code[:, 0] >= MAP) & ~is_guard(code[:, 0])).tolist()

    def take(first: int, stop: int) -> None:
        """Take rows apart one after another."""
        done = first
        for row in [*arrays[bisect.bisect_left(arrays, first) : bisect.bisect_left(arrays, stop)], stop]:
            taken.add_numbers(code[done:row], done)
            if row < stop:
                taken.row = row
                if code[row, 0] == HOST:
                    take_call(taken, tape, int(code[row, 2]), starts)
                else:
                    take_row(taken, code[row], words, starts)
            done = row + 1

    done = 0
    for part in find_repetitions(tape):
        take(done, part.start)
        take_repetition(taken, part, find_places(code, words, np.array(starts), part), take)
        done = part.stop
    take(done, len(code))
    found = np.concatenate(taken.parts) if taken.parts else np.zeros((0, 4), np.uint32)
    inputs = tuple(
        dataclasses.replace(slot, space=0, address=starts[slot.space]) if slot.space else slot for slot in tape.inputs
    )
    spaces = [(starts[k], np.ravel(values)) for k, values in enumerate(tape.spaces) if k and values is not None]
    numbers = np.concatenate([tape.numbers, [(address, number) for number, address in taken.constants.items()]])
    sites = np.concatenate(taken.origins) if taken.origins else np.zeros(0)
    apart = dataclasses.replace(
        tape,
        code=found,
        words=np.zeros(0, np.int64),
        size=taken.size,
        numbers=numbers,
        loads=[*tape.loads, *spaces],
        spaces=[None],
        inputs=inputs,
        outputs=(),
        sites=sites.astype(np.int32),
    )
    apart._trusted = True
    return apart, [taken.now[places] for places in results]


class Parts:
    """The rows that are taken apart so far.

    Attributes
    ----------
    now : ndarray of int64
        For each address of the tape, spaces included, the address that holds its number now.
    nothing : int
        The address of the constant -0.0: of a sum to which nothing was added.
    constants : dict
        Addresses of numbers that the tape has not.
    size : int
        The next free address.
    parts, origins : list of ndarray
        The rows, and the rows of the tape that they come from.
    row : int
        The row of the tape that is taken apart.
    """

    def __init__(self, size: int) -> None:
        self.now = np.arange(size, dtype=np.int64)
        self.nothing, self.size = size, size + 1
        self.constants = {-0.0: size}  # 0.0 has address 0
        self.parts: list[np.ndarray] = []
        self.origins: list[np.ndarray] = []
        self.row = 0

    def add_numbers(self, code: np.ndarray, first: int) -> None:
        """Take rows of numbers and guards as they are."""
        if not len(code):
            return
        rows = code.astype(np.int64)
        scalar = rows[:, 0] < MAP
        outs = rows[scalar, 1]
        fresh = self.size + np.arange(len(outs))
        self.size += len(outs)
        self.now[outs] = fresh
        rows[scalar, 1] = fresh
        rows[scalar, 3] = self.now[rows[scalar, 3]]
        rows[:, 2] = self.now[rows[:, 2]]
        values = rows[:, 0] == GUARD_VALUE
        rows[values, 1] = self.now[rows[values, 1]]
        self.parts.append(rows.astype(np.uint32))
        self.origins.append(np.arange(first, first + len(rows)))

    def compute(self, opcode: int, a: np.ndarray, b: np.ndarray | int = 0) -> np.ndarray:
        """Append a row for each element; return the addresses of the results."""
        fresh = self.size + np.arange(len(a))
        self.size += len(a)
        rows = np.zeros((len(a), 4), np.uint32)
        rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = opcode, fresh, a, b
        self.parts.append(rows)
        self.origins.append(np.full(len(a), self.row))
        return fresh

    def constant(self, number: float) -> int:
        """Return the address of a number other than zero."""
        if number not in self.constants:
            self.constants[number] = self.size
            self.size += 1
        return self.constants[number]

    def guard(self, address: int, truth: bool) -> None:
        """Append a guard of a truth value."""
        self.parts.append(np.array([[GUARD, truth, address, 0]], np.uint32))
        self.origins.append(np.array([self.row]))

    def accumulate(self, targets: np.ndarray, terms: np.ndarray) -> None:
        """Add terms, given by the addresses of now, to addresses of the tape, in their order."""
        order = np.argsort(targets, kind="stable")
        sorted_targets = targets[order]
        begins = np.flatnonzero(np.concatenate([[True], np.diff(sorted_targets) != 0]))
        turn = np.arange(len(order)) - np.repeat(begins, np.diff(np.concatenate([begins, [len(order)]])))
        counts = np.bincount(turn)
        by_turn = np.argsort(turn, kind="stable")
        chosen = order[by_turn]
        layers = np.split(chosen, np.cumsum(counts)[:-1])
        if len(layers) <= RUN or (counts != counts[0]).any():
            for layer in layers:
                self.now[targets[layer]] = self.add(self.now[targets[layer]], terms[layer])
            return
        total = self.add_in_pairs([terms[layer] for layer in layers])
        self.now[targets[layers[0]]] = self.add(self.now[targets[layers[0]]], total)

    def add(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the addresses of sums; where the one is nothing, of the other."""
        absent = one == self.nothing
        if absent.all():
            return other
        if not absent.any():
            return self.compute(add.opcode, one, other)
        found = other.copy()
        found[~absent] = self.compute(add.opcode, one[~absent], other[~absent])
        return found

    def add_in_pairs(self, terms: list[np.ndarray]) -> np.ndarray:
        """Return the addresses of sums of many terms: of runs one after the other, of these in pairs."""
        if len(terms) <= RUN:
            total = terms[0]
            for term in terms[1:]:
                total = self.add(total, term)
            return total
        half = (len(terms) // 2 + RUN - 1) // RUN * RUN
        return self.add(self.add_in_pairs(terms[:half]), self.add_in_pairs(terms[half:]))


def take_call(taken: Parts, tape: Tape, w: int, starts: list[int]) -> None:
    """Take a row of linear algebra apart."""
    call = tape.hosts[host_call(tape.words, w)]
    inputs, outputs = host_places(tape.words, w)
    operands = [
        taken.now[starts[space] + first + np.arange(count)].reshape(shape)
        for (space, first, count), shape in zip(inputs, call.operand_shapes, strict=True)
    ]
    found = small_matrices.apply_rule(small_matrices.Numbers(taken), call, operands)
    for (space, first, count), result in zip(outputs, found, strict=True):
        taken.now[starts[space] + first + np.arange(count)] = np.reshape(result, -1)


def take_row(taken: Parts, code: np.ndarray, words: Any, starts: list[int]) -> None:
    """Take an array row apart."""
    opcode, out, w = int(code[0]), int(code[1]), int(code[2])
    if opcode < 2 * MAP or opcode in (ADD, CONTRACT):
        shape, places = row_shape(words, w), row_operands(words, w)
        operands = [spread(starts[space] + first, shape, steps).reshape(-1) for space, first, steps in places]
        if opcode < 2 * MAP:
            taken.now[operands[0]] = taken.compute(opcode - MAP, *(taken.now[operand] for operand in operands[1:]))
            return
        cleared = int(row_cleared(words, w))
        if cleared:
            is_absent = opcode == ADD and (
                is_absent_sum(words, w) or Place(*row_operands(words, w)[0]).has_elements(row_shape(words, w), cleared)
            )
            taken.now[out : out + cleared] = taken.nothing if is_absent else 0
        if not row_elements(words, w):
            return
        terms = [taken.now[operand] for operand in operands[1:]]
        taken.accumulate(operands[0], terms[0] if opcode == ADD else taken.compute(multiply.opcode, *terms))
    elif opcode == GATHER:
        listed = np.asarray(gather_places(words, w))
        taken.now[out : out + listed.size] = taken.now[listed]
    else:
        space, source, count = scatter_source(words, w)
        targets = out + np.asarray(scatter_places(words, w))
        taken.now[out : out + int(scatter_block(words, w))] = 0
        taken.now[targets] = taken.nothing
        taken.accumulate(targets, taken.now[starts[space] + source + np.arange(count)])
