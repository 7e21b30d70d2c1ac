"""Twins: functions of Python that compute on recording values what Numba's machine code computes of numbers.

A twin has the source of the function, its variables and its defaults, and code of its own, in which operators and what
is called pass through numbad (see `arithmetic` and `replacing`). Numba never meets it, so it may be given hooks as
any function of the user's is (`recording/filling.py`). Lines and columns are those of the source.
"""

from __future__ import annotations

import dis
import functools
import weakref
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from numbad.errors import RecordingError, message
from numbad.numba_api.arithmetic import Operation
from numbad.numba_api.replacing import External, is_external, is_users_function, table
from numbad.recording.borrowing import sample, written
from numbad.recording.exchange import join, own_code
from numbad.recording.rewriting import (
    KERNELS,
    Hook,
    calling,
    is_called,
    is_subscript,
    loading,
    loads,
    noted,
    plain_code,
)

Twins = dict[tuple[bool, bool], FunctionType]
MISSING: Any = object()
CAPTURING = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"}

_codes: dict[tuple[int, bool], tuple[weakref.ref[CodeType], CodeType]] = {}
_functions: weakref.WeakKeyDictionary[FunctionType, Twins] = weakref.WeakKeyDictionary()
_views: dict[int, tuple[weakref.ref[np.ndarray], np.ndarray]] = {}


# ---------------------------------------------------------------- code


class Called(Hook):
    """Behind what loads a function to be called: what Numba has under this name."""

    __slots__ = ("raising",)

    def __init__(self, raising: bool) -> None:
        super().__init__()
        self.raising = raising

    def __or__(self, value: Any) -> Any:
        found = table().get(id(value))
        if found is not None:
            return found[1]
        if is_users_function(value) and id(own_code(value)) not in KERNELS:
            refuse_overloaded(value)
            return twin_of(value, self.raising)
        return External(value) if is_external(value) else value


def refuse_overloaded(function: FunctionType) -> None:
    """Refuse a function that stands for another one in what Numba compiles (`numba.extending.overload`)."""
    from numba.core.registry import cpu_target

    try:
        found = cpu_target.typing_context.resolve_value_type(function)
    except Exception:  # Numba knows nothing of it, or cannot tell
        return
    for template in getattr(found, "templates", ()):
        written = getattr(template, "_overload_func", None)
        if written is not None and written.__module__ != "numba.core.extending":  # where register_jitable has its own
            raise RecordingError(
                message(
                    f"what Numba compiles for {function.__name__} is another function, which numba.extending.overload"
                    " gives it",
                    "call the other function, or give the one that is differentiated a rule with numbad.custom_vjp",
                )
            )


class Captured(Hook):
    """Behind what loads a global or a variable of an enclosing function: arrays among them are constants."""

    __slots__ = ()

    def __or__(self, value: Any) -> Any:
        return constant_view(value) if type(value) is np.ndarray else value


def constant_view(array: np.ndarray) -> np.ndarray:
    """Return a view of an array that cannot be written to, always the same one."""
    known = _views.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    view = array.view()
    view.flags.writeable = False
    place = id(array)
    _views[place] = weakref.ref(array), view
    return view


CAPTURED = Captured()


def kernel_code(code: CodeType, raising: bool) -> CodeType:
    """Return the code of a twin; it lives as long as the function's own."""
    known = _codes.get((id(code), raising))
    if known is not None and known[0]() is code:
        return known[1]
    place = id(code), raising
    found = changed_code(code, raising)
    _codes[place] = weakref.ref(code, lambda _: _codes.pop(place, None)), found
    return found


def changed_code(code: CodeType, raising: bool) -> CodeType:
    """Return code in which operators, and what is loaded to be called, pass through numbad."""
    from bytecode import Bytecode, Instr

    listing = Bytecode.from_code(code)
    steps = [step for step in listing if isinstance(step, Instr)]
    places = {id(step): k for k, step in enumerate(steps)}
    changed: list[Any] = []
    for step in listing:
        changed += changed_step(steps, places[id(step)], raising) if isinstance(step, Instr) else [step]
    listing[:] = changed
    return noted(listing.to_code(), KERNELS)


