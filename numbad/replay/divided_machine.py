"""A machine for a short tape with rows that are Python's: large products, which BLAS computes, and indices that vary.

Between two of them a compiled call takes the other rows. What they read and write are views that are made once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from numbad.geometry import covers, overlaps
from numbad.kernels import run_layout as layout
from numbad.kernels.loading import sweep
from numbad.kernels.parallel import note_blas
from numbad.replay.lookups import Lookup
from numbad.replay.recorded_path import Path
from numbad.replay.whole_machine import WholeMachine
from numbad.sweeps.matrix_rows import (
    MatrixVector,
    add_product,
    is_absent,
    is_finite,
    pull_vector,
    sort_axes,
    take_axes,
)
from numbad.sweeps.operands import flat, host_operands, operand
from numbad.tape.layout import CONTRACT, HOST, host_call, operand_strides, row_cleared, row_shape, space_of
from numbad.tape.rows import Rows

Finite = dict[tuple[int, int], bool]  # what a sweep knows of matrices


class Stop(Protocol):
    """A row at which a compiled sweep stops."""

    row: int

    def forward(self) -> None:
        """Compute the result."""

    def backward(self, finite: Finite) -> None:
        """Add to the operands' cotangents."""


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

    def __init__(self, row: int, found: MatrixVector, replay: Any, matrix: np.ndarray, clears: bool) -> None:
        self.row, self.transposed, self.clears = row, found.transposed, clears

        def value(space: int) -> np.ndarray:
            return matrix if space else replay.values

        def cotangent(space: int) -> np.ndarray:
            return matrix if space else replay.arena

        self.result, self.matrix, self.vector = found.views(value, value, value)
        self.bar, _, self.target = found.views(cotangent, value, cotangent)

    def forward(self) -> None:
        """Compute the result."""
        if self.clears:
            self.result[:] = 0.0
        add_product(self.matrix, self.vector, self.result, self.transposed)

    def backward(self, finite: Finite) -> None:
        """Add to the vector's cotangents."""
        pull_vector(self.bar, self.matrix, self.target, self.transposed, finite)


class MatrixProduct:
    """A row that multiplies two matrices.

    Attributes
    ----------
    row : int
    left, right, result : ndarray
    bar, left_bar, right_bar : ndarray
        Their cotangents; None for those of operands that do not depend on what is differentiated by.
    clears : bool
        Whether the result is set, and not added to.
    """

    __slots__ = ("bar", "clears", "left", "left_bar", "result", "right", "right_bar", "row")

    def __init__(self, row: int, clears: bool, values: list[np.ndarray], bars: list[Any]) -> None:
        self.row, self.clears = row, clears
        self.result, self.left, self.right = values
        self.bar, self.left_bar, self.right_bar = bars

    def forward(self) -> None:
        """Compute the result."""
        note_blas()
        if self.clears:
            np.matmul(self.left, self.right, out=self.result)
        else:
            self.result += np.matmul(self.left, self.right)

    def backward(self, finite: Finite) -> None:
        """Add to the factors' cotangents, where those of the result are not absent."""
        bar = self.bar
        varies = bool(bar.any())
        if not varies and is_absent(bar):
            return
        for target, factor, first in ((self.left_bar, self.right, True), (self.right_bar, self.left, False)):
            if target is None:
                continue
            if not varies and is_finite(factor, finite):
                target += 0.0
            else:
                target += np.matmul(bar, factor.T) if first else np.matmul(factor.T, bar)


class LinearCall:
    """A row of a Python kernel that is linear in its first operand: elements at indices that vary.

    Attributes
    ----------
    row : int
    call : HostCall
    memory : tuple
        Operands and results, and their cotangents, as `HostCall.backward` takes them.
    """

    __slots__ = ("call", "memory", "row")

    def __init__(self, row: int, call: Any, memory: tuple[list[Any], list[Any], list[Any], list[Any]]) -> None:
        self.row, self.call, self.memory = row, call, memory

    def forward(self) -> None:
        """Compute the result."""
        self.call.forward(*self.memory[:2])

    def backward(self, finite: Finite) -> None:
        """Add to the operand's cotangents."""
        if self.memory[2][0] is not None and not is_absent(self.memory[3][0]):
            self.call.backward(*self.memory)


