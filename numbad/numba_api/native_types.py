"""Recording numbers and arrays as types of Numba's, whose operations append rows from machine code.

A number is a value and an address; -1 stands for a number that does not vary, and operations of two of these append
nothing. An array is two arrays of Numba's, of values and of addresses, which it indexes as it does its own.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.typeconv import Conversion
from numba.extending import (
    NativeValue,
    box,
    intrinsic,
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
    ROOT_OF_ZERO,
    TABLE,
    append_row,
    constant,
    read_word,
    take_address,
    write_word,
)
from numbad.tape.layout import GUARD, GUARD_VALUE


class Number:
    """A recording number on the border between Python and machine code."""

    __slots__ = ("address", "value")

    def __init__(self, value: float, address: int) -> None:
        self.value, self.address = value, address


class Block:
    """A recording array on the border."""

    __slots__ = ("addresses", "values")

    def __init__(self, values: np.ndarray, addresses: np.ndarray) -> None:
        self.values, self.addresses = values, addresses


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


class BlockType(types.Type):
    """Numba's type of recording arrays."""

    def __init__(self, values: Any, addresses: Any) -> None:
        self.values, self.addresses = values, addresses
        super().__init__(name=f"recording array({values}, {addresses})")


loose: Any = {"strict": False}
overload: Any = functools.partial(overload_strictly, **loose)  # annotations of one function are none of the other
overload_attribute: Any = functools.partial(overload_attribute_strictly, **loose)
overload_method: Any = functools.partial(overload_method_strictly, **loose)
number_type, truth_type = NumberType(), TruthType()
PLAIN = (types.Float, types.Integer)
LONGEST = 32  # elements of arrays that operators take apart
NUMBERS = (NumberType, *PLAIN)


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


@register_model(BlockType)
class BlockModel(models.StructModel):
    """Two arrays."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, [("values", fe_type.values), ("addresses", fe_type.addresses)])


for _type in (NumberType, TruthType):
    make_attribute_wrapper(_type, "value", "_value")
    make_attribute_wrapper(_type, "address", "_address")
make_attribute_wrapper(BlockType, "values", "_values")
make_attribute_wrapper(BlockType, "addresses", "_addresses")


def making(kind: Any, *fields: str) -> Any:
    """Make a function that puts two parts together."""

    def put(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        proxy = cgutils.create_struct_proxy(signature.return_type)(context, builder)
        for field, value, part in zip(fields, arguments, signature.args, strict=True):
            setattr(proxy, field, value)
            if context.enable_nrt:
                context.nrt.incref(builder, part, value)
        return proxy._getvalue()

    @intrinsic
    def make(context: Any, one: Any, other: Any) -> Any:
        result = kind if isinstance(kind, types.Type) else kind(one, other)
        first = one if isinstance(one, types.Array) else types.float64 if kind is number_type else types.boolean
        second = other if isinstance(other, types.Array) else types.int64
        return result(first, second), put

    return make


make_number = making(number_type, "value", "address")
make_truth = making(truth_type, "value", "address")
make_block = making(BlockType, "values", "addresses")


# ---------------------------------------------------------------- the border


@typeof_impl.register(Number)
def _typeof_number(value: Any, context: Any) -> Any:
    return number_type


@typeof_impl.register(Block)
def _typeof_block(value: Any, context: Any) -> Any:
    return BlockType(typeof_impl(value.values, context), typeof_impl(value.addresses, context))


@unbox(NumberType)
def _unbox_number(kind: Any, value: Any, c: Any) -> Any:
    proxy = cgutils.create_struct_proxy(kind)(c.context, c.builder)
    for field, part in (("value", types.float64), ("address", types.int64)):
        found = c.pyapi.object_getattr_string(value, field)
        setattr(proxy, field, c.unbox(part, found).value)
        c.pyapi.decref(found)
    return NativeValue(proxy._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@unbox(BlockType)
def _unbox_block(kind: Any, value: Any, c: Any) -> Any:
    proxy = cgutils.create_struct_proxy(kind)(c.context, c.builder)
    for field in ("values", "addresses"):
        found = c.pyapi.object_getattr_string(value, field)
        setattr(proxy, field, c.unbox(getattr(kind, field), found).value)
        c.pyapi.decref(found)
    return NativeValue(proxy._getvalue(), is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


def boxing(made: type, *fields: tuple[str, Any]) -> Any:
    """Return a function that makes an object of Python's of two parts."""

    def make(kind: Any, value: Any, c: Any) -> Any:
        proxy = cgutils.create_struct_proxy(kind)(c.context, c.builder, value=value)
        parts = [c.box(part or getattr(kind, field), getattr(proxy, field)) for field, part in fields]
        function = c.pyapi.unserialize(c.pyapi.serialize_object(made))
        found = c.pyapi.call_function_objargs(function, parts)
        for part in (function, *parts):
            c.pyapi.decref(part)
        return found

    return make


