"""Work in shares: side by side where the parallel loop is at hand, else one share of all of it.

The loop needs Numba, whose import takes longer than most programs compute. So threads are taken when they would have
spared a process more than a part of that. Until then, and while another process compiles the loop, once on a machine,
the calling thread does everything. Results are the same bits, for work is divided in pieces of a fixed size.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from numbad.kernels import machinecode
from numbad.kernels.loading import sweep, switch
from numbad.kernels.threads import count_threads, loaded_numba, parallel_section, start
from numbad.limits import MANY_ELEMENTS, WORTH_THREADS

BLAS_SPINS = 0.02  # seconds that OpenBLAS's threads spin after a call
LEAST_REST, MOST_REST = 0.05, 1.6  # seconds of one share after another thread has come too late
LATE = 2.0  # times what this thread has computed
LOOK_AGAIN = 0.2  # seconds between two looks for a loop that is being compiled
OLD = 60.0  # seconds after which nobody is compiling any more
LOOP, DOUBLE, SINGLE = "shares_at", np.dtype(np.float64), np.dtype(np.float32)

_blas_ran = -1.0


class Loop:
    """The parallel loop of this process.

    Attributes
    ----------
    call : callable, optional
        The loop, once it is here.
    spared : float
        Seconds that it would have spared so far.
    child : Popen, optional
        The process that compiles it.
    claim : Path, optional
        The file that tells other processes so.
    rest, until : float
        How many seconds, and until when, work is done in one share, for the processors are busy with something else.
    """

    def __init__(self) -> None:
        self.call: Callable[..., int] | None = None
        self.spared = 0.0
        self.child: Any = None
        self.claim: Path | None = None
        self.rest = 0.0
        self.until = 0.0
        self.looks = threading.Lock()
        self.next_look = 0.0

    def is_here(self) -> bool:
        """Whether work can be done side by side; takes steps towards it where it is worth them."""
        if self.call is not None:
            return True
        worth = self.spared >= WORTH_THREADS
        now = time.perf_counter()
        if not (worth or loaded_numba() is not None) or now < self.next_look or not self.looks.acquire(blocking=False):
            return False
        try:
            self.next_look = now + LOOK_AGAIN
            if machinecode.is_kept(f"{LOOP}_{DOUBLE}") or (worth and not self.compiles_elsewhere()):
                self.load()
        except ImportError:  # an application that was packed without Numba
            self.next_look = math.inf
        finally:
            self.looks.release()
        return self.call is not None

    def note(self, wall: float, own: float) -> None:
        """Remember how long a loop took, and how long this thread computed: the rest it has waited for the others."""
        if wall > LATE * own + 1e-4:
            self.rest = min(MOST_REST, max(LEAST_REST, 2.0 * self.rest))
            self.until = time.perf_counter() + self.rest
        elif self.rest:
            self.rest = 0.5 * self.rest if self.rest > LEAST_REST else 0.0

    def load(self) -> None:
        """Load the loop, or compile it in this process."""
        start()
        from numba.core.registry import cpu_target

        assert cpu_target.target_context  # made now: with the threads, all that the loop calls can be found by name
        self.call = sweep(LOOP, DOUBLE)

    def compiles_elsewhere(self) -> bool:
        """Whether another process compiles the loop; starts one unless there is one. False where it cannot be."""
        if self.child is None:
            claim = claim_of(f"{LOOP}_{DOUBLE}")
            if not isinstance(claim, Path):
                return claim is None
            self.claim = claim
            self.child = machinecode.compile_elsewhere(__name__, "compile_loop", [[str(claim)]])
        if self.child is not None and self.child.poll() is None:
            return True
        if self.claim is not None:
            self.claim.unlink(missing_ok=True)
        return False


loop = Loop()


def claim_of(name: str) -> Path | bool | None:
    """Return a file that says that this process sees to the compilation; None if another does, False if nobody can."""
    path = machinecode.place(name).with_suffix(".claim")
    with contextlib.suppress(OSError):
        if path.exists() and abs(time.time() - path.stat().st_mtime) > OLD:  # another machine may keep its time
            path.unlink()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return None if path.exists() else False
    except OSError:
        return False
    return path


def compile_loop(claim: str) -> None:
    """Compile the loop and keep it on disk."""
    try:
        start()
        switch(LOOP, DOUBLE)
    finally:
        Path(claim).unlink(missing_ok=True)


def leave_child() -> None:
    """Let a process that still compiles end on its own: what it makes is for the next program."""
    if loop.child is not None and loop.child.poll() is None:
        loop.child.returncode = 0


def forget_child() -> None:
    """Begin anew in a forked process: what compiles is no child of it."""
    global loop
    before, loop = loop, Loop()
    loop.call, loop.spared = before.call, before.spared


atexit.register(leave_child)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_child)


def note_blas() -> None:
    """Remember that BLAS has just run: its threads go on spinning."""
    global _blas_ran
    _blas_ran = time.perf_counter()


def count_shares(elements: int = MANY_ELEMENTS) -> int:
    """Return in how many shares work over so many elements is to be done: one while BLAS's threads spin.

    A step of a network, whose rows have some ten thousand elements between matrix products, takes 6.5 ms so,
    and 8 to 13 ms where Numba's second thread waits for a processor that OpenBLAS's holds. Other libraries' threads
    (PyTorch's, JAX's) and other programs hold processors, too: where a thread has come late, there is one share for a
    while, twice as long each time.
    """
    threads = count_threads()
    if threads == 1:
        return 1
    now = time.perf_counter()
    if now < loop.until or (elements < MANY_ELEMENTS and now - _blas_ran < BLAS_SPINS):
        return 1
    return threads if loop.is_here() else 1


def run_alone(call: Callable[..., int], at: int) -> None:
    """Do work in one share, in this thread; note what others would have spared."""
    threads = count_threads() if loop.call is None else 1
    begin = time.perf_counter() if threads > 1 else 0.0
    call(0.0, 0, at)
    if threads > 1:
        loop.spared += (time.perf_counter() - begin) * (1.0 - 1.0 / threads)


def run_side_by_side(name: str, dtype: np.dtype, shares: int, at: int) -> None:
    """Do work in shares, by as many threads."""
    body = int(switch(name, dtype))
    assert loop.call is not None
    with parallel_section:
        begin, computed = time.perf_counter(), time.thread_time()
        loop.call(0.0, body, dtype == SINGLE, shares, at)
        loop.note(time.perf_counter() - begin, time.thread_time() - computed)
