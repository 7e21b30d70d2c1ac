"""Loop nests: the LLVM text of a group of rows, going forward and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from numbad.compilation.grouping import Group, Member, read_bits
from numbad.compilation.places import Place
from numbad.compilation.text import Text, literal
from numbad.geometry import Shape
from numbad.ops.texts import unit_partials
from numbad.tape.layout import ADD, CONTRACT, GUARD

VALUE, BAR, NUMBER = range(3)  # what an argument of a function says: where a value is, where a cotangent is, a number
ABSENT = literal(-0.0)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A function that a group was written as.

    Attributes
    ----------
    text : str
        Its lines; functions that do the same have the same.
    arguments : list of (int, Place or int)
        What it is given, by its kind: a place, or a member, whose number on the tape that is.
    called : set of str
        The functions of numbers that it calls.
    sums : bool
        Whether it adds all that the outermost axis passes to one number.
    """

    text: str
    arguments: list[tuple[int, Place | int]]
    called: frozenset[str]
    sums: bool


class Nest:
    """Writes loops over an index space, one in another.

    Parameters
    ----------
    shape : tuple of int
        The lengths of the axes; the outermost one runs from %start to %stop.
    single : bool
        Whether numbers in memory are of single precision. They are computed in double precision, and each result is
        rounded: so are those of single operations, and sums err less.

    Attributes
    ----------
    places : dict
        The places that are spoken of, by kind, with their numbers among the arguments.
    sums : list of Place
        Those that are added to once loops are over.
    """

    def __init__(self, shape: Shape, single: bool) -> None:
        self.shape, self.levels, self.single = shape, len(shape), single
        self.number_kind, self.width = ("float", 4) if single else ("double", 8)
        self.text = Text()
        self.arguments: list[tuple[int, Place | int]] = []
        self.places: dict[tuple[int, Place], int] = {}
        self.pointers: dict[tuple[int, Place], str] = {}
        self.loaded: dict[tuple[int, Place], str] = {}
        self.sums: list[Place] = []
        self.level = 0

    def home(self, place: Place) -> int:
        """Return the innermost loop, counted from 1, that a place moves with; 0 if it stays."""
        return max((axis + 1 for axis, step in enumerate(place.strides) if step), default=0)

    def declare(self, kind: int, place: Place) -> None:
        """Note that a place is spoken of; before the loops are written."""
        if (kind, place) not in self.places:
            self.places[kind, place] = len(self.arguments)
            self.arguments.append((kind, place))

    def declare_sum(self, kind: int, place: Place) -> None:
        """Note that a place is added to."""
        self.declare(kind, place)
        if self.home(place) < self.levels and place not in self.sums:
            self.sums.append(place)

    def number(self, member: int) -> int:
        """Let the function be given the number of a member on the tape; return its place among the arguments."""
        self.arguments.append((NUMBER, member))
        return len(self.arguments) - 1

    def argument(self, k: int) -> str:
        """Return an argument, as an integer."""
        place = self.text.define(f"getelementptr inbounds i64, ptr %arguments, i64 {k}")
        return self.text.define(f"load i64, ptr {place}, align 8")

    # ------------------------------------------------------------ loops

    def write(self, kind: int, body: Callable[[], dict[Place, str]], reads: set[tuple[int, Place]]) -> None:
        """Write the loops; the body returns what is to be added to the sums, and `reads` are loaded where they stay."""
        self.kind, self.body, self.reads = kind, body, reads
        self.enter_level({})
        self.text.line("ret i64 0")

    def enter_level(self, totals: dict[Place, str]) -> dict[Place, str]:
        """Write what lies inside of so many loops; return the names of the sums after it."""
        text, level = self.text, self.level
        self.move_pointers()
        for key in self.places:
            if key in self.reads and self.home(key[1]) == level < self.levels:
                self.load(*key)
        if level == self.levels:
            terms = self.body()
            return {
                place: text.define(f"fadd reassoc double {totals[place]}, {terms[place]}") if place in terms else total
                for place, total in totals.items()
            }
        before, head, after = text.block, text.label(), text.label()
        text.line(f"br label %{head}")
        text.begin(head)
        at = len(text.lines)
        turn, following = text.name(), text.name()
        carried = {place: text.name() for place in self.sums if self.home(place) <= level}
        kept = dict(self.pointers)
        self.turn = turn
        self.level += 1
        found = self.enter_level(carried)
        self.level -= 1
        begin, end = ("%start", "%stop") if level == 0 else ("0", str(self.shape[level]))
        text.line(f"{following} = add nuw nsw i64 {turn}, 1")
        more = text.define(f"icmp ult i64 {following}, {end}")
        mark = ", !llvm.loop !LOOP" if level == self.levels - 1 else ""
        text.line(f"br i1 {more}, label %{head}, label %{after}{mark}")
        latch = text.block
        lines = [f"  {turn} = phi i64 [ {begin}, %{before} ], [ {following}, %{latch} ]"]
        for place, name in carried.items():
            lines.append(
                f"  {name} = phi double [ {totals.get(place, ABSENT)}, %{before} ], [ {found[place]}, %{latch} ]"
            )
        text.lines[at:at] = lines
        text.begin(after)
        self.pointers = kept
        for place in self.sums:
            if self.home(place) == level:
                pointer = self.pointers[self.kind, place]
                self.write_number(text.add(self.read_number(pointer), found[place]), pointer)
        return {place: found[place] for place in totals}

    def move_pointers(self) -> None:
        """Make the pointers of this level: those of places that have moved with the innermost loop so far."""
        text, axis = self.text, self.level - 1
        for (kind, place), number in self.places.items():
            if axis < 0:
                self.pointers[kind, place] = text.define(f"inttoptr i64 {self.argument(number)} to ptr")
            elif place.strides[axis]:
                step = place.strides[axis]
                moved = self.turn if step == 1 else text.define(f"mul nsw i64 {self.turn}, {step}")
                pointer = self.pointers[kind, place]
                self.pointers[kind, place] = text.define(
                    f"getelementptr {self.number_kind}, ptr {pointer}, i64 {moved}"
                )

    # ------------------------------------------------------------ memory

    @property
    def mark(self) -> str:
        """What says of a load or store that no other iteration of the innermost loop writes there."""
        return ", !llvm.access.group !ACCESS" if self.levels and self.level == self.levels else ""

    def load(self, kind: int, place: Place) -> str:
        """Return what is at a place."""
        key = kind, place
        if key in self.loaded:
            return self.loaded[key]
        name = self.read_number(self.pointers[key])
        if kind == VALUE or self.home(place) < self.levels:  # cotangents in the innermost loop are added to
            self.loaded[key] = name
        return name

    def store(self, kind: int, place: Place, value: str) -> None:
        """Put a number at a place."""
        self.write_number(value, self.pointers[kind, place])

    def read_number(self, pointer: str) -> str:
        """Return the number at a place in memory."""
        name = self.text.define(f"load {self.number_kind}, ptr {pointer}, align {self.width}{self.mark}")
        return self.text.define(f"fpext float {name} to double") if self.single else name

    def write_number(self, value: str, pointer: str) -> None:
        """Put a number at a place in memory."""
        if self.single:
            value = self.text.define(f"fptrunc double {value} to float")
        self.text.line(f"store {self.number_kind} {value}, ptr {pointer}, align {self.width}{self.mark}")

    def round(self, value: str) -> str:
        """Return the result of an operation as memory would have it."""
        if not self.single:
            return value
        return self.text.define(f"fpext float {self.text.define(f'fptrunc double {value} to float')} to double")

    def finish(self) -> Kernel:
        """Return what was written."""
        sums = any(self.home(place) == 0 for place in self.sums)
        return Kernel("\n".join(self.text.lines), self.arguments, frozenset(self.text.called), sums)


