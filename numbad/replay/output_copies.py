"""Results of a replayed tape: where they lie in the arena, worked out once, and copies of them for the caller."""

from __future__ import annotations

import numpy as np

from numbad.geometry import affine_strides, is_run


class ArrayResult:
    """An array that a tape returns.

    Attributes
    ----------
    start, stop : int
        The elements lie between these addresses.
    strides : tuple of int or None
        In elements, if they are a strided view of the arena that is not simply a run of it.
    addresses : ndarray or None
        Of each element, if they are neither.
    fixed : bool
        Whether they are the same in each replay.
    constant : ndarray or None
        The elements, if they are fixed and have been read.
    slope : bool
        Whether they are a derivative, in which -0.0 is what is absent: it is shown as zero.
    """

    __slots__ = ("addresses", "constant", "dtype", "fixed", "shape", "slope", "start", "stop", "strides")

    def __init__(self, addresses: np.ndarray, dtype: np.dtype, fixed: bool = False, slope: bool = False) -> None:
        self.slope, self.fixed = slope, fixed
        self.shape, self.dtype = addresses.shape, dtype
        self.addresses: np.ndarray | None = None
        self.strides: tuple[int, ...] | None = None
        self.constant: np.ndarray | None = None
        self.start, self.stop = (int(addresses.min()), int(addresses.max()) + 1) if addresses.size else (0, 0)
        if not is_run(addresses):
            self.strides = affine_strides(addresses)
            if self.strides is None:
                self.addresses = addresses

    def read(self, values: np.ndarray) -> np.ndarray:
        """Return a copy of the elements."""
        if self.constant is not None:
            return self.constant.copy()
        found = self.view(values)
        copy = np.empty(self.shape, self.dtype)  # in C order, whatever that of the view
        if self.slope:
            np.add(found, 0.0, out=copy)
        else:
            copy[...] = found
        if self.fixed:
            self.constant = copy.copy()
        return copy

    def view(self, values: np.ndarray) -> np.ndarray:
        """Return the elements where they lie, or a copy of them."""
        if self.addresses is not None:
            found: np.ndarray = values[self.addresses]
            return found
        part = values[self.start : self.stop]
        if self.strides is None:
            return part.reshape(self.shape)
        steps = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(part, self.shape, steps)
