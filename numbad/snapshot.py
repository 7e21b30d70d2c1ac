"""What a function takes from outside of its arguments, so that a change of it can be noticed."""

from __future__ import annotations

import contextlib
import functools
import sys
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

import numpy as np

from numbad.active import Active

DEPTH = 8  # functions called by functions called by ..., and containers in containers
MOST_COMPARED = 1 << 16  # elements of an array that are all compared; of larger ones a sample is
MOST_MEMBERS = 512  # of a list, dict or object that are looked at
SAMPLED = 256
JITTED = "_numbad_jitted_"  # attributes in which `jit` keeps the methods of an instance
LIBRARIES = ("numpy", "scipy", "numbad", "builtins")  # their functions take nothing from the user's globals
INSTALLED = ("site-packages", "dist-packages")  # folders of packages, whose modules are not looked into
PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)


class Snapshot:
    """The closure variables and globals that a function names, and those of the functions among them.

    Objects are compared by identity; arrays, lists, dicts and the attributes of objects also by what
    they hold, modules and classes by what a function may read of them: the names that it has after a dot. Modules of
    installed packages and of Python's own library are taken not to change. Of arrays of more than 65,536 elements
    256 are compared: writing to a few elements of such an array need not be noticed. Attributes that are computed,
    and what is deeper than eight containers or calls, are not seen.
    """

    def __init__(self, f: Any) -> None:
        self.cells: list[tuple[Any, Any]] = []
        self.names: list[tuple[Any, str, Any]] = []
        self.owners: dict[Any, int] = {}  # modules and classes that were met, and how deep
        self.looked_up: dict[Any, set[str]] = {}  # what has been noted of them
        self.attributes = {"__call__"}  # names that the functions look up
        self.arrays: list[tuple[np.ndarray, bytes]] = []
        self.containers: list[tuple[Any, Any]] = []
        self.seen: set[int] = set()
        self.recording = False  # whether there is a recording value among them
        self.visit(f, DEPTH)
        self.look_up_attributes()

    def visit(self, f: Any, depth: int) -> None:
        """Note what a function takes from outside, and follow the functions that it calls."""
        while hasattr(f, "numbad_inner"):
            f = f.numbad_inner
        if isinstance(f, functools.partial):
            self.keep((f.func, *f.args, *f.keywords.values()), depth)
            return
        if isinstance(f, MethodType):
            self.keep(f.__self__, depth)
            f = f.__func__
        if not isinstance(f, FunctionType):
            self.keep(f, depth)
            return
        if id(f) in self.seen or not depth:
            return
        library = bool(f.__module__) and f.__module__.partition(".")[0] in LIBRARIES
        if library and not f.__closure__:
            return
        self.seen.add(id(f))
        named = set() if library else global_names(f.__code__)
        self.attributes |= named
        for cell in f.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            self.cells.append((cell, value))
            self.keep(value, depth + library)  # the transforms around a function do not count
        for name in sorted(named):
            if name in f.__globals__:
                value = f.__globals__[name]
                self.names.append((f.__globals__, name, value))
                self.keep(value, depth)
        for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self.keep(value, depth)

    def keep(self, value: Any, depth: int) -> None:
        """Copy an array or a sample of it; follow a function, the members of containers and attributes of objects."""
        if isinstance(value, PLAIN) or not depth:
            return
        if isinstance(value, np.ndarray):
            if value.dtype != object and id(value) not in self.seen:
                self.seen.add(id(value))
                self.arrays.append((value, sample(value)))
        elif isinstance(value, Active):
            self.recording = True
        elif isinstance(value, (FunctionType, MethodType, functools.partial)) or hasattr(value, "numbad_inner"):
            self.visit(value, depth - 1)
        elif isinstance(value, ModuleType):
            if not is_installed(value):
                self.owners.setdefault(value, depth)
        else:
            self.keep_members(value, depth)
            if not isinstance(value, (list, tuple, dict)):
                for base in (value if isinstance(value, type) else type(value)).__mro__:
                    if not is_library(base.__module__):
                        self.owners.setdefault(base, depth)

    def look_up_attributes(self) -> None:
        """Note what the functions may read of the modules and classes that they meet, and follow that."""
        met = 0
        while met != len(self.owners) * len(self.attributes):
            met = len(self.owners) * len(self.attributes)
            for owner, depth in list(self.owners.items()):
                table = vars(owner)
                for name in sorted(self.attributes & table.keys() - self.looked_up.get(owner, set())):
                    self.looked_up.setdefault(owner, set()).add(name)
                    value = table[name]
                    self.names.append((table, name, value))
                    if isinstance(value, (staticmethod, classmethod)):
                        value = value.__func__
                    elif isinstance(value, property):
                        value = value.fget
                    self.keep(value, depth - 1)

    def keep_members(self, value: Any, depth: int) -> None:
        """Note the members of a container, or the attributes of an object."""
        if id(value) not in self.seen:
            self.seen.add(id(value))
            members = None if isinstance(value, type) else members_of(value)
            if members is not None and len(members) <= MOST_MEMBERS:
                self.containers.append((value, members.copy()))
                for part in members.values() if isinstance(members, dict) else members:
                    self.keep(part, depth - 1)

    def describe_change(self) -> str:
        """Return in words what has been bound anew or written to; an empty string if nothing has."""
        for cell, value in self.cells:
            with contextlib.suppress(ValueError):
                if cell.cell_contents is not value:
                    return "a variable of an enclosing function"
        for table, name, value in self.names:
            if table.get(name) is not value:
                return f"the global {name}" if isinstance(table, dict) else f"the class attribute {name}"
        for container, members in self.containers:
            if not same_members(members_of(container), members):
                kind = type(container).__name__
                return f"a {kind}" if isinstance(container, (list, dict)) else f"an attribute of a {kind}"
        for array, copy in self.arrays:
            if written(array, copy):
                return f"an array of shape {array.shape}"
        return ""

    def changed(self) -> bool:
        """Whether something has been bound anew or written to."""
        for cell, value in self.cells:
            try:
                if cell.cell_contents is not value:
                    return True
            except ValueError:
                return True
        for table, name, value in self.names:
            if table.get(name) is not value:
                return True
        for container, members in self.containers:
            if not same_members(members_of(container), members):
                return True
        return any(written(array, copy) for array, copy in self.arrays)


