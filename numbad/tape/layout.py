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

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from numbad.limits import LARGE, PRODUCT_AXIS, PRODUCT_LEAST, PRODUCT_MOST

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
PINNED = 128  # of a flag of a row: it is needed, whoever reads it
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
Block = TypeVar("Block", "array[int]", "memoryview[int]", np.ndarray)  # of words, int64; a slice of one is another
Opcodes = TypeVar("Opcodes", int, np.ndarray)
Placed: TypeAlias = tuple[int, int, int, tuple[int, ...]]  # kind, space, address and strides of an operand
Strided: TypeAlias = tuple[int, int, tuple[int, ...]]  # the same without its kind
Span: TypeAlias = tuple[int, int, int]  # space, first address and number of elements
ABSENT_KIND = 3  # of the output of an ADD row whose block is -0.0 where nothing is added: it holds cotangents


class Words(Protocol):
    """What readers and writers of single words take: a block of words, or a list."""

    def __getitem__(self, place: int, /) -> int: ...
    def __setitem__(self, place: int, word: int, /) -> None: ...


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


def is_product(words: Words, w: int) -> bool:
    """Whether a CONTRACT row multiplies two matrices that are neither tiny nor large: `kernels.products` does it.

    Each of its three axes moves another two of the output and the factors. Exchanged in any way, as the adjoint and
    the tangent sweep do, they are a product of this kind, too.
    """
    elements = row_elements(words, w)
    if row_axes(words, w) != 3 or elements < PRODUCT_LEAST or elements > PRODUCT_MOST:
        return False
    out, one, other = operand_at(words, w, 0), operand_at(words, w, 1), operand_at(words, w, 2)
    met = 0
    for axis in range(3):
        if row_extent(words, w, axis) < PRODUCT_AXIS:
            return False
        moved = 1 if operand_stride(words, out, axis) else 0
        moved += 2 if operand_stride(words, one, axis) else 0
        moved += 4 if operand_stride(words, other, axis) else 0
        met |= 1 << moved
    return met == (1 << 3) + (1 << 5) + (1 << 6)


def is_left(opcode: int, words: Words, w: int) -> bool:
    """Whether compiled sweeps leave a row over an index space to Python because it is long."""
    return row_elements(words, w) >= LARGE and not (opcode == CONTRACT and is_product(words, w))


def array_row_size(axes: int, operands: int) -> int:
    """Return the number of words of a row over an index space; the output is one of its operands."""
    return HEAD + axes + operands * (PLACE + axes)


def operand_reference(d: int) -> int:
    """Return where the reference of the operand whose words begin at d lies: its space, then its address."""
    return d + 1


def is_output_address(opcode: int, a: int, words: Words, k: int) -> bool:
    """Whether the k-th word of a row that is no Python kernel and no SCATTER is the address of its output."""
    return opcode != GATHER and a + k == operand_reference(operand_at(words, a, 0)) + 1


def write_vector_row(words: Words, w: int, elements: int, operands: int) -> None:
    """Write the words before the operands of a row over one axis, which sets all of its output."""
    words[w], words[w + 1], words[w + 2], words[w + 3] = array_row_size(1, operands), elements, 1, elements
    words[w + HEAD] = elements


def write_vector_operand(words: Words, w: int, k: int, kind: int, address: int, stride: int) -> None:
    """Write an operand, in the arena, of a row over one axis whose first words are written."""
    d = operand_at(words, w, k)
    words[d], words[d + 1], words[d + 2], words[d + PLACE] = kind, 0, address, stride


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


def listed_step(opcode: int, out: int, w: int, words: Words, j: int) -> tuple[int, int, int]:
    """Return space and address of the j-th number that a GATHER or SCATTER row reads, and to which address it goes."""
    if opcode == GATHER:
        return 0, gather_place(words, w, j), out + j
    return scatter_space(words, w), scatter_address(words, w) + j, out + scatter_place(words, w, j)


def listed_head(opcode: int) -> int:
    """Return the number of words before the places of a GATHER or SCATTER row."""
    return 2 if opcode == GATHER else 5


def set_gather_place(words: Words, w: int, j: int, address: int) -> None:
    """Let a GATHER row read another address as its j-th."""
    words[w + 2 + j] = address


def scatter_reference(w: int) -> int:
    """Return where the reference of what a SCATTER row adds lies: its space, then its address."""
    return w + 3


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


def host_row_size(operands: int) -> int:
    """Return the number of words of a row of a Python kernel with so many operands and results."""
    return HEAD + PLACE * operands


def host_reference(w: int, k: int) -> int:
    """Return where the reference of an operand or result of a Python kernel lies: its space, then its address."""
    return w + HEAD + PLACE * k


def set_host_call(words: Words, w: int, call: int) -> None:
    """Let a row of a Python kernel call another of the hosts."""
    words[w + 1] = call


