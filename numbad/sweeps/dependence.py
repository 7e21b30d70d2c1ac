"""What depends on what among rows: the questions of `kernels.dependence`, asked of arrays and of recordings."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels.calls import call, call_table
from numbad.kernels.memory import address_of
from numbad.ops.definition import REGISTRY
from numbad.recording import decisions
from numbad.tape.layout import PINNED, is_guard
from numbad.tape.rows import Rows

NONE = np.zeros(0, np.uint8)
_carries: tuple[Any, np.ndarray, tuple[int, int]] = None, NONE, (0, 0)


def operands_that_carry() -> tuple[np.ndarray, tuple[int, int]]:
    """Return for each op the operands (bits 1, 2) that its derivative depends on, and address and length of these."""
    global _carries
    last, found, place = _carries
    if last is not REGISTRY[-1]:
        found = np.array([(1 << op.arity) - 1 if op.smooth else 0 for op in REGISTRY], np.uint8)
        place = address_of(found), len(found)
        _carries = REGISTRY[-1], found, place
    return found, place


def mark_active(
    code: Any,
    words: Any,
    active: np.ndarray,
    spaces: np.ndarray = NONE,
    base: int = 0,
    accumulated: np.ndarray = NONE,
    first: int = 0,
    count: int = -1,
) -> np.ndarray:
    """Mark the addresses that depend on those marked; return which operands of each row do (bits 1 and 2).

    Rows and words are arrays or buffers; the rows are `count` from the first on, by default all of an array. Small
    regions of long recordings ask this, so nothing is made here that is as long as the recording.
    """
    flags = np.zeros(len(code) if count < 0 else count, np.uint8)
    if not len(flags):
        return flags
    carries, place = operands_that_carry()
    entries = [address_of(code) + 16 * first, 4 * len(flags), 0, 0, *place, address_of(active), len(active)]
    entries += [0, 0, address_of(flags), len(flags), 0, 0]
    for k, values in ((2, words), (8, spaces), (12, accumulated)):
        if len(values):
            entries[k], entries[k + 1] = address_of(values), len(values)
    call_table("active_at", base, entries, (code, words, carries, active, spaces, flags, accumulated))
    return flags


def mark_needed(
    code: np.ndarray,
    words: np.ndarray,
    needed: np.ndarray,
    flags: np.ndarray,
    slopes: np.ndarray = NONE,
    whole: bool = True,
) -> None:
    """Clear the flags of rows on which nothing needed depends; see `kernels.dependence.mark_needed`."""
    call("needed_at", whole, (code.reshape(-1), words, needed, flags, slopes))


def mark_varying(
    code: np.ndarray, words: np.ndarray, blocked: np.ndarray, varying: np.ndarray, spaces: np.ndarray = NONE
) -> np.ndarray:
    """Mark the addresses whose values vary with those marked, or with a row that is blocked; return such rows."""
    rows = np.zeros(len(blocked), np.uint8)
    call("varying_at", 0, (code.reshape(-1), words, blocked, varying, spaces, rows))
    return rows


def wanted_rows(code: np.ndarray) -> np.ndarray:
    """Return flags for `mark_needed`: all rows may be needed, and guards are."""
    return np.where(is_guard(code[:, 0]), PINNED, 1).astype(np.uint8)


def mark_rows(rows: Rows, active: np.ndarray, spaces: np.ndarray = NONE, base: int = 0, start: int = 0) -> np.ndarray:
    """Mark the addresses of a recording that depend on those marked, from a row on; return the flags of its rows."""
    count = rows.row_count() - start
    return mark_active(rows.code, rows.words, active, spaces, base, first=start, count=count)


def depends_on_inputs(recorder: Any, addresses: np.ndarray) -> bool:
    """Whether a derivative with respect to the inputs, or to small constant arrays, reaches some addresses."""
    active = np.zeros(recorder.size, bool)
    active[np.array(recorder.numbers[0::2], np.int64)] = True
    active[[0, recorder.zeros, *recorder.constants.values()]] = False
    for address, values in recorder.loads:
        active[address : address + len(values)] = True
    spaces = np.zeros(len(recorder.spaces), bool)
    spaces[list(recorder.input_spaces)] = True
    mark_rows(recorder, active, spaces)
    return bool(active[addresses].any())


decisions.dependence.append(depends_on_inputs)
