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

from numbad.geometry import reach
from numbad.limits import HOISTED_LEAST, HOISTED_ROWS
from numbad.sweeps.execution import Execution
from numbad.tape.layout import ADD, CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER
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
    blocks = sorted(written(row[0], row[1], words, row[2])[:2] for row in code if makes_block(row, words))
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
            for space, start, stop in read(opcode, recorder.words, a):
                if space == 0 and start < stop:
                    want(start, stop)
    return dead[::-1]


def makes_block(row: list[int], words: Any) -> bool:
    """Whether a row is the first to write to its addresses."""
    opcode, _, w = row[:3]
    return opcode not in (GUARD, GUARD_VALUE) and (opcode not in (ADD, CONTRACT) or words[w + 3] > 0)


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
        first = w + 4 + 3 * words[w + 2]
        for d in range(first, first + 3 * words[w + 3], 3):
            varying.add(words[d + 1], words[d + 1] + words[d + 2])
        return False
    start, stop, fresh = written(opcode, out, words, w)
    varies = any(space in spaces or (space == 0 and varying.meet(*part)) for space, *part in read(opcode, words, w))
    if fresh:
        varies = varies or mixed.meet(start, stop)
    elif varying.meet(start, stop):
        varies = True
    elif varies:
        mixed.add(start, stop)
    if varies:
        varying.add(start, stop)
    return not varies


def written(opcode: int, out: int, words: Any, w: int) -> tuple[int, int, bool]:
    """Return the addresses that a row writes to, and whether it makes their block."""
    if opcode < MAP:
        return out, out + 1, True
    if opcode == HOST:
        last = w + 4 + 3 * (words[w + 2] + words[w + 3] - 1)
        return out, (words[last + 1] + words[last + 2] if words[w + 3] else out), True
    if not makes_block([opcode, out, w], words):
        _, start, stop = operand_range(words, w, 0)
        return start, stop, False
    return out, out + words[w + {ADD: 3, CONTRACT: 3, SCATTER: 2}.get(opcode, 1)], True


def read(opcode: int, words: Any, w: int) -> list[tuple[int, int, int]]:
    """Return space and addresses of what an array row reads."""
    if opcode == GATHER:
        places = words[w + 2 : w + 2 + words[w + 1]]
        return [(0, min(places, default=0), max(places, default=-1) + 1)]
    if opcode == SCATTER:
        return [(words[w + 3], words[w + 4], words[w + 4] + words[w + 1])]
    if opcode == HOST:
        places = [words[d : d + 3] for d in range(w + 4, w + 4 + 3 * words[w + 2], 3)]
        return [(space, start, start + count) for space, start, count in places]
    step = 3 + words[w + 2]
    return [operand_range(words, w, k) for k in range(1, (words[w] - 4 - words[w + 2]) // step)]


def operand_range(words: Any, w: int, k: int) -> tuple[int, int, int]:
    """Return the space of an operand and a range of addresses in which it lies."""
    axes = words[w + 2]
    d = w + 4 + axes + k * (3 + axes)
    first, last = reach(words[d + 2], words[w + 4 : w + 4 + axes], words[d + 3 : d + 3 + axes])
    return words[d + 1], first, last + 1


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
        opcode, out, w = recorder.code[4 * row : 4 * row + 3]
        constants.add(*written(opcode, out, recorder.words, w)[:2])
    dead = [] if outputs is None else find_dead(recorder, outputs)
    once = sorted(set(invariant) - set(dead))
    arrays = [row for row in once + dead if recorder.code[4 * row] >= MAP]
    cost = sum(recorder.words[recorder.code[4 * row + 2] + 1] for row in arrays)
    return Spared(once, dead, constants) if cost >= HOISTED_LEAST else Spared([], [], constants)


def empty_rows(code: Any, words: Any, rows: list[int]) -> None:
    """Make array rows do nothing: their words then speak of no elements. Scalar rows stay."""
    for row in rows:
        opcode, w = code[4 * row], code[4 * row + 2]
        if opcode < MAP:
            continue
        words[w + 1] = 0
        if opcode in (ADD, CONTRACT):
            words[w + 3] = 0
        elif opcode == SCATTER:
            words[w + 2] = 0


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
