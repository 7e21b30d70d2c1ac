"""Conversion to plain values: text and whole numbers are decisions, and guarded; a float would lose the derivative."""

from __future__ import annotations

import ast
import functools
import linecache
import sys
import warnings
from dis import opname
from types import CodeType, FrameType
from typing import Any, NoReturn

import numpy as np

from numbad.errors import CURE, FRAMES, UNWRAP, NumbadError, message, user_frame
from numbad.ops.definition import BY_NAME
from numbad.recording.complaints import library_name, refusals
from numbad.recording.recorder import refuse
from numbad.recording.unfilled import objects_request, plain_request, unfilled
from numbad.tape.layout import MAP, row_elements

SUBSCRIPTS = {"BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR"}
GETTING = 26  # which of its operations BINARY_OP does for x[k], from Python 3.14 on
REMAINDERS = (6, 19)  # which of its operations BINARY_OP does for % and %=


@functools.lru_cache(1024)
def is_print_statement(code: CodeType, place: int) -> bool:
    """Whether a place of a function's code lies in a statement that is nothing but a call of print."""
    line, end_line, column, end_column = list(code.co_positions())[place // 2]
    if line is None or end_line is None or column is None or end_column is None or "print" not in code.co_names:
        return False
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            first, last = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
            if node.value.func.id == "print" and first <= (line, column) and (end_line, end_column) <= last:
                return all(map(is_screen, node.value.keywords))
    return False


def is_screen(keyword: ast.keyword) -> bool:
    """Whether what print is given does not lead its text to where the program may read it: file=buffer does."""
    target = keyword.value
    return keyword.arg != "file" or (isinstance(target, ast.Attribute) and target.attr in ("stdout", "stderr"))


def is_printed() -> bool:
    """Whether the running statement of the user prints or logs: what it makes of a value decides nothing."""
    frame = user_frame()
    if frame is None:
        return False
    if str(frame.f_globals.get("__name__")).partition(".")[0] == "logging":
        return True
    return frame.f_globals.get("print", print) is print and is_print_statement(frame.f_code, frame.f_lasti)


def is_formatted() -> bool:
    """Whether the running operation of the user is "..." % x: where x is the right operand of a number, it records."""
    frame = user_frame()
    if frame is None:
        return False
    operation, which = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return opname[operation] == "BINARY_OP" and which in REMAINDERS


def is_held(value: Any) -> bool:
    """Whether a recording number is the result of `numbad.stop_gradient`, or a constant: no derivative passes it."""
    recorder, address = value.recorder, value.address
    if address in (0, recorder.zeros) or address in recorder.constants.values():
        return True
    code, words = recorder.code, recorder.words
    held = BY_NAME["stop_gradient"].opcode
    for place in range(len(code) - 4, -1, -4):
        opcode, out = code[place], code[place + 1]
        if opcode < MAP and out < address:  # what comes before has smaller addresses
            return False
        if opcode == held and out == address:
            return True
        if opcode == MAP + held and out <= address < out + row_elements(words, code[place + 2]):
            return True
    return False


def library_function() -> str:
    """Return the function of SciPy that the user called and that is running, or pandas or xarray, "" for none."""
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None and frame is not user_frame():
        package = (frame.f_globals.get("__package__") or "").partition(".")[0]
        if package == "scipy" or package in FRAMES:
            name = library_name(frame)
        frame = frame.f_back
    return name


def concrete_float(value: Any) -> float:
    """Return float(x) where no derivative is lost by it: of truth values, of what is held constant, and for text."""
    if value.recorder.closed or value.boolean:
        return float(bool(value))
    if is_printed():
        return value.recorder.peek(value.address)
    if is_formatted() or is_held(value):
        return value.recorder.guard_value(value.address)
    refuse_in_library()
    return refuse_plain(
        *cure(
            "a recording value cannot become a plain float here: its derivative would be lost",
            "return the value itself, and use functions of NumPy, or write float(numbad.stop_gradient(x)) to hold it",
        )
    )


def refuse_plain(what: str, do: str) -> NoReturn:
    """Refuse a conversion; it is another error where a statement of the user's wants to fill a plain array."""
    asked = plain_request()
    if asked is not None:
        raise unfilled(message(what, do), asked.target, number=asked.number)
    refuse(what, do)


def cure(what: str, otherwise: str) -> tuple[str, str]:
    """Return what is wrong with the user's statement, and what to write in its place."""
    from numbad.recording.cures import cure_of_conversion

    return cure_of_conversion(what, otherwise)


def is_whole(dtype: Any) -> bool:
    """Whether an array of integers is asked for: np.int64(x), np.asarray(x, int); as with x.astype(int), a decision."""
    return dtype is not None and np.dtype(dtype).kind in "iu"


def is_key() -> bool:
    """Whether the running statement looks elements up by what is converted, or assigns to them: plain[x]."""
    code = sys._getframe(2).f_code.co_code
    operation, which = code[sys._getframe(2).f_lasti : sys._getframe(2).f_lasti + 2]
    return opname[operation] in SUBSCRIPTS or (opname[operation] == "BINARY_OP" and which == GETTING)


def refuse_conversion(dtype: Any) -> None:
    """Refuse np.asarray(x, dtype=float) and the like."""
    if dtype is not None and np.dtype(dtype) != object:
        refuse_in_library()
        refuse_plain(
            *cure(
                f"a recording value cannot be converted to a plain array of {np.dtype(dtype)}",
                "keep it as it is, build arrays with np.stack or numbad.array,"
                " import numbad.numpy as np, or give a function that converts it a rule (numbad.custom_vjp)",
            )
        )


def refuse_in_library() -> None:
    """Refuse a conversion inside of a function of SciPy by the name of that function."""
    name = library_function()
    if name:
        try:
            refuse(f"{name} does not take recording values", UNWRAP if name in FRAMES else CURE)
        except NumbadError as error:
            refusals.last = error
            raise


def refuse_objects(dtype: Any) -> None:
    """Have the function recorded again where a recording array may take the place of an array of objects."""
    if dtype is None and objects_request():
        what = "an array of objects would be made of recording values"
        raise unfilled(message(what, "use np.stack, np.concatenate or numbad.array"), objects=True)


_warned = False


def warn_object_array() -> None:
    """Say once that a recording array became an array of objects."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            message(
                "a recording array was converted to an array of objects (np.asarray or np.array); this is slow",
                "use the array as it is, or np.stack, np.concatenate or numbad.array",
            ),
            stacklevel=4,
        )
