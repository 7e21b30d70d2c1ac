"""Roots of sums of squares, and squares of roots: recognised while recording, for their derivatives at zero.

`np.sqrt(np.sum(x**2))` is a norm written by hand: its root is recorded as the op `root`, whose derivative at 0 is 0, as
that of np.linalg.norm is. In `np.linalg.norm(x)**2` the square undoes the root: what was under the root is recorded
(`squared_root`), so the derivatives at 0 are those of the sum of squares, to any order. The values are those of NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numbad.limits import SMALL
from numbad.ops.definition import BY_NAME, REGISTRY
from numbad.recording.active import Active
from numbad.recording.arrays import Array, Storage, in_order, make_block
from numbad.recording.elementwise import record, record_operator
from numbad.recording.operands import as_active
from numbad.recording.recorder import Recorder
from numbad.recording.scalars import Scalar
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    GUARD,
    GUARD_VALUE,
    MAP,
    operand_strides,
    row_cleared,
    row_elements,
    row_operands,
    row_shape,
)

ROOT, SQRT, SQUARE, HYPOT, ABSOLUTE = (BY_NAME[name] for name in ("root", "sqrt", "square", "hypot", "absolute"))
SMALLEST_FACTOR = 1e-8  # of a root: so that the square of a root is not too small before it is multiplied
SQUARES = {op.opcode for op in REGISTRY if op.squares}
MULTIPLY, PLUS, DIVIDE = (BY_NAME[name].opcode for name in ("multiply", "add", "divide"))
COPIES = {BY_NAME[name].opcode for name in ("identity", "absolute")}
NEAR = 4  # rows that are looked back through one by one for the one that made a value: most roots follow their sums
MOST_TERMS = 20_000  # of a sum that is followed; a longer one that ends in a root keeps the derivative of a root


# ---------------------------------------------------------------- what is recorded


def record_sqrt(x: Any) -> Any:
    """Record a square root; that of a sum of squares is a norm."""
    result = record(ROOT if is_sum_of_squares(x) else SQRT, x)
    remember(result, "squared_root", x)
    return result


def record_root(square: Any) -> Any:
    """Record the square root of what is known to be a sum of squares: a norm, a standard deviation, a distance."""
    if not isinstance(square, Active):
        return np.sqrt(square)
    result = record(ROOT, square)
    remember(result, "squared_root", square)
    return result


def record_hypot(x: Any, y: Any) -> Any:
    """Record a hypotenuse."""
    recorder = x.recorder if isinstance(x, Active) else y.recorder
    x, y = as_active(recorder, x), as_active(recorder, y)
    if x is NotImplemented or y is NotImplemented:
        return NotImplemented
    result = record(HYPOT, x, y)
    remember(result, "squared_hypot", x, y)
    return result


def record_absolute(x: Any) -> Any:
    """Record an absolute value; that of a truth value is the truth value."""
    if isinstance(x, Active) and x.boolean:
        return x.copy()
    result = record(ABSOLUTE, x)
    remember(result, "square", x)
    return result


def record_square(x: Any) -> Any:
    """Record a square; that of a root is what was under the root."""
    found = square_of_root(x)
    return record(SQUARE, x) if found is None else found


def square_of_root(x: Any) -> Any:
    """Return the square of a value that is a root, a hypotenuse or an absolute value; None for another value."""
    recorder = x.recorder
    if not recorder.roots:
        return None
    known = recorder.roots.get(first_address(x))  # type: ignore[arg-type]
    if known is None or not x.size:  # arrays without elements may share an address
        return None
    name, shape, operands = known
    if x.size != math.prod(shape):
        return None
    if name == "scaled":
        root, factor = operands
        square = square_of_root(root)
        return None if square is None else (square * (factor * factor)).reshape(x.shape)
    if name in ("product", "quotient"):
        root, factor = operands
        square = square_of_root(root)
        if square is None:
            return None
        result = square * factor * factor if name == "product" else square / factor / factor
    elif name == "square":
        result = record_square(*operands)
    elif any(first_address(part) in recorder.roots for part in operands[1:] and operands):
        result = record_square(operands[0]) + record_square(operands[1])  # of roots: each is undone
    else:
        result = record(BY_NAME[name], *operands)
    return result if result.shape == x.shape else result.reshape(x.shape)


def record_power(x: Any, exponent: float) -> Any:
    """Record x to a constant power; of roots even powers are powers of what was under the root."""
    if exponent == 0.5 and is_sum_of_squares(x):
        return record_root(x)
    if exponent > 2 and exponent % 2 == 0:
        found = square_of_root(x)
        if found is not None:
            return found ** (exponent / 2)
    return record(BY_NAME["power_by_constant"], x, exponent)


def record_ufunc_power(x: Any, exponent: Any) -> Any:
    """Record np.power; of roots its even powers are undone, too."""
    if isinstance(x, Active) and type(exponent) in (int, float) and exponent > 0 and exponent != 1:
        return record_square(x) if exponent == 2 else record_power(x, exponent)
    return record_operator(BY_NAME["power"], x, exponent)


def record_product(x: Any, y: Any) -> Any:
    """Record x * y; of a root times a number that may vary the square is known, too."""
    result = record_operator(BY_NAME["multiply"], x, y)
    return note_factor(result, "product", x, y)


def record_quotient(x: Any, y: Any) -> Any:
    """Record x / y, as `record_product` does its own."""
    return note_factor(record_operator(BY_NAME["divide"], x, y), "quotient", x, y)


WATCHED: dict[Any, Any] = {
    np.multiply: record_product,
    np.divide: record_quotient,
    np.power: record_ufunc_power,
    np.sqrt: record_sqrt,
    np.square: record_square,
    np.hypot: record_hypot,
    np.absolute: record_absolute,
}


# ---------------------------------------------------------------- roots that are remembered


def remember(result: Any, name: str, *operands: Any) -> None:
    """Note of a new root which op of its operands is its square."""
    if not isinstance(result, Active):
        return
    address = first_address(result)
    if address is not None:
        result.recorder.roots[address] = (name, result.shape, tuple(map(freeze, operands)))


def remember_scaled(result: Any, x: Any, factor: float) -> None:
    """Note that a value is a root times a constant, if it is, so that a square undoes the root."""
    if first_address(x) in x.recorder.roots and SMALLEST_FACTOR <= abs(factor) <= 1.0 / SMALLEST_FACTOR:
        remember(result, "scaled", x, factor)


def note_factor(result: Any, name: str, x: Any, y: Any) -> Any:
    """Note that a new product or quotient is one of a root, if it is; return it."""
    if isinstance(result, Active) and result.recorder.roots:
        if is_known_root(x) and may_be_kept(y):
            remember(result, name, x, y)
        elif name == "product" and is_known_root(y) and may_be_kept(x):
            remember(result, name, y, x)
    return result


def is_known_root(x: Any) -> bool:
    """Whether an operand is a value of which `square_of_root` may know the square."""
    return isinstance(x, Active) and first_address(x) in x.recorder.roots


def may_be_kept(factor: Any) -> bool:
    """Whether a factor can be kept as it is now: recording values, numbers but zero, and short arrays can."""
    if isinstance(factor, (int, float, np.generic)):
        size = abs(float(factor))  # type: ignore[arg-type]
        return bool(SMALLEST_FACTOR <= size <= 1.0 / SMALLEST_FACTOR)
    return isinstance(factor, Active) or (type(factor) is np.ndarray and factor.size <= SMALL)


def first_address(x: Any) -> int | None:
    """Return where a scalar, or an array whose elements follow one another in the arena, begins; None for others."""
    if isinstance(x, Scalar):
        return x.address
    if x.first is not None:
        return x.first
    storage = x.storage
    if storage.addresses is None and storage.step == 1 and storage.space == 0 and x.offset == 0 and in_order(x):
        return storage.address
    return None


def freeze(x: Any) -> Any:
    """Return an operand as it is now: assignments to the program's array do not reach what is returned."""
    if type(x) is np.ndarray:
        return x.copy()
    if not isinstance(x, Array):
        return x
    if x.first is not None:
        return make_block(x.recorder, x.first, x.shape, x.boolean)
    storage = x.storage
    fresh = Storage(storage.space, storage.address, storage.size, storage.step)
    if storage.addresses is not None:
        fresh.addresses = storage.addresses.copy()
    return Array(x.recorder, fresh, x.shape, x.offset, x.pitches, x.boolean)


