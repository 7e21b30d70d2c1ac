"""What a machine is: it runs one recorded path again and again; and what it is told of the path."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.inputs import Leaf
from numbad.recording.recorder import Recorder
from numbad.replay.hoisting import Ranges


@dataclasses.dataclass(frozen=True)
class Path:
    """What was recorded of one path.

    Attributes
    ----------
    recorder : Recorder
    leaves : list of Leaf
        Its inputs.
    outputs : list of Active
        The results that are recording values; of a gradient the one value, none where that is a constant.
    wanted : list of bool, or None
        For a gradient, with respect to which inputs it is wanted.
    value : bool
        Whether the results are read after a run.
    """

    recorder: Recorder
    leaves: list[Leaf]
    outputs: list[Active]
    wanted: list[bool] | None
    value: bool

    def output_addresses(self) -> list[Any]:
        """Return the address of each number and those of each array."""
        return [o.address_view() if isinstance(o, Array) else np.array(o.address) for o in self.outputs]


class Machine(Protocol):
    """What runs a path: one caller at a time."""

    @property
    def recorder(self) -> Recorder | None:
        """The rows that it runs, None where it has put them in another order."""

    @property
    def values(self) -> np.ndarray:
        """The arena, with the results of the last run."""

    @property
    def outputs(self) -> list[Any]:
        """For each result its address in the arena, or the addresses of its elements."""

    @property
    def constants(self) -> Ranges | None:
        """Addresses of the arena that hold the same in each run, where that is known."""

    def enter(self, values: list[Any]) -> None:
        """Put new inputs in their places."""

    def run(self, start: int = 0, source: Any = None) -> int:
        """Run the sweeps; return the row of a guard that does not hold, or -1.

        The rows before `start` are those of the machine `source`, which has computed them.
        """

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Return the value, and the derivative with respect to each input, after a run."""

    def fork(self, other: Any) -> tuple[int, bool]:
        """Return how many first rows two paths share, and whether a guard tells them apart there."""

    def site(self, row: int) -> Any:
        """Return the user's statement of a row at which a run stopped."""
