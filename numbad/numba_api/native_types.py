"""Recording numbers and arrays as types of Numba's, whose operations append rows from machine code.

A number is a value and an address; -1 stands for a number that does not vary, and operations of two of these append
nothing. An array is two arrays of Numba's, of values and of addresses, which it indexes as it does its own.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

from numba import njit, types
from numba.core import cgutils
from numba.core.typeconv import Conversion
from numba.extending import (
    NativeValue,
    box,
    intrinsic,
    lower_builtin,
    lower_cast,
    make_attribute_wrapper,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.extending import overload as overload_strictly
from numba.extending import overload_attribute as overload_attribute_strictly
from numba.extending import overload_method as overload_method_strictly

from numbad.kernels.generated import opcodes
from numbad.numba_api.native_tape import (
    RAISING,
    TABLE,
    append_guard,
    append_result,
    constant,
    give_up,
    read_word,
)
from numbad.tape.layout import GUARD


class Number:
    """A recording number on the border between Python and machine code."""

    __slots__ = ("address", "value")

    def __init__(self, value: float, address: int) -> None:
        self.value, self.address = value, address

    def __repr__(self) -> str:  # what print shows, which Numba gives Python's objects
        return repr(self.value)


class NumberType(types.Type):
    """Numba's type of recording numbers."""

    def __init__(self) -> None:
        super().__init__(name="recording number")

    def unify(self, typingctx: Any, other: Any) -> Any:
        """Return the type of a variable that is a recording number here, and a plain one there."""
        return self if isinstance(other, (types.Float, types.Integer)) else None

    def can_convert_from(self, typingctx: Any, other: Any) -> Any:
        """Say that a plain number can become a recording one."""
        return Conversion.safe if isinstance(other, (types.Float, types.Integer)) else None


class TruthType(types.Type):
    """Numba's type of the truth of a comparison of recording numbers."""

    def __init__(self) -> None:
        super().__init__(name="recording truth value")

    def unify(self, typingctx: Any, other: Any) -> Any:
        """Return the type of a variable that is a plain truth value elsewhere."""
        return self if isinstance(other, types.Boolean) else None

    def can_convert_from(self, typingctx: Any, other: Any) -> Any:
        """Say that a plain truth value can become a recording one."""
        return Conversion.safe if isinstance(other, types.Boolean) else None


loose: Any = {"strict": False}
overload: Any = functools.partial(overload_strictly, **loose)  # annotations of one function are none of the other
overload_attribute: Any = functools.partial(overload_attribute_strictly, **loose)
overload_method: Any = functools.partial(overload_method_strictly, **loose)
number_type, truth_type = NumberType(), TruthType()
PLAIN = (types.Float, types.Integer)
NUMBERS = (NumberType, *PLAIN)
TUPLE: Any = types.BaseTuple


@register_model(NumberType)
class NumberModel(models.StructModel):
    """A value and an address."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, [("value", types.float64), ("address", types.int64)])


@register_model(TruthType)
class TruthModel(models.StructModel):
    """A truth value and an address."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, [("value", types.boolean), ("address", types.int64)])


for _type in (NumberType, TruthType):
    make_attribute_wrapper(_type, "value", "_value")
    make_attribute_wrapper(_type, "address", "_address")