# ---------------------------------------------------------------- sums of squares


def is_sum_of_squares(x: Any) -> bool:
    """Whether a value is a sum of squares times positive constants, by the rows that made it."""
    spot = x.spot()
    if spot is None or spot[0] != 0:
        return False
    recorder = x.recorder
    pending = [spot[1]]
    last = recorder.row_count() - 1
    for _ in range(MOST_TERMS):
        if not pending:
            return True
        address = max(pending)  # what was written last comes first, so that rows are looked through once
        pending.remove(address)
        if address == 0:
            continue
        row = find_row(recorder, address, last)
        terms = None if row < 0 else terms_of(recorder, row)
        if terms is not None:
            last = row
            pending += [term for term in terms if term not in pending]
        elif row >= 0 or not is_positive_constant(recorder, address):
            return False
    return False


def find_row(recorder: Recorder, address: int, last: int) -> int:
    """Return the row up to `last` that wrote an address, -1 where none is found.

    Rows write to addresses in order, but for guards and for rows that add to what is there: so a search by halves
    finds nearly all, and what is found is checked.
    """
    code = recorder.code
    for row in range(last, max(last - NEAR, -1), -1):
        if writes(recorder, row, address):
            return row
    low, high = 0, last - NEAR
    while low < high:
        middle = (low + high + 1) // 2
        while middle > low and code[4 * middle] in (GUARD, GUARD_VALUE):
            middle -= 1
        if code[4 * middle + 1] <= address and middle > low:
            low = middle
        elif middle > low:
            high = middle - 1
        else:
            high = low
    return low if high >= 0 and writes(recorder, low, address) else -1


