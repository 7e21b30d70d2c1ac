"""Rows over arrays put into groups: what one loop nest computes, going forward and back.

Rows of one index space that depend on one another element by element are a group, also where other rows lie between
them, and where one repeats elements that another has apart: an index space is split into axes until all of them fit.
What only a group itself reads stays in registers, and is computed again going back, unless that is expensive: the trade
of Griewank and Walther (2008, chapter 12), within one iteration of a loop.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from numbad.compilation.places import Place, common_shape, drop_ones, find_rectangles
from numbad.compilation.writers import Writers
from numbad.geometry import Shape, table_of
from numbad.kernels import number_texts
from numbad.limits import GROUPED_ROWS, MOST_AXES, NEAR_GROUPS, PRODUCT_WORTH, SHORT_AXIS
from numbad.ops.definition import REGISTRY, Op
from numbad.ops.texts import dependencies
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    host_places,
    is_absent_sum,
    is_product,
    row_cleared,
    row_elements,
    row_operands,
    row_shape,
    scatter_block,
    scatter_places,
    scatter_source,
)

NOWHERE = Place(0, 0, ())


@dataclasses.dataclass
class Member:
    """A row of a group.

    Attributes
    ----------
    row : int
        Its number on the tape.
    opcode : int
        Of an op; or ADD, CONTRACT, GUARD, GUARD_VALUE.
    out : Place
        What it writes, or adds to.
    operands : list of Place
        What it reads.
    active : int
        Bits 1 and 2: which operands depend on what is differentiated by.
    truth : bool
        What a guard was when it was recorded.
    adds : bool
        Whether it adds to what it writes.
    sources : list of int
        The member that computes each operand, -1 for what is in memory.
    stored : bool
        Whether its result is in memory after the group.
    """

    row: int
    opcode: int
    out: Place
    operands: list[Place]
    active: int = 0
    truth: bool = False
    adds: bool = False
    sources: list[int] = dataclasses.field(default_factory=list)
    stored: bool = False

    @property
    def op(self) -> Op:
        """The op of an elementwise row."""
        return REGISTRY[self.opcode]

    @property
    def is_guard(self) -> bool:
        """Whether it computes nothing."""
        return self.opcode in (GUARD, GUARD_VALUE)

    @property
    def is_expensive(self) -> bool:
        """Whether it calls a function of a library."""
        return self.opcode < MAP and is_expensive(self.opcode)

    def is_alike(self, shape: Shape) -> bool:
        """Whether it does the same for each element of an index space, which follow one another in all its places."""
        return not self.is_guard and all(place.step(shape) is not None for place in (self.out, *self.operands))


@dataclasses.dataclass
class Group:
    """Rows over one index space.

    Attributes
    ----------
    shape : tuple of int
        The lengths of the axes, none of them 1.
    members : list of Member
        In the order of the tape.
    is_open : bool
        Whether more rows may join.
    is_alike : bool
        Whether all rows do the same for each element, one after the other: such groups may be long (see `lanes`).
    is_expensive : bool
        Whether a row calls a function of a library.
    """

    shape: Shape
    members: list[Member]
    is_open: bool = True
    is_alike: bool = True
    is_expensive: bool = False
    outputs: dict[Place, int] = dataclasses.field(default_factory=dict)

    @property
    def is_long(self) -> bool:
        """Whether it has more rows than one loop nest may have."""
        return len(self.members) > GROUPED_ROWS

    def split(self, shape: Shape) -> None:
        """Take the axes apart."""
        if shape == self.shape:
            return
        for member in self.members:
            member.out = member.out.split(self.shape, shape)
            member.operands = [place.split(self.shape, shape) for place in member.operands]
        self.outputs = {place.split(self.shape, shape): k for place, k in self.outputs.items()}
        self.shape = shape

    def append(self, member: Member) -> None:
        """Add a row, whose places are over the index space of the group."""
        member.sources = [self.outputs.get(place, -1) for place in member.operands]
        if not member.adds and not member.is_guard:
            self.outputs[member.out] = len(self.members)
        self.is_alike = self.is_alike and bool(self.shape) and member.is_alike(self.shape)
        self.is_expensive = self.is_expensive or member.is_expensive
        self.members.append(member)

    def cut(self) -> list[Group]:
        """Return the rows as groups that loop nests can be written of."""
        parts = []
        for start in range(0, len(self.members), GROUPED_ROWS):
            part = Group(self.shape, [], False)
            for member in self.members[start : start + GROUPED_ROWS]:
                for source in member.sources:
                    if 0 <= source < start:
                        self.members[source].stored = True
                part.append(member)
            parts.append(part)
        return parts


@dataclasses.dataclass
class Listing:
    """Elements at listed addresses: read into a block, or added to it.

    Attributes
    ----------
    row, w : int
        The row, and where its words begin.
    gathers : bool
        Whether the block is written; else it is added to, at the listed places.
    block, other : Place
        The first element of the block, and of what is read of it or added to it.
    count : int
        How many addresses there are.
    active : int
    """

    row: int
    w: int
    gathers: bool
    block: Place
    other: Place
    count: int
    active: int


@dataclasses.dataclass
class Extreme:
    """The largest, or smallest, of every so many elements of a block.

    Attributes
    ----------
    row : int
    greatest : bool
    length : int
        How many elements each is one of.
    source, out : Place
        The first element of the block, and of the results.
    count : int
        How many results there are.
    active : int
    """

    row: int
    greatest: bool
    length: int
    source: Place
    out: Place
    count: int
    active: int


@dataclasses.dataclass
class Stop:
    """A row that is computed outside of groups: a product of matrices, or Python's.

    Attributes
    ----------
    row, opcode, w : int
    active : int
    fresh : tuple of bool
        Of the result and of the cotangents of both factors of a product: whether they are set, and not added to.
    """

    row: int
    opcode: int
    w: int
    active: int
    fresh: tuple[bool, bool, bool] = (False, False, False)


@dataclasses.dataclass
class Fill:
    """A block that is set to zero before rows add to it; `absent` says to -0.0."""

    place: Place
    count: int
    absent: bool


Step = Group | Listing | Extreme | Stop


class Grouping:
    """Forms groups, row by row.

    Parameters
    ----------
    code, words : ndarray
        The rows.
    flags : ndarray of uint8
        For each row, which operands depend on what is differentiated by.
    varied : dict of int to ndarray
        For each row of a list whose places are new at each run, the addresses that they may be.
    extremes : dict of int to (bool, int)
        For each row of Python's that finds extremes along the last axis, whether they are the largest, and its length.
    long : bool
        Whether groups whose rows do the same for each element may have more rows than a loop nest.

    Attributes
    ----------
    steps : list of Group, Listing, Extreme or Stop
        In an order in which they can run.
    fills : list of Fill
        What is set to zero before the first of them.
    """

    def __init__(
        self,
        code: np.ndarray,
        words: np.ndarray,
        flags: np.ndarray,
        varied: dict[int, np.ndarray],
        extremes: dict[int, tuple[bool, int]] | None = None,
        long: bool = False,
    ) -> None:
        self.words, self.flags, self.varied, self.long = words, flags, varied, long
        self.extremes = extremes or {}
        self.steps: list[Step] = []
        self.fills: list[Fill] = []
        self.writers = Writers()
        self.last_guard = -1  # the step of the last guard: one that does not hold is the first on the tape
        for row, (opcode, out, a, b) in enumerate(code.tolist()):
            self.take(row, opcode, out, a, b)

    # ------------------------------------------------------------ rows

    def take(self, row: int, opcode: int, out: int, a: int, b: int) -> None:
        """Take the next row."""
        active = int(self.flags[row])
        if opcode < MAP:
            operands = [Place(0, a, ()), Place(0, b, ())][: REGISTRY[opcode].arity]
            self.join((), Member(row, opcode, Place(0, out, ()), operands, active))
        elif opcode == GUARD:
            self.join((), Member(row, opcode, NOWHERE, [Place(0, a, ())], truth=bool(out)))
        elif opcode == GUARD_VALUE:
            self.join((), Member(row, opcode, NOWHERE, [Place(0, a, ()), Place(0, out, ())]))
        elif opcode == GATHER:
            self.take_list(row, out, a, active)
        elif opcode == SCATTER:
            self.scatter(row, out, a, active)
        elif row in self.extremes:
            self.take_extreme(row, a, active)
        elif opcode == HOST or (opcode == CONTRACT and is_worth_a_function(self.words, a)):
            self.stop(row, opcode, out, a, active)
        else:
            self.take_space(row, opcode, out, a, active)

    def take_space(self, row: int, opcode: int, out: int, w: int, active: int) -> None:
        """Take a row over an index space."""
        words = self.words
        shape, places = drop_ones(row_shape(words, w), [Place(*place) for place in row_operands(words, w)])
        cleared = 0 if opcode < 2 * MAP else int(row_cleared(words, w))
        empty = not row_elements(words, w)
        if opcode < 2 * MAP:
            if not empty:
                self.join(shape, Member(row, opcode - MAP, places[0], places[1:], active))
            return
        sets = opcode == ADD and cleared and not empty and places[0].is_block(shape)
        sets = sets and cleared == math.prod(shape) and places[0].reach(shape)[0] == out
        absent = opcode == ADD and (is_absent_sum(words, w) or places[0].has_elements(shape, cleared))
        if cleared and not (sets and absent):
            self.fill(out, cleared, absent)
        if not empty:
            self.join(shape, Member(row, opcode, places[0], places[1:], active, adds=not (sets and absent)))

    def fill(self, out: int, count: int, absent: bool) -> None:
        """Set a block to zero before all steps: nothing else writes to it before rows add to it."""
        self.fills.append(Fill(Place(0, out, (1,)), count, absent))

    def take_list(self, row: int, out: int, w: int, active: int) -> None:
        """Take a row that reads listed addresses."""
        listed = np.asarray(gather_places(self.words, w))
        if not listed.size:
            return
        varied = self.varied.get(row)
        rectangles = find_rectangles(listed) if varied is None else None
        self.note_reads(listed if varied is None else varied)
        if rectangles is None:
            self.append(Listing(row, w, True, Place(0, out, (1,)), Place(0, 0, (1,)), listed.size, active), out)
            return
        for part in rectangles:
            target, source = Place(0, out + part.start, part.steps), Place(0, part.address, part.strides)
            self.copy(row, part.shape, target, source, active, False)

    def scatter(self, row: int, out: int, w: int, active: int) -> None:
        """Take a row that adds to listed places of a block."""
        words = self.words
        space, source, count = scatter_source(words, w)
        self.fill(out, int(scatter_block(words, w)), False)
        if not count:
            return
        listed = out + np.asarray(scatter_places(words, w))
        rectangles = find_rectangles(listed)
        apart = np.count_nonzero(table_of(listed - out, int(scatter_block(words, w)))) == len(listed)
        self.note_place(Place(space, source, (1,)), (count,))
        if rectangles is None or not apart:
            step = Listing(row, w, False, Place(0, out, (1,)), Place(space, source, (1,)), count, active)
            self.append(step, out, int(scatter_block(words, w)))
            return
        for part in rectangles:
            target, given = Place(0, part.address, part.strides), Place(space, source + part.start, part.steps)
            self.copy(row, part.shape, target, given, active, True)

    def copy(self, row: int, shape: Shape, target: Place, source: Place, active: int, adds: bool) -> None:
        """Append a group that copies a rectangle, or adds it."""
        member = Member(row, ADD, target, [source], active, adds=adds, stored=True)
        group = Group(shape, [], is_open=False)
        group.append(member)
        self.steps.append(group)
        self.note_write(member, shape, len(self.steps) - 1)

    def stop(self, row: int, opcode: int, out: int, w: int, active: int) -> None:
        """Take a row that is computed outside of groups."""
        if opcode == HOST:
            read, made = host_places(self.words, w)
            for space, first, count in read:
                self.note_place(Place(space, first, (1,)), (count,))
            self.steps.append(Stop(row, opcode, w, active))
            for _, first, count in made:
                self.writers.note(first, first + count, len(self.steps) - 1, [])
            return
        shape = row_shape(self.words, w)
        target, *factors = [Place(*place) for place in row_operands(self.words, w)]
        for factor in factors:
            self.note_place(factor, shape)
        cleared = int(row_cleared(self.words, w))
        sets = bool(cleared) and not is_product(self.words, w) and target.has_elements(shape, cleared)
        sets = sets and target_is_block(shape, target)
        if cleared and not sets:
            self.fill(out, cleared, False)
        self.steps.append(Stop(row, opcode, w, active, (sets, False, False)))
        low, high = target.reach(shape)
        self.writers.note(low, high + 1, len(self.steps) - 1, [])

    def take_extreme(self, row: int, w: int, active: int) -> None:
        """Take a row that finds extremes along the last axis."""
        greatest, length = self.extremes[row]
        ((space, first, size),), ((_, out, count),) = host_places(self.words, w)
        source = Place(space, first, (1,))
        self.note_place(source, (size,))
        self.append(Extreme(row, greatest, length, source, Place(0, out, (1,)), count, active), out)

    def append(self, step: Listing | Extreme, out: int, count: int = 0) -> None:
        """Append a step that writes a block, of as many elements as the list unless it is said."""
        self.steps.append(step)
        count = count or step.count
        self.writers.note(out, out + count, len(self.steps) - 1, [])

    # ------------------------------------------------------------ joining

    def join(self, shape: Shape, member: Member) -> None:
        """Let a row join a group that runs when what it reads is there, or begin one."""
        writers = [self.last_writer(place, shape) for place in member.operands]
        earliest = max(writers, default=-1)
        if member.adds:
            earliest = max(earliest, self.last_writer(member.out, shape) + 1)
        if member.is_guard:
            earliest = max(earliest, self.last_guard)
        near = max(0, len(self.steps) - NEAR_GROUPS, earliest)
        for k in range(near, len(self.steps)):
            if self.accepts(k, shape, member, writers):
                self.enter(k, shape, member)
                return
        self.steps.append(Group(shape, []))
        self.enter(len(self.steps) - 1, shape, member)

    def accepts(self, k: int, shape: Shape, member: Member, writers: list[int]) -> bool:
        """Whether a row may join a step: what it reads of the step's own results it reads element by element."""
        group = self.steps[k]
        if not isinstance(group, Group) or not group.is_open:
            return False
        if len(group.members) >= GROUPED_ROWS and not (self.long and group.is_alike and member.is_alike(shape)):
            return False
        if bool(shape) != bool(group.shape) or math.prod(shape) != math.prod(group.shape):
            return False
        common = common_shape(shape, group.shape)
        if common is None or len(common) > MOST_AXES:
            return False
        short = common and common[-1] < min(SHORT_AXIS, max(shape[-1], group.shape[-1]))
        if short and (group.is_expensive or member.is_expensive):
            return False  # such functions are computed by vectors over longer runs
        for place, writer in zip(member.operands, writers):
            if writer == k:
                outputs = group.outputs
                if common != group.shape:
                    outputs = {one.split(group.shape, common): j for one, j in outputs.items()}
                if place.split(shape, common) not in outputs:
                    return False
        return True

    def enter(self, k: int, shape: Shape, member: Member) -> None:
        """Put a row into a group."""
        group = self.steps[k]
        assert isinstance(group, Group)
        if member.is_guard:
            self.last_guard = k
        for place in member.operands:
            self.note_place(place, shape, k)
        common = common_shape(shape, group.shape)
        assert common is not None
        group.split(common)
        self.note_write(member, shape, k)
        member.out = member.out.split(shape, common) if not member.is_guard else NOWHERE
        member.operands = [place.split(shape, common) for place in member.operands]
        member.stored = member.adds
        group.append(member)

    # ------------------------------------------------------------ who writes what

    def last_writer(self, place: Place, shape: Shape) -> int:
        """Return the last step that writes to a place; -1 if none does."""
        low, high = place.reach(shape)
        return -1 if place.space else self.writers.last(low, high + 1)

    def note_write(self, member: Member, shape: Shape, k: int) -> None:
        """Note that a member of a step writes to its place."""
        if not member.is_guard:
            low, high = member.out.reach(shape)
            self.writers.note(low, high + 1, k, [] if member.adds else [member])  # what adds is stored

    def note_place(self, place: Place, shape: Shape, reader: int = -1) -> None:
        """Note that a place is read, by a step that is not its own: what it reads of other steps is stored."""
        low, high = place.reach(shape)
        if place.space or high < low:
            return
        first, last, makers = self.writers.read(low, high + 1)
        if last != reader or first != reader:
            for member in makers:
                member.stored = True

    def note_reads(self, listed: np.ndarray) -> None:
        """Note that listed addresses are read."""
        for member in self.writers.read_listed(listed)[1]:
            member.stored = True


