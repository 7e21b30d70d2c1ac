"""Where the inputs and the results of a tape live, and how they are read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from numbad.errors import InputError, message
from numbad.kernels.memory import handed_out
from numbad.recording.active import Active
from numbad.recording.inputs import check_leaf
from numbad.recording.recorder import refuse
from numbad.sweeps.execution import Execution

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Input:
    """A differentiable input: its name, where its values go, and what the caller has to give.

    Attributes
    ----------
    space, address : int
        Small inputs live in the arena (space 0), large ones in a space of their own.
    order : str
        Memory order, "C" or "F", in which the rows address a large input.
    """

    name: str
    space: int
    address: int
    shape: Shape
    dtype: np.dtype
    order: str = "C"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def accept(self, value: Any) -> np.ndarray:
        """Return a given value as an array, or raise an InputError if it does not fit."""
        if isinstance(value, Active):
            refuse("a tape is called with recording values", "call the function that it was recorded from")
        check_leaf(value)
        values = np.asarray(value)
        if values.shape == self.shape and values.dtype == self.dtype:
            return values
        raise InputError(
            message(
                f"{self.name} was recorded as {self.dtype} of shape {self.shape};"
                f" it is {values.dtype} of shape {values.shape} now",
                f"pass {self.name} in that shape and dtype, or record again with numbad.record",
            )
        )

    @handed_out
    def read(self, bars: Any, given: Any) -> Any:
        """Return the cotangent of this input, like the given value: a float for a float, an array for an array."""
        found = self.place(bars)
        if self.space:
            return found.astype(self.dtype, copy=False)
        found = (found + 0.0).astype(self.dtype, copy=False)  # what is absent is shown as zero
        if type(given) is float:
            return float(found)
        return found[()] if isinstance(given, np.generic) else found

    def place(self, bars: Any) -> np.ndarray:
        """Return the cotangents of this input where they are, in its shape."""
        if self.space:
            return bars.spaces[self.space].reshape(self.shape, order=self.order)
        return bars.arena[self.address : self.address + self.size].reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class Output:
    """A result: a strided view of a space, or a constant that no row computes."""

    space: int
    address: int
    shape: Shape
    strides: Shape
    boolean: bool = False
    constant: Any = None

    @handed_out
    def read(self, execution: Execution) -> Any:
        """Return the value, as NumPy would hold it; a float for a scalar in double precision."""
        if self.constant is not None:
            return self.constant
        memory = execution.values if self.space == 0 else execution.spaces[self.space]
        memory = memory.reshape(-1) if memory.flags.c_contiguous else memory.T.reshape(-1)
        strides = tuple(memory.itemsize * step for step in self.strides)
        start = memory[self.address :] if 0 not in self.shape else memory[:0]
        found = np.lib.stride_tricks.as_strided(start, self.shape, strides).copy()
        if self.boolean:
            found = found != 0.0
        if self.shape:
            return found
        return float(found) if found.dtype == np.float64 else found[()]
