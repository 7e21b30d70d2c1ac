"""Threads: how many the sweeps may use, how they wait for one another, and what becomes of them in a forked process."""

from __future__ import annotations

import operator
import os
import sys
import threading
import weakref
from typing import Any

from numbad.errors import message

SPINS = 20_000  # turns of a waiting loop before a thread sleeps: some ten microseconds

lock = threading.Lock()  # Numba's threads serve one caller at a time
_started = False
_forked = False  # from a process that had started its threads: they do not exist here, and OpenMP cannot start others
_locked: weakref.WeakSet[Any] = weakref.WeakSet()


class Asked(threading.local):
    """How many threads a thread has asked for that Numba has not been told yet; 0 for none."""

    def __init__(self) -> None:
        self.count = 0


_asked = Asked()


def loaded_numba() -> Any:
    """Return Numba if this process has imported it, else None."""
    numba = sys.modules.get("numba")
    return numba if hasattr(numba, "get_num_threads") else None  # another thread may be importing it


def start() -> None:
    """Start Numba's threads, so that they wait politely, and tell it how many the calling thread has asked for.

    By default GNU OpenMP's threads spin for milliseconds after each parallel loop. Where another
    program or OpenBLAS wants the processors at the same time, a matrix-vector product then takes
    24 ms instead of 1.8 (ARCHITECTURE.md). OpenMP reads the setting once, when it is loaded.
    """
    global _started
    import numba

    if not _started:
        wanted = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
        if wanted:
            os.environ["GOMP_SPINCOUNT"] = str(SPINS)
        try:
            numba.get_num_threads()
        finally:
            if wanted:
                del os.environ["GOMP_SPINCOUNT"]
        _started = True
    if _asked.count:
        numba.set_num_threads(min(_asked.count, most_threads()))
        _asked.count = 0


def most_threads() -> int:
    """Return how many threads there may be: what Numba says or, as long as nobody needs it, what it will say."""
    numba = loaded_numba()
    if numba is not None:
        return int(numba.config.NUMBA_NUM_THREADS)
    try:
        return max(1, int(os.environ["NUMBA_NUM_THREADS"]))
    except (KeyError, ValueError):
        pass
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def set_num_threads(count: int) -> None:
    """Set the number of threads that the calling thread's sweeps use.

    Parameters
    ----------
    count : int
        At least 1, at most what `numba.config.NUMBA_NUM_THREADS` says.

    Raises
    ------
    ValueError
        When `count` is less than 1 or more than Numba has threads.
    TypeError
        When `count` is not an int.

    Notes
    -----
    Results do not depend on the number of threads: work is divided in pieces of a fixed size.

    Examples
    --------
    >>> import numbad
    >>> numbad.set_num_threads(1)
    """
    try:
        wanted = operator.index(count)
    except TypeError:
        what = f"the number of threads is {type(count).__name__} {count!r}"
        raise TypeError(message(what, "pass an int: numbad.set_num_threads(2)")) from None
    most = most_threads()
    if not 1 <= wanted <= most:
        cure = f"pass 1 to {most}; the environment variable NUMBA_NUM_THREADS sets how many there are"
        raise ValueError(message(f"the number of threads is {wanted}", cure))
    _asked.count = wanted
    if loaded_numba() is not None:
        start()


def count_threads() -> int:
    """Return how many threads the calling thread's sweeps may use."""
    if _forked:
        return 1
    if _asked.count:
        return _asked.count
    numba = loaded_numba()
    if numba is None:
        return most_threads()
    start()
    return int(numba.get_num_threads())


def renew_in_children(owner: Any) -> None:
    """Give an object a new `lock` in forked processes: a thread that held it does not exist there."""
    _locked.add(owner)


def after_fork() -> None:
    """Make locks anew in a forked process, and do without the threads of its parent."""
    global lock, _forked
    lock = threading.Lock()
    theirs = getattr(sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", False)  # the user's own loops
    _forked = _forked or _started or theirs
    for owner in list(_locked):
        owner.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)


class ParallelSection:
    """The right to run parallel kernels: one caller at a time."""

    def __enter__(self) -> None:
        start()
        lock.acquire()

    def __exit__(self, *_: object) -> None:
        lock.release()


parallel_section = ParallelSection()
