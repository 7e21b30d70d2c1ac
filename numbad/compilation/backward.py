"""The adjoint sweep of a compiled tape: cotangents of a body's own results, and of what stays, are in registers.

Contributions are added in the order in which the interpreter takes the rows back, so sums have the same bits. As in
`kernels.scalar`, the sweep adds as if nothing were absent: a gradient that is finite is right, and one that is not is
computed again by the interpreter, with care.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from numbad.compilation.forward import Tables, load_operand
from numbad.compilation.operands import Body, Operand
from numbad.compilation.scalar_program import GIVEN, RESULT, ZERO, ScalarProgram, X, Y, Z
from numbad.compilation.text import Text, literal
from numbad.ops.definition import REGISTRY, absent
from numbad.ops.texts import dependencies, unit_partials


@dataclasses.dataclass
class Cotangents:
    """The cotangents that are in registers while the rows of a body go back.

    Attributes
    ----------
    own : dict
        Of the body's results in this iteration, by row.
    before : dict
        Of its results in the iteration before, by row.
    kept : dict
        Of what stays, by address.
    """

    own: dict[int, str] = dataclasses.field(default_factory=dict)
    before: dict[int, str] = dataclasses.field(default_factory=dict)
    kept: dict[int, str] = dataclasses.field(default_factory=dict)


class Backward:
    """Writes the adjoint sweep, from the last segment to the first.

    Parameters
    ----------
    program : ScalarProgram
        What is compiled.
    text : Text
        Where the lines go.
    tables : Tables
        Where constants go that change with the iterations.

    Attributes
    ----------
    in_memory : ndarray of bool
        Which rows' cotangents are in memory when their turn comes: what is outside of their segment added to them, or
        they begin with a number.
    """

    def __init__(self, program: ScalarProgram, text: Text, tables: Tables) -> None:
        self.program, self.text, self.tables = program, text, tables
        self.in_memory = ~absent(program.bar[program.first :])

    def write(self, body: Body) -> None:
        """Write the rows of a segment, going back."""
        self.spread_memory(body)
        if body.segment.is_loop:
            self.write_loop(body)
        else:
            self.write_straight(body)
        for operand in self.targets(body):
            if operand.kind == RESULT and not operand.is_own:
                self.in_memory[self.rows_of(body, operand)] = True

    # ------------------------------------------------------------ what is added to

    def targets(self, body: Body) -> list[Operand]:
        """Return the operands whose cotangents the rows of a body add to."""
        start, carries = body.segment.start, self.program.carries
        return [
            operand
            for row, operands in enumerate(body.operands)
            for which, operand in enumerate(operands)
            if carries[which, start + row]
        ]

    def rows_of(self, body: Body, operand: Operand) -> np.ndarray:
        """Return the rows whose results all iterations read as an operand."""
        assert operand.step is not None
        return operand.first - self.program.first + operand.step * np.arange(body.segment.count)

    def spread_memory(self, body: Body) -> None:
        """Let all iterations of a row have their cotangents in memory if one has.

        So has the result before the loop that the first iteration reads as the others read the one before.
        """
        segment, targets = body.segment, self.targets(body)
        if not segment.is_loop:
            return
        rows = self.in_memory[segment.start : segment.stop].reshape(segment.count, segment.period)
        flags = rows.any(axis=0)
        for operand in targets:
            if operand.is_own and operand.back > 1:
                flags[operand.row] = True
        for row in {operand.row for operand in targets if operand.is_own and operand.back == 1}:
            flags[row] |= self.in_memory[segment.start - segment.period + row]
        rows[:] = flags
        for operand in targets:
            if operand.is_own and operand.back > 1:
                self.in_memory[self.rows_of(body, operand)] = True

    def keeps(self, body: Body) -> set[int]:
        """Return the addresses whose cotangents stay in registers for all of a loop."""
        targets = [operand for operand in self.targets(body) if not operand.is_own]
        walks = []
        for operand in targets:
            if not operand.stays:
                assert operand.step is not None
                ends = operand.first, operand.first + operand.step * (body.segment.count - 1)
                walks.append((min(ends), max(ends)))
        staying = {operand.first for operand in targets if operand.stays}
        return {address for address in staying if not any(low <= address <= high for low, high in walks)}

    # ------------------------------------------------------------ segments

    def write_straight(self, body: Body) -> None:
        """Write straight rows, going back."""
        cotangents = Cotangents()
        self.write_rows(body, "", cotangents, self.keeps(body))
        for address, name in cotangents.kept.items():
            self.store_bar(address, name)

    def write_loop(self, body: Body) -> None:
        """Write a loop, from the last iteration to the first."""
        text, segment = self.text, body.segment
        handed = sorted({o.row for o in self.targets(body) if o.is_own and o.back == 1})
        kept = sorted(self.keeps(body))
        last = segment.start + segment.period * (segment.count - 1)
        begin = [self.first_bar(last + row) or literal(-0.0) for row in handed] + [self.load_bar(a) for a in kept]
        before, head, after = text.block, text.label(), text.label()
        text.line(f"br label %{head}")
        text.begin_loop(head)
        place = len(text.lines)
        turn, left = text.name(), text.name()
        names = [text.name() for _ in begin]
        text.line(f"{turn} = sub nsw i64 {left}, 1")
        cotangents = Cotangents(dict(zip(handed, names)), {}, dict(zip(kept, names[len(handed) :])))
        self.write_rows(body, turn, cotangents, set(kept))
        ends = [cotangents.before.get(row) or self.before_loop(body, row, turn) for row in handed]
        ends += [cotangents.kept[address] for address in kept]
        more = text.define(f"icmp sgt i64 {turn}, 0")
        text.line(f"br i1 {more}, label %{head}, label %{after}")
        lines = [f"  {left} = phi i64 [ {segment.count}, %{before} ], [ {turn}, %{text.block} ]"]
        for name, first, end in zip(names, begin, ends):
            lines.append(f"  {name} = phi double [ {first}, %{before} ], [ {end}, %{text.block} ]")
        text.lines[place:place] = lines
        text.begin_loop(after)
        for row, end in zip(handed, ends):
            self.text.store(end, "%result_bars", segment.start - segment.period + row)
            self.in_memory[segment.start - segment.period + row] = True
        for address, end in zip(kept, ends[len(handed) :]):
            self.store_bar(address, end)

    def write_rows(self, body: Body, turn: str, cotangents: Cotangents, kept: set[int]) -> None:
        """Write the rows of a body once, going back."""
        program, start = self.program, body.segment.start
        for row in reversed(range(body.segment.period)):
            if not program.back[start + row]:
                continue
            bar = cotangents.own.get(row) or self.first_bar_of(body, row, turn)
            if bar is None:
                continue
            for which, operand in enumerate(body.operands[row]):
                if program.carries[which, start + row]:
                    added = self.multiply(body, row, which, turn, bar)
                    self.add(body, operand, turn, added, cotangents, kept)

    def add(self, body: Body, operand: Operand, turn: str, added: str, cotangents: Cotangents, kept: set[int]) -> None:
        """Add to the cotangent of an operand."""
        text = self.text
        if operand.is_own and operand.back <= 1:
            names = cotangents.before if operand.back else cotangents.own
            found = names.get(operand.row) or self.first_bar_of(body, operand.row, turn, operand.back)
            names[operand.row] = added if found is None else text.add(found, added)
        elif operand.stays and operand.first in kept:
            found = cotangents.kept.get(operand.first) or self.load_bar(operand.first)
            cotangents.kept[operand.first] = text.add(found, added)
        else:
            assert operand.step is not None
            base, first = ("%result_bars", operand.first - self.program.first)
            if operand.kind == GIVEN:
                base, first = "%given_bars", operand.first
            place = text.place(base, first, operand.step, turn)
            found = text.define(f"load double, ptr {place}, align 8")
            text.line(f"store double {text.add(found, added)}, ptr {place}, align 8")

    def before_loop(self, body: Body, row: int, turn: str) -> str:
        """Return the cotangent of a result of the iteration before, to which nothing was added."""
        return self.first_bar_of(body, row, turn, 1) or literal(-0.0)

    # ------------------------------------------------------------ numbers

    def first_bar(self, row: int) -> str | None:
        """Return the cotangent of a row before its segment adds to it; None where it is absent."""
        return self.text.load("%result_bars", row) if self.in_memory[row] else None

    def first_bar_of(self, body: Body, row: int, turn: str, back: int = 0) -> str | None:
        """Return the cotangent of a row of a body, some iterations before, before the segment adds to it."""
        place = body.segment.start + row
        if not self.in_memory[place]:
            return None
        period = body.segment.period
        return self.text.load("%result_bars", place - back * period, period, turn)

    def load_bar(self, address: int) -> str:
        """Return the cotangent that memory holds for an address."""
        first = self.program.first
        base, place = ("%given_bars", address) if address < first else ("%result_bars", address - first)
        if base == "%result_bars" and not self.in_memory[place]:
            return literal(-0.0)
        return self.text.load(base, place)

    def store_bar(self, address: int, name: str) -> None:
        """Put the cotangent of an address into memory."""
        first = self.program.first
        base, place = ("%given_bars", address) if address < first else ("%result_bars", address - first)
        self.text.store(name, base, place)

    def multiply(self, body: Body, row: int, which: int, turn: str, bar: str) -> str:
        """Return a cotangent times the slope of a row by one of its operands."""
        text, program = self.text, self.program
        place = body.segment.start + row
        op = REGISTRY[int(program.opcodes[place])]
        unit = unit_partials(op)[which]
        if unit:
            return bar if unit > 0 else text.define(f"fneg double {bar}")
        if program.needs[place]:
            return text.define(f"fmul double {self.slope(body, row, which, turn)}, {bar}")
        slopes = program.partials[which, body.rows(row)]
        if (slopes.view(np.int64) == slopes[:1].view(np.int64)).all():
            return text.define(f"fmul double {literal(float(slopes[0]))}, {bar}")
        slope = text.load("%tables", self.tables.add(slopes), 1, turn)
        return text.define(f"fmul double {slope}, {bar}")

    def slope(self, body: Body, row: int, which: int, turn: str) -> str:
        """Return the slope of a row by one of its operands, computed of values in memory."""
        place = body.segment.start + row
        opcode = int(self.program.opcodes[place])
        bits = int(dependencies()[opcode]) >> (3 * which) & 7
        numbers = [self.read(body, row, k, turn) if bits & bit else literal(0.0) for k, bit in enumerate((X, Y))]
        result = Operand(RESULT, self.program.first + place, body.segment.period)
        z = load_operand(self.program, self.text, result, turn) if bits & Z else literal(0.0)
        return self.text.call(f"slope{which}_{REGISTRY[opcode].name}", *numbers, z)

    def read(self, body: Body, row: int, which: int, turn: str) -> str:
        """Return the value of an operand, from memory."""
        operand = body.operands[row][which]
        if operand.kind == ZERO:
            return literal(0.0)
        if operand.step is None:
            return self.text.load("%tables", self.tables.add_constants(body, row, which), 1, turn)
        return load_operand(self.program, self.text, operand, turn)
