"""Errors of NumPy and SciPy that a recording value caused, put into words that say what to do."""

from __future__ import annotations

import threading
from types import FrameType, FunctionType
from typing import Any, NamedTuple

from numbad.errors import (
    ABOUT_TYPES,
    CURE,
    FRAMES,
    INTERNAL,
    LIBRARIES,
    LONGEST,
    NAMES,
    OBJECT_COMPLAINTS,
    SPARSE,
    UNWRAP,
    NumbadError,
    RecordingError,
    Site,
    message,
)
from numbad.recording.active import involves


class Refusals(threading.local):
    """The last refusal of a thread inside of a library: compiled code may lose it, and complain about what follows."""

    last: NumbadError | None = None


refusals = Refusals()


class Culprit(NamedTuple):
    """Where an error comes from: the user's statement, the library's function that it called, and what that had."""

    site: Site | None
    library: str
    recording: bool  # whether recording values were among its variables
    own: bool  # whether it was numbad that raised


def library_name(frame: FrameType) -> str:
    """Return how a user calls the function of a library whose frame this is; that of a decorator has it inside."""
    module, name = frame.f_globals.get("__name__") or "", frame.f_code.co_qualname
    if module.partition(".")[0] in FRAMES:
        return module.partition(".")[0]
    if "<locals>" in name or name.startswith("_"):
        inner = [value for value in frame.f_locals.values() if isinstance(value, FunctionType)]
        public = [value for value in inner if value.__module__.startswith("scipy") and value.__name__[0] != "_"]
        if public:
            module, name = public[0].__module__, public[0].__qualname__
    return f"{module.split('._')[0]}.{name}"


def find_culprit(error: BaseException) -> Culprit:
    """Return where an error comes from, by its traceback."""
    site, library, recording, own = None, "", False, False
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        package = frame.f_globals.get("__package__")
        own = package in INTERNAL
        if package and package.partition(".")[0] in LIBRARIES:
            library = library or library_name(frame)
            recording = recording or involves(frame.f_locals.values()) or any(map(holds, frame.f_locals.values()))
        elif not own:
            site, library, recording = (frame.f_code, trace.tb_lasti), "", False
        trace = trace.tb_next
    return Culprit(site, library, recording, own)


def holds(value: Any) -> bool:
    """Whether an object of SciPy's, such as a linear operator, was made of recording values."""
    if not type(value).__module__.startswith("scipy"):
        return False
    return involves(getattr(value, "__dict__", {}).values())


def clarify(error: BaseException) -> None:
    """Raise numbad's own error where NumPy put another before it, or where a library's does not say what to do."""
    cause = error.__cause__
    if isinstance(error, (ValueError, SystemError)) and isinstance(cause, NumbadError):
        raise cause.with_traceback(error.__traceback__) from None
    if isinstance(error, NumbadError) or not isinstance(error, Exception):
        return
    text = str(error)
    objects = any(words in text for words in OBJECT_COMPLAINTS)
    culprit = find_culprit(error)
    lost, refusals.last = refusals.last, None
    if lost is not None and culprit.library and str(lost).startswith(f"{culprit.library} "):
        raise lost.with_traceback(error.__traceback__) from error
    by_type = isinstance(error, (TypeError, AttributeError, RecursionError, RuntimeError, NotImplementedError))
    by_type = by_type or any(words in text for words in ABOUT_TYPES)
    lookup = isinstance(
        error, (IndexError, KeyError)
    )  # numbad's own too: what SciPy made of a recording value is no index
    do = UNWRAP if culprit.library in FRAMES else CURE
    if culprit.library in FRAMES and (objects or culprit.recording) and not culprit.own:
        what = f"{culprit.library} does not take recording values here"
    elif culprit.library.startswith("scipy") and (
        objects or (culprit.recording and (lookup or (by_type and not culprit.own)))
    ):
        what = f"{culprit.library} does not take recording values"
    elif not culprit.library and not culprit.own and isinstance(error, TypeError) and NAMES.search(text):
        what = "compiled code, or an object of another library, was given a recording value that it does not take"
        if "integer" in text:
            do = "write int(x): it gives the number and guards it"
        elif any(words in text for words in SPARSE):
            do = "write S @ x for a product of matrices, and S.toarray() for all else"
        elif "numpy.ndarray, not" in text:
            do = f"for a sparse factor use scipy.sparse.linalg.spsolve(A, b) in place of splu(A).solve(b); else {CURE}"
    elif objects and isinstance(error, TypeError):
        what = "an array of objects mixes recording values with plain numbers, which NumPy's functions do not take"
        do = "build it with numbad.array([...]) or np.stack instead of np.array, or import numbad.numpy as np"
    else:
        return
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    raise RecordingError(message(f"{what} ({type(error).__name__}: {short})", do, culprit.site)) from error
