"""The text of an adjoint: a way forward that keeps what will be missed, and a way back, with loops as loops.

What is kept lies on two stacks, of real and of whole numbers. A scalar is kept where it is overwritten and its value
is needed on the way back, by the block that overwrites it or by one before ("To be recorded analysis": Hascoët, Naumann
and Pascual, 2005; Griewank and Walther, 2008, *Evaluating Derivatives*, section 6.2).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from numbad.numba_api.adjoint.activity import Facts, leaving, written
from numbad.numba_api.adjoint.blocks import Block, Names, Text, branch_text, dtype_of, guarded, restored, words
from numbad.numba_api.adjoint.tree import (
    Flat,
    For,
    If,
    New,
    NotAdjoint,
    Set,
    Statement,
    Store,
    Swap,
    While,
    has_loops,
    names_in,
    walk,
)

SUPPORT = "ABSENT, absent, add_to, bars_like, bound, clear, gate, inside, opposite, same, span, trips, weigh"
OWN = {"reals", "real", "wholes", "whole", "ahead", "back", "njit", "np", "math", "flat", *SUPPORT.split(", ")}


@dataclass
class Straight:
    """A block, and the numbers that it keeps.

    Attributes
    ----------
    counts : tuple of int
        How many real and whole numbers it keeps each time.
    roomy : bool
        Whether room for them has been made before the loop in which it is.
    """

    block: Block
    kept: set[str] = field(default_factory=set)
    counts: tuple[int, int] = (0, 0)
    roomy: bool = False


@dataclass
class Made:
    """An array that is made."""

    statement: New
    nested: bool


@dataclass
class Exchanged:
    """Two arrays that exchange their names."""

    statement: Swap


@dataclass
class Branch:
    """A branch with loops inside."""

    test: str
    body: list[Unit]
    orelse: list[Unit]


@dataclass
class Loop:
    """A loop.

    Attributes
    ----------
    saved : bool
        Whether the loop's own variable is kept, for it is needed and the loop overwrites it.
    count : str
        The number of iterations, where only the loop itself tells it.
    """

    statement: For | While
    before: list[Unit]
    body: list[Unit]
    count: str = ""
    counter: str = ""
    saved: bool = False


Unit = Straight | Made | Exchanged | Branch | Loop


class Writer:
    """Writes the adjoint of a flat kernel."""

    def __init__(self, flat: Flat, facts: Facts, careful: bool) -> None:
        taken = OWN | set(facts.kinds) | set(flat.parameters) | set(flat.results) | set(flat.constants)
        self.flat, self.facts = flat, facts
        self.names = Names(taken, careful)
        self.early: Text = [  # of loops that may not run, and branches that are not taken
            (0, f"{name} = {zero(facts.kinds[name])}") for name in assigned(flat)
        ]
        self.readers = readings(flat)
        self.units = self.group(flat.body, set(), False, False)
        self.recorded(self.units, set())
        self.count(self.units)

    # ------------------------------------------------------------ units

    def group(self, statements: list[Statement], after: set[str], nested: bool, looped: bool) -> list[Unit]:
        """Put statements without loops together; `after` are the arrays that change behind them."""
        units: list[Unit] = []
        waiting: list[Statement] = []

        def close(k: int) -> None:
            if waiting:
                changing = after | written(waiting) | written(statements[k:])
                units.append(Straight(Block(list(waiting), self.facts, self.names, changing, self.outside(waiting))))
                waiting.clear()

        for k, statement in enumerate(statements):
            if not has_loops(statement):
                waiting.append(statement)
                continue
            close(k)
            units.append(self.unit(statement, after | written(statements[k + 1 :]), nested, looped))
        close(len(statements))
        return units

    def outside(self, statements: list[Statement]) -> set[str]:
        """Return the names that are read outside of some statements."""
        own = Counter(name for statement in walk(statements) for name in read_by(statement))
        return {name for name, number in self.readers.items() if number > own[name]}

    def unit(self, statement: Statement, after: set[str], nested: bool, looped: bool) -> Unit:
        """Return the unit of a loop, of a branch with loops, or of an array."""
        if isinstance(statement, New):
            self.check_new(statement, nested, looped)
            return Made(statement, nested)
        if isinstance(statement, Swap):
            return Exchanged(statement)
        if isinstance(statement, If):
            body = self.group(statement.body, after, True, looped)
            return Branch(statement.test, body, self.group(statement.orelse, after, True, looped))
        assert isinstance(statement, (For, While))
        after = after | written([statement])
        before = self.group(statement.before, after, True, True) if isinstance(statement, While) else []
        loop = Loop(statement, before, self.group(statement.body, after, True, True))
        if isinstance(statement, While) or statement.leave:
            loop.count = self.names.fresh("count")
        loop.counter = self.names.fresh("turn")
        return loop

    def check_new(self, statement: New, nested: bool, looped: bool) -> None:
        """See to an array that is made inside of a loop or a branch."""
        if looped and statement.array not in self.facts.frozen:
            raise NotAdjoint("an array in a loop whose shape may change")
        if nested:
            kind, shape = dtype_of(self.facts.kinds[statement.array]), "0, " * statement.axes
            self.early.append((0, f"{statement.array} = np.empty(({shape}), {kind})"))

    # ------------------------------------------------------------ to be recorded

    def recorded(self, units: list[Unit], missed: set[str]) -> set[str]:
        """Note which numbers units keep; return those whose values are needed behind the units.

        `missed` are those whose values before the units are needed on the way back.
        """
        for unit in units:
            if isinstance(unit, Straight):
                assigned = set(unit.block.final)
                unit.kept |= assigned & (unit.block.needed | missed) - self.facts.frozen
                missed = (missed | unit.block.needed) - assigned
            elif isinstance(unit, Made):
                missed = missed | self.places_of(unit.statement)
            elif isinstance(unit, Branch):
                one, other = self.recorded(unit.body, missed), self.recorded(unit.orelse, missed)
                missed = one | other | {unit.test}
            elif isinstance(unit, Loop):
                missed = self.recorded_loop(unit, missed)
        return missed

    def places_of(self, statement: New) -> set[str]:
        """Return the numbers that say which part of an array is copied."""
        return words(statement.source.partition("[")[2]) & set(self.facts.kinds)

    def recorded_loop(self, loop: Loop, missed: set[str]) -> set[str]:
        """Note what a loop keeps, until nothing is added."""
        own: set[str] = set()
        if isinstance(loop.statement, For):
            statement = loop.statement
            own = {statement.name}
            loop.saved = loop.saved or statement.name in missed
            missed = missed | (words(f"{statement.start} {statement.stop} {statement.step}") & set(self.facts.kinds))
        missed = missed - own
        while True:
            after = self.recorded(loop.before, missed)
            found = missed | (self.recorded(loop.body, after) - own)
            if found == missed:
                return after - own
            missed = found

    def count(self, units: list[Unit]) -> None:
        """Give what is kept its places."""
        for unit in units:
            if isinstance(unit, Straight):
                unit.counts = unit.block.keep(sorted(unit.kept))
            elif isinstance(unit, Branch):
                self.count(unit.body)
                self.count(unit.orelse)
            elif isinstance(unit, Loop):
                self.count(unit.before)
                self.count(unit.body)

    # ------------------------------------------------------------ the way forward

    def forward(self, units: list[Unit]) -> Text:
        """Return the text of the way forward."""
        text: Text = []
        for unit in units:
            if isinstance(unit, Straight):
                text += self.forward_block(unit)
            elif isinstance(unit, Made):
                text.append((0, f"{unit.statement.array} = {ast.unparse(unit.statement.value)}"))
            elif isinstance(unit, Exchanged):
                text.append((0, swap_text(unit.statement.one, unit.statement.other)))
            elif isinstance(unit, Branch):
                text += branch_text(unit.test, self.forward(unit.body), self.forward(unit.orelse))
            else:
                text += self.forward_loop(unit)
        return text

    def forward_block(self, unit: Straight) -> Text:
        """Return the text of a block, which keeps what it has to."""
        text: Text = []
        for (place, number), stack in zip(self.moves(unit), self.stacks(unit), strict=True):
            text += [] if unit.roomy else room(stack, place, f"np.uint64({number})")
        for name, place in self.places(unit):
            text.append((0, f"{place} = {name}"))
        text += unit.block.forward()
        return text + ([] if unit.roomy else [(0, f"{p} += np.uint64({number})") for p, number in self.moves(unit)])

    def stacks(self, unit: Straight) -> list[str]:
        """Return the stacks on which a block keeps something."""
        return [stack for stack, number in zip(("reals", "wholes"), unit.counts, strict=True) if number]

    def places(self, unit: Straight) -> list[tuple[str, str]]:
        """Return the numbers that a block keeps, and where."""
        counts = [0, 0]
        found = []
        for name in unit.block.kept:
            kind = self.facts.kinds[name]
            found.append((name, unit.block.place(kind, counts[not kind.startswith("f")])))
            counts[not kind.startswith("f")] += 1
        return found

    def moves(self, unit: Straight) -> list[tuple[str, int]]:
        """Return how far a block moves the ends of the stacks."""
        return [(place, number) for place, number in zip(("real", "whole"), unit.counts, strict=True) if number]

    def forward_loop(self, loop: Loop) -> Text:
        """Return the text of a loop."""
        statement, text = loop.statement, Text()
        keeps = bool(self.back_body(loop))
        if loop.saved:
            text += push(statement.name)  # type: ignore[union-attr]
        counts = keeps and loop.count
        if counts:
            text.append((0, f"{loop.count} = 0"))
        after: Text = []
        if isinstance(statement, For):
            before, after = self.room_of(loop)
            text += before + self.proofs(loop)
            text.append((0, f"for {statement.name} in range({statement.start}, {statement.stop}, {statement.step}):"))
        else:
            text.append((0, "while True:"))
            text += deeper(self.forward(loop.before))
            text += [(1, f"if not {statement.test}:"), (2, "break")]
        text += deeper(self.forward(loop.body) or [(0, "pass")])
        if counts:
            text.append((1, f"{loop.count} += 1"))
        text += [(0, line) for line in leaving(statement.leave)]
        return text + after + (push(loop.count) if counts else [])

    def room_of(self, loop: Loop) -> tuple[Text, Text]:
        """Return the text that makes room for all iterations of a loop that has none inside, and what follows it."""
        statement = loop.statement
        assert isinstance(statement, For)
        if len(loop.body) != 1 or not isinstance(unit := loop.body[0], Straight) or statement.leave:
            return [], []
        if statement.step not in ("1", "-1") or not any(unit.counts):
            return [], []
        turns = self.names.fresh("turns")
        text: Text = [(0, f"{turns} = np.uint64(trips({statement.start}, {statement.stop}, {statement.step}))")]
        for (place, number), stack in zip(self.moves(unit), self.stacks(unit), strict=True):
            text += room(stack, place, f"np.uint64({number}) * {turns}")
        one, other = (statement.name, statement.start) if statement.step == "1" else (statement.start, statement.name)
        unit.roomy = True
        unit.block.each = turns, f"np.uint64({one} - {guarded(other)})"
        return text, [(0, f"{place} += np.uint64({number}) * {turns}") for place, number in self.moves(unit)]

    def proofs(self, loop: Loop) -> Text:
        """Return the text that looks at the indices of a loop's blocks before it begins."""
        statement = loop.statement
        if not isinstance(statement, For) or statement.leave:
            return []
        start, stop, step = (guarded(part) for part in (statement.start, statement.stop, statement.step))
        changing = {part.name for part in walk(statement.body) if isinstance(part, (Set, For))}
        shapes = {part.array for part in walk(statement.body) if isinstance(part, New)}
        shapes |= {name for part in walk(statement.body) if isinstance(part, Swap) for name in (part.one, part.other)}
        last = f"{start} + (trips({start}, {stop}, {step}) - 1) * {step}"
        text: Text = []
        for unit in loop.body:
            if isinstance(unit, Straight):
                text += [(1, line) for line in unit.block.prove(statement.name, start, last, changing, shapes)]
        return [(0, f"if trips({start}, {stop}, {step}) > 0:"), *text] if text else []

    # ------------------------------------------------------------ the way back

    def back(self, units: list[Unit]) -> Text:
        """Return the text of the way back."""
        text: Text = []
        for unit in reversed(units):
            if isinstance(unit, Straight):
                text += self.back_block(unit)
            elif isinstance(unit, Made):
                text += self.back_new(unit.statement)
            elif isinstance(unit, Exchanged):
                text += self.back_swap(unit.statement)
            elif isinstance(unit, Branch):
                text += branch_text(unit.test, self.back(unit.body), self.back(unit.orelse))
            else:
                text += self.back_loop(unit)
        return text

    def back_block(self, unit: Straight) -> Text:
        """Return the text that takes a block back."""
        text: Text = []
        if not unit.roomy:
            text += [(0, f"{place} -= np.uint64({number})") for place, number in self.moves(unit)]
        for name, place in self.places(unit):
            text.append((0, f"{name} = {restored(place, self.facts.kinds[name])}"))
        return text + unit.block.again() + unit.block.back

    def room_before(self, loop: Loop) -> Text:
        """Return the text that goes back to where what a loop keeps begins."""
        unit = loop.body[0] if loop.body else None
        if not isinstance(unit, Straight) or not unit.roomy or unit.block.each is None:
            return []
        statement, turns = loop.statement, unit.block.each[0]
        assert isinstance(statement, For)
        text: Text = [(0, f"{turns} = np.uint64(trips({statement.start}, {statement.stop}, {statement.step}))")]
        return text + [(0, f"{place} -= np.uint64({number}) * {turns}") for place, number in self.moves(unit)]

    def back_new(self, statement: New) -> Text:
        """Return the text that takes the making of an array back."""
        if statement.array not in self.facts.active:
            return []
        bars = self.names.bar(statement.array)
        text: Text = []
        source, _, rest = statement.source.partition("[")
        if source in self.facts.active:
            text.append((0, f"add_to({self.names.bar(source)}{'[' + rest if rest else ''}, {bars})"))
        return [*text, (0, f"clear({bars})")]

    def back_swap(self, statement: Swap) -> Text:
        """Return the text that takes an exchange back."""
        one, other = statement.one, statement.other
        text: Text = [(0, swap_text(one, other))]
        if {one, other} & self.facts.active:
            text.append((0, swap_text(self.names.bar(one), self.names.bar(other))))
        return text

    def back_body(self, loop: Loop) -> Text:
        """Return the text that takes one iteration back."""
        text = self.back(loop.body)
        if self.back(loop.before):
            raise NotAdjoint("a condition of while that is needed on the way back")
        return text

    def back_loop(self, loop: Loop) -> Text:
        """Return the text that takes a loop back."""
        body, statement = self.back_body(loop), loop.statement
        if not body:
            return self.restore(loop)
        text = pop(loop.count) if loop.count else []
        text += self.room_before(loop)
        if isinstance(statement, While):
            text.append((0, f"for {loop.counter} in range({loop.count} - 1, -1, -1):"))
        elif not loop.count and statement.step == "1":
            start = "0" if statement.start == "0" else f"({statement.start})"
            first = "-1" if start == "0" else f"{start} - 1"
            text.append((0, f"for {statement.name} in range({statement.stop} - 1, {first}, -1):"))
        else:
            number = loop.count or f"trips({statement.start}, {statement.stop}, {statement.step})"
            text.append((0, f"for {loop.counter} in range({number} - 1, -1, -1):"))
            text.append((1, f"{statement.name} = {statement.start} + {loop.counter} * {statement.step}"))
        return text + deeper(body) + self.restore(loop)

    def restore(self, loop: Loop) -> Text:
        """Return the text that gives a loop's variable the value that it had before the loop."""
        return pop(loop.statement.name) if loop.saved and isinstance(loop.statement, For) else []

    # ------------------------------------------------------------ the whole

    def pair(self, wanted: list[str], outputs: list[str]) -> list[str]:
        """Return the lines of two functions: the way forward, and the way back to cotangents of arguments.

        The way forward, `ahead`, gives the outputs, what the way back begins with, and the memory of what is kept.
        """
        facts, bar = self.facts, self.names.bar
        given = [self.names.fresh(f"{name}_given") for name in outputs]
        forward, back = self.forward(self.units), self.back(self.units)
        numbers = sorted(name for name in facts.active if name not in facts.axes)
        arrays = sorted(name for name in facts.active if name in facts.axes)
        ahead: Text = [(0, "real = whole = np.uint64(0)")]
        ahead += [(0, f"{name} = {name}.copy()") for name in sorted(facts.changed)]
        ahead += self.early + forward
        start: Text = [(0, f"{bar(name)} = ABSENT") for name in numbers]
        start += [(0, f"{bar(name)} = bars_like({name})") for name in arrays]
        for name, part in zip(outputs, given, strict=True):
            if name in facts.active:
                start.append((0, f"add_to({bar(name)}, {part})" if name in facts.axes else f"{bar(name)} += {part}"))
        back = start + back
        found = [
            bar(name) if name in facts.active else f"bars_like({name})" if name in facts.axes else "ABSENT"
            for name in wanted
        ]
        last = f"return ({together(found)})"
        state = self.state([*back, (0, last)])
        back = [(0, f"{name} = {cast}") for name, given_name, cast in state if given_name != name] + back
        result = f"return ({together(outputs)}), ({together(name for name, _, _ in state)}), reals, wholes"
        head = f"def back({', '.join([*(part[1] for part in state), *given, 'reals', 'wholes'])}):"
        return [
            f"def ahead({', '.join([*self.flat.parameters, 'reals', 'wholes'])}):",
            *indented([*ahead, (0, result)]),
            head,
            *indented([*back, (0, last)]),
        ]

    def state(self, back: Text) -> list[tuple[str, str, str]]:
        """Return what the way back begins with: names, those of parameters, and casts of what Python hands on."""
        facts = self.facts
        known = (set(facts.kinds) | {"real", "whole"}) - set(self.flat.constants)
        found = []
        for name in sorted(set().union(*(words(line) for _, line in back)) & known):
            kind = "u64" if name in ("real", "whole") else facts.kinds[name]
            if name in facts.axes or kind in ("f8", "i64", "b"):
                found.append((name, name, name))
            else:
                given = self.names.fresh(f"{name}_then")
                found.append((name, given, f"{dtype_of(kind)}({given})"))
        return found


