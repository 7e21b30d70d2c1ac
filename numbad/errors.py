"""What can go wrong, said in three parts: what, where in the user's code, what to do."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeVar

import numpy as np

Decorated = TypeVar("Decorated")
GENERATES = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class NumbadError(Exception):
    """Base of all errors that numbad raises on its own account.

    Notes
    -----
    The message has three parts: what is wrong, the line of the user's program, and what to do. Some errors leave out
    the line.

    Examples
    --------
    >>> import numbad
    >>> issubclass(numbad.BranchError, numbad.NumbadError)
    True
    """


class RecordingError(NumbadError, TypeError):
    """The function does something that cannot be recorded.

    Notes
    -----
    A TypeError, too.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> try:
    ...     numbad.gradient(float, 2.0)
    ... except numbad.RecordingError as error:
    ...     print(str(error).splitlines()[0])
    a recording value cannot become a plain float here: its derivative would be lost
    """


class MissingError(RecordingError, AttributeError):
    """An attribute of NumPy's arrays that recording values lack."""


class ReadOnlyError(RecordingError, ValueError):
    """The function writes to an array that is read-only while it is recorded."""


class InputError(NumbadError, TypeError):
    """An argument that is not differentiable: integers, complex numbers, text, other objects.

    Notes
    -----
    A TypeError, too. Also an argument of another structure, shape or dtype than the recorded one.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> try:
    ...     numbad.gradient(np.sin, 2)
    ... except numbad.InputError as error:
    ...     print(str(error).splitlines()[0])
    the derivative with respect to a Python int (2) is not defined
    """


class OutputError(NumbadError, TypeError):
    """The function returned something that this derivative is not defined for.

    Notes
    -----
    A TypeError, too.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> try:
    ...     numbad.gradient(np.sin, np.ones(2))
    ... except numbad.OutputError as error:
    ...     print(str(error).splitlines()[0])
    gradient is defined for functions that return one number; this one returned an array of shape (2,)
    """


class LeakError(NumbadError, RuntimeError):
    """A recording value was used after its recording had ended, or in another one.

    Notes
    -----
    A RuntimeError, too.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> kept = []
    >>> numbad.gradient(lambda x: (kept.append(x), x * x)[1], 2.0)
    4.0
    >>> try:
    ...     kept[0] + 1.0
    ... except numbad.LeakError:
    ...     print("the recording has ended")
    the recording has ended
    """


class BranchError(NumbadError, RuntimeError):
    """A replayed tape met a comparison that came out otherwise than when it was recorded, at `site`.

    Attributes
    ----------
    site : tuple of (code object, int), SourceLine or None
        The user's statement of the comparison.

    Notes
    -----
    A RuntimeError, too.

    Examples
    --------
    >>> import numbad
    >>> tape = numbad.record(lambda x: x if x > 0.0 else -x, 1.0)
    >>> try:
    ...     tape(-1.0)
    ... except numbad.BranchError as error:
    ...     print(str(error).splitlines()[0])
    row 1 compared x > 0.0 as True when recorded; it is False now
    """

    site: Any = None


class NonFiniteError(NumbadError, FloatingPointError):
    """A value, cotangent or tangent that is NaN or infinite, while `numbad.debug_nans` is on.

    Notes
    -----
    A FloatingPointError, too.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> try:
    ...     with numbad.debug_nans():
    ...         numbad.gradient(lambda x: np.sqrt(x - 2.0), 1.0)
    ... except numbad.NonFiniteError as error:
    ...     print(str(error).splitlines()[0])
    row 1: sqrt(-1) is nan
    """


class TapeError(NumbadError, ValueError):
    """A tape that does not pass verification.

    Notes
    -----
    A ValueError, too. Also a file that is no tape, and a derivative of a tape that overwrites its values.

    Examples
    --------
    >>> import numpy as np, numbad
    >>> try:
    ...     numbad.record(lambda x: x * x, 1.0).optimise(forward_only=True).gradient(2.0)
    ... except numbad.TapeError as error:
    ...     print(str(error).splitlines()[0])
    the tape of <lambda> overwrites its values, so it has no derivatives
    """


class InternalError(NumbadError, RuntimeError):
    """The checked build has seen compiled code touch memory that it was not given, or that nobody has written."""


WINGS = ("ops", "tape", "kernels", "recording", "numpy_api", "scipy_api", "sweeps", "emission", "transforms") + (
    ("tapes", "compilation", "storage", "pictures", "replay")
)
INTERNAL = {"numbad", *(f"numbad.{wing}" for wing in WINGS)}  # packages whose frames are not the user's
FRAMES = ("pandas", "xarray")  # which keep recording values as objects at best
LIBRARIES = {"numpy", "scipy", *FRAMES}  # which convert and call back on the user's behalf
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


