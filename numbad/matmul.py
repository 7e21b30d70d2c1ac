"""Products of vectors and matrices: one CONTRACT row, written without a detour."""

from __future__ import annotations

from typing import Any

from numbad.active import Array, as_active, make_block
from numbad.recorder import Recorder
from numbad.rows import CONTRACT


def matrix_product(recorder: Recorder, a: Any, b: Any) -> Any:
    """Return a @ b for vectors and matrices; None for stacks, scalars and shapes that do not fit."""
    a, b = as_active(recorder, a), as_active(recorder, b)
    if type(a) is not Array or type(b) is not Array:
        return None
    rank, other_rank = len(a.shape), len(b.shape)
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    strides: tuple[Any, ...]
    if not 1 <= rank <= 2 or not 1 <= other_rank <= 2 or a.shape[-1] != b.shape[0]:
        return None
    one, two = steps_of(a), steps_of(b)
    inner = a.shape[-1]
    if rank == 2 and other_rank == 1:
        rows = a.shape[0]
        shape, out_shape = (rows, inner), (rows,)
        strides = (1, 0), one[2], (0, *two[2])
    elif rank == 1 and other_rank == 2:
        columns = b.shape[1]
        shape, out_shape = (inner, columns), (columns,)
        strides = (0, 1), (*one[2], 0), two[2]
    elif rank == 1:
        shape, out_shape = (inner,), ()
        strides = (0,), one[2], two[2]
    else:
        rows, columns = a.shape[0], b.shape[1]
        out_shape = (rows, columns)
        (p, q), (r, s) = one[2], two[2]
        if inner < columns:
            shape = (rows, inner, columns)
            strides = (columns, 0, 1), (p, q, 0), (0, r, s)
        else:
            shape = (rows, columns, inner)
            strides = (columns, 1, 0), (p, 0, q), (0, s, r)
    return write_row(recorder, shape, out_shape, strides, one, two)


def steps_of(a: Array) -> tuple[int, int, tuple[int, ...]]:
    """Return space, address and strides of an operand."""
    space, address, strides = a.place()
    if strides is None:
        strides = (1,) if len(a.shape) == 1 else (a.shape[1], 1)
    return space, address, strides


def write_row(recorder: Recorder, shape: Any, out_shape: Any, strides: Any, one: Any, two: Any) -> Any:
    """Append the row; return its result."""
    count = total = 1
    for n in out_shape:
        count *= n
    flat = []
    for n in reversed(shape):
        flat.append(total)
        total *= n
    flat.reverse()
    out = recorder.allocate(count)
    words = recorder.words
    position = len(words)
    target, left, right = strides
    contiguous = tuple(flat)
    words.extend(
        (
            4 + 4 * len(shape) + 9,
            total,
            len(shape),
            count,
            *shape,
            kind_of(target, contiguous),
            0,
            out,
            *target,
            kind_of(left, contiguous),
            one[0],
            one[1],
            *left,
            kind_of(right, contiguous),
            two[0],
            two[1],
            *right,
        )
    )
    recorder.note_site()
    recorder.extend((CONTRACT, out, position, 3))
    return make_block(recorder, out, out_shape)


def kind_of(strides: Any, contiguous: Any) -> int:
    """Return 1 for strides that are contiguous over the index space, 2 for a repeated number, 0 for others."""
    return 1 if strides == contiguous else 0 if any(strides) else 2
