"""A machine for a short tape: its memory and the plan of its one compiled call are made ready once."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from numbad.errors import InternalError, message
from numbad.geometry import table_of
from numbad.kernels import run_layout as layout
from numbad.kernels.loading import BLOCKS, make_rows_ready, sweep
from numbad.kernels.memory import address_of, empty
from numbad.limits import BLOCK, CHECKED, LARGE, LOCKED_ROWS
from numbad.ops.definition import REGISTRY
from numbad.recording.inputs import FLOAT64
from numbad.replay.recorded_path import Path
from numbad.sweeps.whole import locate_spaces, new_plan
from numbad.tape.layout import CLEAR, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER, is_guard, row_elements
from numbad.tape.rows import Rows

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
    """

    def __init__(self, path: Path, rows: Rows) -> None:
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
        self.plan = self.make_plan(path.wanted is not None)
        self.plan_at = self.plan.buffer_info()[0]
        self.driver = sweep("run_at", dtype, count <= LOCKED_ROWS)
        self.reads = [
            slot.read if wanted else nothing for slot, wanted in zip(tape.inputs, path.wanted or (), strict=False)
        ]
        self.slots = [slice(slot.address, slot.address + slot.size) for slot in tape.inputs]

    def make_plan(self, slopes: bool) -> array[int]:
        """Return the plan of a run; `slopes` for both sweeps."""
        size, count, dtype = self.rows.size, self.count, self.rows.dtype
        arrays = bool(self.words)
        self.scratch = empty(4 * BLOCK, dtype) if arrays else None
        self.bases, self.bars = locate_spaces(self.rows, self.spaces)
        plan = new_plan(dtype, arrays, True, self.scratch)
        if CHECKED:
            parts = (self.code, self.words, self.bases, self.bars, plan)
            checked_memory.divide(self.memory, (size, size, 2 * count), *parts)
        at, width = address_of(self.memory), self.memory.itemsize
        plan[layout.CODE], plan[layout.STOP], plan[layout.SIZE] = self.code.buffer_info()[0], count, size
        if arrays:
            make_rows_ready(BLOCKS, dtype, np.array(self.code[::4]))
            plan[layout.WORDS] = self.words.buffer_info()[0]
            plan[layout.BASES], plan[layout.BARS] = self.bases.buffer_info()[0], self.bars.buffer_info()[0]
        plan[layout.VALUES], plan[layout.PARTIALS] = at, at + 2 * size * width
        plan[layout.BAR] = at + size * width if slopes else 0
        plan[layout.OUTPUT] = self.output
        plan[layout.INPUTS] = 0 if arrays else sum(slot.size for slot in self.tape.inputs)
        return plan

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places."""
        memory = self.values
        for slot, value in zip(self.slots, values):
            memory[slot] = value if type(value) is float or value.ndim < 2 else value.reshape(-1)

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
        slopes = [read(self, given) for read, given in zip(self.reads, self.tape.examples)]
        return float(value) if self.rows.dtype == FLOAT64 else value, slopes

    def fork(self, other: Any) -> tuple[int, bool] | None:
        """Return None: the rows are those of the recordings."""

    def row_of(self, row: int) -> int:
        """Return which row of the recording a row of the tape is."""
        return int(self.tape.sites[row])

    def site(self, row: int) -> Any:
        """Return the user's statement of a row of the recording."""
        return self.tape.places[row]


def nothing(bars: Any, given: Any) -> None:
    """Read no cotangent: that of an input with respect to which nobody differentiates."""


def left_to_python(rows: Rows) -> list[int]:
    """Return the rows that the compiled sweeps leave to Python: SciPy computes them, or they are large."""
    code, words = np.frombuffer(rows.code, np.uint32).reshape(-1, 4), rows.words
    by_scipy = [op.opcode for op in REGISTRY if op.host]
    found = np.flatnonzero(table_of(by_scipy + [MAP + opcode for opcode in by_scipy], CLEAR + 1)[code[:, 0]]).tolist()
    arrays = np.flatnonzero((code[:, 0] >= MAP) & ~table_of(SMALL, CLEAR + 1)[code[:, 0]]).tolist()
    return found + [row for row in arrays if row_elements(words, int(code[row, 2])) >= LARGE]
