"""Threads: how many the parallel kernels use, and how they wait for one another."""

from __future__ import annotations

import os
import threading

SPINS = 20_000  # turns of a waiting loop before a thread sleeps: some ten microseconds

lock = threading.Lock()  # Numba's threads serve one caller at a time
_started = False


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
        At least 1, at most what `numba.config.NUMBA_NUM_THREADS` says. Results do not depend on it.

    Examples
    --------
    >>> import numbad
    >>> numbad.set_num_threads(1)
    """
    import numba

    start()
    numba.set_num_threads(count)


class ParallelSection:
    """The right to run parallel kernels: one caller at a time."""

    def __enter__(self) -> None:
        start()
        lock.acquire()

    def __exit__(self, *_: object) -> None:
        lock.release()


parallel_section = ParallelSection()
