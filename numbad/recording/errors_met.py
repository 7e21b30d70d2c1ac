"""Errors that an operation meets, where a program asked NumPy to raise them: found as its row is recorded, and guarded.

A recording computes nothing on the way and warns of nothing, as long as NumPy would do no more than warn. Where NumPy
would raise, print or call something, each operation is computed as it is recorded, by NumPy and under the program's own
settings, so that it raises there; which errors it met is guarded. Nothing is asked of a recorder otherwise: the few
functions of NumPy and Python that change the settings are taught to tell it.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from sys import _getframe
from types import FunctionType
from typing import Any

import numpy as np

from numbad.ops.definition import BY_NAME, REGISTRY, find_ufunc
from numbad.recording import strictness
from numbad.recording.arrays import make_block, strided
from numbad.recording.decisions import decide, decision
from numbad.recording.recorder import Recorder, beginnings, current
from numbad.recording.scalars import make_scalar
from numbad.recording.strictness import watched
from numbad.recording.teaching import dispatching_code
from numbad.tape.layout import (
    ADD,
    CONTRACT,
    HOST,
    MAP,
    host_call,
    host_places,
    row_cleared,
    row_operands,
    row_shape,
)

taught = False
_thread = threading.local()  # whether the thread just asks NumPy which errors there are

KINDS = {"divide": "divide by zero", "over": "overflow", "under": "underflow", "invalid": "invalid value"}
LARGEST = np.array([np.finfo(float).max, np.finfo(float).max])
DERIVING = {"numbad.transforms.batching", "numbad.sweeps.linearised"}  # and all modules of emission
SUMS = "numbad.ops.reductions"


def watch(recorder: Recorder, row: Any) -> None:
    """Append rows; compute operations of the program among them, and guard and raise the errors that they meet."""
    usual = recorder.appender()
    first = len(recorder.code) // 4
    usual(row)
    kinds = watched()
    if not kinds:
        recorder.extend = usual
        return
    if derives():
        return
    recorder.extend = usual  # for the rows of guards
    try:
        for k in range(first, len(recorder.code) // 4):
            check_row(recorder, k, kinds)
    finally:
        if not recorder.closed:
            recorder.extend = functools.partial(watch, recorder)


def derives() -> bool:
    """Whether it is a derivative that appends rows, which is no operation of the program."""
    frame: Any = _getframe(2)
    while frame is not None:
        package = frame.f_globals.get("__package__") or ""
        if not package.startswith("numbad"):
            return False
        if package == "numbad.emission" or frame.f_globals.get("__name__") in DERIVING:
            return True
        frame = frame.f_back
    return False


def check_row(recorder: Recorder, row: int, kinds: tuple[str, ...]) -> None:
    """Compute a row by NumPy, guard which errors it met, and let NumPy treat them as the program wants."""
    name, operands = operation(recorder, row)
    if not operands:
        return
    met = decide("errors_met", *operands, of=name, kinds=kinds)
    if any(met):
        compute(name, [np.asarray(part.value()) for part in operands])


def operation(recorder: Recorder, row: int) -> tuple[str, list[Any]]:
    """Return the name of a row's operation and its operands as recording values; none where it meets no errors."""
    opcode, out, a, b = recorder.code[4 * row : 4 * row + 4]
    words = recorder.words
    if opcode < MAP:
        op = REGISTRY[opcode]
        return op.name, [make_scalar(recorder, at) for at in (a, b)[: op.arity]] if ufunc_of(op.name) else []
    if opcode < 2 * MAP or opcode in (ADD, CONTRACT):
        name = REGISTRY[opcode - MAP].name if opcode < 2 * MAP else "sum" if opcode == ADD else "product"
        if opcode < 2 * MAP and not ufunc_of(name):
            return name, []
        shape = row_shape(words, a)
        parts = [strided(recorder, space, at, shape, steps) for space, at, steps in row_operands(words, a)[1:]]
        if opcode >= 2 * MAP:  # the block that is added to is the first operand of the question whether it overflowed
            parts.append(make_block(recorder, out, (max(row_cleared(words, a), 1),)))
        return name, parts
    if opcode == HOST:
        call = recorder.hosts[host_call(words, a)]
        if getattr(getattr(getattr(call, "op", None), "primal", None), "__module__", "") == SUMS:
            read, results = host_places(words, a)
            return "sum", [strided(recorder, space, at, (n,), (1,)) for space, at, n in (*read, results[0])]
    return "", []


