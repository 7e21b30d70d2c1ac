"""Which results are kept in memory for later, and which are computed again going back.

Outside of loops all that is read later is kept. In a loop's body a slope may need a result that is some sums and
products of what is at hand: to compute it again costs less than to keep it. The rule counts: an operation costs one, so
does a load that the body going back does not make anyhow; to keep a result costs KEEPING. (Storing against computing
again: Griewank and Walther, 2008, *Evaluating Derivatives*, 2nd ed., section 4.2.)
"""

from __future__ import annotations

import numpy as np

from numbad.compilation.operands import Body, Operand
from numbad.compilation.scalar_program import RESULT, ScalarProgram, X, Y, Z
from numbad.ops.arithmetic import add, multiply, negative, square, subtract

KEEPING = 3  # operations: a store, a load, and the cache that both take
NEVER = 1 << 20  # operations
CHEAP = {op.opcode for op in (add, multiply, negative, square, subtract)}


def mark_stored(program: ScalarProgram, bodies: list[Body]) -> np.ndarray:
    """Return which rows put their results into memory; of a loop, all iterations or none."""
    stored = np.zeros(len(program), bool)
    stored[program.stored_outputs()] = True
    for body in bodies:
        mark_read(program, body, stored)
    for body in bodies:
        segment = body.segment
        kept = stored[segment.start : segment.stop].reshape(segment.count, segment.period)
        flags = np.asarray(kept.any(axis=0))
        needed = needed_back(program, body)
        if segment.is_loop:
            Again(program, body, flags, needed).decide()
        else:
            flags[list(needed)] = True
        kept[:] = flags
    return stored


def mark_read(program: ScalarProgram, body: Body, stored: np.ndarray) -> None:
    """Mark the results that a body reads from memory, those of its own iteration apart."""
    start = body.segment.start
    for row, operands in enumerate(body.operands):
        for which, operand in enumerate(operands):
            back = is_read_back(program, start + row, which)
            if operand.kind != RESULT or not (back or program.forward[start + row]):
                continue
            read = program.operands[which, body.rows(row)] - program.first
            if not operand.is_own or operand.back > 1 or (back and operand.back == 1):
                stored[read] = True
            elif operand.back == 1:
                stored[read[0]] = True


def needed_back(program: ScalarProgram, body: Body) -> set[int]:
    """Return the rows of a body whose results the slopes of the same iteration need."""
    start, found = body.segment.start, set()
    for row, operands in enumerate(body.operands):
        if needs_result(program, start + row):
            found.add(row)
        for which, operand in enumerate(operands):
            if operand.is_own and operand.back == 0 and is_read_back(program, start + row, which):
                found.add(operand.row)
    return found


def is_read_back(program: ScalarProgram, row: int, which: int) -> bool:
    """Whether going back reads the value of an operand."""
    return bool(program.slope_needs[row] & (X, Y)[which])


def needs_result(program: ScalarProgram, row: int) -> bool:
    """Whether going back reads the value of a row."""
    return bool(program.slope_needs[row] & Z)


class Again:
    """Decides for the rows of a loop's body.

    Parameters
    ----------
    program : ScalarProgram
    body : Body
    stored : ndarray of bool
        Which rows of the body are kept in any case; the others that have to be are added.
    needed : set of int
        The rows whose results slopes need.
    """

    def __init__(self, program: ScalarProgram, body: Body, stored: np.ndarray, needed: set[int]) -> None:
        self.program, self.body, self.stored, self.needed = program, body, stored, needed
        start = body.segment.start
        self.loaded = {  # that slopes read in any case
            (operand.kind, operand.first, operand.step)
            for row, operands in enumerate(body.operands)
            for which, operand in enumerate(operands)
            if is_read_back(program, start + row, which)
        }
        self.costs: list[int] = []  # of having the result of a row going back

    def decide(self) -> None:
        """Mark the results that are kept because to compute them again costs too much."""
        for row, operands in enumerate(self.body.operands):
            needed = row in self.needed
            if not self.stored[row]:
                cheap = int(self.program.opcodes[self.body.segment.start + row]) in CHEAP
                found = min(NEVER, 1 + sum(map(self.cost, operands))) if cheap else NEVER
                self.stored[row] = needed and found > KEEPING
            else:
                found = 1  # it is loaded
            self.costs.append(0 if needed else found)

    def cost(self, operand: Operand) -> int:
        """Return what it costs to have an operand going back."""
        if operand.is_own and operand.back == 0:
            return self.costs[operand.row]
        if operand.is_own and not self.stored[operand.row]:
            return NEVER
        return int(operand.step != 0 and (operand.kind, operand.first, operand.step) not in self.loaded)
