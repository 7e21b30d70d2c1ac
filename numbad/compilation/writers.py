"""Which steps write to which addresses, and the rows that do: told of intervals, not of each address.

An address is written by one row, or belongs to a block that rows add to. So what is written are intervals apart from
one another; those that share an address, as the parts of a block that are written one after another, are one interval.
What is told of a place may be more than is true of it, never less: all of an interval is meant where a part is read.
"""

from __future__ import annotations

import bisect
import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass
class Interval:
    """Addresses that are written.

    Attributes
    ----------
    start, stop : int
        The addresses, half-open.
    first, last : int
        The first and the last step that writes to them.
    makers : list
        The rows that do.
    """

    start: int
    stop: int
    first: int
    last: int
    makers: list[Any]


class Writers:
    """The intervals that were written so far.

    Attributes
    ----------
    starts : list of int
        Where they begin, in ascending order.
    intervals : list of Interval
        In the same order.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.intervals: list[Interval] = []

    def note(self, start: int, stop: int, step: int, makers: list[Any]) -> None:
        """Note that a step writes to some of the addresses from `start` up to `stop`, and the rows that do."""
        if stop <= start:
            return
        low, high = self.find(start, stop)
        found = self.intervals[low:high]
        whole = found[0] if found else Interval(start, stop, step, step, [])
        for one in [*found[1:], Interval(start, stop, step, step, makers)]:
            whole.start, whole.stop = min(whole.start, one.start), max(whole.stop, one.stop)
            whole.first, whole.last = min(whole.first, one.first), max(whole.last, one.last)
            whole.makers.extend(one.makers)
        self.starts[low:high], self.intervals[low:high] = [whole.start], [whole]

    def find(self, start: int, stop: int) -> tuple[int, int]:
        """Return the numbers, half-open, of the intervals that have addresses from `start` up to `stop`."""
        low = bisect.bisect_right(self.starts, start)
        if low and self.intervals[low - 1].stop > start:
            low -= 1
        return low, max(low, bisect.bisect_left(self.starts, stop))

    def last(self, start: int, stop: int) -> int:
        """Return the last step that writes to any of the addresses; -1 if none does."""
        low, high = self.find(start, stop)
        return max((one.last for one in self.intervals[low:high]), default=-1)

    def read(self, start: int, stop: int) -> tuple[int, int, list[Any]]:
        """Return the first and the last step that writes to the addresses, and the rows that do.

        The first is -1 where some of the addresses are not written.
        """
        low, high = self.find(start, stop)
        found = self.intervals[low:high]
        if not found:
            return -1, -1, []
        whole = len(found) == 1 and found[0].start <= start and stop <= found[0].stop
        first = found[0].first if whole else -1
        return first, max(one.last for one in found), [maker for one in found for maker in one.makers]

    def read_listed(self, listed: np.ndarray) -> tuple[int, list[Any]]:
        """Return the last step that writes to any of some addresses, and the rows that do."""
        if not len(listed) or not self.starts:
            return -1, []
        numbers = np.searchsorted(self.starts, listed, "right") - 1
        found = []
        for k in np.unique(numbers[numbers >= 0]).tolist():
            one = self.intervals[k]
            if (listed[numbers == k] < one.stop).any():
                found.append(one)
        return max((one.last for one in found), default=-1), [maker for one in found for maker in one.makers]

    def around(self, address: int) -> tuple[int, int]:
        """Return the first and the last address of the interval that has an address; the address itself if none has."""
        low, high = self.find(address, address + 1)
        return (self.intervals[low].start, self.intervals[low].stop - 1) if low < high else (address, address)

    def cover(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Return of runs of addresses whether all of them are written."""
        if not self.starts:
            return np.zeros(len(starts), bool)
        ends = np.array([one.stop for one in self.intervals])
        begins = np.array(self.starts)
        # Intervals that touch are as one.
        joined = np.concatenate([[0], np.cumsum(begins[1:] != ends[:-1])])
        last_of = np.append(np.flatnonzero(np.diff(joined)), len(ends) - 1)
        at = np.searchsorted(begins, starts, "right") - 1
        return (at >= 0) & (stops <= ends[last_of[joined[np.maximum(at, 0)]]])
