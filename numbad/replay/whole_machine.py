"""A machine for a short tape: its memory and the plan of its one compiled call are made ready once."""

from __future__ import annotations

import functools
from array import array
from typing import Any

import numpy as np

from numbad.errors import InternalError, message
from numbad.geometry import table_of
from numbad.kernels import run_layout as layout
from numbad.kernels.loading import BLOCKS, make_products_ready, make_rows_ready, sweep
from numbad.kernels.memory import address_of, empty
from numbad.limits import BLOCK, CHECKED, LOCKED_ROWS
from numbad.ops.definition import REGISTRY
from numbad.recording.inputs import FLOAT64
from numbad.replay.lookups import Lookup
from numbad.replay.recorded_path import Path
from numbad.sweeps.dependence import mark_active
from numbad.sweeps.whole import locate_spaces, new_plan
from numbad.tape.layout import (
    CLEAR,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    has_index_space,
    is_guard,
    is_left,
    is_product,
    operand_at,
    operand_count,
    operand_reference,
    reference_address,
    reference_space,
    set_reference,
)
from numbad.tape.rows import Rows
from numbad.tapes.slots import Input

if CHECKED:
    from numbad.kernels import checked_memory

SMALL = (GUARD, GUARD_VALUE, GATHER, SCATTER, HOST)  # rows that no sweep leaves to Python for their length


