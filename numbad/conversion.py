"""Who converts a recording value: the user by `float(x)`, or a function that asks for a float without saying so."""

from __future__ import annotations

import ast
import linecache
import sys
from types import FrameType

from numbad.errors import user_frame


def called_by_name(name: str) -> bool:
    """Whether the user's running statement is a call of the builtin `name`.

    `math.sin(x)` and `float(x)` both reach `__float__`; the first would lose the derivative
    silently. The call's own text is found through the positions that Python 3.11 keeps.
    """
    frame = user_frame()
    if frame is None or sys.version_info < (3, 11):
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
            module = (frame.f_globals.get("__name__") or "scipy").split("._")[0]
            name = f"{module}.{frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name}"
        frame = frame.f_back
    return name
