"""Arrays of recording numbers as a type of Numba's: its own arrays, of elements that are a value and an address.

Numba indexes, slices, copies and walks through them as it does through arrays of other elements. What computes with
elements is written here as loops, one text for each choice of operands.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils, errors
from numba.core.imputils import impl_ret_new_ref
from numba.core.typing import npydecl
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    box,
    infer_getattr,
    intrinsic,
    models,
    overload_classmethod,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np import arrayobj

from numbad.kernels.generated import opcodes
from numbad.numba_api.native_tape import LONG_ROWS, ROWS, TABLE, give_up, read_word, write_word
from numbad.numba_api.native_types import (
    NUMBERS,
    OF_ELEMENTS,
    TUPLE,
    NumberType,
    TruthType,
    binary_row,
    compared,
    decided,
    loose,
    make_number,
    make_truth,
    number_type,
    overload,
    overload_method,
    truth_type,
    unary_row,
)

ELEMENT = np.dtype([("value", np.float64), ("address", np.int64)])
LONG = 256  # elements from which on a row for all of an array takes less than one for each
MOST_LONG_ROWS = 1 << 20  # rows of long arrays that are written in any case


class Block:
    """A recording array on the border between Python and machine code."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __str__(self) -> str:  # what print shows
        return str(self.array["value"])


class RecordingArray(types.Array):  # type: ignore[misc]
    """Numba's type of arrays of recording numbers, or of their comparisons."""

    def __init__(
        self, dtype: Any, ndim: int, layout: Any, readonly: bool = False, name: Any = None, aligned: bool = True
    ) -> None:
        word = "constant " if readonly else ""
        name = f"{word}array of {dtype}s ({ndim}d, {layout}{'' if aligned else ', unaligned'})"
        super().__init__(dtype, ndim, layout, readonly=readonly, name=name, aligned=aligned)

    def copy(self, dtype: Any = None, ndim: Any = None, layout: Any = None, readonly: Any = None) -> Any:
        """Return the type of an array that is made of this one."""
        kind = self.dtype if dtype is None else dtype
        made = RecordingArray if isinstance(kind, (NumberType, TruthType)) else types.Array
        return made(
            kind,
            self.ndim if ndim is None else ndim,
            self.layout if layout is None else layout,
            readonly=not self.mutable if readonly is None else readonly,
            aligned=self.aligned,
        )

    def unify(self, typingctx: Any, other: Any) -> Any:
        """Return the type of a variable that is one array here, and another there."""
        found: Any = super().unify(typingctx, other) if isinstance(other, RecordingArray) else None
        return found and self.copy(layout=found.layout, readonly=not found.mutable)


register_model(RecordingArray)(models.ArrayModel)


@overload_classmethod(RecordingArray, "_allocate", **loose)
def _allocate(cls: Any, allocsize: Any, align: Any) -> Any:
    take: Any = arrayobj.intrin_alloc
    return lambda cls, allocsize, align: take(allocsize, align)


def leave_to_others(template: Any) -> None:
    """Teach Numba's rule for operators in place that it does not know recording arrays; it takes none for an answer."""
    own = template.generic

    def generic(self: Any, args: Any, kws: Any) -> Any:
        recorded = any(isinstance(kind, (NumberType, TruthType, RecordingArray)) for kind in args)
        return None if recorded else own(self, args, kws)

    template.generic = generic


leave_to_others(npydecl.NumpyRulesInplaceArrayOperator)


@typeof_impl.register(Block)
def _typeof_block(value: Any, context: Any) -> Any:
    return RecordingArray(number_type, value.array.ndim, "C")


@unbox(RecordingArray)
def _unbox_block(kind: Any, value: Any, c: Any) -> Any:
    array = c.context.make_array(kind)(c.context, c.builder)
    found = c.pyapi.object_getattr_string(value, "array")
    failed = c.pyapi.nrt_adapt_ndarray_from_python(found, c.builder.bitcast(array._getpointer(), c.pyapi.voidptr))
    c.pyapi.decref(found)
    return NativeValue(array._getvalue(), is_error=cgutils.is_not_null(c.builder, failed))


@box(RecordingArray)
def _box_block(kind: Any, value: Any, c: Any) -> Any:
    if kind.dtype is not number_type:
        raise errors.TypingError("an array of comparisons is no result")
    dtype = c.env_manager.read_const(c.env_manager.add_const(ELEMENT))
    array = c.pyapi.nrt_adapt_ndarray_to_python(kind, value, dtype)
    c.context.nrt.decref(c.builder, kind, value)
    function = c.pyapi.unserialize(c.pyapi.serialize_object(Block))
    found = c.pyapi.call_function_objargs(function, [array])
    for part in (function, array):
        c.pyapi.decref(part)
    return found


