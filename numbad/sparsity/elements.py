"""A tape as rows over single elements, in which patterns are found and derivatives' entries computed.

An elementwise row of n elements becomes n scalar rows, a sum or product over an index space a row for each of its
terms, those of one result next to one another. The results of a row that Python computes depend on all that it reads:
a JOIN row collects this at an address of its own, and each result is a copy. So it is done for very large products.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.kernels.memory import check_memory
from numbad.limits import limit
from numbad.ops.arithmetic import identity
from numbad.ops.definition import REGISTRY
from numbad.ops.reach import HUB, ITSELF, Unknown
from numbad.tape.layout import (
    ADD,
    CLEAR,
    CONTRACT,
    GATHER,
    GUARD,
    GUARD_VALUE,
    HOST,
    MAP,
    SCATTER,
    gather_places,
    host_call,
    host_places,
    is_absent_sum,
    operand_address,
    operand_at,
    operand_count,
    operand_reference,
    operand_space,
    row_axes,
    row_cleared,
    row_operands,
    row_shape,
    row_size,
    scatter_block,
    scatter_places,
    scatter_source,
    set_reference,
    step_count,
)
from numbad.tapes.lowering import clear_rows, make_rows, place_spaces, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numbad.ops.reach import Link
    from numbad.sweeps.execution import Execution
    from numbad.tapes.slots import Input, Output
    from numbad.tapes.tape import Tape

JOIN = 1032  # out depends on a, and on all that it depended on before; Python knows its value
ROW_BYTES = 64  # of an element row, while patterns are found
FEW = limit(64, 3)  # rows: fewer are compared one by one
MOST_TERMS = 1 << 26  # of a product whose terms become rows
MOST_ADDRESSES = 1 << 32  # what the words of a row can hold


@dataclasses.dataclass
class Elements:
    """A tape whose rows are rows over single elements.

    Attributes
    ----------
    code : ndarray of uint32, shape (rows, 4)
        (opcode, out, a, b): scalar rows and guards; CLEAR, ADD, CONTRACT and JOIN.
    size : int
        Number of addresses: of the arena, then of each space, then those of JOIN rows.
    starts : list of int
        Where the addresses of each space begin.
    python : bool
        Whether Python computes some of the rows.
    """

    code: np.ndarray
    size: int
    starts: list[int]
    python: bool


def take_elements(tape: Tape) -> Elements:
    """Return a tape as rows over single elements.

    Raises
    ------
    MemoryError
        When the rows do not fit into the free memory; nothing is allocated then.
    """
    code, words = tape.program_code(), tape.program_words()
    starts, size = place_spaces(tape)
    opcodes = code[:, 0]
    whole = (opcodes >= MAP) & (opcodes != GUARD) & (opcodes != GUARD_VALUE)
    check_memory(ROW_BYTES * (len(code) + size + count_terms(tape, np.flatnonzero(whole))))
    parts: list[tuple[np.ndarray, list[np.ndarray]]] = []  # rows that are alike, and the element rows of each
    products = large_products(code, words)
    whole_rows = np.setdiff1d(np.flatnonzero(whole & (opcodes != HOST)), products)
    for rows, made in alike_rows(code, words, whole_rows, starts):
        parts.append((rows, made))
    for row in products.tolist():
        joined, size = product_rows(code[row], words, starts, size)
        parts.append((np.array([row]), [np.concatenate(joined)[None]]))
    for row in np.flatnonzero(opcodes == HOST).tolist():
        joined, size = join_rows(tape, int(code[row, 2]), starts, size)
        parts.append((np.array([row]), [np.concatenate(joined)[None]]))
    if size >= MOST_ADDRESSES:
        raise MemoryError(f"the tape has {size:,} addresses, and a row can name {MOST_ADDRESSES:,}")
    hosts = np.array([op.host for op in REGISTRY], np.bool_)
    python = bool((opcodes == HOST).any() or products.size or hosts[opcodes[opcodes < 2 * MAP] % MAP].any())
    return Elements(assemble(code, np.flatnonzero(~whole), parts), size, starts, python)


def assemble(code: np.ndarray, single: np.ndarray, parts: list[tuple[np.ndarray, list[np.ndarray]]]) -> np.ndarray:
    """Return the element rows of all rows in order: of `single` the rows themselves, of others their parts."""
    counts = np.zeros(len(code), np.int64)
    counts[single] = 1
    for rows, pieces in parts:
        counts[rows] = sum(piece.shape[1] for piece in pieces)
    begins = np.cumsum(counts) - counts
    found = np.empty((int(counts.sum()), 4), np.uint32)
    found[begins[single]] = code[single]
    for rows, pieces in parts:
        begin = begins[rows]
        for piece in pieces:
            count = piece.shape[1]
            if len(rows) < count:
                for place, part in zip(begin.tolist(), piece, strict=True):
                    found[place : place + count] = part
            else:
                found[begin[:, None] + np.arange(count)] = piece
            begin = begin + count
    return found


def alike_rows(
    code: np.ndarray, words: np.ndarray, rows: np.ndarray, starts: list[int]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Return rows that differ in their addresses alone, and the element rows of each: shape (rows, elements, 4).

    A loop of many small array rows costs what its element rows cost.
    """
    lists = (code[rows, 0] == GATHER) | (code[rows, 0] == SCATTER)
    for row in rows[lists].tolist():
        yield np.array([row]), [piece[None] for piece in element_rows(code[row], words, starts)]
    rows = rows[~lists]
    at = code[rows, 2].astype(np.int64)
    kinds = np.stack([row_size(words, at), row_axes(words, at)], axis=1)
    for kind in groups_of(kinds):
        mine, length = rows[kind], int(kinds[kind[0], 0])
        taken = at[kind][:, None] + np.arange(length)
        table = words[taken]
        flat: Any = table.reshape(-1)
        begins: Any = np.arange(len(mine)) * length
        bases = []
        for k in range(int(operand_count(flat, 0))):
            place: Any = operand_at(flat, begins, k)
            base: Any = np.array(starts, np.int64)[operand_space(flat, place)] + operand_address(flat, place)
            bases.append(base)
            set_reference(flat, operand_reference(place), 0, 0 if k else base - code[mine, 1])
        for group in groups_of(np.column_stack([code[mine, 0].astype(np.int64), table])):
            row = np.array([code[mine[group[0]], 0], 0, 0, 0])
            moves = np.zeros((len(group), 1, 4), np.int64)
            moves[:, 0, 1] = code[mine[group], 1]
            for k, base in enumerate(bases[1:], start=2):
                moves[:, 0, k] = base[group]
            yield mine[group], [moved(piece, moves) for piece in element_rows(row, table[group[0]], [0])]


