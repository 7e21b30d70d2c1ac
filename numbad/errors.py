"""What can go wrong, said in three parts: what, where in the user's code, what to do."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

GENERATES = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class NumbadError(Exception):
    """Base of all errors that numbad raises on its own account."""


class RecordingError(NumbadError, TypeError):
    """The function does something that cannot be recorded."""


class MissingError(RecordingError, AttributeError):
    """An attribute of NumPy's arrays that recording values lack."""


class InputError(NumbadError, TypeError):
    """An argument that is not differentiable: integers, complex numbers, text, other objects."""


class OutputError(NumbadError, TypeError):
    """The function returned something that this derivative is not defined for."""


class LeakError(NumbadError, RuntimeError):
    """A recording value was used after its recording had ended, or in another one."""


class BranchError(NumbadError, RuntimeError):
    """A replayed tape met a comparison that came out otherwise than when it was recorded, at `site`."""

    site: Any = None


class NonFiniteError(NumbadError, FloatingPointError):
    """A value, cotangent or tangent that is NaN or infinite, while `numbad.debug_nans` is on."""


class TapeError(NumbadError, ValueError):
    """A tape that does not pass verification."""


class InternalError(NumbadError, RuntimeError):
    """The checked build has seen compiled code touch memory that it was not given, or that nobody has written."""


INTERNAL = {"numbad", "numbad.ops", "numbad.numpy_api", "numbad.scipy_api"}  # packages whose frames are not the user's
LIBRARIES = {"numpy", "scipy"}  # which convert and call back on the user's behalf
Site = tuple[CodeType, int]


class SourceLine(NamedTuple):
    """A user's statement as a tape from a file knows it: as text, where a `Site` has the code itself."""

    file: str
    line: int
    function: str
    source: str


def user_frame() -> FrameType | None:
    """Return the innermost frame of the running program that is neither numbad's nor NumPy's or SciPy's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = frame.f_globals.get("__package__")
        if package not in INTERNAL and not (package and package.partition(".")[0] in LIBRARIES):
            return frame
        frame = frame.f_back
    return None


def user_site() -> Site | None:
    """Return the user's statement that is being recorded: its code object and the place in it."""
    frame = user_frame()
    return None if frame is None else (frame.f_code, frame.f_lasti)


def line_of(site: Site | SourceLine) -> int:
    """Return the line number of a site."""
    if isinstance(site, SourceLine):
        return site.line
    code, place = site
    for start, stop, line in code.co_lines():
        if start <= place < stop and line is not None:
            return line
    return code.co_firstlineno


def read_line(site: Site | SourceLine) -> SourceLine:
    """Return file, line, function and source text of a site."""
    if isinstance(site, SourceLine):
        return site
    code, line = site[0], line_of(site)
    return SourceLine(code.co_filename, line, code.co_name, linecache.getline(code.co_filename, line).strip())


def describe_site(site: Site | SourceLine | None) -> str:
    """Write a site as `file:line, in function:  source`."""
    if site is None:
        return "an unknown place"
    file, line, function, source = read_line(site)
    name = os.path.relpath(file) if os.path.isabs(file) else file
    if name.startswith(".."):
        name = file
    return f"{name}:{line}, in {function}" + (f":  {source}" if source else "")


def message(what: str, do: str, site: Site | SourceLine | None = None, *, where: bool = True) -> str:
    """Compose the three parts of an error message; the site is the running statement unless given."""
    lines = [what]
    if where:
        lines.append(f"  at {describe_site(site or user_site())}")
    lines.append(f"  do  {do}")
    return "\n".join(lines)


OBJECT_COMPLAINTS = (  # how NumPy and SciPy say that an array holds objects
    "which has no callable",
    "dtype('O')",
    "ObjectDType",
    "object array",
    "dtype object",
    "'object'",
    "for the input types",
    "array type not supported",
    "proper array of floats",
)


def other_meaning(values: Any) -> tuple[str, str] | None:
    """Say why an array cannot be read as a plain one, and what to do; None if it can.

    The operators of np.matrix are other ones, and a masked element is not what memory holds in its place.
    """
    if isinstance(values, np.matrix):
        return "an np.matrix, whose * is a matrix product,", "write np.asarray(m), and @ for products"
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(values, masked.MaskedArray) and masked.is_masked(values):
        return "an array with masked elements", "pass a.filled(0.0), and select with np.where(mask, 0.0, x)"
    return None


def explain_lock(error: BaseException) -> None:
    """Add to NumPy's complaint about a write why the array cannot be written to, and what to do."""
    if isinstance(error, ValueError) and "read-only" in str(error):
        error.add_note(
            "numbad: large arrays are kept by reference and are read-only until the recording ends; "
            "write to a copy, or use a copy in the function: np.sum(a.copy() * x)"
        )


def clarify(error: BaseException) -> None:
    """Raise numbad's own error where NumPy put another before it, or where NumPy's does not say what to do."""
    cause = error.__cause__
    if isinstance(error, (ValueError, SystemError)) and isinstance(cause, NumbadError):
        raise cause.with_traceback(error.__traceback__) from None
    if isinstance(error, NumbadError) or not any(words in str(error) for words in OBJECT_COMPLAINTS):
        return
    site, library = None, ""
    trace = error.__traceback__
    while trace is not None:
        names = trace.tb_frame.f_globals
        package = names.get("__package__")
        if package and package.partition(".")[0] in LIBRARIES:
            library = library or f"{names['__name__'].split('._')[0]}.{trace.tb_frame.f_code.co_name}"
        elif package not in INTERNAL:
            site, library = (trace.tb_frame.f_code, trace.tb_lasti), ""
        trace = trace.tb_next
    if library.startswith("scipy"):
        what = f"{library} does not take recording values"
        do = "write it with functions that are recorded, or give it a rule with numbad.custom_vjp"
    elif isinstance(error, TypeError):
        what = "an array of objects mixes recording values with plain numbers, which NumPy's functions do not take"
        do = "build it with numbad.array([...]) or np.stack instead of np.array, or import numbad.numpy as np"
    else:
        return
    raise RecordingError(message(f"{what} ({error})", do, site)) from error


def check_function(f: Any, name: str) -> None:
    """Raise a TypeError unless a transform was given a function that can be called for a result."""
    if not callable(f):
        raise TypeError(
            message(f"{name} takes a function; it was given a {type(f).__name__}", f"write numbad.{name}(f)(x)")
        )
    if getattr(getattr(f, "__code__", None), "co_flags", 0) & GENERATES:
        raise TypeError(
            message(f"{name} takes a function; {f.__name__} is a generator or a coroutine", "return a list of results")
        )