class DividedMachine(WholeMachine):
    """A short tape with rows that compiled sweeps leave to Python.

    Attributes
    ----------
    products : list of Stop
        In the order of their rows.
    """

    def __init__(self, path: Path, rows: Rows, lookups: list[Lookup], found: list[int]) -> None:
        super().__init__(path, rows, lookups)
        plan = self.plan
        self.slopes = path.wanted is not None
        self.products = [self.make_stop(row, flag) for row, flag in zip(found, self.flags[found].tolist(), strict=True)]
        self.forward_at, self.adjoint_at = (sweep(name, rows.dtype, True) for name in ("forward_at", "adjoint_at"))
        values, partials = plan[layout.VALUES], plan[layout.PARTIALS]
        tape = (plan[layout.KERNELS], plan[layout.CODE], plan[layout.WORDS], plan[layout.BASES])
        forward = (0.0, *tape, values, partials, plan[layout.SCRATCH])
        back = (0.0, *tape, plan[layout.BARS], values, partials, plan[layout.BAR], plan[layout.SCRATCH])
        starts = [0, *(product.row + 1 for product in self.products)]
        stops = [*(product.row for product in self.products), self.count]
        self.forwards = [(*forward, *part) for part in zip(starts, stops, strict=True)]
        self.adjoints = [(*back, *part) for part in zip(starts, stops, strict=True)]

    def value(self, space: int) -> np.ndarray:
        """Return the memory of a space, flat."""
        if space in (0, self.steady):
            return self.values
        return flat(self.spaces.get(-space, self.rows.spaces[space]))

    def make_stop(self, row: int, flag: int) -> Stop:
        """Return what computes a row; `flag` says which of its operands have cotangents."""
        words, w = self.operands, int(self.code[4 * row + 2])
        if self.code[4 * row] == HOST:
            call, read, made = host_operands(self.value, words, w)
            _, read_bars, made_bars = host_operands(lambda space: None if space else self.arena, words, w)
            bars = [read_bars[0] if flag else None, *(None for _ in read[1:])]
            return LinearCall(row, self.rows.hosts[call], (read, made, bars, made_bars))
        found = find_vector(self.rows, words, w)
        if found is not None:
            return Product(row, found, self, self.value(found.matrix[0]), bool(row_cleared(words, w)))
        (target, one, other) = (operand(self.value, words, w, k) for k in range(3))
        axes = sort_axes(target, one, other)
        groups = (axes["ta"], axes["tb"]), (axes["ta"], axes["ab"]), (axes["ab"], axes["tb"])

        def cotangents(k: int) -> Any:
            if space_of(words, w, k) or not (k == 0 or flag & k):
                return None
            return take_axes(operand(lambda _: self.arena, words, w, k), [], *groups[k])

        values = [take_axes(part, [], *group) for part, group in zip((target, one, other), groups, strict=True)]
        return MatrixProduct(row, bool(row_cleared(words, w)), values, [cotangents(k) for k in range(3)])

    def run(self, start: int = 0, source: object = None) -> int:
        """Run the whole tape; return the row of a guard that does not hold, or -1."""
        for k, arguments in enumerate(self.forwards):
            done = self.forward_at(*arguments)
            if done < arguments[-1]:
                return self.stopped(done)
            if k < len(self.products):
                self.products[k].forward()
        if self.slopes:
            self.sweep_back()
        return -1

    def sweep_back(self) -> None:
        """Take the cotangents back."""
        self.arena[:] = -0.0
        self.arena[self.output] = 1.0
        finite: Finite = {}
        for k in range(len(self.products), -1, -1):
            left = self.adjoint_at(*self.adjoints[k])
            if left > self.adjoints[k][-2]:
                self.stopped(-1)
            if k:
                self.products[k - 1].backward(finite)


def find_stops(rows: Rows, left: Iterable[int]) -> list[int] | None:
    """Return the rows that are left to Python, in order; None where one of them is of another kind."""
    words = np.frombuffer(rows.words, np.int64)
    hosts = np.flatnonzero(np.frombuffer(rows.code, np.uint32)[::4] == HOST).tolist() if rows.hosts else []
    found = sorted({*left, *hosts})
    return found if all(is_stop(rows, words, row) for row in found) else None


def is_stop(rows: Rows, words: np.ndarray, row: int) -> bool:
    """Whether a row is a product of matrices or vectors, or linear in its first operand."""
    opcode, w = rows.code[4 * row], int(rows.code[4 * row + 2])
    if opcode == HOST:
        return bool(getattr(rows.hosts[host_call(words, w)].op, "linear", False))
    return opcode == CONTRACT and (find_vector(rows, words, w) is not None or is_matrix_product(words, w))


def find_vector(rows: Rows, words: np.ndarray, w: int) -> MatrixVector | None:
    """Return what a row multiplies, if that is a constant matrix and a vector."""
    found, cleared = MatrixVector.find(words, w), int(row_cleared(words, w))
    if found is None or cleared not in (0, found.results()):
        return None
    space = found.matrix[0]
    constant = space > 0 and space not in rows.input_spaces
    return found if constant and found.result[0] == found.vector[0] == 0 else None


def layout_of(words: np.ndarray, w: int, k: int) -> np.ndarray:
    """Return an array with the shape and the strides of an operand over its row's index space, which is not read."""
    steps = [8 * step for step in operand_strides(words, w, k)]
    return np.lib.stride_tricks.as_strided(np.zeros(1), row_shape(words, w), steps)


def is_matrix_product(words: np.ndarray, w: int) -> bool:
    """Whether a row multiplies two matrices into one, and the elements of each are apart: NumPy adds to each once."""
    target, one, other = (layout_of(words, w, k) for k in range(3))
    axes = sort_axes(target, one, other)
    sizes = {moved: len(group) for moved, group in axes.items()}
    once = take_axes(target, [], axes["ta"], axes["tb"]) if sizes["ta"] == sizes["tb"] == 1 else None
    if once is None or sizes != {"tab": 0, "ta": 1, "tb": 1, "ab": 1, "t": 0, "a": 0, "b": 0, "": 0}:
        return False
    factors = take_axes(one, [], axes["ta"], axes["ab"]), take_axes(other, [], axes["ab"], axes["tb"])
    cleared = int(row_cleared(words, w))
    if any(overlaps(part.shape, part.strides) for part in (once, *factors)) or cleared not in (0, once.size):
        return False
    return not cleared or covers(once, cleared)
