"""Numbers that are computed alike for each of many lanes: a long group of rows, or a whole tape at many points.

The rows are a program of numbers at each lane. A block of lanes at a time is copied into memory that a cache holds,
computed there with loops over its points (see `points`), and what is wanted of it is copied out. So what lies between
is nowhere in memory for all lanes, and a loop of the user's over arrays is a loop. Going back a block is computed again
first: the trade of Griewank and Walther (2008, *Evaluating Derivatives*, 2nd ed., chapter 12), with one checkpoint.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from numbad.compilation.forward import Tables
from numbad.compilation.keeping import mark_stored
from numbad.compilation.loops import Segment, count_code_rows, find_segments
from numbad.compilation.module import Uncompilable, make_ready
from numbad.compilation.operands import Body
from numbad.compilation.placing import place_rows
from numbad.compilation.points import PointBackward, PointForward, PointText
from numbad.compilation.scalar_program import ScalarProgram
from numbad.limits import CACHED_POINTS, LONGEST_STRAIGHT, MOST_ABREAST, MOST_COMPILED

FEWEST_ABREAST = 8  # lanes of a block: as many as the widest registers hold
MEMORY = ("given", "results", "tables", "given_bars", "result_bars", "carried", "missed")
FIXED = 2  # arguments before those of what is copied: where the memory of a block is, and the tables
ENTRY = 3  # arguments of what is copied: where it lies, its step from lane to lane, and its place in the block
MAIN = """  %memory_in = load i64, ptr %arguments, align 8
  %memory = inttoptr i64 %memory_in to ptr
  %tables_at = getelementptr i64, ptr %arguments, i64 1
  %tables_in = load i64, ptr %tables_at, align 8
  %tables = inttoptr i64 %tables_in to ptr
{regions}
  call void @spread!GROUP(ptr %given, ptr %tables)
  br label %head
head:
  %lane = phi i64 [ %start, %entry ], [ %next, %run ]
  %inside = icmp slt i64 %lane, %stop
  br i1 %inside, label %run, label %all
run:
  %left = sub nsw i64 %stop, %lane
  %few = icmp slt i64 %left, {width}
  %count = select i1 %few, i64 %left, i64 {width}
{calls}
  %next = add nsw i64 %lane, {width}
  br label %head
all:
  ret i64 0
}}
define internal void @spread!GROUP(ptr noalias %given, ptr noalias %tables) nounwind {{
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %done ]
  %inside = icmp ult i64 %k, {constants}
  br i1 %inside, label %run, label %all
run:
  %from = getelementptr double, ptr %tables, i64 %k
  %value = load double, ptr %from, align 8
  %place = add nsw i64 %k, {first_constant}
  %offset = mul nsw i64 %place, {width}
  %to = getelementptr double, ptr %given, i64 %offset
  br label %each
each:
  %j = phi i64 [ 0, %run ], [ %more, %each ]
  %there = getelementptr double, ptr %to, i64 %j
  store double %value, ptr %there, align 8
  %more = add nuw nsw i64 %j, 1
  %again = icmp ult i64 %more, {width}
  br i1 %again, label %each, label %done
done:
  %next = add nuw nsw i64 %k, 1
  br label %head
all:
  ret void
}}
{functions}"""
# Copies what some arguments name, one after another, for the lanes of a block.
MOVE = """define internal void @{name}!GROUP(ptr noalias %arguments, ptr %block, i64 %lane, i64 %count) nounwind {{
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %next, %done ]
  %inside = icmp ult i64 %k, {entries}
  br i1 %inside, label %run, label %all
run:
  %entry_offset = mul nuw nsw i64 %k, 3
  %at = add nuw nsw i64 %entry_offset, {first}
  %base_at = getelementptr i64, ptr %arguments, i64 %at
  %base_in = load i64, ptr %base_at, align 8
  %base = inttoptr i64 %base_in to ptr
  %step_at = getelementptr i64, ptr %base_at, i64 1
  %step = load i64, ptr %step_at, align 8
  %place_at = getelementptr i64, ptr %base_at, i64 2
  %place = load i64, ptr %place_at, align 8
  %offset = mul nsw i64 %place, {width}
  %here = getelementptr double, ptr %block, i64 %offset
  %moved = mul nsw i64 %step, %lane
  %there = getelementptr double, ptr %base, i64 %moved
{body}
done:
  %next = add nuw nsw i64 %k, 1
  br label %head
all:
  ret void
}}
"""
READ = """  %is_next = icmp eq i64 %step, 1
  br i1 %is_next, label %near, label %far
