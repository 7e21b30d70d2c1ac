"""Where each word of a row lies: the kinds of rows, their operands, and what they read and write.

MAP + opcode    an elementwise op over arrays
ADD             out[...] += a[...] over an index space: sums, copies, broadcasts
CONTRACT        out[...] += a[...] * b[...] over an index space: products of matrices and tensors
GATHER, SCATTER read from, or add to, a list of places
HOST            a Python kernel
GUARD           the recorded truth of a value: replay stops where it differs
GUARD_VALUE     the recorded value itself

A row is four numbers: opcode, out, a, b. The `a` of an array row says where its words begin. Words of MAP, ADD and
CONTRACT:

    size, elements, axes, cleared, shape[axes], then for out, a (and b): kind, space, address, strides[axes]

`kind` is 1 for an operand that is contiguous over the index space, 2 for a scalar, 0 for another. Words of the others:

    GATHER    size, count, places[count]
    SCATTER   size, count, block, space, address, places[count]
    HOST      size, call, inputs, outputs, then for each input and output: space, address, elements

No other module reads words by their place. The functions here are plain arithmetic of integers: Python calls them, and
compiled functions do, by way of `kernels.layout`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numbad.limits import LARGE

MAP = 256
WHOLE = 1 << 56  # the length of a view of memory whose end is not known: only the checked build looks it up
GUARD = 1024
GUARD_VALUE = 1025
ADD = 1026
CONTRACT = 1027
GATHER = 1028
SCATTER = 1029
HOST = 1030
CLEAR = 1031  # only in lowered programs (`lowering`): one element set to zero
FLAGS = (1, 2, 4, 8)  # of a row of an adjoint program: a wanted, b wanted, first to reach a, first to reach b

NAMES = {
    GUARD: "guard",
    GUARD_VALUE: "guard_value",
    ADD: "add_over",
    CONTRACT: "contract",
    GATHER: "gather",
    SCATTER: "scatter",
    HOST: "host",
}
Words = Any  # of int64: an array of Python's or NumPy's, or a list
ABSENT_KIND = 3  # of the output of an ADD row whose block is -0.0 where nothing is added: it holds cotangents


# ---------------------------------------------------------------- rows over an index space: MAP, ADD, CONTRACT

HEAD = 4  # words before the shape: size, elements, axes, cleared
PLACE = 3  # words of an operand before its strides: kind, space, address


def row_size(words: Words, w: int) -> int:
    """Return the number of words of a row."""
    return words[w]


def row_elements(words: Words, w: int) -> int:
    """Return the number of elements of the index space."""
    return words[w + 1]


def row_axes(words: Words, w: int) -> int:
    """Return the number of axes of the index space."""
    return words[w + 2]


def row_cleared(words: Words, w: int) -> int:
    """Return how many elements from `out` on the row sets to zero before it adds to them."""
    return words[w + 3]


def row_extent(words: Words, w: int, axis: int) -> int:
    """Return the length of an axis of the index space."""
    return words[w + HEAD + axis]


def operand_at(words: Words, w: int, k: int) -> int:
    """Return where the words of an operand begin; operand 0 is the output."""
    return w + HEAD + words[w + 2] + k * (PLACE + words[w + 2])


def operand_count(words: Words, w: int) -> int:
    """Return the number of operands, the output included."""
    return (words[w] - HEAD - words[w + 2]) // (PLACE + words[w + 2])


def operand_kind(words: Words, d: int) -> int:
    """Return the kind of the operand whose words begin at d: 1 for contiguous, 2 for a scalar, 0 for another."""
    return words[d]


def operand_space(words: Words, d: int) -> int:
    """Return the space of an operand."""
    return words[d + 1]


def operand_address(words: Words, d: int) -> int:
    """Return the address of an operand's first element in its space."""
    return words[d + 2]


def operand_stride(words: Words, d: int, axis: int) -> int:
    """Return how far an operand steps along an axis of the index space."""
    return words[d + PLACE + axis]


def operand_span(words: Words, w: int, k: int) -> tuple[int, int, int]:
    """Return space, first and last address that an operand touches; a last address before the first for none."""
    d = operand_at(words, w, k)
    low = high = operand_address(words, d)
    if row_elements(words, w) == 0:
        return operand_space(words, d), low, low - 1
    for axis in range(row_axes(words, w)):
        reach = (row_extent(words, w, axis) - 1) * operand_stride(words, d, axis)
        low, high = min(low, low + reach), max(high, high + reach)
    return operand_space(words, d), low, high


# ---------------------------------------------------------------- GATHER, SCATTER


def listed_count(words: Words, w: int) -> int:
    """Return how many places a GATHER or SCATTER row lists."""
    return words[w + 1]


def gather_place(words: Words, w: int, j: int) -> int:
    """Return the j-th address that a GATHER row reads."""
    return words[w + 2 + j]


def scatter_block(words: Words, w: int) -> int:
    """Return the number of elements of the block that a SCATTER row writes."""
    return words[w + 2]


