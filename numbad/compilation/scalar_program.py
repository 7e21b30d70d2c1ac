"""The rows of a tape of numbers as the compiler takes them: numbered anew, with what each sweep needs of each."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from numbad.ops.definition import absent
from numbad.ops.texts import dependencies
from numbad.sweeps.dependence import mark_needed, wanted_rows
from numbad.tape.layout import GUARD, GUARD_VALUE, MAP
from numbad.tapes.adjoint_plans import AdjointPlan, make_plan
from numbad.tapes.passes import place_given
from numbad.tapes.tape import Tape

ZERO, GIVEN, CONSTANT, RESULT = range(4)  # kinds of operands: address 0, an input, a constant, what a row computes
X, Y, Z = 1, 2, 4  # bits of what partials depend on


@dataclasses.dataclass
class ScalarProgram:
    """Scalar rows and guards whose results have addresses one after another.

    Attributes
    ----------
    opcodes : ndarray of int16, shape (rows,)
        Of the rows that are needed, in the order of the tape.
    operands : ndarray of int64, shape (2, rows)
        The addresses that each row reads; 0 where it reads none.
    kinds : ndarray of int8, shape (2, rows)
        What is at these addresses: ZERO, GIVEN, CONSTANT or RESULT.
    truths : ndarray of bool, shape (rows,)
        What a guard was when it was recorded.
    forward, back : ndarray of bool, shape (rows,)
        Whether a row goes forward, and back.
    carries : ndarray of bool, shape (2, rows)
        Whether a row going back adds to the cotangent of an operand.
    needs : ndarray of uint8, shape (rows,)
        On which of X, Y and Z the partials depend that are computed at each run.
    partials : ndarray of float64, shape (2, rows)
        The partials of the others.
    bar : ndarray of float64, shape (first + rows,)
        What cotangents are at the start; -0.0 where they are absent.
    values : ndarray of float64, shape (first,)
        The arena up to the results, with its constants.
    inputs : list of (int, int)
        First address and number of elements of each input.
    outputs : list of ndarray of int64
        Where the results are.
    first : int
        The address of the first row's result.
    rows : ndarray of int64
        The numbers of the rows on the tape.
    """

    opcodes: np.ndarray
    operands: np.ndarray
    kinds: np.ndarray
    truths: np.ndarray
    forward: np.ndarray
    back: np.ndarray
    carries: np.ndarray
    needs: np.ndarray
    partials: np.ndarray
    bar: np.ndarray
    values: np.ndarray
    inputs: list[tuple[int, int]]
    outputs: list[np.ndarray]
    first: int
    rows: np.ndarray
    gradient: bool

    def __len__(self) -> int:
        return len(self.opcodes)

    @property
    def given(self) -> int:
        """The number of addresses of inputs; they begin at 1."""
        return sum(size for _, size in self.inputs)

    @functools.cached_property
    def slope_needs(self) -> np.ndarray:
        """On which of X, Y and Z the slopes depend that rows compute going back."""
        opcodes = np.where(self.back, self.opcodes, 0)  # guards have none
        return read_back(opcodes, self.carries, self.needs)

    def stored_outputs(self) -> np.ndarray:
        """Return the rows whose results are read when all is done."""
        if not self.outputs:
            return np.zeros(0, np.int64)
        places = np.concatenate([found.reshape(-1) for found in self.outputs])
        return places[places >= self.first] - self.first


def make_program(
    tape: Tape, results: list[np.ndarray], wanted: list[bool] | None = None, value: bool = True
) -> ScalarProgram:
    """Return a tape of scalar rows as a program; parameters as of `replay.scalar_machine.ScalarMachine`."""
    code = tape.code
    plan = None if wanted is None else make_plan(tape, int(results[0]), wanted, value)
    forward = find_needed(tape, results, value or plan is None, plan)
    rows = np.flatnonzero(forward if plan is None else forward | plan.back)
    code = code[rows].astype(np.int64)
    rename, first = place_given(tape)
    rename = rename.astype(np.int64)
    guards = code[:, 0] >= MAP
    rename[code[~guards, 1]] = first + np.flatnonzero(~guards)
    others = np.where(code[:, 0] == GUARD_VALUE, code[:, 1], np.where(code[:, 0] == GUARD, 0, code[:, 3]))
    old = np.stack([code[:, 2], others])
    operands = rename[old]
    given = 1 + sum(slot.size for slot in tape.inputs)
    kinds = sum((operands >= least).astype(np.int8) for least in (1, given, first))  # ZERO, GIVEN, CONSTANT, RESULT
    program = ScalarProgram(
        opcodes=code[:, 0].astype(np.int16),
        operands=operands,
        kinds=kinds,
        truths=(code[:, 0] == GUARD) & (code[:, 1] != 0),
        forward=forward[rows],
        back=np.zeros(len(rows), bool),
        carries=np.zeros((2, len(rows)), bool),
        needs=np.zeros(len(rows), np.uint8),
        partials=np.zeros((2, len(rows))),
        bar=np.full(first + len(rows), -0.0),
        values=arena(tape, rename, first),
        inputs=[(int(rename[slot.address]) if slot.size else 0, slot.size) for slot in tape.inputs],
        outputs=[rename[places] for places in results],
        first=first,
        rows=rows,
        gradient=plan is not None,
    )
    if plan is not None:
        take_plan(program, plan, rename, old)
    return program


def find_needed(tape: Tape, results: list[np.ndarray], value: bool, plan: AdjointPlan | None) -> np.ndarray:
    """Return a flag for each row: whether results, guards, or slopes that are computed going back, need its value."""
    needed, flags = np.zeros(tape.size, np.uint8), wanted_rows(tape.code)
    for places in results if value else ():
        needed[places] = 1
    if plan is not None:
        rows = np.flatnonzero(plan.back)
        opcodes, outs, *operands = tape.code[rows].astype(np.int64).T
        active = plan.active[np.stack(operands)] != 0
        bits = read_back(opcodes, active, plan.unfixed[rows])
        for bit, addresses in ((X, operands[0]), (Y, operands[1]), (Z, outs)):
            needed[addresses[bits & bit != 0]] = 1
    mark_needed(tape.code, tape.words, needed, flags)
    return flags != 0


def read_back(opcodes: np.ndarray, carries: np.ndarray, needs: np.ndarray) -> np.ndarray:
    """Return on which of X, Y and Z the slopes depend that rows compute going back."""
    bits = dependencies()[opcodes].astype(np.int64)
    found = np.where(carries[0], bits & 7, 0) | np.where(carries[1], bits >> 3, 0)
    return np.where(needs != 0, found, 0)


def take_plan(program: ScalarProgram, plan: AdjointPlan, rename: np.ndarray, old: np.ndarray) -> None:
    """Note what a gradient needs of each row; `old` has the operands as the tape has them."""
    rows = program.rows
    program.back = plan.back[rows]
    program.carries = (plan.active[old] != 0) & program.back  # address 0, of an operand that is not there, is inactive
    program.needs = np.where(program.back, plan.unfixed[rows], 0).astype(np.uint8)
    program.partials = np.ascontiguousarray(plan.partials[rows].T)
    used = ~absent(plan.bar)
    program.bar[rename[used]] = plan.bar[used]
    program.bar[0] = -0.0
    program.bar[1 : 1 + program.given] += 0.0  # a gradient is no -0.0


def arena(tape: Tape, rename: np.ndarray, size: int) -> np.ndarray:
    """Return memory for the values, with the constants in it."""
    values = np.zeros(size)
    values[rename[tape.numbers[:, 0].astype(np.int64)]] = tape.numbers[:, 1]
    for address, block in tape.loads:
        values[rename[address] : rename[address] + block.size] = block
    return values