def members_of(value: Any) -> Any:
    """Return the members of a list, tuple or dict, or the attributes of an object; None if it has none."""
    if isinstance(value, (list, dict)):
        return value
    if isinstance(value, tuple):
        return list(value)
    if type(value).__module__.partition(".")[0] in LIBRARIES:
        return None
    found = getattr(value, "__dict__", None)
    kind: Any = type(value)
    slots = slots_of(kind)
    if slots:
        found = {**(found or {}), **{name: getattr(value, name) for name in slots if hasattr(value, name)}}
    return None if found is None else {name: part for name, part in found.items() if not name.startswith(JITTED)}


@functools.lru_cache(1024)
def slots_of(kind: type) -> tuple[str, ...]:
    """Return the attributes for which a class of the user's has slots."""
    bases = [base for base in kind.__mro__ if not is_library(base.__module__)]
    return tuple(name for base in bases for name, part in vars(base).items() if isinstance(part, MemberDescriptorType))


def is_library(module: str) -> bool:
    """Whether a module, by its name, belongs to Python or to the libraries that are recorded."""
    top = module.partition(".")[0]
    return top in LIBRARIES or top in sys.stdlib_module_names


def is_installed(module: ModuleType) -> bool:
    """Whether a module is not the user's own."""
    path = getattr(module, "__file__", None) or ""
    return is_library(module.__name__) or any(folder in path for folder in INSTALLED)


def same_members(one: Any, other: Any) -> bool:
    """Whether two lists or dicts hold the same objects."""
    if type(one) is not type(other) or len(one) != len(other):
        return False
    if isinstance(one, dict):
        return all(key in one and one[key] is value for key, value in other.items())
    return all(a is b for a, b in zip(one, other, strict=True))


def sample(values: np.ndarray) -> bytes:
    """Return the bytes of an array, or of some of its elements if it is large."""
    if values.size > MOST_COMPARED:
        places = sampled_places(values.size)
        values = values.reshape(-1)[places] if values.flags.c_contiguous else values.flat[places]
    return values.tobytes()


@functools.lru_cache(64)
def sampled_places(size: int) -> np.ndarray:
    """Return which elements of a large array are compared."""
    return np.linspace(0, size - 1, SAMPLED).astype(np.int64)


def written(values: np.ndarray, before: bytes) -> bool:
    """Whether an array differs from the sample that was taken of it."""
    return sample(values) != before


def global_names(code: CodeType) -> set[str]:
    """Return the names that a function's code, and the code of the functions in it, may look up."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= global_names(constant)
    return names