# ---------------------------------------------------------------- references: a space, then an address in it


def reference_space(words: Words, r: int) -> int:
    """Return the space that a reference names."""
    return words[r]


def reference_address(words: Words, r: int) -> int:
    """Return the address that a reference names."""
    return words[r + 1]


def set_reference(words: Words, r: int, space: int, address: int) -> None:
    """Let a reference name another space and address."""
    words[r], words[r + 1] = space, address


def read_reference(opcode: int, a: int, words: Words, k: int) -> int:
    """Return where the reference of the k-th place that a row reads lies; scalar rows and GATHER have none."""
    if opcode == SCATTER:
        return scatter_reference(a)
    if opcode == HOST:
        return host_reference(a, k)
    return operand_reference(operand_at(words, a, k + 1))


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


def is_guard(opcode: Opcodes) -> Opcodes:
    """Whether a row is a guard; of many opcodes, which are."""
    found: Opcodes = (opcode == GUARD) | (opcode == GUARD_VALUE)
    return found


def has_index_space(opcode: int) -> bool:
    """Whether a row loops over an index space: MAP, ADD, CONTRACT."""
    return opcode >= MAP and (opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT)


def is_accumulation(opcode: int, a: int, words: Words) -> bool:
    """Whether a row adds to a block that an earlier row has cleared."""
    return (opcode == ADD or opcode == CONTRACT) and row_cleared(words, a) == 0


READERS = (
    array_row_size,
    gather_place,
    has_index_space,
    host_address,
    host_call,
    host_elements,
    host_inputs,
    host_outputs,
    host_reference,
    host_row_size,
    host_space,
    is_accumulation,
    is_guard,
    is_left,
    is_output_address,
    is_product,
    listed_count,
    listed_head,
    listed_step,
    operand_address,
    operand_at,
    operand_count,
    operand_kind,
    operand_reference,
    operand_space,
    operand_span,
    operand_stride,
    read_count,
    read_place,
    read_reference,
    reference_address,
    reference_space,
    row_axes,
    row_cleared,
    row_elements,
    row_extent,
    row_size,
    scatter_address,
    scatter_block,
    scatter_place,
    scatter_reference,
    scatter_space,
    set_gather_place,
    set_host_call,
    set_reference,
    write_span,
    write_vector_operand,
    write_vector_row,
)  # what compiled functions may call too


# ---------------------------------------------------------------- for Python alone: whole shapes, operands and lists


def row_shape(words: Block, w: int) -> tuple[int, ...]:
    """Return the shape of the index space."""
    return tuple(words[w + HEAD : w + HEAD + words[w + 2]].tolist())


def row_operands(words: Block, w: int) -> list[Strided]:
    """Return space, address and strides of the output and of each operand of a row over an index space."""
    row = words[w : w + words[w]].tolist()
    step = PLACE + row[2]
    return [(row[d + 1], row[d + 2], tuple(row[d + PLACE : d + step])) for d in range(HEAD + row[2], len(row), step)]


def operand_kinds(words: Words, w: int) -> list[int]:
    """Return the kinds of the output and of each operand."""
    return [int(words[operand_at(words, w, k)]) for k in range(operand_count(words, w))]


def space_of(words: Words, w: int, k: int) -> int:
    """Return the space of an operand."""
    return int(words[space_at(words, w, k)])


def operand_place(words: Words, w: int, k: int) -> tuple[int, int]:
    """Return the space and the address of an operand."""
    d = operand_at(words, w, k)
    return int(words[d + 1]), int(words[d + 2])


def operand_strides(words: Block, w: int, k: int) -> tuple[int, ...]:
    """Return how far an operand steps along each axis of the index space."""
    d = operand_at(words, w, k) + PLACE
    return tuple(words[d : d + words[w + 2]].tolist())


def gather_places(words: Block, w: int) -> Block:
    """Return the addresses that a GATHER row reads."""
    return words[w + 2 : w + 2 + words[w + 1]]


def scatter_places(words: Block, w: int) -> Block:
    """Return to which elements of its block a SCATTER row adds."""
    return words[w + 5 : w + 5 + words[w + 1]]


def scatter_source(words: Words, w: int) -> Span:
    """Return space, address and number of elements of what a SCATTER row adds."""
    return int(words[w + 3]), int(words[w + 4]), int(words[w + 1])


def host_places(words: Block, w: int) -> tuple[list[Span], list[Span]]:
    """Return space, address and number of elements of what a Python kernel reads, and of its results."""
    row = words[w : w + words[w]].tolist()
    places = [(row[d], row[d + 1], row[d + 2]) for d in range(HEAD, len(row), PLACE)]
    return places[: row[2]], places[row[2] :]


def step_count(words: Words, w: int) -> int:
    """Return the elements of an index space or a list: how often a row of any kind but HOST does what it does."""
    return words[w + 1]


