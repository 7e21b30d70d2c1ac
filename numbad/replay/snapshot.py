"""What a function takes from outside of its arguments, so that a change of it can be noticed."""

from __future__ import annotations

import array
import contextlib
import contextvars
import ctypes
import dis
import enum
import functools
import re
import sys
import weakref
from collections import defaultdict, deque
from operator import is_
from types import (
    BuiltinMethodType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

import numpy as np

from numbad.errors import attribute, noted_on
from numbad.numba_api.sources import functions_behind, holds_memory, is_numbas
from numbad.recording.active import Active
from numbad.recording.borrowing import sample, written
from numbad.recording.exchange import own_code
from numbad.recording.unfilled import INSTALLED
from numbad.replay.listed_pointers import Pointers, is_long_list

FOREIGN_DEPTH = 4  # functions and objects of installed packages that are followed, one within the other
MOST_NOTED = 1 << 17  # members of containers and objects: a call that takes more from outside is recorded anew
JITTED = "_numbad_jitted_"  # attributes in which `jit` keeps the methods of an instance
LIBRARIES = ("numpy", "scipy", "numbad", "builtins")  # their functions take nothing from the user's globals
PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype, np.ufunc, range, slice, CodeType)
FOLLOWED = set(
    "types collections functools argparse _thread contextvars _contextvars weakref os queue _queue configparser".split()
)  # modules of Python's own whose objects hold what a program has put there
ANSWERING = {"__getattr__", "__getattribute__"}  # special methods that may be added to a class, for any attribute
BY_NAME = {"globals", "eval", "exec", "vars", "__import__", "import_module"}  # what finds globals by names in strings
VIEWS: Any = (type({}.keys()), type({}.values()), type({}.items()))
MISSING: Any = object()