def together(names: Iterable[str]) -> str:
    """Return the text of what a tuple holds."""
    return "".join(name + ", " for name in names)


def indented(text: Text) -> list[str]:
    """Return the lines of a function's body."""
    return ["    " * (depth + 1) + line for depth, line in text]


def read_by(statement: Statement) -> list[str]:
    """Return the names that a statement reads itself, without those inside of it."""
    if isinstance(statement, Set):
        return sorted(names_in(statement.value))
    if isinstance(statement, Store):
        return [name for part in (statement.value, *statement.index) for name in sorted(names_in(part))]
    if isinstance(statement, New):
        return sorted(names_in(statement.value))
    if isinstance(statement, For):
        return sorted(words(f"{statement.start} {statement.stop} {statement.step} {statement.leave}"))
    return [statement.test, getattr(statement, "leave", "")] if isinstance(statement, (If, While)) else []


def readings(flat: Flat) -> Counter[str]:
    """Return how often names are read; what a kernel returns is read once more."""
    return Counter([name for statement in walk(flat.body) for name in read_by(statement)] + flat.results)


def assigned(flat: Flat) -> list[str]:
    """Return the numbers that a kernel assigns, without its arguments."""
    found = {part.name for part in walk(flat.body) if isinstance(part, (Set, For))}
    return sorted(found - set(flat.parameters))


