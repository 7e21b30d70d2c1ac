"""A machine for any tape: the sweeps of an execution, whose memory is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels.memory import give_back
from numbad.recording.inputs import FLOAT64
from numbad.replay.paths import last_address
from numbad.replay.recorded_path import Path
from numbad.sweeps.execution import Execution
from numbad.tape.layout import is_guard
from numbad.tape.rows import Rows
from numbad.tapes.workspaces import enter


class SweptMachine:
    """A tape of rows of all kinds with the memory of its sweeps.

    Attributes
    ----------
    execution : PathExecution
    """

    def __init__(self, path: Path, rows: Rows) -> None:
        self.tape, self.outputs = path.tape, path.results
        self.results = tuple(Result(places) for places in path.results) if path.read else ()
        self.output = None if path.wanted is None or not path.results else int(path.results[0])
        self.execution = PathExecution(rows)
        self.ends: dict[int, int] = {}  # one after the last address that the first rows write to

    @property
    def values(self) -> np.ndarray:
        """The arena, with the results of the last run."""
        return self.execution.values

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places: numbers into the arena, large arrays by reference."""
        execution = self.execution
        execution.prepare(len(self.tape))
        for slot, value in zip(self.tape.inputs, values, strict=True):
            if type(value) is float:
                execution.values[slot.address] = value
            else:
                enter(execution, slot, np.asarray(value))

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the forward sweep; return the row of a guard that does not hold, or -1."""
        execution = self.execution
        execution.done = 0
        if start and self.goes_on_from(source):
            stop = self.ends.get(start) or self.ends.setdefault(start, last_address(execution.rows, start) + 1)
            execution.values[1:stop] = source.execution.values[1:stop]
            execution.partials[:start] = source.execution.partials[:start]
            execution.done = start
        try:
            execution.forward(True, self.results)
        except Missed as missed:
            return int(self.tape.sites[missed.row])
        return -1

    def goes_on_from(self, source: Any) -> bool:
        """Whether another machine has computed first rows that both have: passes leave out what it does not need."""
        return isinstance(source, SweptMachine) and not self.tape.passes and not source.tape.passes

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Sweep back; return the value, and the derivative with respect to each input."""
        value: Any = None if self.output is None else self.execution.values[self.output]
        bars = self.execution.backward([] if self.output is None else [(self.output, 1.0)])
        slopes = [slot.read(bars, given) for slot, given in zip(self.tape.inputs, self.tape.examples)]
        give_back(bars.arena)
        return value if self.tape.dtype != FLOAT64 or value is None else float(value), slopes

    def fork(self, other: Any) -> tuple[int, bool] | None:
        """Return None: the rows are those of the recordings."""

    def row_of(self, row: int) -> int:
        """Return which row of the recording a row of the tape is."""
        return int(self.tape.sites[row])

    def site(self, row: int) -> Any:
        """Return the user's statement of a row of the recording."""
        return self.tape.places[row]


class Missed(Exception):
    """A run of a recorded path came to a guard that does not hold."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class PathExecution(Execution):
    """An execution of one of several paths: a guard that does not hold is no error."""

    __slots__ = ()

    def python_row(self, code: np.ndarray, words: Any, row: int) -> int:
        """Compute a row that the compiled sweeps leave to Python; return the next."""
        if is_guard(code[row, 0]):
            raise Missed(row)
        return super().python_row(code, words, row)


class Result:
    """A result as fused groups ask for it: they keep in memory what is wanted (see `fusion`)."""

    def __init__(self, places: np.ndarray) -> None:
        self.places = places
        self.address = int(places) if not places.ndim else None

    def address_view(self) -> np.ndarray:
        """Return the addresses of its elements."""
        return self.places