near:
  %i = phi i64 [ 0, %run ], [ %i_next, %near ]
  %near_from = getelementptr double, ptr %there, i64 %i
  %near_value = load double, ptr %near_from, align 8
  %near_to = getelementptr double, ptr %here, i64 %i
  store double %near_value, ptr %near_to, align 8
  %i_next = add nuw nsw i64 %i, 1
  %near_more = icmp slt i64 %i_next, %count
  br i1 %near_more, label %near, label %rest
far:
  %j = phi i64 [ 0, %run ], [ %j_next, %far ]
  %j_moved = mul nsw i64 %j, %step
  %far_from = getelementptr double, ptr %there, i64 %j_moved
  %far_value = load double, ptr %far_from, align 8
  %far_to = getelementptr double, ptr %here, i64 %j
  store double %far_value, ptr %far_to, align 8
  %j_next = add nuw nsw i64 %j, 1
  %far_more = icmp slt i64 %j_next, %count
  br i1 %far_more, label %far, label %rest
rest:
  %last_at = sub nsw i64 %count, 1
  %last_place = getelementptr double, ptr %here, i64 %last_at
  %last = load double, ptr %last_place, align 8
  br label %fill
fill:
  %m = phi i64 [ %count, %rest ], [ %m_next, %filled ]
  %open = icmp slt i64 %m, {width}
  br i1 %open, label %filled, label %done
filled:
  %fill_to = getelementptr double, ptr %here, i64 %m
  store double %last, ptr %fill_to, align 8
  %m_next = add nuw nsw i64 %m, 1
  br label %fill"""
WRITE = """  br label %each
each:
  %i = phi i64 [ 0, %run ], [ %i_next, %each ]
  %from = getelementptr i64, ptr %here, i64 %i
  %value = load i64, ptr %from, align 8
  %i_moved = mul nsw i64 %i, %step
  %to = getelementptr i64, ptr %there, i64 %i_moved
  store i64 %value, ptr %to, align 8
  %i_next = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %i_next, %count
  br i1 %more, label %each, label %done"""
ADD = """  %stays = icmp eq i64 %step, 0
  br i1 %stays, label %sum, label %each
sum:
  %j = phi i64 [ 0, %run ], [ %j_next, %sum ]
  %total = phi double [ -0.0, %run ], [ %total_next, %sum ]
  %sum_from = getelementptr double, ptr %here, i64 %j
  %term = load double, ptr %sum_from, align 8
  %total_next = fadd double %total, %term
  %j_next = add nuw nsw i64 %j, 1
  %sum_more = icmp slt i64 %j_next, %count
  br i1 %sum_more, label %sum, label %summed
summed:
  %before = load double, ptr %there, align 8
  %after = fadd double %before, %total_next
  store double %after, ptr %there, align 8
  br label %done
