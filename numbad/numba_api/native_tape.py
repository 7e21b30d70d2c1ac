"""The rows that machine code of Numba's appends while it computes: buffers in C's memory that grow from there.

Two tables of int64 stand at addresses that are built into the code. Numba runs with Python's lock, so one
call at a time appends to them; `Session` begins them for a call, and reads them when it has returned.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from numbad.kernels.memory import give_back, take_memory

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

(
    CODE,
    ROWS,
    ROOM,
    SIZE,
    NUMBERS,
    COUNT,
    NUMBER_ROOM,
    KEYS,
    KEY_ROOM,
    KEY_COUNT,
    RAISING,
    GIVEN_UP,
    LONG_ROWS,
    GUARDS,
    OWN,
    STACK,
    MEMORY,
    INTERRUPT,  # and two more
) = range(18)
FIRST_ROWS, FIRST_NUMBERS, FIRST_KEYS = 4096, 512, 1024
table = np.zeros(20, np.int64)
TABLE = table.ctypes.data
MOST = 2**32 - 2  # addresses of a tape
STEP = 1 << 22  # rows after which it is looked whether somebody interrupts
LARGEST_STACK = 8 << 20  # bytes that a thread has where nothing limits it
libc: Any = ctypes.CDLL(None)
libc.malloc.restype = libc.realloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]


def reading(width: Any, result: Any) -> Any:
    """Make a function that reads a number at an address of memory."""

    @intrinsic
    def read(context: Any, place: Any) -> Any:
        def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(builder.inttoptr(arguments[0], width.as_pointer()))

        return result(types.int64), make

    return read


def writing(width: Any, kind: Any) -> Any:
    """Make a function that writes a number to an address of memory."""

    @intrinsic
    def write(context: Any, place: Any, value: Any) -> Any:
        def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[1], builder.inttoptr(arguments[0], width.as_pointer()))
            return context.get_dummy_value()

        return types.void(types.int64, kind), make

    return write


read_word, read_number = reading(ir.IntType(64), types.int64), reading(ir.DoubleType(), types.float64)
write_word, write_number = writing(ir.IntType(64), types.int64), writing(ir.DoubleType(), types.float64)
write_short = writing(ir.IntType(32), types.uint32)


@intrinsic
def grown(context: Any, place: Any, size: Any) -> Any:
    """Return memory of another size with what was at an address: C's realloc."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "realloc")
        return builder.call(function, arguments)

    return types.int64(types.int64, types.int64), make


@intrinsic
def bits_of(context: Any, value: Any) -> Any:
    """Return the bits of a number."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), make


@intrinsic
def copied(context: Any, to: Any, source: Any, size: Any) -> Any:
    """Copy bytes from one address to another: C's memcpy."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        to, source = (builder.inttoptr(place, pointer) for place in arguments[:2])
        cgutils.raw_memcpy(builder, to, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), make


@intrinsic
def frame_address(context: Any) -> Any:
    """Return where the frame of the function is on the stack."""

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(pointer, [ir.IntType(32)])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.frameaddress.p0i8")
        return builder.ptrtoint(builder.call(function, [ir.IntType(32)(0)]), ir.IntType(64))

    return types.int64(), make