def writes(recorder: Recorder, row: int, address: int) -> bool:
    """Whether a scalar row or a row over arrays, by itself, wrote the value at an address."""
    opcode, out, w = recorder.code[4 * row : 4 * row + 3]
    if opcode < MAP:
        return out == address
    if opcode < 2 * MAP:
        return out <= address < out + row_elements(recorder.words, w)
    return opcode in (ADD, CONTRACT) and out <= address < out + fills(recorder, w)


def fills(recorder: Recorder, w: int) -> int:
    """Return how many elements a row of sums writes: 0 where other rows write to its block, too."""
    words = recorder.words
    count = math.prod(n for n, step in zip(row_shape(words, w), operand_strides(words, w, 0), strict=True) if step)
    return count if count == row_cleared(words, w) else 0


def terms_of(recorder: Recorder, row: int) -> list[int] | None:
    """Return the addresses that have to be sums of squares for the result of a row to be one; None: it is none."""
    opcode, _, a, b = recorder.code[4 * row : 4 * row + 4]
    if opcode < MAP:
        return terms_of_op(recorder, opcode, (0, a), (0, b))
    if opcode < 2 * MAP:
        _, *operands = row_operands(recorder.words, a)
        return terms_of_op(recorder, opcode - MAP, operands[0], operands[-1])
    if opcode == ADD:
        _, source = row_operands(recorder.words, a)
        return [source[1]] if source[0] == 0 else None
    if opcode == CONTRACT:
        _, one, other = row_operands(recorder.words, a)
        return [] if one == other else None
    return None


def terms_of_op(recorder: Recorder, opcode: int, one: tuple[Any, ...], other: tuple[Any, ...]) -> list[int] | None:
    """Return the addresses that have to be sums of squares for the result of an elementwise op to be one."""
    if opcode in SQUARES or (opcode == MULTIPLY and one == other):
        return []
    if opcode not in (MULTIPLY, DIVIDE, PLUS, *COPIES) or one[0] != 0 or other[0] != 0:
        return None
    if opcode in COPIES:
        return [one[1]]
    if opcode == PLUS:
        return [one[1], other[1]]
    if is_positive_constant(recorder, other[1]):
        return [one[1]]
    return [other[1]] if opcode == MULTIPLY and is_positive_constant(recorder, one[1]) else None


def is_positive_constant(recorder: Recorder, address: int) -> bool:
    """Whether an address holds a positive Python number of the program's text."""
    return any(place == address and value > 0 for value, place in recorder.constants.items())