# ---------------------------------------------------------------- what arrays have

NAMES = set(
    "shape size ndim T copy ravel flatten reshape transpose fill sum prod mean var std max min argmax argmin dot all"
    " cumsum cumprod astype flat dtype sort argsort".split()
)


@infer_getattr
class Names(AttributeTemplate):  # type: ignore[misc]
    """What is asked of a recording array: what would tell of its memory is not there."""

    key = RecordingArray

    def generic_resolve(self, kind: Any, name: str) -> Any:  # type: ignore[override]
        """Refuse what is not known; leave the rest to others."""
        if name not in NAMES and not name.startswith("_"):
            raise errors.TypingError(f"{name} of recording arrays is recorded by Python")


@overload_method(RecordingArray, "astype")
def _astype(block: Any, dtype: Any) -> Any:
    return (lambda block, dtype: block.copy()) if is_double(dtype) and block.dtype is number_type else None


def is_absent(kind: Any) -> bool:
    """Whether an argument has not been given."""
    return kind is None or isinstance(kind, (types.Omitted, types.NoneType))


def is_double(dtype: Any) -> bool:
    """Whether a dtype, or its absence, says double precision."""
    if is_absent(dtype):
        return True
    if isinstance(dtype, types.Function):
        return getattr(dtype.typing_key, "is_float", False) is True
    if isinstance(dtype, types.StringLiteral):
        return dtype.literal_value in ("float64", "f8", "d", "float")
    return getattr(dtype, "dtype", None) in (types.float64, number_type)


def is_numbers(kind: Any) -> bool:
    """Whether a type is that of an array of recording numbers."""
    return isinstance(kind, RecordingArray) and kind.dtype is number_type


def is_truths(kind: Any) -> bool:
    """Whether a type is that of an array of comparisons of recording numbers."""
    return isinstance(kind, RecordingArray) and kind.dtype is truth_type


def is_plain(kind: Any, *parts: Any) -> bool:
    """Whether a type is that of an array of plain numbers in double precision, or of integers."""
    known = parts or (types.Float, types.Integer, types.Boolean)
    return (
        isinstance(kind, types.Array)
        and not isinstance(kind, RecordingArray)
        and isinstance(kind.dtype, known)
        and kind.dtype is not types.float32
    )


# ---------------------------------------------------------------- making arrays


def making(kind: Any) -> Any:
    """Make a function that takes memory for an array whose shape is a tuple."""

    @intrinsic
    def take(context: Any, shape: Any) -> Any:
        result = RecordingArray(kind, shape.count, "C")

        def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            shapes = cgutils.unpack_tuple(builder, arguments[0], shape.count)
            found = arrayobj._empty_nd_impl(context, builder, result, shapes)
            return impl_ret_new_ref(context, builder, result, found._getvalue())

        return result(types.UniTuple(types.intp, shape.count)), make

    return take


take_numbers, take_truths = making(number_type), making(truth_type)


def shape_of(shape):
    """Return a shape as a tuple of integers of one type."""


@overload(shape_of)
def _shape_of(shape: Any) -> Any:
    if isinstance(shape, types.Integer):
        return lambda shape: (np.intp(shape),)
    if not isinstance(shape, TUPLE) or not shape.count:
        return None
    if not all(isinstance(part, types.Integer) for part in shape.types):
        return None
    return written("shape_of", "shape", [f"return ({''.join(f'np.intp(shape[{k}]), ' for k in range(shape.count))})"])


def written(name: str, parameters: str, lines: list[str], **scope: Any) -> Any:
    """Return a function of these lines."""
    text = "\n".join([f"def {name}({parameters}):", *(f"    {line}" for line in lines)])
    found: dict[str, Any] = {"np": np, "take_numbers": take_numbers, "take_truths": take_truths, **scope}
    exec(compile(text, f"<numbad {name}>", "exec"), found)
    return found[name]


@njit
def make_full(shape, value):
    """Return an array of equal numbers."""
    found = take_numbers(shape_of(shape))
    found.fill(as_number(value))
    return found


def as_number(x):
    """Return a number, or the truth of a comparison, as a recording number."""


