"""Fingerprints of arrays: short ones that tell whether an array has been written to since."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 128  # independent chains of multiplications, which the processor works on at once
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that a chain forgets nothing


@njit(nogil=True, cache=True, error_model="numpy")
def mix(words, lanes):
    """Mix words into lanes, each word into the lane of its turn: an order that changes is another result."""
    count, one = np.uint64(words.size), np.uint64(1)
    k = np.uint64(0)
    while k + np.uint64(LANES) <= count:
        for j in range(np.uint64(LANES)):
            lanes[j] = (lanes[j] ^ words[k + j]) * FACTOR
        k += np.uint64(LANES)
    j = np.uint64(0)
    while k < count:
        lanes[j] = (lanes[j] ^ words[k]) * FACTOR
        k += one
        j += one


def fingerprint(flat: np.ndarray) -> bytes:
    """Return a fingerprint of all bytes of a contiguous vector, at the speed of reading it."""
    memory = flat.view(np.uint8)
    whole = memory.size // 8 * 8
    lanes = np.zeros(LANES, np.uint64)
    words = memory[:whole].view(np.uint64)
    mix(words if words.flags.aligned else words.copy(), lanes)
    return lanes.tobytes() + memory[whole:].tobytes()