def write_forward(group: Group, single: bool = False) -> Kernel:
    """Return the function that computes a group."""
    nest = Nest(group.shape, single)
    rows = {k: nest.number(k) for k, member in enumerate(group.members) if member.is_guard}
    reads = declare_reads(nest, group)
    for member in group.members:
        if member.adds:
            nest.declare_sum(VALUE, member.out)
        elif member.stored:
            nest.declare(VALUE, member.out)

    def body() -> dict[Place, str]:
        names: list[str] = []
        terms: dict[Place, str] = {}
        for k, member in enumerate(group.members):
            operands = [
                names[source] if source >= 0 else nest.load(VALUE, place)
                for source, place in zip(member.sources, member.operands)
            ]
            if member.is_guard:
                write_guard(nest, member, operands, rows[k])
                names.append("")
                continue
            names.append(compute(nest, member, operands))
            if member.adds:
                add_to(nest, VALUE, member.out, names[k], terms)
            elif member.stored:
                nest.store(VALUE, member.out, names[k])
        return terms

    nest.write(VALUE, body, reads)
    return nest.finish()


def declare_reads(nest: Nest, group: Group) -> set[tuple[int, Place]]:
    """Declare what a group reads of memory."""
    found = set()
    for member in group.members:
        for source, place in zip(member.sources, member.operands):
            if source < 0:
                nest.declare(VALUE, place)
                found.add((VALUE, place))
    return found