class Snapshot:
    """The closure variables and globals that a function names, and those of the functions among them.

    Objects are compared by identity; arrays, containers and the attributes of objects also by what
    they hold, modules and classes by what a function may read of them: the names that it has after a dot. Modules of
    installed packages and of Python's own library are taken not to change. Of arrays of more than four million
    elements some 4,000 are compared: writing to a few elements of such an array need not be noticed. Attributes that
    are computed, and what objects of compiled code keep to themselves, are not seen.

    Attributes
    ----------
    unbounded : str
        What has too many members to be compared at each call; an empty string if nothing has.
    """

    def __init__(self, f: Any) -> None:
        self.cells: list[tuple[Any, Any]] = []
        self.names: list[tuple[Any, str, Any]] = []
        self.functions: list[tuple[FunctionType, Any, Any, Any]] = []  # with code and defaults
        self.owners: dict[Any, int] = {}  # modules and classes that were met, and how deep
        self.looked_up: dict[Any, set[str]] = {}  # what has been noted of them
        self.kinds: list[tuple[Any, Any]] = []  # objects with their classes
        self.orders: list[tuple[Any, Any]] = []  # classes with the classes that they inherit from
        self.caches: list[tuple[Any, tuple[int, int]]] = []  # of functools.lru_cache
        self.attributes = {"__call__"}  # names that the functions look up
        self.own_attributes: set[str] = set()  # those of them that functions of the user's do
        self.arrays: list[tuple[np.ndarray, tuple[int, ...], bytes]] = []
        self.buffers: list[tuple[Any, bytes]] = []
        self.containers: list[tuple[Any, Any]] = []
        self.lists: list[Pointers] = []  # those of them that are long lists
        self.varying: list[tuple[Any, Any]] = []  # and the others, if they can change
        self.seen: set[int] = set()
        self.alive: list[Any] = []  # what `seen` has the identities of
        self.waiting: deque[tuple[Any, int]] = deque([(f, FOREIGN_DEPTH)])
        self.noted = 0
        self.unbounded = ""
        self.recording = False  # whether there is a recording value among them
        self.follow()
        del self.alive, self.waiting

    def follow(self) -> None:
        """Note what there is to find, first things first, until nothing new is met."""
        met = -1
        while met != len(self.owners) * len(self.attributes):
            met = len(self.owners) * len(self.attributes)
            while self.waiting:
                value, depth = self.waiting.popleft()
                self.keep(value, depth)
            self.look_up_attributes()

    def meet(self, value: Any, depth: int) -> None:
        """Have a value looked at later, unless it has been."""
        try:
            skipped = is_plain(value)
        except Exception:  # of the object's own `__getattribute__`
            skipped = True
            self.unbounded = self.unbounded or f"an object that does not tell its class ({type(value).__name__})"
        if not skipped and depth and id(value) not in self.seen:
            self.seen.add(id(value))
            self.alive.append(value)
            self.waiting.append((value, depth))

    def keep(self, value: Any, depth: int) -> None:
        """Copy an array or a sample of it; follow a function, the members of containers and attributes of objects."""
        if isinstance(value, Active):
            self.recording = True
        elif isinstance(value, ModuleType):
            if not is_installed(value):
                self.owners.setdefault(value, depth)
        elif isinstance(value, FunctionType):
            self.keep_function(value, depth)
        elif isinstance(value, MethodType):
            self.meet(value.__self__, depth)
            self.meet(value.__func__, depth)
        elif noted_on(value, "numbad_inner") is not None:
            self.meet(value.numbad_inner, depth)
        elif is_numbas(value):
            for function in functions_behind(value):
                self.meet(function, depth)
            if holds_memory(value):
                self.unbounded = self.unbounded or f"an object whose memory is Numba's ({type(value).__name__})"
        elif isinstance(value, np.ndarray) and value.dtype != object:
            self.arrays.append((value, value.shape, sample(value)))
            if type(value) is not np.ndarray:
                self.keep_members(value, depth)
        elif isinstance(value, (array.array, bytearray, memoryview, CTYPES)):
            self.buffers.append((value, bytes(value)))
        elif isinstance(value, VIEWS):
            self.meet(value.mapping, depth)
        elif isinstance(value, (BuiltinMethodType, MethodWrapperType)):
            if not isinstance(value.__self__, ModuleType):
                self.meet(value.__self__, depth)
        elif isinstance(value, CACHE):
            self.caches.append((value, state_of(value)))
            self.meet(value.__wrapped__, depth)
        elif type(value).__module__.partition(".")[0] == "numbad":  # what it keeps for itself changes from call to call
            for part in (attribute(value, "__dict__") or {}).values():
                if isinstance(part, (FunctionType, MethodType, functools.partial)):
                    self.meet(part, depth)
        elif hasattr(type(value), "__next__"):
            self.unbounded = self.unbounded or f"an iterator ({type(value).__name__})"
        else:
            self.keep_members(value, depth)
            if isinstance(value, type):
                self.keep_class(value, depth)
            elif type(value) not in CONTAINERS and not is_library(type(value).__module__):
                self.kinds.append((value, type(value)))
            self.keep_class(type(value), depth)

    def keep_class(self, kind: Any, depth: int) -> None:
        """Have the attributes of a class and of those that it inherits from looked up."""
        if kind in CONTAINERS or is_library(kind.__module__) or kind in self.owners:
            return
        self.orders.append((kind, kind.__mro__))
        for base in kind.__mro__:
            if not is_library(base.__module__):
                self.owners.setdefault(base, depth)

    def keep_function(self, f: FunctionType, depth: int) -> None:
        """Note closure variables, globals, defaults and attributes of a function."""
        if noted_on(f, "numbad_inner") is not None:  # a transform of numbad's
            self.meet(f.numbad_inner, depth)  # type: ignore[attr-defined]
            return
        module = f.__module__ or ""
        library = module.partition(".")[0] in LIBRARIES
        if library and not f.__closure__:
            return
        installed = library or is_library(module) or any(folder in f.__code__.co_filename for folder in INSTALLED)
        depth -= installed
        for cell in f.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                value = MISSING
            self.cells.append((cell, value))
            self.meet(value, depth + library)  # the transforms around a function do not count
        self.functions.append((f, own_code(f), f.__defaults__, f.__kwdefaults__))
        for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self.meet(value, depth)
        if f.__kwdefaults__ or f.__dict__:
            self.note_members(f.__kwdefaults__ or {}, depth)
            self.note_members(f.__dict__, depth)
        if not library:
            self.keep_names(f, installed, depth)

    def keep_names(self, f: FunctionType, installed: bool, depth: int) -> None:
        """Note the globals that a function names; those of the user's functions also where they are missing yet."""
        named, attributes = looked_up_names(own_code(f))
        named = named | {name for name in words_of(own_code(f)) if name in f.__globals__}
        by_name = words_of(own_code(f)) & sys.modules.keys()
        for name in by_name:
            self.meet(sys.modules[name], depth - installed)
        self.attributes |= attributes
        if not installed:
            self.own_attributes |= attributes
            for name in attributes & sys.modules.keys():  # imported in the function
                self.meet(sys.modules[name], depth)
        table = f.__globals__
        for name in sorted(named | (attributes if installed else set())):
            value = table.get(name, MISSING)
            if value is not MISSING or not installed:
                self.names.append((table, name, value))
                self.meet(value, depth)
                if issubclass(type(value), ModuleType) and not installed and is_installed(value):
                    if value is sys and by_name:  # of all modules those that are looked up, for imports add others
                        self.names += [(sys.modules, one, sys.modules[one]) for one in sorted(by_name)]
                        self.keep_data(value, attributes - {"modules"}, depth)
                    else:
                        self.keep_data(value, attributes, depth)

    def keep_data(self, module: ModuleType, attributes: set[str], depth: int) -> None:
        """Note what a function of the user's reads in an installed module that is no code: os.environ, sys.argv."""
        table = vars(module)
        for name in sorted(attributes & table.keys()):
            value = table[name]
            if not callable(value) and not is_plain(value) and not isinstance(value, ModuleType):
                self.names.append((table, name, value))
                self.meet(value, depth)

    def look_up_attributes(self) -> None:
        """Note what the functions may read of the modules and classes that they meet, and follow that."""
        for owner, depth in list(self.owners.items()):
            table = vars(owner)
            wanted, missing = self.attributes, self.own_attributes
            if isinstance(owner, type):
                wanted = wanted | special_methods(owner) | ANSWERING
                missing = ANSWERING | {name for name in wanted if any(name in vars(base) for base in owner.__mro__[1:])}
            wanted = wanted - self.looked_up.setdefault(owner, set())
            for name in sorted(wanted & (table.keys() | missing)):
                self.looked_up[owner].add(name)
                value = table.get(name, MISSING)
                self.names.append((table, name, value))
                if isinstance(value, (staticmethod, classmethod)):
                    value = value.__func__
                elif isinstance(value, property):
                    value = value.fget
                self.meet(value, depth)

    def keep_members(self, value: Any, depth: int) -> None:
        """Note the members of a container, or the attributes of an object."""
        if not isinstance(value, type) and members_of(value) is not None:
            kind: Any = type(value)
            foreign = kind not in CONTAINERS and is_foreign(kind)
            self.note_members(value, depth - foreign)

    def note_members(self, value: Any, depth: int) -> None:
        """Copy the members of something, and look at each of them."""
        members = members_of(value)
        self.noted += len(members)
        if self.noted > MOST_NOTED:
            self.unbounded = self.unbounded or f"{kind_of(value)} with {len(members)} members"
            return
        members = members.copy()
        self.containers.append((value, members))
        if is_long_list(value):
            self.lists.append(Pointers(value, members))
        elif type(value) not in (tuple, frozenset):  # these have the same members for as long as they live
            self.varying.append((value, members))
        for part in members.values() if isinstance(members, dict) else members:
            self.meet(part, depth)

    def describe_change(self) -> str:
        """Return in words what has been bound anew or written to; an empty string if nothing has."""
        for cell, value in self.cells:
            if contents(cell) is not value and value is not MISSING:
                return "a variable of an enclosing function"
        for table, name, value in self.names:
            if table.get(name, MISSING) is not value:
                return f"the global {name}" if isinstance(table, dict) else f"the class attribute {name}"
        for f, code, defaults, keywords in self.functions:
            if own_code(f) is not code or f.__defaults__ is not defaults or f.__kwdefaults__ is not keywords:
                return f"the defaults of {f.__name__}"
        for value, kind in self.kinds:
            if type(value) is not kind:
                return f"the class of a {kind.__name__}"
        for kind, order in self.orders:
            if kind.__mro__ is not order:
                return f"what the class {kind.__name__} inherits from"
        for container, members in self.containers:
            if not same_members(members_of(container), members):
                return kind_of(container)
        for values, shape, copy in self.arrays:
            if values.shape != shape or written(values, copy):
                return f"an array of shape {values.shape}"
        return "an array.array or bytearray" if any(bytes(value) != copy for value, copy in self.buffers) else ""

    def changed(self) -> bool:
        """Whether something has been bound anew or written to."""
        if self.unbounded:
            return True
        for cell, value in self.cells:
            try:
                if cell.cell_contents is not value:
                    return True
            except ValueError:
                if value is not MISSING:
                    return True
        for table, name, value in self.names:
            if table.get(name, MISSING) is not value:
                return True
        for f, code, defaults, keywords in self.functions:
            if f.__code__ is not code and own_code(f) is not code:
                return True
            if f.__defaults__ is not defaults or f.__kwdefaults__ is not keywords:
                return True
        for value, kind in self.kinds:
            if type(value) is not kind:
                return True
        for kind, order in self.orders:
            if kind.__mro__ is not order:
                return True
        for cache, state in self.caches:
            if state_of(cache) != state:
                return True
        for pointers in self.lists:
            if not pointers.same():
                return True
        for container, members in self.varying:
            if not same_members(members_of(container), members):
                return True
        for values, shape, copy in self.arrays:
            if values.shape != shape or written(values, copy):
                return True
        return any(bytes(value) != copy for value, copy in self.buffers) if self.buffers else False


