"""Where a plain array meets recording values: the error, and what the user's statement asked for."""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import sysconfig
import threading
from types import CodeType, FrameType
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from numbad.errors import INTERNAL, LIBRARIES, RecordingError, Site, message, site_of, user_frame, user_site
from numbad.recording.recorder import current
from numbad.recording.rewriting import ASSIGNS, FULL, KERNELS, Name, path_of, step_of
from numbad.settings import config

INSTALLED = ("site-packages", "dist-packages")  # folders of packages, which are not the user's
CONVERTING = {f"numbad.recording.{name}" for name in ("arrays", "scalars", "conversion", "unfilled")}
MAKERS = {np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.fromiter}
SUBSCRIPT = 26  # the argument of BINARY_OP that says x[key], in Python 3.14
GATHERING = {"take", "searchsorted", "choose"}  # methods of plain arrays that convert integers
NUMBERS = {float, np.float64, np.float32}  # make plain numbers; functions that are recorded again have others
PYTHONS = {"math", "builtins", "functools", "_functools", "itertools"}  # modules whose functions call others
CONSUMING = {"FOR_ITER", "UNPACK_SEQUENCE", "LIST_EXTEND"}  # may call what is not seen: for y in map(math.sin, x)
WRITING = {"fill", "put", "__setitem__"}  # methods of arrays that convert what they are given
OUTSIDE = (
    "make the array in the function that is recorded, or assign to a copy that is made there (y = y.copy()); "
    "write y = y + x instead of y += x; or import numbad.numpy as np"
)
SINGLE = "make it an array of float64: the recording is in double precision"
entries: set[CodeType] = set()  # of functions that record again where a plain array was to be filled


class Search(Protocol):
    """What a thread knows that records a function again, to find the arrays that are filled (see `filling`)."""

    objects: bool
    everything: bool
    mixed: bool
    writing: np.ndarray | None

    def want(self, target: Any) -> bool:
        """Note that an array is to be a recording one; return whether it will be."""
        ...

    def note(self, value: np.ndarray, hook: Any, needed: bool) -> None:
        """Remember where an array was made."""
        ...


class State(threading.local):
    """The search of a thread."""

    looking: Search | None = None
    lost: Site | None = None  # where the last such error was raised: compiled code may raise another one instead


state = State()


class UnfilledError(RecordingError):
    """A plain array was to be filled with recording values.

    Attributes
    ----------
    target : ndarray or None
        The array, where it is known.
    objects : bool
        Whether NumPy would make an array of objects of them.
    number : bool
        Whether a number was to become a plain one: other functions help, and no other arrays.
    name : Name or None
        What the user's statement calls the array.
    """

    target: Any = None
    objects = number = False
    name: Name | None = None


def unfilled(text: str, target: Any = None, objects: bool = False, number: bool = False) -> UnfilledError:
    """Return the error; whoever looks for such arrays is told."""
    if state.looking is not None:
        state.looking.want(target)
    state.lost = user_site()
    error = UnfilledError(text)
    error.target, error.objects, error.number, error.name = target, objects, number, array_name()
    recorder = current()
    if recorder is not None:
        recorder.unfilled = error
    return error


def refuse_unfilled(what: str, target: Any = None) -> NoReturn:
    """Refuse to write recording values into a plain array."""
    single = target is not None and target.dtype == np.float32
    raise unfilled(
        message(f"{what} is a plain array; it cannot hold recording values", SINGLE if single else OUTSIDE), target
    )


def unfilled_in(error: BaseException | None) -> UnfilledError | None:
    """Return the error of this kind that an exception is, or comes from."""
    known = next((part for part in chain(error) if isinstance(part, UnfilledError)), None)
    if known is None and error is not None and state.lost is not None and site_of(error) == state.lost:
        return UnfilledError()
    return known


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an exception and those that it comes from; NumPy's may go around in a circle."""
    found: list[BaseException] = []
    while error is not None and all(error is not part for part in found):
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


# ---------------------------------------------------------------- what the user's statement asks for


class Request(NamedTuple):
    """That a statement of the user's fills a plain array, or makes one; and which, where it can be told."""

    target: Any
    frame: FrameType
    number: bool = False  # whether it wants a plain number


