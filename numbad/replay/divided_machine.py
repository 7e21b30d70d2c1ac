"""A machine for a short tape with large products: BLAS computes them, between compiled calls for the rows around."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from numbad.kernels import run_layout as layout
from numbad.kernels.loading import sweep
from numbad.replay.recorded_path import Path
from numbad.replay.whole_machine import WholeMachine
from numbad.sweeps.matrix_rows import MatrixVector, add_product, pull_vector
from numbad.sweeps.operands import flat
from numbad.tape.layout import CONTRACT, row_cleared
from numbad.tape.rows import Rows

Found = tuple[MatrixVector, int]  # what a row multiplies, and how many elements it clears


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

    def __init__(self, row: int, found: MatrixVector, replay: WholeMachine, matrix: np.ndarray, clears: bool) -> None:
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

    def backward(self, finite: dict[tuple[int, int], bool]) -> None:
        """Add to the vector's cotangents; `finite` is what this sweep knows of matrices."""
        pull_vector(self.bar, self.matrix, self.target, self.transposed, finite)


class DividedMachine(WholeMachine):
    """A short tape with large products of constant matrices and vectors.

    Attributes
    ----------
    products : list of Product
        In the order of their rows.
    """

    def __init__(self, path: Path, rows: Rows, found: dict[int, Found]) -> None:
        super().__init__(path, rows)
        plan = self.plan
        self.slopes = path.wanted is not None
        self.products = [self.make_product(row, *found[row]) for row in sorted(found)]
        self.forward_at, self.adjoint_at = (sweep(name, rows.dtype, True) for name in ("forward_at", "adjoint_at"))
        values, partials = plan[layout.VALUES], plan[layout.PARTIALS]
        tape = (plan[layout.KERNELS], plan[layout.CODE], plan[layout.WORDS], plan[layout.BASES])
        forward = (0.0, *tape, values, partials, plan[layout.SCRATCH])
        back = (0.0, *tape, plan[layout.BARS], values, partials, plan[layout.BAR], plan[layout.SCRATCH])
        starts = [0, *(product.row + 1 for product in self.products)]
        stops = [*(product.row for product in self.products), self.count]
        self.forwards = [(*forward, *part) for part in zip(starts, stops, strict=True)]
        self.adjoints = [(*back, *part) for part in zip(starts, stops, strict=True)]

    def make_product(self, row: int, found: MatrixVector, cleared: int) -> Product:
        """Return a large row as a product."""
        space = found.matrix[0]
        matrix = flat(self.spaces.get(-space, self.rows.spaces[space]))
        return Product(row, found, self, matrix, bool(cleared))

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
        finite: dict[tuple[int, int], bool] = {}
        for k in range(len(self.products), -1, -1):
            left = self.adjoint_at(*self.adjoints[k])
            if left > self.adjoints[k][-2]:
                self.stopped(-1)
            if k:
                self.products[k - 1].backward(finite)


def find_products(tape: Rows, rows: Iterable[int]) -> dict[int, Found] | None:
    """Return what rows multiply, None where one of them is not the product of a constant matrix and a vector."""
    found = {row: find_product(tape, row) for row in rows}
    products = {row: product for row, product in found.items() if product is not None}
    return products if len(products) == len(found) else None


def find_product(rows: Rows, row: int) -> Found | None:
    """Return what a row multiplies and how many elements it clears, if that is a constant matrix and a vector."""
    if rows.code[4 * row] != CONTRACT:
        return None
    words, w = np.frombuffer(rows.words, np.int64), rows.code[4 * row + 2]
    found, cleared = MatrixVector.find(words, w), int(row_cleared(words, w))
    if found is None or cleared not in (0, found.results()):
        return None
    space = found.matrix[0]
    constant = space > 0 and space not in rows.input_spaces
    return (found, cleared) if constant and found.result[0] == found.vector[0] == 0 else None
