"""Threads: how many the parallel kernels use, and how they wait for one another."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from numbad.limits import MANY_ELEMENTS

BLAS_SPINS = 0.02  # seconds that OpenBLAS's threads spin after a call
SPINS = 20_000  # turns of a waiting loop before a thread sleeps: some ten microseconds

lock = threading.Lock()  # Numba's threads serve one caller at a time
_started = False
_forked = False  # from a process that had started its threads: they do not exist here, and OpenMP cannot start others
_blas_ran = -1.0
_locked: weakref.WeakSet[Any] = weakref.WeakSet()


def start() -> None:
    """Start Numba's threads, so that they wait politely.

    By default GNU OpenMP's threads spin for milliseconds after each parallel loop. Where another
    program or OpenBLAS wants the processors at the same time, a matrix-vector product then takes
    24 ms instead of 1.8 (ARCHITECTURE.md). OpenMP reads the setting once, when it is loaded.
    """
    global _started
    if _started:
        return
    import numba

    wanted = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if wanted:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        numba.get_num_threads()
    finally:
        if wanted:
            del os.environ["GOMP_SPINCOUNT"]
    _started = True


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
    import numba

    start()
    numba.set_num_threads(count)


def count_threads() -> int:
    """Return how many threads the calling thread's parallel kernels use."""
    import numba

    return 1 if _forked else int(numba.get_num_threads())


def compile_parallel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function under `prange`; a process that was forked after its threads had started runs it serially."""
    import numba

    compiled = numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")(function)
    serial: list[Any] = []

    def call(*arguments: Any) -> Any:
        if not _forked:
            return compiled(*arguments)
        if not serial:
            serial.append(numba.njit(nogil=True, error_model="numpy")(function))
        return serial[0](*arguments)

    return call


def renew_in_children(owner: Any) -> None:
    """Give an object a new `lock` in forked processes: a thread that held it does not exist there."""
    _locked.add(owner)


def after_fork() -> None:
    """Make locks anew in a forked process, and do without the threads of its parent."""
    global lock, _forked
    lock = threading.Lock()
    _forked = _forked or _started
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


def note_blas() -> None:
    """Remember that BLAS has just run: its threads go on spinning."""
    global _blas_ran
    _blas_ran = time.perf_counter()


def shared_section(count: int) -> Any:
    """Give the right to run a parallel kernel over `count` elements; with one thread while BLAS's threads spin.

    A step of a network, whose rows have some ten thousand elements between matrix products, takes 6.5 ms so,
    and 8 to 13 ms where Numba's second thread waits for a processor that OpenBLAS's holds.
    """
    alone = count < MANY_ELEMENTS and time.perf_counter() - _blas_ran < BLAS_SPINS
    return single_section() if alone else parallel_section


@contextlib.contextmanager
def single_section() -> Iterator[None]:
    """Give the right to run a parallel kernel with one thread."""
    with parallel_section:
        import numba

        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            yield
        finally:
            numba.set_num_threads(threads)