OPERATIONS = {"__array_ufunc__", "__array_function__"} | {
    f"__{name}__" for name in "add radd sub rsub mul rmul truediv rtruediv pow rpow matmul rmatmul neg abs".split()
}


def other_meaning(values: Any) -> tuple[str, str] | None:
    """Say why an array cannot be read as a plain one, and what to do; None if it can.

    The operators of np.matrix are other ones, and a masked element is not what memory holds in its place.
    """
    if isinstance(values, np.matrix):
        return "an np.matrix, whose * is a matrix product,", "write np.asarray(m), and @ for products"
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(values, masked.MaskedArray) and masked.is_masked(values):
        return "an array with masked elements", "pass a.filled(0.0), and select with np.where(mask, 0.0, x)"
    if not isinstance(values, np.ndarray) or (masked is not None and isinstance(values, masked.MaskedArray)):
        return None
    for kind in type(values).__mro__:
        if kind is np.ndarray:
            break
        if not OPERATIONS.isdisjoint(vars(kind)):
            return f"a {type(values).__name__}, whose operations are its own,", "pass np.asarray(x)"
    return None


def explain_lock(error: BaseException, locked: bool) -> None:
    """Raise numbad's own error where a program writes to an array that the recording has made read-only."""
    complaint = str(error)
    if type(error) is not ValueError or "read-only" not in complaint or getattr(error, "__notes__", None):
        return
    if locked:
        do = (
            "write to a copy, or use a copy in the function: np.sum(a.copy() * x); "
            "large arrays are read where they lie, and are read-only until the recording ends"
        )
    elif raised_by_objects(error):
        do = (
            "write y = x.copy() instead of np.asarray(x): an array of recording values that NumPy made of another "
            "cannot change with it"
        )
    else:
        return
    raise ReadOnlyError(message(complaint, do, site_of(error))) from error


def site_of(error: BaseException) -> Site | None:
    """Return the user's innermost statement in the traceback of an exception."""
    site, trace = None, error.__traceback__
    while trace is not None:
        package = trace.tb_frame.f_globals.get("__package__")
        if package not in INTERNAL and not (package and package.partition(".")[0] in LIBRARIES):
            site = trace.tb_frame.f_code, trace.tb_lasti
        trace = trace.tb_next
    return site


def raised_by_objects(error: BaseException) -> bool:
    """Whether a variable of the statement that raised is a read-only array of objects."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    found = [] if trace is None else list(trace.tb_frame.f_locals.values())
    return any(isinstance(value, np.ndarray) and value.dtype == object and not value.flags.writeable for value in found)


NAMES = re.compile(r"\b(Array|Scalar)\b")  # of the classes of recording values, in a complaint
LONGEST = 300  # characters of another library's message that are repeated
ABOUT_TYPES = ("type", "object", "recognized as numeric")  # words of a complaint about what an argument is
SPARSE = ("_array'", "_matrix'", "sparse")
UNWRAP = "compute with plain arrays: s.to_numpy() before, or np.asarray(s)"
CURE = "write it with functions that are recorded, or give it a rule with numbad.custom_vjp"


def attribute(value: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of an object of the user's; the default also where the object's own `__getattr__` raises."""
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def noted_on(f: Any, name: str) -> Any:
    """Return what numbad has noted on a function or an object of its own; None for others, whatever they answer."""
    found = attribute(f, "__dict__")
    return found.get(name) if isinstance(found, dict) else None


def wraps(f: Any, **notes: Any) -> Callable[[Decorated], Decorated]:
    """Return a decorator that gives a function the name and the docstring of another, and notes (see `noted_on`)."""

    def give(function: Decorated) -> Decorated:
        for name in ("__doc__", "__name__"):
            found = attribute(f, name)
            if isinstance(found, str):
                setattr(function, name, found)
        vars(function).update(notes, __wrapped__=f)
        return function

    return give


def name_of(f: Any, otherwise: str = "the function") -> str:
    """Return the name of a function, or of a callable object that has one."""
    found = attribute(f, "__name__")
    return found if isinstance(found, str) else otherwise


def check_function(f: Any, name: str) -> None:
    """Raise a TypeError unless a transform was given a function that can be called for a result."""
    if not callable(f):
        raise TypeError(
            message(f"{name} takes a function; it was given a {type(f).__name__}", f"write numbad.{name}(f)(x)")
        )
    code = attribute(f, "__code__")
    if isinstance(code, CodeType) and code.co_flags & GENERATES:
        raise TypeError(
            message(f"{name} takes a function; {f.__name__} is a generator or a coroutine", "return a list of results")
        )
