"""Loops found again: runs of equal blocks of rows, whose operands step evenly from one block to the next.

A loop in Python leaves its iterations on the tape one after another. Where row i, row i + p and row i + 2 p have the
same op, and each of their operands is the same address, or steps by the same number, the rows are iterations of one
body. Which p to try is told by runs of ops: how far it is from each to the next that is equal, and which distances are
most common. The runs are of 4, 8, 16, ... rows, for a body may have loops of its own. So the search takes some passes
over the rows for each length.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from numbad.compilation.scalar_program import CONSTANT, RESULT, ScalarProgram
from numbad.limits import FEWEST_ITERATIONS, FEWEST_SPARED
from numbad.ops.definition import absent

WINDOW = 4  # rows of the shortest run
MULTIPLES = 17  # of periods: for what comes again only every few iterations
PERIODS = 4  # distances that are tried, for each length of short runs
LONG = 1 << 18  # rows: in a longer program periods are looked for in pieces
PIECE, PIECES = 1 << 14, 16  # rows of one, and how many are looked at
MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of rows: straight, or the iterations of a loop one after another.

    Attributes
    ----------
    start : int
        The first row.
    period : int
        The number of rows of the body; of all rows where it is straight.
    count : int
        How many iterations there are; 1 where it is straight.
    """

    start: int
    period: int
    count: int = 1

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.start + self.period * self.count

    @property
    def is_loop(self) -> bool:
        """Whether there is more than one iteration."""
        return self.count > 1


def count_code_rows(segments: list[Segment]) -> int:
    """Return how many rows have code: of loops those of one iteration."""
    return sum(segment.period for segment in segments)


def find_segments(program: ScalarProgram) -> list[Segment]:
    """Return the rows of a program as segments, one after another."""
    titles = title_rows(program)
    free = np.ones(len(program), bool)
    found = find_in_pieces(program, titles) if len(program) > LONG else find_all(program, titles)
    chosen: list[Segment] = []
    for loop in sorted(found, key=lambda loop: (-spared_rows(loop), loop.start)):
        if np.count_nonzero(free[loop.start : loop.stop]) < FEWEST_SPARED:
            continue
        for part in cut_loop(loop, free):
            usable = fit_loop(program, part)
            if usable is not None:
                chosen.append(usable)
                free[usable.start : usable.stop] = False
    return fill_gaps(sorted(chosen, key=lambda loop: loop.start), len(program))


def find_all(program: ScalarProgram, titles: np.ndarray) -> list[Segment]:
    """Return the loops of all periods that runs of equal rows tell of; they may share rows."""
    periods = find_periods(titles)
    found = [find_loops(program, titles, period) for period in periods]
    if spares_little(program, found):  # rows that are alike may read from another distance
        nearer = [period for period in find_periods(titles + distances(program)) if period not in periods]
        found += [find_loops(program, titles, period) for period in nearer]
        periods += nearer
    if spares_little(program, found):  # tables of k % 7, say
        multiples = {period * m for period in periods[:2] for m in range(2, MULTIPLES)}
        found += [find_loops(program, titles, period) for period in sorted(multiples.difference(periods))]
    return [loop for loops in found for loop in loops]


def find_in_pieces(program: ScalarProgram, titles: np.ndarray) -> list[Segment]:
    """Return loops of a long program: periods are looked for in a piece of what is left, and tried on all rows.

    So the search is linear. A body has fewer rows than a piece, or it is not compiled.
    """
    left, tried, found = np.ones(len(program), bool), set[int](), list[Segment]()
    for _ in range(PIECES):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], left, [False]]).astype(np.int8))).reshape(-1, 2)
        if not len(edges):
            break
        start, stop = edges[np.argmax(edges[:, 1] - edges[:, 0])].tolist()
        if stop - start < FEWEST_SPARED:
            break
        stop = min(start + PIECE, stop)
        left[start:stop] = False
        for period in best_periods(program, titles, slice(start, stop)):
            if period not in tried:
                tried.add(period)
                for loop in find_loops(program, titles, period):
                    left[loop.start : loop.stop] = False
                    found.append(loop)
    return found


def best_periods(program: ScalarProgram, titles: np.ndarray, piece: slice) -> list[int]:
    """Return the period that spares most rows of a piece, and others that spare rows which it does not."""
    spared: dict[int, np.ndarray] = {}
    for period in find_periods(titles[piece]):
        rows = np.zeros(piece.stop - piece.start, bool)
        for loop in find_loops(program, titles, period, piece):
            rows[loop.start - piece.start + loop.period : loop.stop - piece.start] = True
        spared[period] = rows
    chosen: list[int] = []
    while spared:
        period = max(spared, key=lambda period: (np.count_nonzero(spared[period]), -period))
        rows = spared.pop(period)
        if np.count_nonzero(rows) < FEWEST_SPARED:
            break
        chosen.append(period)
        spared = {other: flags & ~rows for other, flags in spared.items()}
    return chosen


def spares_little(program: ScalarProgram, found: list[list[Segment]]) -> bool:
    """Whether most rows are in no loop of any period."""
    return max((sum(map(spared_rows, loops)) for loops in found), default=0) < len(program) // 2


