"""Errors of numbers that a program wants to be told of: np.errstate(all="raise"), warnings that are errors.

A recording computes nothing on the way and warns of nothing, as long as NumPy would do no more than warn. Where NumPy
would raise, print or call something, each operation is computed as it is recorded, by NumPy and under the program's own
settings, so that it raises there; which errors it met is guarded. Nothing is asked of a recorder otherwise: the few
functions of NumPy and Python that change the settings are taught to tell it.

Python's own ZeroDivisionError is raised where the program may catch it; elsewhere a division by zero is NumPy's.
"""

from __future__ import annotations

import dis
import functools
import threading
import warnings
from collections.abc import Callable
from sys import _getframe
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.errors import INTERNAL
from numbad.ops.definition import REGISTRY, find_ufunc
from numbad.tape.layout import ADD, CONTRACT, HOST, MAP

if TYPE_CHECKING:
    from numbad.recording.recorder import Recorder

KINDS = {"divide": "divide by zero", "over": "overflow", "under": "underflow", "invalid": "invalid value"}
LARGEST = np.array([np.finfo(float).max, np.finfo(float).max])
DERIVING = {
    "numbad.emission.linear",
    "numbad.emission.emitter",
    "numbad.emission.regions",
    "numbad.emission.templates",
    "numbad.transforms.batching",
    "numbad.sweeps.linearised",
}
BY_NAME = {"square": np.square, "power_by_constant": np.power}
SUMS = "numbad.ops.reductions"

strict = False  # whether a program has ever asked to be told; from then on recorders look when they begin
taught = False
_thread = threading.local()  # whether the thread just asks NumPy which errors there are


def watched() -> tuple[str, ...]:
    """Return the kinds of errors of which NumPy does more than warn now, or whose warnings are errors."""
    warn = warning_is_error()
    return tuple(kind for kind, how in np.geterr().items() if how not in ("ignore", "warn") or (how == "warn" and warn))


def asked() -> tuple[str, ...]:
    """Return what `watched` does; quickly where no program has ever asked to be told of errors."""
    return watched() if strict else ()


def warning_is_error() -> bool:
    """Whether a RuntimeWarning may be raised, as far as the filters tell without the place of the warning."""
    for action, text, category, module, line in warnings.filters:
        if issubclass(RuntimeWarning, category):
            if action == "error":
                return True
            if text is None and module is None and not line:
                return False
    return False


def begin(recorder: Recorder) -> None:
    """Let a recorder watch its rows if the program wants to be told of errors."""
    global strict
    if not taught:
        teach()
        strict = bool(watched())
    if strict and watched():
        recorder.extend = functools.partial(watch, recorder)


def notice() -> None:
    """Look at settings that have just been changed."""
    global strict
    from numbad.recording.recorder import current

    if not getattr(_thread, "asking", False) and watched():
        strict = True
        recorder = current()
        if recorder is not None and not recorder.closed:
            recorder.extend = functools.partial(watch, recorder)


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
        if frame.f_globals.get("__name__") in DERIVING:
            return True
        frame = frame.f_back
    return False


def check_row(recorder: Recorder, row: int, kinds: tuple[str, ...]) -> None:
    """Compute a row by NumPy, guard which errors it met, and let NumPy treat them as the program wants."""
    from numbad.numpy_api.decisions import decide

    name, operands = operation(recorder, row)
    if not operands:
        return
    met = decide("errors_met", *operands, of=name, kinds=kinds)
    if any(met):
        compute(name, [np.asarray(part.value()) for part in operands])