def contents(cell: Any) -> Any:
    """Return what a closure variable is bound to."""
    with contextlib.suppress(ValueError):
        return cell.cell_contents
    return MISSING


CTYPES: Any = ctypes.c_int.__mro__[-2]  # the base of all types of C
CACHE: Any = type(functools.lru_cache(len))


def state_of(cache: Any) -> tuple[int, int]:
    """Return what changes when a function of functools.lru_cache runs, or forgets; not when it looks up."""
    found = cache.cache_info()
    return found.misses, found.currsize


def is_plain(value: Any) -> bool:
    """Whether a value cannot be changed."""
    if not isinstance(value, PLAIN):
        return False
    return type(value) in PLAIN or isinstance(value, enum.Enum) or not attribute(value, "__dict__")


def special_methods(kind: Any) -> set[str]:
    """Return the special methods that a class and those that it inherits from define: what runs without a name."""
    bases = [base for base in kind.__mro__ if not is_library(base.__module__)]
    return {
        name
        for base in bases
        for name, part in vars(base).items()
        if name.startswith("__") and isinstance(part, (FunctionType, property, staticmethod, classmethod))
    }


# ---------------------------------------------------------------- members

LISTED = (tuple, set, frozenset, deque)  # containers that are compared as lists of their members
CONTAINERS = (list, dict, *LISTED)


