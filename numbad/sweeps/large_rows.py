"""Large array rows: the serial block kernels under `prange`."""
# mypy: disable-error-code="no-untyped-def", check-untyped-defs=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import prange

from numbad.geometry import covers
from numbad.kernels.array import add_strided, map_adjoint, map_primal, total
from numbad.kernels.loading import block_kernels
from numbad.kernels.threads import compile_parallel, parallel_section, shared_section
from numbad.kernels.vectormath import view
from numbad.limits import BLOCK, PIECE
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


@compile_parallel
def map_primal_pieces(kernels, opcode, words, w, bases, like, count):
    """Compute an elementwise row."""
    for piece in prange((count + PIECE - 1) // PIECE):
        scratch = np.empty((2, BLOCK), like.dtype)
        stop = min(count, (piece + 1) * PIECE)
        map_primal(kernels, opcode, words, w, bases, like, scratch, piece * PIECE, stop)


@compile_parallel
def map_adjoint_pieces(kernels, opcode, words, w, bases, bars, like, count, which):
    """Take back an elementwise row whose operands are as large as it."""
    for piece in prange((count + PIECE - 1) // PIECE):
        scratch = np.empty((4, BLOCK), like.dtype)
        stop = min(count, (piece + 1) * PIECE)
        map_adjoint(kernels, opcode, words, w, bases, bars, like, scratch, piece * PIECE, stop, which)


@compile_parallel
def total_pieces(address, like, count):
    """Return the sum of a contiguous run."""
    pieces = (count + PIECE - 1) // PIECE
    partial = np.empty(pieces, like.dtype)
    for piece in prange(pieces):
        first = piece * PIECE
        start = np.uint64(np.int64(address) + first * like.itemsize)
        partial[piece] = total(view(start, min(PIECE, count - first), like))
    return total(partial)


def map_forward(execution: Execution, words: np.ndarray, w: int, opcode: int) -> None:
    """Compute a large elementwise row."""
    count = int(row_elements(words, w))
    with shared_section(count):
        map_primal_pieces(
            block_kernels(execution.values.dtype),
            opcode,
            words,
            w,
            execution.bases,
            execution.values,
            count,
        )


def map_backward(execution: Execution, words: np.ndarray, w: int, opcode: int, bars: Cotangents) -> None:
    """Take back a large elementwise row, in parallel for the operands that are as large as it."""
    kinds = operand_kinds(words, w)[1:]
    arguments = (block_kernels(execution.values.dtype), opcode, words, w, execution.bases, bars.bases, execution.values)
    count = int(row_elements(words, w))
    both = kinds == [1, 1] and (space_of(words, w, 1) != space_of(words, w, 2) or disjoint(words, w, count))
    with shared_section(count):
        if both:
            map_adjoint_pieces(*arguments, count, 3)
            return
        for k, kind in enumerate(kinds):
            if kind == 1:
                map_adjoint_pieces(*arguments, count, 1 << k)
            else:
                map_adjoint(*arguments, execution.blocks(), 0, count, 1 << k)


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
        with parallel_section:
            target[0] += total_pieces(np.uint64(source.ctypes.data), source, source.size)
    elif any(s == 0 and n > 1 for s, n in zip(target.strides, target.shape, strict=True)):
        (of, first), (by, second) = operand_place(words, w, t), operand_place(words, w, s)
        to_address = np.uint64(int(targets[of]) + first * target.itemsize)
        from_address = np.uint64(int(sources[by]) + second * target.itemsize)
        places = operand_at(words, w, t), operand_at(words, w, s)
        add_strided(words, w, places[0], to_address, places[1], from_address, source.reshape(-1)[:1])
    else:
        add_broadcast(target, source)
