"""Fusion: large elementwise rows that follow one another run block by block, and keep what only they need in cache.

A *group* is a run of large MAP rows of one length whose operands are contiguous or scalars, with the
full sums over them. It goes forward and backward in blocks of some hundred elements. An output
that nothing outside of the group reads is *virtual*: it has no memory but a block of scratch, and the
adjoint sweep computes it again (the trade of Griewank and Walther, 2008, chapter 12, at the scale of
the cache). So sum(sin(x)**2 * exp(-x)) reads x and writes the gradient, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from numbad.kernels.calls import call, run_shares, total
from numbad.kernels.fused_layout import COLUMNS, OPCODE, OUT, OUT_BAR, SUM, UNARY, X, Y
from numbad.kernels.loading import BLOCKS, block_kernels, make_ready
from numbad.kernels.memory import address_of, give_back, take_memory
from numbad.kernels.parallel import count_shares
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
    read = np.zeros(len(blocks), np.uint8)
    call("fused_reads_at", 0, (code, words, starts, stops, owner, row_owner, read))
    for value in wanted:
        addresses = value.address_view() if hasattr(value, "address_view") else value.address
        addresses = np.asarray(addresses, np.int64).reshape(-1)
        found = np.searchsorted(starts, addresses, side="right") - 1
        found, addresses = found[found >= 0], addresses[found >= 0]
        read[found[addresses < stops[found]]] = 1
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


# ---------------------------------------------------------------- running


def forward(execution: Execution, group: Group) -> None:
    """Compute what is needed of a group."""
    if not group.needed:
        return
    table, scalars, cotangents = group.table(execution)
    sums = run(execution, group, (table, scalars, cotangents), len(group.rows), False)
    for k, (opcode, out, _) in enumerate(group.rows):
        if opcode == SUM:
            execution.values[out] = total(sums[k])


def backward(execution: Execution, group: Group, bars: Cotangents) -> None:
    """Take back a group."""
    table, scalars, cotangents = group.table(execution, bars)
    for k, (opcode, out, _) in enumerate(group.rows):
        if opcode == SUM:
            table[k, OUT_BAR] = address_of(bars.arena) + out * execution.values.itemsize
    sums = run(execution, group, (table, scalars, cotangents), len(scalars), True)
    for k, (space, address) in enumerate(group.scalars):
        if cotangents[k]:
            (bars.arena if space == 0 else bars.spaces[space])[address] += total(sums[k])


def run(
    execution: Execution, group: Group, tables: tuple[np.ndarray, np.ndarray, np.ndarray], rows: int, back: bool
) -> np.ndarray:
    """Run a group, each share with scratch of its own; return its sums, or the scalars' cotangents, by pieces."""
    dtype = execution.values.dtype
    table, scalars, _ = tables
    blocks = len(table) + len(scalars)
    size = (2 * blocks + 2 if back else blocks) * FUSED_BLOCK
    sums = np.full((rows, -(-group.count // FUSED_PIECE)), -0.0, dtype)
    shares = count_shares(group.count)
    scratch = take_memory(shares * size, dtype, False)
    make_ready(BLOCKS, dtype, [opcode for opcode in table[:, OPCODE].tolist() if opcode != SUM])
    arrays = (block_kernels(dtype), *tables, sums, scratch)
    run_shares("fused_backward_at" if back else "fused_forward_at", dtype, shares, arrays, group.count)
    give_back(scratch)
    return sums
