"""Memory that results take only while they are needed: what lies in a small pool is read while the caches have it.

Addresses that are spoken of together are one *unit*. It lives from the first call that speaks of it to the last, and
units that never live together may share memory (the first place that is large enough is taken). Inputs, constants,
results, and what rows outside of compiled functions read or write stay where they are.
"""

from __future__ import annotations

import dataclasses

import numpy as np

ALIGNED = 8  # numbers: units begin where cache lines do


@dataclasses.dataclass
class Units:
    """Runs of addresses, in their order.

    Attributes
    ----------
    lows, stops : ndarray of int64
        The first address of each, and the one after its last.
    first, last : ndarray of int64
        The first and the last call that speaks of it; -1 where none does.
    stays : ndarray of bool
        Whether it keeps its own memory.
    """

    lows: np.ndarray
    stops: np.ndarray
    first: np.ndarray
    last: np.ndarray
    stays: np.ndarray

    def find(self, addresses: np.ndarray) -> np.ndarray:
        """Return the unit of each address; -1 where it lies in none."""
        found = np.searchsorted(self.lows, addresses, side="right") - 1
        inside = (found >= 0) & (addresses < self.stops[np.maximum(found, 0)])
        return np.where(inside, found, -1)


def make_units(intervals: list[tuple[int, int]]) -> Units:
    """Return the units of what is spoken of: intervals, half-open, that overlap belong together."""
    if not intervals:
        nothing = np.zeros(0, np.int64)
        return Units(nothing, nothing, nothing, nothing, np.zeros(0, bool))
    edges = np.array(sorted(set(intervals)), np.int64)
    reach = np.maximum.accumulate(edges[:, 1])
    begins = np.concatenate([[True], edges[1:, 0] >= reach[:-1]])
    starts = np.flatnonzero(begins)
    lows, stops = edges[starts, 0], np.maximum.reduceat(edges[:, 1], starts)
    unused = np.full(len(lows), -1, np.int64)
    return Units(lows, stops, unused, unused.copy(), np.zeros(len(lows), bool))


def note_uses(units: Units, addresses: np.ndarray, calls: np.ndarray) -> None:
    """Note which calls speak of which addresses."""
    found = units.find(addresses)
    found, calls = found[found >= 0], calls[found >= 0]
    most = np.iinfo(np.int64).max
    first = np.full(len(units.lows), most)
    np.minimum.at(first, found, calls)
    np.maximum.at(units.last, found, calls)
    units.first = np.where(first == most, -1, first)


def share_memory(units: Units) -> tuple[np.ndarray, int]:
    """Return where in the pool each unit begins, -1 for those that stay, and the size of the pool."""
    places = np.full(len(units.lows), -1, np.int64)
    moving = np.flatnonzero(~units.stays & (units.first >= 0))
    free: list[tuple[int, int]] = []  # half-open, in their order
    living: list[tuple[int, int, int]] = []
    size = 0
    for k in moving[np.argsort(units.first[moving], kind="stable")].tolist():
        now = int(units.first[k])
        ended = [one for one in living if one[0] < now]
        if ended:
            living = [one for one in living if one[0] >= now]
            free = merge_runs(free + [(begin, end) for _, begin, end in ended])
        need = -(-int(units.stops[k] - units.lows[k]) // ALIGNED) * ALIGNED
        for j, (begin, end) in enumerate(free):
            if end - begin >= need:
                free[j : j + 1] = [(begin + need, end)] if end - begin > need else []
                break
        else:
            begin, size = size, size + need
        places[k] = begin
        living.append((int(units.last[k]), begin, begin + need))
    return places, size


def merge_runs(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return runs in their order, those that touch as one."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(runs):
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found
