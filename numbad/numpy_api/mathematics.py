"""Functions of Python's module `math`, and float(x), for recording numbers.

They take the places of Python's own in functions that are recorded again (`recording/filling.py`). Derivatives are
those of NumPy's functions. An argument outside of the domain, and a result that is too large, raise what Python raises.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from numbad.numpy_api import functions
from numbad.ops.arithmetic import identity
from numbad.recording.active import Active, involves
from numbad.recording.conversion import is_held
from numbad.recording.cures import of_math
from numbad.recording.division import catches_division, note_python_number
from numbad.recording.recorder import current

Function = Callable[..., Any]
NUMPY_HAS = (
    "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh exp exp2 expm1 log1p log2 log10 sqrt cbrt pow"
    " fmod fabs copysign degrees radians erf erfc gamma lgamma modf"
).split()  # of one or two numbers, by the function that `of_math` names


def number_of(value: Any, own: Function = float) -> Any:
    """Return a recording number, also that of an array of one element; the error is that of Python's own function."""
    if not isinstance(value, Active):
        return value
    return value.item() if value.size == 1 else own(np.zeros(value.shape))


def number_now(value: Any) -> Any:
    """Return the value that a number has now."""
    return value.value() if isinstance(value, Active) else value


def taking_numbers(own: Function, recorded: Function) -> Function:
    """Return a version of a function of numbers that records, and raises what Python's own raises."""

    @functools.wraps(own)
    def compute(*arguments: Any) -> Any:
        if current() is None or not involves(arguments):
            return own(*arguments)
        numbers = [number_of(value, own) for value in arguments]
        result = recorded(*numbers)
        parts = result if isinstance(result, tuple) else (result,)
        if catches_division():
            for part in parts:
                note_python_number(part)
        if not all(bool(np.isfinite(part)) for part in parts):
            own(*map(number_now, numbers))
        return result

    return compute


def numpy_function(name: str) -> Function:
    """Return the function of NumPy or SciPy that does what a function of math does."""
    module, _, inner = of_math(name).rpartition(".")
    if module == "np":
        found: Function = getattr(np, inner)
        return found

    def compute(*arguments: Any) -> Any:
        from scipy import special

        return getattr(special, inner)(*arguments)

    return compute


def log(x: Any, base: Any = None) -> Any:
    """As math.log."""
    return np.log(x) if base is None else np.log(x) / np.log(base)


def hypot(*coordinates: Any) -> Any:
    """As math.hypot."""
    return functools.reduce(np.hypot, coordinates, 0.0) if len(coordinates) != 1 else np.abs(coordinates[0])


def dist(p: Any, q: Any) -> Any:
    """As math.dist."""
    p, q = list(p), list(q)
    if current() is None or not involves((p, q)) or len(p) != len(q):
        return math.dist(p, q)
    return taking_numbers(math.hypot, hypot)(*(a - b for a, b in zip(p, q, strict=True)))


def fsum(seq: Iterable[Any]) -> Any:
    """As math.fsum, but for the last digits."""
    values = list(seq)
    if current() is None or not involves(values):
        return math.fsum(values)
    return taking_numbers(lambda *numbers: math.fsum(numbers), lambda *numbers: np.sum(numbers))(*values)


def deciding(own: Function, recorded: Function) -> Function:
    """Return a version of a function that answers yes or no: the answer is guarded."""

    @functools.wraps(own)
    def answer(*arguments: Any, **keywords: Any) -> bool:
        if current() is None or not (involves(arguments) or involves(keywords.values())):
            return own(*arguments, **keywords)  # type: ignore[no-any-return]
        return bool(recorded(*(number_of(value, own) for value in arguments), **keywords))

    return answer


def isclose(a: Any, b: Any, *, rel_tol: Any = 1e-9, abs_tol: Any = 0.0) -> Any:
    """As math.isclose."""
    math.isclose(0.0, 0.0, rel_tol=number_now(rel_tol), abs_tol=number_now(abs_tol))  # no negative ones
    apart = np.abs(a - b)
    limit = np.maximum(rel_tol * np.maximum(np.abs(a), np.abs(b)), abs_tol)
    return np.logical_or(np.equal(a, b), np.logical_and(np.isfinite(apart), apart <= limit))


def to_float(x: Any = 0.0, /) -> Any:
    """As float: a recording number goes on recording; truth values, and what is held constant, become plain numbers."""
    if current() is None or not isinstance(x, Active) or x.boolean:
        return float(x)
    number = number_of(x)
    if is_held(number):
        return float(number)
    if catches_division():  # a division of it by zero is Python's error, one of x by zero is not
        number = identity(number)
        note_python_number(number)
    return number


def to_numpy(kind: type[np.floating[Any]]) -> Function:
    """Return a version of np.float64 or np.float32."""

    def convert(*arguments: Any) -> Any:
        if current() is None or not involves(arguments) or len(arguments) != 1:
            return kind(*arguments)
        if isinstance(arguments[0], Active) and arguments[0].boolean:
            return kind(np.asarray(arguments[0]))
        found: Any = functions.asarray(arguments[0], kind)
        return found if found.ndim else found.item()

    convert.__name__ = kind.__name__
    return convert


def replacements() -> dict[int, tuple[Any, Any]]:
    """Return functions of math, float and NumPy's, by their identities, and what takes their places."""
    found = {
        name: taking_numbers(getattr(math, name), numpy_function(name)) for name in NUMPY_HAS if hasattr(math, name)
    }
    found |= {"log": taking_numbers(math.log, log), "hypot": taking_numbers(math.hypot, hypot)}
    found |= {name: deciding(getattr(math, name), getattr(np, name)) for name in ("isfinite", "isinf", "isnan")}
    found |= {"dist": dist, "fsum": fsum, "isclose": deciding(math.isclose, isclose)}
    table = {getattr(math, name): function for name, function in found.items()}
    table |= {float: to_float, np.float64: to_numpy(np.float64), np.float32: to_numpy(np.float32)}
    return {id(own): (own, ours) for own, ours in table.items()}