def zero(kind: str) -> str:
    """Return the text of a zero of a kind."""
    if kind in ("f8", "i64", "b"):
        return {"f8": "0.0", "i64": "0", "b": "False"}[kind]
    return restored("0.0" if kind == "f4" else "0", kind)


def swap_text(one: str, other: str) -> str:
    """Return the text of an exchange."""
    return f"{one}, {other} = {other}, {one}"


def deeper(text: Text) -> Text:
    """Return a text one step further in."""
    return [(depth + 1, line) for depth, line in text]


def room(stack: str, place: str, number: str) -> Text:
    """Return the text that looks whether there is room for some numbers.

    Memory that grew there would be counted as it is handed on, in each iteration: the way forward begins again instead.
    """
    error = "MemoryError" if stack == "reals" else "OverflowError"
    return [(0, f"if {place} + {number} > np.uint64({stack}.size):"), (1, f"raise {error}")]


def push(name: str) -> Text:
    """Return the text that keeps a whole number."""
    return [*room("wholes", "whole", "np.uint64(1)"), (0, f"wholes[whole] = {name}"), (0, "whole += np.uint64(1)")]


def pop(name: str) -> Text:
    """Return the text that takes a whole number back."""
    return [(0, "whole -= np.uint64(1)"), (0, f"{name} = wholes[whole]")]
