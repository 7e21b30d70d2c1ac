"""The rows of a tape and the memory that they speak of: what everything that records, runs or changes rows holds."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from numbad.errors import Site, SourceLine

if TYPE_CHECKING:
    from numbad.types import Space

Code: TypeAlias = "array[int] | memoryview[int]"
Numbers: TypeAlias = "array[float] | memoryview[float]"


class NamedTape(Protocol):
    """What is asked of a tape that users hold, where its rows are to be named."""

    code: np.ndarray
    words: np.ndarray
    numbers: np.ndarray
    loads: list[tuple[int, np.ndarray]]
    spaces: list[Space]
    hosts: list[Any]
    inputs: tuple[Any, ...]
    space_names: tuple[str, ...]
    forward_only: bool

    def site(self, row: int) -> Site | SourceLine | None:
        """Return the user's statement that a row comes from."""

    def keeps_values(self) -> None:
        """Raise where results overwrite one another."""


class Rows:
    """Rows, and the memory that they speak of.

    Attributes
    ----------
    code : array or memoryview of uint32
        Rows of four: opcode, out, a, b.
    words : array or memoryview of int64
        Operands of array rows (see `layout`).
    size : int
        Addresses of the arena.
    dtype : dtype
        float32 or float64: of the arena.
    numbers : array or memoryview of float64
        Constant numbers, flat: address, value.
    loads : list of (int, ndarray)
        Blocks of the arena whose values are known, and their addresses.
    spaces : list
        Memory that operands live in: the arena (None), then large inputs and constants.
    input_spaces : set of int
        The spaces of inputs.
    hosts : list
        The Python kernels of host rows.
    large : list of int
        Elementwise rows of many elements, which are fused where they follow one another.
    tape : NamedTape or None
        Who names rows and addresses, for errors. None for a recording, and while nobody runs a tape: the tape keeps
        the memory of its runs, and a cycle of references would keep both.
    sites : dict
        The user's statement (code object and place in it) of guards, host and array rows; empty where a tape knows.
    constants : dict
        Address of each Python number that has been met while the rows were recorded.
    borrowed : dict of int to Borrowed
        By their spaces, large arrays of the user's; none where the memory is the tape's own.
    varied : list of (int, int, int), or None
        Space, address and count of the inputs with respect to which a recording is differentiated, where that is
        known and there are rows for Python: their rules ask.
    """

    __slots__ = (
        "borrowed",
        "code",
        "constants",
        "dtype",
        "hosts",
        "input_spaces",
        "large",
        "loads",
        "numbers",
        "sites",
        "size",
        "spaces",
        "tape",
        "varied",
        "words",
    )
    tape: NamedTape | None
    varied: list[tuple[int, int, int]] | None

    def __init__(
        self,
        code: Code,
        words: Code,
        size: int,
        dtype: np.dtype,
        numbers: Numbers,
        loads: list[tuple[int, np.ndarray]],
        spaces: list[Space],
        input_spaces: set[int],
        hosts: list[Any],
        large: list[int],
    ) -> None:
        self.code, self.words, self.size, self.dtype = code, words, size, dtype
        self.numbers, self.loads, self.spaces, self.input_spaces = numbers, loads, spaces, input_spaces
        self.hosts, self.large = hosts, large
        self.sites: dict[int, Site] = {}
        self.constants: dict[float, int] = {}
        self.borrowed: dict[int, Any] = {}
        self.tape = self.varied = None

    def with_rows(self, code: Code, words: Code, large: list[int]) -> Rows:
        """Return other rows over the same memory."""
        memory = (self.numbers, self.loads, self.spaces, self.input_spaces, self.hosts)
        found = Rows(code, words, self.size, self.dtype, *memory, large)
        found.sites, found.constants, found.borrowed = self.sites, self.constants, self.borrowed
        found.tape, found.varied = self.tape, self.varied
        return found

    def row_count(self) -> int:
        """Return the number of rows."""
        return len(self.code) // 4

    def site(self, row: int) -> Site | SourceLine | None:
        """Return the user's statement that a row comes from, None where it is not known."""
        return self.sites.get(row) if self.tape is None else self.tape.site(row)
