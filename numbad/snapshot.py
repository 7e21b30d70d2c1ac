"""What a function takes from outside of its arguments, so that a change of it can be noticed."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

import numpy as np

from numbad.recorder import SMALL

DEPTH = 4  # functions called by functions called by ...


class Snapshot:
    """The closure variables and globals that a function names, and those of the functions among them.

    Objects are compared by identity, numbers and small arrays also by value; large arrays are not
    compared, for tapes read them where they are.
    """

    def __init__(self, f: Any) -> None:
        self.cells: list[tuple[Any, Any]] = []
        self.names: list[tuple[dict[str, Any], str, Any]] = []
        self.arrays: list[tuple[np.ndarray, np.ndarray]] = []
        self.seen: set[int] = set()
        self.visit(f, DEPTH)

    def visit(self, f: Any, depth: int) -> None:
        """Note what a function takes from outside, and follow the functions that it calls."""
        f = getattr(f, "numbad_inner", f)
        if not isinstance(f, FunctionType) or id(f) in self.seen or not depth:
            return
        if f.__module__ and f.__module__.partition(".")[0] in ("numpy", "scipy", "numbad"):
            if not f.__closure__:
                return
        self.seen.add(id(f))
        for cell in f.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            self.cells.append((cell, value))
            self.keep(value, depth)
        for name in global_names(f.__code__):
            if name in f.__globals__:
                value = f.__globals__[name]
                self.names.append((f.__globals__, name, value))
                self.keep(value, depth)
        for value in f.__defaults__ or ():
            self.keep(value, depth)

    def keep(self, value: Any, depth: int) -> None:
        """Copy a small array; follow a function, and the members of small containers."""
        if isinstance(value, np.ndarray) and value.size <= SMALL and value.dtype != object:
            self.arrays.append((value, value.copy()))
        elif isinstance(value, (list, tuple)) and len(value) <= SMALL:
            for part in value:
                self.keep(part, depth - 1) if depth > 1 else None
        elif isinstance(value, dict) and len(value) <= SMALL:
            for part in value.values():
                self.keep(part, depth - 1) if depth > 1 else None
        else:
            self.visit(value, depth - 1)

    def changed(self) -> bool:
        """Whether something has been bound anew or written to."""
        for cell, value in self.cells:
            if cell.cell_contents is not value:
                return True
        for table, name, value in self.names:
            if table.get(name) is not value:
                return True
        for array, copy in self.arrays:
            if not np.array_equal(array, copy, equal_nan=array.dtype.kind == "f"):
                return True
        return False


def global_names(code: CodeType) -> set[str]:
    """Return the names that a function's code, and the code of the functions in it, may look up."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= global_names(constant)
    return names