def members_of(value: Any) -> Any:
    """Return the members of a container, or the attributes of an object; None if it has none."""
    kind: Any = type(value)
    if kind is list or kind is dict:
        return value
    if kind in LISTED:
        return list(value)
    if is_opaque(kind):
        return None
    found = attribute(value, "__dict__")
    slots = slots_of(kind)
    if slots:
        found = {**(found or {}), **{name: attribute(value, name, MISSING) for name in slots}}
    if isinstance(found, dict):
        found = {name: part for name, part in found.items() if not name.startswith(JITTED)}
    else:
        found = None
    inside = contents_of(value)
    return found if inside is None else [*inside, *(found or {}).values()]


def contents_of(value: Any) -> Any:
    """Return what an object of a subclass of a container, or another that is like one, holds; None if it is not."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values(), *([value.default_factory] if isinstance(value, defaultdict) else [])]
    if isinstance(value, (list, *LISTED)):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, *value.keywords.keys(), *value.keywords.values()]
    if isinstance(value, contextvars.ContextVar):
        return [value.get(MISSING)]
    if isinstance(value, MappingProxyType):
        return [*value.keys(), *value.values()]
    if isinstance(value, weakref.ref):
        return [value()]
    return value.reshape(-1).tolist() if isinstance(value, np.ndarray) and value.dtype == object else None


@functools.lru_cache(1024)
def is_opaque(kind: Any) -> bool:
    """Whether objects of a class of Python's own library are taken not to change: locks, loggers, dates."""
    top = kind.__module__.partition(".")[0]
    return top not in FOLLOWED and top in sys.stdlib_module_names and top not in ("__main__", "builtins")


