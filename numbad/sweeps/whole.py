"""Short tapes with arrays: both sweeps in one call of machine code, on memory that a thread, or a replay, keeps."""

from __future__ import annotations

import threading
from array import array
from typing import Any

import numpy as np

from numbad.kernels.loading import block_kernels, sweep, switch
from numbad.kernels.memory import address_of, empty
from numbad.limits import BLOCK, CHECKED, MANY_ROWS, SHORT_MEMORY
from numbad.recording.recorder import Recorder
from numbad.settings import config

if CHECKED:
    from numbad.kernels import checked_memory

_calls: dict[int, tuple[Any, ...]] = {}
_bases, _bars = array("Q", (0,)), array("Q", (0,))  # of a tape without spaces; filled under Python's lock


class Workspace:
    """Memory for the sweeps of one short tape: values, then cotangents, then partials; and scratch.

    Attributes
    ----------
    memory : ndarray, shape (SHORT_MEMORY,)
        Where the tape runs: it begins with the values.
    arena, spaces
        The cotangents, as `Cotangents` has them.
    address, scratch_address : int
        Where the two begin in memory.
    """

    __slots__ = ("address", "arena", "memory", "scratch", "scratch_address", "spaces")

    def __init__(self, dtype: np.dtype) -> None:
        self.memory = empty(SHORT_MEMORY, dtype)
        self.scratch = empty(4 * BLOCK, dtype)
        self.address, self.scratch_address = address_of(self.memory), address_of(self.scratch)
        self.arena: Any = None
        self.spaces: dict[int, np.ndarray] = {}


class Kept(threading.local):
    """The workspaces of a thread that nobody uses now, by the number of their dtype."""

    def __init__(self) -> None:
        self.works: dict[int, Workspace] = {}


_kept = Kept()


def prepare(dtype: np.dtype) -> tuple[Any, ...]:
    """Return the compiled functions for a dtype: one for both sweeps, what it calls, and the switches."""
    kernels = address_of(block_kernels(dtype))
    found = _calls[dtype.num] = (
        sweep("both_at", dtype, True),
        int(switch("forward_at", dtype)),
        int(switch("adjoint_at", dtype)),
        kernels,
        dtype.itemsize,
    )
    return found


def sweep_both(recorder: Recorder, output: int) -> Workspace | None:
    """Run both sweeps over a tape.

    Parameters
    ----------
    recorder : Recorder
        Nothing of it has been swept yet.
    output : int
        The address of the result.

    Returns
    -------
    Workspace or None
        With the values and the cotangents, until it is given back; None where the tape is long, or has rows
        that the compiled sweeps leave to Python: then nothing has been done.
    """
    if config._debug_nans:
        return None
    if not is_short(recorder):
        return None
    size, code, dtype = recorder.size, recorder.code, recorder.dtype
    rows = len(code) >> 2
    both, forward, adjoint, kernels, width = _calls.get(dtype.num) or prepare(dtype)
    work = _kept.works.pop(dtype.num, None) or Workspace(dtype)
    memory = work.memory
    if CHECKED:
        checked_memory.pour(memory)
        checked_memory.divide(memory, (size, size, 2 * rows))
    for address, block in recorder.loads:
        memory[address : address + block.size] = block
    bases, bars = (_bases, _bars) if len(recorder.spaces) == 1 else locate_spaces(recorder, work.spaces)
    numbers = recorder.numbers
    at = work.address
    if CHECKED:
        checked_memory.lend(code, recorder.words, bases, bars, numbers)
    done = both(
        0.0,
        forward,
        adjoint,
        kernels,
        code.buffer_info()[0],
        recorder.words.buffer_info()[0],
        bases.buffer_info()[0],
        bars.buffer_info()[0],
        at,
        at + 2 * size * width,
        at + size * width,
        work.scratch_address,
        numbers.buffer_info()[0],
        len(numbers) >> 1,
        size,
        rows,
        output,
    )
    if done != rows:
        give_back(work)
        return None
    work.arena = memory[size : 2 * size]
    return work


def locate_spaces(recorder: Recorder, kept: dict[int, np.ndarray]) -> tuple[array[int], array[int]]:
    """Return where the spaces and their cotangents begin in memory; constants have none.

    `kept` gets the cotangents by space, and by minus the space what had to be converted.
    """
    bases, bars = array("Q", (0,)), array("Q", (0,))
    for space, values in enumerate(recorder.spaces):
        if space:
            if values.dtype != recorder.dtype:
                values = kept[-space] = values.astype(recorder.dtype, order="K")
            bases.append(address_of(values))
            if space in recorder.input_spaces:
                values = kept[space] = np.zeros(values.size, recorder.dtype)
                bars.append(address_of(values))
            else:
                bars.append(0)
    return bases, bars


def give_back(work: Workspace) -> None:
    """Let the next short tape of this thread have the memory."""
    work.spaces = {}
    _kept.works[work.memory.dtype.num] = work


def is_short(recorder: Recorder) -> bool:
    """Whether a tape may run in one call."""
    rows = len(recorder.code) >> 2
    return not (2 * (recorder.size + rows) > SHORT_MEMORY or rows > MANY_ROWS or recorder.large or recorder.hosts)
