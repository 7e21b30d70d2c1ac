"""Whether a program has imported Numba: its compiled functions are taught to record when a recording begins."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from sys import _getframe, modules
from typing import Any

from numbad.errors import INTERNAL, RecordingError, message
from numbad.recording import active
from numbad.recording.recorder import Recorder, beginnings

NUMBA = "numba.core.registry"  # which imports the dispatchers
ASKING = ("functools", "numba.core.typing.typeof")  # modules in which Numba asks for the class of an argument
# Not in the list there: kernels are made of that module too, and would be made anew.
INTERNAL.update(("numbad.numba_api", "numbad.numba_api.adjoint"))
TRANSFORMS: dict[str, Callable[..., Any]] = {}  # `vjp` and `jvp`, which stand on a higher floor
_taught = False


class Choice(threading.local):
    """Of a thread: whether kernels are recorded row by row, all (2), or all of which nothing else is demanded (1)."""

    by_rows = 0


choice = Choice()


@contextlib.contextmanager
def row_by_row(which: int = 1) -> Iterator[None]:
    """Record kernels row by row in this block: their tape is read, or kept, by more than sweeps."""
    before, choice.by_rows = choice.by_rows, max(choice.by_rows, which)
    try:
        yield
    finally:
        choice.by_rows = before


def notice_numba(recorder: Recorder | None) -> None:
    """Teach what Numba compiles, once it has been imported."""
    global _taught
    if _taught or NUMBA not in modules or not hasattr(modules.get("numba"), "njit"):
        return
    from numbad.numba_api.dispatching import teach_dispatcher
    from numbad.numba_api.shadows import teach_classes
    from numbad.numba_api.ufuncs import teach_others

    _taught = True
    teach_dispatcher()
    teach_classes()
    teach_others()


def notice_late(depth: int) -> None:
    """Refuse a call of a compiled function where Numba has been imported by the function that is recorded."""
    if _taught or NUMBA not in modules:
        return
    if _getframe(depth).f_globals.get("__name__") in ASKING:
        notice_numba(None)
        raise RecordingError(
            message("Numba has been imported while a function is recorded", "import numba before it is recorded")
        )


beginnings.append(notice_numba)
active.strangers.append(notice_late)
