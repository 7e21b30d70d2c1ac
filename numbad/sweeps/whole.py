"""Short tapes: both sweeps in one call of machine code, on memory that a thread keeps."""

from __future__ import annotations

import threading
from array import array
from typing import Any

import numpy as np

from numbad.kernels.loading import block_kernels, sweep, switch
from numbad.kernels.memory import address_of, empty, take_memory
from numbad.kernels.memory import give_back as give_memory_back
from numbad.kernels.run_layout import (
    ADJOINT,
    BAR,
    BARS,
    BASES,
    CODE,
    COUNT,
    FORWARD,
    INPUTS,
    KERNELS,
    LENGTH,
    NUMBERS,
    OUTPUT,
    PARTIALS,
    SCRATCH,
    SIZE,
    STOP,
    VALUES,
    WORDS,
)
from numbad.limits import BLOCK, CHECKED, LOCKED_ROWS, MANY_ROWS, SHORT, SHORT_MEMORY
from numbad.settings import config
from numbad.tape.rows import Rows

if CHECKED:
    from numbad.kernels import checked_memory


class Workspace:
    """Memory for the sweeps of one short tape: values, then cotangents, then partials; scratch; and the plan of a run.

    Attributes
    ----------
    memory : ndarray
        Where the tape runs: it begins with the values.
    numbers : memoryview
        The same memory, for Python's numbers.
    size : int
        Addresses of the tape that has run.
    spaces : dict of int to ndarray
        The cotangents of inputs outside of the arena, as `Cotangents` has them.
    plan : array of int64
        What the driver is told (see `run_layout`).
    """

    __slots__ = (
        "address",
        "driver",
        "key",
        "memory",
        "numbers",
        "plan",
        "plan_at",
        "scratch",
        "size",
        "spaces",
        "tables",
    )

    def __init__(self, dtype: np.dtype, arrays: bool, count: int = SHORT_MEMORY) -> None:
        self.key = dtype.num, arrays
        self.memory = empty(count, dtype) if count == SHORT_MEMORY else take_memory(count, dtype, False)
        self.numbers: Any = memoryview(self.memory)
        self.scratch = empty(4 * BLOCK, dtype) if arrays else None
        self.plan = new_plan(dtype, arrays, True, self.scratch)
        self.plan[VALUES] = self.address = address_of(self.memory)
        self.plan_at = self.plan.buffer_info()[0]
        self.driver = sweep("run_at", dtype, True)
        self.size = 0
        self.spaces: dict[int, np.ndarray] = {}
        self.tables = (array("Q", (0,)), array("Q", (0,)))  # of a tape without spaces

    @property
    def arena(self) -> np.ndarray:
        """The cotangents, as `Cotangents` has them."""
        return self.memory[self.size : 2 * self.size]


class Kept(threading.local):
    """The workspaces of a thread that nobody uses now, by the number of their dtype, and whether there are arrays."""

    def __init__(self) -> None:
        self.works: dict[tuple[int, bool], Workspace] = {}


_kept = Kept()


def new_plan(dtype: np.dtype, arrays: bool, slopes: bool, scratch: np.ndarray | None) -> array[int]:
    """Return a plan for tapes with or without array rows that names the compiled sweeps; `slopes` for both sweeps."""
    plan = array("q", bytes(8 * LENGTH))
    if arrays:
        plan[FORWARD] = int(switch("forward_at", dtype))
        plan[ADJOINT] = int(switch("adjoint_at", dtype))
        plan[KERNELS] = address_of(block_kernels(dtype))
        plan[SCRATCH] = address_of(scratch)
    else:
        plan[FORWARD] = int(switch("linearise" if slopes else "primal", dtype))
    return plan


def run_whole(rows: Rows, numbers: array[float], output: int, inputs: int) -> Workspace | None:
    """Run both sweeps over a tape.

    Parameters
    ----------
    rows : Rows
        Nothing of it has been swept yet.
    numbers : array of float64
        Pairs of address and value, flat: of inputs and constants.
    output : int
        The address of the result.
    inputs : int
        The inputs of a tape of scalar rows are at addresses 1 .. inputs.

    Returns
    -------
    Workspace or None
        With the values and the cotangents, until it is given back; None where the tape is long, or has rows
        that the compiled sweeps leave to Python: then nothing has been done.
    """
    if config._debug_nans or not is_short(rows):
        return None
    code: Any = rows.code
    words: Any = rows.words
    size = rows.size
    count, arrays = len(code) >> 2, bool(words)
    dtype, needed = rows.dtype, 2 * (size + count)
    work = _kept.works.pop((dtype.num, arrays), None) if needed <= SHORT_MEMORY else None
    if work is None:
        work = Workspace(dtype, arrays, max(needed, SHORT_MEMORY))
    memory, plan, step = work.memory, work.plan, size * dtype.itemsize
    if CHECKED:
        checked_memory.pour(memory)
        checked_memory.divide(memory, (size, size, 2 * count))
    for address, block in rows.loads:
        memory[address : address + block.size] = block
    if arrays:
        bases, bars = work.tables if len(rows.spaces) == 1 else locate_spaces(rows, work.spaces)
        plan[WORDS] = words.buffer_info()[0]
        plan[BASES], plan[BARS] = bases.buffer_info()[0], bars.buffer_info()[0]
        if CHECKED:
            checked_memory.lend(words, bases, bars)
    plan[CODE] = code.buffer_info()[0]
    plan[BAR] = work.address + step
    plan[PARTIALS] = work.address + 2 * step
    plan[NUMBERS], length = numbers.buffer_info()
    plan[COUNT] = length >> 1
    plan[STOP], plan[SIZE], plan[OUTPUT], plan[INPUTS] = count, size, output, inputs
    if CHECKED:
        checked_memory.lend(code, numbers, plan)
    driver = work.driver if count <= LOCKED_ROWS else sweep("run_at", dtype)
    done = driver(0.0, work.plan_at)
    if done != count:
        give_back(work)
        return None
    work.size = size
    return work


def locate_spaces(rows: Rows, kept: dict[int, np.ndarray]) -> tuple[array[int], array[int]]:
    """Return where the spaces and their cotangents begin in memory; constants have none.

    `kept` gets the cotangents by space, and by minus the space what had to be converted.
    """
    bases, bars = array("Q", (0,)), array("Q", (0,))
    for space, values in enumerate(rows.spaces):
        if space:
            if values.dtype != rows.dtype:
                values = kept[-space] = values.astype(rows.dtype, order="K")
            bases.append(address_of(values))
            if space in rows.input_spaces:
                values = kept[space] = np.zeros(values.size, rows.dtype)
                bars.append(address_of(values))
            else:
                bars.append(0)
    return bases, bars


def give_back(work: Workspace) -> None:
    """Let the next short tape of this thread have the memory."""
    if work.spaces:
        work.spaces = {}
    if len(work.memory) == SHORT_MEMORY:
        _kept.works[work.key] = work
    else:
        give_memory_back(work.memory)


def is_short(rows: Rows, hosts: bool = False) -> bool:
    """Whether a tape may run in one call: while it runs nobody looks at Python's signals.

    With `hosts` Python kernels are left aside, and what is short may run in a few calls.
    """
    count = len(rows.code) >> 2
    if not rows.words:  # scalar rows speak of no spaces: an input that has one is not read
        return count < SHORT and not rows.input_spaces
    return not (2 * (rows.size + count) > SHORT_MEMORY or count > MANY_ROWS or rows.large or (rows.hosts and not hosts))
