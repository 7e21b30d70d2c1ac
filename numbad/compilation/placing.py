"""Where results and their cotangents lie in memory: those of one row of a loop's body one after another.

Iterations then read and write next to one another: LLVM takes several at once, and rows whose results are not kept
take no memory, for their pages are never touched. Where a body keeps many results, those of an iteration lie together
instead: a processor foresees few streams. The straight rows before and after a loop that are rows of iterations which
were peeled off lie where such iterations would, so that what walks through all of them steps evenly. Loops through
which something would not step evenly any more lie in the order of their rows.
"""

from __future__ import annotations

import bisect

import numpy as np

from numbad.compilation.loops import Segment
from numbad.compilation.operands import Body, Operand
from numbad.compilation.scalar_program import RESULT, ScalarProgram

MOST_PEELED = 4  # iterations before or after a loop whose rows lie with its own
MOST_STREAMS = 16  # results that a body keeps: of more, those of an iteration lie together


def place_rows(program: ScalarProgram, bodies: list[Body], stored: np.ndarray) -> np.ndarray:
    """Return for each row where its result lies; there may be gaps."""
    segments = [body.segment for body in bodies]
    earlier = [body.segment.period if hands_on(body) else 0 for body in bodies]
    starts = [segment.start for segment in segments]
    plain: set[int] = set()
    while True:
        places = place_by_body(segments, earlier, stored, plain)
        uneven: set[int] = set()
        for body in bodies:
            for first, last in find_uneven(program, body, places) if body.segment.is_loop else ():
                uneven.update(range(bisect.bisect(starts, first) - 1, bisect.bisect(starts, last)))
        if uneven <= plain:
            return places
        plain |= uneven


def hands_on(body: Body) -> bool:
    """Whether a loop reads results of earlier iterations."""
    return any(operand.is_own and operand.back > 0 for operands in body.operands for operand in operands)


def place_by_body(segments: list[Segment], earlier: list[int], stored: np.ndarray, plain: set[int]) -> np.ndarray:
    """Return places by bodies, but for the segments that are to lie in the order of their rows.

    `earlier` says how many rows before a loop are left to it, and not to the loop before them.
    """
    places = np.full(len(stored), -1, np.int64)
    at = done = 0
    for k, segment in enumerate(segments):
        if segment.is_loop and k not in plain:
            free = k and not segments[k - 1].is_loop and k - 1 not in plain
            start = segment.start - (min(segments[k - 1].period, MOST_PEELED * segment.period) if free else 0)
            start = max(done, start)
            at = place_straight(places, done, start, at)
            done = segment.stop + count_after(segments, k, earlier, plain)
            at = place_loop(places, segment, start, done, at, stored)
    place_straight(places, done, len(stored), at)
    return places


def count_after(segments: list[Segment], k: int, earlier: list[int], plain: set[int]) -> int:
    """Return how many straight rows after a loop lie with it."""
    if k + 1 == len(segments) or segments[k + 1].is_loop or k + 1 in plain:
        return 0
    left = earlier[k + 2] if k + 2 < len(segments) else 0
    return max(0, min(segments[k + 1].period - left, MOST_PEELED * segments[k].period))


def place_straight(places: np.ndarray, start: int, stop: int, at: int) -> int:
    """Let rows lie in their order from a place on; return the next place."""
    places[start:stop] = at + np.arange(stop - start)
    return at + stop - start


def place_loop(places: np.ndarray, segment: Segment, start: int, stop: int, at: int, stored: np.ndarray) -> int:
    """Place the rows of a loop and some before and after it, as rows of its body; return the next place."""
    turns, rows = np.divmod(np.arange(start, stop) - segment.start, segment.period)
    turns -= turns[0]
    count = int(turns[-1]) + 1
    kept = stored[segment.start : segment.start + segment.period]
    together = int(np.count_nonzero(kept))
    if together <= MOST_STREAMS:
        places[start:stop] = at + rows * count + turns
        return at + segment.period * count
    order = np.where(kept, np.cumsum(kept) - 1, np.cumsum(~kept) - 1)
    apart = at + together * count + order[rows] * count + turns
    places[start:stop] = np.where(kept[rows], at + turns * together + order[rows], apart)
    return at + segment.period * count


def find_uneven(program: ScalarProgram, body: Body, places: np.ndarray) -> list[tuple[int, int]]:
    """Return first and last row of what operands of a loop walk through unevenly."""
    found = []
    for row, operands in enumerate(body.operands):
        for which, operand in enumerate(operands):
            if operand.kind == RESULT and not operand.stays and not (operand.is_own and operand.back == 0):
                read = program.operands[which, body.rows(row)] - program.first
                walked = np.diff(places[read])
                if (walked != walked[0]).any():
                    found.append((int(read.min()), int(read.max())))
    return found


def walk(program: ScalarProgram, places: np.ndarray, operand: Operand) -> tuple[int, int]:
    """Return the place of a result that the first iteration reads, and how far it moves with each iteration."""
    row = operand.first - program.first
    first = int(places[row])
    return first, int(places[row + operand.step]) - first if operand.step else 0


def own_walk(body: Body, places: np.ndarray, row: int) -> tuple[int, int]:
    """Return the place of the result of a row of a body in the first iteration, and its step."""
    first = int(places[body.segment.start + row])
    return first, int(places[body.segment.start + body.segment.period + row]) - first if body.segment.is_loop else 0