def changed_step(steps: list[Any], k: int, raising: bool) -> list[Any]:
    """Return the instructions for one."""
    from bytecode import Instr

    step = steps[k]
    if step.name == "LOAD_CONST" and isinstance(step.arg, CodeType):
        inner: Any = changed_code(step.arg, raising)
        return [Instr(step.name, inner, location=step.location)]
    if step.name == "BINARY_OP" and not is_subscript(step):
        operation = Operation(step.arg.name, raising)
        return [Instr("BUILD_TUPLE", 2, location=step.location), *calling(operation, step.location)]
    if loads(steps, k) and is_called(steps, k):
        return loading(step, Called(raising))
    if step.name in CAPTURING:
        return loading(step, CAPTURED)
    return [step]


# ---------------------------------------------------------------- functions


def twin_of(function: FunctionType, raising: bool, own: bool = False, kept: Twins | None = None) -> FunctionType:
    """Return the twin of a function, which is made once and kept by whoever asks.

    Parameters
    ----------
    function : FunctionType
        The user's own.
    raising : bool
        Whether divisions of numbers by zero raise.
    own : bool
        Whether operators stay Python's own, as in Numba's object mode.
    kept : dict, optional
        The twins of this function; those of all functions that have none of their own.

    Returns
    -------
    FunctionType
        It shares variables and globals with the function.
    """
    known = _functions.setdefault(function, {}) if kept is None else kept
    found = known.get((raising, own))
    if found is None:
        code = plain_code(own_code(function))
        made = noted(code.replace(), KERNELS) if own else kernel_code(code, raising)
        found = FunctionType(made, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
        found.__kwdefaults__, found.__qualname__ = function.__kwdefaults__, function.__qualname__
        found.__module__ = function.__module__
        known[raising, own] = found
        join(found)
    return found


# ---------------------------------------------------------------- constants


class Constants:
    """The globals and the variables of enclosing functions that a function names, which Numba takes for constants."""

    def __init__(self, function: FunctionType) -> None:
        self.function = function
        code = plain_code(own_code(function))
        self.names = sorted(set(global_names(code)) & function.__globals__.keys())
        self.cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        self.values = dict(self.current())
        self.arrays = {
            name: (value, value.shape, sample(value))
            for name, value in self.values.items()
            if isinstance(value, np.ndarray) and value.dtype != object
        }

    def current(self) -> Iterator[tuple[str, Any]]:
        """Give names and the values that they have now."""
        for name in self.names:
            yield name, self.function.__globals__.get(name, MISSING)
        for name, cell in self.cells.items():
            try:
                yield name, cell.cell_contents
            except ValueError:
                yield name, MISSING

    def changed(self) -> str:
        """Return the name of what is not what it was; an empty string if all is."""
        for name, value in self.current():
            before = self.values[name]
            if value is not before and before is not MISSING and not same(value, before):
                return name
        for name, (array, shape, copy) in self.arrays.items():
            if array.shape != shape or written(array, copy):
                return name
        return ""


def same(value: Any, before: Any) -> bool:
    """Whether two objects are the same constant."""
    if type(value) is not type(before) or isinstance(value, (FunctionType, ModuleType)):
        return False
    if isinstance(value, (bool, int, float, complex, str, np.generic)):
        return bool(value == before) or bool(value != value and before != before)
    return False


@functools.lru_cache(4096)
def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the globals that a function and those inside of it read."""
    found = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found += global_names(constant)
    return tuple(found)


def refuse_changed(function: Any, name: str) -> None:
    """Refuse a kernel whose constants have changed since Numba compiled it."""
    raise RecordingError(
        message(
            f"{name}, which the Numba function {function.__name__} reads, is not what it was when Numba compiled it:"
            " Numba goes on with the earlier value",
            f"call {function.__name__}.recompile(), or make {name} an argument",
        )
    )
