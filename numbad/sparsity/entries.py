"""Derivatives entry by entry: what each row of a tape does to the entries of its operands, as instructions.

Forward accumulation of sparse rows (Griewank and Walther, 2008, *Evaluating Derivatives*, section 7.2; with the rows
taken in their order it is the elimination of vertices of Griewank and Reese, 1991). Entries that do not vary, such as
those of a linear part, are computed once; a run computes the partials that the others need, and the instructions.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from numbad.kernels.calls import entries_of
from numbad.kernels.loading import switch
from numbad.limits import CHECKED
from numbad.sparsity.compiled import call, function
from numbad.sparsity.elements import input_places
from numbad.sparsity.patterns import P_CONSTANT, Q_CONSTANT, Analysis, Pattern
from numbad.tape.layout import MAP

if CHECKED:
    from numbad.kernels import checked_memory

VALUES_AT = 2  # where values begin in the memory of entries: behind the seed, at an even place
ENTRIES_A_ROW = 48  # on average, of the tape's rows: beyond that, entries are not followed
MOST_PLACES = 1 << 30


class Untold(Exception):
    """The entries are too many to be followed, or Python computes some of the rows."""


class Entries:
    """The entries of a pattern as a program of their own.

    Attributes
    ----------
    code : ndarray of uint32
        The rows of numbers that a run computes, guards among them.
    memory : ndarray
        The seed 1; values of all addresses; partials of the rows; numbers of entries.
    steps : ndarray of int32, shape (3 * instructions,)
        (target, factor, source): memory[target] = memory[factor] * memory[source], added where the target is negative.
    template : ndarray
        The entries, with those that do not vary in place.
    targets, sources : ndarray of int64
        Which of the entries vary, and their places in the memory.
    """

    def __init__(self, analysis: Analysis, pattern: Pattern, reads: np.ndarray) -> None:
        if analysis.elements.python:
            raise Untold
        self.dtype = analysis.values.dtype
        self.columns_of = [input_places(slot, analysis.elements) + VALUES_AT for slot in analysis.tape.inputs]
        self.contiguous = [run_of(places) for places in self.columns_of]
        places, memory, steps, partials_at = follow(analysis, pattern)
        self.reads = reads + VALUES_AT
        self.keep_needed(analysis, places, memory, steps, partials_at)
        self.linearise = int(switch("linearise", self.dtype))
        self.bind()

    def keep_needed(
        self, analysis: Analysis, places: np.ndarray, memory: np.ndarray, steps: np.ndarray, partials_at: int
    ) -> None:
        """Leave out instructions and rows that no entry needs, and give what is left its places."""
        code = analysis.elements.code
        varying = places & 1 != 0
        places = places >> 1
        needed = np.zeros(memory.size, np.uint8)
        needed[places[varying]] = 1
        kept = np.zeros(steps.size // 3, np.uint8)
        call("mark_steps_at", 0, (steps, needed, kept))
        steps = steps.reshape(-1, 3)[kept != 0]
        values, rows = needed[VALUES_AT : VALUES_AT + analysis.elements.size].copy(), np.zeros(len(code), np.uint8)
        values[self.reads - VALUES_AT] = 1
        partials = needed[partials_at : partials_at + 2 * len(code)].copy().reshape(-1, 2)
        partials[analysis.flags & P_CONSTANT != 0, 0] = 0
        partials[analysis.flags & Q_CONSTANT != 0, 1] = 0
        arrays = (code.reshape(-1), analysis.varies, values, partials.reshape(-1), rows, analysis.binary)
        call("mark_values_at", 0, arrays)
        chosen = np.flatnonzero(rows)
        self.code = np.ascontiguousarray(code[chosen])
        self.rows = chosen
        moved = np.zeros(memory.size, np.int64)
        moved[:partials_at] = np.arange(partials_at)
        begin = partials_at + 2 * len(chosen)
        own = needed.copy()
        own[:partials_at] = 0
        for column, constant in ((0, P_CONSTANT), (1, Q_CONSTANT)):
            runs = chosen[(code[chosen, 0] < MAP) & (analysis.flags[chosen] & constant == 0)]
            position = np.zeros(len(code), np.int64)
            position[chosen] = np.arange(len(chosen))
            moved[partials_at + 2 * runs + column] = partials_at + 2 * position[runs] + column
            own[partials_at + 2 * runs + column] = 0
        kept_places = np.flatnonzero(own)
        moved[kept_places] = begin + np.arange(kept_places.size)
        self.partials_at = partials_at
        self.memory = np.zeros(begin + kept_places.size, self.dtype)
        self.memory[:partials_at] = memory[:partials_at]
        self.memory[begin:] = memory[kept_places]
        signs = np.sign(steps[:, :1]).astype(np.int32)
        self.steps = moved[np.abs(steps)].astype(np.int32)
        self.steps[:, :1] *= signs
        self.steps = np.ascontiguousarray(self.steps).reshape(-1)
        self.template = memory[places] + self.dtype.type(0)
        self.targets = np.flatnonzero(varying)
        self.sources = moved[places[varying]]

    def bind(self) -> None:
        """Note the addresses of the memory for the calls to come."""
        arrays = (self.code.reshape(-1), self.memory, self.steps, self.targets, self.sources)
        template = self.template if self.targets.size < self.template.size else self.template[:0]
        self.table = entries_of(*arrays, template)
        start, item = self.table[2], self.dtype.itemsize
        self.tail = (self.linearise, start + item * VALUES_AT, start + item * self.partials_at)
        self.run = function("run_entries_at", self.dtype)

    def enter(self, given: list[Any]) -> None:
        """Write the leaves of a point to the memory."""
        memory = self.memory
        for value, places, run in zip(given, self.columns_of, self.contiguous, strict=True):
            if run is None:
                memory[places] = np.ravel(value)
            elif run[1] == run[0] + 1:
                memory[run[0]] = value
            else:
                memory[run[0] : run[1]] = value if np.ndim(value) == 1 else np.ravel(value)

    def compute(self, given: list[Any]) -> tuple[int, np.ndarray]:
        """Return -1 and the entries at a point, or the row of the tape's elements whose guard does not hold."""
        self.enter(given)
        data = np.empty(self.template.size, self.dtype)
        table = self.table[:]
        table.extend((data.__array_interface__["data"][0] if data.size else 0, data.size, *self.tail))
        stopped = self.call(table, 0)
        if stopped == -2:
            self.call(table, 1)
        return (int(self.rows[stopped]) if stopped >= 0 else -1), data

    def call(self, table: array[int], careful: int) -> int:
        """Run the program."""
        if CHECKED:
            checked_memory.lend(table)
        return int(self.run(0.0, careful, table.buffer_info()[0]))

    def read(self) -> np.ndarray:
        """Return the values of the addresses that are read beside the entries."""
        return self.memory[self.reads]


