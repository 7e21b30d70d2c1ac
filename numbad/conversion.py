"""Whether the user wrote `float(x)`, or a compiled function asks for a float without saying so."""

from __future__ import annotations

import ast
import linecache
import sys

from numbad.errors import RecordingError, message, user_frame


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


OWN_VERSIONS = {"logsumexp", "log_softmax"}  # functions of SciPy that take no array of objects


def refuse_in_scipy() -> None:
    """Refuse np.asarray(x) inside a function of SciPy that numbad has its own version of."""
    frame = user_frame()
    name = ""
    while frame is not None and (frame.f_globals.get("__package__") or "").partition(".")[0] == "scipy":
        name = frame.f_code.co_name
        frame = frame.f_back
    if name in OWN_VERSIONS and frame is not None:
        site = (frame.f_code, frame.f_lasti)
        raise RecordingError(
            message(f"scipy.special.{name} does not take recording values", f"write numbad.{name}, which does", site)
        ) from None