def plain_request() -> Request | None:
    """Return what a conversion is for, if a statement of the user's wants it for a plain array."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in CONVERTING:
        frame = frame.f_back
    inner = frame
    while frame is not None and is_numpys(frame):
        frame = frame.f_back
    if inner is None or frame is None or not is_users(frame):
        return None
    operation = dis.opname[inner.f_code.co_code[inner.f_lasti]]
    if operation in ASSIGNS:
        target = array_of(named_by(inner)[0])
        return Request(target, frame) if target is not None or inner is frame else None
    if operation in CONSUMING and inner is frame:
        return Request(None, frame, number=True)
    if "CALL" not in operation:
        return None
    called, name = named_by(inner)
    target = array_of_method(called)
    if target is None and name in WRITING and state.looking is not None:
        target = state.looking.writing
    fills = inner is frame and (name in WRITING or any(called is maker for maker in MAKERS))
    if fills or target is not None:
        return Request(target, frame)
    if inner is not frame:
        called = named_by(frame)[0]
        known = isinstance(called, np.vectorize) or called is np.vectorize
        return Request(None, frame, number=True) if known else None
    return Request(None, frame, number=True) if makes_number(called) else None


def makes_number(called: Any) -> bool:
    """Whether something that is called may make a plain number of a recording one, and ours could take its place.

    It is a function of math, float, or what may call these: a function of Python's own, or what is not known.
    """
    if not callable(called) or any(called is kind for kind in NUMBERS):
        return True
    module, of_class = getattr(called, "__module__", None), type(called).__module__
    return module in PYTHONS or (of_class in PYTHONS and of_class != "builtins")


def follows_integers(frame: FrameType) -> bool:
    """Whether a statement of the user's makes an array of what it is given, or of the elements that this names.

    A recording with hooks can follow integers through that: `table[labels]`, `np.asarray(labels)`.
    """
    if state.looking is not None or not config.record_again or not is_users(frame):
        return False
    code, place = frame.f_code.co_code, frame.f_lasti
    operation = dis.opname[code[place]]
    if operation == "BINARY_SUBSCR" or (operation == "BINARY_OP" and code[place + 1] == SUBSCRIPT):
        return True
    if "CALL" not in operation:
        return False
    called, name = named_by(frame)
    return any(called is maker for maker in MAKERS) or (name in GATHERING and array_of_method(called) is not None)


def is_numpys(frame: FrameType) -> bool:
    """Whether a frame runs a function of NumPy that is written in Python."""
    return (frame.f_globals.get("__package__") or "").partition(".")[0] == "numpy"


def array_of(value: Any) -> np.ndarray | None:
    """Return a plain array, or that of an iterator over its elements; None for anything else."""
    if type(value) is np.flatiter:
        value = value.base
    return value if type(value) is np.ndarray else None


def objects_request() -> bool:
    """Whether NumPy is about to make an array of objects for the user, which a recording array may replace."""
    if not config.record_again or (state.looking is not None and state.looking.objects):
        return False
    found = plain_request()
    if found is None or id(found.frame.f_code) in FULL:
        return False
    frame: FrameType | None = found.frame
    while frame is not None and frame.f_code not in entries:
        frame = frame.f_back
    return frame is not None


def named_by(frame: FrameType) -> tuple[Any, str]:
    """Return what the running statement calls or assigns to, if it says so by names, and the last name.

    These are np.array and "array" where np.array(...) runs, and the array and "y" at self.y[0] = ...
    """
    path = path_in(frame)
    value: Any = None
    with contextlib.suppress(Exception):  # of an attribute of an object of the user's
        for kind, name in path:
            value = getattr(value, name) if kind == "attribute" else looked_up(frame, name)
        return value, path[-1].text
    return None, path[-1].text if path else ""


def looked_up(frame: FrameType, name: Any) -> Any:
    """Return the value of a variable in a frame."""
    for names in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if name in names:
            return names[name]
    return None


def array_name() -> Name | None:
    """Return what the user's running statement calls the array that it assigns to; None if it does not say."""
    frame = user_frame()
    if frame is None:
        return None
    path = path_in(frame)
    if path and path[-1].kind == "attribute" and path[-1].text in (*WRITING, "flat", "T", "real"):
        path.pop()
    return path[-1] if path else None


def path_in(frame: FrameType) -> list[Name]:
    """Return the names by which the running statement comes to what it calls or assigns to."""
    listing = list(dis.get_instructions(frame.f_code))
    steps = [step_of(step.opname, step.argval, step.positions) for step in listing]
    running = sum(step.offset <= frame.f_lasti for step in listing) - 1  # it may be at what belongs to an instruction
    return path_of(steps, running) if running >= 0 else []


def array_of_method(method: Any) -> np.ndarray | None:
    """Return the plain array that a method belongs to; None for anything else."""
    return array_of(getattr(method, "__self__", None))


# ---------------------------------------------------------------- whose code it is


@functools.lru_cache(4096)
def is_installed(file: str) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    if file.startswith("<frozen "):
        return file.removeprefix("<frozen ").partition(".")[0].rstrip(">") in sys.stdlib_module_names
    return any(folder in file for folder in INSTALLED) or file.startswith(sysconfig.get_path("stdlib"))


def is_users(frame: FrameType) -> bool:
    """Whether a frame runs a function of the user's: not one of numbad, Python or an installed package.

    A function that Numba compiles is the user's wherever it stands: nothing else of it runs.
    """
    if id(frame.f_code) in KERNELS:
        return True
    package = frame.f_globals.get("__package__")
    if package in INTERNAL or (package and package.partition(".")[0] in LIBRARIES):
        return False
    if str(frame.f_globals.get("__name__")).startswith("namedtuple_"):
        return False
    return not is_installed(frame.f_code.co_filename)