box(NumberType)(boxing(Number, ("value", types.float64), ("address", types.int64)))
box(BlockType)(boxing(Block, ("values", None), ("addresses", None)))


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


# ---------------------------------------------------------------- operations


@njit
def unary_row(opcode, value, address):
    """Return the result of an op of one number."""
    if address < 0:
        return make_number(value, -1)
    out = take_address()
    append_row(opcode, out, address, 0)
    return make_number(value, out)


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
    out = take_address()
    append_row(opcode, out, a, b)
    return make_number(value, out)


@njit
def compared(opcode, value, x, x_address, y, y_address):
    """Return the truth of a comparison."""
    if x_address < 0 and y_address < 0:
        return make_truth(value, -1)
    a, b = addressed(x, x_address), addressed(y, y_address)
    out = take_address()
    append_row(opcode, out, a, b)
    return make_truth(value, out)


@njit
def decided(value, address):
    """Return a truth value, which is guarded."""
    if address >= 0:
        append_row(GUARD, 1 if value else 0, address, 0)
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


def define_binary(name: str, opcode: int, compute: Any) -> None:
    """Give an operator of two numbers to recording ones."""
    compute = njit(compute)

    @operators(name)
    def _define(x: Any, y: Any) -> Any:
        if are_recorded(x, y):

            def record(x, y):
                a, b = value_of(x), value_of(y)
                return binary_row(opcode, compute(a, b), a, address_of(x), b, address_of(y))

            return record
        return None


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


def define_division(name: str, opcode: int, compute: Any) -> None:
    """Give a division to recording numbers."""

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
            write_word(TABLE + 8 * ROOT_OF_ZERO, 1)
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


# ---------------------------------------------------------------- functions by other names

SAME: dict[Any, Any] = {}  # functions that the program names, and those that stand in their places


def stand_in(*own: Any) -> Any:
    """Register a function that takes the places of others in what is compiled."""

    def register(function: Any) -> Any:
        SAME.update(dict.fromkeys(own, function))
        return function

    return register


def define_function(opcode: int, plain: Any, *own: Any) -> None:
    """Give functions of one number to recording ones, under a name of their own."""

    def placeholder(x):
        raise NotImplementedError

    compute = njit(lambda a: plain(a))

    @overload(placeholder)
    def _define(x: Any) -> Any:
        if isinstance(x, NumberType):
            return lambda x: unary_row(opcode, compute(x._value), x._address)
        return lambda x: plain(x)

    stand_in(*own)(placeholder)


for _name in "SIN COS TAN SINH COSH TANH EXP EXPM1 LOG LOG1P LOG2 LOG10 FLOOR CEIL TRUNC".split():
    _lower = _name.lower()
    _own = [getattr(np, _lower)]
    if _lower not in ("floor", "ceil", "trunc"):
        _own.append(getattr(math, _lower))
    define_function(getattr(opcodes, _name), getattr(np if len(_own) == 1 else math, _lower), *_own)
for _name in "SIN COS TAN SINH COSH TANH".split():
    _short, _long = f"a{_name.lower()}", f"arc{_name.lower()}"
    define_function(getattr(opcodes, _long.upper()), getattr(math, _short), getattr(math, _short), getattr(np, _long))
define_function(opcodes.ABSOLUTE, math.fabs, math.fabs, np.fabs)
define_function(opcodes.ABSOLUTE, abs, np.abs)
define_function(opcodes.RINT, np.rint, np.rint)
define_function(opcodes.SIGN, np.sign, np.sign)
define_function(opcodes.ERF, math.erf, math.erf)
define_function(opcodes.ERFC, math.erfc, math.erfc)
define_function(opcodes.SQUARE, njit(lambda a: a * a), np.square)


@stand_in(math.sqrt, np.sqrt)
def square_root(x):
    """As math.sqrt."""
    raise NotImplementedError


@overload(square_root)
def _square_root(x: Any) -> Any:
    if not isinstance(x, NumberType):
        return lambda x: math.sqrt(x)

    def record(x):
        if x._value == 0.0 and x._address >= 0:  # a norm has a slope there, which is found by what it is made of
            write_word(TABLE + 8 * ROOT_OF_ZERO, 1)
        return unary_row(opcodes.SQRT, math.sqrt(x._value), x._address)

    return record


