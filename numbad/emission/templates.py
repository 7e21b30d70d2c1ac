"""An op's partials as rows with relative addresses: traced once, simplified, and packed for the compiled passes.

A template is a run of int64: the number of its rows, the kind and place of each partial, then three
numbers a row: opcode and operands. A place is a slot (0 the constant zero, 1 x, 2 y, 3 the output,
then the template's own rows) or, below zero, a constant. There is one template for each op and for
each choice of the operands whose partials are wanted (1: x, 2: y, 3: both), so what nobody reads is
not emitted.
"""

from __future__ import annotations

import math
import threading
from array import array
from typing import Any

import numpy as np

from numbad.kernels.emission_layout import ADDRESS, EITHER, MINUS, NONE, NUMBER, ONE, SLOTS_MOST
from numbad.limits import MOST_POWERS
from numbad.ops.arithmetic import add, power_by_constant
from numbad.ops.definition import REGISTRY, Op, absences, is_number
from numbad.ops.selection import drop, keep, logical_not
from numbad.recording.recorder import Recorder, current, set_current
from numbad.recording.scalars import Scalar, make_scalar
from numbad.tape.layout import MAP

Place = int | float  # of an operand: a slot, or a number
Row = tuple[int, int, Place, Place]  # opcode, slot, operands
UNKNOWN, BY_PYTHON = 0, -1  # entries of the index in place of a template's position
FIRST = 4  # the slot of a template's first row
LONGEST = SLOTS_MOST - FIRST


class UntraceableError(Exception):
    """A partials function asks for values: its rows differ from point to point."""


class Tracer(Recorder):
    """The recorder on which a partials function runs once: it has no values to give."""

    __slots__ = ()

    def run(self, final: bool = False, wanted: tuple[Any, ...] = ()) -> Any:
        """Refuse: there are no values."""
        raise UntraceableError


class Templates:
    """The templates of all ops that have been differentiated in a recording, ready for the compiled passes.

    The arrays are replaced, never changed, for a pass of another thread may be reading them: first those
    that others refer to. A reader takes the index, then the text, then the constants. Writers take turns.

    Attributes
    ----------
    text : array of int64
        The templates, one after the other.
    index : array of int64
        For 4 * opcode + choice the position in `text`; 0 where it is not known yet, -1 where Python
        has to run the partials function each time.
    constants : list of float
        Numbers that templates name, by -1 - position in this list.
    powers : dict
        Position in `text` of the template of x to each power that has been met.
    """

    def __init__(self) -> None:
        self.text = array("q", (0,))
        self.index = array("q", bytes(8 * 4 * MAP))
        self.constants: list[float] = []
        self.positions: dict[str, int] = {}
        self.powers: dict[float, int] = {}
        self.traced: tuple[list[int], list[Any]] = [], []  # opcodes and their partials functions
        self.highest = 0  # of these opcodes
        self.lock = threading.Lock()
        self.minus_zero: int | None = None
        self.minus_unit = -1 - self.place(-1.0, {})

    def fresh(self) -> bool:
        """Whether the ops still have the partials functions that were traced."""
        opcodes, functions = self.traced
        if self.highest >= len(REGISTRY):
            return False
        return [REGISTRY[opcode].partials_function for opcode in opcodes] == functions

    def add(self, opcode: int, choice: int) -> None:
        """Trace an op and note its template for a choice of operands."""
        op = REGISTRY[opcode]
        function = op.partials_function
        found = trace(op)
        with self.lock:
            self.note(op, function)
            position = BY_PYTHON if found is None else self.pack(*found, choice, absences(op))
            index = self.index[:]
            index[4 * opcode + choice] = position
            self.index = index

    def note(self, op: Op, function: Any) -> None:
        """Remember which partials function of an op was traced."""
        opcodes, functions = self.traced
        self.highest = max(self.highest, op.opcode)
        self.traced = [*opcodes, op.opcode], [*functions, function]

    def add_power(self, exponent: float) -> int:
        """Return the position of the template of x to a power that is known; 0 if there is none."""
        found = self.powers.get(exponent, 0 if len(self.powers) >= MOST_POWERS or exponent != exponent else None)
        if found is None:
            function = power_by_constant.partials_function
            traced = trace(power_by_constant, exponent)
            with self.lock:
                self.note(power_by_constant, function)
                absent = absences(power_by_constant)
                found = self.powers[exponent] = 0 if traced is None else self.pack(*traced, 1, absent)
        return found

    def pack(self, rows: list[Row], partials: list[Place], choice: int, absent: tuple[bool, ...]) -> int:
        """Append a template with the rows that its partials need; return its position.

        `absent` says which partials may be absent, as far as the op's text says.
        """
        wanted = [partial if choice >> k & 1 else 0.0 for k, partial in enumerate(partials)]
        wanted += [0.0] * (2 - len(wanted))
        rows = live(rows, wanted)
        slots = {slot: FIRST + k for k, (_, slot, _, _) in enumerate(rows)}
        position = len(self.text)
        head = [len(rows)]
        made = {row[1]: row for row in rows}
        for k, partial in enumerate(wanted):
            kind = kind_of(partial)
            if kind == ADDRESS and absent[k] and may_be_absent(partial, made):
                kind = EITHER
            head += [kind, self.place(partial, slots) if kind in (NUMBER, ADDRESS, EITHER) else 0]
        for opcode, _, a, b in rows:
            head += [opcode, self.place(a, slots), self.place(b, slots)]
        self.text = self.text + array("q", head)
        return position

    def place(self, operand: Place, slots: dict[int, int]) -> int:
        """Return an operand as the compiled passes read it."""
        if isinstance(operand, int):
            return slots.get(operand, operand)
        if operand == 0.0 and math.copysign(1.0, operand) > 0.0:
            return 0
        name = operand.hex()
        found = self.positions.get(name)
        if found is None:
            found = self.positions[name] = len(self.constants)
            if operand == 0.0:
                self.minus_zero = found
            self.constants.append(operand)
        return -1 - found


