"""Memory for sweeps: taken, kept between calls, given back; where an array begins; whether it holds a zero."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from ctypes import addressof, c_char
from typing import Any, ParamSpec, TypeVar

import numpy as np

from numbad.errors import message
from numbad.limits import CHECKED, COMPARED_MEMORY, KEPT_LEAST, KEPT_MOST

if CHECKED:
    from numbad.kernels import checked_memory

P = ParamSpec("P")
R = TypeVar("R")
empty: Callable[..., np.ndarray] = checked_memory.fresh if CHECKED else np.empty  # an array of anything
_thread = threading.local()
FEW = 1 << 12  # elements: up to here counting is the faster way to look for zeros
# The compiled half of np.count_nonzero: a quarter of the time.
count_nonzero = getattr(getattr(getattr(np, "_core", None), "multiarray", None), "count_nonzero", np.count_nonzero)


def handed_out(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that returns numbers to the user: the checked build looks whether somebody has written them."""
    return checked_memory.handed_out(function) if CHECKED else function


def contains_zero(values: np.ndarray) -> bool:
    """Whether an array of numbers has zeros."""
    return bool(not values.all() if values.size > FEW else count_nonzero(values) < values.size)


def address_of(values: Any) -> int:
    """Return where an array begins in memory."""
    try:
        return addressof(c_char.from_buffer(values))  # five times as fast as the other way
    except (TypeError, ValueError, BufferError):  # empty, read-only or not C-contiguous
        return values.__array_interface__["data"][0]


if CHECKED:
    address_of = checked_memory.watched(address_of)  # type: ignore[assignment]


def take_memory(count: int, dtype: np.dtype, sparse: bool) -> np.ndarray:
    """Return uninitialised memory; lazily zeroed pages if `sparse` and very large.

    A fresh page of memory costs about as much as a thousand additions, so `give_back` keeps what was used,
    and very large arenas that are hardly touched (see `fusion`) come from the system, untouched.
    """
    size = count * dtype.itemsize
    if sparse and size > KEPT_MOST:
        return np.frombuffer(mmap.mmap(-1, size), dtype)
    if CHECKED:
        return checked_memory.fresh(count, dtype)
    kept = _thread.__dict__.get("kept")
    if kept and KEPT_LEAST < size <= KEPT_MOST:
        for k, buffer in enumerate(kept):
            if buffer.nbytes >= size:
                del kept[k]
                return buffer[:size].view(dtype)
    if KEPT_LEAST < size <= KEPT_MOST:
        return np.empty(size, np.uint8).view(dtype)
    return np.empty(count, dtype)


def give_back(values: np.ndarray) -> None:
    """Keep the memory of an array that nobody reads any more for the next sweeps of this thread."""
    if CHECKED:
        checked_memory.give_back(values)
        return
    while isinstance(values.base, np.ndarray):
        values = values.base
    if values.dtype != np.uint8 or not KEPT_LEAST < values.nbytes <= KEPT_MOST:
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