def define_function_of_two(opcode: int, plain: Any, *own: Any) -> None:
    """Give functions of two numbers to recording ones."""

    def placeholder(x, y):
        raise NotImplementedError

    compute = njit(lambda a, b: plain(a, b))

    @overload(placeholder)
    def _define(x: Any, y: Any) -> Any:
        if are_recorded(x, y):

            def record(x, y):
                a, b = value_of(x), value_of(y)
                return binary_row(opcode, compute(a, b), a, address_of(x), b, address_of(y))

            return record
        return lambda x, y: plain(x, y)

    stand_in(*own)(placeholder)


define_function_of_two(opcodes.ARCTAN2, math.atan2, math.atan2, np.arctan2)
define_function_of_two(opcodes.HYPOT, math.hypot, math.hypot, np.hypot)
define_function_of_two(opcodes.MAXIMUM, np.maximum, np.maximum)
define_function_of_two(opcodes.MINIMUM, np.minimum, np.minimum)


@stand_in(math.pow)
def power_of(x, y):
    """As math.pow."""
    raise NotImplementedError


@overload(power_of)
def _power_of(x: Any, y: Any) -> Any:
    return (lambda x, y: x**y) if are_recorded(x, y) else (lambda x, y: math.pow(x, y))


@stand_in(max)
def largest(x, y, z=None):
    """As max."""
    raise NotImplementedError


@stand_in(min)
def smallest(x, y, z=None):
    """As min."""
    raise NotImplementedError


@njit
def as_number(x):
    """Return a plain number as one that records."""
    return make_number(value_of(x), address_of(x))


@njit
def larger(x, y):
    """Return the second number if it is larger."""
    return as_number(y) if y > x else as_number(x)


@njit
def smaller(x, y):
    """Return the second number if it is smaller."""
    return as_number(y) if y < x else as_number(x)


def is_absent(kind: Any) -> bool:
    """Whether an argument has not been given."""
    return kind is None or isinstance(kind, (types.Omitted, types.NoneType))


def define_extreme(function: Any, own: Any, of_two: Any) -> None:
    """Give max or min of two or three numbers to recording ones: a comparison decides, and is guarded."""

    @overload(function)
    def _define(x: Any, y: Any, z: Any = None) -> Any:
        if is_absent(z):
            if are_recorded(x, y):
                return lambda x, y, z=None: of_two(x, y)
            return lambda x, y, z=None: own(x, y)
        if are_recorded(x, y, z):
            return lambda x, y, z=None: of_two(of_two(as_number(x), y), z)
        return lambda x, y, z=None: own(x, y, z)


define_extreme(largest, max, larger)
define_extreme(smallest, min, smaller)


@stand_in(float, np.float64, types.float64)
def to_float(x):
    """As float."""
    raise NotImplementedError


@overload(to_float)
def _to_float(x: Any) -> Any:
    return (lambda x: x) if isinstance(x, NumberType) else (lambda x: float(x))


@stand_in(int, math.trunc)
def to_whole(x):
    """As int: the number that is left of a cut-off one is guarded."""
    raise NotImplementedError


@njit
def guarded_whole(opcode, value, address):
    """Return a number that has been rounded as an integer, and guard it."""
    if not abs(value) < 9.2e18:
        raise OverflowError("the number does not fit into 64 bits: Numba's result is not defined")
    if address >= 0:
        out = take_address()
        append_row(opcode, out, address, 0)
        append_row(GUARD_VALUE, constant(value), out, 0)
    return int(value)


@overload(to_whole)
def _to_whole(x: Any) -> Any:
    if isinstance(x, NumberType):
        return lambda x: guarded_whole(opcodes.TRUNC, np.trunc(x._value), x._address)
    return lambda x: int(x)


def define_rounding(opcode: int, rounding: Any, own: Any) -> None:
    """Give a function that rounds to an integer to recording numbers."""

    def placeholder(x):
        raise NotImplementedError

    @overload(placeholder)
    def _define(x: Any) -> Any:
        if isinstance(x, NumberType):
            return lambda x: guarded_whole(opcode, rounding(x._value), x._address)
        return lambda x: own(x)

    stand_in(own)(placeholder)


define_rounding(opcodes.FLOOR, np.floor, math.floor)
define_rounding(opcodes.CEIL, np.ceil, math.ceil)


# ---------------------------------------------------------------- arrays


