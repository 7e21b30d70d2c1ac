"""Cotangents that a loop walks by: each is read and written once, and handed on in registers in between.

An iteration of `for i in ...: total += (x[i + 1] - x[i]) ** 2` adds to the cotangents of two inputs that lie next to
each other. Going back, the one at distance 1 is that which the iteration before met at distance 0. So a *window* moves
over the cotangents: what comes in at distance 0 is read, the others are handed on, and what leaves is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from numbad.compilation.operands import Operand

DEEPEST = 8  # registers that a window may take


class Stream(NamedTuple):
    """Where cotangents are that an operand walks by: the memory, the first place, and the step."""

    base: str
    first: int
    step: int

    def ends(self, count: int) -> tuple[int, int]:
        """Return the lowest and the highest place."""
        last = self.first + self.step * (count - 1)
        return min(self.first, last), max(self.first, last)


class Window(NamedTuple):
    """Streams of one step, of which each is some iterations behind the first.

    Attributes
    ----------
    base, first, step
        As of the first stream: what it meets in an iteration, the others meet in earlier ones.
    depth : int
        How many iterations the last is behind it.
    """

    base: str
    first: int
    step: int
    depth: int

    @property
    def behind(self) -> range:
        """The distances at which cotangents are handed on."""
        return range(1, self.depth + 1)

    def place(self, turn: int, distance: int) -> int:
        """Return the place at a distance in an iteration."""
        return self.first + self.step * (turn + distance)

    def stream(self, distance: int) -> Stream:
        """Return what walks by at a distance."""
        return Stream(self.base, self.place(0, distance), self.step)


def find_windows(streams: Mapping[Operand, Stream], count: int) -> dict[Stream, tuple[Window, int]]:
    """Return for streams of a loop with so many iterations their windows, and the distances in them.

    A stream has none where another meets the same places otherwise: it then has to find them in memory.
    """
    outside = {stream for operand, stream in streams.items() if not operand.is_own and stream.step}
    groups: dict[tuple[str, int, int], list[Stream]] = {}
    for stream in outside:
        groups.setdefault((stream.base, stream.step, stream.first % stream.step), []).append(stream)
    found = {}
    for (base, step, _), group in groups.items():
        first = min(group, key=lambda stream: stream.first * (1 if step > 0 else -1)).first
        distances = {stream: (stream.first - first) // step for stream in group}
        window = Window(base, first, step, max(distances.values()))
        if window.depth > min(DEEPEST, count - 1):
            continue
        others = {stream for stream in streams.values() if stream.base == base}.difference(group)
        if not any(meet(stream, window, count) for stream in others):
            found.update({stream: (window, distance) for stream, distance in distances.items()})
    return found


def meet(stream: Stream, window: Window, count: int) -> bool:
    """Whether a stream may meet places of a window."""
    if stream.step == window.step and (stream.first - window.first) % window.step:
        return False
    low, high = stream.ends(count)
    lowest, highest = window.stream(0).ends(count + window.depth)
    return low <= highest and high >= lowest