each:
  %i = phi i64 [ 0, %run ], [ %i_next, %each ]
  %from = getelementptr double, ptr %here, i64 %i
  %value = load double, ptr %from, align 8
  %i_moved = mul nsw i64 %i, %step
  %to = getelementptr double, ptr %there, i64 %i_moved
  %old = load double, ptr %to, align 8
  %new = fadd double %old, %value
  store double %new, ptr %to, align 8
  %i_next = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %i_next, %count
  br i1 %more, label %each, label %done"""


SWEEP = (
    "define internal void @{name}!GROUP("
    + ", ".join(f"ptr noalias %{one}" for one in MEMORY)
    + ") noinline nounwind {{\nentry:\n{lines}\n  ret void\n}}\n"
)


@dataclasses.dataclass(frozen=True)
class LaneKernel:
    """A function of lanes.

    Attributes
    ----------
    text : str
        Its lines.
    called : set of str
        The functions of numbers that it calls.
    tables : ndarray of float64
        What it reads of tables: constants first.
    memory : int
        How many numbers the memory of a block has.
    places : ndarray of int64
        Where the results of rows lie in a block, counted from the first given number.
    """

    text: str
    called: frozenset[str]
    tables: np.ndarray
    memory: int
    places: np.ndarray


class LaneWriter:
    """Writes the function of a program at each of many lanes.

    What the function is given: where the memory of a block is and where its tables are; then for each given number,
    each result that is given, each that is wanted, each that is added to memory, each result whose cotangent is given,
    and each given number whose cotangent is wanted, in this order: where they lie for the first lane, the step to the
    next lane, and the place in the block. To what does not step the sum over the lanes is added.

    Parameters
    ----------
    program : ScalarProgram
        Its inputs are the given numbers.
    count : int
        How many lanes there are.
    seeded : ndarray of int64
        The rows whose cotangents are given; they are results of the program.
    """

    def __init__(self, program: ScalarProgram, count: int, seeded: np.ndarray) -> None:
        self.program, self.seeded = program, seeded
        segments = [part for segment in find_segments(program) for part in cut_straight(segment)]
        if count_code_rows(segments) > MOST_COMPILED:
            raise Uncompilable
        self.bodies = [Body(program, segment) for segment in segments]
        self.tables = Tables()
        self.constants = program.first - 1 - program.given
        self.tables.add(program.values[1 + program.given :])
        self.stored = mark_stored(program, self.bodies)
        self.places = place_rows(program, self.bodies, self.stored)
        self.width = choose_width(program.first + 2 * int(np.count_nonzero(self.stored)), count)

    def write(self, outputs: int, targets: int, sums: int = 0, known: int = 0, guarded: bool = False) -> LaneKernel:
        """Return the function: of so many results, derivatives and sums, results that are given, and failed guards."""
        program, width = self.program, self.width
        size = int(self.places.max(initial=-1)) + 1
        forward, back, called, carried = self.write_sweeps()
        regions, memory = self.lay_out(size, carried)
        moves, calls, at = [], [], FIXED
        for name, block, body, entries in (
            ("enter", "given", READ, program.given + known),
            ("forward", "", forward, 1),
            ("leave", "given", WRITE, outputs),
            ("add", "given", ADD, sums),
            ("seed", "result_bars", READ, len(self.seeded)),
            ("back", "", back, int(program.gradient)),
            ("pull", "given_bars", ADD, targets),
            ("tell", "missed", WRITE, int(guarded)),
        ):
            if not entries:
                continue
            if block:
                moves.append(
                    MOVE.format(name=name, entries=entries, first=at, width=width, body=body.format(width=width))
                )
                calls.append(f"  call void @{name}!GROUP(ptr %arguments, ptr %{block}, i64 %lane, i64 %count)")
                at += ENTRY * entries
            else:
                moves.append(SWEEP.format(name=name, lines=body))
                if name == "forward" and guarded:
                    calls.append(f"  call void @fill(ptr %missed, i64 {width}, double 0.0)")
                calls.append(f"  call void @{name}!GROUP({', '.join(f'ptr %{one}' for one in MEMORY)})")
        main = MAIN.format(
            regions="\n".join(regions),
            width=width,
            calls="\n".join(calls),
            constants=self.constants,
            first_constant=1 + program.given,
            functions="".join(moves),
        )
        return LaneKernel(
            main.rstrip().removesuffix("}").rstrip(),
            frozenset(called),
            self.tables.values,
            memory,
            program.first + self.places,
        )

    def write_sweeps(self) -> tuple[str, str, set[str], int]:
        """Return the lines of both sweeps, the functions that they call, and how many numbers iterations hand on."""
        program, text = self.program, PointText(self.width)
        parts = program, text, self.tables, self.stored, self.places
        forward, backward = PointForward(*parts), PointBackward(*parts)
        for body in self.bodies:
            forward.write(body)
        lines, text.lines, text.block = text.lines, [], "entry"
        if program.gradient:
            backward.added[self.seeded] = True
            text.moved = {}
            for body in reversed(self.bodies):
                backward.write(body)
            back, text.lines = text.lines, lines
            make_ready(program, self.bodies, backward)
            lines = text.lines
        else:
            back = []
        return "\n".join(lines), "\n".join(back), text.called, max(forward.handed, backward.handed)

    def lay_out(self, size: int, carried: int) -> tuple[list[str], int]:
        """Return the lines that name the parts of a block's memory, and how many numbers it has."""
        first, at, lines = self.program.first, 0, []
        bars = size if self.program.gradient else 0
        lengths = (("given", first), ("results", size), ("given_bars", first), ("result_bars", bars))
        for name, length in (*lengths, ("carried", carried), ("missed", 1)):
            lines.append(f"  %{name} = getelementptr double, ptr %memory, i64 {at}")
            at += length * self.width
        return lines, at


def is_short(program: ScalarProgram) -> bool:
    """Whether a program has few enough rows for the compiler, of loops those of one iteration."""
    return count_code_rows(find_segments(program)) <= MOST_COMPILED


def cut_straight(segment: Segment) -> list[Segment]:
    """Return straight rows in pieces that the compiler takes at a time."""
    if segment.is_loop:
        return [segment]
    starts = range(segment.start, segment.stop, LONGEST_STRAIGHT)
    return [Segment(start, min(LONGEST_STRAIGHT, segment.stop - start)) for start in starts]


def choose_width(numbers: int, count: int) -> int:
    """Return how many lanes a block has: as many as the cache holds, of so many numbers each."""
    width = MOST_ABREAST
    while width > FEWEST_ABREAST and (8 * width * numbers > CACHED_POINTS or width >= 2 * count):
        width //= 2
    return width
