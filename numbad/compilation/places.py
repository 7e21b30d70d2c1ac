"""Where rows over arrays read and write: strided places, index spaces that fit together, and lists as rectangles."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from numbad.geometry import Shape, overlaps, reach
from numbad.limits import FEW_RECTANGLES


@dataclasses.dataclass(frozen=True)
class Place:
    """A strided view of memory over an index space.

    Attributes
    ----------
    space, address : int
        The space, and the address of the first element in it.
    strides : tuple of int
        How far it steps along each axis, in elements.
    """

    space: int
    address: int
    strides: Shape

    def reach(self, shape: Shape) -> tuple[int, int]:
        """Return the first and the last address."""
        return reach(self.address, shape, self.strides)

    def meets(self, other: Place, shape: Shape) -> bool:
        """Whether two places over an index space may share an address; False is certain."""
        (low, high), (first, last) = self.reach(shape), other.reach(shape)
        return self.space == other.space and low <= last and first <= high

    def names_each(self, shape: Shape) -> bool:
        """Whether all elements have addresses of their own."""
        return not overlaps(shape, self.strides)

    def has_elements(self, shape: Shape, count: int) -> bool:
        """Whether there are `count` elements, repetitions along axes without a step apart."""
        once = (length for length, step in zip(shape, self.strides) if step)
        return math.prod(once) == count and 0 not in shape

    def is_block(self, shape: Shape) -> bool:
        """Whether the addresses are all from the first to the last, each once."""
        low, high = self.reach(shape)
        return self.names_each(shape) and high - low + 1 == math.prod(shape)

    def step(self, shape: Shape) -> int | None:
        """Return how far it steps from each element of an index space to the next; None if not always as far."""
        if not self.strides:
            return None
        step, inner = self.strides[-1], shape[-1]
        for length, stride in zip(shape[-2::-1], self.strides[-2::-1]):
            if stride != step * inner:
                return None
            inner *= length
        return step

    def split(self, shape: Shape, wanted: Shape) -> Place:
        """Return the same place over an index space whose axes are parts of those that it has."""
        return Place(self.space, self.address, split_strides(shape, self.strides, wanted))


def split_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape:
    """Return strides over axes that are parts of others; axes of one element are left out of both shapes."""
    found, parts = [], list(wanted)
    for length, stride in zip(reversed(shape), reversed(strides)):
        done = 1
        while done < length:
            found.append(stride * done)
            done *= parts.pop()
    return tuple(reversed(found))


def drop_ones(shape: Shape, places: list[Place]) -> tuple[Shape, list[Place]]:
    """Leave out axes of one element."""
    kept = [axis for axis, length in enumerate(shape) if length != 1]
    if len(kept) == len(shape):
        return shape, places
    return tuple(shape[axis] for axis in kept), [
        Place(place.space, place.address, tuple(place.strides[axis] for axis in kept)) for place in places
    ]


def common_shape(one: Shape, other: Shape) -> Shape | None:
    """Return the index space with the fewest axes of which those of both are made; None if there is none."""
    if one == other:
        return one
    marks = sorted(
        {*itertools.accumulate(reversed(one), int.__mul__), *itertools.accumulate(reversed(other), int.__mul__)}
    )
    lengths, before = [], 1
    for mark in marks:
        if mark % before:
            return None
        lengths.append(mark // before)
        before = mark
    return tuple(reversed(lengths))


@dataclasses.dataclass(frozen=True)
class Rectangle:
    """A part of a list that steps evenly along one or two axes: element `start` of it, and from there on.

    Attributes
    ----------
    start, address : int
        The position in the list of its first element, and the address there.
    shape, steps, strides : tuple of int
        How many elements it has along each axis, and how far it moves in the list and in memory.
    """

    start: int
    address: int
    shape: Shape
    steps: Shape
    strides: Shape


def find_rectangles(listed: np.ndarray) -> list[Rectangle] | None:
    """Return a list of addresses as rectangles; None where so many would be needed that the list is shorter.

    Runs are cut where the step changes; equal runs that follow one another at equal distances are one rectangle.
    """
    starts, lengths, steps = find_runs(listed)
    if len(starts) > max(FEW_RECTANGLES, len(listed) // 8):
        return None
    groups: dict[tuple[int, int], list[int]] = {}
    for k, key in enumerate(zip(lengths.tolist(), steps.tolist())):
        groups.setdefault(key, []).append(k)
    found = []
    for (length, step), members in groups.items():
        at = starts[members]
        for first, count, by, stride in join_runs(at, listed[at]):
            shape, walks, strides = (count, length), (by, 1), (stride, step)
            kept = [axis for axis in range(2) if shape[axis] > 1]
            parts = (tuple(part[axis] for axis in kept) for part in (shape, walks, strides))
            found.append(Rectangle(int(first), int(listed[first]), *parts))
    return found if len(found) <= max(FEW_RECTANGLES, len(listed) // 32) else None


def find_runs(listed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where runs of even steps begin in a list, their lengths and steps: of neighbours where there are."""
    count = len(listed)
    differences = np.diff(listed)
    starts = np.concatenate([[0], np.flatnonzero(differences != 1) + 1])
    if 2 * len(starts) > count:
        starts = np.array(cut_where_steps_change(differences))
    lengths = np.diff(np.append(starts, count))
    steps = np.where(lengths > 1, differences[np.minimum(starts, max(count - 2, 0))] if count > 1 else 0, 0)
    return starts, lengths, steps


def cut_where_steps_change(differences: np.ndarray) -> list[int]:
    """Return where runs of even steps begin."""
    cuts, place, last = [0], 0, len(differences)
    for edge in (np.flatnonzero(np.diff(differences)) + 1).tolist():
        if edge > place and edge < last:  # the element at the edge ends its run
            place = edge + 1
            cuts.append(place)
    return cuts


def join_runs(starts: np.ndarray, addresses: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return equal runs as (first position, how many, distance in the list, distance in memory)."""
    found, k, total = [], 0, len(starts)
    walks, strides = np.diff(starts), np.diff(addresses)
    even = (walks[1:] == walks[:-1]) & (strides[1:] == strides[:-1]) if total > 2 else np.zeros(0, bool)
    ends = np.append(np.flatnonzero(~even) + 2, total)  # a series that begins before such a place ends there
    while k < total:
        if k + 1 == total:
            found.append((starts[k], 1, 0, 0))
            break
        stop = int(ends[np.searchsorted(ends, k + 2)]) if k + 2 <= ends[-1] else total
        found.append((starts[k], stop - k, int(walks[k]), int(strides[k])))
        k = stop
    return found
