"""Chains of elementwise rows keep one coefficient per element instead of one number per seed.

All of sin(z)**2 * 3 is a multiple of z. While such a chain goes on, the tangents (or cotangents) of its n elements are
n coefficients times the lanes of z: n numbers an operation, where it would take n times as many as there are lanes.
It is the elimination of vertices with one predecessor (Griewank and Walther, 2008, chapter 9);
`kernels.lanes.compress` does the same for sweeps.

Products of partials are formed before the lanes are known. Where they leave the range of the floats, and the lanes,
small or large, would have brought them back, the result is infinite or zero, as it may be in the other mode.

An address whose lanes are not written yet has a *virtual* place, beyond all of the arena.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.geometry import compact, contiguous, overlaps, reach
from numbad.ops.definition import BY_NAME
from numbad.recording.active import Active
from numbad.recording.arrays import Array, constant, filled, make_block
from numbad.sweeps.execution import seed_of
from numbad.tape.layout import ADD

if TYPE_CHECKING:
    from numbad.emission.linear import Linear, Operand

VIRTUAL = 1 << 40


class Multiple:
    """Rows of lanes that are coefficients times other rows.

    Attributes
    ----------
    first, end : int
        Their virtual places.
    sources : ndarray of int64, shape (n,)
        The places of the other rows.
    factor : recording array or ndarray of shape (n,), or number
    place : int
        Where they are in the arena once they have been written, 0 before.
    entered : ndarray of int64
        The part of the table of places where they were entered first.
    """

    __slots__ = ("end", "entered", "factor", "first", "place", "sources")

    def __init__(self, first: int, sources: np.ndarray, factor: Any, lanes: int, entered: np.ndarray) -> None:
        self.first, self.end = first, first + sources.size * lanes
        self.sources, self.factor = sources, factor
        self.place = 0
        self.entered = entered

    def move(self, places: np.ndarray) -> None:
        """Replace virtual places by those in the arena."""
        inside = (places >= self.first) & (places < self.end)
        places[inside] += self.place - self.first


class Multiples:
    """The multiples of one emission, by their virtual places."""

    def __init__(self, linear: Linear) -> None:
        self.linear = linear
        self.found: list[Multiple] = []
        self.starts: list[int] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    def at(self, place: int) -> Multiple:
        """Return the multiple to which a virtual place belongs."""
        return self.found[bisect_right(self.starts, place) - 1]

    # ------------------------------------------------------------ making them

    def factored(self, operand: Operand) -> tuple[np.ndarray, Any]:
        """Return the places of an operand's lanes, and what they are to be multiplied by: None for one.

        An operand that is a whole multiple is not read for that.
        """
        linear = self.linear
        _, address, shape, strides = operand
        places = linear.table(address, shape, strides, linear.places)
        named = compact(places)
        if not self.found or not named.size or named.max() < VIRTUAL:
            return places, None
        multiple = self.at(int(named.max()))
        own = np.arange(multiple.first, multiple.end, linear.lanes)
        if named.size != own.size or not np.array_equal(named.reshape(-1), own):
            return self.resolve(places), None
        sources = np.broadcast_to(multiple.sources.reshape(named.shape), places.shape)
        return sources, spread_factor(multiple.factor, named.shape, places.shape)

    def add(self, operand: Operand, sources: np.ndarray, factor: Any) -> None:
        """Add a multiple of rows of lanes to those of an operand."""
        linear = self.linear
        _, address, shape, strides = operand
        target = linear.table(address, shape, strides, linear.places)
        elements_meet = overlaps(shape, strides)
        if not elements_meet and target.any():
            before, other = self.factored(operand)
            if np.array_equal(before, sources):
                factor = (1.0 if other is None else other) + (1.0 if factor is None else factor)
            else:
                elements_meet = True
        if elements_meet:
            value = linear.collect(sources)
            if value is not None:
                value = value if factor is None else linear.scaled(factor, value, True)
                if value is not None:
                    linear.add(address, shape, strides, value)
        else:
            first, last = reach(address, shape, strides)
            linear.forget_blocks(first, last + 1)
            if factor is None:
                target[...] = sources
            else:
                self.enter(target, sources, factor)

    def enter(self, target: np.ndarray, sources: np.ndarray, factor: Any) -> None:
        """Enter virtual places for multiples of rows of lanes into a part of the table."""
        lanes = self.linear.lanes
        first = self.found[-1].end if self.found else VIRTUAL
        if isinstance(factor, (Array, np.ndarray)):
            factor = np.broadcast_to(factor, sources.shape).reshape(sources.size)
        multiple = Multiple(first, np.array(sources, np.int64).reshape(-1), factor, lanes, target)
        self.found.append(multiple)
        self.starts.append(first)
        target[...] = np.arange(multiple.first, multiple.end, lanes).reshape(target.shape)

    # ------------------------------------------------------------ writing them

    def resolve(self, places: np.ndarray) -> np.ndarray:
        """Return places that are all in the arena: the multiples among them are written."""
        named = compact(places)
        if named.shape != places.shape:
            return np.broadcast_to(self.resolve(named), places.shape)
        result = places.copy()
        while result.size and (most := int(result.max())) >= VIRTUAL:
            multiple = self.at(most)
            self.write(multiple)
            multiple.move(result)
        return result

    def resolve_rows(self, rows: np.ndarray) -> None:
        """Write what some scalar rows read, for which the table has to name places in the arena."""
        linear = self.linear
        offsets = rows[:, 1:].astype(np.int64).reshape(-1) - linear.base
        offsets = offsets[(offsets >= 0) & (offsets < linear.places.size)]
        offsets = offsets[linear.places[offsets] >= VIRTUAL]
        linear.places[offsets] = self.resolve(linear.places[offsets])

    def write(self, multiple: Multiple) -> None:
        """Append the row that computes the lanes of a multiple, unless that is done."""
        if multiple.place:
            return
        linear = self.linear
        lane = self.unit_lane(multiple.sources)
        value: Any
        if lane is not None:
            value = self.write_diagonal(multiple, lane)
        else:
            bar = linear.collect(multiple.sources)
            factor = multiple.factor
            value = None if bar is None else linear.scaled(factor, bar, True)
            if value is None:
                value = constant(linear.recorder, np.full((multiple.sources.size, linear.lanes), -0.0))
            value = filled(value)  # the rows must follow one another
        multiple.place = value.storage.address + value.offset
        multiple.move(multiple.entered)

    def units_of(self, operand: Operand) -> tuple[int, Operand, Any] | None:
        """Return the lane of an operand's first element if its lanes are multiples of rows of the identity matrix.

        With it come the operand as one of lanes, and the coefficients; None where it is something else.
        """
        shape = operand[2]
        sources, factor = self.factored(operand)
        named = compact(sources)
        lane = self.unit_lane(named.reshape(-1))
        if lane is None:
            return None
        steps = contiguous(named.shape)
        return lane, (0, 0, shape, tuple(s if n > 1 else 0 for s, n in zip(steps, named.shape, strict=True))), factor

    def unit_lane(self, places: np.ndarray) -> int | None:
        """Return the lane of the first of some places if they are rows of the identity matrix in order."""
        linear = self.linear
        for units in linear.units if places.size else ():
            start, rest = divmod(int(places[0]) - units.base, linear.lanes)
            if rest == 0 and 0 <= start <= units.count - places.size:
                if np.array_equal(places, np.arange(places.size) * linear.lanes + places[0]):
                    return units.lane + start
        return None

    def write_diagonal(self, multiple: Multiple, lane: int) -> Array:
        """Append a row that puts coefficients where the rows of the identity matrix have their ones."""
        linear, count = self.linear, multiple.sources.size
        recorder, factor = linear.recorder, multiple.factor
        if not isinstance(factor, Active):
            factor = constant(recorder, np.broadcast_to(np.asarray(factor, float), (count,)))
        _, space, address, strides = factor.operand((count,))
        out = recorder.allocate(count * linear.lanes)
        steps = (linear.lanes + 1,)
        recorder.structural_row(
            ADD, (count,), count * linear.lanes, out, ((0, out + lane, steps), (space, address, strides)), True
        )
        return make_block(recorder, out, (count, linear.lanes))


def spread_factor(factor: Any, short: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Return a multiple's coefficients over an index space in which some axes repeat them."""
    if not isinstance(factor, (Array, np.ndarray)):
        return factor
    return np.broadcast_to(factor.reshape(short), shape)


def multiply(partial: Any, factor: Any, may_be_absent: bool = False) -> Any:
    """Return a partial times a coefficient, None where that is absent; None as a coefficient is one.

    Coefficients are absent where they are -0.0, like cotangents; so a partial that is a number gets no -0.0.
    """
    if np.ndim(partial) and not isinstance(partial, Active):  # zeros of constants are absent
        partial, may_be_absent = seed_of(partial), True
    if isinstance(partial, Active) or np.ndim(partial):
        if factor is None:
            return partial if may_be_absent else partial + 0.0
        return BY_NAME["gate" if may_be_absent else "weigh"](partial, factor)
    value = float(partial)
    if value == 0.0:
        return None
    if factor is None:
        return value
    if isinstance(factor, float):
        return value * factor
    return factor if value == 1.0 else BY_NAME["opposite"](factor) if value == -1.0 else BY_NAME["weigh"](value, factor)
