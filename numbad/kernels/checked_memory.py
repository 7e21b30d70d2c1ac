"""The checked build, in use when `NUMBAD_CHECKED=1`: which memory compiled code may touch, and what it touched.

Python lends memory by its address: `watched` notes an array for as long as it lives, `lend` notes buffers for the next
call, and a call of a compiled function (`call_guarded`) lends the arrays that it is given. Compiled code looks all
addresses up in that table (see `checked_code`). Memory that sweeps take (`fresh`) is filled with a NaN that is
recognised, and lies between guard zones, which are looked at when it is given back. What is wrong raises an
InternalError that names the kernel and the row.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from array import array
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Any, ParamSpec, TypeVar

import numpy as np

from numbad.errors import InternalError, message

P = ParamSpec("P")
R = TypeVar("R")
FRESH_BITS = 0x7FF8DEAD  # of memory that nobody has written: twice in a double, a NaN of float32 and of float64
GUARD = 64  # bytes before and behind memory that nothing may touch
CANARY = 0xCA
REPORT = "report it, unless a tape was changed by hand: numbad itself is wrong"

# Places in the state: what was found first, where the table of ranges is, and a part for each thread.
FOUND, KIND, WHERE, ONE, OTHER, ROW, TABLE, HEAD = range(8)
INDEX, RANGE, LENGTH, UNWRITTEN = range(1, 5)  # kinds of findings
TEXTS = {
    INDEX: "index {one} of {other} elements",
    RANGE: "{other} bytes at address {one:#x}, which were not lent to it",
    LENGTH: "{one} elements at once",
    UNWRITTEN: "a number of {one} bytes that nobody has written",
}
SLOTS = 256  # threads; more of them share a part
AT_ROW, NEXT, RING = 1, 2, 3  # places in the part of a thread, which begins with its owner
RANGES = 64  # that the compiled code of a thread has made itself
SLOT = RING + 2 * RANGES

state = np.zeros(HEAD + SLOTS * SLOT, np.int64)
state[HEAD + AT_ROW :: SLOT] = -1

_thread = threading.local()
_broken: list[str] = []  # what finalizers have found, which cannot raise


# ---------------------------------------------------------------- memory that compiled code may touch


class Ranges:
    """The ranges of memory that are lent now.

    Compiled code reads a table of them without a lock, so a table is never changed: a new one takes its
    place, and the old ones live on for a while.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.live: dict[Any, tuple[int, int]] = {}
        self.references: dict[int, tuple[Any, int]] = {}
        self.tables: deque[np.ndarray] = deque(maxlen=1024)
        self.changed = True

    def add(self, key: Any, start: int, end: int) -> None:
        """Lend a range under a name."""
        if end > start:
            self.live[key] = start, end
            self.changed = True

    def drop(self, key: Any) -> None:
        """Take a range back."""
        if self.live.pop(key, None) is not None:
            self.changed = True

    def watch(self, owner: Any, *parts: Any, anew: bool = False) -> None:
        """Lend an array, or parts in its place, for as long as the array lives; parts `anew` replace the old ones."""
        key = id(owner)
        known = self.references.get(key)
        if not anew and known is not None and known[0]() is owner:
            return
        if anew and known is not None:
            self.forget(key)
        parts = parts or (owner,)
        self.references[key] = weakref.ref(owner, lambda _: self.forget(key)), len(parts)
        for k, part in enumerate(parts):
            self.add((key, k), *bounds(part))

    def forget(self, key: int) -> None:
        """Take back what was lent with an array."""
        _, parts = self.references.pop(key, (None, 0))
        for k in range(parts):
            self.drop((key, k))

    def publish(self) -> None:
        """Show compiled code which ranges there are: their number, where they begin, and the largest end so far."""
        if not self.changed:
            return
        with self.lock:
            self.changed = False
            found = sorted(self.live.values())
            starts, ends = [start for start, _ in found], accumulate((end for _, end in found), max)
            table = np.array([len(found), *starts, *ends], np.int64)
            self.tables.append(table)
            state[TABLE] = table.ctypes.data

    def holds(self, start: int, end: int) -> bool:
        """Whether a range holds an interval."""
        return any(first <= start and end <= last for first, last in list(self.live.values()))


ranges = Ranges()


def bounds(values: Any) -> tuple[int, int]:
    """Return where the memory of a buffer begins and ends; a pair of numbers is that already."""
    if isinstance(values, tuple):
        return values
    if isinstance(values, array):
        start, count = values.buffer_info()
        return start, start + count * values.itemsize
    if values.flags.c_contiguous:
        start = values.__array_interface__["data"][0]
        return start, start + values.nbytes
    low, high = np.lib.array_utils.byte_bounds(values)
    return int(low), int(high)


def watched(address_of: Callable[[Any], int]) -> Callable[[Any], int]:
    """Return a function that gives the address of an array, and lends the array."""

    def find(values: Any) -> int:
        ranges.watch(values)
        return address_of(values)

    return find


def divide(memory: np.ndarray, sizes: tuple[int, ...], *others: Any) -> None:
    """Lend parts of an array, of some elements each, one after the other, in place of the whole; and other buffers."""
    start = bounds(memory)[0]
    ends = [start + memory.itemsize * end for end in accumulate(sizes)]
    ranges.watch(memory, *zip([start, *ends], ends, strict=False), *others, anew=True)


