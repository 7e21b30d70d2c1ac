"""The compiled half of the checked build: what stands between compiled code and memory when `NUMBAD_CHECKED=1`.

An address is a number, and a length is what the caller says. The usual build trusts both. This one looks at each: an
index is compared with the length of its array (a negative one is an error too), a view of raw memory with the ranges
that Python has lent (see `checked`), a number that is read with the bits of memory that nobody has written.

Compiled code cannot raise: what is wrong is noted in `state`, and the access goes to memory that belongs to
nobody. Python raises when the call is over. The functions here are linked by name, so compiled code on disk finds them.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from numbad.kernels.checked_memory import (
    AT_ROW,
    FRESH_BITS,
    HEAD,
    INDEX,
    KIND,
    LENGTH,
    NEXT,
    ONE,
    OTHER,
    RANGE,
    RANGES,
    RING,
    ROW,
    SLOT,
    SLOTS,
    TABLE,
    UNWRITTEN,
    WHERE,
    state,
)
from numbad.limits import CHECKED
from numbad.tape.layout import WHOLE

FRESH32, FRESH64 = FRESH_BITS, FRESH_BITS << 32 | FRESH_BITS
nowhere = np.zeros(64, np.int64)

llvm.add_symbol("numbad_state", state.ctypes.data)
llvm.add_symbol("numbad_nowhere", nowhere.ctypes.data)
llvm.add_symbol("numbad_thread", ctypes.cast(ctypes.pythonapi.PyThread_get_thread_ident, ctypes.c_void_p).value)

WORD = ir.IntType(64)


# ---------------------------------------------------------------- memory, as the functions below see it


def global_at(builder: Any, name: str) -> ir.Value:
    """Return the address of memory that is known by name."""
    found = builder.module.globals.get(name)
    if found is None:
        found = ir.GlobalVariable(builder.module, ir.IntType(8), name)
    return builder.ptrtoint(found, WORD)


def outside(builder: Any, name: str, count: int, result: Any = WORD) -> ir.Function:
    """Return a function of integers that is known by name."""
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, [WORD] * count), name)


@intrinsic
def state_at(typing_context):
    """Return where the state begins."""
    return types.int64(), lambda context, builder, signature, arguments: global_at(builder, "numbad_state")


@intrinsic
def thread_number(typing_context):
    """Return a number that no other living thread has."""
    return types.int64(), lambda context, builder, signature, arguments: builder.call(
        outside(builder, "numbad_thread", 0), []
    )


@intrinsic
def get(typing_context, address):
    """Read the integer at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], WORD.as_pointer()))

    return types.int64(types.int64), codegen


