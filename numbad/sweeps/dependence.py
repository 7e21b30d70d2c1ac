"""What depends on what among rows: the questions of `kernels.dependence`, asked of arrays and of recordings."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.kernels.loading import call
from numbad.ops.definition import REGISTRY
from numbad.tape.layout import PINNED, is_guard
from numbad.tape.rows import Rows

NONE = np.zeros(0, np.uint8)
NO_WORDS = np.zeros(1, np.int64)
_carries: tuple[Any, np.ndarray] = None, NONE


def operands_that_carry() -> np.ndarray:
    """Return for each op the operands (bits 1 and 2) that its derivative depends on: none of a step."""
    global _carries
    last, found = _carries
    if last is not REGISTRY[-1]:
        found = np.array([(1 << op.arity) - 1 if op.smooth else 0 for op in REGISTRY], np.uint8)
        _carries = REGISTRY[-1], found
    return found


def mark_active(
    code: np.ndarray,
    words: np.ndarray,
    active: np.ndarray,
    spaces: np.ndarray = NONE,
    base: int = 0,
    accumulated: np.ndarray = NONE,
) -> np.ndarray:
    """Mark the addresses that depend on those marked; return which operands of each row do (bits 1 and 2)."""
    flags = np.zeros(code.size // 4, np.uint8)
    if flags.size:
        call("active_at", base, (code.reshape(-1), words, operands_that_carry(), active, spaces, flags, accumulated))
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


def rows_and_words(rows: Rows, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of some rows, and the words of all, where they lie: only until more are recorded."""
    stop = rows.row_count() if stop is None else stop
    words = np.frombuffer(rows.words, np.int64) if len(rows.words) else NO_WORDS
    return np.frombuffer(rows.code, np.uint32, 4 * (stop - start), 16 * start), words