def scatter_space(words: Words, w: int) -> int:
    """Return the space of what a SCATTER row adds."""
    return words[w + 3]


def scatter_address(words: Words, w: int) -> int:
    """Return the address of what a SCATTER row adds."""
    return words[w + 4]


def scatter_place(words: Words, w: int, j: int) -> int:
    """Return to which element of the block a SCATTER row adds its j-th number."""
    return words[w + 5 + j]


# ---------------------------------------------------------------- HOST


def host_call(words: Words, w: int) -> int:
    """Return the position of a row's call among the hosts."""
    return words[w + 1]


def host_inputs(words: Words, w: int) -> int:
    """Return the number of operands that a Python kernel reads."""
    return words[w + 2]


def host_outputs(words: Words, w: int) -> int:
    """Return the number of results of a Python kernel."""
    return words[w + 3]


def host_space(words: Words, w: int, k: int) -> int:
    """Return the space of an operand of a Python kernel; its results come after what it reads."""
    return words[w + HEAD + PLACE * k]


def host_address(words: Words, w: int, k: int) -> int:
    """Return the first address of an operand or result of a Python kernel."""
    return words[w + HEAD + PLACE * k + 1]


def host_elements(words: Words, w: int, k: int) -> int:
    """Return the number of elements of an operand or result of a Python kernel."""
    return words[w + HEAD + PLACE * k + 2]


# ---------------------------------------------------------------- what a row reads and writes


def read_count(opcode: int, a: int, b: int, words: Words) -> int:
    """Return how many places a row of at most two operands reads; address 0 counts."""
    if opcode < MAP or opcode == GUARD_VALUE:
        return 2
    if opcode < 2 * MAP:
        return b
    if opcode == ADD or opcode == CONTRACT:
        return b - 1
    if opcode == GATHER:
        return listed_count(words, a)
    if opcode == HOST:
        return host_inputs(words, a)
    return 1


def read_place(opcode: int, out: int, a: int, b: int, words: Words, k: int) -> tuple[int, int, int]:
    """Return space, first and last address of the k-th place that a row reads."""
    if opcode < MAP:
        return (0, a, a) if k == 0 else (0, b, b)
    if opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT:
        return operand_span(words, a, k + 1)
    if opcode == GUARD or opcode == GUARD_VALUE:
        return (0, a, a) if k == 0 else (0, out, out)
    if opcode == GATHER:
        return 0, gather_place(words, a, k), gather_place(words, a, k)
    if opcode == SCATTER:
        first = scatter_address(words, a)
        return scatter_space(words, a), first, first + listed_count(words, a) - 1
    first = host_address(words, a, k)
    return host_space(words, a, k), first, first + host_elements(words, a, k) - 1


def write_span(opcode: int, out: int, a: int, words: Words) -> tuple[int, int]:
    """Return the first and last address that a row writes to; a last address before the first for guards."""
    if opcode < MAP:
        return out, out
    if opcode == GUARD or opcode == GUARD_VALUE:
        return 0, -1
    if opcode < 2 * MAP:
        return out, out + row_elements(words, a) - 1
    if opcode == GATHER:
        return out, out + listed_count(words, a) - 1
    if opcode == SCATTER:
        return out, out + scatter_block(words, a) - 1
    low, high = 0, -1
    if opcode == HOST:
        for k in range(host_inputs(words, a), host_inputs(words, a) + host_outputs(words, a)):
            if host_elements(words, a, k) > 0:
                first = host_address(words, a, k)
                last = first + host_elements(words, a, k) - 1
                low, high = (first, last) if low > high else (min(low, first), max(high, last))
        return low, high
    _, low, high = operand_span(words, a, 0)
    if row_cleared(words, a) == 0:
        return low, high
    last = out + row_cleared(words, a) - 1
    return (min(low, out), max(high, last)) if low <= high else (out, last)


def is_accumulation(opcode: int, a: int, words: Words) -> bool:
    """Whether a row adds to a block that an earlier row has cleared."""
    return (opcode == ADD or opcode == CONTRACT) and row_cleared(words, a) == 0


def find_large(code: np.ndarray, words: np.ndarray) -> list[int]:
    """Return the elementwise rows of many elements, which sweeps run in parallel."""
    rows = np.flatnonzero((code[:, 0] >= MAP) & (code[:, 0] < 2 * MAP))
    return rows[row_elements(words, code[rows, 2].astype(np.int64)) >= LARGE].tolist() if len(rows) else []


READERS = (
    gather_place,
    host_address,
    host_call,
    host_elements,
    host_inputs,
    host_outputs,
    host_space,
    is_accumulation,
    listed_count,
    operand_address,
    operand_at,
    operand_count,
    operand_kind,
    operand_space,
    operand_span,
    operand_stride,
    read_count,
    read_place,
    row_axes,
    row_cleared,
    row_elements,
    row_extent,
    row_size,
    scatter_address,
    scatter_block,
    scatter_place,
    scatter_space,
    write_span,
)  # what compiled functions may call too