@intrinsic
def put(typing_context, address, value):
    """Write an integer to an address."""

    def codegen(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], WORD.as_pointer()))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def put_pattern(typing_context, address, value):
    """Write 32 bits to an address."""

    def codegen(context, builder, signature, arguments):
        part = builder.trunc(arguments[1], ir.IntType(32))
        builder.store(part, builder.inttoptr(arguments[0], ir.IntType(32).as_pointer()))
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def claim(typing_context, address, value):
    """Write an integer where there is zero, unless another thread does so before; return what was there."""

    def codegen(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], WORD.as_pointer())
        return builder.extract_value(builder.cmpxchg(pointer, WORD(0), arguments[1], "seq_cst"), 0)

    return types.int64(types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def call_integers(typing_context, name, arguments):
    """Call another function of this module by its name."""
    symbol, count = name.literal_value, len(arguments)

    def codegen(context, builder, signature, values):
        parts = cgutils.unpack_tuple(builder, values[1], count)
        return builder.call(outside(builder, symbol, count), parts)

    return types.int64(name, arguments), codegen


def linked(name: str, integers: int) -> Any:
    """Compile a function of integers and make it known by name."""

    def decorate(function: Any) -> Any:
        made = cfunc(types.int64(*[types.int64] * integers), cache=True, error_model="numpy")(function)
        llvm.add_symbol(name, made.address)
        return made

    return decorate


# ---------------------------------------------------------------- the checks


@linked("numbad_slot", 0)
def find_slot():
    """Return where the part of this thread begins."""
    base, thread = state_at() + 8 * HEAD, thread_number()
    first = (thread >> 12) % SLOTS
    for k in range(SLOTS):
        slot = base + 8 * SLOT * ((first + k) % SLOTS)
        owner = get(slot)
        if owner == 0:
            owner = claim(slot, thread)
        if owner == thread or owner == 0:
            return slot
    return base


@linked("numbad_row", 1)
def note_row(row):
    """Note which row of the tape this thread is at."""
    put(call_integers("numbad_slot", ()) + 8 * AT_ROW, row)
    return 0


@linked("numbad_note", 4)
def note(kind, one, other, where):
    """Note what is wrong, unless something was before."""
    base = state_at()
    if claim(base, 1) == 0:
        put(base + 8 * KIND, kind)
        put(base + 8 * WHERE, where)
        put(base + 8 * ONE, one)
        put(base + 8 * OTHER, other)
        put(base + 8 * ROW, get(call_integers("numbad_slot", ()) + 8 * AT_ROW))
    return 0


@linked("numbad_index", 3)
def check_index(index, size, where):
    """Return an index, or -1 where the array has no such element."""
    if index >= 0 and index < size:
        return index
    call_integers("numbad_note", (INDEX, index, size, where))
    return -1


@linked("numbad_table_end", 2)
def find_table_end(address, size):
    """Return the end of the largest range of Python's that holds `size` bytes from an address on, 0 if there is none.

    The table: how many ranges, where they begin, in order, and for each the largest end of it and those before.
    """
    table = get(state_at() + 8 * TABLE)
    if table == 0:
        return 0
    count = get(table)
    low, high = np.int64(0), count  # the ranges before `low` begin at the address or before it
    while low < high:
        middle = (low + high) >> 1
        if get(table + 8 + 8 * middle) <= address:
            low = middle + 1
        else:
            high = middle
    end = get(table + 8 * (count + low)) if low > 0 else 0
    return 0 if end < address + size or end == address else end


@linked("numbad_end", 2)
def find_end(address, size):
    """Return the end of the largest range that holds `size` bytes from an address on, 0 if there is none."""
    end = call_integers("numbad_table_end", (address, size))
    if end == 0:
        ring = call_integers("numbad_slot", ()) + 8 * RING
        for k in range(RANGES):
            stop = get(ring + 16 * k + 8)
            if get(ring + 16 * k) <= address and address < stop and stop >= address + size:
                end = max(end, stop)
    return end


@linked("numbad_view", 4)
def check_view(address, count, width, where):
    """Return how many elements a view of raw memory has, or -1 where the memory was not lent for as many."""
    if count == 0:
        return 0
    if count < 0 or (count > (1 << 48) and count != WHOLE):
        call_integers("numbad_note", (LENGTH, count, address, where))
        return -1
    size = width * (1 if count == WHOLE else count)
    end = call_integers("numbad_end", (address, size))
    if count == WHOLE and end == 0:
        return 0  # a tape without words, say: it is an error to look there, not to name it
    if end == 0 or address % width != 0:
        call_integers("numbad_note", (RANGE, address, size, where))
        return -1
    return (end - address) // width if count == WHOLE else count


@linked("numbad_lend", 2)
def lend(address, size):
    """Note a range that compiled code has made itself: arrays of its own, and room on its stack.

    A range that is noted already changes places with the oldest one, for it is about to be used.
    """
    if size > 0 and call_integers("numbad_table_end", (address, size)) == 0:
        slot = call_integers("numbad_slot", ())
        k = get(slot + 8 * NEXT)
        put(slot + 8 * NEXT, (k + 1) % RANGES)
        ring = slot + 8 * RING
        start, stop = address, address + size
        for other in range(RANGES):
            place = ring + 16 * other
            if get(place) <= address and get(place + 8) >= stop:
                start, stop = get(place), get(place + 8)
                put(place, get(ring + 16 * k))
                put(place + 8, get(ring + 16 * k + 8))
                break
        put(ring + 16 * k, start)
        put(ring + 16 * k + 8, stop)
    return 0


@linked("numbad_bits", 3)
def check_bits(bits, width, where):
    """Note a number that nobody has written."""
    if bits == (FRESH64 if width == 8 else FRESH32):
        call_integers("numbad_note", (UNWRITTEN, width, 0, where))
    return 0


@linked("numbad_fill", 2)
def fill(address, size):
    """Fill memory with the number that is recognised."""
    for place in range(address, address + size - 3, 4):
        put_pattern(place, FRESH32)
    return 0


# ---------------------------------------------------------------- what compiled code calls


def name_of(builder: Any) -> str:
    """Return the name of the function that is being compiled, empty unless it is one of ours."""
    mangled = builder.function.name
    if "parfor_gufunc" in mangled:
        return "a parallel loop"
    start = mangled.find("_ZN6numbad")
    if start < 0:
        return ""
    parts, place = [], start + 3
    while match := re.compile(r"\d+").match(mangled, place):
        place = match.end() + int(match.group())
        parts.append(mangled[match.end() : place])
    return ".".join(parts)


def text_at(context: Any, builder: Any, name: str) -> ir.Value:
    """Return the address of a text."""
    return builder.ptrtoint(context.insert_const_string(builder.module, name), WORD)


def emit(builder: Any, name: str, *arguments: ir.Value) -> ir.Value:
    """Emit a call of one of the functions above."""
    return builder.call(outside(builder, name, len(arguments)), list(arguments))


def nowhere_at(builder: Any, kind: Any) -> ir.Value:
    """Return the pointer to memory that belongs to nobody."""
    return builder.inttoptr(global_at(builder, "numbad_nowhere"), kind)


def emit_view(context: Any, builder: Any, address: Any, count: Any, width: Any) -> tuple[Any, Any]:
    """Emit the check of a view of raw memory; return its address and its length."""
    where = text_at(context, builder, name_of(builder))
    found = emit(builder, "numbad_view", address, count, width, where)
    bad = builder.icmp_signed("<", found, WORD(0))
    address = builder.select(bad, global_at(builder, "numbad_nowhere"), address)
    return address, builder.select(bad, WORD(0), found)


def emit_lend(builder: Any, address: Any, size: Any) -> None:
    """Emit the note of a range."""
    emit(builder, "numbad_lend", address, size)


# ---------------------------------------------------------------- how Numba compiles accesses to arrays

usual_indexing, usual_index = arrayobj.basic_indexing, arrayobj.fix_integer_index
usual_load, usual_empty = arrayobj.load_item, arrayobj._empty_nd_impl
_bad: list[list[Any]] = []  # for each access that is being compiled, the flags of indices that are out of bounds
_unchecked: list[bool] = []


def fix_integer_index(context, builder, kind, index, size):
    """Compile an index: that of a function of ours must lie between 0 and the length."""
    name = name_of(builder)
    if not name or not _bad:
        return usual_index(context, builder, kind, index, size)
    index = context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)
    found = emit(builder, "numbad_index", index, size, text_at(context, builder, name))
    bad = builder.icmp_signed("<", found, WORD(0))
    _bad[-1].append(bad)
    return builder.select(bad, WORD(0), found)


