"""Large memory that is kept between sweeps: of all threads, within a bound, given back when nothing is computed.

A page of memory that is touched for the first time costs as much as a thousand additions, so the arenas of one gradient
serve the next. The bound is `numbad.config.kept_memory`. After some seconds without a sweep all is given back.
"""

from __future__ import annotations

import mmap
import os
import threading
import time

import numpy as np

from numbad.settings import config

IDLE = 10.0  # seconds
LEARNED = 32 << 20  # bytes: the largest array that glibc's malloc learns to reuse
LENT = 64  # arrays of which it is remembered how much of them has been touched


class Pool:
    """Arrays of bytes that nobody reads, and how many bytes of each have been touched.

    Attributes
    ----------
    buffers : list of (ndarray of uint8, int)
        The arrays and their touched bytes, those that were given back last at the end.
    lent : dict
        Touched bytes of the arrays that were taken, by their identities.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.buffers: list[tuple[np.ndarray, int]] = []
        self.lent: dict[int, int] = {}
        self.used = 0.0
        self.timer: threading.Timer | None = None
        np.empty(LEARNED - 4096, np.uint8)  # freed at once, untouched: results of the user's are then reused by malloc

    def take(self, size: int) -> np.ndarray | None:
        """Return the smallest array of at least so many bytes, if there is one that is not much larger."""
        with self.lock:
            fitting = [(buffer.nbytes, k) for k, (buffer, _) in enumerate(self.buffers) if buffer.nbytes >= size]
            if not fitting or min(fitting)[0] > 4 * size:
                return None
            buffer, touched = self.buffers.pop(min(fitting)[1])
            if len(self.lent) >= LENT:  # some have never been given back
                self.lent.clear()
            self.lent[id(buffer)] = touched
            return buffer

    def keep(self, buffer: np.ndarray, touched: int) -> None:
        """Keep an array of which so many bytes have been touched since it was taken; the oldest go."""
        most = config.kept_memory
        with self.lock:
            touched = min(buffer.nbytes, touched + self.lent.pop(id(buffer), 0))
            self.used = time.monotonic()
            if touched <= most:
                self.buffers.append((buffer, touched))
            held = sum(part for _, part in self.buffers)
            while held > most:
                held -= self.buffers.pop(0)[1]
            if self.buffers and self.timer is None:
                self.wait(IDLE)

    def wait(self, seconds: float) -> None:
        """Look in some seconds whether the memory is still used."""
        self.timer = threading.Timer(seconds, self.look)
        self.timer.daemon = True
        self.timer.start()

    def look(self) -> None:
        """Give all memory back if none has been given back lately; else look again."""
        with self.lock:
            self.timer = None
            rest = self.used + IDLE - time.monotonic()
            if rest <= 0.0:
                self.buffers.clear()
            elif self.buffers:
                self.wait(rest)

    def held(self) -> int:
        """Return how many bytes are kept."""
        with self.lock:
            return sum(touched for _, touched in self.buffers)


def untouched(size: int) -> np.ndarray:
    """Return memory of the system's whose pages are made when they are first touched."""
    if hasattr(mmap, "MAP_PRIVATE"):  # shared memory, which is the default, costs more, and children would share it
        return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


pool = Pool()


def forget_pool() -> None:
    """Begin anew in a forked process: the thread that waits, and perhaps one that held the lock, are not here."""
    global pool
    pool = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_pool)
