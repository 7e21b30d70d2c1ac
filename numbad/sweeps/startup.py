"""Small gradients, and the first ones of a process: both sweeps from machine code on disk, without Numba."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

from numbad.kernels import machinecode
from numbad.limits import CHECKED

if CHECKED:
    from numbad.kernels import checked_memory

MOST_ATTEMPTS = 3  # to find the machine code: none is ever there where no folder can be written to

_attempts = 0
_linearise = 0
_gradient_at: Any = None
_zero = array("d", (0.0,))


def prepare() -> bool:
    """Link the two functions that a gradient of scalar rows needs; False where they are not on disk."""
    global _attempts, _linearise, _gradient_at
    if _attempts == MOST_ATTEMPTS:
        return False
    _attempts += 1
    linearise, address = machinecode.load("linearise_float64"), machinecode.load("gradient_at_float64")
    if linearise is None or address is None:
        return False
    _linearise = linearise
    kinds = [ctypes.c_double] + [ctypes.c_int64] * 9
    found = ctypes.PYFUNCTYPE(ctypes.c_int64, *kinds)(address)
    _gradient_at = checked_memory.gate("gradient_at", found) if CHECKED else found
    return True


def gradient(code: array[int], numbers: Any, size: int, output: int, inputs: int) -> Any:
    """Return value and gradient of a tape of scalar rows.

    Parameters
    ----------
    code : array of uint32
        Rows of four.
    numbers : sequence of float
        Pairs of address and value: the inputs, at addresses 1 .. inputs, and the constants.
    size, output, inputs : int
        Number of addresses, address of the output, number of inputs.

    Returns
    -------
    tuple of float and list of float, or None
        None where the machine code is not on disk yet, or a row is not for the scalar machine.
    """
    if _gradient_at is None and not prepare():
        return None
    rows = len(code) // 4
    values, partials = _zero * size, _zero * (2 * rows)
    bar = _zero * size
    numbers = iter(numbers)
    for address in numbers:
        values[int(address)] = next(numbers)
    if CHECKED:
        checked_memory.lend(code, values, partials, bar)
    done = _gradient_at(
        0.0,
        _linearise,
        code.buffer_info()[0],
        rows,
        values.buffer_info()[0],
        partials.buffer_info()[0],
        bar.buffer_info()[0],
        size,
        output,
        inputs,
    )
    return (values[output], bar[1 : 1 + inputs].tolist()) if done == rows else None