@overload(as_number)
def _as_number(x: Any) -> Any:
    if isinstance(x, NumberType):
        return lambda x: x
    if isinstance(x, TruthType):
        return lambda x: make_number(1.0 if x._value else 0.0, x._address)
    return (lambda x: make_number(float(x), -1)) if isinstance(x, (*NUMBERS, types.Boolean)) else None


def as_truth(x):
    """Return a truth value as one that records."""


@overload(as_truth)
def _as_truth(x: Any) -> Any:
    if isinstance(x, TruthType):
        return lambda x: x
    return (lambda x: make_truth(bool(x), -1)) if isinstance(x, types.Boolean) else None


# ---------------------------------------------------------------- loops over elements


@njit
def check_rows(count):
    """Give up where most rows are those of long arrays: a row for all elements takes less than one for each."""
    if count > LONG:
        rows = read_word(TABLE + 8 * LONG_ROWS) + count
        write_word(TABLE + 8 * LONG_ROWS, rows)
        if rows > MOST_LONG_ROWS and 2 * rows > read_word(TABLE + 8 * ROWS):
            give_up()
            raise MemoryError("the arrays are too long for a row for each element")


def axes_of(kind: Any) -> int:
    """Return how many axes an operand has."""
    return int(kind.ndim) if isinstance(kind, types.Array) else 0


def broadcast_lines(names: list[str], kinds: list[Any], axes: int) -> list[str]:
    """Return lines that find the shape n0, n1, ... of a result, and what is to be added to indices that are not 0."""
    lines = []
    for k in range(axes):
        lines.append(f"n{k} = 1")
        for name, kind in zip(names, kinds, strict=True):
            own = k - axes + axes_of(kind)
            if own >= 0:
                lines += [
                    f"m = {name}.shape[{own}]",
                    f"u_{name}_{own} = 0 if m == 1 else 1",
                    "if m != 1:",
                    f"    if n{k} != 1 and n{k} != m:",
                    "        raise ValueError('operands could not be broadcast together')",
                    f"    n{k} = m",
                ]
    return lines


def element(name: str, kind: Any, axes: int) -> str:
    """Return the text of an operand's element in loops over i0, i1, ..."""
    own = axes_of(kind)
    index = ", ".join(f"i{k + axes - own} * u_{name}_{k}" for k in range(own))
    return f"{name}[{index}]" if own else name


def loops(axes: int, body: list[str]) -> list[str]:
    """Return lines of nested loops over i0, i1, ..."""
    head = [f"{'    ' * k}for i{k} in range(n{k}):" for k in range(axes)]
    return head + ["    " * axes + line for line in body]


def elementwise(names: str, kinds: list[Any], compute: Any, truths: bool = False, out: str = "") -> Any:
    """Return a function that computes with each element of arrays that are broadcast.

    Parameters
    ----------
    names : str
        Its parameters.
    kinds : list
        Their types.
    compute : callable
        What is done with the elements.
    truths : bool
        Whether the results are truth values.
    out : str
        The parameter that is written to; a new array if there is none.
    """
    words = names.split(", ")
    axes = max(map(axes_of, kinds))
    lines = broadcast_lines(words, kinds, axes)
    every = " * ".join(f"n{k}" for k in range(axes)) or "1"
    given = ", ".join(element(name, kind, axes) for name, kind in zip(words, kinds, strict=True))
    index, shape = ", ".join(f"i{k}" for k in range(axes)), "".join(f"n{k}, " for k in range(axes))
    if out:
        same = " or ".join(f"n{k} != {out}.shape[{k}]" for k in range(axes))
        lines += [f"if {same}:", "    raise ValueError('non-broadcastable output operand')", f"found = {out}"]
    else:
        lines.append(f"found = take_{'truths' if truths else 'numbers'}(({shape}))")
    lines += [f"check_rows({every})"]
    lines += loops(axes, [f"found[{index}] = wrap(compute({given}))"])
    wrap = as_truth if truths else as_number
    return written("run", names, [*lines, "return found"], compute=compute, wrap=wrap, check_rows=check_rows)


def takes_elements(*kinds: Any) -> bool:
    """Whether types are those of operands of an elementwise function: arrays or numbers, one of them an array."""
    known = all(
        isinstance(kind, (*NUMBERS, TruthType, types.Boolean, RecordingArray)) or is_plain(kind) for kind in kinds
    )
    recorded = any(isinstance(kind, (NumberType, TruthType, RecordingArray)) for kind in kinds)
    return known and recorded and any(isinstance(kind, types.Array) for kind in kinds)