def making(kind: Any, number: Any) -> Any:
    """Make a function that puts a value and an address together."""

    def put(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        proxy = cgutils.create_struct_proxy(kind)(context, builder)
        proxy.value, proxy.address = arguments
        return proxy._getvalue()

    @intrinsic
    def make(context: Any, value: Any, address: Any) -> Any:
        return kind(number, types.int64), put

    return make


make_number = making(number_type, types.float64)
make_truth = making(truth_type, types.boolean)


# ---------------------------------------------------------------- the border


@typeof_impl.register(Number)
def _typeof_number(value: Any, context: Any) -> Any:
    return number_type


@unbox(NumberType)
def _unbox_number(kind: Any, value: Any, c: Any) -> Any:
    proxy = cgutils.create_struct_proxy(kind)(c.context, c.builder)
    for field, part in (("value", types.float64), ("address", types.int64)):
        found = c.pyapi.object_getattr_string(value, field)
        setattr(proxy, field, c.unbox(part, found).value)
        c.pyapi.decref(found)
    return NativeValue(proxy._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@box(NumberType)
def _box_number(kind: Any, value: Any, c: Any) -> Any:
    proxy = cgutils.create_struct_proxy(kind)(c.context, c.builder, value=value)
    parts = [c.box(types.float64, proxy.value), c.box(types.int64, proxy.address)]
    function = c.pyapi.unserialize(c.pyapi.serialize_object(Number))
    found = c.pyapi.call_function_objargs(function, parts)
    for part in (function, *parts):
        c.pyapi.decref(part)
    return found


@lower_cast(types.Float, NumberType)
@lower_cast(types.Integer, NumberType)
def _cast_plain(context: Any, builder: Any, fromty: Any, toty: Any, value: Any) -> Any:
    proxy = cgutils.create_struct_proxy(toty)(context, builder)
    proxy.value = context.cast(builder, value, fromty, types.float64)
    proxy.address = context.get_constant(types.int64, -1)
    return proxy._getvalue()


@lower_cast(types.Boolean, TruthType)
def _cast_boolean(context: Any, builder: Any, fromty: Any, toty: Any, value: Any) -> Any:
    proxy = cgutils.create_struct_proxy(toty)(context, builder)
    proxy.value = value
    proxy.address = context.get_constant(types.int64, -1)
    return proxy._getvalue()


@lower_builtin("print_item", TruthType)
def _print_truth(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    proxy = cgutils.create_struct_proxy(truth_type)(context, builder, value=arguments[0])
    own = context.get_function("print_item", types.none(types.boolean))
    return own(builder, [proxy.value])


# ---------------------------------------------------------------- operations


@njit
def unary_row(opcode, value, address):
    """Return the result of an op of one number."""
    if address < 0:
        return make_number(value, -1)
    return make_number(value, append_result(opcode, address, 0))


@njit
def addressed(value, address):
    """Return the address of a number."""
    return constant(value) if address < 0 else address


@njit
def binary_row(opcode, value, x, x_address, y, y_address):
    """Return the result of an op of two numbers."""
    if x_address < 0 and y_address < 0:
        return make_number(value, -1)
    a, b = addressed(x, x_address), addressed(y, y_address)
    return make_number(value, append_result(opcode, a, b))


@njit
def compared(opcode, value, x, x_address, y, y_address):
    """Return the truth of a comparison."""
    if x_address < 0 and y_address < 0:
        return make_truth(value, -1)
    a, b = addressed(x, x_address), addressed(y, y_address)
    return make_truth(value, append_result(opcode, a, b))


@njit
def decided(value, address):
    """Return a truth value, which is guarded."""
    if address >= 0:
        append_guard(GUARD, 1 if value else 0, address)
    return value


def value_of(x):
    """Return the value of a number."""


def address_of(x):
    """Return its address, -1 for one that does not vary."""


@overload(value_of)
def _value_of(x: Any) -> Any:
    if isinstance(x, (NumberType, TruthType)):
        return lambda x: x._value
    return (lambda x: float(x)) if isinstance(x, (*PLAIN, types.Boolean)) else None


@overload(address_of)
def _address_of(x: Any) -> Any:
    if isinstance(x, (NumberType, TruthType)):
        return lambda x: x._address
    return (lambda x: -1) if isinstance(x, (*PLAIN, types.Boolean)) else None


def are_recorded(*operands: Any) -> bool:
    """Whether types are those of numbers, one of them recording."""
    return all(isinstance(x, NUMBERS) for x in operands) and any(isinstance(x, NumberType) for x in operands)


def operators(name: str) -> Any:
    """Return a decorator for an operator and the one that assigns its result."""

    def define(function: Any) -> Any:
        overload(getattr(operator, f"i{name}"))(function)
        return overload(getattr(operator, name))(function)

    return define


def rows_of(opcode: int, compute: Any) -> Callable[[Any, Any], Any]:
    """Return by what Numba finds how a row of two numbers, one of them a recording one, is appended."""

    def define(x: Any, y: Any) -> Any:
        if are_recorded(x, y):

            def record(x, y):
                a, b = value_of(x), value_of(y)
                return binary_row(opcode, compute(a, b), a, address_of(x), b, address_of(y))

            return record
        return None

    return define


def define_binary(name: str, opcode: int, compute: Any) -> None:
    """Give an operator of two numbers to recording ones."""
    operators(name)(rows_of(opcode, njit(compute)))


define_binary("add", opcodes.ADD, lambda a, b: a + b)
define_binary("sub", opcodes.SUBTRACT, lambda a, b: a - b)


@operators("mul")
def _multiply(x: Any, y: Any) -> Any:
    if not are_recorded(x, y):
        return None

    def record(x, y):
        a, b, first, second = value_of(x), value_of(y), address_of(x), address_of(y)
        if second < 0 and b == 0.0 and first >= 0:  # a factor that does not vary: zero, whatever the other is
            return binary_row(opcodes.MULTIPLY_BY_CONSTANT, a * b, a, first, b, second)
        if first < 0 and a == 0.0 and second >= 0:
            return binary_row(opcodes.MULTIPLY_BY_CONSTANT, a * b, b, second, a, first)
        return binary_row(opcodes.MULTIPLY, a * b, a, first, b, second)

    return record


@njit
def check_divisor(value, address):
    """Raise where a number is divided by zero, and guard that it is not, unless that is NumPy's affair."""
    if read_word(TABLE + 8 * RAISING):
        if decided(value == 0.0, compared(opcodes.EQUAL, value == 0.0, value, address, 0.0, -1)._address):
            raise ZeroDivisionError("division by zero")


@njit(error_model="numpy")
def quotient(a, b):
    """Return a quotient as processors compute it."""
    return a / b


@njit(error_model="numpy")
def floored(a, b):
    """Return a quotient rounded down."""
    return a // b


@njit(error_model="numpy")
def rest(a, b):
    """Return a remainder."""
    return a % b


OF_ELEMENTS: dict[str, Any] = {}  # divisions of the elements of arrays, which raise nothing in any model of errors


def define_division(name: str, opcode: int, compute: Any) -> None:
    """Give a division to recording numbers, and one that never raises to the elements of arrays."""

    def divide(x, y):
        """Divide elements."""

    overload(divide)(rows_of(opcode, compute))
    OF_ELEMENTS[name] = divide

    @operators(name)
    def _define(x: Any, y: Any) -> Any:
        if are_recorded(x, y):

            def record(x, y):
                a, b = value_of(x), value_of(y)
                check_divisor(b, address_of(y))
                return binary_row(opcode, compute(a, b), a, address_of(x), b, address_of(y))

            return record
        return None


define_division("truediv", opcodes.DIVIDE, quotient)
define_division("floordiv", opcodes.FLOOR_DIVIDE, floored)
define_division("mod", opcodes.REMAINDER, rest)


@operators("pow")
def _power(x: Any, y: Any) -> Any:
    if not are_recorded(x, y):
        return None

    def record(x, y):
        a, b, first, second = value_of(x), value_of(y), address_of(x), address_of(y)
        if second >= 0:
            return binary_row(opcodes.POWER, math.pow(a, b), a, first, b, second)
        if a == 0.0 and first >= 0 and b != math.floor(b):
            give_up()
        if b == 2.0:
            return unary_row(opcodes.SQUARE, a * a, first)
        if b == 1.0:
            return unary_row(opcodes.IDENTITY, a, first)
        return binary_row(opcodes.POWER_BY_CONSTANT, math.pow(a, b), a, first, b, second)

    return record


def define_unary(function: Any, opcode: int, compute: Any) -> None:
    """Give a function of one number to recording ones; others are given to Numba's own."""
    compute = njit(compute)

    @overload(function)
    def _define(x: Any) -> Any:
        if isinstance(x, NumberType):
            return lambda x: unary_row(opcode, compute(x._value), x._address)
        return None


define_unary(operator.neg, opcodes.NEGATIVE, lambda a: -a)
define_unary(abs, opcodes.ABSOLUTE, lambda a: abs(a))
overload(operator.pos)(lambda x: (lambda x: x) if isinstance(x, NumberType) else None)

for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _opcode = getattr(
        opcodes,
        {"lt": "LESS", "le": "LESS_EQUAL", "gt": "GREATER", "ge": "GREATER_EQUAL", "eq": "EQUAL", "ne": "NOT_EQUAL"}[
            _name
        ],
    )

    def define_comparison(function: Any, opcode: int) -> None:
        """Give a comparison to recording numbers."""
        compute = njit(lambda a, b: function(a, b))

        @overload(function)
        def _define(x: Any, y: Any) -> Any:
            if are_recorded(x, y):

                def record(x, y):
                    a, b = value_of(x), value_of(y)
                    return compared(opcode, compute(a, b), a, address_of(x), b, address_of(y))

                return record
            return None

    define_comparison(getattr(operator, _name), _opcode)


@overload(bool)
def _bool(x: Any) -> Any:
    if isinstance(x, TruthType):
        return lambda x: decided(x._value, x._address)
    if isinstance(x, NumberType):
        return lambda x: bool(x != 0.0)
    return None


@overload(operator.not_)
def _not(x: Any) -> Any:
    return (lambda x: not bool(x)) if isinstance(x, (TruthType, NumberType)) else None
