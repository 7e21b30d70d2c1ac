"""Linear algebra of small matrices as rows of numbers: elimination with partial pivoting, and Cholesky's factor.

The rows hold where no pivot is zero or would be but for rounding (of a factor: where they are positive). A guard asks
that; where it does not hold, the machine that was there before runs, and raises NumPy's own error.

Golub and Van Loan (2013), *Matrix Computations*, 4th ed., algorithms 3.4.1 and 4.2.1. Derivatives go through the rows:
those of pivoting are of the rows that were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.ops import arithmetic, exponential, selection
from numbad.ops.lanes import Laned

if TYPE_CHECKING:
    from numbad.compilation.taking_apart import Parts

ROUNDING, TINY = 1e-14, 1e-290  # of the largest element of a matrix; of all numbers
MOST_SIDE = 6  # of a matrix: elimination has some n^3 rows
Rows = list[np.ndarray]  # of a matrix: addresses of the elements of each row


class Numbers:
    """Arithmetic of arrays of addresses: each operation appends rows."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def compute(self, op: Any, one: Any, other: Any = 0) -> Any:
        """Append rows of an op."""
        one, other = np.broadcast_arrays(one, other)
        found = self.parts.compute(op.opcode, one.reshape(-1), other.reshape(-1))
        return found.reshape(one.shape)

    def choose(self, condition: Any, one: Any, other: Any) -> Any:
        """Return one where a condition is true, else the other."""
        kept = self.compute(selection.keep, condition, one)
        return self.compute(arithmetic.add, kept, self.compute(selection.drop, condition, other))

    def subtract_product(self, one: Any, factor: Any, other: Any) -> Any:
        """Return one - factor * other."""
        return self.compute(arithmetic.subtract, one, self.compute(arithmetic.multiply, factor, other))

    def smallest_pivot(self, a: Rows) -> Any:
        """Return what a pivot has to be larger than: the rounding of the largest element."""
        largest: Any = 0
        for number in np.concatenate(a):
            largest = self.compute(selection.maximum, largest, self.compute(arithmetic.absolute, number))
        rounding, tiny = self.parts.constant(ROUNDING), self.parts.constant(TINY)
        return self.compute(arithmetic.add, self.compute(arithmetic.multiply, largest, rounding), tiny)

    def require(self, truth: Any) -> None:
        """Append a guard: a number is not zero."""
        self.parts.guard(int(truth), True)


def eliminate(numbers: Numbers, a: Rows, b: Rows, sign: Any = None) -> Any:
    """Turn the rows of a square matrix into an upper triangle, in place, and those of `b` with them.

    Returns the sign, turned at each exchange of rows, if one is given.
    """
    side = len(a)
    least = numbers.smallest_pivot(a)
    for k in range(side):
        for i in range(k + 1, side):
            sizes = [numbers.compute(arithmetic.absolute, row[k]) for row in (a[i], a[k])]
            larger = numbers.compute(selection.greater, *sizes)
            for rows in (a, b):
                columns = slice(k if rows is a else 0, None)
                one, other = rows[i][columns].copy(), rows[k][columns].copy()
                if one.size:
                    rows[k][columns] = numbers.choose(larger, one, other)
                    rows[i][columns] = numbers.choose(larger, other, one)
            if sign is not None:
                sign = numbers.choose(larger, numbers.compute(arithmetic.negative, sign), sign)
        size = numbers.compute(arithmetic.absolute, a[k][k])
        numbers.require(numbers.compute(selection.greater, size, least))
        for i in range(k + 1, side):
            factor = numbers.compute(arithmetic.divide, a[i][k], a[k][k])
            for rows, columns in ((a, slice(k + 1, None)), (b, slice(0, None))):
                if rows[i][columns].size:
                    rows[i][columns] = numbers.subtract_product(rows[i][columns], factor, rows[k][columns])
    return sign


def substitute_back(numbers: Numbers, a: Rows, b: Rows) -> None:
    """Solve an upper triangle for the rows of b, in place."""
    for k in reversed(range(len(a))):
        for j in range(k + 1, len(a)):
            b[k][:] = numbers.subtract_product(b[k], a[k][j], b[j])
        b[k][:] = numbers.compute(arithmetic.divide, b[k], a[k][k])


