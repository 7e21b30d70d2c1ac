"""Python's operators on recording values: x + y, x < y, x @ y, x += y."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.kernels.memory import count_nonzero
from numbad.ops.definition import BY_NAME, REGISTRY, Op
from numbad.recording.active import Active, new
from numbad.recording.arrays import Array
from numbad.recording.division import catches_division, refuse_zero
from numbad.recording.elementwise import BY_CONSTANT, MULTIPLY, record, record_operator
from numbad.recording.operands import in_precision, load_like
from numbad.recording.roots import (
    SQUARE,
    note_factor,
    record_absolute,
    record_power,
    record_product,
    record_quotient,
    record_square,
    remember_scaled,
    square_of_root,
)
from numbad.recording.row_plans import CONTIGUOUS, append_row, plan_contiguous, strided_row
from numbad.recording.scalars import Scalar, Truth, scalar_row
from numbad.tape.layout import MAP

Method = Callable[..., Any]


def scalar_operators(op: Op) -> tuple[Method, Method]:
    """Make the operator methods of a scalar for an op of two operands, plain and reflected.

    They are written out, for one function that asks which of the two it is takes some hundredths longer.
    """
    opcode = op.opcode
    product, scales = op is MULTIPLY, op.symbol in ("*", "/")
    general = general_form(op)

    def method(self: Any, other: Any) -> Any:
        recorder = self.recorder
        kind = type(other)
        if kind is Scalar and other.recorder is recorder:
            b = other.address
            if product:
                if not b or not self.address:  # the constant zero
                    return record_operator(op, self, other)
                if b == self.address and (found := square_of_root(self)) is not None:
                    return found
        elif kind is float or kind is int:
            b = recorder.constants.get(other)
            if b is None:
                if product and not other:
                    return record_operator(op, self, other)
                b = recorder.constant(other)
        else:
            return general(self, other)
        out = recorder.size
        recorder.size = out + 1
        recorder.extend((opcode, out, self.address, b))
        result = new(Scalar)
        result.recorder = recorder
        result.address = out
        if scales and recorder.roots:
            if kind is Scalar:
                note_factor(result, "product" if product else "quotient", self, other)
            elif other:
                remember_scaled(result, self, other if product else 1.0 / other)
        return result

    def reflected(self: Any, other: Any) -> Any:
        recorder = self.recorder
        kind = type(other)
        if kind is float or kind is int:
            a = recorder.constants.get(other)
            if a is None:
                if product and not other:
                    return record_operator(op, other, self)
                a = recorder.constant(other)
        else:
            return general(other, self)
        out = recorder.size
        recorder.size = out + 1
        recorder.extend((opcode, out, a, self.address))
        result = new(Scalar)
        result.recorder = recorder
        result.address = out
        if product and recorder.roots:
            remember_scaled(result, self, other)
        return result

    return method, reflected


def general_form(op: Op) -> Method:
    """Return the function that records an op of any two operands."""
    if op is MULTIPLY:
        return record_product
    return record_quotient if op.symbol == "/" else functools.partial(record_operator, op)


def dividing(method: Method, reflected: Method, what: str) -> tuple[Method, Method]:
    """Make operators that raise Python's ZeroDivisionError where the program may catch it."""

    def divide(self: Any, other: Any) -> Any:
        if not (type(other) is float and other) and catches_division():
            refuse_zero(self, other, what)
        return method(self, other)

    def divided(self: Any, other: Any) -> Any:
        if catches_division():
            refuse_zero(other, self, what)
        return reflected(self, other)

    return divide, divided


def array_operator(op: Op, reflected: bool) -> Method:
    """Make the operator method of an array for an op of two operands: self op other, or other op self."""
    opcode = MAP + op.opcode
    product = op is MULTIPLY
    scales = product or (op.symbol == "/" and not reflected)
    by_constant = MAP + BY_CONSTANT.opcode
    general = general_form(op)
    kind_of_factor = "product" if product else "quotient"

    def method(self: Any, other: Any) -> Any:
        mine = self.first
        recorder = self.recorder
        if mine is None or (op.of_truths and self.boolean):
            if mine is None and type(other) is Array and other.recorder is recorder and not reflected:
                found = strided_row(opcode, self, other, product)
                if found is not None:
                    return note_factor(found, kind_of_factor, self, other) if scales else found
            return general(other, self) if reflected else general(self, other)
        shape = self.shape
        plans = CONTIGUOUS.get(shape) or plan_contiguous(shape)
        kind = type(other)
        if kind is Array and other.shape == shape and other.recorder is recorder:
            its = None if product and (other.boolean or recorder.masks) else other.first
            plan = plans.arrays
            if product and its == mine and (found := square_of_root(self)) is not None:
                return found
        elif kind is float or kind is int:
            its = recorder.constants.get(other)
            if its is None and not (product and not other):
                its = recorder.constant(other)
            plan = plans.scalar_left if reflected else plans.scalar_right
        elif kind is Scalar and other.recorder is recorder:
            its = other.address
            plan = plans.scalar_left if reflected else plans.scalar_right
        else:
            its = load_like(other, shape, recorder)
            plan = plans.arrays
            if product and its is not None and count_nonzero(other) != other.size:
                return append_row(recorder, by_constant, plan, mine, its, False)
        if its is None:
            if kind is Array and not reflected and other.recorder is recorder:
                found = strided_row(opcode, self, other, product)
                if found is not None:
                    return note_factor(found, kind_of_factor, self, other) if scales else found
            return general(other, self) if reflected else general(self, other)
        if reflected:
            result = append_row(recorder, opcode, plan, its, mine, False)
        else:
            result = append_row(recorder, opcode, plan, mine, its, False)
        if scales and recorder.roots:
            if kind is not float and kind is not int:
                note_factor(result, kind_of_factor, self, other)
            elif other:
                remember_scaled(result, self, other if product else 1.0 / other)
        return result

    return method


