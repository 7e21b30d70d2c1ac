"""Long paths that are not needed any more, but for what machine code cannot do: their tapes, made small.

Rows of a loop differ from those of the iteration before by the same numbers each time. So the differences of their
differences are zeros, which compress to next to nothing; a tape comes out of it as it went in, whatever its rows.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np

from numbad.replay.recorded_path import Path

QUICK = 1  # level of compression


@dataclasses.dataclass(frozen=True)
class Packed:
    """An array whose rows repeat with even steps, as bytes.

    Attributes
    ----------
    content : bytes
    shape : tuple of int
    dtype : dtype
        Of integers.
    period : int
        Rows of an iteration.
    """

    content: bytes
    shape: tuple[int, ...]
    dtype: np.dtype
    period: int


def pack(values: np.ndarray, period: int) -> Packed:
    """Return an array of integers as bytes."""
    found = values.copy()
    for _ in range(2):
        found[period:] -= found[:-period].copy()  # overflow is undone by overflow
    return Packed(zlib.compress(found.tobytes(), QUICK), values.shape, values.dtype, period)


def unpack(packed: Packed) -> np.ndarray:
    """Return an array that was packed."""
    rows, period = packed.shape[0], packed.period
    turns = -(-rows // period)
    found = np.zeros((turns * period, *packed.shape[1:]), packed.dtype)
    found[:rows] = np.frombuffer(zlib.decompress(packed.content), packed.dtype).reshape(packed.shape)
    by_turn = found.reshape(turns, -1)
    for _ in range(2):
        np.cumsum(by_turn, axis=0, dtype=packed.dtype, out=by_turn)
    return found[:rows]


class PackedPath:
    """A path whose rows are packed.

    Parameters
    ----------
    path : Path
        What is packed; it is not kept.
    period : int
        The rows of an iteration of its longest loop.
    """

    def __init__(self, path: Path, period: int) -> None:
        tape = path.tape
        self.code, self.sites = pack(tape.code, period), pack(tape.sites, period)
        rest = dataclasses.replace(tape, code=tape.code[:0].copy(), sites=tape.sites[:0].copy())
        self.path = dataclasses.replace(path, tape=rest)

    @property
    def nbytes(self) -> int:
        """How many bytes the rows take."""
        return len(self.code.content) + len(self.sites.content)

    def unpack(self) -> Path:
        """Return the path."""
        tape: Any = dataclasses.replace(self.path.tape, code=unpack(self.code), sites=unpack(self.sites))
        tape._trusted = True  # it was, before it was packed
        return dataclasses.replace(self.path, tape=tape)
