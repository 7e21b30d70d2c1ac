"""Iterations of a loop over small arrays: one is taken apart, the others are copies of what became of it.

Two rows are *alike* where all but their addresses is the same: opcode, shapes, strides, the kernel and its settings.
Where rows are alike some rows later, again and again, they are iterations, as in `loops`. The *places* of an iteration
are the addresses that it reads and writes, element by element, in its order. What becomes of it depends on which of its
places are the same, and on which of them hold nothing yet. Where two iterations agree in both, their rows of numbers
differ in what stands for the places, and in where their own results begin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.compilation.loops import find_periods
from numbad.limits import FEWEST_ITERATIONS
from numbad.tape.layout import (
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    has_index_space,
    host_call,
    host_inputs,
    host_outputs,
    host_places,
    host_reference,
    is_guard,
    listed_count,
    operand_at,
    operand_count,
    operand_reference,
    reference_address,
    reference_space,
    row_cleared,
    row_operands,
    row_shape,
    row_size,
    scatter_block,
    scatter_reference,
    scatter_source,
    set_host_call,
    set_reference,
)
from numbad.tapes.lowering import spread
from numbad.tapes.tape import Tape

if TYPE_CHECKING:
    from numbad.compilation.taking_apart import Parts

OWN, PLACE = 1 << 30, 1 << 31  # addresses from these on stand for own results, and for places
BLOCK = 512  # places: so many are worth the microseconds that Python takes; short iterations are put together
SPARSE = 256  # rows: to look for loops takes as long as to take apart an array row in so many
ATTEMPTS = 8  # iterations that are looked at closely, where others turn out not to be copies of them

Lines = np.ndarray  # of int64, shape (iterations, 4): the same row of each iteration
Take = Callable[[int, int], None]  # takes apart rows from one to another


@dataclasses.dataclass(frozen=True)
class Repetition:
    """Rows that are alike some rows later.

    Attributes
    ----------
    start, period, count : int
        The first row, the rows of an iteration, and how many iterations there are.
    """

    start: int
    period: int
    count: int

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.period * self.count


# ---------------------------------------------------------------- finding them


def find_repetitions(tape: Tape) -> list[Repetition]:
    """Return the loops of a tape that have array rows, one after another."""
    code, words = tape.program_code().astype(np.int64), tape.program_words()
    arrays = (code[:, 0] >= MAP) & ~is_guard(code[:, 0])
    if np.count_nonzero(arrays) < max(FEWEST_ITERATIONS, len(code) // SPARSE):
        return []
    titles = title_rows(tape, code, words, np.flatnonzero(arrays))
    found = [part for period in find_periods(titles) for part in find_runs(titles, period)]
    free, before = np.ones(len(code), bool), np.concatenate([[0], np.cumsum(arrays)])
    chosen = []
    for part in sorted(found, key=lambda part: (part.start + part.period - part.stop, part.period)):
        if before[part.start + part.period] > before[part.start] and free[part.start : part.stop].all():
            free[part.start : part.stop] = False
            chosen.append(part)
    return sorted(chosen, key=lambda part: part.start)


def find_runs(titles: np.ndarray, period: int) -> Iterator[Repetition]:
    """Yield the loops with iterations of so many rows."""
    alike = titles[:-period] == titles[period:]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alike, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist()):
        count = (stop - start) // period + 1
        if count >= FEWEST_ITERATIONS:
            yield Repetition(start, period, count)


def title_rows(tape: Tape, code: np.ndarray, words: np.ndarray, arrays: np.ndarray) -> np.ndarray:
    """Return a number for each row, the same for rows that are alike; `arrays` are the array rows."""
    titles = code[:, 0].copy()
    guards = titles == GUARD
    titles[guards] += code[guards, 1] << 32  # the truth that it expects
    bare, numbers = words.copy(), dict[Any, int]()
    for row, opcode, w in zip(arrays.tolist(), *code[arrays][:, [0, 2]].T.tolist()):
        call = describe_call(tape.hosts[host_call(words, w)]) if opcode == HOST else None
        leave_out_addresses(bare, opcode, w)
        key = opcode, call, bare[w : w + int(row_size(words, w))].tobytes()
        titles[row] = -1 - numbers.setdefault(key, len(numbers))
    return titles


def describe_call(call: Any) -> str:
    """Return what a row of a Python kernel calls, and how."""
    return f"{call.op.name} {call.operand_shapes} {sorted(call.settings.items())}"


def leave_out_addresses(words: np.ndarray, opcode: int, w: int) -> None:
    """Set spaces and addresses of an array row to zero, and the number of its kernel."""
    if opcode == GATHER:
        gather_places(words, w)[...] = 0
        return
    if opcode == HOST:
        set_host_call(words, w, 0)
    for reference in references(words, opcode, w):
        set_reference(words, reference, 0, 0)


def references(words: np.ndarray, opcode: int, w: int) -> list[int]:
    """Return where the spaces and addresses of a row other than GATHER stand."""
    if opcode == SCATTER:
        return [scatter_reference(w)]
    if opcode == HOST:
        return [host_reference(w, k) for k in range(int(host_inputs(words, w) + host_outputs(words, w)))]
    return [operand_reference(operand_at(words, w, k)) for k in range(int(operand_count(words, w)))]


# ---------------------------------------------------------------- the places of iterations


def find_places(code: np.ndarray, words: np.ndarray, starts: np.ndarray, part: Repetition) -> np.ndarray:
    """Return the places of iterations: an array of shape (iterations, places)."""
    rows = part.start + part.period * np.arange(part.count)
    found = []
    for k in range(part.period):
        for first, offsets in spans(code[rows + k].astype(np.int64), words, starts):
            found.append(first.reshape(part.count, -1) + offsets)
    return np.concatenate(found, axis=1)


def spans(lines: Lines, words: np.ndarray, starts: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what a row reads and writes: for each iteration the first address, and distances from it to all others."""
    opcode, w, at = int(lines[0, 0]), int(lines[0, 2]), lines[:, 2]
    none = np.zeros(1, np.int64)
    if opcode < MAP:
        yield from ((lines[:, column], none) for column in (1, 2, 3))
    elif opcode in (GUARD, GUARD_VALUE):
        yield from ((lines[:, column], none) for column in ((2,) if opcode == GUARD else (1, 2)))
    elif opcode == GATHER:
        yield lines[:, 1], np.arange(listed_count(words, w))
        yield np.stack([gather_places(words, place) for place in at]), none
    else:
        firsts = []
        for reference in references(words, opcode, w):
            places: Any = at + (reference - w)
            firsts.append(starts[reference_space(words, places)] + reference_address(words, places))
        yield from zip(firsts, distances(words, opcode, w), strict=True)
        block = scatter_block(words, w) if opcode == SCATTER else row_cleared(words, w) if opcode != HOST else 0
        yield lines[:, 1], np.arange(block)


