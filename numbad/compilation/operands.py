"""Where the operands of a segment's rows come from, iteration after iteration."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from numbad.compilation.loops import Segment
from numbad.compilation.scalar_program import CONSTANT, RESULT, ZERO, ScalarProgram


@dataclasses.dataclass(frozen=True)
class Operand:
    """What a row of a body reads.

    Attributes
    ----------
    kind : int
        ZERO, GIVEN, CONSTANT or RESULT.
    first, step : int
        The address that the first iteration reads, and how far it moves with each iteration. Constants that do not
        step evenly have a step of None: their values stand in a table.
    row : int
        The row of the body that computes the operand; -1 where that lies outside of the loop.
    back : int
        How many iterations before this one that is.
    """

    kind: int
    first: int
    step: int | None
    row: int = -1
    back: int = 0

    @property
    def is_own(self) -> bool:
        """Whether a row of the same segment computes the operand."""
        return self.row >= 0

    @property
    def stays(self) -> bool:
        """Whether all iterations read the same address, which was there before the segment."""
        return self.step == 0 and not self.is_own


@dataclasses.dataclass(frozen=True)
class Body:
    """The rows of a segment once, with their operands.

    Attributes
    ----------
    program : ScalarProgram
        What the segment is a part of.
    segment : Segment
        Where the rows are.
    """

    program: ScalarProgram
    segment: Segment

    def rows(self, row: int) -> np.ndarray:
        """Return the numbers, in the program, of all iterations of a row of the body."""
        segment = self.segment
        return segment.start + row + segment.period * np.arange(segment.count)

    @functools.cached_property
    def operands(self) -> list[tuple[Operand, Operand]]:
        """The two operands of each row."""
        return [(self.find(row, 0), self.find(row, 1)) for row in range(self.segment.period)]

    def find(self, row: int, which: int) -> Operand:
        """Return where an operand comes from."""
        program, segment = self.program, self.segment
        place = segment.start + row
        kind = int(program.kinds[which, place])
        if kind == ZERO:
            return Operand(ZERO, 0, 0)
        addresses = program.operands[which, place : segment.stop : segment.period]
        first = int(addresses[0])
        step = int(addresses[1]) - first if segment.is_loop else 0
        if kind == CONSTANT and segment.is_loop and (np.diff(addresses) != step).any():
            return Operand(CONSTANT, first, None)
        if kind != RESULT:
            return Operand(kind, first, step)
        source = first - program.first
        if not segment.is_loop:
            return Operand(RESULT, first, 0, source - segment.start if source >= segment.start else -1)
        last = source + step * (segment.count - 1)
        if step != segment.period or last < segment.start:
            return Operand(RESULT, first, step)
        back, own = divmod(place - source, segment.period)
        own = row - own
        if own < 0:
            back, own = back + 1, own + segment.period
        return Operand(RESULT, first, step, own, back)
