"""Conversion to plain values: the user may write `float(x)`, a function that asks without saying so may not."""

from __future__ import annotations

import ast
import linecache
import sys
import warnings
from types import FrameType
from typing import Any

import numpy as np

from numbad.errors import CURE, NumbadError, library_name, message, refusals, user_frame
from numbad.recorder import refuse


def called_by_name(name: str) -> bool:
    """Whether the user's running statement is a call of the builtin `name`.

    `math.sin(x)` and `float(x)` both reach `__float__`; the first would lose the derivative
    silently. The call's own text is found through the positions that Python 3.11 keeps.
    """
    frame = user_frame()
    if frame is None:
        return False
    positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    line, end_line, column, end_column = positions
    if line is None or line != end_line or column is None or end_column is None:
        return False
    source = linecache.getline(frame.f_code.co_filename, line).encode()[column:end_column].decode()
    try:
        expression = ast.parse(source.strip(), mode="eval").body
    except SyntaxError:
        return False
    return isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id == name


def library_function() -> str:
    """Return the name of the function of SciPy that the user called and that is running, "" if there is none."""
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None and frame is not user_frame():
        if (frame.f_globals.get("__package__") or "").partition(".")[0] == "scipy":
            name = library_name(frame)
        frame = frame.f_back
    return name


def concrete_float(value: Any) -> float:
    """Return float(x) for indexing and printing; refuse where a compiled function asked for it."""
    if called_by_name("float"):
        return value.recorder.guard_value(value.address)
    refuse_in_library()
    return refuse(
        "a recording value cannot become a plain float here",
        "use np.sin instead of math.sin, and np.zeros_like(x), numbad.zeros(n) or a list for results,"
        " or import numbad.numpy as np",
    )


def is_whole(dtype: Any) -> bool:
    """Whether an array of integers is asked for: np.int64(x), np.asarray(x, int); as with x.astype(int), a decision."""
    return dtype is not None and np.dtype(dtype).kind in "iu"


def refuse_conversion(dtype: Any) -> None:
    """Refuse np.asarray(x, dtype=float) and the like."""
    if dtype is not None and np.dtype(dtype) != object:
        refuse_in_library()
        refuse(
            f"a recording value cannot be converted to a plain array of {np.dtype(dtype)}",
            "keep it as it is, build arrays with np.stack or numbad.array,"
            " import numbad.numpy as np, or give a function that converts it a rule (numbad.custom_vjp)",
        )


def refuse_in_library() -> None:
    """Refuse a conversion inside of a function of SciPy by the name of that function."""
    name = library_function()
    if name:
        try:
            refuse(f"{name} does not take recording values", CURE)
        except NumbadError as error:
            refusals.last = error
            raise


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