def groups_of(table: np.ndarray) -> list[np.ndarray]:
    """Return which rows of a table are the same, those of each group in order."""
    if len(table) < FEW:
        groups: dict[bytes, list[int]] = {}
        for k, row in enumerate(table):
            groups.setdefault(row.tobytes(), []).append(k)
        return [np.array(group) for group in groups.values()]
    keys = table @ np.random.default_rng(0).integers(-(1 << 62), 1 << 62, table.shape[1])
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    if (table != table[first[which]]).any():  # two keys are the same by chance
        _, which = np.unique(table, axis=0, return_inverse=True)
    order = np.argsort(which, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(which[order])) + 1)


def moved(rows: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return element rows for rows that are elsewhere: `moves` has the first addresses of results and operands."""
    found = np.empty((len(moves), len(rows), 4), np.uint32)
    for k in range(4):  # along the rows, not across their four numbers
        np.add(rows[:, k], moves[:, :, k].astype(np.uint32), out=found[:, :, k])
    cleared = np.flatnonzero(rows[:, 0] == CLEAR)
    found[:, cleared, 2:] = rows[cleared, 2:]
    return found


def large_products(code: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Return the products that have so many terms that they are not looked at one by one."""
    rows = np.flatnonzero(code[:, 0] == CONTRACT)
    return rows[step_count(words, code[rows, 2].astype(np.int64)) > MOST_TERMS]


def product_rows(row: np.ndarray, words: np.ndarray, starts: list[int], size: int) -> tuple[list[np.ndarray], int]:
    """Return rows that say on what the results of a large product depend, and the next free address.

    Result (i, k) of a product of matrices depends on row i of the one and on column k of the other, for each of which
    there is an address that joins what its elements depend on: n * n rows in place of n * n * n. A factor of zero that
    is a constant passes on, too.
    """
    out, w = int(row[1]), int(row[2])
    shape, (result, *operands) = np.array(row_shape(words, w)), row_operands(words, w)
    steps = np.array(result[2])
    made = [clear_rows(out, int(row_cleared(words, w)))]
    ends, begins = [], []
    for space, first, strides in operands:
        read, common = np.array(strides) != 0, (np.array(strides) != 0) & (steps != 0)
        count = int(shape[common].prod())
        hub_steps = np.zeros(len(shape), np.int64)
        hub_steps[common] = count // np.cumprod(shape[common])
        kept = [
            spread(at, shape[axes].tolist(), by[axes].tolist()).reshape(-1)
            for at, axes, by in (
                (size, read, hub_steps),
                (starts[space] + first, read, np.array(strides)),
                (size, steps != 0, hub_steps),
            )
        ]
        order = np.argsort(kept[0], kind="stable")
        made += [clear_rows(size, count), make_rows(JOIN, kept[0][order], kept[1][order])]
        ends.append(
            spread(starts[result[0]] + result[1], shape[steps != 0].tolist(), steps[steps != 0].tolist()).reshape(-1)
        )
        begins.append(kept[2])
        size += count
    end, begin = np.concatenate(ends), np.concatenate(begins)
    order = np.argsort(end, kind="stable")
    return [*made, make_rows(JOIN, end[order], begin[order])], size


def count_terms(tape: Tape, rows: np.ndarray) -> int:
    """Return how many element rows there will be for array rows, about."""
    code, words = tape.program_code(), tape.program_words()
    hosts = code[rows, 0] == HOST
    steps = step_count(words, code[rows[~hosts], 2].astype(np.int64))
    total = int(np.minimum(steps, MOST_TERMS).sum())
    for row in rows[hosts].tolist():
        total += sum(count for part in host_places(words, int(code[row, 2])) for _, _, count in part)
    return total


def element_rows(row: np.ndarray, words: np.ndarray, starts: list[int]) -> list[np.ndarray]:
    """Return the rows of an array row that is no Python kernel's."""
    opcode, out, w = int(row[0]), int(row[1]), int(row[2])
    if opcode == GATHER:
        listed = gather_places(words, w)
        return [make_rows(identity.opcode, out + np.arange(listed.size), listed)]
    if opcode == SCATTER:
        space, source, count = scatter_source(words, w)
        targets = out + scatter_places(words, w)
        cleared, sources = int(scatter_block(words, w)), starts[space] + source + np.arange(count)
        return sum_rows(ADD, out, cleared, False, targets, sources)
    shape, places = row_shape(words, w), row_operands(words, w)
    operands = [spread(starts[space] + first, shape, steps).reshape(-1) for space, first, steps in places]
    if opcode < 2 * MAP:
        return [make_rows(opcode - MAP, *operands)]
    absent = opcode == ADD and is_absent_sum(words, w)
    cleared = int(row_cleared(words, w))
    if opcode == ADD and cleared == operands[0].size and covers(operands[0], out, cleared):
        return [make_rows(identity.opcode, *operands)]
    return sum_rows(opcode, out, cleared, absent, *operands)


def covers(targets: np.ndarray, first: int, count: int) -> bool:
    """Whether each of a run of addresses is written once."""
    if not count or (targets[0] == first and (np.diff(targets) == 1).all()):
        return True
    met = np.zeros(count, np.bool_)
    met[targets - first] = True
    return bool(met.all())


def sum_rows(opcode: int, out: int, cleared: int, absent: bool, *operands: np.ndarray) -> list[np.ndarray]:
    """Return rows that clear a block and add terms to it, the terms of one result next to one another.

    What takes terms is cleared to -0.0, for sums of what is absent (-0.0) are; the rest to zero, unless it is `absent`.
    """
    targets = operands[0]
    if targets.size > 1 and (targets[1:] < targets[:-1]).any():
        order = np.argsort(targets, kind="stable")
        operands = tuple(part[order] for part in operands)
    clear = clear_rows(out, cleared)
    if cleared and absent:
        clear[:, 2] = 1
    elif cleared:
        inside = targets - out
        clear[inside[(inside >= 0) & (inside < cleared)], 2] = 1
    return [clear, make_rows(opcode, *operands)]


def join_rows(tape: Tape, w: int, starts: list[int], size: int) -> tuple[list[np.ndarray], int]:
    """Return rows that say on what the results of a Python kernel depend, and the next free address."""
    words: Any = tape.program_words()
    read, made = host_places(words, w)
    sources = [starts[space] + first + np.arange(count) for space, first, count in read]
    targets = [starts[space] + first + np.arange(count) for space, first, count in made]
    links = links_of(tape.hosts[host_call(words, w)])
    if links is not None:
        return link_rows(links, targets, sources, size)
    rows = [clear_rows(size, 1)]
    rows += [make_rows(JOIN, np.full(part.size, size), part) for part in sources]
    rows += [make_rows(JOIN, part, np.full(part.size, size)) for part in targets]
    return rows, size + 1


def link_rows(
    links: list[Link], targets: list[np.ndarray], sources: list[np.ndarray], size: int
) -> tuple[list[np.ndarray], int]:
    """Return rows for links between the elements of operands and results, and the next free address."""
    hubs = max((int(one.max(initial=-1)) + 1 for r, one, _, _ in links if r == HUB), default=0)
    rows = [clear_rows(size, hubs)] if hubs else []
    for of_hubs in (True, False):  # results are read off hubs that have all that they depend on
        ends, begins = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for r, one, k, other in links:
            if (r == HUB) == of_hubs:
                ends.append(size + one if r == HUB else targets[r][one])
                begins.append(size + other if k == HUB else targets[r][other] if k == ITSELF else sources[k][other])
        end, begin = np.concatenate(ends), np.concatenate(begins)
        order = np.argsort(end, kind="stable")
        rows.append(make_rows(JOIN, end[order], begin[order]))
    return rows, size + hubs


def links_of(call: Any) -> list[Link] | None:
    """Return on which elements the results of a Python kernel depend; None where each depends on all."""
    reach = getattr(getattr(call, "op", None), "reach", None)
    if reach is None:
        return None
    results = call.result_shapes[:-1] if call.op.raises else call.result_shapes
    try:
        found: list[Link] = reach(call.operand_shapes, results, **call.settings)
    except Unknown:
        return None
    return found


def input_places(slot: Input, elements: Elements) -> np.ndarray:
    """Return the addresses of an input's elements, in C order."""
    places = elements.starts[slot.space] + slot.address + np.arange(slot.size)
    order: Any = slot.order
    return places.reshape(slot.shape, order=order).reshape(-1) if slot.space else places


def output_places(slot: Output, elements: Elements) -> np.ndarray:
    """Return the addresses of a result's elements, in C order; zeros, which is a constant's, for a constant."""
    if slot.constant is not None:
        return np.zeros(math.prod(slot.shape), np.int64)
    return spread(elements.starts[slot.space] + slot.address, slot.shape, slot.strides).reshape(-1)


def values_of(tape: Tape, elements: Elements, execution: Execution) -> np.ndarray:
    """Return the values of all addresses at the point of an execution."""
    values = np.zeros(elements.size, tape.dtype)
    values[: tape.size] = execution.values[: tape.size]
    for space, start in enumerate(elements.starts[1:], start=1):
        memory: Any = execution.spaces[space]
        flat = memory.reshape(-1) if memory.flags.c_contiguous else memory.T.reshape(-1)
        values[start : start + flat.size] = flat
    return values