def ufunc_of(name: str) -> Any:
    """Return NumPy's ufunc of an op; None where there is none."""
    op = BY_NAME[name]
    return np.power if op.symbol == "**" else find_ufunc(op.ufunc) if op.ufunc else None


@decision
def errors_met(*values: Any, of: str, kinds: tuple[str, ...]) -> tuple[bool, ...]:
    """Return which kinds of errors an operation meets; those of sums and products are told by their results."""
    if of in ("sum", "product"):
        *operands, found = values
        fine = not any(np.isnan(part).any() for part in operands)
        finite = all(np.isfinite(part).all() for part in operands)
        over = finite and not np.isfinite(found).all()
        met = {"overflow": over, "invalid value": fine and not over and bool(np.isnan(found).any())}
        return tuple(met.get(KINDS[kind], False) for kind in kinds)
    seen: list[str] = []
    _thread.asking = True
    try:
        with np.errstate(all="call", call=lambda text, _: seen.append(text)):
            ufunc_of(of)(*values)
    finally:
        _thread.asking = False
    return tuple(KINDS[kind] in seen for kind in kinds)


def compute(name: str, values: list[Any]) -> None:
    """Compute an operation under the program's settings: NumPy raises, prints or calls what they name."""
    if name not in ("sum", "product"):
        ufunc_of(name)(*values)
    elif np.isnan(values[-1]).any():
        np.add.reduce(np.array([np.inf, -np.inf]))
    else:
        np.add.reduce(LARGEST)


def begin(recorder: Recorder) -> None:
    """Let a recorder watch its rows if the program wants to be told of errors."""
    if not taught:
        teach()
        strictness.strict = bool(watched())
    if strictness.strict and watched():
        recorder.extend = functools.partial(watch, recorder)


def notice() -> None:
    """Look at settings that have just been changed."""
    if not getattr(_thread, "asking", False) and watched():
        strictness.strict = True
        recorder = current()
        if recorder is not None and not recorder.closed:
            recorder.extend = functools.partial(watch, recorder)


def teach() -> None:
    """Teach the functions that change the settings to tell a recorder of it."""
    global taught
    taught = True
    for function in (np.errstate.__enter__, np.seterr, warnings.simplefilter, warnings.filterwarnings):
        if isinstance(function, FunctionType):
            function.__code__ = dispatching_code(function, telling(own_copy(function)))
    decorate = np.errstate.__call__
    if isinstance(decorate, FunctionType):
        decorate.__code__ = dispatching_code(decorate, decorating(own_copy(decorate)))


def own_copy(function: FunctionType) -> FunctionType:
    """Return a function with the code that another has now."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def telling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is called in place of a function that changes the settings."""

    def change(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        found = function(*arguments, **keywords)
        if getattr(arguments[0] if arguments else None, "_all", None) != "ignore":  # numbad's own, and cheap to tell
            if not _getframe(2).f_globals.get("__name__", "").startswith("numpy."):  # np.linalg.solve, for one
                notice()
        return found

    return change


def decorating(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is called in place of np.errstate as a decorator, which enters without `__enter__`."""

    def decorate(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        state, decorated, *rest = arguments

        @functools.wraps(decorated)
        def told(*given: Any, **named: Any) -> Any:
            notice()
            return decorated(*given, **named)

        return function(state, told, *rest, **keywords)

    return decorate


beginnings.append(begin)
