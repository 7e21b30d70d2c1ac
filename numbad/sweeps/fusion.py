"""Fusion: large elementwise rows that follow one another run block by block, and keep what only they need in cache.

A *group* is a run of large MAP rows of one length whose operands are contiguous or scalars, with the
full sums over them. It goes forward and backward in blocks of some hundred elements. An output
that nothing outside of the group reads is *virtual*: it has no memory but a block of scratch, and the
adjoint sweep computes it again (the trade of Griewank and Walther, 2008, chapter 12, at the scale of
the cache). So sum(sin(x)**2 * exp(-x)) reads x and writes the gradient, and nothing else.
"""
# mypy: disable-error-code="no-untyped-def", check-untyped-defs=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange

from numbad.kernels.array import PARTIALS, PRIMAL, all_absent, shifted, total
from numbad.kernels.layout import read_count, read_place
from numbad.kernels.loading import block_kernels
from numbad.kernels.memory import address_of
from numbad.kernels.threads import compile_parallel, shared_section
from numbad.kernels.vectormath import absent, call_at, pointer_of, select, view
from numbad.limits import FUSED_BLOCK, FUSED_PIECE, FUSED_ROWS
from numbad.ops.definition import REGISTRY
from numbad.tape.layout import (
    ADD,
    MAP,
    operand_kinds,
    row_axes,
    row_cleared,
    row_elements,
    row_operands,
)

if TYPE_CHECKING:
    from numbad.sweeps.execution import Cotangents, Execution

SUM = -1  # the opcode of a full sum in a group's table

# Columns of a group's table: one row for each row of the group. An operand is a slot of scratch
# (memory 0) or contiguous memory; slots after those of the rows hold scalars.
OPCODE, OUT, OUT_BAR, X, X_SLOT, X_BAR, Y, Y_SLOT, Y_BAR, UNARY = range(10)
COLUMNS = 10


