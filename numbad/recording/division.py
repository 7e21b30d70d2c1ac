"""Python's own ZeroDivisionError: raised where the program may catch it; elsewhere a division by zero is NumPy's."""

from __future__ import annotations

import dis
from sys import _getframe
from typing import Any

from numbad.errors import INTERNAL
from numbad.ops.definition import REGISTRY
from numbad.recording.scalars import Scalar
from numbad.tape.layout import MAP

CATCHES = frozenset(("ZeroDivisionError", "ArithmeticError", "Exception", "BaseException"))
HANDLER, CONTEXT = dis.opmap["PUSH_EXC_INFO"], dis.opmap["WITH_EXCEPT_START"]
MATCH = dis.opmap["CHECK_EXC_MATCH"]


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
    if not (is_python_number(number) and is_python_number(divisor)):
        return
    nonzero = divisor != 0.0
    if not (bool(nonzero) if isinstance(nonzero, Scalar) else nonzero):
        raise ZeroDivisionError(what)


def note_python_number(number: Any) -> None:
    """Remember that a recording number is Python's own when nothing is recorded: float(x), or math.sqrt(x)."""
    number.recorder.floats |= {number.address}


def is_python_number(value: Any) -> bool:
    """Whether a number is Python's own when nothing is recorded: made by operators from inputs that are."""
    if type(value) in (float, int):
        return True
    recorder = getattr(value, "recorder", None)
    if recorder is None or value.shape or not hasattr(value, "address"):
        return False
    given = (set(recorder.numbers[::2]) - recorder.wide) | recorder.floats
    pending, row = {value.address}, len(recorder.code) - 4
    given.add(0)
    while row >= 0 and not pending <= given:
        opcode, out, a, b = recorder.code[row : row + 4]
        if opcode < MAP and out in pending:
            if not REGISTRY[opcode].python:
                return False
            pending.remove(out)
            pending |= {a, b}
        row -= 4
    return pending <= given
