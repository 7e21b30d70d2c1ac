"""A machine that is machine code of its tape alone; what it cannot tell, the machine before it does.

The code adds as if no cotangent were absent. A gradient that is finite then is right (see `kernels.scalar`); one that
is not is computed again by the interpreter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.compilation.code import Code
from numbad.compilation.module import NOT_FINITE
from numbad.compilation.scalar_program import ScalarProgram
from numbad.kernels.machinecode import callable_at
from numbad.kernels.memory import address_of
from numbad.limits import LOCKED_ROWS
from numbad.recording.inputs import FLOAT64
from numbad.replay.number_memory import NumberMemory
from numbad.replay.outer_machine import OuterMachine
from numbad.tape.layout import MAP, is_guard


class CompiledMachine(OuterMachine, NumberMemory):
    """The machine code of a path with its memory.

    Parameters
    ----------
    program : ScalarProgram
        The rows that were compiled.
    code : Code
        What was made of them.
    inner : Machine
        The machine that has run the path so far.

    Attributes
    ----------
    values, bar : ndarray of float64
        The arena, and the cotangents.
    fell : bool
        Whether the last gradient is that of the inner machine.
    stops, rows : ndarray of int64
        The guards of the code, and the rows of the tape that they belong to.
    guards : ndarray of bool
        Whether these are guards, and not rows whose pivot must not be zero.
    """

    def __init__(self, program: ScalarProgram, code: Code, inner: Any) -> None:
        self.kept = inner
        self.tape, self.code = inner.tape, code
        size, self.tables = program.first + code.module.size, code.module.tables
        self.values, self.bar = np.zeros(size), np.zeros(size)
        self.values[: program.first] = program.values
        self.outputs = [place_results(program, code, addresses) for addresses in program.outputs]
        self.output = int(self.outputs[0]) if program.gradient else 0
        begin = 8 * program.first
        parts = [address_of(self.values), address_of(self.values) + begin, address_of(self.tables)]
        parts += [address_of(self.bar), address_of(self.bar) + begin]
        self.plan = np.array(parts, np.int64)
        self.plan_at = address_of(self.plan)
        self.call = callable_at(code.address, FLOAT64, 1, len(program) <= LOCKED_ROWS)
        self.stops = np.flatnonzero(program.opcodes >= MAP)
        self.rows = program.rows[self.stops]
        self.guards = is_guard(self.tape.code[self.rows, 0])
        self.count = len(program)
        self.places = [place for place, _ in program.inputs]
        self.make_views()
        self.gradient = program.gradient
        self.given: list[Any] = []
        self.fell = False

    def give_up_inner(self, make: Callable[[], Any]) -> None:
        """Free the memory of the machine that was there before; `make` returns it again when it is needed."""
        self.kept, self.make_inner = None, make
        self.tape = dataclasses.replace(self.tape, code=self.tape.code[:0].copy(), sites=self.tape.sites[:0].copy())
        self.code.module.places = self.code.module.places[:0].copy()

    @property
    def nbytes(self) -> int:
        """How many bytes of memory the code reads and writes."""
        return int(8 * self.code.module.used + self.tables.nbytes)

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places, and keep them for the inner machine."""
        self.given = values
        memory = self.memory  # as NumberMemory does: a call less
        for place, slot, value in zip(self.places, self.slots, values):
            if type(value) is float:
                memory[place] = value
            else:
                slot[...] = value

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the code; return the row of a guard that does not hold, as the inner machine numbers it, or -1."""
        done = self.call(0.0, self.plan_at)
        self.fell = False
        if done == self.count:
            return -1
        stop = -1 if done == NOT_FINITE else int(np.searchsorted(self.stops, done))
        if stop < 0 or not self.guards[stop]:  # a pivot of a small matrix is zero
            return self.fall_back()
        return int(self.inner.row_of(int(self.rows[stop])))

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Return the value, and the derivative with respect to each input, after a run."""
        if self.fell:
            found: tuple[Any, list[Any]] = self.inner.read_gradient()
            return found
        return NumberMemory.read_gradient(self)


def place_results(program: ScalarProgram, code: Code, addresses: np.ndarray) -> np.ndarray:
    """Return where results lie that have addresses of the program."""
    if not len(program):
        return addresses
    rows = addresses - program.first
    computed = rows >= 0
    return np.where(computed, program.first + code.module.places[np.where(computed, rows, 0)], addresses)
