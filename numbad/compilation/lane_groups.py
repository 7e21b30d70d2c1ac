"""A long group as a program of numbers at each lane, and what its function is given."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from numbad.compilation.grouping import Group, Member
from numbad.compilation.lanes import LaneKernel, LaneWriter, is_short
from numbad.compilation.nests import Pull
from numbad.compilation.places import Place
from numbad.compilation.scalar_program import CONSTANT, GIVEN, RESULT, ScalarProgram, X, Y, Z, read_back
from numbad.ops.definition import BY_NAME
from numbad.tape.layout import ADD, CONTRACT

WORTH_MOVING = 8  # rows for each number that is moved into a block or out of it

# What rows compute that add to memory, or copy.
TERMS = {ADD: BY_NAME["identity"].opcode, CONTRACT: BY_NAME["multiply"].opcode}


@dataclasses.dataclass
class LaneCall:
    """A function of lanes, and the places that it is given.

    Attributes
    ----------
    kernel : LaneKernel
    values, bars : list of (Place, int)
        What is read and written, and the cotangents that are read and added to: each with its place in the block.
    """

    kernel: LaneKernel
    values: list[tuple[Place, int]]
    bars: list[tuple[Place, int]]


class Reading:
    """The rows of a long group, as the compiler of numbers takes them.

    Parameters
    ----------
    group : Group
    constant : ndarray of bool
        Which addresses of the arena hold constants.
    values : ndarray of float64
        What these are.

    Attributes
    ----------
    given, constants : dict
        The numbers of the places that are read, and of constants by their addresses; each in the order of the rows.
    """

    def __init__(self, group: Group, constant: np.ndarray, values: np.ndarray) -> None:
        self.group, self.constant, self.values = group, constant, values
        self.given: dict[Place, int] = {}
        self.constants: dict[int, int] = {}
        count = len(group.members)
        self.opcodes = np.array([TERMS.get(one.opcode, one.opcode) for one in group.members], np.int16)
        self.numbers, self.kinds = np.zeros((2, count), np.int64), np.zeros((2, count), np.int8)
        for k, member in enumerate(group.members):
            for which, (source, place) in enumerate(zip(member.sources, member.operands)):
                self.kinds[which, k], self.numbers[which, k] = self.read(source, place)

    def read(self, source: int, place: Place) -> tuple[int, int]:
        """Return the kind of an operand, and its number among those of its kind."""
        if source >= 0:
            return RESULT, source
        if place.space == 0 and self.constant[place.address] and not any(place.strides):
            return CONSTANT, self.constants.setdefault(place.address, len(self.constants))
        return GIVEN, self.given.setdefault(place, len(self.given))

    @property
    def constant_values(self) -> np.ndarray:
        """The constants, in the order in which they are numbered."""
        return self.values[list(self.constants)]

    def suits(self) -> bool:
        """Whether lanes are better than loop nests, and LLVM can take the code.

        Each number that is read or written is moved into a block or out of it: that has to be worth some rows.
        """
        every = np.ones(len(self.group.members), bool)
        moved = len(self.given) + sum(member.stored and not member.adds for member in self.group.members)
        return len(every) >= WORTH_MOVING * moved and is_short(self.make_program([], every))

    def make_program(self, results: list[int], forward: np.ndarray, pulled: Pulled | None = None) -> ScalarProgram:
        """Return the program of some results; `forward` says which rows it computes."""
        count, first = len(self.group.members), 1 + len(self.given) + len(self.constants)
        start = np.array([0, 1, 1 + len(self.given), first])
        values = np.zeros(first)
        values[start[CONSTANT] : first] = self.constant_values
        none = np.zeros(count, bool)
        return ScalarProgram(
            opcodes=self.opcodes,
            operands=np.where(self.kinds > 0, start[self.kinds] + self.numbers, 0),
            kinds=self.kinds,
            truths=none,
            forward=forward,
            back=none if pulled is None else pulled.back,
            carries=np.stack([none, none]) if pulled is None else pulled.carries,
            needs=np.where(none if pulled is None else pulled.back, 7, 0).astype(np.uint8),
            partials=np.zeros((2, count)),
            bar=np.full(first + count, -0.0),
            values=values,
            inputs=[(1, len(self.given))],
            outputs=[first + np.array(results, np.int64)],
            first=first,
            rows=np.array([member.row for member in self.group.members]),
            gradient=pulled is not None,
        )


@dataclasses.dataclass
class Pulled:
    """Which rows go back, which operands they add to, and which rows are computed for that, or read from memory."""

    back: np.ndarray
    carries: np.ndarray
    computed: np.ndarray
    known: np.ndarray


def find_pulled(reading: Reading, pull: Pull) -> Pulled:
    """Return what going back from the cotangents of some members to some targets takes."""
    members, count = reading.group.members, len(reading.group.members)
    targets = set(pull.targets)
    leads, carries = np.zeros(count, bool), np.zeros((2, count), bool)
    for k, member in enumerate(members):
        for j, (source, place) in enumerate(zip(member.sources, member.operands)):
            carries[j, k] = member.active & (j + 1) and (leads[source] if source >= 0 else place in targets)
        leads[k] = carries[:, k].any()
    reached, needed = np.zeros(count, bool), np.zeros(count, bool)
    reached[list(pull.bars)] = True
    for k in range(count - 1, -1, -1):
        member = members[k]
        reached[k] &= leads[k]
        for j, source in enumerate(member.sources):
            if source >= 0 and carries[j, k] and reached[k]:
                reached[source] = True
    bits = read_back(reading.opcodes, carries, reached)
    for k in np.flatnonzero(reached).tolist():
        for source, bit in zip(members[k].sources, (X, Y)):
            if source >= 0 and bits[k] & bit:
                needed[source] = True
        needed[k] |= bool(bits[k] & Z)
    kept = np.array([is_kept(member) for member in members], bool)
    needed = spread(reading.group, needed, kept)
    return Pulled(reached, carries & reached, needed & ~kept, needed & kept)


def is_kept(member: Member) -> bool:
    """Whether a result is read going back, and not computed again."""
    return member.stored and member.is_expensive


def spread(group: Group, needed: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return some rows and all that they are computed of, but for what is kept."""
    found = needed.copy()
    for k in range(len(found) - 1, -1, -1):
        if found[k] and not kept[k]:
            for source in group.members[k].sources:
                if source >= 0:
                    found[source] = True
    return found


