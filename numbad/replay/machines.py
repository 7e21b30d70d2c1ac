"""Machines that replay a short tape: its memory and all arguments of the compiled calls made ready once."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels.loading import sweep
from numbad.kernels.memory import address_of, empty
from numbad.limits import BLOCK, CHECKED, LARGE
from numbad.recording.recorder import Recorder
from numbad.replay.hoisting import Spared, empty_rows
from numbad.settings import config
from numbad.sweeps.matrix_rows import MatrixVector, add_product, pull_vector
from numbad.sweeps.operands import flat
from numbad.sweeps.whole import _calls, is_short, locate_spaces, prepare
from numbad.tape.layout import CONTRACT, GATHER, GUARD, GUARD_VALUE, HOST, MAP, SCATTER, row_cleared, row_elements

if CHECKED:
    from numbad.kernels import checked_memory


class ShortReplay:
    """A short tape with its memory: constants in place, and all that the compiled call is told.

    Attributes
    ----------
    memory : ndarray
        Values, then cotangents, then partials.
    arena : ndarray
        The cotangents.
    addresses : tuple of int
        Of the switches, code, words, where spaces and their cotangents begin, values, partials, cotangents, scratch.
    """

    def __init__(self, recorder: Recorder, leaves: list[Any], output: int | None, spared: Spared) -> None:
        size, dtype = recorder.size, recorder.dtype
        rows = len(recorder.code) >> 2
        both, forward, adjoint, kernels, width = _calls.get(dtype.num) or prepare(dtype)
        self.both, self.rows = both, rows
        self.memory = np.zeros(2 * (size + rows), dtype)
        self.scratch = empty(4 * BLOCK, dtype)
        self.arena = self.memory[size : 2 * size]
        self.spaces: dict[int, np.ndarray] = {}
        for address, value in zip(recorder.numbers[::2], recorder.numbers[1::2], strict=True):
            self.memory[int(address)] = value
        for address, block in recorder.loads:
            self.memory[address : address + block.size] = block
        self.bases, self.bars = locate_spaces(recorder, self.spaces)
        self.code, self.words = recorder.code[:], recorder.words[:]
        self.once = spared.once
        empty_rows(self.code, self.words, spared.never)
        at = address_of(self.memory)
        parts = (self.code, self.words, self.bases, self.bars)
        if CHECKED:
            checked_memory.divide(self.memory, (size, size, 2 * rows), *parts)
        memory = (at, at + 2 * size * width, at + size * width, address_of(self.scratch))
        self.addresses = (kernels, *(part.buffer_info()[0] for part in parts), *memory)
        given = (forward, 0 if output is None else adjoint, *self.addresses, 0, 0, size, rows, output or 0)
        self.arguments = (0.0, *given)
        self.slots = [slice(leaf.address, leaf.address + np.size(leaf.value)) for leaf in leaves]

    def enter(self, values: Any) -> None:
        """Put new inputs in their places."""
        memory = self.memory
        for slot, value in zip(self.slots, values):
            memory[slot] = value if type(value) is float or value.ndim < 2 else value.reshape(-1)

    def run(self, values: Any) -> int:
        """Run the tape on new inputs; return the row at which it stopped, or -1."""
        self.enter(values)
        done = self.both(*self.arguments)
        if done != self.rows:
            return done
        if self.once:
            empty_rows(self.code, self.words, self.once)
            self.once = []
        return -1


class Product:
    """A row that multiplies a constant matrix and a vector, as views of the memory of a replay.

    Attributes
    ----------
    row : int
    matrix, vector, result : ndarray
    bar, target : ndarray
        The cotangents of the result, and those of the vector.
    transposed : bool
        Whether it is vector @ matrix.
    clears : bool
        Whether the result is set to zero first.
    """

    __slots__ = ("bar", "clears", "matrix", "result", "row", "target", "transposed", "vector")

    def __init__(self, row: int, found: MatrixVector, replay: ShortReplay, matrix: np.ndarray, clears: bool) -> None:
        self.row, self.transposed, self.clears = row, found.transposed, clears

        def value(space: int) -> np.ndarray:
            return matrix if space else replay.memory

        def cotangent(space: int) -> np.ndarray:
            return matrix if space else replay.arena

        self.result, self.matrix, self.vector = found.views(value, value, value)
        self.bar, _, self.target = found.views(cotangent, value, cotangent)

    def forward(self) -> None:
        """Compute the result."""
        if self.clears:
            self.result[:] = 0.0
        add_product(self.matrix, self.vector, self.result, self.transposed)

    def backward(self, finite: dict[tuple[int, int], bool]) -> None:
        """Add to the vector's cotangents; `finite` is what this sweep knows of matrices."""
        pull_vector(self.bar, self.matrix, self.target, self.transposed, finite)