def run_of(places: np.ndarray) -> tuple[int, int] | None:
    """Return the first of a run of places and the one behind it; None where they are no run."""
    if places.size == 0:
        return 0, 0
    return (int(places[0]), int(places[-1]) + 1) if (np.diff(places) == 1).all() else None


def follow(analysis: Analysis, pattern: Pattern) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the places of the entries, the memory, the instructions, and where partials begin in the memory."""
    code, size, dtype = analysis.elements.code, analysis.elements.size, analysis.values.dtype
    partials_at = VALUES_AT + size + size % 2
    begin = partials_at + 2 * len(code)
    count = analysis.columns.size
    starts, counts = np.zeros(size, np.int64), np.zeros(size, np.int64)
    starts[analysis.columns], counts[analysis.columns] = np.arange(count), 1
    room = 2 * count + 4 * len(code) + 2 * pattern.entries + 64
    most = ENTRIES_A_ROW * (len(code) + count + pattern.entries + 64)
    columns, places, keys = (np.zeros(room, np.int64) for _ in range(3))
    columns[:count] = np.arange(count)
    memory, steps = np.zeros(begin + room, dtype), np.zeros(3 * room, np.int32)
    memory[0] = 1
    memory[VALUES_AT : VALUES_AT + size] = analysis.values
    memory[partials_at:begin] = analysis.partials.reshape(-1)
    state, numbers = np.array([count, begin, 0, 0]), np.array([VALUES_AT, partials_at])
    while True:
        arrays = (code.reshape(-1), analysis.flags, analysis.carries, starts, counts, columns, places, keys, memory)
        if call("make_entries_at", 0, (*arrays, steps, state, numbers), dtype=dtype) == len(code):
            break
        room *= 2
        if room > most or begin + room > MOST_PLACES:
            raise Untold
        columns, places, keys = (grown(part, room) for part in (columns, places, keys))
        memory, steps = grown(memory, begin + room), grown(steps, 3 * room)
    rows = counts[analysis.outputs]
    if rows.sum() != pattern.entries and not pattern.symmetric:
        raise Untold  # never: the two ways agree on the pattern
    which = np.repeat(starts[analysis.outputs] - np.cumsum(rows) + rows, rows) + np.arange(rows.sum())
    found = places[which]
    if pattern.symmetric:
        found = found[inside(np.repeat(np.arange(rows.size), rows), columns[which], pattern)]
    return found, memory, steps[: 3 * state[2]].copy(), partials_at


def inside(rows: np.ndarray, columns: np.ndarray, pattern: Pattern) -> np.ndarray:
    """Return whether each entry is one of a pattern."""
    width = np.int64(pattern.shape[1])
    own_rows, own_columns = pattern.structure()
    return np.isin(rows * width + columns, own_rows.astype(np.int64) * width + own_columns, assume_unique=True)


def grown(values: np.ndarray, count: int) -> np.ndarray:
    """Return an array with more zeros behind it."""
    return np.concatenate([values, np.zeros(count - values.size, values.dtype)])
