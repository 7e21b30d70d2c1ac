"""Operations of numbers as Numba compiles them, where Python's or NumPy's own are others.

Integers have 64 bits and wrap around, whatever the width of the elements of arrays that they come from; the result of
two is unsigned if both are (Numba enhancement proposal 1, "Changes in integer typing"). Division of numbers by zero
raises where the function's `error_model` is Python's, and is NumPy's elsewhere. What is assigned in place to an array
that shares memory with the operand is computed element by element, in the order of the array's axes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.recording.active import Active
from numbad.recording.arrays import Array
from numbad.recording.scalars import Scalar

BITS = 64
MASK = (1 << BITS) - 1
LOWEST, HIGHEST = -(1 << (BITS - 1)), (1 << (BITS - 1)) - 1
WHOLE = (int, np.integer, np.bool_)  # classes of numbers that Numba types as integers, or truth values
DIVISIONS = {"TRUE_DIVIDE", "FLOOR_DIVIDE", "REMAINDER"}
OPERATORS: dict[str, Callable[..., Any]] = {
    "ADD": operator.add,
    "AND": operator.and_,
    "FLOOR_DIVIDE": operator.floordiv,
    "LSHIFT": operator.lshift,
    "MATRIX_MULTIPLY": operator.matmul,
    "MULTIPLY": operator.mul,
    "OR": operator.or_,
    "POWER": operator.pow,
    "REMAINDER": operator.mod,
    "RSHIFT": operator.rshift,
    "SUBTRACT": operator.sub,
    "TRUE_DIVIDE": operator.truediv,
    "XOR": operator.xor,
}
IN_PLACE: dict[str, Callable[..., Any]] = {
    "ADD": operator.iadd,
    "AND": operator.iand,
    "FLOOR_DIVIDE": operator.ifloordiv,
    "LSHIFT": operator.ilshift,
    "MATRIX_MULTIPLY": operator.imatmul,
    "MULTIPLY": operator.imul,
    "OR": operator.ior,
    "POWER": operator.ipow,
    "REMAINDER": operator.imod,
    "RSHIFT": operator.irshift,
    "SUBTRACT": operator.isub,
    "TRUE_DIVIDE": operator.itruediv,
    "XOR": operator.ixor,
}
ARRAYS = (np.ndarray, Array)
MOST_COMPARED = 1000  # steps in which NumPy decides whether two arrays share memory


class Operation:
    """What stands in a function's code in the place of an operator.

    Attributes
    ----------
    name : str
        Of the operator, as Python's listings have it.
    in_place : bool
        Whether it is +=, -= and the like.
    raising : bool
        Whether a division of numbers by zero raises.
    """

    __slots__ = ("compute", "divides", "in_place", "name", "raising", "store")

    def __init__(self, name: str, raising: bool) -> None:
        self.in_place = name.startswith("INPLACE_")
        self.name = name.removeprefix("INPLACE_")
        self.compute = OPERATORS[self.name]
        self.store = IN_PLACE[self.name]
        self.raising = raising
        self.divides = self.name in DIVISIONS

    def __or__(self, operands: Any) -> Any:
        one, other = operands
        del operands
        if isinstance(one, Scalar) or isinstance(other, Scalar):
            if self.divides and not isinstance(one, ARRAYS) and not isinstance(other, ARRAYS):
                return self.divide(one, other)
            return self.store(one, other) if self.in_place else self.compute(one, other)
        if isinstance(one, ARRAYS) or isinstance(other, ARRAYS):
            return self.of_arrays(one, other)
        if isinstance(one, WHOLE) and isinstance(other, WHOLE):
            return self.of_integers(one, other)
        if self.divides and is_number(one) and is_number(other):
            return self.divide(one, other)
        if self.name == "POWER" and isinstance(one, NUMBERS) and isinstance(other, NUMBERS):
            with np.errstate(all="ignore"):
                return plain(np.power(np.float64(one), np.float64(other)))
        return self.store(one, other) if self.in_place else self.compute(one, other)

    # ------------------------------------------------------------ numbers

    def divide(self, one: Any, other: Any) -> Any:
        """Divide numbers; a zero raises, or gives infinity or NaN."""
        if not self.raising:
            with np.errstate(all="ignore"):
                one = np.float64(one) if isinstance(one, (float, *WHOLE)) else one
                found = self.compute(one, np.float64(other) if isinstance(other, (float, *WHOLE)) else other)
            return plain(found)
        if other == 0:  # of a recording number the answer is guarded
            raise ZeroDivisionError("division by zero")
        return self.compute(one, other)

    def of_integers(self, one: Any, other: Any) -> Any:
        """Return the result for integers of 64 bits."""
        name = self.name
        if name == "TRUE_DIVIDE":
            return self.divide(float(one), float(other))
        unsigned = is_unsigned(one) and is_unsigned(other)
        if name in ("AND", "OR", "XOR") and isinstance(one, TRUTHS) and isinstance(other, TRUTHS):
            return self.compute(one, other)
        if name in ("LSHIFT", "RSHIFT"):
            unsigned = is_unsigned(one)
        if self.divides and other == 0:
            if self.raising:
                raise ZeroDivisionError("integer division or modulo by zero")
            return wrapped(0, unsigned)
        if name == "POWER":
            return power(int(one), int(other), unsigned)
        if name == "LSHIFT" and int(other) >= BITS:
            return wrapped(0, unsigned)
        first, second = (int(one), int(other)) if unsigned else (signed(one), signed(other))
        return wrapped(self.compute(first, second), unsigned)

    # ------------------------------------------------------------ arrays

    def of_arrays(self, one: Any, other: Any) -> Any:
        """Return the result where an operand is an array."""
        if self.in_place and isinstance(one, ARRAYS):
            if isinstance(other, ARRAYS) and self.name != "MATRIX_MULTIPLY" and overlap(one, other):
                return self.one_by_one(one, other)
            return self.store(one, strong(other, one))
        return self.compute(strong(one, other), strong(other, one))

    def one_by_one(self, target: Any, other: Any) -> Any:
        """Compute in place element by element, as Numba's loops do: what has been written is read again."""
        for index in np.ndindex(target.shape):
            place = tuple(
                0 if length == 1 else k for k, length in zip(index[len(index) - other.ndim :], other.shape, strict=True)
            )
            target[index] = self.compute(target[index], other[place])
        return target