def written_count(opcode: int, a: int, words: Block) -> int:
    """Return the number of elements of the block that a row makes: 0 where it makes none, as one that accumulates."""
    if opcode < MAP:
        return 1
    if opcode == GUARD or opcode == GUARD_VALUE:
        return 0
    if opcode == GATHER:
        return int(listed_count(words, a))
    if opcode == SCATTER:
        return int(scatter_block(words, a))
    if opcode == HOST:
        return sum(count for _, _, count in host_places(words, a)[1])
    return int(row_cleared(words, a))


def places_read(opcode: int, out: int, a: int, b: int, words: Words) -> list[tuple[int, int, int]]:
    """Return space, first and last address of each place that a row reads; see `read_place`."""
    found = [read_place(opcode, out, a, b, words, k) for k in range(read_count(opcode, a, b, words))]
    return [(int(space), int(first), int(last)) for space, first, last in found]


def find_large(code: np.ndarray, words: np.ndarray) -> list[int]:
    """Return the elementwise rows of many elements, which sweeps run in parallel."""
    rows = np.flatnonzero((code[:, 0] >= MAP) & (code[:, 0] < 2 * MAP))
    return rows[row_elements(words, code[rows, 2].astype(np.int64)) >= LARGE].tolist() if len(rows) else []


def find_accumulations(code: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return a flag for each row: whether it adds to a block that another has cleared; rows need not be verified."""
    found = np.zeros(len(code), bool)
    sums = np.flatnonzero((code[:, 0] == ADD) | (code[:, 0] == CONTRACT))
    if len(sums):
        inside = np.minimum(code[sums, 2].astype(np.int64), len(words) - HEAD)
        found[sums] = row_cleared(words, inside) == 0
    return found


# ---------------------------------------------------------------- writers


def index_words(shape: tuple[int, ...], cleared: int, operands: Iterable[Placed]) -> list[int]:
    """Return the words of a row over an index space; operands are (kind, space, address, strides), the output first."""
    words = [0, math.prod(shape), len(shape), cleared, *shape]
    for kind, space, address, strides in operands:
        words += (kind, space, address, *strides)
    words[0] = len(words)
    return words


def gather_words(addresses: np.ndarray) -> array[int]:
    """Return the words of a row that collects arena addresses."""
    return listing_words((2 + addresses.size, addresses.size), addresses)


def scatter_words(addresses: np.ndarray, size: int, space: int, source: int) -> array[int]:
    """Return the words of a row that adds a contiguous block onto places of a block of `size`."""
    return listing_words((5 + addresses.size, addresses.size, size, space, source), addresses)


def listing_words(head: tuple[int, ...], addresses: np.ndarray) -> array[int]:
    """Return the words of a row that ends in a list of places."""
    words = array("q", head)
    words.frombytes(np.ascontiguousarray(addresses, np.int64).tobytes())
    return words


def host_words(call: int, inputs: Sequence[Span], outputs: Sequence[Span]) -> list[int]:
    """Return the words of a row of a Python kernel; what it reads and its results are (space, address, elements)."""
    words = [0, call, len(inputs), len(outputs)]
    for place in (*inputs, *outputs):
        words += place
    words[0] = len(words)
    return words


def address_at(words: Words, w: int, k: int) -> int:
    """Return where the address of an operand stands."""
    return operand_at(words, w, k) + 2


def space_at(words: Words, w: int, k: int) -> int:
    """Return where the space of an operand stands."""
    return operand_reference(operand_at(words, w, k))


def mark_absent(words: Words, w: int) -> None:
    """Let a sum hold -0.0 where nothing is added."""
    words[operand_at(words, w, 0)] = ABSENT_KIND


def is_absent_sum(words: Words, w: int) -> bool:
    """Whether a sum holds -0.0 where nothing is added."""
    return bool(words[operand_at(words, w, 0)] == ABSENT_KIND)


def move_operands(words: Words, opcode: int, w: int, moved: dict[int, int]) -> None:
    """Let an array row read copies of spaces in the arena; `moved` has, by space, where its copy begins."""
    places: Iterable[int] = ()  # of references
    if opcode < 2 * MAP or opcode == ADD or opcode == CONTRACT:
        places = [space_at(words, w, k) for k in range(operand_count(words, w))]
    elif opcode == SCATTER:
        places = (scatter_reference(w),)
    elif opcode == HOST:
        places = [host_reference(w, k) for k in range(host_inputs(words, w) + host_outputs(words, w))]
    for place in places:
        copy = moved.get(int(reference_space(words, place)))
        if copy is not None:
            set_reference(words, place, 0, reference_address(words, place) + copy)


def empty_row(words: Words, opcode: int, w: int) -> None:
    """Let an array row speak of no elements, so that it does nothing."""
    words[w + 1] = 0
    if opcode == ADD or opcode == CONTRACT:
        words[w + 3] = 0
    elif opcode == SCATTER:
        words[w + 2] = 0
