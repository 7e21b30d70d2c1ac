"""What to write instead of a statement that would make plain numbers of recording values: the likeliest cure, and one.

The running instruction tells an assignment to elements from a call, and its place in the text which function is called.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import math
from dis import opname
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from numbad.errors import user_frame

ELSEWHERE = {
    **{name: f"np.arc{name[1:]}" for name in ("acos", "asin", "atan", "atan2", "acosh", "asinh", "atanh")},
    "pow": "np.power",
    "fsum": "np.sum",
    "dist": "np.linalg.norm(x - y)",
    "gcd": "np.gcd",
    "comb": "scipy.special.comb",
    **{name: f"scipy.special.{name}" for name in ("erf", "erfc", "gamma")},
    "lgamma": "scipy.special.gammaln",
}  # functions of math that NumPy has under another name, or not at all
SHIFTED = {
    "normal": "loc + scale * rng.standard_normal(size)",
    "lognormal": "np.exp(mean + sigma * rng.standard_normal(size))",
    "multivariate_normal": "mean + np.linalg.cholesky(cov) @ rng.standard_normal(len(mean))",
    "uniform": "low + (high - low) * rng.random(size)",
    "exponential": "scale * rng.standard_exponential(size)",
    "rayleigh": "scale * rng.rayleigh(size=size)",
    "weibull": "rng.standard_exponential(size) ** (1.0 / a)",
    "pareto": "np.exp(rng.standard_exponential(size) / a) - 1.0",
    **{name: f"loc + scale * rng.{name}(size=size)" for name in ("laplace", "logistic", "gumbel")},
}  # draws of numbers that do not depend on the parameters, and what makes those of them
HELD = "write float(numbad.stop_gradient(x)) to hold it constant"
MAKERS = (np.array, np.asarray, np.asanyarray, np.ascontiguousarray)


class Called(NamedTuple):
    """The function that a user's statement calls, and the text that names it there."""

    function: Any
    text: str


def assigns_elements(frame: FrameType) -> bool:
    """Whether the running instruction assigns elements: y[0] = x."""
    return opname[frame.f_code.co_code[frame.f_lasti]].startswith("STORE_S")


def running_text(frame: FrameType) -> str:
    """Return the text of the running operation, "" if the source is not there."""
    line, end_line, column, end_column = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    if line is None or end_line is None or column is None or end_column is None:
        return ""
    lines = [text.encode() for text in linecache.getlines(frame.f_code.co_filename)[line - 1 : end_line]]
    if len(lines) != end_line - line + 1:
        return ""
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    return b"".join(lines).decode(errors="replace")


def find_called(frame: FrameType) -> Called | None:
    """Return the function that the running operation calls; None where that is no name, or no call."""
    try:
        node = ast.parse(f"({running_text(frame)})", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(node, ast.Call):
        return None
    return Called(look_up(node.func, frame), ast.unparse(node.func))


def look_up(node: ast.expr, frame: FrameType) -> Any:
    """Return what a name stands for, or an attribute of a module or a generator of random numbers; else None."""
    if isinstance(node, ast.Name):
        for table in (frame.f_locals, frame.f_globals, vars(builtins)):
            if node.id in table:
                return table[node.id]
    if isinstance(node, ast.Attribute):
        owner = look_up(node.value, frame)
        if isinstance(owner, ModuleType) or is_random(owner):
            return getattr(owner, node.attr, None)
    if isinstance(node, ast.Call) and look_up(node.func, frame) is np.random.default_rng:
        return np.random.Generator
    return None


def is_random(value: Any) -> bool:
    """Whether something is one of NumPy's generators of random numbers, or their class."""
    kinds = (np.random.Generator, np.random.RandomState)
    return isinstance(value, kinds) or any(value is kind for kind in kinds)


def cure_of_conversion(what: str, otherwise: str) -> tuple[str, str]:
    """Return what is wrong with the user's statement that makes a plain value of a recording one, and what to do."""
    frame = user_frame()
    if frame is None:
        return what, otherwise
    if assigns_elements(frame):
        what = "a recording value is assigned to an element of a plain array, which cannot hold it"
        return what, "make it with np.zeros_like(x) or numbad.zeros(shape), or import numbad.numpy as np"
    called = find_called(frame)
    if called is None or called.function is None:
        return what, otherwise
    function, text = called
    name = getattr(function, "__name__", text)
    if function is float:
        return what, f"return the value itself where this is float(x), or {HELD}"
    if getattr(math, name, None) is function:
        return what, f"write {of_math(name)} instead of {text}"
    if is_draw(function):
        return of_random(text, name)
    if any(function is maker for maker in MAKERS):
        return what, "leave dtype away, or build the array with np.stack or numbad.array"
    if isinstance(function, type) and issubclass(function, np.generic):
        return what, f"use the value itself where this is {text}(x)"
    return what, otherwise


def of_math(name: str) -> str:
    """Return the name of what is recorded for a function of the module math."""
    return ELSEWHERE.get(name) or (f"np.{name}" if hasattr(np, name) else "functions of NumPy that compute it")


def is_draw(function: Any) -> bool:
    """Whether a function draws random numbers."""
    owner = getattr(function, "__self__", None)
    qualified = str(getattr(function, "__qualname__", ""))
    return is_random(owner) or qualified.startswith(("Generator.", "RandomState."))


def of_random(text: str, name: str) -> tuple[str, str]:
    """Say of random numbers whose parameters are recording values how they depend on these."""
    what = f"{text} draws plain numbers, in which the derivative with respect to its parameters would be lost"
    found = SHIFTED.get(name)
    if found is not None:
        return what, f"draw what does not depend on the parameters, and make the numbers of it: {found}"
    return what, f"{HELD}, and differentiate the logarithm of the probability of what was drawn"