def operation(recorder: Recorder, row: int) -> tuple[str, list[Any]]:
    """Return the name of a row's operation and its operands as recording values; none where it meets no errors."""
    from numbad.recording.arrays import make_block, strided
    from numbad.recording.scalars import make_scalar

    opcode, out, a, b = recorder.code[4 * row : 4 * row + 4]
    if opcode < MAP:
        op = REGISTRY[opcode]
        return op.name, [make_scalar(recorder, at) for at in (a, b)[: op.arity]] if ufunc_of(op.name) else []
    if opcode < 2 * MAP or opcode in (ADD, CONTRACT):
        name = REGISTRY[opcode - MAP].name if opcode < 2 * MAP else "sum" if opcode == ADD else "product"
        if opcode < 2 * MAP and not ufunc_of(name):
            return name, []
        words = recorder.words[a : a + recorder.words[a]]
        axes = words[2]
        shape = tuple(words[4 : 4 + axes])
        parts = []
        for k in range(b if opcode < 2 * MAP else b - 1):
            d = 4 + axes + (k + 1) * (3 + axes)
            parts.append(strided(recorder, words[d + 1], words[d + 2], shape, tuple(words[d + 3 : d + 3 + axes])))
        if opcode >= 2 * MAP:  # the block that is added to is the first operand of the question whether it overflowed
            parts.append(make_block(recorder, out, (max(words[3], 1),)))
        return name, parts
    if opcode == HOST:
        call = recorder.hosts[recorder.words[a + 1]]
        if getattr(getattr(getattr(call, "op", None), "primal", None), "__module__", "") == SUMS:
            places = [tuple(recorder.words[a + 4 + 3 * k : a + 7 + 3 * k]) for k in range(recorder.words[a + 2] + 1)]
            shapes = [*call.operand_shapes, call.result_shapes[0]]
            parts = [strided(recorder, s, at, (n,), (1,)) for (s, at, n), _ in zip(places, shapes, strict=True)]
            return "sum", parts
    return "", []


def ufunc_of(name: str) -> Any:
    """Return NumPy's ufunc of an op; None where there is none."""
    from numbad.ops.definition import BY_NAME as OPS

    if name in BY_NAME:
        return BY_NAME[name]
    path = OPS[name].ufunc
    return find_ufunc(path) if path else None


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


# ---------------------------------------------------------------- Python's own error

CATCHES = frozenset(("ZeroDivisionError", "ArithmeticError", "Exception", "BaseException"))
HANDLER, CONTEXT = dis.opmap["PUSH_EXC_INFO"], dis.opmap["WITH_EXCEPT_START"]
MATCH = dis.opmap["CHECK_EXC_MATCH"]
PYTHONS = frozenset(("add", "subtract", "multiply", "multiply_by_constant", "divide", "floor_divide", "remainder",
                     "negative", "absolute", "square", "squared_root", "identity", "power",
                     "power_by_constant"))  # fmt: skip


def catches_division() -> bool:
    """Whether a function of the program that is running may catch a ZeroDivisionError."""
    frame: Any = _getframe(2)
    while frame is not None and frame.f_globals.get("__package__") not in INTERNAL:
        if frame.f_code.co_exceptiontable and has_handler(frame.f_code):
            return True
        frame = frame.f_back
    return False


def has_handler(code: Any) -> bool:
    """Whether a function has a handler for ZeroDivisionError, for all exceptions, or for some that it does not name."""
    steps = code.co_code[::2]
    handlers = steps.count(HANDLER) - steps.count(CONTEXT)
    if handlers <= 0:
        return False
    named = [name for name in code.co_names if name.endswith(("Error", "Exception", "Warning"))]
    return not named or not CATCHES.isdisjoint(named) or handlers > steps.count(MATCH)


def refuse_zero(number: Any, divisor: Any, what: str) -> None:
    """Raise Python's error where a number of Python's is divided by zero, and guard that it is not."""
    from numbad.recording.scalars import Scalar

    if not (is_python_number(number) and is_python_number(divisor)):
        return
    nonzero = divisor != 0.0
    if not (bool(nonzero) if isinstance(nonzero, Scalar) else nonzero):
        raise ZeroDivisionError(what)


def is_python_number(value: Any) -> bool:
    """Whether a number is Python's own when nothing is recorded: made by operators from inputs that are."""
    if type(value) in (float, int):
        return True
    recorder = getattr(value, "recorder", None)
    if recorder is None or value.shape or not hasattr(value, "address"):
        return False
    given = set(recorder.numbers[::2]) - recorder.wide
    pending, row = {value.address}, len(recorder.code) - 4
    given.add(0)
    while row >= 0 and not pending <= given:
        opcode, out, a, b = recorder.code[row : row + 4]
        if opcode < MAP and out in pending:
            if REGISTRY[opcode].name not in PYTHONS:
                return False
            pending.remove(out)
            pending |= {a, b}
        row -= 4
    return pending <= given


# ---------------------------------------------------------------- functions that change the settings


def teach() -> None:
    """Teach the functions that change the settings to tell a recorder of it."""
    global taught
    from numbad.recording.teaching import dispatching_code

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
