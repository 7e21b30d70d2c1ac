"""Derivatives entry by entry: what each row of a tape does to the entries of its operands, as instructions.

Forward accumulation of sparse rows (Griewank and Walther, 2008, *Evaluating Derivatives*, section 7.2; with the rows
taken in their order it is the elimination of vertices of Griewank and Reese, 1991). An entry is a number in memory,
times a constant, plus a constant: what is linear makes no instruction, and entries that do not vary are computed once.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numbad.kernels.calls import entries_of
from numbad.kernels.loading import switch
from numbad.kernels.memory import available_memory, empty
from numbad.limits import BLOCK, CHECKED, limit
from numbad.ops.arithmetic import identity, multiply, multiply_by_constant, negative, opposite, weigh
from numbad.ops.definition import REGISTRY
from numbad.ops.texts import scaled_partials
from numbad.sparsity.compiled import call, function
from numbad.sparsity.elements import input_places
from numbad.sparsity.layout import A_STRIDE, B_STRIDE, COUNT, OUT, PARTIALS_OF, WIDTH, A, B, P, Q
from numbad.sparsity.patterns import Analysis, Pattern
from numbad.tape.layout import CLEAR, CONTRACT, GUARD, MAP

if CHECKED:
    from numbad.kernels import checked_memory

VALUES_AT = 2  # where values begin in the memory of entries: behind the number 1, at an even place
ENTRIES_A_ROW = 48  # on average, of the tape's rows: beyond that, entries are not followed
MOST_PLACES = 1 << 30
FEWEST_IN_RUN = limit(32, 4)  # rows: fewer are computed one by one
FEW_PAIRS = 64  # of a scale and an offset, that many entries have in common


class Untold(Exception):
    """The entries are too many to be followed, or Python computes some of the rows."""


class Entries:
    """The entries of a pattern as a program of their own.

    Attributes
    ----------
    code : ndarray of uint32
        The rows of numbers that are computed one by one, guards among them.
    runs : ndarray of int64, shape (runs, WIDTH)
        The rows that are computed side by side (see `sparsity.layout`).
    memory : ndarray
        The number 1; values of all addresses; partials of the rows; numbers of entries, and constants; room for blocks.
    steps : ndarray of int32, shape (3 * instructions,)
        (target, factor, source): memory[target] = memory[factor] * memory[source], added where the target is negative.
    template : ndarray
        The entries, with those that do not vary in place.
    targets, sources : ndarray of int32
        Which of the entries vary (none are listed where all do), and their places in the memory.
    pairs, which : ndarray, shape (pairs, 2), and ndarray of int32
        What numbers are multiplied by, and what is added; and which of these pairs each varying entry has.
    whole : bool
        Whether partials are computed besides values.
    """

    def __init__(
        self, analysis: Analysis, pattern: Pattern, reads: np.ndarray, most_steps: float = float("inf")
    ) -> None:
        if analysis.elements.python:
            raise Untold
        self.dtype = analysis.values.dtype
        self.columns_of = [input_places(slot, analysis.elements) + VALUES_AT for slot in analysis.tape.inputs]
        self.reads = reads + VALUES_AT
        self.keep_needed(analysis, most_steps, *follow(analysis, pattern, most_steps))
        self.bind()

    def keep_needed(
        self,
        analysis: Analysis,
        most_steps: float,
        places: np.ndarray,
        pairs: np.ndarray,
        memory: np.ndarray,
        steps: np.ndarray,
    ) -> None:
        """Leave out instructions and rows that no entry needs, and give what is left its places."""
        code = analysis.elements.code
        partials_at = partials_of(analysis)
        begin = partials_at + 2 * len(code)
        varying = places >= 0
        needed, kept = np.zeros(memory.size, np.uint8), np.zeros(steps.size // 3, np.uint8)
        needed[places[varying]] = 1
        call("mark_steps_at", 0, (steps, needed, kept))
        if np.count_nonzero(kept) > most_steps:
            raise Untold
        values, rows = needed[VALUES_AT : VALUES_AT + analysis.elements.size].copy(), np.zeros(len(code), np.uint8)
        values[self.reads - VALUES_AT] = 1
        partials = needed[partials_at:begin].copy()
        call("mark_values_at", 0, (code.reshape(-1), analysis.varies, values, partials, rows, analysis.binary))
        kept_rows = np.flatnonzero(rows)
        given = [part - VALUES_AT for part in (*self.columns_of, self.reads)]
        small, address, used = compact(code[kept_rows], needed[VALUES_AT:partials_at], given)
        self.columns_of = [address[part - VALUES_AT] + VALUES_AT for part in self.columns_of]
        self.reads = address[self.reads - VALUES_AT] + VALUES_AT
        self.contiguous = [run_of(part) for part in self.columns_of]
        own = np.flatnonzero(needed[begin:])
        self.partials_at = VALUES_AT + used.size + used.size % 2
        moved = np.zeros(memory.size, np.int32)
        moved[VALUES_AT : VALUES_AT + address.size] = address + VALUES_AT
        start = self.place_rows(small, kept_rows, partials, moved[partials_at:begin])
        self.room = start + own.size
        moved[begin + own] = start + np.arange(own.size, dtype=np.int32)
        self.memory = np.zeros(self.room + (4 * BLOCK if len(self.runs) else 0), self.dtype)
        self.memory[0] = 1
        self.memory[VALUES_AT : VALUES_AT + used.size] = memory[VALUES_AT + used]
        self.memory[start : self.room] = memory[begin + own]
        steps = steps.reshape(-1, 3)[kept != 0]
        self.steps = moved[np.abs(steps)]
        self.steps[:, 0] *= np.sign(steps[:, 0])
        self.steps = self.steps.reshape(-1)
        self.template = np.where(varying, 0, pairs[:, 1]) + self.dtype.type(0)
        self.targets = np.flatnonzero(varying).astype(np.int32) if not varying.all() else np.zeros(0, np.int32)
        self.sources = moved[places[varying]]
        self.pairs, self.which = distinct_rows(pairs[varying])

    def place_rows(self, code: np.ndarray, rows: np.ndarray, partials: np.ndarray, moved: np.ndarray) -> int:
        """Divide rows into runs and single ones, and give their partials places; return the first place behind these.

        Parameters
        ----------
        code : ndarray
            The rows that are kept.
        rows : ndarray of int64
            Which rows of all they are.
        partials : ndarray of uint8
            Whether each partial of all rows is needed.
        moved : ndarray of int32
            Becomes the places of partials.
        """
        firsts, counts = find_runs(code)
        single = np.ones(len(code), np.bool_)
        for first, count in zip(firsts.tolist(), counts.tolist(), strict=True):
            single[first : first + count] = False
        self.code, self.rows = np.ascontiguousarray(code[single]), rows[single]
        own = np.stack([2 * self.rows, 2 * self.rows + 1])
        self.whole = bool(partials[own].any())
        place = self.partials_at
        if self.whole:
            moved[own] = place + np.stack([2 * np.arange(len(self.rows)), 2 * np.arange(len(self.rows)) + 1])
            place += 2 * len(self.rows)
        before = np.cumsum(single)
        runs = np.zeros((len(firsts), WIDTH), np.int64)
        for run, first, count in zip(runs, firsts.tolist(), counts.tolist(), strict=True):
            opcode, out, a, b = code[first].tolist()
            op, next_row = REGISTRY[opcode], code[first + 1].astype(np.int64)
            run[:4] = before[first], int(switch(f"block_{op.name}", self.dtype)), 0, count
            run[OUT], run[A], run[A_STRIDE] = out + VALUES_AT, a + VALUES_AT, next_row[2] - a
            run[B], run[B_STRIDE] = (b + VALUES_AT, next_row[3] - b) if op.arity == 2 else (0, 1)
            run[P] = run[Q] = -1
            for k in range(op.arity):
                which = 2 * rows[first : first + count] + k
                if partials[which].any():
                    run[PARTIALS_OF] = int(switch(f"partials_{op.name}", self.dtype))
                    run[P + k], moved[which] = place, place + np.arange(count)
                    place += count
        self.runs = runs
        return place

    def arrange(self, order: np.ndarray) -> None:
        """Give the entries in another order from now on: `order` has their places in the one before."""
        self.template = self.template[order]
        if self.sources.size == self.template.size:
            self.sources, self.which = self.sources[order], self.which[order]
        else:
            self.targets = np.argsort(order)[self.targets].astype(np.int32)
        self.bind()

    def bind(self) -> None:
        """Note the addresses of the memory for the calls to come."""
        template = self.template[:0] if self.sources.size == self.template.size else self.template
        self.lent: tuple[np.ndarray, ...] = (self.code.reshape(-1), self.memory, self.steps, self.targets, self.sources)
        self.lent = (*self.lent, self.pairs.reshape(-1), self.which, template, self.runs.reshape(-1))
        self.table = entries_of(*self.lent)
        start, item = self.table[2], self.dtype.itemsize
        machine = int(switch("linearise" if self.whole else "primal", self.dtype))
        self.tail = (machine, start + item * VALUES_AT, start + item * self.partials_at, self.room)
        self.run = function("run_entries_at", self.dtype)

    def enter(self, given: list[Any]) -> None:
        """Write the leaves of a point to the memory."""
        memory = self.memory
        for value, places, run in zip(given, self.columns_of, self.contiguous, strict=True):
            if run is None:
                memory[places] = np.ravel(value)
            elif run[1] == run[0] + 1:
                memory[run[0]] = value if np.ndim(value) == 0 else np.ravel(value)[0]
            else:
                memory[run[0] : run[1]] = value if np.ndim(value) == 1 else np.ravel(value)

    def compute(self, given: list[Any]) -> tuple[int, np.ndarray]:
        """Return the entries at a point, with -1; -2 where one is not finite; or the row whose guard does not hold."""
        self.enter(given)
        data = empty(self.template.size, self.dtype)
        table = self.table[:]
        table.extend((data.__array_interface__["data"][0] if data.size else 0, data.size, *self.tail))
        if CHECKED:
            checked_memory.lend(table, *self.lent, data)
        stopped = int(self.run(0.0, self.whole, table.buffer_info()[0]))
        return (int(self.rows[stopped]) if stopped >= 0 else stopped), data

    @property
    def in_runs(self) -> int:
        """How many rows are computed side by side."""
        return int(self.runs[:, COUNT].sum())

    def read(self) -> np.ndarray:
        """Return the values of the addresses that are read beside the entries."""
        return self.memory[self.reads]


def compact(code: np.ndarray, needed: np.ndarray, given: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows whose addresses follow one another, the new address of each, and the old ones of those in use.

    In use are addresses that are needed, or given, or that the rows name; and address 0.
    """
    opcodes = code[:, 0]
    is_address = np.ones((len(code), 3), np.bool_)  # out, a, b
    is_address[opcodes == GUARD, 0] = is_address[opcodes == CLEAR, 1] = False
    is_address[(opcodes >= MAP) & (opcodes != CONTRACT), 2] = False
    used = needed != 0
    used[0] = True
    used[code[:, 1:][is_address]] = True
    for part in given:
        used[part] = True
    address = np.cumsum(used) - 1
    moved = np.ascontiguousarray(code)
    moved[:, 1:] = np.where(is_address, address[code[:, 1:] * is_address], code[:, 1:])
    return moved, np.where(used, address, 0), np.flatnonzero(used)