def basic_indexing(context, builder, array_type, array, index_types, indices, boundscheck=None):
    """Compile the address of an element or of a part; what is out of bounds is somewhere else, and has no elements."""
    if array_type.ndim == 2 and array_type.dtype == types.uint32 and name_of(builder):
        first = index_types[0]
        if isinstance(first, types.Integer):  # only tapes have this type
            emit(builder, "numbad_row", context.cast(builder, indices[0], first, types.int64))
    _bad.append([])
    pointer, shapes, strides = usual_indexing(
        context, builder, array_type, array, index_types, indices, boundscheck=boundscheck
    )
    for bad in _bad.pop():
        pointer = builder.select(bad, nowhere_at(builder, pointer.type), pointer)
        shapes = [builder.select(bad, length.type(0), length) for length in shapes]
    return pointer, shapes, strides


def load_item(context, builder, array_type, pointer):
    """Compile the reading of an element: it must have been written."""
    found = usual_load(context, builder, array_type, pointer)
    name = name_of(builder)
    if name and not _unchecked and array_type.dtype in (types.float64, types.float32):
        width = array_type.dtype.bitwidth
        bits = builder.zext(builder.bitcast(found, ir.IntType(width)), WORD) if width == 32 else None
        bits = builder.bitcast(found, WORD) if bits is None else bits
        emit(builder, "numbad_bits", bits, WORD(width // 8), text_at(context, builder, name))
    return found


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Compile readings that may find what nobody has written."""
    _unchecked.append(True)
    try:
        yield
    finally:
        _unchecked.pop()


def empty_array(context, builder, array_type, shapes):
    """Compile a new array: it is filled with what is recognised."""
    array = usual_empty(context, builder, array_type, shapes)
    if name_of(builder):
        size = builder.mul(array.nitems, array.itemsize)
        emit(builder, "numbad_fill", builder.ptrtoint(array.data, WORD), size)
    return array


def install() -> None:
    """Make Numba compile accesses so, from now on."""
    arrayobj.basic_indexing, arrayobj.fix_integer_index = basic_indexing, fix_integer_index
    arrayobj.load_item, arrayobj._empty_nd_impl = load_item, empty_array


if CHECKED:
    install()