def compute(nest: Nest, member: Member, operands: list[str]) -> str:
    """Return what a row computes of numbers; of a row that adds, what it adds."""
    if member.opcode == ADD:
        return operands[0]
    if member.opcode == CONTRACT:
        return nest.text.define(f"fmul double {operands[0]}, {operands[1]}")
    missing = [literal(0.0)] * (2 - len(operands))
    return nest.round(nest.text.call(f"value_{member.op.name}", *operands, *missing))


def add_to(nest: Nest, kind: int, place: Place, term: str, terms: dict[Place, str]) -> None:
    """Add a number to memory, or to a sum that is written later."""
    if nest.home(place) < nest.levels:
        terms[place] = nest.text.add(terms[place], term) if place in terms else term
    else:
        held = nest.read_number(nest.pointers[kind, place])
        nest.store(kind, place, nest.text.add(held, term))


def write_guard(nest: Nest, member: Member, operands: list[str], row: int) -> None:
    """Write a guard: the function returns one more than its row where it does not hold."""
    text = nest.text
    holds = text.holds(member.truth if member.opcode == GUARD else None, *operands)
    good, bad = text.label(), text.label()
    text.line(f"br i1 {holds}, label %{good}, label %{bad}")
    text.begin(bad)
    found = text.define(f"add i64 {nest.argument(row)}, 1")
    text.line(f"ret i64 {found}")
    text.begin(good)


# ---------------------------------------------------------------- going back


@dataclasses.dataclass
class Pull:
    """What one function adds going back through a group.

    Attributes
    ----------
    targets : list of Place
        The operands whose cotangents are added to; no two of them share an address unless they are the same.
    fresh : set of Place
        Those that have no cotangent so far: it is set.
    bars : set of int
        The members whose results have cotangents in memory.
    spare : dict of Place to Place
        Where what is added to some targets is put for now: they share addresses with others.
    """

    targets: list[Place]
    fresh: set[Place]
    bars: set[int]
    spare: dict[Place, Place] = dataclasses.field(default_factory=dict)


def targets_of(group: Group) -> list[list[Place]]:
    """Return the operands in memory that get cotangents, in lists of which no two places share an address."""
    found: list[list[Place]] = []
    for member in group.members:
        for k, (source, place) in enumerate(zip(member.sources, member.operands)):
            if source >= 0 or not member.active & (k + 1) or any(place in part for part in found):
                continue
            for part in found:
                if not any(place.meets(other, group.shape) for other in part):
                    part.append(place)
                    break
            else:
                found.append([place])
    return found


def describe(group: Group) -> tuple[list[Place], tuple[Any, ...]]:
    """Return the places that a group speaks of, and all else that its functions depend on.

    Groups for which the latter is the same have the same functions, which are given other places.
    """
    numbers: dict[Place, int] = {}
    parts = []
    for member in group.members:
        places = tuple(numbers.setdefault(place, len(numbers)) for place in (*member.operands, member.out))
        flags = member.truth, member.adds, member.stored, member.active
        parts.append((member.opcode, *flags, *member.sources, *places))
    return list(numbers), (group.shape, tuple(parts), tuple(place.strides for place in numbers))


