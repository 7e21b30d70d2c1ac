"""The functions of Python that stand behind what Numba has compiled; found without importing Numba."""

from __future__ import annotations

import functools
from typing import Any

from numbad.errors import attribute

WAYS = ("py_func", "_dispatcher.py_func", "gufunc_builder.py_func", "_pyfunc", "kernel_ir.func_id.func")
TOP = "numba"
HOLDING = ("numba.typed", "numba.experimental.jitclass.boxing", "numba.experimental.structref")


@functools.lru_cache(1024)
def is_of_numba(kind: Any) -> bool:
    """Whether a class is one of Numba's, or inherits from one."""
    return any((base.__module__ or "").partition(".")[0] == TOP for base in kind.__mro__)


def is_numbas(value: Any) -> bool:
    """Whether an object, or a class, is one that Numba has made."""
    kind: Any = type(value)
    return is_of_numba(kind)


def functions_behind(value: Any) -> list[Any]:
    """Return the functions that Numba has compiled into an object: one, or the methods of a class."""
    for way in WAYS:
        found = value
        for name in way.split("."):
            found = attribute(found, name)
        if found is not None:
            return [found]
    kind = attribute(value, "class_type")
    if kind is None:
        return []
    properties = [part for both in kind.jit_props.values() for part in both.values()]
    return [part.py_func for part in (*kind.jit_methods.values(), *properties, *kind.jit_static_methods.values())]


def holds_memory(value: Any) -> bool:
    """Whether an object has numbers in memory of Numba's, which cannot be compared: one of a class, a typed list."""
    places = [base.__module__ or "" for base in type(value).__mro__]
    return not isinstance(value, type) and any(place.startswith(HOLDING) for place in places)