def is_worth_a_function(words: Any, w: int) -> bool:
    """Whether a CONTRACT row is left to functions for products of matrices."""
    return bool(is_product(words, w)) or int(row_elements(words, w)) > PRODUCT_WORTH


def target_is_block(shape: Shape, place: Place) -> bool:
    """Whether a place, its repetitions apart, is all from the first address to the last, each once."""
    kept = [axis for axis, step in enumerate(place.strides) if step]
    once = Place(place.space, place.address, tuple(place.strides[axis] for axis in kept))
    return once.is_block(tuple(shape[axis] for axis in kept))


@functools.cache
def is_expensive(opcode: int) -> bool:
    """Whether an op calls a function of a library: its result is kept for the way back."""
    return "declare double @" in (number_texts.find(f"value_{REGISTRY[opcode].name}") or "").replace("@llvm.", "")


def keep_for_back(steps: list[Step]) -> None:
    """Let results be stored that going back reads and that take long to compute."""
    for group in steps:
        if not isinstance(group, Group) or not group.shape:
            continue
        needed: set[int] = set()
        for k in range(len(group.members) - 1, -1, -1):
            member = group.members[k]
            if member.opcode >= MAP:
                if member.opcode == CONTRACT and member.active:
                    needed.update(source for source in member.sources if source >= 0)
                continue
            bits = read_bits(member)
            needed.update(s for s, bit in zip(member.sources, (1, 2)) if s >= 0 and bits & bit)
            if bits & 4:
                needed.add(k)
        mark_kept(group, needed)


def mark_kept(group: Group, needed: set[int]) -> None:
    """Store results that going back needs if they are expensive; else what they are computed of that is."""
    waiting = np.zeros(len(group.members), bool)
    waiting[list(needed)] = True
    for k in range(len(group.members) - 1, -1, -1):
        member = group.members[k]
        if not waiting[k] or member.stored:
            continue
        if member.is_expensive:
            member.stored = True
            continue
        waiting[[source for source in member.sources if source >= 0]] = True


def read_bits(member: Member) -> int:
    """Return on which of x, y and z (bits 1, 2 and 4) the slopes depend that going back computes of a row."""
    bits = int(dependencies()[member.opcode])
    return (bits & 7 if member.active & 1 else 0) | (bits >> 3 if member.active & 2 else 0)
