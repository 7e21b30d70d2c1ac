"""A whole tape as one LLVM module: both sweeps, the functions of numbers that they call, and an entrance."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from numbad.compilation.backward import Backward
from numbad.compilation.forward import Forward, Tables, mark_stored
from numbad.compilation.loops import Segment, find_segments
from numbad.compilation.operands import Body
from numbad.compilation.scalar_program import ScalarProgram
from numbad.compilation.text import Text
from numbad.kernels import number_texts

ENTRANCE = "numbad_tape"
NOT_FINITE = -2  # returned where the gradient is not finite
GROUP = re.compile(r"#(\d+)")  # of attributes
MEMORY = ("given", "results", "tables", "given_bars", "result_bars", "first_bars")

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
    """

    text: str
    tables: np.ndarray
    segments: list[Segment]

    @property
    def rows(self) -> int:
        """How many rows have code: of loops those of one iteration."""
        return sum(segment.period for segment in self.segments)


def make_module(program: ScalarProgram, most: int) -> Module:
    """Return a program as LLVM text; raise `Uncompilable` where it would have more than so many rows."""
    segments = find_segments(program)
    if sum(segment.period for segment in segments) > most:
        raise Uncompilable
    bodies = [Body(program, segment) for segment in segments]
    text, tables = Text(), Tables()
    forward = Forward(program, text, tables, mark_stored(program, bodies))
    for body in bodies:
        forward.write(body)
    if program.gradient:
        write_back(program, bodies, text, tables)
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
    return Module(whole + link_numbers(text.called), tables.values, segments)


def write_back(program: ScalarProgram, bodies: list[Body], text: Text, tables: Tables) -> None:
    """Write the adjoint sweep, and the look at whether the gradient is finite."""
    place = len(text.lines)
    backward = Backward(program, text, tables)
    for body in reversed(bodies):
        backward.write(body)
    text.lines[place:place] = make_ready(program, bodies, backward.in_memory)
    if program.given:
        rows = len(program)
        text.lines.append(FINITE.format(block=text.block, given=program.given, wrong=NOT_FINITE, rows=rows))
    else:
        text.line(f"ret i64 {len(program)}")


def make_ready(program: ScalarProgram, bodies: list[Body], in_memory: np.ndarray) -> list[str]:
    """Return the lines that set the cotangents in memory to what they begin with: for each segment one run."""
    parts = [(1, program.given)] if program.given else []
    for segment in (body.segment for body in bodies):
        rows = np.flatnonzero(in_memory[segment.start : segment.stop])
        if rows.size:
            parts.append((program.first + segment.start + int(rows[0]), int(rows[-1] - rows[0]) + 1))
    lines = []
    for k, (address, count) in enumerate(parts):
        base, start = ("given_bars", address) if address < program.first else ("result_bars", address - program.first)
        lines += [
            f"  %to{k} = getelementptr inbounds double, ptr %{base}, i64 {start}",
            f"  %from{k} = getelementptr inbounds double, ptr %first_bars, i64 {address}",
            f"  call void @llvm.memcpy.p0.p0.i64(ptr %to{k}, ptr %from{k}, i64 {8 * count}, i1 false)",
        ]
    return lines


def link_numbers(called: set[str]) -> str:
    """Return the texts of functions of numbers, to be put behind the sweeps."""
    lines, declared, attributes = ["declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"], set(), 0
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