def comparison(op: Op) -> Method:
    """Make a comparison method."""

    def method(self: Any, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return NotImplemented
        return record_operator(op, self, other)

    return method


def unary(name: str) -> Method:
    """Make a method of an op of one operand."""
    op = BY_NAME[name]

    def method(self: Any) -> Any:
        return record(op, self)

    method.__name__ = name
    return method


def square_or_power(self: Any, exponent: Any, modulo: Any = None) -> Any:
    """Record x ** exponent; the square is an op of its own."""
    if modulo is not None:
        return NotImplemented
    if type(exponent) is int or type(exponent) is float:
        if exponent == 2:
            recorder = self.recorder
            if type(self) is Scalar and not recorder.roots:
                return scalar_row(recorder, SQUARE, self.address, 0)
            return record_square(self)
        if exponent == 1:
            return record(BY_NAME["identity"], self)
        if exponent < 0 and type(self) is Scalar and catches_division():
            refuse_zero(1.0, self, "0.0 cannot be raised to a negative power")
        return record_power(self, exponent)
    if isinstance(exponent, Active):
        return record(BY_NAME["power"], self, exponent)
    if isinstance(exponent, np.ndarray) and exponent.dtype.kind == "f" and exponent.ndim:
        return record(BY_NAME["power_by_constant"], self, exponent)
    if isinstance(exponent, (np.generic, np.ndarray)) and not np.ndim(exponent) and exponent.dtype.kind in "fiub":
        self.recorder.promote(exponent.dtype)
        return square_or_power(self, exponent.item())
    return record_operator(BY_NAME["power_by_constant"], self, exponent)


def power_from(self: Any, base: Any) -> Any:
    """Record base ** x."""
    return record_operator(BY_NAME["power"], base, self)


def logic(op: Op) -> Method:
    """Make the methods of &, | and ^, which are for truth values only."""

    def method(self: Any, other: Any) -> Any:
        if not self.boolean or not (getattr(other, "boolean", False) or np.asarray(other).dtype == bool):
            raise RecordingError(
                message("&, | and ^ are not defined for floating-point values", "compare first: (x > 0) & (y > 0)")
            )
        return record_operator(op, self, other)

    return method


def invert(self: Any) -> Any:
    """Record ~ of truth values."""
    if not self.boolean:
        raise RecordingError(message("~ is not defined for floating-point values", "compare first: ~(x > 0)"))
    return record(BY_NAME["logical_not"], self)


def divmod_(self: Any, other: Any) -> Any:
    """Return quotient and remainder."""
    return self // other, self % other


def divmod_of(self: Any, other: Any) -> Any:
    """Return quotient and remainder of another value by this one."""
    return other // self, other % self


def positive(self: Any) -> Any:
    """Return a copy, as NumPy does."""
    return self.copy("K")


def matmul(self: Array, other: Any) -> Any:
    """Record x @ other."""
    if not isinstance(other, (Active, np.ndarray)) and hasattr(type(other), "__rmatmul__"):
        return NotImplemented
    return self.__array_ufunc__(np.matmul, "__call__", self, other)


def matmul_from(self: Array, other: Any) -> Any:
    """Record other @ x."""
    return np.matmul(other, self)


def in_place(name: str) -> Method:
    """Make an augmented assignment: the operator's result is assigned to all elements."""

    def method(self: Array, other: Any) -> Array:
        result = getattr(self, name)(in_precision(self.recorder, other))
        if result is NotImplemented:
            return result
        if result.shape != self.shape:
            raise ValueError(
                f"non-broadcastable output operand with shape {self.shape} "
                f"doesn't match the broadcast shape {result.shape}"
            )
        self[...] = result
        return self

    return method


# ---------------------------------------------------------------- the operators of the classes

METHODS = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "&": "and", "|": "or", "^": "xor",
    "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne",
}  # fmt: skip
DIVISIONS = {"truediv": "float division by zero", "floordiv": "float floor division by zero", "mod": "float modulo"}


def give(kind: type[Active], operator: str, method: Method, reflected: Method | None = None) -> None:
    """Make functions the methods of a class that Python calls for an operator."""
    setattr(kind, f"__{operator}__", method)
    if reflected is not None:
        setattr(kind, f"__r{operator}__", reflected)


def give_operator(operator: str, op: Op) -> None:
    """Give scalars and arrays the operator that an op of two operands is."""
    if op.compares:
        give(Active, operator, comparison(op))
        return
    if op.boolean:
        give(Active, operator, logic(op), logic(op))
    else:
        methods = scalar_operators(op)
        give(Scalar, operator, *(dividing(*methods, DIVISIONS[operator]) if operator in DIVISIONS else methods))
        give(Array, operator, array_operator(op, False), array_operator(op, True))
    give(Array, f"i{operator}", in_place(f"__{operator}__"))


def times_truth(self: Truth, other: Any) -> Any:
    """Record a product with a truth value."""
    return record_operator(MULTIPLY, self, other)


def give_all() -> None:
    """Give scalars and arrays their operators."""
    for op in REGISTRY:
        if op.symbol in METHODS:
            give_operator(METHODS[op.symbol], op)
    give(Truth, "mul", times_truth, times_truth)
    give(Active, "divmod", divmod_, divmod_of)
    give(Active, "pow", square_or_power, power_from)
    give(Active, "neg", unary("negative"))
    give(Active, "abs", record_absolute)
    give(Active, "pos", positive)
    give(Active, "invert", invert)
    give(Array, "matmul", matmul, matmul_from)
    for operator in ("pow", "matmul"):
        give(Array, f"i{operator}", in_place(f"__{operator}__"))


give_all()