def put(values, addresses):
    """Put two parts together."""


@overload(put)
def _put(values: Any, addresses: Any) -> Any:
    if isinstance(values, types.Array):
        return lambda values, addresses: make_block(values, addresses)
    return lambda values, addresses: make_number(values, addresses)


def check_index(shape, index):
    """Raise an IndexError where an index is out of range; what is cut out by slices never is."""


def parts_of(index: Any) -> list[Any] | None:
    """Return the types of the parts of an index; None for what is no integer and no slice."""
    several: Any = index
    parts = list(several.types) if isinstance(index, types.BaseTuple) else [index]
    return parts if all(isinstance(part, (types.Integer, types.SliceType)) for part in parts) else None


@overload(check_index)
def _check_index(shape: Any, index: Any) -> Any:
    parts = parts_of(index)
    assert parts is not None
    lines = ["def check(shape, index):"]
    for k, part in enumerate(parts):
        if isinstance(part, types.Integer):
            name = f"index[{k}]" if isinstance(index, types.BaseTuple) else "index"
            lines.append(f"    if not -shape[{k}] <= {name} < shape[{k}]:")
            lines.append("        raise IndexError('index is out of bounds')")
    scope: dict[str, Any] = {}
    exec(compile("\n".join([*lines, "    return None"]), __file__, "exec"), scope)
    return scope["check"]


def is_indexed(block: Any, index: Any) -> bool:
    """Whether a type is that of a recording array, and another that of an index of it."""
    parts = parts_of(index) if isinstance(block, BlockType) else None
    return parts is not None and len(parts) <= block.values.ndim


@overload(operator.getitem)
def _getitem(block: Any, index: Any) -> Any:
    if not is_indexed(block, index):
        return None

    def get(block, index):
        check_index(block._values.shape, index)
        return put(block._values[index], block._addresses[index])

    return get


@overload(operator.setitem)
def _setitem(block: Any, index: Any, value: Any) -> Any:
    if not is_indexed(block, index):
        return None
    if isinstance(value, NUMBERS):

        def set_number(block, index, value):
            check_index(block._values.shape, index)
            number, address = value_of(value), address_of(value)
            block._values[index] = number
            block._addresses[index] = address

        return set_number
    if isinstance(value, BlockType):

        def set_block(block, index, value):
            check_index(block._values.shape, index)
            block._values[index] = value._values
            block._addresses[index] = value._addresses

        return set_block
    return None


overload(len)(lambda block: (lambda block: len(block._values)) if isinstance(block, BlockType) else None)
for _name in ("shape", "size", "ndim"):
    exec(
        f"overload_attribute(BlockType, {_name!r})(lambda block: lambda block: block._values.{_name})",
        {"overload_attribute": overload_attribute, "BlockType": BlockType},
    )


@overload_attribute(BlockType, "dtype")
def _dtype(block: Any) -> Any:
    return lambda block: block._values.dtype


@overload_attribute(BlockType, "T")
def _transposed(block: Any) -> Any:
    return lambda block: make_block(block._values.T, block._addresses.T)


@overload_method(BlockType, "copy")
def _copy(block: Any) -> Any:
    return lambda block: make_block(block._values.copy(), block._addresses.copy())


def is_double(dtype: Any) -> bool:
    """Whether a dtype, or its absence, says double precision."""
    if is_absent(dtype):
        return True
    if isinstance(dtype, types.Function):
        return dtype.typing_key is to_float
    return getattr(dtype, "dtype", None) == types.float64


def define_maker(own: Any, value: float) -> None:
    """Give a function that makes an array of equal numbers: it may be filled with recording ones."""

    def placeholder(shape, dtype=None):
        raise NotImplementedError

    @overload(placeholder)
    def _define(shape: Any, dtype: Any = None) -> Any:
        if is_double(dtype):

            def make(shape, dtype=None):
                return make_block(np.full(shape, value), np.full(shape, -1))

            return make
        return lambda shape, dtype=None: own(shape, dtype)

    stand_in(own)(placeholder)


def define_like(own: Any, value: float) -> None:
    """Give a function that makes an array of the shape of another."""

    def placeholder(x):
        raise NotImplementedError

    @overload(placeholder)
    def _define(x: Any) -> Any:
        if isinstance(x, BlockType):
            return lambda x: make_block(np.full(x._values.shape, value), np.full(x._values.shape, -1))
        if isinstance(x, types.Array) and x.dtype == types.float64:
            return lambda x: make_block(np.full(x.shape, value), np.full(x.shape, -1))
        return lambda x: own(x)

    stand_in(own)(placeholder)