def find_runs(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first rows of runs that block kernels compute, and how many rows each has.

    They are rows of one op whose results follow one another, whose operands step alike, and are no results of the run.
    """
    none = np.zeros(0, np.int64)
    if len(code) < FEWEST_IN_RUN:
        return none, none
    steps = np.diff(code.astype(np.int64), axis=0)
    alike = (steps[:, 0] == 0) & (steps[:, 1] == 1) & (code[1:, 0] < MAP)
    ends = np.flatnonzero(np.concatenate([[True], (steps[1:] != steps[:-1]).any(axis=1) | ~alike[1:], [True]]))
    firsts, lasts = ends[:-1], ends[1:]
    long = alike[firsts] & (lasts - firsts + 1 >= FEWEST_IN_RUN)
    found: list[tuple[int, int]] = []
    for first, last in zip(firsts[long].tolist(), lasts[long].tolist(), strict=True):
        first = max(first, sum(found[-1])) if found else first
        count = last + 1 - first
        if count >= FEWEST_IN_RUN and reads_before(code[first].tolist(), code[last].tolist(), count):
            found.append((first, count))
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def reads_before(first: list[int], last: list[int], count: int) -> bool:
    """Whether no row of a run reads a result of another; the first and last rows are given."""
    begin, end = first[1], first[1] + count
    binary = REGISTRY[first[0]].arity == 2
    spans = [sorted((first[k], last[k])) for k in ((2, 3) if binary else (2,))]
    return all(high < begin or low >= end for low, high in spans)


def distinct_rows(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a few distinct pairs of numbers, and which of them each is; all as they are where they are not few."""
    bits = np.ascontiguousarray(pairs).view(f"u{pairs.dtype.itemsize}")
    which = np.full(len(pairs), -1, np.int32)
    found: list[Any] = []
    left = np.arange(len(pairs))
    while left.size:
        if len(found) == FEW_PAIRS:
            return np.ascontiguousarray(pairs), np.arange(len(pairs), dtype=np.int32)
        same = (bits[left, 0] == bits[left[0], 0]) & (bits[left, 1] == bits[left[0], 1])
        which[left[same]] = len(found)
        found.append(left[0])
        left = left[~same]
    return np.ascontiguousarray(pairs[np.array(found, np.int64)]), which


def run_of(places: np.ndarray) -> tuple[int, int] | None:
    """Return the first of a run of places and the one behind it; None where they are no run."""
    if places.size == 0:
        return 0, 0
    return (int(places[0]), int(places[-1]) + 1) if (np.diff(places) == 1).all() else None


def partials_of(analysis: Analysis) -> int:
    """Return where partials begin in the memory of entries."""
    return VALUES_AT + analysis.elements.size + analysis.elements.size % 2


@functools.lru_cache(2)
def partials_by_name(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for both partials of each op whether they are an operand or the result, and times what."""
    found = [part for op in REGISTRY[:count] for part in scaled_partials(op)]
    return np.array([name for name, _ in found], np.uint8), np.array([scale for _, scale in found])


@functools.lru_cache(2)
def multiples(count: int) -> np.ndarray:
    """Return for each op whether it is a multiple of its first operand (1), or of either (2), the other given."""
    found = np.zeros(count, np.uint8)
    found[[identity.opcode, negative.opcode, opposite.opcode, multiply_by_constant.opcode]] = 1
    found[[multiply.opcode, weigh.opcode]] = 2
    return found


def follow(
    analysis: Analysis, pattern: Pattern, most_steps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of the entries (-1 for constants), their scales and offsets, the memory, the instructions.

    Raises
    ------
    Untold
        When there are more than `most_steps` instructions, about, or many more entries than rows.
    """
    code, size, dtype = analysis.elements.code, analysis.elements.size, analysis.values.dtype
    partials_at = partials_of(analysis)
    begin, count = partials_at + 2 * len(code), analysis.columns.size
    starts, counts = np.zeros(size, np.int64), np.zeros(size, np.int64)
    starts[analysis.columns], counts[analysis.columns] = np.arange(count), 1
    room = count + 2 * len(code) + pattern.entries + 256
    most, free = ENTRIES_A_ROW * room, available_memory()
    columns, places, keys = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(count + 256, np.int64)
    numbers = np.zeros((room, 2), dtype)
    columns[:count], places[:count], numbers[:count, 1] = np.arange(count), -1, 1
    memory, steps = np.zeros(begin + room, dtype), np.zeros(3 * room, np.int32)
    memory[0] = 1
    memory[VALUES_AT : VALUES_AT + size] = analysis.values
    state = np.array([count, begin, 0, 0, 0, VALUES_AT, partials_at])
    named, scales = partials_by_name(len(REGISTRY))
    fixed = (code.reshape(-1), analysis.flags, analysis.carries, analysis.partials.reshape(-1), starts, counts)
    recent, scales = np.zeros(16, np.int64), scales.astype(dtype)
    alike, ratios = np.arange(size, dtype=np.uint32), np.ones(size, dtype)
    while True:
        arrays = (*fixed, columns, places, numbers.reshape(-1), keys, memory, steps, state, recent, named, scales)
        if call("make_entries_at", 0, (*arrays, multiples(len(REGISTRY)), alike, ratios), dtype=dtype) == len(code):
            break
        room *= 4
        entry_bytes = 32 + 3 * dtype.itemsize
        if room > most or begin + 2 * room > MOST_PLACES or state[2] > most_steps or entry_bytes * room > free:
            raise Untold
        columns, places = (grown(part, room, state[0]) for part in (columns, places))
        memory, steps = grown(memory, begin + room, state[1]), grown(steps, 3 * room, 3 * state[2])
        numbers = grown(numbers.reshape(-1), 2 * room, 2 * state[0]).reshape(-1, 2)
        keys = np.zeros(4 * keys.size, np.int64)
    rows = counts[analysis.outputs]
    which = np.repeat(starts[analysis.outputs] - np.cumsum(rows) + rows, rows) + np.arange(rows.sum())
    if pattern.symmetric:
        which = which[inside(np.repeat(np.arange(rows.size), rows), columns[which], pattern)]
    if which.size != pattern.entries:
        raise Untold  # never: the two ways agree on the pattern
    if pattern.symmetric:
        which = mirrored(which, pattern)
    return places[which], numbers[which], memory[: state[1]], steps[: 3 * state[2]].copy()


def mirrored(which: np.ndarray, pattern: Pattern) -> np.ndarray:
    """Return for entries below the diagonal what the ones opposite have."""
    rows, columns = (part.astype(np.int64) for part in pattern.structure())
    below = rows > columns
    opposite_ones = np.searchsorted(rows * pattern.shape[1] + columns, columns[below] * pattern.shape[1] + rows[below])
    which = which.copy()
    which[below] = which[opposite_ones]
    return which


def inside(rows: np.ndarray, columns: np.ndarray, pattern: Pattern) -> np.ndarray:
    """Return whether each entry is one of a pattern."""
    width = np.int64(pattern.shape[1])
    own_rows, own_columns = pattern.structure()
    return np.isin(rows * width + columns, own_rows.astype(np.int64) * width + own_columns, assume_unique=True)


def grown(values: np.ndarray, count: int, end: int) -> np.ndarray:
    """Return the first numbers of an array with more zeros behind them: pages of memory that nobody touches yet."""
    found = np.zeros(count, values.dtype)
    found[:end] = values[:end]
    return found
