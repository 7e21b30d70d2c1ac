"""Machines run one recorded path again and again: what each offers, and the one place that chooses among them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from numbad.replay.lookups import gather_lookups
from numbad.replay.recorded_path import Path, is_scalar_tape
from numbad.replay.swept_machine import SweptMachine
from numbad.replay.whole_machine import WholeMachine, left_to_python
from numbad.settings import config
from numbad.sweeps.whole import is_short
from numbad.tapes.tape import Tape


class Machine(Protocol):
    """What runs a path: one caller at a time."""

    tape: Tape

    @property
    def values(self) -> np.ndarray:
        """The arena, with the results of the last run."""

    @property
    def outputs(self) -> list[np.ndarray]:
        """For each result the addresses of its elements in the arena."""

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places."""

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the sweeps; return the row of a guard that does not hold, or -1.

        The rows before `start` are those of the machine `source`, which has computed them.
        """

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Return the value, and the derivative with respect to each input, after a run."""

    def fork(self, other: Any) -> tuple[int, bool] | None:
        """Return how many first rows two paths share, and whether a guard tells them apart there.

        None where the rows are those of the recordings, in their order: then these are compared.
        """

    def site(self, row: int) -> Any:
        """Return the user's statement of a row at which a run stopped."""


def choose_machine(path: Path) -> Machine:
    """Return a machine that runs a path: the first of these that takes it.

    * scalar rows in double precision, ordered anew: `scalar_machine`
    * a short tape, in one compiled call: `whole_machine`
    * the same with large products of matrices, which BLAS computes, and indices that vary, between such calls:
      `divided_machine`
    * any tape, by the sweeps of an execution: `swept_machine`
    """
    watched = config._debug_nans  # rows are looked at one by one
    constant = path.wanted is not None and not path.results
    swept = watched or constant
    if not swept and is_scalar_tape(path.tape):
        from numbad.replay.scalar_machine import ScalarMachine

        return ScalarMachine(path.tape, path.results, path.wanted, path.value)
    rows = path.rows()
    if not swept and is_short(rows, True) and not rows.input_spaces:
        short, lookups = gather_lookups(rows)
        left = left_to_python(short)
        stops: list[int] | None = left
        if stops or rows.hosts:
            from numbad.replay.divided_machine import DividedMachine, find_stops

            stops = find_stops(short, left)
            if stops:
                return DividedMachine(path, short, lookups, stops)
        if stops is not None:  # passes may have left out the rows of all Python kernels
            return WholeMachine(path, short, lookups)
    return SweptMachine(path, rows)