NUMBERS = (float, int, np.floating, np.integer)
TRUTHS = (bool, np.bool_)


def is_number(value: Any) -> bool:
    """Whether a value is a plain number without an imaginary part."""
    return isinstance(value, NUMBERS)


def plain(value: Any) -> Any:
    """Return a number of NumPy's in double precision as one of Python's."""
    return float(value) if type(value) is np.float64 else value


def is_unsigned(value: Any) -> bool:
    """Whether Numba takes an integer for one without a sign."""
    return isinstance(value, np.unsignedinteger) or (type(value) is int and value > HIGHEST)


def signed(value: Any) -> int:
    """Return the number with a sign that has the same bits."""
    found = int(value)
    return found if LOWEST <= found <= HIGHEST else wrap(found)


def wrap(value: int) -> int:
    """Return the number with a sign that the last 64 bits of an integer are."""
    return ((value - LOWEST) & MASK) + LOWEST


def wrapped(value: int, unsigned: bool) -> Any:
    """Return an integer as Numba keeps it."""
    if unsigned:
        return np.uint64(value & MASK)
    return value if LOWEST <= value <= HIGHEST else wrap(value)


def power(base: int, exponent: int, unsigned: bool) -> Any:
    """Return an integer to the power of another, as Numba's `int_power` computes it."""
    if exponent < 0:
        if base == 0:
            raise ZeroDivisionError("0 cannot be raised to a negative power")
        return wrapped(base ** (exponent % 2) if base in (1, -1) else 0, unsigned)
    if exponent > 0x10000:
        refuse_integer("an integer to a power above 65536")
    return wrapped(pow(base, exponent, 1 << BITS), unsigned)


def refuse_integer(what: str) -> None:
    """Refuse what Numba leaves to the processor."""
    raise RecordingError(message(f"{what} is not recorded: Numba's result is not an integer's", "use floats"))


def whole(value: Any) -> Any:
    """As int(x) in a function that Numba compiles: a number of 64 bits."""
    found = int(value)
    if not LOWEST <= found <= HIGHEST and not isinstance(value, np.unsignedinteger):
        raise RecordingError(
            message(f"int({found:.6g}) does not fit into 64 bits: Numba's result is not defined", "use floats")
        )
    return found


def strong(value: Any, other: Any) -> Any:
    """Return a number of Python's that meets a plain array as Numba types it: with 64 bits."""
    if type(other) is Array or isinstance(other, Active):
        return value
    if type(value) is int and LOWEST <= value <= HIGHEST:
        return np.int64(value)
    return np.float64(value) if type(value) is float else value


# ---------------------------------------------------------------- shared memory


def overlap(target: Any, other: Any) -> bool:
    """Whether what is written to an array may be read as an element of another with a different place."""
    if target is other or target.size < 2:
        return False
    if type(target) is Array and type(other) is Array:
        if target.storage is not other.storage:
            return False
        memory = np.empty(target.storage.size, np.int8)  # whose elements are shared as those of the two are
        return shares_elsewhere(view_of(memory, target), view_of(memory, other))
    if type(target) is Array or type(other) is Array:
        return False
    return shares_elsewhere(target, other)


def view_of(memory: np.ndarray, array: Array) -> np.ndarray:
    """Return the view of plain memory that a recording array is of its storage."""
    return np.lib.stride_tricks.as_strided(memory[array.offset :], array.shape, array.steps())


def shares_elsewhere(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays share memory, and are not the same view of it."""
    where, there = one.__array_interface__["data"][0], other.__array_interface__["data"][0]
    if where == there and one.shape == other.shape and one.strides == other.strides:
        return False
    try:
        return bool(np.shares_memory(one, other, max_work=MOST_COMPARED))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