define_maker(np.zeros, 0.0)
define_maker(np.empty, 0.0)
define_maker(np.ones, 1.0)
define_like(np.zeros_like, 0.0)
define_like(np.empty_like, 0.0)
define_like(np.ones_like, 1.0)


@stand_in(np.copy)
def copied(x):
    """As np.copy."""
    raise NotImplementedError


@overload(copied)
def _copied(x: Any) -> Any:
    return lambda x: x.copy()


@stand_in(np.full)
def filled(shape, value, dtype=None):
    """As np.full."""
    raise NotImplementedError


@overload(filled)
def _filled(shape: Any, value: Any, dtype: Any = None) -> Any:
    if isinstance(value, (NumberType, types.Float)) and is_double(dtype):
        return lambda shape, value, dtype=None: make_block(
            np.full(shape, value_of(value)), np.full(shape, address_of(value))
        )
    if is_absent(dtype):
        return lambda shape, value, dtype=None: np.full(shape, value)
    return lambda shape, value, dtype=None: np.full(shape, value, dtype)


@stand_in(np.array)
def array_of(values):
    """As np.array."""
    raise NotImplementedError


@overload(array_of)
def _array_of(values: Any) -> Any:
    kind = values.dtype if isinstance(values, (types.List, types.UniTuple)) else None
    if not isinstance(kind, NumberType):
        return lambda values: np.array(values)

    def gather(values):
        numbers, addresses = np.empty(len(values)), np.empty(len(values), np.int64)
        for k in range(len(values)):
            numbers[k], addresses[k] = value_of(values[k]), address_of(values[k])
        return make_block(numbers, addresses)

    return gather


# ---------------------------------------------------------------- operators of short arrays


def is_vector(kind: Any) -> bool:
    """Whether a type is that of a recording array, or a plain one, of one axis."""
    if isinstance(kind, BlockType):
        return bool(kind.values.ndim == 1)
    return isinstance(kind, types.Array) and kind.ndim == 1 and isinstance(kind.dtype, PLAIN)


def are_vectors(x: Any, y: Any) -> bool:
    """Whether two types are a vector and a vector or a number, one of them recording."""
    parts = (x, y)
    recorded = any(isinstance(part, (BlockType, NumberType)) for part in parts)
    known = all(is_vector(part) or isinstance(part, NUMBERS) for part in parts)
    return recorded and known and any(is_vector(part) for part in parts)


@njit
def check_length(length):
    """Give up where an array is long: a row for all of its elements takes less than one for each."""
    if length > LONGEST:
        write_word(TABLE + 8 * ROOT_OF_ZERO, 1)
        raise MemoryError("the array is too long for a row for each element")


def part_of(x, k):
    """Return an element of a vector, or the number."""


@overload(part_of)
def _part_of(x: Any, k: Any) -> Any:
    return (lambda x, k: x[k]) if is_vector(x) else (lambda x, k: x)


def length_of(x, y):
    """Return how many elements a result has."""


@overload(length_of)
def _length_of(x: Any, y: Any) -> Any:
    if not is_vector(y):
        return lambda x, y: len(x)
    if not is_vector(x):
        return lambda x, y: len(y)

    def both(x, y):
        if len(x) != len(y):
            raise ValueError("unable to broadcast argument")
        return len(x)

    return both


def define_vectors(name: str) -> None:
    """Give an operator to recording vectors, element by element."""
    compute = getattr(operator, name)

    @overload(compute)
    def _define(x: Any, y: Any) -> Any:
        if not are_vectors(x, y):
            return None

        def each(x, y):
            length = length_of(x, y)
            check_length(length)
            numbers, addresses = np.empty(length), np.empty(length, np.int64)
            for k in range(length):
                part = compute(part_of(x, k), part_of(y, k))
                numbers[k], addresses[k] = part._value, part._address
            return make_block(numbers, addresses)

        return each

    @overload(getattr(operator, f"i{name}"))
    def _assign(x: Any, y: Any) -> Any:
        if not (isinstance(x, BlockType) and are_vectors(x, y)):
            return None

        def each(x, y):
            length = length_of(x, y)
            check_length(length)
            for k in range(length):
                x[k] = compute(x[k], part_of(y, k))
            return x

        return each


for _name in ("add", "sub", "mul"):
    define_vectors(_name)


@overload(operator.neg)
def _negative(x: Any) -> Any:
    return (lambda x: x * -1.0) if isinstance(x, BlockType) and is_vector(x) else None
