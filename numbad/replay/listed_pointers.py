"""Whether a long list holds the objects that it held: its pointers are compared as memory, where CPython shows them.

`all(map(is_, one, other))` takes 10 ns an element, and 10 microseconds for the thousand numbers that a loop goes
through. The pointers of a list lie in memory one after another, and where they begin stands behind its head (CPython,
Include/cpython/listobject.h, `ob_item`). Python's lock is held meanwhile, so no other thread changes the list.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from typing import Any

LONG = 32  # elements: shorter lists are compared one by one
HEAD = tuple.__basicsize__  # bytes before the address of the pointers: a list begins as a tuple does
POINTER = ctypes.sizeof(ctypes.c_void_p)


class Pointers:
    """The pointers of a list, and those of a copy that nobody changes."""

    __slots__ = ("at", "compare", "copied", "copy", "count", "size", "values")

    def __init__(self, values: list[Any], copy: list[Any]) -> None:
        self.values, self.copy, self.count, self.size = values, copy, len(copy), POINTER * len(copy)
        self.at, self.copied = begin_of(values), begin_of(copy)
        self.compare = comparison()

    def same(self) -> bool:
        """Whether the list holds the same objects as its copy."""
        return len(self.values) == self.count and self.compare(self.at, self.copied, self.size) == 0


def begin_of(values: list[Any]) -> ctypes.c_void_p:
    """Return what shows where the pointers of a list begin, also when it has been given other memory."""
    return ctypes.c_void_p.from_address(id(values) + HEAD)


@functools.cache
def comparison() -> Any:
    """Return C's `memcmp`, called with Python's lock."""
    found = ctypes.PyDLL("msvcrt" if sys.platform == "win32" else None).memcmp
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int
    return found


@functools.cache
def can_be_seen() -> bool:
    """Whether lists are where they are thought to be: CPython with its lock, and a list that is looked at shows it."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    parts = [object() for _ in range(LONG)]
    if list.__basicsize__ < HEAD + POINTER:
        return False
    begin = begin_of(parts).value
    owned = struct.pack(f"{LONG}P", *map(id, parts))
    return begin is not None and reads(begin, owned)


def reads(begin: int, owned: bytes) -> bool:
    """Whether memory holds some bytes."""
    return ctypes.string_at(begin, len(owned)) == owned


def is_long_list(values: Any) -> bool:
    """Whether to compare something by its pointers."""
    return type(values) is list and len(values) >= LONG and can_be_seen()