class Group:
    """A group of rows: its table in terms of spaces and addresses, resolved to memory when it runs.

    Attributes
    ----------
    first, last : int
        Its rows are first .. last - 1 of the tape.
    count : int
        Elements of each row.
    rows : list of tuple
        (opcode, out, operands) where an operand is ("slot", k), ("memory", space, address) or
        ("scalar", k), the k-th of `scalars`.
    virtual : list of bool
        Whether a row's output has no memory.
    scalars : list of (int, int)
        Space and address of each scalar operand.
    """

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.last = first
        self.count = count
        self.rows: list[tuple[int, int, list[Any]]] = []
        self.virtual: list[bool] = []
        self.scalars: list[tuple[int, int]] = []
        self.outputs: dict[int, int] = {}
        self.sums: set[int] = set()
        self.memory: set[tuple[int, int]] = set()
        self.needed = True

    def accepts(self, out: int, operands: list[tuple[int, int, int]]) -> bool:
        """Whether a row with these operands (kind, space, address) can join."""
        if len(self.rows) >= FUSED_ROWS:
            return False
        blocks = [(space, address) for kind, space, address in operands if kind == 1]
        for kind, space, address in operands:
            if kind == 0:
                return False
            length = 1 if kind == 2 else self.count
            if space == 0 and any(0 <= a - address < length for a in self.sums):
                return False  # a sum is known when the whole group has run, not before
            if kind == 2:
                if space == 0 and any(0 <= address - start < self.count for start in self.outputs):
                    return False
                continue
            if space == 0 and address in self.outputs:
                continue
            near = [*self.memory, *blocks, *((0, start) for start in self.outputs)]
            if any(s == space and 0 < abs(a - address) < self.count for s, a in near):
                return False  # operands that overlap would be written by two threads in the adjoint sweep
        return True

    def add(self, opcode: int, out: int, operands: list[tuple[int, int, int]]) -> None:
        """Append a row."""
        places: list[Any] = []
        for kind, space, address in operands:
            if kind == 2:
                self.scalars.append((space, address))
                places.append(("scalar", len(self.scalars) - 1))
            elif space == 0 and address in self.outputs:
                places.append(("slot", self.outputs[address]))
            else:
                self.memory.add((space, address))
                places.append(("memory", space, address))
        if opcode == SUM:
            self.sums.add(out)
        else:
            self.outputs[out] = len(self.rows)
        self.rows.append((opcode, out, places))
        self.virtual.append(True)
        self.last += 1

    def table(self, execution: Execution, bars: Cotangents | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the table, and the memory of the scalars and of their cotangents (0 for none)."""
        item = execution.values.itemsize
        slots = len(self.rows)

        def memory(cotangents: bool, space: int, address: int) -> int:
            if not cotangents:
                base = address_of(execution.values) if space == 0 else address_of(execution.spaces[space])
            elif bars is None:
                return 0
            elif space == 0:
                base = address_of(bars.arena)
            elif space in bars.spaces:
                base = address_of(bars.spaces[space])
            else:
                return 0
            return base + address * item

        table = np.zeros((slots, COLUMNS), np.int64)
        for k, (opcode, out, places) in enumerate(self.rows):
            table[k, OPCODE] = opcode
            table[k, UNARY] = len(places) == 1
            if not self.virtual[k]:
                table[k, OUT], table[k, OUT_BAR] = memory(False, 0, out), memory(True, 0, out)
            for place, column in zip(places, (X, Y), strict=False):
                if place[0] == "memory":
                    table[k, column], table[k, column + 2] = memory(False, *place[1:]), memory(True, *place[1:])
                else:
                    table[k, column + 1] = place[1] + (slots if place[0] == "scalar" else 0)
        values = np.array([memory(False, *scalar) for scalar in self.scalars] or [0], np.uint64)
        cotangents = np.array([memory(True, *scalar) for scalar in self.scalars] or [0], np.uint64)
        return table, values, cotangents


# ---------------------------------------------------------------- planning


def plan(execution: Execution, code: np.ndarray, words: np.ndarray, wanted: tuple[Any, ...]) -> dict[int, Group]:
    """Return the groups of a finished tape, by their first and by their last row."""
    groups = find_groups(execution, code, words)
    mark_virtual(groups, code, words, wanted)
    found = {}
    for group in groups:
        found[group.first] = group
        found[-group.last] = group
    return found


def find_groups(execution: Execution, code: np.ndarray, words: np.ndarray) -> list[Group]:
    """Gather the large elementwise rows that follow one another, and the full sums between them."""
    groups: list[Group] = []
    group: Group | None = None
    for row in execution.rows.large:
        if row < execution.done or REGISTRY[int(code[row, 0]) - MAP].host:
            continue
        if group is not None:
            join_sums(group, code, words, row)
        w = int(code[row, 2])
        out, count, operands = int(code[row, 1]), int(row_elements(words, w)), memory_operands(words, w)
        if group is None or group.last != row or group.count != count or not group.accepts(out, operands):
            group = Group(row, count)
            if not group.accepts(out, operands):
                group = None
                continue
            groups.append(group)
        group.add(int(code[row, 0]) - MAP, out, operands)
    for group in groups:
        join_sums(group, code, words, len(code))
    return groups


def join_sums(group: Group, code: np.ndarray, words: np.ndarray, stop: int) -> None:
    """Add the full sums that follow a group to it."""
    while group.last < stop and code[group.last, 0] == ADD:
        w = int(code[group.last, 2])
        if row_axes(words, w) != 1 or row_elements(words, w) != group.count or row_cleared(words, w) != 1:
            return
        out, operands = int(code[group.last, 1]), memory_operands(words, w)
        if operand_kinds(words, w)[0] != 2 or operands[0][0] != 1 or not group.accepts(out, operands):
            return
        group.add(SUM, out, operands)


def memory_operands(words: np.ndarray, w: int) -> list[tuple[int, int, int]]:
    """Return kind, space and address of what a row over an index space reads."""
    operands = zip(operand_kinds(words, w), row_operands(words, w), strict=True)
    return [(kind, space, address) for kind, (space, address, _) in operands][1:]


def mark_virtual(groups: list[Group], code: np.ndarray, words: np.ndarray, wanted: tuple[Any, ...]) -> None:
    """Decide which outputs need memory: those that rows of no or of another group read, and those wanted."""
    blocks = sorted((out, group.count, g, k) for g, group in enumerate(groups) for out, k in group.outputs.items())
    if not blocks:
        return
    starts = np.array([block[0] for block in blocks], np.int64)
    stops = starts + np.array([block[1] for block in blocks], np.int64)
    owner = np.array([block[2] for block in blocks], np.int64)
    row_owner = np.full(len(code), -1, np.int64)
    for g, group in enumerate(groups):
        row_owner[group.first : group.last] = g
    read = np.zeros(len(blocks), np.bool_)
    mark_reads(code, words, starts, stops, owner, row_owner, read)
    for value in wanted:
        addresses = value.address_view() if hasattr(value, "address_view") else value.address
        addresses = np.asarray(addresses, np.int64).reshape(-1)
        found = np.searchsorted(starts, addresses, side="right") - 1
        found, addresses = found[found >= 0], addresses[found >= 0]
        read[found[addresses < stops[found]]] = True
    for flag, (_, _, g, k) in zip(read.tolist(), blocks, strict=True):
        if flag:
            groups[g].virtual[k] = False
    for group in groups:
        group.needed = not all(group.virtual) or sums_are_read(group, code, words, wanted)


def sums_are_read(group: Group, code: np.ndarray, words: np.ndarray, wanted: tuple[Any, ...]) -> bool:
    """Whether the value of a group's sum is used: by a later row, or by the caller."""
    sums = [out for opcode, out, _ in group.rows if opcode == SUM]
    return bool(sums) and (
        len(code) > group.last or any(getattr(value, "address", None) in sums for value in wanted) or not wanted == ()
    )


@njit(nogil=True, cache=True)
def mark_reads(code, words, starts, stops, owner, row_owner, read):
    """Mark the blocks that a row reads which is not of the block's own group."""
    for row in range(code.shape[0]):
        opcode, out = np.int64(code[row, 0]), np.int64(code[row, 1])
        a, b = np.int64(code[row, 2]), np.int64(code[row, 3])
        for k in range(read_count(opcode, a, b, words)):
            space, first, last = read_place(opcode, out, a, b, words, k)
            if space == 0:
                mark_range(first, last, starts, stops, owner, row_owner[row], read)


@njit(nogil=True)
def mark_range(low, high, starts, stops, owner, g, read):
    """Mark the blocks that share addresses with low .. high, unless they are of group g."""
    k = max(np.searchsorted(starts, low, side="right") - 1, 0)
    while k < starts.size and starts[k] <= high:
        if stops[k] > low and owner[k] != g:
            read[k] = True
        k += 1


# ---------------------------------------------------------------- running


def forward(execution: Execution, group: Group) -> None:
    """Compute what is needed of a group."""
    if not group.needed:
        return
    table, scalars, _ = group.table(execution)
    pieces = (group.count + FUSED_PIECE - 1) // FUSED_PIECE
    sums = np.full((len(group.rows), pieces), -0.0, execution.values.dtype)
    with shared_section(group.count):
        forward_pieces(block_kernels(execution.values.dtype), table, scalars, execution.values[:1], group.count, sums)
    for k, (opcode, out, _) in enumerate(group.rows):
        if opcode == SUM:
            execution.values[out] = total(sums[k])


def backward(execution: Execution, group: Group, bars: Cotangents) -> None:
    """Take back a group."""
    table, scalars, cotangents = group.table(execution, bars)
    for k, (opcode, out, _) in enumerate(group.rows):
        if opcode == SUM:
            table[k, OUT_BAR] = address_of(bars.arena) + out * execution.values.itemsize
    pieces = (group.count + FUSED_PIECE - 1) // FUSED_PIECE
    sums = np.full((max(len(group.scalars), 1), pieces), -0.0, execution.values.dtype)
    with shared_section(group.count):
        backward_pieces(
            block_kernels(execution.values.dtype), table, scalars, cotangents, execution.values[:1], group.count, sums
        )
    for k, (space, address) in enumerate(group.scalars):
        if cotangents[k]:
            (bars.arena if space == 0 else bars.spaces[space])[address] += total(sums[k])


@njit(nogil=True, error_model="numpy")
def operand_at(table, k, column, scratch, first, like):
    """Return the memory address of a block of an operand."""
    if table[k, column] != 0:
        return shifted(table[k, column], first, like)
    return pointer_of(scratch[table[k, column + 1]])


@njit(nogil=True, error_model="numpy")
def fill_scalars(scalars, scratch, slots, like):
    """Spread each scalar operand over its block of scratch."""
    for k in range(scalars.size):
        if scalars[k] != 0:
            scratch[slots + k, :] = view(scalars[k], 1, like)[0]


@njit(nogil=True, cache=True, error_model="numpy")
def forward_piece(kernels, table, scalars, like, start, stop, scratch, sums):
    """Compute elements start .. stop of a group; add its sums to `sums`."""
    slots = table.shape[0]
    zero = like.dtype.type(0)
    fill_scalars(scalars, scratch, slots, like)
    for first in range(start, stop, FUSED_BLOCK):
        count = min(FUSED_BLOCK, stop - first)
        for k in range(slots):
            xs = operand_at(table, k, X, scratch, first, like)
            if table[k, OPCODE] == SUM:
                sums[k] += total(view(xs, count, like))
                continue
            ys = xs if table[k, UNARY] else operand_at(table, k, Y, scratch, first, like)
            zs = pointer_of(scratch[k])
            call_at(kernels[PRIMAL], zero, (table[k, OPCODE], zs, xs, ys, count))
            if table[k, OUT] != 0:
                view(shifted(table[k, OUT], first, like), count, like)[:] = scratch[k, :count]


@compile_parallel
def forward_pieces(kernels, table, scalars, like, count, sums):
    """Compute a group in parallel pieces, each of which has its own scratch and sums."""
    for piece in prange((count + FUSED_PIECE - 1) // FUSED_PIECE):
        scratch = np.empty((table.shape[0] + scalars.size, FUSED_BLOCK), like.dtype)
        stop = min(count, (piece + 1) * FUSED_PIECE)
        forward_piece(kernels, table, scalars, like, piece * FUSED_PIECE, stop, scratch, sums[:, piece])


@njit(nogil=True, error_model="numpy")
def add_scaled(partials, bar, target, fresh):
    """Add partials times cotangents to a target, or set it if it is fresh; absent times anything is absent."""
    zero = partials.dtype.type(0)
    if fresh:
        for j in range(bar.size):
            p, b = partials[j], bar[j]
            target[j] = select(absent(p) | absent(b), -zero, p * b + zero)
    else:
        for j in range(bar.size):
            p, b = partials[j], bar[j]
            target[j] += select(absent(p) | absent(b), -zero, p * b + zero)


@njit(nogil=True, error_model="numpy")
def add_to(table, k, column, first, partials, bar, bars, used, like):
    """Add a block of partials times cotangents to the cotangents of an operand."""
    if table[k, column] != 0:
        if table[k, column + 2] != 0:
            target = view(shifted(table[k, column + 2], first, like), bar.size, like)
            add_scaled(partials, bar, target, False)
        return
    slot = table[k, column + 1]
    add_scaled(partials, bar, bars[slot, : bar.size], not used[slot])
    used[slot] = True


@njit(nogil=True, error_model="numpy")
def spread_to(table, k, first, count, bar, bars, used, like):
    """Add the cotangent of a sum to those of each element of its operand."""
    if table[k, X] != 0:
        if table[k, X + 2] != 0:
            target = view(shifted(table[k, X + 2], first, like), count, like)
            for j in range(count):
                target[j] += bar
        return
    slot = table[k, X + 1]
    if used[slot]:
        for j in range(count):
            bars[slot, j] += bar
    else:
        bars[slot, :count] = bar
        used[slot] = True


@njit(nogil=True, cache=True, error_model="numpy")
def backward_piece(kernels, table, scalars, cotangents, like, start, stop, scratch, bars, sums):
    """Take back elements start .. stop of a group; add the scalars' cotangents to `sums`."""
    slots = table.shape[0]
    zero = like.dtype.type(0)
    fill_scalars(scalars, scratch, slots, like)
    ps, qs = scratch[slots + scalars.size], scratch[slots + scalars.size + 1]
    used = np.zeros(slots + scalars.size, np.bool_)
    for first in range(start, stop, FUSED_BLOCK):
        count = min(FUSED_BLOCK, stop - first)
        used[:] = False
        for k in range(slots):
            if table[k, OPCODE] == SUM:
                continue
            if table[k, OUT] != 0:
                scratch[k, :count] = view(shifted(table[k, OUT], first, like), count, like)
                if table[k, OUT_BAR] != 0:
                    bars[k, :count] = view(shifted(table[k, OUT_BAR], first, like), count, like)
                    used[k] = True
                continue
            xs = operand_at(table, k, X, scratch, first, like)
            ys = xs if table[k, UNARY] else operand_at(table, k, Y, scratch, first, like)
            call_at(kernels[PRIMAL], zero, (table[k, OPCODE], pointer_of(scratch[k]), xs, ys, count))
        for k in range(slots - 1, -1, -1):
            if table[k, OPCODE] == SUM:
                spread_to(table, k, first, count, view(np.uint64(table[k, OUT_BAR]), 1, like)[0], bars, used, like)
                continue
            if not used[k] or all_absent(bars[k, :count]):
                continue
            xs = operand_at(table, k, X, scratch, first, like)
            ys = xs if table[k, UNARY] else operand_at(table, k, Y, scratch, first, like)
            zs = pointer_of(scratch[k])
            places = (table[k, OPCODE], pointer_of(ps), pointer_of(qs), xs, ys, zs, count)
            call_at(kernels[PARTIALS], zero, places)
            add_to(table, k, X, first, ps, bars[k, :count], bars, used, like)
            if not table[k, UNARY]:
                add_to(table, k, Y, first, qs, bars[k, :count], bars, used, like)
        for k in range(scalars.size):
            if used[slots + k] and cotangents[k] != 0:
                sums[k] += total(bars[slots + k, :count])


@compile_parallel
def backward_pieces(kernels, table, scalars, cotangents, like, count, sums):
    """Take back a group in parallel pieces, each of which has its own scratch and sums."""
    for piece in prange((count + FUSED_PIECE - 1) // FUSED_PIECE):
        scratch = np.empty((table.shape[0] + scalars.size + 2, FUSED_BLOCK), like.dtype)
        bars = np.empty((table.shape[0] + scalars.size, FUSED_BLOCK), like.dtype)
        stop = min(count, (piece + 1) * FUSED_PIECE)
        start = piece * FUSED_PIECE
        backward_piece(kernels, table, scalars, cotangents, like, start, stop, scratch, bars, sums[:, piece])