def kind_of(partial: Place) -> int:
    """Return how a partial is multiplied by a cotangent."""
    if isinstance(partial, int):
        return ADDRESS if partial else NONE
    return NONE if partial == 0.0 else ONE if partial == 1.0 else MINUS if partial == -1.0 else NUMBER


def may_be_absent(partial: Place, made: dict[int, Row]) -> bool:
    """Whether a partial that its op's text says may be absent still may be, now that it has been simplified.

    It is an operand as it is, or a selection one of whose outcomes is absent; anything else is a number.
    """
    if isinstance(partial, float):
        return is_number(partial, -0.0)
    if partial < FIRST:
        return True
    opcode, _, a, b = made[partial]
    if opcode in (keep.opcode, drop.opcode):
        return True
    if opcode != add.opcode:
        return False
    halves = [made[half] for half in (a, b) if isinstance(half, int) and half >= FIRST]
    if [half[0] for half in halves] != [keep.opcode, drop.opcode] or halves[0][2] != halves[1][2]:
        return False
    return any((isinstance(half[3], float) or half[3] >= FIRST) and may_be_absent(half[3], made) for half in halves)


def live(rows: list[Row], partials: list[Place]) -> list[Row]:
    """Return the rows that some partial depends on."""
    needed = {partial for partial in partials if isinstance(partial, int)}
    kept = []
    for row in reversed(rows):
        if row[1] in needed:
            kept.append(row)
            needed.update(operand for operand in row[2:] if isinstance(operand, int))
    return kept[::-1]


# ---------------------------------------------------------------- tracing


