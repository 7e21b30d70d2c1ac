"""A whole tape as one LLVM module: both sweeps, the functions of numbers that they call, and an entrance."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from numbad.compilation.backward import Backward
from numbad.compilation.forward import Forward, Tables
from numbad.compilation.keeping import mark_stored
from numbad.compilation.loops import Segment, count_code_rows, find_segments
from numbad.compilation.operands import Body
from numbad.compilation.placing import place_rows
from numbad.compilation.scalar_program import ScalarProgram
from numbad.compilation.text import Text, literal
from numbad.kernels import number_texts

ENTRANCE = "numbad_tape"
NOT_FINITE = -2  # returned where the gradient is not finite
GROUP = re.compile(r"#(\d+)")  # of attributes
MEMORY = ("given", "results", "tables", "given_bars", "result_bars")

HEAD = """define i64 @{entrance}(double %like, i64 %plan) {{
entry:
  %table = inttoptr i64 %plan to ptr
{loads}
  %done = call i64 @sweeps({passed})
  ret i64 %done
}}
define internal i64 @sweeps({parameters}) noinline nounwind {{
entry:
{lines}
}}
"""
FILL = """define internal void @fill(ptr %to, i64 %count, double %value) nounwind {
entry:
  br label %each
each:
  %at = phi i64 [ 0, %entry ], [ %next, %each ]
  %place = getelementptr inbounds double, ptr %to, i64 %at
  store double %value, ptr %place, align 8
  %next = add nuw nsw i64 %at, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %each, label %done
done:
  ret void
}
"""
COPY = "llvm.memcpy.p0.p0.i64"
MOST_RUNS = 64  # of cotangents in a segment that are set one by one
FINITE = """  br label %look
look:
  %at = phi i64 [ 1, %{block} ], [ %next, %look ]
  %wrong = phi i64 [ 0, %{block} ], [ %more, %look ]
  %place = getelementptr inbounds i64, ptr %given_bars, i64 %at
  %bits = load i64, ptr %place, align 8
  %masked = and i64 %bits, 9218868437227405312
  %infinite = icmp eq i64 %masked, 9218868437227405312
  %flag = zext i1 %infinite to i64
  %more = or i64 %wrong, %flag
  %next = add nuw nsw i64 %at, 1
  %left = icmp ult i64 %at, {given}
  br i1 %left, label %look, label %told
