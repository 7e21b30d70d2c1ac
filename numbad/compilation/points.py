"""A program of numbers at many points: what a body does is done for all points of a block, one beside another.

In memory a block has the numbers of its points next to one another, where the program at one point has one number. Each
body is a loop over the points, within the loop over iterations, and LLVM takes several points at once. What iterations
hand on lies in memory too. A guard that does not hold at a point is noted for that point, and the others go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from numbad.compilation.backward import Backward, Cotangents
from numbad.compilation.forward import Forward
from numbad.compilation.operands import Body
from numbad.compilation.text import Text, literal

SHARED = "%tables"  # memory that is the same for all points


class PointText(Text):
    """Text whose loads and stores are those of one of several points.

    Parameters
    ----------
    points : int
        How many points a block has.

    Attributes
    ----------
    point : str
        The name of the point's number in its block; empty outside of loops over points.
    loops : int
        How many loops over points were written.
    """

    def __init__(self, points: int) -> None:
        super().__init__()
        self.points, self.point, self.loops = points, "", 0

    def place(self, base: str, first: int, step: int = 0, turn: str = "") -> str:
        """Return the place of element first + step * turn of an array, at the point."""
        if base == SHARED:
            return super().place(base, first, step, turn)
        found = super().place(base, self.points * first, self.points * step, turn)
        return self.define(f"getelementptr double, ptr {found}, i64 {self.point}") if self.point else found

    @contextlib.contextmanager
    def each_point(self) -> Iterator[None]:
        """Write a loop over the points of a block; what is written within is its body."""
        before, head, after = self.block, self.label(), self.label()
        self.line(f"br label %{head}")
        self.begin_loop(head)
        place = len(self.lines)
        self.point, following = self.name(), self.name()
        self.mark = ", !llvm.access.group !ACCESS"  # no other point of the loop writes there
        yield
        self.line(f"{following} = add nuw nsw i64 {self.point}, 1")
        more = self.define(f"icmp ult i64 {following}, {self.points}")
        self.loops += 1
        self.line(f"br i1 {more}, label %{head}, label %{after}, !llvm.loop !POINTS{self.loops}!")
        self.lines.insert(place, f"  {self.point} = phi i64 [ 0, %{before} ], [ {following}, %{self.block} ]")
        self.point = self.mark = ""
        self.begin_loop(after)

    @contextlib.contextmanager
    def each_turn(self, count: int, forward: bool) -> Iterator[str]:
        """Write a loop over iterations, going forward or back; give the name of an iteration's number."""
        before, head, after = self.block, self.label(), self.label()
        self.line(f"br label %{head}")
        self.begin_loop(head)
        place = len(self.lines)
        turn, other = self.name(), self.name()
        if not forward:
            self.line(f"{turn} = sub nsw i64 {other}, 1")
        yield turn
        if forward:
            self.line(f"{other} = add nuw nsw i64 {turn}, 1")
            more, phi, first, following = self.define(f"icmp ult i64 {other}, {count}"), turn, 0, other
        else:
            more, phi, first, following = self.define(f"icmp sgt i64 {turn}, 0"), other, count, turn
        self.line(f"br i1 {more}, label %{head}, label %{after}")
        self.lines.insert(place, f"  {phi} = phi i64 [ {first}, %{before} ], [ {following}, %{self.block} ]")
        self.begin_loop(after)


class PointForward(Forward):
    """Writes the forward sweep of a block of points.

    Attributes
    ----------
    handed : int
        The most numbers that iterations hand on.
    """

    text: PointText
    handed = 0

    def write(self, body: Body) -> None:
        """Write the rows of a segment."""
        if body.segment.is_loop:
            self.write_loop(body)
        elif self.program.forward[body.segment.start : body.segment.stop].any():
            with self.text.each_point():
                self.write_rows(body, "", {}, {})

    def write_loop(self, body: Body) -> None:
        """Write a loop: what iterations hand on is in memory."""
        text, segment = self.text, body.segment
        if not self.program.forward[segment.start : segment.start + segment.period].any():
            return
        carried = sorted(self.carried_rows(body))
        self.handed = max(self.handed, len(carried))
        earlier = segment.start - segment.period
        if carried:
            with text.each_point():
                for slot, row in enumerate(carried):
                    text.store(text.load("%results", int(self.places[earlier + row])), "%carried", slot)
        with text.each_turn(segment.count, True) as turn, text.each_point():
            known = self.load_invariants(body)
            phis = {row: text.load("%carried", slot) for slot, row in enumerate(carried)}
            values = self.write_rows(body, turn, known, phis)
            for slot, row in enumerate(carried):
                text.store(values[row], "%carried", slot)

    def take_guard(self, holds: str, body: Body, place: int, turn: str) -> None:
        """Note for the point whether a guard holds."""
        text = self.text
        there = text.place("%missed", 0)
        missed = text.define(f"zext i1 {text.define(f'xor i1 {holds}, true')} to i64")
        text.write(text.define(f"or i64 {text.read(there, 'i64')}, {missed}"), there, "i64")


class PointBackward(Backward):
    """Writes the adjoint sweep of a block of points."""

    text: PointText
    handed = 0

    def write_straight(self, body: Body) -> None:
        """Write straight rows, going back."""
        with self.text.each_point():
            super().write_straight(body)

    def write_loop(self, body: Body) -> None:
        """Write a loop, from the last iteration to the first; what is added to is in memory."""
        text, segment = self.text, body.segment
        handed = self.handed_rows(body)
        self.handed = max(self.handed, len(handed))
        final = segment.start + segment.period * (segment.count - 1)
        if handed:
            with text.each_point():
                for slot, row in enumerate(handed):
                    text.store(self.first_bar(final + row) or literal(-0.0), "%carried", slot)
        with text.each_turn(segment.count, False) as turn, text.each_point():
            cotangents = Cotangents({row: text.load("%carried", slot) for slot, row in enumerate(handed)})
            self.write_rows(body, turn, cotangents, set())
            for slot, row in enumerate(handed):
                end = cotangents.before.get(row) or self.before_loop(body, row, turn)
                text.store(end, "%carried", slot)
        if handed:
            with text.each_point():
                for slot, row in enumerate(handed):
                    source = segment.start - segment.period + row
                    text.store(text.load("%carried", slot), "%result_bars", int(self.places[source]))
                    self.added[source] = True