def trace(op: Op, exponent: float | None = None) -> tuple[list[Row], list[Place]] | None:
    """Run a partials function on symbols; return its rows and partials, None where it has to run on values.

    `exponent` is the value of the second operand where it is known.
    """
    tracer = Tracer()
    tracer.size = FIRST
    outer = current()
    set_current(tracer)
    try:
        partials = list(op.symbolic_partials(*(make_scalar(tracer, slot) for slot in (1, 2, 3))))
    except Exception:  # of the user's own function: it is run again, on recording values, and may raise there
        return None
    finally:
        set_current(outer)
    code = tracer.code.tolist()
    if tracer.words or len(code) > 4 * LONGEST or any(opcode >= MAP for opcode in code[::4]):
        return None
    places = [found for found in (place_of(tracer, partial) for partial in partials) if found is not None]
    if not len(places) == len(partials) == op.arity:
        return None
    numbers = dict(zip(map(int, tracer.numbers[::2]), tracer.numbers[1::2], strict=True))
    numbers[0] = 0.0
    if exponent is not None:
        numbers[2] = exponent
    return simplify(list(zip(*[iter(code)] * 4, strict=True)), places, numbers)


def place_of(tracer: Tracer, partial: Any) -> Place | None:
    """Return a partial as a slot or a number; None for anything else."""
    if isinstance(partial, Scalar):
        return partial.address if partial.recorder is tracer else None
    if isinstance(partial, (float, int, np.generic)) or (isinstance(partial, np.ndarray) and not partial.ndim):
        try:
            return float(partial)
        except TypeError:
            return None
    return None


# ---------------------------------------------------------------- simplification


def simplify(
    rows: list[tuple[int, int, int, int]], partials: list[Place], numbers: dict[int, float]
) -> tuple[list[Row], list[Place]]:
    """Fold constants, and give rows the cheaper forms that their ops have."""
    known: dict[int, Place] = dict(numbers)
    kept: dict[int, Row] = {}
    for opcode, out, a, b in rows:
        op = REGISTRY[opcode]
        operands = [known.get(a, a), known.get(b, b)][: op.arity]
        found = cheaper(op, operands, kept)
        if isinstance(found, tuple):
            op, operands = found
        elif found is not None:
            known[out] = found
            continue
        x, y = (*operands, 0)[:2]
        kept[out] = (op.opcode, out, x, y)
    return list(kept.values()), [settled(known.get(p, p), kept) if isinstance(p, int) else p for p in partials]


def settled(partial: Place, kept: dict[int, Row]) -> Place:
    """Return a partial without the zero that is added to it: the ops that multiply by it take it for a number."""
    row = kept.get(partial) if isinstance(partial, int) else None
    return row[2] if row is not None and row[0] == add.opcode and is_number(row[3], 0.0) else partial


def cheaper(op: Op, operands: list[Place], kept: dict[int, Row]) -> Place | tuple[Op, list[Place]] | None:
    """Return the number, the slot or the cheaper row that a row is equal to, if there is one.

    A sum may be where(c, 1, 0), the condition itself, or where(c, 0, 1), its negation.
    """
    if all(isinstance(operand, float) for operand in operands):
        return float(op.evaluate(*map(np.float64, operands)))
    if op.unit is not None:
        for one, other in (operands, operands[::-1]):
            if is_number(one, op.unit):
                return other
    if op is add:
        condition = selected(operands, kept, 1.0, 0.0)
        opposite = selected(operands, kept, 0.0, 1.0)
        return condition if opposite is None else (logical_not, [opposite])
    return op.cheaper_function(*operands) if op.cheaper_function is not None else None


def selected(operands: list[Place], kept: dict[int, Row], first: float, second: float) -> Place | None:
    """Return c where a sum is where(c, first, second) for a truth value c."""
    halves = [kept.get(operand) if isinstance(operand, int) else None for operand in operands]
    if halves[0] is None or halves[1] is None:
        return None
    (one, _, c, x), (other, _, d, y) = halves[0], halves[1]
    if one != keep.opcode or other != drop.opcode or c != d or not isinstance(c, int):
        return None
    if not (isinstance(x, float) and isinstance(y, float) and (x, y) == (first, second)):
        return None
    return c if c in kept and REGISTRY[kept[c][0]].boolean else None


_templates = Templates()


def templates() -> Templates:
    """Return the templates; new ones where an op has got other partials."""
    global _templates
    if not _templates.fresh():
        _templates = Templates()
    return _templates