told:
  %any = icmp ne i64 %more, 0
  %result = select i1 %any, i64 {wrong}, i64 {rows}
  ret i64 %result"""


class Uncompilable(Exception):
    """There are no texts, or too many rows for the compiler."""


@dataclasses.dataclass
class Module:
    """A tape as LLVM text, with the numbers that its code reads.

    Attributes
    ----------
    text : str
        The module.
    tables : ndarray of float64
        Constants that change with the iterations of a loop.
    segments : list of Segment
        Straight rows and loops, in the order of the tape.
    places : ndarray of int64
        Where the results of rows lie, behind the inputs and constants.
    size : int
        How many places there are for results.
    used : int
        How many numbers the code has in memory: inputs and constants, results, and cotangents.
    """

    text: str
    tables: np.ndarray
    segments: list[Segment]
    places: np.ndarray
    size: int
    used: int

    @property
    def rows(self) -> int:
        """How many rows have code: of loops those of one iteration."""
        return count_code_rows(self.segments)


def make_module(program: ScalarProgram, most: int) -> Module:
    """Return a program as LLVM text; raise `Uncompilable` where it would have more than so many rows."""
    segments = find_segments(program)
    if count_code_rows(segments) > most:
        raise Uncompilable
    bodies = [Body(program, segment) for segment in segments]
    text, tables = Text(), Tables()
    stored = mark_stored(program, bodies)
    places = place_rows(program, bodies, stored)
    forward = Forward(program, text, tables, stored, places)
    for body in bodies:
        forward.write(body)
    used = program.first + int(np.count_nonzero(stored))
    if program.gradient:
        backward = Backward(program, text, tables, stored, places)
        write_back(program, bodies, backward)
        used += program.given + int(np.count_nonzero(backward.added))
    else:
        text.line(f"ret i64 {len(program)}")
    names = [f"ptr noalias %{name}" for name in MEMORY]
    loads = [
        f"  %{name}_place = getelementptr inbounds ptr, ptr %table, i64 {k}\n"
        f"  %{name} = load ptr, ptr %{name}_place, align 8"
        for k, name in enumerate(MEMORY)
    ]
    whole = HEAD.format(
        entrance=ENTRANCE,
        loads="\n".join(loads),
        passed=", ".join(f"ptr %{name}" for name in MEMORY),
        parameters=", ".join(names),
        lines="\n".join(text.lines),
    )
    size = int(places.max(initial=-1)) + 1
    return Module(whole + FILL + link_numbers(text.called), tables.values, segments, places, size, used)


def write_back(program: ScalarProgram, bodies: list[Body], backward: Backward) -> None:
    """Write the adjoint sweep, and the look at whether the gradient is finite."""
    text = backward.text
    place = len(text.lines)
    for body in reversed(bodies):
        backward.write(body)
    written, text.lines = text.lines[place:], text.lines[:place]
    make_ready(program, bodies, backward)
    text.lines += written
    if program.given:
        rows = len(program)
        text.lines.append(FINITE.format(block=text.block, given=program.given, wrong=NOT_FINITE, rows=rows))
    else:
        text.line(f"ret i64 {len(program)}")


def make_ready(program: ScalarProgram, bodies: list[Body], backward: Backward) -> None:
    """Write the lines that set the cotangents in memory to what they begin with."""
    first, bars = program.first, program.bar
    if program.given:
        fill(backward, "%given_bars", 1, bars[1 : 1 + program.given])
    for segment in (body.segment for body in bodies):
        rows = segment.start + np.flatnonzero(backward.added[segment.start : segment.stop])
        places = backward.places[rows]
        order = np.argsort(places)
        rows, places = rows[order], places[order]
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        if len(cuts) < MOST_RUNS:
            for part in np.split(rows, cuts) if len(rows) else ():
                fill(backward, "%result_bars", int(backward.places[part[0]]), bars[first + part])
        else:  # what lies between them is not read
            begins = np.full(places[-1] + 1 - places[0], -0.0)
            begins[places - places[0]] = bars[first + rows]
            fill(backward, "%result_bars", int(places[0]), begins)


def fill(backward: Backward, base: str, place: int, values: np.ndarray) -> None:
    """Write the lines that set a run of cotangents."""
    text, values = backward.text, np.repeat(values, backward.text.points)
    count = len(values)
    if count == 1:
        text.store(literal(float(values[0])), base, place)
    elif (values.view(np.int64) == values[:1].view(np.int64)).all():
        text.line(f"call void @fill(ptr {text.place(base, place)}, i64 {count}, double {literal(float(values[0]))})")
    else:
        source = text.place("%tables", backward.tables.add(values))
        text.line(f"call void @{COPY}(ptr {text.place(base, place)}, ptr {source}, i64 {8 * count}, i1 false)")


def link_numbers(called: set[str]) -> str:
    """Return the texts of functions of numbers, to be put behind the sweeps."""
    lines, declared, attributes = [f"declare void @{COPY}(ptr, ptr, i64, i1)"], set(), 0
    for name in sorted(called):
        text = number_texts.find(name)
        if text is None:
            raise Uncompilable
        text, attributes = renumber(text, attributes)
        for line in text.splitlines():
            symbol = line.partition("@")[2].partition("(")[0] if line.startswith("declare ") else ""
            if symbol not in declared:
                lines.append(line.replace("define double @numbad_", "define internal double @numbad_"))
            if symbol:
                declared.add(symbol)
    return "\n".join(lines) + "\n"


def renumber(text: str, first: int) -> tuple[str, int]:
    """Return a text whose groups of attributes are numbered from a number on, and the next number."""
    highest = max(map(int, GROUP.findall(text)), default=-1)
    return GROUP.sub(lambda found: f"#{int(found[1]) + first}", text), first + highest + 1