@intrinsic
def interrupted(context: Any, place: Any) -> Any:
    """Run the handlers of signals that have come; where one raises, store the exception in three words and return 1.

    Python's lock is held.
    """

    def make(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, whole = ir.IntType(64), ir.IntType(32)
        look = cgutils.get_or_insert_function(builder.module, ir.FunctionType(whole, []), "PyErr_CheckSignals")
        kind = ir.FunctionType(ir.VoidType(), [word.as_pointer()] * 3)
        fetch = cgutils.get_or_insert_function(builder.module, kind, "PyErr_Fetch")
        found = builder.icmp_signed("!=", builder.call(look, []), whole(0))
        with builder.if_then(found, likely=False):
            places = [builder.add(arguments[0], word(8 * k)) for k in range(3)]
            builder.call(fetch, [builder.inttoptr(place, word.as_pointer()) for place in places])
        return builder.zext(found, word)

    return types.int64(types.int64), make


@njit
def check_stack():
    """Raise where half of the stack is used; it grows downward, and a session begins where its first call is."""
    here, last = frame_address(), read_word(TABLE + 8 * STACK)
    if last < 0:
        write_word(TABLE + 8 * STACK, here + last)
    elif here < last:
        raise RecursionError("maximum recursion depth exceeded")


@njit
def give_up():
    """Say that the function has to be recorded by Python: a row alone does not give what it has met."""
    write_word(TABLE + 8 * GIVEN_UP, 1)


@njit
def widen_rows():
    """Give room for more rows, doubling their memory, the first of which is Python's own, where it is full.

    Before that the handlers of signals run: who has waited for millions of rows may interrupt.
    """
    if interrupted(TABLE + 8 * INTERRUPT):
        raise RuntimeError("interrupted")  # in whose place `Session.raise_interrupt` raises what the handler has
    rows = read_word(TABLE + 8 * ROWS)
    room = read_word(TABLE + 8 * MEMORY)
    if rows < room:
        write_word(TABLE + 8 * ROOM, min(room, rows + STEP))
        return
    if read_word(TABLE + 8 * SIZE) > MOST - 2 * rows:
        raise MemoryError("the tape would need more than 4,294,967,295 addresses")
    memory = grown(0, 32 * rows)
    if memory == 0:
        raise MemoryError("no memory for the rows of a tape")
    before = read_word(TABLE + 8 * CODE)
    copied(memory, before, 16 * rows)
    if read_word(TABLE + 8 * OWN):
        grown(before, 0)
    write_word(TABLE + 8 * OWN, 1)
    write_word(TABLE + 8 * CODE, memory)
    write_word(TABLE + 8 * MEMORY, 2 * rows)
    write_word(TABLE + 8 * ROOM, min(2 * rows, rows + STEP))


@njit
def append_row(opcode, out, a, b):
    """Append a row."""
    rows = read_word(TABLE + 8 * ROWS)
    if rows == read_word(TABLE + 8 * ROOM):
        widen_rows()
    place = read_word(TABLE + 8 * CODE) + 16 * rows
    write_short(place, np.uint32(opcode))
    write_short(place + 4, np.uint32(out))
    write_short(place + 8, np.uint32(a))
    write_short(place + 12, np.uint32(b))
    write_word(TABLE + 8 * ROWS, rows + 1)


@njit
def take_address():
    """Return a new address; there are as many as there may be rows, or `widen_rows` raises."""
    address = read_word(TABLE + 8 * SIZE)
    write_word(TABLE + 8 * SIZE, address + 1)
    return address


@njit
def append_result(opcode, a, b):
    """Append a row whose result is new; return its address."""
    out = take_address()
    append_row(opcode, out, a, b)
    return out


@njit
def append_guard(opcode, value, address):
    """Append a guard."""
    write_word(TABLE + 8 * GUARDS, read_word(TABLE + 8 * GUARDS) + 1)
    append_row(opcode, value, address, 0)


@njit
def place_of(keys, room, bits):
    """Return where a number is in the table of constants, or would be."""
    k = ((bits ^ (bits >> 29)) * 0x1CE4E5B9BF58476D) & (room - 1)
    while True:
        known = read_word(keys + 16 * k + 8)
        if known == 0 or read_word(keys + 16 * k) == bits:
            return keys + 16 * k
        k = (k + 1) & (room - 1)


@njit
def widen_keys():
    """Double the table of constants."""
    room, keys = read_word(TABLE + 8 * KEY_ROOM), read_word(TABLE + 8 * KEYS)
    wider = grown(0, 32 * room)
    if wider == 0:
        raise MemoryError("no memory for the constants of a tape")
    for k in range(2 * room):
        write_word(wider + 16 * k + 8, 0)
    for k in range(room):
        known = read_word(keys + 16 * k + 8)
        if known:
            bits = read_word(keys + 16 * k)
            place = place_of(wider, 2 * room, bits)
            write_word(place, bits)
            write_word(place + 8, known)
    grown(keys, 0)
    write_word(TABLE + 8 * KEYS, wider)
    write_word(TABLE + 8 * KEY_ROOM, 2 * room)


@njit
def constant(value):
    """Return the address of a number that does not vary."""
    bits = bits_of(value)
    if bits == 0:
        return 0
    place = place_of(read_word(TABLE + 8 * KEYS), read_word(TABLE + 8 * KEY_ROOM), bits)
    known = read_word(place + 8)
    if known:
        return known
    address = take_address()
    write_word(place, bits)
    write_word(place + 8, address)
    count = read_word(TABLE + 8 * COUNT)
    if count == read_word(TABLE + 8 * NUMBER_ROOM):
        memory = grown(read_word(TABLE + 8 * NUMBERS), 32 * count)
        if memory == 0:
            raise MemoryError("no memory for the constants of a tape")
        write_word(TABLE + 8 * NUMBERS, memory)
        write_word(TABLE + 8 * NUMBER_ROOM, 2 * count)
    place = read_word(TABLE + 8 * NUMBERS) + 16 * count
    write_number(place, float(address))
    write_number(place + 8, value)
    write_word(TABLE + 8 * COUNT, count + 1)
    used = read_word(TABLE + 8 * KEY_COUNT) + 1
    write_word(TABLE + 8 * KEY_COUNT, used)
    if 2 * used > read_word(TABLE + 8 * KEY_ROOM):
        widen_keys()
    return address


def stack_size() -> int:
    """Return how many bytes of stack this thread has at least."""
    size = threading.stack_size()
    if not size and resource is not None:
        size = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return size if 0 < size < LARGEST_STACK else LARGEST_STACK


class Session:
    """The buffers of one call.

    Attributes
    ----------
    code : ndarray of uint32
        The rows, four numbers each, once the call has ended; they are there until `close`.
    numbers : ndarray of float64
        Pairs of an address and a constant.
    size : int
        The first address that has not been taken.
    rows, guards : int
        How many rows there are, and how many guards among them.
    given_up : bool
        Whether something was met whose derivative a row alone does not give: the root of zero.
    """

    def __init__(self, size: int, raising: bool, rows: int = 0) -> None:
        self.outer = table.copy()
        room = max(FIRST_ROWS, rows + rows // 16)
        self.memory = take_memory(16 * room, np.dtype(np.uint8), False)  # the sweeps' own: its pages are not fresh
        table[:] = 0
        table[CODE] = self.memory.ctypes.data
        table[NUMBERS] = libc.malloc(16 * FIRST_NUMBERS)
        table[KEYS] = libc.malloc(16 * FIRST_KEYS)
        table[[MEMORY, NUMBER_ROOM, KEY_ROOM]] = room, FIRST_NUMBERS, FIRST_KEYS
        table[ROOM] = min(room, STEP)
        ctypes.memset(int(table[KEYS]), 0, 16 * FIRST_KEYS)
        table[SIZE], table[RAISING], table[STACK] = size, raising, -stack_size() // 2

    def end(self) -> None:
        """Read the tables, and go on with those of an outer call."""
        self.rows, self.guards, count = int(table[ROWS]), int(table[GUARDS]), int(table[COUNT])
        self.place, self.own = int(table[CODE]), bool(table[OWN])
        self.code = np.frombuffer((ctypes.c_char * (16 * self.rows)).from_address(self.place), np.uint32)
        self.numbers = np.frombuffer(ctypes.string_at(int(table[NUMBERS]), 16 * count), np.float64)
        self.size = int(table[SIZE])
        self.given_up = bool(table[GIVEN_UP])
        self.interrupt = table[INTERRUPT:].tolist()
        for k in (NUMBERS, KEYS):
            libc.free(int(table[k]))
        table[:] = self.outer

    def raise_interrupt(self) -> None:
        """Raise what a handler of signals has raised while the call ran."""
        if any(self.interrupt):
            ctypes.pythonapi.PyErr_Restore(*map(ctypes.c_void_p, self.interrupt))

    def close(self) -> None:
        """Give the memory of the rows back."""
        if self.own:
            libc.free(self.place)
        give_back(self.memory)
        self.code = self.code[:0]
