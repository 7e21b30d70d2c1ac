"""A machine for any tape: the sweeps of an execution, whose memory is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels.memory import give_back
from numbad.recording.inputs import FLOAT64
from numbad.replay.hoisting import Spared, compute, without_rows, written
from numbad.replay.paths import common_rows, last_address
from numbad.replay.protocol import Path
from numbad.sweeps.execution import Execution
from numbad.tape.layout import GUARD, GUARD_VALUE
from numbad.tape.rows import Rows


class SweptMachine:
    """A tape of rows of all kinds with the memory of its sweeps.

    Attributes
    ----------
    execution : PathExecution
    """

    def __init__(self, path: Path, spared: Spared) -> None:
        self.recorder, self.leaves, self.outputs = path.recorder, path.leaves, path.output_addresses()
        self.constants = spared.constants
        self.results = tuple(path.outputs) if path.value else ()
        self.output = None if path.wanted is None or not path.outputs else int(self.outputs[0])
        self.execution = PathExecution(path.recorder, spared)
        self.ends: dict[int, int] = {}  # one after the last address that the first rows write to

    @property
    def values(self) -> np.ndarray:
        """The arena, with the results of the last run."""
        return self.execution.values

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places: numbers into the arena, large arrays by reference."""
        execution, recorder = self.execution, self.recorder
        execution.prepare(recorder.row_count())
        for leaf, value in zip(self.leaves, values, strict=True):
            if type(value) is float:
                execution.values[leaf.address] = value
                continue
            found = np.asarray(value, recorder.dtype)
            if leaf.space:
                if not (found.flags.c_contiguous if leaf.order == "C" else found.flags.f_contiguous):
                    found = np.array(found, order=leaf.order)
                execution.put_space(leaf.space, found)
            else:
                execution.values[leaf.address : leaf.address + found.size] = found.reshape(-1)

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the forward sweep; return the row of a guard that does not hold, or -1."""
        execution = self.execution
        execution.done = 0
        if start and self.goes_on_from(source, start):
            stop = self.ends.get(start) or self.ends.setdefault(start, last_address(self.recorder, start) + 1)
            execution.values[1:stop] = source.execution.values[1:stop]
            execution.partials[:start] = source.execution.partials[:start]
            execution.done = start
        try:
            execution.forward(True, self.results)
        except Missed as missed:
            return missed.row
        return -1

    def goes_on_from(self, source: Any, start: int) -> bool:
        """Whether another machine, which shares the rows before `start`, has computed what this one needs of them."""
        if not isinstance(source, SweptMachine):
            return False
        return not any(row < start for row in source.execution.never - self.execution.never)

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Sweep back; return the value, and the derivative with respect to each input."""
        value: Any = None if self.output is None else self.execution.values[self.output]
        bars = self.execution.backward([] if self.output is None else [(self.output, 1.0)])
        slopes = [leaf.read(bars) for leaf in self.leaves]
        give_back(bars.arena)
        return value if self.recorder.dtype != FLOAT64 or value is None else float(value), slopes

    def fork(self, other: Any) -> tuple[int, bool]:
        """Return how many first rows two paths share, and whether a guard tells them apart there."""
        return common_rows(self, other)

    def site(self, row: int) -> Any:
        """Return the user's statement of a row."""
        return self.recorder.sites.get(row)


class Missed(Exception):
    """A run of a recorded path came to a guard that does not hold."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class PathExecution(Execution):
    """An execution of one of several paths: a guard that does not hold is no error.

    Attributes
    ----------
    once : tuple of Rows and list of int, or None
        The tape with all rows, and those that are computed before the first sweep.
    never : frozenset of int
        The rows that are not computed.
    unwritten : list of (int, int)
        Where their results would be: zero, for scalar rows that nobody reads run on them.
    """

    __slots__ = ("never", "once", "unwritten")

    def __init__(self, tape: Rows, spared: Spared) -> None:
        self.once: Any = (tape, spared.once) if spared.once else None
        self.never = frozenset(spared.never)
        self.unwritten = [written(tape.code[4 * row : 4 * row + 4], tape.words) for row in spared.never]
        super().__init__(without_rows(tape, spared.once + spared.never) if len(spared) else tape)

    def prepare(self, rows: int) -> None:
        """Make room for all addresses and rows, and write what is constant."""
        before = self.values
        super().prepare(rows)
        if self.values is not before:
            for start, stop in self.unwritten:
                self.values[start:stop] = 0.0
        if self.once is not None:
            once, self.once = self.once, None
            compute(self, *once)

    def python_row(self, code: np.ndarray, words: Any, row: int) -> int:
        """Compute a row that the compiled sweeps leave to Python; return the next."""
        if code[row, 0] == GUARD or code[row, 0] == GUARD_VALUE:
            raise Missed(row)
        return super().python_row(code, words, row)
