"""Loops of a tape for the eye: rows that are alike so many rows later, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numbad.compilation.loops import find_periods
from numbad.compilation.repeated_rows import Repetition, find_runs, title_rows
from numbad.limits import FEWEST_ITERATIONS
from numbad.tape.layout import MAP, is_guard

if TYPE_CHECKING:
    from numbad.tapes.tape import Tape

FEWEST = 8  # rows that a loop has to spare the reader
PIECE = 1 << 14  # rows in which periods are looked for: at the beginning, in the middle, at the end
MOST_TOLD = 5  # loops that a summary tells of


def find_row_loops(tape: Tape) -> list[Repetition]:
    """Return the loops of a tape: rows with the same ops, shapes and kernels, whatever the addresses; longest first."""
    code, words = tape.program_code().astype(np.int64), tape.program_words()
    arrays = np.flatnonzero((code[:, 0] >= MAP) & ~is_guard(code[:, 0]))
    titles = title_rows(tape, code, words, arrays)
    starts = {0, max(0, (len(titles) - PIECE) // 2), max(0, len(titles) - PIECE)}
    periods = {period for start in starts for period in find_periods(titles[start : start + PIECE])}
    found = [loop for period in periods if 0 < period < len(titles) for loop in find_runs(titles, period)]
    free, chosen = np.ones(len(titles), bool), []
    for loop in sorted(found, key=lambda loop: (loop.start + loop.period - loop.stop, loop.period)):
        left = loop.start + np.flatnonzero(free[loop.start : loop.stop])
        if len(left) and left[-1] - left[0] + 1 == len(left):  # a run: neighbours may have taken its ends
            part = Repetition(int(left[0]), loop.period, len(left) // loop.period)
            if part.count >= FEWEST_ITERATIONS and spared(part) >= FEWEST:
                free[part.start : part.stop] = False
                chosen.append(part)
    return chosen


def spared(loop: Repetition) -> int:
    """Return how many rows need not be shown."""
    return loop.period * (loop.count - 1)


def fold_rows(tape: Tape, wanted: int) -> list[int | str]:
    """Return about as many rows as are wanted, and words in place of those left out.

    Of a loop these are all iterations but the first and the last; where that is not enough, the rows in the middle.
    """
    count, row = len(tape), 0
    items: list[tuple[int | str, int]] = []  # with the rows that they stand for
    for loop in sorted(find_row_loops(tape), key=lambda loop: loop.start) if count > wanted else ():
        items += [(k, 1) for k in range(row, loop.start + loop.period)]
        row = loop.stop - loop.period
        items.append((f"{loop.count - 2} more iterations of {rows_text(loop.period)}", row - loop.start - loop.period))
    items += [(k, 1) for k in range(row, count)]
    if len(items) > wanted:
        head, tail = items[: (wanted + 1) // 2], items[len(items) - wanted // 2 :]
        items = [*head, (f"{count - sum(rows for _, rows in (*head, *tail))} rows", 0), *tail]
    return [item for item, _ in items]


def rows_text(count: int) -> str:
    """Return a number of rows in words."""
    return "this row" if count == 1 else f"these {count} rows"


def describe_loops(tape: Tape) -> list[str]:
    """Return lines that say which loops a tape has."""
    loops = find_row_loops(tape)
    if not loops:
        return []
    inside = sum(loop.stop - loop.start for loop in loops)
    lines = [f"  loops: {inside} of {len(tape)} rows are iterations"]
    for loop in loops[:MOST_TOLD]:
        lines.append(f"    {loop.count} iterations of {loop.period} rows, from row {loop.start} on")
    if len(loops) > MOST_TOLD:
        lines.append(f"    and {len(loops) - MOST_TOLD} shorter ones")
    return lines
