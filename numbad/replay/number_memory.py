"""The memory of a machine that runs numbers: where inputs go in, and where their derivatives are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.recording.inputs import FLOAT64
from numbad.tapes.tape import Tape


class NumberMemory:
    """Memory for the values, and for the cotangents where a gradient is wanted, with views of the inputs' parts.

    Attributes
    ----------
    tape : Tape
        What the machine runs.
    values, bar : ndarray of float64
        The arena, and the cotangents; the latter is None without a gradient.
    places : list of int
        The first address of each input.
    output : int
        The address of the value.
    """

    tape: Tape
    values: np.ndarray
    bar: Any
    places: list[int]
    output: int

    def make_views(self) -> None:
        """Make the views by which inputs are entered and derivatives read, when the memory is there."""
        examples = self.tape.examples
        self.slots = self.views(self.values)
        self.bar_slots = [] if self.bar is None else self.views(self.bar)
        self.readers = [reader_of(value) for value in examples]
        self.numbers = all(type(value) is float for value in examples)
        self.memory: Any = memoryview(self.values)
        self.cotangents = None if self.bar is None else memoryview(self.bar)

    def views(self, arena: np.ndarray) -> list[np.ndarray]:
        """Return the inputs' part of an arena, each in its shape."""
        places = zip(self.places, self.tape.inputs, strict=True)
        return [arena[place : place + slot.size].reshape(slot.shape) for place, slot in places]

    def enter(self, values: list[Any]) -> None:
        """Put the values of the inputs into the arena."""
        memory = self.memory
        for place, slot, value in zip(self.places, self.slots, values):
            if type(value) is float:
                memory[place] = value
            else:
                slot[...] = value

    def read_gradient(self) -> tuple[Any, list[Any]]:
        """Return the value, and the derivative with respect to each input, after a run."""
        value, cotangents = self.memory[self.output], self.cotangents
        if self.numbers:
            assert cotangents is not None
            return value, [cotangents[place] for place in self.places]
        return value, [reader(bar) for reader, bar in zip(self.readers, self.bar_slots)]


def reader_of(value: Any) -> Any:
    """Return the function that makes the cotangent of an input, given its value, out of a part of the arena."""
    if isinstance(value, np.ndarray):
        dtype = value.dtype
        return np.ndarray.copy if dtype == FLOAT64 else lambda bar: bar.astype(dtype)
    return float if type(value) is float else type(value)
