"""Calls of entries: compiled functions of a number and of a table of arrays (see `tables`).

The table holds address and length of each array, and numbers behind them. No array crosses the border: results are
written into arrays that the caller gives.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from numbad.errors import InternalError, message
from numbad.kernels.loading import sweep
from numbad.kernels.memory import address_of, empty
from numbad.kernels.parallel import run_alone, run_side_by_side
from numbad.limits import CHECKED, LOCKED_ROWS
from numbad.ops import reductions

if CHECKED:
    from numbad.kernels import checked_memory

from_buffer = c_char.from_buffer
FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def entries_of(*arrays: np.ndarray) -> array[int]:
    """Return address and length of each array, which must be contiguous."""
    entries = array("q")
    add = entries.append
    for values in arrays:
        try:
            add(addressof(from_buffer(values)))  # of what is contiguous and may be written
        except (TypeError, ValueError, BufferError):
            if not values.flags.c_contiguous:
                raise InternalError(
                    message("compiled code would read other elements", "report it", where=False)
                ) from None
            add(values.__array_interface__["data"][0] if values.size else 0)
        add(values.size)
        if CHECKED and values.size:
            address_of(values)
    return entries


def call(name: str, number: int, arrays: Sequence[np.ndarray]) -> int:
    """Call an entry of no dtype of a number and some arrays, rows first; what has few rows keeps Python's lock."""
    return call_table(name, number, entries_of(*arrays), arrays)


def call_table(name: str, number: int, entries: Iterable[int], lent: Sequence[Any]) -> int:
    """Call an entry of no dtype of a number and a table; `lent` are the arrays whose addresses stand there."""
    table = entries if isinstance(entries, array) else array("q", entries)
    if CHECKED:
        checked_memory.lend(table, *lent)
    return sweep(name, FLOAT64, table[1] <= 4 * LOCKED_ROWS)(0.0, number, table.buffer_info()[0])


def run_entry(name: str, dtype: np.dtype, number: int, entries: array[int], *more: int) -> int:
    """Call an entry of a dtype of a number and a table, of what is known and more; other threads of Python go on."""
    table = entries[:]
    table.extend(more)
    if CHECKED:
        checked_memory.lend(table)
    return sweep(name, dtype)(0.0, number, table.buffer_info()[0])


def run_shares(name: str, dtype: np.dtype, shares: int, arrays: Iterable[np.ndarray], *numbers: int) -> None:
    """Call an entry for each share of its work: of a table with the arrays, how many shares there are, and numbers.

    Where there is more than one, `parallel.count_shares` has said so, and threads run them side by side.
    """
    table = entries_of(*arrays)
    table.extend((shares, *numbers))
    if CHECKED:
        checked_memory.lend(table)
    address = table.buffer_info()[0]
    if shares == 1:
        run_alone(sweep(name, dtype), address)
    else:
        run_side_by_side(name, dtype, shares, address)


# ---------------------------------------------------------------- small entries


def total(values: np.ndarray) -> Any:
    """Return the sum of a contiguous run, added in pairs of runs."""
    result = empty(1, values.dtype)
    sweep("total_at", values.dtype)(0.0, address_of(values), values.size, address_of(result))
    return result[0]


def recurrence(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return s[..., i] = b[..., i] + a[..., i] * s[..., i - 1]; -0.0 is absent."""
    dtype = FLOAT32 if a.dtype == b.dtype == FLOAT32 else FLOAT64
    result = empty(b.shape, dtype)
    if result.size:
        parts = (np.ascontiguousarray(a, dtype), np.ascontiguousarray(b, dtype), result)
        width = b.shape[-1]
        sweep("recurrence_at", dtype)(0.0, *(address_of(part) for part in parts), b.size // width, width)
    return result


reductions.recurrence = recurrence