class SegmentedReplay(ShortReplay):
    """A short tape with large products, ready for replays.

    Attributes
    ----------
    products : list of Product
        In the order of their rows.
    """

    def __init__(
        self,
        recorder: Recorder,
        leaves: list[Any],
        output: int | None,
        spared: Spared,
        found: dict[int, tuple[MatrixVector, int]],
    ) -> None:
        super().__init__(recorder, leaves, output, spared)
        self.output = output
        self.products = [self.make_product(recorder, row, *found[row]) for row in sorted(found)]
        forward_at, adjoint_at = (sweep(name, recorder.dtype, True) for name in ("forward_at", "adjoint_at"))
        kernels, code, words, bases, _, values, partials, _, scratch = self.addresses
        forward = (0.0, kernels, code, words, bases, values, partials, scratch)
        starts = [0, *(product.row + 1 for product in self.products)]
        stops = [*(product.row for product in self.products), self.rows]
        parts = list(zip(starts, stops, strict=True))
        self.forwards = [(forward_at, (*forward, *part)) for part in parts]
        self.adjoints = [(adjoint_at, (0.0, *self.addresses, *part)) for part in parts]

    def make_product(self, recorder: Recorder, row: int, found: MatrixVector, cleared: int) -> Product:
        """Return a large row as a product."""
        space = found.matrix[0]
        return Product(row, found, self, flat(self.spaces.get(-space, recorder.spaces[space])), bool(cleared))

    def run(self, values: Any) -> int:
        """Run the tape on new inputs; return the row at which it stopped, or -1."""
        self.enter(values)
        products = self.products
        for k, (forward, arguments) in enumerate(self.forwards):
            done = forward(*arguments)
            if done < arguments[-1]:
                return done
            if k < len(products):
                products[k].forward()
        if self.once:
            empty_rows(self.code, self.words, self.once)
            self.once = []
        return -1 if self.output is None else self.sweep_back(self.output)

    def sweep_back(self, output: int) -> int:
        """Take the cotangents back; return as `run` does."""
        self.arena[:] = -0.0
        self.arena[output] = 1.0
        products = self.products
        finite: dict[tuple[int, int], bool] = {}
        for k in range(len(products), -1, -1):
            adjoint, arguments = self.adjoints[k]
            left = adjoint(*arguments)
            if left > arguments[-2]:
                return left - 1
            if k:
                products[k - 1].backward(finite)
        return -1


SMALL = (GUARD, GUARD_VALUE, GATHER, SCATTER, HOST)  # rows that no sweep leaves to Python for their length


def large_rows(code: Any, words: Any) -> list[int]:
    """Return the array rows that the compiled sweeps leave to Python because they are large."""
    found = []
    for row in range(len(code) // 4):
        opcode, w = code[4 * row], code[4 * row + 2]
        if opcode >= MAP and opcode not in SMALL and row_elements(words, w) >= LARGE:
            found.append(row)
    return found


def find_product(recorder: Recorder, row: int) -> tuple[MatrixVector, int] | None:
    """Return what a row multiplies and how many elements it clears, if that is a constant matrix and a vector."""
    if recorder.code[4 * row] != CONTRACT:
        return None
    words, w = np.frombuffer(recorder.words, np.int64), recorder.code[4 * row + 2]
    found, cleared = MatrixVector.find(words, w), int(row_cleared(words, w))
    if found is None or cleared not in (0, found.results()):
        return None
    space = found.matrix[0]
    constant = space > 0 and space not in recorder.input_spaces
    return (found, cleared) if constant and found.result[0] == found.vector[0] == 0 else None


def make_replay(recorder: Recorder, leaves: list[Any], output: int | None, spared: Spared) -> ShortReplay | None:
    """Return a tape ready for replays in few calls; None if it is long, or has inputs by reference.

    Rows that are `spared` are left out, or run once.
    """
    if config._debug_nans or not recorder.words or not is_short(recorder) or any(leaf.space for leaf in leaves):
        return None
    large = set(large_rows(recorder.code, recorder.words)) - set(spared.never)
    if not large:
        return ShortReplay(recorder, leaves, output, spared)
    found = {row: product for row in large if (product := find_product(recorder, row)) is not None}
    if large.intersection(spared.once) or len(found) < len(large):
        return None
    return SegmentedReplay(recorder, leaves, output, spared, found)