class WholeMachine:
    """A short tape with its memory: constants in place, and all that the compiled call is told.

    Attributes
    ----------
    memory : ndarray
        Values, then cotangents, then partials.
    values, arena : ndarray
        The values, and the cotangents.
    plan : array of int64
        What the driver is told (see `run_layout`).
    flags : ndarray of uint8
        Of each row, which operands depend on what is differentiated by, as bits 1 and 2.
    steady : int
        Another name of the arena, as a space without cotangents: operands lie there that depend on none of it.
    """

    def __init__(self, path: Path, rows: Rows, lookups: list[Lookup]) -> None:
        tape = path.tape
        self.rows, self.tape, self.outputs = rows, tape, path.results
        size, count, dtype = rows.size, rows.row_count(), rows.dtype
        self.count = count
        self.output = int(path.results[0]) if path.wanted is not None else 0
        self.memory = np.zeros(2 * (size + count), dtype)
        self.values, self.arena = self.memory[:size], self.memory[size : 2 * size]
        self.spaces: dict[int, np.ndarray] = {}
        self.values[tape.numbers[:, 0].astype(np.int64)] = tape.numbers[:, 1]
        for address, block in rows.loads:
            self.values[address : address + block.size] = block
        self.code, self.words = array("I", rows.code.tobytes()), array("q", rows.words.tobytes())
        self.operands = np.frombuffer(self.words, np.int64)
        self.lookups = lookups
        for lookup in lookups:
            lookup.bind(self.operands)
        self.steady = len(rows.spaces)
        self.flags = self.find_flags(path)
        self.set_steady()
        self.plan = self.make_plan(path.wanted is not None)
        self.plan_at = self.plan.buffer_info()[0]
        self.driver = sweep("run_at", dtype, count <= LOCKED_ROWS)
        self.targets = [
            self.values[slot.address : slot.address + slot.size].reshape(slot.shape) for slot in tape.inputs
        ]
        self.reads = [self.reader(slot, given) for slot, given in zip(tape.inputs, tape.examples, strict=True)]
        for k, wanted in enumerate(path.wanted or ()):
            self.reads[k] = self.reads[k] if wanted else nothing

    def reader(self, slot: Input, given: Any) -> Any:
        """Return a function that gives the derivative with respect to an input."""
        if slot.shape and slot.dtype == self.rows.dtype:
            return functools.partial(np.add, slot.place(self), 0.0)  # what is absent is shown as zero
        return functools.partial(slot.read, self, given)

    def find_flags(self, path: Path) -> np.ndarray:
        """Return of each row which operands depend on what is differentiated by."""
        if path.wanted is None or not self.words:
            return np.zeros(self.count, np.uint8)
        active = np.zeros(self.rows.size, np.bool_)
        for slot, wanted in zip(self.tape.inputs, path.wanted, strict=True):
            active[slot.address : slot.address + slot.size] = wanted
        return mark_active(self.tape.code, self.tape.words, active)

    def set_steady(self) -> None:
        """Give operands no cotangents that depend on nothing that is differentiated by."""
        words = self.operands
        for row, flag in enumerate(self.flags.tolist()):
            opcode, _, w, _ = self.code[4 * row : 4 * row + 4]
            for k in range(1, operand_count(words, w) if has_index_space(opcode) else 0):
                place = operand_reference(operand_at(words, w, k))
                if not (flag & k or reference_space(words, place)):
                    set_reference(words, place, self.steady, int(reference_address(words, place)))

    def make_plan(self, slopes: bool) -> array[int]:
        """Return the plan of a run; `slopes` for both sweeps."""
        size, count, dtype = self.rows.size, self.count, self.rows.dtype
        arrays = bool(self.words)
        self.scratch = empty(4 * BLOCK, dtype) if arrays else None
        self.bases, self.bars = locate_spaces(self.rows, self.spaces)
        self.bases.append(address_of(self.memory))
        self.bars.append(0)
        plan = new_plan(dtype, arrays, True, self.scratch)
        if CHECKED:
            parts = (self.code, self.words, self.bases, self.bars, plan)
            checked_memory.divide(self.memory, (size, size, 2 * count), *parts)
        at, width = address_of(self.memory), self.memory.itemsize
        plan[layout.CODE], plan[layout.STOP], plan[layout.SIZE] = self.code.buffer_info()[0], count, size
        if arrays:
            make_rows_ready(BLOCKS, dtype, np.array(self.code[::4]))
            if has_product(self.rows):
                make_products_ready(dtype)
            plan[layout.WORDS] = self.words.buffer_info()[0]
            plan[layout.BASES], plan[layout.BARS] = self.bases.buffer_info()[0], self.bars.buffer_info()[0]
        plan[layout.VALUES], plan[layout.PARTIALS] = at, at + 2 * size * width
        plan[layout.BAR] = at + size * width if slopes else 0
        plan[layout.OUTPUT] = self.output
        plan[layout.INPUTS] = 0 if arrays else sum(slot.size for slot in self.tape.inputs)
        return plan

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places."""
        for target, value in zip(self.targets, values):
            target[...] = value
        for lookup in self.lookups:
            lookup.refresh()

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the whole tape; return the row of a guard that does not hold, or -1."""
        done = self.driver(0.0, self.plan_at)
        return -1 if done == self.count else self.stopped(done)

    def stopped(self, row: int) -> int:
        """Return the row at which a forward sweep stopped: nothing but a guard may stop it."""
        if row < 0 or not is_guard(self.code[4 * row]):
            raise InternalError(message(f"a replay stopped at row {row}, which is no guard", "report it", where=False))
        return int(self.tape.sites[row])

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Return the value, and the derivative with respect to each input, after a run."""
        value = self.values[self.output]
        slopes = [read() for read in self.reads]
        return float(value) if self.rows.dtype == FLOAT64 else value, slopes

    def fork(self, other: Any) -> tuple[int, bool] | None:
        """Return None: the rows are those of the recordings."""

    def site(self, row: int) -> Any:
        """Return the user's statement of a row of the recording."""
        return self.tape.places[row]


def nothing() -> None:
    """Read no cotangent: that of an input with respect to which nobody differentiates."""


def has_product(rows: Rows) -> bool:
    """Whether there is a product of matrices that has a function of its own."""
    code = np.frombuffer(rows.code, np.uint32).reshape(-1, 4)
    return any(is_product(rows.words, int(w)) for w in code[code[:, 0] == CONTRACT, 2])


def left_to_python(rows: Rows) -> list[int]:
    """Return the rows that the compiled sweeps leave to Python: SciPy computes them, or they are large."""
    code, words = np.frombuffer(rows.code, np.uint32).reshape(-1, 4), rows.words
    by_scipy = [op.opcode for op in REGISTRY if op.host]
    found = np.flatnonzero(table_of(by_scipy + [MAP + opcode for opcode in by_scipy], CLEAR + 1)[code[:, 0]]).tolist()
    arrays = np.flatnonzero((code[:, 0] >= MAP) & ~table_of(SMALL, CLEAR + 1)[code[:, 0]]).tolist()
    return found + [row for row in arrays if is_left(int(code[row, 0]), words, int(code[row, 2]))]