class Back:
    """Writes the way back through a group."""

    def __init__(self, group: Group, pull: Pull, single: bool = False) -> None:
        self.group, self.pull = group, pull
        self.nest = Nest(group.shape, single)
        self.leads = self.find_leads()

    def find_leads(self) -> list[bool]:
        """Return of each member whether its cotangent reaches a target."""
        found: list[bool] = []
        for member in self.group.members:
            found.append(
                any(
                    member.active & (k + 1) and (found[source] if source >= 0 else place in self.pull.targets)
                    for k, (source, place) in enumerate(zip(member.sources, member.operands))
                )
            )
        return found

    def write(self) -> Kernel:
        """Return the function."""
        nest, group = self.nest, self.group
        reads = declare_reads(nest, group)
        for k, member in enumerate(group.members):
            if k in self.pull.bars and self.leads[k]:
                nest.declare(BAR, member.out)
                reads.add((BAR, member.out))
            if member.stored and not member.adds:
                nest.declare(VALUE, member.out)
        for place in self.pull.targets:
            nest.declare_sum(BAR, self.pull.spare.get(place, place))
        nest.write(BAR, self.body, reads)
        return nest.finish()

    def body(self) -> dict[Place, str]:
        """Write what is done for one element."""
        nest, group, text = self.nest, self.group, self.nest.text
        self.values: dict[int, str] = {}
        bars: dict[int, str] = {}
        found: dict[Place, str] = {}

        def add(sums: dict[Any, str], key: Any, term: str) -> None:
            sums[key] = text.add(sums[key], term) if key in sums else term

        for k in range(len(group.members) - 1, -1, -1):
            member = group.members[k]
            if not self.leads[k]:
                continue
            if k in self.pull.bars:
                add(bars, k, nest.load(BAR, member.out))
            if k not in bars:
                continue
            for j, (source, place) in enumerate(zip(member.sources, member.operands)):
                if not member.active & (j + 1):
                    continue
                if source >= 0:
                    if self.leads[source]:
                        add(bars, source, self.multiply(k, j, bars[k]))
                elif place in self.pull.targets:
                    add(found, place, self.multiply(k, j, bars[k]))
        terms: dict[Place, str] = {}
        for place, term in found.items():
            target = self.pull.spare.get(place, place)
            if place in self.pull.fresh:
                nest.store(BAR, target, term)
            else:
                add_to(nest, BAR, target, term, terms)
        return terms

    def multiply(self, k: int, which: int, bar: str) -> str:
        """Return a cotangent times the slope of a row by one of its operands."""
        text, member = self.nest.text, self.group.members[k]
        if member.opcode == ADD:
            return bar
        if member.opcode == CONTRACT:
            return text.define(f"fmul double {bar}, {self.operand(k, 1 - which)}")
        unit = unit_partials(member.op)[which]
        if unit:
            return bar if unit > 0 else text.define(f"fneg double {bar}")
        bits = read_bits(dataclasses.replace(member, active=which + 1))
        numbers = [self.operand(k, j) if bits & (j + 1) else literal(0.0) for j in range(2)]
        result = self.value(k) if bits & 4 else literal(0.0)
        return text.define(f"fmul double {text.call(f'slope{which}_{member.op.name}', *numbers, result)}, {bar}")

    def operand(self, k: int, which: int) -> str:
        """Return the value of an operand."""
        member = self.group.members[k]
        source = member.sources[which]
        return self.value(source) if source >= 0 else self.nest.load(VALUE, member.operands[which])

    def value(self, k: int) -> str:
        """Return the value of a member: from memory, or computed again."""
        if k not in self.values:
            member = self.group.members[k]
            if member.stored and not member.adds:
                self.values[k] = self.nest.load(VALUE, member.out)
            else:
                operands = [self.operand(k, j) for j in range(len(member.operands))]
                self.values[k] = compute(self.nest, member, operands)
        return self.values[k]