def distances(program: ScalarProgram) -> np.ndarray:
    """Return a number for each row that tells how far back its operands are computed."""
    found = np.zeros(len(program), np.int64)
    own = program.first + np.arange(len(program))
    for kinds, addresses in zip(program.kinds, program.operands):
        found = found * np.int64(1 << 20) + np.where(kinds == RESULT, own - addresses, 0)
    return found << 32


def spared_rows(loop: Segment) -> int:
    """Return how many rows need no code of their own in a loop."""
    return (loop.count - 1) * loop.period


def title_rows(program: ScalarProgram) -> np.ndarray:
    """Return a number for each row, which tells apart rows that cannot be iterations of one."""
    rows = len(program)
    present = ~absent(program.bar[program.first : program.first + rows])
    parts = (
        (program.opcodes, 12),
        (program.kinds[0], 2),
        (program.kinds[1], 2),
        (program.needs, 6),
        *((flags, 1) for flags in (program.truths, program.forward, program.back, present, *program.carries)),
    )
    titles, shift = np.zeros(rows, np.int64), 0
    for part, bits in parts:
        titles |= part.astype(np.int64) << shift
        shift += bits
    return titles


def find_periods(titles: np.ndarray) -> list[int]:
    """Return the distances between equal runs of rows that are most common, of runs short and long."""
    found: list[int] = []
    runs, window = titles.astype(np.uint64) * MIX, 1
    while len(runs) >= FEWEST_ITERATIONS:
        if window >= WINDOW or 2 * window > len(runs):
            found += common_distances(runs)
        if 2 * window > len(runs):
            break
        factor = np.uint64(pow(int(MIX), window, 1 << 64))
        runs = runs[:-window] * factor + runs[window:]
        window *= 2
    return list(dict.fromkeys(found))


def common_distances(runs: np.ndarray) -> list[int]:
    """Return the most common distances from one number to the next that is equal."""
    order = np.argsort(runs, kind="stable")
    equal = runs[order[1:]] == runs[order[:-1]]
    distances = (order[1:] - order[:-1])[equal]
    if not len(distances):
        return []
    counts = np.bincount(distances)
    found = np.argsort(-counts, kind="stable")[:PERIODS]
    return [int(period) for period in found if counts[period]]


def find_loops(program: ScalarProgram, titles: np.ndarray, period: int, part: slice = slice(None)) -> list[Segment]:
    """Return the loops with bodies of so many rows, of the whole program or a part of it."""
    titles = titles[part]
    if len(titles) < FEWEST_ITERATIONS * period:
        return []
    steady = (titles[: -2 * period] == titles[period:-period]) & (titles[period:-period] == titles[2 * period :])
    for kinds, addresses in zip(program.kinds[:, part], program.operands[:, part]):
        steps = addresses[period:] - addresses[:-period]
        steady &= (kinds[: -2 * period] == CONSTANT) | (steps[:-period] == steps[period:])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steady, [False]]).astype(np.int8)))
    found = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist()):
        count = (stop - start) // period + 2
        if stop - start >= period and count >= FEWEST_ITERATIONS and (count - 1) * period >= FEWEST_SPARED:
            found.append(Segment((part.start or 0) + start, period, count))
    return found


def cut_loop(loop: Segment, free: np.ndarray) -> list[Segment]:
    """Return the parts of a loop whose rows are free."""
    whole = free[loop.start : loop.stop].reshape(loop.count, loop.period).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]]).astype(np.int8))).tolist()
    return [Segment(loop.start + a * loop.period, loop.period, b - a) for a, b in zip(edges[::2], edges[1::2])]


def fit_loop(program: ScalarProgram, loop: Segment) -> Segment | None:
    """Return a loop, without its first iterations where only the others can be one; None if none can."""
    for _ in range(3):
        if loop.count < FEWEST_ITERATIONS or spared_rows(loop) < FEWEST_SPARED:
            return None
        if not has_conflict(program, loop):
            return loop
        loop = Segment(loop.start + loop.period, loop.period, loop.count - 1)
    return None


def has_conflict(program: ScalarProgram, loop: Segment) -> bool:
    """Whether an operand of a body walks through the loop's own results otherwise than from one iteration to the next.

    Nor may it meet what the first iteration reads of the one before it, for the cotangents of that are handed on in
    registers: whether it stays there or walks by.
    """
    body = slice(loop.start, loop.start + loop.period)
    begin = program.first + loop.start
    results, firsts = program.kinds[:, body] == RESULT, program.operands[:, body]
    steps = program.operands[:, loop.start + loop.period : loop.start + 2 * loop.period] - firsts
    handed = np.unique(firsts[results & (steps == loop.period) & (firsts >= begin - loop.period)])
    ends = firsts + steps * (loop.count - 1)
    others = results & (steps != loop.period)
    low, high = np.minimum(firsts, ends)[others], np.maximum(firsts, ends)[others]
    meets = np.searchsorted(handed, low) < np.searchsorted(handed, high, side="right")
    return bool((meets | (high >= begin)).any())


def fill_gaps(loops: list[Segment], rows: int) -> list[Segment]:
    """Return loops and the straight segments between them."""
    found, row = [], 0
    for loop in loops:
        if loop.start > row:
            found.append(Segment(row, loop.start - row))
        found.append(loop)
        row = loop.stop
    if row < rows:
        found.append(Segment(row, rows - row))
    return found