def distances(words: np.ndarray, opcode: int, w: int) -> list[np.ndarray]:
    """Return, for each reference of a row, how far its elements are from the first."""
    if has_index_space(opcode):
        shape = row_shape(words, w)
        return [spread(0, shape, steps).reshape(-1) for _, _, steps in row_operands(words, w)]
    if opcode == HOST:
        inputs, outputs = host_places(words, w)
        return [np.arange(count) for _, _, count in (*inputs, *outputs)]
    return [np.arange(scatter_source(words, w)[2])]


class Marks:
    """Tells which of many places are the same; has memory for all addresses."""

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, np.int64)

    def first(self, places: np.ndarray) -> np.ndarray:
        """Return for each place the position of the first that is the same."""
        order = np.arange(len(places))
        self.memory[places[::-1]] = order[::-1]  # of those that are the same, NumPy keeps the last
        return self.memory[places]


# ---------------------------------------------------------------- one iteration, and copies of it


class Pattern:
    """What becomes of an iteration, in terms of its places and its own results.

    Attributes
    ----------
    first, heads : ndarray of int64
        For each place the first that is the same, and those that are the first.
    empty : ndarray of bool
        Which of the heads hold nothing.
    rows, origins : ndarray
        The rows of numbers, and how far behind the first row of the iteration those are that they come from.
    columns : ndarray of int64, shape (rows, 3)
        For `out`, `a` and `b` where they stand in a table of what the heads hold, own results, and `literals`.
    own : int
        How many results there are.
    changed, ends : ndarray of int64
        The heads that hold something else afterwards, and where that stands in the table.
    """

    def __init__(self, taken: Parts, places: np.ndarray, first: np.ndarray, start: int) -> None:
        self.first, self.heads = first, np.flatnonzero(first == np.arange(len(first)))
        self.addresses = places[self.heads]
        held = taken.now[self.addresses]
        self.empty = held == taken.nothing
        self.marks = np.where(self.empty, taken.nothing, PLACE + np.arange(len(held)))
        self.start = start

    def learn(self, taken: Parts, take: Take, stop: int) -> bool:
        """Take the iteration apart with marks in its places, and forget it; whether it is a pattern."""
        held, constants = taken.now[self.addresses], len(taken.constants)
        before = taken.parts, taken.origins, taken.size
        taken.parts, taken.origins, taken.size = [], [], OWN
        taken.now[self.addresses] = self.marks
        take(self.start, stop)
        ends, (parts, origins, size) = taken.now[self.addresses], (taken.parts, taken.origins, taken.size)
        taken.now[self.addresses] = held
        taken.parts, taken.origins, taken.size = before
        if len(taken.constants) > constants:
            taken.constants = dict(list(taken.constants.items())[:constants])
            return False
        self.own = size - OWN
        self.rows = np.concatenate([np.zeros((0, 4), np.uint32), *parts])
        self.origins = np.concatenate([np.zeros(0, np.int64), *origins]) - self.start
        self.changed = np.flatnonzero(ends != self.marks)
        found = np.concatenate([self.rows[:, 1:].astype(np.int64).reshape(-1), ends[self.changed]])
        heads, own = found >= PLACE, (found >= OWN) & (found < PLACE)
        self.literals, others = np.unique(found[found < OWN], return_inverse=True)
        found[found < OWN] = len(held) + self.own + others
        found[heads] -= PLACE
        found[own] += len(held) - OWN
        self.columns, self.ends = found[: self.rows[:, 1:].size].reshape(-1, 3), found[self.rows[:, 1:].size :]
        return True

    def copy(self, taken: Parts, places: np.ndarray, first: np.ndarray, start: int) -> bool:
        """Append the rows for another iteration; return False, and do nothing, where it is no copy."""
        addresses = places[self.heads]
        held = taken.now[addresses]
        if not (np.array_equal(first, self.first) and np.array_equal(held == taken.nothing, self.empty)):
            return False
        table = np.concatenate([held, taken.size + np.arange(self.own), self.literals])
        rows = self.rows.copy()
        rows[:, 1:] = table[self.columns]
        taken.parts.append(rows)
        taken.origins.append(self.origins + start)
        taken.now[addresses[self.changed]] = table[self.ends]
        taken.size += self.own
        return True


def take_repetition(taken: Parts, part: Repetition, places: np.ndarray, take: Take) -> None:
    """Take the iterations of a loop apart: the first, and each of which no earlier one is the pattern."""
    together = max(1, BLOCK // max(1, places.shape[1]))
    blocks, rows = part.count // together, part.period * together
    places = places[: blocks * together].reshape(blocks, together * places.shape[1])
    marks, pattern, attempts = Marks(len(taken.now)), None, 0
    for k in range(blocks):
        start = part.start + k * rows
        first = marks.first(places[k])
        if pattern is None and 0 < k < blocks - 1 and attempts < ATTEMPTS:
            attempts += 1
            found = Pattern(taken, places[k], first, start)
            pattern = found if found.learn(taken, take, start + rows) else None
        if pattern is None or not pattern.copy(taken, places[k], first, start):
            pattern = None
            take(start, start + rows)
    take(part.start + blocks * rows, part.stop)
