"""Large array rows: the kernels of array rows on shares of them, which threads take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.geometry import covers
from numbad.kernels.calls import entries_of, run_entry, run_shares, total
from numbad.kernels.loading import BLOCKS, block_kernels, make_ready
from numbad.kernels.memory import empty
from numbad.kernels.parallel import count_shares
from numbad.limits import PIECE
from numbad.sweeps.operands import add_broadcast, bar_spaces, operand, primal_spaces
from numbad.tape.layout import (
    is_absent_sum,
    operand_at,
    operand_kinds,
    operand_place,
    row_axes,
    row_cleared,
    row_elements,
    space_of,
)

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution


def map_forward(execution: Execution, words: np.ndarray, w: int, opcode: int) -> None:
    """Compute a large elementwise row."""
    values = execution.values
    make_ready(BLOCKS, values.dtype, (opcode,))
    count = int(row_elements(words, w))
    arrays = (block_kernels(values.dtype), words, execution.bases, values)
    run_shares("map_forward_at", values.dtype, count_shares(count), arrays, opcode, w, count)


def map_backward(execution: Execution, words: np.ndarray, w: int, opcode: int, bars: Cotangents) -> None:
    """Take back a large elementwise row, in shares for the operands that are as large as it."""
    values = execution.values
    make_ready(BLOCKS, values.dtype, (opcode,))
    kinds = operand_kinds(words, w)[1:]
    count = int(row_elements(words, w))
    shares = count_shares(count)
    arrays = (block_kernels(values.dtype), words, execution.bases, bars.bases, values)
    if kinds == [1, 1] and (space_of(words, w, 1) != space_of(words, w, 2) or disjoint(words, w, count)):
        run_shares("map_backward_at", values.dtype, shares, arrays, opcode, w, count, 3)
        return
    for k, kind in enumerate(kinds):
        run_shares("map_backward_at", values.dtype, shares if kind == 1 else 1, arrays, opcode, w, count, 1 << k)


def disjoint(words: Any, w: int, count: int) -> bool:
    """Whether two contiguous operands of one space are the same or do not touch."""
    first, second = (operand_place(words, w, k)[1] for k in (1, 2))
    return first == second or abs(first - second) >= count


def add_forward(execution: Execution, code: np.ndarray, words: np.ndarray, row: int) -> None:
    """Compute a large sum or copy."""
    w = int(code[row, 2])
    get = primal_spaces(execution)
    zeroed, out = int(row_cleared(words, w)), int(code[row, 1])
    target = operand(get, words, w, 0)
    if zeroed:  # a sum of -0.0 alone, and a copy of it, is -0.0: so what is absent stays so
        absent = is_absent_sum(words, w) or covers(target, zeroed)
        execution.values[out : out + zeroed] = -0.0 if absent else 0.0
    add_over(target, operand(get, words, w, 1), words, w, execution.bases, execution.bases, 0, 1)


def add_backward(execution: Execution, code: np.ndarray, words: np.ndarray, row: int, bars: Cotangents) -> None:
    """Take back a large sum or copy: the same with its operands exchanged."""
    w = int(code[row, 2])
    get = bar_spaces(bars)
    if get(space_of(words, w, 1)) is not None:
        add_over(operand(get, words, w, 1), operand(get, words, w, 0), words, w, bars.bases, bars.bases, 1, 0)


def add_over(
    target: np.ndarray, source: np.ndarray, words: Any, w: int, targets: Any, sources: Any, t: int, s: int
) -> None:
    """Add a view to another over one index space."""
    if row_axes(words, w) == 1 and target.strides == (0,) and source.strides == (source.itemsize,):
        sums = empty(-(-source.size // PIECE), source.dtype)
        run_shares("totals_at", source.dtype, count_shares(), (source, sums))
        target[0] += total(sums)
    elif any(s == 0 and n > 1 for s, n in zip(target.strides, target.shape, strict=True)):
        (of, first), (by, second) = operand_place(words, w, t), operand_place(words, w, s)
        to = operand_at(words, w, t), int(targets[of]) + first * target.itemsize
        origin = operand_at(words, w, s), int(sources[by]) + second * target.itemsize
        run_entry("add_at", target.dtype, w, entries_of(words), *to, *origin)
    else:
        add_broadcast(target, source)