@functools.lru_cache(1024)
def slots_of(kind: Any) -> tuple[str, ...]:
    """Return the attributes for which a class has slots."""
    bases = [base for base in kind.__mro__ if "__slots__" in vars(base)]
    return tuple(name for base in bases for name, part in vars(base).items() if isinstance(part, MemberDescriptorType))


def kind_of(value: Any) -> str:
    """Say what something is that has members."""
    kind = type(value).__name__
    return f"a {kind}" if isinstance(value, CONTAINERS) else f"an attribute of a {kind}"


@functools.lru_cache(1024)
def is_foreign(kind: Any) -> bool:
    """Whether a class is not the user's own."""
    module = sys.modules.get(kind.__module__)
    return is_library(kind.__module__) or (module is not None and is_installed(module))


def is_library(module: str) -> bool:
    """Whether a module, by its name, belongs to Python or to the libraries that are recorded."""
    top = module.partition(".")[0]
    return top in LIBRARIES or (top in sys.stdlib_module_names and top != "__main__")


def is_installed(module: ModuleType) -> bool:
    """Whether a module is not the user's own."""
    path = attribute(module, "__file__")
    return is_library(module.__name__) or (isinstance(path, str) and any(folder in path for folder in INSTALLED))


def same_members(one: Any, other: Any) -> bool:
    """Whether two lists or dicts hold the same objects, in the same order."""
    if len(one) != len(other) or not all(map(is_, one, other)):
        return False
    return not isinstance(one, dict) or all(map(is_, one.values(), other.values()))


@functools.lru_cache(4096)
def words_of(code: CodeType) -> set[str]:
    """Return the words in strings of a function that may find globals by them: globals()["c"], eval("c")."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    found = {word for part in inner for word in words_of(part)}
    if BY_NAME.intersection(code.co_names) or "modules" in code.co_names:
        texts = [constant for constant in code.co_consts if isinstance(constant, str)]
        found |= {word for text in texts for word in re.findall(r"[^\W\d]\w*", text)}
    return found


@functools.lru_cache(4096)
def looked_up_names(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the globals, and the names of attributes, that a function's code and the code of functions in it read."""
    named: set[str] = set()
    attributes: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
            named.add(instruction.argval)
        elif instruction.arg is not None and instruction.argval in code.co_names:
            attributes.add(instruction.argval)
    attributes |= {constant for constant in code.co_consts if type(constant) is str and constant.isidentifier()}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = looked_up_names(constant)
            named |= inner[0]
            attributes |= inner[1]
    return named, attributes
