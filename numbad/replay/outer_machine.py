"""A machine of machine code around the one that ran the path before: what the code cannot tell, that machine does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class OuterMachine:
    """What machines of machine code leave to the machine before them.

    Attributes
    ----------
    kept : Machine, or None
        The machine that was there before; None where it was given up.
    make_inner : function, or None
        Makes it again then.
    given : list
        The inputs of the last run.
    values : ndarray
        The arena.
    outputs : list of ndarray of int64
        For each result the addresses of its elements in the arena.
    gradient : bool
        Whether a gradient is wanted.
    fell : bool
        Whether the last run is that of the inner machine.
    """

    kept: Any
    make_inner: Callable[[], Any] | None = None
    given: list[Any]
    values: np.ndarray
    outputs: list[np.ndarray]
    gradient: bool
    fell: bool

    @property
    def inner(self) -> Any:
        """The machine that was there before, made again if it was given up."""
        if self.kept is None:
            assert self.make_inner is not None
            self.kept = self.make_inner()
        return self.kept

    def fall_back(self) -> int:
        """Let the inner machine run; return the row of a guard that does not hold, or -1."""
        self.fell = True
        self.inner.enter(self.given)
        row = int(self.inner.run())
        if row < 0 and not self.gradient:
            for places, inner in zip(self.outputs, self.inner.outputs, strict=True):
                self.values[places] = self.inner.values[inner]
        return row

    def row_of(self, row: int) -> int:
        """Return the number of a row of the tape."""
        return int(self.inner.row_of(row))

    def fork(self, other: Any) -> tuple[int, bool] | None:
        """Return how many forward rows two paths share; see `Machine`."""
        found: tuple[int, bool] | None = self.inner.fork(getattr(other, "inner", other))
        return found

    def site(self, row: int) -> Any:
        """Return the user's statement of a row at which a run stopped."""
        return self.inner.site(row)