def lend(*buffers: Any) -> None:
    """Lend buffers, or pairs of first and last address, to the next call of this thread."""
    _thread.__dict__.setdefault("lent", []).extend(buffers)


def arrays_of(arguments: Any) -> list[np.ndarray]:
    """Return the arrays among arguments, and among those of their tuples."""
    found = []
    for part in arguments:
        if isinstance(part, np.ndarray):
            found.append(part)
        elif isinstance(part, tuple):
            found += arrays_of(part)
    return found


# ---------------------------------------------------------------- calls


def gate(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function of addresses, with the checks around it."""
    return lambda *arguments: call_guarded(name, function, arguments)


def call_guarded(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a compiled function; raise what it, or one before it, has done wrong."""
    lent = _thread.__dict__.pop("lent", []) + arrays_of(arguments)
    keys = [object() for _ in lent]
    for key, values in zip(keys, lent, strict=True):
        ranges.add(key, *bounds(values))
    ranges.publish()
    try:
        return function(*arguments)
    finally:
        for key in keys:
            ranges.drop(key)
        complain(name)


def naming_row(method: Callable[..., int]) -> Callable[..., int]:
    """Return a method of (self, code, words, row, ...) that notes the row for kernels that see no code."""

    def call(self: Any, code: Any, words: Any, row: int, *rest: Any) -> int:
        before = getattr(_thread, "row", -1)
        _thread.row = row
        try:
            return method(self, code, words, row, *rest)
        finally:
            _thread.row = before

    return call


def complain(name: str) -> None:
    """Raise an InternalError for what has been found, if anything has."""
    if _broken:
        found = _broken.pop()
        raise InternalError(message(found, REPORT, where=False))
    if not state[FOUND]:
        return
    kind, where, one, other, row = (int(part) for part in state[[KIND, WHERE, ONE, OTHER, ROW]])
    state[FOUND] = 0
    kernel = ctypes.string_at(where).decode() if where else "a kernel"
    row = getattr(_thread, "row", row) if sees_no_code(name) else row
    text = TEXTS.get(kind, "memory").format(one=one, other=other)
    raise InternalError(
        message(
            f"{kernel}, called by {name}, touched {text}, in row {row}",
            REPORT,
            where=False,
        )
    )


def sees_no_code(name: str) -> bool:
    """Whether a compiled function works on one row, or group of rows, that Python has chosen."""
    return name.startswith(("fused_", "map_", "total", "add_", "matrix_", "vector_", "shares_"))


# ---------------------------------------------------------------- fresh memory


def fresh(shape: Any, dtype: Any) -> np.ndarray:
    """Return an array that is filled with what nobody has written, between guard zones."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    owner = np.full(2 * GUARD + size, CANARY, np.uint8)
    inside = owner[GUARD : GUARD + size]
    pour(inside)
    found = inside.view(dtype).reshape(shape)
    weakref.finalize(found, note_broken, owner).atexit = False
    return found


def pour(memory: np.ndarray) -> None:
    """Fill an array with what nobody has written."""
    memory = memory.reshape(-1).view(np.uint8)
    memory[: memory.size // 4 * 4].view(np.uint32)[...] = FRESH_BITS


def owner_of(values: np.ndarray) -> np.ndarray | None:
    """Return the memory that an array was cut from with its guard zones, None for other memory."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    ours = values.dtype == np.uint8 and values.ndim == 1 and values.size >= 2 * GUARD
    return values if ours else None


def is_whole(owner: np.ndarray) -> bool:
    """Whether nobody has touched the guard zones."""
    return bool((owner[:GUARD] == CANARY).all() and (owner[owner.size - GUARD :] == CANARY).all())


def note_broken(owner: np.ndarray) -> None:
    """Note, once, that a guard zone was touched."""
    if not is_whole(owner):
        owner[:GUARD] = owner[owner.size - GUARD :] = CANARY
        _broken.append(f"something wrote beyond an array of {owner.size - 2 * GUARD} bytes")


def give_back(values: np.ndarray) -> None:
    """Look at the guard zones of memory that is given back, and forget what it holds."""
    owner = owner_of(values)
    if owner is None:
        return
    note_broken(owner)
    complain("a sweep")
    pour(owner[GUARD : owner.size - GUARD])


def handed_out(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function with a look at its results: somebody must have written them."""

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        found = function(*arguments, **named)
        check_written(found, function.__qualname__)
        return found

    return call


def check_written(found: Any, name: str) -> None:
    """Raise an InternalError if nobody has written a number, among tuples, lists and dicts of them."""
    if isinstance(found, (tuple, list)):
        for part in found:
            check_written(part, name)
    elif isinstance(found, dict):
        check_written(list(found.values()), name)
    elif isinstance(found, (float, np.floating, np.ndarray)) and is_fresh(np.asarray(found)):
        raise InternalError(message(f"{name} returns a number that nobody has written", REPORT))


def is_fresh(values: np.ndarray) -> bool:
    """Whether an element holds what nobody has written."""
    kinds = {"d": (np.uint64, FRESH_BITS << 32 | FRESH_BITS), "f": (np.uint32, FRESH_BITS)}
    if values.dtype.char not in kinds or not values.dtype.isnative:
        return False
    kind, bits = kinds[values.dtype.char]
    return bool((np.array(values, order="C").view(kind) == bits).any())
