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
from numbad.compilation.placing import own_walk, walk
from numbad.compilation.scalar_program import GIVEN, RESULT, ZERO, ScalarProgram, X, Y, Z
from numbad.compilation.text import Text, literal
from numbad.compilation.windows import Stream, Window, find_windows
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
    windows : dict
        The window of each stream that has one, and the stream's distance in it.
    walked : dict
        Of what walks by, by window and distance.
    again : dict
        Values that were computed again, by row.
    """

    own: dict[int, str] = dataclasses.field(default_factory=dict)
    before: dict[int, str] = dataclasses.field(default_factory=dict)
    kept: dict[int, str] = dataclasses.field(default_factory=dict)
    windows: dict[Stream, tuple[Window, int]] = dataclasses.field(default_factory=dict)
    walked: dict[tuple[Window, int], str] = dataclasses.field(default_factory=dict)
    again: dict[int, str] = dataclasses.field(default_factory=dict)


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
    stored : ndarray of bool
        Which rows have put their results into memory; the others' are computed again.
    places : ndarray of int64
        Where results and cotangents lie.

    Attributes
    ----------
    known : ndarray of bool
        Which rows' cotangents begin with a number, as those of the terms of a sum.
    added : ndarray of bool
        Which are in memory when their turn comes, for what is outside of their segment added to them.
    """

    def __init__(
        self, program: ScalarProgram, text: Text, tables: Tables, stored: np.ndarray, places: np.ndarray
    ) -> None:
        self.program, self.text, self.tables, self.stored, self.places = program, text, tables, stored, places
        self.known = ~absent(program.bar[program.first :])
        self.added = np.zeros(len(program), bool)

    def write(self, body: Body) -> None:
        """Write the rows of a segment, going back."""
        if not self.program.back[body.segment.start : body.segment.start + body.segment.period].any():
            return
        self.spread_memory(body)
        if body.segment.is_loop:
            self.write_loop(body)
        else:
            self.write_straight(body)
        for operand in self.targets(body):
            if operand.kind == RESULT and not operand.is_own:
                self.added[self.rows_of(body, operand)] = True

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

    def handed_rows(self, body: Body) -> list[int]:
        """Return the rows whose cotangents an iteration hands on to the one before."""
        return sorted({operand.row for operand in self.targets(body) if operand.is_own and operand.back == 1})

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
        rows = self.added[segment.start : segment.stop].reshape(segment.count, segment.period)
        flags = np.asarray(rows.any(axis=0))
        for operand in targets:
            if operand.is_own and operand.back > 1:
                flags[operand.row] = True
        for row in {operand.row for operand in targets if operand.is_own and operand.back == 1}:
            flags[row] |= self.added[segment.start - segment.period + row]
        rows[:] = flags
        for operand in targets:
            if operand.is_own and operand.back > 1:
                self.added[self.rows_of(body, operand)] = True

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

    def streams(self, body: Body) -> dict[Operand, Stream]:
        """Return how the targets of a loop walk through the memory of cotangents, if they are no registers."""
        found = {}
        for operand in self.targets(body):
            if not (operand.is_own and operand.back <= 1):
                found[operand] = self.stream(operand)
        return found

    def stream(self, operand: Operand) -> Stream:
        """Return how an operand walks through the memory of cotangents."""
        if operand.kind == GIVEN:
            assert operand.step is not None
            return Stream("%given_bars", operand.first, operand.step)
        return Stream("%result_bars", *walk(self.program, self.places, operand))

    # ------------------------------------------------------------ segments

    def write_straight(self, body: Body) -> None:
        """Write straight rows, going back."""
        cotangents = Cotangents()
        self.write_rows(body, "", cotangents, self.keeps(body))
        for address, name in cotangents.kept.items():
            self.store_bar(address, name)

    def write_loop(self, body: Body) -> None:
        """Write a loop, from the last iteration to the first."""
        text, segment, last = self.text, body.segment, body.segment.count - 1
        handed = self.handed_rows(body)
        kept = sorted(self.keeps(body))
        windows = find_windows(self.streams(body), segment.count)
        moving = sorted({window for window, _ in windows.values()})
        held = [(window, d) for window in moving for d in window.behind]
        final = segment.start + segment.period * last
        begin = [self.first_bar(final + row) or literal(-0.0) for row in handed] + [self.load_bar(a) for a in kept]
        begin += [text.load(window.base, window.place(last, d)) for window, d in held]
        before, head, after = text.block, text.label(), text.label()
        text.line(f"br label %{head}")
        text.begin_loop(head)
        place = len(text.lines)
        turn, left = text.name(), text.name()
        names = [text.name() for _ in begin]
        text.line(f"{turn} = sub nsw i64 {left}, 1")
        named = iter(names)
        cotangents = Cotangents(
            {row: next(named) for row in handed},
            {},
            {address: next(named) for address in kept},
            windows,
            {which: next(named) for which in held},
        )
        self.write_rows(body, turn, cotangents, set(kept))
        ends = [cotangents.before.get(row) or self.before_loop(body, row, turn) for row in handed]
        ends += [cotangents.kept[address] for address in kept]
        ends += [self.walked(cotangents, window, d - 1, turn) for window, d in held]
        for window in moving:
            text.store(self.walked(cotangents, window, window.depth, turn), *window.stream(window.depth), turn)
        more = text.define(f"icmp sgt i64 {turn}, 0")
        text.line(f"br i1 {more}, label %{head}, label %{after}")
        lines = [f"  {left} = phi i64 [ {segment.count}, %{before} ], [ {turn}, %{text.block} ]"]
        for name, first, end in zip(names, begin, ends):
            lines.append(f"  {name} = phi double [ {first}, %{before} ], [ {end}, %{text.block} ]")
        text.lines[place:place] = lines
        text.begin_loop(after)
        ended = iter(ends)
        for row in handed:
            source = segment.start - segment.period + row
            text.store(next(ended), "%result_bars", int(self.places[source]))
            self.added[source] = True
        for address in kept:
            self.store_bar(address, next(ended))
        for window, d in held:
            text.store(next(ended), window.base, window.place(-1, d))

    def walked(self, cotangents: Cotangents, window: Window, distance: int, turn: str) -> str:
        """Return the cotangent at a distance in a window, from memory where nothing was added to it yet."""
        found = cotangents.walked.get((window, distance))
        return found or self.text.load(*window.stream(distance), turn)

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
                    added = self.multiply(body, row, which, turn, bar, cotangents)
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
        elif (stream := self.stream(operand)) in cotangents.windows:
            which = cotangents.windows[stream]
            cotangents.walked[which] = text.add(self.walked(cotangents, *which, turn), added)
        else:
            place = text.place(*stream, turn)
            text.write(text.add(text.read(place), added), place)

    def before_loop(self, body: Body, row: int, turn: str) -> str:
        """Return the cotangent of a result of the iteration before, to which nothing was added."""
        return self.first_bar_of(body, row, turn, 1) or literal(-0.0)

    # ------------------------------------------------------------ numbers

    def first_bar(self, row: int) -> str | None:
        """Return the cotangent of a row before its segment adds to it; None where it is absent."""
        if self.added[row]:
            return self.text.load("%result_bars", int(self.places[row]))
        return literal(float(self.program.bar[self.program.first + row])) if self.known[row] else None

    def first_bar_of(self, body: Body, row: int, turn: str, back: int = 0) -> str | None:
        """Return the cotangent of a row of a body, some iterations before, before the segment adds to it."""
        if self.added[body.segment.start + row]:
            first, step = own_walk(body, self.places, row)
            return self.text.load("%result_bars", first - back * step, step, turn)
        rows = body.rows(row) - back * body.segment.period
        if not self.known[rows].any():
            return None
        return self.tables.read(self.text, self.program.bar[self.program.first + rows], turn)

    def load_bar(self, address: int) -> str:
        """Return the cotangent that memory holds for an address."""
        base, place = self.bar_place(address)
        if address >= self.program.first and not self.added[address - self.program.first]:
            return literal(float(self.program.bar[address]))
        return self.text.load(base, place)

    def store_bar(self, address: int, name: str) -> None:
        """Put the cotangent of an address into memory."""
        self.text.store(name, *self.bar_place(address))

    def bar_place(self, address: int) -> tuple[str, int]:
        """Return where the cotangent of an address lies."""
        first = self.program.first
        return ("%given_bars", address) if address < first else ("%result_bars", int(self.places[address - first]))

    def multiply(self, body: Body, row: int, which: int, turn: str, bar: str, cotangents: Cotangents) -> str:
        """Return a cotangent times the slope of a row by one of its operands."""
        text, program = self.text, self.program
        place = body.segment.start + row
        op = REGISTRY[int(program.opcodes[place])]
        unit = unit_partials(op)[which]
        if unit:
            return bar if unit > 0 else text.define(f"fneg double {bar}")
        if program.needs[place]:
            return text.define(f"fmul double {self.slope(body, row, which, turn, cotangents)}, {bar}")
        slope = self.tables.read(text, program.partials[which, body.rows(row)], turn)
        return text.define(f"fmul double {slope}, {bar}")

    def slope(self, body: Body, row: int, which: int, turn: str, cotangents: Cotangents) -> str:
        """Return the slope of a row by one of its operands, computed of values in memory."""
        opcode = int(self.program.opcodes[body.segment.start + row])
        bits = int(dependencies()[opcode]) >> (3 * which) & 7
        numbers = [
            self.read(body, row, k, turn, cotangents) if bits & bit else literal(0.0) for k, bit in enumerate((X, Y))
        ]
        z = self.result(body, row, turn, cotangents) if bits & Z else literal(0.0)
        return self.text.call(f"slope{which}_{REGISTRY[opcode].name}", *numbers, z)

    def read(self, body: Body, row: int, which: int, turn: str, cotangents: Cotangents) -> str:
        """Return the value of an operand."""
        operand = body.operands[row][which]
        if operand.kind == ZERO:
            return literal(0.0)
        if operand.step is None:
            return self.text.load("%tables", self.tables.add_constants(body, row, which), 1, turn)
        if operand.is_own and operand.back == 0:
            return self.result(body, operand.row, turn, cotangents)
        return load_operand(self.program, self.text, self.places, operand, turn)

    def result(self, body: Body, row: int, turn: str, cotangents: Cotangents) -> str:
        """Return the value of a row, from memory, or computed again of its operands."""
        place = body.segment.start + row
        if self.stored[place]:
            return self.text.load("%results", *own_walk(body, self.places, row), turn)
        if row not in cotangents.again:
            op = REGISTRY[int(self.program.opcodes[place])]
            numbers = [self.read(body, row, which, turn, cotangents) for which in (0, 1)]
            cotangents.again[row] = self.text.call(f"value_{op.name}", *numbers)
        return cotangents.again[row]
