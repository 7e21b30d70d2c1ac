"""The forward sweep of a compiled tape: straight rows, and loops whose values stay in registers."""

from __future__ import annotations

import numpy as np

from numbad.compilation.operands import Body, Operand
from numbad.compilation.placing import own_walk, walk
from numbad.compilation.scalar_program import RESULT, ZERO, ScalarProgram
from numbad.compilation.text import Text, literal
from numbad.ops.definition import REGISTRY
from numbad.tape.layout import GUARD, MAP


class Tables:
    """Numbers that bodies take one after another: constants that are not the same in all iterations.

    Attributes
    ----------
    parts : list of ndarray
        The numbers; `values` has them in one array.
    constants : dict
        Where the constants begin that an operand of a row reads.
    """

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.size = 0
        self.constants: dict[tuple[int, int], int] = {}

    def add(self, values: np.ndarray) -> int:
        """Keep some numbers; return where they begin."""
        self.parts.append(np.ascontiguousarray(values, np.float64))
        self.size += values.size
        return self.size - values.size

    def add_constants(self, body: Body, row: int, which: int) -> int:
        """Keep the constants that a row of a loop reads, once for both sweeps; return where they begin."""
        place = (body.segment.start + row, which)
        if place not in self.constants:
            program = body.program
            self.constants[place] = self.add(program.values[program.operands[which, body.rows(row)]])
        return self.constants[place]

    def read(self, text: Text, values: np.ndarray, turn: str) -> str:
        """Return one of some numbers, by iteration: written out if all have the same bits."""
        if (values.view(np.int64) == values[:1].view(np.int64)).all():
            return literal(float(values[0]))
        return text.load("%tables", self.add(values), 1, turn)

    @property
    def values(self) -> np.ndarray:
        """All numbers."""
        return np.concatenate(self.parts) if self.parts else np.zeros(1)


class Forward:
    """Writes the forward sweep, segment by segment.

    Parameters
    ----------
    program : ScalarProgram
        What is compiled.
    text : Text
        Where the lines go.
    tables : Tables
        Where constants go that change with the iterations.
    stored : ndarray of bool
        Which rows put their results into memory.
    places : ndarray of int64
        Where these lie.
    """

    def __init__(
        self, program: ScalarProgram, text: Text, tables: Tables, stored: np.ndarray, places: np.ndarray
    ) -> None:
        self.program, self.text, self.tables, self.stored, self.places = program, text, tables, stored, places

    def write(self, body: Body) -> None:
        """Write the rows of a segment."""
        if body.segment.is_loop:
            self.write_loop(body)
        else:
            self.write_rows(body, "", {}, {})

    def write_loop(self, body: Body) -> None:
        """Write a loop: what iterations hand on is in registers."""
        text, segment = self.text, body.segment
        if not self.program.forward[segment.start : segment.start + segment.period].any():
            return
        carried = self.carried_rows(body)
        known = self.load_invariants(body)
        earlier = segment.start - segment.period
        start = {row: text.load("%results", int(self.places[earlier + row])) for row in carried}
        before, head, after = text.block, text.label(), text.label()
        text.line(f"br label %{head}")
        text.begin_loop(head)
        place = len(text.lines)
        turn, following = text.name(), text.name()
        phis = {row: text.name() for row in carried}
        values = self.write_rows(body, turn, known, phis)
        text.line(f"{following} = add nuw nsw i64 {turn}, 1")
        more = text.define(f"icmp ult i64 {following}, {segment.count}")
        text.line(f"br i1 {more}, label %{head}, label %{after}")
        latch = text.block
        lines = [f"  {turn} = phi i64 [ 0, %{before} ], [ {following}, %{latch} ]"]
        for row, phi in phis.items():
            lines.append(f"  {phi} = phi double [ {start[row]}, %{before} ], [ {values[row]}, %{latch} ]")
        text.lines[place:place] = lines
        text.begin_loop(after)

    def carried_rows(self, body: Body) -> list[int]:
        """Return the rows whose results an iteration hands on to the next, in the order in which they are read."""
        first = body.segment.start
        runs = self.program.forward[first : first + body.segment.period]
        pairs = [pair for pair, runs_forward in zip(body.operands, runs) if runs_forward]
        return list(dict.fromkeys(o.row for pair in pairs for o in pair if self.is_computed(body, o) and o.back == 1))

    def load_invariants(self, body: Body) -> dict[int, str]:
        """Return the numbers that all iterations read, by their addresses."""
        known: dict[int, str] = {}
        for row, operands in enumerate(body.operands):
            if self.program.forward[body.segment.start + row]:
                for operand in operands:
                    if operand.kind != ZERO and operand.stays and operand.first not in known:
                        known[operand.first] = self.load(operand, "")
        return known

    def is_computed(self, body: Body, operand: Operand) -> bool:
        """Whether a row of the same body computes an operand: a result that is given lies in memory."""
        return operand.is_own and bool(self.program.forward[body.segment.start + operand.row])

    def load(self, operand: Operand, turn: str) -> str:
        """Return an operand from memory."""
        return load_operand(self.program, self.text, self.places, operand, turn)

    def write_rows(self, body: Body, turn: str, known: dict[int, str], phis: dict[int, str]) -> dict[int, str]:
        """Write the rows of a body once; return the names of their results."""
        program, text, segment = self.program, self.text, body.segment
        values: dict[int, str] = {}

        def read(row: int, which: int) -> str:
            operand = body.operands[row][which]
            if operand.kind == ZERO:
                return literal(0.0)
            if operand.step is None:
                return text.load("%tables", self.tables.add_constants(body, row, which), 1, turn)
            if self.is_computed(body, operand) and operand.back == 0:
                return values[operand.row]
            if self.is_computed(body, operand) and operand.back == 1:
                return phis[operand.row]
            if not turn and operand.first not in known:
                known[operand.first] = self.load(operand, turn)
            return known[operand.first] if operand.stays else self.load(operand, turn)

        for row in range(segment.period):
            place = segment.start + row
            if not program.forward[place]:
                continue
            opcode = int(program.opcodes[place])
            if opcode >= MAP:
                self.write_guard(body, row, turn, read)
                continue
            op = REGISTRY[opcode]
            values[row] = text.call(f"value_{op.name}", read(row, 0), read(row, 1))
            if self.stored[place]:
                text.store(values[row], "%results", *own_walk(body, self.places, row), turn)
        return values

    def write_guard(self, body: Body, row: int, turn: str, read: object) -> None:
        """Write a guard: the function returns its row where it does not hold."""
        text, segment = self.text, body.segment
        place = segment.start + row
        x = read(row, 0)  # type: ignore[operator]
        if self.program.opcodes[place] == GUARD:
            holds = text.holds(bool(self.program.truths[place]), x)
        else:
            holds = text.holds(None, x, read(row, 1))  # type: ignore[operator]
        self.take_guard(holds, body, place, turn)

    def take_guard(self, holds: str, body: Body, place: int, turn: str) -> None:
        """Write what a guard does once it is known whether it holds."""
        text = self.text
        good, bad = text.label(), text.label()
        text.line(f"br i1 {holds}, label %{good}, label %{bad}")
        text.begin(bad)
        text.line(f"ret i64 {text.index(place, body.segment.period, turn)}")
        text.begin(good)


def load_operand(program: ScalarProgram, text: Text, places: np.ndarray, operand: Operand, turn: str) -> str:
    """Return an operand that is in memory."""
    assert operand.step is not None
    if operand.kind == RESULT:
        return text.load("%results", *walk(program, places, operand), turn)
    return text.load("%given", operand.first, operand.step, turn)
