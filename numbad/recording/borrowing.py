"""Arrays of the user's that a recording reads: copied when they are met, or locked and compared while it runs.

A program may write to an array after it has been used, through the array itself or through a view that was made before.
Up to `COPIED` elements a recording takes a copy, so what is written later concerns later uses only, as in NumPy. A
copy of a larger array could cost more than its derivative. It is read where it lies, is read-only until the recording
ends, and a fingerprint (128 bits, XXH3) tells whether it has been written to through an older view. Above `SAMPLED`
elements (32 MB) only a sample of them is looked at: a few elements that change there go unnoticed.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
from xxhash import xxh3_128_digest

from numbad.errors import RecordingError, message
from numbad.kernels.threads import renew_in_children
from numbad.limits import COPIED, HASHED, SAMPLED

SAMPLES = 4096  # elements of a very large array that are compared


def sample(values: np.ndarray) -> bytes:
    """Return the bytes of an array, a fingerprint if they are many, of elements spread over it if it is very large."""
    values, size = np.asarray(values), values.size
    if size <= HASHED or values.dtype.hasobject:
        return values.tobytes()
    packed = is_packed(values)
    if not packed and size <= SAMPLED:
        return sample(values.copy())
    flat: Any = values.reshape(-1, order="F" if values.flags.f_contiguous else "C") if packed else values.flat
    if size <= SAMPLED:
        return xxh3_128_digest(flat.view(np.uint8))
    step = size // SAMPLES | 1  # odd: all columns of a matrix are met
    return flat[::step].tobytes() + flat[-1:].tobytes()


def is_packed(values: np.ndarray) -> bool:
    """Whether the elements lie in memory one after the other."""
    return bool(values.flags.c_contiguous or values.flags.f_contiguous)


def written(values: np.ndarray, before: bytes) -> bool:
    """Whether an array differs from the sample that was taken of it."""
    return sample(values) != before


class Borrowed:
    """An array of the user's that a recording has met.

    Attributes
    ----------
    values : ndarray
        The user's.
    memory : ndarray
        What the sweeps read: a copy, or the array itself.
    """

    __slots__ = ("before", "lock", "memory", "values")

    def __init__(self, values: np.ndarray) -> None:
        self.values = self.memory = values
        self.lock: Lock | None = None
        self.before = b""
        if values.size <= COPIED or not (is_locked(values) or can_lock(values)):
            self.memory = values.copy(order="K")
        else:
            self.lock = Lock(values)
            self.before = sample(values)

    def changed(self) -> bool:
        """Whether the array has been written to since it was met, as far as it is compared."""
        if self.memory is self.values:
            return written(self.values, self.before)
        return not np.array_equal(bits(self.values), bits(self.memory))

    def check(self) -> None:
        """Raise a RecordingError if an array that is read where it lies has been written to."""
        if self.memory is self.values and written(self.values, self.before):
            raise WrittenError(
                message(
                    f"an array of shape {self.values.shape} was written to after the function had used it",
                    "write to a copy, or use a copy in the function: np.sum(a.copy() * x)",
                )
            )


class WrittenError(RecordingError, ValueError):
    """A large array was written to while a recording read it where it lies."""


def bits(values: np.ndarray) -> np.ndarray:
    """Return an array of floats as integers of the same bits: NaN equals itself, and 0.0 is not -0.0."""
    kinds = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
    return values.view(kinds[values.itemsize]) if values.itemsize in kinds else values


# ---------------------------------------------------------------- locks

_families: dict[int, Family] = {}


class Guard:
    """Lets one thread at a time change what is locked."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


guard = Guard()
renew_in_children(guard)


class Family:
    """Arrays that share memory and are read-only until the last recording that reads it has ended."""

    def __init__(self, root: np.ndarray) -> None:
        self.root = root
        self.members: list[np.ndarray] = []
        self.holders = 0


def root_of(values: np.ndarray) -> np.ndarray:
    """Return the array that an array is a view of."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    return values


def can_lock(values: np.ndarray) -> bool:
    """Whether an array can be made read-only and writable again: memory of another library cannot, for one."""
    root = root_of(values)
    return not values.flags.writeable or (root.base is None and bool(root.flags.owndata and root.flags.writeable))


def is_locked(values: np.ndarray) -> bool:
    """Whether a recording has made the array read-only."""
    return id(root_of(values)) in _families


class Lock:
    """Makes an array, and those that it is a view of, read-only until `release`."""

    __slots__ = ("family",)

    def __init__(self, values: np.ndarray) -> None:
        self.family: Family | None = None
        root = root_of(values)
        with guard.lock:
            family = self.family = _families.setdefault(id(root), Family(root))
            family.holders += 1
            member: Any = values
            while isinstance(member, np.ndarray):
                if member.flags.writeable:
                    family.members.append(member)
                    member.flags.writeable = False
                member = member.base

    def release(self) -> None:
        """Give the arrays back as they were, unless another recording reads them."""
        with guard.lock:
            family, self.family = self.family, None
            if family is None:
                return
            family.holders -= 1
            if family.holders:
                return
            _families.pop(id(family.root), None)
            for member in sorted(family.members, key=views_above):  # an array before the views of it
                with contextlib.suppress(ValueError):  # the user has made what it is a view of read-only meanwhile
                    member.flags.writeable = True

    def __del__(self) -> None:
        self.release()


def views_above(values: np.ndarray) -> int:
    """Return how many arrays lie between an array and the memory that it is a view of."""
    count = 0
    while isinstance(values.base, np.ndarray):
        values = values.base
        count += 1
    return count
