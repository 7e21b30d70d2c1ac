"""Array rows of a tape that its replays can do without: those that depend on no input, and those that nobody reads.

A function's own constants never become rows, for NumPy computes with them. Emitted derivative rows may be constant
though: those of a linear function are. And a derivative need not read the function's value.
"""

from __future__ import annotations

import dataclasses
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable
from typing import Any

import numpy as np

from numbad.limits import HOISTED_LEAST, HOISTED_ROWS
from numbad.sweeps.execution import Execution
from numbad.tape.layout import (
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    empty_row,
    gather_places,
    host_places,
    is_accumulation,
    places_read,
    step_count,
    write_span,
)
from numbad.tape.rows import Rows


class Ranges:
    """Half-open ranges of addresses; none begins inside of another."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: dict[int, int] = {}

    def add(self, start: int, stop: int) -> bool:
        """Add a range, unless it lies in one of these; return whether it was added."""
        if stop <= start or self.contain(start, stop):
            return False
        if start not in self.stops:
            insort(self.starts, start)
        self.stops[start] = stop
        return True

    def contain(self, start: int, stop: int) -> bool:
        """Whether a range lies in one of these."""
        last = self.last_before(stop)
        return start < stop and last is not None and last <= start and stop <= self.stops[last]

    def meet(self, start: int, stop: int) -> bool:
        """Whether a range has an address in common with one of these."""
        last = self.last_before(stop)
        return start < stop and last is not None and self.stops[last] > start

    def last_before(self, stop: int) -> int | None:
        """Return the last range that begins before an address."""
        k = bisect_right(self.starts, stop - 1)
        return self.starts[k - 1] if k else None


def find_invariant(recorder: Any, leaves: Iterable[Any]) -> list[int]:
    """Return the rows that depend on no input, in order.

    Guards and Python kernels do not count as such. A block to which several rows add is computed by all or none.
    """
    rows = len(recorder.code) // 4
    if rows > HOISTED_ROWS:
        return []
    inputs = [leaf for leaf in leaves if np.size(leaf.value)]
    spaces = {leaf.space for leaf in inputs if leaf.space}
    code = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4).tolist()
    mixed = Ranges()  # constants to which rows add that are not
    while True:
        varying = Ranges()
        for leaf in inputs:
            if not leaf.space:
                varying.add(leaf.address, leaf.address + np.size(leaf.value))
        known = len(mixed.starts)
        found = [k for k, row in enumerate(code) if is_invariant(row, recorder.words, varying, spaces, mixed)]
        if len(mixed.starts) == known:
            return found


def find_dead(recorder: Any, outputs: Iterable[tuple[int, int]]) -> list[int]:
    """Return the array rows on which no output depends, in order; `outputs` are ranges of addresses.

    What guards and Python kernels read is wanted too.
    """
    rows = len(recorder.code) // 4
    if rows > HOISTED_ROWS:
        return []
    code = np.frombuffer(recorder.code, np.uint32).reshape(-1, 4).tolist()
    words = recorder.words
    blocks = sorted(written(row, words) for row in code if makes_block(row, words))
    starts = [start for start, _ in blocks]
    wanted: set[int] = set()

    def want(start: int, stop: int) -> None:
        first, end = max(bisect_right(starts, start) - 1, 0), bisect_right(starts, stop - 1)
        wanted.update(k for k in range(first, end) if blocks[k][1] > start)

    for start, stop in outputs:
        want(start, stop)
    dead = []
    for k in range(rows - 1, -1, -1):
        opcode, out, a, b = code[k]
        if opcode < MAP or opcode in (GUARD, GUARD_VALUE):
            if opcode >= MAP or bisect_right(starts, out) - 1 in wanted:
                want(a, a + 1)
                want(b, b + 1)
        elif opcode != HOST and bisect_right(starts, out) - 1 not in wanted:
            dead.append(k)
        else:
            for space, start, stop in read(code[k], words):
                if space == 0 and start < stop:
                    want(start, stop)
    return dead[::-1]


def makes_block(row: list[int], words: Any) -> bool:
    """Whether a row is the first to write to its addresses."""
    opcode, _, w = row[:3]
    return opcode not in (GUARD, GUARD_VALUE) and not is_accumulation(opcode, w, words)


def is_invariant(row: list[int], words: Any, varying: Ranges, spaces: set[int], mixed: Ranges) -> bool:
    """Whether a row reads constants only; note where it writes if it does not."""
    opcode, out, w, b = row
    if opcode in (GUARD, GUARD_VALUE):
        return False
    if opcode < MAP:
        varies = varying.meet(w, w + 1) or varying.meet(b, b + 1)
        if varies:
            varying.add(out, out + 1)
        return not varies
    if opcode == HOST:
        for _, start, count in host_places(words, w)[1]:
            varying.add(start, start + count)
        return False
    start, stop = written(row, words)
    varies = any(space in spaces or (space == 0 and varying.meet(*part)) for space, *part in read(row, words))
    if makes_block(row, words):
        varies = varies or mixed.meet(start, stop)
    elif varying.meet(start, stop):
        varies = True
    elif varies:
        mixed.add(start, stop)
    if varies:
        varying.add(start, stop)
    return not varies


def written(row: Any, words: Any) -> tuple[int, int]:
    """Return the range of addresses that a row writes to, half-open as all ranges here."""
    opcode, out, w, _ = row
    first, last = write_span(opcode, out, w, words)
    return first, last + 1


def read(row: Any, words: Any) -> list[tuple[int, int, int]]:
    """Return spaces and ranges of what a row reads; of a list of places, the range in which they lie."""
    opcode, out, w, b = row
    if opcode == GATHER:
        places = gather_places(words, w)
        return [(0, min(places, default=0), max(places, default=-1) + 1)]
    return [(space, first, last + 1) for space, first, last in places_read(opcode, out, w, b, words)]


@dataclasses.dataclass(frozen=True)
class Spared:
    """The array rows that replays of a tape leave out, if they cost enough.

    Attributes
    ----------
    once : list of int
        Those that depend on no input, and scalar rows that they read: computed before the first replay.
    never : list of int
        Those on which no output depends.
    constants : Ranges
        The addresses whose values are the same in each replay.
    """

    once: list[int]
    never: list[int]
    constants: Ranges

    def __len__(self) -> int:
        return len(self.once) + len(self.never)


def find_spared(recorder: Any, leaves: Iterable[Any], outputs: Iterable[tuple[int, int]] | None) -> Spared:
    """Return what replays leave out; `outputs` are ranges of addresses, None to keep what nobody reads."""
    constants = Ranges()
    constants.add(0, 1)
    if not recorder.bases:  # nothing was emitted: the user's rows depend on inputs, and are mostly read
        return Spared([], [], constants)
    invariant = find_invariant(recorder, leaves)
    for row in invariant:
        constants.add(*written(recorder.code[4 * row : 4 * row + 4], recorder.words))
    dead = [] if outputs is None else find_dead(recorder, outputs)
    once = sorted(set(invariant) - set(dead))
    arrays = [row for row in once + dead if recorder.code[4 * row] >= MAP]
    cost = sum(step_count(recorder.words, recorder.code[4 * row + 2]) for row in arrays)
    return Spared(once, dead, constants) if cost >= HOISTED_LEAST else Spared([], [], constants)


def empty_rows(code: Any, words: Any, rows: list[int]) -> None:
    """Make array rows do nothing: their words then speak of no elements. Scalar rows stay."""
    for row in rows:
        if code[4 * row] >= MAP:
            empty_row(words, code[4 * row], code[4 * row + 2])


def without_rows(tape: Rows, rows: list[int]) -> Rows:
    """Return a tape with the same rows, of which some do nothing."""
    words = tape.words[:]
    empty_rows(tape.code, words, rows)
    left_out = set(rows)
    return tape.with_rows(tape.code, words, [row for row in tape.large if row not in left_out])


def compute(execution: Execution, tape: Rows, rows: list[int]) -> None:
    """Compute some rows of a tape in the arena of an execution."""
    code = array("I")
    for row in rows:
        code.extend(tape.code[4 * row : 4 * row + 4])
    part = Execution(tape.with_rows(code, tape.words, []))
    part.values, part.numbers, part.loaded = execution.values, execution.numbers, execution.loaded
    part.forward()