def define_operator(name: str, truths: bool = False) -> None:
    """Give an operator to recording arrays, element by element."""
    compute = OF_ELEMENTS.get(name, getattr(operator, name))

    @overload(getattr(operator, name))
    def _define(x: Any, y: Any) -> Any:
        return elementwise("x, y", [x, y], compute, truths) if takes_elements(x, y) else None

    if truths:
        return

    @overload(getattr(operator, f"i{name}"))
    def _assign(x: Any, y: Any) -> Any:
        if is_numbers(x) and takes_elements(x, y) and axes_of(x) >= axes_of(y):
            return elementwise("x, y", [x, y], compute, out="x")
        return None


for _name in "add sub mul truediv floordiv mod pow".split():
    define_operator(_name)
for _name in "lt le gt ge eq ne and_ or_ xor".split():
    define_operator(_name, truths=True)


@overload(operator.neg)
def _negative(x: Any) -> Any:
    return elementwise("x", [x], operator.neg) if is_numbers(x) else None


@overload(operator.pos)
def _positive(x: Any) -> Any:
    return (lambda x: x.copy()) if is_numbers(x) else None


@overload(abs)
def _absolute(x: Any) -> Any:
    return elementwise("x", [x], abs) if is_numbers(x) else None


@overload(operator.invert)
def _invert(x: Any) -> Any:
    if isinstance(x, TruthType):
        return lambda x: make_truth(
            not x._value, unary_row(opcodes.LOGICAL_NOT, 0.0 if x._value else 1.0, x._address)._address
        )
    return elementwise("x", [x], operator.invert, truths=True) if is_truths(x) else None


def define_logical(name: str, opcode: int) -> None:
    """Give an operator of truth values to recording ones."""
    function = getattr(operator, name)
    compute = njit(lambda a, b: function(a, b))

    @overload(function)
    def _define(x: Any, y: Any) -> Any:
        kinds = (x, y)
        if not all(isinstance(kind, (TruthType, types.Boolean)) for kind in kinds):
            return None
        if not any(isinstance(kind, TruthType) for kind in kinds):
            return None

        def record(x, y):
            one, other = as_truth(x), as_truth(y)
            a, b = 1.0 if one._value else 0.0, 1.0 if other._value else 0.0
            return compared(opcode, compute(one._value, other._value), a, one._address, b, other._address)

        return record


for _name, _opcode in (("and_", "LOGICAL_AND"), ("or_", "LOGICAL_OR"), ("xor", "LOGICAL_XOR")):
    define_logical(_name, getattr(opcodes, _opcode))


# ---------------------------------------------------------------- masks


@njit
def settled(mask):
    """Return the truth values of a mask, which are guarded."""
    flat = mask.ravel()
    found = np.empty(flat.size, np.bool_)
    for k in range(flat.size):
        found[k] = decided(flat[k]._value, flat[k]._address)
    return found.reshape(mask.shape)


@overload(operator.getitem)
def _masked(block: Any, index: Any) -> Any:
    if isinstance(block, types.Array) and is_truths(index):
        return lambda block, index: block[settled(index)]
    return None


@overload(operator.setitem)
def _assign_masked(block: Any, index: Any, value: Any) -> Any:
    if isinstance(block, types.Array) and is_truths(index):

        def assign(block, index, value):
            block[settled(index)] = value

        return assign
    if is_numbers(block) and is_plain(index, types.Boolean) and index.ndim == block.ndim:
        if isinstance(value, NUMBERS):
            text = [*broadcast_lines(["block"], [block], block.ndim)]
            index_text = ", ".join(f"i{k}" for k in range(block.ndim))
            body = [f"if index[{index_text}]:", f"    block[{index_text}] = as_number(value)"]
            check = ["if index.shape != block.shape:", "    raise IndexError('boolean index did not match')"]
            return written("assign", "block, index, value", [*check, *text, *loops(block.ndim, body)],
                           as_number=as_number)  # fmt: skip
    return None


# ---------------------------------------------------------------- choices


@njit
def chosen(condition, x, y):
    """Return one of two numbers: both belong to the tape, and no path depends on the condition."""
    c, a, b = as_truth(condition), as_number(x), as_number(y)
    if c._address < 0:
        return a if c._value else b
    truth = 1.0 if c._value else 0.0
    kept = binary_row(opcodes.KEEP, a._value if c._value else -0.0, truth, c._address, a._value, a._address)
    dropped = binary_row(opcodes.DROP, -0.0 if c._value else b._value, truth, c._address, b._value, b._address)
    value = a._value if c._value else b._value
    return binary_row(opcodes.ADD, value, kept._value, kept._address, dropped._value, dropped._address)
