"""Memory for sweeps: taken, kept between calls, given back; where an array begins; whether it holds a zero."""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import addressof, c_char
from typing import Any, ParamSpec, TypeVar

import numpy as np

from numbad.errors import message
from numbad.kernels import pool
from numbad.limits import CHECKED, COMPARED_MEMORY, KEPT_BY_THREAD, KEPT_LEAST, KEPT_MOST

if CHECKED:
    from numbad.kernels import checked_memory

P = ParamSpec("P")
R = TypeVar("R")
empty: Callable[..., np.ndarray] = checked_memory.fresh if CHECKED else np.empty  # an array of anything
_thread = threading.local()
MANY = 1 << 20  # elements: up to here a mask of them stays in the cache
FEW = 1 << 12  # elements: up to here counting is the faster way to look for zeros
# The compiled half of np.count_nonzero: a quarter of the time.
count_nonzero = getattr(getattr(getattr(np, "_core", None), "multiarray", None), "count_nonzero", np.count_nonzero)


def handed_out(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that returns numbers to the user: the checked build looks whether somebody has written them."""
    return checked_memory.handed_out(function) if CHECKED else function


def contains_zero(values: np.ndarray) -> bool:
    """Whether an array of numbers has zeros."""
    if values.size <= FEW:
        return bool(count_nonzero(values) < values.size)
    return bool((values == 0).any() if values.size <= MANY else not values.all())


def address_of(values: Any) -> int:
    """Return where an array begins in memory."""
    try:
        return addressof(c_char.from_buffer(values))  # five times as fast as the other way
    except (TypeError, ValueError, BufferError):  # empty, read-only or not C-contiguous
        return values.__array_interface__["data"][0]


if CHECKED:
    address_of = checked_memory.watched(address_of)  # type: ignore[assignment]


def take_memory(count: int, dtype: np.dtype, sparse: bool) -> np.ndarray:
    """Return uninitialised memory; pages that are made when they are touched if `sparse` and very large.

    A fresh page of memory costs about as much as a thousand additions, so `give_back` keeps what was used, small
    memory for this thread, and large memory for all (see `pool`). Very large arenas that are hardly touched (see
    `fusion`) come from the system, untouched.
    """
    size = count * dtype.itemsize
    if CHECKED:
        return pool.untouched(size).view(dtype) if sparse and size > KEPT_MOST else checked_memory.fresh(count, dtype)
    if size <= KEPT_LEAST:
        return np.empty(count, dtype)
    if size <= KEPT_BY_THREAD:
        for k, buffer in enumerate(_thread.__dict__.get("kept", ())):
            if buffer.nbytes >= size:
                del _thread.kept[k]
                return buffer[:size].view(dtype)
    else:
        known = pool.pool.take(size)
        if known is not None:
            return known[:size].view(dtype)
    fresh = pool.untouched(size) if sparse and size > KEPT_MOST else np.empty(size, np.uint8)
    return fresh.view(dtype)


def give_back(values: np.ndarray, untouched: int = 0) -> None:
    """Keep the memory of an array that nobody reads any more for the next sweeps; `untouched` bytes of it are fresh."""
    if CHECKED:
        checked_memory.give_back(values)
        return
    size = values.nbytes
    while isinstance(values.base, np.ndarray):
        values = values.base
    if values.dtype != np.uint8 or values.nbytes <= KEPT_LEAST:
        return
    if values.nbytes > KEPT_BY_THREAD:
        pool.pool.keep(values, size - untouched if values.base is not None else values.nbytes)
        return
    kept = _thread.__dict__.setdefault("kept", [])
    kept.append(values)
    kept.sort(key=len)
    if len(kept) > 3:
        del kept[0]


def check_memory(size: int) -> None:
    """Raise MemoryError when a request for memory would make the machine swap."""
    if size < COMPARED_MEMORY:
        return
    available = available_memory()
    if size > available:
        raise MemoryError(
            message(
                f"the sweep needs {size / 1e9:.1f} GB and {available / 1e9:.1f} GB are free",
                "differentiate a smaller part, use numbad.checkpoint, or float32 inputs",
                where=False,
            )
        )


def available_memory() -> float:
    """Return the bytes that can be used without swapping, infinity where it is not known."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return float("inf")