def solve(numbers: Numbers, a: np.ndarray, b: np.ndarray) -> list[Any]:
    """Return the solution of a @ x = b, and the flag that it was found."""
    left, right = list(a.copy()), list(b.reshape(len(b), -1).copy())
    eliminate(numbers, left, right)
    substitute_back(numbers, left, right)
    return [np.stack(right), numbers.parts.constant(1.0)]


def inverse(numbers: Numbers, a: np.ndarray) -> list[Any]:
    """Return the inverse, and the flag that there is one."""
    one = numbers.parts.constant(1.0)
    return solve(numbers, a, np.where(np.eye(len(a), dtype=bool), one, 0))


def determinant(numbers: Numbers, a: np.ndarray) -> list[Any]:
    """Return the determinant: the product of the pivots."""
    rows = list(a.copy())
    found = eliminate(numbers, rows, [np.zeros(0, np.int64)] * len(a), numbers.parts.constant(1.0))
    for k in range(len(a)):
        found = numbers.compute(arithmetic.multiply, found, rows[k][k])
    return [found]


def sign_log_determinant(numbers: Numbers, a: np.ndarray) -> list[Any]:
    """Return the sign of the determinant, and the logarithm of its size."""
    rows = list(a.copy())
    one = numbers.parts.constant(1.0)
    sign = eliminate(numbers, rows, [np.zeros(0, np.int64)] * len(a), one)
    total: Any = 0
    for k in range(len(a)):
        negative = numbers.compute(selection.less, rows[k][k], 0)
        sign = numbers.choose(negative, numbers.compute(arithmetic.negative, sign), sign)
        size = numbers.compute(exponential.log, numbers.compute(arithmetic.absolute, rows[k][k]))
        total = numbers.compute(arithmetic.add, total, size)
    return [sign, total]


def cholesky(numbers: Numbers, a: np.ndarray, upper: bool, finite: bool = False) -> list[Any]:
    """Return the triangular factor of a matrix, of which one triangle is read, and the flag that there is one."""
    a = a.T if upper else a
    factor = np.zeros(a.shape, np.int64)
    for k in range(len(a)):
        rest = a[k:, k]
        for j in range(k):
            rest = numbers.subtract_product(rest, factor[k, j], factor[k:, j])
        numbers.require(numbers.compute(selection.greater, rest[0], 0))
        factor[k, k] = numbers.compute(exponential.sqrt, rest[0])
        if rest.size > 1:
            factor[k + 1 :, k] = numbers.compute(arithmetic.divide, rest[1:], factor[k, k])
    return [factor.T if upper else factor, numbers.parts.constant(1.0)]


RULES: dict[str, Callable[..., list[Any]]] = {
    rule.__name__: rule for rule in (solve, inverse, determinant, sign_log_determinant, cholesky)
}


def has_rule(call: Any) -> bool:
    """Whether a row of a Python kernel is of small matrices, and can be taken apart; of many lanes, each for itself."""
    shapes, op = call.operand_shapes, call.op
    if isinstance(op, Laned):
        op = op.op
        shapes = [shape if same else shape[:-1] for shape, same in zip(shapes, call.settings["shared"], strict=True)]
    return (
        op is not None
        and op.name in RULES
        and all(1 <= len(shape) <= 2 for shape in shapes)
        and len(shapes[0]) == 2
        and max(map(max, shapes)) <= MOST_SIDE
        and min(map(min, shapes)) > 0
    )


def apply_rule(numbers: Numbers, call: Any, operands: list[np.ndarray]) -> list[np.ndarray]:
    """Append the rows of a call; return the addresses of its results."""
    if not isinstance(call.op, Laned):
        return RULES[call.op.name](numbers, *operands, **call.settings)
    settings = dict(call.settings)
    shared = settings.pop("shared")
    each = [
        RULES[call.op.op.name](
            numbers,
            *(part if same else part[..., lane] for part, same in zip(operands, shared, strict=True)),
            **settings,
        )
        for lane in range(call.result_shapes[0][-1])
    ]
    return [np.stack([np.asarray(part) for part in parts], axis=-1) for parts in zip(*each, strict=True)]