def write_lanes(reading: Reading, pull: Pull | None = None) -> LaneCall:
    """Return the function of a long group, going forward or back; raise `Uncompilable` where there can be none."""
    group = reading.group
    members, count = group.members, math.prod(group.shape)
    if pull is None:
        stored = [k for k, member in enumerate(members) if member.stored and not member.adds]
        sums = [k for k, member in enumerate(members) if member.adds]
        wanted = np.zeros(len(members), bool)
        wanted[stored + sums] = True
        program = reading.make_program(stored + sums, spread(group, wanted, np.zeros(len(members), bool)))
        kernel = LaneWriter(program, count, np.zeros(0, np.int64)).write(len(stored), 0, len(sums))
        results = [(members[k].out, int(kernel.places[k])) for k in stored + sums]
        return LaneCall(kernel, number(reading) + results, [])
    pulled = find_pulled(reading, pull)
    seeded = [k for k in sorted(pull.bars) if pulled.back[k]]
    known = np.flatnonzero(pulled.known).tolist()
    program = reading.make_program(seeded + known, pulled.computed, pulled)
    writer = LaneWriter(program, count, np.array(seeded, np.int64))
    kernel = writer.write(0, len(pull.targets), known=len(known))
    values = number(reading) + [(members[k].out, int(kernel.places[k])) for k in known]
    bars = [(members[k].out, int(writer.places[k])) for k in seeded]
    return LaneCall(kernel, values, bars + [(place, 1 + reading.given[place]) for place in pull.targets])


def number(reading: Reading) -> list[tuple[Place, int]]:
    """Return the places that are read, with their places in the block."""
    return [(place, 1 + k) for place, k in reading.given.items()]
